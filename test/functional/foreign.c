/* SPDX-License-Identifier: BSD-3-Clause */
/* A foreign client, from the socket to NVMe commands: see foreign.h. */
#include "foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bellhop/barrier.h>
#include <bellhop/vfu_server.h>

#include "../common/send_fds.h"
#include "ft.h"

#define WAIT_MS 10000
#define PAGE 4096u

/* ---- messages ---- */

void foreign_connect(struct foreign *c, const char *path)
{
	uint64_t end = ft_deadline(WAIT_MS);
	int rc;

	memset(c, 0, sizeof(*c));
	do {
		rc = vfu_connect(path, 1000, &c->sock);
	} while (rc != 0 && bh_now_ns() < end);
	FT_EQUAL(rc, 0);
	FT_CHECK(fcntl(c->sock, F_SETFL, 0) == 0); /* it blocks */
	c->stride = 4;
}

static void drop_fds(struct foreign *c)
{
	while (c->nfds > 0)
		close(c->fds[--c->nfds]);
}

void foreign_close(struct foreign *c)
{
	drop_fds(c);
	close(c->sock);
	c->sock = -1;
}

void foreign_send(struct foreign *c, uint16_t command, const void *body, size_t len, const int *fds,
		  unsigned int nfds)
{
	struct vfu_header header = { .id = c->id,
				     .command = command,
				     .size = (uint32_t)(sizeof(header) + len) };
	uint8_t bytes[sizeof(header) + FOREIGN_BODY];

	FT_CHECK(len <= FOREIGN_BODY);
	memcpy(bytes, &header, sizeof(header));
	if (len)
		memcpy(bytes + sizeof(header), body, len);
	FT_EQUAL(send_with_fds(c->sock, bytes, sizeof(header) + len, fds, nfds, 0),
		 sizeof(header) + len);
}

static void wait_readable(struct foreign *c)
{
	struct pollfd p = { .fd = c->sock, .events = POLLIN };

	if (poll(&p, 1, WAIT_MS * (ft_is_sanitized() ? 4 : 1)) != 1)
		ft_fail(__FILE__, __LINE__, "no reply");
}

/* One recvmsg: `len` bytes, and the descriptors that came with them. */
static void receive(struct foreign *c, void *buf, size_t len)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(c->fds))];
	} control;
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf) };

	wait_readable(c);
	FT_EQUAL(recvmsg(c->sock, &mh, MSG_CMSG_CLOEXEC), len);
	FT_EQUAL(mh.msg_flags & (MSG_CTRUNC | MSG_TRUNC), 0);
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&mh);
	if (cmsg) {
		drop_fds(c);
		FT_EQUAL(cmsg->cmsg_type, SCM_RIGHTS);
		c->nfds = (unsigned int)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(c->fds, CMSG_DATA(cmsg), c->nfds * sizeof(int));
		FT_CHECK(CMSG_NXTHDR(&mh, cmsg) == NULL);
	}
}

int foreign_recv(struct foreign *c, uint16_t command)
{
	drop_fds(c);
	receive(c, &c->header, sizeof(c->header));
	FT_EQUAL(c->header.id, c->id);
	FT_EQUAL(c->header.command, command);
	FT_EQUAL(c->header.flags & VFU_FLAG_TYPE_MASK, VFU_TYPE_REPLY);
	if (c->counts_ids)
		c->id++;
	FT_CHECK(c->header.size >= sizeof(c->header));
	c->len = c->header.size - sizeof(c->header);
	FT_CHECK(c->len <= sizeof(c->body));
	if (c->header.flags & VFU_FLAG_ERROR) {
		FT_EQUAL(c->len, 0); /* nobody would drain it */
		FT_CHECK(c->header.error > 0 && c->header.error < 4096);
		return -(int)c->header.error;
	}
	if (c->len)
		FT_EQUAL(read(c->sock, c->body, c->len), c->len); /* no second one follows */
	return 0;
}

int foreign_call(struct foreign *c, uint16_t command, const void *body, size_t len, const int *fds,
		 unsigned int nfds)
{
	foreign_send(c, command, body, len, fds, nfds);
	return foreign_recv(c, command);
}

void foreign_version(struct foreign *c, uint16_t minor, const char *json)
{
	struct vfu_version version = { 0, minor };
	uint8_t body[1024];
	size_t len = json ? strlen(json) + 1 : 0;

	FT_CHECK(len <= sizeof(body) - sizeof(version));
	memcpy(body, &version, sizeof(version));
	if (len)
		memcpy(body + sizeof(version), json, len);
	FT_EQUAL(foreign_call(c, VFU_VERSION, body, sizeof(version) + len, NULL, 0), 0);
	FT_CHECK(c->len > sizeof(version) && sizeof(c->header) + c->len <= 214);
	memcpy(&version, c->body, sizeof(version));
	FT_EQUAL(version.major, 0);
	FT_CHECK(version.minor <= minor);
	/* They hand it to a JSON library, less its last byte. */
	FT_EQUAL(c->body[c->len - 1], 0);
	FT_EQUAL(strlen((char *)c->body + sizeof(version)), c->len - sizeof(version) - 1);
	FT_CHECK(strncmp((char *)c->body + sizeof(version), "{\"capabilities\":{", 17) == 0);
}

uint32_t foreign_info(struct foreign *c)
{
	struct vfu_device_info info = { .argsz = sizeof(info) };

	FT_EQUAL(foreign_call(c, VFU_DEVICE_GET_INFO, &info, sizeof(info), NULL, 0), 0);
	FT_EQUAL(c->len, sizeof(info));
	memcpy(&info, c->body, sizeof(info));
	FT_CHECK(info.flags & VFU_DEVICE_FLAG_PCI);
	FT_EQUAL(info.num_regions, FOREIGN_REGIONS); /* some have no room for more than ten */
	FT_EQUAL(info.num_irqs, 5);
	return info.num_regions;
}

struct vfu_region_info foreign_region(struct foreign *c, uint32_t index, uint32_t argsz, size_t len)
{
	uint8_t body[FOREIGN_BODY] = { 0 };
	struct vfu_region_info info = { .argsz = argsz, .index = index };

	memcpy(body, &info, sizeof(info));
	FT_EQUAL(foreign_call(c, VFU_DEVICE_GET_REGION_INFO, body, len, NULL, 0), 0);
	FT_CHECK(c->len >= sizeof(info) && c->len <= argsz);
	memcpy(&info, c->body, sizeof(info));
	FT_EQUAL(info.index, index);
	return info;
}

bool foreign_area(const struct foreign *c, struct vfu_sparse_area *area)
{
	struct vfu_region_info info;
	struct vfu_cap_sparse cap;

	memcpy(&info, c->body, sizeof(info));
	if (!(info.flags & VFU_REGION_FLAG_CAPS))
		return false;
	FT_CHECK(info.cap_offset >= sizeof(info) && info.cap_offset % 8 == 0);
	FT_CHECK(info.cap_offset + sizeof(cap) + sizeof(*area) <= c->len);
	memcpy(&cap, c->body + info.cap_offset, sizeof(cap));
	FT_EQUAL(cap.header.id, VFU_CAP_SPARSE_MMAP);
	FT_EQUAL(cap.header.version, 1);
	FT_EQUAL(cap.header.next, 0);
	FT_EQUAL(cap.nr_areas, 1); /* more would take one fd each with some, which others refuse */
	memcpy(area, c->body + info.cap_offset + sizeof(cap), sizeof(*area));
	return true;
}

void foreign_map_doorbells(struct foreign *c, const struct vfu_region_info *info)
{
	struct vfu_sparse_area area;

	FT_CHECK(foreign_area(c, &area));
	FT_EQUAL(c->nfds, 1);
	/* Registers below the area are messages; all of the page at 0x1000 must be in it. */
	FT_EQUAL(area.offset, BH_NVME_REG_DOORBELLS);
	FT_CHECK(area.size >= PAGE && area.offset + area.size <= info->size);
	void *map = mmap(NULL, area.size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fds[0],
			 (off_t)(info->offset + area.offset));
	FT_CHECK(map != MAP_FAILED);
	c->doorbells = map;
	drop_fds(c);
}

uint64_t foreign_get(struct foreign *c, uint32_t region, uint64_t offset, uint32_t bytes)
{
	struct vfu_region_access access = { offset, region, bytes };
	uint64_t value = 0;

	FT_EQUAL(foreign_call(c, VFU_REGION_READ, &access, sizeof(access), NULL, 0), 0);
	FT_EQUAL(c->len, sizeof(access) + bytes);
	FT_CHECK(memcmp(c->body, &access, sizeof(access)) == 0);
	memcpy(&value, c->body + sizeof(access), bytes);
	return value;
}

void foreign_set(struct foreign *c, uint32_t region, uint64_t offset, uint64_t value,
		 uint32_t bytes)
{
	struct vfu_region_access access = { offset, region, bytes };
	uint8_t body[sizeof(access) + sizeof(value)];

	memcpy(body, &access, sizeof(access));
	memcpy(body + sizeof(access), &value, bytes);
	FT_EQUAL(foreign_call(c, VFU_REGION_WRITE, body, sizeof(access) + bytes, NULL, 0), 0);
	FT_EQUAL(c->len, sizeof(access));
	FT_CHECK(memcmp(c->body, &access, sizeof(access)) == 0);
}

/* ---- memory ---- */

static void memory_at(struct foreign_memory *m, uint8_t *va, size_t bytes, uint64_t offset)
{
	*m = (struct foreign_memory){ .va = va, .bytes = bytes, .offset = offset };
	m->fd = memfd_create("foreign", MFD_CLOEXEC);
	FT_CHECK(m->fd >= 0 && ftruncate(m->fd, (off_t)(offset + bytes)) == 0);
	FT_CHECK(mmap(va, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, m->fd,
		      (off_t)offset) == va);
}

void foreign_memory_new(struct foreign_memory *m, size_t bytes, size_t align, uint64_t offset)
{
	uint8_t *room =
		mmap(NULL, 2 * bytes + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	FT_CHECK(room != MAP_FAILED);
	memory_at(m, room + (align - (uintptr_t)room % align) % align, bytes, offset);
}

void foreign_memory_behind(struct foreign_memory *m, const struct foreign_memory *first)
{
	memory_at(m, first->va + first->bytes, first->bytes, 0);
}

int foreign_dma_map(struct foreign *c, const struct foreign_memory *m)
{
	const struct vfu_dma_map map = { .argsz = sizeof(map),
					 .flags = VFU_DMA_FLAG_READ | VFU_DMA_FLAG_WRITE,
					 .offset = m->offset,
					 .address = (uintptr_t)m->va,
					 .size = m->bytes };
	int rc = foreign_call(c, VFU_DMA_MAP, &map, sizeof(map), &m->fd, 1);

	FT_EQUAL(c->len, 0);
	return rc;
}

int foreign_dma_unmap(struct foreign *c, const struct foreign_memory *m, bool with_fd)
{
	const struct vfu_dma_unmap unmap = { .argsz = sizeof(unmap),
					     .address = (uintptr_t)m->va,
					     .size = m->bytes };
	int rc = foreign_call(c, VFU_DMA_UNMAP, &unmap, sizeof(unmap), &m->fd, with_fd);

	if (rc == 0)
		FT_EQUAL(c->len, sizeof(unmap));
	return rc;
}

/* ---- the controller ---- */

void foreign_queue_init(struct foreign_queue *q, uint16_t qid, uint16_t entries, void *at)
{
	FT_CHECK(entries <= PAGE / sizeof(*q->sq));
	memset(at, 0, FOREIGN_QUEUE_BYTES);
	*q = (struct foreign_queue){ .qid = qid, .entries = entries, .phase = 1 };
	q->sq = at;
	q->cq = (void *)((uint8_t *)at + PAGE);
}

void foreign_enable(struct foreign *c, struct foreign_queue *admin)
{
	uint64_t cap = foreign_get(c, BH_PCI_BAR0, BH_NVME_REG_CAP, 8);
	uint64_t command = foreign_get(c, BH_PCI_CONFIG, 4, 2);
	uint32_t size = admin->entries - 1u;

	foreign_set(c, BH_PCI_CONFIG, 4, command | 0x404, 2);
	c->stride = 4u << BH_NVME_GET(cap, CAP_DSTRD);
	FT_EQUAL(foreign_get(c, BH_PCI_BAR0, BH_NVME_REG_CC, 4) & BH_NVME_CC_EN, 0);
	foreign_set(c, BH_PCI_BAR0, BH_NVME_REG_ASQ, (uintptr_t)admin->sq, 8);
	foreign_set(c, BH_PCI_BAR0, BH_NVME_REG_ACQ, (uintptr_t)admin->cq, 8);
	foreign_set(c, BH_PCI_BAR0, BH_NVME_REG_AQA, size | size << 16, 4);
	foreign_set(c, BH_PCI_BAR0, BH_NVME_REG_CC,
		    BH_NVME_CC_EN | BH_NVME_SET(CC_IOSQES, 6u) | BH_NVME_SET(CC_IOCQES, 4u), 4);
	FT_UNTIL(WAIT_MS, foreign_get(c, BH_PCI_BAR0, BH_NVME_REG_CSTS, 4) & BH_NVME_CSTS_RDY,
		 usleep(100));
}

static void ring(struct foreign *c, unsigned int index, uint16_t value)
{
	if (c->doorbells)
		/* Release: orders what is in the queue before what announces it. */
		__atomic_store_n((uint32_t *)(void *)(c->doorbells + (size_t)index * c->stride),
				 value, __ATOMIC_RELEASE);
	else
		foreign_set(c, BH_PCI_BAR0, BH_NVME_REG_DOORBELLS + (uint64_t)index * c->stride,
			    value, 4);
}

void foreign_submit(struct foreign *c, struct foreign_queue *q, const struct bh_nvme_cmd *cmd)
{
	q->sq[q->tail] = *cmd;
	q->sq[q->tail].cid = q->cid++;
	q->tail = (uint16_t)((q->tail + 1) % q->entries);
	ring(c, 2u * q->qid, q->tail);
}

bool foreign_reap(struct foreign *c, struct foreign_queue *q, struct bh_nvme_cpl *cpl)
{
	const struct bh_nvme_cpl *at = &q->cq[q->head];

	/* Acquire: orders the phase before the rest of the entry, and the data. */
	if ((__atomic_load_n(&at->status, __ATOMIC_ACQUIRE) & BH_NVME_CPL_PHASE) != q->phase)
		return false;
	*cpl = *at;
	FT_EQUAL(cpl->sqid, q->qid);
	if (++q->head == q->entries) {
		q->head = 0;
		q->phase ^= 1;
	}
	ring(c, 2u * q->qid + 1, q->head);
	return true;
}

uint16_t foreign_run(struct foreign *c, struct foreign_queue *q, const struct bh_nvme_cmd *cmd)
{
	uint16_t cid = q->cid;
	struct bh_nvme_cpl cpl;

	foreign_submit(c, q, cmd);
	FT_UNTIL(WAIT_MS, foreign_reap(c, q, &cpl), bh_relax());
	FT_EQUAL(cpl.cid, cid);
	return cpl.status >> 1;
}

void foreign_prp(struct bh_nvme_cmd *cmd, const void *buf, size_t len)
{
	uintptr_t first = (uintptr_t)buf, next = (first / PAGE + 1) * PAGE;

	FT_CHECK(first + len <= next + PAGE);
	cmd->flags = BH_NVME_PSDT_PRP;
	cmd->dptr.prp.prp1 = first;
	cmd->dptr.prp.prp2 = first + len > next ? next : 0;
}

void foreign_sgl(struct bh_nvme_cmd *cmd, const void *buf, size_t len)
{
	cmd->flags = BH_NVME_PSDT_SGL_MPTR_CONTIG;
	cmd->dptr.sgl = (struct bh_nvme_sgl){ .addr = (uintptr_t)buf, .len = (uint32_t)len };
}

struct bh_nvme_cmd foreign_rw(uint8_t opc, uint64_t lba, uint32_t blocks)
{
	return (struct bh_nvme_cmd){ .opc = opc,
				     .nsid = 1,
				     .cdw10 = (uint32_t)lba,
				     .cdw11 = (uint32_t)(lba >> 32),
				     .cdw12 = blocks - 1 };
}

static void admin_run(struct foreign *c, struct foreign_queue *admin, uint8_t opc, uint64_t prp1,
		      uint32_t cdw10, uint32_t cdw11)
{
	struct bh_nvme_cmd cmd = { .opc = opc, .cdw10 = cdw10, .cdw11 = cdw11 };

	cmd.dptr.prp.prp1 = prp1;
	FT_EQUAL(foreign_run(c, admin, &cmd), 0);
}

void foreign_queue_create(struct foreign *c, struct foreign_queue *admin, struct foreign_queue *q,
			  int vector)
{
	uint32_t qid_size = q->qid | (q->entries - 1u) << 16;
	uint32_t flags = BH_NVME_QUEUE_PC;

	if (vector >= 0)
		flags |= BH_NVME_QUEUE_IEN | (uint32_t)vector << BH_NVME_QUEUE_IV_SHIFT;
	admin_run(c, admin, BH_NVME_ADMIN_CREATE_CQ, (uintptr_t)q->cq, qid_size, flags);
	admin_run(c, admin, BH_NVME_ADMIN_CREATE_SQ, (uintptr_t)q->sq, qid_size,
		  BH_NVME_QUEUE_PC | (uint32_t)q->qid << 16);
}

void foreign_queue_delete(struct foreign *c, struct foreign_queue *admin, struct foreign_queue *q)
{
	admin_run(c, admin, BH_NVME_ADMIN_DELETE_SQ, 0, q->qid, 0);
	admin_run(c, admin, BH_NVME_ADMIN_DELETE_CQ, 0, q->qid, 0);
}

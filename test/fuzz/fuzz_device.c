/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host that knows what it does, up to a point: queues anywhere in memory of every kind, commands
 * whose data pointers mean something, shadow doorbells, events, interrupts, a memory buffer of the
 * controller's; and memory, namespaces, queues and the controller's state that change under all of
 * it, while stores answer late.
 *
 * An input is a byte of circumstances and a list of steps of 16 bytes each. Mutations keep to
 * steps: they are changed inside, doubled, moved, dropped and exchanged between inputs.
 *
 * What must hold whatever happens: nothing is written to memory that was mapped for reading only,
 * and nothing to any memory once the client has left, however late the stores answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

struct step {
	uint8_t what, a, b, c;
	uint32_t d;
	uint64_t e;
};
static_assert(sizeof(struct step) == 16, "a step");

enum { QUEUES = 4, PAGE = 4096, SIDE_BYTES = 0x10000, MAX_STEPS = 96 };

/* One memory at several addresses, each reached in another way; and memory of other kinds. */
#define AT_FILE (FZ_IOVA + 0x10000000ull)
#define AT_MESSAGES (FZ_IOVA + 0x20000000ull)
#define AT_READ_ONLY (FZ_IOVA + 0x30000000ull) /* SIDE_BYTES */
#define AT_CUT (FZ_IOVA + 0x40000000ull)       /* SIDE_BYTES, of a file that gets shorter */
#define AT_CMB (FZ_IOVA + 0x50000000ull)
#define AT_NOTHING (FZ_IOVA + 0x60000000ull)

/* In the client's memory, beside what fuzz.h has there. */
#define RINGS 0x10000u /* a page per completion queue, then one per submission queue */
#define SHADOWS 0x1a000u
#define LISTS 0x20000u
#define LIST_BYTES 0x2000u
#define NUM_LISTS 8u

struct pair {
	uint64_t sq, cq;
	uint32_t entries, tail, head;
	bool phase;
};

static struct pair pair[QUEUES + 1];
static bool is_shadowed;
static unsigned int next_list;
static uint16_t next_cid;
static int read_only_fd = -1, cut_fd = -1, event_fd[2];
static uint8_t *read_only;
static uint8_t read_only_was[SIDE_BYTES];
static bool is_detached[FZ_NS + 1];

/* ---- addresses ---- */

static uint64_t place(uint8_t where)
{
	static const uint64_t places[] = { FZ_IOVA,	 FZ_IOVA, AT_FILE, AT_MESSAGES,
					   AT_READ_ONLY, AT_CUT,  AT_CMB,  AT_NOTHING };

	return places[where & 7];
}

static uint64_t address(uint8_t where, uint16_t offset)
{
	uint64_t base = place(where);
	uint32_t size =
		base == AT_READ_ONLY || base == AT_CUT || base == AT_CMB ? SIDE_BYTES : FZ_BYTES;

	if (base == AT_NOTHING && where & 8)
		return (uint64_t)offset << 48 | offset;
	return base + (where & 8 ? (offset * 4u) % size : (offset * (uint32_t)PAGE) % size);
}

/* Offset in the client's memory; false: it is somewhere else. */
static bool is_ours(uint64_t iova, uint64_t *offset)
{
	*offset = iova & 0xfffffff;
	return iova - FZ_IOVA < FZ_BYTES || iova - AT_FILE < FZ_BYTES ||
	       iova - AT_MESSAGES < FZ_BYTES;
}

/* Bytes into whatever is there, as the host's processor would store them. */
static void poke(uint64_t iova, const void *bytes, size_t len)
{
	struct {
		struct vfu_region_access access;
		uint8_t data[64];
	} body = { .access = { iova - AT_CMB, 2, (uint32_t)len } };

	uint64_t offset;

	if (is_ours(iova, &offset)) {
		memcpy(fz_mem + offset, bytes, len);
	} else if (iova - AT_READ_ONLY < SIDE_BYTES) {
		memcpy(read_only + (iova - AT_READ_ONLY), bytes, len);
		memcpy(read_only_was + (iova - AT_READ_ONLY), bytes, len);
	} else if (iova - AT_CUT < SIDE_BYTES) {
		(void)!pwrite(cut_fd, bytes, len, (off_t)(iova - AT_CUT));
	} else if (iova - AT_CMB < SIDE_BYTES) {
		memcpy(body.data, bytes, len);
		fz_send(VFU_REGION_WRITE, VFU_FLAG_NO_REPLY, &body, sizeof(body.access) + len, NULL,
			0);
	}
}

/* ---- memory ---- */

static void map(uint64_t iova, uint64_t len, uint32_t flags, int fd)
{
	const struct vfu_dma_map body = {
		.argsz = sizeof(body),
		.flags = flags,
		.address = iova,
		.size = len,
	};

	fz_send(VFU_DMA_MAP, 0, &body, sizeof(body), &fd, fd >= 0);
}

static void map_place(uint8_t where)
{
	const uint32_t both = VFU_DMA_FLAG_READ | VFU_DMA_FLAG_WRITE;

	switch (place(where)) {
	case FZ_IOVA:
		map(FZ_IOVA, FZ_BYTES, both | VFU_DMA_FLAG_MMAP, fz_mem_fd);
		break;
	case AT_FILE:
		map(AT_FILE, FZ_BYTES, both | VFU_DMA_FLAG_FILE_IO, fz_mem_fd);
		break;
	case AT_MESSAGES:
		map(AT_MESSAGES, FZ_BYTES, both, -1);
		break;
	case AT_READ_ONLY:
		map(AT_READ_ONLY, SIDE_BYTES,
		    VFU_DMA_FLAG_READ | (where & 8 ? VFU_DMA_FLAG_FILE_IO : VFU_DMA_FLAG_MMAP),
		    read_only_fd);
		break;
	case AT_CUT:
		(void)!ftruncate(cut_fd, SIDE_BYTES);
		map(AT_CUT, SIDE_BYTES, both | (where & 8 ? VFU_DMA_FLAG_FILE_IO : 0), cut_fd);
		break;
	case AT_CMB:
		fz_write(0, BH_NVME_REG_CMBMSC,
			 AT_CMB | BH_NVME_SET(CMBMSC_CRE, 1) | BH_NVME_SET(CMBMSC_CMSE, 1), 8);
		break;
	default:
		break;
	}
}

static void unmap_place(uint8_t where, bool all)
{
	struct vfu_dma_unmap body = {
		.argsz = sizeof(body),
		.flags = all ? VFU_UNMAP_FLAG_ALL : 0,
		.address = all ? 0 : place(where),
		.size = all ? 0 : FZ_BYTES,
	};

	if (where & 8 && !all)
		body.size = SIDE_BYTES;
	fz_send(VFU_DMA_UNMAP, 0, &body, sizeof(body), NULL, 0);
}

/* ---- queues ---- */

static void doorbell(unsigned int k, uint32_t value, bool ring)
{
	if (is_shadowed) {
		memcpy(fz_mem + SHADOWS + 4 * (size_t)k, &value, sizeof(value));
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	}
	if (!is_shadowed || ring)
		fz_write(0, BH_NVME_REG_DOORBELLS + 4 * (uint64_t)k, value, 4);
}

static void admin(struct bh_nvme_cmd *cmd)
{
	cmd->cid = next_cid++;
	fz_submit(0, cmd);
	fz_ring(0);
	fz_reap(0);
}

static void create_cq(unsigned int qid, uint32_t entries, uint64_t iova, uint8_t how)
{
	struct bh_nvme_cmd cmd = {
		.opc = BH_NVME_ADMIN_CREATE_CQ,
		.dptr.prp.prp1 = iova,
		.cdw10 = (entries - 1) << 16 | qid,
		.cdw11 = (uint32_t)(how & 7) << 16 | (how & 8 ? BH_NVME_QUEUE_IEN : 0) |
			 BH_NVME_QUEUE_PC,
	};

	pair[qid].cq = iova;
	pair[qid].entries = entries;
	pair[qid].head = 0;
	pair[qid].phase = true;
	admin(&cmd);
}

static void create_sq(unsigned int qid, uint32_t entries, uint64_t iova, unsigned int cqid)
{
	struct bh_nvme_cmd cmd = {
		.opc = BH_NVME_ADMIN_CREATE_SQ,
		.dptr.prp.prp1 = iova,
		.cdw10 = (entries - 1) << 16 | qid,
		.cdw11 = cqid << 16 | BH_NVME_QUEUE_PC,
	};

	pair[qid].sq = iova;
	pair[qid].entries = entries;
	pair[qid].tail = 0;
	admin(&cmd);
}

static void create_pair(const struct step *s)
{
	unsigned int qid = 1 + s->a % QUEUES;
	uint32_t entries = 2 + s->b % 63;
	uint8_t cq_at = (uint8_t)s->d & 7, sq_at = (uint8_t)(s->d >> 8) & 7;
	uint32_t ring = RINGS + (qid - 1) * PAGE;
	bool plain = s->d & 1u << 16;

	/* Side memories are small: a page of each for every queue. */
	create_cq(qid, entries,
		  plain ? FZ_IOVA + ring : address(cq_at, (uint16_t)(ring / PAGE % 16)), s->c);
	create_sq(qid, entries,
		  plain ? FZ_IOVA + ring + QUEUES * PAGE
			: address(sq_at, (uint16_t)(ring / PAGE % 16 + QUEUES)),
		  s->d & 1u << 17 ? 1 + (s->d >> 18) % QUEUES : qid);
}

static void delete_queue(const struct step *s)
{
	struct bh_nvme_cmd cmd = {
		.opc = s->b & 1 ? BH_NVME_ADMIN_DELETE_CQ : BH_NVME_ADMIN_DELETE_SQ,
		.cdw10 = 1 + s->a % QUEUES,
	};

	admin(&cmd);
	if (s->b & 2) {
		cmd.opc = BH_NVME_ADMIN_DELETE_CQ;
		admin(&cmd);
	}
}

static void reap(unsigned int qid, bool ring)
{
	struct pair *p = &pair[qid];
	struct bh_nvme_cpl cpl;
	uint64_t offset;

	if (!p->entries)
		return;
	if (!is_ours(p->cq, &offset)) /* all of it, in good faith */
		p->head = p->tail % p->entries;
	for (unsigned int n = 0; is_ours(p->cq, &offset) && n < p->entries; n++) {
		memcpy(&cpl, fz_mem + offset + p->head * sizeof(cpl), sizeof(cpl));
		if ((cpl.status & BH_NVME_CPL_PHASE) != p->phase)
			break;
		p->head = (p->head + 1) % p->entries;
		p->phase ^= p->head == 0;
	}
	doorbell(2 * qid + 1, p->head, ring);
}

/* ---- commands ---- */

static unsigned int shift_of(uint32_t nsid)
{
	return nsid == 2 || nsid == 5 ? 12 : 9;
}

/* Entries of a PRP list at `list`; with is_chained the first page of it ends after a few. */
static uint64_t prp_list(uint64_t base, uint64_t data, uint32_t pages, bool is_chained)
{
	uint32_t at = LISTS + next_list++ % NUM_LISTS * LIST_BYTES, first = at;
	uint64_t entry;

	if (is_chained)
		first = at + PAGE - 24;
	for (uint32_t i = 0, p = first; i < pages; i++, p += 8) {
		if (is_chained && p == at + PAGE - 8 && i + 1 < pages) {
			entry = base + at + PAGE;
			memcpy(fz_mem + p, &entry, sizeof(entry));
			p += 8;
		}
		entry = data + (uint64_t)i * PAGE;
		memcpy(fz_mem + p, &entry, sizeof(entry));
	}
	return base + first;
}

static void point_prp(struct bh_nvme_cmd *cmd, const struct step *s, uint64_t data, uint32_t len)
{
	uint32_t first = PAGE - (uint32_t)(data % PAGE);
	uint64_t next = (data & ~(uint64_t)(PAGE - 1)) + PAGE;
	uint32_t pages = len > first ? (len - first + PAGE - 1) / PAGE : 0;

	cmd->dptr.prp.prp1 = data;
	if (pages == 1)
		cmd->dptr.prp.prp2 = next;
	else if (pages > 1)
		cmd->dptr.prp.prp2 =
			prp_list(place((uint8_t)(s->e >> 24) & 3), next, pages, s->c & 0x40);
}

/* Descriptors for len bytes from data on, in a segment of their own or two. */
static void point_sgl(struct bh_nvme_cmd *cmd, const struct step *s, uint64_t data, uint32_t len)
{
	uint32_t n = 1 + (uint32_t)(s->e >> 32) % 12, each = len / n & ~3u;
	uint32_t at = LISTS + next_list++ % NUM_LISTS * LIST_BYTES;
	uint64_t base = place((uint8_t)(s->e >> 24) & 3);
	bool has_buckets = s->c & 0x10, is_chained = s->c & 0x40;
	struct bh_nvme_sgl d[16] = { 0 };
	uint32_t k = 0, first;

	for (uint32_t i = 0; i < n; i++) {
		d[k].addr = data;
		d[k].len = i + 1 == n ? len - each * i : each;
		d[k].type =
			has_buckets && i % 3 == 1 ? BH_NVME_SGL_BIT_BUCKET : BH_NVME_SGL_DATA_BLOCK;
		data += d[k++].len;
		if (is_chained && i == n / 2 && i + 1 < n) {
			d[k].addr = base + at + PAGE;
			d[k].len = (n - i - 1) * (uint32_t)sizeof(d[0]);
			d[k++].type = BH_NVME_SGL_LAST_SEGMENT;
		}
	}
	first = k > n ? n / 2 + 2 : k;
	memcpy(fz_mem + at, d, first * sizeof(d[0]));
	memcpy(fz_mem + at + PAGE, d + first, (k - first) * sizeof(d[0]));
	cmd->dptr.sgl.addr = base + at;
	cmd->dptr.sgl.len = first * (uint32_t)sizeof(d[0]);
	cmd->dptr.sgl.type = k > n ? BH_NVME_SGL_SEGMENT : BH_NVME_SGL_LAST_SEGMENT;
}

static void point(struct bh_nvme_cmd *cmd, const struct step *s, uint32_t len)
{
	uint64_t data = address((uint8_t)s->e, (uint16_t)(s->e >> 8));

	if (s->c & 0x80)
		len += 4;
	switch (s->c & 3) {
	case 0:
	case 1:
		point_prp(cmd, s, data, len);
		break;
	case 2:
		cmd->flags |= BH_NVME_PSDT_SGL_MPTR_CONTIG;
		point_sgl(cmd, s, data, len);
		break;
	default:
		cmd->flags |= BH_NVME_PSDT_SGL_MPTR_CONTIG;
		cmd->dptr.sgl.addr = data;
		cmd->dptr.sgl.len = len;
		cmd->dptr.sgl.type = s->c & 0x20 ? (uint8_t)(s->e >> 40) : BH_NVME_SGL_DATA_BLOCK;
		break;
	}
}

/* DSM: its ranges lie in the data area, where writes and reads may meet them. */
static void ranges(const struct step *s, uint32_t n)
{
	uint32_t at = (uint32_t)(s->e >> 8 & 0xffff) * PAGE % (FZ_BYTES - PAGE);

	for (uint32_t i = 0; i < n; i++) {
		const struct bh_nvme_dsm_range range = {
			.blocks = (s->d >> 8 & 0xff) * (i & 1),
			.lba = (s->d & 0xff) + i,
		};

		memcpy(fz_mem + at + i * sizeof(range), &range, sizeof(range));
	}
}

static void io(const struct step *s)
{
	static const uint8_t opcodes[] = { BH_NVME_CMD_READ,	BH_NVME_CMD_WRITE,
					   BH_NVME_CMD_READ,	BH_NVME_CMD_WRITE,
					   BH_NVME_CMD_COMPARE, BH_NVME_CMD_WRITE_ZEROES,
					   BH_NVME_CMD_DSM,	BH_NVME_CMD_FLUSH };
	unsigned int qid = 1 + s->a % QUEUES;
	struct pair *p = &pair[qid];
	struct bh_nvme_cmd cmd = { .opc = opcodes[s->b & 7], .nsid = 1 + (s->a >> 2) % FZ_NS };
	uint32_t nlb = s->d & 1u << 28 ? s->d >> 16 & 0xff : s->d >> 16 & 7;
	uint32_t len = (nlb + 1) << shift_of(cmd.nsid);

	if (s->b & 0x80) /* an opcode there may not be */
		cmd.opc = (uint8_t)(s->e >> 48);
	if (s->b & 0x40)
		cmd.nsid = s->b & 0x20 ? BH_NVME_NSID_ALL : (uint32_t)(s->e >> 56);
	cmd.cid = next_cid++;
	cmd.cdw10 = s->d & 0x3ff;
	cmd.cdw12 = nlb | (s->b & 0x10 ? BH_NVME_IO_FUA : 0) | (s->b & 8 ? BH_NVME_IO_DEAC : 0);
	if (cmd.opc == BH_NVME_CMD_DSM) {
		cmd.cdw10 = nlb & 31;
		cmd.cdw11 = s->b & 0x10 ? 0 : BH_NVME_DSM_AD;
		len = ((nlb & 31) + 1) * (uint32_t)sizeof(struct bh_nvme_dsm_range);
		ranges(s, (nlb & 31) + 1);
	}
	point(&cmd, s, len);
	if (!p->entries)
		return;
	poke(p->sq + (uint64_t)p->tail * sizeof(cmd), &cmd, sizeof(cmd));
	p->tail = (p->tail + 1) % p->entries;
	if (s->what & 0x80)
		doorbell(2 * qid, p->tail, s->what & 0x40);
}

/* ---- the rest ---- */

static void shadows(bool on, uint8_t where)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_DOORBELL_BUFFER_CONFIG };
	uint64_t base = where & 8 ? place(where) : FZ_IOVA;

	cmd.dptr.prp.prp1 = on ? base + SHADOWS % (base == FZ_IOVA ? FZ_BYTES : SIDE_BYTES) : 0;
	cmd.dptr.prp.prp2 = on ? cmd.dptr.prp.prp1 + PAGE : 0;
	memset(fz_mem + SHADOWS, 0, 2 * PAGE);
	for (unsigned int qid = 1; qid <= QUEUES; qid++) {
		memcpy(fz_mem + SHADOWS + 8 * (size_t)qid, &pair[qid].tail, 4);
		memcpy(fz_mem + SHADOWS + 8 * (size_t)qid + 4, &pair[qid].head, 4);
	}
	is_shadowed = on;
	admin(&cmd);
}

static void irqs(const struct step *s)
{
	static const uint32_t data[] = { VFU_IRQ_DATA_EVENTFD, VFU_IRQ_DATA_NONE, VFU_IRQ_DATA_BOOL,
					 VFU_IRQ_DATA_EVENTFD };
	static const uint32_t action[] = { VFU_IRQ_ACTION_TRIGGER, VFU_IRQ_ACTION_MASK,
					   VFU_IRQ_ACTION_UNMASK, VFU_IRQ_ACTION_TRIGGER };
	struct {
		struct vfu_irq_set set;
		uint8_t which[8];
	} body = { .set = {
			   .argsz = sizeof(body.set),
			   .flags = data[s->b & 3] | action[s->b >> 2 & 3],
			   .index = s->a & 3 ? 2 : s->a >> 2 & 7, /* MSI-X, or another */
			   .start = s->c & 3,
			   .count = s->c >> 2 & 3,
		   } };
	int fds[] = { event_fd[0], event_fd[1], s->d & 1 ? cut_fd : event_fd[1] };
	bool has_fds = body.set.flags & VFU_IRQ_DATA_EVENTFD && !(s->b & 0x80);

	memcpy(body.which, &s->e, sizeof(body.which));
	fz_send(VFU_DEVICE_SET_IRQS, 0, &body,
		sizeof(body.set) + (body.set.flags & VFU_IRQ_DATA_BOOL ? body.set.count : 0), fds,
		has_fds ? body.set.count : 0);
	if (s->b & 0x40) { /* rung by the client, to mask and unmask */
		eventfd_write(event_fd[0], 1);
		eventfd_write(event_fd[1], 1);
	}
}

static void write_multi(const struct step *s)
{
	struct {
		uint64_t count;
		struct vfu_write_multi_entry entry[4];
	} body = { .count = 1 + (s->a & 3) };

	for (unsigned int i = 0; i < 4; i++) {
		unsigned int qid = 1 + (s->b + i) % QUEUES;

		body.entry[i] = (struct vfu_write_multi_entry){
			.offset = s->c & 1 ? BH_NVME_REG_DOORBELLS + 8ull * qid
					   : (s->d >> 8 * i & 0xff) * 4ull,
			.region = s->c & 2 ? 7 : 0,
			.count = 4,
		};
		memcpy(&body.entry[i].data, s->c & 1 ? (const void *)&pair[qid].tail : &s->e, 4);
	}
	fz_send(VFU_REGION_WRITE_MULTI, 0, &body,
		sizeof(body.count) + body.count * sizeof(body.entry[0]), NULL, 0);
}

static void detached(void *arg)
{
	(void)arg;
}

static void namespaces(const struct step *s)
{
	uint32_t nsid = 1 + s->a % FZ_NS;

	if (s->b & 1) {
		if (fz_blk[nsid]->md || fz_blk[nsid]->zones) /* which keep their size */
			return;
		bh_blk_resized(fz_blk[nsid], s->d % 2 ? 64 : bh_blk_info(fz_blk[nsid])->blocks);
	} else if (!is_detached[nsid]) {
		is_detached[nsid] = bh_target_nvme_ns_detach(fz_target, nsid, detached, NULL) == 0;
	} else {
		is_detached[nsid] =
			bh_target_nvme_ns_attach(fz_target, fz_blk[nsid], nsid) != (int)nsid;
	}
}

/* CC: disabled, enabled, shut down; and what was there is there no more. */
static void control(const struct step *s)
{
	const uint32_t sizes = 6u << 16 | 4u << 20;

	if (s->a & 1)
		fz_write(0, BH_NVME_REG_CC, sizes | (uint32_t)(s->b & 0xc0) << 8 | BH_NVME_CC_EN,
			 4);
	if (s->a & 2) {
		fz_write(0, BH_NVME_REG_CC, sizes | (uint32_t)(s->b & 0xc0) << 8, 4);
		memset(pair, 0, sizeof(pair));
		is_shadowed = false;
	}
	if (s->a & 4) {
		fz_send(VFU_DEVICE_RESET, 0, NULL, 0, NULL, 0);
		memset(pair, 0, sizeof(pair));
		is_shadowed = false;
	}
	fz_pump();
	if (s->a & 8)
		fz_enable();
}

static void features(const struct step *s)
{
	struct bh_nvme_cmd cmd = {
		.opc = s->a & 1 ? BH_NVME_ADMIN_SET_FEATURES : BH_NVME_ADMIN_GET_FEATURES,
		.nsid = s->a & 2 ? 1 + (s->a >> 2) % 6 : 0,
		.cdw10 = s->b,
		.cdw11 = s->d,
		.dptr.prp.prp1 = address((uint8_t)s->e, (uint16_t)(s->e >> 8)),
	};

	admin(&cmd);
}

static void other_admin(const struct step *s)
{
	static const uint8_t opcodes[] = { BH_NVME_ADMIN_ASYNC_EVENT, BH_NVME_ADMIN_ABORT,
					   BH_NVME_ADMIN_GET_LOG_PAGE, BH_NVME_ADMIN_IDENTIFY };
	uint64_t data = address((uint8_t)s->e, (uint16_t)(s->e >> 8));
	struct bh_nvme_cmd cmd = { .opc = opcodes[s->a & 3], .nsid = s->b };

	cmd.dptr.prp.prp1 = data;
	cmd.dptr.prp.prp2 = (data & ~(uint64_t)(PAGE - 1)) + PAGE;
	if (cmd.opc == BH_NVME_ADMIN_ABORT) /* one of the last */
		cmd.cdw10 = (uint32_t)(uint16_t)(next_cid - 1 - s->b % 16) << 16 | s->c % 6;
	else if (cmd.opc == BH_NVME_ADMIN_GET_LOG_PAGE)
		cmd.cdw10 = s->b | (uint32_t)s->c << 16 | (s->d & 1) << 15;
	else
		cmd.cdw10 = s->c;
	admin(&cmd);
}

static void cut(const struct step *s)
{
	if (s->a & 1)
		(void)!ftruncate(cut_fd, (off_t)(s->b % 16) * PAGE);
	else
		(void)!fallocate(cut_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIDE_BYTES);
}

static void cmb(const struct step *s)
{
	uint64_t at = s->a & 1 ? AT_CMB : address(s->b, (uint16_t)s->d);

	fz_write(0, BH_NVME_REG_CMBMSC, at | (s->c & 3), s->c & 4 ? 4 : 8);
}

static const int errors[] = { 0, 0, 0, -EIO, -ENOSPC, -EROFS, -ENODATA, -EILSEQ };

static void store(const struct step *s)
{
	unsigned int n = 1 + s->c % 8;

	if (s->a & 1)
		fz_store_habit(s->b);
	while (s->a & 2 && n-- && fz_store_complete(s->b, errors[s->d & 7]))
		continue;
}

static void perform(const struct step *s)
{
	unsigned int qid = 1 + s->a % QUEUES;

	switch (s->what & 0x1f) {
	default: /* half of all steps */
		io(s);
		return;
	case 0:
		fz_pump();
		return;
	case 1:
		reap(qid, s->b & 1);
		return;
	case 2:
		create_pair(s);
		return;
	case 3:
		delete_queue(s);
		return;
	case 4:
		doorbell(2 + s->a % (2 * QUEUES), s->d & 0xff, s->b & 1);
		return;
	case 5:
		shadows(s->a & 1, s->b);
		return;
	case 6:
		irqs(s);
		return;
	case 7:
		write_multi(s);
		return;
	case 8:
		namespaces(s);
		return;
	case 9:
		control(s);
		return;
	case 10:
		features(s);
		return;
	case 11:
		other_admin(s);
		return;
	case 12:
		cut(s);
		return;
	case 13:
		cmb(s);
		return;
	case 14:
		store(s);
		return;
	case 15:
		map_place(s->a);
		return;
	case 16:
		unmap_place(s->a, s->b & 1);
		return;
	case 17:
		fz_behave((enum fz_manners)(s->a % FZ_MANNERS));
		return;
	}
}

/* ---- an input ---- */

static int memory(uint8_t **at)
{
	int fd = memfd_create("side", MFD_CLOEXEC);
	void *va;

	if (fd < 0 || ftruncate(fd, SIDE_BYTES) != 0)
		fz_failed("no memory");
	va = mmap(NULL, SIDE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (va == MAP_FAILED)
		fz_failed("no memory");
	*at = va;
	return fd;
}

static void begin(uint8_t how)
{
	static const char twin_and_little[] =
		"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":24,"
		"\"twin_socket\":{\"supported\":true}}}";
	static const char *const offers[] = {
		"{\"capabilities\":{\"max_msg_fds\":16,\"write_multiple\":true}}",
		"{\"capabilities\":{\"max_msg_fds\":16,\"twin_socket\":{\"supported\":true}}}",
		"{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":4096}}",
		twin_and_little,
	};
	uint8_t *unused;

	if (read_only_fd < 0) {
		read_only_fd = memory(&read_only);
		cut_fd = memory(&unused);
		munmap(unused, SIDE_BYTES);
		event_fd[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		event_fd[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	memset(pair, 0, sizeof(pair));
	memset(read_only, 0x5a, SIDE_BYTES);
	memset(read_only_was, 0x5a, SIDE_BYTES);
	is_shadowed = false;
	next_list = 0;
	next_cid = 1;
	fz_store_habit(FZ_LATER);
	fz_connect();
	fz_negotiate_as(offers[how & 3]);
	fz_alias(AT_MESSAGES);
	fz_map(how & 4 ? FZ_MESSAGES : how & 8 ? FZ_FILE_IO : FZ_MAPPED);
	for (uint8_t where = 2; where < 7; where++)
		map_place(where);
	fz_enable();
	for (unsigned int qid = 1; how & 0x10 && qid <= QUEUES; qid++) {
		const struct step s = { .a = (uint8_t)(qid - 1), .b = 14, .c = 8, .d = 1 << 16 };

		create_pair(&s);
	}
}

static void end(bool leaves_first)
{
	static uint8_t was[FZ_BYTES];

	while (!leaves_first && fz_store_complete(0, 0))
		fz_pump();
	fz_disconnect();
	memcpy(was, fz_mem, FZ_BYTES);
	while (fz_store_complete(0, 0))
		fz_pump();
	fz_pump();
	if (memcmp(was, fz_mem, FZ_BYTES) != 0)
		fz_failed("it wrote to the memory of a client that had left");
	if (memcmp(read_only, read_only_was, SIDE_BYTES) != 0)
		fz_failed("it wrote to memory that is only to be read");
	for (uint32_t nsid = 1; nsid <= FZ_NS; nsid++) {
		bh_blk_resized(fz_blk[nsid], bh_blk_info(fz_blk[nsid])->blocks);
		if (is_detached[nsid] &&
		    bh_target_nvme_ns_attach(fz_target, fz_blk[nsid], nsid) != (int)nsid)
			fz_failed("a namespace does not come back");
		is_detached[nsid] = false;
	}
	fz_pump();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step s;

	if (size == 0)
		return 0;
	begin(data[0]);
	for (size_t i = 0; i < MAX_STEPS && 1 + (i + 1) * sizeof(s) <= size; i++) {
		memcpy(&s, data + 1 + i * sizeof(s), sizeof(s));
		perform(&s);
		if (!(s.what & 0x20))
			fz_pump();
	}
	fz_pump();
	end(data[0] & 0x20);
	return 0;
}

/* ---- mutations ---- */

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
				 uint8_t *out, size_t max_out, unsigned int seed);

static size_t steps_of(size_t size)
{
	size_t n = size ? (size - 1) / sizeof(struct step) : 0;

	return n < MAX_STEPS ? n : MAX_STEPS;
}

/* A step of its own making: a kind, and numbers in it. */
static void invent(uint8_t *at, unsigned int *seed)
{
	for (size_t i = 0; i < sizeof(struct step); i++)
		at[i] = (uint8_t)(rand_r(seed) >> 8);
	if (rand_r(seed) & 0x100) /* the first kinds have the more to say */
		at[0] = (uint8_t)((at[0] & 0xe0) | rand_r(seed) % 18);
	if (rand_r(seed) & 0x100) /* data in mapped memory, that takes none it may not have */
		at[8] &= 8;
	if (rand_r(seed) & 0x100)
		at[3] &= 0x7f;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	size_t n = steps_of(size), most = steps_of(max_size), i, k;
	const size_t one = sizeof(struct step);
	uint8_t *step = data + 1, saved[sizeof(struct step)];

	if (size == 0)
		data[0] = 0x10;
	i = n ? (size_t)rand_r(&seed) % n : 0;
	k = n ? (size_t)rand_r(&seed) % n : 0;
	switch (rand_r(&seed) % 8) {
	case 0: /* a new one */
	case 1:
		if (n < most) {
			memmove(step + (i + 1) * one, step + i * one, (n - i) * one);
			invent(step + i * one, &seed);
			n++;
		}
		break;
	case 2: /* one again */
		if (n && n < most) {
			memcpy(saved, step + k * one, one);
			memmove(step + (i + 1) * one, step + i * one, (n - i) * one);
			memcpy(step + i * one, saved, one);
			n++;
		}
		break;
	case 3: /* one less */
		if (n > 1) {
			memmove(step + i * one, step + (i + 1) * one, (n - i - 1) * one);
			n--;
		}
		break;
	case 4: /* in another order */
		if (n) {
			memcpy(saved, step + k * one, one);
			memcpy(step + k * one, step + i * one, one);
			memcpy(step + i * one, saved, one);
		}
		break;
	case 5:
		data[0] ^= (uint8_t)(1u << rand_r(&seed) % 6);
		break;
	default: /* changed inside, with what the comparisons it meets suggest */
		if (n)
			LLVMFuzzerMutate(step + i * one, one, one);
		break;
	}
	return 1 + n * one;
}

/* The beginning of one, the end of the other. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
				 uint8_t *out, size_t max_out, unsigned int seed)
{
	const size_t one = sizeof(struct step);
	size_t na = steps_of(a_size), nb = steps_of(b_size), most = steps_of(max_out);
	size_t head, tail;

	if (max_out == 0)
		return 0;
	out[0] = a_size ? a[0] : 0x10;
	head = na ? (size_t)rand_r(&seed) % (na + 1) : 0;
	head = head < most ? head : most;
	tail = nb ? (size_t)rand_r(&seed) % (nb + 1) : 0;
	tail = tail < most - head ? tail : most - head;
	if (head)
		memcpy(out + 1, a + 1, head * one);
	if (tail)
		memcpy(out + 1 + head * one, b + 1 + (nb - tail) * one, tail * one);
	return 1 + (head + tail) * one;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "../common/send_fds.h"
#include "fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bellhop/blk.h>
#include <bellhop/clock.h>
#include <bellhop/fault.h>
#include <bellhop/poll.h>
#include <bellhop/target_nvme.h>

/* A controller that needs longer than this for anything has hung. */
#define PATIENCE_NS 10000000000ull
#define FD_CHECK 256 /* inputs between two counts of open descriptors */
#define MAX_TURNS 100000u
#define MAX_FD 256

struct queue {
	uint32_t sq, cq; /* offsets in fz_mem */
	uint32_t tail, head;
	bool phase;
};

uint8_t *fz_mem;
int fz_mem_fd = -1;

/* One per controller of the world. */
static struct client {
	struct vfu_conn conn, twin;
	struct queue queue[2];
	uint32_t rings; /* where in fz_mem they begin */
} clients[FZ_CLIENTS], *self = clients;

static enum fz_manners manners;
static uint64_t alias[4];
static unsigned int num_aliases;
static uint16_t next_id;
static unsigned int inputs;
static int fds_expected;

void fz_failed(const char *what)
{
	fprintf(stderr, "fuzz: %s\n", what);
	abort();
}

/* ---- input ---- */

const uint8_t *fz_bytes(struct fz_input *in, size_t len, size_t *have)
{
	const uint8_t *at = in->at;

	*have = len < in->left ? len : in->left;
	in->at += *have;
	in->left -= *have;
	return at;
}

static uint64_t number(struct fz_input *in, size_t len)
{
	uint64_t value = 0;
	size_t have;
	const uint8_t *at = fz_bytes(in, len, &have);

	for (size_t i = 0; i < have; i++)
		value |= (uint64_t)at[i] << 8 * i;
	return value;
}

uint8_t fz_u8(struct fz_input *in)
{
	return (uint8_t)number(in, 1);
}

uint16_t fz_u16(struct fz_input *in)
{
	return (uint16_t)number(in, 2);
}

uint32_t fz_u32(struct fz_input *in)
{
	return (uint32_t)number(in, 4);
}

uint64_t fz_u64(struct fz_input *in)
{
	return number(in, 8);
}

uint64_t fz_address(struct fz_input *in)
{
	uint8_t kind = fz_u8(in);

	switch (kind & 7) {
	case 0:
		return 0;
	case 1:
	case 2:
		return FZ_IOVA + (uint64_t)(fz_u8(in) % (FZ_BYTES >> 12)) * 4096;
	case 3:
	case 4:
		return FZ_IOVA + (uint64_t)fz_u16(in) * 4;
	case 5:
		return FZ_IOVA + FZ_BYTES - (uint64_t)fz_u8(in) * 16;
	case 6:
		return FZ_IOVA + fz_u32(in);
	default:
		return fz_u64(in);
	}
}

/*
 * A byte says which fields follow; those that do not are zero, or the most usual.
 */
void fz_command(struct fz_input *in, struct bh_nvme_cmd *cmd)
{
	static const uint32_t nsids[] = { 1, 2, 3, BH_NVME_NSID_ALL, 4, 5, 6, 1 };
	uint8_t has = fz_u8(in), nsid;

	memset(cmd, 0, sizeof(*cmd));
	cmd->opc = fz_u8(in);
	cmd->flags = has & 1 ? fz_u8(in) : 0;
	cmd->cid = next_id++;
	nsid = has & 2 ? fz_u8(in) : 0;
	cmd->nsid = nsid < 8 ? nsids[nsid & 7] : nsid < 128 ? 0 : fz_u32(in);
	cmd->dptr.prp.prp1 = has & 4 ? fz_address(in) : FZ_IOVA + FZ_DATA;
	cmd->dptr.prp.prp2 = has & 8 ? fz_address(in) : FZ_IOVA + FZ_DATA + 4096;
	cmd->mptr = has & 128 ? fz_address(in) : 0;
	cmd->cdw10 = has & 16 ? fz_u32(in) : fz_u8(in);
	cmd->cdw11 = has & 32 ? fz_u32(in) : 0;
	cmd->cdw12 = has & 64 ? fz_u32(in) : fz_u8(in);
	if (has & 128) {
		cmd->cdw13 = fz_u32(in);
		cmd->cdw14 = fz_u32(in);
		cmd->cdw15 = fz_u32(in);
	}
}

/* ---- the controller ---- */

/* What a descriptor is of; the number of characters, 0: it is not open. */
static size_t fd_name(int fd, char name[128])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, 127);
	name[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

/* All but pipes: the fuzzer has some to its symbolizer, the controller has none. */
static int count_fds(void)
{
	char name[128];
	int n = 0;

	for (int fd = 0; fd < MAX_FD; fd++)
		n += fd_name(fd, name) && strncmp(name, "pipe:", 5) != 0;
	return n;
}

/* For the reader of the report: what is open. */
__attribute__((noreturn)) static void fds_explain(void)
{
	char name[128];

	for (int fd = 0; fd < MAX_FD; fd++)
		if (fd_name(fd, name))
			fprintf(stderr, "fd %d: %s\n", fd, name);
	fprintf(stderr, "fuzz: %d descriptors are open, %d were\n", count_fds(), fds_expected);
	fz_failed("it has kept file descriptors");
}

/*
 * An extended self-test goes on behind a reset, and a request that the store still holds keeps the
 * channel that it came by.
 */
static bool fds_are_back(void)
{
	for (unsigned int ms = 0; count_fds() > fds_expected; ms++) {
		if (ms == 5000)
			return false;
		while (fz_store_complete(0, 0))
			continue;
		usleep(1000);
		fz_pump();
	}
	return true;
}

/* Worlds that were made since have theirs. */
static void check_fds(void)
{
	static unsigned int worlds;

	if (worlds != fz_num_worlds())
		fds_expected = count_fds();
	else if (!fds_are_back())
		fds_explain();
	worlds = fz_num_worlds();
}

void fz_client_open(void)
{
	fz_mem_fd = memfd_create("client", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fz_mem_fd < 0 || ftruncate(fz_mem_fd, FZ_BYTES) != 0)
		fz_failed("no memory");
	fz_mem = mmap(NULL, FZ_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fz_mem_fd, 0);
	if (fz_mem == MAP_FAILED)
		fz_failed("no memory");
	for (unsigned int i = 0; i < FZ_CLIENTS; i++) {
		clients[i].conn.fd = clients[i].twin.fd = -1;
		clients[i].rings = i * 0x4000;
	}
}

/* ---- the client ---- */

void fz_behave(enum fz_manners now)
{
	manners = now;
}

void fz_alias(uint64_t iova)
{
	if (num_aliases < sizeof(alias) / sizeof(alias[0]))
		alias[num_aliases++] = iova;
}

/* Where in our memory that is; NULL: nowhere. */
static uint8_t *translate(const struct vfu_dma_access *access)
{
	uint64_t offset = access->address - FZ_IOVA;

	for (unsigned int i = 0; offset >= FZ_BYTES && i < num_aliases; i++)
		offset = access->address - alias[i];
	if (offset > FZ_BYTES || access->count > FZ_BYTES - offset)
		return NULL;
	return fz_mem + offset;
}

static void answer_dma(struct vfu_conn *to, const struct vfu_msg *msg)
{
	bool is_read = msg->header.command == VFU_DMA_READ;
	struct vfu_dma_access access;
	uint8_t *mem;

	if (msg->body_len < sizeof(access))
		fz_failed("a DMA message without a body");
	memcpy(&access, msg->body, sizeof(access));
	if (msg->body_len != sizeof(access) + (is_read ? 0 : access.count))
		fz_failed("a DMA message whose size is not its count");
	mem = translate(&access);
	if (!mem || manners == FZ_REFUSES) {
		vfu_conn_reply(to, &msg->header, EFAULT, NULL, 0, NULL, 0, NULL, 0);
		return;
	}
	if (!is_read)
		memcpy(mem, msg->body + sizeof(access), access.count);
	if (manners == FZ_ANSWERS_SHORT)
		access.count = (access.count + 1) / 2;
	if (manners == FZ_LIES)
		access.address ^= 4096;
	vfu_conn_reply(to, &msg->header, 0, &access, sizeof(access), mem,
		       is_read ? access.count : 0, NULL, 0);
}

static void close_conn(struct vfu_conn *from)
{
	if (from->fd >= 0)
		vfu_conn_fini(from);
	from->fd = -1;
}

static void hang_up(struct client *client)
{
	close_conn(&client->conn);
	close_conn(&client->twin);
}

/* False: nothing came. */
static bool receive(struct client *client, struct vfu_conn *from)
{
	struct vfu_msg msg;
	int rc;

	if (from->fd < 0 || manners == FZ_IS_DEAF)
		return false;
	memset(&msg, 0, sizeof(msg));
	rc = vfu_conn_recv(from, &msg);
	if (rc == -EPROTO)
		fz_failed("the controller sent a header that is none");
	if (rc < 0) {
		vfu_msg_fini(&msg);
		hang_up(client);
		return false;
	}
	if (rc == 1 && (msg.header.flags & VFU_FLAG_TYPE_MASK) == VFU_TYPE_COMMAND)
		answer_dma(from, &msg);
	if (rc == 1)
		vfu_msg_fini(&msg);
	return rc == 1;
}

static bool flush(struct vfu_conn *to)
{
	return to->fd >= 0 && vfu_conn_wants_out(to) && vfu_conn_flush(to) == 1;
}

static bool serve(struct client *client)
{
	bool moved = receive(client, &client->conn);

	moved |= receive(client, &client->twin);
	moved |= flush(&client->conn);
	moved |= flush(&client->twin);
	return moved;
}

void fz_pump(void)
{
	unsigned int idle = 0, turns = 0;

	while (idle < 2) {
		bool moved = fz_turn();

		for (unsigned int i = 0; i < FZ_CLIENTS; i++)
			moved |= serve(&clients[i]);
		idle = moved ? 0 : idle + 1;
		if (++turns > MAX_TURNS)
			fz_failed("it is busy for ever");
	}
}

static void connect_self(void)
{
	char path[FZ_PATH];
	int fd;

	fz_path((unsigned int)(self - clients), path);
	if (vfu_connect(path, 100, &fd) != 0)
		fz_failed("nobody listens");
	vfu_conn_init(&self->conn, fd, NULL);
	memset(self->queue, 0, sizeof(self->queue));
}

void fz_connect(void)
{
	self = clients;
	connect_self();
	memset(fz_mem, 0, FZ_BYTES);
	manners = FZ_ANSWERS;
	num_aliases = 0;
	next_id = 0;
	fz_pump();
}

void fz_use(unsigned int which)
{
	self = &clients[which];
	if (self->conn.fd >= 0 || which == 0)
		return;
	connect_self();
	fz_pump();
	fz_negotiate();
	fz_map(FZ_MAPPED);
	fz_enable();
	fz_create_queues();
}

void fz_raw(const void *buf, size_t len, const int *fds, unsigned int nfds)
{
	if (self->conn.fd < 0 || len == 0)
		return;
	/* What the socket does not take is the client's own loss: inputs are shorter than it is. */
	(void)!send_with_fds(self->conn.fd, buf, len, fds, nfds, MSG_DONTWAIT);
}

void fz_send(uint16_t command, uint32_t flags, const void *body, size_t len, const int *fds,
	     unsigned int nfds)
{
	uint8_t buf[4096];
	const struct vfu_header header = {
		.id = next_id++,
		.command = command,
		.size = (uint32_t)(sizeof(header) + len),
		.flags = flags,
	};

	if (len > sizeof(buf) - sizeof(header))
		fz_failed("the fuzz target's message is too long");
	memcpy(buf, &header, sizeof(header));
	if (len)
		memcpy(buf + sizeof(header), body, len);
	fz_raw(buf, sizeof(header) + len, fds, nfds);
}

void fz_negotiate_as(const char *json)
{
	uint64_t end = bh_now_ns() + PATIENCE_NS;
	size_t len = strlen(json) + 1;
	uint8_t body[512] = { 0 };
	struct vfu_msg msg;
	int rc;

	memcpy(body + 4, json, len);
	fz_send(VFU_VERSION, 0, body, 4 + len, NULL, 0);
	memset(&msg, 0, sizeof(msg));
	while ((rc = vfu_conn_recv(&self->conn, &msg)) == 0) {
		fz_turn();
		if (bh_now_ns() > end)
			fz_failed("it does not serve the next client");
	}
	if (rc != 1 || msg.header.flags & VFU_FLAG_ERROR)
		fz_failed("it refuses the next client");
	if (msg.nfds > 0) {
		vfu_conn_init(&self->twin, msg.fds[0], NULL);
		msg.fds[0] = -1;
		msg.nfds = 0;
	}
	vfu_msg_fini(&msg);
}

void fz_negotiate(void)
{
	fz_negotiate_as("{\"capabilities\":{\"max_msg_fds\":16,\"write_multiple\":true}}");
}

void fz_map(enum fz_memory memory)
{
	const uint32_t modes[] = { 0, VFU_DMA_FLAG_MMAP, VFU_DMA_FLAG_FILE_IO, 0 };
	const struct vfu_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFU_DMA_FLAG_READ | VFU_DMA_FLAG_WRITE | modes[memory],
		.address = FZ_IOVA,
		.size = FZ_BYTES,
	};

	if (memory != FZ_NO_MEMORY)
		fz_send(VFU_DMA_MAP, 0, &map, sizeof(map), &fz_mem_fd, memory != FZ_MESSAGES);
	fz_pump();
}

void fz_write(uint32_t region, uint64_t offset, uint64_t value, uint32_t count)
{
	struct {
		struct vfu_region_access access;
		uint64_t value;
	} body = { { offset, region, count }, value };

	fz_send(VFU_REGION_WRITE, VFU_FLAG_NO_REPLY, &body, sizeof(body.access) + (count & 15),
		NULL, 0);
}

void fz_read(uint32_t region, uint64_t offset, uint32_t count)
{
	const struct vfu_region_access access = { offset, region, count };

	fz_send(VFU_REGION_READ, 0, &access, sizeof(access), NULL, 0);
}

enum { CONFIG = 7, COMMAND = 4, MEMORY_AND_MASTER = 6 };

void fz_enable_as(uint32_t cc)
{
	self->queue[0] = (struct queue){ .sq = self->rings + FZ_ASQ,
					 .cq = self->rings + FZ_ACQ,
					 .phase = true };
	memset(fz_mem + self->queue[0].cq, 0, 0x1000);
	fz_write(CONFIG, COMMAND, MEMORY_AND_MASTER, 2);
	fz_write(0, BH_NVME_REG_AQA, (FZ_DEPTH - 1) << 16 | (FZ_DEPTH - 1), 4);
	fz_write(0, BH_NVME_REG_ASQ, FZ_IOVA + self->queue[0].sq, 8);
	fz_write(0, BH_NVME_REG_ACQ, FZ_IOVA + self->queue[0].cq, 8);
	fz_write(0, BH_NVME_REG_CC, BH_NVME_CC_EN | 6u << 16 | 4u << 20 | cc, 4);
	fz_pump();
}

void fz_enable(void)
{
	fz_enable_as(0);
}

void fz_create_queues(void)
{
	struct bh_nvme_cmd cq = {
		.opc = BH_NVME_ADMIN_CREATE_CQ,
		.dptr.prp.prp1 = FZ_IOVA + self->rings + FZ_CQ,
		.cdw10 = (FZ_DEPTH - 1) << 16 | 1,
		.cdw11 = 1,
	};
	struct bh_nvme_cmd sq = {
		.opc = BH_NVME_ADMIN_CREATE_SQ,
		.dptr.prp.prp1 = FZ_IOVA + self->rings + FZ_SQ,
		.cdw10 = (FZ_DEPTH - 1) << 16 | 1,
		.cdw11 = 1 << 16 | 1,
	};

	self->queue[1] = (struct queue){ .sq = self->rings + FZ_SQ,
					 .cq = self->rings + FZ_CQ,
					 .phase = true };
	fz_submit(0, &cq);
	fz_submit(0, &sq);
	fz_ring(0);
	fz_reap(0);
}

void fz_submit(unsigned int qid, const struct bh_nvme_cmd *cmd)
{
	struct queue *q = &self->queue[qid];

	memcpy(fz_mem + q->sq + q->tail * sizeof(*cmd), cmd, sizeof(*cmd));
	q->tail = (q->tail + 1) % FZ_DEPTH;
}

void fz_ring(unsigned int qid)
{
	fz_write(0, bh_nvme_sq_doorbell((uint16_t)qid, 0), self->queue[qid].tail, 4);
	fz_pump();
}

void fz_reap(unsigned int qid)
{
	struct queue *q = &self->queue[qid];
	struct bh_nvme_cpl cpl;
	unsigned int n = 0;

	for (;;) {
		memcpy(&cpl, fz_mem + q->cq + q->head * sizeof(cpl), sizeof(cpl));
		if ((cpl.status & BH_NVME_CPL_PHASE) != q->phase || n++ == FZ_DEPTH)
			break;
		q->head = (q->head + 1) % FZ_DEPTH;
		q->phase ^= q->head == 0;
	}
	if (n == 0)
		return;
	fz_write(0, bh_nvme_cq_doorbell((uint16_t)qid, 0), q->head, 4);
	fz_pump();
}

void fz_disconnect(void)
{
	for (unsigned int i = 0; i < FZ_CLIENTS; i++)
		hang_up(&clients[i]);
	fz_pump();
	fz_restore();
	if (++inputs % FD_CHECK)
		return;
	/* Settled only when the next client could be served. */
	fz_enter(FZ_PLAIN);
	fz_connect();
	fz_negotiate();
	check_fds();
	hang_up(self);
	fz_pump();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The I/O plane between fakes: a control plane that notes what it is told, interrupts that are
 * counted, and a host that is this program, with its memory in a memfd reached in any mode. One
 * thread steps everything. For one test program each: it defines functions.
 */
#ifndef TEST_TARGET_NVME_IO_RIG_H
#define TEST_TARGET_NVME_IO_RIG_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bellhop/clock.h>

#include "../../common/blk_late.h"
#include "target/nvme/plane.h"
#include "unit.h"

#define RIG_IOVA 0x100000000ull
#define RIG_RINGS_BYTES (1u << 20) /* rings, shadows, lists */
#define RIG_DATA_BYTES (4u << 20)
#define RIG_BYTES (RIG_RINGS_BYTES + RIG_DATA_BYTES)
#define RIG_DATA_AT RIG_RINGS_BYTES
#define RIG_SQ(q) ((q)*0x20000u) /* q from 1 */
#define RIG_CQ(q) ((q)*0x20000u + 0x10000u)
#define RIG_SHADOW 0xc0000u
#define RIG_EVENT 0xc1000u
#define RIG_LISTS 0xd0000u

struct rig_queue {
	uint16_t qid;
	uint32_t entries;
	uint32_t tail, head, sqhd;
	uint16_t phase;
};

struct rig {
	struct bh_target_nvme ctrl;
	struct bh_reactor *control, *threads[2];
	unsigned int num_threads;
	struct bh_cmem cmem;
	int fd;
	uint8_t *mem;
	struct tn_ns ns[4];
	struct rig_queue q[4];
	unsigned int errors, events, fatals, kicks, raises, dones;
	uint8_t event_info;
	uint16_t error_sf;
	uint16_t status; /* of the last callback */
	bool msix, line[BH_TARGET_NVME_MAX_QUEUES + 1];
	unsigned int said; /* that a line is up */
	bool is_shadow;
	unsigned int doorbells; /* registers rung by a host with shadows */
	unsigned int io_fds;
	bool hold_messages;
	unsigned int num_messages;
	struct tn_resv_cmd *resv;
	struct rig_message {
		bool write;
		uint64_t iova;
		void *buf;
		size_t len;
		bh_cmem_done done;
		void *arg;
	} message[64];
};

static struct rig rig;
static uint64_t rig_idle_ns; /* of the poll threads; 0: the default */

/* ---- fakes ---- */

void tn_error_add(struct bh_target_nvme *ctrl, uint16_t sqid, uint16_t cid, uint16_t sf,
		  uint16_t param, uint64_t lba, uint32_t nsid)
{
	(void)ctrl, (void)sqid, (void)cid, (void)param, (void)lba, (void)nsid;
	__atomic_fetch_add(&rig.errors, 1, __ATOMIC_RELAXED);
	rig.error_sf = sf;
}

void tn_event_raise(struct bh_target_nvme *ctrl, uint8_t type, uint8_t info, uint8_t lid)
{
	(void)ctrl, (void)type, (void)lid;
	__atomic_fetch_add(&rig.events, 1, __ATOMIC_RELAXED);
	rig.event_info = info;
}

void tn_ctrl_fatal(struct bh_target_nvme *ctrl, const char *why)
{
	(void)ctrl, (void)why;
	__atomic_fetch_add(&rig.fatals, 1, __ATOMIC_RELAXED);
}

void tn_admin_kick(struct bh_target_nvme *ctrl)
{
	(void)ctrl;
	__atomic_fetch_add(&rig.kicks, 1, __ATOMIC_RELAXED);
}

/* A reservation command waits for the test to answer it. */
void tn_resv_cmd_come(struct tn_resv_cmd *cmd)
{
	rig.resv = cmd;
}

bool bh_vfu_irq_raise(struct bh_vfu_server *server, unsigned int vector)
{
	(void)server, (void)vector;
	__atomic_fetch_add(&rig.raises, 1, __ATOMIC_RELAXED);
	return true;
}

void bh_vfu_irq_level(struct bh_vfu_server *server, unsigned int vector, bool asserted)
{
	(void)server;
	rig.line[vector] = asserted;
	rig.said += asserted;
}

bool bh_vfu_irq_msix_enabled(const struct bh_vfu_server *server)
{
	(void)server;
	return rig.msix;
}

int bh_vfu_server_io_fd_add(struct bh_vfu_server *server, const struct bh_vfu_io_fd *io_fd)
{
	(void)server, (void)io_fd;
	rig.io_fds++;
	return 0;
}

static void rig_answer(const struct rig_message *m, int status)
{
	uint8_t *at = rig.mem + (m->iova - RIG_IOVA);

	if (!status && m->write)
		memcpy(at, m->buf, m->len);
	else if (!status)
		memcpy(m->buf, at, m->len);
	m->done(m->arg, status);
}

static void rig_message(void *ctx, bool write, uint64_t iova, void *buf, size_t len,
			bh_cmem_done done, void *arg)
{
	const struct rig_message m = { write, iova, buf, len, done, arg };

	(void)ctx;
	if (rig.hold_messages && rig.num_messages < 64)
		rig.message[rig.num_messages++] = m;
	else
		rig_answer(&m, 0);
}

static inline unsigned int rig_answer_all(int status)
{
	struct rig_message m[64];
	unsigned int i, n = rig.num_messages;

	memcpy(m, rig.message, sizeof(m));
	rig.num_messages = 0;
	for (i = 0; i < n; i++)
		rig_answer(&m[i], status);
	return n;
}

static const struct bh_cmem_ops rig_cmem_ops = { .message = rig_message };

/* ---- stepping ---- */

static void rig_step(void)
{
	unsigned int i;

	for (i = 0; i < rig.num_threads; i++)
		bh_reactor_run_once(rig.threads[i]);
	bh_reactor_run_once(rig.control);
}

static inline void rig_steps(unsigned int n)
{
	while (n-- > 0)
		rig_step();
}

static inline bool rig_until(const unsigned int *counter, unsigned int value)
{
	uint64_t end = bh_now_ns() + 5000000000ull;

	while (*counter < value && bh_now_ns() < end)
		rig_step();
	return *counter >= value;
}

static void rig_done(void *arg, uint16_t status)
{
	(void)arg;
	rig.status = status;
	rig.dones++;
}

static void rig_done_void(void *arg)
{
	rig_done(arg, 0);
}

static void rig_done_error(void *arg, int error)
{
	rig_done(arg, (uint16_t)-error);
}

/* ---- memory ---- */

static inline void rig_map(uint64_t at, uint64_t len, enum bh_cmem_mode mode)
{
	int fd = mode == BH_CMEM_MESSAGE ? -1 : dup(rig.fd);

	CU_ASSERT_EQUAL(bh_cmem_add(&rig.cmem, RIG_IOVA + at, len,
				    BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE, mode, fd, at),
			0);
}

static inline void *rig_at(uint64_t at)
{
	return rig.mem + at;
}

/* ---- life ---- */

static inline void rig_open(enum bh_cmem_mode rings, enum bh_cmem_mode data, unsigned int threads,
			    enum bh_target_doorbells doorbells)
{
	struct bh_reactor_opts o;
	unsigned int i;

	memset(&rig, 0, sizeof(rig));
	rig.msix = true;
	rig.num_threads = threads;
	rig.fd = memfd_create("rig", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CU_ASSERT_EQUAL(ftruncate(rig.fd, RIG_BYTES), 0);
	rig.mem = mmap(NULL, RIG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, rig.fd, 0);
	CU_ASSERT_EQUAL(bh_cmem_init(&rig.cmem, &rig_cmem_ops, NULL, 64, NULL), 0);
	rig_map(0, RIG_RINGS_BYTES, rings);
	rig_map(RIG_DATA_AT, RIG_DATA_BYTES, data);
	bh_reactor_opts_init(&o);
	CU_ASSERT_EQUAL(bh_reactor_create(&o, &rig.control), 0);
	if (rig_idle_ns)
		o.idle_ns = rig_idle_ns;
	for (i = 0; i < threads; i++)
		CU_ASSERT_EQUAL(bh_reactor_create(&o, &rig.threads[i]), 0);
	rig.ctrl.cmem = &rig.cmem;
	rig.ctrl.control = rig.control;
	rig.ctrl.max_queues = 64;
	rig.ctrl.mdts = 1u << 20;
	rig.ctrl.doorbells = doorbells;
	rig.ctrl.idle_poll_ns = 1000000;
	rig.ctrl.doorbell_bytes = TN_PAGE_SIZE;
	rig.ctrl.doorbell_page = calloc(1, TN_PAGE_SIZE);
	CU_ASSERT_EQUAL(tn_io_create(&rig.ctrl, rig.threads, threads), 0);
}

static inline void rig_spec(uint32_t nsid, const struct bh_blk_type *type,
			    const struct bh_blk_spec *spec)
{
	struct tn_ns *ns = &rig.ns[nsid];
	char why[256];

	CU_ASSERT_EQUAL_FATAL(type->create(spec, spec->arg, NULL, why, &ns->blk), 0);
	ns->nsid = nsid;
	ns->block_shift = spec->block_size == 512 ? 9 : 12;
	ns->blocks = bh_blk_info(ns->blk)->blocks;
	tn_io_ns_add(&rig.ctrl, ns, rig_done_error, NULL);
	CU_ASSERT_EQUAL_FATAL(rig.status, 0);
}

static inline void rig_ns(uint32_t nsid, const struct bh_blk_type *type, const char *arg,
			  uint32_t bs)
{
	const struct bh_blk_spec spec = { .arg = arg, .block_size = bs };

	rig_spec(nsid, type, &spec);
}

static inline void rig_close(void)
{
	unsigned int i, dones;

	tn_io_gate(&rig.ctrl, TN_GATE_ALL, 0, 0, rig_done_void, NULL);
	tn_io_drop_queues(&rig.ctrl);
	tn_io_ungate(&rig.ctrl);
	for (i = 1; i < 4; i++) {
		if (!rig.ns[i].blk)
			continue;
		dones = rig.dones;
		tn_io_ns_remove(&rig.ctrl, &rig.ns[i], rig_done_void, NULL);
		CU_ASSERT(rig_until(&rig.dones, dones + 1));
		bh_blk_put(rig.ns[i].blk);
	}
	dones = rig.dones;
	tn_io_destroy(&rig.ctrl, rig_done_void, NULL);
	CU_ASSERT_EQUAL(rig.dones, dones + 1);
	CU_ASSERT_PTR_NULL(rig.ctrl.io);
	rig_answer_all(-ENODEV);
	for (i = 0; i < rig.num_threads; i++)
		bh_reactor_destroy(rig.threads[i]);
	bh_reactor_destroy(rig.control);
	bh_cmem_fini(&rig.cmem);
	free(rig.ctrl.doorbell_page);
	munmap(rig.mem, RIG_BYTES);
	close(rig.fd);
}

/* ---- the host ---- */

static inline void rig_queue(uint16_t qid, uint32_t entries, bool interrupt)
{
	struct tn_queue_params p = { .qid = qid,
				     .cqid = qid,
				     .entries = entries,
				     .iova = RIG_IOVA + RIG_CQ(qid),
				     .interrupt = interrupt,
				     .vector = qid };

	memset(rig_at(RIG_SQ(qid)), 0, 0x20000);
	rig.q[qid] = (struct rig_queue){ .qid = qid, .entries = entries, .phase = 1 };
	tn_io_cq_create(&rig.ctrl, &p, rig_done, NULL);
	CU_ASSERT_EQUAL(rig.status, 0);
	p.iova = RIG_IOVA + RIG_SQ(qid);
	tn_io_sq_create(&rig.ctrl, &p, rig_done, NULL);
	CU_ASSERT_EQUAL(rig.status, 0);
}

/* Linux's arithmetic. */
static inline bool rig_rings(unsigned int k, uint32_t value)
{
	uint32_t *db = rig_at(RIG_SHADOW + 4 * k), *ei = rig_at(RIG_EVENT + 4 * k);
	uint16_t old = (uint16_t)*db, event;

	__atomic_store_n(db, value, __ATOMIC_SEQ_CST);
	bh_mb();
	event = (uint16_t)__atomic_load_n(ei, __ATOMIC_SEQ_CST);
	return (uint16_t)(value - event - 1) < (uint16_t)(value - old);
}

static inline void rig_ring(unsigned int k, uint32_t value)
{
	if (rig.is_shadow && !rig_rings(k, value))
		return;
	rig.doorbells += rig.is_shadow;
	if (rig.ctrl.doorbells == BH_DOORBELLS_MAPPED)
		__atomic_store_n(tn_doorbell(&rig.ctrl, k), value, __ATOMIC_RELEASE);
	else
		tn_io_doorbell_write(&rig.ctrl, 4ull * k, value);
}

static inline void rig_put(struct rig_queue *q, const struct bh_nvme_cmd *cmd)
{
	memcpy(rig_at(RIG_SQ(q->qid) + q->tail * sizeof(*cmd)), cmd, sizeof(*cmd));
	q->tail = (q->tail + 1) % q->entries;
}

static inline void rig_tail(struct rig_queue *q)
{
	rig_ring(2u * q->qid, q->tail);
}

static inline void rig_head(struct rig_queue *q)
{
	rig_ring(2u * q->qid + 1, q->head);
}

static inline bool rig_get(struct rig_queue *q, struct bh_nvme_cpl *cpl)
{
	const struct bh_nvme_cpl *at = rig_at(RIG_CQ(q->qid) + q->head * sizeof(*cpl));
	uint32_t dw3 = bh_load_acquire_u32(&at->cid);

	if ((dw3 >> 16 & 1) != q->phase)
		return false;
	*cpl = *at;
	CU_ASSERT_EQUAL(cpl->sqid, q->qid);
	q->sqhd = cpl->sqhd;
	if (++q->head == q->entries) {
		q->head = 0;
		q->phase ^= 1;
	}
	return true;
}

static inline struct bh_nvme_cmd rig_cmd(uint8_t opc, uint64_t lba, uint32_t blocks, uint64_t data)
{
	struct bh_nvme_cmd cmd = { .opc = opc, .nsid = 1 };

	cmd.dptr.prp.prp1 = RIG_IOVA + data;
	cmd.dptr.prp.prp2 = (RIG_IOVA + data + 4096) & ~4095ull;
	cmd.cdw10 = (uint32_t)lba;
	cmd.cdw11 = (uint32_t)(lba >> 32);
	cmd.cdw12 = blocks - 1;
	return cmd;
}

/* One command on queue 1 from beginning to end: its status field, 0xffff when it does not end. */
static inline uint16_t rig_run(const struct bh_nvme_cmd *cmd)
{
	struct rig_queue *q = &rig.q[1];
	struct bh_nvme_cpl cpl;
	uint64_t end = bh_now_ns() + 5000000000ull;

	rig_put(q, cmd);
	rig_tail(q);
	while (bh_now_ns() < end) {
		rig_step();
		if (rig_get(q, &cpl)) {
			rig_head(q);
			CU_ASSERT_EQUAL(cpl.cid, cmd->cid);
			return bh_nvme_cpl_status(&cpl);
		}
	}
	return 0xffff;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control plane between fakes: a vfio-user server that is a table of calls, an I/O plane that
 * notes what it is asked for, and a client that is this program, with its memory in a memfd. For
 * one test program each: it defines functions.
 */
#ifndef TEST_TARGET_NVME_CONTROL_RIG_H
#define TEST_TARGET_NVME_CONTROL_RIG_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bellhop/clock.h>

#include "target/nvme/io.h"
#include "unit.h"

#define RIG_IOVA 0x100000000ull
#define RIG_BYTES (1024u * 1024)
#define RIG_SQ 0x0u
#define RIG_CQ 0x40000u
#define RIG_DATA 0x80000u

/* ---- the server ---- */

struct bh_vfu_server {
	struct bh_vfu_server_opts opts;
	struct bh_vfu_bar bar0;
	struct bh_cmem cmem;
	unsigned int quiesced, raised;
	bool msix;
	bool level;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

struct message {
	bool write;
	uint64_t iova;
	void *buf;
	size_t len;
	bh_cmem_done done;
	void *arg;
};

struct rig {
	struct bh_reactor *control;
	struct bh_target_nvme *ctrl;
	struct bh_vfu_server *server;
	int fd;
	uint8_t *mem;
	uint32_t sq_entries, cq_entries;
	uint32_t sq_tail, cq_head;
	bool phase;
	uint16_t next_cid;
	bool hold_messages; /* of a client that is slow to answer */
	unsigned int num_messages;
	struct message message[64];
	/* the I/O plane */
	bool has_cq[BH_TARGET_NVME_MAX_QUEUES + 1];
	uint16_t sq_cq[BH_TARGET_NVME_MAX_QUEUES + 1];
	struct tn_queue_params params; /* the last */
	bool hold_io;		       /* answers wait */
	tn_done io_done;
	void *io_arg;
	bool hold_flush; /* until rig_flush_answer() */
	tn_done flush_done;
	void *flush_arg;
	unsigned int flushes, flushes_given_up;
	bool hold_gate;
	void (*gate_done)(void *arg);
	void *gate_arg;
	bool is_gated, is_watching;
	enum tn_gate gate_kind;
	unsigned int stops;
	unsigned int gates, drops, doorbells, resizes, irqs_changed;
	uint64_t shadow, event_idx;
	unsigned int pauses;
	bool has_left;
	bool hold_go_on; /* of the last that should, until rig_go_on() */
	void (*went_on)(void *arg);
	void *went_on_arg;
	unsigned int misuse; /* of the I/O plane: the test fails in teardown */
	int ns_error;
	unsigned int namespaces;
	struct bh_target_nvme_stats stats;
	unsigned int denials, aborted;
	uint8_t denied;
	struct tn_resv_cmd *returned;
};

static struct rig rig;

static inline void rig_message(void *ctx, bool write, uint64_t iova, void *buf, size_t len,
			       bh_cmem_done done, void *arg)
{
	(void)ctx;
	rig.message[rig.num_messages++] = (struct message){ write, iova, buf, len, done, arg };
}

/* Answers the messages there are, in order. */
static inline void rig_answer(void)
{
	unsigned int i, n = rig.num_messages;
	struct message todo[64];

	memcpy(todo, rig.message, sizeof(todo));
	rig.num_messages = 0;
	for (i = 0; i < n; i++) {
		uint8_t *at = rig.mem + (todo[i].iova - RIG_IOVA);

		memcpy(todo[i].write ? at : todo[i].buf, todo[i].write ? todo[i].buf : at,
		       todo[i].len);
		todo[i].done(todo[i].arg, 0);
	}
}

static const struct bh_cmem_ops rig_cmem_ops = { .message = rig_message };

void bh_vfu_server_opts_init(struct bh_vfu_server_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
}

int bh_vfu_server_create(const struct bh_vfu_server_opts *opts, struct bh_vfu_server **out)
{
	struct bh_vfu_server *server = calloc(1, sizeof(*server));

	server->opts = *opts;
	server->bar0 = opts->bar[0];
	bh_cmem_init(&server->cmem, &rig_cmem_ops, NULL, 16, NULL);
	server->msix = true;
	*out = server;
	rig.server = server;
	return 0;
}

void bh_vfu_server_destroy(struct bh_vfu_server *server)
{
	if (!server)
		return;
	bh_cmem_fini(&server->cmem);
	free(server);
	rig.server = NULL;
}

/* A client that leaves: quiesce, reset, resume, and the end. */
void bh_vfu_server_shutdown(struct bh_vfu_server *server, void (*done)(void *arg), void *arg)
{
	server->stopped = done;
	server->stopped_arg = arg;
	server->opts.ops->quiesce(server->opts.ops_ctx, BH_QUIESCE_DISCONNECT, 0, 0);
}

void bh_vfu_server_quiesced(struct bh_vfu_server *server)
{
	server->quiesced++;
	if (!server->stopped)
		return;
	server->opts.ops->reset(server->opts.ops_ctx, BH_RESET_LOST);
	server->opts.ops->resume(server->opts.ops_ctx, BH_QUIESCE_DISCONNECT);
	server->stopped(server->stopped_arg);
}

struct bh_cmem *bh_vfu_server_cmem(struct bh_vfu_server *server)
{
	return &server->cmem;
}

bool bh_vfu_irq_raise(struct bh_vfu_server *server, unsigned int vector)
{
	server->raised += vector == 0;
	return true;
}

void bh_vfu_irq_level(struct bh_vfu_server *server, unsigned int vector, bool asserted)
{
	if (vector == 0)
		server->level = asserted;
}

bool bh_vfu_irq_msix_enabled(const struct bh_vfu_server *server)
{
	return server->msix;
}

/* ---- the I/O plane ---- */

static inline void io_answer(tn_done done, void *arg, uint16_t status)
{
	if (rig.hold_io) {
		rig.io_done = done;
		rig.io_arg = arg;
	} else {
		done(arg, status);
	}
}

static inline void rig_io_answer(uint16_t status)
{
	tn_done done = rig.io_done;

	rig.io_done = NULL;
	if (done)
		done(rig.io_arg, status);
}

int tn_io_create(struct bh_target_nvme *ctrl, struct bh_reactor *const *threads,
		 unsigned int num_threads)
{
	(void)threads;
	(void)num_threads;
	ctrl->io = (struct tn_io *)&rig;
	return 0;
}

void tn_io_destroy(struct bh_target_nvme *ctrl, void (*done)(void *arg), void *arg)
{
	ctrl->io = NULL;
	done(arg);
}

void tn_io_run_once(struct bh_target_nvme *ctrl)
{
	(void)ctrl;
}

int tn_io_offer_fds(struct bh_target_nvme *ctrl, uint64_t offset)
{
	(void)ctrl;
	(void)offset;
	return 0;
}

bool tn_io_has_cq(const struct bh_target_nvme *ctrl, uint16_t qid)
{
	return qid <= ctrl->max_queues && rig.has_cq[qid];
}

bool tn_io_has_sq(const struct bh_target_nvme *ctrl, uint16_t qid)
{
	return qid <= ctrl->max_queues && rig.sq_cq[qid];
}

unsigned int tn_io_cq_users(const struct bh_target_nvme *ctrl, uint16_t qid)
{
	unsigned int i, users = 0;

	for (i = 1; i <= ctrl->max_queues; i++)
		users += rig.sq_cq[i] == qid;
	return users;
}

void tn_io_cq_create(struct bh_target_nvme *ctrl, const struct tn_queue_params *params,
		     tn_done done, void *arg)
{
	(void)ctrl;
	rig.params = *params;
	rig.has_cq[params->qid] = true;
	io_answer(done, arg, 0);
}

void tn_io_sq_create(struct bh_target_nvme *ctrl, const struct tn_queue_params *params,
		     tn_done done, void *arg)
{
	(void)ctrl;
	rig.params = *params;
	rig.sq_cq[params->qid] = params->cqid;
	io_answer(done, arg, 0);
}

void tn_io_cq_delete(struct bh_target_nvme *ctrl, uint16_t qid, tn_done done, void *arg)
{
	(void)ctrl;
	rig.has_cq[qid] = false;
	io_answer(done, arg, 0);
}

void tn_io_sq_delete(struct bh_target_nvme *ctrl, uint16_t qid, tn_done done, void *arg)
{
	(void)ctrl;
	rig.sq_cq[qid] = 0;
	io_answer(done, arg, 0);
}

void tn_io_abort(struct bh_target_nvme *ctrl, uint16_t sqid, uint16_t cid, tn_done done, void *arg)
{
	(void)ctrl;
	(void)sqid;
	io_answer(done, arg, cid == 7 ? 0 : 1);
}

void tn_io_shadow_set(struct bh_target_nvme *ctrl, uint64_t doorbells, uint64_t event_idx,
		      tn_done done, void *arg)
{
	(void)ctrl;
	rig.shadow = doorbells;
	rig.event_idx = event_idx;
	io_answer(done, arg, 0);
}

void tn_io_doorbell_write(struct bh_target_nvme *ctrl, uint64_t offset, uint32_t value)
{
	(void)ctrl;
	(void)offset;
	(void)value;
	rig.doorbells++;
}

void tn_io_stop(struct bh_target_nvme *ctrl)
{
	(void)ctrl;
	rig.stops++;
}

void tn_io_irqs_changed(struct bh_target_nvme *ctrl)
{
	(void)ctrl;
	rig.misuse += rig.is_gated; /* doorbells may be in memory that is going */
	rig.irqs_changed++;
}

void tn_io_gate(struct bh_target_nvme *ctrl, enum tn_gate kind, uint64_t iova, uint64_t len,
		void (*done)(void *arg), void *arg)
{
	(void)ctrl;
	(void)iova;
	(void)len;
	rig.misuse += rig.is_gated; /* one at a time */
	rig.is_gated = true;
	rig.gate_kind = kind;
	rig.gates++;
	if (rig.hold_gate) {
		rig.gate_done = done;
		rig.gate_arg = arg;
	} else {
		done(arg);
	}
}

static inline void rig_gate_closes(void)
{
	void (*done)(void *arg) = rig.gate_done;

	rig.gate_done = NULL;
	if (done)
		done(rig.gate_arg);
}

void tn_io_drop_queues(struct bh_target_nvme *ctrl)
{
	rig.misuse += !rig.is_gated;
	memset(rig.has_cq, 0, sizeof(rig.has_cq));
	memset(rig.sq_cq, 0, sizeof(rig.sq_cq));
	memset(ctrl->doorbell_page, 0, ctrl->doorbell_bytes);
	rig.drops++;
}

void tn_io_ungate(struct bh_target_nvme *ctrl)
{
	(void)ctrl;
	rig.misuse += !rig.is_gated;
	rig.is_gated = false;
}

void tn_io_ns_add(struct bh_target_nvme *ctrl, struct tn_ns *ns, void (*done)(void *arg, int error),
		  void *arg)
{
	(void)ctrl;
	(void)ns;
	rig.namespaces += !rig.ns_error;
	done(arg, rig.ns_error);
}

void tn_io_ns_remove(struct bh_target_nvme *ctrl, struct tn_ns *ns, void (*done)(void *arg),
		     void *arg)
{
	(void)ctrl;
	(void)ns;
	rig.namespaces--;
	done(arg);
}

void tn_io_ns_resized(struct bh_target_nvme *ctrl, struct tn_ns *ns)
{
	(void)ctrl;
	(void)ns;
	rig.resizes++;
}

void *tn_io_deny_new(struct bh_target_nvme *ctrl)
{
	(void)ctrl;
	return malloc(1);
}

void tn_io_deny_send(void *deny, uint32_t nsid, uint8_t bits, bool is_aborting,
		     void (*done)(void *arg), void *arg)
{
	(void)nsid;
	free(deny);
	rig.denials++;
	rig.denied = bits;
	rig.aborted += is_aborting;
	done(arg);
}

void tn_io_deny_free(void *deny)
{
	free(deny);
}

/* A reservation command has been carried out: it stays where it is. */
void tn_resv_cmd_return(struct tn_resv_cmd *cmd)
{
	rig.returned = cmd;
}

void tn_io_ns_pause(struct bh_target_nvme *ctrl, struct tn_ns *ns, void (*done)(void *arg),
		    void *arg)
{
	(void)ctrl;
	(void)ns;
	rig.pauses++;
	done(arg);
}

void tn_io_ns_go_on(struct bh_target_nvme *ctrl, struct tn_ns *ns, void (*done)(void *arg),
		    void *arg)
{
	(void)ctrl;
	(void)ns;
	rig.pauses--;
	if (rig.hold_go_on && !rig.pauses) {
		rig.went_on = done;
		rig.went_on_arg = arg;
	} else {
		done(arg);
	}
}

bool tn_io_ns_has_left(const struct tn_ns *ns)
{
	(void)ns;
	return rig.has_left;
}

static inline void rig_go_on(void)
{
	void (*done)(void *arg) = rig.went_on;

	rig.went_on = NULL;
	rig.hold_go_on = false;
	if (done)
		done(rig.went_on_arg);
}

static inline void rig_flush_answer(uint16_t status)
{
	tn_done done = rig.flush_done;

	rig.flush_done = NULL;
	if (done)
		done(rig.flush_arg, status);
}

void tn_io_flush(struct bh_target_nvme *ctrl, tn_done done, void *arg)
{
	(void)ctrl;
	rig.misuse += rig.flush_done != NULL; /* one at a time */
	rig.flushes++;
	rig.flush_done = done;
	rig.flush_arg = arg;
	if (!rig.hold_flush)
		rig_flush_answer(0);
}

void tn_io_flush_give_up(struct bh_target_nvme *ctrl)
{
	(void)ctrl;
	rig.flushes_given_up++;
	rig_flush_answer(BH_NVME_SC_WRITE_FAULT);
}

void tn_io_stats(struct bh_target_nvme *ctrl, struct bh_target_nvme_stats *stats)
{
	(void)ctrl;
	*stats = rig.stats;
}

void bh_target_nvme_queues(struct bh_target_nvme *ctrl, const struct bh_clock *clock,
			   bh_target_nvme_queue_fn fn, void *ctx)
{
	static struct bh_histogram latency;
	const struct bh_target_nvme_queue_stats stats = {
		.qid = 3, .is_here = true, .cqid = 3, .counts.reads = 77, .latency = &latency
	};

	(void)ctrl;
	(void)clock;
	bh_histogram_init(&latency);
	if (rig.has_cq[3])
		fn(ctx, &stats);
}

bool bh_target_nvme_ns_stats(struct bh_target_nvme *ctrl, uint32_t nsid,
			     const struct bh_clock *clock, struct bh_histogram *latency,
			     struct bh_target_nvme_ns_stats *stats)
{
	(void)clock;
	*stats = (struct bh_target_nvme_ns_stats){ .nsid = nsid, .latency = latency };
	bh_histogram_init(latency);
	return ctrl->ns[nsid] != NULL;
}

void tn_io_watch_admin(struct bh_target_nvme *ctrl, bool on)
{
	(void)ctrl;
	rig.is_watching = on;
}

static inline void xfer_end(void *arg, int status)
{
	struct tn_xfer *xfer = arg;

	xfer->done(xfer->arg, status ? BH_NVME_SC_DATA_TRANSFER_ERROR : 0);
}

/* Data lies in one piece at PRP1 here. */
void tn_xfer_run(struct tn_xfer *xfer)
{
	if (xfer->to_client)
		bh_cmem_write(xfer->cmem, xfer->cmd.dptr.prp.prp1, xfer->buf, xfer->len, xfer_end,
			      xfer);
	else
		bh_cmem_read(xfer->cmem, xfer->cmd.dptr.prp.prp1, xfer->buf, xfer->len, xfer_end,
			     xfer);
}

/* ---- the client ---- */

static inline uint64_t rig_read(uint64_t offset, size_t count)
{
	uint64_t value = 0;

	/* No assertion: setup reads too, where CUnit allows none. */
	return rig.server->opts.ops->access(rig.ctrl, 0, offset, &value, count, false) ? UINT64_MAX
										       : value;
}

static inline int rig_write(uint64_t offset, uint64_t value, size_t count)
{
	return rig.server->opts.ops->access(rig.ctrl, 0, offset, &value, count, true);
}

static inline void rig_pump(void)
{
	unsigned int i;

	for (i = 0; i < 16; i++) {
		bh_reactor_run_once(rig.control);
		if (!rig.hold_messages)
			rig_answer();
	}
}

static inline void rig_queues(uint32_t sq_entries, uint32_t cq_entries)
{
	rig.sq_entries = sq_entries;
	rig.cq_entries = cq_entries;
	rig.sq_tail = rig.cq_head = 0;
	rig.phase = true;
	memset(rig.mem + RIG_CQ, 0, cq_entries * sizeof(struct bh_nvme_cpl));
	rig_write(BH_NVME_REG_AQA, (cq_entries - 1) << 16 | (sq_entries - 1), 4);
	rig_write(BH_NVME_REG_ASQ, RIG_IOVA + RIG_SQ, 8);
	rig_write(BH_NVME_REG_ACQ, RIG_IOVA + RIG_CQ, 8);
}

#define RIG_CC (BH_NVME_CC_EN | 6u << 16 | 4u << 20)

static inline void rig_enable(uint32_t sq_entries, uint32_t cq_entries)
{
	rig_queues(sq_entries, cq_entries);
	rig.misuse += rig_write(BH_NVME_REG_CC, RIG_CC, 4) != 0;
	rig.misuse += rig_read(BH_NVME_REG_CSTS, 4) != BH_NVME_CSTS_RDY;
}

static inline void rig_disable(void)
{
	rig_write(BH_NVME_REG_CC, 0, 4);
}

static inline void rig_submit_quietly(const struct bh_nvme_cmd *cmd)
{
	memcpy(rig.mem + RIG_SQ + rig.sq_tail * sizeof(*cmd), cmd, sizeof(*cmd));
	rig.sq_tail = (rig.sq_tail + 1) % rig.sq_entries;
}

static inline void rig_ring(void)
{
	rig_write(bh_nvme_sq_doorbell(0, rig.ctrl->dstrd), rig.sq_tail, 4);
	rig_pump();
}

/* False: there is none. */
static inline bool rig_reap_quietly(struct bh_nvme_cpl *cpl)
{
	memcpy(cpl, rig.mem + RIG_CQ + rig.cq_head * sizeof(*cpl), sizeof(*cpl));
	if ((cpl->status & BH_NVME_CPL_PHASE) != rig.phase)
		return false;
	if (++rig.cq_head == rig.cq_entries) {
		rig.cq_head = 0;
		rig.phase = !rig.phase;
	}
	return true;
}

static inline bool rig_reap(struct bh_nvme_cpl *cpl)
{
	if (!rig_reap_quietly(cpl))
		return false;
	rig_write(bh_nvme_cq_doorbell(0, rig.ctrl->dstrd), rig.cq_head, 4);
	rig_pump();
	return true;
}

/*
 * Submits and waits: the status code without DNR (asserted: failures have it), 0xffff when
 * nothing came.
 */
static inline uint16_t rig_admin_cpl(struct bh_nvme_cmd *cmd, struct bh_nvme_cpl *cpl)
{
	uint16_t sf;

	cmd->cid = rig.next_cid++;
	if (!cmd->dptr.prp.prp1)
		cmd->dptr.prp.prp1 = RIG_IOVA + RIG_DATA;
	rig_submit_quietly(cmd);
	rig_ring();
	if (!rig_reap(cpl))
		return 0xffff;
	CU_ASSERT_EQUAL(cpl->cid, cmd->cid);
	sf = bh_nvme_cpl_status(cpl);
	CU_ASSERT_EQUAL(!!(sf & BH_NVME_STATUS_DNR), sf != 0);
	return sf & BH_NVME_STATUS_SC_MASK;
}

static inline uint16_t rig_admin(uint8_t opc, uint32_t nsid, uint32_t cdw10, uint32_t cdw11,
				 uint32_t *cdw0)
{
	struct bh_nvme_cmd cmd = { .opc = opc, .nsid = nsid, .cdw10 = cdw10, .cdw11 = cdw11 };
	struct bh_nvme_cpl cpl = { 0 };
	uint16_t sc = rig_admin_cpl(&cmd, &cpl);

	if (cdw0)
		*cdw0 = cpl.cdw0;
	return sc;
}

static inline void *rig_data(void)
{
	return rig.mem + RIG_DATA;
}

/* An AER; its completion comes when it comes. */
static inline uint16_t rig_post_aer(void)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_ASYNC_EVENT, .cid = rig.next_cid++ };

	rig_submit_quietly(&cmd);
	rig_ring();
	return cmd.cid;
}

static inline uint16_t rig_log_page(uint8_t lid, uint32_t flags, uint32_t bytes, uint64_t offset)
{
	uint32_t numd = bytes / 4 - 1;
	struct bh_nvme_cmd cmd = {
		.opc = BH_NVME_ADMIN_GET_LOG_PAGE,
		.nsid = BH_NVME_NSID_ALL,
		.cdw10 = lid | flags | numd << 16,
		.cdw11 = numd >> 16,
		.cdw12 = (uint32_t)offset,
		.cdw13 = (uint32_t)(offset >> 32),
	};
	struct bh_nvme_cpl cpl;

	return rig_admin_cpl(&cmd, &cpl);
}

/* ---- set up and tear down ---- */

static inline struct bh_target_nvme_opts rig_opts(void)
{
	struct bh_target_nvme_opts opts;

	bh_target_nvme_opts_init(&opts);
	opts.path = "/tmp/none.sock";
	opts.control = rig.control;
	opts.threads = &rig.control;
	opts.num_threads = 1;
	opts.doorbells = BH_DOORBELLS_TRAPPED;
	return opts;
}

static inline int rig_open(const struct bh_target_nvme_opts *opts, enum bh_cmem_mode mode)
{
	int rc = bh_target_nvme_create(opts, &rig.ctrl);

	if (rc)
		return rc;
	return bh_cmem_add(&rig.server->cmem, RIG_IOVA, RIG_BYTES,
			   BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE, mode,
			   mode == BH_CMEM_MESSAGE ? -1 : dup(rig.fd), 0);
}

static inline int rig_init(void)
{
	struct bh_reactor_opts ro;

	memset(&rig, 0, sizeof(rig));
	bh_reactor_opts_init(&ro);
	rig.fd = memfd_create("client", MFD_CLOEXEC);
	if (rig.fd < 0 || ftruncate(rig.fd, RIG_BYTES) || bh_reactor_create(&ro, &rig.control))
		return -1;
	rig.mem = mmap(NULL, RIG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, rig.fd, 0);
	return rig.mem == MAP_FAILED;
}

static inline int rig_setup(void)
{
	struct bh_target_nvme_opts opts;

	if (rig_init())
		return -1;
	opts = rig_opts();
	return rig_open(&opts, BH_CMEM_MAPPED);
}

/* The rig's controller in a subsystem, enabled. */
static inline int rig_open_in(struct bh_target_subsys *subsys)
{
	struct bh_target_nvme_opts opts = rig_opts();

	opts.subsys = subsys;
	if (rig_open(&opts, BH_CMEM_MAPPED))
		return -1;
	rig_enable(16, 16);
	return 0;
}

/* Another one beside it, with the same threads; as if it had a host, for what that one is told. */
static inline int rig_open_second(struct bh_target_subsys *subsys, struct bh_target_nvme **second)
{
	struct bh_target_nvme_opts opts = rig_opts();
	struct bh_vfu_server *first = rig.server;

	opts.subsys = subsys;
	if (bh_target_nvme_create(&opts, second))
		return -1;
	rig.server = first;
	(*second)->regs.csts = BH_NVME_CSTS_RDY;
	return 0;
}

static inline void rig_free_second(struct bh_target_nvme *second)
{
	struct bh_vfu_server *first = rig.server;

	bh_target_nvme_free(second);
	rig.server = first;
}

static inline int rig_teardown(void)
{
	rig.hold_gate = rig.hold_messages = false;
	bh_target_nvme_free(rig.ctrl);
	bh_reactor_destroy(rig.control);
	munmap(rig.mem, RIG_BYTES);
	close(rig.fd);
	return rig.server != NULL || rig.namespaces != 0 || rig.misuse != 0;
}

static inline struct bh_blk *rig_store(uint64_t bytes, uint32_t block_size)
{
	const struct bh_blk_spec spec = { .arg = "", .bytes = bytes, .block_size = block_size };
	struct bh_blk *blk = NULL;
	char why[256];

	CU_ASSERT_EQUAL_FATAL(bh_blk_null_type.create(&spec, "null:test", NULL, why, &blk), 0);
	return blk;
}

/* Attached, the reference handed over. */
static inline int rig_attach(uint32_t nsid, uint64_t bytes, uint32_t block_size)
{
	struct bh_blk *blk = rig_store(bytes, block_size);
	int rc = bh_target_nvme_ns_attach(rig.ctrl, blk, nsid);

	bh_blk_put(blk);
	return rc;
}

#endif

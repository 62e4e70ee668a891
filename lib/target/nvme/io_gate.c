/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gate: poll threads stand still while client memory or the set of queues changes.
 *
 * A thread answers between two passes, so nothing of it is in client memory; what is elsewhere
 * needs no waiting for. Direct requests whose memory goes are cancelled, and the store has let go
 * of it when cancel returns. Bounced requests and transfers are in private buffers, and go on to
 * client memory in a pass, by which time the table is the new one. So a gate takes no longer than
 * a pass, however late the store is.
 *
 * For a reset (TN_GATE_ALL) everything is left behind: it completes, if ever, to nobody.
 *
 * But for requests that are passed: a device has the client's memory, and there is no telling it to
 * stop. A reset, and an unmap of memory that stores were told of, wait for all of them: the thread
 * fetches nothing, and reaps. Those in memory that goes are cancelled after a second, a reset's at
 * once: then the store sees to it that they come back.
 */
#include <bellhop/clock.h>

#include "target/nvme/plane.h"

#define PATIENCE_NS 1000000000ull

static void leave_all(struct tn_thread *t)
{
	unsigned int i;

	for (i = 1; i <= BH_TARGET_NVME_MAX_QUEUES; i++)
		if (t->sq[i])
			tn_reqs_leave(t, t->sq[i]);
}

static bool is_passing(const struct tn_thread *t)
{
	/* Acquire: the last of them is over before its memory goes. */
	return __atomic_load_n(&t->budget->passed, __ATOMIC_ACQUIRE) > 0;
}

static void gate_run(struct tn_op *op)
{
	struct tn_thread *t = op->thread;
	bool is_all = t->io->gate_kind == TN_GATE_ALL;

	t->is_gated = true;
	if (is_all) {
		leave_all(t);
		tn_sqs_part(t);
	} else {
		tn_reqs_unmap(t, op->iova, op->len, false);
	}
	if (!is_passing(t) || t->io->gate_kind == TN_GATE_TABLE) {
		tn_op_reply(op);
		return;
	}
	t->gate_op = op;
	t->gate_ns = is_all ? UINT64_MAX : bh_now_ns() + PATIENCE_NS;
}

unsigned int tn_gate_poll(struct tn_thread *t)
{
	struct tn_op *op = t->gate_op;
	unsigned int n = tn_reqs_reap(t);

	if (t->num_waiting)
		tn_cq_flush(t);
	if (t->due)
		tn_irq_flush(t);
	if (!is_passing(t)) {
		t->gate_op = NULL;
		tn_op_reply(op);
		return 1;
	}
	if (bh_now_ns() > t->gate_ns) {
		tn_reqs_unmap(t, op->iova, op->len, true);
		t->gate_ns = UINT64_MAX;
	}
	return n;
}

static void gate_finish(struct tn_fan *fan)
{
	fan->done(fan->arg);
}

void tn_io_gate(struct bh_target_nvme *ctrl, enum tn_gate kind, uint64_t iova, uint64_t len,
		void (*done)(void *arg), void *arg)
{
	struct tn_fan *fan = ctrl->io->gate;
	unsigned int i;

	ctrl->io->gate_kind = kind;
	fan->done = done;
	fan->arg = arg;
	for (i = 0; i < ctrl->io->num_threads; i++) {
		fan->op[i].iova = iova;
		fan->op[i].len = len;
	}
	tn_fan_send(fan);
}

void tn_io_drop_queues(struct bh_target_nvme *ctrl)
{
	struct tn_io *io = ctrl->io;
	size_t i;

	__builtin_memset(io->has_cq, 0, sizeof(io->has_cq));
	__builtin_memset(io->sq_cq, 0, sizeof(io->sq_cq));
	io->is_dropping = true;
	io->next_thread = 0;
	for (i = 0; i + 4 <= ctrl->doorbell_bytes; i += 4)
		bh_store_u32(ctrl->doorbell_page + i, 0);
}

static void ungate_run(struct tn_op *op)
{
	struct tn_thread *t = op->thread;

	if (op->u.is_dropping)
		tn_queues_drop(t);
	t->is_gated = false;
	tn_queues_resolve(t);
	tn_op_reply(op);
}

static void ungate_finish(struct tn_fan *fan)
{
	(void)fan;
}

/* Not waited for: a gate that follows comes behind it in every thread's queue of messages. */
void tn_io_ungate(struct bh_target_nvme *ctrl)
{
	struct tn_io *io = ctrl->io;
	unsigned int i;

	for (i = 0; i < io->num_threads; i++)
		io->ungate->op[i].u.is_dropping = io->is_dropping;
	if (io->is_dropping)
		__atomic_store_n(&io->is_fatal, 0, __ATOMIC_RELAXED);
	io->is_dropping = false;
	io->ungate->finish = ungate_finish;
	tn_fan_send(io->ungate);
}

struct tn_fan *tn_gate_new(struct tn_io *io)
{
	return tn_fan_new(io, gate_run, gate_finish);
}

struct tn_fan *tn_ungate_new(struct tn_io *io)
{
	return tn_fan_new(io, ungate_run, ungate_finish);
}

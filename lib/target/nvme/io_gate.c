/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gate: poll threads stand still while client memory or the set of queues changes.
 *
 * A thread answers between two passes, so nothing of it is in client memory; what is elsewhere
 * needs no waiting for. Direct requests whose memory goes are cancelled, and the store has let go
 * of it when cancel returns. Bounced requests and transfers are in private buffers, and go on to
 * client memory in a pass, by which time the table is the new one. So a gate never takes longer
 * than a pass, however late the store is.
 *
 * For a reset (TN_GATE_ALL) everything is left behind: it completes, if ever, to nobody.
 */
#include "target/nvme/plane.h"

static void leave_all(struct tn_thread *t)
{
	unsigned int i;

	for (i = 1; i <= BH_TARGET_NVME_MAX_QUEUES; i++)
		if (t->sq[i])
			tn_reqs_leave(t, t->sq[i]);
}

static void gate_run(struct tn_op *op)
{
	struct tn_thread *t = op->thread;

	t->is_gated = true;
	if (t->io->gate_kind == TN_GATE_ALL)
		leave_all(t);
	else
		tn_reqs_unmap(t, op->iova, op->len);
	tn_op_reply(op);
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

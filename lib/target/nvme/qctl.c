/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control thread's side of queues: which exist, who owns them, and the messages that make,
 * delete and abort on the owner's thread.
 */
#include <stdlib.h>

#include "target/nvme/plane.h"

bool tn_io_has_cq(const struct bh_target_nvme *ctrl, uint16_t qid)
{
	return qid && qid <= BH_TARGET_NVME_MAX_QUEUES && ctrl->io->has_cq[qid];
}

bool tn_io_has_sq(const struct bh_target_nvme *ctrl, uint16_t qid)
{
	return qid && qid <= BH_TARGET_NVME_MAX_QUEUES && ctrl->io->sq_cq[qid];
}

unsigned int tn_io_cq_users(const struct bh_target_nvme *ctrl, uint16_t qid)
{
	unsigned int i, n = 0;

	for (i = 1; i <= BH_TARGET_NVME_MAX_QUEUES; i++)
		n += qid && ctrl->io->sq_cq[i] == qid;
	return n;
}

/* The thread of a CQ, or of an SQ by its CQ. */
static struct tn_thread *owner(const struct tn_io *io, uint16_t cqid)
{
	return io->thread[io->has_cq[cqid] - 1];
}

static void op_done(struct tn_op *op)
{
	if (op->done)
		op->done(op->arg, op->status);
	free(op);
}

static struct tn_op *op_for(struct tn_thread *thread, void (*run)(struct tn_op *), tn_done done,
			    void *arg)
{
	struct tn_op *op = tn_op_new(thread, run, op_done);

	if (op) {
		op->done = done;
		op->arg = arg;
	} else if (done) {
		done(arg, BH_NVME_SC_INTERNAL_ERROR);
	}
	return op;
}

static void cq_create_run(struct tn_op *op)
{
	tn_cq_add(op->thread, op->u.cq);
	tn_op_reply(op);
}

void tn_io_cq_create(struct bh_target_nvme *ctrl, const struct tn_queue_params *params,
		     tn_done done, void *arg)
{
	struct tn_io *io = ctrl->io;
	unsigned int index = io->next_thread;
	struct tn_cq *cq = calloc(1, sizeof(*cq));
	struct tn_op *op;

	if (!cq || !(cq->stats = tn_stats_queue(io->thread[index], params->qid))) {
		free(cq);
		done(arg, BH_NVME_SC_INTERNAL_ERROR);
		return;
	}
	op = op_for(io->thread[index], cq_create_run, done, arg);
	if (!op) {
		free(cq);
		return;
	}
	cq->qid = params->qid;
	cq->entries = params->entries;
	cq->iova = params->iova;
	cq->interrupt = params->interrupt;
	cq->vector = params->vector;
	__atomic_store_n(&cq->stats->has_cq, true, __ATOMIC_RELAXED);
	bh_store_u32(tn_doorbell(ctrl, 2u * cq->qid + 1), 0);
	io->next_thread = (index + 1) % io->num_threads;
	io->has_cq[cq->qid] = (uint8_t)(index + 1);
	op->u.cq = cq;
	tn_op_send(op);
}

static void sq_create_run(struct tn_op *op)
{
	op->u.sq->cq = op->thread->cq[op->cid];
	tn_sq_add(op->thread, op->u.sq);
	tn_op_reply(op);
}

void tn_io_sq_create(struct bh_target_nvme *ctrl, const struct tn_queue_params *params,
		     tn_done done, void *arg)
{
	struct tn_io *io = ctrl->io;
	struct tn_thread *t = owner(io, params->cqid);
	struct tn_sq *sq = calloc(1, sizeof(*sq));
	struct tn_op *op;

	if (!sq || !(sq->stats = tn_stats_queue(t, params->qid))) {
		free(sq);
		done(arg, BH_NVME_SC_INTERNAL_ERROR);
		return;
	}
	op = op_for(t, sq_create_run, done, arg);
	if (!op) {
		free(sq);
		return;
	}
	sq->qid = params->qid;
	sq->entries = params->entries;
	sq->iova = params->iova;
	sq->class = params->priority % TN_CLASSES;
	sq->is_weighted = BH_NVME_GET(ctrl->regs.cc, CC_AMS) == BH_NVME_CC_AMS_WRR;
	sq->line = &t->line[0];
	__atomic_store_n(&sq->stats->cqid, params->cqid, __ATOMIC_RELAXED);
	bh_store_u32(tn_doorbell(ctrl, 2u * sq->qid), 0);
	io->sq_cq[sq->qid] = params->cqid;
	op->u.sq = sq;
	op->cid = params->cqid;
	tn_op_send(op);
}

static void cq_delete_run(struct tn_op *op)
{
	tn_cq_remove(op->thread, op->u.qid);
	tn_op_reply(op);
}

void tn_io_cq_delete(struct bh_target_nvme *ctrl, uint16_t qid, tn_done done, void *arg)
{
	struct tn_op *op = op_for(owner(ctrl->io, qid), cq_delete_run, done, arg);

	if (!op)
		return;
	ctrl->io->has_cq[qid] = 0;
	op->u.qid = qid;
	tn_op_send(op);
}

/*
 * What is outstanding is left behind, but for what a device does in client memory: the host may use
 * that for something else once the queue is deleted.
 */
static void sq_delete_run(struct tn_op *op)
{
	struct tn_thread *t = op->thread;

	op->next = t->parting;
	t->parting = op;
	if (t->sq[op->u.qid])
		t->sq[op->u.qid]->is_stopped = true;
	tn_sqs_part(t);
}

void tn_sqs_part(struct tn_thread *t)
{
	struct tn_op **at = &t->parting, *op;

	while ((op = *at) != NULL) {
		if (t->sq[op->u.qid] && tn_reqs_are_passed(t->sq[op->u.qid])) {
			at = &op->next;
			continue;
		}
		*at = op->next;
		tn_sq_remove(t, op->u.qid);
		tn_op_reply(op);
	}
}

void tn_io_sq_delete(struct bh_target_nvme *ctrl, uint16_t qid, tn_done done, void *arg)
{
	struct tn_op *op = op_for(owner(ctrl->io, ctrl->io->sq_cq[qid]), sq_delete_run, done, arg);

	if (!op)
		return;
	ctrl->io->sq_cq[qid] = 0;
	op->u.qid = qid;
	tn_op_send(op);
}

static void abort_run(struct tn_op *op)
{
	struct tn_sq *sq = op->thread->sq[op->u.qid];

	op->status = sq && !op->thread->is_gated && tn_req_abort(op->thread, sq, op->cid) ? 0 : 1;
	tn_op_reply(op);
}

void tn_io_abort(struct bh_target_nvme *ctrl, uint16_t sqid, uint16_t cid, tn_done done, void *arg)
{
	struct tn_op *op;

	if (!tn_io_has_sq(ctrl, sqid)) {
		done(arg, 1);
		return;
	}
	op = op_for(owner(ctrl->io, ctrl->io->sq_cq[sqid]), abort_run, done, arg);
	if (!op)
		return;
	op->u.qid = sqid;
	op->cid = cid;
	tn_op_send(op);
}

/* ---- shadow doorbells ---- */

/* Changes places with what was: run again it takes that back. */
static void shadow_run(struct tn_op *op)
{
	struct tn_thread *t = op->thread;
	uint64_t db = t->shadow_db_iova, ei = t->shadow_ei_iova;

	t->shadow_db_iova = op->iova;
	t->shadow_ei_iova = op->len;
	op->iova = db;
	op->len = ei;
	if (!t->is_gated) {
		if (!tn_shadow_resolve(t))
			op->status = TN_SF(BH_NVME_SC_INVALID_FIELD);
		tn_scan_rebuild(t);
	}
	tn_op_reply(op);
}

static void shadow_undone(struct tn_fan *fan)
{
	fan->done_status(fan->arg, TN_SF(BH_NVME_SC_INVALID_FIELD));
	free(fan);
}

/* A command that fails changes nothing. */
static void shadow_finish(struct tn_fan *fan)
{
	if (!fan->status) {
		fan->done_status(fan->arg, 0);
		free(fan);
		return;
	}
	fan->finish = shadow_undone;
	tn_fan_send(fan);
}

void tn_io_shadow_set(struct bh_target_nvme *ctrl, uint64_t doorbells, uint64_t event_idx,
		      tn_done done, void *arg)
{
	uint64_t bytes = 2ull * (ctrl->max_queues + 1) * (4u << ctrl->dstrd);
	struct tn_fan *fan;
	unsigned int i;

	if (!doorbells != !event_idx || doorbells % TN_PAGE_SIZE || event_idx % TN_PAGE_SIZE ||
	    (doorbells && bytes > TN_PAGE_SIZE)) {
		done(arg, TN_SF(BH_NVME_SC_INVALID_FIELD));
		return;
	}
	fan = tn_fan_new(ctrl->io, shadow_run, shadow_finish);
	if (!fan) {
		done(arg, BH_NVME_SC_INTERNAL_ERROR);
		return;
	}
	fan->done_status = done;
	fan->arg = arg;
	for (i = 0; i < ctrl->io->num_threads; i++) {
		fan->op[i].iova = doorbells;
		fan->op[i].len = event_idx;
	}
	tn_fan_send(fan);
}

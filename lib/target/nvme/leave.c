/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests whose end nobody waits for any more: their queue is dropped, their command aborted, their
 * namespace detached, or their memory taken back.
 *
 * Left behind: a request whose queue is dropped while a store or a transfer has its buffer loses
 * its queue (sq is NULL) and lives until it is given back; then buffer and slot are freed, and
 * nothing of the controller or its client is touched. One that changes the medium is an orphan:
 * until it is given back its namespace takes no commands, or it might undo what was written since.
 * The slots of a queue are one allocation, which lives as long as the queue or any request left
 * behind.
 */
#include <stdlib.h>

#include <bellhop/range.h>

#include "target/nvme/meta.h"
#include "target/nvme/queue_io.h"

/* ---- left behind ---- */

void tn_orphans_put(struct tn_orphans *orphans)
{
	if (orphans && !__atomic_sub_fetch(&orphans->refs, 1, __ATOMIC_ACQ_REL))
		free(orphans);
}

static void orphan(struct tn_thread *t, struct tn_req *req)
{
	struct tn_orphans *orphans = t->orphans[req->job.line - t->line];

	if ((req->is_direct && !req->is_passed) || req->job.op == BH_BLK_READ ||
	    req->job.op == BH_BLK_COMPARE || req->job.op == BH_BLK_FLUSH || !orphans)
		return;
	__atomic_fetch_add(&orphans->refs, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&orphans->count, 1, __ATOMIC_RELAXED);
	req->orphans = orphans;
}

/* The end of a request left behind, on whatever thread. */
void tn_req_left(void *cookie)
{
	struct tn_req *req = cookie;

	if (!req->pool) { /* a flush that was given up */
		free(req);
		return;
	}
	if (req->orphans && req->meta)
		tn_meta_left(req);
	/* Release: the device is done with client memory. */
	if (req->is_passed)
		__atomic_fetch_sub(&req->pool->budget->passed, 1, __ATOMIC_RELEASE);
	tn_budget_give(req->pool->budget, req->charge);
	tn_bounce_return(req->pool->budget, req->buf, req->buf_len);
	tn_req_free_memory(req);
	if (req->orphans) {
		/* Release: what it did to the store comes before what waits for it. */
		__atomic_fetch_sub(&req->orphans->count, 1, __ATOMIC_RELEASE);
		tn_orphans_put(req->orphans);
		req->orphans = NULL;
	}
	tn_reqs_put(req->pool);
}

/* As above, on the thread: if its queue still lives the slot can be used again. */
void tn_req_return(struct tn_req *req)
{
	req->next = req->pool->free;
	req->pool->free = req;
	tn_req_left(req);
}

/* ---- leaving, aborting ---- */

static void unlink_from(struct tn_req **at, const struct tn_req *req)
{
	while (*at && *at != req)
		at = &(*at)->next;
	if (*at)
		*at = req->next;
}

static void drop_put_off(struct tn_thread *t, struct tn_req *req)
{
	unlink_from(&t->again, req);
	for (t->again_last = &t->again; *t->again_last;)
		t->again_last = &(*t->again_last)->next;
}

static void unwait(struct tn_thread *t, struct tn_req *req)
{
	struct tn_cq *cq = req->sq->cq;

	unlink_from(&cq->wait_first, req);
	for (cq->wait_last = &cq->wait_first; *cq->wait_last;)
		cq->wait_last = &(*cq->wait_last)->next;
	tn_req_unwait(t, req);
}

/* Whoever has the buffer gives it back to tn_req_left. */
static void leave(struct tn_thread *t, struct tn_req *req)
{
	struct tn_line *line = req->job.line;

	switch (req->state) {
	case TN_REQ_FREE:
		return;
	case TN_REQ_WAIT:
		unwait(t, req);
		return;
	case TN_REQ_AGAIN:
		drop_put_off(t, req);
		tn_line_release(t, line);
		tn_req_free(t, req);
		return;
	case TN_REQ_FUSED:
		tn_line_release(t, line);
		tn_req_free(t, req);
		return;
	case TN_REQ_STORE:
		if (!req->span.blk && bh_blk_is_watched(line->chan->blk))
			tn_turn_begun(req); /* who comes next waits for it */
		/* Direct: its memory is let go of before this returns. Otherwise it hurries. */
		bh_blk_cancel(line->chan, req);
		orphan(t, req);
		break;
	default:
		req->xfer.is_cancelled = true;
		if (req->meta)
			tn_meta_cancel(req->meta);
	}
	__atomic_fetch_add(&req->pool->refs, 1, __ATOMIC_RELAXED);
	req->sq = NULL;
	/* Not in use as far as the queue is concerned, but not free either. */
	req->state = TN_REQ_FREE;
	tn_line_release(t, line);
}

bool tn_reqs_are_passed(const struct tn_sq *sq)
{
	const struct tn_reqs *reqs = sq->reqs;
	uint32_t i = 0;

	while (reqs && i < reqs->used &&
	       !(reqs->slot[i].is_passed && reqs->slot[i].state == TN_REQ_STORE))
		i++;
	return reqs && i < reqs->used;
}

void tn_reqs_leave(struct tn_thread *t, struct tn_sq *sq)
{
	uint32_t i;

	if (!sq->reqs)
		return;
	for (i = 0; i < sq->reqs->used; i++)
		leave(t, &sq->reqs->slot[i]);
	tn_reqs_put(sq->reqs);
	sq->reqs = NULL;
	tn_hold_cancel(&t->hold);
}

static bool try_post(struct tn_thread *t, struct tn_req *req, uint16_t status)
{
	struct tn_cq *cq = req->sq->cq;
	uint32_t from = cq->tail;

	if (cq->is_stopped || cq->wait_first || (!cq->space && !tn_cq_room(t, cq)))
		return false;
	tn_cq_put(cq, req->sq, req->xfer.cmd.cid, status);
	tn_cq_posted(t, cq, from);
	return true;
}

/*
 * Completions of a deleted queue's commands are optional (base 2.0 5.6): posted while there is
 * room.
 */
void tn_reqs_abort_all(struct tn_thread *t, struct tn_sq *sq, uint16_t status)
{
	uint32_t i;

	tn_cq_flush(t);
	for (i = 0; sq->reqs && i < sq->reqs->used; i++) {
		struct tn_req *req = &sq->reqs->slot[i];

		if (req->state != TN_REQ_FREE && req->state != TN_REQ_WAIT)
			try_post(t, req, status);
	}
	tn_reqs_leave(t, sq);
}

/*
 * Only what cannot have an effect later is aborted: a bounced write is in the store's hands and
 * might come to pass after the host was told that it did not; one that is passed might reach the
 * host's memory when that is something else.
 */
static bool abort_one(struct tn_thread *t, struct tn_req *req, uint16_t status)
{
	struct tn_sq *sq = req->sq;

	if ((req->state != TN_REQ_STORE && req->state != TN_REQ_AGAIN) || req->job.is_resv)
		return false;
	if (req->mate) /* what is left of the two would have to be told: it ends soon enough */
		return false;
	if (req->state == TN_REQ_STORE &&
	    (req->is_passed ||
	     (!req->is_direct && req->job.op != BH_BLK_READ && req->job.op != BH_BLK_COMPARE))) {
		bh_blk_cancel(req->job.line->chan, req);
		return false;
	}
	if (!try_post(t, req, status))
		return false;
	tn_cmd_failed(t, sq, &req->xfer.cmd, status, 0xffff);
	leave(t, req);
	return true;
}

bool tn_req_abort(struct tn_thread *t, struct tn_sq *sq, uint16_t cid)
{
	struct tn_req *req = NULL;
	uint32_t i;

	for (i = 0; sq->reqs && i < sq->reqs->used; i++)
		if (sq->reqs->slot[i].state != TN_REQ_FREE && sq->reqs->slot[i].xfer.cmd.cid == cid)
			req = &sq->reqs->slot[i];
	return req && abort_one(t, req, BH_NVME_SC_ABORTED_BY_REQUEST);
}

void tn_reqs_abort_line(struct tn_thread *t, struct tn_line *line, uint16_t status)
{
	unsigned int qid;
	uint32_t i;

	for (qid = 1; qid <= BH_TARGET_NVME_MAX_QUEUES; qid++) {
		struct tn_reqs *reqs = t->sq[qid] ? t->sq[qid]->reqs : NULL;

		for (i = 0; reqs && i < reqs->used; i++)
			if (reqs->slot[i].state != TN_REQ_FREE && reqs->slot[i].job.line == line)
				abort_one(t, &reqs->slot[i], status);
	}
}

static bool touches(const struct tn_req *req, uint64_t iova, uint64_t len)
{
	uint32_t i;

	for (i = 0; i < req->pieces.n; i++)
		if (bh_range_overlaps(req->pieces.v[i].iova, req->pieces.v[i].len, iova, len))
			return true;
	return false;
}

/*
 * Client memory goes: direct requests let go of it, those that wait for the store never get it. What
 * is passed is waited for, or at last (is_late) cancelled, too.
 */
void tn_reqs_unmap(struct tn_thread *t, uint64_t iova, uint64_t len, bool is_late)
{
	unsigned int qid;
	uint32_t i;

	for (qid = 1; qid <= BH_TARGET_NVME_MAX_QUEUES; qid++) {
		struct tn_reqs *reqs = t->sq[qid] ? t->sq[qid]->reqs : NULL;

		for (i = 0; reqs && i < reqs->used; i++) {
			struct tn_req *req = &reqs->slot[i];

			if ((req->state != TN_REQ_STORE && req->state != TN_REQ_AGAIN) ||
			    !req->is_direct || !touches(req, iova, len) ||
			    (req->is_passed && req->state == TN_REQ_STORE && !is_late))
				continue;
			req->is_lost = true;
			if (req->state == TN_REQ_STORE)
				bh_blk_cancel(req->job.line->chan, req);
		}
	}
}

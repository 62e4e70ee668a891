/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fused operations (NVMe 2.0 6.2): Compare and Write (NVM command set 1.0 2.4.1), the one there is.
 *
 * Two entries, next to each other in one queue, become two requests that know each other. Their data
 * are fetched as any; when those of both are here the second gets in line for its blocks, which it has
 * to itself until it ends (turn.c). Then the first runs, and is done; then the second does, as any
 * other from here on, or ends with it.
 *
 *	first	IN ---> FUSED ----------------------> runs, ends
 *	second	IN ---> FUSED ---> AGAIN (its turn?) ----------> runs, or ends
 *
 * Whichever fails takes the other along (Failed Fused Command), but for a comparison that was right
 * and a write that was not, whose status it does not change. Neither has a buffer of the client's, so
 * nothing is looked up between the two.
 *
 * A host rings once for both. One that does not has half an operation in its ring: it stays there, as
 * if it had not come, until the tail moves. That is of no more harm than a host that does not ring,
 * and nobody looks at the queue meanwhile. If what follows then is not the other half it is by itself,
 * and so is what follows: Missing Fused Command.
 */
#include <string.h>

#include "target/nvme/queue_io.h"

#define PARAM(field) ((uint16_t)offsetof(struct bh_nvme_cmd, field))

static uint16_t alone(struct tn_thread *t, const struct tn_sq *sq, const struct bh_nvme_cmd *cmd)
{
	const uint16_t status = TN_SF(BH_NVME_SC_ABORTED_MISSING_FUSED);

	tn_cmd_failed(t, sq, cmd, status, PARAM(flags));
	return status;
}

/* How far there are entries that have been announced. */
static uint32_t tail_of(const struct tn_sq *sq)
{
	uint32_t v;

	if (sq->mirror)
		return sq->mirror->at;
	/* Acquire: orders the doorbell's load before those of the entries it announces. */
	v = bh_load_acquire_u32(sq->db);
	return v < sq->entries ? v : sq->head; /* the next visit tells */
}

/* Whether the two go together, each being in order: 0 or a status field. */
static uint16_t check_pair(struct tn_job *a, struct tn_job *b)
{
	b->param = a->param = PARAM(cdw10);
	if (a->line != b->line || a->lba != b->lba || a->blocks != b->blocks)
		return TN_SF(BH_NVME_SC_INVALID_FIELD);
	/* A block that can be compared is none that can be written. */
	b->param = a->param = PARAM(flags);
	if (a->life->zones)
		return TN_SF(BH_NVME_SC_INVALID_FIELD);
	b->param = a->param = 0xffff;
	return 0;
}

/* Both are refused, by one of the two, or both. */
static void refuse(struct tn_thread *t, struct tn_req *a, uint16_t of_a, struct tn_req *b,
		   uint16_t of_b)
{
	const uint16_t other = TN_SF(BH_NVME_SC_ABORTED_FAILED_FUSED);

	a->job.line->inflight++;
	b->job.line->inflight++;
	tn_req_finish(t, a, of_a ? of_a : other);
	tn_req_finish(t, b, of_b ? of_b : other);
}

static uint16_t start(struct tn_thread *t, struct tn_req *a, struct tn_req *b)
{
	struct tn_sq *sq = a->sq;
	uint16_t of_a = tn_cmd_decode(t, &a->xfer.cmd, &a->job);
	uint16_t of_b = tn_cmd_decode(t, &b->xfer.cmd, &b->job);

	a->is_fused = b->is_fused = true;
	if (!of_a && !of_b)
		of_a = of_b = check_pair(&a->job, &b->job);
	if (!of_a && a->job.line->kind == TN_NS_ASYNC && tn_has_orphans(t, a->job.line))
		return TN_RETRY;
	of_a = of_a ? of_a : tn_req_prepare(t, a);
	of_b = of_b ? of_b : tn_req_prepare(t, b);
	if (of_a == TN_RETRY || of_b == TN_RETRY)
		return TN_RETRY;
	sq->head = sq->head + 1 == sq->entries ? 0 : sq->head + 1;
	if (of_a || of_b) {
		refuse(t, a, of_a, b, of_b);
		return TN_PAIR;
	}
	a->mate = b;
	b->mate = a;
	b->is_second = true;
	b->job.line->inflight++; /* before the first can end */
	tn_req_begin(t, a);
	b->job.line->inflight--;
	tn_req_begin(t, b);
	return TN_PAIR;
}

uint16_t tn_fused_start(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd)
{
	struct bh_nvme_cmd first = *cmd, second;
	uint32_t tail = tail_of(sq);
	struct tn_req *a, *b;
	uint16_t status;

	sq->is_half = false;
	if ((cmd->flags & BH_NVME_FUSE_MASK) != BH_NVME_FUSE_FIRST)
		return alone(t, sq, cmd);
	if (sq->head == tail) {
		sq->is_half = true;
		sq->half_tail = tail;
		return TN_HALF;
	}
	bh_fetch_64(&second, &sq->ring[sq->head]);
	if ((second.flags & BH_NVME_FUSE_MASK) != BH_NVME_FUSE_SECOND || !tn_is_fused(&second))
		return alone(t, sq, cmd);
	BH_PROBE3(target_fetch, sq, sq->qid, &second);
	first.flags &= (uint8_t)~BH_NVME_FUSE_MASK;
	second.flags &= (uint8_t)~BH_NVME_FUSE_MASK;
	a = tn_req_new(t, sq, &first);
	b = a ? tn_req_new(t, sq, &second) : NULL;
	status = b ? start(t, a, b) : TN_RETRY;
	if (status == TN_RETRY && b)
		tn_req_free(t, b);
	if (status == TN_RETRY && a)
		tn_req_free(t, a);
	return status;
}

/* ---- both are requests ---- */

void tn_fused_came(struct tn_thread *t, struct tn_req *req)
{
	req->state = TN_REQ_FUSED;
	if (req->mate->state == TN_REQ_FUSED)
		tn_fused_turn(t, req->is_second ? req : req->mate);
}

void tn_fused_turn(struct tn_thread *t, struct tn_req *req)
{
	const struct tn_job *job = &req->job;
	struct bh_blk *blk = job->line->chan->blk;
	struct tn_req *first = req->mate;
	int rc = bh_blk_span_alone(blk, &req->span, job->lba, job->blocks);

	if (rc == -EAGAIN) {
		req->awaits_turn = true;
		tn_req_put_off(t, req);
		return;
	}
	req->state = TN_REQ_FUSED;
	if (rc) {
		tn_req_finish(t, req, BH_NVME_SC_INTERNAL_ERROR);
	} else if (bh_blk_is_bad(blk, job->lba, job->blocks)) {
		tn_req_finish(t, first, TN_SF(BH_NVME_SC_UNRECOVERED_READ_ERROR));
	} else {
		first->state = TN_REQ_STORE;
		tn_req_run(t, first);
	}
}

/* The other of the two has ended. */
void tn_fused_ended(struct tn_thread *t, struct tn_req *req, uint16_t status)
{
	const uint16_t failed = TN_SF(BH_NVME_SC_ABORTED_FAILED_FUSED);

	req->mate = NULL;
	if (req->state != TN_REQ_FUSED) {
		req->fate = failed; /* its data are on their way */
	} else if (status) {
		tn_req_finish(t, req, failed);
	} else {
		req->state = TN_REQ_STORE;
		tn_req_run(t, req);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests: commands that cannot be finished where they were fetched.
 *
 *	IN ---> STORE ---> OUT ---> posted, or WAIT for room
 *	  data    (AGAIN)    data
 *
 * A store that can cancel synchronously is given client memory (direct), as is one that was told of
 * that memory and has a device that reaches it (passed), which is then waited for before the memory
 * goes. Any other gets a buffer of ours, and the data is copied before and after; after means
 * translated again, because the table may have changed, from the pieces that were read off the lists
 * once. Memory that cannot be reached by pointer goes through the same buffer by tn_xfer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/nvme/meta.h"
#include "target/nvme/queue_io.h"

#define REAP 64u	/* at most, per line and pass */
#define LIST_FREE 1024u /* bytes of lists that are not counted, being no more than a slot or two */

static void req_submit(struct tn_thread *t, struct tn_req *req);
static void req_stored(struct tn_thread *t, struct tn_req *req, uint16_t status);

/* ---- memory ---- */

void tn_reqs_put(struct tn_reqs *reqs)
{
	/* Acquire what others did to their slots before all of them are freed. */
	if (!reqs || __atomic_sub_fetch(&reqs->refs, 1, __ATOMIC_ACQ_REL))
		return;
	tn_budget_put(reqs->budget);
	free(reqs);
}

struct tn_req *tn_req_new(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd)
{
	struct tn_reqs *reqs = sq->reqs;
	struct tn_req *req;

	if (!reqs) {
		reqs = calloc(1, sizeof(*reqs) + sq->entries * sizeof(reqs->slot[0]));
		if (!reqs)
			return NULL;
		reqs->refs = 1;
		reqs->budget = t->budget;
		__atomic_fetch_add(&t->budget->refs, 1, __ATOMIC_RELAXED);
		reqs->count = sq->entries;
		sq->reqs = reqs;
	}
	req = reqs->free;
	if (req)
		reqs->free = req->next;
	else if (reqs->used < reqs->count)
		req = &reqs->slot[reqs->used++];
	else
		return NULL;
	*req = (struct tn_req){ .sq = sq, .thread = t, .pool = reqs, .state = TN_REQ_IN };
	req->xfer.cmd = *cmd;
	req->faults = t->faults;
	req->begun = bh_ticks();
	return req;
}

void tn_req_free_memory(struct tn_req *req)
{
	bh_blk_span_end(&req->span);
	tn_pieces_free(&req->pieces);
	tn_meta_free(req->meta);
	req->meta = NULL;
	if (req->iov != &req->one)
		free(req->iov);
	req->iov = NULL;
}

void tn_req_free(struct tn_thread *t, struct tn_req *req)
{
	tn_budget_give(req->pool->budget, req->charge);
	req->charge = 0;
	tn_bounce_put(t, req->buf, req->buf_len);
	req->buf = NULL;
	tn_req_free_memory(req);
	req->state = TN_REQ_FREE;
	req->next = req->pool->free;
	req->pool->free = req;
}

/* ---- completion ---- */

static void post(struct tn_thread *t, struct tn_req *req)
{
	struct tn_cq *cq = req->sq->cq;
	uint32_t from = cq->tail;

	if (cq->wait_first || (!cq->space && !tn_cq_room(t, cq))) {
		req->state = TN_REQ_WAIT;
		req->next = NULL;
		*cq->wait_last = req;
		cq->wait_last = &req->next;
		t->num_waiting++;
		return;
	}
	tn_cq_put_result(cq, req->sq, req->xfer.cmd.cid, req->status, req->result);
	tn_cq_posted(t, cq, from);
	tn_req_free(t, req);
}

void tn_req_unwait(struct tn_thread *t, struct tn_req *req)
{
	t->num_waiting--;
	tn_req_free(t, req);
}

static bool pieces_failed(const struct tn_thread *t, const struct tn_req *req)
{
	uint32_t i;

	for (i = 0; i < req->pieces.n; i++)
		if (bh_cmem_failed(t->cmem, req->pieces.v[i].iova, req->pieces.v[i].len))
			return true;
	return false;
}

/* The error log names the block whose protection information was wrong. */
static void req_failed(struct tn_thread *t, const struct tn_req *req, uint16_t status)
{
	struct bh_nvme_cmd cmd = req->xfer.cmd;
	uint64_t lba = (cmd.cdw10 | (uint64_t)cmd.cdw11 << 32) + req->bad_block;

	cmd.cdw10 = (uint32_t)lba;
	cmd.cdw11 = (uint32_t)(lba >> 32);
	tn_cmd_failed(t, req->sq, &cmd, status, req->job.param);
}

void tn_req_finish(struct tn_thread *t, struct tn_req *req, uint16_t status)
{
	uint32_t i, faults = bh_cmem_faults(t->cmem);
	struct tn_req *mate = req->mate;

	if (faults != t->faults)
		tn_queues_fault(t);
	if (!status && faults != req->faults && pieces_failed(t, req))
		status = BH_NVME_SC_DATA_TRANSFER_ERROR;
	if (status && req->is_lost)
		status = BH_NVME_SC_DATA_TRANSFER_ERROR;
	for (i = 0; !status && req->is_direct && req->job.to_client && i < req->pieces.n; i++)
		bh_cmem_dirty(t->cmem, req->pieces.v[i].iova, req->pieces.v[i].len);
	req->status = status;
	if (status) {
		if (req->has_place)
			tn_zns_undo(req);
		req_failed(t, req, status);
	} else {
		if (req->job.has_bad)
			tn_uncor_written(&req->job, req->buf);
		tn_cmd_count(t, req->sq, &req->job);
		if (req->job.bytes && !req->job.inside && req->job.op <= BH_BLK_WRITE)
			tn_stats_way(t, req->job.line, req->is_direct);
	}
	tn_stats_took(t, req->sq, req->job.line, bh_ticks() - req->begun, 1);
	bh_blk_span_end(&req->span);
	tn_line_release(t, req->job.line);
	if (req->sq->cq->is_stopped)
		tn_req_free(t, req); /* nobody can be told */
	else
		post(t, req);
	if (mate)
		tn_fused_ended(t, mate, status);
}

/* ---- data ---- */

static void xfer_done(void *arg, uint16_t status)
{
	struct tn_req *req = arg;

	if (!req->sq) {
		tn_req_return(req);
		return;
	}
	if (status || req->state == TN_REQ_OUT)
		tn_req_finish(req->thread, req, status);
	else
		req_submit(req->thread, req);
}

/* By the SSD itself, where the store reaches the memory. */
static bool can_pass(struct tn_thread *t, const struct tn_job *job)
{
	return job->line->caps & BH_BLK_CAP_SHARE &&
	       (job->op == BH_BLK_READ || job->op == BH_BLK_WRITE) &&
	       bh_blk_reaches(job->line->chan, t->iov, t->scratch.n);
}

static void xfer_start(struct tn_thread *t, struct tn_req *req, bool to_client)
{
	struct tn_xfer *xfer = &req->xfer;

	req->state = to_client ? TN_REQ_OUT : TN_REQ_IN;
	xfer->cmem = t->cmem;
	xfer->home = t->reactor;
	xfer->buf = req->buf;
	xfer->len = req->job.bytes;
	xfer->to_client = to_client;
	xfer->done = xfer_done;
	xfer->arg = req;
	xfer->hold = &t->hold;
	tn_xfer_run(xfer);
}

/* The data of a bounced read, to where it belongs now. */
static uint16_t copy_back(struct tn_thread *t, struct tn_req *req)
{
	const uint8_t *from = req->buf;
	uint32_t i;

	for (i = 0; i < req->pieces.n; i++) {
		const struct tn_piece *p = &req->pieces.v[i];
		void *to = bh_cmem_ptr(t->cmem, &t->cache, p->iova, p->len, BH_CMEM_PROT_WRITE);

		if (!to)
			return BH_NVME_SC_DATA_TRANSFER_ERROR;
		bh_cmem_store(t->cmem, p->iova, to, from, p->len);
		from += p->len;
	}
	return 0;
}

/* Data of t->iov into the request's buffer. */
static uint16_t gather(struct tn_thread *t, struct tn_req *req)
{
	uint8_t *to = req->buf;
	uint32_t i;

	for (i = 0; i < t->scratch.n; i++) {
		bh_fetch(to, t->iov[i].iov_base, t->iov[i].iov_len);
		to += t->iov[i].iov_len;
	}
	t->work += req->job.bytes;
	/* What was lost while we read must not get into the store. */
	if (bh_cmem_faults(t->cmem) != t->faults)
		return tn_cmd_recheck(t, req->sq, &req->xfer.cmd, 0);
	return 0;
}

static bool keep_pieces(struct tn_thread *t, struct tn_req *req)
{
	size_t len = t->scratch.n * sizeof(struct tn_piece);

	req->pieces.v = malloc(len);
	if (!req->pieces.v)
		return false;
	memcpy(req->pieces.v, t->scratch.v, len);
	req->pieces.n = req->pieces.cap = t->scratch.n;
	return true;
}

static bool keep_iov(struct tn_thread *t, struct tn_req *req)
{
	size_t len = t->scratch.n * sizeof(struct iovec);

	req->iov = t->scratch.n == 1 ? &req->one : malloc(len);
	if (!req->iov)
		return false;
	memcpy(req->iov, t->iov, len);
	return true;
}

static size_t buffer_bytes(const struct tn_req *req)
{
	const struct tn_job *job = &req->job;

	if (req->is_direct)
		return 0;
	if (job->has_md)
		return tn_meta_bytes(job);
	if (job->inside == TN_COPY)
		return tn_copy_buffer(job);
	if (job->inside == TN_VERIFY)
		return (size_t)job->blocks << job->line->shift;
	return (size_t)job->bytes << job->is_emulated;
}

/*
 * What the request will need beside its slot is counted, all of it at once, before any is
 * allocated. Lists of pieces are as long as the client likes, however few bytes they describe.
 */
static bool reserve(struct tn_thread *t, struct tn_req *req)
{
	const struct tn_job *job = &req->job;
	uint8_t psdt = req->xfer.cmd.flags & BH_NVME_PSDT_MASK;
	size_t lists = 0;

	if (!req->is_mapped)
		lists = tn_xfer_bytes(psdt != BH_NVME_PSDT_PRP, job->bytes);
	else if (req->is_direct)
		lists = t->scratch.n * (sizeof(struct tn_piece) + sizeof(struct iovec));
	else if (job->to_client)
		lists = t->scratch.n * sizeof(struct tn_piece);
	req->buf_len = buffer_bytes(req);
	req->charge = tn_bounce_bytes(req->buf_len) + (lists > LIST_FREE ? lists : 0) +
		      (job->has_md ? tn_meta_charge() : 0);
	if (job->is_md_apart) /* perhaps by a list as long as any other */
		req->charge += tn_xfer_bytes(psdt == BH_NVME_PSDT_SGL_MPTR_SGL, tn_meta_apart(job));
	if (tn_budget_take(t->budget, req->charge))
		return true;
	req->charge = 0;
	return false;
}

static uint16_t get_buffer(struct tn_thread *t, struct tn_req *req)
{
	req->buf = tn_bounce_get(t, req->buf_len);
	if (!req->buf)
		return TN_RETRY;
	/* A store that leaves it alone must not give away what it held before. */
	if (req->job.line->kind == TN_NS_NULL && req->job.to_client)
		memset(req->buf, 0, req->buf_len);
	return 0;
}

/* Buffers and data as far as they can be had at once: 0, a status field, or TN_RETRY. */
uint16_t tn_req_prepare(struct tn_thread *t, struct tn_req *req)
{
	const struct tn_job *job = &req->job;
	uint16_t status;

	req->state = TN_REQ_STORE;
	if (job->inside == TN_VERIFY) {
		req->is_mapped = true; /* there is nothing to map */
		return reserve(t, req) && (!job->has_md || (req->meta = tn_meta_new(job)))
			       ? get_buffer(t, req)
			       : TN_RETRY;
	}
	if (!job->bytes)
		return 0;
	status = tn_cmd_map(t, req->sq, &req->xfer.cmd, job->bytes, job->to_client);
	if (status && status != TN_UNMAPPED)
		return status;
	req->is_mapped = !status;
	req->is_direct = req->is_mapped && !job->has_md && !job->is_ranges && !job->is_emulated &&
			 !job->is_resv && !job->inside && !req->is_fused &&
			 t->scratch.n <= UINT16_MAX &&
			 (job->line->caps & BH_BLK_CAP_CANCEL_SYNC || can_pass(t, job));
	req->is_passed = req->is_direct && !(job->line->caps & BH_BLK_CAP_CANCEL_SYNC);
	if (!reserve(t, req) || (job->has_md && !(req->meta = tn_meta_new(job))))
		return TN_RETRY;
	if (req->is_mapped && (req->is_direct || job->to_client) && !keep_pieces(t, req))
		return TN_RETRY;
	if (req->is_direct)
		return keep_iov(t, req) ? 0 : TN_RETRY;
	status = get_buffer(t, req);
	if (status)
		return status;
	if (job->to_client)
		return 0;
	if (req->is_mapped)
		return gather(t, req);
	req->state = TN_REQ_IN;
	return 0;
}

void tn_req_begin(struct tn_thread *t, struct tn_req *req)
{
	req->job.line->inflight++;
	if (req->state == TN_REQ_IN)
		xfer_start(t, req, false);
	else
		req_submit(t, req);
}

uint16_t tn_req_start(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd,
		      const struct tn_job *job)
{
	struct tn_req *req = tn_req_new(t, sq, cmd);
	uint16_t status;

	if (!req)
		return TN_RETRY;
	req->job = *job;
	status = tn_req_prepare(t, req);
	if (!status && job->life->zones && job->inside != TN_COPY)
		status = tn_zns_take(req);
	if (status) {
		tn_req_free(t, req);
		return status;
	}
	tn_req_begin(t, req);
	return TN_PENDING;
}

/* ---- the store ---- */

/* Ranges of Dataset Management: all are checked before the first takes effect. */
static uint16_t check_ranges(const struct tn_req *req)
{
	const struct bh_nvme_dsm_range *range = (const void *)req->buf;
	uint64_t blocks = bh_load_u64(&req->job.line->blocks);
	uint32_t i;

	for (i = 0; i < req->job.bytes / sizeof(*range); i++)
		if (range[i].blocks > blocks || range[i].lba > blocks - range[i].blocks)
			return TN_SF(BH_NVME_SC_LBA_OUT_OF_RANGE);
	return 0;
}

/*
 * Blocks that one step deallocates or zeroes. A store that does it before it returns gets them in
 * pieces, since a host may ask for all of a disk in one command, and pages of memory take time; so
 * does any with metadata, which are memory.
 */
static uint32_t step_blocks(const struct tn_req *req, uint32_t left)
{
	const struct tn_line *line = req->job.line;
	uint32_t most = TN_STEP_BYTES >> line->shift;

	return (line->caps & BH_BLK_CAP_SYNC || req->job.life->md) && left > most ? most : left;
}

static bool next_range(struct tn_req *req)
{
	const struct bh_nvme_dsm_range *range = (const void *)req->buf;

	for (; req->step < req->job.bytes / sizeof(*range); req->step++, req->at = 0) {
		const struct bh_nvme_dsm_range *r = &range[req->step];
		uint32_t blocks = step_blocks(req, r->blocks - req->at);

		if (!blocks)
			continue;
		req->io = (struct bh_blk_io){ .op = BH_BLK_DEALLOCATE,
					      .flags = req->job.flags,
					      .blocks = blocks,
					      .lba = r->lba + req->at,
					      .cookie = req };
		req->at += blocks;
		if (req->job.life->md)
			tn_meta_forget(req);
		return true;
	}
	return false;
}

static bool next_zeroes(struct tn_req *req)
{
	const struct tn_job *job = &req->job;
	uint32_t blocks = step_blocks(req, job->blocks - req->at);

	req->io = (struct bh_blk_io){ .op = job->op,
				      .flags = job->flags,
				      .blocks = blocks,
				      .lba = job->lba + req->at,
				      .cookie = req };
	req->at += blocks;
	return blocks > 0;
}

/* Flush of every namespace: the request moves from line to line. */
static bool next_namespace(struct tn_thread *t, struct tn_req *req)
{
	while (req->step < BH_TARGET_NVME_MAX_NS) {
		struct tn_line *line = &t->line[++req->step], *old = req->job.line;

		if (line->kind >= TN_NS_PAUSED || !(line->caps & BH_BLK_CAP_FLUSH))
			continue;
		line->inflight++;
		req->job.line = line;
		tn_line_release(t, old);
		req->io = (struct bh_blk_io){ .op = BH_BLK_FLUSH, .cookie = req };
		return true;
	}
	return false;
}

/* Sets req->io up; false: all is done. */
static bool next_step(struct tn_thread *t, struct tn_req *req)
{
	struct tn_job *job = &req->job;

	if (job->is_nop || req->is_synced)
		return false;
	if (job->is_ranges)
		return next_range(req);
	if (job->inside == TN_COPY)
		return tn_copy_next(req);
	if (job->inside == TN_ZONE_SEND)
		return tn_zns_next(req);
	if (job->is_all)
		return next_namespace(t, req);
	if (job->op == BH_BLK_WRITE_ZEROES)
		return next_zeroes(req);
	if (req->step++)
		return false;
	req->io = (struct bh_blk_io){ .op = job->op,
				      .flags = job->flags,
				      .blocks = job->blocks,
				      .lba = job->lba,
				      .cookie = req };
	if (job->is_emulated || (job->has_md && job->op == BH_BLK_COMPARE))
		req->io.op = BH_BLK_READ;
	if (!job->bytes && job->inside != TN_VERIFY)
		return true;
	if (job->has_md) {
		req->io.flags = 0; /* see sync_beside */
		req->one = tn_meta_data(req);
		req->iov = &req->one;
	} else if (!req->is_direct) {
		req->one.iov_base = req->buf + (job->is_emulated ? job->bytes : 0);
		req->one.iov_len = job->inside == TN_VERIFY ? req->buf_len : job->bytes;
		req->iov = &req->one;
	}
	if (req->is_passed)
		req->io.flags |= BH_BLK_FLAG_SHARED;
	req->io.iov = req->iov;
	req->io.iovcnt = req->is_direct ? (uint16_t)req->pieces.n : 1;
	return true;
}

void tn_req_put_off(struct tn_thread *t, struct tn_req *req)
{
	req->state = TN_REQ_AGAIN;
	req->next = NULL;
	*t->again_last = req;
	t->again_last = &req->next;
}

/* Submits req->io: true when it is done with success and the next step may follow. */
static bool submit_one(struct tn_thread *t, struct tn_req *req)
{
	int rc = bh_blk_submit(req->job.line->chan, &req->io);

	if (rc == BH_BLK_QUEUED) {
		req->state = TN_REQ_STORE;
		if (req->is_passed)
			__atomic_fetch_add(&t->budget->passed, 1, __ATOMIC_RELAXED);
		return false;
	}
	if (rc == -EAGAIN) {
		tn_req_put_off(t, req);
		return false;
	}
	/* What was gathered of a write has been counted. */
	if (req->io.op == BH_BLK_READ ||
	    (req->io.op != BH_BLK_FLUSH && (!req->io.iovcnt || req->job.inside)))
		t->work += (uint64_t)req->io.blocks << req->job.line->shift;
	if (rc)
		req_stored(t, req, tn_cmd_errno(rc, req->io.op));
	return rc == 0;
}

static void run_steps(struct tn_thread *t, struct tn_req *req)
{
	while (next_step(t, req)) {
		if (t->work >= TN_PASS_BYTES && !req->io.iovcnt) {
			tn_req_put_off(t, req); /* others want to get on too */
			return;
		}
		if (!submit_one(t, req))
			return;
	}
	req_stored(t, req, req->status);
}

void tn_req_run(struct tn_thread *t, struct tn_req *req)
{
	uint16_t status = req->job.is_ranges	       ? check_ranges(req)
			  : req->job.inside == TN_COPY ? tn_copy_check(req)
						       : 0;

	if (!status && req->job.life->md)
		status = tn_meta_take(req);
	if (req->job.is_resv) {
		status = tn_resv_start(t, req);
		if (!status)
			return;
	}
	if (status)
		tn_req_finish(t, req, status);
	else
		run_steps(t, req);
}

/* All of it that the client has to give is here. */
static void req_go(struct tn_thread *t, struct tn_req *req)
{
	const struct tn_line *line = req->job.line;

	if (req->fate) {
		tn_req_finish(t, req, req->fate);
	} else if (req->mate) {
		tn_fused_came(t, req);
	} else if (line->chan && bh_blk_is_watched(line->chan->blk) &&
		   !tn_turn_share(&req->job, &req->span)) {
		req->awaits_turn = true;
		tn_req_put_off(t, req);
	} else {
		tn_req_run(t, req);
	}
}

/* Metadata that come by themselves are here. */
static void md_fetched(void *arg, uint16_t status)
{
	struct tn_req *req = arg;

	if (!req->sq)
		tn_req_return(req);
	else if (status)
		tn_req_finish(req->thread, req, status);
	else
		req_go(req->thread, req);
}

/* The data are here. */
static void req_submit(struct tn_thread *t, struct tn_req *req)
{
	if (!req->meta || !tn_meta_fetch(req, md_fetched))
		req_go(t, req);
}

/*
 * What lies beside the store is durable after a flush only, whatever a write says of itself. True:
 * the flush is under way, or has failed.
 */
static bool sync_beside(struct tn_thread *t, struct tn_req *req)
{
	if (!(req->job.flags & BH_BLK_FLAG_FUA) || req->job.op == BH_BLK_READ ||
	    req->job.op == BH_BLK_COMPARE || !(req->job.line->caps & BH_BLK_CAP_FLUSH))
		return false;
	req->is_synced = true;
	req->io = (struct bh_blk_io){ .op = BH_BLK_FLUSH, .cookie = req };
	return !submit_one(t, req);
}

static void req_out(struct tn_thread *t, struct tn_req *req, uint16_t status)
{
	const struct tn_job *job = &req->job;

	if (!status && job->to_client && !req->is_direct) {
		if (!req->is_mapped) {
			bh_blk_span_end(&req->span); /* the client may take its time */
			xfer_start(t, req, true);
			return;
		}
		status = copy_back(t, req);
	}
	tn_req_finish(t, req, status);
}

static void md_sent(void *arg, uint16_t status)
{
	struct tn_req *req = arg;

	if (!req->sq)
		tn_req_return(req);
	else
		req_out(req->thread, req, status);
}

/* The store is done with all of it, or has failed. */
static void req_stored(struct tn_thread *t, struct tn_req *req, uint16_t status)
{
	const struct tn_job *job = &req->job;

	if (!status && job->is_emulated && memcmp(req->buf, req->buf + job->bytes, job->bytes) != 0)
		status = TN_SF(BH_NVME_SC_COMPARE_FAILURE);
	if (!status && job->line->has_beside && !req->is_synced) {
		status = job->life->md ? tn_meta_stored(req) : 0;
		if (!status && sync_beside(t, req))
			return;
		if (!status && req->meta && job->to_client)
			bh_blk_span_end(&req->span); /* as above */
		if (!status && req->meta && tn_meta_send(req, md_sent))
			return;
	}
	req_out(t, req, status);
}

static void reaped(struct tn_thread *t, const struct bh_blk_done *done)
{
	struct tn_req *req = done->cookie;

	if (!req->pool) {
		tn_flush_reaped(t, req, done->status);
		return;
	}
	if (!req->sq) {
		tn_req_return(req);
		return;
	}
	if (req->is_passed)
		__atomic_fetch_sub(&t->budget->passed, 1, __ATOMIC_RELAXED);
	if (!req->is_direct)
		t->work += req->job.to_client || req->job.op == BH_BLK_COMPARE ? req->buf_len : 0;
	if (done->status)
		req_stored(t, req, tn_cmd_errno(done->status, req->io.op));
	else
		run_steps(t, req);
}

/* A line that goes with its last request has no channel any more. */
static unsigned int reap_line(struct tn_thread *t, const struct tn_line *line)
{
	struct bh_blk_done done[REAP / 4];
	uint64_t before = t->work;
	unsigned int i, n = REAP / 4, all = 0;

	while (line->chan && n == REAP / 4 && all < REAP && t->work - before < TN_BATCH_BYTES) {
		n = bh_blk_reap(line->chan, done, REAP / 4);
		for (i = 0; i < n; i++)
			reaped(t, &done[i]);
		all += n;
	}
	return all;
}

unsigned int tn_reqs_reap(struct tn_thread *t)
{
	unsigned int k, all = 0;

	/* Backwards: a line that goes is replaced by one that had its turn. */
	for (k = t->num_async; k-- > 0;)
		all += reap_line(t, &t->line[t->async[k]]);
	return all;
}

/* Another step of one that was put off; false: its store still has no room. */
static bool go_on(struct tn_thread *t, struct tn_req *req)
{
	uint64_t before = t->work;

	if (req->job.is_resv) {
		req_stored(t, req, req->status);
		return true;
	}
	if (req->is_lost) {
		req_stored(t, req, BH_NVME_SC_DATA_TRANSFER_ERROR);
		return true;
	}
	if (req->awaits_turn) {
		req->awaits_turn = false;
		if (req->mate)
			tn_fused_turn(t, req);
		else
			req_go(t, req);
	} else if (submit_one(t, req)) {
		run_steps(t, req);
	}
	return req->state != TN_REQ_AGAIN || t->work != before;
}

/* Each once at most, in order; when the pass has had its share, one that takes any. */
unsigned int tn_reqs_again(struct tn_thread *t)
{
	struct tn_req *req, *first_back = NULL;
	uint64_t before = t->work;
	unsigned int n = 0;

	while ((req = t->again) && req != first_back &&
	       (t->work == before || t->work < TN_PASS_BYTES)) {
		t->again = req->next;
		if (!t->again)
			t->again_last = &t->again;
		n += go_on(t, req);
		if (req->state == TN_REQ_AGAIN && !first_back)
			first_back = req;
	}
	return n;
}

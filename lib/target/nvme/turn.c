/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whose turn it is: stores in which somebody wants blocks alone (lib/blk/spans.c), say for Compare
 * and Write.
 *
 * A store is not watched as a rule, and commands look no further. When somebody begins to watch it,
 * each poll thread with a namespace made of it, of whatever controller, is sent a message. It arrives
 * between two passes, so nothing is being done right then: the thread takes the namespace off the
 * fast path (fast_blocks, see uncor.c), takes spans for the requests that are in the store, and
 * answers. What comes later takes a span for as long as it is in the store, or waits where it is: a
 * command that is done at once in its ring, a request with its data on the list of those whose turn
 * comes again. A span is not held while a client is waited for, since another's commands may wait
 * for it.
 *
 * Messages are allocated, and know their store by a reference: they may outlive the namespace, whose
 * line is another's then, or nobody's.
 */
#include <errno.h>
#include <stdlib.h>

#include "target/nvme/plane.h"

struct watch {
	struct bh_msg msg;
	struct tn_thread *thread;
	struct bh_blk *blk;
	uint32_t nsid;
};

/* What of the store it is about: several ranges count as all of it. blocks 0: nothing. */
static uint64_t span_of(const struct tn_job *job, uint64_t *lba)
{
	bool is_wide = job->is_ranges || job->inside == TN_COPY;

	*lba = is_wide ? 0 : job->lba;
	if (job->op == BH_BLK_FLUSH || job->is_nop)
		return 0;
	return is_wide ? UINT64_MAX : job->blocks;
}

bool tn_turn_share(const struct tn_job *job, struct bh_blk_span *span)
{
	uint64_t lba, blocks = span_of(job, &lba);

	return bh_blk_span_share(job->line->chan->blk, span, lba, blocks);
}

void tn_turn_begun(struct tn_req *req)
{
	uint64_t lba, blocks = span_of(&req->job, &lba);

	bh_blk_span_begun(req->job.line->chan->blk, &req->span, lba, blocks);
}

/* Those of a queue that are in the store without a span. */
static void spans_take(struct tn_reqs *reqs, const struct tn_line *line)
{
	uint32_t i;

	for (i = 0; reqs && i < reqs->used; i++) {
		struct tn_req *req = &reqs->slot[i];
		bool is_begun = req->state == TN_REQ_STORE ||
				(req->state == TN_REQ_AGAIN && !req->awaits_turn);

		if (is_begun && req->job.line == line && !req->span.blk && !req->mate)
			tn_turn_begun(req);
	}
}

static void watch_run(void *ctx)
{
	struct watch *w = ctx;
	struct tn_thread *t = w->thread;
	struct tn_line *line = &t->line[w->nsid];
	unsigned int i;

	if (line->chan && line->chan->blk == w->blk) {
		__atomic_store_n(&line->fast_blocks, 0, __ATOMIC_SEQ_CST);
		for (i = 1; i <= BH_TARGET_NVME_MAX_QUEUES; i++)
			if (t->sq[i])
				spans_take(t->sq[i]->reqs, line);
	}
	bh_blk_watched(w->blk);
	bh_blk_put(w->blk);
	free(w);
}

int tn_turn_watch(struct bh_blk_listener *listener, uint32_t *left)
{
	struct tn_ns *ns = (struct tn_ns *)((char *)listener - offsetof(struct tn_ns, bad));
	struct tn_io *io = ns->io;
	unsigned int i;

	if (tn_io_ns_has_left(ns)) /* they have no thread any more that could say so */
		return -EAGAIN;
	for (i = 0; i < io->num_threads; i++) {
		struct watch *w = malloc(sizeof(*w));

		if (!w)
			return -ENOMEM;
		*w = (struct watch){ .thread = io->thread[i],
				     .blk = bh_blk_get(ns->blk),
				     .nsid = ns->nsid };
		w->msg = (struct bh_msg){ .fn = watch_run, .ctx = w };
		++*left;
		bh_reactor_send(io->thread[i]->reactor, &w->msg);
	}
	return 0;
}

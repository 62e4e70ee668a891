/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Namespaces on the poll threads: per thread one channel to the store, and one cache line with all
 * that a command needs to know.
 *
 * A line goes in two steps: new commands are refused at once, the channel is closed with the last
 * request that is not left behind. Those left behind stay with the channel, which the store keeps
 * until it has given them back.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "target/nvme/plane.h"

void tn_lines_init(struct tn_thread *t)
{
	unsigned int i;

	for (i = 0; i <= BH_TARGET_NVME_MAX_NS; i++)
		t->line[i].kind = TN_NS_NONE;
}

/* The pass that follows reaps. */
static void chan_woke(void *ctx, uint32_t events)
{
	(void)ctx;
	(void)events;
}

static enum tn_kind kind_of(const struct bh_blk *blk)
{
	if (blk->inline_kind == BH_BLK_INLINE_NULL)
		return TN_NS_NULL;
	if (blk->inline_kind == BH_BLK_INLINE_MEMORY)
		return TN_NS_MEMORY;
	return blk->info.caps & BH_BLK_CAP_SYNC ? TN_NS_SYNC : TN_NS_ASYNC;
}

/* What the format decides. A namespace with metadata takes no short cuts. */
void tn_line_fill(struct tn_thread *t, const struct tn_ns *ns)
{
	struct tn_line *line = &t->line[ns->nsid];
	struct tn_line_life *life = &t->life[ns->nsid];

	bh_store_u64(&line->blocks, ns->blocks);
	line->shift = (uint8_t)ns->block_shift;
	line->max_blocks = t->ctrl->mdts >> ns->block_shift;
	life->md = ns->blk->md;
	life->format = ns->blk->info.format;
	line->kind = (uint8_t)kind_of(ns->blk);
	/* Of an operation that is under way a namespace hears by being paused. */
	if (tn_refusal(t->ctrl) == BH_NVME_SC_SANITIZE_FAILED)
		line->kind = TN_NS_REFUSED;
	life->zones = ns->blk->zones;
	line->has_beside = life->md || life->zones;
	tn_line_set_inline(line);
	tn_line_fast(line);
}

static int line_open(struct tn_thread *t, const struct tn_ns *ns)
{
	struct tn_line *line = &t->line[ns->nsid];
	int fd, rc = bh_blk_chan_open(ns->blk, &line->chan);

	if (rc)
		return rc;
	fd = bh_blk_chan_fd(line->chan);
	if (fd >= 0)
		rc = bh_fd_source_add(t->reactor, fd, EPOLLIN, chan_woke, t,
				      &t->life[ns->nsid].source);
	if (t->life[ns->nsid].source)
		bh_fd_source_only_wakes(t->life[ns->nsid].source);
	if (rc) {
		bh_blk_chan_close(line->chan);
		line->chan = NULL;
		return rc;
	}
	tn_bounce_offer(t, line->chan);
	t->orphans[ns->nsid] = ns->orphans;
	__atomic_fetch_add(&ns->orphans->refs, 1, __ATOMIC_RELAXED);
	if (!(ns->blk->info.caps & BH_BLK_CAP_SYNC))
		t->async[t->num_async++] = (uint16_t)ns->nsid;
	line->base = ns->blk->inline_base;
	line->caps = ns->blk->info.caps;
	line->deny = __atomic_load_n(&ns->deny, __ATOMIC_RELAXED);
	line->has_resv = ns->has_resv;
	tn_line_fill(t, ns);
	return 0;
}

static void line_close(struct tn_thread *t, struct tn_line *line)
{
	uint16_t nsid = (uint16_t)(line - t->line);
	struct bh_blk_chan *chan = line->chan;
	unsigned int i;

	for (i = 0; i < t->num_async; i++)
		if (t->async[i] == nsid)
			t->async[i--] = t->async[--t->num_async];
	bh_fd_source_remove(t->life[nsid].source);
	tn_orphans_put(t->orphans[nsid]);
	t->orphans[nsid] = NULL;
	t->life[nsid] = (struct tn_line_life){ .source = NULL };
	*line = (struct tn_line){ .kind = TN_NS_NONE };
	bh_blk_chan_leave(chan, tn_req_left);
}

void tn_line_release(struct tn_thread *t, struct tn_line *line)
{
	struct tn_line_life *life = &t->life[line - t->line];
	struct tn_op *op;

	if (--line->inflight)
		return;
	op = life->removing ? life->removing : life->pausing;
	if (!op)
		return;
	life->pausing = NULL;
	if (life->removing)
		line_close(t, line);
	tn_op_reply(op);
}

void tn_lines_fini(struct tn_thread *t)
{
	unsigned int i;

	for (i = 1; i <= BH_TARGET_NVME_MAX_NS; i++)
		if (t->line[i].chan)
			line_close(t, &t->line[i]);
}

/* ---- control thread ---- */

static void add_run(struct tn_op *op)
{
	op->error = line_open(op->thread, op->u.ns);
	tn_op_reply(op);
}

static void remove_run(struct tn_op *op)
{
	struct tn_line *line = &op->thread->line[op->u.ns->nsid];

	line->kind = TN_NS_NONE;
	line->inline_blocks = 0;
	if (line->inflight) {
		op->thread->life[op->u.ns->nsid].removing = op;
		return;
	}
	if (line->chan)
		line_close(op->thread, line);
	tn_op_reply(op);
}

static void set_ns(struct tn_fan *fan, struct tn_ns *ns)
{
	unsigned int i;

	for (i = 0; i < fan->io->num_threads; i++)
		fan->op[i].u.ns = ns;
}

static void add_undone(struct tn_fan *fan)
{
	struct tn_ns *ns = fan->op[0].u.ns;

	tn_orphans_put(ns->orphans);
	free(ns->removal);
	tn_pause_free(ns);
	ns->orphans = NULL;
	ns->removal = NULL;
	if (fan->done_error)
		fan->done_error(fan->arg, (int)(intptr_t)fan->kept);
	free(fan);
}

/* A thread could not open its channel: those that could close theirs again. */
static void add_undo(struct tn_fan *fan)
{
	unsigned int i;

	tn_uncor_leave(fan->op[0].u.ns);
	fan->kept = (void *)(intptr_t)fan->error;
	fan->finish = add_undone;
	for (i = 0; i < fan->io->num_threads; i++)
		fan->op[i].run = remove_run;
	tn_fan_send(fan);
}

static void add_finish(struct tn_fan *fan)
{
	if (fan->error) {
		add_undo(fan);
		return;
	}
	if (fan->done_error)
		fan->done_error(fan->arg, 0);
	free(fan);
}

/* All lines are closed: till then their threads have to be told what is done to the store. */
static void remove_finish(struct tn_fan *fan)
{
	struct tn_ns *ns = fan->op[0].u.ns;

	tn_uncor_leave(ns);
	tn_orphans_put(ns->orphans);
	ns->orphans = NULL;
	if (fan->done)
		fan->done(fan->arg);
	free(fan);
}

void tn_io_ns_add(struct bh_target_nvme *ctrl, struct tn_ns *ns, void (*done)(void *arg, int error),
		  void *arg)
{
	struct tn_fan *fan = tn_fan_new(ctrl->io, add_run, add_finish);

	ns->removal = tn_fan_new(ctrl->io, remove_run, remove_finish);
	ns->orphans = calloc(1, sizeof(*ns->orphans));
	if (!fan || !ns->removal || !ns->orphans || tn_stats_ns_new(ctrl->io, ns->nsid) ||
	    tn_pause_new(ctrl->io, ns)) {
		free(fan);
		free(ns->removal);
		free(ns->orphans);
		ns->orphans = NULL;
		ns->removal = NULL;
		if (done)
			done(arg, -ENOMEM);
		return;
	}
	ns->orphans->refs = 1;
	tn_uncor_join(ctrl->io, ns);
	fan->done_error = done;
	fan->arg = arg;
	set_ns(fan, ns);
	set_ns(ns->removal, ns);
	tn_fan_send(fan);
}

void tn_io_ns_remove(struct bh_target_nvme *ctrl, struct tn_ns *ns, void (*done)(void *arg),
		     void *arg)
{
	struct tn_fan *fan = ns->removal;

	(void)ctrl;
	ns->removal = NULL;
	tn_pause_free(ns);
	fan->done = done;
	fan->arg = arg;
	tn_fan_send(fan);
}

void tn_io_ns_resized(struct bh_target_nvme *ctrl, struct tn_ns *ns)
{
	unsigned int i;

	for (i = 0; i < ctrl->io->num_threads; i++) {
		struct tn_line *line = &ctrl->io->thread[i]->line[ns->nsid];

		bh_store_u64(&line->blocks, ns->blocks);
		__atomic_store_n(&line->fast_blocks, 0, __ATOMIC_SEQ_CST); /* until it looks */
	}
}

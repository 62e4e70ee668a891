/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flushes of the controller's own: before a shutdown is complete, before it goes, and when the host
 * switches the write cache off.
 *
 * Each thread flushes, through its own channels, the stores that it has written to since it last
 * did. These requests belong to no queue, so a reset does not touch them. They count as in flight
 * in their lines, until the control thread loses its patience: then they are orphans, which are
 * freed when their store gives them back.
 */
#include <errno.h>
#include <stdlib.h>

#include "target/nvme/plane.h"

static void reply_if_done(struct tn_thread *t)
{
	struct tn_flush *flush = &t->flush;
	struct tn_op *op = flush->op;

	if (!op || flush->first || flush->nsid <= BH_TARGET_NVME_MAX_NS)
		return;
	flush->op = NULL;
	op->status = flush->status;
	tn_op_reply(op);
}

static void note(struct tn_thread *t, struct tn_line *line, int error)
{
	if (!error)
		return;
	line->is_written = true;
	if (!t->flush.status)
		t->flush.status = tn_cmd_errno(error, BH_BLK_FLUSH);
}

/* False: the store has no room now. */
static bool flush_line(struct tn_thread *t, struct tn_line *line)
{
	struct tn_req *req = calloc(1, sizeof(*req));
	int rc;

	if (!req) {
		note(t, line, -ENOMEM);
		return true;
	}
	req->thread = t;
	req->job.line = line;
	req->io = (struct bh_blk_io){ .op = BH_BLK_FLUSH, .cookie = req };
	line->is_written = false; /* what is written from now on is for the next */
	rc = bh_blk_submit(line->chan, &req->io);
	if (rc == BH_BLK_QUEUED) {
		line->inflight++;
		req->next = t->flush.first;
		t->flush.first = req;
		return true;
	}
	free(req);
	line->is_written = rc == -EAGAIN;
	note(t, line, rc == -EAGAIN ? 0 : rc);
	return rc != -EAGAIN;
}

void tn_flush_run(struct tn_thread *t)
{
	struct tn_flush *flush = &t->flush;

	for (; flush->nsid <= BH_TARGET_NVME_MAX_NS; flush->nsid++) {
		struct tn_line *line = &t->line[flush->nsid];

		/* One that is being formatted keeps nothing of what was written. */
		if (line->chan && line->kind < TN_NS_PAUSED && line->is_written &&
		    !flush_line(t, line))
			return; /* the next pass goes on */
	}
	reply_if_done(t);
}

static void unlink_req(struct tn_flush *flush, const struct tn_req *req)
{
	struct tn_req **at = &flush->first;

	while (*at && *at != req)
		at = &(*at)->next;
	if (*at)
		*at = req->next;
}

void tn_flush_reaped(struct tn_thread *t, struct tn_req *req, int error)
{
	struct tn_line *line = req->job.line;

	if (line) {
		unlink_req(&t->flush, req);
		note(t, line, error);
		tn_line_release(t, line);
		reply_if_done(t);
	}
	free(req);
}

/* ---- what the control thread asks for ---- */

static void flush_run(struct tn_op *op)
{
	struct tn_thread *t = op->thread;

	t->flush.op = op;
	t->flush.nsid = 1;
	t->flush.status = 0;
	tn_flush_run(t);
}

static void flush_finish(struct tn_fan *fan)
{
	fan->done_status(fan->arg, fan->status);
}

void tn_io_flush(struct bh_target_nvme *ctrl, tn_done done, void *arg)
{
	struct tn_fan *fan = ctrl->io->flush;

	fan->done_status = done;
	fan->arg = arg;
	tn_fan_send(fan);
}

struct tn_fan *tn_flush_new(struct tn_io *io)
{
	return tn_fan_new(io, flush_run, flush_finish);
}

/* Behind this no flush is under way on the thread, as far as anybody is concerned. */
static void give_up_run(struct tn_op *op)
{
	struct tn_thread *t = op->thread;
	struct tn_flush *flush = &t->flush;
	struct tn_req *req;

	while ((req = flush->first)) {
		struct tn_line *line = req->job.line;

		flush->first = req->next;
		req->job.line = NULL;
		line->is_written = true;
		flush->status = BH_NVME_SC_WRITE_FAULT;
		tn_line_release(t, line);
	}
	if (flush->op && flush->nsid <= BH_TARGET_NVME_MAX_NS)
		flush->status = BH_NVME_SC_WRITE_FAULT;
	flush->nsid = BH_TARGET_NVME_MAX_NS + 1;
	reply_if_done(t);
	tn_op_reply(op);
}

static void give_up_finish(struct tn_fan *fan)
{
	(void)fan;
}

void tn_io_flush_give_up(struct bh_target_nvme *ctrl)
{
	tn_fan_send(ctrl->io->give_up);
}

struct tn_fan *tn_give_up_new(struct tn_io *io)
{
	return tn_fan_new(io, give_up_run, give_up_finish);
}

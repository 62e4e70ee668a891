/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Namespaces that stand still while their store is given another format, or is sanitized.
 *
 * Channels stay open, and lines as they are but for their kind, which fails what comes; so going on
 * cannot fail. What it takes is made with the namespace.
 */
#include <stdlib.h>

#include "target/nvme/plane.h"

static void pause_run(struct tn_op *op)
{
	struct tn_line *line = &op->thread->line[op->u.ns->nsid];

	/* Kept until it goes on, which the refusal is not. */
	op->thread->life[op->u.ns->nsid].paused_sf = tn_refusal(op->thread->ctrl);
	line->kind = TN_NS_PAUSED;
	line->inline_blocks = 0;
	if (line->inflight)
		op->thread->life[op->u.ns->nsid].pausing = op;
	else
		tn_op_reply(op);
}

static void go_on_run(struct tn_op *op)
{
	tn_line_fill(op->thread, op->u.ns);
	tn_op_reply(op);
}

static void finish(struct tn_fan *fan)
{
	fan->done(fan->arg);
}

int tn_pause_new(struct tn_io *io, struct tn_ns *ns)
{
	struct tn_fan *pause = tn_fan_new(io, pause_run, finish);
	struct tn_fan *going_on = tn_fan_new(io, go_on_run, finish);
	unsigned int i;

	ns->pause = pause;
	ns->going_on = going_on;
	if (!pause || !going_on) {
		tn_pause_free(ns);
		return -1;
	}
	for (i = 0; i < io->num_threads; i++)
		pause->op[i].u.ns = going_on->op[i].u.ns = ns;
	return 0;
}

void tn_pause_free(struct tn_ns *ns)
{
	free(ns->pause);
	free(ns->going_on);
	ns->pause = ns->going_on = NULL;
}

static void send(struct tn_fan *fan, void (*done)(void *arg), void *arg)
{
	fan->done = done;
	fan->arg = arg;
	tn_fan_send(fan);
}

void tn_io_ns_pause(struct bh_target_nvme *ctrl, struct tn_ns *ns, void (*done)(void *arg),
		    void *arg)
{
	(void)ctrl;
	send(ns->pause, done, arg);
}

void tn_io_ns_go_on(struct bh_target_nvme *ctrl, struct tn_ns *ns, void (*done)(void *arg),
		    void *arg)
{
	(void)ctrl;
	send(ns->going_on, done, arg);
}

bool tn_io_ns_has_left(const struct tn_ns *ns)
{
	/* Acquire: whoever finds none comes after the last. */
	return ns->orphans && __atomic_load_n(&ns->orphans->count, __ATOMIC_ACQUIRE);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The I/O plane as a whole, and a thread's pass.
 *
 * tn_io belongs to the control thread, each tn_thread to its reactor's. They share no lock: what
 * the control thread wants is sent (op.c), what any thread may know is __atomic (the fatal flag,
 * the INTMS copy, statistics, limits of namespaces).
 *
 * Messages embedded in a tn_thread (wake, irq, admin) are sent by whoever raises their flag and may
 * be in flight when the controller goes. So it goes in two rounds: in the first every thread
 * forgets what it has, after which nobody sends; the second does nothing but come behind what was
 * sent.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "target/nvme/queue_io.h"

/* ---- a pass ---- */

/* All there is for a fatal controller: what is in its stores comes back, so that namespaces can go. */
static unsigned int pass_stores(struct tn_thread *t)
{
	unsigned int n = 0;

	if (t->hold.first) {
		tn_hold_run(&t->hold);
		n++;
	}
	if (t->num_async)
		n += tn_reqs_reap(t);
	if (t->again)
		n += tn_reqs_again(t);
	if (t->flush.op)
		tn_flush_run(t);
	if (t->parting)
		tn_sqs_part(t);
	return n;
}

static unsigned int pass_rare(struct tn_thread *t)
{
	unsigned int n = pass_stores(t);

	if (t->num_waiting)
		tn_cq_flush(t);
	if (t->num_mirrors)
		n += tn_slow_cqs(t);
	if (t->num_asserted)
		tn_intx_look(t);
	if (t->drains)
		tn_drains_run(t, false);
	return n;
}

static int thread_poll(void *ctx)
{
	struct tn_thread *t = ctx;
	unsigned int n;

	t->work = 0;
	t->is_starved = false;
	tn_count(&t->stats.polls, 1);
	/* Behind a gate the doorbell page may be replaced, and nobody would take what is rung. */
	if (t->is_gated)
		return t->gate_op ? tn_gate_poll(t) > 0 : 0;
	if (t->watches_admin)
		tn_admin_look(t);
	if (__atomic_load_n(&t->io->is_fatal, __ATOMIC_RELAXED))
		return pass_stores(t) > 0;
	if (bh_cmem_faults(t->cmem) != t->faults)
		tn_queues_fault(t);
	n = t->is_weighted ? tn_wrr_run(t) : tn_scan_run(t);
	n += pass_rare(t);
	if (t->due)
		tn_irq_flush(t);
	if (!n)
		tn_count(&t->stats.empty_polls, 1);
	return n > 0;
}

static int64_t thread_arm(void *ctx)
{
	return tn_bells_arm(ctx);
}

static void thread_disarm(void *ctx)
{
	tn_bells_disarm(ctx);
}

static const struct bh_poller_ops poller_ops = {
	.poll = thread_poll,
	.arm = thread_arm,
	.disarm = thread_disarm,
};

/*
 * After a shutdown the host may take its memory back, and needs a reset to go on (NVMe 2.0 3.6.1):
 * then there is nothing wrong with the controller.
 */
void tn_thread_fatal(struct tn_thread *t, const char *why)
{
	if (!__atomic_exchange_n(&t->io->is_fatal, 1, __ATOMIC_RELAXED) &&
	    !tn_is_shut_down(t->ctrl))
		tn_ctrl_fatal(t->ctrl, why);
}

void tn_io_stop(struct bh_target_nvme *ctrl)
{
	__atomic_store_n(&ctrl->io->is_fatal, 1, __ATOMIC_RELAXED);
}

/* ---- messages ---- */

static void woke(void *ctx)
{
	struct tn_thread *t = ctx;

	/* The pass that follows sees what was stored before the wake. */
	__atomic_store_n(&t->wake_sent, 0, __ATOMIC_SEQ_CST);
}

void tn_thread_wake(struct tn_thread *t)
{
	if (!__atomic_exchange_n(&t->wake_sent, 1, __ATOMIC_SEQ_CST))
		bh_reactor_send(t->reactor, &t->wake_msg);
}

void tn_thread_nudge(struct tn_thread *t)
{
	if (bh_reactor_is_self(t->ctrl->control))
		tn_thread_wake(t);
}

static void irqs_look(void *ctx)
{
	struct tn_thread *t = ctx;

	__atomic_store_n(&t->irq_sent, 0, __ATOMIC_SEQ_CST);
	t->intms = __atomic_load_n(&t->io->intms, __ATOMIC_SEQ_CST);
	tn_intx_update(t);
}

void tn_io_irqs_changed(struct bh_target_nvme *ctrl)
{
	bool direct = !bh_reactor_is_self(ctrl->control);
	struct tn_io *io = ctrl->io;
	unsigned int i;

	__atomic_store_n(&io->intms, ctrl->regs.intms, __ATOMIC_SEQ_CST);
	for (i = 0; i < io->num_threads; i++) {
		struct tn_thread *t = io->thread[i];

		if (direct)
			irqs_look(t);
		else if (!__atomic_exchange_n(&t->irq_sent, 1, __ATOMIC_SEQ_CST))
			bh_reactor_send(t->reactor, &t->irq_msg);
	}
}

static void admin_moved(void *ctx)
{
	struct tn_thread *t = ctx;

	__atomic_store_n(&t->admin_sent, 0, __ATOMIC_SEQ_CST);
	tn_admin_kick(t->ctrl);
}

/* ---- coming ---- */

static void thread_free(struct tn_thread *t)
{
	if (!t)
		return;
	free(t->scan);
	free(t->iov);
	tn_pieces_free(&t->scratch);
	tn_bounce_fini(t);
	tn_stats_fini(t);
	free(t);
}

static struct tn_thread *thread_new(struct tn_io *io, struct bh_reactor *reactor,
				    unsigned int index)
{
	struct bh_target_nvme *ctrl = io->ctrl;
	uint32_t cap = ctrl->mdts / TN_PAGE_SIZE + 2 + TN_SGL_LIMIT;
	struct tn_thread *t = aligned_alloc(64, (sizeof(*t) + 63) / 64 * 64);

	if (!t)
		return NULL;
	__builtin_memset(t, 0, sizeof(*t));
	t->io = io;
	t->ctrl = ctrl;
	t->cmem = ctrl->cmem;
	t->faults = bh_cmem_faults(ctrl->cmem);
	t->reactor = reactor;
	t->index = index;
	t->is_trapped = ctrl->doorbells == BH_DOORBELLS_TRAPPED;
	t->watches_admin = index == 0 && !t->is_trapped;
	t->hold.last = &t->hold.first;
	t->again_last = &t->again;
	t->wake_msg = (struct bh_msg){ .fn = woke, .ctx = t };
	t->irq_msg = (struct bh_msg){ .fn = irqs_look, .ctx = t };
	t->admin_msg = (struct bh_msg){ .fn = admin_moved, .ctx = t };
	t->scratch.v = calloc(cap, sizeof(*t->scratch.v));
	t->scratch.cap = cap;
	t->scratch.is_fixed = true;
	t->iov = calloc(cap, sizeof(*t->iov));
	t->scan = calloc(BH_TARGET_NVME_MAX_QUEUES, sizeof(*t->scan));
	tn_lines_init(t);
	if (!tn_stats_init(t) && !tn_bounce_init(t) && t->scratch.v && t->iov && t->scan)
		return t;
	thread_free(t);
	return NULL;
}

struct joining {
	struct tn_thread *t;
	int rc;
};

static void thread_join(void *ctx)
{
	struct joining *j = ctx;
	struct tn_thread *t = j->t;

	j->rc = bh_poller_add(t->reactor, &poller_ops, t, &t->poller);
	if (!j->rc && t->index == 0 && t->is_trapped)
		j->rc = tn_io_fd_watch(t);
}

static void thread_part(void *ctx)
{
	struct tn_thread *t = ctx;

	bh_poller_remove(t->poller);
	bh_fd_source_remove(t->io_fd_source);
	t->poller = NULL;
	t->io_fd_source = NULL;
	t->is_gated = true;
	tn_queues_drop(t);
	tn_drains_run(t, true);
	tn_lines_fini(t);
	tn_hold_cancel(&t->hold);
}

/* ---- going ---- */

static void io_free(struct tn_io *io)
{
	unsigned int i;

	for (i = 0; i < io->num_threads; i++)
		thread_free(io->thread[i]);
	if (io->io_fd >= 0)
		close(io->io_fd);
	free(io->gate);
	free(io->ungate);
	free(io->destroy);
	free(io->flush);
	free(io->give_up);
	free(io);
}

static void nothing_run(struct tn_op *op)
{
	tn_op_reply(op);
}

static void part_run(struct tn_op *op)
{
	thread_part(op->thread);
	tn_op_reply(op);
}

static void destroy_finish(struct tn_fan *fan)
{
	struct tn_io *io = fan->io;
	void (*done)(void *arg) = io->destroyed;
	void *arg = io->destroyed_arg;

	io->ctrl->io = NULL;
	io_free(io);
	if (done)
		done(arg);
}

static void parted(struct tn_fan *fan)
{
	unsigned int i;

	fan->finish = destroy_finish;
	for (i = 0; i < fan->io->num_threads; i++)
		fan->op[i].run = nothing_run;
	tn_fan_send(fan);
}

/* Where no reactor runs, what was sent to them still lies there. */
static void run_leftovers(struct tn_io *io)
{
	unsigned int i;

	for (i = 0; i < io->num_threads; i++) {
		bh_reactor_run_once(io->thread[i]->reactor);
		if (io->thread[i]->admin_sent)
			bh_reactor_run_once(io->ctrl->control);
	}
}

void tn_io_destroy(struct bh_target_nvme *ctrl, void (*done)(void *arg), void *arg)
{
	struct tn_io *io = ctrl->io;

	io->destroyed = done;
	io->destroyed_arg = arg;
	if (!bh_reactor_is_self(ctrl->control))
		run_leftovers(io);
	tn_fan_send(io->destroy);
}

static int io_join(struct tn_io *io)
{
	struct joining j = { .rc = 0 };
	unsigned int i;

	for (i = 0; !j.rc && i < io->num_threads; i++) {
		j.t = io->thread[i];
		bh_reactor_call(j.t->reactor, thread_join, &j);
	}
	if (!j.rc)
		return 0;
	while (i-- > 0)
		bh_reactor_call(io->thread[i]->reactor, thread_part, io->thread[i]);
	return j.rc;
}

int tn_io_create(struct bh_target_nvme *ctrl, struct bh_reactor *const *threads,
		 unsigned int num_threads)
{
	struct tn_io *io = calloc(1, sizeof(*io) + num_threads * sizeof(io->thread[0]));
	bool ok = true;
	unsigned int i;
	int rc;

	if (!io)
		return -ENOMEM;
	io->ctrl = ctrl;
	io->io_fd = -1;
	io->num_threads = num_threads;
	for (i = 0; i < num_threads; i++) {
		io->thread[i] = thread_new(io, threads[i], i);
		ok &= io->thread[i] != NULL;
	}
	io->gate = ok ? tn_gate_new(io) : NULL;
	io->ungate = ok ? tn_ungate_new(io) : NULL;
	io->destroy = ok ? tn_fan_new(io, part_run, parted) : NULL;
	io->flush = ok ? tn_flush_new(io) : NULL;
	io->give_up = ok ? tn_give_up_new(io) : NULL;
	ok = io->gate && io->ungate && io->destroy && io->flush && io->give_up;
	rc = ok ? io_join(io) : -ENOMEM;
	if (rc) {
		io_free(io);
		return rc;
	}
	ctrl->io = io;
	return 0;
}

void tn_io_run_once(struct bh_target_nvme *ctrl)
{
	unsigned int i;

	for (i = 0; ctrl->io && i < ctrl->io->num_threads; i++)
		bh_reactor_run_once(ctrl->io->thread[i]->reactor);
}

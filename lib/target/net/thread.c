/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Poll threads: passes, the gate, sleeping, and word to the control thread.
 *
 * A thread that finds nothing for a while arms: with trapped notifications it asks the drivers to
 * kick, the ports to call its waker, and looks once more; with mapped ones a store wakes nobody, so
 * it asks to be polled by a timer. When it wakes it takes the wishes back.
 *
 * Messages to the control thread lie in the controller and are sent by whoever raises their flag;
 * they may be under way when the controller goes, which is why it is freed by a message that comes
 * behind them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "target/net/net.h"
#include "virtio_dev/vdq_io.h"

/* A port that takes nothing is asked again after so long. */
#define RETRY_NS 1000000

/* ---- a pass ---- */

static void fault(struct tnet_thread *t)
{
	unsigned int i;

	t->faults = bh_cmem_faults(t->net->cmem);
	for (i = 0; i < t->num_pairs; i++) {
		struct tnet_pair *p = t->pair[i];

		/* A cached hit would still find what is lost. */
		p->rx.cache = p->tx.cache = (struct bh_cmem_cache){ 0 };
		if (p->rx.is_live && bh_vdq_is_lost(&p->rx))
			bh_vdq_break(&p->rx, "the memory of the ring is lost");
		if (p->tx.is_live && bh_vdq_is_lost(&p->tx))
			bh_vdq_break(&p->tx, "the memory of the ring is lost");
	}
}

static void say_broken(struct tnet_thread *t)
{
	unsigned int i;

	for (i = 0; i < t->num_pairs; i++) {
		struct tnet_pair *p = t->pair[i];
		bool is_rx = p->rx.broken;

		if (p->is_broken_said || (!is_rx && !p->tx.broken))
			continue;
		p->is_broken_said = true;
		tnet_broken(t->net,
			    is_rx ? BH_VIRTIO_NET_RXQ(p->index) : BH_VIRTIO_NET_TXQ(p->index),
			    is_rx ? p->rx.broken : p->tx.broken);
	}
}

static bool watches_cvq(const struct tnet_thread *t)
{
	return t->index == 0 && t->net->notify == BH_NET_NOTIFY_MAPPED && t->net->cvq.is_live;
}

static void ask_kicks(struct tnet_pair *p, bool wanted)
{
	if (p->tx.is_live && p->tx.is_silent == wanted)
		bh_vdq_kicks(&p->tx, wanted);
	if (p->rx.is_live && p->rx.is_silent == wanted)
		bh_vdq_kicks(&p->rx, wanted);
}

static void disarm(struct tnet_thread *t)
{
	unsigned int i;

	t->is_armed = false;
	for (i = 0; i < t->num_pairs; i++)
		ask_kicks(t->pair[i], false);
}

static int thread_poll(void *ctx)
{
	struct tnet_thread *t = ctx;
	unsigned int n;

	if (__atomic_load_n(&t->is_gated, __ATOMIC_ACQUIRE))
		return 0;
	if (__builtin_expect(t->is_armed, 0)) /* it woke behind the gate */
		disarm(t);
	if (bh_cmem_faults(t->net->cmem) != t->faults)
		fault(t);
	n = tnet_pass(t);
	tnet_count(&t->polls, 1);
	if (!n)
		tnet_count(&t->empty_polls, 1);
	say_broken(t);
	if (watches_cvq(t) && bh_vdq_is_avail(&t->net->cvq) &&
	    !__atomic_exchange_n(&t->net->cvq_sent, 1, __ATOMIC_SEQ_CST))
		bh_reactor_send(t->net->control, &t->net->cvq_msg);
	return n > 0;
}

/* ---- sleeping ---- */

enum look {
	NOTHING,
	LATER, /* there is something, and nothing to be done about it now */
	WORK,
};

static enum look look_at(struct tnet_pair *p)
{
	struct bh_net_port *port = p->net->port;
	bool has_tx = bh_vdq_is_avail(&p->tx);

	if (port->ops->is_loopback) {
		if (!has_tx || !p->rx.is_live)
			return has_tx ? WORK : NOTHING;
		return bh_vdq_is_avail(&p->rx) ? WORK : LATER;
	}
	if (has_tx && !p->is_blocked)
		return WORK;
	if (p->is_rx_active && p->rx.is_live && port->ops->arm && port->ops->arm(port, p->index))
		return bh_vdq_is_avail(&p->rx) ? WORK : LATER;
	return has_tx ? LATER : NOTHING;
}

static int64_t thread_arm(void *ctx)
{
	struct tnet_thread *t = ctx;
	bool is_trapped = t->net->notify == BH_NET_NOTIFY_TRAPPED;
	bool is_later = false, is_live = watches_cvq(t);
	unsigned int i;

	if (__atomic_load_n(&t->is_gated, __ATOMIC_ACQUIRE))
		return 0;
	if (is_live && bh_vdq_is_avail(&t->net->cvq))
		return -RETRY_NS; /* the control thread has been told */
	t->is_armed = is_trapped;
	for (i = 0; i < t->num_pairs; i++) {
		struct tnet_pair *p = t->pair[i];
		enum look look;

		is_live |= p->rx.is_live || p->tx.is_live;
		if (is_trapped)
			ask_kicks(p, true);
		look = look_at(p);
		if (look == WORK)
			return 1;
		is_later |= look == LATER;
	}
	if (is_later)
		return -RETRY_NS;
	return is_live && !is_trapped ? -(int64_t)t->net->idle_poll_ns : 0;
}

static void thread_disarm(void *ctx)
{
	struct tnet_thread *t = ctx;

	/* Behind the gate the queues are not ours: the next poll does it. */
	if (t->is_armed && !__atomic_load_n(&t->is_gated, __ATOMIC_ACQUIRE))
		disarm(t);
}

static const struct bh_poller_ops poller_ops = {
	.poll = thread_poll,
	.arm = thread_arm,
	.disarm = thread_disarm,
};

/* ---- messages ---- */

static void woke(void *ctx)
{
	struct tnet_thread *t = ctx;

	/* The pass that follows sees what was stored before the wake. */
	__atomic_store_n(&t->wake_sent, 0, __ATOMIC_SEQ_CST);
}

void tnet_thread_wake(struct tnet_thread *t)
{
	if (!__atomic_exchange_n(&t->wake_sent, 1, __ATOMIC_SEQ_CST))
		bh_reactor_send(t->reactor, &t->wake_msg);
}

void tnet_broken(struct bh_target_net *net, unsigned int vq, const char *why)
{
	__atomic_fetch_or(&net->regs.status, BH_VIRTIO_STATUS_NEEDS_RESET, __ATOMIC_ACQ_REL);
	if (__atomic_exchange_n(&net->broken_sent, 1, __ATOMIC_SEQ_CST))
		return;
	net->broken_why = why;
	net->broken_queue = vq;
	bh_reactor_send(net->control, &net->broken_msg);
}

void tnet_call_driver(struct bh_target_net *net, uint16_t vector)
{
	if (!bh_vfu_irq_msix_enabled(net->server))
		tnet_isr_raise(net, BH_VIRTIO_ISR_QUEUE);
	else if (vector != BH_VIRTIO_NO_VECTOR)
		bh_vfu_irq_raise(net->server, vector);
}

/* ---- the gate ---- */

static void close_gate(void *ctx)
{
	struct tnet_thread *t = ctx;

	__atomic_store_n(&t->is_gated, true, __ATOMIC_RELEASE);
}

void tnet_gate(struct bh_target_net *net)
{
	unsigned int i;

	if (net->gates++)
		return;
	for (i = 0; i < net->num_threads; i++)
		bh_reactor_call(net->thread[i]->reactor, close_gate, net->thread[i]);
}

void tnet_ungate(struct bh_target_net *net)
{
	unsigned int i;

	if (--net->gates)
		return;
	for (i = 0; i < net->num_threads; i++) {
		__atomic_store_n(&net->thread[i]->is_gated, false, __ATOMIC_RELEASE);
		tnet_thread_wake(net->thread[i]);
	}
}

/* ---- coming and going ---- */

/* The pass that follows looks. */
static void port_rang(void *ctx, uint32_t events)
{
	(void)ctx;
	(void)events;
}

static void wake_pair(void *ctx)
{
	struct tnet_pair *p = ctx;

	tnet_thread_wake(p->thread);
}

static int watch_port(struct tnet_pair *p)
{
	struct bh_net_port *port = p->net->port;
	const struct tnet_waker waker = { wake_pair, p };
	int fd = port->ops->fd ? port->ops->fd(port, p->index) : -1;

	if (port->ops->set_waker)
		port->ops->set_waker(port, p->index, &waker);
	if (fd < 0)
		return 0;
	/* Edges: a packet nobody has buffers for does not keep the thread awake. */
	return bh_fd_source_add(p->thread->reactor, fd, EPOLLIN | EPOLLET, port_rang, p,
				&p->source);
}

struct joining {
	struct tnet_thread *t;
	int rc;
};

static void join(void *ctx)
{
	struct joining *j = ctx;
	unsigned int i;

	j->rc = bh_poller_add(j->t->reactor, &poller_ops, j->t, &j->t->poller);
	for (i = 0; !j->rc && i < j->t->num_pairs; i++)
		j->rc = watch_port(j->t->pair[i]);
}

static void part(void *ctx)
{
	struct tnet_thread *t = ctx;
	unsigned int i;

	bh_poller_remove(t->poller);
	t->poller = NULL;
	for (i = 0; i < t->num_pairs; i++) {
		bh_fd_source_remove(t->pair[i]->source);
		t->pair[i]->source = NULL;
	}
}

void tnet_threads_part(struct bh_target_net *net)
{
	struct bh_net_port *port = net->port;
	const struct tnet_waker nobody = { NULL, NULL };
	unsigned int i;

	for (i = 0; port->ops->set_waker && i < net->num_pairs; i++)
		port->ops->set_waker(port, i, &nobody);
	for (i = 0; i < net->num_threads; i++)
		bh_reactor_call(net->thread[i]->reactor, part, net->thread[i]);
}

void tnet_threads_free(struct bh_target_net *net)
{
	unsigned int i;

	for (i = 0; i < net->num_pairs; i++)
		free(net->pair[i]);
	for (i = 0; i < net->num_threads; i++) {
		free(net->thread[i]->bounce);
		free(net->thread[i]->segment);
		free(net->thread[i]);
	}
	net->num_threads = 0;
}

static void *zeroed(size_t bytes)
{
	void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);

	return p ? memset(p, 0, bytes) : NULL;
}

static int thread_new(struct bh_target_net *net, struct bh_reactor *reactor)
{
	struct tnet_thread *t = zeroed(sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->net = net;
	t->reactor = reactor;
	t->index = net->num_threads;
	t->faults = bh_cmem_faults(net->cmem);
	t->wake_msg = (struct bh_msg){ .fn = woke, .ctx = t };
	t->bounce = malloc(TNET_MAX_FRAME);
	t->segment = malloc(TNET_MAX_FRAME);
	net->thread[net->num_threads++] = t;
	return t->bounce && t->segment ? 0 : -ENOMEM;
}

static int pair_new(struct bh_target_net *net, unsigned int i)
{
	struct tnet_pair *p = zeroed(sizeof(*p));
	struct tnet_thread *t = net->thread[i % net->num_threads];

	if (!p)
		return -ENOMEM;
	p->net = net;
	p->index = i;
	p->thread = t;
	t->pair[t->num_pairs++] = p;
	net->pair[i] = p;
	return 0;
}

int tnet_threads_create(struct bh_target_net *net, struct bh_reactor *const *threads,
			unsigned int num_threads)
{
	struct joining j = { .rc = 0 };
	unsigned int i;

	for (i = 0; !j.rc && i < num_threads; i++)
		j.rc = thread_new(net, threads[i]);
	for (i = 0; !j.rc && i < net->num_pairs; i++)
		j.rc = pair_new(net, i);
	for (i = 0; !j.rc && i < num_threads; i++) {
		j.t = net->thread[i];
		bh_reactor_call(j.t->reactor, join, &j);
	}
	return j.rc;
}

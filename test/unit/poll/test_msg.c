/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <bellhop/poll.h>

enum { SENDERS = 4, PER_SENDER = 5000 };

static int poll_nothing(void *ctx)
{
	(void)ctx;
	return 0;
}

static const struct bh_poller_ops idle_poller = { .poll = poll_nothing };

static struct bh_reactor *reactor_make(uint64_t idle_ns)
{
	struct bh_reactor *reactor = NULL;
	struct bh_reactor_opts opts;

	bh_reactor_opts_init(&opts);
	opts.idle_ns = idle_ns;
	CU_ASSERT_EQUAL_FATAL(bh_reactor_create(&opts, &reactor), 0);
	return reactor;
}

/* One sender's messages, and what the reactor saw of them. */
struct sender {
	struct bh_reactor *reactor;
	struct {
		struct bh_msg msg;
		struct sender *sender;
		unsigned int number;
	} sent[PER_SENDER];
	unsigned int next; /* reactor's thread only */
	unsigned int wrong;
};

static void arrived(void *ctx)
{
	__typeof__(&((struct sender *)NULL)->sent[0]) m = ctx;

	if (m->number != m->sender->next++)
		m->sender->wrong++;
}

static void *sender_main(void *arg)
{
	struct sender *s = arg;

	for (unsigned int i = 0; i < PER_SENDER; i++) {
		s->sent[i].sender = s;
		s->sent[i].number = i;
		s->sent[i].msg.fn = arrived;
		s->sent[i].msg.ctx = &s->sent[i];
		bh_reactor_send(s->reactor, &s->sent[i].msg);
		/* Pauses let the reactor fall asleep now and then. */
		if (i % 512 == 511)
			usleep(300);
	}
	return NULL;
}

static void nothing(void *ctx)
{
	(void)ctx;
}

static void many_senders(uint64_t idle_ns, bool with_poller)
{
	struct sender *senders = calloc(SENDERS, sizeof(*senders));
	struct bh_reactor *reactor = reactor_make(idle_ns);
	struct bh_reactor_stats stats;
	struct bh_poller *poller;
	pthread_t t[SENDERS];

	if (with_poller)
		CU_ASSERT_EQUAL(bh_poller_add(reactor, &idle_poller, NULL, &poller), 0);
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(reactor), 0);
	for (int i = 0; i < SENDERS; i++) {
		senders[i].reactor = reactor;
		pthread_create(&t[i], NULL, sender_main, &senders[i]);
	}
	for (int i = 0; i < SENDERS; i++)
		pthread_join(t[i], NULL);
	bh_reactor_call(reactor, nothing, NULL);
	bh_reactor_stop(reactor);
	for (int i = 0; i < SENDERS; i++) {
		CU_ASSERT_EQUAL(senders[i].next, PER_SENDER);
		CU_ASSERT_EQUAL(senders[i].wrong, 0);
	}
	bh_reactor_stats(reactor, &stats);
	CU_ASSERT_EQUAL(stats.messages, SENDERS * PER_SENDER + 2); /* the call and the stop */
	bh_reactor_destroy(reactor);
	free(senders);
}

static void every_message_once_in_order_asleep(void)
{
	many_senders(0, false);
}

static void every_message_once_in_order_spinning(void)
{
	many_senders(UINT64_MAX, true);
}

static void every_message_once_in_order_dozing(void)
{
	many_senders(20000, true);
}

/* Two reactors pass one message to and fro, each sleeping until it comes. */
struct rally {
	struct bh_reactor *side[2];
	struct bh_msg msg;
	unsigned int strokes;
	unsigned int left; /* __atomic */
};

static void stroke(void *ctx)
{
	struct rally *rally = ctx;
	unsigned int side = ++rally->strokes % 2;

	if (__atomic_sub_fetch(&rally->left, 1, __ATOMIC_RELEASE) > 0)
		bh_reactor_send(rally->side[side], &rally->msg);
}

static void message_is_reused_inside_fn(void)
{
	struct rally rally = { .left = 4000 };

	for (int i = 0; i < 2; i++) {
		rally.side[i] = reactor_make(0);
		CU_ASSERT_EQUAL_FATAL(bh_reactor_start(rally.side[i]), 0);
	}
	rally.msg.fn = stroke;
	rally.msg.ctx = &rally;
	bh_reactor_send(rally.side[0], &rally.msg);
	for (int i = 0; i < 10000 && __atomic_load_n(&rally.left, __ATOMIC_ACQUIRE) > 0; i++)
		usleep(1000);
	CU_ASSERT_EQUAL(__atomic_load_n(&rally.left, __ATOMIC_ACQUIRE), 0);
	/* Both first: the last sender may still be inside bh_reactor_send. */
	bh_reactor_stop(rally.side[0]);
	bh_reactor_stop(rally.side[1]);
	bh_reactor_destroy(rally.side[0]);
	bh_reactor_destroy(rally.side[1]);
}

struct probe {
	struct bh_reactor *reactor;
	pthread_t thread;
	bool self;
	int depth;
};

static void probe_run(void *ctx)
{
	struct probe *probe = ctx;

	probe->thread = pthread_self();
	probe->self = bh_reactor_is_self(probe->reactor);
	if (probe->depth++ == 0)
		bh_reactor_call(probe->reactor, probe_run, probe);
}

static void call_waits_and_nests(void)
{
	struct bh_reactor *reactor = reactor_make(0);
	struct probe probe = { .reactor = reactor };

	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(reactor), 0);
	CU_ASSERT_FALSE(bh_reactor_is_self(reactor));
	bh_reactor_call(reactor, probe_run, &probe);
	CU_ASSERT_EQUAL(probe.depth, 2);
	CU_ASSERT_TRUE(probe.self);
	CU_ASSERT_FALSE(pthread_equal(probe.thread, pthread_self()));
	bh_reactor_destroy(reactor);
}

static void call_is_direct_when_not_started(void)
{
	struct bh_reactor *reactor = reactor_make(0);
	struct probe probe = { .reactor = reactor, .depth = 1 };

	bh_reactor_call(reactor, probe_run, &probe);
	CU_ASSERT_EQUAL(probe.depth, 2);
	CU_ASSERT_TRUE(pthread_equal(probe.thread, pthread_self()));
	bh_reactor_destroy(reactor);
}

struct caller {
	struct bh_reactor *reactor;
	bool stop;	    /* __atomic */
	unsigned int calls; /* __atomic */
};

static void count(void *ctx)
{
	__atomic_add_fetch((unsigned int *)ctx, 1, __ATOMIC_RELAXED);
}

static void *caller_main(void *arg)
{
	struct caller *c = arg;
	unsigned int done = 0;

	for (; !__atomic_load_n(&c->stop, __ATOMIC_RELAXED); done++)
		bh_reactor_call(c->reactor, count, &c->calls);
	return (void *)(uintptr_t)done;
}

static void calls_survive_stop_and_start(void)
{
	struct caller c = { .reactor = reactor_make(0) };
	pthread_t t;
	void *done;

	pthread_create(&t, NULL, caller_main, &c);
	for (int i = 0; i < 100; i++) {
		CU_ASSERT_EQUAL(bh_reactor_start(c.reactor), 0);
		usleep(200);
		bh_reactor_stop(c.reactor);
	}
	__atomic_store_n(&c.stop, true, __ATOMIC_RELAXED);
	pthread_join(t, &done);
	CU_ASSERT_EQUAL((uintptr_t)done, c.calls);
	CU_ASSERT_TRUE(c.calls > 0);
	bh_reactor_destroy(c.reactor);
}

static void unsent_messages_run_at_destroy(void)
{
	struct bh_reactor *reactor = reactor_make(0);
	unsigned int n = 0;
	struct bh_msg a = { .fn = count, .ctx = &n }, b = { .fn = count, .ctx = &n };

	bh_reactor_send(reactor, &a);
	bh_reactor_send(reactor, &b);
	CU_ASSERT_EQUAL(n, 0);
	bh_reactor_destroy(reactor);
	CU_ASSERT_EQUAL(n, 2);
}

BH_SUITE("msg", { "every_message_once_in_order_asleep", every_message_once_in_order_asleep },
	 { "every_message_once_in_order_spinning", every_message_once_in_order_spinning },
	 { "every_message_once_in_order_dozing", every_message_once_in_order_dozing },
	 { "message_is_reused_inside_fn", message_is_reused_inside_fn },
	 { "call_waits_and_nests", call_waits_and_nests },
	 { "call_is_direct_when_not_started", call_is_direct_when_not_started },
	 { "calls_survive_stop_and_start", calls_survive_stop_and_start },
	 { "unsent_messages_run_at_destroy", unsent_messages_run_at_destroy })

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages between threads.
 *
 * The inbox is a stack: senders push with compare-and-swap, the reactor takes the whole stack with
 * one exchange and turns it around. Nothing is ever popped singly, so there is no ABA problem; the
 * order of pushes is kept, hence the order of each sender. Looking for messages costs one relaxed
 * load.
 *
 * A send makes a system call only if the reactor sleeps, or is about to:
 *
 *	sender			reactor
 *	push message		sleeping = 1
 *	look at sleeping	look for messages
 *
 * All four are sequentially consistent, so at least one side sees the other: either the reactor
 * does not go to sleep or the sender writes the eventfd. The one sender that takes the flag down
 * writes.
 */
#include "poll/reactor.h"

#include <errno.h>
#include <sys/eventfd.h>

void bh_reactor_send(struct bh_reactor *reactor, struct bh_msg *msg)
{
	struct bh__inbox *inbox = &reactor->inbox;
	struct bh_msg *newest = __atomic_load_n(&inbox->newest, __ATOMIC_RELAXED);
	int saved;

	do {
		msg->next = newest;
	} while (!__atomic_compare_exchange_n(&inbox->newest, &newest, msg, true, __ATOMIC_SEQ_CST,
					      __ATOMIC_RELAXED));
	if (!__atomic_load_n(&inbox->sleeping, __ATOMIC_SEQ_CST) ||
	    !__atomic_exchange_n(&inbox->sleeping, 0, __ATOMIC_SEQ_CST))
		return;
	saved = errno;
	eventfd_write(inbox->wake_fd, 1);
	errno = saved;
}

bool bh__inbox_may_sleep(struct bh_reactor *reactor)
{
	__atomic_store_n(&reactor->inbox.sleeping, 1, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&reactor->inbox.newest, __ATOMIC_SEQ_CST) == NULL;
}

/* Oldest first. */
static struct bh_msg *inbox_take(struct bh__inbox *inbox)
{
	struct bh_msg *msg = __atomic_exchange_n(&inbox->newest, NULL, __ATOMIC_ACQUIRE);
	struct bh_msg *list = NULL;

	while (msg) {
		struct bh_msg *older = msg->next;

		msg->next = list;
		list = msg;
		msg = older;
	}
	return list;
}

/*
 * What is sent meanwhile waits for the next time, so that two reactors in a dialogue starve nobody.
 */
unsigned int bh__msgs_run(struct bh_reactor *reactor)
{
	struct bh_msg *msg, *next;
	unsigned int count = 0;

	if (!__atomic_load_n(&reactor->inbox.newest, __ATOMIC_RELAXED))
		return 0;
	for (msg = inbox_take(&reactor->inbox); msg; msg = next) {
		next = msg->next; /* the message belongs to its sender again once it runs */
		msg->fn(msg->ctx);
		count++;
	}
	bh__count(&reactor->stats.messages, count);
	return count;
}

struct call {
	struct bh_msg msg;
	bh_msg_fn fn;
	void *ctx;
	sem_t done;
};

static void call_run(void *ctx)
{
	struct call *call = ctx;

	call->fn(call->ctx);
	sem_post(&call->done);
}

void bh_reactor_call(struct bh_reactor *reactor, bh_msg_fn fn, void *ctx)
{
	struct call call = { .msg = { .fn = call_run }, .fn = fn, .ctx = ctx };
	bool sent;

	if (bh_reactor_is_self(reactor)) {
		fn(ctx);
		return;
	}
	call.msg.ctx = &call;
	sem_init(&call.done, 0, 0);
	/* Under the lock: when bh_reactor_stop has taken `started` down it runs what was sent. */
	pthread_mutex_lock(&reactor->lock);
	sent = reactor->started;
	if (sent)
		bh_reactor_send(reactor, &call.msg);
	pthread_mutex_unlock(&reactor->lock);
	if (!sent)
		fn(ctx);
	while (sent && sem_wait(&call.done) < 0)
		; /* a signal handler ran in this thread */
	sem_destroy(&call.done);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loop.
 *
 * A pass runs messages, then pollers; that is all a busy reactor does. The clock is read every
 * CLOCK_PASSES passes only, and timers, fds and the idle time are looked at when it was: a busy
 * pass is a few microseconds long at most, so they are served well within their resolution, and
 * epoll costs a system call per FDS_NS however fast the passes are. A reactor whose only fd is its
 * own eventfd makes none while it is busy, because nobody writes the eventfd of a reactor that is
 * awake; one whose other fds only end its sleep makes one per WAKES_NS, which empties them.
 *
 * Sleeping is: raise the flag that senders look at, look at the inbox, arm the pollers, wait. Only
 * pollers keep the loop spinning: whatever a message, an fd or a timer brings them, they find it in
 * the same pass. So a pass without work after a wake-up leads straight back to sleep, and a poller
 * that asks for a turn every millisecond costs one pass per millisecond, not idle_ns.
 */
#include "poll/reactor.h"

#include <bellhop/clock.h>

enum {
	CLOCK_PASSES = 8,
	FDS_NS = 50 * 1000,
	WAKES_NS = 1000 * 1000 * 1000,
};

static void clock_look(struct bh_reactor *reactor)
{
	uint64_t before = reactor->now;

	reactor->pass = CLOCK_PASSES;
	reactor->now = bh_now_ns();
	if (reactor->busy) {
		if (before)
			bh__count(&reactor->stats.busy_ns, reactor->now - before);
		reactor->idle_since = reactor->now;
	}
	reactor->busy = false;
}

static unsigned int serve_fds(struct bh_reactor *reactor)
{
	uint64_t every = reactor->num_eager || !reactor->may_sleep ? FDS_NS : WAKES_NS;

	if (TAILQ_EMPTY(&reactor->sources) ||
	    (!TAILQ_EMPTY(&reactor->pollers) && reactor->now - reactor->fds_checked < every))
		return 0;
	reactor->fds_checked = reactor->now;
	return bh__fds_wait(reactor, 0);
}

/* True when the clock was read. */
static bool pass_run(struct bh_reactor *reactor, bool wait_follows, unsigned int *work)
{
	bool looked = --reactor->pass == 0;
	unsigned int polled;

	*work = bh__msgs_run(reactor);
	if (looked) {
		clock_look(reactor);
		*work += bh__timers_run(reactor);
		if (!wait_follows)
			*work += serve_fds(reactor);
	}
	polled = bh__pollers_poll(reactor, *work || reactor->woke || !reactor->may_sleep);
	reactor->woke = false;
	if (polled)
		reactor->busy = true;
	*work += polled;
	bh__count(&reactor->stats.passes, 1);
	if (*work)
		bh__count(&reactor->stats.busy_passes, 1);
	return looked;
}

static uint64_t timeout_of_timers(const struct bh_reactor *reactor)
{
	const struct bh_timer *first = TAILQ_FIRST(&reactor->timers_set);
	uint64_t now;

	if (!first)
		return UINT64_MAX;
	now = bh_now_ns();
	return first->due > now ? first->due - now : 0;
}

/* Sleeps unless there is work after all; serves the fds that end the sleep. */
static void reactor_sleep(struct bh_reactor *reactor)
{
	bool may = bh__inbox_may_sleep(reactor);
	uint64_t armed = may ? bh__pollers_arm(reactor) : 0;
	uint64_t timers = timeout_of_timers(reactor);
	uint64_t timeout = armed < timers ? armed : timers;

	/* A poller that changed its mind has work; a message may or may not bring some. */
	if (may && armed == 0)
		reactor->busy = true;
	if (timeout != 0)
		bh__count(&reactor->stats.sleeps, 1);
	bh__fds_wait(reactor, timeout);
	reactor->fds_checked = reactor->now;
	reactor->woke = true;
	reactor->pass = 1; /* time has passed */
}

static bool is_idle(const struct bh_reactor *reactor)
{
	return !reactor->busy && reactor->opts.idle_ns != UINT64_MAX &&
	       reactor->now - reactor->idle_since >= reactor->opts.idle_ns;
}

void bh__reactor_loop(struct bh_reactor *reactor)
{
	unsigned int work;

	reactor->in_pass = true;
	reactor->may_sleep = true;
	reactor->busy = true;
	reactor->pass = 1;
	while (!reactor->stop) {
		bool control = TAILQ_EMPTY(&reactor->pollers);
		bool looked = pass_run(reactor, control, &work);

		if (reactor->stop)
			break;
		if (TAILQ_EMPTY(&reactor->pollers) || (looked && is_idle(reactor)))
			reactor_sleep(reactor);
	}
	reactor->may_sleep = false;
	reactor->in_pass = false;
}

int bh_reactor_run_once(struct bh_reactor *reactor)
{
	uintptr_t owner = __atomic_load_n(&reactor->owner, __ATOMIC_RELAXED);
	unsigned int work;

	if (reactor->in_pass)
		return 0; /* called from one of its own callbacks */
	reactor->in_pass = true;
	__atomic_store_n(&reactor->owner, (uintptr_t)pthread_self(), __ATOMIC_RELAXED);
	reactor->pass = 1;
	pass_run(reactor, false, &work);
	__atomic_store_n(&reactor->owner, owner, __ATOMIC_RELAXED);
	reactor->in_pass = false;
	return (int)work;
}

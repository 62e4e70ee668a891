/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timers: one list sorted by due time, searched from its end, where most new ones go. Reactors have
 * a handful of timers (timeouts are watched per device, not per request), so a heap would be no
 * faster.
 */
#include "poll/reactor.h"

#include <errno.h>
#include <stdlib.h>

#include <bellhop/clock.h>

int bh_timer_create(struct bh_reactor *reactor, bh_msg_fn fn, void *ctx, struct bh_timer **out)
{
	struct bh_timer *timer = calloc(1, sizeof(*timer));

	if (!timer)
		return -ENOMEM;
	timer->reactor = reactor;
	timer->fn = fn;
	timer->ctx = ctx;
	LIST_INSERT_HEAD(&reactor->timers, timer, all);
	*out = timer;
	return 0;
}

static void timer_link(struct bh_timer *timer, struct bh__timer_list *list)
{
	struct bh_timer *before = TAILQ_LAST(list, bh__timer_list);

	while (before && before->due > timer->due)
		before = TAILQ_PREV(before, bh__timer_list, link);
	if (before)
		TAILQ_INSERT_AFTER(list, before, timer, link);
	else
		TAILQ_INSERT_HEAD(list, timer, link);
	timer->list = list;
}

void bh_timer_cancel(struct bh_timer *timer)
{
	if (!timer || !timer->list)
		return;
	TAILQ_REMOVE(timer->list, timer, link);
	timer->list = NULL;
}

void bh_timer_set(struct bh_timer *timer, uint64_t ns)
{
	uint64_t now = bh_now_ns();

	bh_timer_cancel(timer);
	timer->due = ns > UINT64_MAX - now ? UINT64_MAX : now + ns;
	timer_link(timer, &timer->reactor->timers_set);
}

void bh_timer_destroy(struct bh_timer *timer)
{
	if (!timer)
		return;
	bh_timer_cancel(timer);
	LIST_REMOVE(timer, all);
	free(timer);
}

/* Those due now; one that is set again from its own callback has its turn in a later pass. */
unsigned int bh__timers_run(struct bh_reactor *reactor)
{
	struct bh_timer *timer;
	unsigned int fired = 0;

	while ((timer = TAILQ_FIRST(&reactor->timers_set)) != NULL && timer->due <= reactor->now) {
		bh_timer_cancel(timer);
		timer_link(timer, &reactor->timers_firing);
	}
	while ((timer = TAILQ_FIRST(&reactor->timers_firing)) != NULL) {
		bh_timer_cancel(timer);
		timer->fn(timer->ctx);
		fired++;
	}
	return fired;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pollers, warm and cold. A thread that serves a busy controller looks at its idle ones in vain,
 * and 63 of those cost nearly as much as the one. So a poller that has had nothing COLD_AFTER times
 * in a row is cold: it has a turn in one of COLD_TURNS passes, until it finds something. A pass in
 * which a message, an fd or a timer may have brought it something, and the one after a sleep, poll
 * all.
 */
#include "poll/reactor.h"

#include <errno.h>
#include <stdlib.h>

enum { COLD_AFTER = 4096, COLD_TURNS = 16 };

int bh_poller_add(struct bh_reactor *reactor, const struct bh_poller_ops *ops, void *ctx,
		  struct bh_poller **out)
{
	struct bh_poller *poller = calloc(1, sizeof(*poller));

	if (!poller)
		return -ENOMEM;
	poller->reactor = reactor;
	poller->poll = ops->poll;
	poller->arm = ops->arm;
	poller->disarm = ops->disarm;
	poller->ctx = ctx;
	/* Not behind cold ones. */
	if (reactor->num_cold)
		TAILQ_INSERT_HEAD(&reactor->pollers, poller, link);
	else
		TAILQ_INSERT_TAIL(&reactor->pollers, poller, link);
	/* Whatever it will poll may have work already. */
	reactor->busy = true;
	*out = poller;
	return 0;
}

void bh_poller_remove(struct bh_poller *poller)
{
	struct bh_reactor *reactor;

	if (!poller)
		return;
	reactor = poller->reactor;
	if (reactor->poller_next == poller)
		reactor->poller_next = TAILQ_NEXT(poller, link);
	if (reactor->poller_now == poller)
		reactor->poller_now = NULL;
	if (reactor->cold_next == poller)
		reactor->cold_next = TAILQ_NEXT(poller, link);
	reactor->num_cold -= poller->is_cold;
	TAILQ_REMOVE(&reactor->pollers, poller, link);
	free(poller);
}

static void cool(struct bh_reactor *reactor, struct bh_poller *poller)
{
	poller->is_cold = true;
	reactor->num_cold++;
	TAILQ_REMOVE(&reactor->pollers, poller, link);
	TAILQ_INSERT_TAIL(&reactor->pollers, poller, link);
}

static void warm(struct bh_reactor *reactor, struct bh_poller *poller)
{
	if (reactor->cold_next == poller)
		reactor->cold_next = TAILQ_NEXT(poller, link);
	poller->is_cold = false;
	reactor->num_cold--;
	TAILQ_REMOVE(&reactor->pollers, poller, link);
	TAILQ_INSERT_HEAD(&reactor->pollers, poller, link);
}

static unsigned int poll_one(struct bh_reactor *reactor, struct bh_poller *poller)
{
	bool did;

	reactor->poller_now = poller;
	did = poller->poll(poller->ctx) > 0;
	poller = reactor->poller_now;
	if (!poller)
		return did;
	if (did) {
		poller->empty = 0;
		if (poller->is_cold)
			warm(reactor, poller);
	} else if (!poller->is_cold && ++poller->empty == COLD_AFTER) {
		cool(reactor, poller);
	}
	return did;
}

/* Those whose turn it is, `first` being the first of all. */
static unsigned int poll_cold(struct bh_reactor *reactor, struct bh_poller *first)
{
	unsigned int left = (reactor->num_cold + COLD_TURNS - 1) / COLD_TURNS, work = 0;
	struct bh_poller *poller = reactor->cold_next ? reactor->cold_next : first;

	for (; poller && left > 0; left--) {
		reactor->cold_next = TAILQ_NEXT(poller, link);
		work += poll_one(reactor, poller);
		poller = reactor->cold_next;
	}
	return work;
}

unsigned int bh__pollers_poll(struct bh_reactor *reactor, bool all)
{
	struct bh_poller *poller;
	unsigned int work = 0;

	reactor->poller_next = TAILQ_FIRST(&reactor->pollers);
	while ((poller = reactor->poller_next) != NULL && (all || !poller->is_cold)) {
		reactor->poller_next = TAILQ_NEXT(poller, link);
		work += poll_one(reactor, poller);
	}
	return poller ? work + poll_cold(reactor, poller) : work;
}

uint64_t bh__pollers_arm(struct bh_reactor *reactor)
{
	uint64_t timeout = UINT64_MAX;
	struct bh_poller *poller;

	reactor->poller_next = TAILQ_FIRST(&reactor->pollers);
	while ((poller = reactor->poller_next) != NULL) {
		int64_t rc;

		reactor->poller_next = TAILQ_NEXT(poller, link);
		if (!poller->arm)
			continue;
		poller->armed = true; /* first: arm may remove the poller */
		rc = poller->arm(poller->ctx);
		if (rc > 0) {
			reactor->poller_next = NULL;
			return 0;
		}
		if (rc < 0 && 0 - (uint64_t)rc < timeout)
			timeout = 0 - (uint64_t)rc;
	}
	return timeout;
}

void bh__pollers_disarm(struct bh_reactor *reactor)
{
	struct bh_poller *poller;

	reactor->poller_next = TAILQ_FIRST(&reactor->pollers);
	while ((poller = reactor->poller_next) != NULL) {
		reactor->poller_next = TAILQ_NEXT(poller, link);
		if (!poller->armed)
			continue;
		poller->armed = false;
		if (poller->disarm)
			poller->disarm(poller->ctx);
	}
}

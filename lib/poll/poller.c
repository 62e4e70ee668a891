/* SPDX-License-Identifier: BSD-3-Clause */
#include "poll/reactor.h"

#include <errno.h>
#include <stdlib.h>

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
	TAILQ_REMOVE(&reactor->pollers, poller, link);
	free(poller);
}

unsigned int bh__pollers_poll(struct bh_reactor *reactor)
{
	struct bh_poller *poller;
	unsigned int work = 0;

	reactor->poller_next = TAILQ_FIRST(&reactor->pollers);
	while ((poller = reactor->poller_next) != NULL) {
		reactor->poller_next = TAILQ_NEXT(poller, link);
		work += poller->poll(poller->ctx) > 0;
	}
	return work;
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

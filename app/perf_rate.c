/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests at a fixed rate, whatever the controller does.
 *
 * Each has a time at which it is due, and its latency begins there, not when a slot was free for
 * it: a controller that stalls for a second delays all that would have come in that second, and
 * that is what its users would see. So nothing is omitted because it could not be asked for.
 */
#include <errno.h>
#include <stdlib.h>

#include "perf.h"
#include "perf_io.h"

struct perf_rate {
	uint64_t begin; /* ticks */
	uint64_t due;	/* of the next request */
	uint64_t count; /* requests so far */
	uint32_t idle;	/* slots on the stack */
	uint32_t slot[];
};

int perf_rate_open(struct perf *perf, struct perf_lane *lane)
{
	uint32_t depth = perf->opts->depth;

	lane->rate = calloc(1, sizeof(*lane->rate) + depth * sizeof(lane->rate->slot[0]));
	if (!lane->rate)
		return app_fail(perf->app, 1, "out of memory");
	while (lane->rate->idle < depth) {
		lane->rate->slot[lane->rate->idle] = lane->rate->idle;
		lane->rate->idle++;
	}
	return 0;
}

void perf_rate_close(struct perf_lane *lane)
{
	free(lane->rate);
	lane->rate = NULL;
}

void perf_rate_start(struct perf_lane *lane, const struct perf *perf)
{
	(void)perf;
	lane->rate->begin = lane->rate->due = bh_ticks();
}

/* What is due and has a slot goes out. */
static void submit_due(struct perf_lane *lane, const struct perf *perf, uint64_t now)
{
	struct perf_rate *r = lane->rate;

	while (r->idle > 0 && (int64_t)(now - r->due) >= 0) {
		uint32_t slot = r->slot[r->idle - 1], before = lane->in_flight;

		lane->started[slot] = r->due;
		perf_submit(lane, perf, slot);
		r->idle -= lane->in_flight != before;
		r->count++;
		r->due = r->begin + (uint64_t)((unsigned __int128)r->count * perf->clock.hz /
					       perf->opts->rate);
	}
}

void perf_rate_step(struct perf_lane *lane, const struct perf *perf, bool go)
{
	struct bh_nvme_result done[PERF_REAP];
	int n = bh_nvme_queue_reap(lane->q, done, PERF_REAP);
	uint64_t now = bh_ticks();

	if (n < 0) {
		if (!lane->lost)
			perf_count_error(lane, BH_NVME_SC_INTERNAL_PATH_ERROR);
		lane->lost = true;
		return;
	}
	for (int i = 0; i < n; i++) {
		uintptr_t slot = (uintptr_t)done[i].arg;

		if (done[i].status != BH_NVME_SC_SUCCESS)
			perf_count_error(lane, done[i].status);
		bh_histogram_add(&lane->latency,
				 bh_clock_ns(&perf->clock, now - lane->started[slot]), 1);
		lane->rate->slot[lane->rate->idle++] = (uint32_t)slot;
	}
	lane->in_flight -= (uint32_t)n;
	__atomic_store_n(&lane->ios, lane->ios + (uint64_t)n, __ATOMIC_RELAXED);
	if (go)
		submit_due(lane, perf, now);
	bh_nvme_queue_flush(lane->q);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What the measuring loops share: where the next request goes, and counting what went wrong. */
#ifndef APP_PERF_IO_H
#define APP_PERF_IO_H

#include "perf.h"

/*
 * A linear congruential generator (Knuth's multiplier): its high bits, by which requests are placed,
 * are good, and nothing is cheaper.
 */
static inline uint64_t perf_random(uint64_t state)
{
	return state * 6364136223846793005ull + 1;
}

/* Where the next request of a lane goes, and whether it reads. aim: the lane's, or a copy. */
static inline uint64_t perf_slot(const struct perf_lane *lane, bool random, struct perf_aim *aim,
				 bool *read)
{
	unsigned __int128 product;
	uint64_t slot;

	aim->random = perf_random(aim->random);
	/* By multiply and shift: the upper half is a slot, the lower half where in it, a fraction. */
	product = (unsigned __int128)aim->random * lane->slots;
	*read = (uint64_t)product >> 1 < lane->read_below;
	if (random)
		return (uint64_t)(product >> 64);
	slot = aim->next++;
	if (aim->next == lane->slots)
		aim->next = 0;
	return slot;
}

void perf_count_error(struct perf_lane *lane, uint16_t status);

/* perf_worker.c: the measuring loop's two halves. Fills the queue. */
void perf_start(struct perf_lane *lane, const struct perf *perf);
/* Reaps what is there; submits in its place while `go`. */
void perf_step(struct perf_lane *lane, const struct perf *perf, bool go);
/* One request in this slot. */
void perf_submit(struct perf_lane *lane, const struct perf *perf, uintptr_t slot);

/* perf_rate.c: the same two at a fixed rate, `lane->rate`. */
void perf_rate_start(struct perf_lane *lane, const struct perf *perf);
void perf_rate_step(struct perf_lane *lane, const struct perf *perf, bool go);

/* perf_zoned.c: lanes that write to zones, `lane->zones` */
void perf_zoned_start(struct perf_lane *lane, const struct perf *perf, size_t stride);
/* Reaps what is there; submits in its place while `go`. */
void perf_zoned_step(struct perf_lane *lane, const struct perf *perf, size_t stride, bool go);
/* After the last request: what is being written does not stay open. */
void perf_zoned_end(struct perf_lane *lane, const struct perf *perf, size_t stride);

#endif

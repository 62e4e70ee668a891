/* SPDX-License-Identifier: BSD-3-Clause */
/* What the measuring loops share: where the next request goes, and counting what went wrong. */
#ifndef APP_PERF_IO_H
#define APP_PERF_IO_H

#include "perf.h"

static inline uint64_t perf_random(struct perf_lane *lane)
{
	/* xorshift64*: fast, and good enough to spread addresses. */
	lane->random ^= lane->random >> 12;
	lane->random ^= lane->random << 25;
	lane->random ^= lane->random >> 27;
	return lane->random * 2685821657736338717ull;
}

static inline uint64_t perf_slot(struct perf_lane *lane, bool random, uint64_t number)
{
	if (random)
		return (uint64_t)(((unsigned __int128)number * lane->slots) >> 64);
	uint64_t slot = lane->next++;
	if (lane->next == lane->slots)
		lane->next = 0;
	return slot;
}

void perf_count_error(struct perf_lane *lane, uint16_t status);

/* perf_worker.c: the measuring loop's two halves. Fills the queue. */
void perf_start(struct perf_lane *lane, const struct perf *perf);
/* Reaps what is there; submits in its place while `go`. */
void perf_step(struct perf_lane *lane, const struct perf *perf, bool go);

/* perf_zoned.c: lanes that write to zones, `lane->zones` */
void perf_zoned_start(struct perf_lane *lane, const struct perf *perf, size_t stride);
/* Reaps what is there; submits in its place while `go`. */
void perf_zoned_step(struct perf_lane *lane, const struct perf *perf, size_t stride, bool go);
/* After the last request: what is being written does not stay open. */
void perf_zoned_end(struct perf_lane *lane, const struct perf *perf, size_t stride);

#endif

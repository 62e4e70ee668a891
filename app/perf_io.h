/* SPDX-License-Identifier: BSD-3-Clause */
/* What the measuring loops share: where the next request goes, and counting what comes back. */
#ifndef APP_PERF_IO_H
#define APP_PERF_IO_H

#include "perf.h"
#include "random.h"
#include "zipf.h"

#define PERF_INLINE static inline __attribute__((always_inline))

/* One of the sizes, by its share. */
static inline const struct perf_extent *perf_pick(const struct perf_lane *lane, uint64_t random)
{
	const struct perf_extent *e = lane->extent;

	while ((uint32_t)(random >> 32) > e->below)
		e++;
	return e;
}

/*
 * Where the next request of a lane goes, as an LBA of its part; how long it is, and whether it
 * reads. aim: the lane's, or a copy. place and sized are constants where it matters: what is not
 * asked for is not there.
 */
PERF_INLINE uint64_t perf_aim_at(const struct perf_lane *lane, struct perf_aim *aim,
				 const enum perf_place place, const bool sized, uint32_t *blocks,
				 bool *read)
{
	uint64_t slots = lane->slots, lba;
	unsigned __int128 product;

	*blocks = lane->blocks;
	if (sized) {
		aim->random = perf_random(aim->random);
		const struct perf_extent *e = perf_pick(lane, aim->random);
		slots = e->slots;
		*blocks = e->blocks;
	}
	aim->random = perf_random(aim->random);
	/* By multiply and shift: the upper half is a slot, the lower half where in it, a fraction. */
	product = (unsigned __int128)aim->random * slots;
	*read = (uint64_t)product >> 1 < lane->read_below;
	if (place == PERF_UNIFORM)
		return (uint64_t)(product >> 64) * *blocks;
	if (place == PERF_ZIPF)
		return zipf_place(lane->zipf, zipf_rank(lane->zipf, &aim->random)) * lane->blocks;
	lba = aim->next;
	if (lba + *blocks > lane->total)
		lba = 0;
	aim->next = lba + *blocks;
	return lba;
}

/* The same where a lane's place and sizes were not looked at before. */
static inline uint64_t perf_aim_any(const struct perf_lane *lane, struct perf_aim *aim,
				    uint32_t *blocks, bool *read)
{
	return perf_aim_at(lane, aim, lane->place, lane->num_extents > 1, blocks, read);
}

void perf_count_error(struct perf_lane *lane, uint16_t status);

/* ---- latencies ---- */

/* Four steps per power of two; the top bit of ticks >> shift is the step from one to the next. */
static inline unsigned int perf_coarse_index(uint64_t ticks)
{
	if (ticks < 4)
		return (unsigned int)ticks;
	unsigned int shift = 61 - (unsigned int)__builtin_clzll(ticks);
	return shift * 4 + (unsigned int)(ticks >> shift);
}

/* n requests that took so many ticks. */
PERF_INLINE void perf_enter(struct perf_lane *lane, const struct perf *perf, uint64_t ticks,
			    unsigned int n, const enum perf_latency latency)
{
	if (latency == PERF_LATENCY_EXACT) {
		bh_histogram_add(&lane->latency, bh_clock_ns(&perf->clock, ticks), n);
	} else if (latency == PERF_LATENCY_CHEAP) {
		lane->coarse.count[perf_coarse_index(ticks)] += n;
		lane->coarse.sum += ticks * n;
	}
}

/* As far as coarse ones can tell; added to h. */
void perf_coarse_merge(struct bh_histogram *h, const struct perf_coarse *coarse,
		       const struct bh_clock *clock);

/* ---- lanes ---- */

/* Fills the queue. */
void perf_start(struct perf_lane *lane, const struct perf *perf);
/* Those that the queue refuses (a reset is under way, or the device is gone) are errors. */
void perf_submit(struct perf_lane *lane, const struct bh_nvme_rw *rw, unsigned int n);
/* A queue said -ENODEV. */
void perf_lost(struct perf_lane *lane);

static inline void perf_step(struct perf_lane *lane, const struct perf *perf, bool go)
{
	lane->kind->step(lane, perf, go);
}

extern const struct perf_kind perf_zoned_kind, perf_single_kind;

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Latencies as a polling thread counts them while others look on: a log-linear histogram of ticks,
 * 16 steps per power of two, in 5 KiB.
 *
 * Component: lib/base
 *
 * One thread adds; any thread reads at any time and may find an addition half made, which the next
 * look makes good. Nothing is converted while counting: bh_latency_collect() turns ticks into
 * nanoseconds, in a struct bh_histogram that may gather several.
 */
#ifndef BELLHOP_LATENCY_H
#define BELLHOP_LATENCY_H

#include <stdint.h>

#include <bellhop/clock.h>
#include <bellhop/histogram.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BH_LATENCY_SHIFT 4
#define BH_LATENCY_BITS 44 /* longer ones (an hour) are counted as the longest */
#define BH_LATENCY_BUCKETS ((BH_LATENCY_BITS - BH_LATENCY_SHIFT + 1) << BH_LATENCY_SHIFT)

/* Begins as zeros. All of it __atomic. */
struct bh_latency {
	uint64_t sum; /* ticks */
	uint64_t max;
	uint64_t bucket[BH_LATENCY_BUCKETS];
};

static inline unsigned int bh_latency_index(uint64_t ticks)
{
	unsigned int shift;

	if (ticks < 1u << BH_LATENCY_SHIFT)
		return (unsigned int)ticks;
	if (ticks >> BH_LATENCY_BITS)
		return BH_LATENCY_BUCKETS - 1;
	shift = 63 - (unsigned int)__builtin_clzll(ticks) - BH_LATENCY_SHIFT;
	return (shift << BH_LATENCY_SHIFT) + (unsigned int)(ticks >> shift);
}

/* The owning thread's. Ticks of bh_ticks(). */
static inline void bh_latency_add(struct bh_latency *latency, uint64_t ticks, uint64_t times)
{
	uint64_t *bucket = &latency->bucket[bh_latency_index(ticks)];

	__atomic_store_n(bucket, *bucket + times, __ATOMIC_RELAXED);
	__atomic_store_n(&latency->sum, latency->sum + ticks * times, __ATOMIC_RELAXED);
	if (ticks > latency->max)
		__atomic_store_n(&latency->max, ticks, __ATOMIC_RELAXED);
}

/*
 * Adds what was counted so far to `into` (initialised by the caller), in nanoseconds: each value by
 * the upper end of its bucket, so within 6.3 %; the sum and the largest are exact but for the
 * conversion. Any thread.
 */
void bh_latency_collect(const struct bh_latency *latency, const struct bh_clock *clock,
			struct bh_histogram *into);

#ifdef __cplusplus
}
#endif
#endif

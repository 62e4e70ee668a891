/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A log-linear histogram: 64 linear steps per power of two, so any value is known within 1.6 %,
 * from 0 to 2^64 - 1, in a fixed 30 KiB. Adding is a shift, a subtraction and an increment.
 *
 * Component: lib/base
 *
 * Single-owner; merge histograms of several threads after they stopped (or accept a torn snapshot).
 */
#ifndef BELLHOP_HISTOGRAM_H
#define BELLHOP_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BH_HISTOGRAM_SHIFT 6
#define BH_HISTOGRAM_STEPS (1u << BH_HISTOGRAM_SHIFT)
#define BH_HISTOGRAM_BUCKETS ((64 - BH_HISTOGRAM_SHIFT + 1) * BH_HISTOGRAM_STEPS)

struct bh_histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t min; /* UINT64_MAX when empty */
	uint64_t max;
	uint64_t bucket[BH_HISTOGRAM_BUCKETS];
};

static inline unsigned int bh_histogram_index(uint64_t value)
{
	if (value < BH_HISTOGRAM_STEPS)
		return (unsigned int)value;
	unsigned int shift = 63 - (unsigned int)__builtin_clzll(value) - BH_HISTOGRAM_SHIFT;
	/* The top bit of value >> shift is the step from shift to shift + 1. */
	return shift * BH_HISTOGRAM_STEPS + (unsigned int)(value >> shift);
}

static inline void bh_histogram_add(struct bh_histogram *h, uint64_t value, uint64_t times)
{
	h->count += times;
	h->sum += value * times;
	if (value < h->min)
		h->min = value;
	if (value > h->max)
		h->max = value;
	h->bucket[bh_histogram_index(value)] += times;
}

void bh_histogram_init(struct bh_histogram *h);
void bh_histogram_merge(struct bh_histogram *into, const struct bh_histogram *from);

/*
 * The value below or at which `per_100000` / 100,000 of all values lie: 50000 = median, 99900 =
 * p99.9. 0 if empty.
 */
uint64_t bh_histogram_percentile(const struct bh_histogram *h, unsigned int per_100000);

/* Bounds of bucket i: [low, high], both inclusive. */
void bh_histogram_bucket_bounds(unsigned int i, uint64_t *low, uint64_t *high);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf_io.h"

/* The bounds of a coarse bucket, in ticks, both inclusive. */
static void coarse_bounds(unsigned int i, uint64_t *low, uint64_t *high)
{
	unsigned int shift = i < 8 ? 0 : i / 4 - 1;

	*low = (uint64_t)(i - shift * 4) << shift;
	*high = *low + ((1ull << shift) - 1);
}

/* Each counts as the middle of its bucket. The sum is exact, the ends are those of their buckets. */
void perf_coarse_merge(struct bh_histogram *h, const struct perf_coarse *coarse,
		       const struct bh_clock *clock)
{
	uint64_t sum = h->sum + bh_clock_ns(clock, coarse->sum), low, high;

	for (unsigned int i = 0; i < PERF_COARSE_BUCKETS; i++) {
		if (coarse->count[i] == 0)
			continue;
		coarse_bounds(i, &low, &high);
		bh_histogram_add(h, bh_clock_ns(clock, low + (high - low) / 2), coarse->count[i]);
		low = bh_clock_ns(clock, low);
		high = bh_clock_ns(clock, high);
		h->min = low < h->min ? low : h->min;
		h->max = high > h->max ? high : h->max;
	}
	h->sum = sum;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <bellhop/latency.h>

/* The largest value of bucket i. */
static uint64_t upper_end(unsigned int i)
{
	const unsigned int steps = 1u << BH_LATENCY_SHIFT;
	unsigned int shift;

	if (i < steps)
		return i;
	shift = i / steps - 1;
	return ((uint64_t)(steps + i % steps + 1) << shift) - 1;
}

void bh_latency_collect(const struct bh_latency *latency, const struct bh_clock *clock,
			struct bh_histogram *into)
{
	uint64_t max = __atomic_load_n(&latency->max, __ATOMIC_RELAXED), before = into->sum;
	unsigned int i;

	for (i = 0; i < BH_LATENCY_BUCKETS; i++) {
		uint64_t times = __atomic_load_n(&latency->bucket[i], __ATOMIC_RELAXED);
		uint64_t ticks = upper_end(i);

		if (times)
			bh_histogram_add(into, bh_clock_ns(clock, ticks < max ? ticks : max),
					 times);
	}
	into->sum = before + bh_clock_ns(clock, __atomic_load_n(&latency->sum, __ATOMIC_RELAXED));
}

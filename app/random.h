/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef APP_RANDOM_H
#define APP_RANDOM_H

#include <stdint.h>

/*
 * A linear congruential generator (Knuth's multiplier): its high bits, by which requests are placed,
 * are good, and nothing is cheaper.
 */
static inline uint64_t perf_random(uint64_t state)
{
	return state * 6364136223846793005ull + 1;
}

#endif

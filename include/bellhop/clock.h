/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time: monotonic nanoseconds for deadlines, raw ticks for measurement.
 *
 * Component: lib/base
 */
#ifndef BELLHOP_CLOCK_H
#define BELLHOP_CLOCK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* CLOCK_MONOTONIC in nanoseconds. Any thread. */
uint64_t bh_now_ns(void);

/* The cheapest monotonic counter of the CPU (TSC, CNTVCT). Any thread. */
static inline uint64_t bh_ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t v;
	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
	return v;
#else
#error "bh_ticks: unknown architecture"
#endif
}

/* Converts ticks to nanoseconds: ns = (ticks * mult) >> 32 in 128 bits. */
struct bh_clock {
	uint64_t mult;
	uint64_t hz;
};

/* Measures the counter's rate (about 10 ms on x86; read from a register on aarch64). */
void bh_clock_init(struct bh_clock *clock);

static inline uint64_t bh_clock_ns(const struct bh_clock *clock, uint64_t ticks)
{
	return (uint64_t)(((unsigned __int128)ticks * clock->mult) >> 32);
}

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh_ticks() counts at a constant rate on every CPU this runs on (invariant TSC, generic timer).
 * aarch64 says at which; x86 is measured against CLOCK_MONOTONIC: two samples about 10 ms apart. A
 * sample is the pair whose two counter reads around the clock read lie closest together out of
 * several, so that being preempted in the middle does not spoil it.
 */
#include <bellhop/clock.h>

#include <time.h>

uint64_t bh_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void clock_set(struct bh_clock *clock, uint64_t ticks, uint64_t ns)
{
	clock->mult = (uint64_t)(((unsigned __int128)ns << 32) / ticks);
	clock->hz = (uint64_t)((unsigned __int128)ticks * 1000000000u / ns);
}

#if defined(__aarch64__)

void bh_clock_init(struct bh_clock *clock)
{
	uint64_t hz;

	__asm__ volatile("mrs %0, cntfrq_el0" : "=r"(hz));
	clock_set(clock, hz, 1000000000u);
}

#else

enum { SAMPLE_TRIES = 8, MEASURE_NS = 10 * 1000 * 1000 };

struct sample {
	uint64_t ticks, ns;
};

static struct sample sample_take(void)
{
	struct sample best = { 0, 0 };
	uint64_t best_width = UINT64_MAX;

	for (int i = 0; i < SAMPLE_TRIES; i++) {
		uint64_t before = bh_ticks();
		uint64_t ns = bh_now_ns();
		uint64_t width = bh_ticks() - before;

		if (width < best_width) {
			best_width = width;
			best.ticks = before + width / 2;
			best.ns = ns;
		}
	}
	return best;
}

void bh_clock_init(struct bh_clock *clock)
{
	const struct timespec wait = { 0, MEASURE_NS };
	struct sample a = sample_take(), b;

	/* An interrupted sleep only shortens the measurement; a second one makes up for it. */
	do {
		clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, NULL);
		b = sample_take();
	} while (b.ns - a.ns < MEASURE_NS / 2 || b.ticks <= a.ticks);
	clock_set(clock, b.ticks - a.ticks, b.ns - a.ns);
}

#endif

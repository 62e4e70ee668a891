/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A timetable: the n-th packet is due at a time that was fixed when the run began. A sender that was
 * held up (by a full queue, by the scheduler, by the device) is behind the timetable and catches up;
 * the time a packet was due, not the time it was sent, begins its latency. So a delay counts for
 * every packet that it delayed: measuring does not wait politely until the device is ready to look
 * good.
 *
 * Times are ticks of bh_ticks(), kept relative to the start with a fraction of 12 bits: exact to a
 * thousandth of a percent at 100 M packets/s, and good for a week.
 */
#ifndef APP_PACE_H
#define APP_PACE_H

#include <stdint.h>

#define PACE_FRACTION 12

struct pace {
	uint64_t start;	   /* ticks */
	uint64_t interval; /* both with fraction */
	uint64_t next;	   /* after the start */
};

/* hz of the ticks; per_second > 0. The first packet is due at once. */
static inline void pace_init(struct pace *p, uint64_t hz, double per_second, uint64_t now)
{
	p->start = now;
	p->next = 0;
	p->interval = (uint64_t)((double)hz * (1 << PACE_FRACTION) / per_second + 0.5);
	if (p->interval == 0)
		p->interval = 1;
}

/* How many are due, at most `most`. */
static inline uint32_t pace_due(const struct pace *p, uint64_t now, uint32_t most)
{
	uint64_t at = (now - p->start) << PACE_FRACTION;

	if (now < p->start || at < p->next)
		return 0;
	uint64_t due = (at - p->next) / p->interval + 1;
	return due < most ? (uint32_t)due : most;
}

/* The time the next one is due; it is taken off the timetable. */
static inline uint64_t pace_take(struct pace *p)
{
	uint64_t at = p->start + (p->next >> PACE_FRACTION);

	p->next += p->interval;
	return at;
}

#endif

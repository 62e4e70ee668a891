/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests one by one: at a fixed rate, or with data that are verified, or both.
 *
 * At a rate each request has a time at which it is due (pace.h), whatever the controller does, and
 * its latency begins there, not when a slot was free for it: a controller that stalls for a second
 * delays all that would have come in that second, and that is what its users would see. So nothing
 * is omitted because it could not be asked for; requests that were due and still had no slot when
 * time was up are counted, and enter with the time they had waited by then.
 *
 * Verifying, each write is read back from where it went as soon as it is complete, in its slot.
 */
#include <stdlib.h>

#include "pace.h"
#include "perf.h"
#include "perf_io.h"
#include "perf_verify.h"

#define STRATA 1024 /* in which requests that did not come to be sent are entered */

struct perf_slots {
	struct pace pace;
	bool paced;
	bool ended;    /* what is behind has been counted */
	uint32_t idle; /* slots on the stack */
	uint32_t slot[];
};

int perf_single_open(struct perf *perf, struct perf_lane *lane)
{
	uint32_t depth = perf->opts->depth;
	struct perf_slots *s = calloc(1, sizeof(*s) + depth * sizeof(s->slot[0]));

	lane->single = s;
	if (!s)
		return app_fail(perf->app, 1, "out of memory");
	s->paced = perf->opts->rate != 0;
	for (; s->idle < depth; s->idle++)
		s->slot[s->idle] = s->idle;
	lane->kind = &perf_single_kind;
	return perf->opts->verify ? perf_verify_open(perf, lane) : 0;
}

void perf_single_close(struct perf_lane *lane)
{
	perf_verify_close(lane);
	free(lane->single);
	lane->single = NULL;
}

/* ---- submitting ---- */

static void at_slot(const struct perf_lane *lane, struct bh_nvme_rw *rw, uint32_t slot)
{
	rw->arg = (void *)(uintptr_t)slot;
	rw->buf = lane->data + slot * lane->stride;
}

/* False: refused. rw->lba is of the lane's part. */
static bool send(struct perf_lane *lane, struct bh_nvme_rw *rw, uint64_t begins)
{
	uint32_t slot = (uint32_t)(uintptr_t)rw->arg, before = lane->in_flight;

	rw->lba += lane->base;
	lane->started[slot] = begins;
	if (lane->slot_blocks)
		lane->slot_blocks[slot] = rw->blocks;
	perf_submit(lane, rw, 1);
	return lane->in_flight != before;
}

/* What may go out and has a slot. */
static void refill(struct perf_lane *lane, const struct perf *perf, uint64_t now)
{
	struct perf_slots *s = lane->single;

	while (s->idle > 0 && (!s->paced || pace_due(&s->pace, now, 1))) {
		uint32_t slot = s->slot[s->idle - 1];
		struct bh_nvme_rw rw = { 0 };
		bool read;

		at_slot(lane, &rw, slot);
		rw.lba = perf_aim_any(lane, &lane->aim, &rw.blocks, &read);
		rw.flags = read ? 0 : BH_NVME_RW_WRITE;
		if (lane->verify && !perf_verify_make(lane, perf, slot, &rw))
			return;
		if (send(lane, &rw, s->paced ? pace_take(&s->pace) : now)) {
			s->idle--;
			continue;
		}
		if (lane->verify)
			perf_verify_done(lane, perf, slot, BH_NVME_SC_ABORTED_BY_REQUEST, &rw);
		if (!s->paced)
			return;
	}
}

static void start(struct perf_lane *lane, const struct perf *perf)
{
	struct perf_slots *s = lane->single;
	uint64_t now = bh_ticks();

	if (s->paced)
		pace_init(&s->pace, perf->clock.hz, (double)perf->opts->rate, now);
	refill(lane, perf, now);
}

/* ---- what comes back ---- */

static void take(struct perf_lane *lane, const struct perf *perf,
		 const struct bh_nvme_result *result, uint64_t now)
{
	uint32_t slot = (uint32_t)(uintptr_t)result->arg;
	struct perf_slots *s = lane->single;
	struct bh_nvme_rw rw = { 0 };

	if (result->status != BH_NVME_SC_SUCCESS)
		perf_count_error(lane, result->status);
	perf_enter(lane, perf, now - lane->started[slot], 1, perf->opts->latency);
	if (lane->slot_blocks)
		__atomic_store_n(&lane->blocks_done, lane->blocks_done + lane->slot_blocks[slot],
				 __ATOMIC_RELAXED);
	lane->in_flight--;
	at_slot(lane, &rw, slot);
	if (lane->verify && perf_verify_done(lane, perf, slot, result->status, &rw)) {
		if (send(lane, &rw, now))
			return;
		perf_verify_done(lane, perf, slot, BH_NVME_SC_ABORTED_BY_REQUEST, &rw);
	}
	s->slot[s->idle++] = slot;
}

/* Time is up: what was due by then and had no slot. */
static void count_behind(struct perf_lane *lane, const struct perf *perf)
{
	struct perf_slots *s = lane->single;
	uint64_t up = lane->worker->up_ticks;
	uint32_t left;

	s->ended = true;
	if (!s->paced)
		return;
	left = pace_due(&s->pace, up, UINT32_MAX);
	lane->behind = left;
	for (uint32_t piece = left / STRATA + 1; left > 0; left -= piece) {
		piece = piece < left ? piece : left;
		s->pace.next += s->pace.interval * (piece / 2);
		perf_enter(lane, perf, up - pace_take(&s->pace), piece, perf->opts->latency);
		s->pace.next += s->pace.interval * (piece - piece / 2 - 1);
	}
}

static void step(struct perf_lane *lane, const struct perf *perf, bool go)
{
	struct bh_nvme_result done[PERF_REAP];
	int n = bh_nvme_queue_reap(lane->q, done, PERF_REAP);
	uint64_t now = bh_ticks();

	if (n < 0) {
		perf_lost(lane);
		return;
	}
	for (int i = 0; i < n; i++)
		take(lane, perf, &done[i], now);
	__atomic_store_n(&lane->ios, lane->ios + (uint64_t)n, __ATOMIC_RELAXED);
	if (go)
		refill(lane, perf, now);
	else if (!lane->single->ended)
		count_behind(lane, perf);
	bh_nvme_queue_flush(lane->q);
}

static void end(struct perf_lane *lane, const struct perf *perf)
{
	if (!lane->single->ended)
		count_behind(lane, perf);
}

const struct perf_kind perf_single_kind = { start, step, end };

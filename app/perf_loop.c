/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The measuring loop: reap a batch, stamp it once, submit as many again.
 *
 * One time stamp serves a whole batch (the queue takes it when polled): it ends the latencies of
 * those reaped and begins those of the requests submitted in their place. Random numbers become
 * positions by multiply and shift. So the cost of measuring stays small beside what is measured.
 *
 * There is one loop per way to place requests, to make them, and to take latencies, all made of the
 * functions below with these as constants; a lane's is chosen when it is set up.
 */
#include "perf.h"
#include "perf_io.h"

/* How requests look. */
enum way {
	ONE_WAY,    /* all reads or all writes, of one size */
	BOTH_WAYS,  /* reads and writes, of one size */
	MANY_SIZES, /* and both ways */
};

__attribute__((noinline)) void perf_count_error(struct perf_lane *lane, uint16_t status)
{
	if (lane->errors == 0)
		lane->first_error = status;
	__atomic_store_n(&lane->errors, lane->errors + 1, __ATOMIC_RELAXED);
}

__attribute__((noinline)) void perf_lost(struct perf_lane *lane)
{
	if (!lane->lost)
		perf_count_error(lane, BH_NVME_SC_INTERNAL_PATH_ERROR);
	lane->lost = true;
}

PERF_INLINE void submit(struct perf_lane *lane, const struct bh_nvme_rw *rw, unsigned int n)
{
	int taken = 0;

	if (__builtin_expect(!lane->options, 1)) {
		taken = bh_nvme_rw_burst(lane->q, lane->ns, rw, n, NULL);
	} else {
		while ((unsigned int)taken < n && perf_submit_options(lane, &rw[taken]) == 0)
			taken++;
	}
	taken = taken < 0 ? 0 : taken;
	lane->in_flight += (uint32_t)taken;
	for (; __builtin_expect((unsigned int)taken < n, 0); taken++)
		perf_count_error(lane, BH_NVME_SC_ABORTED_BY_REQUEST);
}

void perf_submit(struct perf_lane *lane, const struct bh_nvme_rw *rw, unsigned int n)
{
	submit(lane, rw, n);
}

/* The next request of a slot. rw: all but where, of which buffer, and what is not always the same. */
PERF_INLINE void make(struct perf_lane *lane, struct perf_aim *aim, uintptr_t slot,
		      struct bh_nvme_rw *rw, const enum perf_place place, const enum way way)
{
	uint32_t blocks;
	bool read;

	rw->lba = perf_aim_at(lane, aim, place, way == MANY_SIZES, &blocks, &read);
	rw->buf = lane->data + slot * lane->stride;
	rw->arg = (void *)slot;
	if (way != ONE_WAY)
		rw->flags = read ? 0 : BH_NVME_RW_WRITE;
	if (way == MANY_SIZES)
		rw->blocks = lane->slot_blocks[slot] = blocks;
}

/*
 * Requests that were submitted together and are reaped together took equally long: they are entered
 * as one, so that exact latencies cost little at depth.
 */
struct batch {
	uint64_t started;
	unsigned int n;
};

/* Looks at n results; makes the requests in their place. */
PERF_INLINE void turn_round(struct perf_lane *lane, const struct perf *perf,
			    const struct bh_nvme_result *done, unsigned int n,
			    const enum perf_place place, const enum way way,
			    const enum perf_latency latency)
{
	const bool timed = latency != PERF_LATENCY_OFF;
	uint64_t now = timed ? bh_nvme_queue_ticks(lane->q) : 0, *started = lane->started;
	struct batch batch = { timed ? started[(uintptr_t)done[0].arg] : 0, 0 };
	struct perf_aim aim = lane->aim;
	uint64_t blocks = 0;

	for (unsigned int i = 0; i < n; i++) {
		uintptr_t slot = (uintptr_t)done[i].arg;

		if (__builtin_expect(done[i].status != BH_NVME_SC_SUCCESS, 0))
			perf_count_error(lane, done[i].status);
		if (timed && __builtin_expect(started[slot] != batch.started, 0)) {
			perf_enter(lane, perf, now - batch.started, batch.n, latency);
			batch = (struct batch){ started[slot], 0 };
		}
		if (timed) {
			batch.n++;
			started[slot] = now;
		}
		if (way == MANY_SIZES)
			blocks += lane->slot_blocks[slot];
		make(lane, &aim, slot, &lane->next[i], place, way);
	}
	if (timed)
		perf_enter(lane, perf, now - batch.started, batch.n, latency);
	if (way == MANY_SIZES)
		__atomic_store_n(&lane->blocks_done, lane->blocks_done + blocks, __ATOMIC_RELAXED);
	lane->aim = aim;
}

PERF_INLINE void step(struct perf_lane *lane, const struct perf *perf, bool go,
		      const enum perf_place place, const enum way way,
		      const enum perf_latency latency)
{
	struct bh_nvme_result done[PERF_REAP];
	int n = bh_nvme_queue_reap(lane->q, done, PERF_REAP);

	if (__builtin_expect(n < 0, 0))
		perf_lost(lane);
	if (n <= 0)
		return;
	turn_round(lane, perf, done, (unsigned int)n, place, way, latency);
	lane->in_flight -= (uint32_t)n;
	__atomic_store_n(&lane->ios, lane->ios + (uint64_t)n, __ATOMIC_RELAXED);
	if (!go)
		return;
	submit(lane, lane->next, (unsigned int)n);
	bh_nvme_queue_flush(lane->q);
}

static void start(struct perf_lane *lane, const struct perf *perf)
{
	for (uintptr_t slot = 0; slot < perf->opts->depth; slot++) {
		struct bh_nvme_rw *rw = &lane->next[0];
		uint32_t blocks;
		bool read;

		lane->started[slot] = bh_ticks();
		rw->lba = perf_aim_any(lane, &lane->aim, &blocks, &read);
		rw->buf = lane->data + slot * lane->stride;
		rw->arg = (void *)slot;
		rw->flags = read ? 0 : BH_NVME_RW_WRITE;
		rw->blocks = blocks;
		if (lane->slot_blocks)
			lane->slot_blocks[slot] = blocks;
		submit(lane, rw, 1);
	}
	bh_nvme_queue_flush(lane->q);
}

void perf_start(struct perf_lane *lane, const struct perf *perf)
{
	lane->kind->start(lane, perf);
	bh_nvme_queue_flush(lane->q);
}

/* ---- all of them ---- */

#define STEP_NAME(place, way, latency) step_##place##_##way##_##latency
#define STEP(place, way, latency)                                                    \
	static void STEP_NAME(place, way, latency)(struct perf_lane * lane,          \
						   const struct perf *perf, bool go) \
	{                                                                            \
		step(lane, perf, go, PERF_##place, way, PERF_LATENCY_##latency);     \
	}
#define STEPS(place, way)       \
	STEP(place, way, OFF)   \
	STEP(place, way, CHEAP) \
	STEP(place, way, EXACT)
#define KIND(place, way, latency) \
	[PERF_LATENCY_##latency] = { .start = start, .step = STEP_NAME(place, way, latency) }
#define KINDS(place, way) \
	[way] = { KIND(place, way, OFF), KIND(place, way, CHEAP), KIND(place, way, EXACT) }
#define PLACE(place)                                                       \
	[PERF_##place] = { KINDS(place, ONE_WAY), KINDS(place, BOTH_WAYS), \
			   KINDS(place, MANY_SIZES) }

STEPS(UNIFORM, ONE_WAY)
STEPS(UNIFORM, BOTH_WAYS)
STEPS(UNIFORM, MANY_SIZES)
STEPS(ZIPF, ONE_WAY)
STEPS(ZIPF, BOTH_WAYS)
STEPS(ZIPF, MANY_SIZES)
STEPS(SEQUENTIAL, ONE_WAY)
STEPS(SEQUENTIAL, BOTH_WAYS)
STEPS(SEQUENTIAL, MANY_SIZES)

const struct perf_kind *perf_loop_kind(const struct perf_lane *lane,
				       const struct perf_options *opts)
{
	static const struct perf_kind kinds[][MANY_SIZES + 1][PERF_LATENCY_EXACT + 1] = {
		PLACE(UNIFORM),
		PLACE(ZIPF),
		PLACE(SEQUENTIAL),
	};
	enum way way = lane->num_extents > 1 ? MANY_SIZES : lane->mixed ? BOTH_WAYS : ONE_WAY;

	return &kinds[lane->place][way][opts->latency];
}

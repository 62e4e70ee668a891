/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The measuring loop: reap a batch, stamp it once, submit as many again.
 *
 * One time stamp serves a whole batch (the queue takes it when polled): it ends the latencies of
 * those reaped and begins those of the requests submitted in their place. Random numbers become
 * positions by multiply and shift. So the cost of measuring stays small beside what is measured.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include <bellhop/barrier.h>

#include "perf.h"
#include "perf_io.h"

#define DRAIN_NS (30ull * 1000 * 1000 * 1000)
#define CLOCK_EVERY 256 /* passes between looks at the stop flag */

__attribute__((noinline)) void perf_count_error(struct perf_lane *lane, uint16_t status)
{
	if (lane->errors == 0)
		lane->first_error = status;
	__atomic_store_n(&lane->errors, lane->errors + 1, __ATOMIC_RELAXED);
}

/* The next request of a slot. rw: all but where, of which buffer, and which way if it is mixed. */
static inline __attribute__((always_inline)) void aim_at(const struct perf_lane *lane,
							 struct perf_aim *aim, uintptr_t slot,
							 struct bh_nvme_rw *rw, const bool random,
							 const bool mixed)
{
	bool read;

	rw->lba = perf_slot(lane, random, aim, &read) * lane->blocks;
	rw->buf = lane->data + slot * lane->stride;
	rw->arg = (void *)slot;
	if (mixed)
		rw->flags = read ? 0 : BH_NVME_RW_WRITE;
}

/* Those that the queue refuses (a reset is under way, or the device is gone) are errors. */
static inline void submit(struct perf_lane *lane, const struct bh_nvme_rw *rw, unsigned int n)
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

/*
 * Requests that were submitted together and are reaped together took equally long: they are entered
 * as one, so that exact latencies cost little at depth.
 */
struct batch {
	uint64_t started;
	unsigned int n;
};

static inline void batch_enter(struct perf_lane *lane, const struct perf *perf, uint64_t now,
			       const struct batch *batch)
{
	bh_histogram_add(&lane->latency, bh_clock_ns(&perf->clock, now - batch->started), batch->n);
}

/* Looks at n results; makes the requests in their place. */
static inline __attribute__((always_inline)) void
turn_round(struct perf_lane *lane, const struct perf *perf, const struct bh_nvme_result *done,
	   unsigned int n, const bool random, const bool mixed)
{
	uint64_t now = bh_nvme_queue_ticks(lane->q), *started = lane->started;
	struct batch batch = { started[(uintptr_t)done[0].arg], 0 };
	struct perf_aim aim = lane->aim;
	unsigned int i;

	for (i = 0; i < n; i++) {
		uintptr_t slot = (uintptr_t)done[i].arg;

		if (__builtin_expect(done[i].status != BH_NVME_SC_SUCCESS, 0))
			perf_count_error(lane, done[i].status);
		if (__builtin_expect(started[slot] != batch.started, 0)) {
			batch_enter(lane, perf, now, &batch);
			batch = (struct batch){ started[slot], 0 };
		}
		batch.n++;
		started[slot] = now;
		aim_at(lane, &aim, slot, &lane->next[i], random, mixed);
	}
	batch_enter(lane, perf, now, &batch);
	lane->aim = aim;
}

void perf_step(struct perf_lane *lane, const struct perf *perf, bool go)
{
	struct bh_nvme_result done[PERF_REAP];
	int n = bh_nvme_queue_reap(lane->q, done, PERF_REAP);

	if (__builtin_expect(n < 0, 0)) {
		if (!lane->lost)
			perf_count_error(lane, BH_NVME_SC_INTERNAL_PATH_ERROR);
		lane->lost = true;
	}
	if (n <= 0)
		return;
	if (perf->opts->random && !lane->mixed)
		turn_round(lane, perf, done, (unsigned int)n, true, false);
	else if (perf->opts->random)
		turn_round(lane, perf, done, (unsigned int)n, true, true);
	else
		turn_round(lane, perf, done, (unsigned int)n, false, true);
	lane->in_flight -= (uint32_t)n;
	__atomic_store_n(&lane->ios, lane->ios + (uint64_t)n, __ATOMIC_RELAXED);
	if (!go)
		return;
	submit(lane, lane->next, (unsigned int)n);
	bh_nvme_queue_flush(lane->q);
}

void perf_submit(struct perf_lane *lane, const struct perf *perf, uintptr_t slot)
{
	aim_at(lane, &lane->aim, slot, &lane->next[0], perf->opts->random, lane->mixed);
	submit(lane, lane->next, 1);
}

void perf_start(struct perf_lane *lane, const struct perf *perf)
{
	for (uintptr_t slot = 0; slot < perf->opts->depth; slot++) {
		lane->started[slot] = bh_ticks();
		perf_submit(lane, perf, slot);
	}
	bh_nvme_queue_flush(lane->q);
}

static void pin(unsigned int cpu)
{
	cpu_set_t *set = CPU_ALLOC(BH_CPU_MAX);
	size_t bytes = CPU_ALLOC_SIZE(BH_CPU_MAX);

	if (!set)
		return;
	CPU_ZERO_S(bytes, set);
	CPU_SET_S(cpu, bytes, set);
	sched_setaffinity(0, bytes, set);
	CPU_FREE(set);
}

static bool any_alive(const struct perf_worker *worker)
{
	for (const struct perf_lane *l = worker->lanes; l; l = l->next_of_worker) {
		if (!l->lost)
			return true;
	}
	return false;
}

static inline void lane_step(struct perf_lane *lane, const struct perf *perf, bool go)
{
	if (__builtin_expect(!lane->zones && !lane->rate, 1))
		perf_step(lane, perf, go);
	else if (lane->zones)
		perf_zoned_step(lane, perf, lane->stride, go);
	else
		perf_rate_step(lane, perf, go);
}

static void lane_start(struct perf_lane *lane, const struct perf *perf)
{
	if (lane->zones)
		perf_zoned_start(lane, perf, lane->stride);
	else if (lane->rate)
		perf_rate_start(lane, perf);
	else
		perf_start(lane, perf);
	bh_nvme_queue_flush(lane->q);
}

/* What was measured so far was warming up. */
static void forget(struct perf_worker *worker)
{
	for (struct perf_lane *l = worker->lanes; l; l = l->next_of_worker) {
		bh_histogram_init(&l->latency);
		__atomic_store_n(&l->ios, 0, __ATOMIC_RELAXED);
	}
	worker->begin_ns = bh_now_ns();
}

static void run(struct perf_worker *worker)
{
	const struct perf *perf = worker->perf;
	bool is_warm = perf->opts->warm_ns == 0;

	while (!__atomic_load_n(&perf->stop, __ATOMIC_RELAXED) && any_alive(worker)) {
		if (!is_warm && __atomic_load_n(&perf->warm, __ATOMIC_RELAXED)) {
			forget(worker);
			is_warm = true;
		}
		for (unsigned int pass = 0; pass < CLOCK_EVERY; pass++) {
			for (struct perf_lane *l = worker->lanes; l; l = l->next_of_worker)
				lane_step(l, perf, true);
		}
	}
	for (struct perf_lane *l = worker->lanes; l; l = l->next_of_worker)
		l->counted = l->ios;
}

/* What is in flight when time is up counts in latencies and errors, not in rates. */
static void drain(struct perf_worker *worker)
{
	uint64_t deadline = bh_now_ns() + DRAIN_NS;

	for (struct perf_lane *l = worker->lanes; l; l = l->next_of_worker) {
		while (l->in_flight > 0 && !l->lost && bh_now_ns() < deadline) {
			lane_step(l, worker->perf, false);
		}
		if (l->zones)
			perf_zoned_end(l, worker->perf, l->stride);
		if (l->in_flight > 0)
			perf_count_error(l, BH_NVME_SC_ABORTED_BY_REQUEST);
	}
}

void *perf_worker_run(void *arg)
{
	struct perf_worker *worker = arg;
	const struct perf *perf = worker->perf;

	pin(worker->cpu);
	pthread_mutex_lock((pthread_mutex_t *)&perf->start);
	pthread_mutex_unlock((pthread_mutex_t *)&perf->start);
	if (__atomic_load_n(&perf->stop, __ATOMIC_RELAXED))
		return NULL; /* not all workers could be started */
	worker->begin_ns = bh_now_ns();
	for (struct perf_lane *l = worker->lanes; l; l = l->next_of_worker)
		lane_start(l, perf);
	run(worker);
	worker->elapsed_ns = bh_now_ns() - worker->begin_ns;
	drain(worker);
	return NULL;
}

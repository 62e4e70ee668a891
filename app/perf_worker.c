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

/* One request in slot `slot`. False: the queue refused it (a reset is under way, or the device is
 * gone). */
static inline bool submit(struct perf_lane *lane, const struct perf_options *opts, uintptr_t slot,
			  uint64_t now)
{
	uint64_t number = perf_random(lane);
	uint64_t lba = perf_slot(lane, opts->random, number) * lane->blocks;
	void *buf = lane->data + slot * lane->stride;
	bool read = (uint32_t)(number * 0x9e3779b1u) < lane->read_below;
	int error;

	if (__builtin_expect(lane->options, 0))
		error = perf_submit_options(lane, read, lba, buf, (void *)slot);
	else if (read)
		error = bh_nvme_read(lane->q, lane->ns, buf, lba, lane->blocks, 0, NULL,
				     (void *)slot);
	else
		error = bh_nvme_write(lane->q, lane->ns, buf, lba, lane->blocks, 0, NULL,
				      (void *)slot);
	if (__builtin_expect(error != 0, 0))
		return false;
	lane->started[slot] = now;
	lane->in_flight++;
	return true;
}

__attribute__((noinline)) void perf_count_error(struct perf_lane *lane, uint16_t status)
{
	if (lane->errors == 0)
		lane->first_error = status;
	__atomic_store_n(&lane->errors, lane->errors + 1, __ATOMIC_RELAXED);
}

void perf_step(struct perf_lane *lane, const struct perf *perf, bool go)
{
	struct bh_nvme_result done[PERF_REAP];
	int n = bh_nvme_queue_reap(lane->q, done, PERF_REAP);

	if (__builtin_expect(n < 0, 0)) {
		if (!lane->lost)
			perf_count_error(lane, BH_NVME_SC_INTERNAL_PATH_ERROR);
		lane->lost = true;
		return;
	}
	uint64_t now = bh_nvme_queue_ticks(lane->q);
	for (int i = 0; i < n; i++) {
		uintptr_t slot = (uintptr_t)done[i].arg;

		lane->in_flight--;
		if (__builtin_expect(done[i].status != BH_NVME_SC_SUCCESS, 0))
			perf_count_error(lane, done[i].status);
		bh_histogram_add(&lane->latency,
				 bh_clock_ns(&perf->clock, now - lane->started[slot]), 1);
		if (go && !submit(lane, perf->opts, slot, now))
			perf_count_error(lane, BH_NVME_SC_ABORTED_BY_REQUEST);
	}
	if (n > 0) {
		__atomic_store_n(&lane->ios, lane->ios + (uint64_t)n, __ATOMIC_RELAXED);
		bh_nvme_queue_flush(lane->q);
	}
}

void perf_start(struct perf_lane *lane, const struct perf *perf)
{
	for (uintptr_t slot = 0; slot < perf->opts->depth; slot++) {
		if (!submit(lane, perf->opts, slot, bh_ticks()))
			perf_count_error(lane, BH_NVME_SC_ABORTED_BY_REQUEST);
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

static void run(struct perf_worker *worker)
{
	const struct perf *perf = worker->perf;

	while (!__atomic_load_n(&perf->stop, __ATOMIC_RELAXED) && any_alive(worker)) {
		for (unsigned int pass = 0; pass < CLOCK_EVERY; pass++) {
			for (struct perf_lane *l = worker->lanes; l; l = l->next_of_worker) {
				if (__builtin_expect(l->zones != NULL, 0))
					perf_zoned_step(l, perf, l->stride, true);
				else
					perf_step(l, perf, true);
			}
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
			if (l->zones)
				perf_zoned_step(l, worker->perf, l->stride, false);
			else
				perf_step(l, worker->perf, false);
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
	uint64_t begin = bh_now_ns();
	for (struct perf_lane *l = worker->lanes; l; l = l->next_of_worker) {
		if (!l->zones) {
			perf_start(l, perf);
			continue;
		}
		perf_zoned_start(l, perf, l->stride);
		bh_nvme_queue_flush(l->q);
	}
	run(worker);
	worker->elapsed_ns = bh_now_ns() - begin;
	drain(worker);
	return NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker: its lanes in turn until time is up, then what is in flight. Figures begin when it
 * starts, or when warming up is over, and end when time is up.
 */
#include <string.h>
#include <sys/resource.h>

#include "perf.h"
#include "perf_io.h"

#define DRAIN_NS (30ull * 1000 * 1000 * 1000)
#define CLOCK_EVERY 256 /* passes between looks at the stop flag */

static bool any_alive(const struct perf_worker *worker)
{
	for (const struct perf_lane *l = worker->lanes; l; l = l->next_of_worker) {
		if (!l->lost)
			return true;
	}
	return false;
}

static uint64_t ns_of(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_usec * 1000u;
}

static void cpu_now(struct perf_cpu *cpu)
{
	struct rusage usage = { 0 };

	getrusage(RUSAGE_THREAD, &usage);
	cpu->wall_ns = bh_now_ns();
	cpu->user_ns = ns_of(&usage.ru_utime);
	cpu->system_ns = ns_of(&usage.ru_stime);
	cpu->preempted = (uint64_t)usage.ru_nivcsw;
}

static void polls_now(const struct perf_lane *lane, struct perf_polls *polls)
{
	struct bh_nvme_queue_stats stats;

	bh_nvme_queue_stats(lane->q, &stats);
	*polls = (struct perf_polls){ stats.polls, stats.empty_polls, stats.completions };
}

/* Figures begin; what was measured so far was warming up. */
static void begin(struct perf_worker *worker)
{
	for (struct perf_lane *l = worker->lanes; l; l = l->next_of_worker) {
		bh_histogram_init(&l->latency);
		memset(&l->coarse, 0, sizeof(l->coarse));
		__atomic_store_n(&l->blocks_done, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&l->ios, 0, __ATOMIC_RELAXED);
		polls_now(l, &l->polls);
	}
	cpu_now(&worker->begin);
}

/* Time is up. */
static void end(struct perf_worker *worker)
{
	struct perf_cpu now;

	worker->up_ticks = bh_ticks();
	cpu_now(&now);
	worker->used = (struct perf_cpu){
		now.wall_ns - worker->begin.wall_ns,
		now.user_ns - worker->begin.user_ns,
		now.system_ns - worker->begin.system_ns,
		now.preempted - worker->begin.preempted,
	};
	for (struct perf_lane *l = worker->lanes; l; l = l->next_of_worker) {
		struct perf_polls before = l->polls, after;

		polls_now(l, &after);
		l->polls = (struct perf_polls){
			after.count - before.count,
			after.empty - before.empty,
			after.completions - before.completions,
		};
		l->counted = l->ios;
		l->counted_blocks = l->slot_blocks ? l->blocks_done : l->ios * l->blocks;
	}
}

static void run(struct perf_worker *worker)
{
	const struct perf *perf = worker->perf;
	bool is_warm = perf->opts->warm_ns == 0;

	while (!app_crew_stops(&perf->crew) && any_alive(worker)) {
		if (!is_warm && __atomic_load_n(&perf->warm, __ATOMIC_RELAXED)) {
			begin(worker);
			is_warm = true;
		}
		for (unsigned int pass = 0; pass < CLOCK_EVERY; pass++) {
			for (struct perf_lane *l = worker->lanes; l; l = l->next_of_worker)
				perf_step(l, perf, true);
		}
	}
}

/* What is in flight when time is up counts in latencies and errors, not in rates. */
static void drain(struct perf_worker *worker)
{
	uint64_t deadline = bh_now_ns() + DRAIN_NS;

	for (struct perf_lane *l = worker->lanes; l; l = l->next_of_worker) {
		while (l->in_flight > 0 && !l->lost && bh_now_ns() < deadline)
			perf_step(l, worker->perf, false);
		if (l->kind->end)
			l->kind->end(l, worker->perf);
		if (l->in_flight > 0)
			perf_count_error(l, BH_NVME_SC_ABORTED_BY_REQUEST);
	}
}

void perf_worker_run(struct app_worker *base)
{
	struct perf_worker *worker = (struct perf_worker *)base;

	begin(worker);
	for (struct perf_lane *l = worker->lanes; l; l = l->next_of_worker)
		perf_start(l, worker->perf);
	run(worker);
	end(worker);
	drain(worker);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "crew.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bellhop/clock.h>
#include <bellhop/fault.h>

#define NAP_NS (100ull * 1000 * 1000)
#define SHORT_NAP_NS (1000ull * 1000) /* for as long as a nap */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

void app_signals(void)
{
	const struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	bh_fault_install();
}

/* ---- workers ---- */

void *app_crew_make(struct app_crew *crew, const struct bh_cpuset *cpus, size_t bytes,
		    void (*run)(struct app_worker *worker))
{
	char *workers = calloc(bh_cpuset_count(cpus), bytes), *at = workers;

	for (int cpu = bh_cpuset_first(cpus); workers && cpu >= 0;
	     cpu = bh_cpuset_next(cpus, cpu)) {
		struct app_worker *w = (struct app_worker *)(void *)at;

		w->cpu = (unsigned int)cpu;
		w->crew = crew;
		w->run = run;
		at += bytes;
	}
	return workers;
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

static void *begin(void *arg)
{
	struct app_worker *w = arg;

	pin(w->cpu);
	pthread_mutex_lock(&w->crew->gate);
	pthread_mutex_unlock(&w->crew->gate);
	if (!app_crew_stops(w->crew))
		w->run(w);
	return NULL;
}

/* How many were started; all of them, or they are told to end. */
static unsigned int start(struct app *app, struct app_crew *crew, char *workers, size_t bytes,
			  unsigned int n)
{
	unsigned int started = 0;
	int error = 0;

	pthread_mutex_lock(&crew->gate);
	while (!error && started < n) {
		struct app_worker *w = (struct app_worker *)(void *)(workers + started * bytes);

		error = pthread_create(&w->thread, NULL, begin, w);
		started += !error;
	}
	if (error) {
		app_fail(app, 1, "cannot start a worker: %s", strerror(error));
		__atomic_store_n(&crew->stop, 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&crew->gate);
	return started;
}

int app_crew_run(struct app *app, struct app_crew *crew, void *workers, size_t bytes,
		 unsigned int n, int (*wait)(void *ctx), void *ctx)
{
	pthread_mutex_init(&crew->gate, NULL);
	unsigned int started = start(app, crew, workers, bytes, n);
	int code = started == n ? wait(ctx) : 1;

	__atomic_store_n(&crew->stop, 1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < started; i++) {
		char *at = (char *)workers + i * bytes;

		pthread_join(((struct app_worker *)(void *)at)->thread, NULL);
	}
	pthread_mutex_destroy(&crew->gate);
	return code;
}

/* ---- the main thread ---- */

static void nap(const struct app_wait *w, uint64_t now)
{
	uint64_t left = w->end_ns > now ? w->end_ns - now : 0;
	uint64_t most = w->often && now - w->begin_ns < NAP_NS ? SHORT_NAP_NS : NAP_NS;

	if (w->mark_ns > now && w->mark_ns - now < left)
		left = w->mark_ns - now;
	const struct timespec tick = { .tv_nsec = (long)(left < most ? left : most) };
	nanosleep(&tick, NULL);
}

int app_wait(const struct app_wait *w)
{
	bool live = w->live && isatty(STDOUT_FILENO);
	uint64_t now = bh_now_ns();
	unsigned int shown = 0;
	int code = -1;

	while (!interrupted && now < w->end_ns && (code = w->look(w->ctx, now)) < 0) {
		nap(w, now);
		now = bh_now_ns();
		if (live && (now - w->begin_ns) / 1000000000ull > shown)
			w->progress(w->ctx, ++shown);
	}
	if (live && shown > 0)
		printf("\r%80s\r", "");
	return code < 0 ? 0 : code;
}

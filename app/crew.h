/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a program that measures runs: workers that poll on CPUs of their own and begin together, and a
 * main thread that sleeps, looks after the devices, draws the progress line and ends the run when
 * time is up or somebody presses Ctrl-C.
 */
#ifndef APP_CREW_H
#define APP_CREW_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <bellhop/parse.h>

#include "common.h"

struct app_crew {
	uint32_t stop;	      /* __atomic: workers end */
	pthread_mutex_t gate; /* held until every worker exists */
};

struct app_worker {
	pthread_t thread;
	unsigned int cpu;
	struct app_crew *crew;
	void (*run)(struct app_worker *worker); /* on its CPU */
};

/*
 * One worker per CPU: an array of elements of `bytes`, zeroed, each of which begins with a struct
 * app_worker. To be freed by the caller; NULL: no memory.
 */
void *app_crew_make(struct app_crew *crew, const struct bh_cpuset *cpus, size_t bytes,
		    void (*run)(struct app_worker *worker));
/*
 * Runs them all, the main thread in wait(ctx), and ends them when that returns: what it returned, or
 * 1 and a line if they could not be started, and none of them has run.
 */
int app_crew_run(struct app *app, struct app_crew *crew, void *workers, size_t bytes,
		 unsigned int n, int (*wait)(void *ctx), void *ctx);

static inline bool app_crew_stops(const struct app_crew *crew)
{
	return __atomic_load_n(&crew->stop, __ATOMIC_RELAXED) != 0;
}

/* From here SIGINT and SIGTERM end app_wait() instead of the program; SIGPIPE and lost memory none. */
void app_signals(void);

struct app_wait {
	uint64_t begin_ns, end_ns; /* of bh_now_ns() */
	uint64_t mark_ns;	   /* when to look again at the latest, if that is to come */
	bool often;		   /* looks often to begin with */
	bool live;		   /* progress is shown, if it is a terminal */
	int (*look)(void *ctx, uint64_t now); /* -1: go on, else it ends with this */
	void (*progress)(void *ctx, unsigned int second);
	void *ctx;
};

/* Until the end, a signal, or look() says so. 0, or what look() said. */
int app_wait(const struct app_wait *w);

#endif

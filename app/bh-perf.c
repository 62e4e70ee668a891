/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-perf: measures NVMe controllers with Bellhop's driver.
 *
 * The workers poll on their cores; this thread sleeps, looks after the controllers ten times a
 * second, draws the progress line and ends the run. Ctrl-C ends it early with a report of what was
 * measured; so does somebody who wants one of the devices back, for whom it is let go of at once.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bellhop/fault.h>

#include "perf.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

/* True while some controller still works. */
static bool look_after(struct perf *perf)
{
	bool alive = false;

	for (unsigned int i = 0; i < perf->num_devices; i++)
		alive |= bh_nvme_poll(perf->device[i].nvme) >= 0;
	return alive;
}

static bool wanted_back(const struct perf *perf)
{
	bool any = false;

	for (unsigned int i = 0; i < perf->num_devices; i++)
		any |= __atomic_load_n(&perf->removal[i].asked, __ATOMIC_RELAXED) != 0;
	return any;
}

/* 1 and a line for each that is wanted back, else 0. */
static int say_wanted_back(const struct perf *perf)
{
	int code = 0;

	for (unsigned int i = 0; i < perf->num_devices; i++)
		if (__atomic_load_n(&perf->removal[i].asked, __ATOMIC_RELAXED))
			code = app_fail(
				perf->app, 1,
				"%s: its removal was requested: ended early to let go of it",
				perf->device[i].text);
	return code;
}

/* Until `end`, but no longer than a tenth of a second. */
static void nap(uint64_t end)
{
	const uint64_t most = 100 * 1000 * 1000;
	uint64_t now = bh_now_ns(), left = end > now ? end - now : 0;
	const struct timespec tick = { .tv_nsec = (long)(left < most ? left : most) };

	nanosleep(&tick, NULL);
}

static void wait_for_end(struct perf *perf)
{
	bool live = isatty(STDOUT_FILENO) && !perf->opts->json;
	uint64_t begin = bh_now_ns(), last_ios = 0;
	uint64_t warm = begin + perf->opts->warm_ns, end = warm + perf->opts->run_ns;
	unsigned int shown = 0;

	while (!interrupted && !wanted_back(perf) && look_after(perf)) {
		uint64_t now = bh_now_ns();

		if (now >= end)
			break;
		if (now >= warm)
			__atomic_store_n(&perf->warm, 1, __ATOMIC_RELAXED);
		nap(now < warm ? warm : end);
		if (live && (bh_now_ns() - begin) / 1000000000ull > shown)
			perf_progress(perf, ++shown, &last_ios);
	}
	if (live && shown > 0)
		printf("\r%80s\r", "");
}

/* The number of workers started; all of them, or stop is set and they end at once. */
static unsigned int start_workers(struct perf *perf)
{
	unsigned int started = 0;
	int error = 0;

	pthread_mutex_init(&perf->start, NULL);
	pthread_mutex_lock(&perf->start);
	while (!error && started < perf->num_workers) {
		error = pthread_create(&perf->workers[started].thread, NULL, perf_worker_run,
				       &perf->workers[started]);
		started += !error;
	}
	if (error) {
		app_fail(perf->app, 1, "cannot start a worker: %s", strerror(error));
		__atomic_store_n(&perf->stop, 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&perf->start);
	return started;
}

static int measure(struct perf *perf)
{
	unsigned int started = start_workers(perf);

	if (started == perf->num_workers)
		wait_for_end(perf);
	__atomic_store_n(&perf->stop, 1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < started; i++)
		pthread_join(perf->workers[i].thread, NULL);
	pthread_mutex_destroy(&perf->start);
	if (started < perf->num_workers)
		return 1;
	perf_report(perf);
	if (fflush(stdout) != 0 || ferror(stdout))
		return app_fail(perf->app, 1, "cannot write to the output");
	int code = say_wanted_back(perf);
	for (unsigned int i = 0; i < perf->num_lanes; i++) {
		if (perf->lanes[i].errors != 0)
			code = 1;
	}
	return code;
}

int main(int argc, char **argv)
{
	static struct perf perf;
	struct perf_options opts;
	struct app app;

	app_init(&app, "bh-perf");
	int code = perf_options_parse(&app, argc, argv, &opts);
	if (code >= 0)
		return code;
	const struct sigaction action = { .sa_handler = on_signal };
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	bh_fault_install();
	code = perf_open(&perf, &app, &opts);
	if (code == 0)
		code = measure(&perf);
	perf_close(&perf);
	return code;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-pktgen: sends and receives packets with Bellhop's network drivers, checks and measures them.
 *
 * The workers poll on their cores; this thread sleeps, looks after the devices ten times a second,
 * draws the progress line and ends the run. Ctrl-C ends it early with a report of what was measured.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bellhop/fault.h>

#include "pktgen.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

/* 0, or 1 and a line: a device is gone. */
static int look_after(struct pktgen *gen)
{
	for (unsigned int i = 0; i < gen->num_devices; i++)
		if (bh_net_poll(gen->device[i].net) < 0)
			return app_fail(gen->app, 1, "%s: the device is gone: ended early",
					gen->device[i].text);
	return 0;
}

static int wait_for_end(struct pktgen *gen)
{
	bool live = isatty(STDOUT_FILENO) && !gen->opts->json;
	uint64_t begin = bh_now_ns(), elapsed = 0;
	struct pktgen_counts last = { 0 };
	unsigned int shown = 0;
	int code = 0;

	while (!interrupted && !code && elapsed < gen->opts->seconds * 1000000000ull &&
	       __atomic_load_n(&gen->running, __ATOMIC_RELAXED) > 0) {
		/* short naps to begin with: -n may be done soon */
		const struct timespec tick = { .tv_nsec =
						       elapsed < 100000000u ? 1000000 : 100000000 };

		nanosleep(&tick, NULL);
		elapsed = bh_now_ns() - begin;
		code = look_after(gen);
		if (live && elapsed / 1000000000ull > shown)
			pktgen_progress(gen, ++shown, &last);
	}
	if (live && shown > 0)
		printf("\r%80s\r", "");
	return code;
}

/* The number of workers started; all of them, or stop is set and they end at once. */
static unsigned int start_workers(struct pktgen *gen)
{
	unsigned int started = 0;
	int error = 0;

	pthread_mutex_init(&gen->start, NULL);
	pthread_mutex_lock(&gen->start);
	gen->running = gen->num_workers;
	while (!error && started < gen->num_workers) {
		error = pthread_create(&gen->workers[started].thread, NULL, pktgen_worker_run,
				       &gen->workers[started]);
		started += !error;
	}
	if (error) {
		app_fail(gen->app, 1, "cannot start a worker: %s", strerror(error));
		__atomic_store_n(&gen->stop, 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&gen->start);
	return started;
}

/* What was wrong, a line for each. */
static int judge(const struct pktgen *gen)
{
	bool waits = gen->opts->mode == PKTGEN_LOOP || gen->opts->mode == PKTGEN_LATENCY;
	struct app *app = gen->app;
	int code = 0;

	for (unsigned int i = 0; i < gen->num_lanes; i++) {
		const struct pktgen_lane *l = gen->lanes[i];
		const char *text = gen->device[l->device].text;

		if (l->counts.damaged)
			code = app_fail(
				app, 1, "%s: queue %u: %llu damaged packets: of the first, %s",
				text, l->queue, (unsigned long long)l->counts.damaged, l->damage);
		if (l->counts.refused)
			code = app_fail(app, 1,
					"%s: queue %u: the device did not send %llu packets", text,
					l->queue, (unsigned long long)l->counts.refused);
		if (l->doubled)
			code = app_fail(app, 1, "%s: queue %u: %llu packets came twice", text,
					l->queue, (unsigned long long)l->doubled);
		if (waits && l->drops)
			code = app_fail(
				app, 1, "%s: queue %u: %llu of %llu packets did not come back%s",
				text, l->queue, (unsigned long long)l->drops,
				(unsigned long long)l->counts.tx,
				l->drops == l->counts.tx ? ": does anything send them back?" : "");
	}
	return code;
}

static int measure(struct pktgen *gen)
{
	unsigned int started = start_workers(gen);
	int code = 0;

	if (started == gen->num_workers)
		code = wait_for_end(gen);
	__atomic_store_n(&gen->stop, 1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < started; i++)
		pthread_join(gen->workers[i].thread, NULL);
	pthread_mutex_destroy(&gen->start);
	if (started < gen->num_workers)
		return 1;
	for (unsigned int i = 0; i < started; i++)
		if (gen->workers[i].error)
			return app_fail(gen->app, 1, "no more threads can be registered with DPDK");
	pktgen_settle(gen);
	pktgen_report(gen);
	if (fflush(stdout) != 0 || ferror(stdout))
		return app_fail(gen->app, 1, "cannot write to the output");
	return code ? code : judge(gen);
}

int main(int argc, char **argv)
{
	static struct pktgen gen;
	struct pktgen_options opts;
	struct app app;

	app_init(&app, "bh-pktgen");
	int code = pktgen_options_parse(&app, argc, argv, &opts);
	if (code >= 0)
		return code;
	const struct sigaction action = { .sa_handler = on_signal };
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	bh_fault_install();
	code = pktgen_open(&gen, &app, &opts);
	if (code == 0)
		code = measure(&gen);
	int closed = pktgen_close(&gen);
	return code ? code : closed;
}

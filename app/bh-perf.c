/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-perf: measures NVMe controllers with Bellhop's driver.
 *
 * The workers poll on their cores; this thread sleeps, looks after the controllers ten times a
 * second, draws the progress line and ends the run. Ctrl-C ends it early with a report of what was
 * measured; so does somebody who wants one of the devices back, for whom it is let go of at once.
 */
#include <stdio.h>

#include "perf.h"
#include "perf_verify.h"

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

/* Goes on while nobody wants a device back and some controller still works. */
static int look_after(void *ctx, uint64_t now)
{
	struct perf *perf = ctx;
	bool alive = false;

	if (wanted_back(perf))
		return 0;
	for (unsigned int i = 0; i < perf->num_devices; i++)
		alive |= bh_nvme_poll(perf->device[i].nvme) >= 0;
	if (now >= perf->warm_at_ns)
		__atomic_store_n(&perf->warm, 1, __ATOMIC_RELAXED);
	return alive ? -1 : 0;
}

static void progress(void *ctx, unsigned int second)
{
	perf_progress(ctx, second);
}

static int wait_for_end(void *ctx)
{
	struct perf *perf = ctx;
	struct app_wait wait = {
		.begin_ns = bh_now_ns(),
		.live = !perf->opts->json,
		.look = look_after,
		.progress = progress,
		.ctx = perf,
	};

	wait.mark_ns = perf->warm_at_ns = wait.begin_ns + perf->opts->warm_ns;
	wait.end_ns = perf->warm_at_ns + perf->opts->run_ns;
	return app_wait(&wait);
}

static int measure(struct perf *perf)
{
	if (app_crew_run(perf->app, &perf->crew, perf->workers, sizeof(*perf->workers),
			 perf->num_workers, wait_for_end, perf) != 0)
		return 1;
	perf_report(perf);
	if (fflush(stdout) != 0 || ferror(stdout))
		return app_fail(perf->app, 1, "cannot write to the output");
	int code = say_wanted_back(perf);
	for (unsigned int i = 0; i < perf->num_lanes; i++) {
		const struct perf_lane *l = &perf->lanes[i];

		if (l->errors != 0 || (l->verify && l->verify->differing != 0))
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
	app_signals();
	code = perf_open(&perf, &app, &opts);
	if (code == 0)
		code = measure(&perf);
	perf_close(&perf);
	return code;
}

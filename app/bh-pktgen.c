/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-pktgen: sends and receives packets with Bellhop's network drivers, checks and measures them.
 *
 * The workers poll on their cores; this thread sleeps, looks after the devices ten times a second,
 * draws the progress line and ends the run. Ctrl-C ends it early with a report of what was measured.
 */
#include <stdio.h>

#include "pktgen.h"

/* Goes on while packets are to be sent; 1 and a line: a device is gone. */
static int look_after(void *ctx, uint64_t now)
{
	struct pktgen *gen = ctx;

	(void)now;
	for (unsigned int i = 0; i < gen->num_devices; i++)
		if (bh_net_poll(gen->device[i].net) < 0) {
			/* what it had will not come */
			__atomic_store_n(&gen->patience_ns, 0, __ATOMIC_RELAXED);
			return app_fail(gen->app, 1, "%s: the device is gone: ended early",
					gen->device[i].text);
		}
	return __atomic_load_n(&gen->running, __ATOMIC_RELAXED) > 0 ? -1 : 0;
}

static void progress(void *ctx, unsigned int second)
{
	pktgen_progress(ctx, second);
}

static int wait_for_end(void *ctx)
{
	struct pktgen *gen = ctx;
	struct app_wait wait = {
		.begin_ns = bh_now_ns(),
		.often = true, /* -n may be done soon */
		.live = !gen->opts->json,
		.look = look_after,
		.progress = progress,
		.ctx = gen,
	};

	wait.end_ns = wait.begin_ns + gen->opts->run_ns;
	return app_wait(&wait);
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
	int code = app_crew_run(gen->app, &gen->crew, gen->workers, sizeof(*gen->workers),
				gen->num_workers, wait_for_end, gen);

	for (unsigned int i = 0; i < gen->num_workers; i++)
		if (gen->workers[i].error)
			return app_fail(gen->app, 1, "no more threads can be registered with DPDK");
	if (gen->running == gen->num_workers && code)
		return code; /* none could be started */
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
	app_signals();
	code = pktgen_open(&gen, &app, &opts);
	if (code == 0)
		code = measure(&gen);
	int closed = pktgen_close(&gen);
	return code ? code : closed;
}

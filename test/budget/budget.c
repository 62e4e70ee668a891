/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * budget: what valgrind counts the instructions of a request on, host and target apart.
 *
 * Times depend on neighbours, instructions do not. Host (bh-perf's own measuring loop over the
 * driver) and target run in this one process and, once they are connected, in this one thread:
 * a pass of the one, a pass of the other, so many times. There is always something for either to
 * do, no pass is empty, and nothing depends on who was faster. callgrind collects during the passes
 * of one side only; what it collected is dumped under the name of case and side, and this program
 * prints how many requests that was. The script `budgets` divides and compares.
 *
 * Connecting needs both sides at once, so until then the reactors run in threads of their own.
 * Their loop is left out: messages, timers and file descriptors cost per pass and by the clock.
 * What is a pass is seen where pollers are added.
 *
 * Outside valgrind it does the same and counts nothing, which shows that it works.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <valgrind/callgrind.h>

#include <bellhop/target_nvme.h>

#include "perf.h"
#include "perf_io.h"

#define WARM_PASSES 64u
#define PASSES 200u

struct budget_case {
	const char *name;
	const struct bh_blk_type *store;
	const char *depth, *bytes, *workload;
	bool no_sgl;	  /* PRP lists even where the target takes SGLs */
	const char *more; /* an option of bh-perf; then only the host is counted */
};

static const struct budget_case cases[] = {
	{ "null-read-4k-q128", &bh_blk_null_type, "128", "4K", "randread", false, NULL },
	{ "null-write-4k-q128", &bh_blk_null_type, "128", "4K", "randwrite", false, NULL },
	{ "null-read-4k-q1", &bh_blk_null_type, "1", "4K", "randread", false, NULL },
	{ "null-read-512-q128", &bh_blk_null_type, "128", "512", "randread", false, NULL },
	{ "ram-read-512-q128", &bh_blk_ram_type, "128", "512", "randread", false, NULL },
	{ "ram-write-512-q128", &bh_blk_ram_type, "128", "512", "randwrite", false, NULL },
	{ "null-read-128k-q32-sgl", &bh_blk_null_type, "32", "128K", "randread", false, NULL },
	{ "null-read-128k-q32-prp", &bh_blk_null_type, "32", "128K", "randread", true, NULL },
	{ "null-read-4k-q128-cheap", &bh_blk_null_type, "128", "4K", "randread", false,
	  "--latency=cheap" },
	{ "null-read-4k-q128-off", &bh_blk_null_type, "128", "4K", "randread", false,
	  "--latency=off" },
	{ "null-read-4k-q1-cheap", &bh_blk_null_type, "1", "4K", "randread", false,
	  "--latency=cheap" },
	{ "null-read-4k-q1-off", &bh_blk_null_type, "1", "4K", "randread", false, "--latency=off" },
	{ "null-read-4k-q128-zipf", &bh_blk_null_type, "128", "4K", "randread", false,
	  "--zipf=0.99" },
	{ "null-read-mix-q128", &bh_blk_null_type, "128", "4k:70,8k:30", "randread", false,
	  "--latency=exact" },
	{ "null-rw-4k-q128", &bh_blk_null_type, "128", "4K", "randrw", false, "--latency=exact" },
	{ "null-seq-4k-q128", &bh_blk_null_type, "128", "4K", "read", false, "--latency=exact" },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static _Noreturn void fail(const char *what, int error)
{
	fprintf(stderr, "budget: %s: %s\n", what, strerror(error));
	exit(1);
}

/* ---- the target ---- */

int __real_bh_poller_add(struct bh_reactor *reactor, const struct bh_poller_ops *ops, void *ctx,
			 struct bh_poller **out);
int __wrap_bh_poller_add(struct bh_reactor *reactor, const struct bh_poller_ops *ops, void *ctx,
			 struct bh_poller **out);
void __real_bh_nvme_opts_init(struct bh_nvme_opts *opts);
void __wrap_bh_nvme_opts_init(struct bh_nvme_opts *opts);

static struct target {
	struct bh_reactor *control, *thread;
	struct bh_target_nvme *ctrl;
	int (*pass)(void *ctx);
	void *pass_ctx;
} target;

static bool no_sgl;

int __wrap_bh_poller_add(struct bh_reactor *reactor, const struct bh_poller_ops *ops, void *ctx,
			 struct bh_poller **out)
{
	target.pass = ops->poll;
	target.pass_ctx = ctx;
	return __real_bh_poller_add(reactor, ops, ctx, out);
}

void __wrap_bh_nvme_opts_init(struct bh_nvme_opts *opts)
{
	__real_bh_nvme_opts_init(opts);
	opts->no_sgl = no_sgl;
	opts->io_timeout_ns = 0; /* looked for by the clock */
}

static struct bh_reactor *reactor_new(const char *name)
{
	struct bh_reactor_opts opts;
	struct bh_reactor *reactor;
	int rc;

	bh_reactor_opts_init(&opts);
	opts.name = name;
	rc = bh_reactor_create(&opts, &reactor);
	if (rc)
		fail("reactor", -rc);
	return reactor;
}

static void target_run(bool on)
{
	if (!on) {
		bh_reactor_stop(target.thread);
		bh_reactor_stop(target.control);
	} else if (bh_reactor_start(target.control) || bh_reactor_start(target.thread)) {
		fail("threads", EAGAIN);
	}
}

static void target_open(const struct bh_blk_type *type, const char *socket)
{
	struct bh_blk_spec spec = { .arg = "64M", .bytes = 64u << 20, .block_size = 512 };
	struct bh_target_nvme_opts opts;
	struct bh_blk *blk;
	char why[256];
	int rc;

	target.control = reactor_new("control");
	target.thread = reactor_new("poll");
	rc = type->create(&spec, "budget", NULL, why, &blk);
	if (rc)
		fail(why, -rc);
	bh_target_nvme_opts_init(&opts);
	opts.path = socket;
	opts.control = target.control;
	opts.threads = &target.thread;
	opts.num_threads = 1;
	rc = bh_target_nvme_create(&opts, &target.ctrl);
	if (rc)
		fail(socket, -rc);
	rc = bh_target_nvme_ns_attach(target.ctrl, blk, 0);
	if (rc < 0)
		fail("namespace", -rc);
	bh_blk_put(blk);
	target_run(true);
}

static void target_close(void)
{
	target_run(false);
	bh_target_nvme_free(target.ctrl);
	bh_reactor_destroy(target.thread);
	bh_reactor_destroy(target.control);
}

static void target_pass(void)
{
	target.pass(target.pass_ctx);
}

/* ---- the host ---- */

static struct perf perf;
static struct perf_options perf_opts;
static struct app app;

static void host_open(const struct budget_case *c, char *socket)
{
	char *argv[] = { "budget",
			 "-q",
			 (char *)(uintptr_t)c->depth,
			 "-o",
			 (char *)(uintptr_t)c->bytes,
			 "-w",
			 (char *)(uintptr_t)c->workload,
			 socket,
			 (char *)(uintptr_t)c->more,
			 NULL };

	no_sgl = c->no_sgl;
	optind = 0;
	app_init(&app, "budget");
	if (perf_options_parse(&app, c->more ? 9 : 8, argv, &perf_opts) >= 0 ||
	    perf_open(&perf, &app, &perf_opts) != 0)
		exit(1);
}

static void host_pass(void)
{
	perf_step(&perf.lanes[0], &perf, true);
}

static void nothing(void)
{
}

/* ---- counting ---- */

/* callgrind is told to collect from here to the return. */
static __attribute__((noinline)) void counted(void (*pass)(void))
{
	pass();
	__asm__ volatile("" ::: "memory"); /* no jump but a call */
}

static void pass(void (*fn)(void), void (*seen)(void))
{
	if (fn == seen)
		counted(fn);
	else
		fn();
}

/* The requests that went through `count` passes of both, while callgrind looks at one of them. */
static uint64_t count(void (*seen)(void), unsigned int passes)
{
	struct perf_lane *lane = &perf.lanes[0];
	uint64_t begin = lane->ios;
	unsigned int i;

	for (i = 0; i < passes; i++) {
		uint64_t before = lane->ios;

		pass(target_pass, seen);
		pass(host_pass, seen);
		pass(nothing, seen);
		if (lane->ios == before)
			fail("a pass brought no completion", EPROTO);
	}
	if (lane->errors)
		fail("a request failed", EIO);
	return lane->ios - begin;
}

static void dump(const struct budget_case *c, const char *side, uint64_t ios)
{
	char text[64];

	snprintf(text, sizeof(text), "%s %s", c->name, side);
	CALLGRIND_DUMP_STATS_AT(text);
	printf("%s %llu\n", text, (unsigned long long)ios);
}

static void run(const struct budget_case *c, char *socket)
{
	struct perf_lane *lane;
	uint64_t ios;

	target_open(c->store, socket);
	host_open(c, socket);
	lane = &perf.lanes[0];
	target_run(false);
	perf_start(lane, &perf);
	count(NULL, WARM_PASSES);
	/* What switching costs by itself, to be taken off. */
	ios = count(nothing, PASSES);
	dump(c, "nothing", ios);
	ios = count(host_pass, PASSES);
	dump(c, "host", ios);
	if (!c->more) {
		ios = count(target_pass, PASSES);
		dump(c, "target", ios);
	}
	while (lane->in_flight) {
		target_pass();
		perf_step(lane, &perf, false);
	}
	target_run(true);
	perf_close(&perf);
	target_close();
}

int main(int argc, char **argv)
{
	size_t i;

	if (argc != 2) {
		fputs("usage: budget SOCKET\n", stderr);
		return 2;
	}
	for (i = 0; i < CASES; i++)
		run(&cases[i], argv[1]);
	return 0;
}

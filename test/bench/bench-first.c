/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-first: how long a request takes that finds the target asleep. As bench-wake does with an
 * eventfd: a thread sleeps a while, sends one request, and polls until it is answered. Both sleep,
 * so that neither is what the scheduler makes wait, and both are equally long away from their
 * caches: what this is longer than bench-wake is what waking a target costs beyond a bare wake.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bellhop/clock.h>

#include "bench.h"
#include "bench_client.h"

#define DEADLINE_NS 5000000000ull

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void done(void *arg, const struct bh_nvme_cpl *cpl)
{
	*(int *)arg = bh_nvme_cpl_status(cpl);
}

/* One request; 0 or -errno. */
static int request(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, void *buf, uint64_t lba,
		   uint64_t *took)
{
	uint64_t begin = bh_now_ns();
	int status = -1, rc;

	rc = bh_nvme_read(q, ns, buf, lba, 1, 0, done, &status);
	while (!rc && status < 0) {
		rc = bh_nvme_queue_poll(q, 0) < 0 ? -ENODEV : 0;
		if (bh_now_ns() - begin > DEADLINE_NS)
			rc = -ETIMEDOUT;
	}
	*took = bh_now_ns() - begin;
	return rc ? rc : status ? -EIO : 0;
}

static int measure(const struct bench_options *opts, uint64_t *took)
{
	const struct timespec nap = { .tv_sec = (time_t)(opts->run_ns / 1000000000),
				      .tv_nsec = (long)(opts->run_ns % 1000000000) };
	struct bh_nvme_queue *q = NULL;
	struct bench_client c;
	void *buf = NULL;
	int rc = -bench_pin(bh_cpuset_first(&opts->cpus));

	if (rc)
		return rc;
	rc = bench_client_open(&c, opts->address, 4u << 20);
	rc = rc ? rc : bh_nvme_queue_create(c.nvme, NULL, &q);
	if (!rc) {
		buf = bh_pool_zalloc(c.pool, 4096, 4096);
		rc = buf ? 0 : -ENOMEM;
	}
	for (unsigned int i = 0; !rc && i < opts->depth[0]; i++) {
		nanosleep(&nap, NULL);
		rc = request(q, c.ns, buf, i % bh_nvme_ns_blocks(c.ns), &took[i]);
	}
	bh_nvme_queue_destroy(q);
	bench_client_close(&c);
	return rc;
}

static const char help[] = "usage: bench-first [-q COUNT] [-t SECONDS] [-c CPU] [--json] ADDRESS\n"
			   "\n"
			   "How long a request takes that finds the target asleep.\n"
			   "\n"
			   "  -q COUNT    requests, one after the other (default 50)\n"
			   "  -t SECONDS  of sleep before each (default 0.02)\n"
			   "  -c CPU      the host's (default: the highest allowed)\n"
			   "  --json      one object instead of text\n"
			   "  --help, --version\n"
			   "\n"
			   "example: bench-first -c 1 /tmp/nvme0.sock\n";

int main(int argc, char **argv)
{
	struct bench_options opts = { .name = "bench-first",
				      .help = help,
				      .depth = { 50 },
				      .num_depths = 1,
				      .run_ns = 20000000,
				      .is_client = true };
	int code = bench_options_parse(argc, argv, &opts), rc;
	unsigned int n = opts.depth[0];
	uint64_t *took;

	if (code >= 0)
		return code;
	took = calloc(n, sizeof(*took));
	rc = took ? measure(&opts, took) : -ENOMEM;
	if (rc) {
		fprintf(stderr, "bench-first: %s: %s\n", opts.address, strerror(-rc));
	} else {
		qsort(took, n, sizeof(*took), by_size);
		printf(opts.json ? "{\"schema\":1,\"count\":%u,\"min_ns\":%llu,\"median_ns\":%llu,"
				   "\"p90_ns\":%llu,\"max_ns\":%llu}\n"
				 : "%u requests: min %llu ns, median %llu ns, 90%% %llu ns, max "
				   "%llu ns\n",
		       n, (unsigned long long)took[0], (unsigned long long)took[n / 2],
		       (unsigned long long)took[n * 9 / 10], (unsigned long long)took[n - 1]);
	}
	free(took);
	return rc ? 1 : 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What the measuring programs share: two pinned threads, the options they are started with. */
#ifndef TEST_BENCH_BENCH_H
#define TEST_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include <bellhop/parse.h>

#define BENCH_MAX_DEPTHS 16
#define BENCH_MAX_DEPTH 65535u
#define BENCH_LINES 128 /* CPUs prefetch lines in pairs */

struct bench_options {
	const char *name, *help;
	unsigned int depth[BENCH_MAX_DEPTHS];
	unsigned int num_depths;
	uint64_t run_ns;
	struct bh_cpuset cpus; /* two, or a client's one */
	bool json;
	unsigned int bytes; /* -s; 0: there is no such option */
	unsigned int min_bytes, max_bytes;
	/* ---- a client: one CPU, the address of a controller, --write, -i ---- */
	bool is_client;
	bool write;
	unsigned int idle;
	const char *address;
};

/* Fills in what the words say; the rest is set before. -1: go on; else the exit code. */
int bench_options_parse(int argc, char **argv, struct bench_options *opts);

/* Ties the calling thread to a CPU. 0 or an errno. */
int bench_pin(int cpu);

/*
 * Runs both functions with `arg` on threads of their own, sets *stop after so long, and
 * waits for them to end. 0 or an errno.
 */
int bench_run_two(void *(*first)(void *), void *(*second)(void *), void *arg, uint32_t *stop,
		  uint64_t ns);

/*
 * Measures each depth and prints what came of it, requests per second as `unit` (of JSON). measure:
 * 0, or an exit code with the reason said. The exit code.
 */
int bench_depths(const struct bench_options *opts, const char *title, const char *unit,
		 int (*measure)(const struct bench_options *opts, unsigned int depth,
				double *rate));

/* Zeroed memory of both threads, mapped and touched. NULL and errno. */
void *bench_map(size_t bytes);

#endif

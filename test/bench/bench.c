/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <bellhop/bellhop.h>

int bench_pin(int cpu)
{
	cpu_set_t *set = CPU_ALLOC(BH_CPU_MAX);
	size_t bytes = CPU_ALLOC_SIZE(BH_CPU_MAX);

	if (!set)
		return ENOMEM;
	CPU_ZERO_S(bytes, set);
	CPU_SET_S((unsigned int)cpu, bytes, set);
	int error = pthread_setaffinity_np(pthread_self(), bytes, set);
	CPU_FREE(set);
	return error;
}

int bench_run_two(void *(*first)(void *), void *(*second)(void *), void *arg, uint32_t *stop,
		  uint64_t ns)
{
	const struct timespec nap = { .tv_sec = (time_t)(ns / 1000000000),
				      .tv_nsec = (long)(ns % 1000000000) };
	pthread_t threads[2];

	int error = pthread_create(&threads[0], NULL, first, arg);
	if (error)
		return error;
	error = pthread_create(&threads[1], NULL, second, arg);
	if (error) {
		pthread_cancel(threads[0]);
		pthread_join(threads[0], NULL);
		return error;
	}
	nanosleep(&nap, NULL);
	__atomic_store_n(stop, 1, __ATOMIC_RELAXED);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	return 0;
}

void *bench_map(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

int bench_depths(const struct bench_options *opts, const char *title, const char *unit,
		 int (*measure)(const struct bench_options *opts, unsigned int depth, double *rate))
{
	int a = bh_cpuset_first(&opts->cpus), b = bh_cpuset_last(&opts->cpus);

	if (opts->json)
		printf("{\"schema\":1,\"cpus\":[%d,%d],\"runs\":[", a, b);
	else
		printf("%s, CPUs %d and %d\n%8s %14s %16s\n", title, a, b, "depth", "M/s",
		       "round trip ns");
	for (unsigned int i = 0; i < opts->num_depths; i++) {
		unsigned int depth = opts->depth[i];
		double rate, round_trip;
		int code = measure(opts, depth, &rate);

		if (code)
			return code;
		round_trip = rate > 0 ? depth * 1e9 / rate : 0; /* none in so short a time */
		if (opts->json)
			printf("%s{\"depth\":%u,\"%s\":%.0f,\"round_trip_ns\":%.1f}", i ? "," : "",
			       depth, unit, rate, round_trip);
		else
			printf("%8u %14.2f %16.1f\n", depth, rate / 1e6, round_trip);
		fflush(stdout);
	}
	if (opts->json)
		puts("]}");
	return 0;
}

/* ---- options ---- */

enum {
	OPT_HELP = 256,
	OPT_VERSION,
	OPT_JSON,
	OPT_WRITE,
};

static const struct option long_options[] = {
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "write", no_argument, NULL, OPT_WRITE },
	{ NULL, 0, NULL, 0 },
};

static int usage(const struct bench_options *opts, const char *what, const char *value)
{
	fprintf(stderr, "%s: %s%s (see %s --help)\n", opts->name, what, value, opts->name);
	return 2;
}

static int parse_depths(const char *text, struct bench_options *opts)
{
	char item[16];

	opts->num_depths = 0;
	for (;;) {
		size_t len = strcspn(text, ",");
		uint64_t depth = 0;

		if (len >= sizeof(item) || opts->num_depths == BENCH_MAX_DEPTHS)
			return -EINVAL;
		memcpy(item, text, len);
		item[len] = '\0';
		if (bh_parse_u64(item, 1, BENCH_MAX_DEPTH, &depth) != 0)
			return -EINVAL;
		opts->depth[opts->num_depths++] = (unsigned int)depth;
		if (text[len] == '\0')
			return 0;
		text += len + 1;
	}
}

static int parse_bytes(const char *text, struct bench_options *opts)
{
	char expected[64];
	uint64_t bytes = 0;

	if (bh_parse_u64(text, opts->min_bytes, opts->max_bytes, &bytes) != 0) {
		snprintf(expected, sizeof(expected), "-s: expected a number from %u to %u, not ",
			 opts->min_bytes, opts->max_bytes);
		return usage(opts, expected, text);
	}
	opts->bytes = (unsigned int)bytes;
	return -1;
}

static int check_cpus(struct bench_options *opts)
{
	struct bh_cpuset allowed;

	if (bh_cpuset_allowed(&allowed) != 0 ||
	    (!opts->is_client && bh_cpuset_count(&allowed) < 2)) {
		fprintf(stderr, "%s: two CPUs are needed, this process may use only one\n",
			opts->name);
		return 1;
	}
	if (bh_cpuset_count(&opts->cpus) == 0) {
		if (!opts->is_client)
			bh_cpuset_add(&opts->cpus, (unsigned int)bh_cpuset_first(&allowed));
		bh_cpuset_add(&opts->cpus, (unsigned int)bh_cpuset_last(&allowed));
	}
	if (bh_cpuset_count(&opts->cpus) != (opts->is_client ? 1 : 2))
		return usage(opts,
			     opts->is_client ? "-c: exactly one CPU"
					     : "-c: exactly two CPUs, one for each thread",
			     "");
	for (int cpu = bh_cpuset_first(&opts->cpus); cpu >= 0;
	     cpu = bh_cpuset_next(&opts->cpus, cpu)) {
		if (!bh_cpuset_has(&allowed, (unsigned int)cpu))
			return usage(opts, "-c: names a CPU that this process may not use", "");
	}
	return -1;
}

static int parse_idle(const char *text, struct bench_options *opts)
{
	uint64_t idle = 0;

	if (bh_parse_u64(text, 0, 1023, &idle) != 0)
		return usage(opts, "-i: expected a number from 0 to 1023, not ", text);
	opts->idle = (unsigned int)idle;
	return -1;
}

static int parse_one(int c, char **argv, struct bench_options *opts)
{
	switch (c) {
	case 'q':
		return parse_depths(optarg, opts) == 0
			       ? -1
			       : usage(opts, "-q: expected up to 16 numbers from 1 to 65535, not ",
				       optarg);
	case 't':
		if (bh_parse_seconds(optarg, &opts->run_ns) != 0 || opts->run_ns < 1000000 ||
		    opts->run_ns > 3600000000000u)
			return usage(opts, "-t: expected seconds from 0.001 to 3600, not ", optarg);
		return -1;
	case 'c':
		if (bh_parse_cpus(optarg, ',', &opts->cpus) != 0)
			return usage(opts, "-c: expected CPUs such as 0,1, not ", optarg);
		return -1;
	case 'i':
		return parse_idle(optarg, opts);
	case 's':
		return parse_bytes(optarg, opts);
	case OPT_JSON:
		opts->json = true;
		return -1;
	case OPT_WRITE:
		if (!opts->is_client)
			return usage(opts, "unknown option ", argv[optind - 1]);
		opts->write = true;
		return -1;
	case OPT_HELP:
		return fputs(opts->help, stdout) < 0;
	case OPT_VERSION:
		return printf("%s %s\n", opts->name, bh_version()) < 0;
	case ':':
		return usage(opts, "the value is missing of ", argv[optind - 1]);
	default:
		return usage(opts, "unknown option ", argv[optind - 1]);
	}
}

int bench_options_parse(int argc, char **argv, struct bench_options *opts)
{
	const char *known = opts->is_client ? ":q:t:c:s:i:" : opts->bytes ? ":q:t:c:s:" : ":q:t:c:";
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, known, long_options, NULL)) != -1) {
		int code = parse_one(c, argv, opts);
		if (code >= 0)
			return code;
	}
	if (opts->is_client && optind == argc)
		return usage(opts, "the address of a controller is missing", "");
	if (opts->is_client)
		opts->address = argv[optind++];
	if (optind != argc)
		return usage(opts, "unexpected word ", argv[optind]);
	return check_cpus(opts);
}

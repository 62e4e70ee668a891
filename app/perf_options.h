/* SPDX-License-Identifier: BSD-3-Clause */
/* What was asked of bh-perf. */
#ifndef APP_PERF_OPTIONS_H
#define APP_PERF_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <bellhop/nvme.h>
#include <bellhop/parse.h>

#include "common.h"

#define PERF_MAX_SIZES 16
#define PERF_MAX_LOADS 16
#define PERF_MIN_BYTES 512u
#define PERF_MAX_BYTES (64u << 20)

enum perf_latency {
	PERF_LATENCY_OFF,
	PERF_LATENCY_CHEAP,
	PERF_LATENCY_EXACT,
};

struct perf_size {
	uint32_t bytes;
	uint32_t share; /* of all shares */
};

/* What a queue does. */
struct perf_load {
	const char *name;
	bool random;
	unsigned int read_percent;
};

struct perf_options {
	unsigned int depth;
	struct perf_size size[PERF_MAX_SIZES];
	unsigned int num_sizes;
	uint32_t bytes;			       /* the largest */
	uint32_t grain;			       /* what all of them are multiples of */
	struct perf_load load[PERF_MAX_LOADS]; /* of the queues, in turn */
	unsigned int num_loads;
	double zipf; /* of random loads; 0: uniform */
	enum perf_latency latency;
	bool verify;
	uint64_t run_ns;
	uint64_t warm_ns; /* before that, and in no figure */
	uint64_t rate;	  /* requests per second and queue; 0: as fast as it goes */
	struct bh_cpuset cpus;
	unsigned int queues; /* per core and namespace */
	bool json;
	bool histogram;
	bool write_data; /* writing to a pci: device is meant */
	enum bh_nvme_cmb cmb;
	enum bh_nvme_pi pi;
	bool cmb_lists;
	char **addresses;
	unsigned int num_addresses;
};

/* -1: go on; else the exit code. */
int perf_options_parse(struct app *app, int argc, char **argv, struct perf_options *opts);

const char *perf_latency_str(enum perf_latency latency);

static inline bool perf_load_writes(const struct perf_load *load)
{
	return load->read_percent < 100;
}

/* Any of the loads. */
static inline bool perf_writes(const struct perf_options *opts)
{
	for (unsigned int i = 0; i < opts->num_loads; i++)
		if (perf_load_writes(&opts->load[i]))
			return true;
	return false;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-perf's parts. Options say what was asked; set-up opens devices, creates queues and deals them
 * out to workers; each worker drives its queues on its own core and counts; the report adds up.
 *
 * A lane is one queue pair on one namespace on one core: it has a single owner from start to end,
 * so nothing is locked or shared while the clock runs but the counters that the progress line peeks
 * at.
 */
#ifndef APP_PERF_H
#define APP_PERF_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <bellhop/clock.h>
#include <bellhop/histogram.h>
#include <bellhop/parse.h>

#include "common.h"

#define PERF_MAX_DEVICES 64
#define PERF_REAP 64 /* completions taken at a time */

struct perf_options {
	unsigned int depth;
	uint32_t bytes;
	bool random;
	unsigned int read_percent;
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

struct perf_stats {
	uint64_t ios;
	uint64_t errors;
	struct bh_histogram latency; /* ns */
};

struct perf_zones;
struct perf_rate;

/* Where the next request goes. */
struct perf_aim {
	uint64_t random; /* the generator's state */
	uint64_t next;	 /* sequential position, in slots */
};

struct perf_lane {
	/* hot */
	struct bh_nvme_queue *q;
	struct bh_nvme_ns *ns;
	uint64_t *started;	  /* ticks, by slot */
	struct perf_zones *zones; /* NULL: plain reads and writes */
	struct perf_rate *rate;	  /* NULL: as fast as it goes */
	uint8_t *data;		  /* depth buffers of `bytes`, in the pool */
	uint32_t blocks;	  /* per request */
	bool options;		  /* calls with options, in rw */
	bool mixed;		  /* reads and writes */
	size_t stride;		  /* between buffers */
	uint32_t in_flight;
	uint64_t slots; /* of `blocks` in the namespace */
	struct perf_aim aim;
	uint64_t read_below;		   /* a random 63-bit number below this means read */
	uint64_t ios, errors;		   /* __atomic: the progress line reads them */
	struct bh_nvme_rw next[PERF_REAP]; /* requests in the making */
	size_t iov_bytes;		   /* with options: of the data's vector */
	struct bh_nvme_rw_opts rw;
	/* cold */
	uint64_t counted; /* ios when time was up: what rates are made of */
	bool lost;	  /* the controller is gone */
	uint16_t first_error;
	struct bh_histogram latency;
	unsigned int device; /* index */
	unsigned int cpu;
	struct perf_lane *next_of_worker;
};

struct perf_worker {
	pthread_t thread;
	unsigned int cpu;
	const struct perf *perf;
	struct perf_lane *lanes;
	uint64_t begin_ns;   /* when this worker started, or was warm */
	uint64_t elapsed_ns; /* from there to its stop */
};

/* Somebody wants the device back: heard on a thread of the backend. */
struct perf_removal {
	struct bh_event_listener listener; /* first */
	uint32_t asked;			   /* __atomic */
};

struct perf {
	struct app *app;
	const struct perf_options *opts;
	struct bh_clock clock;
	struct app_nvme device[PERF_MAX_DEVICES];
	struct perf_removal removal[PERF_MAX_DEVICES];
	unsigned int num_devices;
	struct perf_lane *lanes;
	unsigned int num_lanes;
	struct perf_worker *workers;
	unsigned int num_workers;
	pthread_mutex_t start; /* held by the main thread until every worker exists */
	uint32_t stop;	       /* __atomic: set by the main thread */
	uint32_t warm;	       /* __atomic: from now on it counts */
};

/* Opens everything. 0 or an exit code, said on stderr. perf_close() in every case. */
int perf_open(struct perf *perf, struct app *app, const struct perf_options *opts);
void perf_close(struct perf *perf);

/* Whether the namespace's format goes with the options. 0 or an exit code, said. */
int perf_check_format(const struct perf *perf, const struct app_nvme *n,
		      const struct bh_nvme_ns *ns);
/* Of one request with all that may go with it, rounded up to pages. */
size_t perf_buffer_bytes(const struct perf_options *opts, const struct bh_nvme_ns *ns);
/* How a lane's requests look; its namespace is set. */
void perf_lane_format(struct perf_lane *lane, const struct perf_options *opts);
int perf_submit_options(struct perf_lane *lane, const struct bh_nvme_rw *rw);

void *perf_worker_run(void *worker);

/*
 * Zoned namespaces that are written. check: whether what was asked for can be done, by so many
 * lanes; 0 or an exit code, said. open: which zones are the lane's, `part` of `parts`.
 */
int perf_zoned_check(const struct perf *perf, const char *address, const struct bh_nvme_ns *ns,
		     unsigned int lanes);
int perf_zoned_open(struct perf *perf, struct perf_lane *lane, unsigned int part,
		    unsigned int parts);
void perf_zoned_close(struct perf_lane *lane);

/* At a fixed rate. open: 0 or an exit code, said. */
int perf_rate_open(struct perf *perf, struct perf_lane *lane);
void perf_rate_close(struct perf_lane *lane);

/* Once a second on a terminal. */
void perf_progress(const struct perf *perf, unsigned int second, uint64_t *last_ios);
void perf_report(const struct perf *perf);

#endif

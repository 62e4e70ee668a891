/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-perf's parts. Options say what was asked; set-up opens devices, creates queues and deals them
 * out to workers; each worker drives its queues on its own core and counts; the report adds up.
 *
 * A lane is one queue pair on one namespace on one core: it has a single owner from start to end,
 * so nothing is locked or shared while the clock runs but the counters that the progress line peeks
 * at. How it makes its requests is decided once, at set-up: by functions made for what was asked
 * (struct perf_kind), so that nobody pays for what he did not ask for.
 */
#ifndef APP_PERF_H
#define APP_PERF_H

#include <stdbool.h>
#include <stdint.h>

#include <bellhop/clock.h>
#include <bellhop/histogram.h>
#include <bellhop/parse.h>

#include "common.h"
#include "crew.h"
#include "perf_options.h"

#define PERF_MAX_DEVICES 64
#define PERF_REAP 64 /* completions taken at a time */

struct perf;
struct perf_lane;
struct perf_zones;
struct perf_slots;
struct perf_verify;
struct zipf;

/* How a lane works. */
struct perf_kind {
	/* Fills the queue. */
	void (*start)(struct perf_lane *lane, const struct perf *perf);
	/* Reaps what is there; submits in its place while `go`. */
	void (*step)(struct perf_lane *lane, const struct perf *perf, bool go);
	/* Behind the last request; may be NULL. */
	void (*end)(struct perf_lane *lane, const struct perf *perf);
};

enum perf_place {
	PERF_UNIFORM,
	PERF_ZIPF,
	PERF_SEQUENTIAL,
};

/* Where the next request goes. */
struct perf_aim {
	uint64_t random; /* the generator's state */
	uint64_t next;	 /* sequential position, in blocks */
};

/* Requests of one size. */
struct perf_extent {
	uint64_t slots;	 /* of them in the lane's part of the namespace */
	uint32_t blocks; /* of one */
	uint32_t below;	 /* a random 32-bit number up to this one means this size, or one before */
};

/* Latencies by powers of two of ticks, four steps each: coarse, and 2 KiB instead of 30. */
#define PERF_COARSE_BUCKETS 256

struct perf_coarse {
	uint64_t sum; /* ticks */
	uint64_t count[PERF_COARSE_BUCKETS];
};

/* What a queue's polling came to. */
struct perf_polls {
	uint64_t count, empty, completions;
};

struct perf_lane {
	/* hot */
	struct bh_nvme_queue *q;
	struct bh_nvme_ns *ns;
	const struct perf_kind *kind;
	uint64_t *started; /* ticks, by slot */
	uint8_t *data;	   /* depth buffers of the largest request, in the pool */
	size_t stride;	   /* between buffers */
	uint64_t slots;	   /* of `blocks` in the lane's part */
	uint64_t total;	   /* blocks of its part: all of the namespace, but to verify */
	uint32_t blocks;   /* per request; the largest */
	uint32_t in_flight;
	bool options; /* calls with options, in rw */
	bool mixed;   /* reads and writes */
	struct perf_aim aim;
	uint64_t read_below;	   /* a random 63-bit number below this means read */
	uint64_t ios, errors;	   /* __atomic: the progress line reads them */
	uint64_t blocks_done;	   /* __atomic: where sizes differ */
	uint32_t *slot_blocks;	   /* where sizes differ: of the request in a slot */
	struct zipf *zipf;	   /* of pieces of `blocks` */
	struct perf_zones *zones;  /* see perf_zoned.c */
	struct perf_slots *single; /* see perf_single.c */
	struct perf_verify *verify;
	struct bh_nvme_rw next[PERF_REAP]; /* requests in the making */
	struct perf_extent extent[PERF_MAX_SIZES];
	unsigned int num_extents;
	struct bh_nvme_rw_opts rw;
	uint32_t block_bytes;	 /* in the buffer: data, and metadata that lie between them */
	uint32_t data_bytes;	 /* of a block */
	uint32_t separate_bytes; /* with options: metadata of a block behind all data */
	struct perf_coarse coarse;
	struct bh_histogram latency; /* ns */
	/* cold */
	enum perf_place place;
	uint64_t base;			  /* LBA of the lane's part */
	uint64_t counted, counted_blocks; /* when time was up: what rates are made of */
	uint64_t behind;		  /* at a rate: due, but not sent when time was up */
	struct perf_polls polls;
	bool lost; /* the controller is gone */
	uint16_t first_error;
	unsigned int device; /* index */
	unsigned int load;   /* index */
	struct perf_worker *worker;
	struct perf_lane *next_of_worker;
};

/* Of a worker's thread. */
struct perf_cpu {
	uint64_t wall_ns, user_ns, system_ns, preempted;
};

struct perf_worker {
	struct app_worker base; /* first */
	const struct perf *perf;
	struct perf_lane *lanes;
	struct perf_cpu begin; /* when it started, or was warm */
	struct perf_cpu used;  /* from there until time was up */
	uint64_t up_ticks;     /* when it was */
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
	struct app_crew crew;
	uint32_t warm; /* __atomic: from now on it counts */
	uint64_t run;  /* tells what this run writes from others: see perf_verify.c */
	uint64_t warm_at_ns, last_ios, last_bytes; /* of the main thread */
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

void perf_worker_run(struct app_worker *worker);

/* perf_loop.c: the plain loop for this lane. */
const struct perf_kind *perf_loop_kind(const struct perf_lane *lane,
				       const struct perf_options *opts);

/*
 * perf_zoned.c: zoned namespaces that are written. check: whether what was asked for can be done, by
 * so many lanes; 0 or an exit code, said. open: which zones are the lane's, `part` of `parts`.
 */
int perf_zoned_check(const struct perf *perf, const char *address, const struct bh_nvme_ns *ns,
		     unsigned int lanes);
int perf_zoned_open(struct perf *perf, struct perf_lane *lane, unsigned int part,
		    unsigned int parts);
void perf_zoned_close(struct perf_lane *lane);

/* perf_single.c: request by request, at a rate or verified. open: 0 or an exit code, said. */
int perf_single_open(struct perf *perf, struct perf_lane *lane);
void perf_single_close(struct perf_lane *lane);

/* Once a second on a terminal. */
void perf_progress(struct perf *perf, unsigned int second);
void perf_report(const struct perf *perf);

#endif

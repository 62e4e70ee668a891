/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-ring: the ceiling. Two pinned threads pass bare 64-byte entries and 16-byte completions
 * through shared rings shaped like an NVMe queue pair, and do nothing else: no commands are
 * decoded, no addresses translated, no data moved.
 *
 * The host stores entries, rings the tail doorbell once per batch, polls the phase of the next
 * completion, and rings the head doorbell once per batch. The device polls the tail doorbell, loads
 * all 64 bytes of each entry, and stores one completion each. Doorbells lie on cache line pairs of
 * their own. Nothing faster can be had of a queue pair between these two CPUs, so every figure of
 * bh-perf is quoted as a share of this one, measured in the same minute: machines, and neighbours,
 * differ.
 *
 * Invariants: the host never has more than `depth` entries outstanding and rings have more than
 * `depth` slots, so no slot is written before its last content was consumed. Each entry carries a
 * serial number; the host sums up what it sent, the device what it loaded, and a run whose sums
 * differ is an error: the loads really happen.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bellhop/barrier.h>
#include <bellhop/clock.h>
#include <bellhop/parse.h>

#include "bench.h"

#define BATCH \
	32 /* entries taken before their completions are stored, so that completions of a line \
	      travel together */
#define LINES BENCH_LINES

typedef uint64_t vec __attribute__((vector_size(16)));

struct entry {
	vec v[4];
};

struct completion {
	uint64_t serial;
	uint64_t word; /* bit 48 is the phase, where an NVMe completion has it */
};

#define PHASE_SHIFT 48

struct rings {
	struct entry *sq;
	struct completion *cq;
	uint32_t *sq_tail; /* doorbells: free-running counts */
	uint32_t *cq_head;
	uint32_t mask;
	void *memory;
	size_t bytes;
};

struct run {
	struct rings rings;
	unsigned int depth;
	int cpu[2];
	int error[2]; /* of pinning */
	pthread_barrier_t start;
	uint32_t stop __attribute__((aligned(LINES))); /* __atomic */
	uint32_t device_stop __attribute__((aligned(LINES)));
	uint64_t done __attribute__((aligned(LINES))); /* the host's results */
	uint64_t elapsed_ns;
	uint64_t sent_sum;
	uint64_t loaded_sum __attribute__((aligned(LINES))); /* the device's */
};

/* ---- host ---- */

/* Stores `count` entries behind `tail` and rings the doorbell. */
static inline uint32_t send(const struct rings *r, uint32_t tail, uint32_t count, uint64_t *serial,
			    uint64_t *sum)
{
	uint64_t number = *serial, total = *sum;

	for (uint32_t i = 0; i < count; i++, tail++, number++) {
		struct entry *e = &r->sq[tail & r->mask];

		e->v[0] = (vec){ number, 1 };
		e->v[1] = (vec){ 2, 3 };
		e->v[2] = (vec){ 4, 5 };
		e->v[3] = (vec){ 6, number };
		total += 2 * number + 1 + 2 + 3 + 4 + 5 + 6;
	}
	*serial = number;
	*sum = total;
	bh_store_release_u32(r->sq_tail, tail);
	return tail;
}

/* Takes completions from `head` on; how many. */
static inline uint32_t reap(const struct rings *r, uint32_t head, uint64_t *check)
{
	uint32_t n = 0;

	for (;; n++) {
		uint32_t at = head + n;
		const struct completion *c = &r->cq[at & r->mask];
		uint64_t phase = (at & (r->mask + 1)) == 0; /* the first lap writes ones */

		if ((__atomic_load_n(&c->word, __ATOMIC_ACQUIRE) >> PHASE_SHIFT & 1) != phase)
			return n;
		*check += c->serial;
	}
}

static void *host(void *arg)
{
	struct run *run = arg;
	const struct rings r = run->rings;
	uint64_t serial = 0, sum = 0, check = 0, done = 0;
	uint32_t tail = 0, head = 0;

	run->error[0] = bench_pin(run->cpu[0]);
	pthread_barrier_wait(&run->start);
	uint64_t begin = bh_now_ns();
	tail = send(&r, tail, run->depth, &serial, &sum);
	/* At least one: on a busy machine the device may not run before the time is up. */
	while (!__atomic_load_n(&run->stop, __ATOMIC_RELAXED) || done == 0) {
		uint32_t n = reap(&r, head, &check);

		if (n == 0)
			continue;
		head += n;
		done += n;
		tail = send(&r, tail, n, &serial, &sum);
		bh_store_release_u32(r.cq_head, head);
	}
	run->elapsed_ns = bh_now_ns() - begin;
	run->done = done;
	while (head != tail)
		head += reap(&r, head, &check);
	run->sent_sum = sum;
	/* Completions carry the serial numbers back: all of them came, each once. */
	if (check != serial * (serial - 1) / 2)
		run->sent_sum = ~sum;
	__atomic_store_n(&run->device_stop, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* ---- device ---- */

/* Loads up to BATCH entries, then stores their completions. */
static inline uint32_t serve(const struct rings *r, uint32_t head, uint32_t count, vec *sum)
{
	uint64_t serial[BATCH];
	vec total = *sum;

	for (uint32_t i = 0; i < count; i++) {
		const struct entry *e = &r->sq[(head + i) & r->mask];
		vec first = e->v[0];

		serial[i] = first[0];
		total += first + e->v[1] + e->v[2] + e->v[3];
	}
	*sum = total;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = head + i;
		struct completion *c = &r->cq[at & r->mask];
		uint64_t phase = (at & (r->mask + 1)) == 0;

		c->serial = serial[i];
		bh_store_release_u64(&c->word, phase << PHASE_SHIFT | (at & r->mask));
	}
	return head + count;
}

static void *device(void *arg)
{
	struct run *run = arg;
	const struct rings r = run->rings;
	vec sum = { 0, 0 };
	uint32_t head = 0;

	run->error[1] = bench_pin(run->cpu[1]);
	pthread_barrier_wait(&run->start);
	for (;;) {
		uint32_t left = __atomic_load_n(r.sq_tail, __ATOMIC_ACQUIRE) - head;

		if (left == 0) {
			if (__atomic_load_n(&run->device_stop, __ATOMIC_RELAXED))
				break;
			continue;
		}
		for (; left > 0; left -= left < BATCH ? left : BATCH)
			head = serve(&r, head, left < BATCH ? left : BATCH, &sum);
	}
	run->loaded_sum = sum[0] + sum[1];
	return NULL;
}

/* ---- a run ---- */

static int make_rings(unsigned int depth, struct rings *r)
{
	uint32_t slots = 2;
	size_t sq_bytes, cq_bytes;

	while (slots <= depth)
		slots *= 2;
	sq_bytes = ((size_t)slots * sizeof(struct entry) + 4095) & ~(size_t)4095;
	cq_bytes = ((size_t)slots * sizeof(struct completion) + 4095) & ~(size_t)4095;
	r->mask = slots - 1;
	r->bytes = sq_bytes + cq_bytes + 4096;
	r->memory = bench_map(r->bytes);
	if (!r->memory)
		return -errno;
	r->sq = r->memory;
	r->cq = (void *)((char *)r->memory + sq_bytes);
	r->sq_tail = (void *)((char *)r->memory + sq_bytes + cq_bytes);
	r->cq_head = (void *)((char *)r->memory + sq_bytes + cq_bytes + LINES);
	return 0;
}

/* Both threads from a common start, for so long. 0 or an errno. */
static int go(struct run *run, uint64_t ns)
{
	pthread_barrier_init(&run->start, NULL, 2);
	int error = bench_run_two(host, device, run, &run->stop, ns);
	pthread_barrier_destroy(&run->start);
	if (error)
		return error;
	return run->error[0] ? run->error[0] : run->error[1];
}

/* 0, or 1 with the reason said. */
static int measure(const struct bench_options *opts, unsigned int depth, double *rate)
{
	struct run *run = aligned_alloc(LINES, sizeof(*run));
	int error;

	if (!run) {
		fputs("bench-ring: out of memory\n", stderr);
		return 1;
	}
	memset(run, 0, sizeof(*run));
	run->depth = depth;
	run->cpu[0] = bh_cpuset_first(&opts->cpus);
	run->cpu[1] = bh_cpuset_last(&opts->cpus);
	error = -make_rings(depth, &run->rings);
	if (!error) {
		error = go(run, opts->run_ns);
		munmap(run->rings.memory, run->rings.bytes);
	}
	if (error)
		fprintf(stderr, "bench-ring: depth %u: %s\n", depth, strerror(error));
	else if (run->sent_sum != run->loaded_sum)
		error = fprintf(stderr, "bench-ring: depth %u: entries were lost or changed\n",
				depth);
	*rate = error ? 0 : (double)run->done * 1e9 / (double)run->elapsed_ns;
	free(run);
	return error ? 1 : 0;
}

/* ---- options and output ---- */

static const char help[] =
	"usage: bench-ring [-q DEPTH,...] [-t SECONDS] [-c CPU,CPU] [--json]\n"
	"\n"
	"Passes bare 64-byte entries and 16-byte completions between two CPUs through shared rings "
	"shaped like an NVMe\n"
	"queue pair: the ceiling that figures of bh-perf are quoted against.\n"
	"\n"
	"  -q DEPTH,...  entries outstanding, 1 to 65535 each (default 1,32,128,512)\n"
	"  -t SECONDS    per depth (default 1)\n"
	"  -c CPUS       exactly two (default: the lowest and the highest allowed)\n"
	"  --json        one object instead of text\n"
	"  --help, --version\n"
	"\n"
	"example: bench-ring -c 0,1 -q 1,128 -t 3\n";

int main(int argc, char **argv)
{
	struct bench_options opts = { .name = "bench-ring",
				      .help = help,
				      .depth = { 1, 32, 128, 512 },
				      .num_depths = 4,
				      .run_ns = 1000000000 };
	int code = bench_options_parse(argc, argv, &opts);

	if (code >= 0)
		return code;
	return bench_depths(&opts, "bare rings", "entries_per_s", measure);
}

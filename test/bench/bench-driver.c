/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-driver: the host's side alone. Our driver on one CPU, on the other a controller that does
 * nothing but complete: it loads the 64 bytes of each entry and stores a completion, as the device
 * of bench-ring does, and neither decodes, translates nor moves anything. What the pair makes is
 * what the driver allows.
 *
 * The queue is one that was lent (bh_nvme_queue_open()): rings and doorbells lie in a memfd of
 * ours, and there is no controller behind them. The host's loop is the shortest that an application
 * can have: take an array of results, submit as many again at random places.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bellhop/barrier.h>
#include <bellhop/clock.h>
#include <bellhop/nvme.h>

#include "bench.h"

#define BATCH 32 /* as in bench-ring */
#define REAP 64
#define BLOCKS (1ull << 31) /* of 512 bytes */
#define BYTES 4096u
#define DSTRD 5 /* doorbells on line pairs of their own */
#define LIST_BYTES 256u
#define PAGE 4096ull
#define MAX_DEPTH 32768u

typedef uint64_t vec __attribute__((vector_size(16)));

struct rig {
	uint8_t *memory; /* SQ, CQ, lists, doorbells */
	size_t bytes;
	uint32_t entries, depth;
	uint8_t *sq, *cq;
	uint32_t *bell[2];
	uint8_t *data;
	struct bh_iova_map map;
	struct bh_nvme_queue *q;
	struct bh_nvme_ns *ns;
	struct bh_nvme_rw next[REAP];
	uint64_t random;
	int cpu[2];
	int error[2];
	pthread_barrier_t start;
	uint64_t done, failed, elapsed_ns;
	uint64_t loaded;				     /* so that the loads happen */
	uint32_t stop __attribute__((aligned(BENCH_LINES))); /* __atomic */
	uint32_t device_stop __attribute__((aligned(BENCH_LINES)));
};

/* ---- the controller ---- */

/* Loads up to BATCH entries from `head` on, then stores their completions. How many. */
static inline uint32_t serve(const struct rig *r, uint32_t head, uint32_t tail, uint32_t *phase,
			     vec *sum)
{
	uint32_t left = tail >= head ? tail - head : r->entries - head, i;
	uint32_t cid[BATCH], n = left < BATCH ? left : BATCH;
	vec total = *sum;

	for (i = 0; i < n; i++) {
		const vec *e = (const vec *)(const void *)(r->sq + (size_t)(head + i) * 64);
		vec first = e[0];

		cid[i] = (uint32_t)first[0] >> 16;
		total += first + e[1] + e[2] + e[3];
	}
	*sum = total;
	for (i = 0; i < n; i++) {
		uint8_t *cqe = r->cq + (size_t)(head + i) * 16;
		uint32_t next = head + i + 1 == r->entries ? 0 : head + i + 1;

		bh_store_u64(cqe, 0);
		bh_store_u32(cqe + 8, next | 1u << 16);
		bh_store_release_u32(cqe + 12, cid[i] | *phase << 16);
	}
	if (head + n == r->entries)
		*phase ^= 1;
	return n;
}

static void *device(void *arg)
{
	struct rig *r = arg;
	uint32_t head = 0, phase = 1;
	vec sum = { 0, 0 };

	r->error[1] = bench_pin(r->cpu[1]);
	pthread_barrier_wait(&r->start);
	for (;;) {
		uint32_t tail = bh_load_acquire_u32(r->bell[0]);

		if (tail == head && __atomic_load_n(&r->device_stop, __ATOMIC_RELAXED))
			break;
		while (head != tail) {
			head += serve(r, head, tail, &phase, &sum);
			head = head == r->entries ? 0 : head;
		}
	}
	r->loaded = sum[0] + sum[1];
	return NULL;
}

/* ---- the host ---- */

static inline void aim(struct rig *r, struct bh_nvme_rw *rw, uintptr_t slot)
{
	r->random = r->random * 6364136223846793005ull + 1;
	rw->lba = (uint64_t)(((unsigned __int128)r->random * (BLOCKS / (BYTES / 512))) >> 64) *
		  (BYTES / 512);
	rw->buf = r->data + slot * BYTES;
	rw->arg = (void *)slot;
}

/* How many came back; as many go out while `go`. */
static inline unsigned int step(struct rig *r, bool go)
{
	struct bh_nvme_result done[REAP];
	int n = bh_nvme_queue_reap(r->q, done, REAP), i;

	if (n < 0)
		r->failed++;
	if (n <= 0)
		return 0;
	for (i = 0; i < n; i++) {
		r->failed += done[i].status != BH_NVME_SC_SUCCESS;
		aim(r, &r->next[i], (uintptr_t)done[i].arg);
	}
	if (go) {
		r->failed += bh_nvme_rw_burst(r->q, r->ns, r->next, (unsigned int)n, NULL) != n;
		bh_nvme_queue_flush(r->q);
	}
	return (unsigned int)n;
}

static void fill(struct rig *r)
{
	uintptr_t slot;

	for (slot = 0; slot < r->depth; slot++) {
		aim(r, &r->next[0], slot);
		r->failed += bh_nvme_rw_burst(r->q, r->ns, r->next, 1, NULL) != 1;
	}
	bh_nvme_queue_flush(r->q);
}

static void *host(void *arg)
{
	struct rig *r = arg;
	uint64_t begin;

	r->error[0] = bench_pin(r->cpu[0]);
	pthread_barrier_wait(&r->start);
	begin = bh_now_ns();
	fill(r);
	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED) && !r->failed)
		r->done += step(r, true);
	r->elapsed_ns = bh_now_ns() - begin;
	while (bh_nvme_queue_outstanding(r->q) && !r->failed)
		step(r, false);
	__atomic_store_n(&r->device_stop, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* ---- a run ---- */

static uint64_t pages(uint64_t bytes)
{
	return (bytes + PAGE - 1) / PAGE * PAGE;
}

static int open_queue(struct rig *r)
{
	struct bh_nvme_queue_desc desc = {
		.version = BH_NVME_DESC_VERSION,
		.qid = 1,
		.entries = (uint16_t)r->entries,
		.depth = r->depth,
		.mdts = 32 * BYTES,
		.page_size = PAGE,
		.dstrd = DSTRD,
		.sgl = 1,
		.list_bytes = LIST_BYTES,
		.sq_iova = 1u << 30,
		.cq_iova = 2u << 30,
		.list_iova = 3u << 30,
		.ns_count = 1,
		.ns = { { .nsid = 1, .block_shift = 9, .blocks = BLOCKS } },
	};
	int fds[3] = { memfd_create("bench-driver", MFD_CLOEXEC), -1, -1 };

	desc.cq_offset = pages(r->entries * 64ull);
	desc.list_offset = desc.cq_offset + pages(r->entries * 16ull);
	desc.doorbell_offset = desc.list_offset + pages((uint64_t)r->depth * LIST_BYTES);
	r->bytes = desc.doorbell_offset + PAGE;
	if (fds[0] < 0 || ftruncate(fds[0], (off_t)r->bytes) != 0)
		return -errno;
	r->memory =
		mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fds[0], 0);
	if (r->memory == MAP_FAILED) {
		r->memory = NULL;
		return -errno;
	}
	fds[1] = dup(fds[0]);
	r->sq = r->memory;
	r->cq = r->memory + desc.cq_offset;
	r->bell[0] = (uint32_t *)(void *)(r->memory + desc.doorbell_offset);
	r->bell[1] = r->bell[0] + (1u << DSTRD);
	return bh_nvme_queue_open(&desc, fds, &r->map, NULL, NULL, &r->q);
}

static int open_rig(struct rig *r)
{
	unsigned int i;
	int rc = bh_iova_map_init(&r->map);

	r->data = bench_map((size_t)r->depth * BYTES);
	if (!rc && !r->data)
		rc = -errno;
	rc = rc ? rc : bh_iova_map_add(&r->map, r->data, (size_t)r->depth * BYTES, 4ull << 30);
	rc = rc ? rc : open_queue(r);
	if (rc)
		return rc;
	r->ns = bh_nvme_queue_ns(r->q, 1);
	for (i = 0; i < REAP; i++)
		r->next[i] = (struct bh_nvme_rw){ .blocks = BYTES / 512 };
	return 0;
}

static void close_rig(struct rig *r)
{
	bh_nvme_queue_close(r->q);
	if (r->memory)
		munmap(r->memory, r->bytes);
	if (r->data)
		munmap(r->data, (size_t)r->depth * BYTES);
	bh_iova_map_fini(&r->map);
	free(r);
}

static int go(struct rig *r, uint64_t ns)
{
	pthread_barrier_init(&r->start, NULL, 2);
	int error = bench_run_two(host, device, r, &r->stop, ns);
	pthread_barrier_destroy(&r->start);
	if (error)
		return error;
	return r->error[0] ? r->error[0] : r->error[1];
}

/* 0, or 1 with the reason said. */
static int measure(const struct bench_options *opts, unsigned int depth, double *rate)
{
	struct rig *r = aligned_alloc(BENCH_LINES,
				      (sizeof(*r) + BENCH_LINES - 1) / BENCH_LINES * BENCH_LINES);
	int error;

	if (!r) {
		fputs("bench-driver: out of memory\n", stderr);
		return 1;
	}
	memset(r, 0, sizeof(*r));
	r->depth = depth;
	r->entries = depth + depth / 4 + 1; /* as the driver makes its rings */
	r->cpu[0] = bh_cpuset_last(&opts->cpus);
	r->cpu[1] = bh_cpuset_first(&opts->cpus);
	error = -open_rig(r);
	if (!error)
		error = go(r, opts->run_ns);
	if (error)
		fprintf(stderr, "bench-driver: depth %u: %s\n", depth, strerror(error));
	else if (r->failed || !r->loaded)
		error = fprintf(stderr, "bench-driver: depth %u: requests failed\n", depth);
	*rate = error ? 0 : (double)r->done * 1e9 / (double)r->elapsed_ns;
	close_rig(r);
	return error ? 1 : 0;
}

static const char help[] =
	"usage: bench-driver [-q DEPTH,...] [-t SECONDS] [-c CPU,CPU] [--json]\n"
	"\n"
	"What the NVMe driver does by itself: against a controller that completes as fast as bare "
	"rings go.\n"
	"\n"
	"  -q DEPTH,...  requests outstanding (default 1,32,128,512)\n"
	"  -t SECONDS    per depth (default 1)\n"
	"  -c CPUS       exactly two (default: the lowest and the highest allowed); the driver "
	"runs "
	"on the higher\n"
	"  --json        one object instead of text\n"
	"  --help, --version\n"
	"\n"
	"example: bench-driver -c 0,1 -q 128\n";

int main(int argc, char **argv)
{
	struct bench_options opts = { .name = "bench-driver",
				      .help = help,
				      .depth = { 1, 32, 128, 512 },
				      .num_depths = 4,
				      .run_ns = 1000000000 };
	int code = bench_options_parse(argc, argv, &opts);

	if (code >= 0)
		return code;
	for (unsigned int i = 0; i < opts.num_depths; i++) {
		if (opts.depth[i] > MAX_DEPTH) {
			fprintf(stderr, "bench-driver: -q: at most %u\n", MAX_DEPTH);
			return 2;
		}
	}
	return bench_depths(&opts, "the driver by itself", "requests_per_s", measure);
}

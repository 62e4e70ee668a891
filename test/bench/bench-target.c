/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-target: the target's side alone. A client that only rings: it fills a submission queue once
 * with requests that the target has to check, translate and do like any others, and from then on
 * gives it the same entries again, by the tail doorbell. Of completions it looks at one in a
 * quarter of what is outstanding. What the pair makes is what the target allows.
 *
 * The queue is made by our driver and described as for lending (bh_nvme_queue_describe()); then the
 * driver leaves it alone. With -i there are other queues beside it in which nothing happens.
 *
 * Invariants: no more is outstanding than was asked for, which is less than the rings hold; each
 * completion that is looked at has its phase and success. Before the driver takes the queue back
 * the completion queue is zeroed, so that it finds nothing there that it did not ask for.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bellhop/barrier.h>
#include <bellhop/clock.h>
#include <bellhop/dma.h>
#include <bellhop/nvme.h>

#include "bench.h"
#include "bench_client.h"

#define MAX_BYTES (128u << 10)
#define PAGE 4096u
#define PATIENCE_NS 5000000000ull /* for the last completions */
#define CLOCK_EVERY 256u	  /* looks at the ring between looks at the clock */

struct client {
	const struct bench_options *opts;
	struct bench_client at;
	struct bh_nvme_queue **queue; /* the one that rings, then the idle ones */
	uint8_t *data;
	/* The one that rings. */
	struct bh_nvme_cmd *sq;
	uint8_t *cq;
	uint32_t entries, depth, chunk;
	uint32_t *tail_bell, *head_bell;
	void *bells;
	size_t bells_bytes;
	uint32_t tail, head; /* of the rings */
	uint32_t phase;	     /* of the entry that ends the chunk */
};

/* ---- setting up ---- */

static int open_controller(struct client *c)
{
	size_t data = (size_t)c->opts->bytes * c->depth;
	/* Rings and lists of a queue are within 1 MiB and 4 KiB per request. */
	size_t rings = (c->opts->idle + 2) * ((1u << 20) + (size_t)c->depth * 4096);
	int rc = bench_client_open(&c->at, c->opts->address, data + rings);

	if (rc)
		return rc;
	c->data = bh_pool_zalloc(c->at.pool, data, PAGE);
	return c->data ? 0 : -ENOMEM;
}

static int open_queues(struct client *c)
{
	struct bh_nvme_queue_opts opts;
	unsigned int i;
	int rc = 0;

	c->queue = calloc(c->opts->idle + 1, sizeof(*c->queue));
	if (!c->queue)
		return -ENOMEM;
	bh_nvme_queue_opts_init(&opts);
	opts.depth = c->depth;
	opts.cmb = BH_NVME_CMB_OFF;
	for (i = 0; !rc && i <= c->opts->idle; i++)
		rc = bh_nvme_queue_create(c->at.nvme, &opts, &c->queue[i]);
	return rc;
}

/* Where the rings and the doorbells of queue 0 are in this process. */
static int find_rings(struct client *c)
{
	const struct bh_mem *mem = bh_pool_mem(c->at.pool);
	size_t page = (size_t)sysconf(_SC_PAGESIZE), in_page;
	struct bh_nvme_queue_desc desc;
	int fds[3], i, rc;

	rc = bh_nvme_queue_describe(c->queue[0], &desc, fds);
	if (rc)
		return rc;
	c->entries = desc.entries;
	c->sq = (void *)((uint8_t *)mem->va + (desc.sq_offset - mem->fd_offset));
	c->cq = (uint8_t *)mem->va + (desc.cq_offset - mem->fd_offset);
	in_page = desc.doorbell_offset % page;
	c->bells_bytes = in_page + (4u << desc.dstrd) + 4;
	c->bells = mmap(NULL, c->bells_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1],
			(off_t)(desc.doorbell_offset - in_page));
	rc = c->bells == MAP_FAILED ? -errno : 0;
	c->bells = rc ? NULL : c->bells;
	for (i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (rc)
		return rc;
	c->tail_bell = (uint32_t *)(void *)((uint8_t *)c->bells + in_page);
	c->head_bell = c->tail_bell + (1u << desc.dstrd);
	return 0;
}

/* A request of each slot of the ring, at a random place. */
static int fill_ring(struct client *c)
{
	uint32_t bytes = c->opts->bytes, size = bh_nvme_ns_block_size(c->at.ns),
		 blocks = bytes / size;
	struct bh_iova_cache cache = { 0 };
	uint64_t random = 1, slots, iova;
	uint32_t i;

	if (!blocks || bytes % size || bh_nvme_ns_blocks(c->at.ns) < blocks)
		return -EINVAL;
	slots = bh_nvme_ns_blocks(c->at.ns) / blocks;
	for (i = 0; i < c->entries; i++) {
		struct bh_nvme_cmd *cmd = &c->sq[i];
		uint8_t *buf = c->data + (size_t)(i % c->depth) * bytes;
		uint64_t lba;

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		lba = (uint64_t)(((unsigned __int128)random * slots) >> 64) * blocks;
		if (!bh_iova_translate(bh_device_iova_map(c->at.dev), &cache, buf, bytes, &iova))
			return -EFAULT;
		memset(cmd, 0, sizeof(*cmd));
		cmd->opc = c->opts->write ? BH_NVME_CMD_WRITE : BH_NVME_CMD_READ;
		cmd->cid = (uint16_t)i;
		cmd->nsid = bh_nvme_ns_id(c->at.ns);
		if (bytes > 2 * PAGE) { /* one data block descriptor, whose type is 0 */
			cmd->flags = 1u << 6;
			cmd->dptr.prp.prp1 = iova;
			cmd->dptr.prp.prp2 = bytes;
		} else {
			cmd->dptr.prp.prp1 = iova;
			cmd->dptr.prp.prp2 = bytes > PAGE ? iova + PAGE : 0;
		}
		cmd->cdw10 = (uint32_t)lba;
		cmd->cdw11 = (uint32_t)(lba >> 32);
		cmd->cdw12 = blocks - 1;
	}
	return 0;
}

/* ---- ringing ---- */

static inline uint32_t advance(const struct client *c, uint32_t at, uint32_t n)
{
	return at + n < c->entries ? at + n : at + n - c->entries;
}

static inline void ring_tail(struct client *c, uint32_t n)
{
	c->tail = advance(c, c->tail, n);
	/* Entries, and what was read of completions, before the doorbell. */
	bh_wmb_io();
	bh_store_release_u32(c->tail_bell, c->tail);
}

/* Has the next chunk ended? 1, 0, or -1: its last request failed. */
static inline int look(struct client *c)
{
	uint32_t last = advance(c, c->head, c->chunk - 1);
	/* The first entries of a lap have the phase of the lap. */
	uint32_t phase = last < c->head ? c->phase ^ 1 : c->phase;
	uint32_t dw3 = bh_load_acquire_u32(c->cq + (size_t)last * 16 + 12);

	if ((dw3 >> 16 & 1) != phase)
		return 0;
	if (dw3 >> 17)
		return -1;
	if (last < c->head || last + 1 == c->entries)
		c->phase ^= 1;
	c->head = advance(c, c->head, c->chunk);
	bh_store_release_u32(c->head_bell, c->head);
	return 1;
}

/* Rings for ns nanoseconds, then waits for what is outstanding. Requests done, or -1. */
static int64_t ring(struct client *c, uint64_t ns, uint64_t *elapsed)
{
	uint32_t out = c->depth / c->chunk * c->chunk;
	uint64_t begin = bh_now_ns(), deadline;
	int64_t done = 0;
	int rc = 0;

	ring_tail(c, out);
	do {
		for (unsigned int i = 0; rc >= 0 && i < CLOCK_EVERY; i++) {
			rc = look(c);
			if (rc <= 0)
				continue;
			done += c->chunk;
			ring_tail(c, c->chunk);
		}
		*elapsed = bh_now_ns() - begin;
	} while (rc >= 0 && *elapsed < ns);
	deadline = bh_now_ns() + PATIENCE_NS;
	while (rc >= 0 && out && bh_now_ns() < deadline) {
		rc = look(c);
		out -= rc > 0 ? c->chunk : 0;
	}
	return out ? -1 : done;
}

/* ---- a run ---- */

static void close_client(struct client *c)
{
	unsigned int i;

	if (c->cq)
		memset(c->cq, 0, (size_t)c->entries * 16);
	for (i = 0; c->queue && i <= c->opts->idle; i++)
		bh_nvme_queue_destroy(c->queue[i]);
	free(c->queue);
	if (c->bells)
		munmap(c->bells, c->bells_bytes);
	bench_client_close(&c->at);
}

static int measure(const struct bench_options *opts, unsigned int depth, double *rate)
{
	struct client c = { .opts = opts, .depth = depth, .phase = 1 };
	uint64_t elapsed = 0;
	int64_t done = 0;
	int rc;

	c.chunk = depth >= 4 ? depth / 4 : 1;
	rc = -bench_pin(bh_cpuset_first(&opts->cpus));
	rc = rc ? rc : open_controller(&c);
	rc = rc ? rc : open_queues(&c);
	rc = rc ? rc : find_rings(&c);
	rc = rc ? rc : fill_ring(&c);
	if (!rc) {
		done = ring(&c, opts->run_ns, &elapsed);
		rc = done < 0 ? -EIO : 0;
	}
	if (rc)
		fprintf(stderr, "bench-target: %s: depth %u: %s\n", opts->address, depth,
			done < 0 ? "requests fail, or are not answered" : strerror(-rc));
	close_client(&c);
	*rate = elapsed ? (double)done * 1e9 / (double)elapsed : 0;
	return rc ? 1 : 0;
}

static const char help[] =
	"usage: bench-target [-q DEPTH,...] [-s BYTES] [--write] [-i QUEUES] [-t SECONDS] [-c CPU] "
	"[--json] ADDRESS\n"
	"\n"
	"What a target does by itself: for a client that only rings. Of a vfio-user controller "
	"with "
	"mapped doorbells.\n"
	"\n"
	"  -q DEPTH,...  requests outstanding (default 1,32,128,512)\n"
	"  -s BYTES      of a request, 512 to 131072 (default 4096)\n"
	"  --write       writes; default: reads\n"
	"  -i QUEUES     so many more queues, in which nothing happens\n"
	"  -t SECONDS    per depth (default 1)\n"
	"  -c CPU        the client's (default: the highest allowed)\n"
	"  --json        one object instead of text\n"
	"  --help, --version\n"
	"\n"
	"example: bench-target -c 1 -q 128 /tmp/nvme0.sock\n";

int main(int argc, char **argv)
{
	struct bench_options opts = { .name = "bench-target",
				      .help = help,
				      .depth = { 1, 32, 128, 512 },
				      .num_depths = 4,
				      .run_ns = 1000000000,
				      .bytes = 4096,
				      .min_bytes = 512,
				      .max_bytes = MAX_BYTES,
				      .is_client = true };
	int code = bench_options_parse(argc, argv, &opts);

	if (code >= 0)
		return code;
	return bench_depths(&opts, "the target by itself", "requests_per_s", measure);
}

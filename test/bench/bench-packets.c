/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-packets: the ceiling of packets. Two pinned threads pass bare packets there and back
 * through shared rings shaped like a transmit and a receive queue, and do nothing else: no headers
 * are made or checked, no buffers allocated, no addresses translated.
 *
 * The host writes a packet of 64 bytes with its header of 12, as virtio has it, into a buffer of
 * the transmit ring, and a descriptor. The device polls the descriptor, loads the packet, stores it
 * into the buffer of the receive ring, and a descriptor. The host polls that and loads the packet.
 * So a packet crosses between the CPUs twice, with a descriptor of 16 bytes each time. Descriptors
 * carry a phase, as in packed virtqueues: there is no index to share. Nothing faster can be had of a
 * network device between these two CPUs that copies what it is given, so every figure of bh-pktgen
 * is quoted as a share of this one, measured in the same minute.
 *
 * Beside the mean stands the rate of the quickest 8192 packets: on a machine that others use too, the
 * mean is what both threads were let run, and that one is what the two CPUs can do.
 *
 * Invariants: the host never has more than `depth` packets outstanding and rings have more than
 * `depth` slots, so no slot is written before its last content was consumed: an answered packet was
 * loaded from its transmit slot, and the one before it in the same receive slot was loaded by the
 * host, which else would not have sent it. Packets carry serial numbers: a run whose sums differ is
 * an error, so the loads really happen.
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

#define HEADER 12 /* before each packet */
#define BATCH 32  /* packets taken at a time, so that descriptors of a line travel together */
#define MAX_BYTES 9000
#define SPAN \
	8192 /* packets of which the quickest are told: a machine shared with others is ours for so long */

typedef uint64_t vec __attribute__((vector_size(16), aligned(4), may_alias));

struct descriptor {
	uint64_t serial;
	uint64_t word; /* the length; bit 63 is the phase */
};

#define PHASE_SHIFT 63

struct ring {
	struct descriptor *slot;
	uint8_t *buffer; /* one each, of `stride` */
};

struct rings {
	struct ring tx, rx;
	uint32_t mask;
	uint32_t vecs;	/* of 16 bytes in a packet with its header */
	uint32_t bytes; /* of a packet with its header: vecs and 12 more */
	size_t stride;
	void *memory;
	size_t size;
};

struct run {
	struct rings rings;
	unsigned int depth;
	int cpu[2];
	int error[2]; /* of pinning */
	pthread_barrier_t start;
	uint32_t stop __attribute__((aligned(BENCH_LINES))); /* __atomic */
	uint32_t device_stop __attribute__((aligned(BENCH_LINES)));
	uint64_t done __attribute__((aligned(BENCH_LINES))); /* the host's results */
	uint64_t elapsed_ns;
	uint64_t quickest; /* ticks of SPAN packets */
	uint64_t sent_sum, back_sum;
	uint64_t loaded_sum __attribute__((aligned(BENCH_LINES))); /* the device's */
};

/* The first lap has ones, since a zeroed ring reads as not yet written. */
static inline uint64_t phase_of(const struct rings *r, uint32_t at)
{
	return (at & (r->mask + 1)) == 0;
}

static inline bool ready(const struct rings *r, const struct ring *ring, uint32_t at)
{
	uint64_t word = __atomic_load_n(&ring->slot[at & r->mask].word, __ATOMIC_ACQUIRE);

	return word >> PHASE_SHIFT == phase_of(r, at);
}

static inline void publish(const struct rings *r, const struct ring *ring, uint32_t at,
			   uint64_t serial)
{
	struct descriptor *d = &ring->slot[at & r->mask];

	d->serial = serial;
	bh_store_release_u64(&d->word, phase_of(r, at) << PHASE_SHIFT | r->bytes);
}

static inline uint8_t *buffer(const struct rings *r, const struct ring *ring, uint32_t at)
{
	return ring->buffer + (at & r->mask) * r->stride;
}

/* ---- host ---- */

static inline uint64_t fill(const struct rings *r, uint8_t *to, uint64_t number)
{
	uint32_t last = (uint32_t)number;

	for (uint32_t i = 0; i < r->vecs; i++)
		*(vec *)(void *)(to + 16 * i) = (vec){ number, i };
	memset(to + 16 * r->vecs, 0, HEADER - 4);
	memcpy(to + 16 * r->vecs + HEADER - 4, &last, 4);
	return r->vecs * number + r->vecs * (r->vecs - 1) / 2 + last;
}

static inline uint64_t sum_of(const struct rings *r, const uint8_t *from)
{
	vec total = { 0, 0 };
	uint64_t eight;
	uint32_t four;

	for (uint32_t i = 0; i < r->vecs; i++)
		total += *(const vec *)(const void *)(from + 16 * i);
	memcpy(&eight, from + 16 * r->vecs, 8);
	memcpy(&four, from + 16 * r->vecs + 8, 4);
	return total[0] + total[1] + eight + four;
}

static inline uint32_t send(const struct rings *r, uint32_t tail, uint32_t count, uint64_t *serial,
			    uint64_t *sum)
{
	uint64_t number = *serial, total = *sum;

	for (uint32_t i = 0; i < count; i++, tail++, number++) {
		total += fill(r, buffer(r, &r->tx, tail), number);
		publish(r, &r->tx, tail, number);
	}
	*serial = number;
	*sum = total;
	return tail;
}

/* Takes up to BATCH packets that came back, from `head` on; how many. */
static inline uint32_t receive(const struct rings *r, uint32_t head, uint64_t *sum, uint64_t *check)
{
	uint32_t n = 0;

	for (; n < BATCH && ready(r, &r->rx, head + n); n++) {
		*check += r->rx.slot[(head + n) & r->mask].serial;
		*sum += sum_of(r, buffer(r, &r->rx, head + n));
	}
	return n;
}

static void *host(void *arg)
{
	struct run *run = arg;
	const struct rings r = run->rings;
	uint64_t serial = 0, sum = 0, back = 0, check = 0, done = 0;
	uint32_t tail = 0, head = 0;

	run->error[0] = bench_pin(run->cpu[0]);
	pthread_barrier_wait(&run->start);
	uint64_t begin = bh_now_ns(), next = 0, since = bh_ticks();
	tail = send(&r, tail, run->depth, &serial, &sum);
	/* At least one: on a busy machine the device may not run before the time is up. */
	while (!__atomic_load_n(&run->stop, __ATOMIC_RELAXED) || done == 0) {
		uint32_t n = receive(&r, head, &back, &check);

		head += n;
		done += n;
		tail = send(&r, tail, n, &serial, &sum);
		if (done >= next) {
			uint64_t now = bh_ticks();

			if (next > 0 && now - since < run->quickest)
				run->quickest = now - since;
			since = now;
			next = done + SPAN;
		}
	}
	run->elapsed_ns = bh_now_ns() - begin;
	run->done = done;
	while (head != tail)
		head += receive(&r, head, &back, &check);
	run->sent_sum = sum;
	run->back_sum = back;
	/* Descriptors carry the serial numbers back: all of them came, each once. */
	if (check != serial * (serial - 1) / 2)
		run->back_sum = ~sum;
	__atomic_store_n(&run->device_stop, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* ---- device ---- */

static inline void copy(const struct rings *r, uint8_t *to, const uint8_t *from)
{
	for (uint32_t i = 0; i < r->vecs; i++)
		*(vec *)(void *)(to + 16 * i) = *(const vec *)(const void *)(from + 16 * i);
	memcpy(to + 16 * r->vecs, from + 16 * r->vecs, HEADER);
}

/* Sends back up to BATCH packets; how many. */
static inline uint32_t serve(const struct rings *r, uint32_t at, uint64_t *sum)
{
	uint32_t n = 0;

	for (; n < BATCH && ready(r, &r->tx, at + n); n++) {
		uint64_t serial = r->tx.slot[(at + n) & r->mask].serial;

		copy(r, buffer(r, &r->rx, at + n), buffer(r, &r->tx, at + n));
		publish(r, &r->rx, at + n, serial);
		*sum += serial;
	}
	return n;
}

static void *device(void *arg)
{
	struct run *run = arg;
	const struct rings r = run->rings;
	uint64_t sum = 0;
	uint32_t at = 0;

	run->error[1] = bench_pin(run->cpu[1]);
	pthread_barrier_wait(&run->start);
	for (;;) {
		uint32_t n = serve(&r, at, &sum);

		at += n;
		if (n == 0 && __atomic_load_n(&run->device_stop, __ATOMIC_RELAXED))
			break;
	}
	run->loaded_sum = sum;
	return NULL;
}

/* ---- a run ---- */

/*
 * Buffers lie as closely as lines allow: a pool whose packets are 2 KiB apart uses few of the sets
 * of a cache, which is its own cost.
 */
static int make_rings(unsigned int depth, unsigned int bytes, struct rings *r)
{
	uint32_t slots = 2;

	while (slots <= depth)
		slots *= 2;
	r->mask = slots - 1;
	r->bytes = bytes + HEADER;
	r->vecs = bytes / 16;
	r->stride = (r->bytes + BENCH_LINES - 1) & ~(size_t)(BENCH_LINES - 1);
	size_t ring = (slots * sizeof(struct descriptor) + 4095) & ~(size_t)4095;
	size_t buffers = (slots * r->stride + 4095) & ~(size_t)4095;
	r->size = 2 * (ring + buffers);
	r->memory = bench_map(r->size);
	if (!r->memory)
		return -errno;
	uint8_t *at = r->memory;
	r->tx.slot = (void *)at;
	r->rx.slot = (void *)(at + ring);
	r->tx.buffer = at + 2 * ring;
	r->rx.buffer = at + 2 * ring + buffers;
	return 0;
}

struct rates {
	double mean, best; /* packets per second */
};

/* 0, or 1 with the reason said. */
static int measure(const struct bench_options *opts, unsigned int depth, struct rates *rates)
{
	struct run *run = aligned_alloc(BENCH_LINES, sizeof(*run));
	int error;

	if (!run) {
		fputs("bench-packets: out of memory\n", stderr);
		return 1;
	}
	memset(run, 0, sizeof(*run));
	run->depth = depth;
	run->quickest = UINT64_MAX;
	run->cpu[0] = bh_cpuset_first(&opts->cpus);
	run->cpu[1] = bh_cpuset_last(&opts->cpus);
	error = -make_rings(depth, opts->bytes, &run->rings);
	if (!error) {
		pthread_barrier_init(&run->start, NULL, 2);
		error = bench_run_two(host, device, run, &run->stop, opts->run_ns);
		pthread_barrier_destroy(&run->start);
		munmap(run->rings.memory, run->rings.size);
	}
	if (!error)
		error = run->error[0] ? run->error[0] : run->error[1];
	if (error)
		fprintf(stderr, "bench-packets: depth %u: %s\n", depth, strerror(error));
	else if (run->sent_sum != run->back_sum)
		error = fprintf(stderr, "bench-packets: depth %u: packets were lost or changed\n",
				depth);
	if (!error) {
		struct bh_clock clock;

		bh_clock_init(&clock);
		rates->mean = (double)run->done * 1e9 / (double)run->elapsed_ns;
		rates->best = run->quickest == UINT64_MAX
				      ? rates->mean
				      : SPAN * (double)clock.hz / (double)run->quickest;
	}
	free(run);
	return error ? 1 : 0;
}

static const char help[] =
	"usage: bench-packets [-s BYTES] [-q DEPTH,...] [-t SECONDS] [-c CPU,CPU] [--json]\n"
	"\n"
	"Passes bare packets between two CPUs, there and back, through shared rings shaped like "
	"the "
	"queues of a\n"
	"network device: the ceiling that figures of bh-pktgen are quoted against.\n"
	"\n"
	"  -s BYTES      of a packet, 16 to 9000, rounded up to 16 (default 64), beside its "
	"header of 12\n"
	"  -q DEPTH,...  packets outstanding, 1 to 65535 each (default 1,32,128,512)\n"
	"  -t SECONDS    per depth (default 1)\n"
	"  -c CPUS       exactly two (default: the lowest and the highest allowed)\n"
	"  --json        one object instead of text\n"
	"  --help, --version\n"
	"\n"
	"example: bench-packets -c 0,1 -s 64 -q 512 -t 3\n";

int main(int argc, char **argv)
{
	struct bench_options opts = { .name = "bench-packets",
				      .help = help,
				      .depth = { 1, 32, 128, 512 },
				      .num_depths = 4,
				      .run_ns = 1000000000,
				      .bytes = 64,
				      .min_bytes = 16,
				      .max_bytes = MAX_BYTES };
	int code = bench_options_parse(argc, argv, &opts);

	if (code >= 0)
		return code;
	opts.bytes = (opts.bytes + 15) & ~15u;
	int a = bh_cpuset_first(&opts.cpus), b = bh_cpuset_last(&opts.cpus);
	if (opts.json)
		printf("{\"schema\":1,\"cpus\":[%d,%d],\"bytes\":%u,\"runs\":[", a, b, opts.bytes);
	else
		printf("bare packets of %u bytes between CPUs %d and %d\n%8s %14s %14s %16s\n",
		       opts.bytes, a, b, "depth", "M packets/s", "at best", "round trip ns");
	for (unsigned int i = 0; i < opts.num_depths; i++) {
		unsigned int depth = opts.depth[i];
		struct rates rate;

		if (measure(&opts, depth, &rate) != 0)
			return 1;
		if (opts.json)
			printf("%s{\"depth\":%u,\"packets_per_s\":%.0f,\"best_per_s\":%.0f,"
			       "\"round_trip_ns\":%.1f}",
			       i ? "," : "", depth, rate.mean, rate.best, depth * 1e9 / rate.mean);
		else
			printf("%8u %14.2f %14.2f %16.1f\n", depth, rate.mean / 1e6,
			       rate.best / 1e6, depth * 1e9 / rate.mean);
		fflush(stdout);
	}
	if (opts.json)
		puts("]}");
	return 0;
}

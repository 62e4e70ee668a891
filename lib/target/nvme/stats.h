/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is counted, by queue and by namespace. Private to the I/O plane.
 *
 * Each poll thread counts for itself, in blocks of its own: nobody else writes them, so counting is
 * a load, an addition and a store, and the fast path does it once per visit to a queue. Anybody may
 * read them at any time. So a block that was made (by the control thread, before the thread is told
 * of its queue or namespace) stays until the thread goes: pointers to blocks are set once, with
 * release, and read with acquire.
 */
#ifndef TARGET_NVME_STATS_H
#define TARGET_NVME_STATS_H

#include "target/nvme/ctrl.h"

#define TN_STATS_TIMED 16u /* of so many visits to a queue one is timed */

/* __atomic, but for what is the thread's alone. */
struct tn_queue_stats {
	struct bh_target_nvme_counts counts;
	uint32_t visits;  /* the thread's */
	uint32_t untimed; /* the thread's: commands done on the spot since the last timed visit */
	uint64_t batches[BH_TARGET_NVME_BATCHES];
	uint64_t interrupts, suppressed;
	uint16_t cqid; /* of the submission queue that is there; 0: none */
	bool has_cq;
	struct bh_latency latency;
} __attribute__((aligned(64)));

struct tn_ns_stats {
	struct bh_target_nvme_counts counts;
	uint64_t passed, copied;
	struct bh_latency latency;
} __attribute__((aligned(64)));

struct tn_thread;
struct tn_io;
struct tn_sq;
struct tn_line;

int tn_stats_init(struct tn_thread *t); /* 0 or -ENOMEM; fini in any case */
void tn_stats_fini(struct tn_thread *t);

/* Control thread: the block of queues with that id on a thread. NULL: no memory. */
struct tn_queue_stats *tn_stats_queue(struct tn_thread *t, uint16_t qid);
/* Control thread: blocks on all threads that begin as zeros, of an id that nothing has. -ENOMEM. */
int tn_stats_ns_new(struct tn_io *io, uint32_t nsid);

/* So many commands of the queue took so long, one of them or all of that line's namespace. */
void tn_stats_took(struct tn_thread *t, const struct tn_sq *sq, const struct tn_line *line,
		   uint64_t ticks, uint64_t times);

/* A read or write of the line's went so: without a copy, or with. */
void tn_stats_way(struct tn_thread *t, const struct tn_line *line, bool is_passed);

static inline void tn_count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

#endif

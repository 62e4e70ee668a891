/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks of counters, and adding them up: see stats.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/nvme/plane.h"

/* ---- blocks ---- */

int tn_stats_init(struct tn_thread *t)
{
	t->nstats = calloc(BH_TARGET_NVME_MAX_NS + 1, sizeof(*t->nstats));
	return t->nstats ? 0 : -ENOMEM;
}

void tn_stats_fini(struct tn_thread *t)
{
	unsigned int i;

	for (i = 0; t->nstats && i <= BH_TARGET_NVME_MAX_NS; i++)
		free(t->nstats[i]);
	for (i = 0; i <= BH_TARGET_NVME_MAX_QUEUES; i++)
		free(t->qstats[i]);
	free(t->nstats);
}

static void *zeroed(size_t bytes)
{
	void *block = aligned_alloc(64, bytes);

	return block ? memset(block, 0, bytes) : NULL;
}

struct tn_queue_stats *tn_stats_queue(struct tn_thread *t, uint16_t qid)
{
	struct tn_queue_stats *stats = t->qstats[qid];

	if (!stats) {
		stats = zeroed(sizeof(*stats));
		__atomic_store_n(&t->qstats[qid], stats, __ATOMIC_RELEASE);
	}
	return stats;
}

/* Of a namespace that is gone from the thread: nobody writes it, somebody may read. */
static void forget(struct tn_ns_stats *stats)
{
	uint64_t *word = (uint64_t *)stats;
	size_t i;

	for (i = 0; i < sizeof(*stats) / sizeof(*word); i++)
		__atomic_store_n(&word[i], 0, __ATOMIC_RELAXED);
}

int tn_stats_ns_new(struct tn_io *io, uint32_t nsid)
{
	unsigned int i;

	for (i = 0; i < io->num_threads; i++) {
		struct tn_ns_stats **at = &io->thread[i]->nstats[nsid];

		if (*at)
			forget(*at);
		else
			__atomic_store_n(at, zeroed(sizeof(**at)), __ATOMIC_RELEASE);
		if (!*at)
			return -ENOMEM;
	}
	return 0;
}

/* ---- counting ---- */

void tn_stats_took(struct tn_thread *t, const struct tn_sq *sq, const struct tn_line *line,
		   uint64_t ticks, uint64_t times)
{
	struct tn_ns_stats *ns = t->nstats[line - t->line];

	bh_latency_add(&sq->stats->latency, ticks, times);
	if (ns)
		bh_latency_add(&ns->latency, ticks, times);
}

void tn_stats_way(struct tn_thread *t, const struct tn_line *line, bool is_passed)
{
	struct tn_ns_stats *ns = t->nstats[line - t->line];

	if (ns)
		tn_count(is_passed ? &ns->passed : &ns->copied, 1);
}

/* ---- adding up: any thread ---- */

static const struct tn_queue_stats *queue_of(const struct tn_thread *t, unsigned int qid)
{
	return __atomic_load_n(&t->qstats[qid], __ATOMIC_ACQUIRE);
}

static void counts_add(struct bh_target_nvme_counts *to, const struct bh_target_nvme_counts *from)
{
	to->reads += bh_load_u64(&from->reads);
	to->writes += bh_load_u64(&from->writes);
	to->others += bh_load_u64(&from->others);
	to->errors += bh_load_u64(&from->errors);
	to->read_bytes += bh_load_u64(&from->read_bytes);
	to->write_bytes += bh_load_u64(&from->write_bytes);
}

void tn_io_stats(struct bh_target_nvme *ctrl, struct bh_target_nvme_stats *stats)
{
	struct tn_io *io = ctrl->io;
	unsigned int i, qid;

	if (!io)
		return;
	for (i = 0; i < io->num_threads; i++) {
		const struct tn_thread *t = io->thread[i];

		for (qid = 1; qid <= BH_TARGET_NVME_MAX_QUEUES; qid++) {
			const struct tn_queue_stats *q = queue_of(t, qid);

			if (!q)
				continue;
			counts_add(&stats->counts, &q->counts);
			stats->interrupts += bh_load_u64(&q->interrupts);
			stats->suppressed += bh_load_u64(&q->suppressed);
		}
		stats->polls += bh_load_u64(&t->stats.polls);
		stats->empty_polls += bh_load_u64(&t->stats.empty_polls);
		stats->sgls += bh_load_u64(&t->walk.sgls);
	}
	stats->doorbell_messages += bh_load_u64(&io->doorbell_messages);
}

/* Adds what queues of that id did on one thread. */
static void queue_add(const struct tn_thread *t, const struct bh_clock *clock,
		      struct bh_target_nvme_queue_stats *to, struct bh_histogram *latency)
{
	const struct tn_queue_stats *q = queue_of(t, to->qid);
	uint16_t cqid;
	unsigned int i;

	if (!q)
		return;
	counts_add(&to->counts, &q->counts);
	for (i = 0; i < BH_TARGET_NVME_BATCHES; i++)
		to->batches[i] += bh_load_u64(&q->batches[i]);
	to->interrupts += bh_load_u64(&q->interrupts);
	to->suppressed += bh_load_u64(&q->suppressed);
	bh_latency_collect(&q->latency, clock, latency);
	cqid = __atomic_load_n(&q->cqid, __ATOMIC_RELAXED);
	if (!cqid && (to->cqid || !__atomic_load_n(&q->has_cq, __ATOMIC_RELAXED)))
		return;
	to->is_here = true;
	to->cqid = cqid;
	to->cpu = bh_reactor_cpu(t->reactor);
}

void bh_target_nvme_queues(struct bh_target_nvme *ctrl, const struct bh_clock *clock,
			   bh_target_nvme_queue_fn fn, void *ctx)
{
	struct tn_io *io = ctrl->io;
	struct bh_histogram latency;
	unsigned int i, qid;

	for (qid = 1; io && qid <= BH_TARGET_NVME_MAX_QUEUES; qid++) {
		struct bh_target_nvme_queue_stats stats = { .qid = (uint16_t)qid,
							    .latency = &latency };
		bool was_here = false;

		for (i = 0; i < io->num_threads; i++)
			was_here |= queue_of(io->thread[i], qid) != NULL;
		if (!was_here)
			continue;
		bh_histogram_init(&latency);
		for (i = 0; i < io->num_threads; i++)
			queue_add(io->thread[i], clock, &stats, &latency);
		fn(ctx, &stats);
	}
}

bool bh_target_nvme_ns_stats(struct bh_target_nvme *ctrl, uint32_t nsid,
			     const struct bh_clock *clock, struct bh_histogram *latency,
			     struct bh_target_nvme_ns_stats *stats)
{
	struct tn_io *io = ctrl->io;
	bool was_there = false;
	unsigned int i;

	*stats = (struct bh_target_nvme_ns_stats){ .nsid = nsid, .latency = latency };
	bh_histogram_init(latency);
	for (i = 0; io && nsid && nsid <= BH_TARGET_NVME_MAX_NS && i < io->num_threads; i++) {
		const struct tn_ns_stats *ns =
			__atomic_load_n(&io->thread[i]->nstats[nsid], __ATOMIC_ACQUIRE);

		if (!ns)
			continue;
		was_there = true;
		counts_add(&stats->counts, &ns->counts);
		stats->passed += bh_load_u64(&ns->passed);
		stats->copied += bh_load_u64(&ns->copied);
		bh_latency_collect(&ns->latency, clock, latency);
	}
	return was_there;
}

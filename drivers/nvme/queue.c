/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue's private memory, its ring state, and the slow word through which others stop it.
 *
 * Nothing here talks to the controller: ioq.c creates and deletes queues there, borrow.c opens one
 * that somebody else created.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nvme/nvme.h"
#include "nvme/queue_io.h"

/* Half the time for which a target of ours polls before it sleeps. */
#define SOON_NS 50000u

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

size_t bh__queue_layout(unsigned int entries, unsigned int depth, uint32_t page, size_t list_bytes,
			size_t *cq, size_t *list)
{
	*cq = round_up((size_t)entries * 64, page);
	*list = *cq + round_up((size_t)entries * 16, page);
	return *list + round_up(depth * list_bytes, page);
}

int bh__queue_new(unsigned int entries, unsigned int depth, struct bh_nvme_queue **out)
{
	unsigned int words = (entries + 63) / 64, spare = entries - 1 - depth;
	unsigned int batch = depth / 4 < spare ? depth / 4 : spare;
	struct bh_nvme_queue *q;

	*out = NULL;
	q = aligned_alloc(64, round_up(sizeof(*q), 64));
	if (!q)
		return -ENOMEM;
	memset(q, 0, sizeof(*q));
	q->entries = (uint16_t)entries;
	q->depth = depth;
	q->last = entries - 1;
	q->cq_batch = batch ? batch : 1;
	q->reach = depth + q->cq_batch - 1;
	q->efd = -1;
	q->sqd.fd = q->cqd.fd = -1;
	q->slots = aligned_alloc(64, round_up(depth * sizeof(*q->slots), 64));
	q->free = calloc(depth, sizeof(*q->free));
	q->parents = calloc(depth, sizeof(*q->parents));
	q->parent_free = calloc(depth, sizeof(*q->parent_free));
	q->abort_map = calloc(words, sizeof(*q->abort_map));
	q->abort_sent = calloc(words, sizeof(*q->abort_sent));
	if (!q->slots || !q->free || !q->parents || !q->parent_free || !q->abort_map ||
	    !q->abort_sent) {
		bh__queue_free(q);
		return -ENOMEM;
	}
	memset(q->slots, 0, depth * sizeof(*q->slots));
	bh__queue_rewind(q);
	q->scan_ticks = UINT64_MAX;
	*out = q;
	return 0;
}

void bh__queue_free(struct bh_nvme_queue *q)
{
	if (!q)
		return;
	free(q->slots);
	free(q->free);
	free(q->parents);
	free(q->parent_free);
	free(q->abort_map);
	free(q->abort_sent);
	free(q);
}

void bh__queue_rewind(struct bh_nvme_queue *q)
{
	unsigned int i;

	q->sq_tail = q->sq_rung = 0;
	q->cq_head = q->cq_unrung = 0;
	q->phase = 1;
	q->zombies = 0;
	q->drain_at = 0;
	/* Low cids on top: few slots in use stay few cache lines. */
	for (i = 0; i < q->depth; i++) {
		q->slots[i].flags = 0;
		q->free[i] = (uint16_t)(q->depth - 1 - i);
		q->parent_free[i] = (uint16_t)(q->depth - 1 - i);
	}
	q->nfree = q->depth;
	q->nparent_free = (uint16_t)q->depth;
	for (i = 0; i < (q->entries + 63u) / 64; i++)
		__atomic_store_n(&q->abort_map[i], 0, __ATOMIC_RELAXED);
}

void bh__queue_set_timeout(struct bh_nvme_queue *q, const struct bh_clock *clock, uint64_t ns)
{
	const uint64_t most = 100000000; /* ns between scans */
	uint64_t every = ns / 4 < most ? ns / 4 : most;
	unsigned __int128 ticks = (unsigned __int128)ns * clock->hz / 1000000000u;

	q->ticks = q->scan_at = bh_ticks();
	q->soon_ticks = SOON_NS * clock->hz / 1000000000u;
	q->scan_ticks = UINT64_MAX;
	if (!ns)
		return;
	ticks = (ticks >> BH__COARSE_SHIFT) + 1;
	/* An age is a difference of 32 bits: half of their range is days. */
	q->timeout = ticks > INT32_MAX / 4 ? INT32_MAX / 4 : (uint32_t)ticks;
	q->scan_ticks = (uint64_t)((unsigned __int128)every * clock->hz / 1000000000u);
}

void bh__queue_halt(struct bh_nvme_queue *q, uint32_t flags)
{
	uint32_t old = __atomic_load_n(&q->slow, __ATOMIC_RELAXED), next;

	do {
		next = old | flags;
		if (!(old & (BH__Q_HALT | BH__Q_GONE)))
			next += 1u << BH__Q_GEN_SHIFT;
	} while (!__atomic_compare_exchange_n(&q->slow, &old, next, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_RELAXED));
}

bool bh__queue_resume(struct bh_nvme_queue *q)
{
	uint32_t old = __atomic_load_n(&q->slow, __ATOMIC_RELAXED);

	do {
		if (old & BH__Q_GONE)
			return false;
	} while (!__atomic_compare_exchange_n(&q->slow, &old,
					      (old & ~BH__Q_FLAGS) | (old & BH__Q_ARMED), false,
					      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	return true;
}

/* A sleeping owner has to look: outstanding commands are to be completed without the device. */
void bh__queue_wake(struct bh_nvme_queue *q)
{
	uint64_t one = 1;

	/* A full counter means that the owner is being woken already. */
	if (q->efd >= 0 && write(q->efd, &one, sizeof(one)) < 0)
		return;
}

uint16_t bh_nvme_queue_id(const struct bh_nvme_queue *q)
{
	return q->qid;
}

unsigned int bh_nvme_queue_depth(const struct bh_nvme_queue *q)
{
	return q->depth;
}

unsigned int bh_nvme_queue_outstanding(const struct bh_nvme_queue *q)
{
	return bh__queue_busy(q);
}

void bh_nvme_queue_stats(const struct bh_nvme_queue *q, struct bh_nvme_queue_stats *stats)
{
	stats->polls = q->polls;
	stats->empty_polls = q->empty_polls;
	stats->completions = q->completions;
	stats->submissions = q->completions + bh__queue_busy(q);
	stats->sq_doorbells = q->sq_rings;
	stats->cq_doorbells = q->cq_rings;
	stats->doorbell_messages = q->kicks;
	stats->splits = q->splits;
	stats->aborts = q->aborts;
}

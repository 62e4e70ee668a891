/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inner steps of the fast path, shared by the files that submit.
 */
#ifndef NVME_QUEUE_IO_H
#define NVME_QUEUE_IO_H

#include "base/probe.h"
#include "nvme/queue.h"

#define bh__likely(x) __builtin_expect(!!(x), 1)
#define bh__unlikely(x) __builtin_expect(!!(x), 0)

/* What is known of a namespace's shape, in one word that is read at once. */
#define BH__GEOM_MAX_BLOCKS ((1u << 24) - 1)

#define BH__GEOM_META (1u << 5)	  /* with metadata: the word is laid out as meta.h says */
#define BH__GEOM_SERIAL (1u << 6) /* of a request: its commands go out one by one */
#define BH__GEOM_ZONED (1u << 7)

static inline uint64_t bh__geom(uint32_t shift, uint32_t max_blocks, uint32_t boundary)
{
	return (uint64_t)boundary << 32 | (uint64_t)max_blocks << 8 | shift;
}

/*
 * As the straight path has it, where a shift by the low six bits costs no masking. Not of a word
 * with BH__GEOM_META, which has left the straight path before its length is used.
 */
static inline uint32_t bh__geom_shift(uint64_t geom)
{
	return geom & 0x3f;
}

static inline uint32_t bh__geom_max(uint64_t geom)
{
	return (uint32_t)geom >> 8;
}

static inline uint32_t bh__geom_boundary(uint64_t geom)
{
	return (uint32_t)(geom >> 32);
}

static inline void bh__slot_fill(struct bh__slot *slot, bh_nvme_done done, void *arg,
				 uint16_t flags, uint16_t parent)
{
	slot->done = done;
	slot->arg = arg;
	slot->stamp = 0;
	slot->flags = flags;
	slot->parent = parent;
}

static inline void bh__ring_sq(struct bh_nvme_queue *q)
{
	uint32_t tail = q->sq_tail;

	if (bh__unlikely(!q->sq_db)) {
		bh__queue_ring_sq(q);
		return;
	}
	/* Entry stores before the doorbell store: the controller that sees the tail sees them. */
	bh_wmb_io();
	bh_store_release_u32(q->sq_db, tail);
	q->sq_rung = tail;
	q->sq_rings++;
}

static inline void bh__ring_cq(struct bh_nvme_queue *q)
{
	if (bh__unlikely(!q->cq_db)) {
		bh__queue_ring_cq(q);
		return;
	}
	/* Reads of the entries before the store that gives them back. */
	bh_store_release_u32(q->cq_db, q->cq_head);
	q->cq_unrung = 0;
	q->cq_rings++;
}

/* After entries were written up to sq_tail; `nfree` is from before. */
static inline void bh__sq_announce(struct bh_nvme_queue *q, uint32_t nfree)
{
	/* Nothing in flight: no completion will bring a poll, which rings, any sooner. */
	if (bh__unlikely(nfree == q->depth))
		bh__ring_sq(q);
}

/* After an entry was written at sq_tail; likewise. */
static inline void bh__sq_advance(struct bh_nvme_queue *q, uint32_t nfree)
{
	uint32_t tail = q->sq_tail;

	q->sq_tail = tail == q->last ? 0 : tail + 1;
	bh__sq_announce(q, nfree);
}

/* Of an entry that nobody looks at before its doorbell is rung: one store where there are such. */
static inline void bh__zero_16(uint64_t *words)
{
	__builtin_memset(words, 0, 16);
}

/*
 * Takes a cid (there is one) and writes the entry: eight quadwords, each once, in registers until
 * then. w0 lacks the cid.
 */
static inline __attribute__((always_inline)) void bh__submit(struct bh_nvme_queue *q, uint64_t w0,
							     uint64_t prp1, uint64_t prp2,
							     uint64_t w5, uint64_t w6,
							     bh_nvme_done done, void *arg)
{
	uint64_t *sqe = (uint64_t *)__builtin_assume_aligned(q->sq + (size_t)q->sq_tail * 64, 64);
	uint32_t nfree = q->nfree;
	uint16_t cid = q->free[nfree - 1];

	q->nfree = nfree - 1;
	bh__slot_fill(&q->slots[cid], done, arg, BH__SLOT_BUSY, 0);
	bh_store_u64(sqe + 0, w0 | (uint64_t)cid << 16);
	bh__zero_16(sqe + 1);
	bh_store_u64(sqe + 3, prp1);
	bh_store_u64(sqe + 4, prp2);
	bh_store_u64(sqe + 5, w5);
	bh_store_u64(sqe + 6, w6);
	bh_store_u64(sqe + 7, 0);
	BH_PROBE3(nvme_submit, q, q->qid, sqe);
	bh__sq_advance(q, nfree);
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The fast path: from doorbells to completions. Private to the I/O plane. */
#ifndef TARGET_NVME_QUEUE_IO_H
#define TARGET_NVME_QUEUE_IO_H

#include "base/probe.h"
#include "target/nvme/plane.h"

/* Looks at all doorbells of the thread and does what they announce; entries consumed. */
unsigned int tn_scan_run(struct tn_thread *t);
/* The same in the order of priorities: wrr_io.c. */
unsigned int tn_wrr_run(struct tn_thread *t);
/* A queue whose doorbell has moved: up to `most` of its entries, at least 1; entries consumed. */
unsigned int tn_visit(struct tn_thread *t, struct tn_scan *scan, uint32_t most);

/* Consumes entries from sq->head up to `limit` (an index), within the bounds of one visit. */
unsigned int tn_queue_run(struct tn_thread *t, struct tn_sq *sq, uint32_t limit);

/* One entry into a queue with room. sf: a status field. */
static inline void tn_cq_put_result(struct tn_cq *cq, const struct tn_sq *sq, uint16_t cid,
				    uint16_t sf, uint64_t result)
{
	uint8_t *cpl = (uint8_t *)&cq->ring[cq->tail];

	bh_store_u64(cpl, result);
	bh_store_u32(cpl + 8, sq->head | (uint32_t)sq->qid << 16);
	/*
	 * Orders everything the command wrote, and the rest of the entry, before the phase. As wide
	 * as hosts load it, so that ThreadSanitizer sees the two meet.
	 */
	bh_store_release_u32(cpl + 12, cid | (uint32_t)(uint16_t)(sf << 1 | cq->phase) << 16);
	BH_PROBE4(target_complete, sq, sq->qid, cid, sf);
	cq->space--;
	if (++cq->tail == cq->entries) {
		cq->tail = 0;
		cq->phase ^= 1;
	}
}

static inline void tn_cq_put(struct tn_cq *cq, const struct tn_sq *sq, uint16_t cid, uint16_t sf)
{
	tn_cq_put_result(cq, sq, cid, sf, 0);
}

#endif

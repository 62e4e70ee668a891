/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues on their thread: rings and where they are, room in completion queues, interrupts.
 *
 * A ring is a pointer into client memory, or, when it cannot be had as one piece by pointer, a
 * private mirror (slow.c). Pointers are found anew after each gate. A ring that is gone altogether
 * becomes a mirror too: its first transfer fails, and that makes the controller fatal.
 *
 * MSI-X: one raise per vector and pass; the server keeps what is masked. INTx: the line follows
 * "not empty and not masked in INTMS" per queue, conditions being numbered by queue id because all
 * queues share one vector then; the head doorbells of asserted queues are looked at in each pass.
 * A client takes the line down when the guest accesses the device, which a shadow doorbell lets it
 * avoid: so while the line is up the head's event index is the head, and the host rings for the next
 * one.
 */
#include <stdlib.h>
#include <string.h>

#include "target/nvme/queue_io.h"

#define LINE_TRIES 16 /* a host that moves its head all the time hears of it all the time, too */

/* ---- rings ---- */

/* Finds the ring, or makes it a mirror. -1: no memory. */
static int resolve(struct tn_thread *t, uint64_t iova, uint32_t bytes, uint32_t prot, void **ring,
		   struct tn_mirror **mirror)
{
	struct bh_cmem_cache cache = { 0 };
	void *va = bh_cmem_ptr(t->cmem, &cache, iova, bytes, prot);

	if (*mirror && (!va || (*mirror)->is_busy))
		return 0; /* stays one */
	if (va) {
		tn_mirror_drop(t, *mirror);
		*mirror = NULL;
		*ring = va;
		return 0;
	}
	if (tn_mirror_new(t, bytes, mirror))
		return -1;
	*ring = (*mirror)->ring;
	return 0;
}

static void resolve_sq(struct tn_thread *t, struct tn_sq *sq)
{
	bool was_mapped = sq->ring && !sq->mirror;
	void *ring = sq->ring;

	sq->data = sq->list = (struct bh_cmem_cache){ 0 };
	if (resolve(t, sq->iova, sq->entries * (uint32_t)sizeof(*sq->ring), BH_CMEM_PROT_READ,
		    &ring, &sq->mirror)) {
		sq->is_stopped = true;
		tn_thread_fatal(t, "no memory for a queue");
	}
	sq->ring = ring;
	if (sq->mirror && was_mapped)
		sq->mirror->at = sq->head;
}

static void resolve_cq(struct tn_thread *t, struct tn_cq *cq)
{
	bool was_mapped = cq->ring && !cq->mirror;
	void *ring = cq->ring;

	if (cq->mirror && cq->mirror->at != cq->tail)
		return; /* entries are still to be written from it */
	if (resolve(t, cq->iova, cq->entries * (uint32_t)sizeof(*cq->ring), BH_CMEM_PROT_WRITE,
		    &ring, &cq->mirror)) {
		cq->is_stopped = true;
		tn_thread_fatal(t, "no memory for a queue");
	}
	cq->ring = ring;
	if (cq->mirror && was_mapped)
		cq->mirror->at = cq->tail;
}

void tn_queues_resolve(struct tn_thread *t)
{
	unsigned int i;

	t->cache = (struct bh_cmem_cache){ 0 };
	for (i = 1; i <= BH_TARGET_NVME_MAX_QUEUES; i++) {
		if (t->cq[i])
			resolve_cq(t, t->cq[i]);
		if (t->sq[i])
			resolve_sq(t, t->sq[i]);
	}
	if (!tn_shadow_resolve(t))
		tn_thread_fatal(t, "the shadow doorbells' memory is gone");
	tn_scan_rebuild(t);
}

void tn_queues_fault(struct tn_thread *t)
{
	unsigned int i;

	t->faults = bh_cmem_faults(t->cmem);
	t->cache = (struct bh_cmem_cache){ 0 };
	for (i = 1; i <= BH_TARGET_NVME_MAX_QUEUES; i++) {
		struct tn_sq *sq = t->sq[i];
		struct tn_cq *cq = t->cq[i];

		if (sq) {
			sq->data = sq->list = (struct bh_cmem_cache){ 0 };
			if (!sq->mirror &&
			    bh_cmem_failed(t->cmem, sq->iova, sq->entries * sizeof(*sq->ring)))
				sq->is_stopped = true;
		}
		if (cq && !cq->mirror &&
		    bh_cmem_failed(t->cmem, cq->iova, cq->entries * sizeof(*cq->ring)))
			cq->is_stopped = true;
		if ((sq && sq->is_stopped) || (cq && cq->is_stopped))
			tn_thread_fatal(t, "a queue's memory is gone");
	}
	if (!tn_shadow_resolve(t))
		tn_thread_fatal(t, "the shadow doorbells' memory is gone");
}

/* By qid, so that neighbours in memory are looked at together. Backlogs are looked at again. */
void tn_scan_rebuild(struct tn_thread *t)
{
	unsigned int i, classes = 0;

	t->num_scan = t->scan_from = 0;
	for (i = 1; i <= BH_TARGET_NVME_MAX_QUEUES; i++) {
		struct tn_sq *sq = t->sq[i];

		if (!sq)
			continue;
		tn_bell_attach_sq(t, sq);
		classes |= sq->is_weighted ? 1u << sq->class : 0;
		t->scan[t->num_scan++] =
			(struct tn_scan){ .db = sq->db, .seen = TN_SEEN_NONE, .sq = sq };
	}
	/* Queues that are all of one class are weighed by serving them in turn. */
	t->is_weighted = classes & (classes - 1);
	for (i = 1; i <= BH_TARGET_NVME_MAX_QUEUES; i++)
		if (t->cq[i])
			tn_bell_attach_cq(t, t->cq[i]);
}

/* ---- room ---- */

static uint32_t distance(uint32_t from, uint32_t to, uint32_t entries)
{
	return to >= from ? to - from : to + entries - from;
}

bool tn_cq_room(struct tn_thread *t, struct tn_cq *cq)
{
	/* Acquire: the host has read what it has released before we overwrite it. */
	uint32_t head = bh_load_acquire_u32(cq->db);

	if (cq->is_stopped)
		return false;
	/* The head can only have come nearer to the tail. */
	if (head >= cq->entries ||
	    distance(cq->head, head, cq->entries) > distance(cq->head, cq->tail, cq->entries)) {
		cq->is_stopped = true;
		tn_event_raise(t->ctrl, BH_NVME_AER_TYPE_ERROR,
			       BH_NVME_AER_ERROR_INVALID_DOORBELL_VALUE, BH_NVME_LOG_ERROR);
		return false;
	}
	cq->head = head;
	tn_bell_reckon(t, cq);
	return cq->space > 0;
}

void tn_cq_flush(struct tn_thread *t)
{
	unsigned int i;

	for (i = 1; i <= BH_TARGET_NVME_MAX_QUEUES; i++) {
		struct tn_cq *cq = t->cq[i];
		uint32_t from = cq ? cq->tail : 0;
		struct tn_req *req;

		while (cq && (req = cq->wait_first) && (cq->space || tn_cq_room(t, cq))) {
			cq->wait_first = req->next;
			if (!cq->wait_first)
				cq->wait_last = &cq->wait_first;
			tn_cq_put_result(cq, req->sq, req->xfer.cmd.cid, req->status, req->result);
			tn_req_unwait(t, req);
		}
		if (cq && cq->tail != from)
			tn_cq_posted(t, cq, from);
	}
}

/* ---- interrupts ---- */

static void due(struct tn_thread *t, struct tn_cq *cq)
{
	if (!cq->interrupt)
		return;
	if (cq->is_due) { /* the one that is to come does for these, too */
		tn_count(&cq->stats->suppressed, 1);
		return;
	}
	cq->is_due = true;
	cq->due_next = t->due;
	t->due = cq;
}

/* Entries from `from` to the tail are new. */
void tn_cq_posted(struct tn_thread *t, struct tn_cq *cq, uint32_t from)
{
	if (cq->mirror)
		return; /* slow.c writes them, then comes back by way of due */
	if (cq->tail > from) {
		bh_cmem_dirty(t->cmem, cq->iova + from * sizeof(*cq->ring),
			      (cq->tail - from) * sizeof(*cq->ring));
	} else {
		bh_cmem_dirty(t->cmem, cq->iova + from * sizeof(*cq->ring),
			      (cq->entries - from) * sizeof(*cq->ring));
		if (cq->tail)
			bh_cmem_dirty(t->cmem, cq->iova, cq->tail * sizeof(*cq->ring));
	}
	due(t, cq);
}

void tn_cq_written(struct tn_thread *t, struct tn_cq *cq)
{
	due(t, cq);
}

static void line_set(struct tn_thread *t, struct tn_cq *cq, bool asserted)
{
	if (cq->is_asserted == asserted)
		return;
	cq->is_asserted = asserted;
	if (asserted)
		tn_count(&cq->stats->interrupts, 1);
	t->num_asserted += asserted ? 1 : UINT32_MAX;
	bh_vfu_irq_level(t->ctrl->server, cq->qid, asserted);
}

/* Has the host ring for its next step from where it is. Returns where that is. */
static uint32_t line_arm(struct tn_thread *t, struct tn_cq *cq, uint32_t head)
{
	unsigned int tries = LINE_TRIES;
	uint32_t armed;

	do {
		armed = head;
		tn_bell_arm(t, &cq->bell, armed);
		bh_mb(); /* the event index is stored before the head is looked at again */
		head = bh_load_acquire_u32(cq->db);
	} while (head != armed && --tries);
	return head;
}

static void line_update(struct tn_thread *t, struct tn_cq *cq)
{
	bool masked = cq->vector < 32 && t->intms >> cq->vector & 1;
	uint32_t written = cq->mirror ? cq->mirror->at : cq->tail;
	uint32_t head = bh_load_acquire_u32(cq->db);
	bool can = cq->interrupt && !masked && !cq->is_stopped;

	if (can && head != written && cq->bell.event_idx)
		head = line_arm(t, cq, head);
	line_set(t, cq, can && head != written);
}

/* Lines that are up: has the host taken its completions? */
void tn_intx_look(struct tn_thread *t)
{
	unsigned int i;

	for (i = 1; t->num_asserted && i <= BH_TARGET_NVME_MAX_QUEUES; i++)
		if (t->cq[i] && t->cq[i]->is_asserted)
			line_update(t, t->cq[i]);
}

void tn_irq_flush(struct tn_thread *t)
{
	uint64_t raised[BH_TARGET_NVME_MAX_QUEUES / 64 + 1] = { 0 };
	bool is_msix = bh_vfu_irq_msix_enabled(t->ctrl->server);
	struct tn_cq *cq, *waiting = NULL;

	while ((cq = t->due)) {
		uint64_t *word = &raised[cq->vector / 64 % (BH_TARGET_NVME_MAX_QUEUES / 64 + 1)];
		uint64_t bit = 1ull << (cq->vector % 64);

		t->due = cq->due_next;
		if (is_msix && tn_irq_waits(t->ctrl, cq)) {
			cq->due_next = waiting;
			waiting = cq;
			continue;
		}
		cq->is_due = false;
		cq->raised = cq->tail;
		cq->due_ns = 0;
		if (!is_msix) {
			line_update(t, cq);
		} else if (!(*word & bit) && bh_vfu_irq_raise(t->ctrl->server, cq->vector)) {
			*word |= bit;
			tn_count(&cq->stats->interrupts, 1);
		} else {
			*word |= bit;
			tn_count(&cq->stats->suppressed, 1);
		}
	}
	t->due = waiting;
}

/* Masks or enables have changed, or the line was acknowledged: every condition is stated anew. */
void tn_intx_update(struct tn_thread *t)
{
	bool is_msix = bh_vfu_irq_msix_enabled(t->ctrl->server);
	unsigned int i;

	for (i = 1; i <= BH_TARGET_NVME_MAX_QUEUES; i++) {
		struct tn_cq *cq = t->cq[i];

		if (!cq)
			continue;
		cq->is_line = cq->interrupt && !is_msix;
		if (is_msix)
			line_set(t, cq, false);
		else
			line_update(t, cq);
		if (cq->is_asserted)
			bh_vfu_irq_level(t->ctrl->server, cq->qid, true);
	}
}

/* ---- coming and going ---- */

void tn_cq_add(struct tn_thread *t, struct tn_cq *cq)
{
	cq->wait_last = &cq->wait_first;
	cq->phase = 1;
	cq->space = 0;
	cq->is_line = cq->interrupt && !bh_vfu_irq_msix_enabled(t->ctrl->server);
	t->cq[cq->qid] = cq;
	tn_bell_attach_cq(t, cq);
	if (!t->is_gated)
		resolve_cq(t, cq);
}

void tn_sq_add(struct tn_thread *t, struct tn_sq *sq)
{
	t->sq[sq->qid] = sq;
	if (!t->is_gated)
		resolve_sq(t, sq);
	tn_scan_rebuild(t);
}

static void cq_free(struct tn_thread *t, struct tn_cq *cq)
{
	struct tn_cq **at = &t->due;

	line_set(t, cq, false);
	while (*at && *at != cq)
		at = &(*at)->due_next;
	if (*at)
		*at = cq->due_next;
	tn_mirror_drop(t, cq->mirror);
	__atomic_store_n(&cq->stats->has_cq, false, __ATOMIC_RELAXED);
	free(cq);
}

static void sq_free(struct tn_thread *t, struct tn_sq *sq)
{
	tn_reqs_leave(t, sq);
	tn_mirror_drop(t, sq->mirror);
	__atomic_store_n(&sq->stats->cqid, 0, __ATOMIC_RELAXED);
	free(sq);
}

void tn_cq_remove(struct tn_thread *t, uint16_t qid)
{
	struct tn_cq *cq = t->cq[qid];

	t->cq[qid] = NULL;
	if (cq)
		cq_free(t, cq);
}

void tn_sq_remove(struct tn_thread *t, uint16_t qid)
{
	struct tn_sq *sq = t->sq[qid];

	if (!sq)
		return;
	if (!t->is_gated)
		tn_reqs_abort_all(t, sq, BH_NVME_SC_ABORTED_SQ_DELETION);
	t->sq[qid] = NULL;
	sq_free(t, sq);
	tn_scan_rebuild(t);
}

void tn_queues_drop(struct tn_thread *t)
{
	unsigned int i;

	for (i = 1; i <= BH_TARGET_NVME_MAX_QUEUES; i++) {
		if (t->sq[i])
			sq_free(t, t->sq[i]);
		t->sq[i] = NULL;
	}
	for (i = 1; i <= BH_TARGET_NVME_MAX_QUEUES; i++)
		tn_cq_remove(t, (uint16_t)i);
	t->num_scan = t->scan_from = 0;
	t->is_weighted = false;
	t->shadow_db = t->shadow_ei = NULL;
	t->shadow_db_iova = t->shadow_ei_iova = 0;
}

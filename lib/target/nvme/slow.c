/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues whose memory cannot be reached by pointer: mirrors.
 *
 * The thread works on a private copy of the ring. Submission entries are fetched into it before
 * they are looked at, completion entries are written out of it after they were put there, first
 * everything but the last four bytes, then those with the phase tag: a host that polls never sees a
 * phase before its entry. One transfer per ring at a time.
 *
 * Transfers complete at once or on another thread; in the second case a message brings the mirror
 * home, where it is only marked as done: the next pass goes on, so nothing is looked up while the
 * thread is gated. A transfer that fails makes the controller fatal.
 */
#include <errno.h>
#include <stdlib.h>

#include "target/nvme/queue_io.h"

#define FETCH 16u /* entries at a time */
#define PHASE_AT offsetof(struct bh_nvme_cpl, cid)

enum { TURN_SENT, TURN_RETURNED, TURN_DONE };

static void mirror_free(struct tn_mirror *mirror)
{
	free(mirror->ring);
	free(mirror);
}

static void came_home(void *ctx)
{
	struct tn_mirror *mirror = ctx;

	mirror->is_busy = false;
	if (!mirror->thread)
		mirror_free(mirror);
}

int tn_mirror_new(struct tn_thread *t, uint32_t bytes, struct tn_mirror **out)
{
	struct tn_mirror *mirror = calloc(1, sizeof(*mirror));

	if (!mirror)
		return -ENOMEM;
	mirror->ring = calloc(1, bytes);
	if (!mirror->ring) {
		free(mirror);
		return -ENOMEM;
	}
	mirror->msg.fn = came_home;
	mirror->msg.ctx = mirror;
	mirror->home = t->reactor;
	mirror->thread = t;
	t->num_mirrors++;
	*out = mirror;
	return 0;
}

void tn_mirror_drop(struct tn_thread *t, struct tn_mirror *mirror)
{
	if (!mirror)
		return;
	t->num_mirrors--;
	mirror->thread = NULL;
	if (!mirror->is_busy)
		mirror_free(mirror);
}

static void transfer_done(void *arg, int status)
{
	struct tn_mirror *mirror = arg;

	mirror->status = status;
	/* Release what was moved to whoever is second. */
	if (__atomic_exchange_n(&mirror->turn, TURN_DONE, __ATOMIC_ACQ_REL) == TURN_RETURNED)
		bh_reactor_send(mirror->home, &mirror->msg);
}

/* True: it is done already. */
static bool transfer(struct tn_thread *t, struct tn_mirror *mirror, bool to_client, uint64_t iova,
		     uint32_t offset, uint32_t len)
{
	__atomic_store_n(&mirror->turn, TURN_SENT, __ATOMIC_RELAXED);
	mirror->is_busy = true;
	if (to_client)
		bh_cmem_write(t->cmem, iova + offset, mirror->ring + offset, len, transfer_done,
			      mirror);
	else
		bh_cmem_read(t->cmem, iova + offset, mirror->ring + offset, len, transfer_done,
			     mirror);
	if (__atomic_exchange_n(&mirror->turn, TURN_RETURNED, __ATOMIC_ACQ_REL) != TURN_DONE)
		return false;
	mirror->is_busy = false;
	return true;
}

/* Takes the fetched entries over. False: they could not be fetched. */
static bool fetched(struct tn_thread *t, struct tn_sq *sq)
{
	struct tn_mirror *mirror = sq->mirror;

	if (!mirror->n)
		return true;
	if (mirror->status) {
		sq->is_stopped = true;
		tn_thread_fatal(t, "submission queue entries cannot be read");
		return false;
	}
	mirror->at = (mirror->at + mirror->n) % sq->entries;
	mirror->n = 0;
	return true;
}

/* Asks for entries up to v, at most to the end of the ring; true: they are here. */
static bool fetch(struct tn_thread *t, struct tn_sq *sq, uint32_t v)
{
	struct tn_mirror *mirror = sq->mirror;
	uint32_t n = (v > mirror->at ? v : sq->entries) - mirror->at;
	const uint32_t size = sizeof(*sq->ring);

	mirror->n = n < FETCH ? n : FETCH;
	return transfer(t, mirror, false, sq->iova, mirror->at * size, mirror->n * size);
}

/* A visit to a queue with a mirror, its doorbell at v. */
unsigned int tn_slow_sq(struct tn_thread *t, struct tn_scan *scan, uint32_t v)
{
	struct tn_sq *sq = scan->sq;
	struct tn_mirror *mirror = sq->mirror;
	unsigned int n = 0;

	scan->seen = TN_SEEN_NONE;
	if (mirror->is_busy || !fetched(t, sq))
		return 0;
	/*
	 * Entries are overwritten only when all that are here were consumed, but for half of a fused
	 * operation whose other half is not here: what a host that overfills its ring does to it is
	 * its own affair.
	 */
	if ((sq->head == mirror->at || (sq->is_half && sq->half_tail == mirror->at)) &&
	    mirror->at != v && (!fetch(t, sq, v) || !fetched(t, sq)))
		return 0;
	if (sq->head != mirror->at)
		n = tn_queue_run(t, sq, mirror->at);
	if (sq->head == v || (!n && sq->is_half && sq->half_tail == v))
		scan->seen = v;
	return n;
}

/* Goes on with one queue's completions as far as possible; entries that arrived. */
static unsigned int write_out(struct tn_thread *t, struct tn_cq *cq)
{
	struct tn_mirror *mirror = cq->mirror;
	const uint32_t size = sizeof(*cq->ring);
	unsigned int n = 0;

	while (!mirror->is_busy && !cq->is_stopped) {
		uint32_t offset = mirror->at * size;
		bool is_here = true;

		if (mirror->n && mirror->status) {
			cq->is_stopped = true;
			tn_thread_fatal(t, "completion queue entries cannot be written");
			break;
		}
		if (mirror->n == 2) { /* both halves have arrived */
			mirror->n = 0;
			mirror->at = mirror->at + 1 == cq->entries ? 0 : mirror->at + 1;
			n++;
			continue;
		}
		if (mirror->n == 0 && mirror->at == cq->tail)
			break;
		mirror->n++;
		is_here = mirror->n == 1 ? transfer(t, mirror, true, cq->iova, offset, PHASE_AT)
					 : transfer(t, mirror, true, cq->iova, offset + PHASE_AT,
						    size - PHASE_AT);
		if (!is_here)
			break;
	}
	return n;
}

unsigned int tn_slow_cqs(struct tn_thread *t)
{
	unsigned int i, n = 0;

	for (i = 1; i <= BH_TARGET_NVME_MAX_QUEUES; i++) {
		unsigned int here = t->cq[i] && t->cq[i]->mirror ? write_out(t, t->cq[i]) : 0;

		if (here)
			tn_cq_written(t, t->cq[i]);
		n += here;
	}
	return n;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completions off the straight path: parts of split requests, commands with an Abort out, nonsense
 * from the controller, and the completion of everything when a reset or a loss takes the device
 * away.
 *
 * Order of a reset as the owner sees it: HALT: submission is refused, doorbells are left alone,
 * what the controller still completes is delivered. DISABLED or GONE: entries already in the ring
 * are delivered with their true status, then every other command with an error, then the ring is
 * put back to its beginning and the generation acknowledged. All of it happens in poll or reap
 * (a request submitted meanwhile is refused), so that callbacks run on the owner's thread only.
 *
 * A cid whose command timed out is not used again while an Abort that names it may be under way:
 * the slot stays a zombie until the controller thread clears its bit of abort_map.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "nvme/meta.h"
#include "nvme/nvme.h"
#include "nvme/queue_io.h"

static bool abort_bit(struct bh_nvme_queue *q, uint16_t cid)
{
	return __atomic_load_n(&q->abort_map[cid / 64], __ATOMIC_ACQUIRE) >> (cid % 64) & 1;
}

/* Hands one result to whoever waits for it: 1 if it counts as a user completion. */
static int deliver(bh_nvme_done done, void *arg, const struct bh_nvme_cpl *cpl,
		   struct bh_nvme_result *out)
{
	if (done) {
		done(arg, cpl);
		return out ? 0 : 1;
	}
	if (out) {
		out->arg = arg;
		out->status = bh_nvme_cpl_status(cpl);
		out->cid = cpl->cid;
		out->cdw0 = cpl->cdw0;
	}
	return 1;
}

/* Half of a fused operation ended so because the other half has failed, whose status says why. */
static bool is_of_the_other(uint16_t status)
{
	return (status & BH_NVME_STATUS_SC_MASK) == BH_NVME_SC_ABORTED_FAILED_FUSED;
}

static int child_done(struct bh_nvme_queue *q, uint16_t index, const struct bh_nvme_cpl *cpl,
		      struct bh_nvme_result *out)
{
	struct bh__parent *p = &q->parents[index];
	struct bh_nvme_cpl sum = *cpl;
	uint16_t status = bh_nvme_cpl_status(cpl);

	p->pending--;
	if (status && (!p->status || is_of_the_other(p->status))) {
		p->status = status;
		p->cdw0 = cpl->cdw0;
	}
	if (p->left)
		bh__parent_continue(q, p);
	if (p->pending)
		return 0;
	if (p->meta.verify && !p->status)
		p->status = bh__meta_verify(p);
	sum.cdw0 = p->status ? p->cdw0 : cpl->cdw0;
	sum.status = (uint16_t)(p->status << 1) | (cpl->status & BH_NVME_CPL_PHASE);
	q->parent_free[q->nparent_free++] = index;
	return deliver(p->done, p->arg, &sum, out);
}

/* Takes a busy slot out of use and delivers. */
static int finish(struct bh_nvme_queue *q, uint16_t cid, const struct bh_nvme_cpl *cpl,
		  struct bh_nvme_result *out)
{
	struct bh__slot *slot = &q->slots[cid];
	uint16_t flags = slot->flags, parent = slot->parent;
	bh_nvme_done done = slot->done;
	void *arg = slot->arg;

	if ((flags & BH__SLOT_ABORT) && abort_bit(q, cid)) {
		slot->flags = BH__SLOT_ZOMBIE;
		q->zombies++;
	} else {
		slot->flags = 0;
		q->free[q->nfree++] = cid;
	}
	q->completions++;
	BH_PROBE4(nvme_complete, q, q->qid, cid, (uint32_t)cpl->status << 16);
	if (flags & BH__SLOT_CHILD)
		return child_done(q, parent, cpl, out);
	return deliver(done, arg, cpl, out);
}

int bh__queue_complete_rare(struct bh_nvme_queue *q, const struct bh_nvme_cpl *cpl,
			    struct bh_nvme_result *out)
{
	if (cpl->cid >= q->depth || !(q->slots[cpl->cid].flags & BH__SLOT_BUSY)) {
		if (!(bh__queue_slow(q) & BH__Q_STOP)) {
			q->bad_cid = cpl->cid;
			__atomic_fetch_or(&q->slow, BH__Q_BROKEN, __ATOMIC_ACQ_REL);
			q->ops->reset(q);
		}
		return -EPROTO;
	}
	return finish(q, cpl->cid, cpl, out);
}

unsigned int bh__queue_drain(struct bh_nvme_queue *q, uint16_t status, struct bh_nvme_result *out,
			     unsigned int max)
{
	struct bh_nvme_cpl cpl = { 0 };
	unsigned int n = 0;

	cpl.sqid = q->qid;
	cpl.status = (uint16_t)(status << 1);
	for (; q->drain_at < q->depth && n < max; q->drain_at++) {
		if (!(q->slots[q->drain_at].flags & BH__SLOT_BUSY))
			continue;
		cpl.cid = q->drain_at;
		n += (unsigned int)finish(q, q->drain_at, &cpl, out ? &out[n] : NULL);
	}
	return n;
}

static uint16_t stop_status(uint32_t slow)
{
	return slow & BH__Q_GONE ? BH_NVME_SC_INTERNAL_PATH_ERROR : BH_NVME_SC_ABORTED_SQ_DELETION;
}

/* The ring goes back to its beginning; from here to the end of the halt it is the controller's. */
static void acknowledge(struct bh_nvme_queue *q, uint32_t slow)
{
	if (slow & BH__Q_ARMED)
		__atomic_fetch_and(&q->slow, ~BH__Q_ARMED, __ATOMIC_ACQ_REL);
	bh__queue_rewind(q);
	__atomic_store_n(&q->ack, slow >> BH__Q_GEN_SHIFT, __ATOMIC_RELEASE);
}

static int stopped(struct bh_nvme_queue *q, uint32_t slow, struct bh_nvme_result *out,
		   unsigned int max)
{
	unsigned int n = 0;
	bool more = false;

	if (!(slow & (BH__Q_DISABLED | BH__Q_GONE)))
		return slow & BH__Q_BROKEN ? 0 : (int)bh__queue_take(q, out, max, &more);
	q->ticks = bh_ticks();
	if (q->ack == slow >> BH__Q_GEN_SHIFT)
		return slow & BH__Q_GONE ? -ENODEV : 0;
	if (!(slow & BH__Q_BROKEN))
		n = bh__queue_take(q, out, max, &more);
	if (more)
		return (int)n;
	n += bh__queue_drain(q, stop_status(slow), out ? out + n : NULL, max - n);
	if (q->drain_at == q->depth)
		acknowledge(q, slow);
	return n || !(slow & BH__Q_GONE) ? (int)n : -ENODEV;
}

bool bh__queue_poll_slow(struct bh_nvme_queue *q, struct bh_nvme_result *out, unsigned int max,
			 int *rc)
{
	uint32_t slow = bh__queue_slow(q);

	if ((slow & BH__Q_ARMED) && !(slow & BH__Q_STOP))
		bh__queue_disarm(q);
	if (!(slow & BH__Q_STOP))
		return false;
	*rc = stopped(q, slow, out, max);
	return true;
}

/*
 * Acknowledges nothing, though nothing may be outstanding: a callback may be what submits, and the
 * poll that called it has the ring's state in its hands.
 */
int bh__queue_refuse(struct bh_nvme_queue *q)
{
	return bh__queue_slow(q) & BH__Q_GONE ? -ENODEV : -EAGAIN;
}

/* A zombie whose Abort is over is a free cid again. */
static void bury(struct bh_nvme_queue *q, uint16_t cid)
{
	if (abort_bit(q, cid))
		return;
	q->slots[cid].flags = 0;
	q->zombies--;
	q->free[q->nfree++] = cid;
}

void bh__queue_scan(struct bh_nvme_queue *q)
{
	uint32_t now = (uint32_t)(q->ticks >> BH__COARSE_SHIFT);
	uint16_t cid;

	q->scan_at = q->ticks;
	if (q->nfree == q->depth)
		return;
	for (cid = 0; cid < q->depth; cid++) {
		struct bh__slot *slot = &q->slots[cid];
		int32_t age = (int32_t)(now - slot->stamp);

		if (slot->flags & BH__SLOT_ZOMBIE) {
			bury(q, cid);
			continue;
		}
		if (!(slot->flags & BH__SLOT_BUSY) || (slot->flags & BH__SLOT_FOREVER))
			continue;
		if (!slot->stamp) {
			slot->stamp = now ? now : 1;
		} else if (!(slot->flags & BH__SLOT_ABORT)) {
			if (age < (int32_t)q->timeout)
				continue;
			slot->flags |= BH__SLOT_ABORT;
			q->aborts++;
			q->ops->abort(q, cid);
		} else if (!(slot->flags & BH__SLOT_EXPIRED) && age >= (int32_t)(2 * q->timeout)) {
			slot->flags |= BH__SLOT_EXPIRED;
			q->ops->reset(q);
		}
	}
}

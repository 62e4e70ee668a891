/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doorbells that are not a plain store, and the choice between the kinds.
 *
 * Doorbell Buffer Config (NVM Express 2.0, 5.8, and annex B.5): the host stores the new value in
 * the shadow buffer, and rings the real doorbell only if the controller's EventIdx says that it
 * went to sleep before that value. The protocol needs a full barrier between the store of the
 * shadow and the load of EventIdx; the controller does the mirror image, so one of the two always
 * sees the other. Both rings hold fewer than 65536 entries, and the comparison is modulo 65536.
 *
 * Where a polling controller leaves EventIdx is its own business, but it lies somewhere in the
 * ring. Rings are made so that one like ours can keep it out of our way (lib/target/nvme/doorbell.c
 * has the proof): no tail is told that lets completions come more than `reach` entries past the
 * head told last, and rings have 2 x reach + 1 entries, where the controller allows it. What is in
 * flight and what is not given back after a poll are not more than that together (queue.c).
 * Callbacks may submit more within a poll, and ring; such a tail is told at the end of the poll,
 * after the head.
 *
 * Telling is not looking. The barrier waits until all that was stored before it has left for the
 * controller's cache, and the EventIdx comes from there: twice that per poll is a tenth of the time
 * of a busy queue. But a controller need not be woken that has just completed something, and if it
 * falls asleep nevertheless, its completions will be missing: so such a queue's new values are
 * told, and its event indices looked at (`settled') by the next poll that finds nothing. A step is
 * then what was told since they were last looked at, and has to be kept from the EventIdx of a
 * controller that polls as a step always has:
 *  - of tails: entries before those of the commands in flight have been taken, so [tail - commands
 *    in flight, tail) is enough of it, and that is not longer than a step may be;
 *  - of heads: the EventIdx stays ceil((N - u) / 2) behind the head, in a ring of N entries of which
 *    u <= reach are used. So heads are settled before what is open exceeds (N - reach - 1) / 2, and
 *    then best before the next is told, when the stores of the last are long done.
 *
 * Shadow doorbells are used when the controller offers them and its doorbells are not ordinary
 * shared memory: a store there is cheaper than the barrier. A doorbell in a BAR of a device with
 * shadow doorbells is an emulated device behind a hypervisor, where the store is an exit.
 *
 * What a ring costs here (a barrier, perhaps a message) is why this is out of line; it happens
 * once per poll.
 */
#include <errno.h>
#include <unistd.h>

#include "nvme/nvme.h"
#include "nvme/queue_io.h"

void bh__queue_set_doorbells(struct bh_nvme_queue *q)
{
	bool plain = q->sqd.kick == BH__KICK_STORE && !q->sqd.shadow && !q->sqd.wc_entries;

	q->sq_db = plain ? q->sqd.reg : NULL;
	plain = q->cqd.kick == BH__KICK_STORE && !q->cqd.shadow;
	q->cq_db = plain ? q->cqd.reg : NULL;
}

/* Did the step from old to value pass event_idx? Annex B.5's rule, which is virtio's. */
static bool passed(uint16_t event_idx, uint16_t value, uint16_t old)
{
	return (uint16_t)(value - event_idx - 1) < (uint16_t)(value - old);
}

static void kick(struct bh_nvme_queue *q, struct bh__doorbell *d, uint32_t value)
{
	uint64_t one = 1;
	ssize_t n = 0;

	switch (d->kick) {
	case BH__KICK_STORE:
		/* Entry stores before the doorbell store. */
		bh_wmb_io();
		bh_store_release_u32(d->reg, value);
		return;
	case BH__KICK_STORE_WC:
		bh_wmb_wc();
		bh_store_u32(d->reg, value);
		bh_wc_flush();
		return;
	case BH__KICK_IOFD:
		if (d->reg)
			bh_store_release_u32(d->reg, value);
		n = write(d->fd, &one, sizeof(one));
		break;
	case BH__KICK_POST:
		n = bh_device_region_post(q->dev, 0, d->offset, &value, sizeof(value));
		break;
	case BH__KICK_WRITE:
		n = bh_device_region_write(q->dev, 0, d->offset, &value, sizeof(value));
		break;
	}
	q->kicks++;
	/* A full eventfd counter is a kick. Other failures: the device is lost, or the queue. */
	if (n < 0 && !(d->kick == BH__KICK_IOFD && errno == EAGAIN) && !bh_device_gone(q->dev))
		q->ops->reset(q);
}

/* A ring with a shadow: false, there is none. */
static bool tell(struct bh_nvme_queue *q, struct bh__doorbell *d, uint32_t value, uint32_t step)
{
	/* Entries out of the write-combining buffers before any store that tells of them. */
	if (d->wc_entries)
		bh_wmb_wc();
	if (!d->shadow) {
		bh_wmb_io();
		kick(q, d, value);
		return false;
	}
	d->last = value;
	d->open = d->open + step < q->entries ? d->open + step : q->entries - 1u;
	q->is_open = true;
	/* Entries before the shadow that makes them visible. */
	bh_store_release_u32(d->shadow, value);
	return true;
}

/* Kicks, if EventIdx lies within the last `step` entries before the value told. */
static void settle(struct bh_nvme_queue *q, struct bh__doorbell *d, uint32_t step)
{
	uint32_t old = d->last >= step ? d->last - step : d->last + q->entries - step;

	d->open = 0;
	if (step && passed((uint16_t)bh_load_u32(d->event), (uint16_t)d->last, (uint16_t)old))
		kick(q, d, d->last);
}

void bh__queue_settle(struct bh_nvme_queue *q)
{
	uint32_t busy = q->depth - q->nfree;

	if (bh__queue_slow(q) & BH__Q_STOP)
		return;
	q->is_open = false;
	/* What was told, before the event indices are loaded. */
	bh_mb();
	settle(q, &q->cqd, q->cqd.open);
	settle(q, &q->sqd, q->sqd.open < busy ? q->sqd.open : busy);
}

/* Has the controller completed something since the last tail was told, which was a moment ago? */
static bool is_awake(struct bh_nvme_queue *q)
{
	bool found = q->completions != q->told_completions;
	bool soon = q->ticks - q->told_ticks < q->soon_ticks;

	q->told_completions = q->completions;
	q->told_ticks = q->ticks;
	return found && soon;
}

static bool is_within_reach(const struct bh_nvme_queue *q)
{
	uint32_t told = q->cqd.last;

	return (q->sq_tail >= told ? q->sq_tail - told : q->sq_tail + q->entries - told) <=
	       q->reach;
}

void bh__queue_ring_sq(struct bh_nvme_queue *q)
{
	uint32_t tail = q->sq_tail, rung = q->sq_rung;

	if (q->sqd.shadow && !is_within_reach(q))
		return; /* the end of the poll that we are in rings */
	q->sq_rung = tail;
	q->sq_rings++;
	if (tell(q, &q->sqd, tail, tail >= rung ? tail - rung : tail + q->entries - rung) &&
	    !is_awake(q))
		bh__queue_settle(q);
}

void bh__queue_ring_cq(struct bh_nvme_queue *q)
{
	uint32_t most = (q->entries - q->reach - 1) / 2, step = q->cq_unrung;

	q->cq_unrung = 0;
	q->cq_rings++;
	if (q->cqd.open && q->cqd.open + step > most)
		bh__queue_settle(q);
	if (tell(q, &q->cqd, q->cq_head, step) && q->cqd.open > most)
		bh__queue_settle(q);
}

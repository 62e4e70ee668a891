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

static void ring(struct bh_nvme_queue *q, struct bh__doorbell *d, uint32_t value)
{
	uint16_t old;

	/* Entries out of the write-combining buffers before any store that tells of them. */
	if (d->wc_entries)
		bh_wmb_wc();
	if (!d->shadow) {
		bh_wmb_io();
		kick(q, d, value);
		return;
	}
	old = (uint16_t)d->last;
	d->last = value;
	/* Entries before the shadow that makes them visible. */
	bh_store_release_u32(d->shadow, value);
	/* The shadow's store before the load of EventIdx. */
	bh_mb();
	if (passed((uint16_t)bh_load_u32(d->event), (uint16_t)value, old))
		kick(q, d, value);
}

static bool is_within_reach(const struct bh_nvme_queue *q)
{
	uint32_t told = q->cqd.last;

	return (q->sq_tail >= told ? q->sq_tail - told : q->sq_tail + q->entries - told) <=
	       q->reach;
}

void bh__queue_ring_sq(struct bh_nvme_queue *q)
{
	if (q->sqd.shadow && !is_within_reach(q))
		return; /* the end of the poll that we are in rings */
	q->sq_rung = q->sq_tail;
	q->sq_rings++;
	ring(q, &q->sqd, q->sq_tail);
}

void bh__queue_ring_cq(struct bh_nvme_queue *q)
{
	q->cq_unrung = 0;
	q->cq_rings++;
	ring(q, &q->cqd, q->cq_head);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue's life: finding its areas in client memory, breaking, going, and the words by which it
 * asks the driver for kicks.
 *
 * While a queue is polled the driver is asked not to kick: by DISABLE in a packed ring, NO_NOTIFY
 * in a split one. With EVENT_IDX a split ring has no such word; there the event index is parked
 * half the index space away from where the driver is and moved on as the ring goes round, so the
 * driver meets it only if it is stopped for 16384 entries between storing its index and looking at
 * ours, which costs it one kick in vain.
 */
#include <errno.h>
#include <string.h>

#include "virtio_dev/vdq_io.h"

static void *area(const struct bh_vdq *q, uint64_t iova, size_t bytes, uint32_t prot)
{
	struct bh_cmem_cache cache = { 0 };

	return bh_cmem_lookup(q->cmem, &cache, iova, bytes, prot);
}

static bool resolve_packed(struct bh_vdq *q)
{
	const uint32_t both = BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE;
	const size_t bytes = sizeof(*q->device_event);

	q->packed = area(q, q->conf.desc, bh_virtq_desc_bytes(q->size), both);
	q->driver_event = area(q, q->conf.driver, bytes, BH_CMEM_PROT_READ);
	q->device_event = area(q, q->conf.device, bytes, BH_CMEM_PROT_WRITE);
	return q->packed && q->driver_event && q->device_event;
}

static bool resolve_split(struct bh_vdq *q)
{
	q->desc = area(q, q->conf.desc, bh_virtq_desc_bytes(q->size), BH_CMEM_PROT_READ);
	q->avail = area(q, q->conf.driver, bh_virtq_avail_bytes(q->size), BH_CMEM_PROT_READ);
	q->used = area(q, q->conf.device, bh_virtq_used_bytes(q->size), BH_CMEM_PROT_WRITE);
	return q->desc && q->avail && q->used;
}

int bh_vdq_resolve(struct bh_vdq *q)
{
	q->cache = (struct bh_cmem_cache){ 0 };
	q->is_live = false;
	if (q->broken)
		return -EPROTO;
	if (!(q->is_packed ? resolve_packed(q) : resolve_split(q)))
		return -EFAULT;
	q->is_live = true;
	bh_vdq_kicks(q, !q->is_silent);
	return 0;
}

static bool is_aligned(const struct bh_vdq *q, const struct bh_vdq_conf *conf)
{
	const uint64_t driver = q->is_packed ? BH_VIRTQ_EVENT_ALIGN : BH_VIRTQ_AVAIL_ALIGN;
	const uint64_t device = q->is_packed ? BH_VIRTQ_EVENT_ALIGN : BH_VIRTQ_USED_ALIGN;

	return conf->desc % BH_VIRTQ_DESC_ALIGN == 0 && conf->driver % driver == 0 &&
	       conf->device % device == 0;
}

int bh_vdq_start(struct bh_vdq *q, const struct bh_cmem *cmem, const struct bh_vdq_conf *conf)
{
	int rc;

	memset(q, 0, sizeof(*q));
	q->conf = *conf;
	q->cmem = cmem;
	q->size = conf->size;
	q->is_packed = conf->features & BH_VIRTIO_BIT(BH_VIRTIO_F_RING_PACKED);
	q->is_in_order = conf->features & BH_VIRTIO_BIT(BH_VIRTIO_F_IN_ORDER);
	q->has_event_idx = conf->features & BH_VIRTIO_BIT(BH_VIRTIO_F_EVENT_IDX);
	q->avail_wrap = q->used_wrap = true;
	q->is_silent = true;
	q->is_logged = cmem->ops && cmem->ops->dirty;
	if (!conf->size || conf->size > BH_VIRTQ_MAX_SIZE || !is_aligned(q, conf) ||
	    (!q->is_packed && (conf->size & (conf->size - 1)))) {
		bh_vdq_break(q, "its size or an address makes no sense");
		return -EINVAL;
	}
	rc = bh_vdq_resolve(q);
	if (rc)
		bh_vdq_break(q, "the ring is not in memory that can be mapped");
	return rc;
}

void bh_vdq_stop(struct bh_vdq *q)
{
	memset(q, 0, sizeof(*q));
}

int bh_vdq_break(struct bh_vdq *q, const char *why)
{
	if (!q->broken)
		q->broken = why;
	q->is_live = false;
	q->staged = 0;
	return -EPROTO;
}

bool bh_vdq_is_lost(const struct bh_vdq *q)
{
	const size_t event = sizeof(*q->device_event);
	size_t driver = q->is_packed ? event : bh_virtq_avail_bytes(q->size);
	size_t device = q->is_packed ? event : bh_virtq_used_bytes(q->size);

	return bh_cmem_failed(q->cmem, q->conf.desc, bh_virtq_desc_bytes(q->size)) ||
	       bh_cmem_failed(q->cmem, q->conf.driver, driver) ||
	       bh_cmem_failed(q->cmem, q->conf.device, device);
}

void bh__vdq_dirty(const struct bh_vdq *q, uint64_t iova, uint64_t len)
{
	bh_cmem_dirty(q->cmem, iova, len);
}

static void kicks_packed(struct bh_vdq *q, bool wanted)
{
	bh_store_u16(&q->device_event->flags,
		     wanted ? BH_VIRTQ_EVENT_ENABLE : BH_VIRTQ_EVENT_DISABLE);
}

static void kicks_split(struct bh_vdq *q, bool wanted)
{
	if (!q->has_event_idx) {
		bh_store_u16(&q->used->flags, wanted ? 0 : BH_VIRTQ_USED_F_NO_NOTIFY);
		return;
	}
	q->kick_event = wanted ? q->next_avail : (uint16_t)(q->next_avail + BH_VDQ_PARKED);
	bh_store_u16(bh_virtq_avail_event(q->used, q->size), q->kick_event);
}

void bh_vdq_kicks(struct bh_vdq *q, bool wanted)
{
	q->is_silent = !wanted;
	if (!q->is_live)
		return;
	if (q->is_packed)
		kicks_packed(q, wanted);
	else
		kicks_split(q, wanted);
	if (q->is_logged)
		bh__vdq_dirty(q, q->conf.device,
			      q->is_packed ? sizeof(*q->device_event)
					   : bh_virtq_used_bytes(q->size));
	bh_mb(); /* the wish is stored before the ring is looked at again */
}

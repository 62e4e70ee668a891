/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtqueues as memory and registers; what runs on them is in packed_io.c and split_io.c.
 *
 * The memory of a queue is taken once, when it is created, and is enough for either format: which
 * one it will be is settled by the negotiation at each start. What the driver writes and what the
 * device writes lies on cache lines (and pairs of lines) of its own.
 */
#include <errno.h>
#include <string.h>

#include <bellhop/barrier.h>

#include "net_virtio/net_virtio.h"

#define APART 128u /* bytes; adjacent lines are fetched together */
#define QUEUE_ALIGN 4096u

static size_t round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/* Descriptors; what the driver writes beside them; what the device writes. */
static size_t driver_offset(uint16_t size)
{
	return round_up(bh_virtq_desc_bytes(size), APART);
}

static size_t device_offset(uint16_t size)
{
	return driver_offset(size) + round_up(bh_virtq_avail_bytes(size), APART);
}

size_t bh__virtq_ring_bytes(uint16_t size)
{
	return device_offset(size) + round_up(bh_virtq_used_bytes(size), APART);
}

int bh__virtq_create(struct bh__vnet *v, struct bh__virtq *vq, uint16_t size, size_t extra,
		     void **extra_va, uint64_t *extra_iova)
{
	struct bh_iova_cache cache = { 0 };
	size_t rings = bh__virtq_ring_bytes(size);

	memset(vq, 0, sizeof(*vq));
	vq->size = size;
	vq->mem_bytes = rings + extra;
	vq->mem =
		bh_dma_space_alloc(bh_device_space(v->dev), vq->mem_bytes, QUEUE_ALIGN, &vq->pool);
	if (!vq->mem) {
		bh__vnet_log(v, BH_LOG_ERROR,
			     "%s: no pool of the space has %zu bytes for a queue of %u",
			     bh_device_name(v->dev), vq->mem_bytes, size);
		return -ENOMEM;
	}
	if (!bh_iova_translate(bh_device_iova_map(v->dev), &cache, vq->mem, vq->mem_bytes,
			       &vq->iova)) {
		bh__virtq_destroy(vq);
		return -ENODEV;
	}
	if (extra_va) {
		*extra_va = (uint8_t *)vq->mem + rings;
		*extra_iova = vq->iova + rings;
	}
	return 0;
}

void bh__virtq_destroy(struct bh__virtq *vq)
{
	if (vq->mem)
		bh_pool_free(vq->pool, vq->mem);
	vq->mem = NULL;
}

void bh__virtq_init(struct bh__vnet *v, struct bh__virtq *vq)
{
	uint8_t *mem = (uint8_t *)vq->mem;
	void *driver = mem + driver_offset(vq->size), *device = mem + device_offset(vq->size);

	memset(mem, 0, bh__virtq_ring_bytes(vq->size));
	vq->packed = BH__VNET_HAS(v, F_RING_PACKED);
	vq->in_order = BH__VNET_HAS(v, F_IN_ORDER);
	vq->event_idx = BH__VNET_HAS(v, F_EVENT_IDX);
	vq->desc = (struct bh_virtq_packed_desc *)(void *)mem;
	vq->table = (struct bh_virtq_desc *)(void *)mem;
	vq->avail = (struct bh_virtq_avail *)driver;
	vq->used = (struct bh_virtq_used *)device;
	vq->driver_event = (struct bh_virtq_packed_event *)driver;
	vq->device_event = (const struct bh_virtq_packed_event *)device;
	vq->avail_pos = vq->used_pos = vq->avail_idx = vq->used_idx = 0;
	vq->avail_wrap = vq->used_wrap = true;
	vq->free = vq->size;
	vq->broken = false;
	/* We poll: no interrupts but for queues that are armed. */
	if (vq->packed)
		bh_store_u16(&vq->driver_event->flags, BH_VIRTQ_EVENT_DISABLE);
	else
		bh_store_u16(&vq->avail->flags, BH_VIRTQ_AVAIL_F_NO_INTERRUPT);
}

/* An eventfd for a store there, where the device's backend has one. */
static int kick_fd(struct bh__vnet *v, uint64_t offset)
{
	struct bh_region_io_fd fds[2 * BH_NET_MAX_QUEUES + 1];
	int n;

	if (!(bh_device_caps(v->dev) & BH_CAP_IOEVENTFD))
		return -1;
	n = bh_device_region_io_fds(v->dev, v->notify.bar, fds, sizeof(fds) / sizeof(fds[0]));
	if (n > (int)(sizeof(fds) / sizeof(fds[0])))
		n = sizeof(fds) / sizeof(fds[0]);
	for (int i = 0; i < n; i++)
		if (fds[i].offset == offset && !fds[i].shadow)
			return fds[i].eventfd;
	return -1;
}

static int kick_set(struct bh__vnet *v, struct bh__virtq *vq, uint16_t index)
{
	uint64_t offset;
	uint16_t off;
	int rc = bh__vnet_read16(v, BH_VIRTIO_COMMON(queue_notify_off), &off);

	if (rc != 0)
		return rc;
	offset = (uint64_t)off * v->notify_multiplier;
	vq->kick.data = BH__VNET_HAS(v, F_NOTIFICATION_DATA);
	vq->kick.vqn = index;
	if (offset + (vq->kick.data ? 4 : 2) > v->notify.len || offset % 2 != 0) {
		bh__vnet_log(v, BH_LOG_ERROR, "%s: queue %u is to be notified outside of the BAR",
			     bh_device_name(v->dev), index);
		return -EPROTO;
	}
	vq->kick.dev = v->dev;
	vq->kick.bar = v->notify.bar;
	vq->kick.offset = v->notify.offset + offset;
	vq->kick.reg = v->notify_map.va ? v->notify_map.va + offset : NULL;
	/* An eventfd carries no data. */
	vq->kick.fd = vq->kick.reg || vq->kick.data ? -1 : kick_fd(v, vq->kick.offset);
	return 0;
}

static int size_set(struct bh__vnet *v, const struct bh__virtq *vq, uint16_t index)
{
	uint16_t most;
	int rc = bh__vnet_read16(v, BH_VIRTIO_COMMON(queue_size), &most);

	if (rc != 0)
		return rc;
	if (most < vq->size) {
		bh__vnet_log(v, BH_LOG_ERROR, "%s: queue %u has %u entries at most, not %u",
			     bh_device_name(v->dev), index, most, vq->size);
		return -EPROTO;
	}
	return bh__vnet_write16(v, BH_VIRTIO_COMMON(queue_size), vq->size);
}

static int vector_set(struct bh__vnet *v, uint16_t index, uint16_t vector)
{
	uint16_t back;
	int rc = bh__vnet_write16(v, BH_VIRTIO_COMMON(queue_msix_vector), vector);

	if (rc == 0)
		rc = bh__vnet_read16(v, BH_VIRTIO_COMMON(queue_msix_vector), &back);
	if (rc != 0 || back == vector)
		return rc;
	bh__vnet_log(v, BH_LOG_ERROR, "%s: queue %u does not get interrupt vector %u",
		     bh_device_name(v->dev), index, vector);
	return -EIO;
}

int bh__virtq_enable(struct bh__vnet *v, struct bh__virtq *vq, uint16_t index, uint16_t vector)
{
	int rc = bh__vnet_write16(v, BH_VIRTIO_COMMON(queue_select), index);

	if (rc == 0)
		rc = size_set(v, vq, index);
	if (rc == 0)
		rc = kick_set(v, vq, index);
	if (rc == 0 && vector != BH_VIRTIO_NO_VECTOR)
		rc = vector_set(v, index, vector);
	if (rc == 0)
		rc = bh__vnet_write64(v, BH_VIRTIO_COMMON(queue_desc), vq->iova);
	if (rc == 0)
		rc = bh__vnet_write64(v, BH_VIRTIO_COMMON(queue_driver),
				      vq->iova + driver_offset(vq->size));
	if (rc == 0)
		rc = bh__vnet_write64(v, BH_VIRTIO_COMMON(queue_device),
				      vq->iova + device_offset(vq->size));
	return rc != 0 ? rc : bh__vnet_write16(v, BH_VIRTIO_COMMON(queue_enable), 1);
}

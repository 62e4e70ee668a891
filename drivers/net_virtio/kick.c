/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Telling the device that a queue has something new: a store into a mapped page, an eventfd, or a
 * message. It is called only where the device asked to be told (virtio 1.2 2.7.7, 2.8.10), which a
 * device that polls does not: hence out of line.
 *
 * With NOTIFICATION_DATA the value says how far the queue is filled; without it is the queue's
 * number (4.1.5.2).
 */
#include <unistd.h>

#include <bellhop/barrier.h>

#include "net_virtio/net_virtio.h"

void bh__virtq_kick(struct bh__virtq *vq)
{
	const struct bh__vnet_kick *k = &vq->kick;
	uint32_t value = k->vqn;
	size_t width = k->data ? 4 : 2;
	uint64_t one = 1;
	ssize_t n;

	if (k->data)
		value = vq->packed ? bh_virtq_notify_packed(k->vqn, vq->avail_pos, vq->avail_wrap)
				   : bh_virtq_notify_split(k->vqn, vq->avail_idx);
	vq->kicks++;
	/* Descriptors before the notification. */
	bh_wmb_io();
	if (k->reg) {
		if (k->data)
			bh_store_release_u32(k->reg, value);
		else
			bh_store_release_u16(k->reg, (uint16_t)value);
		return;
	}
	if (k->fd >= 0) {
		n = write(k->fd, &one, sizeof(one));
		(void)n; /* a full counter is a kick, too */
		return;
	}
	if (bh_device_caps(k->dev) & BH_CAP_POSTED_WRITE)
		n = bh_device_region_post(k->dev, k->bar, k->offset, &value, width);
	else
		n = bh_device_region_write(k->dev, k->bar, k->offset, &value, width);
	/* A device that is gone says so by itself; one that is busy was told before. */
	(void)n;
}

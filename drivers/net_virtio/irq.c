/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive queues whose owner may sleep.
 *
 * Queue N signals an eventfd by MSI-X vector N (or the last there is). While its owner polls the
 * queue asks for no interrupts (event suppression, virtio 1.2 2.7.7, 2.8.10); arming drains the
 * eventfd, asks for the next one, and then looks: what was used before the device saw the wish is
 * seen there, what is used after it signals. The next burst that finds something takes the wish back.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <bellhop/barrier.h>

#include "net_virtio/net_virtio.h"

int bh__vnet_irq_open(struct bh__vnet *v, struct bh__vnet_rxq *q, unsigned int index)
{
	struct bh_irq_info info;
	int rc = bh_device_irq_info(v->dev, BH__VNET_IRQ_MSIX, &info);

	if (rc != 0)
		return rc;
	if (info.count <= index)
		return -EOPNOTSUPP;
	q->vector = (uint16_t)index;
	q->efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return q->efd < 0 ? -errno : 0;
}

int bh__vnet_irq_bind(struct bh__vnet *v, struct bh__vnet_rxq *q)
{
	return q->efd < 0 ? 0
			  : bh_device_irq_bind(v->dev, BH__VNET_IRQ_MSIX, q->vector, 1, &q->efd);
}

void bh__vnet_irq_close(struct bh__vnet *v, struct bh__vnet_rxq *q)
{
	const int none = -1;

	if (q->efd < 0)
		return;
	if (!bh_device_gone(v->dev))
		bh_device_irq_bind(v->dev, BH__VNET_IRQ_MSIX, q->vector, 1, &none);
	close(q->efd);
	q->efd = -1;
}

int bh__vnet_rxq_fd(struct bh_net *net, unsigned int index)
{
	return bh__vnet_of(net)->rxq[index]->efd;
}

static void ask(struct bh__virtq *vq)
{
	if (vq->packed)
		bh_store_u16(&vq->driver_event->flags, BH_VIRTQ_EVENT_ENABLE);
	else if (vq->event_idx)
		bh_store_u16(bh_virtq_used_event(vq->avail, vq->size), vq->used_idx);
	else
		bh_store_u16(&vq->avail->flags, 0);
}

int bh__vnet_rxq_arm(struct bh_net *net, unsigned int index)
{
	struct bh__vnet *v = bh__vnet_of(net);
	struct bh__vnet_rxq *q = v->rxq[index];
	uint64_t count;

	if (bh_device_gone(v->dev))
		return -ENODEV;
	/* Nothing to read is as good as something read. */
	if (read(q->efd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	q->armed = true;
	ask(&q->vq);
	/* The wish before the look. */
	bh_mb();
	if (q->vq.packed ? bh__vnet_packed_has_used(&q->vq) : bh__vnet_split_has_used(&q->vq))
		return -EAGAIN;
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleeping: a receive queue's owner waits on an eventfd (82576 datasheet 7.3).
 *
 * Vector i is receive queue i's and nobody else's; the link is asked for when the port is polled. An
 * interrupt masks itself (EIAM) and clears its cause (EIAC), so a busy port raises none. Arming
 * forgets an old cause, drains the eventfd, unmasks, then looks at the ring: a packet that came in
 * between is seen there, one that comes later finds the vector unmasked.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <bellhop/barrier.h>

#include "net_igb/port.h"

unsigned int bh__igb_vectors(struct bh_igb_port *port)
{
	struct bh_irq_info info;

	if (!(bh_device_caps(port->hw.dev) & BH_CAP_IRQ_EVENTFD) ||
	    bh_device_irq_info(port->hw.dev, IGB_MSIX, &info) || !(info.flags & BH_IRQ_EVENTFD))
		return 0;
	return info.count;
}

void bh__igb_irq_destroy(struct bh_igb_port *port)
{
	bool any = false;

	for (unsigned int i = 0; i < IGB_QUEUES; i++)
		any |= port->fd[i] >= 0;
	if (any)
		(void)bh_device_irq_disable(port->hw.dev, IGB_MSIX);
	for (unsigned int i = 0; i < IGB_QUEUES; i++) {
		if (port->fd[i] >= 0)
			close(port->fd[i]);
		port->fd[i] = -1;
	}
}

int bh__igb_irq_create(struct bh_igb_port *port)
{
	unsigned int count = port->net.conf.n_rxq;
	int rc = 0;

	if (!port->net.conf.queue_fds)
		return 0;
	if (bh__igb_vectors(port) < count)
		return -EOPNOTSUPP;
	for (unsigned int i = 0; i < count && !rc; i++) {
		port->fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		rc = port->fd[i] < 0 ? -errno : 0;
	}
	if (!rc)
		rc = bh_device_irq_bind(port->hw.dev, IGB_MSIX, 0, count, port->fd);
	if (rc)
		bh__igb_irq_destroy(port);
	return rc;
}

/*
 * Where IVAR has a receive queue's vector: the 82576 keeps queues n and n + 8 together, the others
 * 2n and 2n + 1.
 */
static void write_ivar(struct bh_igb_hw *hw, unsigned int queue)
{
	unsigned int n = hw->model->ivar_by_pairs ? queue / 2 : queue % 8;
	bool second = hw->model->ivar_by_pairs ? queue % 2 : queue >= 8;
	unsigned int shift = second ? 16 : 0;

	bh__igb_modify(hw, IGB_IVAR(n), 0xffu << shift, (IGB_IVAR_VALID | queue) << shift);
}

void bh__igb_irq_start(struct bh_igb_port *port)
{
	struct bh_igb_hw *hw = &port->hw;
	uint32_t mine = (1u << port->net.conf.n_rxq) - 1;

	bh__igb_write(hw, IGB_EIMC, UINT32_MAX);
	if (!port->net.conf.queue_fds)
		return;
	bh__igb_write(hw, IGB_GPIE,
		      IGB_GPIE_NSICR | IGB_GPIE_MULTIPLE_MSIX | IGB_GPIE_EIAME | IGB_GPIE_PBA);
	bh__igb_write(hw, IGB_EIAC, mine);
	bh__igb_write(hw, IGB_EIAM, mine);
	for (unsigned int i = 0; i < port->net.conf.n_rxq; i++) {
		bh__igb_write(hw, IGB_EITR(i), 0);
		write_ivar(hw, i);
	}
}

int bh__igb_rxq_fd(struct bh_net *net, unsigned int index)
{
	return bh__igb_port(net)->fd[index];
}

int bh__igb_rxq_arm(struct bh_net *net, unsigned int index)
{
	struct bh_igb_port *port = bh__igb_port(net);
	struct bh_igb_rxq *q = port->rxq[index];
	uint64_t count;

	if (bh_device_gone(port->hw.dev))
		return -ENODEV;
	/* What came before is looked for in the ring, below. */
	bh_store_u32(port->map.va + IGB_EICR, q->vector_bit);
	while (read(port->fd[index], &count, sizeof(count)) > 0)
		;
	q->armed = true;
	bh_store_u32(port->map.va + IGB_EIMS, q->vector_bit);
	/* The mask before the look at the ring. */
	bh_mb();
	if (bh_load_acquire_u32(&q->ring[q->next & q->mask].done.status) & IGB_RX_DD)
		return -EAGAIN;
	return 0;
}

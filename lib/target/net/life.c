/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues come and go, and what is in force for them changes.
 *
 * A queue runs from DRIVER_OK until the next reset, or one of its own, if the driver has enabled it. Everything here is
 * done by the control thread behind the gate, so threads find queues, filter, offloads and the
 * number of active pairs as they were left, between two passes.
 */
#include <string.h>

#include "target/net/net.h"
#include "virtio_dev/vdq_io.h"

static void start_vq(struct bh_target_net *net, unsigned int i, struct bh_vdq *q)
{
	const struct tnet_vq *vq = &net->regs.vq[i];
	const struct bh_vdq_conf conf = {
		.size = vq->size,
		.desc = vq->desc,
		.driver = vq->driver,
		.device = vq->device,
		.features = net->regs.features,
	};

	if (!vq->is_enabled || q->size)
		return;
	if (bh_vdq_start(q, net->cmem, &conf))
		tnet_broken(net, i, q->broken);
}

static void start_pair(struct bh_target_net *net, struct tnet_pair *p)
{
	unsigned int rx = BH_VIRTIO_NET_RXQ(p->index), tx = BH_VIRTIO_NET_TXQ(p->index);

	p->features = (net->regs.features & ~TNET_OFFLOADS_RX) | net->guest_offloads;
	p->is_mergeable = tnet_has(net->regs.features, BH_VIRTIO_NET_F_MRG_RXBUF);
	p->is_rx_active = p->index < net->active_pairs;
	p->rx_vector = net->regs.vq[rx].vector;
	p->tx_vector = net->regs.vq[tx].vector;
	start_vq(net, rx, &p->rx);
	start_vq(net, tx, &p->tx);
}

static void stop_pair(struct tnet_pair *p)
{
	bh_vdq_stop(&p->rx);
	bh_vdq_stop(&p->tx);
	p->is_broken_said = false;
	p->is_blocked = false;
	p->is_rx_active = false;
}

static void begin(struct bh_target_net *net)
{
	const struct bh_net_port_ops *ops = net->port->ops;

	net->is_started = true;
	net->guest_offloads = net->regs.features & TNET_OFFLOADS_RX;
	tnet_filter_reset(net);
	if (ops->start)
		ops->start(net->port, net->regs.features);
	if (ops->set_active)
		ops->set_active(net->port, net->active_pairs);
}

/* Only once DRIVER_OK is set; may be called again. */
void tnet_start(struct bh_target_net *net)
{
	uint8_t status = __atomic_load_n(&net->regs.status, __ATOMIC_ACQUIRE);
	unsigned int i;

	if (!(status & BH_VIRTIO_STATUS_DRIVER_OK))
		return;
	tnet_gate(net);
	if (!net->is_started)
		begin(net);
	for (i = 0; i < net->num_pairs; i++)
		start_pair(net, net->pair[i]);
	if (tnet_has(net->regs.features, BH_VIRTIO_NET_F_CTRL_VQ))
		start_vq(net, net->num_vqs - 1, &net->cvq);
	tnet_ungate(net);
	tnet_cvq_run(net);
}

void tnet_stop(struct bh_target_net *net)
{
	const struct bh_net_port_ops *ops = net->port->ops;
	unsigned int i;

	tnet_gate(net);
	for (i = 0; i < net->num_pairs; i++)
		stop_pair(net->pair[i]);
	bh_vdq_stop(&net->cvq);
	net->active_pairs = 1;
	net->guest_offloads = 0;
	if (net->is_started && ops->stop)
		ops->stop(net->port);
	net->is_started = false;
	tnet_ungate(net);
}

void tnet_stop_vq(struct bh_target_net *net, unsigned int i)
{
	struct tnet_pair *p = i < net->num_vqs - 1 ? net->pair[i / 2] : NULL;

	tnet_gate(net);
	if (!p) {
		bh_vdq_stop(&net->cvq);
	} else {
		bh_vdq_stop(i % 2 ? &p->tx : &p->rx);
		p->is_blocked = false; /* what is still there is looked at again */
		p->is_broken_said = p->rx.broken || p->tx.broken;
	}
	tnet_ungate(net);
}

void tnet_set_active(struct bh_target_net *net, unsigned int pairs)
{
	unsigned int i;

	net->active_pairs = (uint16_t)pairs;
	for (i = 0; i < net->num_pairs; i++)
		net->pair[i]->is_rx_active = i < pairs;
	if (net->port->ops->set_active)
		net->port->ops->set_active(net->port, pairs);
}

void tnet_set_offloads(struct bh_target_net *net, uint64_t guest)
{
	unsigned int i;

	net->guest_offloads = guest;
	for (i = 0; i < net->num_pairs; i++)
		net->pair[i]->features = (net->regs.features & ~TNET_OFFLOADS_RX) | guest;
	if (net->port->ops->set_offloads)
		net->port->ops->set_offloads(net->port, guest);
}

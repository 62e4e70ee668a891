/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Starting and stopping: the initialisation of virtio 1.2 3.1.1, and its end.
 *
 * Each start begins with a reset and negotiates anew, so a start is also what mends a device that
 * failed. Only features that the configuration has a use for are taken: mergeable buffers and
 * checksums on receiving give the header of each packet a meaning, and then it has to be read;
 * VLAN filtering makes a device drop what was not asked for. Buffers are posted once the device is
 * running, as it must not be notified before.
 *
 * Stopping is a reset, too: when the device has confirmed it, it touches no memory of ours any more,
 * and every mbuf is taken back. A device that does not confirm is cut off from memory first.
 */
#include <errno.h>
#include <string.h>

#include "net_virtio/net_virtio.h"

#define BIT(F) BH_VIRTIO_BIT(BH_VIRTIO_##F)

static uint64_t wanted(const struct bh__vnet *v)
{
	const struct bh_net_conf *conf = &v->net.conf;
	uint64_t o = conf->offloads, f;

	f = BIT(F_VERSION_1) | BIT(F_ACCESS_PLATFORM) | BIT(F_ORDER_PLATFORM) | BIT(F_RING_PACKED) |
	    BIT(F_IN_ORDER) | BIT(F_EVENT_IDX) | BIT(F_NOTIFICATION_DATA) | BIT(NET_F_MAC) |
	    BIT(NET_F_STATUS) | BIT(NET_F_MTU) | BIT(NET_F_SPEED_DUPLEX) | BIT(NET_F_CTRL_VQ) |
	    BIT(NET_F_CTRL_RX) | BIT(NET_F_CTRL_MAC_ADDR) | BIT(NET_F_MQ);
	if (o & BH_NET_TX_MULTI_SEGS)
		f |= BIT(F_INDIRECT_DESC);
	if (o & (BH_NET_RX_SCATTER | BH_NET_RX_LRO))
		f |= BIT(NET_F_MRG_RXBUF);
	if (o & (BH_NET_RX_L4_CSUM | BH_NET_RX_LRO))
		f |= BIT(NET_F_GUEST_CSUM);
	if (o & BH_NET_RX_LRO)
		f |= BIT(NET_F_GUEST_TSO4) | BIT(NET_F_GUEST_TSO6);
	if (o & (BH_NET_TX_L4_CSUM | BH_NET_TX_TSO | BH_NET_TX_USO))
		f |= BIT(NET_F_CSUM);
	if (o & BH_NET_TX_TSO)
		f |= BIT(NET_F_HOST_TSO4) | BIT(NET_F_HOST_TSO6);
	if (o & BH_NET_TX_USO)
		f |= BIT(NET_F_HOST_USO);
	if (v->net.vlans_used)
		f |= BIT(NET_F_CTRL_VLAN);
	if (v->net.rss.types)
		f |= BIT(NET_F_RSS);
	f &= v->offered & ~v->without;
	/* What takes commands is of no use without the queue for them (5.1.3.1). */
	if (!(f & BIT(NET_F_CTRL_VQ)))
		f &= ~(BIT(NET_F_CTRL_RX) | BIT(NET_F_CTRL_MAC_ADDR) | BIT(NET_F_CTRL_VLAN) |
		       BIT(NET_F_MQ) | BIT(NET_F_RSS));
	return f;
}

static int negotiate(struct bh__vnet *v)
{
	uint8_t status;
	int rc;

	rc = bh__vnet_reset(v);
	if (rc == 0)
		rc = bh__vnet_status_add(v, BH_VIRTIO_STATUS_ACKNOWLEDGE);
	if (rc == 0)
		rc = bh__vnet_status_add(v, BH_VIRTIO_STATUS_DRIVER);
	if (rc == 0)
		rc = bh__vnet_features_read(v);
	if (rc != 0)
		return rc;
	v->features = wanted(v);
	rc = bh__vnet_features_write(v, v->features);
	if (rc == 0)
		rc = bh__vnet_status_add(v, BH_VIRTIO_STATUS_FEATURES_OK);
	if (rc == 0)
		rc = bh__vnet_status(v, &status);
	if (rc != 0)
		return rc;
	if (status & BH_VIRTIO_STATUS_FEATURES_OK)
		return 0;
	bh__vnet_log(v, BH_LOG_ERROR, "%s: does not take features 0x%llx of the 0x%llx it offers",
		     bh_device_name(v->dev), (unsigned long long)v->features,
		     (unsigned long long)v->offered);
	return -EIO;
}

static int queues_enable(struct bh__vnet *v)
{
	int rc = 0;

	for (unsigned int i = 0; i < v->pairs && rc == 0; i++) {
		bh__vnet_rxq_reset(v, v->rxq[i]);
		bh__vnet_txq_reset(v, v->txq[i]);
		rc = bh__vnet_irq_bind(v, v->rxq[i]);
		if (rc == 0)
			rc = bh__virtq_enable(v, &v->rxq[i]->vq, (uint16_t)BH_VIRTIO_NET_RXQ(i),
					      v->rxq[i]->vector);
		if (rc == 0)
			rc = bh__virtq_enable(v, &v->txq[i]->vq, (uint16_t)BH_VIRTIO_NET_TXQ(i),
					      BH_VIRTIO_NO_VECTOR);
	}
	if (rc != 0 || !BH__VNET_HAS(v, NET_F_CTRL_VQ))
		return rc;
	bh__virtq_init(v, &v->ctrl);
	return bh__virtq_enable(v, &v->ctrl, (uint16_t)(2 * v->max_pairs), BH_VIRTIO_NO_VECTOR);
}

static int buffers_post(struct bh__vnet *v)
{
	unsigned int posted;

	for (unsigned int i = 0; i < v->pairs; i++) {
		posted = v->rxq[i]->vq.packed ? bh__vnet_packed_refill(v->rxq[i])
					      : bh__vnet_split_refill(v->rxq[i]);
		if (posted == 0) {
			bh__vnet_log(v, BH_LOG_ERROR,
				     "%s: receive queue %u gets no buffer: its pool is empty, or "
				     "not in the device's space",
				     bh_device_name(v->dev), i);
			return -ENOBUFS;
		}
	}
	return 0;
}

/* The device is not to touch memory any more, whatever it takes. */
static void silence(struct bh__vnet *v)
{
	if (bh_device_gone(v->dev) || bh__vnet_reset(v) == 0 || bh_device_gone(v->dev))
		return;
	bh__vnet_log(v, BH_LOG_WARN, "%s: cut off from memory", bh_device_name(v->dev));
	bh_device_bus_master(v->dev, false);
	if (bh_device_caps(v->dev) & BH_CAP_RESET)
		bh_device_reset(v->dev);
	bh_device_bus_master(v->dev, true);
}

void bh__vnet_stop(struct bh_net *net)
{
	struct bh__vnet *v = bh__vnet_of(net);

	silence(v);
	for (unsigned int i = 0; i < v->pairs; i++) {
		bh__vnet_rxq_drain(v->rxq[i]);
		bh__vnet_txq_drain(v->txq[i]);
	}
	v->features = 0;
}

static void bursts_set(struct bh__vnet *v)
{
	for (unsigned int i = 0; i < v->pairs; i++) {
		if (BH__VNET_HAS(v, F_RING_PACKED))
			bh__vnet_packed_set_bursts(v, v->rxq[i], v->txq[i]);
		else
			bh__vnet_split_set_bursts(v, v->rxq[i], v->txq[i]);
	}
}

int bh__vnet_start(struct bh_net *net)
{
	struct bh__vnet *v = bh__vnet_of(net);
	int rc;

	if (bh_device_gone(v->dev))
		return -ENODEV;
	v->failed_said = false;
	v->link_known = false;
	rc = negotiate(v);
	if (rc != 0) {
		silence(v);
		v->features = 0;
		return rc;
	}
	rc = queues_enable(v);
	if (rc == 0)
		rc = bh__vnet_status_add(v, BH_VIRTIO_STATUS_DRIVER_OK);
	if (rc == 0)
		rc = buffers_post(v);
	if (rc == 0)
		rc = bh__vnet_wishes_apply(v);
	if (rc != 0) {
		bh__vnet_stop(net);
		return rc;
	}
	bursts_set(v);
	bh__vnet_log(v, BH_LOG_INFO, "%s: %s rings%s, %u queue pairs, features 0x%llx, %s",
		     bh_device_name(v->dev), BH__VNET_HAS(v, F_RING_PACKED) ? "packed" : "split",
		     BH__VNET_HAS(v, F_IN_ORDER) ? " in order" : "", v->pairs,
		     (unsigned long long)v->features,
		     v->notify_map.va ? "notify page mapped" : "notifications by message");
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtio network driver: a device behind PCI capabilities becomes a struct bh_net.
 *
 * The driver knows struct bh_device only, so one driver serves QEMU's devices through the kernel's
 * VFIO and our own emulated ones through vfio-user. Opening resets the device and reads what it
 * offers; configuring takes memory for queues; starting (start.c) negotiates and goes. Queue pairs
 * are what virtio has: as many queues to receive as to send.
 *
 * The device is not trusted. Registers and capabilities are checked for sense where they are read
 * (regs.c); what the rings say is checked against memory of our own (packed_io.c, split_io.c). What
 * makes no sense ends the queue and is reported by bh_net_poll(); a start mends it.
 *
 * The files: regs.c registers, virtq.c rings as memory, kick.c notifications, queues.c queues of
 * packets, start.c life, ctrl.c commands, irq.c sleeping; packed_io.c, split_io.c and chain_io.c are
 * the hot path.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <bellhop/clock.h>

#include "net_virtio/net_virtio.h"

#define MIN_DEPTH 16u
#define MAX_MTU 9216u	     /* where the device does not say */
#define LOOK_NS 100000000ull /* how often poll asks the device */

bool bh_net_virtio_match(const struct bh_device_info *info)
{
	return info->vendor == BH_VIRTIO_PCI_VENDOR &&
	       (info->device == BH_VIRTIO_PCI_MODERN + BH_VIRTIO_TYPE_NET ||
		info->device == BH_VIRTIO_PCI_NET_TRANSITIONAL);
}

/* ---- events ---- */

static bool any_broken(const struct bh__vnet *v)
{
	for (unsigned int i = 0; i < v->pairs; i++)
		if (__atomic_load_n(&v->rxq[i]->vq.broken, __ATOMIC_RELAXED) ||
		    __atomic_load_n(&v->txq[i]->vq.broken, __ATOMIC_RELAXED))
			return true;
	return v->ctrl.broken;
}

static int failure_look(struct bh__vnet *v)
{
	uint8_t status = 0;

	if (v->failed_said || v->net.state != BH__NET_STARTED)
		return 0;
	if (bh__vnet_status(v, &status) == 0 && !(status & BH_VIRTIO_STATUS_NEEDS_RESET) &&
	    !any_broken(v))
		return 0;
	if (bh_device_gone(v->dev))
		return 0;
	v->failed_said = true;
	bh__vnet_log(v, BH_LOG_ERROR, "%s: needs a reset: status 0x%02x%s", bh_device_name(v->dev),
		     status, any_broken(v) ? ", a queue that makes no sense" : "");
	bh__net_event(&v->net, BH_NET_EVENT_RESET_NEEDED);
	return 1;
}

static int link_look(struct bh__vnet *v)
{
	struct bh_net_link link;
	bool changed;

	if (v->net.state != BH__NET_STARTED || !BH__VNET_HAS(v, NET_F_STATUS) ||
	    v->net.ops->link(&v->net, &link) != 0)
		return 0;
	changed = v->link_known && link.up != v->link_up;
	v->link_known = true;
	v->link_up = link.up;
	if (changed)
		bh__net_event(&v->net, BH_NET_EVENT_LINK);
	return changed;
}

static int vnet_poll(struct bh_net *net)
{
	struct bh__vnet *v = bh__vnet_of(net);
	uint64_t now;

	if (bh_device_gone(v->dev)) {
		if (!v->gone_said) {
			v->gone_said = true;
			bh__net_event(net, BH_NET_EVENT_GONE);
		}
		return -ENODEV;
	}
	now = bh_now_ns();
	if (now - v->looked_ns < LOOK_NS)
		return 0;
	v->looked_ns = now;
	return failure_look(v) + link_look(v);
}

static int vnet_link(struct bh_net *net, struct bh_net_link *link)
{
	struct bh__vnet *v = bh__vnet_of(net);
	struct bh_virtio_net_config config;
	int rc = bh__vnet_config_read(v, &config);

	if (rc != 0)
		return rc;
	link->up = config.status & BH_VIRTIO_NET_S_LINK_UP;
	link->full_duplex = true;
	link->mbps = BH_NET_SPEED_UNKNOWN;
	if (BH__VNET_OFFERS(v, NET_F_SPEED_DUPLEX)) {
		link->full_duplex = config.duplex == BH_VIRTIO_NET_DUPLEX_FULL ||
				    config.duplex == BH_VIRTIO_NET_DUPLEX_UNKNOWN;
		if (config.speed != BH_VIRTIO_NET_SPEED_UNKNOWN)
			link->mbps = config.speed;
	}
	return 0;
}

/* ---- queues ---- */

static void vnet_release(struct bh_net *net)
{
	struct bh__vnet *v = bh__vnet_of(net);

	for (unsigned int i = 0; i < BH_NET_MAX_QUEUES; i++) {
		if (v->rxq[i])
			bh__vnet_irq_close(v, v->rxq[i]);
		bh__vnet_rxq_destroy(v->rxq[i]);
		bh__vnet_txq_destroy(v->txq[i]);
		v->rxq[i] = NULL;
		v->txq[i] = NULL;
	}
	v->pairs = 0;
}

static int vnet_configure(struct bh_net *net)
{
	struct bh__vnet *v = bh__vnet_of(net);
	int rc = 0;

	if (net->conf.n_rxq != net->conf.n_txq) {
		bh__vnet_log(v, BH_LOG_ERROR,
			     "%s: as many queues to receive as to send, not %u and %u",
			     bh_device_name(v->dev), net->conf.n_rxq, net->conf.n_txq);
		return -EINVAL;
	}
	for (unsigned int i = 0; i < net->conf.n_rxq && rc == 0; i++) {
		rc = bh__vnet_rxq_create(v, i);
		if (rc == 0)
			rc = bh__vnet_txq_create(v, i);
	}
	if (rc != 0) {
		vnet_release(net);
		return rc;
	}
	v->pairs = net->conf.n_rxq;
	return 0;
}

static int vnet_xstats(struct bh_net *net, struct bh_net_xstat *out, unsigned int max)
{
	struct bh__vnet *v = bh__vnet_of(net);
	const uint64_t *value;
	unsigned int n = 0;

	for (unsigned int i = 0; i < 2 * v->pairs; i++, n++) {
		value = i % 2 ? &v->txq[i / 2]->vq.kicks : &v->rxq[i / 2]->vq.kicks;
		if (n >= max)
			continue;
		snprintf(out[n].name, sizeof(out[n].name), "%s_q%u_kicks", i % 2 ? "tx" : "rx",
			 i / 2);
		out[n].value = __atomic_load_n(value, __ATOMIC_RELAXED);
	}
	return (int)n;
}

static void vnet_close(struct bh_net *net)
{
	struct bh__vnet *v = bh__vnet_of(net);

	if (!bh_device_gone(v->dev))
		bh__vnet_reset(v);
	bh__vnet_ctrl_destroy(v);
	bh_device_unmap_bar(v->dev, &v->notify_map);
	bh__net_fini(net);
	free(v);
}

static const struct bh_net_ops vnet_ops = {
	.name = "virtio",
	.caps = BH_NET_CAP_MAC_SET | BH_NET_CAP_PROMISC | BH_NET_CAP_ALLMULTI |
		BH_NET_CAP_MULTICAST | BH_NET_CAP_VLAN_FILTER | BH_NET_CAP_LINK | BH_NET_CAP_RSS |
		BH_NET_CAP_QUEUE_FD,
	.close = vnet_close,
	.configure = vnet_configure,
	.release = vnet_release,
	.start = bh__vnet_start,
	.stop = bh__vnet_stop,
	.poll = vnet_poll,
	.link = vnet_link,
	.mac_set = bh__vnet_mac_set,
	.promisc = bh__vnet_promisc,
	.allmulti = bh__vnet_allmulti,
	.multicast = bh__vnet_multicast,
	.vlan = bh__vnet_vlan,
	.rss_set = bh__vnet_rss_set,
	.rxq_fd = bh__vnet_rxq_fd,
	.rxq_arm = bh__vnet_rxq_arm,
	.xstats = vnet_xstats,
};

/* ---- opening ---- */

static uint64_t caps_of(const struct bh__vnet *v, const struct bh_virtio_net_config *config)
{
	uint64_t caps = 0;

	if (BH__VNET_OFFERS(v, NET_F_STATUS))
		caps |= BH_NET_CAP_LINK;
	if (bh_device_caps(v->dev) & BH_CAP_IRQ_EVENTFD)
		caps |= BH_NET_CAP_QUEUE_FD;
	if (!BH__VNET_OFFERS(v, NET_F_CTRL_VQ))
		return caps;
	if (BH__VNET_OFFERS(v, NET_F_CTRL_RX))
		caps |= BH_NET_CAP_PROMISC | BH_NET_CAP_ALLMULTI | BH_NET_CAP_MULTICAST;
	if (BH__VNET_OFFERS(v, NET_F_CTRL_MAC_ADDR))
		caps |= BH_NET_CAP_MAC_SET;
	if (BH__VNET_OFFERS(v, NET_F_CTRL_VLAN))
		caps |= BH_NET_CAP_VLAN_FILTER;
	if (BH__VNET_OFFERS(v, NET_F_RSS) && BH__VNET_OFFERS(v, NET_F_MQ) &&
	    config->rss_max_key_size >= 40 && config->rss_max_indirection_table_length >= 1)
		caps |= BH_NET_CAP_RSS;
	return caps;
}

static uint64_t offloads_of(const struct bh__vnet *v)
{
	uint64_t o = BH_NET_TX_MULTI_SEGS | BH_NET_TX_FAST_FREE;

	if (BH__VNET_OFFERS(v, NET_F_CSUM)) {
		o |= BH_NET_TX_L4_CSUM;
		if (BH__VNET_OFFERS(v, NET_F_HOST_TSO4) && BH__VNET_OFFERS(v, NET_F_HOST_TSO6))
			o |= BH_NET_TX_TSO;
		if (BH__VNET_OFFERS(v, NET_F_HOST_USO))
			o |= BH_NET_TX_USO;
	}
	if (BH__VNET_OFFERS(v, NET_F_GUEST_CSUM))
		o |= BH_NET_RX_L4_CSUM;
	if (!BH__VNET_OFFERS(v, NET_F_MRG_RXBUF))
		return o;
	o |= BH_NET_RX_SCATTER;
	if (BH__VNET_OFFERS(v, NET_F_GUEST_CSUM) && BH__VNET_OFFERS(v, NET_F_GUEST_TSO4) &&
	    BH__VNET_OFFERS(v, NET_F_GUEST_TSO6))
		o |= BH_NET_RX_LRO;
	return o;
}

/* The smaller of the first pair's queues. */
static int depth_of(struct bh__vnet *v, unsigned int *depth)
{
	uint16_t size;
	int rc;

	*depth = BH_VIRTQ_MAX_SIZE;
	for (uint16_t i = 0; i < 2; i++) {
		rc = bh__vnet_write16(v, BH_VIRTIO_COMMON(queue_select), i);
		if (rc == 0)
			rc = bh__vnet_read16(v, BH_VIRTIO_COMMON(queue_size), &size);
		if (rc != 0)
			return rc;
		if (size < *depth)
			*depth = size;
	}
	return *depth >= MIN_DEPTH ? 0 : -EPROTO;
}

static void rss_of(struct bh_net_info *info, const struct bh_virtio_net_config *config)
{
	unsigned int table = 1;

	if (!(info->caps & BH_NET_CAP_RSS))
		return;
	while (2 * table <= config->rss_max_indirection_table_length &&
	       2 * table <= BH_NET_RSS_TABLE_MAX)
		table *= 2;
	info->rss_table_size = table;
	info->rss_key_bytes = 40;
	info->rss_types = config->supported_hash_types &
			  (BH_NET_RSS_IPV4 | BH_NET_RSS_TCPV4 | BH_NET_RSS_UDPV4 | BH_NET_RSS_IPV6 |
			   BH_NET_RSS_TCPV6 | BH_NET_RSS_UDPV6);
}

static void mac_of(struct bh__vnet *v, const struct bh_virtio_net_config *config)
{
	uint8_t *mac = v->net.info.mac;

	if (BH__VNET_OFFERS(v, NET_F_MAC)) {
		memcpy(mac, config->mac, sizeof(v->net.info.mac));
		return;
	}
	/* It has none (5.1.5): one of ours, locally administered. */
	if (getrandom(mac, sizeof(v->net.info.mac), 0) != (ssize_t)sizeof(v->net.info.mac))
		memset(mac, 0x5a, sizeof(v->net.info.mac));
	mac[0] = (uint8_t)((mac[0] & 0xfe) | 2);
}

static int info_read(struct bh__vnet *v)
{
	struct bh_net_info *info = &v->net.info;
	struct bh_virtio_net_config config;
	int rc = bh__vnet_config_read(v, &config);

	if (rc == 0)
		rc = depth_of(v, &info->max_depth);
	if (rc != 0)
		return rc;
	v->max_pairs = 1;
	if (BH__VNET_OFFERS(v, NET_F_MQ) && BH__VNET_OFFERS(v, NET_F_CTRL_VQ)) {
		v->max_pairs = config.max_virtqueue_pairs;
		if (v->max_pairs < 1 || v->max_pairs > BH_VIRTIO_NET_PAIRS_MAX / 2)
			return -EPROTO;
	}
	info->address = bh_device_info(v->dev)->address;
	info->node = bh_device_info(v->dev)->node;
	info->max_rxq = v->max_pairs < BH_NET_MAX_QUEUES ? v->max_pairs : BH_NET_MAX_QUEUES;
	info->max_txq = info->max_rxq;
	info->min_depth = MIN_DEPTH;
	info->depth_pow2 = true;
	info->min_mtu = BH_VIRTIO_NET_MTU_MIN;
	info->max_mtu = BH__VNET_OFFERS(v, NET_F_MTU) ? config.mtu : MAX_MTU;
	info->max_segs = BH__VNET_MAX_SEGS;
	info->caps = caps_of(v, &config);
	info->offloads = offloads_of(v);
	rss_of(info, &config);
	mac_of(v, &config);
	return info->max_mtu >= info->min_mtu ? 0 : -EPROTO;
}

/* Notifications by a store, where the backend lets us. */
static void notify_map(struct bh__vnet *v)
{
	if (!(bh_device_caps(v->dev) & BH_CAP_REGION_MMAP))
		return;
	if (bh_device_map_bar(v->dev, v->notify.bar, v->notify.offset, v->notify.len, BH_ATTR_UC, 0,
			      &v->notify_map) != 0)
		memset(&v->notify_map, 0, sizeof(v->notify_map));
}

static int device_read(struct bh__vnet *v)
{
	int rc = bh_device_bus_master(v->dev, true);

	if (rc == 0)
		rc = bh__vnet_areas_find(v);
	if (rc == 0)
		rc = bh__vnet_reset(v);
	if (rc == 0)
		rc = bh__vnet_status_add(v, BH_VIRTIO_STATUS_ACKNOWLEDGE);
	if (rc == 0)
		rc = bh__vnet_status_add(v, BH_VIRTIO_STATUS_DRIVER);
	if (rc == 0)
		rc = bh__vnet_features_read(v);
	if (rc != 0)
		return rc;
	if (!BH__VNET_OFFERS(v, F_VERSION_1)) {
		bh__vnet_log(v, BH_LOG_ERROR, "%s: offers no VERSION_1: a legacy device",
			     bh_device_name(v->dev));
		return -EOPNOTSUPP;
	}
	rc = info_read(v);
	if (rc == -EPROTO)
		bh__vnet_log(v, BH_LOG_ERROR, "%s: its configuration makes no sense",
			     bh_device_name(v->dev));
	return rc;
}

int bh_net_virtio_open(struct bh_device *dev, const struct bh_net_opts *opts, struct bh_net **out)
{
	struct bh_net_opts o;
	struct bh__vnet *v;
	int rc;

	*out = NULL;
	rc = bh__net_opts_read(opts, &o);
	if (rc != 0)
		return rc;
	if (!bh_net_virtio_match(bh_device_info(dev)))
		return -ENODEV;
	v = (struct bh__vnet *)calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	if (!o.log)
		o.log = bh_device_log(dev);
	v->dev = dev;
	v->net.log = o.log;
	v->net.timeout_ns = o.timeout_ns;
	v->without = o.virtio_without;
	rc = device_read(v);
	if (rc == 0)
		rc = bh__net_init(&v->net, &vnet_ops, &o);
	if (rc == 0)
		rc = bh__vnet_ctrl_create(v);
	if (rc != 0) {
		bh__vnet_ctrl_destroy(v);
		bh__net_fini(&v->net);
		free(v);
		return rc;
	}
	notify_map(v);
	*out = &v->net;
	return 0;
}

uint64_t bh_net_virtio_features(const struct bh_net *net)
{
	return ((const struct bh__vnet *)net)->features;
}

uint64_t bh_net_virtio_offered(const struct bh_net *net)
{
	return ((const struct bh__vnet *)net)->offered;
}

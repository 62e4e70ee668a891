/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver: a port of Intel's 82576 or one of its descendants as a packet device.
 *
 * Opening resets the device and has the PHY negotiate. Configuring makes queues in memory; starting
 * writes every setting anew (a reset in between costs nothing then), gives the device its rings and
 * lets it go; stopping takes the rings back. A queue that does not end has the device reset, and a
 * device that does not even do that is cut off from memory: it is disabled as a bus master, and
 * reset by the bus. In no case is memory freed that the device may still reach.
 *
 * Files: hw.c register access, reset.c, phy.c, filter.c, rss.c, stats.c the parts of the chip,
 * queue.c and irq.c the queues, rx_io.c and tx_io.c the fast path. The control path reaches
 * registers through the backend, the fast path the tails through a mapping of BAR 0.
 */
#include "net_igb/net_igb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net_igb/port.h"

#define FRAME_HEADER 14u
#define FRAME_TAIL 12u /* checksum and two tags, which RLPML counts */
#define FAILURES (IGB_INT_FER | IGB_INT_DRSTA)

static int start_link(struct bh_igb_port *port)
{
	int rc = bh__igb_link_start(&port->hw);

	/* So that the firmware leaves the port to us. */
	bh__igb_modify(&port->hw, IGB_CTRL_EXT, 0, IGB_CTRL_EXT_DRV_LOAD);
	return rc ? rc : bh__igb_error(&port->hw);
}

/* The device neither reads nor writes memory afterwards. */
static void reset_or_cut_off(struct bh_igb_port *port)
{
	struct bh_device *dev = port->hw.dev;

	port->stopped_dirty = true;
	if (bh__igb_hw_halt(&port->hw) == 0 || bh_device_gone(dev))
		return;
	bh__igb_log(&port->hw, BH_LOG_ERROR, "it cannot be reset and is cut off from memory");
	(void)bh_device_bus_master(dev, false);
	(void)bh_device_reset(dev);
	(void)bh__igb_error(&port->hw);
}

static int set_vlans(struct bh_igb_port *port)
{
	for (unsigned int i = 0; i < IGB_VFTA_COUNT; i++)
		bh__igb_write(&port->hw, IGB_VFTA(i),
			      (uint32_t)(port->net.vlans[i / 2] >> (i % 2 ? 32 : 0)));
	return bh__igb_vlan_filter(&port->hw, port->net.vlans_used);
}

/* Everything but queues, as net says. */
static int set_all(struct bh_igb_port *port)
{
	struct bh_net *net = &port->net;
	struct bh_igb_hw *hw = &port->hw;
	bool strip = net->conf.offloads & BH_NET_RX_VLAN_STRIP;
	int rc;

	bh__igb_modify(hw, IGB_CTRL, IGB_CTRL_VME, strip ? IGB_CTRL_VME : 0);
	bh__igb_write(hw, IGB_RXCSUM, IGB_RXCSUM_IPOFLD | IGB_RXCSUM_TUOFLD | IGB_RXCSUM_PCSD);
	rc = bh__igb_mac_set(hw, net->mac);
	if (!rc)
		rc = bh__igb_multicast_set(hw, net->macs, net->num_macs);
	if (!rc)
		rc = bh__igb_promiscuous_set(hw, net->promisc, net->allmulti);
	if (!rc)
		rc = set_vlans(port);
	if (!rc)
		rc = bh__igb_frame_most_set(hw, net->conf.mtu + FRAME_HEADER);
	if (!rc)
		rc = bh__igb_rss_program(port);
	bh__igb_irq_start(port);
	return rc ? rc : bh__igb_error(hw);
}

static void stop(struct bh_net *net)
{
	struct bh_igb_port *port = bh__igb_port(net);

	bh__igb_write(&port->hw, IGB_EIMC, UINT32_MAX);
	if (!bh__igb_queues_end(port))
		reset_or_cut_off(port);
	bh__igb_queues_empty(port);
}

static int start(struct bh_net *net)
{
	struct bh_igb_port *port = bh__igb_port(net);
	int rc = 0;

	if (port->stopped_dirty) {
		rc = bh_device_bus_master(port->hw.dev, true);
		if (!rc)
			rc = bh__igb_hw_reset(&port->hw);
		if (!rc)
			rc = start_link(port);
		port->stopped_dirty = rc != 0;
	}
	if (!rc)
		rc = set_all(port);
	if (rc)
		return rc;
	rc = bh__igb_queues_start(port);
	if (rc) {
		stop(net);
		return rc;
	}
	for (unsigned int i = 0; i < net->conf.n_rxq; i++)
		port->rxq[i]->pub.burst = bh__igb_rx_burst;
	for (unsigned int i = 0; i < net->conf.n_txq; i++) {
		port->txq[i]->pub.burst = bh__igb_tx_burst;
		port->txq[i]->pub.reap = bh__igb_tx_reap;
	}
	return 0;
}

static int configure(struct bh_net *net)
{
	struct bh_igb_port *port = bh__igb_port(net);
	int rc = bh__igb_queues_create(port);

	if (rc)
		return rc;
	rc = bh__igb_irq_create(port);
	if (rc) {
		bh__igb_queues_destroy(port);
		return rc;
	}
	pthread_mutex_lock(&port->stats_lock);
	bh__igb_stats_clear(&port->stats_hw);
	port->missed = 0;
	pthread_mutex_unlock(&port->stats_lock);
	return 0;
}

static void release(struct bh_net *net)
{
	bh__igb_irq_destroy(bh__igb_port(net));
	bh__igb_queues_destroy(bh__igb_port(net));
}

static void destroy(struct bh_igb_port *port)
{
	bh_device_unmap_bar(port->hw.dev, &port->map);
	bh__net_fini(&port->net);
	pthread_mutex_destroy(&port->stats_lock);
	free(port);
}

static void close_port(struct bh_net *net)
{
	struct bh_igb_port *port = bh__igb_port(net);

	if (!bh_device_gone(port->hw.dev)) {
		reset_or_cut_off(port);
		bh__igb_modify(&port->hw, IGB_CTRL_EXT, IGB_CTRL_EXT_DRV_LOAD, 0);
		(void)bh_device_bus_master(port->hw.dev, false);
	}
	destroy(port);
}

static int get_link(struct bh_net *net, struct bh_net_link *link)
{
	struct bh_igb_port *port = bh__igb_port(net);
	struct bh_igb_link now;

	bh__igb_link(&port->hw, &now);
	*link = (struct bh_net_link){ now.up, now.full_duplex, now.mbps };
	return bh_device_gone(port->hw.dev) ? -ENODEV : 0;
}

static int poll_port(struct bh_net *net)
{
	struct bh_igb_port *port = bh__igb_port(net);
	struct bh_net_link now;
	int events = 0;

	if (get_link(net, &now) == -ENODEV) {
		if (!port->gone_told)
			bh__net_event(net, BH_NET_EVENT_GONE);
		port->gone_told = true;
		return -ENODEV;
	}
	if (net->state == BH__NET_STARTED && (bh__igb_read(&port->hw, IGB_ICR) & FAILURES)) {
		bh__igb_log(&port->hw, BH_LOG_ERROR, "the device reports a failure or was reset");
		port->stopped_dirty = true;
		bh__net_event(net, BH_NET_EVENT_RESET_NEEDED);
		events++;
	}
	(void)bh__igb_error(&port->hw);
	if (now.up != port->link.up || now.mbps != port->link.mbps ||
	    now.full_duplex != port->link.full_duplex) {
		port->link = now;
		bh__net_event(net, BH_NET_EVENT_LINK);
		events++;
	}
	return events;
}

static int mac_set(struct bh_net *net)
{
	return bh__igb_mac_set(&bh__igb_port(net)->hw, net->mac);
}

static int receive_mode(struct bh_net *net)
{
	return bh__igb_promiscuous_set(&bh__igb_port(net)->hw, net->promisc, net->allmulti);
}

static int multicast(struct bh_net *net)
{
	return bh__igb_multicast_set(&bh__igb_port(net)->hw, net->macs, net->num_macs);
}

static int vlan(struct bh_net *net, uint16_t id, bool on)
{
	struct bh_igb_hw *hw = &bh__igb_port(net)->hw;
	int rc = bh__igb_vlan_set(hw, id, on);

	return rc ? rc : bh__igb_vlan_filter(hw, true);
}

static int rss_set(struct bh_net *net)
{
	return bh__igb_rss_program(bh__igb_port(net));
}

/* With the lock. Registers that clear when read, or (I210) when they are written. */
static int update(struct bh_igb_port *port)
{
	for (unsigned int i = 0; i < port->net.conf.n_rxq; i++) {
		uint32_t dropped = bh__igb_read(&port->stats_hw, IGB_RXQ(i) + IGB_RQDPC) & 0xfff;

		bh__igb_write(&port->stats_hw, IGB_RXQ(i) + IGB_RQDPC, 0);
		if (!port->stats_hw.error)
			port->missed += dropped;
	}
	return bh__igb_stats_update(&port->stats_hw);
}

static int stats(struct bh_net *net, struct bh_net_stats *s)
{
	static const char *const errors[] = { "rx_crc_errors", "rx_alignment_errors", "rx_errors",
					      "rx_length_errors" };
	struct bh_igb_port *port = bh__igb_port(net);
	int rc;

	pthread_mutex_lock(&port->stats_lock);
	rc = update(port);
	s->rx_missed += port->missed + bh__igb_stat(&port->stats_hw, "rx_missed");
	for (unsigned int i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		s->rx_errors += bh__igb_stat(&port->stats_hw, errors[i]);
	s->tx_errors += bh__igb_stat(&port->stats_hw, "tx_excessive_collisions") +
			bh__igb_stat(&port->stats_hw, "tx_late_collisions");
	pthread_mutex_unlock(&port->stats_lock);
	return rc;
}

static int xstats(struct bh_net *net, struct bh_net_xstat *out, unsigned int max)
{
	struct bh_igb_port *port = bh__igb_port(net);
	unsigned int count = bh__igb_stats_count();

	/* They were updated with the basic ones. */
	pthread_mutex_lock(&port->stats_lock);
	for (unsigned int i = 0; i < count && i < max; i++) {
		snprintf(out[i].name, sizeof(out[i].name), "mac_%s", bh__igb_stats_name(i));
		out[i].value = port->stats_hw.stats[i];
	}
	pthread_mutex_unlock(&port->stats_lock);
	return (int)count;
}

static const struct bh_net_ops ops = {
	.name = "igb",
	.caps = BH_NET_CAP_MAC_SET | BH_NET_CAP_PROMISC | BH_NET_CAP_ALLMULTI |
		BH_NET_CAP_MULTICAST | BH_NET_CAP_VLAN_FILTER | BH_NET_CAP_LINK | BH_NET_CAP_RSS |
		BH_NET_CAP_QUEUE_FD,
	.close = close_port,
	.configure = configure,
	.release = release,
	.start = start,
	.stop = stop,
	.poll = poll_port,
	.link = get_link,
	.mac_set = mac_set,
	.promisc = receive_mode,
	.allmulti = receive_mode,
	.multicast = multicast,
	.vlan = vlan,
	.rss_set = rss_set,
	.rxq_fd = bh__igb_rxq_fd,
	.rxq_arm = bh__igb_rxq_arm,
	.stats = stats,
	.xstats = xstats,
};

static void fill_info(struct bh_igb_port *port)
{
	const struct bh_device_info *dev = bh_device_info(port->hw.dev);
	struct bh_net_info *info = &port->net.info;
	bool fds = bh__igb_vectors(port) >= port->hw.model->queues;

	*info = (struct bh_net_info){
		.address = dev->address,
		.caps = fds ? ops.caps : ops.caps & ~BH_NET_CAP_QUEUE_FD,
		.offloads = BH_NET_RX_IP_CSUM | BH_NET_RX_L4_CSUM | BH_NET_RX_SCATTER |
			    BH_NET_RX_VLAN_STRIP | BH_NET_RX_RSS_HASH | BH_NET_TX_IP_CSUM |
			    BH_NET_TX_L4_CSUM | BH_NET_TX_TSO | BH_NET_TX_VLAN_INSERT |
			    BH_NET_TX_MULTI_SEGS | BH_NET_TX_FAST_FREE,
		.max_rxq = port->hw.model->queues,
		.max_txq = port->hw.model->queues,
		.min_depth = 2 * IGB_RX_BATCH,
		.max_depth = IGB_RING_MOST,
		.depth_pow2 = true,
		.min_mtu = 68,
		.max_mtu = IGB_FRAME_MOST - FRAME_HEADER - FRAME_TAIL,
		.max_segs = IGB_TX_SEGS,
		.rss_key_bytes = IGB_RSS_KEY_BYTES,
		.rss_table_size = IGB_RETA_ENTRIES,
		.rss_types = BH_NET_RSS_IPV4 | BH_NET_RSS_TCPV4 | BH_NET_RSS_UDPV4 |
			     BH_NET_RSS_IPV6 | BH_NET_RSS_TCPV6 | BH_NET_RSS_UDPV6,
		.node = dev->node,
	};
	memcpy(info->mac, port->hw.mac, sizeof(info->mac));
}

static int bring_up(struct bh_igb_port *port, const struct bh_net_opts *opts)
{
	int rc = bh_device_map_bar(port->hw.dev, 0, 0, IGB_MAP_BYTES, BH_ATTR_UC, 0, &port->map);

	if (rc) {
		bh__igb_log(&port->hw, BH_LOG_ERROR, "its registers cannot be mapped");
		return rc == -ENODEV ? rc : -EOPNOTSUPP;
	}
	rc = bh_device_bus_master(port->hw.dev, true);
	if (!rc)
		rc = bh__igb_hw_reset(&port->hw);
	if (!rc)
		rc = start_link(port);
	if (rc)
		return rc;
	fill_info(port);
	return bh__net_init(&port->net, &ops, opts);
}

bool bh_net_igb_matches(uint16_t vendor, uint16_t device)
{
	return bh__igb_model_of(vendor, device) != NULL;
}

int bh_net_igb_open(struct bh_device *dev, const struct bh_net_opts *opts, struct bh_net **out)
{
	const struct bh_device_info *info = bh_device_info(dev);
	struct bh_net_opts full;
	struct bh_igb_port *port;
	int rc = bh__net_opts_read(opts, &full);

	*out = NULL;
	if (rc)
		return rc;
	if (!bh_net_igb_matches(info->vendor, info->device))
		return -ENOTSUP;
	if (!full.log)
		full.log = bh_device_log(dev);
	port = calloc(1, sizeof(*port));
	if (!port)
		return -ENOMEM;
	pthread_mutex_init(&port->stats_lock, NULL);
	port->hw.dev = dev;
	port->hw.model = bh__igb_model_of(info->vendor, info->device);
	port->stats_hw = port->hw;
	for (unsigned int i = 0; i < IGB_QUEUES; i++)
		port->fd[i] = -1;
	rc = bring_up(port, &full);
	if (rc) {
		destroy(port);
		return rc;
	}
	*out = &port->net;
	return 0;
}

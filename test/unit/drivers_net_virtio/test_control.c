/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control path: what is read from the device, what is negotiated, the commands, offload headers,
 * and devices that are refused.
 */
#include "rig.h"

#include <bellhop/clock.h>

#define BIT(F) BH_VIRTIO_BIT(BH_VIRTIO_##F)

static void information_is_the_devices(void)
{
	const struct bh_net_info *info;
	struct bh_net_link link;

	CU_ASSERT_EQUAL_FATAL(rig_open(0), 0);
	info = bh_net_info(net);
	CU_ASSERT_STRING_EQUAL(info->address, "fake:nic");
	CU_ASSERT_STRING_EQUAL(info->driver, "virtio");
	CU_ASSERT_EQUAL(info->max_rxq, 2);
	CU_ASSERT_EQUAL(info->max_txq, 2);
	CU_ASSERT_EQUAL(info->max_depth, 256);
	CU_ASSERT_EQUAL(info->max_mtu, 9000);
	CU_ASSERT_EQUAL(info->rss_table_size, 128);
	CU_ASSERT_EQUAL(info->rss_key_bytes, 40);
	CU_ASSERT_EQUAL(memcmp(info->mac, nic->config.mac, 6), 0);
	CU_ASSERT_EQUAL(info->offloads & BH_NET_TX_TSO, BH_NET_TX_TSO);
	CU_ASSERT_EQUAL(info->offloads & BH_NET_TX_IP_CSUM, 0);
	CU_ASSERT_EQUAL(bh_net_link(net, &link), 0);
	CU_ASSERT_TRUE(link.up);
	CU_ASSERT_EQUAL(link.mbps, 25000);
	bh_net_close(net);
	CU_ASSERT_EQUAL_FATAL(rig_open(~(BIT(F_VERSION_1))), 0);
	info = bh_net_info(net);
	CU_ASSERT_EQUAL(info->caps, BH_NET_CAP_QUEUE_FD);
	CU_ASSERT_EQUAL(info->offloads, BH_NET_TX_MULTI_SEGS | BH_NET_TX_FAST_FREE);
	CU_ASSERT_EQUAL(info->max_rxq, 1);
	CU_ASSERT_EQUAL(info->mac[0] & 3, 2); /* made up */
}

static void only_what_is_of_use_is_negotiated(void)
{
	rig_start(0, 0, 1, 64);
	CU_ASSERT_EQUAL(nic->accepted, bh_net_virtio_features(net));
	CU_ASSERT_EQUAL(nic->accepted & ~nic->offered, 0);
	CU_ASSERT_EQUAL(nic->accepted & BIT(F_VERSION_1), BIT(F_VERSION_1));
	CU_ASSERT_EQUAL(nic->accepted & (BIT(NET_F_MRG_RXBUF) | BIT(NET_F_CSUM) |
					 BIT(NET_F_GUEST_CSUM) | BIT(NET_F_CTRL_VLAN) |
					 BIT(NET_F_GUEST_TSO4) | BIT(NET_F_HOST_TSO4)),
			0);
	bh_net_close(net);
	rig_start(0, BH_NET_TX_TSO | BH_NET_RX_LRO | BH_NET_RX_SCATTER, 1, 64);
	CU_ASSERT_EQUAL(nic->accepted & BIT(NET_F_MRG_RXBUF), BIT(NET_F_MRG_RXBUF));
	CU_ASSERT_EQUAL(nic->accepted & BIT(NET_F_HOST_TSO6), BIT(NET_F_HOST_TSO6));
	CU_ASSERT_EQUAL(nic->accepted & BIT(NET_F_GUEST_TSO4), BIT(NET_F_GUEST_TSO4));
	CU_ASSERT_EQUAL(nic->accepted & BIT(NET_F_CSUM), BIT(NET_F_CSUM));
}

static bool command_is(uint8_t class_, uint8_t command, const void *data, size_t len)
{
	return nic->command_len == len + 2 && nic->command[0] == class_ &&
	       nic->command[1] == command && memcmp(nic->command + 2, data, len) == 0;
}

static void commands_over(uint64_t without)
{
	static const uint8_t mac[6] = { 2, 3, 4, 5, 6, 7 }, one = 1, zero;
	static const uint8_t multi[2][6] = { { 1, 0, 0x5e, 0, 0, 1 }, { 0x33, 0x33, 0, 0, 0, 1 } };
	static const uint8_t table[] = { 0,    0, 0, 0, 2,    0,    0, 0, 1, 0,
					 0x5e, 0, 0, 1, 0x33, 0x33, 0, 0, 0, 1 };
	static const uint8_t vlan[] = { 0x05, 0x01 };
	uint8_t now[6];

	CU_ASSERT_EQUAL_FATAL(rig_open(without), 0);
	CU_ASSERT_EQUAL(bh_net_vlan(net, 261, true), 0);
	CU_ASSERT_EQUAL_FATAL(rig_configure(0, 2, 64), 0);
	CU_ASSERT_EQUAL_FATAL(bh_net_start(net), 0);
	CU_ASSERT_TRUE(command_is(2, 0, vlan, 2)); /* the last of start */
	for (int round = 0; round < 40; round++) { /* round the ring */
		CU_ASSERT_EQUAL(bh_net_mac_set(net, mac), 0);
		CU_ASSERT_TRUE(command_is(1, 1, mac, 6));
		CU_ASSERT_EQUAL(bh_net_promisc(net, true), 0);
		CU_ASSERT_TRUE(command_is(0, 0, &one, 1));
	}
	CU_ASSERT_EQUAL(bh_net_promisc(net, false), 0);
	CU_ASSERT_TRUE(command_is(0, 0, &zero, 1));
	CU_ASSERT_EQUAL(bh_net_allmulti(net, true), 0);
	CU_ASSERT_TRUE(command_is(0, 1, &one, 1));
	CU_ASSERT_EQUAL(bh_net_multicast(net, multi, 2), 0);
	CU_ASSERT_TRUE(command_is(1, 0, table, sizeof(table)));
	CU_ASSERT_EQUAL(bh_net_vlan(net, 261, false), 0);
	CU_ASSERT_TRUE(command_is(2, 1, vlan, 2));
	nic->ack = BH_VIRTIO_NET_ERR;
	CU_ASSERT_EQUAL(bh_net_mac_set(net, (const uint8_t[6]){ 2, 9, 9, 9, 9, 9 }), -EIO);
	bh_net_mac(net, now);
	CU_ASSERT_EQUAL(memcmp(now, mac, 6), 0);
	nic->ack = BH_VIRTIO_NET_OK;
	bh_net_close(net);
	net = NULL;
}

static void commands_are_as_the_specification_has_them(void)
{
	commands_over(0);
	commands_over(BIT(F_IN_ORDER));
	commands_over(BIT(F_RING_PACKED));
	commands_over(BIT(F_RING_PACKED) | BIT(F_EVENT_IDX) | BIT(F_IN_ORDER));
}

static void rss_is_set_with_table_and_key(void)
{
	struct bh_net_rss rss;

	rig_start(0, 0, 2, 64);
	CU_ASSERT_EQUAL(bh_net_rss_get(net, &rss), 0);
	rss.table[1] = 0;
	rss.table[127] = 1;
	CU_ASSERT_EQUAL(bh_net_rss_set(net, &rss), 0);
	CU_ASSERT_EQUAL(nic->command_len, 2 + 8 + 256 + 2 + 1 + 40);
	CU_ASSERT_EQUAL(nic->command[0], 4);
	CU_ASSERT_EQUAL(nic->command[1], 1);
	CU_ASSERT_EQUAL(nic->command[2], 0x3f);
	CU_ASSERT_EQUAL(nic->command[6], 127);
	CU_ASSERT_EQUAL(nic->command[10 + 2], 0);
	CU_ASSERT_EQUAL(nic->command[10 + 254], 1);
	CU_ASSERT_EQUAL(nic->command[10 + 256], 2);
	CU_ASSERT_EQUAL(nic->command[10 + 258], 40);
	CU_ASSERT_EQUAL(memcmp(nic->command + 10 + 259, rss.key, 40), 0);
	bh_net_close(net);
	/* Without RSS pairs are set by number. */
	rig_start(BIT(NET_F_RSS) | BIT(NET_F_CTRL_RX), 0, 2, 64);
	CU_ASSERT_TRUE(command_is(4, 0, "\2\0", 2));
}

static void wishes_are_carried_out_at_each_start(void)
{
	static const uint8_t mac[6] = { 2, 3, 4, 5, 6, 7 };

	CU_ASSERT_EQUAL_FATAL(rig_open(0), 0);
	CU_ASSERT_EQUAL_FATAL(rig_configure(0, 1, 64), 0);
	CU_ASSERT_EQUAL(bh_net_mac_set(net, mac), 0);
	CU_ASSERT_EQUAL(bh_net_allmulti(net, true), 0);
	CU_ASSERT_EQUAL(nic->commands, 0);
	for (unsigned int i = 1; i <= 3; i++) {
		CU_ASSERT_EQUAL(bh_net_start(net), 0);
		CU_ASSERT_EQUAL(nic->commands, 4 * i); /* pairs, address, promiscuous, multicast */
		CU_ASSERT_EQUAL(nic->command[1], 1);
		bh_net_stop(net);
	}
	nic->ack = BH_VIRTIO_NET_ERR;
	CU_ASSERT_EQUAL(bh_net_start(net), -EIO);
	CU_ASSERT_EQUAL(rig_avail(), RIG_MBUFS);
}

static void link_changes_are_events(void)
{
	uint64_t end = bh_now_ns() + 3000000000;
	struct bh_net_link link;

	rig_start(0, 0, 1, 64);
	CU_ASSERT_EQUAL(bh_net_poll(net), 0);
	nic->config.status = 0;
	while (rig_events[BH_NET_EVENT_LINK] == 0 && bh_now_ns() < end)
		bh_net_poll(net);
	CU_ASSERT_EQUAL(rig_events[BH_NET_EVENT_LINK], 1);
	CU_ASSERT_EQUAL(bh_net_link(net, &link), 0);
	CU_ASSERT_FALSE(link.up);
}

/* ---- offloads ---- */

static void one_sent(struct rte_mbuf *m, uint16_t expected)
{
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), &m, 1), expected);
	if (expected == 0)
		rte_pktmbuf_free(m);
	else if (bh_net_rx_burst(bh_net_rxq(net, 0), &m, 1) == 1)
		rte_pktmbuf_free(m);
}

static struct rte_mbuf *tcp(uint32_t len, uint64_t flags)
{
	struct rte_mbuf *m = rig_packet(1, len, 2000);

	m->l2_len = 14;
	m->l3_len = 20;
	m->l4_len = 20;
	m->ol_flags |= flags | RTE_MBUF_F_TX_IPV4;
	return m;
}

static void headers_ask_for_checksums_and_cuts(void)
{
	const struct bh_virtio_net_hdr *h = &nic->last_hdr;
	struct rte_mbuf *m;
	uint16_t before;

	rig_start(0, BH_NET_TX_L4_CSUM | BH_NET_TX_TSO | BH_NET_TX_MULTI_SEGS | BH_NET_RX_SCATTER,
		  1, 64);
	one_sent(tcp(100, RTE_MBUF_F_TX_TCP_CKSUM), 1);
	CU_ASSERT_EQUAL(h->flags, BH_VIRTIO_NET_HDR_F_NEEDS_CSUM);
	CU_ASSERT_EQUAL(h->csum_start, 34);
	CU_ASSERT_EQUAL(h->csum_offset, 16);
	CU_ASSERT_EQUAL(h->gso_type, 0);
	one_sent(tcp(100, RTE_MBUF_F_TX_UDP_CKSUM), 1);
	CU_ASSERT_EQUAL(h->csum_offset, 6);
	one_sent(tcp(100, 0), 1); /* the header in front is cleared again */
	CU_ASSERT_EQUAL(h->flags, 0);
	CU_ASSERT_EQUAL(h->csum_start, 0);

	m = tcp(8000, RTE_MBUF_F_TX_TCP_SEG);
	m->tso_segsz = 1400;
	*rte_pktmbuf_mtod_offset(m, uint16_t *, 50) = before = 0xfff0;
	rte_mbuf_refcnt_update(m, 0);
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), &m, 1), 1);
	CU_ASSERT_EQUAL(h->gso_type, BH_VIRTIO_NET_HDR_GSO_TCPV4);
	CU_ASSERT_EQUAL(h->gso_size, 1400);
	CU_ASSERT_EQUAL(h->hdr_len, 54);
	CU_ASSERT_EQUAL(h->csum_start, 34);
	CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, 0), &m, 1), 1);
	/* 0xf0ff of the packet plus 7966 of TCP header and data, in one's complement: 0x101d + 1. */
	CU_ASSERT_EQUAL(*rte_pktmbuf_mtod_offset(m, uint8_t *, 50), 0x10);
	CU_ASSERT_EQUAL(*rte_pktmbuf_mtod_offset(m, uint8_t *, 51), 0x1e);
	rte_pktmbuf_free(m);

	m = tcp(3000, RTE_MBUF_F_TX_TCP_SEG);
	m->tso_segsz = 1000;
	m->ol_flags = (m->ol_flags & ~RTE_MBUF_F_TX_IPV4) | RTE_MBUF_F_TX_IPV6;
	m->l3_len = 40;
	one_sent(m, 1);
	CU_ASSERT_EQUAL(h->gso_type, BH_VIRTIO_NET_HDR_GSO_TCPV6);
	CU_ASSERT_EQUAL(h->csum_start, 54);
	m = tcp(3000, RTE_MBUF_F_TX_TCP_SEG); /* into segments of nothing */
	m->tso_segsz = 0;
	one_sent(m, 0);
	m = tcp(40, RTE_MBUF_F_TX_TCP_CKSUM); /* a checksum behind its end */
	one_sent(m, 0);
	m = tcp(100, RTE_MBUF_F_TX_TCP_CKSUM);
	m->l2_len = 0;
	one_sent(m, 0);
	one_sent(tcp(100, RTE_MBUF_F_TX_UDP_SEG), 0); /* not offered */
	CU_ASSERT_EQUAL(before, 0xfff0);
}

static uint64_t flags_received(const struct bh_virtio_net_hdr *hdr)
{
	static const uint8_t bytes[100];
	uint64_t flags = 0;
	struct rte_mbuf *m;

	nic->next_hdr = *hdr;
	nic->have_next_hdr = true;
	nic_inject(nic, 0, bytes, sizeof(bytes));
	nic_work(nic);
	CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, 0), &m, 1), 1);
	flags = m->ol_flags & ~RTE_MBUF_F_EXTERNAL;
	if (hdr->gso_type)
		CU_ASSERT_EQUAL(m->tso_segsz, hdr->gso_size);
	rte_pktmbuf_free(m);
	return flags;
}

static void headers_received_become_flags(void)
{
	struct bh_virtio_net_hdr hdr = { 0 };

	rig_start(0, BH_NET_RX_L4_CSUM | BH_NET_RX_LRO, 1, 64);
	CU_ASSERT_EQUAL(flags_received(&hdr), 0);
	hdr.flags = BH_VIRTIO_NET_HDR_F_DATA_VALID;
	CU_ASSERT_EQUAL(flags_received(&hdr), RTE_MBUF_F_RX_L4_CKSUM_GOOD);
	hdr.flags = BH_VIRTIO_NET_HDR_F_NEEDS_CSUM;
	CU_ASSERT_EQUAL(flags_received(&hdr), RTE_MBUF_F_RX_L4_CKSUM_NONE);
	hdr.gso_type = BH_VIRTIO_NET_HDR_GSO_TCPV4;
	hdr.gso_size = 1448;
	CU_ASSERT_EQUAL(flags_received(&hdr), RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_LRO);
}

static void notification_data_says_how_far(void)
{
	struct rte_mbuf *m = rig_packet(0, 60, 2048);

	nic->offered |= BIT(F_NOTIFICATION_DATA);
	rig_start(BIT(NET_F_CTRL_VQ), 0, 1, 64);
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), &m, 1), 1);
	CU_ASSERT_EQUAL(nic->last_kick, bh_virtq_notify_packed(1, 1, true));
	bh_net_close(net);
	m = rig_packet(0, 60, 2048);
	rig_start(BIT(NET_F_CTRL_VQ) | BIT(F_RING_PACKED), 0, 1, 64);
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), &m, 1), 1);
	CU_ASSERT_EQUAL(nic->last_kick, bh_virtq_notify_split(1, 1));
}

/* ---- what is refused ---- */

static void devices_that_make_no_sense_are_refused(void)
{
	uint8_t before[256];
	struct bh_virtio_net_config config = nic->config;

	nic->offered &= ~BIT(F_VERSION_1);
	CU_ASSERT_EQUAL(rig_open(0), -EOPNOTSUPP);
	nic->offered = NIC_FEATURES;
	memcpy(before, nic->space, sizeof(before));
	nic->space[0x40 + 3] = BH_VIRTIO_PCI_CAP_PCI; /* no common structure */
	CU_ASSERT_EQUAL(rig_open(0), -EOPNOTSUPP);
	memcpy(nic->space, before, sizeof(before));
	nic->space[0x40 + 4] = 2; /* a BAR that is not there */
	CU_ASSERT_EQUAL(rig_open(0), -EPROTO);
	memcpy(nic->space, before, sizeof(before));
	nic->space[0x40 + 9] = 0x3f; /* beyond the BAR */
	nic->space[0x40 + 8] = 1;
	CU_ASSERT_EQUAL(rig_open(0), -EPROTO);
	memcpy(nic->space, before, sizeof(before));
	nic->space[0x40 + 13] = 0; /* too short */
	CU_ASSERT_EQUAL(rig_open(0), -EPROTO);
	memcpy(nic->space, before, sizeof(before));
	nic->config.max_virtqueue_pairs = 0;
	CU_ASSERT_EQUAL(rig_open(0), -EPROTO);
	nic->config = config;
	nic->config.mtu = 10;
	CU_ASSERT_EQUAL(rig_open(0), -EPROTO);
	nic->config = config;
	nic->no_reset = true;
	nic->status = 1;
	CU_ASSERT_EQUAL(rig_open(0), -ETIMEDOUT);
	nic->no_reset = false;
	CU_ASSERT_EQUAL(rig_open(0), 0);
}

static void notifications_outside_of_the_bar_are_refused(void)
{
	nic->space[0x7c + 18] = 1; /* a multiplier of 65540 */
	CU_ASSERT_EQUAL_FATAL(rig_open(0), 0);
	CU_ASSERT_EQUAL_FATAL(rig_configure(0, 1, 64), 0);
	CU_ASSERT_EQUAL(bh_net_start(net), -EPROTO);
	CU_ASSERT_EQUAL(rig_avail(), RIG_MBUFS);
}

static void features_not_taken_are_eio(void)
{
	nic->no_features_ok = true;
	CU_ASSERT_EQUAL_FATAL(rig_open(0), 0);
	CU_ASSERT_EQUAL_FATAL(rig_configure(0, 1, 64), 0);
	CU_ASSERT_EQUAL(bh_net_start(net), -EIO);
}

static void queues_come_in_pairs(void)
{
	struct bh_net_conf conf;

	CU_ASSERT_EQUAL_FATAL(rig_open(0), 0);
	bh_net_conf_init(&conf);
	conf.rx_pool = bh_net_pool_mempool(pool);
	conf.n_txq = 2;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), -EINVAL);
	conf.n_rxq = 2;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), 0);
}

static void an_empty_pool_is_enobufs(void)
{
	static struct rte_mbuf *m[RIG_MBUFS];

	CU_ASSERT_EQUAL_FATAL(rig_open(0), 0);
	CU_ASSERT_EQUAL_FATAL(rig_configure(0, 1, 64), 0);
	CU_ASSERT_EQUAL_FATAL(rte_pktmbuf_alloc_bulk(bh_net_pool_mempool(pool), m, RIG_MBUFS), 0);
	CU_ASSERT_EQUAL(bh_net_start(net), -ENOBUFS);
	rte_pktmbuf_free_bulk(m, RIG_MBUFS);
	CU_ASSERT_EQUAL(bh_net_start(net), 0);
}

BH_SUITE_FIXTURE("net_virtio_control", rig_setup, rig_teardown,
		 { "information_is_the_devices", information_is_the_devices },
		 { "only_what_is_of_use_is_negotiated", only_what_is_of_use_is_negotiated },
		 { "commands_are_as_the_specification_has_them",
		   commands_are_as_the_specification_has_them },
		 { "rss_is_set_with_table_and_key", rss_is_set_with_table_and_key },
		 { "wishes_are_carried_out_at_each_start", wishes_are_carried_out_at_each_start },
		 { "link_changes_are_events", link_changes_are_events },
		 { "headers_ask_for_checksums_and_cuts", headers_ask_for_checksums_and_cuts },
		 { "headers_received_become_flags", headers_received_become_flags },
		 { "notification_data_says_how_far", notification_data_says_how_far },
		 { "devices_that_make_no_sense_are_refused",
		   devices_that_make_no_sense_are_refused },
		 { "notifications_outside_of_the_bar_are_refused",
		   notifications_outside_of_the_bar_are_refused },
		 { "features_not_taken_are_eio", features_not_taken_are_eio },
		 { "queues_come_in_pairs", queues_come_in_pairs },
		 { "an_empty_pool_is_enobufs", an_empty_pool_is_enobufs }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues and offloads of our network drivers in a guest: what vm-net does with packets of IP. */
#include <string.h>

#include "../common/ip.h"
#include "vmnet.h"

enum { QUEUES = 4, FRAMES = 256 };

/* From each of the queues in turn; every frame arrives once. */
static void say_from_queues(struct net *n)
{
	uint8_t frame[128], seen[FRAMES] = { 0 };
	unsigned int once = 0;

	for (unsigned int i = 0; i < FRAMES; i++) {
		net_fill(frame, 100, n->peer_mac, n->mac, i);
		if (!net_send(n, i % QUEUES, net_chain(n, frame, 100, 100)))
			return;
		if (i % BURST != BURST - 1)
			continue;
		for (unsigned int k = 0; k < BURST; k++) {
			if (!peer_receive(n, frame, sizeof(frame), 5000))
				break;
			seen[frame[NET_HEADER]]++;
		}
	}
	for (unsigned int i = 0; i < FRAMES; i++)
		once += seen[i] == 1;
	if (once != FRAMES) {
		net_show(n);
		vm_fail("%u of %u frames of four queues arrived once", once, FRAMES);
	}
}

/* Whatever a queue has, for up to a second or until `most` were there. */
static unsigned int drain(struct net *n, unsigned int most, unsigned int by_queue[QUEUES])
{
	uint64_t end = bh_now_ns() + 1000000000ull;
	unsigned int got = 0;

	while (got < most && bh_now_ns() < end) {
		for (unsigned int q = 0; q < QUEUES; q++) {
			struct rte_mbuf *m = net_receive(n, q, 0, true);

			by_queue[q] += m != NULL;
			got += m != NULL;
			rte_pktmbuf_free(m);
		}
	}
	return got;
}

/* A frame of ip_headers(), with a number's data. */
static void ip_frame(uint8_t *f, unsigned int bytes, const uint8_t to[6], const uint8_t from[6],
		     unsigned int protocol, unsigned int flow, bool partial)
{
	net_fill(f, bytes, to, from, flow);
	ip_headers(f, bytes, protocol, flow, partial);
}

/* Does a flow arrive where its hash says, with that hash? */
static bool flow_finds_its_queue(struct net *n, const struct bh_net_rss *rss, unsigned int flow)
{
	uint8_t frame[100];
	unsigned int queue;
	struct rte_mbuf *m;
	uint32_t hash;
	bool good;

	ip_frame(frame, 100, n->mac, n->peer_mac, IP_TCP, flow, false);
	hash = bh_net_rss_hash(rss->key, frame + IP_AT + 12, 12);
	queue = rss->table[hash % rss->table_size];
	if (!peer_send(n, frame, 100))
		return false;
	m = net_receive(n, queue, 5000, true);
	if (!m)
		return vm_fail("flow %u is not received on queue %u", flow, queue);
	good = m->ol_flags & RTE_MBUF_F_RX_RSS_HASH && m->hash.rss == hash;
	rte_pktmbuf_free(m);
	return good || vm_fail("flow %u has another hash than %08x", flow, hash);
}

static void hear_on_queues(struct net *n)
{
	unsigned int by_queue[QUEUES] = { 0 }, got = 0, used = 0;
	uint8_t frame[128];

	for (unsigned int i = 0; i < FRAMES; i++) {
		ip_frame(frame, 100, n->mac, n->peer_mac, IP_UDP, i, false);
		if (!peer_send(n, frame, 100))
			return;
		if (i % BURST == BURST - 1)
			got += drain(n, BURST, by_queue);
	}
	for (unsigned int q = 0; q < QUEUES; q++)
		used += by_queue[q] != 0;
	if (got != FRAMES || (bh_net_info(n->dev)->caps & BH_NET_CAP_RSS && used != QUEUES))
		vm_fail("%u of %u frames received: %u %u %u %u", got, FRAMES, by_queue[0],
			by_queue[1], by_queue[2], by_queue[3]);
}

void net_several_queues(struct vm *vm)
{
	struct bh_net_conf conf;
	struct bh_net_rss rss;
	struct net n;

	if (net_open(&n, vm, NET_MBUFS, 0)) {
		net_conf(&n, &conf);
		conf.n_rxq = conf.n_txq = QUEUES;
		conf.rx_depth = 128;
		conf.offloads = BH_NET_RX_RSS_HASH & bh_net_info(n.dev)->offloads;
		if (bh_net_info(n.dev)->max_rxq < QUEUES) {
			vm_skip("fewer than four queues");
		} else if (net_start(&n, &conf)) {
			say_from_queues(&n);
			hear_on_queues(&n);
			if (bh_net_info(n.dev)->caps & BH_NET_CAP_RSS &&
			    bh_net_rss_get(n.dev, &rss) == 0)
				for (unsigned int i = 0;
				     i < 40 && flow_finds_its_queue(&n, &rss, i); i++)
					;
		}
	}
	net_close(&n);
}

/* ---- offloads ---- */

static uint64_t checksums_of(struct net *n, const uint8_t *frame)
{
	struct rte_mbuf *m;
	uint64_t flags;

	if (!peer_send(n, frame, 100))
		return 0;
	m = net_receive(n, 0, 5000, true);
	if (!m) {
		vm_fail("it is not received");
		return 0;
	}
	flags = m->ol_flags & (RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK);
	rte_pktmbuf_free(m);
	return flags;
}

void net_checksums_received(struct vm *vm)
{
	static const unsigned int protocols[2] = { IP_UDP, IP_TCP };
	const uint64_t good = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	struct bh_net_conf conf;
	uint8_t frame[100];
	struct net n;

	if (net_open(&n, vm, NET_MBUFS, 0) &&
	    net_offers(&n, BH_NET_RX_IP_CSUM | BH_NET_RX_L4_CSUM)) {
		net_conf(&n, &conf);
		conf.offloads = BH_NET_RX_IP_CSUM | BH_NET_RX_L4_CSUM;
		for (int i = 0; net_start(&n, &conf) && i < 2; i++) {
			ip_frame(frame, 100, n.mac, n.peer_mac, protocols[i], 1, false);
			if (checksums_of(&n, frame) != good)
				vm_fail("protocol %u: good ones are not good", protocols[i]);
			frame[90] ^= 1;
			if (checksums_of(&n, frame) !=
			    (RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_BAD))
				vm_fail("protocol %u: damaged data is not told", protocols[i]);
			frame[90] ^= 1;
			frame[IP_AT + 8] ^= 1;
			if (checksums_of(&n, frame) !=
			    (RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_GOOD))
				vm_fail("protocol %u: a damaged header is not told", protocols[i]);
			bh_net_stop(n.dev);
		}
	}
	net_close(&n);
}

void net_checksums_sent(struct vm *vm)
{
	struct bh_net_conf conf;
	uint8_t frame[1514];
	struct rte_mbuf *m;
	struct net n;

	if (net_open(&n, vm, NET_MBUFS, 0) &&
	    net_offers(&n, BH_NET_TX_IP_CSUM | BH_NET_TX_L4_CSUM)) {
		net_conf(&n, &conf);
		conf.offloads = BH_NET_TX_IP_CSUM | BH_NET_TX_L4_CSUM | BH_NET_TX_MULTI_SEGS;
		if (net_start(&n, &conf))
			for (unsigned int i = 0; i < 40; i++) {
				bool tcp = i & 1;
				unsigned int bytes = 80 + 35 * i;

				ip_frame(frame, bytes, n.peer_mac, n.mac, tcp ? IP_TCP : IP_UDP, i,
					 true);
				m = net_chain(&n, frame, bytes, i % 4 ? 700 : 1514);
				if (!m)
					break;
				m->l2_len = NET_HEADER;
				m->l3_len = 20;
				m->ol_flags |=
					RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM |
					(tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
				if (!net_send(&n, 0, m))
					break;
				if (peer_receive(&n, frame, sizeof(frame), 5000) != bytes ||
				    !ip_sums_are_right(frame, bytes)) {
					vm_fail("checksums of frame %u are wrong", i);
					break;
				}
			}
	}
	net_close(&n);
}

/* Segments of what `sent` has, one after the other, each complete and right. */
static void segments_arrive(struct net *n, const uint8_t *sent, unsigned int bytes,
			    unsigned int mss)
{
	uint8_t frame[NET_FRAME_MOST];
	unsigned int at = IP_L4 + 20;

	while (at < bytes) {
		unsigned int part = bytes - at < mss ? bytes - at : mss;
		unsigned int got = peer_receive(n, frame, sizeof(frame), 5000);
		uint32_t number = ip_get32(frame + IP_L4 + 4);

		if (got != IP_L4 + 20 + part || number != 100000 + at - IP_L4 - 20 ||
		    !ip_sums_are_right(frame, got) ||
		    memcmp(frame + IP_L4 + 20, sent + at, part) != 0) {
			vm_fail("the segment at %u: %u bytes of %u, number %u, sums are %s", at,
				got, IP_L4 + 20 + part, number,
				ip_sums_are_right(frame, got) ? "right" : "wrong");
			return;
		}
		at += part;
	}
}

void net_segmentation(struct vm *vm)
{
	static uint8_t sent[30000];
	struct bh_net_conf conf;
	struct rte_mbuf *m;
	struct net n;

	if (net_open(&n, vm, NET_MBUFS, 0) &&
	    net_offers(&n, BH_NET_TX_TSO | BH_NET_TX_MULTI_SEGS)) {
		net_conf(&n, &conf);
		conf.offloads = BH_NET_TX_TSO | BH_NET_TX_MULTI_SEGS;
		if (net_start(&n, &conf))
			for (unsigned int mss = 536; mss <= 1460; mss += 231) {
				ip_frame(sent, sizeof(sent), n.peer_mac, n.mac, IP_TCP, 1, true);
				ip_put16(sent + IP_AT + 2, 0);
				ip_put16(sent + IP_L4 + 16, ip_sum(NULL, 0, ip_pseudo(sent, 0)));
				m = net_chain(&n, sent, sizeof(sent), 2000);
				if (!m)
					break;
				m->l2_len = NET_HEADER;
				m->l3_len = 20;
				m->l4_len = 20;
				m->tso_segsz = (uint16_t)mss;
				m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM |
					       RTE_MBUF_F_TX_TCP_SEG;
				if (!net_send(&n, 0, m))
					break;
				segments_arrive(&n, sent, sizeof(sent), mss);
			}
	}
	net_close(&n);
}

enum { DATA_6 = IP_L4_V6 + 20 };

static void segments6_arrive(struct net *n, const uint8_t *sent, unsigned int bytes,
			     unsigned int mss)
{
	uint8_t f[NET_FRAME_MOST];

	for (unsigned int at = DATA_6; at < bytes; at += mss) {
		unsigned int part = bytes - at < mss ? bytes - at : mss;
		unsigned int got = peer_receive(n, f, sizeof(f), 5000);

		if (got != DATA_6 + part || memcmp(f + DATA_6, sent + at, part) != 0 ||
		    ip_sum(f + IP_L4_V6, got - IP_L4_V6, ip_pseudo_v6(f, got - IP_L4_V6)) !=
			    0xffff) {
			vm_fail("the segment at %u: %u bytes of %u, or damaged", at, got,
				DATA_6 + part);
			return;
		}
	}
}

void net_segmentation_ipv6(struct vm *vm)
{
	static uint8_t sent[20000];
	struct bh_net_conf conf;
	struct rte_mbuf *m;
	struct net n;

	if (net_open(&n, vm, NET_MBUFS, 0) &&
	    net_offers(&n, BH_NET_TX_TSO | BH_NET_TX_MULTI_SEGS)) {
		net_conf(&n, &conf);
		conf.offloads = BH_NET_TX_TSO | BH_NET_TX_MULTI_SEGS;
		if (net_start(&n, &conf)) {
			net_fill(sent, sizeof(sent), n.peer_mac, n.mac, 1);
			ip_headers_v6(sent);
			m = net_chain(&n, sent, sizeof(sent), 2000);
			if (m) {
				m->l2_len = NET_HEADER;
				m->l3_len = 40;
				m->l4_len = 20;
				m->tso_segsz = 1200;
				m->ol_flags |= RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_TCP_SEG;
			}
			if (net_send(&n, 0, m))
				segments6_arrive(&n, sent, sizeof(sent), 1200);
		}
	}
	net_close(&n);
}

/* Sends a frame with a tag in it; what our card makes of it is the caller's. */
static struct rte_mbuf *tagged(struct net *n, uint16_t tag, unsigned int ms)
{
	uint8_t frame[104];

	net_fill(frame + 4, 100, n->mac, n->peer_mac, tag);
	memmove(frame, frame + 4, 12);
	ip_put16(frame + 12, 0x8100);
	ip_put16(frame + 14, tag);
	return peer_send(n, frame, 104) ? net_receive(n, 0, ms, true) : NULL;
}

/* A tagged frame arrives, and its tag is taken out if that was asked for. */
static bool tag_arrives(struct net *n, uint16_t tag)
{
	bool strip = bh_net_conf(n->dev)->offloads & BH_NET_RX_VLAN_STRIP;
	struct rte_mbuf *m = tagged(n, tag, 5000);
	bool good = m && m->pkt_len == 104;

	if (m && strip)
		good = m->pkt_len == 100 && m->vlan_tci == tag &&
		       m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED;
	rte_pktmbuf_free(m);
	return good || vm_fail("the tag is %s", m ? "not as it should be" : "not received");
}

static bool tags_are_filtered(struct net *n)
{
	struct rte_mbuf *m;

	if (bh_net_vlan(n->dev, 5, true) != 0)
		return vm_fail("the filter refuses");
	m = tagged(n, 6, 300);
	rte_pktmbuf_free(m);
	if (m)
		return vm_fail("a VLAN that is not wanted is received");
	if (!tag_arrives(n, 0x6005))
		return false;
	(void)bh_net_vlan(n->dev, 5, false);
	m = tagged(n, 5, 300);
	rte_pktmbuf_free(m);
	return !m || vm_fail("a VLAN that is not wanted any more is received");
}

static bool tags_are_put_in(struct net *n)
{
	uint8_t frame[200];

	for (uint16_t tag = 7; tag < 10; tag++) {
		struct rte_mbuf *m;

		net_fill(frame, 100, n->peer_mac, n->mac, tag);
		m = net_chain(n, frame, 100, 100);
		if (!m)
			return false;
		m->ol_flags |= RTE_MBUF_F_TX_VLAN;
		m->vlan_tci = tag;
		if (!net_send(n, 0, m))
			return false;
		if (!peer_receive(n, frame, sizeof(frame), 5000) || n->vlan != tag)
			return vm_fail("tag %u arrives as %u", tag, n->vlan);
	}
	return true;
}

void net_vlans(struct vm *vm)
{
	const uint64_t both = BH_NET_RX_VLAN_STRIP | BH_NET_TX_VLAN_INSERT;
	struct bh_net_conf conf;
	struct net n;

	if (net_open(&n, vm, NET_MBUFS, 0) && net_offers(&n, both)) {
		net_conf(&n, &conf);
		if (net_start(&n, &conf) && tag_arrives(&n, 5)) {
			bh_net_stop(n.dev);
			conf.offloads = both;
			if (net_start(&n, &conf) && tag_arrives(&n, 0x6005))
				(void)tags_are_put_in(&n);
		}
	}
	net_close(&n);
}

void net_vlan_filter(struct vm *vm)
{
	struct bh_net_conf conf;
	struct net n;

	if (net_open(&n, vm, NET_MBUFS, 0) && net_has(&n, BH_NET_CAP_VLAN_FILTER)) {
		net_conf(&n, &conf);
		conf.offloads = BH_NET_RX_VLAN_STRIP & bh_net_info(n.dev)->offloads;
		/* Some devices filter only if that was asked for when they were started. */
		if (bh_net_vlan(n.dev, 0xfff, true) != 0)
			vm_fail("the filter refuses");
		else if (net_start(&n, &conf))
			(void)tags_are_filtered(&n);
	}
	net_close(&n);
}

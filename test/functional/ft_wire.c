/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two controllers wired to each other, our driver on both: what one asks to be done to its packets
 * is done for the other, which hears what it wants to hear, sleeps, and goes and comes again.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../common/ip.h"
#include "nic.h"

#define TX_OFFLOADS (BH_NET_TX_L4_CSUM | BH_NET_TX_TSO | BH_NET_TX_MULTI_SEGS)
#define RX_OFFLOADS (BH_NET_RX_L4_CSUM | BH_NET_RX_LRO | BH_NET_RX_SCATTER)

enum { LONGEST = 40000 };

static const uint8_t mac_b[6] = { 0x52, 0x54, 0, 0, 0, 0xb };

/* a - wire - b */
struct wire {
	struct ft_target target;
	struct nic_memory memory;
	struct nic a, b;
};

static void wire_serve(struct wire *w, const char *more)
{
	char spec[2][128];

	snprintf(spec[0], sizeof(spec[0]), "port=pair:w,mac=52:54:00:00:00:0a%s", more);
	snprintf(spec[1], sizeof(spec[1]), "port=pair:w,mac=52:54:00:00:00:0b%s", more);
	nic_serve(&w->target, spec[0], spec[1]);
	nic_memory_open(&w->memory);
}

static void wire_open(struct wire *w, uint64_t without)
{
	nic_open(&w->a, &w->memory, w->target.socket[0], without);
	nic_open(&w->b, &w->memory, w->target.socket[1], without);
}

static void wire_close(struct wire *w)
{
	nic_close(&w->a);
	nic_close(&w->b);
	FT_EQUAL(nic_missing(&w->memory), 0);
}

static void wire_end(struct wire *w)
{
	nic_memory_close(&w->memory);
	ft_target_stop(&w->target);
}

/* ---- offloads ---- */

static void fill(uint8_t *frame, unsigned int bytes, unsigned int seed)
{
	for (unsigned int i = 0; i < bytes; i++)
		frame[i] = (uint8_t)(i * 7 + seed * 31 + (i >> 8));
	memcpy(frame, mac_b, 6);
	memset(frame + 6, 2, 6);
}

/* The frame in mbufs of at most NIC_SEGMENT bytes. */
static struct rte_mbuf *chain_of(struct nic *n, const uint8_t *frame, uint32_t bytes)
{
	struct rte_mbuf *m = nic_packet(n, 0, bytes, NIC_SEGMENT);

	for (struct rte_mbuf *s = m; s; frame += s->data_len, s = s->next)
		memcpy(rte_pktmbuf_mtod(s, uint8_t *), frame, s->data_len);
	return m;
}

static void send_one(struct nic *n, struct rte_mbuf *m, uint64_t flags, bool is_v6)
{
	m->l2_len = IP_AT;
	m->l3_len = is_v6 ? 40 : 20;
	m->l4_len = 20;
	m->ol_flags |= flags | (is_v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4);
	nic_send(n, 0, &m, 1);
}

/* The next frame, in one piece; what is to be known of it is in *head. */
static uint32_t hear(struct nic *n, uint8_t *frame, struct rte_mbuf *head)
{
	struct rte_mbuf *m;
	uint32_t at = 0;

	nic_receive(n, 0, &m, 1);
	*head = *m;
	FT_CHECK(m->pkt_len <= LONGEST);
	for (const struct rte_mbuf *s = m; s; at += s->data_len, s = s->next)
		memcpy(frame + at, rte_pktmbuf_mtod(s, const uint8_t *), s->data_len);
	FT_EQUAL(at, head->pkt_len);
	rte_pktmbuf_free(m);
	return at;
}

/* TCP and UDP whose checksums are the card's to compute. */
static void checksums(struct wire *w, bool agreed)
{
	static uint8_t sent[LONGEST], got[LONGEST];
	struct rte_mbuf head;

	for (unsigned int i = 0; i < 40; i++) {
		bool tcp = i & 1;
		uint32_t bytes = 80 + 35 * i;

		fill(sent, bytes, i);
		ip_headers(sent, bytes, tcp ? IP_TCP : IP_UDP, i, true);
		/* The card leaves IPv4's own header alone. */
		ip_put16(sent + IP_AT + 10, 0xffffu & ~ip_sum(sent + IP_AT, 20, 0));
		send_one(&w->a, chain_of(&w->a, sent, bytes),
			 tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM, false);
		FT_EQUAL(hear(&w->b, got, &head), bytes);
		FT_EQUAL(head.ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK,
			 agreed ? RTE_MBUF_F_RX_L4_CKSUM_NONE : 0);
		FT_EQUAL(ip_sums_are_right(got, bytes), !agreed);
		ip_put16(got + IP_L4 + (tcp ? 16 : 6),
			 ip_sum(NULL, 0, ip_pseudo(sent, bytes - IP_L4)));
		FT_EQUAL(memcmp(got, sent, bytes), 0);
	}
}

/* 38 KiB of TCP in one packet, to be cut. */
static void send_long(struct wire *w, uint8_t *sent, uint32_t bytes, uint16_t mss, bool is_v6)
{
	struct rte_mbuf *m;

	fill(sent, bytes, mss);
	if (is_v6) {
		ip_headers_v6(sent);
		ip_put16(sent + IP_AT + 4, bytes - IP_L4_V6);
	} else {
		ip_headers(sent, bytes, IP_TCP, 1, true);
		ip_put16(sent + IP_L4 + 16, ip_sum(NULL, 0, ip_pseudo(sent, 0)));
	}
	m = chain_of(&w->a, sent, bytes);
	m->tso_segsz = mss;
	send_one(&w->a, m, RTE_MBUF_F_TX_TCP_SEG, is_v6);
}

/* For a receiver that did not agree to long packets: segments, each of them whole and right. */
static void segments(struct wire *w, uint16_t mss, bool is_v6)
{
	static uint8_t sent[LONGEST], got[LONGEST];
	uint32_t l4 = is_v6 ? IP_L4_V6 : IP_L4, at = l4 + 20, bytes = 38 * 1024;
	struct rte_mbuf head;

	send_long(w, sent, bytes, mss, is_v6);
	while (at < bytes) {
		uint32_t part = bytes - at < mss ? bytes - at : mss;

		FT_EQUAL(hear(&w->b, got, &head), l4 + 20 + part);
		FT_EQUAL(memcmp(got + l4 + 20, sent + at, part), 0);
		FT_EQUAL(ip_get32(got + l4 + 4), 100000 + at - l4 - 20);
		if (is_v6)
			FT_EQUAL(ip_sum(got + l4, 20 + part, ip_pseudo_v6(got, 20 + part)), 0xffff);
		else
			FT_CHECK(ip_sums_are_right(got, l4 + 20 + part));
		at += part;
	}
}

/* For one that did: as it was, in as many buffers as it takes. */
static void long_packet(struct wire *w, uint16_t mss, bool is_v6)
{
	static uint8_t sent[LONGEST], got[LONGEST];
	uint32_t l4 = is_v6 ? IP_L4_V6 : IP_L4, bytes = 38 * 1024;
	struct rte_mbuf head;

	send_long(w, sent, bytes, mss, is_v6);
	FT_EQUAL(hear(&w->b, got, &head), bytes);
	FT_CHECK(head.nb_segs > 1);
	FT_CHECK(head.ol_flags & RTE_MBUF_F_RX_LRO);
	FT_EQUAL(head.tso_segsz, mss);
	FT_EQUAL(memcmp(got + l4 + 20, sent + l4 + 20, bytes - l4 - 20), 0);
}

static void offloads(void)
{
	struct wire w;

	wire_serve(&w, "");
	for (unsigned int i = 0; i < NIC_FORMATS; i++) {
		wire_open(&w, nic_formats[i].without);
		nic_start(&w.a, TX_OFFLOADS, 1, 256, 1500);
		nic_start(&w.b, 0, 1, 256, 1500);
		checksums(&w, false);
		for (uint16_t mss = 536; mss <= 1460; mss += 231) {
			segments(&w, mss, false);
			segments(&w, mss, true);
		}
		bh_net_stop(w.b.net);
		nic_start(&w.b, RX_OFFLOADS, 1, 256, 1500);
		checksums(&w, true);
		long_packet(&w, 1000, false);
		long_packet(&w, 1000, true);
		wire_close(&w);
	}
	wire_end(&w);
}

/* ---- filters ---- */

static const uint8_t other[6] = { 0x52, 0x54, 0, 0, 9, 9 };
static const uint8_t group[6] = { 0x01, 0, 0x5e, 1, 2, 3 };
static const uint8_t everyone[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

/* Does b hear a packet to that address, with that tag (0: none)? */
static bool reaches(struct wire *w, const uint8_t to[6], uint16_t tag)
{
	struct rte_mbuf *m[2], *got;
	uint8_t own[6];
	bool heard;

	/* The second one, to b itself, says when the first has been dealt with. */
	bh_net_mac(w->b.net, own);
	for (unsigned int i = 0; i < 2; i++) {
		uint8_t *frame;

		m[i] = nic_packet(&w->a, i, 100, NIC_SEGMENT);
		frame = rte_pktmbuf_mtod(m[i], uint8_t *);
		memcpy(frame, i ? own : to, 6);
		ip_put16(frame + 12, i || !tag ? 0x88b5 : 0x8100);
		ip_put16(frame + 14, i ? 0xffff : tag);
	}
	nic_send(&w->a, 0, m, 2);
	nic_receive(&w->b, 0, &got, 1);
	heard = *rte_pktmbuf_mtod_offset(got, uint8_t *, 15) != 0xff;
	rte_pktmbuf_free(got);
	if (heard) {
		nic_receive(&w->b, 0, &got, 1);
		rte_pktmbuf_free(got);
	}
	return heard;
}

static void modes(struct wire *w)
{
	struct bh_net *b = w->b.net;

	FT_CHECK(reaches(w, mac_b, 0) && reaches(w, everyone, 0));
	FT_CHECK(!reaches(w, other, 0) && !reaches(w, group, 0));
	FT_EQUAL(bh_net_promisc(b, true), 0);
	FT_CHECK(reaches(w, other, 0) && reaches(w, group, 0));
	FT_EQUAL(bh_net_promisc(b, false), 0);
	FT_EQUAL(bh_net_allmulti(b, true), 0);
	FT_CHECK(!reaches(w, other, 0) && reaches(w, group, 0));
	FT_EQUAL(bh_net_allmulti(b, false), 0);
	FT_EQUAL(bh_net_multicast(b, &group, 1), 0);
	FT_CHECK(!reaches(w, other, 0) && reaches(w, group, 0));
	FT_EQUAL(bh_net_multicast(b, NULL, 0), 0);
	FT_CHECK(!reaches(w, group, 0));
	FT_EQUAL(bh_net_mac_set(b, other), 0);
	FT_CHECK(reaches(w, other, 0) && !reaches(w, mac_b, 0));
	FT_EQUAL(bh_net_mac_set(b, mac_b), 0);
}

static void filters(void)
{
	struct bh_net *b;
	struct wire w;

	wire_serve(&w, "");
	for (unsigned int i = 0; i < NIC_FORMATS; i++) {
		wire_open(&w, nic_formats[i].without);
		b = w.b.net;
		nic_start(&w.a, 0, 1, 64, 1500);
		nic_start(&w.b, 0, 1, 64, 1500);
		modes(&w);
		FT_CHECK(reaches(&w, mac_b, 5)); /* nobody filters yet */
		bh_net_stop(b);
		FT_EQUAL(bh_net_vlan(b, 5, true), 0);
		FT_EQUAL(bh_net_multicast(b, &group, 1), 0);
		FT_EQUAL(bh_net_start(b), 0);
		FT_CHECK(reaches(&w, mac_b, 0) && reaches(&w, mac_b, 5) && !reaches(&w, mac_b, 6));
		FT_CHECK(reaches(&w, group, 0)); /* wishes outlive a stop */
		FT_EQUAL(bh_net_vlan(b, 6, true), 0);
		FT_EQUAL(bh_net_vlan(b, 5, false), 0);
		FT_CHECK(!reaches(&w, mac_b, 5) && reaches(&w, mac_b, 6));
		wire_close(&w);
	}
	wire_end(&w);
}

/* ---- sleeping, and not being woken ---- */

static void start_with_fds(struct nic *n)
{
	struct bh_net_conf conf;

	bh_net_conf_init(&conf);
	conf.rx_pool = bh_net_pool_mempool(n->memory->pool);
	conf.queue_fds = true;
	FT_EQUAL(bh_net_configure(n->net, &conf), 0);
	FT_EQUAL(bh_net_start(n->net), 0);
}

static bool is_woken(struct nic *n, int ms)
{
	struct pollfd p = { .fd = bh_net_rxq_fd(n->net, 0), .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

static void one_sleeps(struct wire *w)
{
	for (unsigned int i = 0; i < 5; i++) {
		struct rte_mbuf *m = nic_packet(&w->a, i, 100, NIC_SEGMENT);

		memcpy(rte_pktmbuf_mtod(m, uint8_t *), mac_b, 6);
		FT_EQUAL(bh_net_rxq_arm(w->b.net, 0), 0);
		FT_CHECK(!is_woken(&w->b, 10));
		nic_send(&w->a, 0, &m, 1);
		FT_CHECK(is_woken(&w->b, 10000));
		FT_EQUAL(bh_net_rxq_arm(w->b.net, 0), -EAGAIN);
		nic_receive(&w->b, 0, &m, 1);
		rte_pktmbuf_free(m);
	}
}

static void sleeping_over(const char *more)
{
	struct wire w;

	wire_serve(&w, more);
	for (unsigned int i = 0; i < NIC_FORMATS; i++) {
		wire_open(&w, nic_formats[i].without);
		nic_start(&w.a, 0, 1, 64, 1500);
		start_with_fds(&w.b);
		one_sleeps(&w);
		wire_close(&w);
	}
	wire_end(&w);
}

static void sleeping(void)
{
	sleeping_over("");
	sleeping_over(",doorbells=trapped");
}

static uint64_t kicks(struct nic *n)
{
	struct bh_net_xstat list[64];
	int count = bh_net_xstats(n->net, list, 64);
	uint64_t sum = 0;

	FT_CHECK(count > 0 && count <= 64);
	for (int i = 0; i < count; i++)
		if (strstr(list[i].name, "_kicks"))
			sum += list[i].value;
	return sum;
}

/*
 * Fewer kicks than bursts, by far: a hundred, on CPUs of their own. A target that others keep from
 * running, or whose driver they do, has to be woken often, so it may try some times; one that never
 * sees to kicks gets one per burst each time.
 */
static bool is_busy_without_kicks(struct nic *n, uint64_t packets)
{
	for (unsigned int i = 0; i < 12; i++) {
		uint64_t before = kicks(n);

		nic_in_sequence(n, packets);
		if (kicks(n) - before < packets / 32)
			return true;
	}
	return false;
}

/* With trapped notifications: hardly a kick while it is busy, no CPU while it is not. */
static void busy_pair_does_not_kick(void)
{
	const uint64_t packets = ft_is_sanitized() ? 20000 : 500000;
	struct ft_target target;
	struct nic_memory memory;
	uint64_t before, used;
	struct nic n;

	nic_serve(&target, "port=loopback,doorbells=trapped", NULL);
	nic_memory_open(&memory);
	for (unsigned int i = 0; i < NIC_FORMATS; i++) {
		nic_open(&n, &memory, target.socket[0], nic_formats[i].without);
		nic_start(&n, 0, 1, 256, 1500);
		FT_CHECK(is_busy_without_kicks(&n, packets));
		usleep(200000);
		before = ft_target_cpu_ms(&target);
		usleep(300000);
		used = ft_target_cpu_ms(&target) - before;
		FT_CHECK(used <= 60);
		before = kicks(&n);
		FT_UNTIL(5000, kicks(&n) > before, {
			usleep(1000);
			nic_echo(&n, 0, 1, 60, NIC_SEGMENT);
		});
		nic_close(&n);
	}
	nic_memory_close(&memory);
	ft_target_stop(&target);
}

/* ---- ends come and go ---- */

/* Both may be polled by the same CPU, so the sender lets go while nobody receives. */
static void an_end_goes_and_comes(void)
{
	struct rte_mbuf *m;
	struct wire w;

	wire_serve(&w, ",queues=2");
	wire_open(&w, 0);
	nic_start(&w.a, 0, 2, 64, 1500);
	for (unsigned int round = 0; round < 5; round++) {
		nic_start(&w.b, 0, 1 + round % 2, 64, 1500);
		FT_CHECK(reaches(&w, mac_b, 0));
		nic_close(&w.b);
		for (unsigned int i = 0; i < 500; i++) {
			m = nic_packet(&w.a, i, 1000, NIC_SEGMENT);
			nic_send(&w.a, i % 2, &m, 1);
		}
		nic_open(&w.b, &w.memory, w.target.socket[1],
			 nic_formats[round % NIC_FORMATS].without);
	}
	wire_close(&w);
	wire_end(&w);
}

FT_MAIN({ "offloads", offloads, 0 }, { "filters", filters, 0 }, { "sleeping", sleeping, 0 },
	{ "busy_pair_does_not_kick", busy_pair_does_not_kick, 0 },
	{ "an_end_goes_and_comes", an_end_goes_and_comes, 0 })

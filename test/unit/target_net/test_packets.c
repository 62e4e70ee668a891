/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets through ports: sizes, chains, buffers too few and too small, offloads, hostile rings. */
#include <stdio.h>

#include "net_rig.h"

#define OFFLOADS (TNET_OFFLOADS_TX | TNET_OFFLOADS_RX)

static struct rig r, s;

/* One packet, out and back. */
static bool echoes(uint32_t len, unsigned int seed)
{
	uint32_t got = 0;
	uint8_t *frame;

	rig_send(&r, 0, len, seed, NULL);
	rig_turn();
	frame = rig_receive(&r, 0, &got);
	if (!frame || got != len || rig_hdr(frame)->num_buffers != 1)
		return false;
	return rig_check(frame, len, seed) && rig_used(&r, &r.vq[1], NULL) >= 0;
}

static void loopback_of_every_size(void)
{
	rig_open(&r, rig_port("loopback", "", 1), 1);
	rig_start(&r, 0);
	for (uint32_t len = 14; len <= 9018; len += len < 600 ? 1 : 97) {
		rig_offer(&r, 0, 1, 9100);
		CU_ASSERT_TRUE_FATAL(echoes(len, len));
	}
	CU_ASSERT_PTR_NULL(r.net->pair[0]->tx.broken);
	rig_close(&r);
}

static void bursts_go_round_both_rings(void)
{
	struct bh_target_net_stats stats;
	uint32_t len = 0;
	unsigned int sent = 0, got = 0;

	rig_open(&r, rig_port("loopback", "", 1), 1);
	rig_start(&r, 0);
	for (unsigned int round = 0; round < 40; round++) {
		unsigned int n = 1 + round % 50;

		rig_offer(&r, 0, n, 256);
		for (unsigned int i = 0; i < n; i++)
			rig_send(&r, 0, 60 + i, sent++, NULL);
		rig_turn();
		for (unsigned int i = 0; i < n; i++) {
			uint8_t *frame = rig_receive(&r, 0, &len);

			CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
			CU_ASSERT_EQUAL(len, 60 + i);
			CU_ASSERT_TRUE(rig_check(frame, len, got++));
		}
		/* With IN_ORDER the last of a burst speaks for all of it; the rig looks per burst. */
		while (n) {
			struct rig_vq *q = &r.vq[1];
			unsigned int run = n < TNET_BURST ? n : TNET_BURST;
			uint16_t last = (uint16_t)((q->used + run - 1) % RIG_DEPTH);

			CU_ASSERT_EQUAL_FATAL(rig_desc(&r, q, q->used)->id, last);
			CU_ASSERT_TRUE(bh_virtq_packed_is_used(rig_desc(&r, q, q->used)->flags,
							       q->used_wrap));
			q->used = (uint16_t)(q->used + run);
			if (q->used >= RIG_DEPTH) {
				q->used = (uint16_t)(q->used - RIG_DEPTH);
				q->used_wrap = !q->used_wrap;
			}
			n -= run;
		}
	}
	bh_target_net_stats(r.net, &stats);
	CU_ASSERT_EQUAL(stats.counts.tx_packets, sent);
	CU_ASSERT_EQUAL(stats.counts.rx_packets, sent);
	CU_ASSERT_EQUAL(stats.counts.tx_drops + stats.counts.rx_drops, 0);
	rig_close(&r);
}

static void packet_in_pieces_arrives_in_buffers(void)
{
	const uint32_t in[2] = { 1000, 500 };
	uint32_t len = 0, total = 0;
	struct rig_vq *rx = &r.vq[0];

	rig_open(&r, rig_port("loopback", "", 1), 1);
	rig_start(&r, NET(MRG_RXBUF));
	for (unsigned int i = 0; i < 10; i++)
		rig_add(&r, rx, in, 0, 2);
	for (unsigned int split = 1; split < 4; split++) {
		/* The header in one piece, in two, or with the packet's first byte. */
		const uint32_t out[3] = { split == 1   ? 12
					  : split == 2 ? 5
						       : 13,
					  split == 1   ? 100
					  : split == 2 ? 7
						       : 99,
					  4000 };
		const struct bh_virtio_net_hdr *hdr;
		unsigned int buffers = 0;

		r.room = RIG_DATA + 0x20000 * split;
		memset(r.mem + r.room, 0, 0x2000);
		rig_add(&r, &r.vq[1], out, 3, 0);
		rig_turn();
		CU_ASSERT(rig_used(&r, &r.vq[1], NULL) >= 0);
		hdr = (const void *)(r.mem + rx->at[rx->used]);
		CU_ASSERT_EQUAL(hdr->num_buffers, (out[0] + out[1] + out[2] + 1499) / 1500);
		for (total = 0; buffers < hdr->num_buffers; buffers++) {
			CU_ASSERT_FATAL(rig_used(&r, rx, &len) >= 0);
			total += len;
		}
		CU_ASSERT_EQUAL(total, out[0] + out[1] + out[2]);
		CU_ASSERT_EQUAL(rig_used(&r, rx, &len), -1);
	}
	rig_close(&r);
}

static void packet_waits_for_buffers(void)
{
	uint32_t len = 0;

	rig_open(&r, rig_port("loopback", "", 1), 1);
	rig_start(&r, NET(MRG_RXBUF));
	rig_send(&r, 0, 1000, 7, NULL);
	rig_offer(&r, 0, 1, 600);
	rig_turn();
	CU_ASSERT_PTR_NULL(rig_receive(&r, 0, &len));
	CU_ASSERT_EQUAL(rig_used(&r, &r.vq[1], NULL), -1);
	rig_offer(&r, 0, 1, 600);
	rig_turn();
	CU_ASSERT_PTR_NOT_NULL(rig_receive(&r, 0, &len));
	CU_ASSERT_PTR_NOT_NULL(rig_receive(&r, 0, &len));
	CU_ASSERT_EQUAL(len, 1000 + TNET_HDR - 600 - TNET_HDR);
	CU_ASSERT(rig_used(&r, &r.vq[1], NULL) >= 0);
	rig_close(&r);
}

static void packet_larger_than_a_buffer_is_lost(void)
{
	rig_open(&r, rig_port("loopback", "", 1), 1);
	rig_start(&r, 0);
	rig_offer(&r, 0, 2, 600);
	rig_send(&r, 0, 1000, 7, NULL);
	rig_turn();
	CU_ASSERT(rig_used(&r, &r.vq[1], NULL) >= 0);
	CU_ASSERT_TRUE(echoes(500, 1)); /* the buffer was left alone */
	rig_close(&r);
}

/* ---- offloads ---- */

static uint32_t ones_sum(const uint8_t *p, uint32_t len, uint32_t start)
{
	for (uint32_t i = 0; i < len; i++)
		start += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return start;
}

/* An IPv4 packet with a TCP header at 34 and `payload` bytes, its checksum left to be done. */
static void make_tcp(uint8_t *frame, uint32_t payload)
{
	const uint32_t l4 = 20 + payload;
	uint8_t *ip = frame + 14, *tcp = frame + 34;
	uint32_t sum;

	memset(frame, 0, 54);
	frame[12] = 8;
	ip[0] = 0x45;
	ip[2] = (uint8_t)((20 + l4) >> 8);
	ip[3] = (uint8_t)(20 + l4);
	ip[5] = 0xff; /* an id about to wrap its low byte */
	ip[8] = 64;
	ip[9] = 6;
	memcpy(ip + 12, "\x0a\x09\x00\x01\x0a\x09\x00\x02", 8);
	tcp[7] = 100; /* sequence number */
	tcp[12] = 0x50;
	tcp[13] = 0x89; /* CWR, PSH, FIN */
	sum = ones_sum(ip + 12, 8, l4 + 6);
	tcp[16] = (uint8_t)(sum >> 8);
	tcp[17] = (uint8_t)sum;
}

static bool tcp_is_right(const uint8_t *frame, uint32_t len)
{
	return len >= 54 && ones_sum(frame + 34, len - 34, 0) != 0 &&
	       ones_sum(frame + 34, len - 34, ones_sum(frame + 26, 8, len - 34 + 6)) == 0xffff;
}

static const struct bh_virtio_net_hdr csum_hdr = { .flags = BH_VIRTIO_NET_HDR_F_NEEDS_CSUM,
						   .csum_start = 34,
						   .csum_offset = 16 };

static void checksum_is_left_to_who_agreed_to_it(void)
{
	uint8_t *frame;
	uint32_t len = 0;

	rig_open(&r, rig_port("loopback", "", 1), 1);
	for (int agreed = 0; agreed < 2; agreed++) {
		rig_start(&r, NET(CSUM) | (agreed ? NET(GUEST_CSUM) : 0));
		rig_offer(&r, 0, 1, 2048);
		frame = rig_send(&r, 0, 154, 3, &csum_hdr);
		make_tcp(frame, 100);
		rig_turn();
		frame = rig_receive(&r, 0, &len);
		CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
		CU_ASSERT_EQUAL(len, 154);
		CU_ASSERT_EQUAL(rig_hdr(frame)->flags, agreed ? BH_VIRTIO_NET_HDR_F_NEEDS_CSUM : 0);
		CU_ASSERT_EQUAL(tcp_is_right(frame, len), !agreed);
	}
	rig_close(&r);
}

static void segments_are_cut_for_who_cannot(void)
{
	const struct bh_virtio_net_hdr hdr = { .flags = BH_VIRTIO_NET_HDR_F_NEEDS_CSUM,
					       .gso_type = BH_VIRTIO_NET_HDR_GSO_TCPV4,
					       .gso_size = 1000,
					       .csum_start = 34,
					       .csum_offset = 16 };
	uint8_t *frame;
	uint32_t len = 0;

	rig_open(&r, rig_port("loopback", "", 1), 1);
	rig_start(&r, NET(CSUM) | NET(HOST_TSO4) | NET(GUEST_CSUM));
	rig_offer(&r, 0, 8, 2048);
	frame = rig_send(&r, 0, 54 + 3500, 3, &hdr);
	make_tcp(frame, 3500);
	rig_turn();
	for (unsigned int i = 0; i < 4; i++) {
		frame = rig_receive(&r, 0, &len);
		CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
		CU_ASSERT_EQUAL(len, 54 + (i < 3 ? 1000 : 500));
		CU_ASSERT_TRUE(tcp_is_right(frame, len));
		CU_ASSERT_EQUAL(ones_sum(frame + 14, 20, 0), 0xffff);
		CU_ASSERT_EQUAL(frame[16] << 8 | frame[17], (int)len - 14);
		CU_ASSERT_EQUAL(frame[18] << 8 | frame[19], 0xff + (int)i);
		CU_ASSERT_EQUAL(frame[40] << 8 | frame[41], 100 + 1000 * (int)i);
		CU_ASSERT_EQUAL(frame[47], i == 0 ? 0x80 : i < 3 ? 0 : 9);
	}
	CU_ASSERT_PTR_NULL(rig_receive(&r, 0, &len));
	/* As it is, for a receiver that agreed. */
	rig_start(&r, OFFLOADS);
	rig_offer(&r, 0, 1, 9000);
	frame = rig_send(&r, 0, 54 + 3500, 3, &hdr);
	make_tcp(frame, 3500);
	rig_turn();
	frame = rig_receive(&r, 0, &len);
	CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
	CU_ASSERT_EQUAL(len, 54 + 3500);
	CU_ASSERT_EQUAL(rig_hdr(frame)->gso_size, 1000);
	rig_close(&r);
}

static void nonsense_in_a_header_costs_its_packet(void)
{
	static const struct bh_virtio_net_hdr bad[] = {
		{ .flags = 1, .csum_start = 60 },
		{ .flags = 1, .csum_start = 40, .csum_offset = 19 },
		{ .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff },
		{ .gso_type = BH_VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 100 },
		{ .flags = 1, .gso_type = BH_VIRTIO_NET_HDR_GSO_TCPV4 },
		{ .flags = 1, .gso_type = BH_VIRTIO_NET_HDR_GSO_UDP, .gso_size = 100 },
		{ .flags = 1, .gso_type = 0x7f, .gso_size = 100 },
	};
	struct bh_target_net_stats stats;
	uint32_t len, tiny = TNET_HDR + 13;

	rig_open(&r, rig_port("loopback", "", 1), 1);
	rig_start(&r, OFFLOADS);
	rig_offer(&r, 0, 20, 2048);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		rig_send(&r, 0, 60, i, &bad[i]);
	rig_add(&r, &r.vq[1], &tiny, 1, 0);
	rig_turn();
	CU_ASSERT_PTR_NULL(rig_receive(&r, 0, &len));
	bh_target_net_stats(r.net, &stats);
	CU_ASSERT_EQUAL(stats.counts.tx_drops, sizeof(bad) / sizeof(bad[0]) + 1);
	CU_ASSERT_EQUAL(RIG_GET(&r, device_status), 15);
	rig_close(&r);
}

/* Every length and layout of what wants to be cut, none of which may be trusted. */
static void segments_of_garbage(void)
{
	static uint8_t out[TNET_MAX_FRAME];
	uint64_t state = 1;

	for (unsigned int i = 0; i < 200000; i++) {
		uint8_t frame[128];
		struct bh_virtio_net_hdr hdr = { .flags = 1, .gso_size = 1 };
		uint32_t len = 14 + i % 114, n;

		for (unsigned int k = 0; k < sizeof(frame); k++) {
			state = state * 6364136223846793005ull + 1442695040888963407ull;
			frame[k] = (uint8_t)(state >> 56);
		}
		frame[12] = i & 1 ? 0x08 : i & 2 ? 0x86 : 0x81;
		frame[13] = i & 1 ? 0x00 : i & 2 ? 0xdd : 0x00;
		hdr.gso_type = i & 1 ? BH_VIRTIO_NET_HDR_GSO_TCPV4 : BH_VIRTIO_NET_HDR_GSO_TCPV6;
		hdr.csum_start = (uint16_t)(state >> 40) % 80;
		n = tnet_gso_count(&hdr, frame, len);
		CU_ASSERT_FATAL(n <= len);
		for (uint32_t k = 0; k <= n; k++)
			CU_ASSERT_FATAL(tnet_gso_segment(&hdr, frame, len, k, out) <= len);
	}
}

/* ---- hostile ---- */

static void broken_queue_is_said_and_reset_mends_it(void)
{
	const uint32_t len = 64;

	rig_open(&r, rig_port("loopback", "", 2), 2);
	rig_start(&r, NET(MQ) | NET(CTRL_VQ));
	rig_add(&r, &r.vq[BH_VIRTIO_NET_TXQ(1)], &len, 0, 1); /* to be written */
	rig_turn();
	CU_ASSERT_EQUAL(RIG_GET(&r, device_status), 15 | BH_VIRTIO_STATUS_NEEDS_RESET);
	CU_ASSERT_EQUAL(r.server->raised[0], 1);
	rig_offer(&r, 0, 1, 2048);
	CU_ASSERT_TRUE(echoes(60, 1)); /* the other pair goes on */
	rig_start(&r, NET(MQ) | NET(CTRL_VQ));
	rig_offer(&r, 1, 1, 2048);
	rig_send(&r, 1, 60, 2, NULL);
	rig_turn();
	CU_ASSERT(rig_used(&r, &r.vq[BH_VIRTIO_NET_RXQ(1)], NULL) >= 0);
	rig_close(&r);
}

static void receive_buffer_to_be_read_breaks_its_queue(void)
{
	const uint32_t len = 2048, small = TNET_HDR - 1;

	for (int i = 0; i < 2; i++) {
		rig_open(&r, rig_port("loopback", "", 1), 1);
		rig_start(&r, 0);
		rig_add(&r, &r.vq[0], i ? &small : &len, !i, i);
		rig_send(&r, 0, 60, 1, NULL);
		rig_turn();
		CU_ASSERT_PTR_NOT_NULL(r.net->pair[0]->rx.broken);
		CU_ASSERT_EQUAL(RIG_GET(&r, device_status), 15 | BH_VIRTIO_STATUS_NEEDS_RESET);
		rig_close(&r);
	}
}

static void memory_that_goes_and_comes_back(void)
{
	const struct bh_vfu_ops *ops;

	rig_open(&r, rig_port("loopback", "", 1), 1);
	rig_start(&r, 0);
	ops = r.server->opts.ops;
	rig_offer(&r, 0, 8, 2048);
	CU_ASSERT_TRUE(echoes(60, 1));
	ops->quiesce(r.net, BH_QUIESCE_UNMAP, RIG_IOVA, RIG_BYTES);
	CU_ASSERT_EQUAL(bh_cmem_del(&r.server->cmem, 0, 0), 0);
	ops->resume(r.net, BH_QUIESCE_UNMAP);
	CU_ASSERT_FALSE(echoes(60, 2));
	ops->quiesce(r.net, BH_QUIESCE_MAP, RIG_IOVA, RIG_BYTES);
	CU_ASSERT_EQUAL(bh_cmem_add(&r.server->cmem, RIG_IOVA, RIG_BYTES,
				    BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE, BH_CMEM_MAPPED,
				    dup(r.fd), 0),
			0);
	ops->resume(r.net, BH_QUIESCE_MAP);
	rig_turn();
	CU_ASSERT(rig_used(&r, &r.vq[1], NULL) >= 0); /* what it did not see before */
	CU_ASSERT_EQUAL(RIG_GET(&r, device_status), 15);
	rig_close(&r);
}

/* ---- pair ---- */

static void open_pair(unsigned int queues, uint64_t features)
{
	struct bh_net_port_opts opts;
	struct bh_net_port *end[2];

	bh_net_port_opts_init(&opts);
	opts.queues = queues;
	CU_ASSERT_EQUAL_FATAL(bh_net_port_pair(&opts, end), 0);
	rig_open(&r, end[0], queues);
	rig_open(&s, end[1], queues);
	rig_start(&r, features);
	rig_start(&s, features);
}

/* From r to s. */
static bool passes(struct rig *from, struct rig *to, uint32_t len, unsigned int seed,
		   const uint8_t *head, uint32_t head_len)
{
	uint8_t *frame = rig_send(from, 0, len, seed, NULL);
	uint32_t got = 0;

	if (head)
		memcpy(frame, head, head_len);
	rig_turn();
	rig_used(from, &from->vq[1], NULL);
	frame = rig_receive(to, 0, &got);
	if (!frame)
		return false;
	CU_ASSERT_EQUAL(got, len);
	CU_ASSERT(head ? memcmp(frame, head, head_len) == 0 : rig_check(frame, len, seed));
	return true;
}

static void pair_goes_both_ways(void)
{
	open_pair(1, 0);
	for (uint32_t len = 14; len < 9000; len += 211) {
		rig_offer(&s, 0, 1, 9100);
		rig_offer(&r, 0, 1, 9100);
		CU_ASSERT_TRUE(passes(&r, &s, len, len, NULL, 0));
		CU_ASSERT_TRUE(passes(&s, &r, len, len + 1, NULL, 0));
	}
	rig_close(&r);
	rig_close(&s);
}

/* The ring of a megabyte fills, the sender waits, nothing is lost and all is in order. */
static void pair_holds_up_who_is_too_fast(void)
{
	unsigned int sent = 0, done = 0, got = 0;
	uint32_t len = 0;

	rig_ring_features &= ~ALL(IN_ORDER);
	open_pair(1, 0);
	for (unsigned int round = 0; round < 5; round++) {
		do {
			rig_send(&r, 0, 9000, sent++, NULL);
			rig_turn();
			while (rig_used(&r, &r.vq[1], NULL) >= 0)
				done++;
		} while (done == sent);
		CU_ASSERT_EQUAL(sent - done, 1);
		while (got < sent) {
			uint8_t *frame;

			rig_offer(&s, 0, 1, 9100);
			rig_turn();
			frame = rig_receive(&s, 0, &len);
			CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
			CU_ASSERT_TRUE(len == 9000 && rig_check(frame, len, got));
			got++;
		}
		while (rig_used(&r, &r.vq[1], NULL) >= 0)
			done++;
		CU_ASSERT_EQUAL(done, sent);
	}
	CU_ASSERT(sent > 5 * 80);
	rig_close(&r);
	rig_close(&s);
	rig_ring_features = RIG_RING_FEATURES;
}

static void pair_without_a_listener_loses(void)
{
	open_pair(1, 0);
	RIG_SET(&s, device_status, 0);
	for (unsigned int i = 0; i < 500; i++) {
		rig_send(&r, 0, 4000, i, NULL);
		rig_turn();
		CU_ASSERT_FATAL(rig_used(&r, &r.vq[1], NULL) >= 0);
	}
	rig_start(&s, 0);
	rig_offer(&s, 0, 1, 2048);
	CU_ASSERT_TRUE(passes(&r, &s, 100, 1, NULL, 0)); /* and nothing old comes */
	rig_close(&s);
	rig_send(&r, 0, 100, 1, NULL);
	rig_turn();
	CU_ASSERT(rig_used(&r, &r.vq[1], NULL) >= 0);
	rig_close(&r);
}

static void filter_is_the_drivers(void)
{
	const uint8_t own[6] = { 0x52, 0x54, 0, 0, 0, 1 }, other[6] = { 2, 1, 1, 1, 1, 1 },
		      multi[6] = { 1, 0, 0x5e, 0, 0, 9 }, all[6] = { 255, 255, 255, 255, 255, 255 },
		      on = 1, off = 0;
	uint8_t tagged[16] = { 0x52, 0x54, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x81, 0, 0, 42 };
	uint8_t tables[20] = { 1, 0, 0, 0, 2, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 9 };
	const uint16_t id = 42;

	open_pair(1, NET(CTRL_VQ) | NET(CTRL_RX) | NET(CTRL_VLAN) | NET(CTRL_RX_EXTRA));
	rig_offer(&s, 0, 32, 256);
	CU_ASSERT_TRUE(passes(&r, &s, 60, 1, own, 6));
	CU_ASSERT_TRUE(passes(&r, &s, 60, 1, all, 6));
	CU_ASSERT_FALSE(passes(&r, &s, 60, 1, other, 6));
	CU_ASSERT_FALSE(passes(&r, &s, 60, 1, multi, 6));
	CU_ASSERT_EQUAL(rig_command(&s, BH_VIRTIO_NET_CTRL_MAC, 0, tables, 20), 0);
	CU_ASSERT_TRUE(passes(&r, &s, 60, 1, other, 6));
	CU_ASSERT_TRUE(passes(&r, &s, 60, 1, multi, 6));
	CU_ASSERT_FALSE(passes(&r, &s, 60, 1, tagged, 16));
	CU_ASSERT_EQUAL(rig_command(&s, BH_VIRTIO_NET_CTRL_VLAN, 0, &id, 2), 0);
	CU_ASSERT_TRUE(passes(&r, &s, 60, 1, tagged, 16));
	CU_ASSERT_EQUAL(rig_command(&s, BH_VIRTIO_NET_CTRL_VLAN, 1, &id, 2), 0);
	CU_ASSERT_FALSE(passes(&r, &s, 60, 1, tagged, 16));
	CU_ASSERT_EQUAL(
		rig_command(&s, BH_VIRTIO_NET_CTRL_RX, BH_VIRTIO_NET_CTRL_RX_NOBCAST, &on, 1), 0);
	CU_ASSERT_FALSE(passes(&r, &s, 60, 1, all, 6));
	CU_ASSERT_EQUAL(rig_command(&s, BH_VIRTIO_NET_CTRL_RX, 0, &on, 1), 0);
	CU_ASSERT_TRUE(passes(&r, &s, 60, 1, tagged, 16));
	CU_ASSERT_TRUE(passes(&r, &s, 60, 1, all, 6));
	CU_ASSERT_EQUAL(rig_command(&s, BH_VIRTIO_NET_CTRL_RX, 0, &off, 1), 0);
	CU_ASSERT_FALSE(passes(&r, &s, 60, 1, all, 6));
	rig_close(&r);
	rig_close(&s);
}

static void queues_find_each_other(void)
{
	const uint16_t two = 2;
	uint32_t len = 0;

	open_pair(4, NET(MQ) | NET(CTRL_VQ));
	for (unsigned int active = 1; active <= 2; active++) {
		if (active == 2)
			CU_ASSERT_EQUAL(rig_command(&s, BH_VIRTIO_NET_CTRL_MQ, 0, &two, 2), 0);
		for (unsigned int q = 0; q < 4; q++) {
			rig_offer(&s, q % active, 1, 256);
			rig_send(&r, q, 60, q, NULL);
			rig_turn();
			CU_ASSERT_PTR_NOT_NULL(rig_receive(&s, q % active, &len));
		}
	}
	rig_close(&r);
	rig_close(&s);
}

/* ---- pcap ---- */

static void make_capture(const char *path, unsigned int packets)
{
	rig_open(&r, rig_port("pcap", path, 1), 1);
	rig_start(&r, 0);
	for (unsigned int i = 0; i < packets; i++) {
		rig_send(&r, 0, 60 + i, i, NULL);
		rig_turn();
		CU_ASSERT(rig_used(&r, &r.vq[1], NULL) >= 0);
	}
	rig_close(&r);
}

static void receive_in_sequence(unsigned int packets)
{
	uint8_t *frame;
	uint32_t len = 0;

	for (unsigned int i = 0; i < packets; i++) {
		frame = rig_receive(&r, 0, &len);
		CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
		CU_ASSERT_EQUAL(len, 60 + i);
		CU_ASSERT_TRUE(rig_check(frame, len, i));
	}
}

/* Each time a driver starts, its packets so often, and nothing more. */
static void is_replayed(const char *arg, unsigned int packets, unsigned int times)
{
	uint32_t len = 0;

	rig_open(&r, rig_port("pcap", arg, 1), 1);
	for (int again = 0; again < 2; again++) {
		rig_start(&r, 0);
		rig_offer(&r, 0, 50, 256);
		for (unsigned int i = 0; i <= times; i++) /* once more than it takes */
			rig_turn();
		for (unsigned int i = 0; i < times; i++)
			receive_in_sequence(packets);
		CU_ASSERT_PTR_NULL(rig_receive(&r, 0, &len));
	}
	rig_close(&r);
}

static void capture_is_replayed_so_often(void)
{
	char dir[] = "/tmp/bh-pcap.XXXXXX", out[64], arg[140], why[BH_TARGET_NET_WHY];
	struct bh_net_port_opts opts;
	struct bh_net_port *port;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(out, sizeof(out), "%s/out", dir);
	make_capture(out, 7);
	snprintf(arg, sizeof(arg), ":%s:3", out);
	is_replayed(arg, 7, 3);
	bh_net_port_opts_init(&opts);
	snprintf(arg, sizeof(arg), ":%s:0", out);
	CU_ASSERT_EQUAL(bh_net_port_open("pcap", arg, &opts, why, &port), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, ":0"));
	unlink(out);
	rmdir(dir);
}

static void captured_packets_can_be_replayed(void)
{
	char dir[] = "/tmp/bh-pcap.XXXXXX", out[64], arg[140], why[BH_TARGET_NET_WHY];
	struct bh_net_port_opts opts;
	struct bh_net_port *port;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(out, sizeof(out), "%s/out", dir);
	make_capture(out, 40);
	snprintf(arg, sizeof(arg), ":%s", out);
	is_replayed(arg, 40, 1);
	bh_net_port_opts_init(&opts);
	CU_ASSERT_EQUAL(bh_net_port_open("pcap", "", &opts, why, &port), -EINVAL);
	CU_ASSERT_EQUAL(bh_net_port_open("pcap", ":/nothing/here", &opts, why, &port), -EINVAL);
	CU_ASSERT_EQUAL(bh_net_port_open("pcap", "/nothing/here", &opts, why, &port), -EACCES);
	CU_ASSERT_EQUAL(bh_net_port_open("tap", "", &opts, why, &port), -EINVAL);
	CU_ASSERT_EQUAL(bh_net_port_open("null", "x", &opts, why, &port), -EINVAL);
	CU_ASSERT_EQUAL(bh_net_port_open("wire", "x", &opts, why, &port), -EINVAL);
	unlink(out);
	rmdir(dir);
}

#define CASE(fn)        \
	{               \
#fn, fn \
	}

BH_SUITE_FIXTURE("packets", rig_setup, rig_teardown, CASE(loopback_of_every_size),
		 CASE(bursts_go_round_both_rings), CASE(packet_in_pieces_arrives_in_buffers),
		 CASE(packet_waits_for_buffers), CASE(packet_larger_than_a_buffer_is_lost),
		 CASE(checksum_is_left_to_who_agreed_to_it), CASE(segments_are_cut_for_who_cannot),
		 CASE(nonsense_in_a_header_costs_its_packet), CASE(segments_of_garbage),
		 CASE(broken_queue_is_said_and_reset_mends_it),
		 CASE(receive_buffer_to_be_read_breaks_its_queue),
		 CASE(memory_that_goes_and_comes_back), CASE(pair_goes_both_ways),
		 CASE(pair_holds_up_who_is_too_fast), CASE(pair_without_a_listener_loses),
		 CASE(filter_is_the_drivers), CASE(queues_find_each_other),
		 CASE(captured_packets_can_be_replayed), CASE(capture_is_replayed_so_often))

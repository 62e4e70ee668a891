/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets through the fake device and back, in every ring format. Each case runs over all of them
 * and ends with all mbufs and all queue memory where they came from.
 */
#include "rig.h"

#define BIT(F) BH_VIRTIO_BIT(BH_VIRTIO_##F)
#define MULTI (BH_NET_TX_MULTI_SEGS | BH_NET_RX_SCATTER)

static const struct {
	const char *name;
	uint64_t without;
	bool reverse;
} rings_of[] = {
	{ "packed, in order", 0, false },
	{ "packed", BIT(F_IN_ORDER), false },
	{ "packed, backwards", BIT(F_IN_ORDER) | BIT(F_EVENT_IDX), true },
	{ "packed, no tables", BIT(F_INDIRECT_DESC), false },
	{ "packed, out of order, no tables", BIT(F_INDIRECT_DESC) | BIT(F_IN_ORDER), true },
	{ "split, in order", BIT(F_RING_PACKED), false },
	{ "split", BIT(F_RING_PACKED) | BIT(F_IN_ORDER), false },
	{ "split, backwards", BIT(F_RING_PACKED) | BIT(F_IN_ORDER) | BIT(F_EVENT_IDX), true },
	{ "split, no tables", BIT(F_RING_PACKED) | BIT(F_INDIRECT_DESC), false },
	{ "split, out of order, no tables",
	  BIT(F_RING_PACKED) | BIT(F_INDIRECT_DESC) | BIT(F_IN_ORDER), true },
};

/* Runs a case over all formats, each time on a device opened anew. */
static void over_all(void (*one)(void), uint64_t offloads, unsigned int queues, unsigned int depth)
{
	for (unsigned int i = 0; i < sizeof(rings_of) / sizeof(rings_of[0]); i++) {
		unsigned int failures = CU_get_number_of_failures();

		nic->reverse = rings_of[i].reverse;
		rig_start(rings_of[i].without, offloads, queues, depth);
		one();
		bh_net_close(net);
		net = NULL;
		CU_ASSERT_EQUAL(rig_avail(), RIG_MBUFS);
		if (CU_get_number_of_failures() != failures)
			fprintf(stderr, "failed with: %s\n", rings_of[i].name);
	}
}

static void send_one(struct rte_mbuf *m)
{
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), &m, 1), 1);
}

static void receive_one(uint32_t seed, uint32_t len)
{
	struct rte_mbuf *m = NULL;

	CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, 0), &m, 1), 1);
	CU_ASSERT_TRUE(m && rig_is(m, seed, len));
}

static void one_each_size(void)
{
	for (uint32_t len = 1; len <= 9018; len += len < 300 ? 1 : 61) {
		send_one(rig_packet(len, len, 2048));
		receive_one(len, len);
	}
}

static void every_size_comes_back(void)
{
	over_all(one_each_size, MULTI, 1, 64);
}

static void one_chains(void)
{
	for (uint32_t seg = 230; seg <= 2048; seg += 91) {
		send_one(rig_packet(seg, 9000, seg));
		receive_one(seg, 9000);
	}
	for (uint32_t len = 2; len < 40; len++) { /* segments of one byte */
		send_one(rig_packet(len, len, 1));
		receive_one(len, len);
	}
}

static void chains_come_back(void)
{
	over_all(one_chains, MULTI, 1, 64);
}

static void one_bursts(void)
{
	struct rte_mbuf *m[256], *back[256];

	for (uint16_t n = 1; n <= 200; n += n < 40 ? 1 : 17) {
		uint16_t got = 0, sent;

		for (uint16_t i = 0; i < n; i++)
			m[i] = rig_packet(i, 60u + i, 2048);
		sent = bh_net_tx_burst(bh_net_txq(net, 0), m, n);
		CU_ASSERT_EQUAL(sent, n);
		while (got < n) {
			uint16_t more = bh_net_rx_burst(bh_net_rxq(net, 0), back + got,
							(uint16_t)(n - got));

			if (more == 0)
				break;
			got = (uint16_t)(got + more);
		}
		CU_ASSERT_EQUAL(got, n);
		for (uint16_t i = 0; i < got; i++)
			CU_ASSERT_TRUE(rig_is(back[i], i, 60u + i));
	}
}

static void bursts_of_every_size(void)
{
	over_all(one_bursts, 0, 1, 256);
	over_all(one_bursts, BH_NET_TX_FAST_FREE, 1, 256);
	over_all(one_bursts, MULTI, 1, 256);
}

/* Usual packets and others side by side, many times round the ring. */
static void one_mix(void)
{
	struct rte_mbuf *m[8], *back;

	for (uint32_t round = 0; round < 200; round++) {
		uint16_t n = (uint16_t)(1 + round % 8), sent;

		for (uint16_t i = 0; i < n; i++)
			m[i] = rig_packet(round + i, 60 + (round * 131 + i * 977) % 4000,
					  i % 3 ? 2048 : 700);
		/* Without tables a small ring takes several bursts. */
		for (sent = 0; sent < n;) {
			uint16_t more =
				bh_net_tx_burst(bh_net_txq(net, 0), m + sent, (uint16_t)(n - sent));

			CU_ASSERT_TRUE_FATAL(more > 0);
			sent = (uint16_t)(sent + more);
		}
		for (uint16_t i = 0; i < n; i++) {
			CU_ASSERT_EQUAL_FATAL(bh_net_rx_burst(bh_net_rxq(net, 0), &back, 1), 1);
			CU_ASSERT_TRUE(
				rig_is(back, round + i, 60 + (round * 131 + i * 977) % 4000));
		}
	}
}

static void odd_and_usual_packets_wrap_together(void)
{
	over_all(one_mix, MULTI, 1, 64);
	over_all(one_mix, MULTI | BH_NET_TX_FAST_FREE, 1, 16);
}

static void one_queues(void)
{
	struct rte_mbuf *m;

	for (unsigned int q = 0; q < 2; q++) {
		m = rig_packet(q, 100 + q, 2048);
		CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, q), &m, 1), 1);
	}
	for (unsigned int q = 0; q < 2; q++) {
		CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, q), &m, 1), 1);
		CU_ASSERT_TRUE(rig_is(m, q, 100 + q));
		CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, q), &m, 1), 0);
	}
}

static void queues_are_apart(void)
{
	over_all(one_queues, 0, 2, 64);
}

/* A full ring takes no more, and the rest stays the caller's. */
static void one_full(void)
{
	struct rte_mbuf *m[100];
	uint16_t sent;

	nic->asleep = true;
	for (unsigned int i = 0; i < 100; i++)
		m[i] = rig_packet(i, 60, 2048);
	sent = bh_net_tx_burst(bh_net_txq(net, 0), m, 100);
	CU_ASSERT_EQUAL(sent, 64);
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), m + sent, 36), 0);
	CU_ASSERT_EQUAL(bh_net_tx_reap(bh_net_txq(net, 0)), 64);
	nic->asleep = false;
	nic_work(nic);
	CU_ASSERT_EQUAL(bh_net_tx_reap(bh_net_txq(net, 0)), 0);
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), m + sent, 36), 36);
}

static void a_full_ring_takes_no_more(void)
{
	over_all(one_full, 0, 1, 64);
	over_all(one_full, BH_NET_TX_FAST_FREE, 1, 64);
}

/* No mbuf left: nothing is received, nothing lost; then it goes on. */
static void one_exhaustion(void)
{
	static struct rte_mbuf *kept[RIG_MBUFS];
	struct bh_net_counters c;
	struct rte_mbuf *m = rig_packet(7, 60, 2048), *back;
	unsigned int n = 0, got = 0;

	while (rte_mempool_get(bh_net_pool_mempool(pool), (void **)&kept[n]) == 0)
		n++;
	for (unsigned int i = 0; i < 100; i++)
		nic_inject(nic, 0, rte_pktmbuf_mtod(m, void *), 60);
	nic_work(nic);
	while (bh_net_rx_burst(bh_net_rxq(net, 0), &back, 1) == 1) {
		CU_ASSERT_EQUAL(back->pkt_len, 60);
		kept[n++] = back;
		got++;
	}
	CU_ASSERT_TRUE(got >= 64 && got < 100); /* what was posted */
	CU_ASSERT_EQUAL(bh_net_rxq_stats(net, 0, &c), 0);
	CU_ASSERT_TRUE(c.no_mbuf > 0);
	while (n > 0)
		rte_mbuf_raw_free(kept[--n]);
	for (unsigned int i = 0; i < 200 && got < 100; i++) {
		if (bh_net_rx_burst(bh_net_rxq(net, 0), &back, 1) == 1) {
			got++;
			rte_pktmbuf_free(back);
		}
	}
	CU_ASSERT_EQUAL(got, 100);
	rte_pktmbuf_free(m);
}

static void exhaustion_is_survived(void)
{
	over_all(one_exhaustion, 0, 1, 64);
}

/* Stop takes back what is posted, sent, and half received; start goes on from nothing. */
static void one_stop(void)
{
	struct rte_mbuf *m;

	for (int round = 0; round < 4; round++) {
		nic->asleep = true;
		for (unsigned int i = 0; i < 20; i++) {
			m = rig_packet(i, 3000, 1000);
			CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), &m, 1), 1);
		}
		bh_net_stop(net);
		CU_ASSERT_EQUAL(rig_avail(), RIG_MBUFS);
		nic->asleep = false;
		CU_ASSERT_EQUAL(bh_net_start(net), 0);
		send_one(rig_packet(9, 500, 2048));
		receive_one(9, 500);
	}
	send_one(rig_packet(9, 500, 2048)); /* not received: close frees it */
}

static void stop_gives_every_mbuf_back(void)
{
	over_all(one_stop, MULTI, 1, 64);
}

/* A device that does not want to be notified is not. */
static void one_silent(void)
{
	uint64_t before;

	nic->silent = true;
	nic_work(nic);
	before = nic->kicks;
	for (unsigned int i = 0; i < 300; i++) {
		send_one(rig_packet(i, 60, 2048));
		nic_work(nic);
		receive_one(i, 60);
	}
	CU_ASSERT_EQUAL(nic->kicks, before);
	nic->silent = false;
}

static void notifications_are_suppressed(void)
{
	over_all(one_silent, 0, 1, 64);
}

/* Clones and packets without headroom have their header elsewhere; both copies arrive whole. */
static void one_headroom(void)
{
	struct rte_mempool *clones = rte_pktmbuf_pool_create("clones", 4, 0, 0, 0, SOCKET_ID_ANY);
	struct rte_mbuf *m[2], *back;

	CU_ASSERT_PTR_NOT_NULL_FATAL(clones);
	m[0] = rig_packet(3, 300, 2048);
	m[1] = rte_pktmbuf_clone(m[0], clones);
	CU_ASSERT_PTR_NOT_NULL_FATAL(m[1]);
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), m, 2), 2);
	CU_ASSERT_EQUAL(nic->last_pieces, 2);
	for (int i = 0; i < 2; i++)
		receive_one(3, 300);
	CU_ASSERT_EQUAL(bh_net_tx_reap(bh_net_txq(net, 0)), 0);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(clones), 0);
	rte_mempool_free(clones);

	back = rig_packet(4, 300, 2048);
	CU_ASSERT_PTR_NOT_NULL(rte_pktmbuf_prepend(back, RTE_PKTMBUF_HEADROOM - 11));
	send_one(back);
	CU_ASSERT_EQUAL(nic->last_pieces, 2);
	CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, 0), &back, 1), 1);
	CU_ASSERT_EQUAL(back->pkt_len, 300 + RTE_PKTMBUF_HEADROOM - 11);
	rte_pktmbuf_free(back);
	send_one(rig_packet(5, 60, 2048));
	CU_ASSERT_EQUAL(nic->last_pieces, 1);
	receive_one(5, 60);
}

static void headers_go_where_there_is_room(void)
{
	over_all(one_headroom, 0, 1, 64);
}

/* What cannot be sent ends the burst, is counted, and stays the caller's. */
static void one_refused(void)
{
	static uint8_t elsewhere[2048];
	struct rte_mbuf *m[3], *good = rig_packet(1, 60, 2048);
	struct bh_net_counters c;
	struct rte_mbuf saved;
	uint64_t refused = 0;

	for (int what = 0; what < 6; what++) {
		m[0] = rig_packet(0, 60, 2048);
		m[1] = rig_packet(1, 60, 2048);
		m[2] = good;
		saved = *m[1];
		switch (what) {
		case 0: /* memory the device does not reach */
			m[1]->buf_addr = elsewhere;
			break;
		case 1: /* more than the MTU */
			m[1]->data_len = 1519;
			m[1]->pkt_len = 1519;
			break;
		case 2:
			m[1]->data_len = 0;
			m[1]->pkt_len = 0;
			break;
		case 3:
			m[1]->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
			break;
		case 4:
			m[1]->ol_flags |= RTE_MBUF_F_TX_VLAN;
			break;
		default: /* segments that are not there */
			m[1]->nb_segs = 2;
			break;
		}
		CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), m, 3), 1);
		CU_ASSERT_EQUAL(bh_net_txq_stats(net, 0, &c), 0);
		CU_ASSERT_EQUAL(c.errors, ++refused);
		m[1]->buf_addr = saved.buf_addr;
		m[1]->data_len = saved.data_len;
		m[1]->pkt_len = saved.pkt_len;
		m[1]->ol_flags = saved.ol_flags;
		m[1]->nb_segs = 1;
		receive_one(0, 60);
		rte_pktmbuf_free(m[1]);
	}
	rte_pktmbuf_free(good);
}

static void what_cannot_be_sent_is_refused(void)
{
	over_all(one_refused, 0, 1, 64);
}

static void one_arm(void)
{
	struct bh_net_rxq *q = bh_net_rxq(net, 0);
	int fd = bh_net_rxq_fd(net, 0);
	uint64_t count;

	CU_ASSERT_EQUAL(read(fd, &count, 8), -1);
	send_one(rig_packet(1, 60, 2048));
	CU_ASSERT_EQUAL(bh_net_rxq_arm(net, 0), -EAGAIN); /* it is there already */
	receive_one(1, 60);
	CU_ASSERT_EQUAL(bh_net_rxq_arm(net, 0), 0);
	CU_ASSERT_EQUAL(read(fd, &count, 8), -1);
	send_one(rig_packet(2, 60, 2048));
	CU_ASSERT_EQUAL(read(fd, &count, 8), 8);
	receive_one(2, 60);
	send_one(rig_packet(3, 60, 2048)); /* disarmed */
	CU_ASSERT_EQUAL(read(fd, &count, 8), -1);
	receive_one(3, 60);
	CU_ASSERT_EQUAL(bh_net_rxq_arm(net, 0), 0);
	CU_ASSERT_PTR_NOT_NULL(q);
}

static void armed_queues_signal_once(void)
{
	struct bh_net_conf conf;

	for (unsigned int i = 0; i < sizeof(rings_of) / sizeof(rings_of[0]); i++) {
		CU_ASSERT_EQUAL_FATAL(rig_open(rings_of[i].without), 0);
		bh_net_conf_init(&conf);
		conf.rx_pool = bh_net_pool_mempool(pool);
		conf.queue_fds = true;
		CU_ASSERT_EQUAL_FATAL(bh_net_configure(net, &conf), 0);
		CU_ASSERT_EQUAL_FATAL(bh_net_start(net), 0);
		one_arm();
		bh_net_close(net);
		net = NULL;
	}
}

BH_SUITE_FIXTURE("net_virtio_data", rig_setup, rig_teardown,
		 { "every_size_comes_back", every_size_comes_back },
		 { "chains_come_back", chains_come_back },
		 { "bursts_of_every_size", bursts_of_every_size },
		 { "odd_and_usual_packets_wrap_together", odd_and_usual_packets_wrap_together },
		 { "queues_are_apart", queues_are_apart },
		 { "a_full_ring_takes_no_more", a_full_ring_takes_no_more },
		 { "exhaustion_is_survived", exhaustion_is_survived },
		 { "stop_gives_every_mbuf_back", stop_gives_every_mbuf_back },
		 { "notifications_are_suppressed", notifications_are_suppressed },
		 { "headers_go_where_there_is_room", headers_go_where_there_is_room },
		 { "what_cannot_be_sent_is_refused", what_cannot_be_sent_is_refused },
		 { "armed_queues_signal_once", armed_queues_signal_once }, )

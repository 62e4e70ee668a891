/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets through the igb driver, and what a device may get wrong: whatever it writes into a
 * descriptor, no buffer is overrun, and every mbuf comes back once.
 */
#include <errno.h>
#include <string.h>

#include <bellhop/env.h>
#include <bellhop/net.h>

#include "fake_igb.h"
#include "net_igb/net_igb.h"
#include "unit.h"

#define MBUFS 1000u
#define DEPTH 128u

static struct bh_env *env;
static struct bh_dma_space *space;
static struct bh_pool *rings;
static struct bh_net_pool *pool;
static struct rte_mempool *mbufs;
static struct fake *f;
static struct bh_net *net;
static unsigned int events[3];

static void on_event(void *ctx, struct bh_net *n, enum bh_net_event event)
{
	(void)ctx;
	(void)n;
	events[event]++;
}

static int make_pools(void)
{
	struct bh_net_pool_opts po;
	struct bh_env_opts eo;
	struct bh_pool_opts ro;

	bh_env_opts_init(&eo);
	bh_pool_opts_init(&ro);
	ro.bytes = 1 << 20;
	if (bh_env_open(&eo, &env) || bh_dma_space_create(NULL, &space) ||
	    bh_pool_create(&ro, &rings) || bh_dma_space_add(space, rings))
		return -1;
	bh_net_pool_opts_init(&po);
	po.env = env;
	po.space = space;
	po.count = MBUFS;
	po.cache = 0;
	if (bh_net_pool_create(&po, &pool))
		return -1;
	mbufs = bh_net_pool_mempool(pool);
	return 0;
}

static int setup(void)
{
	struct bh_net_opts opts;

	memset(events, 0, sizeof(events));
	bh_net_opts_init(&opts);
	opts.event = on_event;
	if (make_pools() || fake_open(0x10c9, space, NULL, &f))
		return -1;
	return bh_net_igb_open(&f->dev, &opts, &net);
}

static int teardown(void)
{
	bool back;

	bh_net_close(net);
	back = rte_mempool_avail_count(mbufs) == MBUFS;
	bh_device_close(&f->dev);
	bh_net_pool_destroy(pool);
	bh_dma_space_destroy(space);
	bh_pool_destroy(rings);
	bh_env_close(env);
	return back ? 0 : -1;
}

static void start(uint64_t offloads)
{
	struct bh_net_conf conf;

	bh_net_conf_init(&conf);
	conf.rx_pool = mbufs;
	conf.rx_depth = conf.tx_depth = DEPTH;
	conf.offloads = offloads;
	CU_ASSERT_EQUAL_FATAL(bh_net_configure(net, &conf), 0);
	CU_ASSERT_EQUAL_FATAL(bh_net_start(net), 0);
}

static struct bh_igb_rx_done good(unsigned int bytes)
{
	return (struct bh_igb_rx_done){ .status = IGB_RX_DD | IGB_RX_EOP,
					.length = (uint16_t)bytes };
}

static bool is_byte(struct rte_mbuf *m, uint8_t byte)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);

	for (unsigned int i = 0; i < m->data_len; i++)
		if (data[i] != byte)
			return false;
	return true;
}

static void packets_arrive_in_order(void)
{
	uint8_t data[2048];
	struct rte_mbuf *m;

	start(0);
	for (unsigned int i = 0; i < 1000; i++) {
		unsigned int bytes = 60 + i;

		memset(data, (int)i, sizeof(data));
		CU_ASSERT_TRUE_FATAL(fake_receive(f, 0, data, bytes, good(bytes)));
		CU_ASSERT_EQUAL_FATAL(bh_net_rx_burst(bh_net_rxq(net, 0), &m, 1), 1);
		CU_ASSERT_EQUAL(m->pkt_len, bytes);
		CU_ASSERT_TRUE(is_byte(m, (uint8_t)i));
		rte_pktmbuf_free(m);
	}
	CU_ASSERT_EQUAL(bh_net_rxq(net, 0)->counters.packets, 1000);
}

static void bursts_of_every_size(void)
{
	struct rte_mbuf *m[DEPTH];
	uint8_t data[64] = { 0 };

	start(0);
	for (unsigned int n = 1; n <= 64; n++) {
		for (unsigned int i = 0; i < n; i++)
			CU_ASSERT_TRUE_FATAL(fake_receive(f, 0, data, 64, good(64)));
		CU_ASSERT_EQUAL_FATAL(bh_net_rx_burst(bh_net_rxq(net, 0), m, DEPTH), n);
		rte_pktmbuf_free_bulk(m, n);
	}
}

/* Something wrong is dropped and counted, and what follows arrives. */
static void drops(struct bh_igb_rx_done bad)
{
	uint64_t errors = bh_net_rxq(net, 0)->counters.errors;
	uint8_t data[64] = { 0 };
	struct rte_mbuf *m = NULL;

	CU_ASSERT_TRUE_FATAL(fake_receive(f, 0, data, 64, bad));
	CU_ASSERT_TRUE_FATAL(fake_receive(f, 0, data, 64, good(64)));
	CU_ASSERT_EQUAL_FATAL(bh_net_rx_burst(bh_net_rxq(net, 0), &m, 1), 1);
	CU_ASSERT_EQUAL(m->pkt_len, 64);
	CU_ASSERT_EQUAL(bh_net_rxq(net, 0)->counters.errors, errors + 1);
	rte_pktmbuf_free(m);
}

static void wrong_lengths_are_dropped(void)
{
	start(0);
	drops(good(0));
	drops(good(2049));
	drops(good(65535));
}

static void damaged_is_dropped(void)
{
	struct bh_igb_rx_done bad = good(64);

	start(0);
	bad.status |= IGB_RX_RXE;
	drops(bad);
}

static void endless_packet_is_dropped(void)
{
	struct bh_igb_rx_done part = good(2048);
	uint8_t data[2048] = { 0 };
	struct rte_mbuf *m;

	start(BH_NET_RX_SCATTER);
	part.status &= ~IGB_RX_EOP;
	for (unsigned int i = 0; i < 3000; i++) {
		CU_ASSERT_TRUE_FATAL(fake_receive(f, 0, data, 2048, part));
		CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, 0), &m, 1), 0);
	}
	/* What is known to be bad keeps no buffers. */
	CU_ASSERT_TRUE(rte_mempool_avail_count(mbufs) >= MBUFS - DEPTH);
	drops(good(64));
}

static void pieces_become_a_chain(void)
{
	struct bh_igb_rx_done part = good(2048);
	uint8_t data[2048];
	struct rte_mbuf *m;

	start(BH_NET_RX_SCATTER);
	part.status &= ~IGB_RX_EOP;
	memset(data, 7, sizeof(data));
	for (unsigned int i = 0; i < 100; i++) {
		CU_ASSERT_TRUE_FATAL(fake_receive(f, 0, data, 2048, part));
		CU_ASSERT_TRUE_FATAL(fake_receive(f, 0, data, 2048, part));
		CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, 0), &m, 1), 0);
		CU_ASSERT_TRUE_FATAL(fake_receive(f, 0, data, 100, good(100)));
		CU_ASSERT_EQUAL_FATAL(bh_net_rx_burst(bh_net_rxq(net, 0), &m, 1), 1);
		CU_ASSERT_EQUAL(m->nb_segs, 3);
		CU_ASSERT_EQUAL(m->pkt_len, 4196);
		CU_ASSERT_EQUAL(m->next->next->data_len, 100);
		rte_pktmbuf_free(m);
	}
}

static void pieces_nobody_asked_for_are_dropped(void)
{
	struct bh_igb_rx_done part = good(64);
	uint8_t data[64] = { 0 };
	struct rte_mbuf *m;

	start(0);
	part.status &= ~IGB_RX_EOP;
	CU_ASSERT_TRUE_FATAL(fake_receive(f, 0, data, 64, part));
	CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, 0), &m, 1), 0);
	drops(good(64));
}

static uint64_t flags_of(uint32_t status, uint32_t info)
{
	struct bh_igb_rx_done done = good(64);
	uint8_t data[64] = { 0 };
	struct rte_mbuf *m;
	uint64_t flags;

	done.status |= status;
	done.info = info;
	done.hash = 0x12345678;
	done.vlan = 0x2005;
	CU_ASSERT_TRUE_FATAL(fake_receive(f, 0, data, 64, done));
	CU_ASSERT_EQUAL_FATAL(bh_net_rx_burst(bh_net_rxq(net, 0), &m, 1), 1);
	flags = m->ol_flags & ~RTE_MBUF_F_EXTERNAL;
	if (flags & RTE_MBUF_F_RX_VLAN)
		CU_ASSERT_EQUAL(m->vlan_tci, 0x2005);
	if (flags & RTE_MBUF_F_RX_RSS_HASH)
		CU_ASSERT_EQUAL(m->hash.rss, 0x12345678);
	rte_pktmbuf_free(m);
	return flags;
}

static void flags_say_what_the_device_said(void)
{
	start(BH_NET_RX_IP_CSUM | BH_NET_RX_L4_CSUM | BH_NET_RX_RSS_HASH | BH_NET_RX_VLAN_STRIP);
	CU_ASSERT_EQUAL(flags_of(0, 0), 0);
	CU_ASSERT_EQUAL(flags_of(IGB_RX_IPCS, 0), RTE_MBUF_F_RX_IP_CKSUM_GOOD);
	CU_ASSERT_EQUAL(flags_of(IGB_RX_IPCS | IGB_RX_IPE, 0), RTE_MBUF_F_RX_IP_CKSUM_BAD);
	CU_ASSERT_EQUAL(flags_of(IGB_RX_L4CS, 0), RTE_MBUF_F_RX_L4_CKSUM_GOOD);
	CU_ASSERT_EQUAL(flags_of(IGB_RX_UDPCS | IGB_RX_L4E, 0), RTE_MBUF_F_RX_L4_CKSUM_BAD);
	CU_ASSERT_EQUAL(flags_of(IGB_RX_VP, 0), RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
	CU_ASSERT_EQUAL(flags_of(0, 1), RTE_MBUF_F_RX_RSS_HASH);
	bh_net_stop(net);
	start(0);
	CU_ASSERT_EQUAL(flags_of(IGB_RX_IPCS | IGB_RX_L4CS, 1), 0);
}

static void empty_pool_is_counted_and_recovers(void)
{
	struct rte_mbuf *held[MBUFS], *m[DEPTH];
	unsigned int count = rte_mempool_avail_count(mbufs), got = 0;
	uint8_t data[64] = { 0 };

	start(0);
	count = rte_mempool_avail_count(mbufs);
	CU_ASSERT_EQUAL_FATAL(rte_pktmbuf_alloc_bulk(mbufs, held, count), 0);
	while (fake_receive(f, 0, data, 64, good(64)))
		;
	got = bh_net_rx_burst(bh_net_rxq(net, 0), m, DEPTH);
	CU_ASSERT_EQUAL(got, DEPTH - 32);
	CU_ASSERT_TRUE(bh_net_rxq(net, 0)->counters.no_mbuf > 0);
	CU_ASSERT_FALSE(fake_receive(f, 0, data, 64, good(64)));
	rte_pktmbuf_free(held[--count]);
	CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, 0), m + got, 1), 0);
	CU_ASSERT_TRUE(fake_receive(f, 0, data, 64, good(64)));
	rte_pktmbuf_free_bulk(held, count);
	CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, 0), m + got, 1), 1);
	rte_pktmbuf_free_bulk(m, got + 1);
	CU_ASSERT_TRUE(fake_receive(f, 0, data, 64, good(64)));
}

/* ---- sending ---- */

static struct rte_mbuf *frame(unsigned int bytes, uint8_t byte)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(mbufs);

	memset(rte_pktmbuf_append(m, (uint16_t)bytes), byte, bytes);
	return m;
}

static void packets_are_sent(void)
{
	struct bh_net_txq *q;
	struct rte_mbuf *m;
	uint8_t out[2048];

	start(0);
	q = bh_net_txq(net, 0);
	for (unsigned int i = 0; i < 1000; i++) {
		m = frame(60 + i, (uint8_t)i);
		CU_ASSERT_EQUAL_FATAL(bh_net_tx_burst(q, &m, 1), 1);
		fake_transmit(f, 0, out, sizeof(out));
		CU_ASSERT_EQUAL(f->tx.bytes, 60 + i);
		CU_ASSERT_EQUAL(out[59 + i], (uint8_t)i);
		CU_ASSERT_EQUAL(f->tx.options >> IGB_TX_PAYLOAD_SHIFT, 60 + i);
	}
	CU_ASSERT_EQUAL(f->tx.frames, 1000);
	CU_ASSERT_EQUAL(f->tx.contexts, 0);
	CU_ASSERT_EQUAL(bh_net_tx_reap(q), 0);
}

static void full_queue_takes_no_more(void)
{
	struct rte_mbuf *m[2 * DEPTH];
	struct bh_net_txq *q;
	uint8_t out[64];

	start(0);
	q = bh_net_txq(net, 0);
	for (unsigned int i = 0; i < 2 * DEPTH; i++)
		m[i] = frame(60, 1);
	CU_ASSERT_EQUAL(bh_net_tx_burst(q, m, 2 * DEPTH), DEPTH - 1);
	CU_ASSERT_EQUAL(bh_net_tx_burst(q, m + DEPTH - 1, 1), 0);
	CU_ASSERT_EQUAL(bh_net_tx_reap(q), DEPTH - 1);
	CU_ASSERT_EQUAL(q->counters.errors, 0);
	fake_transmit(f, 0, out, sizeof(out));
	CU_ASSERT_TRUE(f->tx.reports <= DEPTH / 32);
	CU_ASSERT_EQUAL(bh_net_tx_burst(q, m + DEPTH - 1, DEPTH + 1), DEPTH - 1);
	rte_pktmbuf_free_bulk(m + 2 * DEPTH - 2, 2);
}

static void reports_of_what_was_not_sent_free_once(void)
{
	struct bh_net_txq *q;
	struct rte_mbuf *m;
	uint64_t base;

	start(0);
	q = bh_net_txq(net, 0);
	base = fake_get(f, IGB_TXQ(0) + IGB_TDBAL) | (uint64_t)fake_get(f, IGB_TXQ(0) + IGB_TDBAH)
							     << 32;
	for (unsigned int i = 0; i < 1000; i++) {
		m = frame(60, 1);
		CU_ASSERT_EQUAL_FATAL(bh_net_tx_burst(q, &m, 1), 1);
		/* Everything there is says that it is done, and more. */
		memset((void *)(uintptr_t)(base - FAKE_DELTA), 0xff, DEPTH * 16);
		CU_ASSERT_EQUAL(bh_net_tx_reap(q), 0);
		CU_ASSERT_EQUAL(bh_net_tx_reap(q), 0);
	}
}

static void refused(struct rte_mbuf *m)
{
	struct bh_net_txq *q = bh_net_txq(net, 0);
	uint64_t errors = q->counters.errors;

	CU_ASSERT_EQUAL(bh_net_tx_burst(q, &m, 1), 0);
	CU_ASSERT_EQUAL(q->counters.errors, errors + 1);
	CU_ASSERT_EQUAL(fake_get(f, IGB_TXQ(0) + IGB_TDT), 0);
	rte_pktmbuf_free(m);
}

static struct rte_mbuf *chain_of(unsigned int segs)
{
	struct rte_mbuf *m = frame(60, 1), *last = m;

	for (unsigned int i = 1; i < segs; i++) {
		last->next = frame(1, 1);
		last = last->next;
		m->nb_segs++;
		m->pkt_len++;
	}
	return m;
}

static void what_cannot_be_sent_is_refused(void)
{
	struct rte_mempool *foreign = rte_pktmbuf_pool_create("foreign", 15, 0, 0, 2048, -1);
	struct rte_mbuf *m;

	start(BH_NET_TX_MULTI_SEGS);
	CU_ASSERT_PTR_NOT_NULL_FATAL(foreign);
	m = rte_pktmbuf_alloc(foreign);
	(void)rte_pktmbuf_append(m, 60);
	refused(m);
	refused(frame(16, 1));
	refused(frame(1519, 1));
	refused(chain_of(33));
	m = chain_of(3);
	m->next->data_len = 0;
	refused(m);
	m = chain_of(3);
	m->pkt_len += 5;
	refused(m);
	m = frame(60, 1);
	m->ol_flags |= RTE_MBUF_F_TX_VLAN;
	refused(m);
	rte_mempool_free(foreign);
}

static struct rte_mbuf *with_sums(uint16_t l3)
{
	struct rte_mbuf *m = frame(200, 1);

	m->l2_len = 14;
	m->l3_len = l3;
	m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM;
	return m;
}

static void contexts_are_sent_when_they_change(void)
{
	struct rte_mbuf *m[3];
	uint8_t out[256];

	start(BH_NET_TX_IP_CSUM | BH_NET_TX_L4_CSUM);
	m[0] = with_sums(20);
	m[1] = with_sums(20);
	m[2] = with_sums(24);
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), m, 3), 3);
	fake_transmit(f, 0, out, sizeof(out));
	CU_ASSERT_EQUAL(f->tx.frames, 3);
	CU_ASSERT_EQUAL(f->tx.contexts, 2);
	CU_ASSERT_EQUAL(f->tx.context.lengths, 24u | 14u << IGB_CTX_MAC_SHIFT);
	CU_ASSERT_EQUAL(f->tx.context.command,
			IGB_TX_TYPE_CONTEXT | IGB_TX_DEXT | IGB_CTX_TCP | IGB_CTX_IPV4);
	CU_ASSERT_EQUAL(f->tx.options & ~IGB_TX_DD,
			200u << IGB_TX_PAYLOAD_SHIFT | IGB_TX_IXSM | IGB_TX_TXSM);
}

static void segmentation_is_described(void)
{
	struct rte_mbuf *m = with_sums(20);
	uint8_t out[256];

	start(BH_NET_TX_TSO);
	m->l4_len = 32;
	m->tso_segsz = 100;
	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), &m, 1), 1);
	fake_transmit(f, 0, out, sizeof(out));
	CU_ASSERT_EQUAL(f->tx.context.mss, 100u << IGB_CTX_MSS_SHIFT | 32u << IGB_CTX_L4_SHIFT);
	CU_ASSERT_EQUAL((f->tx.options & ~IGB_TX_DD) >> IGB_TX_PAYLOAD_SHIFT, 200 - 14 - 20 - 32);
	m = with_sums(20);
	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), &m, 1), 0);
	rte_pktmbuf_free(m);
}

/* ---- life ---- */

static void queue_that_does_not_end_is_reset(void)
{
	struct rte_mbuf *m = frame(60, 1);

	start(0);
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), &m, 1), 1);
	f->queue_sticks = true;
	bh_net_stop(net);
	CU_ASSERT_EQUAL(f->resets, 2);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(mbufs), MBUFS);
	f->queue_sticks = false;
	CU_ASSERT_EQUAL(bh_net_start(net), 0);
	CU_ASSERT_TRUE(fake_get(f, IGB_RCTL) & IGB_RCTL_RXEN);
}

static void device_that_does_not_even_reset_is_cut_off(void)
{
	start(0);
	f->queue_sticks = f->reset_sticks = true;
	bh_net_stop(net);
	CU_ASSERT_EQUAL(f->bus_masters_off, 1);
	CU_ASSERT_EQUAL(f->function_resets, 1);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(mbufs), MBUFS);
	CU_ASSERT_EQUAL(bh_net_start(net), -ETIMEDOUT);
}

static void failure_is_reported_and_mended(void)
{
	start(0);
	fake_put(f, IGB_ICR, IGB_INT_DRSTA);
	CU_ASSERT_TRUE(bh_net_poll(net) > 0);
	CU_ASSERT_EQUAL(events[BH_NET_EVENT_RESET_NEEDED], 1);
	bh_net_stop(net);
	CU_ASSERT_EQUAL(bh_net_start(net), 0);
	CU_ASSERT_EQUAL(f->resets, 2);
}

static void loss_is_reported_once(void)
{
	struct rte_mbuf *m = frame(60, 1);

	start(0);
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), &m, 1), 1);
	f->gone = true;
	CU_ASSERT_EQUAL(bh_net_poll(net), -ENODEV);
	CU_ASSERT_EQUAL(bh_net_poll(net), -ENODEV);
	CU_ASSERT_EQUAL(events[BH_NET_EVENT_GONE], 1);
	bh_net_stop(net);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(mbufs), MBUFS);
	CU_ASSERT_EQUAL(bh_net_start(net), -ENODEV);
}

static void link_changes_are_reported(void)
{
	start(0);
	(void)bh_net_poll(net);
	events[BH_NET_EVENT_LINK] = 0;
	CU_ASSERT_EQUAL(bh_net_poll(net), 0);
	fake_put(f, IGB_STATUS, 0);
	CU_ASSERT_EQUAL(bh_net_poll(net), 1);
	CU_ASSERT_EQUAL(events[BH_NET_EVENT_LINK], 1);
}

static void small_mbufs_are_emsgsize(void)
{
	struct bh_net_conf conf;

	bh_net_conf_init(&conf);
	conf.rx_pool = mbufs;
	conf.mtu = 9000;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), -EMSGSIZE);
	conf.offloads = BH_NET_RX_SCATTER;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), 0);
	CU_ASSERT_EQUAL(bh_net_start(net), 0);
}

BH_SUITE_FIXTURE("igb_packets", setup, teardown,
		 { "packets_arrive_in_order", packets_arrive_in_order },
		 { "bursts_of_every_size", bursts_of_every_size },
		 { "wrong_lengths_are_dropped", wrong_lengths_are_dropped },
		 { "damaged_is_dropped", damaged_is_dropped },
		 { "endless_packet_is_dropped", endless_packet_is_dropped },
		 { "pieces_become_a_chain", pieces_become_a_chain },
		 { "pieces_nobody_asked_for_are_dropped", pieces_nobody_asked_for_are_dropped },
		 { "flags_say_what_the_device_said", flags_say_what_the_device_said },
		 { "empty_pool_is_counted_and_recovers", empty_pool_is_counted_and_recovers },
		 { "packets_are_sent", packets_are_sent },
		 { "full_queue_takes_no_more", full_queue_takes_no_more },
		 { "reports_of_what_was_not_sent_free_once",
		   reports_of_what_was_not_sent_free_once },
		 { "what_cannot_be_sent_is_refused", what_cannot_be_sent_is_refused },
		 { "contexts_are_sent_when_they_change", contexts_are_sent_when_they_change },
		 { "segmentation_is_described", segmentation_is_described },
		 { "queue_that_does_not_end_is_reset", queue_that_does_not_end_is_reset },
		 { "device_that_does_not_even_reset_is_cut_off",
		   device_that_does_not_even_reset_is_cut_off },
		 { "failure_is_reported_and_mended", failure_is_reported_and_mended },
		 { "loss_is_reported_once", loss_is_reported_once },
		 { "link_changes_are_reported", link_changes_are_reported },
		 { "small_mbufs_are_emsgsize", small_mbufs_are_emsgsize }, )

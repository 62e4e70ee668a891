/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The packet device API with a driver that remembers what it was asked: states, arguments, filters
 * that outlive a stop, statistics. No packet pool is needed: a mempool is only ever passed on.
 */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/net.h"

#define ALL_CAPS                                                                                \
	(BH_NET_CAP_MAC_SET | BH_NET_CAP_PROMISC | BH_NET_CAP_ALLMULTI | BH_NET_CAP_MULTICAST | \
	 BH_NET_CAP_VLAN_FILTER | BH_NET_CAP_LINK | BH_NET_CAP_RSS | BH_NET_CAP_QUEUE_FD)

struct fake {
	struct bh_net net;
	struct bh_net_rxq rxq[4];
	struct bh_net_txq txq[4];
	unsigned int configured, released, started, stopped, asked;
	int fail; /* what the next operation returns */
};

static unsigned int closed, fake_closed;

/* A pool that is a private area with a data room: all the API looks at. */
static struct {
	struct rte_mempool mp;
	struct rte_pktmbuf_pool_private priv;
} pool_2k, pool_9k;

static struct fake *of(struct bh_net *net)
{
	return (struct fake *)net;
}

static int take_fail(struct fake *f)
{
	int rc = f->fail;

	f->fail = 0;
	return rc;
}

static void fake_close(struct bh_net *net)
{
	fake_closed++;
	bh__net_fini(net);
	free(net);
}

static int fake_configure(struct bh_net *net)
{
	struct fake *f = of(net);
	int rc = take_fail(f);

	if (rc != 0)
		return rc;
	f->configured++;
	memset(f->rxq, 0, sizeof(f->rxq));
	memset(f->txq, 0, sizeof(f->txq));
	for (unsigned int i = 0; i < net->conf.n_rxq; i++)
		net->rxq[i] = &f->rxq[i];
	for (unsigned int i = 0; i < net->conf.n_txq; i++)
		net->txq[i] = &f->txq[i];
	return 0;
}

static void fake_release(struct bh_net *net)
{
	of(net)->released++;
}

static uint16_t fake_rx(struct bh_net_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	(void)pkts;
	bh__net_count(&q->counters.packets, n);
	bh__net_count(&q->counters.bytes, 60ull * n);
	return n;
}

static uint16_t fake_tx(struct bh_net_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	(void)pkts;
	bh__net_count(&q->counters.packets, n - 1u);
	bh__net_count(&q->counters.errors, 1);
	return (uint16_t)(n - 1);
}

static unsigned int fake_reap(struct bh_net_txq *q)
{
	(void)q;
	return 7;
}

static int fake_start(struct bh_net *net)
{
	struct fake *f = of(net);

	for (unsigned int i = 0; i < net->conf.n_rxq; i++)
		f->rxq[i].burst = fake_rx;
	for (unsigned int i = 0; i < net->conf.n_txq; i++) {
		f->txq[i].burst = fake_tx;
		f->txq[i].reap = fake_reap;
	}
	f->started++;
	return take_fail(f);
}

static void fake_stop(struct bh_net *net)
{
	of(net)->stopped++;
}

static int fake_poll(struct bh_net *net)
{
	bh__net_event(net, BH_NET_EVENT_LINK);
	return 1;
}

static int fake_link(struct bh_net *net, struct bh_net_link *link)
{
	(void)net;
	link->up = false;
	link->full_duplex = true;
	link->mbps = 1000;
	return 0;
}

static int fake_set(struct bh_net *net)
{
	of(net)->asked++;
	return take_fail(of(net));
}

static int fake_vlan(struct bh_net *net, uint16_t vlan, bool on)
{
	(void)vlan, (void)on;
	return fake_set(net);
}

static int fake_fd(struct bh_net *net, unsigned int index)
{
	(void)net;
	return 100 + (int)index;
}

static int fake_arm(struct bh_net *net, unsigned int index)
{
	(void)index;
	return fake_set(net);
}

static int fake_stats(struct bh_net *net, struct bh_net_stats *stats)
{
	(void)net;
	stats->rx_missed = 5;
	return 0;
}

static int fake_xstats(struct bh_net *net, struct bh_net_xstat *out, unsigned int max)
{
	(void)net;
	if (max > 0) {
		strcpy(out[0].name, "fake_things");
		out[0].value = 42;
	}
	return 1;
}

static const struct bh_net_ops fake_ops = {
	.name = "fake",
	.caps = ALL_CAPS,
	.close = fake_close,
	.configure = fake_configure,
	.release = fake_release,
	.start = fake_start,
	.stop = fake_stop,
	.poll = fake_poll,
	.link = fake_link,
	.mac_set = fake_set,
	.promisc = fake_set,
	.allmulti = fake_set,
	.multicast = fake_set,
	.vlan = fake_vlan,
	.rss_set = fake_set,
	.rxq_fd = fake_fd,
	.rxq_arm = fake_arm,
	.stats = fake_stats,
	.xstats = fake_xstats,
};

static unsigned int events;

static void on_event(void *ctx, struct bh_net *net, enum bh_net_event event)
{
	(void)net;
	CU_ASSERT_PTR_EQUAL(ctx, &events);
	CU_ASSERT_EQUAL(event, BH_NET_EVENT_LINK);
	events++;
}

static const uint8_t fake_mac[6] = { 2, 0, 0, 0, 0, 1 };

static struct bh_net *fake_open(uint64_t caps)
{
	struct fake *f = calloc(1, sizeof(*f));
	struct bh_net_opts opts;

	bh_net_opts_init(&opts);
	opts.event = on_event;
	opts.event_ctx = &events;
	f->net.info = (struct bh_net_info){
		.address = "fake:0",
		.caps = caps,
		.offloads = BH_NET_RX_SCATTER | BH_NET_TX_TSO,
		.max_rxq = 4,
		.max_txq = 4,
		.min_depth = 8,
		.max_depth = 1000,
		.depth_pow2 = true,
		.min_mtu = 68,
		.max_mtu = 9000,
		.max_segs = 8,
		.rss_key_bytes = 40,
		.rss_table_size = 128,
		.rss_types = 0x3f,
		.node = -1,
	};
	memcpy(f->net.info.mac, fake_mac, 6);
	CU_ASSERT_EQUAL_FATAL(bh__net_init(&f->net, &fake_ops, &opts), 0);
	return &f->net;
}

static void conf_of(struct bh_net_conf *conf)
{
	bh_net_conf_init(conf);
	conf->rx_pool = &pool_2k.mp;
}

static struct bh_net *fake_configured(uint64_t caps, unsigned int queues)
{
	struct bh_net *net = fake_open(caps);
	struct bh_net_conf conf;

	conf_of(&conf);
	conf.n_rxq = conf.n_txq = queues;
	conf.queue_fds = !!(caps & BH_NET_CAP_QUEUE_FD);
	CU_ASSERT_EQUAL_FATAL(bh_net_configure(net, &conf), 0);
	return net;
}

static int setup(void)
{
	pool_2k.mp.private_data_size = sizeof(pool_2k.priv);
	((struct rte_pktmbuf_pool_private *)rte_mempool_get_priv(&pool_2k.mp))
		->mbuf_data_room_size = 2048 + RTE_PKTMBUF_HEADROOM;
	((struct rte_pktmbuf_pool_private *)rte_mempool_get_priv(&pool_9k.mp))
		->mbuf_data_room_size = 9216 + RTE_PKTMBUF_HEADROOM;
	closed = fake_closed = events = 0;
	return 0;
}

static void a_bit_means_an_operation(void)
{
	struct fake f = { 0 };
	struct bh_net_opts opts;
	struct bh_net_ops ops;

	bh_net_opts_init(&opts);
	f.net.info = (struct bh_net_info){ .address = "x",
					   .max_rxq = 1,
					   .max_txq = 1,
					   .min_depth = 1,
					   .max_depth = 1,
					   .max_segs = 1 };
	for (uint64_t bit = 1; bh_net_cap_str(bit); bit <<= 1) {
		ops = fake_ops;
		ops.caps &= ~bit;
		CU_ASSERT_EQUAL(bh__net_init(&f.net, &ops, &opts), -EINVAL);
		memset(&ops, 0, sizeof(ops));
		ops.name = "none";
		ops.close = fake_close;
		ops.configure = fake_configure;
		ops.release = fake_release;
		ops.start = fake_start;
		ops.stop = fake_stop;
		ops.poll = fake_poll;
		ops.caps = bit;
		CU_ASSERT_EQUAL(bh__net_init(&f.net, &ops, &opts), -EINVAL);
		f.net.info.caps = bit; /* more than the driver has */
		ops.caps = 0;
		CU_ASSERT_EQUAL(bh__net_init(&f.net, &ops, &opts), -EINVAL);
		f.net.info.caps = 0;
	}
	CU_ASSERT_EQUAL(bh__net_init(&f.net, &ops, &opts), 0);
	bh__net_fini(&f.net);
	ops.poll = NULL;
	CU_ASSERT_EQUAL(bh__net_init(&f.net, &ops, &opts), -EINVAL);
}

static void bits_have_names(void)
{
	CU_ASSERT_STRING_EQUAL(bh_net_cap_str(BH_NET_CAP_MAC_SET), "MAC_SET");
	CU_ASSERT_STRING_EQUAL(bh_net_cap_str(BH_NET_CAP_QUEUE_FD), "QUEUE_FD");
	CU_ASSERT_PTR_NULL(bh_net_cap_str(BH_NET_CAP_QUEUE_FD << 1));
	CU_ASSERT_STRING_EQUAL(bh_net_offload_str(BH_NET_RX_IP_CSUM), "RX_IP_CSUM");
	CU_ASSERT_STRING_EQUAL(bh_net_offload_str(BH_NET_RX_RSS_HASH), "RX_RSS_HASH");
	CU_ASSERT_STRING_EQUAL(bh_net_offload_str(BH_NET_TX_IP_CSUM), "TX_IP_CSUM");
	CU_ASSERT_STRING_EQUAL(bh_net_offload_str(BH_NET_TX_FAST_FREE), "TX_FAST_FREE");
	CU_ASSERT_PTR_NULL(bh_net_offload_str(1ull << 6));
	CU_ASSERT_PTR_NULL(bh_net_offload_str(1ull << 23));
	CU_ASSERT_PTR_NULL(bh_net_offload_str(BH_NET_TX_TSO | BH_NET_RX_LRO));
}

static void configuring_checks_every_number(void)
{
	struct bh_net *net = fake_open(ALL_CAPS & ~BH_NET_CAP_QUEUE_FD);
	struct bh_net_conf conf;

	CU_ASSERT_EQUAL(bh_net_configure(net, NULL), -EINVAL);
	conf_of(&conf);
	conf.rx_pool = NULL;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), -EINVAL);
	conf_of(&conf);
	conf.n_rxq = 5;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), -EINVAL);
	conf.n_rxq = 0;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), -EINVAL);
	conf_of(&conf);
	conf.n_txq = 5;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), -EINVAL);
	conf_of(&conf);
	conf.offloads = BH_NET_TX_L4_CSUM;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), -EOPNOTSUPP);
	conf_of(&conf);
	conf.queue_fds = true;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), -EOPNOTSUPP);
	conf_of(&conf);
	conf.mtu = 67;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), -EINVAL);
	conf.mtu = 9001;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), -EINVAL);
	conf.mtu = 9000;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), -EMSGSIZE);
	CU_ASSERT_EQUAL(of(net)->configured, 0);
	CU_ASSERT_EQUAL(bh_net_start(net), -EINVAL);
	conf.offloads = BH_NET_RX_SCATTER;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), 0);
	conf.offloads = 0;
	conf.rx_pool = &pool_9k.mp;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), 0);
	CU_ASSERT_EQUAL(of(net)->released, 1);
	CU_ASSERT_EQUAL(bh_net_mtu(net), 9000);
	of(net)->fail = -ENOMEM;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), -ENOMEM);
	CU_ASSERT_EQUAL(bh_net_conf(net)->n_rxq, 0);
	CU_ASSERT_PTR_NULL(bh_net_rxq(net, 0));
	bh_net_close(net);
	CU_ASSERT_EQUAL(fake_closed, 1);
}

static void depths_are_rounded_to_what_the_device_takes(void)
{
	static const unsigned int in[] = { 0, 8, 9, 500, 512, 513, 1000, 100000 };
	static const unsigned int out[] = { 8, 8, 16, 512, 512, 512, 512, 512 };
	struct bh_net *net = fake_open(0);
	struct bh_net_conf conf;

	for (unsigned int i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		conf_of(&conf);
		conf.rx_depth = in[i];
		conf.tx_depth = in[i];
		CU_ASSERT_EQUAL(bh_net_configure(net, &conf), 0);
		CU_ASSERT_EQUAL(bh_net_conf(net)->rx_depth, out[i]);
		CU_ASSERT_EQUAL(bh_net_conf(net)->tx_depth, out[i]);
	}
	bh_net_close(net);
}

static void each_queue_may_have_its_pool(void)
{
	struct rte_mempool *pools[2] = { NULL, &pool_9k.mp };
	struct bh_net *net = fake_open(0);
	struct bh_net_conf conf;

	conf_of(&conf);
	conf.n_rxq = 2;
	conf.rx_pools = pools;
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), 0);
	CU_ASSERT_PTR_EQUAL(bh_net_conf(net)->rx_pools[0], &pool_2k.mp);
	CU_ASSERT_PTR_EQUAL(bh_net_conf(net)->rx_pools[1], &pool_9k.mp);
	bh_net_close(net);
}

static void bursts_do_nothing_unless_started(void)
{
	struct bh_net *net = fake_configured(0, 2);
	struct rte_mbuf *pkts[4];
	struct bh_net_conf conf;

	CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, 1), pkts, 4), 0);
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 1), pkts, 4), 0);
	CU_ASSERT_EQUAL(bh_net_start(net), 0);
	CU_ASSERT_EQUAL(bh_net_start(net), -EALREADY);
	CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, 1), pkts, 4), 4);
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 1), pkts, 4), 3);
	CU_ASSERT_EQUAL(bh_net_tx_reap(bh_net_txq(net, 1)), 7);
	conf_of(&conf);
	CU_ASSERT_EQUAL(bh_net_configure(net, &conf), -EBUSY);
	bh_net_stop(net);
	bh_net_stop(net);
	CU_ASSERT_EQUAL(of(net)->stopped, 1);
	CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, 1), pkts, 4), 0);
	CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 1), pkts, 4), 0);
	CU_ASSERT_EQUAL(bh_net_tx_reap(bh_net_txq(net, 1)), 0);
	of(net)->fail = -EIO;
	CU_ASSERT_EQUAL(bh_net_start(net), -EIO);
	CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, 1), pkts, 4), 0);
	CU_ASSERT_PTR_NULL(bh_net_rxq(net, 2));
	CU_ASSERT_PTR_NULL(bh_net_txq(net, 2));
	bh_net_close(net);
}

static void on_closed(void *ctx)
{
	CU_ASSERT_EQUAL(fake_closed, 1); /* the driver first */
	CU_ASSERT_PTR_EQUAL(ctx, &closed);
	closed++;
}

static void close_stops_releases_and_tells(void)
{
	struct bh_net *net = fake_configured(0, 1);

	CU_ASSERT_EQUAL(bh_net_start(net), 0);
	bh__net_on_close(net, on_closed, &closed);
	bh_net_close(net);
	CU_ASSERT_EQUAL(closed, 1);
	bh_net_close(NULL);
}

static void filters_wait_for_start_and_are_put_back_after_an_error(void)
{
	static const uint8_t good[6] = { 2, 1, 2, 3, 4, 5 }, multi[6] = { 1, 0, 0x5e, 0, 0, 1 };
	struct bh_net *net = fake_configured(ALL_CAPS, 1);
	uint8_t mac[6], macs[2][6];

	memcpy(macs[0], multi, 6);
	memcpy(macs[1], good, 6);
	CU_ASSERT_EQUAL(bh_net_mac_set(net, multi), -EINVAL);
	CU_ASSERT_EQUAL(bh_net_mac_set(net, (const uint8_t[6]){ 0 }), -EINVAL);
	CU_ASSERT_EQUAL(bh_net_multicast(net, macs, 2), -EINVAL);
	CU_ASSERT_EQUAL(bh_net_multicast(net, macs, BH_NET_MAX_MACS + 1), -ENOSPC);
	CU_ASSERT_EQUAL(bh_net_vlan(net, 4096, true), -EINVAL);

	CU_ASSERT_EQUAL(bh_net_promisc(net, true), 0);
	CU_ASSERT_EQUAL(bh_net_vlan(net, 4095, true), 0);
	CU_ASSERT_EQUAL(of(net)->asked, 0);
	CU_ASSERT_TRUE(net->promisc);
	CU_ASSERT_TRUE(bh__net_vlan_wanted(net, 4095));
	CU_ASSERT_FALSE(bh__net_vlan_wanted(net, 4094));

	CU_ASSERT_EQUAL(bh_net_start(net), 0);
	CU_ASSERT_EQUAL(bh_net_multicast(net, macs, 1), 0);
	CU_ASSERT_EQUAL(of(net)->asked, 1);
	of(net)->fail = -EIO;
	CU_ASSERT_EQUAL(bh_net_mac_set(net, good), -EIO);
	bh_net_mac(net, mac);
	CU_ASSERT_EQUAL(memcmp(mac, fake_mac, 6), 0);
	CU_ASSERT_EQUAL(bh_net_mac_set(net, good), 0);
	bh_net_mac(net, mac);
	CU_ASSERT_EQUAL(memcmp(mac, good, 6), 0);
	CU_ASSERT_EQUAL(memcmp(bh_net_info(net)->mac, fake_mac, 6), 0);
	of(net)->fail = -EIO;
	CU_ASSERT_EQUAL(bh_net_promisc(net, false), -EIO);
	CU_ASSERT_TRUE(net->promisc);
	of(net)->fail = -EIO;
	CU_ASSERT_EQUAL(bh_net_vlan(net, 4095, false), -EIO);
	CU_ASSERT_TRUE(bh__net_vlan_wanted(net, 4095));
	of(net)->fail = -EIO;
	CU_ASSERT_EQUAL(bh_net_multicast(net, NULL, 0), -EIO);
	CU_ASSERT_EQUAL(net->num_macs, 1);
	CU_ASSERT_EQUAL(memcmp(net->macs[0], multi, 6), 0);
	CU_ASSERT_EQUAL(bh_net_allmulti(net, true), 0);
	CU_ASSERT_TRUE(net->allmulti);
	bh_net_close(net);
}

static void without_the_bit_it_is_eopnotsupp(void)
{
	struct bh_net *net = fake_configured(0, 1);
	struct bh_net_link link;
	struct bh_net_rss rss;

	CU_ASSERT_EQUAL(bh_net_mac_set(net, fake_mac), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_net_promisc(net, true), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_net_allmulti(net, true), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_net_multicast(net, NULL, 0), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_net_vlan(net, 1, true), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_net_rss_get(net, &rss), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_net_rss_set(net, &rss), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_net_rxq_fd(net, 0), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_net_rxq_arm(net, 0), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_net_link(net, &link), 0);
	CU_ASSERT_TRUE(link.up);
	CU_ASSERT_EQUAL(of(net)->asked, 0);
	bh_net_close(net);
}

static void rss_is_even_unless_told_otherwise(void)
{
	struct bh_net *net = fake_configured(ALL_CAPS, 3);
	struct bh_net_rss rss, before;

	CU_ASSERT_EQUAL(bh_net_rss_get(net, &rss), 0);
	CU_ASSERT_EQUAL(rss.types, 0x3f);
	CU_ASSERT_EQUAL(rss.table_size, 128);
	for (unsigned int i = 0; i < 128; i++)
		CU_ASSERT_EQUAL(rss.table[i], i % 3);
	before = rss;
	rss.table[5] = 3;
	CU_ASSERT_EQUAL(bh_net_rss_set(net, &rss), -EINVAL);
	rss = before;
	rss.key_bytes = 39;
	CU_ASSERT_EQUAL(bh_net_rss_set(net, &rss), -EINVAL);
	rss = before;
	rss.types = 0x40;
	CU_ASSERT_EQUAL(bh_net_rss_set(net, &rss), -EINVAL);
	CU_ASSERT_EQUAL(bh_net_start(net), 0);
	rss = before;
	rss.table[0] = 2;
	of(net)->fail = -EIO;
	CU_ASSERT_EQUAL(bh_net_rss_set(net, &rss), -EIO);
	CU_ASSERT_EQUAL(net->rss.table[0], 0);
	CU_ASSERT_EQUAL(bh_net_rss_set(net, &rss), 0);
	CU_ASSERT_EQUAL(net->rss.table[0], 2);
	bh_net_close(net);
}

static void statistics_are_sums_and_the_devices(void)
{
	struct bh_net *net = fake_configured(ALL_CAPS, 2);
	struct bh_net_xstat x[64];
	struct bh_net_counters c;
	struct bh_net_stats s;
	struct rte_mbuf *pkts[4];
	int count;

	CU_ASSERT_EQUAL(bh_net_start(net), 0);
	bh_net_rx_burst(bh_net_rxq(net, 0), pkts, 4);
	bh_net_rx_burst(bh_net_rxq(net, 1), pkts, 3);
	bh_net_tx_burst(bh_net_txq(net, 1), pkts, 4);
	CU_ASSERT_EQUAL(bh_net_stats(net, &s), 0);
	CU_ASSERT_EQUAL(s.rx_packets, 7);
	CU_ASSERT_EQUAL(s.rx_bytes, 420);
	CU_ASSERT_EQUAL(s.rx_missed, 5);
	CU_ASSERT_EQUAL(s.tx_packets, 3);
	CU_ASSERT_EQUAL(s.tx_refused, 1);
	CU_ASSERT_EQUAL(bh_net_rxq_stats(net, 1, &c), 0);
	CU_ASSERT_EQUAL(c.packets, 3);
	CU_ASSERT_EQUAL(bh_net_rxq_stats(net, 2, &c), -EINVAL);
	CU_ASSERT_EQUAL(bh_net_txq_stats(net, 2, &c), -EINVAL);
	count = bh_net_xstats(net, x, 64);
	CU_ASSERT_EQUAL(count, 9 + 2 * 4 + 2 * 3 + 1);
	CU_ASSERT_STRING_EQUAL(x[0].name, "rx_packets");
	CU_ASSERT_EQUAL(x[0].value, 7);
	CU_ASSERT_STRING_EQUAL(x[13].name, "rx_q1_packets");
	CU_ASSERT_EQUAL(x[13].value, 3);
	CU_ASSERT_STRING_EQUAL(x[count - 1].name, "fake_things");
	CU_ASSERT_EQUAL(x[count - 1].value, 42);
	memset(x, 0, sizeof(x));
	CU_ASSERT_EQUAL(bh_net_xstats(net, x, 2), count);
	CU_ASSERT_STRING_EQUAL(x[1].name, "rx_bytes");
	CU_ASSERT_STRING_EQUAL(x[2].name, "");
	CU_ASSERT_EQUAL(bh_net_xstats(net, NULL, 0), count);
	bh_net_close(net);
}

static void mtu_changes_while_stopped(void)
{
	struct bh_net *net = fake_configured(0, 1);

	CU_ASSERT_EQUAL(bh_net_mtu(net), 1500);
	CU_ASSERT_EQUAL(bh_net_mtu_set(net, 9001), -EINVAL);
	CU_ASSERT_EQUAL(bh_net_mtu_set(net, 2030), 0);
	CU_ASSERT_EQUAL(bh_net_mtu_set(net, 2031), -EMSGSIZE);
	CU_ASSERT_EQUAL(bh_net_mtu(net), 2030);
	CU_ASSERT_EQUAL(bh_net_start(net), 0);
	CU_ASSERT_EQUAL(bh_net_mtu_set(net, 1500), -EBUSY);
	bh_net_close(net);
}

static void events_and_sleeping_reach_the_driver(void)
{
	struct bh_net *net = fake_configured(ALL_CAPS, 2);
	struct bh_net_link link;

	CU_ASSERT_EQUAL(bh_net_poll(net), 1);
	CU_ASSERT_EQUAL(events, 1);
	CU_ASSERT_EQUAL(bh_net_link(net, &link), 0);
	CU_ASSERT_FALSE(link.up);
	CU_ASSERT_EQUAL(bh_net_rxq_fd(net, 1), 101);
	CU_ASSERT_EQUAL(bh_net_rxq_fd(net, 2), -EINVAL);
	CU_ASSERT_EQUAL(bh_net_rxq_arm(net, 1), -EINVAL);
	CU_ASSERT_EQUAL(bh_net_start(net), 0);
	of(net)->fail = -EAGAIN;
	CU_ASSERT_EQUAL(bh_net_rxq_arm(net, 1), -EAGAIN);
	CU_ASSERT_EQUAL(bh_net_rxq_arm(net, 1), 0);
	bh_net_close(net);
}

BH_SUITE_FIXTURE("net", setup, NULL, { "a_bit_means_an_operation", a_bit_means_an_operation },
		 { "bits_have_names", bits_have_names },
		 { "configuring_checks_every_number", configuring_checks_every_number },
		 { "depths_are_rounded_to_what_the_device_takes",
		   depths_are_rounded_to_what_the_device_takes },
		 { "each_queue_may_have_its_pool", each_queue_may_have_its_pool },
		 { "bursts_do_nothing_unless_started", bursts_do_nothing_unless_started },
		 { "close_stops_releases_and_tells", close_stops_releases_and_tells },
		 { "filters_wait_for_start_and_are_put_back_after_an_error",
		   filters_wait_for_start_and_are_put_back_after_an_error },
		 { "without_the_bit_it_is_eopnotsupp", without_the_bit_it_is_eopnotsupp },
		 { "rss_is_even_unless_told_otherwise", rss_is_even_unless_told_otherwise },
		 { "statistics_are_sums_and_the_devices", statistics_are_sums_and_the_devices },
		 { "mtu_changes_while_stopped", mtu_changes_while_stopped },
		 { "events_and_sleeping_reach_the_driver", events_and_sleeping_reach_the_driver }, )

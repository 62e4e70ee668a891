/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtio network driver against our emulated controller, two processes: what is sent into a
 * loopback port comes back, whole, in order, and every mbuf with it.
 *
 * Ring formats are chosen by leaving features out on the driver's side; the controller offers all.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/net.h>
#include <bellhop/net_virtio.h>

#include "ft.h"

#define PACKED (1ull << 34)
#define IN_ORDER (1ull << 35)
#define INDIRECT (1ull << 28)
#define EVENT_IDX (1ull << 29)
#define SCATTER (BH_NET_RX_SCATTER | BH_NET_TX_MULTI_SEGS)

enum { MBUFS = 6000, SEGMENT = 2048 };

static const struct {
	const char *name;
	uint64_t without;
} formats[] = {
	{ "packed, in order", 0 },
	{ "packed", IN_ORDER },
	{ "split, in order", PACKED | EVENT_IDX },
	{ "split", PACKED | IN_ORDER | INDIRECT },
};

#define FORMATS (sizeof(formats) / sizeof(formats[0]))

struct nic {
	struct bh_env *env;
	struct bh_dma_space *space;
	struct bh_pool *rings;
	struct bh_net_pool *pool;
	struct bh_net *net;
	unsigned int gone;
};

static void on_event(void *ctx, struct bh_net *net, enum bh_net_event event)
{
	struct nic *n = (struct nic *)ctx;

	(void)net;
	n->gone += event == BH_NET_EVENT_GONE;
}

static void nic_memory(struct nic *n)
{
	struct bh_net_pool_opts popts;
	struct bh_pool_opts ropts;
	struct bh_env_opts eopts;

	memset(n, 0, sizeof(*n));
	bh_env_opts_init(&eopts);
	FT_EQUAL(bh_env_open(&eopts, &n->env), 0);
	FT_EQUAL(bh_dma_space_create(NULL, &n->space), 0);
	bh_pool_opts_init(&ropts);
	ropts.bytes = 16u << 20;
	FT_EQUAL(bh_pool_create(&ropts, &n->rings), 0);
	FT_EQUAL(bh_dma_space_add(n->space, n->rings), 0);
	bh_net_pool_opts_init(&popts);
	popts.env = n->env;
	popts.space = n->space;
	popts.count = MBUFS;
	popts.data_bytes = SEGMENT;
	FT_EQUAL(bh_net_pool_create(&popts, &n->pool), 0);
}

static void nic_open(struct nic *n, const struct ft_target *target, uint64_t without)
{
	struct bh_device_opts dopts;
	struct bh_net_opts opts;

	bh_device_opts_init(&dopts);
	dopts.space = n->space;
	bh_net_opts_init(&opts);
	opts.virtio_without = without;
	opts.event = on_event;
	opts.event_ctx = n;
	FT_EQUAL(bh_net_open(target->socket[0], &dopts, &opts, &n->net), 0);
}

static void nic_start(struct nic *n, uint64_t offloads, unsigned int queues, unsigned int depth,
		      unsigned int mtu)
{
	struct bh_net_conf conf;

	bh_net_conf_init(&conf);
	conf.rx_pool = bh_net_pool_mempool(n->pool);
	conf.n_rxq = conf.n_txq = queues;
	conf.rx_depth = conf.tx_depth = depth;
	conf.offloads = offloads;
	conf.mtu = mtu;
	FT_EQUAL(bh_net_configure(n->net, &conf), 0);
	FT_EQUAL(bh_net_start(n->net), 0);
}

static unsigned int nic_missing(struct nic *n)
{
	return rte_mempool_in_use_count(bh_net_pool_mempool(n->pool));
}

static void nic_close(struct nic *n)
{
	bh_net_close(n->net);
	n->net = NULL;
	FT_EQUAL(nic_missing(n), 0);
}

static void nic_end(struct nic *n)
{
	bh_net_pool_destroy(n->pool);
	FT_EQUAL(bh_dma_space_remove(n->space, n->rings), 0);
	FT_EQUAL(bh_pool_free_bytes(n->rings), bh_pool_mem(n->rings)->len);
	bh_pool_destroy(n->rings);
	bh_dma_space_destroy(n->space);
	bh_env_close(n->env);
}

static uint8_t byte_of(uint32_t seed, uint32_t at)
{
	return (uint8_t)(seed * 29 + at + (at >> 8) * 13);
}

/* A packet of `len` bytes in mbufs of at most `seg`. */
static struct rte_mbuf *packet(struct nic *n, uint32_t seed, uint32_t len, uint32_t seg)
{
	struct rte_mbuf *head = NULL, *m;

	for (uint32_t at = 0; at < len; at += m->data_len) {
		m = rte_pktmbuf_alloc(bh_net_pool_mempool(n->pool));
		FT_CHECK(m != NULL);
		m->data_len = (uint16_t)(len - at < seg ? len - at : seg);
		m->pkt_len = m->data_len;
		for (uint32_t i = 0; i < m->data_len; i++)
			*rte_pktmbuf_mtod_offset(m, uint8_t *, i) = byte_of(seed, at + i);
		if (!head)
			head = m;
		else
			FT_EQUAL(rte_pktmbuf_chain(head, m), 0);
	}
	return head;
}

static void check_and_free(struct rte_mbuf *m, uint32_t seed, uint32_t len)
{
	uint32_t at = 0;

	FT_EQUAL(m->pkt_len, len);
	for (const struct rte_mbuf *s = m; s; s = s->next)
		for (uint32_t i = 0; i < s->data_len; i++, at++)
			FT_EQUAL(*rte_pktmbuf_mtod_offset(s, uint8_t *, i), byte_of(seed, at));
	FT_EQUAL(at, len);
	rte_pktmbuf_free(m);
}

static void send_all(struct nic *n, unsigned int queue, struct rte_mbuf **m, uint16_t count)
{
	struct bh_net_txq *q = bh_net_txq(n->net, queue);
	uint16_t sent = 0;

	FT_UNTIL(5000, sent == count,
		 sent = (uint16_t)(sent + bh_net_tx_burst(q, m + sent, (uint16_t)(count - sent))));
}

static void receive_all(struct nic *n, unsigned int queue, struct rte_mbuf **m, uint16_t count)
{
	struct bh_net_rxq *q = bh_net_rxq(n->net, queue);
	uint16_t got = 0;

	FT_UNTIL(5000, got == count,
		 got = (uint16_t)(got + bh_net_rx_burst(q, m + got, (uint16_t)(count - got))));
}

static void echo(struct nic *n, unsigned int queue, uint16_t count, uint32_t len, uint32_t seg)
{
	struct rte_mbuf *m[256];

	for (uint16_t i = 0; i < count; i++)
		m[i] = packet(n, len + i, len, seg);
	send_all(n, queue, m, count);
	receive_all(n, queue, m, count);
	for (uint16_t i = 0; i < count; i++)
		check_and_free(m[i], len + i, len);
}

static void serve(struct ft_target *target, const char *rest)
{
	const char *specs[2] = { NULL, NULL };
	char spec[256];

	ft_target_init(target);
	snprintf(spec, sizeof(spec), "net:%s,%s", target->socket[0], rest);
	specs[0] = spec;
	ft_target_start(target, ft_cpus(1, ','), specs);
}

/* Runs a case in every ring format, each on the device opened anew. */
static void over_formats(void (*one)(struct nic *n), const char *spec, uint64_t offloads,
			 unsigned int queues, unsigned int depth, unsigned int mtu)
{
	struct ft_target target;
	struct nic n;

	serve(&target, spec);
	nic_memory(&n);
	for (unsigned int i = 0; i < FORMATS; i++) {
		nic_open(&n, &target, formats[i].without);
		FT_EQUAL(bh_net_virtio_offered(n.net) >> 34 & 3, 3);
		nic_start(&n, offloads, queues, depth, mtu);
		FT_EQUAL(bh_net_virtio_features(n.net) & formats[i].without, 0);
		FT_EQUAL(bh_net_virtio_features(n.net) >> 34 & 3, 3 & ~(formats[i].without >> 34));
		one(&n);
		nic_close(&n);
	}
	nic_end(&n);
	ft_target_stop(&target);
}

/* Sixteen sizes at a time. */
static void one_sizes(struct nic *n)
{
	uint32_t step = ft_is_sanitized() ? 97 : 1, len = 60;
	struct rte_mbuf *m[16];

	while (len + 16 * step <= 9015) {
		for (uint32_t i = 0; i < 16; i++)
			m[i] = packet(n, i, len + i * step, SEGMENT);
		send_all(n, 0, m, 16);
		receive_all(n, 0, m, 16);
		for (uint32_t i = 0; i < 16; i++)
			check_and_free(m[i], i, len + i * step);
		len += 16 * step;
	}
	echo(n, 0, 1, 9014, SEGMENT);
}

static void every_size(void)
{
	over_formats(one_sizes, "port=loopback,mtu=9000", SCATTER, 1, 512, 9000);
}

static void one_chains(struct nic *n)
{
	for (uint32_t seg = 250; seg <= SEGMENT; seg += 111)
		echo(n, 0, 4, 9000, seg);
	for (uint32_t len = 60; len < 80; len++)
		echo(n, 0, 4, len, 2);
}

static void chains(void)
{
	over_formats(one_chains, "port=loopback,mtu=9000", SCATTER, 1, 256, 9000);
}

static void one_bursts(struct nic *n)
{
	for (uint16_t count = 1; count <= 256; count++)
		echo(n, 0, count, 60u + count, SEGMENT);
}

/* Some 33000 packets: 64 to 128 times round the rings. */
static void bursts(void)
{
	over_formats(one_bursts, "port=loopback", 0, 1, 512, 1500);
	over_formats(one_bursts, "port=loopback", BH_NET_TX_FAST_FREE, 1, 256, 1500);
}

static void one_queues(struct nic *n)
{
	struct rte_mbuf *none;

	for (unsigned int round = 0; round < 50; round++) {
		for (unsigned int q = 0; q < 4; q++) {
			echo(n, q, 16, 100 + q, SEGMENT);
			for (unsigned int other = 0; other < 4; other++)
				FT_EQUAL(bh_net_rx_burst(bh_net_rxq(n->net, other), &none, 1), 0);
		}
	}
}

static void four_queues(void)
{
	over_formats(one_queues, "port=loopback,queues=4", 0, 4, 64, 1500);
}

static void one_exhaustion(struct nic *n)
{
	static struct rte_mbuf *held[MBUFS], *m[64], *back[64];
	struct rte_mempool *mp = bh_net_pool_mempool(n->pool);
	unsigned int count = 0, got = 0;
	struct bh_net_stats stats;

	for (unsigned int i = 0; i < 64; i++)
		m[i] = packet(n, i, 60, SEGMENT);
	while (rte_mempool_get(mp, (void **)&held[count]) == 0)
		count++;
	/* Buffers run out, but none is lost. */
	send_all(n, 0, m, 64);
	FT_UNTIL(5000, got == 64,
		 got += bh_net_rx_burst(bh_net_rxq(n->net, 0), back + got, (uint16_t)(64 - got)));
	for (unsigned int i = 0; i < 64; i++)
		rte_pktmbuf_free(back[i]);
	FT_EQUAL(bh_net_stats(n->net, &stats), 0);
	FT_CHECK(stats.rx_no_mbuf > 0);
	while (count > 0)
		rte_pktmbuf_free(held[--count]);
	for (unsigned int i = 0; i < 50; i++)
		echo(n, 0, 32, 64, SEGMENT);
}

static void exhaustion(void)
{
	over_formats(one_exhaustion, "port=loopback", 0, 1, 64, 1500);
}

static void one_restart(struct nic *n)
{
	struct rte_mbuf *m[32];

	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < 8; i++) {
			uint16_t sent;

			for (uint16_t k = 0; k < 32; k++)
				m[k] = packet(n, k, 3000, 1000);
			sent = bh_net_tx_burst(bh_net_txq(n->net, 0), m, 32);
			rte_pktmbuf_free_bulk(m + sent, 32u - sent);
		}
		bh_net_stop(n->net);
		FT_EQUAL(nic_missing(n), 0);
		FT_EQUAL(bh_net_start(n->net), 0);
		echo(n, 0, 8, 1000, SEGMENT);
	}
}

static void restart_under_load(void)
{
	over_formats(one_restart, "port=loopback", SCATTER, 1, 256, 9000);
}

/* Sequence numbers, as fast as it goes: nothing is lost, doubled or out of order. */
static void in_sequence(struct nic *n, uint64_t count)
{
	struct bh_net_txq *tx = bh_net_txq(n->net, 0);
	struct bh_net_rxq *rx = bh_net_rxq(n->net, 0);
	uint64_t sent = 0, got = 0, end = ft_deadline(100000);
	struct rte_mbuf *m[32], *back[32];
	uint16_t k, more;

	while (got < count) {
		FT_CHECK(bh_now_ns() < end);
		if (sent < count && sent - got <= 960 &&
		    rte_pktmbuf_alloc_bulk(bh_net_pool_mempool(n->pool), m, 32) == 0) {
			for (k = 0; k < 32; k++) {
				m[k]->data_len = 60;
				m[k]->pkt_len = 60;
				*rte_pktmbuf_mtod_offset(m[k], uint64_t *, 16) = sent + k;
			}
			more = bh_net_tx_burst(tx, m, 32);
			sent += more;
			rte_pktmbuf_free_bulk(m + more, 32u - more);
		}
		more = bh_net_rx_burst(rx, back, 32);
		for (k = 0; k < more; k++)
			FT_EQUAL(*rte_pktmbuf_mtod_offset(back[k], uint64_t *, 16), got + k);
		rte_pktmbuf_free_bulk(back, more);
		got += more;
	}
}

static void ten_million(void)
{
	uint64_t count = ft_is_sanitized() ? 200000 : 10000000;
	struct ft_target target;
	struct nic n;

	serve(&target, "port=loopback");
	nic_memory(&n);
	nic_open(&n, &target, 0);
	nic_start(&n, 0, 1, 1024, 1500);
	in_sequence(&n, count);
	nic_close(&n);
	nic_open(&n, &target, PACKED | IN_ORDER);
	nic_start(&n, 0, 1, 1024, 1500);
	in_sequence(&n, count / 10);
	nic_close(&n);
	nic_end(&n);
	ft_target_stop(&target);
}

static void target_killed(void)
{
	struct rte_mbuf *m[32], *back;
	struct ft_target target;
	struct nic n;

	serve(&target, "port=loopback");
	nic_memory(&n);
	nic_open(&n, &target, 0);
	nic_start(&n, SCATTER, 1, 256, 1500);
	echo(&n, 0, 32, 1500, 700);
	ft_target_kill(&target);
	for (unsigned int i = 0; i < 20; i++) {
		uint16_t sent;

		for (uint16_t k = 0; k < 32; k++)
			m[k] = packet(&n, k, 1500, 700);
		sent = bh_net_tx_burst(bh_net_txq(n.net, 0), m, 32);
		rte_pktmbuf_free_bulk(m + sent, 32u - sent);
		FT_EQUAL(bh_net_rx_burst(bh_net_rxq(n.net, 0), &back, 1), 0);
	}
	FT_UNTIL(5000, bh_net_poll(n.net) == -ENODEV, usleep(1000));
	FT_EQUAL(bh_net_poll(n.net), -ENODEV);
	FT_EQUAL(n.gone, 1);
	bh_net_stop(n.net);
	FT_EQUAL(nic_missing(&n), 0);
	FT_EQUAL(bh_net_start(n.net), -ENODEV);
	nic_close(&n);
	/* Another one at the same place serves the same memory. */
	serve(&target, "port=loopback");
	nic_open(&n, &target, 0);
	nic_start(&n, 0, 1, 256, 1500);
	echo(&n, 0, 32, 60, SEGMENT);
	nic_close(&n);
	nic_end(&n);
	ft_target_stop(&target);
}

FT_MAIN({ "every_size", every_size, 100 }, { "chains", chains, 0 }, { "bursts", bursts, 100 },
	{ "four_queues", four_queues, 0 }, { "exhaustion", exhaustion, 0 },
	{ "restart_under_load", restart_under_load, 0 }, { "ten_million", ten_million, 110 },
	{ "target_killed", target_killed, 0 })

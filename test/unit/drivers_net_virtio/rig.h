/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the driver share: environment, pools, the fake device and the interface on it.
 */
#ifndef TEST_NET_VIRTIO_RIG_H
#define TEST_NET_VIRTIO_RIG_H

#include "fake_nic.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/env.h>

#include "net/net.h"
#include <bellhop/net_virtio.h>

enum { RIG_MBUFS = 1500 };

static struct bh_env *env;
static struct bh_dma_space *space;
static struct bh_pool *rings;
static size_t rings_free;
static struct bh_net_pool *pool;
static struct nic *nic;
static struct bh_net *net;
static unsigned int rig_events[3];
static char rig_error[256];

static void rig_log_line(void *ctx, enum bh_log_level level, const char *component,
			 const char *line)
{
	(void)ctx, (void)component;
	if (level == BH_LOG_ERROR)
		snprintf(rig_error, sizeof(rig_error), "%s", line);
}

static const struct bh_log rig_log = { rig_log_line, NULL, BH_LOG_DEBUG };

static void rig_event(void *ctx, struct bh_net *n, enum bh_net_event event)
{
	(void)ctx, (void)n;
	rig_events[event]++;
}

static int rig_setup(void)
{
	struct bh_net_pool_opts popts;
	struct bh_pool_opts ropts;
	struct bh_env_opts eopts;

	memset(rig_events, 0, sizeof(rig_events));
	bh_env_opts_init(&eopts);
	if (bh_env_open(&eopts, &env) != 0 || bh_dma_space_create(&rig_log, &space) != 0)
		return -1;
	bh_pool_opts_init(&ropts);
	ropts.bytes = 8u << 20;
	ropts.page_size = 4096;
	if (bh_pool_create(&ropts, &rings) != 0 || bh_dma_space_add(space, rings) != 0)
		return -1;
	rings_free = bh_pool_free_bytes(rings);
	bh_net_pool_opts_init(&popts);
	popts.env = env;
	popts.space = space;
	popts.count = RIG_MBUFS;
	popts.cache = 32;
	if (bh_net_pool_create(&popts, &pool) != 0)
		return -1;
	nic = nic_open(space, &rig_log);
	return nic ? 0 : -1;
}

static unsigned int rig_avail(void)
{
	return rte_mempool_avail_count(bh_net_pool_mempool(pool));
}

/* Closes what is open. Fails the case unless every mbuf and all queue memory is back. */
static int rig_teardown(void)
{
	bool fine;

	bh_net_close(net);
	net = NULL;
	fine = nic->faults == 0;
	nic_close(nic);
	fine = fine && rig_avail() == RIG_MBUFS;
	bh_net_pool_destroy(pool);
	fine = fine && bh_pool_free_bytes(rings) == rings_free;
	bh_dma_space_remove(space, rings);
	bh_pool_destroy(rings);
	bh_dma_space_destroy(space);
	bh_env_close(env);
	return fine ? 0 : -1;
}

/* `without`: feature bits the driver is not to use. */
static int rig_open(uint64_t without)
{
	struct bh_net_opts opts;

	bh_net_opts_init(&opts);
	opts.event = rig_event;
	opts.virtio_without = without;
	opts.timeout_ns = 200000000;
	return bh_net_virtio_open(&nic->dev, &opts, &net);
}

static int rig_configure(uint64_t offloads, unsigned int queues, unsigned int depth)
{
	struct bh_net_conf conf;

	bh_net_conf_init(&conf);
	conf.rx_pool = bh_net_pool_mempool(pool);
	conf.offloads = offloads;
	conf.n_rxq = conf.n_txq = queues;
	conf.rx_depth = conf.tx_depth = depth;
	conf.mtu = offloads & BH_NET_RX_SCATTER ? 9000 : 1500;
	return bh_net_configure(net, &conf);
}

static void rig_start(uint64_t without, uint64_t offloads, unsigned int queues, unsigned int depth)
{
	CU_ASSERT_EQUAL_FATAL(rig_open(without), 0);
	CU_ASSERT_EQUAL_FATAL(rig_configure(offloads, queues, depth), 0);
	CU_ASSERT_EQUAL_FATAL(bh_net_start(net), 0);
}

static inline uint8_t rig_byte(uint32_t seed, uint32_t at)
{
	return (uint8_t)(seed * 31 + at * 7 + (at >> 8));
}

/* A packet of `len` bytes in mbufs of at most `seg` bytes each. */
static inline struct rte_mbuf *rig_packet(uint32_t seed, uint32_t len, uint32_t seg)
{
	struct rte_mempool *mp = bh_net_pool_mempool(pool);
	struct rte_mbuf *head = NULL, *m;

	for (uint32_t at = 0; at < len;) {
		uint32_t n = len - at < seg ? len - at : seg;

		m = rte_pktmbuf_alloc(mp);
		CU_ASSERT_PTR_NOT_NULL_FATAL(m);
		for (uint32_t i = 0; i < n; i++)
			*rte_pktmbuf_mtod_offset(m, uint8_t *, i) = rig_byte(seed, at + i);
		m->data_len = (uint16_t)n;
		m->pkt_len = n;
		if (!head)
			head = m;
		else if (rte_pktmbuf_chain(head, m) != 0)
			CU_FAIL_FATAL("a chain too long");
		at += n;
	}
	return head;
}

/* Is it that packet? Frees it. */
static inline bool rig_is(struct rte_mbuf *m, uint32_t seed, uint32_t len)
{
	uint32_t at = 0;
	bool same = m->pkt_len == len;

	for (const struct rte_mbuf *s = m; s; s = s->next)
		for (uint32_t i = 0; i < s->data_len; i++, at++)
			same = same &&
			       *rte_pktmbuf_mtod_offset(s, uint8_t *, i) == rig_byte(seed, at);
	same = same && at == len;
	rte_pktmbuf_free(m);
	return same;
}

#endif /* TEST_NET_VIRTIO_RIG_H */

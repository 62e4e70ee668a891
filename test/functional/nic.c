/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "nic.h"

const struct nic_format nic_formats[NIC_FORMATS] = {
	{ "packed, in order", 0 },
	{ "packed", NIC_IN_ORDER },
	{ "split, in order", NIC_PACKED | NIC_EVENT_IDX },
	{ "split", NIC_PACKED | NIC_IN_ORDER | NIC_INDIRECT },
};

static void on_event(void *ctx, struct bh_net *net, enum bh_net_event event)
{
	struct nic *n = (struct nic *)ctx;

	(void)net;
	n->gone += event == BH_NET_EVENT_GONE;
}

void nic_memory_open(struct nic_memory *memory)
{
	struct bh_net_pool_opts popts;
	struct bh_pool_opts ropts;
	struct bh_env_opts eopts;

	memset(memory, 0, sizeof(*memory));
	bh_env_opts_init(&eopts);
	FT_EQUAL(bh_env_open(&eopts, &memory->env), 0);
	FT_EQUAL(bh_dma_space_create(NULL, &memory->space), 0);
	bh_pool_opts_init(&ropts);
	ropts.bytes = 16u << 20;
	FT_EQUAL(bh_pool_create(&ropts, &memory->rings), 0);
	FT_EQUAL(bh_dma_space_add(memory->space, memory->rings), 0);
	bh_net_pool_opts_init(&popts);
	popts.env = memory->env;
	popts.space = memory->space;
	popts.count = NIC_MBUFS;
	popts.data_bytes = NIC_SEGMENT;
	FT_EQUAL(bh_net_pool_create(&popts, &memory->pool), 0);
}

void nic_memory_close(struct nic_memory *memory)
{
	FT_EQUAL(nic_missing(memory), 0);
	bh_net_pool_destroy(memory->pool);
	FT_EQUAL(bh_dma_space_remove(memory->space, memory->rings), 0);
	FT_EQUAL(bh_pool_free_bytes(memory->rings), bh_pool_mem(memory->rings)->len);
	bh_pool_destroy(memory->rings);
	bh_dma_space_destroy(memory->space);
	bh_env_close(memory->env);
}

void nic_open(struct nic *n, struct nic_memory *memory, const char *socket, uint64_t without)
{
	struct bh_device_opts dopts;
	struct bh_net_opts opts;

	memset(n, 0, sizeof(*n));
	n->memory = memory;
	bh_device_opts_init(&dopts);
	dopts.space = memory->space;
	bh_net_opts_init(&opts);
	opts.virtio_without = without;
	opts.event = on_event;
	opts.event_ctx = n;
	FT_EQUAL(bh_net_open(socket, &dopts, &opts, &n->net), 0);
}

void nic_start(struct nic *n, uint64_t offloads, unsigned int queues, unsigned int depth,
	       unsigned int mtu)
{
	struct bh_net_conf conf;

	bh_net_conf_init(&conf);
	conf.rx_pool = bh_net_pool_mempool(n->memory->pool);
	conf.n_rxq = conf.n_txq = queues;
	conf.rx_depth = conf.tx_depth = depth;
	conf.offloads = offloads;
	conf.mtu = mtu;
	FT_EQUAL(bh_net_configure(n->net, &conf), 0);
	FT_EQUAL(bh_net_start(n->net), 0);
}

unsigned int nic_missing(const struct nic_memory *memory)
{
	return rte_mempool_in_use_count(bh_net_pool_mempool(memory->pool));
}

void nic_close(struct nic *n)
{
	bh_net_close(n->net);
	n->net = NULL;
}

void nic_serve(struct ft_target *target, const char *first, const char *second)
{
	const char *specs[3] = { NULL, NULL, NULL };
	char spec[2][256];

	ft_target_init(target);
	snprintf(spec[0], sizeof(spec[0]), "net:%s,%s", target->socket[0], first);
	specs[0] = spec[0];
	if (second) {
		snprintf(spec[1], sizeof(spec[1]), "net:%s,%s", target->socket[1], second);
		specs[1] = spec[1];
	}
	ft_target_start(target, ft_cpus(1, ','), specs);
}

void nic_over_formats(void (*one)(struct nic *n), const char *spec, uint64_t offloads,
		      unsigned int queues, unsigned int depth, unsigned int mtu)
{
	struct ft_target target;
	struct nic_memory memory;
	struct nic n;

	nic_serve(&target, spec, NULL);
	nic_memory_open(&memory);
	for (unsigned int i = 0; i < NIC_FORMATS; i++) {
		uint64_t without = nic_formats[i].without;

		nic_open(&n, &memory, target.socket[0], without);
		FT_EQUAL(bh_net_virtio_offered(n.net) >> 34 & 3, 3);
		nic_start(&n, offloads, queues, depth, mtu);
		FT_EQUAL(bh_net_virtio_features(n.net) & without, 0);
		FT_EQUAL(bh_net_virtio_features(n.net) >> 34 & 3, 3 & ~(without >> 34));
		one(&n);
		nic_close(&n);
		FT_EQUAL(nic_missing(&memory), 0);
	}
	nic_memory_close(&memory);
	ft_target_stop(&target);
}

/* ---- packets ---- */

static uint8_t byte_of(uint32_t seed, uint32_t at)
{
	return (uint8_t)(seed * 29 + at + (at >> 8) * 13);
}

struct rte_mbuf *nic_alloc(struct nic *n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(bh_net_pool_mempool(n->memory->pool));

	FT_CHECK(m != NULL);
	return m;
}

struct rte_mbuf *nic_packet(struct nic *n, uint32_t seed, uint32_t len, uint32_t seg)
{
	struct rte_mbuf *head = NULL, *m;

	for (uint32_t at = 0; at < len; at += m->data_len) {
		m = nic_alloc(n);
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

void nic_check_and_free(struct rte_mbuf *m, uint32_t seed, uint32_t len)
{
	uint32_t at = 0;

	FT_EQUAL(m->pkt_len, len);
	for (const struct rte_mbuf *s = m; s; s = s->next)
		for (uint32_t i = 0; i < s->data_len; i++, at++)
			FT_EQUAL(*rte_pktmbuf_mtod_offset(s, uint8_t *, i), byte_of(seed, at));
	FT_EQUAL(at, len);
	rte_pktmbuf_free(m);
}

void nic_send(struct nic *n, unsigned int queue, struct rte_mbuf **m, uint16_t count)
{
	struct bh_net_txq *q = bh_net_txq(n->net, queue);
	uint16_t sent = 0;

	FT_UNTIL(5000, sent == count,
		 sent = (uint16_t)(sent + bh_net_tx_burst(q, m + sent, (uint16_t)(count - sent))));
}

void nic_receive(struct nic *n, unsigned int queue, struct rte_mbuf **m, uint16_t count)
{
	struct bh_net_rxq *q = bh_net_rxq(n->net, queue);
	uint16_t got = 0;

	FT_UNTIL(5000, got == count,
		 got = (uint16_t)(got + bh_net_rx_burst(q, m + got, (uint16_t)(count - got))));
}

void nic_echo(struct nic *n, unsigned int queue, uint16_t count, uint32_t len, uint32_t seg)
{
	struct rte_mbuf *m[256];

	for (uint16_t i = 0; i < count; i++)
		m[i] = nic_packet(n, len + i, len, seg);
	nic_send(n, queue, m, count);
	nic_receive(n, queue, m, count);
	for (uint16_t i = 0; i < count; i++)
		nic_check_and_free(m[i], len + i, len);
}

void nic_in_sequence(struct nic *n, uint64_t count)
{
	struct bh_net_txq *tx = bh_net_txq(n->net, 0);
	struct bh_net_rxq *rx = bh_net_rxq(n->net, 0);
	uint64_t sent = 0, got = 0, end = ft_deadline(100000);
	struct rte_mbuf *m[32], *back[32];
	uint16_t k, more;

	while (got < count) {
		FT_CHECK(bh_now_ns() < end);
		if (sent < count && sent - got <= 960 &&
		    rte_pktmbuf_alloc_bulk(bh_net_pool_mempool(n->memory->pool), m, 32) == 0) {
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

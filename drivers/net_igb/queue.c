/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues: their memory, and how they are given to the device and taken back (82576 datasheet 4.5.9,
 * 4.5.10).
 *
 * Rings come from the device's DMA space; what belongs to a descriptor is remembered outside of it.
 * A ring that the device has may not be freed before it was taken back: ending a queue means that
 * its enable bit, cleared, reads clear. Where it does not, the caller resets the device.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf_ptype.h>

#include "net_igb/port.h"

#define ENABLE_MS 10
#define FRAME_EXTRA 18u /* an Ethernet header and a tag */
#define ROOM_MOST 16384u

static const uint32_t rss_fields[] = {
	[0] = IGB_MRQC_IPV4,
	[1] = IGB_MRQC_TCP_IPV4,
	[2] = IGB_MRQC_UDP_IPV4,
	[3] = IGB_MRQC_IPV6 | IGB_MRQC_IPV6_EX,
	[4] = IGB_MRQC_TCP_IPV6 | IGB_MRQC_TCP_IPV6_EX,
	[5] = IGB_MRQC_UDP_IPV6,
};
static_assert(BH_NET_RSS_UDPV6 == 1u << 5, "the table's order is that of the bits");

static void fill_ptypes(uint32_t ptypes[128])
{
	for (unsigned int i = 0; i < 128; i++) {
		uint32_t type = RTE_PTYPE_L2_ETHER;

		if (i & IGB_RX_TYPE_IPV4_EXT)
			type |= RTE_PTYPE_L3_IPV4_EXT;
		else if (i & IGB_RX_TYPE_IPV4)
			type |= RTE_PTYPE_L3_IPV4;
		else if (i & IGB_RX_TYPE_IPV6_EXT)
			type |= RTE_PTYPE_L3_IPV6_EXT;
		else if (i & IGB_RX_TYPE_IPV6)
			type |= RTE_PTYPE_L3_IPV6;
		if (i & IGB_RX_TYPE_TCP)
			type |= RTE_PTYPE_L4_TCP;
		else if (i & IGB_RX_TYPE_UDP)
			type |= RTE_PTYPE_L4_UDP;
		else if (i & IGB_RX_TYPE_SCTP)
			type |= RTE_PTYPE_L4_SCTP;
		ptypes[i] = type;
	}
}

/* A ring, zeroed, and its address for the device. */
static int alloc_ring(struct bh_igb_port *port, unsigned int depth, void **ring,
		      struct bh_pool **pool, uint64_t *iova)
{
	size_t bytes = depth * sizeof(union bh_igb_rx_desc);
	struct bh_iova_cache cache = { 0 };

	*ring = bh_dma_space_alloc(bh_device_space(port->hw.dev), bytes, IGB_RING_ALIGN, pool);
	if (!*ring)
		return -ENOMEM;
	memset(*ring, 0, bytes);
	if (bh_iova_translate(bh_device_iova_map(port->hw.dev), &cache, *ring, bytes, iova))
		return 0;
	bh_pool_free(*pool, *ring);
	*ring = NULL;
	return -ENOMEM;
}

static void destroy_rxq(struct bh_igb_rxq *q)
{
	if (!q)
		return;
	if (q->ring)
		bh_pool_free(q->ring_pool, q->ring);
	free(q->sw);
	free(q);
}

static void destroy_txq(struct bh_igb_txq *q)
{
	if (!q)
		return;
	if (q->ring)
		bh_pool_free(q->ring_pool, q->ring);
	free(q->reports);
	free(q->sw);
	free(q);
}

/* Queues are read and written by their owner all the time: cache lines of their own. */
static void *alloc_queue(size_t bytes)
{
	void *q = aligned_alloc(128, (bytes + 127) & ~(size_t)127);

	if (q)
		memset(q, 0, bytes);
	return q;
}

static int create_rxq(struct bh_igb_port *port, unsigned int i)
{
	const struct bh_net_conf *conf = &port->net.conf;
	struct bh_igb_rxq *q = alloc_queue(sizeof(*q));
	int rc;

	port->rxq[i] = q;
	if (!q)
		return -ENOMEM;
	q->index = i;
	q->depth = conf->rx_depth;
	q->pool = conf->rx_pools[i];
	q->mask = (uint16_t)(q->depth - 1);
	q->iova = bh_device_iova_map(port->hw.dev);
	q->ptypes = port->ptypes;
	q->tail = port->map.va + IGB_RXQ(i) + IGB_RDT;
	q->disarm = port->map.va + IGB_EIMC;
	q->vector_bit = 1u << i;
	q->sw = calloc(q->depth, sizeof(q->sw[0]));
	if (!q->sw)
		return -ENOMEM;
	rc = alloc_ring(port, q->depth, (void **)&q->ring, &q->ring_pool, &q->ring_iova);
	port->net.rxq[i] = &q->pub;
	return rc;
}

static int create_txq(struct bh_igb_port *port, unsigned int i)
{
	const struct bh_net_conf *conf = &port->net.conf;
	struct bh_igb_txq *q = alloc_queue(sizeof(*q));

	port->txq[i] = q;
	if (!q)
		return -ENOMEM;
	q->index = i;
	q->depth = conf->tx_depth;
	q->mask = (uint16_t)(q->depth - 1);
	q->iova = bh_device_iova_map(port->hw.dev);
	q->tail = port->map.va + IGB_TXQ(i) + IGB_TDT;
	q->sw = calloc(q->depth, sizeof(q->sw[0]));
	q->reports = calloc(q->depth, sizeof(q->reports[0]));
	if (!q->sw || !q->reports)
		return -ENOMEM;
	port->net.txq[i] = &q->pub;
	return alloc_ring(port, q->depth, (void **)&q->ring, &q->ring_pool, &q->ring_iova);
}

int bh__igb_queues_create(struct bh_igb_port *port)
{
	const struct bh_net_conf *conf = &port->net.conf;
	int rc = 0;

	fill_ptypes(port->ptypes);
	for (unsigned int i = 0; i < conf->n_rxq && !rc; i++)
		rc = create_rxq(port, i);
	for (unsigned int i = 0; i < conf->n_txq && !rc; i++)
		rc = create_txq(port, i);
	if (rc)
		bh__igb_queues_destroy(port);
	return rc;
}

void bh__igb_queues_destroy(struct bh_igb_port *port)
{
	for (unsigned int i = 0; i < IGB_QUEUES; i++) {
		destroy_rxq(port->rxq[i]);
		destroy_txq(port->txq[i]);
		port->rxq[i] = NULL;
		port->txq[i] = NULL;
	}
}

/* What of a pool's mbufs the device may write to: SRRCTL counts in KiB. */
static unsigned int room_of(struct rte_mempool *pool)
{
	unsigned int room = bh__net_pool_room(pool);

	return room > ROOM_MOST ? ROOM_MOST
				: room / IGB_SRRCTL_BSIZEPKT_UNIT * IGB_SRRCTL_BSIZEPKT_UNIT;
}

static int prepare_rxq(struct bh_igb_port *port, struct bh_igb_rxq *q)
{
	uint64_t offloads = port->net.conf.offloads;
	unsigned int room = room_of(q->pool);

	q->scatter = offloads & BH_NET_RX_SCATTER;
	if (!room || (!q->scatter && room < port->net.conf.mtu + FRAME_EXTRA)) {
		bh__igb_log(&port->hw, BH_LOG_ERROR,
			    "mbufs of %u bytes, of which whole KiB count, are too small for an MTU "
			    "of %u without RX_SCATTER",
			    bh__net_pool_room(q->pool), port->net.conf.mtu);
		return -EMSGSIZE;
	}
	q->room = (uint16_t)room;
	q->keep = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	if (offloads & BH_NET_RX_IP_CSUM)
		q->keep |= RTE_MBUF_F_RX_IP_CKSUM_MASK;
	if (offloads & BH_NET_RX_L4_CSUM)
		q->keep |= RTE_MBUF_F_RX_L4_CKSUM_MASK;
	if (offloads & BH_NET_RX_RSS_HASH)
		q->keep |= RTE_MBUF_F_RX_RSS_HASH;
	q->next = q->fill = 0;
	q->empty = (uint16_t)q->depth;
	q->chain = NULL;
	q->chain_bad = q->armed = false;
	memset(&q->cache, 0, sizeof(q->cache));
	memset(q->ring, 0, q->depth * sizeof(q->ring[0]));
	return 0;
}

static void prepare_txq(struct bh_igb_port *port, struct bh_igb_txq *q)
{
	uint64_t offloads = port->net.conf.offloads;
	uint64_t serve = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6;

	if (offloads & BH_NET_TX_IP_CSUM)
		serve |= RTE_MBUF_F_TX_IP_CKSUM;
	if (offloads & BH_NET_TX_L4_CSUM)
		serve |= RTE_MBUF_F_TX_L4_MASK;
	if (offloads & BH_NET_TX_TSO)
		serve |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM;
	if (offloads & BH_NET_TX_VLAN_INSERT)
		serve |= RTE_MBUF_F_TX_VLAN;
	q->refuse = RTE_MBUF_F_TX_OFFLOAD_MASK & ~serve;
	q->frame_most = port->net.conf.mtu + FRAME_EXTRA;
	q->segs_most = offloads & BH_NET_TX_MULTI_SEGS ? IGB_TX_SEGS : 1;
	q->fast_free = offloads & BH_NET_TX_FAST_FREE;
	q->next = q->clean = q->silent = 0;
	q->report_head = q->report_tail = 0;
	memset(&q->context, 0, sizeof(q->context));
	memset(&q->cache, 0, sizeof(q->cache));
	memset(q->ring, 0, q->depth * sizeof(q->ring[0]));
}

static int start_rxq(struct bh_igb_port *port, struct bh_igb_rxq *q)
{
	struct bh_igb_hw *hw = &port->hw;
	uint32_t at = IGB_RXQ(q->index);
	uint32_t drop = port->net.conf.n_rxq > 1 ? IGB_SRRCTL_DROP_EN : 0;

	bh__igb_write(hw, at + IGB_RDBAL, (uint32_t)q->ring_iova);
	bh__igb_write(hw, at + IGB_RDBAH, (uint32_t)(q->ring_iova >> 32));
	bh__igb_write(hw, at + IGB_RDLEN, q->depth * (uint32_t)sizeof(q->ring[0]));
	/* A queue without buffers does not hold up the others: what is for it is dropped. */
	bh__igb_write(hw, at + IGB_SRRCTL,
		      q->room / IGB_SRRCTL_BSIZEPKT_UNIT | IGB_SRRCTL_ADV_ONE_BUFFER | drop);
	bh__igb_write(hw, at + IGB_RDH, 0);
	bh__igb_write(hw, at + IGB_RDT, 0);
	/* Each descriptor is written back when it is done (WTHRESH 1): somebody polls for it. */
	bh__igb_write(hw, at + IGB_RXDCTL,
		      IGB_XDCTL_PTHRESH(8) | IGB_XDCTL_HTHRESH(8) | IGB_XDCTL_WTHRESH(1) |
			      IGB_XDCTL_ENABLE);
	if (!bh__igb_wait(hw, at + IGB_RXDCTL, IGB_XDCTL_ENABLE, IGB_XDCTL_ENABLE, ENABLE_MS) &&
	    !hw->error) {
		bh__igb_log(hw, BH_LOG_ERROR, "receive queue %u does not start", q->index);
		return -ETIMEDOUT;
	}
	if (hw->error)
		return bh__igb_error(hw);
	/* Not before the queue is enabled (4.5.9). */
	bh__igb_rx_fill(q);
	return q->empty == q->depth ? -ENOBUFS : 0;
}

static int start_txq(struct bh_igb_port *port, struct bh_igb_txq *q)
{
	struct bh_igb_hw *hw = &port->hw;
	uint32_t at = IGB_TXQ(q->index);

	bh__igb_write(hw, at + IGB_TDBAL, (uint32_t)q->ring_iova);
	bh__igb_write(hw, at + IGB_TDBAH, (uint32_t)(q->ring_iova >> 32));
	bh__igb_write(hw, at + IGB_TDLEN, q->depth * (uint32_t)sizeof(q->ring[0]));
	bh__igb_write(hw, at + IGB_TDWBAL, 0); /* descriptors are written back, not the head */
	bh__igb_write(hw, at + IGB_TDH, 0);
	bh__igb_write(hw, at + IGB_TDT, 0);
	/* WTHRESH 0: what asks for a report (RS) is reported at once. */
	bh__igb_write(hw, at + IGB_TXDCTL,
		      IGB_XDCTL_PTHRESH(8) | IGB_XDCTL_HTHRESH(1) | IGB_XDCTL_ENABLE);
	if (!bh__igb_wait(hw, at + IGB_TXDCTL, IGB_XDCTL_ENABLE, IGB_XDCTL_ENABLE, ENABLE_MS) &&
	    !hw->error) {
		bh__igb_log(hw, BH_LOG_ERROR, "transmit queue %u does not start", q->index);
		return -ETIMEDOUT;
	}
	return bh__igb_error(hw);
}

int bh__igb_rss_program(struct bh_igb_port *port)
{
	const struct bh_net_rss *rss = &port->net.rss;
	uint8_t table[IGB_RETA_ENTRIES];
	uint32_t fields = 0;

	for (unsigned int i = 0; i < sizeof(rss_fields) / sizeof(rss_fields[0]); i++)
		fields |= rss->types & 1u << i ? rss_fields[i] : 0;
	for (unsigned int i = 0; i < IGB_RETA_ENTRIES; i++)
		table[i] = rss->types ? (uint8_t)rss->table[i] : 0;
	return bh__igb_rss_set(&port->hw, fields, rss->types ? rss->key : bh__igb_rss_default_key,
			       table, port->net.conf.n_rxq);
}

int bh__igb_queues_start(struct bh_igb_port *port)
{
	const struct bh_net_conf *conf = &port->net.conf;
	struct bh_igb_hw *hw = &port->hw;
	int rc = 0;

	for (unsigned int i = 0; i < conf->n_rxq && !rc; i++)
		rc = prepare_rxq(port, port->rxq[i]);
	for (unsigned int i = 0; i < conf->n_txq; i++)
		prepare_txq(port, port->txq[i]);
	for (unsigned int i = 0; i < conf->n_rxq && !rc; i++)
		rc = start_rxq(port, port->rxq[i]);
	for (unsigned int i = 0; i < conf->n_txq && !rc; i++)
		rc = start_txq(port, port->txq[i]);
	if (rc)
		return rc;
	/* CT and BST as 4.5.10 has them; then everything goes. */
	bh__igb_write(hw, IGB_TCTL,
		      IGB_TCTL_EN | IGB_TCTL_PSP | 0xfu << IGB_TCTL_CT_SHIFT |
			      0x40u << IGB_TCTL_BST_SHIFT | IGB_TCTL_RTLC);
	bh__igb_modify(hw, IGB_RCTL, 0, IGB_RCTL_RXEN | IGB_RCTL_BAM | IGB_RCTL_SECRC);
	return bh__igb_error(hw);
}

static bool end_queue(struct bh_igb_hw *hw, uint32_t control)
{
	bh__igb_modify(hw, control, IGB_XDCTL_ENABLE, 0);
	return bh__igb_wait(hw, control, IGB_XDCTL_ENABLE, 0, ENABLE_MS);
}

bool bh__igb_queues_end(struct bh_igb_port *port)
{
	struct bh_igb_hw *hw = &port->hw;
	bool ended = true;

	bh__igb_modify(hw, IGB_RCTL, IGB_RCTL_RXEN, 0);
	for (unsigned int i = 0; i < port->net.conf.n_rxq; i++)
		ended &= end_queue(hw, IGB_RXQ(i) + IGB_RXDCTL);
	for (unsigned int i = 0; i < port->net.conf.n_txq; i++)
		ended &= end_queue(hw, IGB_TXQ(i) + IGB_TXDCTL);
	return !bh__igb_error(hw) && ended;
}

static void empty_rxq(struct bh_igb_rxq *q)
{
	while (q->empty < q->depth) {
		rte_pktmbuf_free_seg(q->sw[q->next++ & q->mask]);
		q->empty++;
	}
	rte_pktmbuf_free(q->chain);
	q->chain = NULL;
}

static void empty_txq(struct bh_igb_txq *q)
{
	while (q->clean != q->next) {
		struct rte_mbuf *m = q->sw[q->clean++ & q->mask];

		if (m)
			rte_pktmbuf_free_seg(m);
	}
}

void bh__igb_queues_empty(struct bh_igb_port *port)
{
	for (unsigned int i = 0; i < port->net.conf.n_rxq; i++)
		empty_rxq(port->rxq[i]);
	for (unsigned int i = 0; i < port->net.conf.n_txq; i++)
		empty_txq(port->txq[i]);
}

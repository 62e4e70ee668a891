/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receiving.
 *
 * The ring's descriptors from `next` up to `fill` belong to the device, each with a buffer that
 * sw[] remembers; the others are empty, and one at least stays so, since head equal to tail means
 * that the device has none (7.1.6). The device writes a packet, then the descriptor with DD set. So
 * DD is loaded first, with acquire; then each field is loaded once, checked, and used. Nothing but
 * these fields is taken from the ring: which buffer it was is in sw[].
 *
 * What the device can get wrong: a length of nothing or beyond the buffer, a packet that never
 * ends, an error bit. Such a packet is dropped and counted, its buffers go back to the pool.
 *
 * Buffers are replaced in batches; the tail is written once per burst.
 */
#include <bellhop/barrier.h>

#include "net/net.h"
#include "net_igb/queue_io.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Posts `count` buffers behind `fill`. False: the pool has not that many. */
static bool post(struct bh_igb_rxq *q, unsigned int count)
{
	struct rte_mbuf *m[IGB_RX_BATCH];
	uint64_t iova;

	if (unlikely(rte_mempool_get_bulk(q->pool, (void **)m, count) != 0))
		return false;
	for (unsigned int i = 0; i < count; i++) {
		unsigned int at = q->fill & q->mask;
		uint8_t *data = (uint8_t *)m[i]->buf_addr + RTE_PKTMBUF_HEADROOM;

		if (unlikely(!bh_iova_translate(q->iova, &q->cache, data, q->room, &iova))) {
			rte_mempool_put_bulk(q->pool, (void **)&m[i], count - i);
			return false;
		}
		q->sw[at] = m[i];
		bh_store_u64(&q->ring[at].read.packet, iova);
		bh_store_u64(&q->ring[at].read.header, 0);
		q->fill++;
		q->empty--;
	}
	return true;
}

void bh__igb_rx_fill(struct bh_igb_rxq *q)
{
	uint16_t before = q->fill;

	while (q->empty > IGB_RX_BATCH) {
		if (likely(post(q, IGB_RX_BATCH)))
			continue;
		bh__net_count(&q->pub.counters.no_mbuf, 1);
		/* With nothing posted nothing would ever come: single ones will do. */
		while (q->empty > q->mask - IGB_RX_BATCH && post(q, 1))
			;
		break;
	}
	if (q->fill != before) {
		/* The descriptors before the tail that lets the device have them. */
		bh_wmb_io();
		bh_store_u32(q->tail, q->fill & q->mask);
	}
}

static uint64_t checksum_flags(uint32_t status)
{
	uint64_t flags = 0;

	if (status & IGB_RX_IPCS)
		flags |= status & IGB_RX_IPE ? RTE_MBUF_F_RX_IP_CKSUM_BAD
					     : RTE_MBUF_F_RX_IP_CKSUM_GOOD;
	if (status & (IGB_RX_L4CS | IGB_RX_UDPCS))
		flags |= status & IGB_RX_L4E ? RTE_MBUF_F_RX_L4_CKSUM_BAD
					     : RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	return flags;
}

/* What the last descriptor says of the packet goes into its first mbuf. */
static void describe(struct bh_igb_rxq *q, struct rte_mbuf *m, uint32_t status, uint32_t info,
		     uint32_t hash, uint16_t vlan)
{
	uint64_t flags = checksum_flags(status);

	if (status & IGB_RX_VP) {
		flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
		m->vlan_tci = vlan;
	}
	if (IGB_RX_HASH_TYPE(info)) {
		flags |= RTE_MBUF_F_RX_RSS_HASH;
		m->hash.rss = hash;
	}
	m->ol_flags |= flags & q->keep;
	info >>= IGB_RX_TYPE_SHIFT;
	m->packet_type = info & IGB_RX_TYPE_L2 ? RTE_PTYPE_L2_ETHER : q->ptypes[info & 0x7f];
}

static inline void prepare(struct rte_mbuf *m, uint16_t length)
{
	m->data_off = RTE_PKTMBUF_HEADROOM;
	m->port = RTE_MBUF_PORT_INVALID;
	m->ol_flags &= RTE_MBUF_F_EXTERNAL;
	m->data_len = length;
	m->pkt_len = length;
}

/*
 * A buffer of a packet of several. The packet, if this ends it and it is good.
 */
static struct rte_mbuf *chained(struct bh_igb_rxq *q, struct rte_mbuf *m, uint32_t status, bool bad)
{
	struct rte_mbuf *head = q->chain;

	if (!head) {
		q->chain = m;
	} else {
		q->chain_last->next = m;
		head->nb_segs++;
		head->pkt_len += m->data_len;
	}
	q->chain_last = m;
	q->chain_bad |= bad || !q->scatter || q->chain->nb_segs > IGB_RX_SEGS;
	if (!(status & IGB_RX_EOP)) {
		if (!q->chain_bad)
			return NULL;
		/* It may go on for ever: what is known to be bad is not kept. */
		rte_pktmbuf_free(q->chain);
		q->chain = NULL;
		return NULL;
	}
	head = q->chain;
	q->chain = NULL;
	if (likely(!q->chain_bad))
		return head;
	q->chain_bad = false;
	bh__net_count(&q->pub.counters.errors, 1);
	rte_pktmbuf_free(head);
	return NULL;
}

/* The next packet's next buffer, whose descriptor is done. The packet, if it ended and is good. */
static inline struct rte_mbuf *take(struct bh_igb_rxq *q, unsigned int at, uint32_t status)
{
	const struct bh_igb_rx_done *d = &q->ring[at].done;
	uint16_t length = bh_load_u16(&d->length);
	struct rte_mbuf *m = q->sw[at];
	bool bad;

	q->next++;
	q->empty++;
	bad = length == 0 || length > q->room || (status & IGB_RX_RXE);
	prepare(m, length <= q->room ? length : 0);
	if (unlikely(bad || !(status & IGB_RX_EOP) || q->chain || q->chain_bad)) {
		m = chained(q, m, status, bad);
		if (!m)
			return NULL;
	}
	describe(q, m, status, bh_load_u32(&d->info), bh_load_u32(&d->hash), bh_load_u16(&d->vlan));
	return m;
}

static void disarm(struct bh_igb_rxq *q)
{
	q->armed = false;
	bh_store_u32(q->disarm, q->vector_bit);
}

uint16_t bh__igb_rx_burst(struct bh_net_rxq *pub, struct rte_mbuf **pkts, uint16_t n)
{
	struct bh_igb_rxq *q = (struct bh_igb_rxq *)pub;
	uint64_t bytes = 0;
	uint16_t got = 0;

	while (got < n && q->empty <= q->mask) {
		unsigned int at = q->next & q->mask;
		uint32_t status = bh_load_acquire_u32(&q->ring[at].done.status);
		struct rte_mbuf *m;

		if (!(status & IGB_RX_DD))
			break;
		bh_prefetch(q->sw[(at + 1) & q->mask]);
		m = take(q, at, status);
		if (unlikely(!m))
			continue;
		bytes += m->pkt_len;
		pkts[got++] = m;
	}
	if (q->empty > IGB_RX_BATCH)
		bh__igb_rx_fill(q);
	if (!got)
		return 0;
	if (unlikely(q->armed))
		disarm(q);
	bh__net_count(&q->pub.counters.packets, got);
	bh__net_count(&q->pub.counters.bytes, bytes);
	return got;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What packets are, to both ring formats: where the header of a packet goes, what it says, and how
 * mbufs come back.
 *
 * Before each packet lies a header of 12 bytes. Sending, it is put into the headroom of the mbuf, so
 * that header and packet are one descriptor; usually it is all zeros, and is written only where it
 * is not yet: a line that is only read stays in the caches of both sides. Receiving, the header ends
 * where the packet's headroom does, and is not even read unless a feature gives it a meaning.
 */
#ifndef NET_VIRTIO_RING_IO_H
#define NET_VIRTIO_RING_IO_H

#include <string.h>

#include <bellhop/barrier.h>

#include "net_virtio/net_virtio.h"

#define likely_(x) __builtin_expect(!!(x), 1)
#define unlikely_(x) __builtin_expect(!!(x), 0)

static_assert(RTE_PKTMBUF_HEADROOM >= sizeof(struct bh_virtio_net_hdr), "headers fit in front");

/*
 * What is compiled once for each format: its constant parameters must become constants.
 */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

#define TX_L4_FLAGS (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)

/* A packet that is not one mbuf in one descriptor carries this bit in bufs[]. */
#define ODD ((uintptr_t)1)

/*
 * A burst's copy of the translation used last, in registers: the table of pools does not change
 * under a burst, as no pool goes while packets of it are out. Empty: translate with care first.
 */
struct window {
	uintptr_t va;
	size_t len;
	uint64_t delta;
};

static inline struct window window_of(const struct bh_iova_map *map,
				      const struct bh_iova_cache *cache)
{
	struct window w = { cache->va, cache->len, cache->delta };

	if (unlikely_(__atomic_load_n(&map->table, __ATOMIC_ACQUIRE) != cache->table))
		w.len = 0;
	return w;
}

static inline bool window_has(const struct window *w, uintptr_t va, size_t len)
{
	uintptr_t off = va - w->va;

	return off < w->len && len <= w->len - off;
}

/* ---- receiving ---- */

/* Does no feature give headers of received packets a meaning? */
static inline bool rx_is_plain(const struct bh__vnet *v)
{
	return !BH__VNET_HAS(v, NET_F_MRG_RXBUF) && !BH__VNET_HAS(v, NET_F_GUEST_CSUM);
}

static inline void rx_set(struct rte_mbuf *m, uint16_t data_off, uint32_t len)
{
	/* References, segments and next are as a free mbuf has them. */
	m->data_off = data_off;
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	m->packet_type = 0;
	m->ol_flags &= RTE_MBUF_F_EXTERNAL;
}

static inline void rx_drop(struct bh__vnet_rxq *q, struct rte_mbuf *m)
{
	rte_mbuf_raw_free(m);
	bh__net_count(&q->base.counters.errors, 1);
}

/* What the header of a packet says of it, as far as it makes sense. */
static inline void rx_offloads(struct rte_mbuf *m, const struct bh_virtio_net_hdr *hdr)
{
	if (hdr->flags & BH_VIRTIO_NET_HDR_F_NEEDS_CSUM)
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE; /* right, but not filled in */
	else if (hdr->flags & BH_VIRTIO_NET_HDR_F_DATA_VALID)
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	if (hdr->gso_type != BH_VIRTIO_NET_HDR_GSO_NONE) {
		m->ol_flags |= RTE_MBUF_F_RX_LRO;
		m->tso_segsz = hdr->gso_size;
	}
}

/* A further buffer of a packet; the packet if that was the last. */
static inline struct rte_mbuf *rx_more(struct bh__vnet_rxq *q, struct rte_mbuf *m, uint32_t len)
{
	struct rte_mbuf *head = q->head;

	q->left--;
	if (unlikely_(!head || len - 1 >= q->room + BH__VNET_HDR)) {
		/* The rest of a packet that is dropped. */
		rx_drop(q, m);
		rte_pktmbuf_free(head);
		q->head = NULL;
		return NULL;
	}
	rx_set(m, RTE_PKTMBUF_HEADROOM - BH__VNET_HDR, len);
	q->last->next = m;
	q->last = m;
	head->nb_segs++;
	head->pkt_len += len;
	if (q->left > 0)
		return NULL;
	q->head = NULL;
	return head;
}

/*
 * A buffer that the device says has `len` bytes, header included: the packet it completes, or NULL.
 * `plain`: no feature gives headers a meaning. Any len is accepted.
 */
ALWAYS_INLINE struct rte_mbuf *rx_take(struct bh__vnet_rxq *q, struct rte_mbuf *m, uint32_t len,
				       const bool plain)
{
	struct bh_virtio_net_hdr hdr;

	if (!plain && q->left > 0)
		return rx_more(q, m, len);
	len -= BH__VNET_HDR;
	/* Also of less than a header, which is huge now. */
	if (unlikely_(len - 1 >= q->room)) {
		rx_drop(q, m);
		return NULL;
	}
	rx_set(m, RTE_PKTMBUF_HEADROOM, len);
	if (plain)
		return m;
	bh_fetch(&hdr, (const uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM - BH__VNET_HDR,
		 sizeof(hdr));
	rx_offloads(m, &hdr);
	if (likely_(hdr.num_buffers <= 1))
		return m;
	q->head = q->last = m;
	q->left = hdr.num_buffers - 1u;
	return NULL;
}

/* As many mbufs of the pool as there are, up to n. */
static inline unsigned int rx_alloc(struct bh__vnet_rxq *q, struct rte_mbuf **m, unsigned int n)
{
	unsigned int got = 0;

	if (likely_(rte_mempool_get_bulk(q->pool, (void **)m, n) == 0))
		return n;
	bh__net_count(&q->base.counters.no_mbuf, 1);
	while (got < n && rte_mempool_get(q->pool, (void **)&m[got]) == 0)
		got++;
	return got;
}

static inline bool rx_iova(struct bh__vnet_rxq *q, const struct rte_mbuf *m, uint64_t *iova)
{
	const uint8_t *va = (const uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM - BH__VNET_HDR;

	return bh_iova_translate(q->iova_map, &q->iova_cache, va, q->room + BH__VNET_HDR, iova);
}

/* ---- sending ---- */

static inline void hdr_clear(void *hdr)
{
	uint64_t a;
	uint32_t b;

	memcpy(&a, hdr, sizeof(a));
	memcpy(&b, (const uint8_t *)hdr + sizeof(a), sizeof(b));
	if (unlikely_((a | b) != 0))
		memset(hdr, 0, BH__VNET_HDR);
}

/* May the bytes in front of the packet, and the packet, be written by us? */
static inline bool tx_is_ours(const struct bh__vnet_txq *q, const struct rte_mbuf *m)
{
	if (q->fast_free)
		return true;
	if (rte_mbuf_refcnt_read(m) != 1)
		return false;
	if (RTE_MBUF_DIRECT(m))
		return true;
	return !RTE_MBUF_CLONED(m) && RTE_MBUF_HAS_PINNED_EXTBUF(m) &&
	       rte_mbuf_ext_refcnt_read(m->shinfo) == 1;
}

static inline bool tx_has_room(const struct bh__vnet_txq *q, const struct rte_mbuf *m)
{
	return m->data_off >= BH__VNET_HDR && tx_is_ours(q, m);
}

/* Offloads, the pseudo header's checksum included; out of line in chain_io.c. */
bool bh__vnet_tx_offload(struct bh__vnet_txq *q, struct rte_mbuf *m, struct bh_virtio_net_hdr *hdr);

/* References and segments of an mbuf, which lie side by side: one of each. */
static inline bool is_single(const struct rte_mbuf *m)
{
	uint32_t both;

	static_assert(offsetof(struct rte_mbuf, nb_segs) == offsetof(struct rte_mbuf, refcnt) + 2,
		      "side by side");
	memcpy(&both, &m->refcnt, sizeof(both));
	return both == 0x10001;
}

/* tx_usual(), of a packet of a pool that was met before; false means: look again with that. */
ALWAYS_INLINE bool tx_plain(const struct window *w, const struct rte_mbuf *m, uint64_t refused,
			    uint32_t max_len, const bool fast_free, uint64_t *iova)
{
	uint8_t *va = (uint8_t *)m->buf_addr + m->data_off - BH__VNET_HDR;

	if (unlikely_(!is_single(m) || m->ol_flags & refused || m->data_len - 1u >= max_len ||
		      m->data_off < BH__VNET_HDR))
		return false;
	if (!fast_free && !RTE_MBUF_DIRECT(m) &&
	    (RTE_MBUF_CLONED(m) || !RTE_MBUF_HAS_PINNED_EXTBUF(m) ||
	     rte_mbuf_ext_refcnt_read(m->shinfo) != 1))
		return false;
	if (unlikely_(!window_has(w, (uintptr_t)va, m->data_len + BH__VNET_HDR)))
		return false;
	*iova = (uintptr_t)va + w->delta;
	hdr_clear(va);
	return true;
}

/*
 * The usual packet: one mbuf with room in front, nothing that needs a second look. Its iova, or
 * false. Makes the header.
 */
static inline __attribute__((always_inline)) bool tx_usual(struct bh__vnet_txq *q,
							   struct rte_mbuf *m, uint64_t *iova)
{
	uint8_t *va = (uint8_t *)m->buf_addr + m->data_off - BH__VNET_HDR;

	if (unlikely_(m->nb_segs != 1 || m->ol_flags & (q->refused_flags | TX_L4_FLAGS) ||
		      m->data_len - 1u >= q->max_len || !tx_has_room(q, m)))
		return false;
	if (unlikely_(!bh_iova_translate(q->iova_map, &q->iova_cache, va,
					 m->data_len + BH__VNET_HDR, iova)))
		return false;
	hdr_clear(va);
	return true;
}

struct piece {
	uint64_t iova;
	uint32_t len;
};

/* Descriptors such a packet takes, the one for a header of its own included. */
unsigned int bh__vnet_tx_pieces(const struct bh__vnet_txq *q, const struct rte_mbuf *m);
/*
 * The pieces of any packet that has so many, with its header: in front, or in the slot of `id`.
 * False: it cannot be sent, and was counted.
 */
bool bh__vnet_tx_gather(struct bh__vnet_txq *q, struct rte_mbuf *m, uint16_t id,
			struct piece *pieces, unsigned int count);
/* Counts a packet that cannot be sent. */
void bh__vnet_tx_refuse(struct bh__vnet_txq *q);

static inline uint64_t tx_table_iova(const struct bh__vnet_txq *q, uint16_t id)
{
	return q->tables_iova + (uint64_t)id * BH__VNET_PIECES * sizeof(struct bh_virtq_desc);
}

static inline void *tx_table(const struct bh__vnet_txq *q, uint16_t id)
{
	return q->tables + (size_t)id * BH__VNET_PIECES * sizeof(struct bh_virtq_desc);
}

/* A packet out of bufs[] by itself. */
static inline void tx_free_one(struct bh__vnet_txq *q, struct rte_mbuf *m)
{
	if ((uintptr_t)m & ODD) {
		q->odd--;
		rte_pktmbuf_free((struct rte_mbuf *)((uintptr_t)m & ~ODD));
	} else {
		rte_pktmbuf_free_seg(m);
	}
	q->packets--;
}

/* Packets that were looked at and go back to one pool together. */
struct giveback {
	struct rte_mempool *pool;
	unsigned int count;
	struct rte_mbuf *m[32];
};

static inline void giveback_add(struct giveback *g, struct rte_mbuf *m)
{
	if (unlikely_(g->count > 0 && (g->pool != m->pool || g->count == 32))) {
		rte_mempool_put_bulk(g->pool, (void **)g->m, g->count);
		g->count = 0;
	}
	g->pool = m->pool;
	g->m[g->count++] = m;
}

static inline void tx_free_looking(struct bh__vnet_txq *q, struct rte_mbuf **bufs, unsigned int n)
{
	struct giveback g;
	struct rte_mbuf *m;

	g.count = 0;
	for (unsigned int i = 0; i < n; i++) {
		if (!bufs[i] || (uintptr_t)bufs[i] & ODD) {
			if (bufs[i])
				tx_free_one(q, bufs[i]);
			continue;
		}
		m = rte_pktmbuf_prefree_seg(bufs[i]);
		if (likely_(m))
			giveback_add(&g, m);
		q->packets--;
	}
	if (g.count > 0)
		rte_mempool_put_bulk(g.pool, (void **)g.m, g.count);
}

/* Packets out of bufs[], from one position to another without a wrap; NULLs are passed over. */
static inline void tx_free_run(struct bh__vnet_txq *q, struct rte_mbuf **bufs, unsigned int n)
{
	if (likely_(q->fast_free && q->odd == 0)) {
		rte_mempool_put_bulk(bufs[0]->pool, (void **)bufs, n);
		q->packets = (uint16_t)(q->packets - n);
	} else {
		tx_free_looking(q, bufs, n);
	}
}

static inline void rx_fail(struct bh__vnet_rxq *q)
{
	q->vq.broken = true;
	bh__net_count(&q->base.counters.errors, 1);
	__atomic_store_n(&q->base.burst, bh__net_rx_none, __ATOMIC_RELAXED);
}

static inline void tx_fail(struct bh__vnet_txq *q)
{
	q->vq.broken = true;
	__atomic_store_n(&q->base.burst, bh__net_tx_none, __ATOMIC_RELAXED);
	__atomic_store_n(&q->base.reap, bh__net_reap_none, __ATOMIC_RELAXED);
}

#endif /* NET_VIRTIO_RING_IO_H */

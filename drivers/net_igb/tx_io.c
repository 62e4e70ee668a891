/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sending.
 *
 * Descriptors from `clean` up to `next` are out. One in IGB_TX_REPORT, and the last one of a burst,
 * asks the device to write it back when it is done (RS); where those are is kept in reports[], so
 * that only they are looked at. The device works in order: when one is done, all before it are, and
 * their segments are freed. One descriptor always stays free (7.2.1: head equal to tail means none).
 *
 * A packet is looked at completely before its first descriptor is written, so one that cannot be
 * sent leaves nothing behind. What the device must know of headers, for checksums, tags and
 * segmentation, is a context descriptor before the packet's; the device keeps it (7.2.2.2), so it is
 * sent again only when it changes.
 *
 * A device that reports what it has not sent has packets freed early, which is its own loss: it
 * reads what has become of them.
 */
#include <string.h>

#include <bellhop/barrier.h>

#include "net/net.h"
#include "net_igb/queue_io.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define FREE_BATCH 32u
#define FRAME_LEAST 17u /* the device pads from here (TCTL.PSP) */
#define IGB_TX_OFFLOADS                                                        \
	(RTE_MBUF_F_TX_VLAN | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_L4_MASK | \
	 RTE_MBUF_F_TX_TCP_SEG)

/* Segments on their way to their pool, several at a time. */
struct giver {
	struct rte_mbuf *m[FREE_BATCH];
	unsigned int count;
};

static inline void give_all(struct giver *g)
{
	if (g->count)
		rte_mempool_put_bulk(g->m[0]->pool, (void **)g->m, g->count);
	g->count = 0;
}

static inline void give(struct giver *g, struct rte_mbuf *m, bool fast)
{
	if (fast) {
		m->next = NULL;
		m->nb_segs = 1;
	} else {
		m = rte_pktmbuf_prefree_seg(m);
		if (!m)
			return;
	}
	if (unlikely(g->count == FREE_BATCH || (g->count && g->m[0]->pool != m->pool)))
		give_all(g);
	g->m[g->count++] = m;
}

static void clean(struct bh_igb_txq *q)
{
	struct giver g = { .count = 0 };

	while (q->report_head != q->report_tail) {
		uint16_t end = q->reports[q->report_head & q->mask];

		if (!(bh_load_acquire_u32(&q->ring[end & q->mask].data.options) & IGB_TX_DD))
			break;
		q->report_head++;
		while (q->clean != (uint16_t)(end + 1)) {
			struct rte_mbuf *m = q->sw[q->clean++ & q->mask];

			if (m)
				give(&g, m, q->fast_free);
		}
	}
	give_all(&g);
}

static inline uint16_t out(const struct bh_igb_txq *q)
{
	return (uint16_t)(q->next - q->clean);
}

unsigned int bh__igb_tx_reap(struct bh_net_txq *pub)
{
	struct bh_igb_txq *q = (struct bh_igb_txq *)pub;

	clean(q);
	return out(q);
}

/* What a packet becomes. */
struct plan {
	uint32_t command, options;
	bool context_new;
	struct bh_igb_tx_context context;
	uint64_t iova[IGB_TX_SEGS];
};

static bool plan_tso(struct bh_igb_txq *q, const struct rte_mbuf *m, struct plan *p,
		     uint32_t headers)
{
	uint32_t payload = m->pkt_len - headers;

	if (!m->tso_segsz || !m->l4_len || m->tso_segsz + headers > q->frame_most ||
	    payload > IGB_TX_PAYLOAD_MOST)
		return false;
	p->context.mss = (uint32_t)m->tso_segsz << IGB_CTX_MSS_SHIFT | (uint32_t)m->l4_len
									       << IGB_CTX_L4_SHIFT;
	p->command |= IGB_TX_TSE;
	p->options = payload << IGB_TX_PAYLOAD_SHIFT | IGB_TX_TXSM;
	if (m->ol_flags & RTE_MBUF_F_TX_IPV4)
		p->options |= IGB_TX_IXSM;
	return true;
}

static uint32_t l4_kind(uint64_t flags)
{
	if (flags & RTE_MBUF_F_TX_TCP_SEG)
		return IGB_CTX_TCP;
	switch (flags & RTE_MBUF_F_TX_L4_MASK) {
	case RTE_MBUF_F_TX_TCP_CKSUM:
		return IGB_CTX_TCP;
	case RTE_MBUF_F_TX_SCTP_CKSUM:
		return IGB_CTX_SCTP;
	default:
		return IGB_CTX_UDP;
	}
}

/*
 * Offloads: the context and what the packet's descriptors say of it. False: impossible. An mbuf's
 * header lengths have the widths of the context's (7, 9 and 8 bits).
 */
static bool plan_offloads(struct bh_igb_txq *q, const struct rte_mbuf *m, struct plan *p)
{
	const uint64_t sums =
		RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG;
	uint64_t flags = m->ol_flags;
	uint32_t headers = m->l2_len + m->l3_len;

	p->context = (struct bh_igb_tx_context){ .command = IGB_TX_TYPE_CONTEXT | IGB_TX_DEXT };
	if (flags & sums) {
		if (!m->l2_len || !m->l3_len || headers + m->l4_len >= m->pkt_len)
			return false;
		p->context.lengths = (uint32_t)m->l3_len | (uint32_t)m->l2_len << IGB_CTX_MAC_SHIFT;
		p->context.command |= l4_kind(flags);
		if (flags & (RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM))
			p->context.command |= IGB_CTX_IPV4;
	}
	if (flags & RTE_MBUF_F_TX_VLAN) {
		p->context.lengths |= (uint32_t)m->vlan_tci << IGB_CTX_VLAN_SHIFT;
		p->command |= IGB_TX_VLE;
	}
	if (flags & RTE_MBUF_F_TX_TCP_SEG) {
		if (!plan_tso(q, m, p, headers + m->l4_len))
			return false;
	} else {
		if (flags & RTE_MBUF_F_TX_IP_CKSUM)
			p->options |= IGB_TX_IXSM;
		if (flags & RTE_MBUF_F_TX_L4_MASK)
			p->options |= IGB_TX_TXSM;
	}
	p->context_new = memcmp(&p->context, &q->context, sizeof(p->context)) != 0;
	return true;
}

/* Every segment translated, and together as long as the packet says. */
static inline bool plan_segments(struct bh_igb_txq *q, const struct rte_mbuf *m, struct plan *p)
{
	uint32_t left = m->pkt_len;
	const struct rte_mbuf *s = m;

	for (unsigned int i = 0; i < m->nb_segs; i++, s = s->next) {
		if (unlikely(!s || !s->data_len || s->data_len > left))
			return false;
		if (unlikely(!bh_iova_translate(q->iova, &q->cache, rte_pktmbuf_mtod(s, void *),
						s->data_len, &p->iova[i])))
			return false;
		left -= s->data_len;
	}
	return left == 0;
}

static inline bool plan(struct bh_igb_txq *q, const struct rte_mbuf *m, struct plan *p)
{
	uint64_t flags = m->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK;

	if (unlikely(m->pkt_len < FRAME_LEAST || flags & q->refuse || m->nb_segs > q->segs_most))
		return false;
	p->command = IGB_TX_TYPE_DATA | IGB_TX_DEXT | IGB_TX_IFCS;
	p->options = m->pkt_len << IGB_TX_PAYLOAD_SHIFT;
	p->context_new = false;
	if (flags & IGB_TX_OFFLOADS && !plan_offloads(q, m, p))
		return false;
	if (unlikely(m->pkt_len > q->frame_most && !(flags & RTE_MBUF_F_TX_TCP_SEG)))
		return false;
	return plan_segments(q, m, p);
}

static void put_context(struct bh_igb_txq *q, const struct bh_igb_tx_context *c)
{
	unsigned int at = q->next++ & q->mask;
	struct bh_igb_tx_context *d = &q->ring[at].context;

	bh_store_u32(&d->lengths, c->lengths);
	bh_store_u32(&d->launch, 0);
	bh_store_u32(&d->command, c->command);
	bh_store_u32(&d->mss, c->mss);
	q->sw[at] = NULL;
	q->context = *c;
	q->silent++;
}

/* Has the device report the end of the newest descriptor, which is not its own yet. */
static inline void report(struct bh_igb_txq *q)
{
	uint16_t last = q->next - 1;
	struct bh_igb_tx_data *d = &q->ring[last & q->mask].data;

	bh_store_u32(&d->command, bh_load_u32(&d->command) | IGB_TX_RS);
	q->reports[q->report_tail++ & q->mask] = last;
	q->silent = 0;
}

static inline void put(struct bh_igb_txq *q, struct rte_mbuf *m, const struct plan *p)
{
	unsigned int segs = m->nb_segs;

	if (p->context_new)
		put_context(q, &p->context);
	for (unsigned int i = 0; i < segs; i++) {
		unsigned int at = q->next++ & q->mask;
		struct bh_igb_tx_data *d = &q->ring[at].data;

		bh_store_u64(&d->address, p->iova[i]);
		bh_store_u32(&d->options, p->options);
		bh_store_u32(&d->command,
			     p->command | m->data_len | (i + 1 == segs ? IGB_TX_EOP : 0));
		q->sw[at] = m;
		m = m->next;
	}
	q->silent += segs;
	if (q->silent >= IGB_TX_REPORT)
		report(q);
}

uint16_t bh__igb_tx_burst(struct bh_net_txq *pub, struct rte_mbuf **pkts, uint16_t n)
{
	struct bh_igb_txq *q = (struct bh_igb_txq *)pub;
	uint64_t bytes = 0;
	uint16_t sent;

	if (out(q) > q->mask / 2u)
		clean(q);
	for (sent = 0; sent < n; sent++) {
		struct rte_mbuf *m = pkts[sent];
		struct plan p;

		if (unlikely(!plan(q, m, &p))) {
			bh__net_count(&q->pub.counters.errors, 1);
			break;
		}
		if (unlikely(out(q) + m->nb_segs + p.context_new > q->mask)) {
			clean(q);
			if (out(q) + m->nb_segs + p.context_new > q->mask)
				break;
		}
		bytes += m->pkt_len;
		put(q, m, &p);
	}
	if (!sent)
		return 0;
	if (q->silent)
		report(q);
	/* The descriptors before the tail that lets the device have them. */
	bh_wmb_io();
	bh_store_u32(q->tail, q->next & q->mask);
	bh__net_count(&q->pub.counters.packets, sent);
	bh__net_count(&q->pub.counters.bytes, bytes);
	return sent;
}

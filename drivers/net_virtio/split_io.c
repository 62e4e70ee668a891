/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hot path on split rings (virtio 1.2 2.7), for devices that have no packed ones.
 *
 * Sending: descriptors go into the table, heads into the available ring, and one store of its index
 * hands a burst over. With IN_ORDER descriptors are taken round the table, so the used index alone
 * says how far the device has come and the used ring is not even read (2.7.9); otherwise free
 * descriptors come from a stack, and a packet's are linked in our own memory, not by what the table
 * says, which the device can write.
 *
 * Receiving: every buffer is one descriptor, and the id that was used at an index is the free one
 * when its slot of the available ring comes round again; that holds in order as well.
 *
 * What is trusted is what packed_io.c says: used ids and counts must be of what the device has.
 */
#include "net_virtio/ring_io.h"

static inline uint16_t mask_of(const struct bh__virtq *vq)
{
	return (uint16_t)(vq->size - 1);
}

static inline void put(struct bh_virtq_desc *d, const struct piece *p, uint16_t flags,
		       uint16_t next)
{
	bh_store_u64(&d->addr, p->iova);
	bh_store_u64(&d->len, p->len | (uint64_t)flags << 32 | (uint64_t)next << 48);
}

/* The available ring up to avail_idx is the device's; it was up to `from`. */
static inline void publish(struct bh__virtq *vq, uint16_t from)
{
	bool wanted;

	/* Descriptors and ring entries before the index. */
	bh_wmb_io();
	bh_store_release_u16(&vq->avail->idx, vq->avail_idx);
	/* The index before the look whether the device wants to hear of it. */
	bh_mb();
	if (vq->event_idx)
		wanted = bh_virtq_need_event(bh_load_u16(bh_virtq_avail_event(vq->used, vq->size)),
					     vq->avail_idx, from);
	else
		wanted = !(bh_load_u16(&vq->used->flags) & BH_VIRTQ_USED_F_NO_NOTIFY);
	if (unlikely_(wanted))
		bh__virtq_kick(vq);
}

bool bh__vnet_split_has_used(const struct bh__virtq *vq)
{
	return bh_load_acquire_u16(&vq->used->idx) != vq->used_idx;
}

/* ---- receiving ---- */

static unsigned int refill_some(struct bh__vnet_rxq *q, unsigned int want)
{
	struct bh__virtq *vq = &q->vq;
	struct rte_mbuf *m[BH__VNET_REFILL];
	unsigned int got = rx_alloc(q, m, want), i;
	uint16_t from = vq->avail_idx;
	struct piece p = { 0, q->room + BH__VNET_HDR };

	for (i = 0; i < got; i++) {
		uint16_t slot = vq->avail_idx & mask_of(vq), id = q->ids[slot];

		if (unlikely_(!rx_iova(q, m[i], &p.iova)))
			break;
		q->bufs[id] = m[i];
		put(&vq->table[id], &p, BH_VIRTQ_DESC_F_WRITE, 0);
		bh_store_u16(&vq->avail->ring[slot], id);
		vq->avail_idx++;
	}
	vq->free = (uint16_t)(vq->free - i);
	if (i > 0)
		publish(vq, from);
	if (unlikely_(i < got)) {
		/* The pool is not in the device's space: nothing to be had from it. */
		rte_mempool_put_bulk(q->pool, (void **)&m[i], got - i);
		bh__net_count(&q->base.counters.errors, 1);
	}
	return i;
}

unsigned int bh__vnet_split_refill(struct bh__vnet_rxq *q)
{
	unsigned int total = 0, want, got;

	while (q->vq.free > 0) {
		want = q->vq.free < BH__VNET_REFILL ? q->vq.free : BH__VNET_REFILL;
		got = refill_some(q, want);
		total += got;
		if (got < want)
			break;
	}
	return total;
}

static inline void rx_disarm(struct bh__vnet_rxq *q)
{
	struct bh__virtq *vq = &q->vq;

	q->armed = false;
	if (vq->event_idx)
		bh_store_u16(bh_virtq_used_event(vq->avail, vq->size),
			     (uint16_t)(vq->used_idx - 1));
	else
		bh_store_u16(&vq->avail->flags, BH_VIRTQ_AVAIL_F_NO_INTERRUPT);
}

ALWAYS_INLINE uint16_t rx_split(struct bh_net_rxq *base, struct rte_mbuf **pkts, uint16_t n,
				const bool plain)
{
	struct bh__vnet_rxq *q = (struct bh__vnet_rxq *)base;
	struct bh__virtq *vq = &q->vq;
	uint16_t there = (uint16_t)(bh_load_acquire_u16(&vq->used->idx) - vq->used_idx);
	uint16_t got = 0, taken = 0;
	uint64_t bytes = 0;

	if (unlikely_(there > vq->size - vq->free)) {
		rx_fail(q);
		return 0;
	}
	while (got < n && taken < there) {
		uint16_t slot = (uint16_t)(vq->used_idx + taken) & mask_of(vq);
		const struct bh_virtq_used_elem *elem = &vq->used->ring[slot];
		uint32_t id = bh_load_u32(&elem->id);
		struct rte_mbuf *m;

		if (unlikely_(id >= vq->size || !q->bufs[id])) {
			rx_fail(q);
			break;
		}
		m = q->bufs[id];
		q->bufs[id] = NULL;
		q->ids[slot] = (uint16_t)id;
		taken++;
		bh_prefetch(q->bufs[(id + 1) & mask_of(vq)]);
		m = rx_take(q, m, bh_load_u32(&elem->len), plain);
		if (likely_(m)) {
			bytes += m->pkt_len;
			pkts[got++] = m;
		}
	}
	if (taken > 0) {
		vq->used_idx = (uint16_t)(vq->used_idx + taken);
		vq->free = (uint16_t)(vq->free + taken);
		bh__net_count(&base->counters.packets, got);
		bh__net_count(&base->counters.bytes, bytes);
		if (unlikely_(q->armed))
			rx_disarm(q);
	}
	while (vq->free >= q->batch && refill_some(q, q->batch) == q->batch)
		;
	return got;
}

static uint16_t rx_plain(struct bh_net_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return rx_split(q, pkts, n, true);
}

static uint16_t rx_full(struct bh_net_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return rx_split(q, pkts, n, false);
}

/* ---- sending ---- */

/* The descriptors of `packets` packets from used_pos on, where some are not the usual ones. */
static void reap_walk(struct bh__vnet_txq *q, uint16_t packets)
{
	struct bh__virtq *vq = &q->vq;

	while (packets > 0) {
		struct rte_mbuf *m = q->bufs[vq->used_pos];

		vq->used_pos = (vq->used_pos + 1) & mask_of(vq);
		vq->free++;
		if (m) {
			tx_free_one(q, m);
			packets--;
		}
	}
}

static inline void reap_in_order(struct bh__vnet_txq *q)
{
	struct bh__virtq *vq = &q->vq;
	uint16_t done = (uint16_t)(bh_load_acquire_u16(&vq->used->idx) - vq->used_idx), run;

	if (unlikely_(done > q->packets)) {
		tx_fail(q);
		return;
	}
	vq->used_idx = (uint16_t)(vq->used_idx + done);
	if (unlikely_(q->odd > 0)) {
		reap_walk(q, done);
		return;
	}
	while (done > 0) {
		run = (uint16_t)(vq->size - vq->used_pos);
		if (run > done)
			run = done;
		tx_free_run(q, &q->bufs[vq->used_pos], run);
		vq->used_pos = (uint16_t)(vq->used_pos + run) & mask_of(vq);
		vq->free = (uint16_t)(vq->free + run);
		done = (uint16_t)(done - run);
	}
}

static inline void reap_any(struct bh__vnet_txq *q)
{
	struct bh__virtq *vq = &q->vq;
	uint16_t done = (uint16_t)(bh_load_acquire_u16(&vq->used->idx) - vq->used_idx), link;

	if (unlikely_(done > q->packets)) {
		tx_fail(q);
		return;
	}
	for (; done > 0; done--) {
		uint32_t id = bh_load_u32(&vq->used->ring[vq->used_idx & mask_of(vq)].id);

		if (unlikely_(id >= vq->size || !q->bufs[id])) {
			tx_fail(q);
			return;
		}
		tx_free_one(q, q->bufs[id]);
		q->bufs[id] = NULL;
		link = (uint16_t)id;
		for (uint16_t i = q->counts[id]; i > 0; i--) {
			q->free_ids[q->num_ids++] = link;
			link = q->links[link];
			vq->free++;
		}
		vq->used_idx++;
	}
}

static void reap(struct bh__vnet_txq *q)
{
	if (q->vq.in_order)
		reap_in_order(q);
	else
		reap_any(q);
}

/* Takes the next free descriptor. */
static inline uint16_t take(struct bh__vnet_txq *q, const bool ooo)
{
	struct bh__virtq *vq = &q->vq;
	uint16_t id = vq->avail_pos;

	vq->free--;
	if (ooo)
		return q->free_ids[--q->num_ids];
	vq->avail_pos = (vq->avail_pos + 1) & mask_of(vq);
	return id;
}

static inline void offer(struct bh__virtq *vq, uint16_t head)
{
	bh_store_u16(&vq->avail->ring[vq->avail_idx & mask_of(vq)], head);
	vq->avail_idx++;
}

/* An indirect table, its entries linked one to the next (2.7.5.3). */
static void table_fill(struct bh__vnet_txq *q, uint16_t id, const struct piece *p, unsigned int n)
{
	struct bh_virtq_desc *table = (struct bh_virtq_desc *)tx_table(q, id);

	for (unsigned int i = 0; i < n; i++)
		put(&table[i], &p[i], i + 1 < n ? BH_VIRTQ_DESC_F_NEXT : 0, (uint16_t)(i + 1));
}

/* The descriptors of one packet. bufs[] has it at the last in order, at the first otherwise. */
static void ring_fill(struct bh__vnet_txq *q, const struct piece *p, unsigned int n, uint16_t flags,
		      struct rte_mbuf *m)
{
	struct bh__virtq *vq = &q->vq;
	bool ooo = !vq->in_order;
	uint16_t id = take(q, ooo), head = id, next;

	for (unsigned int i = 0; i < n; i++) {
		bool more = i + 1 < n;

		q->bufs[id] = NULL;
		next = more ? take(q, ooo) : 0;
		put(&vq->table[id], &p[i], flags | (more ? BH_VIRTQ_DESC_F_NEXT : 0), next);
		if (more) {
			if (ooo)
				q->links[id] = next;
			id = next;
		}
	}
	m = (struct rte_mbuf *)((uintptr_t)m | ODD);
	if (ooo) {
		q->counts[head] = (uint16_t)n;
		q->bufs[head] = m;
	} else {
		q->bufs[id] = m;
	}
	offer(vq, head);
}

/* Any packet. False: no room now, or never. */
static bool __attribute__((noinline)) tx_odd(struct bh__vnet_txq *q, struct rte_mbuf *m)
{
	struct bh__virtq *vq = &q->vq;
	struct piece p[BH__VNET_PIECES];
	unsigned int count = bh__vnet_tx_pieces(q, m), used = q->tables && count > 1 ? 1 : count;
	uint16_t id; /* of the slots for a header and a table: the first descriptor's */

	if (count > q->max_pieces || count == 0) {
		bh__vnet_tx_refuse(q);
		return false;
	}
	if (used > vq->free) {
		reap(q);
		if (used > vq->free)
			return false;
	}
	id = vq->in_order ? vq->avail_pos : q->free_ids[q->num_ids - 1];
	if (!bh__vnet_tx_gather(q, m, id, p, count))
		return false;
	if (used < count) {
		table_fill(q, id, p, count);
		p[0] = (struct piece){ tx_table_iova(q, id),
				       count * (uint32_t)sizeof(struct bh_virtq_desc) };
		ring_fill(q, p, 1, BH_VIRTQ_DESC_F_INDIRECT, m);
	} else {
		ring_fill(q, p, count, 0, m);
	}
	q->odd++;
	return true;
}

static inline void tx_put(struct bh__vnet_txq *q, struct rte_mbuf *m, uint64_t iova, const bool ooo)
{
	struct piece p = { iova, m->data_len + BH__VNET_HDR };
	uint16_t id = take(q, ooo);

	put(&q->vq.table[id], &p, 0, 0);
	q->bufs[id] = m;
	if (ooo)
		q->counts[id] = 1;
	offer(&q->vq, id);
}

ALWAYS_INLINE uint16_t tx_split(struct bh_net_txq *base, struct rte_mbuf **pkts, uint16_t n,
				const bool ooo)
{
	struct bh__vnet_txq *q = (struct bh__vnet_txq *)base;
	struct bh__virtq *vq = &q->vq;
	uint16_t from = vq->avail_idx, i;
	uint64_t bytes = 0, iova;

	if (vq->size - vq->free >= BH__VNET_REAP_AT || vq->free < n) {
		if (ooo)
			reap_any(q);
		else
			reap_in_order(q);
		if (unlikely_(vq->broken))
			return 0;
	}
	for (i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		uint32_t len;

		if (i + 4 < n)
			bh_prefetch((uint8_t *)pkts[i + 4]->buf_addr + pkts[i + 4]->data_off - 1);
		if (unlikely_(vq->free == 0)) {
			reap(q);
			if (vq->free == 0)
				break;
		}
		len = m->pkt_len;
		if (likely_(tx_usual(q, m, &iova)))
			tx_put(q, m, iova, ooo);
		else if (!tx_odd(q, m))
			break;
		bytes += len;
	}
	if (i == 0)
		return 0;
	q->packets = (uint16_t)(q->packets + i);
	publish(vq, from);
	bh__net_count(&base->counters.packets, i);
	bh__net_count(&base->counters.bytes, bytes);
	return i;
}

static uint16_t tx_in_order(struct bh_net_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return tx_split(q, pkts, n, false);
}

static uint16_t tx_any(struct bh_net_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return tx_split(q, pkts, n, true);
}

static unsigned int tx_reap_in_order(struct bh_net_txq *base)
{
	struct bh__vnet_txq *q = (struct bh__vnet_txq *)base;

	reap_in_order(q);
	return (unsigned int)(q->vq.size - q->vq.free);
}

static unsigned int tx_reap_any(struct bh_net_txq *base)
{
	struct bh__vnet_txq *q = (struct bh__vnet_txq *)base;

	reap_any(q);
	return (unsigned int)(q->vq.size - q->vq.free);
}

void bh__vnet_split_set_bursts(struct bh__vnet *v, struct bh__vnet_rxq *rx, struct bh__vnet_txq *tx)
{
	bool plain = rx_is_plain(v);
	bool in_order = BH__VNET_HAS(v, F_IN_ORDER);

	if (rx)
		rx->base.burst = plain ? rx_plain : rx_full;
	if (tx) {
		tx->base.burst = in_order ? tx_in_order : tx_any;
		tx->base.reap = in_order ? tx_reap_in_order : tx_reap_any;
	}
}

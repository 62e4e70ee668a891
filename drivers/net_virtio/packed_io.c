/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hot path on packed rings (virtio 1.2 2.8), which are what this driver is made for: the one
 * cache line that four descriptors share is all that a batch of packets needs besides the packets.
 *
 * Sending: descriptors of a burst are written in ring order, all but the flags of the first; those
 * are stored last, with release, and hand the whole burst over at once. The device writes used
 * descriptors over them, in order one for a whole batch, whose buffer id is that of the last packet
 * done. Buffer ids are ours to choose: with IN_ORDER the id of a packet is the position of its last
 * descriptor, so that one number says how far the device has come. Out of order ids come from a
 * stack.
 *
 * Receiving: every buffer is one descriptor. Refills are written like bursts. A used descriptor is
 * read in one load of eight bytes: length, id and flags are of the same moment. Out of order, the
 * buffer id that was used at a position is the free one when that position comes round again.
 *
 * What is trusted: our own positions, bufs[] and counts, in memory the device does not reach. A used
 * id must name a packet (or buffer) the device has, a length must fit the buffer; no more used
 * descriptors are looked at than are out. An id that makes no sense ends the queue: bursts do
 * nothing from then on, and bh_net_poll() says that a reset is needed.
 */
#include "net_virtio/ring_io.h"

static inline void step(uint16_t *pos, bool *wrap, uint16_t size)
{
	if (unlikely_(++*pos == size)) {
		*pos = 0;
		*wrap = !*wrap;
	}
}

static inline uint64_t desc_word(uint32_t len, uint16_t id, uint16_t flags)
{
	return len | (uint64_t)id << 32 | (uint64_t)flags << 48;
}

static inline uint64_t *word_of(struct bh_virtq_packed_desc *d)
{
	return (uint64_t *)(void *)&d->len;
}

/* In the last eight bytes of a descriptor: what says that it is used, and what it is then. */
#define USED_BITS ((uint64_t)(BH_VIRTQ_DESC_F_AVAIL | BH_VIRTQ_DESC_F_USED) << 48)

static inline uint64_t used_bits(bool wrap)
{
	return (uint64_t)bh_virtq_packed_used_flags(wrap) << 48;
}

/* All of a descriptor. */
static inline void put(struct bh_virtq_packed_desc *d, uint64_t addr, uint32_t len, uint16_t id,
		       uint16_t flags)
{
	bh_store_u64(&d->addr, addr);
	bh_store_u64(word_of(d), desc_word(len, id, flags));
}

/* All but the flags: the device does not see it yet. */
static inline void put_held(struct bh_virtq_packed_desc *d, uint64_t addr, uint32_t len,
			    uint16_t id)
{
	bh_store_u64(&d->addr, addr);
	bh_store_u32(&d->len, len);
	bh_store_u16(&d->id, id);
}

/* The descriptors from `first` on, `count` of them, are the device's. */
static inline void publish(struct bh__virtq *vq, uint16_t first, uint16_t flags, uint16_t count)
{
	uint32_t event;

	/* All descriptors before the flags that make them available. */
	bh_wmb_io();
	bh_store_release_u16(&vq->desc[first].flags, flags);
	/* The flags before the look whether the device wants to hear of them. */
	bh_mb();
	event = bh_load_u32(vq->device_event);
	if (likely_((event >> 16 & BH_VIRTQ_EVENT_FLAGS_MASK) == BH_VIRTQ_EVENT_DISABLE))
		return;
	if (bh_virtq_packed_need_event((uint16_t)(event >> 16), (uint16_t)event, vq->avail_pos,
				       vq->avail_wrap, count, vq->size))
		bh__virtq_kick(vq);
}

/* Descriptors from one position to another, at least one. */
static inline uint16_t distance(uint16_t from, uint16_t to, uint16_t size)
{
	return (uint16_t)(to > from ? to - from : to + size - from);
}

bool bh__vnet_packed_has_used(const struct bh__virtq *vq)
{
	return vq->free < vq->size &&
	       bh_virtq_packed_is_used(bh_load_acquire_u16(&vq->desc[vq->used_pos].flags),
				       vq->used_wrap);
}

/* ---- receiving ---- */

/* A buffer that the window does not have. */
static bool __attribute__((noinline))
rx_iova_anew(struct bh__vnet_rxq *q, const struct rte_mbuf *m, struct window *w)
{
	uint64_t iova;

	if (!rx_iova(q, m, &iova))
		return false;
	*w = window_of(q->iova_map, &q->iova_cache);
	return true;
}

/* Posts up to `want` buffers, for which there are free descriptors: how many. */
ALWAYS_INLINE unsigned int refill_some(struct bh__vnet_rxq *q, unsigned int want, const bool ooo)
{
	struct bh__virtq *vq = &q->vq;
	struct window w = window_of(q->iova_map, &q->iova_cache);
	const uint16_t first = vq->avail_pos, size = vq->size, *const ids = q->ids;
	const uint32_t len = q->room + BH__VNET_HDR;
	struct bh_virtq_packed_desc *desc = vq->desc;
	struct rte_mbuf *m[BH__VNET_REFILL], **bufs = q->bufs;
	unsigned int got = rx_alloc(q, m, want), i;
	bool wrap = vq->avail_wrap;
	uint16_t pos = first, flags = BH_VIRTQ_DESC_F_WRITE | bh_virtq_packed_avail_flags(wrap);
	uint16_t first_flags = flags;

	for (i = 0; i < got; i++) {
		uintptr_t va = (uintptr_t)m[i]->buf_addr + RTE_PKTMBUF_HEADROOM - BH__VNET_HDR;
		uint16_t id = ooo ? ids[pos] : pos;

		if (unlikely_(!window_has(&w, va, len) && !rx_iova_anew(q, m[i], &w)))
			break;
		bufs[id] = m[i];
		if (i == 0)
			put_held(&desc[pos], va + w.delta, len, id);
		else
			put(&desc[pos], va + w.delta, len, id, flags);
		if (unlikely_(++pos == size)) {
			pos = 0;
			wrap = !wrap;
			flags = BH_VIRTQ_DESC_F_WRITE | bh_virtq_packed_avail_flags(wrap);
		}
	}
	vq->avail_pos = pos;
	vq->avail_wrap = wrap;
	vq->free = (uint16_t)(vq->free - i);
	if (i > 0)
		publish(vq, first, first_flags, (uint16_t)i);
	if (unlikely_(i < got)) {
		/* The pool is not in the device's space: nothing to be had from it. */
		rte_mempool_put_bulk(q->pool, (void **)&m[i], got - i);
		bh__net_count(&q->base.counters.errors, 1);
	}
	return i;
}

unsigned int bh__vnet_packed_refill(struct bh__vnet_rxq *q)
{
	unsigned int total = 0, want, got;

	while (q->vq.free > 0) {
		want = q->vq.free < BH__VNET_REFILL ? q->vq.free : BH__VNET_REFILL;
		got = refill_some(q, want, !q->vq.in_order);
		total += got;
		if (got < want)
			break;
	}
	return total;
}

static inline void rx_disarm(struct bh__vnet_rxq *q)
{
	q->armed = false;
	bh_store_u16(&q->vq.driver_event->flags, BH_VIRTQ_EVENT_DISABLE);
}

ALWAYS_INLINE uint16_t rx_packed(struct bh_net_rxq *base, struct rte_mbuf **pkts, uint16_t n,
				 const bool ooo, const bool plain)
{
	struct bh__vnet_rxq *q = (struct bh__vnet_rxq *)base;
	struct bh__virtq *vq = &q->vq;
	uint16_t pos = vq->used_pos, got = 0, out = (uint16_t)(vq->size - vq->free), taken = 0;
	struct bh_virtq_packed_desc *const desc = vq->desc;
	struct rte_mbuf **const bufs = q->bufs;
	const uint16_t size = vq->size;
	bool wrap = vq->used_wrap;
	uint64_t bytes = 0, wanted = used_bits(wrap);

	while (got < n && taken < out) {
		uint64_t word = bh_load_acquire_u64(word_of(&desc[pos]));
		uint16_t id = (uint16_t)(word >> 32);
		struct rte_mbuf *m;

		if ((word & USED_BITS) != wanted)
			break;
		if (unlikely_(ooo ? id >= size || !bufs[id] : id != pos)) {
			rx_fail(q);
			break;
		}
		m = bufs[id];
		if (ooo) {
			bufs[id] = NULL;
			q->ids[pos] = id;
		}
		if (unlikely_(++pos == size)) {
			pos = 0;
			wrap = !wrap;
			wanted = used_bits(wrap);
		}
		taken++;
		bh_prefetch(bufs[ooo ? q->ids[pos] : pos]);
		m = rx_take(q, m, (uint32_t)word, plain);
		if (likely_(m)) {
			/* Who receives packets looks at them next. */
			bh_prefetch((const uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM);
			bytes += m->pkt_len;
			pkts[got++] = m;
		}
	}
	if (taken > 0) {
		vq->used_pos = pos;
		vq->used_wrap = wrap;
		vq->free = (uint16_t)(vq->free + taken);
		bh__net_count(&base->counters.packets, got);
		bh__net_count(&base->counters.bytes, bytes);
		if (unlikely_(q->armed))
			rx_disarm(q);
	}
	while (vq->free >= q->batch && refill_some(q, q->batch, ooo) == q->batch)
		;
	return got;
}

static uint16_t rx_in_order_plain(struct bh_net_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return rx_packed(q, pkts, n, false, true);
}

static uint16_t rx_in_order_full(struct bh_net_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return rx_packed(q, pkts, n, false, false);
}

static uint16_t rx_any_plain(struct bh_net_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return rx_packed(q, pkts, n, true, true);
}

static uint16_t rx_any_full(struct bh_net_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return rx_packed(q, pkts, n, true, false);
}

/* ---- sending ---- */

/* In order: the device is through with all up to the id of each used descriptor. */
static inline void reap_in_order(struct bh__vnet_txq *q)
{
	struct bh__virtq *vq = &q->vq;

	while (vq->free < vq->size) {
		uint64_t word = bh_load_acquire_u64(word_of(&vq->desc[vq->used_pos]));
		uint16_t id = (uint16_t)(word >> 32), pos = vq->used_pos, count;

		if (!bh_virtq_packed_is_used((uint16_t)(word >> 48), vq->used_wrap))
			return;
		if (unlikely_(id >= vq->size)) {
			tx_fail(q);
			return;
		}
		count = (uint16_t)((id >= pos ? id : id + vq->size) - pos + 1);
		if (unlikely_(count > vq->size - vq->free || !q->bufs[id])) {
			tx_fail(q);
			return;
		}
		if (id < pos) {
			tx_free_run(q, &q->bufs[pos], vq->size - pos);
			tx_free_run(q, q->bufs, id + 1u);
			vq->used_wrap = !vq->used_wrap;
		} else {
			tx_free_run(q, &q->bufs[pos], count);
		}
		vq->used_pos = id;
		step(&vq->used_pos, &vq->used_wrap, vq->size);
		vq->free = (uint16_t)(vq->free + count);
	}
}

static inline void reap_any(struct bh__vnet_txq *q)
{
	struct bh__virtq *vq = &q->vq;

	while (vq->free < vq->size) {
		uint64_t word = bh_load_acquire_u64(word_of(&vq->desc[vq->used_pos]));
		uint16_t id = (uint16_t)(word >> 32);

		if (!bh_virtq_packed_is_used((uint16_t)(word >> 48), vq->used_wrap))
			return;
		if (unlikely_(id >= vq->size || !q->bufs[id])) {
			tx_fail(q);
			return;
		}
		tx_free_one(q, q->bufs[id]);
		q->bufs[id] = NULL;
		q->free_ids[q->num_ids++] = id;
		for (uint16_t i = q->counts[id]; i > 0; i--)
			step(&vq->used_pos, &vq->used_wrap, vq->size);
		vq->free = (uint16_t)(vq->free + q->counts[id]);
	}
}

static void reap(struct bh__vnet_txq *q)
{
	if (q->vq.in_order)
		reap_in_order(q);
	else
		reap_any(q);
}

/* An indirect table: order is all that links its entries (2.8.7). */
static void table_fill(struct bh__vnet_txq *q, uint16_t id, const struct piece *p, unsigned int n)
{
	struct bh_virtq_packed_desc *table = (struct bh_virtq_packed_desc *)tx_table(q, id);

	for (unsigned int i = 0; i < n; i++)
		put(&table[i], p[i].iova, p[i].len, 0, 0);
}

/* The descriptors of one packet; the flags of the first of a burst are held back. */
static void ring_fill(struct bh__vnet_txq *q, uint16_t id, const struct piece *p, unsigned int n,
		      uint16_t flags, bool hold)
{
	struct bh__virtq *vq = &q->vq;

	for (unsigned int i = 0; i < n; i++) {
		struct bh_virtq_packed_desc *d = &vq->desc[vq->avail_pos];
		uint16_t f = flags | bh_virtq_packed_avail_flags(vq->avail_wrap);

		if (i + 1 < n)
			f |= BH_VIRTQ_DESC_F_NEXT;
		if (hold && i == 0) {
			q->held = f;
			put_held(d, p[i].iova, p[i].len, id);
		} else {
			put(d, p[i].iova, p[i].len, id, f);
		}
		if (vq->in_order && i + 1 < n)
			q->bufs[vq->avail_pos] = NULL;
		step(&vq->avail_pos, &vq->avail_wrap, vq->size);
	}
	vq->free = (uint16_t)(vq->free - n);
}

/* Any packet. False: no room now, or never. */
static bool __attribute__((noinline)) tx_odd(struct bh__vnet_txq *q, struct rte_mbuf *m, bool hold)
{
	struct bh__virtq *vq = &q->vq;
	struct piece p[BH__VNET_PIECES];
	unsigned int count = bh__vnet_tx_pieces(q, m), used = q->tables && count > 1 ? 1 : count;
	uint16_t id;

	if (count > q->max_pieces || count == 0) {
		bh__vnet_tx_refuse(q);
		return false;
	}
	if (used > vq->free) {
		reap(q);
		if (used > vq->free)
			return false;
	}
	if (vq->in_order)
		id = (uint16_t)((vq->avail_pos + used - 1) % vq->size);
	else
		id = q->free_ids[q->num_ids - 1];
	if (!bh__vnet_tx_gather(q, m, id, p, count))
		return false;
	if (used < count) {
		table_fill(q, id, p, count);
		p[0] = (struct piece){ tx_table_iova(q, id),
				       count * (uint32_t)sizeof(struct bh_virtq_packed_desc) };
		ring_fill(q, id, p, 1, BH_VIRTQ_DESC_F_INDIRECT, hold);
	} else {
		ring_fill(q, id, p, count, 0, hold);
	}
	q->bufs[id] = (struct rte_mbuf *)((uintptr_t)m | ODD);
	q->odd++;
	if (!vq->in_order) {
		q->counts[id] = (uint16_t)used;
		q->num_ids--;
	}
	return true;
}

/* One packet in one descriptor, translated. */
static inline void tx_put(struct bh__vnet_txq *q, struct rte_mbuf *m, uint64_t iova, bool hold,
			  const bool ooo)
{
	struct bh__virtq *vq = &q->vq;
	struct bh_virtq_packed_desc *d = &vq->desc[vq->avail_pos];
	uint16_t flags = bh_virtq_packed_avail_flags(vq->avail_wrap), id = vq->avail_pos;

	if (ooo) {
		id = q->free_ids[--q->num_ids];
		q->counts[id] = 1;
	}
	q->bufs[id] = m;
	if (hold) {
		q->held = flags;
		put_held(d, iova, m->data_len + BH__VNET_HDR, id);
	} else {
		put(d, iova, m->data_len + BH__VNET_HDR, id, flags);
	}
	step(&vq->avail_pos, &vq->avail_wrap, vq->size);
	vq->free--;
}

/* A packet that tx_run() did not take. False: no room now, or never. */
static bool __attribute__((noinline)) tx_slow(struct bh__vnet_txq *q, struct rte_mbuf *m, bool hold)
{
	uint64_t iova;

	if (q->vq.free == 0) {
		reap(q);
		if (q->vq.free == 0)
			return false;
	}
	if (!tx_usual(q, m, &iova))
		return tx_odd(q, m, hold);
	if (q->vq.in_order)
		tx_put(q, m, iova, hold, false);
	else
		tx_put(q, m, iova, hold, true);
	return true;
}

/*
 * As many packets as are usual and of a pool met before, from the front: the loop that matters, all
 * its state in registers. `hold`: the first one's flags are held back.
 */
ALWAYS_INLINE uint16_t tx_run(struct bh__vnet_txq *q, struct rte_mbuf **pkts, uint16_t n, bool hold,
			      const bool ooo, const bool fast_free, uint64_t *bytes)
{
	struct bh__virtq *vq = &q->vq;
	const struct window w = window_of(q->iova_map, &q->iova_cache);
	const uint64_t refused = q->refused_flags | TX_L4_FLAGS;
	const uint32_t max_len = q->max_len;
	const uint16_t size = vq->size;
	struct bh_virtq_packed_desc *desc = vq->desc;
	struct rte_mbuf **bufs = q->bufs;
	bool wrap = vq->avail_wrap;
	uint16_t pos = vq->avail_pos, flags = bh_virtq_packed_avail_flags(wrap), i, id;
	uint64_t iova, sum = 0;

	if (n > vq->free)
		n = vq->free;
	for (i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		uint32_t len;

		if (i + 4 < n)
			bh_prefetch((uint8_t *)pkts[i + 4]->buf_addr + pkts[i + 4]->data_off - 1);
		if (unlikely_(!tx_plain(&w, m, refused, max_len, fast_free, &iova)))
			break;
		len = m->data_len;
		id = pos;
		if (ooo) {
			id = q->free_ids[--q->num_ids];
			q->counts[id] = 1;
		}
		bufs[id] = m;
		if (hold && i == 0) {
			q->held = flags;
			put_held(&desc[pos], iova, len + BH__VNET_HDR, id);
		} else {
			put(&desc[pos], iova, len + BH__VNET_HDR, id, flags);
		}
		sum += len;
		if (unlikely_(++pos == size)) {
			pos = 0;
			wrap = !wrap;
			flags = bh_virtq_packed_avail_flags(wrap);
		}
	}
	vq->avail_pos = pos;
	vq->avail_wrap = wrap;
	vq->free = (uint16_t)(vq->free - i);
	*bytes += sum;
	return i;
}

ALWAYS_INLINE uint16_t tx_packed(struct bh_net_txq *base, struct rte_mbuf **pkts, uint16_t n,
				 const bool ooo, const bool fast_free)
{
	struct bh__vnet_txq *q = (struct bh__vnet_txq *)base;
	struct bh__virtq *vq = &q->vq;
	uint16_t first, i = 0;
	uint64_t bytes = 0;
	uint32_t len;

	if (vq->size - vq->free >= BH__VNET_REAP_AT || vq->free < n) {
		if (ooo)
			reap_any(q);
		else
			reap_in_order(q);
		if (unlikely_(vq->broken))
			return 0;
	}
	first = vq->avail_pos;
	while (i < n) {
		i = (uint16_t)(i + tx_run(q, pkts + i, (uint16_t)(n - i), i == 0, ooo, fast_free,
					  &bytes));
		if (likely_(i == n))
			break;
		len = pkts[i]->pkt_len;
		if (!tx_slow(q, pkts[i], i == 0))
			break;
		bytes += len;
		i++;
	}
	if (i == 0)
		return 0;
	q->packets = (uint16_t)(q->packets + i);
	publish(vq, first, q->held, distance(first, vq->avail_pos, vq->size));
	bh__net_count(&base->counters.packets, i);
	bh__net_count(&base->counters.bytes, bytes);
	return i;
}

static uint16_t tx_in_order(struct bh_net_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return tx_packed(q, pkts, n, false, false);
}

static uint16_t tx_in_order_fast(struct bh_net_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return tx_packed(q, pkts, n, false, true);
}

static uint16_t tx_any(struct bh_net_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return tx_packed(q, pkts, n, true, ((const struct bh__vnet_txq *)q)->fast_free);
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

void bh__vnet_packed_set_bursts(struct bh__vnet *v, struct bh__vnet_rxq *rx,
				struct bh__vnet_txq *tx)
{
	bool plain = rx_is_plain(v);
	bool in_order = BH__VNET_HAS(v, F_IN_ORDER);

	if (rx && in_order)
		rx->base.burst = plain ? rx_in_order_plain : rx_in_order_full;
	else if (rx)
		rx->base.burst = plain ? rx_any_plain : rx_any_full;
	if (tx) {
		tx->base.burst = !in_order	 ? tx_any
				 : tx->fast_free ? tx_in_order_fast
						 : tx_in_order;
		tx->base.reap = in_order ? tx_reap_in_order : tx_reap_any;
	}
}

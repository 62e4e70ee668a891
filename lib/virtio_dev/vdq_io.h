/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hot half of a device-side virtqueue: fetching, giving back, publishing.
 *
 * Nothing here makes a call for a packed ring whose buffers have one descriptor each. Publishing is
 * by the run: of a packed ring every used descriptor but the first is written as it is staged, its
 * flags included, and the flags of the first, stored last, make the whole run visible to a driver
 * that looks at one place after the other, as all do. So a driver that polls takes the line of the
 * ring from us once for a run, not once for a packet.
 */
#ifndef VIRTIO_DEV_VDQ_IO_H
#define VIRTIO_DEV_VDQ_IO_H

#include <bellhop/barrier.h>

#include "virtio_dev/vdq.h"

static inline void bh_vdq_advance_avail(struct bh_vdq *q, uint16_t n)
{
	uint32_t next = (uint32_t)q->next_avail + n;

	if (q->is_packed && next >= q->size) {
		next -= q->size;
		q->avail_wrap = !q->avail_wrap;
	}
	q->next_avail = (uint16_t)next;
}

/* Is there something to be fetched? Breaks a split queue whose index has jumped. */
static inline bool bh_vdq_is_avail(struct bh_vdq *q)
{
	if (!q->is_live)
		return false;
	if (q->is_packed) /* acquire: the descriptor is read after its flags */
		return bh_virtq_packed_is_avail(
			bh_load_acquire_u16(&q->packed[q->next_avail].flags), q->avail_wrap);
	if (q->seen_avail != q->next_avail)
		return true;
	/* acquire: entries and descriptors are read after the index */
	q->seen_avail = bh_load_acquire_u16(&q->avail->idx);
	if ((uint16_t)(q->seen_avail - q->next_avail) <= q->size)
		return q->seen_avail != q->next_avail;
	bh_vdq_break(q, "the index of the available ring has jumped");
	return false;
}

/*
 * Takes the next chain. seg has room for max >= 1 segments. 1: taken; 0: there is none; -ENOSPC: it
 * has more segments than max < BH_VDQ_MAX_SEGS, and stays where it is; -EPROTO: the queue is broken.
 */
static inline int bh_vdq_pop(struct bh_vdq *q, struct bh_vdq_chain *chain, struct bh_vdq_seg *seg,
			     unsigned int max)
{
	struct bh_virtq_packed_desc d;
	bool is_in;

	if (!bh_vdq_is_avail(q))
		return 0;
	if (!q->is_packed)
		return bh__vdq_pop(q, chain, seg, max);
	bh_fetch(&d, &q->packed[q->next_avail], sizeof(d));
	is_in = d.flags & BH_VIRTQ_DESC_F_WRITE;
	seg->va = bh_cmem_ptr(q->cmem, &q->cache, d.addr, d.len,
			      is_in ? BH_CMEM_PROT_WRITE : BH_CMEM_PROT_READ);
	if (__builtin_expect((d.flags & (BH_VIRTQ_DESC_F_NEXT | BH_VIRTQ_DESC_F_INDIRECT)) ||
				     !seg->va || d.len - 1 >= BH_VDQ_MAX_BYTES,
			     0))
		return bh__vdq_pop(q, chain, seg, max);
	seg->iova = d.addr;
	seg->len = d.len;
	chain->seg = seg;
	chain->id = d.id;
	chain->num_desc = 1;
	chain->out = !is_in;
	chain->in = is_in;
	chain->out_bytes = is_in ? 0 : d.len;
	chain->in_bytes = is_in ? d.len : 0;
	bh_vdq_advance_avail(q, 1);
	return 1;
}

/* A buffer of one descriptor in a packed ring. */
struct bh_vdq_one {
	uint8_t *va;
	uint32_t len; /* never 0 */
	uint16_t id;
};

static inline void *bh__vdq_word(struct bh_virtq_packed_desc *d)
{
	return &d->len; /* length, id and flags: 8 bytes, aligned */
}

/*
 * Looks at what comes next in a packed ring, as far as it is buffers of one descriptor, all to be
 * written by us (is_in) or all to be read: how many, at most max. Nothing is taken: that is
 * bh_vdq_advance_avail(). This is bh_vdq_pop() for devices that move packets by the run: one load
 * has flags, length and id of a descriptor, one comparison says that it is available, that it is
 * the whole of its chain, and its direction.
 */
static inline unsigned int bh_vdq_peek(struct bh_vdq *q, struct bh_vdq_one *one, unsigned int max,
				       const bool is_in)
{
	const uint64_t looked_at = BH_VIRTQ_DESC_F_NEXT | BH_VIRTQ_DESC_F_INDIRECT |
				   BH_VIRTQ_DESC_F_WRITE | BH_VIRTQ_DESC_F_AVAIL |
				   BH_VIRTQ_DESC_F_USED;
	const uint32_t prot = is_in ? BH_CMEM_PROT_WRITE : BH_CMEM_PROT_READ;
	const uint64_t kind = is_in ? BH_VIRTQ_DESC_F_WRITE : 0;
	struct bh_virtq_packed_desc *d = &q->packed[q->next_avail];
	const struct bh_virtq_packed_desc *end = q->packed + q->size;
	bool wrap = q->avail_wrap;
	uint64_t wanted = kind | bh_virtq_packed_avail_flags(wrap);
	unsigned int n;

	for (n = 0; n < max; n++) {
		/* acquire: the address is read after the flags */
		uint64_t word = bh_load_acquire_u64(bh__vdq_word(d));
		uint32_t len = (uint32_t)word;

		if ((word >> 48 & looked_at) != wanted)
			break;
		uint8_t *va = (uint8_t *)bh_cmem_ptr(q->cmem, &q->cache, bh_load_u64(&d->addr), len,
						     prot);
		if (__builtin_expect(!va || len - 1 >= BH_VDQ_MAX_BYTES, 0))
			break;
		bh_prefetch(va);
		bh_prefetch(va + 64);
		one[n].va = va;
		one[n].len = len;
		one[n].id = (uint16_t)(word >> 32);
		if (__builtin_expect(++d == end, 0)) {
			d = q->packed;
			wrap = !wrap;
			wanted = kind | bh_virtq_packed_avail_flags(wrap);
		}
	}
	return n;
}

/* Chains popped since can be popped again, as long as none of them was pushed. */
static inline struct bh_vdq_pos bh_vdq_tell(const struct bh_vdq *q)
{
	return (struct bh_vdq_pos){ q->next_avail, q->avail_wrap };
}

static inline void bh_vdq_rewind(struct bh_vdq *q, struct bh_vdq_pos pos)
{
	q->next_avail = pos.next_avail;
	q->avail_wrap = pos.wrap;
}

static inline void bh_vdq_stage_packed(struct bh_vdq *q, uint16_t id, uint16_t places,
				       uint32_t written)
{
	struct bh_virtq_packed_desc *d = &q->packed[q->next_used];
	uint16_t flags = bh_virtq_packed_used_flags(q->used_wrap);
	uint32_t next = (uint32_t)q->next_used + places;

	if (written)
		flags |= BH_VIRTQ_DESC_F_WRITE;
	if (q->staged) {
		bh_store_u64(bh__vdq_word(d), written | (uint64_t)id << 32 | (uint64_t)flags << 48);
	} else {
		bh_store_u32(&d->len, written);
		bh_store_u16(&d->id, id);
		q->first_staged = q->next_used;
		q->first_flags = flags;
	}
	if (next >= q->size) {
		next -= q->size;
		q->used_wrap = !q->used_wrap;
	}
	q->next_used = (uint16_t)next;
	q->staged = (uint16_t)(q->staged + places);
}

/*
 * Gives a chain back, `written` bytes of it filled; or, with IN_ORDER and nothing written, a run of
 * chains up to this one that take so many places between them.
 */
static inline void bh_vdq_push_run(struct bh_vdq *q, uint16_t id, uint16_t places, uint32_t written)
{
	struct bh_virtq_used_elem *e;

	if (!q->is_live)
		return;
	if (q->is_packed) {
		bh_vdq_stage_packed(q, id, places, written);
		return;
	}
	e = &q->used->ring[q->next_used & (q->size - 1u)];
	bh_store_u32(&e->id, id);
	bh_store_u32(&e->len, written);
	q->next_used = (uint16_t)(q->next_used + places);
	q->staged = (uint16_t)(q->staged + places);
}

/* A chain of a split ring takes one place there, however many descriptors it has. */
static inline void bh_vdq_push(struct bh_vdq *q, const struct bh_vdq_chain *chain, uint32_t written)
{
	bh_vdq_push_run(q, chain->id, chain->num_desc, written);
}

/* Makes known what was pushed. Of a packed ring no more than its size may be staged. */
static inline void bh_vdq_flush(struct bh_vdq *q)
{
	if (!q->staged || !q->is_live)
		return;
	/* release: data and used entries before what makes them visible */
	if (q->is_packed)
		bh_store_release_u16(&q->packed[q->first_staged].flags, q->first_flags);
	else
		bh_store_release_u16(&q->used->idx, q->next_used);
	if (__builtin_expect(q->is_logged, 0))
		bh__vdq_dirty(q, q->is_packed ? q->conf.desc : q->conf.device,
			      q->is_packed ? bh_virtq_desc_bytes(q->size)
					   : bh_virtq_used_bytes(q->size));
	q->uncalled = (uint16_t)(q->uncalled + q->staged);
	q->staged = 0;
	if (__builtin_expect(!q->is_packed && q->has_event_idx && q->is_silent &&
				     (uint16_t)(q->kick_event - q->next_avail) < BH_VDQ_PARKED / 2,
			     0))
		bh_vdq_kicks(q, false);
}

/* Does the driver want to hear of what was flushed since this was asked last? */
static inline bool bh_vdq_wants_call(struct bh_vdq *q)
{
	uint16_t count = q->uncalled < q->size ? q->uncalled : q->size;
	uint32_t event;

	if (!count || !q->is_live)
		return false;
	q->uncalled = 0;
	bh_mb(); /* used entries are stored before the driver's wishes are read */
	if (q->is_packed) {
		event = bh_load_u32(q->driver_event);
		return bh_virtq_packed_need_event((uint16_t)(event >> 16), (uint16_t)event,
						  q->next_used, q->used_wrap, count, q->size);
	}
	if (q->has_event_idx)
		return bh_virtq_need_event(bh_load_u16(bh_virtq_used_event(q->avail, q->size)),
					   q->next_used, (uint16_t)(q->next_used - count));
	return !(bh_load_u16(&q->avail->flags) & BH_VIRTQ_AVAIL_F_NO_INTERRUPT);
}

#endif /* VIRTIO_DEV_VDQ_IO_H */

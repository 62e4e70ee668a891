/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chains: what a driver made available in more than one descriptor.
 *
 * A walk goes over descriptors in the ring, and over one indirect table at its end (virtio 1.2
 * 2.7.5.3, 2.8.7). It is bounded three ways: descriptors by the size of the ring or the table, so a
 * loop ends; segments by BH_VDQ_MAX_SEGS; bytes each way by BH_VDQ_MAX_BYTES. Whatever breaks a rule
 * breaks the queue: a driver that writes such a chain has lost its mind or its memory.
 *
 * A buffer may lie across regions of client memory that adjoin; it becomes several segments. An
 * indirect table that does is refused, no driver has one.
 */
#include <errno.h>

#include "virtio_dev/vdq_io.h"

struct walk {
	struct bh_vdq *q;
	struct bh_vdq_chain *chain;
	struct bh_vdq_seg *seg;
	unsigned int max;
	unsigned int left; /* descriptors that may still come */
};

static int add_piece(struct walk *w, uint8_t *va, uint64_t iova, uint32_t len)
{
	unsigned int n = w->chain->out + w->chain->in;

	if (n == w->max)
		return w->max < BH_VDQ_MAX_SEGS ? -ENOSPC
						: bh_vdq_break(w->q, "a chain has too many pieces");
	w->seg[n] = (struct bh_vdq_seg){ va, iova, len };
	return 0;
}

static int add_buffer(struct walk *w, uint64_t iova, uint32_t len, bool is_in)
{
	const uint32_t prot = is_in ? BH_CMEM_PROT_WRITE : BH_CMEM_PROT_READ;
	struct bh_vdq_chain *c = w->chain;
	uint32_t *bytes = is_in ? &c->in_bytes : &c->out_bytes;

	if (!is_in && c->in)
		return bh_vdq_break(w->q, "a chain is to be read behind what is to be written");
	if (len > BH_VDQ_MAX_BYTES - *bytes)
		return bh_vdq_break(w->q, "a chain is longer than any packet");
	*bytes += len;
	while (len) {
		const struct bh_cmem_region *r = bh_cmem_find(w->q->cmem, iova);
		uint64_t here = r ? r->len - (iova - r->iova) : 0;
		uint32_t n = here < len ? (uint32_t)here : len;
		uint8_t *va = n ? bh_cmem_ptr(w->q->cmem, &w->q->cache, iova, n, prot) : NULL;
		int rc;

		if (!va)
			return bh_vdq_break(w->q, "a buffer is not in memory that can be mapped");
		rc = add_piece(w, va, iova, n);
		if (rc)
			return rc;
		if (is_in)
			c->in++;
		else
			c->out++;
		iova += n;
		len -= n;
	}
	return 0;
}

/* One descriptor of any kind; the caller has looked at INDIRECT. */
static int add_desc(struct walk *w, uint64_t iova, uint32_t len, uint16_t flags)
{
	if (!w->left--)
		return bh_vdq_break(w->q, "a chain has no end");
	return add_buffer(w, iova, len, flags & BH_VIRTQ_DESC_F_WRITE);
}

/* The table: split entries are linked and packed ones lie in order, both of 16 bytes. */
static const uint8_t *find_table(struct walk *w, uint64_t iova, uint32_t len, uint16_t flags)
{
	const size_t entry = sizeof(struct bh_virtq_desc);
	struct bh_vdq *q = w->q;
	const uint8_t *table;

	if (!(q->conf.features & BH_VIRTIO_BIT(BH_VIRTIO_F_INDIRECT_DESC)) ||
	    (flags & BH_VIRTQ_DESC_F_NEXT) || !len || len % entry ||
	    len / entry > BH_VDQ_MAX_SEGS) {
		bh_vdq_break(q, "an indirect table makes no sense");
		return NULL;
	}
	table = bh_cmem_ptr(q->cmem, &q->cache, iova, len, BH_CMEM_PROT_READ);
	if (!table)
		bh_vdq_break(q, "an indirect table is not in memory that can be mapped");
	return table;
}

static int walk_split_table(struct walk *w, const uint8_t *table, uint32_t entries)
{
	struct bh_virtq_desc d = { .next = 0 };
	int rc;

	w->left = entries;
	do {
		bh_fetch(&d, table + d.next * sizeof(d), sizeof(d));
		if (d.flags & BH_VIRTQ_DESC_F_INDIRECT)
			return bh_vdq_break(w->q, "an indirect table has another one in it");
		rc = add_desc(w, d.addr, d.len, d.flags);
		if (rc || !(d.flags & BH_VIRTQ_DESC_F_NEXT))
			return rc;
	} while (d.next < entries);
	return bh_vdq_break(w->q, "a chain leaves its indirect table");
}

static int walk_packed_table(struct walk *w, const uint8_t *table, uint32_t entries)
{
	struct bh_virtq_packed_desc d;
	uint32_t i;
	int rc = 0;

	w->left = entries;
	for (i = 0; !rc && i < entries; i++) {
		bh_fetch(&d, table + i * sizeof(d), sizeof(d));
		if (d.flags & BH_VIRTQ_DESC_F_INDIRECT)
			return bh_vdq_break(w->q, "an indirect table has another one in it");
		rc = add_desc(w, d.addr, d.len, d.flags);
	}
	return rc;
}

static int walk_table(struct walk *w, uint64_t iova, uint32_t len, uint16_t flags)
{
	const uint32_t entries = len / (uint32_t)sizeof(struct bh_virtq_desc);
	const uint8_t *table = find_table(w, iova, len, flags);

	if (!table)
		return -EPROTO;
	return w->q->is_packed ? walk_packed_table(w, table, entries)
			       : walk_split_table(w, table, entries);
}

static int walk_split(struct walk *w)
{
	struct bh_vdq *q = w->q;
	uint16_t head = bh_load_u16(&q->avail->ring[q->next_avail & (q->size - 1u)]);
	struct bh_virtq_desc d = { .next = head };
	int rc;

	w->chain->id = head;
	w->chain->num_desc = 1;
	do {
		if (d.next >= q->size)
			return bh_vdq_break(q, "a descriptor is not in the table");
		bh_fetch(&d, &q->desc[d.next], sizeof(d));
		if (d.flags & BH_VIRTQ_DESC_F_INDIRECT)
			return walk_table(w, d.addr, d.len, d.flags);
		rc = add_desc(w, d.addr, d.len, d.flags);
	} while (!rc && (d.flags & BH_VIRTQ_DESC_F_NEXT));
	return rc;
}

static int walk_packed(struct walk *w)
{
	struct bh_vdq *q = w->q;
	uint32_t at = q->next_avail;
	struct bh_virtq_packed_desc d;
	int rc;

	do {
		bh_fetch(&d, &q->packed[at], sizeof(d));
		w->chain->num_desc++;
		w->chain->id = d.id; /* the last one's counts (2.8.6) */
		if (d.flags & BH_VIRTQ_DESC_F_INDIRECT)
			return walk_table(w, d.addr, d.len, d.flags);
		rc = add_desc(w, d.addr, d.len, d.flags);
		at = at + 1 == q->size ? 0 : at + 1;
	} while (!rc && (d.flags & BH_VIRTQ_DESC_F_NEXT));
	return rc;
}

int bh__vdq_pop(struct bh_vdq *q, struct bh_vdq_chain *chain, struct bh_vdq_seg *seg,
		unsigned int max)
{
	struct walk w = { q, chain, seg, max, q->size };
	int rc;

	*chain = (struct bh_vdq_chain){ .seg = seg };
	rc = q->is_packed ? walk_packed(&w) : walk_split(&w);
	if (rc)
		return rc;
	bh_vdq_advance_avail(q, chain->num_desc);
	return 1;
}

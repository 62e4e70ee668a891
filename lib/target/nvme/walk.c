/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data pointers: PRP entries and lists (NVMe base 2.0 4.1.1), SGLs (4.1.2).
 *
 * The walk never reads client memory itself. Whoever drives it brings the piece of list it asks for
 * into `chunk`, by a copy or by a message; so each entry is read once, and the fast and the slow
 * ways share one parser. What a hostile list can do is bounded by the transfer: every PRP list
 * after the first must describe data, SGL descriptors are counted, and neither may describe more
 * than the command transfers.
 */
#include <stdlib.h>

#include "target/nvme/plane.h"

#define PAGE_MASK (TN_PAGE_SIZE - 1u)

void tn_pieces_free(struct tn_pieces *pieces)
{
	free(pieces->v);
	pieces->v = NULL;
	pieces->n = pieces->cap = 0;
}

static uint16_t push(struct tn_walk *walk, uint64_t iova, uint32_t len, bool is_bucket)
{
	struct tn_pieces *p = walk->pieces;
	struct tn_piece *last = p->n ? &p->v[p->n - 1] : NULL;
	struct tn_piece *grown;

	walk->left -= len;
	if (!len)
		return 0;
	if (last && last->is_bucket == is_bucket && len <= UINT32_MAX - last->len &&
	    (is_bucket || (last->iova + last->len == iova && iova))) {
		last->len += len;
		return 0;
	}
	if (p->n == p->cap) {
		if (p->is_fixed)
			return TN_SF(BH_NVME_SC_INVALID_SGL_COUNT);
		grown = realloc(p->v, (p->cap * 2 + 8) * sizeof(*grown));
		if (!grown)
			return BH_NVME_SC_INTERNAL_ERROR;
		p->v = grown;
		p->cap = p->cap * 2 + 8;
	}
	p->v[p->n++] = (struct tn_piece){ iova, len, is_bucket };
	return 0;
}

/* ---- PRPs ---- */

/* The next list begins at `list`: asks for as many entries as are needed of this page, no more. */
static uint16_t prp_list(struct tn_walk *walk, uint64_t list, bool is_first)
{
	uint32_t slots = (TN_PAGE_SIZE - (uint32_t)(list & PAGE_MASK)) / 8;
	uint64_t pages = (walk->left + PAGE_MASK) / TN_PAGE_SIZE;

	if (list & 7)
		return TN_SF(BH_NVME_SC_PRP_OFFSET_INVALID);
	walk->is_chain = pages > slots;
	/*
	 * A list of nothing but a pointer may begin a chain; in the middle it could go in circles.
	 */
	if (walk->is_chain && slots == 1 && !is_first)
		return TN_SF(BH_NVME_SC_PRP_OFFSET_INVALID);
	walk->iova = list;
	walk->len = 8 * (walk->is_chain ? slots : (uint32_t)pages);
	return TN_PENDING;
}

static uint16_t prp_begin(struct tn_walk *walk, uint64_t prp1, uint64_t prp2)
{
	uint32_t room = TN_PAGE_SIZE - (uint32_t)(prp1 & PAGE_MASK);
	uint16_t status;

	if (prp1 & 3)
		return TN_SF(BH_NVME_SC_PRP_OFFSET_INVALID);
	status = push(walk, prp1, walk->left < room ? (uint32_t)walk->left : room, false);
	if (status || !walk->left)
		return status;
	if (walk->left > TN_PAGE_SIZE)
		return prp_list(walk, prp2, true);
	if (prp2 & PAGE_MASK)
		return TN_SF(BH_NVME_SC_PRP_OFFSET_INVALID);
	return push(walk, prp2, (uint32_t)walk->left, false);
}

static uint16_t prp_feed(struct tn_walk *walk)
{
	uint32_t i, n = walk->len / 8 - (walk->is_chain ? 1 : 0);

	for (i = 0; i < n; i++) {
		uint16_t status;

		if (walk->chunk[i] & PAGE_MASK)
			return TN_SF(BH_NVME_SC_PRP_OFFSET_INVALID);
		status = push(walk, walk->chunk[i],
			      walk->left < TN_PAGE_SIZE ? (uint32_t)walk->left : TN_PAGE_SIZE,
			      false);
		if (status)
			return status;
	}
	return walk->is_chain ? prp_list(walk, walk->chunk[n], false) : 0;
}

/* ---- SGLs ---- */

static uint16_t sgl_ask(struct tn_walk *walk, uint64_t iova)
{
	walk->iova = iova;
	walk->len = walk->seg_left < TN_PAGE_SIZE ? (uint32_t)walk->seg_left : TN_PAGE_SIZE;
	return TN_PENDING;
}

static uint16_t sgl_segment(struct tn_walk *walk, const struct bh_nvme_sgl *d)
{
	if (!d->len || d->len % sizeof(*d) || d->addr & 7)
		return TN_SF(BH_NVME_SC_INVALID_SGL_SEGMENT);
	walk->seg_left = d->len;
	walk->is_last = (d->type & BH_NVME_SGL_TYPE_MASK) == BH_NVME_SGL_LAST_SEGMENT;
	return sgl_ask(walk, d->addr);
}

static uint16_t sgl_data(struct tn_walk *walk, const struct bh_nvme_sgl *d, bool is_bucket)
{
	/* What a write would take out of a bit bucket is nothing (4.1.2). */
	if (is_bucket && !walk->to_client)
		return 0;
	if (d->len > walk->left)
		return TN_SF(BH_NVME_SC_SGL_DATA_LENGTH_INVALID);
	return push(walk, d->addr, d->len, is_bucket);
}

/*
 * One descriptor; TN_PENDING: it leads to the next segment. may_link: it is where such a one
 * belongs.
 */
static uint16_t sgl_descriptor(struct tn_walk *walk, const struct bh_nvme_sgl *d, bool may_link,
			       bool must_link)
{
	uint8_t type = d->type & BH_NVME_SGL_TYPE_MASK;
	bool is_link = type == BH_NVME_SGL_SEGMENT || type == BH_NVME_SGL_LAST_SEGMENT;

	if (++walk->count > TN_SGL_LIMIT)
		return TN_SF(BH_NVME_SC_INVALID_SGL_COUNT);
	if ((!is_link && type != BH_NVME_SGL_DATA_BLOCK && type != BH_NVME_SGL_BIT_BUCKET) ||
	    (d->type & BH_NVME_SGL_SUBTYPE_MASK) != BH_NVME_SGL_SUBTYPE_ADDRESS)
		return TN_SF(BH_NVME_SC_SGL_TYPE_INVALID);
	if (is_link ? !may_link : must_link)
		return TN_SF(BH_NVME_SC_INVALID_SGL_SEGMENT);
	return is_link ? sgl_segment(walk, d) : sgl_data(walk, d, type == BH_NVME_SGL_BIT_BUCKET);
}

static uint16_t sgl_end(const struct tn_walk *walk)
{
	return walk->left ? TN_SF(BH_NVME_SC_SGL_DATA_LENGTH_INVALID) : 0;
}

static uint16_t sgl_feed(struct tn_walk *walk)
{
	const struct bh_nvme_sgl *d = (const struct bh_nvme_sgl *)(const void *)walk->chunk;
	uint32_t i, n = walk->len / sizeof(*d);

	for (i = 0; i < n; i++) {
		bool is_end = walk->seg_left == sizeof(*d);
		uint16_t status = sgl_descriptor(walk, &d[i], is_end && !walk->is_last,
						 is_end && !walk->is_last);

		if (status)
			return status;
		walk->seg_left -= sizeof(*d);
	}
	return walk->seg_left ? sgl_ask(walk, walk->iova + walk->len) : sgl_end(walk);
}

uint16_t tn_walk_begin(struct tn_walk *walk, const struct bh_nvme_cmd *cmd, uint64_t len,
		       bool to_client, struct tn_pieces *pieces)
{
	uint16_t status;

	pieces->n = 0;
	walk->pieces = pieces;
	walk->left = len;
	walk->to_client = to_client;
	walk->count = 0;
	walk->is_sgl = (cmd->flags & BH_NVME_PSDT_MASK) != BH_NVME_PSDT_PRP;
	if (!len)
		return 0;
	if (!walk->is_sgl)
		return prp_begin(walk, cmd->dptr.prp.prp1, cmd->dptr.prp.prp2);
	tn_count(&walk->sgls, 1);
	status = sgl_descriptor(walk, &cmd->dptr.sgl, true, false);
	return status ? status : sgl_end(walk);
}

uint16_t tn_walk_feed(struct tn_walk *walk)
{
	return walk->is_sgl ? sgl_feed(walk) : prp_feed(walk);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lending queues: a queue written down as a plain description with three fds, and a queue opened
 * from one.
 *
 * The lender creates the queue, describes it before its first command, and sends description and
 * fds to the borrower, who maps the pools he takes buffers from at the same iovas. The lender then
 * leaves the rings alone; he keeps the controller, and serves the borrower's requests for abort
 * and reset. To end it, the borrower closes, and the lender destroys. A borrower trusts the lender
 * with his memory, but not the description with his process: it may be stale or meant for another
 * file, so everything in it is checked against the files before it is used.
 *
 * list_bytes is per command; doorbell_offset and shadow_offset are of the tail doorbell and its
 * shadow value, the head's being one stride on, event indices one controller page after values.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nvme/nvme.h"
#include "nvme/queue_io.h"

/* ---- the lender ---- */

static void describe_ns(const struct bh_nvme *nvme, struct bh_nvme_queue_desc *desc)
{
	const struct bh_nvme_ns *ns;

	for (ns = nvme->namespaces; ns && desc->ns_count < BH_NVME_DESC_NS; ns = ns->next) {
		if (!ns->active || !bh__geom_max(ns->geom))
			continue;
		desc->ns[desc->ns_count].nsid = ns->nsid;
		desc->ns[desc->ns_count].block_shift = bh__geom_shift(ns->geom);
		desc->ns[desc->ns_count].blocks = ns->blocks;
		desc->ns[desc->ns_count].boundary = bh__geom_boundary(ns->geom);
		desc->ns[desc->ns_count].zone_blocks = (uint32_t)ns->zone_blocks;
		desc->ns[desc->ns_count].append_blocks = ns->append_max;
		desc->ns[desc->ns_count].ext_bytes = ns->ext_bytes;
		desc->ns[desc->ns_count].fused_blocks = ns->fused_max;
		desc->ns_count++;
	}
}

static int dup_fd(int fd, int *out)
{
	*out = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return *out < 0 ? -errno : 0;
}

static int dup_pool(struct bh_pool *pool, const void *va, int *fd, uint64_t *offset)
{
	const struct bh_mem *mem = bh_pool_mem(pool);

	*offset = mem->fd_offset + (uint64_t)((const uint8_t *)va - (const uint8_t *)mem->va);
	return dup_fd(mem->fd, fd);
}

int bh_nvme_queue_describe(const struct bh_nvme_queue *q, struct bh_nvme_queue_desc *desc,
			   int fds[3])
{
	const struct bh_nvme *nvme = q->owner;
	uint64_t base;
	int rc, i;

	memset(desc, 0, sizeof(*desc));
	fds[0] = fds[1] = fds[2] = -1;
	if (!q->dev || q->cmb_pages || q->sqd.kick != BH__KICK_STORE ||
	    q->cqd.kick != BH__KICK_STORE || nvme->db_map.fd < 0)
		return -EOPNOTSUPP;
	*desc = (struct bh_nvme_queue_desc){
		.version = BH_NVME_DESC_VERSION,
		.qid = q->qid,
		.entries = q->entries,
		.depth = q->depth,
		.mdts = q->max_transfer,
		.page_size = q->page_size,
		.dstrd = (uint8_t)nvme->dstrd,
		.sgl = q->sgl,
		.interrupt = q->efd >= 0,
		.list_bytes = q->list_bytes,
		.sq_iova = q->sq_iova,
		.cq_iova = q->cq_iova,
		.list_iova = q->list_iova,
	};
	describe_ns(nvme, desc);
	rc = dup_pool(q->pool, q->mem, &fds[0], &base);
	desc->sq_offset = base;
	desc->cq_offset = base + (uint64_t)(q->cq - q->sq);
	desc->list_offset = base + (uint64_t)(q->list - q->sq);
	desc->doorbell_offset =
		nvme->db_map.fd_offset + (uint64_t)((uint8_t *)q->sqd.reg - nvme->db_map.va);
	rc = rc ? rc : dup_fd(nvme->db_map.fd, &fds[1]);
	if (!rc && q->sqd.shadow)
		rc = dup_pool(nvme->shadow_pool, q->sqd.shadow, &fds[2], &desc->shadow_offset);
	for (i = 0; rc && i < 3; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
	return rc;
}

/* ---- the borrower ---- */

struct piece {
	void *base;
	size_t len;
};

struct borrowed {
	struct bh_nvme_queue *q;
	struct bh_nvme_queue_ops ops;
	void *ctx;
	struct piece piece[5]; /* SQ, CQ, lists, doorbells, shadows */
	unsigned int ns_count;
	struct bh_nvme_ns ns[];
};

/* Maps [offset, offset + len) of a file, which must lie inside it. */
static int map_piece(int fd, uint64_t offset, uint64_t len, struct piece *piece, uint8_t **va)
{
	uint64_t unit = (uint64_t)sysconf(_SC_PAGESIZE), from, to;
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < 0 || !len ||
	    len > (uint64_t)st.st_size || offset > (uint64_t)st.st_size - len)
		return -EINVAL;
	/* Files of huge pages are mapped in huge pages; their block size says which. */
	if ((uint64_t)st.st_blksize > unit && !(st.st_blksize & (st.st_blksize - 1)))
		unit = (uint64_t)st.st_blksize;
	from = offset / unit * unit;
	to = (offset + len + unit - 1) / unit * unit;
	p = mmap(NULL, to - from, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)from);
	if (p == MAP_FAILED)
		return errno == ENOMEM ? -ENOMEM : -EINVAL;
	piece->base = p;
	piece->len = to - from;
	*va = (uint8_t *)p + (offset - from);
	return 0;
}

/* An append is never more than a command may be; what is not zoned has none of it. */
static bool zones_ok(const struct bh_nvme_queue_desc *d, uint32_t i)
{
	uint32_t max = d->mdts >> d->ns[i].block_shift;

	if (!d->ns[i].zone_blocks)
		return !d->ns[i].append_blocks && !d->ns[i].ext_bytes;
	return d->ns[i].zone_blocks <= d->ns[i].blocks && d->ns[i].append_blocks <= max &&
	       d->ns[i].append_blocks <= 65536 && d->ns[i].ext_bytes <= 255 * 64;
}

static bool desc_ok(const struct bh_nvme_queue_desc *d)
{
	uint32_t i;

	if (d->version != BH_NVME_DESC_VERSION || !d->qid || d->entries < 2 || !d->depth ||
	    d->depth > d->entries - 1u || d->dstrd > 15 || d->sgl > 1 || d->doorbell ||
	    d->ns_count > BH_NVME_DESC_NS)
		return false;
	if (d->page_size < 4096 || d->page_size > 65536 || (d->page_size & (d->page_size - 1)))
		return false;
	if (d->mdts < d->page_size || d->mdts > BH__TRANSFER_MOST ||
	    d->list_bytes > 16 * (uint64_t)d->page_size ||
	    d->list_bytes < bh__prp_list_bytes(d->mdts, d->page_size) ||
	    (d->list_bytes <= d->page_size ? d->list_bytes & (d->list_bytes - 1)
					   : d->list_bytes & (d->page_size - 1)))
		return false;
	if (((d->sq_offset | d->cq_offset | d->list_offset | d->sq_iova | d->cq_iova |
	      d->list_iova) &
	     4095) ||
	    ((d->doorbell_offset | d->shadow_offset) & 3))
		return false;
	for (i = 0; i < d->ns_count; i++)
		if (!d->ns[i].nsid || d->ns[i].block_shift < 9 || d->ns[i].block_shift > 20 ||
		    d->ns[i].fused_blocks > d->mdts >> d->ns[i].block_shift || !zones_ok(d, i))
			return false;
	return true;
}

static void ask_abort(struct bh_nvme_queue *q, uint16_t cid)
{
	struct borrowed *b = q->owner;

	if (b->ops.timeout)
		b->ops.timeout(b->ctx, q->qid, cid);
	if (b->ops.abort)
		b->ops.abort(b->ctx, q->qid, cid);
}

/* A borrowed queue does not come back: what is out is completed with an error. */
static void ask_reset(struct bh_nvme_queue *q)
{
	struct borrowed *b = q->owner;

	if (b->ops.reset)
		b->ops.reset(b->ctx, q->qid);
	bh__queue_halt(q, BH__Q_GONE);
}

static const struct bh__queue_ops borrowed_ops = { ask_abort, ask_reset };

static int map_all(struct borrowed *b, const struct bh_nvme_queue_desc *d, const int fds[3])
{
	struct bh_nvme_queue *q = b->q;
	size_t stride = 4u << d->dstrd;
	uint8_t *cq = NULL, *bell = NULL, *shadow = NULL;
	int rc;

	rc = map_piece(fds[0], d->sq_offset, d->entries * 64ull, &b->piece[0], &q->sq);
	rc = rc ? rc : map_piece(fds[0], d->cq_offset, d->entries * 16ull, &b->piece[1], &cq);
	rc = rc ? rc
		: map_piece(fds[0], d->list_offset, d->depth * d->list_bytes, &b->piece[2],
			    &q->list);
	rc = rc ? rc : map_piece(fds[1], d->doorbell_offset, stride + 4, &b->piece[3], &bell);
	if (!rc && fds[2] >= 0)
		rc = map_piece(fds[2], d->shadow_offset, d->page_size + stride + 4, &b->piece[4],
			       &shadow);
	if (rc)
		return rc;
	q->cq = cq;
	q->sqd.reg = (uint32_t *)bell;
	q->cqd.reg = (uint32_t *)(bell + stride);
	if (shadow) {
		q->sqd.shadow = (uint32_t *)shadow;
		q->cqd.shadow = (uint32_t *)(shadow + stride);
		q->sqd.event = (uint32_t *)(shadow + d->page_size);
		q->cqd.event = (uint32_t *)(shadow + d->page_size + stride);
	}
	bh__queue_set_doorbells(q);
	return 0;
}

static void fill_ns(struct borrowed *b, const struct bh_nvme_queue_desc *d)
{
	uint32_t i, max;

	b->ns_count = d->ns_count;
	for (i = 0; i < d->ns_count; i++) {
		struct bh_nvme_ns *ns = &b->ns[i];

		max = d->mdts >> d->ns[i].block_shift;
		ns->nsid = d->ns[i].nsid;
		ns->active = true;
		ns->blocks = d->ns[i].blocks;
		ns->geom = bh__geom(d->ns[i].block_shift, max > 65536 ? 65536 : max,
				    d->ns[i].boundary);
		ns->geom |= d->ns[i].zone_blocks ? BH__GEOM_ZONED : 0;
		ns->csi = d->ns[i].zone_blocks ? BH_NVME_CSI_ZNS : BH_NVME_CSI_NVM;
		ns->zone_blocks = d->ns[i].zone_blocks;
		ns->append_max = d->ns[i].append_blocks;
		ns->ext_bytes = d->ns[i].ext_bytes;
		ns->fused_max = d->ns[i].fused_blocks;
		ns->next = i + 1 < d->ns_count ? &b->ns[i + 1] : NULL;
	}
}

static int open_checked(const struct bh_nvme_queue_desc *d, const int fds[3],
			const struct bh_iova_map *iova, const struct bh_nvme_queue_ops *ops,
			void *ops_ctx, struct bh_nvme_queue **out)
{
	struct borrowed *b;
	struct bh_clock clock;
	int rc;

	if (!desc_ok(d) || !iova)
		return -EINVAL;
	b = calloc(1, sizeof(*b) + d->ns_count * sizeof(b->ns[0]));
	if (!b)
		return -ENOMEM;
	rc = bh__queue_new(d->entries, d->depth, &b->q);
	if (rc) {
		free(b);
		return rc;
	}
	b->q->owner = b;
	b->q->ops = &borrowed_ops;
	b->q->qid = d->qid;
	b->q->page_size = d->page_size;
	b->q->list_bytes = (uint32_t)d->list_bytes;
	b->q->max_transfer = d->mdts;
	b->q->sgl = d->sgl;
	b->q->iova_map = iova;
	b->q->sq_iova = d->sq_iova;
	b->q->cq_iova = d->cq_iova;
	b->q->list_iova = d->list_iova;
	if (ops)
		b->ops = *ops;
	b->ctx = ops_ctx;
	fill_ns(b, d);
	rc = map_all(b, d, fds);
	if (rc) {
		bh_nvme_queue_close(b->q);
		return rc;
	}
	if (ops) {
		bh_clock_init(&clock);
		bh__queue_set_timeout(b->q, &clock, 30000000000ull);
	}
	*out = b->q;
	return 0;
}

int bh_nvme_queue_open(const struct bh_nvme_queue_desc *desc, const int fds[3],
		       const struct bh_iova_map *iova, const struct bh_nvme_queue_ops *ops,
		       void *ops_ctx, struct bh_nvme_queue **out)
{
	struct bh_nvme_queue_desc copy = *desc;
	int i, rc;

	*out = NULL;
	rc = open_checked(&copy, fds, iova, ops, ops_ctx, out);
	for (i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return rc;
}

void bh_nvme_queue_close(struct bh_nvme_queue *q)
{
	struct borrowed *b;
	unsigned int i;

	if (!q)
		return;
	b = q->owner;
	bh__queue_halt(q, BH__Q_GONE);
	bh__queue_drain(q, BH_NVME_SC_ABORTED_SQ_DELETION, NULL, UINT32_MAX);
	for (i = 0; i < 5; i++)
		if (b->piece[i].base)
			munmap(b->piece[i].base, b->piece[i].len);
	bh__queue_free(q);
	free(b);
}

struct bh_nvme_ns *bh_nvme_queue_ns(struct bh_nvme_queue *q, uint32_t nsid)
{
	struct bh_nvme_ns *ns;

	/* A queue of the controller's own knows its namespaces through the controller. */
	if (q->dev)
		return bh_nvme_ns_get(q->owner, nsid);
	ns = ((struct borrowed *)q->owner)->ns_count ? ((struct borrowed *)q->owner)->ns : NULL;
	while (ns && ns->nsid != nsid)
		ns = ns->next;
	return ns;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of more than one command, scattered buffers, and every other I/O command.
 *
 * A request is cut where the transfer limit (MDTS), the namespace's boundary, the 16 bits of NLB,
 * or the rules for PRPs and SGLs demand it. It is walked twice: the first pass counts commands and
 * finds out whether every byte can be reached, the second issues them; so a request is refused
 * before anything of it was submitted. One that takes more commands than the queue holds is issued
 * piece by piece, each completion issuing the next; then, and only then, the caller's iovec has to
 * stay until it is done. So is a write to a zone, whose parts must not overtake each other.
 *
 * The state of a split request is in a parent record of its own, not in a slot; there are as many
 * as slots, and an unfinished request always has a command in flight, so they cannot run out
 * before the slots do.
 */
#include <errno.h>
#include <string.h>

#include "nvme/meta.h"
#include "nvme/nvme.h"
#include "nvme/queue_io.h"

/* Blocks of the next command of [lba, lba + left), by limits other than the data pointer. */
static uint32_t part_blocks(uint64_t geom, bool data, uint64_t lba, uint32_t left)
{
	uint32_t max = data ? bh__geom_max(geom) : 65536, boundary = bh__geom_boundary(geom);
	uint32_t n = left < max ? left : max, room;

	if (boundary && data) {
		room = boundary - (uint32_t)(lba % boundary);
		n = n < room ? n : room;
	}
	return n;
}

int64_t bh__data_fit(struct bh_nvme_queue *q, const struct bh__cursor *at, uint64_t want, bool sgl)
{
	const struct bh__xlate x = { q->iova_map, &q->iova_cache };
	unsigned int used;

	if (sgl)
		return bh__sgl_measure(&x, *at, want, q->list_bytes / 16, &used);
	return bh__prp_measure(&x, *at, want, q->page_size,
			       bh__prp_list_entries(q->list_bytes, q->page_size) + 1, &used);
}

/*
 * Blocks that one command can carry from the cursor: n, or fewer where the pieces of the buffer do
 * not go into one data pointer. 0: not one block does.
 */
static int64_t part_fit(struct bh_nvme_queue *q, const struct bh__cursor *at, uint64_t geom,
			uint32_t n)
{
	int64_t bytes = bh__data_fit(q, at, (uint64_t)n << bh__geom_shift(geom), q->sgl);

	return bytes < 0 ? bytes : bytes >> bh__geom_shift(geom);
}

void bh__cursor_skip(struct bh__cursor *at, uint64_t bytes)
{
	while (bytes) {
		size_t left = at->iov->iov_len - at->off;

		if (bytes < left) {
			at->off += bytes;
			return;
		}
		bytes -= left;
		at->iov++;
		at->iovcnt--;
		at->off = 0;
	}
}

/* The number of commands a request takes, or -EINVAL, -EFAULT. */
static int64_t count(struct bh_nvme_queue *q, struct bh__cursor at, uint64_t geom, bool data,
		     uint64_t lba, uint32_t blocks)
{
	int64_t n = 0, fit;

	while (blocks) {
		uint32_t part = part_blocks(geom, data, lba, blocks);

		if (data) {
			fit = part_fit(q, &at, geom, part);
			if (fit <= 0)
				return fit ? fit : -EINVAL;
			part = (uint32_t)fit;
			bh__cursor_skip(&at, (uint64_t)part << bh__geom_shift(geom));
		}
		lba += part;
		blocks -= part;
		n++;
	}
	return n;
}

int bh__data_build(struct bh_nvme_queue *q, struct bh__cursor *at, uint64_t len, bool sgl,
		   struct bh_nvme_cmd *cmd)
{
	const struct bh__xlate x = { q->iova_map, &q->iova_cache };
	size_t off = (size_t)q->free[q->nfree - 1] * q->list_bytes;
	struct bh__list list = { (uint64_t *)(q->list + off), q->list_iova + off, q->list_bytes };
	struct bh__dptr dptr;
	int rc;

	/* Up to a page in one piece is two PRPs at most, which every controller likes best. */
	if (sgl && !(at->iovcnt == 1 && len <= q->page_size))
		rc = bh__sgl_build(&x, at, len, &list, &dptr);
	else
		rc = bh__prp_build(&x, at, len, q->page_size, &list, &dptr);
	if (rc)
		return rc;
	cmd->flags = (uint8_t)((cmd->flags & ~BH_NVME_PSDT_MASK) | dptr.psdt);
	cmd->dptr.prp.prp1 = dptr.w[0];
	cmd->dptr.prp.prp2 = dptr.w[1];
	return 0;
}

/* Issues one command of a parent; there is a free slot. */
static int issue(struct bh_nvme_queue *q, struct bh__parent *p)
{
	struct bh_nvme_cmd cmd = { .opc = p->opc, .nsid = p->nsid };
	uint32_t n = part_blocks(p->geom, p->data, p->lba, p->left);
	uint64_t bytes = 0;
	int64_t fit;
	int rc;

	if (p->data) {
		fit = part_fit(q, &p->at, p->geom, n);
		if (fit <= 0)
			return -EFAULT;
		n = (uint32_t)fit;
		bytes = (uint64_t)n << bh__geom_shift(p->geom);
		rc = bh__data_build(q, &p->at, bytes, q->sgl, &cmd);
		if (rc)
			return rc;
	}
	cmd.cdw10 = (uint32_t)p->lba;
	cmd.cdw11 = (uint32_t)(p->lba >> 32);
	cmd.cdw12 = p->cdw12 | (n - 1);
	p->lba += n;
	p->left -= n;
	p->pending++;
	bh__queue_push(q, &cmd, NULL, NULL, BH__SLOT_CHILD, (uint16_t)(p - q->parents));
	return 0;
}

void bh__parent_continue(struct bh_nvme_queue *q, struct bh__parent *p)
{
	/* An error or a reset ends the request: what was not issued will not be. */
	if (p->status || (bh__queue_slow(q) & BH__Q_STOP)) {
		if (!p->status)
			p->status = BH_NVME_SC_ABORTED_SQ_DELETION;
		p->left = 0;
		return;
	}
	while (p->left && q->nfree && !((p->geom & BH__GEOM_SERIAL) && p->pending)) {
		/* A pool that went away under a request is the caller's mistake, seen here. */
		if (p->meta.on ? bh__meta_issue(q, p) : issue(q, p)) {
			p->status = BH_NVME_SC_DATA_TRANSFER_ERROR;
			p->left = 0;
			return;
		}
	}
	/* Every slot is a zombie: nothing in flight would issue the rest. */
	if (p->left && !p->pending) {
		p->status = BH_NVME_SC_ABORTED_BY_HOST;
		p->left = 0;
	}
}

/*
 * What a request makes of a zoned namespace's shape: writes go one by one, and over a zone's border
 * as one command, which the controller refuses, rather than half of it into the next zone.
 */
static uint64_t zoned_shape(uint64_t geom, uint8_t opc)
{
	if (!(geom & BH__GEOM_ZONED) ||
	    (opc != BH_NVME_CMD_WRITE && opc != BH_NVME_CMD_WRITE_ZEROES))
		return geom;
	return bh__geom(bh__geom_shift(geom), bh__geom_max(geom), 0) | BH__GEOM_SERIAL;
}

/* Exactly one command: no parent. */
static int single(struct bh_nvme_queue *q, struct bh_nvme_cmd *cmd, struct bh__cursor *at,
		  uint64_t bytes, bh_nvme_done done, void *arg)
{
	int rc = bytes ? bh__data_build(q, at, bytes, q->sgl, cmd) : 0;

	if (!rc)
		bh__queue_push(q, cmd, done, arg, 0, 0);
	return rc;
}

int bh__queue_split(struct bh_nvme_queue *q, uint8_t opc, uint32_t nsid, uint64_t geom,
		    const struct bh__cursor *at, bool data, uint64_t lba, uint32_t blocks,
		    uint32_t cdw12, bh_nvme_done done, void *arg)
{
	struct bh_nvme_cmd cmd = { .opc = opc, .nsid = nsid };
	struct bh__cursor pos = *at;
	struct bh__parent *p;
	int64_t n;
	uint64_t bytes = data ? (uint64_t)blocks << bh__geom_shift(geom) : 0;

	if (bh__queue_slow(q) & BH__Q_STOP)
		return bh__queue_refuse(q);
	/* Past the last address the rest would be at block 0. */
	if (!blocks || blocks - 1 > UINT64_MAX - lba ||
	    (data && (!bh__geom_max(geom) || bh__cursor_left(at) != bytes)))
		return -EINVAL;
	geom = zoned_shape(geom, opc);
	n = count(q, pos, geom, data, lba, blocks);
	if (n < 0)
		return (int)n;
	/* One by one, or more than the queue holds: one will do, completions issue the rest. */
	if (q->nfree < (geom & BH__GEOM_SERIAL || n > q->depth - q->zombies ? 1 : n))
		return -EAGAIN;
	if (n == 1) {
		cmd.cdw10 = (uint32_t)lba;
		cmd.cdw11 = (uint32_t)(lba >> 32);
		cmd.cdw12 = cdw12 | (blocks - 1);
		return single(q, &cmd, &pos, bytes, done, arg);
	}
	q->splits++;
	p = &q->parents[q->parent_free[--q->nparent_free]];
	*p = (struct bh__parent){ .done = done,
				  .arg = arg,
				  .at = pos,
				  .geom = geom,
				  .lba = lba,
				  .left = blocks,
				  .cdw12 = cdw12,
				  .nsid = nsid,
				  .opc = opc,
				  .data = data };
	if (data && pos.iovcnt == 1) {
		p->one = *pos.iov;
		p->at.iov = &p->one;
	}
	bh__parent_continue(q, p);
	if (p->pending)
		return 0;
	q->parent_free[q->nparent_free++] = (uint16_t)(p - q->parents);
	return -EFAULT;
}

static int rwv(struct bh_nvme_queue *q, uint8_t opc, const struct bh_nvme_ns *ns,
	       const struct iovec *iov, unsigned int iovcnt, uint64_t lba, uint32_t blocks,
	       uint32_t flags, bh_nvme_done done, void *arg)
{
	uint64_t geom = __atomic_load_n(&ns->geom, __ATOMIC_RELAXED);
	struct bh__cursor at = { iov, iovcnt, 0 };

	if (geom & BH__GEOM_META)
		return bh__meta_plain(q, opc, ns->nsid, geom, &at, lba, blocks, flags, done, arg);
	return bh__queue_split(q, opc, ns->nsid, geom, &at, true, lba, blocks, flags & 0xffff0000u,
			       done, arg);
}

int bh_nvme_readv(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const struct iovec *iov,
		  unsigned int iovcnt, uint64_t lba, uint32_t blocks, uint32_t flags,
		  bh_nvme_done done, void *arg)
{
	return rwv(q, BH_NVME_CMD_READ, ns, iov, iovcnt, lba, blocks, flags, done, arg);
}

int bh_nvme_writev(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const struct iovec *iov,
		   unsigned int iovcnt, uint64_t lba, uint32_t blocks, uint32_t flags,
		   bh_nvme_done done, void *arg)
{
	return rwv(q, BH_NVME_CMD_WRITE, ns, iov, iovcnt, lba, blocks, flags, done, arg);
}

int bh_nvme_compare(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const void *buf, uint64_t lba,
		    uint32_t blocks, uint32_t flags, bh_nvme_done done, void *arg)
{
	uint64_t geom = __atomic_load_n(&ns->geom, __ATOMIC_RELAXED);
	struct iovec iov = { (void *)(uintptr_t)buf, (size_t)blocks * bh__geom_unit(geom) };

	return rwv(q, BH_NVME_CMD_COMPARE, ns, &iov, 1, lba, blocks, flags, done, arg);
}

int bh_nvme_write_zeroes(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t lba,
			 uint32_t blocks, uint32_t flags, bh_nvme_done done, void *arg)
{
	uint64_t geom = __atomic_load_n(&ns->geom, __ATOMIC_RELAXED);
	struct bh__cursor none = { NULL, 0, 0 };

	if (geom & BH__GEOM_META)
		return bh__meta_plain(q, BH_NVME_CMD_WRITE_ZEROES, ns->nsid, geom, &none, lba,
				      blocks, flags, done, arg);
	return bh__queue_split(q, BH_NVME_CMD_WRITE_ZEROES, ns->nsid, geom, &none, false, lba,
			       blocks, flags & 0xffff0000u, done, arg);
}

/* A command of which nothing is to be split. */
static int plain(struct bh_nvme_queue *q, struct bh_nvme_cmd *cmd, struct bh__cursor *at,
		 uint64_t bytes, bh_nvme_done done, void *arg)
{
	int64_t fit;

	if (bh__queue_slow(q) & BH__Q_STOP)
		return bh__queue_refuse(q);
	if (!q->nfree)
		return -EAGAIN;
	if (bytes > UINT32_MAX)
		return -EMSGSIZE;
	fit = bytes ? part_fit(q, at, bh__geom(0, 0, 0), (uint32_t)bytes) : 0;
	if (fit < 0)
		return (int)fit;
	if ((uint64_t)fit != bytes)
		return -EINVAL;
	return single(q, cmd, at, bytes, done, arg);
}

int bh_nvme_flush(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, bh_nvme_done done, void *arg)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_FLUSH, .nsid = ns->nsid };
	struct bh__cursor none = { NULL, 0, 0 };

	return plain(q, &cmd, &none, 0, done, arg);
}

int bh_nvme_deallocate(struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
		       const struct bh_nvme_dsm_range *ranges, unsigned int n, bh_nvme_done done,
		       void *arg)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_DSM, .nsid = ns->nsid };
	struct iovec iov = { (void *)(uintptr_t)ranges, n * sizeof(*ranges) };
	struct bh__cursor at = { &iov, 1, 0 };

	if (!n || n > BH_NVME_DSM_MAX_RANGES)
		return -EINVAL;
	cmd.cdw10 = n - 1;
	cmd.cdw11 = BH_NVME_DSM_AD;
	return plain(q, &cmd, &at, iov.iov_len, done, arg);
}

int bh_nvme_io(struct bh_nvme_queue *q, const struct bh_nvme_cmd *cmd, const struct iovec *iov,
	       unsigned int iovcnt, bh_nvme_done done, void *arg)
{
	struct bh__cursor at = { iov, iovcnt, 0 };
	uint64_t bytes = bh__cursor_left(&at);
	struct bh_nvme_cmd copy = *cmd;

	if (bytes > q->max_transfer)
		return -EMSGSIZE;
	copy.flags &= (uint8_t)~BH_NVME_PSDT_MASK;
	return plain(q, &copy, &at, bytes, done, arg);
}

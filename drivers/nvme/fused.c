/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compare and Write (NVMe 2.0 6.2, NVM command set 1.0 2.4.1): two commands, fused.
 *
 * Both entries are written, one behind the other, before the doorbell is rung for either: nothing
 * rings between, since a queue has one owner. They are parts of one request (split.c) whose status is
 * that of the first that fails by itself; what the other one ends with then says nothing (complete.c).
 *
 * A pair is never split: in two pairs it would not be one operation. So there is a limit, ACWU (or the
 * namespace's own), beyond which the controller promises nothing.
 */
#include <errno.h>

#include "nvme/meta.h"
#include "nvme/nvme.h"
#include "nvme/queue_io.h"

uint32_t bh__fused_max(const struct bh_nvme *nvme, const struct bh_nvme_ns *ns, uint64_t geom)
{
	const struct bh_nvme_id_ns *id = &ns->data;
	bool is_own = id->nsfeat & BH_NVME_NSFEAT_NSABP;
	uint32_t max = 1u + (is_own && id->nacwu ? id->nacwu : nvme->id.acwu);

	if (!(nvme->id.fuses & BH_NVME_FUSES_COMPARE_WRITE) ||
	    geom & (BH__GEOM_META | BH__GEOM_ZONED))
		return 0;
	if (is_own && id->nabsn) /* atomic boundaries: one block is never across one */
		max = 1;
	return max < bh__geom_max(geom) ? max : bh__geom_max(geom);
}

uint32_t bh_nvme_compare_and_write_max(const struct bh_nvme_ns *ns)
{
	return __atomic_load_n(&ns->fused_max, __ATOMIC_RELAXED);
}

static int refused(const struct bh_nvme_queue *q, uint32_t max, uint64_t lba, uint32_t blocks)
{
	if (!max)
		return -EOPNOTSUPP;
	if (!blocks || blocks - 1 > UINT64_MAX - lba || q->depth < 2)
		return -EINVAL;
	return blocks > max ? -EMSGSIZE : 0;
}

/* The data pointer of the command that gets the cid which is free after `taken` others. */
static int point(struct bh_nvme_queue *q, const void *buf, uint64_t len, uint32_t taken,
		 struct bh_nvme_cmd *cmd)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len };
	struct bh__cursor at = { &iov, 1, 0 };
	int64_t fit = bh__data_fit(q, &at, len, q->sgl);
	int rc;

	if (fit != (int64_t)len)
		return fit < 0 ? (int)fit : -EINVAL;
	q->nfree -= taken;
	rc = bh__data_build(q, &at, len, q->sgl, cmd);
	q->nfree += taken;
	return rc;
}

int bh_nvme_compare_and_write(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const void *old,
			      const void *desired, uint64_t lba, uint32_t blocks, uint32_t flags,
			      bh_nvme_done done, void *arg)
{
	uint64_t geom = __atomic_load_n(&ns->geom, __ATOMIC_RELAXED);
	uint64_t len = (uint64_t)blocks << bh__geom_shift(geom);
	struct bh_nvme_cmd a = { .opc = BH_NVME_CMD_COMPARE, .flags = BH_NVME_FUSE_FIRST }, b;
	uint32_t nfree = q->nfree;
	uint16_t parent;
	int rc;

	if (bh__queue_slow(q) & BH__Q_STOP)
		return bh__queue_refuse(q);
	rc = refused(q, bh_nvme_compare_and_write_max(ns), lba, blocks);
	if (rc)
		return rc;
	if (nfree < 2)
		return -EAGAIN;
	a.nsid = ns->nsid;
	a.cdw10 = (uint32_t)lba;
	a.cdw11 = (uint32_t)(lba >> 32);
	a.cdw12 = (blocks - 1) | (flags & 0xffff0000u);
	b = a;
	b.opc = BH_NVME_CMD_WRITE;
	b.flags = BH_NVME_FUSE_SECOND;
	rc = point(q, old, len, 0, &a);
	if (!rc)
		rc = point(q, desired, len, 1, &b);
	if (rc)
		return rc;
	parent = q->parent_free[--q->nparent_free];
	q->parents[parent] = (struct bh__parent){ .done = done, .arg = arg, .pending = 2 };
	bh__queue_put(q, &a, NULL, NULL, BH__SLOT_CHILD, parent);
	bh__queue_put(q, &b, NULL, NULL, BH__SLOT_CHILD, parent);
	bh__sq_announce(q, nfree);
	return 0;
}

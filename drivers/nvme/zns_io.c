/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zone append, the data path of zoned namespaces (ZNS 1.1, 3.4.1).
 *
 * The same ladder as a write's, with a limit of its own: ZASL, in ns->append_max, which is 0 where
 * the namespace cannot be appended to. An append is one command, or it is refused: in two commands
 * the data would be in two places. Zone borders are the controller's business, since the address is.
 * The address it assigns comes back in the completion's first two dwords, which callbacks see whole;
 * a zone has fewer than 2^32 blocks, so the first one, which reaped results carry too, says it all.
 */
#include <errno.h>

#include "nvme/nvme.h"
#include "nvme/queue_io.h"

static __attribute__((noinline)) int append_refused(uint32_t max, uint32_t blocks)
{
	return max && blocks ? -EMSGSIZE : -EINVAL;
}

/* A scattered buffer, or one that is not in one piece for the device. */
static __attribute__((noinline)) int append_rare(struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
						 const struct iovec *iov, unsigned int iovcnt,
						 uint64_t zslba, uint32_t cdw12, bh_nvme_done done,
						 void *arg)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_ZONE_APPEND, .nsid = ns->nsid };

	cmd.cdw10 = (uint32_t)zslba;
	cmd.cdw11 = (uint32_t)(zslba >> 32);
	cmd.cdw12 = cdw12;
	return bh_nvme_io(q, &cmd, iov, iovcnt, done, arg);
}

/* PRP2, or the length of a data block descriptor. */
static inline uint64_t second(struct bh_nvme_queue *q, uint64_t iova, uint64_t len, uint64_t *w0)
{
	uint64_t off = iova & (q->page_size - 1), end = off + len;
	size_t at = (size_t)q->free[q->nfree - 1] * q->list_bytes;
	struct bh__list list = { (uint64_t *)(q->list + at), q->list_iova + at, q->list_bytes };

	if (bh__likely(end <= 2ull * q->page_size))
		return end > q->page_size ? iova - off + q->page_size : 0;
	if (!q->sgl)
		return bh__prp_contig(&list, iova, len, q->page_size);
	*w0 |= BH__PSDT_SGL << 8;
	return len;
}

int bh_nvme_zone_append(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const void *buf,
			uint64_t zslba, uint32_t blocks, uint32_t flags, bh_nvme_done done,
			void *arg)
{
	uint64_t geom = __atomic_load_n(&ns->geom, __ATOMIC_RELAXED);
	uint32_t max = __atomic_load_n(&ns->append_max, __ATOMIC_RELAXED);
	uint64_t len = (uint64_t)blocks << bh__geom_shift(geom), iova, prp2;
	uint64_t w0 = BH_NVME_CMD_ZONE_APPEND | (uint64_t)ns->nsid << 32;
	uint32_t cdw12 = (blocks - 1) | (flags & 0xffff0000u);
	struct iovec iov = { (void *)(uintptr_t)buf, len };

	if (bh__unlikely(bh__queue_slow(q) & BH__Q_STOP))
		return bh__queue_refuse(q);
	/* blocks 0 wraps and leaves here too. */
	if (bh__unlikely(blocks - 1 >= max))
		return append_refused(max, blocks);
	if (bh__unlikely(!q->nfree))
		return -EAGAIN;
	if (bh__unlikely(!bh_iova_translate(q->iova_map, &q->iova_cache, buf, len, &iova)))
		return append_rare(q, ns, &iov, 1, zslba, cdw12, done, arg);
	if (bh__unlikely(iova & 3))
		return -EFAULT;
	prp2 = second(q, iova, len, &w0);
	bh__submit(q, w0, iova, prp2, zslba, cdw12, done, arg);
	return 0;
}

int bh_nvme_zone_appendv(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const struct iovec *iov,
			 unsigned int iovcnt, uint64_t zslba, uint32_t blocks, uint32_t flags,
			 bh_nvme_done done, void *arg)
{
	uint64_t geom = __atomic_load_n(&ns->geom, __ATOMIC_RELAXED);
	uint32_t max = __atomic_load_n(&ns->append_max, __ATOMIC_RELAXED);
	struct bh__cursor at = { iov, iovcnt, 0 };

	if (blocks - 1 >= max)
		return append_refused(max, blocks);
	if (bh__cursor_left(&at) != (uint64_t)blocks << bh__geom_shift(geom))
		return -EINVAL;
	return append_rare(q, ns, iov, iovcnt, zslba, (blocks - 1) | (flags & 0xffff0000u), done,
			   arg);
}

uint32_t bh_nvme_zone_append_max(const struct bh_nvme_ns *ns)
{
	return __atomic_load_n(&ns->append_max, __ATOMIC_RELAXED);
}

uint64_t bh_nvme_zone_append_lba(const struct bh_nvme_ns *ns, uint64_t zslba, uint32_t cdw0)
{
	uint32_t off = cdw0 - (uint32_t)zslba;

	if (off >= __atomic_load_n(&ns->zone_blocks, __ATOMIC_RELAXED))
		return UINT64_MAX;
	return zslba + off;
}

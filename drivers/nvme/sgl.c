/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scatter gather lists (NVM Express 2.0, 4.1.2), and the walk over scattered buffers that PRPs
 * share.
 *
 * One piece is a data block descriptor in the command itself. More are data block descriptors in
 * the command's list memory, which is contiguous, so that one last-segment descriptor in the
 * command names them all. Pieces that continue each other become one descriptor.
 */
#include <errno.h>

#include <bellhop/barrier.h>

#include "nvme/data.h"

uint64_t bh__cursor_left(const struct bh__cursor *at)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < at->iovcnt; i++) {
		if (__builtin_add_overflow(sum, (uint64_t)at->iov[i].iov_len, &sum))
			return UINT64_MAX;
	}
	return sum - (at->iovcnt ? at->off : 0);
}

int bh__cursor_piece(const struct bh__xlate *x, struct bh__cursor *at, uint64_t max, uint64_t *iova,
		     uint64_t *len)
{
	const uint8_t *va;
	size_t left;

	while (at->iovcnt && at->off == at->iov->iov_len) {
		at->iov++;
		at->iovcnt--;
		at->off = 0;
	}
	if (!at->iovcnt || !max)
		return 0;
	va = (const uint8_t *)at->iov->iov_base + at->off;
	left = at->iov->iov_len - at->off;
	*len = left < max ? left : max;
	if ((((uintptr_t)va | *len) & 3) || !bh_iova_translate(x->map, x->cache, va, *len, iova) ||
	    (*iova & 3))
		return -EFAULT;
	at->off += *len;
	return 1;
}

int64_t bh__sgl_measure(const struct bh__xlate *x, struct bh__cursor at, uint64_t max,
			unsigned int max_descs, unsigned int *descs)
{
	uint64_t bytes = 0, end = 0, iova, len;
	unsigned int used = 0;
	int rc;

	while (bytes < max && (rc = bh__cursor_piece(x, &at, max - bytes, &iova, &len)) != 0) {
		if (rc < 0)
			return rc;
		if (!used || iova != end) {
			if (used == max_descs)
				break;
			used++;
		}
		bytes += len;
		end = iova + len;
	}
	*descs = used;
	return (int64_t)bytes;
}

static void put_desc(uint64_t *pos, uint64_t iova, uint64_t len)
{
	uint64_t w[2];

	bh__sgl_contig(iova, (uint32_t)len, w);
	bh_store_u64(pos, w[0]);
	bh_store_u64(pos + 1, w[1]);
}

int bh__sgl_build(const struct bh__xlate *x, struct bh__cursor *at, uint64_t len,
		  const struct bh__list *list, struct bh__dptr *out)
{
	uint64_t start = 0, end = 0, iova, piece, bytes = 0;
	size_t n = 0, max = list->bytes / 16;
	int rc;

	*out = (struct bh__dptr){ { 0, 0 }, BH__PSDT_SGL };
	while (bytes < len) {
		rc = bh__cursor_piece(x, at, len - bytes, &iova, &piece);
		if (rc <= 0)
			return -EFAULT;
		bytes += piece;
		if (bytes != piece && iova == end) {
			end += piece;
			continue;
		}
		if (end) {
			if (n == max)
				return -EFAULT;
			put_desc(list->va + 2 * n++, start, end - start);
		}
		start = iova;
		end = iova + piece;
	}
	if (!n) {
		bh__sgl_contig(start, (uint32_t)(end - start), out->w);
		return 0;
	}
	if (n == max)
		return -EFAULT;
	put_desc(list->va + 2 * n++, start, end - start);
	out->w[0] = list->iova;
	out->w[1] = (uint64_t)(n * 16) | ((uint64_t)BH__SGL_LAST_SEGMENT << 56);
	return 0;
}

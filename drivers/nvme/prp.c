/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Physical region pages (NVM Express 2.0, 4.1.1).
 *
 * PRP1 names the first page touched and may have an offset; every further page is named whole, by
 * PRP2 if there is just one, else by a list PRP2 points at. A list page whose last entry is not
 * the last of the list holds the address of the next list page there. List memory is contiguous,
 * so the next page is simply where the list goes on.
 *
 * A scattered buffer is legal when its pieces meet at page boundaries only (pieces that continue
 * each other in iova are one). What is not legal in one command is split by the caller, who asks
 * bh__prp_measure() how far he gets.
 */
#include <errno.h>

#include <bellhop/barrier.h>

#include "nvme/data.h"

/* Entries go to pos; `left` counts those still to come, so that the chain entry is known. */
struct writer {
	uint64_t *pos;
	uint64_t pos_iova;
	uint32_t page;
	unsigned int left;
};

static void put(struct writer *w, uint64_t entry)
{
	if ((w->pos_iova & (w->page - 1)) == w->page - 8 && w->left > 1) {
		bh_store_u64(w->pos, w->pos_iova + 8);
		w->pos++;
		w->pos_iova += 8;
	}
	bh_store_u64(w->pos, entry);
	w->pos++;
	w->pos_iova += 8;
	w->left--;
}

size_t bh__prp_list_bytes(uint32_t max_transfer, uint32_t page)
{
	/* With an offset in the first page, n pages of data touch n + 1 pages: n list entries. */
	size_t entries = ((size_t)max_transfer + page - 1) / page;
	size_t per_page = page / 8, bytes = 64;

	if (entries <= per_page) {
		while (bytes < entries * 8)
			bytes *= 2;
		return bytes;
	}
	return (1 + (entries - per_page + per_page - 2) / (per_page - 1)) * page;
}

unsigned int bh__prp_list_entries(size_t list_bytes, uint32_t page)
{
	size_t per_page = page / 8;

	if (list_bytes <= page)
		return (unsigned int)(list_bytes / 8);
	return (unsigned int)((list_bytes / page - 1) * (per_page - 1) + per_page);
}

uint64_t bh__prp_contig(const struct bh__list *list, uint64_t iova, uint64_t len, uint32_t page)
{
	uint64_t first = page - (iova & (page - 1));
	uint64_t next = iova + first;
	uint64_t left = len - first;
	struct writer w = { list->va, list->iova, page, (unsigned int)((left + page - 1) / page) };

	while (w.left) {
		put(&w, next);
		next += page;
	}
	return list->iova;
}

/* Pages touched by [iova, iova + len) that are not the page of the byte before it. */
static uint64_t new_pages(uint64_t iova, uint64_t len, uint32_t page, bool continues)
{
	uint64_t first = iova / page, last = (iova + len - 1) / page;

	if (continues && (iova & (page - 1)))
		return last - first;
	return last - first + 1;
}

int64_t bh__prp_measure(const struct bh__xlate *x, struct bh__cursor at, uint64_t max,
			uint32_t page, unsigned int max_pages, unsigned int *pages)
{
	uint64_t bytes = 0, end = 0, iova, len, more, room;
	unsigned int used = 0;
	int rc;

	while (bytes < max && (rc = bh__cursor_piece(x, &at, max - bytes, &iova, &len)) != 0) {
		if (rc < 0)
			return rc;
		if (bytes && iova != end && ((iova | end) & (page - 1)))
			break;
		more = new_pages(iova, len, page, bytes && iova == end);
		if (more > max_pages - used) {
			/* As much of it as the pages left reach. */
			bool tail = bytes && iova == end && (iova & (page - 1));
			room = (uint64_t)(max_pages - used) * page;
			room += tail ? page - (iova & (page - 1)) : 0;
			room -= !tail && room ? iova & (page - 1) : 0;
			bytes += room < len ? room : len;
			used = max_pages;
			break;
		}
		used += (unsigned int)more;
		bytes += len;
		end = iova + len;
	}
	*pages = used;
	return (int64_t)bytes;
}

int bh__prp_build(const struct bh__xlate *x, struct bh__cursor *at, uint64_t len, uint32_t page,
		  const struct bh__list *list, struct bh__dptr *out)
{
	struct writer w = { list->va, list->iova, page, 0 };
	uint64_t end = 0, iova, piece, bytes = 0;
	unsigned int pages = 0, seen = 0;
	int64_t can;
	int rc;

	can = bh__prp_measure(x, *at, len, page, bh__prp_list_entries(list->bytes, page) + 1,
			      &pages);
	if (can < 0 || (uint64_t)can != len)
		return -EFAULT;
	*out = (struct bh__dptr){ { 0, 0 }, 0 };
	w.left = pages - 1;
	while (bytes < len) {
		rc = bh__cursor_piece(x, at, len - bytes, &iova, &piece);
		if (rc <= 0)
			return -EFAULT;
		bytes += piece;
		if (seen && iova == end && (end & (page - 1))) {
			/* Goes on in a page that is named already. */
			uint64_t rest = page - (iova & (page - 1));
			end = iova + piece;
			if (piece <= rest)
				continue;
			iova += rest;
			piece -= rest;
		}
		end = iova + piece;
		for (; piece; seen++) {
			uint64_t part = page - (iova & (page - 1));
			if (seen >= pages)
				return -EFAULT; /* translations changed under us */
			if (seen == 0)
				out->w[0] = iova;
			else if (pages == 2)
				out->w[1] = iova;
			else
				put(&w, iova);
			part = part < piece ? part : piece;
			iova += part;
			piece -= part;
		}
	}
	if (pages > 2)
		out->w[1] = list->iova;
	return 0;
}

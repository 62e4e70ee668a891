/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data pointers: turning buffers into PRPs and SGLs. Private to the driver; needs no device.
 *
 * A command's list memory is a piece of pool memory, contiguous in va and iova, aligned to its
 * size if it is below a page, else to a page.
 */
#ifndef NVME_DATA_H
#define NVME_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <bellhop/dma.h>

#define BH__PSDT_SGL 0x40u /* command byte 1: SGL for data, MPTR is a plain address */
#define BH__SGL_DATA 0x00u
#define BH__SGL_LAST_SEGMENT 0x30u

struct bh__list {
	uint64_t *va;
	uint64_t iova;
	size_t bytes;
};

/* DPTR, as its two quadwords, and the PSDT bits that go with it. */
struct bh__dptr {
	uint64_t w[2];
	uint8_t psdt;
};

/* A position in a scattered buffer. A contiguous one is a vector of one. */
struct bh__cursor {
	const struct iovec *iov;
	unsigned int iovcnt;
	size_t off; /* into iov[0] */
};

/* A queue's way to translate. */
struct bh__xlate {
	const struct bh_iova_map *map;
	struct bh_iova_cache *cache;
};

/* Bytes of list memory that serve any PRP transfer of up to max_transfer bytes. */
size_t bh__prp_list_bytes(uint32_t max_transfer, uint32_t page);

/* How many data pages a PRP list of these bytes can name. */
unsigned int bh__prp_list_entries(size_t list_bytes, uint32_t page);

/*
 * PRP2 of a contiguous transfer that touches more than two pages: writes the list. The caller made
 * sure that it fits.
 */
uint64_t bh__prp_contig(const struct bh__list *list, uint64_t iova, uint64_t len, uint32_t page);

/*
 * How many bytes, from the cursor and at most max, one command can carry by PRPs: pieces that do
 * not continue each other may only meet at page boundaries. *pages: how many that touches.
 * -EFAULT: something on the way is outside the pools or not dword aligned.
 */
int64_t bh__prp_measure(const struct bh__xlate *x, struct bh__cursor at, uint64_t max,
			uint32_t page, unsigned int max_pages, unsigned int *pages);
/* The same by SGL descriptors. */
int64_t bh__sgl_measure(const struct bh__xlate *x, struct bh__cursor at, uint64_t max,
			unsigned int max_descs, unsigned int *descs);

/*
 * Builds the data pointer of `len` bytes, which measure said can be carried, and advances the
 * cursor. -EFAULT as above (the table of pools may have changed since).
 */
int bh__prp_build(const struct bh__xlate *x, struct bh__cursor *at, uint64_t len, uint32_t page,
		  const struct bh__list *list, struct bh__dptr *out);
int bh__sgl_build(const struct bh__xlate *x, struct bh__cursor *at, uint64_t len,
		  const struct bh__list *list, struct bh__dptr *out);

/* Data pointer of one contiguous SGL data block. */
static inline void bh__sgl_contig(uint64_t iova, uint32_t len, uint64_t w[2])
{
	w[0] = iova;
	w[1] = len | ((uint64_t)BH__SGL_DATA << 56);
}

/* Bytes left from the cursor. */
uint64_t bh__cursor_left(const struct bh__cursor *at);

/*
 * The next piece of at most max bytes that is contiguous for the device: 1, 0 at the end, -EFAULT.
 * Advances the cursor.
 */
int bh__cursor_piece(const struct bh__xlate *x, struct bh__cursor *at, uint64_t max, uint64_t *iova,
		     uint64_t *len);

#endif

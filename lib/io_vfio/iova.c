/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a pool appears to the device.
 *
 * iova = va where that is possible: nothing to translate, and addresses in traces are the program's
 * own. It is not where the IOMMU is narrower than the process's addresses (39 bits are common) or
 * a hole lies there (the window for message-signalled interrupts). Then the pool goes to the lowest
 * free place, from 1 MiB up, so that no device ever sees address 0.
 */
#include <errno.h>

#include "io_vfio/dev.h"

#define LOWEST 0x100000ull

static bool in_window(const struct io_vfio_windows *windows, uint64_t first, uint64_t last)
{
	if (windows->count == 0)
		return true;
	for (unsigned int i = 0; i < windows->count; i++)
		if (first >= windows->window[i].first && last <= windows->window[i].last)
			return true;
	return false;
}

/* The range in `used` that overlaps [base, base + len), or NULL. */
static const struct bh_range *in_the_way(const struct bh_range_map *used, uint64_t base,
					 uint64_t len)
{
	size_t at = bh_range_map_lower(used, base);

	if (at < used->count &&
	    bh_range_overlaps(used->ranges[at].base, used->ranges[at].len, base, len))
		return &used->ranges[at];
	return NULL;
}

/* The lowest free place in [first, last]. */
static int first_fit(const struct bh_range_map *used, uint64_t first, uint64_t last, uint64_t len,
		     uint64_t align, uint64_t *iova)
{
	const struct bh_range *r;
	uint64_t at = first;

	for (;;) {
		if (at > UINT64_MAX - (align - 1))
			return -ENOSPC;
		at = (at + align - 1) & ~(align - 1);
		if (at > last || last - at < len - 1)
			return -ENOSPC;
		r = in_the_way(used, at, len);
		if (!r) {
			*iova = at;
			return 0;
		}
		if (r->len - 1 >= UINT64_MAX - r->base)
			return -ENOSPC;
		at = r->base + r->len;
	}
}

int io_vfio_iova_choose(const struct io_vfio_windows *windows, const struct bh_range_map *used,
			uint64_t va, uint64_t len, uint64_t align, uint64_t *iova)
{
	const struct bh_iova_window everything = { 0, UINT64_MAX };
	const struct bh_iova_window *window = windows->count ? windows->window : &everything;
	unsigned int count = windows->count ? windows->count : 1;

	if (!bh_range_valid(va, len))
		return -EINVAL;
	if (align < windows->align)
		align = windows->align;
	if ((va & (align - 1)) == 0 && in_window(windows, va, va + (len - 1)) &&
	    !in_the_way(used, va, len)) {
		*iova = va;
		return 0;
	}
	for (unsigned int i = 0; i < count; i++) {
		uint64_t first = window[i].first > LOWEST ? window[i].first : LOWEST;

		if (first_fit(used, first, window[i].last, len, align, iova) == 0)
			return 0;
	}
	return -ENOSPC;
}

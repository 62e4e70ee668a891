/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A range map: non-overlapping [base, base + len) intervals of a 64-bit space, each with a value,
 * sorted by base.
 *
 * Component: lib/base
 *
 * Lookups are binary searches over one dense array. base + len may be exactly 2^64 and is never
 * computed as a sum that wraps. Not thread-safe: the owner serialises.
 */
#ifndef BELLHOP_RANGE_H
#define BELLHOP_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bh_range {
	uint64_t base;
	uint64_t len; /* > 0 */
	void *value;
};

struct bh_range_map {
	struct bh_range *ranges;
	size_t count;
	size_t capacity;
};

void bh_range_map_init(struct bh_range_map *map);
void bh_range_map_fini(struct bh_range_map *map); /* frees the array, not the values */

/* -EINVAL: len is 0 or base + len passes 2^64. -EEXIST: overlaps a range. -ENOMEM. */
int bh_range_map_insert(struct bh_range_map *map, uint64_t base, uint64_t len, void *value);

/*
 * Removes exactly [base, base + len); its value goes to *value unless NULL. -ENOENT: no such range.
 */
int bh_range_map_remove(struct bh_range_map *map, uint64_t base, uint64_t len, void **value);

/* The range that holds all of [base, base + len), or NULL. */
const struct bh_range *bh_range_map_find(const struct bh_range_map *map, uint64_t base,
					 uint64_t len);

/*
 * Index of the first range that ends after `base` (map->count if none): where a walk over an
 * interval begins.
 */
size_t bh_range_map_lower(const struct bh_range_map *map, uint64_t base);

/* True when [base, base + len) is non-empty and does not pass 2^64. */
static inline bool bh_range_valid(uint64_t base, uint64_t len)
{
	return len != 0 && len - 1 <= UINT64_MAX - base;
}

/* True when [off, off + len) lies within [0, size). Never wraps. */
static inline bool bh_range_inside(uint64_t off, uint64_t len, uint64_t size)
{
	return len <= size && off <= size - len;
}

/* True when [a, a + alen) and [b, b + blen), both valid, share a byte. */
static inline bool bh_range_overlaps(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a <= b ? b - a < alen : a - b < blen;
}

#ifdef __cplusplus
}
#endif
#endif

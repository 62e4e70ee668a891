/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One dense array sorted by base. Ranges never overlap, so they are sorted by their ends as well,
 * and one binary search ("the first range that ends after X") serves insert, remove and find. The
 * last byte (base + len - 1) is what is compared: it exists even for a range that ends at 2^64.
 */
#include <bellhop/range.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void bh_range_map_init(struct bh_range_map *map)
{
	memset(map, 0, sizeof(*map));
}

void bh_range_map_fini(struct bh_range_map *map)
{
	free(map->ranges);
	memset(map, 0, sizeof(*map));
}

static uint64_t range_last(const struct bh_range *range)
{
	return range->base + (range->len - 1);
}

size_t bh_range_map_lower(const struct bh_range_map *map, uint64_t base)
{
	size_t low = 0, high = map->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (range_last(&map->ranges[mid]) < base)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int map_reserve(struct bh_range_map *map)
{
	size_t capacity = map->capacity ? map->capacity * 2 : 16;
	struct bh_range *ranges;

	if (map->count < map->capacity)
		return 0;
	ranges = reallocarray(map->ranges, capacity, sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	map->ranges = ranges;
	map->capacity = capacity;
	return 0;
}

int bh_range_map_insert(struct bh_range_map *map, uint64_t base, uint64_t len, void *value)
{
	size_t at;
	int rc;

	if (!bh_range_valid(base, len))
		return -EINVAL;
	at = bh_range_map_lower(map, base);
	if (at < map->count &&
	    bh_range_overlaps(base, len, map->ranges[at].base, map->ranges[at].len))
		return -EEXIST;
	rc = map_reserve(map);
	if (rc < 0)
		return rc;
	memmove(&map->ranges[at + 1], &map->ranges[at], (map->count - at) * sizeof(*map->ranges));
	map->ranges[at] = (struct bh_range){ .base = base, .len = len, .value = value };
	map->count++;
	return 0;
}

int bh_range_map_remove(struct bh_range_map *map, uint64_t base, uint64_t len, void **value)
{
	size_t at = bh_range_map_lower(map, base);

	if (at == map->count || map->ranges[at].base != base || map->ranges[at].len != len)
		return -ENOENT;
	if (value)
		*value = map->ranges[at].value;
	map->count--;
	memmove(&map->ranges[at], &map->ranges[at + 1], (map->count - at) * sizeof(*map->ranges));
	return 0;
}

const struct bh_range *bh_range_map_find(const struct bh_range_map *map, uint64_t base,
					 uint64_t len)
{
	size_t at = bh_range_map_lower(map, base);
	const struct bh_range *range;

	if (at == map->count || len == 0 || base < map->ranges[at].base)
		return NULL;
	range = &map->ranges[at];
	return bh_range_inside(base - range->base, len, range->len) ? range : NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device's translations from va to iova.
 *
 * Queues translate on their own threads while pools come and go on another, and the hot path may
 * neither lock nor count. So a table is never changed: a writer copies it, publishes the copy with
 * a compare-and-swap and puts the old one on the map's list of retired tables, where it stays
 * readable until the device is closed. Pools change seldom and a table is a few entries, so what
 * piles up is small. Nothing published is freed before bh_iova_map_fini(), so an address is never
 * used for two tables: a reader's cache is current exactly if its table is the map's. Who lets others
 * change pools as they like has to stop all readers now and then, and trim.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/range.h>

#include "base/probe.h"
#include "dma/dma.h"

static struct bh_iova_table *table_new(size_t count)
{
	struct bh_iova_table *t = calloc(1, sizeof(*t) + count * sizeof(t->entry[0]));

	if (t) {
		t->count = count;
		t->entry = (struct bh_iova_entry *)(t + 1);
	}
	return t;
}

/* Index of the first entry that ends after va. */
static size_t lower(const struct bh_iova_table *t, uintptr_t va)
{
	size_t lo = 0, hi = t->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct bh_iova_entry *e = &t->entry[mid];

		if (e->va <= va && va - e->va >= e->len)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int bh_iova_map_init(struct bh_iova_map *map)
{
	struct bh_iova_table *t = table_new(0);

	map->table = NULL;
	map->retired = NULL;
	if (!t)
		return -ENOMEM;
	__atomic_store_n(&map->table, t, __ATOMIC_RELEASE);
	return 0;
}

void bh_iova_map_trim(struct bh_iova_map *map)
{
	struct bh_iova_table *t = map->retired, *next;

	map->retired = NULL;
	for (; t; t = next) {
		next = t->retired;
		free(t);
	}
}

void bh_iova_map_fini(struct bh_iova_map *map)
{
	bh_iova_map_trim(map);
	free(map->table);
	map->table = NULL;
}

/* False: another writer was faster; `next` is not published. */
static bool publish(struct bh_iova_map *map, struct bh_iova_table *old, struct bh_iova_table *next)
{
	/* Release: a reader that loads `next` with acquire sees its entries. */
	if (!__atomic_compare_exchange_n(&map->table, &old, next, false, __ATOMIC_RELEASE,
					 __ATOMIC_RELAXED))
		return false;
	old->retired = __atomic_load_n(&map->retired, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&map->retired, &old->retired, old, true,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	return true;
}

static bool overlaps(const struct bh_iova_table *t, const struct bh_iova_entry *e)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct bh_iova_entry *o = &t->entry[i];

		if (bh_range_overlaps(o->va, o->len, e->va, e->len) ||
		    bh_range_overlaps(o->va + o->delta, o->len, e->va + e->delta, e->len))
			return true;
	}
	return false;
}

int bh_iova_map_add(struct bh_iova_map *map, const void *va, size_t len, uint64_t iova)
{
	uintptr_t base = (uintptr_t)va;
	struct bh_iova_entry e = { .va = base, .len = len, .delta = iova - base };

	if (!bh_range_valid(base, len) || !bh_range_valid(iova, len))
		return -EINVAL;
	for (;;) {
		struct bh_iova_table *old = __atomic_load_n(&map->table, __ATOMIC_ACQUIRE);
		struct bh_iova_table *t;
		size_t at = lower(old, base);

		if (overlaps(old, &e))
			return -EEXIST;
		t = table_new(old->count + 1);
		if (!t)
			return -ENOMEM;
		memcpy(t->entry, old->entry, at * sizeof(e));
		t->entry[at] = e;
		memcpy(&t->entry[at + 1], &old->entry[at], (old->count - at) * sizeof(e));
		if (publish(map, old, t)) {
			BH_PROBE4(dma_map, map, base, len, iova);
			return 0;
		}
		free(t);
	}
}

int bh_iova_map_del(struct bh_iova_map *map, const void *va, size_t len)
{
	uintptr_t base = (uintptr_t)va;

	for (;;) {
		struct bh_iova_table *old = __atomic_load_n(&map->table, __ATOMIC_ACQUIRE);
		struct bh_iova_table *t;
		size_t at = lower(old, base);

		if (at == old->count || old->entry[at].va != base || old->entry[at].len != len)
			return -ENOENT;
		t = table_new(old->count - 1);
		if (!t)
			return -ENOMEM;
		memcpy(t->entry, old->entry, at * sizeof(t->entry[0]));
		memcpy(&t->entry[at], &old->entry[at + 1], (t->count - at) * sizeof(t->entry[0]));
		if (publish(map, old, t)) {
			BH_PROBE3(dma_unmap, map, base, len);
			return 0;
		}
		free(t);
	}
}

bool bh_iova_lookup(const struct bh_iova_map *map, struct bh_iova_cache *cache, const void *va,
		    size_t len)
{
	const struct bh_iova_table *t = __atomic_load_n(&map->table, __ATOMIC_ACQUIRE);
	uintptr_t base = (uintptr_t)va;
	size_t at = lower(t, base);
	const struct bh_iova_entry *e;

	if (at == t->count)
		return false;
	e = &t->entry[at];
	if (base < e->va || !bh_range_inside(base - e->va, len, e->len))
		return false;
	cache->va = e->va;
	cache->len = e->len;
	cache->delta = e->delta;
	cache->table = t;
	return true;
}

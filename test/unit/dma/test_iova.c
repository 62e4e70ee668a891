/* SPDX-License-Identifier: BSD-3-Clause */
/* Translations: what add and del refuse, what a cached reader sees, readers beside a writer. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <bellhop/dma.h>

#include "unit.h"

static void *at(uint64_t va)
{
	return (void *)(uintptr_t)va;
}

static bool tr(const struct bh_iova_map *map, struct bh_iova_cache *cache, uint64_t va, size_t len,
	       uint64_t want)
{
	uint64_t iova = ~want;

	return bh_iova_translate(map, cache, at(va), len, &iova) && iova == want;
}

static void add_refuses_nonsense_and_overlaps(void)
{
	struct bh_iova_map map;

	CU_ASSERT_EQUAL_FATAL(bh_iova_map_init(&map), 0);
	CU_ASSERT_EQUAL(bh_iova_map_add(&map, at(0x10000), 0, 0), -EINVAL);
	CU_ASSERT_EQUAL(bh_iova_map_add(&map, at(UINT64_MAX), 2, 0), -EINVAL);
	CU_ASSERT_EQUAL(bh_iova_map_add(&map, at(0x10000), 2, UINT64_MAX), -EINVAL);
	CU_ASSERT_EQUAL(bh_iova_map_add(&map, at(0x10000), 0x1000, 0x90000), 0);
	CU_ASSERT_EQUAL(bh_iova_map_add(&map, at(0x10000), 0x1000, 0xa0000), -EEXIST);
	CU_ASSERT_EQUAL(bh_iova_map_add(&map, at(0xffff), 2, 0xa0000), -EEXIST);
	CU_ASSERT_EQUAL(bh_iova_map_add(&map, at(0x10fff), 1, 0xa0000), -EEXIST);
	CU_ASSERT_EQUAL(bh_iova_map_add(&map, at(0x20000), 0x1000, 0x90fff), -EEXIST);
	CU_ASSERT_EQUAL(bh_iova_map_add(&map, at(0x11000), 0x1000, 0x91000), 0);
	CU_ASSERT_EQUAL(bh_iova_map_add(&map, at(0xf000), 0x1000, 0x8f000), 0);
	CU_ASSERT_EQUAL(bh_iova_map_add(&map, at(UINT64_MAX - 0xfff), 0x1000, 0), 0);
	CU_ASSERT_EQUAL(bh_iova_map_add(&map, at(0x30000), 0x1000, UINT64_MAX - 0xfff), 0);
	bh_iova_map_fini(&map);
	bh_iova_map_fini(&map);
}

static void del_takes_exactly_what_was_added(void)
{
	struct bh_iova_map map;

	CU_ASSERT_EQUAL_FATAL(bh_iova_map_init(&map), 0);
	CU_ASSERT_EQUAL(bh_iova_map_del(&map, at(0x10000), 0x1000), -ENOENT);
	CU_ASSERT_EQUAL(bh_iova_map_add(&map, at(0x10000), 0x1000, 0x10000), 0);
	CU_ASSERT_EQUAL(bh_iova_map_del(&map, at(0x10000), 0x800), -ENOENT);
	CU_ASSERT_EQUAL(bh_iova_map_del(&map, at(0x10001), 0xfff), -ENOENT);
	CU_ASSERT_EQUAL(bh_iova_map_del(&map, at(0xf000), 0x1000), -ENOENT);
	CU_ASSERT_EQUAL(bh_iova_map_del(&map, at(0x10000), 0x1000), 0);
	CU_ASSERT_EQUAL(bh_iova_map_del(&map, at(0x10000), 0x1000), -ENOENT);
	bh_iova_map_fini(&map);
}

static void translate_stays_within_one_entry(void)
{
	struct bh_iova_map map;
	struct bh_iova_cache cache = { 0 };

	CU_ASSERT_EQUAL_FATAL(bh_iova_map_init(&map), 0);
	CU_ASSERT_FALSE(tr(&map, &cache, 0, 0, 0));
	CU_ASSERT_FALSE(tr(&map, &cache, 0x10000, 1, 0));
	bh_iova_map_add(&map, at(0x20000), 0x1000, 0x5000);
	bh_iova_map_add(&map, at(0x10000), 0x1000, 0x8000000000000000);
	bh_iova_map_add(&map, at(0x11000), 0x1000, 0x1000); /* adjacent in va only */
	CU_ASSERT_TRUE(tr(&map, &cache, 0x10000, 0x1000, 0x8000000000000000));
	CU_ASSERT_TRUE(tr(&map, &cache, 0x10fff, 1, 0x8000000000000fff));
	CU_ASSERT_FALSE(tr(&map, &cache, 0x10fff, 2, 0x8000000000000fff));
	CU_ASSERT_TRUE(tr(&map, &cache, 0x11000, 1, 0x1000));
	CU_ASSERT_FALSE(tr(&map, &cache, 0xffff, 1, 0));
	CU_ASSERT_FALSE(tr(&map, &cache, 0x12000, 1, 0));
	CU_ASSERT_FALSE(tr(&map, &cache, 0x11000, SIZE_MAX, 0x1000));
	CU_ASSERT_FALSE(tr(&map, &cache, 0x11800, SIZE_MAX - 0x800, 0));
	CU_ASSERT_TRUE(tr(&map, &cache, 0x20800, 0x800, 0x5800));
	bh_iova_map_fini(&map);
}

static void a_cached_entry_dies_with_its_table(void)
{
	struct bh_iova_map map;
	struct bh_iova_cache cache = { 0 };

	CU_ASSERT_EQUAL_FATAL(bh_iova_map_init(&map), 0);
	bh_iova_map_add(&map, at(0x10000), 0x1000, 0x1000);
	CU_ASSERT_TRUE(tr(&map, &cache, 0x10000, 1, 0x1000));
	CU_ASSERT_PTR_EQUAL(cache.table, map.table);
	bh_iova_map_del(&map, at(0x10000), 0x1000);
	CU_ASSERT_FALSE(tr(&map, &cache, 0x10000, 1, 0x1000));
	bh_iova_map_add(&map, at(0x10000), 0x1000, 0x7000);
	CU_ASSERT_TRUE(tr(&map, &cache, 0x10000, 1, 0x7000));
	for (uint64_t i = 0; i < 100; i++) {
		bh_iova_map_add(&map, at(0x20000), 0x1000, 0x100000 + (i << 12));
		CU_ASSERT_TRUE(tr(&map, &cache, 0x20010, 8, 0x100010 + (i << 12)));
		CU_ASSERT_TRUE(tr(&map, &cache, 0x10010, 8, 0x7010));
		bh_iova_map_del(&map, at(0x20000), 0x1000);
		CU_ASSERT_FALSE(tr(&map, &cache, 0x20010, 8, 0));
	}
	bh_iova_map_fini(&map);
}

static void many_entries_are_all_found(void)
{
	enum { N = 300 };
	struct bh_iova_map map;
	struct bh_iova_cache cache = { 0 };

	CU_ASSERT_EQUAL_FATAL(bh_iova_map_init(&map), 0);
	for (uint64_t i = 0; i < N; i++) {
		uint64_t k = i * 77 % N;

		CU_ASSERT_EQUAL(bh_iova_map_add(&map, at((k + 1) << 16), 0x8000, k << 20), 0);
	}
	for (uint64_t i = 0; i < N; i++) {
		CU_ASSERT_TRUE(tr(&map, &cache, ((i + 1) << 16) + 0x7fff, 1, (i << 20) + 0x7fff));
		CU_ASSERT_FALSE(tr(&map, &cache, ((i + 1) << 16) + 0x8000, 1, 0));
	}
	for (uint64_t i = 0; i < N; i += 2)
		CU_ASSERT_EQUAL(bh_iova_map_del(&map, at((i + 1) << 16), 0x8000), 0);
	for (uint64_t i = 0; i < N; i++)
		CU_ASSERT_EQUAL(tr(&map, &cache, (i + 1) << 16, 1, i << 20), i % 2 == 1);
	bh_iova_map_fini(&map);
}

struct race {
	struct bh_iova_map map;
	int stop; /* __atomic */
	unsigned long wrong, found;
};

/* One entry is always there; others come and go, always with the same translation. */
static void *reader(void *arg)
{
	struct race *r = arg;
	struct bh_iova_cache cache = { 0 };
	unsigned long wrong = 0, found = 0;

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		for (uint64_t i = 0; i < 8; i++) {
			uint64_t iova;
			bool ok = bh_iova_translate(&r->map, &cache, at((i + 1) << 16), 64, &iova);

			found += ok;
			wrong += i == 0 && !ok;
			wrong += ok && iova != i << 20;
		}
	}
	__atomic_fetch_add(&r->wrong, wrong, __ATOMIC_RELAXED);
	__atomic_fetch_add(&r->found, found, __ATOMIC_RELAXED);
	return NULL;
}

static void *writer(void *arg)
{
	struct race *r = arg;

	for (int round = 0; round < 300; round++) {
		for (uint64_t i = 1; i < 4; i++)
			if (bh_iova_map_add(&r->map, at((i + 1) << 16), 0x1000, i << 20) != 0)
				__atomic_fetch_add(&r->wrong, 1, __ATOMIC_RELAXED);
		for (uint64_t i = 1; i < 4; i++)
			if (bh_iova_map_del(&r->map, at((i + 1) << 16), 0x1000) != 0)
				__atomic_fetch_add(&r->wrong, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void readers_and_two_writers(void)
{
	static struct race r;
	pthread_t reads[2], writes;

	memset(&r, 0, sizeof(r));
	CU_ASSERT_EQUAL_FATAL(bh_iova_map_init(&r.map), 0);
	CU_ASSERT_EQUAL(bh_iova_map_add(&r.map, at(1 << 16), 0x1000, 0), 0);
	for (int i = 0; i < 2; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&reads[i], NULL, reader, &r), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&writes, NULL, writer, &r), 0);
	for (int round = 0; round < 300; round++) {
		for (uint64_t i = 4; i < 8; i++)
			CU_ASSERT_EQUAL(bh_iova_map_add(&r.map, at((i + 1) << 16), 0x1000, i << 20),
					0);
		for (uint64_t i = 4; i < 8; i++)
			CU_ASSERT_EQUAL(bh_iova_map_del(&r.map, at((i + 1) << 16), 0x1000), 0);
	}
	pthread_join(writes, NULL);
	__atomic_store_n(&r.stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(reads[i], NULL);
	CU_ASSERT_EQUAL(r.wrong, 0);
	CU_ASSERT_EQUAL(r.map.table->count, 1);
	bh_iova_map_fini(&r.map);
}

BH_SUITE("iova", { "add_refuses_nonsense_and_overlaps", add_refuses_nonsense_and_overlaps },
	 { "del_takes_exactly_what_was_added", del_takes_exactly_what_was_added },
	 { "translate_stays_within_one_entry", translate_stays_within_one_entry },
	 { "a_cached_entry_dies_with_its_table", a_cached_entry_dies_with_its_table },
	 { "many_entries_are_all_found", many_entries_are_all_found },
	 { "readers_and_two_writers", readers_and_two_writers }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks that are to be unreadable, against a map of them. */
#include <stdlib.h>
#include <string.h>

#include <bellhop/blk.h>

#include "unit.h"

#define BLOCKS 2048u

static struct bh_blk *blk;
static unsigned int told;

static int setup(void)
{
	const struct bh_blk_spec spec = { .arg = "", .bytes = 1ull << 40, .block_size = 512 };
	char why[256];

	told = 0;
	return bh_blk_null_type.create(&spec, "null:1T", NULL, why, &blk);
}

static int teardown(void)
{
	bh_blk_put(blk);
	return 0;
}

static void has_bad(struct bh_blk_listener *listener)
{
	(void)listener;
	CU_ASSERT_TRUE(bh_blk_has_bad(blk)); /* before anybody is told */
	told++;
}

static void none_at_first(void)
{
	CU_ASSERT_FALSE(bh_blk_has_bad(blk));
	CU_ASSERT_FALSE(bh_blk_is_bad(blk, 0, UINT64_MAX / 2));
	bh_blk_bad_clear(blk, 0, 1); /* nothing */
	CU_ASSERT_EQUAL(bh_blk_bad_set(blk, 0, 0), 0);
	CU_ASSERT_FALSE(bh_blk_has_bad(blk));
}

static void check(const uint8_t *map)
{
	bool any = memchr(map, 1, BLOCKS);
	unsigned int i, wrong = 0;

	for (i = 0; i < BLOCKS; i++)
		wrong += bh_blk_is_bad(blk, i, 1) != map[i];
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(bh_blk_has_bad(blk), any);
	CU_ASSERT_EQUAL(bh_blk_is_bad(blk, 0, BLOCKS), any);
}

static void ranges_are_as_a_map(void)
{
	uint8_t map[BLOCKS] = { 0 };
	uint32_t random = 1;
	unsigned int i;

	for (i = 0; i < 4000; i++) {
		uint32_t at, n;
		bool is_set;

		random = random * 1664525 + 1013904223;
		at = (random >> 8) % BLOCKS;
		n = 1 + (random >> 24) % 40;
		if (n > BLOCKS - at)
			n = BLOCKS - at;
		is_set = random >> 7 & 1;
		memset(map + at, is_set, n);
		if (!is_set)
			bh_blk_bad_clear(blk, at, n);
		else if (bh_blk_bad_set(blk, at, n))
			CU_FAIL("there is room");
		if (i % 50 == 0)
			check(map);
	}
	bh_blk_bad_clear(blk, 0, BLOCKS);
	memset(map, 0, sizeof(map));
	check(map);
}

/* Every other one of as many as there may be, made by cutting: it needs all the room there is. */
static void there_is_room_for_the_worst(void)
{
	uint32_t i;

	CU_ASSERT_EQUAL(bh_blk_bad_set(blk, 1000, BH_BLK_BAD_MAX), 0);
	CU_ASSERT_EQUAL(bh_blk_bad_set(blk, 1000, BH_BLK_BAD_MAX), 0); /* they are already */
	CU_ASSERT_EQUAL(bh_blk_bad_set(blk, 0, 1), -ENOSPC);
	CU_ASSERT_FALSE(bh_blk_is_bad(blk, 0, 1000));
	for (i = 1; i < BH_BLK_BAD_MAX; i += 2)
		bh_blk_bad_clear(blk, 1000 + i, 1);
	CU_ASSERT_TRUE(bh_blk_is_bad(blk, 1000 + BH_BLK_BAD_MAX - 2, 1));
	CU_ASSERT_FALSE(bh_blk_is_bad(blk, 1000 + BH_BLK_BAD_MAX - 1, 1));
	CU_ASSERT_EQUAL(bh_blk_bad_set(blk, UINT64_MAX / 512 - 1, 1), 0);
	for (i = 0; i < BH_BLK_BAD_MAX / 2 - 1; i++)
		CU_ASSERT_EQUAL_FATAL(bh_blk_bad_set(blk, 200000 + 2 * i, 1), 0);
	CU_ASSERT_EQUAL(bh_blk_bad_set(blk, 0, 1), -ENOSPC);
	bh_blk_bad_clear(blk, 0, UINT64_MAX / 512);
	CU_ASSERT_FALSE(bh_blk_has_bad(blk));
}

static void listeners_hear(void)
{
	struct bh_blk_listener deaf = { 0 }, listener = { .has_bad = has_bad };

	bh_blk_listen(blk, &deaf);
	bh_blk_listen(blk, &listener);
	CU_ASSERT_EQUAL(bh_blk_bad_set(blk, 5, 1), 0);
	CU_ASSERT_EQUAL(told, 1);
	bh_blk_resized(blk, 1ull << 32); /* of what one does not listen to one is not told */
	bh_blk_unlisten(blk, &listener);
	CU_ASSERT_EQUAL(bh_blk_bad_set(blk, 9, 1), 0);
	CU_ASSERT_EQUAL(told, 1);
	bh_blk_unlisten(blk, &deaf);
}

BH_SUITE_FIXTURE("blk_bad", setup, teardown, { "none_at_first", none_at_first },
		 { "ranges_are_as_a_map", ranges_are_as_a_map },
		 { "there_is_room_for_the_worst", there_is_room_for_the_worst },
		 { "listeners_hear", listeners_hear }, )

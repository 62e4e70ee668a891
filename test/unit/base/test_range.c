/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>

#include <bellhop/range.h>

static struct bh_range_map map;

static int setup(void)
{
	bh_range_map_init(&map);
	return 0;
}

static int teardown(void)
{
	bh_range_map_fini(&map);
	return 0;
}

static void empty_and_wrapping_are_einval(void)
{
	CU_ASSERT_EQUAL(bh_range_map_insert(&map, 5, 0, NULL), -EINVAL);
	CU_ASSERT_EQUAL(bh_range_map_insert(&map, UINT64_MAX, 2, NULL), -EINVAL);
	CU_ASSERT_EQUAL(bh_range_map_insert(&map, 2, UINT64_MAX, NULL), -EINVAL);
	CU_ASSERT_EQUAL(map.count, 0);
	CU_ASSERT_PTR_NULL(bh_range_map_find(&map, 0, 1));
}

static void end_may_be_2_to_the_64(void)
{
	CU_ASSERT_EQUAL(bh_range_map_insert(&map, UINT64_MAX - 0xfff, 0x1000, &map), 0);
	CU_ASSERT_PTR_NOT_NULL(bh_range_map_find(&map, UINT64_MAX, 1));
	CU_ASSERT_PTR_NULL(bh_range_map_find(&map, UINT64_MAX, 2));
	CU_ASSERT_EQUAL(bh_range_map_insert(&map, UINT64_MAX, 1, NULL), -EEXIST);
	CU_ASSERT_EQUAL(bh_range_map_lower(&map, UINT64_MAX), 0);
}

static void overlap_is_eexist(void)
{
	CU_ASSERT_EQUAL(bh_range_map_insert(&map, 100, 50, NULL), 0);
	CU_ASSERT_EQUAL(bh_range_map_insert(&map, 149, 1, NULL), -EEXIST);
	CU_ASSERT_EQUAL(bh_range_map_insert(&map, 90, 11, NULL), -EEXIST);
	CU_ASSERT_EQUAL(bh_range_map_insert(&map, 0, 1000, NULL), -EEXIST);
	CU_ASSERT_EQUAL(bh_range_map_insert(&map, 110, 5, NULL), -EEXIST);
	CU_ASSERT_EQUAL(bh_range_map_insert(&map, 90, 10, NULL), 0);
	CU_ASSERT_EQUAL(bh_range_map_insert(&map, 150, 10, NULL), 0);
	CU_ASSERT_EQUAL(map.count, 3);
}

static void find_wants_one_range(void)
{
	int a, b;

	bh_range_map_insert(&map, 20, 10, &b);
	bh_range_map_insert(&map, 10, 10, &a);
	CU_ASSERT_PTR_EQUAL(bh_range_map_find(&map, 10, 10)->value, &a);
	CU_ASSERT_PTR_EQUAL(bh_range_map_find(&map, 29, 1)->value, &b);
	CU_ASSERT_PTR_NULL(bh_range_map_find(&map, 19, 2));
	CU_ASSERT_PTR_NULL(bh_range_map_find(&map, 9, 1));
	CU_ASSERT_PTR_NULL(bh_range_map_find(&map, 30, 1));
	CU_ASSERT_PTR_NULL(bh_range_map_find(&map, 15, 0));
	CU_ASSERT_PTR_NULL(bh_range_map_find(&map, 15, UINT64_MAX));
}

static void remove_is_exact(void)
{
	void *value = NULL;
	int a;

	bh_range_map_insert(&map, 10, 10, &a);
	CU_ASSERT_EQUAL(bh_range_map_remove(&map, 10, 9, NULL), -ENOENT);
	CU_ASSERT_EQUAL(bh_range_map_remove(&map, 11, 9, NULL), -ENOENT);
	CU_ASSERT_EQUAL(bh_range_map_remove(&map, 10, 10, &value), 0);
	CU_ASSERT_PTR_EQUAL(value, &a);
	CU_ASSERT_EQUAL(bh_range_map_remove(&map, 10, 10, NULL), -ENOENT);
}

/* Against a byte map of a small space. */
static void random_operations_match_a_model(void)
{
	enum { SPACE = 512 };
	static unsigned char owner[SPACE];
	unsigned int seed = 1;

	for (int i = 0; i < 200000; i++) {
		unsigned int base = (unsigned int)rand_r(&seed) % SPACE;
		unsigned int len = 1 + (unsigned int)rand_r(&seed) % 12;
		unsigned int free_bytes = 0;

		len = base + len > SPACE ? SPACE - base : len;
		for (unsigned int j = base; j < base + len; j++)
			free_bytes += owner[j] == 0;
		if (rand_r(&seed) % 2) {
			int want = free_bytes == len ? 0 : -EEXIST;

			CU_ASSERT_EQUAL_FATAL(bh_range_map_insert(&map, base, len, owner), want);
			for (unsigned int j = base; want == 0 && j < base + len; j++)
				owner[j] = j == base ? 1 : 2;
		} else {
			bool exact =
				owner[base] == 1 && (base + len == SPACE || owner[base + len] != 2);

			for (unsigned int j = base + 1; j < base + len; j++)
				exact = exact && owner[j] == 2;
			CU_ASSERT_EQUAL_FATAL(bh_range_map_remove(&map, base, len, NULL),
					      exact ? 0 : -ENOENT);
			for (unsigned int j = base; exact && j < base + len; j++)
				owner[j] = 0;
		}
		CU_ASSERT_EQUAL_FATAL(bh_range_map_find(&map, base, 1) != NULL, owner[base] != 0);
	}
}

BH_SUITE_FIXTURE("range", setup, teardown,
		 { "empty_and_wrapping_are_einval", empty_and_wrapping_are_einval },
		 { "end_may_be_2_to_the_64", end_may_be_2_to_the_64 },
		 { "overlap_is_eexist", overlap_is_eexist },
		 { "find_wants_one_range", find_wants_one_range },
		 { "remove_is_exact", remove_is_exact },
		 { "random_operations_match_a_model", random_operations_match_a_model })

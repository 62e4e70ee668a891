/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <stdlib.h>

#include <bellhop/histogram.h>

static struct bh_histogram h;

static int setup(void)
{
	bh_histogram_init(&h);
	return 0;
}

static void buckets_tile_the_space(void)
{
	uint64_t low, high, next = 0;

	for (unsigned int i = 0; i < BH_HISTOGRAM_BUCKETS; i++) {
		bh_histogram_bucket_bounds(i, &low, &high);
		CU_ASSERT_EQUAL_FATAL(low, next);
		CU_ASSERT_TRUE(high >= low);
		CU_ASSERT_EQUAL(bh_histogram_index(low), i);
		CU_ASSERT_EQUAL(bh_histogram_index(high), i);
		/* within 1.6 % */
		CU_ASSERT_TRUE(high - low <= low / BH_HISTOGRAM_STEPS);
		next = high + 1;
	}
	CU_ASSERT_EQUAL(next, 0);
}

static void empty_is_zero(void)
{
	CU_ASSERT_EQUAL(bh_histogram_percentile(&h, 50000), 0);
	CU_ASSERT_EQUAL(h.min, UINT64_MAX);
}

static void small_values_are_exact(void)
{
	for (uint64_t v = 1; v <= 50; v++)
		bh_histogram_add(&h, v, 2);
	CU_ASSERT_EQUAL(h.count, 100);
	CU_ASSERT_EQUAL(h.sum, 2550);
	CU_ASSERT_EQUAL(bh_histogram_percentile(&h, 0), 1);
	CU_ASSERT_EQUAL(bh_histogram_percentile(&h, 1000), 1);
	CU_ASSERT_EQUAL(bh_histogram_percentile(&h, 50000), 25);
	CU_ASSERT_EQUAL(bh_histogram_percentile(&h, 99000), 50);
	CU_ASSERT_EQUAL(bh_histogram_percentile(&h, 100000), 50);
	CU_ASSERT_EQUAL(bh_histogram_percentile(&h, 200000), 50);
}

static void percentile_is_a_value_not_above_max(void)
{
	bh_histogram_add(&h, 1000001, 1);
	CU_ASSERT_EQUAL(bh_histogram_percentile(&h, 50000), 1000001);
	bh_histogram_add(&h, UINT64_MAX, 1);
	CU_ASSERT_EQUAL(bh_histogram_percentile(&h, 100000), UINT64_MAX);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void percentiles_are_within_two_percent(void)
{
	enum { N = 20000 };
	static uint64_t values[N];
	unsigned int seed = 7;

	for (int i = 0; i < N; i++) {
		values[i] = ((uint64_t)rand_r(&seed) << 20 | (uint64_t)rand_r(&seed)) >>
			    rand_r(&seed) % 40;
		bh_histogram_add(&h, values[i], 1);
	}
	qsort(values, N, sizeof(values[0]), by_value);
	CU_ASSERT_EQUAL(h.min, values[0]);
	CU_ASSERT_EQUAL(h.max, values[N - 1]);
	for (unsigned int p = 100; p <= 100000; p += 100) {
		uint64_t want = values[(uint64_t)p * N / 100000 - 1];
		uint64_t got = bh_histogram_percentile(&h, p);

		CU_ASSERT_TRUE(got >= want && got - want <= want / 60);
	}
}

static void merge_adds(void)
{
	static struct bh_histogram other;

	bh_histogram_init(&other);
	bh_histogram_add(&h, 10, 1);
	bh_histogram_merge(&h, &other);
	CU_ASSERT_EQUAL(h.min, 10);
	bh_histogram_add(&other, 2, 1);
	bh_histogram_add(&other, 30, 1);
	bh_histogram_merge(&h, &other);
	CU_ASSERT_EQUAL(h.count, 3);
	CU_ASSERT_EQUAL(h.sum, 42);
	CU_ASSERT_EQUAL(h.min, 2);
	CU_ASSERT_EQUAL(h.max, 30);
	CU_ASSERT_EQUAL(bh_histogram_percentile(&h, 50000), 10);
}

BH_SUITE_FIXTURE("histogram", setup, NULL, { "buckets_tile_the_space", buckets_tile_the_space },
		 { "empty_is_zero", empty_is_zero },
		 { "small_values_are_exact", small_values_are_exact },
		 { "percentile_is_a_value_not_above_max", percentile_is_a_value_not_above_max },
		 { "percentiles_are_within_two_percent", percentiles_are_within_two_percent },
		 { "merge_adds", merge_adds })

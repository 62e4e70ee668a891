/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <string.h>

#include <bellhop/latency.h>

static struct bh_latency latency;
static struct bh_histogram h;
/* Two nanoseconds per tick. */
static const struct bh_clock two = { .mult = 2ull << 32, .hz = 500000000 };
static const struct bh_clock one = { .mult = 1ull << 32, .hz = 1000000000 };

static int setup(void)
{
	memset(&latency, 0, sizeof(latency));
	bh_histogram_init(&h);
	return 0;
}

static void buckets_are_in_order_and_narrow(void)
{
	unsigned int last = 0;

	for (uint64_t v = 1; v < 1ull << BH_LATENCY_BITS; v += v / 64 + 1) {
		unsigned int i = bh_latency_index(v);

		CU_ASSERT_TRUE_FATAL(i < BH_LATENCY_BUCKETS);
		CU_ASSERT_TRUE(i == last || i == last + 1);
		last = i;
	}
	CU_ASSERT_EQUAL(bh_latency_index(0), 0);
	CU_ASSERT_EQUAL(bh_latency_index((1ull << BH_LATENCY_BITS) - 1), BH_LATENCY_BUCKETS - 1);
	CU_ASSERT_EQUAL(bh_latency_index(UINT64_MAX), BH_LATENCY_BUCKETS - 1);
}

static void values_come_back_within_a_sixteenth(void)
{
	for (uint64_t v = 1; v < 1ull << 40; v = v * 9 / 8 + 1) {
		uint64_t got;

		setup();
		bh_latency_add(&latency, v, 1);
		bh_latency_add(&latency, v * 4, 1); /* so that the first is not the largest */
		bh_latency_collect(&latency, &one, &h);
		got = bh_histogram_percentile(&h, 50000);
		CU_ASSERT_TRUE(got >= v && got - v <= v / 16 + v / 60 + 1);
	}
}

static void sum_and_largest_are_exact_in_nanoseconds(void)
{
	bh_latency_add(&latency, 1000, 3);
	bh_latency_add(&latency, 123457, 1);
	bh_latency_collect(&latency, &two, &h);
	CU_ASSERT_EQUAL(h.count, 4);
	CU_ASSERT_EQUAL(h.sum, 2 * (3 * 1000 + 123457));
	CU_ASSERT_EQUAL(h.max, 2 * 123457);
}

static void several_gather_in_one(void)
{
	bh_latency_add(&latency, 10, 1);
	bh_latency_collect(&latency, &one, &h);
	bh_latency_collect(&latency, &one, &h);
	CU_ASSERT_EQUAL(h.count, 2);
	CU_ASSERT_EQUAL(h.sum, 20);
}

static void nothing_adds_nothing(void)
{
	bh_latency_collect(&latency, &one, &h);
	CU_ASSERT_EQUAL(h.count, 0);
	CU_ASSERT_EQUAL(h.sum, 0);
	CU_ASSERT_EQUAL(h.min, UINT64_MAX);
}

BH_SUITE_FIXTURE("latency", setup, NULL,
		 { "buckets_are_in_order_and_narrow", buckets_are_in_order_and_narrow },
		 { "values_come_back_within_a_sixteenth", values_come_back_within_a_sixteenth },
		 { "sum_and_largest_are_exact_in_nanoseconds",
		   sum_and_largest_are_exact_in_nanoseconds },
		 { "several_gather_in_one", several_gather_in_one },
		 { "nothing_adds_nothing", nothing_adds_nothing })

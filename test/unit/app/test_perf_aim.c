/* SPDX-License-Identifier: BSD-3-Clause */
/* Where bh-perf's requests go, of which sizes, and how latencies are counted coarsely. */
#include "unit.h"

#include <math.h>
#include <string.h>

#include "perf_io.h"

#define DRAWS 200000

static struct perf_lane lane;
static struct perf perf;
static struct zipf zipf;

static int setup(void)
{
	memset(&lane, 0, sizeof(lane));
	lane.total = 1003;
	lane.blocks = 8;
	lane.slots = 125;
	lane.num_extents = 1;
	lane.aim.random = 1;
	/* 70 % reads */
	lane.read_below = (uint64_t)(((unsigned __int128)70 << 63) / 100);
	perf.clock = (struct bh_clock){ .mult = 1ull << 32, .hz = 1000000000 };
	return 0;
}

static void three_sizes(void)
{
	lane.extent[0] = (struct perf_extent){ 1003, 1, (uint32_t)((60ull << 32) / 100 - 1) };
	lane.extent[1] = (struct perf_extent){ 250, 4, (uint32_t)((90ull << 32) / 100 - 1) };
	lane.extent[2] = (struct perf_extent){ 125, 8, UINT32_MAX };
	lane.num_extents = 3;
}

static void random_places_are_even_and_reads_have_their_share(void)
{
	unsigned int hits[125] = { 0 }, reads = 0;

	for (unsigned int i = 0; i < DRAWS; i++) {
		uint32_t blocks;
		bool read;
		uint64_t lba = perf_aim_any(&lane, &lane.aim, &blocks, &read);

		CU_ASSERT_TRUE_FATAL(blocks == 8 && lba % 8 == 0 && lba + 8 <= 1003);
		hits[lba / 8]++;
		reads += read;
	}
	for (unsigned int i = 0; i < 125; i++)
		CU_ASSERT_TRUE(fabs(hits[i] - 1600.0) < 240); /* six deviations */
	CU_ASSERT_TRUE(fabs((double)reads / DRAWS - 0.7) < 0.01);
}

static void sequential_places_follow_each_other_and_begin_again(void)
{
	uint32_t blocks;
	bool read;

	lane.place = PERF_SEQUENTIAL;
	for (unsigned int round = 0; round < 3; round++)
		for (uint64_t i = 0; i < 125; i++)
			CU_ASSERT_EQUAL(perf_aim_any(&lane, &lane.aim, &blocks, &read), i * 8);
}

static void sizes_have_their_shares_and_stay_inside(void)
{
	unsigned int of_size[9] = { 0 };

	three_sizes();
	for (int place = PERF_UNIFORM; place <= PERF_SEQUENTIAL; place += PERF_SEQUENTIAL) {
		memset(of_size, 0, sizeof(of_size));
		lane.place = (enum perf_place)place;
		for (unsigned int i = 0; i < DRAWS; i++) {
			uint32_t blocks;
			bool read;
			uint64_t lba = perf_aim_any(&lane, &lane.aim, &blocks, &read);

			CU_ASSERT_TRUE_FATAL(blocks == 1 || blocks == 4 || blocks == 8);
			CU_ASSERT_TRUE_FATAL(lba + blocks <= 1003);
			if (place == PERF_UNIFORM)
				CU_ASSERT_EQUAL(lba % blocks, 0);
			of_size[blocks]++;
		}
		CU_ASSERT_TRUE(fabs((double)of_size[1] / DRAWS - 0.6) < 0.01);
		CU_ASSERT_TRUE(fabs((double)of_size[4] / DRAWS - 0.3) < 0.01);
		CU_ASSERT_TRUE(fabs((double)of_size[8] / DRAWS - 0.1) < 0.01);
	}
}

static void popular_places_are_read_and_written_alike(void)
{
	unsigned int hot = 0, hot_reads = 0, reads = 0;

	lane.place = PERF_ZIPF;
	lane.zipf = &zipf;
	zipf_init(&zipf, lane.slots, 1.2);
	for (unsigned int i = 0; i < DRAWS; i++) {
		uint32_t blocks;
		bool read;
		uint64_t lba = perf_aim_any(&lane, &lane.aim, &blocks, &read);

		CU_ASSERT_TRUE_FATAL(lba % 8 == 0 && lba + 8 <= 1003);
		hot += lba == 0;
		hot_reads += lba == 0 && read;
		reads += read;
	}
	CU_ASSERT_TRUE(hot > DRAWS / 5 && hot < DRAWS / 2);
	CU_ASSERT_TRUE(fabs((double)hot_reads / hot - 0.7) < 0.02);
	CU_ASSERT_TRUE(fabs((double)reads / DRAWS - 0.7) < 0.01);
}

/* ---- coarse latencies ---- */

static void buckets_are_in_order_and_cover_everything(void)
{
	unsigned int last = perf_coarse_index(0);

	CU_ASSERT_EQUAL(last, 0);
	for (uint64_t ticks = 1; ticks < 100000; ticks++) {
		unsigned int i = perf_coarse_index(ticks);

		CU_ASSERT_TRUE(i == last || i == last + 1);
		last = i;
	}
	CU_ASSERT_TRUE(perf_coarse_index(UINT64_MAX) < PERF_COARSE_BUCKETS);
}

static void coarse_latencies_are_right_within_an_eighth(void)
{
	static struct bh_histogram h;
	uint64_t sum = 0;

	for (uint64_t ticks = 100; ticks < 10000; ticks++) {
		perf_enter(&lane, &perf, ticks, 2, PERF_LATENCY_CHEAP);
		sum += 2 * ticks;
	}
	bh_histogram_init(&h);
	perf_coarse_merge(&h, &lane.coarse, &perf.clock);
	CU_ASSERT_EQUAL(h.count, 2 * 9900);
	CU_ASSERT_EQUAL(h.sum, sum);
	CU_ASSERT_TRUE(h.min <= 100 && h.min > 75);
	CU_ASSERT_TRUE(h.max >= 9999 && h.max < 12500);
	CU_ASSERT_TRUE(fabs((double)bh_histogram_percentile(&h, 50000) - 5050) < 5050 / 7.0);
	CU_ASSERT_TRUE(fabs((double)bh_histogram_percentile(&h, 99000) - 9900) < 9900 / 7.0);
	/* A second lane is added. */
	perf_coarse_merge(&h, &lane.coarse, &perf.clock);
	CU_ASSERT_EQUAL(h.count, 4 * 9900);
	CU_ASSERT_EQUAL(h.sum, 2 * sum);
}

static void latencies_can_be_left_out(void)
{
	bh_histogram_init(&lane.latency);
	perf_enter(&lane, &perf, 100, 1, PERF_LATENCY_OFF);
	CU_ASSERT_EQUAL(lane.latency.count, 0);
	CU_ASSERT_EQUAL(lane.coarse.sum, 0);
	perf_enter(&lane, &perf, 100, 3, PERF_LATENCY_EXACT);
	CU_ASSERT_EQUAL(lane.latency.count, 3);
	CU_ASSERT_EQUAL(lane.latency.sum, 300);
}

BH_SUITE_FIXTURE(
	"perf_aim", setup, NULL,
	{ "random_places_are_even_and_reads_have_their_share",
	  random_places_are_even_and_reads_have_their_share },
	{ "sequential_places_follow_each_other_and_begin_again",
	  sequential_places_follow_each_other_and_begin_again },
	{ "sizes_have_their_shares_and_stay_inside", sizes_have_their_shares_and_stay_inside },
	{ "popular_places_are_read_and_written_alike", popular_places_are_read_and_written_alike },
	{ "buckets_are_in_order_and_cover_everything", buckets_are_in_order_and_cover_everything },
	{ "coarse_latencies_are_right_within_an_eighth",
	  coarse_latencies_are_right_within_an_eighth },
	{ "latencies_can_be_left_out", latencies_can_be_left_out }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/* What bh-perf writes to verify it, and what it says of it. */
#include "unit.h"

#include <string.h>

#include "perf_verify.h"

#define BYTES 512

static uint64_t block[BYTES / 8];
static struct perf_stamp stamp;
static struct perf_difference difference;

static int setup(void)
{
	stamp = (struct perf_stamp){ .lba = 4711, .generation = 3, .nsid = 2, .run = 0xabcdef };
	memset(&difference, 0xff, sizeof(difference));
	perf_pattern_write(block, BYTES, &stamp);
	return 0;
}

static bool right(bool known)
{
	return perf_pattern_check(block, BYTES, &stamp, known, &difference);
}

static void what_was_written_is_right(void)
{
	CU_ASSERT_TRUE(right(true));
	CU_ASSERT_TRUE(right(false));
}

/* Of every byte, wherever it is. */
static void each_byte_matters_and_is_named(void)
{
	uint8_t *bytes = (uint8_t *)block;

	for (unsigned int i = 0; i < BYTES; i++) {
		uint8_t was = bytes[i];

		bytes[i] ^= 0x10;
		CU_ASSERT_FALSE(right(true));
		CU_ASSERT_EQUAL(difference.lba, 4711);
		CU_ASSERT_EQUAL(difference.byte, i);
		CU_ASSERT_EQUAL(difference.found, was ^ 0x10);
		CU_ASSERT_EQUAL(difference.expected, was);
		/* Without a known stamp one that was changed still does not fit its data. */
		CU_ASSERT_FALSE(right(false));
		bytes[i] = was;
	}
	CU_ASSERT_TRUE(right(true));
}

static void damage_is_told_from_a_wrong_stamp(void)
{
	block[40] ^= 1;
	CU_ASSERT_FALSE(right(true));
	CU_ASSERT_PTR_NOT_NULL(strstr(difference.why, "do not follow"));
}

static void a_block_of_another_place_is_told(void)
{
	struct perf_stamp other = stamp;

	other.lba = 99;
	perf_pattern_write(block, BYTES, &other);
	for (int known = 0; known < 2; known++) {
		CU_ASSERT_FALSE(right(known));
		CU_ASSERT_EQUAL(difference.byte, 8);
		CU_ASSERT_PTR_NOT_NULL(strstr(difference.why, "LBA 99 of namespace 2"));
	}
	other = stamp;
	other.nsid = 7;
	perf_pattern_write(block, BYTES, &other);
	CU_ASSERT_FALSE(right(true));
	CU_ASSERT_PTR_NOT_NULL(strstr(difference.why, "LBA 4711 of namespace 7"));
}

static void an_older_write_is_told_if_the_last_is_known(void)
{
	stamp.generation = 4;
	CU_ASSERT_FALSE(right(true));
	CU_ASSERT_EQUAL(difference.byte, 16);
	CU_ASSERT_PTR_NOT_NULL(strstr(difference.why, "write 3, and write 4 was the last"));
	CU_ASSERT_TRUE(right(false));
}

static void another_run_is_told_if_this_one_wrote(void)
{
	stamp.run = 1;
	CU_ASSERT_FALSE(right(true));
	CU_ASSERT_PTR_NOT_NULL(strstr(difference.why, "another run"));
	CU_ASSERT_TRUE(right(false));
}

static void zeros_are_no_pattern(void)
{
	memset(block, 0, sizeof(block));
	for (int known = 0; known < 2; known++) {
		CU_ASSERT_FALSE(right(known));
		CU_ASSERT_EQUAL(difference.byte, 0);
		CU_ASSERT_PTR_NOT_NULL(strstr(difference.why, "does not begin"));
	}
}

static void a_buffer_that_was_not_written_to_is_told(void)
{
	memset(block, 0x5a, sizeof(block)); /* as it was before the read */
	CU_ASSERT_FALSE(right(true));
	CU_ASSERT_PTR_NOT_NULL(strstr(difference.why, "nothing into the buffer"));
}

/* Neither two LBAs nor two writes of one LBA look alike anywhere behind the stamp. */
static void patterns_differ_everywhere(void)
{
	static uint64_t other[BYTES / 8];
	struct perf_stamp next = stamp;

	for (int i = 0; i < 3; i++) {
		next = stamp;
		next.lba += i == 0;
		next.generation += i == 1;
		next.run += i == 2;
		perf_pattern_write(other, BYTES, &next);
		for (unsigned int w = 4; w < BYTES / 8; w++)
			CU_ASSERT_NOT_EQUAL(other[w], block[w]);
	}
}

BH_SUITE_FIXTURE("perf_verify", setup, NULL,
		 { "what_was_written_is_right", what_was_written_is_right },
		 { "each_byte_matters_and_is_named", each_byte_matters_and_is_named },
		 { "damage_is_told_from_a_wrong_stamp", damage_is_told_from_a_wrong_stamp },
		 { "a_block_of_another_place_is_told", a_block_of_another_place_is_told },
		 { "an_older_write_is_told_if_the_last_is_known",
		   an_older_write_is_told_if_the_last_is_known },
		 { "another_run_is_told_if_this_one_wrote", another_run_is_told_if_this_one_wrote },
		 { "zeros_are_no_pattern", zeros_are_no_pattern },
		 { "a_buffer_that_was_not_written_to_is_told",
		   a_buffer_that_was_not_written_to_is_told },
		 { "patterns_differ_everywhere", patterns_differ_everywhere }, )

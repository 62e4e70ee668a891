/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <math.h>
#include <stdlib.h>

#include "zipf.h"

#define DRAWS 400000

static struct zipf z;

/* The sum of 1 / k^theta, by which probabilities are divided. */
static double zeta(unsigned int n, double theta)
{
	double sum = 0;

	for (unsigned int k = 1; k <= n; k++)
		sum += pow(k, -theta);
	return sum;
}

/*
 * The distance of what was drawn from what the law says, by the chi-squared sum over classes of
 * ranks that are drawn at least 20 times. With as many degrees of freedom as classes, less one, it
 * stays below their number and five times the root of twice their number but once in a million.
 */
static void compare(unsigned int n, double theta)
{
	unsigned int *drawn = calloc(n, sizeof(*drawn)), classes = 0;
	double sum = zeta(n, theta), distance = 0, expected = 0, seen = 0;
	uint64_t random = 12345;

	CU_ASSERT_PTR_NOT_NULL_FATAL(drawn);
	zipf_init(&z, n, theta);
	for (unsigned int i = 0; i < DRAWS; i++) {
		uint64_t rank = zipf_rank(&z, &random);

		CU_ASSERT_TRUE_FATAL(rank < n);
		drawn[rank]++;
	}
	for (unsigned int k = 0; k < n; k++) {
		expected += DRAWS * pow(k + 1, -theta) / sum;
		seen += drawn[k];
		if (expected < 20 && k + 1 < n)
			continue;
		distance += (seen - expected) * (seen - expected) / expected;
		classes++;
		expected = seen = 0;
	}
	CU_ASSERT_TRUE(distance < classes + 5 * sqrt(2.0 * classes));
	free(drawn);
}

static void ranks_follow_the_law(void)
{
	compare(10, 0.5);
	compare(1000, 0.99);
	compare(100000, 0.8);
	compare(100000, 1.2);
	compare(1000, 3);
}

static void theta_of_one_is_no_hole(void)
{
	compare(5000, 1);
	compare(5000, 1 + 1e-8);
	compare(5000, 1 - 1e-8);
}

static void small_theta_is_nearly_uniform(void)
{
	compare(100, 0.01);
}

/* Nothing is summed up over the places: this takes no time. */
static void huge_numbers_of_places(void)
{
	uint64_t random = 1, hot = 0;

	zipf_init(&z, 1ull << 48, 1.5);
	for (unsigned int i = 0; i < DRAWS; i++) {
		uint64_t rank = zipf_rank(&z, &random);

		CU_ASSERT_TRUE_FATAL(rank < 1ull << 48);
		hot += rank == 0;
	}
	/* 1 / zeta(1.5) = 0.38279 */
	CU_ASSERT_TRUE(fabs((double)hot / DRAWS - 0.38279) < 0.005);
}

static void few_places(void)
{
	uint64_t random = 7;

	zipf_init(&z, 1, 0.99);
	for (unsigned int i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL(zipf_place(&z, zipf_rank(&z, &random)), 0);
	compare(2, 0.99);
	compare(2, 2);
}

/* Every rank has a place of its own, so each place is somebody's. */
static void places_are_a_permutation(void)
{
	static const unsigned int sizes[] = { 1, 2, 3, 4, 10, 97, 1024, 4095, 30030, 65536 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		unsigned int n = sizes[i];
		unsigned char *taken = calloc(n, 1);

		CU_ASSERT_PTR_NOT_NULL_FATAL(taken);
		zipf_init(&z, n, 0.99);
		for (unsigned int rank = 0; rank < n; rank++) {
			uint64_t place = zipf_place(&z, rank);

			CU_ASSERT_TRUE_FATAL(place < n);
			CU_ASSERT_EQUAL(taken[place], 0);
			taken[place] = 1;
		}
		free(taken);
	}
}

/* The hundred most popular ones are not side by side. */
static void popular_places_are_scattered(void)
{
	zipf_init(&z, 1000000, 0.99);
	for (uint64_t a = 0; a < 100; a++)
		for (uint64_t b = 0; b < a; b++) {
			uint64_t x = zipf_place(&z, a), y = zipf_place(&z, b);

			CU_ASSERT_TRUE((x > y ? x - y : y - x) > 1000);
		}
}

static void places_beyond_32_bits(void)
{
	uint64_t n = (1ull << 40) + 12345;

	zipf_init(&z, n, 0.99);
	CU_ASSERT_EQUAL(zipf_place(&z, 0), 0);
	CU_ASSERT_EQUAL(zipf_place(&z, 1), z.stride);
	CU_ASSERT_EQUAL(zipf_place(&z, n - 1), n - z.stride);
	CU_ASSERT_EQUAL(zipf_place(&z, n / 2),
			(uint64_t)((unsigned __int128)(n / 2) * z.stride % n));
}

BH_SUITE("zipf", { "ranks_follow_the_law", ranks_follow_the_law },
	 { "theta_of_one_is_no_hole", theta_of_one_is_no_hole },
	 { "small_theta_is_nearly_uniform", small_theta_is_nearly_uniform },
	 { "huge_numbers_of_places", huge_numbers_of_places }, { "few_places", few_places },
	 { "places_are_a_permutation", places_are_a_permutation },
	 { "popular_places_are_scattered", popular_places_are_scattered },
	 { "places_beyond_32_bits", places_beyond_32_bits }, )

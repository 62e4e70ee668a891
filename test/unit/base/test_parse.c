/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include <bellhop/parse.h>

static const struct {
	const char *text;
	int rc;
	uint64_t value;
} sizes[] = {
	{ "0", 0, 0 },
	{ "512", 0, 512 },
	{ "4K", 0, 4096 },
	{ "4k", 0, 4096 },
	{ "3M", 0, 3u << 20 },
	{ "1g", 0, 1u << 30 },
	{ "1T", 0, (uint64_t)1 << 40 },
	{ "010", 0, 10 },
	{ "18446744073709551615", 0, UINT64_MAX },
	{ "16777215T", 0, (uint64_t)16777215 << 40 },
	{ "18446744073709551616", -ERANGE, 0 },
	{ "16777216T", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ "K", -EINVAL, 0 },
	{ " 1", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },
	{ "+1", -EINVAL, 0 },
	{ "1KB", -EINVAL, 0 },
	{ "1 K", -EINVAL, 0 },
	{ "1.5G", -EINVAL, 0 },
	{ "0x10", -EINVAL, 0 },
	{ "1P", -EINVAL, 0 },
};

static void sizes_are_digits_and_a_unit(void)
{
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t value = 77;

		CU_ASSERT_EQUAL(bh_parse_size(sizes[i].text, &value), sizes[i].rc);
		CU_ASSERT_EQUAL(value, sizes[i].rc ? 77 : sizes[i].value);
	}
}

static void numbers_have_bounds(void)
{
	uint64_t v = 0;

	CU_ASSERT_EQUAL(bh_parse_u64("10", 1, 10, &v), 0);
	CU_ASSERT_EQUAL(v, 10);
	CU_ASSERT_EQUAL(bh_parse_u64("0x1F", 0, 100, &v), 0);
	CU_ASSERT_EQUAL(v, 31);
	CU_ASSERT_EQUAL(bh_parse_u64("11", 1, 10, &v), -ERANGE);
	CU_ASSERT_EQUAL(bh_parse_u64("0", 1, 10, &v), -ERANGE);
	CU_ASSERT_EQUAL(bh_parse_u64("99999999999999999999", 0, UINT64_MAX, &v), -ERANGE);
	CU_ASSERT_EQUAL(bh_parse_u64("0x", 0, 10, &v), -EINVAL);
	CU_ASSERT_EQUAL(bh_parse_u64("0x0x1", 0, 10, &v), -EINVAL);
	CU_ASSERT_EQUAL(bh_parse_u64("1K", 0, 10, &v), -EINVAL);
	CU_ASSERT_EQUAL(bh_parse_u64("-1", 0, UINT64_MAX, &v), -EINVAL);
	CU_ASSERT_EQUAL(bh_parse_u64("", 0, 10, &v), -EINVAL);
	CU_ASSERT_EQUAL(bh_parse_u64("f", 0, 10, &v), -EINVAL);
	CU_ASSERT_EQUAL(v, 31);
}

static const struct {
	const char *text;
	char sep;
	int rc;
	const char *list;
} cpu_lists[] = {
	{ "0", ',', 0, "0" },
	{ "0,2-3", ',', 0, "0,2-3" },
	{ "3,2,0,2", ',', 0, "0,2-3" },
	{ "0+2-3", '+', 0, "0,2-3" },
	{ "0x5", ',', 0, "0,2" },
	{ "0XF0", '+', 0, "4-7" },
	{ "0x10000000000000001", ',', 0, "0,64" },
	{ "0000x1", ',', -EINVAL, NULL },
	{ "1023", ',', 0, "1023" },
	{ "0-1023", ',', 0, "0-1023" },
	{ "1024", ',', -ERANGE, NULL },
	{ "3-1", ',', -ERANGE, NULL },
	{ "99999999999999999999", ',', -ERANGE, NULL },
	{ "", ',', -EINVAL, NULL },
	{ "0x0", ',', -EINVAL, NULL },
	{ "0x", ',', -EINVAL, NULL },
	{ "0xg", ',', -EINVAL, NULL },
	{ "0,2", '+', -EINVAL, NULL },
	{ "0,", ',', -EINVAL, NULL },
	{ ",0", ',', -EINVAL, NULL },
	{ "1-", ',', -EINVAL, NULL },
	{ "-1", ',', -EINVAL, NULL },
	{ "1-2-3", ',', -EINVAL, NULL },
	{ "all", ',', -EINVAL, NULL },
};

static void cpus_are_lists_or_masks(void)
{
	char text[64];

	for (size_t i = 0; i < sizeof(cpu_lists) / sizeof(cpu_lists[0]); i++) {
		struct bh_cpuset cpus;

		CU_ASSERT_EQUAL(bh_parse_cpus(cpu_lists[i].text, cpu_lists[i].sep, &cpus),
				cpu_lists[i].rc);
		if (cpu_lists[i].rc < 0)
			continue;
		bh_format_cpus(&cpus, text, sizeof(text));
		CU_ASSERT_STRING_EQUAL(text, cpu_lists[i].list);
	}
}

static void long_masks_are_erange(void)
{
	char text[300] = "0x";
	struct bh_cpuset cpus;

	memset(text + 2, '0', 257);
	text[2] = '1'; /* bit 1024 */
	CU_ASSERT_EQUAL(bh_parse_cpus(text, ',', &cpus), -ERANGE);
	text[2] = 'z';
	CU_ASSERT_EQUAL(bh_parse_cpus(text, ',', &cpus), -EINVAL);
	text[2] = '0';
	text[3] = '8'; /* bit 1023 */
	CU_ASSERT_EQUAL(bh_parse_cpus(text, ',', &cpus), 0);
	CU_ASSERT_EQUAL(bh_cpuset_first(&cpus), 1023);
}

static void cpu_lists_are_cut_between_items(void)
{
	struct bh_cpuset cpus;
	char text[8];

	bh_parse_cpus("0-2,10-12,20", ',', &cpus);
	bh_format_cpus(&cpus, text, sizeof(text));
	CU_ASSERT_STRING_EQUAL(text, "0-2");
	bh_format_cpus(&cpus, text, 1);
	CU_ASSERT_STRING_EQUAL(text, "");
	bh_format_cpus(&cpus, text, 0);
}

static void cpusets_are_walked_in_order(void)
{
	struct bh_cpuset cpus;

	bh_cpuset_zero(&cpus);
	CU_ASSERT_EQUAL(bh_cpuset_first(&cpus), -1);
	CU_ASSERT_EQUAL(bh_cpuset_last(&cpus), -1);
	bh_cpuset_add(&cpus, 63);
	bh_cpuset_add(&cpus, 64);
	bh_cpuset_add(&cpus, 1000);
	bh_cpuset_add(&cpus, 1024);
	CU_ASSERT_EQUAL(bh_cpuset_count(&cpus), 3);
	CU_ASSERT_EQUAL(bh_cpuset_first(&cpus), 63);
	CU_ASSERT_EQUAL(bh_cpuset_next(&cpus, 63), 64);
	CU_ASSERT_EQUAL(bh_cpuset_next(&cpus, 64), 1000);
	CU_ASSERT_EQUAL(bh_cpuset_next(&cpus, 1000), -1);
	CU_ASSERT_EQUAL(bh_cpuset_next(&cpus, 1023), -1);
	CU_ASSERT_EQUAL(bh_cpuset_last(&cpus), 1000);
	CU_ASSERT_FALSE(bh_cpuset_has(&cpus, 5000));
}

static void allowed_is_the_threads_mask(void)
{
	struct bh_cpuset cpus;
	cpu_set_t mask;

	CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof(mask), &mask), 0);
	CU_ASSERT_EQUAL(bh_cpuset_allowed(&cpus), 0);
	CU_ASSERT_EQUAL(bh_cpuset_count(&cpus), (unsigned int)CPU_COUNT(&mask));
	for (unsigned int i = 0; i < BH_CPU_MAX; i++)
		CU_ASSERT_EQUAL(bh_cpuset_has(&cpus, i), CPU_ISSET(i, &mask) != 0);
}

static void sizes_for_people(void)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} t[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 1024, "1 KiB" },
		{ 1536, "1.5 KiB" },
		{ 3u << 29, "1.5 GiB" },
		{ (1u << 20) - 1, "1 MiB" },
		{ (uint64_t)1 << 40, "1 TiB" },
		{ UINT64_MAX, "16 EiB" },
	};
	char text[16];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		bh_format_size(t[i].bytes, text, sizeof(text));
		CU_ASSERT_STRING_EQUAL(text, t[i].text);
	}
	bh_format_size(1536, text, 4);
	CU_ASSERT_STRING_EQUAL(text, "1.5");
}

static void seconds_have_nine_places(void)
{
	uint64_t ns = 7;

	CU_ASSERT_EQUAL(bh_parse_seconds("3", &ns), 0);
	CU_ASSERT_EQUAL(ns, 3000000000u);
	CU_ASSERT_EQUAL(bh_parse_seconds("0.25", &ns), 0);
	CU_ASSERT_EQUAL(ns, 250000000u);
	CU_ASSERT_EQUAL(bh_parse_seconds("1.000000001", &ns), 0);
	CU_ASSERT_EQUAL(ns, 1000000001u);
	CU_ASSERT_EQUAL(bh_parse_seconds("18446744073.709551615", &ns), 0);
	CU_ASSERT_EQUAL(ns, UINT64_MAX);
	CU_ASSERT_EQUAL(bh_parse_seconds("18446744073.709551616", &ns), -ERANGE);
	CU_ASSERT_EQUAL(bh_parse_seconds("18446744074", &ns), -ERANGE);
	CU_ASSERT_EQUAL(bh_parse_seconds("0.0000000001", &ns), -EINVAL);
	CU_ASSERT_EQUAL(bh_parse_seconds("1.", &ns), -EINVAL);
	CU_ASSERT_EQUAL(bh_parse_seconds(".5", &ns), -EINVAL);
	CU_ASSERT_EQUAL(bh_parse_seconds("1s", &ns), -EINVAL);
	CU_ASSERT_EQUAL(bh_parse_seconds("-1", &ns), -EINVAL);
	CU_ASSERT_EQUAL(bh_parse_seconds("", &ns), -EINVAL);
	CU_ASSERT_EQUAL(ns, UINT64_MAX);
}

BH_SUITE("parse", { "seconds_have_nine_places", seconds_have_nine_places },
	 { "sizes_are_digits_and_a_unit", sizes_are_digits_and_a_unit },
	 { "numbers_have_bounds", numbers_have_bounds },
	 { "cpus_are_lists_or_masks", cpus_are_lists_or_masks },
	 { "long_masks_are_erange", long_masks_are_erange },
	 { "cpu_lists_are_cut_between_items", cpu_lists_are_cut_between_items },
	 { "cpusets_are_walked_in_order", cpusets_are_walked_in_order },
	 { "allowed_is_the_threads_mask", allowed_is_the_threads_mask },
	 { "sizes_for_people", sizes_for_people })

/* SPDX-License-Identifier: BSD-3-Clause */
/* bh-perf's command line, where it is more than one value. What is said on stderr: ft_cli. */
#include "unit.h"

#include <getopt.h>
#include <string.h>

#include "perf_options.h"

static struct app app;
static struct perf_options opts;

/* One option with its value, and perhaps another. -1: fine. */
static int parse(const char *option, const char *value, const char *more, const char *its)
{
	static char words[4][512];
	char *argv[7] = { (char *)"bh-perf" };
	const char *given[4] = { option, value, more, its };
	int argc = 1;

	for (int i = 0; i < 4; i++) {
		if (!given[i])
			continue;
		strncpy(words[i], given[i], sizeof(words[i]) - 1);
		argv[argc++] = words[i];
	}
	argv[argc++] = (char *)"/tmp/x.sock";
	optind = 0;
	app_init(&app, "bh-perf");
	return perf_options_parse(&app, argc, argv, &opts);
}

static void without_options(void)
{
	CU_ASSERT_EQUAL(parse(NULL, NULL, NULL, NULL), -1);
	CU_ASSERT_EQUAL(opts.depth, 128);
	CU_ASSERT_EQUAL(opts.num_sizes, 1);
	CU_ASSERT_EQUAL(opts.bytes, 4096);
	CU_ASSERT_EQUAL(opts.grain, 4096);
	CU_ASSERT_EQUAL(opts.num_loads, 1);
	CU_ASSERT_STRING_EQUAL(opts.load[0].name, "randread");
	CU_ASSERT_TRUE(opts.load[0].random && opts.load[0].read_percent == 100);
	CU_ASSERT_EQUAL(opts.latency, PERF_LATENCY_EXACT);
	CU_ASSERT_FALSE(opts.verify || opts.zipf > 0 || opts.rate || perf_writes(&opts));
}

static void sizes_with_shares(void)
{
	CU_ASSERT_EQUAL(parse("-o", "64K", NULL, NULL), -1);
	CU_ASSERT_TRUE(opts.num_sizes == 1 && opts.bytes == 65536 && opts.grain == 65536);
	CU_ASSERT_EQUAL(parse("-o", "4k:70,64k:30", NULL, NULL), -1);
	CU_ASSERT_EQUAL(opts.num_sizes, 2);
	CU_ASSERT_TRUE(opts.size[0].bytes == 4096 && opts.size[0].share == 70);
	CU_ASSERT_TRUE(opts.size[1].bytes == 65536 && opts.size[1].share == 30);
	CU_ASSERT_TRUE(opts.bytes == 65536 && opts.grain == 4096);
	CU_ASSERT_EQUAL(parse("-o", "12K:1,20K:1,8K:5", NULL, NULL), -1);
	CU_ASSERT_TRUE(opts.bytes == 20480 && opts.grain == 4096 && opts.num_sizes == 3);
}

#define FOUR_SIZES "4k:1,4k:1,4k:1,4k:1,"

static void sizes_that_cannot_be(void)
{
	static const char *const bad[] = {
		"",	   "4k,64k",  "4k:70,64k",	 "4k:0",   "4k:x,8k:1",
		"4k:70,",  "4k:1:2",  "100:1,4k:1",	 "4k:1,,", "128M:1,4k:1",
		"4k,8k:1", ":1,4k:1", "4k:1000001,8k:1",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CU_ASSERT_EQUAL(parse("-o", bad[i], NULL, NULL), 2);
	CU_ASSERT_EQUAL(parse("-o", FOUR_SIZES FOUR_SIZES FOUR_SIZES FOUR_SIZES "4k:1", NULL, NULL),
			2);
}

static void workloads_in_turn(void)
{
	CU_ASSERT_EQUAL(parse("-w", "randread,write", "-P", "2"), -1);
	CU_ASSERT_EQUAL(opts.num_loads, 2);
	CU_ASSERT_TRUE(opts.load[0].random && opts.load[0].read_percent == 100);
	CU_ASSERT_TRUE(!opts.load[1].random && opts.load[1].read_percent == 0);
	CU_ASSERT_TRUE(perf_writes(&opts));
	CU_ASSERT_EQUAL(parse("-w", "read,rw", "-P", "5"), -1);
	CU_ASSERT_EQUAL(opts.load[1].read_percent, 50);
	/* more workloads than queues, no workload */
	CU_ASSERT_EQUAL(parse("-w", "read,write", NULL, NULL), 2);
	CU_ASSERT_EQUAL(parse("-w", "read,", "-P", "2"), 2);
	CU_ASSERT_EQUAL(parse("-w", "", NULL, NULL), 2);
}

static void what_goes_with_what(void)
{
	CU_ASSERT_EQUAL(parse("-M", "30", "-w", "rw"), -1);
	CU_ASSERT_EQUAL(opts.load[0].read_percent, 30);
	CU_ASSERT_EQUAL(parse("-M", "30", "-w", "read"), 2);
	CU_ASSERT_EQUAL(parse("--zipf", "0.99", "-w", "randwrite"), -1);
	CU_ASSERT_TRUE(opts.zipf > 0.98 && opts.zipf < 1);
	CU_ASSERT_EQUAL(parse("--zipf", "0.99", "-w", "read"), 2);
	CU_ASSERT_EQUAL(parse("--latency", "off", "--histogram", NULL), 2);
	CU_ASSERT_EQUAL(parse("--latency", "cheap", "--histogram", NULL), -1);
	CU_ASSERT_EQUAL(opts.latency, PERF_LATENCY_CHEAP);
}

BH_SUITE("perf_options", { "without_options", without_options },
	 { "sizes_with_shares", sizes_with_shares },
	 { "sizes_that_cannot_be", sizes_that_cannot_be },
	 { "workloads_in_turn", workloads_in_turn },
	 { "what_goes_with_what", what_goes_with_what }, )

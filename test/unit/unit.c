/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The main of every unit test program.
 *
 * Each case is run as a CUnit run of its own, so that the suite's setup and teardown surround every
 * case and its failures can be printed under its name. The name is printed before the case starts:
 * after a crash, the last line tells which one it was. The summary is the very last line; a program
 * that ends without it (exit, crash, deadline) counts as failed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <CUnit/TestRun.h>

#include "unit.h"

enum { MAX_FAILURES_SHOWN = 10 };

struct tally {
	unsigned passed, failed, skipped;
};

static const char *skip_reason;

void unit_note_skip(const char *reason)
{
	skip_reason = reason;
}

#define HUGEPAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define NR_HUGEPAGES HUGEPAGES "nr_hugepages"

/* Reads a number, after writing it if set >= 0. -1: cannot. */
static long number(const char *path, long set)
{
	FILE *f = fopen(path, set >= 0 ? "w" : "r");
	long n = set;

	if (!f)
		return -1;
	if (set >= 0 ? fprintf(f, "%ld\n", set) <= 0 : fscanf(f, "%ld", &n) != 1)
		n = -1;
	if (fclose(f) != 0)
		n = -1;
	return n;
}

long unit_hugepages_reserve(long pages)
{
	long had = number(NR_HUGEPAGES, -1);

	if (had < 0 || number(NR_HUGEPAGES, had + pages) < 0)
		return -1;
	if (number(NR_HUGEPAGES, -1) == had + pages)
		return had;
	number(NR_HUGEPAGES, had);
	return -1;
}

void unit_hugepages_restore(long had)
{
	if (had >= 0)
		number(NR_HUGEPAGES, had);
}

long unit_hugepages_free(void)
{
	return number(HUGEPAGES "free_hugepages", -1);
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void print_failures(const char *name)
{
	unsigned shown = 0;

	for (CU_pFailureRecord f = CU_get_failure_list(); f; f = f->pNext) {
		if (shown++ == MAX_FAILURES_SHOWN) {
			printf("FAIL %s: and more\n", name);
			break;
		}
		printf("FAIL %s: %s:%u: %s\n", name, f->strFileName ? f->strFileName : "?",
		       f->uiLineNumber, f->strCondition ? f->strCondition : "?");
	}
}

static void run_case(CU_pSuite suite, CU_pTest test, struct tally *tally)
{
	const char *name = test->pName;
	double start = now_ms();
	CU_ErrorCode rc;

	skip_reason = NULL;
	printf("case %s ", name);
	fflush(stdout);
	rc = CU_run_test(suite, test);
	if (rc != CUE_SUCCESS || CU_get_number_of_failures() > 0 ||
	    CU_get_number_of_suites_failed() > 0) {
		printf("failed\n");
		print_failures(name);
		if (!CU_get_failure_list())
			printf("FAIL %s: %s\n", name, CU_get_error_msg());
		tally->failed++;
	} else if (skip_reason) {
		printf("skipped\nSKIP %s: %s\n", name, skip_reason);
		tally->skipped++;
	} else {
		printf("ok %.1f ms\n", now_ms() - start);
		tally->passed++;
	}
	fflush(stdout);
}

static const struct unit_case *find_case(const struct unit_suite *suite, const char *name)
{
	for (size_t i = 0; i < suite->count; i++) {
		if (strcmp(suite->cases[i].name, name) == 0)
			return &suite->cases[i];
	}
	return NULL;
}

static int list_cases(const struct unit_suite *suite)
{
	for (size_t i = 0; i < suite->count; i++)
		printf("%s\n", suite->cases[i].name);
	return 0;
}

static int run_suite(const struct unit_suite *suite, int argc, char **argv, struct tally *tally)
{
	CU_pSuite cu = CU_add_suite(suite->name, suite->setup, suite->teardown);

	if (!cu)
		return -1;
	for (size_t i = 0; i < suite->count; i++) {
		const struct unit_case *c = &suite->cases[i];
		CU_pTest test = CU_add_test(cu, c->name, c->fn);
		int named = argc < 2;

		if (!test)
			return -1;
		for (int a = 1; a < argc; a++)
			named |= strcmp(argv[a], c->name) == 0;
		if (named)
			run_case(cu, test, tally);
	}
	return 0;
}

int unit_main(const struct unit_suite *suite, int argc, char **argv)
{
	struct tally tally = { 0, 0, 0 };
	int rc;

	if (argc == 2 && strcmp(argv[1], "--list") == 0)
		return list_cases(suite);
	for (int a = 1; a < argc; a++) {
		if (!find_case(suite, argv[a])) {
			fprintf(stderr, "%s: no case %s; --list names them\n", argv[0], argv[a]);
			return 2;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (CU_initialize_registry() != CUE_SUCCESS) {
		fprintf(stderr, "%s: %s\n", argv[0], CU_get_error_msg());
		return 1;
	}
	rc = run_suite(suite, argc, argv, &tally);
	if (rc < 0)
		fprintf(stderr, "%s: %s\n", argv[0], CU_get_error_msg());
	CU_cleanup_registry();
	printf("UNIT passed=%u failed=%u skipped=%u\n", tally.passed, tally.failed, tally.skipped);
	return rc < 0 || tally.failed > 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a unit test program needs beside its cases: a main that runs them under CUnit and ends with
 * the line scripts/run-tests counts, "UNIT passed=N failed=N skipped=N".
 *
 *	static void map_overlap_is_eexist(void)
 *	{
 *		CU_ASSERT_EQUAL(...);
 *	}
 *
 *	BH_SUITE("range",
 *		{ "map_overlap_is_eexist", map_overlap_is_eexist },
 *	)
 *
 * The program runs all cases, or those named on its command line; --list names them.
 * A case that cannot run here says unit_skip("reason"), which leaves the case function.
 */
#ifndef TEST_UNIT_UNIT_H
#define TEST_UNIT_UNIT_H

#include <stddef.h>

#include <CUnit/CUnit.h>

struct unit_case {
	const char *name;
	void (*fn)(void);
};

struct unit_suite {
	const char *name;
	const struct unit_case *cases;
	size_t count;
	int (*setup)(void);    /* before each case, nonzero fails it; may be NULL */
	int (*teardown)(void); /* after each case; may be NULL */
};

int unit_main(const struct unit_suite *suite, int argc, char **argv);
void unit_note_skip(const char *reason);

/*
 * Reserves so many more hugepages of 2 MiB for the time of a case. What there were before, to be
 * given to unit_hugepages_restore(); -1: not possible here (not root, no such pages, memory too
 * fragmented).
 */
long unit_hugepages_reserve(long pages);
void unit_hugepages_restore(long had);
long unit_hugepages_free(void);

#define unit_skip(reason)               \
	do {                            \
		unit_note_skip(reason); \
		return;                 \
	} while (0)

#define BH_SUITE_FIXTURE(suite_name, setup_fn, teardown_fn, ...)                           \
	int main(int argc, char **argv)                                                    \
	{                                                                                  \
		static const struct unit_case cases[] = { __VA_ARGS__ };                   \
		static const struct unit_suite suite = { suite_name, cases,                \
							 sizeof(cases) / sizeof(cases[0]), \
							 setup_fn, teardown_fn };          \
		return unit_main(&suite, argc, argv);                                      \
	}

#define BH_SUITE(suite_name, ...) BH_SUITE_FIXTURE(suite_name, NULL, NULL, __VA_ARGS__)

#endif /* TEST_UNIT_UNIT_H */

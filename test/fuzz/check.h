/* SPDX-License-Identifier: BSD-3-Clause */
/* What must hold for every input: where it does not, the fuzzer keeps the input. */
#ifndef TEST_FUZZ_CHECK_H
#define TEST_FUZZ_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define FZ_CHECK(condition)                                                           \
	do {                                                                          \
		if (!(condition)) {                                                   \
			fprintf(stderr, "fuzz: line %d: %s\n", __LINE__, #condition); \
			abort();                                                      \
		}                                                                     \
	} while (0)

#endif

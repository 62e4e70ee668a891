/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parsers for what users type: sizes, numbers, CPU lists. The whole string must be the value.
 *
 * Component: lib/base
 */
#ifndef BELLHOP_PARSE_H
#define BELLHOP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BH_CPU_MAX 1024

struct bh_cpuset {
	uint64_t bits[BH_CPU_MAX / 64];
};

/*
 * Digits with an optional K, M, G or T (either case; powers of 1024).
 * -EINVAL: not that; -ERANGE: over 2^64 - 1.
 */
int bh_parse_size(const char *text, uint64_t *value);

/* Decimal, or hexadecimal with 0x, within [min, max]. -EINVAL: not a number; -ERANGE: outside. */
int bh_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value);

/*
 * Seconds, "3" or "0.25", as nanoseconds. -EINVAL: not that, or more than nine places; -ERANGE: over
 * 2^64 - 1 ns.
 */
int bh_parse_seconds(const char *text, uint64_t *ns);

/*
 * A list "0,2-3" (items separated by `sep`, ',' or '+') or a mask "0x...". -EINVAL: neither;
 * -ERANGE: a CPU at or above BH_CPU_MAX, or a range that runs backwards; an empty set is -EINVAL.
 */
int bh_parse_cpus(const char *text, char sep, struct bh_cpuset *cpus);

/* Formats as a list "0,2-3"; always terminated, truncated if it must be. */
void bh_format_cpus(const struct bh_cpuset *cpus, char *text, size_t len);

/* "1.5 GiB": for people. Always terminated. */
void bh_format_size(uint64_t bytes, char *text, size_t len);

void bh_cpuset_zero(struct bh_cpuset *cpus);
void bh_cpuset_add(struct bh_cpuset *cpus, unsigned int cpu); /* ignores cpu >= BH_CPU_MAX */
bool bh_cpuset_has(const struct bh_cpuset *cpus, unsigned int cpu);
unsigned int bh_cpuset_count(const struct bh_cpuset *cpus);
int bh_cpuset_first(const struct bh_cpuset *cpus);	     /* -1 when empty */
int bh_cpuset_next(const struct bh_cpuset *cpus, int after); /* -1 at the end */
int bh_cpuset_last(const struct bh_cpuset *cpus);	     /* -1 when empty */

/* The CPUs the calling thread may run on. 0 or -errno. */
int bh_cpuset_allowed(struct bh_cpuset *cpus);

#ifdef __cplusplus
}
#endif
#endif

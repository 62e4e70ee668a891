/* SPDX-License-Identifier: BSD-3-Clause */
#include <bellhop/parse.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { WORD_BITS = 64, WORDS = BH_CPU_MAX / WORD_BITS };

void bh_cpuset_zero(struct bh_cpuset *cpus)
{
	memset(cpus, 0, sizeof(*cpus));
}

void bh_cpuset_add(struct bh_cpuset *cpus, unsigned int cpu)
{
	if (cpu < BH_CPU_MAX)
		cpus->bits[cpu / WORD_BITS] |= (uint64_t)1 << cpu % WORD_BITS;
}

bool bh_cpuset_has(const struct bh_cpuset *cpus, unsigned int cpu)
{
	return cpu < BH_CPU_MAX && (cpus->bits[cpu / WORD_BITS] >> cpu % WORD_BITS & 1);
}

unsigned int bh_cpuset_count(const struct bh_cpuset *cpus)
{
	unsigned int count = 0;

	for (int i = 0; i < WORDS; i++)
		count += (unsigned int)__builtin_popcountll(cpus->bits[i]);
	return count;
}

int bh_cpuset_next(const struct bh_cpuset *cpus, int after)
{
	for (unsigned int cpu = after < 0 ? 0 : (unsigned int)after + 1; cpu < BH_CPU_MAX; cpu++) {
		uint64_t rest = cpus->bits[cpu / WORD_BITS] >> cpu % WORD_BITS;

		if (rest & 1)
			return (int)cpu;
		if (rest == 0)
			cpu |= WORD_BITS - 1;
	}
	return -1;
}

int bh_cpuset_first(const struct bh_cpuset *cpus)
{
	return bh_cpuset_next(cpus, -1);
}

int bh_cpuset_last(const struct bh_cpuset *cpus)
{
	for (int i = WORDS - 1; i >= 0; i--) {
		if (cpus->bits[i] != 0)
			return i * WORD_BITS + (WORD_BITS - 1 - __builtin_clzll(cpus->bits[i]));
	}
	return -1;
}

int bh_cpuset_allowed(struct bh_cpuset *cpus)
{
	/*
	 * The kernel refuses a mask shorter than its own, which may be longer than glibc's 1024
	 * bits.
	 */
	cpu_set_t mask[8];

	if (sched_getaffinity(0, sizeof(mask), mask) < 0)
		return -errno;
	bh_cpuset_zero(cpus);
	for (unsigned int cpu = 0; cpu < BH_CPU_MAX; cpu++) {
		if (CPU_ISSET_S(cpu, sizeof(mask), mask))
			bh_cpuset_add(cpus, cpu);
	}
	return 0;
}

static int run_end(const struct bh_cpuset *cpus, int first)
{
	while (bh_cpuset_has(cpus, (unsigned int)first + 1))
		first++;
	return first;
}

void bh_format_cpus(const struct bh_cpuset *cpus, char *text, size_t len)
{
	char item[32];
	size_t used = 0;

	if (len == 0)
		return;
	text[0] = '\0';
	for (int cpu = bh_cpuset_first(cpus), end; cpu >= 0; cpu = bh_cpuset_next(cpus, end)) {
		int n;

		end = run_end(cpus, cpu);
		if (end == cpu)
			n = snprintf(item, sizeof(item), "%s%d", used ? "," : "", cpu);
		else
			n = snprintf(item, sizeof(item), "%s%d-%d", used ? "," : "", cpu, end);
		if (n < 0 || (size_t)n >= len - used)
			return;
		memcpy(text + used, item, (size_t)n + 1);
		used += (size_t)n;
	}
}

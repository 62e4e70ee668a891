/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * strtoull does the arithmetic and the overflow check; what it is too kind about (blanks, signs, a
 * tail) is refused around it.
 */
#include <bellhop/parse.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digits at *text, which moves past them. */
static int digits_take(const char **text, int base, uint64_t *value)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return -EINVAL;
	errno = 0;
	*value = strtoull(*text, &end, base);
	if (errno == ERANGE)
		return -ERANGE;
	*text = end;
	return 0;
}

static bool text_is_hex(const char *text)
{
	return text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
}

int bh_parse_size(const char *text, uint64_t *value)
{
	static const char units[] = "KMGT";
	unsigned int shift = 0;
	const char *unit;
	uint64_t n;
	int rc = digits_take(&text, 10, &n);

	if (rc < 0)
		return rc;
	if (*text != '\0') {
		unit = strchr(units, toupper((unsigned char)*text));
		if (!unit || text[1] != '\0')
			return -EINVAL;
		shift = 10 * (unsigned int)(unit - units + 1);
	}
	if (n > UINT64_MAX >> shift)
		return -ERANGE;
	*value = n << shift;
	return 0;
}

int bh_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	uint64_t n;
	int rc = digits_take(&text, text_is_hex(text) ? 16 : 10, &n);

	if (rc < 0)
		return rc;
	if (*text != '\0')
		return -EINVAL;
	if (n < min || n > max)
		return -ERANGE;
	*value = n;
	return 0;
}

int bh_parse_seconds(const char *text, uint64_t *ns)
{
	uint64_t whole, part = 0, unit = 1000000000u;
	int rc = digits_take(&text, 10, &whole);

	if (rc < 0)
		return rc;
	if (*text == '.') {
		if (!isdigit((unsigned char)*++text))
			return -EINVAL;
		for (; isdigit((unsigned char)*text) && unit > 1; text++) {
			unit /= 10;
			part += (uint64_t)(*text - '0') * unit;
		}
	}
	if (*text != '\0')
		return -EINVAL;
	if (__builtin_mul_overflow(whole, 1000000000u, &whole) ||
	    __builtin_add_overflow(whole, part, &whole))
		return -ERANGE;
	*ns = whole;
	return 0;
}

static int hex_value(char c)
{
	if (!isxdigit((unsigned char)c))
		return -EINVAL;
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* Any number of digits, so by hand, from the low end. */
static int cpus_parse_mask(const char *digits, struct bh_cpuset *cpus)
{
	size_t len = strlen(digits);
	int rc = len ? 0 : -EINVAL;

	for (size_t i = 0; i < len; i++) {
		int nibble = hex_value(digits[len - 1 - i]);

		if (nibble < 0)
			return nibble;
		for (unsigned int bit = 0; bit < 4; bit++) {
			if (!(nibble >> bit & 1))
				continue;
			if (i >= BH_CPU_MAX / 4)
				rc = -ERANGE; /* unless a later digit is none at all */
			else
				bh_cpuset_add(cpus, (unsigned int)(4 * i) + bit);
		}
	}
	return rc;
}

static int cpus_parse_item(const char **text, struct bh_cpuset *cpus)
{
	uint64_t first, last;
	int rc = digits_take(text, 10, &first);

	if (rc < 0)
		return rc;
	last = first;
	if (**text == '-') {
		++*text;
		rc = digits_take(text, 10, &last);
		if (rc < 0)
			return rc;
	}
	if (last >= BH_CPU_MAX || last < first)
		return -ERANGE;
	for (uint64_t cpu = first; cpu <= last; cpu++)
		bh_cpuset_add(cpus, (unsigned int)cpu);
	return 0;
}

static int cpus_parse_list(const char *text, char sep, struct bh_cpuset *cpus)
{
	for (;;) {
		int rc = cpus_parse_item(&text, cpus);

		if (rc < 0)
			return rc;
		if (*text == '\0')
			return 0;
		if (*text++ != sep)
			return -EINVAL;
	}
}

int bh_parse_cpus(const char *text, char sep, struct bh_cpuset *cpus)
{
	struct bh_cpuset found;
	int rc;

	bh_cpuset_zero(&found);
	rc = text_is_hex(text) ? cpus_parse_mask(text + 2, &found)
			       : cpus_parse_list(text, sep, &found);
	if (rc < 0)
		return rc;
	if (bh_cpuset_count(&found) == 0)
		return -EINVAL;
	*cpus = found;
	return 0;
}

void bh_format_size(uint64_t bytes, char *text, size_t len)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	uint64_t whole = bytes, tenths = 0;
	unsigned int unit = 0;

	/* Each step keeps one decimal, rounded from all the bytes below it. */
	while (whole >= 1024) {
		uint64_t size = (uint64_t)1 << (10 * ++unit);
		uint64_t rest = bytes % size;

		whole = bytes / size;
		tenths = (uint64_t)(((unsigned __int128)rest * 10 + size / 2) / size);
		whole += tenths / 10;
		tenths %= 10;
	}
	if (tenths)
		snprintf(text, len, "%llu.%llu %s", (unsigned long long)whole,
			 (unsigned long long)tenths, units[unit]);
	else
		snprintf(text, len, "%llu %s", (unsigned long long)whole, units[unit]);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_NS 1000000ull
#define MOST_NS (86400ull * 7 * 1000000000)

int app_parse_number(struct app *app, const char *option, const char *text, uint64_t min,
		     uint64_t max, uint64_t *out)
{
	if (bh_parse_u64(text, min, max, out) != 0)
		return app_usage(app, "%s %s: expected a number from %llu to %llu", option, text,
				 (unsigned long long)min, (unsigned long long)max);
	return -1;
}

int app_parse_uint(struct app *app, const char *option, const char *text, unsigned int min,
		   unsigned int max, unsigned int *out)
{
	uint64_t value = *out;
	int code = app_parse_number(app, option, text, min, max, &value);

	*out = (unsigned int)value;
	return code;
}

int app_parse_seconds(struct app *app, const char *option, const char *text, uint64_t *ns)
{
	uint64_t value = 0;

	if (bh_parse_seconds(text, &value) != 0 || value < LEAST_NS || value > MOST_NS)
		return app_usage(app, "%s %s: expected seconds from 0.001 to %llu", option, text,
				 MOST_NS / 1000000000);
	*ns = value;
	return -1;
}

int app_parse_real(struct app *app, const char *option, const char *text, const char *what,
		   double min, double max, double *out)
{
	char *end = NULL;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !isfinite(value) || value < min || value > max)
		return app_usage(app, "%s %s: expected %s from %.7g to %.7g", option, text, what,
				 min, max);
	*out = value;
	return -1;
}

int app_parse_word(struct app *app, const char *option, const char *text, const char *const *words,
		   unsigned int n, unsigned int *which)
{
	char list[256];
	size_t used = 0;

	for (unsigned int i = 0; i < n; i++) {
		if (strcmp(words[i], text) == 0) {
			*which = i;
			return -1;
		}
	}
	for (unsigned int i = 0; i < n && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
					 i == 0	      ? ""
					 : i + 1 == n ? " or "
						      : ", ",
					 words[i]);
	return app_usage(app, "%s %s: expected %s", option, text, list);
}

int app_parse_cpus(struct app *app, const char *option, const char *text, struct bh_cpuset *cpus)
{
	if (bh_parse_cpus(text, ',', cpus) != 0)
		return app_usage(app, "%s %s: expected CPUs such as 0,2-3 or 0x5", option, text);
	return -1;
}

int app_check_addresses(struct app *app, char *const *addresses, unsigned int n, unsigned int most)
{
	if (n == 0)
		return app_usage(app, "no ADDRESS: expected a socket's path or a PCI address");
	if (n > most)
		return app_usage(app, "%u addresses: at most %u", n, most);
	for (unsigned int i = 0; i < n; i++) {
		struct bh_address address;
		const char *why = NULL;

		if (bh_address_parse(addresses[i], &address, &why) != 0)
			return app_usage(app, "address '%s': %s", addresses[i], why);
		for (unsigned int j = 0; j < i; j++)
			if (strcmp(addresses[i], addresses[j]) == 0)
				return app_usage(app, "address '%s' is there twice", addresses[i]);
	}
	return -1;
}

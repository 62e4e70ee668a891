/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app_json.h"

json_t *app_json_text(const char *text)
{
	json_t *json = json_string(text);

	if (json)
		return json;
	char *ascii = strdup(text);
	if (!ascii)
		return NULL;
	for (char *c = ascii; *c != '\0'; c++) {
		if ((unsigned char)*c > 0x7e)
			*c = '?';
	}
	json = json_string(ascii);
	free(ascii);
	return json;
}

void app_json_count(json_t *to, const char *key, uint64_t value)
{
	json_object_set_new(to, key, json_integer((json_int_t)value));
}

double app_average(const struct bh_histogram *h)
{
	return h->count ? (double)h->sum / (double)h->count : 0;
}

json_t *app_json_latency(const struct bh_histogram *h)
{
	json_t *lat = json_object();

	app_json_count(lat, "min", h->count ? h->min : 0);
	json_object_set_new(lat, "avg", json_real(app_average(h)));
	app_json_count(lat, "p50", bh_histogram_percentile(h, 50000));
	app_json_count(lat, "p90", bh_histogram_percentile(h, 90000));
	app_json_count(lat, "p99", bh_histogram_percentile(h, 99000));
	app_json_count(lat, "p99_9", bh_histogram_percentile(h, 99900));
	app_json_count(lat, "max", h->max);
	return lat;
}

void app_json_print(json_t *root)
{
	json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
	putchar('\n');
	json_decref(root);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What the programs with --json share. */
#ifndef APP_APP_JSON_H
#define APP_APP_JSON_H

#include <jansson.h>

#include <bellhop/histogram.h>

/* A string of any bytes: JSON is UTF-8, a path need not be; if it is not, its bytes beyond ASCII
 * become '?'. */
json_t *app_json_text(const char *text);
void app_json_count(json_t *to, const char *key, uint64_t value);
/* { min, avg, p50, p90, p99, p99_9, max }, in the histogram's unit. */
json_t *app_json_latency(const struct bh_histogram *h);
/* One line on stdout; root is let go of. */
void app_json_print(json_t *root);

/* 0 if it is empty. */
double app_average(const struct bh_histogram *h);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* What was measured: a table for people, a picture of latencies, or one JSON object
 * (doc/json/bh-perf.json). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "app_json.h"
#include "perf.h"

struct summary {
	double iops, mib_s, avg;
	uint64_t ios, errors;
	unsigned int queues, cmb_queues;
	struct bh_histogram latency;
};

static double lane_seconds(const struct perf *perf, const struct perf_lane *lane)
{
	for (unsigned int i = 0; i < perf->num_workers; i++) {
		if (perf->workers[i].cpu == lane->cpu)
			return (double)perf->workers[i].elapsed_ns / 1e9;
	}
	return 0;
}

static void add(const struct perf *perf, struct summary *sum, const struct perf_lane *lane)
{
	double seconds = lane_seconds(perf, lane);
	double iops = seconds > 0 ? (double)lane->counted / seconds : 0;

	sum->iops += iops;
	sum->mib_s += iops * perf->opts->bytes / (1 << 20);
	sum->ios += lane->ios;
	sum->errors += lane->errors;
	sum->queues++;
	sum->cmb_queues += bh_nvme_queue_in_cmb(lane->q);
	bh_histogram_merge(&sum->latency, &lane->latency);
	sum->avg = sum->latency.count ? (double)sum->latency.sum / (double)sum->latency.count : 0;
}

/* Lanes of one device, namespace and core are neighbours: -P of them make one row. */
static unsigned int sum_row(const struct perf *perf, unsigned int first, struct summary *sum)
{
	const struct perf_lane *head = &perf->lanes[first];
	unsigned int i = first;

	memset(sum, 0, sizeof(*sum));
	bh_histogram_init(&sum->latency);
	while (i < perf->num_lanes && perf->lanes[i].device == head->device &&
	       perf->lanes[i].ns == head->ns && perf->lanes[i].cpu == head->cpu)
		add(perf, sum, &perf->lanes[i++]);
	return i;
}

static void sum_total(const struct perf *perf, struct summary *sum)
{
	memset(sum, 0, sizeof(*sum));
	bh_histogram_init(&sum->latency);
	for (unsigned int i = 0; i < perf->num_lanes; i++)
		add(perf, sum, &perf->lanes[i]);
}

/* ---- JSON ---- */

static void json_summary(json_t *to, const struct summary *sum)
{
	const struct bh_histogram *h = &sum->latency;
	json_t *lat = json_object();

	json_object_set_new(lat, "min", json_integer(h->count ? (json_int_t)h->min : 0));
	json_object_set_new(lat, "avg", json_real(sum->avg));
	json_object_set_new(lat, "p50",
			    json_integer((json_int_t)bh_histogram_percentile(h, 50000)));
	json_object_set_new(lat, "p90",
			    json_integer((json_int_t)bh_histogram_percentile(h, 90000)));
	json_object_set_new(lat, "p99",
			    json_integer((json_int_t)bh_histogram_percentile(h, 99000)));
	json_object_set_new(lat, "p99_9",
			    json_integer((json_int_t)bh_histogram_percentile(h, 99900)));
	json_object_set_new(lat, "max", json_integer((json_int_t)h->max));
	json_object_set_new(to, "iops", json_real(sum->iops));
	json_object_set_new(to, "mib_s", json_real(sum->mib_s));
	json_object_set_new(to, "lat_ns", lat);
	json_object_set_new(to, "ios", json_integer((json_int_t)sum->ios));
	json_object_set_new(to, "errors", json_integer((json_int_t)sum->errors));
}

static void report_json(const struct perf *perf, struct summary *sum)
{
	json_t *root = json_object(), *total = json_object(), *devices = json_array();

	sum_total(perf, sum);
	json_summary(total, sum);
	for (unsigned int i = 0; i < perf->num_lanes;) {
		const struct perf_lane *lane = &perf->lanes[i];
		json_t *row = json_object();

		i = sum_row(perf, i, sum);
		json_object_set_new(row, "address", app_json_text(perf->device[lane->device].text));
		json_object_set_new(row, "nsid", json_integer(bh_nvme_ns_id(lane->ns)));
		json_object_set_new(row, "core", json_integer(lane->cpu));
		json_object_set_new(row, "queues", json_integer(sum->queues));
		json_object_set_new(row, "cmb_queues", json_integer(sum->cmb_queues));
		json_summary(row, sum);
		json_array_append_new(devices, row);
	}
	json_object_set_new(root, "schema", json_integer(1));
	json_object_set_new(root, "total", total);
	json_object_set_new(root, "devices", devices);
	json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
	putchar('\n');
	json_decref(root);
}

/* ---- text ---- */

static void print_row(const char *name, const struct summary *sum)
{
	const struct bh_histogram *h = &sum->latency;

	printf("%-34s %12.0f %10.1f %9.2f %9.2f %9.2f %9.2f %9.2f %8" PRIu64 "\n", name, sum->iops,
	       sum->mib_s, sum->avg / 1000, (double)bh_histogram_percentile(h, 50000) / 1000,
	       (double)bh_histogram_percentile(h, 99000) / 1000,
	       (double)bh_histogram_percentile(h, 99900) / 1000, (double)h->max / 1000,
	       sum->errors);
}

/* One line per power of two with a bar as long as its share. */
static void print_histogram(const struct bh_histogram *h)
{
	uint64_t count[64] = { 0 }, most = 1;

	for (unsigned int i = 0; i < BH_HISTOGRAM_BUCKETS; i++) {
		uint64_t low, high;

		bh_histogram_bucket_bounds(i, &low, &high);
		unsigned int power = low < 2 ? 0 : 63 - (unsigned int)__builtin_clzll(low);
		count[power] += h->bucket[i];
		if (count[power] > most)
			most = count[power];
	}
	printf("\nLatency histogram\n");
	for (unsigned int p = 0; p < 64; p++) {
		int bar = (int)(count[p] * 50 / most);

		if (count[p] == 0)
			continue;
		printf("%9.2f .. %9.2f us %12" PRIu64 " %6.2f%% |%.*s\n",
		       (double)(1ull << p) / 1000, (double)(1ull << p) * 2 / 1000, count[p],
		       100.0 * (double)count[p] / (double)h->count, bar > 0 ? bar : 1,
		       "##################################################");
	}
}

static void report_text(const struct perf *perf, struct summary *sum)
{
	printf("%-34s %12s %10s %9s %9s %9s %9s %9s %8s\n", "device (namespace, core, queues)",
	       "IOPS", "MiB/s", "avg us", "p50 us", "p99 us", "p99.9 us", "max us", "errors");
	for (unsigned int i = 0; i < perf->num_lanes;) {
		const struct perf_lane *lane = &perf->lanes[i];
		char name[160];

		i = sum_row(perf, i, sum);
		snprintf(name, sizeof(name), "%s (%u, %u, %u)", perf->device[lane->device].text,
			 bh_nvme_ns_id(lane->ns), lane->cpu, sum->queues);
		print_row(name, sum);
	}
	sum_total(perf, sum);
	print_row("total", sum);
	if (perf->opts->histogram)
		print_histogram(&sum->latency);
}

void perf_report(const struct perf *perf)
{
	struct summary *sum = calloc(1, sizeof(*sum)); /* a histogram inside: not for the stack */

	if (!sum)
		return;
	if (perf->opts->json)
		report_json(perf, sum);
	else
		report_text(perf, sum);
	for (unsigned int i = 0; i < perf->num_lanes; i++) {
		const struct perf_lane *lane = &perf->lanes[i];
		char text[128];

		if (lane->errors == 0)
			continue;
		bh_nvme_status_fmt(lane->first_error, text, sizeof(text));
		app_fail(perf->app, 0,
			 "%s namespace %u: %" PRIu64 " requests failed, the first with %s",
			 perf->device[lane->device].text, bh_nvme_ns_id(lane->ns), lane->errors,
			 text);
	}
	free(sum);
}

void perf_progress(const struct perf *perf, unsigned int second, uint64_t *last_ios)
{
	const uint64_t whole = perf->opts->warm_ns + perf->opts->run_ns + 999999999;
	uint64_t ios = 0, errors = 0;

	for (unsigned int i = 0; i < perf->num_lanes; i++) {
		ios += __atomic_load_n(&perf->lanes[i].ios, __ATOMIC_RELAXED);
		errors += __atomic_load_n(&perf->lanes[i].errors, __ATOMIC_RELAXED);
	}
	if (ios < *last_ios)
		*last_ios = 0; /* warming up is over */
	printf("\r%4u/%u s %12" PRIu64 " IOPS %10.1f MiB/s %8" PRIu64 " errors", second,
	       (unsigned int)(whole / 1000000000), ios - *last_ios,
	       (double)(ios - *last_ios) * perf->opts->bytes / (1 << 20), errors);
	fflush(stdout);
	*last_ios = ios;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Statistics in the text format of Prometheus: a family of samples for each thing that is counted,
 * at each level at which it is, in seconds and bytes.
 *
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc/metrics.h"

enum {
	THREAD = 1,
	NVME = 2,
	NAMESPACE = 4,
	QUEUE = 8,
	NET = 16,
	PAIR = 32,
};

/* A level is an array of objects, or one in each object of another array. */
static const struct level {
	unsigned int bit;
	const char *prefix;
	const char *array, *inner; /* inner: NULL, or the array in each */
	const char *label, *key;   /* by which an object of the inner one is known */
} levels[] = {
	{ THREAD, "bellhop_thread_", "threads", NULL, "cpu", "cpu" },
	{ NVME, "bellhop_nvme_", "controllers", NULL, NULL, NULL },
	{ NAMESPACE, "bellhop_nvme_namespace_", "controllers", "namespaces", "nsid", "nsid" },
	{ QUEUE, "bellhop_nvme_queue_", "controllers", "queues", "qid", "qid" },
	{ NET, "bellhop_net_", "nets", NULL, NULL, NULL },
	{ PAIR, "bellhop_net_queue_", "nets", "queues", "pair", "index" },
};

static const struct counter {
	unsigned int levels;
	const char *key, *name, *help;
	bool is_ns; /* nanoseconds, to be said in seconds */
} counters[] = {
	{ THREAD, "passes", "passes", "Passes over all that a thread polls.", false },
	{ THREAD, "busy_passes", "busy_passes", "Passes that found work.", false },
	{ THREAD, "messages", "messages", "Messages from other threads.", false },
	{ THREAD, "sleeps", "sleeps", "How often a thread went to sleep.", false },
	{ THREAD, "busy_ns", "busy_seconds", "Time with work in one of eight passes.", true },
	{ THREAD, "asleep_ns", "asleep_seconds", "Time asleep.", true },
	{ THREAD, "cpu_ns", "cpu_seconds", "Time that a thread has run.", true },
	{ NVME | NAMESPACE | QUEUE, "reads", "reads", "Reads completed.", false },
	{ NVME | NAMESPACE | QUEUE, "writes", "writes", "Writes completed.", false },
	{ NVME | NAMESPACE | QUEUE, "others", "others", "Other I/O commands completed.", false },
	{ NVME | NAMESPACE | QUEUE, "errors", "errors", "I/O commands that failed.", false },
	{ NVME | NAMESPACE | QUEUE, "read_bytes", "read_bytes", "Data of reads.", false },
	{ NVME | NAMESPACE | QUEUE, "write_bytes", "write_bytes", "Data of writes.", false },
	{ NAMESPACE, "passed", "passed", "Reads and writes without a copy, of those that waited.",
	  false },
	{ NAMESPACE, "copied", "copied", "Reads and writes by way of a buffer.", false },
	{ NVME, "doorbell_messages", "doorbell_messages", "Doorbells that came as messages.",
	  false },
	{ NET, "notify_messages", "notify_messages", "Notifications that came as messages.",
	  false },
	{ NET | PAIR, "tx_packets", "tx_packets", "Packets sent by the host.", false },
	{ NET | PAIR, "tx_bytes", "tx_bytes", "Bytes sent by the host.", false },
	{ NET | PAIR, "tx_drops", "tx_drops", "Packets of the host that were dropped.", false },
	{ NET | PAIR, "rx_packets", "rx_packets", "Packets received by the host.", false },
	{ NET | PAIR, "rx_bytes", "rx_bytes", "Bytes received by the host.", false },
	{ NET | PAIR, "rx_drops", "rx_drops", "Packets for the host that were dropped.", false },
	{ NVME | QUEUE | NET | PAIR, "interrupts", "interrupts", "Interrupts sent.", false },
	{ NVME | QUEUE | NET | PAIR, "interrupts_suppressed", "interrupts_suppressed",
	  "Interrupts that did not have to be sent.", false },
	{ NVME | NET, "polls", "polls", "Passes over the queues of a controller.", false },
	{ NVME | NET, "empty_polls", "empty_polls", "Passes that found nothing.", false },
};

/* Upper ends of buckets, in nanoseconds; behind them is infinity. */
static const uint64_t bounds[] = {
	100,	    250,	500,	    1000,	 2500,	    5000,      10000,
	25000,	    50000,	100000,	    250000,	 500000,    1000000,   2500000,
	5000000,    10000000,	25000000,   50000000,	 100000000, 250000000, 500000000,
	1000000000, 2500000000, 5000000000, 10000000000,
};
#define BOUNDS (sizeof(bounds) / sizeof(bounds[0]))

typedef void (*sample_fn)(FILE *file, const char *name, const char *labels, const json_t *object,
			  const struct counter *counter);

/* ---- labels ---- */

static void put_escaped(FILE *file, const char *text)
{
	for (; text && *text != '\0'; text++) {
		if (*text == '\n')
			fputs("\\n", file);
		else if (*text == '\\' || *text == '"')
			fprintf(file, "\\%c", *text);
		else
			fputc(*text, file);
	}
}

/* controller="..",nsid="1"; to be freed. NULL: out of memory. */
static char *labels_new(const struct level *level, const json_t *outer, const json_t *object)
{
	char *text = NULL;
	size_t len;
	FILE *file = open_memstream(&text, &len);

	if (!file)
		return NULL;
	if (level->bit != THREAD) {
		fputs("controller=\"", file);
		put_escaped(file, json_string_value(json_object_get(outer, "name")));
		fputc('"', file);
	}
	if (level->key)
		fprintf(file, "%s%s=\"%" JSON_INTEGER_FORMAT "\"", level->bit == THREAD ? "" : ",",
			level->label, json_integer_value(json_object_get(object, level->key)));
	if (fclose(file) == 0)
		return text;
	free(text);
	return NULL;
}

/* ---- samples ---- */

static void put_seconds(FILE *file, uint64_t ns)
{
	fprintf(file, "%" PRIu64 ".%09" PRIu64, ns / 1000000000, ns % 1000000000);
}

static void put_counter(FILE *file, const char *name, const char *labels, const json_t *object,
			const struct counter *counter)
{
	uint64_t value = (uint64_t)json_integer_value(json_object_get(object, counter->key));

	fprintf(file, "%s_total{%s} ", name, labels);
	if (counter->is_ns)
		put_seconds(file, value);
	else
		fprintf(file, "%" PRIu64, value);
	fputc('\n', file);
}

static void put_histogram(FILE *file, const char *name, const char *labels, const json_t *object,
			  const struct counter *counter)
{
	const json_t *lat = json_object_get(object, "lat_ns");
	const json_t *buckets = json_object_get(lat, "buckets");
	uint64_t count = (uint64_t)json_integer_value(json_object_get(lat, "count")), below = 0;
	size_t at = 0, size = json_array_size(buckets);

	(void)counter;
	for (size_t i = 0; i < BOUNDS; i++) {
		for (; at < size; at++) {
			const json_t *one = json_array_get(buckets, at);

			if ((uint64_t)json_integer_value(json_array_get(one, 0)) > bounds[i])
				break;
			below += (uint64_t)json_integer_value(json_array_get(one, 1));
		}
		fprintf(file, "%s_bucket{%s,le=\"", name, labels);
		put_seconds(file, bounds[i]);
		fprintf(file, "\"} %" PRIu64 "\n", below);
	}
	fprintf(file, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n%s_sum{%s} ", name, labels, count,
		name, labels);
	put_seconds(file, (uint64_t)json_integer_value(json_object_get(lat, "sum")));
	fprintf(file, "\n%s_count{%s} %" PRIu64 "\n", name, labels, count);
}

/* ---- families ---- */

/* A sample of each object of a level. */
static bool put_samples(FILE *file, const char *name, const json_t *stats,
			const struct level *level, sample_fn fn, const struct counter *counter)
{
	const json_t *outers = json_object_get(stats, level->array), *outer;
	size_t i, k;

	json_array_foreach(outers, i, outer)
	{
		const json_t *inners = level->inner ? json_object_get(outer, level->inner) : NULL;
		size_t n = level->inner ? json_array_size(inners) : 1;

		for (k = 0; k < n; k++) {
			const json_t *one = level->inner ? json_array_get(inners, k) : outer;
			char *labels = labels_new(level, outer, one);

			if (!labels)
				return false;
			fn(file, name, labels, one, counter);
			free(labels);
		}
	}
	return true;
}

static bool put_counters(FILE *file, const json_t *stats, const struct level *level)
{
	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		const struct counter *counter = &counters[i];
		char name[96];

		if (!(counter->levels & level->bit))
			continue;
		snprintf(name, sizeof(name), "%s%s", level->prefix, counter->name);
		fprintf(file, "# HELP %s_total %s\n# TYPE %s_total counter\n", name, counter->help,
			name);
		if (!put_samples(file, name, stats, level, put_counter, counter))
			return false;
	}
	return true;
}

/* Not of queues: there may be hundreds, and a histogram is 28 samples. */
static bool put_latencies(FILE *file, const json_t *stats, const struct level *level)
{
	char name[96];

	if (!(level->bit & (NVME | NAMESPACE | NET)))
		return true;
	snprintf(name, sizeof(name), "%slatency_seconds", level->prefix);
	fprintf(file, "# HELP %s Time in the target.\n# TYPE %s histogram\n", name, name);
	return put_samples(file, name, stats, level, put_histogram, NULL);
}

bool metrics_text(const json_t *stats, char **out, size_t *len)
{
	FILE *file = open_memstream(out, len);
	bool is_well = true;

	if (!file)
		return false;
	fputs("# HELP bellhop_build_info Which version this is.\n"
	      "# TYPE bellhop_build_info gauge\n"
	      "bellhop_build_info{version=\"" BH_VERSION "\"} 1\n",
	      file);
	for (size_t i = 0; is_well && i < sizeof(levels) / sizeof(levels[0]); i++)
		is_well = put_counters(file, stats, &levels[i]) &&
			  put_latencies(file, stats, &levels[i]);
	return fclose(file) == 0 && is_well;
}

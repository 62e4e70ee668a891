/* SPDX-License-Identifier: BSD-3-Clause */
/* What was measured: a table for people, a picture of latencies, or one JSON object
 * (doc/json/bh-perf.json). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app_json.h"
#include "perf.h"
#include "perf_io.h"
#include "perf_verify.h"

struct summary {
	double iops, mib_s;
	uint64_t ios, errors, behind, verified, differing;
	unsigned int queues, cmb_queues;
	struct perf_polls polls;
	struct bh_histogram latency;
};

/* ---- adding up ---- */

static double lane_seconds(const struct perf_lane *lane)
{
	return (double)lane->worker->used.wall_ns / 1e9;
}

static void add(const struct perf *perf, struct summary *sum, const struct perf_lane *lane)
{
	double seconds = lane_seconds(lane);

	if (seconds > 0) {
		sum->iops += (double)lane->counted / seconds;
		sum->mib_s += (double)lane->counted_blocks * lane->data_bytes / seconds / (1 << 20);
	}
	sum->ios += lane->ios;
	sum->errors += lane->errors;
	sum->behind += lane->behind;
	if (lane->verify) {
		sum->verified += lane->verify->verified;
		sum->differing += lane->verify->differing;
	}
	sum->queues++;
	sum->cmb_queues += bh_nvme_queue_in_cmb(lane->q);
	sum->polls.count += lane->polls.count;
	sum->polls.empty += lane->polls.empty;
	sum->polls.completions += lane->polls.completions;
	bh_histogram_merge(&sum->latency, &lane->latency);
	perf_coarse_merge(&sum->latency, &lane->coarse, &perf->clock);
}

static const char *load_name(const struct perf *perf, const struct perf_lane *lane)
{
	return perf->opts->load[lane->load].name;
}

/* One device, namespace, core and workload: so many queues of them make one row. */
static bool one_row(const struct perf *perf, const struct perf_lane *a, const struct perf_lane *b)
{
	return a->device == b->device && a->ns == b->ns && a->worker == b->worker &&
	       strcmp(load_name(perf, a), load_name(perf, b)) == 0;
}

/* The first of a row of its own. */
static bool begins_row(const struct perf *perf, unsigned int i)
{
	for (unsigned int j = 0; j < i; j++)
		if (one_row(perf, &perf->lanes[j], &perf->lanes[i]))
			return false;
	return true;
}

/* The row of this lane; without one, everything. */
static void sum_up(const struct perf *perf, const struct perf_lane *first, struct summary *sum)
{
	memset(sum, 0, sizeof(*sum));
	bh_histogram_init(&sum->latency);
	for (unsigned int i = 0; i < perf->num_lanes; i++)
		if (!first || one_row(perf, first, &perf->lanes[i]))
			add(perf, sum, &perf->lanes[i]);
}

/* Results per poll that brought any. */
static double mean_batch(const struct perf_polls *p)
{
	return p->count > p->empty ? (double)p->completions / (double)(p->count - p->empty) : 0;
}

static double share(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

/* A core's requests until time was up. */
static uint64_t worker_ios(const struct perf_worker *worker)
{
	uint64_t ios = 0;

	for (const struct perf_lane *l = worker->lanes; l; l = l->next_of_worker)
		ios += l->counted;
	return ios;
}

static double ns_per_io(const struct perf_worker *worker)
{
	uint64_t ios = worker_ios(worker);

	return ios ? (double)(worker->used.user_ns + worker->used.system_ns) / (double)ios : 0;
}

/* ---- JSON ---- */

static json_t *json_polls(const struct perf_polls *polls)
{
	json_t *to = json_object();

	app_json_count(to, "count", polls->count);
	app_json_count(to, "empty", polls->empty);
	json_object_set_new(to, "batch", json_real(mean_batch(polls)));
	return to;
}

static void json_summary(const struct perf *perf, json_t *to, const struct summary *sum)
{
	bool timed = perf->opts->latency != PERF_LATENCY_OFF;

	json_object_set_new(to, "iops", json_real(sum->iops));
	json_object_set_new(to, "mib_s", json_real(sum->mib_s));
	json_object_set_new(to, "lat_ns", timed ? app_json_latency(&sum->latency) : json_null());
	app_json_count(to, "ios", sum->ios);
	app_json_count(to, "errors", sum->errors);
	app_json_count(to, "behind", sum->behind);
	app_json_count(to, "verified", sum->verified);
	app_json_count(to, "differing", sum->differing);
	json_object_set_new(to, "polls", json_polls(&sum->polls));
}

static json_t *json_row(const struct perf *perf, const struct perf_lane *lane, struct summary *sum)
{
	json_t *row = json_object();

	sum_up(perf, lane, sum);
	json_object_set_new(row, "address", app_json_text(perf->device[lane->device].text));
	app_json_count(row, "nsid", bh_nvme_ns_id(lane->ns));
	app_json_count(row, "core", lane->worker->base.cpu);
	json_object_set_new(row, "workload", json_string(load_name(perf, lane)));
	app_json_count(row, "queues", sum->queues);
	app_json_count(row, "cmb_queues", sum->cmb_queues);
	json_summary(perf, row, sum);
	return row;
}

static json_t *json_core(const struct perf_worker *worker)
{
	json_t *core = json_object();

	app_json_count(core, "core", worker->base.cpu);
	json_object_set_new(core, "user_pct",
			    json_real(share(worker->used.user_ns, worker->used.wall_ns)));
	json_object_set_new(core, "system_pct",
			    json_real(share(worker->used.system_ns, worker->used.wall_ns)));
	app_json_count(core, "preempted", worker->used.preempted);
	json_object_set_new(core, "ns_per_io", json_real(ns_per_io(worker)));
	return core;
}

static void report_json(const struct perf *perf, struct summary *sum)
{
	json_t *root = json_object(), *total = json_object(), *devices = json_array(),
	       *cores = json_array();

	sum_up(perf, NULL, sum);
	json_summary(perf, total, sum);
	json_object_set_new(root, "schema", json_integer(1));
	json_object_set_new(root, "latency", json_string(perf_latency_str(perf->opts->latency)));
	json_object_set_new(root, "total", total);
	json_object_set_new(root, "devices", devices);
	json_object_set_new(root, "cores", cores);
	for (unsigned int i = 0; i < perf->num_lanes; i++)
		if (begins_row(perf, i))
			json_array_append_new(devices, json_row(perf, &perf->lanes[i], sum));
	for (unsigned int i = 0; i < perf->num_workers; i++)
		json_array_append_new(cores, json_core(&perf->workers[i]));
	app_json_print(root);
}

/* ---- text ---- */

static void print_us(const struct perf *perf, double ns)
{
	if (perf->opts->latency == PERF_LATENCY_OFF)
		printf(" %9s", "-");
	else
		printf(" %9.2f", ns / 1000);
}

static void print_row(const struct perf *perf, const char *name, const struct summary *sum)
{
	const struct bh_histogram *h = &sum->latency;

	printf("%-34s %12.0f %10.1f", name, sum->iops, sum->mib_s);
	print_us(perf, app_average(h));
	print_us(perf, (double)bh_histogram_percentile(h, 50000));
	print_us(perf, (double)bh_histogram_percentile(h, 99000));
	print_us(perf, (double)bh_histogram_percentile(h, 99900));
	print_us(perf, (double)h->max);
	printf(" %8" PRIu64 "\n", sum->errors);
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

/* What CPU time went into it. */
static void print_cores(const struct perf *perf)
{
	for (unsigned int i = 0; i < perf->num_workers; i++) {
		const struct perf_worker *w = &perf->workers[i];
		struct perf_polls polls = { 0 };

		for (const struct perf_lane *l = w->lanes; l; l = l->next_of_worker) {
			polls.count += l->polls.count;
			polls.empty += l->polls.empty;
			polls.completions += l->polls.completions;
		}
		printf("core %u: %.1f %% user, %.1f %% system, preempted %" PRIu64
		       " times, %.1f ns per request; %" PRIu64
		       " polls, %.1f %% of them empty, else %.1f requests each\n",
		       w->base.cpu, share(w->used.user_ns, w->used.wall_ns),
		       share(w->used.system_ns, w->used.wall_ns), w->used.preempted, ns_per_io(w),
		       polls.count, share(polls.empty, polls.count), mean_batch(&polls));
	}
}

static void print_rest(const struct perf *perf, const struct summary *sum)
{
	print_cores(perf);
	if (perf->opts->verify)
		printf("verified: %" PRIu64 " blocks, of which %" PRIu64 " differ\n", sum->verified,
		       sum->differing);
	if (sum->behind > sum->ios / 1000)
		printf("behind: %" PRIu64 " requests were due and not sent when time was up: this "
		       "rate was not kept\n",
		       sum->behind);
	if (perf->opts->histogram)
		print_histogram(&sum->latency);
}

static void report_text(const struct perf *perf, struct summary *sum)
{
	printf("%-34s %12s %10s %9s %9s %9s %9s %9s %8s\n", "device (namespace, core, queues)",
	       "IOPS", "MiB/s", "avg us", "p50 us", "p99 us", "p99.9 us", "max us", "errors");
	for (unsigned int i = 0; i < perf->num_lanes; i++) {
		const struct perf_lane *lane = &perf->lanes[i];
		char name[160];

		if (!begins_row(perf, i))
			continue;
		sum_up(perf, lane, sum);
		snprintf(name, sizeof(name), "%s (%u, %u, %u%s%s)", perf->device[lane->device].text,
			 bh_nvme_ns_id(lane->ns), lane->worker->base.cpu, sum->queues,
			 perf->opts->num_loads > 1 ? " " : "",
			 perf->opts->num_loads > 1 ? load_name(perf, lane) : "");
		print_row(perf, name, sum);
	}
	sum_up(perf, NULL, sum);
	print_row(perf, "total", sum);
	print_rest(perf, sum);
}

/* ---- what went wrong ---- */

static void say_errors(const struct perf *perf, const struct perf_lane *lane)
{
	const char *address = perf->device[lane->device].text;
	const struct perf_verify *v = lane->verify;
	char text[128];

	if (lane->errors) {
		bh_nvme_status_fmt(lane->first_error, text, sizeof(text));
		app_fail(perf->app, 0,
			 "%s namespace %u: %" PRIu64 " requests failed, the first with %s", address,
			 bh_nvme_ns_id(lane->ns), lane->errors, text);
	}
	if (v && v->differing)
		app_fail(perf->app, 0,
			 "%s namespace %u: %" PRIu64 " of %" PRIu64
			 " blocks differ, the first at LBA %" PRIu64
			 ", byte %u: %02x instead of %02x: %s",
			 address, bh_nvme_ns_id(lane->ns), v->differing, v->verified, v->first.lba,
			 v->first.byte, v->first.found, v->first.expected, v->first.why);
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
	for (unsigned int i = 0; i < perf->num_lanes; i++)
		say_errors(perf, &perf->lanes[i]);
	free(sum);
}

void perf_progress(struct perf *perf, unsigned int second)
{
	const uint64_t whole = perf->opts->warm_ns + perf->opts->run_ns + 999999999;
	uint64_t ios = 0, bytes = 0, errors = 0;

	for (unsigned int i = 0; i < perf->num_lanes; i++) {
		const struct perf_lane *l = &perf->lanes[i];
		uint64_t n = __atomic_load_n(&l->ios, __ATOMIC_RELAXED);

		ios += n;
		bytes += l->data_bytes *
			 (l->slot_blocks ? __atomic_load_n(&l->blocks_done, __ATOMIC_RELAXED)
					 : n * l->blocks);
		errors += __atomic_load_n(&l->errors, __ATOMIC_RELAXED);
	}
	if (ios < perf->last_ios || bytes < perf->last_bytes)
		perf->last_ios = perf->last_bytes = 0; /* warming up is over */
	printf("\r%4u/%u s %12" PRIu64 " IOPS %10.1f MiB/s %8" PRIu64 " errors", second,
	       (unsigned int)(whole / 1000000000), ios - perf->last_ios,
	       (double)(bytes - perf->last_bytes) / (1 << 20), errors);
	fflush(stdout);
	perf->last_ios = ios;
	perf->last_bytes = bytes;
}

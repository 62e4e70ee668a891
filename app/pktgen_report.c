/* SPDX-License-Identifier: BSD-3-Clause */
/* What was measured: a table for people, or one JSON object (doc/json/bh-pktgen.json). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "app_json.h"
#include "pktgen.h"

struct summary {
	double tx_mpps, rx_mpps, tx_gbps, rx_gbps;
	uint64_t tx, rx, drops, late, doubled, damaged, other, refused;
	unsigned int queues;
	struct bh_histogram latency;
};

static void add(struct summary *sum, const struct pktgen_lane *lane)
{
	double seconds = (double)lane->worker->elapsed_ns / 1e9;

	if (seconds > 0) {
		sum->tx_mpps += (double)lane->counted.tx / seconds / 1e6;
		sum->rx_mpps += (double)lane->counted.rx / seconds / 1e6;
		sum->tx_gbps += (double)lane->counted.tx_bytes * 8 / seconds / 1e9;
		sum->rx_gbps += (double)lane->counted.rx_bytes * 8 / seconds / 1e9;
	}
	sum->tx += lane->counts.tx;
	sum->rx += lane->counts.rx;
	sum->drops += lane->drops;
	sum->late += lane->late;
	sum->doubled += lane->doubled;
	sum->damaged += lane->counts.damaged;
	sum->other += lane->counts.other;
	sum->refused += lane->counts.refused;
	sum->queues++;
	bh_histogram_merge(&sum->latency, &lane->latency);
}

/* All lanes of a device on a CPU; of everything, without a first one. */
static void sum_up(const struct pktgen *gen, const struct pktgen_lane *first, struct summary *sum)
{
	memset(sum, 0, sizeof(*sum));
	bh_histogram_init(&sum->latency);
	for (unsigned int i = 0; i < gen->num_lanes; i++) {
		const struct pktgen_lane *lane = gen->lanes[i];

		if (!first || (lane->device == first->device && lane->worker == first->worker))
			add(sum, lane);
	}
}

/* The first of a row of its own. */
static bool begins_row(const struct pktgen *gen, unsigned int i)
{
	for (unsigned int j = 0; j < i; j++)
		if (gen->lanes[j]->device == gen->lanes[i]->device &&
		    gen->lanes[j]->worker == gen->lanes[i]->worker)
			return false;
	return true;
}

/* ---- JSON ---- */

static void json_summary(json_t *to, const struct summary *sum)
{
	json_object_set_new(to, "tx_mpps", json_real(sum->tx_mpps));
	json_object_set_new(to, "rx_mpps", json_real(sum->rx_mpps));
	json_object_set_new(to, "tx_gbps", json_real(sum->tx_gbps));
	json_object_set_new(to, "rx_gbps", json_real(sum->rx_gbps));
	app_json_count(to, "tx_packets", sum->tx);
	app_json_count(to, "rx_packets", sum->rx);
	app_json_count(to, "drops", sum->drops);
	app_json_count(to, "out_of_order", sum->late);
	app_json_count(to, "duplicates", sum->doubled);
	app_json_count(to, "damaged", sum->damaged);
	app_json_count(to, "other", sum->other);
	app_json_count(to, "refused", sum->refused);
	json_object_set_new(to, "lat_ns", app_json_latency(&sum->latency));
}

static void json_row(const struct pktgen *gen, const struct pktgen_lane *lane, json_t *devices,
		     struct summary *sum)
{
	const struct pktgen_device *d = &gen->device[lane->device];
	json_t *row = json_object();
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", d->mac[0], d->mac[1], d->mac[2],
		 d->mac[3], d->mac[4], d->mac[5]);
	sum_up(gen, lane, sum);
	json_object_set_new(row, "address", app_json_text(d->text));
	json_object_set_new(row, "driver", json_string(bh_net_info(d->net)->driver));
	json_object_set_new(row, "mac", json_string(mac));
	app_json_count(row, "core", lane->worker->base.cpu);
	app_json_count(row, "queues", sum->queues);
	json_summary(row, sum);
	json_array_append_new(devices, row);
}

static void report_json(const struct pktgen *gen, struct summary *sum)
{
	json_t *root = json_object(), *total = json_object(), *devices = json_array();

	sum_up(gen, NULL, sum);
	json_summary(total, sum);
	json_object_set_new(root, "schema", json_integer(1));
	json_object_set_new(root, "mode", json_string(pktgen_mode_str(gen->opts->mode)));
	json_object_set_new(root, "total", total);
	json_object_set_new(root, "devices", devices);
	for (unsigned int i = 0; i < gen->num_lanes; i++)
		if (begins_row(gen, i))
			json_row(gen, gen->lanes[i], devices, sum);
	app_json_print(root);
}

/* ---- text ---- */

static void print_row(const char *name, const struct summary *sum)
{
	printf("%-32s %9.3f %9.3f %9.2f %9.2f %10" PRIu64 " %8" PRIu64 "\n", name, sum->tx_mpps,
	       sum->rx_mpps, sum->tx_gbps, sum->rx_gbps, sum->drops, sum->late);
}

static void print_latency(const struct bh_histogram *h)
{
	if (h->count == 0)
		return;
	printf("latency us: min %.2f, avg %.2f, p50 %.2f, p90 %.2f, p99 %.2f, p99.9 %.2f, max "
	       "%.2f\n",
	       (double)h->min / 1000, app_average(h) / 1000,
	       (double)bh_histogram_percentile(h, 50000) / 1000,
	       (double)bh_histogram_percentile(h, 90000) / 1000,
	       (double)bh_histogram_percentile(h, 99000) / 1000,
	       (double)bh_histogram_percentile(h, 99900) / 1000, (double)h->max / 1000);
}

static void print_rest(const struct summary *sum)
{
	printf("packets: %" PRIu64 " sent, %" PRIu64 " received", sum->tx, sum->rx);
	if (sum->other)
		printf(", %" PRIu64 " of somebody else", sum->other);
	if (sum->doubled)
		printf(", %" PRIu64 " came twice", sum->doubled);
	if (sum->damaged)
		printf(", %" PRIu64 " damaged", sum->damaged);
	if (sum->refused)
		printf(", %" PRIu64 " that the device does not send", sum->refused);
	putchar('\n');
}

static void report_text(const struct pktgen *gen, struct summary *sum)
{
	printf("%-32s %9s %9s %9s %9s %10s %8s\n", "device (core, queues)", "tx Mpps", "rx Mpps",
	       "tx Gbit/s", "rx Gbit/s", "drops", "late");
	for (unsigned int i = 0; i < gen->num_lanes; i++) {
		const struct pktgen_lane *lane = gen->lanes[i];
		char name[160];

		if (!begins_row(gen, i))
			continue;
		sum_up(gen, lane, sum);
		snprintf(name, sizeof(name), "%s (%u, %u)", gen->device[lane->device].text,
			 lane->worker->base.cpu, sum->queues);
		print_row(name, sum);
	}
	sum_up(gen, NULL, sum);
	print_row("total", sum);
	print_latency(&sum->latency);
	print_rest(sum);
}

void pktgen_report(const struct pktgen *gen)
{
	static struct summary sum;

	if (gen->opts->json)
		report_json(gen, &sum);
	else
		report_text(gen, &sum);
}

static void add_counts(const struct pktgen *gen, struct pktgen_counts *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (unsigned int i = 0; i < gen->num_lanes; i++) {
		const struct pktgen_counts *c = &gen->lanes[i]->counts;

		sum->tx += __atomic_load_n(&c->tx, __ATOMIC_RELAXED);
		sum->rx += __atomic_load_n(&c->rx, __ATOMIC_RELAXED);
		sum->tx_bytes += __atomic_load_n(&c->tx_bytes, __ATOMIC_RELAXED);
		sum->rx_bytes += __atomic_load_n(&c->rx_bytes, __ATOMIC_RELAXED);
	}
}

void pktgen_progress(struct pktgen *gen, unsigned int second)
{
	struct pktgen_counts now, *last = &gen->last;

	add_counts(gen, &now);
	printf("\r%4u s: tx %8.3f Mpps %7.2f Gbit/s, rx %8.3f Mpps %7.2f Gbit/s ", second,
	       (double)(now.tx - last->tx) / 1e6, (double)(now.tx_bytes - last->tx_bytes) * 8 / 1e9,
	       (double)(now.rx - last->rx) / 1e6,
	       (double)(now.rx_bytes - last->rx_bytes) * 8 / 1e9);
	fflush(stdout);
	*last = now;
}

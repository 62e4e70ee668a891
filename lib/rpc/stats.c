/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was counted, from each object's creation on: threads, controllers, their namespaces and
 * queues. Polling threads count in memory of their own, which is read here while they go on: a
 * controller's sum is of the same moment as its parts to within the time this takes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/rpc.h"

struct gathering {
	struct bh_rpc *rpc;
	const char *only; /* NULL: all controllers */
	bool has_found;
	json_t *list;	/* of controllers */
	json_t *queues; /* of the controller under way */
	/* Of that controller; a namespace. */
	struct bh_histogram *all, *one;
};

static bool is_wanted(struct gathering *g, const char *name)
{
	if (g->only && strcmp(g->only, name) != 0)
		return false;
	g->has_found = true;
	return true;
}

/* ---- what several have ---- */

static json_t *latency_new(const struct bh_histogram *h)
{
	json_t *one = json_object(), *buckets = json_array();

	rpc_put_u64(one, "count", h->count);
	rpc_put_u64(one, "sum", h->sum);
	rpc_put_u64(one, "p50", bh_histogram_percentile(h, 50000));
	rpc_put_u64(one, "p90", bh_histogram_percentile(h, 90000));
	rpc_put_u64(one, "p99", bh_histogram_percentile(h, 99000));
	rpc_put_u64(one, "p99_9", bh_histogram_percentile(h, 99900));
	rpc_put_u64(one, "max", h->max);
	for (unsigned int i = 0; i < BH_HISTOGRAM_BUCKETS; i++) {
		uint64_t low, high;

		if (!h->bucket[i])
			continue;
		bh_histogram_bucket_bounds(i, &low, &high);
		json_array_append_new(
			buckets, json_pack("[I,I]", (json_int_t)high, (json_int_t)h->bucket[i]));
	}
	json_object_set_new(one, "buckets", buckets);
	return one;
}

static void put_latency(json_t *one, const struct bh_histogram *h)
{
	json_object_set_new(one, "lat_ns", latency_new(h));
}

static void put_batches(json_t *one, const uint64_t *batches, unsigned int n)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < n; i++)
		json_array_append_new(array, json_integer((json_int_t)batches[i]));
	json_object_set_new(one, "batches", array);
}

static void put_interrupts(json_t *one, uint64_t sent, uint64_t suppressed)
{
	rpc_put_u64(one, "interrupts", sent);
	rpc_put_u64(one, "interrupts_suppressed", suppressed);
}

static void put_polls(json_t *one, uint64_t polls, uint64_t empty)
{
	rpc_put_u64(one, "polls", polls);
	rpc_put_u64(one, "empty_polls", empty);
}

/* ---- NVMe ---- */

static void put_counts(json_t *one, const struct bh_target_nvme_counts *counts)
{
	rpc_put_u64(one, "reads", counts->reads);
	rpc_put_u64(one, "writes", counts->writes);
	rpc_put_u64(one, "others", counts->others);
	rpc_put_u64(one, "errors", counts->errors);
	rpc_put_u64(one, "read_bytes", counts->read_bytes);
	rpc_put_u64(one, "write_bytes", counts->write_bytes);
}

static void add_queue(void *ctx, const struct bh_target_nvme_queue_stats *stats)
{
	struct gathering *g = ctx;
	json_t *one;

	bh_histogram_merge(g->all, stats->latency);
	if (!stats->is_here)
		return;
	one = json_object();
	rpc_put_u64(one, "qid", stats->qid);
	rpc_put_u64(one, "cqid", stats->cqid);
	json_object_set_new(one, "cpu", json_integer(stats->cpu));
	put_counts(one, &stats->counts);
	put_batches(one, stats->batches, BH_TARGET_NVME_BATCHES);
	put_interrupts(one, stats->interrupts, stats->suppressed);
	put_latency(one, stats->latency);
	json_array_append_new(g->queues, one);
}

static json_t *namespace_new(struct gathering *g, struct bh_target_nvme *nvme, uint32_t nsid)
{
	struct bh_target_nvme_ns_stats stats;
	json_t *one;

	if (!bh_target_nvme_ns_stats(nvme, nsid, &g->rpc->clock, g->one, &stats))
		return NULL;
	one = json_object();
	rpc_put_u64(one, "nsid", nsid);
	put_counts(one, &stats.counts);
	rpc_put_u64(one, "passed", stats.passed);
	rpc_put_u64(one, "copied", stats.copied);
	put_latency(one, stats.latency);
	return one;
}

static void add_controller(void *ctx, const struct bh_tgt_controller_info *info)
{
	json_t *one, *namespaces;
	struct bh_target_nvme_stats s;
	struct gathering *g = ctx;

	if (!is_wanted(g, info->name))
		return;
	one = json_object();
	namespaces = json_array();
	bh_target_nvme_stats(info->nvme, &s);
	rpc_put_text(one, "name", info->name);
	put_counts(one, &s.counts);
	rpc_put_u64(one, "sgls", s.sgls);
	rpc_put_u64(one, "doorbell_messages", s.doorbell_messages);
	put_interrupts(one, s.interrupts, s.suppressed);
	put_polls(one, s.polls, s.empty_polls);
	for (unsigned int i = 0; i < info->num_ns; i++) {
		json_t *ns = namespace_new(g, info->nvme, info->ns[i].nsid);

		if (ns)
			json_array_append_new(namespaces, ns);
	}
	g->queues = json_array();
	bh_histogram_init(g->all);
	bh_target_nvme_queues(info->nvme, &g->rpc->clock, add_queue, g);
	put_latency(one, g->all);
	json_object_set_new(one, "namespaces", namespaces);
	json_object_set_new(one, "queues", g->queues);
	json_array_append_new(g->list, one);
}

/* ---- networks ---- */

static void put_packets(json_t *one, const struct bh_target_net_counts *counts)
{
	rpc_put_u64(one, "tx_packets", counts->tx_packets);
	rpc_put_u64(one, "tx_bytes", counts->tx_bytes);
	rpc_put_u64(one, "tx_drops", counts->tx_drops);
	rpc_put_u64(one, "rx_packets", counts->rx_packets);
	rpc_put_u64(one, "rx_bytes", counts->rx_bytes);
	rpc_put_u64(one, "rx_drops", counts->rx_drops);
	put_interrupts(one, counts->interrupts, counts->suppressed);
}

static void add_pair(void *ctx, const struct bh_target_net_queue_stats *stats)
{
	struct gathering *g = ctx;
	json_t *one;

	bh_histogram_merge(g->all, stats->latency);
	if (!stats->is_here)
		return;
	one = json_object();
	rpc_put_u64(one, "index", stats->index);
	json_object_set_new(one, "cpu", json_integer(stats->cpu));
	put_packets(one, &stats->counts);
	put_batches(one, stats->batches, BH_TARGET_NET_BATCHES);
	put_latency(one, stats->latency);
	json_array_append_new(g->queues, one);
}

static void add_net(void *ctx, const struct bh_tgt_net_info *info)
{
	struct bh_target_net_stats s;
	struct gathering *g = ctx;
	json_t *one;

	if (!is_wanted(g, info->name))
		return;
	one = json_object();
	bh_target_net_stats(info->net, &s);
	rpc_put_text(one, "name", info->name);
	put_packets(one, &s.counts);
	rpc_put_u64(one, "notify_messages", s.notify_messages);
	put_polls(one, s.polls, s.empty_polls);
	g->queues = json_array();
	bh_histogram_init(g->all);
	bh_target_net_queues(info->net, &g->rpc->clock, add_pair, g);
	put_latency(one, g->all);
	json_object_set_new(one, "queues", g->queues);
	json_array_append_new(g->list, one);
}

/* ---- threads ---- */

static void add_thread(void *ctx, const struct bh_tgt_thread_info *info)
{
	json_t *one = json_object();

	json_object_set_new(one, "cpu", json_integer(info->cpu));
	rpc_put_u64(one, "time_ns", info->stats.now_ns);
	rpc_put_u64(one, "passes", info->stats.passes);
	rpc_put_u64(one, "busy_passes", info->stats.busy_passes);
	rpc_put_u64(one, "messages", info->stats.messages);
	rpc_put_u64(one, "sleeps", info->stats.sleeps);
	rpc_put_u64(one, "busy_ns", info->stats.busy_ns);
	rpc_put_u64(one, "asleep_ns", info->stats.asleep_ns);
	rpc_put_u64(one, "cpu_ns", info->stats.cpu_ns);
	json_array_append_new(ctx, one);
}

/* ---- all of it ---- */

static json_t *gather(struct gathering *g)
{
	json_t *root = json_object(), *threads = json_array(), *nvmes = json_array();
	json_t *nets = json_array();

	rpc_put_u64(root, "schema", 1);
	rpc_put_u64(root, "time_ns", bh_now_ns());
	bh_tgt_threads(g->rpc->opts.tgt, add_thread, threads);
	g->list = nvmes;
	int rc = bh_tgt_controllers(g->rpc->opts.tgt, add_controller, g);
	g->list = nets;
	bh_tgt_nets(g->rpc->opts.tgt, add_net, g);
	json_object_set_new(root, "threads", threads);
	json_object_set_new(root, "controllers", nvmes);
	json_object_set_new(root, "nets", nets);
	if (rc == 0)
		return root;
	json_decref(root);
	return NULL;
}

static json_t *stats_new(struct bh_rpc *rpc, const char *controller, bool *has_found)
{
	struct gathering g = { .rpc = rpc, .only = controller };
	json_t *root = NULL;

	g.all = malloc(sizeof(*g.all));
	g.one = malloc(sizeof(*g.one));
	if (g.all && g.one)
		root = gather(&g);
	free(g.all);
	free(g.one);
	*has_found = g.has_found;
	return root;
}

json_t *rpc_stats_new(struct bh_rpc *rpc)
{
	bool has_found;

	return stats_new(rpc, NULL, &has_found);
}

bool rpc_stats(struct rpc_call *call)
{
	const char *controller;
	bool has_found;

	if (!rpc_text(call, "controller", false, &controller))
		return false;
	call->result = stats_new(call->rpc, controller, &has_found);
	if (!call->result)
		return rpc_fail(call, RPC_FAILED, NULL, -ENOMEM, "out of memory");
	if (controller && !has_found)
		return rpc_fail(call, RPC_INVALID_PARAMS, "controller", -ENOENT,
				"controller: there is no '%.64s'", controller);
	return true;
}

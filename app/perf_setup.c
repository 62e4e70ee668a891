/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening: devices, then one lane per core, namespace and -P, dealt to the workers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "perf.h"
#include "perf_verify.h"
#include "zipf.h"

#define QUEUE_OVERHEAD (64u << 10) /* rings and alignment of one queue, beyond its PRP lists */

static void on_event(struct bh_event_listener *listener, enum bh_device_event event)
{
	struct perf_removal *r = (struct perf_removal *)listener;

	if (event == BH_DEVICE_REMOVE_REQUEST)
		__atomic_store_n(&r->asked, 1, __ATOMIC_RELAXED);
}

/* Namespaces that an address means: without ?ns=, all that can be read and written. */
static bool is_meant(const struct app_nvme *n, const struct bh_nvme_ns *ns)
{
	uint8_t csi = bh_nvme_ns_csi(ns);

	return n->address.nsid ? bh_nvme_ns_id(ns) == n->address.nsid
			       : csi == BH_NVME_CSI_NVM || csi == BH_NVME_CSI_ZNS;
}

static unsigned int count_namespaces(const struct app_nvme *n)
{
	unsigned int count = 0;

	for (struct bh_nvme_ns *ns = bh_nvme_ns_first(n->nvme); ns; ns = bh_nvme_ns_next(ns))
		count += is_meant(n, ns);
	return count;
}

/*
 * Devices of the kernel's VFIO have one DMA space: the IOMMU cannot tell those of one group apart,
 * so they need it, and memory is pinned once. A vfio-user server is a process of somebody's: it
 * gets memory of its own.
 */
static const struct app_nvme *space_for(const struct perf *perf, const char *text)
{
	struct bh_address address;

	if (bh_address_parse(text, &address, NULL) != 0 || address.kind != BH_ADDRESS_PCI)
		return NULL;
	for (unsigned int i = 0; i < perf->num_devices; i++)
		if (perf->device[i].address.kind == BH_ADDRESS_PCI)
			return &perf->device[i];
	return NULL;
}

/*
 * Room for every queue this device may get. The number of namespaces is not known before it is
 * opened, so memory for the data comes in a second pool, added while the device is open.
 */
static int open_device(struct perf *perf, unsigned int i)
{
	const struct perf_options *opts = perf->opts;
	struct bh_nvme_opts nvme_opts;

	bh_nvme_opts_init(&nvme_opts);
	nvme_opts.log = &perf->app->log;
	nvme_opts.cmb = opts->cmb;
	nvme_opts.cmb_lists = opts->cmb_lists;
	if (app_nvme_open_with(perf->app, opts->addresses[i], 4u << 20, &nvme_opts,
			       space_for(perf, opts->addresses[i]), &perf->device[i]) != 0)
		return 1;
	perf->num_devices = i + 1;
	perf->removal[i].listener.event = on_event;
	bh_device_event_listen(perf->device[i].dev, &perf->removal[i].listener);
	return 0;
}

static int check_device(struct perf *perf, const struct app_nvme *n, unsigned int cores)
{
	unsigned int namespaces = count_namespaces(n);
	unsigned int queues = cores * namespaces * perf->opts->queues;

	if (namespaces == 0)
		return n->address.nsid ? app_fail(perf->app, 1, "%s: no active namespace %u",
						  n->text, n->address.nsid)
				       : app_fail(perf->app, 1, "%s: no active namespace", n->text);
	if (queues > bh_nvme_max_queues(n->nvme))
		return app_fail(perf->app, EXIT_USAGE,
				"%s: %u cores x %u namespaces x -P %u needs %u queues, the "
				"controller gives %u",
				n->text, cores, namespaces, perf->opts->queues, queues,
				bh_nvme_max_queues(n->nvme));
	if (perf->opts->depth + 1 > bh_nvme_max_depth(n->nvme))
		return app_fail(perf->app, EXIT_USAGE,
				"-q %u: %s takes at most %u commands in a queue", perf->opts->depth,
				n->text, bh_nvme_max_depth(n->nvme) - 1);
	return 0;
}

static size_t lane_bytes(const struct perf_options *opts, size_t data)
{
	size_t lists = 4096 + (data / 4096) * 8;

	return (size_t)opts->depth * (data + lists + 64 + 16) + QUEUE_OVERHEAD;
}

static int add_memory(struct perf *perf, struct app_nvme *n, unsigned int lanes)
{
	struct bh_pool_opts pool_opts;
	size_t data = 0;

	for (struct bh_nvme_ns *ns = bh_nvme_ns_first(n->nvme); ns; ns = bh_nvme_ns_next(ns)) {
		size_t bytes = is_meant(n, ns) ? perf_buffer_bytes(perf->opts, ns) : 0;

		data = bytes > data ? bytes : data;
	}
	bh_pool_opts_init(&pool_opts);
	pool_opts.name = "bh-perf-data";
	pool_opts.bytes = lanes * lane_bytes(perf->opts, data);
	pool_opts.log = &perf->app->log;
	int error = bh_pool_create(&pool_opts, &n->data);
	if (!error)
		error = bh_dma_space_add(n->space, n->data);
	if (error)
		return app_fail_unsaid(perf->app, 1, "%s: no %zu MiB of memory for buffers: %s",
				       n->text, pool_opts.bytes >> 20, strerror(-error));
	return 0;
}

static void fill(uint8_t *data, size_t bytes, uint64_t seed)
{
	uint64_t *words = (uint64_t *)(void *)data;

	for (size_t i = 0; i < bytes / sizeof(*words); i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		words[i] = seed;
	}
}

/* Sizes and where they go; the lane's part of the namespace is known. */
static int open_sizes(struct perf *perf, struct perf_lane *lane)
{
	const struct perf_options *opts = perf->opts;
	uint64_t shares = 0, below = 0;

	for (unsigned int i = 0; i < opts->num_sizes; i++)
		shares += opts->size[i].share;
	for (unsigned int i = 0; i < opts->num_sizes; i++) {
		struct perf_extent *e = &lane->extent[i];

		below += opts->size[i].share;
		e->blocks = opts->size[i].bytes / lane->data_bytes;
		e->slots = lane->total / e->blocks;
		e->below = (uint32_t)((below << 32) / shares - 1);
	}
	lane->num_extents = opts->num_sizes;
	lane->slots = lane->total / lane->blocks;
	if (lane->num_extents > 1) {
		lane->slot_blocks = calloc(opts->depth, sizeof(*lane->slot_blocks));
		if (!lane->slot_blocks)
			return app_fail(perf->app, 1, "out of memory");
	}
	if (lane->place == PERF_ZIPF) {
		lane->zipf = malloc(sizeof(*lane->zipf));
		if (!lane->zipf)
			return app_fail(perf->app, 1, "out of memory");
		zipf_init(lane->zipf, lane->slots, opts->zipf);
	}
	return 0;
}

/* Two controllers of a subsystem may lead to one namespace: its UUID tells. */
static bool one_disk(const struct bh_nvme_ns *a, const struct bh_nvme_ns *b)
{
	static const uint8_t none[16];
	uint8_t x[16], y[16];

	bh_nvme_ns_uuid(a, x);
	bh_nvme_ns_uuid(b, y);
	return a == b || (memcmp(x, none, 16) != 0 && memcmp(x, y, 16) == 0);
}

/*
 * `part` of `parts` of a namespace that others of ours may be, too: each place is to have one queue
 * that writes it and knows what it wrote.
 */
static int divide(struct perf *perf, struct perf_lane *lane, unsigned int part, unsigned int parts)
{
	unsigned int paths = 0, path = 0;

	for (unsigned int d = 0; d < perf->num_devices; d++) {
		const struct app_nvme *n = &perf->device[d];

		for (struct bh_nvme_ns *ns = bh_nvme_ns_first(n->nvme); ns;
		     ns = bh_nvme_ns_next(ns)) {
			if (ns == lane->ns)
				path = paths;
			paths += is_meant(n, ns) && one_disk(ns, lane->ns);
		}
	}
	return perf_verify_divide(perf, lane, path * parts + part, paths * parts);
}

/* What it does, and where: `part` of `parts` of its namespace. */
static int open_load(struct perf *perf, struct perf_lane *lane, unsigned int part,
		     unsigned int parts)
{
	const struct perf_options *opts = perf->opts;
	const struct perf_load *load;
	uint64_t index = (uint64_t)(lane - perf->lanes);
	int code = 0;

	lane->load = part % opts->num_loads;
	load = &opts->load[lane->load];
	perf_lane_format(lane, opts);
	lane->place = !load->random ? PERF_SEQUENTIAL : opts->zipf > 0 ? PERF_ZIPF : PERF_UNIFORM;
	lane->read_below = (uint64_t)(((unsigned __int128)load->read_percent << 63) / 100);
	lane->mixed = load->read_percent > 0 && load->read_percent < 100;
	lane->total = bh_nvme_ns_blocks(lane->ns);
	if (opts->verify)
		code = divide(perf, lane, part, parts);
	if (!code)
		code = open_sizes(perf, lane);
	lane->aim.random = 0x9e3779b97f4a7c15ull * (index + 1);
	lane->aim.next = opts->verify ? 0 : lane->slots / perf->num_lanes * index * lane->blocks;
	for (unsigned int i = 0; i < PERF_REAP; i++)
		lane->next[i] = (struct bh_nvme_rw){
			.blocks = lane->blocks,
			.flags = load->read_percent == 0 ? BH_NVME_RW_WRITE : 0,
		};
	lane->kind = perf_loop_kind(lane, opts);
	return code;
}

static int open_lane(struct perf *perf, struct perf_lane *lane, struct app_nvme *n,
		     struct perf_worker *worker)
{
	const struct perf_options *opts = perf->opts;
	struct bh_nvme_queue_opts queue_opts;

	bh_nvme_queue_opts_init(&queue_opts);
	queue_opts.depth = opts->depth;
	bh_histogram_init(&lane->latency);
	lane->started = calloc(opts->depth, sizeof(*lane->started));
	lane->data = bh_pool_alloc(n->data, lane->stride * opts->depth, 4096);
	if (!lane->started || !lane->data)
		return app_fail(perf->app, 1, "out of memory for %u buffers of %u bytes",
				opts->depth, opts->bytes);
	fill(lane->data, lane->stride * opts->depth, lane->aim.random);
	int error = bh_nvme_queue_create(n->nvme, &queue_opts, &lane->q);
	if (error)
		return app_fail_unsaid(perf->app, 1, "%s: cannot create a queue: %s", n->text,
				       strerror(-error));
	lane->worker = worker;
	lane->next_of_worker = worker->lanes;
	worker->lanes = lane;
	return 0;
}

/* How many of so many lanes before this one write. */
static unsigned int writers(const struct perf_options *opts, unsigned int lanes)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < lanes; i++)
		count += perf_load_writes(&opts->load[i % opts->num_loads]);
	return count;
}

static int open_namespace(struct perf *perf, struct perf_lane **lane, struct app_nvme *n,
			  struct bh_nvme_ns *ns)
{
	const struct perf_options *opts = perf->opts;
	unsigned int lanes = perf->num_workers * opts->queues;
	unsigned int zoned = bh_nvme_ns_csi(ns) == BH_NVME_CSI_ZNS ? writers(opts, lanes) : 0;
	int code = perf_check_format(perf, n, ns);

	if (!code && zoned)
		code = perf_zoned_check(perf, n->text, ns, zoned);
	for (unsigned int i = 0; !code && i < lanes; i++) {
		struct perf_lane *l = (*lane)++;

		l->ns = ns;
		l->device = (unsigned int)(n - perf->device);
		code = open_load(perf, l, i, lanes);
		if (!code)
			code = open_lane(perf, l, n, &perf->workers[i / opts->queues]);
		if (!code && zoned && perf_load_writes(&opts->load[l->load]))
			code = perf_zoned_open(perf, l, writers(opts, i), zoned);
		else if (!code && (opts->rate || opts->verify))
			code = perf_single_open(perf, l);
	}
	return code;
}

static int open_lanes(struct perf *perf)
{
	struct perf_lane *lane = perf->lanes;

	for (unsigned int d = 0; d < perf->num_devices; d++) {
		struct app_nvme *n = &perf->device[d];

		for (struct bh_nvme_ns *ns = bh_nvme_ns_first(n->nvme); ns;
		     ns = bh_nvme_ns_next(ns)) {
			if (!is_meant(n, ns))
				continue;
			int code = open_namespace(perf, &lane, n, ns);
			if (code)
				return code;
		}
	}
	return 0;
}

static int make_workers(struct perf *perf)
{
	const struct bh_cpuset *cpus = &perf->opts->cpus;

	perf->workers = app_crew_make(&perf->crew, cpus, sizeof(*perf->workers), perf_worker_run);
	if (!perf->workers)
		return app_fail(perf->app, 1, "out of memory");
	perf->num_workers = bh_cpuset_count(cpus);
	for (unsigned int i = 0; i < perf->num_workers; i++)
		perf->workers[i].perf = perf;
	return 0;
}

int perf_open(struct perf *perf, struct app *app, const struct perf_options *opts)
{
	memset(perf, 0, sizeof(*perf));
	perf->app = app;
	perf->opts = opts;
	perf->run = (uint64_t)getpid() << 48 ^ bh_now_ns();
	bh_clock_init(&perf->clock);
	int code = make_workers(perf);
	for (unsigned int i = 0; !code && i < opts->num_addresses; i++)
		code = open_device(perf, i);
	for (unsigned int i = 0; !code && i < perf->num_devices; i++) {
		struct app_nvme *n = &perf->device[i];
		unsigned int lanes = perf->num_workers * opts->queues * count_namespaces(n);

		code = check_device(perf, n, perf->num_workers);
		if (!code)
			code = add_memory(perf, n, lanes);
		perf->num_lanes += lanes;
	}
	if (code)
		return code;
	perf->lanes = calloc(perf->num_lanes, sizeof(*perf->lanes));
	if (!perf->lanes)
		return app_fail(app, 1, "out of memory");
	return open_lanes(perf);
}

void perf_close(struct perf *perf)
{
	for (unsigned int i = 0; perf->lanes && i < perf->num_lanes; i++) {
		bh_nvme_queue_destroy(perf->lanes[i].q);
		free(perf->lanes[i].started);
		free(perf->lanes[i].slot_blocks);
		free(perf->lanes[i].zipf);
		perf_zoned_close(&perf->lanes[i]);
		perf_single_close(&perf->lanes[i]);
	}
	for (unsigned int i = perf->num_devices; i-- > 0;) {
		bh_device_event_unlisten(perf->device[i].dev, &perf->removal[i].listener);
		app_nvme_close(&perf->device[i]);
	}
	free(perf->lanes);
	free(perf->workers);
	memset(perf, 0, sizeof(*perf));
}

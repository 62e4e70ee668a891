/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening: environment, devices, then one lane per queue, dealt to the workers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pktgen.h"

#define LINK_WAIT_NS (5ull * 1000 * 1000 * 1000)
#define PATIENCE_NS (4ull * 1000 * 1000 * 1000)
#define FRAME_OVERHEAD 18 /* Ethernet header and a VLAN tag: what a frame may have beyond the MTU */
#define CACHE 512

static bool sends(const struct pktgen *gen)
{
	return gen->opts->mode != PKTGEN_RX && gen->opts->mode != PKTGEN_ECHO;
}

static int device_failed(const struct pktgen *gen, const struct pktgen_device *d, const char *what,
			 int error)
{
	return app_fail_unsaid(gen->app, 1, "%s: %s: %s", d->text, what, strerror(-error));
}

/* ---- a device ---- */

/* Memory for rings; packets get a pool of their own. */
static int make_space(struct pktgen *gen, struct pktgen_device *d)
{
	struct bh_pool_opts pool_opts;

	bh_pool_opts_init(&pool_opts);
	pool_opts.name = "bh-pktgen-rings";
	pool_opts.bytes = ((size_t)4 << 20) + gen->opts->queues * ((size_t)1 << 20);
	pool_opts.log = &gen->app->log;
	int error = bh_pool_create(&pool_opts, &d->control);
	error = error ? error : bh_dma_space_create(&gen->app->log, &d->space);
	error = error ? error : bh_dma_space_add(d->space, d->control);
	return error ? device_failed(gen, d, "no memory for it", error) : 0;
}

static int open_device(struct pktgen *gen, const char *text)
{
	struct pktgen_device *d = &gen->device[gen->num_devices++];
	struct bh_device_opts dev_opts;
	struct bh_net_opts net_opts;

	d->text = text;
	int code = make_space(gen, d);
	if (code)
		return code;
	bh_device_opts_init(&dev_opts);
	dev_opts.log = &gen->app->log;
	dev_opts.space = d->space;
	bh_net_opts_init(&net_opts);
	net_opts.log = &gen->app->log;
	if (gen->opts->split)
		net_opts.virtio_without = 1ull << 34; /* VIRTIO_F_RING_PACKED */
	int error = bh_net_open(text, &dev_opts, &net_opts, &d->net);
	if (error)
		return device_failed(gen, d, "cannot open it", error);
	const struct bh_net_info *info = bh_net_info(d->net);
	unsigned int most = info->max_rxq < info->max_txq ? info->max_rxq : info->max_txq;
	if (gen->opts->queues > most)
		return app_fail(gen->app, EXIT_USAGE, "-q %u: %s has %u queue pairs",
				gen->opts->queues, text, most);
	return 0;
}

static uint32_t largest_frame(const struct pktgen *gen)
{
	if (gen->opts->pcap_in)
		return gen->replay.largest;
	return gen->opts->bytes == PACKET_IMIX ? 1518 : gen->opts->bytes;
}

static unsigned int ring_size(const struct pktgen *gen, const struct bh_net_info *info)
{
	unsigned int want = gen->opts->descriptors ? gen->opts->descriptors : 1024;

	if (want > info->max_depth)
		want = info->max_depth;
	return want < info->min_depth ? info->min_depth : want;
}

/* What is sent must fit; what others send should: as much as the device takes. */
static int frame_limits(struct pktgen *gen, struct pktgen_device *d, struct bh_net_conf *conf,
			unsigned int *data_bytes)
{
	const struct bh_net_info *info = bh_net_info(d->net);
	unsigned int frame = largest_frame(gen);

	conf->mtu = frame > 1500 + FRAME_OVERHEAD ? frame - FRAME_OVERHEAD : 1500;
	if (!sends(gen) && info->max_mtu > 1500)
		conf->mtu = info->max_mtu < PACKET_MAX - FRAME_OVERHEAD
				    ? info->max_mtu
				    : PACKET_MAX - FRAME_OVERHEAD;
	if (conf->mtu > info->max_mtu) {
		if (frame > info->max_mtu + FRAME_OVERHEAD)
			return app_fail(gen->app, EXIT_USAGE,
					"frames of %u bytes: %s takes at most %u (its MTU is %u)",
					frame, d->text, info->max_mtu + FRAME_OVERHEAD,
					info->max_mtu);
		conf->mtu = info->max_mtu;
	}
	*data_bytes =
		conf->mtu + FRAME_OVERHEAD > 2048 ? (conf->mtu + FRAME_OVERHEAD + 63) & ~63u : 2048;
	if (!sends(gen) && info->offloads & BH_NET_RX_SCATTER) {
		*data_bytes = 2048;
		conf->offloads |= BH_NET_RX_SCATTER;
		conf->offloads |= info->offloads & BH_NET_TX_MULTI_SEGS;
	}
	return 0;
}

static int configure_device(struct pktgen *gen, struct pktgen_device *d)
{
	const struct bh_net_info *info = bh_net_info(d->net);
	struct bh_net_pool_opts pool_opts;
	struct bh_net_conf conf;

	bh_net_conf_init(&conf);
	bh_net_pool_opts_init(&pool_opts);
	int code = frame_limits(gen, d, &conf, &pool_opts.data_bytes);
	if (code)
		return code;
	conf.n_rxq = conf.n_txq = gen->opts->queues;
	conf.rx_depth = conf.tx_depth = ring_size(gen, info);
	conf.offloads |= info->offloads & BH_NET_TX_FAST_FREE;
	pool_opts.env = gen->env;
	pool_opts.space = d->space;
	pool_opts.log = &gen->app->log;
	pool_opts.cache = CACHE;
	pool_opts.node = info->node;
	pool_opts.count =
		gen->opts->queues * (conf.rx_depth + conf.tx_depth + 2 * gen->opts->burst + 64) +
		(gen->num_workers + 1) * CACHE * 3 / 2;
	int error = bh_net_pool_create(&pool_opts, &d->pool);
	if (error)
		return device_failed(gen, d, "no memory for packets", error);
	conf.rx_pool = bh_net_pool_mempool(d->pool);
	error = bh_net_configure(d->net, &conf);
	return error ? device_failed(gen, d, "cannot be configured", error) : 0;
}

static int wait_for_link(struct pktgen *gen, struct pktgen_device *d)
{
	const struct timespec nap = { .tv_nsec = 10 * 1000 * 1000 };
	uint64_t deadline = bh_now_ns() + LINK_WAIT_NS;
	struct bh_net_link link = { 0 };
	int error;

	while ((error = bh_net_link(d->net, &link)) == 0 && !link.up && bh_now_ns() < deadline) {
		nanosleep(&nap, NULL);
		bh_net_poll(d->net);
	}
	if (error)
		return device_failed(gen, d, "cannot ask for its link", error);
	if (!link.up)
		return app_fail(gen->app, 1,
				"%s: its link is down: is the other end connected and running?",
				d->text);
	return 0;
}

static int start_device(struct pktgen *gen, struct pktgen_device *d)
{
	const struct bh_net_info *info = bh_net_info(d->net);

	if (info->caps & BH_NET_CAP_PROMISC)
		bh_net_promisc(d->net, true);
	int error = bh_net_start(d->net);
	if (error)
		return device_failed(gen, d, "cannot be started", error);
	bh_net_mac(d->net, d->mac);
	return wait_for_link(gen, d);
}

/* ---- lanes ---- */

/* Addresses of the range for benchmarks (RFC 2544), the discard port: nobody answers by mistake. */
static void make_flow(const struct pktgen *gen, const struct pktgen_lane *lane,
		      struct packet_flow *flow)
{
	const struct pktgen_device *d = &gen->device[lane->device];

	memset(flow, 0, sizeof(*flow));
	memcpy(flow->src, d->mac, 6);
	memcpy(flow->dst, gen->opts->has_dst ? gen->opts->dst : d->mac, 6);
	flow->src_ip = 0xc6120001u + lane->device; /* 198.18.0.1 */
	flow->dst_ip = 0xc6130001u + lane->device; /* 198.19.0.1 */
	flow->src_port = (uint16_t)(49152 + lane->index);
	flow->dst_port = 9;
	flow->run = gen->run;
	flow->stream = (uint16_t)lane->index;
}

static int make_streams(struct pktgen *gen, struct pktgen_lane *lane)
{
	struct pktgen_stream *own = calloc(1, sizeof(*own));
	struct packet_flow flow;

	if (!own)
		return app_fail(gen->app, 1, "out of memory");
	make_flow(gen, lane, &flow);
	packet_mix_init(&lane->mix, &flow, gen->opts->bytes);
	own->mix = lane->mix;
	own->run = gen->run;
	own->stream = (uint16_t)lane->index;
	own->as_sent = true;
	own->of = lane;
	packet_order_start(&own->order, 0);
	lane->streams[0] = lane->hot = own;
	lane->num_streams = 1;
	return 0;
}

static int make_lane(struct pktgen *gen, unsigned int device, unsigned int queue)
{
	struct pktgen_lane *lane = aligned_alloc(128, (sizeof(*lane) + 127) & ~(size_t)127);
	struct pktgen_worker *worker = &gen->workers[gen->num_lanes % gen->num_workers];
	struct pktgen_device *d = &gen->device[device];
	uint64_t packets = gen->opts->packets, lanes = gen->num_devices * gen->opts->queues;

	if (!lane)
		return app_fail(gen->app, 1, "out of memory");
	memset(lane, 0, sizeof(*lane));
	lane->gen = gen;
	lane->device = device;
	lane->queue = queue;
	lane->worker = worker;
	lane->index = gen->num_lanes;
	lane->rxq = bh_net_rxq(d->net, queue);
	lane->txq = bh_net_txq(d->net, queue);
	lane->pool = bh_net_pool_mempool(d->pool);
	lane->quota = packets ? packets / lanes + (lane->index < packets % lanes) : UINT64_MAX;
	lane->replay_next = gen->replay.count ? lane->index % gen->replay.count : 0;
	bh_histogram_init(&lane->latency);
	gen->lanes[gen->num_lanes++] = lane;
	lane->next_of_worker = worker->lanes;
	worker->lanes = lane;
	return make_streams(gen, lane);
}

static int make_lanes(struct pktgen *gen)
{
	int code = 0;

	gen->lanes = calloc((size_t)gen->num_devices * gen->opts->queues, sizeof(*gen->lanes));
	if (!gen->lanes)
		return app_fail(gen->app, 1, "out of memory");
	for (unsigned int d = 0; d < gen->num_devices; d++)
		for (unsigned int q = 0; !code && q < gen->opts->queues; q++)
			code = make_lane(gen, d, q);
	return code;
}

static int make_workers(struct pktgen *gen)
{
	const struct bh_cpuset *cpus = &gen->opts->cpus;

	gen->workers = app_crew_make(&gen->crew, cpus, sizeof(*gen->workers), pktgen_worker_run);
	if (!gen->workers)
		return app_fail(gen->app, 1, "out of memory");
	gen->num_workers = gen->running = bh_cpuset_count(cpus);
	for (unsigned int i = 0; i < gen->num_workers; i++)
		gen->workers[i].gen = gen;
	return 0;
}

/* ---- all of it ---- */

static int open_env(struct pktgen *gen)
{
	struct bh_env_opts env_opts;

	bh_env_opts_init(&env_opts);
	env_opts.name = "bh-pktgen";
	env_opts.log = &gen->app->log;
	int error = bh_env_open(&env_opts, &gen->env);
	return error ? app_fail_unsaid(gen->app, 1, "cannot start DPDK's environment: %s",
				       strerror(-error))
		     : 0;
}

static int open_captures(struct pktgen *gen)
{
	uint32_t most = PACKET_MAX;
	int code = 0;

	for (unsigned int i = 0; i < gen->num_devices; i++) {
		const struct bh_net_info *info = bh_net_info(gen->device[i].net);

		if (info->max_mtu + FRAME_OVERHEAD < most)
			most = info->max_mtu + FRAME_OVERHEAD;
	}
	if (gen->opts->pcap_in)
		code = capture_in_open(gen->app, gen->opts->pcap_in, most, &gen->replay);
	if (!code && gen->opts->pcap_out)
		code = capture_out_open(gen->app, gen->opts->pcap_out, &gen->capture);
	return code;
}

int pktgen_open(struct pktgen *gen, struct app *app, const struct pktgen_options *opts)
{
	memset(gen, 0, sizeof(*gen));
	gen->app = app;
	gen->opts = opts;
	gen->patience_ns = PATIENCE_NS;
	gen->run = (uint16_t)((uint64_t)getpid() * 40503u ^ bh_now_ns());
	pthread_mutex_init(&gen->capture_lock, NULL);
	bh_clock_init(&gen->clock);
	int code = make_workers(gen);
	if (!code)
		code = open_env(gen);
	for (unsigned int i = 0; !code && i < opts->num_addresses; i++)
		code = open_device(gen, opts->addresses[i]);
	if (!code)
		code = open_captures(gen);
	for (unsigned int i = 0; !code && i < gen->num_devices; i++)
		code = configure_device(gen, &gen->device[i]);
	for (unsigned int i = 0; !code && i < gen->num_devices; i++)
		code = start_device(gen, &gen->device[i]);
	return code ? code : make_lanes(gen);
}

static void close_lane(struct pktgen_lane *lane)
{
	for (unsigned int i = 0; i < lane->num_streams; i++)
		free(lane->streams[i]);
	free(lane);
}

int pktgen_close(struct pktgen *gen)
{
	int code = capture_out_close(gen->app, gen->capture);

	for (unsigned int i = 0; i < gen->num_lanes; i++)
		close_lane(gen->lanes[i]);
	for (unsigned int i = gen->num_devices; i-- > 0;) {
		struct pktgen_device *d = &gen->device[i];

		bh_net_close(d->net);
		bh_net_pool_destroy(d->pool);
		bh_dma_space_destroy(d->space);
		bh_pool_destroy(d->control);
	}
	capture_in_close(&gen->replay);
	bh_env_close(gen->env);
	pthread_mutex_destroy(&gen->capture_lock);
	free(gen->lanes);
	free(gen->workers);
	memset(gen, 0, sizeof(*gen));
	return code;
}

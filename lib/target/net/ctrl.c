/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A controller's life, and its face to the vfio-user server.
 *
 * BAR0 holds the structures of regs.c and, behind them, the notification words, which lie in a
 * sealed memfd, another one for each client; with mapped notifications the client maps that, and nobody
 * ever reads it: the rings themselves say what is new. The MSI-X table is the server's, in BAR4. Configuration space gets
 * the five virtio capabilities (virtio 1.2 4.1.4), the last of which is a window into the BARs for
 * firmware that cannot map them.
 *
 * Destruction takes the same way as a client that leaves: the server lets the client go, with a
 * full reset behind the gate; then the threads forget the controller, and it is freed by a message
 * of its own, which comes behind all that were sent to the control thread before.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <bellhop/clock.h>

#include "target/net/net.h"

#define CLASS_ETHERNET 0x020000u
#define SUBSYSTEM_VENDOR 0xbe11u /* as our NVMe controller's */
#define SUBSYSTEM_DEVICE 0x0041u
#define FREE_DEADLINE_NS 5000000000ull

/* ---- operations of the vfio-user server ---- */

static int on_access(void *ctx, unsigned int region, uint64_t offset, void *buf, size_t count,
		     bool write)
{
	return region == BH_PCI_BAR0 ? tnet_regs_access(ctx, offset, buf, count, write) : -EINVAL;
}

static void on_quiesce(void *ctx, enum bh_quiesce_reason reason, uint64_t iova, uint64_t len)
{
	struct bh_target_net *net = ctx;

	(void)reason;
	(void)iova;
	(void)len;
	tnet_gate(net);
	bh_vfu_server_quiesced(net->server);
}

/* A ring whose memory is gone stands still until it is there again. */
static void resolve(struct bh_vdq *q)
{
	if (q->size && !q->broken)
		bh_vdq_resolve(q);
}

static void on_resume(void *ctx, enum bh_quiesce_reason reason)
{
	struct bh_target_net *net = ctx;
	unsigned int i;

	(void)reason;
	for (i = 0; i < net->num_pairs; i++) {
		resolve(&net->pair[i]->rx);
		resolve(&net->pair[i]->tx);
	}
	resolve(&net->cvq);
	tnet_ungate(net);
}

static void on_reset(void *ctx, enum bh_reset_reason reason)
{
	struct bh_target_net *net = ctx;
	int rc;

	/* All are full resets. */
	tnet_stop(net);
	tnet_regs_power_on(net);
	rc = reason == BH_RESET_LOST ? bh__shared_renew(&net->notifications) : 0;
	if (rc != 0)
		bh_log(net->log, BH_LOG_WARN, TNET_LOG,
		       "%s: the next client maps the last one's notifications: %s", net->path,
		       strerror(-rc));
}

/* Cannot happen: we quiesce within the call. */
static void on_fatal(void *ctx)
{
	tnet_broken(ctx, 0, "a thread did not stop in time");
}

static void on_intx_acknowledged(void *ctx)
{
	tnet_isr_show(ctx);
}

/* 4.1.4.9: the window's address is written first, then the data is read or written through it. */
static void on_capability(void *ctx, unsigned int cap, uint8_t *bytes, unsigned int offset,
			  size_t len, bool write)
{
	const unsigned int data = offsetof(struct bh_virtio_pci_cfg_cap, pci_cfg_data);
	struct bh_target_net *net = ctx;
	struct bh_virtio_pci_cfg_cap window;

	(void)cap; /* the only one with writable bytes is the last, and only it has data */
	if (bytes[3] != BH_VIRTIO_PCI_CAP_PCI || offset + len <= data)
		return;
	memcpy(&window, bytes, sizeof(window));
	if (window.cap.bar != 0 || window.cap.offset >= TNET_BAR_BYTES ||
	    (window.cap.length != 1 && window.cap.length != 2 && window.cap.length != 4) ||
	    window.cap.offset % window.cap.length)
		return;
	tnet_regs_access(net, window.cap.offset, bytes + data, window.cap.length, write);
}

static const struct bh_vfu_ops server_ops = {
	.access = on_access,
	.quiesce = on_quiesce,
	.resume = on_resume,
	.reset = on_reset,
	.fatal = on_fatal,
	.intx_acknowledged = on_intx_acknowledged,
	.capability = on_capability,
};

/* ---- messages to the control thread ---- */

static void cvq_moved(void *ctx)
{
	struct bh_target_net *net = ctx;

	__atomic_store_n(&net->cvq_sent, 0, __ATOMIC_SEQ_CST);
	tnet_cvq_run(net);
}

static void isr_moved(void *ctx)
{
	struct bh_target_net *net = ctx;

	__atomic_store_n(&net->isr_sent, 0, __ATOMIC_SEQ_CST);
	if (!net->is_destroying)
		tnet_isr_show(net);
}

static void queue_broke(void *ctx)
{
	struct bh_target_net *net = ctx;

	__atomic_store_n(&net->broken_sent, 0, __ATOMIC_SEQ_CST);
	bh_log(net->log, BH_LOG_WARN, TNET_LOG,
	       "%s: queue %u has failed, the device needs a reset: %s", net->path,
	       net->broken_queue, net->broken_why);
	if (!net->is_destroying)
		tnet_config_changed(net);
}

/* ---- trapped notifications by eventfd ---- */

/* As for NVMe's doorbells: edges, and the counter is only taken so that it never fills up. */
static void io_fd_rang(void *ctx, uint32_t events)
{
	struct bh_target_net *net = ctx;
	uint64_t count = 0;
	const struct iovec iov = { &count, sizeof(count) };
	unsigned int i;

	(void)events;
	if (preadv2(net->io_fd, &iov, 1, -1, RWF_NOWAIT) == sizeof(count))
		__atomic_fetch_add(&net->notify_messages, count, __ATOMIC_RELAXED);
	for (i = 0; i < net->num_threads; i++)
		tnet_thread_wake(net->thread[i]);
}

/* For the queues with packets; the control queue's notification is a message. */
static int offer_fds(struct bh_target_net *net)
{
	unsigned int i;
	int rc;

	if (net->notify != BH_NET_NOTIFY_TRAPPED)
		return 0;
	net->io_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (net->io_fd < 0)
		return -errno;
	rc = bh_fd_source_add(net->control, net->io_fd, EPOLLIN | EPOLLET, io_fd_rang, net,
			      &net->io_source);
	for (i = 0; !rc && i < net->num_vqs - 1; i++) {
		const struct bh_vfu_io_fd io_fd = {
			.region = BH_PCI_BAR0,
			.offset = TNET_NOTIFY + i * TNET_NOTIFY_STEP,
			.len = TNET_NOTIFY_STEP,
			.eventfd = net->io_fd,
			.shadow_fd = -1,
		};

		rc = bh_vfu_server_io_fd_add(net->server, &io_fd);
	}
	return rc;
}

/* ---- create ---- */

void bh_target_net_opts_init(struct bh_target_net_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
	opts->mode = 0600;
	opts->queues = 1;
	opts->depth = 1024;
	opts->notify = BH_NET_NOTIFY_MAPPED;
	opts->idle_poll_ns = 1000000;
}

/* NULL, or what is wrong. */
static const char *check_opts(const struct bh_target_net_opts *o)
{
	if (!o->path || !o->path[0])
		return "no socket path";
	if (!o->control || !o->threads || !o->num_threads ||
	    o->num_threads > BH_TARGET_NET_MAX_THREADS)
		return "no reactors, or too many";
	if (!o->queues || o->queues > BH_TARGET_NET_MAX_QUEUES)
		return "queues must be 1 to 64";
	if (!o->port || o->port->queues < o->queues || o->port->is_taken)
		return "no port, or one with fewer queues, or another controller's";
	if (o->depth < 16 || o->depth > BH_TARGET_NET_MAX_DEPTH || (o->depth & (o->depth - 1)))
		return "depth must be a power of two from 16 to 32768";
	if (o->mtu && (o->mtu < BH_VIRTIO_NET_MTU_MIN || o->mtu > BH_TARGET_NET_MAX_MTU))
		return "mtu must be 68 to 65535";
	if (o->mac && (o->mac[0] & 1))
		return "a multicast address is no station's";
	if (o->notify != BH_NET_NOTIFY_MAPPED && o->notify != BH_NET_NOTIFY_TRAPPED)
		return "notifications are mapped or trapped";
	return NULL;
}

/* FNV-1a of the path: an address that stays the same for it, locally administered. */
static void derive_mac(const char *path, uint8_t mac[6])
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (; *path; path++)
		hash = (hash ^ (uint8_t)*path) * 0x100000001b3ull;
	memcpy(mac, &hash, 6);
	mac[0] = 0x02;
}

static int set_numbers(struct bh_target_net *net, const struct bh_target_net_opts *o)
{
	net->path = strdup(o->path);
	if (!net->path)
		return -ENOMEM;
	net->control = o->control;
	net->log = o->log;
	net->port = o->port;
	net->num_pairs = o->queues;
	net->num_vqs = 2 * o->queues + 1;
	net->max_depth = o->depth;
	net->mtu = (uint16_t)o->mtu;
	net->notify = o->notify;
	net->split_rings = o->split_rings;
	net->idle_poll_ns = o->idle_poll_ns;
	net->active_pairs = 1;
	if (o->mac)
		memcpy(net->mac, o->mac, 6);
	else
		derive_mac(o->path, net->mac);
	net->offered = tnet_features_offered(net);
	net->cvq_msg = (struct bh_msg){ .fn = cvq_moved, .ctx = net };
	net->isr_msg = (struct bh_msg){ .fn = isr_moved, .ctx = net };
	net->broken_msg = (struct bh_msg){ .fn = queue_broke, .ctx = net };
	return 0;
}

#define CAP(type, at, bytes)                                                                   \
	{                                                                                      \
		.cap_vndr = BH_VIRTIO_PCI_CAP_ID, .cap_len = sizeof(struct bh_virtio_pci_cap), \
		.cfg_type = BH_VIRTIO_PCI_CAP_##type, .offset = (at), .length = (bytes)        \
	}

static const struct bh_virtio_pci_cap common_cap =
	CAP(COMMON, TNET_COMMON, sizeof(struct bh_virtio_common_cfg));
static const struct bh_virtio_pci_cap isr_cap = CAP(ISR, TNET_ISR, 1);
static const struct bh_virtio_pci_cap device_cap =
	CAP(DEVICE, TNET_DEVICE, sizeof(struct bh_virtio_net_config));
static const struct bh_virtio_pci_notify_cap notify_cap = {
	.cap = { .cap_vndr = BH_VIRTIO_PCI_CAP_ID,
		 .cap_len = sizeof(notify_cap),
		 .cfg_type = BH_VIRTIO_PCI_CAP_NOTIFY,
		 .offset = TNET_NOTIFY,
		 .length = TNET_NOTIFY_BYTES },
	.notify_off_multiplier = TNET_NOTIFY_STEP,
};
static const struct bh_virtio_pci_cfg_cap window_cap = {
	.cap = { .cap_vndr = BH_VIRTIO_PCI_CAP_ID,
		 .cap_len = sizeof(window_cap),
		 .cfg_type = BH_VIRTIO_PCI_CAP_PCI },
};
static const struct bh_virtio_pci_cfg_cap window_mask = {
	.cap = { .bar = 0xff, .offset = 0xffffffff, .length = 0xffffffff },
	.pci_cfg_data = { 0xff, 0xff, 0xff, 0xff },
};
static const struct bh_vfu_pci_cap caps[] = {
	{ &common_cap, NULL, sizeof(common_cap) },
	{ &isr_cap, NULL, sizeof(isr_cap) },
	{ &device_cap, NULL, sizeof(device_cap) },
	{ &notify_cap, NULL, sizeof(notify_cap) },
	{ &window_cap, &window_mask, sizeof(window_cap) },
};

static int server_create(struct bh_target_net *net, const struct bh_target_net_opts *o)
{
	const struct bh_vfu_area area = { TNET_NOTIFY, TNET_NOTIFY_BYTES };
	struct bh_vfu_server_opts so;
	int rc;

	bh_vfu_server_opts_init(&so);
	so.path = net->path;
	so.mode = o->mode;
	so.allowed_uids = o->allowed_uids;
	so.num_allowed_uids = o->num_allowed_uids;
	so.control = net->control;
	so.ops = &server_ops;
	so.ops_ctx = net;
	so.log = net->log;
	so.vendor = BH_VIRTIO_PCI_VENDOR;
	so.device = BH_VIRTIO_PCI_MODERN + BH_VIRTIO_TYPE_NET;
	so.subsystem_vendor = SUBSYSTEM_VENDOR;
	so.subsystem = SUBSYSTEM_DEVICE;
	so.revision = BH_VIRTIO_PCI_REVISION;
	so.class_code = CLASS_ETHERNET;
	so.interrupt_pin = 1;
	so.msix_vectors = net->num_vqs + 1;
	so.msix_bar = TNET_MSIX_BAR;
	so.caps = caps;
	so.num_caps = sizeof(caps) / sizeof(caps[0]);
	so.bar[0].bytes = TNET_BAR_BYTES;
	so.bar[0].is_64 = true;
	so.bar[0].fd = -1;
	if (net->notify == BH_NET_NOTIFY_MAPPED) {
		so.bar[0].fd = net->notifications.fd;
		so.bar[0].areas = &area;
		so.bar[0].num_areas = 1;
	}
	rc = bh_vfu_server_create(&so, &net->server);
	if (rc == 0)
		net->cmem = bh_vfu_server_cmem(net->server);
	return rc;
}

/* Whatever there is; the threads know nothing of it. */
static void net_free(struct bh_target_net *net)
{
	bh_vfu_server_destroy(net->server);
	bh_fd_source_remove(net->io_source);
	if (net->io_fd >= 0)
		close(net->io_fd);
	bh__shared_destroy(&net->notifications);
	tnet_threads_free(net);
	if (net->port)
		net->port->is_taken = false;
	free(net->path);
	free(net);
}

static int build(struct bh_target_net *net, const struct bh_target_net_opts *o)
{
	int rc = set_numbers(net, o);

	if (rc)
		return rc;
	net->port->is_taken = true;
	tnet_regs_power_on(net);
	/* The file has the shape of BAR0; only the notifications are ever mapped. */
	rc = bh__shared_create(&net->notifications, "bellhop-notify", TNET_BAR_BYTES);
	if (rc == 0)
		rc = server_create(net, o);
	if (rc == 0)
		rc = tnet_threads_create(net, o->threads, o->num_threads);
	if (rc == 0)
		rc = offer_fds(net);
	return rc;
}

int bh_target_net_create(const struct bh_target_net_opts *opts, struct bh_target_net **out)
{
	struct bh_target_net_opts o;
	struct bh_target_net *net;
	const char *why;
	int rc;

	*out = NULL;
	bh_target_net_opts_init(&o);
	memcpy(&o, opts, opts->size < sizeof(o) ? opts->size : sizeof(o));
	why = check_opts(&o);
	if (why) {
		bh_log(o.log, BH_LOG_ERROR, TNET_LOG, "%s: %s", o.path ? o.path : "(no path)", why);
		return -EINVAL;
	}
	net = calloc(1, sizeof(*net));
	if (!net)
		return -ENOMEM;
	net->notifications.fd = net->io_fd = -1;
	rc = build(net, &o);
	if (rc) {
		tnet_threads_part(net);
		net_free(net);
		return rc;
	}
	*out = net;
	return 0;
}

const char *bh_target_net_path(const struct bh_target_net *net)
{
	return net->path;
}

static void add_counts(struct bh_target_net_counts *to, const struct tnet_counts *c)
{
	to->tx_packets += bh_load_u64(&c->tx_packets);
	to->tx_bytes += bh_load_u64(&c->tx_bytes);
	to->rx_packets += bh_load_u64(&c->rx_packets);
	to->rx_bytes += bh_load_u64(&c->rx_bytes);
	to->tx_drops += bh_load_u64(&c->tx_drops);
	to->rx_drops += bh_load_u64(&c->rx_drops);
	to->interrupts += bh_load_u64(&c->interrupts);
	to->suppressed += bh_load_u64(&c->suppressed);
}

void bh_target_net_stats(const struct bh_target_net *net, struct bh_target_net_stats *stats)
{
	unsigned int i;

	memset(stats, 0, sizeof(*stats));
	stats->notify_messages = bh_load_u64(&net->notify_messages);
	for (i = 0; i < net->num_pairs; i++)
		add_counts(&stats->counts, &net->pair[i]->counts);
	for (i = 0; i < net->num_threads; i++) {
		stats->polls += bh_load_u64(&net->thread[i]->polls);
		stats->empty_polls += bh_load_u64(&net->thread[i]->empty_polls);
	}
}

static bool is_live(const struct bh_vdq *q)
{
	return __atomic_load_n(&q->is_live, __ATOMIC_RELAXED);
}

void bh_target_net_queues(const struct bh_target_net *net, const struct bh_clock *clock,
			  bh_target_net_queue_fn fn, void *ctx)
{
	struct bh_histogram latency;
	unsigned int i, k;

	for (i = 0; i < net->num_pairs; i++) {
		const struct tnet_pair *p = net->pair[i];
		const struct tnet_counts *c = &p->counts;
		struct bh_target_net_queue_stats stats = {
			.index = i,
			.is_here = is_live(&p->rx) || is_live(&p->tx),
			.cpu = bh_reactor_cpu(p->thread->reactor),
			.latency = &latency,
		};

		add_counts(&stats.counts, c);
		for (k = 0; k < BH_TARGET_NET_BATCHES; k++)
			stats.batches[k] = bh_load_u64(&c->batches[k]);
		bh_histogram_init(&latency);
		bh_latency_collect(&p->latency, clock, &latency);
		fn(ctx, &stats);
	}
}

/* ---- destroy ---- */

static void destroy_last(void *ctx)
{
	struct bh_target_net *net = ctx;
	void (*destroyed)(void *arg) = net->destroyed;
	void *arg = net->destroyed_arg;

	net_free(net);
	if (destroyed)
		destroyed(arg);
}

static void server_left(void *ctx)
{
	struct bh_target_net *net = ctx;

	tnet_threads_part(net);
	net->last_msg = (struct bh_msg){ .fn = destroy_last, .ctx = net };
	bh_reactor_send(net->control, &net->last_msg);
}

void bh_target_net_destroy(struct bh_target_net *net, void (*done)(void *arg), void *arg)
{
	if (!net) {
		if (done)
			done(arg);
		return;
	}
	if (net->is_destroying)
		return;
	net->is_destroying = true;
	net->destroyed = done;
	net->destroyed_arg = arg;
	bh_vfu_server_shutdown(net->server, server_left, net);
}

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

/* Not inlined: gcc would see a pointer to a local variable kept, which is taken back below. */
static __attribute__((noinline)) void tell_end(struct bh_target_net *net, bool *is_done)
{
	net->destroyed = is_done ? set_flag : NULL;
	net->destroyed_arg = is_done;
}

/* The same way, with the reactors turned here: what was sent to them still lies there. */
void bh_target_net_free(struct bh_target_net *net)
{
	uint64_t deadline = bh_now_ns() + FREE_DEADLINE_NS;
	struct bh_reactor *control, *threads[BH_TARGET_NET_MAX_THREADS];
	unsigned int i, n;
	bool is_done = false;

	if (!net)
		return;
	control = net->control;
	n = net->num_threads;
	for (i = 0; i < n; i++)
		threads[i] = net->thread[i]->reactor;
	if (!net->is_destroying)
		bh_target_net_destroy(net, NULL, NULL);
	tell_end(net, &is_done);
	while (!is_done && bh_now_ns() < deadline) {
		for (i = 0; i < n; i++)
			bh_reactor_run_once(threads[i]);
		bh_reactor_run_once(control); /* may free net, and sets is_done then */
	}
	if (!is_done) /* whatever still comes finds nobody waiting */
		tell_end(net, NULL);
}

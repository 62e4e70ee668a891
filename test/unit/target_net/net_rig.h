/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network controller between fakes: a vfio-user server that is a table of calls, and a driver that
 * is this program, with its memory in a memfd and packed rings written by hand. Reactors are turned
 * here. For one test program each: it defines functions.
 */
#ifndef TEST_TARGET_NET_NET_RIG_H
#define TEST_TARGET_NET_NET_RIG_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "target/net/net.h"

#ifndef RIG_CHECK /* what does not hold ends the case; the fuzz target has its own */
#include "unit.h"
#define RIG_CHECK(condition) CU_ASSERT_FATAL(condition)
#endif

#define RIG_IOVA 0x100000000ull
#define RIG_BYTES (1024u * 1024)
#define RIG_RINGS 0x0u	  /* 4 KiB for each queue */
#define RIG_DATA 0x20000u /* handed out by rig_room() */
#define RIG_DEPTH 64u
#define RIG_VQS 9u

#define ALL(name) BH_VIRTIO_BIT(BH_VIRTIO_F_##name)
#define NET(name) BH_VIRTIO_BIT(BH_VIRTIO_NET_F_##name)
#define RIG_RING_FEATURES (ALL(VERSION_1) | ALL(RING_PACKED) | ALL(IN_ORDER) | ALL(INDIRECT_DESC))

/* What rig_start() negotiates of rings. */
static uint64_t rig_ring_features = RIG_RING_FEATURES;

/* ---- the server ---- */

struct bh_vfu_server {
	struct bh_vfu_server_opts opts;
	struct bh_cmem cmem;
	unsigned int raised[64];
	bool msix, level;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

void bh_vfu_server_opts_init(struct bh_vfu_server_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
}

static struct bh_vfu_server *rig_last_server;

int bh_vfu_server_create(const struct bh_vfu_server_opts *opts, struct bh_vfu_server **out)
{
	struct bh_vfu_server *server = calloc(1, sizeof(*server));

	server->opts = *opts;
	server->msix = true;
	bh_cmem_init(&server->cmem, NULL, NULL, 16, NULL);
	*out = rig_last_server = server;
	return 0;
}

void bh_vfu_server_destroy(struct bh_vfu_server *server)
{
	if (!server)
		return;
	bh_cmem_fini(&server->cmem);
	free(server);
}

/* A client that leaves: quiesce, reset, resume, and the end. */
void bh_vfu_server_shutdown(struct bh_vfu_server *server, void (*done)(void *arg), void *arg)
{
	server->stopped = done;
	server->stopped_arg = arg;
	server->opts.ops->quiesce(server->opts.ops_ctx, BH_QUIESCE_DISCONNECT, 0, 0);
}

void bh_vfu_server_quiesced(struct bh_vfu_server *server)
{
	if (!server->stopped)
		return;
	server->opts.ops->reset(server->opts.ops_ctx, BH_RESET_LOST);
	bh_cmem_del(&server->cmem, 0, 0);
	server->opts.ops->resume(server->opts.ops_ctx, BH_QUIESCE_DISCONNECT);
	server->stopped(server->stopped_arg);
}

struct bh_cmem *bh_vfu_server_cmem(struct bh_vfu_server *server)
{
	return &server->cmem;
}

int bh_vfu_server_io_fd_add(struct bh_vfu_server *server, const struct bh_vfu_io_fd *io_fd)
{
	(void)server;
	(void)io_fd;
	return 0;
}

bool bh_vfu_irq_raise(struct bh_vfu_server *server, unsigned int vector)
{
	server->raised[vector]++;
	return true;
}

void bh_vfu_irq_level(struct bh_vfu_server *server, unsigned int vector, bool asserted)
{
	(void)vector;
	server->level = asserted;
}

bool bh_vfu_irq_msix_enabled(const struct bh_vfu_server *server)
{
	return server->msix;
}

/* ---- the rig ---- */

struct rig_vq {
	unsigned int index;
	uint16_t next, used;
	bool wrap, used_wrap;
	uint16_t places[RIG_DEPTH]; /* of the chain with that id */
	uint32_t at[RIG_DEPTH];	    /* where its first buffer lies */
};

struct rig {
	struct bh_target_net *net;
	struct bh_vfu_server *server;
	struct bh_net_port *port;
	int fd;
	uint8_t *mem;
	uint32_t room; /* the next free byte */
	struct rig_vq vq[RIG_VQS];
};

/* How rig_open() wants to be notified. */
static enum bh_target_net_notify rig_notify;

static struct bh_reactor *rig_control, *rig_threads[2];

static inline void rig_turn(void)
{
	for (unsigned int i = 0; i < 8; i++) {
		bh_reactor_run_once(rig_threads[0]);
		bh_reactor_run_once(rig_threads[1]);
		bh_reactor_run_once(rig_control);
	}
}

static inline int rig_setup(void)
{
	struct bh_reactor_opts opts;

	bh_reactor_opts_init(&opts);
	return bh_reactor_create(&opts, &rig_control) ||
	       bh_reactor_create(&opts, &rig_threads[0]) ||
	       bh_reactor_create(&opts, &rig_threads[1]);
}

static inline int rig_teardown(void)
{
	bh_reactor_destroy(rig_threads[0]);
	bh_reactor_destroy(rig_threads[1]);
	bh_reactor_destroy(rig_control);
	return 0;
}

static inline void rig_open(struct rig *r, struct bh_net_port *port, unsigned int queues)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0, 0, 1 };
	struct bh_target_net_opts opts;

	memset(r, 0, sizeof(*r));
	bh_target_net_opts_init(&opts);
	opts.path = "rig";
	opts.control = rig_control;
	opts.threads = rig_threads;
	opts.num_threads = 2;
	opts.port = r->port = port;
	opts.queues = queues;
	opts.mac = mac;
	opts.notify = rig_notify;
	RIG_CHECK(bh_target_net_create(&opts, &r->net) == 0);
	r->server = rig_last_server;
	r->fd = memfd_create("client", MFD_CLOEXEC);
	RIG_CHECK(ftruncate(r->fd, RIG_BYTES) == 0);
	r->mem = mmap(NULL, RIG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	r->room = RIG_DATA;
	RIG_CHECK(bh_cmem_add(&r->server->cmem, RIG_IOVA, RIG_BYTES,
			      BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE, BH_CMEM_MAPPED, dup(r->fd),
			      0) == 0);
}

static inline struct bh_net_port *rig_port(const char *type, const char *arg, unsigned int queues)
{
	struct bh_net_port_opts opts;
	struct bh_net_port *port = NULL;
	char why[BH_TARGET_NET_WHY];

	bh_net_port_opts_init(&opts);
	opts.queues = queues;
	RIG_CHECK(bh_net_port_open(type, arg, &opts, why, &port) == 0);
	return port;
}

static inline void rig_close(struct rig *r)
{
	bh_target_net_free(r->net);
	bh_net_port_close(r->port);
	munmap(r->mem, RIG_BYTES);
	close(r->fd);
}

/* ---- registers ---- */

static inline void rig_write(struct rig *r, uint64_t offset, uint64_t value, size_t count)
{
	RIG_CHECK(r->server->opts.ops->access(r->net, BH_PCI_BAR0, offset, &value, count, true) ==
		  0);
}

static inline uint64_t rig_read(struct rig *r, uint64_t offset, size_t count)
{
	uint64_t value = 0;

	RIG_CHECK(r->server->opts.ops->access(r->net, BH_PCI_BAR0, offset, &value, count, false) ==
		  0);
	return value;
}

#define RIG_SET(r, field, value)                         \
	rig_write((r), BH_VIRTIO_COMMON(field), (value), \
		  sizeof(((struct bh_virtio_common_cfg *)NULL)->field))
#define RIG_GET(r, field) \
	rig_read((r), BH_VIRTIO_COMMON(field), sizeof(((struct bh_virtio_common_cfg *)NULL)->field))

static inline uint64_t rig_offered(struct rig *r)
{
	uint64_t low;

	RIG_SET(r, device_feature_select, 0);
	low = RIG_GET(r, device_feature);
	RIG_SET(r, device_feature_select, 1);
	return low | RIG_GET(r, device_feature) << 32;
}

/* Up to FEATURES_OK; is it? */
static inline bool rig_negotiate(struct rig *r, uint64_t features)
{
	RIG_SET(r, device_status, 0);
	RIG_SET(r, device_status, 1);
	RIG_SET(r, device_status, 3);
	RIG_SET(r, driver_feature_select, 0);
	RIG_SET(r, driver_feature, (uint32_t)features);
	RIG_SET(r, driver_feature_select, 1);
	RIG_SET(r, driver_feature, (uint32_t)(features >> 32));
	RIG_SET(r, device_status, 11);
	return RIG_GET(r, device_status) == 11;
}

static inline void rig_enable(struct rig *r, unsigned int i)
{
	uint64_t at = RIG_IOVA + RIG_RINGS + i * 0x1000;

	memset(r->mem + RIG_RINGS + i * 0x1000, 0, 0x1000);
	r->vq[i] = (struct rig_vq){ .index = i, .wrap = true, .used_wrap = true };
	RIG_SET(r, queue_select, i);
	RIG_SET(r, queue_size, RIG_DEPTH);
	RIG_SET(r, queue_msix_vector, i + 1);
	RIG_SET(r, queue_desc, at);
	RIG_SET(r, queue_driver, at + 0x800);
	RIG_SET(r, queue_device, at + 0x900);
	RIG_SET(r, queue_enable, 1);
}

/* The whole way, with all queues. */
static inline void rig_start(struct rig *r, uint64_t features)
{
	RIG_CHECK(rig_negotiate(r, rig_ring_features | features));
	RIG_SET(r, config_msix_vector, 0);
	for (unsigned int i = 0; i < r->net->num_vqs; i++)
		rig_enable(r, i);
	RIG_SET(r, device_status, 15);
	RIG_CHECK(RIG_GET(r, device_status) == 15);
	rig_turn();
}

/* ---- rings ---- */

static inline struct bh_virtq_packed_desc *rig_desc(struct rig *r, struct rig_vq *q, unsigned int i)
{
	return (struct bh_virtq_packed_desc *)(void *)(r->mem + RIG_RINGS + q->index * 0x1000) + i;
}

/* So many bytes of the client's memory. */
static inline uint32_t rig_room(struct rig *r, uint32_t len)
{
	uint32_t at = r->room;

	len = (len + 63) & ~63u;
	if (at + len > RIG_BYTES)
		at = RIG_DATA;
	r->room = at + len;
	return at;
}

/* A chain of buffers, out then in; lengths of 0 are left out. Its first buffer's place. */
static inline uint32_t rig_add(struct rig *r, struct rig_vq *q, const uint32_t *len,
			       unsigned int out, unsigned int in)
{
	uint16_t first = q->next, n = (uint16_t)(out + in), first_flags = 0, id = first;
	uint32_t at = 0;

	q->places[id] = n;
	for (unsigned int i = 0; i < n; i++) {
		struct bh_virtq_packed_desc *d = rig_desc(r, q, q->next);
		uint16_t flags = bh_virtq_packed_avail_flags(q->wrap);
		uint32_t here = rig_room(r, len[i]);

		if (i + 1 < n)
			flags |= BH_VIRTQ_DESC_F_NEXT;
		if (i >= out)
			flags |= BH_VIRTQ_DESC_F_WRITE;
		if (i == 0) {
			q->at[id] = at = here;
			first_flags = flags;
		}
		*d = (struct bh_virtq_packed_desc){ RIG_IOVA + here, len[i], id,
						    i ? flags : d->flags };
		if (++q->next == RIG_DEPTH) {
			q->next = 0;
			q->wrap = !q->wrap;
		}
	}
	bh_store_release_u16(&rig_desc(r, q, first)->flags, first_flags);
	return at;
}

/* The next chain given back: its id, or -1. */
static inline int rig_used(struct rig *r, struct rig_vq *q, uint32_t *len)
{
	struct bh_virtq_packed_desc *d = rig_desc(r, q, q->used);
	uint16_t places;

	if (!bh_virtq_packed_is_used(bh_load_acquire_u16(&d->flags), q->used_wrap))
		return -1;
	if (len)
		*len = d->len;
	places = q->places[d->id];
	q->used = (uint16_t)(q->used + places);
	if (q->used >= RIG_DEPTH) {
		q->used = (uint16_t)(q->used - RIG_DEPTH);
		q->used_wrap = !q->used_wrap;
	}
	return d->id;
}

/* ---- packets ---- */

static inline void rig_fill(uint8_t *frame, uint32_t len, unsigned int seed)
{
	for (uint32_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(i * 7 + seed * 31 + (i >> 8));
	frame[0] &= 0xfe;
	frame[12] = 0x88;
	frame[13] = 0xb5;
}

static inline bool rig_check(const uint8_t *frame, uint32_t len, unsigned int seed)
{
	uint8_t *want = calloc(1, len);
	bool same;

	rig_fill(want, len, seed);
	same = memcmp(want, frame, len) == 0;
	free(want);
	return same;
}

/* A packet in one buffer; hdr NULL: a plain one. */
static inline uint8_t *rig_send(struct rig *r, unsigned int pair, uint32_t len, unsigned int seed,
				const struct bh_virtio_net_hdr *hdr)
{
	struct rig_vq *q = &r->vq[BH_VIRTIO_NET_TXQ(pair)];
	uint32_t total = len + TNET_HDR, at = r->room;

	if (at + ((total + 63) & ~63u) > RIG_BYTES)
		at = r->room = RIG_DATA;
	memset(r->mem + at, 0, TNET_HDR);
	if (hdr)
		memcpy(r->mem + at, hdr, sizeof(*hdr));
	rig_fill(r->mem + at + TNET_HDR, len, seed);
	rig_add(r, q, &total, 1, 0);
	return r->mem + at + TNET_HDR;
}

static inline void rig_offer(struct rig *r, unsigned int pair, unsigned int count, uint32_t len)
{
	while (count--)
		rig_add(r, &r->vq[BH_VIRTIO_NET_RXQ(pair)], &len, 0, 1);
}

/* The next packet in one buffer; NULL: none. */
static inline uint8_t *rig_receive(struct rig *r, unsigned int pair, uint32_t *len)
{
	struct rig_vq *q = &r->vq[BH_VIRTIO_NET_RXQ(pair)];
	int id = rig_used(r, q, len);

	if (id < 0)
		return NULL;
	*len -= TNET_HDR;
	return r->mem + q->at[id] + TNET_HDR;
}

static inline const struct bh_virtio_net_hdr *rig_hdr(const uint8_t *frame)
{
	return (const struct bh_virtio_net_hdr *)(const void *)(frame - TNET_HDR);
}

/* A control command; its answer. */
static inline int rig_command(struct rig *r, uint8_t class_, uint8_t command, const void *data,
			      uint32_t len)
{
	struct rig_vq *q = &r->vq[r->net->num_vqs - 1];
	const uint32_t parts[3] = { 2, len, 1 };
	uint32_t at = r->room;
	int id;

	if (at + 256 + len > RIG_BYTES)
		at = r->room = RIG_DATA;
	r->mem[at] = class_;
	r->mem[at + 1] = command;
	memcpy(r->mem + at + 64, data, len);
	r->mem[at + 64 + ((len + 63) & ~63u)] = 0xff;
	rig_add(r, q, parts, 2, 1);
	rig_write(r, TNET_NOTIFY + q->index * TNET_NOTIFY_STEP, q->index, 2);
	id = rig_used(r, q, NULL);
	return id < 0 ? -1 : r->mem[at + 64 + ((len + 63) & ~63u)];
}

#endif

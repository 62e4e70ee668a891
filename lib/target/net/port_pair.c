/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The port `pair`: two controllers wired to each other.
 *
 * Each direction has one byte ring per queue of the sender, written by the sender's thread and read
 * by one of the receiver's; a packet is copied in and, by the receiver's thread, out again. The
 * threads share nothing else, so neither guest can hold up the other's thread, or reach its memory.
 *
 * A record is a head of 32 bytes and the frame, in one piece, at a multiple of 32; a head that says
 * SKIP sends the reader back to the beginning. head and tail count bytes and never wrap; each side
 * keeps a copy of the other's and looks again only when that says full or empty.
 *
 *	writer			reader that is to sleep
 *	store tail		store is_asleep
 *	fence			fence
 *	load is_asleep		load tail
 *
 * Who receives from a ring: queue q of the receiver reads the rings q, q + n, q + 2n, ... of the
 * sender, n being how many of its queues are active. That changes behind the receiver's gate.
 *
 * Nobody at the other end, or nobody who reads for a tenth of a second: packets are lost, as on a
 * wire without a listener. Otherwise a ring that is full holds up the sender, which loses nothing.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/barrier.h>
#include <bellhop/clock.h>

#include "target/net/port.h"

#define RING_BYTES (1u << 20)
#define ALIGN 32u
#define SKIP UINT32_MAX
#define PATIENCE_NS 100000000ull

struct record {
	uint32_t len;
	struct bh_virtio_net_hdr hdr;
	uint8_t spare[ALIGN - 4 - sizeof(struct bh_virtio_net_hdr)];
};

struct ring {
	/* the writer's */
	uint64_t tail __attribute__((aligned(64))); /* __atomic */
	uint64_t head_seen;
	uint64_t full_since;
	/* the reader's */
	uint64_t head __attribute__((aligned(64))); /* __atomic */
	uint64_t tail_seen;
	uint32_t is_asleep; /* __atomic */
	uint8_t *bytes;
};

struct end {
	struct bh_net_port port;
	struct wire *wire;
	unsigned int side;
	struct ring *in; /* one for each queue of the other side */
	pthread_mutex_t lock;
	struct tnet_waker waker[BH_TARGET_NET_MAX_QUEUES]; /* under lock */
	uint32_t active; /* __atomic: queues received from; 0: nobody is there */
	/* of what was shown last, per queue of ours: which ring, and where it ends there */
	unsigned int next_ring[BH_TARGET_NET_MAX_QUEUES];
	struct iovec iov[BH_TARGET_NET_MAX_QUEUES][64];
	uint64_t shown_to[BH_TARGET_NET_MAX_QUEUES][64];
};

struct wire {
	unsigned int refs, queues;
	struct end end[2];
	struct ring ring[];
};

static struct end *end_of(struct bh_net_port *port)
{
	return (struct end *)(void *)port; /* its first member */
}

static struct end *other(struct end *e)
{
	return &e->wire->end[!e->side];
}

/* ---- writing ---- */

static uint64_t space_for(uint32_t len)
{
	return (sizeof(struct record) + len + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
}

/* A place for so many bytes in one piece at *tail, which skips what is left before the end. */
static bool make_room(struct ring *r, uint64_t *tail, uint64_t bytes)
{
	uint64_t to_end = RING_BYTES - *tail % RING_BYTES;
	uint64_t need = bytes <= to_end ? bytes : to_end + bytes;
	struct record *skip;

	if (*tail + need - r->head_seen > RING_BYTES) {
		r->head_seen = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
		if (*tail + need - r->head_seen > RING_BYTES)
			return false;
	}
	if (bytes > to_end) {
		skip = (struct record *)(void *)(r->bytes + *tail % RING_BYTES);
		skip->len = SKIP;
		*tail += to_end;
	}
	return true;
}

static void put(struct ring *r, uint64_t *tail, const struct tnet_pkt *pkt)
{
	struct record *rec = (struct record *)(void *)(r->bytes + *tail % RING_BYTES);
	uint8_t *to = (uint8_t *)(rec + 1);
	uint32_t i;

	rec->len = pkt->len;
	rec->hdr = pkt->hdr;
	for (i = 0; i < pkt->num_iov; i++) {
		memcpy(to, pkt->iov[i].iov_base, pkt->iov[i].iov_len);
		to += pkt->iov[i].iov_len;
	}
	*tail += space_for(pkt->len);
}

static void wake(struct end *e, unsigned int ring)
{
	uint32_t active = __atomic_load_n(&e->active, __ATOMIC_ACQUIRE);
	const struct tnet_waker *w;

	if (!active)
		return;
	pthread_mutex_lock(&e->lock);
	w = &e->waker[ring % active];
	if (w->wake)
		w->wake(w->ctx);
	pthread_mutex_unlock(&e->lock);
}

/* Has nobody read for too long? */
static bool is_stuck(struct ring *r)
{
	uint64_t now = bh_now_ns();

	if (!r->full_since)
		r->full_since = now;
	return now - r->full_since > PATIENCE_NS;
}

static unsigned int pair_tx(struct bh_net_port *port, unsigned int queue, struct tnet_pkt *pkt,
			    unsigned int count)
{
	struct end *to = other(end_of(port));
	struct ring *r = &to->in[queue];
	uint64_t tail = r->tail;
	unsigned int n;

	if (!__atomic_load_n(&to->active, __ATOMIC_ACQUIRE))
		return count;
	for (n = 0; n < count && make_room(r, &tail, space_for(pkt[n].len)); n++)
		put(r, &tail, &pkt[n]);
	if (n)
		r->full_since = 0;
	else
		return is_stuck(r) ? count : 0;
	__atomic_store_n(&r->tail, tail, __ATOMIC_RELEASE);
	bh_mb(); /* see above */
	if (__atomic_load_n(&r->is_asleep, __ATOMIC_RELAXED)) {
		__atomic_store_n(&r->is_asleep, 0, __ATOMIC_RELAXED);
		wake(to, queue);
	}
	return n;
}

/* ---- reading ---- */

static bool has_more(struct ring *r, uint64_t at)
{
	if (at != r->tail_seen)
		return true;
	r->tail_seen = __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
	return at != r->tail_seen;
}

static unsigned int show(struct end *e, unsigned int queue, struct ring *r, struct tnet_pkt *pkt,
			 unsigned int count)
{
	uint64_t at = r->head;
	unsigned int n = 0;

	while (n < count && has_more(r, at)) {
		struct record *rec = (struct record *)(void *)(r->bytes + at % RING_BYTES);

		if (rec->len == SKIP) {
			at += RING_BYTES - at % RING_BYTES;
			continue;
		}
		e->iov[queue][n] = (struct iovec){ rec + 1, rec->len };
		pkt[n].hdr = rec->hdr;
		pkt[n].len = rec->len;
		pkt[n].num_iov = 1;
		pkt[n].iov = &e->iov[queue][n];
		at += space_for(rec->len);
		e->shown_to[queue][n++] = at;
	}
	return n;
}

/* The rings take turns: the one that was shown last comes last. */
static unsigned int pair_rx(struct bh_net_port *port, unsigned int queue, struct tnet_pkt *pkt,
			    unsigned int count)
{
	struct end *e = end_of(port);
	unsigned int active = __atomic_load_n(&e->active, __ATOMIC_RELAXED);
	unsigned int tries, n = 0, ring = e->next_ring[queue];

	if (count > 64)
		count = 64;
	for (tries = 0; active && tries * active < e->wire->queues && !n; tries++) {
		ring = ring + active < e->wire->queues ? ring + active : queue;
		n = show(e, queue, &e->in[ring], pkt, count);
	}
	e->next_ring[queue] = ring;
	return n;
}

static void pair_rx_done(struct bh_net_port *port, unsigned int queue, unsigned int count)
{
	struct end *e = end_of(port);

	if (count)
		__atomic_store_n(&e->in[e->next_ring[queue]].head, e->shown_to[queue][count - 1],
				 __ATOMIC_RELEASE);
}

static bool pair_arm(struct bh_net_port *port, unsigned int queue)
{
	struct end *e = end_of(port);
	unsigned int active = __atomic_load_n(&e->active, __ATOMIC_RELAXED);
	unsigned int ring;
	bool is_there = false;

	if (!active)
		return false;
	for (ring = queue; ring < e->wire->queues; ring += active)
		__atomic_store_n(&e->in[ring].is_asleep, 1, __ATOMIC_RELAXED);
	bh_mb(); /* see above */
	for (ring = queue; ring < e->wire->queues; ring += active)
		is_there |= has_more(&e->in[ring], e->in[ring].head);
	return is_there;
}

/* ---- control ---- */

/* What waits in the rings is forgotten by the reader when it goes. */
static void pair_set_active(struct bh_net_port *port, unsigned int count)
{
	struct end *e = end_of(port);
	unsigned int i;

	for (i = 0; i < count; i++)
		e->next_ring[i] = i;
	__atomic_store_n(&e->active, count, __ATOMIC_RELEASE);
}

static void pair_stop(struct bh_net_port *port)
{
	struct end *e = end_of(port);
	unsigned int i;

	pair_set_active(port, 0);
	for (i = 0; i < e->wire->queues; i++) {
		struct ring *r = &e->in[i];

		r->tail_seen = __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
		__atomic_store_n(&r->head, r->tail_seen, __ATOMIC_RELEASE);
	}
}

static void pair_set_waker(struct bh_net_port *port, unsigned int queue,
			   const struct tnet_waker *waker)
{
	struct end *e = end_of(port);

	pthread_mutex_lock(&e->lock);
	e->waker[queue] = *waker;
	pthread_mutex_unlock(&e->lock);
}

static void wire_free(struct wire *w)
{
	unsigned int i;

	for (i = 0; i < 2 * w->queues; i++)
		free(w->ring[i].bytes);
	for (i = 0; i < 2; i++)
		pthread_mutex_destroy(&w->end[i].lock);
	free(w);
}

static void pair_close(struct bh_net_port *port)
{
	struct wire *w = end_of(port)->wire;

	if (--w->refs == 0)
		wire_free(w);
}

static const struct bh_net_port_ops pair_ops = {
	.name = "pair",
	.features = TNET_OFFLOADS_TX | TNET_OFFLOADS_RX,
	.is_filtered = true,
	.stop = pair_stop,
	.set_active = pair_set_active,
	.set_waker = pair_set_waker,
	.tx = pair_tx,
	.rx = pair_rx,
	.rx_done = pair_rx_done,
	.arm = pair_arm,
	.close = pair_close,
};

int bh_net_port_pair(const struct bh_net_port_opts *opts, struct bh_net_port *end[2])
{
	unsigned int i, n = 2 * opts->queues;
	size_t bytes = sizeof(struct wire) + n * sizeof(struct ring);
	struct wire *w;
	bool ok = true;

	if (!opts->queues || opts->queues > BH_TARGET_NET_MAX_QUEUES)
		return -EINVAL;
	w = aligned_alloc(64, (bytes + 63) / 64 * 64);
	if (!w)
		return -ENOMEM;
	memset(w, 0, bytes);
	w->queues = opts->queues;
	for (i = 0; i < n; i++) {
		w->ring[i].bytes = aligned_alloc(64, RING_BYTES);
		ok &= w->ring[i].bytes != NULL;
	}
	for (i = 0; i < 2; i++) {
		struct end *e = &w->end[i];

		e->port = (struct bh_net_port){ &pair_ops, opts->log, opts->queues, false };
		e->wire = w;
		e->side = i;
		e->in = &w->ring[i * opts->queues];
		pthread_mutex_init(&e->lock, NULL);
		end[i] = &e->port;
	}
	w->refs = 2;
	if (ok)
		return 0;
	wire_free(w);
	return -ENOMEM;
}

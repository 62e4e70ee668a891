/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fake device's side of the rings: chains fetched, frames looped back, used entries written, in
 * either format, in order or not. Slow and plain on purpose.
 */
#include "fake_nic.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/barrier.h>

enum { MAX_PIECES = 64, MAX_BATCH = 512 };

struct chain {
	uint16_t id, descs;
	unsigned int count;
	struct {
		uint64_t addr;
		uint32_t len;
		bool write;
	} piece[MAX_PIECES];
};

void *nic_ptr(struct nic *n, uint64_t iova, size_t len)
{
	void *va = (void *)(uintptr_t)(iova - NIC_DELTA);

	if (bh_dma_space_find(n->dev.space, va, len))
		return va;
	n->faults++;
	return NULL;
}

static bool is_packed(const struct nic *n)
{
	return nic_has(n, BH_VIRTIO_F_RING_PACKED);
}

static struct bh_virtq_packed_desc *packed_at(struct nic *n, struct nic_queue *q, uint16_t pos)
{
	struct bh_virtq_packed_desc *ring = nic_ptr(n, q->desc, sizeof(*ring) * q->size);

	return &ring[pos];
}

static void step(uint16_t *pos, bool *wrap, uint16_t size)
{
	if (++*pos == size) {
		*pos = 0;
		*wrap = !*wrap;
	}
}

static void piece_add(struct nic *n, struct chain *c, uint64_t addr, uint32_t len, bool write)
{
	if (c->count == MAX_PIECES || len == 0 || !nic_ptr(n, addr, len)) {
		n->faults++;
		return;
	}
	c->piece[c->count].addr = addr;
	c->piece[c->count].len = len;
	c->piece[c->count++].write = write;
}

static void packed_indirect(struct nic *n, struct chain *c, uint64_t addr, uint32_t len)
{
	struct bh_virtq_packed_desc *t = nic_ptr(n, addr, len);

	n->indirect++;
	if (!nic_has(n, BH_VIRTIO_F_INDIRECT_DESC) || len % sizeof(*t))
		n->faults++;
	for (uint32_t i = 0; t && i < len / sizeof(*t); i++)
		piece_add(n, c, t[i].addr, t[i].len, t[i].flags & BH_VIRTQ_DESC_F_WRITE);
}

static bool packed_fetch(struct nic *n, struct nic_queue *q, struct chain *c)
{
	struct bh_virtq_packed_desc *d = packed_at(n, q, q->avail);
	uint16_t flags = bh_load_acquire_u16(&d->flags);

	memset(c, 0, sizeof(*c));
	if (!bh_virtq_packed_is_avail(flags, q->avail_wrap))
		return false;
	for (;;) {
		c->descs++;
		if (flags & BH_VIRTQ_DESC_F_INDIRECT)
			packed_indirect(n, c, d->addr, d->len);
		else
			piece_add(n, c, d->addr, d->len, flags & BH_VIRTQ_DESC_F_WRITE);
		c->id = d->id;
		step(&q->avail, &q->avail_wrap, q->size);
		if (!(flags & BH_VIRTQ_DESC_F_NEXT))
			return true;
		d = packed_at(n, q, q->avail);
		flags = bh_load_acquire_u16(&d->flags);
		if (!bh_virtq_packed_is_avail(flags, q->avail_wrap))
			n->faults++; /* a chain is there as a whole */
	}
}

/* `descs`: how far the used position goes. */
static void packed_used(struct nic *n, struct nic_queue *q, uint16_t id, uint32_t len,
			unsigned int descs, uint16_t extra)
{
	struct bh_virtq_packed_desc *d = packed_at(n, q, q->used);

	d->id = id;
	d->len = len;
	bh_store_release_u16(&d->flags, extra | bh_virtq_packed_used_flags(q->used_wrap));
	while (descs-- > 0)
		step(&q->used, &q->used_wrap, q->size);
}

static bool split_fetch(struct nic *n, struct nic_queue *q, struct chain *c)
{
	struct bh_virtq_avail *avail = nic_ptr(n, q->driver, bh_virtq_avail_bytes(q->size));
	struct bh_virtq_desc *table = nic_ptr(n, q->desc, bh_virtq_desc_bytes(q->size)), *d;

	memset(c, 0, sizeof(*c));
	if (bh_load_acquire_u16(&avail->idx) == q->avail)
		return false;
	c->id = avail->ring[q->avail++ % q->size];
	d = &table[c->id];
	c->descs = 1; /* of no meaning here: used entries count chains */
	if (d->flags & BH_VIRTQ_DESC_F_INDIRECT) {
		n->indirect++;
		if (!nic_has(n, BH_VIRTIO_F_INDIRECT_DESC))
			n->faults++;
		table = nic_ptr(n, d->addr, d->len);
		d = table;
	}
	for (; table; d = &table[d->next]) {
		piece_add(n, c, d->addr, d->len, d->flags & BH_VIRTQ_DESC_F_WRITE);
		if (!(d->flags & BH_VIRTQ_DESC_F_NEXT))
			break;
	}
	return true;
}

static void split_used(struct nic *n, struct nic_queue *q, uint32_t id, uint32_t len, uint16_t by)
{
	struct bh_virtq_used *used = nic_ptr(n, q->device, bh_virtq_used_bytes(q->size));

	used->ring[q->used % q->size] = (struct bh_virtq_used_elem){ id, len };
	q->used = (uint16_t)(q->used + by);
	bh_store_release_u16(&used->idx, q->used);
}

static bool fetch(struct nic *n, struct nic_queue *q, struct chain *c)
{
	return is_packed(n) ? packed_fetch(n, q, c) : split_fetch(n, q, c);
}

bool nic_has_avail(struct nic *n, unsigned int queue)
{
	struct nic_queue *q = &n->q[queue], before = *q;
	struct chain c;
	bool there = q->enabled && fetch(n, q, &c);

	*q = before;
	return there;
}

/* ---- sending ---- */

void nic_inject(struct nic *n, unsigned int pair, const void *data, uint32_t len)
{
	struct nic_frame *f = &n->fifo[n->tail % NIC_FRAMES];

	if (n->tail - n->head == NIC_FRAMES) {
		n->dropped++;
		return;
	}
	f->data = malloc(len + sizeof(struct bh_virtio_net_hdr));
	f->len = len + (uint32_t)sizeof(struct bh_virtio_net_hdr);
	f->pair = pair;
	memset(f->data, 0, sizeof(struct bh_virtio_net_hdr));
	memcpy(f->data + sizeof(struct bh_virtio_net_hdr), data, len);
	n->tail++;
}

static void frame_take(struct nic *n, unsigned int pair, const struct chain *c)
{
	static uint8_t bytes[NIC_FRAME + 2048];
	uint32_t len = 0;

	for (unsigned int i = 0; i < c->count; i++) {
		if (c->piece[i].write || len + c->piece[i].len > sizeof(bytes)) {
			n->faults++;
			return;
		}
		memcpy(bytes + len, nic_ptr(n, c->piece[i].addr, c->piece[i].len), c->piece[i].len);
		len += c->piece[i].len;
	}
	if (len <= sizeof(n->last_hdr)) {
		n->faults++;
		return;
	}
	memcpy(&n->last_hdr, bytes, sizeof(n->last_hdr));
	n->last_pieces = c->count;
	n->sent++;
	nic_inject(n, pair, bytes + sizeof(n->last_hdr), len - (uint32_t)sizeof(n->last_hdr));
}

static uint16_t lie_id(struct nic *n, enum nic_lie range, enum nic_lie twice, uint16_t id,
		       const struct nic_queue *q)
{
	enum nic_lie lie = n->lie;

	if (lie == range || lie == twice)
		n->lie = NIC_HONEST;
	if (lie == range)
		return (uint16_t)(q->size + 3);
	if (lie == twice)
		return n->last_id[q - n->q];
	n->last_id[q - n->q] = id;
	return id;
}

/* Used entries of a batch: one for all in order, else one each, backwards if so wished. */
static void tx_used(struct nic *n, struct nic_queue *q, const struct chain *batch,
		    unsigned int count)
{
	bool in_order = nic_has(n, BH_VIRTIO_F_IN_ORDER);
	unsigned int descs = 0;

	for (unsigned int i = 0; i < count; i++) {
		const struct chain *c = &batch[n->reverse && !in_order ? count - 1 - i : i];
		uint16_t id = lie_id(n, NIC_TX_ID, NIC_TX_TWICE, c->id, q);

		descs += c->descs;
		if (in_order && i + 1 < count && id == c->id)
			continue;
		if (is_packed(n))
			packed_used(n, q, id, 0, in_order ? descs : c->descs, 0);
		else
			split_used(n, q, id, 0, (uint16_t)(in_order ? count : 1));
	}
}

static void tx_work(struct nic *n, unsigned int pair)
{
	struct nic_queue *q = &n->q[BH_VIRTIO_NET_TXQ(pair)];
	static struct chain batch[MAX_BATCH];
	unsigned int count = 0;

	while (count < MAX_BATCH && fetch(n, q, &batch[count])) {
		frame_take(n, pair, &batch[count]);
		count++;
	}
	if (n->lie == NIC_IDX_FAR && !is_packed(n)) {
		n->lie = NIC_HONEST;
		split_used(n, q, 0, 0, (uint16_t)(count + 1));
		return;
	}
	if (count > 0)
		tx_used(n, q, batch, count);
}

/* ---- receiving ---- */

static void rx_signal(struct nic *n, struct nic_queue *q)
{
	struct bh_virtq_packed_event *event = nic_ptr(n, q->driver, sizeof(*event));
	struct bh_virtq_avail *avail = nic_ptr(n, q->driver, bh_virtq_avail_bytes(q->size));
	uint64_t one = 1;
	bool wanted;

	if (is_packed(n))
		wanted = event->flags == BH_VIRTQ_EVENT_ENABLE;
	else if (nic_has(n, BH_VIRTIO_F_EVENT_IDX))
		wanted = bh_virtq_need_event(*bh_virtq_used_event(avail, q->size), q->used,
					     (uint16_t)(q->used - 1));
	else
		wanted = !(avail->flags & BH_VIRTQ_AVAIL_F_NO_INTERRUPT);
	if (wanted && q->vector < NIC_QUEUES && n->efd[q->vector] >= 0 &&
	    write(n->efd[q->vector], &one, sizeof(one)) != sizeof(one))
		n->faults++;
}

static uint32_t lie_len(struct nic *n, uint32_t len, const struct chain *c)
{
	if (n->lie == NIC_RX_LONG)
		len = c->piece[0].len + 1;
	else if (n->lie == NIC_RX_SHORT)
		len = 12;
	else
		return len;
	n->lie = NIC_HONEST;
	return len;
}

static void rx_used(struct nic *n, struct nic_queue *q, const struct chain *c, uint32_t len)
{
	uint16_t id = lie_id(n, NIC_RX_ID, NIC_RX_TWICE, c->id, q);

	len = lie_len(n, len, c);
	if (is_packed(n))
		packed_used(n, q, id, len, 1, BH_VIRTQ_DESC_F_WRITE);
	else
		split_used(n, q, id, len, 1);
	rx_signal(n, q);
}

/* The header as it goes out with a frame in so many buffers. */
static void rx_header(struct nic *n, struct nic_frame *f, uint16_t buffers)
{
	struct bh_virtio_net_hdr hdr = { .num_buffers = buffers };

	if (n->have_next_hdr) {
		hdr = n->next_hdr;
		hdr.num_buffers = buffers;
		n->have_next_hdr = false;
	}
	if (n->lie == NIC_MRG_NONE || n->lie == NIC_MRG_MANY) {
		hdr.num_buffers = n->lie == NIC_MRG_NONE ? 0 : 60000;
		n->lie = NIC_HONEST;
	}
	memcpy(f->data, &hdr, sizeof(hdr));
}

/* One frame into as many buffers as it takes; false: not enough of them, nothing was taken. */
static bool rx_frame(struct nic *n, struct nic_frame *f)
{
	struct nic_queue *q = &n->q[BH_VIRTIO_NET_RXQ(f->pair)], before = *q;
	static struct chain c[MAX_PIECES];
	unsigned int count = 0;
	uint32_t room = 0, at = 0, len;

	if (!q->enabled)
		return false;
	while (room < f->len && count < MAX_PIECES && fetch(n, q, &c[count])) {
		if (c[count].count != 1 || !c[count].piece[0].write)
			n->faults++;
		room += c[count++].piece[0].len;
		if (!nic_has(n, BH_VIRTIO_NET_F_MRG_RXBUF))
			break;
	}
	if (room < f->len) {
		*q = before;
		return false;
	}
	rx_header(n, f, (uint16_t)count);
	for (unsigned int i = 0; i < count; i++) {
		len = f->len - at < c[i].piece[0].len ? f->len - at : c[i].piece[0].len;
		memcpy(nic_ptr(n, c[i].piece[0].addr, len), f->data + at, len);
		at += len;
		rx_used(n, q, &c[i], len);
	}
	return true;
}

static void event_set(struct nic *n, struct nic_queue *q)
{
	struct bh_virtq_packed_event *event = nic_ptr(n, q->device, sizeof(*event));
	struct bh_virtq_used *used = nic_ptr(n, q->device, bh_virtq_used_bytes(q->size));
	struct bh_virtq_avail *avail = nic_ptr(n, q->driver, bh_virtq_avail_bytes(q->size));

	if (is_packed(n)) {
		bh_store_u16(&event->flags,
			     n->silent ? BH_VIRTQ_EVENT_DISABLE : BH_VIRTQ_EVENT_ENABLE);
		return;
	}
	bh_store_u16(&used->flags, n->silent ? BH_VIRTQ_USED_F_NO_NOTIFY : 0);
	*bh_virtq_avail_event(used, q->size) = (uint16_t)(avail->idx - n->silent);
}

static void pairs_work(struct nic *n)
{
	for (unsigned int pair = 0; pair < NIC_PAIRS; pair++)
		if (n->q[BH_VIRTIO_NET_TXQ(pair)].enabled)
			tx_work(n, pair);
	while (n->head != n->tail && rx_frame(n, &n->fifo[n->head % NIC_FRAMES]))
		free(n->fifo[n->head++ % NIC_FRAMES].data);
}

void nic_work(struct nic *n)
{
	if (!(n->status & BH_VIRTIO_STATUS_DRIVER_OK))
		return;
	pairs_work(n);
	for (unsigned int i = 0; i < 2 * NIC_PAIRS; i++)
		if (n->q[i].enabled)
			event_set(n, &n->q[i]);
}

void nic_command_work(struct nic *n)
{
	struct nic_queue *q = &n->q[NIC_QUEUES - 1];
	struct chain c;
	uint8_t *ack;

	while (q->enabled && fetch(n, q, &c)) {
		if (c.count != 2 || c.piece[0].write || !c.piece[1].write || c.piece[1].len != 1) {
			n->faults++;
			return;
		}
		n->commands++;
		n->command_len = c.piece[0].len;
		memcpy(n->command, nic_ptr(n, c.piece[0].addr, c.piece[0].len), c.piece[0].len);
		ack = nic_ptr(n, c.piece[1].addr, 1);
		*ack = n->ack;
		if (is_packed(n))
			packed_used(n, q, c.id, 1, c.descs, 0);
		else
			split_used(n, q, c.id, 1, 1);
		event_set(n, q);
	}
}

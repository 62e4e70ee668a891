/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The port `loopback`: from the client's transmit queue to the receive queue of the same pair, with
 * one copy and nothing in between.
 *
 * The run: as many packets as there are buffers for are fetched from one ring and as many buffers
 * from the other, so that the first lines of all of them are on their way to us before the first is
 * touched; then each packet is copied with a header that asks for nothing, and both runs are made
 * known. Packed rings have a shorter run, in which a descriptor is one load, one comparison and one
 * translation. That holds for packets in one piece, that fit into one buffer and whose header is plain. At
 * the first that is none of these the run ends, and that packet takes the long way, through
 * tnet_rx_put(), as does everything while no run can be made.
 */
#include <errno.h>

#include "target/net/copy_io.h"
#include "target/net/net.h"
#include "virtio_dev/vdq_io.h"

static inline bool is_simple(const struct bh_vdq_chain *c, const struct bh_vdq_chain *in)
{
	return c->out == 1 && !c->in && in->in == 1 && !in->out && c->num_desc == 1 &&
	       in->num_desc == 1 &&
	       c->out_bytes - (TNET_HDR + TNET_COPY_MIN) <= TNET_MAX_FRAME - TNET_COPY_MIN &&
	       in->in_bytes >= c->out_bytes;
}

/* Packets and buffers for a run; how many. The rings stand behind them. */
static unsigned int fetch(struct tnet_pair *p)
{
	struct tnet_thread *t = p->thread;
	unsigned int n, i;

	for (n = 0; n < TNET_BURST; n++) {
		if (bh_vdq_pop(&p->tx, &t->chain[n], &t->seg[n], 1) != 1)
			break;
		if (t->chain[n].out_bytes > 64) {
			bh_prefetch(t->seg[n].va);
			bh_prefetch(t->seg[n].va + 64);
		}
	}
	for (i = 0; i < n; i++) {
		if (bh_vdq_pop(&p->rx, &t->in[i], &t->in_seg[i], 1) != 1)
			break;
		if (t->in[i].in_bytes > 64) {
			__builtin_prefetch(t->in_seg[i].va, 1, 3);
			__builtin_prefetch(t->in_seg[i].va + 64, 1, 3);
		}
	}
	return i;
}

/* Copies up to n packets; how many. *bytes of frames. */
static unsigned int copy_run(struct tnet_pair *p, unsigned int n, uint64_t *bytes)
{
	static const struct bh_virtio_net_hdr plain = { .num_buffers = 1 };
	struct tnet_thread *t = p->thread;
	unsigned int i;

	for (i = 0; i < n; i++) {
		const struct bh_vdq_chain *c = &t->chain[i];
		const uint8_t *from = t->seg[i].va;
		uint8_t *to = t->in_seg[i].va;

		if (__builtin_expect(!is_simple(c, &t->in[i]) || bh_load_u16(from), 0))
			break; /* flags and gso_type: both 0 in a plain header */
		__builtin_memcpy(to, &plain, sizeof(plain));
		tnet_copy(to + TNET_HDR, from + TNET_HDR, c->out_bytes - TNET_HDR);
		if (__builtin_expect(p->rx.is_logged, 0))
			bh_cmem_dirty(p->net->cmem, t->in_seg[i].iova, c->out_bytes);
		bh_vdq_push(&p->rx, &t->in[i], c->out_bytes);
		*bytes += c->out_bytes - TNET_HDR;
	}
	return i;
}

static inline void count_run(struct tnet_pair *p, unsigned int n, uint64_t bytes)
{
	tnet_count(&p->counts.tx_packets, n);
	tnet_count(&p->counts.rx_packets, n);
	tnet_count(&p->counts.tx_bytes, bytes);
	tnet_count(&p->counts.rx_bytes, bytes);
}

/*
 * The same for packed rings, where nothing but the buffers needs to be known. What is_simple() asks
 * was asked by bh_vdq_peek(), but for the lengths.
 */
static unsigned int run_packed(struct tnet_pair *p)
{
	static const struct bh_virtio_net_hdr plain = { .num_buffers = 1 };
	struct bh_vdq_one tx[TNET_BURST], rx[TNET_BURST];
	unsigned int n = bh_vdq_peek(&p->tx, tx, TNET_BURST, false), i;
	uint64_t bytes = 0;

	n = bh_vdq_peek(&p->rx, rx, n, true);
	for (i = 0; i < n; i++) {
		uint32_t len = tx[i].len;

		if (__builtin_expect(len - (TNET_HDR + TNET_COPY_MIN) >
						     TNET_MAX_FRAME - TNET_COPY_MIN ||
					     rx[i].len < len || bh_load_u16(tx[i].va),
				     0))
			break; /* flags and gso_type: both 0 in a plain header */
		__builtin_memcpy(rx[i].va, &plain, sizeof(plain));
		tnet_copy(rx[i].va + TNET_HDR, tx[i].va + TNET_HDR, len - TNET_HDR);
		bh_vdq_stage_packed(&p->rx, rx[i].id, 1, len);
		bytes += len - TNET_HDR;
	}
	if (!i)
		return 0;
	bh_vdq_advance_avail(&p->tx, (uint16_t)i);
	bh_vdq_advance_avail(&p->rx, (uint16_t)i);
	if (p->tx.is_in_order)
		bh_vdq_stage_packed(&p->tx, tx[i - 1].id, (uint16_t)i, 0);
	for (n = p->tx.is_in_order ? i : 0; n < i; n++)
		bh_vdq_stage_packed(&p->tx, tx[n].id, 1, 0);
	count_run(p, i, bytes);
	return i;
}

static void give_back(struct tnet_pair *p, unsigned int n)
{
	struct bh_vdq_chain *c = p->thread->chain;
	struct bh_vdq *q = &p->tx;
	unsigned int i;

	if (q->is_packed && q->is_in_order) { /* each of one place */
		bh_vdq_push_run(q, c[n - 1].id, (uint16_t)n, 0);
		return;
	}
	for (i = 0; i < n; i++)
		bh_vdq_push(q, &c[i], 0);
}

static unsigned int run(struct tnet_pair *p)
{
	const struct bh_vdq_pos tx = bh_vdq_tell(&p->tx), rx = bh_vdq_tell(&p->rx);
	uint64_t bytes = 0;
	unsigned int n = copy_run(p, fetch(p), &bytes);

	/* Back to behind the last that was copied: a run takes one place for each, in both rings. */
	bh_vdq_rewind(&p->tx, tx);
	bh_vdq_rewind(&p->rx, rx);
	if (!n)
		return 0;
	bh_vdq_advance_avail(&p->tx, (uint16_t)n);
	bh_vdq_advance_avail(&p->rx, (uint16_t)n);
	give_back(p, n);
	count_run(p, n, bytes);
	return n;
}

/* The long way for one packet. Work done. */
static unsigned int one(struct tnet_pair *p)
{
	struct bh_vdq_pos pos = bh_vdq_tell(&p->tx);
	struct tnet_thread *t = p->thread;
	struct bh_vdq_chain *c = t->chain;
	struct tnet_pkt *pkt = t->pkt;
	int rc = -EMSGSIZE;

	if (bh_vdq_pop(&p->tx, c, t->seg, TNET_SEGS) != 1)
		return 0;
	if (!tnet_pkt_of_chain(c, pkt, t->iov)) {
		bh_vdq_break(&p->tx, "a packet has no header, or is to be written");
		return 1;
	}
	if (!p->rx.is_live || pkt->len < TNET_MIN_FRAME || pkt->len > TNET_MAX_FRAME ||
	    !tnet_hdr_is_sane(&pkt->hdr, pkt->len, p->features))
		tnet_count(&p->counts.tx_drops, 1);
	else
		rc = tnet_hdr_is_welcome(&pkt->hdr, p->features) ? tnet_rx_put(p, pkt)
								 : tnet_rx_put_worked(p, pkt);
	if (rc == -EAGAIN) { /* waits for buffers */
		bh_vdq_rewind(&p->tx, pos);
		return 0;
	}
	tnet_count(&p->counts.tx_packets, 1);
	tnet_count(&p->counts.tx_bytes, pkt->len);
	bh_vdq_push(&p->tx, c, 0);
	return 1;
}

unsigned int tnet_pass_loop(struct tnet_pair *p)
{
	unsigned int n;

	if (!bh_vdq_is_avail(&p->tx))
		return 0;
	if (p->tx.is_packed && p->rx.is_live && !p->rx.is_logged)
		n = run_packed(p);
	else
		n = run(p);
	if (n < TNET_BURST)
		n += one(p);
	bh_vdq_flush(&p->rx);
	bh_vdq_flush(&p->tx);
	return n;
}

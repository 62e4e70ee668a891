/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the client to the port.
 *
 * A burst is fetched and shown to the port, which takes as many packets as it likes; the rest are
 * put back into the ring, as if they had not been seen. Packets that make no sense are not shown to
 * it, and count as taken. With IN_ORDER in a packed ring one used descriptor gives back all of the
 * burst (virtio 1.2 2.8.9).
 */
#include "target/net/net.h"
#include "virtio_dev/vdq_io.h"

bool tnet_pkt_of_chain(const struct bh_vdq_chain *c, struct tnet_pkt *pkt, struct iovec *iov)
{
	uint32_t left = TNET_HDR, n;
	unsigned int i;

	if (c->in || c->out_bytes < TNET_HDR)
		return false;
	pkt->iov = iov + 1;
	pkt->num_iov = 0;
	pkt->len = c->out_bytes - TNET_HDR;
	for (i = 0; i < c->out; i++) {
		n = c->seg[i].len < left ? c->seg[i].len : left;
		if (n)
			bh_fetch((uint8_t *)&pkt->hdr + (TNET_HDR - left), c->seg[i].va, n);
		left -= n;
		if (n == c->seg[i].len)
			continue;
		pkt->iov[pkt->num_iov].iov_base = c->seg[i].va + n;
		pkt->iov[pkt->num_iov++].iov_len = c->seg[i].len - n;
	}
	pkt->hdr.flags &= BH_VIRTIO_NET_HDR_F_NEEDS_CSUM; /* all a sender has to say */
	return true;
}

struct burst {
	unsigned int chains, pkts;
	unsigned int segs, iovs;
	unsigned int drops;
	uint8_t chain_of[TNET_BURST]; /* of a packet */
};

static void fetch(struct tnet_pair *p, struct burst *b)
{
	struct tnet_thread *t = p->thread;

	while (b->chains < TNET_BURST) {
		struct bh_vdq_chain *c = &t->chain[b->chains];
		struct tnet_pkt *pkt = &t->pkt[b->pkts];

		t->pos[b->chains] = bh_vdq_tell(&p->tx);
		if (bh_vdq_pop(&p->tx, c, &t->seg[b->segs], TNET_SEGS - b->segs) != 1)
			return;
		if (!tnet_pkt_of_chain(c, pkt, &t->iov[b->iovs])) {
			bh_vdq_break(&p->tx, "a packet has no header, or is to be written");
			return;
		}
		b->segs += c->out;
		b->chain_of[b->pkts] = (uint8_t)b->chains++;
		if (__builtin_expect(pkt->len < TNET_MIN_FRAME || pkt->len > TNET_MAX_FRAME ||
					     !tnet_hdr_is_sane(&pkt->hdr, pkt->len, p->features),
				     0)) {
			b->drops++;
			continue;
		}
		b->iovs += pkt->num_iov + 1;
		b->pkts++;
	}
}

/* The first `count` chains are done. */
static void give_back(struct tnet_pair *p, unsigned int count)
{
	struct bh_vdq *q = &p->tx;
	struct bh_vdq_chain *c = p->thread->chain;
	unsigned int i, places = 0;

	if (!(q->is_packed && q->is_in_order)) {
		for (i = 0; i < count; i++)
			bh_vdq_push(q, &c[i], 0);
		return;
	}
	for (i = 0; i < count; i++)
		places += c[i].num_desc;
	if (count)
		bh_vdq_push_run(q, c[count - 1].id, (uint16_t)places, 0);
}

static void count_tx(struct tnet_pair *p, unsigned int pkts)
{
	const struct tnet_pkt *pkt = p->thread->pkt;
	uint64_t bytes = 0;
	unsigned int i;

	for (i = 0; i < pkts; i++)
		bytes += pkt[i].len;
	tnet_count(&p->counts.tx_packets, pkts);
	tnet_count(&p->counts.tx_bytes, bytes);
}

unsigned int tnet_pass_tx(struct tnet_pair *p)
{
	struct bh_net_port *port = p->net->port;
	struct tnet_thread *t = p->thread;
	struct burst b = { 0 };
	unsigned int taken, done;

	if (!bh_vdq_is_avail(&p->tx))
		return 0;
	fetch(p, &b);
	taken = b.pkts ? port->ops->tx(port, p->index, t->pkt, b.pkts) : 0;
	done = taken < b.pkts ? b.chain_of[taken] : b.chains;
	if (done < b.chains)
		bh_vdq_rewind(&p->tx, t->pos[done]);
	/* Those that were dropped and put back are met again. */
	if (done == b.chains)
		tnet_count(&p->counts.tx_drops, b.drops);
	p->is_blocked = done < b.chains;
	count_tx(p, taken);
	give_back(p, done);
	bh_vdq_flush(&p->tx);
	return done;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the port to the client.
 *
 * The port shows a burst of packets; each is copied behind its header into one buffer of the
 * client's, or with MRG_RXBUF into as many as it takes (virtio 1.2 5.1.6.4), and the port lets go
 * of those that were. A packet for which there are not enough buffers waits in the port.
 *
 * The run: in a packed ring packets in one piece with a plain header, each of which fits into the
 * next buffer, are copied with no more than that looked at. The first that is none of these, and
 * what comes behind it, takes the long way.
 */
#include <errno.h>

#include "target/net/copy_io.h"
#include "target/net/net.h"
#include "virtio_dev/vdq_io.h"

/* A place in the buffers of one packet. */
struct sink {
	const struct bh_cmem *cmem;
	const struct bh_vdq_seg *seg;
	uint32_t at; /* in seg */
	bool is_logged;
};

static void pour(struct sink *s, const uint8_t *from, size_t len)
{
	while (len) {
		uint32_t room = s->seg->len - s->at;
		uint32_t n = len < room ? (uint32_t)len : room;

		__builtin_memmove(s->seg->va + s->at, from, n); /* both may be the client's */
		if (s->is_logged)
			bh_cmem_dirty(s->cmem, s->seg->iova + s->at, n);
		from += n;
		len -= n;
		s->at += n;
		if (s->at == s->seg->len) {
			s->seg++;
			s->at = 0;
		}
	}
}

/* Buffers for `need` bytes; how many, or an error of tnet_rx_put() with none taken. */
static int gather(struct tnet_pair *p, uint32_t need)
{
	struct bh_vdq_pos pos = bh_vdq_tell(&p->rx);
	struct tnet_thread *t = p->thread;
	unsigned int n = 0, segs = 0, places = 0;
	uint32_t have = 0;
	int rc = 0;

	while (have < need && !rc) {
		struct bh_vdq_chain *c = &t->in[n];

		rc = bh_vdq_pop(&p->rx, c, &t->in_seg[segs], TNET_SEGS - segs);
		if (rc != 1) {
			rc = rc == 0 ? -EAGAIN : rc == -ENOSPC ? -EMSGSIZE : rc;
			break;
		}
		if (c->out || c->in_bytes < TNET_HDR)
			return bh_vdq_break(&p->rx, "a receive buffer is to be read, or too small");
		segs += c->in;
		have += c->in_bytes;
		places += c->num_desc;
		n++;
		rc = 0;
		if (have < need && (!p->is_mergeable || n == TNET_MERGE || places >= p->rx.size))
			rc = -EMSGSIZE;
	}
	if (rc == 0)
		return (int)n;
	if (rc != -EPROTO)
		bh_vdq_rewind(&p->rx, pos);
	return rc;
}

int tnet_rx_put(struct tnet_pair *p, const struct tnet_pkt *pkt)
{
	struct tnet_thread *t = p->thread;
	struct sink sink = { p->net->cmem, t->in_seg, 0, p->rx.is_logged };
	uint32_t left = pkt->len + TNET_HDR;
	struct bh_virtio_net_hdr hdr = pkt->hdr;
	int i, n = gather(p, left);

	if (n < 0)
		return n;
	hdr.num_buffers = (uint16_t)n;
	pour(&sink, (const uint8_t *)&hdr, sizeof(hdr));
	for (i = 0; i < (int)pkt->num_iov; i++)
		pour(&sink, pkt->iov[i].iov_base, pkt->iov[i].iov_len);
	for (i = 0; i < n; i++) {
		uint32_t here = t->in[i].in_bytes < left ? t->in[i].in_bytes : left;

		bh_vdq_push(&p->rx, &t->in[i], here);
		left -= here;
	}
	tnet_count(&p->counts.rx_packets, 1);
	tnet_count(&p->counts.rx_bytes, pkt->len);
	return 0;
}

static inline bool is_filtered_out(const struct tnet_pair *p, const struct tnet_pkt *pkt)
{
	return p->net->port->ops->is_filtered &&
	       !tnet_filter_pass(&p->net->filter, pkt->iov[0].iov_base,
				 (uint32_t)pkt->iov[0].iov_len);
}

/* 0: done with it, one way or another. */
static int deliver(struct tnet_pair *p, const struct tnet_pkt *pkt)
{
	int rc;

	if (is_filtered_out(p, pkt)) {
		tnet_count(&p->counts.rx_drops, 1);
		return 0;
	}
	rc = tnet_hdr_is_welcome(&pkt->hdr, p->features) ? tnet_rx_put(p, pkt)
							 : tnet_rx_put_worked(p, pkt);
	if (rc != -EMSGSIZE)
		return rc;
	tnet_count(&p->counts.rx_drops, 1);
	return 0;
}

/* How many of the burst's first packets went this way. */
static unsigned int run_packed(struct tnet_pair *p, unsigned int count)
{
	struct bh_vdq_one to[TNET_BURST];
	struct tnet_thread *t = p->thread;
	unsigned int n = bh_vdq_peek(&p->rx, to, count, true), i;
	uint64_t bytes = 0;

	for (i = 0; i < n; i++) {
		const struct tnet_pkt *pkt = &t->pkt[i];
		struct bh_virtio_net_hdr hdr = pkt->hdr;

		if (pkt->num_iov != 1 || pkt->len < TNET_COPY_MIN ||
		    to[i].len < pkt->len + TNET_HDR || !tnet_hdr_is_plain(&hdr) ||
		    is_filtered_out(p, pkt))
			break;
		hdr.num_buffers = 1;
		__builtin_memcpy(to[i].va, &hdr, sizeof(hdr));
		tnet_copy(to[i].va + TNET_HDR, pkt->iov[0].iov_base, pkt->len);
		bh_vdq_stage_packed(&p->rx, to[i].id, 1, pkt->len + TNET_HDR);
		bytes += pkt->len;
	}
	bh_vdq_advance_avail(&p->rx, (uint16_t)i);
	tnet_count(&p->counts.rx_packets, i);
	tnet_count(&p->counts.rx_bytes, bytes);
	return i;
}

unsigned int tnet_pass_rx(struct tnet_pair *p)
{
	struct bh_net_port *port = p->net->port;
	struct tnet_thread *t = p->thread;
	unsigned int n, done = 0;

	if (!p->is_rx_active || !port->ops->rx || !bh_vdq_is_avail(&p->rx))
		return 0;
	n = port->ops->rx(port, p->index, t->pkt, TNET_BURST);
	if (!n)
		return 0;
	if (p->rx.is_packed && !p->rx.is_logged)
		done = run_packed(p, n);
	while (done < n && deliver(p, &t->pkt[done]) == 0)
		done++;
	port->ops->rx_done(port, p->index, done);
	bh_vdq_flush(&p->rx);
	return done;
}

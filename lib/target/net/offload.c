/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Offloads that one side asked for and the other did not agree to: a checksum to be completed, a
 * packet to be cut into segments (virtio 1.2 5.1.6.2, 5.1.6.3).
 *
 * A sender that negotiated CSUM or HOST_TSO leaves work to be done, and says where; a receiver that
 * negotiated GUEST_CSUM or GUEST_TSO takes such packets as they are. What follows is for one that
 * did not, and works on a copy of the frame in one piece. Everything in a header came from a
 * client: offsets are checked against the length before they are used.
 */
#include <errno.h>
#include <string.h>

#include "target/net/net.h"

#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_IPV6 0x86ddu
#define TCP_MIN 20u
#define TCP_FIN_PSH 0x09u
#define TCP_CWR 0x80u

static uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) << 16 | get16(p + 2);
}

/* RFC 1071, not folded. */
static uint32_t sum(const uint8_t *p, uint32_t len, uint32_t start)
{
	uint64_t total = start;

	for (; len > 1; p += 2, len -= 2)
		total += get16(p);
	if (len)
		total += (uint32_t)p[0] << 8;
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint32_t)total;
}

static uint8_t gso_kind(const struct bh_virtio_net_hdr *hdr)
{
	return hdr->gso_type & (uint8_t)~BH_VIRTIO_NET_HDR_GSO_ECN;
}

/* Of the feature that has to be negotiated for a packet of this kind; 64: there is none. */
static unsigned int gso_bit(const struct bh_virtio_net_hdr *hdr, bool is_guest)
{
	if (gso_kind(hdr) == BH_VIRTIO_NET_HDR_GSO_TCPV4)
		return is_guest ? BH_VIRTIO_NET_F_GUEST_TSO4 : BH_VIRTIO_NET_F_HOST_TSO4;
	if (gso_kind(hdr) == BH_VIRTIO_NET_HDR_GSO_TCPV6)
		return is_guest ? BH_VIRTIO_NET_F_GUEST_TSO6 : BH_VIRTIO_NET_F_HOST_TSO6;
	return 64;
}

bool tnet_hdr_is_sane(const struct bh_virtio_net_hdr *hdr, uint32_t len, uint64_t features)
{
	bool needs_csum = hdr->flags & BH_VIRTIO_NET_HDR_F_NEEDS_CSUM;
	unsigned int bit;

	if (tnet_hdr_is_plain(hdr))
		return true;
	if (needs_csum && (!tnet_has(features, BH_VIRTIO_NET_F_CSUM) || hdr->csum_start >= len ||
			   (uint32_t)hdr->csum_start + hdr->csum_offset + 2 > len))
		return false;
	if (hdr->gso_type == BH_VIRTIO_NET_HDR_GSO_NONE)
		return true;
	bit = gso_bit(hdr, false);
	return needs_csum && hdr->gso_size && bit < 64 && tnet_has(features, bit);
}

bool tnet_hdr_is_welcome(const struct bh_virtio_net_hdr *hdr, uint64_t features)
{
	unsigned int bit;

	if (tnet_hdr_is_plain(hdr))
		return true;
	if (!tnet_has(features, BH_VIRTIO_NET_F_GUEST_CSUM))
		return false;
	if (hdr->gso_type == BH_VIRTIO_NET_HDR_GSO_NONE)
		return true;
	if ((hdr->gso_type & BH_VIRTIO_NET_HDR_GSO_ECN) &&
	    !tnet_has(features, BH_VIRTIO_NET_F_GUEST_ECN))
		return false;
	bit = gso_bit(hdr, true);
	return bit < 64 && tnet_has(features, bit);
}

/* The field holds the sum of the pseudo header (5.1.6.2). */
bool tnet_csum_complete(const struct bh_virtio_net_hdr *hdr, uint8_t *frame, uint32_t len)
{
	uint32_t at = (uint32_t)hdr->csum_start + hdr->csum_offset, csum;

	if (!(hdr->flags & BH_VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return true;
	if (hdr->csum_start >= len || at + 2 > len)
		return false;
	csum = ~sum(frame + hdr->csum_start, len - hdr->csum_start, 0) & 0xffff;
	put16(frame + at, csum ? csum : 0xffff); /* 0 means none in UDP, and the same as ffff */
	return true;
}

/* Where the headers of a TCP packet lie. */
struct layout {
	bool is_v6;
	uint32_t l3, l4, payload;
};

static bool find_layout(const struct bh_virtio_net_hdr *hdr, const uint8_t *frame, uint32_t len,
			struct layout *at)
{
	uint32_t type;

	at->l3 = 14;
	at->l4 = hdr->csum_start;
	at->is_v6 = gso_kind(hdr) == BH_VIRTIO_NET_HDR_GSO_TCPV6;
	if (len < at->l3 + 4)
		return false;
	type = get16(frame + 12);
	if (type == 0x8100) {
		at->l3 = 18;
		type = get16(frame + 16);
	}
	if (type != (at->is_v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4))
		return false;
	if (at->l4 < at->l3 + (at->is_v6 ? 40 : 20) || at->l4 + TCP_MIN > len)
		return false;
	if (!at->is_v6 && at->l3 + 4 * (frame[at->l3] & 0xfu) != at->l4)
		return false;
	at->payload = at->l4 + 4 * (frame[at->l4 + 12] >> 4);
	return at->payload >= at->l4 + TCP_MIN && at->payload < len;
}

unsigned int tnet_gso_count(const struct bh_virtio_net_hdr *hdr, const uint8_t *frame, uint32_t len)
{
	struct layout at;

	if (!hdr->gso_size || !find_layout(hdr, frame, len, &at))
		return 0;
	return (len - at.payload + hdr->gso_size - 1) / hdr->gso_size;
}

/* RFC 9293 3.1, RFC 8200 8.1 */
static uint32_t pseudo_sum(const struct layout *at, const uint8_t *frame, uint32_t l4_len)
{
	if (at->is_v6)
		return sum(frame + at->l3 + 8, 32, l4_len + 6);
	return sum(frame + at->l3 + 12, 8, l4_len + 6);
}

static void finish_ip(const struct layout *at, uint8_t *out, uint32_t len, unsigned int i)
{
	uint8_t *ip = out + at->l3;

	if (at->is_v6) {
		put16(ip + 4, len - at->l3 - 40);
		return;
	}
	put16(ip + 2, len - at->l3);
	put16(ip + 4, get16(ip + 4) + i);
	put16(ip + 10, 0);
	put16(ip + 10, ~sum(ip, at->l4 - at->l3, 0) & 0xffff);
}

uint32_t tnet_gso_segment(const struct bh_virtio_net_hdr *hdr, const uint8_t *frame, uint32_t len,
			  unsigned int i, uint8_t *out)
{
	uint32_t from, size, total, seq;
	struct layout at;
	uint8_t *tcp;

	if (!find_layout(hdr, frame, len, &at))
		return 0;
	from = at.payload + i * hdr->gso_size;
	if (from >= len)
		return 0;
	size = len - from < hdr->gso_size ? len - from : hdr->gso_size;
	total = at.payload + size;
	memcpy(out, frame, at.payload);
	memcpy(out + at.payload, frame + from, size);
	finish_ip(&at, out, total, i);
	tcp = out + at.l4;
	seq = get32(tcp + 4) + i * hdr->gso_size;
	put16(tcp + 4, seq >> 16);
	put16(tcp + 6, seq & 0xffff);
	if (from + size < len)
		tcp[13] &= (uint8_t)~TCP_FIN_PSH;
	if (i)
		tcp[13] &= (uint8_t)~TCP_CWR;
	put16(tcp + 16, 0);
	put16(tcp + 16, ~sum(tcp, total - at.l4, pseudo_sum(&at, out, total - at.l4)) & 0xffff);
	return total;
}

/* ---- for a receiver ---- */

static bool flatten(const struct tnet_pkt *pkt, uint8_t *out)
{
	uint32_t i, at = 0;

	if (pkt->len > TNET_MAX_FRAME)
		return false;
	for (i = 0; i < pkt->num_iov; i++) {
		bh_fetch(out + at, pkt->iov[i].iov_base, pkt->iov[i].iov_len);
		at += (uint32_t)pkt->iov[i].iov_len;
	}
	return true;
}

static int put_frame(struct tnet_pair *p, uint8_t *frame, uint32_t len)
{
	struct iovec iov = { frame, len };
	struct tnet_pkt pkt = { .len = len, .num_iov = 1, .iov = &iov };

	return tnet_rx_put(p, &pkt);
}

/*
 * A packet in segments is under way once the first of them is; if there are no buffers for the last
 * ones they are lost, as they may be anywhere on a network.
 */
static int put_segments(struct tnet_pair *p, const struct tnet_pkt *pkt)
{
	const uint8_t *frame = p->thread->bounce;
	uint8_t *out = p->thread->segment;
	unsigned int i, n = tnet_gso_count(&pkt->hdr, frame, pkt->len);
	int rc = n ? 0 : -EMSGSIZE;

	for (i = 0; i < n && !rc; i++) {
		uint32_t len = tnet_gso_segment(&pkt->hdr, frame, pkt->len, i, out);

		rc = put_frame(p, out, len);
	}
	if (rc && i > 1) {
		tnet_count(&p->counts.rx_drops, n - i + 1);
		return rc == -EPROTO ? rc : 0;
	}
	return rc;
}

int tnet_rx_put_worked(struct tnet_pair *p, const struct tnet_pkt *pkt)
{
	uint8_t *frame = p->thread->bounce;

	if (!flatten(pkt, frame))
		return -EMSGSIZE;
	if (pkt->hdr.gso_type != BH_VIRTIO_NET_HDR_GSO_NONE)
		return put_segments(p, pkt);
	if (!tnet_csum_complete(&pkt->hdr, frame, pkt->len))
		return -EMSGSIZE;
	return put_frame(p, frame, pkt->len);
}

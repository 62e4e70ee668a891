/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets that need a second look: chains of mbufs, offloads, packets whose memory is not ours to
 * write a header into.
 *
 * A packet becomes pieces: its header, alone or together with the first bytes of the packet, and one
 * piece for each further mbuf. The ring formats put the pieces into an indirect table, or one after
 * the other into the ring. Everything that can be refused is refused before anything is written.
 */
#include <arpa/inet.h>

#include "net_virtio/ring_io.h"

void bh__vnet_tx_refuse(struct bh__vnet_txq *q)
{
	bh__net_count(&q->base.counters.errors, 1);
}

unsigned int bh__vnet_tx_pieces(const struct bh__vnet_txq *q, const struct rte_mbuf *m)
{
	return m->nb_segs + !tx_has_room(q, m);
}

/*
 * DPDK's pseudo header checksum of a packet to be cut has no length in it, virtio's has the one of
 * the whole (5.1.6.2): add it, in one's complement.
 */
static void pseudo_add_length(uint8_t *field, uint32_t len)
{
	uint16_t be;
	uint32_t sum;

	memcpy(&be, field, sizeof(be));
	sum = ntohs(be) + (len & 0xffff) + (len >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	be = htons((uint16_t)sum);
	memcpy(field, &be, sizeof(be));
}

static bool set_csum(const struct rte_mbuf *m, uint64_t l4, struct bh_virtio_net_hdr *hdr)
{
	static const uint16_t tcp = 16, udp = 6, sctp = 8; /* of the checksum in its header */

	hdr->flags = BH_VIRTIO_NET_HDR_F_NEEDS_CSUM;
	hdr->csum_start = (uint16_t)(m->l2_len + m->l3_len);
	hdr->csum_offset = l4 == RTE_MBUF_F_TX_TCP_CKSUM   ? tcp
			   : l4 == RTE_MBUF_F_TX_UDP_CKSUM ? udp
							   : sctp;
	/* The device stores two bytes there: in the first segment, behind the Ethernet header. */
	return m->l2_len >= 14 && l4 != RTE_MBUF_F_TX_SCTP_CKSUM &&
	       (uint32_t)hdr->csum_start + hdr->csum_offset + 2 <= m->data_len;
}

static bool set_gso(struct bh__vnet_txq *q, struct rte_mbuf *m, struct bh_virtio_net_hdr *hdr)
{
	uint32_t header = m->l2_len + m->l3_len + m->l4_len;

	if (m->tso_segsz == 0 || header > m->data_len || m->l4_len < 8 || !tx_is_ours(q, m))
		return false;
	if (m->ol_flags & RTE_MBUF_F_TX_UDP_SEG)
		hdr->gso_type = BH_VIRTIO_NET_HDR_GSO_UDP_L4;
	else
		hdr->gso_type = m->ol_flags & RTE_MBUF_F_TX_IPV6 ? BH_VIRTIO_NET_HDR_GSO_TCPV6
								 : BH_VIRTIO_NET_HDR_GSO_TCPV4;
	hdr->gso_size = m->tso_segsz;
	hdr->hdr_len = (uint16_t)header;
	return true;
}

bool bh__vnet_tx_offload(struct bh__vnet_txq *q, struct rte_mbuf *m, struct bh_virtio_net_hdr *hdr)
{
	uint64_t l4 = m->ol_flags & RTE_MBUF_F_TX_L4_MASK;
	bool cut = m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG);

	memset(hdr, 0, sizeof(*hdr));
	if (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG)
		l4 = RTE_MBUF_F_TX_TCP_CKSUM;
	if (m->ol_flags & RTE_MBUF_F_TX_UDP_SEG)
		l4 = RTE_MBUF_F_TX_UDP_CKSUM;
	if (l4 == 0)
		return true;
	if (!set_csum(m, l4, hdr) || (cut && !set_gso(q, m, hdr)))
		return false;
	return true;
}

/* Lengths, segments and flags of a packet of several mbufs, or of one that is not usual. */
static bool is_sendable(const struct bh__vnet_txq *q, const struct rte_mbuf *m)
{
	bool cut = m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG);
	const struct rte_mbuf *seg = m;
	uint32_t bytes = 0;

	if (m->ol_flags & q->refused_flags || m->nb_segs == 0 ||
	    m->pkt_len - 1 >= (cut ? q->max_tso_len : q->max_len))
		return false;
	for (unsigned int i = 0; i < m->nb_segs; i++, seg = seg->next) {
		if (!seg || seg->data_len == 0)
			return false;
		bytes += seg->data_len;
	}
	return !seg && bytes == m->pkt_len;
}

static bool piece_of(struct bh__vnet_txq *q, const uint8_t *va, uint32_t len, struct piece *piece)
{
	piece->len = len;
	return bh_iova_translate(q->iova_map, &q->iova_cache, va, len, &piece->iova);
}

/* The header's bytes: in front of the packet, or in the slot. */
static uint8_t *header_place(struct bh__vnet_txq *q, struct rte_mbuf *m, uint16_t id, bool in_front)
{
	return in_front ? rte_pktmbuf_mtod(m, uint8_t *) - BH__VNET_HDR : (uint8_t *)&q->hdrs[id];
}

bool bh__vnet_tx_gather(struct bh__vnet_txq *q, struct rte_mbuf *m, uint16_t id,
			struct piece *pieces, unsigned int count)
{
	bool in_front = count == m->nb_segs, ok;
	struct bh_virtio_net_hdr hdr;
	const struct rte_mbuf *seg;
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	unsigned int n = 0;

	ok = is_sendable(q, m) && bh__vnet_tx_offload(q, m, &hdr);
	if (ok && in_front) {
		ok = piece_of(q, data - BH__VNET_HDR, m->data_len + BH__VNET_HDR, &pieces[n++]);
	} else if (ok) {
		pieces[n++] = (struct piece){ q->hdrs_iova + id * sizeof(*q->hdrs), BH__VNET_HDR };
		ok = piece_of(q, data, m->data_len, &pieces[n++]);
	}
	for (seg = m->next; ok && seg; seg = seg->next)
		ok = piece_of(q, rte_pktmbuf_mtod(seg, const uint8_t *), seg->data_len,
			      &pieces[n++]);
	if (!ok) {
		bh__vnet_tx_refuse(q);
		return false;
	}
	if (hdr.gso_type != BH_VIRTIO_NET_HDR_GSO_NONE)
		pseudo_add_length(data + hdr.csum_start + hdr.csum_offset,
				  m->pkt_len - hdr.csum_start);
	memcpy(header_place(q, m, id, in_front), &hdr, sizeof(hdr));
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues of packets: the memory around a virtqueue, and giving every mbuf back.
 *
 * What is indexed by positions or buffer ids is ordinary memory, sized by the queue. Header slots
 * and indirect tables, one for each buffer id, lie behind the rings, since the device reads them.
 * Draining happens only after the device was reset: until then any buffer may still be written to.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net_virtio/net_virtio.h"

#define ODD ((uintptr_t)1) /* as ring_io.h has it */
#define LINE 64u
#define FRAME_EXTRA 18u /* an Ethernet header with one VLAN tag */
#define GSO_MAX 65535u

static void *lines_alloc(size_t bytes)
{
	void *p = aligned_alloc(LINE, (bytes + LINE - 1) / LINE * LINE);

	if (p)
		memset(p, 0, (bytes + LINE - 1) / LINE * LINE);
	return p;
}

int bh__vnet_rxq_create(struct bh__vnet *v, unsigned int index)
{
	const struct bh_net_conf *conf = &v->net.conf;
	struct bh__vnet_rxq *q = (struct bh__vnet_rxq *)lines_alloc(sizeof(*q));
	uint16_t size = (uint16_t)conf->rx_depth;
	int rc;

	if (!q)
		return -ENOMEM;
	q->efd = -1;
	q->vector = BH_VIRTIO_NO_VECTOR;
	q->pool = v->net.rx_pool_of[index];
	q->room = bh__net_pool_room(q->pool);
	q->batch = size >= 2 * BH__VNET_REFILL ? BH__VNET_REFILL : (uint16_t)(size / 2);
	q->iova_map = bh_device_iova_map(v->dev);
	q->bufs = (struct rte_mbuf **)lines_alloc(size * sizeof(*q->bufs));
	q->ids = (uint16_t *)lines_alloc(size * sizeof(*q->ids));
	rc = q->bufs && q->ids ? bh__virtq_create(v, &q->vq, size, 0, NULL, NULL) : -ENOMEM;
	if (rc == 0 && conf->queue_fds)
		rc = bh__vnet_irq_open(v, q, index);
	if (rc != 0) {
		bh__vnet_rxq_destroy(q);
		return rc;
	}
	v->rxq[index] = q;
	v->net.rxq[index] = &q->base;
	return 0;
}

void bh__vnet_rxq_destroy(struct bh__vnet_rxq *q)
{
	if (!q)
		return;
	bh__virtq_destroy(&q->vq);
	free(q->bufs);
	free(q->ids);
	free(q);
}

/* What an mbuf must not ask for under this configuration. */
static uint64_t refused_flags(uint64_t offloads)
{
	uint64_t flags = RTE_MBUF_F_TX_OFFLOAD_MASK &
			 ~(RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_L4_MASK |
			   RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG);

	/* TSO asks for the checksum and, for IPv4, the header checksum; devices do that then. */
	if (offloads & BH_NET_TX_TSO)
		flags &= ~RTE_MBUF_F_TX_IP_CKSUM;
	else
		flags |= RTE_MBUF_F_TX_TCP_SEG;
	if (!(offloads & BH_NET_TX_USO))
		flags |= RTE_MBUF_F_TX_UDP_SEG;
	if (!(offloads & (BH_NET_TX_L4_CSUM | BH_NET_TX_TSO | BH_NET_TX_USO)))
		flags |= RTE_MBUF_F_TX_L4_MASK;
	return flags;
}

static int txq_arrays(struct bh__vnet_txq *q, uint16_t size)
{
	q->bufs = (struct rte_mbuf **)lines_alloc(size * sizeof(*q->bufs));
	q->counts = (uint16_t *)lines_alloc(size * sizeof(*q->counts));
	q->links = (uint16_t *)lines_alloc(size * sizeof(*q->links));
	q->free_ids = (uint16_t *)lines_alloc(size * sizeof(*q->free_ids));
	return q->bufs && q->counts && q->links && q->free_ids ? 0 : -ENOMEM;
}

/* The rings, and behind them header slots and, for chains, a table each. */
static int txq_memory(struct bh__vnet *v, struct bh__vnet_txq *q, uint16_t size)
{
	size_t hdrs = size * sizeof(*q->hdrs), tables = 0;
	uint64_t iova;
	void *extra;
	int rc;

	hdrs = (hdrs + LINE - 1) / LINE * LINE;
	if (v->net.conf.offloads & BH_NET_TX_MULTI_SEGS && BH__VNET_OFFERS(v, F_INDIRECT_DESC))
		tables = (size_t)size * BH__VNET_PIECES * sizeof(struct bh_virtq_desc);
	rc = bh__virtq_create(v, &q->vq, size, hdrs + tables, &extra, &iova);
	if (rc != 0)
		return rc;
	q->hdrs = (struct bh_virtio_net_hdr *)extra;
	q->hdrs_iova = iova;
	q->tables = tables ? (uint8_t *)extra + hdrs : NULL;
	q->tables_iova = iova + hdrs;
	return 0;
}

int bh__vnet_txq_create(struct bh__vnet *v, unsigned int index)
{
	const struct bh_net_conf *conf = &v->net.conf;
	struct bh__vnet_txq *q = (struct bh__vnet_txq *)lines_alloc(sizeof(*q));
	uint16_t size = (uint16_t)conf->tx_depth;
	int rc;

	if (!q)
		return -ENOMEM;
	q->iova_map = bh_device_iova_map(v->dev);
	q->fast_free = conf->offloads & BH_NET_TX_FAST_FREE;
	q->refused_flags = refused_flags(conf->offloads);
	rc = txq_arrays(q, size);
	if (rc == 0)
		rc = txq_memory(v, q, size);
	if (rc != 0) {
		bh__vnet_txq_destroy(q);
		return rc;
	}
	v->txq[index] = q;
	v->net.txq[index] = &q->base;
	return 0;
}

void bh__vnet_txq_destroy(struct bh__vnet_txq *q)
{
	if (!q)
		return;
	bh__virtq_destroy(&q->vq);
	free(q->bufs);
	free(q->counts);
	free(q->links);
	free(q->free_ids);
	free(q);
}

void bh__vnet_rxq_reset(struct bh__vnet *v, struct bh__vnet_rxq *q)
{
	bh__virtq_init(v, &q->vq);
	memset(q->bufs, 0, q->vq.size * sizeof(*q->bufs));
	for (uint16_t i = 0; i < q->vq.size; i++)
		q->ids[i] = i;
	q->head = q->last = NULL;
	q->left = 0;
	q->armed = false;
	memset(&q->iova_cache, 0, sizeof(q->iova_cache));
}

void bh__vnet_txq_reset(struct bh__vnet *v, struct bh__vnet_txq *q)
{
	bool multi = v->net.conf.offloads & BH_NET_TX_MULTI_SEGS;
	uint16_t size;

	bh__virtq_init(v, &q->vq);
	size = q->vq.size;
	memset(q->bufs, 0, size * sizeof(*q->bufs));
	for (uint16_t i = 0; i < size; i++)
		q->free_ids[i] = (uint16_t)(size - 1 - i);
	q->num_ids = size;
	q->packets = q->odd = 0;
	q->max_len = v->net.conf.mtu + FRAME_EXTRA;
	q->max_tso_len = GSO_MAX;
	if (!BH__VNET_HAS(v, F_INDIRECT_DESC))
		q->tables = NULL;
	q->max_pieces = multi ? BH__VNET_PIECES : 2;
	if (!q->tables && q->max_pieces > size)
		q->max_pieces = size;
	memset(&q->iova_cache, 0, sizeof(q->iova_cache));
}

/*
 * In order a position keeps its pointer after it was used, so only what is out is looked at; out of
 * order the pointers tell.
 */
void bh__vnet_rxq_drain(struct bh__vnet_rxq *q)
{
	bool by_position = q->vq.packed && q->vq.in_order;
	uint16_t n = by_position ? (uint16_t)(q->vq.size - q->vq.free) : q->vq.size;
	uint16_t pos = by_position ? q->vq.used_pos : 0;

	for (; n > 0; n--, pos = (uint16_t)((pos + 1) % q->vq.size)) {
		rte_pktmbuf_free(q->bufs[pos]);
		q->bufs[pos] = NULL;
	}
	rte_pktmbuf_free(q->head);
	q->head = NULL;
	q->left = 0;
	q->vq.free = q->vq.size;
}

void bh__vnet_txq_drain(struct bh__vnet_txq *q)
{
	uint16_t n = q->vq.in_order ? (uint16_t)(q->vq.size - q->vq.free) : q->vq.size;
	uint16_t pos = q->vq.in_order ? q->vq.used_pos : 0;

	for (; n > 0; n--, pos = (uint16_t)((pos + 1) % q->vq.size)) {
		rte_pktmbuf_free((struct rte_mbuf *)((uintptr_t)q->bufs[pos] & ~ODD));
		q->bufs[pos] = NULL;
	}
	q->packets = q->odd = 0;
	q->vq.free = q->vq.size;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The queues of a port, as bursts see them. */
#ifndef NET_IGB_QUEUE_IO_H
#define NET_IGB_QUEUE_IO_H

#include <rte_mbuf.h>

#include <bellhop/net.h>

#include "net_igb/desc.h"

#define IGB_RX_BATCH 32u  /* buffers posted at a time */
#define IGB_TX_REPORT 32u /* descriptors between two of which the device reports the end */
#define IGB_TX_SEGS 32u	  /* of one packet */
#define IGB_RX_SEGS 16u

struct bh_igb_rxq {
	struct bh_net_rxq pub; /* first */
	union bh_igb_rx_desc *ring;
	struct rte_mbuf **sw; /* the buffer of each descriptor */
	void *tail;	      /* the register */
	uint16_t next;	      /* looked at next */
	uint16_t fill;	      /* posted next */
	uint16_t mask;
	uint16_t room;	/* bytes the device may write into a buffer */
	uint16_t empty; /* descriptors without a buffer; one always is */
	bool scatter;
	bool armed;
	struct rte_mempool *pool;
	const struct bh_iova_map *iova;
	struct bh_iova_cache cache;
	const uint32_t *ptypes; /* by the packet type's seven low bits */
	uint64_t keep;		/* mbuf flags that were asked for */
	/* A packet of several buffers whose end has not come. */
	struct rte_mbuf *chain, *chain_last;
	bool chain_bad;
	void *disarm; /* EIMC */
	uint32_t vector_bit;
	/* ---- control ---- */
	struct bh_pool *ring_pool;
	uint64_t ring_iova;
	unsigned int index, depth;
};

struct bh_igb_txq {
	struct bh_net_txq pub; /* first */
	union bh_igb_tx_desc *ring;
	struct rte_mbuf **sw; /* the segment of each descriptor; NULL: a context */
	uint16_t *reports;    /* where the device was asked to report, a ring of its own */
	void *tail;
	uint16_t next;	/* written next */
	uint16_t clean; /* the oldest that is out */
	uint16_t mask;
	uint16_t report_head, report_tail;
	uint16_t silent; /* descriptors since the last report */
	uint64_t refuse; /* mbuf flags that are not served */
	uint32_t frame_most, segs_most;
	bool fast_free;
	struct bh_igb_tx_context context; /* the one the device has */
	const struct bh_iova_map *iova;
	struct bh_iova_cache cache;
	/* ---- control ---- */
	struct bh_pool *ring_pool;
	uint64_t ring_iova;
	unsigned int index, depth;
};

uint16_t bh__igb_rx_burst(struct bh_net_rxq *q, struct rte_mbuf **pkts, uint16_t n);
/* Posts buffers while a batch is missing. */
void bh__igb_rx_fill(struct bh_igb_rxq *q);
uint16_t bh__igb_tx_burst(struct bh_net_txq *q, struct rte_mbuf **pkts, uint16_t n);
unsigned int bh__igb_tx_reap(struct bh_net_txq *q);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's own structures; net_virtio.c has the essay.
 */
#ifndef NET_VIRTIO_NET_VIRTIO_H
#define NET_VIRTIO_NET_VIRTIO_H

#include <bellhop/net.h>
#include <bellhop/net_virtio.h>

#include "net/net.h"
#include "virtio/ring.h"
#include "virtio/virtio.h"
#include "virtio/virtio_net.h"

#define BH__VNET_HDR ((uint32_t)sizeof(struct bh_virtio_net_hdr))
#define BH__VNET_MAX_SEGS 40u /* mbufs of a packet: 64 KiB in the usual buffers */
#define BH__VNET_PIECES (BH__VNET_MAX_SEGS + 1u)
enum {
	BH__VNET_REFILL = 32,  /* receive buffers posted at once */
	BH__VNET_REAP_AT = 64, /* descriptors out from which on a burst looks for used ones first */
};
#define BH__VNET_IRQ_MSIX 2u /* VFIO's index */

/* Where a structure of the device lies. */
struct bh__vnet_area {
	unsigned int bar;
	uint64_t offset;
	uint32_t len; /* 0: there is none */
};

/* How the device is told to look at a queue. */
struct bh__vnet_kick {
	struct bh_device *dev;
	uint8_t *reg; /* mapped; NULL: by one of those below */
	int fd;	      /* -1: by a write to the region */
	unsigned int bar;
	uint64_t offset;
	bool data; /* NOTIFICATION_DATA */
	uint16_t vqn;
};

/*
 * One virtqueue: its rings in memory the device reaches, and where we are in them, which it does
 * not. Positions are of the ring for packed queues, free-running for split ones.
 */
struct bh__virtq {
	struct bh_virtq_packed_desc *desc; /* packed */
	struct bh_virtq_desc *table;	   /* split */
	struct bh_virtq_avail *avail;
	struct bh_virtq_used *used;
	/* Packed: what we want to hear of, what the device wants to. */
	struct bh_virtq_packed_event *driver_event;
	const struct bh_virtq_packed_event *device_event;
	uint16_t size;
	uint16_t avail_pos; /* where the next descriptor goes; split: of the table */
	uint16_t used_pos;  /* what the device uses next; split: of the table, in order */
	uint16_t avail_idx; /* split: of the rings */
	uint16_t used_idx;
	uint16_t free; /* descriptors that are ours */
	bool avail_wrap, used_wrap;
	bool packed, in_order, event_idx;
	bool broken; /* the device said what makes no sense: not looked at any more */
	struct bh__vnet_kick kick;
	uint64_t kicks;
	void *mem; /* all of the above, from the space's pools */
	struct bh_pool *pool;
	size_t mem_bytes;
	uint64_t iova; /* of mem */
};

struct bh__vnet_rxq {
	struct bh_net_rxq base;
	struct bh__virtq vq;
	struct rte_mbuf **bufs; /* by buffer id, of those the device has */
	uint16_t *ids;		/* by position: the buffer id to be used there next */
	struct rte_mempool *pool;
	uint32_t room;	/* bytes of packet in one buffer */
	uint16_t batch; /* free descriptors that are worth a refill, at most BH__VNET_REFILL */
	/* A packet of several buffers of which not all have come. */
	struct rte_mbuf *head, *last;
	uint32_t left;
	bool armed;
	int efd; /* -1: none */
	uint16_t vector;
	struct bh_iova_cache iova_cache;
	const struct bh_iova_map *iova_map;
};

struct bh__vnet_txq {
	struct bh_net_txq base;
	struct bh__virtq vq;
	/*
	 * By position in order, by buffer id otherwise: the packet whose last descriptor (in order)
	 * or id that is; NULL: none.
	 */
	struct rte_mbuf **bufs;
	uint16_t *counts;   /* out of order, by id: descriptors of that packet */
	uint16_t *links;    /* out of order, split: the next descriptor of the packet */
	uint16_t *free_ids; /* out of order: a stack */
	uint16_t num_ids;
	uint16_t packets; /* that the device has */
	uint16_t odd;	  /* of those, packets that are not one mbuf in one descriptor */
	uint16_t held;	  /* packed: flags of the first descriptor of the burst under way */
	bool fast_free;
	uint64_t refused_flags; /* of an mbuf: offloads that were not configured */
	uint32_t max_len, max_tso_len;
	uint16_t max_pieces;
	struct bh_iova_cache iova_cache;
	const struct bh_iova_map *iova_map;
	struct bh_virtio_net_hdr *hdrs; /* by id: for packets without room in front */
	uint64_t hdrs_iova;
	uint8_t *tables; /* by id: indirect descriptors; NULL: chained in the ring */
	uint64_t tables_iova;
};

struct bh__vnet {
	struct bh_net net;
	struct bh_device *dev;
	struct bh__vnet_area common, notify, isr, config;
	uint32_t notify_multiplier;
	struct bh_map notify_map;
	uint64_t offered, without, features;
	uint16_t num_queues; /* of the device, 0: it has not said */
	uint16_t max_pairs;
	unsigned int pairs; /* in use */
	struct bh__vnet_rxq *rxq[BH_NET_MAX_QUEUES];
	struct bh__vnet_txq *txq[BH_NET_MAX_QUEUES];
	struct bh__virtq ctrl;
	uint8_t *ctrl_buf;
	uint64_t ctrl_iova;
	bool link_known, link_up, failed_said, gone_said;
	uint64_t looked_ns; /* when poll last asked the device */
};

static inline struct bh__vnet *bh__vnet_of(struct bh_net *net)
{
	return (struct bh__vnet *)net;
}

#define BH__VNET_HAS(v, F) (((v)->features >> BH_VIRTIO_##F) & 1)
#define BH__VNET_OFFERS(v, F) ((((v)->offered & ~(v)->without) >> BH_VIRTIO_##F) & 1)

#define bh__vnet_log(v, level, ...)                                                        \
	bh_log((v)->net.log ? (v)->net.log : bh_device_log((v)->dev), level, "net_virtio", \
	       __VA_ARGS__)

/* ---- regs.c: all by messages or pread, control path ---- */

/* Finds the capabilities and checks where they lead. */
int bh__vnet_areas_find(struct bh__vnet *v);
int bh__vnet_read(struct bh__vnet *v, const struct bh__vnet_area *area, size_t offset, void *buf,
		  size_t count);
int bh__vnet_write(struct bh__vnet *v, const struct bh__vnet_area *area, size_t offset,
		   const void *buf, size_t count);
int bh__vnet_read16(struct bh__vnet *v, size_t offset,
		    uint16_t *value); /* of the common structure */
int bh__vnet_write16(struct bh__vnet *v, size_t offset, uint16_t value);
int bh__vnet_write64(struct bh__vnet *v, size_t offset, uint64_t value);
int bh__vnet_status(struct bh__vnet *v, uint8_t *status);
int bh__vnet_status_add(struct bh__vnet *v, uint8_t bits);
/* Writes 0 and waits until the device says 0 (virtio 1.2 4.1.4.3.1). */
int bh__vnet_reset(struct bh__vnet *v);
int bh__vnet_features_read(struct bh__vnet *v);
int bh__vnet_features_write(struct bh__vnet *v, uint64_t features);
/* Reads the device's configuration in one generation. */
int bh__vnet_config_read(struct bh__vnet *v, struct bh_virtio_net_config *config);

/* ---- virtq.c ---- */

/* Takes memory for `size` descriptors of either format, and `extra` bytes behind the rings. */
int bh__virtq_create(struct bh__vnet *v, struct bh__virtq *vq, uint16_t size, size_t extra,
		     void **extra_va, uint64_t *extra_iova);
void bh__virtq_destroy(struct bh__virtq *vq);
/* As after a reset: empty, in the format that was negotiated. */
void bh__virtq_init(struct bh__vnet *v, struct bh__virtq *vq);
/* Tells the device of it and enables it; vector 0xffff: none. */
int bh__virtq_enable(struct bh__vnet *v, struct bh__virtq *vq, uint16_t index, uint16_t vector);
/* Bytes a ring takes, of either format. */
size_t bh__virtq_ring_bytes(uint16_t size);

/* kick.c: out of line, for the store may be a system call. */
void bh__virtq_kick(struct bh__virtq *vq);

/* ---- queues.c ---- */

int bh__vnet_rxq_create(struct bh__vnet *v, unsigned int index);
void bh__vnet_rxq_destroy(struct bh__vnet_rxq *q);
int bh__vnet_txq_create(struct bh__vnet *v, unsigned int index);
void bh__vnet_txq_destroy(struct bh__vnet_txq *q);
/* Rings empty, counters untouched; the device was reset. */
void bh__vnet_rxq_reset(struct bh__vnet *v, struct bh__vnet_rxq *q);
void bh__vnet_txq_reset(struct bh__vnet *v, struct bh__vnet_txq *q);
/* Frees all mbufs; the device was reset. */
void bh__vnet_rxq_drain(struct bh__vnet_rxq *q);
void bh__vnet_txq_drain(struct bh__vnet_txq *q);

/* ---- irq.c ---- */

int bh__vnet_irq_open(struct bh__vnet *v, struct bh__vnet_rxq *q, unsigned int index);
int bh__vnet_irq_bind(struct bh__vnet *v, struct bh__vnet_rxq *q);
void bh__vnet_irq_close(struct bh__vnet *v, struct bh__vnet_rxq *q);
int bh__vnet_rxq_fd(struct bh_net *net, unsigned int index);
int bh__vnet_rxq_arm(struct bh_net *net, unsigned int index);

/* ---- ctrl.c: one command at a time, waited for ---- */

int bh__vnet_ctrl_create(struct bh__vnet *v);
void bh__vnet_ctrl_destroy(struct bh__vnet *v);
/* -EIO: the device refused it; -EOPNOTSUPP: no control queue; -ETIMEDOUT; -EPROTO. */
int bh__vnet_ctrl(struct bh__vnet *v, uint8_t class_, uint8_t command, const void *data,
		  size_t len);
int bh__vnet_mac_set(struct bh_net *net);
int bh__vnet_promisc(struct bh_net *net);
int bh__vnet_allmulti(struct bh_net *net);
int bh__vnet_multicast(struct bh_net *net);
int bh__vnet_vlan(struct bh_net *net, uint16_t vlan, bool on);
int bh__vnet_rss_set(struct bh_net *net);
/* After DRIVER_OK: queue pairs, addresses, filters, RSS as they were asked for. */
int bh__vnet_wishes_apply(struct bh__vnet *v);

/* ---- start.c ---- */

int bh__vnet_start(struct bh_net *net);
void bh__vnet_stop(struct bh_net *net);

/* ---- packed_io.c, split_io.c ---- */

void bh__vnet_packed_set_bursts(struct bh__vnet *v, struct bh__vnet_rxq *rx,
				struct bh__vnet_txq *tx);
void bh__vnet_split_set_bursts(struct bh__vnet *v, struct bh__vnet_rxq *rx,
			       struct bh__vnet_txq *tx);
/* Posts buffers as far as there are any: their number. Before the queue is enabled, or by its owner. */
unsigned int bh__vnet_packed_refill(struct bh__vnet_rxq *q);
unsigned int bh__vnet_split_refill(struct bh__vnet_rxq *q);
bool bh__vnet_packed_has_used(const struct bh__virtq *vq);
bool bh__vnet_split_has_used(const struct bh__virtq *vq);

#endif /* NET_VIRTIO_NET_VIRTIO_H */

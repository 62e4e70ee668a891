/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a network driver implements, and the part of a device all drivers share. Private to Bellhop.
 *
 * A driver embeds `struct bh_net` as its first member, fills net.info, calls bh__net_init(), and is
 * reached only through its operations and through the burst functions of its queues. The public
 * wrappers (net.c, filter.c, stats.c) check states, capability bits and arguments, and keep what
 * was asked for (addresses, filters, RSS), so that a driver can set it again after a reset; a NULL
 * operation is legal exactly when its bit is clear in ops->caps (bh__net_init() refuses anything
 * else).
 *
 * While stopped a queue's burst functions are bh__net_rx_none() and bh__net_tx_none(): the wrappers
 * see to that before start and after stop, the driver puts its own in place in start().
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <bellhop/net.h>

#include "net/own.h"

struct bh_net_ops {
	const char *name;
	uint64_t caps; /* what the driver can ever do */

	/* ---- always there ---- */

	/* Frees the driver's structure, having called bh__net_fini(). Stopped before. */
	void (*close)(struct bh_net *net);
	/*
	 * net->conf is complete, checked and rounded: creates net->rxq[] and net->txq[], having
	 * been called to release() those before.
	 */
	int (*configure)(struct bh_net *net);
	/* Frees the queues: net->rxq[] and net->txq[] are reset by the caller. */
	void (*release)(struct bh_net *net);
	/*
	 * Sets what net->mac, promisc, allmulti, macs, vlans and rss say, as far as it is able to,
	 * posts buffers, puts its burst functions in place, and goes. After an error it is stopped.
	 */
	int (*start)(struct bh_net *net);
	/* Cannot fail: where the device does not answer it is cut off from memory. */
	void (*stop)(struct bh_net *net);
	/* Events that are due go to bh__net_event(); their number, or -ENODEV. */
	int (*poll)(struct bh_net *net);

	/* ---- by capability; net->... holds the new value already, put back after an error ---- */

	int (*link)(struct bh_net *net, struct bh_net_link *link); /* LINK */
	int (*mac_set)(struct bh_net *net);			   /* MAC_SET */
	int (*promisc)(struct bh_net *net);			   /* PROMISC */
	int (*allmulti)(struct bh_net *net);			   /* ALLMULTI */
	int (*multicast)(struct bh_net *net);			   /* MULTICAST */
	int (*vlan)(struct bh_net *net, uint16_t vlan, bool on);   /* VLAN_FILTER */
	int (*rss_set)(struct bh_net *net);			   /* RSS; only while started */
	int (*rxq_fd)(struct bh_net *net, unsigned int index);	   /* QUEUE_FD */
	int (*rxq_arm)(struct bh_net *net, unsigned int index);	   /* QUEUE_FD */

	/* ---- may be NULL ---- */

	/* Adds what the device counts; stats holds the sums over the queues already. */
	int (*stats)(struct bh_net *net, struct bh_net_stats *stats);
	/* As bh_net_xstats(), the driver's own only. */
	int (*xstats)(struct bh_net *net, struct bh_net_xstat *out, unsigned int max);
};

enum bh__net_state {
	BH__NET_OPEN,
	BH__NET_CONFIGURED,
	BH__NET_STARTED,
};

struct bh_net {
	const struct bh_net_ops *ops;
	enum bh__net_state state;
	struct bh_net_info info;
	const struct bh_log *log;
	char *address; /* owned copy */
	uint64_t timeout_ns;
	void (*event)(void *ctx, struct bh_net *net, enum bh_net_event event);
	void *event_ctx;
	void (*closed)(void *ctx); /* after the driver is freed */
	void *closed_ctx;

	struct bh_net_conf conf; /* rx_pools: rx_pool_of; rss: NULL */
	struct bh_net_rxq *rxq[BH_NET_MAX_QUEUES];
	struct bh_net_txq *txq[BH_NET_MAX_QUEUES];
	struct rte_mempool *rx_pool_of[BH_NET_MAX_QUEUES];

	/* ---- what was asked for ---- */
	uint8_t mac[BH_NET_MAC_BYTES];
	bool promisc, allmulti;
	unsigned int num_macs;
	uint8_t macs[BH_NET_MAX_MACS][BH_NET_MAC_BYTES];
	uint64_t vlans[4096 / 64];
	bool vlans_used; /* bh_net_vlan() was called */
	struct bh_net_rss rss;
};

/* The caller's options, of its size of the structure, over the defaults. -EINVAL: size 0. */
int bh__net_opts_read(const struct bh_net_opts *opts, struct bh_net_opts *out);

/*
 * net is zeroed but for info, whose address is copied; opts as bh__net_opts_read() gives them.
 * -EINVAL: an operation is missing for a capability, or there without one, or info makes no sense.
 * -ENOMEM.
 */
int bh__net_init(struct bh_net *net, const struct bh_net_ops *ops, const struct bh_net_opts *opts);
void bh__net_fini(struct bh_net *net);

/* Reports one event; in ops->poll(). */
void bh__net_event(struct bh_net *net, enum bh_net_event event);

static inline bool bh__net_vlan_wanted(const struct bh_net *net, unsigned int vlan)
{
	return net->vlans[vlan / 64] >> (vlan % 64) & 1;
}

uint16_t bh__net_rx_none(struct bh_net_rxq *q, struct rte_mbuf **pkts, uint16_t n);
uint16_t bh__net_tx_none(struct bh_net_txq *q, struct rte_mbuf **pkts, uint16_t n);
unsigned int bh__net_reap_none(struct bh_net_txq *q);

/* Counters are the owner's to write and anyone's to read. */
static inline void bh__net_count(uint64_t *counter, uint64_t more)
{
	__atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

/* An even table over n_rxq queues, the well-known key, all of the device's types. */
void bh__net_rss_default(const struct bh_net_info *info, unsigned int n_rxq,
			 struct bh_net_rss *rss);
/* -EINVAL: not the device's lengths, or a queue that is not there. */
int bh__net_rss_check(const struct bh_net_info *info, unsigned int n_rxq,
		      const struct bh_net_rss *rss);

/* Bytes of packet an mbuf of the pool takes behind the headroom. */
static inline unsigned int bh__net_pool_room(struct rte_mempool *pool)
{
	unsigned int room = rte_pktmbuf_data_room_size(pool);

	return room > RTE_PKTMBUF_HEADROOM ? room - RTE_PKTMBUF_HEADROOM : 0;
}

#endif /* NET_NET_H */

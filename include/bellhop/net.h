/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Network devices: bursts of packets (rte_mbuf) to and from queues, and pools of packets that
 * devices can reach.
 *
 * Component: lib/net
 *
 * Life: bh_net_open() (see <bellhop/bellhop.h>), bh_net_info(), bh_net_configure(), bh_net_start(),
 * bursts, bh_net_stop(), bh_net_close(). After bh_net_stop() the device can be started again as it
 * is, or configured anew.
 *
 * Threads: a queue belongs to one thread at a time, which calls bursts on it; nothing about a queue
 * is locked. Everything else belongs to one control thread, which calls bh_net_poll() now and then
 * (ten times a second is plenty) and may be another one than the queues'. Bursts may run beside
 * control functions but bh_net_configure(), bh_net_start(), bh_net_stop() and bh_net_close():
 * during those no thread may be in a burst. Statistics may be read by any thread.
 *
 * Packets: an mbuf that a transmit burst took belongs to the device until it was sent and is freed
 * to its pool by a later burst, by bh_net_tx_reap(), or by bh_net_stop(). What is not taken stays
 * the caller's. An mbuf that a receive burst delivered is the caller's to free. Each is freed
 * exactly once, whatever the device does. Threads that allocate and free mbufs are registered
 * (bh_env_thread_register()) where the pool has a cache.
 *
 * Packet data is reached by the device in memory of its DMA space, so mbufs come from pools made by
 * bh_net_pool_create(), or have their data in some other pool of the space. A packet that cannot be
 * sent at all (a segment outside of the space, too long, too many segments, offloads that were not
 * configured) ends its burst, is not taken, and counts as `refused`.
 *
 * Offloads of a packet are asked for and reported by the flags and fields of the mbuf that DPDK
 * defines for them (RTE_MBUF_F_TX_*, RTE_MBUF_F_RX_*, l2_len, l3_len, l4_len, tso_segsz, vlan_tci,
 * hash.rss). A segment to be sent with TX_L4_CSUM or TX_TSO carries the checksum of the pseudo
 * header in its TCP or UDP header (without the length with TX_TSO), as with DPDK.
 *
 * Errors of functions that talk to the device, besides those named there: -ENODEV (gone),
 * -ETIMEDOUT, -EIO (the device refused), -EPROTO (an answer that makes no sense), -ENOMEM.
 */
#ifndef BELLHOP_NET_H
#define BELLHOP_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include <bellhop/dma.h>
#include <bellhop/env.h>
#include <bellhop/log.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bh_net;

#define BH_NET_MAC_BYTES 6u
#define BH_NET_MAX_QUEUES 128u /* of each direction */
#define BH_NET_MAX_MACS 64u    /* multicast addresses that are filtered for */

/* ---- queues ---- */

/* Written by the queue's owner once per burst; read by anyone with __atomic loads. */
struct bh_net_counters {
	uint64_t packets;
	uint64_t bytes; /* without the frame check sequence */
	/*
	 * Received: packets the device delivered damaged (dropped). Sent: packets refused, see
	 * above.
	 */
	uint64_t errors;
	uint64_t no_mbuf; /* received: times the pool was empty when buffers were to be posted */
};

/* The part of a queue that bursts need; the rest is the driver's. */
struct bh_net_rxq {
	uint16_t (*burst)(struct bh_net_rxq *q, struct rte_mbuf **pkts, uint16_t n);
	struct bh_net_counters counters;
};

struct bh_net_txq {
	uint16_t (*burst)(struct bh_net_txq *q, struct rte_mbuf **pkts, uint16_t n);
	unsigned int (*reap)(struct bh_net_txq *q);
	struct bh_net_counters counters;
};

/*
 * Up to n packets received, in order, into pkts; they are the caller's. 0: none now, not started,
 * or gone. Never blocks. Owner thread.
 */
static inline uint16_t bh_net_rx_burst(struct bh_net_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return q->burst(q, pkts, n);
}

/*
 * Sends packets: how many were taken, in order, from the front. Fewer than n: the queue is full, or
 * pkts[returned] cannot be sent (counters.errors grew). The device is told before this returns.
 * Owner thread.
 */
static inline uint16_t bh_net_tx_burst(struct bh_net_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return q->burst(q, pkts, n);
}

/* Frees the packets that were sent meanwhile, and returns how many descriptors are still out. */
static inline unsigned int bh_net_tx_reap(struct bh_net_txq *q)
{
	return q->reap(q);
}

/* ---- what a device is ---- */

/* What a device can do now; functions that need one of these return -EOPNOTSUPP without it. */
#define BH_NET_CAP_MAC_SET (1ull << 0)
#define BH_NET_CAP_PROMISC (1ull << 1)
#define BH_NET_CAP_ALLMULTI (1ull << 2)
#define BH_NET_CAP_MULTICAST (1ull << 3) /* a list of multicast addresses */
#define BH_NET_CAP_VLAN_FILTER (1ull << 4)
#define BH_NET_CAP_LINK (1ull << 5) /* knows its link; without it the link is reported as up */
#define BH_NET_CAP_RSS (1ull << 6)
#define BH_NET_CAP_QUEUE_FD (1ull << 7) /* receive queues can wake a sleeping owner */

/* The name of one capability bit ("MAC_SET"); NULL if it has none. */
const char *bh_net_cap_str(uint64_t bit);

#define BH_NET_RX_IP_CSUM (1ull << 0)	 /* IPv4 header checksum checked */
#define BH_NET_RX_L4_CSUM (1ull << 1)	 /* TCP and UDP checksums checked */
#define BH_NET_RX_LRO (1ull << 2)	 /* large segments that the device merged, or never cut */
#define BH_NET_RX_SCATTER (1ull << 3)	 /* packets larger than an mbuf arrive as chains */
#define BH_NET_RX_VLAN_STRIP (1ull << 4) /* the tag goes to vlan_tci */
#define BH_NET_RX_RSS_HASH (1ull << 5)
#define BH_NET_TX_IP_CSUM (1ull << 16)
#define BH_NET_TX_L4_CSUM (1ull << 17)
#define BH_NET_TX_TSO (1ull << 18)	   /* TCP over IPv4 and IPv6 */
#define BH_NET_TX_USO (1ull << 19)	   /* UDP segmentation */
#define BH_NET_TX_VLAN_INSERT (1ull << 20) /* from vlan_tci */
#define BH_NET_TX_MULTI_SEGS (1ull << 21)  /* chained mbufs */
/*
 * A promise of the caller: what one queue sends has a reference count of 1, comes from one pool and
 * was never cloned. Saves the driver from looking.
 */
#define BH_NET_TX_FAST_FREE (1ull << 22)

/* The name of one offload bit ("RX_L4_CSUM"); NULL if it has none. */
const char *bh_net_offload_str(uint64_t bit);

/* Kinds of packets that are hashed for RSS. */
#define BH_NET_RSS_IPV4 (1u << 0)
#define BH_NET_RSS_TCPV4 (1u << 1)
#define BH_NET_RSS_UDPV4 (1u << 2)
#define BH_NET_RSS_IPV6 (1u << 3)
#define BH_NET_RSS_TCPV6 (1u << 4)
#define BH_NET_RSS_UDPV6 (1u << 5)

#define BH_NET_RSS_KEY_MAX 64u
#define BH_NET_RSS_TABLE_MAX 512u

struct bh_net_info {
	const char *address; /* as opened */
	const char *driver;  /* "virtio", "igb" */
	uint64_t caps;	     /* BH_NET_CAP_* */
	uint64_t offloads;   /* that can be configured */
	unsigned int max_rxq, max_txq;
	unsigned int min_depth, max_depth; /* descriptors of a queue */
	bool depth_pow2;		   /* depths are powers of two */
	unsigned int min_mtu, max_mtu;	   /* bytes behind the Ethernet header */
	unsigned int max_segs;		   /* mbufs of one packet to send */
	unsigned int rss_key_bytes;	   /* with RSS */
	unsigned int rss_table_size;	   /* entries of the table, a power of two */
	uint32_t rss_types;		   /* BH_NET_RSS_* */
	uint8_t mac[BH_NET_MAC_BYTES];	   /* the one it came with */
	int node;			   /* NUMA node, -1 unknown */
};

/* Constant until bh_net_close(), but for what a device that was reopened offers. */
const struct bh_net_info *bh_net_info(const struct bh_net *net);
const char *bh_net_name(const struct bh_net *net); /* for logs: the address */
const struct bh_log *bh_net_log(const struct bh_net *net);

/* ---- opening ---- */

enum bh_net_event {
	BH_NET_EVENT_LINK,	   /* the link, or its speed, changed: see bh_net_link() */
	BH_NET_EVENT_RESET_NEEDED, /* the device failed: bh_net_stop() and bh_net_start() mend it */
	BH_NET_EVENT_GONE,	   /* lost: bursts return 0 from now on; stop and close it */
};

struct bh_net_opts {
	size_t size;
	const struct bh_log *log; /* NULL: the device's */
	/* In bh_net_poll(), on its thread. May call anything but bh_net_close(). */
	void (*event)(void *ctx, struct bh_net *net, enum bh_net_event event);
	void *event_ctx;
	uint64_t timeout_ns; /* for a reset or a command; default 5 s */
	/*
	 * Virtio: feature bits that are not to be used, as masks of 1 << number: for tests, and for
	 * devices that do not do well what they offer.
	 */
	uint64_t virtio_without;
};

void bh_net_opts_init(struct bh_net_opts *opts);

/*
 * Stops it, lets go of the device and, if bh_net_open() opened that, closes it. NULL is accepted.
 */
void bh_net_close(struct bh_net *net);

/* ---- configuring ---- */

struct bh_net_rss {
	uint32_t types; /* 0: off */
	unsigned int key_bytes;
	uint8_t key[BH_NET_RSS_KEY_MAX];
	unsigned int table_size;
	uint16_t table[BH_NET_RSS_TABLE_MAX]; /* receive queues by the hash's low bits */
};

struct bh_net_conf {
	size_t size;
	unsigned int n_rxq, n_txq;	 /* default 1 */
	unsigned int rx_depth, tx_depth; /* default 512; rounded to what the device takes */
	unsigned int mtu;		 /* 0: the device's, at most 1500 */
	uint64_t offloads;		 /* default 0 */
	/* Where receive buffers come from: all queues, or, where not NULL, one for each. */
	struct rte_mempool *rx_pool;
	struct rte_mempool *const *rx_pools;
	/* NULL: with several queues and RSS, an even table, a fixed key and all types. */
	const struct bh_net_rss *rss;
	bool queue_fds; /* receive queues can be slept on (QUEUE_FD) */
};

void bh_net_conf_init(struct bh_net_conf *conf);

/*
 * Creates the queues, in place of those there were: their handles become void. Pools must outlive
 * them. -EINVAL: no receive pool, numbers outside what bh_net_info() says, an RSS table that names
 * other queues; -EOPNOTSUPP: offloads, or queue fds, that the device does not have; -EBUSY: started;
 * -EMSGSIZE: packets of that MTU do not fit into an mbuf of the pool, and RX_SCATTER is not asked
 * for; -ENOMEM: no room in the DMA space's pools.
 */
int bh_net_configure(struct bh_net *net, const struct bh_net_conf *conf);

/* What is in force: depths as rounded. Zeros before bh_net_configure(). */
const struct bh_net_conf *bh_net_conf(const struct bh_net *net);

/*
 * Takes buffers from the receive pools, sets the filters that were asked for, and lets packets
 * flow. -EINVAL: not configured; -EALREADY; -ENOBUFS: the receive pool has no packet at all.
 */
int bh_net_start(struct bh_net *net);

/*
 * Takes the queues from the device and frees all mbufs it had; packets not sent yet are lost. The
 * queue handles stay valid, bursts return 0. What was not started is accepted.
 */
void bh_net_stop(struct bh_net *net);

/* Handles of the queues, from bh_net_configure() to the next one or close. NULL: no such queue. */
struct bh_net_rxq *bh_net_rxq(struct bh_net *net, unsigned int index);
struct bh_net_txq *bh_net_txq(struct bh_net *net, unsigned int index);

/*
 * Control work that is due: link changes, failures, a device that is gone. The number of events
 * that were reported; -ENODEV: gone. Control thread.
 */
int bh_net_poll(struct bh_net *net);

/* ---- link, addresses and filters: control thread; before and after bh_net_start() ---- */

#define BH_NET_SPEED_UNKNOWN 0u

struct bh_net_link {
	bool up;
	bool full_duplex;
	uint32_t mbps; /* BH_NET_SPEED_UNKNOWN */
};

/* Asks the device. */
int bh_net_link(struct bh_net *net, struct bh_net_link *link);

/* The address in use. */
void bh_net_mac(const struct bh_net *net, uint8_t mac[BH_NET_MAC_BYTES]);
/* -EINVAL: multicast, or zero. Needs MAC_SET. */
int bh_net_mac_set(struct bh_net *net, const uint8_t mac[BH_NET_MAC_BYTES]);

/*
 * Receive every packet (PROMISC), or every multicast packet (ALLMULTI). Both are off to begin with;
 * a device without the capability may deliver more than was asked for.
 */
int bh_net_promisc(struct bh_net *net, bool on);
int bh_net_allmulti(struct bh_net *net, bool on);

/*
 * The multicast addresses to receive, in place of those before; count 0: none. Needs MULTICAST.
 * -EINVAL: one is not multicast; -ENOSPC: more than BH_NET_MAX_MACS.
 */
int bh_net_multicast(struct bh_net *net, const uint8_t (*macs)[BH_NET_MAC_BYTES],
		     unsigned int count);

/*
 * Whether packets of a VLAN (0..4095) are received. Untagged ones always are; without any call, so
 * are those of devices that only filter when told to. Needs VLAN_FILTER. -EINVAL.
 */
int bh_net_vlan(struct bh_net *net, uint16_t vlan, bool on);

/*
 * Before bh_net_start() only (-EBUSY): bytes behind the Ethernet header. -EINVAL: outside what
 * bh_net_info() says; -EMSGSIZE as of bh_net_configure().
 */
int bh_net_mtu_set(struct bh_net *net, unsigned int mtu);
unsigned int bh_net_mtu(const struct bh_net *net);

/* Needs RSS. Set: -EINVAL: lengths that are not the device's, queues that are not there. */
int bh_net_rss_get(struct bh_net *net, struct bh_net_rss *rss);
int bh_net_rss_set(struct bh_net *net, const struct bh_net_rss *rss);
/*
 * The Toeplitz hash that RSS uses, over `len` bytes in network order (addresses, then ports); the
 * key has at least len + 4 bytes. Any thread.
 */
uint32_t bh_net_rss_hash(const uint8_t *key, const void *data, size_t len);

/* ---- statistics: any thread ---- */

struct bh_net_stats {
	uint64_t rx_packets, rx_bytes;
	uint64_t rx_missed;  /* lost in the device for want of buffers, where it counts that */
	uint64_t rx_errors;  /* damaged, or delivered in a way that makes no sense */
	uint64_t rx_no_mbuf; /* times a pool was empty */
	uint64_t tx_packets, tx_bytes;
	uint64_t tx_errors;  /* the device's */
	uint64_t tx_refused; /* packets that cannot be sent */
};

/* Since bh_net_configure(). */
int bh_net_stats(struct bh_net *net, struct bh_net_stats *stats);
/* Of one queue. -EINVAL: no such queue. */
int bh_net_rxq_stats(const struct bh_net *net, unsigned int index, struct bh_net_counters *out);
int bh_net_txq_stats(const struct bh_net *net, unsigned int index, struct bh_net_counters *out);

struct bh_net_xstat {
	char name[40]; /* "rx_packets", "rx_q0_packets", or the driver's own */
	uint64_t value;
};
/*
 * All there is, by name: up to max of them into out[]; how many there are (which may be more than
 * max). The order and number are constant from bh_net_configure() on.
 */
int bh_net_xstats(struct bh_net *net, struct bh_net_xstat *out, unsigned int max);

/* ---- sleeping ---- */

/*
 * An eventfd that becomes readable when a receive queue that was armed has packets; the device's.
 * -EOPNOTSUPP: queue_fds was not configured; -EINVAL: no such queue.
 */
int bh_net_rxq_fd(struct bh_net *net, unsigned int index);
/*
 * Once: the next packet wakes. Drains the eventfd, asks for the interrupt, looks again: -EAGAIN:
 * packets are there, do not sleep. The next burst that finds packets disarms. Owner thread.
 */
int bh_net_rxq_arm(struct bh_net *net, unsigned int index);

/* ---- packet pools ---- */

/*
 * A pool of mbufs: packet data in a DMA pool of its own, which devices reach; the mbufs, and
 * everything else that is trusted, in a heap of EAL that they do not.
 */
struct bh_net_pool;

struct bh_net_pool_opts {
	size_t size;
	struct bh_env *env;	    /* required */
	struct bh_dma_space *space; /* the data pool is added to it; NULL: the caller does that */
	const char *name;	    /* at most 23 bytes, unique in the process; default: made up */
	unsigned int count;	    /* mbufs; default 4096 */
	unsigned int data_bytes;    /* of each, behind the headroom; default 2048, 64 to 65024 */
	unsigned int cache;	    /* mbufs kept per thread; default 256, 0: none, at most 512 */
	unsigned int priv_bytes;    /* behind each mbuf, the caller's; a multiple of 8 */
	int node;		    /* NUMA node, -1: anywhere */
	const struct bh_log *log;
};

void bh_net_pool_opts_init(struct bh_net_pool_opts *opts);

/*
 * -EINVAL: no env, impossible numbers; -EEXIST: the name is taken; -ENOMEM; -ENOSPC: EAL has no
 * room for another heap or memory; errors of bh_dma_space_add().
 */
int bh_net_pool_create(const struct bh_net_pool_opts *opts, struct bh_net_pool **out);
/*
 * Takes the data pool out of the space. All mbufs must be back: if some are missing nothing is
 * freed, and an error is logged with their number. NULL is accepted.
 */
void bh_net_pool_destroy(struct bh_net_pool *pool);

struct rte_mempool *bh_net_pool_mempool(struct bh_net_pool *pool);
struct bh_pool *bh_net_pool_dma(struct bh_net_pool *pool);

#ifdef __cplusplus
}
#endif
#endif

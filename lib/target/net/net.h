/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shape of an emulated network controller. Private to lib/target/net.
 *
 * struct bh_target_net and its registers belong to the control thread, a tnet_thread and the pairs
 * it owns to their reactor's, except where "__atomic" or "any thread" is said. Whatever changes
 * what a pass looks at (client memory, queues, filters, offloads) is done by the control thread
 * while all poll threads stand at the gate: tnet_gate() returns when they do, which takes no longer
 * than a pass, since no packet is ever in flight between two passes. So a pass takes no lock and
 * nothing it reads changes under it.
 *
 *	client's ring -> tx_io.c -> port -> rx_io.c -> client's ring
 *			 loop_io.c, from ring to ring at once
 */
#ifndef TARGET_NET_NET_H
#define TARGET_NET_NET_H

#include <bellhop/barrier.h>
#include <bellhop/target_net.h>
#include <bellhop/vfu_server.h>

#include "base/shared.h"
#include "target/net/port.h"
#include "virtio_dev/vdq.h"

#define TNET_LOG "net"

/* BAR0; what is said in the capabilities. Notifications lie on pages of their own, of any size. */
#define TNET_BAR_BYTES 0x20000u
#define TNET_COMMON 0x0000u
#define TNET_ISR 0x1000u
#define TNET_DEVICE 0x2000u
#define TNET_NOTIFY 0x10000u
#define TNET_NOTIFY_BYTES 0x10000u
#define TNET_NOTIFY_STEP 4u
#define TNET_MSIX_BAR 4u

#define TNET_MAX_VQS (2 * BH_TARGET_NET_MAX_QUEUES + 1)

#define TNET_BURST 32u
/* Pieces of a burst: any packet fits into what is left when a burst begins. */
#define TNET_SEGS (2 * BH_VDQ_MAX_SEGS)
#define TNET_HDR ((uint32_t)sizeof(struct bh_virtio_net_hdr))
#define TNET_MIN_FRAME 14u
/* Buffers of the client's that a packet may be spread over (num_buffers). */
#define TNET_MERGE 64u

/* ---- what the driver set up (control thread) ---- */

struct tnet_vq {
	uint16_t size;
	uint16_t vector;
	bool is_enabled;
	uint64_t desc, driver, device;
};

struct tnet_regs {
	uint32_t device_feature_select, driver_feature_select;
	uint64_t features; /* the driver's, as written */
	uint16_t config_vector;
	uint16_t queue_select;
	uint8_t status; /* __atomic: a poll thread may add NEEDS_RESET */
	uint8_t generation;
	uint8_t isr; /* __atomic */
	struct tnet_vq vq[TNET_MAX_VQS];
};

/* ---- receive filter (5.1.6.5.1 to 5.1.6.5.3) ---- */

#define TNET_MACS 64u /* of each kind; more: all of that kind pass */

struct tnet_filter {
	uint8_t mac[6];
	bool is_off; /* everything passes */
	bool promisc, all_multi, all_uni, no_multi, no_uni, no_bcast;
	bool has_vlans; /* CTRL_VLAN: untagged, and the ids below */
	unsigned int num_uni, num_multi;
	uint8_t uni[TNET_MACS][6], multi[TNET_MACS][6];
	uint64_t vlan[4096 / 64];
};

/* ---- a pair of queues ---- */

struct tnet_counts {
	uint64_t tx_packets, tx_bytes, rx_packets, rx_bytes, tx_drops, rx_drops;
	uint64_t interrupts, suppressed;
	uint64_t batches[BH_TARGET_NET_BATCHES];
};

#define TNET_TIMED 16u /* of so many passes that found something one is timed */

struct tnet_pair {
	struct bh_vdq rx __attribute__((aligned(64)));
	struct bh_vdq tx __attribute__((aligned(64)));
	struct bh_target_net *net;
	struct tnet_thread *thread;
	unsigned int index;
	uint16_t rx_vector, tx_vector;
	bool is_rx_active; /* one of those the driver receives on */
	bool is_mergeable;
	bool is_broken_said;
	uint64_t features; /* with the offloads in force */
	bool is_blocked;   /* the port did not take all of the last burst */
	struct bh_fd_source *source;
	struct tnet_counts counts; /* __atomic, relaxed, written by the thread */
	uint32_t untimed;	   /* packets since the last pass that was timed */
	struct bh_latency latency; /* as counts */
};

/* ---- a poll thread ---- */

struct tnet_thread {
	struct bh_target_net *net;
	struct bh_reactor *reactor;
	struct bh_poller *poller;
	unsigned int index;
	bool is_gated;
	bool is_armed; /* drivers have been asked to kick */
	uint32_t faults;
	uint32_t found;		     /* passes that found something */
	uint64_t polls, empty_polls; /* __atomic, relaxed, written by the thread */
	unsigned int num_pairs;
	struct tnet_pair *pair[BH_TARGET_NET_MAX_QUEUES];
	struct bh_msg wake_msg;
	uint32_t wake_sent; /* __atomic */
	/* ---- scratch of a pass ---- */
	struct bh_vdq_chain chain[TNET_BURST], in[TNET_MERGE];
	struct tnet_pkt pkt[TNET_BURST];
	struct bh_vdq_pos pos[TNET_BURST];
	struct bh_vdq_seg seg[TNET_SEGS], in_seg[TNET_SEGS];
	struct iovec iov[TNET_SEGS + TNET_BURST];
	uint8_t *bounce; /* TNET_MAX_FRAME, for what must be worked on */
	uint8_t *segment;
};

/* ---- the controller ---- */

struct bh_target_net {
	char *path;
	struct bh_reactor *control;
	const struct bh_log *log;
	struct bh_vfu_server *server;
	struct bh_cmem *cmem;
	struct bh_net_port *port;
	unsigned int num_pairs, num_vqs;
	unsigned int max_depth;
	uint64_t offered; /* features */
	uint8_t mac[6];	  /* as configured */
	uint16_t mtu;
	enum bh_target_net_notify notify;
	bool split_rings;
	uint64_t idle_poll_ns;
	struct bh_shared notifications;
	int io_fd; /* trapped notifications without a message */
	struct bh_fd_source *io_source;

	struct tnet_regs regs;
	struct tnet_filter filter;
	uint16_t active_pairs;
	uint64_t guest_offloads; /* in force */
	bool is_started;
	uint32_t window[3]; /* the PCI configuration access capability: BAR, offset, length */

	unsigned int num_threads;
	struct tnet_thread *thread[BH_TARGET_NET_MAX_THREADS];
	struct tnet_pair *pair[BH_TARGET_NET_MAX_QUEUES];
	struct bh_vdq cvq; /* looked at by thread 0, served by the control thread behind the gate */
	struct bh_vdq_seg cvq_seg[BH_VDQ_MAX_SEGS];
	unsigned int gates; /* closed */

	struct bh_msg cvq_msg, isr_msg, broken_msg, last_msg;
	uint32_t cvq_sent, isr_sent, broken_sent; /* __atomic */
	const char *broken_why;			  /* __atomic, the first */
	unsigned int broken_queue;
	uint64_t notify_messages; /* __atomic */
	bool is_destroying;
	void (*destroyed)(void *arg);
	void *destroyed_arg;
};

static inline bool tnet_has(uint64_t features, unsigned int bit)
{
	return features >> bit & 1;
}

static inline void tnet_count(uint64_t *count, uint64_t n)
{
	bh_store_u64(count, *count + n);
}

/* ---- features.c ---- */
uint64_t tnet_features_offered(const struct bh_target_net *net);
/* Can the device work with these? (2.2, 5.1.3.1) */
bool tnet_features_ok(const struct bh_target_net *net, uint64_t features);
void tnet_config_image(const struct bh_target_net *net, struct bh_virtio_net_config *config);

/* ---- regs.c ---- */
void tnet_regs_power_on(struct bh_target_net *net);
int tnet_regs_access(struct bh_target_net *net, uint64_t offset, void *buf, size_t count,
		     bool write);
void tnet_isr_raise(struct bh_target_net *net, uint8_t bits); /* any thread */
void tnet_isr_show(struct bh_target_net *net);
/* Tells the driver that configuration or status has changed. */
void tnet_config_changed(struct bh_target_net *net);

/* ---- life.c: queues come and go (control thread) ---- */
/* Starts what the driver has enabled and is not running, once it has said DRIVER_OK. */
void tnet_start(struct bh_target_net *net);
/* Every queue is forgotten: the driver's reset, or any other. */
void tnet_stop(struct bh_target_net *net);
/* One queue is forgotten, the others go on. */
void tnet_stop_vq(struct bh_target_net *net, unsigned int i);
void tnet_set_active(struct bh_target_net *net, unsigned int pairs);
void tnet_set_offloads(struct bh_target_net *net, uint64_t guest);

/* ---- thread.c ---- */
int tnet_threads_create(struct bh_target_net *net, struct bh_reactor *const *threads,
			unsigned int num_threads);
/* The pollers are gone when it returns. */
void tnet_threads_part(struct bh_target_net *net);
void tnet_threads_free(struct bh_target_net *net);
/* Nested. Between the two no thread is in a pass. Control thread, or with no reactor running. */
void tnet_gate(struct bh_target_net *net);
void tnet_ungate(struct bh_target_net *net);
void tnet_thread_wake(struct tnet_thread *t); /* any thread */
/* A queue has broken: the driver is to be told. Any thread. */
void tnet_broken(struct bh_target_net *net, unsigned int vq, const char *why);
void tnet_call_driver(struct bh_target_net *net, uint16_t vector); /* any thread */

/* ---- cvq.c ---- */
void tnet_cvq_run(struct bh_target_net *net);

/* ---- filter.c ---- */
void tnet_filter_reset(struct bh_target_net *net);
bool tnet_filter_pass(const struct tnet_filter *f, const uint8_t *frame, uint32_t len);

/* ---- offload.c: what a receiver did not agree to do itself ---- */
/* Completes the checksum that the header asks for, in place. False: the header is nonsense. */
bool tnet_csum_complete(const struct bh_virtio_net_hdr *hdr, uint8_t *frame, uint32_t len);
/* Is it a header a driver may send with these features, for a packet of such length? */
bool tnet_hdr_is_sane(const struct bh_virtio_net_hdr *hdr, uint32_t len, uint64_t features);
/* Would a driver with these features have to be spared this header's wishes? */
static inline bool tnet_hdr_is_plain(const struct bh_virtio_net_hdr *hdr)
{
	return !(hdr->flags & BH_VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	       hdr->gso_type == BH_VIRTIO_NET_HDR_GSO_NONE;
}
bool tnet_hdr_is_welcome(const struct bh_virtio_net_hdr *hdr, uint64_t features);
/*
 * Segments: how many packets of a frame the header wants segmented, and the i-th of them, into out
 * (TNET_MAX_FRAME), its checksums complete. 0: it cannot be done.
 */
unsigned int tnet_gso_count(const struct bh_virtio_net_hdr *hdr, const uint8_t *frame,
			    uint32_t len);
uint32_t tnet_gso_segment(const struct bh_virtio_net_hdr *hdr, const uint8_t *frame, uint32_t len,
			  unsigned int i, uint8_t *out);

/* ---- the packet paths, hot ---- */
unsigned int tnet_pass(struct tnet_thread *t);	  /* pass_io.c: work done */
unsigned int tnet_pass_tx(struct tnet_pair *p);	  /* tx_io.c */
unsigned int tnet_pass_rx(struct tnet_pair *p);	  /* rx_io.c */
unsigned int tnet_pass_loop(struct tnet_pair *p); /* loop_io.c */
/*
 * Makes a packet of the chain: header, and iovecs behind a free one. False: it has no header, or
 * something to be written. iov has room for the segments and one more.
 */
bool tnet_pkt_of_chain(const struct bh_vdq_chain *c, struct tnet_pkt *pkt, struct iovec *iov);
/*
 * Puts a packet into the client's buffers, staged. 0; -EAGAIN: not enough buffers now; -EMSGSIZE:
 * larger than the client's buffers are; -EPROTO: the queue has broken.
 */
int tnet_rx_put(struct tnet_pair *p, const struct tnet_pkt *pkt);
/* The same for a packet whose header asks for what the driver did not agree to. */
int tnet_rx_put_worked(struct tnet_pair *p, const struct tnet_pkt *pkt);

#endif /* TARGET_NET_NET_H */

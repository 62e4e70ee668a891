/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a port is to the controller in front of it. Private to lib/target/net.
 *
 * Packets travel by the burst, each with the virtio header that says what is still to be done to it
 * (checksum, segmentation). tx() and rx() of one queue are called by that queue's thread only; all
 * else on the control thread, with no thread inside tx() or rx(), except where said.
 */
#ifndef TARGET_NET_PORT_H
#define TARGET_NET_PORT_H

#include <sys/uio.h>

#include <bellhop/target_net.h>

#include "virtio/virtio_net.h"

/* The longest packet there is: an IPv6 jumbogram no, a segmentation offload of 64 KiB yes. */
#define TNET_MAX_FRAME (65535u + 14u + 4u)

struct tnet_pkt {
	struct bh_virtio_net_hdr hdr;
	uint32_t len; /* without the header */
	uint32_t num_iov;
	/* In a packet for tx(), iov[-1] is the port's to use. */
	struct iovec *iov;
};

/* How a port wakes the thread that receives from one of its queues. */
struct tnet_waker {
	void (*wake)(void *ctx); /* any thread */
	void *ctx;
};

struct bh_net_port_ops {
	const char *name;
	uint64_t features; /* masks of BH_VIRTIO_NET_F_* that the port can stand up to */
	bool is_loopback;  /* has no tx and rx: the controller copies from queue to queue */
	bool is_filtered;  /* the controller filters what it receives (5.1.6.5.1) */
	/*
	 * A driver is there, with such features. Errors are logged by the port and mean less
	 * offloading, not no packets.
	 */
	void (*start)(struct bh_net_port *port, uint64_t features);
	void (*stop)(struct bh_net_port *port);
	/* Queues [0, count) are received from, until it is said again; stop() means 0. */
	void (*set_active)(struct bh_net_port *port, unsigned int count);
	/* GUEST_* features have changed while it is started (5.1.6.5.6). */
	void (*set_offloads)(struct bh_net_port *port, uint64_t features);
	void (*set_waker)(struct bh_net_port *port, unsigned int queue,
			  const struct tnet_waker *waker);
	/* Takes packets; how many of them. The rest come again. */
	unsigned int (*tx)(struct bh_net_port *port, unsigned int queue, struct tnet_pkt *pkt,
			   unsigned int count);
	/*
	 * Shows up to count packets, in memory of the port's, the same ones again until rx_done()
	 * says how many of them have been taken.
	 */
	unsigned int (*rx)(struct bh_net_port *port, unsigned int queue, struct tnet_pkt *pkt,
			   unsigned int count);
	void (*rx_done)(struct bh_net_port *port, unsigned int queue, unsigned int count);
	/* Readable when there is something to receive; -1: the waker says it. */
	int (*fd)(struct bh_net_port *port, unsigned int queue);
	/*
	 * The queue's thread is about to sleep: from here on the waker is called for a packet that
	 * comes. True: there is one already. Queue's thread.
	 */
	bool (*arm)(struct bh_net_port *port, unsigned int queue);
	void (*close)(struct bh_net_port *port);
};

/* A port begins with this. */
struct bh_net_port {
	const struct bh_net_port_ops *ops;
	const struct bh_log *log;
	unsigned int queues;
	bool is_taken; /* a controller is on it */
};

#define TNET_OFFLOADS_TX                                                                  \
	(BH_VIRTIO_BIT(BH_VIRTIO_NET_F_CSUM) | BH_VIRTIO_BIT(BH_VIRTIO_NET_F_HOST_TSO4) | \
	 BH_VIRTIO_BIT(BH_VIRTIO_NET_F_HOST_TSO6) | BH_VIRTIO_BIT(BH_VIRTIO_NET_F_HOST_ECN))
#define TNET_OFFLOADS_RX                                                                         \
	(BH_VIRTIO_BIT(BH_VIRTIO_NET_F_GUEST_CSUM) | BH_VIRTIO_BIT(BH_VIRTIO_NET_F_GUEST_TSO4) | \
	 BH_VIRTIO_BIT(BH_VIRTIO_NET_F_GUEST_TSO6) | BH_VIRTIO_BIT(BH_VIRTIO_NET_F_GUEST_ECN))

int tnet_port_tap_open(const char *name, const struct bh_net_port_opts *opts,
		       char why[BH_TARGET_NET_WHY], struct bh_net_port **out);
int tnet_port_pcap_open(const char *arg, const struct bh_net_port_opts *opts,
			char why[BH_TARGET_NET_WHY], struct bh_net_port **out);

/* Fills why, returns error. */
int tnet_port_fail(char *why, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif /* TARGET_NET_PORT_H */

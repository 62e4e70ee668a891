/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The port `tap`: a TAP device of the kernel's, with the virtio header in front of each packet, so
 * that checksums and segmentation pass through as they are (the kernel's
 * Documentation/networking/tuntap.rst).
 *
 * One file per queue. Each packet costs a system call, each way: what a TAP device takes. Received
 * packets are read into buffers of ours and stay there until the client has room for them; the
 * kernel drops what we do not fetch. What the kernel may leave to the receiver (TUNSETOFFLOAD) are
 * the GUEST_ features in force.
 *
 * The device is not brought up and gets no address here: that is the administrator's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_tun.h>

#include "target/net/port.h"

#define HELD 8u /* packets of a queue read ahead */
#define MAX_STALE 4096u

struct tap_queue {
	int fd;
	bool is_detached;
	unsigned int first, held; /* of the buffers, a ring */
	struct bh_virtio_net_hdr hdr[HELD];
	struct iovec iov[HELD];
	uint8_t *buf; /* HELD * TNET_MAX_FRAME */
};

struct tap {
	struct bh_net_port port;
	char name[IFNAMSIZ];
	uint64_t features;
	struct tap_queue queue[];
};

static struct tap *tap_of(struct bh_net_port *port)
{
	return (struct tap *)(void *)port; /* its first member */
}

/* ---- packets ---- */

static unsigned int tap_tx(struct bh_net_port *port, unsigned int queue, struct tnet_pkt *pkt,
			   unsigned int count)
{
	struct tap_queue *q = &tap_of(port)->queue[queue];
	unsigned int n;

	for (n = 0; n < count; n++) {
		struct iovec *iov = pkt[n].iov - 1;

		*iov = (struct iovec){ &pkt[n].hdr, sizeof(pkt[n].hdr) };
		/* Any other error is about this packet, or the device is down: it is lost. */
		if (writev(q->fd, iov, (int)pkt[n].num_iov + 1) < 0 && errno == EAGAIN)
			break;
	}
	return n;
}

/* Reads one more packet, if there is one and place for it. */
static bool read_one(struct tap_queue *q)
{
	unsigned int i = (q->first + q->held) % HELD;
	struct iovec iov[2] = { { &q->hdr[i], sizeof(q->hdr[i]) },
				{ q->buf + (size_t)i * TNET_MAX_FRAME, TNET_MAX_FRAME } };
	ssize_t n;

	if (q->held == HELD)
		return false;
	n = readv(q->fd, iov, 2);
	if (n < (ssize_t)sizeof(q->hdr[i]) + 14)
		return false;
	q->iov[i] = (struct iovec){ iov[1].iov_base, (size_t)n - sizeof(q->hdr[i]) };
	q->held++;
	return true;
}

static unsigned int tap_rx(struct bh_net_port *port, unsigned int queue, struct tnet_pkt *pkt,
			   unsigned int count)
{
	struct tap_queue *q = &tap_of(port)->queue[queue];
	unsigned int n;

	while (q->held < count && read_one(q))
		continue;
	for (n = 0; n < count && n < q->held; n++) {
		unsigned int i = (q->first + n) % HELD;

		pkt[n].hdr = q->hdr[i];
		pkt[n].len = (uint32_t)q->iov[i].iov_len;
		pkt[n].num_iov = 1;
		pkt[n].iov = &q->iov[i];
	}
	return n;
}

static void tap_rx_done(struct bh_net_port *port, unsigned int queue, unsigned int count)
{
	struct tap_queue *q = &tap_of(port)->queue[queue];

	q->first = (q->first + count) % HELD;
	q->held -= count;
}

static int tap_fd(struct bh_net_port *port, unsigned int queue)
{
	return tap_of(port)->queue[queue].fd;
}

static bool tap_arm(struct bh_net_port *port, unsigned int queue)
{
	struct tap_queue *q = &tap_of(port)->queue[queue];

	return q->held || read_one(q);
}

/* ---- control ---- */

static void set_offload(struct tap *tap, uint64_t features)
{
	unsigned int flags = 0;

	if (features & BH_VIRTIO_BIT(BH_VIRTIO_NET_F_GUEST_CSUM))
		flags |= TUN_F_CSUM;
	if (features & BH_VIRTIO_BIT(BH_VIRTIO_NET_F_GUEST_TSO4))
		flags |= TUN_F_TSO4;
	if (features & BH_VIRTIO_BIT(BH_VIRTIO_NET_F_GUEST_TSO6))
		flags |= TUN_F_TSO6;
	if (features & BH_VIRTIO_BIT(BH_VIRTIO_NET_F_GUEST_ECN))
		flags |= TUN_F_TSO_ECN;
	if (ioctl(tap->queue[0].fd, TUNSETOFFLOAD, (unsigned long)flags) != 0)
		bh_log(tap->port.log, BH_LOG_WARN, "net", "tap %s: offloads: %s", tap->name,
		       strerror(errno));
}

static void tap_set_offloads(struct bh_net_port *port, uint64_t features)
{
	set_offload(tap_of(port), features);
}

static void tap_set_active(struct bh_net_port *port, unsigned int count)
{
	struct tap *tap = tap_of(port);
	unsigned int i;

	for (i = 0; port->queues > 1 && i < port->queues; i++) {
		bool is_detached = i >= count && i > 0;
		struct ifreq ifr = { .ifr_flags =
					     is_detached ? IFF_DETACH_QUEUE : IFF_ATTACH_QUEUE };

		if (tap->queue[i].is_detached == is_detached)
			continue;
		if (ioctl(tap->queue[i].fd, TUNSETQUEUE, &ifr) == 0)
			tap->queue[i].is_detached = is_detached;
		else
			bh_log(port->log, BH_LOG_WARN, "net", "tap %s: queue %u: %s", tap->name, i,
			       strerror(errno));
	}
}

/* What came before there was a driver is nobody's. */
static void tap_start(struct bh_net_port *port, uint64_t features)
{
	struct tap *tap = tap_of(port);
	unsigned int i, n;

	for (i = 0; i < port->queues; i++) {
		for (n = 0; n < MAX_STALE && read_one(&tap->queue[i]); n++)
			tap->queue[i].held = 0;
		tap->queue[i].held = 0;
	}
	set_offload(tap, features);
}

static void tap_stop(struct bh_net_port *port)
{
	tap_set_active(port, 1);
	set_offload(tap_of(port), 0);
}

static void tap_close(struct bh_net_port *port)
{
	struct tap *tap = tap_of(port);
	unsigned int i;

	for (i = 0; i < port->queues; i++) {
		if (tap->queue[i].fd >= 0)
			close(tap->queue[i].fd);
		free(tap->queue[i].buf);
	}
	free(tap);
}

static const struct bh_net_port_ops tap_ops = {
	.name = "tap",
	.features = TNET_OFFLOADS_TX | TNET_OFFLOADS_RX,
	.is_filtered = true,
	.start = tap_start,
	.stop = tap_stop,
	.set_active = tap_set_active,
	.set_offloads = tap_set_offloads,
	.tx = tap_tx,
	.rx = tap_rx,
	.rx_done = tap_rx_done,
	.fd = tap_fd,
	.arm = tap_arm,
	.close = tap_close,
};

/* ---- opening ---- */

static int queue_open(struct tap *tap, struct tap_queue *q, char *why)
{
	const int flags =
		IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (tap->port.queues > 1 ? IFF_MULTI_QUEUE : 0);
	int size = sizeof(struct bh_virtio_net_hdr), error;
	struct ifreq ifr = { .ifr_flags = (short)flags };

	q->buf = malloc(HELD * (size_t)TNET_MAX_FRAME);
	if (!q->buf)
		return tnet_port_fail(why, -ENOMEM, "out of memory");
	q->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (q->fd < 0) {
		error = errno;
		return tnet_port_fail(why, -error, "tap:%s: /dev/net/tun: %s", tap->name,
				      strerror(error));
	}
	memcpy(ifr.ifr_name, tap->name, sizeof(ifr.ifr_name));
	if (ioctl(q->fd, TUNSETIFF, &ifr) == 0 && ioctl(q->fd, TUNSETVNETHDRSZ, &size) == 0)
		return 0;
	error = errno;
	return tnet_port_fail(why, -error, "tap:%s: %s%s", tap->name, strerror(error),
			      error == EPERM ? " (needs CAP_NET_ADMIN, or a device of this user: "
					       "ip tuntap add mode tap user ...)"
			      : error == EBUSY || error == EINVAL
				      ? " (in use, or made without multi_queue vnet_hdr?)"
				      : "");
}

int tnet_port_tap_open(const char *name, const struct bh_net_port_opts *opts,
		       char why[BH_TARGET_NET_WHY], struct bh_net_port **out)
{
	struct tap *tap;
	unsigned int i;
	int rc = 0;

	if (!name || !name[0] || strlen(name) >= IFNAMSIZ || strchr(name, '/') || strchr(name, '%'))
		return tnet_port_fail(why, -EINVAL,
				      "tap: expected a device name of 1 to 15 "
				      "characters");
	tap = calloc(1, sizeof(*tap) + opts->queues * sizeof(tap->queue[0]));
	if (!tap)
		return tnet_port_fail(why, -ENOMEM, "out of memory");
	tap->port = (struct bh_net_port){ &tap_ops, opts->log, opts->queues, false };
	memcpy(tap->name, name, strlen(name));
	for (i = 0; i < opts->queues; i++)
		tap->queue[i].fd = -1;
	for (i = 0; !rc && i < opts->queues; i++)
		rc = queue_open(tap, &tap->queue[i], why);
	if (rc) {
		tap_close(&tap->port);
		return rc;
	}
	*out = &tap->port;
	return 0;
}

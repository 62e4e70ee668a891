/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VERSION, the first exchange on a new connection (vfio-user 2). It is made on the caller's thread,
 * before anything else may happen on the socket: a server that serves somebody else accepts the
 * connection and stays silent, and that is to be said soon.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/clock.h>

#include "io_vfu/dev.h"

#define FIRST_TIMEOUT_NS 5000000000ull
#define VERSION_BYTES 512
/* Below this a register access would have to be split. */
#define MIN_TRANSFER 8

uint64_t io_vfu_first_timeout(const struct io_vfu *v)
{
	return v->opts.timeout_ns < FIRST_TIMEOUT_NS ? v->opts.timeout_ns : FIRST_TIMEOUT_NS;
}

static int send_version(struct io_vfu *v)
{
	struct vfu_header header = { .command = VFU_VERSION };
	uint8_t body[VERSION_BYTES];
	struct vfu_caps caps;
	int len;

	vfu_caps_default(&caps);
	caps.max_msg_fds = VFU_MAX_FDS;
	caps.max_data_xfer = VFU_MAX_DATA;
	caps.max_dma_maps = VFU_MAX_DMA_MAPS;
	caps.pgsizes = (uint64_t)sysconf(_SC_PAGESIZE);
	caps.twin_socket = v->opts.twin_socket;
	caps.write_multiple = true;
	len = vfu_version_encode(VFU_MAJOR, VFU_MINOR, &caps, false, body, sizeof(body));
	if (len < 0)
		return len;
	header.size = (uint32_t)(sizeof(header) + (size_t)len);
	return vfu_conn_send(&v->link.main, &header, body, (size_t)len, NULL, 0, NULL, 0);
}

/* The first whole message. -EBUSY: none in time; else as vfu_conn_recv(). */
static int receive_version(struct io_vfu *v, struct vfu_msg *msg)
{
	uint64_t now = bh_now_ns(), end = now + io_vfu_first_timeout(v);
	struct pollfd p = { .fd = v->link.main.fd, .events = POLLIN };
	int rc;

	for (;;) {
		rc = vfu_conn_recv(&v->link.main, msg);
		if (rc != 0)
			return rc == 1 ? 0 : rc;
		now = bh_now_ns();
		if (now >= end)
			return -EBUSY;
		if (poll(&p, 1, (int)((end - now) / 1000000) + 1) < 0 && errno != EINTR)
			return -errno;
	}
}

static int take_twin(struct io_vfu *v, struct vfu_msg *msg)
{
	int32_t i = v->peer.twin_fd_index;

	if (!v->peer.twin_socket)
		return 0;
	if (!v->opts.twin_socket || i < 0 || (uint32_t)i >= msg->nfds || msg->fds[i] < 0)
		return io_vfu_fail(v, -EPROTO, "the server wants a twin socket %s",
				   v->opts.twin_socket ? "and did not send it"
						       : "that was not offered");
	vfu_conn_init(&v->link.twin, msg->fds[i], v->dev.log);
	msg->fds[i] = -1;
	v->link.has_twin = true;
	return 0;
}

static int check_version(struct io_vfu *v, struct vfu_msg *msg)
{
	const struct vfu_header *h = &msg->header;
	uint16_t major;
	const char *why;

	if (h->command != VFU_VERSION || h->id != 0 ||
	    (h->flags & VFU_FLAG_TYPE_MASK) != VFU_TYPE_REPLY)
		return io_vfu_fail(v, -EPROTO, "the peer does not speak vfio-user");
	if (h->flags & VFU_FLAG_ERROR)
		return io_vfu_fail(v, -EPROTO, "the server refuses version %d.%d of vfio-user: %s",
				   VFU_MAJOR, VFU_MINOR, strerror((int)(h->error & 0xfff)));
	if (vfu_version_decode(msg->body, msg->body_len, &major, &v->minor, &v->peer, &why) != 0)
		return io_vfu_fail(v, -EPROTO, "the server's version makes no sense: %s", why);
	if (major != VFU_MAJOR || v->minor > VFU_MINOR)
		return io_vfu_fail(v, -EPROTO, "the server speaks vfio-user %u.%u, not %d.%d",
				   major, v->minor, VFU_MAJOR, VFU_MINOR);
	if (v->peer.max_data_xfer < MIN_TRANSFER)
		return io_vfu_fail(v, -EPROTO, "the server takes no more than %llu bytes at a time",
				   (unsigned long long)v->peer.max_data_xfer);
	return take_twin(v, msg);
}

static int no_version(struct io_vfu *v, int rc)
{
	switch (rc) {
	case -EBUSY:
		return io_vfu_fail(v, rc,
				   "accepted the connection but did not answer: it may be serving "
				   "another client");
	case -EPIPE:
	case -ECONNRESET:
		return io_vfu_fail(v, -EPROTO,
				   "closed the connection instead of answering: not a vfio-user "
				   "server, or one that serves another client");
	case -EPROTO:
	case -EMFILE:
		return io_vfu_fail(v, -EPROTO, "the peer does not speak vfio-user");
	default:
		return io_vfu_fail(v, rc, "%s", strerror(-rc));
	}
}

int io_vfu_negotiate(struct io_vfu *v)
{
	struct vfu_msg msg;
	int rc = send_version(v);

	memset(&msg, 0, sizeof(msg));
	if (rc == 0)
		rc = receive_version(v, &msg);
	rc = rc == 0 ? check_version(v, &msg) : no_version(v, rc);
	vfu_msg_fini(&msg);
	return rc;
}

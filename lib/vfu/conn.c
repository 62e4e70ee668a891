/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection moves whole messages over a non-blocking stream socket.
 *
 * Receiving reads exactly a header, then exactly its body, both with recvmsg: a larger read could
 * return the descriptors of a later message with the bytes of an earlier one, and a plain read
 * would lose descriptors that a peer attached to the body. What has arrived stays in conn->in
 * between calls, so a message may come in any pieces. Every descriptor that arrives belongs to the
 * message and is closed with it unless a handler took it (set it to -1).
 *
 * Sending tries the socket once and queues what it did not take. Descriptors go with the first
 * byte; a message that could not begin keeps duplicates of them. Output is strictly in order, so
 * nothing may pass a queued message.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vfu/vfu.h"

/*
 * A peer that writes as fast as it is read could keep a call here for as long as the message is, a
 * byte at a time. The socket says that there is more.
 */
#define CALLS_PER_RECV 64

struct vfu_out {
	struct vfu_out *next;
	size_t len;
	size_t sent;
	unsigned int nfds; /* still to be attached */
	int fds[VFU_MAX_FDS];
	uint8_t bytes[];
};

union fd_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(VFU_MAX_FDS * sizeof(int))];
};

static void close_fd(const struct vfu_closing *closing, int fd)
{
	if (closing)
		closing->fn(closing->ctx, fd);
	else
		close(fd);
}

static void close_fds(const struct vfu_closing *closing, int *fds, unsigned int *nfds)
{
	unsigned int i;

	for (i = 0; i < *nfds; i++)
		if (fds[i] >= 0)
			close_fd(closing, fds[i]);
	*nfds = 0;
}

void vfu_msg_fini(struct vfu_msg *msg)
{
	close_fds(msg->closing, msg->fds, &msg->nfds);
	free(msg->body);
	memset(msg, 0, sizeof(*msg));
}

void vfu_conn_init(struct vfu_conn *conn, int fd, const struct bh_log *log)
{
	int flags = fcntl(fd, F_GETFL);

	memset(conn, 0, sizeof(*conn));
	conn->fd = fd;
	conn->log = log;
	/* Every call below passes MSG_DONTWAIT too, so a refusal here changes nothing. */
	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void drop_head(struct vfu_conn *conn)
{
	struct vfu_out *out = conn->out_head;

	conn->out_head = out->next;
	if (!conn->out_head)
		conn->out_tail = NULL;
	conn->out_bytes -= sizeof(*out) + out->len;
	conn->out_fds -= out->nfds;
	close_fds(NULL, out->fds, &out->nfds);
	free(out);
}

void vfu_conn_fini(struct vfu_conn *conn)
{
	while (conn->out_head)
		drop_head(conn);
	conn->in.closing = conn->closing;
	vfu_msg_fini(&conn->in);
	conn->in_have = 0;
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
}

/* Adds the descriptors of one control message to the message; those beyond its room are closed. */
static bool take_fds(const struct vfu_closing *closing, struct vfu_msg *msg,
		     const struct cmsghdr *cmsg)
{
	const unsigned char *data = CMSG_DATA(cmsg);
	size_t i, n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	bool fit = true;
	int fd;

	for (i = 0; i < n; i++) {
		memcpy(&fd, data + i * sizeof(int), sizeof(fd));
		if (msg->nfds < VFU_MAX_FDS) {
			msg->fds[msg->nfds++] = fd;
		} else {
			close_fd(closing, fd);
			fit = false;
		}
	}
	return fit;
}

/* Receives up to len bytes and any descriptors with them. Bytes, 0 at the end, -errno. */
static ssize_t receive(struct vfu_conn *conn, void *buf, size_t len)
{
	union fd_control control;
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *cmsg;
	bool fit = true;
	ssize_t n;

	do
		n = recvmsg(conn->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (cmsg = CMSG_FIRSTHDR(&mh); cmsg; cmsg = CMSG_NXTHDR(&mh, cmsg))
		if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
			fit = take_fds(conn->closing, &conn->in, cmsg) && fit;
	if (!fit || (mh.msg_flags & MSG_CTRUNC)) {
		close_fds(conn->closing, conn->in.fds, &conn->in.nfds);
		return -EMFILE;
	}
	return n;
}

/* The header is complete: checks its size before anything is allocated for it. */
static int begin_body(struct vfu_conn *conn)
{
	struct vfu_msg *in = &conn->in;

	if (in->header.size < sizeof(in->header) ||
	    in->header.size - sizeof(in->header) > VFU_MAX_BODY)
		return -EPROTO;
	in->body_len = in->header.size - sizeof(in->header);
	if (in->body_len == 0)
		return 0;
	in->body = malloc(in->body_len);
	return in->body ? 0 : -ENOMEM;
}

static void hand_over(struct vfu_conn *conn, struct vfu_msg *msg)
{
	*msg = conn->in;
	msg->closing = conn->closing;
	memset(&conn->in, 0, sizeof(conn->in));
	conn->in_have = 0;
}

int vfu_conn_recv(struct vfu_conn *conn, struct vfu_msg *msg)
{
	struct vfu_msg *in = &conn->in;
	const size_t hlen = sizeof(in->header);
	unsigned int calls = 0;
	ssize_t n;
	int rc;

	memset(msg, 0, sizeof(*msg));
	while (conn->in_have < hlen || conn->in_have < hlen + in->body_len) {
		if (calls++ == CALLS_PER_RECV)
			return 0;
		if (conn->in_have < hlen)
			n = receive(conn, (uint8_t *)&in->header + conn->in_have,
				    hlen - conn->in_have);
		else
			n = receive(conn, in->body + (conn->in_have - hlen),
				    hlen + in->body_len - conn->in_have);
		if (n == -EAGAIN || n == -EWOULDBLOCK)
			return 0;
		if (n == 0)
			return conn->in_have == 0 ? -EPIPE : -ECONNRESET;
		if (n < 0)
			return (int)n;
		conn->in_have += (size_t)n;
		if (conn->in_have != hlen)
			continue;
		rc = begin_body(conn);
		if (rc == -EPROTO) {
			close_fds(conn->closing, in->fds, &in->nfds);
			hand_over(conn, msg);
		}
		if (rc != 0)
			return rc;
	}
	hand_over(conn, msg);
	return 1;
}

/* One sendmsg with the descriptors attached. Bytes taken (0 when the socket is full) or -errno. */
static ssize_t transmit(int fd, struct iovec *iov, size_t iovlen, const int *fds, unsigned int nfds)
{
	union fd_control control;
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = iovlen };
	struct cmsghdr *cmsg;
	ssize_t n;

	if (nfds > 0) {
		memset(&control, 0, sizeof(control));
		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&mh);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nfds * sizeof(int));
	}
	do
		n = sendmsg(fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
}

/* Queues what is left of a message after `sent` bytes of it are gone. */
static int enqueue(struct vfu_conn *conn, const struct iovec *iov, size_t iovlen, size_t total,
		   size_t sent, const int *fds, unsigned int nfds)
{
	struct vfu_out *out = malloc(sizeof(*out) + total);
	size_t i, at = 0;

	if (!out)
		return -ENOMEM;
	out->next = NULL;
	out->len = total;
	out->sent = sent;
	out->nfds = 0;
	for (i = 0; i < iovlen; i++) {
		if (iov[i].iov_len > 0)
			memcpy(out->bytes + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	for (i = 0; sent == 0 && i < nfds; i++) {
		int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

		if (copy < 0) {
			int rc = -errno;

			close_fds(NULL, out->fds, &out->nfds);
			free(out);
			return rc;
		}
		out->fds[out->nfds++] = copy;
	}
	if (conn->out_tail)
		conn->out_tail->next = out;
	else
		conn->out_head = out;
	conn->out_tail = out;
	conn->out_bytes += sizeof(*out) + total;
	conn->out_fds += out->nfds;
	return 0;
}

int vfu_conn_send(struct vfu_conn *conn, const struct vfu_header *header, const void *body,
		  size_t body_len, const void *data, size_t data_len, const int *fds,
		  unsigned int nfds)
{
	struct iovec iov[3] = {
		{ .iov_base = (void *)(uintptr_t)header, .iov_len = sizeof(*header) },
		{ .iov_base = (void *)(uintptr_t)body, .iov_len = body_len },
		{ .iov_base = (void *)(uintptr_t)data, .iov_len = data_len },
	};
	const size_t total = sizeof(*header) + body_len + data_len;
	ssize_t n = 0;

	if (nfds > VFU_MAX_FDS)
		return -EINVAL;
	if (!conn->out_head) {
		n = transmit(conn->fd, iov, 3, fds, nfds);
		if (n < 0)
			return (int)n;
		if ((size_t)n == total)
			return 0;
	}
	return enqueue(conn, iov, 3, total, (size_t)n, fds, nfds);
}

int vfu_conn_flush(struct vfu_conn *conn)
{
	while (conn->out_head) {
		struct vfu_out *out = conn->out_head;
		struct iovec iov = {
			.iov_base = out->bytes + out->sent,
			.iov_len = out->len - out->sent,
		};
		ssize_t n = transmit(conn->fd, &iov, 1, out->fds, out->nfds);

		if (n < 0)
			return (int)n;
		if (n == 0)
			return 0;
		conn->out_fds -= out->nfds;
		close_fds(NULL, out->fds, &out->nfds);
		out->sent += (size_t)n;
		if (out->sent == out->len)
			drop_head(conn);
	}
	return 1;
}

int vfu_conn_reply(struct vfu_conn *conn, const struct vfu_header *request, int error,
		   const void *body, size_t body_len, const void *data, size_t data_len,
		   const int *fds, unsigned int nfds)
{
	struct vfu_header header = {
		.id = request->id,
		.command = request->command,
		.flags = VFU_TYPE_REPLY,
	};

	if (request->flags & VFU_FLAG_NO_REPLY)
		return 0;
	if (error != 0) {
		header.size = sizeof(header);
		header.flags |= VFU_FLAG_ERROR;
		header.error = (uint32_t)(error < 0 ? -error : error);
		return vfu_conn_send(conn, &header, NULL, 0, NULL, 0, NULL, 0);
	}
	header.size = (uint32_t)(sizeof(header) + body_len + data_len);
	return vfu_conn_send(conn, &header, body, body_len, data, data_len, fds, nfds);
}

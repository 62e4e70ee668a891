/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One client: how it comes, how its socket is served, how it leaves.
 *
 * While a client is attached the listening socket is not looked at: the next one waits in the
 * backlog. Reading stops while the client does not read what it is sent, or has more commands held
 * back than is decent; its leaving is noticed all the same, because epoll reports a hang-up
 * unasked, and half of one on request.
 *
 * Leaving is a full reset. The socket, the interrupts and outstanding DMA messages go at once,
 * since they need nobody's consent; memory goes when the device has become quiet. A command that
 * was waiting for quiesce when the client left loses its effect, but the device still owes its
 * answer.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfu_server/server.h"

#define CLOG_PAUSE_NS 20000000ull    /* while descriptors wait to be closed */
#define ACCEPT_PAUSE_NS 100000000ull /* when out of descriptors */

static bool may_read(const struct bh_vfu_server *s)
{
	return vfus_may_answer(s) && !vfus_closer_is_full(s) && s->def_count < VFUS_MAX_DEFERRED &&
	       s->def_bytes < VFUS_MAX_DEFERRED_BYTES && s->def_fds < VFUS_MAX_WAITING_FDS;
}

/* What does not belong there is refused there, or on the main connection. */
static bool may_read_twin(const struct bh_vfu_server *s)
{
	return s->twin.out_bytes <= VFUS_MAX_BACKLOG && !vfus_closer_is_full(s) &&
	       vfus_may_answer(s);
}

static void set_events(struct bh_vfu_server *s, struct bh_fd_source *source, uint32_t *now,
		       uint32_t wanted)
{
	if (!source || *now == wanted)
		return;
	if (bh_fd_source_modify(source, wanted) != 0)
		s->broken = true;
	*now = wanted;
}

void vfus_update_events(struct bh_vfu_server *s)
{
	if (vfus_closer_is_full(s) && !s->multi_later)
		bh_timer_set(s->kick, CLOG_PAUSE_NS);
	set_events(s, s->conn_source, &s->conn_events,
		   EPOLLRDHUP | (may_read(s) ? (uint32_t)EPOLLIN : 0) |
			   (vfu_conn_wants_out(&s->conn) ? (uint32_t)EPOLLOUT : 0));
	set_events(s, s->twin_source, &s->twin_events,
		   EPOLLRDHUP | (may_read_twin(s) ? (uint32_t)EPOLLIN : 0) |
			   (vfu_conn_wants_out(&s->twin) ? (uint32_t)EPOLLOUT : 0));
}

/* Receives up to a pass's worth of messages. */
static void receive(struct bh_vfu_server *s)
{
	struct vfu_msg msg;
	unsigned int n;
	int rc = 1;

	for (n = 0; n < VFUS_MESSAGES_PER_PASS && !s->broken && may_read(s); n++) {
		rc = vfu_conn_recv(&s->conn, &msg);
		if (rc <= 0)
			break;
		vfus_take(s, &msg);
	}
	if (rc == -EPROTO) { /* framing is lost */
		vfu_conn_reply(&s->conn, &msg.header, -EINVAL, NULL, 0, NULL, 0, NULL, 0);
		vfu_msg_fini(&msg);
	}
	if (rc < 0) {
		bh_log(s->log, rc == -EPIPE ? BH_LOG_DEBUG : BH_LOG_WARN, VFUS_LOG,
		       "%s: connection ended (%d)", s->path, rc);
		s->broken = true;
	}
}

static void on_conn(void *ctx, uint32_t events)
{
	struct bh_vfu_server *s = ctx;

	vfus_enter(s);
	if ((events & EPOLLOUT) && vfu_conn_flush(&s->conn) < 0)
		s->broken = true;
	if (events & EPOLLIN)
		receive(s);
	else if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->broken = true;
	vfus_leave(s);
}

/* Only replies to our DMA messages come here. */
static void receive_twin(struct bh_vfu_server *s)
{
	struct vfu_msg msg;
	unsigned int n;
	int rc = 0;

	for (n = 0; n < VFUS_MESSAGES_PER_PASS && !s->broken && may_read_twin(s); n++) {
		rc = vfu_conn_recv(&s->twin, &msg);
		if (rc <= 0)
			break;
		if ((msg.header.flags & VFU_FLAG_TYPE_MASK) == VFU_TYPE_REPLY)
			vfus_dma_reply(s, &msg);
		else if (vfu_conn_reply(&s->twin, &msg.header, -EINVAL, NULL, 0, NULL, 0, NULL,
					0) != 0)
			s->broken = true;
		vfu_msg_fini(&msg);
	}
	if (rc < 0) {
		vfu_msg_fini(&msg);
		s->broken = true;
	}
}

static void on_twin(void *ctx, uint32_t events)
{
	struct bh_vfu_server *s = ctx;

	vfus_enter(s);
	if ((events & EPOLLOUT) && vfu_conn_flush(&s->twin) < 0)
		s->broken = true;
	if (events & EPOLLIN)
		receive_twin(s);
	else if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->broken = true;
	vfus_leave(s);
}

int vfus_twin_start(struct bh_vfu_server *s, int *peer_fd)
{
	int sv[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) != 0)
		return -errno;
	vfu_conn_init(&s->twin, sv[0], s->log);
	s->twin.closing = &s->closing;
	rc = bh_fd_source_add(s->control, sv[0], EPOLLIN | EPOLLRDHUP, on_twin, s, &s->twin_source);
	if (rc != 0) {
		vfu_conn_fini(&s->twin);
		close(sv[1]);
		return rc;
	}
	s->twin_events = EPOLLIN | EPOLLRDHUP;
	*peer_fd = sv[1];
	return 0;
}

/* ---- coming ---- */

static bool is_allowed(const struct bh_vfu_server *s, int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	unsigned int i;

	if (s->num_uids == 0)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return false;
	for (i = 0; i < s->num_uids; i++)
		if (s->uids[i] == cred.uid)
			return true;
	bh_log(s->log, BH_LOG_WARN, VFUS_LOG, "%s: user %u is not allowed", s->path,
	       (unsigned int)cred.uid);
	return false;
}

static void attach(struct bh_vfu_server *s, int fd)
{
	vfu_conn_init(&s->conn, fd, s->log);
	s->conn.closing = &s->closing;
	if (bh_fd_source_add(s->control, fd, EPOLLIN | EPOLLRDHUP, on_conn, s, &s->conn_source) !=
	    0) {
		vfu_conn_fini(&s->conn);
		return;
	}
	s->conn_events = EPOLLIN | EPOLLRDHUP;
	s->state = VFUS_ATTACHED;
	bh_timer_set(s->handshake, VFUS_HANDSHAKE_NS);
	s->broken = false;
	vfu_caps_default(&s->peer);
	bh_fd_source_remove(s->listen_source);
	s->listen_source = NULL;
}

/* There is one place: who takes it and does not say VERSION in time makes room for the next. */
void vfus_handshake_over(void *ctx)
{
	struct bh_vfu_server *s = ctx;

	vfus_enter(s);
	if (s->state == VFUS_ATTACHED) {
		bh_log(s->log, BH_LOG_WARN, VFUS_LOG, "%s: a client without VERSION is dropped",
		       s->path);
		s->broken = true;
	}
	vfus_leave(s);
}

void vfus_accept(void *ctx, uint32_t events)
{
	struct bh_vfu_server *s = ctx;
	int fd;

	(void)events;
	vfus_enter(s);
	fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0 && is_allowed(s, fd)) {
		attach(s, fd);
	} else if (fd >= 0) {
		close(fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
		bh_log(s->log, BH_LOG_WARN, VFUS_LOG, "%s: cannot accept a client: %s", s->path,
		       strerror(errno));
		bh_fd_source_remove(s->listen_source);
		s->listen_source = NULL;
		s->accept_later = true;
		bh_timer_set(s->kick, ACCEPT_PAUSE_NS);
	}
	vfus_leave(s);
}

/* ---- leaving ---- */

/* All that can go without the device's consent. */
void vfus_close_client(struct bh_vfu_server *s)
{
	bh_fd_source_remove(s->conn_source);
	bh_fd_source_remove(s->twin_source);
	s->conn_source = s->twin_source = NULL;
	vfu_conn_fini(&s->conn);
	vfu_conn_fini(&s->twin);
	bh_timer_cancel(s->handshake);
	vfus_drop_deferred(s);
	s->broken = false;
	s->write_multiple = s->told_refusal = false;
	vfus_dma_forget_wire(s);
	vfus_dma_fail_all(s, -ENODEV);
	vfus_irqs_drop(s);
}

static int apply_leave(struct bh_vfu_server *s)
{
	s->reset_reason = BH_RESET_LOST;
	vfus_do_reset(s);
	return bh_cmem_del(&s->cmem, 0, 0);
}

static void finish_leave(struct bh_vfu_server *s, int rc)
{
	(void)rc; /* removing everything cannot fail */
	if (s->ops->disconnected)
		s->ops->disconnected(s->ops_ctx);
	vfus_listen_again(s);
}

void vfus_lose(struct bh_vfu_server *s)
{
	const struct vfus_wait wait = {
		.reason = BH_QUIESCE_DISCONNECT,
		.len = UINT64_MAX,
		.apply = apply_leave,
		.finish = finish_leave,
	};
	const bool negotiated = s->state == VFUS_NEGOTIATED;

	if (vfus_has_client(s)) {
		s->state = VFUS_LEAVING;
		vfus_close_client(s);
		if (!negotiated) { /* it has changed nothing */
			vfus_listen_again(s);
			return;
		}
		s->leave_asked = false;
	}
	/* A command that still waits comes first; vfus_leave tries again when it has ended. */
	if (s->cur_active || s->leave_asked)
		return;
	s->leave_asked = true;
	vfus_gate_begin(s, &wait);
}

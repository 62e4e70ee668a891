/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The link: one connection, one thread that receives, any number of threads that ask.
 *
 * The thread "bh-vfu" owns the receiving half of the connections and is the only one to read from
 * them, without the lock. It hands replies to those who wait for them, by message id, and serves
 * the server's DMA commands at once, so a server that needs our memory before it can answer never
 * waits for us. Everybody sends under the lock; what the socket does not take stays queued in the
 * connection, and the thread goes on with it.
 *
 * A wait lives on its caller's stack and is linked in and out by its caller, under the lock: a
 * reply finds it there or belongs to nobody. A reply to a request that was given up is dropped that
 * way, as is one nobody asked for; a reply to a known id for another command cannot be explained,
 * and ends the connection.
 *
 * A link is lost once, for good: `up` goes false, the sockets are shut down, every wait ends with
 * -ENODEV. Whoever finds out only marks the device; the thread meets the end of the stream, and
 * announces the loss as the last thing it does.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bellhop/clock.h>

#include "base/fd.h"
#include "io_vfu/dev.h"

#define MAX_ERRNO 4095u
/* Posted writes that a server has not taken: beyond this the caller is told. */
#define POST_BACKLOG (4u << 20)
/* Replies that a server does not read: beyond this its commands wait. */
#define REPLY_BACKLOG (8u << 20)
/* Messages of one connection before the others have their turn. */
#define RECV_BURST 64

struct io_vfu_wait {
	struct io_vfu_wait *next;
	uint16_t id;
	uint16_t command;
	bool done;
	struct vfu_msg reply;
	pthread_cond_t cond;
};

void io_vfu_link_init(struct io_vfu_link *link)
{
	memset(link, 0, sizeof(*link));
	pthread_mutex_init(&link->lock, NULL);
	link->main.fd = -1;
	link->twin.fd = -1;
	link->wake_fd = -1;
}

void io_vfu_link_fini(struct io_vfu_link *link)
{
	pthread_mutex_destroy(&link->lock);
}

static void wake(struct io_vfu_link *link)
{
	/* Full means that it will wake up anyway. */
	(void)eventfd_write(link->wake_fd, 1);
}

static void lose(struct io_vfu *v, const char *why)
{
	struct io_vfu_link *link = &v->link;

	if (!link->up)
		return;
	link->up = false;
	link->why = why;
	bh__device_mark_gone(&v->dev);
	if (!link->stop)
		bh_log(v->dev.log, io_vfu_is_opening(v) ? BH_LOG_DEBUG : BH_LOG_ERROR, "vfio-user",
		       "%s: lost: %s", v->dev.address, why);
	shutdown(link->main.fd, SHUT_RDWR);
	if (link->has_twin)
		shutdown(link->twin.fd, SHUT_RDWR);
	for (struct io_vfu_wait *w = link->waits; w; w = w->next)
		pthread_cond_signal(&w->cond);
	wake(link);
}

void io_vfu_link_break(struct io_vfu *v, const char *why)
{
	pthread_mutex_lock(&v->link.lock);
	lose(v, why);
	pthread_mutex_unlock(&v->link.lock);
}

bool io_vfu_link_is_up(struct io_vfu *v)
{
	bool up;

	pthread_mutex_lock(&v->link.lock);
	up = v->link.up;
	pthread_mutex_unlock(&v->link.lock);
	return up;
}

const char *io_vfu_link_why(struct io_vfu *v)
{
	const char *why;

	pthread_mutex_lock(&v->link.lock);
	why = v->link.why;
	pthread_mutex_unlock(&v->link.lock);
	return why;
}

/* ---- asking ---- */

static struct io_vfu_wait *find_wait(struct io_vfu_link *link, uint16_t id)
{
	struct io_vfu_wait *w = link->waits;

	while (w && w->id != id)
		w = w->next;
	return w;
}

static void remove_wait(struct io_vfu_link *link, struct io_vfu_wait *wait)
{
	struct io_vfu_wait **p = &link->waits;

	while (*p != wait)
		p = &(*p)->next;
	*p = wait->next;
}

/* There are far fewer threads than ids, so this ends. */
static uint16_t new_id(struct io_vfu_link *link)
{
	while (find_wait(link, link->next_id))
		link->next_id++;
	return link->next_id++;
}

/* Locked. Errors that say nothing of the connection (a bad eventfd, no fds left) leave it alone. */
static int transmit(struct io_vfu *v, const struct io_vfu_call *call, uint16_t id, uint32_t flags)
{
	struct io_vfu_link *link = &v->link;
	struct vfu_header header = {
		.id = id,
		.command = call->command,
		.size = (uint32_t)(sizeof(header) + call->body_len + call->data_len),
		.flags = VFU_TYPE_COMMAND | flags,
	};
	int rc = vfu_conn_send(&link->main, &header, call->body, call->body_len, call->data,
			       call->data_len, call->fds, call->nfds);

	/* -ENOMEM may leave half a message behind. */
	if (rc == -EPIPE || rc == -ECONNRESET || rc == -ENOTCONN || rc == -ENOMEM) {
		lose(v, rc == -ENOMEM ? "out of memory" : "the server closed the connection");
		return -ENODEV;
	}
	if (vfu_conn_wants_out(&link->main))
		wake(link);
	return rc;
}

static void wait_for_reply(struct io_vfu *v, struct io_vfu_wait *wait)
{
	uint64_t end = bh_now_ns() + v->opts.timeout_ns;
	struct timespec ts;

	if (end < v->opts.timeout_ns) /* a timeout of "for ever" */
		end = INT64_MAX;
	ts.tv_sec = (time_t)(end / 1000000000);
	ts.tv_nsec = (long)(end % 1000000000);
	while (!wait->done && v->link.up)
		if (pthread_cond_timedwait(&wait->cond, &v->link.lock, &ts) == ETIMEDOUT)
			break;
}

static int reply_status(const struct vfu_msg *reply)
{
	uint32_t error = reply->header.error;

	if (!(reply->header.flags & VFU_FLAG_ERROR))
		return 0;
	return error == 0 || error > MAX_ERRNO ? EINVAL : (int)error;
}

static int ask(struct io_vfu *v, const struct io_vfu_call *call, struct io_vfu_wait *wait)
{
	struct io_vfu_link *link = &v->link;
	int rc;

	if (!link->up)
		return -ENODEV;
	wait->id = new_id(link);
	rc = transmit(v, call, wait->id, 0);
	if (rc != 0)
		return rc;
	wait->next = link->waits;
	link->waits = wait;
	wait_for_reply(v, wait);
	remove_wait(link, wait);
	if (wait->done)
		return reply_status(&wait->reply);
	return link->up ? -ETIMEDOUT : -ENODEV;
}

int io_vfu_request(struct io_vfu *v, const struct io_vfu_call *call, struct vfu_msg *reply)
{
	struct io_vfu_wait wait = { .command = call->command };
	pthread_condattr_t attr;
	int rc;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&wait.cond, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_lock(&v->link.lock);
	rc = ask(v, call, &wait);
	pthread_mutex_unlock(&v->link.lock);
	pthread_cond_destroy(&wait.cond);
	if (reply)
		*reply = wait.reply;
	else
		vfu_msg_fini(&wait.reply);
	return rc;
}

int io_vfu_post(struct io_vfu *v, const struct io_vfu_call *call)
{
	struct io_vfu_link *link = &v->link;
	int rc;

	pthread_mutex_lock(&link->lock);
	if (!link->up)
		rc = -ENODEV;
	else if (link->main.out_bytes > POST_BACKLOG)
		rc = -EAGAIN;
	else
		rc = transmit(v, call, new_id(link), VFU_FLAG_NO_REPLY);
	pthread_mutex_unlock(&link->lock);
	return rc;
}

/* ---- the thread ---- */

/* Hands the message over, or leaves it to the caller. False: it cannot be explained. */
static bool take_reply(struct io_vfu *v, struct vfu_msg *msg)
{
	struct io_vfu_wait *wait;
	bool sane = true;

	pthread_mutex_lock(&v->link.lock);
	wait = find_wait(&v->link, msg->header.id);
	if (wait && !wait->done) {
		sane = wait->command == msg->header.command;
		if (sane) {
			wait->reply = *msg;
			wait->done = true;
			memset(msg, 0, sizeof(*msg));
			pthread_cond_signal(&wait->cond);
		}
	} else {
		bh_log(v->dev.log, BH_LOG_DEBUG, "vfio-user",
		       "%s: a reply (%s, id %u) that nobody waits for is dropped", v->dev.address,
		       vfu_command_str(msg->header.command), msg->header.id);
	}
	pthread_mutex_unlock(&v->link.lock);
	return sane;
}

/* NULL, or why the connection is to end. */
static const char *take(struct io_vfu *v, struct vfu_conn *conn, struct vfu_msg *msg)
{
	uint32_t type = msg->header.flags & VFU_FLAG_TYPE_MASK;

	if (type == VFU_TYPE_COMMAND)
		return io_vfu_dma_serve(v, conn, msg) == 0
			       ? NULL
			       : "the server does not take replies to its DMA requests";
	if (type != VFU_TYPE_REPLY)
		return "the server sent something that is neither command nor reply";
	if (conn != &v->link.main)
		return "the server sent a reply on the socket for its own commands";
	return take_reply(v, msg) ? NULL : "the server answered another command than was asked";
}

static const char *receive_error(int rc)
{
	switch (rc) {
	case -EPIPE:
	case -ECONNRESET:
		return "the server closed the connection";
	case -EPROTO:
		return "the server sent a message of impossible size";
	case -EMFILE:
		return "the server sent too many file descriptors, or no more can be opened here";
	default:
		return strerror(-rc);
	}
}

static const char *receive(struct io_vfu *v, struct vfu_conn *conn)
{
	const char *why = NULL;
	struct vfu_msg msg;

	for (int i = 0; i < RECV_BURST && !why; i++) {
		int rc = vfu_conn_recv(conn, &msg);

		if (rc == 1)
			why = take(v, conn, &msg);
		vfu_msg_fini(&msg);
		if (rc == 0)
			return NULL;
		if (rc < 0)
			return receive_error(rc);
	}
	return why;
}

static short wanted(const struct vfu_conn *conn)
{
	/* The end is noticed even where nothing is read: it would be behind the unread. */
	short events = conn->out_bytes > REPLY_BACKLOG ? POLLRDHUP : POLLIN | POLLRDHUP;

	return vfu_conn_wants_out(conn) ? events | POLLOUT : events;
}

static const char *service(struct io_vfu *v, struct vfu_conn *conn, short events)
{
	int rc = 0;

	if (events & POLLOUT) {
		pthread_mutex_lock(&v->link.lock);
		rc = vfu_conn_flush(conn);
		pthread_mutex_unlock(&v->link.lock);
	}
	if (rc < 0)
		return receive_error(rc);
	if (!(events & POLLIN) && (events & POLLRDHUP))
		return receive_error(-EPIPE);
	return events & (POLLIN | POLLHUP | POLLERR) ? receive(v, conn) : NULL;
}

/* The end of the thread: because it was asked to, or because the link is lost. */
static void announce(struct io_vfu *v, const char *why)
{
	bool closed;

	pthread_mutex_lock(&v->link.lock);
	closed = v->link.stop && v->link.up && !why;
	if (closed)
		v->link.up = false;
	else
		lose(v, why);
	pthread_mutex_unlock(&v->link.lock);
	if (!closed)
		bh__device_set_gone(&v->dev);
}

static void *run(void *arg)
{
	struct io_vfu *v = arg;
	struct io_vfu_link *link = &v->link;
	struct pollfd p[3] = { { .fd = link->wake_fd, .events = POLLIN },
			       { .fd = link->main.fd },
			       { .fd = link->has_twin ? link->twin.fd : -1 } };
	const char *why = NULL;
	eventfd_t ignored;
	bool go = true;

	while (go && !why) {
		pthread_mutex_lock(&link->lock);
		go = link->up && !link->stop;
		p[1].events = wanted(&link->main);
		p[2].events = wanted(&link->twin);
		pthread_mutex_unlock(&link->lock);
		if (!go || poll(p, 3, -1) < 0)
			continue;
		if (p[0].revents)
			(void)eventfd_read(link->wake_fd, &ignored);
		why = service(v, &link->main, p[1].revents);
		if (!why)
			why = service(v, &link->twin, p[2].revents);
	}
	announce(v, why);
	return NULL;
}

/* Signals belong to the application's threads; only faults of this thread's own reach it. */
static int spawn(struct io_vfu *v)
{
	sigset_t mask, old;
	int rc;

	sigfillset(&mask);
	sigdelset(&mask, SIGBUS);
	sigdelset(&mask, SIGSEGV);
	sigdelset(&mask, SIGFPE);
	sigdelset(&mask, SIGILL);
	pthread_sigmask(SIG_SETMASK, &mask, &old);
	rc = pthread_create(&v->link.thread, NULL, run, v);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc == 0)
		pthread_setname_np(v->link.thread, "bh-vfu");
	return -rc;
}

int io_vfu_link_start(struct io_vfu *v)
{
	struct io_vfu_link *link = &v->link;
	int rc;

	link->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (link->wake_fd < 0)
		return -errno;
	link->stop = false;
	link->why = NULL;
	link->up = true;
	rc = spawn(v);
	if (rc != 0) {
		link->up = false;
		bh__fd_close(&link->wake_fd);
	}
	return rc;
}

void io_vfu_link_stop(struct io_vfu *v)
{
	struct io_vfu_link *link = &v->link;

	if (link->wake_fd >= 0) {
		pthread_mutex_lock(&link->lock);
		link->stop = true;
		wake(link);
		pthread_mutex_unlock(&link->lock);
		pthread_join(link->thread, NULL);
	}
	/* Under the lock: somebody may be looking still, and finds the link down. */
	pthread_mutex_lock(&link->lock);
	bh__fd_close(&link->wake_fd);
	vfu_conn_fini(&link->main);
	if (link->has_twin)
		vfu_conn_fini(&link->twin);
	link->has_twin = false;
	pthread_mutex_unlock(&link->lock);
}

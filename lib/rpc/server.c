/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control plane's socket and its connections.
 *
 * One reactor without pollers serves all of them. A connection is read while it has no replies
 * waiting: a client that does not read its replies is not listened to either, and holds nothing but
 * its place. A text that is too long, nested too deeply or no JSON at all ends its connection after
 * the complaint, since nobody knows where the next one begins. Places are limited; whoever comes
 * when all are taken gets that of the connection that has been silent longest.
 *
 * One visit to a connection reads once and carries out what is complete: clients take turns. One
 * whose text waits for a store is left alone until that has been answered (job.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/metrics.h"
#include "vfu/vfu.h"

#define READ_BYTES 16384u
#define TEXTS_PER_VISIT 64u

/* ---- connections ---- */

static void conn_close(struct rpc_conn *conn)
{
	struct bh_rpc *rpc = conn->rpc;

	TAILQ_REMOVE(&rpc->conns, conn, link);
	rpc->num_conns--;
	if (conn->job)
		conn->job->conn = NULL;
	bh_fd_source_remove(conn->source);
	close(conn->fd);
	free(conn->in);
	free(conn->out);
	free(conn);
}

/* Takes the line. False: the connection has no room for it. */
static bool conn_put(struct rpc_conn *conn, char *line)
{
	size_t len = line ? strlen(line) : 0;
	char *grown;

	if (!line)
		return true;
	grown = conn->out_len + len + 1 > RPC_REPLY_MAX
			? NULL
			: realloc(conn->out, conn->out_len + len + 1);
	if (grown) {
		memcpy(grown + conn->out_len, line, len);
		grown[conn->out_len + len] = '\n';
		conn->out = grown;
		conn->out_len += len + 1;
	}
	free(line);
	return grown;
}

/* 0 when everything has gone, 1 when some is left, or -errno. */
static int conn_flush(struct rpc_conn *conn)
{
	while (conn->out_at < conn->out_len) {
		ssize_t n = send(conn->fd, conn->out + conn->out_at, conn->out_len - conn->out_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 1 : -errno;
		conn->out_at += (size_t)n;
	}
	free(conn->out);
	conn->out = NULL;
	conn->out_at = conn->out_len = 0;
	return 0;
}

/* Texts that are complete, while their replies go. False: the connection is of no more use. */
static bool conn_run(struct rpc_conn *conn)
{
	struct rpc_frame *frame = &conn->frame;
	unsigned int n = 0;
	int rc = 0;

	while (!conn->out && !conn->job && n++ < TEXTS_PER_VISIT &&
	       (rc = rpc_frame_next(frame, conn->in, conn->in_len)) > 0 &&
	       frame->at - frame->begin <= RPC_MESSAGE_MAX) {
		if (!conn_put(conn, rpc_answer(conn->rpc, conn->in + frame->begin,
					       frame->at - frame->begin, &conn->job)) ||
		    conn_flush(conn) < 0)
			return false;
		if (conn->job)
			conn->job->conn = conn;
		frame->begin = frame->at;
	}
	/* A whole text that has not been answered is one that is too long. */
	bool is_long = rc == 0 ? conn->in_len - frame->begin >= RPC_MESSAGE_MAX
			       : frame->begin != frame->at && rc > 0;
	conn->in_len -= frame->begin;
	if (conn->in_len)
		memmove(conn->in, conn->in + frame->begin, conn->in_len);
	frame->at -= frame->begin;
	frame->begin = 0;
	if (rc < 0 || is_long) {
		conn->is_over = true;
		conn->in_len = 0;
		return conn_put(conn, rpc_complaint(RPC_PARSE_ERROR,
						    rc < 0 ? "no JSON object or array, or one that "
							     "is nested too deeply"
							   : "the request is too long")) &&
		       conn_flush(conn) >= 0;
	}
	return true;
}

static bool conn_read(struct rpc_conn *conn)
{
	ssize_t n;

	if (conn->in_size - conn->in_len < READ_BYTES) {
		char *grown = realloc(conn->in, conn->in_len + READ_BYTES);

		if (!grown)
			return false;
		conn->in = grown;
		conn->in_size = conn->in_len + READ_BYTES;
	}
	n = recv(conn->fd, conn->in + conn->in_len, conn->in_size - conn->in_len, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		conn->is_over = true;
	conn->in_len += (size_t)n;
	return true;
}

/*
 * What is waited for now: room for replies, a turn for texts that are there already, or more; while
 * a text waits for its answer, nothing but the end of whoever asked.
 */
static bool conn_wait(struct rpc_conn *conn)
{
	bool has_turn = conn->job || conn->out || (conn->in_len && conn->frame.at < conn->in_len);
	uint32_t events = conn->job ? 0 : has_turn ? EPOLLOUT : EPOLLIN;

	if (conn->is_over && !has_turn)
		return false;
	if (events == conn->events)
		return true;
	conn->events = events;
	return bh_fd_source_modify(conn->source, events) == 0;
}

static void on_conn(void *ctx, uint32_t events)
{
	struct rpc_conn *conn = ctx;
	struct bh_rpc *rpc = conn->rpc;
	bool is_well = conn_flush(conn) >= 0;

	if (conn->job) {
		conn_close(conn);
		return;
	}
	TAILQ_REMOVE(&rpc->conns, conn, link);
	TAILQ_INSERT_TAIL(&rpc->conns, conn, link);
	if (is_well && !conn->out && !conn->is_over && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		is_well = conn_read(conn);
	else if (events & (EPOLLHUP | EPOLLERR))
		is_well = false;
	if (!is_well || !conn_run(conn) || !conn_wait(conn))
		conn_close(conn);
}

void rpc_conn_answered(struct rpc_conn *conn, char *line)
{
	conn->job = NULL;
	if (!conn_put(conn, line) || conn_flush(conn) < 0 || !conn_run(conn) || !conn_wait(conn))
		conn_close(conn);
}

/* ---- coming ---- */

static bool is_allowed(const struct bh_rpc *rpc, int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (rpc->opts.num_allowed_uids == 0)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return false;
	for (unsigned int i = 0; i < rpc->opts.num_allowed_uids; i++) {
		if (rpc->opts.allowed_uids[i] == cred.uid)
			return true;
	}
	bh_log(rpc->opts.log, BH_LOG_WARN, RPC_LOG, "%s: user %u is not allowed", rpc->path,
	       (unsigned int)cred.uid);
	return false;
}

/* One that waits for an answer is not silent, unless all are. */
static struct rpc_conn *most_silent(struct bh_rpc *rpc)
{
	struct rpc_conn *conn;

	TAILQ_FOREACH(conn, &rpc->conns, link)
	{
		if (!conn->job)
			return conn;
	}
	return TAILQ_FIRST(&rpc->conns);
}

static bool conn_open(struct bh_rpc *rpc, int fd)
{
	struct rpc_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return false;
	conn->rpc = rpc;
	conn->fd = fd;
	conn->events = EPOLLIN;
	if (bh_fd_source_add(rpc->reactor, fd, EPOLLIN, on_conn, conn, &conn->source) != 0) {
		free(conn);
		return false;
	}
	if (rpc->num_conns == RPC_CONNS_MAX)
		conn_close(most_silent(rpc));
	TAILQ_INSERT_TAIL(&rpc->conns, conn, link);
	rpc->num_conns++;
	return true;
}

static void on_listen(void *ctx, uint32_t events)
{
	struct bh_rpc *rpc = ctx;
	int fd = accept4(rpc->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0 && (!is_allowed(rpc, fd) || !conn_open(rpc, fd)))
		close(fd);
}

/* ---- life ---- */

void bh_rpc_opts_init(struct bh_rpc_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
	opts->mode = 0600;
}

static void woken(void *ctx)
{
	struct bh_rpc *rpc = ctx;

	/* Before the look: what ends after it sends the message again. */
	(void)__atomic_exchange_n(&rpc->is_woken, false, __ATOMIC_SEQ_CST);
	rpc_jobs_look(rpc);
}

/* The target's control thread. */
static void wake(void *ctx)
{
	struct bh_rpc *rpc = ctx;

	if (!__atomic_exchange_n(&rpc->is_woken, true, __ATOMIC_SEQ_CST))
		bh_reactor_send(rpc->reactor, &rpc->wake_msg);
}

static int reactor_create(struct bh_rpc *rpc)
{
	struct bh_reactor_opts opts;

	bh_reactor_opts_init(&opts);
	opts.name = "bh-rpc";
	opts.cpus = *bh_tgt_control_cpus(rpc->opts.tgt);
	opts.log = rpc->opts.log;
	return bh_reactor_create(&opts, &rpc->reactor);
}

static int rpc_start(struct bh_rpc *rpc)
{
	int rc = reactor_create(rpc);

	bh_clock_init(&rpc->clock);
	/* The first object seeds the library's tables, from a file that may be out of reach later. */
	json_decref(json_object());
	if (rc == 0 && rpc->path)
		rc = vfu_listen(rpc->path, rpc->opts.mode, &rpc->listen_fd);
	if (rc == 0 && rpc->path)
		rc = bh_fd_source_add(rpc->reactor, rpc->listen_fd, EPOLLIN, on_listen, rpc,
				      &rpc->listen_source);
	if (rc == 0)
		bh_tgt_dont_wait(rpc->opts.tgt, wake, rpc);
	return rc ? rc : bh_reactor_start(rpc->reactor);
}

int bh_rpc_create(const struct bh_rpc_opts *opts, struct bh_rpc **out)
{
	struct bh_rpc *rpc;
	int rc;

	*out = NULL;
	if (!opts->tgt)
		return -EINVAL;
	rpc = calloc(1, sizeof(*rpc));
	if (!rpc)
		return -ENOMEM;
	TAILQ_INIT(&rpc->conns);
	TAILQ_INIT(&rpc->jobs);
	rpc->wake_msg = (struct bh_msg){ .fn = woken, .ctx = rpc };
	bh_rpc_opts_init(&rpc->opts);
	memcpy(&rpc->opts, opts, opts->size < sizeof(rpc->opts) ? opts->size : sizeof(rpc->opts));
	rpc->listen_fd = -1;
	rpc->path = opts->path ? strdup(opts->path) : NULL;
	rc = rpc->path || !opts->path ? rpc_start(rpc) : -ENOMEM;
	if (rc) {
		bh_rpc_destroy(rpc);
		return rc;
	}
	*out = rpc;
	return 0;
}

void bh_rpc_destroy(struct bh_rpc *rpc)
{
	struct rpc_conn *conn;

	if (!rpc)
		return;
	if (rpc->reactor)
		bh_reactor_stop(rpc->reactor);
	if (rpc->opts.tgt)
		bh_tgt_dont_wait(rpc->opts.tgt, NULL, NULL);
	TAILQ_FOREACH(conn, &rpc->conns, link)
	{
		conn->is_over = true;
		conn->in_len = 0;
		conn->frame = (struct rpc_frame){ 0 };
	}
	rpc_jobs_end(rpc);
	while (!TAILQ_EMPTY(&rpc->conns))
		conn_close(TAILQ_FIRST(&rpc->conns));
	metrics_destroy(rpc->metrics);
	bh_fd_source_remove(rpc->listen_source);
	if (rpc->listen_fd >= 0) {
		close(rpc->listen_fd);
		unlink(rpc->path);
	}
	bh_reactor_destroy(rpc->reactor);
	free(rpc->path);
	free(rpc);
}

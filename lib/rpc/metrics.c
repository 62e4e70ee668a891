/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Metrics for Prometheus: as much HTTP as it takes to answer GET /metrics on a UNIX socket.
 *
 * One request per connection, and what follows it is not read. Requests are bounded in size, and
 * connections in number and in time, whatever they do: a client that sends slowly, or does not read,
 * is closed when its time is up; whoever comes when all places are taken gets that of the oldest.
 * The text is made on the RPC thread, and does for everybody who asks within a fifth of a second:
 * polling threads are never asked anything, only what they counted is read, so often at most.
 */
#include "rpc/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfu/vfu.h"

static void conn_close(struct metrics_conn *conn)
{
	TAILQ_REMOVE(&conn->metrics->conns, conn, link);
	conn->metrics->num_conns--;
	bh_timer_destroy(conn->timer);
	bh_fd_source_remove(conn->source);
	close(conn->fd);
	free(conn->out);
	free(conn);
}

/* ---- answers ---- */

static bool refresh(struct metrics *metrics)
{
	uint64_t now = bh_now_ns();
	json_t *stats;
	char *text = NULL;
	size_t len = 0;
	bool is_made;

	if (metrics->text && now - metrics->text_ns < METRICS_FRESH_NS)
		return true;
	stats = rpc_stats_new(metrics->rpc);
	is_made = stats && metrics_text(stats, &text, &len);
	json_decref(stats);
	if (!is_made) {
		free(text);
		return false;
	}
	free(metrics->text);
	metrics->text = text;
	metrics->text_len = len;
	metrics->text_ns = now;
	return true;
}

/* False: out of memory. with_body: false for HEAD, which says how long it would be. */
static bool answer(struct metrics_conn *conn, const char *status, const char *type,
		   const char *body, size_t len, bool with_body)
{
	char head[256];
	int n = snprintf(head, sizeof(head),
			 "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
			 "Allow: GET, HEAD\r\nConnection: close\r\n\r\n",
			 status, type, len);

	if (n < 0 || (size_t)n >= sizeof(head))
		return false;
	conn->out = malloc((size_t)n + len);
	if (!conn->out)
		return false;
	memcpy(conn->out, head, (size_t)n);
	if (with_body)
		memcpy(conn->out + n, body, len);
	conn->out_len = (size_t)n + (with_body ? len : 0);
	return true;
}

static bool refuse(struct metrics_conn *conn, const char *status)
{
	char body[64];
	int n = snprintf(body, sizeof(body), "%s\n", status);

	return answer(conn, status, "text/plain; charset=utf-8", body, (size_t)n, true);
}

/* The request line: METHOD SP TARGET SP HTTP/1.x (RFC 9112 3). Its end is a zero. */
static bool answer_line(struct metrics_conn *conn, char *line)
{
	char *target = strchr(line, ' '), *version = target ? strchr(target + 1, ' ') : NULL;
	bool is_get, is_head;

	if (!version || strncmp(version + 1, "HTTP/1.", 7) != 0 || target == line)
		return refuse(conn, "400 Bad Request");
	*target++ = '\0';
	*version = '\0';
	target[strcspn(target, "?")] = '\0';
	is_get = strcmp(line, "GET") == 0;
	is_head = strcmp(line, "HEAD") == 0;
	if (!is_get && !is_head)
		return refuse(conn, "405 Method Not Allowed");
	if (strcmp(target, "/metrics") != 0)
		return refuse(conn, "404 Not Found");
	if (!refresh(conn->metrics))
		return refuse(conn, "503 Service Unavailable");
	return answer(conn, "200 OK", "text/plain; version=0.0.4; charset=utf-8",
		      conn->metrics->text, conn->metrics->text_len, is_get);
}

/* ---- connections ---- */

/* False: the connection is of no more use. */
static bool conn_send(struct metrics_conn *conn)
{
	ssize_t n = send(conn->fd, conn->out + conn->out_at, conn->out_len - conn->out_at,
			 MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	conn->out_at += (size_t)n;
	return conn->out_at < conn->out_len;
}

/* Is the request complete? Headers are passed over: none changes the answer. */
static bool is_complete(const struct metrics_conn *conn)
{
	return memmem(conn->in, conn->in_len, "\r\n\r\n", 4) ||
	       memmem(conn->in, conn->in_len, "\n\n", 2);
}

static bool conn_read(struct metrics_conn *conn)
{
	ssize_t n = recv(conn->fd, conn->in + conn->in_len, sizeof(conn->in) - 1 - conn->in_len,
			 MSG_DONTWAIT);

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	conn->in_len += (size_t)n;
	if (!is_complete(conn)) {
		if (conn->in_len < sizeof(conn->in) - 1)
			return true;
		if (!refuse(conn, "431 Request Header Fields Too Large"))
			return false;
	} else {
		conn->in[conn->in_len] = '\0';
		conn->in[strcspn(conn->in, "\r\n")] = '\0';
		if (!answer_line(conn, conn->in))
			return false;
	}
	return bh_fd_source_modify(conn->source, EPOLLOUT) == 0;
}

static void on_conn(void *ctx, uint32_t events)
{
	struct metrics_conn *conn = ctx;
	bool is_well = conn->out ? conn_send(conn) : conn_read(conn);

	if (!is_well || events & EPOLLERR)
		conn_close(conn);
}

static void on_late(void *ctx)
{
	conn_close(ctx);
}

static bool conn_open(struct metrics *metrics, int fd)
{
	struct metrics_conn *conn = calloc(1, sizeof(*conn));
	struct bh_reactor *reactor = metrics->rpc->reactor;

	if (!conn)
		return false;
	conn->metrics = metrics;
	conn->fd = fd;
	if (bh_timer_create(reactor, on_late, conn, &conn->timer) != 0 ||
	    bh_fd_source_add(reactor, fd, EPOLLIN, on_conn, conn, &conn->source) != 0) {
		bh_timer_destroy(conn->timer);
		free(conn);
		return false;
	}
	bh_timer_set(conn->timer, METRICS_NS);
	if (metrics->num_conns == METRICS_CONNS_MAX)
		conn_close(TAILQ_FIRST(&metrics->conns));
	TAILQ_INSERT_TAIL(&metrics->conns, conn, link);
	metrics->num_conns++;
	return true;
}

static void on_listen(void *ctx, uint32_t events)
{
	struct metrics *metrics = ctx;
	int fd = accept4(metrics->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0 && !conn_open(metrics, fd))
		close(fd);
}

/* ---- life ---- */

void metrics_destroy(struct metrics *metrics)
{
	if (!metrics)
		return;
	while (!TAILQ_EMPTY(&metrics->conns))
		conn_close(TAILQ_FIRST(&metrics->conns));
	bh_fd_source_remove(metrics->listen_source);
	if (metrics->listen_fd >= 0) {
		close(metrics->listen_fd);
		unlink(metrics->path);
	}
	free(metrics->text);
	free(metrics->path);
	free(metrics);
}

struct starting {
	struct metrics *metrics;
	int rc;
};

static void start(void *ctx)
{
	struct starting *s = ctx;
	struct metrics *metrics = s->metrics;

	s->rc = bh_fd_source_add(metrics->rpc->reactor, metrics->listen_fd, EPOLLIN, on_listen,
				 metrics, &metrics->listen_source);
}

int bh_rpc_metrics(struct bh_rpc *rpc, const char *path, unsigned int mode)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));
	struct starting s = { .metrics = metrics };

	if (!metrics)
		return -ENOMEM;
	TAILQ_INIT(&metrics->conns);
	metrics->rpc = rpc;
	metrics->listen_fd = -1;
	metrics->path = strdup(path);
	s.rc = metrics->path ? vfu_listen(path, mode, &metrics->listen_fd) : -ENOMEM;
	if (s.rc == 0)
		bh_reactor_call(rpc->reactor, start, &s);
	if (s.rc == 0)
		rpc->metrics = metrics;
	else
		metrics_destroy(metrics);
	return s.rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* One connection: libnbd's handle, and what is on its way over it. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "nbd.h"

static struct nbd_handle *handle_new(void)
{
	struct nbd_handle *h = nbd_create();

	if (!h)
		return NULL;
	/* The URI is the administrator's: keys it names are files of this machine. */
	nbd_set_uri_allow_local_file(h, true);
	return h;
}

/* A server on this machine may be so fast that this comes of the call that began it. */
static void look_whether_open(struct nbd_conn *conn)
{
	if (conn->state == NBD_CONN_OPENING && nbd_aio_is_ready(conn->h))
		conn->state = NBD_CONN_OPEN;
}

bool nbd_conn_begin(struct nbd_store *store, struct nbd_conn *conn)
{
	conn->h = handle_new();
	if (!conn->h)
		return false;
	conn->state = NBD_CONN_OPENING;
	conn->until_ns = nbd_now() + NBD_CONNECT_NS;
	if (nbd_aio_connect_uri(conn->h, store->uri)) {
		nbd_conn_close(conn);
		return false;
	}
	look_whether_open(conn);
	return true;
}

bool nbd_conn_is_broken(const struct nbd_conn *conn)
{
	return nbd_aio_is_dead(conn->h) || nbd_aio_is_closed(conn->h);
}

short nbd_conn_events(const struct nbd_conn *conn)
{
	unsigned int direction = nbd_aio_get_direction(conn->h);
	short events = 0;

	if (direction & LIBNBD_AIO_DIRECTION_READ)
		events |= POLLIN;
	if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		events |= POLLOUT;
	return events;
}

/* One of the two: a notification may change the direction. */
void nbd_conn_event(struct nbd_conn *conn, short revents)
{
	unsigned int direction = nbd_aio_get_direction(conn->h);

	/* An end of the connection is read, where there is nothing more to be written. */
	if (revents & (POLLIN | POLLHUP | POLLERR) && direction & LIBNBD_AIO_DIRECTION_READ)
		nbd_aio_notify_read(conn->h);
	else if (revents & (POLLOUT | POLLHUP | POLLERR) && direction & LIBNBD_AIO_DIRECTION_WRITE)
		nbd_aio_notify_write(conn->h);
	look_whether_open(conn);
}

/* Requests that are still out stay in the list of the connection: nobody touches them any more. */
void nbd_conn_close(struct nbd_conn *conn)
{
	struct nbd_req *req;

	if (conn->state == NBD_CONN_CLOSED)
		return;
	nbd_close(conn->h);
	conn->h = NULL;
	conn->state = NBD_CONN_CLOSED;
	while ((req = TAILQ_FIRST(&conn->answered))) {
		TAILQ_REMOVE(&conn->answered, req, link);
		TAILQ_INSERT_TAIL(&conn->in_flight, req, link);
		req->is_answered = false;
	}
}

/* ---- the export ---- */

static int64_t limit(struct nbd_handle *h, int which)
{
	int64_t value = nbd_get_block_size(h, which);

	return value > 0 ? value : 0;
}

int nbd_conn_export(struct nbd_conn *conn, struct nbd_export *out, char why[256])
{
	struct nbd_handle *h = conn->h;
	int64_t bytes = nbd_get_size(h), min, max;

	if (bytes < 0) {
		snprintf(why, 256, "%.250s", nbd_get_error());
		return -EIO;
	}
	min = limit(h, LIBNBD_SIZE_MINIMUM);
	max = limit(h, LIBNBD_SIZE_MAXIMUM);
	memset(out, 0, sizeof(*out));
	out->bytes = (uint64_t)bytes;
	out->min_block = min > 0 && min <= 65536 ? (uint32_t)min : 1;
	out->max_chunk = max > 0 && (uint64_t)max < NBD_MAX_CHUNK ? (uint64_t)max : NBD_MAX_CHUNK;
	out->max_chunk -= out->max_chunk % 4096;
	out->is_readonly = nbd_is_read_only(h) == 1;
	out->can_flush = nbd_can_flush(h) == 1;
	out->can_fua = nbd_can_fua(h) == 1;
	out->can_zero = nbd_can_zero(h) == 1;
	out->can_multi = nbd_can_multi_conn(h) == 1;
	if (out->max_chunk > 0)
		return 0;
	snprintf(why, 256, "the server takes %lld bytes at a time, less than a block",
		 (long long)max);
	return -EINVAL;
}

/* ---- requests ---- */

/* Inside of libnbd, on our thread; it may not be called from here. */
static int answered(void *arg, int *error)
{
	struct nbd_req *req = arg;
	struct nbd_conn *conn = req->conn;

	req->error = *error;
	req->is_answered = true;
	TAILQ_REMOVE(&conn->in_flight, req, link);
	TAILQ_INSERT_TAIL(&conn->answered, req, link);
	return 1; /* and retire it */
}

static uint32_t durable(const struct nbd_req *req)
{
	return req->flags & BH_BLK_FLAG_FUA && req->store->export.can_fua ? LIBNBD_CMD_FLAG_FUA : 0;
}

static int64_t send_zeros(struct nbd_conn *conn, struct nbd_req *req, uint64_t at,
			  nbd_completion_callback done)
{
	uint32_t flags = durable(req);

	/* Zeros that may be a hole are what deallocated blocks read as. */
	if (req->op == BH_BLK_WRITE_ZEROES && !(req->flags & BH_BLK_FLAG_DEALLOCATE))
		flags |= LIBNBD_CMD_FLAG_NO_HOLE;
	req->chunk =
		req->bytes - req->done < NBD_ZERO_CHUNK ? req->bytes - req->done : NBD_ZERO_CHUNK;
	return nbd_aio_zero(conn->h, req->chunk, at, done, flags);
}

static int64_t send_data(struct nbd_conn *conn, struct nbd_req *req, uint64_t at,
			 nbd_completion_callback done)
{
	static const uint8_t zeros[1u << 20];
	bool is_zeros = req->op == BH_BLK_WRITE_ZEROES;
	uint32_t flags = durable(req);
	uint64_t most = req->store->export.max_chunk;
	uint8_t *data = req->buf   ? req->buf + req->done
			: is_zeros ? NULL
				   : (uint8_t *)req->iov[0].iov_base + req->done;

	if (is_zeros && most > sizeof(zeros))
		most = sizeof(zeros);
	req->chunk = req->bytes - req->done < most ? req->bytes - req->done : most;
	if (req->op == BH_BLK_READ)
		return nbd_aio_pread(conn->h, data, req->chunk, at, done, 0);
	return nbd_aio_pwrite(conn->h, is_zeros ? zeros : data, req->chunk, at, done, flags);
}

static int64_t send_step(struct nbd_conn *conn, struct nbd_req *req, nbd_completion_callback done)
{
	uint64_t at = req->offset + req->done;

	if (req->op == BH_BLK_FLUSH || req->step == NBD_STEP_SYNC) {
		req->chunk = 0;
		req->covers = req->store->journal.last;
		return nbd_aio_flush(conn->h, done, 0);
	}
	if (req->op == BH_BLK_DEALLOCATE ||
	    (req->op == BH_BLK_WRITE_ZEROES && req->store->export.can_zero))
		return send_zeros(conn, req, at, done);
	return send_data(conn, req, at, done);
}

bool nbd_conn_send(struct nbd_conn *conn, struct nbd_req *req)
{
	nbd_completion_callback done = { .callback = answered, .user_data = req };

	req->conn = conn;
	req->error = 0;
	req->sent_ns = nbd_now();
	/* In the list first: an answer may come before the call is back. */
	TAILQ_INSERT_TAIL(&conn->in_flight, req, link);
	conn->count++;
	if (send_step(conn, req, done) >= 0 || req->is_answered)
		return true;
	req->error = nbd_get_errno();
	TAILQ_REMOVE(&conn->in_flight, req, link);
	conn->count--;
	return false;
}

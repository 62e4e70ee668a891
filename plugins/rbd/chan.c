/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channels of the RBD store. A request is handed to librbd, which has threads of its own and
 * carries it out there; its callback completes the request. Nothing here waits.
 *
 * Buffers are given to librbd as they are. They are never a client's own (no CANCEL_SYNC), and
 * stay until the completion.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rbd.h"

struct rbd_req {
	struct rbd_req *next;
	struct rbd_chan *chan;
	void *cookie;
	bool is_flushing; /* behind a write that must be durable */
	bool is_durable;
};

struct rbd_chan {
	struct bh_blk_chan base;
	pthread_mutex_t lock;
	struct rbd_req *free; /* under lock */
	struct rbd_req req[RBD_REQUESTS];
};

static __thread unsigned int callbacks;

bool rbd_is_callback(void)
{
	return callbacks > 0;
}

static int chan_init(struct bh_blk *blk, struct bh_blk_chan *base)
{
	struct rbd_chan *chan = (struct rbd_chan *)base;

	(void)blk;
	pthread_mutex_init(&chan->lock, NULL);
	base->limit = RBD_REQUESTS;
	for (unsigned int i = 0; i < RBD_REQUESTS; i++) {
		chan->req[i].chan = chan;
		chan->req[i].next = chan->free;
		chan->free = &chan->req[i];
	}
	return 0;
}

static void chan_fini(struct bh_blk_chan *base)
{
	pthread_mutex_destroy(&((struct rbd_chan *)base)->lock);
}

static struct rbd_req *req_get(struct rbd_chan *chan)
{
	struct rbd_req *req;

	pthread_mutex_lock(&chan->lock);
	req = chan->free;
	if (req)
		chan->free = req->next;
	pthread_mutex_unlock(&chan->lock);
	return req;
}

static void req_put(struct rbd_req *req)
{
	pthread_mutex_lock(&req->chan->lock);
	req->next = req->chan->free;
	req->chan->free = req;
	pthread_mutex_unlock(&req->chan->lock);
}

/* ---- completions ---- */

static int status_of(long result)
{
	switch (result) {
	case 0:
		return 0;
	case -ENOSPC:
	case -EDQUOT:
		return -ENOSPC;
	case -EROFS:
	case -EPERM:
	case -EACCES:
		return -EROFS;
	case -ETIMEDOUT: /* osd_op_timeout of the cluster's configuration */
	case -ESHUTDOWN: /* shut out, since another client has taken the image over */
		return -ENOTCONN;
	default:
		return result > 0 ? 0 : -EIO;
	}
}

static void answered(rbd_completion_t completion, void *arg);

/* 0, and it is under way; or -errno. */
static int flush(struct rbd_store *store, struct rbd_req *req)
{
	rbd_completion_t completion;
	int rc = rbd_aio_create_completion(req, answered, &completion);

	if (rc)
		return rc;
	rc = rbd_aio_flush(store->image, completion);
	if (rc)
		rbd_aio_release(completion);
	return rc;
}

static void answered(rbd_completion_t completion, void *arg)
{
	struct rbd_req *req = arg;
	struct rbd_chan *chan = req->chan;
	int status = status_of(rbd_aio_get_return_value(completion));
	void *cookie = req->cookie;

	rbd_aio_release(completion);
	if (!status && req->is_durable && !req->is_flushing) {
		req->is_flushing = true;
		status = status_of(flush((struct rbd_store *)chan->base.blk, req));
		if (!status)
			return;
	}
	req_put(req);
	callbacks++;
	rbd_host->chan_complete(&chan->base, cookie, status);
	callbacks--;
}

/* ---- submission ---- */

static int issue(struct rbd_store *store, const struct bh_blk_io *io, rbd_completion_t completion)
{
	uint64_t block = store->blk.info.block_size, at = io->lba * block;
	uint64_t bytes = io->blocks * block;
	/* Otherwise zeros may be a hole, which is what deallocated blocks read as. */
	bool is_thick = io->op == BH_BLK_WRITE_ZEROES && !(io->flags & BH_BLK_FLAG_DEALLOCATE);

	switch (io->op) {
	case BH_BLK_READ:
		return rbd_aio_readv(store->image, io->iov, io->iovcnt, at, completion);
	case BH_BLK_WRITE:
		return rbd_aio_writev(store->image, io->iov, io->iovcnt, at, completion);
	case BH_BLK_FLUSH:
		return rbd_aio_flush(store->image, completion);
	default:
		return rbd_aio_write_zeroes(store->image, at, bytes, completion,
					    is_thick ? RBD_WRITE_ZEROES_FLAG_THICK_PROVISION : 0,
					    0);
	}
}

static int submit(struct bh_blk_chan *base, const struct bh_blk_io *io)
{
	struct rbd_store *store = (struct rbd_store *)base->blk;
	rbd_completion_t completion;
	struct rbd_req *req;
	int rc;

	if (io->op >= BH_BLK_COMPARE)
		return -EOPNOTSUPP;
	if (store->is_readonly && io->op != BH_BLK_READ && io->op != BH_BLK_FLUSH)
		return -EROFS;
	rc = rbd_host->blk_check(&store->blk, io);
	if (rc || (io->op != BH_BLK_FLUSH && !io->blocks))
		return rc;
	req = req_get((struct rbd_chan *)base);
	if (!req)
		return -EAGAIN;
	req->cookie = io->cookie;
	req->is_durable = io->flags & BH_BLK_FLAG_FUA && io->op != BH_BLK_READ;
	req->is_flushing = false;
	rc = rbd_aio_create_completion(req, answered, &completion);
	if (!rc) {
		rc = issue(store, io, completion);
		if (!rc)
			return BH_BLK_QUEUED;
		rbd_aio_release(completion);
	}
	req_put(req);
	return status_of(rc);
}

const struct bh_blk_ops rbd_ops = {
	.type = "rbd",
	.destroy = rbd_destroy,
	.chan_size = sizeof(struct rbd_chan),
	.chan_init = chan_init,
	.chan_fini = chan_fini,
	.submit = submit,
	.grow = rbd_grow,
};

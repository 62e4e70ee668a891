/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The owner's side of a channel: a request is filled in and handed to the store's thread, which is
 * woken if it sleeps. No system call otherwise, and never one that waits for the server.
 *
 * A write is copied when it is submitted where a copy of it will be needed: for the journal, or
 * because the server wants it in one piece. Buffers are never a client's own (no CANCEL_SYNC), so
 * that a request may wait for a server to come back as long as it likes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "nbd.h"

void nbd_wake(struct nbd_store *store)
{
	const uint64_t one = 1;

	if (!store->is_asleep)
		return;
	store->is_asleep = false;
	while (write(store->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		continue;
}

static int chan_init(struct bh_blk *blk, struct bh_blk_chan *base)
{
	struct nbd_chan *chan = (struct nbd_chan *)base;

	TAILQ_INIT(&chan->free);
	TAILQ_INIT(&chan->returned);
	base->limit = NBD_REQUESTS;
	for (unsigned int i = 0; i < NBD_REQUESTS; i++) {
		chan->req[i].store = (struct nbd_store *)blk;
		chan->req[i].chan = chan;
		TAILQ_INSERT_TAIL(&chan->free, &chan->req[i], link);
	}
	return 0;
}

static struct nbd_req *req_get(struct nbd_store *store, struct nbd_chan *chan)
{
	struct nbd_req *req;

	if (TAILQ_EMPTY(&chan->free)) {
		pthread_mutex_lock(&store->lock);
		TAILQ_CONCAT(&chan->free, &chan->returned, link);
		pthread_mutex_unlock(&store->lock);
	}
	req = TAILQ_FIRST(&chan->free);
	if (req)
		TAILQ_REMOVE(&chan->free, req, link);
	return req;
}

static void gather(uint8_t *to, const struct bh_blk_io *io, uint64_t bytes)
{
	for (unsigned int i = 0; i < io->iovcnt && bytes; i++) {
		uint64_t n = io->iov[i].iov_len < bytes ? io->iov[i].iov_len : bytes;

		memcpy(to, io->iov[i].iov_base, n);
		to += n;
		bytes -= n;
	}
}

/* Memory that the request will need. False: there is none. */
static bool req_room(struct nbd_req *req, const struct bh_blk_io *io)
{
	bool is_data = io->op == BH_BLK_READ || io->op == BH_BLK_WRITE;
	bool is_kept = nbd_journal_is_needed(req->store, req);

	if (is_kept && !(req->journal = malloc(sizeof(*req->journal))))
		return false;
	if (!is_data || (io->iovcnt == 1 && !(is_kept && io->op == BH_BLK_WRITE)))
		return true;
	req->buf = malloc(req->bytes);
	if (!req->buf)
		return false;
	if (io->op == BH_BLK_WRITE)
		gather(req->buf, io, req->bytes);
	return true;
}

static bool req_fill(struct nbd_req *req, const struct bh_blk_io *io)
{
	uint32_t block = req->store->blk.info.block_size;

	req->kind = NBD_KIND_HOST;
	req->cookie = io->cookie;
	req->op = io->op;
	req->flags = io->flags;
	req->iov = io->iov;
	req->iovcnt = io->iovcnt;
	req->offset = io->op == BH_BLK_FLUSH ? 0 : io->lba * block;
	req->bytes = io->op == BH_BLK_FLUSH ? 0 : (uint64_t)io->blocks * block;
	req->is_canceled = false;
	req->buf = NULL;
	req->journal = NULL;
	nbd_req_restart(req);
	/* Without a cache everything is durable, and the flag is not known to such a server. */
	if (!req->store->export.can_flush)
		req->flags &= (uint8_t)~BH_BLK_FLAG_FUA;
	return req_room(req, io);
}

static int check(const struct nbd_store *store, const struct bh_blk_io *io)
{
	const struct nbd_export *export = &store->export;

	if (io->op >= BH_BLK_COMPARE || (io->op == BH_BLK_DEALLOCATE && !export->can_zero))
		return -EOPNOTSUPP;
	if (export->is_readonly && io->op != BH_BLK_READ && io->op != BH_BLK_FLUSH)
		return -EROFS;
	return nbd_host->blk_check(&store->blk, io);
}

static int submit(struct bh_blk_chan *base, const struct bh_blk_io *io)
{
	struct nbd_store *store = (struct nbd_store *)base->blk;
	struct nbd_chan *chan = (struct nbd_chan *)base;
	struct nbd_req *req;
	int rc = check(store, io);

	if (rc)
		return rc;
	if (io->op == BH_BLK_FLUSH ? !store->export.can_flush : !io->blocks)
		return 0;
	req = req_get(store, chan);
	if (!req)
		return -EAGAIN;
	if (!req_fill(req, io)) {
		free(req->journal);
		TAILQ_INSERT_TAIL(&chan->free, req, link);
		return -EAGAIN;
	}
	req->began_ns = nbd_now();
	pthread_mutex_lock(&store->lock);
	req->is_queued = true;
	TAILQ_INSERT_TAIL(&store->submitted, req, link);
	nbd_wake(store);
	pthread_mutex_unlock(&store->lock);
	return BH_BLK_QUEUED;
}

/* Only hurries: what the server does not have need not wait for it. */
static void cancel(struct bh_blk_chan *base, void *cookie)
{
	struct nbd_store *store = (struct nbd_store *)base->blk;
	struct nbd_chan *chan = (struct nbd_chan *)base;

	pthread_mutex_lock(&store->lock);
	for (unsigned int i = 0; i < NBD_REQUESTS; i++) {
		struct nbd_req *req = &chan->req[i];

		if (!req->is_queued || req->cookie != cookie)
			continue;
		__atomic_store_n(&req->is_canceled, true, __ATOMIC_RELAXED);
		store->has_canceled = true;
		nbd_wake(store);
		break;
	}
	pthread_mutex_unlock(&store->lock);
}

/*
 * An export has the size that it had when a connection was made: all are made anew, and then it has
 * grown or it has not.
 */
static int grow(struct bh_blk *blk, uint64_t blocks)
{
	struct nbd_store *store = (struct nbd_store *)blk;
	struct timespec until;
	uint64_t mine, offered;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(2 * NBD_CONNECT_NS / 1000000000u);
	pthread_mutex_lock(&store->lock);
	mine = ++store->renew;
	nbd_wake(store);
	while (!rc && store->renewed < mine)
		rc = pthread_cond_timedwait(&store->changed, &store->lock, &until);
	offered = store->offered;
	pthread_mutex_unlock(&store->lock);
	if (rc)
		return -ENOTCONN;
	return blocks <= offered / blk->info.block_size ? 0 : -ENOSPC;
}

static void destroy(struct bh_blk *blk)
{
	struct nbd_store *store = (struct nbd_store *)blk;

	if (pthread_equal(pthread_self(), store->thread)) {
		/* The last request of a closed channel: the loop looks at this when it is back. */
		pthread_detach(store->thread);
		store->is_dead = true;
		return;
	}
	pthread_mutex_lock(&store->lock);
	store->is_stopping = true;
	nbd_wake(store);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->thread, NULL);
	nbd_free(store);
}

const struct bh_blk_ops nbd_ops = {
	.type = "nbd",
	.destroy = destroy,
	.chan_size = sizeof(struct nbd_chan),
	.chan_init = chan_init,
	.submit = submit,
	.cancel = cancel,
	.grow = grow,
};

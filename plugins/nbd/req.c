/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests, from the answer to a step to their end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nbd.h"

int nbd_status(int error)
{
	switch (error) {
	case ENOSPC:
	case EFBIG:
		return -ENOSPC;
	case EPERM:
	case EROFS:
	case EACCES:
		return -EROFS;
	case ENOTSUP:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}

void nbd_req_restart(struct nbd_req *req)
{
	/* All of it: parts that were acknowledged are in no journal yet. */
	req->done = 0;
	req->step = NBD_STEP_DATA;
	req->is_answered = false;
}

static void scatter(struct nbd_req *req)
{
	const uint8_t *from = req->buf;
	uint64_t left = req->bytes;

	for (unsigned int i = 0; i < req->iovcnt && left; i++) {
		uint64_t n = req->iov[i].iov_len < left ? req->iov[i].iov_len : left;

		memcpy(req->iov[i].iov_base, from, n);
		from += n;
		left -= n;
	}
}

/* All data are where they belong. True: that was it. */
static bool finish(struct nbd_req *req)
{
	struct nbd_store *store = req->store;

	if (req->op == BH_BLK_READ) {
		if (req->buf)
			scatter(req);
		return true;
	}
	if (req->step == NBD_STEP_SYNC || req->op == BH_BLK_FLUSH) {
		nbd_journal_trim(&store->journal, req->covers);
		return true;
	}
	if (req->flags & BH_BLK_FLAG_FUA && !store->export.can_fua && store->export.can_flush) {
		req->step = NBD_STEP_SYNC;
		return false;
	}
	if (nbd_journal_is_needed(store, req))
		nbd_journal_add(&store->journal, req);
	return true;
}

bool nbd_req_answered(struct nbd_req *req, int *status)
{
	struct nbd_store *store = req->store;

	req->is_answered = false;
	*status = 0;
	if (req->error) {
		*status = nbd_status(req->error);
		return true;
	}
	req->done += req->chunk;
	if (req->op != BH_BLK_FLUSH && req->step == NBD_STEP_DATA && req->done < req->bytes)
		return false;
	if (!finish(req))
		return false;
	/* What was lost was lost to everyone: said once, as the page cache does. */
	if (req->op == BH_BLK_FLUSH && req->kind == NBD_KIND_HOST && store->has_lost) {
		store->has_lost = false;
		*status = -EIO;
	}
	return true;
}

void nbd_req_end(struct nbd_req *req, int status)
{
	struct nbd_store *store = req->store;
	struct nbd_chan *chan = req->chan;
	void *cookie = req->cookie;

	free(req->buf);
	free(req->journal);
	req->buf = NULL;
	req->journal = NULL;
	pthread_mutex_lock(&store->lock);
	req->is_queued = false;
	TAILQ_INSERT_TAIL(&chan->returned, req, link);
	pthread_mutex_unlock(&store->lock);
	nbd_host->chan_complete(&chan->base, cookie, status);
}

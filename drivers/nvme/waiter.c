/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/O commands that wait, for tools and for setting up.
 *
 * They poll the queue themselves, which may complete what others have out, so the queue has to be
 * idle. Data goes through a buffer from the device's pools. A command that is not answered in time
 * is abandoned, not forgotten: its callback, which runs exactly once, frees the buffer.
 */
#include <errno.h>
#include <stdlib.h>

#include "nvme/queue_io.h"
#include "nvme/waiter.h"

void bh__waiter_free(struct bh__waiter *w)
{
	if (w->buf)
		bh_pool_free(w->pool, w->buf);
	free(w);
}

void bh__waiter_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct bh__waiter *w = arg;

	if (w->abandoned) {
		bh__waiter_free(w);
		return;
	}
	w->status = bh_nvme_cpl_status(cpl);
	w->done = true;
}

int bh__waiter_new(struct bh_nvme_queue *q, size_t bytes, struct bh__waiter **out)
{
	struct bh__waiter *w;

	if (!q->dev)
		return -EOPNOTSUPP;
	if (bh__queue_busy(q))
		return -EBUSY;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	if (bytes) {
		w->buf = bh__dma_zalloc(q->owner, bytes, q->page_size, &w->pool);
		if (!w->buf) {
			free(w);
			return -ENOMEM;
		}
	}
	*out = w;
	return 0;
}

int bh__waiter_wait(struct bh_nvme_queue *q, struct bh__waiter *w, int rc)
{
	const struct bh_nvme *nvme = q->owner;
	uint64_t end = bh_now_ns() + nvme->opts.admin_timeout_ns;

	if (rc) {
		bh__waiter_free(w);
		return rc;
	}
	bh_nvme_queue_flush(q);
	while (!w->done) {
		rc = bh_nvme_queue_poll(q, 0);
		if (!w->done && (rc < 0 || bh_now_ns() > end)) {
			w->abandoned = true;
			return rc < 0 ? rc : -ETIMEDOUT;
		}
		bh_relax();
	}
	return w->status;
}

int bh__waiter_end(struct bh_nvme_queue *q, struct bh__waiter *w, int rc)
{
	rc = bh__waiter_wait(q, w, rc);
	if (rc >= 0)
		bh__waiter_free(w);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zone commands that wait, for tools and for setting up.
 *
 * They poll the queue themselves, which may complete what others have out, so the queue has to be
 * idle. Data goes through a buffer from the device's pools. A command that is not answered in time
 * is abandoned, not forgotten: its callback, which runs exactly once, frees the buffer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/nvme_zns.h>

#include "nvme/nvme.h"
#include "nvme/queue_io.h"

#define PIECE 65536u /* bytes of a report fetched at a time */

struct waiter {
	bool done, abandoned;
	uint16_t status;
	struct bh_pool *pool;
	uint8_t *buf;
};

static void waiter_free(struct waiter *w)
{
	if (w->buf)
		bh_pool_free(w->pool, w->buf);
	free(w);
}

static void waiter_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct waiter *w = arg;

	if (w->abandoned) {
		waiter_free(w);
		return;
	}
	w->status = bh_nvme_cpl_status(cpl);
	w->done = true;
}

static int waiter_new(struct bh_nvme_queue *q, size_t bytes, struct waiter **out)
{
	struct waiter *w;

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

/* rc is what submitting said. Afterwards w is not to be used unless it is >= 0: freed by caller. */
static int waiter_wait(struct bh_nvme_queue *q, struct waiter *w, int rc)
{
	const struct bh_nvme *nvme = q->owner;
	uint64_t end = bh_now_ns() + nvme->opts.admin_timeout_ns;

	if (rc) {
		waiter_free(w);
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

static int waiter_end(struct bh_nvme_queue *q, struct waiter *w, int rc)
{
	rc = waiter_wait(q, w, rc);
	if (rc >= 0)
		waiter_free(w);
	return rc;
}

int bh_nvme_zone_manage_sync(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint8_t action,
			     uint64_t zslba, bool all)
{
	struct waiter *w;
	int rc = waiter_new(q, 0, &w);

	if (rc)
		return rc;
	return waiter_end(q, w, bh_nvme_zone_manage(q, ns, action, zslba, all, waiter_done, w));
}

int bh_nvme_zone_set_ext_sync(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t zslba,
			      const void *buf, size_t bytes)
{
	struct waiter *w;
	int rc;

	if (!bytes || bytes != __atomic_load_n(&ns->ext_bytes, __ATOMIC_RELAXED))
		return -EINVAL;
	rc = waiter_new(q, bytes, &w);
	if (rc)
		return rc;
	memcpy(w->buf, buf, bytes);
	return waiter_end(q, w, bh_nvme_zone_set_ext(q, ns, zslba, w->buf, waiter_done, w));
}

/* One piece of a report: *count zones in out, *matching from the header. */
static int fetch(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t lba, unsigned int filter,
		 uint32_t flags, struct bh_nvme_zone *out, unsigned int max, unsigned int *count,
		 uint64_t *matching)
{
	size_t bytes =
		sizeof(struct bh_nvme_zone_report) + (size_t)max * sizeof(struct bh_nvme_zone_desc);
	size_t most = q->max_transfer < PIECE ? q->max_transfer : PIECE;
	struct waiter *w;
	int rc, n;

	bytes = bytes < most ? bytes : most;
	rc = waiter_new(q, bytes, &w);
	if (rc)
		return rc;
	rc = waiter_wait(
		q, w,
		bh_nvme_zone_report(q, ns, lba, filter, flags, w->buf, bytes, waiter_done, w));
	if (rc < 0)
		return rc;
	if (!rc) {
		n = bh_nvme_zone_report_read(ns, w->buf, bytes, flags, out, max, matching);
		rc = n < 0 ? n : 0;
		*count = n < 0 ? 0 : (unsigned int)n;
	}
	waiter_free(w);
	return rc;
}

int bh_nvme_zones_sync(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t lba,
		       unsigned int filter, struct bh_nvme_zone *out, unsigned int max,
		       unsigned int *count)
{
	uint64_t matching, zone = __atomic_load_n(&ns->zone_blocks, __ATOMIC_RELAXED);
	unsigned int got = 0, n;
	int rc = 0;

	*count = 0;
	while (got < max && lba < bh_nvme_ns_blocks(ns)) {
		rc = fetch(q, ns, lba, filter, BH_NVME_ZONE_REPORT_PARTIAL, out + got, max - got,
			   &n, &matching);
		/* What was asked for from here on begins here. */
		if (!rc && n && zone && out[got].start < lba / zone * zone)
			rc = -EPROTO;
		if (rc || !n)
			break;
		got += n;
		lba = out[got - 1].start + zone;
	}
	*count = rc ? 0 : got;
	return rc;
}

int bh_nvme_zone_count_sync(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, unsigned int filter,
			    uint64_t *count)
{
	unsigned int n;

	*count = 0;
	return fetch(q, ns, 0, filter, 0, NULL, 0, &n, count);
}

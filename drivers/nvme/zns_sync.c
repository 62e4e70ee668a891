/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zone commands that wait, for tools and for setting up.
 *
 * How they wait: waiter.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/nvme_zns.h>

#include "nvme/nvme.h"
#include "nvme/queue_io.h"
#include "nvme/waiter.h"

#define PIECE 65536u /* bytes of a report fetched at a time */

int bh_nvme_zone_manage_sync(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint8_t action,
			     uint64_t zslba, bool all)
{
	struct bh__waiter *w;
	int rc = bh__waiter_new(q, 0, &w);

	if (rc)
		return rc;
	return bh__waiter_end(q, w,
			      bh_nvme_zone_manage(q, ns, action, zslba, all, bh__waiter_done, w));
}

int bh_nvme_zone_set_ext_sync(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t zslba,
			      const void *buf, size_t bytes)
{
	struct bh__waiter *w;
	int rc;

	if (!bytes || bytes != __atomic_load_n(&ns->ext_bytes, __ATOMIC_RELAXED))
		return -EINVAL;
	rc = bh__waiter_new(q, bytes, &w);
	if (rc)
		return rc;
	memcpy(w->buf, buf, bytes);
	return bh__waiter_end(q, w, bh_nvme_zone_set_ext(q, ns, zslba, w->buf, bh__waiter_done, w));
}

/* One piece of a report: *count zones in out, *matching from the header. */
static int fetch(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t lba, unsigned int filter,
		 uint32_t flags, struct bh_nvme_zone *out, unsigned int max, unsigned int *count,
		 uint64_t *matching)
{
	size_t bytes =
		sizeof(struct bh_nvme_zone_report) + (size_t)max * sizeof(struct bh_nvme_zone_desc);
	size_t most = q->max_transfer < PIECE ? q->max_transfer : PIECE;
	struct bh__waiter *w;
	int rc, n;

	bytes = bytes < most ? bytes : most;
	rc = bh__waiter_new(q, bytes, &w);
	if (rc)
		return rc;
	rc = bh__waiter_wait(
		q, w,
		bh_nvme_zone_report(q, ns, lba, filter, flags, w->buf, bytes, bh__waiter_done, w));
	if (rc < 0)
		return rc;
	if (!rc) {
		n = bh_nvme_zone_report_read(ns, w->buf, bytes, flags, out, max, matching);
		rc = n < 0 ? n : 0;
		*count = n < 0 ? 0 : (unsigned int)n;
	}
	bh__waiter_free(w);
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

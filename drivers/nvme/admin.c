/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The admin queue and its commands.
 *
 * The admin queue is a queue like the others, with qid 0, PRPs only, and doorbells that are never
 * shadowed. Waiting commands go through a bounce buffer of their own. One that is not answered in
 * time is abandoned, not forgotten: its buffer stays until the controller completes it or is
 * reset, when its callback, which runs exactly once, frees it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nvme/nvme.h"
#include "nvme/queue_io.h"

#define LOOK_EVERY_NS 100000000ull /* for a device that may have been pulled out */

struct waiter {
	bool done, abandoned;
	struct bh_nvme_cpl cpl;
	void *bounce;
	struct bh_pool *pool;
};

int bh__admin_create(struct bh_nvme *nvme)
{
	unsigned int entries = nvme->opts.admin_depth;
	struct bh_nvme_queue *q;
	size_t cq;
	int rc;

	rc = bh__queue_new(entries, entries - 1, &q);
	if (rc)
		return rc;
	q->page_size = nvme->page_size;
	q->list_bytes = nvme->page_size;
	q->max_transfer = bh__prp_list_entries(q->list_bytes, q->page_size) * q->page_size;
	q->mem_bytes = bh__queue_layout(entries, q->depth, nvme->page_size, q->list_bytes, &cq,
					&q->list_at);
	q->mem = bh__dma_zalloc(nvme, q->mem_bytes, nvme->page_size, &q->pool);
	if (!q->mem) {
		bh__log(nvme, BH_LOG_ERROR,
			"no room for the admin queue (%zu bytes, on a page of %u) in the pools",
			q->mem_bytes, q->page_size);
		bh__queue_free(q);
		return -ENOMEM;
	}
	q->sq = q->mem;
	q->cq = (uint8_t *)q->mem + cq;
	q->list = (uint8_t *)q->mem + q->list_at;
	q->iova_map = bh_device_iova_map(nvme->dev);
	q->dev = nvme->dev;
	q->ops = &bh__owned_queue_ops;
	q->owner = nvme;
	bh__queue_set_timeout(q, &nvme->clock, nvme->opts.admin_timeout_ns);
	pthread_mutex_lock(&nvme->lock);
	nvme->aq = q;
	pthread_mutex_unlock(&nvme->lock);
	if (bh_device_gone(nvme->dev))
		bh__queue_halt(q, BH__Q_GONE);
	return 0;
}

void bh__admin_destroy(struct bh_nvme *nvme)
{
	struct bh_nvme_queue *q = nvme->aq;

	if (!q)
		return;
	bh__queue_halt(q, BH__Q_HALT | BH__Q_DISABLED);
	bh__admin_poll(nvme);
	pthread_mutex_lock(&nvme->lock);
	nvme->aq = NULL;
	pthread_mutex_unlock(&nvme->lock);
	bh_pool_free(q->pool, q->mem);
	bh__queue_free(q);
}

int bh__admin_start(struct bh_nvme *nvme)
{
	struct bh_nvme_queue *q = nvme->aq;
	int rc;

	rc = bh__dma_place(nvme, q);
	if (rc)
		return rc;
	memset(q->mem, 0, q->list_at);
	bh__queue_rewind(q);
	bh__bells_assign(nvme, q);
	return bh__queue_resume(q) ? 0 : -ENODEV;
}

int bh__admin_poll(struct bh_nvme *nvme)
{
	int rc;

	if (nvme->reaping)
		return -EBUSY;
	nvme->reaping = true;
	rc = bh_nvme_queue_poll(nvme->aq, 0);
	nvme->reaping = false;
	return !rc && (bh__queue_slow(nvme->aq) & BH__Q_BROKEN) ? -EIO : rc;
}

static int submit(struct bh_nvme *nvme, const struct bh_nvme_cmd *cmd, void *buf, size_t len,
		  bh_nvme_done done, void *arg)
{
	struct iovec iov = { buf, len };
	int rc;

	rc = bh_nvme_io(nvme->aq, cmd, &iov, len ? 1 : 0, done, arg);
	if (!rc)
		bh_nvme_queue_flush(nvme->aq);
	return rc;
}

int bh_nvme_admin(struct bh_nvme *nvme, const struct bh_nvme_cmd *cmd, void *buf, size_t len,
		  bh_nvme_done done, void *arg)
{
	if (nvme->state == BH__STATE_FAILED || bh_device_gone(nvme->dev))
		return -ENODEV;
	if (nvme->starting)
		return -EAGAIN;
	if (len && nvme->max_transfer && len > nvme->max_transfer)
		return -EMSGSIZE;
	return submit(nvme, cmd, buf, buf ? len : 0, done, arg);
}

static void waiter_free(struct waiter *w)
{
	if (w->bounce)
		bh_pool_free(w->pool, w->bounce);
	free(w);
}

static void waiter_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct waiter *w = arg;

	if (w->abandoned) {
		waiter_free(w);
		return;
	}
	w->cpl = *cpl;
	w->done = true;
}

/* Spins a little, then sleeps in steps that do not delay a fast answer much. */
static void pause_step(unsigned int *step)
{
	struct timespec ts = { 0, 20000 };

	if (++*step < 200)
		bh_relax();
	else
		nanosleep(&ts, NULL);
}

/* Every so often while an answer is due: is there somebody who could give it? */
static bool still_there(struct bh_nvme *nvme, uint64_t now, uint64_t *look_at)
{
	if (now < *look_at)
		return true;
	*look_at = now + LOOK_EVERY_NS;
	return bh_device_check(nvme->dev);
}

static int waiter_submit(struct bh_nvme *nvme, const struct bh_nvme_cmd *cmd, struct waiter *w,
			 size_t len, uint64_t deadline)
{
	uint64_t look_at = bh_now_ns() + LOOK_EVERY_NS;
	unsigned int step = 0;
	int rc;

	while ((rc = submit(nvme, cmd, w->bounce, len, waiter_done, w)) == -EAGAIN) {
		uint64_t now = bh_now_ns();

		if (!still_there(nvme, now, &look_at))
			return -ENODEV;
		if (now > deadline)
			return -ETIMEDOUT;
		rc = bh__admin_poll(nvme);
		if (rc < 0)
			return rc;
		pause_step(&step);
	}
	return rc;
}

static int waiter_wait(struct bh_nvme *nvme, struct waiter *w, uint64_t deadline)
{
	uint64_t now, look_at = bh_now_ns() + LOOK_EVERY_NS;
	unsigned int step = 0;

	for (;;) {
		int rc = bh__admin_poll(nvme);

		if (w->done)
			return bh_device_gone(nvme->dev) ? -ENODEV : 0;
		if (rc < 0)
			return rc;
		now = bh_now_ns();
		if (!still_there(nvme, now, &look_at))
			return -ENODEV;
		if (now > deadline)
			return -ETIMEDOUT;
		pause_step(&step);
	}
}

int bh__admin_sync(struct bh_nvme *nvme, const struct bh_nvme_cmd *cmd, void *buf, size_t len,
		   struct bh_nvme_cpl *cpl)
{
	uint64_t deadline = bh_now_ns() + nvme->opts.admin_timeout_ns;
	struct waiter *w;
	int rc;

	if (nvme->reaping)
		return -EBUSY;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	if (len) {
		w->bounce = bh__dma_zalloc(nvme, len, nvme->page_size, &w->pool);
		if (!w->bounce) {
			free(w);
			return -ENOMEM;
		}
		if (cmd->opc & BH_NVME_OPC_XFER_TO_CTRL)
			memcpy(w->bounce, buf, len);
	}
	rc = waiter_submit(nvme, cmd, w, len, deadline);
	if (rc) {
		waiter_free(w);
		return rc;
	}
	rc = waiter_wait(nvme, w, deadline);
	if (rc && !w->done) {
		if (rc == -ETIMEDOUT)
			bh__log(nvme, BH_LOG_ERROR,
				"%s (admin command %02xh): no answer in %llu ms",
				bh_nvme_admin_str(cmd->opc), cmd->opc,
				(unsigned long long)(nvme->opts.admin_timeout_ns / 1000000));
		w->abandoned = true;
		__atomic_store_n(&nvme->want_reset, 1, __ATOMIC_RELEASE);
		return rc;
	}
	if (!rc) {
		rc = bh_nvme_cpl_status(&w->cpl);
		if (!rc && len && (cmd->opc & BH_NVME_OPC_XFER_TO_HOST))
			memcpy(buf, w->bounce, len);
		if (cpl)
			*cpl = w->cpl;
	}
	waiter_free(w);
	return rc;
}

int bh__admin_must(struct bh_nvme *nvme, const struct bh_nvme_cmd *cmd, void *buf, size_t len,
		   struct bh_nvme_cpl *cpl, const char *what)
{
	char text[BH_NVME_STATUS_FMT_MAX];
	int rc = bh__admin_sync(nvme, cmd, buf, len, cpl);

	if (rc > 0) {
		bh__log(nvme, BH_LOG_ERROR, "%s failed: %s", what,
			bh_nvme_status_fmt((uint16_t)rc, text, sizeof(text)));
		return -EIO;
	}
	if (rc == -ENOMEM)
		bh__log(nvme, BH_LOG_ERROR, "%s: no room for %zu bytes in the pools", what, len);
	return rc;
}

int bh_nvme_admin_sync(struct bh_nvme *nvme, const struct bh_nvme_cmd *cmd, void *buf, size_t len,
		       struct bh_nvme_cpl *cpl)
{
	if (nvme->state == BH__STATE_FAILED || bh_device_gone(nvme->dev))
		return -ENODEV;
	if (nvme->starting)
		return -EAGAIN;
	if (len > nvme->max_transfer)
		return -EMSGSIZE;
	return bh__admin_sync(nvme, cmd, buf, buf ? len : 0, cpl);
}

struct bh_nvme_cmd bh__identify_cmd(uint8_t cns, uint32_t nsid, uint8_t csi, uint16_t cntid)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_IDENTIFY, .nsid = nsid };

	cmd.cdw10 = (uint32_t)(BH_NVME_SET(IDENTIFY_CNS, cns) | BH_NVME_SET(IDENTIFY_CNTID, cntid));
	cmd.cdw11 = (uint32_t)BH_NVME_SET(IDENTIFY_CSI, csi);
	return cmd;
}

int bh_nvme_identify(struct bh_nvme *nvme, uint8_t cns, uint32_t nsid, uint8_t csi, uint16_t cntid,
		     void *buf)
{
	struct bh_nvme_cmd cmd = bh__identify_cmd(cns, nsid, csi, cntid);

	return bh_nvme_admin_sync(nvme, &cmd, buf, 4096, NULL);
}

int bh_nvme_get_log(struct bh_nvme *nvme, uint8_t lid, uint32_t nsid, uint64_t offset, void *buf,
		    size_t len)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_GET_LOG_PAGE, .nsid = nsid };
	uint64_t numd = len / 4 - 1;

	if (!len || (len & 3) || (offset & 3) || numd > UINT32_MAX)
		return -EINVAL;
	cmd.cdw10 = (uint32_t)(lid | BH_NVME_SET(GLP_NUMDL, numd & 0xffff));
	cmd.cdw11 = (uint32_t)BH_NVME_SET(GLP_NUMDU, numd >> 16);
	cmd.cdw12 = (uint32_t)offset;
	cmd.cdw13 = (uint32_t)(offset >> 32);
	return bh_nvme_admin_sync(nvme, &cmd, buf, len, NULL);
}

static int feature(struct bh_nvme *nvme, uint8_t opc, uint8_t fid, uint32_t nsid, uint32_t cdw11,
		   void *buf, size_t len, uint32_t *result)
{
	struct bh_nvme_cmd cmd = { .opc = opc, .nsid = nsid, .cdw10 = fid, .cdw11 = cdw11 };
	struct bh_nvme_cpl cpl = { 0 };
	int rc = bh_nvme_admin_sync(nvme, &cmd, buf, len, &cpl);

	if (rc >= 0 && result)
		*result = cpl.cdw0;
	return rc;
}

int bh_nvme_get_feature(struct bh_nvme *nvme, uint8_t fid, uint32_t nsid, uint32_t cdw11, void *buf,
			size_t len, uint32_t *result)
{
	return feature(nvme, BH_NVME_ADMIN_GET_FEATURES, fid, nsid, cdw11, buf, len, result);
}

int bh_nvme_set_feature(struct bh_nvme *nvme, uint8_t fid, uint32_t nsid, uint32_t cdw11,
			const void *buf, size_t len, uint32_t *result)
{
	return feature(nvme, BH_NVME_ADMIN_SET_FEATURES, fid, nsid, cdw11, (void *)(uintptr_t)buf,
		       len, result);
}

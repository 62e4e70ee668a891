/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's life: attach, poll, detach.
 *
 * Attach: registers, doorbells, disable, admin queue, enable, then the steps of bh__nvme_bring_up,
 * which a reset repeats. bh_nvme_poll() is where everything that may wait is done: event handling,
 * aborts, resets, queues to be created again. Detach leaves the controller disabled, the only
 * state in which it is sure to have forgotten our memory.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nvme/nvme.h"

void bh__log_line(const struct bh_nvme *nvme, enum bh_log_level level, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bh_log(nvme->log, level, "nvme", "%s: %s", bh_device_name(nvme->dev), text);
}

void *bh__dma_zalloc(struct bh_nvme *nvme, size_t bytes, size_t align, struct bh_pool **pool)
{
	void *va = bh_dma_space_alloc(bh_device_space(nvme->dev), bytes, align, pool);

	if (va)
		memset(va, 0, bytes);
	return va;
}

int bh__dma_iova(const struct bh_nvme *nvme, const void *va, size_t len, uint64_t *iova)
{
	struct bh_iova_cache cache = { 0 };

	if (bh_iova_translate(bh_device_iova_map(nvme->dev), &cache, va, len, iova))
		return 0;
	return bh_device_gone(nvme->dev) ? -ENODEV : -EFAULT;
}

int bh__dma_place(struct bh_nvme *nvme, struct bh_nvme_queue *q)
{
	int rc = bh__dma_iova(nvme, q->mem, q->mem_bytes, &q->sq_iova);

	if (rc)
		return rc;
	/* Translations keep the pages of the pool, which may be smaller than the controller's. */
	if (q->sq_iova & (q->page_size - 1)) {
		bh__log(nvme, BH_LOG_ERROR, "queue %u: its memory is not on a page of %u bytes",
			q->qid, q->page_size);
		return -ENOTSUP;
	}
	q->sq = q->mem;
	q->list = (uint8_t *)q->mem + q->list_at;
	q->cq_iova = q->sq_iova + (uint64_t)(q->cq - q->sq);
	q->list_iova = q->sq_iova + q->list_at;
	return 0;
}

void bh_nvme_opts_init(struct bh_nvme_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
	opts->admin_depth = 32;
	opts->admin_timeout_ns = 30000000000ull;
	opts->io_timeout_ns = 30000000000ull;
	opts->async_events = 4;
	opts->doorbell_attr = BH_ATTR_UC;
	opts->cmb = BH_NVME_CMB_AUTO;
}

static int opts_read(const struct bh_nvme_opts *opts, struct bh_nvme_opts *out)
{
	bh_nvme_opts_init(out);
	if (!opts)
		return 0;
	if (opts->size < offsetof(struct bh_nvme_opts, admin_timeout_ns) ||
	    opts->size > sizeof(*out))
		return -EINVAL;
	memcpy(out, opts, opts->size);
	if (out->cmb == BH_NVME_CMB_DEFAULT)
		out->cmb = BH_NVME_CMB_AUTO;
	if (out->queues > 65535 || out->admin_depth < 2 || out->admin_depth > 4096 ||
	    !out->admin_timeout_ns || out->async_events > BH__AER_MOST ||
	    (out->doorbell_attr != BH_ATTR_UC && out->doorbell_attr != BH_ATTR_WC) ||
	    (unsigned int)out->cmb > BH_NVME_CMB_REQUIRE)
		return -EINVAL;
	return 0;
}

static void device_gone(struct bh_gone_listener *listener)
{
	struct bh_nvme *nvme =
		(struct bh_nvme *)((uint8_t *)listener - offsetof(struct bh_nvme, gone));

	bh__nvme_halt_all(nvme, BH__Q_GONE);
}

static void release(struct bh_nvme *nvme)
{
	bh__admin_destroy(nvme);
	bh_device_gone_unlisten(nvme->dev, &nvme->gone);
	bh__bells_release(nvme);
	bh__cmb_release(nvme);
	if (nvme->shadow)
		bh_pool_free(nvme->shadow_pool, nvme->shadow);
	bh__ns_free(nvme);
	pthread_mutex_destroy(&nvme->lock);
	free(nvme->qid_used);
	free(nvme);
}

/* The controller forgets our memory, or is cut off from it. */
static void turn_off(struct bh_nvme *nvme)
{
	if (bh_device_gone(nvme->dev))
		return;
	if (nvme->aq && bh__ctrl_disable(nvme))
		bh__log(nvme, BH_LOG_WARN, "left enabled, with bus mastering off");
	else
		bh__cmb_disable(nvme);
	bh_device_bus_master(nvme->dev, false);
}

static int set_up(struct bh_nvme *nvme)
{
	int rc = bh__ctrl_bus_on(nvme);

	rc = rc ? rc : bh__ctrl_read_caps(nvme);
	rc = rc ? rc : bh__bells_setup(nvme);
	rc = rc ? rc : bh__admin_create(nvme);
	rc = rc ? rc : bh__ctrl_disable(nvme);
	if (!rc) {
		nvme->starting = true;
		rc = bh__nvme_bring_up(nvme);
		nvme->starting = false;
	}
	if (!rc) {
		nvme->qid_used = calloc(65536, 1);
		rc = nvme->qid_used ? 0 : -ENOMEM;
	}
	return rc;
}

int bh_nvme_attach(struct bh_device *dev, const struct bh_nvme_opts *opts, struct bh_nvme **out)
{
	struct bh_nvme *nvme;
	int rc;

	*out = NULL;
	nvme = calloc(1, sizeof(*nvme));
	if (!nvme)
		return -ENOMEM;
	rc = opts_read(opts, &nvme->opts);
	if (rc) {
		free(nvme);
		return rc;
	}
	nvme->dev = dev;
	nvme->log = nvme->opts.log ? nvme->opts.log : bh_device_log(dev);
	nvme->state = BH__STATE_RUNNING;
	pthread_mutex_init(&nvme->lock, NULL);
	bh_clock_init(&nvme->clock);
	nvme->gone.gone = device_gone;
	bh_device_gone_listen(dev, &nvme->gone);
	rc = set_up(nvme);
	if (rc) {
		turn_off(nvme);
		release(nvme);
		return rc == -EFAULT ? -ENOMEM : rc;
	}
	*out = nvme;
	return 0;
}

void bh_nvme_detach(struct bh_nvme *nvme)
{
	if (!nvme)
		return;
	/* Nobody is told any more. */
	nvme->opts.event = NULL;
	while (nvme->queues)
		bh_nvme_queue_destroy(nvme->queues);
	if (!bh_device_gone(nvme->dev) && nvme->state != BH__STATE_FAILED)
		bh__ctrl_shutdown(nvme);
	turn_off(nvme);
	bh__ioq_dig_up(nvme);
	release(nvme);
}

int bh_nvme_poll(struct bh_nvme *nvme)
{
	unsigned int n = 0;
	int rc;

	if (nvme->starting)
		return -EBUSY;
	if (bh_device_gone(nvme->dev))
		bh__nvme_fail(nvme);
	rc = bh__admin_poll(nvme);
	if (nvme->state == BH__STATE_FAILED)
		return -ENODEV;
	if (rc == -EBUSY)
		return rc;
	n += rc > 0 ? (unsigned int)rc : 0;
	n += bh__event_work(nvme);
	n += bh__timeout_work(nvme);
	n += bh__alive_work(nvme);
	n += bh__reset_work(nvme);
	return nvme->state == BH__STATE_FAILED ? -ENODEV : (int)n;
}

struct bh_device *bh_nvme_device(const struct bh_nvme *nvme)
{
	return nvme->dev;
}

const struct bh_nvme_id_ctrl *bh_nvme_ctrl_data(const struct bh_nvme *nvme)
{
	return &nvme->id;
}

uint64_t bh_nvme_reg_cap(const struct bh_nvme *nvme)
{
	return nvme->cap;
}

uint32_t bh_nvme_reg_vs(const struct bh_nvme *nvme)
{
	return nvme->vs;
}

unsigned int bh_nvme_max_queues(const struct bh_nvme *nvme)
{
	return nvme->max_queues;
}

unsigned int bh_nvme_max_depth(const struct bh_nvme *nvme)
{
	return nvme->max_depth;
}

uint32_t bh_nvme_max_transfer(const struct bh_nvme *nvme)
{
	return nvme->max_transfer;
}

bool bh_nvme_has_sgl(const struct bh_nvme *nvme)
{
	return nvme->sgl;
}

static void forget_places(struct bh_nvme_queue *q)
{
	memset(&q->iova_cache, 0, sizeof(q->iova_cache));
	memset(&q->md_cache, 0, sizeof(q->md_cache));
}

void bh_nvme_trim(struct bh_nvme *nvme)
{
	struct bh_nvme_queue *q;

	for (q = nvme->queues; q; q = q->next)
		forget_places(q);
	forget_places(nvme->aq);
	bh_device_iova_trim(nvme->dev);
}

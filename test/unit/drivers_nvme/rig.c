/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include <sched.h>

#include "rig.h"

#define BUF_BYTES (8u << 20)
#define WAIT_NS 5000000000ull

static void log_line(void *ctx, enum bh_log_level level, const char *component, const char *line)
{
	struct rig *r = ctx;

	(void)component;
	if (level == BH_LOG_ERROR)
		snprintf(r->last_error, sizeof(r->last_error), "%s", line);
	if (level <= BH_LOG_INFO &&
	    (strstr(line, "memory buffer") || strstr(line, "host memory"))) {
		r->cmb_lines++;
		snprintf(r->last_cmb, sizeof(r->last_cmb), "%s", line);
	}
	if (level == BH_LOG_WARN)
		snprintf(r->last_warning, sizeof(r->last_warning), "%s", line);
}

static void event(void *ctx, enum bh_nvme_event ev, uint32_t value)
{
	struct rig *r = ctx;

	r->events[ev]++;
	r->event_value = value;
}

void rig_open(struct rig *r, const struct fake_opts *o)
{
	struct bh_pool_opts popts;
	struct fake_opts defaults;

	memset(r, 0, sizeof(*r));
	r->log = (struct bh_log){ log_line, r, BH_LOG_DEBUG };
	fake_opts_init(&defaults);
	bh_pool_opts_init(&popts);
	popts.bytes = 32u << 20;
	popts.page_size = 4096;
	CU_ASSERT_EQUAL_FATAL(bh_pool_create(&popts, &r->pool), 0);
	CU_ASSERT_EQUAL_FATAL(bh_dma_space_create(&r->log, &r->space), 0);
	CU_ASSERT_EQUAL_FATAL(bh_dma_space_add(r->space, r->pool), 0);
	CU_ASSERT_EQUAL_FATAL(fake_open(o ? o : &defaults, r->space, &r->log, &r->fake), 0);
	r->buf = bh_pool_zalloc(r->pool, BUF_BYTES, 4096);
	CU_ASSERT_PTR_NOT_NULL_FATAL(r->buf);
}

int rig_attach(struct rig *r, struct bh_nvme_opts *nopts)
{
	struct bh_nvme_opts defaults;
	int rc;

	bh_nvme_opts_init(&defaults);
	if (!nopts)
		nopts = &defaults;
	nopts->event = event;
	nopts->event_ctx = r;
	rc = bh_nvme_attach(&r->fake->dev, nopts, &r->nvme);
	if (!rc)
		r->ns = bh_nvme_ns_first(r->nvme);
	return rc;
}

int rig_queue(struct rig *r, unsigned int depth, bool interrupt)
{
	struct bh_nvme_queue_opts qopts;

	bh_nvme_queue_opts_init(&qopts);
	qopts.depth = depth;
	qopts.interrupt = interrupt;
	return bh_nvme_queue_create(r->nvme, &qopts, &r->q);
}

void rig_start(struct rig *r, const struct fake_opts *o, unsigned int depth)
{
	rig_open(r, o);
	CU_ASSERT_EQUAL_FATAL(rig_attach(r, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(rig_queue(r, depth, false), 0);
}

void rig_close(struct rig *r)
{
	bh_nvme_queue_destroy(r->q);
	bh_nvme_detach(r->nvme);
	CU_ASSERT_EQUAL(fake_get(&r->fake->faults), 0);
	bh_device_close(&r->fake->dev);
	bh_pool_free(r->pool, r->buf);
	/* Everything the driver took is back. */
	CU_ASSERT_EQUAL(bh_pool_free_bytes(r->pool), bh_pool_mem(r->pool)->len);
	CU_ASSERT_EQUAL(bh_dma_space_remove(r->space, r->pool), 0);
	bh_dma_space_destroy(r->space);
	bh_pool_destroy(r->pool);
}

void tally_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct tally *t = arg;

	t->done++;
	if (bh_nvme_cpl_status(cpl)) {
		t->errors++;
		t->status = bh_nvme_cpl_status(cpl);
	}
}

bool rig_wait(struct rig *r, struct tally *t, unsigned int n)
{
	uint64_t end = bh_now_ns() + WAIT_NS;

	while (t->done < n && bh_now_ns() < end) {
		bh_nvme_poll(r->nvme);
		if (r->q && bh_nvme_queue_poll(r->q, 0) == 0)
			sched_yield();
	}
	return t->done == n;
}

bool rig_wait_flag(struct rig *r, const uint32_t *flag, uint32_t n)
{
	uint64_t end = bh_now_ns() + WAIT_NS;

	while (fake_get(flag) < n && bh_now_ns() < end) {
		bh_nvme_poll(r->nvme);
		if (r->q)
			bh_nvme_queue_poll(r->q, 0);
		sched_yield();
	}
	return fake_get(flag) >= n;
}

void rig_poll_ms(struct rig *r, unsigned int ms, bool queue)
{
	uint64_t end = bh_now_ns() + ms * 1000000ull;

	while (bh_now_ns() < end) {
		bh_nvme_poll(r->nvme);
		if (queue)
			bh_nvme_queue_poll(r->q, 0);
		sched_yield();
	}
}

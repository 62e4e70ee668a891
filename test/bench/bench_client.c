/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench_client.h"

#include <errno.h>
#include <stdio.h>

#include <bellhop/bellhop.h>
#include <bellhop/log.h>

static void say(void *ctx, enum bh_log_level level, const char *component, const char *line)
{
	(void)ctx;
	(void)level;
	fprintf(stderr, "%s: %s\n", component, line);
}

static struct bh_log log_to_stderr = { .write = say, .level = BH_LOG_WARN };

int bench_client_open(struct bench_client *c, const char *address, size_t bytes)
{
	struct bh_device_opts dev_opts;
	struct bh_pool_opts pool_opts;
	int rc;

	*c = (struct bench_client){ 0 };
	bh_pool_opts_init(&pool_opts);
	pool_opts.bytes = bytes;
	pool_opts.log = &log_to_stderr;
	bh_device_opts_init(&dev_opts);
	dev_opts.log = &log_to_stderr;
	rc = bh_pool_create(&pool_opts, &c->pool);
	rc = rc ? rc : bh_dma_space_create(&log_to_stderr, &c->space);
	rc = rc ? rc : bh_dma_space_add(c->space, c->pool);
	dev_opts.space = c->space;
	rc = rc ? rc : bh_open(address, &dev_opts, &c->dev);
	rc = rc ? rc : bh_nvme_attach(c->dev, NULL, &c->nvme);
	if (rc)
		return rc;
	c->ns = bh_nvme_ns_first(c->nvme);
	return c->ns ? 0 : -ENODEV;
}

void bench_client_close(struct bench_client *c)
{
	bh_nvme_detach(c->nvme);
	bh_device_close(c->dev);
	bh_dma_space_destroy(c->space);
	bh_pool_destroy(c->pool);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The host of a test: opened on a target's socket, and commands that wait. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ft.h"

static void say(void *ctx, enum bh_log_level level, const char *component, const char *line)
{
	(void)ctx;
	fprintf(stderr, "host: %s: %s: %s\n", level == BH_LOG_ERROR ? "error" : "warning",
		component, line);
}

static const struct bh_log loud = { .write = say, .level = BH_LOG_WARN };

static void make_space(struct ft_host *host, const struct ft_host_opts *opts)
{
	struct bh_pool_opts pool_opts;

	bh_pool_opts_init(&pool_opts);
	pool_opts.bytes = opts->pool_bytes ? opts->pool_bytes : 64u << 20;
	host->pool = opts->pool;
	if (!host->pool)
		FT_EQUAL(bh_pool_create(&pool_opts, &host->pool), 0);
	host->own_pool = !opts->pool;
	FT_EQUAL(bh_dma_space_create(NULL, &host->space), 0);
	FT_EQUAL(bh_dma_space_add(host->space, host->pool), 0);
}

static int open_device(struct ft_host *host, const char *socket, const struct ft_host_opts *opts)
{
	struct bh_device_opts dev_opts;

	bh_device_opts_init(&dev_opts);
	dev_opts.space = host->space;
	dev_opts.log = opts->quiet ? NULL : &loud;
	dev_opts.dma_access = opts->access;
	dev_opts.twin_socket = !opts->no_twin;
	if (opts->device_timeout_ns)
		dev_opts.timeout_ns = opts->device_timeout_ns;
	return bh_open(socket, &dev_opts, &host->dev);
}

static int attach(struct ft_host *host, const struct ft_host_opts *opts)
{
	struct bh_nvme_opts nvme_opts;
	int rc;

	bh_nvme_opts_init(&nvme_opts);
	nvme_opts.queues = opts->queues;
	nvme_opts.no_shadow_doorbells = opts->no_shadow;
	nvme_opts.no_sgl = opts->no_sgl;
	nvme_opts.cmb = opts->cmb;
	nvme_opts.cmb_lists = opts->cmb_lists;
	nvme_opts.keep_alive_ms = opts->keep_alive_ms;
	nvme_opts.event = opts->event;
	nvme_opts.event_ctx = opts->event_ctx;
	if (opts->io_timeout_ns)
		nvme_opts.io_timeout_ns = opts->io_timeout_ns;
	if (opts->admin_timeout_ns)
		nvme_opts.admin_timeout_ns = opts->admin_timeout_ns;
	rc = bh_nvme_attach(host->dev, &nvme_opts, &host->nvme);
	if (rc)
		return rc;
	host->ns = bh_nvme_ns_first(host->nvme);
	return host->ns ? 0 : -ENOENT;
}

int ft_host_try(struct ft_host *host, const char *socket, const struct ft_host_opts *opts)
{
	static const struct ft_host_opts defaults;
	int rc;

	opts = opts ? opts : &defaults;
	memset(host, 0, sizeof(*host));
	make_space(host, opts);
	rc = open_device(host, socket, opts);
	if (rc == 0)
		rc = attach(host, opts);
	if (rc)
		ft_host_close(host);
	return rc;
}

void ft_host_open(struct ft_host *host, const char *socket, const struct ft_host_opts *opts)
{
	FT_EQUAL(ft_host_try(host, socket, opts), 0);
}

void ft_host_close(struct ft_host *host)
{
	bh_nvme_detach(host->nvme);
	bh_device_close(host->dev);
	bh_dma_space_destroy(host->space);
	if (host->own_pool)
		bh_pool_destroy(host->pool);
	memset(host, 0, sizeof(*host));
}

struct bh_nvme_queue *ft_queue(struct ft_host *host, unsigned int depth)
{
	struct bh_nvme_queue_opts opts;
	struct bh_nvme_queue *q = NULL;

	bh_nvme_queue_opts_init(&opts);
	if (depth)
		opts.depth = depth;
	FT_EQUAL(bh_nvme_queue_create(host->nvme, &opts, &q), 0);
	return q;
}

void *ft_alloc(struct ft_host *host, size_t bytes)
{
	void *mem = bh_pool_zalloc(host->pool, bytes, 4096);

	FT_CHECK(mem != NULL);
	return mem;
}

void ft_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	*(int *)arg = bh_nvme_cpl_status(cpl);
}

uint16_t ft_wait(struct bh_nvme_queue *q, const int *status)
{
	FT_UNTIL(10000, *status >= 0, bh_nvme_queue_poll(q, 0));
	return (uint16_t)*status;
}

uint16_t ft_read(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, void *buf, uint64_t lba,
		 uint32_t blocks)
{
	int status = -1;

	FT_EQUAL(bh_nvme_read(q, ns, buf, lba, blocks, 0, ft_done, &status), 0);
	return ft_wait(q, &status);
}

uint16_t ft_write(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const void *buf, uint64_t lba,
		  uint32_t blocks)
{
	int status = -1;

	FT_EQUAL(bh_nvme_write(q, ns, buf, lba, blocks, 0, ft_done, &status), 0);
	return ft_wait(q, &status);
}

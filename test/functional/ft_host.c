/* SPDX-License-Identifier: BSD-3-Clause */
/* The host of a test: opened on a target's socket; commands that wait; data that can be verified.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/clock.h>

#include "ft.h"

static void say(void *ctx, enum bh_log_level level, const char *component, const char *line)
{
	(void)ctx;
	fprintf(stderr, "host: %s: %s: %s\n", level == BH_LOG_ERROR ? "error" : "warning",
		component, line);
}

static const struct bh_log loud = { .write = say, .level = BH_LOG_WARN };

void ft_host_open(struct ft_host *host, const char *socket, const struct ft_host_opts *opts)
{
	static const struct ft_host_opts defaults;
	struct bh_pool_opts pool_opts;
	struct bh_device_opts dev_opts;
	struct bh_nvme_opts nvme_opts;

	opts = opts ? opts : &defaults;
	memset(host, 0, sizeof(*host));
	bh_pool_opts_init(&pool_opts);
	pool_opts.bytes = opts->pool_bytes ? opts->pool_bytes : 64u << 20;
	FT_EQUAL(bh_pool_create(&pool_opts, &host->pool), 0);
	FT_EQUAL(bh_dma_space_create(NULL, &host->space), 0);
	FT_EQUAL(bh_dma_space_add(host->space, host->pool), 0);
	bh_device_opts_init(&dev_opts);
	dev_opts.space = host->space;
	dev_opts.log = opts->quiet ? NULL : &loud;
	dev_opts.dma_access = opts->access;
	if (opts->device_timeout_ns)
		dev_opts.timeout_ns = opts->device_timeout_ns;
	FT_EQUAL(bh_open(socket, &dev_opts, &host->dev), 0);
	bh_nvme_opts_init(&nvme_opts);
	nvme_opts.no_shadow_doorbells = opts->no_shadow;
	nvme_opts.no_sgl = opts->no_sgl;
	if (opts->io_timeout_ns)
		nvme_opts.io_timeout_ns = opts->io_timeout_ns;
	FT_EQUAL(bh_nvme_attach(host->dev, &nvme_opts, &host->nvme), 0);
	host->ns = bh_nvme_ns_first(host->nvme);
	FT_CHECK(host->ns != NULL);
}

void ft_host_close(struct ft_host *host)
{
	bh_nvme_detach(host->nvme);
	bh_device_close(host->dev);
	bh_dma_space_destroy(host->space);
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

static void done(void *arg, const struct bh_nvme_cpl *cpl)
{
	*(int *)arg = bh_nvme_cpl_status(cpl);
}

static uint16_t wait_status(struct bh_nvme_queue *q, const int *status)
{
	uint64_t deadline = bh_now_ns() + (ft_is_sanitized() ? 40 : 10) * 1000000000ull;

	while (*status < 0) {
		bh_nvme_queue_poll(q, 0);
		if (bh_now_ns() > deadline)
			ft_fail(__FILE__, __LINE__, "a command did not complete");
	}
	return (uint16_t)*status;
}

uint16_t ft_read(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, void *buf, uint64_t lba,
		 uint32_t blocks)
{
	int status = -1;

	FT_EQUAL(bh_nvme_read(q, ns, buf, lba, blocks, 0, done, &status), 0);
	return wait_status(q, &status);
}

uint16_t ft_write(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, void *buf, uint64_t lba,
		  uint32_t blocks)
{
	int status = -1;

	FT_EQUAL(bh_nvme_write(q, ns, buf, lba, blocks, 0, done, &status), 0);
	return wait_status(q, &status);
}

/* ---- the model ---- */

void ft_model_init(struct ft_model *model, const struct bh_nvme_ns *ns)
{
	model->block = bh_nvme_ns_block_size(ns);
	model->blocks = bh_nvme_ns_blocks(ns);
	model->generation = calloc(model->blocks, sizeof(*model->generation));
	FT_CHECK(model->generation != NULL);
}

void ft_model_fini(struct ft_model *model)
{
	free(model->generation);
}

static uint64_t word(uint64_t lba, uint32_t generation, size_t i)
{
	uint64_t state = lba * 0x2545f4914f6cdd1dull + ((uint64_t)generation << 40) + i;

	return generation == 0 ? 0 : ft_random(&state);
}

void ft_model_fill(struct ft_model *model, void *buf, uint64_t lba, uint32_t blocks)
{
	uint64_t *words = buf;

	for (uint32_t b = 0; b < blocks; b++) {
		uint32_t generation = ++model->generation[lba + b];

		for (size_t i = 0; i < model->block / 8; i++)
			*words++ = word(lba + b, generation, i);
	}
}

bool ft_model_check(const struct ft_model *model, const void *buf, uint64_t lba, uint32_t blocks)
{
	const uint64_t *words = buf;

	for (uint32_t b = 0; b < blocks; b++) {
		for (size_t i = 0; i < model->block / 8; i++) {
			uint64_t expected = word(lba + b, model->generation[lba + b], i);

			if (*words++ == expected)
				continue;
			fprintf(stderr,
				"block %llu generation %u word %zu: %016llx, expected %016llx\n",
				(unsigned long long)(lba + b), model->generation[lba + b], i,
				(unsigned long long)words[-1], (unsigned long long)expected);
			return false;
		}
	}
	return true;
}

/* ---- random traffic, verified ---- */

struct request {
	struct verify *verify;
	uint8_t *buf;
	uint64_t lba;
	uint32_t blocks; /* 0: free */
	bool write;
};

struct verify {
	struct ft_model model;
	struct request *requests;
	unsigned int depth, in_flight, completed;
	uint64_t first, blocks;
	uint32_t max_blocks;
	uint64_t random;
};

static void request_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct request *r = arg;
	struct verify *v = r->verify;
	char text[128];

	if (bh_nvme_cpl_status(cpl) != BH_NVME_SC_SUCCESS) {
		bh_nvme_status_fmt(bh_nvme_cpl_status(cpl), text, sizeof(text));
		ft_fail(__FILE__, __LINE__, "%s of %u blocks at %llu: %s",
			r->write ? "write" : "read", r->blocks, (unsigned long long)r->lba, text);
	}
	if (!r->write && !ft_model_check(&v->model, r->buf, r->lba, r->blocks))
		ft_fail(__FILE__, __LINE__, "read of %u blocks at %llu returned wrong data",
			r->blocks, (unsigned long long)r->lba);
	r->blocks = 0;
	v->in_flight--;
	v->completed++;
}

static bool overlaps(const struct verify *v, uint64_t lba, uint32_t blocks)
{
	for (unsigned int i = 0; i < v->depth; i++) {
		const struct request *r = &v->requests[i];

		if (r->blocks && lba < r->lba + r->blocks && r->lba < lba + blocks)
			return true;
	}
	return false;
}

static void submit(struct verify *v, struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
		   struct request *r)
{
	uint32_t blocks = (uint32_t)(ft_random(&v->random) % v->max_blocks) + 1;
	uint64_t lba = v->first + ft_random(&v->random) % (v->blocks - blocks + 1);
	int error;

	if (overlaps(v, lba, blocks))
		return;
	r->verify = v;
	r->lba = lba;
	r->blocks = blocks;
	r->write = ft_random(&v->random) % 2;
	/* An odd place in the buffer now and then: PRP1 with an offset, one more page. */
	uint8_t *buf =
		r->buf + (ft_random(&v->random) % 4 == 0 ? ft_random(&v->random) % 1024 * 4 : 0);
	r->buf = buf;
	if (r->write) {
		ft_model_fill(&v->model, buf, lba, blocks);
		error = bh_nvme_write(q, ns, buf, lba, blocks, 0, request_done, r);
	} else {
		memset(buf, 0xa5, (size_t)blocks * v->model.block);
		error = bh_nvme_read(q, ns, buf, lba, blocks, 0, request_done, r);
	}
	if (error == -EAGAIN) {
		if (r->write) {
			for (uint32_t b = 0; b < blocks; b++)
				v->model.generation[lba + b]--;
		}
		r->blocks = 0;
	} else {
		FT_EQUAL(error, 0);
		v->in_flight++;
	}
}

void ft_verify_random(struct ft_host *host, struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
		      uint64_t first_block, uint64_t blocks, uint32_t max_blocks,
		      unsigned int depth, unsigned int count, uint64_t seed)
{
	struct verify v = { .depth = depth,
			    .first = first_block,
			    .blocks = blocks,
			    .max_blocks = max_blocks,
			    .random = seed };
	size_t bytes;
	uint8_t **bases = calloc(depth, sizeof(*bases));

	ft_model_init(&v.model, ns);
	v.requests = calloc(depth, sizeof(*v.requests));
	FT_CHECK(v.requests && bases);
	bytes = (size_t)max_blocks * v.model.block + 4096;
	for (unsigned int i = 0; i < depth; i++) {
		bases[i] = bh_pool_alloc(host->pool, bytes, 4096);
		FT_CHECK(bases[i] != NULL);
	}
	uint64_t deadline = bh_now_ns() + (ft_is_sanitized() ? 200 : 50) * 1000000000ull;
	while (v.completed < count || v.in_flight > 0) {
		for (unsigned int i = 0; i < depth && v.completed + v.in_flight < count; i++) {
			if (v.requests[i].blocks != 0)
				continue;
			v.requests[i].buf = bases[i];
			submit(&v, q, ns, &v.requests[i]);
		}
		FT_CHECK(bh_nvme_queue_poll(q, 0) >= 0);
		if (bh_now_ns() > deadline)
			ft_fail(__FILE__, __LINE__,
				"%u of %u requests after the deadline, %u in flight", v.completed,
				count, v.in_flight);
	}
	for (unsigned int i = 0; i < depth; i++)
		bh_pool_free(host->pool, bases[i]);
	free(bases);
	free(v.requests);
	ft_model_fini(&v.model);
}

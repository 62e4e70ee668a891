/* SPDX-License-Identifier: BSD-3-Clause */
/* Data that can be verified, and traffic made of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ft.h"

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

/* Buffers lie at any dword. */
typedef uint64_t dword_aligned __attribute__((aligned(4)));

static uint64_t word_seed(uint64_t lba, uint32_t generation)
{
	uint64_t state = lba * 0x2545f4914f6cdd1dull + ((uint64_t)generation << 40);

	return ft_random(&state);
}

static void block_fill(void *buf, uint32_t size, uint64_t lba, uint32_t generation)
{
	dword_aligned *words = buf;
	uint64_t seed = word_seed(lba, generation);

	for (size_t i = 0; i < size / 8; i++)
		words[i] = generation ? seed + i * 0x9e3779b97f4a7c15ull : 0;
}

static bool block_check(const void *buf, uint32_t size, uint64_t lba, uint32_t generation)
{
	const dword_aligned *words = buf;
	uint64_t seed = word_seed(lba, generation);

	for (size_t i = 0; i < size / 8; i++) {
		uint64_t expected = generation ? seed + i * 0x9e3779b97f4a7c15ull : 0;

		if (words[i] == expected)
			continue;
		fprintf(stderr, "block %llu generation %u word %zu: %016llx, expected %016llx\n",
			(unsigned long long)lba, generation, i, (unsigned long long)words[i],
			(unsigned long long)expected);
		return false;
	}
	return true;
}

void ft_model_fill(struct ft_model *model, void *buf, uint64_t lba, uint32_t blocks)
{
	for (uint32_t b = 0; b < blocks; b++)
		block_fill((uint8_t *)buf + (size_t)b * model->block, model->block, lba + b,
			   ++model->generation[lba + b]);
}

bool ft_model_check(const struct ft_model *model, const void *buf, uint64_t lba, uint32_t blocks)
{
	for (uint32_t b = 0; b < blocks; b++) {
		const uint8_t *at = (const uint8_t *)buf + (size_t)b * model->block;

		if (!block_check(at, model->block, lba + b, model->generation[lba + b]))
			return false;
	}
	return true;
}

/* ---- random traffic, verified ---- */

struct request {
	struct ft_verify *verify;
	uint8_t *base, *buf;
	uint64_t lba;
	uint32_t blocks; /* 0: free */
	bool write;
};

struct ft_verify {
	struct bh_pool *pool;
	struct bh_nvme_queue *q;
	struct bh_nvme_ns *ns;
	struct ft_traffic traffic;
	struct ft_model model;
	struct request *requests;
	unsigned int in_flight, completed;
	uint64_t deadline;
};

static void request_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct request *r = arg;
	struct ft_verify *v = r->verify;
	char text[BH_NVME_STATUS_FMT_MAX];

	FT_CHECK(r->blocks != 0);
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

static bool overlaps(const struct ft_verify *v, uint64_t lba, uint32_t blocks)
{
	for (unsigned int i = 0; i < v->traffic.depth; i++) {
		const struct request *r = &v->requests[i];

		if (r->blocks && lba < r->lba + r->blocks && r->lba < lba + blocks)
			return true;
	}
	return false;
}

static int submit(struct ft_verify *v, struct request *r)
{
	size_t bytes = (size_t)r->blocks * v->model.block;
	int rc;

	if (!r->write) {
		memset(r->buf, 0xa5, bytes);
		return bh_nvme_read(v->q, v->ns, r->buf, r->lba, r->blocks, 0, request_done, r);
	}
	ft_model_fill(&v->model, r->buf, r->lba, r->blocks);
	rc = bh_nvme_write(v->q, v->ns, r->buf, r->lba, r->blocks, 0, request_done, r);
	for (uint32_t b = 0; rc && b < r->blocks; b++)
		v->model.generation[r->lba + b]--;
	return rc;
}

/* False: not now. */
static bool make_request(struct ft_verify *v, struct request *r)
{
	struct ft_traffic *t = &v->traffic;
	uint32_t blocks = (uint32_t)(ft_random(&t->seed) % t->max_blocks) + 1;
	uint64_t lba = t->first + ft_random(&t->seed) % (t->blocks - blocks + 1);
	/* An odd place in the buffer now and then: PRP1 with an offset, one more page. */
	bool odd = ft_random(&t->seed) % 4 == 0;
	int rc;

	if (overlaps(v, lba, blocks))
		return false;
	r->lba = lba;
	r->blocks = blocks;
	r->write = ft_random(&t->seed) % 2;
	r->buf = r->base + (odd ? ft_random(&t->seed) % 1024 * 4 : 0);
	v->in_flight++;
	rc = submit(v, r);
	if (rc == 0)
		return true;
	FT_EQUAL(rc, -EAGAIN);
	v->in_flight--;
	r->blocks = 0;
	return false;
}

struct ft_verify *ft_verify_begin(struct ft_host *host, struct bh_nvme_queue *q,
				  struct bh_nvme_ns *ns, const struct ft_traffic *traffic)
{
	struct ft_verify *v = calloc(1, sizeof(*v));

	FT_CHECK(v != NULL);
	v->pool = host->pool;
	v->q = q;
	v->ns = ns;
	v->traffic = *traffic;
	if (!v->traffic.blocks)
		v->traffic.blocks = bh_nvme_ns_blocks(ns);
	v->deadline = ft_deadline(50000);
	ft_model_init(&v->model, ns);
	v->requests = calloc(traffic->depth, sizeof(*v->requests));
	FT_CHECK(v->requests != NULL);
	for (unsigned int i = 0; i < traffic->depth; i++) {
		v->requests[i].verify = v;
		v->requests[i].base = bh_pool_alloc(
			v->pool, (size_t)traffic->max_blocks * v->model.block + 4096, 4096);
		FT_CHECK(v->requests[i].base != NULL);
	}
	return v;
}

bool ft_verify_step(struct ft_verify *v)
{
	const struct ft_traffic *t = &v->traffic;

	for (unsigned int i = 0; i < t->depth && v->completed + v->in_flight < t->count; i++) {
		if (v->requests[i].blocks == 0)
			make_request(v, &v->requests[i]);
	}
	FT_CHECK(bh_nvme_queue_poll(v->q, 0) >= 0);
	if (bh_now_ns() > v->deadline)
		ft_fail(__FILE__, __LINE__, "%u of %u requests after the deadline, %u in flight",
			v->completed, t->count, v->in_flight);
	return v->completed < t->count || v->in_flight > 0;
}

void ft_verify_end(struct ft_verify *v)
{
	for (unsigned int i = 0; i < v->traffic.depth; i++)
		bh_pool_free(v->pool, v->requests[i].base);
	free(v->requests);
	ft_model_fini(&v->model);
	free(v);
}

void ft_verify_random(struct ft_host *host, struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
		      const struct ft_traffic *traffic)
{
	struct ft_verify *v = ft_verify_begin(host, q, ns, traffic);

	while (ft_verify_step(v))
		;
	ft_verify_end(v);
}

/* ---- the pattern: generation 1 everywhere ---- */

#define PATTERN_BYTES (128u << 10)

static void pattern(struct ft_host *host, struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
		    uint64_t first, uint64_t blocks, bool write)
{
	uint32_t size = bh_nvme_ns_block_size(ns), most = PATTERN_BYTES / size;
	uint8_t *buf = ft_alloc(host, PATTERN_BYTES);

	for (uint64_t lba = first; lba < first + blocks; lba += most) {
		uint64_t left = first + blocks - lba;
		uint32_t n = left < most ? (uint32_t)left : most;

		for (uint32_t b = 0; write && b < n; b++)
			block_fill(buf + (size_t)b * size, size, lba + b, 1);
		FT_EQUAL(write ? ft_write(q, ns, buf, lba, n) : ft_read(q, ns, buf, lba, n), 0);
		for (uint32_t b = 0; !write && b < n; b++)
			FT_CHECK(block_check(buf + (size_t)b * size, size, lba + b, 1));
	}
	bh_pool_free(host->pool, buf);
}

void ft_pattern_write(struct ft_host *host, struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
		      uint64_t first, uint64_t blocks)
{
	pattern(host, q, ns, first, blocks, true);
}

void ft_pattern_check(struct ft_host *host, struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
		      uint64_t first, uint64_t blocks)
{
	pattern(host, q, ns, first, blocks, false);
}

/* ---- load ---- */

struct ft_load_request {
	struct ft_load *load;
	uint8_t *buf;
	uint64_t lba;
	uint32_t blocks; /* 0: free */
	bool write;
};

static void load_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct ft_load_request *r = arg;
	struct ft_load *load = r->load;
	uint32_t size = bh_nvme_ns_block_size(load->ns);
	bool ok = bh_nvme_cpl_status(cpl) == BH_NVME_SC_SUCCESS;

	if (r->blocks == 0)
		ft_fail(__FILE__, __LINE__, "a request completed twice");
	bool check = ok && !r->write && !load->no_check;
	for (uint32_t b = 0; check && b < r->blocks; b++) {
		if (!block_check(r->buf + (size_t)b * size, size, r->lba + b, 1)) {
			load->wrong++;
			break;
		}
	}
	load->failed += !ok;
	r->blocks = 0;
	load->in_flight--;
	load->completed++;
}

static int load_submit(struct ft_load *load, struct ft_load_request *r)
{
	struct ft_traffic *t = &load->traffic;
	uint32_t size = bh_nvme_ns_block_size(load->ns);
	uint32_t blocks = (uint32_t)(ft_random(&t->seed) % t->max_blocks) + 1;
	int rc;

	r->lba = t->first + ft_random(&t->seed) % (t->blocks - blocks + 1);
	r->write = !load->no_writes && ft_random(&t->seed) % 4 == 0;
	r->blocks = blocks;
	load->in_flight++;
	if (r->write) {
		for (uint32_t b = 0; b < blocks; b++)
			block_fill(r->buf + (size_t)b * size, size, r->lba + b, 1);
		rc = bh_nvme_write(load->q, load->ns, r->buf, r->lba, blocks, 0, load_done, r);
	} else {
		memset(r->buf, 0xa5, (size_t)blocks * size);
		rc = bh_nvme_read(load->q, load->ns, r->buf, r->lba, blocks, 0, load_done, r);
	}
	if (rc) {
		r->blocks = 0;
		load->in_flight--;
	} else {
		load->submitted++;
	}
	return rc;
}

void ft_load_begin(struct ft_load *load, struct ft_host *host, struct bh_nvme_queue *q,
		   struct bh_nvme_ns *ns, const struct ft_traffic *traffic)
{
	memset(load, 0, sizeof(*load));
	load->pool = host->pool;
	load->q = q;
	load->ns = ns;
	load->traffic = *traffic;
	if (!load->traffic.blocks)
		load->traffic.blocks = bh_nvme_ns_blocks(ns);
	load->requests = calloc(traffic->depth, sizeof(*load->requests));
	FT_CHECK(load->requests != NULL);
	for (unsigned int i = 0; i < traffic->depth; i++) {
		load->requests[i].load = load;
		load->requests[i].buf = bh_pool_alloc(
			load->pool, (size_t)traffic->max_blocks * bh_nvme_ns_block_size(ns), 4096);
		FT_CHECK(load->requests[i].buf != NULL);
	}
}

void ft_load_step(struct ft_load *load)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < load->traffic.depth; i++) {
		if (load->requests[i].blocks == 0)
			rc = load_submit(load, &load->requests[i]);
	}
	if (rc != -ENODEV && rc != -EAGAIN)
		FT_EQUAL(rc, 0);
	load->gone = rc == -ENODEV;
	rc = bh_nvme_queue_poll(load->q, 0);
	load->gone |= rc == -ENODEV;
	FT_CHECK(rc >= 0 || rc == -ENODEV);
}

void ft_load_drain(struct ft_load *load)
{
	FT_UNTIL(10000, load->in_flight == 0, bh_nvme_queue_poll(load->q, 0));
}

void ft_load_end(struct ft_load *load)
{
	FT_EQUAL(load->in_flight, 0);
	FT_EQUAL(load->completed, load->submitted);
	FT_EQUAL(load->wrong, 0);
	for (unsigned int i = 0; i < load->traffic.depth; i++)
		bh_pool_free(load->pool, load->requests[i].buf);
	free(load->requests);
	load->requests = NULL;
}

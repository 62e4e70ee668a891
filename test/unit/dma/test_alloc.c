/* SPDX-License-Identifier: BSD-3-Clause */
/* The pool's allocator, against a model and by its public face. */
#include <stdlib.h>
#include <string.h>

#include <bellhop/dma.h>

#include "capture.h"
#include "dma/dma.h"
#include "unit.h"

static struct bh_pool *pool_of(size_t bytes, const struct bh_log *log)
{
	struct bh_pool_opts opts;
	struct bh_pool *pool = NULL;

	bh_pool_opts_init(&opts);
	opts.bytes = bytes;
	opts.page_size = 4096;
	opts.log = log;
	CU_ASSERT_EQUAL_FATAL(bh_pool_create(&opts, &pool), 0);
	return pool;
}

static uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

enum { MODEL_GRAINS = 4096 };

/* One byte per grain: 0 free, 1 used. */
struct model {
	uint8_t grain[MODEL_GRAINS];
	struct {
		size_t off, len;
	} live[MODEL_GRAINS];
	size_t count;
};

static bool model_has_room(const struct model *m, size_t grains, size_t align)
{
	for (size_t at = 0; at + grains <= MODEL_GRAINS; at += align) {
		if (!memchr(&m->grain[at], 1, grains))
			return true;
	}
	return false;
}

static void model_alloc(struct model *m, struct bh__heap *heap, uint64_t *seed)
{
	size_t align = (size_t)1 << rnd(seed) % 7;
	size_t bytes = 1 + rnd(seed) % ((size_t)1 << (6 + rnd(seed) % 10));
	size_t grains = (bytes + 63) / 64, off;

	if (!bh__heap_alloc(heap, bytes, align * 64, &off)) {
		CU_ASSERT_FALSE(model_has_room(m, grains, align));
		return;
	}
	CU_ASSERT_EQUAL_FATAL(off % (align * 64), 0);
	off /= 64;
	CU_ASSERT_FATAL(off + grains <= MODEL_GRAINS);
	CU_ASSERT_PTR_NULL(memchr(&m->grain[off], 1, grains));
	memset(&m->grain[off], 1, grains);
	m->live[m->count].off = off;
	m->live[m->count++].len = grains;
}

static void model_free(struct model *m, struct bh__heap *heap, uint64_t *seed)
{
	size_t i = rnd(seed) % m->count, off = m->live[i].off;

	CU_ASSERT_TRUE(bh__heap_free(heap, off * 64));
	CU_ASSERT_FALSE(bh__heap_free(heap, off * 64));
	memset(&m->grain[off], 0, m->live[i].len);
	m->live[i] = m->live[--m->count];
}

static void random_use_agrees_with_a_model(void)
{
	static struct model m;
	struct bh__heap heap;
	uint64_t seed = 0x1234567;

	memset(&m, 0, sizeof(m));
	CU_ASSERT_EQUAL_FATAL(bh__heap_init(&heap, MODEL_GRAINS * 64), 0);
	for (int i = 0; i < 60000; i++) {
		size_t used = 0;
		bool grow = rnd(&seed) % 1000 < (i / 5000 % 2 ? 300u : 700u);

		if (grow || m.count == 0)
			model_alloc(&m, &heap, &seed);
		else
			model_free(&m, &heap, &seed);
		if (i % 100)
			continue;
		for (size_t g = 0; g < MODEL_GRAINS; g++)
			used += m.grain[g];
		CU_ASSERT_EQUAL(heap.free_bytes, (MODEL_GRAINS - used) * 64);
	}
	while (m.count)
		model_free(&m, &heap, &seed);
	CU_ASSERT_EQUAL(heap.free_bytes, MODEL_GRAINS * 64);
	size_t off;
	CU_ASSERT_TRUE(bh__heap_alloc(&heap, MODEL_GRAINS * 64, 64, &off)); /* one piece again */
	bh__heap_fini(&heap);
}

static void alignment_goes_up_to_the_page(void)
{
	struct bh_pool *pool = pool_of(1 << 20, NULL);

	for (size_t align = 0; align <= 4096; align = align ? align * 2 : 1) {
		void *odd = bh_pool_alloc(pool, 1, 0);
		void *p = bh_pool_alloc(pool, 100, align);

		CU_ASSERT_PTR_NOT_NULL(odd);
		CU_ASSERT_PTR_NOT_NULL(p);
		CU_ASSERT_EQUAL((uintptr_t)p % (align < 64 ? 64 : align), 0);
	}
	CU_ASSERT_PTR_NULL(bh_pool_alloc(pool, 64, 8192));
	CU_ASSERT_PTR_NULL(bh_pool_alloc(pool, 64, 96));
	CU_ASSERT_PTR_NULL(bh_pool_alloc(pool, 64, 3));
	bh_pool_destroy(pool);
}

static void impossible_sizes_are_null(void)
{
	struct bh_pool *pool = pool_of(65536, NULL);

	CU_ASSERT_PTR_NULL(bh_pool_alloc(pool, 0, 0));
	CU_ASSERT_PTR_NULL(bh_pool_alloc(pool, 65537, 0));
	CU_ASSERT_PTR_NULL(bh_pool_alloc(pool, SIZE_MAX, 0));
	CU_ASSERT_PTR_NULL(bh_pool_alloc(pool, SIZE_MAX - 63, 4096));
	CU_ASSERT_PTR_NULL(bh_pool_zalloc(pool, SIZE_MAX, 0));
	void *all = bh_pool_alloc(pool, 65536, 4096);
	CU_ASSERT_PTR_NOT_NULL(all);
	CU_ASSERT_EQUAL(bh_pool_free_bytes(pool), 0);
	CU_ASSERT_PTR_NULL(bh_pool_alloc(pool, 1, 0));
	bh_pool_free(pool, all);
	CU_ASSERT_EQUAL(bh_pool_free_bytes(pool), 65536);
	bh_pool_destroy(pool);
}

static void fresh_memory_is_zero_and_zalloc_clears(void)
{
	struct bh_pool *pool = pool_of(65536, NULL);
	uint8_t *p = bh_pool_alloc(pool, 65536, 0), sum = 0;

	for (size_t i = 0; i < 65536; i++)
		sum |= p[i];
	CU_ASSERT_EQUAL(sum, 0);
	memset(p, 0xa5, 65536);
	bh_pool_free(pool, p);
	p = bh_pool_zalloc(pool, 65000, 0);
	for (size_t i = 0; i < 65000; i++)
		sum |= p[i];
	CU_ASSERT_EQUAL(sum, 0);
	CU_ASSERT_EQUAL(p[65001], 0xa5);
	bh_pool_destroy(pool);
}

static void bad_frees_are_ignored_and_logged(void)
{
	struct capture c;
	capture_init(&c);
	struct bh_pool *pool = pool_of(65536, &c.log), *other = pool_of(65536, NULL);
	uint8_t *p = bh_pool_alloc(pool, 256, 0), *keep = bh_pool_alloc(pool, 256, 0);
	uint8_t *foreign = bh_pool_alloc(other, 256, 0);
	int on_stack;

	bh_pool_free(pool, NULL);
	CU_ASSERT_EQUAL(c.count[BH_LOG_ERROR], 0);
	bh_pool_free(pool, p);
	size_t before = bh_pool_free_bytes(pool);
	bh_pool_free(pool, p);
	bh_pool_free(pool, foreign);
	bh_pool_free(pool, &on_stack);
	bh_pool_free(pool, keep + 64);
	bh_pool_free(pool, keep + 1);
	bh_pool_free(pool, (uint8_t *)bh_pool_mem(pool)->va + 65536);
	bh_pool_free(pool, (void *)(uintptr_t)-64);
	CU_ASSERT_EQUAL(c.count[BH_LOG_ERROR], 7);
	CU_ASSERT_EQUAL(bh_pool_free_bytes(pool), before);
	bh_pool_free(pool, keep);
	CU_ASSERT_EQUAL(bh_pool_free_bytes(pool), 65536);
	bh_pool_destroy(other);
	bh_pool_destroy(pool);
}

static void metadata_survives_scribbling_over_the_pool(void)
{
	struct capture c;
	capture_init(&c);
	struct bh_pool *pool = pool_of(1 << 20, &c.log);
	const struct bh_mem *mem = bh_pool_mem(pool);
	void *p[512];

	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 512; i++)
			p[i] = bh_pool_alloc(pool, 1 + (size_t)(i * 7 + round) % 1500, 0);
		memset(mem->va, round & 1 ? 0xff : 0x41, mem->len);
		for (int i = 0; i < 512; i += 2)
			bh_pool_free(pool, p[i]);
		memset(mem->va, 0x5a, mem->len);
		for (int i = 0; i < 512; i += 2)
			p[i] = bh_pool_alloc(pool, 64, 64);
		memset(mem->va, 0x11, mem->len);
		for (int i = 0; i < 512; i++) {
			CU_ASSERT_PTR_NOT_NULL(p[i]);
			bh_pool_free(pool, p[i]);
		}
		CU_ASSERT_EQUAL(bh_pool_free_bytes(pool), mem->len);
	}
	CU_ASSERT_EQUAL(c.count[BH_LOG_ERROR], 0);
	bh_pool_destroy(pool);
}

static void many_small_allocations(void)
{
	enum { N = 65536 };
	struct bh_pool *pool = pool_of((size_t)N * 64, NULL);
	void **p = calloc(N, sizeof(*p));

	for (size_t i = 0; i < N; i++)
		p[i] = bh_pool_alloc(pool, 1, 0);
	CU_ASSERT_PTR_NOT_NULL(p[N - 1]);
	CU_ASSERT_EQUAL(bh_pool_free_bytes(pool), 0);
	for (size_t i = 0; i < N; i++)
		bh_pool_free(pool, p[(i * 40503) % N]);
	CU_ASSERT_EQUAL(bh_pool_free_bytes(pool), (size_t)N * 64);
	CU_ASSERT_PTR_NOT_NULL(bh_pool_alloc(pool, (size_t)N * 64, 4096));
	free(p);
	bh_pool_destroy(pool);
}

BH_SUITE("alloc", { "random_use_agrees_with_a_model", random_use_agrees_with_a_model },
	 { "alignment_goes_up_to_the_page", alignment_goes_up_to_the_page },
	 { "impossible_sizes_are_null", impossible_sizes_are_null },
	 { "fresh_memory_is_zero_and_zalloc_clears", fresh_memory_is_zero_and_zalloc_clears },
	 { "bad_frees_are_ignored_and_logged", bad_frees_are_ignored_and_logged },
	 { "metadata_survives_scribbling_over_the_pool",
	   metadata_survives_scribbling_over_the_pool },
	 { "many_small_allocations", many_small_allocations }, )

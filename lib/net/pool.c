/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packet pools: three pieces of memory and one mempool over them.
 *
 * The data of all packets is one DMA pool, announced to EAL and added to the space of the devices.
 * The mbufs, the mempool's ring and its caches are a heap of EAL on ordinary memory, which no device
 * reaches: a device that writes where it should not spoils packets, never pointers. mbufs point into
 * the data for good ("pinned external buffers").
 *
 * Buffers lie an odd number of cache lines apart: an even one would bring the first lines of all
 * packets, which are what every packet touches, into half or fewer of the sets of a cache.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mempool.h>

#include "net/net.h"

enum {
	NAME_BYTES = 24, /* EAL's names of 32 bytes, less what it puts in front */
	LINE = 64,
	MAX_CACHE = 512,
	DEFAULT_COUNT = 4096,
	DEFAULT_DATA = 2048,
	DEFAULT_CACHE = 256,
	MAX_DATA = 65024, /* with headroom and padding the most that 16 bits hold */
};

struct bh_net_pool {
	struct bh_env *env;
	struct bh_dma_space *space; /* that has the data pool; NULL: none of ours */
	const struct bh_log *log;
	struct bh_pool *data;
	struct rte_mempool *mempool;
	bool heap, announced;
	char name[NAME_BYTES];
};

void bh_net_pool_opts_init(struct bh_net_pool_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
	opts->count = DEFAULT_COUNT;
	opts->data_bytes = DEFAULT_DATA;
	opts->cache = DEFAULT_CACHE;
	opts->node = -1;
}

static int opts_read(const struct bh_net_pool_opts *opts, struct bh_net_pool_opts *o)
{
	bh_net_pool_opts_init(o);
	if (!opts || opts->size < offsetof(struct bh_net_pool_opts, space) ||
	    opts->size > sizeof(*opts))
		return -EINVAL;
	memcpy(o, opts, opts->size);
	if (!o->env || o->count == 0 || o->count > 1u << 24 || o->data_bytes < LINE ||
	    o->data_bytes > MAX_DATA || o->cache > MAX_CACHE || o->priv_bytes % 8 != 0 ||
	    o->priv_bytes > UINT16_MAX || (o->name && strlen(o->name) >= NAME_BYTES))
		return -EINVAL;
	/* rte_mempool_create() wants at least one and a half caches full. */
	if (o->cache * 3 / 2 > o->count)
		o->cache = o->count * 2 / 3;
	return 0;
}

static size_t stride_of(const struct bh_net_pool_opts *o)
{
	size_t lines = (o->data_bytes + RTE_PKTMBUF_HEADROOM + LINE - 1) / LINE;

	return (lines | 1) * LINE;
}

/* What the mempool takes in all: its objects with their headers, the ring, a cache per lcore. */
static size_t heap_bytes(const struct bh_net_pool_opts *o)
{
	size_t object =
		sizeof(struct rte_mbuf) + o->priv_bytes + sizeof(struct rte_mbuf_ext_shared_info);
	struct rte_mempool_objsz sizes;
	size_t ring = 2;

	rte_mempool_calc_obj_size((uint32_t)object, 0, &sizes);
	while (ring <= o->count)
		ring *= 2;
	return sizes.total_size * o->count + ring * sizeof(void *) +
	       RTE_MAX_LCORE * sizeof(struct rte_mempool_cache) + ((size_t)2 << 20);
}

static int data_create(struct bh_net_pool *p, const struct bh_net_pool_opts *o)
{
	struct bh_pool_opts data;
	const struct bh_mem *mem;
	int rc;

	bh_pool_opts_init(&data);
	data.name = p->name;
	data.bytes = stride_of(o) * o->count;
	data.node = o->node;
	data.log = o->log;
	rc = bh_pool_create(&data, &p->data);
	if (rc != 0)
		return rc;
	mem = bh_pool_mem(p->data);
	rc = bh_env_memory_announce(o->env, mem->va, mem->len, mem->page_size);
	if (rc != 0)
		return rc;
	p->announced = true;
	if (!o->space)
		return 0;
	rc = bh_dma_space_add(o->space, p->data);
	if (rc == 0)
		p->space = o->space;
	return rc;
}

static int mempool_create(struct bh_net_pool *p, const struct bh_net_pool_opts *o)
{
	struct rte_pktmbuf_extmem ext = { .elt_size = (uint16_t)stride_of(o) };
	int heap, rc;

	rc = bh_env_heap_create(o->env, p->name, heap_bytes(o), &heap);
	if (rc != 0)
		return rc;
	p->heap = true;
	/* All of the pool: nobody else's queue comes to lie in what is left, and outlives it. */
	ext.buf_ptr = bh_pool_alloc(p->data, bh_pool_free_bytes(p->data), LINE);
	if (!ext.buf_ptr)
		return -ENOMEM;
	ext.buf_iova = (uintptr_t)ext.buf_ptr;
	ext.buf_len = stride_of(o) * o->count;
	p->mempool = rte_pktmbuf_pool_create_extbuf(
		p->name, o->count, o->cache, (uint16_t)o->priv_bytes,
		(uint16_t)(o->data_bytes + RTE_PKTMBUF_HEADROOM), heap, &ext, 1);
	/* Names were settled by the heap: what is left is room. */
	return p->mempool ? 0 : -ENOMEM;
}

static void pool_free(struct bh_net_pool *p)
{
	rte_mempool_free(p->mempool);
	if (p->heap)
		bh_env_heap_destroy(p->env, p->name);
	if (p->space)
		bh_dma_space_remove(p->space, p->data);
	if (p->announced)
		bh_env_memory_withdraw(p->env, bh_pool_mem(p->data)->va, bh_pool_mem(p->data)->len);
	bh_pool_destroy(p->data);
	free(p);
}

int bh_net_pool_create(const struct bh_net_pool_opts *opts, struct bh_net_pool **out)
{
	struct bh_net_pool_opts o;
	struct bh_net_pool *p;
	int rc;

	*out = NULL;
	rc = opts_read(opts, &o);
	if (rc != 0)
		return rc;
	p = (struct bh_net_pool *)calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->env = o.env;
	p->log = o.log;
	/* An address is as unique as a name needs to be. */
	if (o.name)
		snprintf(p->name, sizeof(p->name), "%s", o.name);
	else
		snprintf(p->name, sizeof(p->name), "pkt%llx", (unsigned long long)(uintptr_t)p);
	rc = data_create(p, &o);
	if (rc == 0)
		rc = mempool_create(p, &o);
	if (rc != 0) {
		bh_log(o.log, BH_LOG_ERROR, "net", "packet pool %s of %u: %s", p->name, o.count,
		       strerror(-rc));
		pool_free(p);
		return rc;
	}
	*out = p;
	return 0;
}

void bh_net_pool_destroy(struct bh_net_pool *pool)
{
	unsigned int out;

	if (!pool)
		return;
	out = rte_mempool_in_use_count(pool->mempool);
	if (out > 0) {
		bh_log(pool->log, BH_LOG_ERROR, "net",
		       "packet pool %s: %u mbufs are not back, it is left as it is", pool->name,
		       out);
		return;
	}
	pool_free(pool);
}

struct rte_mempool *bh_net_pool_mempool(struct bh_net_pool *pool)
{
	return pool->mempool;
}

struct bh_pool *bh_net_pool_dma(struct bh_net_pool *pool)
{
	return pool->data;
}

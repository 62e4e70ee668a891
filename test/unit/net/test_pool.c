/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packet pools: where data and mbufs lie, that all of it comes back, and what is refused.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "net/net.h"

enum { COUNT = 500 };

static struct bh_env *env;
static struct bh_dma_space *space;

static int setup(void)
{
	struct bh_env_opts opts;
	int rc;

	bh_env_opts_init(&opts);
	rc = bh_env_open(&opts, &env);
	return rc != 0 ? rc : bh_dma_space_create(NULL, &space);
}

static int teardown(void)
{
	bh_dma_space_destroy(space);
	bh_env_close(env);
	return 0;
}

static void opts_of(struct bh_net_pool_opts *opts)
{
	bh_net_pool_opts_init(opts);
	opts->env = env;
	opts->space = space;
	opts->count = COUNT;
	opts->cache = 64;
}

static void data_is_in_the_pool_and_mbufs_are_not(void)
{
	struct rte_mbuf *m[COUNT];
	struct bh_net_pool_opts opts;
	const struct bh_mem *mem;
	struct bh_net_pool *pool;
	struct rte_mempool *mp;

	opts_of(&opts);
	CU_ASSERT_EQUAL_FATAL(bh_net_pool_create(&opts, &pool), 0);
	mp = bh_net_pool_mempool(pool);
	mem = bh_pool_mem(bh_net_pool_dma(pool));
	CU_ASSERT_EQUAL(bh__net_pool_room(mp), 2048);
	CU_ASSERT_EQUAL_FATAL(rte_pktmbuf_alloc_bulk(mp, m, COUNT), 0);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(mp), 0);
	for (unsigned int i = 0; i < COUNT; i++) {
		char *data = rte_pktmbuf_append(m[i], 2048);

		CU_ASSERT_PTR_NOT_NULL_FATAL(data);
		memset(data, (int)i, 2048);
		CU_ASSERT_PTR_EQUAL(bh_dma_space_find(space, data - RTE_PKTMBUF_HEADROOM,
						      2048 + RTE_PKTMBUF_HEADROOM),
				    bh_net_pool_dma(pool));
		CU_ASSERT_TRUE((char *)m[i] + sizeof(*m[i]) <= (char *)mem->va ||
			       (char *)m[i] >= (char *)mem->va + mem->len);
	}
	for (unsigned int i = 0; i < COUNT; i++)
		for (unsigned int k = 0; k < 2048; k += 2047)
			CU_ASSERT_EQUAL(*rte_pktmbuf_mtod_offset(m[i], uint8_t *, k), (uint8_t)i);
	rte_pktmbuf_free_bulk(m, COUNT);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(mp), COUNT);
	bh_net_pool_destroy(pool);
}

static void neighbours_do_not_share_cache_sets(void)
{
	struct bh_net_pool_opts opts;
	struct bh_net_pool *pool;
	struct rte_mbuf *m[64];
	uint64_t sets = 0;

	opts_of(&opts);
	CU_ASSERT_EQUAL_FATAL(bh_net_pool_create(&opts, &pool), 0);
	CU_ASSERT_EQUAL_FATAL(rte_pktmbuf_alloc_bulk(bh_net_pool_mempool(pool), m, 64), 0);
	for (unsigned int i = 0; i < 64; i++)
		sets |= 1ull << ((uintptr_t)m[i]->buf_addr / 64 % 64);
	CU_ASSERT_EQUAL(sets, UINT64_MAX);
	rte_pktmbuf_free_bulk(m, 64);
	bh_net_pool_destroy(pool);
}

static void names_are_unique_and_come_back(void)
{
	struct bh_net_pool *pool, *other;
	struct bh_net_pool_opts opts;

	opts_of(&opts);
	opts.name = "packets";
	for (int round = 0; round < 3; round++) {
		CU_ASSERT_EQUAL_FATAL(bh_net_pool_create(&opts, &pool), 0);
		CU_ASSERT_EQUAL(bh_net_pool_create(&opts, &other), -EEXIST);
		CU_ASSERT_PTR_NULL(other);
		bh_net_pool_destroy(pool);
	}
	opts.name = "a name of twenty-four ch";
	CU_ASSERT_EQUAL(bh_net_pool_create(&opts, &pool), -EINVAL);
	bh_net_pool_destroy(NULL);
}

static void sizes_from_the_smallest_to_the_largest(void)
{
	static const struct {
		unsigned int count, data, cache, priv;
	} rows[] = {
		{ 1, 64, 0, 0 },
		{ 2, 64, 1, 8 },
		{ 31, 65024, 512, 0 },
		{ 4096, 1600, 512, 64 },
	};
	struct bh_net_pool_opts opts;
	struct bh_net_pool *pool;
	struct rte_mbuf *m;

	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		opts_of(&opts);
		opts.count = rows[i].count;
		opts.data_bytes = rows[i].data;
		opts.cache = rows[i].cache;
		opts.priv_bytes = rows[i].priv;
		CU_ASSERT_EQUAL_FATAL(bh_net_pool_create(&opts, &pool), 0);
		CU_ASSERT_EQUAL(rte_mempool_avail_count(bh_net_pool_mempool(pool)), rows[i].count);
		m = rte_pktmbuf_alloc(bh_net_pool_mempool(pool));
		CU_ASSERT_PTR_NOT_NULL_FATAL(m);
		CU_ASSERT_EQUAL(rte_pktmbuf_tailroom(m), rows[i].data);
		CU_ASSERT_EQUAL(rte_pktmbuf_priv_size(bh_net_pool_mempool(pool)), rows[i].priv);
		rte_pktmbuf_free(m);
		bh_net_pool_destroy(pool);
	}
}

static void impossible_numbers_are_einval(void)
{
	struct bh_net_pool_opts opts;
	struct bh_net_pool *pool;

	opts_of(&opts);
	opts.env = NULL;
	CU_ASSERT_EQUAL(bh_net_pool_create(&opts, &pool), -EINVAL);
	opts_of(&opts);
	opts.count = 0;
	CU_ASSERT_EQUAL(bh_net_pool_create(&opts, &pool), -EINVAL);
	opts_of(&opts);
	opts.data_bytes = 65025;
	CU_ASSERT_EQUAL(bh_net_pool_create(&opts, &pool), -EINVAL);
	opts_of(&opts);
	opts.cache = 513;
	CU_ASSERT_EQUAL(bh_net_pool_create(&opts, &pool), -EINVAL);
	opts_of(&opts);
	opts.priv_bytes = 4;
	CU_ASSERT_EQUAL(bh_net_pool_create(&opts, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_net_pool_create(NULL, &pool), -EINVAL);
}

/* What is missing could still be written to by a device: nothing is torn down. */
static void a_pool_with_packets_out_stays(void)
{
	struct bh_net_pool_opts opts;
	struct bh_net_pool *pool;
	struct rte_mbuf *m;

	opts_of(&opts);
	CU_ASSERT_EQUAL_FATAL(bh_net_pool_create(&opts, &pool), 0);
	m = rte_pktmbuf_alloc(bh_net_pool_mempool(pool));
	bh_net_pool_destroy(pool);
	CU_ASSERT_PTR_NOT_NULL(bh_dma_space_find(space, rte_pktmbuf_mtod(m, void *), 64));
	rte_pktmbuf_free(m);
	bh_net_pool_destroy(pool);
}

BH_SUITE_FIXTURE("net_pool", setup, teardown,
		 { "data_is_in_the_pool_and_mbufs_are_not", data_is_in_the_pool_and_mbufs_are_not },
		 { "neighbours_do_not_share_cache_sets", neighbours_do_not_share_cache_sets },
		 { "names_are_unique_and_come_back", names_are_unique_and_come_back },
		 { "sizes_from_the_smallest_to_the_largest",
		   sizes_from_the_smallest_to_the_largest },
		 { "impossible_numbers_are_einval", impossible_numbers_are_einval },
		 { "a_pool_with_packets_out_stays", a_pool_with_packets_out_stays }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues and lists in the controller memory buffer of our own target, by our own driver. */
#include <stdio.h>
#include <string.h>

#include "ft.h"

static const struct ft_traffic some = { .max_blocks = 300, .depth = 24, .count = 2000, .seed = 11 };

static void verify(struct ft_host *host, bool in_cmb, uint64_t seed)
{
	struct ft_traffic traffic = some;
	struct bh_nvme_queue *q = ft_queue(host, 31);

	traffic.seed = seed;
	traffic.first = 8192; /* nobody writes there but this */
	traffic.blocks = 8192;
	FT_EQUAL(bh_nvme_queue_in_cmb(q), in_cmb);
	ft_verify_random(host, q, host->ns, &traffic);
	bh_nvme_queue_destroy(q);
}

static void pass(const char *options, const struct ft_host_opts *opts)
{
	struct bh_nvme_cmb_info info;
	struct ft_target target;
	struct ft_host host;
	char rest[128];

	snprintf(rest, sizeof(rest), "ns=ram:16M,mdts=64K,cmb=1M%s", options);
	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], opts);
	FT_EQUAL(bh_nvme_cmb_info(host.nvme, &info), 0);
	FT_CHECK(info.bytes == 1 << 20 && info.bar == 2 && info.sqs && info.lists && info.usable);
	FT_EQUAL(info.attr, BH_ATTR_MEMORY);
	verify(&host, true, 11);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void entries_and_prp_lists(void)
{
	const struct ft_host_opts opts = { .cmb = BH_NVME_CMB_REQUIRE,
					   .cmb_lists = true,
					   .no_sgl = true };

	pass("", &opts);
	pass(",doorbells=trapped", &opts);
}

static void entries_and_sgls(void)
{
	const struct ft_host_opts opts = { .cmb = BH_NVME_CMB_REQUIRE, .cmb_lists = true };

	pass("", &opts);
}

/* The completion queue and the data by messages or files, the entries in shared memory. */
static void entries_beside_unmapped_memory(void)
{
	struct ft_host_opts opts = { .cmb = BH_NVME_CMB_REQUIRE,
				     .access = BH_DMA_ACCESS_MESSAGE,
				     .quiet = true };

	pass("", &opts);
	opts.access = BH_DMA_ACCESS_FILE_IO;
	opts.cmb_lists = opts.no_sgl = true;
	pass("", &opts);
}

static void default_leaves_it_alone(void)
{
	struct ft_target target;
	struct ft_host host;

	ft_target_serve(&target, "ns=ram:16M,cmb=1M");
	ft_host_open(&host, target.socket[0], NULL);
	verify(&host, false, 3);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void resets_and_new_pools(void)
{
	const struct ft_host_opts opts = { .cmb = BH_NVME_CMB_REQUIRE,
					   .cmb_lists = true,
					   .no_sgl = true };
	struct bh_pool_opts popts;
	struct bh_pool *pool = NULL;
	struct ft_target target;
	struct ft_host host;
	unsigned int i;

	ft_target_serve(&target, "ns=ram:16M,cmb=1M");
	ft_host_open(&host, target.socket[0], &opts);
	struct bh_nvme_queue *q = ft_queue(&host, 31);
	ft_pattern_write(&host, q, host.ns, 0, 4096);
	bh_pool_opts_init(&popts);
	popts.bytes = 1 << 20;
	for (i = 0; i < 5; i++) {
		/* The client's table changes around the buffer. */
		FT_EQUAL(bh_pool_create(&popts, &pool), 0);
		FT_EQUAL(bh_dma_space_add(host.space, pool), 0);
		ft_pattern_check(&host, q, host.ns, 0, 4096);
		FT_EQUAL(bh_nvme_reset(host.nvme), 0);
		(void)bh_nvme_queue_poll(q, 0);
		FT_UNTIL(10000, bh_nvme_poll(host.nvme) == 0, (void)0);
		FT_CHECK(bh_nvme_queue_in_cmb(q));
		ft_pattern_check(&host, q, host.ns, 0, 4096);
		FT_EQUAL(bh_dma_space_remove(host.space, pool), 0);
		bh_pool_destroy(pool);
	}
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void a_small_one_goes_round(void)
{
	const struct ft_host_opts opts = { .cmb = BH_NVME_CMB_ON };
	struct ft_target target;
	struct ft_host host;

	ft_target_serve(&target, "ns=ram:16M,cmb=4K");
	ft_host_open(&host, target.socket[0], &opts);
	struct bh_nvme_queue *first = ft_queue(&host, 31), *second = ft_queue(&host, 31);
	FT_CHECK(bh_nvme_queue_in_cmb(first) && !bh_nvme_queue_in_cmb(second));
	ft_pattern_write(&host, first, host.ns, 0, 2048);
	ft_pattern_check(&host, second, host.ns, 0, 2048);
	bh_nvme_queue_destroy(first);
	verify(&host, true, 5);
	bh_nvme_queue_destroy(second);
	ft_host_close(&host);
	ft_target_stop(&target);
}

/* What one client leaves there is nothing to the next. */
static void the_next_client_finds_zeros(void)
{
	const struct ft_host_opts on = { .cmb = BH_NVME_CMB_REQUIRE },
				  off = { .cmb = BH_NVME_CMB_OFF };
	struct ft_target target;
	struct bh_map map;
	struct ft_host host;
	size_t i;

	ft_target_serve(&target, "ns=ram:16M,cmb=64K");
	ft_host_open(&host, target.socket[0], &on);
	verify(&host, true, 7);
	FT_EQUAL(bh_device_map_bar(host.dev, 2, 0, 65536, BH_ATTR_WC, 0, &map), 0);
	memset(map.va, 0x5a, 65536);
	bh_device_unmap_bar(host.dev, &map);
	ft_host_close(&host);
	ft_host_open(&host, target.socket[0], &off);
	FT_EQUAL(bh_device_map_bar(host.dev, 2, 0, 65536, BH_ATTR_WC, 0, &map), 0);
	for (i = 0; i < 65536 && !map.va[i]; i++)
		;
	FT_EQUAL(i, 65536);
	bh_device_unmap_bar(host.dev, &map);
	ft_host_close(&host);
	ft_target_stop(&target);
}

FT_MAIN({ "entries_and_prp_lists", entries_and_prp_lists, 0 },
	{ "entries_and_sgls", entries_and_sgls, 0 },
	{ "entries_beside_unmapped_memory", entries_beside_unmapped_memory, 0 },
	{ "default_leaves_it_alone", default_leaves_it_alone, 0 },
	{ "resets_and_new_pools", resets_and_new_pools, 0 },
	{ "a_small_one_goes_round", a_small_one_goes_round, 0 },
	{ "the_next_client_finds_zeros", the_next_client_finds_zeros, 0 }, )

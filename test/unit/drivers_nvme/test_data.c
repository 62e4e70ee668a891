/* SPDX-License-Identifier: BSD-3-Clause */
/* PRP and SGL building, without a device: iova = va + DELTA within two "pools". */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nvme/data.h"
#include "unit.h"

#define DELTA 0x700000000000ull
#define PAGE 4096u
#define POOL_BYTES (8u << 20)

static struct bh_iova_map map;
static struct bh_iova_cache cache;
static const struct bh__xlate x = { &map, &cache };
static uint8_t *pool, *other;
static uint64_t lists[4096] __attribute__((aligned(4096)));

static int setup(void)
{
	pool = aligned_alloc(PAGE, POOL_BYTES);
	other = aligned_alloc(PAGE, POOL_BYTES);
	memset(&cache, 0, sizeof(cache));
	memset(lists, 0xee, sizeof(lists));
	return bh_iova_map_init(&map) || bh_iova_map_add(&map, pool, POOL_BYTES, DELTA) ||
	       bh_iova_map_add(&map, other, POOL_BYTES, 2 * DELTA);
}

static int teardown(void)
{
	bh_iova_map_fini(&map);
	free(pool);
	free(other);
	return 0;
}

static struct bh__list list_of(size_t bytes)
{
	return (struct bh__list){ lists, 0x10000000, bytes };
}

/* What the builder says of an iovec, checked page by page against the plain definition. */
static void check_prp(const struct iovec *iov, unsigned int n, uint64_t len, size_t list_bytes)
{
	struct bh__cursor at = { iov, n, 0 };
	struct bh__list list = list_of(list_bytes);
	struct bh__dptr d;
	uint64_t want, done = 0, left = 0, iova = 0;
	unsigned int pages = 0, i = 0, k = 0;

	CU_ASSERT_EQUAL_FATAL(bh__prp_build(&x, &at, len, PAGE, &list, &d), 0);
	CU_ASSERT_EQUAL(d.psdt, 0);
	for (; done < len; pages++) {
		uint64_t part;

		while (!left) {
			uint8_t *p = iov[i].iov_base;

			iova = p >= pool && p < pool + POOL_BYTES
				       ? DELTA + (uint64_t)(p - pool)
				       : 2 * DELTA + (uint64_t)(p - other);
			left = iov[i++].iov_len;
		}
		want = iova;
		/* The whole of this page, over as many pieces as continue in it. */
		for (part = PAGE - (iova & (PAGE - 1)); part && done < len;) {
			uint64_t m = part < left ? part : left;

			m = m < len - done ? m : len - done;
			done += m;
			left -= m;
			iova += m;
			part -= m;
			if (!left && part && done < len) {
				left = iov[i].iov_len;
				i++;
			}
		}
		if (pages == 0) {
			CU_ASSERT_EQUAL(d.w[0], want);
			continue;
		}
		if (pages == 1 && done >= len) {
			CU_ASSERT_EQUAL(d.w[1], want);
			continue;
		}
		CU_ASSERT_EQUAL(d.w[1], list.iova);
		if (k % 512 == 511 && done < len) {
			CU_ASSERT_EQUAL(lists[k], list.iova + 8 * (k + 1));
			k++;
		}
		CU_ASSERT_EQUAL(lists[k], want);
		k++;
	}
	if (pages == 1)
		CU_ASSERT_EQUAL(d.w[1], 0);
	/* Nothing was written past the list. */
	CU_ASSERT_EQUAL(lists[k], 0xeeeeeeeeeeeeeeeeull);
	memset(lists, 0xee, sizeof(lists));
}

static void one_piece_at_any_offset(void)
{
	static const size_t offs[] = { 0, 4, 2048, 4092 };
	static const size_t lens[] = {
		4, 512, 4092, 4096, 4100, 8192, 8196, 12288, 131072, 2097152
	};
	size_t i, j;

	for (i = 0; i < 4; i++)
		for (j = 0; j < 10; j++) {
			struct iovec v = { pool + offs[i], lens[j] };

			check_prp(&v, 1, lens[j], 16384);
		}
}

static void the_list_chains_at_its_page_ends(void)
{
	/* 513 list entries: 511, the chain, 2; 512 exactly: no chain. */
	struct iovec v = { pool, 514u * PAGE };

	check_prp(&v, 1, 513u * PAGE, 16384);
	check_prp(&v, 1, 514u * PAGE, 16384);
	v.iov_len = 1025u * PAGE;
	check_prp(&v, 1, v.iov_len, 16384);
}

static void contiguous_equals_scattered(void)
{
	struct bh__list list = list_of(16384);
	struct iovec v = { pool + 20, 700u * PAGE };
	struct bh__cursor at = { &v, 1, 0 };
	uint64_t copy[1024];
	struct bh__dptr d;

	CU_ASSERT_EQUAL(bh__prp_contig(&list, DELTA + 20, v.iov_len, PAGE), list.iova);
	memcpy(copy, lists, sizeof(copy));
	memset(lists, 0xee, sizeof(lists));
	CU_ASSERT_EQUAL(bh__prp_build(&x, &at, v.iov_len, PAGE, &list, &d), 0);
	CU_ASSERT_EQUAL(memcmp(copy, lists, sizeof(copy)), 0);
}

static void pieces_meeting_at_page_ends_are_one_command(void)
{
	struct iovec v[4] = { { pool + 1024, 3072 },
			      { other, 8192 },
			      { pool + 65536, 4096 },
			      { other + 65536, 512 } };
	struct bh__cursor at = { v, 4, 0 };
	unsigned int pages;

	CU_ASSERT_EQUAL(bh__prp_measure(&x, at, 1 << 20, PAGE, 100, &pages), 15872);
	CU_ASSERT_EQUAL(pages, 5);
	check_prp(v, 4, 15872, 4096);
}

static void pieces_that_continue_each_other_are_one(void)
{
	struct iovec v[4] = { { pool + 100, 1000 },
			      { pool + 1100, 5000 },
			      { pool + 6100, 0 },
			      { pool + 6100, 4096 } };
	struct bh__cursor at = { v, 4, 0 };
	unsigned int pages;

	CU_ASSERT_EQUAL(bh__prp_measure(&x, at, 1 << 20, PAGE, 100, &pages), 10096);
	CU_ASSERT_EQUAL(pages, 3);
	check_prp(v, 4, 10096, 4096);
	CU_ASSERT_EQUAL(bh__sgl_measure(&x, at, 1 << 20, 100, &pages), 10096);
	CU_ASSERT_EQUAL(pages, 1);
}

static void illegal_joints_end_the_command(void)
{
	struct iovec v[3] = { { pool, 4096 }, { other + 512, 512 }, { pool + 8192, 4096 } };
	struct bh__cursor at = { v, 3, 0 };
	unsigned int pages;

	CU_ASSERT_EQUAL(bh__prp_measure(&x, at, 1 << 20, PAGE, 100, &pages), 4096);
	v[1].iov_base = other;
	CU_ASSERT_EQUAL(bh__prp_measure(&x, at, 1 << 20, PAGE, 100, &pages), 4608);
	at.iov++;
	at.iovcnt--;
	CU_ASSERT_EQUAL(bh__prp_measure(&x, at, 1 << 20, PAGE, 100, &pages), 512);
	CU_ASSERT_EQUAL(bh__sgl_measure(&x, at, 1 << 20, 100, &pages), 4608);
	CU_ASSERT_EQUAL(pages, 2);
}

static void limits_end_the_command(void)
{
	struct iovec v[3] = { { pool + 512, 7680 }, { other, 8192 }, { pool + 65536, 8192 } };
	struct bh__cursor at = { v, 3, 0 };
	unsigned int n;

	CU_ASSERT_EQUAL(bh__prp_measure(&x, at, 10000, PAGE, 100, &n), 10000);
	CU_ASSERT_EQUAL(n, 3);
	CU_ASSERT_EQUAL(bh__prp_measure(&x, at, 1 << 20, PAGE, 2, &n), 7680);
	CU_ASSERT_EQUAL(bh__prp_measure(&x, at, 1 << 20, PAGE, 3, &n), 7680 + 4096);
	CU_ASSERT_EQUAL(n, 3);
	CU_ASSERT_EQUAL(bh__prp_measure(&x, at, 1 << 20, PAGE, 1, &n), 3584);
	CU_ASSERT_EQUAL(bh__sgl_measure(&x, at, 1 << 20, 2, &n), 7680 + 8192);
	CU_ASSERT_EQUAL(n, 2);
	/* A page begun by one piece and gone on with by the next is counted once. */
	v[1].iov_base = pool + 8192;
	v[0].iov_len = 7680 - 256;
	v[1].iov_base = pool + 512 + 7680 - 256;
	CU_ASSERT_EQUAL(bh__prp_measure(&x, at, 1 << 20, PAGE, 2, &n), 7680);
	CU_ASSERT_EQUAL(bh__prp_measure(&x, at, 1 << 20, PAGE, 3, &n), 7680 + 4096);
}

static void unreachable_or_misaligned_is_efault(void)
{
	static uint8_t outside[4096] __attribute__((aligned(4)));
	struct iovec v[2] = { { pool, 512 }, { outside, 512 } };
	struct bh__cursor at = { v, 2, 0 };
	unsigned int n;

	CU_ASSERT_EQUAL(bh__prp_measure(&x, at, 4096, PAGE, 9, &n), -EFAULT);
	CU_ASSERT_EQUAL(bh__sgl_measure(&x, at, 4096, 9, &n), -EFAULT);
	CU_ASSERT_EQUAL(bh__prp_measure(&x, at, 512, PAGE, 9, &n), 512);
	v[1].iov_base = pool + 513;
	CU_ASSERT_EQUAL(bh__sgl_measure(&x, at, 4096, 9, &n), -EFAULT);
	v[1] = (struct iovec){ pool + 512, 511 };
	CU_ASSERT_EQUAL(bh__sgl_measure(&x, at, 4096, 9, &n), -EFAULT);
	/* Over the end of a pool. */
	v[1] = (struct iovec){ pool + POOL_BYTES - 256, 512 };
	CU_ASSERT_EQUAL(bh__sgl_measure(&x, at, 4096, 9, &n), -EFAULT);
}

static void sgl_of_one_piece_is_in_the_command(void)
{
	struct iovec v[2] = { { pool + 8, 100000 }, { pool + 100008, 24 } };
	struct bh__cursor at = { v, 2, 0 };
	struct bh__list list = list_of(512);
	struct bh__dptr d;

	CU_ASSERT_EQUAL(bh__sgl_build(&x, &at, 100024, &list, &d), 0);
	CU_ASSERT_EQUAL(d.psdt, 0x40);
	CU_ASSERT_EQUAL(d.w[0], DELTA + 8);
	CU_ASSERT_EQUAL(d.w[1], 100024);
	CU_ASSERT_EQUAL(lists[0], 0xeeeeeeeeeeeeeeeeull);
}

static void sgl_of_many_pieces_is_a_last_segment(void)
{
	struct iovec v[3] = { { pool + 8, 512 }, { other + 4, 1024 }, { pool + 4096, 512 } };
	struct bh__cursor at = { v, 3, 0 };
	struct bh__list list = list_of(48);
	struct bh__dptr d;

	CU_ASSERT_EQUAL(bh__sgl_build(&x, &at, 2000, &list, &d), 0);
	CU_ASSERT_EQUAL(d.w[0], list.iova);
	CU_ASSERT_EQUAL(d.w[1], 48 | 0x30ull << 56);
	CU_ASSERT_EQUAL(lists[0], DELTA + 8);
	CU_ASSERT_EQUAL(lists[1], 512);
	CU_ASSERT_EQUAL(lists[2], 2 * DELTA + 4);
	CU_ASSERT_EQUAL(lists[3], 1024);
	CU_ASSERT_EQUAL(lists[4], DELTA + 4096);
	CU_ASSERT_EQUAL(lists[5], 464);
	/* The cursor stands in the last piece. */
	CU_ASSERT_EQUAL(at.iovcnt, 1);
	CU_ASSERT_EQUAL(at.off, 464);
	CU_ASSERT_EQUAL(bh__cursor_left(&at), 48);
}

static void list_sizes(void)
{
	CU_ASSERT_EQUAL(bh__prp_list_bytes(4096, PAGE), 64);
	CU_ASSERT_EQUAL(bh__prp_list_bytes(131072, PAGE), 256);
	CU_ASSERT_EQUAL(bh__prp_list_bytes(2u << 20, PAGE), 4096);
	CU_ASSERT_EQUAL(bh__prp_list_bytes((2u << 20) + PAGE, PAGE), 8192);
	CU_ASSERT_EQUAL(bh__prp_list_bytes(4u << 20, PAGE), 3 * PAGE);
	CU_ASSERT_EQUAL(bh__prp_list_entries(4096, PAGE), 512);
	CU_ASSERT_EQUAL(bh__prp_list_entries(8192, PAGE), 511 + 512);
}

/* Random vectors: measured, cut to blocks, built and checked, until all bytes are out. */
static void random_vectors(void)
{
	unsigned int seed = 1, round, i;

	for (round = 0; round < 2000; round++) {
		struct iovec v[12];
		unsigned int n = 1 + rand_r(&seed) % 12, pages, max = 1 + rand_r(&seed) % 20;
		struct bh__cursor at = { v, n, 0 };
		struct bh__list list = list_of(4096);
		struct bh__dptr d;
		int64_t can;

		for (i = 0; i < n; i++) {
			size_t page = rand_r(&seed) % 256, off = rand_r(&seed) % 3 ? 0 : 512;

			v[i].iov_base = (rand_r(&seed) % 2 ? pool : other) + page * PAGE + off;
			v[i].iov_len = rand_r(&seed) % 3 ? PAGE - off : 512u * (rand_r(&seed) % 20);
			if (i && rand_r(&seed) % 2)
				v[i].iov_base = (uint8_t *)v[i - 1].iov_base + v[i - 1].iov_len;
		}
		while (bh__cursor_left(&at)) {
			can = bh__prp_measure(&x, at, 65536, PAGE, max, &pages);
			CU_ASSERT_FATAL(can > 0 && pages <= max);
			can -= can % 512;
			CU_ASSERT_FATAL(can > 0);
			CU_ASSERT_EQUAL_FATAL(
				bh__prp_build(&x, &at, (uint64_t)can, PAGE, &list, &d), 0);
		}
	}
}

BH_SUITE_FIXTURE("nvme_data", setup, teardown,
		 { "one_piece_at_any_offset", one_piece_at_any_offset },
		 { "the_list_chains_at_its_page_ends", the_list_chains_at_its_page_ends },
		 { "contiguous_equals_scattered", contiguous_equals_scattered },
		 { "pieces_meeting_at_page_ends_are_one_command",
		   pieces_meeting_at_page_ends_are_one_command },
		 { "pieces_that_continue_each_other_are_one",
		   pieces_that_continue_each_other_are_one },
		 { "illegal_joints_end_the_command", illegal_joints_end_the_command },
		 { "limits_end_the_command", limits_end_the_command },
		 { "unreachable_or_misaligned_is_efault", unreachable_or_misaligned_is_efault },
		 { "sgl_of_one_piece_is_in_the_command", sgl_of_one_piece_is_in_the_command },
		 { "sgl_of_many_pieces_is_a_last_segment", sgl_of_many_pieces_is_a_last_segment },
		 { "list_sizes", list_sizes }, { "random_vectors", random_vectors }, )

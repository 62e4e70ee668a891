/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "io_vfio/dev.h"
#include "unit.h"

#define TIB (1ull << 40)

/* A 39-bit IOMMU with the window for message-signalled interrupts left out. */
static struct bh_iova_window narrow[] = {
	{ 0, 0xfedfffff },
	{ 0xfef00000, (1ull << 39) - 1 },
};
static const struct io_vfio_windows windows = { narrow, 2, 4096 };

static struct bh_range_map used;

static int setup(void)
{
	bh_range_map_init(&used);
	return 0;
}

static int teardown(void)
{
	bh_range_map_fini(&used);
	return 0;
}

static uint64_t choose(uint64_t va, uint64_t len, uint64_t align)
{
	uint64_t iova = 0;
	int rc = io_vfio_iova_choose(&windows, &used, va, len, align, &iova);

	return rc == 0 ? iova : (uint64_t)rc;
}

static void va_inside_a_window_is_the_iova(void)
{
	CU_ASSERT_EQUAL(choose(0x7f0000000, 0x200000, 4096), 0x7f0000000);
	/* Up to the last byte. */
	CU_ASSERT_EQUAL(choose((1ull << 39) - 0x200000, 0x200000, 4096), (1ull << 39) - 0x200000);
	CU_ASSERT_EQUAL(choose(0xfee00000 - 0x1000, 0x1000, 4096), 0xfee00000 - 0x1000);
}

static void va_above_the_windows_goes_low(void)
{
	CU_ASSERT_EQUAL(choose(TIB, 0x200000, 0x200000), 0x200000);
	CU_ASSERT_EQUAL(choose(TIB, 0x200000, 4096), 0x100000);
}

static void va_over_the_hole_moves(void)
{
	CU_ASSERT_EQUAL(choose(0xfee00000 - 0x1000, 0x2000, 4096), 0x100000);
	CU_ASSERT_EQUAL(choose(0xfee00000, 0x1000, 4096), 0x100000);
}

static void what_is_used_is_passed_over(void)
{
	CU_ASSERT_EQUAL(bh_range_map_insert(&used, 0x100000, 0x1000, NULL), 0);
	CU_ASSERT_EQUAL(bh_range_map_insert(&used, 0x102000, 0x1000, NULL), 0);
	CU_ASSERT_EQUAL(choose(TIB, 0x1000, 4096), 0x101000);
	CU_ASSERT_EQUAL(choose(TIB, 0x2000, 4096), 0x103000);
	/* A pool whose va is taken by another one's iova. */
	CU_ASSERT_EQUAL(choose(0x102000, 0x1000, 4096), 0x101000);
}

static void large_pools_need_a_large_window(void)
{
	CU_ASSERT_EQUAL(choose(TIB, 8ull << 30, 1 << 30), 4ull << 30);
	CU_ASSERT_EQUAL(choose(TIB, TIB, 4096), (uint64_t)-ENOSPC);
}

static void nothing_excluded_is_everything(void)
{
	const struct io_vfio_windows any = { NULL, 0, 4096 };
	uint64_t iova = 0;

	CU_ASSERT_EQUAL(io_vfio_iova_choose(&any, &used, TIB, 4096, 4096, &iova), 0);
	CU_ASSERT_EQUAL(iova, TIB);
}

/* An IOMMU with larger pages than the process. */
static void va_that_is_not_aligned_moves(void)
{
	const struct io_vfio_windows large = { narrow, 2, 65536 };
	uint64_t iova = 0;

	CU_ASSERT_EQUAL(io_vfio_iova_choose(&large, &used, 0x7f0001000, 65536, 4096, &iova), 0);
	CU_ASSERT_EQUAL(iova, 0x100000);
}

static void ranges_that_wrap_are_refused(void)
{
	uint64_t iova;

	CU_ASSERT_EQUAL(io_vfio_iova_choose(&windows, &used, UINT64_MAX, 2, 4096, &iova), -EINVAL);
	CU_ASSERT_EQUAL(io_vfio_iova_choose(&windows, &used, TIB, 0, 4096, &iova), -EINVAL);
}

BH_SUITE_FIXTURE("iova", setup, teardown,
		 { "va_inside_a_window_is_the_iova", va_inside_a_window_is_the_iova },
		 { "va_above_the_windows_goes_low", va_above_the_windows_goes_low },
		 { "va_over_the_hole_moves", va_over_the_hole_moves },
		 { "what_is_used_is_passed_over", what_is_used_is_passed_over },
		 { "large_pools_need_a_large_window", large_pools_need_a_large_window },
		 { "nothing_excluded_is_everything", nothing_excluded_is_everything },
		 { "va_that_is_not_aligned_moves", va_that_is_not_aligned_moves },
		 { "ranges_that_wrap_are_refused", ranges_that_wrap_are_refused }, )

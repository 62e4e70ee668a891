/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "io_vfio/dev.h"
#include "unit.h"

static uint8_t info[128];

static void put(uint32_t at, uint16_t id, uint32_t next)
{
	const struct vfio_info_cap_header header = { .id = id, .version = 1, .next = next };

	memcpy(info + at, &header, sizeof(header));
}

static const void *find(uint32_t first, uint16_t id, size_t min)
{
	size_t room = 0;

	return io_vfio_cap_find(info, sizeof(info), first, id, min, &room);
}

static void found_by_its_id(void)
{
	put(16, 7, 40);
	put(40, 1, 64);
	put(64, 3, 0);
	CU_ASSERT_PTR_EQUAL(find(16, 7, 8), info + 16);
	CU_ASSERT_PTR_EQUAL(find(16, 1, 8), info + 40);
	CU_ASSERT_PTR_EQUAL(find(16, 3, 64), info + 64);
	CU_ASSERT_PTR_NULL(find(16, 2, 8));
	CU_ASSERT_PTR_NULL(find(0, 7, 8));
}

static void room_says_how_much_there_is(void)
{
	size_t room = 0;

	put(100, 5, 0);
	CU_ASSERT_PTR_EQUAL(io_vfio_cap_find(info, sizeof(info), 100, 5, 8, &room), info + 100);
	CU_ASSERT_EQUAL(room, 28);
	CU_ASSERT_PTR_NULL(find(100, 5, 29));
}

static void out_of_bounds_ends_it(void)
{
	put(16, 7, 124);
	CU_ASSERT_PTR_NULL(find(16, 1, 8));
	put(16, 7, UINT32_MAX);
	CU_ASSERT_PTR_NULL(find(16, 1, 8));
	CU_ASSERT_PTR_NULL(find(sizeof(info), 1, 8));
}

static void loops_end(void)
{
	put(16, 7, 40);
	put(40, 6, 16);
	CU_ASSERT_PTR_NULL(find(16, 1, 8));
}

BH_SUITE("caps", { "found_by_its_id", found_by_its_id },
	 { "room_says_how_much_there_is", room_says_how_much_there_is },
	 { "out_of_bounds_ends_it", out_of_bounds_ends_it }, { "loops_end", loops_end }, )

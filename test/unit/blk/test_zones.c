/* SPDX-License-Identifier: BSD-3-Clause */
/* Zones: which state allows what, limits, write pointers, reports; and what a broken table becomes. */
#include <stdlib.h>
#include <string.h>

#include <bellhop/nvme_spec.h>

#include "blk/zones.h"
#include "unit.h"

#define ZONES 8u
#define SIZE 100u
#define CAPACITY 80u

static struct blk_zone table[ZONES];
static struct bh_zones *z;

static void make(uint32_t max_open, uint32_t max_active)
{
	const struct bh_zone_geometry g = { .zone_blocks = SIZE,
					    .capacity = CAPACITY,
					    .zones = ZONES,
					    .max_open = max_open,
					    .max_active = max_active };

	blk_zones_free(z);
	z = blk_zones_new(&g, table);
	CU_ASSERT_PTR_NOT_NULL_FATAL(z);
}

static int setup(void)
{
	memset(table, 0, sizeof(table));
	return 0;
}

static int teardown(void)
{
	blk_zones_free(z);
	z = NULL;
	return 0;
}

static uint16_t write_at(uint64_t lba, uint32_t blocks)
{
	return bh_zones_take(z, &lba, blocks, false);
}

static uint16_t manage(uint8_t action, uint64_t zone)
{
	return bh_zones_manage(z, action, zone * SIZE, false);
}

static void writes_follow_each_other(void)
{
	uint64_t at = SIZE;

	make(0, 0);
	CU_ASSERT_EQUAL(write_at(SIZE + 1, 1), BH_NVME_SC_ZONE_INVALID_WRITE);
	CU_ASSERT_EQUAL(write_at(SIZE, 10), 0);
	CU_ASSERT_EQUAL(table[1].state, BH_NVME_ZONE_STATE_IMPLICITLY_OPEN);
	CU_ASSERT_EQUAL(write_at(SIZE, 10), BH_NVME_SC_ZONE_INVALID_WRITE);
	CU_ASSERT_EQUAL(bh_zones_take(z, &at, 5, true), 0);
	CU_ASSERT_EQUAL(at, SIZE + 10);
	at = SIZE + 15;
	CU_ASSERT_EQUAL(bh_zones_take(z, &at, 5, true), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(write_at(SIZE + 15, CAPACITY), BH_NVME_SC_ZONE_BOUNDARY_ERROR);
	CU_ASSERT_EQUAL(write_at(SIZE + 15, CAPACITY - 15), 0);
	CU_ASSERT_EQUAL(table[1].state, BH_NVME_ZONE_STATE_FULL);
	CU_ASSERT_EQUAL(write_at(SIZE + CAPACITY, 1), BH_NVME_SC_ZONE_IS_FULL);
	CU_ASSERT_EQUAL(write_at((uint64_t)ZONES * SIZE, 1), BH_NVME_SC_LBA_OUT_OF_RANGE);
}

static void failures_give_places_back(void)
{
	make(0, 0);
	CU_ASSERT_EQUAL(write_at(0, 10), 0);
	CU_ASSERT_EQUAL(write_at(10, 10), 0);
	bh_zones_undo(z, 0, 10); /* not the last */
	CU_ASSERT_EQUAL(table[0].wp, 20);
	bh_zones_undo(z, 10, 10);
	CU_ASSERT_EQUAL(table[0].wp, 10);
}

static void transitions(void)
{
	uint32_t blocks;

	make(0, 0);
	CU_ASSERT_EQUAL(manage(BH_NVME_ZONE_ACTION_CLOSE, 0), BH_NVME_SC_ZONE_INVALID_TRANSITION);
	CU_ASSERT_EQUAL(manage(BH_NVME_ZONE_ACTION_OPEN, 0), 0);
	CU_ASSERT_EQUAL(table[0].state, BH_NVME_ZONE_STATE_EXPLICITLY_OPEN);
	CU_ASSERT_EQUAL(write_at(0, 1), 0);
	CU_ASSERT_EQUAL(table[0].state, BH_NVME_ZONE_STATE_EXPLICITLY_OPEN);
	CU_ASSERT_EQUAL(manage(BH_NVME_ZONE_ACTION_CLOSE, 0), 0);
	CU_ASSERT_EQUAL(manage(BH_NVME_ZONE_ACTION_CLOSE, 0), 0);
	CU_ASSERT_EQUAL(table[0].state, BH_NVME_ZONE_STATE_CLOSED);
	CU_ASSERT_EQUAL(manage(BH_NVME_ZONE_ACTION_OFFLINE, 0), BH_NVME_SC_ZONE_INVALID_TRANSITION);
	CU_ASSERT_EQUAL(manage(BH_NVME_ZONE_ACTION_FINISH, 0), 0);
	CU_ASSERT_EQUAL(manage(BH_NVME_ZONE_ACTION_FINISH, 0), 0);
	CU_ASSERT_EQUAL(manage(BH_NVME_ZONE_ACTION_OPEN, 0), BH_NVME_SC_ZONE_INVALID_TRANSITION);
	CU_ASSERT_EQUAL(manage(BH_NVME_ZONE_ACTION_CLOSE, 0), BH_NVME_SC_ZONE_INVALID_TRANSITION);
	CU_ASSERT_EQUAL(bh_zones_reset_begin(z, 0, &blocks), 0);
	CU_ASSERT_EQUAL(blocks, 1);
	bh_zones_reset_end(z, 0);
	CU_ASSERT_EQUAL(table[0].state, BH_NVME_ZONE_STATE_EMPTY);
	CU_ASSERT_EQUAL(bh_zones_reset_begin(z, 1, &blocks), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(bh_zones_manage(z, BH_NVME_ZONE_ACTION_OPEN, 1, false),
			BH_NVME_SC_INVALID_FIELD);
}

static void limits(void)
{
	make(2, 3);
	CU_ASSERT_EQUAL(write_at(0, 1), 0);
	CU_ASSERT_EQUAL(manage(BH_NVME_ZONE_ACTION_OPEN, 1), 0);
	/* The one that was opened by the way makes room. */
	CU_ASSERT_EQUAL(manage(BH_NVME_ZONE_ACTION_OPEN, 2), 0);
	CU_ASSERT_EQUAL(table[0].state, BH_NVME_ZONE_STATE_CLOSED);
	CU_ASSERT_EQUAL(write_at(1, 1), BH_NVME_SC_ZONE_TOO_MANY_OPEN);
	CU_ASSERT_EQUAL(write_at(3 * SIZE, 1), BH_NVME_SC_ZONE_TOO_MANY_ACTIVE);
	CU_ASSERT_EQUAL(manage(BH_NVME_ZONE_ACTION_FINISH, 4), BH_NVME_SC_ZONE_TOO_MANY_ACTIVE);
	CU_ASSERT_EQUAL(bh_zones_manage(z, BH_NVME_ZONE_ACTION_OPEN, 0, true),
			BH_NVME_SC_ZONE_TOO_MANY_OPEN);
	CU_ASSERT_EQUAL(bh_zones_manage(z, BH_NVME_ZONE_ACTION_FINISH, 0, true), 0);
	CU_ASSERT_EQUAL(table[0].state, BH_NVME_ZONE_STATE_FULL);
	CU_ASSERT_EQUAL(table[3].state, BH_NVME_ZONE_STATE_EMPTY);
	CU_ASSERT_EQUAL(write_at(3 * SIZE, 1), 0);
}

static void reports(void)
{
	uint64_t buf[(64 + 2 * 64) / 8];
	const struct bh_nvme_zone_report *report = (const void *)buf;
	const struct bh_nvme_zone_desc *desc = (const void *)(report + 1);

	make(0, 0);
	write_at(2 * SIZE, 7);
	manage(BH_NVME_ZONE_ACTION_FINISH, 5);
	CU_ASSERT_EQUAL(bh_zones_report(z, 0, 0, false, buf, sizeof(buf)), 0);
	CU_ASSERT_EQUAL(report->nr_zones, ZONES);
	CU_ASSERT_EQUAL(bh_zones_report(z, SIZE + 3, 0, true, buf, sizeof(buf)), 0);
	CU_ASSERT_EQUAL(report->nr_zones, 2);
	CU_ASSERT_EQUAL(desc[0].zslba, SIZE);
	CU_ASSERT_EQUAL(desc[1].wp, 2 * SIZE + 7);
	CU_ASSERT_EQUAL(desc[1].zcap, CAPACITY);
	CU_ASSERT_EQUAL(
		bh_zones_report(z, 0, BH_NVME_ZONE_REPORT_FILTER_FULL, false, buf, sizeof(buf)), 0);
	CU_ASSERT_EQUAL(report->nr_zones, 1);
	CU_ASSERT_EQUAL(desc[0].zslba, 5 * SIZE);
	CU_ASSERT_EQUAL(bh_zones_report(z, 0, BH_NVME_ZONE_REPORT_FILTER_OFFLINE, false, buf, 64),
			0);
	CU_ASSERT_EQUAL(report->nr_zones, 0);
	CU_ASSERT_EQUAL(bh_zones_report(z, (uint64_t)ZONES * SIZE, 0, false, buf, sizeof(buf)),
			BH_NVME_SC_LBA_OUT_OF_RANGE);
}

static void tables_are_not_trusted(void)
{
	uint64_t lba = 0;
	uint32_t blocks;

	table[0] = (struct blk_zone){ 5, BH_NVME_ZONE_STATE_EXPLICITLY_OPEN, { 0 } };
	table[1] = (struct blk_zone){ 0, BH_NVME_ZONE_STATE_IMPLICITLY_OPEN, { 0 } };
	table[2] = (struct blk_zone){ CAPACITY + 1, BH_NVME_ZONE_STATE_CLOSED, { 0 } };
	table[3] = (struct blk_zone){ 3, 0x77, { 0 } };
	table[4] = (struct blk_zone){ 9, BH_NVME_ZONE_STATE_EMPTY, { 0 } };
	make(0, 0);
	CU_ASSERT_EQUAL(table[0].state, BH_NVME_ZONE_STATE_CLOSED);
	CU_ASSERT_EQUAL(table[1].state, BH_NVME_ZONE_STATE_EMPTY);
	CU_ASSERT_EQUAL(table[2].state, BH_NVME_ZONE_STATE_FULL);
	CU_ASSERT_EQUAL(table[3].state, BH_NVME_ZONE_STATE_FULL);
	CU_ASSERT_EQUAL(table[4].wp, 0);
	CU_ASSERT_TRUE(bh_zones_next_used(z, &lba, &blocks));
	CU_ASSERT_EQUAL(blocks, 5);
	lba = 1;
	CU_ASSERT_TRUE(bh_zones_next_used(z, &lba, &blocks));
	CU_ASSERT_EQUAL(lba, 2 * SIZE);
	CU_ASSERT_TRUE(blocks <= CAPACITY);
	lba = 4 * SIZE;
	CU_ASSERT_FALSE(bh_zones_next_used(z, &lba, &blocks));
}

BH_SUITE_FIXTURE("zones", setup, teardown, { "writes_follow_each_other", writes_follow_each_other },
		 { "failures_give_places_back", failures_give_places_back },
		 { "transitions", transitions }, { "limits", limits }, { "reports", reports },
		 { "tables_are_not_trusted", tables_are_not_trusted }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of zones as it lies beside a store. Private to lib/blk. */
#ifndef BLK_ZONES_H
#define BLK_ZONES_H

#include <assert.h>

#include <bellhop/zones.h>

struct blk_zone {
	uint64_t wp;   /* blocks from the zone's start */
	uint8_t state; /* BH_NVME_ZONE_STATE_*; 0: never used, which is empty */
	uint8_t rsvd9[7];
};
static_assert(sizeof(struct blk_zone) == 16, "an entry of the table");

/* table: geometry.zones of them, which stay the caller's. NULL: no memory. */
struct bh_zones *blk_zones_new(const struct bh_zone_geometry *geometry, struct blk_zone *table);
void blk_zones_free(struct bh_zones *zones); /* NULL is accepted */

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zones of a store (NVM Express Zoned Namespace Command Set 1.1 2.1): their states, write pointers
 * and limits.
 *
 * Component: lib/blk
 *
 * What a zone's state allows is decided here, for all controllers that have the store. Functions are
 * for any thread, and return status codes of NVMe (BH_NVME_SC_*; 0: success).
 */
#ifndef BELLHOP_ZONES_H
#define BELLHOP_ZONES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bh_zones;

struct bh_zone_geometry {
	uint64_t zone_blocks; /* from one zone's first block to the next one's */
	uint64_t capacity;    /* of a zone: blocks that can be written */
	uint64_t zones;
	uint32_t max_open, max_active; /* 0: no limit */
};
void bh_zones_geometry(const struct bh_zones *zones, struct bh_zone_geometry *out);

/*
 * A write of `blocks` (not 0) at *lba is about to be done, or an append to the zone that begins
 * there: takes its place, which is *lba then, and opens the zone. The write pointer is behind it.
 */
uint16_t bh_zones_take(struct bh_zones *zones, uint64_t *lba, uint32_t blocks, bool is_append);
/* It has failed: the place is given back, if it is the last that was taken. */
void bh_zones_undo(struct bh_zones *zones, uint64_t lba, uint32_t blocks);

/*
 * Zone Management Send but for resets: action is BH_NVME_ZONE_ACTION_OPEN, _CLOSE, _FINISH or
 * _OFFLINE, on the zone that begins at lba, or with `all` on every zone whose state it is for.
 */
uint16_t bh_zones_manage(struct bh_zones *zones, uint8_t action, uint64_t lba, bool all);

/*
 * A reset, in two steps: the zone that begins at lba has *blocks to be erased; when they are, it is
 * empty.
 */
uint16_t bh_zones_reset_begin(struct bh_zones *zones, uint64_t lba, uint32_t *blocks);
void bh_zones_reset_end(struct bh_zones *zones, uint64_t lba);
/* The first zone from *lba on that is not empty: false, there is none; else its place and blocks. */
bool bh_zones_next_used(struct bh_zones *zones, uint64_t *lba, uint32_t *blocks);

/*
 * A report into buf of `bytes` (64 or more; the rest is zeroed): zones from the one of lba on that
 * match the filter (BH_NVME_ZONE_REPORT_FILTER_*). is_partial: the header counts those in buf.
 */
uint16_t bh_zones_report(struct bh_zones *zones, uint64_t lba, unsigned int filter, bool is_partial,
			 void *buf, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif

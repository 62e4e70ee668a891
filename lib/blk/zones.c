/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zones.
 *
 * The table of zones lies beside the store (media.c), so it is as durable as the store's metadata: a
 * process that is killed leaves it as it was, and a flush of the store covers it. A write takes its
 * place, and moves the write pointer, before its data are written: so a write pointer is never
 * before data that were flushed, and may be behind some that were not, which then read what lay there.
 *
 * Zones that are open when the store is opened had nobody to close them: they are closed, or empty
 * if nothing was written (ZNS 1.1 2.1.1.3).
 *
 * One lock for all of a store's zones: it is held for a few stores, but when resources run out, and
 * for reports.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/nvme_spec.h>

#include "blk/zones.h"

enum {
	EMPTY = BH_NVME_ZONE_STATE_EMPTY,
	IMPLICIT = BH_NVME_ZONE_STATE_IMPLICITLY_OPEN,
	EXPLICIT = BH_NVME_ZONE_STATE_EXPLICITLY_OPEN,
	CLOSED = BH_NVME_ZONE_STATE_CLOSED,
	FULL = BH_NVME_ZONE_STATE_FULL,
};

struct bh_zones {
	pthread_mutex_t lock;
	struct bh_zone_geometry g;
	struct blk_zone *zone;
	uint32_t open, active;
};

static bool is_open(uint8_t state)
{
	return state == IMPLICIT || state == EXPLICIT;
}

static bool is_active(uint8_t state)
{
	return is_open(state) || state == CLOSED;
}

static void set_state(struct bh_zones *z, struct blk_zone *zone, uint8_t state)
{
	z->open -= is_open(zone->state);
	z->active -= is_active(zone->state);
	zone->state = state;
	z->open += is_open(state);
	z->active += is_active(state);
}

/* What the table says is nonsense: the zone is full, so that it can be read and reset. */
static void mend(const struct bh_zones *z, struct blk_zone *zone)
{
	bool is_known = is_active(zone->state) || zone->state == EMPTY || zone->state == FULL;

	if (!zone->state) /* one that was never used */
		zone->state = EMPTY;
	else if (!is_known || zone->wp > z->g.capacity)
		zone->state = FULL;
	if (zone->wp > z->g.capacity)
		zone->wp = z->g.capacity;
	if (is_active(zone->state))
		zone->state = zone->wp ? CLOSED : EMPTY;
	if (zone->state == EMPTY)
		zone->wp = 0;
}

struct bh_zones *blk_zones_new(const struct bh_zone_geometry *g, struct blk_zone *table)
{
	struct bh_zones *z = calloc(1, sizeof(*z));
	uint64_t i;

	if (!z)
		return NULL;
	pthread_mutex_init(&z->lock, NULL);
	z->g = *g;
	z->zone = table;
	for (i = 0; i < g->zones; i++) {
		mend(z, &table[i]);
		z->active += is_active(table[i].state);
	}
	return z;
}

void blk_zones_free(struct bh_zones *z)
{
	if (!z)
		return;
	pthread_mutex_destroy(&z->lock);
	free(z);
}

void bh_zones_geometry(const struct bh_zones *z, struct bh_zone_geometry *out)
{
	*out = z->g;
}

/* ---- resources ---- */

/* A zone that was opened by the way may be closed for another. */
static bool make_room(struct bh_zones *z)
{
	uint64_t i;

	for (i = 0; i < z->g.zones; i++) {
		if (z->zone[i].state == IMPLICIT) {
			set_state(z, &z->zone[i], CLOSED);
			return true;
		}
	}
	return false;
}

/* Opens it (from empty, closed, or implicitly open). */
static uint16_t open_zone(struct bh_zones *z, struct blk_zone *zone, uint8_t state)
{
	if (!is_active(zone->state) && z->g.max_active && z->active >= z->g.max_active)
		return BH_NVME_SC_ZONE_TOO_MANY_ACTIVE;
	if (!is_open(zone->state) && z->g.max_open && z->open >= z->g.max_open && !make_room(z))
		return BH_NVME_SC_ZONE_TOO_MANY_OPEN;
	set_state(z, zone, state);
	return 0;
}

/* ---- writing ---- */

static uint16_t take(struct bh_zones *z, uint64_t *lba, uint32_t blocks, bool is_append)
{
	uint64_t index = *lba / z->g.zone_blocks, start = index * z->g.zone_blocks;
	struct blk_zone *zone = &z->zone[index];
	uint16_t status;

	if (is_append && *lba != start)
		return BH_NVME_SC_INVALID_FIELD;
	if (zone->state == FULL)
		return BH_NVME_SC_ZONE_IS_FULL;
	if (!is_append && *lba != start + zone->wp)
		return *lba + blocks > start + z->g.capacity ? BH_NVME_SC_ZONE_BOUNDARY_ERROR
							     : BH_NVME_SC_ZONE_INVALID_WRITE;
	if (zone->wp + blocks > z->g.capacity)
		return BH_NVME_SC_ZONE_BOUNDARY_ERROR;
	if (!is_open(zone->state)) {
		status = open_zone(z, zone, IMPLICIT);
		if (status)
			return status;
	}
	*lba = start + zone->wp;
	zone->wp += blocks;
	if (zone->wp == z->g.capacity)
		set_state(z, zone, FULL);
	return 0;
}

uint16_t bh_zones_take(struct bh_zones *z, uint64_t *lba, uint32_t blocks, bool is_append)
{
	uint16_t status;

	if (*lba / z->g.zone_blocks >= z->g.zones)
		return BH_NVME_SC_LBA_OUT_OF_RANGE;
	pthread_mutex_lock(&z->lock);
	status = take(z, lba, blocks, is_append);
	pthread_mutex_unlock(&z->lock);
	return status;
}

void bh_zones_undo(struct bh_zones *z, uint64_t lba, uint32_t blocks)
{
	uint64_t index = lba / z->g.zone_blocks, at = lba % z->g.zone_blocks;
	struct blk_zone *zone = &z->zone[index];

	pthread_mutex_lock(&z->lock);
	/* One that filled its zone has left no resources to be had back: it stays full. */
	if (is_open(zone->state) && zone->wp == at + blocks)
		zone->wp = at;
	pthread_mutex_unlock(&z->lock);
}

/* ---- management ---- */

static uint16_t finish_zone(struct bh_zones *z, struct blk_zone *zone)
{
	if (zone->state == FULL)
		return 0;
	/* One that is empty is active on the way (ZNS 1.1 3.4.1.2). */
	if (zone->state == EMPTY && z->g.max_active && z->active >= z->g.max_active)
		return BH_NVME_SC_ZONE_TOO_MANY_ACTIVE;
	set_state(z, zone, FULL);
	return 0;
}

static uint16_t manage_one(struct bh_zones *z, uint8_t action, struct blk_zone *zone)
{
	switch (action) {
	case BH_NVME_ZONE_ACTION_OPEN:
		return zone->state == FULL ? BH_NVME_SC_ZONE_INVALID_TRANSITION
					   : open_zone(z, zone, EXPLICIT);
	case BH_NVME_ZONE_ACTION_CLOSE:
		if (!is_active(zone->state))
			return BH_NVME_SC_ZONE_INVALID_TRANSITION;
		set_state(z, zone, CLOSED);
		return 0;
	case BH_NVME_ZONE_ACTION_FINISH:
		return finish_zone(z, zone);
	default: /* no zone is read only, and so none can be taken offline */
		return BH_NVME_SC_ZONE_INVALID_TRANSITION;
	}
}

/* Is it among those that Select All is about (ZNS 1.1 3.4.3.1)? */
static bool is_meant(uint8_t action, uint8_t state)
{
	switch (action) {
	case BH_NVME_ZONE_ACTION_OPEN:
		return state == CLOSED;
	case BH_NVME_ZONE_ACTION_CLOSE:
		return is_open(state);
	case BH_NVME_ZONE_ACTION_FINISH:
		return is_active(state);
	default:
		return false;
	}
}

/* All closed zones are opened, or none. */
static bool can_open_all(const struct bh_zones *z)
{
	return !z->g.max_open || z->active <= z->g.max_open;
}

static uint16_t manage_all(struct bh_zones *z, uint8_t action)
{
	uint64_t i;

	if (action == BH_NVME_ZONE_ACTION_OPEN && !can_open_all(z))
		return BH_NVME_SC_ZONE_TOO_MANY_OPEN;
	for (i = 0; i < z->g.zones; i++)
		if (is_meant(action, z->zone[i].state))
			manage_one(z, action, &z->zone[i]);
	return 0;
}

/* The zone that begins at lba, or NULL. */
static struct blk_zone *zone_at(const struct bh_zones *z, uint64_t lba)
{
	return lba % z->g.zone_blocks || lba / z->g.zone_blocks >= z->g.zones
		       ? NULL
		       : &z->zone[lba / z->g.zone_blocks];
}

uint16_t bh_zones_manage(struct bh_zones *z, uint8_t action, uint64_t lba, bool all)
{
	struct blk_zone *zone = zone_at(z, lba);
	uint16_t status;

	if (!all && !zone)
		return BH_NVME_SC_INVALID_FIELD;
	pthread_mutex_lock(&z->lock);
	status = all ? manage_all(z, action) : manage_one(z, action, zone);
	pthread_mutex_unlock(&z->lock);
	return status;
}

uint16_t bh_zones_reset_begin(struct bh_zones *z, uint64_t lba, uint32_t *blocks)
{
	const struct blk_zone *zone = zone_at(z, lba);

	if (!zone)
		return BH_NVME_SC_INVALID_FIELD;
	pthread_mutex_lock(&z->lock);
	*blocks = (uint32_t)zone->wp;
	pthread_mutex_unlock(&z->lock);
	return 0;
}

void bh_zones_reset_end(struct bh_zones *z, uint64_t lba)
{
	struct blk_zone *zone = zone_at(z, lba);

	pthread_mutex_lock(&z->lock);
	zone->wp = 0;
	set_state(z, zone, EMPTY);
	pthread_mutex_unlock(&z->lock);
}

bool bh_zones_next_used(struct bh_zones *z, uint64_t *lba, uint32_t *blocks)
{
	uint64_t i;

	pthread_mutex_lock(&z->lock);
	for (i = (*lba + z->g.zone_blocks - 1) / z->g.zone_blocks; i < z->g.zones; i++)
		if (z->zone[i].state != EMPTY)
			break;
	*lba = i * z->g.zone_blocks;
	*blocks = i < z->g.zones ? (uint32_t)z->zone[i].wp : 0;
	pthread_mutex_unlock(&z->lock);
	return i < z->g.zones;
}

/* ---- reports ---- */

static bool matches(unsigned int filter, uint8_t state)
{
	static const uint8_t states[] = { 0, EMPTY, IMPLICIT, EXPLICIT, CLOSED, FULL };

	return !filter || (filter < sizeof(states) && states[filter] == state);
}

static void describe(const struct bh_zones *z, uint64_t i, struct bh_nvme_zone_desc *out)
{
	const struct blk_zone *zone = &z->zone[i];

	*out = (struct bh_nvme_zone_desc){
		.zt = BH_NVME_ZONE_TYPE_SEQ_WRITE,
		.zs = (uint8_t)(zone->state << 4),
		.zcap = z->g.capacity,
		.zslba = i * z->g.zone_blocks,
		.wp = zone->state == FULL ? UINT64_MAX : i * z->g.zone_blocks + zone->wp,
	};
}

uint16_t bh_zones_report(struct bh_zones *z, uint64_t lba, unsigned int filter, bool is_partial,
			 void *buf, size_t bytes)
{
	struct bh_nvme_zone_report *report = buf;
	struct bh_nvme_zone_desc *out = (struct bh_nvme_zone_desc *)(report + 1);
	size_t room = (bytes - sizeof(*report)) / sizeof(*out), n = 0;
	uint64_t i = lba / z->g.zone_blocks, count = 0;

	if (i >= z->g.zones)
		return BH_NVME_SC_LBA_OUT_OF_RANGE;
	memset(buf, 0, bytes);
	pthread_mutex_lock(&z->lock);
	for (; i < z->g.zones; i++) {
		if (!matches(filter, z->zone[i].state))
			continue;
		count++;
		if (n < room)
			describe(z, i, &out[n++]);
	}
	pthread_mutex_unlock(&z->lock);
	report->nr_zones = is_partial ? n : count;
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing to zoned namespaces: by zone append, zone after zone.
 *
 * The zones of a namespace are dealt out to its lanes in runs, so no two lanes write to one zone. A
 * lane appends to one zone at a time with its whole depth in flight. When the next request would
 * not fit, it waits for what is out, finishes the zone if some of it is left (or it would stay
 * active, of which there may be few), resets the next one, and goes on; behind its last zone comes
 * its first. Requests that cannot go out meanwhile are parked. Reads of a mixed load go anywhere in
 * the namespace.
 *
 * This is a loop of its own, so that lanes without zones pay nothing for it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/nvme_zns.h>

#include "perf.h"
#include "perf_io.h"

#define END_NS (30ull * 1000 * 1000 * 1000)
#define TURNING ((uintptr_t)-1) /* what a zone command has for a slot */

struct perf_zones {
	struct bh_nvme_zone *zone; /* those that can be written, of this lane */
	unsigned int count, at;	   /* at: the one being written */
	uint64_t left;		   /* blocks */
	unsigned int turning;	   /* zone commands out */
	bool turn;		   /* the next zone is due */
	unsigned int parked;
	uint32_t slot[];
};

/* ---- setting up ---- */

static int usable(struct perf *perf, struct perf_lane *lane, unsigned int part, unsigned int parts)
{
	struct perf_zones *z = lane->zones;
	struct bh_nvme_zns geometry;
	unsigned int n = 0, kept = 0;

	if (bh_nvme_ns_zns(lane->ns, &geometry))
		return app_fail(perf->app, 1, "namespace %u is not zoned any more",
				bh_nvme_ns_id(lane->ns));
	uint64_t first = geometry.zones * part / parts;
	uint64_t count = geometry.zones * (part + 1) / parts - first;
	z->zone = count < UINT32_MAX ? calloc(count ? count : 1, sizeof(*z->zone)) : NULL;
	if (!z->zone)
		return app_fail(perf->app, 1, "out of memory for %llu zones",
				(unsigned long long)count);
	int rc = bh_nvme_zones_sync(lane->q, lane->ns, first * geometry.zone_blocks, 0, z->zone,
				    (unsigned int)count, &n);
	if (rc)
		return app_fail_unsaid(perf->app, 1, "namespace %u: its zones are not reported: %s",
				       bh_nvme_ns_id(lane->ns),
				       rc < 0 ? strerror(-rc) : bh_nvme_status_str((uint16_t)rc));
	for (unsigned int i = 0; i < n; i++) {
		if (z->zone[i].state != BH_NVME_ZONE_STATE_READ_ONLY &&
		    z->zone[i].state != BH_NVME_ZONE_STATE_OFFLINE &&
		    z->zone[i].capacity >= lane->blocks)
			z->zone[kept++] = z->zone[i];
	}
	z->count = kept;
	z->at = kept ? kept - 1 : 0;
	z->turn = true;
	return kept ? 0
		    : app_fail(perf->app, 1,
			       "namespace %u: no zone for queue %u of %u: fewer of -c and -P",
			       bh_nvme_ns_id(lane->ns), part + 1, parts);
}

int perf_zoned_open(struct perf *perf, struct perf_lane *lane, unsigned int part,
		    unsigned int parts)
{
	struct perf_zones *z = calloc(1, sizeof(*z) + perf->opts->depth * sizeof(z->slot[0]));

	if (!z)
		return app_fail(perf->app, 1, "out of memory");
	lane->zones = z;
	lane->kind = &perf_zoned_kind;
	return usable(perf, lane, part, parts);
}

void perf_zoned_close(struct perf_lane *lane)
{
	if (lane->zones)
		free(lane->zones->zone);
	free(lane->zones);
	lane->zones = NULL;
}

int perf_zoned_check(const struct perf *perf, const char *address, const struct bh_nvme_ns *ns,
		     unsigned int lanes)
{
	const struct perf_options *opts = perf->opts;
	uint32_t most = bh_nvme_zone_append_max(ns) * bh_nvme_ns_block_size(ns);
	struct bh_nvme_zns z;

	for (unsigned int i = 0; i < opts->num_loads; i++)
		if (opts->load[i].random && perf_load_writes(&opts->load[i]))
			return app_fail(perf->app, EXIT_USAGE,
					"%s: namespace %u is zoned and cannot be written at "
					"random: -w write or -w rw",
					address, bh_nvme_ns_id(ns));
	if (opts->num_sizes > 1 || opts->verify || opts->rate)
		return app_fail(perf->app, EXIT_USAGE,
				"%s: namespace %u is zoned: its zones are written in requests of "
				"one size, as fast as it goes, and cannot be verified",
				address, bh_nvme_ns_id(ns));
	if (bh_nvme_ns_zns(ns, &z) || opts->bytes > most)
		return app_fail(perf->app, EXIT_USAGE,
				"-o %u: %s namespace %u takes %u bytes per zone append",
				opts->bytes, address, bh_nvme_ns_id(ns), most);
	uint32_t zones = z.max_open ? z.max_open : z.max_active;
	if (zones && lanes > zones)
		return app_fail(perf->app, EXIT_USAGE,
				"%s: %u queues would write to as many zones of namespace %u, which "
				"has %u open at a time: fewer of -c and -P",
				address, lanes, bh_nvme_ns_id(ns), zones);
	return 0;
}

/* ---- running ---- */

static void command(struct perf_lane *lane, uint8_t action)
{
	struct perf_zones *z = lane->zones;

	if (bh_nvme_zone_manage(lane->q, lane->ns, action, z->zone[z->at].start, false, NULL,
				(void *)TURNING))
		perf_count_error(lane, BH_NVME_SC_ABORTED_BY_REQUEST);
	else
		z->turning++;
}

/* Nothing is out: from one zone to the next. */
static void turn(struct perf_lane *lane)
{
	struct perf_zones *z = lane->zones;

	if (z->left)
		command(lane, BH_NVME_ZONE_ACTION_FINISH);
	z->at = z->at + 1 == z->count ? 0 : z->at + 1;
	z->left = z->zone[z->at].capacity;
	z->turn = false;
	command(lane, BH_NVME_ZONE_ACTION_RESET);
}

/* False: refused, or not now. */
static bool append(struct perf_lane *lane, uint32_t slot)
{
	struct perf_zones *z = lane->zones;

	if (z->left < lane->blocks) {
		z->turn = true;
		return false;
	}
	if (bh_nvme_zone_append(lane->q, lane->ns, lane->data + slot * lane->stride,
				z->zone[z->at].start, lane->blocks, 0, NULL,
				(void *)(uintptr_t)slot))
		return false;
	z->left -= lane->blocks;
	return true;
}

static bool submit(struct perf_lane *lane, uint32_t slot, uint64_t now)
{
	struct perf_aim aim = lane->aim;
	uint32_t blocks;
	bool done, read;
	uint64_t lba = perf_aim_any(lane, &aim, &blocks, &read);

	lane->aim.random = aim.random;
	if (read)
		lane->aim.next = aim.next;
	done = read ? !bh_nvme_read(lane->q, lane->ns, lane->data + slot * lane->stride, lba,
				    blocks, 0, NULL, (void *)(uintptr_t)slot)
		    : append(lane, slot);
	if (!done)
		return false;
	lane->started[slot] = now;
	lane->in_flight++;
	return true;
}

static void refill(struct perf_lane *lane, uint64_t now)
{
	struct perf_zones *z = lane->zones;

	/* The zone is left when nothing is out any more, so nothing more goes out before. */
	while (z->parked && !z->turn && !z->turning && submit(lane, z->slot[z->parked - 1], now))
		z->parked--;
	if (z->turn && !lane->in_flight && !z->turning)
		turn(lane);
	bh_nvme_queue_flush(lane->q);
}

static void start(struct perf_lane *lane, const struct perf *perf)
{
	struct perf_zones *z = lane->zones;

	for (z->parked = 0; z->parked < perf->opts->depth; z->parked++)
		z->slot[z->parked] = z->parked;
	refill(lane, bh_ticks());
}

static void take(struct perf_lane *lane, const struct perf *perf,
		 const struct bh_nvme_result *result, uint64_t now)
{
	struct perf_zones *z = lane->zones;
	uintptr_t slot = (uintptr_t)result->arg;

	if (result->status)
		perf_count_error(lane, result->status);
	if (slot == TURNING) {
		z->turning--;
		/* Without a zone to write to there is nothing to measure. */
		if (result->status)
			lane->lost = true;
		return;
	}
	lane->in_flight--;
	z->slot[z->parked++] = (uint32_t)slot;
	perf_enter(lane, perf, now - lane->started[slot], 1, perf->opts->latency);
	__atomic_store_n(&lane->ios, lane->ios + 1, __ATOMIC_RELAXED);
}

static void step(struct perf_lane *lane, const struct perf *perf, bool go)
{
	struct bh_nvme_result done[PERF_REAP];
	int n = bh_nvme_queue_reap(lane->q, done, PERF_REAP);

	if (n < 0) {
		perf_lost(lane);
		return;
	}
	uint64_t now = bh_nvme_queue_ticks(lane->q);
	for (int i = 0; i < n; i++)
		take(lane, perf, &done[i], now);
	if (go && !lane->lost && lane->zones->parked)
		refill(lane, now);
}

/* Nothing of the load is out any more. What the lane was writing does not stay open. */
static void end(struct perf_lane *lane, const struct perf *perf)
{
	struct perf_zones *z = lane->zones;
	uint64_t deadline = bh_now_ns() + END_NS;

	while (z->turning && !lane->lost && bh_now_ns() < deadline)
		step(lane, perf, false);
	if (lane->lost || z->turning || !z->left)
		return;
	int rc = bh_nvme_zone_manage_sync(lane->q, lane->ns, BH_NVME_ZONE_ACTION_FINISH,
					  z->zone[z->at].start, false);
	if (rc)
		perf_count_error(lane, rc > 0 ? (uint16_t)rc : BH_NVME_SC_INTERNAL_PATH_ERROR);
}

const struct perf_kind perf_zoned_kind = { start, step, end };

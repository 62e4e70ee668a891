/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zoned namespaces (NVM Express Zoned Namespace Command Set 1.1): geometry, zone report, zone
 * management, zone append.
 *
 * Component: drivers/nvme
 *
 * A zoned namespace is read and written by the functions of <bellhop/nvme.h>, with these rules:
 *
 *  - A write has to begin at its zone's write pointer. One that takes several commands is issued
 *    one command after the other, so that a single request never overtakes itself; two requests to
 *    one zone in flight together have no order, and the controller fails the one that comes first
 *    by chance: keep one write per zone in flight, or append.
 *  - A write that crosses a zone's border, or its capacity, fails with
 *    BH_NVME_SC_ZONE_BOUNDARY_ERROR. It is not split there: the next zone has to be chosen by who
 *    writes.
 *  - A read may cross. Where the controller does not take such reads (OZCS bit 0), the driver
 *    splits it at the border.
 *  - bh_nvme_zone_append() names the zone only; any number may be in flight, and the completion
 *    says where the data went.
 *
 * Threads: functions with a queue are the queue owner's, as in <bellhop/nvme.h>.
 */
#ifndef BELLHOP_NVME_ZNS_H
#define BELLHOP_NVME_ZNS_H

#include <bellhop/nvme.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- geometry ---- */

struct bh_nvme_zns {
	uint64_t zones;
	uint64_t zone_blocks;	/* from one zone's first block to the next one's (ZSZE) */
	uint32_t max_active;	/* zones open or closed at a time (MAR); 0: no limit */
	uint32_t max_open;	/* zones open at a time (MOR); 0: no limit */
	uint32_t append_blocks; /* per append at most: ZASL and the transfer limit */
	uint32_t ext_bytes;	/* of a zone's descriptor extension; 0: there are none */
	bool read_across;	/* the controller takes reads that cross zones (OZCS bit 0) */
	bool variable_capacity; /* a reset may change a zone's capacity (ZOC bit 0) */
	bool excursions; /* the controller may finish zones by itself to have resources (ZOC bit 1)
			  */
};

/*
 * How many blocks a zone takes is each zone's own affair: struct bh_nvme_zone. -EOPNOTSUPP: the
 * namespace is not zoned, or not served. Controller thread.
 */
int bh_nvme_ns_zns(const struct bh_nvme_ns *ns, struct bh_nvme_zns *out);

/* ---- zone append ---- */

/*
 * Appends `blocks` (1..append_blocks, not 0's based) to the zone that begins at block zslba. flags
 * as for bh_nvme_write(). Never split. The callback gets the first block's address by
 * bh_nvme_zone_append_lba() of the completion's cdw0, as does who reaps.
 *
 * -EMSGSIZE: over append_blocks; -EINVAL: blocks 0, a namespace that is not zoned or not served, or
 * a buffer that no single PRP list can name; else as bh_nvme_write(). Queue owner.
 */
int bh_nvme_zone_append(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const void *buf,
			uint64_t zslba, uint32_t blocks, uint32_t flags, bh_nvme_done done,
			void *arg);
/* The iovec may go away after the call. -EINVAL also: its bytes are not `blocks`. */
int bh_nvme_zone_appendv(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const struct iovec *iov,
			 unsigned int iovcnt, uint64_t zslba, uint32_t blocks, uint32_t flags,
			 bh_nvme_done done, void *arg);
/* Blocks per append at most; 0: not zoned, or not served. Any thread. */
uint32_t bh_nvme_zone_append_max(const struct bh_nvme_ns *ns);

/*
 * Where a successful append to the zone of zslba began: cdw0 of its completion or result. It is
 * within the zone, or UINT64_MAX: the controller said nonsense. (cdw0 has the low half of the
 * address, and a zone has fewer than 2^32 blocks.) Any thread.
 */
uint64_t bh_nvme_zone_append_lba(const struct bh_nvme_ns *ns, uint64_t zslba, uint32_t cdw0);

/* ---- zone management ---- */

/*
 * Zone Management Send: `action` is BH_NVME_ZONE_ACTION_OPEN, _CLOSE, _FINISH, _RESET or _OFFLINE,
 * on the zone that begins at zslba, or with `all` on every zone in a state that the action is for.
 * What it does not fit completes with BH_NVME_SC_ZONE_INVALID_TRANSITION; open may meet
 * BH_NVME_SC_ZONE_TOO_MANY_OPEN and _ACTIVE.
 *
 * -EINVAL: another action, a zslba that begins no zone, a namespace that is not zoned or not
 * served; -EAGAIN, -ENODEV as bh_nvme_write(). Queue owner.
 */
int bh_nvme_zone_manage(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint8_t action,
			uint64_t zslba, bool all, bh_nvme_done done, void *arg);

/*
 * Sets an empty zone's descriptor extension, which makes it closed, and so active. buf: ext_bytes
 * of geometry, in a pool, staying until done. -EINVAL also: the namespace has no extensions;
 * -EFAULT. Queue owner.
 */
int bh_nvme_zone_set_ext(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t zslba,
			 const void *buf, bh_nvme_done done, void *arg);

/* ---- zone report ---- */

struct bh_nvme_zone {
	uint64_t start;	   /* block */
	uint64_t capacity; /* blocks that can be written, from start on */
	uint64_t wp;   /* next block to be written; past the capacity when full; UINT64_MAX where
			    * a zone has none: read-only, offline */
	uint8_t state; /* BH_NVME_ZONE_STATE_* */
	uint8_t attributes; /* BH_NVME_ZONE_ATTR_* */
};

/*
 * Zone Management Receive into buf (`bytes`, a multiple of 4, at least 64, in a pool, staying until
 * done), from the zone that has block lba on. filter: BH_NVME_ZONE_REPORT_FILTER_*; flags:
 * BH_NVME_ZONE_REPORT_PARTIAL (the header counts the zones in buf, not all that match), and
 * BH_NVME_ZONE_REPORT_EXTENDED (with descriptor extensions).
 *
 * -EINVAL: bytes, filter, flags, a namespace that is not zoned or not served; -EMSGSIZE: over the
 * transfer limit; else as bh_nvme_read(). Queue owner.
 */
int bh_nvme_zone_report(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t lba,
			unsigned int filter, uint32_t flags, void *buf, size_t bytes,
			bh_nvme_done done, void *arg);

/*
 * Reads what a report that succeeded left in buf, with the flags it was asked for with: the number
 * of zones put into out (at most max), checked one by one: in the namespace, ascending, on borders,
 * capacity and write pointer within. *matching, unless NULL: the header's count. out NULL with max
 * 0: only that. -EPROTO: nonsense. Any thread.
 */
int bh_nvme_zone_report_read(const struct bh_nvme_ns *ns, const void *buf, size_t bytes,
			     uint32_t flags, struct bh_nvme_zone *out, unsigned int max,
			     uint64_t *matching);
/* The extension of the i-th zone of an extended report: ext_bytes in buf, or NULL. Any thread. */
const void *bh_nvme_zone_report_ext(const struct bh_nvme_ns *ns, const void *buf, size_t bytes,
				    unsigned int i);

/* "Empty", "Implicitly Opened" and so on, "Unknown" for the rest. */
const char *bh_nvme_zone_state_str(uint8_t state);

/* ---- waiting ---- */

/*
 * The same for tools and for setting up: they poll the queue until done, and want it idle, since
 * they would take results that somebody else waits for. Memory comes from the device's space. The
 * status field (>= 0), or besides the above: -EBUSY: commands are out on the queue; -ETIMEDOUT:
 * not within admin_timeout; -ENOMEM: no room in the pools; -EOPNOTSUPP: a borrowed queue; -EPROTO:
 * a report that is nonsense. Queue owner, not in a callback.
 */
int bh_nvme_zone_manage_sync(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint8_t action,
			     uint64_t zslba, bool all);
int bh_nvme_zone_set_ext_sync(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t zslba,
			      const void *buf, size_t bytes);
/*
 * The zones that match filter from the one that has block lba on, up to max: *count of them in out.
 * Long reports are fetched in pieces; to go on after max, ask again from the last zone's start plus
 * zone_blocks.
 */
int bh_nvme_zones_sync(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t lba,
		       unsigned int filter, struct bh_nvme_zone *out, unsigned int max,
		       unsigned int *count);
/* How many match, of the whole namespace. */
int bh_nvme_zone_count_sync(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, unsigned int filter,
			    uint64_t *count);

#ifdef __cplusplus
}
#endif
#endif

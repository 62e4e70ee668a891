/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zoned namespaces: geometry, zone management, and what reports say.
 *
 * The geometry is read with the namespace, by two Identify commands of the ZNS command set. A queue
 * owner needs three words of it, each atomic: the shape of the namespace (geom, with a bit that says
 * zoned and the zone size for boundary where reads may not cross), the limit of an append, and the
 * zone size. A geometry that cannot be (zones of no blocks, of more than a namespace has, or of
 * 2^32 and more) makes a namespace that is listed but not served.
 *
 * Reports come from a device that may lie, into memory it may go on writing: every word is loaded
 * once and checked, and zones have to ascend, so a reader that asks on from the last zone makes
 * progress or stops.
 */
#include <errno.h>

#include <bellhop/nvme_zns.h>

#include "nvme/nvme.h"
#include "nvme/queue_io.h"

static int identify(struct bh_nvme *nvme, uint8_t cns, uint32_t nsid, void *buf)
{
	struct bh_nvme_cmd cmd = bh__identify_cmd(cns, nsid, BH_NVME_CSI_ZNS, 0);

	return bh__admin_sync(nvme, &cmd, buf, 4096, NULL);
}

/* Limits are 0's based, all ones for none. */
static uint32_t limit(uint32_t field)
{
	return field == UINT32_MAX ? 0 : field + 1;
}

/* Bytes per append, from ZASL: a power of two of pages, 0 for the transfer limit. */
static uint32_t append_bytes(const struct bh_nvme *nvme, uint8_t zasl)
{
	if (!zasl || zasl > 20 || (uint64_t)nvme->page_size << zasl > nvme->max_transfer)
		return nvme->max_transfer;
	return nvme->page_size << zasl;
}

int bh__zns_read(struct bh_nvme *nvme, struct bh_nvme_ns *ns, uint8_t *buf)
{
	const struct bh_nvme_id_ns_zns *zns = (const void *)buf;
	const struct bh_nvme_id_ctrl_zns *ctrl = (const void *)buf;
	unsigned int format = bh_nvme_flbas_index(ns->data.flbas) & 63;
	int rc = identify(nvme, BH_NVME_CNS_CSI_NS, ns->nsid, buf);

	ns->zns = (struct bh_nvme_zns){ 0 };
	if (!rc) {
		ns->zns.zone_blocks = zns->lbafe[format].zsze;
		ns->zns.max_active = limit(zns->mar);
		ns->zns.max_open = limit(zns->mor);
		ns->zns.ext_bytes = zns->lbafe[format].zdes * 64u;
		ns->zns.read_across = zns->ozcs & BH_NVME_OZCS_READ_ACROSS;
		ns->zns.variable_capacity = zns->zoc & BH_NVME_ZOC_VARIABLE_CAPACITY;
		ns->zns.excursions = zns->zoc & BH_NVME_ZOC_ACTIVE_EXCURSIONS;
		rc = identify(nvme, BH_NVME_CNS_CSI_CTRL, 0, buf);
	}
	if (rc > 0)
		bh__log(nvme, BH_LOG_WARN, "namespace %u: its zones cannot be identified: %s",
			ns->nsid, bh_nvme_status_str((uint16_t)rc));
	if (rc) {
		ns->zns.zone_blocks = 0;
		return rc < 0 ? rc : 0;
	}
	ns->zns.append_blocks = append_bytes(nvme, ctrl->zasl);
	return 0;
}

uint64_t bh__zns_shape(struct bh_nvme *nvme, struct bh_nvme_ns *ns, uint64_t geom)
{
	struct bh_nvme_zns *z = &ns->zns;
	uint64_t zone = z->zone_blocks;
	uint32_t append = z->append_blocks >> bh__geom_shift(geom);

	if (!zone || zone > UINT32_MAX || zone > ns->data.nsze) {
		bh__log(nvme, BH_LOG_WARN, "namespace %u: zones of %llu blocks: not served",
			ns->nsid, (unsigned long long)zone);
		geom = bh__geom(bh__geom_shift(geom), 0, 0);
	}
	if (!bh__geom_max(geom))
		zone = append = z->ext_bytes = 0;
	append = append > bh__geom_max(geom) ? bh__geom_max(geom) : append;
	z->zone_blocks = zone;
	z->append_blocks = append;
	z->zones = zone ? ns->data.nsze / zone : 0;
	__atomic_store_n(&ns->zone_blocks, zone, __ATOMIC_RELAXED);
	__atomic_store_n(&ns->append_max, append, __ATOMIC_RELAXED);
	__atomic_store_n(&ns->ext_bytes, z->ext_bytes, __ATOMIC_RELAXED);
	if (zone && !z->read_across)
		geom = bh__geom(bh__geom_shift(geom), bh__geom_max(geom), (uint32_t)zone);
	return geom | BH__GEOM_ZONED;
}

void bh__zns_none(struct bh_nvme_ns *ns)
{
	ns->zns = (struct bh_nvme_zns){ 0 };
	__atomic_store_n(&ns->zone_blocks, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&ns->append_max, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&ns->ext_bytes, 0, __ATOMIC_RELAXED);
}

int bh_nvme_ns_zns(const struct bh_nvme_ns *ns, struct bh_nvme_zns *out)
{
	if (!ns->zns.zone_blocks)
		return -EOPNOTSUPP;
	*out = ns->zns;
	return 0;
}

/* ---- zone management ---- */

static uint64_t zone_blocks(const struct bh_nvme_ns *ns)
{
	return __atomic_load_n(&ns->zone_blocks, __ATOMIC_RELAXED);
}

static uint32_t ext_bytes(const struct bh_nvme_ns *ns)
{
	return __atomic_load_n(&ns->ext_bytes, __ATOMIC_RELAXED);
}

static struct bh_nvme_cmd zone_cmd(uint8_t opc, const struct bh_nvme_ns *ns, uint64_t lba,
				   uint32_t cdw13)
{
	struct bh_nvme_cmd cmd = { .opc = opc, .nsid = ns->nsid };

	cmd.cdw10 = (uint32_t)lba;
	cmd.cdw11 = (uint32_t)(lba >> 32);
	cmd.cdw13 = cdw13;
	return cmd;
}

static bool begins_zone(const struct bh_nvme_ns *ns, uint64_t lba)
{
	uint64_t zone = zone_blocks(ns);

	return zone && lba % zone == 0;
}

int bh_nvme_zone_manage(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint8_t action,
			uint64_t zslba, bool all, bh_nvme_done done, void *arg)
{
	struct bh_nvme_cmd cmd = zone_cmd(BH_NVME_CMD_ZONE_MGMT_SEND, ns, all ? 0 : zslba, action);

	if (action < BH_NVME_ZONE_ACTION_CLOSE || action > BH_NVME_ZONE_ACTION_OFFLINE ||
	    !begins_zone(ns, all ? 0 : zslba))
		return -EINVAL;
	if (all)
		cmd.cdw13 |= BH_NVME_ZONE_SELECT_ALL;
	return bh_nvme_io(q, &cmd, NULL, 0, done, arg);
}

int bh_nvme_zone_set_ext(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t zslba,
			 const void *buf, bh_nvme_done done, void *arg)
{
	struct bh_nvme_cmd cmd =
		zone_cmd(BH_NVME_CMD_ZONE_MGMT_SEND, ns, zslba, BH_NVME_ZONE_ACTION_SET_DESC_EXT);
	struct iovec iov = { (void *)(uintptr_t)buf, ext_bytes(ns) };

	if (!iov.iov_len || !begins_zone(ns, zslba))
		return -EINVAL;
	return bh_nvme_io(q, &cmd, &iov, 1, done, arg);
}

/* ---- zone report ---- */

int bh_nvme_zone_report(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t lba,
			unsigned int filter, uint32_t flags, void *buf, size_t bytes,
			bh_nvme_done done, void *arg)
{
	struct bh_nvme_cmd cmd = zone_cmd(BH_NVME_CMD_ZONE_MGMT_RECV, ns, lba,
					  flags | filter << BH_NVME_ZONE_REPORT_FILTER_SHIFT);
	struct iovec iov = { buf, bytes };

	if (!zone_blocks(ns) || bytes < sizeof(struct bh_nvme_zone_report) || (bytes & 3) ||
	    filter > BH_NVME_ZONE_REPORT_FILTER_OFFLINE ||
	    (flags & ~(BH_NVME_ZONE_REPORT_PARTIAL | BH_NVME_ZONE_REPORT_EXTENDED)))
		return -EINVAL;
	if (bytes > UINT32_MAX)
		return -EMSGSIZE;
	cmd.cdw12 = (uint32_t)(bytes / 4 - 1);
	return bh_nvme_io(q, &cmd, &iov, 1, done, arg);
}

static size_t desc_bytes(const struct bh_nvme_ns *ns, uint32_t flags)
{
	return sizeof(struct bh_nvme_zone_desc) +
	       (flags & BH_NVME_ZONE_REPORT_EXTENDED ? ext_bytes(ns) : 0);
}

static bool has_wp(uint8_t state)
{
	return state >= BH_NVME_ZONE_STATE_EMPTY && state <= BH_NVME_ZONE_STATE_CLOSED;
}

/* One descriptor, whose fields are quadwords, each loaded once. */
static bool read_desc(const uint8_t *at, uint64_t zone, uint64_t end, uint64_t from,
		      struct bh_nvme_zone *out)
{
	uint64_t head = bh_load_u64(at);

	out->capacity = bh_load_u64(at + offsetof(struct bh_nvme_zone_desc, zcap));
	out->start = bh_load_u64(at + offsetof(struct bh_nvme_zone_desc, zslba));
	out->wp = bh_load_u64(at + offsetof(struct bh_nvme_zone_desc, wp));
	out->state = (uint8_t)(head >> 12) & 0xf;
	out->attributes = (uint8_t)(head >> 16);
	if ((head & 0xf) != BH_NVME_ZONE_TYPE_SEQ_WRITE || out->start < from || out->start >= end ||
	    out->start % zone || out->capacity > zone)
		return false;
	if (has_wp(out->state))
		return out->wp >= out->start && out->wp - out->start <= out->capacity;
	out->wp = out->state == BH_NVME_ZONE_STATE_FULL ? out->start + out->capacity : UINT64_MAX;
	return out->state >= BH_NVME_ZONE_STATE_READ_ONLY;
}

int bh_nvme_zone_report_read(const struct bh_nvme_ns *ns, const void *buf, size_t bytes,
			     uint32_t flags, struct bh_nvme_zone *out, unsigned int max,
			     uint64_t *matching)
{
	uint64_t zone = zone_blocks(ns), blocks = bh_nvme_ns_blocks(ns), n, from = 0, room, end;
	size_t step = desc_bytes(ns, flags);
	const uint8_t *at = (const uint8_t *)buf + sizeof(struct bh_nvme_zone_report);
	unsigned int i;

	if (!zone || bytes < sizeof(struct bh_nvme_zone_report))
		return -EPROTO;
	n = bh_load_u64(buf);
	if (n > blocks / zone)
		return -EPROTO;
	if (matching)
		*matching = n;
	end = blocks / zone * zone;
	room = (bytes - sizeof(struct bh_nvme_zone_report)) / step;
	n = n < room ? n : room;
	n = n < max ? n : max;
	for (i = 0; i < n; i++, at += step) {
		if (!read_desc(at, zone, end, from, &out[i]))
			return -EPROTO;
		from = out[i].start + zone;
	}
	return (int)n;
}

const void *bh_nvme_zone_report_ext(const struct bh_nvme_ns *ns, const void *buf, size_t bytes,
				    unsigned int i)
{
	size_t step = desc_bytes(ns, BH_NVME_ZONE_REPORT_EXTENDED);
	size_t at = sizeof(struct bh_nvme_zone_report) + i * step;

	if (!ext_bytes(ns) || at > bytes || step > bytes - at)
		return NULL;
	return (const uint8_t *)buf + at + sizeof(struct bh_nvme_zone_desc);
}

const char *bh_nvme_zone_state_str(uint8_t state)
{
	static const char *const names[16] = {
		[BH_NVME_ZONE_STATE_EMPTY] = "Empty",
		[BH_NVME_ZONE_STATE_IMPLICITLY_OPEN] = "Implicitly Opened",
		[BH_NVME_ZONE_STATE_EXPLICITLY_OPEN] = "Explicitly Opened",
		[BH_NVME_ZONE_STATE_CLOSED] = "Closed",
		[BH_NVME_ZONE_STATE_READ_ONLY] = "Read Only",
		[BH_NVME_ZONE_STATE_FULL] = "Full",
		[BH_NVME_ZONE_STATE_OFFLINE] = "Offline",
	};

	return state < 16 && names[state] ? names[state] : "Unknown";
}

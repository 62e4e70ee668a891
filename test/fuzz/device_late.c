/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands for namespaces that are more than blocks: metadata, what stays inside, zones, and
 * reservations; what manages namespaces; and what the host of a second controller does meanwhile.
 */
#include <string.h>

#include <bellhop/zones.h>

#include "device.h"

static const struct bh_blk *store_of(uint32_t nsid)
{
	return nsid >= 1 && nsid <= FZ_NS ? fz_blk[nsid] : NULL;
}

uint32_t dv_bytes(uint32_t nsid, uint32_t blocks)
{
	const struct bh_blk *blk = store_of(nsid);
	const struct bh_blk_format *f = blk ? &bh_blk_info(blk)->format : NULL;

	if (!f)
		return blocks * 512;
	return blocks * (f->block_size + (f->interleaved ? f->md_bytes : 0u));
}

/* ---- metadata ---- */

void dv_metadata(struct bh_nvme_cmd *cmd, const struct step *s, uint32_t blocks)
{
	const struct bh_blk *blk = store_of(cmd->nsid);
	uint64_t at = dv_place((uint8_t)(s->d >> 24) & 7) + METADATA % SIDE_BYTES;
	uint8_t psdt = cmd->flags & BH_NVME_PSDT_MASK;
	struct bh_nvme_sgl d = { .type = BH_NVME_SGL_DATA_BLOCK };

	if (!blk || !blk->md)
		return;
	if (dv_place((uint8_t)(s->d >> 24) & 7) == FZ_IOVA)
		at = FZ_IOVA + METADATA;
	cmd->cdw12 |= (s->d >> 10 & 0xf) << 26;
	cmd->cdw14 = s->d & 1u << 31 ? (uint32_t)s->e : cmd->cdw10;
	cmd->cdw15 = (s->d >> 29 & 3) | 0xffff0000u;
	cmd->mptr = at + (s->d & 1u << 14 ? 2 : 0);
	if (psdt == BH_NVME_PSDT_PRP || !(s->d & 1u << 15))
		return;
	cmd->flags |= BH_NVME_PSDT_SGL_MPTR_SGL;
	d.addr = cmd->mptr;
	d.len = blocks * bh_blk_info(blk)->format.md_bytes;
	memcpy(fz_mem + LISTS - sizeof(d), &d, sizeof(d));
	cmd->mptr = FZ_IOVA + LISTS - sizeof(d);
}

/* ---- I/O ---- */

static uint64_t data_of(const struct step *s)
{
	return dv_address((uint8_t)s->e, (uint16_t)(s->e >> 8));
}

static void copy(struct bh_nvme_cmd *cmd, const struct step *s)
{
	uint32_t n = 1 + (s->d >> 16 & 7);

	for (uint32_t i = 0; i < n; i++) {
		const struct bh_nvme_copy_range range = {
			.slba = (s->d & 0xff) + i * (s->d >> 20 & 0xf),
			.nlb = (uint16_t)(s->d >> 8 & 3),
			.eilbrt = (s->d & 0xff) + i * (s->d >> 20 & 0xf),
		};

		dv_poke(data_of(s) + i * sizeof(range), &range, sizeof(range));
	}
	cmd->cdw10 = (uint32_t)(s->e >> 48) & 0x1ff;
	cmd->cdw12 = (n - 1) | (s->d >> 24 & 0xf) << 26 | (s->d >> 28) << 12;
	cmd->cdw14 = cmd->cdw10;
	dv_point(cmd, s, n * (uint32_t)sizeof(struct bh_nvme_copy_range));
}

/* A zone's beginning, or where it is to be written. */
static uint64_t zone_lba(uint32_t nsid, const struct step *s, bool is_wp)
{
	struct {
		struct bh_nvme_zone_report head;
		struct bh_nvme_zone_desc zone;
	} report;
	const struct bh_blk *blk = store_of(nsid);
	struct bh_zone_geometry g;
	uint64_t lba;

	if (!blk || !blk->zones)
		return s->d & 0xff;
	bh_zones_geometry(blk->zones, &g);
	lba = (s->d & 15) * g.zone_blocks;
	if (is_wp && bh_zones_report(blk->zones, lba, 0, true, &report, sizeof(report)) == 0 &&
	    report.zone.wp != UINT64_MAX)
		lba = report.zone.wp;
	return lba;
}

static void zone(struct bh_nvme_cmd *cmd, const struct step *s)
{
	uint32_t nlb = s->d >> 16 & 7;

	cmd->cdw10 = (uint32_t)zone_lba(cmd->nsid, s, cmd->opc == BH_NVME_CMD_WRITE);
	cmd->cdw12 = nlb;
	if (cmd->opc == BH_NVME_CMD_ZONE_MGMT_SEND) {
		cmd->cdw13 = (s->d >> 8 & 7) | (s->d >> 11 & 1) << 8;
		return;
	}
	if (cmd->opc == BH_NVME_CMD_ZONE_MGMT_RECV) {
		cmd->cdw12 = nlb * 64 + 15;
		cmd->cdw13 = (s->d >> 8 & 7) << 8 | (s->d >> 11 & 1) << 16;
		dv_point(cmd, s, (cmd->cdw12 + 1) * 4);
		return;
	}
	dv_point(cmd, s, dv_bytes(cmd->nsid, nlb + 1));
	dv_metadata(cmd, s, nlb + 1);
}

static void reserve(struct bh_nvme_cmd *cmd, const struct step *s)
{
	const uint64_t keys[] = { s->d & 1, s->d >> 1 & 1 };

	if (cmd->opc == BH_NVME_CMD_RESV_REPORT) {
		cmd->cdw10 = s->d >> 8 & 63;
		cmd->cdw11 = s->d >> 16 & 1;
		dv_point(cmd, s, (cmd->cdw10 + 1) * 4);
		return;
	}
	dv_poke(data_of(s), keys, sizeof(keys));
	cmd->cdw10 =
		(s->d >> 8 & 3) | (s->d >> 10 & 1) << 3 | (s->d >> 12 & 7) << 8 | (s->d & 3u << 30);
	dv_point(cmd, s, cmd->opc == BH_NVME_CMD_RESV_RELEASE ? 8 : sizeof(keys));
}

/* Compare, and what is written if it was so: two entries. */
static void fuse(struct bh_nvme_cmd *cmd, const struct step *s)
{
	uint32_t nlb = s->d >> 16 & 3;

	cmd->cdw10 = s->d & 0xff;
	cmd->cdw12 = nlb;
	cmd->opc = BH_NVME_CMD_COMPARE;
	cmd->flags = 1;
	dv_point(cmd, s, dv_bytes(cmd->nsid, nlb + 1));
	dv_metadata(cmd, s, nlb + 1);
	if (!(s->c & 8))
		dv_submit(cmd, s);
	cmd->flags = (uint8_t)((cmd->flags & ~3) | 2);
	cmd->opc = s->c & 4 ? BH_NVME_CMD_WRITE_ZEROES : BH_NVME_CMD_WRITE;
	cmd->cdw10 += s->d >> 18 & 1;
}

void dv_late(const struct step *s)
{
	static const uint8_t opcodes[] = {
		BH_NVME_CMD_VERIFY,	   BH_NVME_CMD_COPY,
		BH_NVME_CMD_ZONE_APPEND,   BH_NVME_CMD_ZONE_MGMT_SEND,
		BH_NVME_CMD_RESV_REGISTER, BH_NVME_CMD_RESV_ACQUIRE,
		BH_NVME_CMD_RESV_RELEASE,  BH_NVME_CMD_RESV_REPORT,
		BH_NVME_CMD_WRITE,	   BH_NVME_CMD_WRITE_UNCORRECTABLE,
		BH_NVME_CMD_COMPARE,	   BH_NVME_CMD_ZONE_MGMT_RECV,
	};
	struct bh_nvme_cmd cmd = { .opc = opcodes[s->b % sizeof(opcodes)],
				   .nsid = 1 + (s->a >> 2) % FZ_NS };

	switch (cmd.opc) {
	case BH_NVME_CMD_COPY:
		copy(&cmd, s);
		break;
	case BH_NVME_CMD_WRITE_UNCORRECTABLE:
	case BH_NVME_CMD_VERIFY:
		cmd.cdw10 = s->d & 0x1ff;
		cmd.cdw12 = s->d >> 16 & 0xf;
		dv_metadata(&cmd, s, cmd.cdw12 + 1);
		break;
	case BH_NVME_CMD_COMPARE:
		fuse(&cmd, s);
		break;
	case BH_NVME_CMD_RESV_REGISTER:
	case BH_NVME_CMD_RESV_ACQUIRE:
	case BH_NVME_CMD_RESV_RELEASE:
	case BH_NVME_CMD_RESV_REPORT:
		reserve(&cmd, s);
		break;
	default:
		zone(&cmd, s);
		break;
	}
	dv_submit(&cmd, s);
}

/* ---- management ---- */

/* Data of an admin command: zeros but for these. */
static void put_data(const void *bytes, size_t len)
{
	memset(fz_mem + FZ_DATA, 0, PAGE);
	memcpy(fz_mem + FZ_DATA, bytes, len);
}

static void create_ns(struct bh_nvme_cmd *cmd, const struct step *s)
{
	struct bh_nvme_id_ns id = { .nsze = 1 + (s->d & 0x1ff), .ncap = 1 + (s->d & 0x1ff) };

	id.flbas = (s->c & 7) | (s->d >> 16 & 0x10);
	id.nmic = s->c >> 3 & 1;
	id.dps = s->c >> 4 & 7;
	put_data(&id, 48);
	cmd->opc = BH_NVME_ADMIN_NS_MANAGEMENT;
	cmd->nsid = 0;
}

static void attach_ns(struct bh_nvme_cmd *cmd, const struct step *s, uint32_t sel)
{
	const uint16_t lists[][3] = { { 1, 1 }, { 1, 2 }, { 2, 1, 2 }, { 2, 2, 1 } };

	put_data(lists[s->c & 3], sizeof(lists[0]));
	cmd->opc = BH_NVME_ADMIN_NS_ATTACHMENT;
	cmd->cdw10 = sel;
}

/* Identity of the host, notices, persistence; or all of the data go. */
static void set_host(struct bh_nvme_cmd *cmd, const struct step *s)
{
	const uint64_t id[] = { s->d & 3, s->d & 4 };

	put_data(id, sizeof(id));
	cmd->opc = BH_NVME_ADMIN_SET_FEATURES;
	cmd->cdw10 = BH_NVME_FEAT_HOST_ID + s->c % 3;
	cmd->cdw11 = s->d >> 8 & 0xff;
	if (s->c % 4 != 3)
		return;
	cmd->opc = BH_NVME_ADMIN_SANITIZE;
	cmd->cdw10 = s->d & 0x7ff;
	cmd->nsid = 0;
}

static void manage(struct bh_nvme_cmd *cmd, const struct step *s)
{
	static const uint8_t tests[] = { 1, 2, 15, 14 };

	cmd->nsid = 1 + (s->a >> 2) % (FZ_NS + 3);
	cmd->dptr.prp.prp1 = FZ_IOVA + FZ_DATA;
	switch (s->b & 7) {
	case 0:
	case 1:
		cmd->opc = BH_NVME_ADMIN_FORMAT_NVM;
		cmd->cdw10 = (s->d & 7) | (s->d & 0xff0);
		break;
	case 2:
		create_ns(cmd, s);
		break;
	case 3:
		cmd->opc = BH_NVME_ADMIN_NS_MANAGEMENT;
		cmd->cdw10 = BH_NVME_NS_MGMT_DELETE;
		if (s->c & 0x80)
			cmd->nsid = BH_NVME_NSID_ALL;
		break;
	case 4:
		attach_ns(cmd, s, BH_NVME_NS_ATTACH);
		break;
	case 5:
		attach_ns(cmd, s, BH_NVME_NS_DETACH);
		break;
	case 6:
		cmd->opc = BH_NVME_ADMIN_DEVICE_SELF_TEST;
		cmd->cdw10 = tests[s->c & 3];
		break;
	default:
		set_host(cmd, s);
		break;
	}
}

void dv_manage(const struct step *s)
{
	struct bh_nvme_cmd cmd = { 0 };

	manage(&cmd, s);
	dv_admin(&cmd);
}

/* ---- the other host ---- */

static void other_io(const struct step *s)
{
	static const uint8_t opcodes[] = { BH_NVME_CMD_RESV_REGISTER, BH_NVME_CMD_RESV_ACQUIRE,
					   BH_NVME_CMD_RESV_RELEASE,  BH_NVME_CMD_READ,
					   BH_NVME_CMD_WRITE,	      BH_NVME_CMD_RESV_REGISTER,
					   BH_NVME_CMD_RESV_ACQUIRE,  BH_NVME_CMD_FLUSH };
	struct step plain = *s;
	struct bh_nvme_cmd cmd = { .opc = opcodes[s->b >> 2 & 7], .nsid = 1 + (s->a >> 2) % FZ_NS };

	plain.e = 0x800; /* the first data page */
	plain.c = 0;
	if (cmd.opc == BH_NVME_CMD_READ || cmd.opc == BH_NVME_CMD_WRITE) {
		cmd.cdw10 = s->d & 0xff;
		dv_point(&cmd, &plain, dv_bytes(cmd.nsid, 1));
	} else if (cmd.opc != BH_NVME_CMD_FLUSH) {
		reserve(&cmd, &plain);
	}
	cmd.cid = dv.next_cid++;
	fz_submit(1, &cmd);
	fz_ring(1);
	fz_reap(1);
}

void dv_other(const struct step *s)
{
	struct bh_nvme_cmd cmd = { 0 };

	if (fz_here() != FZ_SHARED)
		return;
	fz_use(1);
	switch (s->b & 3) {
	case 0: /* by its admin queue */
		if (s->b & 4)
			manage(&cmd, &(struct step){ .a = s->a, .b = s->c, .c = s->c, .d = s->d });
		else
			cmd.opc = BH_NVME_ADMIN_ASYNC_EVENT;
		dv_admin(&cmd);
		break;
	case 1:
		fz_send(VFU_DEVICE_RESET, 0, NULL, 0, NULL, 0);
		fz_pump();
		fz_enable();
		fz_create_queues();
		break;
	default:
		other_io(s);
		break;
	}
	fz_use(0);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fake controller's zones: states by the ZNS specification's machine as far as hosts drive it,
 * and reports, which tests can have lie.
 */
#include <string.h>

#include "fake_ctrl.h"

static bool is_open(const struct fake_zone *z)
{
	return z->state == BH_NVME_ZONE_STATE_IMPLICITLY_OPEN ||
	       z->state == BH_NVME_ZONE_STATE_EXPLICITLY_OPEN;
}

static unsigned int count_open(const struct fake *f)
{
	unsigned int i, n = 0;

	for (i = 0; i < FAKE_ZONES; i++)
		n += is_open(&f->zones[i]);
	return n;
}

static uint64_t capacity(const struct fake *f)
{
	return f->o.zone_cap ? f->o.zone_cap : f->o.zone;
}

void fake_zns_init(struct fake *f)
{
	unsigned int i;

	for (i = 0; f->o.zone && i < FAKE_ZONES && i < FAKE_BLOCKS / f->o.zone; i++)
		f->zones[i] = (struct fake_zone){ BH_NVME_ZONE_STATE_EMPTY, i * f->o.zone };
}

bool fake_is_zoned(const struct fake *f, uint32_t nsid)
{
	return nsid && nsid <= 8 && f->o.iocs && f->o.csi[nsid - 1] == BH_NVME_CSI_ZNS;
}

void fake_zns_id_ns(struct fake *f, struct bh_nvme_id_ns_zns *id)
{
	id->mar = f->o.mar;
	id->mor = f->o.mor;
	id->ozcs = f->o.read_across ? BH_NVME_OZCS_READ_ACROSS : 0;
	id->lbafe[0].zsze = f->o.any_zone ? f->o.lying_zone : f->o.zone;
	id->lbafe[0].zdes = f->o.zdes;
}

/* Write or append: opens the zone implicitly, moves the write pointer, fills it. */
static uint16_t advance(struct fake *f, struct fake_zone *z, uint64_t at, uint64_t blocks)
{
	uint64_t start = at / f->o.zone * f->o.zone;

	if (z->state == BH_NVME_ZONE_STATE_FULL)
		return BH_NVME_SC_ZONE_IS_FULL;
	if (z->state == BH_NVME_ZONE_STATE_READ_ONLY)
		return BH_NVME_SC_ZONE_IS_READ_ONLY;
	if (z->state == BH_NVME_ZONE_STATE_OFFLINE)
		return BH_NVME_SC_ZONE_IS_OFFLINE;
	if (at + blocks > start + capacity(f))
		return BH_NVME_SC_ZONE_BOUNDARY_ERROR;
	if (at != z->wp)
		return BH_NVME_SC_ZONE_INVALID_WRITE;
	if (!is_open(z)) {
		if (f->o.mor && count_open(f) > f->o.mor)
			return BH_NVME_SC_ZONE_TOO_MANY_OPEN;
		z->state = BH_NVME_ZONE_STATE_IMPLICITLY_OPEN;
	}
	z->wp += blocks;
	if (z->wp == start + capacity(f))
		z->state = BH_NVME_ZONE_STATE_FULL;
	return 0;
}

uint16_t fake_zns_check(struct fake *f, const struct bh_nvme_cmd *cmd, uint64_t *lba,
			uint64_t blocks)
{
	struct fake_zone *z = &f->zones[*lba / f->o.zone];
	uint16_t status;

	if (cmd->opc == BH_NVME_CMD_READ || cmd->opc == BH_NVME_CMD_COMPARE)
		return f->o.read_across || *lba / f->o.zone == (*lba + blocks - 1) / f->o.zone
			       ? 0
			       : BH_NVME_SC_ZONE_BOUNDARY_ERROR;
	if (cmd->opc != BH_NVME_CMD_ZONE_APPEND)
		return advance(f, z, *lba, blocks);
	if (*lba % f->o.zone)
		return BH_NVME_SC_INVALID_FIELD;
	if (f->o.zasl && blocks << f->o.block_shift > 4096ull << f->o.zasl)
		return BH_NVME_SC_INVALID_FIELD;
	*lba = z->wp;
	status = advance(f, z, *lba, blocks);
	f->result[0] = (uint32_t)*lba + fake_get(&f->append_lie);
	f->result[1] = (uint32_t)(*lba >> 32);
	return status;
}

static uint16_t transit(struct fake *f, struct fake_zone *z, uint64_t start, uint8_t action)
{
	bool gone =
		z->state == BH_NVME_ZONE_STATE_READ_ONLY || z->state == BH_NVME_ZONE_STATE_OFFLINE;

	if (action == BH_NVME_ZONE_ACTION_OFFLINE) {
		if (z->state != BH_NVME_ZONE_STATE_READ_ONLY)
			return BH_NVME_SC_ZONE_INVALID_TRANSITION;
		z->state = BH_NVME_ZONE_STATE_OFFLINE;
		return 0;
	}
	if (gone)
		return BH_NVME_SC_ZONE_INVALID_TRANSITION;
	switch (action) {
	case BH_NVME_ZONE_ACTION_OPEN:
		if (z->state == BH_NVME_ZONE_STATE_FULL)
			return BH_NVME_SC_ZONE_INVALID_TRANSITION;
		if (!is_open(z) && count_open(f) > f->o.mor)
			return BH_NVME_SC_ZONE_TOO_MANY_OPEN;
		z->state = BH_NVME_ZONE_STATE_EXPLICITLY_OPEN;
		return 0;
	case BH_NVME_ZONE_ACTION_CLOSE:
		if (!is_open(z) && z->state != BH_NVME_ZONE_STATE_CLOSED)
			return BH_NVME_SC_ZONE_INVALID_TRANSITION;
		z->state = BH_NVME_ZONE_STATE_CLOSED;
		return 0;
	case BH_NVME_ZONE_ACTION_FINISH:
		z->state = BH_NVME_ZONE_STATE_FULL;
		return 0;
	case BH_NVME_ZONE_ACTION_RESET:
		*z = (struct fake_zone){ BH_NVME_ZONE_STATE_EMPTY, start };
		return 0;
	}
	return BH_NVME_SC_INVALID_FIELD;
}

uint16_t fake_zns_send(struct fake *f, const struct bh_nvme_cmd *cmd)
{
	uint64_t lba = cmd->cdw10 | (uint64_t)cmd->cdw11 << 32, i;
	uint8_t action = cmd->cdw13 & 0xff, ext[255 * 64];

	if (lba >= FAKE_BLOCKS || lba % f->o.zone)
		return BH_NVME_SC_INVALID_FIELD;
	if (action == BH_NVME_ZONE_ACTION_SET_DESC_EXT) {
		if (!fake_copy(f, cmd, ext, f->o.zdes * 64u, false))
			return BH_NVME_SC_DATA_TRANSFER_ERROR;
		if (f->zones[lba / f->o.zone].state != BH_NVME_ZONE_STATE_EMPTY)
			return BH_NVME_SC_ZONE_INVALID_TRANSITION;
		memcpy(f->ext, ext, f->o.zdes * 64u);
		f->ext_zone = lba / f->o.zone;
		f->zones[lba / f->o.zone].state = BH_NVME_ZONE_STATE_CLOSED;
		return 0;
	}
	if (!(cmd->cdw13 & BH_NVME_ZONE_SELECT_ALL))
		return transit(f, &f->zones[lba / f->o.zone], lba, action);
	for (i = 0; i < FAKE_BLOCKS / f->o.zone; i++)
		if (f->zones[i].state != BH_NVME_ZONE_STATE_EMPTY ||
		    action == BH_NVME_ZONE_ACTION_OPEN)
			transit(f, &f->zones[i], i * f->o.zone, action);
	return 0;
}

static bool matches(uint8_t state, unsigned int filter)
{
	static const uint8_t of[] = { 0,
				      BH_NVME_ZONE_STATE_EMPTY,
				      BH_NVME_ZONE_STATE_IMPLICITLY_OPEN,
				      BH_NVME_ZONE_STATE_EXPLICITLY_OPEN,
				      BH_NVME_ZONE_STATE_CLOSED,
				      BH_NVME_ZONE_STATE_FULL,
				      BH_NVME_ZONE_STATE_READ_ONLY,
				      BH_NVME_ZONE_STATE_OFFLINE };

	return !filter || of[filter] == state;
}

static void lie(uint32_t how, struct bh_nvme_zone_desc *d, uint64_t zone)
{
	switch (how) {
	case FAKE_LIE_BACKWARDS:
		d->zslba = d->wp = 0;
		break;
	case FAKE_LIE_OUTSIDE:
		d->zslba += FAKE_BLOCKS;
		break;
	case FAKE_LIE_OFF_BORDER:
		d->zslba++;
		break;
	case FAKE_LIE_CAPACITY:
		d->zcap = zone + 1;
		break;
	case FAKE_LIE_WP_BELOW:
		d->wp = d->zslba - 1;
		break;
	case FAKE_LIE_WP_ABOVE:
		d->wp = d->zslba + d->zcap + 1;
		break;
	case FAKE_LIE_STATE:
		d->zs = 0x70;
		break;
	case FAKE_LIE_TYPE:
		d->zt = 1;
		break;
	}
}

uint16_t fake_zns_receive(struct fake *f, const struct bh_nvme_cmd *cmd)
{
	static uint8_t buf[1u << 20]; /* under the lock */
	uint64_t lba = cmd->cdw10 | (uint64_t)cmd->cdw11 << 32, i, n = 0, put = 0;
	uint64_t len = (cmd->cdw12 + 1ull) * 4, step = 64;
	unsigned int filter = cmd->cdw13 >> 8 & 0xff;
	uint32_t how = fake_get(&f->lie);

	if (cmd->cdw13 & BH_NVME_ZONE_REPORT_EXTENDED)
		step += f->o.zdes * 64u;
	if (lba >= FAKE_BLOCKS || len < 64 || len > sizeof(buf) || filter > 7)
		return BH_NVME_SC_INVALID_FIELD;
	memset(buf, 0, len);
	for (i = lba / f->o.zone; i < FAKE_BLOCKS / f->o.zone; i++) {
		struct bh_nvme_zone_desc d = { .zt = BH_NVME_ZONE_TYPE_SEQ_WRITE };

		if (!matches(f->zones[i].state, filter))
			continue;
		n++;
		if (64 + (put + 1) * step > len)
			continue;
		d.zs = (uint8_t)(f->zones[i].state << 4);
		d.zslba = i * f->o.zone;
		d.zcap = capacity(f);
		d.wp = f->zones[i].wp;
		if (f->zones[i].state >= BH_NVME_ZONE_STATE_READ_ONLY)
			d.wp = UINT64_MAX;
		lie(how, &d, f->o.zone);
		memcpy(buf + 64 + put * step, &d, sizeof(d));
		if (step > 64 && f->ext_zone == i)
			memcpy(buf + 64 + put * step + 64, f->ext, step - 64);
		put++;
	}
	n = cmd->cdw13 & BH_NVME_ZONE_REPORT_PARTIAL ? put : n;
	if (how == FAKE_LIE_COUNT)
		n = UINT64_MAX;
	else if (how == FAKE_LIE_MORE)
		n = FAKE_BLOCKS / f->o.zone; /* of which the buffer has room for fewer */
	memcpy(buf, &n, 8);
	__atomic_fetch_add(&f->reports, 1, __ATOMIC_RELAXED);
	return fake_copy(f, cmd, buf, len, true) ? 0 : BH_NVME_SC_DATA_TRANSFER_ERROR;
}

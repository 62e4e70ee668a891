/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fake controller's metadata and protection information, by the words of the specification and
 * with a CRC of its own: the driver is not tested against its own library.
 */
#include <stdlib.h>
#include <string.h>

#include "fake_ctrl.h"

#define DATA(f) (1u << (f)->o.block_shift)
#define TYPE(f) ((f)->o.dps & BH_NVME_DPS_TYPE_MASK)

uint8_t *fake_block(struct fake *f, uint32_t nsid, uint64_t lba)
{
	return f->disk + ((nsid - 1) * (uint64_t)FAKE_BLOCKS + lba) * (DATA(f) + f->o.ms);
}

static uint16_t crc(const uint8_t *p, size_t len)
{
	uint16_t c = 0;

	for (; len; len--) {
		c ^= (uint16_t)(*p++ << 8);
		for (int bit = 0; bit < 8; bit++)
			c = (uint16_t)(c << 1) ^ (c & 0x8000 ? 0x8bb7 : 0);
	}
	return c;
}

/* Offset of the tuple in a stored block; what the guard covers lies before it, in one piece. */
static uint32_t tuple_at(const struct fake *f)
{
	return DATA(f) + (f->o.dps & BH_NVME_DPS_FIRST ? 0 : f->o.ms - 8u);
}

static uint32_t ref_of(const struct fake *f, const struct bh_nvme_cmd *cmd, uint64_t i)
{
	return TYPE(f) == 3 ? cmd->cdw14 : cmd->cdw14 + (uint32_t)i;
}

static void make(const struct fake *f, const struct bh_nvme_cmd *cmd, uint64_t i, uint8_t *block)
{
	uint8_t *t = block + tuple_at(f);
	uint16_t guard = crc(block, tuple_at(f)), app = (uint16_t)cmd->cdw15;
	uint32_t ref = ref_of(f, cmd, i);
	const uint8_t tuple[8] = { (uint8_t)(guard >> 8), (uint8_t)guard,
				   (uint8_t)(app >> 8),	  (uint8_t)app,
				   (uint8_t)(ref >> 24),  (uint8_t)(ref >> 16),
				   (uint8_t)(ref >> 8),	  (uint8_t)ref };

	memcpy(t, tuple, 8);
}

static uint16_t check(const struct fake *f, const struct bh_nvme_cmd *cmd, uint64_t i,
		      const uint8_t *block)
{
	const uint8_t *t = block + tuple_at(f);
	uint16_t guard = (uint16_t)(t[0] << 8 | t[1]), app = (uint16_t)(t[2] << 8 | t[3]);
	uint32_t ref = (uint32_t)t[4] << 24 | (uint32_t)t[5] << 16 | (uint32_t)t[6] << 8 | t[7];

	if (app == 0xffff && (TYPE(f) != 3 || ref == 0xffffffff))
		return 0;
	if ((cmd->cdw12 & BH_NVME_IO_PRCHK_GUARD) && guard != crc(block, tuple_at(f)))
		return BH_NVME_SC_GUARD_CHECK_ERROR;
	if ((cmd->cdw12 & BH_NVME_IO_PRCHK_APP) && ((app ^ cmd->cdw15) & cmd->cdw15 >> 16))
		return BH_NVME_SC_APPTAG_CHECK_ERROR;
	if ((cmd->cdw12 & BH_NVME_IO_PRCHK_REF) && ref != ref_of(f, cmd, i))
		return BH_NVME_SC_REFTAG_CHECK_ERROR;
	return 0;
}

/* Buffers as they travel, beside blocks as they are stored. */
struct wire {
	uint8_t *data, *md;
	uint32_t unit, md_unit; /* bytes of a block */
};

static void to_block(const struct fake *f, const struct wire *w, uint64_t i, uint8_t *block)
{
	memcpy(block, w->data + i * w->unit, w->unit);
	if (w->md_unit)
		memcpy(block + DATA(f), w->md + i * w->md_unit, w->md_unit);
}

static void from_block(const struct fake *f, const struct wire *w, uint64_t i, const uint8_t *block)
{
	memcpy(w->data + i * w->unit, block, w->unit);
	if (w->md_unit)
		memcpy(w->md + i * w->md_unit, block + DATA(f), w->md_unit);
}

static uint16_t one_block(struct fake *f, const struct bh_nvme_cmd *cmd, const struct wire *w,
			  uint64_t i, uint8_t *stored)
{
	uint8_t block[65536 + 4096] = { 0 };
	bool pract = TYPE(f) && (cmd->cdw12 & BH_NVME_IO_PRACT);
	uint32_t len = DATA(f) + f->o.ms;
	uint16_t status = 0;

	if (cmd->opc == BH_NVME_CMD_READ) {
		status = TYPE(f) ? check(f, cmd, i, stored) : 0;
		if (!status)
			from_block(f, w, i, stored);
		return status;
	}
	if (cmd->opc != BH_NVME_CMD_WRITE_ZEROES)
		to_block(f, w, i, block);
	if (cmd->opc == BH_NVME_CMD_COMPARE)
		return memcmp(block, stored, len) ? BH_NVME_SC_COMPARE_FAILURE : 0;
	if (pract)
		make(f, cmd, i, block);
	else if (TYPE(f))
		status = check(f, cmd, i, block);
	if (!status)
		memcpy(stored, block, len);
	return status;
}

static uint16_t each_block(struct fake *f, const struct bh_nvme_cmd *cmd, const struct wire *w,
			   uint64_t lba, uint64_t blocks)
{
	bool read = cmd->opc == BH_NVME_CMD_READ, none = cmd->opc == BH_NVME_CMD_WRITE_ZEROES;
	uint64_t i, md_bytes = blocks * w->md_unit;
	uint16_t status = 0;

	if (!read && !none &&
	    (!fake_copy(f, cmd, w->data, blocks * w->unit, false) ||
	     (md_bytes && !fake_move(f, cmd->mptr, w->md, md_bytes, false))))
		return BH_NVME_SC_DATA_TRANSFER_ERROR;
	for (i = 0; i < blocks && !status; i++)
		status = one_block(f, cmd, w, i, fake_block(f, cmd->nsid, lba + i));
	if (read && !status &&
	    (!fake_copy(f, cmd, w->data, blocks * w->unit, true) ||
	     (md_bytes && !fake_move(f, cmd->mptr, w->md, md_bytes, true))))
		return BH_NVME_SC_DATA_TRANSFER_ERROR;
	return status;
}

static uint16_t invalid(struct fake *f, const struct bh_nvme_cmd *cmd, uint64_t lba)
{
	uint32_t checks = cmd->cdw12 & BH_NVME_IO_PRCHK_REF;

	if (cmd->opc == BH_NVME_CMD_COMPARE && (cmd->cdw12 & BH_NVME_IO_PRACT))
		return BH_NVME_SC_INVALID_PROTECTION_INFO;
	if (checks && (TYPE(f) == 3 || (TYPE(f) == 1 && cmd->cdw14 != (uint32_t)lba)))
		return BH_NVME_SC_INVALID_PROTECTION_INFO;
	return 0;
}

static void note(struct fake *f, const struct bh_nvme_cmd *cmd, const struct wire *w)
{
	if (w->md_unit)
		__atomic_fetch_add(&f->mptrs, 1, __ATOMIC_RELAXED);
	if (cmd->cdw12 & BH_NVME_IO_PRACT)
		__atomic_fetch_add(&f->practs, 1, __ATOMIC_RELAXED);
	fake_set(&f->prchks, cmd->cdw12 & (BH_NVME_IO_PRCHK_GUARD | BH_NVME_IO_PRCHK_APP |
					   BH_NVME_IO_PRCHK_REF));
	/* An address of metadata where none is transferred, or a misaligned one, or an SGL's way of
	 * naming it that was not offered. */
	if (w->md_unit ? (cmd->mptr & 3) || ((cmd->flags & BH_NVME_PSDT_MASK) && !f->o.sgl_mptr)
		       : cmd->mptr != 0)
		fake_fault(f);
}

uint16_t fake_meta_rw(struct fake *f, const struct bh_nvme_cmd *cmd, uint64_t lba, uint64_t blocks)
{
	bool strips = TYPE(f) && f->o.ms == 8 && (cmd->cdw12 & BH_NVME_IO_PRACT);
	bool none = cmd->opc == BH_NVME_CMD_WRITE_ZEROES;
	uint32_t md = strips || none ? 0 : f->o.ms;
	struct wire w = { .unit = DATA(f) + (f->o.extended ? md : 0),
			  .md_unit = f->o.extended ? 0 : md };
	uint16_t status = invalid(f, cmd, lba);

	note(f, cmd, &w);
	if (!none && f->o.mdts && blocks * w.unit > 4096ull << f->o.mdts)
		return BH_NVME_SC_INVALID_FIELD;
	if (!none && f->o.noiob && lba / f->o.noiob != (lba + blocks - 1) / f->o.noiob)
		fake_fault(f);
	if (!none && blocks * w.unit > fake_get(&f->max_bytes))
		fake_set(&f->max_bytes, (uint32_t)(blocks * w.unit));
	w.data = malloc(blocks * w.unit);
	w.md = malloc(blocks * w.md_unit + 1);
	if (!status)
		status = each_block(f, cmd, &w, lba, blocks);
	free(w.data);
	free(w.md);
	return status;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The fake controller's data path: PRPs and SGLs by the letter of the specification, a RAM disk. */
#include <string.h>

#include "fake_ctrl.h"

void fake_fault(struct fake *f)
{
	__atomic_fetch_add(&f->faults, 1, __ATOMIC_RELAXED);
}

uint8_t *fake_ptr(struct fake *f, uint64_t iova, uint64_t len)
{
	uint64_t va = iova - FAKE_DELTA;
	uint8_t *in_cmb = fake_cmb_ptr(f, iova, len);
	unsigned int i;

	if (in_cmb)
		return in_cmb;
	for (i = 0; i < f->mems; i++) {
		uint64_t off = va - (uint64_t)(uintptr_t)f->mem[i].va;

		if (len <= f->mem[i].len && off <= f->mem[i].len - len)
			return (uint8_t *)f->mem[i].va + off;
	}
	fake_fault(f);
	return NULL;
}

bool fake_move(struct fake *f, uint64_t iova, uint8_t *data, uint64_t len, bool to_host)
{
	uint8_t *p = fake_ptr(f, iova, len);

	if (!p)
		return false;
	if (to_host)
		memcpy(p, data, len);
	else
		memcpy(data, p, len);
	return true;
}

/* Base 2.0, 4.1.1: offset in PRP1 only; a list pointer may have one, its chain entries may not. */
static bool copy_prp(struct fake *f, const struct bh_nvme_cmd *cmd, uint8_t *data, uint64_t len,
		     bool to_host)
{
	uint64_t part = 4096 - (cmd->dptr.prp.prp1 & 4095), list = cmd->dptr.prp.prp2, entry;

	if (cmd->dptr.prp.prp1 & 3)
		return false;
	part = part < len ? part : len;
	if (!fake_move(f, cmd->dptr.prp.prp1, data, part, to_host))
		return false;
	data += part;
	len -= part;
	if (!len)
		return true;
	if (len <= 4096)
		return !(list & 4095) && fake_move(f, list, data, len, to_host);
	while (len) {
		uint8_t *p = fake_ptr(f, list, 8);

		if (!p || (list & 7))
			return false;
		if (fake_cmb_ptr(f, list, 8))
			__atomic_fetch_add(&f->cmb_lists, 1, __ATOMIC_RELAXED);
		memcpy(&entry, p, 8);
		if ((list & 4095) == 4088 && len > 4096) {
			__atomic_fetch_add(&f->chained, 1, __ATOMIC_RELAXED);
			if (entry & 4095)
				return false;
			list = entry;
			continue;
		}
		part = len < 4096 ? len : 4096;
		if ((entry & 4095) || !fake_move(f, entry, data, part, to_host))
			return false;
		data += part;
		len -= part;
		list += 8;
	}
	return true;
}

static bool copy_sgl(struct fake *f, const struct bh_nvme_cmd *cmd, uint8_t *data, uint64_t len,
		     bool to_host)
{
	const struct bh_nvme_sgl *first = &cmd->dptr.sgl;
	struct bh_nvme_sgl d;
	uint32_t i, n;
	uint8_t *p;

	__atomic_fetch_add(&f->sgls, 1, __ATOMIC_RELAXED);
	if (first->type == BH_NVME_SGL_DATA_BLOCK)
		return first->len == len && fake_move(f, first->addr, data, len, to_host);
	if (first->type != BH_NVME_SGL_LAST_SEGMENT || !first->len || first->len % 16)
		return false;
	n = first->len / 16;
	p = fake_ptr(f, first->addr, first->len);
	for (i = 0; p && i < n; i++) {
		memcpy(&d, p + 16 * i, 16);
		if (d.type != BH_NVME_SGL_DATA_BLOCK || d.len > len || !d.len ||
		    !fake_move(f, d.addr, data, d.len, to_host))
			return false;
		data += d.len;
		len -= d.len;
	}
	return p && !len;
}

bool fake_copy(struct fake *f, const struct bh_nvme_cmd *cmd, uint8_t *data, uint64_t len,
	       bool to_host)
{
	bool ok = (cmd->flags & BH_NVME_PSDT_MASK)
			  ? f->o.sgl && copy_sgl(f, cmd, data, len, to_host)
			  : copy_prp(f, cmd, data, len, to_host);

	if (!ok)
		fake_fault(f);
	return ok;
}

static uint16_t rw(struct fake *f, const struct bh_nvme_cmd *cmd)
{
	uint64_t lba = cmd->cdw10 | (uint64_t)cmd->cdw11 << 32;
	uint64_t blocks = (cmd->cdw12 & 0xffff) + 1u, bytes = blocks << f->o.block_shift;
	uint64_t ns_bytes = (uint64_t)FAKE_BLOCKS << f->o.block_shift;
	uint8_t *at, other[65536];
	uint64_t done;
	uint16_t status;

	if (cmd->nsid < 1 || cmd->nsid > f->o.namespaces)
		return BH_NVME_SC_INVALID_NS;
	if (lba >= FAKE_BLOCKS || blocks > FAKE_BLOCKS - lba)
		return BH_NVME_SC_LBA_OUT_OF_RANGE;
	status = fake_is_zoned(f, cmd->nsid) ? fake_zns_check(f, cmd, &lba, blocks) : 0;
	if (status)
		return status;
	if (f->o.ms)
		return fake_meta_rw(f, cmd, lba, blocks);
	at = f->disk + (cmd->nsid - 1) * ns_bytes + (lba << f->o.block_shift);
	if (cmd->opc == BH_NVME_CMD_WRITE_ZEROES) {
		memset(at, 0, bytes);
		return 0;
	}
	if (f->o.mdts && bytes > 4096ull << f->o.mdts)
		return BH_NVME_SC_INVALID_FIELD;
	if (f->o.noiob && lba / f->o.noiob != (lba + blocks - 1) / f->o.noiob)
		fake_fault(f);
	if (bytes > fake_get(&f->max_bytes))
		fake_set(&f->max_bytes, (uint32_t)bytes);
	if (cmd->opc != BH_NVME_CMD_COMPARE)
		return fake_copy(f, cmd, at, bytes, cmd->opc == BH_NVME_CMD_READ)
			       ? 0
			       : BH_NVME_SC_DATA_TRANSFER_ERROR;
	done = bytes < sizeof(other) ? bytes : sizeof(other);
	if (done != bytes || !fake_copy(f, cmd, other, bytes, false))
		return BH_NVME_SC_DATA_TRANSFER_ERROR;
	return memcmp(other, at, bytes) ? BH_NVME_SC_COMPARE_FAILURE : 0;
}

static uint16_t dsm(struct fake *f, const struct bh_nvme_cmd *cmd)
{
	struct bh_nvme_dsm_range range[256];
	uint32_t i, n = (cmd->cdw10 & 0xff) + 1;

	if (!fake_copy(f, cmd, (uint8_t *)range, n * sizeof(range[0]), false))
		return BH_NVME_SC_DATA_TRANSFER_ERROR;
	for (i = 0; i < n; i++)
		memset(f->disk + (range[i].lba << f->o.block_shift), 0,
		       (uint64_t)range[i].blocks << f->o.block_shift);
	return 0;
}

bool fake_io(struct fake *f, uint16_t qid, const struct bh_nvme_cmd *cmd, uint16_t *status)
{
	uint32_t i;

	__atomic_fetch_add(&f->ios, 1, __ATOMIC_RELAXED);
	if (fake_get(&f->hold)) {
		for (i = 0; i < FAKE_HELD && f->held[i].used; i++)
			;
		if (i < FAKE_HELD)
			f->held[i] = (struct fake_held){ true, qid, cmd->cid };
		return false;
	}
	if (cmd->flags & BH_NVME_FUSE_SECOND && (!f->half.is_open || f->half.cpl.status)) {
		*status = f->half.is_open ? BH_NVME_SC_ABORTED_FAILED_FUSED
					  : BH_NVME_SC_ABORTED_MISSING_FUSED;
		return true;
	}
	*status = (uint16_t)__atomic_exchange_n(&f->fail_next, 0, __ATOMIC_ACQ_REL);
	if (*status)
		return true;
	switch (cmd->opc) {
	case BH_NVME_CMD_READ:
	case BH_NVME_CMD_WRITE:
	case BH_NVME_CMD_COMPARE:
	case BH_NVME_CMD_WRITE_ZEROES:
	case BH_NVME_CMD_ZONE_APPEND:
		*status = rw(f, cmd);
		break;
	case BH_NVME_CMD_ZONE_MGMT_SEND:
		*status = fake_zns_send(f, cmd);
		break;
	case BH_NVME_CMD_ZONE_MGMT_RECV:
		*status = fake_zns_receive(f, cmd);
		break;
	case BH_NVME_CMD_FLUSH:
		break;
	case BH_NVME_CMD_DSM:
		*status = dsm(f, cmd);
		break;
	default:
		*status = BH_NVME_SC_INVALID_OPCODE;
	}
	return true;
}

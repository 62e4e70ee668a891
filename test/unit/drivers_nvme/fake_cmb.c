/* SPDX-License-Identifier: BSD-3-Clause */
/* The fake controller's memory buffer: registers, BAR 2, addresses (Base 2.0, 3.1.3.11, 8.5). */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "fake_ctrl.h"

#define CONFIG_BAR2 0x18

bool fake_cmb_open(struct fake *f)
{
	const struct fake_cmb_opts *o = &f->o.cmb;
	uint64_t bar = o->address | 0xc; /* 64 bits, prefetchable */

	if (!o->bar_bytes)
		return true;
	memcpy(f->config + CONFIG_BAR2, &bar, sizeof(bar));
	f->bar2 = mmap(NULL, o->bar_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return f->bar2 != MAP_FAILED;
}

void fake_cmb_close(struct fake *f)
{
	if (f->bar2)
		munmap(f->bar2, f->o.cmb.bar_bytes);
}

void fake_cmb_regs(struct fake *f, uint8_t *regs)
{
	const struct fake_cmb_opts *o = &f->o.cmb;
	uint32_t size = fake_get(&f->other_cmb) ? fake_get(&f->other_cmb) : o->size;

	memcpy(regs + BH_NVME_REG_CMBMSC, &f->msc, 8);
	memcpy(regs + BH_NVME_REG_CMBSTS, &f->cmbsts, 4);
	if (!o->legacy && !BH_NVME_GET(f->msc, CMBMSC_CRE))
		return;
	memcpy(regs + BH_NVME_REG_CMBLOC, &o->loc, 4);
	memcpy(regs + BH_NVME_REG_CMBSZ, &size, 4);
}

void fake_cmb_write(struct fake *f, uint64_t offset, uint32_t value)
{
	uint64_t cba;

	if (f->o.cmb.legacy)
		return;
	memcpy((uint8_t *)&f->msc + (offset - BH_NVME_REG_CMBMSC), &value, 4);
	cba = f->msc & ~4095ull;
	f->cmbsts =
		f->o.cmb.least_bad && BH_NVME_GET(f->msc, CMBMSC_CMSE) && cba >= f->o.cmb.least_bad;
}

void fake_cmb_info(struct fake *f, struct bh_region_info *info)
{
	info->len = f->o.cmb.bar_bytes;
	info->flags = info->len ? BH_REGION_READ | BH_REGION_WRITE : 0;
	if (!info->len || f->o.cmb.unmappable)
		return;
	f->area2 = (struct bh_region_area){ 0, info->len };
	info->flags |= BH_REGION_MMAP;
	info->num_areas = 1;
	info->areas = &f->area2;
}

int fake_cmb_map(struct fake *f, uint64_t offset, uint64_t len, struct bh_map *map)
{
	if (f->o.cmb.unmappable)
		return -EOPNOTSUPP;
	*map = (struct bh_map){ .va = f->bar2 + offset,
				.offset = offset,
				.len = len,
				.requested = f->o.cmb.requested,
				.attr = f->o.cmb.attr,
				.fd = -1,
				.bar = 2,
				.why = "fake" };
	return 0;
}

uint8_t *fake_cmb_ptr(struct fake *f, uint64_t iova, uint64_t len)
{
	const struct fake_cmb_opts *o = &f->o.cmb;
	/* Where the unit is nonsense there is nothing. */
	unsigned int shift = 12 + 4 * (BH_NVME_GET(o->size, CMBSZ_SZU) % 8);
	uint64_t offset = BH_NVME_GET(o->loc, CMBLOC_OFST) << shift;
	uint64_t bytes = BH_NVME_GET(o->size, CMBSZ_SZ) << shift;
	uint64_t base = o->legacy ? o->address + offset : f->msc & ~4095ull;

	if (!f->bar2 || f->cmbsts || (!o->legacy && !BH_NVME_GET(f->msc, CMBMSC_CMSE)))
		return NULL;
	if (bytes > o->bar_bytes - offset)
		bytes = o->bar_bytes - offset;
	if (iova < base || iova - base >= bytes || len > bytes - (iova - base))
		return NULL;
	return f->bar2 + offset + (iova - base);
}

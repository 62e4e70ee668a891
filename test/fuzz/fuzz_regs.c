/* SPDX-License-Identifier: BSD-3-Clause */
/* Accesses to the controller's registers and doorbells, and resets between them. */
#include "fuzz.h"

#include <string.h>

static uint64_t offset_of(struct fz_input *in, uint8_t how)
{
	static const uint8_t known[] = { BH_NVME_REG_CC,  BH_NVME_REG_CSTS, BH_NVME_REG_AQA,
					 BH_NVME_REG_ASQ, BH_NVME_REG_ACQ,  BH_NVME_REG_INTMS,
					 BH_NVME_REG_CC,  BH_NVME_REG_CC };

	if (how & 0x40)
		return fz_u16(in);
	if (how & 0x20)
		return 0x1000u + (fz_u8(in) & 31) * 4u;
	return known[how >> 2 & 7];
}

static uint64_t value_of(struct fz_input *in, uint8_t how)
{
	if (how & 0x80)
		return fz_address(in);
	return fz_u32(in);
}

/* CC with what the controller supports, which random values seldom are. */
static void enable_or_disable(struct fz_input *in)
{
	uint8_t bits = fz_u8(in);

	fz_write(0, BH_NVME_REG_CC, (bits & 1) | (uint32_t)(bits & 0xc0) << 8 | 6u << 16 | 4u << 20,
		 4);
}

static void step(struct fz_input *in)
{
	uint8_t how = fz_u8(in);
	uint64_t offset;

	switch (how & 3) {
	case 0:
		if (how & 4)
			fz_pump();
		else if (how & 8)
			enable_or_disable(in);
		else
			fz_send(VFU_DEVICE_RESET, 0, NULL, 0, NULL, 0);
		break;
	case 1:
		offset = offset_of(in, how);
		fz_read(0, offset, how & 0x10 ? fz_u8(in) & 15 : 4);
		break;
	default:
		offset = offset_of(in, how);
		fz_write(0, offset, value_of(in, how), how & 0x10 ? fz_u8(in) & 8 : 4);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fz_input in = { data, size };
	uint8_t start = fz_u8(&in);
	unsigned int n = 0;

	fz_connect();
	fz_negotiate();
	fz_map((enum fz_memory)(start & 3));
	if (start & 4)
		fz_enable();
	while (in.left) {
		step(&in);
		if (++n % 16 == 0)
			fz_pump();
	}
	fz_pump();
	fz_disconnect();
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Accesses to configuration space, to the MSI-X table and its pending bits. */
#include "fuzz.h"

#include <string.h>

static void access_region(struct fz_input *in)
{
	static const uint32_t regions[] = { 7, 7, 7, 4 };
	uint8_t how = fz_u8(in);
	uint16_t offset = fz_u16(in);
	struct {
		struct vfu_region_access access;
		uint8_t data[64];
	} body = { .access = { offset, regions[how & 3], 1u << (how >> 2 & 3) } };
	size_t have;
	const uint8_t *data;

	if (how & 0x10)
		body.access.count = fz_u8(in) & 63;
	if (how & 0x20) {
		fz_read(body.access.region, offset, body.access.count);
		return;
	}
	data = fz_bytes(in, body.access.count, &have);
	memcpy(body.data, data, have);
	fz_send(VFU_REGION_WRITE, 0, &body, sizeof(body.access) + body.access.count, NULL, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fz_input in = { data, size };
	unsigned int n = 0;

	fz_connect();
	fz_negotiate();
	fz_map(FZ_MAPPED);
	fz_enable();
	while (in.left) {
		access_region(&in);
		if (++n % 8 == 0)
			fz_pump();
	}
	fz_pump();
	fz_disconnect();
	return 0;
}

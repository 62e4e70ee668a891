/* SPDX-License-Identifier: BSD-3-Clause */
/* Admin commands, with anything in the memory they point to, in every world. */
#include "fuzz.h"

#include <string.h>

static void patch(struct fz_input *in)
{
	uint32_t at = FZ_DATA + (uint32_t)fz_u8(in) * 16;
	size_t have;
	const uint8_t *bytes = fz_bytes(in, fz_u8(in), &have);

	memcpy(fz_mem + at, bytes, have);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fz_input in = { data, size };
	uint8_t start = fz_u8(&in);
	struct bh_nvme_cmd cmd;

	fz_enter((enum fz_world)(start >> 4 & 3));
	fz_connect();
	fz_negotiate();
	fz_map(start & 1 ? FZ_MAPPED : (enum fz_memory)(1 + (start >> 1 & 1)));
	fz_enable();
	if (start & 4)
		fz_create_queues();
	while (in.left) {
		uint8_t how = fz_u8(&in);

		if (how & 1)
			patch(&in);
		fz_command(&in, &cmd);
		fz_submit(0, &cmd);
		if (how & 2)
			continue; /* several at once */
		fz_ring(0);
		fz_reap(0);
	}
	fz_ring(0);
	fz_reap(0);
	fz_disconnect();
	return 0;
}

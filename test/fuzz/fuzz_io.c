/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/O commands with their PRP lists and SGLs, in every way client memory can be reached and in every
 * world.
 */
#include "fuzz.h"

#include <string.h>

/* Entries of lists: addresses, or descriptors with a length and a type. */
static void patch(struct fz_input *in, uint8_t how)
{
	uint32_t at = FZ_DATA + (uint32_t)fz_u8(in) * 16;
	unsigned int n = fz_u8(in) & 15;

	for (unsigned int i = 0; i < n; i++) {
		struct bh_nvme_sgl d = { .addr = fz_address(in) };

		if (how & 0x10) {
			d.len = fz_u16(in);
			d.type = fz_u8(in);
			memcpy(fz_mem + at, &d, sizeof(d));
			at += sizeof(d);
		} else {
			memcpy(fz_mem + at, &d.addr, sizeof(d.addr));
			at += sizeof(d.addr);
		}
	}
}

/* Opcodes that lie far from the others. */
static const uint8_t late[] = { BH_NVME_CMD_ZONE_MGMT_SEND, BH_NVME_CMD_ZONE_MGMT_RECV,
				BH_NVME_CMD_ZONE_APPEND };

/* Its memory goes away under the commands in flight. */
static void unmap(void)
{
	const struct vfu_dma_unmap body = {
		.argsz = sizeof(body),
		.address = FZ_IOVA,
		.size = FZ_BYTES,
	};

	fz_send(VFU_DMA_UNMAP, 0, &body, sizeof(body), NULL, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fz_input in = { data, size };
	uint8_t start = fz_u8(&in);
	struct bh_nvme_cmd cmd;

	fz_enter((enum fz_world)(start >> 6));
	fz_connect();
	fz_negotiate();
	fz_map((enum fz_memory)(1 + start % 3));
	fz_enable();
	fz_create_queues();
	while (in.left) {
		uint8_t how = fz_u8(&in);

		if (how & 1)
			patch(&in, how);
		fz_command(&in, &cmd);
		if (how & 4) /* an opcode there is */
			cmd.opc %= 0x1a;
		else if (how & 8)
			cmd.opc = late[cmd.opc % sizeof(late)];
		fz_submit(1, &cmd);
		if (how & 2)
			continue;
		fz_ring(1);
		if ((how & 0xe0) == 0xe0)
			unmap();
		fz_reap(1);
	}
	fz_ring(1);
	fz_reap(1);
	fz_disconnect();
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* One memory at several addresses, and memory of other kinds: see device.h. */
#include <string.h>
#include <unistd.h>

#include "device.h"

uint64_t dv_place(uint8_t where)
{
	static const uint64_t places[] = { FZ_IOVA,	 FZ_IOVA, AT_FILE, AT_MESSAGES,
					   AT_READ_ONLY, AT_CUT,  AT_CMB,  AT_NOTHING };

	return places[where & 7];
}

uint64_t dv_address(uint8_t where, uint16_t offset)
{
	uint64_t base = dv_place(where);
	uint32_t size =
		base == AT_READ_ONLY || base == AT_CUT || base == AT_CMB ? SIDE_BYTES : FZ_BYTES;

	if (base == AT_NOTHING && where & 8)
		return (uint64_t)offset << 48 | offset;
	return base + (where & 8 ? (offset * 4u) % size : (offset * (uint32_t)PAGE) % size);
}

/* Offset in the client's memory; false: it is somewhere else. */
bool dv_is_ours(uint64_t iova, uint64_t *offset)
{
	*offset = iova & 0xfffffff;
	return iova - FZ_IOVA < FZ_BYTES || iova - AT_FILE < FZ_BYTES ||
	       iova - AT_MESSAGES < FZ_BYTES;
}

/* Bytes into whatever is there, as the host's processor would store them. */
void dv_poke(uint64_t iova, const void *bytes, size_t len)
{
	struct {
		struct vfu_region_access access;
		uint8_t data[64];
	} body = { .access = { iova - AT_CMB, 2, (uint32_t)len } };

	uint64_t offset;

	if (dv_is_ours(iova, &offset)) {
		memcpy(fz_mem + offset, bytes, len);
	} else if (iova - AT_READ_ONLY < SIDE_BYTES) {
		memcpy(dv.read_only + (iova - AT_READ_ONLY), bytes, len);
		memcpy(dv.read_only_was + (iova - AT_READ_ONLY), bytes, len);
	} else if (iova - AT_CUT < SIDE_BYTES) {
		(void)!pwrite(dv.cut_fd, bytes, len, (off_t)(iova - AT_CUT));
	} else if (iova - AT_CMB < SIDE_BYTES) {
		memcpy(body.data, bytes, len);
		fz_send(VFU_REGION_WRITE, VFU_FLAG_NO_REPLY, &body, sizeof(body.access) + len, NULL,
			0);
	}
}

/* ---- memory ---- */

static void map(uint64_t iova, uint64_t len, uint32_t flags, int fd)
{
	const struct vfu_dma_map body = {
		.argsz = sizeof(body),
		.flags = flags,
		.address = iova,
		.size = len,
	};

	fz_send(VFU_DMA_MAP, 0, &body, sizeof(body), &fd, fd >= 0);
}

void dv_map_place(uint8_t where)
{
	const uint32_t both = VFU_DMA_FLAG_READ | VFU_DMA_FLAG_WRITE;

	switch (dv_place(where)) {
	case FZ_IOVA:
		map(FZ_IOVA, FZ_BYTES, both | VFU_DMA_FLAG_MMAP, fz_mem_fd);
		break;
	case AT_FILE:
		map(AT_FILE, FZ_BYTES, both | VFU_DMA_FLAG_FILE_IO, fz_mem_fd);
		break;
	case AT_MESSAGES:
		map(AT_MESSAGES, FZ_BYTES, both, -1);
		break;
	case AT_READ_ONLY:
		map(AT_READ_ONLY, SIDE_BYTES,
		    VFU_DMA_FLAG_READ | (where & 8 ? VFU_DMA_FLAG_FILE_IO : VFU_DMA_FLAG_MMAP),
		    dv.read_only_fd);
		break;
	case AT_CUT:
		(void)!ftruncate(dv.cut_fd, SIDE_BYTES);
		map(AT_CUT, SIDE_BYTES, both | (where & 8 ? VFU_DMA_FLAG_FILE_IO : 0), dv.cut_fd);
		break;
	case AT_CMB:
		fz_write(0, BH_NVME_REG_CMBMSC,
			 AT_CMB | BH_NVME_SET(CMBMSC_CRE, 1) | BH_NVME_SET(CMBMSC_CMSE, 1), 8);
		break;
	default:
		break;
	}
}

void dv_unmap_place(uint8_t where, bool all)
{
	struct vfu_dma_unmap body = {
		.argsz = sizeof(body),
		.flags = all ? VFU_UNMAP_FLAG_ALL : 0,
		.address = all ? 0 : dv_place(where),
		.size = all ? 0 : FZ_BYTES,
	};

	if (where & 8 && !all)
		body.size = SIDE_BYTES;
	fz_send(VFU_DMA_UNMAP, 0, &body, sizeof(body), NULL, 0);
}

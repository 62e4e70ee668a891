/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA_MAP and DMA_UNMAP: what the client lets the device reach.
 *
 * A request is checked as far as it can be before the device is asked to stand still: QEMU with a
 * virtual IOMMU unmaps a tiling of the whole address space, most of it never mapped, and each tile
 * should cost a look at the table only. An unmap removes every mapping that lies wholly inside its
 * range, which is more than the specification asks and what type1 does.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <bellhop/range.h>

#include "vfu_server/server.h"

#define MAP_MODES (VFU_DMA_FLAG_MMAP | VFU_DMA_FLAG_FILE_IO)
#define MAP_FLAGS (VFU_DMA_FLAG_READ | VFU_DMA_FLAG_WRITE | MAP_MODES)

static int apply_map(struct bh_vfu_server *s)
{
	struct vfu_msg *msg = &s->cur;
	enum bh_cmem_mode mode = BH_CMEM_MESSAGE;
	struct vfu_dma_map map;
	uint32_t prot = 0;
	int fd = -1, kept = -1, rc;

	memcpy(&map, msg->body, sizeof(map));
	if (msg->nfds > 0) {
		fd = msg->fds[0];
		msg->fds[0] = -1;
		mode = map.flags & VFU_DMA_FLAG_FILE_IO ? BH_CMEM_FILE : BH_CMEM_MAPPED;
	}
	if (map.flags & VFU_DMA_FLAG_READ)
		prot |= BH_CMEM_PROT_READ;
	if (map.flags & VFU_DMA_FLAG_WRITE)
		prot |= BH_CMEM_PROT_WRITE;
	if (mode == BH_CMEM_MAPPED && s->ops->mapped)
		kept = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	rc = bh_cmem_add(&s->cmem, map.address, map.size, prot, mode, fd, fd >= 0 ? map.offset : 0);
	if (rc == 0 && kept >= 0)
		s->ops->mapped(s->ops_ctx, map.address, map.size, prot, kept, map.offset);
	if (kept >= 0)
		vfus_close(s, kept);
	/* What the protocol calls too many regions; ENOSPC is too large a region. */
	return rc == -ENOSPC ? -EINVAL : rc;
}

static const char *why_not_map(int error)
{
	switch (error) {
	case -EEXIST:
		return "it overlaps other memory";
	case -EACCES:
		return "its descriptor does not allow that";
	case -EINVAL: /* DPDK announces pages that are a file each by the first one's */
		return "its file is shorter than that, or cannot be mapped (a client that uses "
		       "DPDK needs --single-file-segments, SPDK's programs -g)";
	}
	return strerror(-error);
}

/* Most clients say no more than that their first message about memory failed. */
static void tell_refusal(struct bh_vfu_server *s, int error)
{
	struct vfu_dma_map map;

	if (s->told_refusal)
		return;
	s->told_refusal = true;
	memcpy(&map, s->cur.body, sizeof(map));
	bh_log(s->log, BH_LOG_WARN, VFUS_LOG, "%s: memory at %#llx, %llu bytes, is refused: %s",
	       s->path, (unsigned long long)map.address, (unsigned long long)map.size,
	       why_not_map(error));
}

static void finish_map(struct bh_vfu_server *s, int rc)
{
	if (rc == 0)
		vfus_reply(s, NULL, 0, NULL, 0, NULL, 0);
	else if (s->state == VFUS_NEGOTIATED)
		tell_refusal(s, rc);
	vfus_finish(s, rc);
}

/*
 * May the client have another one? It has no more address space than one mapping may take, and a
 * share of what the process has of mappings and descriptors.
 */
static int check_share(const struct bh_cmem *cm, const struct vfu_dma_map *map)
{
	const enum bh_cmem_mode mode =
		map->flags & VFU_DMA_FLAG_FILE_IO ? BH_CMEM_FILE : BH_CMEM_MAPPED;
	const struct bh_cmem_table *table = cm->table;
	uint64_t bytes = 0;
	size_t i, n = 0;

	for (i = 0; i < table->count; i++) {
		if (table->region[i]->mode != mode)
			continue;
		bytes += table->region[i]->len;
		n++;
	}
	if (n >= (mode == BH_CMEM_FILE ? VFUS_MAX_FILES : VFUS_MAX_MAPPED))
		return -EINVAL;
	return mode == BH_CMEM_MAPPED && map->size > VFUS_MAX_DMA_SIZE - bytes ? -ENOSPC : 0;
}

int vfus_handle_dma_map(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	struct vfu_dma_map map;
	int rc;

	if (msg->body_len < sizeof(map))
		return -EINVAL;
	memcpy(&map, msg->body, sizeof(map));
	if (map.argsz < sizeof(map) || (map.flags & ~MAP_FLAGS) ||
	    (map.flags & MAP_MODES) == MAP_MODES)
		return -EINVAL;
	if (msg->nfds > 1 || ((map.flags & MAP_MODES) && msg->nfds == 0))
		return -EINVAL;
	if (!bh_range_valid(map.address, map.size))
		return -EINVAL;
	if (map.size > VFUS_MAX_DMA_SIZE)
		return -ENOSPC;
	rc = msg->nfds > 0 ? check_share(&s->cmem, &map) : 0;
	if (rc != 0)
		return rc;
	return vfus_gate_command(s, BH_QUIESCE_MAP, map.address, map.size, apply_map, finish_map);
}

static int apply_unmap(struct bh_vfu_server *s)
{
	struct vfu_dma_unmap unmap;

	memcpy(&unmap, s->cur.body, sizeof(unmap));
	return bh_cmem_del(&s->cmem, unmap.address, unmap.size);
}

static void finish_unmap(struct bh_vfu_server *s, int rc)
{
	struct vfu_dma_unmap unmap;

	if (rc == 0) {
		memcpy(&unmap, s->cur.body, sizeof(unmap));
		unmap.argsz = sizeof(unmap);
		vfus_reply(s, &unmap, sizeof(unmap), NULL, 0, NULL, 0);
	}
	vfus_finish(s, rc);
}

int vfus_handle_dma_unmap(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	struct vfu_dma_unmap unmap;
	int rc;

	if (msg->body_len < sizeof(unmap))
		return -EINVAL;
	memcpy(&unmap, msg->body, sizeof(unmap));
	if (unmap.argsz < sizeof(unmap) || unmap.argsz > VFU_MAX_DATA)
		return -EINVAL;
	if (unmap.flags == VFU_UNMAP_FLAG_ALL) {
		if (unmap.address != 0 || unmap.size != 0)
			return -EINVAL;
		return vfus_gate_command(s, BH_QUIESCE_UNMAP, 0, UINT64_MAX, apply_unmap,
					 finish_unmap);
	}
	/* There is no dirty bitmap without dirty tracking, which nobody could have started. */
	if (unmap.flags != 0 || !bh_range_valid(unmap.address, unmap.size))
		return -EINVAL;
	rc = bh_cmem_inside(&s->cmem, unmap.address, unmap.size);
	if (rc != 0)
		return rc;
	return vfus_gate_command(s, BH_QUIESCE_UNMAP, unmap.address, unmap.size, apply_unmap,
				 finish_unmap);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where doorbells are: found out when the controller is set up, and assigned to each queue.
 *
 * In order of preference: the mapped page; a region I/O fd (an eventfd beside a shared word that
 * takes the value); a posted region write; a region write. The admin queue's doorbells are among
 * them, but are never shadowed by Doorbell Buffer Config.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "nvme/nvme.h"

#define MAX_IO_FDS 1024

/* [*from, *from + *len): the mappable part of the doorbells of `queues` queues besides admin. */
static bool mappable(struct bh_nvme *nvme, unsigned int queues, uint64_t *from, uint64_t *len)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t begin = BH_NVME_REG_DOORBELLS / page * page, end, lo, hi;
	struct bh_region_info info;
	unsigned int i;

	end = BH_NVME_REG_DOORBELLS + 2ull * (queues + 1) * (4u << nvme->dstrd);
	end = (end + page - 1) / page * page;
	if (!(bh_device_caps(nvme->dev) & BH_CAP_REGION_MMAP) ||
	    bh_device_region_info(nvme->dev, 0, &info) || !(info.flags & BH_REGION_MMAP))
		return false;
	for (i = 0; i < info.num_areas; i++) {
		lo = info.areas[i].offset > begin ? info.areas[i].offset : begin;
		hi = info.areas[i].offset + info.areas[i].len;
		hi = hi < end ? hi : end;
		/* The area with the first I/O queue's doorbells is the one that matters. */
		if (lo <= bh_nvme_sq_doorbell(1, nvme->dstrd) &&
		    hi >= bh_nvme_cq_doorbell(1, nvme->dstrd) + 4u) {
			*from = lo;
			*len = hi - lo;
			return true;
		}
	}
	return false;
}

static void find_io_fds(struct bh_nvme *nvme)
{
	int n;

	if (!(bh_device_caps(nvme->dev) & BH_CAP_IOEVENTFD))
		return;
	nvme->io_fds = calloc(MAX_IO_FDS, sizeof(*nvme->io_fds));
	if (!nvme->io_fds)
		return;
	n = bh_device_region_io_fds(nvme->dev, 0, nvme->io_fds, MAX_IO_FDS);
	nvme->num_io_fds = n > 0 ? (unsigned int)n : 0;
}

unsigned int bh__bells_pairs(const struct bh_nvme *nvme)
{
	uint64_t stride = 4u << nvme->dstrd, pairs;
	struct bh_region_info info;

	if (bh_device_region_info(nvme->dev, 0, &info) || info.len < BH_NVME_REG_DOORBELLS + 4)
		return 0;
	/* The last doorbell needs its 4 bytes, not the whole stride. */
	pairs = ((info.len - BH_NVME_REG_DOORBELLS - 4) / stride + 1) / 2;
	return pairs > 65536 ? 65536 : (unsigned int)pairs;
}

int bh__bells_setup(struct bh_nvme *nvme)
{
	unsigned int queues = nvme->opts.queues ? nvme->opts.queues : 64;
	enum bh_attr want = nvme->opts.doorbell_attr == BH_ATTR_WC ? BH_ATTR_WC : BH_ATTR_UC;
	uint64_t from, len;
	int rc;

	if (!bh__bells_pairs(nvme)) {
		bh__log(nvme, BH_LOG_ERROR, "the doorbells lie outside BAR 0 (CAP.DSTRD %u)",
			nvme->dstrd);
		return bh_device_gone(nvme->dev) ? -ENODEV : -ENOTSUP;
	}
	if (mappable(nvme, queues, &from, &len)) {
		rc = bh_device_map_bar(nvme->dev, 0, from, len, want, 0, &nvme->db_map);
		if (rc == -ENODEV)
			return rc;
		nvme->db_mapped = !rc;
		if (rc)
			bh__log(nvme, BH_LOG_WARN, "the doorbells cannot be mapped (error %d)",
				-rc);
	}
	if (!nvme->db_mapped)
		find_io_fds(nvme);
	return 0;
}

void bh__bells_release(struct bh_nvme *nvme)
{
	if (nvme->db_mapped)
		bh_device_unmap_bar(nvme->dev, &nvme->db_map);
	nvme->db_mapped = false;
	free(nvme->io_fds);
	nvme->io_fds = NULL;
	nvme->num_io_fds = 0;
	nvme->shadow_on = false;
}

int bh__bells_shadow_config(struct bh_nvme *nvme)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_DOORBELL_BUFFER_CONFIG };
	size_t page = nvme->page_size;
	uint64_t iova;
	int rc;

	nvme->shadow_on = false;
	if (!(nvme->id.oacs & BH_NVME_OACS_DOORBELL_BUFFER) || nvme->opts.no_shadow_doorbells ||
	    (nvme->db_mapped && nvme->db_map.attr == BH_ATTR_MEMORY) ||
	    2ull * (nvme->max_queues + 1) * (4u << nvme->dstrd) > page)
		return 0;
	if (!nvme->shadow) {
		nvme->shadow = bh__dma_zalloc(nvme, 2 * page, page, &nvme->shadow_pool);
		if (!nvme->shadow)
			return -ENOMEM;
	}
	rc = bh__dma_iova(nvme, nvme->shadow, 2 * page, &iova);
	if (rc)
		return rc;
	cmd.dptr.prp.prp1 = iova;
	cmd.dptr.prp.prp2 = iova + page;
	rc = bh__admin_must(nvme, &cmd, NULL, 0, NULL, "Doorbell Buffer Config");
	/* A controller that offers it and refuses is served the ordinary way. */
	if (rc == -EIO)
		return 0;
	nvme->shadow_on = !rc;
	return rc;
}

static const struct bh_region_io_fd *io_fd_of(const struct bh_nvme *nvme, uint64_t offset)
{
	unsigned int i;

	for (i = 0; i < nvme->num_io_fds; i++) {
		const struct bh_region_io_fd *fd = &nvme->io_fds[i];

		if (offset >= fd->offset && offset - fd->offset < fd->len && fd->len >= 4 &&
		    offset - fd->offset <= fd->len - 4)
			return fd;
	}
	return NULL;
}

static void assign(struct bh_nvme *nvme, struct bh__doorbell *d, uint16_t qid, unsigned int is_cq)
{
	uint64_t at = ((uint64_t)2 * qid + is_cq) * (4u << nvme->dstrd);
	const struct bh_map *map = &nvme->db_map;
	const struct bh_region_io_fd *fd;
	bool wc = map->attr == BH_ATTR_WC ||
		  (map->attr == BH_ATTR_UNKNOWN && map->requested == BH_ATTR_WC);

	*d = (struct bh__doorbell){ .fd = -1, .offset = BH_NVME_REG_DOORBELLS + at };
	if (nvme->shadow_on && qid) {
		d->shadow = (uint32_t *)(nvme->shadow + at);
		d->event = (uint32_t *)(nvme->shadow + nvme->page_size + at);
		bh_store_u32(d->shadow, 0);
		bh_store_u32(d->event, 0);
	}
	if (nvme->db_mapped && d->offset >= map->offset && map->len >= 4 &&
	    d->offset - map->offset <= map->len - 4) {
		d->reg = (uint32_t *)(map->va + (d->offset - map->offset));
		d->kick = wc ? BH__KICK_STORE_WC : BH__KICK_STORE;
		/* A ring that met the beginning of a reset may have left its value in memory. */
		if (map->attr == BH_ATTR_MEMORY)
			bh_store_u32(d->reg, 0);
		return;
	}
	fd = io_fd_of(nvme, d->offset);
	/* A kick without a value is of use only where a shadow doorbell has the value. */
	if (fd && (fd->shadow || d->shadow)) {
		d->fd = fd->eventfd;
		d->reg = fd->shadow ? (uint32_t *)(fd->shadow + (d->offset - fd->offset)) : NULL;
		d->kick = BH__KICK_IOFD;
		return;
	}
	d->kick = bh_device_caps(nvme->dev) & BH_CAP_POSTED_WRITE ? BH__KICK_POST : BH__KICK_WRITE;
}

void bh__bells_assign(struct bh_nvme *nvme, struct bh_nvme_queue *q)
{
	assign(nvme, &q->sqd, q->qid, 0);
	assign(nvme, &q->cqd, q->qid, 1);
	q->sqd.wc_entries = q->sq_wc;
	bh__queue_set_doorbells(q);
}

const char *bh_nvme_doorbell_path(const struct bh_nvme *nvme)
{
	struct bh__doorbell d;

	if (nvme->db_mapped)
		return "mapped";
	/* Only looks: queue 1's doorbell says it for all. */
	d.offset = bh_nvme_sq_doorbell(1, nvme->dstrd);
	if (io_fd_of(nvme, d.offset) && (io_fd_of(nvme, d.offset)->shadow || nvme->shadow_on))
		return "ioeventfd";
	return "messages";
}

bool bh_nvme_has_shadow_doorbells(const struct bh_nvme *nvme)
{
	return nvme->shadow_on;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device by its IOMMU group and a container of type 1 (any kernel with VFIO).
 *
 * A group can be open once on the machine, and is usable when every device in it is in VFIO's hands
 * or nobody's. It is opened with the first of its devices and closed with the last, and lies in one
 * container with all of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "io_vfio/dev.h"

static int open_group(struct io_vfio *v, int *fd)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char node[32];
	int rc;

	snprintf(node, sizeof(node), "/dev/vfio/%d", v->pci.iommu_group);
	rc = io_vfio_open_node(v, node, fd);
	if (rc != 0)
		return rc;
	if (ioctl(*fd, VFIO_GROUP_GET_STATUS, &status) < 0)
		return io_vfio_fail(v, -errno, "%s: %s", node, strerror(errno));
	if (status.flags & VFIO_GROUP_FLAGS_VIABLE)
		return 0;
	return io_vfio_fail_not_viable(v);
}

/* The type of a fresh container, or -errno. */
static int container_type(struct io_vfio *v, int container)
{
	if (ioctl(container, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
		return io_vfio_fail(v, -EPROTO, "/dev/vfio/vfio speaks another version of VFIO");
	if (ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) > 0)
		return VFIO_TYPE1v2_IOMMU;
	if (ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU) > 0)
		return VFIO_TYPE1_IOMMU;
	return io_vfio_fail(v, -EOPNOTSUPP,
			    "VFIO has no type 1 IOMMU here: `modprobe vfio_iommu_type1`");
}

static int set_iommu(struct io_vfio *v, int group, int container)
{
	int rc, type = container_type(v, container);

	if (type < 0)
		return type;
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) < 0)
		return io_vfio_fail(v, -errno, "group %d: no container: %s", v->pci.iommu_group,
				    strerror(errno));
	if (ioctl(container, VFIO_SET_IOMMU, type) == 0)
		return 0;
	rc = -errno;
	if (rc == -EPERM)
		return io_vfio_fail(v, rc,
				    "the IOMMU does not remap interrupts, so VFIO refuses: enable "
				    "interrupt remapping (BIOS, kernel command line)");
	return io_vfio_fail(v, rc, "group %d: no IOMMU: %s", v->pci.iommu_group, strerror(-rc));
}

/* Puts the group into a container that takes it, or into a new one. */
static int find_container(struct io_vfio *v, int group)
{
	int container = -1, rc;

	for (struct io_vfio_domain *d = v->share->domains; d; d = d->next) {
		if (d->path != v->path || !io_vfio_domain_fits(v, d) ||
		    ioctl(group, VFIO_GROUP_SET_CONTAINER, &d->fd) < 0)
			continue;
		io_vfio_domain_join(v, d);
		return 0;
	}
	rc = io_vfio_open_node(v, "/dev/vfio/vfio", &container);
	if (rc == 0)
		rc = set_iommu(v, group, container);
	if (rc == 0)
		rc = io_vfio_domain_new(v, container, 0);
	if (rc != 0)
		bh__fd_close(&container);
	return rc;
}

static int first_of_group(struct io_vfio *v)
{
	struct io_vfio_group *g = calloc(1, sizeof(*g));
	int rc;

	if (!g)
		return -ENOMEM;
	g->id = v->pci.iommu_group;
	g->fd = -1;
	rc = open_group(v, &g->fd);
	if (rc == 0)
		rc = find_container(v, g->fd);
	if (rc != 0) {
		bh__fd_close(&g->fd);
		free(g);
		return rc;
	}
	g->users = 1;
	g->domain = v->domain;
	g->next = v->share->groups;
	v->share->groups = v->group = g;
	return 0;
}

static int group_open(struct io_vfio *v)
{
	struct io_vfio_group *g = io_vfio_group_find(v->share, v->pci.iommu_group);
	int rc;

	if (g) {
		g->users++;
		v->group = g;
		io_vfio_domain_join(v, g->domain);
	} else {
		rc = first_of_group(v);
		if (rc != 0)
			return rc;
	}
	v->fd = ioctl(v->group->fd, VFIO_GROUP_GET_DEVICE_FD, v->pci.name);
	if (v->fd >= 0)
		return 0;
	rc = -errno;
	if (rc == -EBUSY)
		return io_vfio_fail_busy(v, "its group");
	return io_vfio_fail(v, rc, "VFIO does not give it away: %s", strerror(-rc));
}

static int copy_windows(struct io_vfio *v, const struct vfio_iommu_type1_info_cap_iova_range *cap,
			size_t room)
{
	size_t fit = (room - sizeof(*cap)) / sizeof(cap->iova_ranges[0]);
	struct io_vfio_windows *w = &v->domain->windows;
	struct bh_iova_window *window;

	if (cap->nr_iovas == 0 || cap->nr_iovas > fit)
		return io_vfio_fail(v, -EPROTO, "the container lists no usable addresses");
	window = calloc(cap->nr_iovas, sizeof(*window));
	if (!window)
		return -ENOMEM;
	for (uint32_t i = 0; i < cap->nr_iovas; i++) {
		window[i].first = cap->iova_ranges[i].start;
		window[i].last = cap->iova_ranges[i].end;
	}
	free(w->window);
	w->window = window;
	w->count = cap->nr_iovas;
	return 0;
}

/* What the container holds; the other ranges are BARs. */
static uint64_t mappings(const struct io_vfio_domain *d)
{
	uint64_t count = 0;

	for (size_t i = 0; i < d->maps.count; i++)
		count += d->maps.ranges[i].value != NULL;
	return count;
}

static int group_windows(struct io_vfio *v)
{
	const struct vfio_iommu_type1_info ask = { 0 };
	const struct vfio_iommu_type1_info_cap_iova_range *ranges;
	const struct vfio_iommu_type1_info_dma_avail *avail;
	struct vfio_iommu_type1_info *info;
	size_t room;
	int rc;

	rc = io_vfio_info_get(v->domain->fd, VFIO_IOMMU_GET_INFO, &ask, sizeof(ask),
			      (void **)&info);
	if (rc != 0)
		return io_vfio_fail(v, rc, "asking the container: %s", strerror(-rc));
	v->domain->windows.align = (uint64_t)sysconf(_SC_PAGESIZE);
	if ((info->flags & VFIO_IOMMU_INFO_PGSIZES) && info->iova_pgsizes != 0)
		v->domain->windows.align = info->iova_pgsizes & -info->iova_pgsizes;
	if (info->flags & VFIO_IOMMU_INFO_CAPS) {
		ranges = io_vfio_cap_find(info, info->argsz, info->cap_offset,
					  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, sizeof(*ranges),
					  &room);
		if (ranges)
			rc = copy_windows(v, ranges, room);
		avail = io_vfio_cap_find(info, info->argsz, info->cap_offset,
					 VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, sizeof(*avail), &room);
		if (avail)
			v->domain->dma_limit = avail->avail + mappings(v->domain);
	}
	free(info);
	return rc;
}

static int group_map(struct io_vfio *v, const struct bh_mem *mem, uint64_t iova)
{
	const struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)mem->va,
		.iova = iova,
		.size = mem->len,
	};

	/* Type 1 would map a BAR by address, and keep it mapped when the BAR is no longer there. */
	if (mem->kind == BH_MEM_DMABUF)
		return -EOPNOTSUPP;
	return ioctl(v->domain->fd, VFIO_IOMMU_MAP_DMA, &map) < 0 ? -errno : 0;
}

static int group_unmap(struct io_vfio_domain *d, uint64_t iova, uint64_t len)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = len,
	};

	if (ioctl(d->fd, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0)
		return -errno;
	return unmap.size == len ? 0 : -EIO;
}

static int group_explain_map(struct io_vfio *v, const struct bh_mem *mem, int rc)
{
	if (rc == -ENOMEM)
		return io_vfio_fail_memlock(v, mem);
	if (rc == -ENOSPC)
		return io_vfio_fail(
			v, rc,
			"its container takes no more than %llu mappings: use fewer, larger "
			"pools, or as root `echo 1000000 > "
			"/sys/module/vfio_iommu_type1/parameters/dma_entry_limit`",
			(unsigned long long)v->domain->dma_limit);
	if (rc == -EOPNOTSUPP && mem->kind == BH_MEM_DMABUF)
		return io_vfio_fail(
			v, rc,
			"BARs of other devices are mapped by iommufd only, and it is open "
			"by group and container");
	return io_vfio_fail(v, rc, "mapping a pool of %zu bytes: %s", mem->len, strerror(-rc));
}

const struct io_vfio_path io_vfio_group_path = {
	.name = "group and container",
	.open = group_open,
	.windows = group_windows,
	.map = group_map,
	.unmap = group_unmap,
	.explain_map = group_explain_map,
};

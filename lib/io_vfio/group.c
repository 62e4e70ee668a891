/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device by its IOMMU group and a container of type 1 (any kernel with VFIO).
 *
 * A group can be open once on the machine, and is usable when every device in it is in VFIO's hands
 * or nobody's. Each device of ours has a container of its own, so it reaches its space's pools and
 * no other's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io_vfio/dev.h"

/* Who in the group is in whose hands, for the line that says why it cannot be used. */
static int fail_not_viable(const struct io_vfio *v)
{
	struct bh_pci_group *group;
	char text[200] = "";
	size_t used = 0;

	if (bh_pci_group_read(NULL, v->pci.iommu_group, &group) != 0)
		return io_vfio_fail(v, -EBUSY, "another device of IOMMU group %d is in use",
				    v->pci.iommu_group);
	for (size_t i = 0; i < group->count && used < sizeof(text); i++) {
		const struct bh_pci_member *m = &group->member[i];

		if (!m->viable)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s (%s)",
						 used ? ", " : "", m->name, m->driver);
	}
	bh_pci_group_free(group);
	return io_vfio_fail(
		v, -EBUSY,
		"IOMMU group %d cannot be used while kernel drivers have devices in it: "
		"%s; bind them to vfio-pci too, with scripts/setup.sh",
		v->pci.iommu_group, text);
}

static int open_group(struct io_vfio *v)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char node[32];
	int rc;

	snprintf(node, sizeof(node), "/dev/vfio/%d", v->pci.iommu_group);
	rc = io_vfio_open_node(v, node, &v->group_fd);
	if (rc != 0)
		return rc;
	if (ioctl(v->group_fd, VFIO_GROUP_GET_STATUS, &status) < 0)
		return io_vfio_fail(v, -errno, "%s: %s", node, strerror(errno));
	return status.flags & VFIO_GROUP_FLAGS_VIABLE ? 0 : fail_not_viable(v);
}

static int set_iommu(struct io_vfio *v)
{
	int type = 0, rc;

	if (ioctl(v->iommu_fd, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
		return io_vfio_fail(v, -EPROTO, "/dev/vfio/vfio speaks another version of VFIO");
	if (ioctl(v->iommu_fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) > 0)
		type = VFIO_TYPE1v2_IOMMU;
	else if (ioctl(v->iommu_fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU) > 0)
		type = VFIO_TYPE1_IOMMU;
	if (type == 0)
		return io_vfio_fail(v, -EOPNOTSUPP,
				    "VFIO has no type 1 IOMMU here: `modprobe vfio_iommu_type1`");
	if (ioctl(v->group_fd, VFIO_GROUP_SET_CONTAINER, &v->iommu_fd) < 0)
		return io_vfio_fail(v, -errno, "group %d: no container: %s", v->pci.iommu_group,
				    strerror(errno));
	if (ioctl(v->iommu_fd, VFIO_SET_IOMMU, type) == 0)
		return 0;
	rc = -errno;
	if (rc == -EPERM)
		return io_vfio_fail(v, rc,
				    "the IOMMU does not remap interrupts, so VFIO refuses: enable "
				    "interrupt remapping (BIOS, kernel command line)");
	return io_vfio_fail(v, rc, "group %d: no IOMMU: %s", v->pci.iommu_group, strerror(-rc));
}

static int group_open(struct io_vfio *v)
{
	int rc = open_group(v);

	if (rc == 0)
		rc = io_vfio_open_node(v, "/dev/vfio/vfio", &v->iommu_fd);
	if (rc == 0)
		rc = set_iommu(v);
	if (rc != 0)
		return rc;
	v->fd = ioctl(v->group_fd, VFIO_GROUP_GET_DEVICE_FD, v->pci.name);
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
	struct io_vfio_windows *w = &v->windows;

	if (cap->nr_iovas == 0 || cap->nr_iovas > fit)
		return io_vfio_fail(v, -EPROTO, "the container lists no usable addresses");
	w->window = calloc(cap->nr_iovas, sizeof(*w->window));
	if (!w->window)
		return -ENOMEM;
	for (uint32_t i = 0; i < cap->nr_iovas; i++) {
		w->window[i].first = cap->iova_ranges[i].start;
		w->window[i].last = cap->iova_ranges[i].end;
	}
	w->count = cap->nr_iovas;
	return 0;
}

static int group_windows(struct io_vfio *v)
{
	const struct vfio_iommu_type1_info ask = { 0 };
	const struct vfio_iommu_type1_info_cap_iova_range *ranges;
	const struct vfio_iommu_type1_info_dma_avail *avail;
	struct vfio_iommu_type1_info *info;
	size_t room;
	int rc;

	rc = io_vfio_info_get(v->iommu_fd, VFIO_IOMMU_GET_INFO, &ask, sizeof(ask), (void **)&info);
	if (rc != 0)
		return io_vfio_fail(v, rc, "asking the container: %s", strerror(-rc));
	v->windows.align = (uint64_t)sysconf(_SC_PAGESIZE);
	if ((info->flags & VFIO_IOMMU_INFO_PGSIZES) && info->iova_pgsizes != 0)
		v->windows.align = info->iova_pgsizes & -info->iova_pgsizes;
	if (info->flags & VFIO_IOMMU_INFO_CAPS) {
		ranges = io_vfio_cap_find(info, info->argsz, info->cap_offset,
					  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, sizeof(*ranges),
					  &room);
		if (ranges)
			rc = copy_windows(v, ranges, room);
		avail = io_vfio_cap_find(info, info->argsz, info->cap_offset,
					 VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, sizeof(*avail), &room);
		if (avail)
			v->dma_avail = avail->avail;
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

	return ioctl(v->iommu_fd, VFIO_IOMMU_MAP_DMA, &map) < 0 ? -errno : 0;
}

static int group_unmap(struct io_vfio *v, uint64_t iova, uint64_t len)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = len,
	};

	if (ioctl(v->iommu_fd, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0)
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
			(unsigned long long)v->dma_avail);
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

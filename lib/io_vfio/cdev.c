/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device by its own character device and an address space of iommufd (Linux 6.6).
 *
 * A pool is mapped by its file where the kernel can (6.13): then the mapping does not depend on our
 * address space. Which it can is found out with the first pool: an older kernel does not know the
 * call at all.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io_vfio/dev.h"

static int attach(struct io_vfio *v)
{
	struct uapi_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct uapi_attach_iommufd attach = { .argsz = sizeof(attach) };
	int rc;

	if (ioctl(v->iommu_fd, UAPI_IOAS_ALLOC, &alloc) < 0)
		return io_vfio_fail(v, -errno, "iommufd: no address space: %s", strerror(errno));
	v->ioas_id = attach.pt_id = alloc.out_ioas_id;
	if (ioctl(v->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) == 0)
		return 0;
	rc = -errno;
	return io_vfio_fail(v, rc, "iommufd: attaching it to an address space: %s", strerror(-rc));
}

static int cdev_open(struct io_vfio *v)
{
	struct uapi_bind_iommufd bind = { .argsz = sizeof(bind) };
	char node[sizeof("/dev/vfio/devices/") + sizeof(v->pci.cdev)];
	int rc;

	snprintf(node, sizeof(node), "/dev/vfio/devices/%s", v->pci.cdev);
	rc = io_vfio_open_node(v, node, &v->fd);
	if (rc == 0)
		rc = io_vfio_open_node(v, "/dev/iommu", &v->iommu_fd);
	if (rc != 0)
		return rc;
	bind.iommufd = v->iommu_fd;
	if (ioctl(v->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind) == 0)
		return attach(v);
	rc = -errno;
	if (rc == -EBUSY || rc == -EINVAL)
		return io_vfio_fail_busy(v, node);
	if (rc == -EPERM)
		return io_vfio_fail(
			v, rc,
			"the IOMMU does not remap interrupts, or a neighbour in IOMMU group "
			"%d has another owner, so VFIO refuses",
			v->pci.iommu_group);
	return io_vfio_fail(v, rc, "%s: binding it to iommufd: %s", node, strerror(-rc));
}

static int cdev_windows(struct io_vfio *v)
{
	struct uapi_ioas_iova_ranges ask = { .size = sizeof(ask), .ioas_id = v->ioas_id };
	struct io_vfio_windows *w = &v->windows;
	struct uapi_iova_range *range = NULL;
	int rc;

	/* The first call says how many there are, with EMSGSIZE. */
	for (;;) {
		uint32_t room = ask.num_iovas;

		rc = ioctl(v->iommu_fd, UAPI_IOAS_IOVA_RANGES, &ask) < 0 ? -errno : 0;
		if (rc != -EMSGSIZE || ask.num_iovas <= room || ask.num_iovas > 4096)
			break;
		free(range);
		range = calloc(ask.num_iovas, sizeof(*range));
		if (!range)
			return -ENOMEM;
		ask.allowed_iovas = (uintptr_t)range;
	}
	if (rc == 0 && range && ask.num_iovas > 0) {
		w->window = calloc(ask.num_iovas, sizeof(*w->window));
		rc = w->window ? 0 : -ENOMEM;
		w->align = ask.out_iova_alignment ? ask.out_iova_alignment : 1;
		w->count = w->window ? ask.num_iovas : 0;
		for (uint32_t i = 0; i < w->count; i++)
			w->window[i] = (struct bh_iova_window){ range[i].start, range[i].last };
	} else if (rc == 0) {
		rc = -EPROTO;
	}
	free(range);
	return rc == 0 ? 0
		       : io_vfio_fail(v, rc, "iommufd: asking for usable addresses: %s",
				      strerror(-rc));
}

static int map_file(struct io_vfio *v, const struct bh_mem *mem, uint64_t iova)
{
	const struct uapi_ioas_map_file map = {
		.size = sizeof(map),
		.flags = UAPI_IOAS_FIXED_IOVA | UAPI_IOAS_READABLE | UAPI_IOAS_WRITEABLE,
		.ioas_id = v->ioas_id,
		.fd = mem->fd,
		.start = mem->fd_offset,
		.length = mem->len,
		.iova = iova,
	};

	return ioctl(v->iommu_fd, UAPI_IOAS_MAP_FILE, &map) < 0 ? -errno : 0;
}

static int map_va(struct io_vfio *v, const struct bh_mem *mem, uint64_t iova)
{
	const struct uapi_ioas_map map = {
		.size = sizeof(map),
		.flags = UAPI_IOAS_FIXED_IOVA | UAPI_IOAS_READABLE | UAPI_IOAS_WRITEABLE,
		.ioas_id = v->ioas_id,
		.user_va = (uintptr_t)mem->va,
		.length = mem->len,
		.iova = iova,
	};

	return ioctl(v->iommu_fd, UAPI_IOAS_MAP, &map) < 0 ? -errno : 0;
}

static int cdev_map(struct io_vfio *v, const struct bh_mem *mem, uint64_t iova)
{
	int rc;

	if (!v->no_map_file) {
		rc = map_file(v, mem, iova);
		/* ENOTTY: no such call. EINVAL: not this kind of file. */
		if (rc != -ENOTTY && rc != -EINVAL && rc != -EOPNOTSUPP)
			return rc;
		if (rc == -ENOTTY) {
			v->no_map_file = true;
			io_vfio_info(v,
				     "this kernel's iommufd maps memory by address, not by file");
		}
	}
	return map_va(v, mem, iova);
}

static int cdev_unmap(struct io_vfio *v, uint64_t iova, uint64_t len)
{
	struct uapi_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = v->ioas_id,
		.iova = iova,
		.length = len,
	};

	if (ioctl(v->iommu_fd, UAPI_IOAS_UNMAP, &unmap) < 0)
		return -errno;
	return unmap.length == len ? 0 : -EIO;
}

static int cdev_explain_map(struct io_vfio *v, const struct bh_mem *mem, int rc)
{
	if (rc == -ENOMEM)
		return io_vfio_fail_memlock(v, mem);
	return io_vfio_fail(v, rc, "iommufd: mapping a pool of %zu bytes: %s", mem->len,
			    strerror(-rc));
}

const struct io_vfio_path io_vfio_cdev_path = {
	.name = "cdev and iommufd",
	.open = cdev_open,
	.windows = cdev_windows,
	.map = cdev_map,
	.unmap = cdev_unmap,
	.explain_map = cdev_explain_map,
};

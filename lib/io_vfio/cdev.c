/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device by its own character device and an address space of iommufd (Linux 6.6).
 *
 * One iommufd per DMA space: what it holds is ours in the kernel's eyes, so a bus reset may hit all
 * of it, and the kernel puts devices of one IOMMU group into one address space only under the same
 * iommufd.
 *
 * A pool is mapped by its file where the kernel can (6.13): then the mapping does not depend on our
 * address space. The call is also how a BAR of another device is reached, by its dma-buf (6.20): a
 * mapping which the kernel takes back when that BAR goes away.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "io_vfio/dev.h"

/* Does it know MAP_FILE? No file can be -1, so nothing is mapped. */
static bool maps_files(int iommufd)
{
	const struct uapi_ioas_map_file ask = { .size = sizeof(ask), .fd = -1 };

	return ioctl(iommufd, UAPI_IOAS_MAP_FILE, &ask) == 0 || errno != ENOTTY;
}

static int open_iommufd(struct io_vfio *v)
{
	struct io_vfio_share *share = v->share;
	int rc;

	if (share->iommufd >= 0)
		return 0;
	rc = io_vfio_open_node(v, "/dev/iommu", &share->iommufd);
	if (rc != 0)
		return rc;
	share->no_map_file = !maps_files(share->iommufd);
	if (share->no_map_file)
		io_vfio_info(v, "this kernel's iommufd maps memory by address, not by file");
	return 0;
}

static int bind(struct io_vfio *v, const char *node)
{
	struct uapi_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = v->share->iommufd };
	int rc;

	if (ioctl(v->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind) == 0)
		return 0;
	rc = -errno;
	/* So that it is not found to be held by us. */
	bh__fd_close(&v->fd);
	/* EPERM: its group has another owner, or the IOMMU does not protect interrupts. */
	if (rc == -EPERM && !io_vfio_is_viable(v))
		return io_vfio_fail_not_viable(v);
	if (rc == -EPERM && !io_vfio_is_held(v))
		return io_vfio_fail(v, rc,
				    "the IOMMU does not remap interrupts, so VFIO refuses: enable "
				    "interrupt remapping (BIOS, kernel command line)");
	if (rc == -EBUSY || rc == -EINVAL || rc == -EPERM)
		return io_vfio_fail_busy(v, node);
	return io_vfio_fail(v, rc, "%s: binding it to iommufd: %s", node, strerror(-rc));
}

static int attach_to(const struct io_vfio *v, uint32_t ioas_id)
{
	struct uapi_attach_iommufd attach = { .argsz = sizeof(attach), .pt_id = ioas_id };

	return ioctl(v->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) < 0 ? -errno : 0;
}

static int attach_to_new(struct io_vfio *v)
{
	struct uapi_ioas_alloc alloc = { .size = sizeof(alloc) };
	int iommufd = v->share->iommufd, rc;

	if (ioctl(iommufd, UAPI_IOAS_ALLOC, &alloc) < 0)
		return io_vfio_fail(v, -errno, "iommufd: no address space: %s", strerror(errno));
	rc = io_vfio_domain_new(v, iommufd, alloc.out_ioas_id);
	if (rc != 0)
		return rc; /* the IOAS goes with the iommufd */
	rc = attach_to(v, alloc.out_ioas_id);
	return rc == 0 ? 0
		       : io_vfio_fail(v, rc, "iommufd: attaching it to an address space: %s",
				      strerror(-rc));
}

/* To the domain its group has, to one that takes it, or to a new one. */
static int attach(struct io_vfio *v)
{
	struct io_vfio_domain *of_group = io_vfio_domain_of_group(v);

	for (struct io_vfio_domain *d = v->share->domains; d; d = d->next) {
		if (d->path != v->path || (of_group ? d != of_group : !io_vfio_domain_fits(v, d)) ||
		    attach_to(v, d->ioas_id) != 0)
			continue;
		io_vfio_domain_join(v, d);
		return 0;
	}
	return attach_to_new(v);
}

static int cdev_open(struct io_vfio *v)
{
	char node[sizeof("/dev/vfio/devices/") + sizeof(v->pci.cdev)];
	int rc;

	snprintf(node, sizeof(node), "/dev/vfio/devices/%s", v->pci.cdev);
	rc = io_vfio_open_node(v, node, &v->fd);
	if (rc == 0)
		rc = open_iommufd(v);
	if (rc == 0)
		rc = bind(v, node);
	return rc == 0 ? attach(v) : rc;
}

/* Asks again with the room it needs: the first call says how much, with EMSGSIZE. */
static int ask_ranges(const struct io_vfio_domain *d, struct uapi_ioas_iova_ranges *ask,
		      struct uapi_iova_range **range)
{
	int rc;

	*range = NULL;
	for (;;) {
		uint32_t room = ask->num_iovas;

		rc = ioctl(d->fd, UAPI_IOAS_IOVA_RANGES, ask) < 0 ? -errno : 0;
		if (rc != -EMSGSIZE || ask->num_iovas <= room || ask->num_iovas > 4096)
			break;
		free(*range);
		*range = calloc(ask->num_iovas, sizeof(**range));
		if (!*range)
			return -ENOMEM;
		ask->allowed_iovas = (uintptr_t)*range;
	}
	return rc == 0 && (!*range || ask->num_iovas == 0) ? -EPROTO : rc;
}

static int cdev_windows(struct io_vfio *v)
{
	struct uapi_ioas_iova_ranges ask = { .size = sizeof(ask), .ioas_id = v->domain->ioas_id };
	struct io_vfio_windows *w = &v->domain->windows;
	struct uapi_iova_range *range;
	struct bh_iova_window *window = NULL;
	int rc = ask_ranges(v->domain, &ask, &range);

	if (rc == 0) {
		window = calloc(ask.num_iovas, sizeof(*window));
		rc = window ? 0 : -ENOMEM;
	}
	if (rc == 0) {
		free(w->window);
		w->window = window;
		w->count = ask.num_iovas;
		w->align = ask.out_iova_alignment ? ask.out_iova_alignment : 1;
		for (uint32_t i = 0; i < w->count; i++)
			window[i] = (struct bh_iova_window){ range[i].start, range[i].last };
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
		.ioas_id = v->domain->ioas_id,
		.fd = mem->fd,
		.start = mem->fd_offset,
		.length = mem->len,
		.iova = iova,
	};

	return ioctl(v->domain->fd, UAPI_IOAS_MAP_FILE, &map) < 0 ? -errno : 0;
}

static int map_va(struct io_vfio *v, const struct bh_mem *mem, uint64_t iova)
{
	const struct uapi_ioas_map map = {
		.size = sizeof(map),
		.flags = UAPI_IOAS_FIXED_IOVA | UAPI_IOAS_READABLE | UAPI_IOAS_WRITEABLE,
		.ioas_id = v->domain->ioas_id,
		.user_va = (uintptr_t)mem->va,
		.length = mem->len,
		.iova = iova,
	};

	return ioctl(v->domain->fd, UAPI_IOAS_MAP, &map) < 0 ? -errno : 0;
}

static int cdev_map(struct io_vfio *v, const struct bh_mem *mem, uint64_t iova)
{
	int rc;

	if (mem->kind == BH_MEM_VA || (v->share->no_map_file && mem->kind == BH_MEM_FILE))
		return map_va(v, mem, iova);
	if (v->share->no_map_file)
		return -EOPNOTSUPP;
	rc = map_file(v, mem, iova);
	/* Not a kind of file this kernel maps. By address a BAR cannot be mapped. */
	if (mem->kind == BH_MEM_FILE && (rc == -EINVAL || rc == -EBADF || rc == -EOPNOTSUPP))
		rc = map_va(v, mem, iova);
	return rc;
}

static int cdev_unmap(struct io_vfio_domain *d, uint64_t iova, uint64_t len)
{
	struct uapi_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = d->ioas_id,
		.iova = iova,
		.length = len,
	};

	if (ioctl(d->fd, UAPI_IOAS_UNMAP, &unmap) < 0)
		return -errno;
	return unmap.length == len ? 0 : -EIO;
}

static int cdev_explain_map(struct io_vfio *v, const struct bh_mem *mem, int rc)
{
	if (rc == -ENOMEM)
		return io_vfio_fail_memlock(v, mem);
	if (mem->kind == BH_MEM_DMABUF && rc == -ENODEV)
		return io_vfio_fail(v, rc,
				    "the BAR of another device is no longer there to be mapped: "
				    "that device was closed or reset since its dma-buf was made");
	if (mem->kind == BH_MEM_DMABUF)
		return io_vfio_fail(v, -EOPNOTSUPP,
				    "this kernel's iommufd does not map another device's BAR: %s",
				    strerror(-rc));
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

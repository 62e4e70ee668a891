/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Resets: of the function, and of the bus or slot it is in.
 *
 * A hot reset takes proof that everything it would hit is ours: by group fds, or by an iommufd that
 * holds all of it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io_vfio/dev.h"

#define MAX_DEPENDENT 1024u

/* The devices a hot reset hits. *out is the caller's to free. */
static int reset_info(const struct io_vfio *v, struct vfio_pci_hot_reset_info **out)
{
	uint32_t room = 16;
	int rc;

	for (;;) {
		size_t bytes = sizeof(**out) + room * sizeof((*out)->devices[0]);

		*out = calloc(1, bytes);
		if (!*out)
			return -ENOMEM;
		(*out)->argsz = (uint32_t)bytes;
		rc = ioctl(v->fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, *out) < 0 ? -errno : 0;
		if (rc == 0 && (*out)->count <= room)
			return 0;
		free(*out);
		*out = NULL;
		if (rc == 0)
			return -EPROTO;
		if (rc != -ENOSPC || room >= MAX_DEPENDENT)
			return rc;
		room *= 4;
	}
}

bool io_vfio_hot_reset_known(const struct io_vfio *v)
{
	struct vfio_pci_hot_reset_info *info;
	int rc = reset_info(v, &info);

	free(info);
	return rc == 0;
}

int io_vfio_reset(struct bh_device *dev)
{
	struct io_vfio *v = to_io_vfio(dev);

	if (ioctl(v->fd, VFIO_DEVICE_RESET) == 0)
		return 0;
	return io_vfio_fail(v, -errno, "resetting it: %s", strerror(errno));
}

static bool is_ours(const struct io_vfio *v, const struct vfio_pci_dependent_device *d)
{
	return (int)d->group_id == v->pci.iommu_group;
}

static int fail_not_ours(const struct io_vfio *v, const struct vfio_pci_hot_reset_info *info)
{
	char text[160] = "";
	size_t used = 0;

	for (uint32_t i = 0; i < info->count && used < sizeof(text); i++) {
		const struct vfio_pci_dependent_device *d = &info->devices[i];
		struct bh_pci_addr addr = { d->segment, d->bus, d->devfn >> 3, d->devfn & 7 };

		if (bh_pci_addr_compare(&addr, &v->pci.addr) != 0)
			used += (size_t)snprintf(text + used, sizeof(text) - used,
						 "%s%04x:%02x:%02x.%x", used ? ", " : "",
						 addr.domain, addr.bus, addr.device, addr.function);
	}
	return io_vfio_fail(v, -EBUSY, "a bus reset would hit other devices as well: %s", text);
}

int io_vfio_hot_reset(struct bh_device *dev)
{
	struct io_vfio *v = to_io_vfio(dev);
	struct uapi_hot_reset reset = { .argsz = sizeof(reset), .group_fd = v->group_fd };
	struct vfio_pci_hot_reset_info *info;
	bool ours = true;
	int rc;

	rc = reset_info(v, &info);
	if (rc != 0)
		return io_vfio_fail(v, rc, "asking what a bus reset hits: %s", strerror(-rc));
	if (info->flags & UAPI_HOT_RESET_DEV_ID) {
		ours = info->flags & UAPI_HOT_RESET_DEV_ID_OWNED;
		reset.argsz = offsetof(struct uapi_hot_reset, group_fd);
	} else {
		reset.count = 1;
		for (uint32_t i = 0; i < info->count && ours; i++)
			ours = is_ours(v, &info->devices[i]);
	}
	if (!ours)
		rc = fail_not_ours(v, info);
	else if (ioctl(v->fd, VFIO_DEVICE_PCI_HOT_RESET, &reset) < 0)
		rc = io_vfio_fail(v, errno == ENODEV || errno == EBUSY ? -EIO : -errno,
				  "resetting its bus: %s", strerror(errno));
	free(info);
	return rc;
}

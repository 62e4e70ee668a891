/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Resets: of the function, and of the bus or slot it is in.
 *
 * A hot reset takes proof that everything it would hit is ours: the fds of all groups it hits, or an
 * iommufd that holds all of it. Ours is what is open with the same DMA space.
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

/* By group: one that is open here has a fd. By iommufd: the kernel has put an id there, or -1. */
static bool is_ours(const struct io_vfio *v, const struct vfio_pci_hot_reset_info *info,
		    const struct vfio_pci_dependent_device *d)
{
	if (info->flags & UAPI_HOT_RESET_DEV_ID)
		return d->group_id != UAPI_HOT_RESET_NOT_OWNED;
	return io_vfio_group_find(v->share, (int)d->group_id) != NULL;
}

int io_vfio_fail_reset(const struct io_vfio *v, const struct vfio_pci_hot_reset_info *info)
{
	char text[160] = "";
	size_t used = 0;

	for (uint32_t i = 0; i < info->count && used < sizeof(text); i++) {
		const struct vfio_pci_dependent_device *d = &info->devices[i];
		struct bh_pci_addr addr = { d->segment, d->bus, d->devfn >> 3, d->devfn & 7 };

		if (!is_ours(v, info, d))
			used += (size_t)snprintf(text + used, sizeof(text) - used,
						 "%s%04x:%02x:%02x.%x", used ? ", " : "",
						 addr.domain, addr.bus, addr.device, addr.function);
	}
	return io_vfio_fail(v, -EBUSY,
			    "a bus reset would hit devices that are not open with the same "
			    "memory: %s",
			    text);
}

/*
 * The fds of all groups it hits, as the argument of the reset; NULL with *rc 0: one is not ours.
 * The share is locked.
 */
static struct vfio_pci_hot_reset *by_groups(const struct io_vfio *v,
					    const struct vfio_pci_hot_reset_info *info, int *rc)
{
	size_t bytes = sizeof(struct vfio_pci_hot_reset) + info->count * sizeof(int32_t);
	struct vfio_pci_hot_reset *reset = calloc(1, bytes);

	*rc = reset ? 0 : -ENOMEM;
	for (uint32_t i = 0; i < info->count && reset; i++) {
		const struct io_vfio_group *g =
			io_vfio_group_find(v->share, (int)info->devices[i].group_id);
		uint32_t at = 0;

		if (!g) {
			free(reset);
			return NULL;
		}
		while (at < reset->count && reset->group_fds[at] != g->fd)
			at++;
		if (at == reset->count)
			reset->group_fds[reset->count++] = g->fd;
	}
	if (reset)
		reset->argsz = (uint32_t)bytes;
	return reset;
}

/* No fds: the kernel looks itself whether all of it is the iommufd's. */
static struct vfio_pci_hot_reset *by_iommufd(const struct vfio_pci_hot_reset_info *info, int *rc)
{
	struct vfio_pci_hot_reset *reset;

	*rc = 0;
	if (!(info->flags & UAPI_HOT_RESET_DEV_ID_OWNED))
		return NULL;
	reset = calloc(1, sizeof(*reset));
	if (reset)
		reset->argsz = sizeof(*reset);
	else
		*rc = -ENOMEM;
	return reset;
}

/* The groups' fds must stay open meanwhile: the share is locked. */
static int do_hot_reset(const struct io_vfio *v, const struct vfio_pci_hot_reset_info *info)
{
	struct vfio_pci_hot_reset *reset;
	int rc;

	reset = info->flags & UAPI_HOT_RESET_DEV_ID ? by_iommufd(info, &rc)
						    : by_groups(v, info, &rc);
	if (!reset)
		return rc != 0 ? rc : io_vfio_fail_reset(v, info);
	if (ioctl(v->fd, VFIO_DEVICE_PCI_HOT_RESET, reset) < 0)
		rc = io_vfio_fail(v, errno == ENODEV || errno == EBUSY ? -EIO : -errno,
				  "resetting its bus: %s", strerror(errno));
	free(reset);
	return rc;
}

int io_vfio_hot_reset(struct bh_device *dev)
{
	struct io_vfio *v = to_io_vfio(dev);
	struct vfio_pci_hot_reset_info *info;
	int rc;

	rc = reset_info(v, &info);
	if (rc != 0)
		return io_vfio_fail(v, rc, "asking what a bus reset hits: %s", strerror(-rc));
	pthread_mutex_lock(&v->share->lock);
	rc = do_hot_reset(v, info);
	pthread_mutex_unlock(&v->share->lock);
	free(info);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The backend for devices the kernel's VFIO gives away.
 */
#ifndef IO_VFIO_IO_VFIO_H
#define IO_VFIO_IO_VFIO_H

#include <bellhop/device.h>

/*
 * Opens the PCI device at `bdf` ("0000:01:00.0"), which scripts/setup.sh has bound to vfio-pci,
 * and lets it reach the space's pools. Control path, any thread. Whatever is wrong is logged in
 * one line that says who holds the device, or what is missing, and what to do about it.
 *
 * -EINVAL: bad opts or address; -ENODEV: no such device; -EOPNOTSUPP: it has no IOMMU, the mode
 * that was forced does not exist here, or dma_access is not AUTO; -EBUSY: another process, a
 * kernel driver or a neighbour in its IOMMU group is in the way; -EACCES: no permission; -ENOMEM:
 * memory, or not enough of it may be locked; -ENOSPC: too many pools for one device; else of the
 * kernel.
 */
int bh_io_vfio_open(const char *bdf, const struct bh_device_opts *opts, struct bh_device **out);

#endif

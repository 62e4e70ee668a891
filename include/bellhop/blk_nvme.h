/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store nvme:ADDRESS: a namespace of an NVMe controller that our own driver drives.
 *
 * Component: lib/blk_nvme
 *
 * ADDRESS as of <bellhop/bellhop.h>: a PCI device bound to VFIO, or a vfio-user socket; ?ns=N picks
 * a namespace (default: the only one). The last key may be pass=off: then the device is told of no
 * client's memory, and requests are copied. Stores on several namespaces of one controller share it,
 * where the first of them is among the peers that the spec names. See lib/blk_nvme/device.c for the
 * model.
 */
#ifndef BELLHOP_BLK_NVME_H
#define BELLHOP_BLK_NVME_H

#include <bellhop/blk.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * create, always with *why: -EINVAL (address, block size, metadata), -ENODEV (no such namespace),
 * and what opening the device and attaching the driver return.
 */
extern const struct bh_blk_type bh_blk_nvme_type;

#ifdef __cplusplus
}
#endif
#endif

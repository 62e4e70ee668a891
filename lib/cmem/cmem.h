/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/cmem's own: making and unmaking one region.
 */
#ifndef CMEM_CMEM_H
#define CMEM_CMEM_H

#include <bellhop/cmem.h>

/*
 * Checks fd against what the region says and, in mapped mode, maps it and puts the guard on it.
 * iova, len, prot, mode, fd and fd_offset are set. -EINVAL, -EACCES, -ENOMEM, -ENOSPC (guard table
 * full) as bh_cmem_add(); the fd stays open.
 */
int bh__cmem_region_open(struct bh_cmem_region *region, uint32_t *faults);
/*
 * Is region->fd usable as the region says? -EINVAL: not a file that can be, too short, or of a
 * file system that may keep us waiting; -EACCES: not open for it.
 */
int bh__cmem_file_check(const struct bh_cmem_region *region);
/* Takes the guard and the mapping away and closes the fd. */
void bh__cmem_region_close(struct bh_cmem_region *region);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/blk. */
#ifndef BLK_RAM_ROOM_H
#define BLK_RAM_ROOM_H

#include <stdint.h>

/*
 * Bytes of ordinary memory that can be had without anybody being killed for it: what the machine
 * has available, or the control groups of this process leave. UINT64_MAX: not known.
 */
uint64_t ram_room(void);

#endif

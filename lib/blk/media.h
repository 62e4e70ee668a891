/* SPDX-License-Identifier: BSD-3-Clause */
/* What lies beside a store's data, see media.c. Private to lib/blk. */
#ifndef BLK_MEDIA_H
#define BLK_MEDIA_H

#include <bellhop/blk.h>
#include <bellhop/fault.h>

struct blk_media {
	struct bh_blk_format format;
	struct bh_blk_zoned zoned;
	struct bh_zones *zones;
	uint8_t *map; /* NULL: there is nothing but the block size */
	size_t bytes;
	int fd;	    /* -1: memory */
	char *path; /* while it is new */
	bool is_new;
	struct bh_fault_range guard;
};

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* bh-tgt with a store that completes late, out of order and from a thread of its own. */
#include <stddef.h>

#include <bellhop/blk_nvme.h>

#include "../../app/bh-tgt.h"
#include "../common/blk_late.h"

static const struct bh_blk_type *const types[] = { &bh_blk_null_type, &bh_blk_ram_type,
						   &bh_blk_file_type, &bh_blk_nvme_type,
						   &blk_late_type,    NULL };

int main(int argc, char **argv)
{
	return bh_tgt_main(argc, argv, types);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <stddef.h>

#include <bellhop/blk_nvme.h>

#include "bh-tgt.h"

static const struct bh_blk_type *const types[] = { &bh_blk_null_type, &bh_blk_ram_type,
						   &bh_blk_file_type, &bh_blk_nvme_type, NULL };

int main(int argc, char **argv)
{
	return bh_tgt_main(argc, argv, types);
}

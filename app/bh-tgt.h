/* SPDX-License-Identifier: BSD-3-Clause */
/* The target program, apart from which store types it offers: tests build it with stores of their
 * own. */
#ifndef APP_BH_TGT_H
#define APP_BH_TGT_H

#include <bellhop/blk.h>

/* store_types as in bh_tgt_opts, not NULL; plug-ins add theirs. Returns the exit code. */
int bh_tgt_main(int argc, char **argv, const struct bh_blk_type *const *store_types);

#endif

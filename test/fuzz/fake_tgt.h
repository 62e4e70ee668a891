/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A target that is none: it knows what it was told to have, and opens nothing. What it is told with
 * a name or a size that has a 7 in it fails.
 */
#ifndef TEST_FUZZ_FAKE_TGT_H
#define TEST_FUZZ_FAKE_TGT_H

#include <bellhop/tgt.h>

struct bh_tgt *fake_tgt_new(void);
void fake_tgt_free(struct bh_tgt *tgt);

#endif

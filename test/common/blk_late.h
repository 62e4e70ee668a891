/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * late:SIZE[,hold=MS][,seed=N][,direct=1][,share=1]: a store for tests that completes late, out of order, and
 * from a thread of its own. Its data is in memory.
 *
 *   hold    how long a request is held, in ms (default 5)
 *   seed    each request is held for a random time up to `hold`, the same ones in every run with
 *           this seed and order of submission; without it all are held for exactly `hold`
 *   direct  1: the store takes client memory itself and cancels synchronously (CANCEL_SYNC); by
 *           default it never sees client memory
 *   share   1: the store takes client memory itself, and has to be waited for (SHARE)
 *
 * The buffer of a request is touched when it completes, not before.
 */
#ifndef TEST_COMMON_BLK_LATE_H
#define TEST_COMMON_BLK_LATE_H

#include <bellhop/blk.h>

extern const struct bh_blk_type blk_late_type;

#endif

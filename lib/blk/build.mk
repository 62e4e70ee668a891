# SPDX-License-Identifier: BSD-3-Clause
blk_SRCS := blk.c chan.c null.c ram.c

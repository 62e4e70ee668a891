# SPDX-License-Identifier: BSD-3-Clause
unit_tgt_SRCS := ../../common/blk_late.c
unit_tgt_TSAN := test_later
unit_tgt_CFLAGS := -DBH_SRC='"$(CURDIR)"'

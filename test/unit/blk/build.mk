# SPDX-License-Identifier: BSD-3-Clause
unit_blk_NEEDS := blk pi nvme_spec base
unit_blk_SRCS := ../../common/blk_late.c
unit_blk_TSAN := test_late

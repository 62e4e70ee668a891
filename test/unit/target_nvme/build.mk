# SPDX-License-Identifier: BSD-3-Clause
unit_target_nvme_NEEDS := target_nvme vfu_server vfu cmem blk pi poll nvme_spec base
unit_target_nvme_SRCS := ../../common/blk_late.c
unit_target_nvme_TSAN := test_threads
unit_target_nvme_CFLAGS := -DBH_SRC='"$(CURDIR)"'

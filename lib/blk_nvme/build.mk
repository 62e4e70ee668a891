# SPDX-License-Identifier: BSD-3-Clause
blk_nvme_SRCS := device.c chan.c share.c store.c

# SPDX-License-Identifier: BSD-3-Clause
unit_dma_NEEDS := dma base
unit_dma_SRCS := capture.c
unit_dma_TSAN := test_iova test_space

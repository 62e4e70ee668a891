# SPDX-License-Identifier: BSD-3-Clause
dma_SRCS := alloc.c iova.c pool.c space.c sys.c

# SPDX-License-Identifier: BSD-3-Clause
io_vfu_SRCS := device.c negotiate.c link.c dma.c region.c region_info.c io_fds.c irq.c

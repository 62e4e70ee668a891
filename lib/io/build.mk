# SPDX-License-Identifier: BSD-3-Clause
io_SRCS := device.c region.c irq.c

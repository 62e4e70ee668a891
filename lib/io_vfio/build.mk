# SPDX-License-Identifier: BSD-3-Clause
io_vfio_SRCS := device.c look.c busy.c domain.c group.c cdev.c caps.c region.c irq.c dma.c \
	iova.c map.c memtype.c memattr.c watch.c reset.c

# SPDX-License-Identifier: BSD-3-Clause

vfu_server_SRCS := server.c client.c dispatch.c negotiate.c regions.c io_fds.c dma.c dma_msg.c \
	irqs.c irq_raise.c irq_signal.c config.c quiesce.c closer.c

# SPDX-License-Identifier: BSD-3-Clause
drivers_net_virtio_SRCS := chain_io.c ctrl.c irq.c kick.c net_virtio.c packed_io.c queues.c regs.c split_io.c \
	start.c virtq.c

# SPDX-License-Identifier: BSD-3-Clause
pci_SRCS := addr.c bind.c block_use.c caps.c config.c device.c group.c holder.c in_use.c net_use.c \
	sysfs.c

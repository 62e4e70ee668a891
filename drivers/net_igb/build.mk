# SPDX-License-Identifier: BSD-3-Clause
drivers_net_igb_SRCS := filter.c hw.c igb.c irq.c phy.c queue.c reset.c rss.c rx_io.c stats.c tx_io.c

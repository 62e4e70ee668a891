# SPDX-License-Identifier: BSD-3-Clause
drivers_net_igb_SRCS := filter.c hw.c phy.c reset.c rss.c stats.c

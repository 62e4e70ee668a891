# SPDX-License-Identifier: BSD-3-Clause
unit_drivers_net_igb_SRCS := fake_igb.c
unit_drivers_net_igb_LIBS = $(DPDK_LIBS) $(NUMA_LIBS)

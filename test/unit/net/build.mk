# SPDX-License-Identifier: BSD-3-Clause
unit_net_NEEDS := net env dma base
unit_net_LIBS = $(DPDK_LIBS) $(NUMA_LIBS)

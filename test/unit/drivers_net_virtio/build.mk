# SPDX-License-Identifier: BSD-3-Clause
unit_drivers_net_virtio_NEEDS := drivers_net_virtio net virtio env io pci dma base
unit_drivers_net_virtio_SRCS := fake_nic.c fake_rings.c
unit_drivers_net_virtio_LIBS = $(DPDK_LIBS) $(NUMA_LIBS)

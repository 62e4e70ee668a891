# SPDX-License-Identifier: BSD-3-Clause
net_SRCS := filter.c names.c net.c pool.c rss.c stats.c
# rte_pktmbuf_pool_create_extbuf() is experimental in DPDK 22.11, stable since.
net_CFLAGS := -DALLOW_EXPERIMENTAL_API

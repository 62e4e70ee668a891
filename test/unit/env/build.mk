# SPDX-License-Identifier: BSD-3-Clause
unit_env_NEEDS := env base
unit_env_LIBS = $(DPDK_LIBS) $(NUMA_LIBS)
unit_env_CFLAGS := -DALLOW_EXPERIMENTAL_API

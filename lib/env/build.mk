# SPDX-License-Identifier: BSD-3-Clause
env_SRCS := eal.c eal_log.c env.c heap.c memory.c thread.c

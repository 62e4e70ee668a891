# SPDX-License-Identifier: BSD-3-Clause
#
# What a request may cost in instructions: see the script budgets.
BUDGET := budget
budget_SRCS := budget.c
budget_CFLAGS := -Iapp
budget_LIBS := -Wl,--wrap=bh_poller_add,--wrap=bh_nvme_opts_init -lm
BUDGET_APP_OBJS := $(patsubst %.c,$(B)/obj/app/%.o,$(filter-out bh-perf.c,$(bh-perf_SRCS)))

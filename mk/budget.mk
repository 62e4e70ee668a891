# SPDX-License-Identifier: BSD-3-Clause
#
# Instruction budgets: test/budget/budgets runs the program under callgrind and compares what each
# case took with what it may take. test/budget/build.mk sets BUDGET, the program, <program>_SRCS,
# and BUDGET_APP_OBJS, objects of bh-perf that it is linked with.
# `make check-budget` is part of `make check`.

BUDGET :=
-include $(wildcard test/budget/build.mk)
BUDGET_BIN := $(BUDGET:%=$(B)/test/budget/%)

ifneq ($(BUDGET),)
$(eval $(call program_rules,$(BUDGET),test/budget,$(BUDGET_BIN)))
$(BUDGET_BIN): $(BUDGET_APP_OBJS)
endif

.PHONY: check-budget
check-budget: export BH_COMPILER := $(shell $(CC) --version 2>/dev/null | head -n 1) $(ARCH_FLAGS) $(CFLAGS)
check-budget: $(BUDGET_BIN)
	$(call run_tests,budget) test/budget/check-budget=120

# SPDX-License-Identifier: BSD-3-Clause
#
# Functional tests run the built programs. test/functional/build.mk sets
#   FUNCTIONAL          test programs; <test>_SRCS lists the sources of each, relative to the directory
#   FUNCTIONAL_SCRIPTS  test scripts of that directory, run as they are
#   FUNCTIONAL_ASKED    more of these, which run only when they are asked for
#   FUNCTIONAL_SRCS     helper sources linked into every test program
#   FUNCTIONAL_HELPERS  programs the tests run; <helper>_SRCS as above
#   FUNCTIONAL_TSAN     tests and scripts that also run under ThreadSanitizer
#   FUNCTIONAL_NO_SAN   tests and scripts that make no sense under sanitizers
#   FUNCTIONAL_ALONE    tests and scripts that run before the others, with nothing beside them
#   <test>_DEADLINE     seconds (default 120); <test>_LIBS, <test>_CFLAGS, <test>_DPDK as of programs
# A test finds the programs in $BH_BUILD/bin and may write below $BH_TMP only.
# `make functional-ft_xxx` builds and runs one, `make check-functional` all, two at once: half their time
# they wait for what others do, so none may mind a busy machine or a neighbour's sockets and memory.

FUNCTIONAL :=
FUNCTIONAL_SCRIPTS :=
FUNCTIONAL_ASKED :=
FUNCTIONAL_SRCS :=
FUNCTIONAL_HELPERS :=
FUNCTIONAL_TSAN :=
FUNCTIONAL_NO_SAN :=
FUNCTIONAL_ALONE :=
FUNCTIONAL_DEADLINE := 120
-include $(wildcard test/functional/build.mk)

FUNCTIONAL_OBJS := $(patsubst %.c,$(B)/obj/test/functional/%.o,$(FUNCTIONAL_SRCS))
ALL_OBJS += $(FUNCTIONAL_OBJS)
$(FUNCTIONAL_OBJS): COMPONENT_CFLAGS = -Itest/functional

$(foreach p,$(call dpdk_first,$(FUNCTIONAL)),$(eval $(call program_rules,$p,test/functional,$(B)/test/functional/$p)))
$(addprefix $(B)/test/functional/,$(FUNCTIONAL)): $(FUNCTIONAL_OBJS)
$(foreach p,$(FUNCTIONAL_HELPERS),$(eval $(call program_rules,$p,test/functional,$(B)/test/functional/$p)))

functional_path = $(if $(filter $1,$(FUNCTIONAL_SCRIPTS) $(FUNCTIONAL_ASKED)),test/functional/$1,$(B)/test/functional/$1)
functional_specs = $(foreach t,$1,$(call functional_path,$t)=$(or $($t_DEADLINE),$(FUNCTIONAL_DEADLINE)))

FUNCTIONAL_HELPER_BINS := $(addprefix $(B)/test/functional/,$(FUNCTIONAL_HELPERS))
FUNCTIONAL_BINS := $(addprefix $(B)/test/functional/,$(FUNCTIONAL)) $(FUNCTIONAL_HELPER_BINS)
FUNCTIONAL_RUN := $(FUNCTIONAL) $(FUNCTIONAL_SCRIPTS)
ifneq ($(SAN),)
FUNCTIONAL_RUN := $(filter-out $(FUNCTIONAL_NO_SAN),$(FUNCTIONAL_RUN))
endif

# What run-tests runs, for $(call run_tests,...): some alone, then two at once.
functional_plan = --lanes 2 $(addprefix --first=,$(call functional_specs,$(filter $(FUNCTIONAL_ALONE),$(FUNCTIONAL_RUN)))) \
	$1 $(call functional_specs,$(filter-out $(FUNCTIONAL_ALONE),$(FUNCTIONAL_RUN)))

.PHONY: functional-tests check-functional $(addprefix functional-,$(FUNCTIONAL) $(FUNCTIONAL_SCRIPTS) $(FUNCTIONAL_ASKED))
functional-tests: $(FUNCTIONAL_BINS)
check-functional: all $(FUNCTIONAL_BINS)
	$(call run_tests,functional) $(call functional_plan)

define functional_one
functional-$1: all $(if $(filter $1,$(FUNCTIONAL)),$(B)/test/functional/$1) $(FUNCTIONAL_HELPER_BINS)
	$$(call run_tests,functional) $$(call functional_specs,$1)
endef
$(foreach t,$(FUNCTIONAL) $(FUNCTIONAL_SCRIPTS) $(FUNCTIONAL_ASKED),$(eval $(call functional_one,$t)))

FUNCTIONAL_TSAN_SPECS := $(call functional_specs,$(FUNCTIONAL_TSAN))

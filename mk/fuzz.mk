# SPDX-License-Identifier: BSD-3-Clause
#
# Fuzz targets, built by clang with libFuzzer and sanitizers. test/fuzz/build.mk sets
#   FUZZERS    targets; <target>_SRCS relative to the directory
#   FUZZ_SRCS  sources of all of them but FUZZ_ALONE
# `make check-fuzz` runs each for FUZZ_SECONDS (default 30) from the seeds in
# test/fuzz/corpus/TARGET.tar.xz, and once over test/fuzz/regress/TARGET, which holds what crashed it
# before. New inputs are kept in the build directory. `make check-fuzz FUZZ_SECONDS=3600` is a longer
# look; `make fuzz-corpus` afterwards makes the seeds anew from what it found. `make fuzz-coverage` says
# which lines of which files the seeds, and what check-fuzz or FUZZ_FOUND=DIR (with a directory for
# each target) has found beyond them, execute: clang's coverage, without sanitizers.

FUZZ_SECONDS ?= 30
FUZZERS :=
FUZZ_SRCS :=

check-fuzz:
	@$(MAKE) --no-print-directory O=$(O)/fuzz CC=clang SAN=address,undefined FUZZ=1 run-fuzz
fuzz-corpus:
	@$(MAKE) --no-print-directory O=$(O)/fuzz CC=clang SAN=address,undefined FUZZ=1 merge-fuzz
fuzz-coverage:
	@$(MAKE) --no-print-directory O=$(O)/fuzz-coverage CC=clang SAN= FUZZ=1 COVERAGE=1 run-coverage \
		FUZZ_FOUND=$(or $(FUZZ_FOUND),$(abspath $(O))/fuzz/san-address-undefined/fuzz)
.PHONY: check-fuzz run-fuzz fuzz-corpus merge-fuzz fuzz-coverage run-coverage fuzzers

ifeq ($(FUZZ),1)
-include $(wildcard test/fuzz/build.mk)
FUZZ_OBJS := $(FUZZ_SRCS:%.c=$(B)/obj/test/fuzz/%.o)
ALL_OBJS += $(FUZZ_OBJS)
$(FUZZ_OBJS): COMPONENT_CFLAGS = -Itest/fuzz
$(foreach f,$(FUZZERS),$(eval $(call program_rules,$f,test/fuzz,$(B)/test/fuzz/$f)))
$(foreach f,$(FUZZERS),$(eval $(B)/test/fuzz/$f: PROGRAM_LIBS = -fsanitize=fuzzer))
FUZZ_BINS := $(FUZZERS:%=$(B)/test/fuzz/%)
$(filter-out $(FUZZ_ALONE:%=$(B)/test/fuzz/%),$(FUZZ_BINS)): $(FUZZ_OBJS)
fuzzers: $(FUZZ_BINS)
merge-fuzz: $(FUZZ_BINS)
	$(Q)FUZZERS='$(FUZZERS)' BH_BUILD=$(abspath $(B)) test/fuzz/merge
run-coverage: $(FUZZ_BINS)
	$(Q)FUZZERS='$(FUZZERS)' BH_BUILD=$(abspath $(B)) FUZZ_FOUND=$(FUZZ_FOUND) test/fuzz/coverage
run-fuzz: $(FUZZ_BINS)
	$(Q)FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZERS='$(FUZZERS)' BH_BUILD=$(abspath $(B)) scripts/run-tests \
		--stage fuzz test/fuzz/run=$(shell expr $(FUZZ_SECONDS) \* $(words $(FUZZERS)) + 300)
endif

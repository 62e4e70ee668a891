# SPDX-License-Identifier: BSD-3-Clause
#
# The checks that are not tests of behaviour, and `make check`, which runs everything.

# $(call run_tests,STAGE) SPEC...
run_tests = $(Q)BH_BUILD=$(abspath $(B)) BH_SAN=$(SAN) scripts/run-tests --stage $(or $(STAGE),$1)

# A clean machine needs nothing typed but `make check`: root installs what is missing, others are
# told the command.
ensure_packages = @scripts/pkgdep.sh --check >/dev/null 2>&1 || scripts/pkgdep.sh

# What `make check` runs, in this order: STAGE:KIND[=SECONDS], see scripts/run-tests.
CHECK_PLAN := layers:build headers:build shell:build install:build=300 unit:suite=600 \
	functional:suite=900 budget:suite=300 vm:suite=3600 fuzz:suite=900 san:suite=1800 tsan:suite=900 clang:build=600 cross:build=600

# Each stage is a make of its own that gets what the user chose.
CHECK_MAKE := $(MAKE) $(foreach v,O CC CXX ARCH LTO WERROR V JOBS,"$v=$($v)")

.PHONY: check check-layers check-headers check-shell check-install check-san check-tsan \
	check-clang check-cross run-all run-tsan demo

check:
	$(ensure_packages)
	@scripts/run-tests --plan --make '$(CHECK_MAKE)' $(CHECK_PLAN)

demo:
	$(ensure_packages)
	@$(MAKE) --no-print-directory all
	@scripts/demo.sh $(B)

check-layers: $(COMPONENT_LIBS)
	@scripts/check-layers --self-test
	@scripts/check-layers
	@$(if $(COMPONENT_LIBS),scripts/check-layers --state $(COMPONENT_LIBS))

# Each public header compiles alone, twice in a row, as C11 (with POSIX, which strict C11 hides) and as
# C++17, without our -D flags. Packet headers may include rte_mbuf.h, so they get DPDK's flags.
PUBLIC_HEADERS := $(wildcard include/bellhop/*.h)
DPDK_HEADERS := $(shell grep -l '^[[:space:]]*\#[[:space:]]*include <rte_' $(PUBLIC_HEADERS) /dev/null)
HEADER_CHECKS := $(foreach s,c cpp,$(PUBLIC_HEADERS:include/%.h=$(O)/headers/%.$s.ok))
header_flags = -Iinclude $(if $(filter include/$*.h,$(DPDK_HEADERS)),$(DPDK_CFLAGS)) \
	-Wall -Wextra -Wundef -Wpointer-arith -Werror -fsyntax-only -MMD -MP -MF $@.d -MT $@
twice = printf '\#include <%s.h>\n\#include <%s.h>\n' $* $*

$(O)/headers/%.c.ok: include/%.h
	@mkdir -p $(@D)
	$(Q)$(twice) | $(CC) -std=c11 -D_POSIX_C_SOURCE=200809L -Wshadow -Wstrict-prototypes $(header_flags) -x c -
	@touch $@
$(O)/headers/%.cpp.ok: include/%.h
	@mkdir -p $(@D)
	$(Q)$(twice) | $(CXX) -std=c++17 $(header_flags) -x c++ -
	@touch $@
-include $(wildcard $(HEADER_CHECKS:=.d))

check-headers: $(HEADER_CHECKS)
	@echo "check-headers: $(words $(PUBLIC_HEADERS)) headers, as C11 and as C++17"

check-shell:
	@scripts/run-tests --self-test
	@scripts=$$(grep -rlE --exclude-dir=build '^#! ?(/usr)?/bin/(env )?(ba)?sh' scripts .ci test) && \
		shellcheck -x $$scripts && echo "check-shell: $$(echo $$scripts | wc -w) scripts"

check-install:
	@O=$(O) scripts/check-install '$(MAKE)' '$(CC)'

# The whole test suite in one run; under sanitizers by way of SAN=.
run-all: all $(UNIT_BINS) $(FUNCTIONAL_BINS)
	$(call run_tests,all) $(call functional_plan,$(foreach c,$(UNIT_COMPONENTS),$(call unit_specs,$c,$(unit_$c_TESTS))))

# ThreadSanitizer runs the parts where two threads meet: what the build.mk files name as _TSAN.
TSAN_SPECS := $(UNIT_TSAN_SPECS) $(FUNCTIONAL_TSAN_SPECS)
TSAN_BINS := $(filter $(B)/%,$(foreach s,$(TSAN_SPECS),$(firstword $(subst =, ,$s))))
run-tsan: $(if $(FUNCTIONAL_TSAN),all $(FUNCTIONAL_HELPER_BINS)) $(TSAN_BINS)
	$(call run_tests,tsan) $(TSAN_SPECS)

check-san:
	@$(MAKE) --no-print-directory SAN=address,undefined STAGE=san run-all
check-tsan:
	@$(MAKE) --no-print-directory SAN=thread STAGE=tsan run-tsan
check-clang:
	@$(MAKE) --no-print-directory O=$(O)/clang CC=clang all unit-tests functional-tests

# aarch64: everything is compiled to objects, since only libraries are missing, not their headers:
# numa.h, jansson.h and CUnit's are the same on every machine and found after the cross compiler's own.
# DPDK's are not; the code that includes them is syntax-checked against DPDK's generic headers.
X := $(O)/aarch64
XCC := $(CROSS_COMPILE)gcc
FOREIGN_HEADERS = -idirafter /usr/include -idirafter /usr/include/$(shell $(CC) -print-multiarch)
X_CFLAGS := $(filter-out $(ARCH_FLAGS),$(BASE_CFLAGS))
X_INCLUDES := -Itest/unit -Itest/functional -Itest/bench -Iapp
X_ALL := $(sort $(patsubst $(B)/obj/%,$(X)/obj/%,$(ALL_OBJS)))
X_SYNTAX_DIRS := $(foreach c,$(DPDK_COMPONENTS),$(X)/obj/$($c_DIR)/% $(X)/obj/test/unit/$c/%)
X_SYNTAX_DIRS += $(patsubst $(B)/obj/%,$(X)/obj/%,$(filter-out $(PLAIN_OBJS),$(DPDK_OBJS)))
X_SYNTAX := $(patsubst %.o,%.ok,$(filter $(X_SYNTAX_DIRS),$(X_ALL)))
X_OBJS := $(filter-out $(X_SYNTAX_DIRS),$(X_ALL))
$(foreach c,$(COMPONENTS),$(eval $(patsubst $(B)/%,$(X)/%,$($c_OBJS) $($c_OBJS:.o=.ok)): \
	COMPONENT_CFLAGS = $$($c_CFLAGS)))
$(foreach c,$(UNIT_COMPONENTS),$(eval $(X)/obj/test/unit/$c/%: COMPONENT_CFLAGS = $$(unit_$c_CFLAGS)))
$(call stamp,$(X)/.flags,$(shell $(XCC) --version 2>/dev/null | head -n 1) $(BASE_CPPFLAGS) $(X_CFLAGS))

$(X)/obj/%.o: %.c $(X)/.flags
	$(call say,XCC,$@)
	@mkdir -p $(@D)
	$(Q)$(XCC) $(BASE_CPPFLAGS) $(X_INCLUDES) $(X_CFLAGS) $(COMPONENT_CFLAGS) $(FOREIGN_HEADERS) \
		-MMD -MP -MF $(@:.o=.d) -c -o $@ $<

$(X)/obj/%.ok: %.c $(X)/.flags $(X)/dpdk/rte_config.h
	$(call say,XCHECK,$@)
	@mkdir -p $(@D)
	$(Q)$(XCC) $(BASE_CPPFLAGS) $(X_INCLUDES) $(X_CFLAGS) $(COMPONENT_CFLAGS) -isystem $(X)/dpdk \
		$(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags-only-I libdpdk | \
			tr ' ' '\n' | grep -v -- -linux-gnu)) \
		-include rte_config.h $(FOREIGN_HEADERS) -MMD -MP -MF $(@:.ok=.d) -MT $@ -fsyntax-only $<
	@touch $@

# The machine's own DPDK headers replaced by the generic ones they refine.
$(X)/dpdk/rte_config.h: scripts/generic-dpdk
	@mkdir -p $(@D)
	$(Q)scripts/generic-dpdk $(@D)

-include $(wildcard $(X_OBJS:.o=.d) $(X_SYNTAX:.ok=.d))

check-cross: $(X_OBJS) $(X_SYNTAX)
	@echo "note: aarch64: $(words $(X_OBJS)) files compiled, $(words $(X_SYNTAX)) that use DPDK syntax-checked"

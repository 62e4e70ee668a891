# SPDX-License-Identifier: BSD-3-Clause
#
# Unit tests: every test/unit/<component>/test_<noun>.c is one CUnit program with the main that
# test/unit/unit.h gives it. An optional test/unit/<component>/build.mk may set
#   unit_<component>_NEEDS  components to link (default: all of libbellhop.a); keeps a test
#                           building while others are broken
#   unit_<component>_SRCS   helper sources of that directory, linked into each of its tests
#   unit_<component>_TSAN   tests (names without .c) that also run under ThreadSanitizer
#   unit_<component>_CFLAGS, unit_<component>_LIBS
#   unit_<component>_DEADLINE  seconds one program may take (default 60)
# `make unit-<component>` builds and runs one component's tests, `make check-unit` all.

UNIT_COMPONENTS := $(sort $(patsubst test/unit/%/,%,$(dir $(wildcard test/unit/*/test_*.c))))
-include $(wildcard test/unit/*/build.mk)

UNIT_MAIN_OBJ := $(B)/obj/test/unit/unit.o
ALL_OBJS += $(UNIT_MAIN_OBJ)
UNIT_BINS :=
UNIT_DEADLINE := 60

# $1 component, $2 test name
define unit_program
ALL_OBJS += $(B)/obj/test/unit/$1/$2.o
$(B)/obj/test/unit/$1/$2.o: COMPONENT_CFLAGS = $$(unit_$1_FLAGS)
$(B)/test/unit/$1/$2: PROGRAM_LIBS = $$(unit_$1_LIBS) $$(CUNIT_LIBS)
$(B)/test/unit/$1/$2: $(B)/obj/test/unit/$1/$2.o $$(unit_$1_OBJS) $$(UNIT_MAIN_OBJ) \
		$$(if $$(unit_$1_NEEDS),$$(foreach c,$$(unit_$1_NEEDS),$$($$c_LIB)),$$(LIBBELLHOP)) \
		$$(FLAGS_STAMP) $$(B)/obj/test/unit/.$1.list
	$$(link)
endef

# $1 component
define unit_component
$$(foreach n,$$(unit_$1_NEEDS),$$(if $$(filter $$n,$$(COMPONENTS)),,\
	$$(warning test/unit/$1: unit_$1_NEEDS names $$n, which has no build.mk)))
unit_$1_OBJS := $$(call objects,test/unit/$1,$$(unit_$1_SRCS))
unit_$1_FLAGS = -Itest/unit $$(unit_$1_CFLAGS) $(if $(filter $1,$(DPDK_COMPONENTS)),$$(DPDK_CFLAGS))
unit_$1_TESTS := $(patsubst test/unit/$1/%.c,%,$(sort $(wildcard test/unit/$1/test_*.c)))
unit_$1_BINS := $$(addprefix $(B)/test/unit/$1/,$$(unit_$1_TESTS))
ALL_OBJS += $$(unit_$1_OBJS)
UNIT_BINS += $$(unit_$1_BINS)
$$(call stamp,$(B)/obj/test/unit/.$1.list,$$(unit_$1_NEEDS) | $$(unit_$1_OBJS) | $$(unit_$1_LIBS) \
	$$(unit_$1_CFLAGS))
$$(unit_$1_OBJS): COMPONENT_CFLAGS = $$(unit_$1_FLAGS)
$$(foreach t,$$(unit_$1_TESTS),$$(eval $$(call unit_program,$1,$$t)))
.PHONY: unit-$1
unit-$1: $$(unit_$1_BINS)
	$$(call run_tests,unit) $$(call unit_specs,$1,$$(unit_$1_TESTS))
endef

# A test for scripts/run-tests is PATH=SECONDS.
unit_specs = $(foreach t,$2,$(B)/test/unit/$1/$t=$(or $(unit_$1_DEADLINE),$(UNIT_DEADLINE)))

$(foreach c,$(UNIT_COMPONENTS),$(eval $(call unit_component,$c)))

.PHONY: unit-tests check-unit
unit-tests: $(UNIT_BINS)
check-unit: $(UNIT_BINS)
	$(call run_tests,unit) $(foreach c,$(UNIT_COMPONENTS),$(call unit_specs,$c,$(unit_$c_TESTS)))

UNIT_TSAN_SPECS := $(foreach c,$(UNIT_COMPONENTS),$(call unit_specs,$c,$(unit_$c_TSAN)))

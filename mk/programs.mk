# SPDX-License-Identifier: BSD-3-Clause
#
# Programs. app/build.mk sets APPS := bh-tgt ..., and for each one <app>_SRCS (relative to app/) and,
# if need be, <app>_LIBS and <app>_CFLAGS; test/bench/build.mk the same with BENCHES. Two programs may
# share a source. They land in bin/.

APPS :=
BENCHES :=
BENCH_SCRIPTS :=
-include $(wildcard app/build.mk test/bench/build.mk)

# $1 program, $2 source directory, $3 executable
define program_rules
$1_OBJS := $$(call objects,$2,$$($1_SRCS))
ALL_OBJS += $$($1_OBJS)
$$(call stamp,$(B)/obj/$2/.$1.list,$$($1_OBJS) $$($1_LIBS) $$($1_CFLAGS))
$$($1_OBJS): COMPONENT_CFLAGS = -I$2 $$($1_CFLAGS) $$(if $$($1_DPDK),$$(DPDK_CFLAGS))
$$(if $$($1_DPDK),$$(eval DPDK_OBJS += $$($1_OBJS)),$$(eval PLAIN_OBJS += $$($1_OBJS)))
$3: PROGRAM_LIBS = $$($1_LIBS)
$3: $$($1_OBJS) $(LIBBELLHOP) $(FLAGS_STAMP) $(B)/obj/$2/.$1.list
	$$(link)
endef

define link
$(call say,LINK,$@)
@mkdir -p $(@D)
$(Q)$(CC) $(LINK_FLAGS) $(LDFLAGS) -o $@.new $(filter %.o,$^) \
	-Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(PROGRAM_LIBS) $(LIBS) && mv -f $@.new $@
endef

# A source that several programs share is compiled as the last of them says: without DPDK's flags, if
# one of them has none.
DPDK_OBJS :=
PLAIN_OBJS :=
dpdk_first = $(foreach p,$1,$(if $($p_DPDK),$p)) $(foreach p,$1,$(if $($p_DPDK),,$p))

$(foreach p,$(call dpdk_first,$(APPS)),$(eval $(call program_rules,$p,app,$(B)/bin/$p)))
$(foreach p,$(BENCHES),$(eval $(call program_rules,$p,test/bench,$(B)/bin/$p)))

APP_BINS := $(addprefix $(B)/bin/,$(APPS))
BENCH_BINS := $(addprefix $(B)/bin/,$(BENCHES))
PROGRAM_BINS := $(APP_BINS) $(BENCH_BINS)

# `make bh-tgt` builds one program.
.PHONY: $(APPS) $(BENCHES)
$(foreach p,$(APPS) $(BENCHES),$(eval $p: $(B)/bin/$p))

# `make bench` runs the scripts in BENCH_SCRIPTS (relative to test/bench), `make bench-quick` with
# --quick. `bench` measures host and target beside their ceilings: a table, bench.json and report.html
# in bench/ of the build directory, in ten minutes at most, quick in one. BENCH_ARGS: options of it.
.PHONY: bench bench-quick
bench: all
	@set -e; $(foreach s,$(BENCH_SCRIPTS),echo "== $s"; BH_BUILD=$(abspath $(B)) test/bench/$s \
		$(if $(filter bench,$s),$(BENCH_ARGS));) :
bench-quick: all
	@set -e; $(foreach s,$(BENCH_SCRIPTS),echo "== $s"; BH_BUILD=$(abspath $(B)) test/bench/$s --quick \
		$(if $(filter bench,$s),$(BENCH_ARGS));) :

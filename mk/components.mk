# SPDX-License-Identifier: BSD-3-Clause
#
# Libraries and drivers. A component is a directory with a build.mk that sets
#   <component>_SRCS     its sources, relative to the directory (required)
#   <component>_CFLAGS   further flags for its objects (optional)
# The name is the path with / made _ and without a leading lib/: lib/vfu_server is vfu_server,
# lib/target/nvme is target_nvme, drivers/nvme is drivers_nvme.
#
# `make lib-vfu_server` (or drivers_nvme) compiles one component's objects and nothing else.

COMPONENT_FRAGMENTS := $(sort $(wildcard lib/*/build.mk lib/target/*/build.mk drivers/*/build.mk))
component_name = $(subst /,_,$(patsubst lib/%,%,$(patsubst %/build.mk,%,$1)))
COMPONENTS := $(foreach f,$(COMPONENT_FRAGMENTS),$(call component_name,$f))

# The components that see DPDK's headers: EAL in env, mbufs in packet code.
DPDK_COMPONENTS := $(filter env net target_net drivers_net_%,$(COMPONENTS))

include $(COMPONENT_FRAGMENTS)

ALL_OBJS :=

# $1 component, $2 directory
define component_rules
$1_DIR := $2
$1_OBJS := $$(patsubst %.c,$(B)/obj/$2/%.o,$$($1_SRCS))
$1_LIB := $(B)/lib/components/$1.a
ALL_OBJS += $$($1_OBJS)
$$(call stamp,$(B)/lib/components/.$1.list,$$($1_OBJS) $$($1_CFLAGS))
$$($1_OBJS): COMPONENT_CFLAGS = $$($1_CFLAGS) $(if $(filter $1,$(DPDK_COMPONENTS)),$$(DPDK_CFLAGS))
$$($1_OBJS): $(B)/lib/components/.$1.list
$$($1_LIB): $$($1_OBJS) $(B)/lib/components/.$1.list
.PHONY: $1 lib-$1
lib-$1 $1: $$($1_LIB)
endef
$(foreach f,$(COMPONENT_FRAGMENTS),$(eval \
	$(call component_rules,$(call component_name,$f),$(patsubst %/build.mk,%,$f))))

COMPONENT_LIBS := $(foreach c,$(COMPONENTS),$($c_LIB))
LIB_OBJS := $(foreach c,$(COMPONENTS),$($c_OBJS))
LIBBELLHOP := $(B)/lib/libbellhop.a
$(call stamp,$(B)/lib/.libbellhop.list,$(LIB_OBJS))

$(foreach c,$(DPDK_COMPONENTS),$(eval $($c_OBJS): | need-libdpdk))
.PHONY: need-libdpdk
need-libdpdk:
	@$(PKG_CONFIG) --exists libdpdk || { \
		echo "DPDK's headers are missing; scripts/pkgdep.sh installs what a build needs" >&2; exit 1; }

$(B)/obj/%.o: %.c $(FLAGS_STAMP)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CPPFLAGS) $(CPPFLAGS) $(BASE_CFLAGS) $(COMPONENT_CFLAGS) $(CFLAGS) \
		-MMD -MP -MF $(@:.o=.d) -c -o $@ $<

# An archive is made anew under another name: a source that left the list leaves the archive, and a
# reader never meets half of one.
define archive
$(call say,AR,$@)
@mkdir -p $(@D)
$(Q)rm -f $@.new && $(AR) qcs $@.new $(filter %.o,$^) && mv -f $@.new $@
endef

$(COMPONENT_LIBS):
	$(archive)

$(LIBBELLHOP): $(LIB_OBJS) $(B)/lib/.libbellhop.list
	$(archive)

# SPDX-License-Identifier: BSD-3-Clause
#
# Plug-ins: shared objects that programs load by name (--plugin NAME), each in a directory
# plugins/NAME with a build.mk that sets
#   NAME_SRCS  its sources, relative to the directory
#   NAME_HEADER, NAME_LIBS  the library it is for; where its header is missing, the plug-in is not
#              built, which `make` says
# They land in lib/bellhop beside bin/, in the build directory as where they are installed: a program
# looks for them relative to itself. A plug-in links its library and nothing of ours.

PLUGIN_FRAGMENTS := $(sort $(wildcard plugins/*/build.mk))
include $(PLUGIN_FRAGMENTS)
PLUGINS := $(patsubst plugins/%/build.mk,%,$(PLUGIN_FRAGMENTS))
plugin_has = $(shell printf '\#include <%s>\n' $($1_HEADER) | $(CC) -E -x c - >/dev/null 2>&1 && echo yes)
PLUGINS_BUILT := $(foreach p,$(PLUGINS),$(if $(call plugin_has,$p),$p))
PLUGIN_BINS := $(PLUGINS_BUILT:%=$(B)/lib/bellhop/%.so)
# A symbol that the plug-in's libraries lack would be ours; sanitizers have theirs in the program.
PLUGIN_LINK := -shared -Wl,-z,now $(if $(SAN),,-Wl,-z,defs)

# $1 plug-in
define plugin_rules
plugin_$1_OBJS := $$(patsubst %.c,$(B)/obj/plugins/$1/%.o,$$($1_SRCS))
ALL_OBJS += $$(plugin_$1_OBJS)
$$(call stamp,$(B)/obj/plugins/.$1.list,$$(plugin_$1_OBJS))
$$(plugin_$1_OBJS): COMPONENT_CFLAGS = -fPIC
$(B)/lib/bellhop/$1.so: $$(plugin_$1_OBJS) $(FLAGS_STAMP) $(B)/obj/plugins/.$1.list
	$$(call say,LINK,$$@)
	@mkdir -p $$(@D)
	$$(Q)$(CC) $(LINK_FLAGS) $(PLUGIN_LINK) $(LDFLAGS) -o $$@.new $$(filter %.o,$$^) \
		$$($1_LIBS) && mv -f $$@.new $$@
.PHONY: plugin-$1
plugin-$1: $(B)/lib/bellhop/$1.so
endef
$(foreach p,$(PLUGINS_BUILT),$(eval $(call plugin_rules,$p)))

PLUGINS_MISSING := $(filter-out $(PLUGINS_BUILT),$(PLUGINS))
.PHONY: plugins
plugins: $(PLUGIN_BINS)
	$(if $(PLUGINS_MISSING),@echo "note: plug-ins that are not built since the library for them is missing: $(PLUGINS_MISSING)")

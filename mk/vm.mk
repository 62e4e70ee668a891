# SPDX-License-Identifier: BSD-3-Clause
#
# VM tests boot guests under QEMU. test/vm/build.mk sets
#   VM_SCRIPTS      scripts of that directory, each of which runs one or more machines
#   VM_PROGRAMS     programs that run in guests; <program>_SRCS relative to the directory
#   <script>_DEADLINE  seconds (default 600)
# `make vm-group` runs one script, `make check-vm` all, two at once, since a guest that boots keeps one
# CPU busy. The first run on a machine downloads QEMU and kernels and builds one (see
# test/vm/vmcache.py); `make vm-prepare` does only that.

VM_SCRIPTS :=
VM_PROGRAMS :=
VM_DEADLINE := 600
-include $(wildcard test/vm/build.mk)

$(foreach p,$(VM_PROGRAMS),$(eval $(call program_rules,$p,test/vm,$(B)/test/vm/$p)))
VM_BINS := $(addprefix $(B)/test/vm/,$(VM_PROGRAMS))
vm_specs = $(foreach s,$1,test/vm/$s=$(or $($s_DEADLINE),$(VM_DEADLINE)))

.PHONY: check-vm vm-programs vm-prepare $(VM_SCRIPTS)
vm-programs: $(VM_BINS)
vm-prepare:
	@test/vm/prepare
check-vm: all $(VM_BINS)
	$(call run_tests,vm) --first $(call vm_specs,prepare) --lanes 2 $(call vm_specs,$(VM_SCRIPTS))
$(VM_SCRIPTS): all $(VM_BINS)
	$(call run_tests,vm) $(call vm_specs,$@)

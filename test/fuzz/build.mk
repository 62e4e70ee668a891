# SPDX-License-Identifier: BSD-3-Clause
#
# Fuzz targets: what an input is, is said in each file; fuzz.c has the NVMe controller and its client,
# which fuzz_net and fuzz_rpc have no use for.
FUZZERS := fuzz_wire fuzz_config fuzz_regs fuzz_admin fuzz_io fuzz_walk fuzz_device fuzz_net fuzz_rpc
FUZZ_SRCS := fuzz.c store.c world.c
FUZZ_ALONE := fuzz_net fuzz_rpc
$(foreach f,$(FUZZERS),$(eval $f_SRCS := $f.c))
fuzz_rpc_SRCS += fake_tgt.c
fuzz_device_SRCS += device_io.c device_late.c device_memory.c device_mutate.c

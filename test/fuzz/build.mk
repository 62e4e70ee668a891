# SPDX-License-Identifier: BSD-3-Clause
#
# Fuzz targets: what an input is, is said in each file; fuzz.c has the controller and its client.
FUZZERS := fuzz_wire fuzz_config fuzz_regs fuzz_admin fuzz_io fuzz_walk fuzz_device
FUZZ_SRCS := fuzz.c store.c
$(foreach f,$(FUZZERS),$(eval $f_SRCS := $f.c))

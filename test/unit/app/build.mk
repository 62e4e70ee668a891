# SPDX-License-Identifier: BSD-3-Clause
# Modules of the programs, from the very objects the programs are made of.
unit_app_CFLAGS := -Iapp

unit_app_LIBS := -lm
$(B)/test/unit/app/test_packet: $(B)/obj/app/packet.o
$(B)/test/unit/app/test_zipf: $(B)/obj/app/zipf.o
$(B)/test/unit/app/test_perf_verify: $(addprefix $(B)/obj/app/,perf_verify.o common.o)
$(B)/test/unit/app/test_perf_aim: $(addprefix $(B)/obj/app/,perf_coarse.o zipf.o)
$(B)/test/unit/app/test_perf_single: $(addprefix $(B)/obj/app/,perf_single.o perf_verify.o perf_loop.o zipf.o)
$(B)/test/unit/app/test_perf_options: $(addprefix $(B)/obj/app/,perf_options.o options.o common.o)
$(B)/test/unit/app/test_pktgen: $(addprefix $(B)/obj/app/,pktgen_worker.o pktgen_check.o packet.o capture.o common.o)

# Sees packets.
$(B)/obj/test/unit/app/test_pktgen.o: unit_app_CFLAGS += $(DPDK_CFLAGS)
DPDK_OBJS += $(B)/obj/test/unit/app/test_pktgen.o

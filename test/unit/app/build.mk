# SPDX-License-Identifier: BSD-3-Clause
# Modules of the programs, from the very objects the programs are made of.
unit_app_CFLAGS := -Iapp

$(B)/test/unit/app/test_packet: $(B)/obj/app/packet.o
$(B)/test/unit/app/test_pktgen: $(addprefix $(B)/obj/app/,pktgen_worker.o pktgen_check.o packet.o capture.o common.o)

# Sees packets.
$(B)/obj/test/unit/app/test_pktgen.o: unit_app_CFLAGS += $(DPDK_CFLAGS)
DPDK_OBJS += $(B)/obj/test/unit/app/test_pktgen.o

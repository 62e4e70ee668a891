# SPDX-License-Identifier: BSD-3-Clause
# Modules of the programs, from the very objects the programs are made of.
unit_app_NEEDS := base
unit_app_CFLAGS := -Iapp

$(B)/test/unit/app/test_packet: $(B)/obj/app/packet.o

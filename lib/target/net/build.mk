# SPDX-License-Identifier: BSD-3-Clause
# The control plane, the packet paths, the ports.
target_net_SRCS := ctrl.c regs.c features.c life.c cvq.c filter.c
target_net_SRCS += thread.c pass_io.c rx_io.c tx_io.c loop_io.c
target_net_SRCS += port.c port_pair.c port_tap.c port_pcap.c offload.c

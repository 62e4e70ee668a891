# SPDX-License-Identifier: BSD-3-Clause
# The vfio-user server is a fake: see net_rig.h.
unit_target_net_NEEDS := target_net virtio_dev virtio cmem poll base
unit_target_net_LIBS := $(PCAP_LIBS)
unit_target_net_TSAN := test_threads

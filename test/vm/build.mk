# SPDX-License-Identifier: BSD-3-Clause
#
# VM tests: scripts that describe machines, and the programs that run in their guests.
# The longest first: two run at once.
VM_SCRIPTS := vm-guest vm-nic vm-group vm-net vm-cdev vm-removal vm-pair vm-memattr vm-setup
prepare_DEADLINE := 2400
vm-group_DEADLINE := 900
vm-cdev_DEADLINE := 900
vm-nic_DEADLINE := 900
VM_PROGRAMS := vm-vfio vm-nvme vm-cmb vm-several vm-pair vm-memattr vm-zns vm-pi vm-igb vm-net vm-rings
vm-guest_DEADLINE := 1800
vm-vfio_SRCS := vm-vfio.c vmtest.c
vm-nvme_SRCS := vm-nvme.c host.c vmtest.c
vm-cmb_SRCS := vm-cmb.c host.c vmtest.c
vm-several_SRCS := vm-several.c host.c vmtest.c
vm-pair_SRCS := vm-pair.c vmtest.c
vm-pi_SRCS := vm-pi.c vmtest.c
vm-memattr_SRCS := vm-memattr.c vmtest.c
vm-zns_SRCS := vm-zns.c vmtest.c
vm-igb_SRCS := vm-igb.c vmtest.c
vm-net_SRCS := vm-net.c vm-net-offload.c vmnet.c vmtest.c
vm-net_DPDK := yes
vm-rings_SRCS := vm-rings.c

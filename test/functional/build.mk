# SPDX-License-Identifier: BSD-3-Clause
FUNCTIONAL_SRCS := ft.c ft_target.c ft_host.c ft_traffic.c

# What the tests run: the target with a store of theirs, from the very objects of bh-tgt.
FUNCTIONAL_HELPERS := bh-tgt-test
bh-tgt-test_SRCS := bh-tgt-test.c
bh-tgt-test_LIBS := $(SECCOMP_LIBS)
$(B)/test/functional/bh-tgt-test: $(B)/obj/app/bh-tgt.o $(B)/obj/app/confine.o $(B)/obj/app/levels.o \
	$(B)/obj/app/common.o $(B)/obj/app/plugin.o \
	$(B)/obj/test/common/blk_late.o

FUNCTIONAL := ft_data ft_cmb ft_queues ft_late ft_file ft_doorbells ft_memory ft_loss ft_env ft_race
ft_data_SRCS := ft_data.c

# Formats and metadata; ft-pi is the program that guests run against QEMU's controller.
FUNCTIONAL += ft_format
ft_format_SRCS := ft_format.c
FUNCTIONAL_HELPERS += ft-pi ft-zns
ft-zns_SRCS := ../vm/vm-zns.c ../vm/vmtest.c
ft-pi_SRCS := ../vm/vm-pi.c ../vm/vmtest.c

ft_cmb_SRCS := ft_cmb.c
ft_queues_SRCS := ft_queues.c
ft_late_SRCS := ft_late.c
ft_file_SRCS := ft_file.c
ft_file_DEADLINE := 300
ft_doorbells_SRCS := ft_doorbells.c
ft_memory_SRCS := ft_memory.c
ft_loss_SRCS := ft_loss.c
ft_env_SRCS := ft_env.c
# It reserves huge pages, which the others expect nobody to take; a benchmark wants the CPUs.
FUNCTIONAL_ALONE += ft_env ft_bench

# Clients that are not ours.
FUNCTIONAL += ft_foreign
ft_foreign_SRCS := ft_foreign.c foreign.c

# The network driver and the network controller.
FUNCTIONAL += ft_net ft_wire
ft_net_SRCS := ft_net.c nic.c
ft_net_DPDK := 1
ft_net_DEADLINE := 300
ft_wire_SRCS := ft_wire.c nic.c
ft_wire_DPDK := 1

# Two clients of one subsystem.
FUNCTIONAL += ft_subsys
ft_subsys_SRCS := ft_subsys.c

FUNCTIONAL += ft_sanitize
ft_sanitize_SRCS := ft_sanitize.c

# Several hosts that compare and write.
FUNCTIONAL += ft_fused
ft_fused_SRCS := ft_fused.c

# One client and another one's controller.
FUNCTIONAL += ft_neighbours
ft_neighbours_SRCS := ft_neighbours.c foreign.c

# make functional-ft_soak BH_SOAK_SECONDS=3600 is a longer one.
FUNCTIONAL += ft_soak
ft_soak_SRCS := ft_soak.c
ft_soak_DEADLINE := $(shell expr 240 + 2 \* $(or $(BH_SOAK_SECONDS),0))

# Host and target in one process over one mapping: see ft_race.c.
ft_race_SRCS := ft_race.c
ft_race_LIBS := -Wl,--wrap=mmap,--wrap=munmap,--wrap=bh__cmem_region_open
$(B)/test/functional/ft_race: $(B)/obj/test/common/blk_late.o

# Two threads that meet over queues do so in the rig. In the other tests much order between two
# threads of one process is made by another process, and ThreadSanitizer cannot see that.
FUNCTIONAL_TSAN := ft_doorbells ft_race

# The command line: see ft_cli. It takes its time since every program starts anew for each case.
FUNCTIONAL_SCRIPTS := ft_cli
ft_cli_DEADLINE := 300

# Who the target is and what it may do while it serves.
FUNCTIONAL_SCRIPTS += ft_confine
FUNCTIONAL += ft_sandbox
ft_sandbox_SRCS := ft_sandbox.c
ft_sandbox_CFLAGS := -Iapp
ft_sandbox_LIBS := $(SECCOMP_LIBS)
$(B)/test/functional/ft_sandbox: $(B)/obj/app/confine.o $(B)/obj/app/common.o

# scripts/setup.sh and bh-devices on machines made of files.
FUNCTIONAL_SCRIPTS += ft_setup.sh ft_devices
FUNCTIONAL_NO_SAN += ft_setup.sh
ft_setup.sh_DEADLINE := 300

# scripts/run-guest.sh, with a QEMU that is none.
FUNCTIONAL_SCRIPTS += ft_guest

# The control plane.
FUNCTIONAL_SCRIPTS += ft_rpc
ft_rpc_DEADLINE := 300
FUNCTIONAL += ft_hot
ft_hot_SRCS := ft_hot.c
ft_hot_DEADLINE := 300

# Packets through controllers of the target's, by the programs for packets.
FUNCTIONAL_SCRIPTS += ft_pktgen
ft_pktgen_DEADLINE := 300

# The benchmark's script; what it measures is no matter here.
FUNCTIONAL_SCRIPTS += ft_bench
FUNCTIONAL_NO_SAN += ft_bench
ft_bench_DEADLINE := 300

# Stores in plug-ins: NBD, by servers that are not ours.
FUNCTIONAL_SCRIPTS += ft_plugin
FUNCTIONAL += ft_nbd
ft_nbd_SRCS := ft_nbd.c

# Looking on.
FUNCTIONAL_SCRIPTS += ft_watch
ft_watch_DEADLINE := 300

# An SSD as a store: a target behind a target.
FUNCTIONAL += ft_nvme_store
ft_nvme_store_SRCS := ft_nvme_store.c

# RBD, on a Ceph cluster that it makes: only when asked, see there.
FUNCTIONAL_ASKED += ft_rbd
ft_rbd_DEADLINE := 300

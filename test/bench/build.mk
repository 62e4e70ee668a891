# SPDX-License-Identifier: BSD-3-Clause
#
# Ceilings, each a program; each side alone; and the scripts that measure beside them.
BENCHES := bench-ring bench-packets bench-copy bench-wake bench-driver bench-target \
	bench-first
bench-ring_SRCS := bench-ring.c bench.c
bench-packets_SRCS := bench-packets.c bench.c
bench-driver_SRCS := bench-driver.c bench.c
bench-target_SRCS := bench-target.c bench.c bench_client.c
bench-first_SRCS := bench-first.c bench.c bench_client.c
bench-copy_SRCS := bench-copy.c
bench-wake_SRCS := bench-wake.c

# Packets, beside the ceiling and DPDK's own pair.
BENCH_SCRIPTS := bench bench-net

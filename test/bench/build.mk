# SPDX-License-Identifier: BSD-3-Clause
BENCHES := bench-ring bench-packets

bench-ring_SRCS := bench-ring.c bench.c
bench-ring_ARGS := -t 3
bench-ring_QUICK_ARGS := -q 1,128 -t 1

bench-packets_SRCS := bench-packets.c bench.c
bench-packets_ARGS := -t 3
bench-packets_QUICK_ARGS := -q 1,512 -t 1

# Packets, beside the ceiling and DPDK's own pair.
BENCH_SCRIPTS += bench-net

# SPDX-License-Identifier: BSD-3-Clause
BENCHES := bench-ring

bench-ring_SRCS := bench-ring.c
bench-ring_ARGS := -t 3
bench-ring_QUICK_ARGS := -q 1,128 -t 1

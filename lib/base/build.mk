# SPDX-License-Identifier: BSD-3-Clause
base_SRCS := clock.c cpuset.c fault.c fd.c histogram.c latency.c log.c parse.c range.c shared.c

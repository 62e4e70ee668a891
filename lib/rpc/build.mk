# SPDX-License-Identifier: BSD-3-Clause
rpc_SRCS := server.c frame.c call.c job.c param.c methods.c objects.c subsys.c list.c state.c stats.c metrics.c metrics_text.c

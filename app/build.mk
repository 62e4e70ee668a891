# SPDX-License-Identifier: BSD-3-Clause
APPS := bh-tgt bh-ctl bh-top bh-perf bh-identify bh-hello bh-devices bh-pktgen bh-l2fwd

bh-tgt_SRCS := bh-tgt_main.c bh-tgt.c plugin.c confine.c levels.c common.c
bh-tgt_LIBS := $(SECCOMP_LIBS)
# What programs that measure share.
MEASURE_SRCS := options.c crew.c app_json.c common.c
bh-perf_SRCS := bh-perf.c perf_options.c perf_setup.c perf_meta.c perf_worker.c perf_loop.c perf_single.c perf_verify.c \
	perf_zoned.c perf_coarse.c perf_report.c zipf.c $(MEASURE_SRCS)
bh-perf_LIBS := -lm
bh-identify_SRCS := bh-identify.c identify_names.c identify_sanitize.c identify_telemetry.c identify_zones.c identify_text.c identify_json.c app_json.c common.c
bh-hello_SRCS := bh-hello.c
bh-devices_SRCS := bh-devices.c devices_find.c devices_open.c devices_text.c devices_json.c app_json.c common.c
bh-ctl_SRCS := bh-ctl.c rpc_client.c common.c
bh-top_SRCS := bh-top.c top_rates.c top_text.c rpc_client.c common.c
bh-pktgen_SRCS := bh-pktgen.c pktgen_options.c pktgen_setup.c pktgen_worker.c pktgen_check.c pktgen_report.c packet.c capture.c $(MEASURE_SRCS)
bh-pktgen_LIBS := -lm
bh-pktgen_DPDK := 1
bh-l2fwd_SRCS := bh-l2fwd.c
bh-l2fwd_DPDK := 1

# SPDX-License-Identifier: BSD-3-Clause
# The control plane first, then the I/O plane.
target_nvme_SRCS := admin.c admin_cmd.c alive.c cmb.c ctrl.c erase.c event.c feature.c flush.c format.c gate.c \
	health.c identify.c log.c ns.c ns_mgmt.c pel.c pel_event.c pool.c pool_media.c regs.c resv.c resv_cmd.c resv_feat.c sanitize.c selftest.c \
	subsys.c subsys_state.c telemetry.c
target_nvme_SRCS += bounce.c cmd.c coalesce.c copy.c doorbell.c fused.c io_flush.c \
	io_gate.c leave.c line.c meta.c op.c pause.c qctl.c queue.c queue_io.c req.c resv_plane.c \
	slow.c stats.c thread.c turn.c uncor.c walk.c wrr_io.c xfer.c zns.c
target_nvme_SRCS += mem.c

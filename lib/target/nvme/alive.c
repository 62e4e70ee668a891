/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keep Alive (NVMe 2.0 3.9, 5.18, 5.27.1.12).
 *
 * A host that has set a Keep Alive Timeout is taken for dead when no command of its has come for that
 * long: of its admin queue, Keep Alive or any other, or of its I/O queues (traffic based keep alive).
 * Then the error log gets an entry, nothing is carried out any more, and CSTS.CFS is 1 until a reset.
 * Over PCIe that is the host's wish: without it the timeout is 0, and no timer runs.
 *
 * The timer is looked at, not set anew, when there is traffic: at its end counters that the poll
 * threads have anyhow say whether there was any, so that the I/O path knows nothing of it. A timer
 * that has seen none waits one unit of its granularity more, in which what lies in the queues is
 * fetched: it may be the target that was late. Behind a gate, where nothing is fetched, it waits.
 */
#include "target/nvme/control.h"

#define UNIT_MS TN_KEEP_ALIVE_UNIT_MS
#define NS_PER_MS 1000000ull

uint32_t tn_alive_round(uint32_t ms)
{
	uint64_t up = ((uint64_t)ms + UNIT_MS - 1) / UNIT_MS * UNIT_MS;

	return up <= UINT32_MAX ? (uint32_t)up : UINT32_MAX / UNIT_MS * UNIT_MS;
}

/* Commands that have come, or were carried out. */
static uint64_t traffic(struct bh_target_nvme *ctrl)
{
	struct bh_target_nvme_stats stats = { 0 };

	tn_io_stats(ctrl, &stats);
	return tn_ctl(ctrl)->admin_commands + stats.counts.reads + stats.counts.writes +
	       stats.counts.others + stats.counts.errors;
}

/* Ready, and not on the way to a shutdown (3.9.2). */
static bool is_active(const struct bh_target_nvme *ctrl)
{
	uint32_t csts = __atomic_load_n(&ctrl->regs.csts, __ATOMIC_ACQUIRE);

	return ctrl->features.keep_alive_ms && tn_regs_is_ready(ctrl) &&
	       !BH_NVME_GET(ctrl->regs.cc, CC_SHN) && !BH_NVME_GET(csts, CSTS_SHST);
}

static void start(struct bh_target_nvme *ctrl, uint64_t ms)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);

	ctl->alive_traffic = traffic(ctrl);
	bh_timer_set(ctl->alive_timer, ms * NS_PER_MS);
}

static void expired(struct bh_target_nvme *ctrl)
{
	tn_error_add(ctrl, 0xffff, 0xffff, BH_NVME_SC_KEEP_ALIVE_EXPIRED, TN_AT_NOWHERE, 0, 0);
	tn_io_stop(ctrl);
	tn_ctrl_fatal(ctrl, "the host has sent nothing within its Keep Alive Timeout");
}

static void look(void *arg)
{
	struct bh_target_nvme *ctrl = arg;
	struct tn_ctl *ctl = tn_ctl(ctrl);

	if (!is_active(ctrl))
		return;
	if (traffic(ctrl) != ctl->alive_traffic) {
		tn_alive_restart(ctrl);
	} else if (ctl->gate) {
		start(ctrl, UNIT_MS);
	} else if (!ctl->is_alive_late) {
		ctl->is_alive_late = true;
		start(ctrl, UNIT_MS);
		tn_admin_kick(ctrl);
	} else {
		expired(ctrl);
	}
}

void tn_alive_restart(struct bh_target_nvme *ctrl)
{
	tn_ctl(ctrl)->is_alive_late = false;
	if (is_active(ctrl))
		start(ctrl, ctrl->features.keep_alive_ms);
	else
		bh_timer_cancel(tn_ctl(ctrl)->alive_timer);
}

void tn_alive_cmd(struct tn_admin_cmd *cmd)
{
	tn_alive_restart(cmd->ctrl);
	tn_admin_complete(cmd, BH_NVME_SC_SUCCESS);
}

int tn_alive_create(struct bh_target_nvme *ctrl)
{
	return bh_timer_create(ctrl->control, look, ctrl, &tn_ctl(ctrl)->alive_timer);
}

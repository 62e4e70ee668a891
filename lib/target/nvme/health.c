/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Controller Busy Time of the SMART log: the seconds, while the controller is enabled, in which I/O
 * commands were carried out. Once a second the counters are looked at on the control thread, so that
 * the poll threads have nothing to do for it.
 */
#include "target/nvme/control.h"
#include "target/nvme/pel.h"

#define SECOND_NS 1000000000ull

static void look(void *arg)
{
	struct bh_target_nvme *ctrl = arg;
	struct tn_ctl *ctl = tn_ctl(ctrl);
	struct bh_target_nvme_stats stats = { 0 };
	uint64_t commands;

	tn_io_stats(ctrl, &stats);
	commands = stats.counts.reads + stats.counts.writes + stats.counts.others +
		   stats.counts.errors;
	ctl->busy_seconds += commands != ctl->commands_seen;
	ctl->commands_seen = commands;
	tn_pel_look(ctrl);
	bh_timer_set(ctl->health_timer, SECOND_NS);
}

void tn_health_watch(struct bh_target_nvme *ctrl, bool on)
{
	if (on)
		bh_timer_set(tn_ctl(ctrl)->health_timer, SECOND_NS);
	else
		bh_timer_cancel(tn_ctl(ctrl)->health_timer);
}

int tn_health_create(struct bh_target_nvme *ctrl)
{
	return bh_timer_create(ctrl->control, look, ctrl, &tn_ctl(ctrl)->health_timer);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flushes on the control plane's account.
 *
 * A shutdown notification is answered, a Set Features that switches the write cache off completes,
 * and a controller goes, when what was written by way of it is durable. The I/O plane does one
 * flush at a time; whoever asks while one is under way gets one of his own behind it, since the
 * first may have begun before his last write was complete.
 *
 * A store may be late, or stuck. The host has patience of its own for the first two (RTD3E, its
 * command timeout); a controller that goes gives up after a while, with a word in the log.
 */
#include "target/nvme/control.h"

#define PATIENCE_NS 3000000000ull

static void flush_next(struct bh_target_nvme *ctrl);

static void flushed(void *arg, uint16_t status)
{
	struct bh_target_nvme *ctrl = arg;
	struct tn_ctl *ctl = tn_ctl(ctrl);
	struct tn_flush_req *req = ctl->flushing;

	ctl->flushing = req->next;
	req->next = NULL;
	req->is_asked = false;
	if (status)
		bh_log(ctrl->log, BH_LOG_ERROR, TN_LOG,
		       "%s: what was written last may not be durable: a store did not flush",
		       ctrl->path);
	if (ctl->flushing)
		flush_next(ctrl);
	req->done(req, status);
}

static void flush_next(struct bh_target_nvme *ctrl)
{
	if (tn_ctl(ctrl)->is_giving_up)
		flushed(ctrl, BH_NVME_SC_WRITE_FAULT);
	else
		tn_io_flush(ctrl, flushed, ctrl);
}

void tn_flush_ask(struct bh_target_nvme *ctrl, struct tn_flush_req *req)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);
	struct tn_flush_req **at = &ctl->flushing;
	bool is_first = !*at;

	while (*at)
		at = &(*at)->next;
	req->ctrl = ctrl;
	req->next = NULL;
	req->is_asked = true;
	*at = req;
	if (is_first)
		flush_next(ctrl);
}

void tn_flush_ask_briefly(struct bh_target_nvme *ctrl, struct tn_flush_req *req)
{
	bh_timer_set(tn_ctl(ctrl)->flush_timer, PATIENCE_NS);
	tn_flush_ask(ctrl, req);
}

static void flush_late(void *arg)
{
	struct bh_target_nvme *ctrl = arg;

	if (!tn_ctl(ctrl)->flushing)
		return;
	tn_ctl(ctrl)->is_giving_up = true;
	tn_io_flush_give_up(ctrl);
}

int tn_flush_timer_create(struct bh_target_nvme *ctrl)
{
	return bh_timer_create(ctrl->control, flush_late, ctrl, &tn_ctl(ctrl)->flush_timer);
}

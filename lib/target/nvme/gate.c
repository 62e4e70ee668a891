/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order of gates.
 *
 * Whoever wants client memory to be left alone (the vfio-user server before it maps, unmaps,
 * resets or lets a client go; a controller reset by CC.EN) asks for a gate with a request of its
 * own. The I/O plane knows one gate at a time, so requests wait in line. A gate is closed when
 * the I/O plane has said so; its owner is told once, makes its change, at once or later, and
 * opens it; then the next in line is asked for.
 *
 * TN_GATE_ALL also waits for the admin queue's transfers. TN_GATE_TABLE need not: they hold no
 * pointers from one step to the next and make each step on the control thread, as the change is;
 * one that a client has to answer (DMA messages) would have to be waited for while that client
 * waits for us.
 *
 * A request is in line at most once: the server asks one question at a time, and a second CC.EN =
 * 0 while a reset is under way is the same reset.
 *
 * All of it may happen inside the call that asked, from the I/O plane's answer to the owner's
 * opening it again.
 */
#include "target/nvme/control.h"

static void try_closed(struct bh_target_nvme *ctrl)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);

	if (!ctl->gate || ctl->gate_told || !ctl->gate_io_closed)
		return;
	if (ctl->gate->kind == TN_GATE_ALL && !tn_admin_is_idle(ctrl))
		return;
	ctl->gate_told = true;
	ctl->gate->closed(ctrl);
}

static void io_closed(void *arg)
{
	struct bh_target_nvme *ctrl = arg;

	tn_ctl(ctrl)->gate_io_closed = true;
	try_closed(ctrl);
}

static void close_next(struct bh_target_nvme *ctrl)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);
	struct tn_gate_req *req = ctl->gate_waiting;
	enum tn_gate kind = req->kind;

	ctl->gate_waiting = req->next;
	req->next = NULL;
	ctl->gate = req;
	ctl->gate_io_closed = false;
	ctl->gate_told = false;
	tn_admin_pause(ctrl);
	if (kind == TN_GATE_TABLE && req->is_going && tn_mem_is_shared(ctrl, req->iova, req->len))
		kind = TN_GATE_SHARED;
	tn_io_gate(ctrl, kind, req->iova, req->len, io_closed, ctrl);
}

void tn_gate_ask(struct bh_target_nvme *ctrl, struct tn_gate_req *req)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);
	struct tn_gate_req **at = &ctl->gate_waiting;

	while (*at)
		at = &(*at)->next;
	req->next = NULL;
	*at = req;
	if (!ctl->gate)
		close_next(ctrl);
}

void tn_gate_open(struct bh_target_nvme *ctrl)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);

	ctl->gate = NULL;
	tn_io_ungate(ctrl);
	if (ctl->gate_waiting) {
		close_next(ctrl);
		return;
	}
	if (ctl->irqs_changed)
		tn_gate_irqs_changed(ctrl);
	tn_admin_resume(ctrl);
}

/* Behind a gate the queues' doorbells may be in memory that is going (shadow doorbells). */
void tn_gate_irqs_changed(struct bh_target_nvme *ctrl)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);

	ctl->irqs_changed = ctl->gate != NULL;
	if (ctl->irqs_changed || !ctrl->io)
		return;
	tn_io_irqs_changed(ctrl);
	tn_admin_irqs_changed(ctrl);
}

void tn_gate_admin_idle(struct bh_target_nvme *ctrl)
{
	try_closed(ctrl);
}

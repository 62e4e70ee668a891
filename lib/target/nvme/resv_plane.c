/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reservations on the poll threads.
 *
 * What the host of this controller may do with a namespace is two bits in the namespace's line. A
 * line that denies anything is closed to the fast path (inline_blocks is 0), so that one need not
 * look at them: a command that it does not take is decoded, and looked at here. Namespaces without
 * reservations, and hosts that hold them, pay nothing.
 *
 * Reservation commands are requests: their data is fetched like that of a write, a message takes it
 * to the control thread, and another one brings status and data back. That one only puts the request
 * on the list of those whose turn comes again: nothing is looked up in client memory behind a gate. A
 * request that was left behind while it was away finds its queue gone, and goes, too.
 */
#include <stdlib.h>
#include <string.h>

#include "target/nvme/plane.h"
#include "target/nvme/resv.h"

/* ---- commands that are denied ---- */

/* NVMe 2.0 figure "Command Behavior in the Presence of a Reservation". */
static uint8_t access_of(uint8_t opc)
{
	switch (opc) {
	case BH_NVME_CMD_RESV_REGISTER:
	case BH_NVME_CMD_RESV_REPORT:
	case BH_NVME_CMD_RESV_ACQUIRE:
	case BH_NVME_CMD_RESV_RELEASE:
		return 0;
	case BH_NVME_CMD_READ:
	case BH_NVME_CMD_COMPARE:
	case BH_NVME_CMD_VERIFY:
	case BH_NVME_CMD_ZONE_MGMT_RECV:
		return TN_DENY_READ;
	case BH_NVME_CMD_COPY: /* sources and destination are of one namespace */
		return TN_DENY_READ | TN_DENY_WRITE;
	}
	return TN_DENY_WRITE;
}

bool tn_line_denies(const struct tn_line *line, uint8_t opc)
{
	return line->deny & access_of(opc);
}

/* ---- the way to the control thread and back ---- */

static void come(void *ctx)
{
	tn_resv_cmd_come(ctx);
}

static void back(void *ctx)
{
	struct tn_resv_cmd *cmd = ctx;
	struct tn_req *req = cmd->req;

	if (!req->sq) {
		tn_req_return(req);
		free(cmd);
		return;
	}
	req->job.line->resv_inflight--;
	req->status = cmd->status;
	if (!cmd->status && req->job.to_client)
		memcpy(req->buf, cmd->data, cmd->len);
	free(cmd);
	tn_req_put_off(req->thread, req);
}

uint16_t tn_resv_start(struct tn_thread *t, struct tn_req *req)
{
	struct tn_resv_cmd *cmd = calloc(1, sizeof(*cmd) + req->job.bytes);

	if (!cmd)
		return BH_NVME_SC_INTERNAL_ERROR;
	cmd->req = req;
	cmd->ctrl = t->ctrl;
	cmd->home = t->reactor;
	cmd->cmd = req->xfer.cmd;
	cmd->len = req->job.bytes;
	if (!req->job.to_client)
		memcpy(cmd->data, req->buf, cmd->len);
	req->state = TN_REQ_CTRL;
	req->job.line->resv_inflight++;
	cmd->msg = (struct bh_msg){ .fn = come, .ctx = cmd };
	bh_reactor_send(t->ctrl->control, &cmd->msg);
	return 0;
}

/* On the control thread. */
void tn_resv_cmd_return(struct tn_resv_cmd *cmd)
{
	cmd->msg = (struct bh_msg){ .fn = back, .ctx = cmd };
	bh_reactor_send(cmd->home, &cmd->msg);
}

/* ---- what a host may do has changed ---- */

static bool is_drained(const struct tn_line *line)
{
	return line->inflight == line->resv_inflight;
}

/* Lines whose last request has gone. */
void tn_drains_run(struct tn_thread *t, bool is_end)
{
	struct tn_op **at = &t->drains, *op;

	while ((op = *at) != NULL) {
		if (!is_end && !is_drained(&t->line[op->u.deny.nsid])) {
			at = &op->u.deny.next;
			continue;
		}
		*at = op->u.deny.next;
		tn_op_reply(op);
	}
}

static void deny_run(struct tn_op *op)
{
	struct tn_thread *t = op->thread;
	struct tn_line *line = &t->line[op->u.deny.nsid];

	if (line->kind != TN_NS_NONE) {
		line->deny = op->u.deny.bits;
		tn_line_set_inline(line);
	}
	if (!op->u.deny.is_aborting || is_drained(line)) {
		tn_op_reply(op);
		return;
	}
	tn_reqs_abort_line(t, line, BH_NVME_SC_ABORTED_PREEMPT);
	if (is_drained(line) || !t->poller) {
		tn_op_reply(op);
		return;
	}
	op->u.deny.next = t->drains;
	t->drains = op;
}

static void deny_finish(struct tn_fan *fan)
{
	fan->done(fan->arg);
	free(fan);
}

void *tn_io_deny_new(struct bh_target_nvme *ctrl)
{
	return tn_fan_new(ctrl->io, deny_run, deny_finish);
}

void tn_io_deny_free(void *deny)
{
	free(deny);
}

void tn_io_deny_send(void *deny, uint32_t nsid, uint8_t bits, bool is_aborting,
		     void (*done)(void *arg), void *arg)
{
	struct tn_fan *fan = deny;
	unsigned int i;

	fan->done = done;
	fan->arg = arg;
	for (i = 0; i < fan->io->num_threads; i++) {
		fan->op[i].u.deny.nsid = nsid;
		fan->op[i].u.deny.bits = bits;
		fan->op[i].u.deny.is_aborting = is_aborting;
	}
	tn_fan_send(fan);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Admin commands: which there are, and those about queues, aborts, events and doorbell buffers.
 *
 * The table below is the one place that says what is supported: the effects log is made from it.
 */
#include "target/nvme/control.h"
#include "target/nvme/subsys.h"

/* ---- create and delete queues (NVMe 2.0 5.4 to 5.7) ---- */

/*
 * Queue ids run up to what Number of Queues granted (5.27.1.5), or all there are if the host
 * never asked.
 */
static uint32_t queue_limit(const struct bh_target_nvme *ctrl, bool is_cq)
{
	const struct tn_features *f = &ctrl->features;

	if (!f->queues_set)
		return ctrl->max_queues;
	return 1 + (uint32_t)(is_cq ? BH_NVME_GET(f->queues, NUM_QUEUES_NCQ)
				    : BH_NVME_GET(f->queues, NUM_QUEUES_NSQ));
}

/* What is common to both kinds of queues. True: in order; else the command has been completed. */
static bool check_create(struct tn_admin_cmd *cmd, struct tn_queue_params *p, bool is_cq)
{
	struct bh_target_nvme *ctrl = cmd->ctrl;
	const struct bh_nvme_cmd *sqe = &cmd->sqe;
	bool is_entry_size_set = is_cq ? BH_NVME_GET(ctrl->regs.cc, CC_IOCQES) == BH_NVME_CQE_SHIFT
				       : BH_NVME_GET(ctrl->regs.cc, CC_IOSQES) == BH_NVME_SQE_SHIFT;

	p->qid = (uint16_t)BH_NVME_GET(sqe->cdw10, QUEUE_QID);
	p->entries = (uint32_t)BH_NVME_GET(sqe->cdw10, QUEUE_QSIZE) + 1;
	p->iova = sqe->dptr.prp.prp1;
	if (!p->qid || p->qid > queue_limit(ctrl, is_cq) ||
	    (is_cq ? tn_io_has_cq(ctrl, p->qid) : tn_io_has_sq(ctrl, p->qid)))
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_QUEUE_ID, TN_AT_CDW10);
	else if (p->entries < 2 || p->entries > ctrl->max_depth || !is_entry_size_set)
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_QUEUE_SIZE, TN_AT_CDW10 + 2);
	else if (!(sqe->cdw11 & BH_NVME_QUEUE_PC)) /* CAP.CQR */
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW11);
	else if (p->iova % TN_PAGE_SIZE)
		tn_admin_fail(cmd, BH_NVME_SC_PRP_OFFSET_INVALID, TN_AT_PRP1);
	else
		return true;
	return false;
}

static void create_cq(struct tn_admin_cmd *cmd)
{
	struct tn_queue_params p = { 0 };

	if (!check_create(cmd, &p, true))
		return;
	p.interrupt = cmd->sqe.cdw11 & BH_NVME_QUEUE_IEN;
	p.vector = (uint16_t)BH_NVME_GET(cmd->sqe.cdw11, QUEUE_IV);
	if (p.interrupt && p.vector > cmd->ctrl->max_queues) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_INTERRUPT_VECTOR, TN_AT_CDW11 + 2);
		return;
	}
	tn_io_cq_create(cmd->ctrl, &p, tn_admin_io_done, cmd);
}

static void create_sq(struct tn_admin_cmd *cmd)
{
	struct tn_queue_params p = { 0 };

	if (!check_create(cmd, &p, false))
		return;
	p.cqid = (uint16_t)BH_NVME_GET(cmd->sqe.cdw11, QUEUE_CQID);
	p.priority = (uint8_t)BH_NVME_GET(cmd->sqe.cdw11, QUEUE_QPRIO);
	if (!p.cqid || p.cqid > queue_limit(cmd->ctrl, true))
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_QUEUE_ID, TN_AT_CDW11 + 2);
	else if (!tn_io_has_cq(cmd->ctrl, p.cqid))
		tn_admin_fail(cmd, BH_NVME_SC_COMPLETION_QUEUE_INVALID, TN_AT_CDW11 + 2);
	else
		tn_io_sq_create(cmd->ctrl, &p, tn_admin_io_done, cmd);
}

static void delete_cq(struct tn_admin_cmd *cmd)
{
	uint16_t qid = (uint16_t)BH_NVME_GET(cmd->sqe.cdw10, QUEUE_QID);

	if (!qid || !tn_io_has_cq(cmd->ctrl, qid))
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_QUEUE_ID, TN_AT_CDW10);
	else if (tn_io_cq_users(cmd->ctrl, qid))
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_QUEUE_DELETION, TN_AT_CDW10);
	else
		tn_io_cq_delete(cmd->ctrl, qid, tn_admin_io_done, cmd);
}

static void delete_sq(struct tn_admin_cmd *cmd)
{
	uint16_t qid = (uint16_t)BH_NVME_GET(cmd->sqe.cdw10, QUEUE_QID);

	if (!qid || !tn_io_has_sq(cmd->ctrl, qid))
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_QUEUE_ID, TN_AT_CDW10);
	else
		tn_io_sq_delete(cmd->ctrl, qid, tn_admin_io_done, cmd);
}

static void cmd_create_cq(struct tn_admin_cmd *cmd)
{
	tn_admin_serialize(cmd, create_cq);
}

static void cmd_create_sq(struct tn_admin_cmd *cmd)
{
	tn_admin_serialize(cmd, create_sq);
}

static void cmd_delete_cq(struct tn_admin_cmd *cmd)
{
	tn_admin_serialize(cmd, delete_cq);
}

static void cmd_delete_sq(struct tn_admin_cmd *cmd)
{
	tn_admin_serialize(cmd, delete_sq);
}

/* ---- abort (NVMe 2.0 5.1) ---- */

static void abort_done(void *arg, uint16_t status)
{
	struct tn_admin_cmd *cmd = arg;

	cmd->cdw0 = status ? BH_NVME_ABORT_NOT_ABORTED : 0;
	tn_admin_complete(cmd, BH_NVME_SC_SUCCESS);
}

static void cmd_abort(struct tn_admin_cmd *cmd)
{
	struct bh_target_nvme *ctrl = cmd->ctrl;
	uint16_t sqid = (uint16_t)BH_NVME_GET(cmd->sqe.cdw10, ABORT_SQID);
	uint16_t cid = (uint16_t)BH_NVME_GET(cmd->sqe.cdw10, ABORT_CID);

	cmd->is_abort = true;
	if (tn_admin_aborts(ctrl) > TN_ABORT_LIMIT)
		tn_admin_fail(cmd, BH_NVME_SC_ABORT_LIMIT_EXCEEDED, TN_AT_OPC);
	else if (!sqid)
		abort_done(cmd, !tn_admin_abort_own(ctrl, cid));
	else if (!tn_io_has_sq(ctrl, sqid))
		abort_done(cmd, 1); /* a command that is not there is a command not aborted */
	else
		tn_io_abort(ctrl, sqid, cid, abort_done, cmd);
}

/* ---- doorbell buffers (NVMe 2.0 5.8) ---- */

/* Each buffer is one page and has to hold all doorbells, the admin queue's included. */
bool tn_has_doorbell_buffers(const struct bh_target_nvme *ctrl)
{
	return 2u * (ctrl->max_queues + 1) * (4u << ctrl->dstrd) <= TN_PAGE_SIZE;
}

static void doorbell_buffer_config(struct tn_admin_cmd *cmd)
{
	uint64_t prp1 = cmd->sqe.dptr.prp.prp1;
	uint64_t prp2 = cmd->sqe.dptr.prp.prp2;

	if (prp1 % TN_PAGE_SIZE)
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_PRP1);
	else if (prp2 % TN_PAGE_SIZE || prp1 == prp2)
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_PRP2);
	else
		tn_io_shadow_set(cmd->ctrl, prp1, prp2, tn_admin_io_done, cmd);
}

static void cmd_doorbell_buffer_config(struct tn_admin_cmd *cmd)
{
	tn_admin_serialize(cmd, doorbell_buffer_config);
}

/* ---- the table ---- */

static const tn_admin_fn handlers[256] = {
	[BH_NVME_ADMIN_DELETE_SQ] = cmd_delete_sq,
	[BH_NVME_ADMIN_CREATE_SQ] = cmd_create_sq,
	[BH_NVME_ADMIN_GET_LOG_PAGE] = tn_cmd_get_log_page,
	[BH_NVME_ADMIN_DELETE_CQ] = cmd_delete_cq,
	[BH_NVME_ADMIN_CREATE_CQ] = cmd_create_cq,
	[BH_NVME_ADMIN_IDENTIFY] = tn_cmd_identify,
	[BH_NVME_ADMIN_ABORT] = cmd_abort,
	[BH_NVME_ADMIN_SET_FEATURES] = tn_cmd_set_features,
	[BH_NVME_ADMIN_GET_FEATURES] = tn_cmd_get_features,
	[BH_NVME_ADMIN_ASYNC_EVENT] = tn_admin_aer_add,
	[BH_NVME_ADMIN_NS_MANAGEMENT] = tn_cmd_ns_management,
	[BH_NVME_ADMIN_NS_ATTACHMENT] = tn_cmd_ns_attachment,
	[BH_NVME_ADMIN_DEVICE_SELF_TEST] = tn_selftest_cmd,
	[BH_NVME_ADMIN_KEEP_ALIVE] = tn_alive_cmd,
	[BH_NVME_ADMIN_FORMAT_NVM] = tn_cmd_format,
	[BH_NVME_ADMIN_SANITIZE] = tn_cmd_sanitize,
	[BH_NVME_ADMIN_DOORBELL_BUFFER_CONFIG] = cmd_doorbell_buffer_config,
};

bool tn_admin_supports(const struct bh_target_nvme *ctrl, uint8_t opc)
{
	if (opc == BH_NVME_ADMIN_DOORBELL_BUFFER_CONFIG && !tn_has_doorbell_buffers(ctrl))
		return false;
	if (opc == BH_NVME_ADMIN_NS_MANAGEMENT || opc == BH_NVME_ADMIN_NS_ATTACHMENT)
		return !ctrl->subsys->is_implied;
	if (opc == BH_NVME_ADMIN_SANITIZE)
		return tn_sanicap(ctrl);
	return handlers[opc] != NULL;
}

void tn_admin_execute(struct tn_admin_cmd *cmd)
{
	uint8_t opc = cmd->sqe.opc;
	uint16_t denied = tn_sanitize_denies(cmd->ctrl, opc);

	tn_ctl(cmd->ctrl)->admin_commands++;
	if (!tn_admin_supports(cmd->ctrl, opc))
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_OPCODE, TN_AT_OPC);
	else if (cmd->sqe.flags & (BH_NVME_FUSE_MASK |
				   BH_NVME_PSDT_MASK)) /* SGLs: not for admin commands over PCIe */
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_FLAGS);
	else if (denied)
		tn_admin_complete(cmd, denied);
	else
		handlers[opc](cmd);
}

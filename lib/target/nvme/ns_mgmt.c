/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Namespace Management and Namespace Attachment (NVMe 2.0 5.23, 5.22), in subsystems.
 *
 * Hosts create namespaces out of the subsystem's pool, and delete those; what the operator has put
 * into the subsystem is the operator's to delete, but hosts may attach and detach it.
 *
 * A command takes as long as zeroing, opening and closing take, and touches controllers other than
 * the one it came by. So it is a struct tn_ns_op of the subsystem, which knows its command until
 * that one's controller goes. Whatever can be checked is checked before anything is changed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/nvme/control.h"
#include "target/nvme/pel.h"
#include "target/nvme/subsys.h"

struct tn_ns_op {
	struct tn_ns_op *next;
	struct bh_target_subsys *subsys;
	struct tn_admin_cmd *cmd; /* NULL: its controller has gone */
	unsigned int left;	  /* answers to come, and one while they are asked for */
	uint32_t nsid;		  /* made */
	/* of an attachment or detachment */
	uint32_t attached_nsid;
	bool is_attach;
	uint64_t ctrls; /* a bit per controller id from 1 */
	uint16_t status;
};

static struct tn_ns_op *op_new(struct tn_admin_cmd *cmd)
{
	struct tn_ns_op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	op->subsys = cmd->ctrl->subsys;
	op->cmd = cmd;
	op->left = 1;
	op->next = op->subsys->ops;
	op->subsys->ops = op;
	return op;
}

/* Those that have come about outlive the process. */
static void keep_attachments(const struct tn_ns_op *op)
{
	struct tn_space *space = tn_space_get(op->subsys, op->attached_nsid);
	unsigned int id;

	for (id = 1; space && id <= BH_TARGET_SUBSYS_MAX_CTRLS; id++) {
		const struct bh_target_nvme *ctrl = op->subsys->ctrl[id];

		if (ctrl && op->ctrls & 1ull << (id - 1) &&
		    !!tn_ns_get(ctrl, op->attached_nsid) == op->is_attach)
			tn_changed_by_host(space, ctrl, op->is_attach);
	}
	if (space && op->ctrls)
		tn_subsys_changed(op->subsys);
}

static void op_answer(struct tn_ns_op *op)
{
	struct tn_admin_cmd *cmd = op->cmd;
	struct tn_ns_op **at = &op->subsys->ops;
	uint16_t status = op->status;
	uint32_t made = op->nsid;

	if (--op->left)
		return;
	while (*at != op)
		at = &(*at)->next;
	*at = op->next;
	keep_attachments(op);
	if (cmd)
		cmd->cdw0 = op->nsid;
	free(op);
	if (cmd && !status && cmd->sqe.opc == BH_NVME_ADMIN_NS_MANAGEMENT)
		tn_pel_change_ns(cmd, made ? made : cmd->sqe.nsid);
	if (cmd && status)
		tn_admin_fail(cmd, status, TN_AT_NOWHERE);
	else if (cmd)
		tn_admin_complete(cmd, BH_NVME_SC_SUCCESS);
}

void tn_ns_ops_leave(struct bh_target_nvme *ctrl)
{
	struct tn_ns_op *op;

	for (op = ctrl->subsys->ops; op; op = op->next) {
		if (op->cmd && op->cmd->ctrl == ctrl)
			op->cmd = NULL;
	}
}

static void op_done(void *arg)
{
	op_answer(arg);
}

static void op_done_error(void *arg, int error)
{
	struct tn_ns_op *op = arg;

	if (error)
		op->status = BH_NVME_SC_INTERNAL_ERROR;
	op_answer(op);
}

/* ---- create ---- */

static uint16_t create_status(int error)
{
	switch (error) {
	case -ENOSPC:
		return BH_NVME_SC_NS_INSUFFICIENT_CAPACITY;
	case -EEXIST:
		return BH_NVME_SC_NSID_UNAVAILABLE;
	case -EINVAL:
	case -EFBIG:
		return BH_NVME_SC_INVALID_FIELD;
	}
	return BH_NVME_SC_INTERNAL_ERROR;
}

static void made(void *arg, int result)
{
	struct tn_ns_op *op = arg;

	if (result < 0)
		op->status = create_status(result);
	else
		op->nsid = (uint32_t)result;
	op_answer(op);
}

/* 0, or what is wrong with the data (NVM 4.1.6): what the host may choose, and the rest is zero. */
static uint16_t check_create(const struct bh_target_subsys *subsys, const struct bh_nvme_id_ns *id,
			     struct bh_blk_format *f)
{
	struct bh_blk like;

	if (!subsys->pool)
		return BH_NVME_SC_NS_INSUFFICIENT_CAPACITY;
	tn_pool_like(subsys, &like);
	if (!tn_format_get(&like, bh_nvme_flbas_index(id->flbas), f))
		return BH_NVME_SC_INVALID_FORMAT;
	f->pi = id->dps & BH_NVME_DPS_TYPE_MASK;
	f->pi_first = f->pi && id->dps & BH_NVME_DPS_FIRST;
	f->interleaved = id->flbas & BH_NVME_FLBAS_EXTENDED;
	if (id->dps & ~(BH_NVME_DPS_TYPE_MASK | BH_NVME_DPS_FIRST) || f->pi > 3 ||
	    (!f->md_bytes && (f->pi || f->interleaved)))
		return BH_NVME_SC_INVALID_FORMAT;
	if (id->nmic & ~BH_NVME_NMIC_SHARED || id->anagrpid || id->nvmsetid || id->endgid ||
	    !id->nsze || id->ncap > id->nsze)
		return BH_NVME_SC_INVALID_FIELD;
	if (id->ncap != id->nsze)
		return BH_NVME_SC_THIN_NOT_SUPPORTED;
	return id->nsze > (uint64_t)INT64_MAX / f->block_size ? BH_NVME_SC_NS_INSUFFICIENT_CAPACITY
							      : 0;
}

static bool has_free_id(const struct bh_target_subsys *subsys)
{
	uint32_t nsid = 1;

	while (nsid <= BH_TARGET_NVME_MAX_NS && subsys->space[nsid])
		nsid++;
	return nsid <= BH_TARGET_NVME_MAX_NS;
}

static void create(struct tn_admin_cmd *cmd)
{
	const struct bh_nvme_id_ns *id = (const struct bh_nvme_id_ns *)cmd->data;
	struct bh_target_subsys_ns_opts opts = { .size = sizeof(opts) };
	struct bh_target_subsys *subsys = cmd->ctrl->subsys;
	struct bh_blk_format format;
	struct tn_ns_op *op;
	uint16_t sf = cmd->status;
	int rc;

	if (sf & BH_NVME_STATUS_SC_MASK) { /* the data did not come */
		tn_admin_complete(cmd, sf);
		return;
	}
	sf = check_create(subsys, id, &format);
	if (!sf && !has_free_id(subsys))
		sf = BH_NVME_SC_NSID_UNAVAILABLE;
	op = sf ? NULL : op_new(cmd);
	if (!op) {
		tn_admin_fail(cmd, sf ? sf : BH_NVME_SC_INTERNAL_ERROR, TN_AT_PRP1);
		return;
	}
	opts.bytes = id->nsze * format.block_size;
	opts.block_size = format.block_size;
	opts.md_bytes = format.md_bytes;
	opts.pi = format.pi;
	opts.pi_first = format.pi_first;
	opts.interleaved = format.interleaved;
	opts.is_private = !(id->nmic & BH_NVME_NMIC_SHARED);
	rc = bh_target_subsys_ns_make(subsys, &opts, made, op);
	if (rc)
		made(op, rc);
}

/* ---- delete ---- */

static uint16_t check_delete(const struct bh_target_nvme *ctrl, uint32_t nsid)
{
	const struct tn_space *space = tn_space_get(ctrl->subsys, nsid);

	if (!space)
		return nsid && nsid <= BH_TARGET_NVME_MAX_NS ? BH_NVME_SC_INVALID_FIELD
							     : BH_NVME_SC_INVALID_NS;
	if (!space->pool_bytes)
		return BH_NVME_SC_OPERATION_DENIED;
	return tn_resv_admin_denied(ctrl, nsid) ? BH_NVME_SC_RESERVATION_CONFLICT : 0;
}

static void delete_one(struct tn_ns_op *op, uint32_t nsid)
{
	op->left++;
	if (bh_target_subsys_ns_delete(op->subsys, nsid, op_done, op) != 0)
		op_answer(op);
}

static void delete (struct tn_admin_cmd *cmd)
{
	uint32_t nsid = cmd->sqe.nsid, i;
	bool is_all = nsid == BH_NVME_NSID_ALL;
	uint16_t sf = is_all ? 0 : check_delete(cmd->ctrl, nsid);
	struct tn_ns_op *op;

	for (i = 1; is_all && !sf && i <= BH_TARGET_NVME_MAX_NS; i++) {
		if (tn_space_get(cmd->ctrl->subsys, i))
			sf = check_delete(cmd->ctrl, i);
	}
	op = sf ? NULL : op_new(cmd);
	if (!op) {
		tn_admin_fail(cmd, sf ? sf : BH_NVME_SC_INTERNAL_ERROR, TN_AT_NSID);
		return;
	}
	for (i = 1; i <= BH_TARGET_NVME_MAX_NS; i++) {
		if (is_all || i == nsid)
			delete_one(op, i);
	}
	op_answer(op);
}

void tn_cmd_ns_management(struct tn_admin_cmd *cmd)
{
	uint32_t sel = cmd->sqe.cdw10 & BH_NVME_NS_MGMT_SEL_MASK;

	if (sel == BH_NVME_NS_MGMT_DELETE)
		delete (cmd);
	else if (sel != BH_NVME_NS_MGMT_CREATE)
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW10);
	else if (cmd->sqe.nsid)
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_NSID);
	else if (BH_NVME_GET(cmd->sqe.cdw11, IDENTIFY_CSI) != BH_NVME_CSI_NVM)
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_IOCS, TN_AT_CDW11 + 3);
	else
		tn_admin_receive(cmd, sizeof(struct bh_nvme_id_ns), create);
}

/* ---- attach, detach ---- */

static struct bh_target_nvme *ctrl_of(const struct bh_target_subsys *subsys, uint16_t cntlid)
{
	struct bh_target_nvme *ctrl =
		cntlid >= 1 && cntlid <= BH_TARGET_SUBSYS_MAX_CTRLS ? subsys->ctrl[cntlid] : NULL;

	return ctrl && !ctrl->is_destroying ? ctrl : NULL;
}

/* The list is ascending, of controllers there are, each of which has the namespace or not. */
static uint16_t check_list(const struct tn_space *space, const struct bh_nvme_ctrl_list *list,
			   bool is_attach)
{
	unsigned int i;

	if (!list->count || list->count > BH_TARGET_SUBSYS_MAX_CTRLS)
		return BH_NVME_SC_CTRL_LIST_INVALID;
	for (i = 0; i < list->count; i++) {
		if (!ctrl_of(space->subsys, list->cntlid[i]) ||
		    (i && list->cntlid[i] <= list->cntlid[i - 1]))
			return BH_NVME_SC_CTRL_LIST_INVALID;
	}
	for (i = 0; i < list->count; i++) {
		const struct bh_target_nvme *ctrl = ctrl_of(space->subsys, list->cntlid[i]);

		if (is_attach && ctrl->ns[space->nsid])
			return BH_NVME_SC_NS_ALREADY_ATTACHED;
		if (!is_attach && !tn_ns_get(ctrl, space->nsid))
			return BH_NVME_SC_NS_NOT_ATTACHED;
	}
	if (is_attach && space->is_private && (space->users || list->count > 1))
		return BH_NVME_SC_NS_PRIVATE;
	return 0;
}

static void change_one(struct tn_ns_op *op, struct bh_target_nvme *ctrl, uint32_t nsid,
		       bool is_attach)
{
	int rc;

	op->left++;
	op->ctrls |= 1ull << (ctrl->cntlid - 1);
	rc = is_attach ? tn_ns_add(ctrl, nsid, op_done_error, op)
		       : tn_ns_detach(ctrl, nsid, op_done, op);
	if (rc < 0)
		op_done_error(op, is_attach ? rc : 0);
}

static void attach(struct tn_admin_cmd *cmd)
{
	const struct bh_nvme_ctrl_list *list = (const struct bh_nvme_ctrl_list *)cmd->data;
	bool is_attach = (cmd->sqe.cdw10 & BH_NVME_NS_MGMT_SEL_MASK) == BH_NVME_NS_ATTACH;
	struct tn_space *space = tn_space_get(cmd->ctrl->subsys, cmd->sqe.nsid);
	struct tn_ns_op *op;
	uint16_t sf = cmd->status;
	unsigned int i;

	if (sf & BH_NVME_STATUS_SC_MASK) {
		tn_admin_complete(cmd, sf);
		return;
	}
	sf = space ? check_list(space, list, is_attach) : BH_NVME_SC_INVALID_FIELD;
	if (!sf && tn_resv_admin_denied(cmd->ctrl, cmd->sqe.nsid))
		sf = BH_NVME_SC_RESERVATION_CONFLICT;
	op = sf ? NULL : op_new(cmd);
	if (!op) {
		tn_admin_fail(cmd, sf ? sf : BH_NVME_SC_INTERNAL_ERROR,
			      space ? TN_AT_PRP1 : TN_AT_NSID);
		return;
	}
	op->attached_nsid = space->nsid;
	op->is_attach = is_attach;
	for (i = 0; i < list->count; i++)
		change_one(op, ctrl_of(op->subsys, list->cntlid[i]), space->nsid, is_attach);
	op_answer(op);
}

void tn_cmd_ns_attachment(struct tn_admin_cmd *cmd)
{
	uint32_t sel = cmd->sqe.cdw10 & BH_NVME_NS_MGMT_SEL_MASK;

	if (sel != BH_NVME_NS_ATTACH && sel != BH_NVME_NS_DETACH)
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW10);
	else if (!cmd->sqe.nsid || cmd->sqe.nsid > BH_TARGET_NVME_MAX_NS)
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_NS, TN_AT_NSID);
	else
		tn_admin_receive(cmd, sizeof(struct bh_nvme_ctrl_list), attach);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Features of reservations: Host Identifier, Reservation Notification Mask, Reservation Persistence
 * (NVMe 2.0 5.27.1.25 to 5.27.1.27), and what of a namespace that is reserved an admin command may
 * not do.
 */
#include <string.h>

#include "target/nvme/control.h"
#include "target/nvme/subsys.h"

#define MASK_BITS 0xeu /* the three notifications there are */

static size_t id_bytes(const struct tn_admin_cmd *cmd)
{
	return cmd->sqe.cdw11 & BH_NVME_FEAT_HOST_ID_EXHID ? 16 : 8;
}

size_t tn_feat_host_id_bytes(const struct tn_admin_cmd *cmd)
{
	return id_bytes(cmd);
}

size_t tn_feat_get_host_id(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	if (f->is_host_id_ext && id_bytes(cmd) == 8)
		*sf = BH_NVME_SC_HOSTID_INCONSISTENT_FORMAT;
	memcpy(cmd->data, f->host_id, sizeof(f->host_id));
	return id_bytes(cmd);
}

/* Once, and not to nothing. */
uint16_t tn_feat_set_host_id(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	static const uint8_t none[16];

	(void)cdw11;
	if (!memcmp(cmd->data, none, id_bytes(cmd)))
		return BH_NVME_SC_INVALID_FIELD;
	if (memcmp(f->host_id, none, sizeof(none)) != 0)
		return BH_NVME_SC_COMMAND_SEQUENCE_ERROR;
	memcpy(f->host_id, cmd->data, id_bytes(cmd));
	f->is_host_id_ext = id_bytes(cmd) == 16;
	return 0;
}

static uint16_t check_active(const struct tn_admin_cmd *cmd)
{
	uint32_t nsid = cmd->sqe.nsid;

	if (!nsid || nsid > BH_TARGET_NVME_MAX_NS)
		return BH_NVME_SC_INVALID_NS;
	return tn_ns_get(cmd->ctrl, nsid) ? 0 : BH_NVME_SC_INVALID_FIELD;
}

size_t tn_feat_get_resv_mask(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	*sf = check_active(cmd);
	if (!*sf)
		cmd->cdw0 = f->resv_mask[cmd->sqe.nsid];
	return 0;
}

uint16_t tn_feat_set_resv_mask(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		if (cmd->sqe.nsid == nsid || cmd->sqe.nsid == BH_NVME_NSID_ALL)
			f->resv_mask[nsid] = (uint8_t)(cdw11 & MASK_BITS);
	}
	return 0;
}

/* The namespace's, not the controller's: there is no default to ask for. */
size_t tn_feat_get_resv_ptpl(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	const struct tn_ns *ns = tn_ns_get(cmd->ctrl, cmd->sqe.nsid);

	*sf = check_active(cmd);
	if (!*sf && f == &cmd->ctrl->features)
		cmd->cdw0 = ns->space->resv && ns->space->resv->is_persistent;
	return 0;
}

uint16_t tn_feat_set_resv_ptpl(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	struct bh_target_subsys *subsys = cmd->ctrl->subsys;
	uint32_t nsid;

	(void)f;
	if (cdw11 & 1u && !tn_subsys_is_persistent(subsys))
		return BH_NVME_SC_INVALID_FIELD;
	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		struct tn_ns *ns = tn_ns_get(cmd->ctrl, nsid);

		if (!ns || (cmd->sqe.nsid != nsid && cmd->sqe.nsid != BH_NVME_NSID_ALL))
			continue;
		if (!tn_space_resv(ns->space))
			return BH_NVME_SC_INTERNAL_ERROR;
		ns->space->resv->is_persistent = cdw11 & 1u;
	}
	tn_subsys_changed(subsys);
	return 0;
}

bool tn_resv_admin_denied(const struct bh_target_nvme *ctrl, uint32_t nsid)
{
	const struct tn_space *space = tn_space_get(ctrl->subsys, nsid);

	return space && tn_resv_denied_to(ctrl, space) & TN_DENY_WRITE;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Identify (NVMe 2.0 5.17, NVM command set 4.1.5).
 *
 * What is said here is what the rest does: OACS and the admin commands come from one table, ONCS
 * from the opcodes of the I/O plane, the write cache and read-only flags from the stores.
 */
#include <stdio.h>
#include <string.h>

#include "target/nvme/control.h"
#include "target/nvme/pel.h"
#include "target/nvme/subsys.h"

void tn_put_text(char *field, size_t size, const char *text)
{
	size_t len = strlen(text);

	memset(field, ' ', size);
	memcpy(field, text, len < size ? len : size);
}

static uint8_t log2_of(uint64_t value)
{
	return (uint8_t)(63 - __builtin_clzll(value));
}

bool tn_has_write_cache(const struct bh_target_nvme *ctrl)
{
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		const struct tn_ns *ns = tn_ns_get(ctrl, nsid);

		if (ns && (bh_blk_info(ns->blk)->caps & BH_BLK_CAP_FLUSH))
			return true;
	}
	return false;
}

static uint32_t common_caps(const struct bh_target_nvme *ctrl)
{
	uint32_t nsid, caps = ~0u;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		const struct tn_ns *ns = tn_ns_get(ctrl, nsid);

		caps &= ns ? bh_blk_info(ns->blk)->caps : ~0u;
	}
	return caps;
}

/*
 * cmd.c emulates what a store lacks of Compare and ignores Deallocate, but zeroes have to be
 * written.
 */
bool tn_io_supports(const struct bh_target_nvme *ctrl, uint8_t opc)
{
	switch (opc) {
	case BH_NVME_CMD_FLUSH:
	case BH_NVME_CMD_WRITE:
	case BH_NVME_CMD_READ:
	case BH_NVME_CMD_COMPARE:
	case BH_NVME_CMD_DSM:
	case BH_NVME_CMD_WRITE_UNCORRECTABLE:
	case BH_NVME_CMD_VERIFY:
	case BH_NVME_CMD_COPY:
		return true;
	case BH_NVME_CMD_WRITE_ZEROES:
		return common_caps(ctrl) & BH_BLK_CAP_WRITE_ZEROES;
	case BH_NVME_CMD_RESV_REGISTER:
	case BH_NVME_CMD_RESV_REPORT:
	case BH_NVME_CMD_RESV_ACQUIRE:
	case BH_NVME_CMD_RESV_RELEASE:
		return tn_has_reservations(ctrl);
	default:
		return false;
	}
}

static uint16_t oncs(const struct bh_target_nvme *ctrl)
{
	uint32_t bits = BH_NVME_ONCS_FEATURES_SAVE | BH_NVME_ONCS_TIMESTAMP;

	bits |= tn_io_supports(ctrl, BH_NVME_CMD_COMPARE) ? BH_NVME_ONCS_COMPARE : 0;
	bits |= tn_io_supports(ctrl, BH_NVME_CMD_DSM) ? BH_NVME_ONCS_DSM : 0;
	bits |= tn_io_supports(ctrl, BH_NVME_CMD_WRITE_ZEROES) ? BH_NVME_ONCS_WRITE_ZEROES : 0;
	bits |= tn_io_supports(ctrl, BH_NVME_CMD_VERIFY) ? BH_NVME_ONCS_VERIFY : 0;
	bits |= tn_io_supports(ctrl, BH_NVME_CMD_COPY) ? BH_NVME_ONCS_COPY : 0;
	if (tn_io_supports(ctrl, BH_NVME_CMD_WRITE_UNCORRECTABLE))
		bits |= BH_NVME_ONCS_WRITE_UNCORRECTABLE;
	bits |= tn_has_reservations(ctrl) ? BH_NVME_ONCS_RESERVATIONS : 0;
	return (uint16_t)bits;
}

static void put_limits(const struct bh_target_nvme *ctrl, struct bh_nvme_id_ctrl *id)
{
	id->mdts = log2_of(ctrl->mdts / TN_PAGE_SIZE);
	id->acl = TN_ABORT_LIMIT - 1;
	id->aerl = TN_AER_LIMIT - 1;
	id->elpe = TN_ERROR_LOG_ENTRIES - 1;
	id->sqes = BH_NVME_SQE_SHIFT << 4 | BH_NVME_SQE_SHIFT;
	id->cqes = BH_NVME_CQE_SHIFT << 4 | BH_NVME_CQE_SHIFT;
	id->nn = BH_TARGET_NVME_MAX_NS;
	id->mnan = BH_TARGET_NVME_MAX_NS;
	/* Who compares and writes has the blocks alone, as many as a command may have: of 4 KiB. */
	id->acwu = (uint16_t)((ctrl->mdts < 65536u * 4096 ? ctrl->mdts / 4096 : 65536u) - 1);
	id->rtd3r = TN_TIMEOUT_500MS * 500000u;
	id->rtd3e = TN_TIMEOUT_500MS * 500000u;
	id->kas = TN_KEEP_ALIVE_UNIT_MS / 100; /* units of 100 ms */
	id->wctemp = TN_TEMP_WARNING;
	id->cctemp = TN_TEMP_CRITICAL;
}

static void identify_ctrl(const struct bh_target_nvme *ctrl, struct bh_nvme_id_ctrl *id)
{
	id->vid = BH_TARGET_NVME_PCI_VENDOR;
	id->ssvid = BH_TARGET_NVME_PCI_VENDOR;
	tn_put_text(id->sn, sizeof(id->sn), ctrl->serial);
	tn_put_text(id->mn, sizeof(id->mn), ctrl->model);
	tn_put_text(id->fr, sizeof(id->fr), BH_VERSION);
	id->cntlid = ctrl->cntlid;
	if (!ctrl->subsys->is_implied) /* each controller is a port of its own */
		id->cmic = BH_NVME_CMIC_MULTI_PORT | BH_NVME_CMIC_MULTI_CTRL;
	id->ctratt = BH_NVME_CTRATT_TBKAS;
	if (tn_has_reservations(ctrl))
		id->ctratt |= BH_NVME_CTRATT_HOSTID_128;
	id->ver = ctrl->regs.vs;
	id->oaes = BH_NVME_OAES_NS_ATTR;
	id->cntrltype = BH_NVME_CNTRLTYPE_IO;
	id->nvmsr = 1; /* an NVMe storage device */
	id->oacs = BH_NVME_OACS_SELF_TEST | BH_NVME_OACS_FORMAT;
	id->fna = BH_NVME_FNA_NO_BROADCAST;
	if (tn_has_doorbell_buffers(ctrl))
		id->oacs |= BH_NVME_OACS_DOORBELL_BUFFER;
	if (tn_admin_supports(ctrl, BH_NVME_ADMIN_NS_MANAGEMENT))
		id->oacs |= BH_NVME_OACS_NS_MANAGEMENT;
	bh_target_subsys_capacity(ctrl->subsys, &id->tnvmcap[0], &id->unvmcap[0]);
	id->edstt = tn_selftest_minutes(ctrl);
	id->sanicap = tn_sanicap(ctrl);
	id->frmw = BH_NVME_FRMW_SLOT1_RO | 1u << BH_NVME_FRMW_SLOTS_SHIFT;
	id->lpa = BH_NVME_LPA_EFFECTS | BH_NVME_LPA_EXTENDED | BH_NVME_LPA_TELEMETRY |
		  BH_NVME_LPA_SUPPORTED_LOGS;
	if (tn_has_pel(ctrl)) {
		id->lpa |= BH_NVME_LPA_PERSISTENT_EVENT;
		id->pels = TN_PEL_SIZE_64K;
	}
	id->oncs = oncs(ctrl);
	id->fuses = BH_NVME_FUSES_COMPARE_WRITE;
	id->vwc = BH_NVME_VWC_FLUSH_ALL_YES | (tn_has_write_cache(ctrl) ? BH_NVME_VWC_PRESENT : 0);
	id->sgls = TN_SGLS;
	id->cdfs = 1u << 0; /* source ranges of format 0 */
	put_limits(ctrl, id);
	snprintf(id->subnqn, sizeof(id->subnqn), "%s", ctrl->subnqn);
}

static bool is_shared(const struct tn_space *space)
{
	return !space->subsys->is_implied && !space->is_private;
}

static uint8_t rescap(const struct tn_space *space)
{
	if (space->subsys->is_implied)
		return 0;
	return BH_NVME_RESCAP_WRITE_EXCLUSIVE | BH_NVME_RESCAP_EXCLUSIVE_ACCESS |
	       BH_NVME_RESCAP_WRITE_EXCLUSIVE_RO | BH_NVME_RESCAP_EXCLUSIVE_ACCESS_RO |
	       BH_NVME_RESCAP_WRITE_EXCLUSIVE_AR | BH_NVME_RESCAP_EXCLUSIVE_ACCESS_AR |
	       BH_NVME_RESCAP_IEKEY_13 |
	       (tn_subsys_is_persistent(space->subsys) ? BH_NVME_RESCAP_PTPL : 0);
}

static void identify_ns(const struct bh_target_nvme *ctrl, const struct tn_space *space,
			struct bh_nvme_id_ns *id)
{
	uint8_t shift = (uint8_t)tn_space_shift(space);
	uint32_t caps = bh_blk_info(space->blk)->caps;

	id->nsze = tn_space_blocks(space);
	id->ncap = id->nsze;
	id->nuse = id->nsze;
	tn_format_identify(space->blk, id);
	id->mcl = tn_copy_limit(ctrl->mdts >> shift, shift);
	id->mssrl = (uint16_t)id->mcl;
	id->msrc = TN_COPY_RANGES - 1;
	id->nvmcap[0] = space->pool_bytes;
	if (caps & BH_BLK_CAP_DEALLOCATE)
		id->dlfeat = BH_NVME_DLFEAT_READ_ZEROES;
	if ((caps & BH_BLK_CAP_DEALLOCATE) && (caps & BH_BLK_CAP_WRITE_ZEROES))
		id->dlfeat |= BH_NVME_DLFEAT_WRITE_ZEROES;
	id->nsattr = caps & BH_BLK_CAP_WRITE ? 0 : BH_NVME_NSATTR_WRITE_PROTECTED;
	id->nmic = is_shared(space) ? BH_NVME_NMIC_SHARED : 0;
	id->rescap = rescap(space);
	memcpy(id->nguid, space->uuid, sizeof(id->nguid));
}

/* What is common to all namespaces that may be created (base 2.0 5.17.2.1). */
static void identify_common(const struct bh_target_subsys *subsys, struct bh_nvme_id_ns *id)
{
	struct bh_blk like;

	if (!subsys->pool)
		return;
	tn_pool_like(subsys, &like);
	tn_format_identify(&like, id);
	id->flbas = 0; /* of none */
	id->fpi = 0;
}

static void identify_indep(const struct tn_ns *ns, struct bh_nvme_id_ns_indep *id)
{
	id->nmic = is_shared(ns->space) ? BH_NVME_NMIC_SHARED : 0;
	id->nsattr =
		bh_blk_info(ns->blk)->caps & BH_BLK_CAP_WRITE ? 0 : BH_NVME_NSATTR_WRITE_PROTECTED;
	id->nstat = BH_NVME_NSTAT_READY;
}

/* CNS 06h: of what is not said anything is, MDTS apart, no limit. */
static void identify_limits(const struct bh_target_nvme *ctrl, struct bh_nvme_id_ctrl_nvm *id)
{
	id->vsl = log2_of(ctrl->mdts / TN_PAGE_SIZE);
	id->wusl = log2_of(TN_UNCOR_BYTES / TN_PAGE_SIZE);
}

static uint8_t *put_desc(uint8_t *at, uint8_t type, const void *id, uint8_t len)
{
	const struct bh_nvme_ns_id_desc head = { .nidt = type, .nidl = len };

	memcpy(at, &head, sizeof(head));
	memcpy(at + sizeof(head), id, len);
	return at + sizeof(head) + len;
}

static uint8_t csi_of(const struct bh_blk *blk)
{
	return blk->zones ? BH_NVME_CSI_ZNS : BH_NVME_CSI_NVM;
}

static void identify_desc(const struct tn_ns *ns, uint8_t *at)
{
	const uint8_t csi = csi_of(ns->blk);

	at = put_desc(at, BH_NVME_NIDT_NGUID, ns->space->uuid, sizeof(ns->space->uuid));
	at = put_desc(at, BH_NVME_NIDT_UUID, ns->space->uuid, sizeof(ns->space->uuid));
	put_desc(at, BH_NVME_NIDT_CSI, &csi, sizeof(csi));
}

/* Ids after that one: of active namespaces, or of all that are allocated. */
static void identify_list(const struct bh_target_nvme *ctrl, uint32_t after, bool is_allocated,
			  struct bh_nvme_ns_list *list)
{
	unsigned int n = 0;
	uint32_t nsid;

	static_assert(BH_TARGET_NVME_MAX_NS < 1024, "all namespaces fit in one list");
	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		if (nsid > after && (is_allocated ? tn_space_get(ctrl->subsys, nsid) != NULL
						  : tn_ns_get(ctrl, nsid) != NULL))
			list->nsid[n++] = nsid;
	}
}

/* Controllers from that id on: all of the subsystem, or those that have the namespace. */
static void identify_ctrls(const struct bh_target_nvme *ctrl, uint16_t from, uint32_t nsid,
			   struct bh_nvme_ctrl_list *list)
{
	uint16_t id;

	for (id = 1; id <= BH_TARGET_SUBSYS_MAX_CTRLS; id++) {
		const struct bh_target_nvme *other = ctrl->subsys->ctrl[id];

		if (id >= from && other && (!nsid || tn_ns_get(other, nsid)))
			list->cntlid[list->count++] = id;
	}
}

static bool is_valid_nsid(uint32_t nsid)
{
	return nsid >= 1 && nsid <= BH_TARGET_NVME_MAX_NS;
}

static bool is_zns(const struct tn_admin_cmd *cmd)
{
	return BH_NVME_GET(cmd->sqe.cdw11, IDENTIFY_CSI) == BH_NVME_CSI_ZNS;
}

/*
 * Structures about one namespace: all zeros for an inactive one, but for the descriptors, which
 * it has none of.
 */
static uint16_t about_ns(struct tn_admin_cmd *cmd, uint8_t cns)
{
	const struct tn_ns *ns = tn_ns_get(cmd->ctrl, cmd->sqe.nsid);

	if (cmd->sqe.nsid == BH_NVME_NSID_ALL && cns == BH_NVME_CNS_NS &&
	    tn_admin_supports(cmd->ctrl, BH_NVME_ADMIN_NS_MANAGEMENT)) {
		identify_common(cmd->ctrl->subsys, (struct bh_nvme_id_ns *)cmd->data);
		return 0;
	}
	if (!is_valid_nsid(cmd->sqe.nsid) || (!ns && cns == BH_NVME_CNS_NS_ID_DESC))
		return BH_NVME_SC_INVALID_NS;
	if (!ns)
		return 0;
	switch (cns) {
	case BH_NVME_CNS_NS:
		identify_ns(cmd->ctrl, ns->space, (struct bh_nvme_id_ns *)cmd->data);
		break;
	case BH_NVME_CNS_NS_ID_DESC:
		identify_desc(ns, cmd->data);
		break;
	case BH_NVME_CNS_NS_INDEP:
		identify_indep(ns, (struct bh_nvme_id_ns_indep *)cmd->data);
		break;
	case BH_NVME_CNS_CSI_NS:
		if (csi_of(ns->blk) == BH_NVME_CSI_ZNS && is_zns(cmd))
			tn_zns_identify(ns->blk, (struct bh_nvme_id_ns_zns *)cmd->data);
		else if (is_zns(cmd))
			return BH_NVME_SC_INVALID_IOCS;
		break;
	default: /* CNS 05h: no protection information, no storage tags: zeros */
		break;
	}
	return 0;
}

/* Allocated, wherever it is attached; zeros where nothing is (base 2.0 5.17.2.9 to 5.17.2.13). */
static uint16_t about_subsystem(struct tn_admin_cmd *cmd, uint8_t cns)
{
	uint16_t cntid = (uint16_t)BH_NVME_GET(cmd->sqe.cdw10, IDENTIFY_CNTID);
	uint32_t nsid = cmd->sqe.nsid;
	const struct tn_space *space = tn_space_get(cmd->ctrl->subsys, nsid);

	switch (cns) {
	case BH_NVME_CNS_ALLOCATED_NS_LIST:
	case BH_NVME_CNS_CSI_ALLOCATED_NS_LIST:
		if (nsid >= BH_NVME_NSID_ALL - 1)
			return BH_NVME_SC_INVALID_NS;
		identify_list(cmd->ctrl, nsid, true, (struct bh_nvme_ns_list *)cmd->data);
		return 0;
	case BH_NVME_CNS_CTRL_LIST:
		identify_ctrls(cmd->ctrl, cntid, 0, (struct bh_nvme_ctrl_list *)cmd->data);
		return 0;
	case BH_NVME_CNS_NS_CTRL_LIST:
		if (!is_valid_nsid(nsid))
			return BH_NVME_SC_INVALID_NS;
		identify_ctrls(cmd->ctrl, cntid, nsid, (struct bh_nvme_ctrl_list *)cmd->data);
		return 0;
	default: /* an allocated namespace; CNS 1Bh has no more to say than CNS 05h */
		if (!is_valid_nsid(nsid))
			return BH_NVME_SC_INVALID_NS;
		if (space && cns == BH_NVME_CNS_ALLOCATED_NS)
			identify_ns(cmd->ctrl, space, (struct bh_nvme_id_ns *)cmd->data);
		return 0;
	}
}

static bool is_about_subsystem(uint8_t cns)
{
	return (cns >= BH_NVME_CNS_ALLOCATED_NS_LIST && cns <= BH_NVME_CNS_CTRL_LIST) ||
	       cns == BH_NVME_CNS_CSI_ALLOCATED_NS_LIST || cns == BH_NVME_CNS_CSI_ALLOCATED_NS;
}

/* Of active namespaces those of one command set. */
static void keep_set(const struct bh_target_nvme *ctrl, bool is_zoned, struct bh_nvme_ns_list *list)
{
	unsigned int i, n = 0;

	for (i = 0; i < BH_TARGET_NVME_MAX_NS && list->nsid[i]; i++) {
		uint32_t nsid = list->nsid[i];

		list->nsid[i] = 0;
		if ((tn_ns_get(ctrl, nsid)->blk->zones != NULL) == is_zoned)
			list->nsid[n++] = nsid;
	}
}

static uint16_t about_ctrl(struct tn_admin_cmd *cmd, uint8_t cns)
{
	uint32_t nsid = cmd->sqe.nsid;

	switch (cns) {
	case BH_NVME_CNS_CTRL:
		identify_ctrl(cmd->ctrl, (struct bh_nvme_id_ctrl *)cmd->data);
		return 0;
	case BH_NVME_CNS_ACTIVE_NS_LIST:
	case BH_NVME_CNS_CSI_ACTIVE_NS_LIST:
		if (nsid >= BH_NVME_NSID_ALL - 1)
			return BH_NVME_SC_INVALID_NS;
		identify_list(cmd->ctrl, nsid, false, (struct bh_nvme_ns_list *)cmd->data);
		if (cns == BH_NVME_CNS_CSI_ACTIVE_NS_LIST)
			keep_set(cmd->ctrl, is_zns(cmd), (struct bh_nvme_ns_list *)cmd->data);
		return 0;
	case BH_NVME_CNS_IOCS:
		((struct bh_nvme_id_iocs *)cmd->data)->vector[0] =
			1u << BH_NVME_CSI_NVM | 1u << BH_NVME_CSI_ZNS;
		return 0;
	default:
		if (!is_zns(cmd)) /* ZASL 0: appends have MDTS for a limit */
			identify_limits(cmd->ctrl, (struct bh_nvme_id_ctrl_nvm *)cmd->data);
		return 0;
	}
}

/* The CNS values about an I/O command set, of which there is one. */
static bool is_by_command_set(uint8_t cns)
{
	return cns == BH_NVME_CNS_CSI_NS || cns == BH_NVME_CNS_CSI_CTRL ||
	       cns == BH_NVME_CNS_CSI_ACTIVE_NS_LIST || cns == BH_NVME_CNS_CSI_ALLOCATED_NS_LIST ||
	       cns == BH_NVME_CNS_CSI_ALLOCATED_NS;
}

void tn_cmd_identify(struct tn_admin_cmd *cmd)
{
	uint8_t cns = (uint8_t)BH_NVME_GET(cmd->sqe.cdw10, IDENTIFY_CNS);
	uint16_t cntid = (uint16_t)BH_NVME_GET(cmd->sqe.cdw10, IDENTIFY_CNTID);
	uint16_t sf;

	memset(cmd->data, 0, sizeof(cmd->data));
	if (is_by_command_set(cns) &&
	    BH_NVME_GET(cmd->sqe.cdw11, IDENTIFY_CSI) != BH_NVME_CSI_NVM && !is_zns(cmd)) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_IOCS, TN_AT_CDW11 + 3);
		return;
	}
	if (cns == BH_NVME_CNS_IOCS && cntid != cmd->ctrl->cntlid && cntid != 0xffff) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW10 + 2);
		return;
	}
	if (is_about_subsystem(cns) && tn_admin_supports(cmd->ctrl, BH_NVME_ADMIN_NS_MANAGEMENT)) {
		sf = about_subsystem(cmd, cns);
		if (sf)
			tn_admin_fail(cmd, sf, TN_AT_NSID);
		else
			tn_admin_send(cmd, 0, TN_ADMIN_DATA, NULL);
		return;
	}
	switch (cns) {
	case BH_NVME_CNS_NS:
	case BH_NVME_CNS_NS_ID_DESC:
	case BH_NVME_CNS_NS_INDEP:
	case BH_NVME_CNS_CSI_NS:
		sf = about_ns(cmd, cns);
		break;
	case BH_NVME_CNS_CTRL:
	case BH_NVME_CNS_ACTIVE_NS_LIST:
	case BH_NVME_CNS_CSI_CTRL:
	case BH_NVME_CNS_CSI_ACTIVE_NS_LIST:
	case BH_NVME_CNS_IOCS:
		sf = about_ctrl(cmd, cns);
		break;
	default:
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW10);
		return;
	}
	if (sf)
		tn_admin_fail(cmd, sf, TN_AT_NSID);
	else
		tn_admin_send(cmd, 0, TN_ADMIN_DATA, NULL);
}

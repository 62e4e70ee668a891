/* SPDX-License-Identifier: BSD-3-Clause */
/* The fake controller's admin commands. */
#include <string.h>

#include <bellhop/barrier.h>

#include "fake_ctrl.h"

static void id_ctrl(struct fake *f, struct bh_nvme_id_ctrl *id)
{
	memset(id, 0, sizeof(*id));
	memset(id->sn, ' ', sizeof(id->sn));
	memcpy(id->mn, "Fake", 4);
	id->mdts = f->o.mdts;
	id->ver = BH_NVME_VERSION(2, 0, 0);
	id->acl = 1;
	id->aerl = 3;
	id->oaes = BH_NVME_OAES_NS_ATTR;
	id->nn = f->o.namespaces;
	id->sqes = 0x66;
	id->cqes = 0x44;
	id->oacs = f->o.shadow ? BH_NVME_OACS_DOORBELL_BUFFER : 0;
	id->sgls = f->o.sgl ? BH_NVME_SGLS_DWORD_ALIGNED : 0;
	id->sgls |= f->o.sgl_mptr ? BH_NVME_SGLS_MPTR_CONTIG : 0;
	id->fuses = f->o.fused ? BH_NVME_FUSES_COMPARE_WRITE : 0;
	id->acwu = f->o.acwu;
	id->ctratt = f->o.elbas ? BH_NVME_CTRATT_ELBAS : 0;
}

static void ns_list(struct fake *f, uint32_t after, struct bh_nvme_ns_list *list)
{
	uint32_t present = fake_get(&f->ns_present), i, n = 0;

	for (i = 0; f->o.lists == FAKE_ENDLESS && i < 1024; i++)
		list->nsid[i] = after + 1 + i;
	for (i = 0; f->o.lists == FAKE_LOOPING && i < 1024; i++)
		list->nsid[i] = 1 + i % 2;
	if (f->o.lists == FAKE_ENDLESS || f->o.lists == FAKE_LOOPING)
		return;
	for (i = 1; i <= f->o.namespaces; i++)
		if (i > after && (present >> (i - 1) & 1))
			list->nsid[n++] = i;
	if (f->o.lists == FAKE_EVERYONE)
		list->nsid[n] = BH_NVME_NSID_ALL;
}

static void id_ns(struct fake *f, uint32_t nsid, struct bh_nvme_id_ns *id)
{
	uint32_t present = fake_get(&f->ns_present);

	if (f->o.lists == FAKE_HONEST && !(present >> (nsid - 1) & 1))
		return;
	id->nsze = id->ncap = FAKE_BLOCKS;
	id->lbaf[0].lbads = f->o.any_lbads ? f->o.lbads : (uint8_t)f->o.block_shift;
	id->noiob = (uint16_t)f->o.noiob;
	id->lbaf[0].ms = f->o.ms;
	id->flbas = f->o.extended ? BH_NVME_FLBAS_EXTENDED : 0;
	id->dps = f->o.dps;
	id->nsfeat = f->o.nsfeat;
	id->nacwu = f->o.nacwu;
	id->nabsn = f->o.nabsn;
}

/* An EUI-64, a UUID, and where there are several command sets, of which it is. */
static void id_descs(struct fake *f, uint32_t nsid, uint8_t *bytes)
{
	uint8_t *at = bytes + 32;

	bytes[0] = BH_NVME_NIDT_EUI64;
	bytes[1] = 8;
	bytes[12] = BH_NVME_NIDT_UUID;
	bytes[13] = 16;
	memset(bytes + 16, (int)nsid, 16);
	if (!f->o.iocs || BH_NVME_GET(f->cc, CC_CSS) != BH_NVME_CC_CSS_IOCS || nsid > 8 ||
	    f->o.descs == FAKE_DESCS_NO_CSI)
		return;
	/* The head of one ends with the page. */
	for (; f->o.descs == FAKE_DESCS_OVERRUN && at < bytes + 4092; at += 4 + 136) {
		at[0] = 0x7f;
		at[1] = 136;
	}
	at[0] = BH_NVME_NIDT_CSI;
	at[1] = f->o.descs == FAKE_DESCS_LONG_CSI ? 2 : 1;
	if (f->o.descs != FAKE_DESCS_OVERRUN)
		at[4] = f->o.csi[nsid - 1];
}

/* What only controllers of several command sets have. */
static uint16_t identify_iocs(struct fake *f, const struct bh_nvme_cmd *cmd, uint8_t *bytes)
{
	uint8_t csi = (uint8_t)BH_NVME_GET(cmd->cdw11, IDENTIFY_CSI);

	/* And formats of other guards, which say what they are there. */
	if (f->o.elbas && (cmd->cdw10 & 0xff) == BH_NVME_CNS_CSI_NS && csi == BH_NVME_CSI_NVM) {
		((struct bh_nvme_id_ns_nvm *)(void *)bytes)->elbaf[0] = f->o.elbaf;
		return 0;
	}
	if (!f->o.iocs || BH_NVME_GET(f->cc, CC_CSS) != BH_NVME_CC_CSS_IOCS)
		return BH_NVME_SC_INVALID_FIELD;
	switch (cmd->cdw10 & 0xff) {
	case BH_NVME_CNS_IOCS:
		memcpy(bytes, f->o.combination, sizeof(f->o.combination));
		return f->o.combination[0] ? 0 : BH_NVME_SC_INVALID_FIELD;
	case BH_NVME_CNS_CSI_NS:
		if (csi != BH_NVME_CSI_ZNS || !fake_is_zoned(f, cmd->nsid))
			return BH_NVME_SC_INVALID_IOCS;
		fake_zns_id_ns(f, (struct bh_nvme_id_ns_zns *)(void *)bytes);
		return 0;
	case BH_NVME_CNS_CSI_CTRL:
		if (csi != BH_NVME_CSI_ZNS)
			return BH_NVME_SC_INVALID_IOCS;
		bytes[0] = f->o.zasl;
		return 0;
	}
	return BH_NVME_SC_INVALID_FIELD;
}

static uint16_t identify(struct fake *f, const struct bh_nvme_cmd *cmd)
{
	static union {
		uint8_t bytes[4096];
		struct bh_nvme_id_ctrl ctrl;
		struct bh_nvme_id_ns ns;
		struct bh_nvme_ns_list list;
	} u; /* under the lock */
	uint16_t status;

	memset(&u, 0, sizeof(u));
	switch (cmd->cdw10 & 0xff) {
	case BH_NVME_CNS_CTRL:
		id_ctrl(f, &u.ctrl);
		break;
	case BH_NVME_CNS_ACTIVE_NS_LIST:
		ns_list(f, cmd->nsid, &u.list);
		break;
	case BH_NVME_CNS_NS:
		if (!cmd->nsid || (cmd->nsid > f->o.namespaces && f->o.lists == FAKE_HONEST))
			return BH_NVME_SC_INVALID_NS;
		if (f->o.iocs && cmd->nsid <= 8 && f->o.csi[cmd->nsid - 1] == BH_NVME_CSI_KV)
			return BH_NVME_SC_INVALID_IOCS;
		id_ns(f, cmd->nsid, &u.ns);
		break;
	case BH_NVME_CNS_NS_ID_DESC:
		id_descs(f, cmd->nsid, u.bytes);
		break;
	default:
		status = identify_iocs(f, cmd, u.bytes);
		if (status)
			return status;
	}
	return fake_copy(f, cmd, u.bytes, 4096, true) ? 0 : BH_NVME_SC_DATA_TRANSFER_ERROR;
}

static uint16_t get_log(struct fake *f, const struct bh_nvme_cmd *cmd)
{
	static uint8_t buf[4096];
	size_t len = ((cmd->cdw10 >> 16) + 1u) * 4;
	uint32_t two = 2;

	memset(buf, 0, sizeof(buf));
	if ((cmd->cdw10 & 0xff) == BH_NVME_LOG_CHANGED_NS)
		memcpy(buf, &two, 4);
	if (len > sizeof(buf))
		return BH_NVME_SC_INVALID_FIELD;
	return fake_copy(f, cmd, buf, len, true) ? 0 : BH_NVME_SC_DATA_TRANSFER_ERROR;
}

static uint16_t create(struct fake *f, const struct bh_nvme_cmd *cmd)
{
	uint16_t qid = (uint16_t)cmd->cdw10;
	uint32_t entries = (cmd->cdw10 >> 16) + 1;
	struct fake_queue *q = &f->q[qid];
	bool cq = cmd->opc == BH_NVME_ADMIN_CREATE_CQ;
	uint8_t *mem;

	if (!qid || qid > FAKE_QUEUES || (cq ? q->cq_on : q->sq_on))
		return BH_NVME_SC_INVALID_QUEUE_ID;
	if (!cq && !q->cq_on)
		return BH_NVME_SC_COMPLETION_QUEUE_INVALID;
	if (entries < 2 || entries > f->o.mqes + 1u)
		return BH_NVME_SC_INVALID_QUEUE_SIZE;
	mem = fake_ptr(f, cmd->dptr.prp.prp1, entries * (cq ? 16ull : 64ull));
	if (!mem || (cmd->dptr.prp.prp1 & 4095))
		return BH_NVME_SC_PRP_OFFSET_INVALID;
	bh_store_u32(fake_bell(f, qid, cq), 0);
	if (fake_cmb_ptr(f, cmd->dptr.prp.prp1, entries * 64ull)) {
		if (cq || !BH_NVME_GET(f->o.cmb.size, CMBSZ_SQS))
			return BH_NVME_SC_CMB_INVALID_USE;
		__atomic_fetch_add(&f->cmb_sqs, 1, __ATOMIC_RELAXED);
	}
	if (cq) {
		q->cq = mem;
		q->cq_entries = entries;
		q->tail = 0;
		q->phase = 1;
		q->ien = cmd->cdw11 & BH_NVME_QUEUE_IEN;
		q->vector = cmd->cdw11 >> 16;
	} else {
		q->sq = mem;
		q->sq_entries = entries;
		q->head = 0;
	}
	*(cq ? &q->cq_on : &q->sq_on) = true;
	return 0;
}

static uint16_t delete (struct fake *f, const struct bh_nvme_cmd *cmd)
{
	uint16_t qid = (uint16_t)cmd->cdw10;
	struct fake_queue *q = &f->q[qid <= FAKE_QUEUES ? qid : 0];
	bool cq = cmd->opc == BH_NVME_ADMIN_DELETE_CQ;
	struct bh_nvme_cpl cpl = { 0 };
	unsigned int i;

	if (!qid || qid > FAKE_QUEUES || !(cq ? q->cq_on : q->sq_on))
		return BH_NVME_SC_INVALID_QUEUE_ID;
	if (cq && q->sq_on)
		return BH_NVME_SC_INVALID_QUEUE_DELETION;
	/* Half of what is out is completed by the deletion, half is not: both are allowed. */
	for (i = 0; !cq && i < FAKE_HELD; i++) {
		if (!f->held[i].used || f->held[i].qid != qid)
			continue;
		f->held[i].used = false;
		cpl.cid = f->held[i].cid;
		cpl.status = BH_NVME_SC_ABORTED_SQ_DELETION << 1;
		if (i & 1)
			fake_complete(f, qid, &cpl);
		__atomic_fetch_add(&f->deleted_with_io, 1, __ATOMIC_RELAXED);
	}
	*(cq ? &q->cq_on : &q->sq_on) = false;
	return 0;
}

static uint16_t abort_cmd(struct fake *f, const struct bh_nvme_cmd *cmd, struct bh_nvme_cpl *out)
{
	struct bh_nvme_cpl cpl = { 0 };
	unsigned int i;

	__atomic_fetch_add(&f->aborts, 1, __ATOMIC_RELAXED);
	out->cdw0 = 1;
	for (i = 0; i < FAKE_HELD && !fake_get(&f->ignore_abort); i++) {
		if (!f->held[i].used || f->held[i].qid != (cmd->cdw10 & 0xffff) ||
		    f->held[i].cid != cmd->cdw10 >> 16)
			continue;
		f->held[i].used = false;
		cpl.cid = f->held[i].cid;
		cpl.status = BH_NVME_SC_ABORTED_BY_REQUEST << 1;
		fake_complete(f, f->held[i].qid, &cpl);
		out->cdw0 = 0;
	}
	return 0;
}

static uint16_t features(struct fake *f, const struct bh_nvme_cmd *cmd, struct bh_nvme_cpl *cpl)
{
	uint8_t host_id[8];

	switch (cmd->cdw10 & 0xff) {
	case BH_NVME_FEAT_NUMBER_OF_QUEUES:
		cpl->cdw0 = (FAKE_QUEUES - 1) | (FAKE_QUEUES - 1) << 16;
		return 0;
	case BH_NVME_FEAT_ASYNC_EVENT_CONFIG:
		return 0;
	case BH_NVME_FEAT_IOCS_PROFILE:
		if (cmd->opc == BH_NVME_ADMIN_SET_FEATURES)
			fake_set(&f->combination_set, cmd->cdw11);
		cpl->cdw0 = fake_get(&f->combination_set);
		return 0;
	case BH_NVME_FEAT_HOST_ID:
		memset(host_id, 0x5a, sizeof(host_id));
		if (cmd->opc == BH_NVME_ADMIN_SET_FEATURES)
			return fake_copy(f, cmd, host_id, 8, false) && host_id[0] == 7
				       ? 0
				       : BH_NVME_SC_INVALID_FIELD;
		return fake_copy(f, cmd, host_id, 8, true) ? 0 : BH_NVME_SC_INVALID_FIELD;
	}
	return BH_NVME_SC_INVALID_FIELD;
}

static uint16_t shadow(struct fake *f, const struct bh_nvme_cmd *cmd)
{
	f->shadow = fake_ptr(f, cmd->dptr.prp.prp1, 4096);
	f->event = fake_ptr(f, cmd->dptr.prp.prp2, 4096);
	return f->shadow && f->event && !((cmd->dptr.prp.prp1 | cmd->dptr.prp.prp2) & 4095)
		       ? 0
		       : BH_NVME_SC_INVALID_FIELD;
}

bool fake_admin(struct fake *f, const struct bh_nvme_cmd *cmd, struct bh_nvme_cpl *cpl)
{
	uint16_t status = BH_NVME_SC_INVALID_OPCODE;

	if (fake_get(&f->ignore_admin) == cmd->opc + 1u)
		return false;
	if (fake_get(&f->fail_admin) == cmd->opc + 1u) {
		cpl->status = BH_NVME_SC_INVALID_FIELD << 1;
		return true;
	}
	switch (cmd->opc) {
	case BH_NVME_ADMIN_IDENTIFY:
		status = identify(f, cmd);
		break;
	case BH_NVME_ADMIN_GET_LOG_PAGE:
		status = get_log(f, cmd);
		break;
	case BH_NVME_ADMIN_CREATE_CQ:
	case BH_NVME_ADMIN_CREATE_SQ:
		status = create(f, cmd);
		break;
	case BH_NVME_ADMIN_DELETE_CQ:
	case BH_NVME_ADMIN_DELETE_SQ:
		status = delete (f, cmd);
		break;
	case BH_NVME_ADMIN_ABORT:
		status = abort_cmd(f, cmd, cpl);
		break;
	case BH_NVME_ADMIN_SET_FEATURES:
	case BH_NVME_ADMIN_GET_FEATURES:
		status = features(f, cmd, cpl);
		break;
	case BH_NVME_ADMIN_DOORBELL_BUFFER_CONFIG:
		status = shadow(f, cmd);
		break;
	case BH_NVME_ADMIN_ASYNC_EVENT:
		if (f->aer_count > 3) {
			status = BH_NVME_SC_ASYNC_EVENT_LIMIT_EXCEEDED;
			break;
		}
		f->aers[f->aer_count++] = cmd->cid;
		return false;
	}
	cpl->status = (uint16_t)(status << 1);
	return true;
}

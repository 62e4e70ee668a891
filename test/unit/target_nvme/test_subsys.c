/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A subsystem with a pool and two controllers: what is allocated, attached, created and deleted by
 * the first one's host, and what the second one's is told.
 */
#include "target_nvme/control_rig.h"

#include <bellhop/target_subsys.h>

#include "target/nvme/control.h"
#include "target/nvme/subsys.h"

#define MIB (1u << 20)

static struct bh_target_subsys *subsys;
static struct bh_target_nvme *second;
static struct bh_blk *pool;

static struct bh_blk *ram(uint64_t bytes, uint32_t block_size)
{
	const struct bh_blk_spec spec = { .arg = "", .bytes = bytes, .block_size = block_size };
	struct bh_blk *blk = NULL;
	char why[256];

	return bh_blk_ram_type.create(&spec, "ram:test", NULL, why, &blk) ? NULL : blk;
}

/* The rig is the first controller's; the second has the same threads. */
static int setup(void)
{
	struct bh_target_subsys_opts so;

	if (rig_init())
		return -1;
	pool = ram(8 * MIB, 512);
	bh_target_subsys_opts_init(&so);
	so.nqn = "nqn.2026-01.io.x:pool";
	so.control = rig.control;
	so.pool = pool;
	so.capacity = 6 * MIB;
	if (!pool || bh_target_subsys_create(&so, &subsys))
		return -1;
	return rig_open_in(subsys) || rig_open_second(subsys, &second) ? -1 : 0;
}

static int teardown(void)
{
	int rc;

	rig_free_second(second);
	rc = rig_teardown() || bh_target_subsys_destroy(subsys);
	bh_blk_put(pool);
	return rc;
}

static uint16_t identify(uint8_t cns, uint32_t nsid, uint16_t cntid)
{
	memset(rig_data(), 0xa5, 4096);
	return rig_admin(BH_NVME_ADMIN_IDENTIFY, nsid, cns | (uint32_t)cntid << 16, 0, NULL);
}

/* A command with a page of data. */
static uint16_t create(uint64_t blocks, uint8_t flbas, uint8_t nmic, uint32_t *nsid)
{
	struct bh_nvme_id_ns *id = rig_data();

	memset(id, 0, sizeof(*id));
	id->nsze = id->ncap = blocks;
	id->flbas = flbas;
	id->nmic = nmic;
	return rig_admin(BH_NVME_ADMIN_NS_MANAGEMENT, 0, BH_NVME_NS_MGMT_CREATE, 0, nsid);
}

static uint16_t delete (uint32_t nsid)
{
	return rig_admin(BH_NVME_ADMIN_NS_MANAGEMENT, nsid, BH_NVME_NS_MGMT_DELETE, 0, NULL);
}

/* ids ended by 0. */
static uint16_t attach(uint32_t nsid, uint32_t sel, const uint16_t *ids)
{
	struct bh_nvme_ctrl_list *list = rig_data();

	memset(list, 0, sizeof(*list));
	for (; *ids; ids++)
		list->cntlid[list->count++] = *ids;
	return rig_admin(BH_NVME_ADMIN_NS_ATTACHMENT, nsid, sel, 0, NULL);
}

#define IDS(...) ((const uint16_t[]){ __VA_ARGS__, 0 })

static bool is_told(uint32_t nsid)
{
	uint64_t *changed = tn_ctl(second)->changed_ns;
	bool is = changed[nsid / 64] & 1ull << nsid % 64;

	changed[nsid / 64] = 0;
	return is;
}

/* What a host is told of the subsystem. */
static void what_is_said(void)
{
	const struct bh_nvme_id_ctrl *ctrl = rig_data();
	const struct bh_nvme_id_ns *ns = rig_data();

	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_CTRL, 0, 0), 0);
	CU_ASSERT_EQUAL(ctrl->cntlid, 1);
	CU_ASSERT_EQUAL(second->cntlid, 2);
	CU_ASSERT_EQUAL(ctrl->cmic, BH_NVME_CMIC_MULTI_PORT | BH_NVME_CMIC_MULTI_CTRL);
	CU_ASSERT_TRUE(ctrl->oacs & BH_NVME_OACS_NS_MANAGEMENT);
	CU_ASSERT_STRING_EQUAL(ctrl->subnqn, "nqn.2026-01.io.x:pool");
	CU_ASSERT_EQUAL(ctrl->tnvmcap[0], 6 * MIB);
	CU_ASSERT_EQUAL(ctrl->unvmcap[0], 6 * MIB);
	CU_ASSERT_STRING_EQUAL(second->serial, rig.ctrl->serial);
	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_NS, BH_NVME_NSID_ALL, 0), 0);
	CU_ASSERT_EQUAL(ns->nlbaf, 7);
	CU_ASSERT_EQUAL(ns->lbaf[0].lbads, 9);
	CU_ASSERT_EQUAL(ns->lbaf[4].lbads, 12);
	CU_ASSERT_EQUAL(ns->nsze, 0);
}

static void hosts_create_and_delete(void)
{
	const struct bh_nvme_id_ctrl *ctrl = rig_data();
	const struct bh_nvme_id_ns *ns = rig_data();
	const struct bh_nvme_ns_list *list = rig_data();
	const struct bh_nvme_ctrl_list *ctrls = rig_data();
	uint32_t nsid = 0;

	CU_ASSERT_EQUAL(create(MIB / 512, 0, BH_NVME_NMIC_SHARED, &nsid), 0);
	CU_ASSERT_EQUAL(nsid, 1);
	CU_ASSERT_EQUAL(create(MIB / 4096, 4, 0, &nsid), 0);
	CU_ASSERT_EQUAL(nsid, 2);
	/* Allocated, and nowhere active. */
	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_ALLOCATED_NS_LIST, 0, 0), 0);
	CU_ASSERT_TRUE(list->nsid[0] == 1 && list->nsid[1] == 2 && !list->nsid[2]);
	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_ALLOCATED_NS_LIST, 1, 0), 0);
	CU_ASSERT_TRUE(list->nsid[0] == 2 && !list->nsid[1]);
	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_ACTIVE_NS_LIST, 0, 0), 0);
	CU_ASSERT_EQUAL(list->nsid[0], 0);
	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_ALLOCATED_NS, 2, 0), 0);
	CU_ASSERT_TRUE(ns->nsze == MIB / 4096 && ns->flbas == 4 && !ns->nmic);
	CU_ASSERT_EQUAL(ns->nvmcap[0], MIB);
	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_NS, 2, 0), 0);
	CU_ASSERT_EQUAL(ns->nsze, 0);
	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_CTRL, 0, 0), 0);
	CU_ASSERT_EQUAL(ctrl->unvmcap[0], 4 * MIB);
	/* To both, and whoever has it is told. */
	CU_ASSERT_EQUAL(attach(1, BH_NVME_NS_ATTACH, IDS(1, 2)), 0);
	CU_ASSERT_TRUE(is_told(1));
	CU_ASSERT_PTR_NOT_NULL(tn_ns_get(rig.ctrl, 1));
	CU_ASSERT_PTR_NOT_NULL(tn_ns_get(second, 1));
	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_NS_CTRL_LIST, 1, 0), 0);
	CU_ASSERT_TRUE(ctrls->count == 2 && ctrls->cntlid[0] == 1 && ctrls->cntlid[1] == 2);
	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_NS_CTRL_LIST, 1, 2), 0);
	CU_ASSERT_TRUE(ctrls->count == 1 && ctrls->cntlid[0] == 2);
	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_CTRL_LIST, 0, 0), 0);
	CU_ASSERT_EQUAL(ctrls->count, 2);
	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_NS, 1, 0), 0);
	CU_ASSERT_EQUAL(ns->nmic, BH_NVME_NMIC_SHARED);
	CU_ASSERT_EQUAL(attach(1, BH_NVME_NS_DETACH, IDS(1)), 0);
	CU_ASSERT_PTR_NULL(rig.ctrl->ns[1]);
	/* Deleted it leaves whoever has it. */
	CU_ASSERT_EQUAL(delete (1), 0);
	CU_ASSERT_TRUE(is_told(1));
	CU_ASSERT_PTR_NULL(second->ns[1]);
	CU_ASSERT_EQUAL(delete (BH_NVME_NSID_ALL), 0);
	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_CTRL, 0, 0), 0);
	CU_ASSERT_EQUAL(ctrl->unvmcap[0], 6 * MIB);
}

static void what_is_refused(void)
{
	uint32_t nsid = 0;

	CU_ASSERT_EQUAL(create(MIB / 512, 8, 0, NULL), BH_NVME_SC_INVALID_FORMAT);
	CU_ASSERT_EQUAL(create(0, 0, 0, NULL), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(create(1, 0, 2, NULL), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(create(7 * MIB / 512, 0, 0, NULL), BH_NVME_SC_NS_INSUFFICIENT_CAPACITY);
	CU_ASSERT_EQUAL(create(UINT64_MAX, 0, 0, NULL), BH_NVME_SC_NS_INSUFFICIENT_CAPACITY);
	((struct bh_nvme_id_ns *)rig_data())->ncap = 1;
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_NS_MANAGEMENT, 0, 0, 0, NULL),
			BH_NVME_SC_THIN_NOT_SUPPORTED);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_NS_MANAGEMENT, 1, 0, 0, NULL),
			BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_NS_MANAGEMENT, 0, 2, 0, NULL),
			BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_NS_MANAGEMENT, 0, 0, 1u << 24, NULL),
			BH_NVME_SC_INVALID_IOCS);
	CU_ASSERT_EQUAL(delete (1), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(delete (0), BH_NVME_SC_INVALID_NS);
	CU_ASSERT_EQUAL(attach(1, 0, IDS(1)), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(create(8, 0, 0, &nsid), 0);
	CU_ASSERT_EQUAL(attach(1, 2, IDS(1)), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(attach(0, 0, IDS(1)), BH_NVME_SC_INVALID_NS);
	CU_ASSERT_EQUAL(attach(1, 0, IDS(0)), BH_NVME_SC_CTRL_LIST_INVALID);
	CU_ASSERT_EQUAL(attach(1, 0, IDS(3)), BH_NVME_SC_CTRL_LIST_INVALID);
	CU_ASSERT_EQUAL(attach(1, 0, IDS(2, 1)), BH_NVME_SC_CTRL_LIST_INVALID);
	CU_ASSERT_EQUAL(attach(1, 0, IDS(1, 1)), BH_NVME_SC_CTRL_LIST_INVALID);
	CU_ASSERT_EQUAL(attach(1, 0, IDS(1, 2)), BH_NVME_SC_NS_PRIVATE);
	CU_ASSERT_EQUAL(attach(1, 1, IDS(1)), BH_NVME_SC_NS_NOT_ATTACHED);
	CU_ASSERT_EQUAL(attach(1, 0, IDS(2)), 0);
	CU_ASSERT_EQUAL(attach(1, 0, IDS(2)), BH_NVME_SC_NS_ALREADY_ATTACHED);
	CU_ASSERT_EQUAL(attach(1, 0, IDS(1)), BH_NVME_SC_NS_PRIVATE);
	CU_ASSERT_PTR_NULL(rig.ctrl->ns[1]);
}

/* As the formats that are told of have it, protection information at either end, by turns or apart. */
static void hosts_create_with_metadata(void)
{
	static const uint16_t md[] = { 0, 8, 16, 64 };
	struct bh_nvme_id_ns *id = rig_data();
	const struct bh_blk_info *info;
	unsigned int i;

	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_NS, BH_NVME_NSID_ALL, 0), 0);
	CU_ASSERT_EQUAL(id->nlbaf, 7);
	for (i = 0; i < 8; i++) {
		CU_ASSERT_EQUAL(id->lbaf[i].lbads, i < 4 ? 9 : 12);
		CU_ASSERT_EQUAL(id->lbaf[i].ms, md[i % 4]);
	}
	CU_ASSERT_EQUAL(id->mc, BH_NVME_MC_EXTENDED | BH_NVME_MC_SEPARATE);
	CU_ASSERT_EQUAL(id->flbas, 0);
	CU_ASSERT_EQUAL(create(8, BH_NVME_FLBAS_EXTENDED, 0, NULL), BH_NVME_SC_INVALID_FORMAT);
	id->flbas = 0; /* no metadata */
	id->dps = 1;
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_NS_MANAGEMENT, 0, 0, 0, NULL),
			BH_NVME_SC_INVALID_FORMAT);
	id->flbas = 1;
	id->dps = 4; /* no such type */
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_NS_MANAGEMENT, 0, 0, 0, NULL),
			BH_NVME_SC_INVALID_FORMAT);
	id->flbas = 6 | BH_NVME_FLBAS_EXTENDED;
	id->dps = 2 | BH_NVME_DPS_FIRST;
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_NS_MANAGEMENT, 0, 0, 0, NULL), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(tn_space_get(subsys, 1));
	info = bh_blk_info(tn_space_get(subsys, 1)->blk);
	CU_ASSERT_EQUAL(info->block_size, 4096);
	CU_ASSERT_EQUAL(info->format.md_bytes, 16);
	CU_ASSERT_EQUAL(info->format.pi, 2);
	CU_ASSERT_TRUE(info->format.pi_first && info->format.interleaved);
	CU_ASSERT_PTR_NOT_NULL(tn_space_get(subsys, 1)->blk->md);
	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_ALLOCATED_NS, 1, 0), 0);
	CU_ASSERT_EQUAL(id->flbas, 6 | BH_NVME_FLBAS_EXTENDED);
	CU_ASSERT_EQUAL(id->dps, 2 | BH_NVME_DPS_FIRST);
	CU_ASSERT_EQUAL(id->nsze, 8);
	CU_ASSERT_EQUAL(delete (1), 0);
}

/* A namespace of a store is the operator's: it comes and goes on controllers, no more. */
static void the_operators_stay(void)
{
	struct bh_blk *blk = rig_store(MIB, 512);

	CU_ASSERT_EQUAL(bh_target_nvme_ns_attach(rig.ctrl, blk, 0), 1);
	/* The same disk by the other path. */
	CU_ASSERT_EQUAL(bh_target_nvme_ns_attach(second, blk, 0), 1);
	CU_ASSERT_EQUAL(bh_target_nvme_ns_attach(second, blk, 1), -EEXIST);
	CU_ASSERT_EQUAL(bh_target_nvme_ns_attach(second, NULL, 2), -ENOENT);
	CU_ASSERT_EQUAL(delete (1), BH_NVME_SC_OPERATION_DENIED);
	CU_ASSERT_EQUAL(delete (BH_NVME_NSID_ALL), BH_NVME_SC_OPERATION_DENIED);
	CU_ASSERT_EQUAL(attach(1, BH_NVME_NS_DETACH, IDS(1, 2)), 0);
	CU_ASSERT_PTR_NOT_NULL(tn_space_get(subsys, 1));
	CU_ASSERT_EQUAL(attach(1, BH_NVME_NS_ATTACH, IDS(2)), 0);
	bh_blk_put(blk);
}

/* Room is reused, and nobody sees what was there. */
static void room_is_zeroed(void)
{
	uint32_t nsid = 0;
	unsigned int i;

	memset(pool->inline_base, 0x5a, 8 * MIB);
	for (i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(create(2 * MIB / 512, 0, 0, &nsid), 0);
	CU_ASSERT_EQUAL(create(8, 0, 0, &nsid), BH_NVME_SC_NS_INSUFFICIENT_CAPACITY);
	CU_ASSERT_EQUAL(pool->inline_base[6 * MIB], 0x5a);
	CU_ASSERT_EQUAL(delete (2), 0);
	memset(pool->inline_base + 2 * MIB, 0x77, 2 * MIB);
	/* In one piece only. */
	CU_ASSERT_EQUAL(create(3 * MIB / 512, 0, 0, &nsid), BH_NVME_SC_NS_INSUFFICIENT_CAPACITY);
	CU_ASSERT_EQUAL(create(MIB / 512, 0, 0, &nsid), 0);
	CU_ASSERT_EQUAL(nsid, 2);
	for (i = 0; i < 3 * MIB && !pool->inline_base[i]; i++)
		;
	CU_ASSERT_EQUAL(i, 3 * MIB);
	CU_ASSERT_EQUAL(pool->inline_base[3 * MIB], 0x77);
}

static void full_subsystem_takes_no_more(void)
{
	struct bh_target_nvme *more[BH_TARGET_SUBSYS_MAX_CTRLS] = { 0 };
	struct bh_target_nvme_opts opts = rig_opts();
	struct bh_vfu_server *first = rig.server;
	unsigned int i = 0;

	opts.subsys = subsys;
	while (i < BH_TARGET_SUBSYS_MAX_CTRLS && bh_target_nvme_create(&opts, &more[i]) == 0)
		i++;
	CU_ASSERT_EQUAL(i, BH_TARGET_SUBSYS_MAX_CTRLS - 2);
	CU_ASSERT_EQUAL(bh_target_nvme_create(&opts, &more[i]), -ENOSPC);
	CU_ASSERT_EQUAL(bh_target_subsys_destroy(subsys), -EBUSY);
	while (i-- > 0)
		bh_target_nvme_free(more[i]);
	rig.server = first;
}

/* ---- reservations ---- */

/* A reservation command that comes from a controller's queue: its status field. */
static uint16_t resv(struct bh_target_nvme *ctrl, uint8_t opc, uint32_t cdw10, uint64_t key,
		     uint64_t other)
{
	struct tn_resv_cmd *cmd = calloc(1, sizeof(*cmd) + 4096);
	uint16_t status;

	cmd->ctrl = ctrl;
	cmd->cmd.opc = opc;
	cmd->cmd.nsid = 1;
	cmd->cmd.cdw10 = cdw10;
	cmd->len = opc == BH_NVME_CMD_RESV_REPORT ? 4096 : 16;
	memcpy(cmd->data, &key, sizeof(key));
	memcpy(cmd->data + 8, &other, sizeof(other));
	rig.returned = NULL;
	tn_resv_cmd_come(cmd);
	CU_ASSERT_PTR_EQUAL_FATAL(rig.returned, cmd);
	status = cmd->status;
	memcpy(rig_data(), cmd->data, cmd->len);
	free(cmd);
	return status;
}

/* Sets features.host_id as a command of the first controller, or behind the second's back. */
static uint16_t set_host_id(uint64_t id, bool is_ext)
{
	memset(rig_data(), 0, 16);
	memcpy(rig_data(), &id, sizeof(id));
	return rig_admin(BH_NVME_ADMIN_SET_FEATURES, 0, BH_NVME_FEAT_HOST_ID,
			 is_ext ? BH_NVME_FEAT_HOST_ID_EXHID : 0, NULL);
}

static void shared_namespace(void)
{
	uint32_t nsid = 0;

	CU_ASSERT_EQUAL(create(8, 0, BH_NVME_NMIC_SHARED, &nsid), 0);
	CU_ASSERT_EQUAL(attach(1, BH_NVME_NS_ATTACH, IDS(1, 2)), 0);
}

static void reservations_across_controllers(void)
{
	const struct bh_nvme_resv_status *status = rig_data();
	const struct bh_nvme_resv_ctrl *line = (const void *)(status + 1);
	const struct bh_nvme_resv_log *log = rig_data();

	shared_namespace();
	CU_ASSERT_EQUAL(resv(rig.ctrl, BH_NVME_CMD_RESV_REGISTER, 0, 0, 0xa), 0);
	CU_ASSERT_EQUAL(resv(second, BH_NVME_CMD_RESV_ACQUIRE, 1u << 8, 0xb, 0),
			BH_NVME_SC_RESERVATION_CONFLICT);
	CU_ASSERT_EQUAL(resv(rig.ctrl, BH_NVME_CMD_RESV_ACQUIRE, 1u << 8, 0xa, 0), 0);
	CU_ASSERT_EQUAL(rig.denials, 1); /* the second controller's threads */
	CU_ASSERT_EQUAL(rig.denied, TN_DENY_WRITE);
	CU_ASSERT_EQUAL(second->ns[1]->deny, TN_DENY_WRITE);
	CU_ASSERT_EQUAL(resv(second, BH_NVME_CMD_RESV_REGISTER, 0, 0, 0xb), 0);
	CU_ASSERT_EQUAL(resv(second, BH_NVME_CMD_RESV_REPORT, 0, 0, 0), 0);
	CU_ASSERT_TRUE(status->gen == 2 && status->rtype == 1 && status->regctl[0] == 2);
	CU_ASSERT_TRUE(line[0].cntlid == 1 && line[0].rcsts == 1 && line[0].rkey == 0xa);
	CU_ASSERT_TRUE(line[1].cntlid == 2 && line[1].rcsts == 0 && line[1].rkey == 0xb);
	/* Whoever may not write may not delete either. */
	CU_ASSERT_EQUAL(resv(second, BH_NVME_CMD_RESV_ACQUIRE, BH_NVME_RESV_PREEMPT_ABORT | 2u << 8,
			     0xb, 0xa),
			0);
	CU_ASSERT_EQUAL(rig.aborted, 1);
	CU_ASSERT_EQUAL(rig.ctrl->ns[1]->deny, TN_DENY_READ | TN_DENY_WRITE);
	CU_ASSERT_EQUAL(second->ns[1]->deny, 0);
	CU_ASSERT_EQUAL(delete (1), BH_NVME_SC_RESERVATION_CONFLICT);
	CU_ASSERT_EQUAL(attach(1, BH_NVME_NS_DETACH, IDS(2)), BH_NVME_SC_RESERVATION_CONFLICT);
	/* The host is told that it lost what it had, once. */
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_RESERVATION, 0, 64, 0), 0);
	CU_ASSERT_TRUE(log->count == 1 && log->type == TN_RESV_PREEMPTED && log->nsid == 1 &&
		       !log->available);
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_RESERVATION, 0, 64, 0), 0);
	CU_ASSERT_EQUAL(log->count, 0);
	CU_ASSERT_EQUAL(resv(second, BH_NVME_CMD_RESV_RELEASE, BH_NVME_RESV_CLEAR, 0xb, 0), 0);
	CU_ASSERT_EQUAL(rig.ctrl->ns[1]->deny, 0);
	CU_ASSERT_EQUAL(delete (1), 0);
}

static void notices_raise_events_unless_masked(void)
{
	struct bh_nvme_cpl cpl;

	shared_namespace();
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_CHANGED_NS, 0, 4096, 0), 0);
	rig_post_aer();
	resv(rig.ctrl, BH_NVME_CMD_RESV_REGISTER, 0, 0, 0xa);
	resv(second, BH_NVME_CMD_RESV_REGISTER, 0, 0, 0xb);
	CU_ASSERT_EQUAL(resv(second, BH_NVME_CMD_RESV_RELEASE, BH_NVME_RESV_CLEAR, 0xb, 0), 0);
	rig_pump();
	CU_ASSERT_TRUE_FATAL(rig_reap(&cpl));
	CU_ASSERT_EQUAL(cpl.cdw0, BH_NVME_AER_TYPE_IO | BH_NVME_LOG_RESERVATION << 16);
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_RESERVATION, 0, 64, 0), 0);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_SET_FEATURES, 1,
				  BH_NVME_FEAT_RESV_NOTIFICATION_MASK, 1u << TN_RESV_PREEMPTED,
				  NULL),
			0);
	rig_post_aer();
	resv(rig.ctrl, BH_NVME_CMD_RESV_REGISTER, 0, 0, 0xa);
	resv(second, BH_NVME_CMD_RESV_REGISTER, 0, 0, 0xb);
	resv(second, BH_NVME_CMD_RESV_RELEASE, BH_NVME_RESV_CLEAR, 0xb, 0);
	rig_pump();
	CU_ASSERT_FALSE(rig_reap(&cpl));
}

/* One host on two controllers is one registrant; without an id it ends with a reset. */
static void a_host_is_its_identifier(void)
{
	const struct bh_nvme_resv_status *status = rig_data();
	uint8_t *id = rig_data();

	shared_namespace();
	CU_ASSERT_EQUAL(set_host_id(0, false), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(set_host_id(77, false), 0);
	CU_ASSERT_EQUAL(set_host_id(78, false), BH_NVME_SC_COMMAND_SEQUENCE_ERROR);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_GET_FEATURES, 0, BH_NVME_FEAT_HOST_ID, 0, NULL), 0);
	CU_ASSERT_EQUAL(id[0], 77);
	second->features.host_id[0] = 77;
	CU_ASSERT_EQUAL(resv(rig.ctrl, BH_NVME_CMD_RESV_REGISTER, 0, 0, 0xa), 0);
	CU_ASSERT_EQUAL(resv(second, BH_NVME_CMD_RESV_ACQUIRE, 2u << 8, 0xa, 0), 0);
	CU_ASSERT_TRUE(!rig.ctrl->ns[1]->deny && !second->ns[1]->deny);
	CU_ASSERT_EQUAL(resv(second, BH_NVME_CMD_RESV_REPORT, 0, 0, 0), 0);
	CU_ASSERT_EQUAL(status->regctl[0], 2);
	/* After a reset it has not said who it is. What it holds stays. */
	rig_disable();
	rig_pump();
	rig_enable(16, 16);
	CU_ASSERT_EQUAL(rig.ctrl->ns[1]->deny, TN_DENY_READ | TN_DENY_WRITE);
	CU_ASSERT_EQUAL(set_host_id(77, true), 0);
	CU_ASSERT_EQUAL(rig.ctrl->ns[1]->deny, 0);
	CU_ASSERT_EQUAL(resv(rig.ctrl, BH_NVME_CMD_RESV_REPORT, 0, 0, 0),
			BH_NVME_SC_HOSTID_INCONSISTENT_FORMAT);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_GET_FEATURES, 0, BH_NVME_FEAT_HOST_ID, 0, NULL),
			BH_NVME_SC_HOSTID_INCONSISTENT_FORMAT);
	CU_ASSERT_EQUAL(resv(second, BH_NVME_CMD_RESV_RELEASE, BH_NVME_RESV_CLEAR, 0xa, 0), 0);
	rig_disable();
	rig_pump();
	rig_enable(16, 16);
	CU_ASSERT_EQUAL(resv(rig.ctrl, BH_NVME_CMD_RESV_REGISTER, 0, 0, 0xc), 0);
	CU_ASSERT_EQUAL(resv(rig.ctrl, BH_NVME_CMD_RESV_ACQUIRE, 2u << 8, 0xc, 0), 0);
	CU_ASSERT_EQUAL(second->ns[1]->deny, TN_DENY_READ | TN_DENY_WRITE);
	rig_disable();
	rig_pump();
	CU_ASSERT_EQUAL(second->ns[1]->deny, 0);
	rig_enable(16, 16);
	CU_ASSERT_EQUAL(resv(second, BH_NVME_CMD_RESV_REPORT, 0, 0, 0), 0);
	CU_ASSERT_TRUE(!status->rtype && !status->regctl[0]);
}

/* Without a place to keep it nothing persists, and nobody is told that it does. */
static void persistence_needs_a_place(void)
{
	const struct bh_nvme_id_ns *ns = rig_data();

	shared_namespace();
	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_NS, 1, 0), 0);
	CU_ASSERT_EQUAL(ns->rescap, 0xfe);
	CU_ASSERT_EQUAL(resv(second, BH_NVME_CMD_RESV_REGISTER, 3u << 30, 0, 1),
			BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(
		rig_admin(BH_NVME_ADMIN_SET_FEATURES, 1, BH_NVME_FEAT_RESV_PERSISTENCE, 1, NULL),
		BH_NVME_SC_INVALID_FIELD);
}

static void set(void *arg)
{
	*(bool *)arg = true;
}

/* A namespace of both. */
static struct bh_blk *share(void)
{
	CU_ASSERT_EQUAL_FATAL(create(MIB / 512, 0, BH_NVME_NMIC_SHARED, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(attach(1, BH_NVME_NS_ATTACH, IDS(1, 2)), 0);
	return subsys->space[1]->blk;
}

/* Its host's next command would be told of the format otherwise. */
static void formats_complete_when_all_have_gone_on(void)
{
	struct bh_nvme_cpl cpl;

	share();
	rig.hold_go_on = true;
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_FORMAT_NVM, 1, 0, 0, NULL), 0xffff);
	CU_ASSERT_EQUAL(rig.pauses, 0);
	CU_ASSERT_PTR_NOT_NULL(rig.went_on);
	rig_pump();
	CU_ASSERT_FALSE(rig_reap(&cpl));
	rig_go_on();
	rig_pump();
	CU_ASSERT_TRUE(rig_reap(&cpl));
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), 0);
}

/* It does not go before the job does, which knows it. */
static void formats_hold_their_controller(void)
{
	uint64_t deadline = bh_now_ns() + 5000000000ull;
	bool is_gone = false;

	share();
	rig.hold_go_on = true;
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_FORMAT_NVM, 1, 0, 0, NULL), 0xffff);
	bh_target_nvme_destroy(rig.ctrl, set, &is_gone);
	rig_pump();
	CU_ASSERT_FALSE(is_gone);
	rig_go_on();
	while (!is_gone && bh_now_ns() < deadline)
		bh_reactor_run_once(rig.control);
	CU_ASSERT_TRUE(is_gone);
	rig.ctrl = NULL;
}

static void who_is_asked_answers_on_its_way_out(void)
{
	struct bh_blk *blk = bh_blk_get(share());
	bool is_mine = false, is_over = false;

	CU_ASSERT_EQUAL(bh_blk_claim(blk, set, &is_mine), 0);
	/* The message that asks is under way. */
	CU_ASSERT_EQUAL(bh_target_nvme_ns_detach(second, 1, NULL, NULL), 0);
	CU_ASSERT_FALSE(is_mine);
	rig_pump();
	CU_ASSERT_TRUE(is_mine);
	CU_ASSERT_PTR_NULL(second->ns[1]);
	CU_ASSERT_EQUAL(rig.pauses, 1);
	bh_blk_release(blk, set, &is_over);
	CU_ASSERT_FALSE(is_over);
	rig_pump();
	CU_ASSERT_TRUE(is_over);
	bh_blk_put(blk);
}

BH_SUITE_FIXTURE("target_nvme_subsys", setup, teardown, { "what_is_said", what_is_said },
		 { "hosts_create_and_delete", hosts_create_and_delete },
		 { "what_is_refused", what_is_refused },
		 { "hosts_create_with_metadata", hosts_create_with_metadata },
		 { "the_operators_stay", the_operators_stay }, { "room_is_zeroed", room_is_zeroed },
		 { "full_subsystem_takes_no_more", full_subsystem_takes_no_more },
		 { "reservations_across_controllers", reservations_across_controllers },
		 { "notices_raise_events_unless_masked", notices_raise_events_unless_masked },
		 { "a_host_is_its_identifier", a_host_is_its_identifier },
		 { "persistence_needs_a_place", persistence_needs_a_place },
		 { "formats_complete_when_all_have_gone_on",
		   formats_complete_when_all_have_gone_on },
		 { "formats_hold_their_controller", formats_hold_their_controller },
		 { "who_is_asked_answers_on_its_way_out", who_is_asked_answers_on_its_way_out }, )

/* SPDX-License-Identifier: BSD-3-Clause */
#include "target_nvme/control_rig.h"
#include "target/nvme/control.h"

static int setup(void)
{
	if (rig_setup())
		return -1;
	rig_enable(16, 16);
	return 0;
}

static uint16_t identify(uint8_t cns, uint32_t nsid, uint32_t cdw10, uint32_t cdw11)
{
	memset(rig_data(), 0xa5, 4096);
	return rig_admin(BH_NVME_ADMIN_IDENTIFY, nsid, cns | cdw10, cdw11, NULL);
}

static bool is_zero(const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t i;

	for (i = 0; i < len && !p[i]; i++)
		;
	return i == len;
}

static void what_each_cns_takes(void)
{
	static const struct {
		uint8_t cns;
		uint32_t nsid, cdw10, cdw11;
		uint16_t want;
	} rows[] = {
		{ BH_NVME_CNS_NS, 1, 0, 0, 0 },
		{ BH_NVME_CNS_NS, 2, 0, 0, 0 },
		{ BH_NVME_CNS_NS, 0, 0, 0, BH_NVME_SC_INVALID_NS },
		{ BH_NVME_CNS_NS, 257, 0, 0, BH_NVME_SC_INVALID_NS },
		{ BH_NVME_CNS_NS, BH_NVME_NSID_ALL, 0, 0, BH_NVME_SC_INVALID_NS },
		{ BH_NVME_CNS_CTRL, 0, 0, 0, 0 },
		{ BH_NVME_CNS_ACTIVE_NS_LIST, 0, 0, 0, 0 },
		{ BH_NVME_CNS_ACTIVE_NS_LIST, 0xfffffffd, 0, 0, 0 },
		{ BH_NVME_CNS_ACTIVE_NS_LIST, 0xfffffffe, 0, 0, BH_NVME_SC_INVALID_NS },
		{ BH_NVME_CNS_ACTIVE_NS_LIST, BH_NVME_NSID_ALL, 0, 0, BH_NVME_SC_INVALID_NS },
		{ BH_NVME_CNS_NS_ID_DESC, 1, 0, 0, 0 },
		{ BH_NVME_CNS_NS_ID_DESC, 2, 0, 0, BH_NVME_SC_INVALID_NS },
		{ BH_NVME_CNS_NVM_SET_LIST, 0, 0, 0, BH_NVME_SC_INVALID_FIELD },
		{ BH_NVME_CNS_CSI_NS, 1, 0, 0, 0 },
		{ BH_NVME_CNS_CSI_NS, 1, 0, BH_NVME_CSI_ZNS << 24, BH_NVME_SC_INVALID_IOCS },
		{ BH_NVME_CNS_CSI_CTRL, 0, 0, 0, 0 },
		{ BH_NVME_CNS_CSI_CTRL, 0, 0, BH_NVME_CSI_KV << 24, BH_NVME_SC_INVALID_IOCS },
		{ BH_NVME_CNS_CSI_ACTIVE_NS_LIST, 0, 0, 0, 0 },
		{ BH_NVME_CNS_CSI_ACTIVE_NS_LIST, 0, 0, BH_NVME_CSI_ZNS << 24, 0 },
		{ BH_NVME_CNS_CSI_ACTIVE_NS_LIST, 0, 0, BH_NVME_CSI_KV << 24,
		  BH_NVME_SC_INVALID_IOCS },
		{ BH_NVME_CNS_NS_INDEP, 1, 0, 0, 0 },
		{ BH_NVME_CNS_NS_INDEP, 0, 0, 0, BH_NVME_SC_INVALID_NS },
		{ BH_NVME_CNS_ALLOCATED_NS_LIST, 0, 0, 0, BH_NVME_SC_INVALID_FIELD },
		{ BH_NVME_CNS_IOCS, 0, 0xffff0000, 0, 0 },
		{ BH_NVME_CNS_IOCS, 0, 0x00010000, 0, 0 },
		{ BH_NVME_CNS_IOCS, 0, 0x00020000, 0, BH_NVME_SC_INVALID_FIELD },
		{ 0xff, 0, 0, 0, BH_NVME_SC_INVALID_FIELD },
	};
	size_t i;

	CU_ASSERT_EQUAL(rig_attach(0, 1 << 20, 512), 1);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CU_ASSERT_EQUAL(identify(rows[i].cns, rows[i].nsid, rows[i].cdw10, rows[i].cdw11),
				rows[i].want);
}

/* What is said agrees with what is done. */
static void controller(void)
{
	const struct bh_nvme_id_ctrl *id = rig_data();

	CU_ASSERT_EQUAL(identify(BH_NVME_CNS_CTRL, 0, 0, 0), 0);
	CU_ASSERT_EQUAL(id->vid, rig.server->opts.vendor);
	CU_ASSERT_EQUAL(id->ssvid, rig.server->opts.subsystem_vendor);
	CU_ASSERT_EQUAL(id->ver, rig_read(BH_NVME_REG_VS, 4));
	CU_ASSERT_EQUAL(memcmp(id->mn, "Bellhop NVMe Controller                 ", 40), 0);
	CU_ASSERT_EQUAL(memcmp(id->sn, "BH", 2), 0);
	CU_ASSERT_EQUAL(id->sn[19], ' ');
	CU_ASSERT_EQUAL(memcmp(id->subnqn, "nqn.2026-01.io.bellhop:BH", 25), 0);
	CU_ASSERT_EQUAL((1u << id->mdts) * 4096u, 1u << 20);
	CU_ASSERT_EQUAL(id->sqes, 0x66);
	CU_ASSERT_EQUAL(id->cqes, 0x44);
	CU_ASSERT_EQUAL(id->nn, 256);
	CU_ASSERT_EQUAL(id->cntlid, 1);
	CU_ASSERT_EQUAL(id->cntrltype, BH_NVME_CNTRLTYPE_IO);
	CU_ASSERT_EQUAL(id->oaes, BH_NVME_OAES_NS_ATTR);
	CU_ASSERT_EQUAL(id->kas, 1);
	CU_ASSERT_EQUAL(id->cmic, 0);
	CU_ASSERT_EQUAL(id->fuses, BH_NVME_FUSES_COMPARE_WRITE);
	CU_ASSERT_EQUAL(id->acwu, 255); /* as many blocks of 4 KiB as MDTS has */
	CU_ASSERT_EQUAL(id->vwc & BH_NVME_VWC_PRESENT, 0);
	CU_ASSERT_TRUE(id->wctemp < id->cctemp);
	CU_ASSERT_TRUE(is_zero(id->vs, sizeof(id->vs)));
}

/* OACS, ONCS and LPA against the effects log and the list of log pages. */
static void logs_agree(void)
{
	struct bh_nvme_id_ctrl id;
	const struct bh_nvme_effects_log *effects = rig_data();
	const struct bh_nvme_supported_logs *logs = rig_data();
	unsigned int i, lids = 0;

	identify(BH_NVME_CNS_CTRL, 0, 0, 0);
	memcpy(&id, rig_data(), sizeof(id));
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_EFFECTS, 0, 4096, 0), 0);
	CU_ASSERT_EQUAL(!!(id.oacs & BH_NVME_OACS_DOORBELL_BUFFER), effects->acs[0x7c] & 1);
	CU_ASSERT_EQUAL(!!(id.oacs & BH_NVME_OACS_FORMAT), effects->acs[0x80] & 1);
	CU_ASSERT_EQUAL(!!(id.oncs & BH_NVME_ONCS_COMPARE), effects->iocs[0x05] & 1);
	CU_ASSERT_EQUAL(!!(id.oncs & BH_NVME_ONCS_WRITE_ZEROES), effects->iocs[0x08] & 1);
	CU_ASSERT_EQUAL(!!(id.oncs & BH_NVME_ONCS_DSM), effects->iocs[0x09] & 1);
	CU_ASSERT_EQUAL(!!(id.oncs & BH_NVME_ONCS_COPY), effects->iocs[0x19] & 1);
	CU_ASSERT_EQUAL(!!(id.oncs & BH_NVME_ONCS_VERIFY), effects->iocs[0x0c] & 1);
	CU_ASSERT_EQUAL(!!(id.oncs & BH_NVME_ONCS_WRITE_UNCORRECTABLE), effects->iocs[0x04] & 1);
	CU_ASSERT_EQUAL(!!(id.oacs & BH_NVME_OACS_SELF_TEST), effects->acs[0x14] & 1);
	CU_ASSERT_EQUAL(!!id.sanicap, effects->acs[0x84] & 1);
	CU_ASSERT_EQUAL(effects->iocs[0x01], BH_NVME_EFFECT_CSUPP | BH_NVME_EFFECT_LBCC);
	CU_ASSERT_EQUAL(effects->iocs[0x02], BH_NVME_EFFECT_CSUPP);
	CU_ASSERT_EQUAL(effects->acs[0x19], 0);
	CU_ASSERT_TRUE(id.lpa & BH_NVME_LPA_EFFECTS);
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_SUPPORTED, 0, 1024, 0), 0);
	for (i = 0; i < 256; i++)
		lids += logs->lid[i] & BH_NVME_LOG_LSUPP;
	CU_ASSERT_EQUAL(lids, 10);
}

static void namespaces(void)
{
	const struct bh_nvme_id_ns *id = rig_data();
	const struct bh_nvme_ns_list *list = rig_data();
	const uint8_t *desc = rig_data();
	uint8_t uuid[16];

	CU_ASSERT_EQUAL(rig_attach(3, 1 << 20, 4096), 3);
	CU_ASSERT_EQUAL(rig_attach(0, 1 << 20, 512), 1);
	CU_ASSERT_EQUAL(rig_attach(256, 1 << 20, 512), 256);
	CU_ASSERT_EQUAL(rig_attach(3, 1 << 20, 512), -EEXIST);
	CU_ASSERT_EQUAL(rig_attach(257, 1 << 20, 512), -EINVAL);
	identify(BH_NVME_CNS_NS, 3, 0, 0);
	CU_ASSERT_EQUAL(id->nsze, 256);
	CU_ASSERT_EQUAL(id->ncap, 256);
	CU_ASSERT_EQUAL(id->nlbaf, 1); /* a null store has no metadata */
	CU_ASSERT_EQUAL(id->lbaf[0].lbads, 9);
	CU_ASSERT_EQUAL(id->lbaf[1].lbads, 12);
	CU_ASSERT_EQUAL(id->flbas, 1);
	CU_ASSERT_EQUAL(id->mc, 0);
	memcpy(uuid, id->nguid, 16);
	CU_ASSERT_FALSE(is_zero(uuid, 16));
	CU_ASSERT_EQUAL(uuid[6] >> 4, 5); /* a version 5 UUID */
	identify(BH_NVME_CNS_NS_ID_DESC, 3, 0, 0);
	CU_ASSERT_EQUAL(desc[0], BH_NVME_NIDT_NGUID);
	CU_ASSERT_EQUAL(desc[20], BH_NVME_NIDT_UUID);
	CU_ASSERT_EQUAL(memcmp(desc + 24, uuid, 16), 0);
	CU_ASSERT_EQUAL(desc[40], BH_NVME_NIDT_CSI);
	CU_ASSERT_EQUAL(desc[41], 1);
	CU_ASSERT_TRUE(is_zero(desc + 44, 4096 - 44));
	identify(BH_NVME_CNS_NS_ID_DESC, 1, 0, 0); /* of the same name: another identity */
	CU_ASSERT_NOT_EQUAL(memcmp(desc + 24, uuid, 16), 0);
	identify(BH_NVME_CNS_ACTIVE_NS_LIST, 1, 0, 0);
	CU_ASSERT_EQUAL(list->nsid[0], 3);
	CU_ASSERT_EQUAL(list->nsid[1], 256);
	CU_ASSERT_EQUAL(list->nsid[2], 0);
	identify(BH_NVME_CNS_CSI_ACTIVE_NS_LIST, 255, 0, 0);
	CU_ASSERT_EQUAL(list->nsid[0], 256);
	identify(BH_NVME_CNS_NS, 2, 0, 0);
	CU_ASSERT_TRUE(is_zero(id, 4096));
	identify(BH_NVME_CNS_NS_INDEP, 3, 0, 0);
	CU_ASSERT_EQUAL(((const struct bh_nvme_id_ns_indep *)rig_data())->nstat,
			BH_NVME_NSTAT_READY);
}

static void identity_survives_a_restart(void)
{
	struct bh_target_nvme_opts opts = rig_opts();
	uint8_t first[4096];

	rig_attach(1, 1 << 20, 512);
	identify(BH_NVME_CNS_NS_ID_DESC, 1, 0, 0);
	memcpy(first, rig_data(), sizeof(first));
	bh_target_nvme_free(rig.ctrl);
	CU_ASSERT_EQUAL_FATAL(rig_open(&opts, BH_CMEM_MAPPED), 0);
	rig_enable(16, 16);
	rig_attach(1, 1 << 20, 512);
	identify(BH_NVME_CNS_NS_ID_DESC, 1, 0, 0);
	CU_ASSERT_EQUAL(memcmp(rig_data(), first, sizeof(first)), 0);
}

/* ---- log pages ---- */

static void log_offsets(void)
{
	static const struct {
		uint8_t lid;
		uint32_t bytes;
		uint64_t offset;
		uint16_t want;
	} rows[] = {
		{ BH_NVME_LOG_SMART, 512, 0, 0 },
		{ BH_NVME_LOG_SMART, 4, 508, 0 },
		{ BH_NVME_LOG_SMART, 512, 508, 0 },
		{ BH_NVME_LOG_SMART, 512, 512, 0 }, /* nothing, and no error */
		{ BH_NVME_LOG_SMART, 512, 516, BH_NVME_SC_INVALID_FIELD },
		{ BH_NVME_LOG_SMART, 4, 2, BH_NVME_SC_INVALID_FIELD },
		{ BH_NVME_LOG_SMART, 4, 1ull << 40, BH_NVME_SC_INVALID_FIELD },
		{ BH_NVME_LOG_SMART, 4, ~3ull, BH_NVME_SC_INVALID_FIELD },
		{ BH_NVME_LOG_SMART, 1 << 20, 0, 0 },
		{ BH_NVME_LOG_SMART, (1 << 20) + 4, 0, BH_NVME_SC_INVALID_FIELD }, /* over MDTS */
		{ BH_NVME_LOG_EFFECTS, 4096, 0, 0 },
		{ BH_NVME_LOG_ERROR, 64, 4032, 0 },
		{ BH_NVME_LOG_SELF_TEST, 564, 0, 0 },
		{ BH_NVME_LOG_ENDURANCE_GROUP, 4, 0, BH_NVME_SC_INVALID_LOG_PAGE },
		{ BH_NVME_LOG_ANA, 4, 0, BH_NVME_SC_INVALID_LOG_PAGE },
		{ 0xff, 4, 0, BH_NVME_SC_INVALID_LOG_PAGE },
	};
	uint8_t *data = rig_data();
	uint8_t whole[512];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CU_ASSERT_EQUAL(rig_log_page(rows[i].lid, 0, rows[i].bytes, rows[i].offset),
				rows[i].want);
	/* a part is a part of the whole, and nothing is written behind it */
	rig_log_page(BH_NVME_LOG_FW_SLOT, 0, 512, 0);
	memcpy(whole, data, sizeof(whole));
	CU_ASSERT_EQUAL(whole[0], 1);
	memset(data, 0xa5, 4096);
	rig_log_page(BH_NVME_LOG_FW_SLOT, 0, 8, 8);
	CU_ASSERT_EQUAL(memcmp(data, whole + 8, 8), 0);
	CU_ASSERT_EQUAL(data[8], 0xa5);
}

static void error_log_is_newest_first(void)
{
	const struct bh_nvme_error_log *log = rig_data();
	unsigned int i;

	for (i = 0; i < 70; i++)
		rig_admin(BH_NVME_ADMIN_SECURITY_SEND, i, 0, 0, NULL);
	tn_error_add(rig.ctrl, 3, 9, BH_NVME_SC_UNRECOVERED_READ_ERROR, 0xffff, 77, 1);
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_ERROR, 0, 4096, 0), 0);
	CU_ASSERT_EQUAL(log[0].error_count, 71);
	CU_ASSERT_EQUAL(log[0].sqid, 3);
	CU_ASSERT_EQUAL(log[0].lba, 77);
	CU_ASSERT_EQUAL(log[0].status >> 1, BH_NVME_SC_UNRECOVERED_READ_ERROR);
	CU_ASSERT_EQUAL(log[1].error_count, 70);
	CU_ASSERT_EQUAL(log[1].nsid, 69);
	CU_ASSERT_EQUAL(log[1].sqid, 0);
	CU_ASSERT_EQUAL(log[1].status >> 1, BH_NVME_SC_INVALID_OPCODE | BH_NVME_STATUS_DNR);
	CU_ASSERT_EQUAL(log[63].error_count, 8);
}

static void smart_counts(void)
{
	const struct bh_nvme_smart_log *log = rig_data();

	rig.stats = (struct bh_target_nvme_stats){
		.counts = { .reads = 5, .writes = 6, .read_bytes = 512001, .write_bytes = 512000 }
	};
	tn_error_add(rig.ctrl, 1, 1, BH_NVME_SC_WRITE_FAULT, 0xffff, 0, 1);
	tn_error_add(rig.ctrl, 1, 1, BH_NVME_SC_COMPARE_FAILURE, 0xffff, 0, 1);
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_SMART, 0, 512, 0), 0);
	CU_ASSERT_EQUAL(log->host_reads[0], 5);
	CU_ASSERT_EQUAL(log->host_writes[0], 6);
	CU_ASSERT_EQUAL(log->data_units_read[0], 2);
	CU_ASSERT_EQUAL(log->data_units_written[0], 1);
	CU_ASSERT_EQUAL(log->media_errors[0], 1);
	CU_ASSERT_EQUAL(log->error_log_entries[0], 2);
	CU_ASSERT_EQUAL(log->critical_warning, 0);
	rig_admin(BH_NVME_ADMIN_SET_FEATURES, 0, BH_NVME_FEAT_TEMPERATURE_THRESHOLD, 290, NULL);
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_SMART, 0, 512, 0), 0);
	CU_ASSERT_EQUAL(log->critical_warning, BH_NVME_SMART_TEMPERATURE);
}

/* A client's coming and going is the power's; one that leaves without a shutdown is counted. */
static void smart_counts_clients(void)
{
	const struct bh_nvme_smart_log *log = rig_data();
	unsigned int i;

	for (i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_SMART, 0, 512, 0), 0);
		CU_ASSERT_EQUAL(log->power_cycles[0], 1 + i);
		CU_ASSERT_EQUAL(log->unsafe_shutdowns[0], i < 2 ? i : 1);
		if (i) {
			rig_write(BH_NVME_REG_CC, RIG_CC | 1u << BH_NVME_CC_SHN_SHIFT, 4);
			rig_pump();
		}
		rig.server->opts.ops->quiesce(rig.ctrl, BH_QUIESCE_DISCONNECT, 0, 0);
		rig.server->opts.ops->reset(rig.ctrl, BH_RESET_LOST);
		rig.server->opts.ops->resume(rig.ctrl, BH_QUIESCE_DISCONNECT);
		rig_enable(16, 16);
	}
}

static void smart_counts_busy_seconds(void)
{
	uint64_t end = bh_now_ns() + 5000000000ull;

	CU_ASSERT_EQUAL(tn_ctl(rig.ctrl)->busy_seconds, 0);
	rig.stats.counts.others = 7;
	while (!tn_ctl(rig.ctrl)->busy_seconds && bh_now_ns() < end) {
		rig_pump();
		usleep(10000);
	}
	CU_ASSERT_EQUAL(tn_ctl(rig.ctrl)->busy_seconds, 1);
	CU_ASSERT_EQUAL(tn_ctl(rig.ctrl)->commands_seen, 7);
}

BH_SUITE_FIXTURE("target_nvme_identify", setup, rig_teardown,
		 { "what_each_cns_takes", what_each_cns_takes }, { "controller", controller },
		 { "logs_agree", logs_agree }, { "namespaces", namespaces },
		 { "identity_survives_a_restart", identity_survives_a_restart },
		 { "log_offsets", log_offsets },
		 { "error_log_is_newest_first", error_log_is_newest_first },
		 { "smart_counts", smart_counts }, { "smart_counts_clients", smart_counts_clients },
		 { "smart_counts_busy_seconds", smart_counts_busy_seconds }, )

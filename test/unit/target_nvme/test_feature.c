/* SPDX-License-Identifier: BSD-3-Clause */
#include "target_nvme/control_rig.h"

#define GET BH_NVME_ADMIN_GET_FEATURES
#define SET BH_NVME_ADMIN_SET_FEATURES
#define SEL(n) ((uint32_t)(n) << BH_NVME_FEATURES_SEL_SHIFT)

static int setup(void)
{
	if (rig_setup())
		return -1;
	rig_enable(16, 16);
	return 0;
}

static uint16_t get(uint8_t fid, uint32_t sel, uint32_t nsid, uint32_t cdw11, uint32_t *value)
{
	*value = 0;
	return rig_admin(GET, nsid, fid | SEL(sel), cdw11, value);
}

static uint16_t set(uint8_t fid, uint32_t nsid, uint32_t cdw11)
{
	return rig_admin(SET, nsid, fid, cdw11, NULL);
}

/*
 * Default; what is set; what is then read (also with the default still being told); what Get
 * needs in CDW11.
 */
static void values(void)
{
	static const struct {
		uint8_t fid;
		uint32_t def, set, want, get11;
	} rows[] = {
		{ BH_NVME_FEAT_ARBITRATION, 7, 0x010203f8 | 2, 0x01020302 | 0, 0 },
		{ BH_NVME_FEAT_POWER_MANAGEMENT, 0, 0x40, 0x40, 0 },
		{ BH_NVME_FEAT_TEMPERATURE_THRESHOLD, 343, 350, 350, 0 },
		{ BH_NVME_FEAT_TEMPERATURE_THRESHOLD, 0, 0x00100000 | 250, 250, 0x00100000 },
		{ BH_NVME_FEAT_TEMPERATURE_THRESHOLD, 343, 0x000f0000 | 360, 360, 0 },
		{ BH_NVME_FEAT_NUMBER_OF_QUEUES, 0x003f003f, 0x01000007, 0x003f0007, 0 },
		{ BH_NVME_FEAT_INTERRUPT_COALESCING, 0, 0xffff1234, 0x1234, 0 },
		{ BH_NVME_FEAT_INTERRUPT_VECTOR_CONFIG, 0x40, 0x10040, 0x10040, 0x40 },
		{ BH_NVME_FEAT_WRITE_ATOMICITY, 0, 1, 1, 0 },
		{ BH_NVME_FEAT_ASYNC_EVENT_CONFIG, 0, 0xffffffff, 0x51f, 0 },
		{ BH_NVME_FEAT_KEEP_ALIVE_TIMER, 0, 60001, 60100, 0 },
		{ BH_NVME_FEAT_IOCS_PROFILE, 0, 0, 0, 0 },
	};
	uint32_t value;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CU_ASSERT_EQUAL(get(rows[i].fid, 1, 0, rows[i].get11, &value), 0);
		CU_ASSERT_EQUAL(value, rows[i].def);
		CU_ASSERT_EQUAL(set(rows[i].fid, 0, rows[i].set), 0);
		CU_ASSERT_EQUAL(get(rows[i].fid, 0, 0, rows[i].get11, &value), 0);
		CU_ASSERT_EQUAL(value, rows[i].want);
		CU_ASSERT_EQUAL(get(rows[i].fid, 1, 0, rows[i].get11, &value), 0);
		CU_ASSERT_EQUAL(value, rows[i].def);
		CU_ASSERT_EQUAL(get(rows[i].fid, 2, 0, rows[i].get11, &value),
				0); /* saved: the default */
		CU_ASSERT_EQUAL(value, rows[i].def);
		CU_ASSERT_EQUAL(get(rows[i].fid, 3, 0, 0, &value), 0);
		CU_ASSERT_EQUAL(value, BH_NVME_FEATURES_CAP_CHANGEABLE);
	}
	rig_disable();
	rig_enable(16, 16);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CU_ASSERT_EQUAL(get(rows[i].fid, 0, 0, rows[i].get11, &value), 0);
		CU_ASSERT_EQUAL(value, rows[i].def);
	}
}

static void refusals(void)
{
	static const struct {
		uint8_t opc;
		uint32_t cdw10, nsid, cdw11;
		uint16_t want;
	} rows[] = {
		{ GET, 0x00, 0, 0, BH_NVME_SC_INVALID_FIELD },
		{ GET, BH_NVME_FEAT_LBA_RANGE_TYPE, 0, 0, BH_NVME_SC_INVALID_FIELD },
		{ GET, BH_NVME_FEAT_APST, 0, 0, BH_NVME_SC_INVALID_FIELD },
		{ GET, 0xff, 0, 0, BH_NVME_SC_INVALID_FIELD },
		{ GET, 0xff | SEL(3), 0, 0, BH_NVME_SC_INVALID_FIELD },
		{ GET, BH_NVME_FEAT_ARBITRATION | SEL(4), 0, 0, BH_NVME_SC_INVALID_FIELD },
		{ GET, BH_NVME_FEAT_ARBITRATION | SEL(7), 0, 0, BH_NVME_SC_INVALID_FIELD },
		{ GET, BH_NVME_FEAT_TEMPERATURE_THRESHOLD, 0, 0x00010000,
		  BH_NVME_SC_INVALID_FIELD },
		{ GET, BH_NVME_FEAT_TEMPERATURE_THRESHOLD, 0, 0x00200000,
		  BH_NVME_SC_INVALID_FIELD },
		{ GET, BH_NVME_FEAT_INTERRUPT_VECTOR_CONFIG, 0, 65, BH_NVME_SC_INVALID_FIELD },
		{ GET, BH_NVME_FEAT_ERROR_RECOVERY, 0, 0, BH_NVME_SC_INVALID_NS },
		{ GET, BH_NVME_FEAT_VOLATILE_WRITE_CACHE, 0, 0,
		  BH_NVME_SC_INVALID_FIELD }, /* there is none */
		{ GET, BH_NVME_FEAT_VOLATILE_WRITE_CACHE | SEL(3), 0, 0, BH_NVME_SC_INVALID_FIELD },
		{ SET, BH_NVME_FEAT_VOLATILE_WRITE_CACHE, 0, 1, BH_NVME_SC_INVALID_FIELD },
		{ SET, 0x00, 0, 0, BH_NVME_SC_INVALID_FIELD },
		{ SET, BH_NVME_FEAT_HOST_MEMORY_BUFFER, 0, 0, BH_NVME_SC_INVALID_FIELD },
		{ SET, BH_NVME_FEAT_ARBITRATION | BH_NVME_FEATURES_SV, 0, 0,
		  BH_NVME_SC_FEATURE_NOT_SAVEABLE },
		{ SET, BH_NVME_FEAT_ARBITRATION, 1, 0, BH_NVME_SC_FEATURE_NOT_NS_SPECIFIC },
		{ SET, BH_NVME_FEAT_ARBITRATION, 257, 0, BH_NVME_SC_INVALID_NS },
		{ SET, BH_NVME_FEAT_POWER_MANAGEMENT, 0, 1, BH_NVME_SC_INVALID_FIELD },
		{ SET, BH_NVME_FEAT_TEMPERATURE_THRESHOLD, 0, 0x00010000,
		  BH_NVME_SC_INVALID_FIELD },
		{ SET, BH_NVME_FEAT_TEMPERATURE_THRESHOLD, 0, 0x00300000,
		  BH_NVME_SC_INVALID_FIELD },
		{ SET, BH_NVME_FEAT_ERROR_RECOVERY, 5, 0, BH_NVME_SC_INVALID_FIELD },
		{ SET, BH_NVME_FEAT_ERROR_RECOVERY, 257, 0, BH_NVME_SC_INVALID_NS },
		{ GET, BH_NVME_FEAT_ERROR_RECOVERY, 5, 0, BH_NVME_SC_INVALID_FIELD },
		{ SET, BH_NVME_FEAT_NUMBER_OF_QUEUES, 0, 0x0000ffff, BH_NVME_SC_INVALID_FIELD },
		{ SET, BH_NVME_FEAT_NUMBER_OF_QUEUES, 0, 0xffff0000, BH_NVME_SC_INVALID_FIELD },
		{ SET, BH_NVME_FEAT_INTERRUPT_VECTOR_CONFIG, 0, 65, BH_NVME_SC_INVALID_FIELD },
		{ SET, BH_NVME_FEAT_IOCS_PROFILE, 0, 1, BH_NVME_SC_IOCS_COMBINATION_REJECTED },
	};
	size_t i, n = sizeof(rows) / sizeof(rows[0]);

	for (i = 0; i < n; i++)
		CU_ASSERT_EQUAL(
			rig_admin(rows[i].opc, rows[i].nsid, rows[i].cdw10, rows[i].cdw11, NULL),
			rows[i].want);
	CU_ASSERT_EQUAL(rig.ctrl->error_count, n);
}

static void error_recovery_is_a_namespaces(void)
{
	uint32_t value;

	CU_ASSERT_EQUAL(rig_attach(1, 1 << 20, 512), 1);
	CU_ASSERT_EQUAL(rig_attach(2, 1 << 20, 512), 2);
	CU_ASSERT_EQUAL(set(BH_NVME_FEAT_ERROR_RECOVERY, 2, 30), 0);
	CU_ASSERT_EQUAL(get(BH_NVME_FEAT_ERROR_RECOVERY, 0, 2, 0, &value), 0);
	CU_ASSERT_EQUAL(value, 30);
	CU_ASSERT_EQUAL(get(BH_NVME_FEAT_ERROR_RECOVERY, 0, 1, 0, &value), 0);
	CU_ASSERT_EQUAL(value, 0);
	CU_ASSERT_EQUAL(set(BH_NVME_FEAT_ERROR_RECOVERY, BH_NVME_NSID_ALL, 40), 0);
	CU_ASSERT_EQUAL(get(BH_NVME_FEAT_ERROR_RECOVERY, 0, 1, 0, &value), 0);
	CU_ASSERT_EQUAL(value, 40);
	CU_ASSERT_EQUAL(set(BH_NVME_FEAT_ERROR_RECOVERY, 1, 1u << 16),
			BH_NVME_SC_INVALID_FIELD); /* DULBE */
	CU_ASSERT_EQUAL(get(BH_NVME_FEAT_ERROR_RECOVERY, 3, 1, 0, &value), 0);
	CU_ASSERT_EQUAL(value, BH_NVME_FEATURES_CAP_CHANGEABLE | BH_NVME_FEATURES_CAP_NS_SPECIFIC);
}

/* Off: complete when what was written before is durable. */
static void write_cache(void)
{
	struct bh_nvme_cmd cmd = { .opc = SET, .cdw10 = BH_NVME_FEAT_VOLATILE_WRITE_CACHE };
	struct bh_nvme_cpl cpl;
	uint32_t value;
	unsigned int i;

	CU_ASSERT_EQUAL(rig_attach(1, 1 << 20, 512), 1);
	rig.ctrl->ns[1]->blk->info.caps |= BH_BLK_CAP_FLUSH;
	CU_ASSERT_EQUAL(get(BH_NVME_FEAT_VOLATILE_WRITE_CACHE, 0, 0, 0, &value), 0);
	CU_ASSERT_EQUAL(value, 1);
	CU_ASSERT_EQUAL(set(BH_NVME_FEAT_VOLATILE_WRITE_CACHE, 0, 1), 0);
	CU_ASSERT_EQUAL(rig.flushes, 0);
	rig.hold_flush = true;
	for (i = 0; i < 2; i++)
		rig_submit_quietly(&cmd);
	rig_ring();
	rig_pump();
	CU_ASSERT_EQUAL(rig.flushes, 1);
	CU_ASSERT_FALSE(rig_reap(&cpl));
	rig_flush_answer(0);
	CU_ASSERT_EQUAL(rig.flushes, 2);
	rig_pump();
	CU_ASSERT_TRUE(rig_reap(&cpl));
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), 0);
	CU_ASSERT_FALSE(rig_reap(&cpl));
	rig_flush_answer(BH_NVME_SC_WRITE_FAULT);
	rig_pump();
	CU_ASSERT_TRUE(rig_reap(&cpl));
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl) & BH_NVME_STATUS_SC_MASK, BH_NVME_SC_WRITE_FAULT);
	CU_ASSERT_EQUAL(get(BH_NVME_FEAT_VOLATILE_WRITE_CACHE, 0, 0, 0, &value), 0);
	CU_ASSERT_EQUAL(value, 0);
	/* One that a reset has dropped completes to nobody. */
	rig_submit_quietly(&cmd);
	rig_ring();
	rig_pump();
	rig_disable();
	rig_flush_answer(0);
	rig_enable(16, 16);
	rig_pump();
	CU_ASSERT_FALSE(rig_reap(&cpl));
	CU_ASSERT_EQUAL(get(BH_NVME_FEAT_VOLATILE_WRITE_CACHE, 0, 0, 0, &value), 0);
	CU_ASSERT_EQUAL(value, 1);
	rig.hold_flush = false;
}

static uint64_t timestamp(uint8_t *attr)
{
	struct bh_nvme_timestamp ts;
	uint64_t ms = 0;
	uint32_t value;

	CU_ASSERT_EQUAL(get(BH_NVME_FEAT_TIMESTAMP, 0, 0, 0, &value), 0);
	memcpy(&ts, rig_data(), sizeof(ts));
	memcpy(&ms, ts.ms, sizeof(ts.ms));
	*attr = ts.attr;
	return ms;
}

static void timestamp_counts(void)
{
	struct bh_nvme_timestamp ts = { .ms = { 0, 1, 2, 3, 4, 5 } };
	uint64_t ms;
	uint8_t attr;

	CU_ASSERT_TRUE(timestamp(&attr) < 60000);
	CU_ASSERT_EQUAL(attr, 0);
	memcpy(rig_data(), &ts, sizeof(ts));
	CU_ASSERT_EQUAL(set(BH_NVME_FEAT_TIMESTAMP, 0, 0), 0);
	usleep(3000);
	ms = timestamp(&attr);
	CU_ASSERT_TRUE(ms >= 0x050403020100ull + 3 && ms < 0x050403020100ull + 60000);
	CU_ASSERT_EQUAL(attr, 1 << 1);
	rig_disable();
	rig_enable(16, 16);
	CU_ASSERT_TRUE(timestamp(&attr) < 60000);
	CU_ASSERT_EQUAL(attr, 0);
}

static void host_behavior(void)
{
	struct bh_nvme_host_behavior *b = rig_data();
	uint32_t value;

	memset(b, 0, sizeof(*b));
	b->acre = 1;
	CU_ASSERT_EQUAL(set(BH_NVME_FEAT_HOST_BEHAVIOR, 0, 0), 0);
	memset(b, 0xff, sizeof(*b));
	CU_ASSERT_EQUAL(get(BH_NVME_FEAT_HOST_BEHAVIOR, 0, 0, 0, &value), 0);
	CU_ASSERT_EQUAL(b->acre, 1);
	CU_ASSERT_EQUAL(b->rsvd3[508], 0);
	b->acre = 2;
	CU_ASSERT_EQUAL(set(BH_NVME_FEAT_HOST_BEHAVIOR, 0, 0), BH_NVME_SC_INVALID_FIELD);
}

/* Set Features whose data cannot be read changes nothing. */
static void data_that_does_not_come(void)
{
	struct bh_nvme_cmd cmd = { .opc = SET, .cdw10 = BH_NVME_FEAT_TIMESTAMP };
	struct bh_nvme_cpl cpl;
	uint8_t attr;

	cmd.dptr.prp.prp1 = 0x7000;
	rig_submit_quietly(&cmd);
	rig_ring();
	CU_ASSERT_TRUE_FATAL(rig_reap(&cpl));
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), BH_NVME_SC_DATA_TRANSFER_ERROR);
	timestamp(&attr);
	CU_ASSERT_EQUAL(attr, 0);
}

BH_SUITE_FIXTURE("target_nvme_feature", setup, rig_teardown, { "values", values },
		 { "refusals", refusals },
		 { "error_recovery_is_a_namespaces", error_recovery_is_a_namespaces },
		 { "write_cache", write_cache }, { "timestamp_counts", timestamp_counts },
		 { "host_behavior", host_behavior },
		 { "data_that_does_not_come", data_that_does_not_come }, )

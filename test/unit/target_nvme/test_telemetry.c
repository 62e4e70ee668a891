/* SPDX-License-Identifier: BSD-3-Clause */
/* Telemetry: what is captured, when, that it stays as it was, and what it does not tell. */
#include "target_nvme/control_rig.h"

#include "target/nvme/control.h"

#define CREATE ((uint32_t)BH_NVME_TELEMETRY_CREATE << BH_NVME_GLP_LSP_SHIFT)
#define HOST BH_NVME_LOG_TELEMETRY_HOST
#define OWN BH_NVME_LOG_TELEMETRY_CTRL
#define MOST (64u << 10)

static int setup(void)
{
	if (rig_setup())
		return -1;
	rig_enable(16, 16);
	return 0;
}

static const struct bh_nvme_telemetry *read_log(uint8_t lid, uint32_t flags)
{
	memset(rig_data(), 0, MOST);
	CU_ASSERT_EQUAL_FATAL(rig_log_page(lid, flags, MOST, 0), 0);
	return rig_data();
}

/* Is that text in blocks first..last? */
static bool says(unsigned int first, unsigned int last, const char *text)
{
	const char *at = (const char *)rig_data() + (size_t)first * 512;

	return memmem(at, (size_t)(last + 1 - first) * 512, text, strlen(text)) != NULL;
}

static void nothing_was_captured(void)
{
	const struct bh_nvme_id_ctrl *id = rig_data();
	const struct bh_nvme_telemetry *log;

	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_IDENTIFY, 0, BH_NVME_CNS_CTRL, 0, NULL), 0);
	CU_ASSERT_TRUE(id->lpa & BH_NVME_LPA_TELEMETRY);
	log = read_log(HOST, 0);
	CU_ASSERT_EQUAL(log->lid, HOST);
	CU_ASSERT_EQUAL(log->dalb3, 0);
	CU_ASSERT_EQUAL(log->host_gen, 0);
	log = read_log(OWN, 0);
	CU_ASSERT_EQUAL(log->lid, OWN);
	CU_ASSERT_EQUAL(log->dalb3, 0);
	CU_ASSERT_EQUAL(log->ctrl_available, 0);
	CU_ASSERT_EQUAL(rig_log_page(OWN, 0, 512, 1024), BH_NVME_SC_INVALID_FIELD);
}

static void areas_hold_more_and_more(void)
{
	const struct bh_nvme_telemetry *log;

	rig.has_cq[3] = true;
	rig.stats.counts.writes = 4711;
	CU_ASSERT_EQUAL(rig_attach(5, 1 << 20, 4096), 5);
	rig_admin(BH_NVME_ADMIN_SECURITY_SEND, 99, 0, 0, NULL);
	log = read_log(HOST, CREATE);
	CU_ASSERT_EQUAL(log->host_gen, 1);
	CU_ASSERT_STRING_EQUAL(log->reason, "host");
	CU_ASSERT_TRUE_FATAL(log->dalb1 >= 1 && log->dalb2 > log->dalb1 && log->dalb3 > log->dalb2);
	CU_ASSERT_TRUE_FATAL((log->dalb3 + 1u) * 512 <= MOST);
	CU_ASSERT_TRUE(says(1, log->dalb1, "bellhop_telemetry: 1\n"));
	CU_ASSERT_TRUE(says(1, log->dalb1, "csts: 0x00000001\n"));
	CU_ASSERT_TRUE(says(1, log->dalb1, "doorbells: trapped\n"));
	CU_ASSERT_TRUE(says(1, log->dalb1, "writes 4711 "));
	CU_ASSERT_TRUE(says(log->dalb1 + 1u, log->dalb2, "queue 3: here cqid 3 "));
	CU_ASSERT_TRUE(says(log->dalb1 + 1u, log->dalb2, "reads 77 "));
	CU_ASSERT_TRUE(says(log->dalb1 + 1u, log->dalb2, "namespace 5: blocks 256 "));
	CU_ASSERT_TRUE(says(log->dalb2 + 1u, log->dalb3, "latency queue 3: "));
	CU_ASSERT_TRUE(says(log->dalb2 + 1u, log->dalb3, " nsid 99\n"));
	/* Where the socket lies, and what the store is called, is the host's. */
	CU_ASSERT_FALSE(says(1, log->dalb3, bh_target_nvme_path(rig.ctrl)));
	CU_ASSERT_FALSE(says(1, log->dalb3, "null:"));
}

static void it_stays_until_the_next(void)
{
	static uint8_t first[MOST];
	const struct bh_nvme_telemetry *log = read_log(HOST, CREATE);
	size_t bytes = (log->dalb3 + 1u) * 512u, at;

	memcpy(first, log, bytes);
	rig.stats.counts.writes = 4711;
	read_log(HOST, 0);
	CU_ASSERT_EQUAL(memcmp(log, first, bytes), 0);
	rig_disable();
	rig_enable(16, 16);
	for (at = 0; at < bytes; at += 512) {
		CU_ASSERT_EQUAL(rig_log_page(HOST, 0, 512, at), 0);
		CU_ASSERT_EQUAL(memcmp(rig_data(), first + at, 512), 0);
	}
	CU_ASSERT_EQUAL(rig_log_page(HOST, 0, 512, bytes), 0);
	CU_ASSERT_EQUAL(rig_log_page(HOST, 0, 512, bytes + 512), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(rig_log_page(HOST, 0, 512, 4), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(rig_log_page(HOST, 0, 516, 0), BH_NVME_SC_INVALID_FIELD);
	log = read_log(HOST, CREATE);
	CU_ASSERT_EQUAL(log->host_gen, 2);
	CU_ASSERT_TRUE(says(1, log->dalb1, "writes 4711 "));
}

static bool is_told(void)
{
	struct bh_nvme_cpl cpl;

	rig_pump();
	return rig_reap(&cpl) &&
	       cpl.cdw0 == (BH_NVME_LOG_TELEMETRY_CTRL << 16 | BH_NVME_AER_NOTICE_TELEMETRY << 8 |
			    BH_NVME_AER_TYPE_NOTICE);
}

static void want_events(uint32_t bits)
{
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_SET_FEATURES, 0, BH_NVME_FEAT_ASYNC_EVENT_CONFIG,
				  bits, NULL),
			0);
}

/* Captured before the reset that ends it; told once the host says that it wants to be. */
static void fatal_controllers_capture(void)
{
	const struct bh_nvme_telemetry *log;

	rig.has_cq[3] = true;
	tn_ctrl_fatal(rig.ctrl, "a test of it");
	rig_disable();
	rig_enable(16, 16);
	rig_post_aer();
	want_events(BH_NVME_OAES_NS_ATTR);
	CU_ASSERT_FALSE(is_told());
	want_events(BH_NVME_OAES_TELEMETRY);
	CU_ASSERT_TRUE(is_told());
	/* A host that has not read it, and resets, or is another, is told again. */
	rig_disable();
	rig_enable(16, 16);
	rig_post_aer();
	want_events(BH_NVME_OAES_TELEMETRY);
	CU_ASSERT_TRUE(is_told());
	log = read_log(OWN, BH_NVME_GLP_RAE);
	CU_ASSERT_EQUAL(log->ctrl_available, 1);
	CU_ASSERT_EQUAL(log->ctrl_gen, 1);
	CU_ASSERT_STRING_EQUAL(log->reason, "a test of it");
	CU_ASSERT_TRUE(says(1, log->dalb1, "csts: 0x00000003\n"));
	CU_ASSERT_TRUE(says(log->dalb1 + 1u, log->dalb2, "queue 3: here"));
	/* What is available is said in the other log, too; reading for good ends that. */
	log = read_log(HOST, 0);
	CU_ASSERT_EQUAL(log->ctrl_available, 1);
	CU_ASSERT_EQUAL(log->ctrl_gen, 1);
	CU_ASSERT_EQUAL(read_log(OWN, 0)->ctrl_available, 1);
	CU_ASSERT_EQUAL(read_log(OWN, 0)->ctrl_available, 0);
	/* A reset of one that is not fatal captures nothing. */
	rig_disable();
	rig_enable(16, 16);
	CU_ASSERT_EQUAL(read_log(OWN, 0)->ctrl_gen, 1);
	rig_post_aer();
	want_events(BH_NVME_OAES_TELEMETRY);
	CU_ASSERT_FALSE(is_told());
}

BH_SUITE_FIXTURE("target_nvme_telemetry", setup, rig_teardown,
		 { "nothing_was_captured", nothing_was_captured },
		 { "areas_hold_more_and_more", areas_hold_more_and_more },
		 { "it_stays_until_the_next", it_stays_until_the_next },
		 { "fatal_controllers_capture", fatal_controllers_capture }, )

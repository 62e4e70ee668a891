/* SPDX-License-Identifier: BSD-3-Clause */
/* Keep Alive: who says nothing for too long, and what counts as saying something. */
#include "target_nvme/control_rig.h"

#define MS 1000000ull
#define UNIT 100u /* ms */

static int setup(void)
{
	if (rig_setup())
		return -1;
	rig_enable(16, 16);
	return 0;
}

static uint16_t set_timeout(uint32_t ms)
{
	return rig_admin(BH_NVME_ADMIN_SET_FEATURES, 0, BH_NVME_FEAT_KEEP_ALIVE_TIMER, ms, NULL);
}

static uint32_t timeout(void)
{
	uint32_t ms = 0;

	CU_ASSERT_EQUAL(
		rig_admin(BH_NVME_ADMIN_GET_FEATURES, 0, BH_NVME_FEAT_KEEP_ALIVE_TIMER, 0, &ms), 0);
	return ms;
}

static bool is_fatal(void)
{
	return rig_read(BH_NVME_REG_CSTS, 4) & BH_NVME_CSTS_CFS;
}

/* False: not within ms. */
static bool fatal_within(uint64_t ms, void (*meanwhile)(void))
{
	uint64_t end = bh_now_ns() + ms * MS;

	while (!is_fatal() && bh_now_ns() < end) {
		if (meanwhile)
			meanwhile();
		rig_pump();
		usleep(5000);
	}
	return is_fatal();
}

static void what_is_said(void)
{
	const struct bh_nvme_id_ctrl *id = rig_data();

	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_IDENTIFY, 0, BH_NVME_CNS_CTRL, 0, NULL), 0);
	CU_ASSERT_EQUAL(id->kas, UNIT / 100);
	CU_ASSERT_TRUE(id->ctratt & BH_NVME_CTRATT_TBKAS);
	CU_ASSERT_EQUAL(timeout(), 0);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_KEEP_ALIVE, 0, 0, 0, NULL), 0);
}

static void timeouts_are_rounded_up(void)
{
	static const struct {
		uint32_t set, want;
	} rows[] = {
		{ 1, 100 }, { 99, 100 }, { 100, 100 }, { 101, 200 }, { UINT32_MAX, 4294967200u },
		{ 0, 0 },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CU_ASSERT_EQUAL(set_timeout(rows[i].set), 0);
		CU_ASSERT_EQUAL(timeout(), rows[i].want);
	}
}

/* Nobody is left to hear of it but by the status, and later by the error log. */
static void silent_hosts_are_given_up(void)
{
	const struct bh_nvme_error_log *log = rig_data();
	uint64_t begin = bh_now_ns();

	CU_ASSERT_EQUAL(set_timeout(2 * UNIT), 0);
	CU_ASSERT_TRUE(fatal_within(10000, NULL));
	CU_ASSERT_TRUE(bh_now_ns() - begin >= 2 * UNIT * MS);
	CU_ASSERT_EQUAL(rig.stops, 1);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_KEEP_ALIVE, 0, 0, 0, NULL), 0xffff);
	rig_disable();
	rig_enable(16, 16);
	CU_ASSERT_EQUAL(timeout(), 0);
	CU_ASSERT_FALSE(fatal_within(4 * UNIT, NULL));
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_ERROR, 0, sizeof(*log), 0), 0);
	CU_ASSERT_EQUAL(log->status >> 1, BH_NVME_SC_KEEP_ALIVE_EXPIRED);
	CU_ASSERT_EQUAL(log->sqid, 0xffff);
	CU_ASSERT_EQUAL(log->location, 0xffff);
}

static void keep_alive(void)
{
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_KEEP_ALIVE, 0, 0, 0, NULL), 0);
}

static void get_features(void)
{
	CU_ASSERT_EQUAL(timeout(), 2 * UNIT);
}

static void io(void)
{
	rig.stats.counts.reads++;
}

static void commands_keep_it_alive(void)
{
	static void (*const traffic[])(void) = { keep_alive, get_features, io };
	size_t i;

	CU_ASSERT_EQUAL(set_timeout(2 * UNIT), 0);
	for (i = 0; i < sizeof(traffic) / sizeof(traffic[0]); i++)
		CU_ASSERT_FALSE(fatal_within(4 * UNIT, traffic[i]));
	CU_ASSERT_EQUAL(rig.ctrl->error_count, 0);
	CU_ASSERT_TRUE(fatal_within(10000, NULL));
}

static void zero_switches_it_off(void)
{
	CU_ASSERT_EQUAL(set_timeout(UNIT), 0);
	CU_ASSERT_EQUAL(set_timeout(0), 0);
	CU_ASSERT_FALSE(fatal_within(4 * UNIT, NULL));
}

/* A host that has begun a shutdown has nothing more to say. */
static void shutdown_ends_it(void)
{
	CU_ASSERT_EQUAL(set_timeout(UNIT), 0);
	rig_write(BH_NVME_REG_CC, RIG_CC | BH_NVME_SET(CC_SHN, BH_NVME_CC_SHN_NORMAL), 4);
	CU_ASSERT_FALSE(fatal_within(4 * UNIT, NULL));
}

/* While the client's memory is being changed no command can come. */
static void closed_gates_are_no_silence(void)
{
	const struct bh_vfu_ops *ops = rig.server->opts.ops;

	CU_ASSERT_EQUAL(set_timeout(UNIT), 0);
	rig.hold_gate = true;
	ops->quiesce(rig.ctrl, BH_QUIESCE_MAP, 0, 4096);
	CU_ASSERT_FALSE(fatal_within(5 * UNIT, NULL));
	rig_gate_closes();
	CU_ASSERT_FALSE(fatal_within(3 * UNIT, NULL));
	ops->resume(rig.ctrl, BH_QUIESCE_MAP);
	CU_ASSERT_TRUE(fatal_within(10000, NULL));
}

BH_SUITE_FIXTURE("target_nvme_alive", setup, rig_teardown, { "what_is_said", what_is_said },
		 { "timeouts_are_rounded_up", timeouts_are_rounded_up },
		 { "silent_hosts_are_given_up", silent_hosts_are_given_up },
		 { "commands_keep_it_alive", commands_keep_it_alive },
		 { "zero_switches_it_off", zero_switches_it_off },
		 { "shutdown_ends_it", shutdown_ends_it },
		 { "closed_gates_are_no_silence", closed_gates_are_no_silence }, )

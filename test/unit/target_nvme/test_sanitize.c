/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sanitize of a subsystem with a pool, a store beside it and two controllers: what is erased, what
 * is refused meanwhile and afterwards, and what outlives resets, controllers and the process.
 */
#include "target_nvme/control_rig.h"

#include <stdio.h>

#include <bellhop/target_subsys.h>
#include <bellhop/zones.h>

#include "target/nvme/control.h"
#include "target/nvme/subsys.h"

#define MIB (1u << 20)
#define POOL (16u * MIB)
#define CAPACITY (12u * MIB) /* of it */
#define BESIDE (2u * MIB)
#define PATTERN 0x12345678u

static char path[64];
static struct bh_target_subsys *subsys;
static struct bh_target_nvme *second;
static struct bh_blk *pool, *beside;

static struct bh_blk *ram(uint64_t bytes, uint16_t md_bytes, uint64_t zone)
{
	const struct bh_blk_spec spec = { .arg = "",
					  .bytes = bytes,
					  .block_size = 512,
					  .md_bytes = md_bytes,
					  .zoned = { zone, zone, 0, 0 } };
	struct bh_blk *blk = NULL;
	char why[256];

	return bh_blk_ram_type.create(&spec, "ram:test", NULL, why, &blk) ? NULL : blk;
}

static int subsys_open(void)
{
	struct bh_target_subsys_opts so;

	bh_target_subsys_opts_init(&so);
	so.nqn = "nqn.2026-01.io.x:sanitize";
	so.control = rig.control;
	so.pool = pool;
	so.capacity = CAPACITY;
	so.state = path;
	return bh_target_subsys_create(&so, &subsys);
}

static int ctrls_open(void)
{
	return rig_open_in(subsys) || rig_open_second(subsys, &second) ? -1 : 0;
}

static int setup(void)
{
	int fd;

	snprintf(path, sizeof(path), "/tmp/bh-sanitize-XXXXXX");
	fd = mkstemp(path);
	if (fd < 0 || rig_init())
		return -1;
	close(fd);
	pool = ram(POOL, 0, 0);
	beside = ram(BESIDE, 8, 0);
	if (!pool || !beside || subsys_open() || ctrls_open())
		return -1;
	memset(pool->inline_base, 0xff, POOL);
	memset(beside->inline_base, 0xff, BESIDE);
	memset(beside->md, 0xff, BESIDE / 512 * 8);
	return 0;
}

static void ctrls_close(void)
{
	if (second)
		rig_free_second(second);
	second = NULL;
	bh_target_nvme_free(rig.ctrl);
	rig.ctrl = NULL;
}

static int teardown(void)
{
	int rc;

	if (rig.ctrl)
		ctrls_close();
	rc = subsys && bh_target_subsys_destroy(subsys);
	subsys = NULL;
	rc |= rig_teardown();
	bh_blk_put(pool);
	bh_blk_put(beside);
	unlink(path);
	return rc;
}

static void made(void *arg, int result)
{
	*(int *)arg = result;
}

/* 1: in the pool, of both; 2: beside it, of the second. */
static void attach(void)
{
	const struct bh_target_subsys_ns_opts o = {
		.size = sizeof(o), .bytes = MIB, .block_size = 512, .md_bytes = 8
	};
	int nsid = 0;

	CU_ASSERT_EQUAL_FATAL(bh_target_subsys_ns_make(subsys, &o, made, &nsid), 0);
	while (!nsid)
		bh_reactor_run_once(rig.control);
	CU_ASSERT_EQUAL_FATAL(nsid, 1);
	memset(pool->inline_base, 0xff, MIB);
	CU_ASSERT_PTR_NOT_NULL_FATAL(subsys->space[1]->blk->md);
	memset(subsys->space[1]->blk->md, 0xff, MIB / 512 * 8);
	CU_ASSERT_EQUAL_FATAL(bh_target_nvme_ns_attach(rig.ctrl, NULL, 1), 1);
	CU_ASSERT_EQUAL_FATAL(bh_target_nvme_ns_attach(second, NULL, 1), 1);
	CU_ASSERT_EQUAL_FATAL(bh_target_nvme_ns_attach(second, beside, 2), 2);
}

static uint16_t sanitize(uint32_t cdw10, uint32_t pattern)
{
	return rig_admin(BH_NVME_ADMIN_SANITIZE, 0, cdw10, pattern, NULL);
}

static const struct bh_nvme_sanitize_log *status(void)
{
	CU_ASSERT_EQUAL_FATAL(rig_log_page(BH_NVME_LOG_SANITIZE, 0, 512, 0), 0);
	return rig_data();
}

static unsigned int outcome(void)
{
	return status()->sstat & BH_NVME_SSTAT_OUTCOME_MASK;
}

static bool is_over(void)
{
	uint64_t deadline = bh_now_ns() + 20000000000ull;

	while (subsys->sanitize && bh_now_ns() < deadline)
		bh_reactor_run_once(rig.control);
	return !subsys->sanitize;
}

static bool is_all(const uint8_t *at, size_t len, uint32_t pattern)
{
	return !memcmp(at, &pattern, 4) && !memcmp(at, at + 4, len - 4);
}

static uint32_t sanicap(void)
{
	const struct bh_nvme_id_ctrl *id = rig_data();

	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_IDENTIFY, 0, BH_NVME_CNS_CTRL, 0, NULL), 0);
	return id->sanicap;
}

static void what_is_said(void)
{
	const struct bh_nvme_sanitize_log *log;

	attach();
	CU_ASSERT_EQUAL(sanicap(), BH_NVME_SANICAP_BLOCK_ERASE | BH_NVME_SANICAP_OVERWRITE |
					   1u << BH_NVME_SANICAP_MODIFIES_SHIFT);
	log = status();
	CU_ASSERT_EQUAL(log->sprog, 0xffff);
	CU_ASSERT_EQUAL(log->sstat, BH_NVME_SSTAT_NEVER);
	CU_ASSERT_TRUE(log->overwrite >= log->block_erase);
	CU_ASSERT_NOT_EQUAL(log->block_erase, 0);
	CU_ASSERT_EQUAL(log->crypto_erase, UINT32_MAX);
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_CRYPTO_ERASE, 0), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(sanitize(0, 0), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(sanitize(7, 0), BH_NVME_SC_INVALID_FIELD);
	/* There is no failure to be left. */
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_EXIT_FAILURE, 0), 0);
	CU_ASSERT_EQUAL(outcome(), BH_NVME_SSTAT_NEVER);
}

/* Where nobody would know, after the end of the process, that data were erased in part. */
static void not_where_it_would_be_forgotten(void)
{
	int fd = subsys->state_fd;

	attach();
	subsys->state_fd = -1;
	CU_ASSERT_NOT_EQUAL(sanicap(), 0); /* all of it is memory */
	beside->inline_kind = BH_BLK_INLINE_NONE;
	CU_ASSERT_EQUAL(sanicap(), 0);
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_BLOCK_ERASE, 0), BH_NVME_SC_INVALID_OPCODE);
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_SANITIZE, 0, 512, 0), BH_NVME_SC_INVALID_LOG_PAGE);
	subsys->state_fd = fd;
	CU_ASSERT_NOT_EQUAL(sanicap(), 0);
}

static void blocks_are_erased_everywhere(void)
{
	attach();
	CU_ASSERT_EQUAL(bh_blk_bad_set(beside, 3, 1), 0);
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_BLOCK_ERASE, 0), 0);
	CU_ASSERT_TRUE(is_over());
	CU_ASSERT_EQUAL(rig.pauses, 0);
	CU_ASSERT_EQUAL(status()->sprog, 0xffff);
	CU_ASSERT_EQUAL(status()->sstat, BH_NVME_SSTAT_COMPLETED);
	CU_ASSERT_EQUAL(status()->scdw10, BH_NVME_SANITIZE_BLOCK_ERASE);
	/* What is nobody's, too; what is not the subsystem's stays. */
	CU_ASSERT_TRUE(is_all(pool->inline_base, CAPACITY, 0));
	CU_ASSERT_EQUAL(pool->inline_base[CAPACITY], 0xff);
	CU_ASSERT_TRUE(is_all(subsys->space[1]->blk->md, MIB / 512 * 8, 0));
	CU_ASSERT_TRUE(is_all(beside->inline_base, BESIDE, 0));
	CU_ASSERT_TRUE(is_all(beside->md, BESIDE / 512 * 8, 0));
	CU_ASSERT_FALSE(bh_blk_has_bad(beside));
}

static void overwrites_in_passes(void)
{
	const uint32_t cdw10 = BH_NVME_SANITIZE_OVERWRITE | 8u << BH_NVME_SANITIZE_PASSES_SHIFT |
			       BH_NVME_SANITIZE_NO_DEALLOC;
	const struct bh_nvme_sanitize_log *log;
	uint16_t last = 0;

	attach();
	CU_ASSERT_EQUAL(sanitize(cdw10 | BH_NVME_SANITIZE_INVERT, PATTERN), 0);
	while ((log = status())->sprog != 0xffff) {
		CU_ASSERT_TRUE(log->sprog >= last);
		last = log->sprog;
	}
	CU_ASSERT_TRUE(last > 0x8000);
	CU_ASSERT_TRUE(is_over());
	CU_ASSERT_EQUAL(status()->sstat,
			BH_NVME_SSTAT_COMPLETED | 8u << BH_NVME_SSTAT_PASSES_SHIFT);
	CU_ASSERT_TRUE(is_all(pool->inline_base, CAPACITY, ~PATTERN));
	CU_ASSERT_TRUE(is_all(beside->inline_base, BESIDE, ~PATTERN));
	CU_ASSERT_EQUAL(sanitize(cdw10, PATTERN), 0);
	CU_ASSERT_TRUE(is_over());
	CU_ASSERT_TRUE(is_all(beside->inline_base, BESIDE, PATTERN));
}

static void overwritten_blocks_are_deallocated(void)
{
	attach();
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_OVERWRITE, 0xa5a5a5a5), 0);
	CU_ASSERT_EQUAL(rig.pauses, 3); /* all stand still when the command completes */
	CU_ASSERT_EQUAL(outcome(), BH_NVME_SSTAT_IN_PROGRESS);
	CU_ASSERT_TRUE(is_over());
	CU_ASSERT_EQUAL(status()->sstat,
			BH_NVME_SSTAT_COMPLETED | 16u << BH_NVME_SSTAT_PASSES_SHIFT);
	CU_ASSERT_TRUE(is_all(pool->inline_base, CAPACITY, 0));
}

static void zones_are_empty(void)
{
	struct bh_blk *zoned = ram(4 * MIB, 0, MIB);
	uint64_t lba = MIB / 512;
	uint32_t blocks;

	CU_ASSERT_EQUAL(bh_target_nvme_ns_attach(rig.ctrl, zoned, 3), 3);
	CU_ASSERT_EQUAL(bh_zones_take(zoned->zones, &lba, 8, false), 0);
	CU_ASSERT_EQUAL(bh_zones_manage(zoned->zones, BH_NVME_ZONE_ACTION_FINISH, 0, false), 0);
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_BLOCK_ERASE, 0), 0);
	CU_ASSERT_TRUE(is_over());
	lba = 0;
	CU_ASSERT_FALSE(bh_zones_next_used(zoned->zones, &lba, &blocks));
	bh_blk_put(zoned);
}

static void what_is_refused_meanwhile(void)
{
	struct bh_nvme_cpl cpl = { 0 };
	int result = 0;
	const struct bh_target_subsys_ns_opts o = { .size = sizeof(o),
						    .bytes = MIB,
						    .block_size = 512 };

	attach();
	rig_post_aer();
	CU_ASSERT_EQUAL(
		rig_admin(BH_NVME_ADMIN_DEVICE_SELF_TEST, 1, BH_NVME_SELF_TEST_EXTENDED, 0, NULL),
		0);
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_OVERWRITE, 0), 0); /* 16 passes */
	/* Retry: it comes without DNR. */
	rig_submit_quietly(&(struct bh_nvme_cmd){ .opc = BH_NVME_ADMIN_FORMAT_NVM, .nsid = 1 });
	rig_submit_quietly(&(struct bh_nvme_cmd){ .opc = BH_NVME_ADMIN_DEVICE_SELF_TEST,
						  .nsid = 1,
						  .cdw10 = BH_NVME_SELF_TEST_SHORT });
	rig_submit_quietly(&(struct bh_nvme_cmd){
		.opc = BH_NVME_ADMIN_NS_MANAGEMENT, .nsid = 1, .cdw10 = BH_NVME_NS_MGMT_DELETE });
	rig_submit_quietly(&(struct bh_nvme_cmd){ .opc = BH_NVME_ADMIN_SANITIZE,
						  .cdw10 = BH_NVME_SANITIZE_OVERWRITE });
	rig_ring();
	for (int i = 0; i < 4; i++) {
		CU_ASSERT_TRUE(rig_reap(&cpl));
		CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), BH_NVME_SC_SANITIZE_IN_PROGRESS);
	}
	CU_ASSERT_EQUAL(tn_refusal(second), BH_NVME_SC_SANITIZE_IN_PROGRESS);
	CU_ASSERT_EQUAL(sanicap() & BH_NVME_SANICAP_BLOCK_ERASE, BH_NVME_SANICAP_BLOCK_ERASE);
	/* Nor does the operator add what would not be erased. */
	CU_ASSERT_EQUAL(bh_target_subsys_ns_make(subsys, &o, made, &result), -EBUSY);
	CU_ASSERT_EQUAL(bh_target_nvme_ns_attach(rig.ctrl, NULL, 2), -EBUSY);
	CU_ASSERT_EQUAL(outcome(), BH_NVME_SSTAT_IN_PROGRESS);
	CU_ASSERT_FALSE(rig_reap(&cpl));
	CU_ASSERT_TRUE(is_over());
	rig_pump();
	CU_ASSERT_TRUE(rig_reap(&cpl)); /* the event */
	CU_ASSERT_EQUAL(BH_NVME_GET(cpl.cdw0, AER_TYPE), BH_NVME_AER_TYPE_IO);
	CU_ASSERT_EQUAL(BH_NVME_GET(cpl.cdw0, AER_INFO), BH_NVME_AER_IO_SANITIZE_COMPLETED);
	CU_ASSERT_EQUAL(BH_NVME_GET(cpl.cdw0, AER_LID), BH_NVME_LOG_SANITIZE);
	CU_ASSERT_EQUAL(tn_refusal(rig.ctrl) | tn_refusal(second), 0);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_FORMAT_NVM, 1, 0, 0, NULL), 0);
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_SELF_TEST, 0, 564, 0), 0);
	CU_ASSERT_EQUAL(((const struct bh_nvme_self_test_log *)rig_data())->result[0].status & 0xf,
			BH_NVME_SELF_TEST_ABORTED_SANITIZE);
}

static void set(void *arg)
{
	*(bool *)arg = true;
}

static void what_stands_in_the_way(void)
{
	struct bh_nvme_cpl cpl;
	bool is_mine = false;

	attach();
	/* Somebody formats one of the stores. */
	CU_ASSERT_EQUAL(bh_blk_claim(beside, set, &is_mine), 0);
	rig_pump();
	CU_ASSERT_TRUE(is_mine);
	rig_submit_quietly(&(struct bh_nvme_cmd){ .opc = BH_NVME_ADMIN_SANITIZE,
						  .cdw10 = BH_NVME_SANITIZE_BLOCK_ERASE });
	rig_ring();
	CU_ASSERT_TRUE(rig_reap(&cpl));
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), BH_NVME_SC_FORMAT_IN_PROGRESS);
	CU_ASSERT_EQUAL(rig.pauses, 1);
	CU_ASSERT_EQUAL(tn_refusal(second), 0);
	CU_ASSERT_EQUAL(pool->inline_base[0], 0xff);
	bh_blk_release(beside, NULL, NULL);
	rig_pump();
	beside->info.caps &= ~BH_BLK_CAP_WRITE;
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_BLOCK_ERASE, 0), BH_NVME_SC_NS_WRITE_PROTECTED);
	beside->info.caps |= BH_BLK_CAP_WRITE;
	pool->info.caps &= ~BH_BLK_CAP_WRITE;
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_BLOCK_ERASE, 0), BH_NVME_SC_NS_WRITE_PROTECTED);
	pool->info.caps |= BH_BLK_CAP_WRITE;
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_BLOCK_ERASE, 0), 0);
	CU_ASSERT_TRUE(is_over());
}

/* ---- failures ---- */

static const struct bh_blk_ops *sound;
static struct bh_blk_ops broken;

static int cannot(struct bh_blk_chan *chan, const struct bh_blk_io *io)
{
	return io->op == BH_BLK_FLUSH || io->lba < 100 ? sound->submit(chan, io) : -EIO;
}

static void break_store(void)
{
	sound = beside->ops;
	broken = *sound;
	broken.submit = cannot;
	beside->ops = &broken;
}

static void mend_store(void)
{
	beside->ops = sound;
}

static void fail(uint32_t flags)
{
	break_store();
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_BLOCK_ERASE | flags, 0), 0);
	CU_ASSERT_TRUE(is_over());
	CU_ASSERT_EQUAL(outcome(), BH_NVME_SSTAT_FAILED);
	CU_ASSERT_EQUAL(tn_refusal(rig.ctrl), BH_NVME_SC_SANITIZE_FAILED);
	CU_ASSERT_EQUAL(rig.pauses, 0); /* the stores may be others', too */
	mend_store();
}

static uint16_t refused_format(void)
{
	struct bh_nvme_cpl cpl = { 0 };

	rig_submit_quietly(&(struct bh_nvme_cmd){ .opc = BH_NVME_ADMIN_FORMAT_NVM, .nsid = 1 });
	rig_ring();
	CU_ASSERT_TRUE(rig_reap(&cpl));
	return bh_nvme_cpl_status(&cpl);
}

static void restricted_failure_ends_by_success_only(void)
{
	attach();
	fail(0);
	CU_ASSERT_EQUAL(refused_format(), BH_NVME_SC_SANITIZE_FAILED);
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_EXIT_FAILURE, 0), BH_NVME_SC_SANITIZE_FAILED);
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_BLOCK_ERASE | BH_NVME_SANITIZE_AUSE, 0),
			BH_NVME_SC_SANITIZE_FAILED);
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_BLOCK_ERASE, 0), 0);
	CU_ASSERT_TRUE(is_over());
	CU_ASSERT_EQUAL(outcome(), BH_NVME_SSTAT_COMPLETED);
	CU_ASSERT_EQUAL(refused_format(), 0);
}

static void unrestricted_failure_may_be_waived(void)
{
	attach();
	fail(BH_NVME_SANITIZE_AUSE);
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_EXIT_FAILURE, 0), 0);
	CU_ASSERT_EQUAL(outcome(), BH_NVME_SSTAT_FAILED); /* it has, all the same */
	CU_ASSERT_EQUAL(tn_refusal(second), 0);
	CU_ASSERT_EQUAL(refused_format(), 0);
	CU_ASSERT_EQUAL(pool->inline_base[2 * MIB], 0); /* as far as it got */
}

/* ---- what it outlives, and what not ---- */

static void resets_do_not_end_it(void)
{
	attach();
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_OVERWRITE, 0), 0);
	rig_disable();
	rig_pump();
	rig_enable(16, 16);
	CU_ASSERT_EQUAL(outcome(), BH_NVME_SSTAT_IN_PROGRESS);
	CU_ASSERT_TRUE(is_over());
	CU_ASSERT_EQUAL(outcome(), BH_NVME_SSTAT_COMPLETED);
}

static void controllers_may_go(void)
{
	attach();
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_OVERWRITE, 0), 0);
	CU_ASSERT_EQUAL(bh_target_nvme_ns_detach(second, 1, NULL, NULL), 0);
	rig_pump();
	CU_ASSERT_PTR_NULL(second->ns[1]);
	rig_free_second(second);
	second = NULL;
	CU_ASSERT_EQUAL(outcome(), BH_NVME_SSTAT_IN_PROGRESS);
	CU_ASSERT_TRUE(is_over());
	CU_ASSERT_EQUAL(outcome(), BH_NVME_SSTAT_COMPLETED);
}

/* Its beginning and its end are in the Persistent Event log, the end first. */
static void events_are_kept(uint16_t sstat)
{
	const uint8_t *at = rig_data(), *end = at + 8192, *start = NULL;
	struct bh_nvme_pel_sanitize_end over = { 0 };
	struct bh_nvme_pel_event event = { 0 };

	CU_ASSERT_EQUAL_FATAL(rig_log_page(BH_NVME_LOG_PERSISTENT_EVENT,
					   BH_NVME_PEL_ESTABLISH << BH_NVME_GLP_LSP_SHIFT, 8192, 0),
			      0);
	for (at += sizeof(struct bh_nvme_pel); at < end && !start; at += sizeof(event) + event.el) {
		memcpy(&event, at, sizeof(event));
		if (event.type == BH_NVME_PEL_SANITIZE_END)
			memcpy(&over, at + sizeof(event), sizeof(over));
		else if (event.type == BH_NVME_PEL_SANITIZE_START)
			start = at;
	}
	CU_ASSERT_PTR_NOT_NULL(start);
	CU_ASSERT_EQUAL(over.sstat, sstat);
}

/* The power goes: what has not been finished has failed. */
static void interrupted_is_failed(void)
{
	attach();
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_OVERWRITE, 0), 0);
	ctrls_close();
	CU_ASSERT_EQUAL(bh_target_subsys_destroy(subsys), 0);
	subsys = NULL;
	CU_ASSERT_EQUAL_FATAL(subsys_open(), 0);
	CU_ASSERT_EQUAL_FATAL(ctrls_open(), 0);
	CU_ASSERT_EQUAL(outcome(), BH_NVME_SSTAT_FAILED);
	CU_ASSERT_EQUAL(status()->scdw10, BH_NVME_SANITIZE_OVERWRITE);
	CU_ASSERT_EQUAL(bh_target_nvme_ns_attach(rig.ctrl, NULL, 1), 1); /* which refuses I/O */
	CU_ASSERT_EQUAL(refused_format(), BH_NVME_SC_SANITIZE_FAILED);
	CU_ASSERT_EQUAL(sanitize(BH_NVME_SANITIZE_BLOCK_ERASE, 0), 0);
	CU_ASSERT_TRUE(is_over());
	CU_ASSERT_EQUAL(refused_format(), 0);
}

static void success_is_remembered(void)
{
	attach();
	CU_ASSERT_EQUAL(
		sanitize(BH_NVME_SANITIZE_OVERWRITE | 1u << BH_NVME_SANITIZE_PASSES_SHIFT, 0), 0);
	CU_ASSERT_TRUE(is_over());
	ctrls_close();
	CU_ASSERT_EQUAL(bh_target_subsys_destroy(subsys), 0);
	subsys = NULL;
	CU_ASSERT_EQUAL_FATAL(subsys_open(), 0);
	CU_ASSERT_EQUAL_FATAL(ctrls_open(), 0);
	CU_ASSERT_EQUAL(status()->sstat,
			BH_NVME_SSTAT_COMPLETED | 1u << BH_NVME_SSTAT_PASSES_SHIFT);
	events_are_kept(BH_NVME_SSTAT_COMPLETED | 1u << BH_NVME_SSTAT_PASSES_SHIFT);
	CU_ASSERT_EQUAL(tn_refusal(rig.ctrl), 0);
}

BH_SUITE_FIXTURE("target_nvme_sanitize", setup, teardown, { "what_is_said", what_is_said },
		 { "not_where_it_would_be_forgotten", not_where_it_would_be_forgotten },
		 { "blocks_are_erased_everywhere", blocks_are_erased_everywhere },
		 { "overwrites_in_passes", overwrites_in_passes },
		 { "overwritten_blocks_are_deallocated", overwritten_blocks_are_deallocated },
		 { "zones_are_empty", zones_are_empty },
		 { "what_is_refused_meanwhile", what_is_refused_meanwhile },
		 { "what_stands_in_the_way", what_stands_in_the_way },
		 { "restricted_failure_ends_by_success_only",
		   restricted_failure_ends_by_success_only },
		 { "unrestricted_failure_may_be_waived", unrestricted_failure_may_be_waived },
		 { "resets_do_not_end_it", resets_do_not_end_it },
		 { "controllers_may_go", controllers_may_go },
		 { "interrupted_is_failed", interrupted_is_failed },
		 { "success_is_remembered", success_is_remembered }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that are pulled out without a word: the driver finds out by itself, from registers that
 * read all ones or zeros, and from silence; everything that is out completes, nothing waits long.
 */
#include <errno.h>
#include <string.h>

#include "rig.h"

#define OUT 20u
#define RESET_READS 4u /* CC, CSTS; CSTS until it is off; CSTS until it is ready */

enum { ONES = 1, ZEROS = 2 };

static void start(struct rig *r, uint64_t io_timeout_ns)
{
	struct bh_nvme_opts nopts;

	rig_open(r, NULL);
	bh_nvme_opts_init(&nopts);
	nopts.io_timeout_ns = io_timeout_ns;
	CU_ASSERT_EQUAL_FATAL(rig_attach(r, &nopts), 0);
	CU_ASSERT_EQUAL_FATAL(rig_queue(r, 31, false), 0);
}

/* OUT commands that the controller has and keeps. */
static void keep_busy(struct rig *r, struct tally *t)
{
	unsigned int i;

	fake_set(&r->fake->hold, 1);
	for (i = 0; i < OUT; i++)
		CU_ASSERT_EQUAL(bh_nvme_read(r->q, r->ns, r->buf, 0, 8, 0, tally_done, t), 0);
	bh_nvme_queue_flush(r->q);
	CU_ASSERT_TRUE(rig_wait_flag(r, &r->fake->ios, OUT));
}

/* Everything came back with an error, and nothing more is taken. */
static void is_over(struct rig *r, struct tally *t)
{
	CU_ASSERT_TRUE(rig_wait(r, t, OUT));
	CU_ASSERT_EQUAL(t->errors, OUT);
	CU_ASSERT_EQUAL(t->status, BH_NVME_SC_INTERNAL_PATH_ERROR);
	CU_ASSERT_TRUE(bh_device_gone(&r->fake->dev));
	CU_ASSERT_EQUAL(bh_nvme_queue_poll(r->q, 0), -ENODEV);
	CU_ASSERT_EQUAL(bh_nvme_poll(r->nvme), -ENODEV);
	CU_ASSERT_EQUAL(bh_nvme_read(r->q, r->ns, r->buf, 0, 8, 0, tally_done, t), -ENODEV);
	CU_ASSERT_EQUAL(r->events[BH_NVME_EVENT_FAILED], 1);
}

static void reset_finds_out(void)
{
	struct rig r;
	uint32_t kind;

	for (kind = ONES; kind <= ZEROS; kind++) {
		struct tally t = { 0 };

		start(&r, 0);
		keep_busy(&r, &t);
		fake_pull(r.fake, kind);
		CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), -ENODEV);
		is_over(&r, &t);
		rig_close(&r);
	}
}

/* In the middle of one: each register read of it in turn is the first that is not answered. */
static void reset_finds_out_at_any_step(void)
{
	uint32_t at, kind;

	for (kind = ONES; kind <= ZEROS; kind++) {
		for (at = 0; at < RESET_READS; at++) {
			struct tally t = { 0 };
			struct rig r;

			start(&r, 0);
			keep_busy(&r, &t);
			fake_set(&r.fake->reads, 0);
			fake_set(&r.fake->nonsense_at, at);
			fake_set(&r.fake->absent_at, at + 1);
			fake_set(&r.fake->nonsense, kind);
			CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), -ENODEV);
			is_over(&r, &t);
			rig_close(&r);
		}
	}
}

/* Nothing reads registers: the first command that is too old is what tells. No Abort is sent. */
static void silence_is_looked_into(void)
{
	struct tally t = { 0 };
	struct rig r;

	start(&r, 20000000);
	keep_busy(&r, &t);
	fake_pull(r.fake, ZEROS);
	is_over(&r, &t);
	CU_ASSERT_EQUAL(fake_get(&r.fake->aborts), 0);
	rig_close(&r);
}

/* With the time limit of admin commands at 30 s, this test would be over its own long before. */
static void admin_commands_do_not_wait_for_nobody(void)
{
	struct tally t = { 0 };
	uint8_t data[4096];
	struct rig r;

	start(&r, 0);
	keep_busy(&r, &t);
	fake_pull(r.fake, ZEROS);
	CU_ASSERT_EQUAL(bh_nvme_identify(r.nvme, BH_NVME_CNS_CTRL, 0, 0, 0, data), -ENODEV);
	is_over(&r, &t);
	rig_close(&r);
}

static void queues_and_controller_can_be_let_go(void)
{
	struct tally t = { 0 };
	struct rig r;

	start(&r, 0);
	keep_busy(&r, &t);
	fake_pull(r.fake, ZEROS);
	bh_nvme_queue_destroy(r.q);
	r.q = NULL;
	CU_ASSERT(t.done == OUT && t.errors == OUT);
	CU_ASSERT_TRUE(bh_device_gone(&r.fake->dev));
	rig_close(&r);
	/* The same where shutting down is what meets it. */
	start(&r, 0);
	bh_nvme_queue_destroy(r.q);
	r.q = NULL;
	fake_pull(r.fake, ZEROS);
	bh_nvme_detach(r.nvme);
	r.nvme = NULL;
	CU_ASSERT_TRUE(bh_device_gone(&r.fake->dev));
	rig_close(&r);
}

static void attach_finds_out(void)
{
	struct rig r;
	uint32_t kind;

	for (kind = ONES; kind <= ZEROS; kind++) {
		rig_open(&r, NULL);
		fake_pull(r.fake, kind);
		CU_ASSERT_EQUAL(rig_attach(&r, NULL), -ENODEV);
		CU_ASSERT_TRUE(bh_device_gone(&r.fake->dev));
		rig_close(&r);
	}
}

/* A controller that is there is believed, and asked seldom. */
static void honest_zeros_are_believed(void)
{
	struct rig r;

	start(&r, 0);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	CU_ASSERT_FALSE(bh_device_gone(&r.fake->dev));
	CU_ASSERT(fake_get(&r.fake->checks) > 0 && fake_get(&r.fake->checks) < 1000);
	fake_set(&r.fake->never_ready, 1);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), -ETIMEDOUT);
	CU_ASSERT_FALSE(bh_device_gone(&r.fake->dev));
	rig_close(&r);
}

BH_SUITE("nvme_removal", { "reset_finds_out", reset_finds_out },
	 { "reset_finds_out_at_any_step", reset_finds_out_at_any_step },
	 { "silence_is_looked_into", silence_is_looked_into },
	 { "admin_commands_do_not_wait_for_nobody", admin_commands_do_not_wait_for_nobody },
	 { "queues_and_controller_can_be_let_go", queues_and_controller_can_be_let_go },
	 { "attach_finds_out", attach_finds_out },
	 { "honest_zeros_are_believed", honest_zeros_are_believed }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/* Device Self-test: what is read, what is found, what ends it. */
#include "target_nvme/control_rig.h"

#define RESULT(log, i) ((log)->result[i].status & 0xf)

static struct {
	const struct bh_blk_ops *real;
	struct bh_blk_ops ops;
	uint64_t read;	  /* blocks */
	uint64_t bad_lba; /* UINT64_MAX: none */
	bool is_slow;	  /* has no room, for ever */
	bool is_holding;  /* what it gets */
	unsigned int held;
	struct {
		struct bh_blk_chan *chan;
		struct bh_blk_io io;
		void *base;
	} hold[2];
} store;

static int hold(struct bh_blk_chan *chan, const struct bh_blk_io *io)
{
	if (store.held == 2)
		return -EAGAIN;
	store.hold[store.held].chan = chan;
	store.hold[store.held].io = *io;
	store.hold[store.held++].base = io->iov->iov_base;
	return BH_BLK_QUEUED;
}

static int submit(struct bh_blk_chan *chan, const struct bh_blk_io *io)
{
	if (store.is_slow)
		return -EAGAIN;
	if (store.is_holding)
		return hold(chan, io);
	CU_ASSERT_EQUAL(io->op, BH_BLK_READ);
	CU_ASSERT_EQUAL(bh_blk_check(chan->blk, io), 0);
	store.read += io->blocks;
	if (io->lba <= store.bad_lba && store.bad_lba - io->lba < io->blocks)
		return -EIO;
	return store.real->submit(chan, io);
}

static void attach(uint32_t nsid, uint64_t bytes, uint32_t block_size)
{
	struct bh_blk *blk = rig_store(bytes, block_size);

	store.real = blk->ops;
	store.ops = *blk->ops;
	store.ops.submit = submit;
	blk->ops = &store.ops;
	CU_ASSERT_EQUAL(bh_target_nvme_ns_attach(rig.ctrl, blk, nsid), (int)nsid);
	bh_blk_put(blk);
}

static int setup(void)
{
	if (rig_setup())
		return -1;
	rig_enable(16, 16);
	memset(&store, 0, sizeof(store));
	store.bad_lba = UINT64_MAX;
	return 0;
}

static uint16_t test(uint8_t code, uint32_t nsid)
{
	return rig_admin(BH_NVME_ADMIN_DEVICE_SELF_TEST, nsid, code, 0, NULL);
}

static const struct bh_nvme_self_test_log *results(void)
{
	CU_ASSERT_EQUAL(
		rig_log_page(BH_NVME_LOG_SELF_TEST, 0, sizeof(struct bh_nvme_self_test_log), 0), 0);
	return rig_data();
}

/* The log when the test is over. */
static const struct bh_nvme_self_test_log *over(void)
{
	uint64_t end = bh_now_ns() + 5000000000ull;
	const struct bh_nvme_self_test_log *log = results();

	while (log->current && bh_now_ns() < end)
		log = results();
	CU_ASSERT_EQUAL(log->current, 0);
	return log;
}

static void none_at_first(void)
{
	const struct bh_nvme_self_test_log *log = results();
	unsigned int i;

	CU_ASSERT_EQUAL(log->current, 0);
	for (i = 0; i < BH_NVME_SELF_TEST_RESULTS; i++)
		CU_ASSERT_EQUAL(RESULT(log, i), BH_NVME_SELF_TEST_UNUSED);
}

static void extended_reads_every_block(void)
{
	const struct bh_nvme_self_test_log *log;

	attach(1, 10u << 20, 512);
	attach(7, 5u << 20, 512);
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_EXTENDED, BH_NVME_NSID_ALL), 0);
	CU_ASSERT_EQUAL(results()->current, BH_NVME_SELF_TEST_EXTENDED);
	log = over();
	CU_ASSERT_EQUAL(log->result[0].status, BH_NVME_SELF_TEST_EXTENDED << 4);
	CU_ASSERT_EQUAL(store.read, 15u << 11);
	store.read = 0;
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_EXTENDED, 7), 0);
	over();
	CU_ASSERT_EQUAL(store.read, 5u << 11);
	store.read = 0;
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_EXTENDED, 0), 0); /* the controller alone */
	log = over();
	CU_ASSERT_EQUAL(store.read, 0);
	CU_ASSERT_EQUAL(RESULT(log, 0), BH_NVME_SELF_TEST_PASSED);
	CU_ASSERT_EQUAL(RESULT(log, 2), BH_NVME_SELF_TEST_PASSED);
	CU_ASSERT_EQUAL(RESULT(log, 3), BH_NVME_SELF_TEST_UNUSED);
}

static void short_reads_some(void)
{
	attach(1, 1ull << 40, 4096);
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_SHORT, 1), 0);
	CU_ASSERT_EQUAL(over()->result[0].status, BH_NVME_SELF_TEST_SHORT << 4);
	CU_ASSERT_EQUAL(store.read, 17 * 32);
	store.bad_lba = (1ull << 28) - 1; /* the last block */
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_SHORT, 1), 0);
	CU_ASSERT_EQUAL(over()->result[0].status,
			BH_NVME_SELF_TEST_SHORT << 4 | BH_NVME_SELF_TEST_FAILED);
}

static void what_is_bad_is_named(void)
{
	const struct bh_nvme_self_test_result *r;

	attach(3, 64u << 20, 512);
	store.bad_lba = 70000;
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_EXTENDED, 3), 0);
	r = over()->result;
	CU_ASSERT_EQUAL(r->status, BH_NVME_SELF_TEST_EXTENDED << 4 | BH_NVME_SELF_TEST_FAILED);
	CU_ASSERT_EQUAL(r->segment, 2);
	CU_ASSERT_EQUAL(r->valid, 0xf);
	CU_ASSERT_EQUAL(r->nsid, 3);
	CU_ASSERT_TRUE(r->flba[0] <= 70000 && r->flba[0] + 256 > 70000);
	CU_ASSERT_EQUAL(r->sct << 8 | r->sc, BH_NVME_SC_UNRECOVERED_READ_ERROR);
}

static void refusals(void)
{
	attach(1, 1 << 20, 512);
	CU_ASSERT_EQUAL(test(0, 1), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(test(3, 1), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(test(0xe, 1), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_SHORT, 2), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_SHORT, 257), BH_NVME_SC_INVALID_NS);
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_ABORT, 0), 0); /* of nothing */
	CU_ASSERT_EQUAL(RESULT(results(), 0), BH_NVME_SELF_TEST_UNUSED);
	store.is_slow = true;
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_SHORT, 1), 0);
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_SHORT, 1), BH_NVME_SC_SELF_TEST_IN_PROGRESS);
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_EXTENDED, 0), BH_NVME_SC_SELF_TEST_IN_PROGRESS);
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_ABORT, 0), 0);
	CU_ASSERT_EQUAL(over()->result[0].status,
			BH_NVME_SELF_TEST_SHORT << 4 | BH_NVME_SELF_TEST_ABORTED);
}

/* A reset ends the short one, and the extended goes on behind it. */
static void resets(void)
{
	attach(1, 1 << 20, 512);
	store.is_slow = true;
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_SHORT, 1), 0);
	rig_disable();
	rig_enable(16, 16);
	CU_ASSERT_EQUAL(over()->result[0].status,
			BH_NVME_SELF_TEST_SHORT << 4 | BH_NVME_SELF_TEST_ABORTED_RESET);
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_EXTENDED, 1), 0);
	rig_disable();
	rig_enable(16, 16);
	CU_ASSERT_EQUAL(results()->current, BH_NVME_SELF_TEST_EXTENDED);
	store.is_slow = false;
	CU_ASSERT_EQUAL(over()->result[0].status, BH_NVME_SELF_TEST_EXTENDED << 4);
	CU_ASSERT_EQUAL(store.read, 2048);
}

static void a_namespace_goes(void)
{
	unsigned int i;

	attach(1, 1 << 20, 512);
	store.is_slow = true;
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_EXTENDED, 1), 0);
	for (i = 0; i < 10; i++) { /* into the middle of it */
		usleep(1000);
		rig_pump();
	}
	CU_ASSERT_EQUAL(bh_target_nvme_ns_detach(rig.ctrl, 1, NULL, NULL), 0);
	CU_ASSERT_EQUAL(over()->result[0].status,
			BH_NVME_SELF_TEST_EXTENDED << 4 | BH_NVME_SELF_TEST_ABORTED_NS_REMOVED);
}

static int no_channel(struct bh_blk *blk, struct bh_blk_chan *chan)
{
	(void)blk, (void)chan;
	return -EMFILE;
}

/* That is no fault of the medium. */
static void a_store_that_cannot_be_opened(void)
{
	attach(1, 1 << 20, 512);
	store.ops.chan_init = no_channel;
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_EXTENDED, 1), 0);
	CU_ASSERT_EQUAL(over()->result[0].status,
			BH_NVME_SELF_TEST_EXTENDED << 4 | BH_NVME_SELF_TEST_ABORTED_UNKNOWN);
}

static void as_many_results_as_there_is_room_for(void)
{
	unsigned int i;

	for (i = 0; i < 30; i++) {
		CU_ASSERT_EQUAL(
			test(i % 2 ? BH_NVME_SELF_TEST_SHORT : BH_NVME_SELF_TEST_EXTENDED, 0), 0);
		over();
	}
	for (i = 0; i < BH_NVME_SELF_TEST_RESULTS; i++)
		CU_ASSERT_EQUAL(results()->result[i].status >> 4,
				i % 2 ? BH_NVME_SELF_TEST_EXTENDED : BH_NVME_SELF_TEST_SHORT);
}

static void begin_held(unsigned int held)
{
	uint64_t end = bh_now_ns() + 5000000000ull;

	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_SHORT, 1), 0);
	while (store.held < held && bh_now_ns() < end)
		rig_pump();
	CU_ASSERT_EQUAL_FATAL(store.held, held);
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_ABORT, 1), 0);
}

/* What a store has of a test that was ended stays what it was, whatever the next one does. */
static void a_store_is_late(void)
{
	struct bh_blk *blk = rig_store(1 << 20, 512);
	unsigned int i;

	store.real = blk->ops;
	store.ops = *blk->ops;
	store.ops.submit = submit;
	blk->ops = &store.ops;
	blk->info.caps &= ~BH_BLK_CAP_SYNC;
	CU_ASSERT_EQUAL(bh_target_nvme_ns_attach(rig.ctrl, blk, 1), 1);
	store.is_holding = true;
	begin_held(1);
	begin_held(2);
	for (i = 0; i < 2; i++) {
		CU_ASSERT_PTR_EQUAL(store.hold[i].io.iov->iov_base, store.hold[i].base);
		memset(store.hold[i].base, 1, store.hold[i].io.iov->iov_len);
		bh_blk_chan_complete(store.hold[i].chan, store.hold[i].io.cookie, 0);
	}
	bh_blk_put(blk);
}

/* The controller goes in the middle of a test. */
static void destroyed_while_testing(void)
{
	attach(1, 1 << 20, 512);
	store.is_slow = true;
	CU_ASSERT_EQUAL(test(BH_NVME_SELF_TEST_EXTENDED, 1), 0);
}

BH_SUITE_FIXTURE("target_nvme_selftest", setup, rig_teardown, { "none_at_first", none_at_first },
		 { "extended_reads_every_block", extended_reads_every_block },
		 { "short_reads_some", short_reads_some },
		 { "what_is_bad_is_named", what_is_bad_is_named }, { "refusals", refusals },
		 { "resets", resets }, { "a_namespace_goes", a_namespace_goes },
		 { "a_store_that_cannot_be_opened", a_store_that_cannot_be_opened },
		 { "as_many_results_as_there_is_room_for", as_many_results_as_there_is_room_for },
		 { "a_store_is_late", a_store_is_late },
		 { "destroyed_while_testing", destroyed_while_testing }, )

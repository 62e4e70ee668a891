/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-perf's lanes that go request by request, on a queue made of an array and a disk made of
 * memory, which loses, misplaces and damages what it is given, or stops answering.
 */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "perf_io.h"
#include "perf_verify.h"

#define BLOCKS 256
#define BYTES 512
#define DEPTH 8
#define MS 1000000ull

struct bh_nvme_ns {
	uint8_t disk[BLOCKS][BYTES];
};

struct bh_nvme_queue {
	struct bh_nvme_rw out[DEPTH];
	unsigned int num_out;
	uint64_t writes, reads;
	/* every so many: */
	unsigned int lose, misplace, damage, untouched, fail;
	bool stalls, refuses;
	bool overlap; /* two requests were out for one place, one of them a write */
};

static struct bh_nvme_ns ns;
static struct bh_nvme_queue q;
static struct perf perf;
static struct perf_options opts;
static struct perf_lane lane;
static struct perf_worker worker;

/* ---- the device ---- */

static bool turn(unsigned int every, uint64_t count)
{
	return every && count % every == 0;
}

static bool meet(const struct bh_nvme_rw *a, const struct bh_nvme_rw *b)
{
	return (a->flags | b->flags) & BH_NVME_RW_WRITE && a->lba < b->lba + b->blocks &&
	       b->lba < a->lba + a->blocks;
}

int bh_nvme_rw_burst(struct bh_nvme_queue *queue, struct bh_nvme_ns *where,
		     const struct bh_nvme_rw *io, unsigned int n, bh_nvme_done done)
{
	(void)where;
	(void)done;
	if (queue->refuses)
		return -EAGAIN;
	for (unsigned int i = 0; i < n; i++) {
		CU_ASSERT_TRUE_FATAL(queue->num_out < DEPTH && io[i].lba + io[i].blocks <= BLOCKS);
		for (unsigned int j = 0; j < queue->num_out; j++)
			queue->overlap |= meet(&io[i], &queue->out[j]);
		queue->out[queue->num_out++] = io[i];
	}
	return (int)n;
}

static uint16_t carry_out(const struct bh_nvme_rw *io)
{
	uint64_t lba = io->lba;

	if (!(io->flags & BH_NVME_RW_WRITE)) {
		q.reads++;
		if (turn(q.fail, q.reads))
			return BH_NVME_SC_INTERNAL_PATH_ERROR;
		if (!turn(q.untouched, q.reads))
			memcpy(io->buf, ns.disk[lba], (size_t)io->blocks * BYTES);
		return 0;
	}
	q.writes++;
	if (turn(q.misplace, q.writes))
		lba = lba ? lba - 1 : 1;
	if (!turn(q.lose, q.writes))
		memcpy(ns.disk[lba], io->buf, (size_t)io->blocks * BYTES);
	if (turn(q.damage, q.writes))
		ns.disk[lba][300] ^= 4;
	return 0;
}

/* The last one out is the first one done. */
int bh_nvme_queue_reap(struct bh_nvme_queue *queue, struct bh_nvme_result *out, unsigned int n)
{
	unsigned int got = 0;

	while (got < n && queue->num_out > 0 && !queue->stalls) {
		const struct bh_nvme_rw *io = &queue->out[--queue->num_out];

		out[got++] = (struct bh_nvme_result){ .arg = io->arg, .status = carry_out(io) };
	}
	return (int)got;
}

void bh_nvme_queue_flush(struct bh_nvme_queue *queue)
{
	(void)queue;
}

uint64_t bh_nvme_queue_ticks(const struct bh_nvme_queue *queue)
{
	(void)queue;
	return bh_ticks();
}

uint32_t bh_nvme_ns_id(const struct bh_nvme_ns *where)
{
	(void)where;
	return 1;
}

uint64_t bh_nvme_ns_blocks(const struct bh_nvme_ns *where)
{
	(void)where;
	return BLOCKS;
}

int perf_submit_options(struct perf_lane *l, const struct bh_nvme_rw *rw)
{
	(void)l;
	(void)rw;
	return -EOPNOTSUPP;
}

int app_fail(const struct app *app, int code, const char *fmt, ...)
{
	(void)app;
	(void)fmt;
	return code;
}

/* ---- a lane ---- */

static int setup(void)
{
	memset(&ns, 0, sizeof(ns));
	memset(&q, 0, sizeof(q));
	memset(&lane, 0, sizeof(lane));
	memset(&perf, 0, sizeof(perf));
	opts = (struct perf_options){
		.depth = DEPTH,
		.num_loads = 1,
		.load = { { "randwrite", true, 0 } },
		.size = { { BYTES, 1 } },
		.num_sizes = 1,
		.bytes = BYTES,
		.grain = BYTES,
		.verify = true,
		.latency = PERF_LATENCY_EXACT,
	};
	perf.opts = &opts;
	perf.run = 77;
	bh_clock_init(&perf.clock);
	return 0;
}

static void open_lane(void)
{
	lane.q = &q;
	lane.ns = &ns;
	lane.worker = &worker;
	lane.started = calloc(DEPTH, sizeof(*lane.started));
	lane.data = calloc(DEPTH, 2 * BYTES);
	CU_ASSERT_TRUE_FATAL(lane.started && lane.data);
	lane.stride = 2 * BYTES;
	lane.data_bytes = lane.block_bytes = BYTES;
	lane.blocks = opts.bytes / BYTES;
	lane.total = BLOCKS;
	lane.num_extents = 1;
	lane.read_below = (uint64_t)(((unsigned __int128)opts.load[0].read_percent << 63) / 100);
	lane.aim.random = 1;
	if (opts.verify)
		CU_ASSERT_EQUAL_FATAL(perf_verify_divide(&perf, &lane, 0, 1), 0);
	lane.slots = lane.total / lane.blocks;
	bh_histogram_init(&lane.latency);
	CU_ASSERT_EQUAL_FATAL(perf_single_open(&perf, &lane), 0);
}

static int teardown(void)
{
	perf_single_close(&lane);
	free(lane.started);
	free(lane.data);
	return 0;
}

/* So many passes, then what is out. */
static void run(unsigned int passes)
{
	perf_start(&lane, &perf);
	for (unsigned int i = 0; i < passes; i++)
		perf_step(&lane, &perf, true);
	worker.up_ticks = bh_ticks();
	while (lane.in_flight > 0)
		perf_step(&lane, &perf, false);
	lane.kind->end(&lane, &perf);
	CU_ASSERT_FALSE(q.overlap);
	CU_ASSERT_EQUAL(lane.ios, q.reads + q.writes);
}

static void expect_difference(const char *why)
{
	CU_ASSERT_TRUE_FATAL(lane.verify->differing > 0);
	CU_ASSERT_TRUE(lane.verify->differing < lane.verify->verified);
	CU_ASSERT_PTR_NOT_NULL(strstr(lane.verify->first.why, why));
}

/* ---- verifying ---- */

static void every_write_is_read_back_and_right(void)
{
	open_lane();
	run(1000);
	CU_ASSERT_TRUE(q.writes > 3000);
	CU_ASSERT_EQUAL(q.reads, q.writes);
	CU_ASSERT_EQUAL(lane.verify->verified, q.writes);
	CU_ASSERT_EQUAL(lane.verify->differing, 0);
	CU_ASSERT_EQUAL(lane.errors, 0);
}

static void few_places_are_shared_out(void)
{
	opts.bytes = 2 * BYTES;
	opts.load[0].read_percent = 50;
	open_lane();
	lane.slots = 3; /* fewer than are in flight */
	lane.total = 6;
	run(1000);
	CU_ASSERT_TRUE(q.writes > 500 && q.reads > q.writes);
	CU_ASSERT_EQUAL(lane.verify->differing, 0);
}

static void lost_writes_are_found(void)
{
	q.lose = 100;
	open_lane();
	run(1000);
	CU_ASSERT_EQUAL(lane.verify->differing, q.writes / 100);
	expect_difference("");
}

/* All places have been written before: what a lost write leaves is an older one. */
static void a_stale_block_is_called_so(void)
{
	open_lane();
	perf_start(&lane, &perf);
	for (unsigned int i = 0; i < 3000; i++)
		perf_step(&lane, &perf, true);
	q.lose = 50;
	run(100);
	expect_difference("was the last");
}

static void misplaced_writes_are_found(void)
{
	q.misplace = 100;
	open_lane();
	run(1000);
	expect_difference("");
}

static void damage_is_found_where_it_is(void)
{
	q.damage = 100;
	open_lane();
	run(1000);
	expect_difference("do not follow");
	CU_ASSERT_EQUAL(lane.verify->first.byte, 300);
	CU_ASSERT_EQUAL(lane.verify->first.found ^ lane.verify->first.expected, 4);
}

/* The buffer still had what was written if it were not overwritten. */
static void a_read_that_transfers_nothing_is_found(void)
{
	q.untouched = 100;
	open_lane();
	run(1000);
	expect_difference("nothing into the buffer");
}

static void what_a_failed_write_left_is_not_judged(void)
{
	q.fail = 10; /* of the reads */
	opts.load[0].read_percent = 50;
	open_lane();
	run(1000);
	CU_ASSERT_EQUAL(lane.errors, q.reads / 10);
	CU_ASSERT_EQUAL(lane.verify->differing, 0);
	CU_ASSERT_TRUE(lane.verify->verified > 0);
}

/* By itself: what an earlier run wrote, and what nobody wrote. */
static void reads_alone_judge_by_the_blocks_own_marks(void)
{
	struct perf_stamp stamp = { .nsid = 1, .generation = 5, .run = 1 };

	for (stamp.lba = 0; stamp.lba < BLOCKS; stamp.lba++)
		perf_pattern_write(ns.disk[stamp.lba], BYTES, &stamp);
	memset(ns.disk[9], 0, BYTES);
	opts.load[0] = (struct perf_load){ "read", false, 100 };
	open_lane();
	lane.place = PERF_SEQUENTIAL;
	run(BLOCKS / DEPTH - 1);
	CU_ASSERT_EQUAL(lane.verify->verified, BLOCKS);
	CU_ASSERT_EQUAL(lane.verify->differing, 1);
	CU_ASSERT_EQUAL(lane.verify->first.lba, 9);
}

static void a_queue_that_refuses_is_asked_again(void)
{
	open_lane();
	q.refuses = true;
	run(10);
	CU_ASSERT_EQUAL(lane.ios, 0);
	CU_ASSERT_TRUE(lane.errors >= 10);
	q.refuses = false;
	run(100);
	CU_ASSERT_EQUAL(lane.verify->differing, 0);
	CU_ASSERT_TRUE(lane.ios > 100);
}

/* ---- a rate ---- */

static void pass_for(uint64_t ns_long)
{
	for (uint64_t end = bh_now_ns() + ns_long; bh_now_ns() < end;)
		perf_step(&lane, &perf, true);
}

/*
 * 1000 requests a second and a stall of 100 ms, with 8 slots: the hundred that would have come in
 * that time have all waited, the first of them longest, though most could not be sent.
 */
static void a_stall_counts_for_all_that_would_have_come(void)
{
	uint64_t waited = 0;

	opts.verify = false;
	opts.rate = 1000;
	open_lane();
	perf_start(&lane, &perf);
	pass_for(20 * MS);
	q.stalls = true;
	pass_for(100 * MS);
	q.stalls = false;
	pass_for(20 * MS);
	worker.up_ticks = bh_ticks();
	while (lane.in_flight > 0)
		perf_step(&lane, &perf, false);
	lane.kind->end(&lane, &perf);
	for (unsigned int i = 0; i < BH_HISTOGRAM_BUCKETS; i++) {
		uint64_t low, high;

		bh_histogram_bucket_bounds(i, &low, &high);
		if (low >= 10 * MS)
			waited += lane.latency.bucket[i];
	}
	CU_ASSERT_TRUE(lane.ios + lane.behind >= 138);
	CU_ASSERT_TRUE(waited >= 80);
	CU_ASSERT_TRUE(lane.latency.max >= 98 * MS);
	CU_ASSERT_TRUE(bh_histogram_percentile(&lane.latency, 50000) > 5 * MS);
}

/* The same, and time is up before it answers again. */
static void what_was_not_sent_has_waited_too(void)
{
	opts.verify = false;
	opts.rate = 1000000;
	open_lane();
	q.stalls = true;
	perf_start(&lane, &perf);
	pass_for(50 * MS);
	worker.up_ticks = bh_ticks();
	q.stalls = false;
	while (lane.in_flight > 0)
		perf_step(&lane, &perf, false);
	lane.kind->end(&lane, &perf);
	CU_ASSERT_EQUAL(lane.ios, DEPTH);
	CU_ASSERT_TRUE(lane.behind >= 49000);
	CU_ASSERT_EQUAL(lane.latency.count, lane.behind + DEPTH);
	CU_ASSERT_TRUE(lane.latency.min < MS);
	double average = (double)lane.latency.sum / (double)lane.latency.count;
	/* From nothing to all of the time, evenly. */
	CU_ASSERT_TRUE(average > 0.45 * (double)lane.behind * 1000 &&
		       average < 0.55 * (double)lane.behind * 1000 + 5.0 * MS);
}

static void nothing_comes_early(void)
{
	opts.verify = false;
	opts.rate = 100;
	open_lane();
	uint64_t begin = bh_now_ns();
	perf_start(&lane, &perf);
	pass_for(100 * MS);
	CU_ASSERT_TRUE(lane.ios >= 1);
	CU_ASSERT_TRUE(lane.ios + lane.in_flight <= (bh_now_ns() - begin) / (10 * MS) + 1);
}

BH_SUITE_FIXTURE(
	"perf_single", setup, teardown,
	{ "every_write_is_read_back_and_right", every_write_is_read_back_and_right },
	{ "few_places_are_shared_out", few_places_are_shared_out },
	{ "lost_writes_are_found", lost_writes_are_found },
	{ "a_stale_block_is_called_so", a_stale_block_is_called_so },
	{ "misplaced_writes_are_found", misplaced_writes_are_found },
	{ "damage_is_found_where_it_is", damage_is_found_where_it_is },
	{ "a_read_that_transfers_nothing_is_found", a_read_that_transfers_nothing_is_found },
	{ "what_a_failed_write_left_is_not_judged", what_a_failed_write_left_is_not_judged },
	{ "reads_alone_judge_by_the_blocks_own_marks", reads_alone_judge_by_the_blocks_own_marks },
	{ "a_queue_that_refuses_is_asked_again", a_queue_that_refuses_is_asked_again },
	{ "a_stall_counts_for_all_that_would_have_come",
	  a_stall_counts_for_all_that_would_have_come },
	{ "what_was_not_sent_has_waited_too", what_was_not_sent_has_waited_too },
	{ "nothing_comes_early", nothing_comes_early }, )

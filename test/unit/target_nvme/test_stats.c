/* SPDX-License-Identifier: BSD-3-Clause */
/* What is counted by queue, by namespace and of the controller, on the fast path and off it. */
#include "io_rig.h"

/* 1 ns per tick: what is looked at is how many latencies there are, not how long they are. */
static const struct bh_clock clock1 = { .mult = 1ull << 32, .hz = 1000000000 };
static struct bh_histogram latency;

struct seen {
	unsigned int pairs;
	struct bh_target_nvme_queue_stats q[4]; /* by qid */
	uint64_t timed[4];
};

static void see(void *ctx, const struct bh_target_nvme_queue_stats *stats)
{
	struct seen *seen = ctx;

	CU_ASSERT_FATAL(stats->qid < 4);
	seen->pairs++;
	seen->q[stats->qid] = *stats;
	seen->timed[stats->qid] = stats->latency->count;
}

static struct seen queues(void)
{
	struct seen seen = { 0 };

	bh_target_nvme_queues(&rig.ctrl, &clock1, see, &seen);
	return seen;
}

static struct bh_target_nvme_counts counts_of(uint32_t nsid)
{
	struct bh_target_nvme_ns_stats stats;

	CU_ASSERT_TRUE_FATAL(bh_target_nvme_ns_stats(&rig.ctrl, nsid, &clock1, &latency, &stats));
	CU_ASSERT_EQUAL(stats.nsid, nsid);
	return stats.counts;
}

static struct bh_target_nvme_stats all(void)
{
	struct bh_target_nvme_stats stats = { 0 };

	tn_io_stats(&rig.ctrl, &stats);
	return stats;
}

static void open_with(const struct bh_blk_type *type, const char *arg)
{
	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, type, arg, 512);
	rig_ns(2, &bh_blk_null_type, "4M", 512);
	rig_queue(1, 64, true);
}

/* n commands at once, answered and taken. */
static void run_many(struct rig_queue *q, const struct bh_nvme_cmd *cmd, unsigned int n)
{
	struct bh_nvme_cpl cpl;
	unsigned int i, got = 0;
	uint64_t end = bh_now_ns() + 5000000000ull;

	for (i = 0; i < n; i++)
		rig_put(q, cmd);
	rig_tail(q);
	while (got < n && bh_now_ns() < end) {
		rig_step();
		while (rig_get(q, &cpl))
			got++;
		rig_head(q);
	}
	CU_ASSERT_EQUAL(got, n);
}

static void each_namespace_and_each_queue_has_its_own(void)
{
	struct bh_nvme_cmd read = rig_cmd(BH_NVME_CMD_READ, 0, 8, RIG_DATA_AT);
	struct bh_nvme_cmd write = rig_cmd(BH_NVME_CMD_WRITE, 0, 1, RIG_DATA_AT);
	struct bh_nvme_cpl cpl;
	struct seen seen;
	unsigned int i;

	open_with(&bh_blk_ram_type, "4M");
	rig_queue(2, 64, true);
	for (i = 0; i < 9; i++) { /* in one visit */
		read.nsid = 1 + i % 2;
		rig_put(&rig.q[1], &read);
	}
	rig_tail(&rig.q[1]);
	rig_step();
	for (i = 0; rig_get(&rig.q[1], &cpl); i++)
		;
	CU_ASSERT_EQUAL(i, 9);
	run_many(&rig.q[2], &write, 3);
	seen = queues();
	CU_ASSERT_EQUAL(seen.pairs, 2);
	CU_ASSERT_EQUAL(seen.q[1].counts.reads, 9);
	CU_ASSERT_EQUAL(seen.q[1].counts.read_bytes, 9 * 4096);
	CU_ASSERT_EQUAL(seen.q[1].counts.writes, 0);
	CU_ASSERT_EQUAL(seen.q[2].counts.writes, 3);
	CU_ASSERT_EQUAL(seen.q[2].counts.write_bytes, 3 * 512);
	CU_ASSERT(seen.q[1].is_here && seen.q[1].cqid == 1 && seen.q[2].cqid == 2);
	CU_ASSERT_EQUAL(counts_of(1).reads, 5);
	CU_ASSERT_EQUAL(counts_of(1).read_bytes, 5 * 4096);
	CU_ASSERT_EQUAL(counts_of(1).writes, 3);
	CU_ASSERT_EQUAL(counts_of(1).write_bytes, 3 * 512);
	CU_ASSERT_EQUAL(counts_of(2).reads, 4);
	CU_ASSERT_EQUAL(counts_of(2).read_bytes, 4 * 4096);
	CU_ASSERT_EQUAL(counts_of(2).writes, 0);
	CU_ASSERT_EQUAL(all().counts.reads, 9);
	CU_ASSERT_EQUAL(all().counts.writes, 3);
	CU_ASSERT_EQUAL(all().counts.read_bytes, 9 * 4096);
	CU_ASSERT_EQUAL(all().counts.write_bytes, 3 * 512);
	rig_close();
}

static void what_leaves_the_fast_path_counts_the_same(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_COMPARE, 0, 1, RIG_DATA_AT);

	open_with(&bh_blk_ram_type, "4M");
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	cmd.opc = BH_NVME_CMD_READ;
	cmd.cdw12 |= BH_NVME_IO_FUA; /* nothing the fast path minds */
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	cmd.cdw10 = UINT32_MAX;
	CU_ASSERT_NOT_EQUAL(rig_run(&cmd), 0);
	cmd.nsid = 3;
	CU_ASSERT_NOT_EQUAL(rig_run(&cmd), 0);
	CU_ASSERT_EQUAL(all().counts.others, 1);
	CU_ASSERT_EQUAL(all().counts.reads, 1);
	CU_ASSERT_EQUAL(all().counts.errors, 2);
	CU_ASSERT_EQUAL(counts_of(1).others, 1);
	CU_ASSERT_EQUAL(counts_of(1).errors, 1);
	rig_close();
}

static void batches_by_their_size(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	const uint64_t want[BH_TARGET_NVME_BATCHES] = { 1, 2, 0, 0, 1, 0, 0 };
	struct seen seen;

	open_with(&bh_blk_ram_type, "4M");
	run_many(&rig.q[1], &cmd, 1);
	run_many(&rig.q[1], &cmd, 2);
	run_many(&rig.q[1], &cmd, 3);
	run_many(&rig.q[1], &cmd, 31);
	seen = queues();
	CU_ASSERT_EQUAL(memcmp(seen.q[1].batches, want, sizeof(want)), 0);
	CU_ASSERT(all().empty_polls < all().polls);
	rig_steps(10);
	CU_ASSERT(all().empty_polls >= 10);
	rig_close();
}

/* The first visit is timed, and then every 16th, for what was done since. */
static void a_timed_visit_stands_for_those_since_the_last(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	struct bh_target_nvme_ns_stats ns;
	unsigned int i;

	open_with(&bh_blk_ram_type, "4M");
	run_many(&rig.q[1], &cmd, 5);
	CU_ASSERT_EQUAL(queues().timed[1], 5);
	for (i = 1; i < TN_STATS_TIMED; i++)
		run_many(&rig.q[1], &cmd, 3);
	CU_ASSERT_EQUAL(queues().timed[1], 5);
	run_many(&rig.q[1], &cmd, 1);
	CU_ASSERT_EQUAL(queues().timed[1], 5 + 3 * (TN_STATS_TIMED - 1) + 1);
	CU_ASSERT_EQUAL(all().counts.reads, queues().timed[1]);
	CU_ASSERT(bh_target_nvme_ns_stats(&rig.ctrl, 1, &clock1, &latency, &ns));
	CU_ASSERT_EQUAL(latency.count, queues().timed[1]);
	CU_ASSERT(latency.min > 0 && latency.max < 5000000000ull * 10);
	rig_close();
}

static void commands_that_wait_are_timed_one_by_one(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_WRITE, 0, 1, RIG_DATA_AT);
	struct bh_target_nvme_ns_stats ns;

	open_with(&blk_late_type, "4M,hold=5");
	run_many(&rig.q[1], &cmd, 7);
	CU_ASSERT_EQUAL(all().counts.writes, 7);
	CU_ASSERT_EQUAL(queues().timed[1], 7);
	CU_ASSERT(bh_target_nvme_ns_stats(&rig.ctrl, 1, &clock1, &latency, &ns));
	CU_ASSERT_EQUAL(latency.count, 7);
	CU_ASSERT_EQUAL(ns.counts.writes, 7);
	CU_ASSERT(latency.min > 1000000); /* 5 ms are more ticks than that anywhere */
	/* Each completion by itself: one had an interrupt sent, the next may have been spared. */
	CU_ASSERT_EQUAL(all().interrupts + all().suppressed, 7);
	CU_ASSERT_EQUAL(all().interrupts, rig.raises);
	rig_close();
}

static void interrupts_that_another_queue_spared(void)
{
	struct tn_queue_params p = { .qid = 2, .cqid = 2, .entries = 8, .interrupt = true };
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	struct seen seen;

	open_with(&bh_blk_ram_type, "4M");
	p.vector = 1; /* that of queue 1 */
	p.iova = RIG_IOVA + RIG_CQ(2);
	tn_io_cq_create(&rig.ctrl, &p, rig_done, NULL);
	p.iova = RIG_IOVA + RIG_SQ(2);
	tn_io_sq_create(&rig.ctrl, &p, rig_done, NULL);
	rig.q[2] = (struct rig_queue){ .qid = 2, .entries = 8, .phase = 1 };
	rig_put(&rig.q[1], &cmd);
	rig_put(&rig.q[2], &cmd);
	rig_tail(&rig.q[1]);
	rig_tail(&rig.q[2]);
	rig_step();
	seen = queues();
	CU_ASSERT_EQUAL(rig.raises, 1);
	CU_ASSERT_EQUAL(seen.q[1].interrupts + seen.q[2].interrupts, 1);
	CU_ASSERT_EQUAL(seen.q[1].suppressed + seen.q[2].suppressed, 1);
	CU_ASSERT(all().interrupts == 1 && all().suppressed == 1);
	rig_close();
}

static void queues_go_and_their_counts_stay(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	struct seen seen;

	open_with(&bh_blk_ram_type, "4M");
	run_many(&rig.q[1], &cmd, 4);
	tn_io_sq_delete(&rig.ctrl, 1, rig_done, NULL);
	seen = queues();
	CU_ASSERT(seen.q[1].is_here && !seen.q[1].cqid);
	tn_io_cq_delete(&rig.ctrl, 1, rig_done, NULL);
	seen = queues();
	CU_ASSERT(seen.pairs == 1 && !seen.q[1].is_here);
	CU_ASSERT_EQUAL(all().counts.reads, 4);
	rig_queue(1, 64, true);
	run_many(&rig.q[1], &cmd, 2);
	CU_ASSERT(queues().q[1].is_here && queues().q[1].counts.reads == 6);
	rig_close();
}

static void a_new_namespace_begins_at_nothing(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	struct bh_target_nvme_ns_stats stats;
	unsigned int dones;

	open_with(&bh_blk_ram_type, "4M");
	run_many(&rig.q[1], &cmd, 4);
	dones = rig.dones;
	tn_io_ns_remove(&rig.ctrl, &rig.ns[1], rig_done_void, NULL);
	CU_ASSERT_TRUE(rig_until(&rig.dones, dones + 1));
	bh_blk_put(rig.ns[1].blk);
	CU_ASSERT_EQUAL(counts_of(1).reads, 4);
	rig_ns(1, &bh_blk_ram_type, "4M", 512);
	CU_ASSERT_EQUAL(counts_of(1).reads, 0);
	CU_ASSERT(bh_target_nvme_ns_stats(&rig.ctrl, 1, &clock1, &latency, &stats));
	CU_ASSERT_EQUAL(latency.count, 0);
	run_many(&rig.q[1], &cmd, 1);
	CU_ASSERT_EQUAL(counts_of(1).reads, 1);
	CU_ASSERT_EQUAL(all().counts.reads, 5);
	CU_ASSERT_FALSE(bh_target_nvme_ns_stats(&rig.ctrl, 0, &clock1, &latency, &stats));
	CU_ASSERT_FALSE(bh_target_nvme_ns_stats(&rig.ctrl, 9, &clock1, &latency, &stats));
	CU_ASSERT_FALSE(bh_target_nvme_ns_stats(&rig.ctrl, UINT32_MAX, &clock1, &latency, &stats));
	rig_close();
}

BH_SUITE("stats",
	 { "each_namespace_and_each_queue_has_its_own", each_namespace_and_each_queue_has_its_own },
	 { "what_leaves_the_fast_path_counts_the_same", what_leaves_the_fast_path_counts_the_same },
	 { "batches_by_their_size", batches_by_their_size },
	 { "a_timed_visit_stands_for_those_since_the_last",
	   a_timed_visit_stands_for_those_since_the_last },
	 { "commands_that_wait_are_timed_one_by_one", commands_that_wait_are_timed_one_by_one },
	 { "interrupts_that_another_queue_spared", interrupts_that_another_queue_spared },
	 { "queues_go_and_their_counts_stay", queues_go_and_their_counts_stay },
	 { "a_new_namespace_begins_at_nothing", a_new_namespace_begins_at_nothing })

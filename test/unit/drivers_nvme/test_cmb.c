/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues and lists in the controller memory buffer, and controllers that lie about it. */
#include <errno.h>
#include <string.h>

#include "nvme/queue.h"
#include "rig.h"

#define KIB 1024ull
#define ALL_USES 0x1fu /* CMBSZ: SQS CQS LISTS RDS WDS */
#define SQS 0x1u
#define SQS_LISTS 0x5u
#define LOC(bar, offset) ((bar) | (uint32_t)(offset) << 12)
#define SIZE(uses, unit, size) ((uses) | (uint32_t)(unit) << 8 | (uint32_t)(size) << 12)
#define BUS 0x3800000000ull

/* 256 KiB in BAR 2, uncached, everything supported. */
static void cmb_opts(struct fake_opts *o)
{
	fake_opts_init(o);
	o->cmb = (struct fake_cmb_opts){ .bar_bytes = 256 * KIB,
					 .loc = LOC(2, 0),
					 .size = SIZE(ALL_USES, 0, 64),
					 .address = BUS,
					 .requested = BH_ATTR_UC,
					 .attr = BH_ATTR_UC };
}

static void attach(struct rig *r, const struct fake_opts *o, enum bh_nvme_cmb cmb, bool lists)
{
	struct bh_nvme_opts nopts;

	rig_open(r, o);
	bh_nvme_opts_init(&nopts);
	nopts.cmb = cmb;
	nopts.cmb_lists = lists;
	CU_ASSERT_EQUAL_FATAL(rig_attach(r, &nopts), 0);
}

static void start(struct rig *r, const struct fake_opts *o, enum bh_nvme_cmb cmb, bool lists)
{
	attach(r, o, cmb, lists);
	CU_ASSERT_EQUAL_FATAL(rig_queue(r, 31, false), 0);
}

/* 16 requests of `blocks` written, read back to elsewhere, compared. */
static void verify(struct rig *r, uint32_t blocks)
{
	struct tally t = { 0 };
	size_t bytes = blocks * 512u, i;
	unsigned int n;

	for (i = 0; i < 16 * bytes; i++)
		r->buf[i] = (uint8_t)(i * 7 + i / 256);
	memset(r->buf + 16 * bytes, 0, 16 * bytes);
	for (n = 0; n < 16; n++)
		CU_ASSERT_EQUAL(bh_nvme_write(r->q, r->ns, r->buf + n * bytes, n * blocks, blocks,
					      0, tally_done, &t),
				0);
	CU_ASSERT_TRUE(rig_wait(r, &t, 16));
	for (n = 0; n < 16; n++)
		CU_ASSERT_EQUAL(bh_nvme_read(r->q, r->ns, r->buf + (16 + n) * bytes, n * blocks,
					     blocks, 0, tally_done, &t),
				0);
	CU_ASSERT_TRUE(rig_wait(r, &t, 32));
	CU_ASSERT_EQUAL(t.errors, 0);
	CU_ASSERT_EQUAL(memcmp(r->buf, r->buf + 16 * bytes, 16 * bytes), 0);
}

static uint64_t used(struct rig *r)
{
	struct bh_nvme_cmb_info info;

	CU_ASSERT_EQUAL(bh_nvme_cmb_info(r->nvme, &info), 0);
	return info.used;
}

static void entries_lie_where_they_were_told_to(void)
{
	struct bh_nvme_cmb_info info;
	struct fake_opts o;
	struct rig r;
	int i;

	cmb_opts(&o);
	o.cmb.loc = LOC(2, 4);
	start(&r, &o, BH_NVME_CMB_ON, false);
	CU_ASSERT_TRUE(bh_nvme_queue_in_cmb(r.q));
	CU_ASSERT_EQUAL(fake_get(&r.fake->cmb_sqs), 1);
	CU_ASSERT_EQUAL(r.q->sq, r.fake->bar2 + 16 * KIB);
	CU_ASSERT_EQUAL(bh_nvme_cmb_info(r.nvme, &info), 0);
	CU_ASSERT(info.bar == 2 && info.offset == 16 * KIB && info.bytes == 240 * KIB);
	CU_ASSERT(info.sqs && info.cqs && info.lists && info.reads && info.writes && info.usable);
	CU_ASSERT(info.attr == BH_ATTR_UC && info.requested == BH_ATTR_UC && info.why);
	CU_ASSERT(info.mapped == 240 * KIB && info.used == 4 * KIB);
	for (i = 0; i < 20; i++)
		verify(&r, 8);
	CU_ASSERT_EQUAL(fake_get(&r.fake->cmb_lists), 0);
	bh_nvme_queue_destroy(r.q);
	r.q = NULL;
	CU_ASSERT_EQUAL(used(&r), 0);
	rig_close(&r);
}

static void by_default(enum bh_attr requested, enum bh_attr attr, bool in)
{
	struct fake_opts o;
	struct rig r;

	cmb_opts(&o);
	o.cmb.requested = requested;
	o.cmb.attr = attr;
	start(&r, &o, BH_NVME_CMB_DEFAULT, false);
	CU_ASSERT_EQUAL(bh_nvme_queue_in_cmb(r.q), in);
	CU_ASSERT_EQUAL(r.cmb_lines, 1);
	verify(&r, 8);
	rig_close(&r);
}

static void default_wants_known_write_combining(void)
{
	by_default(BH_ATTR_WC, BH_ATTR_WC, true);
	by_default(BH_ATTR_WC, BH_ATTR_UC, false);
	by_default(BH_ATTR_WC, BH_ATTR_UNKNOWN, false);
	by_default(BH_ATTR_UC, BH_ATTR_UC, false);
	by_default(BH_ATTR_UC, BH_ATTR_MEMORY, false);
}

/* What is write-combining, or may be, needs a barrier that the inline doorbell does not have. */
static void doorbell_by(enum bh_attr requested, enum bh_attr attr, bool straight)
{
	struct fake_opts o;
	struct rig r;

	cmb_opts(&o);
	o.cmb.requested = requested;
	o.cmb.attr = attr;
	start(&r, &o, BH_NVME_CMB_REQUIRE, false);
	CU_ASSERT_EQUAL(r.q->sq_db != NULL, straight);
	CU_ASSERT_EQUAL(r.q->sqd.wc_entries, !straight);
	CU_ASSERT_PTR_NOT_NULL(r.q->cq_db);
	verify(&r, 8);
	rig_close(&r);
}

static void doorbells_wait_for_combined_stores(void)
{
	doorbell_by(BH_ATTR_WC, BH_ATTR_WC, false);
	doorbell_by(BH_ATTR_WC, BH_ATTR_UNKNOWN, false);
	doorbell_by(BH_ATTR_WC, BH_ATTR_UC, true);
	doorbell_by(BH_ATTR_UC, BH_ATTR_UC, true);
	doorbell_by(BH_ATTR_UC, BH_ATTR_MEMORY, true);
}

static void off_looks_at_nothing(void)
{
	struct bh_nvme_queue_opts qopts;
	struct bh_nvme_cmb_info info;
	struct fake_opts o;
	struct rig r;

	cmb_opts(&o);
	attach(&r, &o, BH_NVME_CMB_OFF, false);
	CU_ASSERT_EQUAL(r.fake->msc, 0);
	CU_ASSERT_EQUAL(bh_nvme_cmb_info(r.nvme, &info), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(r.cmb_lines, 0);
	bh_nvme_queue_opts_init(&qopts);
	qopts.cmb = BH_NVME_CMB_REQUIRE;
	CU_ASSERT_EQUAL(bh_nvme_queue_create(r.nvme, &qopts, &r.q), -EOPNOTSUPP);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.last_error, "switched off"));
	qopts.cmb = BH_NVME_CMB_ON;
	CU_ASSERT_EQUAL(bh_nvme_queue_create(r.nvme, &qopts, &r.q), 0);
	CU_ASSERT_FALSE(bh_nvme_queue_in_cmb(r.q));
	verify(&r, 8);
	rig_close(&r);
}

static void queues_choose_for_themselves(void)
{
	struct bh_nvme_queue_opts qopts;
	struct bh_nvme_queue *in, *out;
	struct fake_opts o;
	struct rig r;

	cmb_opts(&o);
	start(&r, &o, BH_NVME_CMB_AUTO, false);
	CU_ASSERT_FALSE(bh_nvme_queue_in_cmb(r.q));
	bh_nvme_queue_opts_init(&qopts);
	qopts.depth = 31;
	qopts.cmb = BH_NVME_CMB_ON;
	CU_ASSERT_EQUAL_FATAL(bh_nvme_queue_create(r.nvme, &qopts, &in), 0);
	qopts.cmb = BH_NVME_CMB_OFF;
	CU_ASSERT_EQUAL_FATAL(bh_nvme_queue_create(r.nvme, &qopts, &out), 0);
	CU_ASSERT_TRUE(bh_nvme_queue_in_cmb(in));
	CU_ASSERT_FALSE(bh_nvme_queue_in_cmb(out));
	qopts.cmb = BH_NVME_CMB_REQUIRE + 1;
	CU_ASSERT_EQUAL(bh_nvme_queue_create(r.nvme, &qopts, &out), -EINVAL);
	rig_close(&r);
}

/* The address the controller is told: the bus address if memory is kept off it, else a far one. */
static void base_by(const struct fake_cmb_opts *cmb, bool in, uint64_t base)
{
	struct fake_opts o;
	struct rig r;

	cmb_opts(&o);
	o.cmb = *cmb;
	start(&r, &o, BH_NVME_CMB_ON, false);
	CU_ASSERT_EQUAL(bh_nvme_queue_in_cmb(r.q), in);
	if (in)
		CU_ASSERT_EQUAL(r.q->sq_iova, base);
	verify(&r, 8);
	rig_close(&r);
}

static void addresses_are_no_memory_s(void)
{
	struct fake_opts o;

	cmb_opts(&o);
	base_by(&o.cmb, true, 1ull << 60);
	o.cmb.windows = true;
	base_by(&o.cmb, true, BUS);
	o.cmb.loc = LOC(2, 3);
	base_by(&o.cmb, true, BUS + 12 * KIB);
	o.cmb.loc = LOC(2, 0);
	/* One that takes only low addresses. */
	o.cmb.least_bad = 1ull << 48;
	base_by(&o.cmb, true, BUS);
	o.cmb.least_bad = BUS;
	base_by(&o.cmb, false, 0);
	o.cmb.least_bad = BUS - 4096;
	o.cmb.windows = false;
	base_by(&o.cmb, false, 0);
	/* Not assigned, or where the end wraps. */
	o.cmb.least_bad = 0;
	o.cmb.windows = true;
	o.cmb.address = 0;
	base_by(&o.cmb, true, 1ull << 60);
	o.cmb.address = 0xffffffffffff0000ull;
	base_by(&o.cmb, true, 1ull << 60);
	/* Before 1.4 there is only the bus address. */
	o.cmb.legacy = true;
	o.cmb.address = BUS;
	base_by(&o.cmb, true, BUS);
	o.cmb.windows = false;
	base_by(&o.cmb, false, 0);
}

static void nonsense(uint32_t loc, uint32_t size, const char *what)
{
	struct bh_nvme_cmb_info info;
	struct fake_opts o;
	struct rig r;

	cmb_opts(&o);
	o.cmb.loc = loc;
	o.cmb.size = size;
	start(&r, &o, BH_NVME_CMB_ON, true);
	CU_ASSERT_EQUAL(bh_nvme_cmb_info(r.nvme, &info), -EOPNOTSUPP);
	CU_ASSERT_FALSE(bh_nvme_queue_in_cmb(r.q));
	CU_ASSERT_EQUAL(r.cmb_lines, what ? 2 : 1);
	verify(&r, 8);
	bh_nvme_queue_destroy(r.q);
	r.q = NULL;
	CU_ASSERT_EQUAL(rig_queue(&r, 5, false), 0);
	/* Said once. */
	CU_ASSERT_EQUAL(r.cmb_lines, what ? 2 : 1);
	rig_close(&r);
}

static void nonsense_in_registers_is_survived(void)
{
	unsigned int unit;

	for (unit = 7; unit < 16; unit++)
		nonsense(LOC(2, 0), SIZE(ALL_USES, unit, 1), "unit");
	nonsense(LOC(1, 0), SIZE(ALL_USES, 0, 64), "no BAR 1");
	nonsense(LOC(4, 0), SIZE(ALL_USES, 0, 64), "absent");
	nonsense(LOC(6, 0), SIZE(ALL_USES, 0, 64), "ROM");
	nonsense(LOC(7, 0), SIZE(ALL_USES, 0, 64), "configuration space");
	nonsense(LOC(0, 0), SIZE(ALL_USES, 0, 64), "registers");
	nonsense(LOC(0, 1), SIZE(ALL_USES, 0, 1), "doorbells");
	nonsense(LOC(2, 64), SIZE(ALL_USES, 0, 64), "behind the BAR");
	nonsense(LOC(2, 0xfffff), SIZE(ALL_USES, 6, 0xfffff), "far behind it");
	nonsense(UINT32_MAX, UINT32_MAX, "all ones");
	nonsense(LOC(2, 0), SIZE(ALL_USES, 0, 0), NULL);
	nonsense(LOC(2, 0), 0, NULL);
}

static void size_is_cut_to_the_bar(void)
{
	struct bh_nvme_cmb_info info;
	struct fake_opts o;
	unsigned int unit;
	struct rig r;

	for (unit = 0; unit <= 6; unit++) {
		cmb_opts(&o);
		o.cmb.size = SIZE(SQS, unit, 0xfffff);
		start(&r, &o, BH_NVME_CMB_REQUIRE, false);
		CU_ASSERT_EQUAL(bh_nvme_cmb_info(r.nvme, &info), 0);
		CU_ASSERT_EQUAL(info.bytes, 256 * KIB);
		CU_ASSERT_EQUAL(info.mapped, 256 * KIB);
		verify(&r, 8);
		rig_close(&r);
	}
	/* And of a large one no more is mapped than queues will want. */
	cmb_opts(&o);
	o.cmb.bar_bytes = 1ull << 34;
	o.cmb.size = SIZE(SQS, 2, 1 << 14);
	start(&r, &o, BH_NVME_CMB_REQUIRE, false);
	CU_ASSERT_EQUAL(bh_nvme_cmb_info(r.nvme, &info), 0);
	CU_ASSERT_EQUAL(info.bytes, 1ull << 34);
	CU_ASSERT_EQUAL(info.mapped, 16u << 20);
	verify(&r, 8);
	rig_close(&r);
}

static void what_is_not_offered_is_not_used(void)
{
	struct fake_opts o;
	struct rig r;

	cmb_opts(&o);
	o.cmb.size = SIZE(ALL_USES & ~SQS, 0, 64);
	start(&r, &o, BH_NVME_CMB_ON, true);
	CU_ASSERT_FALSE(bh_nvme_queue_in_cmb(r.q));
	verify(&r, 64);
	rig_close(&r);
	cmb_opts(&o);
	o.cmb.unmappable = true;
	start(&r, &o, BH_NVME_CMB_ON, true);
	CU_ASSERT_FALSE(bh_nvme_queue_in_cmb(r.q));
	verify(&r, 64);
	rig_close(&r);
}

static void too_small_a_buffer_is_said_once(void)
{
	struct bh_nvme_queue_opts qopts;
	struct bh_nvme_queue *q[3];
	struct fake_opts o;
	struct rig r;
	unsigned int i;

	cmb_opts(&o);
	o.cmb.size = SIZE(SQS, 0, 2);
	attach(&r, &o, BH_NVME_CMB_ON, true);
	CU_ASSERT_EQUAL(r.cmb_lines, 1);
	bh_nvme_queue_opts_init(&qopts);
	qopts.depth = 255;
	for (i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL_FATAL(bh_nvme_queue_create(r.nvme, &qopts, &q[i]), 0);
		CU_ASSERT_FALSE(bh_nvme_queue_in_cmb(q[i]));
		CU_ASSERT_EQUAL(r.cmb_lines, 2);
	}
	CU_ASSERT_PTR_NOT_NULL(strstr(r.last_cmb, "no room"));
	/* A smaller one goes in, and one that has to does not come about elsewhere. */
	CU_ASSERT_EQUAL_FATAL(rig_queue(&r, 63, false), 0);
	CU_ASSERT_TRUE(bh_nvme_queue_in_cmb(r.q));
	qopts.cmb = BH_NVME_CMB_REQUIRE;
	CU_ASSERT_EQUAL(bh_nvme_queue_create(r.nvme, &qopts, &q[2]), -EOPNOTSUPP);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.last_error, "no room"));
	verify(&r, 8);
	rig_close(&r);
}

static void pieces_come_and_go(void)
{
	struct bh_nvme_queue_opts qopts;
	struct bh_nvme_queue *q[FAKE_QUEUES] = { NULL };
	struct fake_opts o;
	unsigned int i, seed = 1;
	struct rig r;

	cmb_opts(&o);
	o.cmb.size = SIZE(SQS_LISTS, 0, 10);
	attach(&r, &o, BH_NVME_CMB_ON, false);
	bh_nvme_queue_opts_init(&qopts);
	for (i = 0; i < 200; i++) {
		unsigned int at = i % FAKE_QUEUES, j;

		bh_nvme_queue_destroy(q[at]);
		seed = seed * 1103515245 + 12345;
		qopts.depth = 1 + (seed >> 16) % 255;
		CU_ASSERT_EQUAL_FATAL(bh_nvme_queue_create(r.nvme, &qopts, &q[at]), 0);
		for (j = 0; j < FAKE_QUEUES && q[j]; j++) {
			if (j == at || !bh_nvme_queue_in_cmb(q[j]) || !bh_nvme_queue_in_cmb(q[at]))
				continue;
			CU_ASSERT(q[j]->sq >= q[at]->sq + q[at]->entries * 64 ||
				  q[at]->sq >= q[j]->sq + q[j]->entries * 64);
		}
	}
	CU_ASSERT(used(&r) > 0 && used(&r) <= 40 * KIB);
	for (i = 0; i < FAKE_QUEUES; i++)
		bh_nvme_queue_destroy(q[i]);
	CU_ASSERT_EQUAL(used(&r), 0);
	rig_close(&r);
}

/* The controller may still fetch from a queue whose deletion it refused. */
static void a_doubtful_piece_waits_for_the_reset(void)
{
	struct fake_opts o;
	struct rig r;

	cmb_opts(&o);
	start(&r, &o, BH_NVME_CMB_ON, false);
	fake_set(&r.fake->fail_admin, BH_NVME_ADMIN_DELETE_SQ + 1);
	bh_nvme_queue_destroy(r.q);
	fake_set(&r.fake->fail_admin, 0);
	CU_ASSERT_EQUAL(used(&r), 4 * KIB);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	CU_ASSERT_EQUAL(used(&r), 0);
	CU_ASSERT_EQUAL(rig_queue(&r, 31, false), 0);
	CU_ASSERT_EQUAL(r.q->sq, r.fake->bar2);
	verify(&r, 8);
	rig_close(&r);
}

static void lists_go_along_where_there_is_room(void)
{
	struct fake_opts o;
	struct rig r;

	cmb_opts(&o);
	start(&r, &o, BH_NVME_CMB_ON, true);
	CU_ASSERT_EQUAL(r.q->list, r.fake->bar2 + 4 * KIB);
	verify(&r, 64);
	CU_ASSERT(fake_get(&r.fake->cmb_lists) > 0);
	rig_close(&r);
	/* Not supported. */
	o.cmb.size = SIZE(SQS, 0, 64);
	start(&r, &o, BH_NVME_CMB_ON, true);
	CU_ASSERT_TRUE(bh_nvme_queue_in_cmb(r.q));
	verify(&r, 64);
	CU_ASSERT_EQUAL(fake_get(&r.fake->cmb_lists), 0);
	rig_close(&r);
	/* Room for the entries only. */
	o.cmb.size = SIZE(SQS_LISTS, 0, 1);
	start(&r, &o, BH_NVME_CMB_ON, true);
	CU_ASSERT_TRUE(bh_nvme_queue_in_cmb(r.q));
	verify(&r, 64);
	CU_ASSERT_EQUAL(fake_get(&r.fake->cmb_lists), 0);
	rig_close(&r);
}

static void a_reset_brings_it_back(void)
{
	struct fake_opts o;
	struct rig r;

	cmb_opts(&o);
	start(&r, &o, BH_NVME_CMB_ON, true);
	verify(&r, 64);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	CU_ASSERT_TRUE(rig_wait_flag(&r, &r.events[BH_NVME_EVENT_RESET_DONE], 1));
	CU_ASSERT_EQUAL(fake_get(&r.fake->cmb_sqs), 2);
	verify(&r, 64);
	/* A smaller one now: not to be trusted, and not touched. */
	fake_set(&r.fake->other_cmb, SIZE(SQS_LISTS, 0, 8));
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	CU_ASSERT_TRUE(rig_wait_flag(&r, &r.events[BH_NVME_EVENT_RESET_DONE], 2));
	CU_ASSERT_FALSE(bh_nvme_queue_in_cmb(r.q));
	verify(&r, 64);
	/* And back again. */
	fake_set(&r.fake->other_cmb, 0);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	CU_ASSERT_TRUE(rig_wait_flag(&r, &r.events[BH_NVME_EVENT_RESET_DONE], 3));
	CU_ASSERT_TRUE(bh_nvme_queue_in_cmb(r.q));
	verify(&r, 64);
	rig_close(&r);
}

static void a_required_one_that_is_lost_ends_the_queue(void)
{
	struct tally t = { 0 };
	struct fake_opts o;
	struct rig r;

	cmb_opts(&o);
	start(&r, &o, BH_NVME_CMB_REQUIRE, false);
	fake_set(&r.fake->other_cmb, SIZE(0, 0, 64));
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	CU_ASSERT_TRUE(rig_wait_flag(&r, &r.events[BH_NVME_EVENT_RESET_DONE], 1));
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), -ENODEV);
	rig_close(&r);
}

static void loss_completes_what_is_out_and_reopen_maps_anew(void)
{
	struct tally t = { 0 };
	struct fake_opts o;
	struct rig r;
	unsigned int i;

	cmb_opts(&o);
	start(&r, &o, BH_NVME_CMB_ON, true);
	fake_set(&r.fake->hold, 1);
	for (i = 0; i < 31; i++)
		CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 8, 0, tally_done, &t), 0);
	bh_nvme_queue_flush(r.q);
	CU_ASSERT_TRUE(rig_wait_flag(&r, &r.fake->ios, 31));
	fake_lose(r.fake);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 31));
	CU_ASSERT_EQUAL(t.errors, 31);
	CU_ASSERT_EQUAL(bh_nvme_queue_poll(r.q, 0), -ENODEV);
	fake_set(&r.fake->hold, 0);
	CU_ASSERT_EQUAL(bh_nvme_reopen(r.nvme), 0);
	CU_ASSERT_TRUE(rig_wait_flag(&r, &r.events[BH_NVME_EVENT_RESET_DONE], 1));
	CU_ASSERT_TRUE(bh_nvme_queue_in_cmb(r.q));
	verify(&r, 64);
	rig_close(&r);
}

static void entries_there_cannot_be_lent(void)
{
	struct bh_nvme_queue_desc desc;
	struct fake_opts o;
	struct rig r;
	int fds[3];

	cmb_opts(&o);
	start(&r, &o, BH_NVME_CMB_ON, false);
	CU_ASSERT_EQUAL(bh_nvme_queue_describe(r.q, &desc, fds), -EOPNOTSUPP);
	rig_close(&r);
}

static void detach_switches_it_off(void)
{
	struct fake_opts o;
	struct rig r;

	cmb_opts(&o);
	start(&r, &o, BH_NVME_CMB_ON, false);
	CU_ASSERT(BH_NVME_GET(r.fake->msc, CMBMSC_CMSE) == 1);
	bh_nvme_detach(r.nvme);
	r.nvme = NULL;
	r.q = NULL;
	CU_ASSERT_EQUAL(r.fake->msc, 0);
	rig_close(&r);
}

BH_SUITE("nvme_cmb", { "entries_lie_where_they_were_told_to", entries_lie_where_they_were_told_to },
	 { "default_wants_known_write_combining", default_wants_known_write_combining },
	 { "doorbells_wait_for_combined_stores", doorbells_wait_for_combined_stores },
	 { "off_looks_at_nothing", off_looks_at_nothing },
	 { "queues_choose_for_themselves", queues_choose_for_themselves },
	 { "addresses_are_no_memory_s", addresses_are_no_memory_s },
	 { "nonsense_in_registers_is_survived", nonsense_in_registers_is_survived },
	 { "size_is_cut_to_the_bar", size_is_cut_to_the_bar },
	 { "what_is_not_offered_is_not_used", what_is_not_offered_is_not_used },
	 { "too_small_a_buffer_is_said_once", too_small_a_buffer_is_said_once },
	 { "pieces_come_and_go", pieces_come_and_go },
	 { "a_doubtful_piece_waits_for_the_reset", a_doubtful_piece_waits_for_the_reset },
	 { "lists_go_along_where_there_is_room", lists_go_along_where_there_is_room },
	 { "a_reset_brings_it_back", a_reset_brings_it_back },
	 { "a_required_one_that_is_lost_ends_the_queue",
	   a_required_one_that_is_lost_ends_the_queue },
	 { "loss_completes_what_is_out_and_reopen_maps_anew",
	   loss_completes_what_is_out_and_reopen_maps_anew },
	 { "entries_there_cannot_be_lent", entries_there_cannot_be_lent },
	 { "detach_switches_it_off", detach_switches_it_off }, )

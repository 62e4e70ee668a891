/* SPDX-License-Identifier: BSD-3-Clause */
/* Kinds of doorbells, interrupts, lent queues. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>

#include "nvme/queue.h"
#include "rig.h"

static void wraps(struct rig *r, unsigned int n)
{
	struct tally t = { 0 };
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (bh_nvme_read(r->q, r->ns, r->buf, i % 64, 1, 0, tally_done, &t) == -EAGAIN) {
			i--;
			bh_nvme_queue_poll(r->q, 0);
			sched_yield();
		}
	}
	CU_ASSERT_TRUE(rig_wait(r, &t, n));
	CU_ASSERT_EQUAL(t.errors, 0);
}

static void by_kind(enum fake_bells bells, unsigned int dstrd, const char *path)
{
	struct fake_opts o;
	struct rig r;
	struct bh_nvme_queue_stats stats;

	fake_opts_init(&o);
	o.bells = bells;
	o.dstrd = dstrd;
	rig_start(&r, &o, 6);
	CU_ASSERT_STRING_EQUAL(bh_nvme_doorbell_path(r.nvme), path);
	CU_ASSERT_FALSE(bh_nvme_has_shadow_doorbells(r.nvme));
	wraps(&r, 100);
	bh_nvme_queue_stats(r.q, &stats);
	if (bells >= FAKE_POSTED)
		CU_ASSERT_EQUAL(stats.doorbell_messages, stats.sq_doorbells + stats.cq_doorbells)
	else
		CU_ASSERT_EQUAL(stats.doorbell_messages, 0)
	rig_close(&r);
}

static void every_kind_and_stride(void)
{
	unsigned int dstrd;

	for (dstrd = 0; dstrd < 6; dstrd += 2) {
		by_kind(FAKE_MAPPED, dstrd, "mapped");
		by_kind(FAKE_MAPPED_UC, dstrd, "mapped");
		by_kind(FAKE_POSTED, dstrd, "messages");
		by_kind(FAKE_WRITTEN, dstrd, "messages");
	}
}

/* However often either side is stopped: the controller polls, its event indices are not met. */
static void shadow_doorbells_spare_messages(void)
{
	static const unsigned int depths[] = { 1, 2, 6, 15 };
	struct fake_opts o;
	struct rig r;
	struct bh_nvme_queue_stats stats;
	unsigned int i;

	fake_opts_init(&o);
	o.bells = FAKE_POSTED;
	o.shadow = true;
	for (i = 0; i < 4; i++) {
		rig_start(&r, &o, depths[i]);
		CU_ASSERT_TRUE(bh_nvme_has_shadow_doorbells(r.nvme));
		wraps(&r, 2000); /* 50 to 700 times around */
		bh_nvme_queue_stats(r.q, &stats);
		CU_ASSERT(stats.sq_doorbells >= 2000 / depths[i]);
		CU_ASSERT(stats.cq_doorbells >= 2000 / (depths[i] + r.q->cq_batch));
		/* The first tail may be told before the fake has looked at the queue. */
		CU_ASSERT(stats.doorbell_messages <= 1);
		rig_close(&r);
	}
}

struct chain {
	struct rig *r;
	unsigned int left, done, beyond;
};

/* Tails told, seen from the head told last. */
static unsigned int told_ahead(const struct bh_nvme_queue *q)
{
	return (q->sqd.last + q->entries - q->cqd.last) % q->entries;
}

static void chain_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct chain *c = arg;

	CU_ASSERT_EQUAL(bh_nvme_cpl_status(cpl), 0);
	c->done++;
	if (!c->left)
		return;
	c->left--;
	CU_ASSERT_EQUAL(bh_nvme_read(c->r->q, c->r->ns, c->r->buf, 0, 1, 0, chain_done, c), 0);
	bh_nvme_queue_flush(c->r->q);
	c->beyond += told_ahead(c->r->q) > c->r->q->reach;
}

/* What callbacks submit and flush is told when the head is, if it would reach too far before. */
static void callbacks_ring_within_reach(void)
{
	static const unsigned int depths[] = { 1, 6, 15 };
	struct fake_opts o;
	unsigned int i, k;

	fake_opts_init(&o);
	o.bells = FAKE_POSTED;
	o.shadow = true;
	for (i = 0; i < 3; i++) {
		uint64_t end = bh_now_ns() + 20000000000ull;
		struct chain c = { .left = 1000 };
		struct rig r;

		rig_start(&r, &o, depths[i]);
		c.r = &r;
		CU_ASSERT(r.q->entries >= 2 * r.q->reach + 1);
		fake_set(&r.fake->hold, 1);
		for (k = 0; k < depths[i]; k++)
			CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, chain_done, &c), 0);
		bh_nvme_queue_flush(r.q);
		while (fake_get(&r.fake->ios) < depths[i])
			sched_yield();
		fake_release(r.fake);
		while (c.done < 1000 + depths[i] && bh_now_ns() < end) {
			bh_nvme_queue_poll(r.q, 0);
			CU_ASSERT_EQUAL(r.q->sq_rung, r.q->sq_tail);
			sched_yield();
		}
		CU_ASSERT_EQUAL(c.done, 1000 + depths[i]);
		CU_ASSERT_EQUAL(c.beyond, 0);
		rig_close(&r);
	}
}

static void a_sleeping_controller_is_kicked(void)
{
	struct fake_opts o;
	struct rig r;
	struct bh_nvme_queue_stats stats;
	unsigned int i;

	fake_opts_init(&o);
	o.bells = FAKE_POSTED;
	o.shadow = true;
	rig_start(&r, &o, 6);
	wraps(&r, 100);
	fake_set(&r.fake->asleep, 1);
	rig_poll_ms(&r, 2, false);
	for (i = 0; i < 20; i++)
		wraps(&r, 1);
	bh_nvme_queue_stats(r.q, &stats);
	CU_ASSERT(stats.doorbell_messages >= 19);
	rig_close(&r);
}

/* A rig with shadow doorbells whose controller has just completed something and falls asleep. */
static void doze(struct rig *r, uint64_t soon_ticks)
{
	struct fake_opts o;

	fake_opts_init(&o);
	o.bells = FAKE_POSTED;
	o.shadow = true;
	rig_start(r, &o, 6);
	wraps(r, 10);
	fake_set(&r->fake->asleep, 1);
	rig_poll_ms(r, 2, false);
	wraps(r, 1); /* by a kick */
	rig_poll_ms(r, 2, true);
	r->q->soon_ticks = soon_ticks;
}

static uint64_t kicks_of(const struct rig *r)
{
	struct bh_nvme_queue_stats stats;

	bh_nvme_queue_stats(r->q, &stats);
	return stats.doorbell_messages;
}

/*
 * Of one that completed something just now it is not asked whether it sleeps, until a poll finds
 * nothing.
 */
static void a_controller_that_dozes_off_is_kicked_by_the_next_poll(void)
{
	struct tally t = { 0 };
	struct rig r;
	uint64_t before;

	doze(&r, UINT64_MAX);
	before = kicks_of(&r);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), 0);
	bh_nvme_queue_flush(r.q);
	CU_ASSERT_EQUAL(r.q->sqd.last, r.q->sq_tail);
	CU_ASSERT_EQUAL(kicks_of(&r), before);
	CU_ASSERT_EQUAL(bh_nvme_queue_poll(r.q, 0), 0);
	CU_ASSERT(kicks_of(&r) > before);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
	/* The second time nothing was completed in between. */
	before = kicks_of(&r);
	fake_set(&r.fake->hold, 1);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), 0);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), 0);
	bh_nvme_queue_flush(r.q);
	CU_ASSERT(kicks_of(&r) > before);
	fake_release(r.fake);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 3));
	rig_close(&r);
}

/* Of one whose last completion is a while ago it is asked at once. */
static void a_controller_that_slept_is_kicked_at_once(void)
{
	struct tally t = { 0 };
	struct rig r;
	uint64_t before;

	doze(&r, 0);
	before = kicks_of(&r);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), 0);
	CU_ASSERT(kicks_of(&r) > before);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
	rig_close(&r);
}

static void mapped_memory_needs_no_shadow_a_bar_does(void)
{
	struct fake_opts o;
	struct bh_nvme_opts n;
	struct rig r;

	fake_opts_init(&o);
	o.shadow = true;
	rig_start(&r, &o, 6);
	CU_ASSERT_FALSE(bh_nvme_has_shadow_doorbells(r.nvme));
	rig_close(&r);
	o.bells = FAKE_MAPPED_UC;
	rig_start(&r, &o, 6);
	CU_ASSERT_TRUE(bh_nvme_has_shadow_doorbells(r.nvme));
	wraps(&r, 100);
	rig_close(&r);
	rig_open(&r, &o);
	bh_nvme_opts_init(&n);
	n.no_shadow_doorbells = true;
	CU_ASSERT_EQUAL(rig_attach(&r, &n), 0);
	CU_ASSERT_FALSE(bh_nvme_has_shadow_doorbells(r.nvme));
	rig_close(&r);
}

static void tail_is_rung_at_once_only_when_empty(void)
{
	struct rig r;
	struct tally t = { 0 };
	struct bh_nvme_queue_stats stats;
	unsigned int i;

	rig_start(&r, NULL, 16);
	fake_set(&r.fake->hold, 1);
	for (i = 0; i < 5; i++)
		bh_nvme_read(r.q, r.ns, r.buf, i, 1, 0, tally_done, &t);
	bh_nvme_queue_stats(r.q, &stats);
	CU_ASSERT_EQUAL(stats.sq_doorbells, 1);
	bh_nvme_queue_flush(r.q);
	bh_nvme_queue_flush(r.q);
	bh_nvme_queue_stats(r.q, &stats);
	CU_ASSERT_EQUAL(stats.sq_doorbells, 2);
	fake_release(r.fake);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 5));
	rig_close(&r);
}

static bool readable(int fd, int ms)
{
	struct pollfd p = { fd, POLLIN, 0 };

	return poll(&p, 1, ms) == 1;
}

static void interrupts(bool maskable)
{
	struct fake_opts o;
	struct rig r;
	struct tally t = { 0 };
	unsigned int i;
	int rc = -1;

	fake_opts_init(&o);
	o.msix = true;
	rig_open(&r, &o);
	if (!maskable)
		bh__device_set_caps(&r.fake->dev, bh_device_caps(&r.fake->dev) & ~BH_CAP_IRQ_MASK);
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(rig_queue(&r, 7, true), 0);
	for (i = 1; i <= 50; i++) {
		bh_nvme_read(r.q, r.ns, r.buf, i, 1, 0, tally_done, &t);
		rc = bh_nvme_queue_arm(r.q);
		CU_ASSERT(rc == 0 || rc == -EAGAIN);
		if (!rc)
			CU_ASSERT_TRUE(readable(bh_nvme_queue_fd(r.q), 5000));
		CU_ASSERT_TRUE(rig_wait(&r, &t, i));
	}
	CU_ASSERT_EQUAL(bh_nvme_queue_arm(r.q), 0);
	CU_ASSERT_FALSE(readable(bh_nvme_queue_fd(r.q), 1));
	/* An unpolled completion is found by arming. */
	bh_nvme_queue_poll(r.q, 0);
	bh_nvme_read(r.q, r.ns, r.buf, i, 1, 0, tally_done, &t);
	while (fake_get(&r.fake->ios) < 51)
		sched_yield();
	/* The fake completes what it counted before it lets go of the lock. */
	pthread_mutex_lock(&r.fake->lock);
	pthread_mutex_unlock(&r.fake->lock);
	CU_ASSERT_EQUAL(bh_nvme_queue_arm(r.q), -EAGAIN);
	if (maskable) /* polled with the vector masked: the device signals nothing */
		CU_ASSERT_FALSE(readable(bh_nvme_queue_fd(r.q), 0));
	CU_ASSERT_TRUE(rig_wait(&r, &t, 51));
	/* Loss and resets wake a sleeper. */
	CU_ASSERT_EQUAL(bh_nvme_queue_arm(r.q), 0);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	CU_ASSERT_TRUE(readable(bh_nvme_queue_fd(r.q), 0));
	rig_poll_ms(&r, 2, true);
	CU_ASSERT_EQUAL(bh_nvme_queue_arm(r.q), 0);
	fake_lose(r.fake);
	CU_ASSERT_TRUE(readable(bh_nvme_queue_fd(r.q), 0));
	CU_ASSERT_EQUAL(bh_nvme_queue_poll(r.q, 0), -ENODEV);
	CU_ASSERT_EQUAL(bh_nvme_queue_arm(r.q), -ENODEV);
	rig_close(&r);
}

static void interrupts_with_mask(void)
{
	interrupts(true);
}

static void interrupts_without_mask(void)
{
	interrupts(false);
}

/* ---- lent queues ---- */

static unsigned int borrowed_resets, borrowed_aborts;

static void on_reset(void *ctx, uint16_t qid)
{
	(void)ctx;
	(void)qid;
	borrowed_resets++;
}

static void on_abort(void *ctx, uint16_t qid, uint16_t cid)
{
	(void)ctx;
	(void)qid;
	(void)cid;
	borrowed_aborts++;
}

static void a_described_queue_works(void)
{
	const struct bh_nvme_queue_ops ops = { on_abort, on_abort, on_reset };
	struct fake_opts o;
	struct bh_nvme_queue_desc desc;
	struct bh_nvme_queue *lent, *q;
	struct rig r;
	struct tally t = { 0 };
	int fds[3];

#ifdef __SANITIZE_THREAD__
	unit_skip("ThreadSanitizer cannot see through two mappings of one file");
#endif
	fake_opts_init(&o);
	o.namespaces = 2;
	o.noiob = 64;
	rig_start(&r, &o, 15);
	CU_ASSERT_EQUAL_FATAL(bh_nvme_queue_describe(r.q, &desc, fds), 0);
	CU_ASSERT_EQUAL(desc.ns_count, 2);
	CU_ASSERT_EQUAL(desc.depth, 15);
	CU_ASSERT_EQUAL(fds[2], -1);
	CU_ASSERT_EQUAL_FATAL(
		bh_nvme_queue_open(&desc, fds, bh_device_iova_map(&r.fake->dev), &ops, NULL, &q),
		0);
	CU_ASSERT_EQUAL(fcntl(fds[0], F_GETFD), -1);
	CU_ASSERT_EQUAL(bh_nvme_ns_blocks(bh_nvme_queue_ns(q, 2)), FAKE_BLOCKS);
	CU_ASSERT_PTR_NULL(bh_nvme_queue_ns(q, 3));
	CU_ASSERT_EQUAL(bh_nvme_queue_depth(q), 15);
	lent = r.q;
	r.q = q;
	r.ns = bh_nvme_queue_ns(q, 2);
	memset(r.buf, 0x77, 65536);
	CU_ASSERT_EQUAL(bh_nvme_write(q, r.ns, r.buf, 3, 128, 0, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
	CU_ASSERT_EQUAL(bh_nvme_read(q, r.ns, r.buf + 65536, 3, 128, 0, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 2));
	CU_ASSERT_EQUAL(t.errors, 0);
	CU_ASSERT_EQUAL(memcmp(r.buf, r.buf + 65536, 65536), 0);
	/* Nonsense is the lender's business; the borrowed queue ends. */
	fake_set(&r.fake->hold, 1);
	bh_nvme_read(q, r.ns, r.buf, 0, 1, 0, tally_done, &t);
	while (!fake_get(&r.fake->held[0].used))
		sched_yield();
	fake_set(&r.fake->bad_cid, 15);
	fake_release(r.fake);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 3));
	CU_ASSERT_EQUAL(t.errors, 1);
	CU_ASSERT_EQUAL(borrowed_resets, 1);
	CU_ASSERT_EQUAL(bh_nvme_queue_poll(q, 0), -ENODEV);
	bh_nvme_queue_close(q);
	r.q = lent;
	rig_close(&r);
}

/* Breaks one thing; false: there is no such thing. */
static bool spoil(struct bh_nvme_queue_desc *d, unsigned int i)
{
	const struct {
		void *field;
		size_t len;
		uint64_t value;
	} bad[] = {
		{ &d->version, 4, 1 },
		{ &d->qid, 2, 0 },
		{ &d->entries, 2, 1 },
		{ &d->depth, 4, 0 },
		{ &d->depth, 4, d->entries },
		{ &d->page_size, 4, 5000 },
		{ &d->list_bytes, 8, 8 },
		{ &d->list_bytes, 8, 3000 },
		{ &d->mdts, 4, 16u << 20 },
		{ &d->sq_offset, 8, UINT64_MAX - 4095 },
		{ &d->cq_offset, 8, 32u << 20 },
		{ &d->list_offset, 8, d->list_offset + 100 },
		{ &d->doorbell_offset, 8, 4092 },
		{ &d->doorbell, 1, 2 },
		{ &d->ns_count, 4, 33 },
		{ &d->ns[0].block_shift, 4, 40 },
		{ &d->ns[0].nsid, 4, 0 },
	};

	if (i >= sizeof(bad) / sizeof(bad[0]))
		return false;
	memcpy(bad[i].field, &bad[i].value, bad[i].len);
	return true;
}

static void descriptions_are_checked(void)
{
	struct bh_nvme_queue_desc d = { 0 };
	struct bh_nvme_queue *q;
	struct rig r;
	unsigned int i;
	int fds[3];

	rig_start(&r, NULL, 15);
	for (i = 0; spoil(&d, i); i++) {
		CU_ASSERT_EQUAL_FATAL(bh_nvme_queue_describe(r.q, &d, fds), 0);
		spoil(&d, i);
		CU_ASSERT_EQUAL(bh_nvme_queue_open(&d, fds, bh_device_iova_map(&r.fake->dev), NULL,
						   NULL, &q),
				-EINVAL);
		CU_ASSERT_PTR_NULL(q);
		CU_ASSERT_EQUAL(fcntl(fds[0], F_GETFD), -1);
	}
	CU_ASSERT_EQUAL(i, 17);
	rig_close(&r);
}

static void messages_cannot_be_lent(void)
{
	struct bh_nvme_queue_desc desc;
	struct fake_opts o;
	struct rig r;
	int fds[3];

	fake_opts_init(&o);
	o.bells = FAKE_POSTED;
	rig_start(&r, &o, 15);
	CU_ASSERT_EQUAL(bh_nvme_queue_describe(r.q, &desc, fds), -EOPNOTSUPP);
	rig_close(&r);
}

BH_SUITE("nvme_doorbell", { "every_kind_and_stride", every_kind_and_stride },
	 { "shadow_doorbells_spare_messages", shadow_doorbells_spare_messages },
	 { "callbacks_ring_within_reach", callbacks_ring_within_reach },
	 { "a_sleeping_controller_is_kicked", a_sleeping_controller_is_kicked },
	 { "a_controller_that_dozes_off_is_kicked_by_the_next_poll",
	   a_controller_that_dozes_off_is_kicked_by_the_next_poll },
	 { "a_controller_that_slept_is_kicked_at_once", a_controller_that_slept_is_kicked_at_once },
	 { "mapped_memory_needs_no_shadow_a_bar_does", mapped_memory_needs_no_shadow_a_bar_does },
	 { "tail_is_rung_at_once_only_when_empty", tail_is_rung_at_once_only_when_empty },
	 { "interrupts_with_mask", interrupts_with_mask },
	 { "interrupts_without_mask", interrupts_without_mask },
	 { "a_described_queue_works", a_described_queue_works },
	 { "descriptions_are_checked", descriptions_are_checked },
	 { "messages_cannot_be_lent", messages_cannot_be_lent }, )

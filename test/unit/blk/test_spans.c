/* SPDX-License-Identifier: BSD-3-Clause */
/* Spans: who has which blocks to himself, and when a store is watched for that. */
#include <errno.h>
#include <string.h>

#include <bellhop/blk.h>

#include "unit.h"

#define ALL UINT64_MAX

static struct bh_blk *blk;
static struct bh_blk_listener listener;
static unsigned int asked; /* of the listener */
static int refuses;

static int watch(struct bh_blk_listener *l, uint32_t *left)
{
	(void)l;
	asked++;
	*left += refuses ? 0 : 2; /* threads */
	return refuses;
}

static void setup(bool listens)
{
	struct bh_blk_spec spec = { .arg = "1M", .block_size = 512 };
	char why[256];

	asked = 0;
	refuses = 0;
	CU_ASSERT_EQUAL_FATAL(bh_blk_null_type.create(&spec, "null", NULL, why, &blk), 0);
	listener = (struct bh_blk_listener){ .watch = watch };
	if (listens)
		CU_ASSERT_EQUAL(bh_blk_listen(blk, &listener), 0);
}

static void teardown(void)
{
	bh_blk_unlisten(blk, &listener);
	CU_ASSERT_PTR_NULL(blk->alone);
	CU_ASSERT_PTR_NULL(blk->shared);
	CU_ASSERT_EQUAL(blk->refs, 1);
	bh_blk_put(blk);
}

static void alone_is_in_line(void)
{
	struct bh_blk_span s[4] = { 0 };

	setup(false);
	CU_ASSERT_FALSE(bh_blk_is_watched(blk));
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &s[0], 10, 10), 0);
	CU_ASSERT_TRUE(bh_blk_is_watched(blk));
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &s[1], 19, 1), -EAGAIN);
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &s[2], 20, 1), 0); /* beside it */
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &s[3], 15, 5), -EAGAIN);
	bh_blk_span_end(&s[0]);
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &s[3], 15, 5), -EAGAIN); /* behind the other */
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &s[1], 19, 1), 0);
	bh_blk_span_end(&s[1]);
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &s[3], 15, 5), 0);
	bh_blk_span_end(&s[3]);
	bh_blk_span_end(&s[3]); /* twice does no harm */
	bh_blk_span_end(&s[2]);
	teardown();
}

static void shared_and_alone_exclude(void)
{
	struct bh_blk_span a = { 0 }, b = { 0 }, mine = { 0 }, all = { 0 };

	setup(false);
	CU_ASSERT_TRUE(bh_blk_span_share(blk, &a, 0, 8));
	CU_ASSERT_TRUE(bh_blk_span_share(blk, &b, 0, 8));
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, 7, 2), -EAGAIN);
	/* One that comes later would keep it waiting. */
	CU_ASSERT_FALSE(bh_blk_span_share(blk, &all, 0, ALL));
	CU_ASSERT_FALSE(bh_blk_span_share(blk, &all, 8, ALL));
	CU_ASSERT_TRUE(bh_blk_span_share(blk, &all, 0, 7));
	bh_blk_span_end(&all);
	CU_ASSERT_TRUE(bh_blk_span_share(blk, &all, 8, 0)); /* nothing is never refused */
	CU_ASSERT_PTR_NULL(all.blk);
	bh_blk_span_end(&a);
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, 7, 2), -EAGAIN);
	bh_blk_span_end(&b);
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, 7, 2), 0);
	/* What has begun is waited for by the next. */
	bh_blk_span_begun(blk, &a, 8, 1);
	bh_blk_span_end(&mine);
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, 7, 2), -EAGAIN);
	bh_blk_span_end(&a);
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, 7, 2), 0);
	bh_blk_span_end(&mine);
	teardown();
}

static void listeners_answer_first(void)
{
	struct bh_blk_span mine = { 0 };

	setup(true);
	refuses = -EAGAIN;
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, 0, 1), -EAGAIN);
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, 0, 1), -EAGAIN);
	CU_ASSERT_EQUAL(asked, 2); /* until they are told */
	refuses = -ENOMEM;
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, 0, 1), -ENOMEM);
	refuses = 0;
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, 0, 1), -EAGAIN);
	bh_blk_watched(blk);
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, 0, 1), -EAGAIN);
	bh_blk_watched(blk);
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, 0, 1), 0);
	CU_ASSERT_EQUAL(asked, 4);
	bh_blk_span_end(&mine);
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, 0, 1), 0); /* watched still */
	CU_ASSERT_EQUAL(asked, 4);
	bh_blk_span_end(&mine);
	teardown();
}

static void watching_ends(void)
{
	struct bh_blk_span mine = { 0 }, other = { 0 };
	unsigned int i;

	setup(true);
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, 0, 1), -EAGAIN);
	for (i = 0; i < 100000; i++) {
		CU_ASSERT_TRUE_FATAL(bh_blk_span_share(blk, &other, 1, 1));
		bh_blk_span_end(&other);
	}
	CU_ASSERT_TRUE(bh_blk_is_watched(blk)); /* somebody waits */
	bh_blk_span_end(&mine);
	for (i = 0; i < 100000; i++) {
		CU_ASSERT_TRUE_FATAL(bh_blk_span_share(blk, &other, 0, 1));
		bh_blk_span_end(&other);
	}
	CU_ASSERT_TRUE(bh_blk_is_watched(blk)); /* threads have not answered */
	bh_blk_watched(blk);
	bh_blk_watched(blk);
	for (i = 0; i < 100000 && bh_blk_is_watched(blk); i++) {
		CU_ASSERT_TRUE_FATAL(bh_blk_span_share(blk, &other, 0, 1));
		bh_blk_span_end(&other);
	}
	CU_ASSERT_FALSE(bh_blk_is_watched(blk));
	CU_ASSERT_EQUAL(asked, 1);
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, 0, 1), -EAGAIN);
	CU_ASSERT_EQUAL(asked, 2);
	CU_ASSERT_TRUE(bh_blk_is_watched(blk));
	bh_blk_span_end(&mine);
	teardown();
}

BH_SUITE("spans", { "alone_is_in_line", alone_is_in_line },
	 { "shared_and_alone_exclude", shared_and_alone_exclude },
	 { "listeners_answer_first", listeners_answer_first }, { "watching_ends", watching_ends }, )

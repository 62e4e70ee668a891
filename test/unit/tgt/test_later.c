/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls whose callers do not wait: what has to wait for a store has a ticket, and one outcome, which
 * a caller is woken for; what conflicts with it is refused meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/clock.h>
#include <bellhop/tgt.h>

#include "../../common/blk_late.h"
#include "unit.h"

static const struct bh_blk_type *const types[] = { &bh_blk_ram_type, &blk_late_type, NULL };

static char dir[64], socket_path[96];
static char why[BH_TGT_WHY];
static unsigned int woken;

static int make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/bh-later-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(socket_path, sizeof(socket_path), "%s/n0", dir);
	return 0;
}

static int remove_dir(void)
{
	return rmdir(dir);
}

static void wake(void *ctx)
{
	__atomic_fetch_add((unsigned int *)ctx, 1, __ATOMIC_RELAXED);
}

static int apply(struct bh_tgt *tgt, const char *word)
{
	struct bh_tgt_spec spec;

	CU_ASSERT_EQUAL_FATAL(bh_tgt_spec_parse(word, &spec, why), 0);
	int rc = bh_tgt_apply(tgt, &spec, why);
	bh_tgt_spec_fini(&spec);
	return rc;
}

/* A subsystem with a pool that takes so many ms for each request. */
static struct bh_tgt *create(unsigned int hold_ms)
{
	struct bh_tgt_opts opts;
	struct bh_tgt *tgt = NULL;
	char word[192];

	bh_tgt_opts_init(&opts);
	opts.store_types = types;
	CU_ASSERT_EQUAL_FATAL(bh_tgt_create(&opts, &tgt), 0);
	CU_ASSERT_EQUAL_FATAL(bh_tgt_start(tgt), 0);
	snprintf(word, sizeof(word), "subsys:s,pool=late:1M\\,hold=%u", hold_ms);
	CU_ASSERT_EQUAL_FATAL(apply(tgt, word), 0);
	woken = 0;
	bh_tgt_dont_wait(tgt, wake, &woken);
	return tgt;
}

static int make(struct bh_tgt *tgt, uint32_t nsid)
{
	const struct bh_tgt_ns_spec spec = {
		.subsys = "s", .nsid = nsid, .bytes = 65536, .block_size = 512
	};

	return bh_tgt_ns_create(tgt, &spec, why);
}

/* What the call of that ticket, the only one there is, returns in the end. */
static int outcome(struct bh_tgt *tgt, uint64_t ticket)
{
	uint64_t end = bh_now_ns() + 10000000000ull, got = 0;
	int result = 0;

	while (!bh_tgt_finished(tgt, &got, &result, why) && bh_now_ns() < end)
		usleep(1000);
	CU_ASSERT_EQUAL(got, ticket);
	CU_ASSERT_FALSE(bh_tgt_finished(tgt, &got, &result, why));
	CU_ASSERT(__atomic_load_n(&woken, __ATOMIC_RELAXED) > 0);
	return result;
}

static void outcome_comes_with_its_ticket(void)
{
	struct bh_tgt *tgt = create(300);

	CU_ASSERT_EQUAL(make(tgt, 5), -EINPROGRESS);
	uint64_t ticket = bh_tgt_ticket(tgt);
	CU_ASSERT_NOT_EQUAL(ticket, 0);
	CU_ASSERT_EQUAL(make(tgt, 5), -EEXIST);
	CU_ASSERT_STRING_EQUAL(bh_tgt_failed_key(tgt), "nsid");
	CU_ASSERT_EQUAL(outcome(tgt, ticket), 5);
	CU_ASSERT_EQUAL(make(tgt, 5), -EEXIST);
	bh_tgt_destroy(tgt);
}

static void what_is_given_up_fails(void)
{
	struct bh_tgt *tgt = create(3600000);

	CU_ASSERT_EQUAL(make(tgt, 0), -EINPROGRESS);
	uint64_t ticket = bh_tgt_ticket(tgt);
	CU_ASSERT_EQUAL(bh_tgt_subsys_destroy(tgt, "s", why), 0);
	CU_ASSERT_EQUAL(outcome(tgt, ticket), -ECANCELED);
	CU_ASSERT_NOT_EQUAL(why[0], '\0');
	bh_tgt_destroy(tgt);
}

/* Whether it has gone at once or later is up to the polling thread. */
static void detached_namespaces_are_let_go_of_once(void)
{
	struct bh_tgt *tgt = create(1);
	char word[192];

	snprintf(word, sizeof(word), "nvme:%s,ns=@r", socket_path);
	CU_ASSERT_EQUAL(apply(tgt, "store:r=ram:1M"), 0);
	CU_ASSERT_EQUAL(apply(tgt, word), 0);
	int rc = bh_tgt_ns_detach(tgt, socket_path, 1, why);
	CU_ASSERT(rc == 0 || rc == -EINPROGRESS);
	if (rc) {
		CU_ASSERT_EQUAL(outcome(tgt, bh_tgt_ticket(tgt)), 0);
	}
	CU_ASSERT_EQUAL(bh_tgt_ns_detach(tgt, socket_path, 1, why), -ENOENT);
	CU_ASSERT_EQUAL(bh_tgt_store_destroy(tgt, "r"), 0);
	bh_tgt_destroy(tgt);
}

static void outcomes_that_nobody_asks_for_are_dropped(void)
{
	struct bh_tgt *tgt = create(100);

	CU_ASSERT_EQUAL(make(tgt, 0), -EINPROGRESS);
	bh_tgt_dont_wait(tgt, NULL, NULL);
	/* Waits again, and so comes after the other. */
	CU_ASSERT_EQUAL(make(tgt, 0), 2);
	bh_tgt_destroy(tgt);
}

BH_SUITE_FIXTURE("later", make_dir, remove_dir,
		 { "outcome_comes_with_its_ticket", outcome_comes_with_its_ticket },
		 { "what_is_given_up_fails", what_is_given_up_fails },
		 { "detached_namespaces_are_let_go_of_once",
		   detached_namespaces_are_let_go_of_once },
		 { "outcomes_that_nobody_asks_for_are_dropped",
		   outcomes_that_nobody_asks_for_are_dropped })

/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory that clients map: each has its own. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/shared.h"
#include "unit.h"

#define BYTES 8192u

static struct bh_shared ours;
static uint8_t *client;

static uint8_t *map(void)
{
	uint8_t *va = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ours.fd, 0);

	CU_ASSERT_PTR_NOT_EQUAL_FATAL(va, MAP_FAILED);
	return va;
}

static int setup(void)
{
	ours = (struct bh_shared){ .fd = -1 };
	CU_ASSERT_EQUAL_FATAL(bh__shared_create(&ours, "test", BYTES), 0);
	client = map();
	return 0;
}

static int teardown(void)
{
	munmap(client, BYTES);
	bh__shared_destroy(&ours);
	return 0;
}

static void client_and_controller_share_it(void)
{
	setup();
	client[5000] = 7;
	CU_ASSERT_EQUAL(ours.map[5000], 7);
	ours.map[0] = 8;
	CU_ASSERT_EQUAL(client[0], 8);
	CU_ASSERT_EQUAL(ftruncate(ours.fd, 0), -1);
	teardown();
}

static void what_the_last_client_kept_is_nobodys(void)
{
	uint8_t *va, *next;
	int fd;

	setup();
	va = ours.map;
	fd = ours.fd;
	client[0] = client[5000] = 7;
	CU_ASSERT_EQUAL(bh__shared_renew(&ours), 0);
	CU_ASSERT_PTR_EQUAL(ours.map, va);
	CU_ASSERT_EQUAL(ours.fd, fd);
	CU_ASSERT_EQUAL(ours.map[0], 0);
	next = map();
	CU_ASSERT_EQUAL(next[5000], 0);
	next[1] = 3;
	CU_ASSERT_EQUAL(ours.map[1], 3);
	CU_ASSERT_EQUAL(client[1], 0);
	client[1] = 9;
	CU_ASSERT_EQUAL(next[1], 3);
	CU_ASSERT_EQUAL(ours.map[1], 3);
	CU_ASSERT_EQUAL(ftruncate(ours.fd, 0), -1);
	munmap(next, BYTES);
	teardown();
}

static void without_another_file_nobody_shares_it(void)
{
	struct rlimit was, none;
	uint8_t *next;

	setup();
	getrlimit(RLIMIT_NOFILE, &was);
	none = was;
	none.rlim_cur = 0;
	client[0] = 7;
	setrlimit(RLIMIT_NOFILE, &none);
	CU_ASSERT_EQUAL(bh__shared_renew(&ours), -EMFILE);
	setrlimit(RLIMIT_NOFILE, &was);
	CU_ASSERT_TRUE(ours.is_private);
	CU_ASSERT_EQUAL(ours.map[0], 0);
	client[0] = 9;
	CU_ASSERT_EQUAL(ours.map[0], 0);
	ours.map[4] = 1;
	CU_ASSERT_EQUAL(client[4], 0);
	/* It is tried again. */
	CU_ASSERT_EQUAL(bh__shared_renew(&ours), 0);
	CU_ASSERT_FALSE(ours.is_private);
	next = map();
	next[0] = 5;
	CU_ASSERT_EQUAL(ours.map[0], 5);
	CU_ASSERT_EQUAL(client[0], 9);
	munmap(next, BYTES);
	teardown();
}

static void there_may_be_none(void)
{
	struct bh_shared none = { .fd = -1 };

	CU_ASSERT_EQUAL(bh__shared_renew(&none), 0);
	CU_ASSERT_EQUAL(none.fd, -1);
	bh__shared_destroy(&none);
}

BH_SUITE("shared", { "client_and_controller_share_it", client_and_controller_share_it },
	 { "what_the_last_client_kept_is_nobodys", what_the_last_client_kept_is_nobodys },
	 { "without_another_file_nobody_shares_it", without_another_file_nobody_shares_it },
	 { "there_may_be_none", there_may_be_none }, )

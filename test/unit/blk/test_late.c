/* SPDX-License-Identifier: BSD-3-Clause */
/* Queued requests: completions from another thread, waking, leaving a channel with requests in it.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/clock.h>

#include "../../common/blk_late.h"
#include "unit.h"

static struct bh_blk *make(const char *arg)
{
	struct bh_blk_spec spec = { .arg = arg, .block_size = 512 };
	struct bh_blk *blk = NULL;
	char why[256] = "";

	CU_ASSERT_EQUAL(blk_late_type.create(&spec, arg, NULL, why, &blk), 0);
	return blk;
}

static int run(struct bh_blk_chan *chan, enum bh_blk_op op, uint64_t lba, struct iovec *iov,
	       void *cookie)
{
	struct bh_blk_io io = { .op = (uint8_t)op,
				.iovcnt = 1,
				.blocks = 1,
				.lba = lba,
				.iov = iov,
				.cookie = cookie };

	return bh_blk_submit(chan, &io);
}

/* Reaps everything, sleeping on the fd in between; the number of cookies out of order. */
static int reap_all(struct bh_blk_chan *chan, int *failed)
{
	struct pollfd pfd = { .fd = bh_blk_chan_fd(chan), .events = POLLIN };
	struct bh_blk_done done[8];
	uintptr_t last = 0;
	int disorder = 0;

	*failed = 0;
	while (bh_blk_outstanding(chan)) {
		unsigned int n, i;

		if (!bh_blk_chan_arm(chan) && poll(&pfd, 1, 5000) != 1)
			return -1;
		n = bh_blk_reap(chan, done, 8);
		for (i = 0; i < n; i++) {
			disorder += (uintptr_t)done[i].cookie < last;
			last = (uintptr_t)done[i].cookie;
			*failed += done[i].status != 0;
		}
	}
	return disorder;
}

static void completes_out_of_order_from_its_thread(void)
{
	struct bh_blk *blk = make("1M,hold=20,seed=3");
	static char buf[200][512];
	struct iovec iov[200];
	struct bh_blk_chan *chan;
	int failed, i;

	CU_ASSERT_EQUAL(bh_blk_chan_open(blk, &chan), 0);
	for (i = 0; i < 200; i++) {
		memset(buf[i], i, 512);
		iov[i] = (struct iovec){ buf[i], 512 };
		CU_ASSERT_EQUAL(run(chan, BH_BLK_WRITE, (uint64_t)i, &iov[i], (void *)(uintptr_t)i),
				BH_BLK_QUEUED);
	}
	CU_ASSERT(reap_all(chan, &failed) > 0);
	CU_ASSERT_EQUAL(failed, 0);
	memset(buf, 0xee, sizeof(buf));
	for (i = 0; i < 200; i++)
		CU_ASSERT_EQUAL(run(chan, BH_BLK_READ, (uint64_t)i, &iov[i], (void *)(uintptr_t)i),
				BH_BLK_QUEUED);
	CU_ASSERT(reap_all(chan, &failed) > 0);
	for (i = 0; i < 200; i++)
		CU_ASSERT(buf[i][0] == (char)i && buf[i][511] == (char)i);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_COMPARE, 0, &iov[0], NULL), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_READ, 2048, &iov[0], NULL), -EINVAL);
	bh_blk_chan_close(chan);
	bh_blk_put(blk);
}

static void fd_is_quiet_unless_armed(void)
{
	struct bh_blk *blk = make("1M,hold=0");
	struct pollfd pfd = { .events = POLLIN };
	struct bh_blk_chan *chan;
	struct bh_blk_done done;
	char buf[512];
	struct iovec iov = { buf, 512 };
	int i, failed;

	CU_ASSERT_EQUAL(bh_blk_chan_open(blk, &chan), 0);
	pfd.fd = bh_blk_chan_fd(chan);
	for (i = 0; i < 50; i++) {
		CU_ASSERT_EQUAL(run(chan, BH_BLK_READ, 0, &iov, NULL), BH_BLK_QUEUED);
		while (!bh_blk_reap(chan, &done, 1))
			;
		CU_ASSERT_EQUAL(poll(&pfd, 1, 0), 0);
	}
	for (i = 0; i < 50; i++) {
		CU_ASSERT_EQUAL(run(chan, BH_BLK_READ, 0, &iov, NULL), BH_BLK_QUEUED);
		CU_ASSERT_EQUAL(reap_all(chan, &failed), 0);
		CU_ASSERT_EQUAL(poll(&pfd, 1, 0), 0);
	}
	bh_blk_chan_close(chan);
	bh_blk_put(blk);
}

static void limit_is_kept(void)
{
	struct bh_blk *blk = make("1M,hold=50");
	struct bh_blk_chan *chan;
	struct iovec iov = { NULL, 0 };
	int failed, rc, n = 0;

	CU_ASSERT_EQUAL(bh_blk_chan_open(blk, &chan), 0);
	while ((rc = run(chan, BH_BLK_FLUSH, 0, &iov, NULL)) == BH_BLK_QUEUED)
		n++;
	CU_ASSERT_EQUAL(rc, -EAGAIN);
	CU_ASSERT_EQUAL(n, (int)BH_BLK_CHAN_LIMIT);
	CU_ASSERT_EQUAL(reap_all(chan, &failed), 0);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_FLUSH, 0, &iov, NULL), BH_BLK_QUEUED);
	CU_ASSERT_EQUAL(reap_all(chan, &failed), 0);
	bh_blk_chan_close(chan);
	bh_blk_put(blk);
}

static uint32_t left_calls;

static void left(void *cookie)
{
	__atomic_fetch_add(&left_calls, 1, __ATOMIC_RELAXED);
	free(cookie);
}

static void channel_is_left_with_requests(void)
{
	struct bh_blk *blk = make("1M,hold=60,seed=9");
	struct bh_blk_chan *chan;
	uint64_t until;
	int i;

	left_calls = 0;
	CU_ASSERT_EQUAL(bh_blk_chan_open(blk, &chan), 0);
	for (i = 0; i < 64; i++) {
		/* The buffer belongs to the request: it goes when the store has let go of it. */
		struct iovec *iov = malloc(sizeof(*iov) + 512);

		*iov = (struct iovec){ iov + 1, 512 };
		CU_ASSERT_EQUAL(run(chan, BH_BLK_READ, 1, iov, iov), BH_BLK_QUEUED);
	}
	bh_blk_put(blk);
	bh_blk_chan_leave(chan, left);
	until = bh_now_ns() + 5000000000u;
	while (__atomic_load_n(&left_calls, __ATOMIC_RELAXED) < 64 && bh_now_ns() < until)
		poll(NULL, 0, 5);
	CU_ASSERT_EQUAL(__atomic_load_n(&left_calls, __ATOMIC_RELAXED), 64);
	poll(NULL, 0, 20); /* its thread frees the store */
}

static void direct_cancel_keeps_off_the_buffer(void)
{
	struct bh_blk *blk = make("1M,hold=30000,direct=1");
	struct bh_blk_chan *chan;
	struct bh_blk_done done;
	char buf[512];
	struct iovec iov = { buf, 512 };
	uint64_t begin = bh_now_ns();

	memset(buf, 0x77, sizeof(buf));
	CU_ASSERT(bh_blk_info(blk)->caps & BH_BLK_CAP_CANCEL_SYNC);
	CU_ASSERT_EQUAL(bh_blk_chan_open(blk, &chan), 0);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_READ, 0, &iov, &iov), BH_BLK_QUEUED);
	bh_blk_cancel(chan, &iov);
	while (!bh_blk_reap(chan, &done, 1) && bh_now_ns() - begin < 5000000000u)
		;
	CU_ASSERT_EQUAL(done.cookie, &iov);
	CU_ASSERT_EQUAL(done.status, -ECANCELED);
	CU_ASSERT_EQUAL(buf[0], 0x77);
	bh_blk_chan_close(chan);
	bh_blk_put(blk);
}

static void options_are_checked(void)
{
	static const char *const bad[] = { "1M,hold=x", "1M,what=1", "1M,seed=0", "hold=3", "" };
	struct bh_blk_spec spec = { .block_size = 512 };
	struct bh_blk *blk;
	char why[256];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		spec.arg = bad[i];
		CU_ASSERT_EQUAL(blk_late_type.create(&spec, "l", NULL, why, &blk), -EINVAL);
	}
}

BH_SUITE("late",
	 { "completes_out_of_order_from_its_thread", completes_out_of_order_from_its_thread },
	 { "fd_is_quiet_unless_armed", fd_is_quiet_unless_armed },
	 { "limit_is_kept", limit_is_kept },
	 { "channel_is_left_with_requests", channel_is_left_with_requests },
	 { "direct_cancel_keeps_off_the_buffer", direct_cancel_keeps_off_the_buffer },
	 { "options_are_checked", options_are_checked }, )

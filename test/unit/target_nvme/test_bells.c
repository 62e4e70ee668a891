/* SPDX-License-Identifier: BSD-3-Clause */
/* Doorbells: going to sleep, and what a client can do to what wakes us. */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "target_nvme/io_rig.h"

static struct tn_thread *thread(void)
{
	return rig.ctrl.io->thread[0];
}

static void open_shadowed(uint32_t entries)
{
	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_TRAPPED);
	rig_ns(1, &bh_blk_null_type, "1G", 512);
	tn_io_shadow_set(&rig.ctrl, RIG_IOVA + RIG_SHADOW, RIG_IOVA + RIG_EVENT, rig_done, NULL);
	rig_queue(1, entries, false);
	rig.is_shadow = true;
}

static void submit(struct rig_queue *q, unsigned int n)
{
	while (n-- > 0)
		rig_put(q, &(struct bh_nvme_cmd){ .opc = BH_NVME_CMD_FLUSH, .nsid = 1 });
	rig_tail(q);
}

/* Asleep with commands that have no room to complete: the head that makes some rings. */
static void full_ring_wakes(void)
{
	struct rig_queue *q = &rig.q[1];
	struct bh_nvme_cpl cpl;
	unsigned int turn, i, got;

	open_shadowed(4);
	for (turn = 0; turn < 20; turn++) {
		submit(q, 3);
		rig_steps(3);
		submit(q, 2);
		rig_steps(3);
		CU_ASSERT_EQUAL(tn_bells_arm(thread()), 0);
		for (got = 0; rig_get(q, &cpl);)
			got++;
		CU_ASSERT_EQUAL(got, 3);
		i = rig.doorbells;
		rig_head(q);
		CU_ASSERT_EQUAL(rig.doorbells, i + 1);
		CU_ASSERT_EQUAL(tn_bells_arm(thread()), 1);
		tn_bells_disarm(thread());
		rig_steps(3);
		while (rig_get(q, &cpl))
			got++;
		CU_ASSERT_EQUAL(got, 5);
		rig_head(q);
		rig_steps(3);
		CU_ASSERT_EQUAL(tn_bells_arm(thread()), 0);
		tn_bells_disarm(thread());
	}
	rig_close();
}

static uint64_t messages(void)
{
	struct bh_target_nvme_stats stats = { 0 };

	tn_io_stats(&rig.ctrl, &stats);
	return stats.doorbell_messages;
}

static void drain(void *ctx, uint32_t events)
{
	eventfd_t ignored;

	(void)events;
	CU_ASSERT_EQUAL(eventfd_read(*(int *)ctx, &ignored), 0);
	CU_ASSERT_EQUAL(eventfd_read(rig.ctrl.io->io_fd, &ignored), 0);
}

/* The client makes the eventfd blocking and empties it between epoll and us. */
static void drained_eventfd_blocks_nobody(void)
{
	struct bh_fd_source *source;
	int fd, first = eventfd(0, EFD_CLOEXEC);
	unsigned int i;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_TRAPPED);
	fd = rig.ctrl.io->io_fd;
	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(fcntl(fd, F_SETFL, 0), 0);
	CU_ASSERT_EQUAL(bh_fd_source_add(rig.threads[0], first, EPOLLIN, drain, &first, &source),
			0);
	alarm(10);
	for (i = 1; i <= 3; i++) {
		eventfd_write(first, 1); /* served first: it was ready first */
		eventfd_write(fd, 1);
		usleep(100); /* fds are looked at every 50 us */
		rig_steps(3);
		CU_ASSERT_EQUAL(messages(), 0);
	}
	for (i = 1; i <= 3; i++) { /* rings are counted before it sleeps, and go on ringing */
		eventfd_write(fd, 2);
		usleep(100);
		rig_steps(3);
		CU_ASSERT_EQUAL(tn_bells_arm(thread()), 0);
		tn_bells_disarm(thread());
		CU_ASSERT_EQUAL(messages(), 2 * i);
	}
	for (i = 1; i <= 4; i++) { /* and every other one, where it does not */
		eventfd_write(fd, 1);
		usleep(100);
		rig_steps(3);
	}
	CU_ASSERT_EQUAL(messages(), 10);
	alarm(0);
	bh_fd_source_remove(source);
	close(first);
	rig_close();
}

BH_SUITE("bells", { "full_ring_wakes", full_ring_wakes },
	 { "drained_eventfd_blocks_nobody", drained_eventfd_blocks_nobody }, )

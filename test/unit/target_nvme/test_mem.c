/* SPDX-License-Identifier: BSD-3-Clause */
/* Client memory and the stores that are told of it: what they hear, and when it is theirs no more. */
#include <fcntl.h>

#include "control_rig.h"

#define MAPPED_AT 0x200000000ull
#define BOTH (BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE)
#define MANY 8

/* A store that notes what it is told of, and takes its time to let go. */
struct taker {
	struct bh_blk blk;
	unsigned int shared; /* pieces that it has */
	uint64_t bytes;
	uint64_t last_offset;
	uint8_t seen;
	bool holds;
	unsigned int waiting;
	void (*done[MANY])(void *arg);
	void *arg[MANY];
};

static void destroy(struct bh_blk *blk)
{
	free(blk);
}

static int submit(struct bh_blk_chan *chan, const struct bh_blk_io *io)
{
	(void)chan, (void)io;
	return -EIO;
}

static void take(struct bh_blk *blk, const struct bh_blk_mem *mem)
{
	struct taker *taker = (struct taker *)blk;

	taker->shared++;
	taker->bytes += mem->len;
	taker->last_offset = mem->fd_offset;
	CU_ASSERT(fcntl(mem->fd, F_GETFD) >= 0);
	CU_ASSERT_EQUAL(*(volatile uint8_t *)mem->va, 0x5a);
}

static void give(struct bh_blk *blk, const struct bh_blk_mem *mem, void (*done)(void *arg),
		 void *arg)
{
	struct taker *taker = (struct taker *)blk;

	taker->shared--;
	taker->bytes -= mem->len;
	taker->seen = *(volatile uint8_t *)mem->va; /* it is still mapped */
	if (!taker->holds) {
		done(arg);
		return;
	}
	taker->done[taker->waiting] = done;
	taker->arg[taker->waiting++] = arg;
}

static bool reaches(struct bh_blk_chan *chan, const struct iovec *iov, unsigned int iovcnt)
{
	(void)chan, (void)iov;
	return iovcnt > 0;
}

static const struct bh_blk_ops taker_ops = {
	.type = "taker",
	.destroy = destroy,
	.chan_size = sizeof(struct bh_blk_chan),
	.submit = submit,
	.share = take,
	.unshare = give,
	.reaches = reaches,
};

static struct taker *attach(uint32_t nsid)
{
	struct taker *taker = calloc(1, sizeof(*taker));

	CU_ASSERT_EQUAL_FATAL(
		bh_blk_init(&taker->blk, &taker_ops, "taker", 512, 1024, BH_BLK_CAP_SHARE, NULL),
		0);
	CU_ASSERT_EQUAL(bh_target_nvme_ns_attach(rig.ctrl, &taker->blk, nsid), (int)nsid);
	bh_blk_put(&taker->blk);
	return taker; /* the attachment's */
}

static void lets_go(struct taker *taker)
{
	unsigned int i, n = taker->waiting;

	taker->waiting = 0;
	for (i = 0; i < n; i++)
		taker->done[i](taker->arg[i]);
	bh_reactor_run_once(rig.control);
}

/* As the server does it, behind a gate. */
static void map(uint64_t iova, uint64_t len, uint32_t prot, uint64_t offset)
{
	const struct bh_vfu_ops *ops = rig.server->opts.ops;
	int fd = memfd_create("guest", MFD_CLOEXEC);
	uint64_t at;

	CU_ASSERT_EQUAL(ftruncate(fd, (off_t)(offset + len)), 0);
	for (at = 0; at < offset + len; at += 4096)
		CU_ASSERT_EQUAL(pwrite(fd, "\x5a", 1, (off_t)at), 1);
	ops->quiesce(rig.ctrl, BH_QUIESCE_MAP, iova, len);
	CU_ASSERT_EQUAL(
		bh_cmem_add(&rig.server->cmem, iova, len, prot, BH_CMEM_MAPPED, dup(fd), offset),
		0);
	ops->mapped(rig.ctrl, iova, len, prot, fd, offset);
	ops->resume(rig.ctrl, BH_QUIESCE_MAP);
	close(fd);
}

static void stores_hear_of_what_they_can_have(void)
{
	struct taker *first = attach(1), *second;

	map(MAPPED_AT, 2 << 20, BOTH, 0x3000);
	CU_ASSERT_EQUAL(first->shared, 1);
	CU_ASSERT_EQUAL(first->bytes, 2 << 20);
	CU_ASSERT_EQUAL(first->last_offset, 0x3000);
	map(MAPPED_AT + (4 << 20), 1 << 20, BH_CMEM_PROT_READ, 0);
	map(MAPPED_AT + (8 << 20), 64 << 10, BOTH, 0); /* not worth it */
	CU_ASSERT_EQUAL(first->shared, 1);
	/* One that comes later hears of it, too. */
	second = attach(2);
	CU_ASSERT_EQUAL(second->shared, 1);
	CU_ASSERT_EQUAL(rig_attach(3, 1 << 20, 512), 3); /* and one that takes none of nothing */
}

static void what_goes_is_taken_back_first(void)
{
	const struct bh_vfu_ops *ops = rig.server->opts.ops;
	struct taker *taker = attach(1);
	unsigned int before;

	map(MAPPED_AT, 1 << 20, BOTH, 0);
	map(MAPPED_AT + (1 << 20), 1 << 20, BOTH, 0);
	before = rig.server->quiesced;
	ops->quiesce(rig.ctrl, BH_QUIESCE_UNMAP, 0x1000, 0x1000); /* none of it */
	CU_ASSERT_EQUAL(rig.gate_kind, TN_GATE_TABLE);
	CU_ASSERT_EQUAL(rig.server->quiesced, before + 1);
	ops->resume(rig.ctrl, BH_QUIESCE_UNMAP);
	taker->holds = true;
	ops->quiesce(rig.ctrl, BH_QUIESCE_UNMAP, MAPPED_AT, 1 << 20);
	CU_ASSERT_EQUAL(rig.gate_kind, TN_GATE_SHARED);
	CU_ASSERT_EQUAL(taker->shared, 1);
	CU_ASSERT_EQUAL(taker->seen, 0x5a);
	bh_reactor_run_once(rig.control);
	CU_ASSERT_EQUAL(rig.server->quiesced, before + 1);
	lets_go(taker);
	CU_ASSERT_EQUAL(rig.server->quiesced, before + 2);
	CU_ASSERT_EQUAL(bh_cmem_del(&rig.server->cmem, MAPPED_AT, 1 << 20), 0);
	ops->resume(rig.ctrl, BH_QUIESCE_UNMAP);
	taker->holds = false;
}

/* Past its deadline the server may unmap anything as soon as the device stands still. */
static void too_late_all_of_it_is(void)
{
	const struct bh_vfu_ops *ops = rig.server->opts.ops;
	struct taker *taker = attach(1);
	unsigned int before;

	map(MAPPED_AT, 1 << 20, BOTH, 0);
	map(MAPPED_AT + (1 << 20), 1 << 20, BOTH, 0);
	taker->holds = true;
	before = rig.server->quiesced;
	ops->quiesce(rig.ctrl, BH_QUIESCE_UNMAP, MAPPED_AT, 1 << 20);
	ops->fatal(rig.ctrl);
	lets_go(taker);
	CU_ASSERT_EQUAL(taker->shared, 0);
	CU_ASSERT_EQUAL(rig.server->quiesced, before);
	lets_go(taker);
	CU_ASSERT_EQUAL(rig.server->quiesced, before + 1);
	ops->resume(rig.ctrl, BH_QUIESCE_UNMAP);
	taker->holds = false;
}

static void gone(void *arg)
{
	*(bool *)arg = true;
}

static void a_namespace_goes_without_it(void)
{
	struct taker *taker = attach(1);
	bool is_gone = false;

	bh_blk_get(&taker->blk);
	map(MAPPED_AT, 1 << 20, BOTH, 0);
	taker->holds = true;
	CU_ASSERT_EQUAL(bh_target_nvme_ns_detach(rig.ctrl, 1, gone, &is_gone), 0);
	bh_reactor_run_once(rig.control);
	CU_ASSERT_FALSE(is_gone);
	CU_ASSERT_EQUAL(taker->shared, 0);
	lets_go(taker);
	CU_ASSERT(is_gone);
	bh_blk_put(&taker->blk);
}

/* Its store has it still when the client wants it back: that waits, too. */
static void memory_waits_for_a_namespace_that_goes(void)
{
	const struct bh_vfu_ops *ops = rig.server->opts.ops;
	struct taker *taker = attach(1);
	unsigned int before;
	bool is_gone = false;

	bh_blk_get(&taker->blk);
	map(MAPPED_AT, 1 << 20, BOTH, 0);
	taker->holds = true;
	CU_ASSERT_EQUAL(bh_target_nvme_ns_detach(rig.ctrl, 1, gone, &is_gone), 0);
	before = rig.server->quiesced;
	ops->quiesce(rig.ctrl, BH_QUIESCE_UNMAP, MAPPED_AT, 1 << 20);
	rig_pump();
	CU_ASSERT_EQUAL(rig.server->quiesced, before);
	CU_ASSERT_FALSE(is_gone);
	lets_go(taker);
	rig_pump();
	CU_ASSERT_EQUAL(rig.server->quiesced, before + 1);
	CU_ASSERT(is_gone);
	ops->resume(rig.ctrl, BH_QUIESCE_UNMAP);
	bh_blk_put(&taker->blk);
}

BH_SUITE_FIXTURE("mem", rig_setup, rig_teardown,
		 { "stores_hear_of_what_they_can_have", stores_hear_of_what_they_can_have },
		 { "what_goes_is_taken_back_first", what_goes_is_taken_back_first },
		 { "too_late_all_of_it_is", too_late_all_of_it_is },
		 { "a_namespace_goes_without_it", a_namespace_goes_without_it },
		 { "memory_waits_for_a_namespace_that_goes",
		   memory_waits_for_a_namespace_that_goes }, )

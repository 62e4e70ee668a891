/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One pass over the blocks of a store that nobody else uses, for Format NVM, Sanitize and new
 * namespaces of a pool: each is written, or all become zeros in the cheapest way there is (holes in a
 * file). What has been written is made durable before the pass is over, so that the next one does not
 * write the same memory again.
 *
 * It goes in steps of one request, on the control thread, which does other things in between. The
 * channel is the pass's own. One that is stopped leaves the request that is under way, and the memory
 * it writes from, to the channel.
 *
 * Metadata lie beside the blocks: a block that is written has none any more (zeros, see struct
 * bh_blk). A pass that frees leaves them to whoever gives the store another format.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "target/nvme/control.h"

#define STEP_SYNC (4u << 20)   /* of a store that has done it when the call returns */
#define STEP_FREE (256u << 20) /* of any other */
#define STEP_WRITE (1u << 20)
#define AGAIN_NS 1000000ull

/* What a request needs as long as it is under way. */
struct buffer {
	uint8_t data[STEP_WRITE];
	struct iovec iov;
};

struct tn_erase {
	struct tn_erase_opts o;
	struct bh_blk_chan *chan;
	struct bh_fd_source *source;
	struct bh_timer *timer;
	struct buffer *buf; /* NULL: nothing is written */
	uint64_t at, blocks;
	uint32_t step; /* blocks under way */
	bool is_flushing;
};

static void left(void *cookie)
{
	free(cookie);
}

void tn_erase_stop(struct tn_erase *erase)
{
	if (!erase)
		return;
	bh_fd_source_remove(erase->source);
	bh_timer_destroy(erase->timer);
	if (erase->chan && bh_blk_outstanding(erase->chan)) {
		bh_blk_chan_leave(erase->chan, left);
		erase->buf = NULL;
	} else {
		bh_blk_chan_close(erase->chan);
	}
	free(erase->buf);
	free(erase);
}

static void end(struct tn_erase *erase, int error)
{
	void (*done)(void *arg, int error) = erase->o.done;
	void *arg = erase->o.arg;

	tn_erase_stop(erase);
	done(arg, error);
}

/* What becomes of blocks that are freed, by what the store can do. */
static void free_io(const struct bh_blk_info *info, struct bh_blk_io *io)
{
	io->op = BH_BLK_WRITE_ZEROES;
	if (!(info->caps & BH_BLK_CAP_WRITE_ZEROES))
		io->op = BH_BLK_DEALLOCATE;
	else if (info->caps & BH_BLK_CAP_DEALLOCATE)
		io->flags = BH_BLK_FLAG_DEALLOCATE;
}

/* Sets the next request up; false: there is none left. */
static bool next(struct tn_erase *erase, struct bh_blk_io *io)
{
	const struct bh_blk_info *info = bh_blk_info(erase->o.blk);
	uint32_t bytes = erase->buf			? STEP_WRITE
			 : info->caps & BH_BLK_CAP_SYNC ? STEP_SYNC
							: STEP_FREE;
	uint64_t rest = erase->blocks - erase->at;

	*io = (struct bh_blk_io){ .op = BH_BLK_FLUSH, .cookie = erase->buf };
	erase->step = bytes / info->block_size;
	if (erase->step > rest)
		erase->step = (uint32_t)rest;
	if (!erase->step) {
		if (erase->is_flushing || !(info->caps & BH_BLK_CAP_FLUSH))
			return false;
		return erase->is_flushing = true;
	}
	io->lba = erase->at;
	io->blocks = erase->step;
	if (!erase->buf) {
		free_io(info, io);
		return true;
	}
	erase->buf->iov =
		(struct iovec){ erase->buf->data, (size_t)erase->step * info->block_size };
	io->op = BH_BLK_WRITE;
	io->iov = &erase->buf->iov;
	io->iovcnt = 1;
	return true;
}

static void stepped(struct tn_erase *erase, int error)
{
	const struct bh_blk *blk = erase->o.blk;
	uint64_t md = bh_blk_info(blk)->format.md_bytes;

	if (!error && erase->buf && blk->md)
		memset(blk->md + erase->at * md, 0, (size_t)(erase->step * md));
	erase->at += erase->step;
	if (!error &&
	    !erase->o.progress(erase->o.arg, (uint64_t)erase->step * bh_blk_info(blk)->block_size))
		error = -ECANCELED;
	if (error)
		end(erase, error);
	else
		bh_timer_set(erase->timer, 0);
}

static void reap(void *ctx, uint32_t events)
{
	struct tn_erase *erase = ctx;
	struct bh_blk_done done;

	(void)events;
	if (bh_blk_reap(erase->chan, &done, 1))
		stepped(erase, done.status);
	else if (bh_blk_chan_arm(erase->chan) == -EAGAIN)
		bh_timer_set(erase->timer, 0);
}

static void submit(struct tn_erase *erase)
{
	struct bh_blk_io io;
	int rc;

	if (!next(erase, &io)) {
		end(erase, 0);
		return;
	}
	rc = bh_blk_submit(erase->chan, &io);
	if (rc == BH_BLK_QUEUED)
		reap(erase, 0);
	else if (rc == -EAGAIN)
		bh_timer_set(erase->timer, AGAIN_NS);
	else
		stepped(erase, rc);
}

static void go_on(void *ctx)
{
	struct tn_erase *erase = ctx;

	if (bh_blk_outstanding(erase->chan))
		reap(erase, 0);
	else
		submit(erase);
}

static int fill(struct tn_erase *erase)
{
	uint32_t i;

	if (!erase->o.pattern)
		return 0;
	erase->buf = aligned_alloc(TN_PAGE_SIZE,
				   (sizeof(*erase->buf) + TN_PAGE_SIZE - 1) & ~(TN_PAGE_SIZE - 1));
	if (!erase->buf)
		return -ENOMEM;
	for (i = 0; i < STEP_WRITE; i += sizeof(*erase->o.pattern))
		memcpy(erase->buf->data + i, erase->o.pattern, sizeof(*erase->o.pattern));
	return 0;
}

int tn_erase_start(const struct tn_erase_opts *opts, struct tn_erase **out)
{
	const struct bh_blk_info *info = bh_blk_info(opts->blk);
	struct tn_erase *erase = calloc(1, sizeof(*erase));
	int fd, rc;

	if (!erase)
		return -ENOMEM;
	erase->o = *opts;
	erase->blocks = opts->bytes / info->block_size;
	rc = fill(erase);
	if (!rc)
		rc = bh_timer_create(opts->control, go_on, erase, &erase->timer);
	if (!rc)
		rc = bh_blk_chan_open(opts->blk, &erase->chan);
	fd = rc ? -1 : bh_blk_chan_fd(erase->chan);
	if (fd >= 0)
		rc = bh_fd_source_add(opts->control, fd, EPOLLIN, reap, erase, &erase->source);
	if (rc) {
		tn_erase_stop(erase);
		return rc;
	}
	bh_timer_set(erase->timer, 0);
	*out = erase;
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A block store that answers when the input says so, in what order it says, and with what error.
 *
 * It moves the data at the last moment it may: a buffer that the controller has given back, freed
 * or unmapped too early is found by the sanitizers.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { MAX_HELD = 128 };

struct store {
	struct bh_blk blk;
	uint8_t *base;
};

/* In bytes, as it was asked for: a format may have changed when it is done. */
struct span {
	size_t at, bytes;
};

static struct held {
	struct bh_blk_chan *chan;
	struct bh_blk_io io;
	struct span span;
	bool is_cancelled;
} held[MAX_HELD];

static unsigned int num_held;
static uint8_t habit;

static void store_destroy(struct bh_blk *blk)
{
	struct store *store = (struct store *)blk;

	free(store->base);
	free(store);
}

static struct span span_of(const struct bh_blk *blk, const struct bh_blk_io *io)
{
	return (struct span){ io->lba * blk->info.block_size,
			      (size_t)io->blocks * blk->info.block_size };
}

static void move(const struct bh_blk *blk, const struct bh_blk_io *io, const struct span *span)
{
	uint8_t *at = ((const struct store *)blk)->base + span->at;
	size_t bytes = span->bytes;

	if (io->op == BH_BLK_WRITE_ZEROES || io->op == BH_BLK_DEALLOCATE)
		memset(at, 0, bytes);
	for (unsigned int i = 0; i < io->iovcnt && bytes; i++) {
		size_t n = io->iov[i].iov_len < bytes ? io->iov[i].iov_len : bytes;

		if (io->op == BH_BLK_READ)
			memcpy(io->iov[i].iov_base, at, n);
		else
			memcpy(at, io->iov[i].iov_base, n);
		at += n;
		bytes -= n;
	}
	if (bytes && io->iovcnt)
		fz_failed("a request has less memory than it moves");
}

static int store_submit(struct bh_blk_chan *chan, const struct bh_blk_io *io)
{
	static const int errors[] = { 0, -EAGAIN, -EIO, -ENOSPC, -EINVAL };
	int rc = io->op == BH_BLK_FLUSH ? 0 : bh_blk_check(chan->blk, io);
	const struct span span = span_of(chan->blk, io);

	if (rc)
		return rc;
	if (io->op == BH_BLK_COMPARE)
		return -EOPNOTSUPP;
	if (habit == FZ_AT_ONCE)
		move(chan->blk, io, &span);
	if (habit != FZ_LATER)
		return errors[(habit - FZ_AT_ONCE) % 5];
	if (num_held == MAX_HELD)
		return -EAGAIN;
	held[num_held++] = (struct held){ chan, *io, span, false };
	return BH_BLK_QUEUED;
}

static void store_cancel(struct bh_blk_chan *chan, void *cookie)
{
	if (!(chan->blk->info.caps & BH_BLK_CAP_CANCEL_SYNC))
		return;
	for (unsigned int i = 0; i < num_held; i++)
		if (held[i].chan == chan && held[i].io.cookie == cookie)
			held[i].is_cancelled = true;
}

bool fz_store_complete(unsigned int which, int status)
{
	struct held h;

	if (!num_held)
		return false;
	which %= num_held;
	h = held[which];
	memmove(&held[which], &held[which + 1], (--num_held - which) * sizeof(h));
	if (h.is_cancelled)
		status = -ECANCELED;
	else
		move(h.chan->blk, &h.io, &h.span);
	bh_blk_chan_complete(h.chan, h.io.cookie, status);
	return true;
}

void fz_store_habit(uint8_t now)
{
	habit = now % FZ_HABITS;
}

static const struct bh_blk_ops store_ops = {
	.type = "fuzz",
	.destroy = store_destroy,
	.chan_size = sizeof(struct bh_blk_chan),
	.submit = store_submit,
	.cancel = store_cancel,
};

struct bh_blk *fz_store_new(bool is_direct, const struct bh_blk_spec *spec)
{
	const uint32_t caps = BH_BLK_CAP_WRITE | BH_BLK_CAP_FLUSH | BH_BLK_CAP_WRITE_ZEROES |
			      BH_BLK_CAP_DEALLOCATE | (is_direct ? BH_BLK_CAP_CANCEL_SYNC : 0);
	struct store *store = calloc(1, sizeof(*store));
	char why[256] = "no store";

	if (!store || bh_blk_init(&store->blk, &store_ops, is_direct ? "direct" : "bounced", 512,
				  FZ_STORE_BYTES / 512, caps, NULL) != 0)
		fz_failed("no store");
	store->base = calloc(1, FZ_STORE_BYTES);
	store->blk.beside = spec ? BH_BLK_BESIDE_MEMORY : BH_BLK_BESIDE_NOTHING;
	if (!store->base || (spec && bh_blk_media_open(&store->blk, spec, why) != 0))
		fz_failed(why);
	return &store->blk;
}

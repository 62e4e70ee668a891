/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slices: a run of another store's bytes as a store of its own, with blocks as large or larger.
 *
 * A slice's channel has one of the store below. What that one does at once is done at once here, and
 * where the store is memory, so is the slice: a controller's hot loop does not come by here at all.
 * What is queued below is known there by a slot of the channel, which has the caller's cookie; the
 * slots are one allocation, and as many as a channel may have requests.
 *
 * Metadata lie beside the slice, not the store below: in memory, if that one's would, or in a file
 * of the slice's own, which a flush of a file below syncs, too.
 *
 * A channel that is closed with requests in it leaves the one below with theirs: the store below
 * gives each slot back when it has let go of the buffer, and the slice hands that on as a completion
 * of its own, as any store does.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/blk.h>

struct slice {
	struct bh_blk blk; /* first */
	struct bh_blk *below;
	uint64_t first; /* block of the store below */
};

struct slot {
	struct slot *next;
	struct bh_blk_chan *chan; /* ours */
	void *cookie;
	bool is_used;
};

struct slice_chan {
	struct bh_blk_chan chan; /* first */
	struct bh_blk_chan *below;
	struct slot *slots; /* NULL: nothing is queued below */
	struct slot *free;
	unsigned int used; /* slots ever used; the rest is untouched memory */
};

static const struct slice *slice_of(const struct bh_blk_chan *chan)
{
	return (const struct slice *)chan->blk;
}

static struct slice_chan *chan_of(struct bh_blk_chan *chan)
{
	return (struct slice_chan *)chan;
}

static void slice_destroy(struct bh_blk *blk)
{
	struct slice *slice = (struct slice *)blk;

	__atomic_fetch_sub(&slice->below->slices, 1, __ATOMIC_RELAXED);
	bh_blk_put(slice->below);
	free(slice);
}

static int slice_chan_init(struct bh_blk *blk, struct bh_blk_chan *chan)
{
	struct slice_chan *c = chan_of(chan);

	if (!(blk->info.caps & BH_BLK_CAP_SYNC)) {
		c->slots = calloc(BH_BLK_CHAN_LIMIT, sizeof(*c->slots));
		if (!c->slots)
			return -ENOMEM;
	}
	int rc = bh_blk_chan_open(((struct slice *)blk)->below, &c->below);
	if (rc)
		free(c->slots);
	return rc;
}

static void slice_chan_fini(struct bh_blk_chan *chan)
{
	struct slice_chan *c = chan_of(chan);

	bh_blk_chan_close(c->below);
	free(c->slots);
}

static struct slot *slot_get(struct slice_chan *c, void *cookie)
{
	struct slot *slot = c->free;

	if (slot)
		c->free = slot->next;
	else
		slot = &c->slots[c->used++];
	slot->chan = &c->chan;
	slot->cookie = cookie;
	slot->is_used = true;
	return slot;
}

static void slot_put(struct slice_chan *c, struct slot *slot)
{
	slot->is_used = false;
	slot->next = c->free;
	c->free = slot;
}

static int slice_submit(struct bh_blk_chan *chan, const struct bh_blk_io *io)
{
	const struct slice *slice = slice_of(chan);
	struct slice_chan *c = chan_of(chan);
	struct bh_blk_io below = *io;
	struct slot *slot = NULL;
	int rc = bh_blk_check(chan->blk, io);

	if (rc)
		return rc;
	if (io->op == BH_BLK_FLUSH) {
		below.part = &slice->blk;
	} else {
		uint32_t factor = slice->blk.info.block_size / slice->below->info.block_size;

		below.lba = slice->first + io->lba * factor;
		below.blocks = io->blocks * factor;
	}
	if (c->slots) /* there is one: no more are outstanding than the channel's limit */
		below.cookie = slot = slot_get(c, io->cookie);
	rc = bh_blk_submit(c->below, &below);
	if (slot && rc != BH_BLK_QUEUED)
		slot_put(c, slot);
	return rc;
}

static unsigned int slice_reap(struct bh_blk_chan *chan, struct bh_blk_done *out, unsigned int n)
{
	struct slice_chan *c = chan_of(chan);
	unsigned int i;

	n = bh_blk_reap(c->below, out, n);
	for (i = 0; i < n; i++) {
		struct slot *slot = out[i].cookie;

		out[i].cookie = slot->cookie;
		slot_put(c, slot);
	}
	return n;
}

static int slice_arm(struct bh_blk_chan *chan)
{
	return bh_blk_chan_arm(chan_of(chan)->below);
}

static int slice_fd(const struct bh_blk_chan *chan)
{
	return bh_blk_chan_fd(((const struct slice_chan *)chan)->below);
}

/* The store below has let go of a request; with the last of them our channel goes. */
static void slot_left(void *cookie)
{
	const struct slot *slot = cookie;

	bh_blk_chan_complete(slot->chan, slot->cookie, -ECANCELED);
}

static void slice_leave(struct bh_blk_chan *chan)
{
	struct bh_blk_chan *below = chan_of(chan)->below;

	chan_of(chan)->below = NULL;
	bh_blk_chan_leave(below, slot_left);
}

static void slice_cancel(struct bh_blk_chan *chan, void *cookie)
{
	struct slice_chan *c = chan_of(chan);
	unsigned int i;

	for (i = 0; i < c->used; i++) {
		if (c->slots[i].is_used && c->slots[i].cookie == cookie) {
			bh_blk_cancel(c->below, &c->slots[i]);
			return;
		}
	}
}

static int slice_mem_add(struct bh_blk_chan *chan, void *va, size_t len, int fd)
{
	return bh_blk_mem_add(chan_of(chan)->below, va, len, fd);
}

static void slice_mem_del(struct bh_blk_chan *chan, void *va, size_t len)
{
	bh_blk_mem_del(chan_of(chan)->below, va, len);
}

static void slice_share(struct bh_blk *blk, const struct bh_blk_mem *mem)
{
	bh_blk_share(((struct slice *)blk)->below, mem);
}

static void slice_unshare(struct bh_blk *blk, const struct bh_blk_mem *mem, void (*done)(void *arg),
			  void *arg)
{
	bh_blk_unshare(((struct slice *)blk)->below, mem, done, arg);
}

static bool slice_reaches(struct bh_blk_chan *chan, const struct iovec *iov, unsigned int iovcnt)
{
	return bh_blk_reaches(chan_of(chan)->below, iov, iovcnt);
}

static const struct bh_blk_ops slice_ops = {
	.type = "slice",
	.destroy = slice_destroy,
	.chan_size = sizeof(struct slice_chan),
	.chan_init = slice_chan_init,
	.chan_fini = slice_chan_fini,
	.submit = slice_submit,
	.reap = slice_reap,
	.arm = slice_arm,
	.fd = slice_fd,
	.leave = slice_leave,
	.cancel = slice_cancel,
	.mem_add = slice_mem_add,
	.mem_del = slice_mem_del,
	.share = slice_share,
	.unshare = slice_unshare,
	.reaches = slice_reaches,
};

/* The store below keeps its format from now on: false, somebody is changing it. */
static bool settle(struct bh_blk *below)
{
	bool is_claimed;

	pthread_mutex_lock(below->lock);
	is_claimed = below->is_claimed;
	if (!is_claimed)
		__atomic_fetch_add(&below->slices, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(below->lock);
	return !is_claimed;
}

enum bh_blk_beside bh_blk_slice_beside(const struct bh_blk *below, bool has_path)
{
	if (below->beside == BH_BLK_BESIDE_FILE && has_path)
		return BH_BLK_BESIDE_FILE;
	return below->beside == BH_BLK_BESIDE_MEMORY ? BH_BLK_BESIDE_MEMORY : BH_BLK_BESIDE_SIZE;
}

static int check_cut(const struct bh_blk_info *info, uint64_t first, uint64_t bytes,
		     uint32_t block_size)
{
	uint64_t all = __atomic_load_n(&info->blocks, __ATOMIC_RELAXED) * info->block_size;

	if (block_size % info->block_size || !bytes || bytes % block_size ||
	    first % info->block_size || first > all || bytes > all - first ||
	    info->format.md_bytes || info->zoned.bytes) /* which lie beside the whole store */
		return -EINVAL;
	/* A command's blocks have 32 bits below, too. */
	if (block_size != info->block_size && bytes / info->block_size > UINT32_MAX)
		return -EFBIG;
	return 0;
}

int bh_blk_slice_create(struct bh_blk *below, uint64_t first, uint64_t bytes, uint32_t block_size,
			const char *name, const char *media_path, struct bh_blk **out)
{
	const struct bh_blk_info *info = bh_blk_info(below);
	int rc = check_cut(info, first, bytes, block_size);
	struct slice *slice;

	*out = NULL;
	if (rc)
		return rc;
	slice = calloc(1, sizeof(*slice));
	if (!slice)
		return -ENOMEM;
	rc = bh_blk_init(&slice->blk, &slice_ops, name, block_size, bytes / block_size, info->caps,
			 below->log);
	if (rc) {
		free(slice);
		return rc;
	}
	slice->blk.media_path = media_path ? strdup(media_path) : NULL;
	rc = media_path && !slice->blk.media_path ? -ENOMEM : settle(below) ? 0 : -EBUSY;
	if (rc) {
		bh_blk_fini(&slice->blk);
		free(slice);
		return rc;
	}
	slice->below = bh_blk_get(below);
	slice->first = first / info->block_size;
	slice->blk.min_block = info->block_size;
	if (bytes / info->block_size <= UINT32_MAX)
		slice->blk.beside = bh_blk_slice_beside(below, media_path != NULL);
	slice->blk.inline_kind = below->inline_kind;
	if (below->inline_kind == BH_BLK_INLINE_MEMORY)
		slice->blk.inline_base = below->inline_base + first;
	*out = &slice->blk;
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Block stores: references, names, listeners. Channels are in chan.c.
 *
 * A store lives as long as somebody holds a reference: those who use it, and each open channel. The
 * last one to let go destroys it, on whatever thread that is; with requests that outlive their
 * channel it is the thread that completes the last of them.
 *
 * Listeners are told of a new size under the store's lock, so none is called after
 * bh_blk_unlisten() returned.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/blk.h>
#include <bellhop/parse.h>

int bh_blk_init(struct bh_blk *blk, const struct bh_blk_ops *ops, const char *name,
		uint32_t block_size, uint64_t blocks, uint32_t caps, const struct bh_log *log)
{
	pthread_mutex_t *lock;

	if ((block_size != 512 && block_size != 4096) || !blocks ||
	    blocks > UINT64_MAX / block_size || ops->chan_size < sizeof(struct bh_blk_chan))
		return -EINVAL;
	lock = malloc(sizeof(*lock));
	if (!lock)
		return -ENOMEM;
	pthread_mutex_init(lock, NULL);
	blk->lock = lock;
	blk->ops = ops;
	blk->log = log;
	blk->refs = 1;
	blk->listeners = NULL;
	blk->bad = NULL;
	blk->num_bad = 0;
	blk->alone = blk->shared = NULL;
	blk->is_watched = blk->watch_left = blk->watch_quiet = 0;
	blk->is_told = false;
	snprintf(blk->name, sizeof(blk->name), "%s", name);
	blk->info.name = blk->name;
	blk->info.block_size = block_size;
	blk->info.blocks = blocks;
	blk->info.caps = caps;
	blk->info.format = (struct bh_blk_format){ .block_size = block_size };
	blk->bytes = blocks * block_size;
	blk->media_fd = -1;
	blk->min_block = block_size;
	return 0;
}

void bh_blk_fini(struct bh_blk *blk)
{
	if (!blk->lock)
		return;
	if (blk->media_fd >= 0 && fdatasync(blk->media_fd))
		bh_log(blk->log, BH_LOG_ERROR, "blk", "%s: metadata written last may be lost",
		       blk->name);
	bh_blk_format_drop(blk->media);
	blk->media = NULL;
	free(blk->media_path);
	blk->media_path = NULL;
	pthread_mutex_destroy(blk->lock);
	free(blk->lock);
	free(blk->bad);
	blk->lock = NULL;
	blk->bad = NULL;
}

int bh_blk_check(const struct bh_blk *blk, const struct bh_blk_io *io)
{
	uint64_t blocks = __atomic_load_n(&blk->info.blocks, __ATOMIC_RELAXED);

	if (io->op == BH_BLK_FLUSH)
		return 0;
	return io->blocks <= blocks && io->lba <= blocks - io->blocks ? 0 : -EINVAL;
}

struct bh_blk *bh_blk_get(struct bh_blk *blk)
{
	__atomic_fetch_add(&blk->refs, 1, __ATOMIC_RELAXED);
	return blk;
}

void bh_blk_put(struct bh_blk *blk)
{
	/*
	 * Release what this holder did to the store, acquire what the others did, before it goes.
	 */
	if (!blk || __atomic_sub_fetch(&blk->refs, 1, __ATOMIC_ACQ_REL))
		return;
	bh_blk_fini(blk);
	blk->ops->destroy(blk);
}

int bh_blk_listen(struct bh_blk *blk, struct bh_blk_listener *listener)
{
	bool is_claimed;

	pthread_mutex_lock(blk->lock);
	is_claimed = blk->is_claimed && listener->yield;
	if (!is_claimed) {
		listener->next = blk->listeners;
		blk->listeners = listener;
	}
	pthread_mutex_unlock(blk->lock);
	return is_claimed ? -EBUSY : 0;
}

void bh_blk_unlisten(struct bh_blk *blk, struct bh_blk_listener *listener)
{
	struct bh_blk_listener **at;

	pthread_mutex_lock(blk->lock);
	for (at = &blk->listeners; *at; at = &(*at)->next) {
		if (*at == listener) {
			*at = listener->next;
			break;
		}
	}
	pthread_mutex_unlock(blk->lock);
}

/* ---- claims ---- */

/* Under lock. True: nobody is waited for any more. */
static bool yield_all(struct bh_blk *blk)
{
	struct bh_blk_listener *listener;

	blk->is_claimed = true;
	blk->claim_left = 1; /* ours, so that a yield inside the loop does not end it */
	for (listener = blk->listeners; listener; listener = listener->next) {
		if (!listener->yield)
			continue;
		blk->claim_left++;
		listener->yield(listener);
	}
	return --blk->claim_left == 0;
}

int bh_blk_claim(struct bh_blk *blk, void (*claimed)(void *arg), void *arg)
{
	bool is_busy, is_mine = false;

	pthread_mutex_lock(blk->lock);
	is_busy = blk->is_claimed;
	if (!is_busy) {
		blk->claimed = claimed;
		blk->claimed_arg = arg;
		is_mine = yield_all(blk);
	}
	pthread_mutex_unlock(blk->lock);
	if (is_mine)
		claimed(arg);
	return is_busy ? -EBUSY : 0;
}

void bh_blk_yielded(struct bh_blk *blk)
{
	bool is_last;

	pthread_mutex_lock(blk->lock);
	is_last = --blk->claim_left == 0;
	pthread_mutex_unlock(blk->lock);
	if (is_last)
		blk->claimed(blk->claimed_arg);
}

/*
 * Whoever claims the store anew gets it when all have yielded again, so have gone on: there is one
 * release at a time.
 */
void bh_blk_release(struct bh_blk *blk, void (*released)(void *arg), void *arg)
{
	struct bh_blk_listener *listener;

	pthread_mutex_lock(blk->lock);
	blk->is_claimed = false;
	blk->released = released;
	blk->released_arg = arg;
	blk->release_left = 1; /* ours, see yield_all() */
	for (listener = blk->listeners; listener; listener = listener->next) {
		if (!listener->resume)
			continue;
		blk->release_left++;
		listener->resume(listener);
	}
	pthread_mutex_unlock(blk->lock);
	bh_blk_resumed(blk);
}

void bh_blk_resumed(struct bh_blk *blk)
{
	void (*released)(void *arg);
	bool is_last;
	void *arg;

	pthread_mutex_lock(blk->lock);
	is_last = --blk->release_left == 0;
	released = blk->released;
	arg = blk->released_arg;
	pthread_mutex_unlock(blk->lock);
	if (is_last && released)
		released(arg);
}

/* ---- sizes ---- */

void bh_blk_resized(struct bh_blk *blk, uint64_t blocks)
{
	struct bh_blk_listener *listener;

	pthread_mutex_lock(blk->lock);
	blk->bytes = blocks * blk->info.block_size;
	__atomic_store_n(&blk->info.blocks, blocks, __ATOMIC_RELAXED);
	for (listener = blk->listeners; listener; listener = listener->next)
		if (listener->resized)
			listener->resized(listener, blocks);
	pthread_mutex_unlock(blk->lock);
}

int bh_blk_resize(struct bh_blk *blk, uint64_t blocks)
{
	uint64_t now = __atomic_load_n(&blk->info.blocks, __ATOMIC_RELAXED);
	int rc;

	if (blocks < now || blocks > (uint64_t)INT64_MAX / blk->info.block_size)
		return -EINVAL;
	if (!blk->ops->grow || blk->md || blk->zones) /* which have their size, too */
		return -EOPNOTSUPP;
	if (blocks == now)
		return 0;
	rc = blk->ops->grow(blk, blocks);
	if (!rc)
		bh_blk_resized(blk, blocks);
	return rc;
}

int bh_blk_spec_bytes(const struct bh_blk_spec *spec, const char *arg, char why[256],
		      uint64_t *bytes)
{
	uint64_t n = spec->bytes;

	if (!n && (!arg || bh_parse_size(arg, &n))) {
		snprintf(why, 256, "'%s' is not a size", arg ? arg : "");
		return -EINVAL;
	}
	if (!n || n % spec->block_size || n > INT64_MAX) {
		snprintf(why, 256, "the size must be a multiple of the block size (%u)",
			 spec->block_size);
		return -EINVAL;
	}
	*bytes = n;
	return 0;
}

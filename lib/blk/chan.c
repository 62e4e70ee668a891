/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channels: a thread's way into a store, and the queue by which other threads hand completions
 * back.
 *
 * The queue is a ring with room for every request a channel may have outstanding, so a completion
 * always fits and nothing is allocated for it; a mutex serialises the completing threads. The owner
 * looks at an atomic count first and takes the lock only when there is something.
 *
 * Sleeping: the owner arms the queue when it has looked and found nothing; the first completion
 * after that writes the eventfd, inside the lock, so that whoever drains it (the next reap) cannot
 * miss a write that is still to come. While the owner polls nobody writes.
 *
 * Closing with requests outstanding hands the channel to the completing threads: it is freed by
 * whoever completes the last of them.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <bellhop/blk.h>

struct foreign {
	uint32_t count; /* __atomic: in the ring */
	pthread_mutex_t lock;
	uint32_t head;	    /* next to reap */
	uint32_t remaining; /* closed: completions still to come */
	bool armed;
	bool signalled; /* the eventfd was written and not drained */
	bool closed;
	int fd;
	void (*left)(void *cookie);
	struct bh_blk_done ring[BH_BLK_CHAN_LIMIT];
};

static struct foreign *foreign_create(int *error)
{
	struct foreign *f = calloc(1, sizeof(*f));

	if (!f) {
		*error = -ENOMEM;
		return NULL;
	}
	f->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (f->fd < 0) {
		*error = -errno;
		free(f);
		return NULL;
	}
	pthread_mutex_init(&f->lock, NULL);
	return f;
}

static void foreign_destroy(struct foreign *f)
{
	if (!f)
		return;
	close(f->fd);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static void chan_free(struct bh_blk_chan *chan)
{
	struct bh_blk *blk = chan->blk;

	if (blk->ops->chan_fini)
		blk->ops->chan_fini(chan);
	foreign_destroy(chan->foreign);
	free(chan);
	bh_blk_put(blk);
}

int bh_blk_chan_open(struct bh_blk *blk, struct bh_blk_chan **out)
{
	struct bh_blk_chan *chan = calloc(1, blk->ops->chan_size);
	int rc = 0;

	if (!chan)
		return -ENOMEM;
	chan->blk = blk;
	chan->limit = BH_BLK_CHAN_LIMIT;
	if (!(blk->info.caps & BH_BLK_CAP_SYNC))
		chan->foreign = foreign_create(&rc);
	if (!rc && blk->ops->chan_init)
		rc = blk->ops->chan_init(blk, chan);
	if (rc) {
		foreign_destroy(chan->foreign);
		free(chan);
		return rc;
	}
	bh_blk_get(blk);
	*out = chan;
	return 0;
}

void bh_blk_chan_close(struct bh_blk_chan *chan)
{
	bh_blk_chan_leave(chan, NULL);
}

void bh_blk_chan_leave(struct bh_blk_chan *chan, void (*left)(void *cookie))
{
	struct foreign *f = chan ? chan->foreign : NULL;
	void (*leave)(struct bh_blk_chan * chan);
	struct bh_blk_done done[32];
	unsigned int i, n;
	bool last;

	if (!chan)
		return;
	if (!f) {
		chan_free(chan);
		return;
	}
	while ((n = bh_blk_reap(chan, done, 32)))
		for (i = 0; left && i < n; i++)
			left(done[i].cookie);
	pthread_mutex_lock(&f->lock);
	/* What came between the last reap and the lock. */
	for (; f->count; f->count--, chan->outstanding--) {
		if (left)
			left(f->ring[f->head].cookie);
		f->head = (f->head + 1) % BH_BLK_CHAN_LIMIT;
	}
	f->closed = true;
	f->left = left;
	f->remaining = chan->outstanding;
	last = !f->remaining;
	leave = chan->blk->ops->leave;
	/*
	 * From here on the last completion frees the channel, and perhaps the store: a store that
	 * wants to hear of the leaving completes nothing before.
	 */
	pthread_mutex_unlock(&f->lock);
	if (last)
		chan_free(chan);
	else if (leave)
		leave(chan);
}

static void complete_closed(struct bh_blk_chan *chan, struct foreign *f, void *cookie)
{
	bool last = --f->remaining == 0;
	void (*left)(void *) = f->left;

	pthread_mutex_unlock(&f->lock);
	if (left)
		left(cookie);
	if (last)
		chan_free(chan);
}

void bh_blk_chan_complete(struct bh_blk_chan *chan, void *cookie, int status)
{
	struct foreign *f = chan->foreign;
	const uint64_t one = 1;
	uint32_t count;

	pthread_mutex_lock(&f->lock);
	if (f->closed) {
		complete_closed(chan, f, cookie);
		return;
	}
	count = f->count;
	f->ring[(f->head + count) % BH_BLK_CHAN_LIMIT] =
		(struct bh_blk_done){ .cookie = cookie, .status = status };
	/* Only a hint to the owner, who takes the lock before it reads the entry. */
	__atomic_store_n(&f->count, count + 1, __ATOMIC_RELEASE);
	if (f->armed) {
		f->armed = false;
		f->signalled = write(f->fd, &one, sizeof(one)) == sizeof(one);
	}
	pthread_mutex_unlock(&f->lock);
}

static unsigned int foreign_reap(struct foreign *f, struct bh_blk_done *out, unsigned int n)
{
	uint64_t drained;
	unsigned int i;

	if (!__atomic_load_n(&f->count, __ATOMIC_ACQUIRE))
		return 0;
	pthread_mutex_lock(&f->lock);
	f->armed = false;
	if (f->signalled)
		f->signalled = read(f->fd, &drained, sizeof(drained)) != sizeof(drained);
	n = n < f->count ? n : f->count;
	for (i = 0; i < n; i++) {
		out[i] = f->ring[f->head];
		f->head = (f->head + 1) % BH_BLK_CHAN_LIMIT;
	}
	__atomic_store_n(&f->count, f->count - n, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&f->lock);
	return n;
}

unsigned int bh_blk_reap(struct bh_blk_chan *chan, struct bh_blk_done *out, unsigned int n)
{
	unsigned int got = 0;

	if (!chan->outstanding)
		return 0;
	if (chan->blk->ops->reap)
		got = chan->blk->ops->reap(chan, out, n);
	if (chan->foreign && got < n)
		got += foreign_reap(chan->foreign, out + got, n - got);
	chan->outstanding -= got;
	return got;
}

void bh_blk_cancel(struct bh_blk_chan *chan, void *cookie)
{
	if (chan->blk->ops->cancel)
		chan->blk->ops->cancel(chan, cookie);
}

int bh_blk_chan_fd(const struct bh_blk_chan *chan)
{
	const struct foreign *f = chan->foreign;

	if (f && chan->blk->ops->fd)
		return chan->blk->ops->fd(chan);
	return f ? f->fd : -1;
}

int bh_blk_chan_arm(struct bh_blk_chan *chan)
{
	struct foreign *f = chan->foreign;
	int rc = 0;

	if (!f)
		return 0;
	pthread_mutex_lock(&f->lock);
	if (f->count)
		rc = -EAGAIN;
	else
		f->armed = true;
	pthread_mutex_unlock(&f->lock);
	return !rc && chan->blk->ops->arm ? chan->blk->ops->arm(chan) : rc;
}

int bh_blk_mem_add(struct bh_blk_chan *chan, void *va, size_t len, int fd)
{
	return chan->blk->ops->mem_add ? chan->blk->ops->mem_add(chan, va, len, fd) : -EOPNOTSUPP;
}

void bh_blk_mem_del(struct bh_blk_chan *chan, void *va, size_t len)
{
	if (chan->blk->ops->mem_del)
		chan->blk->ops->mem_del(chan, va, len);
}

void bh_blk_share(struct bh_blk *blk, const struct bh_blk_mem *mem)
{
	if (blk->info.caps & BH_BLK_CAP_SHARE)
		blk->ops->share(blk, mem);
}

void bh_blk_unshare(struct bh_blk *blk, const struct bh_blk_mem *mem, void (*done)(void *arg),
		    void *arg)
{
	if (blk->info.caps & BH_BLK_CAP_SHARE)
		blk->ops->unshare(blk, mem, done, arg);
	else
		done(arg);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store that completes late. One thread per store sleeps until the next request is due, moves
 * its data then, and completes it; which one is due next is up to the hold times, so the order of
 * completion has nothing to do with that of submission.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bellhop/clock.h>
#include <bellhop/parse.h>

#include "blk_late.h"

struct late_req {
	struct late_req *next;
	struct bh_blk_chan *chan;
	struct bh_blk_io io;
	uint64_t due_ns;
	int status;
};

struct late {
	struct bh_blk blk;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	struct late_req *held; /* by due time */
	uint64_t hold_ns;
	uint64_t random; /* state; 0: hold_ns exactly */
	bool stop;
	bool is_dead; /* destroyed from its own thread, which frees it */
	uint8_t *base;
	size_t len;
};

static void late_free(struct late *late)
{
	munmap(late->base, late->len);
	pthread_cond_destroy(&late->wake);
	pthread_mutex_destroy(&late->lock);
	free(late);
}

static void late_destroy(struct bh_blk *blk)
{
	struct late *late = (struct late *)blk;

	if (pthread_equal(pthread_self(), late->thread)) {
		/* The last request of a closed channel: late_thread() looks at this when it is back. */
		pthread_detach(late->thread);
		late->is_dead = true;
		return;
	}
	pthread_mutex_lock(&late->lock);
	late->stop = true;
	pthread_cond_signal(&late->wake);
	pthread_mutex_unlock(&late->lock);
	pthread_join(late->thread, NULL);
	late_free(late);
}

static void late_do(struct late *late, struct late_req *req)
{
	const struct bh_blk_io *io = &req->io;
	uint8_t *at = late->base + io->lba * late->blk.info.block_size;
	size_t bytes = (size_t)io->blocks * late->blk.info.block_size;
	unsigned int i;

	if (req->status || io->op == BH_BLK_FLUSH)
		return;
	if (io->op == BH_BLK_WRITE_ZEROES || io->op == BH_BLK_DEALLOCATE) {
		memset(at, 0, bytes);
		return;
	}
	for (i = 0; i < io->iovcnt && bytes; i++) {
		size_t n = io->iov[i].iov_len < bytes ? io->iov[i].iov_len : bytes;

		if (io->op == BH_BLK_READ)
			memcpy(io->iov[i].iov_base, at, n);
		else
			memcpy(at, io->iov[i].iov_base, n);
		at += n;
		bytes -= n;
	}
}

/* The first request that is due, or NULL after waiting for one; the lock is held. */
static struct late_req *late_next(struct late *late)
{
	struct late_req *req = late->held;
	struct timespec due;

	if (!req) {
		pthread_cond_wait(&late->wake, &late->lock);
		return NULL;
	}
	if (req->due_ns <= bh_now_ns()) {
		late->held = req->next;
		return req;
	}
	due.tv_sec = (time_t)(req->due_ns / 1000000000u);
	due.tv_nsec = (long)(req->due_ns % 1000000000u);
	pthread_cond_timedwait(&late->wake, &late->lock, &due);
	return NULL;
}

static void *late_thread(void *arg)
{
	struct late *late = arg;
	struct late_req *req;

	pthread_mutex_lock(&late->lock);
	while (!late->stop) {
		req = late_next(late);
		if (!req)
			continue;
		/* Under the lock: a synchronous cancel waits for a request that is at its data. */
		late_do(late, req);
		pthread_mutex_unlock(&late->lock);
		bh_blk_chan_complete(req->chan, req->io.cookie, req->status);
		free(req);
		if (late->is_dead) {
			late_free(late);
			return NULL;
		}
		pthread_mutex_lock(&late->lock);
	}
	pthread_mutex_unlock(&late->lock);
	return NULL;
}

static uint64_t late_hold(struct late *late)
{
	if (!late->random || !late->hold_ns)
		return late->hold_ns;
	late->random ^= late->random << 13;
	late->random ^= late->random >> 7;
	late->random ^= late->random << 17;
	return late->random % late->hold_ns;
}

static void late_insert(struct late *late, struct late_req *req)
{
	struct late_req **at = &late->held;

	while (*at && (*at)->due_ns <= req->due_ns)
		at = &(*at)->next;
	req->next = *at;
	*at = req;
	pthread_cond_signal(&late->wake);
}

static int late_submit(struct bh_blk_chan *chan, const struct bh_blk_io *io)
{
	struct late *late = (struct late *)chan->blk;
	struct late_req *req;
	int rc = bh_blk_check(&late->blk, io);

	if (rc || io->op == BH_BLK_COMPARE)
		return rc ? rc : -EOPNOTSUPP;
	req = malloc(sizeof(*req));
	if (!req)
		return -EAGAIN;
	req->chan = chan;
	req->io = *io;
	req->status = 0;
	pthread_mutex_lock(&late->lock);
	req->due_ns = bh_now_ns() + late_hold(late);
	late_insert(late, req);
	pthread_mutex_unlock(&late->lock);
	return BH_BLK_QUEUED;
}

/* Makes the request due at once; with direct or share it does not touch its buffer any more either. */
static void late_cancel(struct bh_blk_chan *chan, void *cookie)
{
	struct late *late = (struct late *)chan->blk;
	struct late_req **at, *req;

	if (!(late->blk.info.caps & (BH_BLK_CAP_CANCEL_SYNC | BH_BLK_CAP_SHARE)))
		return;
	pthread_mutex_lock(&late->lock);
	for (at = &late->held; *at; at = &(*at)->next) {
		req = *at;
		if (req->chan == chan && req->io.cookie == cookie) {
			*at = req->next;
			req->status = -ECANCELED;
			req->due_ns = 0;
			late_insert(late, req);
			break;
		}
	}
	pthread_mutex_unlock(&late->lock);
}

/* All memory is within its reach, whether or not it was shared. */
static void late_share(struct bh_blk *blk, const struct bh_blk_mem *mem)
{
	(void)blk, (void)mem;
}

static void late_unshare(struct bh_blk *blk, const struct bh_blk_mem *mem, void (*done)(void *arg),
			 void *arg)
{
	(void)blk, (void)mem;
	done(arg);
}

static bool late_reaches(struct bh_blk_chan *chan, const struct iovec *iov, unsigned int iovcnt)
{
	(void)chan, (void)iov;
	return iovcnt > 0;
}

static const struct bh_blk_ops late_ops = {
	.type = "late",
	.destroy = late_destroy,
	.chan_size = sizeof(struct bh_blk_chan),
	.submit = late_submit,
	.cancel = late_cancel,
	.share = late_share,
	.unshare = late_unshare,
	.reaches = late_reaches,
};

struct late_opts {
	char size[32];
	uint64_t hold_ms;
	uint64_t seed;
	uint64_t direct, share;
};

static int late_option(struct late_opts *opts, const char *option)
{
	if (!strncmp(option, "hold=", 5))
		return bh_parse_u64(option + 5, 0, 3600000, &opts->hold_ms);
	if (!strncmp(option, "seed=", 5))
		return bh_parse_u64(option + 5, 1, UINT64_MAX, &opts->seed);
	if (!strncmp(option, "direct=", 7))
		return bh_parse_u64(option + 7, 0, 1, &opts->direct);
	if (!strncmp(option, "share=", 6))
		return bh_parse_u64(option + 6, 0, 1, &opts->share);
	return -EINVAL;
}

static int late_parse(const struct bh_blk_spec *spec, struct late_opts *opts, char why[256])
{
	char arg[256], *save = NULL, *option;

	*opts = (struct late_opts){ .hold_ms = 5 };
	snprintf(arg, sizeof(arg), "%s", spec->arg ? spec->arg : "");
	option = strtok_r(arg, ",", &save);
	snprintf(opts->size, sizeof(opts->size), "%s", option ? option : "");
	while (option && (option = strtok_r(NULL, ",", &save))) {
		if (late_option(opts, option)) {
			snprintf(why, 256, "'%.200s' is no option of a late store", option);
			return -EINVAL;
		}
	}
	return 0;
}

static int late_start(struct late *late, const struct late_opts *opts, uint64_t bytes)
{
	pthread_condattr_t attr;

	late->hold_ns = opts->hold_ms * 1000000;
	late->random = opts->seed;
	late->len = bytes;
	late->base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (late->base == MAP_FAILED)
		return -ENOMEM;
	pthread_mutex_init(&late->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&late->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (!pthread_create(&late->thread, NULL, late_thread, late))
		return 0;
	pthread_cond_destroy(&late->wake);
	pthread_mutex_destroy(&late->lock);
	munmap(late->base, late->len);
	return -EAGAIN;
}

static int late_create(const struct bh_blk_spec *spec, const char *name, const struct bh_log *log,
		       char why[256], struct bh_blk **out)
{
	uint32_t caps = BH_BLK_CAP_WRITE | BH_BLK_CAP_FLUSH | BH_BLK_CAP_WRITE_ZEROES |
			BH_BLK_CAP_DEALLOCATE;
	struct late_opts opts;
	struct late *late;
	uint64_t bytes;
	int rc = late_parse(spec, &opts, why);

	if (!rc)
		rc = bh_blk_spec_bytes(spec, opts.size, why, &bytes);
	if (rc)
		return rc;
	late = calloc(1, sizeof(*late));
	if (!late)
		return -ENOMEM;
	caps |= opts.direct ? BH_BLK_CAP_CANCEL_SYNC : opts.share ? BH_BLK_CAP_SHARE : 0;
	rc = bh_blk_init(&late->blk, &late_ops, name, spec->block_size, bytes / spec->block_size,
			 caps, log);
	if (!rc)
		rc = late_start(late, &opts, bytes);
	if (rc) {
		strcpy(why, "no memory or no thread");
		bh_blk_fini(&late->blk);
		free(late);
		return rc;
	}
	if (spec->has_uuid)
		memcpy(late->blk.info.uuid, spec->uuid, sizeof(late->blk.info.uuid));
	*out = &late->blk;
	return 0;
}

const struct bh_blk_type blk_late_type = { "late", late_create };

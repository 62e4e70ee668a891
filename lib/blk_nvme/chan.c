/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channels of the NVMe store: a queue pair each, polled by the channel's owner.
 *
 * Buffers that the device reaches, those in an arena or in a client's memory that was shared, go to
 * it as they are. Others are copied through memory of ours, a piece at a time. A device may write to
 * a buffer until it has completed the command or was reset, so the store is none of CANCEL_SYNC: who
 * wants memory back waits for the requests in it. One that is cancelled is not repeated, nor is
 * anything copied to its buffers, and when it is in shared memory and has not come back in two
 * seconds, the controller is reset.
 *
 * A command that the controller aborts because it is being reset, or that finds no controller, is
 * parked and submitted again; one that has been at it for 25 s fails with -ENOTCONN.
 *
 * While there is something in the queue, its owner polls: an SSD answers sooner than a thread goes
 * to sleep and wakes. With nothing in it there is nothing to wake for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/clock.h>

#include "blk_nvme/blk_nvme.h"

#define PARK_NS 1000000ull

static struct bn_store *store_of(const struct bn_chan *c)
{
	return (struct bn_store *)c->base.blk;
}

/* ---- buffers ---- */

static void copy(const struct bn_req *req, bool is_in)
{
	uint8_t *bounce = req->bounce;
	uint64_t at = 0, skip = req->done, left = req->chunk;

	for (unsigned int i = 0; i < req->io.iovcnt && left; i++) {
		const struct iovec *iov = &req->io.iov[i];
		uint64_t from = skip < iov->iov_len ? skip : iov->iov_len;
		uint64_t n = iov->iov_len - from < left ? iov->iov_len - from : left;
		uint8_t *data = (uint8_t *)iov->iov_base + from;

		skip -= from;
		if (is_in)
			memcpy(bounce + at, data, n);
		else
			memcpy(data, bounce + at, n);
		at += n;
		left -= n;
	}
}

static int bounce_get(struct bn_chan *c, struct bn_req *req, size_t bytes)
{
	struct bn_device *device = store_of(c)->device;

	req->bounce = bn_device_alloc(device, bytes, &req->pool);
	if (req->bounce)
		return 0;
	/* What others have comes back; with nothing of ours under way there may be too little. */
	if (c->outstanding || bn_device_add_pool(device))
		return -EAGAIN;
	req->bounce = bn_device_alloc(device, bytes, &req->pool);
	return req->bounce ? 0 : -EAGAIN;
}

static void bounce_put(struct bn_req *req)
{
	if (req->bounce)
		bh_pool_free(req->pool, req->bounce);
	req->bounce = NULL;
}

/* ---- issuing ---- */

static uint64_t bytes_of(const struct bn_chan *c, const struct bn_req *req)
{
	return req->io.op == BH_BLK_FLUSH ? 0
					  : (uint64_t)req->io.blocks * c->base.blk->info.block_size;
}

static int issue_data(struct bn_chan *c, struct bn_req *req, const struct iovec *iov,
		      unsigned int iovcnt)
{
	const struct bn_store *store = store_of(c);
	unsigned int bits = (unsigned int)__builtin_ctz(store->blk.info.block_size) - store->shift;
	uint64_t lba = (req->io.lba << store->shift) + (req->done >> bits);
	uint32_t blocks = (uint32_t)(req->chunk >> bits);
	uint32_t flags = req->io.flags & BH_BLK_FLAG_FUA ? BH_NVME_FUA : 0;

	/* The driver's straight way. */
	if (iovcnt == 1 && req->io.op == BH_BLK_READ)
		return bh_nvme_read(c->q, store->ns, iov->iov_base, lba, blocks, 0, NULL, req);
	if (iovcnt == 1)
		return bh_nvme_write(c->q, store->ns, iov->iov_base, lba, blocks, flags, NULL, req);
	if (req->io.op == BH_BLK_READ)
		return bh_nvme_readv(c->q, store->ns, iov, iovcnt, lba, blocks, 0, NULL, req);
	return bh_nvme_writev(c->q, store->ns, iov, iovcnt, lba, blocks, flags, NULL, req);
}

static int issue_bounced(struct bn_chan *c, struct bn_req *req)
{
	uint64_t left = bytes_of(c, req) - req->done;
	struct iovec one;
	int rc;

	req->chunk = left < BN_CHUNK ? left : BN_CHUNK;
	if (!req->bounce && (rc = bounce_get(c, req, req->chunk)))
		return rc;
	if (req->io.op == BH_BLK_WRITE)
		copy(req, true);
	one = (struct iovec){ req->bounce, req->chunk };
	return issue_data(c, req, &one, 1);
}

static int issue_rw(struct bn_chan *c, struct bn_req *req)
{
	int rc;

	if (req->bounce)
		return issue_bounced(c, req);
	req->chunk = bytes_of(c, req);
	rc = issue_data(c, req, req->io.iov, req->io.iovcnt);
	/* Out of its reach, or in pieces that it cannot name. */
	return rc == -EFAULT || rc == -EINVAL ? issue_bounced(c, req) : rc;
}

static int issue_zeroes(struct bn_chan *c, struct bn_req *req)
{
	const struct bn_store *store = store_of(c);
	uint32_t block = store->blk.info.block_size >> store->shift;
	uint64_t left = bytes_of(c, req) - req->done, most = (uint64_t)BN_ZEROES * block;
	uint32_t flags = (req->io.flags & BH_BLK_FLAG_FUA ? BH_NVME_FUA : 0) |
			 (req->io.flags & BH_BLK_FLAG_DEALLOCATE ? BH_NVME_WZ_DEAC : 0);

	req->chunk = left < most ? left : most;
	return bh_nvme_write_zeroes(c->q, store->ns,
				    (req->io.lba << store->shift) + req->done / block,
				    (uint32_t)(req->chunk / block), flags, NULL, req);
}

static int issue_deallocate(struct bn_chan *c, struct bn_req *req)
{
	const struct bn_store *store = store_of(c);
	struct bh_nvme_dsm_range *range;
	int rc;

	req->chunk = bytes_of(c, req);
	if (!req->bounce && (rc = bounce_get(c, req, sizeof(*range))))
		return rc;
	range = req->bounce;
	*range = (struct bh_nvme_dsm_range){ .blocks = req->io.blocks << store->shift,
					     .lba = req->io.lba << store->shift };
	return bh_nvme_deallocate(c->q, store->ns, range, 1, NULL, req);
}

static int issue(struct bn_chan *c, struct bn_req *req)
{
	switch (req->io.op) {
	case BH_BLK_READ:
	case BH_BLK_WRITE:
		return issue_rw(c, req);
	case BH_BLK_FLUSH:
		req->chunk = 0;
		return bh_nvme_flush(c->q, store_of(c)->ns, NULL, req);
	case BH_BLK_WRITE_ZEROES:
		return issue_zeroes(c, req);
	default:
		return issue_deallocate(c, req);
	}
}

static void park(struct bn_chan *c, struct bn_req *req)
{
	req->next = NULL;
	*c->parked_last = req;
	c->parked_last = &req->next;
}

static void req_put(struct bn_chan *c, struct bn_req *req)
{
	bounce_put(req);
	c->outstanding--;
	c->cancelled -= req->cancelled_ns != 0;
	req->is_out = false;
	req->next = c->free;
	c->free = req;
}

static int submit_locked(struct bn_chan *c, const struct bh_blk_io *io)
{
	struct bn_req *req = c->free;
	int rc;

	if (!req)
		return -EAGAIN;
	req->io = *io;
	req->done = req->chunk = 0;
	req->began_ns = bh_now_ns();
	req->cancelled_ns = 0;
	rc = issue(c, req);
	if (rc && rc != -EAGAIN && rc != -ENODEV) {
		bounce_put(req);
		return rc;
	}
	c->free = req->next;
	c->outstanding++;
	req->is_out = true;
	if (rc)
		park(c, req);
	return BH_BLK_QUEUED;
}

static int check(const struct bh_blk *blk, const struct bh_blk_io *io)
{
	if (io->op >= BH_BLK_COMPARE ||
	    (io->op == BH_BLK_DEALLOCATE && !(blk->info.caps & BH_BLK_CAP_DEALLOCATE)) ||
	    (io->op == BH_BLK_WRITE_ZEROES && !(blk->info.caps & BH_BLK_CAP_WRITE_ZEROES)))
		return -EOPNOTSUPP;
	if (!(blk->info.caps & BH_BLK_CAP_WRITE) && io->op != BH_BLK_READ && io->op != BH_BLK_FLUSH)
		return -EROFS;
	return bh_blk_check(blk, io);
}

static int bn_submit(struct bh_blk_chan *base, const struct bh_blk_io *io)
{
	struct bn_chan *c = (struct bn_chan *)base;
	int rc = check(base->blk, io);

	if (rc)
		return rc;
	if (io->op == BH_BLK_FLUSH ? !store_of(c)->has_flush : !io->blocks)
		return 0;
	pthread_mutex_lock(&c->lock);
	rc = submit_locked(c, io);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* ---- results ---- */

static int errno_of(uint16_t status)
{
	switch (status & BH_NVME_STATUS_SC_MASK) {
	case 0:
		return 0;
	case BH_NVME_SC_LBA_OUT_OF_RANGE:
	case BH_NVME_SC_INVALID_NS:
		return -EINVAL;
	case BH_NVME_SC_CAPACITY_EXCEEDED:
		return -ENOSPC;
	case BH_NVME_SC_NS_WRITE_PROTECTED:
	case BH_NVME_SC_WRITE_TO_READ_ONLY:
		return -EROFS;
	case BH_NVME_SC_UNRECOVERED_READ_ERROR:
		return -ENODATA;
	case BH_NVME_SC_INVALID_OPCODE:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}

/* Nothing was wrong with the command: whoever would have carried it out was not there. */
static bool is_to_be_repeated(uint16_t status)
{
	switch (status & BH_NVME_STATUS_SC_MASK) {
	case BH_NVME_SC_ABORTED_BY_REQUEST:
	case BH_NVME_SC_ABORTED_SQ_DELETION:
	case BH_NVME_SC_INTERNAL_PATH_ERROR:
	case BH_NVME_SC_NS_NOT_READY:
	case BH_NVME_SC_COMMAND_INTERRUPTED:
		return true;
	}
	return false;
}

/*
 * True: it is over, with *status. One that was cancelled has failed even if it came to pass: it may
 * have been the first of several.
 */
static bool take(struct bn_chan *c, struct bn_req *req, uint16_t result, int *status)
{
	int rc;

	*status = req->cancelled_ns ? -ECANCELED : errno_of(result);
	if (is_to_be_repeated(result) && !req->cancelled_ns) {
		park(c, req);
		return false;
	}
	if (*status)
		return true;
	if (req->bounce && req->io.op == BH_BLK_READ)
		copy(req, false);
	req->done += req->chunk;
	if (req->done >= bytes_of(c, req))
		return true;
	rc = issue(c, req);
	if (rc == -EAGAIN || rc == -ENODEV)
		park(c, req);
	else if (rc)
		*status = rc;
	return rc && rc != -EAGAIN && rc != -ENODEV;
}

/* Those that have waited long enough; n at most. The rest goes on waiting. */
static unsigned int retry_parked(struct bn_chan *c, struct bh_blk_done *out, unsigned int n)
{
	struct bn_req *list = c->parked, *req;
	uint64_t now = bh_now_ns();
	unsigned int got = 0;

	if (!list || now < c->look_ns)
		return 0;
	c->parked = NULL;
	c->parked_last = &c->parked;
	while ((req = list)) {
		int rc = -EAGAIN;

		list = req->next;
		if (got < n && req->cancelled_ns)
			rc = -ECANCELED;
		else if (got < n)
			rc = now - req->began_ns > BN_TIMEOUT_NS ? -ENOTCONN : issue(c, req);
		if (rc == -EAGAIN || rc == -ENODEV) {
			c->look_ns = now + PARK_NS;
			park(c, req);
		} else if (rc) {
			out[got++] = (struct bh_blk_done){ req->io.cookie, rc };
			req_put(c, req);
		}
	}
	return got;
}

static unsigned int reap_locked(struct bn_chan *c, struct bh_blk_done *out, unsigned int n)
{
	struct bh_nvme_result results[64];
	unsigned int got = retry_parked(c, out, n);
	int seen;

	seen = bh_nvme_queue_reap(c->q, results, n - got < 64 ? n - got : 64);
	for (int i = 0; i < seen; i++) {
		struct bn_req *req = results[i].arg;
		int status;

		if (!take(c, req, results[i].status, &status))
			continue;
		out[got++] = (struct bh_blk_done){ req->io.cookie, status };
		req_put(c, req);
	}
	return got;
}

static unsigned int bn_reap(struct bh_blk_chan *base, struct bh_blk_done *out, unsigned int n)
{
	struct bn_chan *c = (struct bn_chan *)base;
	unsigned int got;

	pthread_mutex_lock(&c->lock);
	got = reap_locked(c, out, n);
	pthread_mutex_unlock(&c->lock);
	return got;
}

static int bn_arm(struct bh_blk_chan *base)
{
	return base->outstanding ? -EAGAIN : 0;
}

static void bn_cancel(struct bh_blk_chan *base, void *cookie)
{
	struct bn_chan *c = (struct bn_chan *)base;

	pthread_mutex_lock(&c->lock);
	for (unsigned int i = 0; i < BN_REQUESTS; i++) {
		struct bn_req *req = &c->req[i];

		if (!req->is_out || req->io.cookie != cookie || req->cancelled_ns)
			continue;
		req->cancelled_ns = bh_now_ns();
		c->cancelled++;
		c->look_ns = 0;
	}
	pthread_mutex_unlock(&c->lock);
}

static bool bn_reaches(struct bh_blk_chan *base, const struct iovec *iov, unsigned int iovcnt)
{
	struct bn_chan *c = (struct bn_chan *)base;
	const struct bh_iova_map *map = bh_device_iova_map(store_of(c)->device->dev);
	bool reaches = true;
	uint64_t iova;

	pthread_mutex_lock(&c->lock);
	for (unsigned int i = 0; reaches && i < iovcnt; i++)
		reaches = (((uintptr_t)iov[i].iov_base | iov[i].iov_len) & 3) == 0 &&
			  bh_iova_translate(map, &c->cache, iov[i].iov_base, iov[i].iov_len, &iova);
	pthread_mutex_unlock(&c->lock);
	return reaches;
}

bool bn_chan_is_stuck(struct bn_chan *c)
{
	uint64_t now = bh_now_ns();
	bool is_stuck = false;

	pthread_mutex_lock(&c->lock);
	for (unsigned int i = 0; c->cancelled && i < BN_REQUESTS; i++) {
		const struct bn_req *req = &c->req[i];

		is_stuck |= req->is_out && req->io.flags & BH_BLK_FLAG_SHARED &&
			    req->cancelled_ns && now - req->cancelled_ns > BN_PATIENCE_NS;
	}
	pthread_mutex_unlock(&c->lock);
	return is_stuck;
}

/* ---- without an owner ---- */

bool bn_chan_serve(struct bn_chan *c)
{
	struct bh_blk_done done[64];
	unsigned int n, left;

	pthread_mutex_lock(&c->lock);
	n = reap_locked(c, done, 64);
	left = c->outstanding;
	pthread_mutex_unlock(&c->lock);
	for (unsigned int i = 0; i < n; i++)
		bh_blk_chan_complete(&c->base, done[i].cookie, done[i].status);
	/* Left, and that was the last of it: the channel is freed by now. */
	return left || !n;
}

static void bn_leave(struct bh_blk_chan *base)
{
	struct bn_chan *c = (struct bn_chan *)base;
	struct bn_device *device = store_of(c)->device;

	pthread_mutex_lock(&device->lock);
	c->is_left = true;
	pthread_cond_signal(&device->wake);
	pthread_mutex_unlock(&device->lock);
}

/* ---- life ---- */

static void create_queue(struct bn_order *order)
{
	struct bn_device *device = store_of(order->chan)->device;
	struct bh_nvme_queue_opts opts;

	bh_nvme_queue_opts_init(&opts);
	opts.depth = BN_REQUESTS;
	if (opts.depth >= bh_nvme_max_depth(device->nvme))
		opts.depth = bh_nvme_max_depth(device->nvme) - 1;
	order->error = bh_nvme_queue_create(device->nvme, &opts, &order->chan->q);
	if (order->error == -ENOMEM && !bn_device_add_pool(device))
		order->error = bh_nvme_queue_create(device->nvme, &opts, &order->chan->q);
	if (!order->error)
		bn_device_add_chan(device, order->chan);
}

static void destroy_queue(struct bn_order *order)
{
	bn_device_remove_chan(store_of(order->chan)->device, order->chan);
	bh_nvme_queue_destroy(order->chan->q);
}

static int bn_chan_init(struct bh_blk *blk, struct bh_blk_chan *base)
{
	struct bn_chan *c = (struct bn_chan *)base;
	struct bn_order order = { .run = create_queue, .chan = c };
	int rc = bn_device_call(((struct bn_store *)blk)->device, &order);

	if (rc)
		return rc;
	pthread_mutex_init(&c->lock, NULL);
	c->parked_last = &c->parked;
	base->limit = BN_REQUESTS;
	for (unsigned int i = 0; i < BN_REQUESTS; i++) {
		c->req[i].next = c->free;
		c->free = &c->req[i];
	}
	return 0;
}

static void bn_chan_fini(struct bh_blk_chan *base)
{
	struct bn_chan *c = (struct bn_chan *)base;
	struct bn_device *device = store_of(c)->device;
	struct bn_order order = { .run = destroy_queue, .chan = c };

	bn_device_call(device, &order);
	for (unsigned int i = 0; i < c->num_arenas; i++)
		bn_arena_del(device, c->arena[i].va, c->arena[i].len);
	pthread_mutex_destroy(&c->lock);
}

/* ---- memory ---- */

static int bn_mem_add(struct bh_blk_chan *base, void *va, size_t len, int fd)
{
	struct bn_chan *c = (struct bn_chan *)base;
	int rc;

	if (c->num_arenas == BN_ARENAS)
		return -ENOSPC;
	rc = bn_arena_add(store_of(c)->device, va, len, fd);
	if (rc)
		return rc;
	c->arena[c->num_arenas].va = va;
	c->arena[c->num_arenas++].len = len;
	return 0;
}

static void bn_mem_del(struct bh_blk_chan *base, void *va, size_t len)
{
	struct bn_chan *c = (struct bn_chan *)base;

	for (unsigned int i = 0; i < c->num_arenas; i++) {
		if (c->arena[i].va != va || c->arena[i].len != len)
			continue;
		c->arena[i] = c->arena[--c->num_arenas];
		bn_arena_del(store_of(c)->device, va, len);
		return;
	}
}

const struct bh_blk_ops bn_ops = {
	.type = "nvme",
	.destroy = bn_store_destroy,
	.chan_size = sizeof(struct bn_chan),
	.chan_init = bn_chan_init,
	.chan_fini = bn_chan_fini,
	.submit = bn_submit,
	.reap = bn_reap,
	.arm = bn_arm,
	.leave = bn_leave,
	.cancel = bn_cancel,
	.share = bn_share,
	.unshare = bn_unshare,
	.reaches = bn_reaches,
	.mem_add = bn_mem_add,
	.mem_del = bn_mem_del,
	.grow = bn_store_grow,
};

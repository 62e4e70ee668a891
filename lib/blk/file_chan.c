/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channels of the file store: an io_uring each.
 *
 * Submitting fills in an entry; what a pass has filled in goes to the kernel in one call when the
 * owner reaps. Completions are looked for in the ring, which is memory; the kernel is entered for
 * them only if the ring says that it has some to post (IORING_SQ_TASKRUN).
 *
 * Sleeping: the kernel writes the channel's eventfd, which it is told not to do unless armed.
 *
 * A request in the kernel cannot be taken back: its buffer may be under a disk's DMA until it
 * completes, and that takes as long as the disk does. So the store is none of CANCEL_SYNC, and the
 * buffers it is given are the caller's own, not a client's. Those that last are registered
 * (mem_add): the kernel pins them once, not per request.
 *
 * A channel that is left with requests in it goes to the store's waiter, a thread that has been
 * there since the store was made, because nothing may fail by then.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/barrier.h>

#include "blk/file_req.h"

#define REQUESTS 2048u /* of a channel */
#define SQ_ENTRIES 256u
#define MEM_SLOTS 64u
#define MEM_MAX ((size_t)1 << 30) /* the kernel's limit for one buffer */
#define NEEDED (IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE)

struct file_mem {
	uint8_t *va; /* NULL: free */
	size_t len;
};

struct file_chan {
	struct bh_blk_chan base;
	struct io_uring ring;
	struct file_req *free;
	struct file_req *again, **again_last; /* steps that found no room in the ring */
	unsigned int num_mem;		      /* slots the kernel has */
	unsigned int last_mem;		      /* hit last */
	bool is_armed;
	struct file_mem mem[MEM_SLOTS];
	struct file_chan *left_next;
	struct file_req req[REQUESTS];
};

/* ---- rings ---- */

/*
 * With fewer interrupts where the kernel knows how (5.19), and disabled until it is restricted
 * where it can be (5.10).
 */
static int ring_init(struct io_uring *ring, unsigned int entries, unsigned int completions)
{
	static const unsigned int wishes[] = {
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED,
		IORING_SETUP_R_DISABLED,
		0,
	};
	int rc = -EINVAL;

	for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]) && rc == -EINVAL; i++) {
		struct io_uring_params p = { .flags = IORING_SETUP_CQSIZE | wishes[i],
					     .cq_entries = completions };

		rc = io_uring_queue_init_params(entries, ring, &p);
	}
	if (rc || (ring->features & NEEDED) == NEEDED)
		return rc;
	io_uring_queue_exit(ring);
	return -ENOSYS;
}

/* liburing 2.3 declares functions of their own for these two operations and does not export them. */
static int ring_register_op(struct io_uring *ring, unsigned int op, const void *arg, unsigned int n)
{
	return io_uring_register((unsigned int)ring->ring_fd, op, arg, n);
}

/*
 * Nothing but what file_req.c asks for. A seccomp filter does not see what a ring is told to do, so a
 * ring that could open files would be a way out of one.
 */
static int ring_restrict(struct io_uring *ring)
{
	static const uint8_t requests[] = {
		IORING_OP_READV, IORING_OP_WRITEV,     IORING_OP_READ,
		IORING_OP_WRITE, IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED,
		IORING_OP_FSYNC, IORING_OP_FALLOCATE,  IORING_OP_ASYNC_CANCEL,
	};
	static const uint8_t changes[] = { IORING_REGISTER_BUFFERS_UPDATE,
					   IORING_UNREGISTER_FILES };
	struct io_uring_restriction all[16] = { 0 };
	unsigned int n = 0;

	for (size_t i = 0; i < sizeof(requests); i++, n++) {
		all[n].opcode = IORING_RESTRICTION_SQE_OP;
		all[n].sqe_op = requests[i];
	}
	for (size_t i = 0; i < sizeof(changes); i++, n++) {
		all[n].opcode = IORING_RESTRICTION_REGISTER_OP;
		all[n].register_op = changes[i];
	}
	all[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	all[n++].sqe_flags = IOSQE_FIXED_FILE;
	return ring_register_op(ring, IORING_REGISTER_RESTRICTIONS, all, n);
}

static int ring_enable(struct io_uring *ring)
{
	int rc;

	if (!(ring->flags & IORING_SETUP_R_DISABLED))
		return 0;
	rc = ring_restrict(ring);
	return rc ? rc : ring_register_op(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

/*
 * Refused rather than replaced by a pool of threads: that would be a second store, without the
 * speed that is wanted of this one.
 */
int file_ring_probe(char why[256])
{
	struct io_uring ring;
	int rc = ring_init(&ring, 2, 4);

	if (!rc) {
		io_uring_queue_exit(&ring);
		return 0;
	}
	if (rc == -ENOSYS)
		strcpy(why, "file stores need io_uring of Linux 5.6 or later, which is not there");
	else if (rc == -EPERM || rc == -EACCES)
		strcpy(why, "file stores need io_uring, which is not allowed here: see the sysctl "
			    "kernel.io_uring_disabled, or the container's seccomp profile");
	else
		snprintf(why, 256, "file stores need io_uring: %s%s", strerror(-rc),
			 rc == -ENOMEM ? " (ulimit -l?)" : "");
	return rc;
}

static int ring_register(struct file_chan *c, int fd, int event)
{
	int rc = io_uring_register_files(&c->ring, &fd, 1);

	if (!rc)
		rc = io_uring_register_eventfd(&c->ring, event);
	if (!rc)
		rc = io_uring_cq_eventfd_toggle(&c->ring, false);
	if (rc)
		return rc;
	/* Linux 5.19; without it all buffers are ordinary ones. */
	if (!io_uring_register_buffers_sparse(&c->ring, MEM_SLOTS))
		c->num_mem = MEM_SLOTS;
	return ring_enable(&c->ring);
}

static int file_chan_init(struct bh_blk *blk, struct bh_blk_chan *chan)
{
	struct file_store *store = (struct file_store *)blk;
	struct file_chan *c = (struct file_chan *)chan;
	int rc = ring_init(&c->ring, SQ_ENTRIES, 2 * REQUESTS);
	unsigned int i;

	if (rc)
		return rc;
	rc = ring_register(c, store->fd, bh_blk_chan_fd(chan));
	if (rc) {
		io_uring_queue_exit(&c->ring);
		return rc;
	}
	c->again_last = &c->again;
	chan->limit = REQUESTS;
	for (i = 0; i < REQUESTS; i++) {
		c->req[i].next = c->free;
		c->free = &c->req[i];
	}
	return 0;
}

/*
 * The kernel frees a ring in its own time, and a file that it holds, with its lock, would be busy
 * until then.
 */
static void file_chan_fini(struct bh_blk_chan *chan)
{
	struct file_chan *c = (struct file_chan *)chan;

	io_uring_unregister_files(&c->ring);
	io_uring_queue_exit(&c->ring);
}

/* ---- registered buffers ---- */

static int mem_set(struct file_chan *c, unsigned int slot, void *va, size_t len)
{
	const struct iovec iov = { va, len };
	__u64 tag = 0;
	int rc = io_uring_register_buffers_update_tag(&c->ring, slot, &iov, &tag, 1);

	if (rc < 0)
		return rc;
	c->mem[slot] = (struct file_mem){ va, len };
	return 0;
}

static void file_mem_del(struct bh_blk_chan *chan, void *va, size_t len)
{
	struct file_chan *c = (struct file_chan *)chan;
	uint8_t *from = va;
	unsigned int i;

	for (i = 0; i < c->num_mem; i++) {
		const struct file_mem *m = &c->mem[i];

		if (m->va && m->va >= from && m->va + m->len <= from + len &&
		    mem_set(c, i, NULL, 0))
			c->mem[i] = (struct file_mem){ NULL, 0 };
	}
}

static int file_mem_add(struct bh_blk_chan *chan, void *va, size_t len, int fd)
{
	struct file_chan *c = (struct file_chan *)chan;
	uint8_t *from = va;
	unsigned int i = 0;
	size_t n, done;
	int rc = 0;

	(void)fd; /* the kernel takes addresses */
	for (done = 0; !rc && done < len; done += n) {
		n = len - done < MEM_MAX ? len - done : MEM_MAX;
		while (i < c->num_mem && c->mem[i].va)
			i++;
		rc = i < c->num_mem ? mem_set(c, i, from + done, n) : -ENOSPC;
	}
	if (rc) /* all of it or nothing */
		file_mem_del(chan, va, len);
	return rc;
}

static int find_mem(struct file_chan *c, const struct iovec *iov)
{
	const uint8_t *va = iov->iov_base;
	unsigned int k, i = c->last_mem;

	for (k = 0; k < c->num_mem; k++, i = i + 1 == c->num_mem ? 0 : i + 1) {
		const struct file_mem *m = &c->mem[i];

		if (m->va && va >= m->va && iov->iov_len <= m->len &&
		    (size_t)(va - m->va) <= m->len - iov->iov_len) {
			c->last_mem = i;
			return (int)i;
		}
	}
	return -1;
}

/* ---- submitting ---- */

/* False: the ring is full, and the kernel takes none of it now. */
static bool put(struct file_chan *c, struct file_req *req)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&c->ring);
	struct iovec one;

	if (!sqe) {
		io_uring_submit(&c->ring);
		sqe = io_uring_get_sqe(&c->ring);
	}
	if (!sqe)
		return false;
	file_req_prep(req, sqe, file_req_one(req, &one) ? find_mem(c, &one) : -1);
	io_uring_sqe_set_data(sqe, req);
	return true;
}

static void put_later(struct file_chan *c, struct file_req *req)
{
	req->next = NULL;
	*c->again_last = req;
	c->again_last = &req->next;
}

static void req_free(struct file_chan *c, struct file_req *req)
{
	file_req_end(req);
	req->is_queued = false;
	req->next = c->free;
	c->free = req;
}

static int file_submit(struct bh_blk_chan *chan, const struct bh_blk_io *io)
{
	struct file_chan *c = (struct file_chan *)chan;
	struct file_req *req = c->free;
	int rc;

	if (!req)
		return -EAGAIN;
	c->free = req->next;
	rc = file_req_begin(req, (struct file_store *)chan->blk, io);
	if (!rc && put(c, req)) {
		req->is_queued = true;
		return BH_BLK_QUEUED;
	}
	req_free(c, req);
	return !rc ? -EAGAIN : rc > 0 ? 0 : rc;
}

/* To the kernel with what is filled in. */
static void push(struct file_chan *c)
{
	struct file_req *req;

	while ((req = c->again)) {
		struct file_req *next = req->next;

		if (!put(c, req))
			break;
		c->again = next;
		if (!next)
			c->again_last = &c->again;
	}
	if (io_uring_sq_ready(&c->ring))
		io_uring_submit(&c->ring);
}

/* ---- reaping ---- */

/* One completion of the ring: true when it ends a request, whose cookie and status *done gets. */
static bool take(struct file_chan *c, const struct io_uring_cqe *cqe, struct bh_blk_done *done)
{
	struct file_req *req = io_uring_cqe_get_data(cqe);

	if (!req) /* a cancellation's own */
		return false;
	if (!file_req_answer(req, (struct file_store *)c->base.blk, cqe->res, &done->status)) {
		if (!put(c, req))
			put_later(c, req);
		return false;
	}
	done->cookie = req->io.cookie;
	req_free(c, req);
	return true;
}

static void disarm(struct file_chan *c)
{
	uint64_t count;

	if (!c->is_armed)
		return;
	c->is_armed = false;
	io_uring_cq_eventfd_toggle(&c->ring, false);
	/* Level-triggered: what was written while armed must not wake again. */
	while (read(bh_blk_chan_fd(&c->base), &count, sizeof(count)) < 0 && errno == EINTR)
		continue;
}

static unsigned int file_reap(struct bh_blk_chan *chan, struct bh_blk_done *out, unsigned int n)
{
	struct file_chan *c = (struct file_chan *)chan;
	struct io_uring_cqe *cqe[64];
	unsigned int i, got = 0, seen;

	disarm(c);
	push(c);
	do {
		unsigned int want = n - got < 64 ? n - got : 64;

		seen = io_uring_peek_batch_cqe(&c->ring, cqe, want);
		for (i = 0; i < seen; i++)
			got += take(c, cqe[i], &out[got]);
		io_uring_cq_advance(&c->ring, seen);
	} while (seen && got < n);
	return got;
}

/* Nothing may be in the ring that nobody will look at. */
static int file_arm(struct bh_blk_chan *chan)
{
	struct file_chan *c = (struct file_chan *)chan;

	disarm(c);
	push(c);
	/* What is left of a cancellation, of which no reap will be asked. */
	if (!chan->outstanding)
		io_uring_cq_advance(&c->ring, io_uring_cq_ready(&c->ring));
	io_uring_cq_eventfd_toggle(&c->ring, true);
	c->is_armed = true;
	/*
	 * The flag is stored before the ring is looked at; the kernel posts its completion before it
	 * looks at the flag.
	 */
	bh_mb();
	if (!c->again && !io_uring_sq_ready(&c->ring) && !io_uring_cq_ready(&c->ring) &&
	    !(IO_URING_READ_ONCE(*c->ring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)))
		return 0;
	disarm(c);
	return -EAGAIN;
}

/* Only hurries: what the kernel has not begun, it does not begin. */
static void file_cancel(struct bh_blk_chan *chan, void *cookie)
{
	struct file_chan *c = (struct file_chan *)chan;
	struct io_uring_sqe *sqe;
	unsigned int i;

	for (i = 0; i < REQUESTS; i++) {
		if (!c->req[i].is_queued || c->req[i].io.cookie != cookie)
			continue;
		sqe = io_uring_get_sqe(&c->ring);
		if (!sqe)
			return;
		io_uring_prep_cancel(sqe, &c->req[i], 0);
		io_uring_sqe_set_data(sqe, NULL);
		return;
	}
}

/* ---- channels that were left ---- */

static void wait_out(struct file_chan *c)
{
	uint32_t left = c->base.outstanding;

	while (left) {
		struct io_uring_cqe *cqe;
		struct bh_blk_done done;
		bool is_end;

		push(c);
		if (io_uring_wait_cqe(&c->ring, &cqe)) {
			poll(NULL, 0, 1);
			continue;
		}
		is_end = take(c, cqe, &done);
		io_uring_cqe_seen(&c->ring, cqe);
		if (!is_end)
			continue;
		left--;
		bh_blk_chan_complete(&c->base, done.cookie, done.status); /* the last frees c */
	}
}

static void *waiter_run(void *arg)
{
	struct file_store *store = arg;

	pthread_mutex_lock(&store->lock);
	while (!store->is_stopping) {
		struct file_chan *c = store->left;

		if (!c) {
			pthread_cond_wait(&store->wake, &store->lock);
			continue;
		}
		store->left = c->left_next;
		pthread_mutex_unlock(&store->lock);
		wait_out(c);
		if (store->is_dead) {
			file_free(store);
			return NULL;
		}
		pthread_mutex_lock(&store->lock);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

int file_waiter_start(struct file_store *store)
{
	sigset_t all, before;
	int rc;

	/* The application's signals are none of its business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = -pthread_create(&store->waiter, NULL, waiter_run, store);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

bool file_waiter_stop(struct file_store *store)
{
	if (pthread_equal(pthread_self(), store->waiter)) {
		pthread_detach(store->waiter);
		store->is_dead = true;
		return false;
	}
	pthread_mutex_lock(&store->lock);
	store->is_stopping = true;
	pthread_cond_signal(&store->wake);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->waiter, NULL);
	return true;
}

static void file_leave(struct bh_blk_chan *chan)
{
	struct file_store *store = (struct file_store *)chan->blk;
	struct file_chan *c = (struct file_chan *)chan;

	pthread_mutex_lock(&store->lock);
	c->left_next = store->left;
	store->left = c;
	pthread_cond_signal(&store->wake);
	pthread_mutex_unlock(&store->lock);
}

const struct bh_blk_ops file_ops = {
	.type = "file",
	.destroy = file_destroy,
	.chan_size = sizeof(struct file_chan),
	.chan_init = file_chan_init,
	.chan_fini = file_chan_fini,
	.submit = file_submit,
	.reap = file_reap,
	.arm = file_arm,
	.cancel = file_cancel,
	.leave = file_leave,
	.mem_add = file_mem_add,
	.mem_del = file_mem_del,
	.grow = file_grow,
};

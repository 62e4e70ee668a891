/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies to and from client memory in any mode: the way of everything that is not fast.
 *
 * A copy is a run of segments, one per region. All of them are checked before the first byte moves,
 * so that a bad range has no effect. Without message regions it is a loop, done when the caller
 * gets the thread back. With them it is a small heap object that goes from segment to segment: each
 * message's completion takes up the loop where it stopped, with the table as it is then, since the
 * region may have gone while the client was thinking.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bellhop/range.h>

#include "cmem/cmem.h"

struct copy {
	struct bh_cmem *cm;
	uint64_t iova;
	uint8_t *buf;
	size_t len;
	bool write;
	bh_cmem_done done;
	void *arg;
	/* ---- while a message is on its way ---- */
	size_t segment;
	int status;
	uint32_t turn; /* __atomic, see run() */
};

enum { TURN_SENT, TURN_RETURNED, TURN_DONE };

static int copy_mapped(const struct copy *c, const struct bh_cmem_region *r, size_t len)
{
	uint8_t *va = r->va + (c->iova - r->iova);

	if (c->write)
		memcpy(va, c->buf, len);
	else
		memcpy(c->buf, va, len);
	return __atomic_load_n(&r->guard.failed, __ATOMIC_ACQUIRE) ? -EFAULT : 0;
}

/* Writing behind the end would lengthen a file its owner has cut, or hit a limit by signal. */
static bool inside_file(int fd, uint64_t offset, size_t len)
{
	struct stat st;

	return fstat(fd, &st) == 0 &&
	       (!S_ISREG(st.st_mode) || bh_range_inside(offset, len, (uint64_t)st.st_size));
}

static int copy_file(const struct copy *c, const struct bh_cmem_region *r, size_t len)
{
	uint64_t offset = r->fd_offset + (c->iova - r->iova);
	uint8_t *buf = c->buf;

	if (c->write && !inside_file(r->fd, offset, len))
		return -EFAULT;
	while (len > 0) {
		ssize_t n = c->write ? pwrite(r->fd, buf, len, (off_t)offset)
				     : pread(r->fd, buf, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -EIO;
		if (n == 0)
			return c->write ? -EIO : -EFAULT; /* reading: the file was cut */
		buf += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* The part of what is left that lies in the region of c->iova; 0: in none. */
static size_t segment_of(const struct copy *c, const struct bh_cmem_region **region)
{
	const struct bh_cmem_region *r = bh_cmem_find(c->cm, c->iova);
	uint64_t here = r ? r->len - (c->iova - r->iova) : 0;

	*region = r;
	return here < c->len ? (size_t)here : c->len;
}

static uint32_t needed_prot(bool write)
{
	return write ? BH_CMEM_PROT_WRITE : BH_CMEM_PROT_READ;
}

/* 0 or what is wrong with the range; *messages: is any of it reached by message? */
static int check(struct copy walk, bool *messages)
{
	const struct bh_cmem_ops *ops = walk.cm->ops;

	*messages = false;
	if (walk.len > 0 && !bh_range_valid(walk.iova, walk.len))
		return -EFAULT;
	while (walk.len > 0) {
		const struct bh_cmem_region *r;
		size_t n = segment_of(&walk, &r);

		if (n == 0)
			return -EFAULT;
		if (!(r->prot & needed_prot(walk.write)))
			return -EPERM;
		*messages |= r->mode == BH_CMEM_MESSAGE;
		walk.iova += n;
		walk.len -= n;
	}
	return *messages && !(ops && ops->message) ? -ENODEV : 0;
}

static void advance(struct copy *c, size_t n)
{
	if (c->write)
		bh_cmem_dirty(c->cm, c->iova, n);
	c->iova += n;
	c->buf += n;
	c->len -= n;
}

/* Up to the next message region or the end. 0, or the error. */
static int copy_local(struct copy *c, const struct bh_cmem_region **stopped_at)
{
	*stopped_at = NULL;
	while (c->len > 0) {
		const struct bh_cmem_region *r;
		size_t n = segment_of(c, &r);
		int rc;

		if (n == 0)
			return -EFAULT;
		if (!(r->prot & needed_prot(c->write)))
			return -EPERM;
		if (r->mode == BH_CMEM_MESSAGE) {
			*stopped_at = r;
			c->segment = n;
			return 0;
		}
		rc = r->mode == BH_CMEM_FILE ? copy_file(c, r, n) : copy_mapped(c, r, n);
		if (rc < 0)
			return rc;
		advance(c, n);
	}
	return 0;
}

static void finish(struct copy *c, int status)
{
	bh_cmem_done done = c->done;
	void *arg = c->arg;

	free(c);
	done(arg, status);
}

static void run(struct copy *c);

/*
 * A message's completion may come inside message() or at any time on another thread. Whichever of
 * the two, this and the return of message(), is second goes on: so the stack does not grow by a
 * frame per segment, and one thread at a time has the object.
 */
static void message_done(void *arg, int status)
{
	struct copy *c = arg;

	c->status = status;
	if (__atomic_exchange_n(&c->turn, TURN_DONE, __ATOMIC_ACQ_REL) == TURN_RETURNED)
		run(c);
}

/* True: the message is done already, its status is in c->status. */
static bool send_message(struct copy *c)
{
	const struct bh_cmem *cm = c->cm;

	__atomic_store_n(&c->turn, TURN_SENT, __ATOMIC_RELAXED);
	c->status = 0;
	cm->ops->message(cm->ops_ctx, c->write, c->iova, c->buf, c->segment, message_done, c);
	return __atomic_exchange_n(&c->turn, TURN_RETURNED, __ATOMIC_ACQ_REL) == TURN_DONE;
}

/* Goes on behind a message that is done (segment != 0), or begins. */
static void run(struct copy *c)
{
	const struct bh_cmem_region *r;
	int rc;

	do {
		if (c->segment && c->status != 0) {
			finish(c, c->status);
			return;
		}
		if (c->segment)
			advance(c, c->segment);
		c->segment = 0;
		rc = copy_local(c, &r);
		if (rc < 0 || !r) {
			finish(c, rc);
			return;
		}
	} while (send_message(c));
}

static void start(struct copy *want)
{
	const struct bh_cmem_region *stopped_at;
	struct copy *c;
	bool messages;
	int rc = check(*want, &messages);

	if (rc == 0 && !messages)
		rc = copy_local(want, &stopped_at);
	if (rc < 0 || !messages) {
		want->done(want->arg, rc);
		return;
	}
	c = malloc(sizeof(*c));
	if (!c) {
		want->done(want->arg, -ENOMEM);
		return;
	}
	*c = *want;
	run(c);
}

void bh_cmem_read(struct bh_cmem *cm, uint64_t iova, void *buf, size_t len, bh_cmem_done done,
		  void *arg)
{
	struct copy c = {
		.cm = cm, .iova = iova, .buf = buf, .len = len, .done = done, .arg = arg
	};

	start(&c);
}

void bh_cmem_write(struct bh_cmem *cm, uint64_t iova, const void *buf, size_t len,
		   bh_cmem_done done, void *arg)
{
	struct copy c = { .cm = cm,
			  .iova = iova,
			  .buf = (uint8_t *)buf,
			  .len = len,
			  .write = true,
			  .done = done,
			  .arg = arg };

	start(&c);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of the file store: what each operation is made of, and what the kernel's answers mean.
 *
 *	read, write	 one transfer; what a short one has left is asked for again
 *	flush		 fdatasync, of the file with metadata too, where there is one
 *	write zeroes	 zero the range; punch a hole in it; write zeros: the first that works
 *	deallocate	 punch a hole
 *
 * With FUA a write is RWF_DSYNC, the others are followed by fdatasync. A file system that does not
 * know an operation is not asked again.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "blk/file_req.h"

#define FILL_BYTES (64u << 10)
#define MAX_IOV 1024u /* UIO_MAXIOV */

static const uint8_t zeros[FILL_BYTES] __attribute__((aligned(4096)));

/* ---- buffers ---- */

static bool is_aligned(const struct iovec *iov, uint32_t align)
{
	return ((uintptr_t)iov->iov_base | iov->iov_len) % align == 0;
}

/* Can the kernel take the caller's list as it is? */
static bool is_usable(const struct bh_blk_io *io, uint64_t bytes, uint32_t align)
{
	uint64_t sum = 0;
	unsigned int i;

	if (io->iovcnt > MAX_IOV)
		return false;
	for (i = 0; i < io->iovcnt; i++) {
		if (!is_aligned(&io->iov[i], align))
			return false;
		sum += io->iov[i].iov_len;
	}
	return sum == bytes;
}

/* Between the bounce buffer and the caller's. */
static void copy(const struct file_req *req, bool to_caller)
{
	uint64_t left = req->bytes;
	uint8_t *at = req->bounce;
	unsigned int i;

	for (i = 0; i < req->io.iovcnt && left; i++) {
		const struct iovec *iov = &req->io.iov[i];
		size_t n = iov->iov_len < left ? iov->iov_len : left;

		if (to_caller)
			memcpy(iov->iov_base, at, n);
		else
			memcpy(at, iov->iov_base, n);
		at += n;
		left -= n;
	}
}

/* Drops the first req->done bytes of the list. */
static int trim(struct file_req *req)
{
	uint64_t skip = req->done;
	struct iovec *rest = malloc(req->io.iovcnt * sizeof(*rest));
	unsigned int i, n = 0;

	if (!rest)
		return -ENOMEM;
	for (i = 0; i < req->io.iovcnt; i++) {
		struct iovec iov = req->io.iov[i];
		size_t cut = skip < iov.iov_len ? skip : iov.iov_len;

		skip -= cut;
		if (iov.iov_len == cut)
			continue;
		rest[n++] = (struct iovec){ (uint8_t *)iov.iov_base + cut, iov.iov_len - cut };
	}
	/* Unused entries are empty, so that the count need not change. */
	for (; n < req->io.iovcnt; n++)
		rest[n] = (struct iovec){ NULL, 0 };
	free(req->rest);
	req->rest = rest;
	return 0;
}

/* ---- steps ---- */

static uint8_t first_zeroing(struct file_req *req, const struct file_store *store)
{
	bool has_punch = !__atomic_load_n(&store->no_punch, __ATOMIC_RELAXED);
	bool has_zero = !__atomic_load_n(&store->no_zero_range, __ATOMIC_RELAXED);

	req->tries_zero = has_zero;
	if (has_punch && (req->io.flags & BH_BLK_FLAG_DEALLOCATE))
		return FILE_PUNCH;
	req->tries_zero = false;
	return has_zero ? FILE_ZERO : has_punch ? FILE_PUNCH : FILE_FILL;
}

static int begin_data(struct file_req *req, const struct file_store *store)
{
	req->step = FILE_RW;
	if (!req->bytes)
		return 1;
	if (is_usable(&req->io, req->bytes, store->mem_align))
		return 0;
	req->bounce = aligned_alloc(4096, (req->bytes + 4095) & ~4095ull);
	if (!req->bounce)
		return -EAGAIN;
	if (req->io.op == BH_BLK_WRITE)
		copy(req, false);
	return 0;
}

int file_req_begin(struct file_req *req, struct file_store *store, const struct bh_blk_io *io)
{
	uint32_t block = store->blk.info.block_size;
	int rc;

	*req = (struct file_req){ .io = *io,
				  .beside = io->part ? io->part->media_fd : store->blk.media_fd };
	rc = bh_blk_check(&store->blk, io);
	if (rc)
		return rc;
	if (io->op != BH_BLK_READ && store->is_readonly)
		return io->op == BH_BLK_FLUSH ? 1 : -EROFS;
	req->offset = io->lba * block;
	req->bytes = (uint64_t)io->blocks * block;
	switch (io->op) {
	case BH_BLK_READ:
	case BH_BLK_WRITE:
		return begin_data(req, store);
	case BH_BLK_FLUSH:
		req->step = FILE_SYNC;
		return 0;
	case BH_BLK_WRITE_ZEROES:
		req->step = first_zeroing(req, store);
		return req->bytes ? 0 : 1;
	case BH_BLK_DEALLOCATE:
		req->step = FILE_PUNCH;
		return req->bytes ? 0 : 1;
	}
	return -EOPNOTSUPP;
}

void file_req_end(struct file_req *req)
{
	free(req->bounce);
	free(req->rest);
	req->bounce = NULL;
	req->rest = NULL;
}

bool file_req_one(const struct file_req *req, struct iovec *one)
{
	if (req->step != FILE_RW || (!req->bounce && req->io.iovcnt != 1))
		return false;
	one->iov_base =
		(req->bounce ? req->bounce : (uint8_t *)req->io.iov[0].iov_base) + req->done;
	one->iov_len = req->bytes - req->done;
	return true;
}

static void prep_rw(const struct file_req *req, struct io_uring_sqe *sqe, int fixed)
{
	const struct iovec *iov = req->rest ? req->rest : req->io.iov;
	bool is_read = req->io.op == BH_BLK_READ;
	uint64_t offset = req->offset + req->done;
	struct iovec one;

	if (!file_req_one(req, &one)) {
		if (is_read)
			io_uring_prep_readv(sqe, 0, iov, req->io.iovcnt, offset);
		else
			io_uring_prep_writev(sqe, 0, iov, req->io.iovcnt, offset);
	} else {
		/* The kernel moves less than 2 GiB at a time, and says so. */
		unsigned int len = one.iov_len < 1u << 30 ? (unsigned int)one.iov_len : 1u << 30;

		if (fixed >= 0 && is_read)
			io_uring_prep_read_fixed(sqe, 0, one.iov_base, len, offset, fixed);
		else if (fixed >= 0)
			io_uring_prep_write_fixed(sqe, 0, one.iov_base, len, offset, fixed);
		else if (is_read)
			io_uring_prep_read(sqe, 0, one.iov_base, len, offset);
		else
			io_uring_prep_write(sqe, 0, one.iov_base, len, offset);
	}
	if (!is_read && (req->io.flags & BH_BLK_FLAG_FUA))
		sqe->rw_flags = RWF_DSYNC;
}

void file_req_prep(const struct file_req *req, struct io_uring_sqe *sqe, int fixed)
{
	uint64_t at = req->offset + req->done, left = req->bytes - req->done;

	switch (req->step) {
	case FILE_RW:
		prep_rw(req, sqe, fixed);
		break;
	case FILE_ZERO:
		io_uring_prep_fallocate(sqe, 0, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
					(off_t)at, (off_t)left);
		break;
	case FILE_PUNCH:
		io_uring_prep_fallocate(sqe, 0, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)at, (off_t)left);
		break;
	case FILE_FILL:
		io_uring_prep_write(sqe, 0, zeros,
				    left < FILL_BYTES ? (unsigned int)left : FILL_BYTES, at);
		break;
	case FILE_SYNC_BESIDE: /* not one of the ring's files: it may change with the format */
		io_uring_prep_fsync(sqe, req->beside, IORING_FSYNC_DATASYNC);
		return;
	default:
		io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
	}
	sqe->flags |= IOSQE_FIXED_FILE;
}

/* ---- answers ---- */

/* What the kernel says, in the words of a store (struct bh_blk_done). */
static int status_of(const struct file_req *req, int error)
{
	switch (error) {
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG: /* RLIMIT_FSIZE */
		return -ENOSPC;
	case -ECANCELED:
		return error;
	case -EROFS:
	case -EPERM: /* sealed, or made immutable */
		return req->io.op == BH_BLK_READ ? -EIO : -EROFS;
	case -ENODATA: /* a medium error */
		return req->io.op == BH_BLK_READ ? -ENODATA : -EIO;
	case -EOPNOTSUPP:
		return req->step == FILE_PUNCH ? -EOPNOTSUPP : -EIO;
	}
	return -EIO;
}

/* True: there is another way to do it. */
static bool next_zeroing(struct file_req *req, struct file_store *store)
{
	if (req->step == FILE_ZERO) {
		__atomic_store_n(&store->no_zero_range, 1, __ATOMIC_RELAXED);
		req->step = __atomic_load_n(&store->no_punch, __ATOMIC_RELAXED) ? FILE_FILL
										: FILE_PUNCH;
		return true;
	}
	__atomic_store_n(&store->no_punch, 1, __ATOMIC_RELAXED);
	if (req->io.op != BH_BLK_WRITE_ZEROES)
		return false;
	req->step = req->tries_zero ? FILE_ZERO : FILE_FILL;
	return true;
}

static bool answer_failed(struct file_req *req, struct file_store *store, int res, int *status)
{
	if (res == -EAGAIN || res == -EINTR)
		return false;
	if (res == -EOPNOTSUPP && (req->step == FILE_ZERO || req->step == FILE_PUNCH) &&
	    next_zeroing(req, store))
		return false;
	*status = status_of(req, res);
	return true;
}

/* A transfer of res bytes; true: that was all, or it cannot go on. */
static bool answer_moved(struct file_req *req, int res, int *status)
{
	bool is_read = req->io.op == BH_BLK_READ;

	if (!res) { /* the file has become shorter */
		*status = is_read ? -ENODATA : -EIO;
		return true;
	}
	req->done += (uint64_t)res;
	if (req->done < req->bytes) {
		if (req->step == FILE_RW && !req->bounce && req->io.iovcnt > 1 && trim(req))
			*status = -EIO;
		return *status != 0;
	}
	if (is_read && req->bounce)
		copy(req, true);
	return true;
}

bool file_req_answer(struct file_req *req, struct file_store *store, int res, int *status)
{
	bool moves = req->step == FILE_RW || req->step == FILE_FILL;

	*status = 0;
	if (res < 0)
		return answer_failed(req, store, res, status);
	if (moves && !answer_moved(req, res, status))
		return false;
	/* A write has its FUA in itself. */
	if (*status || req->step == FILE_RW || req->step == FILE_SYNC_BESIDE)
		return true;
	if (req->step == FILE_SYNC && req->beside < 0)
		return true;
	if (req->step != FILE_SYNC && !(req->io.flags & BH_BLK_FLAG_FUA))
		return true;
	req->step = req->step == FILE_SYNC ? FILE_SYNC_BESIDE : FILE_SYNC;
	return false;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A request of the file store, from submission to its last step. Private to lib/blk. */
#ifndef BLK_FILE_REQ_H
#define BLK_FILE_REQ_H

#include "blk/file.h"

enum file_step {
	FILE_RW,	  /* reading, writing */
	FILE_ZERO,	  /* FALLOC_FL_ZERO_RANGE */
	FILE_PUNCH,	  /* FALLOC_FL_PUNCH_HOLE */
	FILE_FILL,	  /* writing zeros, where there is nothing better */
	FILE_SYNC,	  /* fdatasync */
	FILE_SYNC_BESIDE, /* of the file with metadata */
};

struct file_req {
	struct file_req *next;
	struct bh_blk_io io;
	uint8_t step;
	int beside; /* the file with metadata, or -1 */
	bool is_queued;
	bool tries_zero; /* punching first, because it may deallocate */
	uint64_t offset;
	uint64_t bytes;
	uint64_t done;
	uint8_t *bounce;    /* of all its data, where the caller's buffers will not do */
	struct iovec *rest; /* what a short transfer has left of io.iov */
};

/*
 * Begins: buffers, and the first step. 0: go on; 1: there is nothing to do. -EAGAIN: no memory for
 * a bounce buffer; -EINVAL, -EROFS, -EOPNOTSUPP as of submit.
 */
int file_req_begin(struct file_req *req, struct file_store *store, const struct bh_blk_io *io);
/* Its next step as an entry for the ring; fixed >= 0: the registered buffer that holds its data. */
void file_req_prep(const struct file_req *req, struct io_uring_sqe *sqe, int fixed);
/* The data of its next step, if that is in one piece. */
bool file_req_one(const struct file_req *req, struct iovec *one);
/* The kernel's answer to a step. True: complete, with *status; false: there is one more step. */
bool file_req_answer(struct file_req *req, struct file_store *store, int res, int *status);
void file_req_end(struct file_req *req); /* frees what it had */

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The file store's inner shape: file.c opens, file_lock.c locks, file_chan.c does the I/O. */
#ifndef BLK_FILE_H
#define BLK_FILE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <liburing.h>

#include <bellhop/blk.h>

/* How long a file may be busy with the last requests of a process that was killed. */
#define FILE_PATIENCE_NS 2000000000ull

struct file_chan;

struct file_store {
	struct bh_blk blk;
	int fd;
	bool is_device;
	bool is_readonly;
	bool is_created;	/* by us: removed again when the rest fails */
	bool is_direct;		/* O_DIRECT */
	uint32_t mem_align;	/* of buffers, when direct; else 1 */
	uint32_t no_zero_range; /* __atomic: the file system has said so, or the kernel */
	uint32_t no_punch;	/* __atomic: likewise */

	/* The thread that waits for requests whose channel was left. */
	pthread_t waiter;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct file_chan *left; /* under lock */
	bool is_stopping;	/* under lock */
	bool is_dead;		/* the waiter's own: the store was destroyed on its thread */
};

/* file_lock.c: the whole file, for writing unless it is read-only. -EBUSY and why: taken. */
int file_lock(const struct file_store *store, const char *path, const struct bh_log *log,
	      char why[256]);

/* file_chan.c */
int file_ring_probe(char why[256]);
int file_waiter_start(struct file_store *store);
/* True: it has ended. False: this is its own thread, and it will free the store. */
bool file_waiter_stop(struct file_store *store);

/* file.c */
void file_destroy(struct bh_blk *blk);
int file_grow(struct bh_blk *blk, uint64_t blocks);
void file_free(struct file_store *store); /* the last of all */

extern const struct bh_blk_ops file_ops;

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Client memory: what a device side may reach of its client (a guest, a driver), by iova.
 *
 * Component: lib/cmem
 *
 * A region came with DMA_MAP and is reached in one of three modes: mapped into this process, by
 * pread/pwrite on its fd, or by messages to the client. The fast path asks bh_cmem_ptr() for a
 * pointer and gets NULL for all but the first. bh_cmem_read/write() reach every region; they are
 * always asynchronous.
 *
 * The table is immutable once published: it is replaced under quiesce, when no thread holds a
 * pointer from it (the server guarantees that), so readers take no lock. Regions that the client
 * truncates under us are caught by the fault guard: the range reads zeros from then on, its flag is
 * set and *bh_cmem_faults() grows; a user that sees the counter change before it posts a completion
 * asks bh_cmem_failed() for the buffer at hand. A lost region is not looked up again: who zeroes
 * its cache gets NULL for it.
 */
#ifndef BELLHOP_CMEM_H
#define BELLHOP_CMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/fault.h>
#include <bellhop/log.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BH_CMEM_PROT_READ 1u  /* the device may read it */
#define BH_CMEM_PROT_WRITE 2u /* the device may write it */

enum bh_cmem_mode {
	BH_CMEM_MAPPED,
	BH_CMEM_FILE,
	BH_CMEM_MESSAGE,
};

struct bh_cmem_region {
	uint64_t iova;
	uint64_t len;
	uint8_t *va; /* of iova, NULL unless mapped */
	uint32_t prot;
	enum bh_cmem_mode mode;
	int fd;		    /* file mode only: owned */
	uint64_t fd_offset; /* of iova */
	void *map_base;	    /* what was mmapped: page aligned around va */
	size_t map_len;
	struct bh_fault_range guard;
};

struct bh_cmem_table {
	size_t count;
	struct bh_cmem_region **region; /* sorted by iova */
	size_t capacity;		/* private to lib/cmem */
};

struct bh_cmem {
	struct bh_cmem_table *table; /* __atomic; never NULL */
	uint32_t faults;	     /* grows when a mapped region of ours faults */
	/* ---- private to lib/cmem ---- */
	const struct bh_cmem_ops *ops;
	void *ops_ctx;
	size_t max_regions;
	const struct bh_log *log;
	struct bh_cmem_table *spare; /* the next table: removing needs no memory */
};

/*
 * done(arg, status): 0, or -EFAULT (not mapped, or vanished), -EPERM (protection), -EIO, -ENODEV
 * (client gone, or it cannot be sent messages), -ENOMEM.
 */
typedef void (*bh_cmem_done)(void *arg, int status);

/* How message regions are reached, and on which thread file access runs: given by the server. */
struct bh_cmem_ops {
	/*
	 * Moves len bytes between buf and the client's iova by DMA_READ/DMA_WRITE; calls done
	 * exactly once, perhaps before it returns. Any thread. NULL: message regions are -ENODEV.
	 */
	void (*message)(void *ctx, bool write, uint64_t iova, void *buf, size_t len,
			bh_cmem_done done, void *arg);
	/*
	 * Closes an fd that bh_cmem_add() did not take, which may be of any file; must not wait for
	 * it. NULL: close(2).
	 */
	void (*close)(void *ctx, int fd);
	/* The client's memory was written: where dirty logging attaches. May be NULL. */
	void (*dirty)(void *ctx, uint64_t iova, uint64_t len);
};

/*
 * ops may be NULL, and stays the caller's, as do ops_ctx and log. cm must stay where it is until
 * bh_cmem_fini(). -ENOMEM.
 */
int bh_cmem_init(struct bh_cmem *cm, const struct bh_cmem_ops *ops, void *ops_ctx,
		 size_t max_regions, const struct bh_log *log);
/* Removes everything. A zeroed cm is accepted, and this may be called twice. */
void bh_cmem_fini(struct bh_cmem *cm);

/*
 * Adds a region. fd is taken over on success and on failure (it is closed then); -1 for message
 * mode. Mapped mode demands a regular file at least fd_offset + len long, file mode takes block
 * devices, /dev/mem and /dev/zero too; all of them in memory or on this machine's disks, so that no
 * access waits for somebody else. Control thread, under quiesce (or before any reader).
 *
 * -EINVAL: empty, wraps, unknown prot or mode, unmappable or odd fd, file too short, mode without
 * fd, message mode with one. -EEXIST: overlaps. -ENOSPC: too many regions. -EACCES: fd not open for
 * what prot says. -ENOMEM.
 */
int bh_cmem_add(struct bh_cmem *cm, uint64_t iova, uint64_t len, uint32_t prot,
		enum bh_cmem_mode mode, int fd, uint64_t fd_offset);

/*
 * Removes every region that lies wholly inside [iova, iova + len). len 0 with iova 0 removes all
 * (never fails). -ENOENT: none there. -EINVAL: one straddles the edge (nothing is removed then),
 * len is 0 or wraps. Control thread, under quiesce.
 */
int bh_cmem_del(struct bh_cmem *cm, uint64_t iova, uint64_t len);

/*
 * Takes the memory of these regions, as of bh_cmem_del(), away without a quiesce: from here on they
 * are zeros of our own, failed, and still in the table until that is called. For when the device does
 * not stand still and the client has the memory back. Regions that are mapped; of files and messages
 * nothing is to be had before del. Control thread.
 */
void bh_cmem_revoke(struct bh_cmem *cm, uint64_t iova, uint64_t len);

/*
 * Would bh_cmem_del() find something to remove? 0: it would, and all of it; else its -ENOENT or
 * -EINVAL. Control thread.
 */
int bh_cmem_inside(const struct bh_cmem *cm, uint64_t iova, uint64_t len);

/* A reader's last hit. Zero it to begin, and again after each quiesce that changed the table. */
struct bh_cmem_cache {
	uint64_t iova;
	uint64_t len;
	uint8_t *va;
	uint32_t denied; /* BH_CMEM_PROT_*: what the region does not allow */
};

/*
 * Out of line: finds and caches. NULL: not mapped, not allowed, lost to a fault, or not within one
 * mapped region.
 */
void *bh_cmem_lookup(const struct bh_cmem *cm, struct bh_cmem_cache *cache, uint64_t iova,
		     uint64_t len, uint32_t prot);

/*
 * A pointer to [iova, iova + len), valid until the next quiesce, or NULL. prot is what will be done
 * with it, at least one of BH_CMEM_PROT_*. No bytes at all (len 0) may be NULL. Any thread.
 */
static inline void *bh_cmem_ptr(const struct bh_cmem *cm, struct bh_cmem_cache *cache,
				uint64_t iova, uint64_t len, uint32_t prot)
{
	uint64_t off = iova - cache->iova, end;

	if (__builtin_expect(!__builtin_add_overflow(off, len, &end) && end <= cache->len &&
				     !(cache->denied & prot),
			     1))
		/* In integers: an empty cache holds nothing at all, which is at NULL. */
		return (void *)((uintptr_t)cache->va + off);
	return bh_cmem_lookup(cm, cache, iova, len, prot);
}

/* The region that holds iova, or NULL. Any thread. */
const struct bh_cmem_region *bh_cmem_find(const struct bh_cmem *cm, uint64_t iova);

/*
 * Has [iova, iova + len) been lost to a fault? Also true when part of it is mapped nowhere. Any
 * thread.
 */
bool bh_cmem_failed(const struct bh_cmem *cm, uint64_t iova, uint64_t len);

static inline uint32_t bh_cmem_faults(const struct bh_cmem *cm)
{
	return __atomic_load_n(&cm->faults, __ATOMIC_ACQUIRE);
}

/*
 * Our stores into client memory go through here (or are followed by bh_cmem_dirty). dst came from
 * bh_cmem_ptr.
 */
static inline void bh_cmem_store(const struct bh_cmem *cm, uint64_t iova, void *dst,
				 const void *src, size_t len)
{
	__builtin_memcpy(dst, src, len);
	if (__builtin_expect(cm->ops && cm->ops->dirty, 0))
		cm->ops->dirty(cm->ops_ctx, iova, len);
}

/*
 * Reports a write done for us (by io_uring, a device) after it is complete, before its completion
 * is posted.
 */
static inline void bh_cmem_dirty(const struct bh_cmem *cm, uint64_t iova, uint64_t len)
{
	if (__builtin_expect(cm->ops && cm->ops->dirty, 0))
		cm->ops->dirty(cm->ops_ctx, iova, len);
}

/*
 * Copies between buf and client memory in any mode, across adjacent regions. All of the range is
 * checked before any of it is moved. `done` may run before these return (mapped and file mode) or
 * later on the server's thread (messages); buf must stay until then. Any thread; may make system
 * calls.
 */
void bh_cmem_read(struct bh_cmem *cm, uint64_t iova, void *buf, size_t len, bh_cmem_done done,
		  void *arg);
void bh_cmem_write(struct bh_cmem *cm, uint64_t iova, const void *buf, size_t len,
		   bh_cmem_done done, void *arg);

#ifdef __cplusplus
}
#endif
#endif

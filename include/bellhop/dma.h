/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that devices may reach: pools, and DMA spaces made of pools.
 *
 * Component: lib/dma
 *
 * A pool is one memfd: hugetlb pages of 1 GiB or 2 MiB where there are free ones, ordinary pages
 * otherwise; sealed against shrinking and growing, bound to a NUMA node, populated when it is
 * created. Its allocator keeps all metadata outside the pool, so nothing a device writes there can
 * mislead it. Memory of the application's own is made a pool by bh_pool_import(), memory of a
 * device by bh_device_bar_pool().
 *
 * A space is a set of pools. A device is opened with a space and reaches its pools and nothing
 * else. Pools are added and removed while devices are open: every device that listens maps or
 * unmaps the pool before the call returns. One pool is one mapping with one fd.
 *
 * Control path: all functions may be called from any thread (spaces and pools lock), none belongs
 * on a data path but the inline bh_iova_translate().
 */
#ifndef BELLHOP_DMA_H
#define BELLHOP_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/log.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bh_pool;
struct bh_dma_space;

enum bh_mem_kind {
	BH_MEM_FILE,   /* a shared mapping of fd */
	BH_MEM_VA,     /* an address range without an fd */
	BH_MEM_DMABUF, /* memory of a device: a mapping of its BAR, of which fd is a dma-buf */
};

/* What a pool is made of: what a backend needs to map it. */
struct bh_mem {
	void *va;
	size_t len; /* bytes, a multiple of page_size */
	int fd;	    /* owned by the pool; -1: none */
	uint64_t fd_offset;
	size_t page_size; /* of the pages really used */
	int node;	  /* NUMA node bound to, -1: none */
	enum bh_mem_kind kind;
};

struct bh_pool_opts {
	size_t size;	  /* sizeof(struct bh_pool_opts) */
	const char *name; /* shown in logs and /proc/PID/maps; default "bellhop" */
	size_t bytes;	  /* capacity wanted; rounded up to the page size chosen */
	/*
	 * 4096, 2 MiB, 1 GiB: these pages or -ENOMEM. 0: the largest for which enough pages are
	 * free, leaving out those of which rounding up would waste more than half of the pool.
	 */
	size_t page_size;
	int node;		  /* NUMA node, -1: anywhere */
	const struct bh_log *log; /* says once, at info, which pages were taken and why */
};

void bh_pool_opts_init(struct bh_pool_opts *opts); /* node -1, everything else 0 */

/*
 * Creates a pool; its memory is there, zeroed, when this returns. Where the kernel has no NUMA
 * policy or refuses it, the pool is made unbound (mem->node is -1, a warning is logged).
 *
 * -ENOMEM: not enough memory (RLIMIT_AS, RLIMIT_FSIZE and the control group included) or hugepages
 * of the size asked for (the log has the command that reserves more).
 * -EINVAL: bytes 0, impossible page size or node. -EMFILE: too many open files.
 */
int bh_pool_create(const struct bh_pool_opts *opts, struct bh_pool **out);

/*
 * Makes [va, va + len), a shared mapping of fd at fd_offset made by the caller, a pool without an
 * allocator. The fd is duplicated; the mapping stays the caller's and must outlive the pool. name
 * may be NULL.
 *
 * fd -1 (and fd_offset 0): memory without a file, of malloc() or another library's heap. The
 * kernel's VFIO maps it by address, a vfio-user peer is offered it by messages only. Whether it is
 * memory that can be mapped shows when the pool is added to the space of an open device. A process
 * that forks marks such memory MADV_DONTFORK first: else the child may be left with the pages.
 *
 * -EINVAL: not aligned to the pages of the file, empty, not a shared mapping of a regular file that
 * large. -EMFILE: too many open files. -ENOMEM. -EOPNOTSUPP: /proc/self/maps, against which the
 * mapping is checked, cannot be read.
 */
int bh_pool_import(void *va, size_t len, int fd, uint64_t fd_offset, const char *name,
		   struct bh_pool **out);

/*
 * The same for memory of a device: a mapping of what the dma-buf is of. Use bh_device_bar_pool(),
 * which makes both fit. -EINVAL: not whole pages, empty, fd -1. -EMFILE, -ENOMEM.
 */
int bh_pool_import_dmabuf(void *va, size_t len, int dmabuf, const char *name, struct bh_pool **out);

/*
 * The pool must be in no space (asserts nothing, leaks the pool and logs an error if it is). NULL
 * is accepted.
 */
void bh_pool_destroy(struct bh_pool *pool);

/* Both are constant and valid as long as the pool. */
const struct bh_mem *bh_pool_mem(const struct bh_pool *pool);
const char *bh_pool_name(const struct bh_pool *pool);

/*
 * Allocates `bytes` aligned to `align` (a power of two; 0 means 64; up to the pool's page size).
 * NULL when there is no such room left, when bytes is 0 or align impossible, or the pool is
 * imported. The zeroed variant clears; fresh pool memory is zero anyway. Memory within one
 * allocation is contiguous in va and iova. Sizes are rounded up to 64 bytes: two allocations never
 * share a cache line.
 */
void *bh_pool_alloc(struct bh_pool *pool, size_t bytes, size_t align);
void *bh_pool_zalloc(struct bh_pool *pool, size_t bytes, size_t align);
/* NULL is accepted. A pointer that was not allocated from this pool is ignored and logged. */
void bh_pool_free(struct bh_pool *pool, void *ptr);
/* Bytes not allocated, not necessarily in one piece; 0 for an imported pool. */
size_t bh_pool_free_bytes(const struct bh_pool *pool);

/* ---- spaces ---- */

/* An empty space. -ENOMEM. */
int bh_dma_space_create(const struct bh_log *log, struct bh_dma_space **out);
/*
 * Removes its pools (which live on). Must have no listener (device) left; with one, the space is
 * leaked and an error logged. NULL is accepted.
 */
void bh_dma_space_destroy(struct bh_dma_space *space);

/*
 * Maps the pool in every device of the space. If one device refuses, it is unmapped again in the
 * others and the call fails with that device's error. -EEXIST: in this space already, or its va
 * overlaps another pool's. -ENOMEM. A pool may be in several spaces.
 */
int bh_dma_space_add(struct bh_dma_space *space, struct bh_pool *pool);

/*
 * Unmaps the pool in every device. When this returns no device of the space reaches it any more:
 * one that did not acknowledge by its deadline was declared gone. No I/O may be using the pool.
 * -ENOENT: not in this space.
 */
int bh_dma_space_remove(struct bh_dma_space *space, struct bh_pool *pool);

/*
 * First pool with an allocator and `bytes` free at `align`, allocated from: for drivers that need
 * queue memory. The pool to give it back to goes to *pool. NULL: no pool has that room.
 */
void *bh_dma_space_alloc(struct bh_dma_space *space, size_t bytes, size_t align,
			 struct bh_pool **pool);

/* The pool that holds all of [va, va + len), or NULL. */
struct bh_pool *bh_dma_space_find(struct bh_dma_space *space, const void *va, size_t len);

/* ---- what backends use ---- */

struct bh_dma_listener {
	/*
	 * Maps mem for the device: 0 or -errno. Called with the space locked: must not call back
	 * into the space.
	 */
	int (*map)(struct bh_dma_listener *listener, const struct bh_mem *mem);
	/*
	 * Unmaps it; cannot fail: a peer that does not answer in time is declared gone by the
	 * backend. Called with the space locked.
	 */
	void (*unmap)(struct bh_dma_listener *listener, const struct bh_mem *mem);
	struct bh_dma_listener *next; /* the space's */
};

/*
 * Calls map for every pool; on the first failure unmaps those done and returns its error. The
 * listener stays the caller's and must live until bh_dma_space_unlisten(). -EEXIST: listens
 * already.
 */
int bh_dma_space_listen(struct bh_dma_space *space, struct bh_dma_listener *listener);
/* Calls unmap for every pool. Nothing happens if it does not listen. */
void bh_dma_space_unlisten(struct bh_dma_space *space, struct bh_dma_listener *listener);

/*
 * What a backend keeps with a space for all its devices there (the address space that they share),
 * so that it needs no state of the process. Embedded first in the backend's own structure.
 */
struct bh_dma_shared {
	const void *key; /* the backend's: where something of its own lies */
	/* ---- the space's ---- */
	unsigned int users;
	struct bh_dma_shared *next;
};
/*
 * What is kept with this key, or what make() made because there was nothing (with its errors). It
 * stays until everyone who called has called bh_dma_space_unshare(). make() is called with the
 * space locked: must not call back into it.
 */
int bh_dma_space_share(struct bh_dma_space *space, const void *key,
		       int (*make)(struct bh_dma_shared **out), struct bh_dma_shared **out);
/* True: that was the last one, and it is the caller's to free. */
bool bh_dma_space_unshare(struct bh_dma_space *space, struct bh_dma_shared *shared);

/* ---- va -> iova ---- */

/* One contiguous piece with one translation: iova = va + delta (mod 2^64). */
struct bh_iova_entry {
	uintptr_t va;
	size_t len;
	uint64_t delta;
};

/* Immutable once published: sorted by va. */
struct bh_iova_table {
	size_t count;
	struct bh_iova_table *retired; /* the device's list of tables no longer current */
	struct bh_iova_entry *entry;   /* behind the table in the same allocation */
};

/*
 * A device's translations. The backend replaces the table when pools come and go; old tables are
 * kept until the device is closed, so a reader never follows a dead pointer and a table's address
 * serves as its generation.
 */
struct bh_iova_map {
	struct bh_iova_table *table; /* __atomic; never NULL after init */
	struct bh_iova_table *retired;
};

/* -ENOMEM. */
int bh_iova_map_init(struct bh_iova_map *map);
/* No reader may be left. A zeroed map is accepted, and this may be called twice. */
void bh_iova_map_fini(struct bh_iova_map *map);
/*
 * Any thread. -EINVAL: len is 0, or va or iova passes its end. -EEXIST: va or iova overlaps an
 * entry. -ENOMEM.
 */
int bh_iova_map_add(struct bh_iova_map *map, const void *va, size_t len, uint64_t iova);
/* Any thread. Exactly what was added, otherwise -ENOENT; -ENOMEM. */
int bh_iova_map_del(struct bh_iova_map *map, const void *va, size_t len);

/*
 * Frees the tables that are no longer current. No reader is looking up, none has a cache of before
 * that it has not zeroed, and no writer is at work.
 */
void bh_iova_map_trim(struct bh_iova_map *map);

/* A reader's last hit; zero it to begin. One per queue, on the queue's own cache line. */
struct bh_iova_cache {
	uintptr_t va;
	size_t len;
	uint64_t delta;
	const struct bh_iova_table *table;
};

/* Out of line: finds va's entry and refills the cache. False: va is in no pool of the device. */
bool bh_iova_lookup(const struct bh_iova_map *map, struct bh_iova_cache *cache, const void *va,
		    size_t len);

/*
 * The iova of [va, va + len), which must lie in one pool. In the usual case (same pool as last
 * time): one load, one compare of the table, one subtraction, one compare. False: not reachable by
 * this device.
 */
static inline bool bh_iova_translate(const struct bh_iova_map *map, struct bh_iova_cache *cache,
				     const void *va, size_t len, uint64_t *iova)
{
	const struct bh_iova_table *table = __atomic_load_n(&map->table, __ATOMIC_ACQUIRE);
	uintptr_t off = (uintptr_t)va - cache->va;

	if (__builtin_expect(table != cache->table || len > cache->len || off > cache->len - len,
			     0)) {
		if (!bh_iova_lookup(map, cache, va, len))
			return false;
	}
	*iova = (uint64_t)(uintptr_t)va + cache->delta;
	return true;
}

#ifdef __cplusplus
}
#endif
#endif

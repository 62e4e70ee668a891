/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/dma's own: the allocator, what the system has to offer, and the pool's inside.
 */
#ifndef DMA_DMA_H
#define DMA_DMA_H

#include <pthread.h>

#include <bellhop/dma.h>

#define BH__HEAP_GRAIN 64u /* bytes: one cache line */
#define BH__HEAP_BINS 64

struct heap_block;

/* Offsets into [0, size); never looks at the memory it hands out. Not thread-safe. */
struct bh__heap {
	size_t size;
	size_t free_bytes;
	size_t used_count;
	struct heap_block *first;
	struct heap_block *bin[BH__HEAP_BINS]; /* free blocks by floor(log2(len)) */
	struct heap_block **used;	       /* hash of used blocks by offset */
	size_t used_slots;		       /* power of two */
};

int bh__heap_init(struct bh__heap *heap, size_t size); /* size in grains; -ENOMEM */
void bh__heap_fini(struct bh__heap *heap);
/* False: no room, or no memory for the metadata. align is a power of two, >= the grain. */
bool bh__heap_alloc(struct bh__heap *heap, size_t bytes, size_t align, size_t *offset);
/* False: no allocation begins at offset. */
bool bh__heap_free(struct bh__heap *heap, size_t offset);

struct bh_pool {
	struct bh_mem mem;
	char *name;
	const struct bh_log *log;
	unsigned spaces; /* __atomic: how many spaces hold it */
	bool imported;
	pthread_mutex_t lock; /* the heap's */
	struct bh__heap heap;
};

/* ---- sys.c: what /proc and /sys say ---- */

/* Free and unreserved hugepages of that size, on the node unless it is -1; -1: no such size. */
long bh__huge_free(size_t page_size, int node);
/* The path of the file that holds the number of reserved pages, and that number. */
long bh__huge_reserved(size_t page_size, int node, char *path, size_t path_len);
/* Bytes that can be had without swapping: of the machine or node and of the control group. */
uint64_t bh__memory_available(int node);
/* 1: [va, va + len) maps fd at fd_offset, shared. 0: it does not. -errno: cannot tell. */
int bh__mapping_is(const void *va, size_t len, int fd, uint64_t fd_offset, size_t page_size);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pool's allocator.
 *
 * A pool is written by devices, and a device may be wrong or hostile, so not one byte the allocator
 * believes lies in the pool: it deals in offsets and never touches the memory they name.
 *
 * The pool is a chain of blocks in address order, each used or free; two neighbours are never both
 * free. Free blocks hang in bins, one per power of two of their length; used ones in a hash by
 * offset, which is how free() tells an allocation from anything else. All lengths and offsets are
 * multiples of a cache line.
 *
 * Allocating walks the bins upwards from the smallest that can hold the request: in all but the
 * first few (those below bytes + align) the first block fits. Freeing never needs memory.
 */
#include <errno.h>
#include <stdlib.h>

#include "dma/dma.h"

struct heap_block {
	struct heap_block *prev, *next; /* by address */
	struct heap_block *link;	/* the bin's or the hash chain's next */
	struct heap_block **back;	/* free: what points to us in the bin */
	size_t off, len;
};

static unsigned bin_of(size_t len)
{
	return 63u - (unsigned)__builtin_clzll((unsigned long long)len);
}

static void bin_insert(struct bh__heap *heap, struct heap_block *b)
{
	struct heap_block **head = &heap->bin[bin_of(b->len)];

	b->link = *head;
	if (b->link)
		b->link->back = &b->link;
	b->back = head;
	*head = b;
}

static void bin_remove(struct heap_block *b)
{
	*b->back = b->link;
	if (b->link)
		b->link->back = b->back;
	b->back = NULL;
}

static size_t slot_of(size_t off, size_t slots)
{
	return (size_t)((uint64_t)(off / BH__HEAP_GRAIN) * 0x9e3779b97f4a7c15ull >> 20) &
	       (slots - 1);
}

static void used_insert(struct bh__heap *heap, struct heap_block *b)
{
	struct heap_block **head = &heap->used[slot_of(b->off, heap->used_slots)];

	b->back = NULL;
	b->link = *head;
	*head = b;
}

static struct heap_block *used_take(struct bh__heap *heap, size_t off)
{
	struct heap_block **at = &heap->used[slot_of(off, heap->used_slots)];

	while (*at && (*at)->off != off)
		at = &(*at)->link;

	struct heap_block *b = *at;
	if (b)
		*at = b->link;
	return b;
}

/* Keeps chains short. Without memory for a larger hash they grow longer, nothing else happens. */
static void used_grow(struct bh__heap *heap)
{
	struct heap_block **old = heap->used, **bigger;
	size_t old_slots = heap->used_slots;

	if (heap->used_count < old_slots)
		return;
	bigger = calloc(old_slots * 2, sizeof(*bigger));
	if (!bigger)
		return;
	heap->used = bigger;
	heap->used_slots = old_slots * 2;
	for (size_t i = 0; i < old_slots; i++) {
		for (struct heap_block *b = old[i], *next; b; b = next) {
			next = b->link;
			used_insert(heap, b);
		}
	}
	free(old);
}

int bh__heap_init(struct bh__heap *heap, size_t size)
{
	struct heap_block *all = calloc(1, sizeof(*all));

	*heap = (struct bh__heap){ .size = size, .free_bytes = size, .used_slots = 64 };
	heap->used = calloc(heap->used_slots, sizeof(*heap->used));
	if (!all || !heap->used) {
		free(all);
		free(heap->used);
		*heap = (struct bh__heap){ 0 };
		return -ENOMEM;
	}
	all->len = size;
	heap->first = all;
	bin_insert(heap, all);
	return 0;
}

void bh__heap_fini(struct bh__heap *heap)
{
	for (struct heap_block *b = heap->first, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	free(heap->used);
	*heap = (struct bh__heap){ 0 };
}

/* Bytes to skip at the front of a free block for the alignment; false: does not fit. */
static bool fits(const struct heap_block *b, size_t bytes, size_t align, size_t *skip)
{
	*skip = -b->off & (align - 1);
	return bytes <= b->len && *skip <= b->len - bytes;
}

static struct heap_block *find_fit(struct bh__heap *heap, size_t bytes, size_t align, size_t *skip)
{
	for (unsigned i = bin_of(bytes); i < BH__HEAP_BINS; i++) {
		for (struct heap_block *b = heap->bin[i]; b; b = b->link) {
			if (fits(b, bytes, align, skip))
				return b;
		}
	}
	return NULL;
}

/* Cuts b, in no list, at b->off + at; the rest becomes the block after it. */
static void split(struct heap_block *b, struct heap_block *rest, size_t at)
{
	rest->off = b->off + at;
	rest->len = b->len - at;
	rest->prev = b;
	rest->next = b->next;
	if (rest->next)
		rest->next->prev = rest;
	b->next = rest;
	b->len = at;
}

bool bh__heap_alloc(struct bh__heap *heap, size_t bytes, size_t align, size_t *offset)
{
	struct heap_block *b, *body = NULL, *tail = NULL;
	size_t skip = 0;

	if (bytes == 0 || bytes > heap->free_bytes)
		return false;
	bytes = (bytes + BH__HEAP_GRAIN - 1) & ~(size_t)(BH__HEAP_GRAIN - 1);
	b = find_fit(heap, bytes, align, &skip);
	if (!b)
		return false;
	if (skip)
		body = calloc(1, sizeof(*body));
	if (b->len - skip > bytes)
		tail = calloc(1, sizeof(*tail));
	if ((skip && !body) || (b->len - skip > bytes && !tail)) {
		free(body);
		free(tail);
		return false;
	}
	bin_remove(b);
	if (skip) {
		split(b, body, skip);
		bin_insert(heap, b);
		b = body;
	}
	if (tail) {
		split(b, tail, bytes);
		bin_insert(heap, tail);
	}
	used_grow(heap);
	used_insert(heap, b);
	heap->used_count++;
	heap->free_bytes -= bytes;
	*offset = b->off;
	return true;
}

static bool is_free(const struct heap_block *b)
{
	return b && b->back;
}

/* Appends b's neighbour to it; neither is in a list. */
static void absorb(struct heap_block *b, struct heap_block *next)
{
	b->len += next->len;
	b->next = next->next;
	if (b->next)
		b->next->prev = b;
	free(next);
}

bool bh__heap_free(struct bh__heap *heap, size_t offset)
{
	struct heap_block *b = used_take(heap, offset);

	if (!b)
		return false;
	heap->used_count--;
	heap->free_bytes += b->len;
	if (is_free(b->next)) {
		bin_remove(b->next);
		absorb(b, b->next);
	}
	if (is_free(b->prev)) {
		b = b->prev;
		bin_remove(b);
		absorb(b, b->next);
	}
	bin_insert(heap, b);
	return true;
}

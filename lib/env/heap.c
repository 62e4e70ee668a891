/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Heaps of EAL on ordinary memory, for mbuf headers, rings and caches: what a driver trusts and no
 * device reaches. They belong to EAL rather than to a bh_env, and a heap that something still lives
 * in outlasts bh_env_close; hence the list is process-wide.
 */
#include "env/env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_memory.h>

/* The unit EAL is told of; aligned to it, the kernel can use transparent huge pages. */
#define HEAP_PAGE ((size_t)2 << 20)
/* EAL's element headers, for callers that ask to the byte. */
#define HEAP_OVERHEAD ((size_t)64 << 10)

static struct {
	pthread_mutex_t lock;
	struct bh__env_memory_list list;
} heaps = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* [va, va + len) aligned to HEAP_PAGE: mapped with room to spare, which is given back. */
static void *heap_map(size_t len)
{
	size_t room = len + HEAP_PAGE, before;
	char *map = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return NULL;
	before = (0 - (uintptr_t)map) & (HEAP_PAGE - 1);
	if (before)
		munmap(map, before);
	munmap(map + before + len, room - before - len);
	madvise(map + before, len, MADV_HUGEPAGE);
	return map + before;
}

static int heap_add_memory(const struct bh__env_memory *heap)
{
	uint64_t *iova = bh__env_iova_table(heap->va, heap->len, HEAP_PAGE);
	int rc = 0;

	if (!iova)
		return -ENOMEM;
	if (rte_malloc_heap_memory_add(heap->heap, heap->va, heap->len, iova,
				       (unsigned int)(heap->len / HEAP_PAGE), HEAP_PAGE) < 0)
		rc = -rte_errno;
	free(iova);
	return rc;
}

/* Creates the heap in EAL, around memory that is mapped already. */
static int heap_register(const struct bh__env_memory *heap, int *socket_id)
{
	int rc;

	if (rte_malloc_heap_create(heap->heap) < 0)
		return -rte_errno;
	rc = heap_add_memory(heap);
	if (rc == 0) {
		*socket_id = rte_malloc_heap_get_socket(heap->heap);
		if (*socket_id >= 0)
			return 0;
		rc = -rte_errno;
		rte_malloc_heap_memory_remove(heap->heap, heap->va, heap->len);
	}
	rte_malloc_heap_destroy(heap->heap);
	return rc;
}

static int heap_make(const char *name, size_t len, int *socket_id)
{
	struct bh__env_memory *heap = calloc(1, sizeof(*heap));
	int rc = -ENOMEM;

	if (!heap)
		return rc;
	memcpy(heap->heap, name, strlen(name));
	heap->len = len;
	heap->page_size = HEAP_PAGE;
	heap->va = heap_map(len);
	if (heap->va) {
		rc = heap_register(heap, socket_id);
		if (rc == 0) {
			SLIST_INSERT_HEAD(&heaps.list, heap, link);
			return 0;
		}
		munmap(heap->va, len);
	}
	free(heap);
	return rc;
}

int bh_env_heap_create(struct bh_env *env, const char *name, size_t bytes, int *socket_id)
{
	size_t len;
	int rc;

	if (bytes == 0 || bytes > SIZE_MAX / 2 || name[0] == '\0' ||
	    strlen(name) >= HEAP_NAME_BYTES)
		return -EINVAL;
	len = (bytes + HEAP_OVERHEAD + HEAP_PAGE - 1) & ~(HEAP_PAGE - 1);
	pthread_mutex_lock(&heaps.lock);
	rc = heap_make(name, len, socket_id);
	pthread_mutex_unlock(&heaps.lock);
	if (rc < 0)
		bh_log(env->log, BH_LOG_ERROR, "env", "heap %s of %zu bytes: %s", name, len,
		       strerror(-rc));
	return rc;
}

static int heap_destroy(struct bh__env_memory *heap)
{
	if (rte_malloc_heap_memory_remove(heap->heap, heap->va, heap->len) < 0)
		return -rte_errno;
	rte_malloc_heap_destroy(heap->heap);
	SLIST_REMOVE(&heaps.list, heap, bh__env_memory, link);
	munmap(heap->va, heap->len);
	free(heap);
	return 0;
}

static struct bh__env_memory *heap_find(const char *name)
{
	struct bh__env_memory *heap;

	SLIST_FOREACH(heap, &heaps.list, link)
	{
		if (strcmp(heap->heap, name) == 0)
			return heap;
	}
	return NULL;
}

int bh_env_heap_destroy(struct bh_env *env, const char *name)
{
	struct bh__env_memory *heap;
	int rc = -ENOENT;

	(void)env;
	pthread_mutex_lock(&heaps.lock);
	heap = heap_find(name);
	if (heap)
		rc = heap_destroy(heap);
	pthread_mutex_unlock(&heaps.lock);
	return rc;
}

void bh__env_heaps_sweep(const struct bh_log *log)
{
	struct bh__env_memory *heap, *next;

	pthread_mutex_lock(&heaps.lock);
	for (heap = SLIST_FIRST(&heaps.list); heap; heap = next) {
		next = SLIST_NEXT(heap, link);
		if (heap_destroy(heap) < 0)
			bh_log(log, BH_LOG_WARN, "env", "heap %s is in use and stays", heap->heap);
	}
	pthread_mutex_unlock(&heaps.lock);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA spaces: which pools a set of devices reaches.
 *
 * The space is the one place where pools and devices meet: it holds both sets and keeps the promise
 * that every pool is mapped in every device, or the change did not happen. Both callbacks are made
 * with the space locked, so devices see pools come and go one at a time and in one order. Lock
 * order: space, then pool.
 */
#include <errno.h>
#include <stdlib.h>

#include <bellhop/range.h>

#include "dma/dma.h"

struct bh_dma_space {
	pthread_mutex_t lock;
	const struct bh_log *log;
	struct bh_pool **pool;
	size_t count, capacity;
	struct bh_dma_listener *listeners; /* newest first */
	struct bh_dma_shared *shared;
};

int bh_dma_space_create(const struct bh_log *log, struct bh_dma_space **out)
{
	struct bh_dma_space *space = calloc(1, sizeof(*space));

	if (!space)
		return -ENOMEM;
	pthread_mutex_init(&space->lock, NULL);
	space->log = log;
	*out = space;
	return 0;
}

static void pool_put(struct bh_pool *pool)
{
	/* Release pairs with bh_pool_destroy's acquire: our last use is before the pool goes. */
	__atomic_fetch_sub(&pool->spaces, 1, __ATOMIC_RELEASE);
}

void bh_dma_space_destroy(struct bh_dma_space *space)
{
	if (!space)
		return;
	if (space->listeners || space->shared) {
		bh_log(space->log, BH_LOG_ERROR, "dma",
		       "a space with a device still open is destroyed: leaked");
		return;
	}
	for (size_t i = 0; i < space->count; i++)
		pool_put(space->pool[i]);
	pthread_mutex_destroy(&space->lock);
	free(space->pool);
	free(space);
}

static int check_new_pool(const struct bh_dma_space *space, const struct bh_pool *pool)
{
	for (size_t i = 0; i < space->count; i++) {
		const struct bh_mem *mem = &space->pool[i]->mem;

		if (bh_range_overlaps((uintptr_t)mem->va, mem->len, (uintptr_t)pool->mem.va,
				      pool->mem.len))
			return -EEXIST;
	}
	return 0;
}

static int reserve_slot(struct bh_dma_space *space)
{
	size_t capacity = space->capacity ? space->capacity * 2 : 8;
	struct bh_pool **bigger;

	if (space->count < space->capacity)
		return 0;
	bigger = realloc(space->pool, capacity * sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	space->pool = bigger;
	space->capacity = capacity;
	return 0;
}

/* In every device or in none. */
static int map_everywhere(struct bh_dma_space *space, const struct bh_mem *mem)
{
	for (struct bh_dma_listener *l = space->listeners; l; l = l->next) {
		int rc = l->map(l, mem);

		if (rc == 0)
			continue;
		for (struct bh_dma_listener *done = space->listeners; done != l; done = done->next)
			done->unmap(done, mem);
		return rc;
	}
	return 0;
}

int bh_dma_space_add(struct bh_dma_space *space, struct bh_pool *pool)
{
	int rc;

	pthread_mutex_lock(&space->lock);
	rc = check_new_pool(space, pool);
	if (rc == 0)
		rc = reserve_slot(space);
	if (rc == 0)
		rc = map_everywhere(space, &pool->mem);
	if (rc == 0) {
		__atomic_fetch_add(&pool->spaces, 1, __ATOMIC_RELAXED);
		space->pool[space->count++] = pool;
	}
	pthread_mutex_unlock(&space->lock);
	return rc;
}

int bh_dma_space_remove(struct bh_dma_space *space, struct bh_pool *pool)
{
	size_t i;

	pthread_mutex_lock(&space->lock);
	for (i = 0; i < space->count && space->pool[i] != pool; i++)
		;
	if (i == space->count) {
		pthread_mutex_unlock(&space->lock);
		return -ENOENT;
	}
	for (struct bh_dma_listener *l = space->listeners; l; l = l->next)
		l->unmap(l, &pool->mem);
	/* The order stays: bh_dma_space_alloc() takes from the pool added first. */
	for (space->count--; i < space->count; i++)
		space->pool[i] = space->pool[i + 1];
	pool_put(pool);
	pthread_mutex_unlock(&space->lock);
	return 0;
}

void *bh_dma_space_alloc(struct bh_dma_space *space, size_t bytes, size_t align,
			 struct bh_pool **pool)
{
	void *va = NULL;

	pthread_mutex_lock(&space->lock);
	for (size_t i = 0; i < space->count && !va; i++) {
		va = bh_pool_alloc(space->pool[i], bytes, align);
		if (va && pool)
			*pool = space->pool[i];
	}
	pthread_mutex_unlock(&space->lock);
	return va;
}

struct bh_pool *bh_dma_space_find(struct bh_dma_space *space, const void *va, size_t len)
{
	struct bh_pool *found = NULL;

	pthread_mutex_lock(&space->lock);
	for (size_t i = 0; i < space->count && !found; i++) {
		const struct bh_mem *mem = &space->pool[i]->mem;
		uintptr_t off = (uintptr_t)va - (uintptr_t)mem->va;

		if (off < mem->len && bh_range_inside(off, len, mem->len))
			found = space->pool[i];
	}
	pthread_mutex_unlock(&space->lock);
	return found;
}

static struct bh_dma_listener **find_listener(struct bh_dma_space *space,
					      const struct bh_dma_listener *listener)
{
	struct bh_dma_listener **at = &space->listeners;

	while (*at && *at != listener)
		at = &(*at)->next;
	return at;
}

int bh_dma_space_listen(struct bh_dma_space *space, struct bh_dma_listener *listener)
{
	int rc = 0;

	pthread_mutex_lock(&space->lock);
	if (*find_listener(space, listener))
		rc = -EEXIST;
	for (size_t i = 0; i < space->count && rc == 0; i++) {
		rc = listener->map(listener, &space->pool[i]->mem);
		while (rc != 0 && i > 0)
			listener->unmap(listener, &space->pool[--i]->mem);
	}
	if (rc == 0) {
		listener->next = space->listeners;
		space->listeners = listener;
	}
	pthread_mutex_unlock(&space->lock);
	return rc;
}

void bh_dma_space_unlisten(struct bh_dma_space *space, struct bh_dma_listener *listener)
{
	struct bh_dma_listener **at;

	pthread_mutex_lock(&space->lock);
	at = find_listener(space, listener);
	if (*at) {
		for (size_t i = 0; i < space->count; i++)
			listener->unmap(listener, &space->pool[i]->mem);
		*at = listener->next;
		listener->next = NULL;
	}
	pthread_mutex_unlock(&space->lock);
}

static struct bh_dma_shared **find_shared(struct bh_dma_space *space, const void *key)
{
	struct bh_dma_shared **at = &space->shared;

	while (*at && (*at)->key != key)
		at = &(*at)->next;
	return at;
}

int bh_dma_space_share(struct bh_dma_space *space, const void *key,
		       int (*make)(struct bh_dma_shared **out), struct bh_dma_shared **out)
{
	struct bh_dma_shared *shared;
	int rc = 0;

	pthread_mutex_lock(&space->lock);
	shared = *find_shared(space, key);
	if (!shared) {
		rc = make(&shared);
		if (rc == 0) {
			shared->key = key;
			shared->users = 0;
			shared->next = space->shared;
			space->shared = shared;
		}
	}
	if (rc == 0) {
		shared->users++;
		*out = shared;
	}
	pthread_mutex_unlock(&space->lock);
	return rc;
}

bool bh_dma_space_unshare(struct bh_dma_space *space, struct bh_dma_shared *shared)
{
	bool last;

	pthread_mutex_lock(&space->lock);
	last = --shared->users == 0;
	if (last)
		*find_shared(space, shared->key) = shared->next;
	pthread_mutex_unlock(&space->lock);
	return last;
}

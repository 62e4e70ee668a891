/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory announced to EAL, so that mbufs may have their data there. EAL maps nothing for any device
 * and owns nothing: it only learns the addresses.
 */
#include "env/env.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_errno.h>
#include <rte_memory.h>

uint64_t *bh__env_iova_table(const void *va, size_t len, size_t page_size)
{
	size_t pages = len / page_size;
	uint64_t *table = calloc(pages, sizeof(*table));

	for (size_t i = 0; table && i < pages; i++)
		table[i] = (uint64_t)(uintptr_t)va + i * page_size;
	return table;
}

static struct bh__env_memory *announced_find(struct bh_env *env, const void *va, size_t len)
{
	struct bh__env_memory *memory;

	SLIST_FOREACH(memory, &env->announced, link)
	{
		if (memory->va == va && memory->len == len)
			return memory;
	}
	return NULL;
}

static int extmem_register(void *va, size_t len, size_t page_size)
{
	uint64_t *iova = bh__env_iova_table(va, len, page_size);
	int rc = 0;

	if (!iova)
		return -ENOMEM;
	if (rte_extmem_register(va, len, iova, (unsigned int)(len / page_size), page_size) < 0)
		rc = -rte_errno;
	free(iova);
	return rc;
}

static int announce(struct bh_env *env, struct bh__env_memory *memory)
{
	int rc;

	if (announced_find(env, memory->va, memory->len))
		return -EEXIST;
	rc = extmem_register(memory->va, memory->len, memory->page_size);
	if (rc == 0)
		SLIST_INSERT_HEAD(&env->announced, memory, link);
	return rc;
}

int bh_env_memory_announce(struct bh_env *env, void *va, size_t len, size_t page_size)
{
	struct bh__env_memory *memory;
	int rc;

	if (!va || len == 0 || page_size == 0 || page_size & (page_size - 1) ||
	    ((uintptr_t)va | len) & (page_size - 1) || len / page_size > UINT32_MAX)
		return -EINVAL;
	memory = calloc(1, sizeof(*memory));
	if (!memory)
		return -ENOMEM;
	memory->va = va;
	memory->len = len;
	memory->page_size = page_size;
	pthread_mutex_lock(&env->lock);
	rc = announce(env, memory);
	pthread_mutex_unlock(&env->lock);
	if (rc < 0)
		free(memory);
	return rc;
}

void bh_env_memory_withdraw(struct bh_env *env, void *va, size_t len)
{
	struct bh__env_memory *memory;

	pthread_mutex_lock(&env->lock);
	memory = announced_find(env, va, len);
	if (memory) {
		SLIST_REMOVE(&env->announced, memory, bh__env_memory, link);
		if (rte_extmem_unregister(va, len) < 0)
			bh_log(env->log, BH_LOG_WARN, "env", "EAL keeps %p: %s", va,
			       rte_strerror(rte_errno));
	}
	pthread_mutex_unlock(&env->lock);
	free(memory);
}

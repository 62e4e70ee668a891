/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of lib/env share. Only this directory includes EAL's headers.
 */
#ifndef ENV_ENV_H
#define ENV_ENV_H

#include <bellhop/env.h>

#include <pthread.h>
#include <sys/queue.h>

enum { HEAP_NAME_BYTES = 32 }; /* EAL's own limit, which its headers do not tell */

/* Memory announced to EAL, or given to a heap of EAL. */
struct bh__env_memory {
	SLIST_ENTRY(bh__env_memory) link;
	void *va;
	size_t len;
	size_t page_size;
	char heap[HEAP_NAME_BYTES]; /* empty for announced memory */
};

SLIST_HEAD(bh__env_memory_list, bh__env_memory);

struct bh_env {
	const struct bh_log *log;
	bool adopted;
	struct bh_cpuset cpus; /* the caller's at open */
	pthread_mutex_t lock;  /* of `announced` */
	struct bh__env_memory_list announced;
};

/* eal.c. 0; -EIO: EAL refused, logged. */
int bh__eal_start(const char *name, const struct bh_log *log);
/* Has anybody in this process initialised EAL? */
bool bh__eal_running(void);

/* eal_log.c: makes EAL log here; later: to `log`, or nowhere. */
int bh__eal_log_divert(void);
void bh__eal_log_set(const struct bh_log *log);

/* heap.c: destroys those that nothing lives in any more; the others stay with EAL. */
void bh__env_heaps_sweep(const struct bh_log *log);

/*
 * iova = va for every page, as everywhere in our profile of EAL. NULL: no memory; freed by the
 * caller.
 */
uint64_t *bh__env_iova_table(const void *va, size_t len, size_t page_size);

#endif /* ENV_ENV_H */

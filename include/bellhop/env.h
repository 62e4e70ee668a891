/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The environment: DPDK EAL started in one profile, or an application's own EAL adopted. Gives
 * cores and NUMA knowledge, registers packet threads, and announces DMA pools to EAL for packet
 * memory.
 *
 * Component: lib/env
 *
 * NVMe and the vfio-user target do not need EAL; packet code does. One per process: EAL can be
 * initialised once only.
 */
#ifndef BELLHOP_ENV_H
#define BELLHOP_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/log.h>
#include <bellhop/parse.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bh_env;

struct bh_env_opts {
	size_t size;
	const char *name; /* EAL's argv[0] and log prefix; default "bellhop" */
	const struct bh_log *log;
};

void bh_env_opts_init(struct bh_env_opts *opts);

/*
 * Starts EAL (--no-pci --no-huge --no-shconf --no-telemetry --iova-mode=va -m 64, one lcore over
 * the caller's CPU mask) or, after an earlier close, goes on with the running one. The caller's
 * affinity is what it was when this returns. EAL's runtime directory is private to the process and
 * removed before this returns. What EAL has to say goes to the log until close. EAL is led to that
 * directory by the environment, so no other thread may use getenv() or setenv() meanwhile.
 * -EBUSY: one is open already. -EALREADY: the application runs an EAL of its own: adopt it. -EIO:
 * EAL refused, now or before (it can be tried once), logged. -EINVAL: opts->size is 0. -ENOMEM.
 */
int bh_env_open(const struct bh_env_opts *opts, struct bh_env **out);

/*
 * Takes over an EAL the application has initialised; close leaves it running, its logging is left
 * alone. -EBUSY, -ENODEV: there is none (one that bh_env_open started is not the application's).
 * -EINVAL, -ENOMEM as above.
 */
int bh_env_adopt(const struct bh_env_opts *opts, struct bh_env **out);

/*
 * Announced memory and heaps must have been withdrawn and destroyed; what is left is, except heaps
 * that something lives in, which stay and can be destroyed after the next open. NULL is accepted.
 */
void bh_env_close(struct bh_env *env);

const char *bh_env_dpdk_version(void);

/* NUMA node of a CPU; -1 when unknown or the machine has one node only. Any thread. */
int bh_env_cpu_node(const struct bh_env *env, unsigned int cpu);
unsigned int bh_env_node_count(const struct bh_env *env);

/*
 * The caller's CPU mask at open, less `polling`; the whole mask when that would leave nothing: for
 * control threads.
 */
void bh_env_control_cpus(const struct bh_env *env, const struct bh_cpuset *polling,
			 struct bh_cpuset *out);

/*
 * Gives the calling thread an lcore id, hence mempool caches. Pair per thread. A thread that has
 * one from elsewhere (the one that started EAL) keeps it, both calls do nothing then.
 * -ENOMEM: no lcore id left.
 */
int bh_env_thread_register(struct bh_env *env);
void bh_env_thread_unregister(struct bh_env *env);

/*
 * Makes a DMA pool's memory (bh_pool_mem(): va, len, page_size) usable for mbuf data
 * (rte_extmem_register). lib/dma knows no EAL and this library no pools, so the caller passes one's
 * facts to the other. Any thread. No mbuf may use the memory when it is withdrawn.
 * -EEXIST: announced already; -EINVAL: empty, or va or len is no multiple of page_size, or that no
 * power of two; -ENOSPC: EAL has no room for another; -ENOMEM.
 */
int bh_env_memory_announce(struct bh_env *env, void *va, size_t len, size_t page_size);
void bh_env_memory_withdraw(struct bh_env *env, void *va, size_t len); /* idempotent */

/*
 * An EAL heap on ordinary memory for mbuf headers, rings and caches (EAL's own 64 MiB never grows).
 * `bytes` is what one allocation may take; the heap is a little larger. The socket id to give to
 * rte_mempool_create and friends goes to *socket_id. Any thread.
 * -EINVAL: no bytes, or a name that is empty or longer than 31 bytes; -EEXIST: the name is taken;
 * -ENOSPC: EAL has no room for another heap; -ENOMEM.
 */
int bh_env_heap_create(struct bh_env *env, const char *name, size_t bytes, int *socket_id);

/* -ENOENT: no heap of that name from bh_env_heap_create; -EBUSY: something still lives there. */
int bh_env_heap_destroy(struct bh_env *env, const char *name);

#ifdef __cplusplus
}
#endif
#endif

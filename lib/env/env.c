/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The environment: at most one per process, because EAL is. `process` is the process-wide state of
 * it: which environment is open, and whether the EAL that runs was started here.
 */
#include "env/env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <numa.h>
#include <rte_version.h>

static struct {
	pthread_mutex_t lock;
	struct bh_env *open;
	bool started; /* EAL runs, and was started here */
} process = { .lock = PTHREAD_MUTEX_INITIALIZER };

void bh_env_opts_init(struct bh_env_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
	opts->name = "bellhop";
}

static int opts_take(const struct bh_env_opts *given, struct bh_env_opts *opts)
{
	if (given->size == 0)
		return -EINVAL;
	bh_env_opts_init(opts);
	memcpy(opts, given, given->size < sizeof(*opts) ? given->size : sizeof(*opts));
	if (!opts->name)
		opts->name = "bellhop";
	return 0;
}

static int env_start(const struct bh_env_opts *opts)
{
	int rc;

	if (process.started) {
		bh__eal_log_set(opts->log);
		return 0;
	}
	if (bh__eal_running())
		return -EALREADY;
	rc = bh__eal_start(opts->name, opts->log);
	process.started = rc == 0;
	return rc;
}

static int env_adopt(void)
{
	return bh__eal_running() && !process.started ? 0 : -ENODEV;
}

static int env_make(const struct bh_env_opts *opts, bool adopt, struct bh_env **out)
{
	struct bh_env *env = calloc(1, sizeof(*env));
	int rc;

	if (!env)
		return -ENOMEM;
	env->log = opts->log;
	env->adopted = adopt;
	SLIST_INIT(&env->announced);
	rc = bh_cpuset_allowed(&env->cpus);
	if (rc == 0)
		rc = adopt ? env_adopt() : env_start(opts);
	if (rc < 0) {
		free(env);
		return rc;
	}
	pthread_mutex_init(&env->lock, NULL);
	*out = process.open = env;
	return 0;
}

static int env_open(const struct bh_env_opts *given, bool adopt, struct bh_env **out)
{
	struct bh_env_opts opts;
	int rc = opts_take(given, &opts);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&process.lock);
	rc = process.open ? -EBUSY : env_make(&opts, adopt, out);
	pthread_mutex_unlock(&process.lock);
	return rc;
}

int bh_env_open(const struct bh_env_opts *opts, struct bh_env **out)
{
	return env_open(opts, false, out);
}

int bh_env_adopt(const struct bh_env_opts *opts, struct bh_env **out)
{
	return env_open(opts, true, out);
}

void bh_env_close(struct bh_env *env)
{
	struct bh__env_memory *memory;

	if (!env)
		return;
	while ((memory = SLIST_FIRST(&env->announced)) != NULL)
		bh_env_memory_withdraw(env, memory->va, memory->len);
	bh__env_heaps_sweep(env->log);
	pthread_mutex_lock(&process.lock);
	if (!env->adopted)
		bh__eal_log_set(NULL);
	process.open = NULL;
	pthread_mutex_unlock(&process.lock);
	pthread_mutex_destroy(&env->lock);
	free(env);
}

const char *bh_env_dpdk_version(void)
{
	return rte_version();
}

unsigned int bh_env_node_count(const struct bh_env *env)
{
	int nodes;

	(void)env;
	if (numa_available() < 0)
		return 1;
	nodes = numa_num_configured_nodes();
	return nodes > 0 ? (unsigned int)nodes : 1;
}

int bh_env_cpu_node(const struct bh_env *env, unsigned int cpu)
{
	int node;

	if (bh_env_node_count(env) < 2 || cpu >= BH_CPU_MAX)
		return -1;
	node = numa_node_of_cpu((int)cpu);
	return node < 0 ? -1 : node;
}

void bh_env_control_cpus(const struct bh_env *env, const struct bh_cpuset *polling,
			 struct bh_cpuset *out)
{
	struct bh_cpuset rest;

	bh_cpuset_zero(&rest);
	for (unsigned int cpu = 0; cpu < BH_CPU_MAX; cpu++) {
		if (bh_cpuset_has(&env->cpus, cpu) && !bh_cpuset_has(polling, cpu))
			bh_cpuset_add(&rest, cpu);
	}
	*out = bh_cpuset_count(&rest) > 0 ? rest : env->cpus;
}

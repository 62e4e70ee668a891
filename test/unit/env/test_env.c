/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * EAL starts once per process, so cases that need a process without it run in a child, forked
 * before the first case that starts it here: their order matters.
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <bellhop/env.h>

static unsigned int lines;
static pthread_mutex_t lines_lock = PTHREAD_MUTEX_INITIALIZER;

static void sink(void *ctx, enum bh_log_level level, const char *component, const char *line)
{
	(void)ctx;
	(void)level;
	(void)component;
	(void)line;
	pthread_mutex_lock(&lines_lock);
	lines++;
	pthread_mutex_unlock(&lines_lock);
}

static struct bh_log log_all = { .write = sink, .level = BH_LOG_DEBUG };
static struct bh_env_opts opts;
static struct bh_env *env;

static int setup(void)
{
	bh_env_opts_init(&opts);
	opts.log = &log_all;
	env = NULL;
	return 0;
}

static int teardown(void)
{
	bh_env_close(env);
	return 0;
}

/* Where a runtime directory could be left; its entries, "." and ".." apart. */
static int entries(const char *path)
{
	DIR *dir = opendir(path);
	int count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return dir ? count - 2 : -1;
}

/* Runs fn in a child; its exit status, or -1. */
static int in_child(int (*fn)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn());
	CU_ASSERT_TRUE_FATAL(pid > 0);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void adopt_without_eal_is_enodev(void)
{
	CU_ASSERT_EQUAL(bh_env_adopt(&opts, &env), -ENODEV);
	opts.size = 0;
	CU_ASSERT_EQUAL(bh_env_open(&opts, &env), -EINVAL);
}

static int own_eal(void)
{
	char *argv[] = { "app",
			 "--no-pci",
			 "--no-huge",
			 "--no-shconf",
			 "--no-telemetry",
			 "--iova-mode=va",
			 "-m",
			 "64",
			 "--log-level=error",
			 NULL };
	char runtime[] = "/tmp/env-test-XXXXXX";
	struct bh_env *second;
	int socket_id, rc;

	if (!mkdtemp(runtime) || setenv("RUNTIME_DIRECTORY", runtime, 1) < 0)
		return 1;
	rc = rte_eal_init(9, argv);
	if (rmdir(rte_eal_get_runtime_dir()) < 0 || chdir(runtime) < 0 || rmdir("dpdk") < 0 ||
	    rmdir(runtime) < 0 || rc < 0)
		return 1;
	if (bh_env_open(&opts, &env) != -EALREADY)
		return 2;
	if (bh_env_adopt(&opts, &env) != 0)
		return 3;
	if (bh_env_adopt(&opts, &second) != -EBUSY || bh_env_open(&opts, &second) != -EBUSY)
		return 4;
	if (bh_env_heap_create(env, "h", 1000, &socket_id) != 0)
		return 5;
	bh_env_close(env);
	if (bh_env_open(&opts, &env) != -EALREADY)
		return 6;
	if (rte_malloc_heap_get_socket("h") >= 0)
		return 7;
	return 0;
}

static void applications_eal_is_adopted(void)
{
	CU_ASSERT_EQUAL(in_child(own_eal), 0);
}

/* Everything EAL leaves or prints: the affinity, both directories, standard output and error. */
static int open_leaves_no_trace(void)
{
	char temporary[] = "/tmp/env-test-XXXXXX", prefix[64], text[64] = "";
	int out = memfd_create("out", MFD_CLOEXEC), rc = 0;
	cpu_set_t before, after;

	snprintf(prefix, sizeof(prefix), "/var/run/dpdk/bh-%d", (int)getpid());
	if (!mkdtemp(temporary) || setenv("TMPDIR", temporary, 1) < 0 ||
	    setenv("RUNTIME_DIRECTORY", "/nowhere", 1) < 0 || unsetenv("XDG_RUNTIME_DIR") < 0)
		return 1;
	sched_getaffinity(0, sizeof(before), &before);
	fflush(NULL);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	if (bh_env_open(&opts, &env) < 0)
		rc = 2;
	if (rc == 0 && entries(temporary) != 0)
		rc = 3;
	bh_env_close(env);
	fflush(NULL);
	if (rc == 0 && (pread(out, text, sizeof(text) - 1, 0) != 0))
		rc = 4;
	sched_getaffinity(0, sizeof(after), &after);
	if (rc == 0 && !CPU_EQUAL(&before, &after))
		rc = 5;
	if (rc == 0 && access(prefix, F_OK) == 0)
		rc = 6;
	if (rc == 0 && strcmp(getenv("RUNTIME_DIRECTORY"), "/nowhere") != 0)
		rc = 7;
	if (rc == 0 && lines == 0)
		rc = 8;
	rmdir(temporary);
	return rc;
}

static void open_gives_back_what_it_took(void)
{
	CU_ASSERT_EQUAL(in_child(open_leaves_no_trace), 0);
}

static int narrowed_open(void)
{
	struct bh_cpuset polling;
	cpu_set_t one, now;
	int cpu = sched_getcpu();

	CPU_ZERO(&one);
	CPU_SET((size_t)cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one) < 0 || bh_env_open(&opts, &env) < 0)
		return 1;
	sched_getaffinity(0, sizeof(now), &now);
	bh_cpuset_zero(&polling);
	bh_cpuset_add(&polling, (unsigned int)cpu);
	bh_env_control_cpus(env, &polling, &polling);
	if (bh_cpuset_count(&polling) != 1 || !bh_cpuset_has(&polling, (unsigned int)cpu))
		return 3;
	bh_env_close(env);
	return CPU_EQUAL(&one, &now) ? 0 : 2;
}

static void one_cpu_is_enough(void)
{
	CU_ASSERT_EQUAL(in_child(narrowed_open), 0);
}

static int traceless_as_nobody(void)
{
	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 100;
	return open_leaves_no_trace();
}

static void unprivileged_users_can_open(void)
{
	if (getuid() != 0)
		unit_skip("needs root to become nobody");
	CU_ASSERT_EQUAL(in_child(traceless_as_nobody), 0);
}

static void second_open_is_ebusy_reopen_is_not(void)
{
	struct bh_env *second = NULL;

	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL_FATAL(bh_env_open(&opts, &env), 0);
		CU_ASSERT_EQUAL(bh_env_open(&opts, &second), -EBUSY);
		CU_ASSERT_EQUAL(bh_env_adopt(&opts, &second), -EBUSY);
		bh_env_close(env);
		/* Ours is not the application's. */
		CU_ASSERT_EQUAL(bh_env_adopt(&opts, &second), -ENODEV);
	}
	env = NULL;
	bh_env_close(NULL);
	CU_ASSERT_EQUAL(strncmp(bh_env_dpdk_version(), "DPDK", 4), 0);
}

static void eal_logs_to_the_open_log_only(void)
{
	unsigned int before;

	CU_ASSERT_EQUAL_FATAL(bh_env_open(&opts, &env), 0);
	before = lines;
	rte_log(RTE_LOG_ERR, RTE_LOGTYPE_USER1, "one\ntwo\n");
	CU_ASSERT_EQUAL(lines, before + 2);
	bh_env_close(env);
	rte_log(RTE_LOG_ERR, RTE_LOGTYPE_USER1, "three\n");
	CU_ASSERT_EQUAL(lines, before + 2);
	opts.log = NULL;
	CU_ASSERT_EQUAL(bh_env_open(&opts, &env), 0);
	rte_log(RTE_LOG_ERR, RTE_LOGTYPE_USER1, "four\n");
	CU_ASSERT_EQUAL(lines, before + 2);
}

static void nodes_and_control_cpus(void)
{
	struct bh_cpuset allowed, polling, control;
	int first;

	CU_ASSERT_EQUAL_FATAL(bh_env_open(&opts, &env), 0);
	CU_ASSERT_TRUE(bh_env_node_count(env) >= 1);
	if (bh_env_node_count(env) == 1)
		CU_ASSERT_EQUAL(bh_env_cpu_node(env, 0), -1);
	CU_ASSERT_EQUAL(bh_env_cpu_node(env, 100000), -1);
	bh_cpuset_allowed(&allowed);
	bh_env_control_cpus(env, &allowed, &control);
	CU_ASSERT_EQUAL(memcmp(&control, &allowed, sizeof(control)), 0);
	first = bh_cpuset_first(&allowed);
	bh_cpuset_zero(&polling);
	bh_cpuset_add(&polling, (unsigned int)first);
	bh_env_control_cpus(env, &polling, &control);
	if (bh_cpuset_count(&allowed) > 1) {
		CU_ASSERT_FALSE(bh_cpuset_has(&control, (unsigned int)first));
		CU_ASSERT_EQUAL(bh_cpuset_count(&control), bh_cpuset_count(&allowed) - 1);
	}
}

static void *packet_thread(void *arg)
{
	unsigned int *ids = arg;

	ids[0] = rte_lcore_id();
	if (bh_env_thread_register(env) < 0)
		return arg;
	ids[1] = rte_lcore_id();
	bh_env_thread_unregister(env);
	bh_env_thread_unregister(env);
	ids[2] = rte_lcore_id();
	return NULL;
}

static void threads_get_lcore_ids(void)
{
	unsigned int ids[3];
	pthread_t t;
	void *failed;

	CU_ASSERT_EQUAL_FATAL(bh_env_open(&opts, &env), 0);
	/* More often than there are ids: they come back. */
	for (int i = 0; i < 2 * RTE_MAX_LCORE; i++) {
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, packet_thread, ids), 0);
		pthread_join(t, &failed);
		CU_ASSERT_PTR_NULL(failed);
		CU_ASSERT_EQUAL(ids[0], LCORE_ID_ANY);
		CU_ASSERT_NOT_EQUAL(ids[1], LCORE_ID_ANY);
		CU_ASSERT_EQUAL(ids[2], LCORE_ID_ANY);
	}
	/* The thread that started EAL has one already, and keeps it. */
	CU_ASSERT_EQUAL(rte_lcore_id(), 0);
	CU_ASSERT_EQUAL(bh_env_thread_register(env), 0);
	bh_env_thread_unregister(env);
	CU_ASSERT_EQUAL(rte_lcore_id(), 0);
}

enum { PAGE = 4096, DATA_BYTES = 4 << 20, ROOM = 2048 + RTE_PKTMBUF_HEADROOM, MBUFS = 1000 };

static char *data_map(void)
{
	int fd = memfd_create("packets", MFD_CLOEXEC);
	void *va;

	CU_ASSERT_EQUAL_FATAL(ftruncate(fd, DATA_BYTES), 0);
	va = mmap(NULL, DATA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CU_ASSERT_TRUE_FATAL(va != MAP_FAILED);
	close(fd);
	return va;
}

static void memory_is_announced_once(void)
{
	char *va = data_map();

	CU_ASSERT_EQUAL_FATAL(bh_env_open(&opts, &env), 0);
	CU_ASSERT_EQUAL(bh_env_memory_announce(env, va, DATA_BYTES, 0), -EINVAL);
	CU_ASSERT_EQUAL(bh_env_memory_announce(env, va, DATA_BYTES, 5000), -EINVAL);
	CU_ASSERT_EQUAL(bh_env_memory_announce(env, va, DATA_BYTES + 1, PAGE), -EINVAL);
	CU_ASSERT_EQUAL(bh_env_memory_announce(env, va + 1, DATA_BYTES, PAGE), -EINVAL);
	CU_ASSERT_EQUAL(bh_env_memory_announce(env, va, 0, PAGE), -EINVAL);
	CU_ASSERT_EQUAL(bh_env_memory_announce(env, NULL, PAGE, PAGE), -EINVAL);
	for (int i = 0; i < 200; i++) { /* more often than EAL has lists */
		CU_ASSERT_EQUAL(bh_env_memory_announce(env, va, DATA_BYTES, PAGE), 0);
		CU_ASSERT_EQUAL(bh_env_memory_announce(env, va, DATA_BYTES, PAGE), -EEXIST);
		bh_env_memory_withdraw(env, va, DATA_BYTES);
		bh_env_memory_withdraw(env, va, DATA_BYTES);
	}
	CU_ASSERT_EQUAL(bh_env_memory_announce(env, va, DATA_BYTES, PAGE), 0);
	bh_env_close(env); /* withdraws it */
	CU_ASSERT_EQUAL_FATAL(bh_env_open(&opts, &env), 0);
	CU_ASSERT_EQUAL(bh_env_memory_announce(env, va, DATA_BYTES, PAGE), 0);
	bh_env_memory_withdraw(env, va, DATA_BYTES);
	munmap(va, DATA_BYTES);
}

static void heaps_are_named_and_guarded(void)
{
	int id, other;
	void *p;

	CU_ASSERT_EQUAL_FATAL(bh_env_open(&opts, &env), 0);
	CU_ASSERT_EQUAL(bh_env_heap_destroy(env, "none"), -ENOENT);
	CU_ASSERT_EQUAL(bh_env_heap_create(env, "", 1, &id), -EINVAL);
	CU_ASSERT_EQUAL(bh_env_heap_create(env, "a", 0, &id), -EINVAL);
	CU_ASSERT_EQUAL(bh_env_heap_create(env, "a name of thirty-two characters.", 1, &id),
			-EINVAL);
	CU_ASSERT_EQUAL(bh_env_heap_create(env, "a", 2 << 20, &id), 0);
	CU_ASSERT_EQUAL(bh_env_heap_create(env, "a", 1, &other), -EEXIST);
	CU_ASSERT_EQUAL(bh_env_heap_create(env, "b", 1, &other), 0);
	CU_ASSERT_NOT_EQUAL(id, other);
	p = rte_malloc_socket(NULL, 2 << 20, 0, id); /* all that was asked for */
	CU_ASSERT_PTR_NOT_NULL(p);
	CU_ASSERT_EQUAL(bh_env_heap_destroy(env, "a"), -EBUSY);
	bh_env_close(env); /* takes b; a stays with EAL */
	CU_ASSERT_EQUAL_FATAL(bh_env_open(&opts, &env), 0);
	CU_ASSERT_EQUAL(bh_env_heap_destroy(env, "b"), -ENOENT);
	rte_free(p);
	CU_ASSERT_EQUAL(bh_env_heap_destroy(env, "a"), 0);
	CU_ASSERT_EQUAL(bh_env_heap_create(env, "a", 1, &id), 0);
	CU_ASSERT_EQUAL(bh_env_heap_destroy(env, "a"), 0);
}

static void packets_use(struct rte_mempool *pool, const char *va, int heap_socket)
{
	static struct rte_mbuf *m[MBUFS];

	CU_ASSERT_EQUAL_FATAL(rte_pktmbuf_alloc_bulk(pool, m, MBUFS), 0);
	for (int i = 0; i < MBUFS; i++) {
		char *p = rte_pktmbuf_append(m[i], 1500);

		CU_ASSERT_TRUE_FATAL(p >= va + RTE_PKTMBUF_HEADROOM && p + 1500 <= va + DATA_BYTES);
		CU_ASSERT_TRUE((char *)m[i] < va || (char *)m[i] >= va + DATA_BYTES);
		CU_ASSERT_EQUAL(rte_pktmbuf_iova(m[i]), (uintptr_t)p);
		memset(p, i, 1500);
	}
	CU_ASSERT_EQUAL(rte_pktmbuf_chain(m[0], m[1]), 0);
	CU_ASSERT_EQUAL(rte_pktmbuf_pkt_len(m[0]), 3000);
	CU_ASSERT_PTR_NOT_NULL(rte_pktmbuf_prepend(m[2], RTE_PKTMBUF_HEADROOM));
	rte_pktmbuf_free(m[0]);
	rte_pktmbuf_free_bulk(m + 2, MBUFS - 2);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(pool), MBUFS);
	CU_ASSERT_EQUAL(pool->socket_id, heap_socket);
}

/* What a packet pool is made of: data in a device's pool, headers in a heap of ours. */
static void packet_pools_live_in_announced_memory(void)
{
	char *va = data_map();
	struct rte_pktmbuf_extmem ext = {
		.buf_ptr = va,
		.buf_iova = (uintptr_t)va,
		.buf_len = DATA_BYTES,
		.elt_size = ROOM,
	};
	struct rte_mempool *pool;
	int heap;

	CU_ASSERT_EQUAL_FATAL(bh_env_open(&opts, &env), 0);
	CU_ASSERT_EQUAL_FATAL(bh_env_memory_announce(env, va, DATA_BYTES, PAGE), 0);
	CU_ASSERT_EQUAL_FATAL(bh_env_heap_create(env, "packets", 2 << 20, &heap), 0);
	pool = rte_pktmbuf_pool_create_extbuf("packets", MBUFS, 64, 0, ROOM, heap, &ext, 1);
	CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
	packets_use(pool, va, heap);
	CU_ASSERT_EQUAL(bh_env_heap_destroy(env, "packets"), -EBUSY);
	rte_mempool_free(pool);
	CU_ASSERT_EQUAL(bh_env_heap_destroy(env, "packets"), 0);
	bh_env_memory_withdraw(env, va, DATA_BYTES);
	munmap(va, DATA_BYTES);
}

BH_SUITE_FIXTURE("env", setup, teardown,
		 { "adopt_without_eal_is_enodev", adopt_without_eal_is_enodev },
		 { "applications_eal_is_adopted", applications_eal_is_adopted },
		 { "open_gives_back_what_it_took", open_gives_back_what_it_took },
		 { "one_cpu_is_enough", one_cpu_is_enough },
		 { "unprivileged_users_can_open", unprivileged_users_can_open },
		 { "second_open_is_ebusy_reopen_is_not", second_open_is_ebusy_reopen_is_not },
		 { "eal_logs_to_the_open_log_only", eal_logs_to_the_open_log_only },
		 { "nodes_and_control_cpus", nodes_and_control_cpus },
		 { "threads_get_lcore_ids", threads_get_lcore_ids },
		 { "memory_is_announced_once", memory_is_announced_once },
		 { "heaps_are_named_and_guarded", heaps_are_named_and_guarded },
		 { "packet_pools_live_in_announced_memory", packet_pools_live_in_announced_memory })

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The environments all of it must work in: an unprivileged user, with and without hugepages, with
 * nothing that may be locked into memory.
 */
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ft.h"

#define NOBODY 65534
#define HUGE_PAGES 64
#define NR_HUGEPAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
#define FREE_HUGEPAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"

/* What an application does: data over the socket, and everything put away again. */
static void use(const char *rest, struct bh_pool *pool)
{
	struct ft_traffic traffic = { .max_blocks = 64, .depth = 16, .count = 1000, .seed = 2 };
	struct ft_host_opts opts = { .pool = pool };
	struct ft_target target;
	struct ft_host host;

	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], &opts);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	ft_verify_random(&host, q, host.ns, &traffic);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void copy_program(const char *from, const char *to)
{
	char buf[65536];
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	ssize_t n;

	FT_CHECK(in >= 0 && out >= 0);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		FT_EQUAL(write(out, buf, (size_t)n), n);
	FT_EQUAL(n, 0);
	close(in);
	close(out);
}

/*
 * Becomes nobody, with a directory of his own for sockets, and the target beside it: he may not
 * reach the directory it was built in. Somebody who is not root already is who he should be.
 */
static void become_nobody(void)
{
	char dir[256], path[512], from[512];
	const char *build = getenv("BH_BUILD");

	if (geteuid() != 0)
		return;
	snprintf(dir, sizeof(dir), "%s", ft_path("nobody"));
	snprintf(from, sizeof(from), "%s/test/functional/bh-tgt-test", build ? build : "build");
	FT_EQUAL(mkdir(dir, 0755), 0);
	snprintf(path, sizeof(path), "%s/test", dir);
	FT_EQUAL(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/test/functional", dir);
	FT_EQUAL(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/test/functional/bh-tgt-test", dir);
	copy_program(from, path);
	FT_EQUAL(chown(dir, NOBODY, NOBODY), 0);
	setenv("BH_TMP", dir, 1);
	setenv("BH_BUILD", dir, 1);
	FT_EQUAL(setgroups(0, NULL), 0);
	FT_EQUAL(setresgid(NOBODY, NOBODY, NOBODY), 0);
	FT_EQUAL(setresuid(NOBODY, NOBODY, NOBODY), 0);
	FT_CHECK(setuid(0) != 0);
	/* Changing one's user takes both away. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 1);
}

static void forget_nobody(void)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/test/functional/bh-tgt-test", getenv("BH_TMP"));
	unlink(path);
}

static void unprivileged(void)
{
	become_nobody();
	use("ns=ram:16M", NULL);
	use("ns=ram:16M,doorbells=trapped", NULL);
	forget_nobody();
}

static void no_locked_memory(void)
{
	struct rlimit none = { 0, 0 };

	become_nobody();
	FT_EQUAL(setrlimit(RLIMIT_MEMLOCK, &none), 0);
	use("ns=ram:16M", NULL);
	forget_nobody();
}

static struct bh_pool *make_pool(size_t page_size)
{
	struct bh_pool_opts opts;
	struct bh_pool *pool;

	bh_pool_opts_init(&opts);
	opts.bytes = 16 << 20;
	opts.page_size = page_size;
	FT_EQUAL(bh_pool_create(&opts, &pool), 0);
	return pool;
}

static void ordinary_pages(void)
{
	struct bh_pool *pool = make_pool((size_t)sysconf(_SC_PAGESIZE));

	FT_EQUAL(bh_pool_mem(pool)->page_size, sysconf(_SC_PAGESIZE));
	use("ns=ram:16M", pool);
	bh_pool_destroy(pool);
}

/* ---- hugepages ---- */

static long read_number(const char *path)
{
	FILE *file = fopen(path, "r");
	long n = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%ld", &n) != 1)
		n = -1;
	fclose(file);
	return n;
}

static void write_number(const char *path, long n)
{
	FILE *file = fopen(path, "w");

	if (!file)
		return;
	fprintf(file, "%ld\n", n);
	fclose(file);
}

static void use_hugepages(void *arg)
{
	long before = read_number(FREE_HUGEPAGES);
	struct bh_pool *pool = make_pool(0);

	(void)arg;
	FT_EQUAL(bh_pool_mem(pool)->page_size, 2 << 20);
	FT_EQUAL(read_number(FREE_HUGEPAGES), before - 8);
	use("ns=ram:16M", pool);
	bh_pool_destroy(pool);
	/* None is held by anybody any more. */
	FT_UNTIL(5000, read_number(FREE_HUGEPAGES) == before, usleep(1000));
}

/* In a process of its own: whatever comes of it, the pages are given back. */
static void hugepages(void)
{
	long before = read_number(NR_HUGEPAGES);
	uint64_t deadline = ft_deadline(20000);
	int status = 0;

	if (geteuid() != 0)
		ft_skip("only root may reserve hugepages");
	if (before < 0)
		ft_skip("this kernel has no 2 MiB hugepages");
	write_number(NR_HUGEPAGES, before + HUGE_PAGES);
	if (read_number(FREE_HUGEPAGES) < HUGE_PAGES) {
		write_number(NR_HUGEPAGES, before);
		ft_skip("128 MiB of hugepages are not to be had");
	}
	pid_t pid = ft_fork(use_hugepages, NULL);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (bh_now_ns() > deadline)
			kill(pid, SIGKILL);
		usleep(1000);
	}
	write_number(NR_HUGEPAGES, before);
	if (WIFSIGNALED(status))
		ft_fail(__FILE__, __LINE__, "ended by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status))
		_exit(WEXITSTATUS(status)); /* it said why */
}

FT_MAIN({ "unprivileged", unprivileged, 0 }, { "no_locked_memory", no_locked_memory, 0 },
	{ "ordinary_pages", ordinary_pages, 0 }, { "hugepages", hugepages, 0 })

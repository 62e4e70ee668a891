/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools: what they are made of, what is refused, and what is said about it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bellhop/dma.h>

#include "capture.h"
#include "unit.h"

#define MIB ((size_t)1 << 20)

static int create(size_t bytes, size_t page_size, int node, const struct bh_log *log,
		  struct bh_pool **out)
{
	struct bh_pool_opts opts;

	bh_pool_opts_init(&opts);
	opts.name = "test";
	opts.bytes = bytes;
	opts.page_size = page_size;
	opts.node = node;
	opts.log = log;
	return bh_pool_create(&opts, out);
}

static void a_pool_is_a_sealed_populated_memfd(void)
{
	struct capture c;
	capture_init(&c);
	struct bh_pool *pool = NULL;
	unsigned char resident[1024];
	struct stat st;
	int missing = 0;

	CU_ASSERT_EQUAL_FATAL(create(4 * MIB - 5000, 4096, -1, &c.log, &pool), 0);
	const struct bh_mem *mem = bh_pool_mem(pool);
	CU_ASSERT_EQUAL(mem->len, 4 * MIB - 4096);
	CU_ASSERT_EQUAL(mem->page_size, 4096);
	CU_ASSERT_EQUAL(mem->fd_offset, 0);
	CU_ASSERT_EQUAL(mem->node, -1);
	CU_ASSERT_EQUAL((uintptr_t)mem->va % (2 * MIB), 0);
	CU_ASSERT_STRING_EQUAL(bh_pool_name(pool), "test");
	CU_ASSERT_EQUAL(bh_pool_free_bytes(pool), mem->len);
	CU_ASSERT_EQUAL(fcntl(mem->fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
			F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	CU_ASSERT_EQUAL(ftruncate(mem->fd, 4096), -1);
	CU_ASSERT_EQUAL(ftruncate(mem->fd, 8 << 20), -1);
	CU_ASSERT_EQUAL(fcntl(mem->fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	CU_ASSERT_EQUAL(fstat(mem->fd, &st), 0);
	CU_ASSERT_EQUAL((size_t)st.st_size, mem->len);
	CU_ASSERT_EQUAL(mincore(mem->va, mem->len, resident), 0);
	for (size_t i = 0; i < mem->len / 4096; i++)
		missing += !(resident[i] & 1);
	CU_ASSERT_EQUAL(missing, 0);
	CU_ASSERT_EQUAL(c.count[BH_LOG_INFO], 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(c.text, "dma: pool test: 4092 KiB in 1023 pages of 4 KiB"));
	bh_pool_destroy(pool);
}

static void impossible_options_are_einval(void)
{
	struct bh_pool *pool = NULL;
	struct bh_pool_opts opts;

	CU_ASSERT_EQUAL(bh_pool_create(NULL, &pool), -EINVAL);
	bh_pool_opts_init(&opts);
	opts.bytes = 4096;
	opts.size = 0;
	CU_ASSERT_EQUAL(bh_pool_create(&opts, &pool), -EINVAL);
	CU_ASSERT_EQUAL(create(0, 0, -1, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(create(4096, 1, -1, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(create(4096, 2048, -1, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(create(4096, 5000, -1, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(create(4096, 3 * MIB, -1, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(create(4096, (size_t)1 << 60, -1, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(create(4096, 0, -2, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(create(4096, 0, 4000, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(create(4096, 0, 2000000000, NULL, &pool), -EINVAL);
	CU_ASSERT_PTR_NULL(pool);
}

static void too_much_is_enomem(void)
{
	struct capture c;
	capture_init(&c);
	struct bh_pool *pool = NULL;

	CU_ASSERT_EQUAL(create((size_t)1 << 46, 0, -1, &c.log, &pool), -ENOMEM);
	CU_ASSERT_EQUAL(c.count[BH_LOG_ERROR], 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(c.text, "64 TiB wanted"));
	CU_ASSERT_EQUAL(create(SIZE_MAX, 0, -1, NULL, &pool), -ENOMEM);
	CU_ASSERT_EQUAL(create(SIZE_MAX - 8191, 4096, -1, NULL, &pool), -ENOMEM);
	CU_ASSERT_EQUAL(create(SIZE_MAX / 2, 2 * MIB, -1, NULL, &pool), -ENOMEM);
	CU_ASSERT_PTR_NULL(pool);
}

static void missing_hugepages_are_explained(void)
{
	struct capture c;
	capture_init(&c);
	struct bh_pool *pool = NULL;

	CU_ASSERT_EQUAL(create((size_t)1 << 42, 2 * MIB, -1, &c.log, &pool), -ENOMEM);
	CU_ASSERT_EQUAL(c.count[BH_LOG_ERROR], 1);
	CU_ASSERT(strstr(c.text, "/nr_hugepages") || strstr(c.text, "has no pages of"));
	CU_ASSERT_PTR_NULL(pool);
}

static int open_files(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void failures_leave_nothing_behind(void)
{
	struct bh_pool *pool = NULL;
	int before = open_files();

	CU_ASSERT_EQUAL(create((size_t)1 << 46, 0, -1, NULL, &pool), -ENOMEM);
	CU_ASSERT_EQUAL(create((size_t)1 << 40, 2 * MIB, -1, NULL, &pool), -ENOMEM);
	CU_ASSERT_EQUAL(create(MIB, 0, -1, NULL, &pool), 0);
	CU_ASSERT_EQUAL(open_files(), before + 1);
	bh_pool_destroy(pool);
	CU_ASSERT_EQUAL(open_files(), before);
}

/* Runs create() in a child with a limit; its exit status is the errno, 128 + N a signal. */
static int create_limited(int resource, rlim_t limit, size_t bytes)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit r = { limit, limit };
		struct bh_pool *pool;

		setrlimit((__rlimit_resource_t)resource, &r);
		_exit(-create(bytes, 4096, -1, NULL, &pool));
	}
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void limits_are_errors_and_not_signals(void)
{
	CU_ASSERT_EQUAL(create_limited(RLIMIT_FSIZE, MIB, 2 * MIB), ENOMEM);
	CU_ASSERT_EQUAL(create_limited(RLIMIT_FSIZE, 2 * MIB, 2 * MIB), 0);
	CU_ASSERT_EQUAL(create_limited(RLIMIT_NOFILE, 3, 4096), EMFILE);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	CU_ASSERT_EQUAL(create_limited(RLIMIT_AS, 256 * MIB, 512 * MIB), ENOMEM);
#endif
}

static void a_node_is_bound_or_the_pool_says_so(void)
{
	struct capture c;
	capture_init(&c);
	struct bh_pool *pool = NULL;

	CU_ASSERT_EQUAL_FATAL(create(4 * MIB, 4096, 0, &c.log, &pool), 0);
	CU_ASSERT(bh_pool_mem(pool)->node == 0 || c.count[BH_LOG_WARN] == 1);
	CU_ASSERT(bh_pool_mem(pool)->node == -1 || strstr(c.text, "on node 0"));
	bh_pool_destroy(pool);
}

/* ---- hugepages: needs some, or root to reserve some for the time of the test ---- */

static void huge_pool_checks(void)
{
	struct capture c;
	capture_init(&c);
	struct bh_pool *pool = NULL, *second = NULL;
	long free_pages = unit_hugepages_free();

	CU_ASSERT_EQUAL(create(3 * MIB, 2 * MIB, -1, &c.log, &pool), 0);
	if (!pool)
		return;
	CU_ASSERT_EQUAL(bh_pool_mem(pool)->page_size, 2 * MIB);
	CU_ASSERT_EQUAL(bh_pool_mem(pool)->len, 4 * MIB);
	CU_ASSERT_EQUAL((uintptr_t)bh_pool_mem(pool)->va % (2 * MIB), 0);
	CU_ASSERT_EQUAL((uintptr_t)bh_pool_alloc(pool, 64, MIB) % MIB, 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(c.text, "4 MiB in 2 pages of 2 MiB: as asked"));
	CU_ASSERT_EQUAL(fcntl(bh_pool_mem(pool)->fd, F_GET_SEALS) & F_SEAL_SHRINK, F_SEAL_SHRINK);
	/* More than there are: not without being told, and explained when asked for. */
	CU_ASSERT_EQUAL(create((size_t)(free_pages + 1) * 2 * MIB, 2 * MIB, -1, &c.log, &second),
			-ENOMEM);
	CU_ASSERT_PTR_NOT_NULL(strstr(c.text, "reserve more with: echo "));
	CU_ASSERT_EQUAL(create(MIB / 2, 0, -1, NULL, &second), 0);
	CU_ASSERT_EQUAL(bh_pool_mem(second)->page_size, 4096); /* would waste most of it */
	bh_pool_destroy(second);
	bh_pool_destroy(pool);
	CU_ASSERT_EQUAL(create(2 * MIB, 0, 0, NULL, &pool), 0);
	CU_ASSERT_EQUAL(bh_pool_mem(pool)->page_size, 2 * MIB);
	bh_pool_destroy(pool);
}

static void hugepages_are_taken_where_there_are_some(void)
{
	long had = unit_hugepages_reserve(4);

	if (had < 0)
		unit_skip("needs root to reserve 4 hugepages, and memory that is not fragmented");
	huge_pool_checks();
	unit_hugepages_restore(had);
}

/* ---- import ---- */

static uint8_t *shared(int *fd, size_t len)
{
	void *va;

	*fd = memfd_create("import", MFD_CLOEXEC);
	CU_ASSERT_EQUAL_FATAL(ftruncate(*fd, (off_t)len), 0);
	va = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	CU_ASSERT_FATAL(va != MAP_FAILED);
	return va;
}

static void an_imported_pool_is_the_callers_memory(void)
{
	struct bh_pool *pool = NULL;
	int fd;
	uint8_t *va = shared(&fd, 65536);

	CU_ASSERT_EQUAL_FATAL(bh_pool_import(va + 8192, 16384, fd, 8192, NULL, &pool), 0);
	const struct bh_mem *mem = bh_pool_mem(pool);
	CU_ASSERT_PTR_EQUAL(mem->va, va + 8192);
	CU_ASSERT_EQUAL(mem->len, 16384);
	CU_ASSERT_EQUAL(mem->fd_offset, 8192);
	CU_ASSERT_NOT_EQUAL(mem->fd, fd);
	CU_ASSERT_PTR_NULL(bh_pool_alloc(pool, 64, 0));
	CU_ASSERT_EQUAL(bh_pool_free_bytes(pool), 0);
	bh_pool_free(pool, va + 8192);
	bh_pool_destroy(pool);
	va[8192] = 1; /* still mapped */
	/* Also over the seam of two mappings of the file in a row. */
	CU_ASSERT_EQUAL(mprotect(va + 4096, 4096, PROT_READ), 0);
	CU_ASSERT_EQUAL(bh_pool_import(va, 65536, fd, 0, "seam", &pool), 0);
	CU_ASSERT_STRING_EQUAL(bh_pool_name(pool), "seam");
	bh_pool_destroy(pool);
	munmap(va, 65536);
	close(fd);
}

static void imported_memory_may_have_no_file(void)
{
	struct bh_pool *pool = NULL;
	uint8_t *va = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CU_ASSERT_EQUAL_FATAL(bh_pool_import(va, 8192, -1, 0, "heap", &pool), 0);
	const struct bh_mem *mem = bh_pool_mem(pool);
	CU_ASSERT_EQUAL(mem->kind, BH_MEM_VA);
	CU_ASSERT_EQUAL(mem->fd, -1);
	CU_ASSERT_PTR_EQUAL(mem->va, va);
	CU_ASSERT_EQUAL(mem->len, 8192);
	CU_ASSERT_EQUAL(mem->page_size, 4096);
	CU_ASSERT_PTR_NULL(bh_pool_alloc(pool, 64, 0));
	bh_pool_destroy(pool);
	va[0] = 1; /* still mapped */
	munmap(va, 8192);
}

/* The fd stands for a dma-buf here: what it is shows when a device maps it. */
static void device_memory_keeps_its_dmabuf(void)
{
	struct bh_pool *pool = NULL;
	int fd;
	uint8_t *va = shared(&fd, 8192);

	CU_ASSERT_EQUAL_FATAL(bh_pool_import_dmabuf(va, 8192, fd, "bar", &pool), 0);
	const struct bh_mem *mem = bh_pool_mem(pool);
	CU_ASSERT_EQUAL(mem->kind, BH_MEM_DMABUF);
	CU_ASSERT_TRUE(mem->fd >= 0 && mem->fd != fd);
	CU_ASSERT_EQUAL(fcntl(mem->fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	CU_ASSERT_EQUAL(mem->fd_offset, 0);
	bh_pool_destroy(pool);
	munmap(va, 8192);
	close(fd);
}

static void import_refuses_what_is_not_such_a_mapping(void)
{
	struct bh_pool *pool = NULL;
	int fd, other, pipes[2];
	uint8_t *va = shared(&fd, 65536), *va2 = shared(&other, 65536);
	void *private = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	CU_ASSERT_EQUAL(bh_pool_import(va, 0, fd, 0, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(va + 64, 4096, fd, 64, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(va, 4095, fd, 0, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(va, 4096, fd, 1, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(va, 4096, fd, 4096, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(va, 65536, fd, 4096, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(va, 4096, fd, UINT64_MAX - 4095, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(va, 65536 + 4096, fd, 0, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(va, 4096, other, 0, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(private, 4096, fd, 0, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(va, 4096, -2, 0, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(va, 4096, -1, 4096, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(va + 64, 4096, -1, 0, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(va, 0, -1, 0, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(NULL, 4096, -1, 0, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import_dmabuf(va, 4096, -1, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import_dmabuf(va + 8, 4096, fd, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import_dmabuf(va, 100, fd, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import_dmabuf(va, 4096, 1 << 20, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
	CU_ASSERT_EQUAL(bh_pool_import(va, 4096, pipes[0], 0, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(munmap(va + 8192, 4096), 0);
	CU_ASSERT_EQUAL(bh_pool_import(va, 65536, fd, 0, NULL, &pool), -EINVAL);
	CU_ASSERT_EQUAL(bh_pool_import(va + 8192, 4096, fd, 8192, NULL, &pool), -EINVAL);
	CU_ASSERT_PTR_NULL(pool);
	close(pipes[0]);
	close(pipes[1]);
	munmap(private, 65536);
	munmap(va, 65536);
	munmap(va2, 65536);
	close(fd);
	close(other);
}

BH_SUITE("pool", { "a_pool_is_a_sealed_populated_memfd", a_pool_is_a_sealed_populated_memfd },
	 { "impossible_options_are_einval", impossible_options_are_einval },
	 { "too_much_is_enomem", too_much_is_enomem },
	 { "missing_hugepages_are_explained", missing_hugepages_are_explained },
	 { "failures_leave_nothing_behind", failures_leave_nothing_behind },
	 { "limits_are_errors_and_not_signals", limits_are_errors_and_not_signals },
	 { "a_node_is_bound_or_the_pool_says_so", a_node_is_bound_or_the_pool_says_so },
	 { "hugepages_are_taken_where_there_are_some", hugepages_are_taken_where_there_are_some },
	 { "an_imported_pool_is_the_callers_memory", an_imported_pool_is_the_callers_memory },
	 { "imported_memory_may_have_no_file", imported_memory_may_have_no_file },
	 { "device_memory_keeps_its_dmabuf", device_memory_keeps_its_dmabuf },
	 { "import_refuses_what_is_not_such_a_mapping",
	   import_refuses_what_is_not_such_a_mapping }, )

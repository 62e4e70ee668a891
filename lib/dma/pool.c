/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools: a memfd, its mapping and an allocator over it.
 *
 * The memfd goes to whoever drives the device (a vfio-user peer maps it), so it is sealed: neither
 * side can pull the pages from under the other by changing its size. It is populated before anyone
 * sees it: an access that finds no page would be a SIGBUS in the middle of a queue, so lack of
 * memory has to come up here, as -ENOMEM. Touching the pages would raise just that signal;
 * MADV_POPULATE_WRITE, or fallocate() on kernels before 5.14, tells instead.
 *
 * Pages are tried from the largest down. The counters in /sys only decide what is worth trying;
 * mmap takes a hugetlb reservation and populating proves it, and either may fail (a node, a control
 * group or another process may be in the way), which means the next smaller size.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <numa.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bellhop/range.h>

#include "dma/dma.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u /* since Linux 6.3 */
#endif

#define SIZE_2M ((size_t)2 << 20)
#define SIZE_1G ((size_t)1 << 30)

static size_t ordinary_page(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* 0: passes SIZE_MAX. */
static size_t round_up(size_t n, size_t unit)
{
	return n > SIZE_MAX - (unit - 1) ? 0 : (n + unit - 1) & ~(unit - 1);
}

/* "64 MiB" */
static const char *size_text(char buf[32], uint64_t bytes)
{
	static const char *const unit[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	unsigned i = 0;

	while (i < 4 && bytes >= 1024 && bytes % 1024 == 0) {
		bytes >>= 10;
		i++;
	}
	snprintf(buf, 32, "%llu %s", (unsigned long long)bytes, unit[i]);
	return buf;
}

void bh_pool_opts_init(struct bh_pool_opts *opts)
{
	*opts = (struct bh_pool_opts){ .size = sizeof(*opts), .node = -1 };
}

/* What the kernel calls a lack of memory in its many ways is one errno here. */
static int memory_error(int err)
{
	switch (err) {
	case ENFILE:
		return -EMFILE;
	case ENOSPC:
	case EFBIG:
	case EFAULT: /* populating would have raised SIGBUS */
	case EHWPOISON:
	case EAGAIN:
	case EINVAL:
	case ENODEV: /* no hugepages of that size here */
		return -ENOMEM;
	default:
		return -err;
	}
}

static int open_memfd(const char *name, size_t page_size, size_t len)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	struct rlimit limit;
	char label[64];
	int fd, rc;

	/* Growing a file past this limit is a signal. */
	if (len > INT64_MAX || (getrlimit(RLIMIT_FSIZE, &limit) == 0 && len > limit.rlim_cur))
		return -ENOMEM;
	if (page_size != ordinary_page())
		flags |= MFD_HUGETLB | (unsigned)__builtin_ctzl(page_size) << MFD_HUGE_SHIFT;
	snprintf(label, sizeof(label), "%s", name);
	fd = memfd_create(label, flags);
	if (fd < 0 && errno == EACCES) /* sysctl vm.memfd_noexec=2 asks for it */
		fd = memfd_create(label, flags | MFD_NOEXEC_SEAL);
	if (fd < 0)
		return memory_error(errno);
	if (ftruncate(fd, (off_t)len) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		rc = memory_error(errno);
		close(fd);
		return rc;
	}
	return fd;
}

/*
 * Maps fd at a multiple of `align`, so that the kernel and an IOMMU can use their largest pages:
 * reserves more than needed, maps into it, gives the ends back.
 */
static void *map_aligned(int fd, size_t len, size_t align)
{
	size_t slack = align - ordinary_page();
	uint8_t *base, *va;

	if (len > SIZE_MAX - slack)
		return MAP_FAILED;
	base = mmap(NULL, len + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		    0);
	if (base == MAP_FAILED)
		return MAP_FAILED;
	va = base + (-(uintptr_t)base & (align - 1));
	if (mmap(va, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
		munmap(base, len + slack);
		return MAP_FAILED;
	}
	if (va > base)
		munmap(base, (size_t)(va - base));
	if (va + len < base + len + slack)
		munmap(va + len, (size_t)(base + len + slack - (va + len)));
	return va;
}

static bool bind_node(void *va, size_t len, int node)
{
	struct bitmask *mask;
	long rc = -1;

	if (numa_available() < 0)
		return false;
	mask = numa_allocate_nodemask();
	if (mask) {
		numa_bitmask_setbit(mask, (unsigned)node);
		rc = mbind(va, len, MPOL_BIND, mask->maskp, mask->size + 1, 0);
		numa_free_nodemask(mask);
	}
	return rc == 0;
}

static int populate(void *va, size_t len, int fd)
{
	int rc;

	do {
		rc = madvise(va, len, MADV_POPULATE_WRITE);
	} while (rc < 0 && (errno == EINTR || errno == EAGAIN));
	if (rc == 0)
		return 0;
	if (errno != EINVAL)
		return memory_error(errno);
	do {
		rc = fallocate(fd, 0, 0, (off_t)len);
	} while (rc < 0 && errno == EINTR);
	return rc < 0 ? memory_error(errno) : 0;
}

/* Makes mem of the given pages or fails, leaving nothing behind. */
static int build(const struct bh_pool_opts *opts, size_t page_size, struct bh_mem *mem)
{
	size_t len = round_up(opts->bytes, page_size);
	size_t align = len >= SIZE_2M && page_size < SIZE_2M ? SIZE_2M : page_size;
	int rc, fd;
	void *va;

	if (len == 0)
		return -ENOMEM;
	if (page_size == ordinary_page() && len > bh__memory_available(opts->node))
		return -ENOMEM;
	fd = open_memfd(opts->name, page_size, len);
	if (fd < 0)
		return fd;
	va = map_aligned(fd, len, align);
	if (va == MAP_FAILED) {
		close(fd);
		return -ENOMEM;
	}
	*mem = (struct bh_mem){
		.va = va, .len = len, .fd = fd, .page_size = page_size, .node = opts->node
	};
	if (opts->node >= 0 && !bind_node(va, len, opts->node)) {
		bh_log(opts->log, BH_LOG_WARN, "dma", "pool %s: cannot be bound to node %d",
		       opts->name, opts->node);
		mem->node = -1;
	}
	/* Only a hint: kernels without transparent hugepages refuse it. */
	if (page_size < SIZE_2M && len >= SIZE_2M)
		(void)madvise(va, len, MADV_HUGEPAGE);
	rc = populate(va, len, fd);
	if (rc < 0) {
		munmap(va, len);
		close(fd);
	}
	return rc;
}

/* Says what is missing and, for hugepages, the command that mends it. */
static void explain_failure(const struct bh_pool_opts *opts, size_t page_size, int rc)
{
	size_t need = opts->bytes / page_size + (opts->bytes % page_size != 0);
	long avail = bh__huge_free(page_size, opts->node), reserved;
	char a[32], path[128];

	if (rc != -ENOMEM) {
		bh_log(opts->log, BH_LOG_ERROR, "dma", "pool %s: %s", opts->name, strerror(-rc));
		return;
	}
	if (page_size == ordinary_page()) {
		bh_log(opts->log, BH_LOG_ERROR, "dma",
		       "pool %s: %s wanted, about %llu MiB of memory available", opts->name,
		       size_text(a, opts->bytes),
		       (unsigned long long)(bh__memory_available(opts->node) >> 20));
		return;
	}
	size_text(a, page_size);
	reserved = bh__huge_reserved(page_size, opts->node, path, sizeof(path));
	if (avail < 0 || reserved < 0) {
		bh_log(opts->log, BH_LOG_ERROR, "dma", "pool %s: this machine has no pages of %s",
		       opts->name, a);
		return;
	}
	bh_log(opts->log, BH_LOG_ERROR, "dma",
	       "pool %s: %zu pages of %s needed, %ld free; reserve more with: echo %zu > %s",
	       opts->name, need, a, avail,
	       (size_t)reserved + (need > (size_t)avail ? need - (size_t)avail : need), path);
}

/* Is it worth trying hugepages of that size for a pool that did not ask for any? */
static bool worth_trying(const struct bh_pool_opts *opts, size_t page_size, char *why, size_t size)
{
	size_t len = round_up(opts->bytes, page_size);
	long avail = bh__huge_free(page_size, opts->node);
	char a[32];

	if (page_size <= ordinary_page() || len == 0)
		return false;
	size_text(a, page_size);
	if (len - opts->bytes > len / 2) {
		snprintf(why, size, "too small for pages of %s", a);
		return false;
	}
	if (avail >= 0 && len / page_size <= (size_t)avail)
		return true;
	snprintf(why, size, "%zu pages of %s needed, %ld free", len / page_size, a,
		 avail < 0 ? 0 : avail);
	return false;
}

static int build_best(const struct bh_pool_opts *opts, struct bh_mem *mem, char *why, size_t size)
{
	static const size_t huge[] = { SIZE_1G, SIZE_2M };
	int rc;

	for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
		if (!worth_trying(opts, huge[i], why, size))
			continue;
		rc = build(opts, huge[i], mem);
		if (rc != -ENOMEM)
			return rc;
		snprintf(why, size, "larger pages were counted as free but could not be had");
	}
	rc = build(opts, ordinary_page(), mem);
	if (rc < 0)
		explain_failure(opts, ordinary_page(), rc);
	return rc;
}

static bool page_size_possible(size_t page_size)
{
	if (page_size == 0 || page_size == ordinary_page())
		return true;
	if (page_size < ordinary_page() || (page_size & (page_size - 1)) != 0)
		return false;
	return page_size == SIZE_2M || page_size == SIZE_1G || bh__huge_free(page_size, -1) >= 0;
}

static bool node_possible(int node)
{
	if (node < 0)
		return node == -1;
	if (numa_available() < 0)
		return node == 0;
	return numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned)node);
}

/* Fields beyond what the caller's header had keep their defaults. */
static int read_opts(const struct bh_pool_opts *from, struct bh_pool_opts *opts)
{
	bh_pool_opts_init(opts);
	if (!from || from->size < offsetof(struct bh_pool_opts, page_size))
		return -EINVAL;
	memcpy(opts, from, from->size < sizeof(*opts) ? from->size : sizeof(*opts));
	if (!opts->name)
		opts->name = "bellhop";
	if (opts->bytes == 0 || !page_size_possible(opts->page_size) || !node_possible(opts->node))
		return -EINVAL;
	return 0;
}

static int pool_new(const char *name, const struct bh_log *log, struct bh_pool **out)
{
	struct bh_pool *pool = calloc(1, sizeof(*pool));
	char *copy = strdup(name);

	if (!pool || !copy) {
		free(pool);
		free(copy);
		return -ENOMEM;
	}
	pool->name = copy;
	pool->log = log;
	pthread_mutex_init(&pool->lock, NULL);
	*out = pool;
	return 0;
}

static void pool_delete(struct bh_pool *pool)
{
	bh__heap_fini(&pool->heap);
	pthread_mutex_destroy(&pool->lock);
	free(pool->name);
	free(pool);
}

static void say_what_was_taken(const struct bh_pool *pool, const char *why)
{
	const struct bh_mem *mem = &pool->mem;
	char a[32], b[32], node[32] = "";

	if (mem->node >= 0)
		snprintf(node, sizeof(node), " on node %d", mem->node);
	bh_log(pool->log, BH_LOG_INFO, "dma", "pool %s: %s in %zu pages of %s%s%s%s", pool->name,
	       size_text(a, mem->len), mem->len / mem->page_size, size_text(b, mem->page_size),
	       node, *why ? ": " : "", why);
}

int bh_pool_create(const struct bh_pool_opts *user_opts, struct bh_pool **out)
{
	char why[96] = "";
	struct bh_pool_opts opts;
	struct bh_pool *pool;
	int rc = read_opts(user_opts, &opts);

	if (rc < 0)
		return rc;
	rc = pool_new(opts.name, opts.log, &pool);
	if (rc < 0)
		return rc;
	if (opts.page_size) {
		snprintf(why, sizeof(why), "as asked");
		rc = build(&opts, opts.page_size, &pool->mem);
		if (rc < 0)
			explain_failure(&opts, opts.page_size, rc);
	} else {
		rc = build_best(&opts, &pool->mem, why, sizeof(why));
	}
	if (rc < 0) {
		pool_delete(pool);
		return rc;
	}
	rc = bh__heap_init(&pool->heap, pool->mem.len);
	if (rc < 0) {
		bh_pool_destroy(pool);
		return rc;
	}
	say_what_was_taken(pool, why);
	*out = pool;
	return 0;
}

/* The unit in which this file can be mapped. */
static size_t file_page_size(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
		return (size_t)fs.f_bsize;
	return ordinary_page();
}

static int check_import(const void *va, size_t len, int fd, uint64_t fd_offset, size_t page_size)
{
	struct stat st;
	int rc;

	if (len == 0 || (((uintptr_t)va | len | fd_offset) & (page_size - 1)) != 0)
		return -EINVAL;
	if (!bh_range_valid((uintptr_t)va, len) || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    !bh_range_inside(fd_offset, len, (uint64_t)st.st_size))
		return -EINVAL;
	rc = bh__mapping_is(va, len, fd, fd_offset, page_size);
	if (rc < 0)
		return rc == -EMFILE || rc == -ENOMEM ? rc : -EOPNOTSUPP;
	return rc == 1 ? 0 : -EINVAL;
}

/* A pool of memory that is the caller's; mem.fd is duplicated. */
static int import(const struct bh_mem *mem, const char *name, struct bh_pool **out)
{
	struct bh_pool *pool;
	int rc = pool_new(name ? name : "bellhop", NULL, &pool);

	if (rc < 0)
		return rc;
	pool->imported = true;
	pool->mem = *mem;
	if (mem->fd >= 0)
		pool->mem.fd = fcntl(mem->fd, F_DUPFD_CLOEXEC, 0);
	if (mem->fd >= 0 && pool->mem.fd < 0) {
		rc = errno == EBADF ? -EINVAL : -EMFILE;
		pool_delete(pool);
		return rc;
	}
	*out = pool;
	return 0;
}

static bool whole_pages(const void *va, size_t len)
{
	return bh_range_valid((uintptr_t)va, len) &&
	       (((uintptr_t)va | len) & (ordinary_page() - 1)) == 0;
}

int bh_pool_import(void *va, size_t len, int fd, uint64_t fd_offset, const char *name,
		   struct bh_pool **out)
{
	struct bh_mem mem = { .va = va, .len = len, .fd = fd, .fd_offset = fd_offset, .node = -1 };
	int rc;

	if (fd == -1) {
		mem.kind = BH_MEM_VA;
		mem.page_size = ordinary_page();
		rc = fd_offset == 0 && va && whole_pages(va, len) ? 0 : -EINVAL;
	} else {
		mem.kind = BH_MEM_FILE;
		mem.page_size = file_page_size(fd);
		rc = check_import(va, len, fd, fd_offset, mem.page_size);
	}
	return rc < 0 ? rc : import(&mem, name, out);
}

int bh_pool_import_dmabuf(void *va, size_t len, int dmabuf, const char *name, struct bh_pool **out)
{
	const struct bh_mem mem = { .va = va,
				    .len = len,
				    .fd = dmabuf,
				    .page_size = ordinary_page(),
				    .node = -1,
				    .kind = BH_MEM_DMABUF };

	return dmabuf >= 0 && va && whole_pages(va, len) ? import(&mem, name, out) : -EINVAL;
}

void bh_pool_destroy(struct bh_pool *pool)
{
	if (!pool)
		return;
	/* Acquire pairs with the release of the space that gave it up last. */
	if (__atomic_load_n(&pool->spaces, __ATOMIC_ACQUIRE) != 0) {
		bh_log(pool->log, BH_LOG_ERROR, "dma",
		       "pool %s: still in a DMA space when destroyed: leaked", pool->name);
		return;
	}
	if (!pool->imported)
		munmap(pool->mem.va, pool->mem.len);
	if (pool->mem.fd >= 0)
		close(pool->mem.fd);
	pool_delete(pool);
}

const struct bh_mem *bh_pool_mem(const struct bh_pool *pool)
{
	return &pool->mem;
}

const char *bh_pool_name(const struct bh_pool *pool)
{
	return pool->name;
}

void *bh_pool_alloc(struct bh_pool *pool, size_t bytes, size_t align)
{
	size_t offset;
	bool found;

	if (align < BH__HEAP_GRAIN && (align & (align - 1)) == 0)
		align = BH__HEAP_GRAIN;
	if (pool->imported || (align & (align - 1)) != 0 || align > pool->mem.page_size)
		return NULL;
	pthread_mutex_lock(&pool->lock);
	found = bh__heap_alloc(&pool->heap, bytes, align, &offset);
	pthread_mutex_unlock(&pool->lock);
	return found ? (uint8_t *)pool->mem.va + offset : NULL;
}

void *bh_pool_zalloc(struct bh_pool *pool, size_t bytes, size_t align)
{
	void *va = bh_pool_alloc(pool, bytes, align);

	if (va)
		memset(va, 0, bytes);
	return va;
}

void bh_pool_free(struct bh_pool *pool, void *ptr)
{
	uintptr_t off = (uintptr_t)ptr - (uintptr_t)pool->mem.va;
	bool known = false;

	if (!ptr)
		return;
	if (!pool->imported && off < pool->mem.len) {
		pthread_mutex_lock(&pool->lock);
		known = bh__heap_free(&pool->heap, off);
		pthread_mutex_unlock(&pool->lock);
	}
	if (!known)
		bh_log(pool->log, BH_LOG_ERROR, "dma",
		       "pool %s: %p was not allocated from it, or is free already: ignored",
		       pool->name, ptr);
}

size_t bh_pool_free_bytes(const struct bh_pool *pool)
{
	struct bh_pool *p = (struct bh_pool *)pool;
	size_t bytes;

	pthread_mutex_lock(&p->lock);
	bytes = p->heap.free_bytes;
	pthread_mutex_unlock(&p->lock);
	return bytes;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rig that lets ThreadSanitizer see host and target meet.
 *
 * They share memory by mapping the same files, each at addresses of its own, and ThreadSanitizer
 * knows a race only when it sees two threads at one address. So here both run in one process, and
 * what the second of them would map is what the first has mapped: mmap() of a file that is mapped
 * already returns that mapping (the doorbell page), and a region of client memory points into the
 * pool itself. Everything else is as it is between two processes: the socket, the messages, the
 * threads.
 *
 * A rig that sees nothing proves nothing: cases with races seeded on purpose must be reported.
 *
 * In other builds than ThreadSanitizer's the same is a functional test.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bellhop/fault.h>
#include <bellhop/tgt.h>

#include "cmem/cmem.h"

#include "../common/blk_late.h"
#include "ft.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAVE_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define HAVE_TSAN 1
#endif
#ifndef HAVE_TSAN
#define HAVE_TSAN 0
#endif

/* ---- one mapping per file ---- */

struct mapping {
	dev_t dev;
	ino_t ino;
	uint64_t offset;
	size_t len;
	uint8_t *va; /* NULL: free */
	int prot;
	unsigned int users;
};

static struct mapping mappings[64];
static pthread_mutex_t mappings_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int shared; /* how often a mapping was used a second time; __atomic */

void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *addr, size_t len);
int __real_bh__cmem_region_open(struct bh_cmem_region *region, uint32_t *faults);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *addr, size_t len);
int __wrap_bh__cmem_region_open(struct bh_cmem_region *region, uint32_t *faults);

/* The mapping of [offset, offset + len) of the file that does not begin at `not`. */
static struct mapping *find_file(int fd, uint64_t offset, size_t len, int prot, const void * not )
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return NULL;
	for (size_t i = 0; i < sizeof(mappings) / sizeof(mappings[0]); i++) {
		struct mapping *m = &mappings[i];

		if (m->va && m->va != not &&m->dev == st.st_dev && m->ino == st.st_ino &&
		    (m->prot & prot) == prot && offset >= m->offset && len <= m->len &&
		    offset - m->offset <= m->len - len)
			return m;
	}
	return NULL;
}

static void remember(void *va, size_t len, int prot, int fd, uint64_t offset)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return;
	for (size_t i = 0; i < sizeof(mappings) / sizeof(mappings[0]); i++) {
		struct mapping *m = &mappings[i];

		if (m->va != va)
			continue;
		/* Another file in its place, for those who had the old one, too. */
		*m = (struct mapping){ st.st_dev, st.st_ino, offset, len, va, prot, m->users };
		return;
	}
	for (size_t i = 0; i < sizeof(mappings) / sizeof(mappings[0]); i++) {
		if (mappings[i].va)
			continue;
		mappings[i] = (struct mapping){ st.st_dev, st.st_ino, offset, len, va, prot, 1 };
		return;
	}
	ft_fail(__FILE__, __LINE__, "more mappings than the rig has room for");
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	struct mapping *m = NULL;
	void *va;

	if (fd < 0 || !(flags & MAP_SHARED) || prot == PROT_NONE)
		return __real_mmap(addr, len, prot, flags, fd, offset);
	pthread_mutex_lock(&mappings_lock);
	if (!addr)
		m = find_file(fd, (uint64_t)offset, len, prot, NULL);
	if (m) {
		m->users++;
		va = m->va + ((uint64_t)offset - m->offset);
		__atomic_add_fetch(&shared, 1, __ATOMIC_RELAXED);
	} else {
		va = __real_mmap(addr, len, prot, flags, fd, offset);
		if (va != MAP_FAILED)
			remember(va, len, prot, fd, (uint64_t)offset);
	}
	pthread_mutex_unlock(&mappings_lock);
	return va;
}

int __wrap_munmap(void *addr, size_t len)
{
	int rc = 0;

	pthread_mutex_lock(&mappings_lock);
	for (size_t i = 0; i < sizeof(mappings) / sizeof(mappings[0]); i++) {
		struct mapping *m = &mappings[i];

		if (!m->va || (uint8_t *)addr < m->va || (uint8_t *)addr >= m->va + m->len)
			continue;
		addr = --m->users ? NULL : m->va;
		len = m->len;
		if (addr)
			m->va = NULL;
		break;
	}
	if (addr)
		rc = __real_munmap(addr, len);
	pthread_mutex_unlock(&mappings_lock);
	return rc;
}

/* The region keeps its own mapping, which nobody looks at, and points at the pool's. */
int __wrap_bh__cmem_region_open(struct bh_cmem_region *region, uint32_t *faults)
{
	int rc = __real_bh__cmem_region_open(region, faults);

	if (rc != 0 || !region->va)
		return rc;
	pthread_mutex_lock(&mappings_lock);
	struct mapping *m =
		find_file(region->fd, region->fd_offset, region->len, PROT_READ, region->map_base);
	if (m) {
		region->va = m->va + (region->fd_offset - m->offset);
		__atomic_add_fetch(&shared, 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&mappings_lock);
	return rc;
}

/* ---- host and target in one process ---- */

struct rig {
	struct bh_tgt *tgt;
	struct ft_host host;
	char socket[108];
};

static const struct bh_blk_type *const types[] = { &bh_blk_null_type, &bh_blk_ram_type,
						   &blk_late_type, NULL };

static void rig_open(struct rig *rig, unsigned int cpus, const char *rest,
		     enum bh_dma_access access)
{
	/* No twin: ThreadSanitizer loses track of a socket that was sent through another. */
	struct ft_host_opts host_opts = { .access = access, .no_twin = true };
	struct bh_tgt_opts opts;
	struct bh_tgt_spec spec;
	char text[256], why[BH_TGT_WHY];

	snprintf(rig->socket, sizeof(rig->socket), "%s", ft_path("race.sock"));
	snprintf(text, sizeof(text), "nvme:%s,%s", rig->socket, rest);
	bh_tgt_opts_init(&opts);
	opts.store_types = types;
	FT_EQUAL(bh_parse_cpus(ft_cpus(cpus, ','), ',', &opts.cpus), 0);
	FT_EQUAL(bh_tgt_create(&opts, &rig->tgt), 0);
	FT_EQUAL(bh_tgt_spec_parse(text, &spec, why), 0);
	if (bh_tgt_apply(rig->tgt, &spec, why) != 0)
		ft_fail(__FILE__, __LINE__, "%s", why);
	bh_tgt_spec_fini(&spec);
	FT_EQUAL(bh_tgt_start(rig->tgt), 0);
	unsigned int before = __atomic_load_n(&shared, __ATOMIC_RELAXED);
	ft_host_open(&rig->host, rig->socket, &host_opts);
	/* It is one mapping, or nothing is being tested. */
	unsigned int more = __atomic_load_n(&shared, __ATOMIC_RELAXED) - before;
	bool mapped = strcmp(bh_nvme_doorbell_path(rig->host.nvme), "mapped") == 0;
	FT_CHECK(more >= (mapped ? 1u : 0u) + (access == BH_DMA_ACCESS_AUTO ? 1u : 0u));
}

static void rig_close(struct rig *rig)
{
	ft_host_close(&rig->host);
	bh_tgt_destroy(rig->tgt);
	FT_CHECK(access(rig->socket, F_OK) != 0);
}

static void traffic_on(const char *rest, unsigned int cpus, enum bh_dma_access access)
{
	struct bh_nvme_queue *q[4];
	struct ft_verify *v[4];
	bool more = true;
	struct rig rig;

	rig_open(&rig, cpus, rest, access);
	for (unsigned int i = 0; i < 4; i++) {
		struct ft_traffic traffic = {
			.first = i * 4096,
			.blocks = 4096,
			.max_blocks = 40,
			.depth = 8,
			.count = access == BH_DMA_ACCESS_AUTO ? 300 : 40,
			.seed = i + 1,
		};

		q[i] = ft_queue(&rig.host, 15);
		v[i] = ft_verify_begin(&rig.host, q[i], rig.host.ns, &traffic);
	}
	while (more) {
		more = false;
		for (int i = 0; i < 4; i++)
			more |= ft_verify_step(v[i]);
	}
	for (int i = 0; i < 4; i++) {
		ft_verify_end(v[i]);
		bh_nvme_queue_destroy(q[i]);
	}
	rig_close(&rig);
}

static void mapped(void)
{
	traffic_on("ns=ram:16M,mdts=16K", 1, BH_DMA_ACCESS_AUTO);
}

static void trapped(void)
{
	traffic_on("ns=ram:16M,doorbells=trapped", 1, BH_DMA_ACCESS_AUTO);
}

static void two_threads(void)
{
	traffic_on("ns=ram:16M", 2, BH_DMA_ACCESS_AUTO);
}

static void late(void)
{
	traffic_on("ns=late:16M\\,hold=3\\,seed=5", 1, BH_DMA_ACCESS_AUTO);
}

static void late_direct_trapped(void)
{
	traffic_on("ns=late:16M\\,hold=3\\,seed=5\\,direct=1,doorbells=trapped", 2,
		   BH_DMA_ACCESS_AUTO);
}

/* Memory by messages: a thread of the device's serves them beside the one that polls. */
static void messages(void)
{
	traffic_on("ns=ram:16M,mdts=16K", 1, BH_DMA_ACCESS_MESSAGE);
}

/* Resets, queues that come and go, pools that come and go. */
static void changes(void)
{
	static const struct ft_traffic traffic = {
		.blocks = 2048, .max_blocks = 16, .depth = 8, .seed = 4
	};
	struct bh_pool_opts opts;
	struct ft_load load;
	struct rig rig;

	rig_open(&rig, 1, "ns=ram:16M", BH_DMA_ACCESS_AUTO);
	struct bh_nvme_queue *q = ft_queue(&rig.host, 15);
	ft_pattern_write(&rig.host, q, rig.host.ns, 0, 2048);
	ft_load_begin(&load, &rig.host, q, rig.host.ns, &traffic);
	bh_pool_opts_init(&opts);
	opts.bytes = 1 << 20;
	for (int round = 0; round < 6; round++) {
		struct bh_nvme_queue *other = ft_queue(&rig.host, 3);
		uint64_t goal = load.completed + 100;
		struct bh_pool *pool;

		FT_EQUAL(bh_pool_create(&opts, &pool), 0);
		FT_EQUAL(bh_dma_space_add(rig.host.space, pool), 0);
		uint8_t *buf = bh_pool_alloc(pool, 4096, 4096);
		FT_EQUAL(ft_read(other, rig.host.ns, buf, 0, 8), BH_NVME_SC_SUCCESS);
		FT_UNTIL(20000, load.completed >= goal, {
			ft_load_step(&load);
			FT_CHECK(bh_nvme_poll(rig.host.nvme) >= 0);
		});
		FT_EQUAL(bh_dma_space_remove(rig.host.space, pool), 0);
		bh_pool_destroy(pool);
		ft_load_step(&load);
		FT_EQUAL(bh_nvme_reset(rig.host.nvme), 0);
		ft_load_drain(&load);
		bh_nvme_queue_destroy(other);
	}
	ft_load_end(&load);
	bh_nvme_queue_destroy(q);
	rig_close(&rig);
}

/* ---- owners of queues against the controller's thread, on two polling threads ---- */

#define OWNERS 2
#define OWNED 2
#define OWNED_BLOCKS 512

struct owner {
	struct ft_load load[OWNED];
	uint32_t stop;	   /* __atomic */
	uint64_t progress; /* __atomic: the least that any of its queues has completed well */
};

static void *owner_main(void *arg)
{
	struct owner *owner = arg;

	while (!__atomic_load_n(&owner->stop, __ATOMIC_ACQUIRE)) {
		uint64_t least = UINT64_MAX;

		for (int i = 0; i < OWNED; i++) {
			struct ft_load *load = &owner->load[i];

			ft_load_step(load);
			FT_CHECK(!load->gone);
			if (load->completed - load->failed < least)
				least = load->completed - load->failed;
		}
		__atomic_store_n(&owner->progress, least, __ATOMIC_RELEASE);
	}
	for (int i = 0; i < OWNED; i++)
		ft_load_drain(&owner->load[i]);
	return NULL;
}

static void wait_progress(struct rig *rig, struct owner *owner, uint64_t n)
{
	uint64_t goal = __atomic_load_n(&owner->progress, __ATOMIC_ACQUIRE) + n;

	FT_UNTIL(20000, __atomic_load_n(&owner->progress, __ATOMIC_ACQUIRE) >= goal, {
		FT_CHECK(bh_nvme_poll(rig->host.nvme) >= 0);
		usleep(100);
	});
}

static void owner_open(struct rig *rig, struct owner *owner, unsigned int index)
{
	memset(owner, 0, sizeof(*owner));
	for (unsigned int i = 0; i < OWNED; i++) {
		struct bh_nvme_queue *q = ft_queue(&rig->host, 15);
		struct ft_traffic traffic = {
			.first = (index * OWNED + i) * OWNED_BLOCKS,
			.blocks = OWNED_BLOCKS,
			.max_blocks = 16,
			.depth = 8,
			.seed = 1 + index * OWNED + i,
		};

		ft_pattern_write(&rig->host, q, rig->host.ns, traffic.first, OWNED_BLOCKS);
		ft_load_begin(&owner->load[i], &rig->host, q, rig->host.ns, &traffic);
	}
}

static void owned_queues(const char *rest)
{
	struct owner owner[OWNERS];
	pthread_t thread[OWNERS];
	struct rig rig;

	rig_open(&rig, 2, rest, BH_DMA_ACCESS_AUTO);
	for (unsigned int i = 0; i < OWNERS; i++)
		owner_open(&rig, &owner[i], i);
	for (int i = 0; i < OWNERS; i++)
		FT_EQUAL(pthread_create(&thread[i], NULL, owner_main, &owner[i]), 0);
	for (int round = 0; round < 6; round++) {
		struct bh_nvme_queue *other = ft_queue(&rig.host, 3);

		for (int i = 0; i < OWNERS; i++)
			wait_progress(&rig, &owner[i], 20);
		bh_nvme_queue_destroy(other);
		FT_EQUAL(bh_nvme_reset(rig.host.nvme), 0);
	}
	for (int i = 0; i < OWNERS; i++) {
		wait_progress(&rig, &owner[i], 20);
		__atomic_store_n(&owner[i].stop, 1, __ATOMIC_RELEASE);
		FT_EQUAL(pthread_join(thread[i], NULL), 0);
	}
	for (int i = 0; i < OWNERS; i++) {
		for (int k = 0; k < OWNED; k++) {
			struct ft_load *load = &owner[i].load[k];

			ft_load_end(load);
			bh_nvme_queue_destroy(load->q);
		}
	}
	rig_close(&rig);
}

static void owners_mapped(void)
{
	owned_queues("ns=ram:16M");
}

static void owners_trapped(void)
{
	owned_queues("ns=ram:16M,doorbells=trapped");
}

static void owners_late(void)
{
	owned_queues("ns=late:16M\\,hold=3\\,seed=5");
}

/* ---- races on purpose ---- */

struct seed {
	uint64_t *data;
	uint32_t *flag;
	bool release;
};

static void *seed_writer(void *arg)
{
	struct seed *seed = arg;

	*seed->data = 42;
	if (seed->release)
		__atomic_store_n(seed->flag, 1, __ATOMIC_RELEASE);
	else
		__atomic_store_n(seed->flag, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* What a ring does, through two mappings of one pool; without the release on request. */
static int seed_ring(bool release)
{
	int fd = memfd_create("seed", MFD_CLOEXEC);
	struct seed seed = { .release = release };
	pthread_t thread;

	FT_CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
	uint8_t *mine = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint8_t *theirs = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	FT_CHECK(mine != MAP_FAILED && mine == theirs);
	seed.data = (uint64_t *)mine;
	seed.flag = (uint32_t *)(mine + 64);
	FT_EQUAL(pthread_create(&thread, NULL, seed_writer, &seed), 0);
	FT_UNTIL(10000, __atomic_load_n((uint32_t *)(theirs + 64), __ATOMIC_ACQUIRE), usleep(10));
	FT_EQUAL(*(uint64_t *)theirs, 42);
	FT_EQUAL(pthread_join(thread, NULL), 0);
	munmap(theirs, 4096);
	munmap(mine, 4096);
	close(fd);
	return 0;
}

/* The host writes into the buffer of a read without waiting for its completion. */
static int seed_touch(bool wait)
{
	struct rig rig;

	rig_open(&rig, 1, "ns=ram:16M", BH_DMA_ACCESS_AUTO);
	struct bh_nvme_queue *q = ft_queue(&rig.host, 15);
	uint8_t *buf = ft_alloc(&rig.host, 65536);
	for (int round = 0; round < 50; round++) {
		int status = -1;

		FT_EQUAL(bh_nvme_read(q, rig.host.ns, buf, 0, 128, 0, ft_done, &status), 0);
		bh_nvme_queue_flush(q);
		for (int i = 0; !wait && i < 65536; i += 8)
			*(volatile uint64_t *)(buf + i) = 1;
		FT_EQUAL(ft_wait(q, &status), BH_NVME_SC_SUCCESS);
		for (int i = 0; wait && i < 65536; i += 8)
			*(volatile uint64_t *)(buf + i) = 1;
	}
	bh_pool_free(rig.host.pool, buf);
	bh_nvme_queue_destroy(q);
	rig_close(&rig);
	return 0;
}

#define TSAN_FOUND 66

/* Runs this program with a seed; its exit code. */
static int run_seed(const char *name)
{
	pid_t pid = fork();
	int status = 0;

	FT_CHECK(pid >= 0);
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		setenv("TSAN_OPTIONS", "exitcode=66:halt_on_error=1", 1);
		if (HAVE_TSAN && null >= 0) /* its report is what we want, not what we show */
			dup2(null, STDERR_FILENO);
		execl("/proc/self/exe", "ft_race", "--seed", name, (char *)NULL);
		_exit(127);
	}
	FT_CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void seeded_missing_release_is_reported(void)
{
	FT_EQUAL(run_seed("ring"), 0);
	FT_EQUAL(run_seed("ring-relaxed"), HAVE_TSAN ? TSAN_FOUND : 0);
}

static void seeded_early_touch_is_reported(void)
{
	FT_EQUAL(run_seed("wait"), 0);
	FT_EQUAL(run_seed("touch"), HAVE_TSAN ? TSAN_FOUND : 0);
}

static int seed_main(const char *name)
{
	bh_fault_install();
	signal(SIGPIPE, SIG_IGN);
	if (strncmp(name, "ring", 4) == 0)
		return seed_ring(strcmp(name, "ring") == 0);
	return seed_touch(strcmp(name, "wait") == 0);
}

int main(int argc, char **argv)
{
	static const struct ft_case cases[] = {
		{ "seeded_missing_release_is_reported", seeded_missing_release_is_reported, 0 },
		{ "seeded_early_touch_is_reported", seeded_early_touch_is_reported, 0 },
		{ "mapped", mapped, 0 },
		{ "trapped", trapped, 0 },
		{ "two_threads", two_threads, 0 },
		{ "late", late, 0 },
		{ "late_direct_trapped", late_direct_trapped, 0 },
		{ "messages", messages, 0 },
		{ "changes", changes, 0 },
		{ "owners_mapped", owners_mapped, 0 },
		{ "owners_trapped", owners_trapped, 0 },
		{ "owners_late", owners_late, 0 },
	};

	if (argc == 3 && strcmp(argv[1], "--seed") == 0)
		return seed_main(argv[2]);
	return ft_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}

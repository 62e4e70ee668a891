/* SPDX-License-Identifier: BSD-3-Clause */
/* Spaces: pools and devices meet completely or not at all. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <bellhop/dma.h>

#include "capture.h"
#include "unit.h"

struct device {
	struct bh_dma_listener listener;
	const struct bh_mem *mem[8];
	size_t count;
	int fail_at; /* maps to let through before one fails, -1: all */
	int maps, unmaps, wrong;
};

static int device_map(struct bh_dma_listener *l, const struct bh_mem *mem)
{
	struct device *d = (struct device *)l;

	if (d->fail_at == 0)
		return -ENOSPC;
	if (d->fail_at > 0)
		d->fail_at--;
	d->mem[d->count++] = mem;
	d->maps++;
	return 0;
}

static void device_unmap(struct bh_dma_listener *l, const struct bh_mem *mem)
{
	struct device *d = (struct device *)l;
	size_t i = 0;

	d->unmaps++;
	while (i < d->count && d->mem[i] != mem)
		i++;
	if (i == d->count)
		d->wrong++;
	else
		d->mem[i] = d->mem[--d->count];
}

static void device_init(struct device *d)
{
	memset(d, 0, sizeof(*d));
	d->listener.map = device_map;
	d->listener.unmap = device_unmap;
	d->fail_at = -1;
}

static struct bh_pool *pool_of(size_t bytes, const struct bh_log *log)
{
	struct bh_pool_opts opts;
	struct bh_pool *pool = NULL;

	bh_pool_opts_init(&opts);
	opts.bytes = bytes;
	opts.page_size = 4096;
	opts.log = log;
	CU_ASSERT_EQUAL_FATAL(bh_pool_create(&opts, &pool), 0);
	return pool;
}

static struct bh_dma_space *space_new(const struct bh_log *log)
{
	struct bh_dma_space *space = NULL;

	CU_ASSERT_EQUAL_FATAL(bh_dma_space_create(log, &space), 0);
	return space;
}

static void pools_come_and_go_in_every_device(void)
{
	struct bh_dma_space *space = space_new(NULL);
	struct bh_pool *a = pool_of(4096, NULL), *b = pool_of(8192, NULL);
	struct device d1, d2;

	device_init(&d1);
	device_init(&d2);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, a), 0);
	CU_ASSERT_EQUAL(bh_dma_space_listen(space, &d1.listener), 0);
	CU_ASSERT_EQUAL(bh_dma_space_listen(space, &d1.listener), -EEXIST);
	CU_ASSERT_EQUAL(bh_dma_space_listen(space, &d2.listener), 0);
	CU_ASSERT_EQUAL(d1.count, 1);
	CU_ASSERT_PTR_EQUAL(d2.mem[0], bh_pool_mem(a));
	CU_ASSERT_EQUAL(bh_dma_space_add(space, b), 0);
	CU_ASSERT_EQUAL(d1.count, 2);
	CU_ASSERT_EQUAL(d2.count, 2);
	CU_ASSERT_EQUAL(bh_dma_space_remove(space, a), 0);
	CU_ASSERT_EQUAL(bh_dma_space_remove(space, a), -ENOENT);
	CU_ASSERT_PTR_EQUAL(d1.mem[0], bh_pool_mem(b));
	bh_dma_space_unlisten(space, &d1.listener);
	CU_ASSERT_EQUAL(d1.count, 0);
	bh_dma_space_unlisten(space, &d1.listener);
	CU_ASSERT_EQUAL(d1.unmaps, 2);
	CU_ASSERT_EQUAL(bh_dma_space_remove(space, b), 0);
	CU_ASSERT_EQUAL(d2.count, 0);
	bh_dma_space_unlisten(space, &d2.listener);
	CU_ASSERT_EQUAL(d1.wrong + d2.wrong, 0);
	bh_pool_destroy(a);
	bh_pool_destroy(b);
	bh_dma_space_destroy(space);
	bh_dma_space_destroy(NULL);
	bh_pool_destroy(NULL);
}

static void a_refused_add_is_rolled_back(void)
{
	struct bh_dma_space *space = space_new(NULL);
	struct bh_pool *a = pool_of(4096, NULL);
	struct device d[3];

	for (int i = 0; i < 3; i++) {
		device_init(&d[i]);
		CU_ASSERT_EQUAL(bh_dma_space_listen(space, &d[i].listener), 0);
	}
	for (int bad = 0; bad < 3; bad++) {
		d[bad].fail_at = 0;
		CU_ASSERT_EQUAL(bh_dma_space_add(space, a), -ENOSPC);
		d[bad].fail_at = -1;
		for (int i = 0; i < 3; i++) {
			CU_ASSERT_EQUAL(d[i].count, 0);
			CU_ASSERT_EQUAL(d[i].maps, d[i].unmaps);
			CU_ASSERT_EQUAL(d[i].wrong, 0);
		}
		CU_ASSERT_PTR_NULL(bh_dma_space_find(space, bh_pool_mem(a)->va, 1));
		CU_ASSERT_EQUAL(bh_dma_space_remove(space, a), -ENOENT);
	}
	CU_ASSERT_EQUAL(bh_dma_space_add(space, a), 0);
	for (int i = 0; i < 3; i++)
		bh_dma_space_unlisten(space, &d[i].listener);
	bh_dma_space_destroy(space);
	bh_pool_destroy(a);
}

static void a_refused_listen_is_rolled_back(void)
{
	struct bh_dma_space *space = space_new(NULL);
	struct bh_pool *pool[4];
	struct device d;

	device_init(&d);
	for (int i = 0; i < 4; i++) {
		pool[i] = pool_of(4096, NULL);
		CU_ASSERT_EQUAL(bh_dma_space_add(space, pool[i]), 0);
	}
	for (int n = 0; n < 4; n++) {
		d.fail_at = n;
		CU_ASSERT_EQUAL(bh_dma_space_listen(space, &d.listener), -ENOSPC);
		CU_ASSERT_EQUAL(d.count, 0);
	}
	CU_ASSERT_EQUAL(d.maps, 0 + 1 + 2 + 3);
	CU_ASSERT_EQUAL(d.unmaps, d.maps);
	CU_ASSERT_EQUAL(d.wrong, 0);
	bh_dma_space_unlisten(space, &d.listener); /* does not listen: nothing happens */
	CU_ASSERT_EQUAL(d.unmaps, d.maps);
	bh_dma_space_destroy(space);
	for (int i = 0; i < 4; i++)
		bh_pool_destroy(pool[i]);
}

static void overlap_is_eexist(void)
{
	struct bh_dma_space *space = space_new(NULL), *other = space_new(NULL);
	struct bh_pool *a = pool_of(16384, NULL), *inside = NULL;
	const struct bh_mem *mem = bh_pool_mem(a);

	CU_ASSERT_EQUAL(
		bh_pool_import((uint8_t *)mem->va + 4096, 4096, mem->fd, 4096, "part", &inside), 0);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, a), 0);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, a), -EEXIST);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, inside), -EEXIST);
	CU_ASSERT_EQUAL(bh_dma_space_add(other, inside), 0);
	CU_ASSERT_EQUAL(bh_dma_space_add(other, a), -EEXIST);
	CU_ASSERT_EQUAL(bh_dma_space_remove(other, inside), 0);
	CU_ASSERT_EQUAL(bh_dma_space_add(other, a), 0); /* in two spaces */
	bh_dma_space_destroy(space);
	bh_dma_space_destroy(other);
	bh_pool_destroy(inside);
	bh_pool_destroy(a);
}

static void find_wants_all_of_it_in_one_pool(void)
{
	struct bh_dma_space *space = space_new(NULL);
	struct bh_pool *a = pool_of(8192, NULL);
	uint8_t *va = bh_pool_mem(a)->va;

	CU_ASSERT_EQUAL(bh_dma_space_add(space, a), 0);
	CU_ASSERT_PTR_EQUAL(bh_dma_space_find(space, va, 8192), a);
	CU_ASSERT_PTR_EQUAL(bh_dma_space_find(space, va + 8191, 1), a);
	CU_ASSERT_PTR_NULL(bh_dma_space_find(space, va + 8191, 2));
	CU_ASSERT_PTR_NULL(bh_dma_space_find(space, va + 8192, 0));
	CU_ASSERT_PTR_NULL(bh_dma_space_find(space, va + 1, SIZE_MAX));
	CU_ASSERT_PTR_NULL(bh_dma_space_find(space, va - 1, 2));
	CU_ASSERT_PTR_NULL(bh_dma_space_find(space, &space, 1));
	bh_dma_space_destroy(space);
	bh_pool_destroy(a);
}

static void alloc_takes_the_first_pool_with_room(void)
{
	struct bh_dma_space *space = space_new(NULL);
	struct bh_pool *base = pool_of(4096, NULL), *imported = NULL, *got = NULL;
	struct bh_pool *small = pool_of(4096, NULL), *big = pool_of(65536, NULL);
	const struct bh_mem *mem = bh_pool_mem(base);

	CU_ASSERT_EQUAL(bh_pool_import(mem->va, 4096, mem->fd, 0, NULL, &imported), 0);
	CU_ASSERT_PTR_NULL(bh_dma_space_alloc(space, 64, 0, &got));
	CU_ASSERT_EQUAL(bh_dma_space_add(space, imported), 0);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, small), 0);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, big), 0);
	CU_ASSERT_PTR_NOT_NULL(bh_dma_space_alloc(space, 4096, 4096, &got));
	CU_ASSERT_PTR_EQUAL(got, small);
	CU_ASSERT_PTR_NOT_NULL(bh_dma_space_alloc(space, 64, 0, &got));
	CU_ASSERT_PTR_EQUAL(got, big);
	CU_ASSERT_PTR_NULL(bh_dma_space_alloc(space, 65536, 0, &got));
	bh_dma_space_destroy(space);
	bh_pool_destroy(imported);
	bh_pool_destroy(base);
	bh_pool_destroy(small);
	bh_pool_destroy(big);
}

static void destroying_what_is_in_use_is_an_error_in_the_log(void)
{
	struct capture c;
	struct device d;
	capture_init(&c);
	device_init(&d);
	struct bh_dma_space *space = space_new(&c.log);
	struct bh_pool *a = pool_of(4096, &c.log);

	CU_ASSERT_EQUAL(bh_dma_space_add(space, a), 0);
	bh_pool_destroy(a);
	CU_ASSERT_EQUAL(c.count[BH_LOG_ERROR], 1);
	CU_ASSERT_PTR_NOT_NULL(bh_pool_alloc(a, 64, 0)); /* it lives on */
	CU_ASSERT_EQUAL(bh_dma_space_listen(space, &d.listener), 0);
	bh_dma_space_destroy(space);
	CU_ASSERT_EQUAL(c.count[BH_LOG_ERROR], 2);
	bh_dma_space_unlisten(space, &d.listener);
	bh_dma_space_destroy(space);
	bh_pool_destroy(a);
	CU_ASSERT_EQUAL(c.count[BH_LOG_ERROR], 2);
}

/* A device as backends make them: its listener keeps the translations of a reader thread. */
struct live_device {
	struct bh_dma_listener listener;
	struct bh_iova_map map;
	int stop;
	void *fixed;
	void *moving; /* __atomic: an address inside a pool that comes and goes */
	unsigned long wrong;
};

static int live_map(struct bh_dma_listener *l, const struct bh_mem *mem)
{
	struct live_device *d = (struct live_device *)l;

	return bh_iova_map_add(&d->map, mem->va, mem->len, (uintptr_t)mem->va + 0x1000);
}

static void live_unmap(struct bh_dma_listener *l, const struct bh_mem *mem)
{
	struct live_device *d = (struct live_device *)l;

	if (bh_iova_map_del(&d->map, mem->va, mem->len) != 0)
		__atomic_fetch_add(&d->wrong, 1, __ATOMIC_RELAXED);
}

static void *live_reader(void *arg)
{
	struct live_device *d = arg;
	struct bh_iova_cache cache = { 0 };
	unsigned long wrong = 0;

	while (!__atomic_load_n(&d->stop, __ATOMIC_RELAXED)) {
		void *moving = __atomic_load_n(&d->moving, __ATOMIC_ACQUIRE);
		uint64_t iova;

		if (bh_iova_translate(&d->map, &cache, moving, 64, &iova))
			wrong += iova != (uintptr_t)moving + 0x1000;
		if (!bh_iova_translate(&d->map, &cache, d->fixed, 64, &iova))
			wrong++;
		else
			wrong += iova != (uintptr_t)d->fixed + 0x1000;
	}
	__atomic_fetch_add(&d->wrong, wrong, __ATOMIC_RELAXED);
	return NULL;
}

static void a_reader_beside_pools_that_come_and_go(void)
{
	struct bh_dma_space *space = space_new(NULL);
	struct bh_pool *fixed = pool_of(65536, NULL);
	static struct live_device d;
	pthread_t thread;

	memset(&d, 0, sizeof(d));
	d.listener.map = live_map;
	d.listener.unmap = live_unmap;
	d.fixed = bh_pool_alloc(fixed, 64, 0);
	CU_ASSERT_EQUAL_FATAL(bh_iova_map_init(&d.map), 0);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, fixed), 0);
	CU_ASSERT_EQUAL(bh_dma_space_listen(space, &d.listener), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, live_reader, &d), 0);
	for (int i = 0; i < 200; i++) {
		struct bh_pool *pool = pool_of(65536, NULL);

		__atomic_store_n(&d.moving, bh_pool_alloc(pool, 64, 0), __ATOMIC_RELEASE);
		CU_ASSERT_EQUAL(bh_dma_space_add(space, pool), 0);
		CU_ASSERT_EQUAL(bh_dma_space_remove(space, pool), 0);
		bh_pool_destroy(pool);
	}
	__atomic_store_n(&d.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL(d.wrong, 0);
	bh_dma_space_unlisten(space, &d.listener);
	CU_ASSERT_EQUAL(d.wrong, 0);
	bh_iova_map_fini(&d.map);
	bh_dma_space_destroy(space);
	bh_pool_destroy(fixed);
}

static struct bh_dma_shared kept;
static int made;

static int make_kept(struct bh_dma_shared **out)
{
	made++;
	*out = &kept;
	return 0;
}

static int make_nothing(struct bh_dma_shared **out)
{
	(void)out;
	return -EMFILE;
}

static void what_is_shared_is_made_once_and_goes_with_its_last_user(void)
{
	struct bh_dma_space *space = space_new(NULL);
	struct bh_dma_shared *a = NULL, *b = NULL, *c = NULL;
	static const char key = 0, other = 0;

	made = 0;
	CU_ASSERT_EQUAL(bh_dma_space_share(space, &key, make_nothing, &a), -EMFILE);
	CU_ASSERT_PTR_NULL(a);
	CU_ASSERT_EQUAL(bh_dma_space_share(space, &key, make_kept, &a), 0);
	CU_ASSERT_EQUAL(bh_dma_space_share(space, &key, make_kept, &b), 0);
	CU_ASSERT_PTR_EQUAL(a, b);
	CU_ASSERT_EQUAL(made, 1);
	CU_ASSERT_EQUAL(bh_dma_space_share(space, &other, make_nothing, &c), -EMFILE);
	CU_ASSERT_FALSE(bh_dma_space_unshare(space, a));
	CU_ASSERT_TRUE(bh_dma_space_unshare(space, b));
	CU_ASSERT_EQUAL(bh_dma_space_share(space, &key, make_kept, &a), 0);
	CU_ASSERT_EQUAL(made, 2);
	CU_ASSERT_TRUE(bh_dma_space_unshare(space, a));
	bh_dma_space_destroy(space);
}

BH_SUITE("space", { "pools_come_and_go_in_every_device", pools_come_and_go_in_every_device },
	 { "a_refused_add_is_rolled_back", a_refused_add_is_rolled_back },
	 { "a_refused_listen_is_rolled_back", a_refused_listen_is_rolled_back },
	 { "overlap_is_eexist", overlap_is_eexist },
	 { "find_wants_all_of_it_in_one_pool", find_wants_all_of_it_in_one_pool },
	 { "alloc_takes_the_first_pool_with_room", alloc_takes_the_first_pool_with_room },
	 { "destroying_what_is_in_use_is_an_error_in_the_log",
	   destroying_what_is_in_use_is_an_error_in_the_log },
	 { "what_is_shared_is_made_once_and_goes_with_its_last_user",
	   what_is_shared_is_made_once_and_goes_with_its_last_user },
	 { "a_reader_beside_pools_that_come_and_go", a_reader_beside_pools_that_come_and_go }, )

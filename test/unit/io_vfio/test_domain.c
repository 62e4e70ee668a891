/* SPDX-License-Identifier: BSD-3-Clause */
/* What devices of one DMA space share, over an IOMMU that is a list of ranges. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "io_vfio/dev.h"
#include "unit.h"

#define LEN (64u << 10)
#define ROUNDS 300

static struct {
	struct bh_range_map maps; /* of all domains, each in its own part: see in_space() */
	atomic_uint spaces;	  /* given so far */
	unsigned int refused;	  /* maps where something is */
	bool keeps;		  /* what was mapped */
	pthread_mutex_t lock;
} iommu = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct bh_dma_space *space;
static struct bh_pool *pool;
static void *memory;

/* ---- a way to open devices that needs none ---- */

/* A domain's addresses, as it is told from others: a pool may be at one address in two of them. */
static uint64_t in_space(const struct io_vfio_domain *d, uint64_t iova)
{
	CU_ASSERT_EQUAL(iova >> 48, 0);
	return (uint64_t)d->ioas_id << 48 | iova;
}

static int fake_open(struct io_vfio *v)
{
	struct io_vfio_domain *d = io_vfio_domain_of_group(v);

	for (struct io_vfio_domain *o = v->share->domains; o && !d; o = o->next)
		if (io_vfio_domain_fits(v, o))
			d = o;
	if (!d)
		return io_vfio_domain_new(v, -1, atomic_fetch_add(&iommu.spaces, 1));
	io_vfio_domain_join(v, d);
	return 0;
}

static int fake_windows(struct io_vfio *v)
{
	(void)v;
	return 0;
}

static int fake_map(struct io_vfio *v, const struct bh_mem *mem, uint64_t iova)
{
	int rc;

	pthread_mutex_lock(&iommu.lock);
	rc = bh_range_map_insert(&iommu.maps, in_space(v->domain, iova), mem->len, mem->va);
	iommu.refused += rc != 0;
	pthread_mutex_unlock(&iommu.lock);
	return rc;
}

static int fake_unmap(struct io_vfio_domain *d, uint64_t iova, uint64_t len)
{
	int rc;

	pthread_mutex_lock(&iommu.lock);
	rc = iommu.keeps ? -EIO : bh_range_map_remove(&iommu.maps, in_space(d, iova), len, NULL);
	pthread_mutex_unlock(&iommu.lock);
	return rc;
}

static int fake_explain(struct io_vfio *v, const struct bh_mem *mem, int rc)
{
	(void)v;
	(void)mem;
	return rc;
}

static const struct io_vfio_path path = {
	"fake", fake_open, fake_windows, fake_map, fake_unmap, fake_explain,
};

/* ---- devices ---- */

static void no_close(struct bh_device *dev)
{
	(void)dev;
}

static int no_irq(struct bh_device *dev, unsigned int irq, struct bh_irq_info *info)
{
	(void)dev;
	(void)irq;
	(void)info;
	return -EINVAL;
}

/* Configuration space with BAR 0, of 64 bits, where sysfs has it. */
static int config_read(struct bh_device *dev, unsigned int region, uint64_t offset, void *buf,
		       size_t count)
{
	const struct bh_pci_resource *res = &to_io_vfio(dev)->pci.res[0];
	uint32_t config[64] = { 0 };

	(void)region;
	config[4] = (uint32_t)res->start | 4;
	config[5] = (uint32_t)(res->start >> 32);
	memcpy(buf, (uint8_t *)config + offset, count);
	return 0;
}

static const struct bh_io_ops ops = {
	.name = "fake",
	.close = no_close,
	.region_info = io_vfio_region_info,
	.region_read = config_read,
	.region_write = io_vfio_region_write,
	.irq_info = no_irq,
};

static struct io_vfio *device_new(unsigned int number, const void *bar)
{
	struct io_vfio *v = calloc(1, sizeof(*v));
	struct bh_device_opts opts;

	CU_ASSERT_PTR_NOT_NULL_FATAL(v);
	bh_device_opts_init(&opts);
	opts.space = space;
	CU_ASSERT_EQUAL_FATAL(bh__device_init(&v->dev, &ops, "0000:00:00.0", &opts), 0);
	CU_ASSERT_EQUAL_FATAL(io_vfio_watch_init(v), 0);
	v->fd = -1;
	v->path = &path;
	v->pci.addr.device = (uint8_t)number;
	v->pci.iommu_group = (int)number;
	v->pci.res[0] = (struct bh_pci_resource){ (uintptr_t)bar, LEN, BH_PCI_RES_MEM };
	v->num_regions = 8;
	v->region = calloc(v->num_regions, sizeof(*v->region));
	CU_ASSERT_PTR_NOT_NULL_FATAL(v->region);
	v->region[0].len = LEN;
	v->region[7].len = 256;
	v->region[7].flags = BH_REGION_READ;
	v->listener.map = io_vfio_dma_map;
	v->listener.unmap = io_vfio_dma_unmap;
	return v;
}

static int finish_opening(struct io_vfio *v)
{
	int rc = io_vfio_domain_keep_off_bars(v);

	if (rc == 0)
		rc = bh_dma_space_listen(space, &v->listener);
	v->listening = rc == 0;
	return rc;
}

static struct io_vfio *device_open(unsigned int number, const void *bar)
{
	struct io_vfio *v = device_new(number, bar);

	CU_ASSERT_EQUAL_FATAL(io_vfio_share_join(v), 0);
	CU_ASSERT_EQUAL(finish_opening(v), 0);
	return v;
}

static void device_close(struct io_vfio *v)
{
	if (v->listening)
		bh_dma_space_unlisten(space, &v->listener);
	io_vfio_share_leave(v);
	io_vfio_watch_fini(v);
	io_vfio_regions_forget(v);
	bh__device_fini(&v->dev);
	free(v);
}

/* Where the device finds it; 0: nowhere. */
static uint64_t iova_of(struct io_vfio *v, const void *va)
{
	struct bh_iova_cache cache = { 0 };
	uint64_t iova = 0;

	(void)bh_iova_translate(&v->dev.iova, &cache, va, LEN, &iova);
	return iova;
}

static int setup(void)
{
	iommu.refused = 0;
	iommu.spaces = 1;
	iommu.keeps = false;
	bh_range_map_init(&iommu.maps);
	memory = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory == MAP_FAILED || bh_dma_space_create(NULL, &space) != 0 ||
	       bh_pool_import(memory, LEN, -1, 0, NULL, &pool) != 0;
}

static int teardown(void)
{
	bh_dma_space_destroy(space);
	bh_pool_destroy(pool);
	bh_range_map_fini(&iommu.maps);
	return munmap(memory, LEN);
}

/* ---- cases ---- */

static void a_pool_is_mapped_once_for_all(void)
{
	struct io_vfio *a = device_open(1, NULL), *b = device_open(2, NULL);

	CU_ASSERT_PTR_EQUAL(a->domain, b->domain);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, pool), 0);
	CU_ASSERT_EQUAL(iommu.maps.count, 1);
	CU_ASSERT_EQUAL(iova_of(a, memory), (uintptr_t)memory);
	CU_ASSERT_EQUAL(iova_of(b, memory), (uintptr_t)memory);
	device_close(a);
	CU_ASSERT_EQUAL(iommu.maps.count, 1);
	device_close(b);
	CU_ASSERT_EQUAL(iommu.maps.count, 0);
}

/* Between its joining a domain and the end of its opening. */
static void a_pool_added_meanwhile_stays_off_a_new_devices_bars(void)
{
	struct io_vfio *a = device_open(1, NULL), *b = device_new(2, memory);

	CU_ASSERT_EQUAL_FATAL(io_vfio_share_join(b), 0);
	CU_ASSERT_PTR_EQUAL(a->domain, b->domain);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, pool), 0);
	CU_ASSERT_EQUAL(finish_opening(b), 0);
	CU_ASSERT_NOT_EQUAL(iova_of(a, memory), (uintptr_t)memory);
	CU_ASSERT_NOT_EQUAL(iova_of(a, memory), 0);
	CU_ASSERT_EQUAL(iova_of(b, memory), iova_of(a, memory));
	device_close(b);
	/* Its BAR has gone with it. */
	CU_ASSERT_EQUAL(bh_dma_space_remove(space, pool), 0);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, pool), 0);
	CU_ASSERT_EQUAL(iova_of(a, memory), (uintptr_t)memory);
	device_close(a);
}

static void a_device_with_its_bar_at_a_pool_has_its_own_domain(void)
{
	struct io_vfio *a, *b;

	CU_ASSERT_EQUAL(bh_dma_space_add(space, pool), 0);
	a = device_open(1, NULL);
	b = device_open(2, memory);
	CU_ASSERT_PTR_NOT_EQUAL(a->domain, b->domain);
	CU_ASSERT_NOT_EQUAL(iova_of(b, memory), (uintptr_t)memory);
	device_close(a);
	device_close(b);
}

static void two_domains_have_a_pool_at_one_address(void)
{
	struct io_vfio *a = device_open(1, NULL), *b, *c;

	CU_ASSERT_EQUAL(bh_dma_space_add(space, pool), 0);
	b = device_open(2, memory);
	CU_ASSERT_EQUAL(bh_dma_space_remove(space, pool), 0);
	c = device_open(3, NULL);
	CU_ASSERT_PTR_EQUAL(b->domain, c->domain);
	device_close(b);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, pool), 0);
	CU_ASSERT_PTR_NOT_EQUAL(a->domain, c->domain);
	CU_ASSERT_EQUAL(iova_of(a, memory), (uintptr_t)memory);
	CU_ASSERT_EQUAL(iova_of(c, memory), (uintptr_t)memory);
	CU_ASSERT_EQUAL(iommu.maps.count, 2);
	device_close(a);
	device_close(c);
}

/* It would reach what it was never given. */
static void memory_not_given_back_keeps_new_devices_out(void)
{
	struct io_vfio *a = device_open(1, NULL), *b, *c = device_new(1, NULL);
	uint64_t kept;

	CU_ASSERT_EQUAL(bh_dma_space_add(space, pool), 0);
	kept = iova_of(a, memory);
	iommu.keeps = true;
	CU_ASSERT_EQUAL(bh_dma_space_remove(space, pool), 0);
	iommu.keeps = false;
	CU_ASSERT_TRUE(bh_device_gone(&a->dev));
	b = device_open(2, NULL);
	CU_ASSERT_PTR_NOT_EQUAL(a->domain, b->domain);
	/* Its neighbour in the group cannot be elsewhere. */
	c->pci.addr.function = 1;
	CU_ASSERT_EQUAL(io_vfio_share_join(c), -EBUSY);
	device_close(c);
	device_close(b);
	/* Nothing is mapped over it. */
	CU_ASSERT_EQUAL(bh_dma_space_add(space, pool), 0);
	CU_ASSERT_EQUAL(iommu.refused, 0);
	CU_ASSERT_NOT_EQUAL(iova_of(a, memory), 0);
	CU_ASSERT_NOT_EQUAL(iova_of(a, memory), kept);
	device_close(a);
}

static void windows_are_counted_without_room_for_them(void)
{
	struct io_vfio *v = device_open(1, NULL);
	struct bh_iova_window *w = calloc(2, sizeof(*w)), one = { 0, 0 };

	CU_ASSERT_PTR_NOT_NULL_FATAL(w);
	w[0] = (struct bh_iova_window){ 4096, 8191 };
	w[1] = (struct bh_iova_window){ 16384, UINT64_MAX };
	v->domain->windows.window = w;
	v->domain->windows.count = 2;
	CU_ASSERT_EQUAL(io_vfio_iova_windows(&v->dev, NULL, 0), 2);
	CU_ASSERT_EQUAL(io_vfio_iova_windows(&v->dev, &one, 1), 2);
	CU_ASSERT_EQUAL(one.last, 8191);
	device_close(v);
}

static void *open_and_close(void *arg)
{
	unsigned int number = *(const unsigned int *)arg;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct io_vfio *v = device_open(number, number == 2 ? memory : NULL);

		CU_ASSERT_FALSE(bh_device_gone(&v->dev));
		device_close(v);
	}
	return NULL;
}

static void *add_and_remove(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		CU_ASSERT_EQUAL(bh_dma_space_add(space, pool), 0);
		CU_ASSERT_EQUAL(bh_dma_space_remove(space, pool), 0);
	}
	return NULL;
}

static void devices_and_pools_come_and_go_at_once(void)
{
	struct io_vfio *stays = device_open(4, NULL);
	unsigned int number[] = { 1, 2 };
	pthread_t thread[3];

	for (unsigned int i = 0; i < 2; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[i], NULL, open_and_close, &number[i]),
				      0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[2], NULL, add_and_remove, NULL), 0);
	for (unsigned int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(pthread_join(thread[i], NULL), 0);
	CU_ASSERT_EQUAL(stays->dev.iova.table->count, 0);
	device_close(stays);
	CU_ASSERT_EQUAL(iommu.maps.count, 0);
}

BH_SUITE_FIXTURE(
	"io_vfio domain", setup, teardown,
	{ "a_pool_is_mapped_once_for_all", a_pool_is_mapped_once_for_all },
	{ "a_pool_added_meanwhile_stays_off_a_new_devices_bars",
	  a_pool_added_meanwhile_stays_off_a_new_devices_bars },
	{ "a_device_with_its_bar_at_a_pool_has_its_own_domain",
	  a_device_with_its_bar_at_a_pool_has_its_own_domain },
	{ "two_domains_have_a_pool_at_one_address", two_domains_have_a_pool_at_one_address },
	{ "memory_not_given_back_keeps_new_devices_out",
	  memory_not_given_back_keeps_new_devices_out },
	{ "windows_are_counted_without_room_for_them", windows_are_counted_without_room_for_them },
	{ "devices_and_pools_come_and_go_at_once", devices_and_pools_come_and_go_at_once }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel VFIO backend in a guest, on QEMU's nvme: everything a device offers but its DMA, which
 * vm-nvme tests.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmtest.h"

#define INTX 0u
#define MSIX 2u
#define MSI_WINDOW_FIRST 0xfee00000ull
#define MSI_WINDOW_LAST 0xfeefffffull

static bool has_cap(const struct vm *vm, uint64_t cap)
{
	return bh_device_caps(vm->dev) & cap;
}

static bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

/* ---- what it is ---- */

static void identity(struct vm *vm)
{
	const struct bh_device_info *info = bh_device_info(vm->dev);

	VM_CHECK(info->vendor == 0x1b36 && info->device == 0x0010);
	VM_CHECK(info->class_code == 0x010802);
	VM_CHECK(strcmp(info->backend, "vfio") == 0);
	VM_CHECK(info->num_regions >= 9 && info->num_irqs >= 5);
	VM_CHECK(has_cap(vm, BH_CAP_REGION_MMAP) && has_cap(vm, BH_CAP_IRQ_EVENTFD));
	VM_CHECK(has_cap(vm, BH_CAP_RESET) && has_cap(vm, BH_CAP_REMOVE_EVENT));
	VM_CHECK(has_cap(vm, BH_CAP_DMA_MAP_VA));
	/* What only vfio-user has. */
	VM_CHECK(!has_cap(vm, BH_CAP_DMA_MESSAGE | BH_CAP_DMA_FILE_IO | BH_CAP_POSTED_WRITE));
	VM_CHECK(bh_device_check(vm->dev));
}

/* What VFIO's features say of this device: its BARs can be exported, its state cannot. */
static void features_are_found_out(struct vm *vm)
{
	VM_CHECK(has_cap(vm, BH_CAP_DMABUF_EXPORT));
	VM_CHECK(!has_cap(vm, BH_CAP_MIGRATION));
	VM_CHECK(has_cap(vm, BH_CAP_DMA_PEER) == has_cap(vm, BH_CAP_DMA_MAP_FD));
}

/* What was lost is a new device when it comes back. */
static void reopen_is_not_offered(struct vm *vm)
{
	VM_CHECK(!has_cap(vm, BH_CAP_REOPEN));
	VM_CHECK(bh_device_reopen(vm->dev) == -EOPNOTSUPP);
}

static void path_is_group(struct vm *vm)
{
	VM_CHECK(strstr(vm->said, "open by group and container"));
	VM_CHECK(!has_cap(vm, BH_CAP_DMA_MAP_FD));
}

static void path_is_cdev(struct vm *vm)
{
	VM_CHECK(strstr(vm->said, "open by cdev and iommufd"));
	VM_CHECK(has_cap(vm, BH_CAP_DMA_MAP_FD));
}

static void group_can_be_forced(struct vm *vm)
{
	vm->opts.vfio = BH_VFIO_GROUP;
	VM_CHECK(vm_open(vm) == 0);
	path_is_group(vm);
}

static void cdev_is_not_offered(struct vm *vm)
{
	vm->opts.vfio = BH_VFIO_CDEV;
	VM_CHECK(vm_open(vm) == -EOPNOTSUPP);
	VM_CHECK(strstr(vm->said, "no VFIO cdevs"));
}

static void refused_dma_access(struct vm *vm)
{
	vm->opts.dma_access = BH_DMA_ACCESS_MESSAGE;
	VM_CHECK(vm_open(vm) == -EOPNOTSUPP);
}

static void busy_says_who(struct vm *vm)
{
	struct bh_device *second = NULL;
	char pid[32];

	vm->said[0] = '\0';
	VM_CHECK(bh_open(vm->address, &vm->opts, &second) == -EBUSY);
	VM_CHECK(!second);
	snprintf(pid, sizeof(pid), "process %d", (int)getpid());
	VM_CHECK(strstr(vm->said, pid) && strstr(vm->said, "vm-vfio"));
}

static void reopens_after_close(struct vm *vm)
{
	for (int i = 0; i < 3; i++) {
		bh_device_close(vm->dev);
		vm->dev = NULL;
		VM_CHECK(vm_open(vm) == 0);
	}
}

/* ---- regions ---- */

static void config_and_bus_master(struct vm *vm)
{
	uint16_t command = 0;

	VM_CHECK(bh_device_bus_master(vm->dev, true) == 0);
	VM_CHECK(bh_device_config_read(vm->dev, 4, &command, 2) == 0 && (command & 6) == 6);
	VM_CHECK(bh_device_bus_master(vm->dev, false) == 0);
	VM_CHECK(bh_device_config_read(vm->dev, 4, &command, 2) == 0 && (command & 6) == 2);
	VM_CHECK(bh_device_config_read(vm->dev, 4096, &command, 2) == -EINVAL);
}

static void registers_by_map_and_by_read(struct vm *vm)
{
	struct bh_region_info info;
	struct bh_map map;
	uint32_t by_read = 0, by_map;
	uint64_t cap = 0;

	VM_CHECK(bh_device_bus_master(vm->dev, true) == 0);
	VM_CHECK(bh_device_region_info(vm->dev, 0, &info) == 0);
	VM_CHECK(info.len >= 0x2000 && (info.flags & BH_REGION_MMAP) && info.num_areas >= 1);
	VM_CHECK(bh_device_region_read(vm->dev, 0, 8, &by_read, 4) == 0);
	VM_CHECK(bh_device_region_read(vm->dev, 0, 0, &cap, 8) == 0 && cap != 0 && ~cap != 0);
	VM_CHECK(bh_device_map_bar(vm->dev, 0, 0, 0x1000, BH_ATTR_UC, 0, &map) == 0);
	by_map = *(volatile uint32_t *)(map.va + 8);
	bh_device_unmap_bar(vm->dev, &map);
	VM_CHECK(by_map == by_read && by_map == 0x00010400);
}

static void uncached_is_known(struct vm *vm)
{
	struct bh_map map;

	VM_CHECK(bh_device_map_bar(vm->dev, 0, 0, 0x1000, BH_ATTR_UC, BH_MAP_STRICT, &map) == 0);
	VM_CHECK(map.requested == BH_ATTR_UC && map.attr == BH_ATTR_UC && map.why);
	bh_device_unmap_bar(vm->dev, &map);
}

/* Stock kernels on x86 cannot, and that is what is said. */
static void write_combining_is_not_claimed(struct vm *vm)
{
	struct bh_map map;

	VM_CHECK(!has_cap(vm, BH_CAP_DMABUF_MEMATTR));
	VM_CHECK(bh_device_map_bar(vm->dev, 0, 0, 0x1000, BH_ATTR_WC, 0, &map) == 0);
	VM_CHECK(map.attr == BH_ATTR_UC && map.requested == BH_ATTR_UC);
	VM_CHECK(strstr(map.why, "uncached"));
	bh_device_unmap_bar(vm->dev, &map);
	VM_CHECK(bh_device_map_bar(vm->dev, 0, 0, 0x1000, BH_ATTR_WC, BH_MAP_STRICT, &map) ==
		 -EOPNOTSUPP);
}

/* The controller memory buffer is a prefetchable BAR, which sysfs offers as write-combining. */
static bool map_cmb(struct vm *vm, struct bh_map *map)
{
	if (bh_device_map_bar(vm->dev, 2, 0, 0x10000, BH_ATTR_WC, 0, map) != 0)
		return vm_fail("the CMB cannot be mapped");
	memset(map->va, 0x5a, 64);
	printf("cmb: requested %d, in force %d: %s\n", map->requested, map->attr, map->why);
	return map->va[63] == 0x5a || vm_fail("the CMB does not keep what is written");
}

static void cmb_stays_uncached(struct vm *vm)
{
	struct bh_map map;

	VM_CHECK(bh_device_bus_master(vm->dev, true) == 0);
	if (!map_cmb(vm, &map))
		return;
	VM_CHECK(map.requested == BH_ATTR_UC && map.attr == BH_ATTR_UC);
	VM_CHECK(strstr(map.why, "vfio-pci has claimed the BAR"));
	bh_device_unmap_bar(vm->dev, &map);
}

/* With iomem=relaxed the kernel grants it, and keeps the type that is registered. */
static void cmb_is_granted_without_effect(struct vm *vm)
{
	struct bh_map map;

	VM_CHECK(bh_device_bus_master(vm->dev, true) == 0);
	if (!map_cmb(vm, &map))
		return;
	VM_CHECK(map.requested == BH_ATTR_WC && map.attr == BH_ATTR_UC);
	VM_CHECK(strstr(map.why, "list of memory types says uncached"));
	bh_device_unmap_bar(vm->dev, &map);
	VM_CHECK(bh_device_map_bar(vm->dev, 2, 0, 0x1000, BH_ATTR_WC, BH_MAP_STRICT, &map) ==
		 -EOPNOTSUPP);
}

static void memattr_is_not_found(struct vm *vm)
{
	vm->opts.memattr_feature = BH_MEMATTR_AUTO;
	VM_CHECK(vm_open(vm) == 0);
	VM_CHECK(!has_cap(vm, BH_CAP_DMABUF_MEMATTR));
	VM_CHECK(strstr(vm->said, "no memory attributes"));
}

static void a_page_has_one_attribute(struct vm *vm)
{
	struct bh_map map, other;

	VM_CHECK(bh_device_map_bar(vm->dev, 0, 0x1000, 8, BH_ATTR_UC, 0, &map) == 0);
	VM_CHECK(bh_device_map_bar(vm->dev, 0, 0x1800, 8, BH_ATTR_WC, 0, &other) == -EBUSY);
	VM_CHECK(bh_device_map_bar(vm->dev, 0, 0x1800, 8, BH_ATTR_UC, 0, &other) == 0);
	bh_device_unmap_bar(vm->dev, &other);
	bh_device_unmap_bar(vm->dev, &map);
	VM_CHECK(bh_device_map_bar(vm->dev, 0, 0x1800, 8, BH_ATTR_WC, 0, &other) == 0);
	bh_device_unmap_bar(vm->dev, &other);
}

static void dmabuf_export(struct vm *vm)
{
	int fd;

	if (!has_cap(vm, BH_CAP_DMABUF_EXPORT)) {
		vm_fail("this kernel exports no dma-bufs");
		return;
	}
	VM_CHECK(bh_device_dmabuf_export(vm->dev, 0, 0, 0x1000, &fd) == 0 && fd >= 0);
	close(fd);
	VM_CHECK(bh_device_dmabuf_export(vm->dev, 0, 0x10, 0x1000, &fd) == -EINVAL);
	VM_CHECK(bh_device_dmabuf_export(vm->dev, 0, 0, 1ull << 40, &fd) == -EINVAL);
}

/* ---- interrupts ---- */

static void msix_vectors(struct vm *vm)
{
	struct bh_irq_info info;
	const int none = -1;
	int a = eventfd(0, EFD_NONBLOCK), b = eventfd(0, EFD_NONBLOCK);

	VM_CHECK(bh_device_irq_info(vm->dev, MSIX, &info) == 0 && info.count >= 8);
	VM_CHECK(bh_device_irq_bind(vm->dev, MSIX, 1, 1, &a) == 0);
	/* A higher one later: where the kernel cannot add vectors, all are made anew. */
	VM_CHECK(bh_device_irq_bind(vm->dev, MSIX, 5, 1, &b) == 0);
	VM_CHECK(bh_device_irq_trigger(vm->dev, MSIX, 1) == 0 && readable(a, 1000));
	VM_CHECK(!readable(b, 0));
	VM_CHECK(bh_device_irq_trigger(vm->dev, MSIX, 5) == 0 && readable(b, 1000));
	VM_CHECK(bh_device_irq_bind(vm->dev, MSIX, 1, 1, &none) == 0);
	VM_CHECK(bh_device_irq_disable(vm->dev, MSIX) == 0);
	VM_CHECK(bh_device_irq_bind(vm->dev, MSIX, info.count, 1, &a) == -EINVAL);
	close(a);
	close(b);
}

static void intx_masks(struct vm *vm)
{
	struct bh_irq_info info;
	int fd = eventfd(0, EFD_NONBLOCK);

	VM_CHECK(bh_device_irq_info(vm->dev, INTX, &info) == 0);
	VM_CHECK((info.flags & BH_IRQ_MASKABLE) && (info.flags & BH_IRQ_AUTOMASKED));
	VM_CHECK(bh_device_irq_bind(vm->dev, INTX, 0, 1, &fd) == 0);
	VM_CHECK(bh_device_irq_mask(vm->dev, INTX, 0, true) == 0);
	VM_CHECK(bh_device_irq_unmask(vm->dev, INTX, 0, true) == 0);
	VM_CHECK(bh_device_irq_trigger(vm->dev, INTX, 0) == 0 && readable(fd, 1000));
	VM_CHECK(bh_device_irq_disable(vm->dev, INTX) == 0);
	/* MSI-X cannot be masked by request, whatever the type INTx can do. */
	VM_CHECK(bh_device_irq_mask(vm->dev, MSIX, 0, true) == -EOPNOTSUPP);
	close(fd);
}

/* ---- resets ---- */

static void function_reset(struct vm *vm)
{
	VM_CHECK(bh_device_reset(vm->dev) == 0);
	VM_CHECK(bh_device_check(vm->dev));
}

static void bus_reset(struct vm *vm)
{
	VM_CHECK(has_cap(vm, BH_CAP_HOT_RESET));
	VM_CHECK(bh_device_hot_reset(vm->dev) == 0);
	VM_CHECK(bh_device_check(vm->dev));
}

static void bus_reset_is_not_offered(struct vm *vm)
{
	VM_CHECK(!has_cap(vm, BH_CAP_HOT_RESET));
	VM_CHECK(bh_device_hot_reset(vm->dev) == -EOPNOTSUPP);
}

/* ---- what it announces ---- */

struct heard {
	struct bh_event_listener listener; /* first */
	bool error;			   /* __atomic */
};

static void on_event(struct bh_event_listener *listener, enum bh_device_event event)
{
	if (event == BH_DEVICE_ERROR)
		__atomic_store_n(&((struct heard *)listener)->error, true, __ATOMIC_RELEASE);
}

/* The script has the harness inject an uncorrectable error once we say that we listen. */
static void bus_error_is_announced(struct vm *vm)
{
	struct heard heard = { .listener = { .event = on_event } };

	bh_device_event_listen(vm->dev, &heard.listener);
	puts("BUSY");
	fflush(stdout);
	for (int i = 0; i < 200 && !__atomic_load_n(&heard.error, __ATOMIC_ACQUIRE); i++)
		usleep(100000);
	bh_device_event_unlisten(vm->dev, &heard.listener);
	VM_CHECK(heard.error);
	VM_CHECK(strstr(vm->said, "uncorrectable error"));
	VM_CHECK(!bh_device_gone(vm->dev));
}

/* ---- DMA addresses ---- */

static uint64_t iova_of(const struct vm *vm, const void *va)
{
	struct bh_iova_cache cache = { 0 };
	uint64_t iova;

	if (!bh_iova_translate(bh_device_iova_map(vm->dev), &cache, va, 4096, &iova))
		return UINT64_MAX;
	return iova;
}

static uint64_t highest_window(const struct vm *vm)
{
	struct bh_iova_window w[16];
	int n = bh_device_iova_windows(vm->dev, w, 16);

	return n > 0 && n <= 16 ? w[n - 1].last : 0;
}

static void windows_leave_out_msi(struct vm *vm)
{
	struct bh_iova_window w[16];
	int n = bh_device_iova_windows(vm->dev, w, 16);

	VM_CHECK(n >= 2 && n <= 16);
	for (int i = 0; i < n; i++)
		VM_CHECK(w[i].last < MSI_WINDOW_FIRST || w[i].first > MSI_WINDOW_LAST);
}

static void iova_is_va(struct vm *vm)
{
	const void *va = bh_pool_mem(vm->pool)->va;

	VM_CHECK(iova_of(vm, va) == (uintptr_t)va);
}

static void iova_fits_a_narrow_iommu(struct vm *vm)
{
	const void *va = bh_pool_mem(vm->pool)->va;
	uint64_t iova = iova_of(vm, va);

	VM_CHECK(highest_window(vm) == (1ull << 39) - 1);
	VM_CHECK((uintptr_t)va >= 1ull << 39);
	VM_CHECK(iova != 0 && iova <= highest_window(vm) - bh_pool_mem(vm->pool)->len + 1);
}

/* A pool of the caller's, at an address of his choice. */
static struct bh_pool *import_at(uint64_t va, size_t len)
{
	struct bh_pool *pool = NULL;
	int fd = memfd_create("at", MFD_CLOEXEC);
	void *where;

	if (fd < 0 || ftruncate(fd, (off_t)len) != 0)
		return NULL;
	where = mmap((void *)(uintptr_t)va, len, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (where == MAP_FAILED || bh_pool_import(where, len, fd, 0, "at", &pool) != 0)
		pool = NULL;
	close(fd);
	return pool;
}

static void pool_over_the_msi_window(struct vm *vm)
{
	struct bh_pool *pool = import_at(MSI_WINDOW_FIRST - 0x100000, 4u << 20);
	const void *va;
	uint64_t iova;

	VM_CHECK(pool);
	va = bh_pool_mem(pool)->va;
	VM_CHECK(bh_dma_space_add(vm->space, pool) == 0);
	iova = iova_of(vm, va);
	VM_CHECK(iova != UINT64_MAX && iova != (uintptr_t)va);
	VM_CHECK(iova > MSI_WINDOW_LAST || iova + (4u << 20) <= MSI_WINDOW_FIRST);
	VM_CHECK(bh_dma_space_remove(vm->space, pool) == 0);
	VM_CHECK(iova_of(vm, va) == UINT64_MAX);
	munmap((void *)(uintptr_t)va, 4u << 20);
	bh_pool_destroy(pool);
}

static void pools_come_and_go(struct vm *vm)
{
	struct bh_pool *pool[8];
	struct bh_pool_opts opts;

	bh_pool_opts_init(&opts);
	opts.bytes = 1u << 20;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 8; i++) {
			VM_CHECK(bh_pool_create(&opts, &pool[i]) == 0);
			VM_CHECK(bh_dma_space_add(vm->space, pool[i]) == 0);
			VM_CHECK(iova_of(vm, bh_pool_mem(pool[i])->va) != UINT64_MAX);
		}
		for (int i = 0; i < 8; i++) {
			VM_CHECK(bh_dma_space_remove(vm->space, pool[i]) == 0);
			VM_CHECK(iova_of(vm, bh_pool_mem(pool[i])->va) == UINT64_MAX);
			bh_pool_destroy(pool[i]);
		}
	}
}

/* The kernel counts mappings: the script has set the limit to 4, and one is taken. */
static void entry_limit_is_explained(struct vm *vm)
{
	struct bh_pool *pool[8] = { NULL };
	struct bh_pool_opts opts;
	int rc = 0, n = 0;

	bh_pool_opts_init(&opts);
	opts.bytes = 1u << 20;
	for (; n < 8 && rc == 0; n++) {
		VM_CHECK(bh_pool_create(&opts, &pool[n]) == 0);
		rc = bh_dma_space_add(vm->space, pool[n]);
	}
	VM_CHECK(rc == -ENOSPC && n == 4);
	VM_CHECK(strstr(vm->said, "dma_entry_limit"));
	for (int i = 0; i < n; i++) {
		(void)bh_dma_space_remove(vm->space, pool[i]);
		bh_pool_destroy(pool[i]);
	}
}

/* As an ordinary user with 64 KiB. */
static void memlock_is_explained(struct vm *vm)
{
	const struct rlimit little = { 65536, 65536 };

	VM_CHECK(setrlimit(RLIMIT_MEMLOCK, &little) == 0);
	VM_CHECK(vm_open(vm) == -ENOMEM);
	VM_CHECK(strstr(vm->said, "ulimit -l") && strstr(vm->said, "64"));
}

static const struct vm_case cases[] = {
	{ "identity", identity, false },
	{ "features_are_found_out", features_are_found_out, false },
	{ "reopen_is_not_offered", reopen_is_not_offered, false },
	{ "bus_error_is_announced", bus_error_is_announced, false },
	{ "path_is_group", path_is_group, false },
	{ "path_is_cdev", path_is_cdev, false },
	{ "group_can_be_forced", group_can_be_forced, true },
	{ "cdev_is_not_offered", cdev_is_not_offered, true },
	{ "refused_dma_access", refused_dma_access, true },
	{ "busy_says_who", busy_says_who, false },
	{ "reopens_after_close", reopens_after_close, false },
	{ "config_and_bus_master", config_and_bus_master, false },
	{ "registers_by_map_and_by_read", registers_by_map_and_by_read, false },
	{ "uncached_is_known", uncached_is_known, false },
	{ "write_combining_is_not_claimed", write_combining_is_not_claimed, false },
	{ "cmb_stays_uncached", cmb_stays_uncached, false },
	{ "cmb_is_granted_without_effect", cmb_is_granted_without_effect, false },
	{ "memattr_is_not_found", memattr_is_not_found, true },
	{ "a_page_has_one_attribute", a_page_has_one_attribute, false },
	{ "dmabuf_export", dmabuf_export, false },
	{ "msix_vectors", msix_vectors, false },
	{ "intx_masks", intx_masks, false },
	{ "function_reset", function_reset, false },
	{ "bus_reset", bus_reset, false },
	{ "bus_reset_is_not_offered", bus_reset_is_not_offered, false },
	{ "windows_leave_out_msi", windows_leave_out_msi, false },
	{ "iova_is_va", iova_is_va, false },
	{ "iova_fits_a_narrow_iommu", iova_fits_a_narrow_iommu, false },
	{ "pool_over_the_msi_window", pool_over_the_msi_window, false },
	{ "pools_come_and_go", pools_come_and_go, false },
	{ "entry_limit_is_explained", entry_limit_is_explained, false },
	{ "memlock_is_explained", memlock_is_explained, true },
};

int main(int argc, char **argv)
{
	return vm_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}

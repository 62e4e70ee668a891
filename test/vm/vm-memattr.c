/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory attributes of BARs in a guest, against the driver of test/kmod and against the stock one.
 * Which of the two a device has, and what the former is told to do, is the script's business.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bellhop/barrier.h>
#include <bellhop/fault.h>
#include <bellhop/nvme.h>
#include <bellhop/pci.h>

#include "io_vfio/dev.h"
#include "vmtest.h"

#define CMB 2u
#define LEN 0x10000ull
#define PAGE 0x1000ull
#define LIST "/sys/kernel/debug/x86/pat_memtype_list"
#define PARAMETERS "/sys/module/bh_memattr/parameters/"
/* The number that is tried where the script says nothing. */
#define EXPLICIT 100

static bool has_cap(const struct vm *vm, uint64_t cap)
{
	return bh_device_caps(vm->dev) & cap;
}

static bool open_with(struct vm *vm, int memattr)
{
	bh_device_close(vm->dev);
	vm->dev = NULL;
	vm->opts.memattr_feature = memattr;
	return vm_open(vm) == 0 && bh_device_bus_master(vm->dev, true) == 0;
}

/* The kernel's list itself, not through the library: what it says of exactly this range. */
static bool listed(const struct vm *vm, unsigned int bar, uint64_t offset, uint64_t len,
		   const char *type)
{
	struct bh_pci_device pci;
	struct bh_pci_addr addr;
	char want[128], line[256];
	bool found = false;
	FILE *file;

	if (bh_pci_addr_parse(vm->address, &addr) != 0 ||
	    bh_pci_device_read(NULL, &addr, &pci) != 0)
		return false;
	snprintf(want, sizeof(want), "PAT: [mem 0x%016" PRIx64 "-0x%016" PRIx64 "] %s\n",
		 pci.res[bar].start + offset, pci.res[bar].start + offset + len, type);
	file = fopen(LIST, "re");
	while (file && fgets(line, sizeof(line), file))
		found |= strcmp(line, want) == 0;
	if (file)
		fclose(file);
	return found;
}

static int map_wc(struct vm *vm, unsigned int bar, uint64_t offset, uint64_t len,
		  unsigned int flags, struct bh_map *map)
{
	int rc = bh_device_map_bar(vm->dev, bar, offset, len, BH_ATTR_WC, flags, map);

	if (rc == 0)
		printf("BAR %u: requested %d, in force %d: %s\n", bar, map->requested, map->attr,
		       map->why);
	return rc;
}

/* ---- with the feature ---- */

static void write_combining_is_obtained(struct vm *vm)
{
	struct bh_map map;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(has_cap(vm, BH_CAP_DMABUF_MEMATTR));
	VM_CHECK(map_wc(vm, CMB, 0, LEN, BH_MAP_STRICT, &map) == 0);
	VM_CHECK(map.requested == BH_ATTR_WC && map.attr == BH_ATTR_WC);
	VM_CHECK(strcmp(map.why, "dma-buf with the write-combining attribute") == 0);
	VM_CHECK(listed(vm, CMB, 0, LEN, "write-combining"));
	bh_device_unmap_bar(vm->dev, &map);
	VM_CHECK(!listed(vm, CMB, 0, LEN, "write-combining"));
}

/* Pages have types, not BARs: doorbells may combine writes next to registers that must not. */
static void registers_stay_uncached(struct vm *vm)
{
	struct bh_map reg, doorbells;
	uint32_t by_read = 0;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(map_wc(vm, 0, PAGE, 64, BH_MAP_STRICT, &doorbells) == 0);
	VM_CHECK(doorbells.attr == BH_ATTR_WC);
	VM_CHECK(listed(vm, 0, PAGE, PAGE, "write-combining"));
	VM_CHECK(bh_device_map_bar(vm->dev, 0, 0, PAGE, BH_ATTR_UC, BH_MAP_STRICT, &reg) == 0);
	VM_CHECK(reg.attr == BH_ATTR_UC);
	VM_CHECK(bh_device_region_read(vm->dev, 0, 8, &by_read, 4) == 0);
	VM_CHECK(*(volatile uint32_t *)(reg.va + 8) == by_read && by_read == 0x00010400);
	bh_device_unmap_bar(vm->dev, &reg);
	bh_device_unmap_bar(vm->dev, &doorbells);
}

/* The device's memory has the data when the flush returns, and an uncached mapping finds it. */
static void flushed_data_is_seen_uncached(struct vm *vm)
{
	uint64_t pattern[512], back[512];
	struct bh_map map;

	for (size_t i = 0; i < 512; i++)
		pattern[i] = 0x9e3779b97f4a7c15ull * (i + 1);
	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(map_wc(vm, CMB, 0, LEN, BH_MAP_STRICT, &map) == 0);
	memset(map.va, 0, sizeof(pattern));
	memcpy(map.va, pattern, sizeof(pattern));
	bh_wc_flush();
	/* Through the kernel's own mapping, while ours is there. */
	VM_CHECK(bh_device_region_read(vm->dev, CMB, 0, back, sizeof(back)) == 0);
	VM_CHECK(memcmp(back, pattern, sizeof(back)) == 0);
	bh_device_unmap_bar(vm->dev, &map);
	VM_CHECK(bh_device_map_bar(vm->dev, CMB, 0, LEN, BH_ATTR_UC, BH_MAP_STRICT, &map) == 0);
	VM_CHECK(map.attr == BH_ATTR_UC);
	for (size_t i = 0; i < 512; i++)
		VM_CHECK(((volatile uint64_t *)map.va)[i] == pattern[i]);
	bh_device_unmap_bar(vm->dev, &map);
}

static void one_attribute_for_a_page(struct vm *vm)
{
	struct bh_map map, other;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(map_wc(vm, CMB, 0, LEN, 0, &map) == 0);
	VM_CHECK(bh_device_map_bar(vm->dev, CMB, 0x8000, 64, BH_ATTR_UC, 0, &other) == -EBUSY);
	/* The same once more, and pages beside it otherwise. */
	VM_CHECK(map_wc(vm, CMB, 0x8000, 64, BH_MAP_STRICT, &other) == 0);
	bh_device_unmap_bar(vm->dev, &map);
	VM_CHECK(other.attr == BH_ATTR_WC && listed(vm, CMB, 0x8000, PAGE, "write-combining"));
	VM_CHECK(bh_device_map_bar(vm->dev, CMB, 0, PAGE, BH_ATTR_UC, BH_MAP_STRICT, &map) == 0);
	bh_device_unmap_bar(vm->dev, &map);
	bh_device_unmap_bar(vm->dev, &other);
}

static void mapping_outlives_a_reset(struct vm *vm)
{
	struct bh_map map;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(map_wc(vm, CMB, 0, LEN, BH_MAP_STRICT, &map) == 0);
	map.va[0] = 1;
	VM_CHECK(bh_device_reset(vm->dev) == 0);
	VM_CHECK(bh_device_bus_master(vm->dev, true) == 0);
	map.va[0] = 0x5a;
	bh_wc_flush();
	VM_CHECK(*(volatile uint8_t *)map.va == 0x5a);
	VM_CHECK(listed(vm, CMB, 0, LEN, "write-combining"));
	VM_CHECK(bh_device_check(vm->dev) && !bh_device_gone(vm->dev));
	bh_device_unmap_bar(vm->dev, &map);
}

/* Where no driver has claimed the BAR's memory type, sysfs gives what it says it gives. */
static void sysfs_gives_it_where_nobody_claims_it(struct vm *vm)
{
	struct bh_map map;

	VM_CHECK(open_with(vm, BH_MEMATTR_NEVER));
	VM_CHECK(map_wc(vm, CMB, 0, LEN, BH_MAP_STRICT, &map) == 0);
	VM_CHECK(map.requested == BH_ATTR_WC && map.attr == BH_ATTR_WC);
	VM_CHECK(strcmp(map.why, "sysfs resource_wc") == 0);
	VM_CHECK(listed(vm, CMB, 0, LEN, "write-combining"));
	bh_device_unmap_bar(vm->dev, &map);
}

/* ---- finding its number ---- */

static void finds(struct vm *vm, int option, unsigned int number)
{
	char text[64];

	VM_CHECK(open_with(vm, option));
	snprintf(text, sizeof(text), "VFIO feature %u gives BARs", number);
	VM_CHECK(strstr(vm->said, text));
	VM_CHECK(has_cap(vm, BH_CAP_DMABUF_MEMATTR));
}

static void finds_14(struct vm *vm)
{
	finds(vm, BH_MEMATTR_AUTO, 14);
}

static void finds_15(struct vm *vm)
{
	finds(vm, BH_MEMATTR_AUTO, 15);
}

static void takes_the_number_it_is_told(struct vm *vm)
{
	finds(vm, EXPLICIT, EXPLICIT);
	VM_CHECK(has_cap(vm, BH_CAP_DMABUF_REVOKE));
	/* Which is not among those that are tried. */
	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(!has_cap(vm, BH_CAP_DMABUF_MEMATTR | BH_CAP_DMABUF_REVOKE));
}

/* Whatever answers at the number: it is not believed, and write-combining is not had from it. */
static void finds_none(struct vm *vm)
{
	struct bh_map map;

	for (int option = BH_MEMATTR_AUTO; option <= 15; option = option < 0 ? 14 : option + 1) {
		VM_CHECK(open_with(vm, option));
		VM_CHECK(!has_cap(vm, BH_CAP_DMABUF_MEMATTR | BH_CAP_DMABUF_REVOKE));
		VM_CHECK(strstr(vm->said, "no memory attributes"));
		VM_CHECK(map_wc(vm, 0, PAGE, 64, BH_MAP_STRICT, &map) == -EOPNOTSUPP);
	}
}

static unsigned long asked(void)
{
	char text[32] = "";
	FILE *file = fopen(PARAMETERS "asked", "re");

	if (!file || !fgets(text, sizeof(text), file))
		vm_fail("the driver does not count");
	if (file)
		fclose(file);
	return strtoul(text, NULL, 10);
}

static void nothing_is_tried_without_the_option(struct vm *vm)
{
	unsigned long before;
	struct bh_map map;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	before = asked();
	VM_CHECK(before > 0);
	VM_CHECK(open_with(vm, BH_MEMATTR_NEVER));
	VM_CHECK(!has_cap(vm, BH_CAP_DMABUF_MEMATTR | BH_CAP_DMABUF_REVOKE));
	VM_CHECK(map_wc(vm, 0, PAGE, 64, 0, &map) == 0);
	VM_CHECK(map.requested == BH_ATTR_UC && map.attr == BH_ATTR_UC);
	VM_CHECK(strstr(map.why, "memory attributes of VFIO were not asked for"));
	bh_device_unmap_bar(vm->dev, &map);
	VM_CHECK(map_wc(vm, 0, PAGE, 64, BH_MAP_STRICT, &map) == -EOPNOTSUPP);
	/* A number that is taken is not tried either. */
	VM_CHECK(open_with(vm, 11));
	VM_CHECK(strstr(vm->said, "feature 11 is something else"));
	VM_CHECK(!has_cap(vm, BH_CAP_DMABUF_MEMATTR) && has_cap(vm, BH_CAP_DMABUF_EXPORT));
	VM_CHECK(asked() == before || vm_fail("asked %lu times, then %lu", before, asked()));
}

/* ---- what is not so ---- */

static void stock_is_uncached_and_says_why(struct vm *vm)
{
	struct bh_map map;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(!has_cap(vm, BH_CAP_DMABUF_MEMATTR | BH_CAP_DMABUF_REVOKE));
	VM_CHECK(map_wc(vm, 0, PAGE, 64, 0, &map) == 0);
	VM_CHECK(map.requested == BH_ATTR_UC && map.attr == BH_ATTR_UC);
	VM_CHECK(strstr(map.why, "not prefetchable") &&
		 strstr(map.why, "this kernel's VFIO sets no memory attributes"));
	bh_device_unmap_bar(vm->dev, &map);
	VM_CHECK(map_wc(vm, CMB, 0, LEN, 0, &map) == 0);
	VM_CHECK(map.attr == BH_ATTR_UC);
	bh_device_unmap_bar(vm->dev, &map);
	VM_CHECK(map_wc(vm, CMB, 0, LEN, BH_MAP_STRICT, &map) == -EOPNOTSUPP);
	VM_CHECK(!map.va && map.fd == -1);
	VM_CHECK(!listed(vm, CMB, 0, LEN, "write-combining"));
}

/* Granted, mapped as write-combining as far as the mapping goes, and uncached all the same. */
static void grant_without_effect_is_not_claimed(struct vm *vm)
{
	struct bh_map map;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(has_cap(vm, BH_CAP_DMABUF_MEMATTR));
	VM_CHECK(map_wc(vm, CMB, 0, LEN, 0, &map) == 0);
	VM_CHECK(map.requested == BH_ATTR_WC && map.attr == BH_ATTR_UC);
	VM_CHECK(strstr(map.why, "dma-buf") && strstr(map.why, "granted as write-combining, but"));
	VM_CHECK(!listed(vm, CMB, 0, LEN, "write-combining"));
	map.va[0] = 0x5a;
	VM_CHECK(*(volatile uint8_t *)map.va == 0x5a);
	bh_device_unmap_bar(vm->dev, &map);
	VM_CHECK(map_wc(vm, CMB, 0, LEN, BH_MAP_STRICT, &map) == -EOPNOTSUPP);
}

/* Whoever may not read the list cannot know. */
static void user_cannot_know(struct vm *vm)
{
	struct bh_map map;

	VM_CHECK(geteuid() != 0 && access(LIST, R_OK) != 0);
	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(has_cap(vm, BH_CAP_DMABUF_MEMATTR));
	VM_CHECK(map_wc(vm, CMB, 0, LEN, 0, &map) == 0);
	VM_CHECK(map.requested == BH_ATTR_WC && map.attr == BH_ATTR_UNKNOWN);
	VM_CHECK(strstr(map.why, "cannot be confirmed"));
	map.va[0] = 0x5a;
	bh_wc_flush();
	VM_CHECK(*(volatile uint8_t *)map.va == 0x5a);
	bh_device_unmap_bar(vm->dev, &map);
	VM_CHECK(map_wc(vm, CMB, 0, LEN, BH_MAP_STRICT, &map) == -EOPNOTSUPP);
	/* Uncached is VFIO's own promise. */
	VM_CHECK(bh_device_map_bar(vm->dev, 0, 0, PAGE, BH_ATTR_UC, BH_MAP_STRICT, &map) == 0);
	bh_device_unmap_bar(vm->dev, &map);
}

/* Somebody else made these pages write-combining: an uncached mapping of them is none. */
static void uncached_is_not_claimed_either(struct vm *vm)
{
	struct bh_map map;
	int fd;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(bh_device_dmabuf_export(vm->dev, CMB, 0, LEN, &fd) == 0);
	VM_CHECK(io_vfio_memattr_set_wc(to_io_vfio(vm->dev), fd) == 0);
	VM_CHECK(bh_device_map_bar(vm->dev, CMB, 0, LEN, BH_ATTR_UC, 0, &map) == 0);
	VM_CHECK(map.requested == BH_ATTR_UC && map.attr == BH_ATTR_WC);
	VM_CHECK(strstr(map.why, "says write-combining"));
	bh_device_unmap_bar(vm->dev, &map);
	VM_CHECK(bh_device_map_bar(vm->dev, CMB, 0, LEN, BH_ATTR_UC, BH_MAP_STRICT, &map) ==
		 -EOPNOTSUPP);
	close(fd);
}

/* ---- refusals, call by call ---- */

/* SET of `len` bytes. */
static int raw(const struct vm *vm, unsigned int number, uint32_t how, int fd, uint32_t attr,
	       size_t len)
{
	struct {
		struct uapi_feature head;
		int32_t fd;
		uint32_t attr;
	} call = { { (uint32_t)(sizeof(call.head) + len), number | how }, fd, attr };

	return ioctl(to_io_vfio(vm->dev)->fd, VFIO_DEVICE_FEATURE, &call) < 0 ? -errno : 0;
}

static int set_attr(const struct vm *vm, int fd, uint32_t attr)
{
	return raw(vm, to_io_vfio(vm->dev)->memattr, VFIO_DEVICE_FEATURE_SET, fd, attr, 8);
}

/* A dma-buf of the device beside ours, which the script names. */
static bool neighbour(struct vm *other, int *fd)
{
	const char *address = getenv("VM_NEIGHBOUR");

	if (!address || !vm_init(other, address))
		return vm_fail("no neighbour");
	if (vm_open(other) != 0 || bh_device_dmabuf_export(other->dev, CMB, 0, PAGE, fd) != 0)
		return vm_fail("the neighbour exports nothing: %s", other->said);
	return true;
}

static void memattr_refusals(struct vm *vm)
{
	int fd, null = open("/dev/null", O_RDWR | O_CLOEXEC), foreign;
	unsigned int number;
	struct vm other;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	number = to_io_vfio(vm->dev)->memattr;
	VM_CHECK(bh_device_dmabuf_export(vm->dev, CMB, 0, PAGE, &fd) == 0);
	VM_CHECK(neighbour(&other, &foreign));
	VM_CHECK(set_attr(vm, -1, 1) == -EBADF);
	VM_CHECK(set_attr(vm, null, 1) == -EINVAL);
	VM_CHECK(set_attr(vm, foreign, 1) == -ENODEV);
	VM_CHECK(set_attr(vm, fd, 2) == -ENOENT && set_attr(vm, fd, UINT32_MAX) == -ENOENT);
	VM_CHECK(raw(vm, number, VFIO_DEVICE_FEATURE_SET, fd, 1, 7) == -EINVAL);
	VM_CHECK(raw(vm, number, VFIO_DEVICE_FEATURE_GET, fd, 1, 8) == -EINVAL);
	VM_CHECK(io_vfio_feature_probe(to_io_vfio(vm->dev), number, VFIO_DEVICE_FEATURE_GET) ==
		 -EINVAL);
	VM_CHECK(!listed(vm, CMB, 0, PAGE, "write-combining"));
	VM_CHECK(set_attr(vm, fd, 1) == 0 && set_attr(vm, fd, 1) == 0);
	VM_CHECK(listed(vm, CMB, 0, PAGE, "write-combining"));
	VM_CHECK(set_attr(vm, fd, 0) == 0);
	VM_CHECK(!listed(vm, CMB, 0, PAGE, "write-combining"));
	vm_fini(&other);
	close(foreign);
	close(null);
	close(fd);
}

/* What is mapped keeps what it was mapped with. */
static void attribute_is_for_later_mappings(struct vm *vm)
{
	void *va;
	int fd;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(bh_device_dmabuf_export(vm->dev, CMB, 0, LEN, &fd) == 0);
	VM_CHECK(set_attr(vm, fd, 1) == 0);
	va = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	VM_CHECK(va != MAP_FAILED);
	VM_CHECK(set_attr(vm, fd, 0) == -EBUSY);
	VM_CHECK(listed(vm, CMB, 0, LEN, "write-combining"));
	munmap(va, LEN);
	VM_CHECK(set_attr(vm, fd, 0) == 0);
	VM_CHECK(!listed(vm, CMB, 0, LEN, "write-combining"));
	/* Neither private nor beyond its end. */
	VM_CHECK(mmap(NULL, LEN, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == EINVAL);
	VM_CHECK(mmap(NULL, 2 * LEN, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
	close(fd);
}

/* ---- revocation ---- */

/* A borrower's mapping of an exported slice, guarded as <bellhop/fault.h> tells. */
struct borrowed {
	int fd;
	struct bh_fault_range guard;
};

static bool borrow(struct vm *vm, struct borrowed *b)
{
	memset(b, 0, sizeof(*b));
	if (bh_device_dmabuf_export(vm->dev, CMB, 0, LEN, &b->fd) != 0)
		return vm_fail("no dma-buf");
	b->guard.base = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	b->guard.len = LEN;
	b->guard.fill = BH_FAULT_ONES;
	if (b->guard.base == MAP_FAILED || bh_fault_range_add(&b->guard) != 0)
		return vm_fail("the dma-buf cannot be mapped");
	*(volatile uint32_t *)b->guard.base = 0x12345678;
	return *(volatile uint32_t *)b->guard.base == 0x12345678 || vm_fail("it does not keep");
}

static bool is_lost(const struct borrowed *b)
{
	return *(volatile uint32_t *)b->guard.base == UINT32_MAX &&
	       __atomic_load_n(&b->guard.failed, __ATOMIC_ACQUIRE);
}

static void give_back(struct borrowed *b)
{
	bh_fault_range_remove(&b->guard);
	munmap(b->guard.base, b->guard.len);
	close(b->fd);
}

static void revoked_dmabuf_is_lost(struct vm *vm)
{
	struct borrowed b, again;
	struct bh_map map;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(has_cap(vm, BH_CAP_DMABUF_REVOKE));
	VM_CHECK(strstr(vm->said, "revokes dma-bufs"));
	VM_CHECK(borrow(vm, &b));
	VM_CHECK(!is_lost(&b) && !b.guard.failed);
	VM_CHECK(bh_device_dmabuf_revoke(vm->dev, b.fd) == 0);
	VM_CHECK(is_lost(&b));
	/* For good, and for nobody else: not for the device, nor for the next borrower. */
	VM_CHECK(mmap(NULL, LEN, PROT_READ, MAP_SHARED, b.fd, 0) == MAP_FAILED && errno == ENODEV);
	VM_CHECK(bh_device_reset(vm->dev) == 0 && bh_device_bus_master(vm->dev, true) == 0);
	VM_CHECK(is_lost(&b));
	VM_CHECK(bh_device_check(vm->dev));
	VM_CHECK(borrow(vm, &again));
	give_back(&again);
	VM_CHECK(map_wc(vm, CMB, 0, LEN, 0, &map) == 0);
	VM_CHECK(map.requested == BH_ATTR_WC);
	bh_device_unmap_bar(vm->dev, &map);
	give_back(&b);
}

static void revoking_lets_go_of_the_attribute(struct vm *vm)
{
	struct borrowed b;
	struct bh_map map;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(borrow(vm, &b));
	munmap(b.guard.base, LEN);
	VM_CHECK(set_attr(vm, b.fd, 1) == 0);
	VM_CHECK(mmap(b.guard.base, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, b.fd, 0) ==
		 b.guard.base);
	VM_CHECK(!is_lost(&b) && listed(vm, CMB, 0, LEN, "write-combining"));
	VM_CHECK(bh_device_dmabuf_revoke(vm->dev, b.fd) == 0);
	VM_CHECK(is_lost(&b) && !listed(vm, CMB, 0, LEN, "write-combining"));
	VM_CHECK(bh_device_map_bar(vm->dev, CMB, 0, LEN, BH_ATTR_UC, BH_MAP_STRICT, &map) == 0);
	bh_device_unmap_bar(vm->dev, &map);
	give_back(&b);
}

static void revoke_refusals(struct vm *vm)
{
	int fd, null = open("/dev/null", O_RDWR | O_CLOEXEC), foreign;
	struct vm other;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(bh_device_dmabuf_export(vm->dev, CMB, 0, PAGE, &fd) == 0);
	VM_CHECK(neighbour(&other, &foreign));
	VM_CHECK(bh_device_dmabuf_revoke(vm->dev, -1) == -EINVAL);
	VM_CHECK(bh_device_dmabuf_revoke(vm->dev, null) == -EINVAL);
	VM_CHECK(bh_device_dmabuf_revoke(vm->dev, foreign) == -EXDEV);
	VM_CHECK(bh_device_dmabuf_revoke(vm->dev, fd) == 0);
	VM_CHECK(bh_device_dmabuf_revoke(vm->dev, fd) == -EALREADY);
	/* Where it is not offered. */
	VM_CHECK(bh_device_dmabuf_revoke(other.dev, foreign) == -EOPNOTSUPP);
	vm_fini(&other);
	close(foreign);
	close(null);
	close(fd);
}

static void closing_takes_dmabufs_back(struct vm *vm)
{
	struct borrowed b;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(borrow(vm, &b));
	bh_device_close(vm->dev);
	vm->dev = NULL;
	VM_CHECK(is_lost(&b));
	/* Nor does the next one to open the device bring it back. */
	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(set_attr(vm, b.fd, 1) == -ENODEV);
	give_back(&b);
}

struct gone {
	struct bh_gone_listener listener;
	uint32_t seen;
};

static void on_gone(struct bh_gone_listener *listener)
{
	__atomic_store_n(&((struct gone *)listener)->seen, 1, __ATOMIC_RELEASE);
}

/*
 * The driver's own mapping is taken away under it: it reads all-ones, asks, and is told that the
 * device is gone.
 */
static void lost_mapping_is_a_lost_device(struct vm *vm)
{
	struct gone gone = { .listener = { .gone = on_gone } };
	const uint16_t off = 0;
	struct bh_map map, kept;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	bh_device_gone_listen(vm->dev, &gone.listener);
	VM_CHECK(map_wc(vm, CMB, 0, LEN, BH_MAP_STRICT, &map) == 0);
	VM_CHECK(map_wc(vm, CMB, LEN, LEN, BH_MAP_STRICT, &kept) == 0);
	map.va[0] = kept.va[0] = 0x5a;
	bh_wc_flush();
	VM_CHECK(bh_device_check(vm->dev));
	/* Without memory space there are no pages behind it. */
	VM_CHECK(bh_device_config_write(vm->dev, 4, &off, sizeof(off)) == 0);
	VM_CHECK(*(volatile uint32_t *)map.va == UINT32_MAX);
	VM_CHECK(!bh_device_check(vm->dev) && bh_device_gone(vm->dev));
	VM_CHECK(strstr(vm->said, "gone: a mapping of its BARs was taken away"));
	for (int i = 0; i < 500 && !__atomic_load_n(&gone.seen, __ATOMIC_ACQUIRE); i++)
		usleep(10000);
	VM_CHECK(__atomic_load_n(&gone.seen, __ATOMIC_ACQUIRE));
	bh_device_gone_unlisten(vm->dev, &gone.listener);
	bh_device_unmap_bar(vm->dev, &kept);
	bh_device_unmap_bar(vm->dev, &map);
	/* Another life. */
	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
}

/* ---- those who touch a mapping while it is taken away ---- */

struct toucher {
	volatile uint32_t *at; /* __atomic */
	uint32_t stop;	       /* __atomic */
	uint32_t touched;      /* __atomic */
};

static void *touch(void *arg)
{
	struct toucher *t = arg;

	while (!__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE)) {
		*t->at = __atomic_add_fetch(&t->touched, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void revocation_meets_accesses(struct vm *vm)
{
	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	for (int round = 0; round < 50; round++) {
		struct toucher t = { 0 };
		struct borrowed b;
		pthread_t thread;
		int rc;

		VM_CHECK(borrow(vm, &b));
		t.at = b.guard.base;
		VM_CHECK(pthread_create(&thread, NULL, touch, &t) == 0);
		while (!__atomic_load_n(&t.touched, __ATOMIC_ACQUIRE))
			usleep(100);
		usleep(500 * (unsigned int)(round % 4));
		rc = bh_device_dmabuf_revoke(vm->dev, b.fd);
		usleep(500);
		__atomic_store_n(&t.stop, 1, __ATOMIC_RELEASE);
		pthread_join(thread, NULL);
		VM_CHECK(rc == 0);
		/* Written last into the device, or into what the guard put there. */
		*t.at = 1;
		VM_CHECK(__atomic_load_n(&b.guard.failed, __ATOMIC_ACQUIRE));
		give_back(&b);
	}
	VM_CHECK(bh_device_check(vm->dev));
}

/* ---- our NVMe driver with doorbells that combine writes ---- */

struct nvme {
	struct bh_nvme *ctrl;
	struct bh_nvme_queue *q;
	struct bh_nvme_ns *ns;
	uint8_t *buf;
	unsigned int done, errors;
};

static void count(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct nvme *n = arg;

	n->done++;
	n->errors += bh_nvme_cpl_status(cpl) != 0;
}

static bool nvme_open(struct nvme *n, struct vm *vm)
{
	struct bh_nvme_opts opts;
	struct bh_nvme_queue_opts queue;

	memset(n, 0, sizeof(*n));
	bh_nvme_opts_init(&opts);
	opts.doorbell_attr = BH_ATTR_WC;
	bh_nvme_queue_opts_init(&queue);
	queue.depth = 8;
	n->buf = bh_pool_alloc(vm->pool, PAGE, PAGE);
	if (!n->buf || bh_nvme_attach(vm->dev, &opts, &n->ctrl) != 0 ||
	    bh_nvme_queue_create(n->ctrl, &queue, &n->q) != 0)
		return vm_fail("the controller cannot be attached");
	n->ns = bh_nvme_ns_first(n->ctrl);
	return n->ns || vm_fail("no namespace");
}

static void nvme_close(struct nvme *n, struct vm *vm)
{
	bh_nvme_queue_destroy(n->q);
	bh_nvme_detach(n->ctrl);
	bh_pool_free(vm->pool, n->buf);
}

/* One request of a page, waited for: 0, 1 with an error status, or -errno of submitting it. */
static int transfer(struct nvme *n, bool write, uint64_t page)
{
	uint32_t blocks = (uint32_t)PAGE / bh_nvme_ns_block_size(n->ns);
	int rc;

	n->done = n->errors = 0;
	rc = write ? bh_nvme_write(n->q, n->ns, n->buf, page * blocks, blocks, 0, count, n)
		   : bh_nvme_read(n->q, n->ns, n->buf, page * blocks, blocks, 0, count, n);
	for (int i = 0; rc == 0 && n->done == 0 && i < 20000; i++) {
		(void)bh_nvme_queue_poll(n->q, 0);
		(void)bh_nvme_poll(n->ctrl);
		if (i > 100)
			usleep(1000);
	}
	if (rc == 0 && n->done != 1)
		vm_fail("%u completions of one request", n->done);
	return rc ? rc : (int)n->errors;
}

static void nvme_rings_combining_doorbells(struct vm *vm)
{
	struct nvme n;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(nvme_open(&n, vm));
	VM_CHECK(strstr(vm->said, "BAR 0 at 0x1000: dma-buf with"));
	VM_CHECK(listed(vm, 0, PAGE, PAGE, "write-combining"));
	for (uint64_t page = 0; page < 64; page++) {
		memset(n.buf, (int)(page + 1), PAGE);
		VM_CHECK(transfer(&n, true, page) == 0);
	}
	for (uint64_t page = 0; page < 64; page++) {
		memset(n.buf, 0, PAGE);
		VM_CHECK(transfer(&n, false, page) == 0);
		VM_CHECK(n.buf[0] == page + 1 && n.buf[PAGE - 1] == page + 1);
	}
	nvme_close(&n, vm);
}

/* Its doorbells are taken away: what it is asked for then ends with an error, and it lives on. */
static void nvme_learns_of_lost_doorbells(struct vm *vm)
{
	const uint16_t off = 0;
	struct nvme n;
	int rc;

	VM_CHECK(open_with(vm, BH_MEMATTR_AUTO));
	VM_CHECK(nvme_open(&n, vm));
	VM_CHECK(transfer(&n, false, 0) == 0);
	VM_CHECK(bh_device_config_write(vm->dev, 4, &off, sizeof(off)) == 0);
	rc = transfer(&n, false, 0);
	VM_CHECK(rc == 1 || rc == -ENODEV);
	VM_CHECK(bh_device_gone(vm->dev));
	VM_CHECK(strstr(vm->said, "a mapping of its BARs was taken away"));
	VM_CHECK(transfer(&n, false, 0) == -ENODEV);
	nvme_close(&n, vm);
}

static const struct vm_case cases[] = {
	{ "write_combining_is_obtained", write_combining_is_obtained, true },
	{ "registers_stay_uncached", registers_stay_uncached, true },
	{ "flushed_data_is_seen_uncached", flushed_data_is_seen_uncached, true },
	{ "one_attribute_for_a_page", one_attribute_for_a_page, true },
	{ "mapping_outlives_a_reset", mapping_outlives_a_reset, true },
	{ "sysfs_gives_it_where_nobody_claims_it", sysfs_gives_it_where_nobody_claims_it, true },
	{ "finds_14", finds_14, true },
	{ "finds_15", finds_15, true },
	{ "takes_the_number_it_is_told", takes_the_number_it_is_told, true },
	{ "finds_none", finds_none, true },
	{ "nothing_is_tried_without_the_option", nothing_is_tried_without_the_option, true },
	{ "stock_is_uncached_and_says_why", stock_is_uncached_and_says_why, true },
	{ "grant_without_effect_is_not_claimed", grant_without_effect_is_not_claimed, true },
	{ "user_cannot_know", user_cannot_know, true },
	{ "uncached_is_not_claimed_either", uncached_is_not_claimed_either, true },
	{ "memattr_refusals", memattr_refusals, true },
	{ "attribute_is_for_later_mappings", attribute_is_for_later_mappings, true },
	{ "revoked_dmabuf_is_lost", revoked_dmabuf_is_lost, true },
	{ "revoking_lets_go_of_the_attribute", revoking_lets_go_of_the_attribute, true },
	{ "revoke_refusals", revoke_refusals, true },
	{ "closing_takes_dmabufs_back", closing_takes_dmabufs_back, true },
	{ "lost_mapping_is_a_lost_device", lost_mapping_is_a_lost_device, true },
	{ "revocation_meets_accesses", revocation_meets_accesses, true },
	{ "nvme_rings_combining_doorbells", nvme_rings_combining_doorbells, true },
	{ "nvme_learns_of_lost_doorbells", nvme_learns_of_lost_doorbells, true },
};

int main(int argc, char **argv)
{
	bh_fault_install();
	return vm_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}

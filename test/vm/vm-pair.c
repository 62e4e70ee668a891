/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two devices of the kernel's VFIO at once, in a guest: the second is named by the environment
 * variable OTHER. What they share, what they do not, and one reaching the other.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bellhop/nvme.h>

#include "vmtest.h"

#define BLOCKS 8u
#define CMB_BAR 2u
#define SLICE 0x10000u

/* A controller with a queue on one device. */
struct disk {
	struct bh_nvme *nvme;
	struct bh_nvme_queue *q;
	struct bh_nvme_ns *ns;
	size_t bytes; /* of BLOCKS */
};

static const char *other_address(void)
{
	const char *other = getenv("OTHER");

	return other ? other : "none";
}

static int open_other(struct vm *vm, struct bh_device **dev)
{
	vm->said[0] = '\0';
	return bh_open(other_address(), &vm->opts, dev);
}

static bool disk_open(struct disk *d, struct bh_device *dev)
{
	memset(d, 0, sizeof(*d));
	if (bh_nvme_attach(dev, NULL, &d->nvme) != 0 ||
	    bh_nvme_queue_create(d->nvme, NULL, &d->q) != 0)
		return vm_fail("%s: no controller", bh_device_name(dev));
	d->ns = bh_nvme_ns_first(d->nvme);
	d->bytes = d->ns ? BLOCKS * bh_nvme_ns_block_size(d->ns) : 0;
	return d->ns || vm_fail("%s: no namespace", bh_device_name(dev));
}

static void disk_close(struct disk *d)
{
	bh_nvme_queue_destroy(d->q);
	bh_nvme_detach(d->nvme);
}

static void done(void *arg, const struct bh_nvme_cpl *cpl)
{
	*(int *)arg = bh_nvme_cpl_status(cpl);
}

/* The status of BLOCKS read or written at block 0 (0: success), or -errno. */
static int transfer(struct disk *d, bool write, void *buf)
{
	time_t end = time(NULL) + 20;
	int status = -1, rc;

	rc = write ? bh_nvme_write(d->q, d->ns, buf, 0, BLOCKS, 0, done, &status)
		   : bh_nvme_read(d->q, d->ns, buf, 0, BLOCKS, 0, done, &status);
	while (rc == 0 && status < 0 && time(NULL) < end)
		if (bh_nvme_queue_poll(d->q, 0) < 0 && status < 0)
			rc = -ENODEV;
	return rc != 0 ? rc : status < 0 ? -ETIMEDOUT : status;
}

static void fill(uint8_t *buf, size_t bytes, unsigned int seed)
{
	for (size_t i = 0; i < bytes; i++)
		buf[i] = (uint8_t)(i * 7 + seed + i / 256);
}

static bool filled(const uint8_t *buf, size_t bytes, unsigned int seed)
{
	for (size_t i = 0; i < bytes; i++)
		if (buf[i] != (uint8_t)(i * 7 + seed + i / 256))
			return false;
	return true;
}

/* Writes a pattern from one buffer, reads it into another. */
static bool round_trip(struct disk *d, uint8_t *from, uint8_t *to, unsigned int seed)
{
	fill(from, d->bytes, seed);
	memset(to, 0, d->bytes);
	return transfer(d, true, from) == 0 && transfer(d, false, to) == 0 &&
	       filled(to, d->bytes, seed);
}

static uint64_t iova_of(struct bh_device *dev, const void *va)
{
	struct bh_iova_cache cache = { 0 };
	uint64_t iova;

	return bh_iova_translate(bh_device_iova_map(dev), &cache, va, 4096, &iova) ? iova
										   : UINT64_MAX;
}

/* Descriptors of ours whose target begins with /dev/vfio or is /dev/iommu or an anonymous device. */
static int vfio_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *e;
	char path[300], target[64];
	int n = 0;

	while (dir && (e = readdir(dir))) {
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/self/fd/%s", e->d_name);
		len = readlink(path, target, sizeof(target) - 1);
		target[len > 0 ? len : 0] = '\0';
		n += strncmp(target, "/dev/vfio", 9) == 0 || strcmp(target, "/dev/iommu") == 0 ||
		     strstr(target, "vfio") != NULL;
	}
	if (dir)
		closedir(dir);
	return n;
}

/* Memory that is locked or pinned for this process, in KiB. */
static long locked_kib(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[128];
	long sum = 0, value;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmLck: %ld", &value) == 1 ||
		    sscanf(line, "VmPin: %ld", &value) == 1)
			sum += value;
	if (f)
		fclose(f);
	return sum;
}

/* ---- sharing ---- */

static void both_work_at_once(struct vm *vm)
{
	uint8_t *buf = bh_pool_alloc(vm->pool, 4 * 65536, 4096);
	struct bh_device *other;
	struct disk a = { 0 }, b = { 0 };

	VM_CHECK(buf && open_other(vm, &other) == 0);
	VM_CHECK(strstr(vm->said, "shared with 1 device"));
	VM_CHECK(iova_of(vm->dev, buf) == iova_of(other, buf));
	if (disk_open(&a, vm->dev) && disk_open(&b, other))
		for (unsigned int i = 0; i < 8; i++)
			if (!round_trip(&a, buf, buf + 65536, i) ||
			    !round_trip(&b, buf + 131072, buf + 196608, i + 100))
				vm_fail("round %u: data or status is wrong", i);
	disk_close(&b);
	disk_close(&a);
	bh_device_close(other);
}

/* Either may go first, and come back. */
static void one_outlives_the_other(struct vm *vm)
{
	uint8_t *buf = bh_pool_alloc(vm->pool, 2 * 65536, 4096);
	struct bh_device *other;
	struct disk d;

	VM_CHECK(buf && open_other(vm, &other) == 0);
	bh_device_close(vm->dev);
	vm->dev = NULL;
	if (!disk_open(&d, other) || !round_trip(&d, buf, buf + 65536, 3))
		vm_fail("the one that stays does not work");
	disk_close(&d);
	VM_CHECK(vm_open(vm) == 0);
	bh_device_close(other);
	if (!disk_open(&d, vm->dev) || !round_trip(&d, buf, buf + 65536, 4))
		vm_fail("the one that came back does not work");
	disk_close(&d);
}

static void the_last_one_closes_everything(struct vm *vm)
{
	struct bh_device *other;

	VM_CHECK(vfio_fds() > 0);
	VM_CHECK(open_other(vm, &other) == 0);
	bh_device_close(vm->dev);
	vm->dev = NULL;
	VM_CHECK(vfio_fds() > 0);
	bh_device_close(other);
	VM_CHECK(vfio_fds() == 0);
	VM_CHECK(locked_kib() == 0);
}

static void memory_is_pinned_once(struct vm *vm)
{
	struct bh_device *other;
	long one = locked_kib();

	VM_CHECK(one >= 8192);
	VM_CHECK(open_other(vm, &other) == 0);
	VM_CHECK(locked_kib() == one);
	bh_device_close(other);
	VM_CHECK(locked_kib() == one);
}

static void pools_come_and_go_in_both(struct vm *vm)
{
	struct bh_device *other;
	struct bh_pool_opts opts;
	struct bh_pool *pool;
	const void *va;

	bh_pool_opts_init(&opts);
	opts.bytes = 1u << 20;
	VM_CHECK(open_other(vm, &other) == 0);
	VM_CHECK(bh_pool_create(&opts, &pool) == 0);
	va = bh_pool_mem(pool)->va;
	VM_CHECK(bh_dma_space_add(vm->space, pool) == 0);
	VM_CHECK(iova_of(vm->dev, va) != UINT64_MAX);
	VM_CHECK(iova_of(vm->dev, va) == iova_of(other, va));
	VM_CHECK(bh_dma_space_remove(vm->space, pool) == 0);
	VM_CHECK(iova_of(vm->dev, va) == UINT64_MAX && iova_of(other, va) == UINT64_MAX);
	bh_pool_destroy(pool);
	bh_device_close(other);
}

/* Devices of one group cannot be kept apart, so they have one DMA space. */
static void a_group_has_one_space(struct vm *vm)
{
	struct bh_device_opts opts = vm->opts;
	struct bh_dma_space *space;
	struct bh_device *other = NULL;
	char pid[32];

	VM_CHECK(bh_dma_space_create(&vm->log, &space) == 0);
	opts.space = space;
	vm->said[0] = '\0';
	VM_CHECK(bh_open(other_address(), &opts, &other) == -EBUSY && !other);
	snprintf(pid, sizeof(pid), "process %d", (int)getpid());
	VM_CHECK(strstr(vm->said, pid) && strstr(vm->said, "one DMA space"));
	bh_device_close(vm->dev);
	vm->dev = NULL;
	VM_CHECK(bh_open(other_address(), &opts, &other) == 0);
	bh_device_close(other);
	bh_dma_space_destroy(space);
}

/* Devices of different groups: neither reaches what the other one has. */
static void spaces_are_apart(struct vm *vm)
{
	struct bh_device_opts opts = vm->opts;
	struct bh_dma_space *space;
	struct bh_device *other;
	const void *va = bh_pool_mem(vm->pool)->va;

	VM_CHECK(bh_dma_space_create(&vm->log, &space) == 0);
	opts.space = space;
	vm->said[0] = '\0';
	VM_CHECK(bh_open(other_address(), &opts, &other) == 0);
	VM_CHECK(strstr(vm->said, "shared with 0 device"));
	VM_CHECK(iova_of(other, va) == UINT64_MAX && iova_of(vm->dev, va) != UINT64_MAX);
	bh_device_close(other);
	bh_dma_space_destroy(space);
}

/* Holds the other device until the pipe is closed. */
static pid_t start_holder(struct vm *vm, int *release)
{
	int up[2], down[2];
	char c;
	pid_t pid;

	if (pipe(up) != 0 || pipe(down) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		struct bh_device *dev;

		close(up[0]);
		close(down[1]);
		c = open_other(vm, &dev) == 0 ? 'y' : 'n';
		if (write(up[1], &c, 1) == 1)
			(void)!read(down[0], &c, 1);
		_exit(0);
	}
	close(up[1]);
	close(down[0]);
	*release = down[1];
	if (read(up[0], &c, 1) != 1 || c != 'y')
		vm_fail("the other process could not open %s", other_address());
	close(up[0]);
	return pid;
}

static void another_process_is_named(struct vm *vm)
{
	char text[48];
	int release = -1;
	pid_t pid = start_holder(vm, &release);

	VM_CHECK(pid > 0);
	snprintf(text, sizeof(text), "(process %d) has it open", (int)pid);
	if (vm_open(vm) != -EBUSY || !strstr(vm->said, text))
		vm_fail("not refused, or not by whom: %s", text);
	close(release);
	waitpid(pid, NULL, 0);
	VM_CHECK(vm_open(vm) == 0);
}

/* ---- memory without a file ---- */

static void memory_without_a_file(struct vm *vm)
{
	const size_t len = 1u << 20;
	uint8_t *va = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct bh_pool *pool;
	struct disk d;

	VM_CHECK(va != MAP_FAILED && bh_pool_import(va, len, -1, 0, "external", &pool) == 0);
	VM_CHECK(bh_dma_space_add(vm->space, pool) == 0);
	VM_CHECK(iova_of(vm->dev, va) != UINT64_MAX);
	if (!disk_open(&d, vm->dev) || !round_trip(&d, va, va + 65536, 9))
		vm_fail("data or status is wrong");
	disk_close(&d);
	VM_CHECK(bh_dma_space_remove(vm->space, pool) == 0);
	bh_pool_destroy(pool);
	munmap(va, len);
}

/* What is no memory is refused when it is added, and nothing stays behind. */
static void what_is_no_memory_is_refused(struct vm *vm)
{
	uint8_t *va = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct bh_pool *pool;

	VM_CHECK(va != MAP_FAILED && bh_pool_import(va, 8192, -1, 0, "nothing", &pool) == 0);
	VM_CHECK(bh_dma_space_add(vm->space, pool) < 0);
	VM_CHECK(strstr(vm->said, "mapping a pool"));
	VM_CHECK(iova_of(vm->dev, va) == UINT64_MAX);
	bh_pool_destroy(pool);
	munmap(va, 8192);
}

/* ---- peer-to-peer ---- */

/* The exporter is in a space of its own: the BAR's pool is what leads from one to the other. */
struct peer {
	struct bh_device *dev;
	struct bh_dma_space *space;
	struct bh_map map;
	struct bh_pool *pool;
};

static bool peer_open(struct peer *p, struct vm *vm)
{
	struct bh_device_opts opts = vm->opts;

	memset(p, 0, sizeof(*p));
	if (bh_dma_space_create(&vm->log, &p->space) != 0)
		return vm_fail("no space");
	opts.space = p->space;
	if (bh_open(other_address(), &opts, &p->dev) != 0)
		return vm_fail("the other device cannot be opened");
	/* A BAR answers, and can be exported, while memory is decoded. */
	if (bh_device_bus_master(p->dev, true) != 0 ||
	    bh_device_map_bar(p->dev, CMB_BAR, 0, SLICE, BH_ATTR_UC, 0, &p->map) != 0)
		return vm_fail("its memory buffer cannot be mapped");
	return true;
}

static void peer_close(struct peer *p)
{
	bh_pool_destroy(p->pool);
	if (p->dev)
		bh_device_unmap_bar(p->dev, &p->map);
	bh_device_close(p->dev);
	bh_dma_space_destroy(p->space);
}

/* A disk reads into another one's memory buffer, and writes what is there. */
static bool through_the_bar(struct vm *vm, struct peer *p, uint8_t *buf)
{
	volatile uint8_t *bar = p->map.va;
	struct disk d;
	bool good;

	if (!disk_open(&d, vm->dev))
		return false;
	fill(buf, d.bytes, 21);
	for (size_t i = 0; i < d.bytes; i++)
		bar[i] = 0;
	good = transfer(&d, true, buf) == 0 && transfer(&d, false, p->map.va) == 0;
	if (!good)
		vm_fail("a transfer into the BAR failed");
	for (size_t i = 0; i < d.bytes && good; i++)
		good = bar[i] == buf[i] || vm_fail("byte %zu of the BAR is %u", i, bar[i]);
	for (size_t i = 0; i < d.bytes; i++)
		bar[i] = (uint8_t)(255 - buf[i]);
	memset(buf + 65536, 0, d.bytes);
	good = good && transfer(&d, true, p->map.va) == 0 && transfer(&d, false, buf + 65536) == 0;
	for (size_t i = 0; i < d.bytes && good; i++)
		good = (uint8_t)(buf[65536 + i] + buf[i]) == 255 || vm_fail("byte %zu is wrong", i);
	disk_close(&d);
	return good || vm_fail("a transfer from the BAR failed");
}

static void peer_to_peer(struct vm *vm)
{
	uint8_t *buf = bh_pool_alloc(vm->pool, 2 * 65536, 4096);
	struct peer p;

	VM_CHECK(buf && (bh_device_caps(vm->dev) & BH_CAP_DMA_PEER));
	if (peer_open(&p, vm)) {
		if (bh_device_bar_pool(p.dev, &p.map, "bar", &p.pool) != 0 ||
		    bh_dma_space_add(vm->space, p.pool) != 0)
			vm_fail("the BAR cannot be mapped");
		else if (through_the_bar(vm, &p, buf) &&
			 (bh_dma_space_remove(vm->space, p.pool) != 0 ||
			  iova_of(vm->dev, p.map.va) != UINT64_MAX))
			vm_fail("the BAR is still mapped");
	}
	peer_close(&p);
}

/* Against the rule, the exporter goes first: its peer loses the BAR and nothing worse. */
static void exporter_goes_first(struct vm *vm)
{
	uint8_t *buf = bh_pool_alloc(vm->pool, 2 * 65536, 4096);
	struct peer p;

	VM_CHECK(buf);
	if (peer_open(&p, vm) && bh_device_bar_pool(p.dev, &p.map, "bar", &p.pool) == 0 &&
	    bh_dma_space_add(vm->space, p.pool) == 0) {
		bh_device_unmap_bar(p.dev, &p.map);
		bh_device_close(p.dev);
		p.dev = NULL;
		if (bh_dma_space_remove(vm->space, p.pool) != 0 || bh_device_gone(vm->dev))
			vm_fail("the BAR cannot be taken out any more");
	} else {
		vm_fail("the BAR cannot be mapped");
	}
	peer_close(&p);
	VM_CHECK(bh_device_check(vm->dev));
}

/* By group and container there is no such thing, and that is said. */
static void peer_to_peer_is_not_offered(struct vm *vm)
{
	struct peer p;

	VM_CHECK(!(bh_device_caps(vm->dev) & BH_CAP_DMA_PEER));
	if (peer_open(&p, vm) && bh_device_bar_pool(p.dev, &p.map, "bar", &p.pool) == 0) {
		if (bh_dma_space_add(vm->space, p.pool) != -EOPNOTSUPP ||
		    !strstr(vm->said, "mapped by iommufd only"))
			vm_fail("not refused");
	} else {
		vm_fail("the BAR cannot be exported");
	}
	peer_close(&p);
}

/* ---- a bus of two groups ---- */

static void reset_with_both_open(struct vm *vm)
{
	struct bh_device *other;

	VM_CHECK(open_other(vm, &other) == 0);
	VM_CHECK(bh_device_hot_reset(vm->dev) == 0);
	VM_CHECK(bh_device_hot_reset(other) == 0);
	VM_CHECK(bh_device_check(vm->dev) && bh_device_check(other));
	bh_device_close(other);
}

/* The fds of all groups are needed: with one alone it is refused, and the other device named. */
static void bus_reset_of_two_groups(struct vm *vm)
{
	VM_CHECK(bh_device_caps(vm->dev) & BH_CAP_HOT_RESET);
	VM_CHECK(bh_device_hot_reset(vm->dev) == -EBUSY);
	VM_CHECK(strstr(vm->said, other_address()));
	reset_with_both_open(vm);
}

/* The group's fd stands for all of its devices, whether they are open or not. */
static void bus_reset_of_one_group(struct vm *vm)
{
	VM_CHECK(bh_device_caps(vm->dev) & BH_CAP_HOT_RESET);
	VM_CHECK(bh_device_hot_reset(vm->dev) == 0);
	reset_with_both_open(vm);
}

static const struct vm_case cases[] = {
	{ "both_work_at_once", both_work_at_once, false },
	{ "one_outlives_the_other", one_outlives_the_other, false },
	{ "the_last_one_closes_everything", the_last_one_closes_everything, false },
	{ "memory_is_pinned_once", memory_is_pinned_once, false },
	{ "pools_come_and_go_in_both", pools_come_and_go_in_both, false },
	{ "a_group_has_one_space", a_group_has_one_space, false },
	{ "spaces_are_apart", spaces_are_apart, false },
	{ "another_process_is_named", another_process_is_named, true },
	{ "memory_without_a_file", memory_without_a_file, false },
	{ "what_is_no_memory_is_refused", what_is_no_memory_is_refused, false },
	{ "peer_to_peer", peer_to_peer, false },
	{ "exporter_goes_first", exporter_goes_first, false },
	{ "peer_to_peer_is_not_offered", peer_to_peer_is_not_offered, false },
	{ "bus_reset_of_two_groups", bus_reset_of_two_groups, false },
	{ "bus_reset_of_one_group", bus_reset_of_one_group, false },
};

int main(int argc, char **argv)
{
	return vm_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}

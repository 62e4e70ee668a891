/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Submission queues and lists in the controller memory buffer of QEMU's nvme, in a guest. On stock
 * x86 kernels the buffer is mapped uncached, so it has to be asked for.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"

/* A controller opened with the buffer in this mode. */
static bool open_cmb(struct host *h, struct vm *vm, enum bh_nvme_cmb mode, bool lists, bool no_sgl)
{
	struct bh_nvme_opts opts;

	bh_nvme_opts_init(&opts);
	opts.cmb = mode;
	opts.cmb_lists = lists;
	opts.no_sgl = no_sgl;
	return host_open_with(h, vm, &opts, false);
}

static bool is_in(const struct host *h, bool want)
{
	return bh_nvme_queue_in_cmb(h->q) == want ||
	       vm_fail("the queue is in %s memory", want ? "host" : "controller");
}

/* Uncached is not worth it, and that is said. */
static void default_stays_in_host_memory(struct vm *vm)
{
	struct bh_nvme_cmb_info info;
	struct host h;

	if (open_cmb(&h, vm, BH_NVME_CMB_DEFAULT, true, false) && is_in(&h, false) &&
	    host_round_trip(&h, 0, false)) {
		if (bh_nvme_cmb_info(h.nvme, &info) != 0 || !info.sqs || !info.lists ||
		    info.bar != 2 || info.bytes != 1 << 20 || info.attr != BH_ATTR_UC)
			vm_fail("the buffer is described wrongly");
		else if (!strstr(vm->said, "submission queues stay in host memory"))
			vm_fail("the reason is not said");
	}
	host_close(&h);
}

/* With a driver that gives it, nobody has to ask. */
static void default_takes_write_combining(struct vm *vm)
{
	struct bh_nvme_cmb_info info;
	struct host h;
	unsigned int i;

	vm->opts.memattr_feature = BH_MEMATTR_AUTO;
	VM_CHECK(vm_open(vm) == 0);
	if (open_cmb(&h, vm, BH_NVME_CMB_DEFAULT, true, true) && is_in(&h, true)) {
		if (bh_nvme_cmb_info(h.nvme, &info) != 0 || info.attr != BH_ATTR_WC)
			vm_fail("it is there for another reason");
		for (i = 0; i < 16 && host_round_trip(&h, i * HOST_DEPTH, false); i++)
			;
		if (bh_nvme_reset(h.nvme) != 0 || !host_round_trip(&h, 0, false) ||
		    !is_in(&h, true))
			vm_fail("it does not come back");
	}
	host_close(&h);
}

static void traffic(struct vm *vm, bool lists, bool no_sgl)
{
	struct host h;
	unsigned int i;

	if (open_cmb(&h, vm, BH_NVME_CMB_REQUIRE, lists, no_sgl) && is_in(&h, true))
		for (i = 0; i < 16 && host_round_trip(&h, i * HOST_DEPTH, false); i++)
			;
	host_close(&h);
}

static void entries_in_the_buffer(struct vm *vm)
{
	traffic(vm, false, false);
}

static void lists_in_the_buffer(struct vm *vm)
{
	struct bh_nvme_cmb_info info;
	struct host h;
	unsigned int i;

	traffic(vm, true, true);
	if (open_cmb(&h, vm, BH_NVME_CMB_REQUIRE, true, true)) {
		if (bh_nvme_cmb_info(h.nvme, &info) != 0 || info.used <= 4096)
			vm_fail("there is no room taken for lists");
		for (i = 0; i < 8 && host_round_trip(&h, i * HOST_DEPTH, false); i++)
			;
	}
	host_close(&h);
}

/* What was there is forgotten, and what the controller calls it has to be said again. */
static void after_controller_reset(struct vm *vm)
{
	struct host h;

	if (open_cmb(&h, vm, BH_NVME_CMB_REQUIRE, true, true) && host_round_trip(&h, 0, false)) {
		if (bh_nvme_reset(h.nvme) != 0)
			vm_fail("reset failed");
		else if (host_round_trip(&h, HOST_DEPTH, false))
			(void)is_in(&h, true);
	}
	host_close(&h);
}

static void after_function_reset(struct vm *vm)
{
	struct host h;

	if (open_cmb(&h, vm, BH_NVME_CMB_REQUIRE, true, true) && host_round_trip(&h, 0, false)) {
		if (bh_device_reset(vm->dev) != 0 || bh_nvme_reset(h.nvme) != 0)
			vm_fail("reset failed");
		else if (host_round_trip(&h, HOST_DEPTH, false))
			(void)is_in(&h, true);
	}
	host_close(&h);
}

static void off_leaves_it_alone(struct vm *vm)
{
	struct bh_nvme_cmb_info info;
	struct host h;

	if (open_cmb(&h, vm, BH_NVME_CMB_OFF, true, false) && is_in(&h, false) &&
	    host_round_trip(&h, 0, false) && bh_nvme_cmb_info(h.nvme, &info) != -EOPNOTSUPP)
		vm_fail("it was looked at");
	host_close(&h);
}

/* A controller without one: on falls back, require does not. */
static void absent_is_said(struct vm *vm)
{
	struct bh_nvme_queue_opts opts;
	struct bh_nvme_queue *q;
	struct host h;

	if (open_cmb(&h, vm, BH_NVME_CMB_ON, true, false) && is_in(&h, false) &&
	    host_round_trip(&h, 0, false)) {
		bh_nvme_queue_opts_init(&opts);
		opts.cmb = BH_NVME_CMB_REQUIRE;
		if (bh_nvme_queue_create(h.nvme, &opts, &q) != -EOPNOTSUPP ||
		    !strstr(vm->said, "which was required: the controller has none"))
			vm_fail("required and absent is not refused");
	}
	host_close(&h);
}

/* The controller may take an address in one of its BARs for its own: no memory is there. */
static void memory_stays_off_its_bars(struct vm *vm)
{
	const size_t len = 1 << 20;
	struct bh_iova_cache cache = { 0 };
	struct bh_pool *pool = NULL;
	uint64_t bar, iova = 0;
	void *va;
	int fd;

	VM_CHECK(bh_device_bar_address(vm->dev, 2, &bar) == 0 && (bar & (len - 1)) == 0);
	fd = memfd_create("bar", MFD_CLOEXEC);
	VM_CHECK(fd >= 0 && ftruncate(fd, (off_t)len) == 0);
	va = mmap((void *)(uintptr_t)bar, len, PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	VM_CHECK(va == (void *)(uintptr_t)bar);
	VM_CHECK(bh_pool_import(va, len, fd, 0, "bar", &pool) == 0);
	VM_CHECK(bh_dma_space_add(vm->space, pool) == 0);
	VM_CHECK(bh_iova_translate(bh_device_iova_map(vm->dev), &cache, va, len, &iova));
	VM_CHECK(iova + len <= bar || iova >= bar + len);
	VM_CHECK(bh_dma_space_remove(vm->space, pool) == 0);
	bh_pool_destroy(pool);
	munmap(va, len);
	close(fd);
}

static const struct vm_case cases[] = {
	{ "default_stays_in_host_memory", default_stays_in_host_memory, false },
	{ "default_takes_write_combining", default_takes_write_combining, true },
	{ "entries_in_the_buffer", entries_in_the_buffer, false },
	{ "lists_in_the_buffer", lists_in_the_buffer, false },
	{ "after_controller_reset", after_controller_reset, false },
	{ "after_function_reset", after_function_reset, false },
	{ "off_leaves_it_alone", off_leaves_it_alone, false },
	{ "absent_is_said", absent_is_said, false },
	{ "memory_stays_off_its_bars", memory_stays_off_its_bars, false },
};

int main(int argc, char **argv)
{
	return vm_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}

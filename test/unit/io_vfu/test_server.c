/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our client against our server, in one process: a device with one register set and a job that
 * moves memory. What the scripted server of the other tests takes for granted is agreed upon here.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bellhop/vfu_server.h>

#include "io_vfu/io_vfu.h"
#include "unit.h"

#define BAR_BYTES 0x4000u
#define VECTORS 20u
#define REG_IOVA 0x100u
#define REG_LEN 0x108u
#define REG_PATTERN 0x10cu
#define REG_START 0x110u
#define REG_STATUS 0x114u
#define BUSY 0x7fffffffu
#define JOB_MAX 200000u

static struct {
	char dir[64], path[96];
	struct bh_reactor *reactor;
	struct bh_vfu_server *server;
	struct bh_dma_space *space;
	struct bh_pool *pool;
	int bar_fd, kick_fd, shadow_fd;
	uint8_t bar[BAR_BYTES];
	uint8_t data[JOB_MAX], back[JOB_MAX];
	unsigned int resets;
	bool never_quiet; /* __atomic */
	bool owes;	  /* a quiesce not answered */
} rig;

/* ---- the device, on the reactor's thread ---- */

static uint32_t reg32(uint32_t offset)
{
	uint32_t v;

	memcpy(&v, rig.bar + offset, sizeof(v));
	return v;
}

static void set_status(uint32_t status)
{
	memcpy(rig.bar + REG_STATUS, &status, sizeof(status));
}

static void job_read(void *arg, int status)
{
	(void)arg;
	if (status == 0 && memcmp(rig.data, rig.back, reg32(REG_LEN)) != 0)
		status = -EILSEQ;
	set_status((uint32_t)-status);
}

static void job_written(void *arg, int status)
{
	uint64_t iova;

	(void)arg;
	memcpy(&iova, rig.bar + REG_IOVA, sizeof(iova));
	if (status != 0)
		set_status((uint32_t)-status);
	else
		bh_cmem_read(bh_vfu_server_cmem(rig.server), iova, rig.back, reg32(REG_LEN),
			     job_read, NULL);
}

static void job_start(void)
{
	uint64_t iova;

	memcpy(&iova, rig.bar + REG_IOVA, sizeof(iova));
	memset(rig.data, (int)reg32(REG_PATTERN), sizeof(rig.data));
	set_status(BUSY);
	bh_cmem_write(bh_vfu_server_cmem(rig.server), iova, rig.data, reg32(REG_LEN), job_written,
		      NULL);
}

static int dev_access(void *ctx, unsigned int region, uint64_t offset, void *buf, size_t count,
		      bool write)
{
	(void)ctx;
	(void)region;
	if (write)
		memcpy(rig.bar + offset, buf, count);
	else
		memcpy(buf, rig.bar + offset, count);
	if (write && offset == REG_START)
		job_start();
	return 0;
}

static void dev_quiesce(void *ctx, enum bh_quiesce_reason reason, uint64_t iova, uint64_t len)
{
	(void)ctx;
	(void)reason;
	(void)iova;
	(void)len;
	rig.owes = __atomic_load_n(&rig.never_quiet, __ATOMIC_ACQUIRE);
	if (!rig.owes)
		bh_vfu_server_quiesced(rig.server);
}

static void dev_resume(void *ctx, enum bh_quiesce_reason reason)
{
	(void)ctx;
	(void)reason;
}

static void dev_reset(void *ctx, enum bh_reset_reason reason)
{
	(void)ctx;
	rig.resets += reason == BH_RESET_DEVICE;
}

static void dev_fatal(void *ctx)
{
	(void)ctx;
}

static const struct bh_vfu_ops dev_ops = {
	.access = dev_access,
	.quiesce = dev_quiesce,
	.resume = dev_resume,
	.reset = dev_reset,
	.fatal = dev_fatal,
};

static int server_start(void)
{
	static const struct bh_vfu_area doorbells = { .offset = 0x1000, .len = 0x1000 };
	struct bh_vfu_server_opts o;
	struct bh_vfu_io_fd io = { .region = 0,
				   .offset = 0x2000,
				   .len = 4,
				   .eventfd = rig.kick_fd,
				   .shadow_fd = rig.shadow_fd,
				   .shadow_offset = 0x40 };

	bh_vfu_server_opts_init(&o);
	o.path = rig.path;
	o.control = rig.reactor;
	o.ops = &dev_ops;
	o.vendor = 0x1b36;
	o.device = 0x0010;
	o.class_code = 0x010802;
	o.msix_vectors = VECTORS;
	o.msix_bar = 4;
	o.quiesce_ns = 100000000;
	o.bar[0].bytes = BAR_BYTES;
	o.bar[0].is_64 = true;
	o.bar[0].fd = rig.bar_fd;
	o.bar[0].areas = &doorbells;
	o.bar[0].num_areas = 1;
	if (bh_vfu_server_create(&o, &rig.server) != 0 ||
	    bh_vfu_server_io_fd_add(rig.server, &io) != 0)
		return -1;
	return bh_reactor_start(rig.reactor);
}

static void server_stop(void)
{
	bh_reactor_stop(rig.reactor);
	if (rig.owes) {
		rig.owes = false;
		bh_vfu_server_quiesced(rig.server);
	}
	bh_vfu_server_destroy(rig.server);
	rig.server = NULL;
}

static int setup(void)
{
	struct bh_reactor_opts ro;
	struct bh_pool_opts po;

	memset(&rig, 0, sizeof(rig));
	strcpy(rig.dir, "/tmp/bh-io-vfu-XXXXXX");
	if (!mkdtemp(rig.dir))
		return 1;
	snprintf(rig.path, sizeof(rig.path), "%s/s", rig.dir);
	rig.bar_fd = memfd_create("bar", MFD_CLOEXEC);
	rig.shadow_fd = memfd_create("shadow", MFD_CLOEXEC);
	rig.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	bh_reactor_opts_init(&ro);
	bh_pool_opts_init(&po);
	po.bytes = 1024 * 1024;
	po.page_size = 4096;
	if (ftruncate(rig.bar_fd, BAR_BYTES) != 0 || ftruncate(rig.shadow_fd, 4096) != 0 ||
	    bh_reactor_create(&ro, &rig.reactor) != 0 || bh_pool_create(&po, &rig.pool) != 0 ||
	    bh_dma_space_create(NULL, &rig.space) != 0 ||
	    bh_dma_space_add(rig.space, rig.pool) != 0)
		return 1;
	return server_start();
}

static int teardown(void)
{
	server_stop();
	bh_reactor_destroy(rig.reactor);
	bh_dma_space_destroy(rig.space);
	bh_pool_destroy(rig.pool);
	close(rig.bar_fd);
	close(rig.shadow_fd);
	close(rig.kick_fd);
	return rmdir(rig.dir);
}

/* ---- the host ---- */

static struct bh_device *open_as(enum bh_dma_access access, bool twin)
{
	struct bh_device_opts opts;
	struct bh_device *dev = NULL;

	bh_device_opts_init(&opts);
	opts.space = rig.space;
	opts.dma_access = access;
	opts.twin_socket = twin;
	CU_ASSERT_EQUAL_FATAL(bh_io_vfu_open(rig.path, &opts, &dev), 0);
	CU_ASSERT_EQUAL(bh_device_bus_master(dev, true), 0);
	return dev;
}

/* The device fills memory and reads it back: 0 or an errno. */
static uint32_t run_job(struct bh_device *dev, uint64_t iova, uint32_t len, uint32_t pattern)
{
	uint32_t status = BUSY;

	CU_ASSERT_EQUAL(bh_device_region_write(dev, 0, REG_IOVA, &iova, 8), 0);
	CU_ASSERT_EQUAL(bh_device_region_write(dev, 0, REG_LEN, &len, 4), 0);
	CU_ASSERT_EQUAL(bh_device_region_post(dev, 0, REG_PATTERN, &pattern, 4), 0);
	CU_ASSERT_EQUAL(bh_device_region_post(dev, 0, REG_START, &pattern, 4), 0);
	for (int i = 0; i < 5000 && status == BUSY; i++) {
		CU_ASSERT_EQUAL_FATAL(bh_device_region_read(dev, 0, REG_STATUS, &status, 4), 0);
		if (status == BUSY)
			usleep(1000);
	}
	return status;
}

static void device_is_what_the_server_says(void)
{
	struct bh_device *dev = open_as(BH_DMA_ACCESS_AUTO, true);
	uint64_t caps = bh_device_caps(dev);
	struct bh_region_info region;
	struct bh_irq_info irq;

	CU_ASSERT_EQUAL(bh_device_info(dev)->vendor, 0x1b36);
	CU_ASSERT_EQUAL(bh_device_info(dev)->class_code, 0x010802);
	CU_ASSERT_EQUAL(caps, BH_CAP_DMA_MAP_FD | BH_CAP_DMA_MESSAGE | BH_CAP_DMA_FILE_IO |
				      BH_CAP_REOPEN | BH_CAP_POSTED_WRITE | BH_CAP_REGION_MMAP |
				      BH_CAP_IRQ_EVENTFD | BH_CAP_IRQ_MASK | BH_CAP_RESET |
				      BH_CAP_IOEVENTFD);
	CU_ASSERT_EQUAL(bh_device_region_info(dev, 0, &region), 0);
	CU_ASSERT_EQUAL(region.len, BAR_BYTES);
	CU_ASSERT_EQUAL_FATAL(region.num_areas, 1);
	CU_ASSERT_EQUAL(region.areas[0].offset, 0x1000);
	CU_ASSERT_EQUAL(bh_device_irq_info(dev, BH_PCI_MSIX, &irq), 0);
	CU_ASSERT_EQUAL(irq.count, VECTORS);
	CU_ASSERT_EQUAL(bh_device_reset(dev), 0);
	CU_ASSERT_EQUAL(rig.resets, 1);
	bh_device_close(dev);
}

static void memory_moves_in_every_access_mode(void)
{
	uint8_t *p = bh_pool_alloc(rig.pool, JOB_MAX + 64, 64);
	static const uint32_t lens[] = { 1, 8, 4096, JOB_MAX };

	for (int mode = BH_DMA_ACCESS_AUTO; mode <= BH_DMA_ACCESS_MESSAGE; mode++) {
		for (int twin = 0; twin < 2; twin++) {
			struct bh_device *dev = open_as((enum bh_dma_access)mode, twin);

			for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
				memset(p, 0xee, JOB_MAX + 64);
				CU_ASSERT_EQUAL(
					run_job(dev, (uintptr_t)p + 3, lens[i], (uint32_t)i + 1),
					0);
				CU_ASSERT_EQUAL(p[2], 0xee);
				CU_ASSERT_EQUAL(p[3], i + 1);
				CU_ASSERT_EQUAL(p[3 + lens[i] - 1], i + 1);
				CU_ASSERT_EQUAL(p[3 + lens[i]], 0xee);
			}
			CU_ASSERT_EQUAL(run_job(dev, 0x1000, 8, 1), EFAULT);
			bh_device_close(dev);
		}
	}
	bh_pool_free(rig.pool, p);
}

static void pools_come_and_go(void)
{
	struct bh_device *dev = open_as(BH_DMA_ACCESS_AUTO, true);
	uintptr_t p = (uintptr_t)bh_pool_mem(rig.pool)->va;

	for (int i = 0; i < 5; i++) {
		CU_ASSERT_EQUAL(run_job(dev, p, 64, 1), 0);
		CU_ASSERT_EQUAL(bh_dma_space_remove(rig.space, rig.pool), 0);
		CU_ASSERT_EQUAL(run_job(dev, p, 64, 1), EFAULT);
		CU_ASSERT_EQUAL(bh_dma_space_add(rig.space, rig.pool), 0);
	}
	CU_ASSERT_FALSE(bh_device_gone(dev));
	bh_device_close(dev);
}

static void doorbell_page_is_shared(void)
{
	struct bh_device *dev = open_as(BH_DMA_ACCESS_AUTO, true);
	struct bh_map map;
	uint32_t back = 0;

	CU_ASSERT_EQUAL_FATAL(bh_device_map_bar(dev, 0, 0x1000, 0x1000, BH_ATTR_UC, 0, &map), 0);
	*(volatile uint32_t *)(map.va + 8) = 99;
	CU_ASSERT_EQUAL(pread(rig.bar_fd, &back, 4, 0x1008), 4);
	CU_ASSERT_EQUAL(back, 99);
	bh_device_unmap_bar(dev, &map);
	bh_device_close(dev);
}

static void io_fds_kick_and_tell(void)
{
	struct bh_device *dev = open_as(BH_DMA_ACCESS_AUTO, true);
	struct bh_region_io_fd io[2];
	uint32_t value = 0x55, back = 0;
	uint64_t n = 0;

	CU_ASSERT_EQUAL_FATAL(bh_device_region_io_fds(dev, 0, io, 2), 1);
	CU_ASSERT_EQUAL(io[0].offset, 0x2000);
	CU_ASSERT_EQUAL(io[0].len, 4);
	CU_ASSERT_PTR_NOT_NULL_FATAL(io[0].shadow);
	memcpy(io[0].shadow, &value, 4);
	CU_ASSERT_EQUAL(eventfd_write(io[0].eventfd, 1), 0);
	CU_ASSERT_EQUAL(pread(rig.shadow_fd, &back, 4, 0x40), 4);
	CU_ASSERT_EQUAL(back, value);
	CU_ASSERT_EQUAL(eventfd_read(rig.kick_fd, &n), 0);
	bh_device_close(dev);
}

static bool fired(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t n;

	return poll(&p, 1, ms) == 1 && eventfd_read(fd, &n) == 0;
}

static void interrupts_arrive_unless_masked(void)
{
	struct bh_device *dev = open_as(BH_DMA_ACCESS_AUTO, true);
	int fds[VECTORS];

	for (unsigned int i = 0; i < VECTORS; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CU_ASSERT_EQUAL(bh_device_irq_bind(dev, BH_PCI_MSIX, 0, VECTORS, fds), 0);
	CU_ASSERT_EQUAL(bh_device_irq_trigger(dev, BH_PCI_MSIX, 19), 0);
	CU_ASSERT_TRUE(fired(fds[19], 1000));
	CU_ASSERT_TRUE(bh_vfu_irq_raise(rig.server, 7));
	CU_ASSERT_TRUE(fired(fds[7], 1000));
	CU_ASSERT_EQUAL(bh_device_irq_mask(dev, BH_PCI_MSIX, 7, true), 0);
	CU_ASSERT_FALSE(bh_vfu_irq_raise(rig.server, 7));
	CU_ASSERT_FALSE(fired(fds[7], 0));
	CU_ASSERT_EQUAL(bh_device_irq_unmask(dev, BH_PCI_MSIX, 7, true), 0);
	CU_ASSERT_TRUE(fired(fds[7], 1000)); /* it was pending */
	CU_ASSERT_EQUAL(bh_device_irq_disable(dev, BH_PCI_MSIX), 0);
	CU_ASSERT_FALSE(bh_vfu_irq_raise(rig.server, 7));
	bh_device_close(dev);
	for (unsigned int i = 0; i < VECTORS; i++)
		close(fds[i]);
}

static void a_second_client_is_told_that_it_is_busy(void)
{
	struct bh_device *dev = open_as(BH_DMA_ACCESS_AUTO, true), *other;
	struct bh_device_opts opts;

	bh_device_opts_init(&opts);
	opts.space = rig.space;
	opts.timeout_ns = 200000000;
	CU_ASSERT_EQUAL(bh_io_vfu_open(rig.path, &opts, &other), -EBUSY);
	CU_ASSERT_FALSE(bh_device_gone(dev));
	bh_device_close(dev);
	dev = open_as(BH_DMA_ACCESS_AUTO, true);
	bh_device_close(dev);
}

static void a_device_comes_back_with_its_server(void)
{
	struct bh_device *dev = open_as(BH_DMA_ACCESS_AUTO, true);
	uintptr_t p = (uintptr_t)bh_pool_mem(rig.pool)->va;

	server_stop();
	for (int i = 0; i < 5000 && !bh_device_gone(dev); i++)
		usleep(1000);
	CU_ASSERT_TRUE_FATAL(bh_device_gone(dev));
	CU_ASSERT_EQUAL(bh_device_reopen(dev), -ENODEV);
	CU_ASSERT_EQUAL_FATAL(server_start(), 0);
	CU_ASSERT_EQUAL_FATAL(bh_device_reopen(dev), 0);
	CU_ASSERT_EQUAL(bh_device_bus_master(dev, true), 0);
	CU_ASSERT_EQUAL(run_job(dev, p, 64, 1), 0);
	bh_device_close(dev);
}

static void a_device_that_keeps_memory_is_declared_gone(void)
{
	struct bh_device *dev = open_as(BH_DMA_ACCESS_AUTO, true);

	__atomic_store_n(&rig.never_quiet, true, __ATOMIC_RELEASE);
	CU_ASSERT_EQUAL(bh_dma_space_remove(rig.space, rig.pool), 0);
	CU_ASSERT_TRUE(bh_device_gone(dev));
	__atomic_store_n(&rig.never_quiet, false, __ATOMIC_RELEASE);
	bh_device_close(dev);
}

BH_SUITE_FIXTURE("io_vfu server", setup, teardown,
		 { "device_is_what_the_server_says", device_is_what_the_server_says },
		 { "memory_moves_in_every_access_mode", memory_moves_in_every_access_mode },
		 { "pools_come_and_go", pools_come_and_go },
		 { "doorbell_page_is_shared", doorbell_page_is_shared },
		 { "io_fds_kick_and_tell", io_fds_kick_and_tell },
		 { "interrupts_arrive_unless_masked", interrupts_arrive_unless_masked },
		 { "a_second_client_is_told_that_it_is_busy",
		   a_second_client_is_told_that_it_is_busy },
		 { "a_device_comes_back_with_its_server", a_device_comes_back_with_its_server },
		 { "a_device_that_keeps_memory_is_declared_gone",
		   a_device_that_keeps_memory_is_declared_gone }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/* The wrappers, over a backend that records what reaches it. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"
#include "unit.h"

struct fake {
	struct bh_device dev;
	uint8_t config[256];
	unsigned int reads, writes, posts, calls;
	unsigned int start, count;
	bool masked;
	bool closed;
};

static struct fake *to_fake(struct bh_device *dev)
{
	return (struct fake *)dev;
}

static void f_close(struct bh_device *dev)
{
	to_fake(dev)->closed = true;
}

static int f_reopen(struct bh_device *dev)
{
	bh__device_clear_gone(dev);
	return 0;
}

/* 0: read-write, mappable; 1: read-only; 2: absent; 7: configuration space; 8: ends at 2^64 - 1. */
static int f_region_info(struct bh_device *dev, unsigned int region, struct bh_region_info *info)
{
	(void)dev;
	memset(info, 0, sizeof(*info));
	if (region > 8)
		return -EINVAL;
	info->flags = BH_REGION_READ | BH_REGION_WRITE;
	info->len = region == 8 ? UINT64_MAX : region == 7 ? 256 : region < 2 ? 4096 : 0;
	if (region == 1)
		info->flags = BH_REGION_READ;
	return 0;
}

static int f_region_read(struct bh_device *dev, unsigned int region, uint64_t offset, void *buf,
			 size_t count)
{
	to_fake(dev)->reads++;
	if (region == 7)
		memcpy(buf, to_fake(dev)->config + offset, count);
	else
		memset(buf, 0x5a, count);
	return 0;
}

static int f_region_write(struct bh_device *dev, unsigned int region, uint64_t offset,
			  const void *buf, size_t count)
{
	to_fake(dev)->writes++;
	if (region == 7)
		memcpy(to_fake(dev)->config + offset, buf, count);
	return 0;
}

static int f_region_post(struct bh_device *dev, unsigned int region, uint64_t offset,
			 const void *buf, size_t count)
{
	(void)region;
	(void)offset;
	(void)buf;
	(void)count;
	to_fake(dev)->posts++;
	return 0;
}

static int f_region_io_fds(struct bh_device *dev, unsigned int region, struct bh_region_io_fd *out,
			   unsigned int max)
{
	(void)dev;
	(void)region;
	(void)out;
	(void)max;
	return 0;
}

static int f_map_bar(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
		     enum bh_attr want, unsigned int flags, struct bh_map *map)
{
	static uint8_t page[4096];

	(void)bar;
	(void)flags;
	to_fake(dev)->calls++;
	map->va = page + offset;
	map->offset = offset;
	map->len = len;
	map->requested = want;
	return 0;
}

static void f_unmap_bar(struct bh_device *dev, struct bh_map *map)
{
	(void)map;
	to_fake(dev)->calls--;
}

/* 0: no vectors; 1: not maskable, no eventfds; 2: 8 vectors that can do everything. */
static int f_irq_info(struct bh_device *dev, unsigned int irq, struct bh_irq_info *info)
{
	(void)dev;
	if (irq > 2)
		return -EINVAL;
	info->count = irq == 0 ? 0 : 8;
	info->flags = irq == 2 ? BH_IRQ_EVENTFD | BH_IRQ_MASKABLE : 0;
	return 0;
}

static int f_irq_bind(struct bh_device *dev, unsigned int irq, unsigned int start,
		      unsigned int count, const int *eventfds)
{
	(void)irq;
	(void)eventfds;
	to_fake(dev)->start = start;
	to_fake(dev)->count = count;
	return 0;
}

static int f_irq_disable(struct bh_device *dev, unsigned int irq)
{
	(void)irq;
	to_fake(dev)->calls++;
	return 0;
}

static int f_irq_trigger(struct bh_device *dev, unsigned int irq, unsigned int vector)
{
	(void)irq;
	(void)vector;
	to_fake(dev)->calls++;
	return 0;
}

static int f_irq_mask(struct bh_device *dev, unsigned int irq, unsigned int vector, bool masked,
		      bool wait)
{
	(void)irq;
	(void)vector;
	(void)wait;
	to_fake(dev)->masked = masked;
	return 0;
}

static int f_reset(struct bh_device *dev)
{
	to_fake(dev)->calls++;
	return 0;
}

static int f_dmabuf_revoke(struct bh_device *dev, int fd)
{
	to_fake(dev)->calls++;
	return fd < 0 ? -EINVAL : 0;
}

static const struct bh_io_ops full_ops = {
	.name = "fake",
	.caps = BH_CAP_REOPEN | BH_CAP_POSTED_WRITE | BH_CAP_IOEVENTFD | BH_CAP_REGION_MMAP |
		BH_CAP_IRQ_EVENTFD | BH_CAP_IRQ_MASK | BH_CAP_RESET | BH_CAP_DMA_MAP_FD |
		BH_CAP_DMABUF_REVOKE,
	.close = f_close,
	.reopen = f_reopen,
	.region_info = f_region_info,
	.region_read = f_region_read,
	.region_write = f_region_write,
	.region_post = f_region_post,
	.region_io_fds = f_region_io_fds,
	.map_bar = f_map_bar,
	.unmap_bar = f_unmap_bar,
	.irq_info = f_irq_info,
	.irq_bind = f_irq_bind,
	.irq_disable = f_irq_disable,
	.irq_mask = f_irq_mask,
	.irq_trigger = f_irq_trigger,
	.reset = f_reset,
	.dmabuf_revoke = f_dmabuf_revoke,
};

static struct bh_dma_space *space;
static struct fake fake;
static struct bh_device *const dev = &fake.dev;

static int setup(void)
{
	struct bh_device_opts opts;

	memset(&fake, 0, sizeof(fake));
	if (bh_dma_space_create(NULL, &space) != 0)
		return 1;
	bh_device_opts_init(&opts);
	opts.space = space;
	if (bh__device_init(dev, &full_ops, "fake:0", &opts) != 0)
		return 1;
	bh__device_set_caps(dev, UINT64_MAX);
	return 0;
}

static int teardown(void)
{
	bh__device_fini(dev);
	bh_dma_space_destroy(space);
	return 0;
}

static void options_have_defaults(void)
{
	struct bh_device_opts opts, out;

	bh_device_opts_init(&opts);
	CU_ASSERT_EQUAL(opts.size, sizeof(opts));
	CU_ASSERT_EQUAL(opts.timeout_ns, 10000000000ull);
	CU_ASSERT_TRUE(opts.twin_socket);
	CU_ASSERT_EQUAL(bh__device_opts_read(&opts, &out), -EINVAL); /* no space */
	CU_ASSERT_EQUAL(bh__device_opts_read(NULL, &out), -EINVAL);
	opts.space = space;
	CU_ASSERT_EQUAL(bh__device_opts_read(&opts, &out), 0);
	opts.size = offsetof(struct bh_device_opts, timeout_ns);
	opts.timeout_ns = 1;
	CU_ASSERT_EQUAL(bh__device_opts_read(&opts, &out), 0);
	CU_ASSERT_EQUAL(out.timeout_ns, 10000000000ull);
	opts.size = sizeof(opts) + 1;
	CU_ASSERT_EQUAL(bh__device_opts_read(&opts, &out), -EINVAL);
	opts.size = 0;
	CU_ASSERT_EQUAL(bh__device_opts_read(&opts, &out), -EINVAL);
	opts.size = sizeof(opts);
	opts.dma_access = (enum bh_dma_access)4;
	CU_ASSERT_EQUAL(bh__device_opts_read(&opts, &out), -EINVAL);
}

static void init_refuses_inconsistent_table(void)
{
	struct bh_device_opts opts;
	struct bh_device other;
	struct bh_io_ops ops;
	const uint64_t bits[] = { BH_CAP_REOPEN,      BH_CAP_POSTED_WRITE, BH_CAP_IOEVENTFD,
				  BH_CAP_REGION_MMAP, BH_CAP_IRQ_EVENTFD,  BH_CAP_IRQ_MASK,
				  BH_CAP_RESET,	      BH_CAP_DMABUF_REVOKE };

	bh_device_opts_init(&opts);
	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		ops = full_ops;
		ops.caps &= ~bits[i];
		CU_ASSERT_EQUAL(bh__device_init(&other, &ops, "x", &opts), -EINVAL);
	}
	ops = full_ops;
	ops.reset = NULL;
	CU_ASSERT_EQUAL(bh__device_init(&other, &ops, "x", &opts), -EINVAL);
	ops = full_ops;
	ops.region_read = NULL;
	CU_ASSERT_EQUAL(bh__device_init(&other, &ops, "x", &opts), -EINVAL);
}

static void caps_are_a_subset_and_have_names(void)
{
	CU_ASSERT_EQUAL(bh_device_caps(dev), full_ops.caps);
	CU_ASSERT_STRING_EQUAL(bh_cap_str(BH_CAP_REGION_MMAP), "REGION_MMAP");
	CU_ASSERT_STRING_EQUAL(bh_cap_str(BH_CAP_REOPEN), "REOPEN");
	CU_ASSERT_STRING_EQUAL(bh_cap_str(BH_CAP_DMA_PEER), "DMA_PEER");
	CU_ASSERT_PTR_NULL(bh_cap_str(BH_CAP_DMA_PEER << 1));
	CU_ASSERT_PTR_NULL(bh_cap_str(3));
	CU_ASSERT_PTR_NULL(bh_cap_str(0));
}

static void clear_capability_is_eopnotsupp(void)
{
	struct bh_region_io_fd io_fd;
	struct bh_map map;
	int fd = -1;

	bh__device_set_caps(dev, 0);
	CU_ASSERT_EQUAL(bh_device_region_post(dev, 0, 0, "", 1), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 0, 0, 4096, BH_ATTR_UC, 0, &map), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_device_region_io_fds(dev, 0, &io_fd, 1), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_device_irq_bind(dev, 2, 0, 1, &fd), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_device_irq_disable(dev, 2), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_device_irq_mask(dev, 2, 0, true), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_device_irq_trigger(dev, 2, 0), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_device_reset(dev), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(fake.calls, 0);
}

static void region_accesses_are_checked(void)
{
	uint8_t buf[16];

	CU_ASSERT_EQUAL(bh_device_region_read(dev, 0, 4080, buf, 16), 0);
	CU_ASSERT_EQUAL(bh_device_region_read(dev, 0, 4081, buf, 16), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_region_read(dev, 0, UINT64_MAX - 4, buf, 16), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_region_read(dev, 8, UINT64_MAX - 4, buf, 8), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_region_read(dev, 8, UINT64_MAX - 8, buf, 8), 0);
	CU_ASSERT_EQUAL(bh_device_region_read(dev, 2, 0, buf, 1), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_region_read(dev, 9, 0, buf, 1), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_region_write(dev, 1, 0, buf, 1), -EPERM);
	CU_ASSERT_EQUAL(bh_device_region_post(dev, 1, 0, buf, 1), -EPERM);
	CU_ASSERT_EQUAL(bh_device_region_write(dev, 0, 0, buf, 0), 0);
	CU_ASSERT_EQUAL(fake.writes, 0);
	CU_ASSERT_EQUAL(bh_device_region_write(dev, 0, 0, buf, 4), 0);
	CU_ASSERT_EQUAL(bh_device_region_post(dev, 0, 0, buf, 4), 0);
	CU_ASSERT_EQUAL(fake.reads, 2);
	CU_ASSERT_EQUAL(fake.writes, 1);
	CU_ASSERT_EQUAL(fake.posts, 1);
}

static void bus_master_changes_two_bits(void)
{
	fake.config[4] = 0x01;
	fake.config[5] = 0x04;
	CU_ASSERT_EQUAL(bh_device_bus_master(dev, true), 0);
	CU_ASSERT_EQUAL(fake.config[4], 0x07);
	CU_ASSERT_EQUAL(fake.config[5], 0x04);
	CU_ASSERT_EQUAL(bh_device_bus_master(dev, false), 0);
	CU_ASSERT_EQUAL(fake.config[4], 0x03);
	CU_ASSERT_EQUAL(fake.config[5], 0x04);
}

static void pin_off_changes_one_bit(void)
{
	fake.config[4] = 0x06;
	fake.config[5] = 0x01;
	CU_ASSERT_EQUAL(bh_device_pin_off(dev), 0);
	CU_ASSERT_EQUAL(fake.config[4], 0x06);
	CU_ASSERT_EQUAL(fake.config[5], 0x05);
}

static void identity_is_read(void)
{
	static const uint8_t header[] = {
		0x36, 0x1b, 0x10, 0x00, 0, 0, 0, 0, 0x02, 0x02, 0x08, 0x01
	};

	memcpy(fake.config, header, sizeof(header));
	fake.config[0x2c] = 0xf4;
	fake.config[0x2d] = 0x1a;
	fake.config[0x2f] = 0x11;
	CU_ASSERT_EQUAL(bh__device_read_ids(dev), 0);
	CU_ASSERT_EQUAL(bh_device_info(dev)->vendor, 0x1b36);
	CU_ASSERT_EQUAL(bh_device_info(dev)->device, 0x0010);
	CU_ASSERT_EQUAL(bh_device_info(dev)->revision, 2);
	CU_ASSERT_EQUAL(bh_device_info(dev)->class_code, 0x010802);
	CU_ASSERT_EQUAL(bh_device_info(dev)->subsystem_vendor, 0x1af4);
	CU_ASSERT_EQUAL(bh_device_info(dev)->subsystem, 0x1100);
	CU_ASSERT_STRING_EQUAL(bh_device_info(dev)->address, "fake:0");
	memset(fake.config, 0xff, sizeof(fake.config));
	CU_ASSERT_EQUAL(bh__device_read_ids(dev), -ENODEV);
}

static void map_bar_is_checked(void)
{
	struct bh_map map;

	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 0, 0, 0, BH_ATTR_UC, 0, &map), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 0, 0, 4097, BH_ATTR_UC, 0, &map), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 0, 4096, 1, BH_ATTR_UC, 0, &map), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 0, 0, 1, BH_ATTR_MEMORY, 0, &map), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 0, 0, 1, BH_ATTR_UC, 2, &map), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 9, 0, 1, BH_ATTR_UC, 0, &map), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 0, 16, 32, BH_ATTR_WC, BH_MAP_STRICT, &map), 0);
	CU_ASSERT_EQUAL(fake.calls, 1);
	bh_device_unmap_bar(dev, &map);
	bh_device_unmap_bar(dev, &map);
	bh_device_unmap_bar(dev, NULL);
	CU_ASSERT_EQUAL(fake.calls, 0);
}

static void vectors_are_checked(void)
{
	int fds[8] = { -1, -1, -1, -1, -1, -1, -1, -1 };

	CU_ASSERT_EQUAL(bh_device_irq_bind(dev, 2, 2, 6, fds), 0);
	CU_ASSERT_EQUAL(fake.start, 2);
	CU_ASSERT_EQUAL(fake.count, 6);
	CU_ASSERT_EQUAL(bh_device_irq_bind(dev, 2, 3, 6, fds), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_irq_bind(dev, 2, UINT32_MAX, 2, fds), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_irq_bind(dev, 2, 0, 0, fds), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_irq_bind(dev, 3, 0, 1, fds), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_irq_bind(dev, 1, 0, 1, fds), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_device_irq_disable(dev, 0), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_irq_mask(dev, 1, 0, true), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_device_irq_mask(dev, 2, 8, true), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_irq_mask(dev, 2, 7, true), 0);
	CU_ASSERT_TRUE(fake.masked);
	CU_ASSERT_EQUAL(bh_device_irq_unmask(dev, 2, 7, false), 0);
	CU_ASSERT_FALSE(fake.masked);
	CU_ASSERT_EQUAL(bh_device_irq_trigger(dev, 2, 8), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_irq_trigger(dev, 2, 1), 0);
}

struct counter {
	struct bh_gone_listener listener;
	int calls;
};

static void count_gone(struct bh_gone_listener *listener)
{
	((struct counter *)listener)->calls++;
}

static void loss_is_announced_once(void)
{
	struct counter a = { .listener.gone = count_gone }, b = a, c = a;
	uint8_t buf[4];

	bh_device_gone_listen(dev, &a.listener);
	bh_device_gone_listen(dev, &b.listener);
	bh_device_gone_unlisten(dev, &b.listener);
	bh_device_gone_unlisten(dev, &b.listener);
	CU_ASSERT_EQUAL(bh_device_reopen(dev), -EBUSY);
	bh__device_mark_gone(dev);
	CU_ASSERT_TRUE(bh_device_gone(dev));
	CU_ASSERT_EQUAL(a.calls, 0);
	CU_ASSERT_EQUAL(bh_device_region_read(dev, 0, 0, buf, 4), -ENODEV);
	bh__device_set_gone(dev);
	bh__device_set_gone(dev);
	bh__device_mark_gone(dev);
	bh__device_set_gone(dev);
	CU_ASSERT_EQUAL(a.calls, 1);
	CU_ASSERT_EQUAL(b.calls, 0);
	bh_device_gone_listen(dev, &c.listener);
	CU_ASSERT_EQUAL(c.calls, 1);
	CU_ASSERT_EQUAL(bh_device_reset(dev), -ENODEV);
	CU_ASSERT_EQUAL(bh_device_irq_trigger(dev, 2, 0), -ENODEV);
	CU_ASSERT_EQUAL(bh_device_reopen(dev), 0);
	CU_ASSERT_FALSE(bh_device_gone(dev));
	CU_ASSERT_EQUAL(bh_device_reset(dev), 0);
	bh__device_set_gone(dev);
	CU_ASSERT_EQUAL(a.calls, 2);
	CU_ASSERT_EQUAL(c.calls, 2);
	bh_device_gone_unlisten(dev, &a.listener);
	bh_device_gone_unlisten(dev, &c.listener);
}

static void *announce(void *arg)
{
	(void)arg;
	bh__device_set_gone(dev);
	return NULL;
}

static void unlisten_waits_for_the_announcement(void)
{
	for (int i = 0; i < 200; i++) {
		struct counter *c = calloc(1, sizeof(*c));
		pthread_t thread;

		c->listener.gone = count_gone;
		bh_device_gone_listen(dev, &c->listener);
		CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, announce, NULL), 0);
		bh_device_gone_unlisten(dev, &c->listener);
		CU_ASSERT_TRUE(c->calls <= 1);
		free(c);
		pthread_join(thread, NULL);
		bh__device_clear_gone(dev);
	}
}

struct heard {
	struct bh_event_listener listener;
	unsigned int removals, errors;
};

static void on_event(struct bh_event_listener *listener, enum bh_device_event event)
{
	struct heard *h = (struct heard *)listener;

	if (event == BH_DEVICE_REMOVE_REQUEST)
		h->removals++;
	else
		h->errors++;
}

static void events_reach_their_listeners(void)
{
	struct heard a = { .listener = { .event = on_event } }, b = a;

	bh_device_event_listen(&fake.dev, &a.listener);
	bh__device_event(&fake.dev, BH_DEVICE_ERROR);
	bh__device_event(&fake.dev, BH_DEVICE_REMOVE_REQUEST);
	/* A request for removal is open until the device is closed; an error is over. */
	bh_device_event_listen(&fake.dev, &b.listener);
	CU_ASSERT_EQUAL(a.errors, 1);
	CU_ASSERT_EQUAL(a.removals, 1);
	CU_ASSERT_EQUAL(b.errors, 0);
	CU_ASSERT_EQUAL(b.removals, 1);
	bh_device_event_unlisten(&fake.dev, &a.listener);
	bh_device_event_unlisten(&fake.dev, &a.listener);
	bh__device_event(&fake.dev, BH_DEVICE_REMOVE_REQUEST);
	CU_ASSERT_EQUAL(a.removals, 1);
	CU_ASSERT_EQUAL(b.removals, 2);
	bh_device_event_unlisten(&fake.dev, &b.listener);
}

static void check_and_windows_have_defaults(void)
{
	const struct bh_map map = { .len = 4096 };
	struct bh_iova_window window;
	struct bh_pool *pool = NULL;
	int fd = 0;

	CU_ASSERT_TRUE(bh_device_check(&fake.dev));
	CU_ASSERT_EQUAL(bh_device_iova_windows(&fake.dev, &window, 1), 0);
	CU_ASSERT_EQUAL(bh_device_hot_reset(&fake.dev), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_device_dmabuf_export(&fake.dev, 0, 0, 4096, &fd), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_device_bar_pool(&fake.dev, &map, NULL, &pool), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(fd, -1);
	bh__device_set_gone(&fake.dev);
	CU_ASSERT_FALSE(bh_device_check(&fake.dev));
}

static void bars_have_bus_addresses(void)
{
	const uint32_t bars[] = {
		0xfebf0004, 0x38, /* 64 bits */
		0xfe000008,	  /* 32 bits, prefetchable */
		0xe001,		  /* ports */
		0,		  /* none assigned */
		0xfd000004,	  /* 64 bits, and no room for the other half */
	};
	uint64_t at;

	memcpy(fake.config + 0x10, bars, sizeof(bars));
	CU_ASSERT_EQUAL(bh_device_bar_address(&fake.dev, 0, &at), 0);
	CU_ASSERT_EQUAL(at, 0x38febf0000ull);
	/* Its upper half is no BAR. */
	CU_ASSERT_EQUAL(bh_device_bar_address(&fake.dev, 1, &at), -ENXIO);
	CU_ASSERT_EQUAL(bh_device_bar_address(&fake.dev, 2, &at), 0);
	CU_ASSERT_EQUAL(at, 0xfe000000ull);
	CU_ASSERT_EQUAL(bh_device_bar_address(&fake.dev, 3, &at), -ENXIO);
	CU_ASSERT_EQUAL(bh_device_bar_address(&fake.dev, 4, &at), -ENXIO);
	CU_ASSERT_EQUAL(bh_device_bar_address(&fake.dev, 5, &at), -ENXIO);
	CU_ASSERT_EQUAL(bh_device_bar_address(&fake.dev, 6, &at), -ENXIO);
	CU_ASSERT_EQUAL(at, 0);
	bh__device_set_gone(&fake.dev);
	CU_ASSERT_EQUAL(bh_device_bar_address(&fake.dev, 0, &at), -ENODEV);
}

static void dmabufs_are_revoked_where_that_is_offered(void)
{
	CU_ASSERT_EQUAL(bh_device_dmabuf_revoke(dev, 5), 0);
	CU_ASSERT_EQUAL(bh_device_dmabuf_revoke(dev, -1), -EINVAL);
	CU_ASSERT_EQUAL(fake.calls, 2);
	bh__device_set_gone(dev);
	CU_ASSERT_EQUAL(bh_device_dmabuf_revoke(dev, 5), -ENODEV);
	bh__device_clear_gone(dev);
	bh__device_set_caps(dev, ~BH_CAP_DMABUF_REVOKE);
	CU_ASSERT_EQUAL(bh_device_dmabuf_revoke(dev, 5), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(fake.calls, 2);
}

static void close_accepts_null(void)
{
	bh_device_close(NULL);
	bh_device_close(dev);
	CU_ASSERT_TRUE(fake.closed);
}

BH_SUITE_FIXTURE("io", setup, teardown, { "options_have_defaults", options_have_defaults },
		 { "init_refuses_inconsistent_table", init_refuses_inconsistent_table },
		 { "caps_are_a_subset_and_have_names", caps_are_a_subset_and_have_names },
		 { "clear_capability_is_eopnotsupp", clear_capability_is_eopnotsupp },
		 { "region_accesses_are_checked", region_accesses_are_checked },
		 { "bus_master_changes_two_bits", bus_master_changes_two_bits },
		 { "pin_off_changes_one_bit", pin_off_changes_one_bit },
		 { "identity_is_read", identity_is_read },
		 { "map_bar_is_checked", map_bar_is_checked },
		 { "vectors_are_checked", vectors_are_checked },
		 { "loss_is_announced_once", loss_is_announced_once },
		 { "unlisten_waits_for_the_announcement", unlisten_waits_for_the_announcement },
		 { "events_reach_their_listeners", events_reach_their_listeners },
		 { "check_and_windows_have_defaults", check_and_windows_have_defaults },
		 { "bars_have_bus_addresses", bars_have_bus_addresses },
		 { "dmabufs_are_revoked_where_that_is_offered",
		   dmabufs_are_revoked_where_that_is_offered },
		 { "close_accepts_null", close_accepts_null }, )

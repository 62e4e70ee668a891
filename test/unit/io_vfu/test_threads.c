/* SPDX-License-Identifier: BSD-3-Clause */
/* Many askers, one receiver, and a server that leaves in the middle: for ThreadSanitizer. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

enum { THREADS = 4, ROUNDS = 300 };

struct asker {
	pthread_t thread;
	struct bh_device *dev;
	uint32_t slot;
	int rc;
	unsigned int done;
};

static void *ask(void *arg)
{
	struct asker *a = arg;
	uint32_t value = 0, back;

	for (; a->done < ROUNDS && a->rc == 0; a->done++) {
		value++;
		if (a->done % 3 == 0)
			a->rc = bh_device_region_post(a->dev, 0, 4 * a->slot, &value, 4);
		else
			a->rc = bh_device_region_write(a->dev, 0, 4 * a->slot, &value, 4);
		if (a->rc == 0)
			a->rc = bh_device_region_read(a->dev, 0, 4 * a->slot, &back, 4);
		if (a->rc == 0 && back != value)
			a->rc = -EILSEQ;
	}
	return NULL;
}

static void start(struct asker *a, struct bh_device *dev)
{
	memset(a, 0, THREADS * sizeof(*a));
	for (uint32_t i = 0; i < THREADS; i++) {
		a[i].dev = dev;
		a[i].slot = i;
		CU_ASSERT_EQUAL_FATAL(pthread_create(&a[i].thread, NULL, ask, &a[i]), 0);
	}
}

static void join(struct asker *a)
{
	for (int i = 0; i < THREADS; i++)
		pthread_join(a[i].thread, NULL);
}

/* With every 16th access the server reads and writes memory first. */
static bool busy_server(struct fake *f, struct fake_msg *m)
{
	uint8_t buf[512];

	if (m->h.command == VFU_REGION_WRITE && m->h.id % 16 == 0 && f->num_maps > 0) {
		CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, f->map[0].wire.address, 512, buf), 0);
		CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_WRITE, f->map[0].wire.address, 512, buf), 0);
	}
	return false;
}

static void replies_find_their_askers(void)
{
	struct asker a[THREADS];
	struct bh_device *dev;

	fake.use_twin = true;
	fake.json = "{\"capabilities\":{\"max_msg_fds\":8,\"twin_socket\":{\"supported\":true,"
		    "\"fd_index\":0}}}";
	dev = open_ok(busy_server);
	start(a, dev);
	for (int i = 0; i < 20; i++) {
		CU_ASSERT_EQUAL(bh_dma_space_remove(space, pool), 0);
		CU_ASSERT_EQUAL(bh_dma_space_add(space, pool), 0);
	}
	join(a);
	for (int i = 0; i < THREADS; i++)
		CU_ASSERT_EQUAL(a[i].rc, 0);
	bh_device_close(dev);
}

static void a_loss_ends_every_wait(void)
{
	struct bh_device *dev = open_ok(NULL);

	for (int i = 0; i < 10; i++) {
		struct asker a[THREADS];

		start(a, dev);
		usleep(1000 * (unsigned int)i);
		fake_hang_up(&fake);
		join(a);
		for (int k = 0; k < THREADS; k++)
			CU_ASSERT_TRUE(a[k].rc == -ENODEV || a[k].done == ROUNDS);
		CU_ASSERT_TRUE(wait_gone(dev));
		fake_wait_idle(&fake);
		CU_ASSERT_EQUAL_FATAL(bh_device_reopen(dev), 0);
	}
	bh_device_close(dev);
}

BH_SUITE_FIXTURE("io_vfu threads", fixture_setup, fixture_teardown,
		 { "replies_find_their_askers", replies_find_their_askers },
		 { "a_loss_ends_every_wait", a_loss_ends_every_wait }, )

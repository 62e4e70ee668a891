/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The controller behind NVMe stores: opened once, shared by the stores on its namespaces.
 *
 * A controller belongs to one thread, so it gets one of its own, which sleeps but for twenty looks
 * a second: it creates and deletes queues for channels, keeps up with events, time-outs and resets,
 * and brings the device back when it was lost. Queues belong to the channels' threads and are
 * polled there.
 *
 * What the device reaches is memory of ours (queues, bounce buffers), which grows when there is too
 * little of it, and memory that a user of the store offers because its buffers lie there: an arena,
 * added to the device's space as a pool of its own, once for all channels.
 *
 * A device can be brought back only when nobody uses its queues. Their owners find out when they
 * have something to do; for those that have nothing the thread looks, under the lock of the
 * channel.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bellhop/clock.h>

#include "blk_nvme/blk_nvme.h"

#define LOOK_NS 50000000
#define BUSY_NS 1000000 /* with channels that were left */

/* ---- memory ---- */

/* Not of the space, which is locked while memory is being mapped. */
void *bn_device_alloc(struct bn_device *device, size_t bytes, struct bh_pool **pool)
{
	struct bn_pool *p;
	void *va = NULL;

	pthread_mutex_lock(&device->lock);
	for (p = device->pools; p && !va; p = p->next) {
		*pool = p->pool;
		va = bh_pool_alloc(p->pool, bytes, 4096);
	}
	pthread_mutex_unlock(&device->lock);
	return va;
}

static int space_add(struct bn_device *device, struct bh_pool *pool)
{
	int rc;

	pthread_mutex_lock(&device->space_lock);
	rc = bh_dma_space_add(device->space, pool);
	pthread_mutex_unlock(&device->space_lock);
	return rc;
}

int bn_device_add_pool(struct bn_device *device)
{
	struct bn_pool *p = calloc(1, sizeof(*p));
	struct bh_pool_opts opts;
	int rc;

	if (!p)
		return -ENOMEM;
	bh_pool_opts_init(&opts);
	opts.name = "blk-nvme";
	opts.bytes = BN_POOL;
	opts.log = device->log;
	rc = bh_pool_create(&opts, &p->pool);
	if (!rc)
		rc = space_add(device, p->pool);
	if (rc) {
		bh_pool_destroy(p->pool);
		free(p);
		return rc;
	}
	pthread_mutex_lock(&device->lock);
	p->next = device->pools;
	device->pools = p;
	pthread_mutex_unlock(&device->lock);
	return 0;
}

static struct bn_arena **find_arena(struct bn_device *device, const void *va, size_t len)
{
	struct bn_arena **at = &device->arenas;

	while (*at && ((*at)->va != va || (*at)->len != len))
		at = &(*at)->next;
	return at;
}

static int arena_new(struct bn_device *device, void *va, size_t len, int fd, struct bn_arena **at)
{
	struct bn_arena *arena = calloc(1, sizeof(*arena));
	int rc;

	if (!arena)
		return -ENOMEM;
	arena->va = va;
	arena->len = len;
	arena->users = 1;
	rc = bh_pool_import(va, len, fd, 0, "arena", &arena->pool);
	if (!rc)
		rc = bh_dma_space_add(device->space, arena->pool);
	if (rc) {
		bh_pool_destroy(arena->pool);
		free(arena);
		return rc;
	}
	*at = arena;
	return 0;
}

int bn_arena_add(struct bn_device *device, void *va, size_t len, int fd)
{
	struct bn_arena **at;
	int rc = 0;

	pthread_mutex_lock(&device->space_lock);
	at = find_arena(device, va, len);
	if (*at)
		(*at)->users++;
	else
		rc = arena_new(device, va, len, fd, at);
	pthread_mutex_unlock(&device->space_lock);
	return rc;
}

void bn_arena_del(struct bn_device *device, void *va, size_t len)
{
	struct bn_arena **at, *arena;

	pthread_mutex_lock(&device->space_lock);
	at = find_arena(device, va, len);
	arena = *at;
	if (arena && --arena->users == 0) {
		*at = arena->next;
		bh_dma_space_remove(device->space, arena->pool);
		bh_pool_destroy(arena->pool);
		free(arena);
	}
	pthread_mutex_unlock(&device->space_lock);
}

/* ---- channels ---- */

void bn_device_add_chan(struct bn_device *device, struct bn_chan *chan)
{
	pthread_mutex_lock(&device->lock);
	chan->next = device->chans;
	device->chans = chan;
	pthread_mutex_unlock(&device->lock);
}

void bn_device_remove_chan(struct bn_device *device, struct bn_chan *chan)
{
	struct bn_chan **at = &device->chans;

	pthread_mutex_lock(&device->lock);
	while (*at && *at != chan)
		at = &(*at)->next;
	if (*at)
		*at = chan->next;
	pthread_mutex_unlock(&device->lock);
}

/* A channel goes only by an order to this thread, or when this thread serves it to its end. */
static bool serve_chans(struct bn_device *device)
{
	struct bn_chan *chan, *next;
	bool has_left = false;

	pthread_mutex_lock(&device->lock);
	for (chan = device->chans; chan; chan = next) {
		bool is_left = chan->is_left;

		next = chan->next;
		if (!is_left && !device->is_lost)
			continue;
		pthread_mutex_unlock(&device->lock);
		has_left |= bn_chan_serve(chan) && is_left;
		pthread_mutex_lock(&device->lock);
	}
	pthread_mutex_unlock(&device->lock);
	return has_left;
}

/* ---- the thread ---- */

void bn_device_post(struct bn_device *device, struct bn_order *order)
{
	order->next = NULL;
	*device->orders_last = order;
	device->orders_last = &order->next;
	pthread_cond_signal(&device->wake);
}

int bn_device_call(struct bn_device *device, struct bn_order *order)
{
	order->is_done = false;
	order->error = 0;
	if (pthread_equal(pthread_self(), device->thread)) {
		order->run(order);
		return order->error;
	}
	pthread_mutex_lock(&device->lock);
	bn_device_post(device, order);
	while (!order->is_done)
		pthread_cond_wait(&device->done, &device->lock);
	pthread_mutex_unlock(&device->lock);
	return order->error;
}

static void run_orders(struct bn_device *device)
{
	struct bn_order *order;

	pthread_mutex_lock(&device->lock);
	while ((order = device->orders)) {
		bool is_posted = order->is_posted;

		device->orders = order->next;
		if (!device->orders)
			device->orders_last = &device->orders;
		pthread_mutex_unlock(&device->lock);
		order->run(order);
		pthread_mutex_lock(&device->lock);
		if (is_posted)
			continue;
		order->is_done = true;
		pthread_cond_broadcast(&device->done);
	}
	pthread_mutex_unlock(&device->lock);
}

/*
 * The device has memory that is being taken back, and keeps it. What a reset aborts is repeated, but
 * for what was cancelled.
 */
static void look_for_stuck(struct bn_device *device)
{
	struct bn_chan *chan = device->chans; /* ours to change */
	uint64_t now = bh_now_ns();

	/* Owners find out about a reset when they look. */
	if (now - device->reset_ns < BN_PATIENCE_NS)
		return;
	while (chan && !bn_chan_is_stuck(chan))
		chan = chan->next;
	if (!chan)
		return;
	bh_log(device->log, BH_LOG_WARN, BN_LOG,
	       "%s: does not let go of a client's memory: resetting it", device->address.target);
	device->reset_ns = now;
	bh_nvme_reset(device->nvme);
}

static void look(struct bn_device *device)
{
	int rc;

	if (device->is_lost) {
		bn_shared_drop(device);
		rc = bh_nvme_reopen(device->nvme);
		if (rc)
			return;
		device->is_lost = false;
		bh_log(device->log, BH_LOG_WARN, BN_LOG, "%s: is back", device->address.target);
		bn_shared_again(device);
	}
	look_for_stuck(device);
	rc = bh_nvme_poll(device->nvme);
	if (rc != -ENODEV)
		return;
	device->is_lost = true;
	bh_log(device->log, BH_LOG_WARN, BN_LOG, "%s: is gone; requests wait for it",
	       device->address.target);
}

/* False: it is time to end. */
static bool wait_for_orders(struct bn_device *device, long ns)
{
	struct timespec until;
	bool goes_on;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ns;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&device->lock);
	if (!device->orders && !device->is_stopping)
		pthread_cond_timedwait(&device->wake, &device->lock, &until);
	goes_on = !device->is_stopping;
	pthread_mutex_unlock(&device->lock);
	return goes_on;
}

static void device_free(struct bn_device *device)
{
	struct bn_pool *p;

	bh_nvme_detach(device->nvme);
	bh_device_close(device->dev);
	bh_dma_space_destroy(device->space);
	while ((p = device->pools)) {
		device->pools = p->next;
		bh_pool_destroy(p->pool);
		free(p);
	}
	pthread_cond_destroy(&device->done);
	pthread_cond_destroy(&device->wake);
	pthread_mutex_destroy(&device->lock);
	pthread_mutex_destroy(&device->space_lock);
	free(device);
}

static void *device_run(void *arg)
{
	struct bn_device *device = arg;
	bool has_left = false;

	while (!device->is_dead && wait_for_orders(device, has_left ? BUSY_NS : LOOK_NS)) {
		run_orders(device);
		has_left = serve_chans(device);
		if (!device->is_dead)
			look(device);
	}
	run_orders(device); /* memory that somebody waits for */
	if (device->is_dead)
		device_free(device);
	return NULL;
}

/* ---- life ---- */

struct bn_device *bn_device_get(struct bn_device *device)
{
	__atomic_fetch_add(&device->refs, 1, __ATOMIC_RELAXED);
	return device;
}

void bn_device_put(struct bn_device *device)
{
	if (!device || __atomic_sub_fetch(&device->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (pthread_equal(pthread_self(), device->thread)) {
		pthread_detach(device->thread);
		device->is_dead = true;
		return;
	}
	pthread_mutex_lock(&device->lock);
	device->is_stopping = true;
	pthread_cond_signal(&device->wake);
	pthread_mutex_unlock(&device->lock);
	pthread_join(device->thread, NULL);
	device_free(device);
}

static int open_device(struct bn_device *device)
{
	struct bh_device_opts dev_opts;
	struct bh_nvme_opts nvme_opts;
	int rc = bh_dma_space_create(device->log, &device->space);

	if (!rc)
		rc = bn_device_add_pool(device);
	if (rc)
		return rc;
	bh_device_opts_init(&dev_opts);
	dev_opts.space = device->space;
	dev_opts.log = device->log;
	rc = bh_open(device->address.target, &dev_opts, &device->dev);
	if (rc)
		return rc;
	bh_nvme_opts_init(&nvme_opts);
	nvme_opts.log = device->log;
	return bh_nvme_attach(device->dev, &nvme_opts, &device->nvme);
}

static int start(struct bn_device *device)
{
	sigset_t all, before;
	int rc;

	/* The application's signals are none of its business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = -pthread_create(&device->thread, NULL, device_run, device);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

int bn_device_open(const struct bh_address *address, const struct bh_log *log, char why[256],
		   struct bn_device **out)
{
	struct bn_device *device = calloc(1, sizeof(*device));
	pthread_condattr_t attr;
	int rc;

	if (!device)
		return -ENOMEM;
	device->refs = 1;
	device->address = *address;
	device->log = log;
	device->orders_last = &device->orders;
	pthread_mutex_init(&device->space_lock, NULL);
	pthread_mutex_init(&device->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&device->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&device->done, NULL);
	rc = open_device(device);
	if (!rc)
		rc = start(device);
	if (rc) {
		snprintf(why, 256, "%.200s: %.50s", address->target, strerror(-rc));
		device_free(device);
		return rc;
	}
	*out = device;
	return 0;
}

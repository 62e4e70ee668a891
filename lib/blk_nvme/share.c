/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients' memory that the device reaches, so that requests need no copy.
 *
 * Shared memory becomes a pool of the device's space, by an order to the controller's thread: to
 * map a guest's memory takes as long as it takes to pin its pages, and nobody waits for that; until
 * it is done the store does not reach the memory. What cannot be mapped (limits of locked memory, of
 * the IOMMU's entries or addresses, a vfio-user server that has no room) is not reached either; of a
 * device that is said once. To take memory back is an order behind that one, and ends with the
 * device having let go of it: acknowledged, or declared gone.
 *
 * One mapping serves all who share the same memory, as the namespaces of one controller do.
 *
 * A device that was lost is brought back without the memory of clients, whose files may be other
 * than they were (shorter, say): that must not keep the device away from others. It is mapped again
 * after.
 *
 * Each change leaves a table of translations behind for its readers (lib/dma/iova.c). Clients can
 * change their memory as often as they like, so now and then those are freed: with all channels
 * locked, nobody is reading one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blk_nvme/blk_nvme.h"

#define TABLES 64u /* old ones, before they are freed */

struct bn_shared {
	struct bn_shared *next;
	void *va;
	size_t len;
	struct bn_device *device;
	struct bh_pool *pool; /* NULL: the device cannot have it, and nobody asks for it again */
	unsigned int users;   /* under the device's lock */
	bool is_mapped;	      /* the controller's thread's */
	struct bn_order add, del;
	void (*done)(void *arg);
	void *arg;
};

static struct bn_shared **find(struct bn_device *device, const struct bh_blk_mem *mem)
{
	struct bn_shared **at = &device->shared;

	while (*at && ((*at)->va != mem->va || (*at)->len != mem->len || !(*at)->users))
		at = &(*at)->next;
	return at;
}

/* ---- on the controller's thread ---- */

static void say_copied(struct bn_device *device, const struct bn_shared *s, int rc)
{
	if (__atomic_exchange_n(&device->told_copied, true, __ATOMIC_RELAXED))
		return;
	bh_log(device->log, BH_LOG_WARN, BN_LOG,
	       "%s: %zu MiB of a client's memory cannot be mapped in the device (%s): its requests "
	       "are copied%s",
	       device->address.target, s->len >> 20, strerror(-rc),
	       rc == -ENOMEM ? "; more locked memory (ulimit -l, LimitMEMLOCK=) lets them pass"
			     : "");
}

static void trim(struct bn_device *device)
{
	struct bn_chan *c;

	if (++device->num_changes < TABLES)
		return;
	device->num_changes = 0;
	/* Channels come and go by orders to this thread. */
	for (c = device->chans; c; c = c->next)
		pthread_mutex_lock(&c->lock);
	pthread_mutex_lock(&device->space_lock);
	for (c = device->chans; c; c = c->next)
		c->cache = (struct bh_iova_cache){ 0 };
	bh_nvme_trim(device->nvme);
	pthread_mutex_unlock(&device->space_lock);
	for (c = device->chans; c; c = c->next)
		pthread_mutex_unlock(&c->lock);
}

static void map(struct bn_device *device, struct bn_shared *s)
{
	int rc;

	if (!s->pool)
		return;
	pthread_mutex_lock(&device->space_lock);
	rc = bh_dma_space_add(device->space, s->pool);
	pthread_mutex_unlock(&device->space_lock);
	s->is_mapped = !rc;
	if (rc)
		say_copied(device, s, rc);
	trim(device);
}

static void unmap(struct bn_device *device, struct bn_shared *s)
{
	if (!s->is_mapped)
		return;
	pthread_mutex_lock(&device->space_lock);
	bh_dma_space_remove(device->space, s->pool);
	pthread_mutex_unlock(&device->space_lock);
	s->is_mapped = false;
	trim(device);
}

static void forget(struct bn_device *device, const struct bn_shared *s)
{
	struct bn_shared **at;

	pthread_mutex_lock(&device->lock);
	for (at = &device->shared; *at != s; at = &(*at)->next)
		continue;
	*at = s->next;
	pthread_mutex_unlock(&device->lock);
}

static bool is_wanted(const struct bn_shared *s)
{
	bool wanted;

	pthread_mutex_lock(&s->device->lock);
	wanted = s->users > 0;
	pthread_mutex_unlock(&s->device->lock);
	return wanted;
}

/*
 * One that was taken back before its turn came is not mapped at all; one that came while the device
 * was being opened again is mapped already (bn_shared_again).
 */
static void add_run(struct bn_order *order)
{
	struct bn_shared *s = (struct bn_shared *)((char *)order - offsetof(struct bn_shared, add));

	if (!s->device->is_lost && !s->is_mapped && is_wanted(s))
		map(s->device, s);
}

static void del_run(struct bn_order *order)
{
	struct bn_shared *s = (struct bn_shared *)((char *)order - offsetof(struct bn_shared, del));
	void (*done)(void *arg) = s->done;
	void *arg = s->arg;

	unmap(s->device, s);
	forget(s->device, s);
	bh_pool_destroy(s->pool);
	free(s);
	done(arg);
}

void bn_shared_drop(struct bn_device *device)
{
	/* The list grows at its head, and shrinks on this thread only. */
	pthread_mutex_lock(&device->lock);
	struct bn_shared *s = device->shared;
	pthread_mutex_unlock(&device->lock);

	for (; s; s = s->next)
		unmap(device, s);
}

void bn_shared_again(struct bn_device *device)
{
	pthread_mutex_lock(&device->lock);
	struct bn_shared *s = device->shared;
	pthread_mutex_unlock(&device->lock);

	for (; s; s = s->next)
		if (!s->is_mapped && is_wanted(s))
			map(device, s);
}

/* ---- any thread ---- */

static void share_new(struct bn_device *device, const struct bh_blk_mem *mem)
{
	struct bn_shared *s = calloc(1, sizeof(*s));
	int rc = s ? bh_pool_import(mem->va, mem->len, mem->fd, mem->fd_offset, "client", &s->pool)
		   : -ENOMEM;

	if (rc)
		bh_log(device->log, BH_LOG_INFO, BN_LOG, "%s: a client's memory at %p: %s",
		       device->address.target, mem->va, strerror(-rc));
	if (!s)
		return;
	s->va = mem->va;
	s->len = mem->len;
	s->device = device;
	s->users = 1;
	s->add = (struct bn_order){ .run = add_run, .is_posted = true };
	s->del = (struct bn_order){ .run = del_run, .is_posted = true };
	s->next = device->shared;
	device->shared = s;
	bn_device_post(device, &s->add);
}

void bn_share(struct bh_blk *blk, const struct bh_blk_mem *mem)
{
	struct bn_device *device = ((struct bn_store *)blk)->device;
	struct bn_shared *s;

	pthread_mutex_lock(&device->lock);
	s = *find(device, mem);
	if (s)
		s->users++;
	else
		share_new(device, mem);
	pthread_mutex_unlock(&device->lock);
}

void bn_unshare(struct bh_blk *blk, const struct bh_blk_mem *mem, void (*done)(void *arg),
		void *arg)
{
	struct bn_device *device = ((struct bn_store *)blk)->device;
	struct bn_shared *s;
	bool is_last;

	pthread_mutex_lock(&device->lock);
	s = *find(device, mem);
	is_last = s && --s->users == 0;
	if (is_last) {
		s->done = done;
		s->arg = arg;
		bn_device_post(device, &s->del);
	}
	pthread_mutex_unlock(&device->lock);
	if (!is_last)
		done(arg);
}

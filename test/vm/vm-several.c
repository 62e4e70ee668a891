/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several devices in one process, over one space: ADDRESS is two of them with a comma between. What
 * happens to one is nothing to the other.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/fault.h>

#include "host.h"

struct pair {
	struct vm first, second; /* second: the same space and pool */
	char address[2][64];
	struct host a, b;
	bool a_open, b_open;
};

static bool open_one(struct vm *vm)
{
	int rc = vm_open(vm);

	return rc == 0 || vm_fail("opening %s: error %d", vm->address, -rc);
}

static bool pair_open(struct pair *p, const struct vm *vm)
{
	const char *comma = strchr(vm->address, ',');

	memset(p, 0, sizeof(*p));
	if (!comma)
		return vm_fail("%s is not two addresses", vm->address);
	snprintf(p->address[0], sizeof(p->address[0]), "%.*s", (int)(comma - vm->address),
		 vm->address);
	snprintf(p->address[1], sizeof(p->address[1]), "%s", comma + 1);
	p->first = p->second = *vm;
	p->first.address = p->address[0];
	p->second.address = p->address[1];
	p->first.log.ctx = &p->first;
	p->second.log.ctx = &p->second;
	p->first.opts.log = &p->first.log;
	p->second.opts.log = &p->second.log;
	if (!open_one(&p->first) || !open_one(&p->second))
		return false;
	p->a_open = host_open(&p->a, &p->first, false);
	p->b_open = host_open(&p->b, &p->second, false);
	return p->a_open && p->b_open;
}

static void close_first(struct pair *p)
{
	if (p->a_open)
		host_close(&p->a);
	p->a_open = false;
	bh_device_close(p->first.dev);
	p->first.dev = NULL;
}

static void pair_close(struct pair *p)
{
	close_first(p);
	if (p->b_open)
		host_close(&p->b);
	bh_device_close(p->second.dev);
}

/* Both at once: what one writes is not what the other reads. */
static bool both(struct pair *p, uint64_t first)
{
	uint32_t blocks = HOST_PIECE / bh_nvme_ns_block_size(p->a.ns);
	bool ok = true;

	p->a.done = p->a.errors = p->b.done = p->b.errors = 0;
	/* The same places on both, with data that tells them apart. */
	for (int i = 0; i < HOST_DEPTH && ok; i++) {
		memset(p->a.buf[i], 0x10 + i, HOST_PIECE);
		memset(p->b.buf[i], 0x80 + i, HOST_PIECE);
		ok = host_submit(&p->a, true, i, first + (uint64_t)i) &&
		     host_submit(&p->b, true, i, first + (uint64_t)i);
	}
	ok = ok && host_wait(&p->a, HOST_DEPTH, false) && host_wait(&p->b, HOST_DEPTH, false);
	for (int i = 0; i < HOST_DEPTH && ok; i++) {
		memset(p->a.buf[i], 0, HOST_PIECE);
		memset(p->b.buf[i], 0, HOST_PIECE);
		ok = host_submit(&p->a, false, i, first + (uint64_t)i) &&
		     host_submit(&p->b, false, i, first + (uint64_t)i);
	}
	ok = ok && host_wait(&p->a, 2 * HOST_DEPTH, false) &&
	     host_wait(&p->b, 2 * HOST_DEPTH, false);
	for (int i = 0; i < HOST_DEPTH && ok; i++)
		for (size_t at = 0; at < blocks * 512u && ok; at++)
			ok = p->a.buf[i][at] == 0x10 + i && p->b.buf[i][at] == 0x80 + i;
	return (ok && p->a.errors + p->b.errors == 0) || vm_fail("data of one is the other's");
}

static void traffic_on_both(struct vm *vm)
{
	struct pair p;

	if (pair_open(&p, vm))
		for (uint64_t round = 0; round < 8 && both(&p, round * HOST_DEPTH); round++)
			;
	pair_close(&p);
}

static bool reaches(struct vm *vm, const void *va)
{
	struct bh_iova_cache cache = { 0 };
	uint64_t iova;

	return bh_iova_translate(bh_device_iova_map(vm->dev), &cache, va, 4096, &iova);
}

/* Reads block 0 into a buffer of the pool: 0, or what is wrong. */
static bool reads_into(struct host *h, void *buf)
{
	h->done = h->errors = 0;
	return (bh_nvme_read(h->q, h->ns, buf, 0, 8, 0, host_count, h) == 0 &&
		host_wait(h, 1, false) && h->errors == 0) ||
	       vm_fail("a device does not reach the new pool");
}

static void new_pools_reach_both(struct vm *vm)
{
	struct bh_pool_opts opts;
	struct bh_pool *pool = NULL;
	struct pair p;
	void *buf = NULL;

	bh_pool_opts_init(&opts);
	opts.bytes = 1u << 20;
	if (pair_open(&p, vm) && bh_pool_create(&opts, &pool) == 0 &&
	    bh_dma_space_add(vm->space, pool) == 0) {
		buf = bh_pool_alloc(pool, 4096, 4096);
		if (reads_into(&p.a, buf) && reads_into(&p.b, buf)) {
			const void *va = bh_pool_mem(pool)->va;

			bh_pool_free(pool, buf);
			if (bh_dma_space_remove(vm->space, pool) != 0 || reaches(&p.first, va) ||
			    reaches(&p.second, va))
				vm_fail("a device reaches a pool that was taken away");
		}
	}
	if (!buf)
		vm_fail("no second pool");
	pair_close(&p);
	bh_pool_destroy(pool);
}

/* With requests out on both, one is closed. */
static void one_closes_the_other_goes_on(struct vm *vm)
{
	struct pair p;

	if (pair_open(&p, vm) && both(&p, 0)) {
		p.a.done = p.b.done = 0;
		for (int i = 0; i < HOST_DEPTH; i++)
			(void)(host_submit(&p.a, false, i, 0) && host_submit(&p.b, false, i, 0));
		close_first(&p);
		if (host_wait(&p.b, HOST_DEPTH, false))
			(void)(host_round_trip(&p.b, 0, false) && host_round_trip(&p.b, 64, false));
		/* And it comes back beside it. */
		if (open_one(&p.first)) {
			p.a_open = host_open(&p.a, &p.first, false);
			(void)(p.a_open && both(&p, HOST_DEPTH));
		}
	}
	pair_close(&p);
}

/* The first is pulled out under load, while both work. */
static void one_is_pulled_the_other_goes_on(struct vm *vm)
{
	uint64_t end = host_now_ms() + 30000, piece = 0;
	struct pair p;

	(void)bh_fault_install();
	if (!pair_open(&p, vm)) {
		pair_close(&p);
		return;
	}
	while (bh_nvme_poll(p.a.nvme) >= 0 && host_now_ms() < end) {
		if (bh_nvme_queue_outstanding(p.a.q) == 0)
			for (int i = 0; i < HOST_DEPTH; i++)
				(void)bh_nvme_read(p.a.q, p.a.ns, p.a.buf[i], 0, 8, 0, host_count,
						   &p.a);
		(void)bh_nvme_queue_poll(p.a.q, 0);
		(void)host_round_trip(&p.b, piece++ % 8 * HOST_DEPTH, false);
		puts("BUSY");
		fflush(stdout);
	}
	for (end = host_now_ms() + 5000; bh_nvme_queue_outstanding(p.a.q) && host_now_ms() < end;)
		(void)bh_nvme_queue_poll(p.a.q, 0);
	if (!bh_device_gone(p.first.dev) || bh_nvme_queue_outstanding(p.a.q))
		vm_fail("gone %d, %u requests are out still", bh_device_gone(p.first.dev),
			bh_nvme_queue_outstanding(p.a.q));
	else if (bh_device_check(p.second.dev))
		(void)(host_round_trip(&p.b, 0, false) && host_round_trip(&p.b, 64, false));
	else
		vm_fail("the other is gone too");
	pair_close(&p);
}

static const struct vm_case cases[] = {
	{ "traffic_on_both", traffic_on_both, true },
	{ "new_pools_reach_both", new_pools_reach_both, true },
	{ "one_closes_the_other_goes_on", one_closes_the_other_goes_on, true },
	{ "one_is_pulled_the_other_goes_on", one_is_pulled_the_other_goes_on, true },
};

int main(int argc, char **argv)
{
	return vm_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}

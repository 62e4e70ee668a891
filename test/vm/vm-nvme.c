/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our NVMe driver on a device of the kernel's VFIO, in a guest: verified data, interrupts, and a
 * device that goes away, with notice and without.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bellhop/fault.h>
#include <bellhop/nvme.h>

#include "vmtest.h"

#define DEPTH 32
#define PIECE 16384u /* bytes of one request */

/* A controller with one queue, and DEPTH buffers. */
struct host {
	struct vm *vm;
	struct bh_nvme *nvme;
	struct bh_nvme_queue *q;
	struct bh_nvme_ns *ns;
	uint8_t *buf[DEPTH];
	unsigned int done, errors;
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool host_open(struct host *h, struct vm *vm, bool interrupt)
{
	struct bh_nvme_queue_opts opts;
	int rc;

	memset(h, 0, sizeof(*h));
	h->vm = vm;
	rc = bh_nvme_attach(vm->dev, NULL, &h->nvme);
	if (rc != 0)
		return vm_fail("attach: error %d", -rc);
	bh_nvme_queue_opts_init(&opts);
	opts.depth = DEPTH;
	opts.interrupt = interrupt;
	rc = bh_nvme_queue_create(h->nvme, &opts, &h->q);
	if (rc != 0)
		return vm_fail("queue: error %d", -rc);
	h->ns = bh_nvme_ns_first(h->nvme);
	if (!h->ns)
		return vm_fail("no namespace");
	for (int i = 0; i < DEPTH; i++) {
		h->buf[i] = bh_pool_alloc(vm->pool, PIECE, 4096);
		if (!h->buf[i])
			return vm_fail("no buffers");
	}
	return true;
}

static void host_close(struct host *h)
{
	bh_nvme_queue_destroy(h->q);
	bh_nvme_detach(h->nvme);
	for (int i = 0; i < DEPTH; i++)
		bh_pool_free(h->vm->pool, h->buf[i]);
}

static void count(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct host *h = arg;

	h->done++;
	h->errors += bh_nvme_cpl_status(cpl) != 0;
}

/* Waits for `want` completions, sleeping on the interrupt if the queue has one. */
static bool wait_done(struct host *h, unsigned int want, bool interrupt)
{
	uint64_t end = now_ms() + 20000;

	bh_nvme_queue_flush(h->q);
	while (h->done < want) {
		struct pollfd p = { .fd = bh_nvme_queue_fd(h->q), .events = POLLIN };

		if (bh_nvme_queue_poll(h->q, 0) < 0 || now_ms() > end)
			return vm_fail("%u of %u completed", h->done, want);
		if (interrupt && h->done < want && bh_nvme_queue_arm(h->q) == 0 &&
		    poll(&p, 1, 5000) != 1)
			return vm_fail("no interrupt within 5 s, %u of %u completed", h->done,
				       want);
	}
	return true;
}

static void fill(uint8_t *buf, uint64_t seed)
{
	uint64_t *word = (uint64_t *)buf;

	for (size_t i = 0; i < PIECE / 8; i++)
		word[i] = (seed + 1) * 0x9e3779b97f4a7c15ull + i;
}

/* Submits; while nothing is taken, does what both threads of a queue after a reset have to. */
static bool submit(struct host *h, bool write, int i, uint64_t piece)
{
	uint32_t blocks = PIECE / bh_nvme_ns_block_size(h->ns);
	uint64_t end = now_ms() + 5000;
	int rc;

	do {
		rc = write ? bh_nvme_write(h->q, h->ns, h->buf[i], piece * blocks, blocks, 0, count,
					   h)
			   : bh_nvme_read(h->q, h->ns, h->buf[i], piece * blocks, blocks, 0, count,
					  h);
	} while (rc == -EAGAIN && bh_nvme_queue_poll(h->q, 0) >= 0 && bh_nvme_poll(h->nvme) >= 0 &&
		 now_ms() < end);
	return rc == 0 || vm_fail("submitting: error %d", -rc);
}

/* Writes DEPTH pieces from `first` on, reads them back into other buffers' places, compares. */
static bool round_trip(struct host *h, uint64_t first, bool interrupt)
{
	uint8_t *want = malloc(PIECE);
	bool same = want != NULL;

	h->done = h->errors = 0;
	for (int i = 0; i < DEPTH && same; i++) {
		fill(h->buf[i], first + (uint64_t)i);
		same = submit(h, true, i, first + (uint64_t)i);
	}
	same = same && wait_done(h, DEPTH, interrupt);
	h->done = 0;
	for (int i = 0; i < DEPTH && same; i++) {
		memset(h->buf[i], 0xa5, PIECE);
		same = submit(h, false, i, first + (uint64_t)i);
	}
	same = same && wait_done(h, DEPTH, interrupt);
	for (int i = 0; i < DEPTH && same; i++) {
		fill(want, first + (uint64_t)i);
		same = memcmp(want, h->buf[i], PIECE) == 0;
	}
	free(want);
	if (!same || h->errors)
		return vm_fail("piece %llu: data or status is wrong (%u errors)",
			       (unsigned long long)first, h->errors);
	return true;
}

static void traffic(struct vm *vm, bool interrupt, unsigned int rounds)
{
	struct host h;

	if (host_open(&h, vm, interrupt))
		for (unsigned int i = 0; i < rounds && round_trip(&h, i * DEPTH, interrupt); i++)
			;
	host_close(&h);
}

static void data_is_verified(struct vm *vm)
{
	traffic(vm, false, 32);
}

static void data_by_interrupt(struct vm *vm)
{
	traffic(vm, true, 8);
}

static void controller_reset(struct vm *vm)
{
	struct host h;

	if (host_open(&h, vm, false) && round_trip(&h, 0, false)) {
		if (bh_nvme_reset(h.nvme) != 0)
			vm_fail("reset failed");
		else
			(void)round_trip(&h, DEPTH, false);
	}
	host_close(&h);
}

/* Every namespace takes data. */
static void all_namespaces(struct vm *vm)
{
	struct host h;
	unsigned int n = 0;

	if (host_open(&h, vm, false))
		for (; h.ns && round_trip(&h, 0, false); h.ns = bh_nvme_ns_next(h.ns))
			n++;
	if (n < 2)
		vm_fail("%u namespaces", n);
	host_close(&h);
}

struct told {
	struct bh_event_listener event;
	struct bh_gone_listener gone;
	bool removal, lost; /* __atomic */
};

static void on_event(struct bh_event_listener *listener, enum bh_device_event event)
{
	struct told *t = (struct told *)((char *)listener - offsetof(struct told, event));

	if (event == BH_DEVICE_REMOVE_REQUEST)
		__atomic_store_n(&t->removal, true, __ATOMIC_RELEASE);
}

static void on_gone(struct bh_gone_listener *listener)
{
	struct told *t = (struct told *)((char *)listener - offsetof(struct told, gone));

	__atomic_store_n(&t->lost, true, __ATOMIC_RELEASE);
}

/* Keeps the queue busy until *flag is set or 30 s have passed. */
static bool busy_until(struct host *h, const bool *flag)
{
	uint32_t blocks = PIECE / bh_nvme_ns_block_size(h->ns);
	uint64_t end = now_ms() + 30000;
	unsigned int sent = 0;
	int rc = 0;

	h->done = h->errors = 0;
	while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE) && now_ms() < end) {
		while (sent - h->done < DEPTH && rc == 0) {
			rc = bh_nvme_read(h->q, h->ns, h->buf[sent % DEPTH], 0, blocks, 0, count,
					  h);
			sent += rc == 0;
		}
		(void)bh_nvme_queue_poll(h->q, 0);
		(void)bh_nvme_poll(h->nvme);
		rc = 0;
		if (sent == DEPTH) {
			puts("BUSY");
			fflush(stdout);
		}
	}
	if (!__atomic_load_n(flag, __ATOMIC_ACQUIRE))
		return vm_fail("nothing was heard within 30 s");
	/* Everything outstanding completes, by the device or by its loss. */
	for (end = now_ms() + 5000; h->done < sent && now_ms() < end;)
		(void)bh_nvme_queue_poll(h->q, 0);
	if (h->done != sent)
		return vm_fail("%u requests, %u completions", sent, h->done);
	return true;
}

static void listen_for(struct vm *vm, struct told *t)
{
	*t = (struct told){ .event = { .event = on_event }, .gone = { .gone = on_gone } };
	bh_device_event_listen(vm->dev, &t->event);
	bh_device_gone_listen(vm->dev, &t->gone);
}

static void unlisten(struct vm *vm, struct told *t)
{
	bh_device_event_unlisten(vm->dev, &t->event);
	bh_device_gone_unlisten(vm->dev, &t->gone);
}

/* Somebody unplugs it by the book: we are told, finish, and let go. */
static void removal_is_requested(struct vm *vm)
{
	struct told t;
	struct host h;

	listen_for(vm, &t);
	if (host_open(&h, vm, false) && busy_until(&h, &t.removal) && h.errors)
		vm_fail("%u requests failed before the device was let go", h.errors);
	unlisten(vm, &t);
	host_close(&h);
}

/* Somebody pulls it out. */
static void surprise_removal(struct vm *vm)
{
	struct told t;
	struct host h;

	(void)bh_fault_install();
	listen_for(vm, &t);
	if (host_open(&h, vm, false) && busy_until(&h, &t.lost)) {
		if (!bh_device_gone(vm->dev) || bh_device_check(vm->dev))
			vm_fail("the device is not gone");
		if (bh_nvme_read(h.q, h.ns, h.buf[0], 0, 1, 0, count, &h) != -ENODEV)
			vm_fail("requests are taken still");
	}
	unlisten(vm, &t);
	host_close(&h);
}

static const struct vm_case cases[] = {
	{ "data_is_verified", data_is_verified, false },
	{ "data_by_interrupt", data_by_interrupt, false },
	{ "controller_reset", controller_reset, false },
	{ "all_namespaces", all_namespaces, false },
	{ "removal_is_requested", removal_is_requested, false },
	{ "surprise_removal", surprise_removal, false },
};

int main(int argc, char **argv)
{
	return vm_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}

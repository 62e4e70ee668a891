/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our NVMe driver on a device of the kernel's VFIO, in a guest: verified data, interrupts, and a
 * device that goes away, with notice and without.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/fault.h>

#include "host.h"

static void traffic(struct vm *vm, bool interrupt, unsigned int rounds)
{
	struct host h;

	if (host_open(&h, vm, interrupt))
		for (unsigned int i = 0;
		     i < rounds && host_round_trip(&h, i * HOST_DEPTH, interrupt); i++)
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

	if (host_open(&h, vm, false) && host_round_trip(&h, 0, false)) {
		if (bh_nvme_reset(h.nvme) != 0)
			vm_fail("reset failed");
		else
			(void)host_round_trip(&h, HOST_DEPTH, false);
	}
	host_close(&h);
}

/* Every namespace takes data. */
static void all_namespaces(struct vm *vm)
{
	struct host h;
	unsigned int n = 0;

	if (host_open(&h, vm, false))
		for (; h.ns && host_round_trip(&h, 0, false); h.ns = bh_nvme_ns_next(h.ns))
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
	uint32_t blocks = HOST_PIECE / bh_nvme_ns_block_size(h->ns);
	uint64_t end = host_now_ms() + 30000;
	unsigned int sent = 0;
	int rc = 0;

	h->done = h->errors = 0;
	while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE) && host_now_ms() < end) {
		while (sent - h->done < HOST_DEPTH && rc == 0) {
			rc = bh_nvme_read(h->q, h->ns, h->buf[sent % HOST_DEPTH], 0, blocks, 0,
					  host_count, h);
			sent += rc == 0;
		}
		(void)bh_nvme_queue_poll(h->q, 0);
		(void)bh_nvme_poll(h->nvme);
		rc = 0;
		if (sent == HOST_DEPTH) {
			puts("BUSY");
			fflush(stdout);
		}
	}
	if (!__atomic_load_n(flag, __ATOMIC_ACQUIRE))
		return vm_fail("nothing was heard within 30 s");
	/* Everything outstanding completes, by the device or by its loss. */
	for (end = host_now_ms() + 5000; h->done < sent && host_now_ms() < end;)
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
		if (bh_nvme_read(h.q, h.ns, h.buf[0], 0, 1, 0, host_count, &h) != -ENODEV)
			vm_fail("requests are taken still");
	}
	unlisten(vm, &t);
	host_close(&h);
}

/* The same between and in resets: the driver's own waits notice, long before they are over. */
static void pulled_during_resets(struct vm *vm)
{
	uint64_t end = host_now_ms() + 30000, begin = 0;
	struct host h;
	int rc = 0;

	(void)bh_fault_install();
	if (host_open(&h, vm, false)) {
		while (rc == 0 && host_now_ms() < end) {
			puts("BUSY");
			fflush(stdout);
			(void)bh_nvme_read(h.q, h.ns, h.buf[0], 0, 1, 0, host_count, &h);
			begin = host_now_ms();
			rc = bh_nvme_reset(h.nvme);
			(void)bh_nvme_queue_poll(h.q, 0);
			(void)bh_nvme_poll(h.nvme);
		}
		if (rc != -ENODEV || !bh_device_gone(vm->dev))
			vm_fail("the last reset returned %d", rc);
		/* Half of what the controller may take to become ready. */
		else if (host_now_ms() - begin > 3750)
			vm_fail("it took %u ms to find out", (unsigned int)(host_now_ms() - begin));
		else if (bh_nvme_queue_outstanding(h.q))
			vm_fail("requests are out still");
	}
	host_close(&h);
}

static const struct vm_case cases[] = {
	{ "data_is_verified", data_is_verified, false },
	{ "data_by_interrupt", data_by_interrupt, false },
	{ "controller_reset", controller_reset, false },
	{ "all_namespaces", all_namespaces, false },
	{ "removal_is_requested", removal_is_requested, false },
	{ "surprise_removal", surprise_removal, false },
	{ "pulled_during_resets", pulled_during_resets, false },
};

int main(int argc, char **argv)
{
	return vm_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}

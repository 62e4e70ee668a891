/* SPDX-License-Identifier: BSD-3-Clause */
#include "host.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t host_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool host_open_with(struct host *h, struct vm *vm, const struct bh_nvme_opts *nvme, bool interrupt)
{
	struct bh_nvme_queue_opts opts;
	int rc;

	memset(h, 0, sizeof(*h));
	h->vm = vm;
	rc = bh_nvme_attach(vm->dev, nvme, &h->nvme);
	if (rc != 0)
		return vm_fail("attach: error %d", -rc);
	bh_nvme_queue_opts_init(&opts);
	opts.depth = HOST_DEPTH;
	opts.interrupt = interrupt;
	rc = bh_nvme_queue_create(h->nvme, &opts, &h->q);
	if (rc != 0)
		return vm_fail("queue: error %d", -rc);
	h->ns = bh_nvme_ns_first(h->nvme);
	if (!h->ns)
		return vm_fail("no namespace");
	for (int i = 0; i < HOST_DEPTH; i++) {
		h->buf[i] = bh_pool_alloc(vm->pool, HOST_PIECE, 4096);
		if (!h->buf[i])
			return vm_fail("no buffers");
	}
	return true;
}

bool host_open(struct host *h, struct vm *vm, bool interrupt)
{
	return host_open_with(h, vm, NULL, interrupt);
}

void host_close(struct host *h)
{
	bh_nvme_queue_destroy(h->q);
	bh_nvme_detach(h->nvme);
	for (int i = 0; i < HOST_DEPTH; i++)
		bh_pool_free(h->vm->pool, h->buf[i]);
}

void host_count(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct host *h = arg;

	h->done++;
	h->errors += bh_nvme_cpl_status(cpl) != 0;
}

bool host_wait(struct host *h, unsigned int want, bool interrupt)
{
	uint64_t end = host_now_ms() + 20000;

	bh_nvme_queue_flush(h->q);
	while (h->done < want) {
		struct pollfd p = { .fd = bh_nvme_queue_fd(h->q), .events = POLLIN };

		if (bh_nvme_queue_poll(h->q, 0) < 0 || host_now_ms() > end)
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

	for (size_t i = 0; i < HOST_PIECE / 8; i++)
		word[i] = (seed + 1) * 0x9e3779b97f4a7c15ull + i;
}

/* Submits; while nothing is taken, does what both threads of a queue after a reset have to. */
bool host_submit(struct host *h, bool write, int i, uint64_t piece)
{
	uint32_t blocks = HOST_PIECE / bh_nvme_ns_block_size(h->ns);
	uint64_t end = host_now_ms() + 5000;
	int rc;

	do {
		rc = write ? bh_nvme_write(h->q, h->ns, h->buf[i], piece * blocks, blocks, 0,
					   host_count, h)
			   : bh_nvme_read(h->q, h->ns, h->buf[i], piece * blocks, blocks, 0,
					  host_count, h);
	} while (rc == -EAGAIN && bh_nvme_queue_poll(h->q, 0) >= 0 && bh_nvme_poll(h->nvme) >= 0 &&
		 host_now_ms() < end);
	return rc == 0 || vm_fail("submitting: error %d", -rc);
}

bool host_round_trip(struct host *h, uint64_t first, bool interrupt)
{
	uint8_t *want = malloc(HOST_PIECE);
	bool same = want != NULL;

	h->done = h->errors = 0;
	for (int i = 0; i < HOST_DEPTH && same; i++) {
		fill(h->buf[i], first + (uint64_t)i);
		same = host_submit(h, true, i, first + (uint64_t)i);
	}
	same = same && host_wait(h, HOST_DEPTH, interrupt);
	h->done = 0;
	for (int i = 0; i < HOST_DEPTH && same; i++) {
		memset(h->buf[i], 0xa5, HOST_PIECE);
		same = host_submit(h, false, i, first + (uint64_t)i);
	}
	same = same && host_wait(h, HOST_DEPTH, interrupt);
	for (int i = 0; i < HOST_DEPTH && same; i++) {
		fill(want, first + (uint64_t)i);
		same = memcmp(want, h->buf[i], HOST_PIECE) == 0;
	}
	free(want);
	if (!same || h->errors)
		return vm_fail("piece %llu: data or status is wrong (%u errors)",
			       (unsigned long long)first, h->errors);
	return true;
}

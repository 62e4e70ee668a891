/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zoned namespaces, and several namespaces at once, on a device of the kernel's VFIO in a guest.
 *
 * The zoned controller has namespace 1, whose reads may not cross zones, and 2, whose may; both of
 * 16 zones of 1 MiB. See vmzns.py.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bellhop/nvme_zns.h>

#include "vmtest.h"

#define QUEUES 3
#define DEPTH 16
#define BUF (1u << 20)
#define ZONES 16
#define APPEND 16384u /* bytes of one append */

struct host {
	struct vm *vm;
	struct bh_nvme *nvme;
	struct bh_nvme_queue *q[QUEUES];
	struct bh_nvme_ns *ns;
	struct bh_nvme_zns zns;
	uint32_t block;
	uint8_t *buf, *back; /* BUF bytes each */
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool host_open(struct host *h, struct vm *vm)
{
	struct bh_nvme_queue_opts opts;
	int rc;

	memset(h, 0, sizeof(*h));
	h->vm = vm;
	rc = bh_nvme_attach(vm->dev, NULL, &h->nvme);
	bh_nvme_queue_opts_init(&opts);
	opts.depth = DEPTH;
	for (int i = 0; i < QUEUES && rc == 0; i++)
		rc = bh_nvme_queue_create(h->nvme, &opts, &h->q[i]);
	if (rc != 0)
		return vm_fail("attach or queue: error %d", -rc);
	h->buf = bh_pool_alloc(vm->pool, BUF, 4096);
	h->back = bh_pool_alloc(vm->pool, BUF, 4096);
	return (h->buf && h->back) || vm_fail("no buffers");
}

static bool use_ns(struct host *h, uint32_t nsid)
{
	h->ns = bh_nvme_ns_get(h->nvme, nsid);
	if (!h->ns)
		return vm_fail("no namespace %u", nsid);
	h->block = bh_nvme_ns_block_size(h->ns);
	return true;
}

/* A zoned namespace with all zones empty. */
static bool use_zones(struct host *h, uint32_t nsid)
{
	int rc;

	if (!use_ns(h, nsid))
		return false;
	rc = bh_nvme_ns_zns(h->ns, &h->zns);
	if (rc != 0)
		return vm_fail("namespace %u is not zoned: error %d", nsid, -rc);
	rc = bh_nvme_zone_manage_sync(h->q[0], h->ns, BH_NVME_ZONE_ACTION_RESET, 0, true);
	return rc == 0 || vm_fail("resetting all zones: %d", rc);
}

static void host_close(struct host *h)
{
	for (int i = 0; i < QUEUES; i++)
		bh_nvme_queue_destroy(h->q[i]);
	bh_nvme_detach(h->nvme);
	bh_pool_free(h->vm->pool, h->buf);
	bh_pool_free(h->vm->pool, h->back);
}

static void fill(uint8_t *buf, size_t bytes, uint64_t seed)
{
	uint64_t *word = (uint64_t *)(void *)buf;

	for (size_t i = 0; i < bytes / 8; i++)
		word[i] = (seed + 1) * 0x9e3779b97f4a7c15ull + i;
}

static void note(void *arg, const struct bh_nvme_cpl *cpl)
{
	*(int *)arg = bh_nvme_cpl_status(cpl);
}

/* Polls until *status is set: it, or -ETIMEDOUT. */
static int wait_for(struct host *h, struct bh_nvme_queue *q, const int *status)
{
	uint64_t end = now_ms() + 20000;

	bh_nvme_queue_flush(q);
	while (*status < 0 && now_ms() < end) {
		(void)bh_nvme_queue_poll(q, 0);
		(void)bh_nvme_poll(h->nvme);
	}
	return *status < 0 ? -ETIMEDOUT : *status;
}

static int write_at(struct host *h, uint64_t lba, uint32_t blocks)
{
	int status = -1;
	int rc = bh_nvme_write(h->q[0], h->ns, h->buf, lba, blocks, 0, note, &status);

	return rc != 0 ? rc : wait_for(h, h->q[0], &status);
}

static int read_at(struct host *h, uint64_t lba, uint32_t blocks)
{
	int status = -1;
	int rc;

	memset(h->back, 0xa5, (size_t)blocks * h->block);
	rc = bh_nvme_read(h->q[0], h->ns, h->back, lba, blocks, 0, note, &status);
	return rc != 0 ? rc : wait_for(h, h->q[0], &status);
}

static int manage(struct host *h, uint8_t action, uint64_t zone)
{
	return bh_nvme_zone_manage_sync(h->q[0], h->ns, action, zone * h->zns.zone_blocks, false);
}

/* An error or a status, whose bits (do not retry, more) are the controller's choice. */
static bool expect(int got, int want, const char *what)
{
	if (got > 0)
		got &= BH_NVME_STATUS_SC_MASK;
	return got == want ||
	       vm_fail("%s: %d (%s), not %d", what, got,
		       got < 0 ? strerror(-got) : bh_nvme_status_str((uint16_t)got), want);
}

static int zone_state(struct host *h, uint64_t index, struct bh_nvme_zone *zone)
{
	unsigned int n = 0;
	int rc = bh_nvme_zones_sync(h->q[0], h->ns, index * h->zns.zone_blocks, 0, zone, 1, &n);

	return rc != 0 ? rc : n == 1 ? zone->state : -ENOENT;
}

/* ---- cases ---- */

static void geometry_and_report(struct vm *vm)
{
	struct bh_nvme_zone zone[ZONES + 1];
	unsigned int n = 0;
	uint64_t empty = 0;
	struct host h;

	if (host_open(&h, vm) && use_zones(&h, 1)) {
		int rc = bh_nvme_zones_sync(h.q[0], h.ns, 0, 0, zone, ZONES + 1, &n);

		if (rc != 0 || n != ZONES || h.zns.zones != ZONES)
			vm_fail("report: %d, %u zones", rc, n);
		for (unsigned int i = 0; i < n; i++)
			if (zone[i].state != BH_NVME_ZONE_STATE_EMPTY ||
			    zone[i].start != i * h.zns.zone_blocks || zone[i].capacity != 192 ||
			    zone[i].wp != zone[i].start)
				vm_fail("zone %u: state %x, start %llu, capacity %llu", i,
					zone[i].state, (unsigned long long)zone[i].start,
					(unsigned long long)zone[i].capacity);
		if (h.zns.zone_blocks != 256 || h.zns.max_open != 3 || h.zns.max_active != 5 ||
		    h.zns.append_blocks != 16 || h.zns.ext_bytes != 64 || h.zns.read_across)
			vm_fail("geometry: %llu blocks, %u open, %u active, append %u, ext %u",
				(unsigned long long)h.zns.zone_blocks, h.zns.max_open,
				h.zns.max_active, h.zns.append_blocks, h.zns.ext_bytes);
		rc = bh_nvme_zone_count_sync(h.q[0], h.ns, BH_NVME_ZONE_REPORT_FILTER_EMPTY,
					     &empty);
		if (rc != 0 || empty != ZONES)
			vm_fail("count of empty ones: %d, %llu", rc, (unsigned long long)empty);
		if (bh_nvme_ns_csi(bh_nvme_ns_get(h.nvme, 5)) != BH_NVME_CSI_NVM)
			vm_fail("namespace 5 is not of the NVM command set");
	}
	host_close(&h);
}

/* Zone 2 to its capacity: small writes, then one of 512 KiB, more than a command may be. */
static void sequential_write(struct vm *vm)
{
	struct bh_nvme_zone zone;
	struct host h;

	if (host_open(&h, vm) && use_zones(&h, 1)) {
		uint64_t start = 2 * h.zns.zone_blocks;
		uint32_t at = 0;

		for (uint32_t n = 16; at < 64; at += n) {
			fill(h.buf, n * h.block, at);
			expect(write_at(&h, start + at, n), 0, "write");
		}
		fill(h.buf, 128 * h.block, 1000);
		expect(write_at(&h, start + 64, 128), 0, "large write");
		expect(read_at(&h, start + 64, 128), 0, "read");
		if (memcmp(h.buf, h.back, 128 * h.block) != 0)
			vm_fail("large write: data differ");
		expect(read_at(&h, start, 64), 0, "read");
		for (at = 0; at < 64; at += 16) {
			fill(h.buf, 16 * h.block, at);
			if (memcmp(h.buf, h.back + at * h.block, 16 * h.block) != 0)
				vm_fail("block %u: data differ", at);
		}
		expect(zone_state(&h, 2, &zone), BH_NVME_ZONE_STATE_FULL, "state");
		expect(write_at(&h, start, 1), BH_NVME_SC_ZONE_IS_FULL, "write to a full zone");
		expect(manage(&h, BH_NVME_ZONE_ACTION_RESET, 2), 0, "reset");
		expect(write_at(&h, start + 4, 1), BH_NVME_SC_ZONE_INVALID_WRITE,
		       "write off the write pointer");
	}
	host_close(&h);
}

struct append {
	struct host *h;
	uint64_t zslba, lba;
	bool done;
};

static unsigned int bad_appends;

static void appended(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct append *a = arg;

	a->done = true;
	a->lba = bh_nvme_zone_append_lba(a->h->ns, a->zslba, cpl->cdw0);
	bad_appends += bh_nvme_cpl_status(cpl) != 0 || a->lba == UINT64_MAX;
}

/* Every queue appends to both zones until they are full; each piece is where it says. */
static void append_by_queues(struct vm *vm)
{
	static struct append a[96];
	struct host h;
	uint32_t blocks;
	unsigned int sent = 0, done = 0;
	uint64_t end = now_ms() + 20000;

	bad_appends = 0;
	if (!host_open(&h, vm) || !use_zones(&h, 1)) {
		host_close(&h);
		return;
	}
	blocks = APPEND / h.block;
	memset(a, 0, sizeof(a));
	while (done < 96 && now_ms() < end) {
		for (; sent < 96 && sent - done < DEPTH * QUEUES; sent++) {
			uint8_t *buf = h.buf + (sent % (DEPTH * QUEUES)) * APPEND;

			a[sent].h = &h;
			a[sent].zslba = (4 + sent % 2) * h.zns.zone_blocks;
			fill(buf, APPEND, sent);
			if (bh_nvme_zone_append(h.q[sent % QUEUES], h.ns, buf, a[sent].zslba,
						blocks, 0, appended, &a[sent]) != 0)
				break;
		}
		for (int i = 0; i < QUEUES; i++)
			(void)bh_nvme_queue_poll(h.q[i], 0);
		/* Buffers are used again in order. */
		for (; done < sent && a[done].done; done++)
			;
	}
	if (done != 96 || bad_appends)
		vm_fail("%u appends done, %u failed", done, bad_appends);
	for (unsigned int i = 0; i < done && !bad_appends; i++) {
		fill(h.buf, APPEND, i);
		if (read_at(&h, a[i].lba, blocks) != 0 || memcmp(h.buf, h.back, APPEND) != 0)
			vm_fail("append %u: not found at block %llu", i,
				(unsigned long long)a[i].lba);
	}
	if (bh_nvme_zone_append(h.q[0], h.ns, h.buf, 0, h.zns.append_blocks + 1, 0, appended,
				&a[0]) != -EMSGSIZE)
		vm_fail("an append over ZASL is taken");
	host_close(&h);
}

static void states_and_limits(struct vm *vm)
{
	struct bh_nvme_zone zone;
	struct host h;

	if (host_open(&h, vm) && use_zones(&h, 1)) {
		for (uint64_t i = 0; i < 3; i++)
			expect(manage(&h, BH_NVME_ZONE_ACTION_OPEN, i), 0, "open");
		expect(manage(&h, BH_NVME_ZONE_ACTION_OPEN, 3), BH_NVME_SC_ZONE_TOO_MANY_OPEN,
		       "a fourth open");
		expect(manage(&h, BH_NVME_ZONE_ACTION_CLOSE, 0), 0, "close");
		expect(manage(&h, BH_NVME_ZONE_ACTION_OPEN, 3), 0, "open after a close");
		expect(zone_state(&h, 0, &zone), BH_NVME_ZONE_STATE_CLOSED, "closed");
		expect(manage(&h, BH_NVME_ZONE_ACTION_FINISH, 3), 0, "finish");
		expect(zone_state(&h, 3, &zone), BH_NVME_ZONE_STATE_FULL, "finished");
		expect(manage(&h, BH_NVME_ZONE_ACTION_OPEN, 3), BH_NVME_SC_ZONE_INVALID_TRANSITION,
		       "open of a full zone");
		expect(manage(&h, BH_NVME_ZONE_ACTION_OFFLINE, 1),
		       BH_NVME_SC_ZONE_INVALID_TRANSITION, "offline of an open zone");
		expect(manage(&h, BH_NVME_ZONE_ACTION_RESET, 3), 0, "reset");
		expect(zone_state(&h, 3, &zone), BH_NVME_ZONE_STATE_EMPTY, "reset");
		expect(bh_nvme_zone_manage_sync(h.q[0], h.ns, BH_NVME_ZONE_ACTION_FINISH, 0, true),
		       0, "finish of all");
		expect(zone_state(&h, 1, &zone), BH_NVME_ZONE_STATE_FULL, "all finished");
	}
	host_close(&h);
}

static void descriptor_extension(struct vm *vm)
{
	const uint32_t flags = BH_NVME_ZONE_REPORT_EXTENDED | BH_NVME_ZONE_REPORT_PARTIAL;
	const size_t bytes = 64 + 2 * 128;
	struct bh_nvme_zone zone[2];
	uint8_t ext[64];
	struct host h;

	if (host_open(&h, vm) && use_zones(&h, 1)) {
		uint64_t lba = 7 * h.zns.zone_blocks;
		int status = -1;

		fill(ext, sizeof(ext), 7);
		expect(bh_nvme_zone_set_ext_sync(h.q[0], h.ns, lba, ext, sizeof(ext)), 0, "set");
		expect(bh_nvme_zone_report(h.q[0], h.ns, lba, 0, flags, h.back, bytes, note,
					   &status),
		       0, "report");
		expect(wait_for(&h, h.q[0], &status), 0, "report");
		if (bh_nvme_zone_report_read(h.ns, h.back, bytes, flags, zone, 2, NULL) != 2 ||
		    zone[0].state != BH_NVME_ZONE_STATE_CLOSED ||
		    !(zone[0].attributes & BH_NVME_ZONE_ATTR_DESC_EXT_VALID) ||
		    memcmp(bh_nvme_zone_report_ext(h.ns, h.back, bytes, 0), ext, 64) != 0)
			vm_fail("the extension does not come back");
	}
	host_close(&h);
}

/* The end of one zone and the beginning of the next, by one read, on both kinds of namespace. */
static void read_across_a_border(struct vm *vm)
{
	struct host h;

	if (!host_open(&h, vm)) {
		host_close(&h);
		return;
	}
	for (uint32_t nsid = 1; nsid <= 2 && use_zones(&h, nsid); nsid++) {
		struct bh_nvme_queue_stats stats;
		uint64_t zone = h.zns.zone_blocks;

		fill(h.buf, 16 * h.block, nsid);
		expect(write_at(&h, zone, 16), 0, "write");
		expect(read_at(&h, zone - 16, 32), 0, "read");
		if (memcmp(h.back + 16 * h.block, h.buf, 16 * h.block) != 0)
			vm_fail("namespace %u: data differ", nsid);
		bh_nvme_queue_stats(h.q[0], &stats);
		if (stats.splits != 1 || h.zns.read_across != (nsid == 2))
			vm_fail("namespace %u: %llu splits", nsid,
				(unsigned long long)stats.splits);
		if (nsid == 2)
			expect(write_at(&h, zone + 16, (uint32_t)zone - 8),
			       BH_NVME_SC_ZONE_BOUNDARY_ERROR, "write across");
	}
	host_close(&h);
}

#define PIECES 8

static void tally(void *arg, const struct bh_nvme_cpl *cpl)
{
	unsigned int *counts = arg;

	counts[0]++;
	counts[1] += bh_nvme_cpl_status(cpl) != 0;
}

/* One request to each namespace in turn, all in flight together; write or read and compare. */
static bool pass(struct host *h, bool write)
{
	unsigned int counts[2] = { 0, 0 }, sent = 0;
	uint64_t end = now_ms() + 20000;

	for (int piece = 0; piece < PIECES; piece++) {
		for (h->ns = bh_nvme_ns_first(h->nvme); h->ns; h->ns = bh_nvme_ns_next(h->ns)) {
			uint8_t *buf = h->buf + (sent % 64) * 8192;
			uint32_t blocks = 8192 / bh_nvme_ns_block_size(h->ns);
			uint64_t lba = bh_nvme_ns_blocks(h->ns) - (uint64_t)(piece + 1) * blocks;

			if (write)
				fill(buf, 8192, sent);
			else
				memset(buf, 0, 8192);
			if ((write ? bh_nvme_write(h->q[sent % QUEUES], h->ns, buf, lba, blocks, 0,
						   tally, counts)
				   : bh_nvme_read(h->q[sent % QUEUES], h->ns, buf, lba, blocks, 0,
						  tally, counts)) != 0)
				return vm_fail("request %u is refused", sent);
			sent++;
		}
	}
	while (counts[0] < sent && now_ms() < end)
		for (int i = 0; i < QUEUES; i++)
			(void)bh_nvme_queue_poll(h->q[i], 0);
	for (unsigned int i = 0; i < sent && !write; i++) {
		fill(h->back, 8192, i);
		if (memcmp(h->back, h->buf + i * 8192, 8192) != 0)
			return vm_fail("request %u: data differ", i);
	}
	return (counts[0] == sent && counts[1] == 0) ||
	       vm_fail("%u requests, %u done, %u failed", sent, counts[0], counts[1]);
}

static void namespaces_at_once(struct vm *vm)
{
	static const struct {
		uint32_t nsid, block;
		uint64_t bytes;
	} want[] = {
		{ 1, 512, 8 << 20 }, { 2, 4096, 4 << 20 }, { 7, 4096, 2 << 20 }, { 9, 512, 1 << 20 }
	};
	unsigned int n = 0;
	struct host h;

	if (host_open(&h, vm)) {
		for (h.ns = bh_nvme_ns_first(h.nvme); h.ns; h.ns = bh_nvme_ns_next(h.ns), n++)
			if (n >= 4 || bh_nvme_ns_id(h.ns) != want[n].nsid ||
			    bh_nvme_ns_block_size(h.ns) != want[n].block ||
			    bh_nvme_ns_blocks(h.ns) * want[n].block != want[n].bytes)
				vm_fail("namespace %u is not as expected", bh_nvme_ns_id(h.ns));
		if (n != 4 || bh_nvme_ns_get(h.nvme, 3))
			vm_fail("%u namespaces", n);
		else if (pass(&h, true))
			(void)pass(&h, false);
	}
	host_close(&h);
}

static const struct vm_case cases[] = {
	{ "geometry_and_report", geometry_and_report, false },
	{ "sequential_write", sequential_write, false },
	{ "append_by_queues", append_by_queues, false },
	{ "states_and_limits", states_and_limits, false },
	{ "descriptor_extension", descriptor_extension, false },
	{ "read_across_a_border", read_across_a_border, false },
	{ "namespaces_at_once", namespaces_at_once, false },
};

int main(int argc, char **argv)
{
	return vm_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}

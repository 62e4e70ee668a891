/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store that holds requests: whoever wants the controller to let go of memory gets an answer in
 * time, whatever the store does, and afterwards nothing is written where a buffer was. And data in
 * order although requests complete out of it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ft.h"

/* The target's own deadline is 2 s; DESIGN section 4. */
#define ANSWER_MS 3000
#define REQUESTS 8
#define REQUEST_BYTES 16384

enum { HELD = 30000, BRIEF = 1200 }; /* ms */

struct rig {
	struct ft_target target;
	struct ft_host host;
	struct bh_nvme_queue *q;
	uint8_t *bufs;
	int status[REQUESTS];
	unsigned int hold;
};

static void rig_open(struct rig *rig, unsigned int hold, bool direct)
{
	struct ft_host_opts opts = { .quiet = true };
	char rest[128];

	memset(rig, 0, sizeof(*rig));
	rig->hold = hold;
	snprintf(rest, sizeof(rest), "ns=late:64M\\,hold=%u%s", hold, direct ? "\\,direct=1" : "");
	ft_target_serve(&rig->target, rest);
	ft_host_open(&rig->host, rig->target.socket[0], &opts);
	rig->q = ft_queue(&rig->host, 0);
	rig->bufs = ft_alloc(&rig->host, REQUESTS * REQUEST_BYTES);
}

/*
 * Waits until the controller has fetched what was submitted so far: a command behind it that needs
 * no store has come back. After a reset the queue takes it when it is there again.
 */
static void wait_fetched(struct ft_host *host, struct bh_nvme_queue *q)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_VENDOR_FIRST, .nsid = 1 };
	int status = -1, rc = -EAGAIN;

	FT_UNTIL(5000, (rc = bh_nvme_io(q, &cmd, NULL, 0, ft_done, &status)) != -EAGAIN, {
		bh_nvme_queue_poll(q, 0);
		FT_CHECK(bh_nvme_poll(host->nvme) >= 0);
	});
	FT_EQUAL(rc, 0);
	FT_EQUAL(ft_wait(q, &status) & BH_NVME_STATUS_SC_MASK, BH_NVME_SC_INVALID_OPCODE);
}

/* Reads, of zeros: whatever is written into a buffer later, it is not what the buffer holds. */
static void submit_reads(struct rig *rig, uint8_t *bufs)
{
	for (int i = 0; i < REQUESTS; i++) {
		rig->status[i] = -1;
		FT_EQUAL(bh_nvme_read(rig->q, rig->host.ns, bufs + i * REQUEST_BYTES,
				      (uint64_t)i * 64, REQUEST_BYTES / 512, 0, ft_done,
				      &rig->status[i]),
			 0);
	}
	wait_fetched(&rig->host, rig->q);
}

static void check_time(uint64_t start, const char *what)
{
	uint64_t ms = (bh_now_ns() - start) / 1000000;

	if (ms > ANSWER_MS * (ft_is_sanitized() ? 4 : 1))
		ft_fail(__FILE__, __LINE__, "%s took %llu ms", what, (unsigned long long)ms);
}

/* Every read has ended, not well, before the store let go of it. */
static void check_failed(const struct rig *rig)
{
	for (int i = 0; i < REQUESTS; i++) {
		FT_CHECK(rig->status[i] >= 0);
		FT_CHECK(rig->status[i] != BH_NVME_SC_SUCCESS);
	}
}

/* Fills [bufs], looks on until all holds are over, and finds nothing changed. */
static void check_untouched(const struct rig *rig, uint8_t *bufs)
{
	uint64_t end = bh_now_ns() + (rig->hold + 500) * 1000000ull;

	memset(bufs, 0x5a, REQUESTS * REQUEST_BYTES);
	while (bh_now_ns() < end) {
		bh_nvme_poll(rig->host.nvme);
		if (rig->q)
			bh_nvme_queue_poll(rig->q, 0);
		usleep(1000);
	}
	for (int i = 0; i < REQUESTS * REQUEST_BYTES; i++)
		FT_EQUAL(bufs[i], 0x5a);
}

/* The controller still does what it is for. */
static void check_works(struct rig *rig)
{
	uint8_t *buf = ft_alloc(&rig->host, 4096);

	wait_fetched(&rig->host, rig->q);
	if (rig->hold < HELD) {
		memset(buf, 0xff, 4096);
		FT_EQUAL(ft_read(rig->q, rig->host.ns, buf, 0, 8), BH_NVME_SC_SUCCESS);
		FT_EQUAL(buf[4095], 0);
	}
	bh_pool_free(rig->host.pool, buf);
}

static void rig_close(struct rig *rig)
{
	uint64_t start = bh_now_ns();

	bh_nvme_queue_destroy(rig->q);
	check_time(start, "deleting a queue");
	start = bh_now_ns();
	ft_host_close(&rig->host);
	check_time(start, "leaving");
	ft_target_stop(&rig->target);
}

/* ---- a pool is taken away ---- */

static void unmap(unsigned int hold, bool direct)
{
	struct bh_pool_opts opts;
	struct bh_pool *pool;
	struct rig rig;

	rig_open(&rig, hold, direct);
	bh_pool_opts_init(&opts);
	opts.bytes = 2 << 20;
	FT_EQUAL(bh_pool_create(&opts, &pool), 0);
	FT_EQUAL(bh_dma_space_add(rig.host.space, pool), 0);
	uint8_t *bufs = bh_pool_zalloc(pool, REQUESTS * REQUEST_BYTES, 4096);
	FT_CHECK(bufs != NULL);
	submit_reads(&rig, bufs);

	uint64_t start = bh_now_ns();
	FT_EQUAL(bh_dma_space_remove(rig.host.space, pool), 0);
	check_time(start, "DMA_UNMAP");
	FT_CHECK(!bh_device_gone(rig.host.dev));
	if (hold == HELD) {
		/* Others' requests were not waited for, nor has the unmap hurt them. */
		wait_fetched(&rig.host, rig.q);
	} else {
		check_untouched(&rig, bufs);
		check_failed(&rig);
		check_works(&rig);
	}
	rig_close(&rig);
	bh_pool_destroy(pool);
}

static void unmap_answers(void)
{
	unmap(HELD, false);
}

static void unmap_answers_direct(void)
{
	unmap(HELD, true);
}

static void unmap_leaves_memory(void)
{
	unmap(BRIEF, false);
}

static void unmap_leaves_memory_direct(void)
{
	unmap(BRIEF, true);
}

/* ---- resets ---- */

static void controller_reset(unsigned int hold, bool direct)
{
	struct rig rig;

	rig_open(&rig, hold, direct);
	submit_reads(&rig, rig.bufs);
	uint64_t start = bh_now_ns();
	FT_EQUAL(bh_nvme_reset(rig.host.nvme), 0);
	check_time(start, "a controller reset");
	FT_UNTIL(1000, rig.status[REQUESTS - 1] >= 0, bh_nvme_queue_poll(rig.q, 0));
	check_failed(&rig);
	if (hold < HELD)
		check_untouched(&rig, rig.bufs);
	check_works(&rig);
	rig_close(&rig);
}

static void controller_reset_answers(void)
{
	controller_reset(HELD, false);
}

static void controller_reset_answers_direct(void)
{
	controller_reset(HELD, true);
}

static void controller_reset_leaves_memory(void)
{
	controller_reset(BRIEF, false);
}

static void controller_reset_leaves_memory_direct(void)
{
	controller_reset(BRIEF, true);
}

/* The device is reset behind the driver's back, who then brings his controller up again. */
static void device_reset(unsigned int hold, bool direct)
{
	struct rig rig;

	rig_open(&rig, hold, direct);
	submit_reads(&rig, rig.bufs);
	uint64_t start = bh_now_ns();
	FT_EQUAL(bh_device_reset(rig.host.dev), 0);
	check_time(start, "a device reset");
	if (hold < HELD) {
		memset(rig.bufs, 0x5a, REQUESTS * REQUEST_BYTES);
		usleep((hold + 500) * 1000);
		for (int i = 0; i < REQUESTS * REQUEST_BYTES; i++)
			FT_EQUAL(rig.bufs[i], 0x5a);
	}
	FT_EQUAL(bh_nvme_reset(rig.host.nvme), 0);
	FT_UNTIL(1000, rig.status[REQUESTS - 1] >= 0, bh_nvme_queue_poll(rig.q, 0));
	check_failed(&rig);
	check_works(&rig);
	rig_close(&rig);
}

static void device_reset_answers(void)
{
	device_reset(HELD, false);
}

static void device_reset_answers_direct(void)
{
	device_reset(HELD, true);
}

static void device_reset_leaves_memory(void)
{
	device_reset(BRIEF, false);
}

static void device_reset_leaves_memory_direct(void)
{
	device_reset(BRIEF, true);
}

/* ---- queues deleted, clients leaving ---- */

static void queue_deletion(bool direct)
{
	struct rig rig;

	rig_open(&rig, HELD, direct);
	submit_reads(&rig, rig.bufs);
	uint64_t start = bh_now_ns();
	bh_nvme_queue_destroy(rig.q);
	check_time(start, "deleting a queue");
	check_failed(&rig);
	rig.q = ft_queue(&rig.host, 0);
	wait_fetched(&rig.host, rig.q);
	rig_close(&rig);
}

static void queue_deletion_answers(void)
{
	queue_deletion(false);
}

static void queue_deletion_answers_direct(void)
{
	queue_deletion(true);
}

struct client {
	const char *socket;
	int memfd, pipe[2];
};

/* Has requests with buffers in memory of the parent's when it is killed. */
static void client_main(void *arg)
{
	struct client *client = arg;
	struct bh_pool *pool;
	struct rig rig;
	size_t len = REQUESTS * REQUEST_BYTES;

	memset(&rig, 0, sizeof(rig));
	ft_host_open(&rig.host, client->socket, NULL);
	rig.q = ft_queue(&rig.host, 0);
	void *va = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, client->memfd, 0);
	FT_CHECK(va != MAP_FAILED);
	FT_EQUAL(bh_pool_import(va, len, client->memfd, 0, "parent's", &pool), 0);
	FT_EQUAL(bh_dma_space_add(rig.host.space, pool), 0);
	submit_reads(&rig, va);
	FT_EQUAL(write(client->pipe[1], "x", 1), 1);
	for (;;)
		pause();
}

static void disconnect(unsigned int hold, bool direct)
{
	struct ft_target target;
	struct client client;
	struct ft_host host;
	char rest[128];
	size_t len = REQUESTS * REQUEST_BYTES;

	snprintf(rest, sizeof(rest), "ns=late:64M\\,hold=%u%s", hold, direct ? "\\,direct=1" : "");
	ft_target_serve(&target, rest);
	client.socket = target.socket[0];
	client.memfd = memfd_create("client", MFD_CLOEXEC);
	FT_CHECK(client.memfd >= 0);
	FT_EQUAL(ftruncate(client.memfd, (off_t)len), 0);
	FT_EQUAL(pipe(client.pipe), 0);
	pid_t pid = ft_fork(client_main, &client);
	ft_await(client.pipe[0], 15000);
	uint64_t start = bh_now_ns();
	ft_kill(pid);
	/* The next client gets in when the controller has let go of this one's memory. */
	ft_host_open(&host, target.socket[0], NULL);
	check_time(start, "a disconnect, and connecting again,");
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	if (hold < HELD) {
		uint8_t *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, client.memfd, 0);

		FT_CHECK(mem != MAP_FAILED);
		memset(mem, 0x5a, len);
		usleep((hold + 500) * 1000);
		for (size_t i = 0; i < len; i++)
			FT_EQUAL(mem[i], 0x5a);
		FT_EQUAL(ft_read(q, host.ns, ft_alloc(&host, 4096), 0, 8), BH_NVME_SC_SUCCESS);
	}
	wait_fetched(&host, q);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void disconnect_answers(void)
{
	disconnect(HELD, false);
}

static void disconnect_answers_direct(void)
{
	disconnect(HELD, true);
}

static void disconnect_leaves_memory(void)
{
	disconnect(BRIEF, false);
}

static void disconnect_leaves_memory_direct(void)
{
	disconnect(BRIEF, true);
}

/* The target can be stopped while its store holds requests. */
static void target_stops(void)
{
	struct rig rig;

	rig_open(&rig, HELD, false);
	submit_reads(&rig, rig.bufs);
	ft_target_stop(&rig.target);
	FT_UNTIL(5000, bh_device_gone(rig.host.dev), usleep(1000));
	bh_nvme_queue_destroy(rig.q);
	check_failed(&rig);
	ft_host_close(&rig.host);
}

/* ---- order ---- */

static void out_of_order(enum bh_dma_access access, bool direct)
{
	struct ft_host_opts opts = { .access = access };
	struct ft_traffic traffic = { .max_blocks = 100, .depth = 32, .count = 1500, .seed = 8 };
	struct ft_target target;
	struct ft_host host;
	char rest[128];

	if (access == BH_DMA_ACCESS_MESSAGE)
		traffic.count = 200;
	snprintf(rest, sizeof(rest), "mdts=32K,ns=late:16M\\,hold=8\\,seed=99%s",
		 direct ? "\\,direct=1" : "");
	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], &opts);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	ft_verify_random(&host, q, host.ns, &traffic);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void out_of_order_bounced(void)
{
	out_of_order(BH_DMA_ACCESS_AUTO, false);
}

static void out_of_order_direct(void)
{
	out_of_order(BH_DMA_ACCESS_AUTO, true);
}

static void out_of_order_messages(void)
{
	out_of_order(BH_DMA_ACCESS_MESSAGE, false);
}

static void out_of_order_file_direct(void)
{
	out_of_order(BH_DMA_ACCESS_FILE_IO, true);
}

FT_MAIN({ "unmap_answers", unmap_answers, 0 }, { "unmap_answers_direct", unmap_answers_direct, 0 },
	{ "unmap_leaves_memory", unmap_leaves_memory, 0 },
	{ "unmap_leaves_memory_direct", unmap_leaves_memory_direct, 0 },
	{ "controller_reset_answers", controller_reset_answers, 0 },
	{ "controller_reset_answers_direct", controller_reset_answers_direct, 0 },
	{ "controller_reset_leaves_memory", controller_reset_leaves_memory, 0 },
	{ "controller_reset_leaves_memory_direct", controller_reset_leaves_memory_direct, 0 },
	{ "device_reset_answers", device_reset_answers, 0 },
	{ "device_reset_answers_direct", device_reset_answers_direct, 0 },
	{ "device_reset_leaves_memory", device_reset_leaves_memory, 0 },
	{ "device_reset_leaves_memory_direct", device_reset_leaves_memory_direct, 0 },
	{ "queue_deletion_answers", queue_deletion_answers, 0 },
	{ "queue_deletion_answers_direct", queue_deletion_answers_direct, 0 },
	{ "disconnect_answers", disconnect_answers, 0 },
	{ "disconnect_answers_direct", disconnect_answers_direct, 0 },
	{ "disconnect_leaves_memory", disconnect_leaves_memory, 0 },
	{ "disconnect_leaves_memory_direct", disconnect_leaves_memory_direct, 0 },
	{ "target_stops", target_stops, 0 }, { "out_of_order_bounced", out_of_order_bounced, 0 },
	{ "out_of_order_direct", out_of_order_direct, 0 },
	{ "out_of_order_messages", out_of_order_messages, 0 },
	{ "out_of_order_file_direct", out_of_order_file_direct, 0 })

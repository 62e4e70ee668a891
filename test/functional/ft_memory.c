/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that is not what it was: pools that come and go while others are used, memory that a
 * client cuts off under the target, pools that a target punches holes into under the driver.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ft.h"

#define PATTERN_BLOCKS 2048

static const struct ft_traffic traffic = {
	.blocks = PATTERN_BLOCKS, .max_blocks = 16, .depth = 16, .seed = 3
};

/* ---- pools that come and go ---- */

static struct bh_pool *make_pool(size_t bytes)
{
	struct bh_pool_opts opts;
	struct bh_pool *pool;

	bh_pool_opts_init(&opts);
	opts.bytes = bytes;
	FT_EQUAL(bh_pool_create(&opts, &pool), 0);
	return pool;
}

static void come_and_go(const struct ft_host_opts *opts)
{
	struct ft_target target;
	struct ft_host host;
	struct ft_load load;

	ft_target_serve(&target, "ns=ram:16M");
	ft_host_open(&host, target.socket[0], opts);
	struct bh_nvme_queue *q = ft_queue(&host, 31);
	struct bh_nvme_queue *other = ft_queue(&host, 0);
	ft_pattern_write(&host, q, host.ns, 0, PATTERN_BLOCKS);
	ft_load_begin(&load, &host, q, host.ns, &traffic);
	for (int round = 0; round < 40; round++) {
		struct bh_pool *pool = make_pool(1 << 20);
		uint8_t *buf = bh_pool_zalloc(pool, 4096, 4096);
		int status = -1;

		ft_load_step(&load);
		FT_EQUAL(bh_nvme_read(other, host.ns, buf, 0, 8, 0, ft_done, &status), -EFAULT);
		FT_EQUAL(bh_dma_space_add(host.space, pool), 0);
		ft_load_step(&load);
		FT_EQUAL(ft_read(other, host.ns, buf, 0, 8), BH_NVME_SC_SUCCESS);
		FT_CHECK(buf[4088] | buf[4089] | buf[4090] | buf[4091]);
		ft_load_step(&load);
		FT_EQUAL(bh_dma_space_remove(host.space, pool), 0);
		FT_EQUAL(bh_nvme_read(other, host.ns, buf, 0, 8, 0, ft_done, &status), -EFAULT);
		bh_pool_destroy(pool);
		uint64_t goal = load.completed + 20;
		FT_UNTIL(10000, load.completed >= goal, ft_load_step(&load));
	}
	ft_load_drain(&load);
	FT_EQUAL(load.failed, 0);
	ft_load_end(&load);
	bh_nvme_queue_destroy(other);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void pools_come_and_go(void)
{
	come_and_go(NULL);
}

static void pools_come_and_go_by_message(void)
{
	struct ft_host_opts opts = { .access = BH_DMA_ACCESS_MESSAGE };

	come_and_go(&opts);
}

/* The target cannot be told to touch what it was not given. */
static void only_given_pools(void)
{
	static const uint64_t places[] = { 0, 4096, 1ull << 46, UINT64_MAX & ~0xfffull };
	struct ft_target target;
	struct ft_host host;

	ft_target_serve(&target, "ns=ram:16M");
	ft_host_open(&host, target.socket[0], NULL);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	struct bh_pool *stranger = make_pool(1 << 20);
	uint8_t *buf = bh_pool_zalloc(stranger, 8192, 4096);
	struct iovec iov[2] = { { ft_alloc(&host, 4096), 4096 }, { buf, 4096 } };
	int status = -1;

	FT_EQUAL(bh_nvme_read(q, host.ns, buf, 0, 8, 0, ft_done, &status), -EFAULT);
	FT_EQUAL(bh_nvme_readv(q, host.ns, iov, 2, 0, 16, 0, ft_done, &status), -EFAULT);
	FT_EQUAL(bh_nvme_queue_outstanding(q), 0);
	/* Admin commands with a data pointer of our own making: nowhere, and at a stranger's. */
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) + 1; i++) {
		struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_IDENTIFY, .cdw10 = 1 };

		cmd.dptr.prp.prp1 = i < 4 ? places[i] : (uint64_t)(uintptr_t)buf;
		int rc = bh_nvme_admin_sync(host.nvme, &cmd, NULL, 0, NULL);
		FT_EQUAL(rc & BH_NVME_STATUS_SC_MASK, BH_NVME_SC_DATA_TRANSFER_ERROR);
	}
	FT_EQUAL(buf[0] | buf[4], 0);
	bh_pool_destroy(stranger);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

/* ---- a client that cuts its memory off ---- */

#define CUT_REQUESTS 32
#define CUT_BYTES 65536

struct cutter {
	const char *socket;
	enum bh_dma_access access;
	bool to_hole; /* punched, not truncated */
};

/* What its two halves need of each other. */
struct cut_off {
	struct ft_host host;
	struct bh_nvme_queue *q;
	uint8_t *va;
	int fd;
	unsigned int failed;
};

/* A request per buffer, and the end of memory in the middle of them if it is time. */
static void cut_round(struct cut_off *c, const struct cutter *cutter, bool now)
{
	int status[CUT_REQUESTS];
	uint32_t blocks = CUT_BYTES / 512;

	for (int i = 0; i < CUT_REQUESTS; i++) {
		void *buf = c->va + (size_t)i * CUT_BYTES;
		int rc;

		status[i] = -1;
		if (i % 2)
			rc = bh_nvme_read(c->q, c->host.ns, buf, 0, blocks, 0, ft_done, &status[i]);
		else
			rc = bh_nvme_write(c->q, c->host.ns, buf, 4096, blocks, 0, ft_done,
					   &status[i]);
		if (rc) /* it is being reset, or has failed */
			status[i] = BH_NVME_SC_INTERNAL_PATH_ERROR;
	}
	bh_nvme_queue_flush(c->q);
	if (now && cutter->to_hole)
		FT_EQUAL(fallocate(c->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				   (off_t)CUT_REQUESTS * CUT_BYTES),
			 0);
	else if (now)
		FT_EQUAL(ftruncate(c->fd, 0), 0);
	for (int i = 0; i < CUT_REQUESTS; i++) {
		FT_UNTIL(10000, status[i] >= 0, {
			bh_nvme_queue_poll(c->q, 0);
			bh_nvme_poll(c->host.nvme);
		});
		c->failed += status[i] != 0;
	}
}

/* Its buffers are in a file that it truncates while they are being used. It does not look. */
static void cutter_main(void *arg)
{
	const struct cutter *cutter = arg;
	struct ft_host_opts opts = { .access = cutter->access, .quiet = true };
	size_t len = (size_t)CUT_REQUESTS * CUT_BYTES;
	struct cut_off c = { .fd = memfd_create("cut", MFD_CLOEXEC) };
	unsigned int rounds = 0;
	struct bh_pool *pool;

	opts.io_timeout_ns = 1000000000;
	FT_CHECK(c.fd >= 0 && ftruncate(c.fd, (off_t)len) == 0);
	c.va = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, c.fd, 0);
	FT_CHECK(c.va != MAP_FAILED);
	ft_host_open(&c.host, cutter->socket, &opts);
	c.q = ft_queue(&c.host, 0);
	FT_EQUAL(bh_pool_import(c.va, len, c.fd, 0, "cut", &pool), 0);
	FT_EQUAL(bh_dma_space_add(c.host.space, pool), 0);
	/* On until there is nothing more to be had of a controller that has lost its memory. */
	for (uint64_t end = bh_now_ns() + 1000000000; bh_now_ns() < end || rounds < 10; rounds++)
		cut_round(&c, cutter, rounds == 5);
	FT_EQUAL(c.failed > 0, !cutter->to_hole);
	bh_nvme_queue_destroy(c.q);
	ft_host_close(&c.host);
	bh_pool_destroy(pool);
	munmap(c.va, len);
	close(c.fd);
}

static void cut(const char *store, enum bh_dma_access access, bool to_hole)
{
	struct ft_target target;
	struct cutter cutter = { .access = access, .to_hole = to_hole };
	struct ft_host host;

	ft_target_serve(&target, store);
	cutter.socket = target.socket[0];
	ft_join(ft_fork(cutter_main, &cutter), 30000);
	FT_CHECK(ft_target_is_alive(&target));
	/* The next client finds a controller that works. */
	ft_host_open(&host, target.socket[0], NULL);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	ft_pattern_write(&host, q, host.ns, 0, PATTERN_BLOCKS);
	ft_pattern_check(&host, q, host.ns, 0, PATTERN_BLOCKS);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void cut_ram(void)
{
	cut("ns=ram:16M", BH_DMA_ACCESS_AUTO, false);
}

static void cut_late(void)
{
	cut("ns=late:16M\\,hold=3\\,seed=2", BH_DMA_ACCESS_AUTO, false);
}

static void cut_late_direct(void)
{
	cut("ns=late:16M\\,hold=3\\,seed=2\\,direct=1", BH_DMA_ACCESS_AUTO, false);
}

static void cut_file_io(void)
{
	cut("ns=ram:16M", BH_DMA_ACCESS_FILE_IO, false);
}

static void punched_by_the_client(void)
{
	cut("ns=ram:16M", BH_DMA_ACCESS_AUTO, true);
}

/* ---- a target that punches the driver's pools ---- */

struct puncher {
	int fd;
	size_t len;
	bool all;
};

/* Has the pool's memory as a target has it: by fd. */
static void puncher_main(void *arg)
{
	const struct puncher *p = arg;
	uint64_t seed = 5;

	for (;;) {
		off_t at = p->all ? 0 : (off_t)(ft_random(&seed) % (p->len / 4096) * 4096);

		fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
			  p->all ? (off_t)p->len : 4096);
		usleep(p->all ? 50000 : 500);
	}
}

/*
 * The driver's queues read zeros, or go back in time. It may fail requests, reset, or give the
 * controller up, but every request ends once, and the process lives.
 */
static void punched(bool all)
{
	/* A completion may be punched away: of the admin queue, too, and then it is waited for. */
	struct ft_host_opts opts = { .quiet = true,
				     .io_timeout_ns = 300000000,
				     .admin_timeout_ns = 2000000000 };
	struct ft_target target;
	struct ft_host host;
	struct ft_load load;
	struct puncher p = { .len = 4 << 20, .all = all };
	uint8_t byte;

	ft_target_serve(&target, "ns=ram:16M");
	opts.pool = make_pool(p.len);
	p.len = bh_pool_mem(opts.pool)->len;
	p.fd = bh_pool_mem(opts.pool)->fd;
	/* Before there are threads; it does not begin before it is let. */
	int go[2];
	FT_EQUAL(pipe(go), 0);
	pid_t pid = fork();
	FT_CHECK(pid >= 0);
	if (pid == 0) {
		close(go[1]);
		if (read(go[0], &byte, 1) == 1)
			puncher_main(&p);
		_exit(0);
	}
	ft_host_open(&host, target.socket[0], &opts);
	struct bh_nvme_queue *q = ft_queue(&host, 31);
	ft_load_begin(&load, &host, q, host.ns, &traffic);
	load.no_check = true; /* the data are in the pool too */
	FT_EQUAL(write(go[1], "x", 1), 1);
	for (uint64_t end = bh_now_ns() + 2500000000; bh_now_ns() < end;) {
		ft_load_step(&load);
		bh_nvme_poll(host.nvme);
	}
	ft_kill(pid);
	bh_nvme_queue_destroy(q);
	ft_load_end(&load);
	FT_CHECK(load.completed > 0);
	ft_host_close(&host);
	bh_pool_destroy(opts.pool);
	/* The target has read nonsense as well. */
	FT_CHECK(ft_target_is_alive(&target));
	ft_host_open(&host, target.socket[0], NULL);
	q = ft_queue(&host, 0);
	ft_pattern_write(&host, q, host.ns, 0, PATTERN_BLOCKS);
	ft_pattern_check(&host, q, host.ns, 0, PATTERN_BLOCKS);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void pool_punched_all_at_once(void)
{
	punched(true);
}

static void pool_punched_page_by_page(void)
{
	punched(false);
}

FT_MAIN({ "pools_come_and_go", pools_come_and_go, 0 },
	{ "pools_come_and_go_by_message", pools_come_and_go_by_message, 0 },
	{ "only_given_pools", only_given_pools, 0 }, { "cut_ram", cut_ram, 0 },
	{ "cut_late", cut_late, 0 }, { "cut_late_direct", cut_late_direct, 0 },
	{ "cut_file_io", cut_file_io, 0 }, { "punched_by_the_client", punched_by_the_client, 0 },
	{ "pool_punched_all_at_once", pool_punched_all_at_once, 0 },
	{ "pool_punched_page_by_page", pool_punched_page_by_page, 0 })

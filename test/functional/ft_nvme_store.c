/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVMe stores, over the whole path twice: our driver on a controller whose store is our driver on
 * another controller, in a target of its own that can be killed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ft.h"

struct rig {
	struct ft_target back, front;
	char spec[400]; /* of back */
	struct ft_host host[2];
	struct bh_nvme_queue *q[2];
	uint8_t *buf;
};

static void back_start(struct rig *rig)
{
	const char *const specs[] = { rig->spec, NULL };

	ft_target_start(&rig->back, ft_cpus(1, ','), specs);
}

/* The SSD: with these namespaces, on the socket of back. */
static void back_serve(struct rig *rig, const char *rest)
{
	ft_target_init(&rig->back);
	snprintf(rig->back.socket[0], sizeof(rig->back.socket[0]), "%s", ft_path("ssd"));
	snprintf(rig->spec, sizeof(rig->spec), "nvme:%s,%s", rig->back.socket[0], rest);
	back_start(rig);
}

/* Two stores, or one for both; and two controllers. */
static void front_serve(struct rig *rig, const char *one, const char *two)
{
	char store[2][200], ctrl[2][200];
	const char *const specs[] = { "--rpc",
				      ft_path("rpc"),
				      store[0],
				      two ? store[1] : ctrl[0],
				      two ? ctrl[0] : ctrl[1],
				      two ? ctrl[1] : NULL,
				      NULL };

	ft_target_init(&rig->front);
	snprintf(store[0], sizeof(store[0]), "store:a=nvme:%s%s", rig->back.socket[0], one);
	snprintf(store[1], sizeof(store[1]), "store:b=nvme:%s%s", rig->back.socket[0],
		 two ? two : "");
	snprintf(ctrl[0], sizeof(ctrl[0]), "nvme:%s,ns=@a", rig->front.socket[0]);
	snprintf(ctrl[1], sizeof(ctrl[1]), "nvme:%s,ns=@%s", rig->front.socket[1], two ? "b" : "a");
	ft_target_start(&rig->front, ft_cpus(1, ','), specs);
	for (int i = 0; i < 2; i++) {
		ft_host_open(&rig->host[i], rig->front.socket[i], NULL);
		rig->q[i] = ft_queue(&rig->host[i], 0);
	}
	rig->buf = ft_alloc(&rig->host[0], 4u << 20);
}

static void rig_end(struct rig *rig)
{
	for (int i = 0; i < 2; i++) {
		bh_nvme_queue_destroy(rig->q[i]);
		ft_host_close(&rig->host[i]);
	}
	ft_target_stop(&rig->front);
	ft_target_stop(&rig->back);
}

static void check_block(struct rig *rig, int host, uint64_t lba, uint8_t expected)
{
	uint8_t *buf = ft_alloc(&rig->host[host], 4096);

	memset(buf, 0xee, 4096);
	FT_EQUAL(ft_read(rig->q[host], rig->host[host].ns, buf, lba, 1), 0);
	FT_EQUAL(buf[0], expected);
	FT_EQUAL(buf[bh_nvme_ns_block_size(rig->host[host].ns) - 1], expected);
	bh_pool_free(rig->host[host].pool, buf);
}

/* ---- data ---- */

/* Of one SSD, by two controllers. */
static void data_of_a_shared_ssd(void)
{
	struct ft_traffic traffic = { .max_blocks = 600, .depth = 32, .count = 800, .seed = 5 };
	struct bh_nvme_dsm_range *range;
	struct rig rig = { 0 };
	int status = -1, i = -1;

	back_serve(&rig, "mdts=128K,ns=ram:16M");
	front_serve(&rig, "?ns=1", NULL);
	ft_verify_random(&rig.host[0], rig.q[0], rig.host[0].ns, &traffic);
	memset(rig.buf, 0x33, 512 << 10);
	FT_EQUAL(bh_nvme_write(rig.q[0], rig.host[0].ns, rig.buf, 64, 1024, BH_NVME_FUA, ft_done,
			       &status),
		 0);
	FT_EQUAL(ft_wait(rig.q[0], &status), 0);
	check_block(&rig, 1, 64, 0x33);
	check_block(&rig, 1, 1087, 0x33);
	status = -1;
	FT_EQUAL(bh_nvme_write_zeroes(rig.q[1], rig.host[1].ns, 64, 8, 0, ft_done, &status), 0);
	FT_EQUAL(ft_wait(rig.q[1], &status), 0);
	check_block(&rig, 0, 71, 0);
	check_block(&rig, 0, 72, 0x33);
	range = ft_alloc(&rig.host[0], sizeof(*range));
	*range = (struct bh_nvme_dsm_range){ .lba = 72, .blocks = 8 };
	FT_EQUAL(bh_nvme_deallocate(rig.q[0], rig.host[0].ns, range, 1, ft_done, &i), 0);
	FT_EQUAL(ft_wait(rig.q[0], &i), 0);
	check_block(&rig, 1, 79, 0);
	check_block(&rig, 1, 80, 0x33);
	rig_end(&rig);
}

/* A controller can be opened once; both stores use it. The second has larger blocks than it. */
static void two_namespaces_of_one_controller(void)
{
	struct rig rig = { 0 };

	back_serve(&rig, "ns=ram:4M,ns=ram:8M");
	front_serve(&rig, "?ns=1", "?ns=2:bs=4096");
	FT_EQUAL(bh_nvme_ns_blocks(rig.host[0].ns), 8192);
	FT_EQUAL(bh_nvme_ns_blocks(rig.host[1].ns), 2048);
	memset(rig.buf, 0x44, 4096);
	FT_EQUAL(ft_write(rig.q[0], rig.host[0].ns, rig.buf, 8, 8), 0);
	check_block(&rig, 0, 15, 0x44);
	check_block(&rig, 1, 1, 0);
	rig_end(&rig);
}

/* ---- without a copy ---- */

/* What the front target has counted for one of its controllers' namespaces. */
static long counted(int ctrl, const char *key)
{
	const char *build = getenv("BH_BUILD");
	char command[600], line[200], wanted[40];
	long n = -1;
	FILE *f;

	snprintf(command, sizeof(command), "%s/bin/bh-ctl %s stats controller=%s",
		 build ? build : "build", ft_path("rpc"), ft_path(ctrl ? "n1.sock" : "n0.sock"));
	snprintf(wanted, sizeof(wanted), " \"%s\": %%ld", key);
	f = popen(command, "r");
	FT_CHECK(f != NULL);
	while (fgets(line, sizeof(line), f)) {
		long here;

		if (sscanf(line, wanted, &here) == 1)
			n = here;
	}
	FT_EQUAL(pclose(f), 0);
	FT_CHECK(n >= 0);
	return n;
}

/* Memory is mapped in the SSD a moment after the client has been told that it may use it. */
static void until_passed(struct rig *rig, int host, void *buf)
{
	long before = counted(host, "passed");

	FT_UNTIL(5000, counted(host, "passed") > before,
		 FT_EQUAL(ft_read(rig->q[host], rig->host[host].ns, buf, 0, 1), 0));
}

static void of_memory_that_allows_it(void)
{
	struct ft_traffic traffic = { .max_blocks = 600, .depth = 32, .count = 1000, .seed = 3 };
	const struct ft_host_opts by_message = { .access = BH_DMA_ACCESS_MESSAGE };
	struct rig rig = { 0 };
	long copied, passed;

	back_serve(&rig, "mdts=128K,ns=ram:16M");
	front_serve(&rig, "", NULL);
	until_passed(&rig, 0, rig.buf);
	copied = counted(0, "copied");
	passed = counted(0, "passed");
	ft_verify_random(&rig.host[0], rig.q[0], rig.host[0].ns, &traffic);
	FT_EQUAL(counted(0, "copied"), copied);
	FT_CHECK(counted(0, "passed") - passed >= traffic.count);
	FT_EQUAL(counted(1, "passed"), 0);
	/* The same data, to a client whose memory cannot be mapped. */
	bh_nvme_queue_destroy(rig.q[1]);
	ft_host_close(&rig.host[1]);
	ft_host_open(&rig.host[1], rig.front.socket[1], &by_message);
	rig.q[1] = ft_queue(&rig.host[1], 0);
	memset(rig.buf, 0x66, 4096);
	FT_EQUAL(ft_write(rig.q[0], rig.host[0].ns, rig.buf, 16, 8), 0);
	check_block(&rig, 1, 23, 0x66);
	FT_CHECK(counted(1, "copied") > 0);
	FT_EQUAL(counted(1, "passed"), 0);
	rig_end(&rig);
}

static void unless_it_is_switched_off(void)
{
	struct rig rig = { 0 };

	back_serve(&rig, "ns=ram:4M");
	front_serve(&rig, "?ns=1&pass=off", "?pass=on");
	until_passed(&rig, 1, ft_alloc(&rig.host[1], 4096));
	for (int i = 0; i < 10; i++)
		FT_EQUAL(ft_read(rig.q[0], rig.host[0].ns, rig.buf, 0, 8), 0);
	FT_EQUAL(counted(0, "copied"), 10);
	FT_EQUAL(counted(0, "passed"), 0);
	rig_end(&rig);
}

static struct bh_pool *pool_add(struct rig *rig)
{
	struct bh_pool_opts opts;
	struct bh_pool *pool;

	bh_pool_opts_init(&opts);
	opts.bytes = 1u << 20;
	opts.page_size = 4096;
	FT_EQUAL(bh_pool_create(&opts, &pool), 0);
	FT_EQUAL(bh_dma_space_add(rig->host[0].space, pool), 0);
	return pool;
}

/* One read to memory that comes for it, while others go on: mostly before the SSD has it. */
static void come_and_go(struct rig *rig, struct ft_load *load, unsigned int turns)
{
	struct bh_pool *pool = pool_add(rig);
	uint8_t *buf = bh_pool_zalloc(pool, 64 << 10, 4096);
	int status = -1;

	for (unsigned int i = 0; i < turns; i++)
		ft_load_step(load);
	FT_EQUAL(bh_nvme_read(rig->q[1], rig->host[0].ns, buf, 0, 128, 0, ft_done, &status), 0);
	FT_UNTIL(10000, status >= 0, {
		ft_load_step(load);
		bh_nvme_queue_poll(rig->q[1], 0);
	});
	FT_EQUAL(status, 0);
	FT_EQUAL(buf[0], 0x77);
	FT_EQUAL(buf[(64 << 10) - 1], 0x77);
	FT_EQUAL(bh_dma_space_remove(rig->host[0].space, pool), 0);
	bh_pool_destroy(pool);
}

static void memory_comes_and_goes_under_load(void)
{
	struct ft_traffic traffic = { .first = 256, .max_blocks = 64, .depth = 16, .seed = 4 };
	struct ft_load load;
	struct rig rig = { 0 };
	unsigned int files;

	back_serve(&rig, "ns=ram:16M");
	front_serve(&rig, "", NULL);
	bh_nvme_queue_destroy(rig.q[1]);
	rig.q[1] = ft_queue(&rig.host[0], 0);
	memset(rig.buf, 0x77, 64 << 10);
	FT_EQUAL(ft_write(rig.q[0], rig.host[0].ns, rig.buf, 0, 128), 0);
	ft_pattern_write(&rig.host[0], rig.q[0], rig.host[0].ns, 256, 1024);
	traffic.blocks = 1024;
	until_passed(&rig, 0, rig.buf);
	files = ft_target_files(&rig.front);
	ft_load_begin(&load, &rig.host[0], rig.q[0], rig.host[0].ns, &traffic);
	for (unsigned int i = 0; i < 100; i++)
		come_and_go(&rig, &load, i % 20);
	ft_load_drain(&load);
	FT_EQUAL(load.failed + load.wrong, 0);
	ft_load_end(&load);
	FT_EQUAL(ft_target_files(&rig.front), files);
	ft_pattern_check(&rig.host[0], rig.q[0], rig.host[0].ns, 256, 1024);
	bh_nvme_queue_destroy(rig.q[1]);
	rig.q[1] = ft_queue(&rig.host[1], 0);
	rig_end(&rig);
}

/* A client of the first controller, until it is killed. */
static void client(void *arg)
{
	const struct rig *rig = arg;
	struct ft_traffic traffic = { .max_blocks = 256, .depth = 64, .seed = 8, .blocks = 8192 };
	struct ft_host host;
	struct ft_load load;

	ft_host_open(&host, rig->front.socket[0], NULL);
	ft_load_begin(&load, &host, ft_queue(&host, 0), host.ns, &traffic);
	while (true)
		ft_load_step(&load);
}

static void clients_are_killed_under_load(void)
{
	struct rig rig = { 0 };
	unsigned int files;

	back_serve(&rig, "ns=ram:16M");
	front_serve(&rig, "", NULL);
	ft_pattern_write(&rig.host[1], rig.q[1], rig.host[1].ns, 0, 8192);
	bh_nvme_queue_destroy(rig.q[0]);
	ft_host_close(&rig.host[0]);
	files = ft_target_files(&rig.front);
	for (int i = 0; i < 4; i++) {
		long before = counted(0, "passed");
		pid_t pid = ft_fork(client, &rig);

		FT_UNTIL(10000, counted(0, "passed") > before + 200,
			 ft_pattern_check(&rig.host[1], rig.q[1], rig.host[1].ns, 0, 256));
		ft_kill(pid);
	}
	ft_pattern_check(&rig.host[1], rig.q[1], rig.host[1].ns, 0, 8192);
	ft_host_open(&rig.host[0], rig.front.socket[0], NULL);
	rig.q[0] = ft_queue(&rig.host[0], 0);
	rig.buf = ft_alloc(&rig.host[0], 4096);
	until_passed(&rig, 0, rig.buf);
	bh_nvme_queue_destroy(rig.q[0]);
	ft_host_close(&rig.host[0]);
	FT_UNTIL(5000, ft_target_files(&rig.front) == files, usleep(10000));
	ft_host_open(&rig.host[0], rig.front.socket[0], NULL);
	rig.q[0] = ft_queue(&rig.host[0], 0);
	rig_end(&rig);
}

/*
 * The SSD sits on a read of memory that is then unmapped, and on one when the controller is reset:
 * either waits for it, and for an SSD that does not answer at all until that is reset.
 */
static void memory_waits_for_an_ssd_that_is_stuck(void)
{
	struct rig rig = { 0 };
	struct bh_pool *pool;
	int status = -1;
	uint64_t took;
	uint8_t *buf;

	back_serve(&rig, "ns=late:4M\\,hold=300,ns=late:4M\\,hold=60000");
	front_serve(&rig, "?ns=1", "?ns=2");
	pool = pool_add(&rig);
	buf = bh_pool_zalloc(pool, 4096, 4096);
	until_passed(&rig, 0, buf);
	FT_EQUAL(bh_nvme_read(rig.q[0], rig.host[0].ns, buf, 0, 8, 0, ft_done, &status), 0);
	bh_nvme_queue_flush(rig.q[0]);
	usleep(50000);
	took = bh_now_ns();
	FT_EQUAL(bh_dma_space_remove(rig.host[0].space, pool), 0);
	took = bh_now_ns() - took;
	bh_pool_destroy(pool);
	/* On a busy machine it may take the second after which it is cancelled. */
	ft_wait(rig.q[0], &status);
	FT_CHECK(status == 0 ||
		 (status == BH_NVME_SC_DATA_TRANSFER_ERROR && took >= 1000000000ull));
	/* On the other one nothing ever comes back. */
	status = -1;
	buf = ft_alloc(&rig.host[1], 4096);
	FT_EQUAL(bh_nvme_read(rig.q[1], rig.host[1].ns, buf, 0, 8, 0, ft_done, &status), 0);
	bh_nvme_queue_flush(rig.q[1]);
	usleep(50000);
	FT_EQUAL(bh_nvme_reset(rig.host[1].nvme), 0);
	FT_UNTIL(1000, status > 0, bh_nvme_queue_poll(rig.q[1], 0));
	/* Others go on. */
	FT_EQUAL(ft_read(rig.q[0], rig.host[0].ns, rig.buf, 0, 8), 0);
	rig_end(&rig);
}

/* ---- loss ---- */

/* The SSD goes away in the middle, and comes back with what it had. */
static void the_ssd_is_killed_under_io(void)
{
	struct ft_traffic traffic = { .max_blocks = 32, .depth = 32, .count = 2500, .seed = 9 };
	struct rig rig = { 0 };
	struct ft_verify *v;
	char rest[200];

	snprintf(rest, sizeof(rest), "ns=file:%s:8M", ft_path("disk"));
	back_serve(&rig, rest);
	front_serve(&rig, "", NULL);
	v = ft_verify_begin(&rig.host[0], rig.q[0], rig.host[0].ns, &traffic);
	for (int i = 0; i < 100; i++)
		FT_CHECK(ft_verify_step(v));
	ft_target_kill(&rig.back);
	back_start(&rig);
	while (ft_verify_step(v))
		continue;
	ft_verify_end(v);
	/* The other controller's queue had nothing to do meanwhile. */
	FT_EQUAL(ft_read(rig.q[1], rig.host[1].ns, ft_alloc(&rig.host[1], 4096), 0, 1), 0);
	rig_end(&rig);
}

FT_MAIN({ "data_of_a_shared_ssd", data_of_a_shared_ssd, 0 },
	{ "two_namespaces_of_one_controller", two_namespaces_of_one_controller, 0 },
	{ "of_memory_that_allows_it", of_memory_that_allows_it, 0 },
	{ "unless_it_is_switched_off", unless_it_is_switched_off, 0 },
	{ "memory_comes_and_goes_under_load", memory_comes_and_goes_under_load, 0 },
	{ "clients_are_killed_under_load", clients_are_killed_under_load, 0 },
	{ "memory_waits_for_an_ssd_that_is_stuck", memory_waits_for_an_ssd_that_is_stuck, 0 },
	{ "the_ssd_is_killed_under_io", the_ssd_is_killed_under_io, 0 })

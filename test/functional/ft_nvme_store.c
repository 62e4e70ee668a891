/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVMe stores, over the whole path twice: our driver on a controller whose store is our driver on
 * another controller, in a target of its own that can be killed.
 */
#include <errno.h>
#include <stdio.h>
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
	const char *const specs[] = { store[0], two ? store[1] : ctrl[0], two ? ctrl[0] : ctrl[1],
				      two ? ctrl[1] : NULL, NULL };

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
	{ "the_ssd_is_killed_under_io", the_ssd_is_killed_under_io, 0 })

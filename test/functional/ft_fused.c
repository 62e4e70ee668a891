/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compare and Write by several hosts at once: counters in a block that each of them counts up by
 * reading it and writing what it has read, plus one, if nobody was there in between. A block is all
 * one number, so half of a write would be seen, and in the end the number is the sum.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "ft.h"

#define LBA 5u
#define MOST 4u
/* Of a counter: many, where nothing but their number takes time. */
#define RAM_BLOCKS 128u
#define FILE_BLOCKS 8u

struct counter {
	struct bh_nvme_queue *q;
	struct bh_nvme_ns *ns;
	uint64_t *old, *desired;
	uint32_t blocks;
	unsigned int times;
	uint64_t beaten; /* by others */
	pthread_t thread;
};

static void fill(struct counter *c, uint64_t value)
{
	unsigned int i;

	for (i = 0; i < c->blocks * 512u / 8; i++)
		c->desired[i] = value;
}

static bool is_whole(const struct counter *c)
{
	unsigned int i;

	for (i = 0; i < c->blocks * 512u / 8; i++)
		if (c->old[i] != c->old[0])
			return false;
	return true;
}

static uint16_t wait_for(struct counter *c, const int *status)
{
	FT_UNTIL(20000, *status >= 0, {
		FT_CHECK(bh_nvme_queue_poll(c->q, 0) >= 0);
		sched_yield();
	});
	return (uint16_t)*status & BH_NVME_STATUS_SC_MASK;
}

static void read_it(struct counter *c)
{
	int status = -1;

	FT_EQUAL(bh_nvme_read(c->q, c->ns, c->old, LBA, c->blocks, 0, ft_done, &status), 0);
	FT_EQUAL(wait_for(c, &status), 0);
	FT_CHECK(is_whole(c));
}

/* From what was read, or was written last. */
static void *count_up(void *arg)
{
	struct counter *c = arg;
	unsigned int i;

	read_it(c);
	for (i = 0; i < c->times; i++) {
		uint16_t sc;

		for (;;) {
			int status = -1;

			fill(c, c->old[0] + 1);
			FT_EQUAL(bh_nvme_compare_and_write(c->q, c->ns, c->old, c->desired, LBA,
							   c->blocks, 0, ft_done, &status),
				 0);
			sc = wait_for(c, &status);
			if (!sc)
				break;
			FT_EQUAL(sc, BH_NVME_SC_COMPARE_FAILURE);
			c->beaten++;
			read_it(c);
		}
		memcpy(c->old, c->desired, c->blocks * 512u);
	}
	return NULL;
}

static void counter_init(struct counter *c, struct ft_host *host, uint32_t blocks,
			 unsigned int times)
{
	FT_CHECK(bh_nvme_compare_and_write_max(host->ns) >= blocks);
	*c = (struct counter){
		.q = ft_queue(host, 7), .ns = host->ns, .blocks = blocks, .times = times
	};
	c->old = ft_alloc(host, blocks * 512u);
	c->desired = ft_alloc(host, blocks * 512u);
}

static void count_all(struct counter *c, unsigned int n)
{
	uint64_t beaten = 0, sum = 0;
	unsigned int i;

	for (i = 0; i < n; i++)
		FT_EQUAL(pthread_create(&c[i].thread, NULL, count_up, &c[i]), 0);
	for (i = 0; i < n; i++) {
		FT_EQUAL(pthread_join(c[i].thread, NULL), 0);
		beaten += c[i].beaten;
		sum += c[i].times;
	}
	read_it(&c[0]);
	FT_EQUAL(c[0].old[0], sum);
	printf("%llu counted, %llu times another one was first\n", (unsigned long long)sum,
	       (unsigned long long)beaten);
	for (i = 0; i < n; i++)
		bh_nvme_queue_destroy(c[i].q);
}

/* Of one controller, whose queues are those of two poll threads. */
static void queues_of_one_controller(void)
{
	struct counter c[MOST];
	struct ft_target target;
	struct ft_host host;
	unsigned int i;

	ft_target_init(&target);
	ft_target_serve_on(&target, 2, "ns=ram:1M");
	ft_host_open(&host, target.socket[0], NULL);
	for (i = 0; i < MOST; i++)
		counter_init(&c[i], &host, RAM_BLOCKS, 80);
	count_all(c, MOST);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void two_controllers(const char *store, uint32_t blocks, unsigned int times)
{
	char shared[200], word[2][200];
	const char *specs[4] = { shared, word[0], word[1], NULL };
	struct counter c[MOST];
	struct ft_target target;
	struct ft_host host[2];
	unsigned int i;

	ft_target_init(&target);
	snprintf(shared, sizeof(shared), "store:s=%s", store);
	for (i = 0; i < 2; i++)
		snprintf(word[i], sizeof(word[i]), "nvme:%s,ns=@s,doorbells=%s", target.socket[i],
			 i ? "trapped" : "mapped");
	ft_target_start(&target, ft_cpus(2, ','), specs);
	for (i = 0; i < 2; i++)
		ft_host_open(&host[i], target.socket[i], NULL);
	for (i = 0; i < MOST; i++)
		counter_init(&c[i], &host[i / 2], blocks, times);
	count_all(c, MOST);
	for (i = 0; i < 2; i++)
		ft_host_close(&host[i]);
	ft_target_stop(&target);
}

static void controllers_on_one_ram_store(void)
{
	two_controllers("ram:1M", RAM_BLOCKS, 80);
}

static void controllers_on_one_file(void)
{
	char store[200];

	snprintf(store, sizeof(store), "file:%s:1M", ft_path("counter"));
	two_controllers(store, FILE_BLOCKS, 25);
}

/* One that answers late, from a thread of its own, and out of order. */
static void controllers_on_one_late_store(void)
{
	two_controllers("late:1M\\,hold=1\\,seed=7", FILE_BLOCKS, 10);
}

/* An SSD, which is asked to compare and then to write, and is another target here. */
static void controllers_on_one_ssd(void)
{
	char store[200], word[200];
	const char *specs[] = { word, NULL };
	struct ft_target back;

	ft_target_init(&back);
	snprintf(back.socket[0], sizeof(back.socket[0]), "%s", ft_path("ssd"));
	snprintf(word, sizeof(word), "nvme:%s,ns=ram:1M", back.socket[0]);
	ft_target_start(&back, ft_cpus(1, ','), specs);
	snprintf(store, sizeof(store), "nvme:%s", back.socket[0]);
	two_controllers(store, FILE_BLOCKS, 25);
	ft_target_stop(&back);
}

FT_MAIN({ "queues_of_one_controller", queues_of_one_controller, 0 },
	{ "controllers_on_one_ram_store", controllers_on_one_ram_store, 0 },
	{ "controllers_on_one_file", controllers_on_one_file, 0 },
	{ "controllers_on_one_ssd", controllers_on_one_ssd, 0 },
	{ "controllers_on_one_late_store", controllers_on_one_late_store, 0 })

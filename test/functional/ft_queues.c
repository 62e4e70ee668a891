/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many of a kind: queues, controllers, namespaces, and the two polling threads of one controller,
 * whose queues are deleted, reset and abandoned under load.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ft.h"

#define QUEUES 8
#define PATTERN_BLOCKS 2048

static void verify_all(struct ft_verify **v, unsigned int n)
{
	bool more = true;

	while (more) {
		more = false;
		for (unsigned int i = 0; i < n; i++)
			more |= ft_verify_step(v[i]);
	}
	for (unsigned int i = 0; i < n; i++)
		ft_verify_end(v[i]);
}

static void queues_64(void)
{
	struct bh_nvme_queue *q[64];
	struct ft_verify *v[64];
	struct ft_target target;
	struct ft_host host;

	ft_target_serve(&target, "ns=ram:32M,queues=64");
	ft_host_open(&host, target.socket[0], NULL);
	FT_EQUAL(bh_nvme_max_queues(host.nvme), 64);
	for (unsigned int i = 0; i < 64; i++) {
		struct ft_traffic traffic = {
			.first = i * 1024,
			.blocks = 1024,
			.max_blocks = 32,
			.depth = 4,
			.count = 300,
			.seed = i + 1,
		};

		q[i] = ft_queue(&host, 7);
		FT_EQUAL(bh_nvme_queue_id(q[i]), i + 1);
		v[i] = ft_verify_begin(&host, q[i], host.ns, &traffic);
	}
	verify_all(v, 64);
	/* There is no 65th, and a number that was given back is given again. */
	struct bh_nvme_queue_opts opts;
	struct bh_nvme_queue *more = NULL;
	bh_nvme_queue_opts_init(&opts);
	FT_CHECK(bh_nvme_queue_create(host.nvme, &opts, &more) < 0);
	bh_nvme_queue_destroy(q[17]);
	q[17] = ft_queue(&host, 0);
	FT_EQUAL(bh_nvme_queue_id(q[17]), 18);
	for (unsigned int i = 0; i < 64; i++)
		bh_nvme_queue_destroy(q[i]);
	ft_host_close(&host);
	ft_target_stop(&target);
}

/* A queue of each class, of weighted round robin, beside each other; weights change meanwhile. */
static void priorities(void)
{
	struct bh_nvme_queue *q[4];
	struct ft_verify *v[4];
	struct ft_target target;
	struct ft_host host;
	uint32_t weights = 0;

	ft_target_serve(&target, "ns=ram:16M");
	ft_host_open(&host, target.socket[0], NULL);
	FT_CHECK(bh_nvme_reg_cap(host.nvme) >> 17 & BH_NVME_CAP_AMS_WRR);
	FT_EQUAL(bh_nvme_set_feature(host.nvme, BH_NVME_FEAT_ARBITRATION, 0, 0x0f030000, NULL, 0,
				     &weights),
		 0);
	for (unsigned int i = 0; i < 4; i++) {
		struct ft_traffic traffic = {
			.first = i * 8192,
			.blocks = 8192,
			.max_blocks = 32,
			.depth = 32,
			.count = 2000,
			.seed = i + 41,
		};
		struct bh_nvme_queue_opts opts;

		bh_nvme_queue_opts_init(&opts);
		opts.priority = i;
		FT_EQUAL(bh_nvme_queue_create(host.nvme, &opts, &q[i]), 0);
		v[i] = ft_verify_begin(&host, q[i], host.ns, &traffic);
	}
	verify_all(v, 4);
	for (unsigned int i = 0; i < 4; i++)
		bh_nvme_queue_destroy(q[i]);
	ft_host_close(&host);
	ft_target_stop(&target);
}

/* Two controllers of one process, with stores of their own and one that both have. */
static void two_controllers(void)
{
	struct ft_traffic traffic = { .max_blocks = 64, .depth = 8, .count = 1000, .seed = 21 };
	char spec[2][256];
	const char *const specs[] = { "store:shared=ram:8M", spec[0], spec[1], NULL };
	struct bh_nvme_queue *q[2];
	struct ft_verify *v[2];
	struct ft_target target;
	struct ft_host host[2];

	ft_target_init(&target);
	for (int i = 0; i < 2; i++)
		snprintf(spec[i], sizeof(spec[i]), "nvme:%s,ns=ram:16M,ns=@shared:nsid=7",
			 target.socket[i]);
	ft_target_start(&target, ft_cpus(1, ','), specs);
	for (int i = 0; i < 2; i++) {
		ft_host_open(&host[i], target.socket[i], NULL);
		q[i] = ft_queue(&host[i], 0);
		v[i] = ft_verify_begin(&host[i], q[i], host[i].ns, &traffic);
	}
	verify_all(v, 2);
	for (int i = 0; i < 2; i++) {
		struct bh_nvme_ns *ns = bh_nvme_ns_get(host[i].nvme, 7);

		FT_CHECK(ns != NULL);
		if (i == 0)
			ft_pattern_write(&host[i], q[i], ns, 0, PATTERN_BLOCKS);
		else
			ft_pattern_check(&host[i], q[i], ns, 0, PATTERN_BLOCKS);
	}
	/* One leaves, the other does not notice. */
	bh_nvme_queue_destroy(q[0]);
	ft_host_close(&host[0]);
	ft_pattern_check(&host[1], q[1], bh_nvme_ns_get(host[1].nvme, 7), 0, PATTERN_BLOCKS);
	bh_nvme_queue_destroy(q[1]);
	ft_host_close(&host[1]);
	ft_target_stop(&target);
}

static void two_block_sizes(void)
{
	struct ft_traffic traffic = { .max_blocks = 20, .depth = 8, .count = 1500, .seed = 33 };
	struct ft_verify *v[2];
	struct ft_target target;
	struct ft_host host;

	ft_target_serve(&target, "ns=ram:16M:nsid=3,ns=ram:16M:bs=4096:nsid=200");
	ft_host_open(&host, target.socket[0], NULL);
	struct bh_nvme_ns *small = host.ns, *large = bh_nvme_ns_next(small);
	FT_CHECK(large && !bh_nvme_ns_next(large));
	FT_EQUAL(bh_nvme_ns_id(small), 3);
	FT_EQUAL(bh_nvme_ns_block_size(small), 512);
	FT_EQUAL(bh_nvme_ns_blocks(small), 32768);
	FT_EQUAL(bh_nvme_ns_id(large), 200);
	FT_EQUAL(bh_nvme_ns_block_size(large), 4096);
	FT_EQUAL(bh_nvme_ns_blocks(large), 4096);
	/* Both at once on one queue. */
	struct bh_nvme_queue *q = ft_queue(&host, 15);
	v[0] = ft_verify_begin(&host, q, small, &traffic);
	v[1] = ft_verify_begin(&host, q, large, &traffic);
	verify_all(v, 2);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

/* ---- one controller on two polling threads ---- */

struct eight {
	struct ft_host host;
	struct bh_nvme_queue *q[QUEUES];
	struct ft_load load[QUEUES];
};

#define QUEUE_BLOCKS (PATTERN_BLOCKS / QUEUES)

/*
 * Each queue has blocks of its own: what orders accesses to the same ones through two queues is the
 * host, and ThreadSanitizer, looking at two threads of the target, cannot see that.
 */
static void eight_load(struct eight *e, int i)
{
	const struct ft_traffic traffic = {
		.first = (uint64_t)i * QUEUE_BLOCKS,
		.blocks = QUEUE_BLOCKS,
		.max_blocks = 16,
		.depth = 16,
		.seed = 77 + (uint64_t)i,
	};

	ft_load_begin(&e->load[i], &e->host, e->q[i], e->host.ns, &traffic);
}

static void eight_open(struct eight *e, const struct ft_target *target, bool fresh)
{
	struct ft_host_opts opts = { .quiet = true };

	ft_host_open(&e->host, target->socket[0], &opts);
	for (int i = 0; i < QUEUES; i++)
		e->q[i] = ft_queue(&e->host, 31);
	for (int i = 0; i < QUEUES; i++) {
		if (fresh)
			ft_pattern_write(&e->host, e->q[i], e->host.ns, (uint64_t)i * QUEUE_BLOCKS,
					 QUEUE_BLOCKS);
		eight_load(e, i);
	}
}

static void eight_check(struct eight *e)
{
	for (int i = 0; i < QUEUES; i++)
		ft_pattern_check(&e->host, e->q[i], e->host.ns, (uint64_t)i * QUEUE_BLOCKS,
				 QUEUE_BLOCKS);
}

static void eight_close(struct eight *e)
{
	for (int i = 0; i < QUEUES; i++) {
		ft_load_drain(&e->load[i]);
		ft_load_end(&e->load[i]);
	}
	eight_check(e);
	for (int i = 0; i < QUEUES; i++)
		bh_nvme_queue_destroy(e->q[i]);
	ft_host_close(&e->host);
}

/* Every queue completes n more requests. */
static void eight_run(struct eight *e, uint64_t n)
{
	for (int i = 0; i < QUEUES; i++) {
		uint64_t goal = e->load[i].completed + n;

		FT_UNTIL(10000, e->load[i].completed >= goal, {
			for (int k = 0; k < QUEUES; k++)
				ft_load_step(&e->load[k]);
		});
	}
}

static void deletion_under_load(const char *store)
{
	struct ft_target target;
	struct eight e;

	ft_target_serve_on(&target, 2, store);
	eight_open(&e, &target, true);
	for (int round = 0; round < 24; round++) {
		int victim = round * 5 % QUEUES;

		eight_run(&e, 20);
		/* With commands in flight: they complete in the call, exactly once. */
		ft_load_step(&e.load[victim]);
		bh_nvme_queue_destroy(e.q[victim]);
		ft_load_end(&e.load[victim]);
		eight_run(&e, 0);
		e.q[victim] = ft_queue(&e.host, 31);
		eight_load(&e, victim);
	}
	eight_run(&e, 20);
	eight_close(&e);
	ft_target_stop(&target);
}

static void two_cores_deletion_ram(void)
{
	deletion_under_load("ns=ram:16M,queues=8");
}

static void two_cores_deletion_late(void)
{
	deletion_under_load("ns=late:16M\\,hold=10\\,seed=4,queues=8");
}

/* Queue owners of their own, who know nothing of the reset but what their queues tell. */
struct owner {
	struct ft_load *load; /* QUEUES / 2 of them */
	uint32_t stop;	      /* __atomic */
	uint64_t progress;    /* __atomic: the least any of its queues has completed well */
};

static void *owner_main(void *arg)
{
	struct owner *owner = arg;

	while (!__atomic_load_n(&owner->stop, __ATOMIC_ACQUIRE)) {
		uint64_t least = UINT64_MAX;

		for (int i = 0; i < QUEUES / 2; i++) {
			struct ft_load *load = &owner->load[i];

			ft_load_step(load);
			FT_CHECK(!load->gone);
			if (load->completed - load->failed < least)
				least = load->completed - load->failed;
		}
		__atomic_store_n(&owner->progress, least, __ATOMIC_RELEASE);
	}
	for (int i = 0; i < QUEUES / 2; i++)
		ft_load_drain(&owner->load[i]);
	return NULL;
}

static void wait_progress(struct eight *e, struct owner *owner, uint64_t n)
{
	uint64_t goal = __atomic_load_n(&owner->progress, __ATOMIC_ACQUIRE) + n;

	FT_UNTIL(15000, __atomic_load_n(&owner->progress, __ATOMIC_ACQUIRE) >= goal, {
		FT_CHECK(bh_nvme_poll(e->host.nvme) >= 0);
		usleep(200);
	});
}

static void reset_under_load(const char *store, int resets)
{
	struct owner owner[2] = { { 0 } };
	struct ft_target target;
	pthread_t thread[2];
	struct eight e;

	ft_target_serve_on(&target, 2, store);
	eight_open(&e, &target, true);
	for (int i = 0; i < 2; i++) {
		owner[i].load = &e.load[i * QUEUES / 2];
		FT_EQUAL(pthread_create(&thread[i], NULL, owner_main, &owner[i]), 0);
	}
	for (int round = 0; round < resets; round++) {
		/* The counts never go back: each owner must get on after every reset. */
		wait_progress(&e, &owner[0], 20);
		wait_progress(&e, &owner[1], 20);
		FT_EQUAL(bh_nvme_reset(e.host.nvme), 0);
	}
	for (int i = 0; i < 2; i++) {
		wait_progress(&e, &owner[i], 20);
		__atomic_store_n(&owner[i].stop, 1, __ATOMIC_RELEASE);
		FT_EQUAL(pthread_join(thread[i], NULL), 0);
	}
	eight_close(&e);
	ft_target_stop(&target);
}

static void two_cores_reset_ram(void)
{
	reset_under_load("ns=ram:16M,queues=8", 10);
}

static void two_cores_reset_late(void)
{
	reset_under_load("ns=late:16M\\,hold=10\\,seed=4,queues=8", 5);
}

static void two_cores_reset_late_direct(void)
{
	reset_under_load("ns=late:16M\\,hold=10\\,seed=4\\,direct=1,queues=8", 5);
}

static void two_cores_reset_trapped(void)
{
	reset_under_load("ns=ram:16M,queues=8,doorbells=trapped", 10);
}

struct victim {
	const struct ft_target *target;
	int pipe[2];
};

static void victim_main(void *arg)
{
	struct victim *victim = arg;
	bool told = false;
	struct eight e;

	eight_open(&e, victim->target, false);
	for (;;) {
		eight_run(&e, 10);
		if (!told)
			FT_EQUAL(write(victim->pipe[1], "x", 1), 1);
		told = true;
	}
}

static void kill_under_load(const char *store)
{
	struct victim victim;
	struct ft_target target;
	struct eight e;

	ft_target_serve_on(&target, 2, store);
	eight_open(&e, &target, true);
	eight_close(&e);
	victim.target = &target;
	FT_EQUAL(pipe(victim.pipe), 0);
	for (int round = 0; round < 5; round++) {
		pid_t pid = ft_fork(victim_main, &victim);

		ft_await(victim.pipe[0], 15000);
		ft_kill(pid);
		FT_CHECK(ft_target_is_alive(&target));
	}
	/* What is there is what was there, and the controller is as good as new. */
	eight_open(&e, &target, false);
	eight_check(&e);
	eight_run(&e, 20);
	eight_close(&e);
	ft_target_stop(&target);
}

static void two_cores_kill_ram(void)
{
	kill_under_load("ns=ram:16M,queues=8");
}

static void two_cores_kill_late(void)
{
	kill_under_load("ns=late:16M\\,hold=10\\,seed=4,queues=8");
}

static void two_cores_kill_late_direct(void)
{
	kill_under_load("ns=late:16M\\,hold=10\\,seed=4\\,direct=1,queues=8");
}

FT_MAIN({ "queues_64", queues_64, 0 }, { "priorities", priorities, 0 },
	{ "two_controllers", two_controllers, 0 }, { "two_block_sizes", two_block_sizes, 0 },
	{ "two_cores_deletion_ram", two_cores_deletion_ram, 0 },
	{ "two_cores_deletion_late", two_cores_deletion_late, 0 },
	{ "two_cores_reset_ram", two_cores_reset_ram, 0 },
	{ "two_cores_reset_late", two_cores_reset_late, 0 },
	{ "two_cores_reset_late_direct", two_cores_reset_late_direct, 0 },
	{ "two_cores_reset_trapped", two_cores_reset_trapped, 0 },
	{ "two_cores_kill_ram", two_cores_kill_ram, 0 },
	{ "two_cores_kill_late", two_cores_kill_late, 0 },
	{ "two_cores_kill_late_direct", two_cores_kill_late_direct, 0 })

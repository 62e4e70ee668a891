/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doorbells and idle: while both sides are busy no doorbell is a message, an idle target sleeps and
 * wakes at once, and a host may sleep on a queue's fd without missing a completion.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/tgt.h>

#include "ft.h"

#define ENTRIES 16
#define WRAPS 10000
/* The driver may make rings of two and a half times the depth. */
#define REQUESTS_OF(wraps) ((uint64_t)(wraps)*5 / 2 * ENTRIES)

static void open_rig(struct ft_target *target, struct ft_host *host, const char *rest)
{
	ft_target_serve(target, rest);
	ft_host_open(host, target->socket[0], NULL);
}

static void close_rig(struct ft_target *target, struct ft_host *host)
{
	ft_host_close(host);
	ft_target_stop(target);
}

/* ---- constant load ---- */

/* A target whose threads never sleep. */
struct awake {
	const char *socket;
	int ready[2];
};

static void serve_awake(void *arg)
{
	const struct awake *awake = arg;
	char text[256], why[BH_TGT_WHY];
	struct bh_tgt_opts opts;
	struct bh_tgt_spec spec;
	struct bh_tgt *tgt;

	snprintf(text, sizeof(text), "nvme:%s,ns=ram:1M,doorbells=trapped", awake->socket);
	bh_tgt_opts_init(&opts);
	opts.idle_ns = UINT64_MAX;
	FT_EQUAL(bh_parse_cpus(ft_cpus(1, ','), ',', &opts.cpus), 0);
	FT_EQUAL(bh_tgt_create(&opts, &tgt), 0);
	FT_EQUAL(bh_tgt_spec_parse(text, &spec, why), 0);
	FT_EQUAL(bh_tgt_apply(tgt, &spec, why), 0);
	FT_EQUAL(bh_tgt_start(tgt), 0);
	FT_EQUAL(write(awake->ready[1], "", 1), 1);
	for (;;)
		pause();
}

/* Host and target each have a CPU to themselves, where there are two: neither starves the other. */
static void leave_first_cpu(void)
{
	cpu_set_t set;

	FT_EQUAL(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&set) > 1; cpu++) {
		if (CPU_ISSET(cpu, &set)) {
			CPU_CLR(cpu, &set);
			break;
		}
	}
	FT_EQUAL(sched_setaffinity(0, sizeof(set), &set), 0);
}

/*
 * Not one message, from the first command on, whoever is stopped where and however often: ten
 * thousand wraps, or what there is time for on a busy machine.
 */
static void no_messages_under_load(void)
{
	struct ft_traffic traffic = { .max_blocks = 1, .depth = ENTRIES - 1, .seed = 13 };
	uint64_t end = bh_now_ns() + 5000000000ull;
	struct bh_nvme_queue_stats stats;
	struct ft_target target;
	struct ft_host host;
	struct ft_load load;
	struct awake awake;

	ft_target_init(&target);
	awake.socket = target.socket[0];
	FT_EQUAL(pipe(awake.ready), 0);
	pid_t pid = ft_fork(serve_awake, &awake);
	ft_await(awake.ready[0], 20000);
	leave_first_cpu();
	ft_host_open(&host, target.socket[0], NULL);
	FT_CHECK(bh_nvme_has_shadow_doorbells(host.nvme));
	struct bh_nvme_queue *q = ft_queue(&host, ENTRIES - 1);
	ft_pattern_write(&host, q, host.ns, 0, 64);
	traffic.blocks = 64;
	ft_load_begin(&load, &host, q, host.ns, &traffic);
	FT_UNTIL(40000, load.completed >= REQUESTS_OF(10), ft_load_step(&load));
	while (load.completed < REQUESTS_OF(WRAPS) && bh_now_ns() < end)
		ft_load_step(&load);
	ft_load_drain(&load);
	bh_nvme_queue_stats(q, &stats);
	FT_CHECK(stats.cq_doorbells > 10);
	FT_EQUAL(stats.doorbell_messages, 0);
	ft_load_end(&load);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_kill(pid);
}

/* Mapped doorbells are never messages, asleep or not. */
static void mapped_never_messages(void)
{
	struct ft_traffic traffic = { .max_blocks = 1, .depth = 4, .seed = 14 };
	struct bh_nvme_queue_stats stats;
	struct ft_target target;
	struct ft_host host;
	struct ft_load load;

	open_rig(&target, &host, "ns=ram:1M,doorbells=mapped");
	struct bh_nvme_queue *q = ft_queue(&host, ENTRIES - 1);
	ft_pattern_write(&host, q, host.ns, 0, bh_nvme_ns_blocks(host.ns));
	ft_load_begin(&load, &host, q, host.ns, &traffic);
	for (int i = 0; i < 10; i++) {
		uint64_t goal = load.completed + 1000;

		FT_UNTIL(20000, load.completed >= goal, ft_load_step(&load));
		ft_load_drain(&load);
		usleep(5000);
	}
	bh_nvme_queue_stats(q, &stats);
	FT_EQUAL(stats.doorbell_messages, 0);
	ft_load_end(&load);
	bh_nvme_queue_destroy(q);
	close_rig(&target, &host);
}

/* ---- idle ---- */

/* CPU time of the idle target in permille of the time that passed. */
static uint64_t idle_permille(const struct ft_target *target)
{
	usleep(250000); /* it falls asleep */
	uint64_t start = bh_now_ns(), cpu = ft_target_cpu_ms(target);
	usleep(1000000);
	uint64_t ms = (bh_now_ns() - start) / 1000000;

	return (ft_target_cpu_ms(target) - cpu) * 1000 / ms;
}

/*
 * Reads into an idle target, one at a time. A wake-up that was missed costs the time until
 * something else wakes it, or for ever: all must come, and the quickest at once (the machine may
 * have other things to do, but not every time).
 */
static void wakes(const char *rest, uint64_t idle_most, unsigned int quickest_ms)
{
	enum { ROUNDS = 15 };
	uint64_t quickest = UINT64_MAX;
	struct ft_target target;
	struct ft_host host;

	open_rig(&target, &host, rest);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	uint8_t *buf = ft_alloc(&host, 4096);
	FT_EQUAL(ft_read(q, host.ns, buf, 0, 1), BH_NVME_SC_SUCCESS);
	uint64_t idle = idle_permille(&target);
	if (idle > idle_most)
		ft_fail(__FILE__, __LINE__, "an idle target takes %llu permille of a CPU",
			(unsigned long long)idle);
	for (int i = 0; i < ROUNDS; i++) {
		usleep(i == 0 ? 250000 : 20000);
		uint64_t start = bh_now_ns();
		FT_EQUAL(ft_read(q, host.ns, buf, (uint64_t)i, 1), BH_NVME_SC_SUCCESS);
		uint64_t took = bh_now_ns() - start;
		quickest = took < quickest ? took : quickest;
	}
	if (quickest > quickest_ms * 1000000ull * (ft_is_sanitized() ? 4 : 1))
		ft_fail(__FILE__, __LINE__, "a sleeping target takes %llu us to answer",
			(unsigned long long)(quickest / 1000));
	bh_nvme_queue_destroy(q);
	close_rig(&target, &host);
}

/* Asleep for good: a clock tick at most is charged. */
static void trapped_sleeps_and_wakes(void)
{
	wakes("ns=ram:1M,doorbells=trapped", 20, 50);
}

static void trapped_late_sleeps_and_wakes(void)
{
	wakes("ns=late:1M\\,hold=2,doorbells=trapped", 20, 50);
}

/* Looks every millisecond. */
static void mapped_dozes_and_wakes(void)
{
	wakes("ns=ram:1M,doorbells=mapped", ft_is_sanitized() ? 500 : 250, 10);
}

/* The admin queue's doorbells are always traps; they wake just the same. */
static void admin_wakes(void)
{
	static const char *const kinds[] = { "ns=ram:1M,doorbells=trapped",
					     "ns=ram:1M,doorbells=mapped" };

	for (int k = 0; k < 2; k++) {
		struct ft_target target;
		struct ft_host host;
		struct bh_nvme_id_ctrl *id = malloc(sizeof(*id));

		FT_CHECK(id != NULL);
		open_rig(&target, &host, kinds[k]);
		for (int i = 0; i < 10; i++) {
			usleep(30000);
			uint64_t start = bh_now_ns();
			FT_EQUAL(bh_nvme_identify(host.nvme, 1, 0, 0, 0, id), 0);
			FT_CHECK(bh_now_ns() - start < 4000000000ull);
		}
		free(id);
		close_rig(&target, &host);
	}
}

/* ---- a host that sleeps ---- */

/* Sleeps on the queue's fd until *status is there; false: the fd never became readable. */
static bool sleep_until(struct bh_nvme_queue *q, const int *status, unsigned int *slept)
{
	uint64_t deadline = ft_deadline(10000);

	while (*status < 0) {
		struct pollfd p = { .fd = bh_nvme_queue_fd(q), .events = POLLIN };
		int rc = bh_nvme_queue_arm(q);

		FT_CHECK(rc == 0 || rc == -EAGAIN);
		if (rc == 0) {
			++*slept;
			if (poll(&p, 1, 10000) != 1)
				return false;
		}
		bh_nvme_queue_poll(q, 0);
		if (bh_now_ns() > deadline)
			return false;
	}
	return true;
}

static void interrupts(const char *rest, unsigned int rounds)
{
	struct bh_nvme_queue_opts opts;
	struct bh_nvme_queue *q;
	struct ft_target target;
	struct ft_host host;
	unsigned int slept = 0;
	uint64_t seed = 1;

	open_rig(&target, &host, rest);
	bh_nvme_queue_opts_init(&opts);
	opts.depth = ENTRIES - 1;
	opts.interrupt = true;
	FT_EQUAL(bh_nvme_queue_create(host.nvme, &opts, &q), 0);
	FT_CHECK(bh_nvme_queue_fd(q) >= 0);
	uint8_t *buf = ft_alloc(&host, 4096);
	/* More, if it never got as far as sleeping: a busy machine runs the target first. */
	uint64_t patience = ft_deadline(20000);
	for (unsigned int i = 0; i < rounds || (slept == 0 && bh_now_ns() < patience); i++) {
		int status[4] = { -1, -1, -1, -1 };
		unsigned int n = 1 + (unsigned int)(ft_random(&seed) % 4);

		for (unsigned int k = 0; k < n; k++)
			FT_EQUAL(bh_nvme_read(q, host.ns, buf, k, 1, 0, ft_done, &status[k]), 0);
		bh_nvme_queue_flush(q);
		/* Somewhere between "not yet" and "already". */
		for (uint64_t spin = ft_random(&seed) % 4096; spin > 0; spin--)
			__atomic_signal_fence(__ATOMIC_SEQ_CST);
		for (unsigned int k = 0; k < n; k++) {
			if (!sleep_until(q, &status[k], &slept))
				ft_fail(__FILE__, __LINE__, "round %u: slept past a completion", i);
			FT_EQUAL(status[k], BH_NVME_SC_SUCCESS);
		}
	}
	FT_CHECK(slept > 0);
	/* Without an interrupt there is nothing to sleep on. */
	struct bh_nvme_queue *plain = ft_queue(&host, 0);
	FT_EQUAL(bh_nvme_queue_fd(plain), -EOPNOTSUPP);
	FT_EQUAL(bh_nvme_queue_arm(plain), -EOPNOTSUPP);
	bh_nvme_queue_destroy(plain);
	bh_nvme_queue_destroy(q);
	close_rig(&target, &host);
}

static void interrupts_mapped(void)
{
	interrupts("ns=ram:1M,doorbells=mapped", 1000);
}

static void interrupts_trapped(void)
{
	interrupts("ns=ram:1M,doorbells=trapped", 1000);
}

static void interrupts_late(void)
{
	interrupts("ns=late:1M\\,hold=2\\,seed=3,doorbells=trapped", 300);
}

FT_MAIN({ "no_messages_under_load", no_messages_under_load, 0 },
	{ "mapped_never_messages", mapped_never_messages, 0 },
	{ "trapped_sleeps_and_wakes", trapped_sleeps_and_wakes, 0 },
	{ "trapped_late_sleeps_and_wakes", trapped_late_sleeps_and_wakes, 0 },
	{ "mapped_dozes_and_wakes", mapped_dozes_and_wakes, 0 }, { "admin_wakes", admin_wakes, 0 },
	{ "interrupts_mapped", interrupts_mapped, 0 },
	{ "interrupts_trapped", interrupts_trapped, 0 }, { "interrupts_late", interrupts_late, 0 })

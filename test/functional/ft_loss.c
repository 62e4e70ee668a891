/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loss, under load: of the controller's state (reset), of the client, of the target. Every request
 * that was accepted completes exactly once, and both sides are good for the next peer.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ft.h"

#define PATTERN_BLOCKS 2048

static const struct ft_traffic traffic = {
	.blocks = PATTERN_BLOCKS, .max_blocks = 40, .depth = 32, .seed = 1
};

static void poll_host(struct ft_host *host, struct ft_load *load, uint64_t requests)
{
	uint64_t goal = load->completed - load->failed + requests;

	FT_UNTIL(10000, load->completed - load->failed >= goal, {
		ft_load_step(load);
		bh_nvme_poll(host->nvme);
	});
}

/* ---- reset ---- */

static void reset_under_load(const char *rest)
{
	struct ft_target target;
	struct ft_host host;
	struct ft_load load;

	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], NULL);
	struct bh_nvme_queue *q = ft_queue(&host, 63);
	ft_pattern_write(&host, q, host.ns, 0, PATTERN_BLOCKS);
	ft_load_begin(&load, &host, q, host.ns, &traffic);
	for (int round = 0; round < 15; round++) {
		poll_host(&host, &load, 100);
		ft_load_step(&load);
		uint64_t before = load.failed;
		unsigned int out = load.in_flight;
		FT_EQUAL(bh_nvme_reset(host.nvme), 0);
		/* Nothing that was outstanding is forgotten, nor completed later by the controller. */
		ft_load_drain(&load);
		FT_CHECK(load.failed - before <= out);
		FT_EQUAL(load.completed, load.submitted);
		FT_EQUAL(bh_nvme_queue_outstanding(q), 0);
	}
	poll_host(&host, &load, 100);
	ft_load_drain(&load);
	ft_load_end(&load);
	ft_pattern_check(&host, q, host.ns, 0, PATTERN_BLOCKS);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void reset_completes_once(void)
{
	reset_under_load("ns=ram:16M,mdts=16K");
}

static void reset_completes_once_trapped(void)
{
	reset_under_load("ns=ram:16M,doorbells=trapped");
}

static void reset_completes_once_late(void)
{
	reset_under_load("ns=late:16M\\,hold=10\\,seed=6,mdts=16K");
}

/* Deleting a queue completes what is in it. */
static void destroy_completes_once(void)
{
	struct ft_target target;
	struct ft_host host;
	struct ft_load load;

	ft_target_serve(&target, "ns=late:16M\\,hold=10\\,seed=6,mdts=16K");
	ft_host_open(&host, target.socket[0], NULL);
	for (int round = 0; round < 10; round++) {
		struct bh_nvme_queue *q = ft_queue(&host, 63);

		ft_load_begin(&load, &host, q, host.ns, &traffic);
		load.no_check = true;
		poll_host(&host, &load, 40);
		ft_load_step(&load);
		bh_nvme_queue_destroy(q);
		ft_load_end(&load);
	}
	ft_host_close(&host);
	ft_target_stop(&target);
}

/* ---- the client is killed ---- */

struct client {
	const char *socket;
	int pipe[2];
	bool load;
	struct ft_host_opts opts;
};

static void client_main(void *arg)
{
	struct client *client = arg;
	struct ft_host host;
	struct ft_load load;

	client->opts.quiet = true;
	ft_host_open(&host, client->socket, &client->opts);
	struct bh_nvme_queue *q;
	struct bh_nvme_queue_opts queue_opts;
	/* With an interrupt, so that the target has files of ours of every kind. */
	bh_nvme_queue_opts_init(&queue_opts);
	queue_opts.depth = 63;
	queue_opts.interrupt = true;
	FT_EQUAL(bh_nvme_queue_create(host.nvme, &queue_opts, &q), 0);
	FT_EQUAL(bh_nvme_queue_arm(q), 0);
	ft_load_begin(&load, &host, q, host.ns, &traffic);
	if (client->load)
		poll_host(&host, &load, 50);
	FT_EQUAL(write(client->pipe[1], "x", 1), 1);
	while (client->load)
		ft_load_step(&load);
	for (;;)
		pause();
}

static void run_and_kill(struct client *client)
{
	pid_t pid = ft_fork(client_main, client);

	ft_await(client->pipe[0], 15000);
	ft_kill(pid);
}

static void killed_clients(const char *rest, const struct ft_host_opts *opts, int times)
{
	struct ft_target target;
	struct client client = { .load = true };
	struct ft_host host;

	ft_target_serve(&target, rest);
	client.socket = target.socket[0];
	if (opts)
		client.opts = *opts;
	FT_EQUAL(pipe(client.pipe), 0);
	unsigned int files = ft_target_files(&target);
	ft_host_open(&host, target.socket[0], NULL);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	ft_pattern_write(&host, q, host.ns, 0, PATTERN_BLOCKS);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	for (int i = 0; i < times; i++)
		run_and_kill(&client);
	FT_UNTIL(5000, ft_target_files(&target) == files, usleep(1000));
	/* And it still is what it was. */
	ft_host_open(&host, target.socket[0], NULL);
	q = ft_queue(&host, 0);
	ft_pattern_check(&host, q, host.ns, 0, PATTERN_BLOCKS);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	FT_UNTIL(5000, ft_target_files(&target) == files, usleep(1000));
	ft_target_stop(&target);
}

static void client_killed_50_times(void)
{
	killed_clients("ns=ram:16M", NULL, 50);
}

static void client_killed_trapped(void)
{
	killed_clients("ns=ram:16M,doorbells=trapped", NULL, 5);
}

static void client_killed_late(void)
{
	killed_clients("ns=late:16M\\,hold=10\\,seed=6", NULL, 5);
}

static void client_killed_by_message(void)
{
	struct ft_host_opts opts = { .access = BH_DMA_ACCESS_MESSAGE };

	killed_clients("ns=ram:16M", &opts, 5);
}

static void client_killed_late_by_message(void)
{
	struct ft_host_opts opts = { .access = BH_DMA_ACCESS_MESSAGE };

	killed_clients("ns=late:16M\\,hold=10\\,seed=6", &opts, 5);
}

/* ---- a second client ---- */

struct second {
	const char *socket;
	int pipe[2];
};

/* Not while another is there; but as soon as it has gone. */
static void second_main(void *arg)
{
	struct second *second = arg;
	struct ft_host_opts opts = { .quiet = true, .device_timeout_ns = 300000000 };
	struct ft_host host;

	FT_CHECK(ft_host_try(&host, second->socket, &opts) < 0);
	FT_EQUAL(write(second->pipe[1], "x", 1), 1);
	opts.device_timeout_ns = 20000000000ull;
	uint64_t deadline = ft_deadline(10000);
	while (ft_host_try(&host, second->socket, &opts) < 0) {
		FT_CHECK(bh_now_ns() < deadline);
		usleep(10000);
	}
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	ft_pattern_check(&host, q, host.ns, 0, PATTERN_BLOCKS);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
}

static void second_client_waits(void)
{
	struct ft_target target;
	struct second second;
	struct ft_host host;
	char c;

	ft_target_serve(&target, "ns=ram:16M");
	second.socket = target.socket[0];
	FT_EQUAL(pipe(second.pipe), 0);
	/* Forked before there are threads, let go when the first is in. */
	int go[2];
	FT_EQUAL(pipe(go), 0);
	pid_t pid = fork();
	FT_CHECK(pid >= 0);
	if (pid == 0) {
		close(go[1]);
		if (read(go[0], &c, 1) == 1)
			second_main(&second);
		_exit(0);
	}
	ft_host_open(&host, target.socket[0], NULL);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	ft_pattern_write(&host, q, host.ns, 0, PATTERN_BLOCKS);
	FT_EQUAL(write(go[1], "x", 1), 1);
	ft_await(second.pipe[0], 15000);
	/* The first has not noticed. */
	ft_pattern_check(&host, q, host.ns, 0, PATTERN_BLOCKS);
	usleep(100000); /* the second is at the door again */
	ft_pattern_check(&host, q, host.ns, 0, PATTERN_BLOCKS);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_join(pid, 15000);
	ft_target_stop(&target);
}

/* ---- the target is killed ---- */

static void target_killed(const char *rest)
{
	struct ft_host_opts opts = { .quiet = true };
	struct ft_target target;
	struct ft_host host;
	struct ft_load load;

	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], &opts);
	struct bh_nvme_queue *q = ft_queue(&host, 63);
	ft_pattern_write(&host, q, host.ns, 0, PATTERN_BLOCKS);
	ft_load_begin(&load, &host, q, host.ns, &traffic);
	load.no_check = true; /* the RAM of the next target is empty */
	for (int round = 0; round < 3; round++) {
		poll_host(&host, &load, 100);
		ft_load_step(&load);
		ft_target_kill(&target);
		FT_UNTIL(5000, load.gone, ft_load_step(&load));
		ft_load_drain(&load);
		FT_EQUAL(load.completed, load.submitted);
		FT_CHECK(bh_device_gone(host.dev));
		FT_EQUAL(bh_nvme_poll(host.nvme), -ENODEV);
		FT_EQUAL(bh_nvme_queue_poll(q, 0), -ENODEV);
		/* Nobody there yet. */
		FT_CHECK(bh_nvme_reopen(host.nvme) < 0);
		FT_EQUAL(bh_nvme_poll(host.nvme), -ENODEV);
		ft_target_serve(&target, rest);
		FT_EQUAL(bh_nvme_reopen(host.nvme), 0);
		ft_load_step(&load);
		FT_CHECK(!load.gone);
		/* The handles of before are good. */
		ft_load_drain(&load);
		ft_pattern_write(&host, q, host.ns, 0, PATTERN_BLOCKS);
		ft_pattern_check(&host, q, host.ns, 0, PATTERN_BLOCKS);
	}
	ft_load_drain(&load);
	ft_load_end(&load);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void target_killed_and_restarted(void)
{
	target_killed("ns=ram:16M");
}

static void target_killed_trapped(void)
{
	target_killed("ns=ram:16M,doorbells=trapped");
}

static void target_killed_late(void)
{
	target_killed("ns=late:16M\\,hold=20\\,seed=6");
}

/* A host whose target never comes back can still put everything away. */
static void target_killed_for_good(void)
{
	struct ft_host_opts opts = { .quiet = true };
	struct ft_target target;
	struct ft_host host;
	struct ft_load load;

	ft_target_serve(&target, "ns=late:16M\\,hold=1000");
	ft_host_open(&host, target.socket[0], &opts);
	struct bh_nvme_queue *q = ft_queue(&host, 63);
	ft_load_begin(&load, &host, q, host.ns, &traffic);
	ft_load_step(&load);
	FT_EQUAL(load.in_flight, traffic.depth);
	ft_target_kill(&target);
	uint64_t start = bh_now_ns();
	bh_nvme_queue_destroy(q);
	FT_EQUAL(load.failed, traffic.depth);
	ft_load_end(&load);
	ft_host_close(&host);
	FT_CHECK(bh_now_ns() - start < 5000000000ull);
}

/* ---- timeout ---- */

struct events {
	unsigned int resets, failed;
};

static void on_event(void *ctx, enum bh_nvme_event event, uint32_t value)
{
	struct events *events = ctx;

	(void)value;
	events->resets += event == BH_NVME_EVENT_RESET_DONE;
	events->failed += event == BH_NVME_EVENT_FAILED;
}

/* Held for longer than the driver waits: he aborts, then resets; either ends the request. */
static void timeout(const char *rest)
{
	struct events events = { 0 };
	struct ft_host_opts opts = {
		.quiet = true, .io_timeout_ns = 300000000, .event = on_event, .event_ctx = &events
	};
	struct bh_nvme_queue_stats stats;
	struct ft_target target;
	struct ft_host host;
	int status = -1;

	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], &opts);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	uint8_t *buf = ft_alloc(&host, 4096);
	uint64_t start = bh_now_ns();
	FT_EQUAL(bh_nvme_read(q, host.ns, buf, 0, 8, 0, ft_done, &status), 0);
	FT_UNTIL(8000, status >= 0, {
		bh_nvme_queue_poll(q, 0);
		bh_nvme_poll(host.nvme);
	});
	FT_CHECK(status != BH_NVME_SC_SUCCESS);
	FT_CHECK(bh_now_ns() - start >= 250000000);
	bh_nvme_queue_stats(q, &stats);
	FT_CHECK(stats.aborts > 0);
	FT_EQUAL(events.failed, 0);
	/* One that does not need the store. */
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_VENDOR_FIRST, .nsid = 1 };
	status = -1;
	uint64_t deadline = ft_deadline(5000);
	while (bh_nvme_io(q, &cmd, NULL, 0, ft_done, &status) == -EAGAIN) {
		bh_nvme_poll(host.nvme);
		bh_nvme_queue_poll(q, 0);
		FT_CHECK(bh_now_ns() < deadline);
	}
	FT_EQUAL(ft_wait(q, &status) & BH_NVME_STATUS_SC_MASK, BH_NVME_SC_INVALID_OPCODE);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void timeout_aborts_or_resets(void)
{
	timeout("ns=late:16M\\,hold=30000");
}

static void timeout_aborts_or_resets_direct(void)
{
	timeout("ns=late:16M\\,hold=30000\\,direct=1");
}

/* ---- a host that says nothing ---- */

static bool is_fatal(const struct ft_host *host)
{
	uint32_t csts = 0;

	FT_EQUAL(bh_device_region_read(host->dev, 0, BH_NVME_REG_CSTS, &csts, sizeof(csts)), 0);
	return csts & BH_NVME_CSTS_CFS;
}

/* Kept alive by bh_nvme_poll(), given up without, taken up again by a reset. */
static void silent_host_is_given_up(void)
{
	struct events events = { 0 };
	const struct ft_host_opts opts = { .keep_alive_ms = 500,
					   .event = on_event,
					   .event_ctx = &events };
	struct bh_nvme_error_log error;
	struct ft_target target;
	struct ft_host host;
	uint32_t ms = 0;

	ft_target_serve(&target, "ns=ram:16M");
	ft_host_open(&host, target.socket[0], &opts);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	uint8_t *buf = ft_alloc(&host, 4096);
	uint64_t end = bh_now_ns() + 1200000000;
	while (bh_now_ns() < end) {
		bh_nvme_poll(host.nvme);
		usleep(10000);
	}
	FT_CHECK(!is_fatal(&host));
	FT_UNTIL(10000, is_fatal(&host), usleep(10000));
	FT_EQUAL(bh_nvme_reset(host.nvme), 0);
	FT_UNTIL(10000, events.resets == 1, {
		bh_nvme_queue_poll(q, 0);
		bh_nvme_poll(host.nvme);
	});
	FT_EQUAL(ft_read(q, host.ns, buf, 0, 8), 0);
	FT_EQUAL(bh_nvme_get_feature(host.nvme, BH_NVME_FEAT_KEEP_ALIVE_TIMER, 0, 0, NULL, 0, &ms),
		 0);
	FT_EQUAL(ms, 500);
	FT_EQUAL(bh_nvme_get_log(host.nvme, BH_NVME_LOG_ERROR, BH_NVME_NSID_ALL, 0, &error,
				 sizeof(error)),
		 0);
	FT_EQUAL(error.status >> 1, BH_NVME_SC_KEEP_ALIVE_EXPIRED);
	/* What it was like then was captured, with the queue that there was. */
	static char log[16384];
	const struct bh_nvme_telemetry *head = (const struct bh_nvme_telemetry *)log;
	FT_EQUAL(bh_nvme_get_log(host.nvme, BH_NVME_LOG_TELEMETRY_CTRL, BH_NVME_NSID_ALL, 0, log,
				 sizeof(log)),
		 0);
	FT_CHECK(head->ctrl_available == 1 && head->dalb1 && head->dalb3 > head->dalb2);
	FT_CHECK(strstr(head->reason, "Keep Alive"));
	FT_CHECK(strstr(log + 512, "bellhop_telemetry: 1\n"));
	FT_CHECK(strstr(log + 512 * (head->dalb1 + 1), "queue 1: here "));
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

FT_MAIN({ "reset_completes_once", reset_completes_once, 0 },
	{ "reset_completes_once_trapped", reset_completes_once_trapped, 0 },
	{ "reset_completes_once_late", reset_completes_once_late, 0 },
	{ "destroy_completes_once", destroy_completes_once, 0 },
	{ "client_killed_50_times", client_killed_50_times, 0 },
	{ "client_killed_trapped", client_killed_trapped, 0 },
	{ "client_killed_late", client_killed_late, 0 },
	{ "client_killed_by_message", client_killed_by_message, 0 },
	{ "client_killed_late_by_message", client_killed_late_by_message, 0 },
	{ "second_client_waits", second_client_waits, 0 },
	{ "target_killed_and_restarted", target_killed_and_restarted, 0 },
	{ "target_killed_trapped", target_killed_trapped, 0 },
	{ "target_killed_late", target_killed_late, 0 },
	{ "target_killed_for_good", target_killed_for_good, 0 },
	{ "timeout_aborts_or_resets", timeout_aborts_or_resets, 0 },
	{ "timeout_aborts_or_resets_direct", timeout_aborts_or_resets_direct, 0 },
	{ "silent_host_is_given_up", silent_host_is_given_up, 0 })

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients that come and go by the thousand, and clients that do everything wrong at random, while a
 * witness on another controller of the same target verifies its data without a break.
 *
 * The second takes BH_SOAK_SECONDS (default 12) and begins from BH_SOAK_SEED (default: the time),
 * which it says.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../common/send_fds.h"
#include "ft.h"
#include "vfu/vfu.h"

#define PATTERN_BLOCKS 2048

static const struct ft_traffic traffic = {
	.blocks = PATTERN_BLOCKS, .max_blocks = 16, .depth = 24, .seed = 5
};

/* ---- a client that is only a socket ---- */

static int raw_connect(const char *socket)
{
	uint64_t end = ft_deadline(10000);
	int fd = -1, rc;

	do {
		rc = vfu_connect(socket, 1000, &fd);
	} while (rc != 0 && bh_now_ns() < end);
	FT_EQUAL(rc, 0);
	FT_CHECK(fcntl(fd, F_SETFL, 0) == 0); /* it may wait */
	return fd;
}

static void raw_send(int fd, const void *buf, size_t len, const int *fds, unsigned int nfds)
{
	(void)!send_with_fds(fd, buf, len, fds, nfds, 0); /* dropped: as it should be */
}

static void raw_command(int fd, uint16_t command, const void *body, size_t len, const int *fds,
			unsigned int nfds)
{
	struct vfu_header header = { .command = command, .size = (uint32_t)(sizeof(header) + len) };
	uint8_t buf[512];

	FT_CHECK(len <= sizeof(buf) - sizeof(header));
	memcpy(buf, &header, sizeof(header));
	if (len)
		memcpy(buf + sizeof(header), body, len);
	raw_send(fd, buf, sizeof(header) + len, fds, nfds);
}

static void raw_negotiate(int fd)
{
	const struct vfu_version version = { VFU_MAJOR, VFU_MINOR };
	uint8_t reply[512];

	raw_command(fd, VFU_VERSION, &version, sizeof(version), NULL, 0);
	FT_CHECK(recv(fd, reply, sizeof(reply), 0) > (ssize_t)sizeof(struct vfu_header));
}

/* ---- a thousand clients ---- */

static long memory_kib(const struct ft_target *target)
{
	char path[64], line[128];
	long kib = -1;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)target->pid);
	FILE *file = fopen(path, "re");
	FT_CHECK(file != NULL);
	while (kib < 0 && fgets(line, sizeof(line), file))
		(void)!sscanf(line, "RssAnon: %ld", &kib);
	fclose(file);
	FT_CHECK(kib >= 0);
	return kib;
}

/* Every tenth does I/O, the others leave after their first words or without any. */
static void come_and_leave(const struct ft_target *target, unsigned int i)
{
	struct ft_host host;

	if (i % 10 == 0) {
		ft_host_open(&host, target->socket[0], NULL);
		struct bh_nvme_queue *q = ft_queue(&host, 0);
		void *buf = ft_alloc(&host, 4096);
		FT_EQUAL(ft_write(q, host.ns, buf, i % 100, 8), 0);
		bh_nvme_queue_destroy(q);
		ft_host_close(&host);
		return;
	}
	int fd = raw_connect(target->socket[0]);
	if (i % 10 != 9)
		raw_negotiate(fd);
	close(fd);
}

static void a_thousand_clients(void)
{
	enum { WARM = 100, CLIENTS = 1000, SLACK_KIB = 256 };
	struct ft_target target;
	unsigned int files;
	long kib;

	ft_target_serve(&target, "ns=ram:16M");
	files = ft_target_files(&target);
	for (unsigned int i = 0; i < WARM; i++)
		come_and_leave(&target, i);
	FT_UNTIL(5000, ft_target_files(&target) == files, usleep(1000));
	kib = memory_kib(&target);
	for (unsigned int i = 0; i < CLIENTS; i++)
		come_and_leave(&target, i);
	FT_UNTIL(5000, ft_target_files(&target) == files, usleep(1000));
	/* Sanitizers keep freed memory for a while, and look for leaks at the end themselves. */
	if (!ft_is_sanitized() && memory_kib(&target) > kib + SLACK_KIB)
		ft_fail(__FILE__, __LINE__, "from %ld KiB to %ld after %d clients", kib,
			memory_kib(&target), CLIENTS);
	ft_target_stop(&target);
}

/* ---- attackers: each a process, on the first controller ---- */

static const char *victim;
static uint64_t attacker_seed;

static unsigned int random_below(unsigned int n)
{
	return (unsigned int)(ft_random(&attacker_seed) % n);
}

struct attacker {
	struct ft_host host;
	struct bh_nvme_queue *q;
	struct ft_load load;
};

static void attacker_begin(struct attacker *a)
{
	static const enum bh_dma_access ways[] = { BH_DMA_ACCESS_AUTO, BH_DMA_ACCESS_AUTO,
						   BH_DMA_ACCESS_FILE_IO, BH_DMA_ACCESS_MESSAGE };
	struct ft_host_opts opts = { .access = ways[random_below(4)], .quiet = true };

	ft_host_open(&a->host, victim, &opts);
	a->q = ft_queue(&a->host, 31);
	ft_load_begin(&a->load, &a->host, a->q, a->host.ns, &traffic);
}

static void attacker_load(struct attacker *a, unsigned int ms)
{
	for (uint64_t end = bh_now_ns() + ms * 1000000ull; bh_now_ns() < end;) {
		ft_load_step(&a->load);
		bh_nvme_poll(a->host.nvme);
	}
}

/* Loads the controller until somebody does something to it. */
static void attack_load(void *arg)
{
	struct attacker a;

	(void)arg;
	attacker_begin(&a);
	for (;;)
		attacker_load(&a, 1000);
}

static void attack_reset(void *arg)
{
	struct attacker a;

	(void)arg;
	attacker_begin(&a);
	for (unsigned int i = 1 + random_below(4); i > 0; i--) {
		attacker_load(&a, 1 + random_below(10));
		(void)bh_nvme_reset(a.host.nvme);
	}
	_exit(0); /* in the middle of it */
}

/* The memory of requests in flight goes, in order. */
static void attack_unmap(void *arg)
{
	struct attacker a;

	(void)arg;
	attacker_begin(&a);
	attacker_load(&a, 1 + random_below(10));
	(void)bh_dma_space_remove(a.host.space, a.load.pool);
	a.load.no_check = true;
	attacker_load(&a, 5);
	_exit(0);
}

/* It goes without a word. */
static void attack_truncate(void *arg)
{
	enum { BUFFERS = 32, BYTES = 65536 };
	struct attacker a;
	struct bh_pool *pool;
	int status[BUFFERS], fd = memfd_create("cut", MFD_CLOEXEC);

	(void)arg;
	attacker_begin(&a);
	FT_CHECK(fd >= 0 && ftruncate(fd, BUFFERS * BYTES) == 0);
	uint8_t *va = mmap(NULL, BUFFERS * BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	FT_CHECK(va != MAP_FAILED);
	FT_EQUAL(bh_pool_import(va, BUFFERS * BYTES, fd, 0, "cut", &pool), 0);
	FT_EQUAL(bh_dma_space_add(a.host.space, pool), 0);
	unsigned int when = random_below(8);
	for (unsigned int i = 0; i < 16; i++) {
		if (i == when)
			FT_EQUAL(ftruncate(fd, random_below(2) ? 0 : BYTES), 0);
		(void)bh_nvme_read(a.q, a.host.ns, va + (size_t)i * BYTES, 0, BYTES / 512, 0,
				   ft_done, &status[i]);
		bh_nvme_queue_flush(a.q);
		(void)bh_nvme_queue_poll(a.q, 0);
	}
	attacker_load(&a, 5);
	_exit(0);
}

/* A message of which the rest never comes. */
static void attack_half_message(void *arg)
{
	uint8_t bytes[64] = { 0 };
	struct vfu_header header = { .command = (uint16_t)random_below(20), .size = 4096 };
	int fd = raw_connect(victim);

	(void)arg;
	if (random_below(2))
		raw_negotiate(fd);
	memcpy(bytes, &header, sizeof(header));
	raw_send(fd, bytes, 1 + random_below(sizeof(bytes)), NULL, 0);
	usleep(random_below(20000));
	_exit(0);
}

static void attack_garbage(void *arg)
{
	uint8_t bytes[4096];
	int fd = raw_connect(victim);

	(void)arg;
	if (random_below(2))
		raw_negotiate(fd);
	for (unsigned int n = random_below(8); n > 0; n--) {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)random_below(256);
		raw_send(fd, bytes, sizeof(bytes), NULL, 0);
	}
	_exit(0);
}

/* More descriptors than anybody wants, and nobody reads the answers. */
static void attack_fd_flood(void *arg)
{
	const struct vfu_dma_map map = { .argsz = sizeof(map), .flags = 7, .size = 4096 };
	int fd = raw_connect(victim), fds[64];
	unsigned int n = 1 + random_below(64);

	(void)arg;
	raw_negotiate(fd);
	FT_CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	for (unsigned int i = 0; i < n; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	for (unsigned int i = 0; i < 200; i++)
		raw_command(fd, (uint16_t)random_below(20), &map, sizeof(map), fds, n);
	usleep(random_below(20000));
	_exit(0);
}

/* ---- the soak ---- */

enum fault { KILL, STALL, RESET, UNMAP, TRUNCATE, HALF_MESSAGE, GARBAGE, FD_FLOOD, FAULTS };

static const struct {
	const char *name;
	void (*attack)(void *arg);
} faults[FAULTS] = {
	[KILL] = { "killed", attack_load },
	[STALL] = { "stalled", attack_load },
	[RESET] = { "reset", attack_reset },
	[UNMAP] = { "unmapped", attack_unmap },
	[TRUNCATE] = { "truncated", attack_truncate },
	[HALF_MESSAGE] = { "half messages", attack_half_message },
	[GARBAGE] = { "garbage", attack_garbage },
	[FD_FLOOD] = { "descriptor floods", attack_fd_flood },
};

/* Verified random traffic until there is SIGTERM. */
static volatile sig_atomic_t enough;

static void on_term(int sig)
{
	(void)sig;
	enough = 1;
}

struct witness {
	const char *socket;
	int pipe[2];
};

static void witness_main(void *arg)
{
	struct ft_traffic verified = { .max_blocks = 32, .depth = 16, .count = 2000 };
	struct witness *w = arg;
	struct ft_host host;
	unsigned int runs = 0;

	signal(SIGTERM, on_term);
	ft_host_open(&host, w->socket, NULL);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	FT_EQUAL(write(w->pipe[1], "x", 1), 1);
	for (; !enough; runs++) {
		/* Each run in a region of its own, which holds zeros still; then all over again. */
		uint64_t blocks = bh_nvme_ns_blocks(host.ns) / 16;

		if (runs == 16)
			break;
		verified.first = runs * blocks;
		verified.blocks = blocks;
		verified.seed = runs;
		ft_verify_random(&host, q, host.ns, &verified);
	}
	/* What was verified before stays read and written at full depth to the end. */
	struct ft_load load;
	struct ft_traffic steady = traffic;

	ft_pattern_write(&host, q, host.ns, 0, PATTERN_BLOCKS);
	ft_load_begin(&load, &host, q, host.ns, &steady);
	while (!enough)
		ft_load_step(&load);
	ft_load_drain(&load);
	FT_EQUAL(load.failed, 0);
	ft_load_end(&load);
	ft_pattern_check(&host, q, host.ns, 0, PATTERN_BLOCKS);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
}

static void wait_for(pid_t pid)
{
	int status;

	FT_UNTIL(15000, waitpid(pid, &status, WNOHANG) == pid, usleep(500));
}

static void inject(enum fault fault)
{
	attacker_seed = ft_random(&attacker_seed);
	pid_t pid = ft_fork(faults[fault].attack, NULL);

	if (fault == KILL || fault == STALL) {
		usleep(5000 + random_below(40000));
		if (fault == STALL) {
			FT_CHECK(kill(pid, SIGSTOP) == 0);
			usleep(random_below(300000));
			if (random_below(2))
				FT_CHECK(kill(pid, SIGCONT) == 0);
			usleep(random_below(20000));
		}
		FT_CHECK(kill(pid, SIGKILL) == 0);
	}
	wait_for(pid);
}

/* The next client finds a controller that works, and the data it should. */
static void look(bool write_first)
{
	struct ft_host host;

	ft_host_open(&host, victim, NULL);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	if (write_first)
		ft_pattern_write(&host, q, host.ns, 0, PATTERN_BLOCKS);
	ft_pattern_check(&host, q, host.ns, 0, PATTERN_BLOCKS);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void soak(const char *store, uint64_t seconds)
{
	unsigned int count[FAULTS] = { 0 }, files, n = 0;
	struct witness witness;
	struct ft_target target;
	char specs[2][192];

	ft_target_init(&target);
	snprintf(specs[0], sizeof(specs[0]), "nvme:%s,ns=%s", target.socket[0], store);
	snprintf(specs[1], sizeof(specs[1]), "nvme:%s,ns=ram:64M,doorbells=trapped",
		 target.socket[1]);
	ft_target_start(&target, ft_cpus(1, ','),
			(const char *const[]){ specs[0], specs[1], NULL });
	victim = target.socket[0];
	witness.socket = target.socket[1];
	FT_EQUAL(pipe(witness.pipe), 0);
	look(true);
	pid_t pid = ft_fork(witness_main, &witness);
	ft_await(witness.pipe[0], 15000);
	files = ft_target_files(&target);
	for (uint64_t end = bh_now_ns() + seconds * 1000000000ull; bh_now_ns() < end; n++) {
		enum fault fault = (enum fault)random_below(FAULTS);

		inject(fault);
		count[fault]++;
		FT_CHECK(ft_target_is_alive(&target));
		if (n % 4 == 0)
			look(false);
	}
	look(false);
	FT_UNTIL(5000, ft_target_files(&target) == files, usleep(1000));
	FT_CHECK(kill(pid, SIGTERM) == 0);
	ft_join(pid, 15000);
	ft_target_stop(&target);
	printf("note: %s:", store);
	for (unsigned int i = 0; i < FAULTS; i++)
		printf(" %s %u%s", faults[i].name, count[i], i + 1 < FAULTS ? "," : "\n");
	fflush(stdout);
}

static void everything_wrong(void)
{
	uint64_t seed = setting("BH_SOAK_SEED", bh_now_ns()),
		 seconds = setting("BH_SOAK_SECONDS", 12);

	attacker_seed = seed;
	printf("note: BH_SOAK_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	soak("ram:16M", seconds / 2);
	soak("late:16M\\,hold=2\\,seed=9", seconds / 2);
}

FT_MAIN({ "a_thousand_clients", a_thousand_clients, 120 },
	{ "everything_wrong", everything_wrong, 7200 })

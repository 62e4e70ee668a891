/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two controllers of one target on one core: whatever the client of the first does or leaves
 * undone, that of the second, the witness, has its share, and the target no more memory than is
 * decent.
 *
 * Shares are counted, not timed: how much of the first client's work is done while one request of
 * the witness is. Everything happens in one thread of this process, which may lose its CPU at the
 * worst moment; so some rounds are made, of which not the worst are looked at, and only what a
 * target without bounds exceeds by far fails. (That a pass is bounded, exactly, is in unit tests.)
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bellhop/barrier.h>
#include <bellhop/vfu_server.h>

#include "foreign.h"
#include "ft.h"

#define WAIT_MS 20000
#define MIB (1024ul * 1024)
#define ROUNDS 31

static void serve_two(struct ft_target *target, const char *first)
{
	char specs[2][192];

	ft_target_init(target);
	snprintf(specs[0], sizeof(specs[0]), "nvme:%s,%s", target->socket[0], first);
	snprintf(specs[1], sizeof(specs[1]), "nvme:%s,ns=ram:16M", target->socket[1]);
	ft_target_start(target, ft_cpus(1, ','), (const char *const[]){ specs[0], specs[1], NULL });
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The value that `rank` of ROUNDS are below. */
static void check_rank(uint64_t *v, unsigned int rank, uint64_t most)
{
	qsort(v, ROUNDS, sizeof(*v), compare);
	printf("note: %llu, %llu at most; bound %llu\n", (unsigned long long)v[rank],
	       (unsigned long long)v[ROUNDS - 1], (unsigned long long)most);
	fflush(stdout);
	FT_CHECK(v[rank] <= most);
}

/* A client of the second controller: verified reads and writes, one at a time. */
struct witness {
	struct ft_host host;
	struct bh_nvme_queue *q;
	unsigned int turn;
};

static void witness_open(struct witness *w, const struct ft_target *target)
{
	ft_host_open(&w->host, target->socket[1], NULL);
	w->q = ft_queue(&w->host, 0);
}

static void witness_close(struct witness *w)
{
	bh_nvme_queue_destroy(w->q);
	ft_host_close(&w->host);
}

static void witness_works(struct witness *w)
{
	uint64_t blocks = bh_nvme_ns_blocks(w->host.ns) / 64, first = w->turn++ % 64 * blocks;

	ft_pattern_write(&w->host, w->q, w->host.ns, first, blocks);
	ft_pattern_check(&w->host, w->q, w->host.ns, first, blocks);
}

/* Goes, and comes again, as somebody who attaches now. */
static void witness_returns(struct witness *w, const struct ft_target *target)
{
	witness_close(w);
	witness_open(w, target);
	witness_works(w);
}

/* ---- queues ---- */

#define QUEUES 192
#define DEPTH 31
#define BYTES (128u * 1024)

struct greedy {
	struct ft_host host;
	struct bh_nvme_queue *q[QUEUES];
	unsigned int in_flight[QUEUES];
	void *buf;
	uint64_t completed;
};

struct slot {
	struct greedy *g;
	unsigned int queue;
};

static struct slot slots[QUEUES];

static void greedy_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct slot *slot = arg;

	FT_EQUAL(cpl->status >> 1, 0);
	slot->g->in_flight[slot->queue]--;
	slot->g->completed++;
}

static void greedy_reap(struct greedy *g)
{
	for (unsigned int i = 0; i < QUEUES; i++)
		FT_CHECK(!g->q[i] || bh_nvme_queue_poll(g->q[i], 0) >= 0);
}

static void greedy_fill(struct greedy *g)
{
	for (unsigned int i = 0; i < QUEUES; i++) {
		for (; g->in_flight[i] < DEPTH; g->in_flight[i]++)
			FT_EQUAL(bh_nvme_read(g->q[i], g->host.ns, g->buf, 0, BYTES / 512, 0,
					      greedy_done, &slots[i]),
				 0);
		bh_nvme_queue_flush(g->q[i]);
	}
}

static void greedy_open(struct greedy *g, const struct ft_target *target)
{
	const struct ft_host_opts opts = { .queues = QUEUES };

	memset(g, 0, sizeof(*g));
	ft_host_open(&g->host, target->socket[0], &opts);
	g->buf = ft_alloc(&g->host, BYTES);
	for (unsigned int i = 0; i < QUEUES; i++) {
		g->q[i] = ft_queue(&g->host, DEPTH);
		slots[i] = (struct slot){ g, i };
	}
}

static void greedy_close(struct greedy *g)
{
	for (unsigned int i = 0; i < QUEUES; i++) {
		FT_UNTIL(WAIT_MS, g->in_flight[i] == 0, greedy_reap(g));
		bh_nvme_queue_destroy(g->q[i]);
		g->q[i] = NULL;
	}
	ft_host_close(&g->host);
}

/* 192 full queues, 744 MiB of reads: a pass does a bounded part of it, then others have their turn.
 */
static void full_queues_beside_depth_one(void)
{
	uint64_t bytes[ROUNDS];
	struct ft_target target;
	struct witness w = { .turn = 0 };
	struct greedy g;

	serve_two(&target, "ns=ram:16M,queues=192");
	witness_open(&w, &target);
	greedy_open(&g, &target);
	void *buf = ft_alloc(&w.host, 4096);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		int status = -1;

		greedy_fill(&g);
		greedy_reap(&g);
		uint64_t before = g.completed;
		FT_EQUAL(bh_nvme_read(w.q, w.host.ns, buf, 0, 8, 0, ft_done, &status), 0);
		FT_EQUAL(ft_wait(w.q, &status), 0);
		greedy_reap(&g);
		bytes[i] = (g.completed - before) * BYTES;
	}
	/* A quarter of a pass without bounds is 24 MiB. */
	check_rank(bytes, ROUNDS / 4, (ft_is_sanitized() ? 96 : 16) * MIB);
	greedy_close(&g);
	witness_close(&w);
	ft_target_stop(&target);
}

/* ---- messages ---- */

/* Requests without a pause, as many at a time as go into the socket. */
struct flood {
	struct foreign c;
	uint8_t bytes[64 * 1024]; /* of messages of one size */
	size_t message, sent;	  /* bytes of a message; bytes of `bytes` that are sent */
	size_t reply;		  /* bytes of its reply */
	uint64_t requests, received;
};

static void flood_open(struct flood *f, const char *socket, uint32_t region, uint64_t offset,
		       uint32_t bytes)
{
	const struct vfu_region_access access = { offset, region, bytes };
	const struct vfu_header header = { .command = VFU_REGION_READ,
					   .size = sizeof(header) + sizeof(access) };

	memset(f, 0, sizeof(*f));
	foreign_connect(&f->c, socket);
	foreign_version(&f->c, 1, NULL);
	FT_CHECK(fcntl(f->c.sock, F_SETFL, O_NONBLOCK) == 0);
	f->message = header.size;
	f->reply = header.size + bytes;
	for (size_t at = 0; at < sizeof(f->bytes); at += f->message) {
		memcpy(f->bytes + at, &header, sizeof(header));
		memcpy(f->bytes + at + sizeof(header), &access, sizeof(access));
	}
}

/* As much as there is room for, in one go, but no more than `most` bytes; bytes sent. */
static size_t flood_send(struct flood *f, size_t most)
{
	size_t at = f->sent % sizeof(f->bytes), len = sizeof(f->bytes) - at;
	ssize_t n = send(f->c.sock, f->bytes + at, len < most ? len : most, MSG_NOSIGNAL);

	if (n < 0) {
		FT_EQUAL(errno, EAGAIN);
		n = 0;
	}
	f->sent += (size_t)n;
	f->requests = f->sent / f->message;
	return (size_t)n;
}

/* What has come, as much of it as one call takes; bytes. */
static size_t flood_receive(struct flood *f)
{
	uint8_t buf[64 * 1024];
	ssize_t n = recv(f->c.sock, buf, sizeof(buf), 0);

	if (n < 0) {
		FT_EQUAL(errno, EAGAIN);
		return 0;
	}
	FT_CHECK(n > 0);
	f->received += (size_t)n;
	return (size_t)n;
}

/* One register of the second controller is read while messages to the first never end. */
static void a_flood_of_register_messages(void)
{
	const struct vfu_region_access access = { BH_NVME_REG_VS, BH_PCI_BAR0, 4 };
	uint64_t replies[ROUNDS];
	struct ft_target target;
	struct foreign w;
	static struct flood f;

	serve_two(&target, "ns=ram:16M");
	foreign_connect(&w, target.socket[1]);
	foreign_version(&w, 1, NULL);
	flood_open(&f, target.socket[0], BH_PCI_BAR0, BH_NVME_REG_CSTS, 4);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		char byte;

		while (flood_send(&f, MIB) > 0)
			;
		uint64_t before = f.received;
		foreign_send(&w, VFU_REGION_READ, &access, sizeof(access), NULL, 0);
		FT_UNTIL(WAIT_MS, recv(w.sock, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1, {
			flood_receive(&f);
			flood_send(&f, 32 * f.message);
		});
		replies[i] = (f.received - before) / f.reply;
		FT_EQUAL(foreign_recv(&w, VFU_REGION_READ), 0);
	}
	/*
	 * Not a few passes' worth: what lay in the sockets counts, and what is answered before this
	 * process looks. Without a bound the flood would be served first, and it does not end.
	 */
	check_rank(replies, ROUNDS / 2, 8192);
	foreign_close(&w);
	foreign_close(&f.c);
	ft_target_stop(&target);
}

#define ADMIN_ENTRIES 4096

static unsigned int count_completions(struct foreign *c, struct foreign_queue *q)
{
	struct bh_nvme_cpl cpl;
	unsigned int n = 0;

	while (foreign_reap(c, q, &cpl)) {
		FT_EQUAL(cpl.status >> 1, 0);
		n++;
	}
	return n;
}

/* The largest admin queue there can be, full, is no reason to let a register read wait. */
static void a_flood_of_admin_commands(void)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_IDENTIFY, .cdw10 = BH_NVME_CNS_CTRL };
	struct foreign_queue admin = { .entries = ADMIN_ENTRIES, .phase = 1 };
	struct foreign_memory memory;
	uint64_t commands[ROUNDS];
	struct vfu_region_info info;
	struct ft_target target;
	struct foreign c, w;

	serve_two(&target, "ns=ram:16M");
	foreign_connect(&w, target.socket[1]);
	foreign_version(&w, 1, NULL);
	foreign_connect(&c, target.socket[0]);
	foreign_version(&c, 1, NULL);
	info = foreign_region(&c, BH_PCI_BAR0, 4064, 4064);
	foreign_map_doorbells(&c, &info);
	foreign_memory_new(&memory, MIB, 4096, 0);
	FT_EQUAL(foreign_dma_map(&c, &memory), 0);
	admin.sq = (void *)memory.va;
	admin.cq = (void *)(memory.va + ADMIN_ENTRIES * sizeof(*admin.sq));
	foreign_enable(&c, &admin);
	foreign_prp(&cmd, memory.va + MIB - 4096, 4096);
	for (unsigned int i = 0; i < ADMIN_ENTRIES; i++)
		admin.sq[i] = cmd;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		unsigned int n;

		/* All but the last of a ring at once. */
		admin.tail = (uint16_t)((admin.tail + ADMIN_ENTRIES - 2) % ADMIN_ENTRIES);
		foreign_submit(&c, &admin, &cmd);
		FT_UNTIL(WAIT_MS, (n = count_completions(&c, &admin)) > 0, bh_relax());
		foreign_get(&w, BH_PCI_BAR0, BH_NVME_REG_VS, 4);
		commands[i] = count_completions(&c, &admin);
		n += (unsigned int)commands[i];
		FT_UNTIL(WAIT_MS, n == ADMIN_ENTRIES - 1, n += count_completions(&c, &admin));
	}
	check_rank(commands, ROUNDS / 2, 512);
	foreign_close(&w);
	foreign_close(&c);
	ft_target_stop(&target);
}

/* ---- clients that stand still ---- */

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

static void check_memory(const struct ft_target *target, long before, long most_kib)
{
	long now = memory_kib(target);

	/* Sanitizers keep what was freed for a while. */
	if (!ft_is_sanitized() && now > before + most_kib)
		ft_fail(__FILE__, __LINE__, "from %ld KiB to %ld", before, now);
}

/*
 * 64 MiB of replies are asked for and none is read: some are made, then no more requests are read.
 * Once it reads, it gets every one.
 */
static void replies_that_nobody_reads(void)
{
	enum { COUNT = 16384, BYTES_OF_REPLY = 4096 };
	static struct flood f;
	struct ft_target target;
	struct witness w = { .turn = 0 };
	size_t still = 0;
	long kib;

	serve_two(&target, "ns=ram:16M");
	witness_open(&w, &target);
	witness_works(&w);
	kib = memory_kib(&target);
	flood_open(&f, target.socket[0], BH_PCI_CONFIG, 0, BYTES_OF_REPLY);
	/* Until nothing has gone in for a while. */
	while (still < 20) {
		still = flood_send(&f, MIB) ? 0 : still + 1;
		FT_CHECK(f.requests < COUNT);
		usleep(5000);
	}
	for (unsigned int i = 0; i < 10; i++) {
		witness_works(&w);
		FT_EQUAL(flood_send(&f, MIB), 0);
	}
	witness_returns(&w, &target);
	check_memory(&target, kib, 8192);
	/* The last request may have gone in half: its rest follows. */
	FT_UNTIL(WAIT_MS, f.requests >= COUNT && f.sent % f.message == 0, {
		flood_receive(&f);
		flood_send(&f, 1);
	});
	FT_UNTIL(WAIT_MS, f.received == f.requests * f.reply, {
		if (!flood_receive(&f))
			usleep(100);
	});
	check_memory(&target, kib, 8192);
	foreign_close(&f.c);
	witness_close(&w);
	ft_target_stop(&target);
}

/* Of messages of any kind, cut off anywhere: nobody waits for the rest but the one who owes it. */
static void half_a_message(void)
{
	static uint8_t rest[1024 * 1024];
	static const size_t lens[] = { 1, 15, 16, 17, 100000, 1024 * 1024 };
	struct ft_target target;
	struct witness w = { .turn = 0 };
	struct foreign c;

	serve_two(&target, "ns=ram:16M");
	witness_open(&w, &target);
	witness_works(&w);
	long kib = memory_kib(&target);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		const struct vfu_header header = { .command = (uint16_t)(9 + i % 2),
						   .size = sizeof(header) + 16 + 1024 * 1024 };
		size_t n = lens[i], at = 0;

		foreign_connect(&c, target.socket[0]);
		foreign_version(&c, 1, NULL);
		memcpy(rest, &header, sizeof(header));
		while (at < n) {
			ssize_t sent = send(c.sock, rest + at, n - at, MSG_NOSIGNAL);

			FT_CHECK(sent > 0);
			at += (size_t)sent;
		}
		witness_works(&w);
		check_memory(&target, kib, 4096);
		foreign_close(&c);
	}
	witness_returns(&w, &target);
	/* The controller it had is there for the next. */
	foreign_connect(&c, target.socket[0]);
	foreign_version(&c, 1, NULL);
	FT_EQUAL(foreign_get(&c, BH_PCI_BAR0, BH_NVME_REG_CC, 4), 0);
	foreign_close(&c);
	witness_close(&w);
	ft_target_stop(&target);
}

/*
 * One takes the controller's only place with half a VERSION and never closes; behind it others
 * come. It is they who are served in the end.
 */
static void half_a_version_in_the_only_place(void)
{
	static const uint8_t half[] = { 0, 0, VFU_VERSION, 0, 20, 0, 0, 0 };
	struct ft_target target;
	struct witness w = { .turn = 0 };
	struct foreign c;
	int fd;

	serve_two(&target, "ns=ram:16M");
	witness_open(&w, &target);
	FT_EQUAL(vfu_connect(target.socket[0], WAIT_MS, &fd), 0);
	FT_EQUAL(write(fd, half, sizeof(half)), sizeof(half));
	witness_returns(&w, &target);
	foreign_connect(&c, target.socket[0]);
	foreign_version(&c, 1, NULL); /* answered when the other one's time is over */
	witness_works(&w);
	foreign_close(&c);
	close(fd);
	witness_close(&w);
	ft_target_stop(&target);
}

/* Its eventfds are full and block: interrupts are lost on it, and nothing else. */
static void interrupts_that_nobody_takes(void)
{
	struct foreign_queue admin, io;
	struct foreign_memory memory;
	struct vfu_region_info info;
	struct ft_target target;
	struct witness w = { .turn = 0 };
	struct foreign c;
	int fds[2];

	serve_two(&target, "ns=ram:16M");
	witness_open(&w, &target);
	foreign_connect(&c, target.socket[0]);
	foreign_version(&c, 1, NULL);
	info = foreign_region(&c, BH_PCI_BAR0, 4064, 4064);
	foreign_map_doorbells(&c, &info);
	for (unsigned int i = 0; i < 2; i++) {
		const struct vfu_irq_set set = { .argsz = sizeof(set),
						 .flags = VFU_IRQ_DATA_EVENTFD |
							  VFU_IRQ_ACTION_TRIGGER,
						 .index = BH_PCI_MSIX,
						 .start = i,
						 .count = 1 };
		const uint64_t full = UINT64_MAX - 1;

		fds[i] = eventfd(0, EFD_CLOEXEC); /* blocking */
		FT_EQUAL(write(fds[i], &full, sizeof(full)), sizeof(full));
		FT_EQUAL(foreign_call(&c, VFU_DEVICE_SET_IRQS, &set, sizeof(set), &fds[i], 1), 0);
	}
	foreign_memory_new(&memory, MIB, 4096, 0);
	FT_EQUAL(foreign_dma_map(&c, &memory), 0);
	foreign_queue_init(&admin, 0, 32, memory.va);
	foreign_queue_init(&io, 1, 32, memory.va + FOREIGN_QUEUE_BYTES);
	foreign_enable(&c, &admin);
	foreign_queue_create(&c, &admin, &io, 1);
	for (unsigned int i = 0; i < 200; i++) {
		struct bh_nvme_cmd cmd = foreign_rw(BH_NVME_CMD_READ, i, 8);

		foreign_sgl(&cmd, memory.va + 4ul * FOREIGN_QUEUE_BYTES, 4096);
		FT_EQUAL(foreign_run(&c, &io, &cmd), 0);
	}
	witness_works(&w);
	/* And while nobody takes completions either. */
	for (unsigned int i = 0; i < 31; i++) {
		struct bh_nvme_cmd cmd = foreign_rw(BH_NVME_CMD_READ, i, 8);

		foreign_sgl(&cmd, memory.va + 4ul * FOREIGN_QUEUE_BYTES, 4096);
		foreign_submit(&c, &io, &cmd);
	}
	witness_returns(&w, &target);
	foreign_get(&c, BH_PCI_BAR0, BH_NVME_REG_CSTS, 4);
	foreign_close(&c);
	witness_close(&w);
	ft_target_stop(&target);
}

/*
 * Memory is taken away under requests that take a second: that command waits, what is sent behind
 * it is held back to a bound, and then no more is read.
 */
static void commands_behind_one_that_waits(void)
{
	static struct flood f;
	struct ft_target target;
	struct witness w = { .turn = 0 };

	serve_two(&target, "ns=late:16M\\,hold=1000");
	witness_open(&w, &target);
	witness_works(&w);
	long kib = memory_kib(&target);
	flood_open(&f, target.socket[0], BH_PCI_CONFIG, 0, 4096);
	struct foreign *c = &f.c;
	FT_CHECK(fcntl(c->sock, F_SETFL, 0) == 0);
	struct foreign_memory memory, other;
	struct foreign_queue admin, io;
	struct vfu_region_info info = foreign_region(c, BH_PCI_BAR0, 4064, 4064);
	foreign_map_doorbells(c, &info);
	foreign_memory_new(&memory, MIB, 4096, 0);
	foreign_memory_new(&other, MIB, 4096, 0);
	FT_EQUAL(foreign_dma_map(c, &memory), 0);
	FT_EQUAL(foreign_dma_map(c, &other), 0);
	foreign_queue_init(&admin, 0, 32, memory.va);
	foreign_queue_init(&io, 1, 32, memory.va + FOREIGN_QUEUE_BYTES);
	foreign_enable(c, &admin);
	foreign_queue_create(c, &admin, &io, -1);
	struct bh_nvme_cmd cmd = foreign_rw(BH_NVME_CMD_WRITE, 0, 8);
	foreign_sgl(&cmd, other.va, 4096);
	for (unsigned int i = 0; i < 16; i++)
		foreign_submit(c, &io, &cmd);
	foreign_send(c, VFU_DEVICE_RESET, NULL, 0, NULL, 0); /* waits for all of them */
	FT_CHECK(fcntl(c->sock, F_SETFL, O_NONBLOCK) == 0);
	for (unsigned int i = 0; i < 20; i++) {
		flood_send(&f, MIB);
		witness_works(&w);
	}
	witness_returns(&w, &target);
	check_memory(&target, kib, 16384);
	/* Every one is answered in the end: the reset's header and all the rest. */
	FT_UNTIL(WAIT_MS, f.sent % f.message == 0, {
		flood_receive(&f);
		flood_send(&f, 1);
	});
	FT_UNTIL(WAIT_MS, f.received == sizeof(struct vfu_header) + f.requests * f.reply,
		 flood_receive(&f));
	foreign_close(c);
	witness_close(&w);
	ft_target_stop(&target);
}

FT_MAIN({ "full_queues_beside_depth_one", full_queues_beside_depth_one, 0 },
	{ "a_flood_of_register_messages", a_flood_of_register_messages, 0 },
	{ "a_flood_of_admin_commands", a_flood_of_admin_commands, 0 },
	{ "replies_that_nobody_reads", replies_that_nobody_reads, 0 },
	{ "half_a_message", half_a_message, 0 },
	{ "half_a_version_in_the_only_place", half_a_version_in_the_only_place, 0 },
	{ "interrupts_that_nobody_takes", interrupts_that_nobody_takes, 0 },
	{ "commands_behind_one_that_waits", commands_behind_one_that_waits, 0 })

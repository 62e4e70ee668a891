/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bellhop/clock.h>
#include <bellhop/poll.h>

enum { MS = 1000000 };

static struct bh_reactor_opts opts;
static struct bh_reactor *reactor;

static int setup(void)
{
	bh_reactor_opts_init(&opts);
	return bh_reactor_create(&opts, &reactor);
}

static int teardown(void)
{
	bh_reactor_destroy(reactor);
	return 0;
}

static int poll_nothing(void *ctx)
{
	(void)ctx;
	return 0;
}

static const struct bh_poller_ops spinner = { .poll = poll_nothing };

struct bell {
	int fd;
	struct bh_fd_source *source, *other;
	unsigned int rings; /* __atomic */
	uint32_t events;
};

static void bell_open(struct bell *bell, void (*fn)(void *ctx, uint32_t events))
{
	memset(bell, 0, sizeof(*bell));
	bell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CU_ASSERT_EQUAL_FATAL(bh_fd_source_add(reactor, bell->fd, EPOLLIN, fn, bell, &bell->source),
			      0);
}

static void bell_rings(void *ctx, uint32_t events)
{
	struct bell *bell = ctx;
	eventfd_t n;

	eventfd_read(bell->fd, &n);
	bell->events = events;
	__atomic_add_fetch(&bell->rings, 1, __ATOMIC_RELEASE);
}

static bool bell_wait(struct bell *bell, unsigned int rings)
{
	for (int i = 0; i < 20000 && __atomic_load_n(&bell->rings, __ATOMIC_ACQUIRE) < rings; i++)
		usleep(500);
	return __atomic_load_n(&bell->rings, __ATOMIC_ACQUIRE) == rings;
}

static int poll_until_idle(void *ctx)
{
	return __atomic_load_n((uint32_t *)ctx, __ATOMIC_ACQUIRE) != 0;
}

/* Not while the pollers find work, at once when they find none. */
static void fds_that_only_wake_wait_for_sleep(void)
{
	static const struct bh_poller_ops ops = { .poll = poll_until_idle };
	struct bh_reactor_stats stats;
	struct bh_poller *poller;
	struct bell bell, other;
	uint32_t busy = 1;
	uint64_t end;

	bell_open(&bell, bell_rings);
	bh_fd_source_only_wakes(bell.source);
	bh_fd_source_only_wakes(bell.source);
	CU_ASSERT_EQUAL_FATAL(bh_poller_add(reactor, &ops, &busy, &poller), 0);
	eventfd_write(bell.fd, 1);
	/* Run by hand it is looked at, for there will be no sleep. */
	end = bh_now_ns() + 20000ull * MS;
	while (!bell.rings && bh_now_ns() < end)
		bh_reactor_run_once(reactor);
	CU_ASSERT_EQUAL(bell.rings, 1);
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(reactor), 0);
	end = bh_now_ns() + 100ull * MS;
	eventfd_write(bell.fd, 1);
	do
		bh_reactor_stats(reactor, &stats);
	while (bh_now_ns() < end || stats.busy_passes < 1000);
	/* Once a second at most; a busy machine may have taken that long for it. */
	CU_ASSERT_TRUE(__atomic_load_n(&bell.rings, __ATOMIC_ACQUIRE) <= 2 ||
		       bh_now_ns() > end + 800ull * MS);
	__atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
	CU_ASSERT_TRUE(bell_wait(&bell, 2));
	eventfd_write(bell.fd, 1);
	CU_ASSERT_TRUE(bell_wait(&bell, 3));
	bh_reactor_stop(reactor);
	/* Beside one that does more, it is looked at with it. */
	bell_open(&other, bell_rings);
	__atomic_store_n(&busy, 1, __ATOMIC_RELEASE);
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(reactor), 0);
	eventfd_write(bell.fd, 1);
	CU_ASSERT_TRUE(bell_wait(&bell, 4));
	bh_reactor_stop(reactor);
	bh_fd_source_remove(other.source);
	bh_fd_source_remove(bell.source);
	bh_poller_remove(poller);
	close(other.fd);
	close(bell.fd);
}

static void fds_wake_a_sleeping_reactor(void)
{
	struct bell bell;

	bell_open(&bell, bell_rings);
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(reactor), 0);
	for (unsigned int i = 1; i <= 20; i++) {
		eventfd_write(bell.fd, 1);
		CU_ASSERT_TRUE(bell_wait(&bell, i));
	}
	bh_reactor_stop(reactor);
	CU_ASSERT_EQUAL(bell.events, EPOLLIN);
	close(bell.fd);
}

static void fds_are_served_while_spinning(void)
{
	struct bh_poller *poller;
	struct bell bell;

	bh_reactor_destroy(reactor);
	opts.idle_ns = UINT64_MAX;
	CU_ASSERT_EQUAL_FATAL(bh_reactor_create(&opts, &reactor), 0);
	bell_open(&bell, bell_rings);
	bh_poller_add(reactor, &spinner, NULL, &poller);
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(reactor), 0);
	for (unsigned int i = 1; i <= 20; i++) {
		eventfd_write(bell.fd, 1);
		CU_ASSERT_TRUE(bell_wait(&bell, i));
	}
	bh_reactor_stop(reactor);
	close(bell.fd);
}

static void fds_are_level_triggered_and_modified(void)
{
	struct bh_fd_source *again;
	struct bell bell;
	int file = memfd_create("file", MFD_CLOEXEC);

	bell_open(&bell, bell_rings);
	CU_ASSERT_EQUAL(bh_fd_source_add(reactor, bell.fd, EPOLLIN, bell_rings, &bell, &again),
			-EEXIST);
	CU_ASSERT_EQUAL(bh_fd_source_add(reactor, file, EPOLLIN, bell_rings, &bell, &again),
			-EPERM);
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 0);
	CU_ASSERT_EQUAL(bh_fd_source_modify(bell.source, EPOLLOUT), 0);
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 1);
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 1);
	CU_ASSERT_EQUAL(bell.events, EPOLLOUT);
	CU_ASSERT_EQUAL(bh_fd_source_modify(bell.source, 0), 0);
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 0);
	close(bell.fd);
	close(file);
	bh_fd_source_remove(bell.source);
	bh_fd_source_remove(NULL);
}

static void bell_removes_both(void *ctx, uint32_t events)
{
	struct bell *bell = ctx;

	(void)events;
	bell->rings++;
	bh_fd_source_remove(bell->source);
	bh_fd_source_remove(bell->other);
}

static void sources_are_removed_while_dispatched(void)
{
	struct bell a, b;

	bell_open(&a, bell_removes_both);
	bell_open(&b, bell_removes_both);
	a.other = b.source;
	b.other = a.source;
	eventfd_write(a.fd, 1);
	eventfd_write(b.fd, 1);
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 1);
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 0);
	CU_ASSERT_EQUAL(a.rings + b.rings, 1);
	close(a.fd);
	close(b.fd);
}

struct alarms {
	struct bh_timer *timer[4];
	unsigned int fired; /* __atomic */
	char order[16];
	uint64_t at;
	unsigned int repeat;
};

static void alarm_note(struct alarms *alarms, char name)
{
	if (alarms->fired < sizeof(alarms->order) - 1)
		alarms->order[alarms->fired] = name;
	__atomic_add_fetch(&alarms->fired, 1, __ATOMIC_RELEASE);
}

static void alarm_a(void *ctx)
{
	alarm_note(ctx, 'a');
}

static void alarm_b(void *ctx)
{
	alarm_note(ctx, 'b');
}

static void alarm_c(void *ctx)
{
	alarm_note(ctx, 'c');
}

static void timers_fire_in_order_of_time(void)
{
	struct alarms al = { 0 };
	uint64_t start = bh_now_ns();
	unsigned int fired = 0;

	bh_timer_create(reactor, alarm_a, &al, &al.timer[0]);
	bh_timer_create(reactor, alarm_b, &al, &al.timer[1]);
	bh_timer_create(reactor, alarm_c, &al, &al.timer[2]);
	bh_timer_set(al.timer[2], 30 * MS);
	bh_timer_set(al.timer[0], 10 * MS);
	bh_timer_set(al.timer[1], 20 * MS);
	while (fired < 3 && bh_now_ns() - start < 20000ull * MS) {
		fired += (unsigned int)bh_reactor_run_once(reactor);
		/* However late: none before its time. */
		CU_ASSERT_TRUE(bh_now_ns() - start >= (uint64_t)fired * 10 * MS);
	}
	CU_ASSERT_STRING_EQUAL(al.order, "abc");
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 0);
}

static void timers_are_moved_and_cancelled(void)
{
	struct alarms al = { 0 };

	bh_timer_create(reactor, alarm_a, &al, &al.timer[0]);
	bh_timer_create(reactor, alarm_b, &al, &al.timer[1]);
	bh_timer_create(reactor, alarm_c, &al, &al.timer[2]);
	bh_timer_set(al.timer[0], 0);
	bh_timer_set(al.timer[1], 0);
	bh_timer_set(al.timer[2], UINT64_MAX);
	bh_timer_set(al.timer[0], 3600ull * 1000 * MS);
	bh_timer_cancel(al.timer[1]);
	bh_timer_cancel(al.timer[1]);
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 0);
	bh_timer_set(al.timer[0], 0);
	bh_timer_destroy(al.timer[1]);
	bh_timer_destroy(NULL);
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 1);
	CU_ASSERT_STRING_EQUAL(al.order, "a");
}

static void alarm_kills_all(void *ctx)
{
	struct alarms *al = ctx;

	al->fired++;
	for (int i = 0; i < 3; i++)
		bh_timer_destroy(al->timer[i]);
}

static void timers_are_destroyed_while_firing(void)
{
	struct alarms al = { 0 };

	for (int i = 0; i < 3; i++) {
		bh_timer_create(reactor, alarm_kills_all, &al, &al.timer[i]);
		bh_timer_set(al.timer[i], 0);
	}
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 1);
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 0);
	CU_ASSERT_EQUAL(al.fired, 1);
}

static void alarm_again(void *ctx)
{
	struct alarms *al = ctx;

	if (al->fired + 1 < al->repeat)
		bh_timer_set(al->timer[0], 0);
	al->at = bh_now_ns();
	alarm_note(al, 'r');
}

static void timer_set_from_its_callback_waits_a_pass(void)
{
	struct alarms al = { .repeat = 3 };

	bh_timer_create(reactor, alarm_again, &al, &al.timer[0]);
	bh_timer_set(al.timer[0], 0);
	for (unsigned int i = 1; i <= 3; i++) {
		CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 1);
		CU_ASSERT_EQUAL(al.fired, i);
	}
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 0);
}

static void set_first(void *ctx)
{
	struct alarms *al = ctx;

	bh_timer_set(al->timer[0], 5 * MS);
}

static void timer_wakes(bool spinning)
{
	struct alarms al = { .repeat = 1 };
	struct bh_poller *poller;
	uint64_t start;

	if (spinning)
		bh_poller_add(reactor, &spinner, NULL, &poller);
	bh_timer_create(reactor, alarm_again, &al, &al.timer[0]);
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(reactor), 0);
	start = bh_now_ns();
	bh_reactor_call(reactor, set_first, &al);
	for (int i = 0; i < 20000 && !__atomic_load_n(&al.fired, __ATOMIC_ACQUIRE); i++)
		usleep(500);
	bh_reactor_stop(reactor);
	CU_ASSERT_EQUAL(al.fired, 1);
	CU_ASSERT_TRUE(al.at - start >= 5 * MS);
	CU_ASSERT_TRUE(al.at - start < 5000ull * MS); /* machines are busy */
}

static void timer_wakes_a_sleeping_reactor(void)
{
	timer_wakes(false);
}

static void timer_fires_in_a_spinning_reactor(void)
{
	bh_reactor_destroy(reactor);
	opts.idle_ns = UINT64_MAX;
	CU_ASSERT_EQUAL_FATAL(bh_reactor_create(&opts, &reactor), 0);
	timer_wakes(true);
}

static void destroy_removes_what_is_left(void)
{
	struct bh_poller *poller;
	struct bh_timer *timer;
	struct bell bell;

	bell_open(&bell, bell_rings);
	bh_poller_add(reactor, &spinner, NULL, &poller);
	bh_timer_create(reactor, alarm_a, NULL, &timer);
	bh_timer_set(timer, 1000ull * MS);
	bh_reactor_destroy(reactor); /* the leak checker looks at the rest */
	reactor = NULL;
	close(bell.fd);
}

BH_SUITE_FIXTURE("source", setup, teardown,
		 { "fds_wake_a_sleeping_reactor", fds_wake_a_sleeping_reactor },
		 { "fds_are_served_while_spinning", fds_are_served_while_spinning },
		 { "fds_that_only_wake_wait_for_sleep", fds_that_only_wake_wait_for_sleep },
		 { "fds_are_level_triggered_and_modified", fds_are_level_triggered_and_modified },
		 { "sources_are_removed_while_dispatched", sources_are_removed_while_dispatched },
		 { "timers_fire_in_order_of_time", timers_fire_in_order_of_time },
		 { "timers_are_moved_and_cancelled", timers_are_moved_and_cancelled },
		 { "timers_are_destroyed_while_firing", timers_are_destroyed_while_firing },
		 { "timer_set_from_its_callback_waits_a_pass",
		   timer_set_from_its_callback_waits_a_pass },
		 { "timer_wakes_a_sleeping_reactor", timer_wakes_a_sleeping_reactor },
		 { "timer_fires_in_a_spinning_reactor", timer_fires_in_a_spinning_reactor },
		 { "destroy_removes_what_is_left", destroy_removes_what_is_left })

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a reactor. A reactor that is not started belongs to whoever holds it; between start
 * and stop it belongs to its thread. `owner` says which thread that is, for bh_reactor_is_self
 * only; what orders the hand-over is pthread_create and pthread_join.
 */
#include "poll/reactor.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include <bellhop/clock.h>

#include "base/fd.h"

void bh_reactor_opts_init(struct bh_reactor_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
	opts->name = "bh";
	opts->cpu = -1;
	opts->idle_ns = 100 * 1000;
}

static int inbox_open(struct bh_reactor *reactor)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = &reactor->inbox };

	reactor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (reactor->epoll_fd < 0)
		return -errno;
	reactor->inbox.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (reactor->inbox.wake_fd < 0)
		return -errno;
	if (epoll_ctl(reactor->epoll_fd, EPOLL_CTL_ADD, reactor->inbox.wake_fd, &event) < 0)
		return -errno;
	return 0;
}

static void reactor_free(struct bh_reactor *reactor)
{
	bh__fd_close(&reactor->epoll_fd);
	bh__fd_close(&reactor->inbox.wake_fd);
	pthread_mutex_destroy(&reactor->lock);
	sem_destroy(&reactor->ready);
	free(reactor);
}

static void stop_run(void *ctx)
{
	struct bh_reactor *reactor = ctx;

	reactor->stop = true;
}

int bh_reactor_create(const struct bh_reactor_opts *opts, struct bh_reactor **out)
{
	struct bh_reactor *reactor;
	int rc;

	if (opts->size == 0)
		return -EINVAL;
	reactor = aligned_alloc(BH__CACHE_LINE, sizeof(*reactor));
	if (!reactor)
		return -ENOMEM;
	memset(reactor, 0, sizeof(*reactor));
	bh_reactor_opts_init(&reactor->opts);
	memcpy(&reactor->opts, opts, opts->size < sizeof(*opts) ? opts->size : sizeof(*opts));
	snprintf(reactor->name, sizeof(reactor->name), "%s",
		 reactor->opts.name ? reactor->opts.name : "bh");
	reactor->opts.name = reactor->name;
	reactor->epoll_fd = reactor->inbox.wake_fd = -1;
	TAILQ_INIT(&reactor->pollers);
	TAILQ_INIT(&reactor->timers_set);
	TAILQ_INIT(&reactor->timers_firing);
	LIST_INIT(&reactor->timers);
	TAILQ_INIT(&reactor->sources);
	pthread_mutex_init(&reactor->lock, NULL);
	sem_init(&reactor->ready, 0, 0);
	reactor->stop_msg = (struct bh_msg){ .fn = stop_run, .ctx = reactor };
	rc = inbox_open(reactor);
	if (rc < 0)
		reactor_free(reactor);
	else
		*out = reactor;
	return rc;
}

void bh_reactor_destroy(struct bh_reactor *reactor)
{
	struct bh_fd_source *source;
	struct bh_poller *poller;
	struct bh_timer *timer;

	if (!reactor)
		return;
	bh_reactor_stop(reactor);
	/* Messages may remove objects, and send further messages. */
	__atomic_store_n(&reactor->owner, (uintptr_t)pthread_self(), __ATOMIC_RELAXED);
	while (bh__msgs_run(reactor) > 0)
		;
	while ((poller = TAILQ_FIRST(&reactor->pollers)) != NULL)
		bh_poller_remove(poller);
	while ((source = TAILQ_FIRST(&reactor->sources)) != NULL)
		bh_fd_source_remove(source);
	while ((timer = LIST_FIRST(&reactor->timers)) != NULL)
		bh_timer_destroy(timer);
	reactor_free(reactor);
}

static void *thread_main(void *arg)
{
	struct bh_reactor *reactor = arg;
	clockid_t cpu_clock;
	int rc = 0;

	__atomic_store_n(&reactor->owner, (uintptr_t)pthread_self(), __ATOMIC_RELAXED);
	pthread_setname_np(pthread_self(), reactor->name);
	if (pthread_getcpuclockid(pthread_self(), &cpu_clock) == 0)
		__atomic_store_n(&reactor->cpu_clock, (uint32_t)cpu_clock | BH__HAS_CLOCK,
				 __ATOMIC_RELAXED);
	/* The default of 50 us is a large part of the milliseconds pollers ask for. */
	prctl(PR_SET_TIMERSLACK, 1L, 0L, 0L, 0L);
	if (reactor->opts.thread_init)
		rc = reactor->opts.thread_init(reactor->opts.thread_ctx);
	reactor->init_rc = rc;
	sem_post(&reactor->ready);
	if (rc < 0)
		return NULL;
	bh__reactor_loop(reactor);
	if (reactor->opts.thread_fini)
		reactor->opts.thread_fini(reactor->opts.thread_ctx);
	return NULL;
}

static int attr_set_cpus(pthread_attr_t *attr, const struct bh_reactor_opts *opts)
{
	struct bh_cpuset cpus = opts->cpus;
	cpu_set_t mask;

	if (opts->cpu >= BH_CPU_MAX)
		return -EINVAL;
	if (opts->cpu >= 0) {
		bh_cpuset_zero(&cpus);
		bh_cpuset_add(&cpus, (unsigned int)opts->cpu);
	}
	if (bh_cpuset_count(&cpus) == 0)
		return 0;
	CPU_ZERO(&mask);
	for (int cpu = bh_cpuset_first(&cpus); cpu >= 0; cpu = bh_cpuset_next(&cpus, cpu))
		CPU_SET((size_t)cpu, &mask);
	return -pthread_attr_setaffinity_np(attr, sizeof(mask), &mask);
}

static int attr_set_signals(pthread_attr_t *attr)
{
	/*
	 * Those that an instruction raises: blocked they would kill the process, fault guard or
	 * not.
	 */
	static const int synchronous[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
	sigset_t mask;

	sigfillset(&mask);
	for (size_t i = 0; i < sizeof(synchronous) / sizeof(synchronous[0]); i++)
		sigdelset(&mask, synchronous[i]);
	return -pthread_attr_setsigmask_np(attr, &mask);
}

static int thread_create(struct bh_reactor *reactor)
{
	pthread_attr_t attr;
	int rc = -pthread_attr_init(&attr);

	if (rc < 0)
		return rc;
	rc = attr_set_cpus(&attr, &reactor->opts);
	if (rc == 0)
		rc = attr_set_signals(&attr);
	if (rc == 0)
		rc = -pthread_create(&reactor->thread, &attr, thread_main, reactor);
	pthread_attr_destroy(&attr);
	return rc;
}

static void started_set(struct bh_reactor *reactor, bool started)
{
	pthread_mutex_lock(&reactor->lock);
	reactor->started = started;
	pthread_mutex_unlock(&reactor->lock);
}

int bh_reactor_start(struct bh_reactor *reactor)
{
	int rc;

	if (reactor->started)
		return 0;
	reactor->stop = false;
	rc = thread_create(reactor);
	if (rc < 0) {
		bh_log(reactor->opts.log, BH_LOG_ERROR, "poll", "%s: cannot start on CPU %d: %s",
		       reactor->name, reactor->opts.cpu, strerror(-rc));
		return rc;
	}
	while (sem_wait(&reactor->ready) < 0)
		;
	rc = reactor->init_rc;
	if (rc < 0) {
		pthread_join(reactor->thread, NULL);
		__atomic_store_n(&reactor->owner, 0, __ATOMIC_RELAXED);
		return rc;
	}
	started_set(reactor, true);
	return 0;
}

void bh_reactor_stop(struct bh_reactor *reactor)
{
	if (!reactor->started)
		return;
	if (bh_reactor_is_self(reactor)) {
		bh_log(reactor->opts.log, BH_LOG_ERROR, "poll", "%s: cannot stop itself",
		       reactor->name);
		return;
	}
	bh_reactor_send(reactor, &reactor->stop_msg);
	pthread_join(reactor->thread, NULL);
	/* From here on bh_reactor_call runs directly; what it had sent before is waited for. */
	__atomic_store_n(&reactor->owner, (uintptr_t)pthread_self(), __ATOMIC_RELAXED);
	started_set(reactor, false);
	bh__msgs_run(reactor);
	__atomic_store_n(&reactor->owner, 0, __ATOMIC_RELAXED);
}

bool bh_reactor_is_self(const struct bh_reactor *reactor)
{
	return __atomic_load_n(&reactor->owner, __ATOMIC_RELAXED) == (uintptr_t)pthread_self();
}

int bh_reactor_cpu(const struct bh_reactor *reactor)
{
	return reactor->opts.cpu;
}

/* Of a thread that has just ended the kernel knows nothing. */
static uint64_t cpu_ns(uint64_t cpu_clock)
{
	struct timespec ts;

	if (!cpu_clock || clock_gettime((clockid_t)(uint32_t)cpu_clock, &ts) != 0)
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void bh_reactor_stats(const struct bh_reactor *reactor, struct bh_reactor_stats *stats)
{
	uint64_t since = __atomic_load_n(&reactor->asleep_since, __ATOMIC_ACQUIRE), before;

	/* A sleep that ends meanwhile is in one of the two, not in both. */
	do {
		before = since;
		stats->now_ns = bh_now_ns();
		stats->asleep_ns = __atomic_load_n(&reactor->stats.asleep_ns, __ATOMIC_ACQUIRE);
		since = __atomic_load_n(&reactor->asleep_since, __ATOMIC_ACQUIRE);
	} while (since != before);
	if (since && stats->now_ns > since)
		stats->asleep_ns += stats->now_ns - since;
	stats->passes = __atomic_load_n(&reactor->stats.passes, __ATOMIC_RELAXED);
	stats->busy_passes = __atomic_load_n(&reactor->stats.busy_passes, __ATOMIC_RELAXED);
	stats->sleeps = __atomic_load_n(&reactor->stats.sleeps, __ATOMIC_RELAXED);
	stats->messages = __atomic_load_n(&reactor->stats.messages, __ATOMIC_RELAXED);
	stats->busy_ns = __atomic_load_n(&reactor->stats.busy_ns, __ATOMIC_RELAXED);
	stats->cpu_ns = cpu_ns(__atomic_load_n(&reactor->cpu_clock, __ATOMIC_RELAXED));
}

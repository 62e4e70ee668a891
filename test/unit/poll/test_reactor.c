/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/clock.h>
#include <bellhop/poll.h>

enum { MS = 1000000 };

static struct bh_reactor_opts opts;
static struct bh_reactor *reactor;

static int setup(void)
{
	bh_reactor_opts_init(&opts);
	reactor = NULL;
	return 0;
}

static int teardown(void)
{
	bh_reactor_destroy(reactor);
	return 0;
}

/*
 * A poller that does what its fields say. Written before start. On the stack of a case, which
 * therefore stops the reactor before it returns.
 */
struct scripted {
	int work; /* passes that find work still to come; -1: always */
	int64_t arm_rc;
	unsigned int polls, arms, disarms, armed_polls; /* __atomic: read by the test */
	bool armed;
};

static void bump(unsigned int *n)
{
	__atomic_add_fetch(n, 1, __ATOMIC_RELAXED);
}

static unsigned int get(const unsigned int *n)
{
	return __atomic_load_n(n, __ATOMIC_RELAXED);
}

/* Until *n is at least so many; false: it is not even after 20 s. */
static bool reaches(const unsigned int *n, unsigned int least)
{
	for (int i = 0; i < 20000 && get(n) < least; i++)
		usleep(1000);
	return get(n) >= least;
}

static int scripted_poll(void *ctx)
{
	struct scripted *s = ctx;

	bump(&s->polls);
	if (s->armed)
		bump(&s->armed_polls);
	if (s->work > 0)
		s->work--;
	return s->work != 0;
}

static int64_t scripted_arm(void *ctx)
{
	struct scripted *s = ctx;

	bump(&s->arms);
	s->armed = true;
	return s->arm_rc;
}

static void scripted_disarm(void *ctx)
{
	struct scripted *s = ctx;

	bump(&s->disarms);
	s->armed = false;
}

static const struct bh_poller_ops scripted_ops = { scripted_poll, scripted_arm, scripted_disarm };

static void create_and_start(struct scripted *s)
{
	struct bh_poller *poller;

	CU_ASSERT_EQUAL_FATAL(bh_reactor_create(&opts, &reactor), 0);
	if (s)
		CU_ASSERT_EQUAL_FATAL(bh_poller_add(reactor, &scripted_ops, s, &poller), 0);
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(reactor), 0);
}

static uint64_t passes(void)
{
	struct bh_reactor_stats stats;

	bh_reactor_stats(reactor, &stats);
	return stats.passes;
}

static void nothing(void *ctx)
{
	(void)ctx;
}

static void control_thread_sleeps(void)
{
	uint64_t before;

	create_and_start(NULL);
	bh_reactor_call(reactor, nothing, NULL);
	before = passes();
	usleep(20000);
	CU_ASSERT_TRUE(passes() - before <= 2);
	bh_reactor_call(reactor, nothing, NULL);
	CU_ASSERT_TRUE(passes() - before <= 5);
}

static void idle_pollers_sleep_and_wake(void)
{
	struct scripted s = { 0 };
	unsigned int polls;

	opts.idle_ns = 1 * MS;
	create_and_start(&s);
	CU_ASSERT_TRUE(reaches(&s.arms, 1));
	polls = get(&s.polls);
	usleep(20000);
	CU_ASSERT_EQUAL(get(&s.polls), polls);
	CU_ASSERT_EQUAL(get(&s.arms), 1);
	CU_ASSERT_EQUAL(get(&s.disarms), 0);
	bh_reactor_call(reactor, nothing, NULL);
	CU_ASSERT_TRUE(reaches(&s.arms, 2));
	/* One look around, then asleep again without another idle_ns of spinning. */
	CU_ASSERT_TRUE(get(&s.polls) - polls >= 1);
	CU_ASSERT_TRUE(get(&s.polls) - polls <= 3);
	bh_reactor_stop(reactor);
	CU_ASSERT_EQUAL(get(&s.arms), get(&s.disarms));
	CU_ASSERT_EQUAL(get(&s.armed_polls), 0);
}

static void busy_pollers_do_not_sleep(void)
{
	struct scripted s = { .work = -1 };
	struct bh_reactor_stats stats;

	opts.idle_ns = 0;
	create_and_start(&s);
	CU_ASSERT_TRUE(reaches(&s.polls, 10000));
	bh_reactor_stop(reactor);
	bh_reactor_stats(reactor, &stats);
	CU_ASSERT_EQUAL(stats.sleeps, 0);
	CU_ASSERT_TRUE(stats.busy_passes >= 10000);
	CU_ASSERT_EQUAL(get(&s.arms), 0);
}

static void time_is_busy_asleep_or_neither(void)
{
	struct scripted s = { .work = 20000 };
	struct bh_reactor_stats stats, later;
	uint64_t begin = bh_now_ns();

	opts.idle_ns = 0;
	create_and_start(&s);
	CU_ASSERT_TRUE(reaches(&s.arms, 1));
	bh_reactor_stats(reactor, &stats);
	CU_ASSERT_TRUE(stats.busy_ns > 0);
	CU_ASSERT_TRUE(stats.cpu_ns > 0);
	usleep(20000);
	/* It is still asleep, and that counts. */
	bh_reactor_stats(reactor, &later);
	CU_ASSERT_TRUE(later.asleep_ns >= stats.asleep_ns + 10000000);
	CU_ASSERT_TRUE(later.cpu_ns >= stats.cpu_ns);
	CU_ASSERT_EQUAL(later.busy_ns, stats.busy_ns);
	CU_ASSERT_TRUE(later.busy_ns + later.asleep_ns <= bh_now_ns() - begin);
	bh_reactor_stop(reactor);
}

static void never_sleeping_is_an_option(void)
{
	struct scripted s = { 0 };

	opts.idle_ns = UINT64_MAX;
	create_and_start(&s);
	usleep(20000);
	CU_ASSERT_TRUE(reaches(&s.polls, 10000));
	bh_reactor_stop(reactor);
	CU_ASSERT_EQUAL(get(&s.arms), 0);
}

static void work_found_while_arming_keeps_it_awake(void)
{
	struct scripted s = { .arm_rc = 1 };
	struct bh_reactor_stats stats;

	opts.idle_ns = 100000;
	create_and_start(&s);
	CU_ASSERT_TRUE(reaches(&s.arms, 10));
	bh_reactor_stop(reactor);
	bh_reactor_stats(reactor, &stats);
	CU_ASSERT_EQUAL(stats.sleeps, 0);
	CU_ASSERT_EQUAL(get(&s.arms), get(&s.disarms));
}

static void second_poller_with_work_disarms_the_first(void)
{
	struct scripted calm = { 0 }, eager = { .arm_rc = 1 };
	struct bh_poller *a, *b;

	opts.idle_ns = 0;
	CU_ASSERT_EQUAL_FATAL(bh_reactor_create(&opts, &reactor), 0);
	bh_poller_add(reactor, &scripted_ops, &calm, &a);
	bh_poller_add(reactor, &scripted_ops, &eager, &b);
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(reactor), 0);
	CU_ASSERT_TRUE(reaches(&calm.arms, 10));
	bh_reactor_stop(reactor);
	CU_ASSERT_EQUAL(calm.arms, calm.disarms);
	CU_ASSERT_EQUAL(calm.armed_polls, 0);
}

static void negative_arm_is_a_time_limit(void)
{
	struct scripted s = { .arm_rc = -1 * MS };
	unsigned int before;
	uint64_t start;

	opts.idle_ns = 0;
	create_and_start(&s);
	CU_ASSERT_TRUE(reaches(&s.arms, 2));
	start = bh_now_ns();
	before = get(&s.polls);
	CU_ASSERT_TRUE(reaches(&s.polls, before + 50));
	before = get(&s.polls) - before;
	bh_reactor_stop(reactor);
	/* About one per millisecond, whatever else runs here: never more. */
	CU_ASSERT_TRUE(before <= (bh_now_ns() - start) / MS + 2);
}

struct order {
	struct bh_poller *a, *b;
	unsigned int a_polls, b_polls;
};

static int poll_removing_itself(void *ctx)
{
	struct order *o = ctx;

	o->a_polls++;
	bh_poller_remove(o->a);
	return 1;
}

static int poll_removing_next(void *ctx)
{
	struct order *o = ctx;

	o->a_polls++;
	bh_poller_remove(o->b);
	o->b = NULL;
	return 1;
}

static int poll_counting(void *ctx)
{
	struct order *o = ctx;

	o->b_polls++;
	return 0;
}

static void pollers_are_removed_while_polled(void)
{
	const struct bh_poller_ops self = { .poll = poll_removing_itself };
	const struct bh_poller_ops next = { .poll = poll_removing_next };
	const struct bh_poller_ops counting = { .poll = poll_counting };
	struct order o = { 0 };

	CU_ASSERT_EQUAL_FATAL(bh_reactor_create(&opts, &reactor), 0);
	bh_poller_add(reactor, &self, &o, &o.a);
	bh_poller_add(reactor, &counting, &o, &o.b);
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 1);
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 0);
	CU_ASSERT_EQUAL(o.a_polls, 1);
	CU_ASSERT_EQUAL(o.b_polls, 2);
	bh_poller_remove(o.b);
	bh_poller_add(reactor, &next, &o, &o.a);
	bh_poller_add(reactor, &counting, &o, &o.b);
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 1);
	CU_ASSERT_EQUAL(o.b_polls, 2);
	bh_poller_remove(o.a);
	bh_poller_remove(NULL);
}

static int64_t arm_removing_itself(void *ctx)
{
	struct order *o = ctx;

	bh_poller_remove(o->a);
	__atomic_store_n(&o->a_polls, 1, __ATOMIC_RELEASE);
	return 0;
}

static void pollers_are_removed_while_armed(void)
{
	const struct bh_poller_ops ops = { .poll = poll_counting, .arm = arm_removing_itself };
	struct order o = { 0 };

	opts.idle_ns = 0;
	CU_ASSERT_EQUAL_FATAL(bh_reactor_create(&opts, &reactor), 0);
	bh_poller_add(reactor, &ops, &o, &o.a);
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(reactor), 0);
	bh_reactor_call(reactor, nothing, NULL);
	for (int i = 0; i < 1000 && !__atomic_load_n(&o.a_polls, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
	bh_reactor_stop(reactor);
	CU_ASSERT_EQUAL(o.a_polls, 1);
}

/* Ends once `busy` has been polled so often; what the others were polled meanwhile is theirs. */
static void poll_often(const struct scripted *busy, unsigned int passes)
{
	CU_ASSERT_TRUE(reaches(&busy->polls, get(&busy->polls) + passes));
}

static void idle_pollers_are_polled_less_beside_busy_ones(void)
{
	enum { OTHERS = 40, PASSES = 40000 };
	struct scripted busy = { .work = -1 }, other[OTHERS] = { { 0 } };
	struct bh_poller *poller[OTHERS + 1];
	unsigned int before, begin;

	opts.idle_ns = UINT64_MAX;
	CU_ASSERT_EQUAL_FATAL(bh_reactor_create(&opts, &reactor), 0);
	for (int i = 0; i < OTHERS; i++)
		bh_poller_add(reactor, &scripted_ops, &other[i], &poller[i]);
	bh_poller_add(reactor, &scripted_ops, &busy, &poller[OTHERS]);
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(reactor), 0);
	poll_often(&busy, 10000);
	for (int i = 0; i < OTHERS; i += OTHERS - 1) {
		before = get(&other[i].polls);
		begin = get(&busy.polls);
		poll_often(&busy, PASSES);
		/* One turn in about 16; each has its own. */
		CU_ASSERT(get(&other[i].polls) - before > PASSES / 32);
		CU_ASSERT(get(&other[i].polls) - before < (get(&busy.polls) - begin) / 8);
	}
	/* A message may have brought something: all have a turn with it. */
	before = get(&other[7].polls);
	for (int i = 0; i < 1000; i++)
		bh_reactor_call(reactor, nothing, NULL);
	CU_ASSERT(get(&other[7].polls) - before >= 999);
	bh_reactor_stop(reactor);
	/* Its work makes it one of the busy again; those that go leave nothing behind. */
	other[7].work = -1;
	for (int i = 0; i < OTHERS; i += 2)
		bh_poller_remove(poller[i]);
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(reactor), 0);
	poll_often(&busy, 10000);
	bh_reactor_stop(reactor);
	before = other[7].polls;
	begin = busy.polls;
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(reactor), 0);
	poll_often(&busy, 10000);
	bh_reactor_stop(reactor);
	CU_ASSERT_EQUAL(other[7].polls - before, busy.polls - begin);
}

static int poll_nesting(void *ctx)
{
	struct order *o = ctx;

	o->a_polls++;
	return bh_reactor_run_once(reactor);
}

static void run_once_does_not_nest(void)
{
	const struct bh_poller_ops ops = { .poll = poll_nesting };
	struct order o = { 0 };

	CU_ASSERT_EQUAL_FATAL(bh_reactor_create(&opts, &reactor), 0);
	bh_poller_add(reactor, &ops, &o, &o.a);
	CU_ASSERT_EQUAL(bh_reactor_run_once(reactor), 0);
	CU_ASSERT_EQUAL(o.a_polls, 1);
}

static void cpu_outside_the_machine_is_einval(void)
{
	opts.cpu = 1000;
	CU_ASSERT_EQUAL_FATAL(bh_reactor_create(&opts, &reactor), 0);
	CU_ASSERT_EQUAL(bh_reactor_start(reactor), -EINVAL);
	bh_reactor_destroy(reactor);
	opts.cpu = BH_CPU_MAX;
	CU_ASSERT_EQUAL_FATAL(bh_reactor_create(&opts, &reactor), 0);
	CU_ASSERT_EQUAL(bh_reactor_start(reactor), -EINVAL);
	opts.size = 0;
	CU_ASSERT_EQUAL(bh_reactor_create(&opts, &reactor), -EINVAL);
}

struct thread_facts {
	cpu_set_t cpus;
	sigset_t blocked;
	char name[16];
};

static void facts_take(void *ctx)
{
	struct thread_facts *f = ctx;

	pthread_getaffinity_np(pthread_self(), sizeof(f->cpus), &f->cpus);
	pthread_sigmask(SIG_SETMASK, NULL, &f->blocked);
	pthread_getname_np(pthread_self(), f->name, sizeof(f->name));
}

static void thread_is_pinned_named_and_deaf(void)
{
	struct thread_facts f;
	struct bh_cpuset allowed;

	bh_cpuset_allowed(&allowed);
	opts.cpu = bh_cpuset_last(&allowed);
	opts.name = "a-rather-long-name";
	create_and_start(NULL);
	bh_reactor_call(reactor, facts_take, &f);
	CU_ASSERT_EQUAL(CPU_COUNT(&f.cpus), 1);
	CU_ASSERT_TRUE(CPU_ISSET((size_t)opts.cpu, &f.cpus));
	CU_ASSERT_EQUAL(bh_reactor_cpu(reactor), opts.cpu);
	CU_ASSERT_STRING_EQUAL(f.name, "a-rather-long-n");
	CU_ASSERT_TRUE(sigismember(&f.blocked, SIGTERM));
	CU_ASSERT_TRUE(sigismember(&f.blocked, SIGUSR1));
	/* A blocked SIGBUS would kill the process before the fault guard could mend it. */
	CU_ASSERT_FALSE(sigismember(&f.blocked, SIGBUS));
	CU_ASSERT_FALSE(sigismember(&f.blocked, SIGSEGV));
}

static void unpinned_runs_on_the_set_given(void)
{
	struct thread_facts f;
	struct bh_cpuset allowed;

	bh_cpuset_allowed(&allowed);
	bh_cpuset_add(&opts.cpus, (unsigned int)bh_cpuset_first(&allowed));
	create_and_start(NULL);
	bh_reactor_call(reactor, facts_take, &f);
	CU_ASSERT_EQUAL(CPU_COUNT(&f.cpus), 1);
	CU_ASSERT_TRUE(CPU_ISSET((size_t)bh_cpuset_first(&allowed), &f.cpus));
	CU_ASSERT_EQUAL(bh_reactor_cpu(reactor), -1);
}

struct hooks {
	int rc;
	unsigned int inits, finis;
};

static int hook_init(void *ctx)
{
	struct hooks *h = ctx;

	h->inits++;
	return h->rc;
}

static void hook_fini(void *ctx)
{
	struct hooks *h = ctx;

	h->finis++;
}

static void thread_hooks_run_and_may_refuse(void)
{
	struct hooks h = { .rc = -ENOSPC };

	opts.thread_init = hook_init;
	opts.thread_fini = hook_fini;
	opts.thread_ctx = &h;
	CU_ASSERT_EQUAL_FATAL(bh_reactor_create(&opts, &reactor), 0);
	CU_ASSERT_EQUAL(bh_reactor_start(reactor), -ENOSPC);
	CU_ASSERT_EQUAL(h.finis, 0);
	h.rc = 0;
	CU_ASSERT_EQUAL(bh_reactor_start(reactor), 0);
	bh_reactor_stop(reactor);
	bh_reactor_stop(reactor);
	CU_ASSERT_EQUAL(h.inits, 2);
	CU_ASSERT_EQUAL(h.finis, 1);
}

BH_SUITE_FIXTURE("reactor", setup, teardown, { "control_thread_sleeps", control_thread_sleeps },
		 { "idle_pollers_sleep_and_wake", idle_pollers_sleep_and_wake },
		 { "busy_pollers_do_not_sleep", busy_pollers_do_not_sleep },
		 { "time_is_busy_asleep_or_neither", time_is_busy_asleep_or_neither },
		 { "never_sleeping_is_an_option", never_sleeping_is_an_option },
		 { "work_found_while_arming_keeps_it_awake",
		   work_found_while_arming_keeps_it_awake },
		 { "second_poller_with_work_disarms_the_first",
		   second_poller_with_work_disarms_the_first },
		 { "negative_arm_is_a_time_limit", negative_arm_is_a_time_limit },
		 { "pollers_are_removed_while_polled", pollers_are_removed_while_polled },
		 { "pollers_are_removed_while_armed", pollers_are_removed_while_armed },
		 { "idle_pollers_are_polled_less_beside_busy_ones",
		   idle_pollers_are_polled_less_beside_busy_ones },
		 { "run_once_does_not_nest", run_once_does_not_nest },
		 { "cpu_outside_the_machine_is_einval", cpu_outside_the_machine_is_einval },
		 { "thread_is_pinned_named_and_deaf", thread_is_pinned_named_and_deaf },
		 { "unpinned_runs_on_the_set_given", unpinned_runs_on_the_set_given },
		 { "thread_hooks_run_and_may_refuse", thread_hooks_run_and_may_refuse })

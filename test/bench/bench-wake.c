/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-wake: the ceiling of waking up. A thread on one CPU sleeps in epoll_wait() on an eventfd; one
 * on another CPU waits a while, writes the eventfd, and polls until the sleeper says in shared
 * memory that it runs. What an idle target is woken by cannot be faster.
 *
 * With --turns it is what sleeping costs: a thread that does nothing but sleep, time and again, and
 * the CPU time which that takes. A target that looks at its doorbells as often cannot use less.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <bellhop/barrier.h>
#include <bellhop/bellhop.h>
#include <bellhop/clock.h>
#include <bellhop/parse.h>

struct wake {
	int cpu[2]; /* of the waker, of the sleeper */
	int fd, epoll_fd;
	uint32_t awake __attribute__((aligned(128))); /* __atomic: how often the sleeper woke */
};

static const char help[] =
	"usage: bench-wake [-n COUNT] [-i SECONDS] [-c CPU,CPU] [--turns] [--json]\n"
	"\n"
	"How long it takes to wake a thread that sleeps on an eventfd on another CPU.\n"
	"\n"
	"  -n COUNT    wakes (default 200)\n"
	"  -i SECONDS  of sleep before each (default 0.005)\n"
	"  -c CPUS     exactly two (default: the lowest and the highest allowed); the higher "
	"wakes\n"
	"  --turns     nobody wakes it: the CPU time of a thread that sleeps COUNT times\n"
	"  --json      one object instead of text\n"
	"  --help, --version\n"
	"\n"
	"examples: bench-wake -c 0,1\n"
	"          bench-wake -c 0,1 --turns -i 0.0012 -n 1000\n";

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void *sleeper(void *arg)
{
	struct wake *w = arg;
	struct epoll_event event;
	uint64_t value;

	pin(w->cpu[1]);
	for (uint32_t n = 1;; n++) {
		while (epoll_wait(w->epoll_fd, &event, 1, -1) != 1)
			;
		bh_store_release_u32(&w->awake, n);
		if (read(w->fd, &value, sizeof(value)) != (ssize_t)sizeof(value) || value > 1)
			return NULL;
	}
}

static void write_fd(const struct wake *w, uint64_t value)
{
	if (write(w->fd, &value, sizeof(value)) != (ssize_t)sizeof(value))
		abort();
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void measure(struct wake *w, uint64_t *took, uint32_t count, uint64_t sleep_ns)
{
	const struct timespec nap = { .tv_sec = (time_t)(sleep_ns / 1000000000),
				      .tv_nsec = (long)(sleep_ns % 1000000000) };

	pin(w->cpu[0]);
	for (uint32_t i = 0; i < count; i++) {
		nanosleep(&nap, NULL);
		uint64_t begin = bh_now_ns();

		write_fd(w, 1);
		while (__atomic_load_n(&w->awake, __ATOMIC_ACQUIRE) != i + 1)
			bh_relax();
		took[i] = bh_now_ns() - begin;
	}
	qsort(took, count, sizeof(*took), by_size);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* As a reactor waits, fd and all. */
static void measure_turns(struct wake *w, uint32_t count, uint64_t sleep_ns, bool json)
{
	const struct timespec nap = { .tv_sec = (time_t)(sleep_ns / 1000000000),
				      .tv_nsec = (long)(sleep_ns % 1000000000) };
	uint64_t begin, cpu;
	struct pollfd fd = { .fd = w->fd, .events = POLLIN };

	pin(w->cpu[1]);
	begin = clock_ns(CLOCK_MONOTONIC);
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (uint32_t i = 0; i < count; i++)
		ppoll(&fd, 1, &nap, NULL);
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	begin = clock_ns(CLOCK_MONOTONIC) - begin;
	printf(json ? "{\"schema\":1,\"count\":%u,\"cpu_ns\":%llu,\"percent\":%.3f}\n"
		    : "%u turns: %llu ns of CPU time each, %.3f %% of a CPU\n",
	       count, (unsigned long long)(cpu / count), 100.0 * (double)cpu / (double)begin);
}

static int usage(const char *what, const char *value)
{
	fprintf(stderr, "bench-wake: %s%s (see bench-wake --help)\n", what, value);
	return 2;
}

static int choose_cpus(struct bh_cpuset *cpus, struct wake *w)
{
	struct bh_cpuset allowed;

	if (bh_cpuset_allowed(&allowed) != 0 || bh_cpuset_count(&allowed) < 2) {
		fputs("bench-wake: two CPUs are needed, this process may use only one\n", stderr);
		return 1;
	}
	if (bh_cpuset_count(cpus) == 0) {
		bh_cpuset_add(cpus, (unsigned int)bh_cpuset_first(&allowed));
		bh_cpuset_add(cpus, (unsigned int)bh_cpuset_last(&allowed));
	}
	if (bh_cpuset_count(cpus) != 2)
		return usage("-c: exactly two CPUs", "");
	w->cpu[1] = bh_cpuset_first(cpus);
	w->cpu[0] = bh_cpuset_last(cpus);
	return -1;
}

static int run(struct wake *w, uint32_t count, uint64_t sleep_ns, bool turns, bool json)
{
	struct epoll_event event = { .events = EPOLLIN };
	uint64_t *took = calloc(count, sizeof(*took));
	pthread_t thread;

	w->fd = eventfd(0, EFD_CLOEXEC);
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!took || w->fd < 0 || w->epoll_fd < 0 ||
	    epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->fd, &event) != 0 ||
	    (!turns && pthread_create(&thread, NULL, sleeper, w) != 0)) {
		fprintf(stderr, "bench-wake: %s\n", strerror(errno));
		return 1;
	}
	if (turns) {
		measure_turns(w, count, sleep_ns, json);
		free(took);
		return 0;
	}
	measure(w, took, count, sleep_ns);
	write_fd(w, 2); /* the end */
	pthread_join(thread, NULL);
	printf(json ? "{\"schema\":1,\"count\":%u,\"min_ns\":%llu,\"median_ns\":%llu,"
		      "\"max_ns\":%llu}\n"
		    : "%u wakes: min %llu ns, median %llu ns, max %llu ns\n",
	       count, (unsigned long long)took[0], (unsigned long long)took[count / 2],
	       (unsigned long long)took[count - 1]);
	free(took);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = { { "help", no_argument, NULL, 'h' },
						      { "version", no_argument, NULL, 'V' },
						      { "json", no_argument, NULL, 'J' },
						      { "turns", no_argument, NULL, 'T' },
						      { NULL, 0, NULL, 0 } };
	uint64_t count = 200, sleep_ns = 5000000;
	struct bh_cpuset cpus = { 0 };
	struct wake w = { 0 };
	bool turns = false, json = false;
	int c, code;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":n:i:c:", long_options, NULL)) != -1) {
		if (c == 'n' && bh_parse_u64(optarg, 1, 1000000, &count) != 0)
			return usage("-n: expected a number from 1 to 1000000, not ", optarg);
		if (c == 'i' && bh_parse_seconds(optarg, &sleep_ns) != 0)
			return usage("-i: expected seconds, not ", optarg);
		if (c == 'c' && bh_parse_cpus(optarg, ',', &cpus) != 0)
			return usage("-c: expected two CPUs such as 0,1, not ", optarg);
		if (c == 'h')
			return fputs(help, stdout) < 0;
		if (c == 'V')
			return printf("bench-wake %s\n", bh_version()) < 0;
		if (c == ':' || c == '?')
			return usage("what is missing or unknown: ", argv[optind - 1]);
		json |= c == 'J';
		turns |= c == 'T';
	}
	if (optind != argc)
		return usage("unexpected word ", argv[optind]);
	code = choose_cpus(&cpus, &w);
	return code >= 0 ? code : run(&w, (uint32_t)count, sleep_ns, turns, json);
}

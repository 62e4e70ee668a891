/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of lib/poll share.
 *
 * Everything but `inbox` belongs to the reactor's thread. Callbacks may remove any object, their
 * own included, and objects are freed at once; so no walk holds a pointer across a callback:
 *  - pollers are walked with `poller_next`, which removal moves on;
 *  - due timers are first moved to `timers_firing`, each is unlinked before its callback runs, and
 *    cancelling unlinks from whichever list it is on;
 *  - removing an fd source strikes it out of the batch of events being dispatched.
 */
#ifndef POLL_REACTOR_H
#define POLL_REACTOR_H

#include <bellhop/poll.h>

#include <pthread.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/queue.h>

enum {
	BH__EVENT_BATCH = 32,
	BH__CACHE_LINE = 64,
};

#define BH__HAS_CLOCK (1ull << 32)

struct bh_poller {
	TAILQ_ENTRY(bh_poller) link; /* cold ones are behind the others */
	int (*poll)(void *ctx);
	void *ctx;
	struct bh_reactor *reactor;
	int64_t (*arm)(void *ctx);
	void (*disarm)(void *ctx);
	uint32_t empty; /* polls without work, one after the other */
	bool is_cold;
	bool armed;
};

struct bh_fd_source {
	TAILQ_ENTRY(bh_fd_source) link;
	struct bh_reactor *reactor;
	int fd;
	void (*fn)(void *ctx, uint32_t events);
	void *ctx;
	bool only_wakes;
};

TAILQ_HEAD(bh__timer_list, bh_timer);

struct bh_timer {
	TAILQ_ENTRY(bh_timer) link;  /* in `list` */
	LIST_ENTRY(bh_timer) all;    /* in reactor->timers */
	struct bh__timer_list *list; /* NULL: not set */
	struct bh_reactor *reactor;
	uint64_t due; /* bh_now_ns() */
	bh_msg_fn fn;
	void *ctx;
};

/* What other threads touch, on a line of its own: see msg.c. */
struct bh__inbox {
	struct bh_msg *newest; /* __atomic */
	uint32_t sleeping;     /* __atomic */
	int wake_fd;
} __attribute__((aligned(BH__CACHE_LINE)));

struct bh_reactor {
	struct bh__inbox inbox;

	TAILQ_HEAD(, bh_poller) pollers;
	struct bh_poller *poller_next; /* where a walk goes on */
	struct bh_poller *poller_now;  /* whose callback runs; NULL: it was removed */
	struct bh_poller *cold_next;   /* whose turn is next; NULL: the first of them */
	unsigned int num_cold;
	struct bh__timer_list timers_set; /* sorted by due */
	struct bh__timer_list timers_firing;
	LIST_HEAD(, bh_timer) timers;
	TAILQ_HEAD(, bh_fd_source) sources;
	unsigned int num_eager; /* of them, those that do more than wake */
	struct epoll_event events[BH__EVENT_BATCH];
	int event_count, event_next; /* those from event_next on are still to be dispatched */
	int epoll_fd;

	uint64_t now;	     /* as of the last look at the clock */
	uint64_t idle_since; /* when work was last known to have been found */
	uint64_t fds_checked;
	uint32_t pass; /* counts down to the next look at the clock */
	bool busy;     /* work was found since the last look at the clock */
	bool woke;     /* from a sleep, and no poller has been polled since */
	bool in_pass;
	bool may_sleep; /* it is the loop that runs it */
	bool stop;
	bool no_pwait2; /* the kernel lacks epoll_pwait2 */

	struct bh_reactor_stats stats; /* __atomic, written by the reactor's thread only */
	uint64_t asleep_since;	       /* the same; 0: awake */
	uint64_t cpu_clock;	       /* of the thread: its clockid_t + BH__HAS_CLOCK; the same */
	struct bh_reactor_opts opts;
	char name[16];

	pthread_mutex_t lock; /* of `started`, against callers of bh_reactor_call */
	bool started;
	uintptr_t owner; /* __atomic: pthread_self() of the thread in charge, 0: none */
	pthread_t thread;
	sem_t ready;
	int init_rc;
	struct bh_msg stop_msg;
};

/* loop.c */
void bh__reactor_loop(struct bh_reactor *reactor);

/* msg.c: runs what was sent so far; how many. */
unsigned int bh__msgs_run(struct bh_reactor *reactor);
/* Says that the thread is about to sleep; false: a message is there, it must not. */
bool bh__inbox_may_sleep(struct bh_reactor *reactor);

/* poller.c */
/* `all`: cold ones too, not just those whose turn it is. */
unsigned int bh__pollers_poll(struct bh_reactor *reactor, bool all);
/* Arms all. The nanoseconds one may sleep (UINT64_MAX: for ever), 0: there is work. */
uint64_t bh__pollers_arm(struct bh_reactor *reactor);
void bh__pollers_disarm(struct bh_reactor *reactor);

/* fd_source.c: waits up to timeout_ns (UINT64_MAX: for ever) and dispatches; events handled. */
unsigned int bh__fds_wait(struct bh_reactor *reactor, uint64_t timeout_ns);

/* timer.c */
unsigned int bh__timers_run(struct bh_reactor *reactor);

static inline void bh__count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

#endif /* POLL_REACTOR_H */

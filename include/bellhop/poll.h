/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reactors: one thread each, running pollers, messages from other threads, fd handlers and timers.
 *
 * Component: lib/poll
 *
 * A reactor with pollers spins; when every poller has found nothing for `idle_ns` it arms them
 * (each says what would wake it), and sleeps in epoll until an armed fd, a message, a timer or the
 * poller's own time limit. A reactor without pollers always sleeps: that is a control thread.
 * Nothing else in Bellhop needs a reactor: drivers and devices are polled by whatever thread the
 * caller has; bh_reactor_run_once() lets a caller run a reactor inside its own loop.
 *
 * Objects are owned by their reactor's thread: add and remove pollers, fds and timers from that
 * thread (from within any of its callbacks) or before start / after stop. Only bh_reactor_send()
 * and bh_reactor_call() are for any thread.
 */
#ifndef BELLHOP_POLL_H
#define BELLHOP_POLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/log.h>
#include <bellhop/parse.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bh_reactor;
struct bh_poller;
struct bh_fd_source;
struct bh_timer;

struct bh_reactor_opts {
	size_t size;	       /* sizeof(struct bh_reactor_opts) */
	const char *name;      /* thread name, at most 15 bytes; copied */
	int cpu;	       /* pinned to this CPU; -1: runs on `cpus` */
	struct bh_cpuset cpus; /* with cpu = -1; empty: the caller's own mask */
	uint64_t idle_ns;      /* spin this long without work; UINT64_MAX: never sleep */
	const struct bh_log *log;
	/*
	 * Run at the start and end of the reactor's thread (registering it with EAL, say). May be
	 * NULL. thread_init returns 0, or -errno, which bh_reactor_start returns.
	 */
	int (*thread_init)(void *ctx);
	void (*thread_fini)(void *ctx);
	void *thread_ctx;
};

void bh_reactor_opts_init(struct bh_reactor_opts *opts); /* cpu -1, idle_ns 100 us, name "bh" */

/* Creates without starting. -ENOMEM, -EMFILE, -ENFILE; -EINVAL: opts->size is 0. */
int bh_reactor_create(const struct bh_reactor_opts *opts, struct bh_reactor **out);

/*
 * Stops first, runs messages not run so far, then removes what is left. No other thread may still
 * be inside bh_reactor_send or bh_reactor_call. NULL is accepted.
 */
void bh_reactor_destroy(struct bh_reactor *reactor);

/*
 * Starts the thread and waits for its thread_init. All signals are blocked in it but those its own
 * instructions raise (SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS). Starting again does
 * nothing.
 * -EINVAL: cannot be pinned to that CPU (there is none, or the process may not use it). -EAGAIN: no
 * more threads. Otherwise what thread_init returned.
 */
int bh_reactor_start(struct bh_reactor *reactor);

/*
 * Waits for the thread, then runs what was sent before it ended; it can be started again.
 * Idempotent. Not from the reactor's own thread.
 */
void bh_reactor_stop(struct bh_reactor *reactor);

/*
 * One pass in the caller's thread over messages, fds (without waiting), timers and pollers; the
 * work done. For reactors that are not started. With pollers, fds are looked at every 50 us only,
 * because that is a system call. From within a callback it does nothing.
 */
int bh_reactor_run_once(struct bh_reactor *reactor);

bool bh_reactor_is_self(const struct bh_reactor *reactor); /* is the caller its thread? */
int bh_reactor_cpu(const struct bh_reactor *reactor);	   /* -1 when not pinned */

typedef void (*bh_msg_fn)(void *ctx);

/*
 * A message with caller-owned storage: nothing is allocated, so sending cannot fail. The storage
 * must stay until fn runs, and may be reused from inside fn. A msg is in at most one queue at a
 * time.
 */
struct bh_msg {
	struct bh_msg *next;
	bh_msg_fn fn;
	void *ctx;
};

/*
 * Runs msg->fn(msg->ctx) on the reactor's thread, in the order sent by this thread; wakes it. Any
 * thread, lock-free; a system call only if the reactor sleeps. What is sent to a reactor that is
 * not started waits for start, run_once or destroy.
 */
void bh_reactor_send(struct bh_reactor *reactor, struct bh_msg *msg);

/*
 * Sends and waits until fn has run. Runs directly when called on the reactor's thread, or when it
 * is not started. Any thread, also while another starts or stops the reactor.
 */
void bh_reactor_call(struct bh_reactor *reactor, bh_msg_fn fn, void *ctx);

struct bh_poller_ops {
	int (*poll)(void *ctx); /* > 0: did work; 0: nothing to do */
	/*
	 * About to sleep. Arms the wake-up (its fds are registered as fd sources of the reactor)
	 * and looks once more. Returns > 0 when there is work after all (the reactor goes on
	 * polling), 0 when it may sleep for as long as no registered fd fires, or a negative number
	 * -ns when it must be polled again after that many nanoseconds (mapped doorbells). NULL:
	 * may always sleep.
	 */
	int64_t (*arm)(void *ctx);
	/*
	 * Woken, or there was work after all: undo arm. Follows every arm, whatever it returned,
	 * and precedes the next poll, unless the poller was removed. May be NULL.
	 */
	void (*disarm)(void *ctx);
};

/* The operations are copied. -ENOMEM. */
int bh_poller_add(struct bh_reactor *reactor, const struct bh_poller_ops *ops, void *ctx,
		  struct bh_poller **out);
/* Also from inside its own operations, or another's. NULL is accepted. */
void bh_poller_remove(struct bh_poller *poller);

/*
 * fn(ctx, events) with EPOLL* bits. Level-triggered. The fd stays the caller's and is closed after
 * the source was removed. -EBADF, -ENOMEM, -ENOSPC, -EPERM (not pollable), -EEXIST.
 */
int bh_fd_source_add(struct bh_reactor *reactor, int fd, uint32_t events,
		     void (*fn)(void *ctx, uint32_t events), void *ctx, struct bh_fd_source **out);
int bh_fd_source_modify(struct bh_fd_source *source, uint32_t events); /* -EBADF */
/*
 * Its fd is there to end sleep, and pollers see by themselves what it announces: a reactor that is
 * awake looks at such fds once a second, and makes no system call for them in between. One run by
 * bh_reactor_run_once(), which never sleeps, looks at them as at others.
 */
void bh_fd_source_only_wakes(struct bh_fd_source *source);
/* Also from inside its own callback, or another's. NULL is accepted. */
void bh_fd_source_remove(struct bh_fd_source *source);

/*
 * One-shot: fn(ctx) on the reactor's thread `ns` from now. Setting again moves it, also from inside
 * fn. Resolution about 0.1 ms (1 ms asleep, before Linux 5.11). Destroying cancels, also from
 * inside fn. -ENOMEM.
 */
int bh_timer_create(struct bh_reactor *reactor, bh_msg_fn fn, void *ctx, struct bh_timer **out);
void bh_timer_set(struct bh_timer *timer, uint64_t ns);
void bh_timer_cancel(struct bh_timer *timer);
void bh_timer_destroy(struct bh_timer *timer);

struct bh_reactor_stats {
	uint64_t passes;
	uint64_t busy_passes;
	uint64_t sleeps;
	uint64_t messages;
	/*
	 * Time: with work in at least one of the eight passes between two looks at the clock; asleep,
	 * until now. The rest of a thread's time it polled in vain, or the kernel had others run.
	 */
	uint64_t busy_ns, asleep_ns;
	uint64_t now_ns; /* bh_now_ns() of this look */
	uint64_t cpu_ns; /* the thread has run; 0 before and after it does */
};
/* Any thread; approximate. */
void bh_reactor_stats(const struct bh_reactor *reactor, struct bh_reactor_stats *stats);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "poll/reactor.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

#include <bellhop/clock.h>

enum { NS_PER_MS = 1000 * 1000, NS_PER_S = 1000 * NS_PER_MS };

int bh_fd_source_add(struct bh_reactor *reactor, int fd, uint32_t events,
		     void (*fn)(void *ctx, uint32_t events), void *ctx, struct bh_fd_source **out)
{
	struct bh_fd_source *source = calloc(1, sizeof(*source));
	struct epoll_event event = { .events = events, .data.ptr = source };
	int rc;

	if (!source)
		return -ENOMEM;
	source->reactor = reactor;
	source->fd = fd;
	source->fn = fn;
	source->ctx = ctx;
	if (epoll_ctl(reactor->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		rc = -errno;
		free(source);
		return rc;
	}
	TAILQ_INSERT_TAIL(&reactor->sources, source, link);
	reactor->num_eager++;
	*out = source;
	return 0;
}

int bh_fd_source_modify(struct bh_fd_source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	if (epoll_ctl(source->reactor->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) < 0)
		return -errno;
	return 0;
}

void bh_fd_source_only_wakes(struct bh_fd_source *source)
{
	source->reactor->num_eager -= !source->only_wakes;
	source->only_wakes = true;
}

void bh_fd_source_remove(struct bh_fd_source *source)
{
	struct bh_reactor *reactor;

	if (!source)
		return;
	reactor = source->reactor;
	/* Fails if the owner has closed the fd before; the kernel has forgotten it then. */
	epoll_ctl(reactor->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	for (int i = reactor->event_next; i < reactor->event_count; i++) {
		if (reactor->events[i].data.ptr == source)
			reactor->events[i].data.ptr = NULL;
	}
	TAILQ_REMOVE(&reactor->sources, source, link);
	reactor->num_eager -= !source->only_wakes;
	free(source);
}

static int wait_ms(struct bh_reactor *reactor, uint64_t timeout_ns)
{
	int ms = -1;

	/* Rounded up: waking early would only mean going to sleep again. */
	if (timeout_ns < (uint64_t)INT32_MAX * NS_PER_MS)
		ms = (int)((timeout_ns + NS_PER_MS - 1) / NS_PER_MS);
	else if (timeout_ns != UINT64_MAX)
		ms = INT32_MAX;
	return epoll_wait(reactor->epoll_fd, reactor->events, BH__EVENT_BATCH, ms);
}

static int wait_events(struct bh_reactor *reactor, uint64_t timeout_ns)
{
#if __GLIBC_PREREQ(2, 35)
	struct timespec ts = { (time_t)(timeout_ns / NS_PER_S), (long)(timeout_ns % NS_PER_S) };
	int n;

	if (timeout_ns != 0 && timeout_ns != UINT64_MAX && !reactor->no_pwait2) {
		n = epoll_pwait2(reactor->epoll_fd, reactor->events, BH__EVENT_BATCH, &ts, NULL);
		if (n >= 0 || (errno != ENOSYS && errno != EPERM))
			return n;
		reactor->no_pwait2 = true; /* older than Linux 5.11, or a seccomp filter */
	}
#endif
	return wait_ms(reactor, timeout_ns);
}

unsigned int bh__fds_wait(struct bh_reactor *reactor, uint64_t timeout_ns)
{
	unsigned int handled = 0;
	eventfd_t ignored;

	reactor->event_next = 0;
	if (timeout_ns)
		__atomic_store_n(&reactor->asleep_since, bh_now_ns(), __ATOMIC_RELAXED);
	reactor->event_count = wait_events(reactor, timeout_ns);
	if (timeout_ns) {
		bh__count(&reactor->stats.asleep_ns, bh_now_ns() - reactor->asleep_since);
		/* Release: who finds it 0 finds the sleep counted. */
		__atomic_store_n(&reactor->asleep_since, 0, __ATOMIC_RELEASE);
	}
	/* Nobody needs to wake us from here on (a write that is under way costs one idle turn). */
	__atomic_store_n(&reactor->inbox.sleeping, 0, __ATOMIC_RELAXED);
	bh__pollers_disarm(reactor);
	while (reactor->event_next < reactor->event_count) {
		struct epoll_event event = reactor->events[reactor->event_next++];
		struct bh_fd_source *source = event.data.ptr;

		if (event.data.ptr == &reactor->inbox) {
			eventfd_read(reactor->inbox.wake_fd, &ignored);
		} else if (source) {
			source->fn(source->ctx, event.events);
			handled++;
		}
	}
	reactor->event_count = 0;
	return handled;
}

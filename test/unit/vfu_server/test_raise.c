/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads raise vectors while the control thread masks, rebinds and closes their eventfds. */
#include <poll.h>
#include <pthread.h>
#include <sched.h>

#include <bellhop/clock.h>

#include "vfu_server/server.h"

#include "rig.h"

#define ROUNDS 1000
#define LOST_NS 5000000000ull

static uint32_t done_words; /* the "completions": raised for after each is stored */
static uint32_t stop;

static void *raiser(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		__atomic_fetch_add(&done_words, 1, __ATOMIC_RELAXED);
		bh_vfu_irq_raise(rig.server, 0);
		bh_vfu_irq_raise(rig.server, 1);
		bh_vfu_irq_level(rig.server, 0, true);
		bh_vfu_irq_level(rig.server, 0, false);
	}
	return NULL;
}

static void bind(unsigned int vector, const int *fd)
{
	CU_ASSERT_EQUAL(rig_irqs(VFU_IRQ_DATA_EVENTFD | VFU_IRQ_ACTION_TRIGGER, BH_PCI_MSIX, vector,
				 1, fd, fd != NULL),
			0);
}

/* Whatever else reuses the number of a closed eventfd is never written to. */
static void rebinding_never_hits_another_file(void)
{
	pthread_t thread[2];
	int i, e[2] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) }, innocent;

	stop = 0;
	for (i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, raiser, NULL);
	for (i = 0; i < ROUNDS; i++) {
		struct pollfd pfd = { .events = POLLIN };

		bind(0, &e[i % 2]);
		bind(1, &e[i % 2]);
		bind(0, NULL);
		/* takes the lowest free number: the one just closed */
		innocent = pfd.fd = eventfd(0, EFD_CLOEXEC);
		bind(1, NULL);
		CU_ASSERT_EQUAL(poll(&pfd, 1, 0), 0);
		close(innocent);
	}
	/* And the one that is bound is written to, once the raisers have had a turn. */
	for (i = 0; i < 2; i++) {
		struct pollfd pfd = { .fd = e[i], .events = POLLIN };

		bind(0, &e[i]);
		CU_ASSERT_EQUAL(poll(&pfd, 1, 10000), 1);
	}
	bind(0, NULL);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++) {
		pthread_join(thread[i], NULL);
		close(e[i]);
	}
}

static uint32_t raised, acknowledged;

static void *one_at_a_time(void *arg)
{
	uint32_t n;

	(void)arg;
	for (n = 1; n <= ROUNDS * 5; n++) {
		__atomic_store_n(&raised, n, __ATOMIC_RELEASE);
		bh_vfu_irq_raise(rig.server, 0);
		while (__atomic_load_n(&acknowledged, __ATOMIC_ACQUIRE) != n &&
		       !__atomic_load_n(&stop, __ATOMIC_RELAXED))
			sched_yield();
	}
	return NULL;
}

/* Every raise arrives, however the mask moves about it. */
static void no_raise_is_lost(void)
{
	struct vfus_vector *v = &rig.server->irqs.msix[0];
	int e = eventfd(0, EFD_CLOEXEC);
	struct pollfd pfd = { .fd = e, .events = POLLIN };
	pthread_t thread;
	uint64_t value;
	uint32_t n = 0;
	uint64_t end;

	stop = raised = acknowledged = 0;
	bind(0, &e);
	pthread_create(&thread, NULL, one_at_a_time, NULL);
	while (n < ROUNDS * 5) {
		end = bh_now_ns() + LOST_NS;
		while (poll(&pfd, 1, 0) == 0 && bh_now_ns() < end) {
			vfus_vector_open(v, false);
			vfus_vector_open(v, true);
		}
		if (bh_now_ns() >= end)
			break;
		if (read(e, &value, sizeof(value)) == sizeof(value))
			n = __atomic_load_n(&raised, __ATOMIC_ACQUIRE);
		vfus_vector_open(v, n % 2);
		__atomic_store_n(&acknowledged, n, __ATOMIC_RELEASE);
	}
	CU_ASSERT_EQUAL(n, ROUNDS * 5);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	close(e);
}

BH_SUITE_FIXTURE("vfu_server_raise", rig_setup, rig_teardown,
		 { "rebinding_never_hits_another_file", rebinding_never_hits_another_file },
		 { "no_raise_is_lost", no_raise_is_lost }, )

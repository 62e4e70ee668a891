/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bellhop/fault.h>

#include "base/fd.h"

enum { PAGES = 16 };

static size_t page;

/* A mapping whose file can be taken away. */
struct victim {
	int fd;
	volatile unsigned char *va;
	struct bh_fault_range range;
	uint32_t counter;
};

static void victim_make(struct victim *v, enum bh_fault_fill fill)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
	memset(v, 0, sizeof(*v));
	v->fd = memfd_create("victim", MFD_CLOEXEC);
	CU_ASSERT_TRUE_FATAL(v->fd >= 0);
	CU_ASSERT_EQUAL_FATAL(ftruncate(v->fd, (off_t)(PAGES * page)), 0);
	v->va = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	CU_ASSERT_TRUE_FATAL(v->va != MAP_FAILED);
	memset((void *)v->va, 0x5a, PAGES * page);
	v->range.base = (void *)v->va;
	v->range.len = PAGES * page;
	v->range.fill = fill;
	v->range.counter = &v->counter;
	CU_ASSERT_EQUAL_FATAL(bh_fault_range_add(&v->range), 0);
	CU_ASSERT_EQUAL_FATAL(bh_fault_install(), 0);
}

static void victim_drop(struct victim *v)
{
	bh_fault_range_remove(&v->range);
	munmap((void *)v->va, PAGES * page);
	bh__fd_close(&v->fd);
}

static uint32_t failed(const struct victim *v)
{
	return __atomic_load_n(&v->range.failed, __ATOMIC_ACQUIRE);
}

static void truncated_reads_zeros(void)
{
	struct victim v;

	victim_make(&v, BH_FAULT_ZEROS);
	CU_ASSERT_EQUAL(v.va[3 * page], 0x5a);
	CU_ASSERT_EQUAL(failed(&v), 0);
	CU_ASSERT_EQUAL(ftruncate(v.fd, (off_t)page), 0);
	errno = ENOTTY;
	CU_ASSERT_EQUAL(v.va[3 * page + 7], 0);
	CU_ASSERT_EQUAL(errno, ENOTTY);
	CU_ASSERT_EQUAL(failed(&v), 1);
	CU_ASSERT_EQUAL(v.counter, 1);
	/* The whole range went, so a second fault never comes. */
	CU_ASSERT_EQUAL(v.va[0], 0);
	CU_ASSERT_EQUAL(v.va[PAGES * page - 1], 0);
	CU_ASSERT_EQUAL(v.counter, 1);
	victim_drop(&v);
}

static void faulting_store_is_executed_again(void)
{
	struct victim v;

	victim_make(&v, BH_FAULT_ZEROS);
	CU_ASSERT_EQUAL(ftruncate(v.fd, 0), 0);
	v.va[5 * page] = 9;
	CU_ASSERT_EQUAL(v.va[5 * page], 9);
	CU_ASSERT_EQUAL(failed(&v), 1);
	victim_drop(&v);
}

static void what_is_said_to_be_lost_is(void)
{
	struct victim v;
	char byte = 0;

	victim_make(&v, BH_FAULT_ZEROS);
	CU_ASSERT_EQUAL(bh_fault_range_fail(&v.range), 0);
	CU_ASSERT_TRUE(failed(&v) == 1 && v.counter == 1);
	/* A store that is on its way goes nowhere. */
	CU_ASSERT_EQUAL(v.va[2 * page], 0);
	v.va[2 * page] = 7;
	CU_ASSERT_EQUAL(pread(v.fd, &byte, 1, (off_t)(2 * page)), 1);
	CU_ASSERT_EQUAL(byte, 0x5a);
	CU_ASSERT_EQUAL(bh_fault_range_fail(&v.range), 0);
	CU_ASSERT_EQUAL(v.counter, 1);
	bh_fault_range_remove(&v.range);
	CU_ASSERT_EQUAL(bh_fault_range_fail(&v.range), -ENOENT);
	victim_drop(&v);
}

static void registers_read_ones(void)
{
	struct victim v;

	victim_make(&v, BH_FAULT_ONES);
	CU_ASSERT_EQUAL(ftruncate(v.fd, 0), 0);
	CU_ASSERT_EQUAL(*(volatile uint32_t *)(v.va + 2 * page + 16), UINT32_MAX);
	CU_ASSERT_EQUAL(v.va[0], 0xff);
	CU_ASSERT_EQUAL(v.va[PAGES * page - 1], 0xff);
	CU_ASSERT_EQUAL(failed(&v), 1);
	CU_ASSERT_EQUAL(v.counter, 1);
	victim_drop(&v);
}

static void hugetlb_truncated_reads_zeros(void)
{
	enum { HUGE_BYTES = 2 << 20 };
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | 21u << MAP_HUGE_SHIFT);
	struct bh_fault_range range = { .len = 2 * HUGE_BYTES };
	long had = unit_hugepages_reserve(2);
	void *va = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, 2 * HUGE_BYTES) == 0)
		va = mmap(NULL, 2 * HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (va == MAP_FAILED) {
		bh__fd_close(&fd);
		unit_hugepages_restore(had);
		unit_skip("needs two free hugepages of 2 MiB, or root to reserve them");
	}
	memset(va, 0x5a, 2 * HUGE_BYTES);
	for (int fill = BH_FAULT_ZEROS; fill <= (int)BH_FAULT_ONES; fill++) {
		range.base = va;
		range.fill = (enum bh_fault_fill)fill;
		CU_ASSERT_EQUAL_FATAL(bh_fault_range_add(&range), 0);
		CU_ASSERT_EQUAL_FATAL(bh_fault_install(), 0);
		CU_ASSERT_EQUAL(ftruncate(fd, 0), 0);
		CU_ASSERT_EQUAL(((volatile unsigned char *)va)[HUGE_BYTES + 5], fill ? 0xff : 0);
		CU_ASSERT_EQUAL(__atomic_load_n(&range.failed, __ATOMIC_ACQUIRE), 1);
		bh_fault_range_remove(&range);
		CU_ASSERT_EQUAL(ftruncate(fd, 2 * HUGE_BYTES), 0);
		va = mmap(va, 2 * HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			  0);
		CU_ASSERT_PTR_EQUAL_FATAL(va, range.base);
	}
	munmap(va, 2 * HUGE_BYTES);
	close(fd);
	unit_hugepages_restore(had);
}

static void add_again_begins_anew(void)
{
	struct victim v;

	victim_make(&v, BH_FAULT_ZEROS);
	v.range.counter = NULL;
	CU_ASSERT_EQUAL(ftruncate(v.fd, 0), 0);
	CU_ASSERT_EQUAL(v.va[0], 0);
	CU_ASSERT_EQUAL(failed(&v), 1);
	bh_fault_range_remove(&v.range);
	CU_ASSERT_EQUAL(bh_fault_range_add(&v.range), 0);
	CU_ASSERT_EQUAL(failed(&v), 0);
	victim_drop(&v);
}

static void bad_ranges_are_refused(void)
{
	struct bh_fault_range a = { 0 }, b = { 0 };
	long size = sysconf(_SC_PAGESIZE);
	char *base = aligned_alloc((size_t)size, (size_t)size * 2);

	page = (size_t)size;
	a.base = base;
	CU_ASSERT_EQUAL(bh_fault_range_add(&a), -EINVAL);
	a.len = page - 1;
	CU_ASSERT_EQUAL(bh_fault_range_add(&a), -EINVAL);
	a.len = page;
	a.base = base + 1;
	CU_ASSERT_EQUAL(bh_fault_range_add(&a), -EINVAL);
	a.base = base;
	a.len = 0 - page;
	CU_ASSERT_EQUAL(bh_fault_range_add(&a), -EINVAL);
	a.len = page * 2;
	CU_ASSERT_EQUAL(bh_fault_range_add(&a), 0);
	b.base = base + page;
	b.len = page;
	CU_ASSERT_EQUAL(bh_fault_range_add(&b), -EEXIST);
	CU_ASSERT_EQUAL(bh_fault_range_add(&a), -EEXIST);
	bh_fault_range_remove(&b);
	bh_fault_range_remove(NULL);
	bh_fault_range_remove(&a);
	CU_ASSERT_EQUAL(bh_fault_range_add(&b), 0);
	bh_fault_range_remove(&b);
	bh_fault_range_remove(&b);
	free(base);
}

static void table_holds_16384(void)
{
	enum { N = 16384 };
	struct bh_fault_range *r = calloc(N + 1, sizeof(*r));

	page = (size_t)sysconf(_SC_PAGESIZE);
	for (size_t i = 0; i <= N; i++) {
		r[i].base = (void *)((i + 1) * page * 2);
		r[i].len = page;
		CU_ASSERT_EQUAL(bh_fault_range_add(&r[i]), i < N ? 0 : -ENOSPC);
	}
	bh_fault_range_remove(&r[77]);
	CU_ASSERT_EQUAL(bh_fault_range_add(&r[N]), 0);
	for (size_t i = 0; i <= N; i++)
		bh_fault_range_remove(&r[i]);
	free(r);
}

static bool late;

static void *toucher(void *arg)
{
	struct victim *v = arg;
	unsigned char sum = 0;

	for (size_t i = 0; i < PAGES; i++)
		sum |= v->va[i * page + 1];
	/* Whatever was read after the fault, the flag and the counter were there first. */
	if (failed(v) != 1 || __atomic_load_n(&v->counter, __ATOMIC_ACQUIRE) != 1)
		__atomic_store_n(&late, true, __ATOMIC_RELAXED);
	return sum ? v : NULL;
}

static void racing_threads_count_once(void)
{
	enum { THREADS = 4, ROUNDS = 50 };

	for (int round = 0; round < ROUNDS; round++) {
		pthread_t t[THREADS];
		void *dirty;
		struct victim v;

		victim_make(&v, round % 2 ? BH_FAULT_ONES : BH_FAULT_ZEROS);
		CU_ASSERT_EQUAL(ftruncate(v.fd, 0), 0);
		for (int i = 0; i < THREADS; i++)
			pthread_create(&t[i], NULL, toucher, &v);
		for (int i = 0; i < THREADS; i++) {
			pthread_join(t[i], &dirty);
			CU_ASSERT_EQUAL(dirty != NULL, round % 2);
		}
		CU_ASSERT_EQUAL(v.counter, 1);
		CU_ASSERT_FALSE(late);
		victim_drop(&v);
	}
}

/* Runs fn in a child with the default action for SIGBUS underneath; its wait status. */
static int in_child(void (*fn)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		fn();
		_exit(0);
	}
	CU_ASSERT_TRUE_FATAL(pid > 0);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	return status;
}

static volatile unsigned char *unguarded(void)
{
	int fd = memfd_create("foreign", MFD_CLOEXEC);
	void *va = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED, fd, 0);

	bh__fd_close(&fd);
	return va;
}

static void touch_unguarded(void)
{
	signal(SIGBUS, SIG_DFL);
	if (bh_fault_install() == 0 && bh_fault_install() == 0)
		(void)*unguarded();
}

static void kill_self(void)
{
	signal(SIGBUS, SIG_DFL);
	if (bh_fault_install() == 0)
		raise(SIGBUS);
}

static void touch_ignored(void)
{
	signal(SIGBUS, SIG_IGN);
	if (bh_fault_install() == 0)
		(void)*unguarded();
}

static void kill_ignored(void)
{
	signal(SIGBUS, SIG_IGN);
	if (bh_fault_install() == 0)
		raise(SIGBUS);
}

/* First in this program: afterwards the handler is installed in the parent. */
static void foreign_faults_take_the_default_action(void)
{
	int status = in_child(touch_unguarded);

	CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	status = in_child(kill_self);
	CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

static void ignored_signals_stay_ignored(void)
{
	int status = in_child(touch_ignored);

	CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	status = in_child(kill_ignored);
	CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static sigjmp_buf back;
static void *blamed;

static void on_foreign(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	blamed = info->si_addr;
	siglongjmp(back, 1);
}

static void earlier_handler_case(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO };
	volatile unsigned char *foreign = unguarded();
	struct victim v;

	action.sa_sigaction = on_foreign;
	if (sigaction(SIGBUS, &action, NULL) < 0)
		_exit(1);
	victim_make(&v, BH_FAULT_ZEROS);
	if (sigsetjmp(back, 1) == 0) {
		(void)*foreign;
		_exit(2);
	}
	if (blamed != (void *)foreign)
		_exit(3);
	if (ftruncate(v.fd, 0) < 0 || v.va[0] != 0 || failed(&v) != 1)
		_exit(4);
	victim_drop(&v); /* does not wait for the handler that was jumped out of */
}

static void earlier_handler_gets_foreign_faults(void)
{
	int status = in_child(earlier_handler_case);

	CU_ASSERT_TRUE(WIFEXITED(status));
	CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
}

BH_SUITE("fault",
	 { "foreign_faults_take_the_default_action", foreign_faults_take_the_default_action },
	 { "ignored_signals_stay_ignored", ignored_signals_stay_ignored },
	 { "earlier_handler_gets_foreign_faults", earlier_handler_gets_foreign_faults },
	 { "truncated_reads_zeros", truncated_reads_zeros },
	 { "faulting_store_is_executed_again", faulting_store_is_executed_again },
	 { "what_is_said_to_be_lost_is", what_is_said_to_be_lost_is },
	 { "registers_read_ones", registers_read_ones },
	 { "hugetlb_truncated_reads_zeros", hugetlb_truncated_reads_zeros },
	 { "add_again_begins_anew", add_again_begins_anew },
	 { "bad_ranges_are_refused", bad_ranges_are_refused },
	 { "table_holds_16384", table_holds_16384 },
	 { "racing_threads_count_once", racing_threads_count_once })

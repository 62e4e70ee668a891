/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fault guard.
 *
 * A table of pointers to caller-owned ranges. Adding and removing take a mutex; the handler takes
 * none, because it may interrupt anything. Three rules make that safe:
 *
 *  - A slot's pointer is published last and cleared first; the handler counts itself in before it
 *    looks and out when it is done, and remove waits for that count to reach zero after clearing
 *    the slot. Both sides are sequentially consistent (each stores, then loads what the other
 *    stored), so a handler either does not see the range or is waited for.
 *  - Threads that fault in one range at the same time take turns (slot.busy). The holder is another
 *    thread, inside its handler or bh_fault_range_fail(), making two or three system calls: it
 *    needs nothing from the waiter, and does not fault in the range itself.
 *  - The flag and the counter are set before the new pages appear: whoever reads zeros that are not
 *    the peer's finds them set.
 *
 * New pages replace the range in one step, so no thread ever sees it unmapped or, with ones, half
 * filled. Later faults in a failed range are mended the same way: a fault that raced with the first
 * mending finds its page there anyway, and an owner that mapped something new meets no endless
 * loop.
 */
#include <bellhop/fault.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bellhop/barrier.h>
#include <bellhop/range.h>

enum { SLOTS = 16384 };

struct slot {
	struct bh_fault_range *range; /* __atomic; NULL: free */
	uint32_t busy;		      /* __atomic */
};

static struct slot table[SLOTS]; /* memory that is not there before it is used */
static uint32_t used;		 /* __atomic: no range lies behind so many slots */
static uint32_t handlers;	 /* __atomic: handlers now looking at the table */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous;
static bool installed;

/* A single step for readers: the pages are made elsewhere and moved over the range. */
static bool map_ones(void *base, size_t len)
{
	void *fresh = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (fresh == MAP_FAILED)
		return false;
	memset(fresh, 0xff, len);
	if (mremap(fresh, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, base) == base)
		return true;
	munmap(fresh, len);
	return false;
}

/*
 * The system call itself: to ThreadSanitizer mmap() is a write of every byte, and would race with
 * the readers this is made for.
 */
static bool map_zeros(void *base, size_t len)
{
	return syscall(SYS_mmap, base, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
		       0L) == (long)base;
}

static bool slot_mend(struct slot *slot, struct bh_fault_range *range)
{
	bool mended;

	while (__atomic_exchange_n(&slot->busy, 1, __ATOMIC_ACQUIRE))
		bh_relax();
	if (!__atomic_exchange_n(&range->failed, 1, __ATOMIC_RELEASE) && range->counter)
		__atomic_add_fetch(range->counter, 1, __ATOMIC_RELEASE);
	mended = range->fill == BH_FAULT_ONES ? map_ones(range->base, range->len)
					      : map_zeros(range->base, range->len);
	__atomic_store_n(&slot->busy, 0, __ATOMIC_RELEASE);
	return mended;
}

static bool table_mend(uintptr_t addr)
{
	for (uint32_t i = 0; i < __atomic_load_n(&used, __ATOMIC_SEQ_CST); i++) {
		struct bh_fault_range *range = __atomic_load_n(&table[i].range, __ATOMIC_SEQ_CST);

		if (range && addr - (uintptr_t)range->base < range->len)
			return slot_mend(&table[i], range);
	}
	return false;
}

/* An access that will be executed again on return; not kill(2), nor a misaligned access. */
static bool is_access(const siginfo_t *info)
{
	return info->si_code == BUS_ADRERR || info->si_code == BUS_OBJERR ||
	       info->si_code == BUS_MCEERR_AR;
}

bool bh_fault_handle(const siginfo_t *info)
{
	int saved = errno;
	bool mended;

	if (info->si_signo != SIGBUS || !is_access(info))
		return false;
	__atomic_add_fetch(&handlers, 1, __ATOMIC_SEQ_CST);
	mended = table_mend((uintptr_t)info->si_addr);
	__atomic_sub_fetch(&handlers, 1, __ATOMIC_SEQ_CST);
	errno = saved;
	return mended;
}

static void chain(int sig, siginfo_t *info, void *context)
{
	bool synchronous = info->si_code > 0 && info->si_code != BUS_MCEERR_AO;

	if (previous.sa_flags & SA_SIGINFO) {
		previous.sa_sigaction(sig, info, context);
	} else if (previous.sa_handler == SIG_DFL ||
		   (previous.sa_handler == SIG_IGN && synchronous)) {
		/* As the kernel does: a fault cannot be ignored. It comes again by itself. */
		signal(sig, SIG_DFL);
		if (!synchronous)
			raise(sig);
	} else if (previous.sa_handler != SIG_IGN) {
		previous.sa_handler(sig);
	}
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	if (!bh_fault_handle(info))
		chain(sig, info, context);
}

static int handler_install(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };

	action.sa_sigaction = on_sigbus;
	/* Known before ours can run, with its mask in force for the handler that is chained to. */
	if (sigaction(SIGBUS, NULL, &previous) < 0)
		return -errno;
	action.sa_mask = previous.sa_mask;
	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

int bh_fault_install(void)
{
	int rc = 0;

	pthread_mutex_lock(&table_lock);
	/*
	 * Never twice: a handler put in front of ours in between would be chained to in a circle.
	 */
	if (!installed)
		rc = handler_install();
	if (rc == 0)
		installed = true;
	pthread_mutex_unlock(&table_lock);
	return rc;
}

static int slot_find(const struct bh_fault_range *range, struct slot **out)
{
	*out = used < SLOTS ? &table[used] : NULL;
	for (uint32_t i = used; i-- > 0;) {
		struct bh_fault_range *other = __atomic_load_n(&table[i].range, __ATOMIC_RELAXED);

		if (!other) {
			*out = &table[i];
		} else if (bh_range_overlaps((uintptr_t)range->base, range->len,
					     (uintptr_t)other->base, other->len)) {
			return -EEXIST;
		}
	}
	return *out ? 0 : -ENOSPC;
}

int bh_fault_range_add(struct bh_fault_range *range)
{
	size_t mask = (size_t)sysconf(_SC_PAGESIZE) - 1;
	struct slot *slot;
	int rc;

	if (((uintptr_t)range->base | range->len) & mask ||
	    !bh_range_valid((uintptr_t)range->base, range->len))
		return -EINVAL;
	pthread_mutex_lock(&table_lock);
	rc = slot_find(range, &slot);
	if (rc == 0) {
		__atomic_store_n(&range->failed, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&slot->range, range, __ATOMIC_SEQ_CST);
		if (slot == &table[used])
			__atomic_store_n(&used, used + 1, __ATOMIC_SEQ_CST);
	}
	pthread_mutex_unlock(&table_lock);
	return rc;
}

int bh_fault_range_fail(struct bh_fault_range *range)
{
	int rc = -ENOENT;
	uint32_t i;

	pthread_mutex_lock(&table_lock);
	for (i = 0; i < used && rc == -ENOENT; i++)
		if (__atomic_load_n(&table[i].range, __ATOMIC_RELAXED) == range)
			rc = slot_mend(&table[i], range) ? 0 : -ENOMEM;
	pthread_mutex_unlock(&table_lock);
	return rc;
}

static bool slot_clear(const struct bh_fault_range *range)
{
	uint32_t i, n = used;

	for (i = 0; i < n; i++)
		if (__atomic_load_n(&table[i].range, __ATOMIC_RELAXED) == range)
			break;
	if (i == n)
		return false;
	__atomic_store_n(&table[i].range, NULL, __ATOMIC_SEQ_CST);
	while (n > 0 && !__atomic_load_n(&table[n - 1].range, __ATOMIC_RELAXED))
		n--;
	__atomic_store_n(&used, n, __ATOMIC_SEQ_CST);
	return true;
}

void bh_fault_range_remove(struct bh_fault_range *range)
{
	bool found;

	if (!range)
		return;
	pthread_mutex_lock(&table_lock);
	found = slot_clear(range);
	pthread_mutex_unlock(&table_lock);
	while (found && __atomic_load_n(&handlers, __ATOMIC_SEQ_CST))
		bh_relax();
}

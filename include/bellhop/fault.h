/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fault guard: memory somebody else can take away from under us (client memory that is
 * truncated, a BAR whose device was unplugged) raises SIGBUS. A guarded range turns that into a
 * flag.
 *
 * Component: lib/base
 *
 * Libraries register ranges; the application installs the handler once (bh_fault_install) or calls
 * bh_fault_handle from a SIGBUS handler of its own. On a fault inside a guarded range the handler
 * maps fresh pages over the whole range (zeros, or all-ones for registers), sets range->failed and
 * adds one to *range->counter, and the faulting access continues. Whoever owns the range looks at
 * the flag before it posts a completion. This table is one of the two pieces of process-wide state
 * in Bellhop (signals are a process matter).
 */
#ifndef BELLHOP_FAULT_H
#define BELLHOP_FAULT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum bh_fault_fill {
	BH_FAULT_ZEROS, /* memory */
	BH_FAULT_ONES,	/* what registers of a missing PCI device read; takes len bytes of memory */
};

struct bh_fault_range {
	void *base; /* page aligned */
	size_t len; /* multiple of the mapping's page size */
	enum bh_fault_fill fill;
	uint32_t failed;   /* 0, then 1 for good; read with __atomic_load_n */
	uint32_t *counter; /* optional: incremented when failed is set; outlives the registration */
};

/*
 * Installs the SIGBUS handler (SA_SIGINFO; an earlier handler is chained to for other faults).
 * Idempotent: the second call does nothing, even if the application has put a handler in front of
 * this one since. Any thread. -errno of sigaction(2).
 */
int bh_fault_install(void);

/*
 * For applications with a handler of their own: true when the fault was ours and is mended.
 * Async-signal-safe.
 */
bool bh_fault_handle(const siginfo_t *info);

/*
 * Registers base, len, fill, counter of *range (caller-owned, must stay put until removed) and
 * clears its failed flag. Any thread.
 * -EINVAL: unaligned or empty; -EEXIST: overlaps; -ENOSPC: table full (16384 ranges).
 */
int bh_fault_range_add(struct bh_fault_range *range);

/*
 * As if it had been lost just now: whoever is in it, on whatever thread, goes on in fresh pages, and
 * when this returns nobody meets the old ones any more but system calls and devices that have them
 * already. Any thread. -ENOENT: not registered; -ENOMEM: no pages, the old ones stay, failed is set.
 */
int bh_fault_range_fail(struct bh_fault_range *range);

/*
 * Returns when no handler on another thread still uses the range. NULL and unregistered ranges are
 * accepted.
 */
void bh_fault_range_remove(struct bh_fault_range *range);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts, the half that any thread runs.
 *
 * An MSI-X vector is one word of two bits. OPEN is set by the control thread while the vector has
 * an eventfd and is masked nowhere; PENDING is set by whoever raises a vector that is not open.
 * Both change by read-modify-write, so of a raise and an opening that cross, one sees the other's
 * bit: either the opener finds PENDING and delivers, or the raiser finds OPEN and does. The same
 * operation is the full fence that puts the raiser's completion entries before its look at the
 * mask.
 *
 * The eventfd's number is used under the vector's lock only, by the raiser to write and by the
 * control thread to change it; the old one is closed after that. So nobody writes to a number that
 * has been closed and reused. The lock is held for a system call that does not block, and
 * contended only while a client rebinds the vector under load.
 */
#include <sched.h>
#include <unistd.h>

#include <bellhop/barrier.h>

#include "base/probe.h"
#include "vfu_server/server.h"

#define SPINS 64 /* then the holder is likely not running */

static void lock(uint32_t *word)
{
	unsigned int spins = 0;

	while (__atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE)) {
		while (__atomic_load_n(word, __ATOMIC_RELAXED)) {
			if (++spins % SPINS == 0)
				sched_yield();
			else
				bh_relax();
		}
	}
}

static void unlock(uint32_t *word)
{
	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
}

static bool deliver_locked(struct vfus_vector *vector)
{
	uint32_t state = __atomic_fetch_and(&vector->state, ~VFUS_VECTOR_PENDING, __ATOMIC_SEQ_CST);

	if (!(state & VFUS_VECTOR_PENDING))
		return true; /* somebody else has just signalled it for us */
	if (!(state & VFUS_VECTOR_OPEN)) {
		__atomic_fetch_or(&vector->state, VFUS_VECTOR_PENDING, __ATOMIC_SEQ_CST);
		return false;
	}
	vfus_signal(vector->signaller, vector->fd);
	return true;
}

bool vfus_vector_raise(struct vfus_vector *vector)
{
	uint32_t old = __atomic_fetch_or(&vector->state, VFUS_VECTOR_PENDING, __ATOMIC_SEQ_CST);
	bool delivered;

	if (!(old & VFUS_VECTOR_OPEN))
		return false;
	lock(&vector->lock);
	delivered = deliver_locked(vector);
	unlock(&vector->lock);
	return delivered;
}

/* Changes the fd (the old one is closed); the vector must be opened anew afterwards. */
void vfus_vector_bind(struct vfus_vector *vector, int fd)
{
	int old;

	lock(&vector->lock);
	__atomic_fetch_and(&vector->state, ~VFUS_VECTOR_OPEN, __ATOMIC_SEQ_CST);
	old = vector->fd;
	vector->fd = fd;
	unlock(&vector->lock);
	if (old >= 0)
		close(old);
}

void vfus_vector_open(struct vfus_vector *vector, bool open)
{
	lock(&vector->lock);
	if (open && vector->fd >= 0) {
		__atomic_fetch_or(&vector->state, VFUS_VECTOR_OPEN, __ATOMIC_SEQ_CST);
		deliver_locked(vector);
	} else {
		__atomic_fetch_and(&vector->state, ~VFUS_VECTOR_OPEN, __ATOMIC_SEQ_CST);
	}
	unlock(&vector->lock);
}

bool vfus_vector_pending(const struct vfus_vector *vector)
{
	return __atomic_load_n(&vector->state, __ATOMIC_ACQUIRE) & VFUS_VECTOR_PENDING;
}

void vfus_vector_forget(struct vfus_vector *vector)
{
	__atomic_fetch_and(&vector->state, ~VFUS_VECTOR_PENDING, __ATOMIC_SEQ_CST);
}

/*
 * The INTx line: the OR of the conditions of all vectors. Signalling masks it, as VFIO does
 * (AUTOMASKED); the client unmasks when the guest has acknowledged, and a condition that still
 * holds signals again.
 *
 * The guest acknowledges by what it writes to the device, and the client unmasks right behind that
 * write. A thread that has not seen the write yet would have its condition raise the line in vain,
 * and without an interrupt controller that tells of the end of interrupts (QEMU's own) such a line
 * stays up until the guest happens to access the device: it calls its handler without end. So
 * conditions count again only when they have been stated after the acknowledgement.
 */
static void intx_deliver_locked(struct vfus_intx *intx)
{
	if (intx->masked || intx->blocked || intx->fd < 0)
		return;
	if (intx->said == 0 && !intx->forced)
		return;
	intx->forced = false;
	intx->masked = true;
	vfus_signal(intx->signaller, intx->fd);
}

static void forget_said(struct vfus_intx *intx)
{
	unsigned int i;

	intx->said = 0;
	for (i = 0; i < VFUS_MAX_VECTORS / 64; i++)
		__atomic_store_n(&intx->since_ack[i], 0, __ATOMIC_RELAXED);
}

void vfus_intx_bind(struct vfus_intx *intx, int fd)
{
	int old;

	lock(&intx->lock);
	old = intx->fd;
	intx->fd = fd;
	if (old < 0 || fd < 0) /* enabled or disabled anew, not just moved to another fd */
		intx->masked = false;
	if (fd < 0)
		intx->forced = false;
	intx_deliver_locked(intx);
	unlock(&intx->lock);
	if (old >= 0)
		close(old);
}

void vfus_intx_mask(struct vfus_intx *intx, bool masked)
{
	lock(&intx->lock);
	intx->masked = masked;
	if (!masked && intx->is_restated)
		forget_said(intx);
	intx_deliver_locked(intx);
	unlock(&intx->lock);
}

void vfus_intx_block(struct vfus_intx *intx, bool blocked)
{
	lock(&intx->lock);
	intx->blocked = blocked;
	intx_deliver_locked(intx);
	unlock(&intx->lock);
}

void vfus_intx_trigger(struct vfus_intx *intx)
{
	lock(&intx->lock);
	intx->forced = true;
	intx_deliver_locked(intx);
	unlock(&intx->lock);
}

void vfus_intx_clear(struct vfus_intx *intx)
{
	unsigned int i;

	lock(&intx->lock);
	intx->forced = false;
	__atomic_store_n(&intx->asserted, 0, __ATOMIC_RELAXED);
	for (i = 0; i < VFUS_MAX_VECTORS / 64; i++)
		__atomic_store_n(&intx->level[i], 0, __ATOMIC_RELAXED);
	forget_said(intx);
	unlock(&intx->lock);
}

/* Sets or clears a bit. True: it was not so before. */
static bool put_bit(uint64_t *word, uint64_t bit, bool on)
{
	uint64_t old = on ? __atomic_fetch_or(word, bit, __ATOMIC_RELAXED)
			  : __atomic_fetch_and(word, ~bit, __ATOMIC_RELAXED);

	return ((old & bit) != 0) != on;
}

void vfus_intx_level(struct vfus_intx *intx, unsigned int vector, bool asserted)
{
	uint64_t *level = &intx->level[vector / 64], *said = &intx->since_ack[vector / 64];
	const uint64_t bit = 1ull << (vector % 64);
	const uint32_t step = asserted ? 1 : UINT32_MAX;

	/* One thread per vector: what it has said stays so, unless it is to be said anew. */
	if (((__atomic_load_n(level, __ATOMIC_RELAXED) & bit) != 0) == asserted &&
	    ((__atomic_load_n(said, __ATOMIC_RELAXED) & bit) != 0) == asserted)
		return;
	lock(&intx->lock);
	if (put_bit(level, bit, asserted))
		__atomic_fetch_add(&intx->asserted, step, __ATOMIC_RELAXED);
	if (put_bit(said, bit, asserted))
		intx->said += step;
	if (asserted)
		intx_deliver_locked(intx);
	unlock(&intx->lock);
}

bool bh_vfu_irq_raise(struct bh_vfu_server *s, unsigned int vector)
{
	bool is_delivered;

	if (vector >= s->irqs.num_msix)
		return false;
	is_delivered = vfus_vector_raise(&s->irqs.msix[vector]);
	BH_PROBE3(target_interrupt, s, vector, is_delivered);
	return is_delivered;
}

void bh_vfu_irq_level(struct bh_vfu_server *s, unsigned int vector, bool asserted)
{
	if (vector < VFUS_MAX_VECTORS)
		vfus_intx_level(&s->irqs.intx, vector, asserted);
}

bool bh_vfu_irq_is_open(const struct bh_vfu_server *s, unsigned int vector)
{
	if (vector >= s->irqs.num_msix)
		return false;
	return __atomic_load_n(&s->irqs.msix[vector].state, __ATOMIC_ACQUIRE) & VFUS_VECTOR_OPEN;
}

bool bh_vfu_irq_msix_enabled(const struct bh_vfu_server *s)
{
	return __atomic_load_n(&s->irqs.msix_enabled, __ATOMIC_ACQUIRE) != 0;
}

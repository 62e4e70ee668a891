/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doorbells: the register page, shadow doorbells with event indices, going to sleep.
 *
 * The rule (base 2.0 5.8, B.5). The host stores its new value, a full fence, then loads the event
 * index E; it rings the register if (u16)(new - E - 1) < (u16)(new - old), which says: if E is one
 * of old, old + 1, ..., new - 1. In a ring of N entries only E modulo N matters. Below, positions
 * are counted without wrapping: old <= new, and E stands for E + N and E - N too.
 *
 * A thread that polls need not be rung, so E is to be in no step of the host: neither in those to
 * come before E is moved again, nor in the one that may be under way, whose value we have read and
 * whose load of E is still to come. The host may be stopped between the two for any time.
 *
 * Completion heads. Let h be the head we read, T our tail, u = T - h. Steps to come begin at h or
 * later and end at T or earlier, so E < h and T <= E + N keep E out of them: what lies between T
 * and E + N is the room we have. The N - u positions from T to h + N are shared: the half next to
 * h, b of them, is distance to the step under way; the other half is room:
 *
 *	b = ceil((N - u) / 2), E = h - b, room = N - u - b
 *
 * The step under way, [old, h), does not meet E if h - old < b. Take a host that submits no more
 * than what can complete up to D entries past the head it stored last, and N >= 2D + 1. Since it
 * submits nothing within a step, T <= old + D until the step is done, so h - old <= D - u, and
 *
 *	b >= (N - u) / 2 >= (2D + 1 - u) / 2 = (D - u) + (1 + u) / 2 > D - u >= h - old
 *
 * Such a host, ours among them (drivers/nvme/doorbell.c), never rings while we poll, wherever it or
 * we are stopped; and since u < D while something is to be posted, room is never 0 then. With any
 * other host E comes nearer as the queue fills: where one entry is free room is 1 at least, so all
 * the host has given back is filled before it need give back more. It rings in vain only if it is
 * stopped in a step of more than half of what was free.
 *
 * Submission tails. What is to come is not ours to bound. With v the tail we read and b =
 * ceil(N / 2) the index v - b is right for the same hosts: the step under way is not longer than
 * D < b, and the next ones do not go beyond v + D <= v - b + N. A host with more in flight gives
 * itself away when b or more are found at once. Its index is v - 1, stored as late as may be, when
 * the first command of the visit has been done; it rings in vain only if it is stopped in between.
 *
 * Before it sleeps the thread arms: it stores v, so the next change rings, then a full fence, then
 * looks again:
 *
 *	thread			host
 *	store event index	store doorbell
 *	fence			fence
 *	load doorbell		load event index
 *
 * One of the two sees the other: a host that stored its doorbell and did not ring is seen. Armed
 * are all tails, and heads that are waited for: of completion queues that are full, or whose INTx
 * line is up. When the thread wakes E goes back to where it was. So each time a thread arms costs a
 * host at most one ring for each doorbell.
 *
 * Without shadows a trapped doorbell always comes as a message, and a mapped one wakes nobody, so
 * that the thread asks to be polled by a timer.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "target/nvme/plane.h"

/* What arming answers for those who wait for room or memory: a turn in 1 ms. */
#define RETRY_NS (-(int64_t)1000000)
#define DOZES 100u /* turns without anything, after which they come more slowly */

static void bell_store(struct tn_thread *t, struct tn_bell *bell, uint32_t value)
{
	bh_store_u32(bell->event_idx, value & 0xffff);
	bh_cmem_dirty(t->cmem, bell->event_iova, sizeof(*bell->event_idx));
}

/* Leaves the event index `behind` entries behind v. */
static void bell_trail(struct tn_thread *t, struct tn_bell *bell, uint32_t v, uint32_t behind)
{
	uint32_t index = v >= behind ? v - behind : v + bell->entries - behind;

	if (index == bell->index)
		return;
	bell->index = index;
	bell->is_armed = false;
	bell_store(t, bell, index);
}

void tn_bell_trail_late(struct tn_thread *t, struct tn_sq *sq, uint32_t v)
{
	bell_trail(t, &sq->bell, v, 1);
}

static uint32_t half(const struct tn_bell *bell)
{
	return (bell->entries + 1) / 2;
}

void tn_bell_read(struct tn_thread *t, struct tn_sq *sq, uint32_t v)
{
	uint32_t found = v >= sq->head ? v - sq->head : v + sq->entries - sq->head;

	sq->bell.is_late |= found >= half(&sq->bell);
	if (!sq->bell.is_late || sq->mirror)
		bell_trail(t, &sq->bell, v, sq->bell.is_late ? 1 : half(&sq->bell));
}

void tn_bell_reckon(struct tn_thread *t, struct tn_cq *cq)
{
	uint32_t to_head =
		cq->head > cq->tail ? cq->head - cq->tail : cq->head + cq->entries - cq->tail;
	uint32_t behind = (to_head + 1) / 2;

	cq->space = to_head - 1;		/* a ring is full with one entry less than it has */
	if (!cq->bell.event_idx || cq->is_line) /* which is always armed: see queue.c */
		return;
	cq->space = to_head - behind;
	if (cq->space || cq->bell.index == TN_BELL_NOWHERE)
		bell_trail(t, &cq->bell, cq->head, behind);
}

void tn_bell_arm(struct tn_thread *t, struct tn_bell *bell, uint32_t v)
{
	if (!bell->event_idx || (bell->is_armed && bell->armed == v))
		return;
	bell_store(t, bell, v);
	bell->armed = v;
	bell->is_armed = true;
}

static void bell_disarm(struct tn_thread *t, struct tn_bell *bell)
{
	if (!bell->is_armed)
		return;
	bell_store(t, bell, bell->index);
	bell->is_armed = false;
}

/* The doorbell to look at; inside a gate no shadow: queues are attached again when it opens. */
static const uint32_t *attach(struct tn_thread *t, unsigned int k, struct tn_bell *bell,
			      uint32_t entries)
{
	size_t offset = (size_t)k * (4u << t->ctrl->dstrd);

	*bell = (struct tn_bell){ .entries = entries, .index = TN_BELL_NOWHERE };
	if (!t->shadow_db || t->is_gated)
		return tn_doorbell(t->ctrl, k);
	bell->event_idx = (uint32_t *)(void *)(t->shadow_ei + offset);
	bell->event_iova = t->shadow_ei_iova + offset;
	return (const uint32_t *)(const void *)(t->shadow_db + offset);
}

void tn_bell_attach_sq(struct tn_thread *t, struct tn_sq *sq)
{
	sq->db = attach(t, 2u * sq->qid, &sq->bell, sq->entries);
	if (sq->bell.event_idx)
		bell_trail(t, &sq->bell, sq->head, half(&sq->bell));
}

void tn_bell_attach_cq(struct tn_thread *t, struct tn_cq *cq)
{
	cq->db = attach(t, 2u * cq->qid + 1, &cq->bell, cq->entries);
	if (cq->bell.event_idx)
		tn_bell_reckon(t, cq);
}

/* Finds the shadow pages; false: they are gone, the register page counts again. */
bool tn_shadow_resolve(struct tn_thread *t)
{
	struct bh_cmem_cache cache = { 0 };
	const uint32_t prot = BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE;

	t->shadow_db = t->shadow_ei = NULL;
	if (!t->shadow_db_iova)
		return true;
	t->shadow_db = bh_cmem_ptr(t->cmem, &cache, t->shadow_db_iova, TN_PAGE_SIZE, prot);
	t->shadow_ei = bh_cmem_ptr(t->cmem, &cache, t->shadow_ei_iova, TN_PAGE_SIZE, prot);
	if (t->shadow_db && t->shadow_ei)
		return true;
	t->shadow_db = t->shadow_ei = NULL;
	return false;
}

/* Once; what was fetched before still completes. */
void tn_sq_bad_doorbell(struct tn_thread *t, struct tn_sq *sq)
{
	if (sq->is_stopped)
		return;
	sq->is_stopped = true;
	tn_event_raise(t->ctrl, BH_NVME_AER_TYPE_ERROR, BH_NVME_AER_ERROR_INVALID_DOORBELL_VALUE,
		       BH_NVME_LOG_ERROR);
}

/* ---- sleeping ---- */

/*
 * Would a pass find room, or a head that is wrong? Only looks: tn_cq_room would move an event index
 * that is armed already, and the host would not ring for the head that is waited for. A head that
 * has moved counts as room; a pass reckons it, so the same head does so only once.
 */
static bool cq_may_have_room(const struct tn_cq *cq)
{
	uint32_t head = bh_load_u32(cq->db);
	uint32_t used = cq->tail >= head ? cq->tail - head : cq->tail + cq->entries - head;

	return !cq->is_stopped && (cq->space || head != cq->head || used < cq->entries - 1);
}

static bool sq_has_work(const struct tn_sq *sq)
{
	uint32_t v = bh_load_u32(sq->db);

	if (sq->is_stopped || sq->cq->is_stopped || (sq->mirror && sq->mirror->is_busy))
		return false;
	if (v == sq->head || (sq->is_half && v == sq->half_tail))
		return false;
	return v >= sq->entries || cq_may_have_room(sq->cq);
}

static bool cq_has_work(const struct tn_cq *cq)
{
	if (cq->wait_first)
		return cq_may_have_room(cq);
	return cq->is_asserted && bh_load_u32(cq->db) == cq->tail;
}

static void arm_all(struct tn_thread *t)
{
	unsigned int i;

	for (i = 0; i < t->num_scan; i++)
		tn_bell_arm(t, &t->scan[i].sq->bell, bh_load_u32(t->scan[i].db));
	for (i = 1; i <= BH_TARGET_NVME_MAX_QUEUES; i++) {
		if (t->cq[i] && (t->cq[i]->is_asserted || !cq_may_have_room(t->cq[i]))) {
			tn_bell_arm(t, &t->cq[i]->bell, bh_load_u32(t->cq[i]->db));
			t->has_armed_cqs = true;
		}
	}
}

static bool stores_have_work(struct tn_thread *t)
{
	unsigned int i;

	for (i = 0; i < t->num_async; i++)
		if (bh_blk_chan_arm(t->line[t->async[i]].chan) == -EAGAIN)
			return true;
	return t->hold.first;
}

static bool any_work(struct tn_thread *t)
{
	unsigned int i;

	for (i = 0; !t->is_starved && i < t->num_scan; i++)
		if (sq_has_work(t->scan[i].sq))
			return true;
	for (i = 1; (t->num_waiting || t->num_asserted) && i <= BH_TARGET_NVME_MAX_QUEUES; i++)
		if (t->cq[i] && cq_has_work(t->cq[i]))
			return true;
	return (t->due && !tn_irq_wait_ns(t)) || stores_have_work(t);
}

/* An interrupt is due in so many ns. */
static int64_t sooner(int64_t again, int64_t wait_ns)
{
	if (!wait_ns)
		return -1;
	return !again || -wait_ns > again ? -wait_ns : again;
}

/*
 * The client shares the file: it may have made it blocking and emptied it since epoll saw it
 * readable, so a plain read could wait for ever. The source is edge-triggered: every ring wakes,
 * read or not. The counter is only taken for the statistics, and so that it never fills up.
 *
 * A single thread does not take it when the fd wakes it, for it has a request to serve then, but
 * when it sleeps again, or when the fd is heard of twice before. That may take the edge of a ring
 * that came meanwhile; but before it sleeps it looks at all doorbells. With several threads it is
 * taken at once: a ring that comes later may be another's, and has to be passed on.
 */
static void take_count(struct tn_thread *t)
{
	uint64_t count = 0;
	const struct iovec iov = { &count, sizeof(count) };

	if (preadv2(t->io->io_fd, &iov, 1, -1, RWF_NOWAIT) != sizeof(count))
		count = errno == EAGAIN ? 0 : 1;
	__atomic_fetch_add(&t->io->doorbell_messages, count, __ATOMIC_RELAXED);
	t->has_rung = false;
}

/*
 * When a thread wants its next turn whom no doorbell wakes. What it takes of a core is what its
 * waking takes, most of it the kernel's, so that only fewer turns make it less: after a while
 * without anything they come a fifth more slowly.
 */
static int64_t doze(struct tn_thread *t)
{
	uint64_t busy = t->stats.polls - t->stats.empty_polls, ns = t->ctrl->idle_poll_ns;

	if (t->is_trapped)
		return 0;
	if (t->busy_polls != busy)
		t->dozes = 0;
	t->busy_polls = busy;
	if (t->dozes < DOZES)
		t->dozes++;
	else
		ns += ns / 5;
	return -(int64_t)ns;
}

int64_t tn_bells_arm(struct tn_thread *t)
{
	bool watches = t->watches_admin && __atomic_load_n(&t->io->watch, __ATOMIC_RELAXED);
	int64_t again = doze(t);

	if (t->has_rung)
		take_count(t);
	if (t->is_gated)
		return t->gate_op ? 1 : 0; /* until the message that opens it */
	if (__atomic_load_n(&t->io->is_fatal, __ATOMIC_RELAXED)) {
		if (stores_have_work(t))
			return 1;
		return t->again || t->flush.op ? RETRY_NS : watches ? again : 0;
	}
	if (any_work(t))
		/* before arming makes the host ring for what is found in a moment anyway */
		return 1;
	if (t->is_trapped)
		arm_all(t);
	bh_mb(); /* event indices stored, before doorbells are looked at again: see above */
	if (any_work(t))
		return 1;
	if (t->again || t->is_starved || t->flush.op)
		return RETRY_NS;
	if (!t->num_scan && !watches)
		again = 0;
	return t->due ? sooner(again, tn_irq_wait_ns(t)) : again;
}

void tn_bells_disarm(struct tn_thread *t)
{
	unsigned int i;

	if (!t->shadow_ei || t->is_gated)
		return;
	for (i = 0; i < t->num_scan; i++)
		bell_disarm(t, &t->scan[i].sq->bell);
	/* Seldom: to look at all of them is a good part of what waking takes. */
	for (i = 1; t->has_armed_cqs && i <= BH_TARGET_NVME_MAX_QUEUES; i++)
		if (t->cq[i] && !t->cq[i]->is_line)
			bell_disarm(t, &t->cq[i]->bell);
	t->has_armed_cqs = false;
}

/* ---- the admin queue's doorbells, on behalf of the control thread ---- */

void tn_admin_look(struct tn_thread *t)
{
	uint32_t watch = __atomic_load_n(&t->io->watch, __ATOMIC_ACQUIRE);
	uint32_t tail = bh_load_u32(tn_doorbell(t->ctrl, 0));
	uint32_t head = bh_load_u32(tn_doorbell(t->ctrl, 1));

	if (!watch ||
	    (watch == t->watch_seen && tail == t->admin_seen[0] && head == t->admin_seen[1]))
		return;
	/* The last message has not been handled yet: what was seen stays as it is until then. */
	if (__atomic_exchange_n(&t->admin_sent, 1, __ATOMIC_ACQ_REL))
		return;
	t->watch_seen = watch;
	t->admin_seen[0] = tail;
	t->admin_seen[1] = head;
	bh_reactor_send(t->ctrl->control, &t->admin_msg);
}

void tn_io_watch_admin(struct bh_target_nvme *ctrl, bool on)
{
	struct tn_io *io = ctrl->io;

	if (on && !++io->watch_count)
		io->watch_count = 1;
	__atomic_store_n(&io->watch, on ? io->watch_count : 0, __ATOMIC_RELEASE);
	tn_thread_nudge(io->thread[0]);
}

/* ---- trapped writes (control thread) ---- */

static void bad_register(struct bh_target_nvme *ctrl)
{
	tn_event_raise(ctrl, BH_NVME_AER_TYPE_ERROR, BH_NVME_AER_ERROR_INVALID_DOORBELL_REG,
		       BH_NVME_LOG_ERROR);
}

void tn_io_doorbell_write(struct bh_target_nvme *ctrl, uint64_t offset, uint32_t value)
{
	struct tn_io *io = ctrl->io;
	uint64_t stride = 4u << ctrl->dstrd, k = offset / stride, qid = k / 2;
	uint8_t owner;

	if (offset % stride || qid > BH_TARGET_NVME_MAX_QUEUES ||
	    offset > ctrl->doorbell_bytes - sizeof(value)) {
		bad_register(ctrl);
		return;
	}
	if (!qid) { /* the admin queue's owner is the caller */
		bh_store_release_u32(tn_doorbell(ctrl, (unsigned int)k), value);
		return;
	}
	owner = io->has_cq[k & 1 ? qid : io->sq_cq[qid]];
	if (!owner) {
		bad_register(ctrl);
		return;
	}
	bh_store_release_u32(tn_doorbell(ctrl, (unsigned int)k), value);
	__atomic_fetch_add(&io->doorbell_messages, 1, __ATOMIC_RELAXED);
	tn_thread_nudge(io->thread[owner - 1]);
}

/* ---- trapped writes by eventfd ---- */

static void io_fd_rang(void *ctx, uint32_t events)
{
	struct tn_thread *t = ctx;
	unsigned int i;

	(void)events;
	if (t->has_rung || t->io->num_threads > 1)
		take_count(t);
	else
		t->has_rung = true;
	/* This thread is awake; which of the queues it was nobody says. */
	for (i = 1; i < t->io->num_threads; i++)
		tn_thread_wake(t->io->thread[i]);
}

int tn_io_fd_watch(struct tn_thread *t)
{
	t->io->io_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->io->io_fd < 0)
		return -errno;
	int rc = bh_fd_source_add(t->reactor, t->io->io_fd, EPOLLIN | EPOLLET, io_fd_rang, t,
				  &t->io_fd_source);

	/* The values lie beside it in memory; but it is this thread that wakes the others. */
	if (!rc && t->io->num_threads == 1)
		bh_fd_source_only_wakes(t->io_fd_source);
	return rc;
}

int tn_io_offer_fds(struct bh_target_nvme *ctrl, uint64_t offset)
{
	uint32_t stride = 4u << ctrl->dstrd;
	unsigned int k;
	int rc = 0;

	if (ctrl->io->io_fd < 0)
		return 0;
	for (k = 2; !rc && k < 2 * (ctrl->max_queues + 1); k++) {
		const struct bh_vfu_io_fd io_fd = {
			.region = BH_PCI_BAR0,
			.offset = offset + (uint64_t)k * stride,
			.len = 4,
			.eventfd = ctrl->io->io_fd,
			.shadow_fd = ctrl->doorbell_fd,
			.shadow_offset = offset + (uint64_t)k * stride,
		};

		rc = bh_vfu_server_io_fd_add(ctrl->server, &io_fd);
	}
	return rc;
}

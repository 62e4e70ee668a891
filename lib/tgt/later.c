/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What goes on after its call has returned, because a store has not finished.
 *
 * The control thread works on an ns_call and ends it by tgt_call_done(); until then nobody frees it.
 * A call that is not over when its caller looks is left with the namespace it is about (`leaving`),
 * or on the list of those that are being made, and tgt_reap() takes it up when it is. A caller that
 * does not wait (bh_tgt_dont_wait) has a ticket for it then, and the call becomes the outcome of
 * that ticket; one that has waited in vain has none, and nobody asks.
 *
 * The control thread calls `wake` under a lock, so that whoever takes it back may go afterwards.
 * Nothing else here is for more than one thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <bellhop/clock.h>

#include "tgt/tgt.h"

/* How long a call waits for a store, if it may. */
#define PATIENCE_NS 10000000000ull

/* ---- calls ---- */

struct ns_call *tgt_ns_call_new(struct bh_tgt *tgt, struct bh_target_nvme *nvme, struct bh_blk *blk,
				uint32_t nsid)
{
	struct ns_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->tgt = tgt;
	call->nvme = nvme;
	call->blk = blk;
	call->nsid = nsid;
	sem_init(&call->done, 0, 0);
	return call;
}

void tgt_ns_call_free(struct ns_call *call)
{
	if (!call)
		return;
	/* Whoever has ended it has let go of it. */
	pthread_mutex_lock(&call->tgt->wake_lock);
	pthread_mutex_unlock(&call->tgt->wake_lock);
	sem_destroy(&call->done);
	free(call);
}

void tgt_call_done(void *arg)
{
	struct ns_call *call = arg;
	struct bh_tgt *tgt = call->tgt;

	pthread_mutex_lock(&tgt->wake_lock);
	sem_post(&call->done); /* It may be freed from here on. */
	if (tgt->wake)
		tgt->wake(tgt->wake_ctx);
	pthread_mutex_unlock(&tgt->wake_lock);
}

void tgt_wait(sem_t *done)
{
	while (sem_wait(done) != 0)
		continue;
}

bool tgt_ns_wait(struct bh_tgt *tgt, struct ns_call *call)
{
	uint64_t end = bh_now_ns() + PATIENCE_NS;
	struct timespec until = { .tv_sec = (time_t)(end / 1000000000),
				  .tv_nsec = (long)(end % 1000000000) };

	tgt->ticket = 0;
	if (!tgt->is_running || sem_trywait(&call->done) == 0)
		return true;
	if (tgt->wake) {
		tgt->ticket = call->ticket = ++tgt->last_ticket;
		return false;
	}
	while (sem_clockwait(&call->done, CLOCK_MONOTONIC, &until) != 0) {
		if (errno == ETIMEDOUT)
			return false;
	}
	return true;
}

/* ---- outcomes ---- */

static void call_end(struct bh_tgt *tgt, struct ns_call *call)
{
	struct ns_call **link = &tgt->outcomes;

	if (!call->ticket) {
		tgt_ns_call_free(call);
		return;
	}
	call->next = NULL;
	while (*link)
		link = &(*link)->next;
	*link = call;
}

void tgt_reap_list(struct bh_tgt *tgt, struct ns **link)
{
	while (*link) {
		struct ns *ns = *link;

		if (!ns->leaving || sem_trywait(&ns->leaving->done) != 0) {
			link = &ns->next;
			continue;
		}
		call_end(tgt, ns->leaving);
		ns->leaving = NULL;
		*link = ns->next;
		tgt_ns_free(ns);
	}
}

void tgt_reap(struct bh_tgt *tgt)
{
	struct ns_call **link = &tgt->making;

	for (struct controller *c = tgt->controllers; c; c = c->next)
		tgt_reap_list(tgt, &c->ns);
	for (struct subsys *s = tgt->subsystems; s; s = s->next)
		tgt_reap_list(tgt, &s->ns);
	while (*link) {
		struct ns_call *call = *link;

		if (sem_trywait(&call->done) != 0) {
			link = &call->next;
			continue;
		}
		*link = call->next;
		call_end(tgt, call);
	}
}

void tgt_calls_free(struct bh_tgt *tgt)
{
	struct ns_call **lists[] = { &tgt->making, &tgt->outcomes };

	for (unsigned int i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		while (*lists[i]) {
			struct ns_call *call = *lists[i];

			*lists[i] = call->next;
			tgt_ns_call_free(call);
		}
	}
}

void bh_tgt_dont_wait(struct bh_tgt *tgt, void (*wake)(void *ctx), void *ctx)
{
	pthread_mutex_lock(&tgt->wake_lock);
	tgt->wake = wake;
	tgt->wake_ctx = ctx;
	pthread_mutex_unlock(&tgt->wake_lock);
}

uint64_t bh_tgt_ticket(const struct bh_tgt *tgt)
{
	return tgt->ticket;
}

bool bh_tgt_finished(struct bh_tgt *tgt, uint64_t *ticket, int *result, char why[BH_TGT_WHY])
{
	struct ns_call *call;

	tgt_reap(tgt);
	call = tgt->outcomes;
	if (!call)
		return false;
	tgt->outcomes = call->next;
	*ticket = call->ticket;
	*result = call->error;
	why[0] = '\0';
	if (call->error < 0)
		tgt_say_make(tgt, call->error, call->nsid, why);
	tgt_ns_call_free(call);
	return true;
}

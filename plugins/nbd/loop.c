/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store's thread: connections, what is on its way over them, and what comes of their loss.
 *
 * Channels belong to threads that poll and must never wait for a server: they hand requests over
 * (chan.c), and everything else happens here, on one thread, without locks. It sleeps in poll()
 * when there is nothing to do. A server that says that its connections may be mixed (multi-conn)
 * gets several, among which requests go round.
 *
 * A lost connection is one of all of them, since the order of what was sent over several would be
 * lost with it: all are closed, what had no answer goes back into the queue, and one is made anew,
 * at once and then at growing intervals. Over it first goes the journal (journal.c), one write
 * after the other, then all that waits, then the others are opened. A request waits `timeout` at
 * most, then it fails with -ENOTCONN; a server that is silent as long is treated as lost.
 *
 * What is promised of the export when the store is made (size, flush, zeros, writing) has to hold
 * for every connection after it: one that offers less is not used, and tried again.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nbd.h"

#define LOOK_NS 100000000ull /* how often deadlines are looked at */
#define STEADY_NS 1000000000ull
#define PART_NS 2000000000ull /* for a last flush */

#define say(store, level, ...) nbd_host->log((store)->blk.log, level, NBD_LOG, __VA_ARGS__)

/* ---- down and up ---- */

static void retry(struct nbd_store *store)
{
	store->state = NBD_DOWN;
	store->retry_ns = nbd_now() + store->backoff_ns;
	store->backoff_ns *= 2;
	if (store->backoff_ns > NBD_BACKOFF_MAX_NS)
		store->backoff_ns = NBD_BACKOFF_MAX_NS;
}

static void close_all(struct nbd_store *store)
{
	struct nbd_req *req;

	for (unsigned int i = 0; i < NBD_CONNECTIONS; i++) {
		struct nbd_conn *conn = &store->conn[i];

		nbd_conn_close(conn);
		conn->count = 0;
		while ((req = TAILQ_LAST(&conn->in_flight, nbd_reqs))) {
			TAILQ_REMOVE(&conn->in_flight, req, link);
			nbd_req_restart(req);
			if (req->kind != NBD_KIND_HOST)
				continue;
			TAILQ_INSERT_HEAD(&store->pending, req, link);
			store->num_again++;
		}
	}
	store->is_tidying = false;
}

static void lose(struct nbd_store *store, const char *why)
{
	uint64_t now = nbd_now();
	bool was_up = store->state == NBD_UP;

	if (was_up)
		store->num_again = 0;
	close_all(store);
	if (was_up) {
		store->lost_ns = now;
		store->is_said = false;
		store->is_wanted = store->renewing != store->renewed;
		say(store, store->is_wanted ? BH_LOG_INFO : BH_LOG_WARN,
		    "%s: connection lost: %s; connecting again, %u requests wait", store->blk.name,
		    why, store->num_again);
		if (now - store->up_ns > STEADY_NS) {
			store->backoff_ns = NBD_BACKOFF_MIN_NS;
			store->state = NBD_DOWN;
			store->retry_ns = now;
			return;
		}
	}
	retry(store);
}

/* Said once for each time that the connection is lost. */
static void fail_to_connect(struct nbd_store *store, const char *why)
{
	if (!store->is_said)
		say(store, BH_LOG_WARN, "%s: cannot connect: %s; trying on", store->blk.name, why);
	store->is_said = true;
	lose(store, why);
}

static int check_export(const struct nbd_store *store, const struct nbd_export *now, char why[256])
{
	const struct nbd_export *was = &store->export;
	const char *what = NULL;
	uint64_t bytes = __atomic_load_n(&store->blk.info.blocks, __ATOMIC_RELAXED) *
			 store->blk.info.block_size;

	if (now->bytes < bytes)
		what = "is smaller";
	else if (now->is_readonly && !was->is_readonly)
		what = "is read-only";
	else if (!now->can_flush && was->can_flush)
		what = "knows no flush any more";
	else if (!now->can_zero && was->can_zero)
		what = "writes no zeros any more";
	else if (now->min_block > store->blk.info.block_size)
		what = "has larger blocks";
	if (!what)
		return 0;
	snprintf(why, 256, "the export is another one now: it %s", what);
	return -EINVAL;
}

static void answer_renewal(struct nbd_store *store)
{
	pthread_mutex_lock(&store->lock);
	store->renewed = store->renewing;
	store->offered = store->export.bytes;
	pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
}

static void come_up(struct nbd_store *store)
{
	uint64_t now = nbd_now();

	store->state = NBD_UP;
	store->up_ns = now;
	say(store, store->is_wanted ? BH_LOG_INFO : BH_LOG_WARN,
	    "%s: connected again after %" PRIu64 " ms: %u writes replayed, %u requests sent again",
	    store->blk.name, (now - store->lost_ns) / 1000000, store->num_replayed,
	    store->num_again);
	if (!store->export.can_multi)
		return;
	for (unsigned int i = 1; i < store->max_conns; i++)
		nbd_conn_begin(store, &store->conn[i]);
}

/* The first connection is open. */
static void opened(struct nbd_store *store)
{
	struct nbd_export now;
	char why[256];

	if (nbd_conn_export(&store->conn[0], &now, why) || check_export(store, &now, why)) {
		fail_to_connect(store, why);
		return;
	}
	/* The rest stays what it was when the store was made: channels look at it. */
	store->export.bytes = now.bytes;
	store->export.max_chunk = now.max_chunk;
	store->export.can_fua = now.can_fua;
	store->export.can_multi = now.can_multi;
	answer_renewal(store);
	store->state = NBD_REPLAY;
	store->num_replayed = 0;
	store->replaying = TAILQ_FIRST(&store->journal.writes);
}

static void begin(struct nbd_store *store)
{
	if (nbd_now() < store->retry_ns)
		return;
	store->state = NBD_OPENING;
	if (!nbd_conn_begin(store, &store->conn[0]))
		fail_to_connect(store, nbd_get_error());
}

static void open_first(struct nbd_store *store)
{
	struct nbd_conn *conn = &store->conn[0];

	if (conn->state == NBD_CONN_OPEN)
		opened(store);
	else if (nbd_conn_is_broken(conn))
		fail_to_connect(store, nbd_get_error() ? nbd_get_error() : "refused");
	else if (nbd_now() > conn->until_ns)
		fail_to_connect(store, "no answer");
}

/* ---- connections that are there ---- */

static void look_at_conns(struct nbd_store *store)
{
	for (unsigned int i = 0; i < NBD_CONNECTIONS; i++) {
		struct nbd_conn *conn = &store->conn[i];
		bool is_broken = conn->state != NBD_CONN_CLOSED && nbd_conn_is_broken(conn);

		if (conn->state == NBD_CONN_OPEN && is_broken) {
			lose(store, "the server has closed it");
			return;
		}
		/* One of several that cannot be had is done without. */
		if (conn->state == NBD_CONN_OPENING && (is_broken || nbd_now() > conn->until_ns))
			nbd_conn_close(conn);
	}
}

static bool has_in_flight(const struct nbd_store *store)
{
	for (unsigned int i = 0; i < NBD_CONNECTIONS; i++) {
		if (store->conn[i].count)
			return true;
	}
	return false;
}

/* False: the connection is broken, and the request's place is at the head of the queue again. */
static bool send_step(struct nbd_store *store, struct nbd_conn *conn, struct nbd_req *req)
{
	if (nbd_conn_send(conn, req))
		return true;
	if (!nbd_conn_is_broken(conn)) {
		/* Refused by the library, as the server would have: an answer. */
		conn->count++;
		req->is_answered = true;
		TAILQ_INSERT_TAIL(&conn->answered, req, link);
		return true;
	}
	nbd_req_restart(req);
	if (req->kind == NBD_KIND_HOST)
		TAILQ_INSERT_HEAD(&store->pending, req, link);
	lose(store, "the server has closed it");
	return false;
}

static struct nbd_conn *pick(struct nbd_store *store)
{
	for (unsigned int n = 0; n < NBD_CONNECTIONS; n++) {
		unsigned int i = (store->next_conn + n) % NBD_CONNECTIONS;
		struct nbd_conn *conn = &store->conn[i];

		if (conn->state == NBD_CONN_OPEN && conn->count < NBD_IN_FLIGHT) {
			store->next_conn = i + 1;
			return conn;
		}
	}
	return NULL;
}

static void tidy(struct nbd_store *store)
{
	struct nbd_req *req = &store->tidy;

	memset(req, 0, sizeof(*req));
	req->store = store;
	req->kind = NBD_KIND_TIDY;
	req->op = BH_BLK_FLUSH;
	store->is_tidying = true;
	send_step(store, &store->conn[0], req);
}

static void dispatch(struct nbd_store *store)
{
	struct nbd_conn *conn;
	struct nbd_req *req;

	/* Connections that are to be made anew run dry first. */
	while (store->state == NBD_UP && store->renewing == store->renewed &&
	       (req = TAILQ_FIRST(&store->pending))) {
		if (store->journal.bytes > NBD_JOURNAL_HARD && req->journal)
			break;
		conn = pick(store);
		if (!conn)
			break;
		TAILQ_REMOVE(&store->pending, req, link);
		send_step(store, conn, req);
	}
	if (store->state == NBD_UP && store->journal.bytes > NBD_JOURNAL_SOFT && !store->is_tidying)
		tidy(store);
	if (store->state == NBD_UP && store->renewing != store->renewed && !has_in_flight(store))
		lose(store, "made anew, since the export may have grown");
}

/* ---- the journal sent again ---- */

static void replay_next(struct nbd_store *store)
{
	struct nbd_write *w = store->replaying;
	struct nbd_req *req = &store->replay;

	if (!w) {
		come_up(store);
		return;
	}
	memset(req, 0, sizeof(*req));
	req->store = store;
	req->kind = NBD_KIND_REPLAY;
	req->op = w->op;
	req->flags = w->flags;
	req->buf = w->buf;
	req->offset = w->offset;
	req->bytes = w->bytes;
	send_step(store, &store->conn[0], req);
}

static void replayed(struct nbd_store *store, int status)
{
	struct nbd_write *w = store->replaying;

	store->replaying = TAILQ_NEXT(w, link);
	store->num_replayed++;
	if (!status)
		return;
	say(store, BH_LOG_ERROR,
	    "%s: %" PRIu64 " bytes at %" PRIu64 " were acknowledged and are lost: %s",
	    store->blk.name, w->bytes, w->offset, strerror(-status));
	store->has_lost = true;
	nbd_journal_drop(&store->journal, w);
}

/* ---- answers ---- */

static void tidied(struct nbd_store *store, int status)
{
	store->is_tidying = false;
	if (!status)
		return;
	say(store, BH_LOG_ERROR, "%s: the server cannot flush: %s", store->blk.name,
	    strerror(-status));
	store->has_lost = true;
	nbd_journal_trim(&store->journal, store->tidy.covers);
}

/* A server that is about to end says so; its connection goes, and the request to the next one. */
static bool is_leaving(const struct nbd_req *req)
{
	return req->error == ESHUTDOWN || req->error == ENOTCONN;
}

static void take_answers(struct nbd_store *store, struct nbd_conn *conn)
{
	struct nbd_req *req;
	int status;

	while (conn->state == NBD_CONN_OPEN && (req = TAILQ_FIRST(&conn->answered))) {
		if (req->error && (is_leaving(req) || nbd_conn_is_broken(conn))) {
			lose(store, "the server ends");
			return;
		}
		TAILQ_REMOVE(&conn->answered, req, link);
		conn->count--;
		if (!nbd_req_answered(req, &status))
			send_step(store, conn, req);
		else if (req->kind == NBD_KIND_REPLAY)
			replayed(store, status);
		else if (req->kind == NBD_KIND_TIDY)
			tidied(store, status);
		else
			nbd_req_end(req, status);
	}
}

/* ---- deadlines ---- */

static void look_at_pending(struct nbd_store *store, uint64_t now)
{
	struct nbd_req *req, *next;

	for (req = TAILQ_FIRST(&store->pending); req; req = next) {
		/* is_canceled is set under the lock, before has_canceled, which was taken there. */
		bool is_canceled = __atomic_load_n(&req->is_canceled, __ATOMIC_RELAXED);

		next = TAILQ_NEXT(req, link);
		if (!is_canceled && now - req->began_ns < store->timeout_ns)
			continue;
		TAILQ_REMOVE(&store->pending, req, link);
		nbd_req_end(req, is_canceled ? -ECANCELED : -ENOTCONN);
	}
}

static void look(struct nbd_store *store, bool at_once)
{
	uint64_t now = nbd_now();

	if (now < store->look_ns && !at_once)
		return;
	store->look_ns = now + LOOK_NS;
	for (unsigned int i = 0; i < NBD_CONNECTIONS; i++) {
		const struct nbd_req *oldest = TAILQ_FIRST(&store->conn[i].in_flight);

		if (oldest && now - oldest->sent_ns >= store->timeout_ns) {
			lose(store, "the server does not answer");
			break;
		}
	}
	look_at_pending(store, now);
}

/* ---- the loop ---- */

/* False: it is time to end. */
static bool take_orders(struct nbd_store *store, bool *has_canceled)
{
	bool goes_on;

	pthread_mutex_lock(&store->lock);
	TAILQ_CONCAT(&store->pending, &store->submitted, link);
	*has_canceled = store->has_canceled;
	store->has_canceled = false;
	store->renewing = store->renew;
	goes_on = !store->is_stopping;
	pthread_mutex_unlock(&store->lock);
	return goes_on;
}

static int patience(const struct nbd_store *store)
{
	uint64_t now = nbd_now(), until = now + 1000000000ull;

	if (store->state == NBD_DOWN)
		until = store->retry_ns;
	else if (store->state == NBD_UP && TAILQ_EMPTY(&store->pending) && !has_in_flight(store))
		return -1;
	if (store->look_ns < until)
		until = store->look_ns;
	return until <= now ? 0 : (int)((until - now) / 1000000 + 1);
}

static bool may_sleep(struct nbd_store *store)
{
	bool may;

	pthread_mutex_lock(&store->lock);
	may = TAILQ_EMPTY(&store->submitted) && !store->has_canceled && !store->is_stopping &&
	      store->renew == store->renewing;
	store->is_asleep = may;
	pthread_mutex_unlock(&store->lock);
	return may;
}

static void woke(struct nbd_store *store, bool is_signalled)
{
	uint64_t count;

	pthread_mutex_lock(&store->lock);
	store->is_asleep = false;
	pthread_mutex_unlock(&store->lock);
	while (is_signalled && read(store->wake, &count, sizeof(count)) < 0 && errno == EINTR)
		continue;
}

static void wait_for_events(struct nbd_store *store, int ms)
{
	struct pollfd fds[1 + NBD_CONNECTIONS] = { { .fd = store->wake, .events = POLLIN } };
	struct nbd_conn *of[1 + NBD_CONNECTIONS];
	nfds_t n = 1;

	for (unsigned int i = 0; i < NBD_CONNECTIONS; i++) {
		struct nbd_conn *conn = &store->conn[i];

		if (conn->state == NBD_CONN_CLOSED)
			continue;
		/* One that broke meanwhile has no descriptor, and is not waited for. */
		if (nbd_conn_is_broken(conn) || !TAILQ_EMPTY(&conn->answered)) {
			ms = 0;
			continue;
		}
		fds[n] = (struct pollfd){ .fd = nbd_aio_get_fd(conn->h),
					  .events = nbd_conn_events(conn) };
		of[n++] = conn;
	}
	poll(fds, n, ms);
	woke(store, fds[0].revents);
	for (nfds_t i = 1; i < n; i++) {
		if (fds[i].revents)
			nbd_conn_event(of[i], fds[i].revents);
	}
}

static void step(struct nbd_store *store, bool has_canceled)
{
	for (unsigned int i = 0; i < NBD_CONNECTIONS; i++)
		take_answers(store, &store->conn[i]);
	if (store->state == NBD_DOWN)
		begin(store);
	else if (store->state == NBD_OPENING)
		open_first(store);
	else
		look_at_conns(store);
	if (store->state == NBD_REPLAY && !store->conn[0].count)
		replay_next(store);
	dispatch(store);
	look(store, has_canceled);
}

/* Nobody is left who could ask for a flush. */
static void part(struct nbd_store *store)
{
	uint64_t until = nbd_now() + PART_NS;

	if (store->state == NBD_UP && !TAILQ_EMPTY(&store->journal.writes) && !store->is_tidying)
		tidy(store);
	while (store->state == NBD_UP && store->is_tidying && nbd_now() < until) {
		wait_for_events(store, 100);
		take_answers(store, &store->conn[0]);
	}
	if (!TAILQ_EMPTY(&store->journal.writes))
		say(store, BH_LOG_ERROR, "%s: what was written last may be lost: %s",
		    store->blk.name, "there is no connection over which to flush it");
	for (unsigned int i = 0; i < NBD_CONNECTIONS; i++) {
		if (store->conn[i].state == NBD_CONN_OPEN)
			nbd_aio_disconnect(store->conn[i].h, 0);
	}
	close_all(store);
}

void *nbd_loop(void *arg)
{
	struct nbd_store *store = arg;
	bool has_canceled;

	while (!store->is_dead && take_orders(store, &has_canceled)) {
		step(store, has_canceled);
		if (!store->is_dead)
			wait_for_events(store, may_sleep(store) ? patience(store) : 0);
	}
	part(store);
	if (store->is_dead)
		nbd_free(store);
	return NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The NBD store's inner shape; loop.c has the model. */
#ifndef NBD_NBD_H
#define NBD_NBD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <libnbd.h>

#include <bellhop/plugin.h>

#define NBD_LOG "nbd"
#define NBD_REQUESTS 1024u /* of a channel */
#define NBD_IN_FLIGHT 256u /* with the server, of one connection */
#define NBD_CONNECTIONS 16u
#define NBD_MAX_CHUNK (32u << 20) /* what a server takes that does not say */
#define NBD_ZERO_CHUNK (1ull << 30)
/* What the journal may hold before the server is asked to flush; before writes wait for that. */
#define NBD_JOURNAL_SOFT (32ull << 20)
#define NBD_JOURNAL_HARD (64ull << 20)
#define NBD_CONNECT_NS 5000000000ull
#define NBD_BACKOFF_MIN_NS 20000000ull
#define NBD_BACKOFF_MAX_NS 1000000000ull

enum nbd_step {
	NBD_STEP_DATA,
	NBD_STEP_SYNC, /* a flush behind a write that must be durable */
};

enum nbd_kind {
	NBD_KIND_HOST,	 /* a channel's */
	NBD_KIND_REPLAY, /* a write of the journal, sent again */
	NBD_KIND_TIDY,	 /* a flush of our own, so that the journal gets shorter */
};

struct nbd_chan;
struct nbd_conn;
struct nbd_write;

struct nbd_req {
	TAILQ_ENTRY(nbd_req) link; /* of the one list it is in */
	struct nbd_store *store;
	struct nbd_chan *chan;
	struct nbd_conn *conn; /* while it is in flight */
	void *cookie;
	uint8_t kind, op, flags, step;
	bool is_queued;	  /* under lock: between submission and completion */
	bool is_canceled; /* under lock */
	bool is_answered; /* in the answered list of its connection */
	int error;	  /* errno of the answer */
	uint16_t iovcnt;
	const struct iovec *iov; /* the caller's */
	uint8_t *buf;		 /* a copy of ours of all the data, or NULL: iov[0] will do */
	uint64_t offset, bytes, done;
	uint64_t chunk;		   /* on its way */
	uint64_t covers;	   /* a flush: writes of the journal up to this one */
	struct nbd_write *journal; /* room in the journal, where it will need some */
	uint64_t began_ns;	   /* submitted */
	uint64_t sent_ns;	   /* the last step of it, to the server */
};
TAILQ_HEAD(nbd_reqs, nbd_req);

/* A write that the server has acknowledged and may still lose. */
struct nbd_write {
	TAILQ_ENTRY(nbd_write) link;
	uint64_t number; /* ascending, in the order of acknowledgement */
	uint64_t offset, bytes;
	uint8_t op, flags;
	uint8_t *buf; /* NULL: zeros */
};
TAILQ_HEAD(nbd_writes, nbd_write);

struct nbd_journal {
	struct nbd_writes writes;
	uint64_t last;	/* number of the newest */
	uint64_t bytes; /* that it takes */
};

enum nbd_conn_state { NBD_CONN_CLOSED, NBD_CONN_OPENING, NBD_CONN_OPEN };

struct nbd_conn {
	struct nbd_handle *h;
	enum nbd_conn_state state;
	uint64_t until_ns;  /* opening: given up then */
	unsigned int count; /* in flight and not taken off yet */
	struct nbd_reqs in_flight, answered;
};

/* What the export is like. */
struct nbd_export {
	uint64_t bytes;
	uint64_t max_chunk;
	uint32_t min_block;
	bool is_readonly, can_flush, can_fua, can_zero, can_multi;
};

enum nbd_state {
	NBD_DOWN,    /* until retry_ns */
	NBD_OPENING, /* the first connection is */
	NBD_REPLAY,  /* it is open, and the journal is being sent again */
	NBD_UP,
};

struct nbd_store {
	struct bh_blk blk;
	char *uri; /* without what is ours in it */
	unsigned int max_conns;
	uint64_t timeout_ns;
	struct nbd_export export;

	/* ---- under lock ---- */
	pthread_mutex_t lock;
	struct nbd_reqs submitted;
	bool is_asleep, is_stopping, has_canceled;
	uint64_t renew;	  /* how often somebody asked for connections anew (grow) */
	uint64_t renewed; /* what of it was done, and what came of it */
	uint64_t offered; /* bytes, at the last of these */
	pthread_cond_t changed;

	/* ---- the thread's ---- */
	pthread_t thread;
	int wake;     /* eventfd */
	bool is_dead; /* destroyed on its own thread, which frees it */
	enum nbd_state state;
	struct nbd_conn conn[NBD_CONNECTIONS];
	unsigned int next_conn;
	struct nbd_reqs pending;
	struct nbd_journal journal;
	struct nbd_write *replaying; /* the next one */
	struct nbd_req replay, tidy;
	bool is_tidying;
	bool has_lost; /* a write that was acknowledged is gone: the next flush says so */
	uint64_t retry_ns, backoff_ns, lost_ns, look_ns;
	uint64_t renewing; /* what of renew is under way */
	uint64_t up_ns;
	unsigned int num_replayed, num_again;
	bool is_wanted; /* the loss: for grow() */
	bool is_said;	/* of this loss, why connecting fails */
};

struct nbd_chan {
	struct bh_blk_chan base;
	struct nbd_reqs free;	  /* the owner's */
	struct nbd_reqs returned; /* under the store's lock */
	struct nbd_req req[NBD_REQUESTS];
};

extern const struct bh_plugin_host *nbd_host;

/* ---- plugin.c ---- */

void nbd_free(struct nbd_store *store); /* the last of all */
uint64_t nbd_now(void);

/* ---- chan.c: the owner's side ---- */

extern const struct bh_blk_ops nbd_ops;
/* Makes the thread look. With the lock held. */
void nbd_wake(struct nbd_store *store);

/* ---- conn.c ---- */

/* Begins to connect. False: it cannot, and is closed. */
bool nbd_conn_begin(struct nbd_store *store, struct nbd_conn *conn);
/* After poll() said so; moves an opening one on. */
void nbd_conn_event(struct nbd_conn *conn, short revents);
short nbd_conn_events(const struct nbd_conn *conn);
bool nbd_conn_is_broken(const struct nbd_conn *conn);
void nbd_conn_close(struct nbd_conn *conn);
/* What the export of an open one is like. 0, or -errno with why. */
int nbd_conn_export(struct nbd_conn *conn, struct nbd_export *out, char why[256]);
/* Hands the next step of a request to the server. False: it cannot, with req->error. */
bool nbd_conn_send(struct nbd_conn *conn, struct nbd_req *req);

/* ---- req.c ---- */

/* What comes of an answer. True: the request is over, with *status; false: one more step. */
bool nbd_req_answered(struct nbd_req *req, int *status);
/* From the beginning, on another connection. */
void nbd_req_restart(struct nbd_req *req);
/* To the host; the store may be gone afterwards if it was the last of a closed channel. */
void nbd_req_end(struct nbd_req *req, int status);
int nbd_status(int error); /* of an errno of the server's */

/* ---- journal.c ---- */

void nbd_journal_init(struct nbd_journal *journal);
/* Takes over the copy that the request has, and the room. */
void nbd_journal_add(struct nbd_journal *journal, struct nbd_req *req);
void nbd_journal_drop(struct nbd_journal *journal, struct nbd_write *write);
/* Forgets the writes up to this number. */
void nbd_journal_trim(struct nbd_journal *journal, uint64_t number);
bool nbd_journal_is_needed(const struct nbd_store *store, const struct nbd_req *req);

/* ---- loop.c ---- */

void *nbd_loop(void *store);

#endif

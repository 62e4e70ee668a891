/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The I/O plane's own shape: threads, queues, requests. Private to the I/O plane.
 *
 * One tn_thread per controller and poll thread owns a set of completion queues and the submission
 * queues bound to them. Everything below is touched by its thread only, except where "control" or
 * "__atomic" is said. A pass over a thread (thread.c) is:
 *
 *	doorbells -> entries -> commands -> completions	    queue_io.c, for synchronous stores
 *			  `--> request -> store -> reap ->  req.c, for everything that waits
 *	interrupts, once per vector			    queue.c
 *
 * A thread that is gated makes no pass: it fetches nothing, reaps nothing and looks nothing up, so
 * the control thread may change the table of client memory. What the gate cannot wait for it need
 * not wait for: bounced requests do not touch client memory until they are reaped, direct ones are
 * cancelled, and message transfers work on private buffers.
 */
#ifndef TARGET_NVME_PLANE_H
#define TARGET_NVME_PLANE_H

#include "target/nvme/admin.h"
#include "target/nvme/io.h"
#include "target/nvme/stats.h"

/* What is returned in place of a status field, which has 15 bits. */
#define TN_PENDING 0x8000u  /* it will complete by itself */
#define TN_RETRY 0x8001u    /* no room now: leave the entry where it is */
#define TN_UNMAPPED 0x8002u /* some of it cannot be reached by pointer */
#define TN_HALF 0x8003u	    /* as TN_RETRY, until the next entry is there */
#define TN_PAIR 0x8004u	    /* as TN_PENDING, and so will the next entry's, which is consumed */

#define TN_SF(sc) ((uint16_t)((sc) | BH_NVME_STATUS_DNR))

/* Bounds of one visit to a queue, so that one queue cannot starve the others. */
#define TN_BATCH 64u
#define TN_BATCH_BYTES (512u << 10)

/*
 * Of one pass, after which no further queue is visited, so that one controller cannot starve the
 * others of its core; and of a step: what is deallocated or zeroed without looking up.
 */
#define TN_PASS_BYTES (8u << 20)
#define TN_STEP_BYTES (4u << 20)

/* Memory of requests, per thread, those left behind included: whoever wants more waits. */
#define TN_BOUNCE_LIMIT (64u << 20)

#define TN_SGL_LIMIT 4096u /* descriptors of one command */
#define TN_SEEN_NONE UINT64_MAX
#define TN_CLASSES 4u		   /* of submission queues: urgent, high, medium, low */
#define TN_BELL_NOWHERE UINT32_MAX /* no event index */

/* ---- pieces: a command's data in client memory (walk.c) ---- */

struct tn_piece {
	uint64_t iova;
	uint32_t len;
	bool is_bucket; /* read data that nobody wants */
};

struct tn_pieces {
	struct tn_piece *v;
	uint32_t n;
	uint32_t cap;
	bool is_fixed; /* cap is all there is */
};

/*
 * Turns PRPs or an SGL into pieces. Lists are not read here: begin and feed return TN_PENDING when
 * they need the `len` bytes at `iova` in `chunk`, 0 at the end, or a status field.
 */
struct tn_walk {
	uint64_t iova; /* wanted in chunk */
	uint32_t len;
	bool is_sgl;
	bool to_client;
	bool is_chain;	   /* PRP: the last entry of the chunk points to more */
	bool is_last;	   /* SGL: of the last segment */
	uint32_t count;	   /* SGL: descriptors so far */
	uint64_t left;	   /* bytes of data not described yet */
	uint64_t seg_left; /* SGL: bytes of the segment, chunk included */
	uint64_t sgls;	   /* begun so far; __atomic: read by anybody */
	struct tn_pieces *pieces;
	uint64_t chunk[TN_PAGE_SIZE / 8];
};

uint16_t tn_walk_begin(struct tn_walk *walk, const struct bh_nvme_cmd *cmd, uint64_t len,
		       bool to_client, struct tn_pieces *pieces);
uint16_t tn_walk_feed(struct tn_walk *walk);
void tn_pieces_free(struct tn_pieces *pieces);

/* ---- namespaces: one line per thread and namespace ---- */

enum tn_kind {
	TN_NS_NULL,   /* inline */
	TN_NS_MEMORY, /* inline */
	TN_NS_SYNC,   /* by a call, done when it returns */
	TN_NS_ASYNC,
	TN_NS_PAUSED,  /* being formatted or sanitized, see pause.c */
	TN_NS_REFUSED, /* by a subsystem whose sanitize operation failed */
	TN_NS_NONE,
};

struct tn_line {
	/* __atomic: what the fast path may touch: all, or 0 while it is off it, see uncor.c */
	uint64_t fast_blocks;
	uint8_t *base;
	struct bh_blk_chan *chan;
	uint32_t inline_blocks; /* of one command on the fast path: 0 if it is not for this store */
	uint32_t max_blocks;	/* of one command */
	uint8_t kind;
	uint8_t shift;
	bool is_written; /* since this thread last flushed it on its own account */
	uint8_t deny;	 /* TN_DENY_*, of a reservation */
	uint32_t caps;
	uint32_t inflight;	/* requests that are not left behind; of them */
	uint16_t resv_inflight; /* with the control thread */
	bool has_resv;		/* the reservation commands are there */
	bool has_beside;	/* metadata, or zones: never on the fast path */
	uint64_t blocks;	/* __atomic: the control thread resizes */
} __attribute__((aligned(64)));
static_assert(sizeof(struct tn_line) == 64, "one cache line");

/* What coming and going need of it. */
struct tn_line_life {
	struct bh_fd_source *source;
	struct tn_op *removing;
	struct tn_op *pausing;
	uint16_t paused_sf; /* what commands are answered while it stands still */
	/* Of namespaces with metadata, see struct bh_blk. */
	uint8_t *md;
	struct bh_blk_format format;
	struct bh_zones *zones; /* of zoned ones */
};

/* ---- queues ---- */

struct tn_thread;
struct tn_req;
struct tn_cq;
struct tn_sq;

/* A doorbell with its event index, where the controller has shadows. */
struct tn_bell {
	uint32_t *event_idx; /* NULL: none */
	uint64_t event_iova;
	uint32_t entries; /* of the ring */
	uint32_t index;	  /* what it is while the thread polls */
	uint32_t armed;	  /* what it is instead while is_armed */
	bool is_armed;
	bool is_late; /* SQ: it is stored after the first command */
};

/*
 * The private copy of a ring that cannot be mapped. The rest of the code works on the copy; slow.c
 * moves entries between it and the client. Outlives its queue while a transfer is under way.
 */
struct tn_mirror {
	struct bh_msg msg;
	struct bh_reactor *home;
	struct tn_thread *thread; /* NULL: left behind */
	uint8_t *ring;
	uint32_t at;   /* index of the next entry to move */
	uint32_t n;    /* SQ: entries being fetched; CQ: halves of one entry that were sent */
	uint32_t turn; /* __atomic, see slow.c */
	int status;
	bool is_busy;
};

struct tn_cq {
	struct bh_nvme_cpl *ring;
	uint32_t tail;
	uint32_t entries;
	uint32_t space; /* may be filled before the head is looked at again */
	uint32_t head;	/* as last read */
	uint16_t phase; /* 0 or 1 */
	uint16_t vector;
	bool interrupt;
	bool is_due; /* on the thread's list of interrupts to raise */
	bool is_stopped;
	bool is_asserted;   /* INTx */
	bool is_line;	    /* its interrupts go by INTx */
	const uint32_t *db; /* head */
	struct tn_cq *due_next;
	uint32_t raised; /* the tail at the last interrupt */
	uint64_t due_ns; /* when one that waits for company is raised at the latest; 0: none does */
	struct tn_req *wait_first, **wait_last; /* completions without room */
	struct tn_mirror *mirror;
	struct tn_bell bell;
	struct tn_queue_stats *stats;
	uint16_t qid;
	uint64_t iova;
};

struct tn_sq {
	struct bh_nvme_cmd *ring;
	uint32_t head;
	uint32_t entries;
	struct tn_cq *cq;
	struct bh_cmem_cache data; /* last hits */
	struct bh_cmem_cache list;
	uint16_t qid;
	uint8_t class; /* QPRIO */
	bool is_weighted;
	bool is_stopped;
	bool is_half;	    /* the next entry is half of a fused operation: nothing to do until */
	uint32_t half_tail; /* the tail is another than this */
	struct tn_mirror *mirror;
	struct tn_bell bell;
	struct tn_reqs *reqs; /* NULL until one is needed */
	uint64_t iova;
	const uint32_t *db; /* tail */
	struct tn_queue_stats *stats;
	const struct tn_line *line; /* of the last command; of no namespace at first */
};

/* What a pass looks at, densely: a queue whose doorbell has not moved costs one load. */
struct tn_scan {
	const uint32_t *db;
	uint64_t seen; /* value worked off, or TN_SEEN_NONE */
	struct tn_sq *sq;
};

/* ---- requests: commands that wait (req.c) ---- */

/* Commands whose data stays inside. */
enum tn_inside {
	TN_NOT_INSIDE,
	TN_VERIFY, /* read, and the data goes nowhere */
	TN_COPY,   /* data are source ranges */
	TN_UNCOR,  /* Write Uncorrectable */
	TN_ZONE_SEND,
	TN_ZONE_REPORT, /* data are made here */
};

/* A decoded command (cmd.c). */
struct tn_job {
	struct tn_line *line;
	const struct tn_line_life
		*life; /* the line's, if it has_beside; else [0], which has nothing */
	uint64_t lba;
	uint32_t blocks;
	uint32_t bytes; /* to be transferred */
	uint16_t param; /* byte of the command that is wrong, for the error log */
	uint8_t op;
	uint8_t flags;
	bool to_client;
	bool is_nop;	  /* valid and nothing to do */
	bool is_request;  /* not for the place where it was found, whatever the store */
	bool is_ranges;	  /* DSM: data are ranges */
	bool is_all;	  /* flush of every namespace */
	bool is_emulated; /* compare by reading */
	bool has_bad;	  /* the store has blocks that are unreadable by a host's wish */
	uint8_t inside;	  /* enum tn_inside */
	bool is_resv;	  /* the control thread does it */
	bool has_md;	  /* metadata come or go with the data, */
	bool is_by_turns; /* each block's metadata behind its data, */
	bool is_md_apart; /* or by themselves */
	bool is_append;
	uint8_t action; /* TN_ZONE_SEND: BH_NVME_ZONE_ACTION_*, */
	bool is_every_zone;
};

enum tn_req_state {
	TN_REQ_FREE,
	TN_REQ_IN,    /* data on its way from the client */
	TN_REQ_STORE, /* in the store */
	TN_REQ_AGAIN, /* the store had no room */
	TN_REQ_OUT,   /* data on its way to the client */
	TN_REQ_CTRL,  /* with the control thread */
	TN_REQ_FUSED, /* its data are here; waits for the other half, and what that waits for */
	TN_REQ_WAIT,  /* complete; waits for room in the completion queue */
};

struct tn_req {
	struct tn_req *next;
	struct tn_sq *sq; /* NULL: left behind, nothing of the controller may be touched for it */
	struct tn_thread *thread;
	struct tn_reqs *pool; /* NULL: a flush of the controller's own, see io_flush.c */
	struct tn_job job;
	uint8_t state;
	bool is_direct;	    /* the store has client memory, */
	bool is_passed;	    /* and does not let go of it when told to */
	bool is_mapped;	    /* pieces are known */
	bool is_lost;	    /* its buffer went away */
	bool has_place;	    /* in a zone */
	uint64_t result;    /* of its completion */
	uint64_t bad_block; /* where protection information failed, counted from its lba */
	bool is_synced;	    /* what is beside the store was, or is being */
	uint16_t status;
	uint32_t faults;	    /* of client memory when it was translated */
	uint64_t begun;		    /* ticks */
	uint32_t step;		    /* ranges, namespaces done */
	uint32_t at;		    /* blocks of this range done */
	struct tn_orphans *orphans; /* it is one of them */
	struct tn_req *mate;	 /* the other half of a fused operation, while neither has ended */
	struct bh_blk_span span; /* of its store; see turn.c */
	bool is_fused;
	bool is_second;	  /* of its mate */
	bool awaits_turn; /* AGAIN: nothing has begun yet */
	uint16_t fate;	  /* what it will end with when its data are here, whatever they are */
	uint8_t *buf;
	size_t buf_len;
	size_t charge;	      /* bytes counted in the budget */
	struct tn_meta *meta; /* has_md: meta.c's */
	struct tn_pieces pieces;
	struct iovec *iov; /* direct */
	struct iovec one;
	struct bh_blk_io io;
	struct tn_xfer xfer; /* holds the command */
};

/*
 * Changes of a namespace's medium that a reset or a deleted queue left in its store. Commands that
 * come after must not be overtaken by them. Outlives the namespace with the last of them.
 */
struct tn_orphans {
	uint32_t refs;	/* __atomic */
	uint32_t count; /* __atomic */
};

/* The buffers of a thread's requests. Outlives the thread with what was left behind. */
struct tn_budget {
	uint32_t refs;	 /* __atomic: the thread, and its queues' slots */
	uint64_t used;	 /* __atomic: bytes; only the thread adds */
	uint32_t passed; /* __atomic: requests in stores that have client memory; likewise */
	int arena_fd;	 /* of the file that it is a mapping of */
	uint8_t *arena;	 /* __atomic: buffers in memory that stores were told of; NULL: none */
	struct tn_bounce *returned; /* __atomic: buffers of the arena, by whom they were left to */
};

struct tn_reqs {
	struct tn_budget *budget;
	uint32_t refs; /* __atomic: the queue, and requests left behind */
	uint32_t count;
	uint32_t used; /* slots ever used; the rest is untouched memory */
	struct tn_req *free;
	struct tn_req slot[];
};

/* Bounce buffers kept for the next request, by size. */
#define TN_BOUNCE_MIN_SHIFT 12
#define TN_BOUNCE_CLASSES 12
#define TN_BOUNCE_KEEP (4u << 20) /* bytes per class */

#define TN_ARENA_BYTES (4u << 20)
#define TN_ARENA_ORDERS 6 /* buffers up to 128 KiB come out of it */

struct tn_bounce {
	struct tn_bounce *next;
	uint32_t order;
};

/* A flush of the controller's own on one thread. */
struct tn_flush {
	struct tn_op *op;     /* NULL: none is under way */
	struct tn_req *first; /* in stores */
	uint32_t nsid;	      /* the next to be looked at */
	uint16_t status;
};

/* ---- threads ---- */

struct tn_stats {
	uint64_t polls, empty_polls;
};

/* Of a visit to a queue, what its namespaces but the last have been credited with; zeros between. */
struct tn_told {
	uint32_t count, writes;
	uint64_t bytes, write_bytes;
};

struct tn_thread {
	/* ---- hot ---- */
	struct bh_cmem *cmem;
	uint32_t faults; /* of cmem, as last looked at */
	uint32_t num_scan;
	struct tn_scan *scan; /* by qid */
	uint32_t scan_from;   /* where the next pass begins */
	bool is_weighted;     /* queues have classes */
	struct tn_cq *due;
	bool is_gated;
	struct tn_stats stats;	     /* __atomic: written here, read by anybody */
	struct tn_ns_stats **nstats; /* by nsid; __atomic, see stats.h */
	struct tn_told told;

	/* ---- rare ---- */
	uint32_t turn[TN_CLASSES];	       /* index in scan of who is next in its class */
	uint32_t num_async;		       /* lines that are reaped, */
	uint16_t async[BH_TARGET_NVME_MAX_NS]; /* by nsid */
	uint32_t num_mirrors;
	uint32_t num_waiting;  /* requests waiting for room in their CQ */
	uint32_t num_asserted; /* INTx */
	struct tn_req *again;  /* requests whose turn comes again, in order, */
	struct tn_req **again_last;
	uint64_t work;	 /* bytes of this pass that were not the fast path's */
	bool is_starved; /* an entry was left in its ring in this pass, for want of memory */
	struct tn_budget *budget;
	struct tn_flush flush;
	struct tn_op *drains;	    /* wait for a line's last request */
	struct tn_op *gate_op;	    /* the gate waits for requests that are passed, */
	uint64_t gate_ns;	    /* until then without cancelling any */
	struct tn_op *parting;	    /* wait for requests of a submission queue that are passed */
	struct tn_hold hold;	    /* transfers that can go on */
	struct bh_cmem_cache cache; /* of copies back */

	struct bh_target_nvme *ctrl;
	struct tn_io *io;
	struct bh_reactor *reactor;
	struct bh_poller *poller;
	struct bh_fd_source *io_fd_source;
	unsigned int index;
	bool is_trapped;
	bool watches_admin;  /* this thread is the one */
	bool has_armed_cqs;  /* a completion queue's event index, or several */
	bool has_rung;	     /* the io fd, since its counter was taken */
	uint32_t dozes;	     /* turns that were asked for since a pass was not empty, */
	uint64_t busy_polls; /* which so many have not been */
	uint32_t watch_seen;
	uint32_t admin_seen[2];
	uint32_t admin_sent; /* __atomic */
	struct bh_msg admin_msg;
	uint32_t wake_sent; /* __atomic */
	struct bh_msg wake_msg;
	uint32_t irq_sent; /* __atomic */
	struct bh_msg irq_msg;
	uint32_t intms;

	uint64_t shadow_db_iova, shadow_ei_iova; /* 0: none */
	uint8_t *shadow_db;
	uint8_t *shadow_ei;
	struct tn_pieces scratch;
	struct iovec *iov; /* as many */
	struct tn_walk walk;
	struct tn_bounce *bounce[TN_BOUNCE_CLASSES];
	uint32_t bounced[TN_BOUNCE_CLASSES]; /* those that can be freed */
	uint32_t arena_used;		     /* bytes that were cut off it */
	struct tn_queue_stats *qstats[BH_TARGET_NVME_MAX_QUEUES + 1]; /* by qid; as nstats */
	struct tn_cq *cq[BH_TARGET_NVME_MAX_QUEUES + 1];	      /* by qid; NULL: not here */
	struct tn_sq *sq[BH_TARGET_NVME_MAX_QUEUES + 1];
	struct tn_orphans *orphans[BH_TARGET_NVME_MAX_NS + 1]; /* by nsid */
	struct tn_line_life life[BH_TARGET_NVME_MAX_NS + 1];   /* by nsid */
	struct tn_line line[BH_TARGET_NVME_MAX_NS + 1];
};

/* ---- what the control thread asks of one thread, and its answer (op.c) ---- */

struct tn_op {
	struct bh_msg msg;
	struct tn_op *next;
	struct tn_thread *thread;
	void (*run)(struct tn_op *op);	  /* on the thread; ends with tn_op_reply, now or later */
	void (*finish)(struct tn_op *op); /* on the control thread */
	struct tn_fan *fan;
	uint16_t status;
	int error;
	union {
		struct tn_cq *cq;
		struct tn_sq *sq;
		struct tn_ns *ns;
		uint16_t qid;
		bool is_dropping;
		struct {
			struct tn_op *next;
			uint32_t nsid;
			uint8_t bits;
			bool is_aborting;
		} deny;
	} u;
	uint16_t cid;
	uint64_t iova, len;
	tn_done done;
	void *arg;
};

/* The same asked of every thread. */
struct tn_fan {
	struct tn_io *io;
	unsigned int left;
	uint16_t status; /* of the first that failed */
	int error;
	void *kept; /* for finish */
	void (*finish)(struct tn_fan *fan);
	void (*done)(void *arg);
	void (*done_error)(void *arg, int error);
	tn_done done_status;
	void *arg;
	struct tn_op op[];
};

/* The control thread's. */
struct tn_io {
	struct bh_target_nvme *ctrl;
	unsigned int num_threads;
	unsigned int next_thread;
	bool is_direct; /* an operation runs in its caller: no reactor is running */
	bool is_dropping;
	uint32_t watch; /* __atomic: 0 off, else changes with each switching on */
	uint32_t watch_count;
	uint32_t is_fatal;	    /* __atomic: nothing is fetched until the queues are dropped */
	uint32_t intms;		    /* __atomic: copy for the threads */
	uint64_t doorbell_messages; /* __atomic */
	uint8_t has_cq[BH_TARGET_NVME_MAX_QUEUES + 1]; /* thread index + 1 */
	uint16_t sq_cq[BH_TARGET_NVME_MAX_QUEUES + 1]; /* CQ of the SQ, 0: none */
	struct tn_fan *gate;
	struct tn_fan *ungate;
	struct tn_fan *destroy;
	struct tn_fan *flush;
	struct tn_fan *give_up;
	void (*destroyed)(void *arg);
	void *destroyed_arg;
	enum tn_gate gate_kind;
	int io_fd; /* eventfd of the doorbells, -1 */
	struct tn_thread *thread[];
};

/* op.c */
struct tn_op *tn_op_new(struct tn_thread *thread, void (*run)(struct tn_op *),
			void (*finish)(struct tn_op *));
void tn_op_send(struct tn_op *op);
void tn_op_reply(struct tn_op *op);
struct tn_fan *tn_fan_new(struct tn_io *io, void (*run)(struct tn_op *),
			  void (*finish)(struct tn_fan *));
void tn_fan_send(struct tn_fan *fan);

/* thread.c */
void tn_thread_wake(struct tn_thread *t);  /* any thread */
void tn_thread_nudge(struct tn_thread *t); /* control thread; nothing to do where no reactor runs */
void tn_thread_fatal(struct tn_thread *t, const char *why);

/* io_gate.c: the fans of gate and ungate, made beforehand since neither may fail */
struct tn_fan *tn_gate_new(struct tn_io *io);
struct tn_fan *tn_ungate_new(struct tn_io *io);
unsigned int tn_gate_poll(struct tn_thread *t); /* with gate_op */

/* io_flush.c */
void tn_flush_run(struct tn_thread *t);
void tn_flush_reaped(struct tn_thread *t, struct tn_req *req, int error);
struct tn_fan *tn_flush_new(struct tn_io *io);
struct tn_fan *tn_give_up_new(struct tn_io *io);

/* queue.c */
void tn_queues_drop(struct tn_thread *t);
void tn_queues_resolve(struct tn_thread *t); /* after a gate */
void tn_scan_rebuild(struct tn_thread *t);
void tn_cq_add(struct tn_thread *t, struct tn_cq *cq);
void tn_sq_add(struct tn_thread *t, struct tn_sq *sq);
void tn_cq_remove(struct tn_thread *t, uint16_t qid);
void tn_sq_remove(struct tn_thread *t, uint16_t qid);
void tn_cq_written(struct tn_thread *t, struct tn_cq *cq); /* a mirror's entries have arrived */
void tn_intx_update(struct tn_thread *t);
/* True: the CQ has room (its head doorbell is looked at). */
bool tn_cq_room(struct tn_thread *t, struct tn_cq *cq);
void tn_cq_posted(struct tn_thread *t, struct tn_cq *cq, uint32_t from);
void tn_cq_flush(struct tn_thread *t); /* completions that wait for room */
void tn_irq_flush(struct tn_thread *t);
void tn_intx_look(struct tn_thread *t);
/* Client memory was lost: caches go; rings that went stop the controller. */
void tn_queues_fault(struct tn_thread *t);

/* qctl.c: submission queues that can go now */
void tn_sqs_part(struct tn_thread *t);

/* doorbell.c */
/* The thread has the queue, or its shadows may have moved. */
void tn_bell_attach_sq(struct tn_thread *t, struct tn_sq *sq);
void tn_bell_attach_cq(struct tn_thread *t, struct tn_cq *cq);
/* The tail was read as v: places its event index, unless that is to be done late. */
void tn_bell_read(struct tn_thread *t, struct tn_sq *sq, uint32_t v);
void tn_bell_arm(struct tn_thread *t, struct tn_bell *bell, uint32_t v);
void tn_bell_trail_late(struct tn_thread *t, struct tn_sq *sq, uint32_t v);
/* Room up to cq->head, a part of it while the event index keeps a distance. */
void tn_bell_reckon(struct tn_thread *t, struct tn_cq *cq);
bool tn_shadow_resolve(struct tn_thread *t);
int64_t tn_bells_arm(struct tn_thread *t);
void tn_bells_disarm(struct tn_thread *t);
void tn_admin_look(struct tn_thread *t);
void tn_sq_bad_doorbell(struct tn_thread *t, struct tn_sq *sq);
/* On thread 0 and its reactor. */
int tn_io_fd_watch(struct tn_thread *t);

/* slow.c */
int tn_mirror_new(struct tn_thread *t, uint32_t bytes, struct tn_mirror **out);
void tn_mirror_drop(struct tn_thread *t, struct tn_mirror *mirror);
unsigned int tn_slow_sq(struct tn_thread *t, struct tn_scan *scan, uint32_t v);
unsigned int tn_slow_cqs(struct tn_thread *t);

/* cmd.c */
uint16_t tn_cmd_decode(struct tn_thread *t, const struct bh_nvme_cmd *cmd, struct tn_job *job);
/* Everything but the fast path: a status field, TN_PENDING or TN_RETRY. */
uint16_t tn_cmd_start(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd);
uint16_t tn_cmd_errno(int error, uint8_t op);
/* Accounts for and logs a command that failed. */
void tn_cmd_failed(struct tn_thread *t, const struct tn_sq *sq, const struct bh_nvme_cmd *cmd,
		   uint16_t status, uint16_t param);
/* Memory was lost while cmd ran: its status after a closer look. */
uint16_t tn_cmd_recheck(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd,
			uint16_t status);
/* Fills t->scratch and t->iov: 0, a status field, or TN_UNMAPPED. */
uint16_t tn_cmd_map(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd,
		    uint64_t len, bool to_client);
void tn_cmd_count(struct tn_thread *t, const struct tn_sq *sq, const struct tn_job *job);

/* req.c */
uint16_t tn_req_start(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd,
		      const struct tn_job *job);
unsigned int tn_reqs_reap(struct tn_thread *t);
unsigned int tn_reqs_again(struct tn_thread *t);	     /* those that got on */
void tn_req_unwait(struct tn_thread *t, struct tn_req *req); /* its completion was posted */
void tn_reqs_put(struct tn_reqs *reqs);
/* In steps: a slot (NULL: none is free, or no memory); what it needs, and its data if they can be had */
struct tn_req *tn_req_new(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd);
uint16_t tn_req_prepare(struct tn_thread *t, struct tn_req *req); /* 0, a status field, TN_RETRY */
void tn_req_begin(struct tn_thread *t, struct tn_req *req); /* it is its line's from here on */
void tn_req_run(struct tn_thread *t, struct tn_req *req);   /* data are here, and it is its turn */
void tn_req_finish(struct tn_thread *t, struct tn_req *req, uint16_t status);
void tn_req_free(struct tn_thread *t, struct tn_req *req); /* its slot as well */
void tn_req_free_memory(struct tn_req *req);
/* Its turn comes again in a later pass. */
void tn_req_put_off(struct tn_thread *t, struct tn_req *req);

/* leave.c */
void tn_reqs_leave(struct tn_thread *t, struct tn_sq *sq); /* forget all of the queue's */
void tn_reqs_abort_all(struct tn_thread *t, struct tn_sq *sq, uint16_t status);
bool tn_req_abort(struct tn_thread *t, struct tn_sq *sq, uint16_t cid);
/* Whatever of the line's can be aborted. */
void tn_reqs_abort_line(struct tn_thread *t, struct tn_line *line, uint16_t status);
void tn_reqs_unmap(struct tn_thread *t, uint64_t iova, uint64_t len, bool is_late);
bool tn_reqs_are_passed(const struct tn_sq *sq); /* any of them is with a device */
void tn_req_left(void *cookie);			 /* for bh_blk_chan_leave */
/* One that was left behind has come back to its thread. */
void tn_req_return(struct tn_req *req);
void tn_orphans_put(struct tn_orphans *orphans); /* any thread */
static inline bool tn_has_orphans(const struct tn_thread *t, const struct tn_line *line)
{
	const struct tn_orphans *orphans = t->orphans[line - t->line];

	/* Acquire: whoever finds none comes after the last. */
	return orphans && __atomic_load_n(&orphans->count, __ATOMIC_ACQUIRE);
}

/* bounce.c */
int tn_bounce_init(struct tn_thread *t);
void tn_bounce_fini(struct tn_thread *t);
/* Memory of a request is counted (false: too much is) before it is got, and when given back. */
bool tn_budget_take(struct tn_budget *budget, size_t bytes);
void tn_budget_give(struct tn_budget *budget, size_t bytes); /* any thread */
void tn_budget_put(struct tn_budget *budget);		     /* any thread */
size_t tn_bounce_bytes(size_t len);			     /* of a buffer for len; 0: none */
uint8_t *tn_bounce_get(struct tn_thread *t, size_t len);
void tn_bounce_put(struct tn_thread *t, void *buf, size_t len);
/* As put, of a buffer that was left behind: any thread. */
void tn_bounce_return(struct tn_budget *budget, void *buf, size_t len);
/* Has buffers cut from memory that the channel's store is told of, if it wants to know. */
void tn_bounce_offer(struct tn_thread *t, struct bh_blk_chan *chan);

/* xfer.c */
/* At most, while it runs. */
size_t tn_xfer_bytes(bool is_sgl, size_t len);
void tn_hold_run(struct tn_hold *hold);
void tn_hold_cancel(struct tn_hold *hold);

/* coalesce.c */
bool tn_irq_waits(const struct bh_target_nvme *ctrl, struct tn_cq *cq);
int64_t tn_irq_wait_ns(const struct tn_thread *t);

/* copy.c */
#define TN_COPY_DATA (TN_COPY_RANGES * sizeof(struct bh_nvme_copy_range)) /* behind the ranges */
size_t tn_copy_buffer(const struct tn_job *job);
uint16_t tn_copy_check(struct tn_req *req); /* what came is in order */
bool tn_copy_next(struct tn_req *req);

/* fused.c: commands that are halves of a fused operation */
static inline bool tn_is_fused(const struct bh_nvme_cmd *cmd)
{
	uint8_t fuse = cmd->flags & BH_NVME_FUSE_MASK;

	return (fuse == BH_NVME_FUSE_FIRST && cmd->opc == BH_NVME_CMD_COMPARE) ||
	       (fuse == BH_NVME_FUSE_SECOND && cmd->opc == BH_NVME_CMD_WRITE);
}
/* TN_PAIR, TN_HALF, TN_RETRY, or the status of the one, which is by itself. */
uint16_t tn_fused_start(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd);
void tn_fused_came(struct tn_thread *t, struct tn_req *req); /* its data are here */
void tn_fused_turn(struct tn_thread *t, struct tn_req *req); /* the second: is it its turn now? */
void tn_fused_ended(struct tn_thread *t, struct tn_req *mate, uint16_t status);

/* turn.c: of stores in which somebody wants blocks alone. share: false: later. */
bool tn_turn_share(const struct tn_job *job, struct bh_blk_span *span);
void tn_turn_begun(struct tn_req *req);
int tn_turn_watch(struct bh_blk_listener *listener, uint32_t *left);

/* uncor.c */
/* For a line with fast_blocks = 0: may the command? */
uint16_t tn_uncor_look(struct tn_job *job);
uint16_t tn_uncor_check(const struct tn_line *line, uint64_t lba, uint64_t blocks);
uint16_t tn_uncor_set(const struct tn_job *job);
void tn_uncor_written(const struct tn_job *job, const void *ranges); /* with success, has_bad */
/* Lines join before they are opened and leave before they are closed: control thread. */
void tn_uncor_join(struct tn_io *io, struct tn_ns *ns);
void tn_uncor_leave(struct tn_ns *ns);
void tn_line_fast(struct tn_line *line); /* (back) on the fast path, if it may be */

/* pause.c: what a namespace needs for standing still. -1: no memory. */
int tn_pause_new(struct tn_io *io, struct tn_ns *ns);
void tn_pause_free(struct tn_ns *ns);

/* line.c */
void tn_lines_init(struct tn_thread *t);
void tn_line_release(struct tn_thread *t, struct tn_line *line);
/* A line that denies nothing is open to the fast path, if its store is. */
static inline void tn_line_set_inline(struct tn_line *line)
{
	line->inline_blocks = line->kind <= TN_NS_MEMORY && !line->deny && !line->has_beside
				      ? line->max_blocks
				      : 0;
}
void tn_lines_fini(struct tn_thread *t);			/* closes what was not removed */
void tn_line_fill(struct tn_thread *t, const struct tn_ns *ns); /* as the store is now */

/* zns.c: commands of zoned namespaces only, */
uint16_t tn_zns_decode(const struct tn_thread *t, struct tn_job *job,
		       const struct bh_nvme_cmd *cmd);
uint16_t tn_zns_manage(struct tn_thread *t, const struct tn_job *job); /* but resets */
/* and what any request to one has to do with zones. */
uint16_t tn_zns_take(struct tn_req *req); /* it begins: 0 or a status field */
void tn_zns_undo(struct tn_req *req);	  /* it has failed, having a place */
bool tn_zns_next(struct tn_req *req);

/* resv_plane.c */
/* The host may not: of a line that denies something. */
bool tn_line_denies(const struct tn_line *line, uint8_t opc);
/* Its data has come: 0, it is on its way, or a status field. */
uint16_t tn_resv_start(struct tn_thread *t, struct tn_req *req);
void tn_drains_run(struct tn_thread *t, bool is_end);

#endif

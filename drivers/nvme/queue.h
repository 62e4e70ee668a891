/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An I/O (or the admin) queue pair. Private to the driver.
 *
 * The struct is laid out by cache line: what submission touches, what translation touches, what
 * completion touches, then the control side. It holds no controller: what a queue wants of whoever
 * owns the controller goes through `ops`, so that a borrowed queue works the same.
 *
 * Ownership: everything is the queue owner's, but
 *  - slow: atomic, written by both sides (see below);
 *  - ack: written by the owner, read by the controller thread;
 *  - abort_map: atomic bits, set by the owner, cleared by the controller thread;
 *  - what the controller thread sets up while the queue is halted and acknowledged (doorbells,
 *    translations of queue memory); clearing `slow` publishes it.
 *
 * The slow word: flags in the low byte, a generation above. Whoever stops a running queue bumps
 * the generation with the flag. The owner, when he meets DISABLED or GONE, completes everything
 * outstanding, puts the ring back to its beginning and stores the generation in `ack`; from then
 * on, until the flags are cleared, he does not touch the device. Only a queue whose ack is the
 * present generation is created anew. A stale look at the word does no harm: its generation has
 * been acknowledged.
 */
#ifndef NVME_QUEUE_H
#define NVME_QUEUE_H

#include <stdalign.h>
#include <assert.h>

#include <bellhop/barrier.h>
#include <bellhop/clock.h>
#include <bellhop/nvme.h>

#include "nvme/data.h"

#define BH__Q_HALT 0x01u     /* reset under way: do not submit, do not ring */
#define BH__Q_DISABLED 0x02u /* the controller is off: nothing touches buffers any more */
#define BH__Q_GONE 0x04u     /* device gone or controller failed for good */
#define BH__Q_BROKEN 0x08u   /* the controller posted nonsense: wait for the reset */
#define BH__Q_ARMED 0x10u    /* the vector is not masked */
#define BH__Q_STOP (BH__Q_HALT | BH__Q_DISABLED | BH__Q_GONE | BH__Q_BROKEN)
#define BH__Q_FLAGS 0xffu
#define BH__Q_GEN_SHIFT 8

#define BH__SLOT_BUSY 0x01u
#define BH__SLOT_CHILD 0x02u   /* part of a split request: `parent` is its index */
#define BH__SLOT_ABORT 0x04u   /* timed out, Abort asked for */
#define BH__SLOT_ZOMBIE 0x08u  /* completed, but an Abort still names its cid */
#define BH__SLOT_FOREVER 0x10u /* no timeout: asynchronous events */
#define BH__SLOT_EXPIRED 0x20u /* reset asked for */

struct bh__slot {
	bh_nvme_done done;
	void *arg;
	/* Together a constant that fits into a store. */
	uint16_t flags;
	uint16_t parent;
	uint32_t stamp; /* coarse ticks when a scan first saw it, 0: not yet */
	uint64_t reserved;
};
static_assert(sizeof(struct bh__slot) == 32, "two slots per cache line");

/* Where the data of a request are that the driver verifies, and what is expected of them. */
struct bh__meta_check {
	const struct iovec *iov;
	unsigned int iovcnt;
	uint32_t blocks;
	uint32_t ref; /* of the first block */
	struct bh_pi_error *error;
};

/* What a request to a namespace with metadata has beyond others (meta.c). */
struct bh__meta {
	bool on;
	bool step;	  /* reference tags count up */
	bool sgl;	  /* data by SGLs where the queue has them */
	bool verify;	  /* by the driver, when all of it is there */
	uint32_t unit;	  /* bytes of a block in the data pointer; 0: none */
	uint32_t md_unit; /* bytes of a block in MPTR; 0: none */
	uint32_t ref;	  /* of the next block */
	uint32_t tags;	  /* CDW15: application tag and its mask */
	uint8_t *md;	  /* of the next block */
	struct bh__meta_check check;
};

/* A request that takes several commands, or that the driver has to verify. */
struct bh__parent {
	bh_nvme_done done;
	void *arg;
	struct bh__cursor at; /* what is not issued yet */
	struct iovec one;     /* a contiguous buffer as a vector */
	uint64_t geom;
	uint64_t lba;
	uint32_t left; /* blocks not issued yet */
	uint32_t cdw12;
	uint32_t nsid;
	uint32_t pending; /* commands in flight */
	uint32_t cdw0;
	uint16_t status;
	uint8_t opc;
	bool data;
	struct bh__meta meta;
};

/* How a doorbell that has to be rung is rung. */
enum bh__kick {
	BH__KICK_STORE,	   /* mapped */
	BH__KICK_STORE_WC, /* mapped, write-combining */
	BH__KICK_IOFD,	   /* eventfd, the value beside it */
	BH__KICK_POST,	   /* region write without an answer */
	BH__KICK_WRITE,	   /* region write */
};

struct bh__doorbell {
	uint32_t *reg;	  /* mapped register, or the io fd's shadow */
	uint32_t *shadow; /* Doorbell Buffer Config, NULL: none */
	uint32_t *event;  /* its EventIdx */
	int fd;		  /* BH__KICK_IOFD */
	enum bh__kick kick;
	bool wc_entries; /* what it rings for was written to write-combining memory */
	uint32_t last;	 /* what the shadow was set to */
	uint32_t open;	 /* entries told since the EventIdx was looked at */
	uint64_t offset; /* in BAR 0 */
};

/* What a queue asks of the controller's owner. On the queue's thread. */
struct bh__queue_ops {
	/* Asks for Abort: done on return, or the cid's bit in abort_map is set until then. */
	void (*abort)(struct bh_nvme_queue *q, uint16_t cid);
	void (*reset)(struct bh_nvme_queue *q);
};

struct bh_nvme;

struct bh_nvme_queue {
	/* ---- submission ---- */
	alignas(64) uint32_t slow;
	uint32_t nfree;
	uint32_t depth; /* commands in flight at most: entries - 1 or less */
	uint32_t last;	/* index of the rings' last entry */
	uint32_t sq_tail;
	uint32_t sq_rung; /* as the controller knows it */
	uint8_t *sq;
	struct bh__slot *slots;
	uint16_t *free;	 /* a stack of cids */
	uint32_t *sq_db; /* NULL: rung out of line */
	uint64_t sq_rings;
	/* ---- translation ---- */
	alignas(64) struct bh_iova_cache iova_cache;
	const struct bh_iova_map *iova_map;
	uint32_t page_size;
	uint32_t list_bytes; /* per command */
	uint8_t *list;
	uint32_t max_transfer; /* bytes per command */
	uint16_t entries;
	bool sgl;
	bool sgl_mptr; /* MPTR may go beside SGLs */
	/* ---- completion ---- */
	alignas(64) const uint8_t *cq;
	uint32_t *cq_db; /* NULL: rung out of line */
	uint32_t cq_head;
	uint32_t phase;	    /* of new entries */
	uint32_t cq_unrung; /* consumed since the head doorbell */
	uint32_t cq_batch;  /* ring when that many */
	uint64_t ticks;
	uint64_t scan_at;
	uint64_t completions;
	uint64_t polls;
	/* ---- seldom ---- */
	alignas(64) uint64_t empty_polls;
	uint64_t cq_rings, kicks, splits, aborts;
	/* Shadow doorbells: see doorbell.c. */
	uint32_t reach;
	bool is_open; /* something was told, and no EventIdx looked at yet */
	uint64_t told_completions, told_ticks; /* as of the last tail */
	uint64_t soon_ticks;		       /* within which a controller is taken to be awake */
	uint64_t scan_ticks;		       /* between scans for timeouts, 0: never */
	uint32_t timeout;		       /* coarse ticks */
	uint16_t qid;
	uint16_t zombies;
	uint16_t bad_cid; /* of the entry that broke the queue */
	uint32_t ack;	  /* generation */
	struct bh__parent *parents;
	uint16_t *parent_free;
	uint16_t nparent_free;
	uint16_t drain_at;
	uint64_t *abort_map;
	uint64_t *abort_sent; /* the controller thread's */
	struct bh__doorbell sqd, cqd;
	struct bh_device *dev; /* for doorbells by region write and vectors; NULL when borrowed */
	const struct bh__queue_ops *ops;
	void *owner;		       /* struct bh_nvme *, or the borrowed queue's record */
	struct bh_iova_cache md_cache; /* of separate metadata */
	int efd;		       /* -1: no interrupt */
	uint32_t vector;
	bool maskable;
	uint8_t priority;
	bool sq_wc; /* entries are written to write-combining memory */
	uint64_t sq_iova, cq_iova, list_iova;
	/* ---- the controller thread's ---- */
	struct bh_nvme_queue *next;
	void *mem; /* SQ, CQ, lists */
	size_t mem_bytes, list_at;
	uint8_t cmb;		      /* enum bh_nvme_cmb, resolved */
	uint32_t cmb_page, cmb_pages; /* where its rings are in the CMB; 0 pages: in mem */
	struct bh_pool *pool;
	bool live; /* the controller has it */
	bool cq_live;
	unsigned int aborts_out;
};

#define BH__COARSE_SHIFT 16

static inline uint32_t bh__queue_slow(const struct bh_nvme_queue *q)
{
	return __atomic_load_n(&q->slow, __ATOMIC_ACQUIRE);
}

/* Commands that have not completed yet, zombies apart. */
static inline unsigned int bh__queue_busy(const struct bh_nvme_queue *q)
{
	return q->depth - q->nfree - q->zombies;
}

/* ---- queue.c: memory and life ---- */

/* Sizes of queue memory, with a list per command in flight; *cq, *list: offsets. */
size_t bh__queue_layout(unsigned int entries, unsigned int depth, uint32_t page, size_t list_bytes,
			size_t *cq, size_t *list);
/* Private memory: slots, stacks, parents, for depth <= entries - 1 commands in flight. -ENOMEM. */
int bh__queue_new(unsigned int entries, unsigned int depth, struct bh_nvme_queue **out);
void bh__queue_free(struct bh_nvme_queue *q);
/* Everything back to an empty ring. */
void bh__queue_rewind(struct bh_nvme_queue *q);
void bh__queue_set_timeout(struct bh_nvme_queue *q, const struct bh_clock *clock, uint64_t ns);
/* Points the fast path at the doorbells: plain stores inline, all else out of line. */
void bh__queue_set_doorbells(struct bh_nvme_queue *q);

/* Stops a queue from outside. Any thread. */
void bh__queue_halt(struct bh_nvme_queue *q, uint32_t flags);
/* Clears the flags but ARMED unless the queue is gone. False: it is. */
bool bh__queue_resume(struct bh_nvme_queue *q);
static inline bool bh__queue_acked(const struct bh_nvme_queue *q)
{
	return __atomic_load_n(&q->ack, __ATOMIC_ACQUIRE) == bh__queue_slow(q) >> BH__Q_GEN_SHIFT;
}
void bh__queue_wake(struct bh_nvme_queue *q);

/* ---- complete.c: completions off the straight path. Queue owner ---- */

/* Completes everything outstanding with `status`; at most max (user) completions. */
unsigned int bh__queue_drain(struct bh_nvme_queue *q, uint16_t status, struct bh_nvme_result *out,
			     unsigned int max);
/*
 * A completion whose slot is not plainly busy. 1: a user completion was delivered, 0: none,
 * -EPROTO: nonsense, the queue is marked broken.
 */
int bh__queue_complete_rare(struct bh_nvme_queue *q, const struct bh_nvme_cpl *cpl,
			    struct bh_nvme_result *out);
/* The slow word is not zero: true when poll should return *rc. */
bool bh__queue_poll_slow(struct bh_nvme_queue *q, struct bh_nvme_result *out, unsigned int max,
			 int *rc);
/* Looks at every slot for timeouts. */
void bh__queue_scan(struct bh_nvme_queue *q);

/* ---- split.c ---- */

/* A request that is not one command with a contiguous buffer. As bh_nvme_read() returns. */
int bh__queue_split(struct bh_nvme_queue *q, uint8_t opc, uint32_t nsid, uint64_t geom,
		    const struct bh__cursor *at, bool data, uint64_t lba, uint32_t blocks,
		    uint32_t cdw12, bh_nvme_done done, void *arg);
/*
 * Bytes of `want` that one command can carry from the cursor, by PRPs or, if `sgl`, SGLs; -EFAULT.
 */
int64_t bh__data_fit(struct bh_nvme_queue *q, const struct bh__cursor *at, uint64_t want, bool sgl);
/*
 * Builds the data pointer of the next command (its list memory is that of the cid it is going to
 * get) for len bytes, which bh__data_fit() said go in, and advances the cursor. -EFAULT.
 */
int bh__data_build(struct bh_nvme_queue *q, struct bh__cursor *at, uint64_t len, bool sgl,
		   struct bh_nvme_cmd *cmd);
void bh__cursor_skip(struct bh__cursor *at, uint64_t bytes);
/* Issues what fits of a parent that has more; after one of its commands completed. */
void bh__parent_continue(struct bh_nvme_queue *q, struct bh__parent *p);
/* Why submission is refused: -EAGAIN or -ENODEV. */
int bh__queue_refuse(struct bh_nvme_queue *q);

/* Masks the vector again. irq.c */
void bh__queue_disarm(struct bh_nvme_queue *q);

/* ---- doorbell.c ---- */
void bh__queue_ring_sq(struct bh_nvme_queue *q);
void bh__queue_ring_cq(struct bh_nvme_queue *q);
/* Looks at the event indices of what was told, and kicks the controller if it sleeps. */
void bh__queue_settle(struct bh_nvme_queue *q);

/* ---- queue_io.c ---- */

/* Up to max entries: the part of poll that a halted queue uses too. *more: it stopped at max. */
unsigned int bh__queue_take(struct bh_nvme_queue *q, struct bh_nvme_result *out, unsigned int max,
			    bool *more);
/* Submits one built command: cid from the stack, which must not be empty. The cid. */
uint16_t bh__queue_push(struct bh_nvme_queue *q, const struct bh_nvme_cmd *cmd, bh_nvme_done done,
			void *arg, uint16_t flags, uint16_t parent);
/* The same, and nothing is rung: bh__sq_announce() follows, behind the last of several. */
uint16_t bh__queue_put(struct bh_nvme_queue *q, const struct bh_nvme_cmd *cmd, bh_nvme_done done,
		       void *arg, uint16_t flags, uint16_t parent);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the control plane asks of the I/O plane. Private to lib/target/nvme.
 *
 * All functions are called on the control thread (or before any reactor runs, or after all have
 * stopped, when they act at once); callbacks run on the control thread.
 */
#ifndef TARGET_NVME_IO_H
#define TARGET_NVME_IO_H

#include "target/nvme/ctrl.h"

/*
 * status: a status field (0: success), without DNR decisions left to the caller: complete as it is.
 */
typedef void (*tn_done)(void *arg, uint16_t status);

/* Sets ctrl->io up and registers a poller with each thread; maps nothing of the client's. */
int tn_io_create(struct bh_target_nvme *ctrl, struct bh_reactor *const *threads,
		 unsigned int num_threads);
/*
 * Takes the pollers off their threads and frees ctrl->io; done(arg) when no thread knows the
 * controller any more. Queues were dropped and namespaces removed before. Bounced requests still in
 * a store are left to their channels.
 */
void tn_io_destroy(struct bh_target_nvme *ctrl, void (*done)(void *arg), void *arg);

/*
 * One pass of every poll thread's reactor, on the caller's thread: for reactors that are stopped.
 */
void tn_io_run_once(struct bh_target_nvme *ctrl);

/* ---- queues (NVMe 2.0 5.4, 5.5) ---- */

struct tn_queue_params {
	uint16_t qid;
	uint16_t cqid;	  /* submission queues */
	uint32_t entries; /* not 0's based; checked: 2..max_depth */
	uint64_t iova;	  /* checked: page aligned */
	bool interrupt;	  /* completion queues: IEN */
	uint16_t vector;
	uint8_t priority;
};

/* Does the queue exist? */
bool tn_io_has_cq(const struct bh_target_nvme *ctrl, uint16_t qid);
bool tn_io_has_sq(const struct bh_target_nvme *ctrl, uint16_t qid);
unsigned int tn_io_cq_users(const struct bh_target_nvme *ctrl, uint16_t qid); /* SQs bound to it */

/*
 * The control plane has checked ids and existence. The owner of a CQ is chosen here, round robin;
 * an SQ goes to its CQ's.
 */
void tn_io_cq_create(struct bh_target_nvme *ctrl, const struct tn_queue_params *params,
		     tn_done done, void *arg);
void tn_io_sq_create(struct bh_target_nvme *ctrl, const struct tn_queue_params *params,
		     tn_done done, void *arg);
void tn_io_cq_delete(struct bh_target_nvme *ctrl, uint16_t qid, tn_done done, void *arg);
/*
 * Stops fetching; what is outstanding completes as BH_NVME_SC_ABORTED_SQ_DELETION (or normally)
 * before done runs.
 */
void tn_io_sq_delete(struct bh_target_nvme *ctrl, uint16_t qid, tn_done done, void *arg);

/*
 * Asks for one command to be aborted: done(arg, 0 = aborted, else not). The command completes by
 * itself either way.
 */
void tn_io_abort(struct bh_target_nvme *ctrl, uint16_t sqid, uint16_t cid, tn_done done, void *arg);

/*
 * Doorbell Buffer Config: both iovas page aligned, or both 0 to stop. From here on shadows count
 * for all I/O queues.
 */
void tn_io_shadow_set(struct bh_target_nvme *ctrl, uint64_t doorbells, uint64_t event_idx,
		      tn_done done, void *arg);

/*
 * A trapped doorbell write; offset in the doorbell area. The page has it afterwards and its owner
 * is awake.
 */
void tn_io_doorbell_write(struct bh_target_nvme *ctrl, uint64_t offset, uint32_t value);

/*
 * Interrupt masks or enables changed (INTMS/INTMC, MSI-X on or off, unmask): look at every line and
 * vector again.
 */
void tn_io_irqs_changed(struct bh_target_nvme *ctrl);

/* Nothing is fetched any more until the queues are dropped: the controller is fatal. */
void tn_io_stop(struct bh_target_nvme *ctrl);

/* ---- the gate ---- */

enum tn_gate {
	/*
	 * client memory is about to change in [iova, iova + len): wait for requests with buffers or
	 * queues there
	 */
	TN_GATE_TABLE,
	/* the same, where stores were told of memory in the range: waits for what is passed, too */
	TN_GATE_SHARED,
	/*
	 * reset: wait for everything that could still write to the client; leave bounced requests
	 * behind
	 */
	TN_GATE_ALL,
};

/*
 * No thread fetches any more; done(arg) when what `kind` waits for has finished. One gate at a time
 * (gate.c queues them). Completions of requests that finish meanwhile are posted, and
 * dropped for TN_GATE_ALL.
 */
void tn_io_gate(struct bh_target_nvme *ctrl, enum tn_gate kind, uint64_t iova, uint64_t len,
		void (*done)(void *arg), void *arg);
/*
 * Inside a TN_GATE_ALL: forgets all I/O queues and the shadow doorbells, and zeroes the doorbell
 * page.
 */
void tn_io_drop_queues(struct bh_target_nvme *ctrl);
/*
 * Drops cached translations and goes on. Queues whose memory is gone stop, and the controller
 * becomes fatal.
 */
void tn_io_ungate(struct bh_target_nvme *ctrl);

/* ---- namespaces ---- */

/* The most blocks that one Copy moves, of a namespace whose other commands move max_blocks. */
uint32_t tn_copy_limit(uint32_t max_blocks, uint8_t shift);
#define TN_COPY_RANGES 256u	   /* in one Copy */
#define TN_UNCOR_BYTES (32u << 20) /* of one Write Uncorrectable: a power of two of pages */

/*
 * Opens a channel to the store on every thread. 0 or -errno of the store. done as usual; ns stays
 * valid until removed.
 */
void tn_io_ns_add(struct bh_target_nvme *ctrl, struct tn_ns *ns, void (*done)(void *arg, int error),
		  void *arg);
/*
 * New commands fail as for any inactive namespace; done when no request uses the store any more and
 * the channels are closed.
 */
void tn_io_ns_remove(struct bh_target_nvme *ctrl, struct tn_ns *ns, void (*done)(void *arg),
		     void *arg);
/*
 * New commands fail with Format in Progress; done when no request uses the store any more, but those
 * left behind: see tn_io_ns_has_left(). Not while it is being added or removed.
 */
void tn_io_ns_pause(struct bh_target_nvme *ctrl, struct tn_ns *ns, void (*done)(void *arg),
		    void *arg);
/* It goes on, with the format that ns and its store have now. */
void tn_io_ns_go_on(struct bh_target_nvme *ctrl, struct tn_ns *ns, void (*done)(void *arg),
		    void *arg);
/* Requests that were left behind may still change the store. */
bool tn_io_ns_has_left(const struct tn_ns *ns);

/* ns->blocks changed: threads take the new limit. */
void tn_io_ns_resized(struct bh_target_nvme *ctrl, struct tn_ns *ns);

/*
 * What the host may not do with a namespace changes (TN_DENY_*): done(arg) when every thread knows,
 * and with is_aborting has ended what was under way. _new: NULL: no memory; then sent once, or freed
 * (NULL is accepted).
 */
void *tn_io_deny_new(struct bh_target_nvme *ctrl);
void tn_io_deny_send(void *deny, uint32_t nsid, uint8_t bits, bool is_aborting,
		     void (*done)(void *arg), void *arg);
void tn_io_deny_free(void *deny);

/* A reservation command on its way to the control thread and back. */
struct tn_resv_cmd {
	struct bh_msg msg;
	struct tn_resv_cmd *next;
	struct tn_req *req; /* the I/O plane's */
	struct bh_reactor *home;
	struct bh_target_nvme *ctrl; /* until it has begun */
	struct bh_nvme_cmd cmd;
	uint16_t status; /* a status field */
	uint32_t len;
	uint8_t data[] __attribute__((aligned(8)));
};
void tn_resv_cmd_come(struct tn_resv_cmd *cmd);	  /* the control plane's */
void tn_resv_cmd_return(struct tn_resv_cmd *cmd); /* the I/O plane's */

/*
 * Flushes the stores that were written to by way of this controller since the last time: done(arg,
 * status field of the first that failed). One at a time.
 */
void tn_io_flush(struct bh_target_nvme *ctrl, tn_done done, void *arg);
/* The flush under way, if any, is waited for no longer: its done follows, with a failure. */
void tn_io_flush_give_up(struct bh_target_nvme *ctrl);

/*
 * Trapped doorbells: an eventfd with shadow memory for every I/O doorbell, offered by the server
 * (BAR 0, doorbells at `offset`). After the server was created, before a client can ask. 0 or
 * -errno; nothing to do for mapped doorbells.
 */
int tn_io_offer_fds(struct bh_target_nvme *ctrl, uint64_t offset);

void tn_io_stats(struct bh_target_nvme *ctrl, struct bh_target_nvme_stats *stats); /* any thread */

/*
 * Arms the I/O plane to watch the admin doorbells of a mapped page: tn_admin_kick() is then called
 * when they move.
 */
void tn_io_watch_admin(struct bh_target_nvme *ctrl, bool on);

/* ---- moving a command's data (xfer.c) ---- */

/*
 * Moves `len` bytes between buf and the client memory that the command's data pointer (PRPs or
 * SGLs) describes, in whatever mode that memory is reached, following chains within bounds (depth,
 * total length, loops). done(arg, status field) exactly once, on `home`'s thread, possibly before
 * this returns. The command is the caller's private copy. No more than one at a time per xfer; buf
 * and xfer stay until done.
 */
struct tn_xfer;

/* Where transfers of a poll thread wait for its next pass, so that none goes on behind a gate. */
struct tn_hold {
	struct tn_xfer *first;
	struct tn_xfer **last;
};

struct tn_xfer {
	struct bh_cmem *cmem;
	struct bh_reactor *home;
	struct bh_nvme_cmd cmd;
	uint8_t *buf;
	size_t len;
	bool to_client;
	tn_done done;
	void *arg;
	void *state; /* xfer.c's: the list of pieces so far; freed before done */
	struct bh_msg msg;
	/* ---- set by poll threads, else 0 ---- */
	struct tn_hold *hold;
	/* on home's thread: done with any status, client memory is not looked at again */
	bool is_cancelled;
	struct tn_xfer *next;
};

void tn_xfer_run(struct tn_xfer *xfer);

#endif

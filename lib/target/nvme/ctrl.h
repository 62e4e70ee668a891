/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The emulated NVMe controller's inner shape. Private to lib/target/nvme.
 *
 * Two planes, two kinds of threads:
 *
 *  - the control plane (ctrl.c regs.c admin.c identify.c feature.c log.c mem.c ns.c subsys.c), on the
 *    control thread: registers and their state machine, the admin queue, namespaces, events, and the
 *    order of resets. It is event driven and never waits.
 *  - the I/O plane (thread.c queue.c queue_io.c cmd.c req.c bounce.c xfer.c doorbell.c), on the
 *    poll threads: I/O queues, commands, data. A queue is touched by its owner thread only.
 *
 * They meet in io.h (what the control plane asks of the I/O plane; answers come back as callbacks
 * on the control thread) and in the few "any thread" functions at the end of this file (what the
 * I/O plane reports).
 *
 * Invariants: client memory is reached through ctrl->cmem only; nothing of a client's is written
 * after its queues were dropped; every value read from client memory is read once. A client can
 * make its own controller fatal, nothing else.
 */
#ifndef TARGET_NVME_CTRL_H
#define TARGET_NVME_CTRL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/barrier.h>
#include <bellhop/blk.h>
#include <bellhop/cmem.h>
#include <bellhop/log.h>
#include <bellhop/nvme_spec.h>
#include <bellhop/poll.h>
#include <bellhop/target_nvme.h>
#include <bellhop/vfu_server.h>

#define TN_AER_LIMIT 4u /* outstanding Asynchronous Event Requests (AERL + 1) */
#define TN_ERROR_LOG_ENTRIES 64u
#define TN_PAGE_SIZE 4096u   /* MPSMIN = MPSMAX = 0: the only memory page size */
#define TN_ADMIN_DEPTH 4096u /* largest admin queue */

struct tn_io;	 /* io plane, io.h */
struct tn_space; /* a namespace of the subsystem, subsys.h */
struct tn_admin; /* admin queue and its commands, admin.h */

/* NVMe 2.0 3.1: the registers that hold state. */
struct tn_regs {
	uint64_t cap;
	uint32_t vs;
	uint32_t intms; /* pin-based interrupts only */
	uint32_t cc;
	uint32_t csts;
	uint32_t aqa;
	uint64_t asq;
	uint64_t acq;
};

/*
 * Features with their current values (NVMe 2.0 5.27); feature.c owns the meaning. Plain data, one
 * versioned struct.
 */
struct tn_features {
	uint32_t arbitration;
	uint32_t power_management;
	uint16_t temp_over, temp_under; /* Kelvin, composite sensor */
	/* TLER by nsid: the one feature that is a namespace's */
	uint16_t error_recovery[BH_TARGET_NVME_MAX_NS + 1];
	uint32_t write_cache;
	uint32_t queues; /* as granted: NCQR << 16 | NSQR, 0's based */
	uint32_t coalescing;
	uint32_t vector_config[BH_TARGET_NVME_MAX_QUEUES + 1]; /* coalescing disable per vector */
	uint32_t atomicity;
	uint32_t async_events;
	uint64_t timestamp_ms;	  /* as set */
	uint64_t timestamp_at_ns; /* bh_now_ns() when set */
	uint8_t timestamp_origin;
	struct bh_nvme_host_behavior host_behavior;
	uint8_t host_id[16]; /* zeros: none */
	bool is_host_id_ext; /* of 128 bits */
	/* by nsid: a bit per type of notification that is not wanted */
	uint8_t resv_mask[BH_TARGET_NVME_MAX_NS + 1];
	bool queues_set;
	uint32_t keep_alive_ms; /* 0: off */
};

/* A namespace that is attached to a controller. */
struct tn_ns {
	uint32_t nsid;
	struct tn_space *space;
	struct bh_blk *blk; /* a reference */
	uint32_t block_shift;
	uint64_t blocks;
	struct bh_blk_listener resize;
	struct bh_target_nvme *ctrl;
	bool detaching;
	bool is_shared_with; /* its store is told of client memory, if it takes any: mem.c */
	bool has_resv;	     /* reservations are supported */
	uint8_t deny;	     /* __atomic: TN_DENY_*, what its host must not do; see resv_cmd.c */
	struct tn_orphans *orphans; /* the I/O plane's */
	struct bh_blk_listener bad; /* likewise */
	struct tn_io *io;	    /* likewise */
	void *pause, *going_on;	    /* the I/O plane's, likewise made beforehand */
	void *removal; /* the I/O plane's: made when the namespace is added, so that it can go */
};

struct bh_target_nvme {
	struct bh_vfu_server *server;
	struct bh_cmem *cmem; /* the server's */
	struct bh_reactor *control;
	const struct bh_log *log;
	char *path;
	char serial[21];
	char model[41];
	char subnqn[224];
	struct bh_target_subsys *subsys;
	uint16_t cntlid; /* in it */

	unsigned int max_queues; /* I/O queue pairs offered */
	unsigned int max_depth;
	unsigned int dstrd;
	uint32_t mdts; /* bytes */
	enum bh_target_doorbells doorbells;
	uint64_t idle_poll_ns;

	struct tn_regs regs;
	struct tn_features features;
	struct tn_ns *ns[BH_TARGET_NVME_MAX_NS + 1]; /* by nsid; [0] unused */
	struct tn_admin *admin;
	struct tn_io *io;

	/*
	 * Doorbells: register values by position, in a memfd of their own behind BAR0's mappable
	 * area. mapped: the client's stores land here; trapped: the control thread puts them here.
	 * Doorbell k (2*qid for SQ tails, 2*qid + 1 for CQ heads) is at byte k * (4 << dstrd).
	 */
	uint8_t *doorbell_page;
	size_t doorbell_bytes;
	int doorbell_fd;

	pthread_mutex_t error_lock; /* of the error log: any thread adds to it */
	struct bh_nvme_error_log errors[TN_ERROR_LOG_ENTRIES];
	uint64_t error_count;

	uint16_t refusal; /* __atomic: what commands are answered that a sanitize operation forbids */
	bool is_destroying;
	void *ctl; /* ctrl.c's own state: gate queue, reset in progress, destroy callbacks */
};

static inline uint32_t *tn_doorbell(const struct bh_target_nvme *ctrl, unsigned int k)
{
	return (uint32_t *)(void *)(ctrl->doorbell_page + ((size_t)k * (4u << ctrl->dstrd)));
}

/* ---- any thread ---- */

/*
 * Adds an Error Information entry (and raises the error event if the host asked for it). sf: status
 * field.
 */
void tn_error_add(struct bh_target_nvme *ctrl, uint16_t sqid, uint16_t cid, uint16_t sf,
		  uint16_t param_location, uint64_t lba, uint32_t nsid);

/* Raises an asynchronous event (type, information, log page to read). */
void tn_event_raise(struct bh_target_nvme *ctrl, uint8_t type, uint8_t info, uint8_t lid);

/*
 * CSTS.CFS from now until reset; the admin queue stops. I/O queues stop too if it is the I/O plane
 * that found the reason. `why` is static text for the log.
 */
void tn_ctrl_fatal(struct bh_target_nvme *ctrl, const char *why);

/* 0: everything is allowed. Any thread. */
static inline uint16_t tn_refusal(const struct bh_target_nvme *ctrl)
{
	return __atomic_load_n(&ctrl->refusal, __ATOMIC_ACQUIRE);
}

static inline bool tn_is_shut_down(const struct bh_target_nvme *ctrl)
{
	uint32_t csts = __atomic_load_n(&ctrl->regs.csts, __ATOMIC_ACQUIRE);

	return BH_NVME_GET(csts, CSTS_SHST) == BH_NVME_CSTS_SHST_COMPLETE;
}

#endif

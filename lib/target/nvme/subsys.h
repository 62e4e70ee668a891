/* SPDX-License-Identifier: BSD-3-Clause */
/* Subsystems, as the control plane knows them. Private to lib/target/nvme; control thread. */
#ifndef TARGET_NVME_SUBSYS_H
#define TARGET_NVME_SUBSYS_H

#include <bellhop/target_subsys.h>

#include "target/nvme/ctrl.h"
#include "target/nvme/resv.h"

#define TN_POOL_UNIT 4096u /* bytes; a block of either size */
#define TN_PATHS 64u	   /* controllers that a subsystem's state can name */
#define TN_PATH_MAX 108u

/* What hosts have changed of a namespace's attachments: a bit per path (subsys_state.c). */
struct tn_by_hosts {
	uint64_t attached, detached;
};

struct tn_pel;
struct tn_saved;
struct tn_sanitize;
struct tn_wipe;
struct tn_ns_op;

/* A namespace of a subsystem. What a controller has of it is its struct tn_ns. */
struct tn_space {
	struct bh_target_subsys *subsys;
	uint32_t nsid;
	struct bh_blk *blk; /* a reference */
	uint8_t uuid[16];   /* NGUID, too */
	bool is_private;
	/* It goes with its last attachment: its subsystem is implied, or it was never attached. */
	bool is_passing;
	bool is_deleting;
	/* Of the pool, if it lies there; else 0. */
	uint64_t pool_first, pool_bytes;
	bool is_making; /* zeroed first, nobody sees it */
	struct tn_wipe *wipe;
	struct tn_resv *resv; /* NULL: nobody was ever registered */
	struct tn_by_hosts by_hosts;
	unsigned int
		users; /* attachments, those that come or go included; and whoever deletes it */
	void (*deleted)(void *arg);
	void *deleted_arg;
};

/* What is known of the last sanitize operation. */
struct tn_sanitized {
	uint32_t cdw10;	 /* of its command */
	uint8_t outcome; /* BH_NVME_SSTAT_*; in progress from when it began */
	uint8_t passes;	 /* completed */
	bool is_failure_mode;
};

struct bh_target_subsys {
	const struct bh_log *log;
	struct bh_reactor *control;
	char nqn[224];
	char serial[21];
	char model[41];
	bool is_implied;      /* of one controller, which it goes with */
	struct bh_blk *pool;  /* NULL: none */
	uint64_t capacity;    /* bytes of it */
	struct tn_ns_op *ops; /* commands of hosts under way, ns_mgmt.c */
	char *state_path;     /* NULL: none */
	int state_fd;	      /* -1: nothing outlives the process; subsys_state.c */
	uint64_t state_number;
	bool is_loading;
	bool is_coming_back; /* the operator's configuration is that of before */
	struct tn_saved *saved;
	struct tn_pel *pel;		  /* where there is a state file */
	char path[TN_PATHS][TN_PATH_MAX]; /* of controllers; "": none */
	struct tn_sanitized sanitized;
	struct tn_sanitize *sanitize; /* NULL: none is under way */
	uint16_t refusal;	      /* every controller's */
	struct tn_resv_cmd *resv_cmds;	  /* those that wait, in order; resv_cmd.c */
	bool is_resv_busy;
	unsigned int num_ctrls;
	struct bh_target_nvme *ctrl[BH_TARGET_SUBSYS_MAX_CTRLS + 1]; /* by controller id */
	struct tn_space *space[BH_TARGET_NVME_MAX_NS + 1];	     /* by nsid; [0] unused */
};

/*
 * The controller gets an id in the subsystem (NULL: one of its own, by the names it has), and the
 * subsystem's names. -ENOSPC: it is full; -EINVAL: another control thread; -ENOMEM.
 */
int tn_subsys_join(struct bh_target_nvme *ctrl, struct bh_target_subsys *subsys);
void tn_subsys_leave(struct bh_target_nvme *ctrl); /* one that never joined is accepted */

/* Any nsid; NULL: not allocated, or on its way out. */
struct tn_space *tn_space_get(const struct bh_target_subsys *subsys, uint32_t nsid);
/*
 * What an attachment of the store to ctrl as nsid (0: any) means: a namespace there is of that
 * store, or a new one. blk NULL: one there is, by its id. It is the caller's to hold.
 */
int tn_space_find(struct bh_target_nvme *ctrl, struct bh_blk *blk, uint32_t nsid,
		  struct tn_space **out);
/* One of the store opts->blk. */
int tn_space_new(struct bh_target_subsys *subsys, const struct bh_target_subsys_ns_opts *o,
		 struct tn_space **out);
void tn_space_hold(struct tn_space *space);
void tn_space_release(struct tn_space *space);

/* Of a namespace that is, or is on its way in or out. */
bool tn_uuid_is_taken(const struct bh_target_subsys *subsys, const uint8_t uuid[16]);

/* ---- pool.c ---- */

uint64_t tn_pool_used(const struct bh_target_subsys *subsys); /* bytes */

/* ---- pool_media.c ---- */

/* The bytes of the pool from `first` on that *o describes, with its UUID, as a store. */
int tn_pool_slice(const struct bh_target_subsys *subsys, uint64_t first,
		  const struct bh_target_subsys_ns_opts *o, struct bh_blk **out);
/* A store as namespaces of the pool would be, for what asks which formats it can have. */
void tn_pool_like(const struct bh_target_subsys *subsys, struct bh_blk *like);
/* A namespace is deleted: what was kept of it in a file of its own goes. */
void tn_pool_forget(const struct bh_blk *slice);
/* So do files of namespaces that the state does not know. */
void tn_pool_sweep(struct bh_target_subsys *subsys,
		   bool (*is_kept)(struct bh_target_subsys *subsys, const uint8_t uuid[16]));

/* ---- subsys_state.c ---- */

#define TN_STATE_BYTES (2u << 20) /* of its file; what is behind is pel.c's */
uint64_t tn_state_sum(const uint8_t *data, size_t len, uint64_t number);
/* -errno; closed in either case. -EBUSY: another process has it; -EINVAL: it is something else. */
int tn_subsys_state_open(struct bh_target_subsys *subsys, const char *path);
void tn_subsys_state_close(struct bh_target_subsys *subsys);
/* Keeps what is to be kept, if anything is. */
void tn_subsys_changed(struct bh_target_subsys *subsys);
static inline bool tn_subsys_is_persistent(const struct bh_target_subsys *subsys)
{
	return subsys->state_fd >= 0;
}
void tn_space_restore(struct tn_space *space); /* one that may have been there before */
void tn_space_forget(struct tn_space *space);  /* one that is deleted */

/* A host has attached it to ctrl, or detached it. Not kept before tn_subsys_changed(). */
void tn_changed_by_host(struct tn_space *space, const struct bh_target_nvme *ctrl,
			bool is_attached);
/* The operator has: whatever a host has said before is void. */
void tn_changed_by_operator(struct tn_space *space, const struct bh_target_nvme *ctrl);
/* The operator attaches it as before, which a host has undone since. */
bool tn_was_detached(const struct tn_space *space, const struct bh_target_nvme *ctrl);
void tn_path_begins(struct bh_target_nvme *ctrl); /* it has joined */

/* ---- resv_cmd.c ---- */

/* Its reservations, made if there are none; NULL: no memory. */
struct tn_resv *tn_space_resv(struct tn_space *space);

struct tn_host tn_host_of(const struct bh_target_nvme *ctrl);
/* TN_DENY_* of the controller's host. */
uint8_t tn_resv_denied_to(const struct bh_target_nvme *ctrl, const struct tn_space *space);
/*
 * The controller has another Host Identifier: done(arg) when its threads judge by it. -ENOMEM: it is
 * not called.
 */
int tn_resv_host_changed(struct bh_target_nvme *ctrl, void (*done)(void *arg), void *arg);
void tn_resv_reset(struct bh_target_nvme *ctrl); /* before its features are */
/* The host may not format, delete, attach or detach it. */
bool tn_resv_admin_denied(const struct bh_target_nvme *ctrl, uint32_t nsid); /* resv_feat.c */
void tn_resv_leave(struct bh_target_nvme *ctrl);

void tn_wipe_cancel(struct tn_space *space); /* there may be none */

/* ---- sanitize.c ---- */

/* From the command to the last namespace that goes on: the subsystem stays as it is. */
static inline bool tn_sanitize_is_running(const struct bh_target_subsys *subsys)
{
	return subsys->sanitize != NULL;
}
void tn_sanitize_interrupted(struct bh_target_subsys *subsys); /* it was, by the end of the process */
void tn_sanitize_leave(struct bh_target_nvme *ctrl);	       /* its controller goes */
void tn_sanitize_stop(struct bh_target_subsys *subsys);	       /* the subsystem does */

/* ---- ns_mgmt.c ---- */

/* The controller goes: what it has asked for goes on, and nobody is told. */
void tn_ns_ops_leave(struct bh_target_nvme *ctrl);

/* The blocks there are now, and log2 of their size. */
static inline uint64_t tn_space_blocks(const struct tn_space *space)
{
	return __atomic_load_n(&bh_blk_info(space->blk)->blocks, __ATOMIC_RELAXED);
}

static inline bool tn_has_reservations(const struct bh_target_nvme *ctrl)
{
	return !ctrl->subsys->is_implied;
}

static inline unsigned int tn_space_shift(const struct tn_space *space)
{
	return bh_blk_info(space->blk)->block_size == 4096 ? 12 : 9;
}

/* A namespace's own serial number for a subsystem without one: stays the same for a text. */
void tn_serial_of(const char *text, char serial[21]);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An NVM subsystem: emulated controllers that share namespaces.
 *
 * Component: lib/target/nvme
 *
 * A namespace belongs to its subsystem and is attached to any number of its controllers, for hosts
 * that reach one disk by several paths, or share it. A controller that is given no subsystem has one
 * of its own, whose namespaces live as long as they are attached.
 *
 * Thread rule: everything on the control thread, which is that of all controllers of the subsystem,
 * or before it runs, or after it has stopped.
 */
#ifndef BELLHOP_TARGET_SUBSYS_H
#define BELLHOP_TARGET_SUBSYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/blk.h>
#include <bellhop/log.h>
#include <bellhop/poll.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BH_TARGET_SUBSYS_MAX_CTRLS 64u /* controller ids 1..64 */

struct bh_target_subsys;

struct bh_target_subsys_opts {
	size_t size;
	const char *nqn;    /* nqn..., at most 223 characters */
	const char *serial; /* at most 20 characters; NULL: derived from the NQN */
	const char *model;  /* at most 40; NULL: "Bellhop NVMe Controller" */
	struct bh_reactor *control;
	/*
	 * Where namespaces are made that are given no store, by hosts among others; a reference is
	 * taken. NULL: they cannot be.
	 */
	struct bh_blk *pool;
	uint64_t capacity; /* bytes of it that may be used; 0: all */
	/*
	 * The file that keeps what is to outlive the process: namespaces of the pool, attachments that
	 * hosts have changed, reservations that persist through power loss, and the Persistent Event
	 * log (neither of the latter two is supported without). Made if it is not there. Then see
	 * bh_target_subsys_restored().
	 */
	const char *state;
	const struct bh_log *log;
};

void bh_target_subsys_opts_init(struct bh_target_subsys_opts *opts);

/*
 * -EINVAL: a name that is none, or a state file that is none (logged). -EBUSY: another process has
 * that; what opening it returns. -ENOMEM.
 */
int bh_target_subsys_create(const struct bh_target_subsys_opts *opts,
			    struct bh_target_subsys **out);
/*
 * Lets go of the namespaces' stores. Before the control reactor is destroyed. -EBUSY: there are
 * controllers, or a namespace is on its way. NULL is accepted.
 */
int bh_target_subsys_destroy(struct bh_target_subsys *subsys);

/*
 * With a state: controllers and namespaces are there again as the operator had them. Those that hosts
 * have attached since then are attached now; those they have detached were not by the calls before.
 * From here on the operator's word counts. Control thread; once, however little was brought back.
 */
void bh_target_subsys_restored(struct bh_target_subsys *subsys);

/* Bytes of the pool: all, and those that no namespace has. */
void bh_target_subsys_capacity(const struct bh_target_subsys *subsys, uint64_t *total,
			       uint64_t *free_bytes);
const char *bh_target_subsys_nqn(const struct bh_target_subsys *subsys);

/* What a namespace is made of. Zeros where nothing else is said. */
struct bh_target_subsys_ns_opts {
	size_t size;
	struct bh_blk *blk; /* its store; a reference is taken */
	uint32_t nsid;	    /* 0: the lowest free */
	bool is_private;    /* attached to one controller at most */
	bool has_uuid;	    /* else it has its store's, or one derived from the store's name */
	uint8_t uuid[16];
	/* ---- out of the pool ---- */
	uint64_t bytes;
	uint32_t block_size; /* 512 or 4096, no smaller than the pool's */
	bool has_offset;     /* it lay there (bytes, of bh_target_subsys_ns_info), */
	uint64_t offset; /* and has its contents still; else it is zeroed, wherever there is room */
	/* Metadata, as of struct bh_blk_format: a pool in memory has place for them, one in a file if
	 * there is a state. */
	uint16_t md_bytes;
	uint8_t pi;
	bool pi_first, interleaved;
};

/*
 * A namespace that is attached nowhere yet: its id. -EEXIST: the id is taken; -ENOSPC: all are;
 * -EINVAL: an id or a block size that cannot be.
 */
int bh_target_subsys_ns_create(struct bh_target_subsys *subsys,
			       const struct bh_target_subsys_ns_opts *opts);
/*
 * The same with bytes of the pool: done(arg, its id) once they are zeroed, or done(arg, -errno of the
 * pool); perhaps before this returns. Not called if this fails: also -ENOSPC: no room in one piece;
 * -EOPNOTSUPP: the pool's store cannot zero; -ENOSYS: nor has it place for metadata.
 */
int bh_target_subsys_ns_make(struct bh_target_subsys *subsys,
			     const struct bh_target_subsys_ns_opts *opts,
			     void (*done)(void *arg, int result), void *arg);
/*
 * Detaches it from all controllers, whose hosts are told, and lets go of it: done(arg) when that has
 * come about, on the control thread, perhaps before this returns. -ENOENT: there is none, or it is
 * going already.
 */
int bh_target_subsys_ns_delete(struct bh_target_subsys *subsys, uint32_t nsid,
			       void (*done)(void *arg), void *arg);

struct bh_target_subsys_ns_info {
	uint32_t block_size; /* bytes */
	uint64_t blocks;
	uint8_t uuid[16];
	bool is_private;
	bool is_pooled;
	uint64_t offset; /* in the pool, bytes */
	uint16_t md_bytes;
	uint8_t pi;
	bool pi_first, interleaved;
	uint64_t ctrls;	 /* a bit per controller it is attached to: bit 0 is controller id 1 */
};
/* -ENOENT. */
int bh_target_subsys_ns_info(const struct bh_target_subsys *subsys, uint32_t nsid,
			     struct bh_target_subsys_ns_info *info);

#ifdef __cplusplus
}
#endif
#endif

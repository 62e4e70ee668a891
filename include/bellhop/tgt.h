/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The target: stores and controllers of one process, created, listed and destroyed by name.
 *
 * Component: lib/tgt
 *
 * A target has one control reactor and one poll reactor per CPU it was given. Everything that can
 * be created from the command line is created here; a program only hands the words over. Objects
 * are destroyed in any order: a controller holds its stores.
 *
 * Threads: create and destroy calls come from one thread (the program's main thread), before or
 * after bh_tgt_start(); they are carried out on the control thread and return when done.
 */
#ifndef BELLHOP_TGT_H
#define BELLHOP_TGT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <bellhop/blk.h>
#include <bellhop/log.h>
#include <bellhop/parse.h>
#include <bellhop/target_net.h>
#include <bellhop/target_nvme.h>
#include <bellhop/target_subsys.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bh_tgt;

#define BH_TGT_WHY 256 /* bytes of a reason for the user */

struct bh_tgt_opts {
	size_t size;
	struct bh_cpuset cpus; /* of the poll reactors; empty: the lowest allowed CPU */
	/* Rows ended by NULL: the store types on offer. NULL: null, ram and file. */
	const struct bh_blk_type *const *store_types;
	uint64_t idle_ns;	  /* reactors spin this long before they sleep; default 100 us */
	unsigned int socket_mode; /* permissions of the sockets; default 0600 */
	/* Users whose processes may connect; kept until bh_tgt_destroy. NULL: see socket_mode. */
	const uid_t *socket_uids;
	unsigned int num_socket_uids;
	/*
	 * A directory for what is to outlive the process: a file per subsystem, with its namespaces,
	 * attachments that hosts have changed, and reservations that persist through power loss. Kept
	 * until bh_tgt_destroy. NULL: none.
	 */
	const char *state_dir;
	const struct bh_log *log;
};

void bh_tgt_opts_init(struct bh_tgt_opts *opts);

/* -EINVAL: a CPU the process may not use (logged). -ENOMEM, -EMFILE. */
int bh_tgt_create(const struct bh_tgt_opts *opts, struct bh_tgt **out);
int bh_tgt_start(struct bh_tgt *tgt); /* runs the reactors */
/*
 * Once what is to be there at first is: attachments that hosts had changed are as they were then
 * (state_dir). What comes later is new.
 */
void bh_tgt_restored(struct bh_tgt *tgt);
/* Disconnects clients, removes sockets, stops the reactors, frees everything. NULL is accepted. */
void bh_tgt_destroy(struct bh_tgt *tgt);
/* From here on this process can open no files and no sockets: what would need that is refused. */
void bh_tgt_confined(struct bh_tgt *tgt);
/*
 * Could it be confined? -EPERM, and why: one of its stores has to open files or sockets again, when a
 * connection is lost, say.
 */
int bh_tgt_check_confinable(struct bh_tgt *tgt, char why[BH_TGT_WHY]);
/* The CPUs of threads that do not poll: all the process may use but the polling ones, if any. */
const struct bh_cpuset *bh_tgt_control_cpus(const struct bh_tgt *tgt);

/* ---- SPECs of the command line (DESIGN section 6, doc/specs.md) ---- */

#define BH_TGT_SPEC_NS 64

enum bh_tgt_spec_kind {
	BH_TGT_SPEC_STORE,
	BH_TGT_SPEC_NVME,
	BH_TGT_SPEC_NET,
	BH_TGT_SPEC_SUBSYS,
};

struct bh_tgt_store_spec {
	char *type;	     /* "ram"; NULL for a reference @NAME */
	char *arg;	     /* what follows the type, quotes removed; the NAME of a reference */
	uint64_t bytes;	     /* size in arg, where the type has one */
	uint32_t block_size; /* 512 or 4096 */
	uint16_t md_bytes;   /* ms=: 0, 8, 16 or 64 */
	uint8_t pi;	     /* pi=: 0 to 3 */
	struct bh_blk_zoned zoned; /* zoned= */
	bool has_uuid;
	uint8_t uuid[16];
	uint32_t nsid; /* 0: the lowest free */
};

struct bh_tgt_spec {
	enum bh_tgt_spec_kind kind;
	char *name;  /* the store's or subsystem's NAME, the controller's socket */
	char *alias; /* the controller's name; NULL: its socket. Not in a SPEC word */
	struct bh_tgt_store_spec store
		[BH_TGT_SPEC_NS]; /* [0] of a store SPEC, pool= of a subsystem; ns= of a controller */
	unsigned int num_stores;
	/* controller keys; 0 or NULL where not given */
	char *serial, *model; /* a subsystem's, too */
	char *subsys;	      /* the NAME of the controller's subsystem */
	char *nqn;	      /* of a subsystem, */
	uint64_t cap;	      /* its bytes, in store[0] or in memory of its own; 0: all or none */
	unsigned int queues, depth, dstrd;
	enum bh_target_doorbells doorbells;
	uint64_t mdts, cmb;
	struct bh_cpuset cores;
	/* of a network controller */
	char *port, *port_arg; /* "tap", and what follows the colon */
	bool has_mac;
	uint8_t mac[6];
	unsigned int mtu;
	bool split_rings;
};

/*
 * Parses one SPEC word. -EINVAL with the reason in why: grammar, unknown key, bad value. -ENOTSUP
 * with the reason: a key or type of the contract that this build does not have. bh_tgt_spec_fini()
 * in every case.
 */
int bh_tgt_spec_parse(const char *text, struct bh_tgt_spec *spec, char why[BH_TGT_WHY]);
void bh_tgt_spec_fini(struct bh_tgt_spec *spec);

/*
 * One key of a controller SPEC of some kind that begins as zeros otherwise: "ns" with a STORE or
 * @NAME and "port" with a PORT, the others with a plain value that is not quoted. Errors as of parse; a key that is given twice replaces the first.
 */
int bh_tgt_spec_set(struct bh_tgt_spec *spec, const char *key, const char *value,
		    char why[BH_TGT_WHY]);
/* A STORE, or @NAME if a reference will do, into *store. bh_tgt_store_spec_fini() in every case. */
int bh_tgt_store_spec_parse(const char *text, bool may_refer, struct bh_tgt_store_spec *store,
			    char why[BH_TGT_WHY]);
void bh_tgt_store_spec_fini(struct bh_tgt_store_spec *spec);

#define BH_TGT_STORE_TEXT 8448 /* bytes of the text of any store */
/*
 * The other way round: words that describe the store as it is `now` (its size; NULL: as it was
 * given), with that uuid (NULL: if it was given one), or @NAME. Without nsid.
 */
void bh_tgt_store_text(const struct bh_tgt_store_spec *spec, const struct bh_blk_info *now,
		       const uint8_t uuid[16], char *out, size_t size);

/* A PORT as it would be typed, of a network controller's SPEC. */
void bh_tgt_port_text(const struct bh_tgt_spec *spec, char *out, size_t size);

/* Creates what a SPEC says. Errors as below; the reason is in why. */
int bh_tgt_apply(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, char why[BH_TGT_WHY]);

/* ---- objects ---- */

/*
 * The key of the SPEC or call that the failure of the last of these functions was about: static
 * text, or NULL if it was about none. All of them: -EPERM when bh_tgt_confined() forbids it.
 */
const char *bh_tgt_failed_key(const struct bh_tgt *tgt);

/*
 * What has to wait for a store (it says -EINPROGRESS) returns after 10 s at most, or, when the
 * namespace is one to be zeroed, when it is. From here on it returns at once: the outcome is had by
 * bh_tgt_finished() later. wake: there may be one; on the control thread, calls nothing of the
 * target, and not any more once this has returned. NULL: calls wait again.
 */
void bh_tgt_dont_wait(struct bh_tgt *tgt, void (*wake)(void *ctx), void *ctx);
/* Of the call that has just said -EINPROGRESS. 0: nobody will know. */
uint64_t bh_tgt_ticket(const struct bh_tgt *tgt);
/*
 * The next outcome: what the call of that ticket would have returned, and why. False: there is none.
 */
bool bh_tgt_finished(struct bh_tgt *tgt, uint64_t *ticket, int *result, char why[BH_TGT_WHY]);

/*
 * A store to be shared as @name. -EEXIST: the name is taken; -ENOTSUP: no such type; what the type
 * says.
 */
int bh_tgt_store_create(struct bh_tgt *tgt, const char *name, const struct bh_tgt_store_spec *spec,
			char why[BH_TGT_WHY]);
/* -ENOENT; -EBUSY: a controller uses it. */
int bh_tgt_store_destroy(struct bh_tgt *tgt, const char *name);
/*
 * Lets a shared store grow to so many bytes; hosts of controllers that use it are told. -ENOENT;
 * -EINVAL: smaller, or not a number of blocks; -EOPNOTSUPP: not this type; what the store says.
 */
int bh_tgt_store_resize(struct bh_tgt *tgt, const char *name, uint64_t bytes, char why[BH_TGT_WHY]);

struct bh_tgt_store_info {
	const char *name;
	const struct bh_tgt_store_spec *spec;
	const struct bh_blk_info *blk;
	unsigned int users; /* namespaces */
};
typedef void (*bh_tgt_store_fn)(void *ctx, const struct bh_tgt_store_info *info);
/* In the order of creation. fn calls nothing of the target. */
void bh_tgt_stores(struct bh_tgt *tgt, bh_tgt_store_fn fn, void *ctx);

/*
 * The controller of a SPEC. -EEXIST: the name or socket is one of ours already; -EADDRINUSE: of
 * another process.
 */
int bh_tgt_nvme_create(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, char why[BH_TGT_WHY]);
/*
 * The subsystem of a SPEC, for controllers that name it. -EEXIST: the name or the NQN is one of ours
 * already.
 */
int bh_tgt_subsys_create(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, char why[BH_TGT_WHY]);
/* With its namespaces. -ENOENT; -EBUSY: it has controllers, or a namespace that is leaving. */
int bh_tgt_subsys_destroy(struct bh_tgt *tgt, const char *name, char why[BH_TGT_WHY]);

/* A namespace of a subsystem, to be made. */
struct bh_tgt_ns_spec {
	const char *subsys;
	uint32_t nsid; /* 0: the lowest free */
	/* What is in it: a store of its own or a reference; NULL: bytes of the subsystem's pool, */
	const struct bh_tgt_store_spec *store;
	/* see struct bh_target_subsys_ns_opts */
	uint64_t bytes;
	uint32_t block_size;
	uint16_t md_bytes;
	uint8_t pi;
	bool pi_first, interleaved;
	bool has_offset;
	uint64_t offset;
	bool has_uuid;
	uint8_t uuid[16];
	bool is_private; /* for one controller at a time */
};
/*
 * One that is attached nowhere yet. The id, or -ENOENT: no such subsystem or store; -EEXIST: the id
 * is taken; -ENOSPC: all are, or the pool has no room in one piece; -EINPROGRESS: it is zeroed
 * first; what the store says.
 */
int bh_tgt_ns_create(struct bh_tgt *tgt, const struct bh_tgt_ns_spec *spec, char why[BH_TGT_WHY]);
/* Detached from every controller first. -ENOENT; -EINPROGRESS, -EBUSY: as bh_tgt_ns_detach(). */
int bh_tgt_ns_delete(struct bh_tgt *tgt, const char *subsys, uint32_t nsid, char why[BH_TGT_WHY]);

struct bh_tgt_subsys_ns_info {
	uint32_t nsid;
	const struct bh_tgt_store_spec *spec; /* of its store; NULL: it is the subsystem's */
	struct bh_target_subsys_ns_info now;
};
struct bh_tgt_subsys_info {
	const char *name;
	const struct bh_tgt_spec *spec;
	const char *nqn;
	/* NULL: none, or memory of its own */
	const struct bh_tgt_store_spec *pool;
	const struct bh_blk_info *pool_now;
	uint64_t capacity, unallocated; /* bytes */
	const struct bh_tgt_subsys_ns_info *ns;
	unsigned int num_ns;
};
typedef void (*bh_tgt_subsys_fn)(void *ctx, const struct bh_tgt_subsys_info *info);
/* In the order of creation. fn calls nothing of the target. -ENOMEM: none was told of. */
int bh_tgt_subsystems(struct bh_tgt *tgt, bh_tgt_subsys_fn fn, void *ctx);

/*
 * The network controller of a SPEC, with its port. `pair:NAME` is the free end of that wire, which
 * is made with its first controller and goes with its last. -EBUSY: both ends are taken; otherwise as
 * above, and what the port says.
 */
int bh_tgt_net_create(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, char why[BH_TGT_WHY]);
/* Of either kind. -ENOENT. */
int bh_tgt_controller_destroy(struct bh_tgt *tgt, const char *name);

/*
 * A namespace on a controller that may have a host, which is told. spec: a store of its own or a
 * reference, and the id (0: the lowest free). The id, or -ENOENT: no such controller or store;
 * -EEXIST: the id is taken; -EBUSY: by a namespace that is being detached; -ENOSPC: all are; what
 * the store says.
 *
 * In a subsystem: its namespace of that store, or a new one; without a store (arg NULL) the one of
 * that id.
 */
int bh_tgt_ns_attach(struct bh_tgt *tgt, const char *controller,
		     const struct bh_tgt_store_spec *spec, char why[BH_TGT_WHY]);
/*
 * The host is told, what it has asked for already finishes, and the store is let go. -ENOENT.
 * -EINPROGRESS: the store has not finished; the namespace is hidden, and goes when it has. -EBUSY:
 * that is so already.
 */
int bh_tgt_ns_detach(struct bh_tgt *tgt, const char *controller, uint32_t nsid,
		     char why[BH_TGT_WHY]);

struct bh_tgt_ns_info {
	uint32_t nsid;
	const struct bh_tgt_store_spec *spec; /* of the store; NULL: it is the subsystem's */
	struct bh_target_nvme_ns_info now;
};
struct bh_tgt_controller_info {
	const char *name;
	const struct bh_tgt_spec *spec; /* its keys; the socket is spec->name */
	const char *subsys;		/* NULL: none */
	struct bh_target_nvme *nvme;
	const struct bh_tgt_ns_info *ns;
	unsigned int num_ns;
};
typedef void (*bh_tgt_controller_fn)(void *ctx, const struct bh_tgt_controller_info *info);
/* In the order of creation. fn calls nothing of the target. -ENOMEM: not all were told of. */
int bh_tgt_controllers(struct bh_tgt *tgt, bh_tgt_controller_fn fn, void *ctx);

struct bh_tgt_net_info {
	const char *name;
	const struct bh_tgt_spec *spec; /* its keys; the socket is spec->name */
	const struct bh_target_net *net;
};
typedef void (*bh_tgt_net_fn)(void *ctx, const struct bh_tgt_net_info *info);
/* Network controllers, in the order of creation. fn calls nothing of the target. */
void bh_tgt_nets(struct bh_tgt *tgt, bh_tgt_net_fn fn, void *ctx);

struct bh_tgt_thread_info {
	int cpu;
	struct bh_reactor_stats stats;
};
typedef void (*bh_tgt_thread_fn)(void *ctx, const struct bh_tgt_thread_info *info);
/* The poll threads, by CPU. */
void bh_tgt_threads(const struct bh_tgt *tgt, bh_tgt_thread_fn fn, void *ctx);

#ifdef __cplusplus
}
#endif
#endif

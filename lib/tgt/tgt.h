/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of lib/tgt share. All of it belongs to the thread that calls bh_tgt_*(). */
#ifndef TGT_TGT_H
#define TGT_TGT_H

#include <assert.h>
#include <pthread.h>
#include <semaphore.h>

#include <bellhop/tgt.h>

#define TGT_LOG "tgt"

struct store {
	struct store *next; /* in the order of creation, as controllers and namespaces are */
	char *name;
	struct bh_tgt_store_spec spec; /* type and arg, for as long as it is there */
	struct bh_blk *blk;
	unsigned int users; /* namespaces of our controllers */
};

/* What the control thread is asked to do with a namespace. The control thread's until `done`. */
struct ns_call {
	struct ns_call *next;
	struct bh_tgt *tgt;
	uint64_t ticket; /* 0: nobody asks how it ended */
	struct bh_target_nvme *nvme;
	struct bh_blk *blk;
	uint32_t nsid;
	int error;
	sem_t done;
};

struct ns {
	struct ns *next;
	uint32_t nsid;
	struct store *shared;	       /* NULL: a store of its own, */
	struct bh_tgt_store_spec spec; /* this one */
	struct ns_call *leaving;       /* it was detached, and is not gone yet */
};

/* A record per namespace that was given a store, or is leaving. */
struct subsys {
	struct subsys *next;
	char *name;
	struct bh_tgt_spec spec;
	struct bh_target_subsys *handle;
	struct bh_blk *pool;   /* NULL: none */
	struct ns *pool_store; /* whose it is; NULL: memory of its own */
	struct ns *ns;
	unsigned int num_made; /* stores of its own so far, as below */
};

struct controller {
	struct controller *next;
	char *name;
	struct bh_tgt_spec spec; /* its keys; no stores */
	struct bh_target_nvme *nvme;
	struct subsys *subsys; /* NULL: it has none, and its namespaces here: */
	struct ns *ns;	       /* in a subsystem: those that are leaving */
	unsigned int num_made; /* stores of its own so far: part of their names */
};

/* A wire by its name, in use at one end at least. */
struct pair {
	struct pair *next;
	char *name;
	unsigned int queues;
	struct bh_net_port *end[2];
	bool is_taken[2];
};

struct net {
	struct net *next;
	char *name;
	struct bh_tgt_spec spec;
	struct bh_target_net *net;
	struct bh_net_port *port; /* its own, or an end of: */
	struct pair *pair;
};

struct bh_tgt {
	const struct bh_log *log;
	const struct bh_blk_type *const *types;
	unsigned int socket_mode;
	const uid_t *socket_uids;
	unsigned int num_socket_uids;
	struct bh_cpuset control_cpus;
	struct bh_reactor *control;
	struct bh_reactor *threads[BH_TARGET_NVME_MAX_THREADS];
	unsigned int num_threads;
	bool is_running;
	bool is_confined;
	bool is_restored;
	const char *state_dir; /* NULL: none */
	const char *failed_key;
	struct store *stores;
	struct subsys *subsystems;
	struct controller *controllers;
	struct net *nets;
	struct pair *pairs;
	/* later.c */
	pthread_mutex_t wake_lock;
	void (*wake)(void *ctx);
	void *wake_ctx;
	uint64_t ticket, last_ticket;
	struct ns_call *making;	  /* namespaces, out of a pool */
	struct ns_call *outcomes; /* of tickets, in the order they came */
};

/*
 * The reason of a failure, and the key of the SPEC or call that it is about (static, or NULL).
 * Returns error.
 */
int tgt_fail(struct bh_tgt *tgt, const char *key, char *why, int error, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* ---- store.c ---- */

struct store *tgt_store_find(struct bh_tgt *tgt, const char *name);
/* The blk of a description that is no reference. key: what a failure is about. */
int tgt_blk_create(struct bh_tgt *tgt, const char *name, const struct bh_tgt_store_spec *spec,
		   const char *key, char *why, struct bh_blk **out);
/*
 * -EPERM, and why: confinement keeps a store of that type from being created, or one that is there
 * from being attached.
 */
int tgt_check_confined(struct bh_tgt *tgt, const char *type, bool is_there, const char *key,
		       char *why);
void tgt_stores_free(struct bh_tgt *tgt);

/* ---- nvme.c ---- */

void tgt_controllers_free(struct bh_tgt *tgt);
/* 0, or why no controller of either kind can have this socket and name. */
int tgt_check_names(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, char *why);
/* The poll threads of cores=; all where there is none. */
int tgt_pick_threads(struct bh_tgt *tgt, const struct bh_cpuset *cores, struct bh_reactor **threads,
		     unsigned int *count, char *why);

/*
 * The store of a namespace, by its name or one of its own, whose name has a number out of *made, so
 * that its UUID survives a restart. ns: its record. key: what a failure is about.
 */
int tgt_ns_store(struct bh_tgt *tgt, unsigned int *made, const struct bh_tgt_store_spec *spec,
		 const char *key, char *why, struct ns *ns, struct bh_blk **out);
void tgt_ns_free(struct ns *ns);

/* ---- later.c ---- */

struct ns_call *tgt_ns_call_new(struct bh_tgt *tgt, struct bh_target_nvme *nvme, struct bh_blk *blk,
				uint32_t nsid);
void tgt_ns_call_free(struct ns_call *call);
/* Control thread: the ns_call has ended. */
void tgt_call_done(void *call);
void tgt_wait(sem_t *done);
/* True: it is done. False: it goes on without us. */
bool tgt_ns_wait(struct bh_tgt *tgt, struct ns_call *call);
/* Lets go of the stores of namespaces that have left meanwhile. */
void tgt_reap_list(struct bh_tgt *tgt, struct ns **link);
void tgt_reap(struct bh_tgt *tgt);
void tgt_calls_free(struct bh_tgt *tgt);

/* ---- subsys.c ---- */

struct subsys *tgt_subsys_find(struct bh_tgt *tgt, const char *name);
/* The record of a namespace that is not leaving, or NULL. */
struct ns *tgt_subsys_ns(struct subsys *s, uint32_t nsid);
void tgt_subsys_keep(struct subsys *s, struct ns *ns);
/* The namespace that is on its way out, or NULL. */
struct ns *tgt_find_leaving(struct ns *first, uint32_t nsid);
/* Why a namespace could not be cut out of the pool. Returns error. */
int tgt_say_make(struct bh_tgt *tgt, int error, uint32_t nsid, char *why);
void tgt_subsystems_free(struct bh_tgt *tgt);

/* ---- net.c ---- */

struct net *tgt_net_find(struct bh_tgt *tgt, const char *name);
int tgt_net_destroy(struct bh_tgt *tgt, const char *name); /* -ENOENT */
void tgt_nets_free(struct bh_tgt *tgt);

/* ---- text.c ---- */

int tgt_store_spec_copy(struct bh_tgt_store_spec *to, const struct bh_tgt_store_spec *from);
/* Keys, not stores. */
int tgt_spec_copy(struct bh_tgt_spec *to, const struct bh_tgt_spec *from);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A target's control plane: JSON-RPC 2.0 on a UNIX socket.
 *
 * Component: lib/rpc
 *
 * Clients send requests as JSON texts one after another, with or without white space between them,
 * and get one line for each reply (jsonrpc.org/specification; batches and notifications included).
 * doc/rpc.md lists the methods.
 *
 * All calls of all clients are carried out on one thread, one after another, but one that has to wait
 * for a store lets the others go on. The target is that thread's: between create and destroy nobody
 * else calls bh_tgt_*().
 */
#ifndef BELLHOP_RPC_H
#define BELLHOP_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <bellhop/log.h>
#include <bellhop/tgt.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bh_rpc;

/* ---- a configuration that outlives the program ---- */

struct bh_rpc_state;

/*
 * Opens a directory that has, or will have, a config.json, and keeps other processes from doing so.
 * -EBUSY: another one has; -ENOENT, -ENOTDIR, -EACCES and the like; -ENOMEM.
 */
int bh_rpc_state_open(const char *path, struct bh_rpc_state **out);
/* NULL is accepted. After bh_rpc_destroy(). */
void bh_rpc_state_close(struct bh_rpc_state *state);
/* Nothing has been kept there yet. */
bool bh_rpc_state_is_new(const struct bh_rpc_state *state);
/*
 * Brings about in an empty target, started and served to nobody else, what was kept. -EINVAL: the
 * file is none; otherwise what a call failed with. why says where. Some of it may be there then.
 */
int bh_rpc_state_restore(struct bh_rpc_state *state, struct bh_tgt *tgt, const struct bh_log *log,
			 char why[BH_TGT_WHY]);
/* Before there is a server: could something be kept there? 0, or the reason: -EACCES, -EROFS, -ENOSPC and the like. */
int bh_rpc_state_probe(struct bh_rpc_state *state);

/* ---- the server ---- */

struct bh_rpc_opts {
	size_t size;
	const char *path;  /* of the socket; NULL: calls are not served, metrics may be */
	unsigned int mode; /* its permissions; default 0600 */
	/* Users whose processes may connect; kept until destroy. NULL: whoever mode admits. */
	const uid_t *allowed_uids;
	unsigned int num_allowed_uids;
	struct bh_tgt *tgt; /* started */
	/* Where what calls change is kept, before they are answered. Until destroy. May be NULL. */
	struct bh_rpc_state *state;
	const struct bh_log *log;
	/*
	 * log.set: the level of a component, or of all (NULL). -ENOENT: there is no such one. NULL:
	 * the method is not there. RPC thread.
	 */
	int (*log_set)(void *ctx, const char *component, enum bh_log_level level);
	/*
	 * log.list: the level of the i-th component, from 0, and its name (static). -ENOENT: there
	 * are not so many. NULL: there are none. RPC thread.
	 */
	int (*log_get)(void *ctx, unsigned int i, const char **component);
	/* stop: somebody wants the program to end. RPC thread, which goes on serving. May be NULL. */
	void (*stop)(void *ctx);
	void *ctx;
};

void bh_rpc_opts_init(struct bh_rpc_opts *opts);

/*
 * Listens, and serves on a thread of its own. -EINVAL: no target; -EADDRINUSE,
 * -ENAMETOOLONG, -EEXIST, -ENOENT, -EACCES and the like: the socket; -ENOMEM, -EMFILE, -EAGAIN.
 */
int bh_rpc_create(const struct bh_rpc_opts *opts, struct bh_rpc **out);

/*
 * Serves what was counted on a socket with these permissions, too: GET /metrics by HTTP, in the text
 * format of Prometheus (doc/watching.md). Once, by whoever created rpc. Errors of the socket as
 * above; -ENOMEM, -EMFILE.
 */
int bh_rpc_metrics(struct bh_rpc *rpc, const char *path, unsigned int mode);

/*
 * Answers calls that wait, that they go on without them; closes connections and removes the socket.
 * NULL is accepted.
 */
void bh_rpc_destroy(struct bh_rpc *rpc);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of lib/rpc share. All of it is the RPC thread's. */
#ifndef RPC_RPC_H
#define RPC_RPC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <jansson.h>

#include <bellhop/clock.h>
#include <bellhop/poll.h>
#include <bellhop/rpc.h>

#define RPC_LOG "rpc"

#define RPC_MESSAGE_MAX (256u << 10) /* bytes of one request or batch */
#define RPC_DEPTH_MAX 16u	     /* of arrays and objects in each other */
#define RPC_REPLY_MAX (8u << 20)     /* bytes of replies that wait for their reader */
#define RPC_CONNS_MAX 32u
#define RPC_BATCH_MAX 256u

/* jsonrpc.org/specification 5.1, and ours. */
enum rpc_code {
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_METHOD_NOT_FOUND = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_INTERNAL_ERROR = -32603,
	RPC_FAILED = -32000,   /* the request was in order, and could not be carried out */
	RPC_REFUSED = -32001,  /* the program has given up the right to do that */
	RPC_NOT_KEPT = -32002, /* it is done, and will not outlive the program */
};

/* ---- frame.c: where a JSON text ends ---- */

struct rpc_frame {
	size_t begin; /* of the text, once it has begun */
	size_t at;    /* looked at so far */
	unsigned int depth;
	bool is_in_string;
	bool is_escaped;
};

/*
 * 1: a text lies in [frame->begin, frame->at), and the next call looks behind it. 0: there is none
 * yet. -EPROTO: what begins is neither object nor array, or it is nested too deeply.
 */
int rpc_frame_next(struct rpc_frame *frame, const char *buf, size_t len);

/* ---- server.c ---- */

struct rpc_job;

struct rpc_conn {
	TAILQ_ENTRY(rpc_conn) link; /* the longest silent first */
	struct bh_rpc *rpc;
	struct bh_fd_source *source;
	int fd;
	uint32_t events;
	char *in;
	size_t in_len, in_size;
	struct rpc_frame frame;
	char *out;
	size_t out_at, out_len;
	bool is_over;	     /* nothing more is read: closed once the replies are gone */
	struct rpc_job *job; /* of its last text; nothing more is read meanwhile. NULL: none */
};

struct bh_rpc {
	struct bh_rpc_opts opts;
	char *path;
	int listen_fd;
	struct bh_reactor *reactor;
	struct bh_fd_source *listen_source;
	TAILQ_HEAD(, rpc_conn) conns;
	unsigned int num_conns;
	struct bh_clock clock;	    /* measured */
	struct metrics *metrics;    /* NULL: nobody wants any */
	TAILQ_HEAD(, rpc_job) jobs; /* that wait */
	struct bh_msg wake_msg;	    /* some may have come to an end */
	bool is_woken;		    /* it is on its way; any thread */
};

/* Takes the line (NULL: none) that its job is answered with. It may be closed by that. */
void rpc_conn_answered(struct rpc_conn *conn, char *line);

/* ---- call.c ---- */

/* The line for a text that is none. */
char *rpc_complaint(int code, const char *why);
/* The reply, or NULL: to a notification there is none; nor, if job has a ticket now, so far. */
json_t *rpc_request(struct rpc_job *job, json_t *text);
/* To the request that waited, when it has ended; and when nobody waits any more. NULL as above. */
json_t *rpc_reply_result(const struct rpc_job *job, const json_t *text, int result,
			 const char *why);
json_t *rpc_reply_late(const struct rpc_job *job, const json_t *text, const char *prefix);

/* One of the calls of a saved configuration; 0, or -errno and why. */
int rpc_repeat(struct bh_rpc *rpc, json_t *one, char why[BH_TGT_WHY]);

struct rpc_call {
	struct bh_rpc *rpc;
	struct bh_tgt *tgt;
	json_t *params; /* an object */
	json_t *result; /* the method's to set; NULL: true */
	/* of a failure */
	int code;
	const char *key; /* the parameter it is about, or NULL */
	int error;	 /* -errno, or 0 */
	char message[BH_TGT_WHY + 64];
	uint64_t ticket; /* of one that goes on, which `error` says; 0: it does not */
	bool is_patient; /* it has no deadline then */
	int not_kept;	 /* what it changed is not in --state: -errno, or 0 */
};

/* Returns false, so that a method can end with it. */
bool rpc_fail(struct rpc_call *call, int code, const char *key, int error, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* After a bh_tgt_*() call: its error and reason. */
bool rpc_fail_tgt(struct rpc_call *call, int error, const char *why);

/* ---- job.c ---- */

struct rpc_job {
	TAILQ_ENTRY(rpc_job) link;
	struct bh_rpc *rpc;
	struct rpc_conn *conn; /* NULL: it has gone */
	json_t *root;
	size_t next; /* request of a batch */
	json_t *replies;
	/* of the call that waits */
	uint64_t ticket; /* 0: none does */
	int not_kept;
	char message[BH_TGT_WHY + 64];
	struct bh_timer *deadline;
};

/*
 * What one text is answered with: a line to be freed, or NULL (notifications). *job: one of its calls
 * goes on, and rpc_conn_answered() comes when it has ended, if the job has a connection by then.
 */
char *rpc_answer(struct bh_rpc *rpc, const char *text, size_t len, struct rpc_job **job);
/* The call goes on, and the job waits for it. False: it cannot. */
bool rpc_job_wait(struct rpc_job *job, const struct rpc_call *call);
/* Answers those whose calls have ended. */
void rpc_jobs_look(struct bh_rpc *rpc);
/* Answers all of them, now. */
void rpc_jobs_end(struct bh_rpc *rpc);

/* ---- param.c: false: the call has failed ---- */

#define RPC_TEXT_MAX 4096u

/* NULL in *out for one that is not there and need not be. */
bool rpc_text(struct rpc_call *call, const char *key, bool is_needed, const char **out);
/* An integer, or one as text. */
bool rpc_number(struct rpc_call *call, const char *key, uint64_t min, uint64_t max, uint64_t *out);
bool rpc_size(struct rpc_call *call, const char *key, uint64_t *bytes);
/* A value of any scalar type as the text a command line would have. */
bool rpc_word(struct rpc_call *call, const char *key, const json_t *value, char *out, size_t size);

/* ---- methods.c ---- */

struct rpc_method {
	const char *name;
	bool (*run)(struct rpc_call *call);
	const char *keys; /* of its parameters, between blanks */
	bool is_change;	  /* of the configuration */
};
const struct rpc_method *rpc_method_find(const char *name);

/* ---- state.c ---- */

/* A file with room for what a call can bring about, or -errno. One of the others takes it. */
int rpc_state_begin(struct bh_rpc_state *state);
/* -errno: the file still has what was before. */
int rpc_state_commit(struct bh_rpc *rpc, int fd);
void rpc_state_abort(struct bh_rpc_state *state, int fd);

/* ---- objects.c, list.c, stats.c ---- */

bool rpc_controller_create(struct rpc_call *call);
bool rpc_controller_delete(struct rpc_call *call);
bool rpc_store_create(struct rpc_call *call);
bool rpc_store_delete(struct rpc_call *call);
bool rpc_store_resize(struct rpc_call *call);
bool rpc_namespace_attach(struct rpc_call *call);
bool rpc_namespace_detach(struct rpc_call *call);
bool rpc_controller_list(struct rpc_call *call);
bool rpc_store_list(struct rpc_call *call);
bool rpc_config_save(struct rpc_call *call);
bool rpc_stats(struct rpc_call *call);
/* What `stats` returns of everything. NULL: out of memory. */
json_t *rpc_stats_new(struct bh_rpc *rpc);

typedef bool (*rpc_fill_fn)(struct rpc_call *call, struct bh_tgt_spec *spec);
/* Creates what `fill` makes of the parameters; the result is {name}. */
bool rpc_apply(struct rpc_call *call, rpc_fill_fn fill);
/* A key of a SPEC, judged by the SPEC's own function. */
bool rpc_set_key(struct rpc_call *call, struct bh_tgt_spec *spec, const char *key,
		 const json_t *value);
/* Text that may not be UTF-8 (paths need not) is there, but not as it is. */
void rpc_put_text(json_t *object, const char *key, const char *text);
void rpc_put_u64(json_t *object, const char *key, uint64_t value);
void rpc_put_uuid(json_t *object, const uint8_t uuid[16]);
/* A call of a saved configuration; the parameters go over to it. */
void rpc_add_call(json_t *calls, const char *method, json_t *params);

/* ---- subsys.c ---- */

bool rpc_subsystem_create(struct rpc_call *call);
bool rpc_subsystem_delete(struct rpc_call *call);
bool rpc_subsystem_list(struct rpc_call *call);
bool rpc_namespace_create(struct rpc_call *call);
bool rpc_namespace_delete(struct rpc_call *call);
bool rpc_namespace_list(struct rpc_call *call);
bool rpc_save_subsystems(struct rpc_call *call);
/* A STORE, @NAME or a NAME, of the parameter store. bh_tgt_store_spec_fini() in every case. */
bool rpc_store_word(struct rpc_call *call, const char *text, struct bh_tgt_store_spec *spec);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* What metrics.c and metrics_text.c share. All of it is the RPC thread's. */
#ifndef RPC_METRICS_H
#define RPC_METRICS_H

#include "rpc/rpc.h"

#define METRICS_REQUEST_MAX 4096u /* bytes of a request with all its headers */
#define METRICS_CONNS_MAX 8u
#define METRICS_NS 2000000000ull      /* from connecting to the last byte of the answer */
#define METRICS_FRESH_NS 200000000ull /* the same text does for so long */

struct metrics;

struct metrics_conn {
	TAILQ_ENTRY(metrics_conn) link; /* the oldest first */
	struct metrics *metrics;
	struct bh_fd_source *source;
	struct bh_timer *timer;
	int fd;
	char in[METRICS_REQUEST_MAX];
	size_t in_len;
	char *out; /* NULL: the request is not complete */
	size_t out_at, out_len;
};

struct metrics {
	struct bh_rpc *rpc;
	char *path;
	int listen_fd;
	struct bh_fd_source *listen_source;
	TAILQ_HEAD(, metrics_conn) conns;
	unsigned int num_conns;
	char *text; /* NULL: none yet */
	size_t text_len;
	uint64_t text_ns; /* made then */
};

/* metrics.c */
void metrics_destroy(struct metrics *metrics); /* the reactor stands; NULL is accepted */

/* metrics_text.c: a result of `stats` in the text format of Prometheus, 0.0.4. False: no memory. */
bool metrics_text(const json_t *stats, char **out, size_t *len);

#endif

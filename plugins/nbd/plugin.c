/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbd://HOST[:PORT]/EXPORT, nbds://..., nbd+unix:///EXPORT?socket=PATH: a network block device, by
 * libnbd. Here stores are made; loop.c has the model.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "nbd.h"

#define DEFAULT_TIMEOUT_S 25 /* less than what Linux gives an NVMe command, which is 30 */
#define DEFAULT_CONNECTIONS 4

const struct bh_plugin_host *nbd_host;

uint64_t nbd_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- the URI ---- */

static int number(const char *text, size_t len, unsigned int min, unsigned int max,
		  unsigned int *out)
{
	unsigned int value = 0;

	if (!len || len > 9)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		value = value * 10 + (unsigned int)(text[i] - '0');
	}
	*out = value;
	return value >= min && value <= max ? 0 : -EINVAL;
}

/* One KEY=VALUE of the query. 1: it is ours, 0: it is the library's; -EINVAL with why. */
static int take_key(struct nbd_store *store, const char *text, size_t len, char why[256])
{
	static const char timeout[] = "timeout=", connections[] = "connections=";
	unsigned int seconds;

	if (len >= sizeof(timeout) - 1 && !strncmp(text, timeout, sizeof(timeout) - 1)) {
		if (number(text + sizeof(timeout) - 1, len - sizeof(timeout) + 1, 1, 86400,
			   &seconds)) {
			snprintf(why, 256, "%.*s: expected seconds from 1 to 86400",
				 (int)(len < 100 ? len : 100), text);
			return -EINVAL;
		}
		store->timeout_ns = seconds * 1000000000ull;
		return 1;
	}
	if (len >= sizeof(connections) - 1 &&
	    !strncmp(text, connections, sizeof(connections) - 1)) {
		if (number(text + sizeof(connections) - 1, len - sizeof(connections) + 1, 1,
			   NBD_CONNECTIONS, &store->max_conns)) {
			snprintf(why, 256, "%.*s: expected a number from 1 to %u",
				 (int)(len < 100 ? len : 100), text, NBD_CONNECTIONS);
			return -EINVAL;
		}
		return 1;
	}
	return 0;
}

/* Takes what is ours out of the query. */
static int take_uri(struct nbd_store *store, const char *text, char why[256])
{
	const char *query = strchr(text, '?');
	size_t used = query ? (size_t)(query - text) : strlen(text);
	char separator = '?';

	store->timeout_ns = DEFAULT_TIMEOUT_S * 1000000000ull;
	store->max_conns = DEFAULT_CONNECTIONS;
	store->uri = calloc(1, strlen(text) + 1);
	if (!store->uri)
		return -ENOMEM;
	memcpy(store->uri, text, used);
	while (query) {
		const char *key = query + 1, *next = strchr(key, '&');
		size_t len = next ? (size_t)(next - key) : strlen(key);
		int rc = take_key(store, key, len, why);

		if (rc < 0)
			return rc;
		if (rc == 0) {
			store->uri[used++] = separator;
			memcpy(store->uri + used, key, len);
			used += len;
			separator = '&';
		}
		query = next;
	}
	return 0;
}

/* ---- making one ---- */

static int said(char why[256], int error, const char *what)
{
	snprintf(why, 256, "%.250s", what);
	return error;
}

static int connect_first(struct nbd_store *store, char why[256])
{
	struct nbd_conn *conn = &store->conn[0];

	if (!nbd_conn_begin(store, conn))
		return said(why, -EINVAL, nbd_get_error());
	while (conn->state == NBD_CONN_OPENING && !nbd_conn_is_broken(conn)) {
		struct pollfd p = { .fd = nbd_aio_get_fd(conn->h),
				    .events = nbd_conn_events(conn) };

		if (nbd_now() > conn->until_ns)
			return said(why, -ETIMEDOUT, "the server does not answer");
		poll(&p, 1, 100);
		if (p.revents)
			nbd_conn_event(conn, p.revents);
	}
	if (conn->state != NBD_CONN_OPEN)
		return said(why, -ENOTCONN, nbd_get_error() ? nbd_get_error() : "refused");
	return nbd_conn_export(conn, &store->export, why);
}

static int check_blocks(const struct nbd_store *store, uint32_t block, char why[256])
{
	const struct nbd_export *export = &store->export;

	if (block % export->min_block) {
		snprintf(why, 256, "the export has blocks of %u bytes%s", export->min_block,
			 export->min_block == 4096 ? ": give :bs=4096"
						   : ", which no namespace can have");
		return -EINVAL;
	}
	if (!export->bytes || export->bytes % block || export->bytes > INT64_MAX) {
		snprintf(why, 256, "%llu bytes are not a number of blocks of %u",
			 (unsigned long long)export->bytes, block);
		return -EINVAL;
	}
	return 0;
}

static uint32_t caps_of(const struct nbd_export *export)
{
	uint32_t caps = export->is_readonly ? 0 : BH_BLK_CAP_WRITE | BH_BLK_CAP_WRITE_ZEROES;

	if (export->can_flush && !export->is_readonly)
		caps |= BH_BLK_CAP_FLUSH;
	/* By zeros that may be holes: what is trimmed need not read as zeros afterwards. */
	if (export->can_zero && !export->is_readonly)
		caps |= BH_BLK_CAP_DEALLOCATE;
	return caps;
}

static int start(struct nbd_store *store)
{
	sigset_t all, before;
	int rc;

	/* The application's signals are none of its business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = -pthread_create(&store->thread, NULL, nbd_loop, store);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

static void store_init(struct nbd_store *store)
{
	store->wake = -1;
	store->state = NBD_UP;
	store->up_ns = nbd_now();
	store->backoff_ns = NBD_BACKOFF_MIN_NS;
	pthread_mutex_init(&store->lock, NULL);
	pthread_cond_init(&store->changed, NULL);
	TAILQ_INIT(&store->submitted);
	TAILQ_INIT(&store->pending);
	nbd_journal_init(&store->journal);
	for (unsigned int i = 0; i < NBD_CONNECTIONS; i++) {
		TAILQ_INIT(&store->conn[i].in_flight);
		TAILQ_INIT(&store->conn[i].answered);
	}
}

void nbd_free(struct nbd_store *store)
{
	for (unsigned int i = 0; i < NBD_CONNECTIONS; i++)
		nbd_conn_close(&store->conn[i]);
	nbd_journal_trim(&store->journal, UINT64_MAX);
	if (store->wake >= 0)
		close(store->wake);
	pthread_cond_destroy(&store->changed);
	pthread_mutex_destroy(&store->lock);
	free(store->uri);
	free(store);
}

static int open_store(struct nbd_store *store, const struct bh_blk_spec *spec, const char *name,
		      const struct bh_log *log, char why[256])
{
	const struct nbd_export *export = &store->export;
	int rc = take_uri(store, spec->arg, why);

	if (!rc)
		rc = connect_first(store, why);
	if (!rc)
		rc = check_blocks(store, spec->block_size, why);
	if (rc)
		return rc;
	store->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (store->wake < 0)
		return said(why, -errno, strerror(errno));
	rc = nbd_host->blk_init(&store->blk, &nbd_ops, name, spec->block_size,
				export->bytes / spec->block_size, caps_of(export), log);
	if (rc)
		return said(why, rc, strerror(-rc));
	for (unsigned int i = 1; export->can_multi && i < store->max_conns; i++)
		nbd_conn_begin(store, &store->conn[i]);
	rc = start(store);
	if (rc) {
		nbd_host->blk_fini(&store->blk);
		return said(why, rc, "no thread can be made");
	}
	nbd_host->log(log, BH_LOG_INFO, NBD_LOG, "%s: %s, %llu bytes%s%s%s%s, up to %u connections",
		      name, store->uri, (unsigned long long)export->bytes,
		      export->is_readonly ? ", read-only" : "", export->can_flush ? ", flush" : "",
		      export->can_fua ? ", FUA" : "", export->can_zero ? ", zeros" : "",
		      export->can_multi ? store->max_conns : 1);
	return 0;
}

static int create(const struct bh_blk_spec *spec, const char *name, const struct bh_log *log,
		  char why[256], struct bh_blk **out)
{
	struct nbd_store *store = calloc(1, sizeof(*store));
	char reason[256] = "";
	int rc;

	if (!store)
		return -ENOMEM;
	store_init(store);
	rc = open_store(store, spec, name, log, reason);
	if (rc) {
		snprintf(why, 256, "%.120s: %.130s", spec->arg, reason[0] ? reason : strerror(-rc));
		nbd_free(store);
		return rc;
	}
	if (spec->has_uuid)
		memcpy(store->blk.info.uuid, spec->uuid, sizeof(store->blk.info.uuid));
	*out = &store->blk;
	return 0;
}

/* ---- the entry ---- */

static const struct bh_blk_type nbd_type = { "nbd", create };
static const struct bh_blk_type *const types[] = { &nbd_type, NULL };
static const struct bh_plugin plugin = {
	.abi = BH_PLUGIN_ABI,
	.sizes = BH_PLUGIN_SIZES,
	.name = "nbd",
	.about = "nbd://HOST[:PORT]/EXPORT, nbds://..., nbd+unix:///EXPORT?socket=PATH",
	.types = types,
};

const struct bh_plugin *bh_plugin(const struct bh_plugin_host *host, uint32_t abi)
{
	if (abi != BH_PLUGIN_ABI)
		return NULL;
	nbd_host = host;
	return &plugin;
}

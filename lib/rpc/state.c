/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration that outlives the program: config.json in the state's directory, the calls that
 * bring it about, as config.save has them.
 *
 * It is replaced as a whole: written beside the old one, synced, renamed. Room for it is taken
 * before a call is carried out, so that a call whose outcome could not be kept fails and changes
 * nothing. The directory is opened, and locked against other targets, once.
 *
 * Namespaces out of a subsystem's pool are not in it: hosts make and delete them, too, and the
 * subsystem has a file of its own for them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rpc/rpc.h"

#define FILE_NAME "config.json"
#define NEW_NAME FILE_NAME ".new"
/* How much longer a call can make it, its own text being written with escapes and indents. */
#define CALL_GROWTH (4u * RPC_MESSAGE_MAX)

struct bh_rpc_state {
	int dir;
	bool is_new;
	size_t len; /* of what is kept */
	char *path;
};

/* ---- the directory ---- */

static int look(struct bh_rpc_state *state, const char *path)
{
	struct stat st;

	state->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state->dir < 0)
		return -errno;
	if (flock(state->dir, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fstatat(state->dir, FILE_NAME, &st, 0) == 0)
		state->len = (size_t)st.st_size;
	else if (errno == ENOENT)
		state->is_new = true;
	else
		return -errno;
	return 0;
}

int bh_rpc_state_open(const char *path, struct bh_rpc_state **out)
{
	struct bh_rpc_state *state = calloc(1, sizeof(*state));
	int rc = -ENOMEM;

	*out = NULL;
	if (!state)
		return rc;
	state->dir = -1;
	state->path = strdup(path);
	if (state->path)
		rc = look(state, path);
	if (rc) {
		bh_rpc_state_close(state);
		return rc;
	}
	*out = state;
	return 0;
}

void bh_rpc_state_close(struct bh_rpc_state *state)
{
	if (!state)
		return;
	if (state->dir >= 0)
		close(state->dir);
	free(state->path);
	free(state);
}

bool bh_rpc_state_is_new(const struct bh_rpc_state *state)
{
	return state->is_new;
}

/* ---- from the file ---- */

__attribute__((format(printf, 5, 6))) static int
say(const struct bh_rpc_state *state, json_t *calls, char *why, int error, const char *fmt, ...)
{
	int n = snprintf(why, BH_TGT_WHY, "%.100s/%s: ", state->path, FILE_NAME);
	va_list args;

	va_start(args, fmt);
	vsnprintf(why + n, BH_TGT_WHY - (size_t)n, fmt, args);
	va_end(args);
	json_decref(calls);
	return error;
}

int bh_rpc_state_restore(struct bh_rpc_state *state, struct bh_tgt *tgt, const struct bh_log *log,
			 char why[BH_TGT_WHY])
{
	struct bh_rpc rpc = { .opts = { .tgt = tgt, .log = log } };
	int fd = openat(state->dir, FILE_NAME, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	json_error_t error;
	json_t *calls, *one;
	size_t i;

	if (fd < 0)
		return say(state, NULL, why, -errno, "%s", strerror(errno));
	calls = json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
	close(fd);
	if (!calls)
		return say(state, NULL, why, -EINVAL, "line %d, column %d: %s", error.line,
			   error.column, error.text);
	if (!json_is_array(calls))
		return say(state, calls, why, -EINVAL, "expected an array of calls");
	json_array_foreach(calls, i, one)
	{
		char reason[BH_TGT_WHY];
		int rc = rpc_repeat(&rpc, one, reason);

		if (rc)
			return say(state, calls, why, rc, "call %zu: %s", i + 1, reason);
	}
	json_decref(calls);
	return 0;
}

/* ---- into the file ---- */

int rpc_state_begin(struct bh_rpc_state *state)
{
	int fd = openat(state->dir, NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
			0600);
	int rc;

	if (fd < 0)
		return -errno;
	rc = posix_fallocate(fd, 0, (off_t)(state->len + CALL_GROWTH));
	if (rc == 0)
		return fd;
	rpc_state_abort(state, fd);
	return -rc;
}

void rpc_state_abort(struct bh_rpc_state *state, int fd)
{
	close(fd);
	unlinkat(state->dir, NEW_NAME, 0);
}

static int write_all(int fd, const char *text, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = write(fd, text + at, len - at);

		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? (size_t)n : 0;
	}
	return ftruncate(fd, (off_t)len) == 0 && fsync(fd) == 0 ? 0 : -errno;
}

static bool is_pooled(const json_t *one)
{
	const json_t *params = json_object_get(one, "params");

	return strcmp(json_string_value(json_object_get(one, "method")), "namespace.create") == 0 &&
	       !json_object_get(params, "store");
}

static char *config_text(struct bh_rpc *rpc)
{
	struct rpc_call call = { .rpc = rpc, .tgt = rpc->opts.tgt };
	char *text = NULL;

	if (rpc_config_save(&call)) {
		for (size_t i = json_array_size(call.result); i-- > 0;) {
			if (is_pooled(json_array_get(call.result, i)))
				json_array_remove(call.result, i);
		}
		text = json_dumps(call.result, JSON_INDENT(2));
	}
	json_decref(call.result);
	return text;
}

int rpc_state_commit(struct bh_rpc *rpc, int fd)
{
	struct bh_rpc_state *state = rpc->opts.state;
	char *text = config_text(rpc);
	int rc = text ? write_all(fd, text, strlen(text)) : -ENOMEM;

	if (rc == 0 && renameat(state->dir, NEW_NAME, state->dir, FILE_NAME) != 0)
		rc = -errno;
	if (rc) {
		rpc_state_abort(state, fd);
		bh_log(rpc->opts.log, BH_LOG_ERROR, RPC_LOG,
		       "%s/%s still has what was before the last call: %s", state->path, FILE_NAME,
		       strerror(-rc));
	} else {
		state->len = strlen(text);
		close(fd);
		rc = fsync(state->dir) == 0 ? 0 : -errno;
	}
	free(text);
	return rc;
}

int bh_rpc_state_probe(struct bh_rpc_state *state)
{
	int fd = rpc_state_begin(state);

	if (fd < 0)
		return fd;
	rpc_state_abort(state, fd);
	return 0;
}

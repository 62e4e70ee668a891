/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc_client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static bool __attribute__((format(printf, 2, 3)))
fail(struct rpc_client *client, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(client->why, sizeof(client->why), fmt, args);
	va_end(args);
	return false;
}

void rpc_client_init(struct rpc_client *client, const char *socket, unsigned int seconds)
{
	*client = (struct rpc_client){ .socket = socket, .seconds = seconds, .fd = -1 };
}

void rpc_client_close(struct rpc_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	free(client->buf);
	client->fd = -1;
	client->buf = NULL;
}

bool rpc_client_connect(struct rpc_client *client)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const struct timeval limit = { .tv_sec = (time_t)client->seconds };

	if (strlen(client->socket) >= sizeof(addr.sun_path))
		return fail(client, "%s: the path is too long", client->socket);
	strcpy(addr.sun_path, client->socket);
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0)
		return fail(client, "socket: %s", strerror(errno));
	setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(client->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return true;
	fail(client, "%s: %s", client->socket, strerror(errno));
	rpc_client_close(client);
	return false;
}

/* ---- one call ---- */

static bool lost(struct rpc_client *client, int error)
{
	bool is_gone = error == EPIPE || error == ECONNRESET;

	rpc_client_close(client);
	return fail(client, "%s: %s", client->socket,
		    is_gone ? "the target has hung up (it may not take calls of this user)"
		    : error == EAGAIN ? "no answer in time"
				      : strerror(error));
}

static bool send_all(struct rpc_client *client, const char *text)
{
	size_t len = strlen(text), at = 0;

	while (at < len) {
		ssize_t n = send(client->fd, text + at, len - at, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return lost(client, errno);
		at += (size_t)n;
	}
	return true;
}

/* A line, without its end, into client->buf. */
static bool receive_line(struct rpc_client *client)
{
	client->len = 0;
	for (;;) {
		char *grown = realloc(client->buf, client->len + 65536);

		if (!grown)
			return fail(client, "out of memory");
		client->buf = grown;
		ssize_t n = recv(client->fd, client->buf + client->len, 65536, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return lost(client, n == 0 ? EPIPE : errno);
		client->len += (size_t)n;
		if (client->buf[client->len - 1] == '\n') {
			client->buf[--client->len] = '\0';
			return true;
		}
	}
}

static bool say_error(struct rpc_client *client, const char *method, const json_t *error)
{
	const char *message = json_string_value(json_object_get(error, "message"));
	const char *key = json_string_value(json_object_get(json_object_get(error, "data"), "key"));

	return fail(client, "%s: %s%s%s%s", method, message ? message : "it failed",
		    key ? " (parameter " : "", key ? key : "", key ? ")" : "");
}

bool rpc_client_call(struct rpc_client *client, const char *method, json_t *params, json_t **result)
{
	json_t *request = json_pack("{s:s,s:i,s:s,s:O}", "jsonrpc", "2.0", "id", 1, "method",
				    method, "params", params);
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	json_t *reply, *error;
	bool is_well;

	json_decref(request);
	if (!text)
		return fail(client, "%s: not UTF-8", method);
	is_well = send_all(client, text);
	free(text);
	if (!is_well || !receive_line(client))
		return false;
	reply = json_loadb(client->buf, client->len, 0, NULL);
	error = json_object_get(reply, "error");
	*result = json_incref(json_object_get(reply, "result"));
	if (error)
		is_well = say_error(client, method, error);
	else if (!*result)
		is_well = fail(client, "%s: the answer is no JSON-RPC", client->socket);
	json_decref(reply);
	return is_well;
}

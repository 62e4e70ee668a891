/* SPDX-License-Identifier: BSD-3-Clause */
/* Parameters of calls, checked as they are fetched. Numbers and sizes may also come as text. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <bellhop/parse.h>

#include "rpc/rpc.h"

/* A word for a socket, a name, a store: printable, and not without end. */
static bool check_text(struct rpc_call *call, const char *key, const char *text)
{
	if (text[0] == '\0' || strlen(text) > RPC_TEXT_MAX)
		return rpc_fail(call, RPC_INVALID_PARAMS, key, 0, "%s: expected 1 to %u bytes", key,
				RPC_TEXT_MAX);
	for (const char *c = text; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return rpc_fail(call, RPC_INVALID_PARAMS, key, 0, "%s: a control character",
					key);
	}
	return true;
}

bool rpc_text(struct rpc_call *call, const char *key, bool is_needed, const char **out)
{
	const json_t *value = json_object_get(call->params, key);

	*out = json_string_value(value);
	if (!value && !is_needed)
		return true;
	if (!value)
		return rpc_fail(call, RPC_INVALID_PARAMS, key, 0, "%s is missing", key);
	if (!*out)
		return rpc_fail(call, RPC_INVALID_PARAMS, key, 0, "%s: expected text", key);
	return check_text(call, key, *out);
}

bool rpc_word(struct rpc_call *call, const char *key, const json_t *value, char *out, size_t size)
{
	if (json_is_integer(value)) {
		snprintf(out, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return true;
	}
	if (!json_is_string(value))
		return rpc_fail(call, RPC_INVALID_PARAMS, key, 0, "%s: expected text or an integer",
				key);
	if (!check_text(call, key, json_string_value(value)))
		return false;
	snprintf(out, size, "%s", json_string_value(value));
	return true;
}

bool rpc_number(struct rpc_call *call, const char *key, uint64_t min, uint64_t max, uint64_t *out)
{
	const json_t *value = json_object_get(call->params, key);
	char word[RPC_TEXT_MAX + 1];

	if (!value)
		return rpc_fail(call, RPC_INVALID_PARAMS, key, 0, "%s is missing", key);
	if (!rpc_word(call, key, value, word, sizeof(word)))
		return false;
	if (bh_parse_u64(word, min, max, out) != 0)
		return rpc_fail(call, RPC_INVALID_PARAMS, key, 0,
				"%s: expected a number from %" PRIu64 " to %" PRIu64, key, min,
				max);
	return true;
}

bool rpc_size(struct rpc_call *call, const char *key, uint64_t *bytes)
{
	const json_t *value = json_object_get(call->params, key);
	char word[RPC_TEXT_MAX + 1];

	if (!value)
		return rpc_fail(call, RPC_INVALID_PARAMS, key, 0, "%s is missing", key);
	if (!rpc_word(call, key, value, word, sizeof(word)))
		return false;
	if (bh_parse_size(word, bytes) != 0)
		return rpc_fail(call, RPC_INVALID_PARAMS, key, 0,
				"%s: expected bytes, or a size such as 10G", key);
	return true;
}

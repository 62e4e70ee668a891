/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control plane: where texts end, and what they are answered with, by a target that is a fake
 * (fake_tgt.c) and has no file, socket or device.
 *
 * An input is a byte that says how the rest comes in pieces, and the rest: bytes of a client, or,
 * shorter, calls made of words that mean something. The same bytes cut differently must be the same
 * texts; every answer must be JSON-RPC 2.0 in one line; and at the end the configuration, saved and
 * carried out on an empty target, must be saved as the same again.
 */
#include "fake_tgt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rpc/rpc.h"

#define TEXTS 64u
#define BYTES (64u << 10)

/* ---- frames ---- */

struct texts {
	size_t begin[TEXTS], end[TEXTS];
	unsigned int count;
	int rc; /* what came last */
};

/* In pieces of `step` bytes and more; 0: in one. */
static void cut(const char *buf, size_t len, size_t step, struct texts *texts)
{
	struct rpc_frame frame = { 0 };
	size_t have = step && step < len ? step : len;

	texts->count = 0;
	while (texts->count < TEXTS) {
		texts->rc = rpc_frame_next(&frame, buf, have);
		FZ_CHECK(frame.at <= have && frame.begin <= frame.at);
		if (texts->rc < 0 || (texts->rc == 0 && have == len))
			return;
		if (texts->rc == 0) {
			have += len - have > step ? step++ : len - have;
			continue;
		}
		texts->begin[texts->count] = frame.begin;
		texts->end[texts->count++] = frame.begin = frame.at;
	}
}

static void check_same(const struct texts *a, const struct texts *b)
{
	FZ_CHECK(a->count == b->count && a->rc == b->rc);
	for (unsigned int i = 0; i < a->count; i++)
		FZ_CHECK(a->begin[i] == b->begin[i] && a->end[i] == b->end[i]);
}

/* ---- answers ---- */

static void check_reply(const json_t *reply)
{
	const json_t *error = json_object_get(reply, "error"), *id = json_object_get(reply, "id");
	const json_t *data = json_object_get(error, "data"), *key = json_object_get(data, "key");

	FZ_CHECK(json_is_object(reply) && json_object_size(reply) == 3);
	FZ_CHECK(json_string_value(json_object_get(reply, "jsonrpc")));
	FZ_CHECK(json_is_null(id) || json_is_string(id) || json_is_number(id));
	FZ_CHECK(!error == !!json_object_get(reply, "result"));
	if (!error)
		return;
	FZ_CHECK(json_integer_value(json_object_get(error, "code")) < 0);
	FZ_CHECK(json_string_length(json_object_get(error, "message")) > 0);
	FZ_CHECK(!data || json_is_object(data));
	FZ_CHECK(!key || json_is_string(key));
}

static void check_line(char *line, const char *text, size_t len)
{
	json_t *replies = line ? json_loads(line, 0, NULL) : NULL, *one;
	json_t *question = json_loadb(text, len, 0, NULL);
	size_t i;

	if (!line) /* notifications only: at least it was JSON */
		FZ_CHECK(question &&
			 (!json_is_object(question) || !json_object_get(question, "id")));
	else
		FZ_CHECK(replies && !strchr(line, '\n'));
	FZ_CHECK(!json_is_array(replies) || json_is_array(question));
	json_array_foreach(replies, i, one) check_reply(one);
	if (json_is_object(replies))
		check_reply(replies);
	json_decref(replies);
	json_decref(question);
	free(line);
}

/* ---- the configuration ---- */

static json_t *saved(struct bh_rpc *rpc)
{
	struct rpc_call call = { .rpc = rpc, .tgt = rpc->opts.tgt };

	FZ_CHECK(rpc_config_save(&call));
	return call.result;
}

static void check_again(struct bh_rpc *rpc)
{
	json_t *first = saved(rpc), *second, *one;
	struct bh_rpc again = { .opts = { .tgt = fake_tgt_new() } };
	char why[BH_TGT_WHY];
	size_t i;

	json_array_foreach(first, i, one)
	{
		if (rpc_repeat(&again, one, why) != 0) {
			fprintf(stderr, "fuzz: %s: %s\n", json_dumps(one, JSON_COMPACT), why);
			abort();
		}
	}
	second = saved(&again);
	if (!json_equal(first, second)) {
		fprintf(stderr, "fuzz: %s\nis not %s\n", json_dumps(first, JSON_COMPACT),
			json_dumps(second, JSON_COMPACT));
		abort();
	}
	json_decref(first);
	json_decref(second);
	fake_tgt_free(again.opts.tgt);
}

/* ---- calls in few bytes: what each needs, and up to 7 keys more ---- */

struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t take(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

static const struct {
	const char *name;
	const char *needs[3];
} methods[] = {
	{ "store.create", { "name", "store" } },
	{ "controller.create", { "type", "socket", "ns" } },
	{ "controller.create", { "type", "socket", "port" } },
	{ "controller.create", { "type", "socket", "subsys" } },
	{ "subsystem.create", { "name" } },
	{ "namespace.create", { "subsys", "store" } },
	{ "namespace.create", { "subsys", "size" } },
	{ "namespace.attach", { "controller", "store" } },
	{ "namespace.attach", { "controller", "nsid" } },
	{ "namespace.detach", { "controller", "nsid" } },
	{ "namespace.delete", { "subsys", "nsid" } },
	{ "controller.delete", { "name" } },
	{ "store.delete", { "name" } },
	{ "subsystem.delete", { "name" } },
	{ "store.resize", { "name", "size" } },
	{ "namespace.list", { "subsys" } },
	{ "controller.list", { NULL } },
	{ "store.list", { NULL } },
	{ "subsystem.list", { NULL } },
	{ "config.save", { NULL } },
	{ "stats", { NULL } },
	{ "log.list", { NULL } },
	{ "log.set", { "level" } },
	{ "stop", { NULL } },
};
static const char *const keys[] = {
	"name", "store",  "type",  "socket", "ns",    "subsys",	   "controller", "nsid",
	"size", "serial", "model", "queues", "depth", "cores",	   "dstrd",	 "doorbells",
	"mdts", "cmb",	  "port",  "mac",    "mtu",   "rings",	   "bs",	 "private",
	"uuid", "offset", "nqn",   "cap",    "pool",  "component", "level",	 "wrong",
};
static const char *const values[] = {
	"\"a\"",
	"\"b\"",
	"\"s\"",
	"\"c\"",
	"\"nvme\"",
	"\"net\"",
	"\"@a\"",
	"\"@b\"",
	"\"ram:1M\"",
	"\"null:4K:bs=4096\"",
	"\"file:/x\\\\,y\\\\:z:1M\"",
	"\"loopback\"",
	"\"tap:t0\"",
	"\"pair:p\"",
	"1",
	"2",
	"4096",
	"\"1M\"",
	"\"64K\"",
	"true",
	"false",
	"null",
	"[\"@a\",\"ram:1M:nsid=5\"]",
	"\"0+1\"",
	"\"trapped\"",
	"\"split\"",
	"\"02:00:00:00:00:01\"",
	"\"nqn.2026-01.io.x:y\"",
	"\"12345678-1234-1234-1234-123456789abc\"",
	"7",
	"-1",
	"{}",
	"\"debug\"",
	"\"\\u00e4\\\\\"",
};

#define PICK(table, n) ((table)[(n) % (sizeof(table) / sizeof((table)[0]))])

static size_t put_call(struct input *in, char *out, size_t size)
{
	uint8_t what = take(in), n = take(in) % 8;
	const char *const *needs = PICK(methods, what & 0x7f).needs;
	size_t len =
		(size_t)snprintf(out, size, "{\"jsonrpc\":\"2.0\",%s\"method\":\"%s\",\"params\":{",
				 what & 0x80 ? "" : "\"id\":1,", PICK(methods, what & 0x7f).name);

	for (unsigned int i = 0; i < 3 + n; i++) {
		const char *key = i >= 3 ? PICK(keys, take(in)) : needs[i];

		if (key)
			len += (size_t)snprintf(out + len, size - len, "%s\"%s\":%s",
						out[len - 1] == '{' ? "" : ",", key,
						PICK(values, take(in)));
	}
	return len + (size_t)snprintf(out + len, size - len, "}}");
}

static size_t put_calls(struct input *in, char *out, size_t size)
{
	size_t len = 0;

	while (in->left && len + 1024 < size)
		len += put_call(in, out + len, size - len);
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char buf[BYTES];
	struct input in = { data, size };
	struct bh_rpc rpc = { .opts = { .tgt = fake_tgt_new() } };
	uint8_t how = take(&in);
	struct texts whole, pieces;
	size_t len = in.left < BYTES ? in.left : BYTES;

	if (how & 0x80)
		len = put_calls(&in, buf, BYTES);
	else if (len)
		memcpy(buf, in.at, len);
	cut(buf, len, 0, &whole);
	cut(buf, len, 1 + (how & 0x7f), &pieces);
	check_same(&whole, &pieces);
	for (unsigned int i = 0; i < whole.count; i++) {
		const char *text = buf + whole.begin[i];
		size_t bytes = whole.end[i] - whole.begin[i];

		struct rpc_job *job;

		check_line(rpc_answer(&rpc, text, bytes, &job), text, bytes);
		FZ_CHECK(!job); /* nothing waits here */
	}
	check_again(&rpc);
	fake_tgt_free(rpc.opts.tgt);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds the end of a JSON text in a stream without parsing it: brackets are counted, strings are
 * stepped over. Each byte is looked at once however the text is cut into pieces. What lies between
 * the brackets is the parser's to judge.
 */
#include <errno.h>

#include "rpc/rpc.h"

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void string_step(struct rpc_frame *frame, char c)
{
	if (frame->is_escaped)
		frame->is_escaped = false;
	else if (c == '\\')
		frame->is_escaped = true;
	else if (c == '"')
		frame->is_in_string = false;
}

int rpc_frame_next(struct rpc_frame *frame, const char *buf, size_t len)
{
	while (frame->at < len) {
		char c = buf[frame->at++];

		if (frame->is_in_string) {
			string_step(frame, c);
		} else if (c == '{' || c == '[') {
			if (frame->depth == 0)
				frame->begin = frame->at - 1;
			if (++frame->depth > RPC_DEPTH_MAX)
				return -EPROTO;
		} else if (frame->depth == 0) {
			if (!is_space(c))
				return -EPROTO;
			frame->begin = frame->at;
		} else if (c == '}' || c == ']') {
			if (--frame->depth == 0)
				return 1;
		} else if (c == '"') {
			frame->is_in_string = true;
		}
	}
	return 0;
}

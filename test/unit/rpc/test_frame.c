/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a JSON text ends, however it comes in pieces, and what is none. */
#include <errno.h>
#include <string.h>

#include "rpc/rpc.h"
#include "unit.h"

/* The first text of a buffer that grows by `step` bytes at a time: its length, or the error. */
static int first_of(const char *buf, size_t len, size_t step, const char **begin)
{
	struct rpc_frame frame = { 0 };
	size_t have = 0;
	int rc = 0;

	while (rc == 0 && have < len) {
		have = have + step < len ? have + step : len;
		rc = rpc_frame_next(&frame, buf, have);
	}
	*begin = buf + frame.begin;
	return rc > 0 ? (int)(frame.at - frame.begin) : rc;
}

static void texts_end_where_they_end(void)
{
	static const struct {
		const char *buf, *text;
	} cases[] = {
		{ "{}", "{}" },
		{ "[]{}", "[]" },
		{ " \r\n\t{\"a\":[1,{}]} [", "{\"a\":[1,{}]}" },
		{ "{\"}\":\"{[\"}x", "{\"}\":\"{[\"}" },
		{ "[\"\\\"]\",\"\\\\\"]]", "[\"\\\"]\",\"\\\\\"]" },
		{ "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]", "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]" },
		{ "{]", "{]" }, /* the parser's to refuse */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t step = 1; step < 8; step++) {
			const char *begin;
			int len = first_of(cases[i].buf, strlen(cases[i].buf), step, &begin);

			CU_ASSERT_EQUAL_FATAL(len, (int)strlen(cases[i].text));
			CU_ASSERT_EQUAL(memcmp(begin, cases[i].text, (size_t)len), 0);
		}
	}
}

static void halves_are_waited_for(void)
{
	static const char *const cases[] = { "", "  \n", "{", "[\"]", "{\"a\":\"\\\"}", "[[]" };
	const char *begin;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CU_ASSERT_EQUAL(first_of(cases[i], strlen(cases[i]), 1, &begin), 0);
}

static void what_is_no_text_is_eproto(void)
{
	static const char *const cases[] = { "x", " 5",	    "\"{}\"",		"}",
					     "]", "\x01{}", "[[[[[[[[[[[[[[[[[" };
	const char *begin;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CU_ASSERT_EQUAL(first_of(cases[i], strlen(cases[i]), 1, &begin), -EPROTO);
	CU_ASSERT_EQUAL(first_of("\0{}", 3, 1, &begin), -EPROTO);
}

/* One after another in one buffer, as a connection goes through them. */
static void texts_follow_each_other(void)
{
	const char *buf = "{\"a\":1}[2]\n{}";
	struct rpc_frame frame = { 0 };
	const char *const texts[] = { "{\"a\":1}", "[2]", "{}" };

	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL_FATAL(rpc_frame_next(&frame, buf, strlen(buf)), 1);
		CU_ASSERT_EQUAL(frame.at - frame.begin, strlen(texts[i]));
		CU_ASSERT_EQUAL(memcmp(buf + frame.begin, texts[i], strlen(texts[i])), 0);
		frame.begin = frame.at;
	}
	CU_ASSERT_EQUAL(rpc_frame_next(&frame, buf, strlen(buf)), 0);
}

BH_SUITE("frame", { "texts_end_where_they_end", texts_end_where_they_end },
	 { "halves_are_waited_for", halves_are_waited_for },
	 { "what_is_no_text_is_eproto", what_is_no_text_is_eproto },
	 { "texts_follow_each_other", texts_follow_each_other })

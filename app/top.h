/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of bh-top share: samples become rates, rates become lines. */
#ifndef APP_TOP_H
#define APP_TOP_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

/* How much is shown of a controller. */
enum top_detail {
	TOP_CONTROLLERS,
	TOP_NAMESPACES,
	TOP_QUEUES,
	TOP_DETAILS, /* how many there are */
};

/*
 * top_rates.c: what happened between two results of `stats`, as doc/json/bh-top.json has it. What is
 * in the second alone began at nothing. NULL: they are no such results.
 */
json_t *top_rates(const json_t *before, const json_t *now);

/* top_text.c */

struct top_screen {
	unsigned int columns, rows; /* 0: as many as it takes */
	bool is_terminal;	    /* lines are overwritten in place; headings stand out */
};

/*
 * Appends the text of an interval to *out (to be freed): a heading with `socket`, threads,
 * controllers. False: out of memory.
 */
bool top_text(const json_t *rates, const char *socket, enum top_detail detail,
	      const struct top_screen *screen, char **out, size_t *len);

#endif

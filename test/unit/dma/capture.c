/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "capture.h"

static void capture_write(void *ctx, enum bh_log_level level, const char *component,
			  const char *line)
{
	struct capture *c = ctx;
	size_t at = strlen(c->text);

	c->count[level]++;
	snprintf(c->text + at, sizeof(c->text) - at, "%s: %s\n", component, line);
}

void capture_init(struct capture *c)
{
	memset(c, 0, sizeof(*c));
	c->log.write = capture_write;
	c->log.ctx = c;
	c->log.level = BH_LOG_DEBUG;
}

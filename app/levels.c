/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log's own level is the highest of all, so that nothing is formatted that nobody wants; what one
 * component says more than it is asked for is dropped here.
 */
#include "levels.h"

#include <errno.h>
#include <string.h>

/* What a target is made of. */
static const char *const components[LEVELS_MAX] = {
	"bellhop",     "blk",  "blk-nvme", "cmem", "dma", "nbd",  "net",       "nvme",
	"nvme-target", "poll", "rbd",	   "rpc",  "tgt", "vfio", "vfio-user", "vfu",
};

static int find(const char *component)
{
	for (int i = 0; i < LEVELS_MAX && components[i]; i++) {
		if (strcmp(components[i], component) == 0)
			return i;
	}
	return -1;
}

static int level_of(const struct levels *levels, int i)
{
	int level = i < 0 ? -1 : __atomic_load_n(&levels->level[i], __ATOMIC_RELAXED);

	return level < 0 ? __atomic_load_n(&levels->others, __ATOMIC_RELAXED) : level;
}

static void write_log(void *ctx, enum bh_log_level level, const char *component, const char *line)
{
	const struct levels *levels = ctx;

	if ((int)level <= level_of(levels, find(component)))
		levels->app->log.write(levels->app->log.ctx, level, component, line);
}

void levels_init(struct levels *levels, struct app *app)
{
	levels->app = app;
	levels->others = (int)app->log.level;
	memset(levels->level, -1, sizeof(levels->level));
	levels->log = (struct bh_log){ .write = write_log, .ctx = levels, .level = app->log.level };
}

int levels_set(struct levels *levels, const char *component, enum bh_log_level level)
{
	int at = component ? find(component) : -1, highest;

	if (component && at < 0)
		return -ENOENT;
	if (component)
		__atomic_store_n(&levels->level[at], (int)level, __ATOMIC_RELAXED);
	for (int i = 0; !component && i < LEVELS_MAX; i++)
		__atomic_store_n(&levels->level[i], -1, __ATOMIC_RELAXED);
	if (!component)
		__atomic_store_n(&levels->others, (int)level, __ATOMIC_RELAXED);
	highest = levels->others;
	for (int i = 0; i < LEVELS_MAX; i++)
		highest = levels->level[i] > highest ? levels->level[i] : highest;
	__atomic_store_n(&levels->log.level, (enum bh_log_level)highest, __ATOMIC_RELAXED);
	return 0;
}

int levels_get(const struct levels *levels, unsigned int i, const char **component)
{
	if (i >= LEVELS_MAX || !components[i])
		return -ENOENT;
	*component = components[i];
	return level_of(levels, (int)i);
}

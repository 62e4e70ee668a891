/* SPDX-License-Identifier: BSD-3-Clause */
/* Log levels that are changed while a program runs, of single components or of all. */
#ifndef APP_LEVELS_H
#define APP_LEVELS_H

#include "common.h"

#define LEVELS_MAX 24

struct levels {
	struct bh_log log; /* for the libraries, in place of app->log */
	struct app *app;
	int level[LEVELS_MAX]; /* by component; __atomic; -1: that of the others */
	int others;	       /* __atomic */
};

/* All as app->log is. */
void levels_init(struct levels *levels, struct app *app);
/* component NULL: all of them. -ENOENT: nothing of this program logs by that name. Any one thread. */
int levels_set(struct levels *levels, const char *component, enum bh_log_level level);
/* The level of the i-th component, and its name; -ENOENT: there are not so many. Any thread. */
int levels_get(const struct levels *levels, unsigned int i, const char **component);

#endif

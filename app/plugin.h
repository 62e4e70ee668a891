/* SPDX-License-Identifier: BSD-3-Clause */
/* Plug-ins of the target program: store types beyond those that it has. */
#ifndef APP_PLUGIN_H
#define APP_PLUGIN_H

#include <bellhop/blk.h>

#include "common.h"

#define PLUGIN_TYPES 32

/* Rows ended by NULL, as bh_tgt_opts wants them. */
struct plugin_table {
	const struct bh_blk_type *type[PLUGIN_TYPES + 1];
	unsigned int count;
};

void plugin_table_init(struct plugin_table *table, const struct bh_blk_type *const *types);

/*
 * Loads one and adds its types. A NAME is looked for as ../lib/bellhop/NAME.so, seen from where
 * this program lies; an absolute path is taken as it is. -1: go on; else the exit code, the reason
 * said.
 */
int plugin_load(const struct app *app, const char *name, struct plugin_table *table);

#endif

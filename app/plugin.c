/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loading plug-ins.
 *
 * A plug-in runs with all that the target may do, root's rights included, so it must be a file that
 * nobody could have put there who could not have replaced the target itself: it and every directory
 * above it belong to root, to who runs this, or to whom this program belongs, and nobody else may
 * write there (a directory with the sticky bit, such as /tmp, counts as such).
 *
 * Both sides say which interface they were made for, and how large the structures are that they
 * share: a plug-in of another version is refused, not tried.
 */
#include "plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bellhop/plugin.h>

static const struct bh_plugin_host host = {
	.abi = BH_PLUGIN_ABI,
	.version = BH_VERSION,
	.blk_init = bh_blk_init,
	.blk_fini = bh_blk_fini,
	.blk_check = bh_blk_check,
	.chan_complete = bh_blk_chan_complete,
	.log = bh_log,
};

void plugin_table_init(struct plugin_table *table, const struct bh_blk_type *const *types)
{
	memset(table, 0, sizeof(*table));
	while (types[table->count] && table->count < PLUGIN_TYPES) {
		table->type[table->count] = types[table->count];
		table->count++;
	}
}

/* ---- where it lies ---- */

static int find(const struct app *app, const char *name, char path[PATH_MAX])
{
	char wanted[PATH_MAX + 32], self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (strchr(name, '/')) {
		if (name[0] != '/')
			return app_usage(app, "--plugin %s: expected a name or an absolute path",
					 name);
		snprintf(wanted, sizeof(wanted), "%.*s", PATH_MAX, name);
	} else {
		if (!name[0] || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-")])
			return app_usage(app, "--plugin %s: no name of a plug-in", name);
		self[len > 0 ? len : 0] = '\0';
		slash = strrchr(self, '/');
		snprintf(wanted, sizeof(wanted), "%.*s/../lib/bellhop/%.64s.so",
			 slash ? (int)(slash - self) : 0, self, name);
	}
	if (realpath(wanted, path))
		return -1;
	if (errno != ENOENT)
		return app_fail(app, 1, "--plugin %s: %s: %s", name, wanted, strerror(errno));
	return app_fail(app, 1, "--plugin %s: there is no %s%s", name, wanted,
			strchr(name, '/') ? "" : " (built only where the library it is for is)");
}

/* Who may have written it? NULL: nobody who matters. */
static const char *mistrust(const struct stat *st, uid_t owner)
{
	bool is_shared = st->st_mode & (S_IWGRP | S_IWOTH);

	if (st->st_uid != 0 && st->st_uid != geteuid() && st->st_uid != owner)
		return "belongs to somebody else";
	if (is_shared && !(S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX))
		return "can be written by others";
	return NULL;
}

static int check_path(const struct app *app, const char *name, const char *path)
{
	char part[PATH_MAX];
	struct stat st;
	uid_t owner = stat("/proc/self/exe", &st) ? 0 : st.st_uid;

	snprintf(part, sizeof(part), "%s", path);
	for (;;) {
		const char *why;
		char *slash;

		if (stat(part, &st))
			return app_fail(app, 1, "--plugin %s: %s: %s", name, part, strerror(errno));
		if (strcmp(part, path) == 0 && !S_ISREG(st.st_mode))
			return app_fail(app, 1, "--plugin %s: %s is not a file", name, part);
		why = mistrust(&st, owner);
		if (why)
			return app_fail(app, 1, "--plugin %s: not loaded: %s %s", name, part, why);
		if (strcmp(part, "/") == 0)
			return -1;
		slash = strrchr(part, '/');
		slash[slash == part] = '\0';
	}
}

/* ---- what it is ---- */

static int add_types(const struct app *app, const char *name, const struct bh_plugin *plugin,
		     struct plugin_table *table)
{
	for (const struct bh_blk_type *const *type = plugin->types; *type; type++) {
		for (unsigned int i = 0; i < table->count; i++) {
			if (strcmp(table->type[i]->name, (*type)->name) == 0)
				return app_fail(
					app, 1,
					"--plugin %s: there are stores of type '%s' already", name,
					(*type)->name);
		}
		if (table->count == PLUGIN_TYPES)
			return app_fail(app, 1, "--plugin %s: too many types of stores", name);
		table->type[table->count++] = *type;
	}
	return -1;
}

static int check_plugin(const struct app *app, const char *name, const struct bh_plugin *plugin)
{
	static const struct bh_plugin_sizes sizes = BH_PLUGIN_SIZES;

	if (!plugin || plugin->abi != BH_PLUGIN_ABI ||
	    memcmp(&plugin->sizes, &sizes, sizeof(sizes)) != 0)
		return app_fail(app, 1,
				"--plugin %s: made for another version of Bellhop (this is %s, "
				"interface %u)",
				name, BH_VERSION, BH_PLUGIN_ABI);
	return -1;
}

int plugin_load(const struct app *app, const char *name, struct plugin_table *table)
{
	const struct bh_plugin *(*entry)(const struct bh_plugin_host *, uint32_t);
	const struct bh_plugin *plugin;
	char path[PATH_MAX];
	void *object;
	int code = find(app, name, path);

	if (code < 0)
		code = check_path(app, name, path);
	if (code >= 0)
		return code;
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!object)
		return app_fail(app, 1, "--plugin %s: %s", name, dlerror());
	*(void **)&entry = dlsym(object, "bh_plugin");
	if (!entry)
		return app_fail(app, 1, "--plugin %s: %s is no plug-in: it has no bh_plugin()",
				name, path);
	plugin = entry(&host, BH_PLUGIN_ABI);
	code = check_plugin(app, name, plugin);
	if (code < 0)
		bh_log(&app->log, BH_LOG_INFO, "plugin", "%s: %s", path, plugin->about);
	return code < 0 ? add_types(app, name, plugin, table) : code;
}

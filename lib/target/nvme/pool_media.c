/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Formats of namespaces that are slices of a subsystem's pool, and where their metadata are.
 *
 * A pool in memory has place for metadata in memory. Beside one in a file they have a file of their
 * own, next to the subsystem's state and with the namespace's UUID in its name: PATH.UUID.bhmd. It
 * remembers the format, and has the last word on it; else the state has. A namespace that is zeroed
 * begins with a new one, and takes it along when it is deleted. What a target that was killed has
 * left of namespaces that it was about to make, or to delete, the next one sweeps out.
 */
#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "target/nvme/control.h"
#include "target/nvme/subsys.h"

#define SUFFIX ".bhmd"
#define UUID_TEXT 36u

void tn_pool_like(const struct bh_target_subsys *subsys, struct bh_blk *like)
{
	uint32_t block = bh_blk_info(subsys->pool)->block_size;

	*like = (struct bh_blk){
		.info.block_size = block,
		.info.format.block_size = block,
		.bytes = subsys->capacity,
		.beside = bh_blk_slice_beside(subsys->pool, tn_subsys_is_persistent(subsys)),
		.min_block = block,
	};
}

/* NULL, with no error: it has none. */
static int path_of(const struct bh_target_subsys *subsys, const uint8_t uuid[16], char **out)
{
	char text[UUID_TEXT + 1];

	*out = NULL;
	if (!subsys->state_path)
		return 0;
	uuid_unparse_lower(uuid, text);
	if (asprintf(out, "%s.%s" SUFFIX, subsys->state_path, text) >= 0)
		return 0;
	*out = NULL;
	return -ENOMEM;
}

static int make_format(struct bh_blk *slice, const struct bh_blk_format *format)
{
	struct blk_media *media = NULL;
	int rc = bh_blk_format_prepare(slice, format, &media);

	return rc ? rc : bh_blk_format_commit(slice, media);
}

static int dress(const struct bh_target_subsys *subsys, struct bh_blk *slice,
		 const struct bh_target_subsys_ns_opts *o)
{
	const struct bh_blk_format format = { .block_size = o->block_size,
					      .md_bytes = o->md_bytes,
					      .pi = o->pi,
					      .pi_first = o->pi_first,
					      .interleaved = o->interleaved };
	const struct bh_blk_spec spec = { .block_size = o->block_size };
	bool has_file = slice->beside == BH_BLK_BESIDE_FILE;
	char why[256];
	int rc;

	if (has_file && !o->has_offset)
		unlink(slice->media_path);
	if (has_file && (access(slice->media_path, F_OK) == 0 || errno != ENOENT)) {
		rc = bh_blk_media_open(slice, &spec, why);
		if (rc)
			bh_log(subsys->log, BH_LOG_ERROR, TN_LOG, "%s: %s", subsys->nqn, why);
		return rc;
	}
	return o->md_bytes ? make_format(slice, &format) : 0;
}

int tn_pool_slice(const struct bh_target_subsys *subsys, uint64_t first,
		  const struct bh_target_subsys_ns_opts *o, struct bh_blk **out)
{
	char name[64], *path;
	int rc = path_of(subsys, o->uuid, &path);

	if (rc)
		return rc;
	snprintf(name, sizeof(name), "pool+%llu", (unsigned long long)first);
	rc = bh_blk_slice_create(subsys->pool, first, o->bytes, o->block_size, name, path, out);
	free(path);
	if (rc)
		return rc;
	rc = dress(subsys, *out, o);
	if (rc)
		bh_blk_put(*out);
	return rc;
}

void tn_pool_forget(const struct bh_blk *slice)
{
	if (slice->beside == BH_BLK_BESIDE_FILE)
		unlink(slice->media_path);
}

/* BASE.UUID.bhmd, or what a format left of it that was being made. */
static bool is_ours(const char *name, const char *base, uuid_t uuid, bool *is_new)
{
	size_t len = strlen(base);
	char text[UUID_TEXT + 1];

	if (strncmp(name, base, len) != 0 || name[len] != '.' ||
	    strlen(name + len + 1) < UUID_TEXT)
		return false;
	memcpy(text, name + len + 1, UUID_TEXT);
	text[UUID_TEXT] = '\0';
	name += len + 1 + UUID_TEXT;
	*is_new = strcmp(name, SUFFIX ".new") == 0;
	return (*is_new || strcmp(name, SUFFIX) == 0) && uuid_parse(text, uuid) == 0;
}

void tn_pool_sweep(struct bh_target_subsys *subsys,
		   bool (*is_kept)(struct bh_target_subsys *subsys, const uint8_t uuid[16]))
{
	char *copy = strdup(subsys->state_path), *base = strdup(subsys->state_path);
	DIR *dir = copy && base ? opendir(dirname(copy)) : NULL;
	const struct dirent *entry;
	bool is_new;
	uuid_t uuid;

	while (dir && (entry = readdir(dir)))
		if (is_ours(entry->d_name, basename(base), uuid, &is_new) &&
		    (is_new || !is_kept(subsys, uuid)))
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	free(copy);
	free(base);
}

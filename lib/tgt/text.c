/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SPECs the other way round: copies to be kept, and words that would describe the same store again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uuid/uuid.h>

#include "tgt/tgt.h"

static int copy_text(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

int tgt_store_spec_copy(struct bh_tgt_store_spec *to, const struct bh_tgt_store_spec *from)
{
	*to = *from;
	to->arg = NULL;
	if (copy_text(&to->type, from->type) == 0 && copy_text(&to->arg, from->arg) == 0)
		return 0;
	bh_tgt_store_spec_fini(to);
	return -ENOMEM;
}

int tgt_spec_copy(struct bh_tgt_spec *to, const struct bh_tgt_spec *from)
{
	*to = *from;
	to->num_stores = 0;
	to->name = to->alias = to->serial = to->model = to->port = to->port_arg = NULL;
	to->subsys = to->nqn = NULL;
	if (copy_text(&to->port, from->port) == 0 &&
	    copy_text(&to->port_arg, from->port_arg) == 0 &&
	    copy_text(&to->subsys, from->subsys) == 0 && copy_text(&to->nqn, from->nqn) == 0 &&
	    copy_text(&to->name, from->name) == 0 && copy_text(&to->alias, from->alias) == 0 &&
	    copy_text(&to->serial, from->serial) == 0 && copy_text(&to->model, from->model) == 0)
		return 0;
	bh_tgt_spec_fini(to);
	return -ENOMEM;
}

/* Text with a backslash before whatever the grammar would take for its own. */
static size_t put_quoted(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++) {
		if (strchr("\\,:?", *text) && n + 1 < size)
			out[n++] = '\\';
		if (n + 1 < size)
			out[n++] = *text;
	}
	out[n] = '\0';
	return n;
}

/* A URI is known by its beginning, which therefore stays as it is. */
static int put_uri(char *out, size_t size, const char *uri)
{
	size_t begin = strcspn(uri, ":");
	int n = snprintf(out, size, "%.*s:", (int)begin, uri);

	if (!uri[begin] || n < 0 || (size_t)n >= size)
		return n;
	return n + (int)put_quoted(out + n, size - (size_t)n, uri + begin + 1);
}

void bh_tgt_port_text(const struct bh_tgt_spec *spec, char *out, size_t size)
{
	char arg[BH_TGT_STORE_TEXT - 128];

	put_quoted(arg, sizeof(arg), spec->port_arg);
	snprintf(out, size, "%s%s%s", spec->port, arg[0] ? ":" : "", arg);
}

/* One more option behind n bytes of text, unless it is 0. The new n. */
static int put_number(char *out, size_t size, int n, const char *format, unsigned int value)
{
	if (!value || n < 0 || (size_t)n >= size)
		return n;
	return n + snprintf(out + n, size - (size_t)n, format, value);
}

void bh_tgt_store_text(const struct bh_tgt_store_spec *spec, const struct bh_blk_info *now,
		       const uint8_t uuid[16], char *out, size_t size)
{
	/* The format is the host's to change; what it is now is what another start has to make. */
	uint32_t block = now && now->format.block_size ? now->format.block_size : spec->block_size;
	uint16_t md = now && now->format.block_size ? now->format.md_bytes : spec->md_bytes;
	uint8_t pi = now && now->format.block_size ? now->format.pi : spec->pi;
	unsigned long long bytes = now ? now->blocks * now->block_size : spec->bytes;
	char arg[BH_TGT_STORE_TEXT - 128], id[UUID_STR_LEN];
	int n;

	put_quoted(arg, sizeof(arg), spec->arg);
	if (!spec->type) {
		snprintf(out, size, "@%s", arg);
		return;
	}
	if (strcmp(spec->type, "null") == 0 || strcmp(spec->type, "ram") == 0)
		n = snprintf(out, size, "%s:%llu", spec->type, bytes);
	else if (strcmp(spec->type, "file") == 0)
		n = snprintf(out, size, "file:%s:%llu", arg, bytes);
	else if (strcmp(spec->type, "nbd") == 0)
		n = put_uri(out, size, spec->arg);
	else
		n = snprintf(out, size, "%s:%s", spec->type, arg);
	n = put_number(out, size, n, ":bs=%u", block == 512 ? 0 : block);
	n = put_number(out, size, n, ":ms=%u", md);
	n = put_number(out, size, n, ":pi=%u", pi);
	if (spec->zoned.bytes && n >= 0 && (size_t)n < size)
		n += snprintf(out + n, size - (size_t)n, ":zoned=%llu/%llu/%u/%u",
			      (unsigned long long)spec->zoned.bytes,
			      (unsigned long long)spec->zoned.capacity, spec->zoned.max_open,
			      spec->zoned.max_active);
	if (!uuid && spec->has_uuid)
		uuid = spec->uuid;
	if (!uuid || n < 0 || (size_t)n >= size)
		return;
	uuid_unparse_lower(uuid, id);
	snprintf(out + n, size - (size_t)n, ":uuid=%s", id);
}

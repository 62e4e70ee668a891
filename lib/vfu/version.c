/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VERSION: four bytes and an optional JSON object.
 *
 * The text comes from a peer that is not trusted yet, so every number is checked in 64 bits against
 * the range of its meaning before it is narrowed, and a key given twice is an error instead of a
 * question of which one wins. Encoding is by hand: the text is fixed but for a few numbers, and it
 * must be short, because QEMU reads a reply into the buffer its own request came from.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "vfu/vfu.h"

#define MAX_MSG_FDS_LIMIT 1024 /* no kernel passes more than 253; the reference server's bound */
#define PAGE_LOW_BITS 0xfffu   /* a page size below 4 KiB means the peer is confused */

void vfu_caps_default(struct vfu_caps *caps)
{
	memset(caps, 0, sizeof(*caps));
	caps->max_msg_fds = 1;
	caps->max_data_xfer = 1024u * 1024u;
	caps->max_dma_maps = 65535;
	caps->pgsizes = 4096;
	caps->twin_fd_index = -1;
}

static void append(char *text, size_t len, size_t *used, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void append(char *text, size_t len, size_t *used, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(*used < len ? text + *used : NULL, *used < len ? len - *used : 0, fmt, ap);
	va_end(ap);
	*used += n > 0 ? (size_t)n : 0;
}

int vfu_version_encode(uint16_t major, uint16_t minor, const struct vfu_caps *caps, bool is_reply,
		       void *buf, size_t len)
{
	const struct vfu_version version = { .major = major, .minor = minor };
	size_t used = 0, room;
	char *text;

	if (len < sizeof(version))
		return -ENOSPC;
	memcpy(buf, &version, sizeof(version));
	text = (char *)buf + sizeof(version);
	room = len - sizeof(version);

	append(text, room, &used,
	       "{\"capabilities\":{\"max_msg_fds\":%" PRIu32 ",\"max_data_xfer_size\":%" PRIu64
	       ",\"max_dma_maps\":%" PRIu32 ",\"pgsizes\":%" PRIu64,
	       caps->max_msg_fds, caps->max_data_xfer, caps->max_dma_maps, caps->pgsizes);
	if (caps->write_multiple)
		append(text, room, &used, ",\"write_multiple\":true");
	if (caps->twin_socket && is_reply && caps->twin_fd_index >= 0)
		append(text, room, &used,
		       ",\"twin_socket\":{\"supported\":true,\"fd_index\":%" PRId32 "}",
		       caps->twin_fd_index);
	else if (caps->twin_socket && !is_reply)
		append(text, room, &used, ",\"twin_socket\":{\"supported\":true}");
	if (caps->has_migration)
		append(text, room, &used,
		       ",\"migration\":{\"pgsize\":%" PRIu64 ",\"max_bitmap_size\":%" PRIu64 "}",
		       caps->migration_pgsize, caps->max_bitmap_size);
	append(text, room, &used, "}}");

	if (used + 1 > room) /* the NUL is part of the message */
		return -ENOSPC;
	return (int)(sizeof(version) + used + 1);
}

/* A member that must be an integer in [min, max] when it is there. */
static int get_number(const json_t *object, const char *key, uint64_t min, uint64_t max,
		      uint64_t *value)
{
	const json_t *member = json_object_get(object, key);
	json_int_t n;

	if (!member)
		return 0;
	if (!json_is_integer(member))
		return -EINVAL;
	n = json_integer_value(member);
	if (n < 0 || (uint64_t)n < min || (uint64_t)n > max)
		return -EINVAL;
	*value = (uint64_t)n;
	return 0;
}

static int get_bool(const json_t *object, const char *key, bool *value)
{
	const json_t *member = json_object_get(object, key);

	if (!member)
		return 0;
	if (!json_is_boolean(member))
		return -EINVAL;
	*value = json_is_true(member);
	return 0;
}

static const char *parse_twin_socket(const json_t *twin, struct vfu_caps *caps)
{
	uint64_t index = UINT64_MAX;

	if (!json_is_object(twin))
		return "twin_socket is not an object";
	if (get_bool(twin, "supported", &caps->twin_socket) != 0)
		return "twin_socket.supported is not a boolean";
	if (get_number(twin, "fd_index", 0, MAX_MSG_FDS_LIMIT, &index) != 0)
		return "twin_socket.fd_index is not a small number";
	if (index != UINT64_MAX)
		caps->twin_fd_index = (int32_t)index;
	return NULL;
}

static const char *parse_migration(const json_t *migration, struct vfu_caps *caps)
{
	if (!json_is_object(migration))
		return "migration is not an object";
	if (get_number(migration, "pgsize", 1, INT64_MAX, &caps->migration_pgsize) != 0 ||
	    (caps->migration_pgsize & PAGE_LOW_BITS) != 0)
		return "migration.pgsize is not a page size";
	if (get_number(migration, "max_bitmap_size", 0, INT64_MAX, &caps->max_bitmap_size) != 0)
		return "migration.max_bitmap_size is not a size";
	caps->has_migration = true;
	return NULL;
}

static const char *parse_limits(const json_t *object, struct vfu_caps *caps)
{
	uint64_t fds = caps->max_msg_fds, maps = caps->max_dma_maps;

	if (get_number(object, "max_msg_fds", 0, MAX_MSG_FDS_LIMIT, &fds) != 0)
		return "max_msg_fds is not a number from 0 to 1024";
	if (get_number(object, "max_data_xfer_size", 1, INT64_MAX, &caps->max_data_xfer) != 0)
		return "max_data_xfer_size is not a positive number";
	if (get_number(object, "max_dma_maps", 0, UINT32_MAX, &maps) != 0)
		return "max_dma_maps is not a number of 32 bits";
	if (get_number(object, "pgsizes", 1, INT64_MAX, &caps->pgsizes) != 0 ||
	    (caps->pgsizes & PAGE_LOW_BITS) != 0)
		return "pgsizes is not a set of page sizes";
	caps->max_msg_fds = (uint32_t)fds;
	caps->max_dma_maps = (uint32_t)maps;
	return NULL;
}

static const char *parse_capabilities(const json_t *object, struct vfu_caps *caps)
{
	const json_t *member;
	const char *why;

	if (!json_is_object(object))
		return "capabilities is not an object";
	why = parse_limits(object, caps);
	if (why)
		return why;
	if (get_bool(object, "write_multiple", &caps->write_multiple) != 0)
		return "write_multiple is not a boolean";
	member = json_object_get(object, "twin_socket");
	if (member)
		why = parse_twin_socket(member, caps);
	if (why)
		return why;
	member = json_object_get(object, "migration");
	return member ? parse_migration(member, caps) : NULL;
}

int vfu_version_decode(const void *body, size_t len, uint16_t *major, uint16_t *minor,
		       struct vfu_caps *caps, const char **why)
{
	struct vfu_version version;
	const json_t *member;
	const char *text;
	json_t *root;

	vfu_caps_default(caps);
	*why = NULL;
	if (len < sizeof(version)) {
		*why = "shorter than a version";
		return -EINVAL;
	}
	memcpy(&version, body, sizeof(version));
	*major = version.major;
	*minor = version.minor;
	text = (const char *)body + sizeof(version);
	len -= sizeof(version);
	if (len == 0)
		return 0;
	if (text[len - 1] != '\0') {
		*why = "the JSON text does not end with a NUL";
		return -EINVAL;
	}
	root = json_loadb(text, strlen(text), JSON_REJECT_DUPLICATES, NULL);
	if (!root) {
		*why = "bad JSON";
		return -EINVAL;
	}
	member = json_object_get(root, "capabilities");
	if (!json_is_object(root))
		*why = "the JSON text is not an object";
	else if (member)
		*why = parse_capabilities(member, caps);
	json_decref(root);
	return *why ? -EINVAL : 0;
}

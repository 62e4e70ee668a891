/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lies beside a store's data: metadata, and the format itself.
 *
 * Data and metadata do not share the medium, so blocks stay where they are and as many as they are,
 * whatever the format, and metadata of any size is read and written in memory, without reading the
 * blocks of a disk for it: what is beside is mapped. Of a RAM store that is memory; of a file,
 * another file PATH.bhmd, which a flush syncs too, and which remembers the format:
 *
 *	0	struct header, in a page of its own
 *	4096	of a zoned store, the table of zones (zones.c)
 *		metadata: md_bytes for each block
 *
 * A format that is all data and of the size the store was made with needs none of it.
 *
 * A change makes a new one (PATH.bhmd.new), and puts it in the old one's place when the data have
 * been erased. Whoever is killed in between finds the old format, and data that were erased in part.
 * The file is allocated when it is made; if it is truncated all the same, the fault guard turns the
 * mapping into memory, and the next flush says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bellhop/fault.h>
#include <bellhop/pi.h>

#include "blk/media.h"
#include "blk/ram_room.h"
#include "blk/zones.h"

#define PAGE 4096u
#define MAGIC "bh-media"

/* Of the file: little endian, as everything that runs this is. */
struct header {
	char magic[8];
	uint32_t version;
	uint16_t crc; /* of the rest, this one being 0 */
	uint16_t md_bytes;
	uint64_t data_bytes; /* of the store it belongs to */
	uint32_t block_size;
	uint8_t pi, pi_first, interleaved, zero;
	uint64_t zone_bytes, zone_capacity; /* 0: it is not zoned */
	uint32_t max_open, max_active;
};
static_assert(sizeof(struct header) == 56, "a file's header");

static int say(char why[256], int error, const char *path, const char *what)
{
	snprintf(why, 256, "%.160s: %.90s", path, what);
	return error;
}

/* ---- formats ---- */

static bool is_same(const struct bh_blk_format *a, const struct bh_blk_format *b)
{
	return a->block_size == b->block_size && a->md_bytes == b->md_bytes && a->pi == b->pi &&
	       a->pi_first == b->pi_first && a->interleaved == b->interleaved;
}

int bh_blk_format_check(const struct bh_blk *blk, const struct bh_blk_format *format)
{
	if ((format->block_size != 512 && format->block_size != 4096) || format->pi > 3 ||
	    (format->pi && !format->md_bytes) ||
	    (format->md_bytes && format->md_bytes != 8 && format->md_bytes != 16 &&
	     format->md_bytes != 64))
		return -EINVAL;
	if (blk->info.zoned.bytes && format->md_bytes) /* together: nobody has a use for it */
		return -EOPNOTSUPP;
	/* Slices count in blocks as they are, and know of nothing beside them. */
	if (__atomic_load_n(&blk->slices, __ATOMIC_RELAXED) && !is_same(format, &blk->info.format))
		return -EOPNOTSUPP;
	if (blk->beside == BH_BLK_BESIDE_NOTHING || format->block_size < blk->min_block ||
	    blk->bytes < format->block_size ||
	    (format->md_bytes && blk->beside == BH_BLK_BESIDE_SIZE))
		return -EOPNOTSUPP;
	return 0;
}

static uint16_t header_crc(const struct header *header)
{
	struct header copy = *header;

	copy.crc = 0;
	return bh_pi_crc16(0, &copy, sizeof(copy));
}

static void header_fill(struct header *header, const struct blk_media *media, uint64_t bytes)
{
	*header = (struct header){
		.version = 1,
		.md_bytes = media->format.md_bytes,
		.data_bytes = bytes,
		.block_size = media->format.block_size,
		.pi = media->format.pi,
		.pi_first = media->format.pi_first,
		.interleaved = media->format.interleaved,
		.zone_bytes = media->zoned.bytes,
		.zone_capacity = media->zoned.capacity,
		.max_open = media->zoned.max_open,
		.max_active = media->zoned.max_active,
	};
	memcpy(header->magic, MAGIC, sizeof(header->magic));
	header->crc = header_crc(header);
}

static bool header_read(const struct header *header, struct bh_blk_format *format,
			struct bh_blk_zoned *zoned)
{
	if (memcmp(header->magic, MAGIC, sizeof(header->magic)) != 0 || header->version != 1 ||
	    header->crc != header_crc(header))
		return false;
	*format = (struct bh_blk_format){
		.block_size = header->block_size,
		.md_bytes = header->md_bytes,
		.pi = header->pi,
		.pi_first = header->pi_first,
		.interleaved = header->interleaved,
	};
	*zoned = (struct bh_blk_zoned){
		.bytes = header->zone_bytes,
		.capacity = header->zone_capacity,
		.max_open = header->max_open,
		.max_active = header->max_active,
	};
	return true;
}

/* ---- one of them ---- */

static size_t pages(uint64_t bytes)
{
	return (size_t)((bytes + PAGE - 1) / PAGE * PAGE);
}

static size_t md_at(const struct bh_blk *blk, const struct bh_blk_zoned *zoned)
{
	uint64_t zones = zoned->bytes ? blk->bytes / zoned->bytes : 0;

	return PAGE + pages(zones * sizeof(struct blk_zone));
}

static size_t media_bytes(const struct bh_blk *blk, const struct bh_blk_format *format,
			  const struct bh_blk_zoned *zoned)
{
	return md_at(blk, zoned) + pages(blk->bytes / format->block_size * format->md_bytes);
}

/* Zones of whole blocks, of either size, that fill the store. */
static bool zones_fit(const struct bh_blk *blk, const struct bh_blk_zoned *zoned)
{
	if (!zoned->bytes)
		return true;
	return zoned->capacity && zoned->capacity <= zoned->bytes && zoned->bytes % PAGE == 0 &&
	       zoned->capacity % PAGE == 0 && zoned->bytes / 512 <= UINT32_MAX &&
	       blk->bytes % zoned->bytes == 0 && blk->bytes / zoned->bytes <= 1u << 20 &&
	       (!zoned->max_active || zoned->max_open <= zoned->max_active);
}

/* The zones of what has been mapped. */
static int zones_open(const struct bh_blk *blk, struct blk_media *media)
{
	const struct bh_blk_zoned *zoned = &media->zoned;
	const struct bh_zone_geometry g = {
		.zone_blocks = zoned->bytes / media->format.block_size,
		.capacity = zoned->capacity / media->format.block_size,
		.zones = zoned->bytes ? blk->bytes / zoned->bytes : 0,
		.max_open = zoned->max_open,
		.max_active = zoned->max_active,
	};

	if (!g.zones)
		return 0;
	media->zones = blk_zones_new(&g, (struct blk_zone *)(void *)(media->map + PAGE));
	return media->zones ? 0 : -ENOMEM;
}

void bh_blk_format_drop(struct blk_media *media)
{
	if (!media)
		return;
	blk_zones_free(media->zones);
	if (media->is_new && media->path)
		unlink(media->path);
	if (media->map) {
		bh_fault_range_remove(&media->guard);
		munmap(media->map, media->bytes);
	}
	if (media->fd >= 0)
		close(media->fd);
	free(media->path);
	free(media);
}

static int map_memory(struct blk_media *media)
{
	if (media->bytes > ram_room())
		return -ENOMEM;
	media->map = mmap(NULL, media->bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (media->map == MAP_FAILED)
		media->map = NULL;
	return media->map ? 0 : -errno;
}

static int map_file(struct blk_media *media)
{
	media->map = mmap(NULL, media->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, media->fd, 0);
	if (media->map == MAP_FAILED) {
		media->map = NULL;
		return -errno;
	}
	media->guard.base = media->map;
	media->guard.len = media->bytes;
	media->guard.fill = BH_FAULT_ZEROS;
	return bh_fault_range_add(&media->guard);
}

static struct blk_media *media_new(const struct bh_blk *blk, const struct bh_blk_format *format,
				   const struct bh_blk_zoned *zoned)
{
	struct blk_media *media = calloc(1, sizeof(*media));

	if (!media)
		return NULL;
	media->fd = -1;
	media->format = *format;
	media->zoned = *zoned;
	media->bytes = media_bytes(blk, format, zoned);
	return media;
}

static int make_file(const struct bh_blk *blk, struct blk_media *media)
{
	struct header header;

	if (asprintf(&media->path, "%s.new", blk->media_path) < 0) {
		media->path = NULL;
		return -ENOMEM;
	}
	media->fd = open(media->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (media->fd < 0)
		return -errno;
	media->is_new = true;
	header_fill(&header, media, blk->bytes);
	if (fallocate(media->fd, 0, 0, (off_t)media->bytes) ||
	    pwrite(media->fd, &header, sizeof(header), 0) != sizeof(header) || fsync(media->fd))
		return -errno;
	return map_file(media);
}

int bh_blk_format_prepare(struct bh_blk *blk, const struct bh_blk_format *format,
			  struct blk_media **out)
{
	int rc = bh_blk_format_check(blk, format);
	struct blk_media *media;

	if (rc)
		return rc;
	media = media_new(blk, format, &blk->info.zoned);
	if (!media)
		return -ENOMEM;
	if (blk->beside == BH_BLK_BESIDE_FILE)
		rc = make_file(blk, media);
	else if (format->md_bytes || media->zoned.bytes)
		rc = map_memory(media);
	if (!rc)
		rc = zones_open(blk, media);
	if (rc) {
		bh_blk_format_drop(media);
		return rc;
	}
	*out = media;
	return 0;
}

static int sync_parent(const char *path)
{
	char *copy = strdup(path);
	int fd, rc;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(copy);
	if (fd < 0)
		return -errno;
	/* Not every file system can. */
	rc = fsync(fd) && errno != EINVAL ? -errno : 0;
	close(fd);
	return rc;
}

/* What the store is from now on. */
static void take(struct bh_blk *blk, struct blk_media *media)
{
	bh_blk_format_drop(blk->media);
	blk->media = media;
	blk->md = media->format.md_bytes ? media->map + md_at(blk, &media->zoned) : NULL;
	blk->zones = media->zones;
	blk->info.zoned = media->zoned;
	blk->media_fd = media->fd;
	blk->info.format = media->format;
	blk->info.block_size = media->format.block_size;
	__atomic_store_n(&blk->info.blocks, blk->bytes / media->format.block_size,
			 __ATOMIC_RELAXED);
}

int bh_blk_format_commit(struct bh_blk *blk, struct blk_media *media)
{
	if (media->path && rename(media->path, blk->media_path)) {
		int error = -errno;

		bh_blk_format_drop(media);
		return error;
	}
	media->is_new = false;
	take(blk, media);
	return media->path ? sync_parent(blk->media_path) : 0;
}

/* ---- at the start ---- */

/* 0 and *out; 1: there is none. */
static int open_file(struct bh_blk *blk, char why[256], struct blk_media **out)
{
	struct bh_blk_format format;
	struct bh_blk_zoned zoned;
	struct header header;
	struct stat st;
	int rc, fd = open(blk->media_path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? 1 : say(why, -errno, blk->media_path, strerror(errno));
	if (pread(fd, &header, sizeof(header), 0) != sizeof(header) || fstat(fd, &st) ||
	    !header_read(&header, &format, &zoned) || bh_blk_format_check(blk, &format) ||
	    (zoned.bytes && format.md_bytes)) {
		close(fd);
		return say(why, -EINVAL, blk->media_path,
			   "does not say how the file beside it is formatted");
	}
	if (((format.md_bytes || zoned.bytes) && header.data_bytes != blk->bytes) ||
	    !zones_fit(blk, &zoned) || (uint64_t)st.st_size < media_bytes(blk, &format, &zoned)) {
		close(fd);
		return say(why, -EINVAL, blk->media_path, "belongs to a file of another size");
	}
	*out = media_new(blk, &format, &zoned);
	if (!*out) {
		close(fd);
		return -ENOMEM;
	}
	(*out)->fd = fd;
	rc = map_file(*out);
	if (!rc)
		rc = zones_open(blk, *out);
	if (rc)
		bh_blk_format_drop(*out);
	return rc ? say(why, rc, blk->media_path, strerror(-rc)) : 0;
}

static int make_first(struct bh_blk *blk, const struct bh_blk_format *format, char why[256])
{
	struct blk_media *media = NULL;
	int rc = bh_blk_format_prepare(blk, format, &media);

	if (!rc)
		rc = bh_blk_format_commit(blk, media);
	if (rc == -EINVAL)
		snprintf(why, 256, "there is no format of %u + %u bytes", format->block_size,
			 format->md_bytes);
	else if (rc == -EOPNOTSUPP)
		snprintf(why, 256, "%.120s: has no place for metadata", blk->name);
	else if (rc)
		snprintf(why, 256, "%.120s: its metadata: %s", blk->name, strerror(-rc));
	return rc == -EOPNOTSUPP ? -ENOTSUP : rc;
}

static int new_store(struct bh_blk *blk, const struct bh_blk_spec *spec,
		     const struct bh_blk_format *wanted, char why[256])
{
	if (!zones_fit(blk, &spec->zoned)) {
		snprintf(why, 256, "%.120s: cannot be divided into such zones", blk->name);
		return -EINVAL;
	}
	if (spec->zoned.bytes && (blk->beside < BH_BLK_BESIDE_MEMORY || wanted->md_bytes)) {
		snprintf(why, 256, "%.120s: %s", blk->name,
			 wanted->md_bytes ? "zones go without metadata" : "has no place for zones");
		return -ENOTSUP;
	}
	blk->info.zoned = spec->zoned;
	return wanted->md_bytes || spec->zoned.bytes ? make_first(blk, wanted, why) : 0;
}

int bh_blk_media_open(struct bh_blk *blk, const struct bh_blk_spec *spec, char why[256])
{
	const struct bh_blk_format wanted = { .block_size = blk->info.block_size,
					      .md_bytes = spec->md_bytes,
					      .pi = spec->pi };
	struct blk_media *media = NULL;
	int rc = 1;

	if (blk->beside == BH_BLK_BESIDE_FILE)
		rc = open_file(blk, why, &media);
	if (rc < 0)
		return rc;
	if (rc)
		return new_store(blk, spec, &wanted, why);
	take(blk, media);
	if (!is_same(&wanted, &media->format))
		bh_log(blk->log, BH_LOG_INFO, "blk",
		       "%s: formatted with %u + %u bytes, as %s remembers", blk->name,
		       media->format.block_size, media->format.md_bytes, blk->media_path);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * file:PATH[:SIZE]. A regular file or a block device, by io_uring.
 *
 * What is decided here, once: whether it can be written, how large it is, whether the page cache is
 * gone around, and what the file system can do beyond reading and writing. One descriptor serves
 * all channels; the lock that keeps other targets away belongs to it.
 *
 * O_DIRECT is used when the file takes requests of one block, which is found out by reading one.
 * All of a store's I/O goes the same way, never some through the page cache and some around it:
 * buffers that are not aligned well enough are copied (file_chan.c).
 *
 * Durability: a write is in the file's cache (the kernel's, or the disk's) until a flush, which is
 * fdatasync; a FUA write is RWF_DSYNC. A file that we make or lengthen is synced with its directory
 * before it is used, and a store that goes is synced a last time.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <bellhop/clock.h>

#include "blk/file.h"

#define PROBE_ALIGN 4096u

/* ---- opening ---- */

static int say(char why[256], int error, const char *path, const char *what)
{
	snprintf(why, 256, "%.160s: %.90s", path, what);
	return error;
}

static bool is_refused(int error)
{
	return error == EACCES || error == EROFS || error == EPERM;
}

/* A block device is claimed: one that is mounted or claimed by others is not served. */
static int open_existing(struct file_store *store, const char *path, const struct stat *st)
{
	int flags = O_CLOEXEC | (S_ISBLK(st->st_mode) ? O_EXCL : 0);
	/* A file that nobody may write is served read-only, to root too. */
	bool is_readonly = S_ISREG(st->st_mode) && !(st->st_mode & 0222);

	store->fd = is_readonly ? -1 : open(path, O_RDWR | flags);
	if (store->fd < 0 && (is_readonly || is_refused(errno))) {
		store->fd = open(path, O_RDONLY | flags);
		store->is_readonly = true;
	}
	return store->fd < 0 ? -errno : 0;
}

/* A device that was a killed target's is busy for a moment longer, see file_lock.c. */
static int open_patiently(struct file_store *store, const char *path, const struct stat *st)
{
	uint64_t end = bh_now_ns() + FILE_PATIENCE_NS;
	int rc;

	while ((rc = open_existing(store, path, st)) == -EBUSY && bh_now_ns() < end)
		poll(NULL, 0, 5);
	return rc;
}

static int open_path(struct file_store *store, const char *path, uint64_t bytes, char why[256])
{
	struct stat st;
	int rc;

	if (stat(path, &st)) {
		if (errno != ENOENT)
			return say(why, -errno, path, strerror(errno));
		if (!bytes)
			return say(why, -ENOENT, path, "no such file (file:PATH:SIZE makes one)");
		store->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (store->fd < 0)
			return say(why, -errno, path, strerror(errno));
		store->is_created = true;
		return 0;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return say(why, -EINVAL, path, "neither a regular file nor a block device");
	rc = open_patiently(store, path, &st);
	if (rc == -EBUSY)
		return say(why, rc, path,
			   "in use: mounted, part of another device, or another target's");
	if (rc)
		return say(why, rc, path, strerror(-rc));
	if (fstat(store->fd, &st) || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
		return say(why, -EINVAL, path, "is being replaced by something else");
	store->is_device = S_ISBLK(st.st_mode);
	return 0;
}

/* ---- size ---- */

static int sync_parent(const char *path)
{
	char *copy = strdup(path);
	int fd, rc = 0;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(copy);
	if (fd < 0)
		return -errno;
	/* Not every file system can; then creation is as durable as it gets. */
	if (fsync(fd) && errno != EINVAL)
		rc = -errno;
	close(fd);
	return rc;
}

static int lengthen(const struct file_store *store, const char *path, uint64_t bytes, char why[256])
{
	int rc;

	if (store->is_readonly)
		return say(why, -EROFS, path, "is smaller than that, and read-only");
	if (ftruncate(store->fd, (off_t)bytes))
		return say(why, -errno, path,
			   errno == EFBIG ? "too large for this file system, or the file size limit"
					  : strerror(errno));
	rc = fsync(store->fd) ? -errno : 0;
	if (!rc && store->is_created)
		rc = sync_parent(path);
	return rc ? say(why, rc, path, strerror(-rc)) : 0;
}

static int device_size(const struct file_store *store, const char *path, uint32_t block_size,
		       char why[256], uint64_t *bytes)
{
	int logical = 0;

	if (ioctl(store->fd, BLKGETSIZE64, bytes) || ioctl(store->fd, BLKSSZGET, &logical))
		return say(why, -errno, path, strerror(errno));
	if (block_size % (unsigned int)logical == 0)
		return 0;
	snprintf(why, 256, "%.120s: its blocks have %d bytes%s", path, logical,
		 logical == 4096 ? ": give :bs=4096" : ", which no namespace can have");
	return -EINVAL;
}

static int take_size(const struct file_store *store, const char *path,
		     const struct bh_blk_spec *spec, char why[256], uint64_t *bytes)
{
	struct stat st;
	uint64_t have;
	int rc = 0;

	if (store->is_device)
		rc = device_size(store, path, spec->block_size, why, &have);
	else if (fstat(store->fd, &st))
		rc = say(why, -errno, path, strerror(errno));
	else
		have = (uint64_t)st.st_size;
	if (rc)
		return rc;
	*bytes = spec->bytes ? spec->bytes : have;
	if (!*bytes)
		return say(why, -EINVAL, path, "is empty (file:PATH:SIZE makes it as large)");
	if (*bytes % spec->block_size || *bytes > INT64_MAX) {
		snprintf(why, 256, "%.120s: %llu bytes are not a number of blocks of %u", path,
			 (unsigned long long)*bytes, spec->block_size);
		return -EINVAL;
	}
	if (*bytes <= have)
		return 0;
	if (store->is_device)
		return say(why, -EINVAL, path, "the device is smaller than that");
	return lengthen(store, path, *bytes, why);
}

/* A device or a file may have grown by itself; else the file is lengthened. */
int file_grow(struct bh_blk *blk, uint64_t blocks)
{
	const struct file_store *store = (const struct file_store *)blk;
	uint64_t bytes = blocks * blk->info.block_size, have = 0;
	struct stat st;

	if (store->is_device ? ioctl(store->fd, BLKGETSIZE64, &have) : fstat(store->fd, &st))
		return -errno;
	if (bytes <= (store->is_device ? have : (uint64_t)st.st_size))
		return 0;
	if (store->is_device)
		return -ENOSPC;
	if (store->is_readonly)
		return -EROFS;
	return ftruncate(store->fd, (off_t)bytes) || fsync(store->fd) ? -errno : 0;
}

/* ---- what it can do ---- */

/* Would a direct read of a block be refused for its alignment? */
static bool reads_direct(const struct file_store *store, uint8_t *buf, uint32_t block,
			 uint64_t bytes)
{
	return pread(store->fd, buf, block, bytes > block ? block : 0) >= 0 || errno != EINVAL;
}

static void choose_direct(struct file_store *store, uint32_t block, uint64_t bytes)
{
	uint8_t *buf = aligned_alloc(PROBE_ALIGN, 2ul * PROBE_ALIGN);
	int flags = fcntl(store->fd, F_GETFL);

	store->mem_align = 1;
	if (!buf || flags < 0 || fcntl(store->fd, F_SETFL, flags | O_DIRECT)) {
		free(buf);
		return;
	}
	store->is_direct = true;
	if (reads_direct(store, buf + 512, block, bytes)) {
		store->mem_align = 512;
	} else if (reads_direct(store, buf, block, bytes)) {
		store->mem_align = PROBE_ALIGN;
	} else {
		store->is_direct = false;
		fcntl(store->fd, F_SETFL, flags);
	}
	free(buf);
}

/* A number out of the queue directory of the device, or of the disk a partition is on. */
static uint64_t queue_limit(const struct file_store *store, const char *name)
{
	static const char *const dirs[] = { "queue", "../queue" };
	unsigned long long value = 0;
	struct stat st;
	size_t i;

	if (fstat(store->fd, &st))
		return 0;
	for (i = 0; i < 2; i++) {
		char path[128];
		FILE *file;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/%s", major(st.st_rdev),
			 minor(st.st_rdev), dirs[i], name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fscanf(file, "%llu", &value) != 1)
			value = 0;
		fclose(file);
		return value;
	}
	return 0;
}

static uint32_t choose_caps(struct file_store *store, uint64_t bytes)
{
	uint32_t caps = BH_BLK_CAP_WRITE | BH_BLK_CAP_FLUSH | BH_BLK_CAP_WRITE_ZEROES;

	if (store->is_readonly)
		return 0;
	/*
	 * A device without an operation for it would have zeros written, which is not what somebody
	 * who discards has in mind. Beyond the end of a file there is nothing to lose by trying.
	 */
	if (store->is_device)
		store->no_punch = !queue_limit(store, "write_zeroes_max_bytes");
	else
		store->no_punch = fallocate(store->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					    (off_t)bytes, PROBE_ALIGN) != 0;
	return caps | (store->no_punch ? 0 : BH_BLK_CAP_DEALLOCATE);
}

/* ---- what is beside it ---- */

/* Blocks of 512 may be too small for the disk, or for going around the page cache. */
static uint32_t smallest_block(const struct file_store *store, uint32_t block)
{
	bool is_small = block == 512 || !store->is_direct;
	uint8_t *buf;

	if (is_small)
		return 512;
	buf = aligned_alloc(PROBE_ALIGN, PROBE_ALIGN);
	is_small = buf && pread(store->fd, buf, 512, 512) == 512;
	free(buf);
	return is_small ? 512 : 4096;
}

/*
 * A device has no place beside it that lasts. One of a read-only file could not be written to, but
 * what is there has to be heeded.
 */
static int file_beside(struct file_store *store, const struct bh_blk_spec *spec, char why[256])
{
	if (store->is_device)
		return bh_blk_media_open(&store->blk, spec, why);
	if (asprintf(&store->blk.media_path, "%s.bhmd", spec->arg) < 0) {
		store->blk.media_path = NULL;
		return -ENOMEM;
	}
	if (!store->is_readonly) {
		store->blk.beside = BH_BLK_BESIDE_FILE;
		store->blk.min_block = smallest_block(store, spec->block_size);
	} else if (access(store->blk.media_path, F_OK) == 0) {
		return say(why, -EROFS, spec->arg, "is formatted (.bhmd), and cannot be written");
	}
	return bh_blk_media_open(&store->blk, spec, why);
}

/* ---- life ---- */

void file_free(struct file_store *store)
{
	struct flock all = { .l_type = F_UNLCK };

	/* Not left to the last reference to the file, which the kernel may hold a moment longer. */
	fcntl(store->fd, F_OFD_SETLK, &all);
	close(store->fd);
	pthread_cond_destroy(&store->wake);
	pthread_mutex_destroy(&store->lock);
	free(store);
}

void file_destroy(struct bh_blk *blk)
{
	struct file_store *store = (struct file_store *)blk;

	if (!store->is_readonly && fdatasync(store->fd))
		bh_log(blk->log, BH_LOG_ERROR, "blk", "%s: what was written last may be lost: %s",
		       blk->name, strerror(errno));
	if (file_waiter_stop(store))
		file_free(store);
}

static int file_open(struct file_store *store, const struct bh_blk_spec *spec, const char *name,
		     const struct bh_log *log, char why[256])
{
	uint64_t bytes;
	uint32_t caps;
	int rc = file_ring_probe(why);

	if (!rc)
		rc = open_path(store, spec->arg, spec->bytes, why);
	if (!rc)
		rc = file_lock(store, spec->arg, log, why);
	if (!rc)
		rc = take_size(store, spec->arg, spec, why, &bytes);
	if (rc)
		return rc;
	choose_direct(store, spec->block_size, bytes);
	caps = choose_caps(store, bytes);
	rc = bh_blk_init(&store->blk, &file_ops, name, spec->block_size, bytes / spec->block_size,
			 caps, log);
	if (!rc)
		rc = file_beside(store, spec, why);
	if (rc)
		return rc;
	bh_log(log, BH_LOG_INFO, "blk", "%s: %s %s, %llu bytes, %s%s", name,
	       store->is_device ? "device" : "file", spec->arg, (unsigned long long)bytes,
	       store->is_direct ? "O_DIRECT" : "through the page cache",
	       store->is_readonly ? ", read-only" : "");
	return 0;
}

static int file_create(const struct bh_blk_spec *spec, const char *name, const struct bh_log *log,
		       char why[256], struct bh_blk **out)
{
	struct file_store *store = calloc(1, sizeof(*store));
	int rc;

	if (!store)
		return -ENOMEM;
	store->fd = -1;
	pthread_mutex_init(&store->lock, NULL);
	pthread_cond_init(&store->wake, NULL);
	rc = file_open(store, spec, name, log, why);
	if (!rc) {
		rc = file_waiter_start(store);
		if (rc)
			say(why, rc, spec->arg, "no thread can be made");
	}
	if (rc) {
		if (store->is_created)
			unlink(spec->arg);
		bh_blk_fini(&store->blk);
		file_free(store);
		return rc;
	}
	if (spec->has_uuid)
		memcpy(store->blk.info.uuid, spec->uuid, sizeof(store->blk.info.uuid));
	*out = &store->blk;
	return 0;
}

const struct bh_blk_type bh_blk_file_type = { "file", file_create };

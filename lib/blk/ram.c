/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ram:SIZE. A memfd of its own, mapped once.
 *
 * All of it is there when the store is: a store that grew as it was written to would have to fail,
 * when the machine is full, by SIGBUS or at the hands of the OOM killer. Hugepages are taken when
 * enough of them are free, which the kernel reserves at mmap. Ordinary pages are allocated; zeroing
 * and mapping them, the larger part of the time, is done for the first GiB and left to the first
 * access of what is beyond, which cannot fail any more. What is free is looked at first, since
 * whoever asks for more than that may get it, at the price of some other process.
 *
 * For the same reason deallocated ranges are zeroed and not given back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bellhop/blk.h>

#include "blk/ram_room.h"

#define HUGE_2M ((size_t)2 << 20)
#define HUGE_1G ((size_t)1 << 30)
#define MEMFD_HUGE(log2) ((unsigned int)(log2) << MFD_HUGE_SHIFT | MFD_HUGETLB)

/* Allocated in one call, which signals interrupt. */
#define RESERVE_STEP ((size_t)256 << 20)

/* Half a second's work: a start should not take longer because of it. */
#define POPULATE_MAX ((size_t)1 << 30)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26
#endif

struct ram {
	struct bh_blk blk;
	int fd;
	uint8_t *base;
	size_t len; /* mapped: rounded up to pages */
	size_t page;
};

static void ram_destroy(struct bh_blk *blk)
{
	struct ram *ram = (struct ram *)blk;

	munmap(ram->base, ram->len);
	close(ram->fd);
	free(ram);
}

static void ram_copy(uint8_t *at, const struct bh_blk_io *io, size_t bytes)
{
	const struct iovec *iov = io->iov;
	unsigned int i;

	for (i = 0; i < io->iovcnt && bytes; i++) {
		size_t n = iov[i].iov_len < bytes ? iov[i].iov_len : bytes;

		if (io->op == BH_BLK_READ)
			memcpy(iov[i].iov_base, at, n);
		else
			memcpy(at, iov[i].iov_base, n);
		at += n;
		bytes -= n;
	}
}

static int ram_compare(const uint8_t *at, const struct bh_blk_io *io, size_t bytes)
{
	unsigned int i;

	for (i = 0; i < io->iovcnt && bytes; i++) {
		size_t n = io->iov[i].iov_len < bytes ? io->iov[i].iov_len : bytes;

		if (memcmp(at, io->iov[i].iov_base, n) != 0)
			return -EILSEQ;
		at += n;
		bytes -= n;
	}
	return 0;
}

static int ram_submit(struct bh_blk_chan *chan, const struct bh_blk_io *io)
{
	struct ram *ram = (struct ram *)chan->blk;
	size_t off = io->lba * ram->blk.info.block_size;
	size_t bytes = (size_t)io->blocks * ram->blk.info.block_size;
	int rc = bh_blk_check(&ram->blk, io);

	if (rc)
		return rc;
	switch (io->op) {
	case BH_BLK_READ:
	case BH_BLK_WRITE:
		ram_copy(ram->base + off, io, bytes);
		return 0;
	case BH_BLK_FLUSH:
		return 0;
	case BH_BLK_WRITE_ZEROES:
	case BH_BLK_DEALLOCATE:
		memset(ram->base + off, 0, bytes);
		return 0;
	case BH_BLK_COMPARE:
		return ram_compare(ram->base + off, io, bytes);
	}
	return -EOPNOTSUPP;
}

static const struct bh_blk_ops ram_ops = {
	.type = "ram",
	.destroy = ram_destroy,
	.chan_size = sizeof(struct bh_blk_chan),
	.submit = ram_submit,
};

static int reserve(int fd, size_t len)
{
	size_t at = 0;

	while (at < len) {
		size_t n = len - at < RESERVE_STEP ? len - at : RESERVE_STEP;

		if (!fallocate(fd, 0, (off_t)at, (off_t)n))
			at += n;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static int ram_map(struct ram *ram, const char *name, size_t bytes, size_t page, unsigned int flags)
{
	size_t len = (bytes + page - 1) / page * page;
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags), rc;
	void *base;

	if (fd < 0)
		return -errno;
	rc = ftruncate(fd, (off_t)len) ? -errno : flags ? 0 : reserve(fd, len);
	base = rc ? MAP_FAILED
		  : mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_SHARED | (flags ? 0 : MAP_NORESERVE), fd, 0);
	if (base == MAP_FAILED) {
		rc = rc ? rc : -errno;
		close(fd);
		return rc;
	}
	/* Linux 5.14. What it does not map faults once, at several times the cost of a request. */
	(void)madvise(base, len < POPULATE_MAX ? len : POPULATE_MAX, MADV_POPULATE_WRITE);
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	ram->fd = fd;
	ram->base = base;
	ram->len = len;
	ram->page = page;
	return 0;
}

/* The largest pages that are free and of which rounding up wastes at most an eighth. */
static int ram_map_best(struct ram *ram, const char *name, size_t bytes, char why[256])
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t room;
	int rc;

	if (bytes >= HUGE_1G && (HUGE_1G - bytes % HUGE_1G) % HUGE_1G <= bytes / 8 &&
	    !ram_map(ram, name, bytes, HUGE_1G, MEMFD_HUGE(30)))
		return 0;
	if (bytes >= HUGE_2M && (HUGE_2M - bytes % HUGE_2M) % HUGE_2M <= bytes / 8 &&
	    !ram_map(ram, name, bytes, HUGE_2M, MEMFD_HUGE(21)))
		return 0;
	room = ram_room();
	if (bytes > room) {
		snprintf(why, 256, "%llu MiB of memory are asked for, and %llu MiB are free",
			 (unsigned long long)bytes >> 20, (unsigned long long)room >> 20);
		return -ENOMEM;
	}
	rc = ram_map(ram, name, bytes, page, 0);
	if (rc)
		snprintf(why, 256, "%llu MiB of memory cannot be had: %s",
			 (unsigned long long)bytes >> 20, strerror(-rc));
	return rc;
}

static int ram_create(const struct bh_blk_spec *spec, const char *name, const struct bh_log *log,
		      char why[256], struct bh_blk **out)
{
	const uint32_t caps = BH_BLK_CAP_WRITE | BH_BLK_CAP_WRITE_ZEROES | BH_BLK_CAP_DEALLOCATE |
			      BH_BLK_CAP_COMPARE | BH_BLK_CAP_CANCEL_SYNC | BH_BLK_CAP_SYNC;
	struct ram *ram;
	uint64_t bytes;
	int rc = bh_blk_spec_bytes(spec, spec->arg, why, &bytes);

	if (rc)
		return rc;
	ram = calloc(1, sizeof(*ram));
	if (!ram)
		return -ENOMEM;
	rc = bh_blk_init(&ram->blk, &ram_ops, name, spec->block_size, bytes / spec->block_size,
			 caps, log);
	if (!rc)
		rc = ram_map_best(ram, "bellhop-ram", bytes, why);
	if (rc) {
		bh_blk_fini(&ram->blk);
		free(ram);
		return rc == -EINVAL || rc == -EFBIG ? -ENOMEM : rc;
	}
	if (spec->has_uuid)
		memcpy(ram->blk.info.uuid, spec->uuid, sizeof(ram->blk.info.uuid));
	ram->blk.inline_kind = BH_BLK_INLINE_MEMORY;
	ram->blk.inline_base = ram->base;
	ram->blk.beside = BH_BLK_BESIDE_MEMORY;
	ram->blk.min_block = 512;
	bh_log(log, BH_LOG_INFO, "blk", "%s: %zu KiB pages", name, ram->page >> 10);
	rc = bh_blk_media_open(&ram->blk, spec, why);
	if (rc)
		bh_blk_put(&ram->blk);
	else
		*out = &ram->blk;
	return rc;
}

const struct bh_blk_type bh_blk_ram_type = { "ram", ram_create };

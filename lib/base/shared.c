/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of a controller's that its client maps: doorbells, notifications, a memory buffer.
 *
 * It is a file in memory, sealed against changes of its size. Who has been given the descriptor
 * can keep a mapping for ever, whatever becomes of the connection: so each client gets a file of
 * its own. When one has left another file takes the place of its file, at the same address and
 * under the same number, in one step each: whoever is looking there (a poll thread, at doorbells)
 * finds zeros. What the last client still writes goes nowhere, and it sees
 * nothing of the next.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/shared.h"

/* A file of that size, or -errno. */
static int file_new(const char *name, size_t bytes)
{
	int error, fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

int bh__shared_create(struct bh_shared *shared, const char *name, size_t bytes)
{
	void *map;

	shared->name = name;
	shared->fd = file_new(name, bytes);
	if (shared->fd < 0)
		return shared->fd;
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, shared->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	shared->map = map;
	shared->bytes = bytes;
	return 0;
}

void bh__shared_destroy(struct bh_shared *shared)
{
	if (shared->map)
		munmap(shared->map, shared->bytes);
	if (shared->fd >= 0)
		close(shared->fd);
	shared->map = NULL;
	shared->fd = -1;
}

/* Puts the file behind address and number; -errno, and nothing has changed. */
static int replace(struct bh_shared *shared, int fd)
{
	int kept = fcntl(shared->fd, F_DUPFD_CLOEXEC, 0), error;

	if (kept < 0 || dup3(fd, shared->fd, O_CLOEXEC) < 0) {
		error = -errno;
	} else if (mmap(shared->map, shared->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			fd, 0) == MAP_FAILED) {
		error = -errno;
		(void)dup3(kept, shared->fd, O_CLOEXEC);
	} else {
		error = 0;
	}
	if (kept >= 0)
		close(kept);
	return error;
}

int bh__shared_renew(struct bh_shared *shared)
{
	int fd, error;

	if (!shared->map)
		return 0;
	fd = file_new(shared->name, shared->bytes);
	error = fd < 0 ? fd : replace(shared, fd);
	if (fd >= 0)
		close(fd);
	shared->is_private = error != 0;
	if (!error)
		return 0;
	/* Then nobody shares it: a mapping does nothing, messages do what they always do. */
	if (mmap(shared->map, shared->bytes, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return -errno;
	return error;
}

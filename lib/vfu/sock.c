/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UNIX sockets by path: listening on one that may have been left behind, connecting with a
 * deadline.
 *
 * Whether a socket file is stale can only be found out by connecting to it, and two servers that
 * find the same stale file must not remove each other's new one. So looking, removing, binding and
 * listening happen under a lock on the directory, which leaves no file behind and goes away with
 * its holder.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <bellhop/clock.h>

#include "vfu/vfu.h"

#define BACKLOG 4 /* clients that wait for the attached one to leave */
#define LOCK_TRIES 100
#define LOCK_PAUSE_NS 10000000 /* 10 ms */

static int fill_address(const char *path, struct sockaddr_un *addr)
{
	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	if (path[0] == '\0')
		return -ENOENT;
	if (strlen(path) >= sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	strcpy(addr->sun_path, path);
	return 0;
}

/*
 * Locks the directory of `path`; -1 when that cannot be done (a directory that may be searched but
 * not read, or somebody holds the lock for good): then the lock's protection is missing, nothing
 * else.
 */
static int lock_directory(const char *path)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };
	const char *slash = strrchr(path, '/');
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)] = ".";
	int fd, i;

	if (slash) {
		size_t n = slash == path ? 1 : (size_t)(slash - path);

		memcpy(dir, path, n);
		dir[n] = '\0';
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	for (i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return fd;
		nanosleep(&pause, NULL);
	}
	close(fd);
	return -1;
}

/* Removes the socket file at addr if nobody listens on it. */
static int remove_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	int fd, err;

	if (lstat(addr->sun_path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	err = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ? 0 : errno;
	close(fd);
	if (err == ENOENT)
		return 0;
	if (err == EACCES)
		return -EACCES;
	if (err != ECONNREFUSED) /* it took us, or its backlog is full */
		return -EADDRINUSE;
	if (unlink(addr->sun_path) != 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static int bind_and_listen(int fd, const struct sockaddr_un *addr, unsigned int mode)
{
	int rc;

	/*
	 * Linux gives the socket file the mode of the socket's inode less the umask: never more
	 * than was asked for, not even for a moment. The chmod adds what the umask took.
	 */
	if (fchmod(fd, mode) != 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) != 0)
		return -errno;
	if (chmod(addr->sun_path, mode) == 0 && listen(fd, BACKLOG) == 0)
		return 0;
	rc = -errno;
	unlink(addr->sun_path);
	return rc;
}

int vfu_listen(const char *path, unsigned int mode, int *out)
{
	struct sockaddr_un addr;
	int fd, lock, rc;

	*out = -1;
	rc = fill_address(path, &addr);
	if (rc != 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	lock = lock_directory(path);
	rc = remove_stale(&addr);
	if (rc == 0)
		rc = bind_and_listen(fd, &addr, mode);
	if (lock >= 0)
		close(lock);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	*out = fd;
	return 0;
}

static int set_send_timeout(int fd, uint64_t ns)
{
	const struct timeval tv = {
		.tv_sec = (time_t)(ns / 1000000000),
		.tv_usec = (suseconds_t)(ns % 1000000000 / 1000),
	};

	return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) == 0 ? 0 : -errno;
}

/* A connect that waits for room in the backlog obeys the send timeout (0 would be for ever). */
static int connect_within(int fd, const struct sockaddr_un *addr, uint64_t ns)
{
	const uint64_t begin = bh_now_ns();
	uint64_t gone = 0;
	int rc;

	for (;;) {
		rc = set_send_timeout(fd, ns > gone + 1000 ? ns - gone : 1000);
		if (rc != 0)
			return rc;
		if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
			break;
		if (errno != EINTR)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		gone = bh_now_ns() - begin;
		if (gone >= ns) /* signals all the time, and each with another try */
			return -ETIMEDOUT;
	}
	rc = fcntl(fd, F_GETFL);
	if (rc < 0 || fcntl(fd, F_SETFL, rc | O_NONBLOCK) != 0)
		return -errno;
	return set_send_timeout(fd, 0);
}

int vfu_connect(const char *path, unsigned int timeout_ms, int *out)
{
	struct sockaddr_un addr;
	struct stat st;
	int fd, rc;

	*out = -1;
	rc = fill_address(path, &addr);
	if (rc != 0)
		return rc;
	if (stat(path, &st) != 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	rc = connect_within(fd, &addr, timeout_ms * 1000000ull);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	*out = fd;
	return 0;
}

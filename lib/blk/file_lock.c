/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One writer per file. An open file description lock on all of it: it belongs to our descriptor (so
 * two stores of one process exclude each other, too), ends with the process however that ends, and
 * meets the locks other virtual machine software puts on its images.
 *
 * The kernel does not name the holder of such a lock, but /proc shows the locks of every descriptor
 * to those who may look. A process that was killed has no descriptors any more while the kernel may
 * still be busy with its last requests, which hold the file and its lock: that is waited for.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/clock.h>

#include "blk/file.h"

static bool has_lock(const char *pid, const char *fd)
{
	char path[64], line[256];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%.16s/fdinfo/%.16s", pid, fd);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file))
		found = strncmp(line, "lock:", 5) == 0;
	fclose(file);
	return found;
}

/* Has process pid a lock on this file, by a descriptor that is not `own`? */
static bool is_holder(const char *pid, const struct stat *st, int own)
{
	bool is_self = atoi(pid) == (int)getpid(), found = false;
	const struct dirent *e;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	dir = opendir(path);
	while (dir && !found && (e = readdir(dir))) {
		struct stat other;

		if (!isdigit((unsigned char)e->d_name[0]) || (is_self && atoi(e->d_name) == own) ||
		    fstatat(dirfd(dir), e->d_name, &other, 0))
			continue;
		found = other.st_dev == st->st_dev && other.st_ino == st->st_ino &&
			has_lock(pid, e->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* The process that holds a lock on the file, 0 if none is found. */
static int find_holder(int fd)
{
	const struct dirent *e;
	int holder = 0;
	struct stat st;
	DIR *dir;

	if (fstat(fd, &st) || !(dir = opendir("/proc")))
		return 0;
	while (!holder && (e = readdir(dir))) {
		if (isdigit((unsigned char)e->d_name[0]) && is_holder(e->d_name, &st, fd))
			holder = atoi(e->d_name);
	}
	closedir(dir);
	return holder;
}

static void say_who(int pid, const char *path, char why[256])
{
	char comm_path[64], comm[64] = "";
	FILE *file;

	if (pid == (int)getpid()) {
		snprintf(why, 256, "%.120s is served already: share it by store:NAME= and ns=@NAME",
			 path);
		return;
	}
	if (!pid) {
		snprintf(why, 256, "%.180s is locked by another process", path);
		return;
	}
	snprintf(comm_path, sizeof(comm_path), "/proc/%d/comm", pid);
	file = fopen(comm_path, "re");
	if (file && fgets(comm, sizeof(comm), file))
		comm[strcspn(comm, "\n")] = '\0';
	if (file)
		fclose(file);
	snprintf(why, 256, "%.160s is locked by process %d (%s)", path, pid, comm);
}

static bool try_lock(const struct file_store *store)
{
	struct flock all = { .l_type = store->is_readonly ? F_RDLCK : F_WRLCK };

	return fcntl(store->fd, F_OFD_SETLK, &all) == 0;
}

int file_lock(const struct file_store *store, const char *path, const struct bh_log *log,
	      char why[256])
{
	uint64_t end = bh_now_ns() + FILE_PATIENCE_NS;
	int pid;

	while (!try_lock(store)) {
		if (errno != EAGAIN && errno != EACCES) {
			bh_log(log, BH_LOG_WARN, "blk",
			       "%s cannot be locked (%s): nothing keeps another target from it",
			       path, strerror(errno));
			return 0;
		}
		pid = find_holder(store->fd);
		if (pid || bh_now_ns() > end) {
			say_who(pid, path, why);
			return -EBUSY;
		}
		poll(NULL, 0, 5);
	}
	return 0;
}

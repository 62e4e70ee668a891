/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci/sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

#define BIND_TIMEOUT_NS (5ull * 1000 * 1000 * 1000)

void bh_pci_opts_init(struct bh_pci_opts *opts)
{
	*opts = (struct bh_pci_opts){
		.size = sizeof(*opts),
		.sysfs_root = "/sys",
		.proc_root = "/proc",
		.dev_root = "/dev",
		.bind_timeout_ns = BIND_TIMEOUT_NS,
	};
}

int bh__pci_env(const struct bh_pci_opts *opts, struct pci_env *env)
{
	struct bh_pci_opts defaults;

	bh_pci_opts_init(&defaults);
	if (!opts)
		opts = &defaults;
	if (opts->size != sizeof(*opts))
		return -EINVAL;
	*env = (struct pci_env){
		.sys = opts->sysfs_root ? opts->sysfs_root : defaults.sysfs_root,
		.proc = opts->proc_root ? opts->proc_root : defaults.proc_root,
		.dev = opts->dev_root ? opts->dev_root : defaults.dev_root,
		.bind_timeout_ns = opts->bind_timeout_ns,
		.log = opts->log,
	};
	return 0;
}

bool bh__pci_path(char path[PCI_PATH], const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	int n = vsnprintf(path, PCI_PATH, fmt, args);
	va_end(args);
	if (n >= 0 && n < PCI_PATH)
		return true;
	path[0] = '\0';
	return false;
}

int bh__pci_read(const char *path, char *text, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc = 0;

	text[0] = '\0';
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, text, len - 1);
	if (n < 0) {
		rc = -errno;
		n = 0;
	}
	bh__fd_close(&fd);
	text[n] = '\0';
	if (n > 0 && text[n - 1] == '\n')
		text[n - 1] = '\0';
	return rc;
}

int64_t bh__pci_read_number(const char *path, int64_t absent)
{
	char text[32], *end;

	if (bh__pci_read(path, text, sizeof(text)) != 0)
		return absent;
	long long value = strtoll(text, &end, 0);
	return end == text || *end != '\0' ? absent : value;
}

int bh__pci_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	int rc = 0;

	if (fd < 0)
		return -errno;
	ssize_t n = write(fd, text, strlen(text));
	if (n < 0)
		rc = -errno;
	else if ((size_t)n != strlen(text))
		rc = -EIO;
	bh__fd_close(&fd);
	return rc;
}

void bh__pci_copy(char *to, size_t len, const char *from)
{
	size_t n = strnlen(from, len - 1);

	memcpy(to, from, n);
	to[n] = '\0';
}

int bh__pci_link_name(const char *path, char *name, size_t len)
{
	char target[PCI_PATH];
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	name[0] = '\0';
	if (n < 0)
		return -errno;
	target[n] = '\0';
	const char *slash = strrchr(target, '/');
	bh__pci_copy(name, len, slash ? slash + 1 : target);
	return 0;
}

int bh__pci_each(const char *path, bh__pci_entry_fn fn, void *ctx)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	int rc = 0;

	if (!dir)
		return -errno;
	for (;;) {
		errno = 0;
		entry = rc == 0 ? readdir(dir) : NULL;
		if (!entry)
			break;
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			rc = fn(ctx, entry->d_name);
	}
	if (rc == 0 && errno != 0)
		rc = -errno;
	closedir(dir);
	return rc;
}

struct find {
	const char *begins;
	char *name;
};

static int find_entry(void *ctx, const char *name)
{
	const struct find *find = ctx;

	if (strncmp(name, find->begins, strlen(find->begins)) != 0 || strlen(name) >= BH_PCI_NAME)
		return 0;
	strcpy(find->name, name);
	return 1;
}

bool bh__pci_find(const char *path, const char *begins, char *name)
{
	struct find find = { begins, name };

	name[0] = '\0';
	return bh__pci_each(path, find_entry, &find) == 1;
}

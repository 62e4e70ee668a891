/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration space through sysfs. The kernel shows everybody the first 64 bytes, and answers
 * reads beyond with a short count: that is told apart from the end by the file's size.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "pci/sysfs.h"

int bh_pci_config_open(const struct bh_pci_opts *opts, const struct bh_pci_addr *addr, bool write,
		       struct bh_pci_config *config)
{
	char path[PCI_PATH], name[BH_PCI_ADDR_TEXT];
	struct pci_env env;
	struct stat st;

	*config = (struct bh_pci_config){ .fd = -1 };
	int rc = bh__pci_env(opts, &env);
	if (rc != 0)
		return rc;
	bh__pci_path(path, "%s/bus/pci/devices/%s/config", env.sys, bh_pci_addr_format(addr, name));
	int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENODEV : -errno;
	if (fstat(fd, &st) != 0) {
		rc = -errno;
		bh__fd_close(&fd);
		return rc;
	}
	config->fd = fd;
	if (st.st_size >= BH_PCI_CONFIG_SIZE_EXT)
		config->size = BH_PCI_CONFIG_SIZE_EXT;
	else
		config->size = (unsigned int)st.st_size;
	return 0;
}

void bh_pci_config_close(struct bh_pci_config *config)
{
	bh__fd_close(&config->fd);
	config->size = 0;
}

static bool is_inside(const struct bh_pci_config *config, unsigned int offset, size_t len)
{
	return len <= config->size && offset <= config->size - len;
}

int bh_pci_config_read(void *config, unsigned int offset, void *buf, size_t len)
{
	const struct bh_pci_config *c = config;

	if (c->fd < 0 || !is_inside(c, offset, len))
		return -EINVAL;
	while (len > 0) {
		ssize_t n = pread(c->fd, buf, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EACCES;
		buf = (uint8_t *)buf + n;
		offset += (unsigned int)n;
		len -= (size_t)n;
	}
	return 0;
}

int bh_pci_config_write(struct bh_pci_config *config, unsigned int offset, const void *buf,
			size_t len)
{
	if (config->fd < 0 || !is_inside(config, offset, len))
		return -EINVAL;
	ssize_t n = pwrite(config->fd, buf, len, (off_t)offset);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

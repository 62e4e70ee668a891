/* SPDX-License-Identifier: BSD-3-Clause */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_BYTES 1024
#define DRIVERS_MAX 8

struct bh_pci_opts tree_opts;
char tree_said[TREE_LOG];

static char root[PATH_BYTES], sys_root[PATH_BYTES], proc_root[PATH_BYTES], dev_root[PATH_BYTES];
static char drivers[DRIVERS_MAX][BH_PCI_NAME];
static unsigned int driver_count;

static void keep(void *ctx, enum bh_log_level level, const char *component, const char *line)
{
	(void)ctx;
	snprintf(tree_said, sizeof(tree_said), "%d %s %s", (int)level, component, line);
}

static const struct bh_log tree_log = { .write = keep, .level = BH_LOG_DEBUG };

static void fatal(const char *what)
{
	fprintf(stderr, "tree: %s: %s\n", what, strerror(errno));
	abort();
}

static void path_format(char path[PATH_BYTES], const char *fmt, va_list args)
{
	int n = snprintf(path, PATH_BYTES, "%s/", root);

	vsnprintf(path + n, PATH_BYTES - (size_t)n, fmt, args);
}

__attribute__((format(printf, 2, 3))) static void path_of(char path[PATH_BYTES], const char *fmt,
							  ...)
{
	va_list args;

	va_start(args, fmt);
	path_format(path, fmt, args);
	va_end(args);
}

#define PATH(path, fmt)                       \
	do {                                  \
		va_list args;                 \
		va_start(args, fmt);          \
		path_format(path, fmt, args); \
		va_end(args);                 \
	} while (0)

static void make_parents(char *path, bool itself)
{
	for (char *c = path + strlen(root) + 1; *c != '\0'; c++) {
		if (*c != '/')
			continue;
		*c = '\0';
		if (mkdir(path, 0755) != 0 && errno != EEXIST)
			fatal(path);
		*c = '/';
	}
	if (itself && mkdir(path, 0755) != 0 && errno != EEXIST)
		fatal(path);
}

static void put(const char *path, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
		fatal(path);
	close(fd);
}

void tree_file(const char *text, const char *fmt, ...)
{
	char path[PATH_BYTES];

	PATH(path, fmt);
	make_parents(path, false);
	put(path, text, strlen(text));
}

void tree_bytes(const void *bytes, size_t len, const char *name)
{
	char path[PATH_BYTES];

	path_of(path, "%s", name);
	make_parents(path, false);
	put(path, bytes, len);
}

void tree_dir(const char *fmt, ...)
{
	char path[PATH_BYTES];

	PATH(path, fmt);
	make_parents(path, true);
}

void tree_link(const char *target, const char *fmt, ...)
{
	char path[PATH_BYTES], absolute[2 * PATH_BYTES];

	PATH(path, fmt);
	make_parents(path, false);
	snprintf(absolute, sizeof(absolute), "%s/%s", root, target);
	if (symlink(target[0] == '/' ? target : absolute, path) != 0)
		fatal(path);
}

void tree_unlink(const char *name)
{
	char path[PATH_BYTES];

	path_of(path, "%s", name);
	if (unlink(path) != 0)
		fatal(path);
}

bool tree_exists(const char *fmt, ...)
{
	char path[PATH_BYTES];

	PATH(path, fmt);
	return access(path, F_OK) == 0;
}

const char *tree_read(const char *name)
{
	static _Thread_local char text[256];
	char path[PATH_BYTES];

	path_of(path, "%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

int tree_make(void)
{
	const char *base = getenv("BH_TMP");

	snprintf(root, sizeof(root), "%s/bh-pci-XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(root))
		return -1;
	snprintf(sys_root, sizeof(sys_root), "%.900s/sys", root);
	snprintf(proc_root, sizeof(proc_root), "%.900s/proc", root);
	snprintf(dev_root, sizeof(dev_root), "%.900s/dev", root);
	bh_pci_opts_init(&tree_opts);
	tree_opts.sysfs_root = sys_root;
	tree_opts.proc_root = proc_root;
	tree_opts.dev_root = dev_root;
	tree_opts.log = &tree_log;
	tree_said[0] = '\0';
	driver_count = 0;
	tree_dir("sys/bus/pci/devices");
	tree_dir("sys/class/net");
	tree_dir("sys/class/block");
	tree_dir("proc");
	tree_dir("dev");
	return 0;
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int tree_remove(void)
{
	return nftw(root, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}

const char *tree_device(const char *bdf)
{
	static _Thread_local char path[256];

	snprintf(path, sizeof(path), "sys/devices/pci0000:00/%s", bdf);
	return path;
}

void tree_pci(const char *bdf, const char *vendor_device, const char *class_code,
	      const char *driver, int group)
{
	char vendor[8], device[8], link[64];
	const char *dir = tree_device(bdf);

	snprintf(vendor, sizeof(vendor), "0x%.4s\n", vendor_device);
	snprintf(device, sizeof(device), "0x%.4s\n", vendor_device + 5);
	tree_file(vendor, "%s/vendor", dir);
	tree_file(device, "%s/device", dir);
	tree_file(class_code, "%s/class", dir);
	tree_file("(null)\n", "%s/driver_override", dir);
	tree_link(dir, "sys/bus/pci/devices/%s", bdf);
	if (driver[0] != '\0') {
		snprintf(link, sizeof(link), "sys/bus/pci/drivers/%s", driver);
		tree_link(link, "%s/driver", dir);
	}
	if (group >= 0) {
		snprintf(link, sizeof(link), "sys/kernel/iommu_groups/%d", group);
		tree_link(link, "%s/iommu_group", dir);
		tree_link(dir, "sys/kernel/iommu_groups/%d/devices/%s", group, bdf);
	}
}

static void make_fifo(const char *fmt, ...)
{
	char path[PATH_BYTES];

	PATH(path, fmt);
	make_parents(path, false);
	if (mkfifo(path, 0600) != 0)
		fatal(path);
}

void tree_driver(const char *name)
{
	snprintf(drivers[driver_count++], BH_PCI_NAME, "%s", name);
	make_fifo("sys/bus/pci/drivers/%s/bind", name);
	make_fifo("sys/bus/pci/drivers/%s/unbind", name);
}

/* ---- the kernel ---- */

static void bdf_word(char *text)
{
	text[strcspn(text, " \n")] = '\0';
}

static void set_driver(const char *bdf, const char *driver)
{
	char link[PATH_BYTES], target[2 * PATH_BYTES];

	snprintf(link, sizeof(link), "%.500s/%s/driver", root, tree_device(bdf));
	unlink(link);
	if (driver) {
		snprintf(target, sizeof(target), "%s/sys/bus/pci/drivers/%s", root, driver);
		if (symlink(target, link) != 0)
			fatal(link);
	}
}

static void kernel_give(struct tree_kernel *kernel, const char *bdf, const char *driver)
{
	if (kernel->refuses && strcmp(kernel->refuses, driver) == 0)
		return;
	if (kernel->late_probes > 0)
		kernel->late_probes--;
	else
		set_driver(bdf, driver);
}

static void kernel_probe(struct tree_kernel *kernel, const char *bdf)
{
	char name[PATH_BYTES], driver[BH_PCI_NAME];

	snprintf(name, sizeof(name), "%s/driver", tree_device(bdf));
	if (tree_exists("%s", name))
		return;
	snprintf(name, sizeof(name), "%s/driver_override", tree_device(bdf));
	snprintf(driver, sizeof(driver), "%.60s", tree_read(name));
	bdf_word(driver);
	for (unsigned int i = 0; i < driver_count; i++) {
		if (strcmp(driver, drivers[i]) == 0)
			kernel_give(kernel, bdf, driver);
	}
}

static bool next_word(int fd, char word[64])
{
	ssize_t n = read(fd, word, 63);

	if (n <= 0)
		return false;
	word[n] = '\0';
	bdf_word(word);
	return true;
}

static int open_fifo(const char *fmt, ...)
{
	char path[PATH_BYTES];

	PATH(path, fmt);
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		fatal(path);
	return fd;
}

static void *kernel_main(void *arg)
{
	const struct timespec pause = { 0, 2 * 1000 * 1000 };
	struct tree_kernel *kernel = arg;
	int probe = open_fifo("sys/bus/pci/drivers_probe");
	int bind[DRIVERS_MAX], unbind[DRIVERS_MAX];
	char bdf[64];

	for (unsigned int i = 0; i < driver_count; i++) {
		bind[i] = open_fifo("sys/bus/pci/drivers/%s/bind", drivers[i]);
		unbind[i] = open_fifo("sys/bus/pci/drivers/%s/unbind", drivers[i]);
	}
	while (!__atomic_load_n(&kernel->stop, __ATOMIC_ACQUIRE)) {
		for (unsigned int i = 0; i < driver_count; i++) {
			if (next_word(unbind[i], bdf) && !kernel->holds_on)
				set_driver(bdf, NULL);
			if (next_word(bind[i], bdf))
				kernel_give(kernel, bdf, drivers[i]);
		}
		if (next_word(probe, bdf))
			kernel_probe(kernel, bdf);
		nanosleep(&pause, NULL);
	}
	for (unsigned int i = 0; i < driver_count; i++) {
		close(bind[i]);
		close(unbind[i]);
	}
	close(probe);
	return NULL;
}

void tree_kernel_start(struct tree_kernel *kernel)
{
	make_fifo("sys/bus/pci/drivers_probe");
	kernel->stop = false;
	if (pthread_create(&kernel->thread, NULL, kernel_main, kernel) != 0)
		fatal("pthread_create");
}

void tree_kernel_stop(struct tree_kernel *kernel)
{
	__atomic_store_n(&kernel->stop, true, __ATOMIC_RELEASE);
	pthread_join(kernel->thread, NULL);
}

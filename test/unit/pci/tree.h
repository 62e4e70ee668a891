/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine made of files: the parts of /sys, /proc and /dev that lib/pci looks at, below one
 * temporary directory, and a thread that stands in for the kernel where files are written to.
 */
#ifndef TEST_UNIT_PCI_TREE_H
#define TEST_UNIT_PCI_TREE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include <bellhop/pci.h>

#define TREE_LOG 1024

/* The machine of the running case; set up and taken down around each. */
extern struct bh_pci_opts tree_opts;
extern char tree_said[TREE_LOG]; /* the last line logged */

int tree_make(void);
int tree_remove(void);

/* A file with a text, made with its directories; name and link targets are relative to the root. */
void tree_file(const char *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tree_bytes(const void *bytes, size_t len, const char *name);
void tree_dir(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void tree_link(const char *target, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tree_unlink(const char *name);
bool tree_exists(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
const char *tree_read(const char *name); /* per-thread storage, "" if there is none */

/*
 * A PCI device below sys/devices/pci0000:00 with a link in bus/pci/devices; driver and group as
 * bh_pci_device has them. What belongs to it goes below tree_device().
 */
void tree_pci(const char *bdf, const char *vendor_device, const char *class_code,
	      const char *driver, int group);
const char *tree_device(const char *bdf); /* "sys/devices/pci0000:00/BDF"; per-thread storage */
void tree_driver(const char *name);

/* The kernel: takes and gives drivers as it is told through the files of the PCI bus. */
struct tree_kernel {
	/* Set before it starts. */
	const char *refuses;	  /* this driver takes nothing */
	unsigned int late_probes; /* so many probes find the driver not ready */
	bool holds_on;		  /* unbinding does nothing */
	/* ---- */
	pthread_t thread;
	bool stop; /* __atomic */
};
void tree_kernel_start(struct tree_kernel *kernel);
void tree_kernel_stop(struct tree_kernel *kernel);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the programs that run in guests share: a device, the memory it reaches, what was logged, and
 * one line per test on stdout.
 */
#ifndef TEST_VM_VMTEST_H
#define TEST_VM_VMTEST_H

#include <stdbool.h>
#include <stdint.h>

#include <bellhop/bellhop.h>

#define VM_LOG_BYTES 16384

/* A device opened with one pool of its own. */
struct vm {
	const char *address;
	struct bh_log log;
	char said[VM_LOG_BYTES]; /* everything logged since vm_open() began */
	struct bh_device_opts opts;
	struct bh_pool *pool;
	struct bh_dma_space *space;
	struct bh_device *dev;
};

/* Fills in options and makes the pool; the device is not open yet. False: said why, failed. */
bool vm_init(struct vm *vm, const char *address);
/* 0 or what bh_open() says. */
int vm_open(struct vm *vm);
void vm_fini(struct vm *vm);

/* A test fails once; its first reason counts. Returns false. */
bool vm_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void vm_skip(const char *reason);

#define VM_CHECK(condition)                                                   \
	do {                                                                  \
		if (!(condition)) {                                           \
			vm_fail("%s:%d: %s", __FILE__, __LINE__, #condition); \
			return;                                               \
		}                                                             \
	} while (0)

struct vm_case {
	const char *name;
	void (*fn)(struct vm *vm); /* with the device open, unless closed is set */
	bool closed;
};

/* Runs the cases named behind the address. Exit status. */
int vm_main(const struct vm_case *cases, size_t count, int argc, char **argv);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmtest.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define POOL_BYTES (8u << 20)

static char reason[512];
static bool failed, skipped;

bool vm_fail(const char *fmt, ...)
{
	va_list ap;

	if (!failed) {
		va_start(ap, fmt);
		vsnprintf(reason, sizeof(reason), fmt, ap);
		va_end(ap);
	}
	failed = true;
	return false;
}

void vm_skip(const char *why)
{
	snprintf(reason, sizeof(reason), "%s", why);
	skipped = true;
}

static void keep(void *ctx, enum bh_log_level level, const char *component, const char *line)
{
	struct vm *vm = ctx;
	size_t used = strlen(vm->said);

	(void)level;
	snprintf(vm->said + used, sizeof(vm->said) - used, "%s: %s\n", component, line);
}

bool vm_init(struct vm *vm, const char *address)
{
	struct bh_pool_opts pool;

	memset(vm, 0, sizeof(*vm));
	vm->address = address;
	vm->log = (struct bh_log){ .write = keep, .ctx = vm, .level = BH_LOG_DEBUG };
	bh_device_opts_init(&vm->opts);
	vm->opts.log = &vm->log;
	bh_pool_opts_init(&pool);
	pool.bytes = POOL_BYTES;
	if (bh_pool_create(&pool, &vm->pool) != 0 ||
	    bh_dma_space_create(&vm->log, &vm->space) != 0 ||
	    bh_dma_space_add(vm->space, vm->pool) != 0)
		return vm_fail("no memory for a pool");
	vm->opts.space = vm->space;
	return true;
}

int vm_open(struct vm *vm)
{
	vm->said[0] = '\0';
	return bh_open(vm->address, &vm->opts, &vm->dev);
}

void vm_fini(struct vm *vm)
{
	bh_device_close(vm->dev);
	bh_dma_space_destroy(vm->space);
	bh_pool_destroy(vm->pool);
}

/* True: it failed. */
static bool run_case(const struct vm_case *c, const char *address)
{
	struct vm vm;
	int rc;

	failed = skipped = false;
	if (vm_init(&vm, address)) {
		rc = c->closed ? 0 : vm_open(&vm);
		if (rc != 0)
			vm_fail("opening it: error %d", -rc);
		else
			c->fn(&vm);
	}
	if (failed)
		printf("%s", vm.said);
	vm_fini(&vm);
	if (failed)
		printf("FAIL %s: %s\n", c->name, reason);
	else if (skipped)
		printf("SKIP %s: %s\n", c->name, reason);
	else
		printf("PASS %s\n", c->name);
	fflush(stdout);
	return failed;
}

int vm_main(const struct vm_case *cases, size_t count, int argc, char **argv)
{
	bool any = false;
	int ran = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: %s ADDRESS CASE...\n", argv[0]);
		return 2;
	}
	for (size_t i = 0; i < count; i++) {
		bool wanted = false;

		for (int a = 2; a < argc; a++)
			wanted |= strcmp(argv[a], cases[i].name) == 0;
		if (!wanted)
			continue;
		any |= run_case(&cases[i], argv[1]);
		ran++;
	}
	if (ran == argc - 2)
		return any;
	printf("FAIL cases: %d named, %d there are\n", argc - 2, ran);
	return 1;
}

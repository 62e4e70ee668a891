/* SPDX-License-Identifier: BSD-3-Clause */
#include "common.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_log(void *ctx, enum bh_log_level level, const char *component, const char *line)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	struct app *app = ctx;

	if (level == BH_LOG_ERROR)
		__atomic_add_fetch(&app->errors, 1, __ATOMIC_RELAXED);
	fprintf(stderr, "%s: %s: %s: %s\n", app->name, names[level], component, line);
}

void app_init(struct app *app, const char *name)
{
	app->name = name;
	app->errors = 0;
	app->log = (struct bh_log){ .write = write_log, .ctx = app, .level = BH_LOG_WARN };
}

void app_verbose(struct app *app)
{
	if (app->log.level < BH_LOG_DEBUG)
		app->log.level++;
}

static void say(const struct app *app, const char *tail, const char *fmt, va_list args)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, args);
	fprintf(stderr, "%s: %s%s\n", app->name, text, tail);
}

int app_fail(const struct app *app, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(app, "", fmt, args);
	va_end(args);
	return code;
}

int app_fail_unsaid(const struct app *app, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (__atomic_load_n(&app->errors, __ATOMIC_RELAXED) == 0)
		say(app, "", fmt, args);
	va_end(args);
	return code;
}

int app_usage(const struct app *app, const char *fmt, ...)
{
	char tail[64];
	va_list args;

	snprintf(tail, sizeof(tail), " (see %s --help)", app->name);
	va_start(args, fmt);
	say(app, tail, fmt, args);
	va_end(args);
	return EXIT_USAGE;
}

int app_bad_option(const struct app *app, int c, char **argv)
{
	const char *word = argv[optind - 1];

	return c == ':' ? app_usage(app, "%s: its value is missing", word)
			: app_usage(app, "unknown option '%s'", word);
}

int app_check_cpus(struct app *app, struct bh_cpuset *cpus)
{
	struct bh_cpuset allowed;

	int error = bh_cpuset_allowed(&allowed);
	if (error)
		return app_fail(app, 1, "cannot learn the allowed CPUs: %s", strerror(-error));
	if (bh_cpuset_count(cpus) == 0)
		bh_cpuset_add(cpus, (unsigned int)bh_cpuset_last(&allowed));
	for (int cpu = bh_cpuset_first(cpus); cpu >= 0; cpu = bh_cpuset_next(cpus, cpu)) {
		char text[256];

		if (bh_cpuset_has(&allowed, (unsigned int)cpu))
			continue;
		bh_format_cpus(&allowed, text, sizeof(text));
		return app_usage(app, "-c: CPU %d is not one this process may use (allowed: %s)",
				 cpu, text);
	}
	return -1;
}

void app_version(const struct app *app)
{
	printf("%s %s\n", app->name, bh_version());
}

const char *app_attr_str(enum bh_attr attr)
{
	switch (attr) {
	case BH_ATTR_UC:
		return "UC";
	case BH_ATTR_WC:
		return "WC";
	case BH_ATTR_MEMORY:
		return "memory";
	default:
		return "unknown";
	}
}

static int open_all(struct app *app, size_t pool_bytes, const struct bh_nvme_opts *nvme_opts,
		    struct app_nvme *n)
{
	struct bh_pool_opts pool_opts;
	struct bh_device_opts dev_opts;

	bh_pool_opts_init(&pool_opts);
	pool_opts.name = app->name;
	pool_opts.bytes = pool_bytes;
	pool_opts.log = &app->log;
	int error = bh_pool_create(&pool_opts, &n->pool);
	if (error)
		return app_fail_unsaid(app, error, "no %zu MiB of memory for buffers: %s",
				       pool_bytes >> 20, strerror(-error));
	if (!n->space_is_lent)
		error = bh_dma_space_create(&app->log, &n->space);
	if (!error)
		error = bh_dma_space_add(n->space, n->pool);
	if (error)
		return app_fail_unsaid(app, error, "%s: %s", n->text, strerror(-error));

	bh_device_opts_init(&dev_opts);
	dev_opts.space = n->space;
	dev_opts.log = &app->log;
	error = bh_open(n->text, &dev_opts, &n->dev);
	if (error)
		return app_fail_unsaid(app, error, "cannot open %s: %s", n->text, strerror(-error));
	error = bh_nvme_attach(n->dev, nvme_opts, &n->nvme);
	if (error)
		return app_fail_unsaid(app, error, "%s: cannot start the NVMe controller: %s",
				       n->text, strerror(-error));
	return 0;
}

int app_nvme_open(struct app *app, const char *address, size_t pool_bytes,
		  const struct bh_nvme_opts *opts, struct app_nvme *out)
{
	return app_nvme_open_with(app, address, pool_bytes, opts, NULL, out);
}

int app_nvme_open_with(struct app *app, const char *address, size_t pool_bytes,
		       const struct bh_nvme_opts *opts, const struct app_nvme *with,
		       struct app_nvme *out)
{
	struct bh_nvme_opts defaults;
	const char *why = NULL;

	memset(out, 0, sizeof(*out));
	out->text = address;
	if (bh_address_parse(address, &out->address, &why) != 0)
		return app_fail(app, -EINVAL, "address '%s': %s", address, why);
	if (!opts) {
		bh_nvme_opts_init(&defaults);
		defaults.log = &app->log;
		opts = &defaults;
	}
	if (with) {
		out->space = with->space;
		out->space_is_lent = true;
	}
	int error = open_all(app, pool_bytes, opts, out);
	if (error)
		app_nvme_close(out);
	return error;
}

void app_nvme_close(struct app_nvme *n)
{
	bh_nvme_detach(n->nvme);
	bh_device_close(n->dev);
	if (n->space_is_lent) {
		/* One that was not added is not found. */
		(void)bh_dma_space_remove(n->space, n->data);
		(void)bh_dma_space_remove(n->space, n->pool);
	} else {
		bh_dma_space_destroy(n->space);
	}
	bh_pool_destroy(n->data);
	bh_pool_destroy(n->pool);
	memset(n, 0, sizeof(*n));
}

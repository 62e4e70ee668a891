/* SPDX-License-Identifier: BSD-3-Clause */
/* What all programs share: how they log, fail and open a controller. */
#ifndef APP_COMMON_H
#define APP_COMMON_H

#include <stddef.h>

#include <bellhop/bellhop.h>
#include <bellhop/dma.h>
#include <bellhop/log.h>
#include <bellhop/nvme.h>
#include <bellhop/parse.h>

#define EXIT_USAGE 2

struct app {
	const char *name;
	struct bh_log log;   /* to stderr; -v raises its level */
	unsigned int errors; /* error lines so far; __atomic */
};

/* Quiet but for warnings and errors. */
void app_init(struct app *app, const char *name);
void app_verbose(struct app *app); /* one -v: info; two: debug */

/* "NAME: text" on stderr; returns code, to be returned by main. */
int app_fail(const struct app *app, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same unless a library has logged an error already: one failure, one line. */
int app_fail_unsaid(const struct app *app, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* As app_fail with "see NAME --help" behind it; returns EXIT_USAGE. */
int app_usage(const struct app *app, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* What getopt_long() said of argv with ':' (no value) or anything else (unknown); EXIT_USAGE. */
int app_bad_option(const struct app *app, int c, char **argv);
/*
 * CPUs to poll on: those given must be allowed; none given means the highest allowed one. -1: fine,
 * otherwise what main returns, having said why.
 */
int app_check_cpus(struct app *app, struct bh_cpuset *cpus);
void app_version(const struct app *app);
/* Of a mapping: "UC", "WC", "memory", or "unknown" where it is not known. */
const char *app_attr_str(enum bh_attr attr);

/* A controller with the memory it may reach. */
struct app_nvme {
	struct bh_address address;
	const char *text; /* the address as typed */
	struct bh_pool *pool;
	struct bh_pool *data; /* a second one, if the program added it to the space */
	struct bh_dma_space *space;
	bool space_is_lent; /* another one's */
	struct bh_device *dev;
	struct bh_nvme *nvme;
};

/*
 * Makes a pool of pool_bytes and a space, opens the device and attaches the driver. opts may be
 * NULL. On failure says why on stderr (libraries log; this adds the rest), leaves nothing behind
 * and returns -errno.
 */
int app_nvme_open(struct app *app, const char *address, size_t pool_bytes,
		  const struct bh_nvme_opts *opts, struct app_nvme *out);
/*
 * The same in the DMA space of another one, which is closed after this one: both reach all memory
 * of both. with may be NULL.
 */
int app_nvme_open_with(struct app *app, const char *address, size_t pool_bytes,
		       const struct bh_nvme_opts *opts, const struct app_nvme *with,
		       struct app_nvme *out);
void app_nvme_close(struct app_nvme *n); /* also a partly opened or zeroed one */

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Starting EAL in the one profile (DESIGN section 2): no devices, no hugepages, no shared
 * configuration, one lcore that may run anywhere the caller may.
 *
 * EAL makes a runtime directory even when it shares nothing. It gets one below a fresh private
 * directory of ours, which is removed as soon as EAL is up: with --no-shconf and --no-telemetry
 * nothing is ever put there, and what is gone cannot be left behind, however the process ends.
 *
 * rte_eal_init() can be called once in the life of a process, also when it fails.
 */
#include "env/env.h"

#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>

enum { EAL_ARGS = 16, FTW_FDS = 8 };

/* Kept for good, because EAL keeps pointers into its arguments. */
struct arguments {
	int argc;
	char *argv[EAL_ARGS + 1];
	char *given[EAL_ARGS + 1]; /* a copy, which EAL reorders and overwrites */
};

static struct arguments arguments;

static void argument_add(struct arguments *args, char *text)
{
	if (text && args->argc < EAL_ARGS) {
		args->argv[args->argc++] = text;
		args->argv[args->argc] = NULL;
	} else {
		free(text);
	}
}

static void arguments_free(struct arguments *args)
{
	while (args->argc > 0)
		free(args->argv[--args->argc]);
}

__attribute__((format(printf, 1, 2))) static char *text_make(const char *fmt, ...)
{
	char *text;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : text;
}

static int arguments_make(struct arguments *args, const char *name, const struct bh_log *log)
{
	static const char *const profile[] = {
		"--no-pci",	  "--no-huge", "--no-shconf", "--no-telemetry",
		"--iova-mode=va", "-m",	       "64",
	};
	bool chatty = log && log->level >= BH_LOG_DEBUG;
	char list[BH_CPU_MAX * 5];
	struct bh_cpuset cpus;
	int rc = bh_cpuset_allowed(&cpus);

	if (rc < 0)
		return rc;
	bh_format_cpus(&cpus, list, sizeof(list));
	argument_add(args, strdup(name));
	for (size_t i = 0; i < sizeof(profile) / sizeof(profile[0]); i++)
		argument_add(args, strdup(profile[i]));
	argument_add(args, text_make("--lcores=0@(%s)", list));
	argument_add(args, text_make("--file-prefix=bh-%d", (int)getpid()));
	argument_add(args, text_make("--log-level=%s", chatty ? "info" : "notice"));
	if (args->argc == (int)(sizeof(profile) / sizeof(profile[0])) + 4)
		return 0;
	arguments_free(args);
	return -ENOMEM;
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* The private directory, and the variable that leads EAL there as root and as anybody else. */
struct rundir {
	char *path;
	char *saved;
};

static const char rundir_variable[] = "RUNTIME_DIRECTORY";

static int rundir_make(struct rundir *dir)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	const char *saved = getenv(rundir_variable);

	if (!base || access(base, W_OK | X_OK) < 0)
		base = getenv("TMPDIR");
	if (!base || access(base, W_OK | X_OK) < 0)
		base = P_tmpdir;
	dir->path = text_make("%s/bellhop-XXXXXX", base);
	dir->saved = saved ? strdup(saved) : NULL;
	if (!dir->path || (saved && !dir->saved) || !mkdtemp(dir->path)) {
		int rc = dir->path ? -errno : -ENOMEM;

		free(dir->path);
		free(dir->saved);
		return rc;
	}
	setenv(rundir_variable, dir->path, 1);
	return 0;
}

static void rundir_remove(struct rundir *dir)
{
	if (dir->saved)
		setenv(rundir_variable, dir->saved, 1);
	else
		unsetenv(rundir_variable);
	nftw(dir->path, entry_remove, FTW_FDS, FTW_DEPTH | FTW_PHYS);
	free(dir->path);
	free(dir->saved);
}

/* EAL pins its caller to what the lcore may use and tells the thread it is lcore 0. */
static int init_keeping_affinity(struct arguments *args)
{
	cpu_set_t mask[8];
	bool saved = sched_getaffinity(0, sizeof(mask), mask) == 0;
	int rc, error;

	memcpy(args->given, args->argv, sizeof(args->given));
	rc = rte_eal_init(args->argc, args->given);
	error = rte_errno;
	if (saved)
		sched_setaffinity(0, sizeof(mask), mask);
	rte_errno = error;
	return rc;
}

static int start(const char *name, const struct bh_log *log)
{
	struct rundir dir;
	int rc;

	rc = bh__eal_log_divert();
	if (rc < 0)
		return rc;
	bh__eal_log_set(log);
	rc = arguments_make(&arguments, name, log);
	if (rc < 0)
		return rc;
	rc = rundir_make(&dir);
	if (rc < 0) {
		arguments_free(&arguments);
		return rc;
	}
	rc = init_keeping_affinity(&arguments) < 0 ? -rte_errno : 0;
	rundir_remove(&dir);
	return rc;
}

int bh__eal_start(const char *name, const struct bh_log *log)
{
	static bool refused;
	int rc;

	if (refused) {
		bh_log(log, BH_LOG_ERROR, "env",
		       "EAL failed before in this process; it can be started only once");
		return -EIO;
	}
	rc = start(name, log);
	if (rc == 0)
		return 0;
	refused = arguments.argc > 0; /* it got as far as rte_eal_init() */
	bh__eal_log_set(NULL);
	bh_log(log, BH_LOG_ERROR, "env", "EAL (%s) does not start: %s", bh_env_dpdk_version(),
	       strerror(-rc));
	return -EIO;
}

bool bh__eal_running(void)
{
	/* 0 until rte_eal_init() has parsed the cores. */
	return rte_lcore_count() > 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct fake fake;
struct bh_dma_space *space;
struct bh_pool *pool;
struct bh_device_opts opts;

static char lines[8192];
static unsigned int errors;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int fds_before;

static void log_write(void *ctx, enum bh_log_level level, const char *component, const char *line)
{
	size_t used;

	(void)ctx;
	(void)component;
	pthread_mutex_lock(&log_lock);
	used = strlen(lines);
	errors += level == BH_LOG_ERROR;
	if (level <= BH_LOG_WARN)
		snprintf(lines + used, sizeof(lines) - used, "%s\n", line);
	pthread_mutex_unlock(&log_lock);
}

static const struct bh_log test_log = { .write = log_write, .level = BH_LOG_DEBUG };

bool log_has(const char *text)
{
	bool has;

	pthread_mutex_lock(&log_lock);
	has = strstr(lines, text) != NULL;
	pthread_mutex_unlock(&log_lock);
	return has;
}

unsigned int log_errors(void)
{
	unsigned int n;

	pthread_mutex_lock(&log_lock);
	n = errors;
	pthread_mutex_unlock(&log_lock);
	return n;
}

static unsigned int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

int fixture_setup(void)
{
	struct bh_pool_opts po;

	lines[0] = '\0';
	errors = 0;
	fds_before = count_fds();
	bh_pool_opts_init(&po);
	po.bytes = 64 * 1024;
	po.page_size = 4096;
	if (bh_pool_create(&po, &pool) != 0 || bh_dma_space_create(&test_log, &space) != 0 ||
	    bh_dma_space_add(space, pool) != 0 || fake_start(&fake, NULL) != 0)
		return 1;
	bh_device_opts_init(&opts);
	opts.space = space;
	opts.log = &test_log;
	opts.timeout_ns = 3000000000ull;
	return 0;
}

int fixture_teardown(void)
{
	fake_stop(&fake);
	bh_dma_space_destroy(space);
	bh_pool_destroy(pool);
	if (count_fds() == fds_before)
		return 0;
	printf("FAIL file descriptors: %u before, %u after\n", fds_before, count_fds());
	return 1;
}

int open_with(bool (*hook)(struct fake *, struct fake_msg *), struct bh_device **dev)
{
	fake_wait_idle(&fake);
	fake.hook = hook;
	return bh_io_vfu_open(fake.path, &opts, dev);
}

struct bh_device *open_ok(bool (*hook)(struct fake *, struct fake_msg *))
{
	struct bh_device *dev = NULL;

	CU_ASSERT_EQUAL_FATAL(open_with(hook, &dev), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(dev);
	return dev;
}

bool wait_gone(const struct bh_device *dev)
{
	for (int i = 0; i < 5000 && !bh_device_gone(dev); i++)
		usleep(1000);
	return bh_device_gone(dev);
}

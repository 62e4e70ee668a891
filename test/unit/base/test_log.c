/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/clock.h>
#include <bellhop/log.h>

#include "base/fd.h"

static char seen[1024];
static int lines;

static void sink(void *ctx, enum bh_log_level level, const char *component, const char *line)
{
	CU_ASSERT_PTR_EQUAL(ctx, &lines);
	snprintf(seen, sizeof(seen), "%d %s %s", (int)level, component, line);
	lines++;
}

static struct bh_log log_info = { sink, &lines, BH_LOG_INFO };

static int setup(void)
{
	lines = 0;
	seen[0] = '\0';
	return 0;
}

static void null_is_silent(void)
{
	struct bh_log none = { NULL, NULL, BH_LOG_DEBUG };

	bh_log(NULL, BH_LOG_ERROR, "x", "y");
	bh_log(&none, BH_LOG_ERROR, "x", "y");
	CU_ASSERT_EQUAL(lines, 0);
}

static void levels_above_are_dropped(void)
{
	bh_log(&log_info, BH_LOG_DEBUG, "x", "y");
	CU_ASSERT_EQUAL(lines, 0);
	bh_log(&log_info, BH_LOG_INFO, "base", "%s %d", "y", 5);
	CU_ASSERT_STRING_EQUAL(seen, "2 base y 5");
}

static void long_lines_are_cut(void)
{
	bh_log(&log_info, BH_LOG_ERROR, "b", "%600d", 1);
	CU_ASSERT_EQUAL(strlen(seen), strlen("0 b ") + 511);
}

static void control_bytes_are_replaced(void)
{
	bh_log(&log_info, BH_LOG_WARN, "b", "a\nb\033[2J\tc\x7f\n");
	CU_ASSERT_STRING_EQUAL(seen, "1 b a?b?[2J c?");
}

static void ticks_become_nanoseconds(void)
{
	struct bh_clock clock;
	uint64_t ticks, outer, inner;

	/* We may be stopped between two readings: so there are some on either side of the ticks. */
	bh_clock_init(&clock);
	outer = bh_now_ns();
	ticks = bh_ticks();
	inner = bh_now_ns();
	while (bh_now_ns() - inner < 20000000)
		;
	inner = bh_now_ns() - inner;
	ticks = bh_ticks() - ticks;
	outer = bh_now_ns() - outer;
	CU_ASSERT_TRUE(bh_clock_ns(&clock, ticks) > inner - inner / 20);
	CU_ASSERT_TRUE(bh_clock_ns(&clock, ticks) < outer + outer / 20);
	CU_ASSERT_TRUE(clock.hz > 1000000);
	/* A day does not overflow. */
	CU_ASSERT_TRUE(bh_clock_ns(&clock, clock.hz * 86400) / 1000000000 - 86399 <= 2);
}

static void fd_close_is_idempotent(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), old = fd;

	errno = ENOENT;
	bh__fd_close(&fd);
	CU_ASSERT_EQUAL(fd, -1);
	CU_ASSERT_EQUAL(fcntl(old, F_GETFD), -1);
	errno = ENOENT;
	bh__fd_close(&fd);
	CU_ASSERT_EQUAL(errno, ENOENT);
}

BH_SUITE_FIXTURE("log", setup, NULL, { "null_is_silent", null_is_silent },
		 { "levels_above_are_dropped", levels_above_are_dropped },
		 { "long_lines_are_cut", long_lines_are_cut },
		 { "control_bytes_are_replaced", control_bytes_are_replaced },
		 { "ticks_become_nanoseconds", ticks_become_nanoseconds },
		 { "fd_close_is_idempotent", fd_close_is_idempotent })

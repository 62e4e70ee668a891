/* SPDX-License-Identifier: BSD-3-Clause */
/* Socket paths: stale, live, odd. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <bellhop/clock.h>

#include "unit.h"
#include "vfu/vfu.h"

static char dir[64];
static char path[96];

static int setup(void)
{
	strcpy(dir, "/tmp/bh-sock-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/s", dir);
	return 0;
}

static int teardown(void)
{
	unlink(path);
	return rmdir(dir); /* nothing else was left in it */
}

static void stale_is_replaced_live_is_refused(void)
{
	struct stat st;
	int fd, other, client;

	CU_ASSERT_EQUAL(vfu_listen(path, 0666, &fd), 0);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0666);
	CU_ASSERT_EQUAL(vfu_listen(path, 0600, &other), -EADDRINUSE);
	CU_ASSERT_EQUAL(other, -1);
	CU_ASSERT_EQUAL(vfu_connect(path, 100, &client), 0);
	CU_ASSERT(fcntl(client, F_GETFL) & O_NONBLOCK);
	close(client);
	close(fd);
	CU_ASSERT_EQUAL(vfu_connect(path, 100, &client), -ECONNREFUSED);
	CU_ASSERT_EQUAL(vfu_listen(path, 0600, &fd), 0);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
	close(fd);
}

static void odd_paths_have_their_errnos(void)
{
	char longest[256];
	int fd;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	CU_ASSERT_EQUAL(vfu_listen(longest, 0600, &fd), -ENAMETOOLONG);
	CU_ASSERT_EQUAL(vfu_connect(longest, 0, &fd), -ENAMETOOLONG);
	CU_ASSERT_EQUAL(vfu_listen("", 0600, &fd), -ENOENT);
	CU_ASSERT_EQUAL(vfu_listen("/nonexistent/dir/s", 0600, &fd), -ENOENT);
	CU_ASSERT_EQUAL(vfu_connect(path, 0, &fd), -ENOENT);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	CU_ASSERT_EQUAL(vfu_listen(path, 0600, &fd), -EEXIST);
	CU_ASSERT_EQUAL(vfu_connect(path, 0, &fd), -ENOTSOCK);
}

static void full_backlog_times_out(void)
{
	int fd, client[64], i, rc = 0;

	CU_ASSERT_EQUAL(vfu_listen(path, 0600, &fd), 0);
	for (i = 0; i < 64 && rc == 0; i++)
		rc = vfu_connect(path, 20, &client[i]);
	CU_ASSERT_EQUAL(rc, -ETIMEDOUT);
	for (i--; i >= 0; i--)
		if (client[i] >= 0)
			close(client[i]);
	close(fd);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void a_signal_does_not_end_the_wait(void)
{
	const struct sigaction action = { .sa_handler = on_alarm };
	const struct itimerval soon = { .it_value = { .tv_usec = 30000 } };
	int fd, client[64], i, rc = 0;
	uint64_t begin;

	CU_ASSERT_EQUAL(vfu_listen(path, 0600, &fd), 0);
	for (i = 0; i < 63 && rc == 0; i++)
		rc = vfu_connect(path, 20, &client[i]);
	CU_ASSERT_EQUAL(sigaction(SIGALRM, &action, NULL), 0);
	CU_ASSERT_EQUAL(setitimer(ITIMER_REAL, &soon, NULL), 0);
	begin = bh_now_ns();
	CU_ASSERT_EQUAL(vfu_connect(path, 150, &client[i]), -ETIMEDOUT);
	CU_ASSERT(bh_now_ns() - begin >= 140000000);
	for (; i >= 0; i--)
		if (client[i] >= 0)
			close(client[i]);
	close(fd);
}

BH_SUITE_FIXTURE("vfu_sock", setup, teardown,
		 { "stale_is_replaced_live_is_refused", stale_is_replaced_live_is_refused },
		 { "odd_paths_have_their_errnos", odd_paths_have_their_errnos },
		 { "full_backlog_times_out", full_backlog_times_out },
		 { "a_signal_does_not_end_the_wait", a_signal_does_not_end_the_wait }, )

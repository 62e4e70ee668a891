/* SPDX-License-Identifier: BSD-3-Clause */
/* Running cases: each in a child with a deadline of its own, which reports through a pipe why it
 * failed. */
#include "ft.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bellhop/clock.h>
#include <bellhop/fault.h>
#include <bellhop/parse.h>

enum {
	EXIT_PASS = 0,
	EXIT_FAIL = 61,
	EXIT_SKIP = 62,
};

static int report_fd = -1;

_Noreturn void ft_fail(const char *file, int line, const char *fmt, ...)
{
	const char *base = strrchr(file, '/');
	va_list args;

	dprintf(report_fd, "%s:%d: ", base ? base + 1 : file, line);
	va_start(args, fmt);
	vdprintf(report_fd, fmt, args);
	va_end(args);
	_exit(EXIT_FAIL);
}

_Noreturn void ft_skip(const char *reason)
{
	dprintf(report_fd, "%s", reason);
	_exit(EXIT_SKIP);
}

bool ft_is_sanitized(void)
{
	const char *san = getenv("BH_SAN");

	return san && san[0] != '\0';
}

uint64_t ft_random(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15ull;
	uint64_t z = *state;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

uint64_t ft_deadline(unsigned int ms)
{
	return bh_now_ns() + ms * 1000000ull * (ft_is_sanitized() ? 4 : 1);
}

const char *ft_cpus(unsigned int n, char separator)
{
	static char text[256];
	struct bh_cpuset allowed;
	size_t len = 0;

	FT_EQUAL(bh_cpuset_allowed(&allowed), 0);
	if (bh_cpuset_count(&allowed) < n)
		ft_skip("needs more CPUs than this machine has");
	for (int cpu = bh_cpuset_first(&allowed); n > 0; cpu = bh_cpuset_next(&allowed, cpu), n--)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%d%c", cpu, separator);
	text[len - 1] = '\0';
	return text;
}

pid_t ft_fork(void (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();

	FT_CHECK(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fn(arg);
		exit(EXIT_PASS);
	}
	return pid;
}

void ft_join(pid_t pid, unsigned int ms)
{
	int status;

	FT_UNTIL(ms, waitpid(pid, &status, WNOHANG) == pid, usleep(1000));
	if (WIFSIGNALED(status))
		ft_fail(__FILE__, __LINE__, "a process of the case died of signal %d",
			WTERMSIG(status));
	if (WEXITSTATUS(status) != EXIT_PASS)
		_exit(WEXITSTATUS(status)); /* it said why */
}

void ft_kill(pid_t pid)
{
	int status;

	FT_CHECK(kill(pid, SIGKILL) == 0);
	FT_CHECK(waitpid(pid, &status, 0) == pid);
	if (!WIFSIGNALED(status))
		_exit(WEXITSTATUS(status) ? WEXITSTATUS(status) : EXIT_FAIL);
}

void ft_await(int fd, unsigned int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t deadline = ft_deadline(ms);
	int status;
	char c;

	do {
		/* If it has failed, it has said why. */
		if (waitpid(-1, &status, WNOHANG) > 0 && WIFEXITED(status) && WEXITSTATUS(status))
			_exit(WEXITSTATUS(status));
		if (bh_now_ns() > deadline)
			ft_fail(__FILE__, __LINE__, "the other process is not ready");
	} while (poll(&p, 1, 20) != 1);
	FT_EQUAL(read(fd, &c, 1), 1);
}

const char *ft_path(const char *name)
{
	static char paths[4][108];
	static unsigned int next;
	const char *dir = getenv("BH_TMP");
	char *path = paths[next++ % 4];

	if (snprintf(path, sizeof(paths[0]), "%s/%s", dir ? dir : "/tmp", name) >=
	    (int)sizeof(paths[0]))
		ft_fail(__FILE__, __LINE__, "%s/%s is too long for a socket", dir, name);
	return path;
}

/* A directory of the case's own: what another one left behind is not in its way. */
static void enter_directory(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s", ft_path(name));
	if (mkdir(path, 0755) == 0)
		setenv("BH_TMP", path, 1);
}

/* The child: its own process group, so that what it leaves running can be ended with it. */
static _Noreturn void run_child(const struct ft_case *c, int fd)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	bh_fault_install();
	report_fd = fd;
	enter_directory(c->name);
	c->fn();
	exit(EXIT_PASS); /* not _exit: the leak checker runs at exit */
}

/* Waits for the child within `seconds`; its wait status, or -1 when time is up. */
static int wait_child(pid_t pid, unsigned int seconds)
{
	uint64_t deadline = bh_now_ns() + seconds * 1000000000ull;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (bh_now_ns() > deadline) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -1;
		}
		usleep(5000);
	}
	return status;
}

static bool run_case(const struct ft_case *c)
{
	unsigned int seconds = (c->seconds ? c->seconds : 60) * (ft_is_sanitized() ? 4 : 1);
	char why[512] = "";
	int fds[2];

	if (pipe(fds) != 0)
		return false;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		run_child(c, fds[1]);
	close(fds[1]);
	int status = wait_child(pid, seconds);
	kill(-pid, SIGKILL); /* whatever it started */
	ssize_t n = read(fds[0], why, sizeof(why) - 1);
	why[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	if (status == -1)
		printf("FAIL %s: not done after %u s\n", c->name, seconds);
	else if (WIFSIGNALED(status))
		printf("FAIL %s: killed by signal %d (%s)\n", c->name, WTERMSIG(status),
		       strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) == EXIT_SKIP)
		printf("SKIP %s: %s\n", c->name, why);
	else if (WEXITSTATUS(status) != EXIT_PASS)
		printf("FAIL %s: %s (exit code %d)\n", c->name, why, WEXITSTATUS(status));
	else
		printf("PASS %s\n", c->name);
	fflush(stdout);
	return status == 0 ||
	       (status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP);
}

int ft_main(const struct ft_case *cases, size_t count, int argc, char **argv)
{
	bool ok = true;

	for (size_t i = 0; i < count; i++) {
		bool wanted = argc < 2;

		for (int a = 1; a < argc; a++)
			wanted |= strcmp(argv[a], cases[i].name) == 0;
		if (wanted)
			ok &= run_case(&cases[i]);
	}
	return ok ? 0 : 1;
}

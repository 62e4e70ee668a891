/* SPDX-License-Identifier: BSD-3-Clause */
/* The target of a test: started, watched, stopped, killed. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bellhop/clock.h>

#include "ft.h"

#define START_MS 20000
#define STOP_MS 15000

void ft_target_init(struct ft_target *target)
{
	memset(target, 0, sizeof(*target));
	target->pid = -1;
	for (int i = 0; i < 2; i++) {
		char name[32];

		snprintf(name, sizeof(name), "n%d.sock", i);
		snprintf(target->socket[i], sizeof(target->socket[i]), "%s", ft_path(name));
	}
}

static _Noreturn void exec_target(const char *cpus, const char *const *specs, int out)
{
	const char *build = getenv("BH_BUILD");
	const char *argv[32] = { "bh-tgt-test", "-c", cpus };
	char program[512];
	int n = 3;

	while (*specs && n < 31)
		argv[n++] = *specs++;
	snprintf(program, sizeof(program), "%s/test/functional/bh-tgt-test",
		 build ? build : "build");
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* not outliving its case, however that ends */
	dup2(out, STDOUT_FILENO);
	execv(program, (char **)argv);
	_exit(127);
}

void ft_target_start(struct ft_target *target, const char *cpus, const char *const *specs)
{
	char text[64] = "";
	size_t have = 0;
	int fds[2];

	FT_CHECK(pipe(fds) == 0);
	target->pid = fork();
	FT_CHECK(target->pid >= 0);
	if (target->pid == 0)
		exec_target(cpus, specs, fds[1]);
	close(fds[1]);
	while (!strstr(text, "bh-tgt: ready\n")) {
		struct pollfd p = { .fd = fds[0], .events = POLLIN };
		ssize_t n = poll(&p, 1, START_MS) == 1
				    ? read(fds[0], text + have, sizeof(text) - 1 - have)
				    : 0;

		if (n <= 0)
			ft_fail(__FILE__, __LINE__, "the target did not start (%s)", specs[0]);
		have += (size_t)n;
		text[have] = '\0';
	}
	close(fds[0]);
}

void ft_target_serve_on(struct ft_target *target, unsigned int cpus, const char *rest)
{
	char spec[512], list[64];
	const char *const specs[] = { spec, NULL };

	ft_target_init(target);
	snprintf(spec, sizeof(spec), "nvme:%s,cores=%s,%s", target->socket[0], ft_cpus(cpus, '+'),
		 rest);
	snprintf(list, sizeof(list), "%s", ft_cpus(cpus, ','));
	ft_target_start(target, list, specs);
}

void ft_target_serve(struct ft_target *target, const char *rest)
{
	ft_target_serve_on(target, 1, rest);
}

static int wait_target(struct ft_target *target, unsigned int ms)
{
	uint64_t deadline = bh_now_ns() + ms * 1000000ull * (ft_is_sanitized() ? 4 : 1);
	int status;

	for (;;) {
		pid_t pid = waitpid(target->pid, &status, WNOHANG);

		FT_CHECK(pid >= 0);
		if (pid > 0)
			break;
		if (bh_now_ns() > deadline)
			ft_fail(__FILE__, __LINE__, "the target did not end within %u ms", ms);
		usleep(2000);
	}
	target->pid = -1;
	return status;
}

void ft_target_stop(struct ft_target *target)
{
	FT_CHECK(kill(target->pid, SIGTERM) == 0);
	int status = wait_target(target, STOP_MS);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		ft_fail(__FILE__, __LINE__, "the target ended with status 0x%x", status);
	for (int i = 0; i < 2; i++)
		FT_CHECK(access(target->socket[i], F_OK) != 0);
}

void ft_target_kill(struct ft_target *target)
{
	FT_CHECK(kill(target->pid, SIGKILL) == 0);
	wait_target(target, STOP_MS);
}

bool ft_target_is_alive(const struct ft_target *target)
{
	siginfo_t info = { .si_pid = 0 };

	return target->pid > 0 &&
	       waitid(P_PID, (id_t)target->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == 0;
}

unsigned int ft_target_files(const struct ft_target *target)
{
	unsigned int count = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)target->pid);
	DIR *dir = opendir(path);
	FT_CHECK(dir != NULL);
	for (const struct dirent *e = readdir(dir); e; e = readdir(dir))
		count += e->d_name[0] != '.';
	closedir(dir);
	return count;
}

uint64_t ft_target_cpu_ms(const struct ft_target *target)
{
	unsigned long long user = 0, system = 0;
	char path[64], line[1024] = "";

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)target->pid);
	FILE *file = fopen(path, "r");
	FT_CHECK(file != NULL);
	FT_CHECK(fgets(line, sizeof(line), file) != NULL);
	fclose(file);
	FT_CHECK(sscanf(strrchr(line, ')') + 2,
			"%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
			&system) == 2);
	return (user + system) * 1000 / (unsigned long long)sysconf(_SC_CLK_TCK);
}

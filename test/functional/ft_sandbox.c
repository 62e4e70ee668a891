/* SPDX-License-Identifier: BSD-3-Clause */
/* What --sandbox leaves a process, and what it takes: each case confines a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine.h"
#include "ft.h"

static void confined(void *arg)
{
	bool (*holds)(void) = (bool (*)(void))arg;
	struct app app;

	app_init(&app, "ft_sandbox");
	/* No exit handlers: a leak check at exit is more than the sandbox allows. */
	_exit(confine_system_calls(&app) == 0 && holds() ? 0 : 1);
}

static void check(bool (*holds)(void))
{
	ft_join(ft_fork(confined, (void *)holds), 10000);
}

static bool refused(long result)
{
	return result < 0 && errno == EPERM;
}

static bool files_and_sockets(void)
{
	return refused(open("/etc/passwd", O_RDONLY)) &&
	       refused(open("/tmp", O_RDWR | O_CREAT, 0600)) &&
	       refused(socket(AF_INET, SOCK_STREAM, 0)) &&
	       refused(socket(AF_UNIX, SOCK_STREAM, 0)) &&
	       refused(rename("/tmp/bh-a", "/tmp/bh-b"));
}

static bool programs_and_processes(void)
{
	char *const argv[] = { NULL };

	return refused(execve("/bin/true", argv, argv)) && refused(fork()) &&
	       refused(kill(getppid(), 0)) && refused(setuid(0));
}

static bool executable_memory(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page != MAP_FAILED && refused(mprotect(page, 4096, PROT_READ | PROT_EXEC)) &&
	       mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		       MAP_FAILED &&
	       errno == EPERM;
}

static bool what_serving_needs(void)
{
	int fd = memfd_create("sandbox", MFD_CLOEXEC), event = eventfd(0, EFD_CLOEXEC);
	char byte = 'x';

	return fd >= 0 && event >= 0 && ftruncate(fd, 4096) == 0 && pwrite(fd, &byte, 1, 5) == 1 &&
	       mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED &&
	       eventfd_write(event, 1) == 0 && close(fd) == 0 && malloc(1 << 22) != NULL;
}

static void nothing_is_opened(void)
{
	check(files_and_sockets);
}

static void nothing_is_run(void)
{
	check(programs_and_processes);
}

static void memory_is_not_executable(void)
{
	check(executable_memory);
}

static void serving_goes_on(void)
{
	check(what_serving_needs);
}

static bool other_confined; /* __atomic */

static void *other_thread(void *arg)
{
	int *go = arg;
	char byte;

	(void)!read(go[0], &byte, 1);
	__atomic_store_n(&other_confined, refused(open("/etc/passwd", O_RDONLY)), __ATOMIC_RELEASE);
	return NULL;
}

/* A thread that ran before is confined as well. */
static void with_a_thread(void *arg)
{
	struct app app;
	pthread_t thread;
	int go[2];

	(void)arg;
	app_init(&app, "ft_sandbox");
	if (pipe(go) != 0 || pthread_create(&thread, NULL, other_thread, go) != 0 ||
	    confine_system_calls(&app) != 0 || write(go[1], "", 1) != 1)
		_exit(1);
	pthread_join(thread, NULL);
	_exit(__atomic_load_n(&other_confined, __ATOMIC_ACQUIRE) ? 0 : 1);
}

static void all_threads_are_confined(void)
{
	ft_join(ft_fork(with_a_thread, NULL), 10000);
}

FT_MAIN({ "nothing_is_opened", nothing_is_opened, 0 }, { "nothing_is_run", nothing_is_run, 0 },
	{ "memory_is_not_executable", memory_is_not_executable, 0 },
	{ "serving_goes_on", serving_goes_on, 0 },
	{ "all_threads_are_confined", all_threads_are_confined, 0 })

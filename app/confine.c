/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Confinement.
 *
 * A client that found a hole in the target would act in the target's name; so after its start the
 * target can become nobody in particular and give up every system call that serving does not need.
 * What is allowed are calls on descriptors it has or is sent, memory that is never executable, and
 * what the C library needs to wait, to end and to die. Nothing can be opened by name, no socket
 * made, no program run and no process but itself be signalled.
 *
 * io_uring executes calls without passing the filter: stores that use it restrict their rings
 * themselves.
 */
#include "confine.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/if_tun.h>

#include <bellhop/parse.h>

/* ---- the user ---- */

int confine_find_user(const struct app *app, const char *text, uid_t *uid, gid_t *gid)
{
	const struct passwd *user = getpwnam(text);
	uint64_t number;

	if (!user && bh_parse_u64(text, 0, UINT32_MAX - 1, &number) == 0) {
		user = getpwuid((uid_t)number);
		if (!user) { /* a number needs no entry: its group is the same number */
			*uid = (uid_t)number;
			*gid = (gid_t)number;
			return 0;
		}
	}
	if (!user)
		return app_usage(app, "there is no user '%s'", text);
	*uid = user->pw_uid;
	*gid = user->pw_gid;
	return 0;
}

static int become(uid_t uid, gid_t gid)
{
	const struct passwd *user = getpwuid(uid);

	if (user ? initgroups(user->pw_name, gid) != 0 : setgroups(0, NULL) != 0)
		return -errno;
	if (setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
		return -errno;
	return 0;
}

int confine_to_user(const struct app *app, const char *text)
{
	uid_t uid, real, effective, saved;
	gid_t gid;
	int code = confine_find_user(app, text, &uid, &gid);

	if (code != 0)
		return code;
	getresuid(&real, &effective, &saved);
	if (real == uid && effective == uid && saved == uid)
		return 0;
	int error = become(uid, gid);
	if (error)
		return app_fail(app, 1, "cannot become user %s: %s (only root can)", text,
				strerror(-error));
	if (uid != 0 && setuid(0) == 0)
		return app_fail(app, 1, "user %s could become root again", text);
	return 0;
}

/* ---- system calls ---- */

/* On descriptors that are open already, or come from a client. */
static const int io_calls[] = {
	SCMP_SYS(read),		  SCMP_SYS(write),
	SCMP_SYS(readv),	  SCMP_SYS(writev),
	SCMP_SYS(pread64),	  SCMP_SYS(pwrite64),
	SCMP_SYS(preadv),	  SCMP_SYS(pwritev),
	SCMP_SYS(preadv2),	  SCMP_SYS(pwritev2),
	SCMP_SYS(recvmsg),	  SCMP_SYS(sendmsg),
	SCMP_SYS(recvfrom),	  SCMP_SYS(sendto),
	SCMP_SYS(accept4),	  SCMP_SYS(shutdown),
	SCMP_SYS(getsockopt),	  SCMP_SYS(setsockopt),
	SCMP_SYS(getsockname),	  SCMP_SYS(getpeername),
	SCMP_SYS(socketpair),	  SCMP_SYS(close),
	SCMP_SYS(close_range),	  SCMP_SYS(dup),
	SCMP_SYS(dup3),		  SCMP_SYS(fcntl),
	SCMP_SYS(fstat),	  SCMP_SYS(fstatfs),
	SCMP_SYS(lseek),	  SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate),	  SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),	  SCMP_SYS(sync_file_range),
	SCMP_SYS(epoll_create1),  SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),	  SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),	  SCMP_SYS(poll),
	SCMP_SYS(ppoll),	  SCMP_SYS(eventfd2),
	SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime),
	SCMP_SYS(memfd_create),	  SCMP_SYS(io_setup),
	SCMP_SYS(io_submit),	  SCMP_SYS(io_getevents),
	SCMP_SYS(io_pgetevents),  SCMP_SYS(io_destroy),
	SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
};

/* What the process does with itself. The socket files are removed at the end. */
static const int own_calls[] = {
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(futex),
	SCMP_SYS(sched_yield),
	SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getrandom),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(membarrier),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(getcpu),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(rmdir),
};

static int allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);

		/* A call this architecture never had. */
		if (rc < 0 && rc != -EDOM)
			return rc;
	}
	return 0;
}

/* Memory, but none that can be executed; signals, but to ourselves only (abort). */
static int allow_with_arguments(scmp_filter_ctx filter)
{
	static const int memory[] = { SCMP_SYS(mmap), SCMP_SYS(mprotect) };
	static const int signals[] = { SCMP_SYS(kill), SCMP_SYS(tgkill) };
	/* Of a TAP device that is open: what its guest's driver can do, and how many queues it uses. */
	static const unsigned int tap[] = { TUNSETOFFLOAD, TUNSETQUEUE };
	/* mmap and mprotect have the protection third. */
	const struct scmp_arg_cmp no_exec = {
		.arg = 2, .op = SCMP_CMP_MASKED_EQ, .datum_a = PROT_EXEC, .datum_b = 0
	};
	const struct scmp_arg_cmp self = { .arg = 0,
					   .op = SCMP_CMP_EQ,
					   .datum_a = (scmp_datum_t)getpid() };
	int rc = 0;

	for (size_t i = 0; i < 2 && rc == 0; i++) {
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, memory[i], 1, no_exec);
		if (rc == 0)
			rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, signals[i], 1, self);
		if (rc == 0)
			rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
					      SCMP_A1(SCMP_CMP_EQ, tap[i], 0));
	}
	return rc;
}

static int filter_load(scmp_filter_ctx filter)
{
	/* For the threads that run already, too. */
	int rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

	if (rc == 0)
		rc = allow(filter, io_calls, sizeof(io_calls) / sizeof(io_calls[0]));
	if (rc == 0)
		rc = allow(filter, own_calls, sizeof(own_calls) / sizeof(own_calls[0]));
	if (rc == 0)
		rc = allow_with_arguments(filter);
	return rc ? rc : seccomp_load(filter);
}

int confine_system_calls(const struct app *app)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc = filter ? filter_load(filter) : -ENOMEM;

	seccomp_release(filter);
	if (rc < 0)
		return app_fail(app, 1, "--sandbox: the kernel takes no filter: %s", strerror(-rc));
	return 0;
}

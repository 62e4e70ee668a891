/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adding one to a client's eventfd without ever waiting.
 *
 * write() waits when the counter is full and the file is blocking. Both are in the client's hands
 * at any moment, because it shares the file: neither O_NONBLOCK set by us nor a poll() before the
 * write keeps a hostile client from stopping the thread that raises, and with it every other
 * client of that thread. The kernel's own way of signalling never waits (a full counter stays
 * full), and asynchronous I/O is the system call that offers it: a read of no bytes from a file of
 * ours completes inside io_submit() and signals the eventfd named in IOCB_FLAG_RESFD. It also
 * refuses whatever is no eventfd, so that nothing is written to odd files that a client may send
 * instead.
 *
 * Completion records nobody wants collect in the context's ring; they are thrown away when it is
 * full. Where the system has no asynchronous I/O, poll() and write() have to do.
 */
#include <errno.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vfu_server/server.h"

#define RING_EVENTS 64
#define IMPOSSIBLE_FLAGS 0x40000000

void vfus_signaller_init(struct vfus_signaller *signaller)
{
	aio_context_t ctx = 0;

	signaller->ctx = 0;
	signaller->file = memfd_create("bh-signal", MFD_CLOEXEC);
	if (signaller->file >= 0 && syscall(SYS_io_setup, RING_EVENTS, &ctx) == 0)
		signaller->ctx = ctx;
}

void vfus_signaller_fini(struct vfus_signaller *signaller)
{
	if (signaller->ctx)
		syscall(SYS_io_destroy, (aio_context_t)signaller->ctx);
	if (signaller->file >= 0)
		close(signaller->file);
	signaller->ctx = 0;
	signaller->file = -1;
}

static long submit(const struct vfus_signaller *signaller, int fd)
{
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)signaller->file,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *list = &cb;

	return syscall(SYS_io_submit, (aio_context_t)signaller->ctx, 1L, &list);
}

/*
 * Without asking whoever made the file: the eventfd of a request is looked at before the request's
 * flags are, which are made impossible, so nothing is read and nothing is signalled.
 */
bool vfus_is_eventfd(const struct vfus_signaller *signaller, int fd)
{
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)signaller->file,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
		.aio_rw_flags = IMPOSSIBLE_FLAGS,
	};
	struct iocb *list = &cb;

	if (!signaller->ctx)
		return true; /* unknown */
	return syscall(SYS_io_submit, (aio_context_t)signaller->ctx, 1L, &list) == 1 ||
	       errno != EINVAL;
}

static void signal_by_write(int fd)
{
	const uint64_t one = 1;
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	ssize_t n;

	if (poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLOUT)) {
		n = write(fd, &one, sizeof(one));
		(void)n; /* the client may have sent anything as an eventfd */
	}
}

void vfus_signal(const struct vfus_signaller *signaller, int fd)
{
	struct io_event ignored[RING_EVENTS];
	const int saved = errno;
	unsigned int tries = 0;
	long rc;

	if (fd >= 0 && !signaller->ctx)
		signal_by_write(fd);
	while (fd >= 0 && signaller->ctx) {
		rc = submit(signaller, fd);
		if (rc == 1 || errno != EAGAIN || tries++ == 16)
			break;
		syscall(SYS_io_getevents, (aio_context_t)signaller->ctx, 0L, (long)RING_EVENTS,
			ignored, NULL);
	}
	errno = saved;
}

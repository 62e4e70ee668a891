/* SPDX-License-Identifier: BSD-3-Clause */
/* What tests that play a vfio-user peer by hand need: bytes with any number of descriptors. */
#ifndef TEST_COMMON_SEND_FDS_H
#define TEST_COMMON_SEND_FDS_H

#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum { SEND_FDS_MAX = 64 };

/* One sendmsg(), as it returns, with nfds (at most SEND_FDS_MAX) descriptors. */
static inline ssize_t send_with_fds(int sock, const void *buf, size_t len, const int *fds,
				    unsigned int nfds, int flags)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(SEND_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	memset(&control, 0, sizeof(control));
	if (nfds > 0) {
		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&mh);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nfds * sizeof(int));
	}
	return sendmsg(sock, &mh, flags | MSG_NOSIGNAL);
}

#endif

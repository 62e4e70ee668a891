/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File descriptors: the one thing glibc does not do for us. Everything else is a call with a
 * CLOEXEC flag: memfd_create, eventfd, eventfd_read, eventfd_write, accept4, socket,
 * F_DUPFD_CLOEXEC.
 */
#ifndef BASE_FD_H
#define BASE_FD_H

/*
 * Closes *fd unless it is negative and makes it -1, so that closing twice is harmless. Keeps errno.
 */
void bh__fd_close(int *fd);

#endif /* BASE_FD_H */

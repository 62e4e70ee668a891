/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Backend: a device behind a vfio-user socket. Private to Bellhop; only lib/bellhop, programs and
 * tests name it.
 */
#ifndef IO_VFU_IO_VFU_H
#define IO_VFU_IO_VFU_H

#include <bellhop/device.h>

/*
 * Connects to the socket at path, negotiates, learns regions and interrupts, and maps every pool of
 * opts->space. -EINVAL: bad options; -ENOENT: no such path; -ECONNREFUSED: nobody listens;
 * -ENOTSOCK: the path is no socket; -EACCES; -EPROTO: the peer does not speak vfio-user (or not a
 * version we do); -EBUSY: the peer serves another client and does not answer; -ETIMEDOUT: it
 * answered at first, then no more; -ENODEV: it closed the connection half way; -ENOMEM, -EMFILE;
 * any error of mapping a pool. Each is logged in one line that says what to do.
 */
int bh_io_vfu_open(const char *path, const struct bh_device_opts *opts, struct bh_device **out);

#endif

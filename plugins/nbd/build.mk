# SPDX-License-Identifier: BSD-3-Clause
nbd_SRCS := plugin.c loop.c conn.c req.c journal.c chan.c
nbd_HEADER := libnbd.h
nbd_LIBS := -lnbd

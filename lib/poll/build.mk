# SPDX-License-Identifier: BSD-3-Clause
poll_SRCS := fd_source.c loop.c msg.c poller.c reactor.c timer.c

# SPDX-License-Identifier: BSD-3-Clause

vfu_SRCS := version.c conn.c sock.c names.c

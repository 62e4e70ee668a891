# SPDX-License-Identifier: BSD-3-Clause
rbd_SRCS := plugin.c chan.c
rbd_HEADER := rbd/librbd.h
rbd_LIBS := -lrbd -lrados

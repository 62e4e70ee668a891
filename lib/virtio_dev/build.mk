# SPDX-License-Identifier: BSD-3-Clause
virtio_dev_SRCS := vdq.c walk.c

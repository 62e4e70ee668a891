# SPDX-License-Identifier: BSD-3-Clause
virtio_SRCS := names.c

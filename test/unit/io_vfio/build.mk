# SPDX-License-Identifier: BSD-3-Clause
unit_io_vfio_NEEDS := io_vfio io pci dma base
unit_io_vfio_SRCS := ../pci/tree.c
unit_io_vfio_CFLAGS := -DBH_SRC='"$(CURDIR)"'
unit_io_vfio_TSAN := test_domain

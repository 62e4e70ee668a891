# SPDX-License-Identifier: BSD-3-Clause
unit_bellhop_NEEDS := bellhop io_vfio io_vfu io vfu pci dma base

# SPDX-License-Identifier: BSD-3-Clause
unit_bellhop_NEEDS := bellhop io_vfu io vfu dma base

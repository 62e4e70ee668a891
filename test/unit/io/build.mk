# SPDX-License-Identifier: BSD-3-Clause
unit_io_NEEDS := io dma base
unit_io_TSAN := test_device

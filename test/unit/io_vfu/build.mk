# SPDX-License-Identifier: BSD-3-Clause
unit_io_vfu_NEEDS := io_vfu io vfu_server cmem poll vfu dma base
unit_io_vfu_SRCS := fake.c fixture.c
unit_io_vfu_TSAN := test_open test_device test_dma test_threads test_server

# SPDX-License-Identifier: BSD-3-Clause
nvme_spec_SRCS := names.c status.c

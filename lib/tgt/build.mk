# SPDX-License-Identifier: BSD-3-Clause
tgt_SRCS := spec.c tgt.c

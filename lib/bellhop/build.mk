# SPDX-License-Identifier: BSD-3-Clause
bellhop_SRCS := address.c net.c open.c

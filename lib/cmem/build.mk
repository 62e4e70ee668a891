# SPDX-License-Identifier: BSD-3-Clause
cmem_SRCS := access.c file.c map.c table.c

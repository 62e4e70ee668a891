# SPDX-License-Identifier: BSD-3-Clause
cmem_SRCS := access.c map.c table.c

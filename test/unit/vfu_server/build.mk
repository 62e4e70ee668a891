# SPDX-License-Identifier: BSD-3-Clause

unit_vfu_server_NEEDS := vfu_server vfu cmem poll base
unit_vfu_server_SRCS := rig.c
unit_vfu_server_LIBS = $(JANSSON_LIBS)
unit_vfu_server_TSAN := test_raise

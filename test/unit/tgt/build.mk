# SPDX-License-Identifier: BSD-3-Clause
unit_tgt_CFLAGS := -DBH_SRC='"$(CURDIR)"'

# SPDX-License-Identifier: BSD-3-Clause

unit_vfu_NEEDS := vfu base

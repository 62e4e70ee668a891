# SPDX-License-Identifier: BSD-3-Clause
unit_cmem_NEEDS := cmem base
unit_cmem_TSAN := test_access

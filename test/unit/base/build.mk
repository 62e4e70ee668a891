# SPDX-License-Identifier: BSD-3-Clause
unit_base_NEEDS := base
unit_base_TSAN := test_fault

# SPDX-License-Identifier: BSD-3-Clause
unit_pi_NEEDS := pi

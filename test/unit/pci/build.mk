# SPDX-License-Identifier: BSD-3-Clause
unit_pci_NEEDS := pci base
unit_pci_SRCS := tree.c
unit_pci_TSAN := test_bind

# SPDX-License-Identifier: BSD-3-Clause
tgt_SRCS := spec.c text.c tgt.c store.c nvme.c

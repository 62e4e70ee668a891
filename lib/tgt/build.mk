# SPDX-License-Identifier: BSD-3-Clause
tgt_SRCS := spec.c spec_net.c spec_subsys.c text.c tgt.c store.c net.c nvme.c subsys.c later.c

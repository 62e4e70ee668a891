# SPDX-License-Identifier: BSD-3-Clause
drivers_nvme_SRCS := admin.c alive.c bells.c borrow.c cmb.c cmdset.c complete.c ctrl.c doorbell.c event.c fused.c inside.c ioq.c \
	irq.c \
	meta.c nvme.c ns.c prp.c queue.c queue_io.c reset.c sgl.c split.c subsys.c timeout.c waiter.c zns.c zns_io.c zns_sync.c

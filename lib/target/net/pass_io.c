/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread's pass over its pairs: a burst from the client to the port, a burst the other way, and
 * at most one interrupt for each queue, if its driver wants it.
 */
#include "target/net/net.h"
#include "virtio_dev/vdq_io.h"

static inline void call(struct tnet_pair *p, struct bh_vdq *q, uint16_t vector)
{
	if (q->uncalled && bh_vdq_wants_call(q)) {
		tnet_count(&p->counts.interrupts, 1);
		tnet_call_driver(p->net, vector);
	}
}

unsigned int tnet_pass(struct tnet_thread *t)
{
	bool is_loopback = t->net->port->ops->is_loopback;
	unsigned int i, n, sum = 0;

	for (i = 0; i < t->num_pairs; i++) {
		struct tnet_pair *p = t->pair[i];

		n = is_loopback ? tnet_pass_loop(p) : tnet_pass_tx(p) + tnet_pass_rx(p);
		if (!n)
			continue;
		call(p, &p->tx, p->tx_vector);
		call(p, &p->rx, p->rx_vector);
		sum += n;
	}
	return sum;
}

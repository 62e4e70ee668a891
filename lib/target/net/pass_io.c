/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread's pass over its pairs: a burst from the client to the port, a burst the other way, and
 * at most one interrupt for each queue, if its driver wants it.
 */
#include "target/net/net.h"
#include "virtio_dev/vdq_io.h"

static inline void call(struct tnet_pair *p, struct bh_vdq *q, uint16_t vector)
{
	if (!q->uncalled)
		return;
	if (bh_vdq_wants_call(q)) {
		tnet_count(&p->counts.interrupts, 1);
		tnet_call_driver(p->net, vector);
	} else {
		tnet_count(&p->counts.suppressed, 1);
	}
}

/* n > 0 packets went through in a pass that began at `begun`, or is not timed: 0. */
static inline void count_pass(struct tnet_pair *p, unsigned int n, uint64_t begun)
{
	unsigned int i = 31 - (unsigned int)__builtin_clz(n);

	tnet_count(&p->counts.batches[i < BH_TARGET_NET_BATCHES ? i : BH_TARGET_NET_BATCHES - 1],
		   1);
	p->untimed += n;
	if (__builtin_expect(begun != 0, 0)) {
		bh_latency_add(&p->latency, bh_ticks() - begun, p->untimed);
		p->untimed = 0;
	}
}

unsigned int tnet_pass(struct tnet_thread *t)
{
	bool is_loopback = t->net->port->ops->is_loopback;
	uint64_t begun = t->found % TNET_TIMED ? 0 : bh_ticks();
	unsigned int i, n, sum = 0;

	for (i = 0; i < t->num_pairs; i++) {
		struct tnet_pair *p = t->pair[i];

		n = is_loopback ? tnet_pass_loop(p) : tnet_pass_tx(p) + tnet_pass_rx(p);
		if (!n)
			continue;
		call(p, &p->tx, p->tx_vector);
		call(p, &p->rx, p->rx_vector);
		count_pass(p, n, begun);
		sum += n;
	}
	t->found += sum != 0;
	return sum;
}

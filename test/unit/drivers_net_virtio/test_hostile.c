/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that lies: ids out of range or twice, lengths beyond the buffer, packets of buffers that
 * never come, indices far ahead. The driver drops, or gives the queue up and says so; a start mends
 * it, and no mbuf is lost or freed twice.
 */
#include "rig.h"

#include <bellhop/clock.h>

#define BIT(F) BH_VIRTIO_BIT(BH_VIRTIO_##F)
#define MULTI (BH_NET_TX_MULTI_SEGS | BH_NET_RX_SCATTER)

static const uint64_t formats[] = {
	0,
	BIT(F_IN_ORDER),
	BIT(F_RING_PACKED),
	BIT(F_RING_PACKED) | BIT(F_IN_ORDER),
};

enum { FORMATS = 4, SPLIT_IN_ORDER = 2, SPLIT = 3 };

static void send(unsigned int n)
{
	struct rte_mbuf *m;

	for (unsigned int i = 0; i < n; i++) {
		m = rig_packet(i, 100, 2048);
		if (bh_net_tx_burst(bh_net_txq(net, 0), &m, 1) == 0)
			rte_pktmbuf_free(m);
	}
}

static unsigned int receive(void)
{
	unsigned int got = 0;
	struct rte_mbuf *m;

	while (bh_net_rx_burst(bh_net_rxq(net, 0), &m, 1) == 1) {
		rte_pktmbuf_free(m);
		got++;
	}
	return got;
}

static bool reset_is_asked_for(void)
{
	uint64_t end = bh_now_ns() + 2000000000;
	unsigned int before = rig_events[BH_NET_EVENT_RESET_NEEDED];

	while (rig_events[BH_NET_EVENT_RESET_NEEDED] == before && bh_now_ns() < end)
		bh_net_poll(net);
	return rig_events[BH_NET_EVENT_RESET_NEEDED] == before + 1;
}

/* After a stop everything is back; after a start everything works. */
static void mend(void)
{
	bh_net_stop(net);
	CU_ASSERT_EQUAL(rig_avail(), RIG_MBUFS);
	nic->lie = NIC_HONEST;
	CU_ASSERT_EQUAL_FATAL(bh_net_start(net), 0);
	send(70);
	CU_ASSERT_EQUAL(receive(), 70);
	bh_net_close(net);
	net = NULL;
	CU_ASSERT_EQUAL(rig_avail(), RIG_MBUFS);
}

static void a_wrong_receive_id_ends_the_queue(void)
{
	for (int lie = NIC_RX_ID; lie <= NIC_RX_TWICE; lie++) {
		for (unsigned int f = 0; f < FORMATS; f++) {
			rig_start(formats[f], f % 2 ? MULTI : 0, 1, 128);
			send(2);
			CU_ASSERT_EQUAL(receive(), 2);
			nic->lie = (enum nic_lie)lie;
			send(3);
			CU_ASSERT_EQUAL(receive(), 0);
			CU_ASSERT_TRUE(reset_is_asked_for());
			mend();
		}
	}
}

static void a_wrong_length_is_a_packet_dropped(void)
{
	struct bh_net_counters c;

	for (int lie = NIC_RX_LONG; lie <= NIC_RX_SHORT; lie++) {
		for (unsigned int f = 0; f < FORMATS; f++) {
			rig_start(formats[f], f % 2 ? MULTI : 0, 1, 128);
			nic->lie = (enum nic_lie)lie;
			send(3);
			CU_ASSERT_EQUAL(receive(), 2);
			CU_ASSERT_EQUAL(bh_net_rxq_stats(net, 0, &c), 0);
			CU_ASSERT_EQUAL(c.errors, 1);
			mend();
		}
	}
}

static void a_wrong_transmit_id_ends_the_queue(void)
{
	for (int lie = NIC_TX_ID; lie <= NIC_TX_TWICE; lie++) {
		for (unsigned int f = 0; f < FORMATS; f++) {
			/*
			 * Split in order ids are not read; out of order the one before is given out
			 * again at once, so it is no lie.
			 */
			if (f == SPLIT_IN_ORDER || (lie == NIC_TX_TWICE && f != 0))
				continue;
			rig_start(formats[f], f % 2 ? MULTI : 0, 1, 128);
			send(2);
			CU_ASSERT_EQUAL(bh_net_tx_reap(bh_net_txq(net, 0)), 0);
			nic->lie = (enum nic_lie)lie;
			send(1);
			bh_net_tx_reap(bh_net_txq(net, 0));
			CU_ASSERT_EQUAL(bh_net_tx_reap(bh_net_txq(net, 0)), 0);
			send(3); /* taken by nobody */
			CU_ASSERT_TRUE(reset_is_asked_for());
			mend();
		}
	}
}

static void a_used_index_far_ahead_ends_the_queue(void)
{
	for (unsigned int f = SPLIT_IN_ORDER; f <= SPLIT; f++) {
		rig_start(formats[f], 0, 1, 128);
		nic->lie = NIC_IDX_FAR;
		send(2);
		bh_net_tx_reap(bh_net_txq(net, 0));
		CU_ASSERT_TRUE(reset_is_asked_for());
		mend();
	}
}

static void buffers_that_never_come_are_waited_for(void)
{
	for (unsigned int f = 0; f < FORMATS; f++) {
		rig_start(formats[f], MULTI, 1, 128);
		nic->lie = NIC_MRG_MANY;
		send(100);
		CU_ASSERT_EQUAL(receive(), 0);
		mend();
		rig_start(formats[f], MULTI, 1, 128);
		nic->lie = NIC_MRG_NONE;
		send(1);
		CU_ASSERT_EQUAL(receive(), 1);
		mend();
	}
}

/* The rest of a packet whose second buffer is damaged is dropped with it, and no more. */
static void a_damaged_chain_is_dropped_whole(void)
{
	struct rte_mbuf *m;

	for (unsigned int f = 0; f < FORMATS; f++) {
		rig_start(formats[f], MULTI, 1, 128);
		for (int i = 0; i < 3; i++) {
			m = rig_packet(1, 9000, 2048);
			nic->lie = i == 1 ? NIC_RX_LONG : NIC_HONEST;
			CU_ASSERT_EQUAL(bh_net_tx_burst(bh_net_txq(net, 0), &m, 1), 1);
		}
		/* The lie is told of the first buffer, whose header then is not read. */
		receive();
		mend();
	}
}

static void a_device_that_asks_for_a_reset_gets_an_event(void)
{
	rig_start(0, 0, 1, 64);
	nic->status |= BH_VIRTIO_STATUS_NEEDS_RESET;
	CU_ASSERT_TRUE(reset_is_asked_for());
	mend();
}

static void a_device_that_does_not_reset_is_cut_off(void)
{
	uint16_t command;

	rig_start(0, 0, 1, 64);
	send(1);
	nic->no_reset = true;
	bh_net_stop(net);
	memcpy(&command, nic->space + 4, 2);
	CU_ASSERT_EQUAL(rig_avail(), RIG_MBUFS);
	CU_ASSERT_EQUAL(bh_net_start(net), -ETIMEDOUT);
	nic->no_reset = false;
	CU_ASSERT_EQUAL(bh_net_start(net), 0);
	mend();
}

static void a_device_that_is_gone_loses_nothing(void)
{
	struct rte_mbuf *m = rig_packet(0, 60, 2048), *back;

	rig_start(0, 0, 1, 64);
	nic->asleep = true;
	send(10);
	bh__device_set_gone(&nic->dev);
	CU_ASSERT_EQUAL(bh_net_rx_burst(bh_net_rxq(net, 0), &back, 1), 0);
	CU_ASSERT_EQUAL(bh_net_poll(net), -ENODEV);
	CU_ASSERT_EQUAL(bh_net_poll(net), -ENODEV);
	CU_ASSERT_EQUAL(rig_events[BH_NET_EVENT_GONE], 1);
	bh_net_stop(net);
	rte_pktmbuf_free(m);
	CU_ASSERT_EQUAL(rig_avail(), RIG_MBUFS);
	CU_ASSERT_EQUAL(bh_net_start(net), -ENODEV);
}

BH_SUITE_FIXTURE("net_virtio_hostile", rig_setup, rig_teardown,
		 { "a_wrong_receive_id_ends_the_queue", a_wrong_receive_id_ends_the_queue },
		 { "a_wrong_length_is_a_packet_dropped", a_wrong_length_is_a_packet_dropped },
		 { "a_wrong_transmit_id_ends_the_queue", a_wrong_transmit_id_ends_the_queue },
		 { "a_used_index_far_ahead_ends_the_queue", a_used_index_far_ahead_ends_the_queue },
		 { "buffers_that_never_come_are_waited_for",
		   buffers_that_never_come_are_waited_for },
		 { "a_damaged_chain_is_dropped_whole", a_damaged_chain_is_dropped_whole },
		 { "a_device_that_asks_for_a_reset_gets_an_event",
		   a_device_that_asks_for_a_reset_gets_an_event },
		 { "a_device_that_does_not_reset_is_cut_off",
		   a_device_that_does_not_reset_is_cut_off },
		 { "a_device_that_is_gone_loses_nothing", a_device_that_is_gone_loses_nothing }, )

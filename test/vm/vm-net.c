/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our network drivers in a guest, behind the kernel's VFIO, against a card of the kernel's on the
 * same hub: frames of every size in both directions, queues, filters, link, statistics, life cycle.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/fault.h>

#include "vmnet.h"

static uint64_t xstat(struct net *n, const char *name)
{
	struct bh_net_xstat list[160];
	int count = bh_net_xstats(n->dev, list, 160);

	for (int i = 0; i < count && i < 160; i++) {
		if (strcmp(list[i].name, name) == 0)
			return list[i].value;
	}
	return UINT64_MAX;
}

/* Frames of `from` to `to` bytes from the peer, in bursts; each is compared. */
static bool hear(struct net *n, unsigned int from, unsigned int to, unsigned int step)
{
	uint8_t want[NET_FRAME_MOST], got[NET_FRAME_MOST];

	for (unsigned int first = from; first <= to; first += BURST * step) {
		for (unsigned int i = 0; i < BURST && first + i * step <= to; i++) {
			net_fill(want, first + i * step, n->mac, n->peer_mac, first + i);
			if (!peer_send(n, want, first + i * step))
				return false;
		}
		for (unsigned int i = 0; i < BURST && first + i * step <= to; i++) {
			unsigned int bytes = first + i * step;
			struct rte_mbuf *m = net_receive(n, 0, 10000, false);

			if (!m) {
				net_show(n);
				return vm_fail("a frame of %u bytes is not received", bytes);
			}
			net_fill(want, bytes, n->mac, n->peer_mac, first + i);
			bytes = m->pkt_len;
			(void)net_copy(m, got, sizeof(got));
			rte_pktmbuf_free(m);
			if (!net_is(got, bytes, want, first + i * step, first + i)) {
				net_show(n);
				return false;
			}
		}
	}
	return true;
}

/* The same from us to the peer, in mbufs of `piece` bytes. */
static bool say(struct net *n, unsigned int from, unsigned int to, unsigned int step,
		unsigned int piece)
{
	uint8_t want[NET_FRAME_MOST], got[NET_FRAME_MOST];

	for (unsigned int first = from; first <= to; first += BURST * step) {
		for (unsigned int i = 0; i < BURST && first + i * step <= to; i++) {
			unsigned int bytes = first + i * step;

			net_fill(want, bytes, n->peer_mac, n->mac, first + i);
			if (!net_send(n, 0, net_chain(n, want, bytes, piece)))
				return false;
		}
		for (unsigned int i = 0; i < BURST && first + i * step <= to; i++) {
			unsigned int bytes = first + i * step;
			unsigned int len = peer_receive(n, got, sizeof(got), 10000);

			if (!len) {
				net_show(n);
				return vm_fail("the peer hears no frame of %u bytes", bytes);
			}
			net_fill(want, bytes, n->peer_mac, n->mac, first + i);
			if (!net_is(got, len, want, bytes, first + i)) {
				net_show(n);
				return false;
			}
		}
	}
	return true;
}

static void every_size(struct vm *vm)
{
	struct bh_net_conf conf;
	struct net n;

	if (net_open(&n, vm, NET_MBUFS, 0)) {
		net_conf(&n, &conf);
		if (net_start(&n, &conf) && hear(&n, 60, 1514, 1))
			(void)say(&n, 60, 1514, 1, 1514);
	}
	net_close(&n);
}

/* Buffers of 2 KiB, several to a frame. */
static void jumbo_in_chains(struct vm *vm)
{
	struct bh_net_conf conf;
	struct net n;

	if (net_open(&n, vm, NET_MBUFS, 0) &&
	    net_offers(&n, BH_NET_RX_SCATTER | BH_NET_TX_MULTI_SEGS)) {
		net_conf(&n, &conf);
		conf.mtu = 9000;
		conf.offloads = BH_NET_RX_SCATTER | BH_NET_TX_MULTI_SEGS;
		if (net_start(&n, &conf) && hear(&n, 1515, 9014, 61) &&
		    say(&n, 1515, 9014, 61, 2048) && say(&n, 60, 2000, 97, 71))
			(void)say(&n, 9014, 9014, 1, 2048);
	}
	net_close(&n);
}

/* Buffers that a jumbo frame fits into. */
static void jumbo_in_one(struct vm *vm)
{
	struct bh_net_conf conf;
	struct net n;

	if (net_open(&n, vm, 190, 10240)) {
		net_conf(&n, &conf);
		conf.mtu = 9000;
		conf.rx_depth = conf.tx_depth = 128;
		if (net_start(&n, &conf) && hear(&n, 1500, 9014, 127))
			(void)say(&n, 1500, 9014, 127, 9014);
	}
	net_close(&n);
}

/* What is too long for the MTU is let in by none and sent by none. */
static void too_long_is_refused(struct vm *vm)
{
	struct bh_net_conf conf;
	uint8_t frame[4000];
	struct rte_mbuf *m;
	struct net n;

	if (net_open(&n, vm, 400, 4096)) {
		net_conf(&n, &conf);
		net_fill(frame, 3000, n.peer_mac, n.mac, 1);
		if (net_start(&n, &conf)) {
			m = net_chain(&n, frame, 3000, 3000);
			if (!m || bh_net_tx_burst(bh_net_txq(n.dev, 0), &m, 1) != 0)
				vm_fail("3000 bytes are sent with an MTU of 1500");
			else
				rte_pktmbuf_free(m);
			if (bh_net_txq(n.dev, 0)->counters.errors != 1)
				vm_fail("it is not counted");
			(void)say(&n, 60, 70, 1, 100);
		}
	}
	net_close(&n);
}

/* ---- filters ---- */

/* Is a frame to this address received? */
static bool reaches(struct net *n, const uint8_t to[6], bool wanted, const char *what)
{
	static uint32_t number = 1000;
	uint8_t frame[100];
	struct rte_mbuf *m;
	uint32_t got = 0;

	/* The second one, to our own address, says when the first has been dealt with. */
	net_fill(frame, 100, to, n->peer_mac, ++number);
	if (!peer_send(n, frame, 100))
		return false;
	bh_net_mac(n->dev, frame);
	net_fill(frame, 100, memcpy((uint8_t[6]){ 0 }, frame, 6), n->peer_mac, number + 1);
	if (!peer_send(n, frame, 100))
		return false;
	m = net_receive(n, 0, 5000, false);
	if (m)
		memcpy(&got, rte_pktmbuf_mtod_offset(m, void *, NET_HEADER), 4);
	rte_pktmbuf_free(m);
	if (got == number && (m = net_receive(n, 0, 5000, false)))
		rte_pktmbuf_free(m);
	number++;
	if (!m)
		return vm_fail("%s: not even what is for us is received", what);
	return (got == number - 1) == wanted ||
	       vm_fail("%s: %s", what, wanted ? "not received" : "received");
}

static const uint8_t other[6] = { 0x52, 0x54, 0, 0, 9, 9 };
static const uint8_t group[6] = { 0x01, 0, 0x5e, 1, 2, 3 };
static const uint8_t group2[6] = { 0x01, 0, 0x5e, 9, 9, 9 };
static const uint8_t everyone[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static bool modes(struct net *n)
{
	return reaches(n, everyone, true, "broadcast") && reaches(n, other, false, "another's") &&
	       reaches(n, group, false, "a group") && bh_net_promisc(n->dev, true) == 0 &&
	       reaches(n, other, true, "another's, promiscuous") &&
	       reaches(n, group, true, "a group, promiscuous") &&
	       bh_net_promisc(n->dev, false) == 0 && bh_net_allmulti(n->dev, true) == 0 &&
	       reaches(n, other, false, "another's, with all groups") &&
	       reaches(n, group, true, "a group, with all groups") &&
	       bh_net_allmulti(n->dev, false) == 0 && reaches(n, group, false, "a group again");
}

static bool groups(struct net *n)
{
	uint8_t list[40][6];

	memset(list, 0, sizeof(list));
	for (unsigned int i = 0; i < 40; i++) {
		memcpy(list[i], group, 6);
		list[i][3] = (uint8_t)(0x40 + i);
	}
	memcpy(list[20], group, 6);
	return bh_net_multicast(n->dev, &group, 1) == 0 && reaches(n, group, true, "our group") &&
	       reaches(n, group2, false, "a group not ours") &&
	       bh_net_multicast(n->dev, (const uint8_t(*)[6])list, 40) == 0 &&
	       reaches(n, group, true, "one of 40 groups") &&
	       bh_net_multicast(n->dev, NULL, 0) == 0 &&
	       reaches(n, group, false, "a group we left");
}

static void filters(struct vm *vm)
{
	static const uint8_t mine[6] = { 0x52, 0x54, 0, 0, 0, 0x77 };
	struct bh_net_conf conf;
	struct net n;

	if (net_open(&n, vm, NET_MBUFS, 0) &&
	    net_has(&n, BH_NET_CAP_PROMISC | BH_NET_CAP_ALLMULTI | BH_NET_CAP_MULTICAST |
				BH_NET_CAP_MAC_SET)) {
		net_conf(&n, &conf);
		if (net_start(&n, &conf) && modes(&n) && groups(&n)) {
			uint8_t old[6];

			memcpy(old, n.mac, 6);
			if (bh_net_mac_set(n.dev, mine) != 0)
				vm_fail("the address is not changed");
			else if (reaches(&n, old, false, "the address of before"))
				(void)reaches(&n, mine, true, "the new address");
			if (bh_net_mac_set(n.dev, group) != -EINVAL)
				vm_fail("a group's address is taken");
		} else {
			vm_fail("a mode was refused");
		}
	}
	net_close(&n);
}

/* ---- life ---- */

static void link_down_and_up(struct vm *vm)
{
	const char *id;
	struct bh_net_conf conf;
	struct net n;

	if (net_open(&n, vm, NET_MBUFS, 0) && net_has(&n, BH_NET_CAP_LINK)) {
		id = getenv("CARD");
		net_conf(&n, &conf);
		if (!id)
			vm_fail("CARD does not say what QEMU calls it");
		else if (net_start(&n, &conf) && hear(&n, 60, 70, 1)) {
			n.link_events = 0;
			qmp_set_link(id, false);
			(void)net_link_becomes(&n, false);
			for (int i = 0; i < 500 && n.link_events == 0; i++) {
				(void)bh_net_poll(n.dev);
				usleep(10000);
			}
			if (n.link_events == 0)
				vm_fail("nobody is told");
			qmp_set_link(id, true);
			if (net_link_becomes(&n, true) && hear(&n, 60, 70, 1))
				(void)say(&n, 60, 70, 1, 100);
		}
		if (n.other_events)
			vm_fail("%u failures were reported", n.other_events);
	}
	net_close(&n);
}

static void statistics(struct vm *vm)
{
	struct bh_net_stats s;
	struct bh_net_conf conf;
	struct net n;

	if (net_open(&n, vm, NET_MBUFS, 0)) {
		net_conf(&n, &conf);
		if (net_start(&n, &conf) && hear(&n, 100, 149, 1) && say(&n, 200, 259, 1, 300)) {
			if (bh_net_stats(n.dev, &s) != 0 || s.rx_packets != 50 ||
			    s.rx_bytes != 50 * 100 + 49 * 25 || s.tx_packets != 60 ||
			    s.tx_bytes != 60 * 200 + 59 * 30 || s.rx_errors || s.rx_missed ||
			    s.tx_errors || s.tx_refused)
				vm_fail("%llu and %llu packets, %llu and %llu bytes",
					(unsigned long long)s.rx_packets,
					(unsigned long long)s.tx_packets,
					(unsigned long long)s.rx_bytes,
					(unsigned long long)s.tx_bytes);
			if (xstat(&n, "rx_packets") != 50 || xstat(&n, "tx_q0_packets") != 60)
				vm_fail("statistics by name differ");
			if (strcmp(bh_net_info(n.dev)->driver, "igb") == 0 &&
			    (xstat(&n, "mac_rx_good_packets") < 50 ||
			     xstat(&n, "mac_tx_good_packets") != 60))
				vm_fail("the device has counted %llu and %llu",
					(unsigned long long)xstat(&n, "mac_rx_good_packets"),
					(unsigned long long)xstat(&n, "mac_tx_good_packets"));
		}
	}
	net_close(&n);
}

/* A frame each way, behind all that was under way: what comes before it is of no interest. */
static bool settle(struct net *n)
{
	const uint32_t number = 0xfffffffe;
	uint8_t frame[NET_FRAME_MOST];
	uint32_t got = 0;

	net_fill(frame, 100, n->mac, n->peer_mac, number);
	if (!peer_send(n, frame, 100))
		return false;
	while (got != number) {
		struct rte_mbuf *m = net_receive(n, 0, 10000, false);

		if (!m)
			return vm_fail("the last frame is not received");
		memcpy(&got, rte_pktmbuf_mtod_offset(m, void *, NET_HEADER), 4);
		rte_pktmbuf_free(m);
	}
	net_fill(frame, 100, n->peer_mac, n->mac, number);
	if (!net_send(n, 0, net_chain(n, frame, 100, 100)))
		return false;
	for (got = 0; got != number; memcpy(&got, frame + NET_HEADER, 4))
		if (!peer_receive(n, frame, sizeof(frame), 10000))
			return vm_fail("the peer does not hear the last frame");
	return true;
}

/* Stopped with packets both ways under way; everything is back each time. */
static void stop_and_start(struct vm *vm)
{
	struct bh_net_conf conf;
	uint8_t frame[1000];
	struct net n;

	if (net_open(&n, vm, NET_MBUFS, 0)) {
		net_conf(&n, &conf);
		if (!net_start(&n, &conf))
			goto out;
		for (int round = 0; round < 10; round++) {
			for (uint32_t i = 0; i < 100; i++) {
				net_fill(frame, 1000, n.mac, n.peer_mac, i);
				if (!peer_send(&n, frame, 1000))
					goto out;
				net_fill(frame, 1000, n.peer_mac, n.mac, i);
				if (!net_send(&n, 0, net_chain(&n, frame, 1000, 1000)))
					goto out;
			}
			bh_net_stop(n.dev);
			if (!net_all_back(&n))
				goto out;
			if (bh_net_start(n.dev) != 0) {
				vm_fail("it does not start again");
				goto out;
			}
		}
		if (settle(&n) && hear(&n, 60, 100, 1))
			(void)say(&n, 60, 100, 1, 100);
	}
out:
	net_close(&n);
}

/* All buffers are kept; once they are given back it goes on. */
static void pool_runs_dry(struct vm *vm)
{
	struct rte_mbuf *kept[128];
	unsigned int count = 0;
	struct bh_net_conf conf;
	uint8_t frame[100];
	struct net n;

	if (net_open(&n, vm, 128, 0)) {
		net_conf(&n, &conf);
		if (net_start(&n, &conf)) {
			for (uint32_t i = 0; i < 300; i++) {
				net_fill(frame, 100, n.mac, n.peer_mac, i);
				(void)peer_send(&n, frame, 100);
				if (count < 128 && (kept[count] = net_receive(&n, 0, 20, false)))
					count++;
			}
			if (count < 64)
				vm_fail("%u buffers were used of 128", count);
			if (bh_net_rxq(n.dev, 0)->counters.no_mbuf == 0)
				vm_fail("that the pool was empty is not counted");
			rte_pktmbuf_free_bulk(kept, count);
			for (struct rte_mbuf *m; (m = net_receive(&n, 0, 300, false));)
				rte_pktmbuf_free(m);
			(void)hear(&n, 60, 160, 1);
		}
	}
	net_close(&n);
}

static bool wakes(struct net *n, uint32_t number)
{
	struct pollfd p = { .fd = bh_net_rxq_fd(n->dev, 0), .events = POLLIN };
	uint8_t frame[100];
	struct rte_mbuf *m;
	int rc = bh_net_rxq_arm(n->dev, 0);

	if (rc)
		return vm_fail("arming: error %d", -rc);
	if (poll(&p, 1, 50) != 0)
		return vm_fail("it wakes for nothing");
	net_fill(frame, 100, n->mac, n->peer_mac, number);
	if (!peer_send(n, frame, 100))
		return false;
	if (poll(&p, 1, 5000) != 1)
		return vm_fail("a packet does not wake");
	m = net_receive(n, 0, 1000, false);
	rte_pktmbuf_free(m);
	return m || vm_fail("awake, but there is nothing");
}

static void sleeping(struct vm *vm)
{
	struct bh_net_conf conf;
	uint8_t frame[100];
	struct net n;

	if (net_open(&n, vm, NET_MBUFS, 0) && net_has(&n, BH_NET_CAP_QUEUE_FD)) {
		net_conf(&n, &conf);
		conf.queue_fds = true;
		if (net_start(&n, &conf)) {
			for (uint32_t i = 0; i < 5 && wakes(&n, i); i++)
				;
			net_fill(frame, 100, n.mac, n.peer_mac, 99);
			(void)peer_send(&n, frame, 100);
			usleep(300000);
			if (bh_net_rxq_arm(n.dev, 0) != -EAGAIN)
				vm_fail("arming overlooks a packet that is there");
			rte_pktmbuf_free(net_receive(&n, 0, 1000, false));
			(void)wakes(&n, 100);
		}
	}
	net_close(&n);
}

/* Somebody pulls it out, with packets under way: we are told once, and every mbuf comes back. */
static void pulled_out(struct vm *vm)
{
	uint64_t end = bh_now_ns() + 30000000000ull;
	struct bh_net_conf conf;
	uint8_t frame[200];
	struct net n;

	(void)bh_fault_install();
	if (net_open(&n, vm, NET_MBUFS, 0)) {
		net_conf(&n, &conf);
		net_fill(frame, 200, n.peer_mac, n.mac, 1);
		if (!net_start(&n, &conf))
			end = 0;
		while (n.other_events == 0 && bh_now_ns() < end) {
			struct rte_mbuf *m = net_chain(&n, frame, 200, 200);

			if (m && bh_net_tx_burst(bh_net_txq(n.dev, 0), &m, 1) == 0)
				rte_pktmbuf_free(m);
			rte_pktmbuf_free(net_receive(&n, 0, 1, true));
			(void)bh_net_poll(n.dev);
			puts("BUSY");
			fflush(stdout);
		}
		if (n.other_events != 1 || bh_net_poll(n.dev) != -ENODEV ||
		    !bh_device_gone(vm->dev))
			vm_fail("it is not known to be gone (%u events)", n.other_events);
		bh_net_stop(n.dev);
		if (bh_net_start(n.dev) == 0)
			vm_fail("it starts again");
	}
	net_close(&n);
}

static const struct vm_case cases[] = {
	{ "every_size", every_size, false },
	{ "jumbo_in_chains", jumbo_in_chains, false },
	{ "jumbo_in_one", jumbo_in_one, false },
	{ "too_long_is_refused", too_long_is_refused, false },
	{ "several_queues", net_several_queues, false },
	{ "checksums_received", net_checksums_received, false },
	{ "checksums_sent", net_checksums_sent, false },
	{ "segmentation", net_segmentation, false },
	{ "segmentation_ipv6", net_segmentation_ipv6, false },
	{ "vlans", net_vlans, false },
	{ "vlan_filter", net_vlan_filter, false },
	{ "filters", filters, false },
	{ "link_down_and_up", link_down_and_up, false },
	{ "statistics", statistics, false },
	{ "stop_and_start", stop_and_start, false },
	{ "pool_runs_dry", pool_runs_dry, false },
	{ "sleeping", sleeping, false },
	{ "pulled_out", pulled_out, false },
};

int main(int argc, char **argv)
{
	return vm_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}

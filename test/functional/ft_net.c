/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtio network driver against our emulated controller, two processes: what is sent into a
 * loopback port comes back, whole, in order, and every mbuf with it. ft_wire has two of each.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "nic.h"

/* Sixteen sizes at a time. */
static void one_sizes(struct nic *n)
{
	uint32_t step = ft_is_sanitized() ? 97 : 1, len = 60;
	struct rte_mbuf *m[16];

	while (len + 16 * step <= 9015) {
		for (uint32_t i = 0; i < 16; i++)
			m[i] = nic_packet(n, i, len + i * step, NIC_SEGMENT);
		nic_send(n, 0, m, 16);
		nic_receive(n, 0, m, 16);
		for (uint32_t i = 0; i < 16; i++)
			nic_check_and_free(m[i], i, len + i * step);
		len += 16 * step;
	}
	nic_echo(n, 0, 1, 9014, NIC_SEGMENT);
}

static void every_size(void)
{
	nic_over_formats(one_sizes, "port=loopback,mtu=9000", NIC_SCATTER, 1, 512, 9000);
}

static void one_chains(struct nic *n)
{
	for (uint32_t seg = 250; seg <= NIC_SEGMENT; seg += 111)
		nic_echo(n, 0, 4, 9000, seg);
	for (uint32_t len = 60; len < 80; len++)
		nic_echo(n, 0, 4, len, 2);
}

static void chains(void)
{
	nic_over_formats(one_chains, "port=loopback,mtu=9000", NIC_SCATTER, 1, 256, 9000);
}

static void one_bursts(struct nic *n)
{
	for (uint16_t count = 1; count <= 256; count++)
		nic_echo(n, 0, count, 60u + count, NIC_SEGMENT);
}

/* Some 33000 packets: 64 to 128 times round the rings. */
static void bursts(void)
{
	nic_over_formats(one_bursts, "port=loopback", 0, 1, 512, 1500);
	nic_over_formats(one_bursts, "port=loopback", BH_NET_TX_FAST_FREE, 1, 256, 1500);
}

static void one_queues(struct nic *n)
{
	struct rte_mbuf *none;

	for (unsigned int round = 0; round < 50; round++) {
		for (unsigned int q = 0; q < 4; q++) {
			nic_echo(n, q, 16, 100 + q, NIC_SEGMENT);
			for (unsigned int other = 0; other < 4; other++)
				FT_EQUAL(bh_net_rx_burst(bh_net_rxq(n->net, other), &none, 1), 0);
		}
	}
}

static void four_queues(void)
{
	nic_over_formats(one_queues, "port=loopback,queues=4", 0, 4, 64, 1500);
}

static void one_exhaustion(struct nic *n)
{
	static struct rte_mbuf *held[NIC_MBUFS], *m[64], *back[64];
	struct rte_mempool *mp = bh_net_pool_mempool(n->memory->pool);
	unsigned int count = 0, got = 0;
	struct bh_net_stats stats;

	for (unsigned int i = 0; i < 64; i++)
		m[i] = nic_packet(n, i, 60, NIC_SEGMENT);
	while (rte_mempool_get(mp, (void **)&held[count]) == 0)
		count++;
	/* Buffers run out, but none is lost. */
	nic_send(n, 0, m, 64);
	FT_UNTIL(5000, got == 64,
		 got += bh_net_rx_burst(bh_net_rxq(n->net, 0), back + got, (uint16_t)(64 - got)));
	for (unsigned int i = 0; i < 64; i++)
		rte_pktmbuf_free(back[i]);
	FT_EQUAL(bh_net_stats(n->net, &stats), 0);
	FT_CHECK(stats.rx_no_mbuf > 0);
	while (count > 0)
		rte_pktmbuf_free(held[--count]);
	for (unsigned int i = 0; i < 50; i++)
		nic_echo(n, 0, 32, 64, NIC_SEGMENT);
}

static void exhaustion(void)
{
	nic_over_formats(one_exhaustion, "port=loopback", 0, 1, 64, 1500);
}

static void one_restart(struct nic *n)
{
	struct rte_mbuf *m[32];

	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < 8; i++) {
			uint16_t sent;

			for (uint16_t k = 0; k < 32; k++)
				m[k] = nic_packet(n, k, 3000, 1000);
			sent = bh_net_tx_burst(bh_net_txq(n->net, 0), m, 32);
			rte_pktmbuf_free_bulk(m + sent, 32u - sent);
		}
		bh_net_stop(n->net);
		FT_EQUAL(nic_missing(n->memory), 0);
		FT_EQUAL(bh_net_start(n->net), 0);
		nic_echo(n, 0, 8, 1000, NIC_SEGMENT);
	}
}

static void restart_under_load(void)
{
	nic_over_formats(one_restart, "port=loopback", NIC_SCATTER, 1, 256, 9000);
}

static void ten_million(void)
{
	uint64_t count = ft_is_sanitized() ? 200000 : 10000000;
	struct ft_target target;
	struct nic_memory memory;
	struct nic n;

	nic_serve(&target, "port=loopback", NULL);
	nic_memory_open(&memory);
	nic_open(&n, &memory, target.socket[0], 0);
	nic_start(&n, 0, 1, 1024, 1500);
	nic_in_sequence(&n, count);
	nic_close(&n);
	nic_open(&n, &memory, target.socket[0], NIC_PACKED | NIC_IN_ORDER);
	nic_start(&n, 0, 1, 1024, 1500);
	nic_in_sequence(&n, count / 10);
	nic_close(&n);
	nic_memory_close(&memory);
	ft_target_stop(&target);
}

/* ---- one side is killed, with packets under way ---- */

/* Both rings of a loopback full: what was sent waits in them, since nobody receives. */
static void fill_both_rings(struct nic *n)
{
	struct bh_net_txq *tx = bh_net_txq(n->net, 0);
	unsigned int depth = bh_net_conf(n->net)->tx_depth, sent = 0;

	FT_UNTIL(5000, bh_net_tx_reap(tx) == depth && sent >= depth + depth / 2, {
		struct rte_mbuf *m = nic_packet(n, sent, 1400, 700);

		if (bh_net_tx_burst(tx, &m, 1) == 1)
			sent++;
		else
			rte_pktmbuf_free(m);
	});
}

/* What the dead target had delivered is there to be received; nothing else comes or goes. */
static void outlive_the_target(struct nic *n)
{
	unsigned int depth = bh_net_conf(n->net)->rx_depth, got = 0;
	struct rte_mbuf *m;

	FT_UNTIL(5000, bh_net_poll(n->net) == -ENODEV, usleep(1000));
	FT_EQUAL(bh_net_poll(n->net), -ENODEV);
	FT_EQUAL(n->gone, 1);
	for (unsigned int i = 0; i < 2 * depth; i++) {
		if (bh_net_rx_burst(bh_net_rxq(n->net, 0), &m, 1) == 1)
			nic_check_and_free(m, got++, 1400);
		m = nic_packet(n, i, 1400, 700);
		if (bh_net_tx_burst(bh_net_txq(n->net, 0), &m, 1) == 0)
			rte_pktmbuf_free(m);
	}
	FT_CHECK(got <= depth);
	bh_net_stop(n->net);
	FT_EQUAL(nic_missing(n->memory), 0);
	FT_EQUAL(bh_net_start(n->net), -ENODEV);
}

/* Another target at the same place serves the same memory. */
static void target_killed(void)
{
	struct ft_target target;
	struct nic_memory memory;
	struct nic n;

	nic_memory_open(&memory);
	for (unsigned int i = 0; i < NIC_FORMATS; i++) {
		nic_serve(&target, "port=loopback", NULL);
		nic_open(&n, &memory, target.socket[0], nic_formats[i].without);
		nic_start(&n, NIC_SCATTER, 1, 128, 1500);
		nic_echo(&n, 0, 32, 1400, 700);
		fill_both_rings(&n);
		ft_target_kill(&target);
		outlive_the_target(&n);
		nic_close(&n);
	}
	nic_serve(&target, "port=loopback", NULL);
	nic_open(&n, &memory, target.socket[0], 0);
	nic_start(&n, 0, 1, 128, 1500);
	nic_echo(&n, 0, 32, 60, NIC_SEGMENT);
	nic_close(&n);
	nic_memory_close(&memory);
	ft_target_stop(&target);
}

struct client {
	const char *socket;
	uint64_t without;
	int pipe[2];
};

/* Sends and receives for ever. */
static void endless_client(void *arg)
{
	const struct client *c = (const struct client *)arg;
	struct nic_memory memory;
	struct nic n;

	nic_memory_open(&memory);
	nic_open(&n, &memory, c->socket, c->without);
	nic_start(&n, NIC_SCATTER, 1, 128, 1500);
	for (unsigned int round = 0;; round++) {
		nic_echo(&n, 0, 64, 1400, 700);
		if (round == 100)
			FT_EQUAL(write(c->pipe[1], "x", 1), 1);
	}
}

static void client_killed(void)
{
	struct ft_target target;
	struct client client;
	struct nic_memory memory;
	unsigned int files;
	struct nic n;

	nic_serve(&target, "port=loopback", NULL);
	client.socket = target.socket[0];
	files = ft_target_files(&target);
	for (unsigned int i = 0; i < NIC_FORMATS; i++) {
		pid_t pid;

		FT_EQUAL(pipe(client.pipe), 0);
		client.without = nic_formats[i].without;
		pid = ft_fork(endless_client, &client);
		ft_await(client.pipe[0], 15000);
		ft_kill(pid);
		close(client.pipe[0]);
		close(client.pipe[1]);
		FT_UNTIL(5000, ft_target_files(&target) == files, usleep(1000));
	}
	nic_memory_open(&memory);
	for (unsigned int i = 0; i < NIC_FORMATS; i++) {
		nic_open(&n, &memory, target.socket[0], nic_formats[i].without);
		nic_start(&n, NIC_SCATTER, 1, 128, 1500);
		nic_echo(&n, 0, 64, 1400, 700);
		nic_close(&n);
	}
	nic_memory_close(&memory);
	ft_target_stop(&target);
}

FT_MAIN({ "every_size", every_size, 100 }, { "chains", chains, 0 }, { "bursts", bursts, 100 },
	{ "four_queues", four_queues, 0 }, { "exhaustion", exhaustion, 0 },
	{ "restart_under_load", restart_under_load, 0 }, { "ten_million", ten_million, 110 },
	{ "target_killed", target_killed, 0 }, { "client_killed", client_killed, 0 })

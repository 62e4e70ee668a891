/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Statistics: each queue's owner counts, once per burst, in the queue itself; whoever asks reads
 * all queues and adds. Counters are whole words, so that a reader on another thread sees each of
 * them right, if not all of them of the same moment. What the device counts itself, its driver adds.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "net/net.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static void counters_read(const struct bh_net_counters *from, struct bh_net_counters *out)
{
	out->packets = __atomic_load_n(&from->packets, __ATOMIC_RELAXED);
	out->bytes = __atomic_load_n(&from->bytes, __ATOMIC_RELAXED);
	out->errors = __atomic_load_n(&from->errors, __ATOMIC_RELAXED);
	out->no_mbuf = __atomic_load_n(&from->no_mbuf, __ATOMIC_RELAXED);
}

int bh_net_rxq_stats(const struct bh_net *net, unsigned int index, struct bh_net_counters *out)
{
	if (net->state == BH__NET_OPEN || index >= net->conf.n_rxq)
		return -EINVAL;
	counters_read(&net->rxq[index]->counters, out);
	return 0;
}

int bh_net_txq_stats(const struct bh_net *net, unsigned int index, struct bh_net_counters *out)
{
	if (net->state == BH__NET_OPEN || index >= net->conf.n_txq)
		return -EINVAL;
	counters_read(&net->txq[index]->counters, out);
	return 0;
}

int bh_net_stats(struct bh_net *net, struct bh_net_stats *stats)
{
	struct bh_net_counters c;

	memset(stats, 0, sizeof(*stats));
	for (unsigned int i = 0; bh_net_rxq_stats(net, i, &c) == 0; i++) {
		stats->rx_packets += c.packets;
		stats->rx_bytes += c.bytes;
		stats->rx_errors += c.errors;
		stats->rx_no_mbuf += c.no_mbuf;
	}
	for (unsigned int i = 0; bh_net_txq_stats(net, i, &c) == 0; i++) {
		stats->tx_packets += c.packets;
		stats->tx_bytes += c.bytes;
		stats->tx_refused += c.errors;
	}
	return net->ops->stats ? net->ops->stats(net, stats) : 0;
}

/* A list being filled: counts on when it is full. */
struct xlist {
	struct bh_net_xstat *out;
	unsigned int max, count;
};

static void __attribute__((format(printf, 3, 4)))
xadd(struct xlist *list, uint64_t value, const char *format, ...)
{
	va_list args;

	if (list->count < list->max) {
		struct bh_net_xstat *stat = &list->out[list->count];

		va_start(args, format);
		vsnprintf(stat->name, sizeof(stat->name), format, args);
		va_end(args);
		stat->value = value;
	}
	list->count++;
}

static void xadd_basic(struct xlist *list, const struct bh_net_stats *s)
{
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{ "rx_packets", s->rx_packets }, { "rx_bytes", s->rx_bytes },
		{ "rx_missed", s->rx_missed },	 { "rx_errors", s->rx_errors },
		{ "rx_no_mbuf", s->rx_no_mbuf }, { "tx_packets", s->tx_packets },
		{ "tx_bytes", s->tx_bytes },	 { "tx_errors", s->tx_errors },
		{ "tx_refused", s->tx_refused },
	};

	for (size_t i = 0; i < LEN(rows); i++)
		xadd(list, rows[i].value, "%s", rows[i].name);
}

static void xadd_queues(struct xlist *list, const struct bh_net *net)
{
	struct bh_net_counters c;

	for (unsigned int i = 0; bh_net_rxq_stats(net, i, &c) == 0; i++) {
		xadd(list, c.packets, "rx_q%u_packets", i);
		xadd(list, c.bytes, "rx_q%u_bytes", i);
		xadd(list, c.errors, "rx_q%u_errors", i);
		xadd(list, c.no_mbuf, "rx_q%u_no_mbuf", i);
	}
	for (unsigned int i = 0; bh_net_txq_stats(net, i, &c) == 0; i++) {
		xadd(list, c.packets, "tx_q%u_packets", i);
		xadd(list, c.bytes, "tx_q%u_bytes", i);
		xadd(list, c.errors, "tx_q%u_refused", i);
	}
}

int bh_net_xstats(struct bh_net *net, struct bh_net_xstat *out, unsigned int max)
{
	struct xlist list = { out, max, 0 };
	struct bh_net_stats stats;
	unsigned int room;
	int rc = bh_net_stats(net, &stats);

	if (rc != 0)
		return rc;
	xadd_basic(&list, &stats);
	xadd_queues(&list, net);
	if (!net->ops->xstats)
		return (int)list.count;
	room = list.count < max ? max - list.count : 0;
	rc = net->ops->xstats(net, room ? out + list.count : NULL, room);
	return rc < 0 ? rc : (int)list.count + rc;
}

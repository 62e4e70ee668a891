/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The packet device: what is the same for all drivers.
 *
 * A device is open, configured or started. Configuring creates queues, starting lets the device at
 * them, stopping takes them back; every step is checked here, so a driver is only ever asked for
 * the step that comes next. Queues of a device that is not started have burst functions that do
 * nothing: a thread that polls on sees no packets instead of freed memory.
 *
 * Capability bits are as with struct bh_io_ops: a bit means an operation, and bh__net_init()
 * refuses a table where that is not so, so a wrapper that has seen the bit calls without looking.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/net.h"

#define DEFAULT_TIMEOUT_NS 5000000000ull
#define DEFAULT_DEPTH 512u
#define DEFAULT_MTU 1500u
/* An Ethernet header with one VLAN tag. */
#define FRAME_EXTRA 18u

void bh_net_opts_init(struct bh_net_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
	opts->timeout_ns = DEFAULT_TIMEOUT_NS;
}

int bh__net_opts_read(const struct bh_net_opts *opts, struct bh_net_opts *out)
{
	bh_net_opts_init(out);
	if (!opts)
		return 0;
	if (opts->size < offsetof(struct bh_net_opts, event) || opts->size > sizeof(*opts))
		return -EINVAL;
	memcpy(out, opts, opts->size);
	out->size = sizeof(*out);
	return 0;
}

static bool ops_match_caps(const struct bh_net_ops *o)
{
	const struct {
		uint64_t cap;
		bool there;
	} pairs[] = {
		{ BH_NET_CAP_MAC_SET, o->mac_set != NULL },
		{ BH_NET_CAP_PROMISC, o->promisc != NULL },
		{ BH_NET_CAP_ALLMULTI, o->allmulti != NULL },
		{ BH_NET_CAP_MULTICAST, o->multicast != NULL },
		{ BH_NET_CAP_VLAN_FILTER, o->vlan != NULL },
		{ BH_NET_CAP_LINK, o->link != NULL },
		{ BH_NET_CAP_RSS, o->rss_set != NULL },
		{ BH_NET_CAP_QUEUE_FD, o->rxq_fd != NULL },
		{ BH_NET_CAP_QUEUE_FD, o->rxq_arm != NULL },
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (!!(o->caps & pairs[i].cap) != pairs[i].there)
			return false;
	return o->close && o->configure && o->release && o->start && o->stop && o->poll;
}

static bool info_makes_sense(const struct bh_net_info *info, uint64_t caps)
{
	if (!info->address || info->caps & ~caps)
		return false;
	if (info->caps & BH_NET_CAP_RSS &&
	    (info->rss_key_bytes > BH_NET_RSS_KEY_MAX || info->rss_table_size == 0 ||
	     info->rss_table_size > BH_NET_RSS_TABLE_MAX))
		return false;
	return info->max_rxq >= 1 && info->max_rxq <= BH_NET_MAX_QUEUES && info->max_txq >= 1 &&
	       info->max_txq <= BH_NET_MAX_QUEUES && info->min_depth >= 1 &&
	       info->min_depth <= info->max_depth && info->min_mtu <= info->max_mtu &&
	       info->max_segs >= 1;
}

int bh__net_init(struct bh_net *net, const struct bh_net_ops *ops, const struct bh_net_opts *opts)
{
	if (!ops_match_caps(ops) || !info_makes_sense(&net->info, ops->caps))
		return -EINVAL;
	net->address = strdup(net->info.address);
	if (!net->address)
		return -ENOMEM;
	net->info.address = net->address;
	net->info.driver = ops->name;
	net->ops = ops;
	net->state = BH__NET_OPEN;
	net->log = opts->log;
	net->timeout_ns = opts->timeout_ns;
	net->event = opts->event;
	net->event_ctx = opts->event_ctx;
	memcpy(net->mac, net->info.mac, sizeof(net->mac));
	return 0;
}

void bh__net_fini(struct bh_net *net)
{
	free(net->address);
	net->address = NULL;
}

void bh__net_event(struct bh_net *net, enum bh_net_event event)
{
	if (net->event)
		net->event(net->event_ctx, net, event);
}

void bh__net_on_close(struct bh_net *net, void (*closed)(void *ctx), void *ctx)
{
	net->closed = closed;
	net->closed_ctx = ctx;
}

uint16_t bh__net_rx_none(struct bh_net_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	(void)q, (void)pkts, (void)n;
	return 0;
}

uint16_t bh__net_tx_none(struct bh_net_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	(void)q, (void)pkts, (void)n;
	return 0;
}

unsigned int bh__net_reap_none(struct bh_net_txq *q)
{
	(void)q;
	return 0;
}

static void queues_silence(struct bh_net *net)
{
	for (unsigned int i = 0; i < net->conf.n_rxq; i++)
		net->rxq[i]->burst = bh__net_rx_none;
	for (unsigned int i = 0; i < net->conf.n_txq; i++) {
		net->txq[i]->burst = bh__net_tx_none;
		net->txq[i]->reap = bh__net_reap_none;
	}
}

static void queues_release(struct bh_net *net)
{
	if (net->state == BH__NET_OPEN)
		return;
	net->ops->release(net);
	memset(net->rxq, 0, sizeof(net->rxq));
	memset(net->txq, 0, sizeof(net->txq));
	memset(&net->conf, 0, sizeof(net->conf));
	net->state = BH__NET_OPEN;
}

void bh_net_close(struct bh_net *net)
{
	void (*closed)(void *ctx);
	void *ctx;

	if (!net)
		return;
	bh_net_stop(net);
	queues_release(net);
	closed = net->closed;
	ctx = net->closed_ctx;
	net->ops->close(net);
	if (closed)
		closed(ctx);
}

const struct bh_net_info *bh_net_info(const struct bh_net *net)
{
	return &net->info;
}

const char *bh_net_name(const struct bh_net *net)
{
	return net->address;
}

const struct bh_log *bh_net_log(const struct bh_net *net)
{
	return net->log;
}

void bh_net_conf_init(struct bh_net_conf *conf)
{
	memset(conf, 0, sizeof(*conf));
	conf->size = sizeof(*conf);
	conf->n_rxq = conf->n_txq = 1;
	conf->rx_depth = conf->tx_depth = DEFAULT_DEPTH;
}

static unsigned int depth_round(const struct bh_net_info *info, unsigned int depth)
{
	unsigned int pow2 = 1;

	if (depth < info->min_depth)
		depth = info->min_depth;
	if (depth > info->max_depth)
		depth = info->max_depth;
	if (!info->depth_pow2)
		return depth;
	while (pow2 < depth)
		pow2 *= 2;
	return pow2 <= info->max_depth ? pow2 : pow2 / 2;
}

static int pools_read(struct bh_net_conf *c, struct rte_mempool **pools)
{
	for (unsigned int i = 0; i < c->n_rxq; i++) {
		pools[i] = c->rx_pools && c->rx_pools[i] ? c->rx_pools[i] : c->rx_pool;
		if (!pools[i])
			return -EINVAL;
	}
	return 0;
}

/* Does a packet of that MTU fit into one buffer of each queue, or may it come in several? */
static int mtu_check(const struct bh_net *net, const struct bh_net_conf *c,
		     struct rte_mempool *const *pools)
{
	if (c->mtu < net->info.min_mtu || c->mtu > net->info.max_mtu)
		return -EINVAL;
	if (c->offloads & BH_NET_RX_SCATTER)
		return 0;
	for (unsigned int i = 0; i < c->n_rxq; i++)
		if (bh__net_pool_room(pools[i]) < c->mtu + FRAME_EXTRA)
			return -EMSGSIZE;
	return 0;
}

static int rss_read(const struct bh_net *net, const struct bh_net_conf *c, struct bh_net_rss *rss)
{
	memset(rss, 0, sizeof(*rss));
	if (!(net->info.caps & BH_NET_CAP_RSS))
		return c->rss ? -EOPNOTSUPP : 0;
	if (c->rss) {
		*rss = *c->rss;
		return bh__net_rss_check(&net->info, c->n_rxq, rss);
	}
	bh__net_rss_default(&net->info, c->n_rxq, rss);
	if (c->n_rxq == 1 && !(c->offloads & BH_NET_RX_RSS_HASH))
		rss->types = 0;
	return 0;
}

static int conf_read(const struct bh_net *net, const struct bh_net_conf *conf,
		     struct bh_net_conf *c, struct rte_mempool **pools)
{
	const struct bh_net_info *info = &net->info;
	int rc;

	bh_net_conf_init(c);
	if (!conf || conf->size < offsetof(struct bh_net_conf, rx_pools) ||
	    conf->size > sizeof(*conf))
		return -EINVAL;
	memcpy(c, conf, conf->size);
	c->size = sizeof(*c);
	if (c->n_rxq < 1 || c->n_rxq > info->max_rxq || c->n_txq < 1 || c->n_txq > info->max_txq)
		return -EINVAL;
	if (c->offloads & ~info->offloads || (c->queue_fds && !(info->caps & BH_NET_CAP_QUEUE_FD)))
		return -EOPNOTSUPP;
	c->rx_depth = depth_round(info, c->rx_depth);
	c->tx_depth = depth_round(info, c->tx_depth);
	if (c->mtu == 0)
		c->mtu = info->max_mtu < DEFAULT_MTU ? info->max_mtu : DEFAULT_MTU;
	rc = pools_read(c, pools);
	return rc != 0 ? rc : mtu_check(net, c, pools);
}

int bh_net_configure(struct bh_net *net, const struct bh_net_conf *conf)
{
	struct rte_mempool *pools[BH_NET_MAX_QUEUES] = { NULL };
	struct bh_net_rss rss;
	struct bh_net_conf c;
	int rc;

	if (net->state == BH__NET_STARTED)
		return -EBUSY;
	rc = conf_read(net, conf, &c, pools);
	if (rc == 0)
		rc = rss_read(net, &c, &rss);
	if (rc != 0)
		return rc;
	queues_release(net);
	memcpy(net->rx_pool_of, pools, sizeof(pools));
	c.rx_pools = net->rx_pool_of;
	c.rss = NULL;
	net->conf = c;
	net->rss = rss;
	rc = net->ops->configure(net);
	if (rc != 0) {
		memset(&net->conf, 0, sizeof(net->conf));
		return rc;
	}
	net->state = BH__NET_CONFIGURED;
	queues_silence(net);
	return 0;
}

const struct bh_net_conf *bh_net_conf(const struct bh_net *net)
{
	return &net->conf;
}

int bh_net_start(struct bh_net *net)
{
	int rc;

	if (net->state == BH__NET_OPEN)
		return -EINVAL;
	if (net->state == BH__NET_STARTED)
		return -EALREADY;
	rc = net->ops->start(net);
	if (rc != 0) {
		queues_silence(net);
		return rc;
	}
	net->state = BH__NET_STARTED;
	return 0;
}

void bh_net_stop(struct bh_net *net)
{
	if (net->state != BH__NET_STARTED)
		return;
	queues_silence(net);
	net->ops->stop(net);
	net->state = BH__NET_CONFIGURED;
}

struct bh_net_rxq *bh_net_rxq(struct bh_net *net, unsigned int index)
{
	return index < net->conf.n_rxq ? net->rxq[index] : NULL;
}

struct bh_net_txq *bh_net_txq(struct bh_net *net, unsigned int index)
{
	return index < net->conf.n_txq ? net->txq[index] : NULL;
}

int bh_net_poll(struct bh_net *net)
{
	return net->ops->poll(net);
}

int bh_net_mtu_set(struct bh_net *net, unsigned int mtu)
{
	struct bh_net_conf c = net->conf;
	int rc;

	if (net->state == BH__NET_STARTED)
		return -EBUSY;
	if (net->state == BH__NET_OPEN)
		return -EINVAL;
	c.mtu = mtu;
	rc = mtu_check(net, &c, net->rx_pool_of);
	if (rc == 0)
		net->conf.mtu = mtu;
	return rc;
}

unsigned int bh_net_mtu(const struct bh_net *net)
{
	return net->conf.mtu;
}

int bh_net_rxq_fd(struct bh_net *net, unsigned int index)
{
	if (!net->conf.queue_fds)
		return -EOPNOTSUPP;
	return index < net->conf.n_rxq ? net->ops->rxq_fd(net, index) : -EINVAL;
}

int bh_net_rxq_arm(struct bh_net *net, unsigned int index)
{
	if (!net->conf.queue_fds)
		return -EOPNOTSUPP;
	if (index >= net->conf.n_rxq || net->state != BH__NET_STARTED)
		return -EINVAL;
	return net->ops->rxq_arm(net, index);
}

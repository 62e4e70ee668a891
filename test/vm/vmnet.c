/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmnet.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>

static struct bh_env *the_env;

/* ---- the peer ---- */

static bool interface_request(struct net *n, unsigned long request, struct ifreq *r)
{
	snprintf(r->ifr_name, sizeof(r->ifr_name), "%s", n->ifname);
	return ioctl(n->sock, request, r) == 0;
}

/* Frames are to arrive as they were sent, not merged. */
static void peer_no_merging(struct net *n)
{
	struct ethtool_value gro = { .cmd = ETHTOOL_SGRO, .data = 0 };
	struct ifreq r = { .ifr_data = (char *)&gro };

	(void)interface_request(n, SIOCETHTOOL, &r);
}

static bool peer_open(struct net *n)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int on = 1, bytes = 16 << 20;
	struct ifreq r = { 0 };

	n->ifname = getenv("PEER_IF");
	if (!n->ifname)
		return vm_fail("PEER_IF does not say which interface the peer is");
	n->ifindex = (int)if_nametoindex(n->ifname);
	n->sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	if (n->sock < 0 || !n->ifindex || !interface_request(n, SIOCGIFHWADDR, &r))
		return vm_fail("no interface %s: errno %d", n->ifname, errno);
	memcpy(n->peer_mac, r.ifr_hwaddr.sa_data, 6);
	at.sll_ifindex = n->ifindex;
	(void)setsockopt(n->sock, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	if (setsockopt(n->sock, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)) ||
	    bind(n->sock, (struct sockaddr *)&at, sizeof(at)))
		return vm_fail("a socket on %s: errno %d", n->ifname, errno);
	peer_no_merging(n);
	return true;
}

static unsigned long long peer_count(struct net *n, const char *what)
{
	unsigned long long value = 0;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", n->ifname, what);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%llu", &value) != 1)
		value = ~0ull;
	if (file)
		fclose(file);
	return value;
}

void net_show(struct net *n)
{
	static const char *const names[] = { "rx_packets", "rx_dropped", "rx_missed_errors",
					     "rx_errors",  "tx_packets", "tx_dropped" };
	struct bh_net_xstat list[160];
	int count = bh_net_xstats(n->dev, list, 160);

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		printf("peer: %s %llu\n", names[i], peer_count(n, names[i]));
	for (int i = 0; i < count && i < 160; i++) {
		if (list[i].value)
			printf("we: %s %llu\n", list[i].name, (unsigned long long)list[i].value);
	}
}

bool peer_send(struct net *n, const uint8_t *frame, unsigned int bytes)
{
	uint64_t end = bh_now_ns() + 5000000000ull;

	do {
		if (send(n->sock, frame, bytes, 0) == (ssize_t)bytes)
			return true;
		if (errno != ENOBUFS && errno != EAGAIN)
			break;
		usleep(1000);
	} while (bh_now_ns() < end);
	return vm_fail("the peer does not send %u bytes: errno %d", bytes, errno);
}

static uint16_t tag_of(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		return aux.tp_status & TP_STATUS_VLAN_VALID ? aux.tp_vlan_tci : 0;
	}
	return 0;
}

unsigned int peer_receive(struct net *n, uint8_t *frame, unsigned int most, unsigned int ms)
{
	uint64_t end = bh_now_ns() + ms * 1000000ull;

	for (;;) {
		struct pollfd p = { .fd = n->sock, .events = POLLIN };
		char control[256];
		struct iovec iov = { frame, most };
		struct sockaddr_ll from;
		struct msghdr msg = { .msg_name = &from,
				      .msg_namelen = sizeof(from),
				      .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = control,
				      .msg_controllen = sizeof(control) };
		uint64_t now = bh_now_ns();
		ssize_t got;

		if (now >= end || poll(&p, 1, (int)((end - now) / 1000000) + 1) != 1)
			return 0;
		got = recvmsg(n->sock, &msg, MSG_DONTWAIT);
		if (got < (ssize_t)NET_HEADER || from.sll_pkttype == PACKET_OUTGOING ||
		    memcmp(frame + 6, n->mac, 6) != 0)
			continue;
		n->vlan = tag_of(&msg);
		return (unsigned int)got;
	}
}

void qmp_set_link(const char *id, bool up)
{
	FILE *console = fopen("/dev/console", "w");

	if (!console)
		return;
	fprintf(console,
		"@@ QMP {\"execute\":\"set_link\",\"arguments\":{\"name\":\"%s\",\"up\":%s}}\n", id,
		up ? "true" : "false");
	fclose(console);
}

/* ---- our card ---- */

static void on_event(void *ctx, struct bh_net *dev, enum bh_net_event event)
{
	struct net *n = ctx;

	(void)dev;
	if (event == BH_NET_EVENT_LINK)
		n->link_events++;
	else
		n->other_events++;
}

static int open_driver(struct net *n)
{
	const struct bh_device_info *info = bh_device_info(n->vm->dev);
	const struct bh_net_driver *driver;
	struct bh_net_opts opts;

	bh_net_opts_init(&opts);
	opts.event = on_event;
	opts.event_ctx = n;
	for (driver = bh_net_drivers; driver->open; driver++) {
		if (driver->match(info))
			return driver->open(n->vm->dev, &opts, &n->dev);
	}
	return -ENOTSUP;
}

static bool open_env(struct vm *vm)
{
	struct bh_env_opts opts;
	int rc;

	if (the_env)
		return true;
	bh_env_opts_init(&opts);
	opts.log = &vm->log;
	rc = bh_env_open(&opts, &the_env);
	return rc == 0 || vm_fail("EAL: error %d", -rc);
}

bool net_open(struct net *n, struct vm *vm, unsigned int mbufs, unsigned int data_bytes)
{
	struct bh_net_pool_opts opts;
	int rc;

	memset(n, 0, sizeof(*n));
	n->vm = vm;
	n->sock = -1;
	if (!open_env(vm))
		return false;
	n->env = the_env;
	bh_net_pool_opts_init(&opts);
	opts.env = n->env;
	opts.space = vm->space;
	opts.count = mbufs;
	opts.cache = 0;
	if (data_bytes)
		opts.data_bytes = data_bytes;
	opts.log = &vm->log;
	rc = bh_net_pool_create(&opts, &n->pool);
	if (rc)
		return vm_fail("packet pool: error %d", -rc);
	n->mbufs = bh_net_pool_mempool(n->pool);
	rc = open_driver(n);
	if (rc)
		return vm_fail("the driver does not open it: error %d", -rc);
	bh_net_mac(n->dev, n->mac);
	return peer_open(n);
}

bool net_has(struct net *n, uint64_t caps)
{
	if ((bh_net_info(n->dev)->caps & caps) == caps)
		return true;
	vm_skip("the device has none of that");
	return false;
}

bool net_offers(struct net *n, uint64_t offloads)
{
	if ((bh_net_info(n->dev)->offloads & offloads) == offloads)
		return true;
	vm_skip("the device has no such offload");
	return false;
}

void net_conf(struct net *n, struct bh_net_conf *conf)
{
	bh_net_conf_init(conf);
	conf->rx_pool = n->mbufs;
	conf->rx_depth = conf->tx_depth = 256;
}

bool net_link_becomes(struct net *n, bool up)
{
	uint64_t end = bh_now_ns() + NET_WAIT_NS;
	struct bh_net_link link;
	int rc;

	do {
		(void)bh_net_poll(n->dev);
		rc = bh_net_link(n->dev, &link);
		if (rc == 0 && link.up == up)
			return true;
		usleep(10000);
	} while (bh_now_ns() < end);
	return vm_fail("the link does not come %s (error %d)", up ? "up" : "down", -rc);
}

bool net_start(struct net *n, const struct bh_net_conf *conf)
{
	int rc = bh_net_configure(n->dev, conf);

	if (rc)
		return vm_fail("configuring: error %d", -rc);
	rc = bh_net_start(n->dev);
	if (rc)
		return vm_fail("starting: error %d", -rc);
	return !(bh_net_info(n->dev)->caps & BH_NET_CAP_LINK) || net_link_becomes(n, true);
}

bool net_all_back(struct net *n)
{
	unsigned int there = rte_mempool_avail_count(n->mbufs);

	return there == n->mbufs->size || vm_fail("%u of %u mbufs are back", there, n->mbufs->size);
}

void net_close(struct net *n)
{
	if (n->dev)
		bh_net_stop(n->dev);
	if (n->dev && n->pool)
		(void)net_all_back(n);
	bh_net_close(n->dev);
	bh_net_pool_destroy(n->pool);
	if (n->sock >= 0)
		close(n->sock);
}

/* ---- frames ---- */

void net_fill(uint8_t *frame, unsigned int bytes, const uint8_t to[6], const uint8_t from[6],
	      uint32_t number)
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	frame[12] = NET_TYPE >> 8;
	frame[13] = NET_TYPE & 0xff;
	memcpy(frame + NET_HEADER, &number, 4);
	for (unsigned int i = NET_HEADER + 4; i < bytes; i++)
		frame[i] = (uint8_t)((number * 2654435761u >> 13) + i * 7 + (i >> 8));
}

bool net_is(const uint8_t *frame, unsigned int got, const uint8_t *want, unsigned int bytes,
	    uint32_t number)
{
	if (got != bytes)
		return vm_fail("frame %u has %u bytes of %u", number, got, bytes);
	for (unsigned int i = 0; i < bytes; i++) {
		if (frame[i] != want[i])
			return vm_fail("frame %u of %u bytes: byte %u is %02x, not %02x", number,
				       bytes, i, frame[i], want[i]);
	}
	return true;
}

struct rte_mbuf *net_chain(struct net *n, const uint8_t *frame, unsigned int bytes,
			   unsigned int piece)
{
	struct rte_mbuf *head = NULL, *last = NULL;

	for (unsigned int at = 0; at < bytes; at += piece) {
		unsigned int part = bytes - at < piece ? bytes - at : piece;
		struct rte_mbuf *m = rte_pktmbuf_alloc(n->mbufs);

		if (!m || part > rte_pktmbuf_tailroom(m)) {
			rte_pktmbuf_free(m);
			rte_pktmbuf_free(head);
			vm_fail("no mbuf for %u bytes", part);
			return NULL;
		}
		memcpy(rte_pktmbuf_append(m, (uint16_t)part), frame + at, part);
		if (!head) {
			head = m;
		} else {
			last->next = m;
			head->nb_segs++;
			head->pkt_len += part;
		}
		last = m;
	}
	return head;
}

bool net_send(struct net *n, unsigned int queue, struct rte_mbuf *m)
{
	struct bh_net_txq *q = bh_net_txq(n->dev, queue);
	uint64_t end = bh_now_ns() + 1000000000ull;
	uint64_t refused = q->counters.errors;

	if (!m)
		return false;
	do {
		if (bh_net_tx_burst(q, &m, 1) == 1)
			return true;
	} while (q->counters.errors == refused && bh_now_ns() < end);
	vm_fail("a packet of %u bytes is %s", m->pkt_len,
		q->counters.errors == refused ? "not taken" : "refused");
	rte_pktmbuf_free(m);
	return false;
}

static bool is_ours(const struct rte_mbuf *m)
{
	const uint8_t *type = rte_pktmbuf_mtod_offset(m, const uint8_t *, 12);

	return m->data_len >= NET_HEADER && type[0] == NET_TYPE >> 8 &&
	       type[1] == (NET_TYPE & 0xff);
}

struct rte_mbuf *net_receive(struct net *n, unsigned int queue, unsigned int ms, bool any)
{
	struct bh_net_rxq *q = bh_net_rxq(n->dev, queue);
	uint64_t end = bh_now_ns() + ms * 1000000ull;
	struct rte_mbuf *m;

	do {
		while (bh_net_rx_burst(q, &m, 1) == 1) {
			if (any || is_ours(m))
				return m;
			rte_pktmbuf_free(m);
		}
	} while (bh_now_ns() < end);
	return NULL;
}

unsigned int net_copy(const struct rte_mbuf *m, uint8_t *out, unsigned int most)
{
	unsigned int at = 0;

	for (; m && at + m->data_len <= most; m = m->next) {
		memcpy(out + at, rte_pktmbuf_mtod(m, const void *), m->data_len);
		at += m->data_len;
	}
	return at;
}

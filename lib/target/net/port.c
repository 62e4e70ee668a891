/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports by name, and the two that are nothing: `loopback`, whose work loop_io.c does, and `null`.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/net/port.h"

int tnet_port_fail(char *why, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, BH_TARGET_NET_WHY, fmt, args);
	va_end(args);
	return error;
}

void bh_net_port_opts_init(struct bh_net_port_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
	opts->queues = 1;
}

static void plain_close(struct bh_net_port *port)
{
	free(port);
}

static unsigned int null_tx(struct bh_net_port *port, unsigned int queue, struct tnet_pkt *pkt,
			    unsigned int count)
{
	(void)port;
	(void)queue;
	(void)pkt;
	return count;
}

static const struct bh_net_port_ops loopback_ops = {
	.name = "loopback",
	.features = TNET_OFFLOADS_TX | TNET_OFFLOADS_RX,
	.is_loopback = true,
	.close = plain_close,
};

static const struct bh_net_port_ops null_ops = {
	.name = "null",
	.features = TNET_OFFLOADS_TX,
	.tx = null_tx,
	.close = plain_close,
};

static int plain_open(const struct bh_net_port_ops *ops, const char *arg,
		      const struct bh_net_port_opts *opts, char *why, struct bh_net_port **out)
{
	struct bh_net_port *port;

	if (arg && arg[0])
		return tnet_port_fail(why, -EINVAL, "port %s takes no argument", ops->name);
	port = calloc(1, sizeof(*port));
	if (!port)
		return tnet_port_fail(why, -ENOMEM, "out of memory");
	port->ops = ops;
	port->log = opts->log;
	port->queues = opts->queues;
	*out = port;
	return 0;
}

int bh_net_port_open(const char *type, const char *arg, const struct bh_net_port_opts *opts,
		     char why[BH_TARGET_NET_WHY], struct bh_net_port **out)
{
	why[0] = '\0';
	*out = NULL;
	if (!opts->queues || opts->queues > BH_TARGET_NET_MAX_QUEUES)
		return tnet_port_fail(why, -EINVAL, "a port has 1 to %u queues",
				      BH_TARGET_NET_MAX_QUEUES);
	if (strcmp(type, "loopback") == 0)
		return plain_open(&loopback_ops, arg, opts, why, out);
	if (strcmp(type, "null") == 0)
		return plain_open(&null_ops, arg, opts, why, out);
	if (strcmp(type, "tap") == 0)
		return tnet_port_tap_open(arg, opts, why, out);
	if (strcmp(type, "pcap") == 0)
		return tnet_port_pcap_open(arg, opts, why, out);
	return tnet_port_fail(why, -EINVAL,
			      "unknown port '%s' (try loopback, null, pair:NAME, tap:NAME or "
			      "pcap:FILE)",
			      type);
}

void bh_net_port_close(struct bh_net_port *port)
{
	if (port)
		port->ops->close(port);
}

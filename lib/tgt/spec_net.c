/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SPECs of network controllers: net:SOCKET,port=PORT and keys. A PORT is TYPE or TYPE:ARG, with ARG
 * opaque but for its quotes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tgt/spec.h"

static int out_of_memory(char *why)
{
	return tgt_spec_fail(why, -ENOMEM, "out of memory");
}

static int parse_port(char *value, struct bh_tgt_spec *spec, char *why)
{
	size_t colon = tgt_spec_find(value, 0, ':');
	bool has_arg = value[colon] == ':';

	value[colon] = '\0';
	if (value[0] == '\0')
		return tgt_spec_fail(why, -EINVAL,
				     "port=: expected loopback, null, pair:NAME, tap:NAME or "
				     "pcap:FILE");
	free(spec->port);
	free(spec->port_arg);
	spec->port = strdup(value);
	spec->port_arg = strdup(has_arg ? value + colon + 1 : "");
	if (!spec->port || !spec->port_arg)
		return out_of_memory(why);
	tgt_spec_unquote(spec->port_arg);
	if (strcmp(value, "pair") == 0 && spec->port_arg[0] == '\0')
		return tgt_spec_fail(why, -EINVAL, "port=pair: expected pair:NAME");
	return 0;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Six pairs of hexadecimal digits with colons, or quoted ones, between. */
static int parse_mac(char *value, struct bh_tgt_spec *spec, char *why)
{
	const char *c = value;
	unsigned int i;

	tgt_spec_unquote(value);
	for (i = 0; i < 6; i++, c += 3) {
		int high = digit(c[0]), low = high < 0 ? -1 : digit(c[1]);

		if (low < 0 || c[2] != (i < 5 ? ':' : '\0'))
			break;
		spec->mac[i] = (uint8_t)(high << 4 | low);
	}
	if (i < 6)
		return tgt_spec_fail(why, -EINVAL,
				     "mac=%s: expected six bytes such as "
				     "52:54:00:12:34:56",
				     value);
	if (spec->mac[0] & 1)
		return tgt_spec_fail(why, -EINVAL, "mac=%s: a multicast address", value);
	spec->has_mac = true;
	return 0;
}

static int parse_depth(const char *value, struct bh_tgt_spec *spec, char *why)
{
	int error = tgt_spec_number("depth", value, 16, BH_TARGET_NET_MAX_DEPTH, &spec->depth, why);

	if (!error && (spec->depth & (spec->depth - 1)))
		error = tgt_spec_fail(why, -EINVAL, "depth=%s: expected a power of two", value);
	return error;
}

static int parse_rings(const char *value, struct bh_tgt_spec *spec, char *why)
{
	spec->split_rings = strcmp(value, "split") == 0;
	if (spec->split_rings || strcmp(value, "packed") == 0)
		return 0;
	return tgt_spec_fail(why, -EINVAL, "rings=%s: expected packed or split", value);
}

int tgt_spec_set_net(const char *key, char *value, struct bh_tgt_spec *spec, char *why)
{
	if (strcmp(key, "port") == 0)
		return parse_port(value, spec, why);
	if (strcmp(key, "mac") == 0)
		return parse_mac(value, spec, why);
	tgt_spec_unquote(value);
	if (strcmp(key, "queues") == 0)
		return tgt_spec_number(key, value, 1, BH_TARGET_NET_MAX_QUEUES, &spec->queues, why);
	if (strcmp(key, "depth") == 0)
		return parse_depth(value, spec, why);
	if (strcmp(key, "mtu") == 0)
		return tgt_spec_number(key, value, 68, BH_TARGET_NET_MAX_MTU, &spec->mtu, why);
	if (strcmp(key, "doorbells") == 0)
		return tgt_spec_doorbells(value, spec, why);
	if (strcmp(key, "rings") == 0)
		return parse_rings(value, spec, why);
	if (strcmp(key, "cores") == 0) {
		if (bh_parse_cpus(value, '+', &spec->cores) == 0)
			return 0;
		return tgt_spec_fail(why, -EINVAL, "cores=%s: expected CPUs such as 0+2-3", value);
	}
	return tgt_spec_fail(why, -EINVAL,
			     "unknown key '%s' (expected port, mac, queues, depth, mtu, rings, "
			     "cores or doorbells)",
			     key);
}

int tgt_spec_parse_net(char *rest, struct bh_tgt_spec *spec, char *why)
{
	static const char *const keys[] = { "port",  "mac",   "queues",	   "depth", "mtu",
					    "rings", "cores", "doorbells", NULL };
	int error = tgt_spec_parse_keys(rest, "net: the socket's path", keys, tgt_spec_set_net,
					spec, why);

	if (error)
		return error;
	if (!spec->port)
		return tgt_spec_fail(why, -EINVAL,
				     "no port (give port=loopback, null, pair:NAME, tap:NAME or "
				     "pcap:FILE)");
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vm-rings INTERFACE ENTRIES: gives the rings of a network interface so many entries each, as ethtool
 * -G does, which takes them from the device one by one while the others go on.
 */
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int ask(const char *name, struct ethtool_ringparam *rings)
{
	struct ifreq r = { .ifr_data = (char *)rings };
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (sock >= 0 && ioctl(sock, SIOCETHTOOL, &r) == 0)
		return 0;
	perror(rings->cmd == ETHTOOL_SRINGPARAM ? "set" : "get");
	return 1;
}

int main(int argc, char **argv)
{
	struct ethtool_ringparam rings = { .cmd = ETHTOOL_GRINGPARAM };
	unsigned int entries = argc == 3 ? (unsigned int)atoi(argv[2]) : 0;

	if (!entries || ask(argv[1], &rings))
		return 1;
	rings.cmd = ETHTOOL_SRINGPARAM;
	rings.rx_pending = rings.tx_pending = entries;
	if (ask(argv[1], &rings))
		return 1;
	rings.cmd = ETHTOOL_GRINGPARAM;
	if (ask(argv[1], &rings))
		return 1;
	printf("%u to receive, %u to send\n", rings.rx_pending, rings.tx_pending);
	return rings.rx_pending != entries || rings.tx_pending != entries;
}

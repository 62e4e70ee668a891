/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who owns the device under a network device. Private to Bellhop; knows no mbufs.
 */
#ifndef NET_OWN_H
#define NET_OWN_H

struct bh_net;

/* What is to happen when bh_net_close() is through: closing the device, for bh_net_open(). */
void bh__net_on_close(struct bh_net *net, void (*closed)(void *ctx), void *ctx);

#endif /* NET_OWN_H */

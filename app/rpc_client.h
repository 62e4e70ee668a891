/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls of the control plane that bh-tgt --rpc serves. */
#ifndef APP_RPC_CLIENT_H
#define APP_RPC_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct rpc_client {
	const char *socket;
	unsigned int seconds; /* to wait for an answer */
	int fd;		      /* -1: not connected */
	char *buf;
	size_t len;
	char why[512]; /* of the last failure */
};

void rpc_client_init(struct rpc_client *client, const char *socket, unsigned int seconds);
/* False, and client->why. */
bool rpc_client_connect(struct rpc_client *client);
/* One call; the result is the caller's. False, and client->why; connected still if it answered. */
bool rpc_client_call(struct rpc_client *client, const char *method, json_t *params,
		     json_t **result);
void rpc_client_close(struct rpc_client *client); /* it can be connected again */

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An emulated virtio network controller (virtio 1.2 5.1) on a vfio-user socket, and the ports its
 * packets go to and come from.
 *
 * Component: lib/target/net
 *
 * As the NVMe controller, it has one control thread (registers, control queue, configuration; a
 * reactor without pollers, which may serve many controllers) and one or more poll threads
 * (reactors). Each pair of queues is owned by one poll thread.
 */
#ifndef BELLHOP_TARGET_NET_H
#define BELLHOP_TARGET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <bellhop/latency.h>
#include <bellhop/log.h>
#include <bellhop/poll.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BH_TARGET_NET_MAX_QUEUES 64u   /* pairs */
#define BH_TARGET_NET_MAX_DEPTH 32768u /* entries of a queue */
#define BH_TARGET_NET_MAX_THREADS 64u
#define BH_TARGET_NET_MAX_MTU 65535u
#define BH_TARGET_NET_WHY 256 /* bytes of a reason for the user */

struct bh_target_net;
struct bh_net_port;

/*
 * ---- ports ---- A port serves one controller at a time. It is made before the controller and
 * closed after it; both on the control thread, or before it runs.
 */

struct bh_net_port_opts {
	size_t size;
	unsigned int queues; /* pairs, as the controller will have; 1..BH_TARGET_NET_MAX_QUEUES */
	const struct bh_log *log;
};

void bh_net_port_opts_init(struct bh_net_port_opts *opts);

/*
 * Opens a port by its type and what follows the colon:
 *	loopback	what a client sends on a queue it receives on the same
 *	null		what it sends vanishes, nothing comes
 *	tap:NAME	the kernel's TAP device of that name, made where there is none (needs
 *			CAP_NET_ADMIN, or a device that the user owns)
 *	pcap:OUT[:IN[:TIMES]]
 *			what it sends goes to file OUT, the packets of IN come once, or so often;
 *			either may be empty
 * (`pair` has a function of its own.) Errors with the reason in why: -EINVAL: unknown type or a bad
 * argument; -ENOMEM; for tap and pcap what the system says.
 */
int bh_net_port_open(const char *type, const char *arg, const struct bh_net_port_opts *opts,
		     char why[BH_TARGET_NET_WHY], struct bh_net_port **out);
/*
 * The two ends of a wire: what the controller at one sends the controller at the other receives.
 * Each end is closed by itself. -EINVAL, -ENOMEM.
 */
int bh_net_port_pair(const struct bh_net_port_opts *opts, struct bh_net_port *end[2]);
/* No controller may be on it. NULL is accepted. */
void bh_net_port_close(struct bh_net_port *port);

/* ---- the controller ---- */

enum bh_target_net_notify {
	/* The client stores into a shared page: no exit, no system call; idle costs a 1 ms timer. */
	BH_NET_NOTIFY_MAPPED,
	/* Messages or ioeventfds, made rare by event suppression; an idle target sleeps. */
	BH_NET_NOTIFY_TRAPPED,
};

struct bh_target_net_opts {
	size_t size;
	const char *path;  /* of the socket */
	unsigned int mode; /* its permissions, default 0600 */
	/* Users whose processes may connect; copied. NULL: whoever the permissions admit. */
	const uid_t *allowed_uids;
	unsigned int num_allowed_uids;
	struct bh_reactor *control;
	struct bh_reactor *const *threads; /* poll threads; at least one; copied */
	unsigned int num_threads;
	struct bh_net_port *port; /* stays the caller's */
	const uint8_t *mac; /* 6 bytes; copied; NULL: derived from the path, locally administered */
	unsigned int queues; /* pairs, 1..BH_TARGET_NET_MAX_QUEUES; default 1 */
	unsigned int depth;  /* largest queue, a power of two from 16; default 1024 */
	unsigned int mtu;    /* what the client is told to use, 68..65535; default 0: not told */
	enum bh_target_net_notify notify;
	uint64_t idle_poll_ns; /* mapped notifications: timer of an idle thread; default 1 ms */
	const struct bh_log *log;
	bool split_rings; /* packed ones are not offered */
};

void bh_target_net_opts_init(struct bh_target_net_opts *opts);

/*
 * Listens at once. Reactors not yet running, or call on the control thread. Errors as
 * bh_vfu_server_create; -EINVAL logged.
 */
int bh_target_net_create(const struct bh_target_net_opts *opts, struct bh_target_net **out);

/*
 * Disconnects the client, removes the socket, frees; done(arg) runs on the control thread when
 * nothing is left. Control thread. With all reactors stopped: bh_target_net_free().
 */
void bh_target_net_destroy(struct bh_target_net *net, void (*done)(void *arg), void *arg);
void bh_target_net_free(struct bh_target_net *net); /* reactors stopped */

const char *bh_target_net_path(const struct bh_target_net *net);

struct bh_target_net_counts {
	uint64_t tx_packets, tx_bytes; /* sent by the client */
	uint64_t rx_packets, rx_bytes; /* received by it */
	uint64_t tx_drops;	       /* nonsense in a header, or nobody at the other end */
	uint64_t rx_drops;	       /* filtered, or larger than the client's buffers */
	/* Suppressed: there was something to tell, and the driver did not want to be told. */
	uint64_t interrupts, suppressed;
};

struct bh_target_net_stats {
	struct bh_target_net_counts counts;
	uint64_t notify_messages;    /* trapped notifications */
	uint64_t polls, empty_polls; /* passes of its threads; those that found nothing */
};
void bh_target_net_stats(const struct bh_target_net *net,
			 struct bh_target_net_stats *stats); /* any thread; approximate */

#define BH_TARGET_NET_BATCHES 7u

/* A pair of queues, from the controller's creation on. */
struct bh_target_net_queue_stats {
	unsigned int index;
	bool is_here; /* the driver uses it now */
	int cpu;      /* of the thread that owns it; -1: that is not pinned */
	struct bh_target_net_counts counts;
	/* Passes that moved 2^i to 2^(i+1) - 1 packets, both ways together; the last: or more. */
	uint64_t batches[BH_TARGET_NET_BATCHES];
	/*
	 * Nanoseconds in the target: from the beginning of the pass that found a packet until its
	 * burst was made known. Every 16th pass that finds something is timed, and taken for the
	 * latency of all packets since the last.
	 */
	const struct bh_histogram *latency;
};
typedef void (*bh_target_net_queue_fn)(void *ctx, const struct bh_target_net_queue_stats *stats);
/* Of each pair that there can be. clock: measured. Any thread; approximate. */
void bh_target_net_queues(const struct bh_target_net *net, const struct bh_clock *clock,
			  bh_target_net_queue_fn fn, void *ctx);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The second example to read, after bh-hello: a wire of two network devices. What one receives the
 * other sends, unchanged, in both directions, until Ctrl-C.
 *
 * Environment, memory, devices, queues, bursts: all that a packet program needs, once. A burst is
 * the unit of everything: taking 64 packets costs hardly more than taking one. Who owns a packet is
 * always clear: rx_burst gives it to us, tx_burst takes it, and what tx_burst does not take is ours
 * to keep or to free. Nothing here waits: a wire that cannot deliver drops.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <bellhop/bellhop.h>
#include <bellhop/clock.h>
#include <bellhop/fault.h>
#include <bellhop/net.h>

#define BURST 64
#define PACKETS 8192 /* in each device's pool: rings, and what is on its way through */

struct port {
	const char *address;
	struct bh_pool *rings; /* memory of the queues */
	struct bh_net_pool *pool;
	struct bh_net *net;
	struct bh_net_rxq *rxq;
	struct bh_net_txq *txq;
	uint64_t dropped;
};

static volatile sig_atomic_t interrupted;
static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

static int said; /* a library has told the user what went wrong */
static void say(void *ctx, enum bh_log_level level, const char *component, const char *line)
{
	*(int *)ctx |= level == BH_LOG_ERROR;
	fprintf(stderr, "bh-l2fwd: %s: %s\n", component, line);
}
static struct bh_log log_to_stderr = { .write = say, .ctx = &said, .level = BH_LOG_WARN };

/*
 * Both devices are opened in one DMA space: each reaches the packets of the other, so that they are
 * passed on where they lie.
 */
static int open_port(struct port *p, struct bh_dma_space *space)
{
	struct bh_device_opts dev_opts; /* options have an init function: set what differs */
	struct bh_pool_opts ring_opts;

	bh_pool_opts_init(&ring_opts);
	ring_opts.bytes = 2 << 20;
	bh_device_opts_init(&dev_opts);
	dev_opts.log = &log_to_stderr;
	dev_opts.space = space;
	int error = bh_pool_create(&ring_opts, &p->rings);
	error = error ? error : bh_dma_space_add(space, p->rings);
	return error ? error : bh_net_open(p->address, &dev_opts, NULL, &p->net);
}

/* A pool of packets, one queue each way, promiscuous since what passes is not for us; go. */
static int start_port(struct port *p, struct bh_env *env, struct bh_dma_space *space)
{
	struct bh_net_pool_opts pool_opts;
	struct bh_net_conf conf;

	bh_net_pool_opts_init(&pool_opts);
	pool_opts.env = env;
	pool_opts.space = space;
	pool_opts.count = PACKETS;
	int error = bh_net_pool_create(&pool_opts, &p->pool);
	if (error)
		return error;
	bh_net_conf_init(&conf);
	conf.rx_pool = bh_net_pool_mempool(p->pool);
	error = bh_net_configure(p->net, &conf);
	error = error ? error : bh_net_start(p->net);
	if (!error && bh_net_info(p->net)->caps & BH_NET_CAP_PROMISC)
		error = bh_net_promisc(p->net, true);
	p->rxq = bh_net_rxq(p->net, 0);
	p->txq = bh_net_txq(p->net, 0);
	return error;
}

static void forward(struct port *from, struct port *to)
{
	struct rte_mbuf *pkts[BURST];
	uint16_t n = bh_net_rx_burst(from->rxq, pkts, BURST);
	uint16_t sent = n ? bh_net_tx_burst(to->txq, pkts, n) : 0;

	rte_pktmbuf_free_bulk(pkts + sent, n - sent); /* not taken: still ours */
	to->dropped += n - sent;
	if (n == 0)
		bh_net_tx_reap(to->txq); /* else packets already sent wait for the next burst */
}

static void report(const struct port *a, const struct port *b)
{
	printf("%s -> %s: %llu packets, %llu dropped; %s -> %s: %llu packets, %llu dropped\n",
	       a->address, b->address, (unsigned long long)b->txq->counters.packets,
	       (unsigned long long)b->dropped, b->address, a->address,
	       (unsigned long long)a->txq->counters.packets, (unsigned long long)a->dropped);
	fflush(stdout);
}

/* 0: Ctrl-C; else a device is gone. */
static int run(struct port *a, struct port *b)
{
	uint64_t next = bh_now_ns(), second = 1000000000ull;
	int error = 0;

	while (!interrupted && error >= 0) {
		for (int i = 0; i < 1000; i++) { /* between two looks at the clock */
			forward(a, b);
			forward(b, a);
		}
		if (bh_now_ns() < next)
			continue;
		next = bh_now_ns() + second;
		error = bh_net_poll(a->net); /* link changes, failures: now and then */
		error = error < 0 ? error : bh_net_poll(b->net);
		if (error >= 0)
			report(a, b);
	}
	return error < 0 ? error : 0;
}

static int usage(int code)
{
	fputs("usage: bh-l2fwd [-v] ADDRESS ADDRESS\n"
	      "Sends what one network device receives by the other, both ways, until Ctrl-C.\n"
	      "example: bh-l2fwd /tmp/net0.sock /tmp/net1.sock\n",
	      code ? stderr : stdout);
	return code;
}

int main(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = on_signal };
	struct port port[2] = { { 0 } };
	struct bh_env_opts env_opts;
	struct bh_env *env = NULL;
	struct bh_dma_space *space = NULL;

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return usage(0);
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return printf("bh-l2fwd %s\n", bh_version()) < 0;
	if (argc == 4 && strcmp(argv[1], "-v") == 0)
		log_to_stderr.level = BH_LOG_INFO;
	if (argc - (log_to_stderr.level == BH_LOG_INFO) != 3 || argv[argc - 2][0] == '-')
		return usage(2);
	port[0].address = argv[argc - 2];
	port[1].address = argv[argc - 1];
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	bh_fault_install(); /* a device that vanishes must not take us along */

	bh_env_opts_init(
		&env_opts); /* DPDK's mbufs need it; our main thread may use them at once */
	env_opts.name = "bh-l2fwd";
	env_opts.log = &log_to_stderr;
	const char *what = "the environment";
	int error = bh_env_open(&env_opts, &env);
	error = error ? error : bh_dma_space_create(&log_to_stderr, &space);
	for (int i = 0; !error && i < 2; i++) {
		what = port[i].address;
		error = open_port(&port[i], space);
	}
	for (int i = 0; !error && i < 2; i++) {
		what = port[i].address;
		error = start_port(&port[i], env, space);
	}
	if (error && !said)
		fprintf(stderr, "bh-l2fwd: %s: %s\n", what, strerror(-error));
	if (!error && run(&port[0], &port[1]) != 0)
		error = fprintf(stderr, "bh-l2fwd: a device is gone\n");
	if (!error)
		report(&port[0], &port[1]);

	for (int i = 0; i < 2; i++) /* both, before any pool: each has packets of the other */
		bh_net_close(port[i].net);
	for (int i = 0; i < 2; i++)
		bh_net_pool_destroy(port[i].pool);
	bh_dma_space_destroy(space); /* each accepts NULL */
	bh_pool_destroy(port[0].rings);
	bh_pool_destroy(port[1].rings);
	bh_env_close(env);
	return error != 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What functional tests share: a target in a process of its own, a host opened on it, data that can
 * be verified, and a main that prints PASS, FAIL or SKIP per case.
 *
 * A case returns nothing; FT_CHECK leaves it at the first thing that does not hold. Whatever it
 * leaves running or open is its process's: every case runs in a child, so a crash or a leak ends
 * with the case and is its failure.
 */
#ifndef TEST_FUNCTIONAL_FT_H
#define TEST_FUNCTIONAL_FT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <bellhop/bellhop.h>
#include <bellhop/clock.h>
#include <bellhop/dma.h>
#include <bellhop/nvme.h>

struct ft_case {
	const char *name;
	void (*fn)(void);
	unsigned int seconds; /* 0: 60; four times that under sanitizers */
};

int ft_main(const struct ft_case *cases, size_t count, int argc, char **argv);

#define FT_MAIN(...)                                                                 \
	int main(int argc, char **argv)                                              \
	{                                                                            \
		static const struct ft_case cases[] = { __VA_ARGS__ };               \
		return ft_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv); \
	}

/* Ends the case (its process). */
_Noreturn void ft_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
_Noreturn void ft_skip(const char *reason);

#define FT_CHECK(condition)                                            \
	do {                                                           \
		if (!(condition))                                      \
			ft_fail(__FILE__, __LINE__, "%s", #condition); \
	} while (0)
/* a == b, as long long; says both. */
#define FT_EQUAL(a, b)                                                                            \
	do {                                                                                      \
		long long ft_a = (long long)(a), ft_b = (long long)(b);                           \
		if (ft_a != ft_b)                                                                 \
			ft_fail(__FILE__, __LINE__, "%s is %lld, expected %lld", #a, ft_a, ft_b); \
	} while (0)

bool ft_is_sanitized(void);
uint64_t ft_random(uint64_t *state);
/* bh_now_ns() + ms; under sanitizers four times that. */
uint64_t ft_deadline(unsigned int ms);
/* Repeats step until condition holds; fails the case after ms. */
#define FT_UNTIL(ms, condition, step)                                               \
	do {                                                                        \
		uint64_t ft_end = ft_deadline(ms);                                  \
		while (!(condition)) {                                              \
			step;                                                       \
			if (bh_now_ns() > ft_end)                                   \
				ft_fail(__FILE__, __LINE__, "not within %u ms: %s", \
					(unsigned int)(ms), #condition);            \
		}                                                                   \
	} while (0)
/* The first n CPUs we may use, as in "0+1"; skips the case where there are fewer. */
const char *ft_cpus(unsigned int n, char separator);
/*
 * Runs fn in a process of its own, which ends with the case at the latest. What fails in it fails
 * the case when it is joined. Fork before opening a host: its threads do not come along.
 */
pid_t ft_fork(void (*fn)(void *arg), void *arg);
void ft_join(pid_t pid, unsigned int ms); /* must have ended well */
void ft_kill(pid_t pid);		  /* SIGKILL, and waits */
/* Waits for the byte by which the other process says that it is ready. */
void ft_await(int fd, unsigned int ms);
/* $BH_TMP/name, in a static buffer that the next call but three reuses. */
const char *ft_path(const char *name);

/* ---- the target ---- */

struct ft_target {
	pid_t pid;
	char socket[2][108]; /* $BH_TMP/n0.sock and n1.sock: for SPECs */
};

/* Fills in sockets, so that specs can be written. */
void ft_target_init(struct ft_target *target);
/* Runs bh-tgt-test (bh-tgt with the store type `late` added) -c cpus with the words; waits for
 * `ready`. */
void ft_target_start(struct ft_target *target, const char *cpus, const char *const *specs);
/* The usual: one word, built from nvme:SOCKET[0], and `rest`; on the first CPU. */
void ft_target_serve(struct ft_target *target, const char *rest);
/* The same on the first n CPUs, all of which poll for the controller. */
void ft_target_serve_on(struct ft_target *target, unsigned int cpus, const char *rest);
void ft_target_stop(
	struct ft_target *target); /* SIGTERM: must exit 0 in time and remove its sockets */
void ft_target_kill(struct ft_target *target); /* SIGKILL */
bool ft_target_is_alive(const struct ft_target *target);
/* Number of open files of the target, from /proc. */
unsigned int ft_target_files(const struct ft_target *target);
/* CPU time used so far, in ms. */
uint64_t ft_target_cpu_ms(const struct ft_target *target);

/* ---- the host ---- */

struct ft_host {
	struct bh_pool *pool;
	struct bh_dma_space *space;
	struct bh_device *dev;
	struct bh_nvme *nvme;
	struct bh_nvme_ns *ns; /* the first */
	bool own_pool;
};

struct ft_host_opts {
	size_t pool_bytes; /* 0: 64 MiB */
	enum bh_dma_access access;
	unsigned int queues; /* 0: the driver's default */
	bool no_shadow, no_sgl, no_twin, cmb_lists;
	enum bh_nvme_cmb cmb;
	unsigned int keep_alive_ms;
	uint64_t io_timeout_ns;	    /* 0: the driver's default */
	uint64_t admin_timeout_ns;  /* the same */
	uint64_t device_timeout_ns; /* 0: the default */
	bool quiet;		    /* errors are expected: not logged */
	struct bh_pool *pool;	    /* instead of one of its own; closing leaves it alone */
	void (*event)(void *ctx, enum bh_nvme_event event, uint32_t value);
	void *event_ctx;
};

/* Opens the socket and attaches; fails the case if it cannot. opts may be NULL. */
void ft_host_open(struct ft_host *host, const char *socket, const struct ft_host_opts *opts);
/* The same, up to where it fails: 0 or -errno, and then nothing is open. */
int ft_host_try(struct ft_host *host, const char *socket, const struct ft_host_opts *opts);
void ft_host_close(struct ft_host *host);
struct bh_nvme_queue *ft_queue(struct ft_host *host, unsigned int depth); /* 0: default depth */
void *ft_alloc(struct ft_host *host, size_t bytes); /* zeroed, page aligned, or fails the case */

/* A completion callback: stores the status field in the int that arg points to. */
void ft_done(void *arg, const struct bh_nvme_cpl *cpl);
/* Polls until *status >= 0 (10 s, 40 under sanitizers; fails the case after that). */
uint16_t ft_wait(struct bh_nvme_queue *q, const int *status);
/* One command, waiting: its status field. */
uint16_t ft_read(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, void *buf, uint64_t lba,
		 uint32_t blocks);
uint16_t ft_write(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const void *buf, uint64_t lba,
		  uint32_t blocks);

/* ---- traffic ---- */

/*
 * A model of a namespace: for every block the generation last written. Data of a block is a
 * function of (lba, generation), so that misplaced, stale and torn data are all seen.
 */
struct ft_model {
	uint32_t block;
	uint64_t blocks;
	uint32_t *generation; /* 0: zeros */
};
void ft_model_init(struct ft_model *model, const struct bh_nvme_ns *ns);
void ft_model_fini(struct ft_model *model);
/* The next generation, and its data. */
void ft_model_fill(struct ft_model *model, void *buf, uint64_t lba, uint32_t blocks);
bool ft_model_check(const struct ft_model *model, const void *buf, uint64_t lba, uint32_t blocks);

/* A region of a namespace and what is done to it. */
struct ft_traffic {
	uint64_t first, blocks; /* 0 blocks: the whole namespace */
	uint32_t max_blocks;	/* of a request */
	unsigned int depth;	/* requests in flight */
	unsigned int count;	/* in all; ft_load does not look at it */
	uint64_t seed;
};

/*
 * Random reads and writes of random sizes at random places in a region that holds zeros, each
 * verified against a model; requests in flight never overlap. The case fails on the first wrong
 * byte or status. begin, step until it returns false, end; or all of it at once.
 */
struct ft_verify;
struct ft_verify *ft_verify_begin(struct ft_host *host, struct bh_nvme_queue *q,
				  struct bh_nvme_ns *ns, const struct ft_traffic *traffic);
bool ft_verify_step(struct ft_verify *v);
void ft_verify_end(struct ft_verify *v);
void ft_verify_random(struct ft_host *host, struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
		      const struct ft_traffic *traffic);

/* Writes one fixed pattern over a region; checks that a region holds it. */
void ft_pattern_write(struct ft_host *host, struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
		      uint64_t first, uint64_t blocks);
void ft_pattern_check(struct ft_host *host, struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
		      uint64_t first, uint64_t blocks);

/*
 * Load without an end: reads of a region that holds the pattern, verified when they succeed, and
 * writes that put the pattern there again. So whatever is aborted or torn in the middle, the region
 * always holds the pattern. Requests may fail; each must complete exactly once (a second completion
 * fails the case). One thread.
 */
struct ft_load {
	struct bh_pool *pool;
	struct bh_nvme_queue *q;
	struct bh_nvme_ns *ns;
	struct ft_traffic traffic;
	bool no_writes, no_check; /* set after begin */
	struct ft_load_request *requests;
	unsigned int in_flight;
	uint64_t submitted, completed, failed, wrong;
	bool gone; /* a submission or poll said -ENODEV */
};
void ft_load_begin(struct ft_load *load, struct ft_host *host, struct bh_nvme_queue *q,
		   struct bh_nvme_ns *ns, const struct ft_traffic *traffic);
void ft_load_step(struct ft_load *load);  /* submits what is free and polls once */
void ft_load_drain(struct ft_load *load); /* polls until nothing is in flight, or fails the case */
void ft_load_end(struct ft_load *load);	  /* nothing may be in flight */

#endif

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
/* The usual: one word, built from nvme:SOCKET[0], and `rest`; on CPU 0. */
void ft_target_serve(struct ft_target *target, const char *rest);
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
};

struct ft_host_opts {
	size_t pool_bytes; /* 0: 64 MiB */
	enum bh_dma_access access;
	bool no_shadow, no_sgl;
	uint64_t io_timeout_ns;	    /* 0: the driver's default */
	uint64_t device_timeout_ns; /* 0: the default */
	bool quiet;		    /* errors are expected: not logged */
};

/* Opens the socket and attaches; fails the case if it cannot. opts may be NULL. */
void ft_host_open(struct ft_host *host, const char *socket, const struct ft_host_opts *opts);
void ft_host_close(struct ft_host *host);
struct bh_nvme_queue *ft_queue(struct ft_host *host, unsigned int depth); /* 0: default depth */

/* One command, waiting (10 s, 40 under sanitizers); the status field. Fails the case when it does
 * not complete. */
uint16_t ft_read(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, void *buf, uint64_t lba,
		 uint32_t blocks);
uint16_t ft_write(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, void *buf, uint64_t lba,
		  uint32_t blocks);

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
void ft_model_fill(struct ft_model *model, void *buf, uint64_t lba,
		   uint32_t blocks); /* next generation, and its data */
bool ft_model_check(const struct ft_model *model, const void *buf, uint64_t lba, uint32_t blocks);

/*
 * Random reads and writes of random sizes (1..max_blocks) at random places, `depth` at a time,
 * `count` in all, each verified against the model; requests in flight never overlap. Fails the case
 * on the first wrong byte or status.
 */
void ft_verify_random(struct ft_host *host, struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
		      uint64_t first_block, uint64_t blocks, uint32_t max_blocks,
		      unsigned int depth, unsigned int count, uint64_t seed);

#endif

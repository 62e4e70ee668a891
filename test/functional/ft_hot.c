/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Namespaces that come, grow and go by bh-ctl while our own driver uses them: it is told each time,
 * every command completes exactly once, and what was written is there when the store comes back.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ft.h"

#define CYCLES 100
#define TOLD 256 /* namespace ids, and a bit more */

struct rig {
	struct ft_target target;
	struct ft_host host;
	struct bh_nvme_queue *q;
	unsigned int told[TOLD + 1]; /* events by nsid */
};

static void event(void *ctx, enum bh_nvme_event what, uint32_t value)
{
	struct rig *rig = ctx;

	if (what == BH_NVME_EVENT_NS_CHANGED && value <= TOLD)
		rig->told[value]++;
}

static void rig_open(struct rig *rig, const char *keys)
{
	struct ft_host_opts opts = { .quiet = true, .event = event, .event_ctx = rig };
	const char *specs[8] = { "--rpc", ft_path("rpc"), "store:a=ram:8M", "store:n=null:1M" };
	char word[256], file[256];

	memset(rig, 0, sizeof(*rig));
	ft_target_init(&rig->target);
	snprintf(word, sizeof(word), "nvme:%s,ns=ram:8M%s", rig->target.socket[0], keys);
	snprintf(file, sizeof(file), "store:f=file:%s:1M", ft_path("disk"));
	specs[4] = file;
	specs[5] = "store:l=late:8M\\,hold=20000";
	specs[6] = word;
	ft_target_start(&rig->target, ft_cpus(1, ','), specs);
	ft_host_open(&rig->host, rig->target.socket[0], &opts);
	rig->q = ft_queue(&rig->host, 0);
}

static void rig_close(struct rig *rig)
{
	ft_host_close(&rig->host);
	ft_target_stop(&rig->target);
	FT_EQUAL(unlink(ft_path("disk")), 0);
}

/* bh-ctl begins; its exit status is ctl_end's. */
static pid_t ctl_begin(const char *method, const char *words)
{
	const char *argv[8] = { "bh-ctl", ft_path("rpc"), method };
	const char *build = getenv("BH_BUILD");
	char program[512], copy[512], *rest = NULL;
	int n = 3;

	snprintf(program, sizeof(program), "%s/bin/bh-ctl", build ? build : "build");
	snprintf(copy, sizeof(copy), "%s", words);
	for (char *word = strtok_r(copy, " ", &rest); word && n < 7;
	     word = strtok_r(NULL, " ", &rest))
		argv[n++] = word;
	pid_t pid = fork();
	FT_CHECK(pid >= 0);
	if (pid == 0) {
		FT_CHECK(freopen("/dev/null", "w", stdout) != NULL);
		execv(program, (char **)argv);
		_exit(127);
	}
	return pid;
}

static bool ctl_is_over(pid_t pid, int *code)
{
	int status;

	if (*code >= 0)
		return true;
	pid_t over = waitpid(pid, &status, WNOHANG);

	FT_CHECK(over >= 0);
	if (over == pid)
		*code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
	return over == pid;
}

static void poll_all(struct rig *rig)
{
	FT_CHECK(bh_nvme_poll(rig->host.nvme) >= 0);
	FT_CHECK(bh_nvme_queue_poll(rig->q, 0) >= 0);
}

static int __attribute__((format(printf, 3, 4)))
ctl(struct rig *rig, const char *method, const char *fmt, ...)
{
	char words[400];
	va_list args;
	int code = -1;

	va_start(args, fmt);
	vsnprintf(words, sizeof(words), fmt, args);
	va_end(args);
	pid_t pid = ctl_begin(method, words);
	FT_UNTIL(20000, ctl_is_over(pid, &code), poll_all(rig));
	return code;
}

static struct bh_nvme_ns *attach(struct rig *rig, const char *store, uint32_t nsid)
{
	unsigned int told = rig->told[nsid];

	FT_EQUAL(ctl(rig, "namespace.attach", "controller=%s store=%s nsid=%u",
		     rig->target.socket[0], store, nsid),
		 0);
	FT_UNTIL(5000, rig->told[nsid] > told && bh_nvme_ns_get(rig->host.nvme, nsid),
		 poll_all(rig));
	return bh_nvme_ns_get(rig->host.nvme, nsid);
}

static void namespaces_are_announced(void)
{
	static struct rig rig;
	struct bh_nvme_ns *ns;
	void *buf;

	rig_open(&rig, "");
	buf = ft_alloc(&rig.host, 4096);
	FT_CHECK(!bh_nvme_ns_get(rig.host.nvme, 2));
	ns = attach(&rig, "n", 2);
	FT_EQUAL(bh_nvme_ns_blocks(ns), 2048);
	FT_CHECK(ft_read(rig.q, ns, buf, 2040, 8) == 0);
	unsigned int told = rig.told[2];
	FT_EQUAL(ctl(&rig, "store.resize", "name=n size=2M"), 0);
	FT_UNTIL(5000, rig.told[2] > told, poll_all(&rig));
	FT_EQUAL(bh_nvme_ns_blocks(ns), 4096);
	FT_CHECK(ft_read(rig.q, ns, buf, 4088, 8) == 0);
	told = rig.told[2];
	FT_EQUAL(ctl(&rig, "namespace.detach", "controller=%s nsid=2", rig.target.socket[0]), 0);
	FT_UNTIL(5000, rig.told[2] > told, poll_all(&rig));
	FT_CHECK(!bh_nvme_ns_get(rig.host.nvme, 2));
	FT_EQUAL(rig.told[1], 0);
	attach(&rig, "n", 256);
	bh_pool_free(rig.host.pool, buf);
	rig_close(&rig);
}

/* A store with a write cache comes to a host that was told of none: see ns.c of the target. */
static void unknown_write_cache_is_off(void)
{
	static struct rig rig;
	struct bh_nvme_ns *ns;
	void *buf;

	rig_open(&rig, ",doorbells=trapped");
	buf = ft_alloc(&rig.host, 4096);
	ns = attach(&rig, "f", 2);
	FT_CHECK(ft_write(rig.q, ns, buf, 0, 8) == 0);
	FT_EQUAL(ctl(&rig, "store.resize", "name=f size=3M"), 0);
	FT_UNTIL(5000, bh_nvme_ns_blocks(ns) == 6144, poll_all(&rig));
	FT_CHECK(ft_write(rig.q, ns, buf, 6136, 8) == 0);
	struct stat st;
	FT_CHECK(stat(ft_path("disk"), &st) == 0 && st.st_size == 3 << 20);
	bh_pool_free(rig.host.pool, buf);
	rig_close(&rig);
}

/*
 * A store that holds requests for 20 s: the call gives up after 10, I/O to others goes on all the
 * time, and the namespace goes when its requests have come back, each of them once.
 */
static void held_requests_are_waited_for(void)
{
	static struct rig rig;
	int status[4], code = -1;
	uint64_t reads = 0;
	char words[200];

	rig_open(&rig, "");
	uint8_t *buf = ft_alloc(&rig.host, 5 * 4096);
	struct bh_nvme_queue *second = ft_queue(&rig.host, 0);
	struct bh_nvme_ns *ns = attach(&rig, "l", 2);
	for (int i = 0; i < 4; i++) {
		status[i] = -1;
		FT_EQUAL(bh_nvme_read(rig.q, ns, buf + i * 4096, (uint64_t)i * 8, 8, 0, ft_done,
				      &status[i]),
			 0);
	}
	/* The target takes them in order: once it has answered this one it has the four before. */
	FT_CHECK(ft_read(rig.q, rig.host.ns, buf, 0, 8) == 0);
	snprintf(words, sizeof(words), "controller=%s nsid=2", rig.target.socket[0]);
	pid_t pid = ctl_begin("namespace.detach", words);
	FT_UNTIL(20000, ctl_is_over(pid, &code), {
		poll_all(&rig);
		FT_CHECK(ft_read(second, rig.host.ns, buf + 4 * 4096, 0, 8) == 0);
		reads++;
		usleep(1000);
	});
	FT_EQUAL(code, 1);
	FT_CHECK(reads > 100);
	FT_CHECK(!bh_nvme_ns_get(rig.host.nvme, 2));
	FT_EQUAL(ctl(&rig, "namespace.detach", "%s", words), 1);
	FT_EQUAL(ctl(&rig, "namespace.attach", "%s store=n", words), 1);
	FT_EQUAL(ctl(&rig, "store.delete", "name=l"), 1);
	for (int i = 0; i < 4; i++)
		FT_UNTIL(30000, status[i] >= 0, poll_all(&rig));
	FT_UNTIL(10000, ctl(&rig, "store.delete", "name=l") == 0, usleep(100000));
	attach(&rig, "n", 2);
	bh_pool_free(rig.host.pool, buf);
	rig_close(&rig);
}

/* One detach under load, and back: nothing lost, nothing twice. */
static void cycle(struct rig *rig, struct bh_nvme_ns *ns, uint64_t seed, uint64_t *failed)
{
	const struct ft_traffic traffic = {
		.first = 1024, .blocks = 8192, .max_blocks = 32, .depth = 32, .seed = seed
	};
	char words[200];
	struct ft_load load;
	int code = -1;

	ft_load_begin(&load, &rig->host, rig->q, ns, &traffic);
	for (int i = 0; i < 50; i++)
		ft_load_step(&load);
	snprintf(words, sizeof(words), "controller=%s nsid=2", rig->target.socket[0]);
	pid_t pid = ctl_begin("namespace.detach", words);
	FT_UNTIL(20000, ctl_is_over(pid, &code) && !bh_nvme_ns_blocks(ns), {
		FT_CHECK(bh_nvme_poll(rig->host.nvme) >= 0);
		if (bh_nvme_ns_blocks(ns))
			ft_load_step(&load);
		else
			FT_CHECK(bh_nvme_queue_poll(rig->q, 0) >= 0);
	});
	FT_EQUAL(code, 0);
	ft_load_drain(&load);
	*failed += load.failed;
	ft_load_end(&load);
}

static void namespaces_go_under_load(void)
{
	const struct ft_traffic traffic = { .max_blocks = 64, .depth = 16, .seed = 7 };
	static struct rig rig;
	struct ft_load other;
	uint64_t failed = 0;

	rig_open(&rig, "");
	struct bh_nvme_queue *second = ft_queue(&rig.host, 0);
	ft_pattern_write(&rig.host, second, rig.host.ns, 0, bh_nvme_ns_blocks(rig.host.ns));
	ft_load_begin(&other, &rig.host, second, rig.host.ns, &traffic);
	struct bh_nvme_ns *ns = attach(&rig, "a", 2);
	ft_pattern_write(&rig.host, rig.q, ns, 0, bh_nvme_ns_blocks(ns));
	for (unsigned int i = 0; i < (ft_is_sanitized() ? CYCLES / 5 : CYCLES); i++) {
		for (int n = 0; n < 50; n++)
			ft_load_step(&other);
		cycle(&rig, ns, i + 1, &failed);
		FT_CHECK(attach(&rig, "a", 2) == ns);
		ft_pattern_check(&rig.host, rig.q, ns, i % 8 * 2048, 2048);
	}
	ft_load_drain(&other);
	ft_pattern_check(&rig.host, rig.q, ns, 0, bh_nvme_ns_blocks(ns));
	ft_pattern_check(&rig.host, second, rig.host.ns, 0, bh_nvme_ns_blocks(rig.host.ns));
	FT_CHECK(failed > 0);
	FT_EQUAL(other.failed, 0);
	ft_load_end(&other);
	rig_close(&rig);
}

FT_MAIN({ "namespaces_are_announced", namespaces_are_announced, 0 },
	{ "unknown_write_cache_is_off", unknown_write_cache_is_off, 0 },
	{ "held_requests_are_waited_for", held_requests_are_waited_for, 0 },
	{ "namespaces_go_under_load", namespaces_go_under_load, 180 })

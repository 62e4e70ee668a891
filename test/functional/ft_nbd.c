/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NBD stores, over the whole path: our driver, bh-tgt with the plug-in, and servers that are not
 * ours, nbdkit and qemu-nbd, which are killed in the middle of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ft.h"

#define DISK_BYTES (16u << 20)
#define BLOCK 4096

struct server {
	char socket[108], disk[108];
	const char *argv[24];
	char words[400]; /* that argv points to */
	size_t used;
	pid_t pid;
};

struct rig {
	struct server server;
	struct ft_target target;
	struct ft_host host;
	struct bh_nvme_queue *q;
	uint8_t *buf;
	uint64_t io_timeout_ns; /* of the host; 0: the default */
};

/* ---- servers ---- */

static void need(const char *program)
{
	char path[64];

	snprintf(path, sizeof(path), "/usr/sbin/%s", program);
	if (access(path, X_OK) == 0)
		return;
	snprintf(path, sizeof(path), "/usr/bin/%s", program);
	if (access(path, X_OK) != 0)
		ft_skip("nbdkit or qemu-nbd is not installed (scripts/pkgdep.sh)");
}

static bool listens(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	yes = connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0;
	close(fd);
	return yes;
}

static void server_start(struct server *server)
{
	unlink(server->socket);
	server->pid = fork();
	FT_CHECK(server->pid >= 0);
	if (server->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(server->argv[0], (char **)server->argv);
		_exit(127);
	}
	FT_UNTIL(10000, listens(server->socket), usleep(2000));
}

static void server_kill(struct server *server)
{
	ft_kill(server->pid);
}

static void server_paths(struct server *server)
{
	int fd;

	snprintf(server->socket, sizeof(server->socket), "%s", ft_path("nbd.sock"));
	snprintf(server->disk, sizeof(server->disk), "%s", ft_path("disk"));
	fd = open(server->disk, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FT_CHECK(fd >= 0 && ftruncate(fd, DISK_BYTES) == 0);
	close(fd);
}

/* The words of a text, as arguments from the n-th on. The next number. */
static unsigned int add_words(struct server *server, unsigned int n, const char *text)
{
	char *words = server->words + server->used, *rest = NULL;
	size_t room = sizeof(server->words) - server->used;

	server->used += (size_t)snprintf(words, room, "%s", text ? text : "") + 1;
	FT_CHECK(server->used <= sizeof(server->words));
	for (char *w = strtok_r(words, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
		server->argv[n++] = w;
	return n;
}

/* nbdkit's plugin `file`, under filters or none, with options of either; spaces between them. */
static void nbdkit(struct server *server, const char *filters, const char *one, const char *two)
{
	const char *const begin[] = { "nbdkit", "-f", "-U", server->socket };
	static char disk[128];
	unsigned int n = 4;

	need("nbdkit");
	server_paths(server);
	snprintf(disk, sizeof(disk), "file=%s", server->disk);
	memcpy(server->argv, begin, sizeof(begin));
	n = add_words(server, n, filters);
	server->argv[n++] = "file";
	server->argv[n++] = disk;
	n = add_words(server, n, one);
	add_words(server, n, two);
	server_start(server);
}

static void qemu_nbd(struct server *server)
{
	const char *const argv[] = {
		"qemu-nbd",	   "-t", "-e",		 "16",	      "-f", "raw",
		"--discard=unmap", "-k", server->socket, server->disk
	};

	need("qemu-nbd");
	server_paths(server);
	memcpy(server->argv, argv, sizeof(argv));
	server_start(server);
}

/* ---- the rest ---- */

static void rig_serve(struct rig *rig, const char *query, const char *options)
{
	struct ft_host_opts opts = { .io_timeout_ns = rig->io_timeout_ns };
	char plugin[400], spec[600];
	const char *const words[] = { "--plugin", plugin, spec, NULL };

	snprintf(plugin, sizeof(plugin), "%s/lib/bellhop/nbd.so", getenv("BH_BUILD"));
	if (access(plugin, R_OK))
		ft_skip("the plug-in is not built: libnbd-dev is not installed");
	ft_target_init(&rig->target);
	snprintf(spec, sizeof(spec), "nvme:%s,ns=nbd+unix:///?socket=%s%s%s", rig->target.socket[0],
		 rig->server.socket, query, options);
	ft_target_start(&rig->target, ft_cpus(1, ','), words);
	ft_host_open(&rig->host, rig->target.socket[0], &opts);
	rig->q = ft_queue(&rig->host, 0);
	rig->buf = ft_alloc(&rig->host, 1u << 20);
}

static void rig_end(struct rig *rig)
{
	bh_nvme_queue_destroy(rig->q);
	ft_host_close(&rig->host);
	ft_target_stop(&rig->target);
	server_kill(&rig->server);
}

static uint16_t flush(struct rig *rig)
{
	int status = -1;

	FT_EQUAL(bh_nvme_flush(rig->q, rig->host.ns, ft_done, &status), 0);
	return ft_wait(rig->q, &status);
}

static void check_file(const struct rig *rig, uint64_t offset, uint8_t byte, size_t bytes)
{
	int fd = open(rig->server.disk, O_RDONLY | O_CLOEXEC);
	uint8_t *data = malloc(bytes);

	FT_CHECK(fd >= 0 && data && pread(fd, data, bytes, (off_t)offset) == (ssize_t)bytes);
	for (size_t i = 0; i < bytes; i++)
		FT_EQUAL(data[i], byte);
	free(data);
	close(fd);
}

/* ---- data ---- */

static void commands(struct rig *rig)
{
	struct bh_nvme_dsm_range *range = ft_alloc(&rig->host, sizeof(*range));
	int status = -1, i = -1;

	*range = (struct bh_nvme_dsm_range){ .lba = 64, .blocks = 32 };
	memset(rig->buf, 0x5a, 64 * BLOCK);
	FT_EQUAL(ft_write(rig->q, rig->host.ns, rig->buf, 32, 64), 0);
	FT_EQUAL(bh_nvme_write(rig->q, rig->host.ns, rig->buf, 0, 8, BH_NVME_FUA, ft_done, &i), 0);
	FT_EQUAL(ft_wait(rig->q, &i), 0);
	FT_EQUAL(bh_nvme_write_zeroes(rig->q, rig->host.ns, 32, 16, 0, ft_done, &status), 0);
	FT_EQUAL(ft_wait(rig->q, &status), 0);
	status = -1;
	FT_EQUAL(bh_nvme_deallocate(rig->q, rig->host.ns, range, 1, ft_done, &status), 0);
	FT_EQUAL(ft_wait(rig->q, &status), 0);
	FT_EQUAL(flush(rig), 0);
	check_file(rig, 0, 0x5a, 8 * BLOCK);
	check_file(rig, 32 * BLOCK, 0, 16 * BLOCK);
	check_file(rig, 48 * BLOCK, 0x5a, 16 * BLOCK);
	check_file(rig, 64 * BLOCK, 0, 32 * BLOCK);
}

static void verify(struct rig *rig, unsigned int count, uint32_t block)
{
	struct ft_traffic traffic = { .first = 1024 * BLOCK / block,
				      .depth = 32,
				      .blocks = 2048 * BLOCK / block,
				      .max_blocks = 300 * 1024 / block,
				      .count = count,
				      .seed = 7 };

	ft_verify_random(&rig->host, rig->q, rig->host.ns, &traffic);
}

static void data_by_nbdkit(void)
{
	struct rig rig = { 0 };

	nbdkit(&rig.server, NULL, NULL, NULL);
	rig_serve(&rig, "", ":bs=4096");
	FT_CHECK(bh_nvme_ctrl_data(rig.host.nvme)->vwc & BH_NVME_VWC_PRESENT);
	commands(&rig);
	verify(&rig, 800, BLOCK);
	rig_end(&rig);
}

static void data_by_qemu_nbd(void)
{
	struct rig rig = { 0 };

	qemu_nbd(&rig.server);
	rig_serve(&rig, "&connections=2", ":bs=4096");
	commands(&rig);
	verify(&rig, 800, BLOCK);
	rig_end(&rig);
}

/* No more than 8 KiB at a time, and nothing but reading, writing and flushing. */
static void a_server_that_can_do_little(void)
{
	struct rig rig = { 0 };
	int status = -1, i = -1;

	nbdkit(&rig.server, "--filter=blocksize-policy --filter=nozero --filter=fua",
	       "blocksize-maximum=8192", "blocksize-error-policy=error");
	rig_serve(&rig, "&connections=1", "");
	memset(rig.buf, 0x5a, 64 * BLOCK);
	FT_EQUAL(bh_nvme_write(rig.q, rig.host.ns, rig.buf, 0, 64, BH_NVME_FUA, ft_done, &i), 0);
	FT_EQUAL(ft_wait(rig.q, &i), 0);
	FT_EQUAL(bh_nvme_write_zeroes(rig.q, rig.host.ns, 8, 40, BH_NVME_FUA, ft_done, &status), 0);
	FT_EQUAL(ft_wait(rig.q, &status), 0);
	check_file(&rig, 0, 0x5a, BLOCK);
	check_file(&rig, BLOCK, 0, 5 * BLOCK);
	check_file(&rig, 6 * BLOCK, 0x5a, 2 * BLOCK);
	verify(&rig, 300, 512);
	rig_end(&rig);
}

/* ---- errors ---- */

static void errors_are_those_of_the_server(void)
{
	struct rig rig = { 0 };
	uint16_t status;

	nbdkit(&rig.server, "--filter=error", "error-pread=EIO error-pwrite=ENOSPC",
	       "error-pread-rate=1 error-pwrite-rate=1");
	rig_serve(&rig, "", "");
	status = ft_read(rig.q, rig.host.ns, rig.buf, 0, 8);
	FT_EQUAL(status & BH_NVME_STATUS_SC_MASK, BH_NVME_SC_UNRECOVERED_READ_ERROR);
	status = ft_write(rig.q, rig.host.ns, rig.buf, 0, 8);
	FT_EQUAL(status & BH_NVME_STATUS_SC_MASK, BH_NVME_SC_CAPACITY_EXCEEDED);
	rig_end(&rig);
}

/* ---- loss ---- */

static void step(struct ft_verify *v, unsigned int times)
{
	for (unsigned int i = 0; i < times; i++)
		FT_CHECK(ft_verify_step(v));
}

/* A region for each time, since what is verified begins with zeros. */
static void killed_under_io(struct rig *rig)
{
	struct ft_traffic traffic = { .blocks = 1024, .max_blocks = 8, .depth = 32, .count = 1500 };

	for (int kills = 0; kills < 3; kills++) {
		struct ft_verify *v;

		traffic.seed++;
		v = ft_verify_begin(&rig->host, rig->q, rig->host.ns, &traffic);
		step(v, 100);
		server_kill(&rig->server);
		step(v, 100);
		server_start(&rig->server);
		while (ft_verify_step(v))
			continue;
		ft_verify_end(v);
		traffic.first += traffic.blocks;
	}
	FT_EQUAL(flush(rig), 0);
}

static void nbdkit_is_killed_under_io(void)
{
	struct rig rig = { 0 };

	nbdkit(&rig.server, NULL, NULL, NULL);
	rig_serve(&rig, "", ":bs=4096");
	killed_under_io(&rig);
	rig_end(&rig);
}

static void qemu_nbd_is_killed_under_io(void)
{
	struct rig rig = { 0 };

	qemu_nbd(&rig.server);
	rig_serve(&rig, "", ":bs=4096");
	killed_under_io(&rig);
	rig_end(&rig);
}

/*
 * The server keeps writes in a cache of its own, which is gone when it is killed: with data that
 * were acknowledged before, but flushed only afterwards.
 */
static void a_cache_that_dies_with_its_server_loses_nothing(void)
{
	struct rig rig = { 0 };

	nbdkit(&rig.server, "--filter=cache", "cache=writeback", NULL);
	rig_serve(&rig, "", ":bs=4096");
	memset(rig.buf, 0x11, 64 * BLOCK);
	FT_EQUAL(ft_write(rig.q, rig.host.ns, rig.buf, 0, 64), 0);
	memset(rig.buf, 0x22, 64 * BLOCK);
	FT_EQUAL(ft_write(rig.q, rig.host.ns, rig.buf, 16, 16), 0);
	server_kill(&rig.server);
	check_file(&rig, 0, 0, 64 * BLOCK); /* or this would show nothing */
	server_start(&rig.server);
	FT_EQUAL(flush(&rig), 0);
	server_kill(&rig.server);
	check_file(&rig, 0, 0x11, 16 * BLOCK);
	check_file(&rig, 16 * BLOCK, 0x22, 16 * BLOCK);
	check_file(&rig, 32 * BLOCK, 0x11, 32 * BLOCK);
	server_start(&rig.server);
	FT_EQUAL(ft_read(rig.q, rig.host.ns, rig.buf, 16, 1), 0);
	FT_EQUAL(rig.buf[0], 0x22);
	rig_end(&rig);
}

/* A request waits for as long as it was told, not longer, and the next one is served again. */
static void a_server_that_stays_away(void)
{
	struct rig rig = { 0 };
	uint64_t start;

	nbdkit(&rig.server, NULL, NULL, NULL);
	rig_serve(&rig, "&timeout=1", "");
	FT_EQUAL(ft_write(rig.q, rig.host.ns, rig.buf, 0, 8), 0);
	server_kill(&rig.server);
	start = bh_now_ns();
	FT_EQUAL(ft_read(rig.q, rig.host.ns, rig.buf, 0, 8) & 0x7ff, BH_NVME_SC_NS_NOT_READY);
	FT_CHECK(bh_now_ns() - start > 900000000ull);
	server_start(&rig.server);
	FT_EQUAL(ft_read(rig.q, rig.host.ns, rig.buf, 0, 8), 0);
	rig_end(&rig);
}

/* A host that loses patience first has its write back, which the server never gets. */
static void a_request_that_waits_is_aborted(void)
{
	struct rig rig = { .io_timeout_ns = 300000000 };
	int status = -1;

	nbdkit(&rig.server, NULL, NULL, NULL);
	rig_serve(&rig, "&timeout=60", "");
	memset(rig.buf, 0x77, BLOCK);
	server_kill(&rig.server);
	FT_EQUAL(bh_nvme_write(rig.q, rig.host.ns, rig.buf, 0, 8, 0, ft_done, &status), 0);
	FT_UNTIL(5000, status >= 0, {
		bh_nvme_poll(rig.host.nvme);
		bh_nvme_queue_poll(rig.q, 0);
	});
	FT_EQUAL(status & BH_NVME_STATUS_SC_MASK, BH_NVME_SC_ABORTED_BY_REQUEST);
	server_start(&rig.server);
	FT_EQUAL(ft_read(rig.q, rig.host.ns, rig.buf, 0, 8), 0);
	FT_EQUAL(rig.buf[0], 0);
	rig_end(&rig);
}

/* One that is stopped answers nothing, and keeps its connection open. */
static void a_server_that_hangs(void)
{
	struct rig rig = { 0 };

	nbdkit(&rig.server, NULL, NULL, NULL);
	rig_serve(&rig, "&timeout=1", "");
	FT_CHECK(kill(rig.server.pid, SIGSTOP) == 0);
	FT_EQUAL(ft_read(rig.q, rig.host.ns, rig.buf, 0, 8) & 0x7ff, BH_NVME_SC_NS_NOT_READY);
	FT_CHECK(kill(rig.server.pid, SIGCONT) == 0);
	FT_EQUAL(ft_read(rig.q, rig.host.ns, rig.buf, 0, 8), 0);
	rig_end(&rig);
}

/* The target ends well with requests that nobody will answer. */
static void the_target_ends_without_its_server(void)
{
	struct rig rig = { 0 };
	int status = -1;

	nbdkit(&rig.server, NULL, NULL, NULL);
	rig_serve(&rig, "&timeout=2", "");
	server_kill(&rig.server);
	FT_EQUAL(bh_nvme_read(rig.q, rig.host.ns, rig.buf, 0, 8, 0, ft_done, &status), 0);
	ft_host_close(&rig.host);
	ft_target_stop(&rig.target);
}

FT_MAIN({ "data_by_nbdkit", data_by_nbdkit, 0 }, { "data_by_qemu_nbd", data_by_qemu_nbd, 0 },
	{ "a_server_that_can_do_little", a_server_that_can_do_little, 0 },
	{ "errors_are_those_of_the_server", errors_are_those_of_the_server, 0 },
	{ "nbdkit_is_killed_under_io", nbdkit_is_killed_under_io, 0 },
	{ "qemu_nbd_is_killed_under_io", qemu_nbd_is_killed_under_io, 0 },
	{ "a_cache_that_dies_with_its_server_loses_nothing",
	  a_cache_that_dies_with_its_server_loses_nothing, 0 },
	{ "a_server_that_stays_away", a_server_that_stays_away, 0 },
	{ "a_request_that_waits_is_aborted", a_request_that_waits_is_aborted, 0 },
	{ "a_server_that_hangs", a_server_that_hangs, 0 },
	{ "the_target_ends_without_its_server", the_target_ends_without_its_server, 0 })

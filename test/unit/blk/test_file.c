/* SPDX-License-Identifier: BSD-3-Clause */
/* The file store on a disk's file and on tmpfs: what it refuses and what fails. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <liburing.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "file_rig.h"

static uint64_t told_blocks;

/* ---- data ---- */

static void data_on_a_disk(void)
{
	data_on(in(dir, "d"), 4 * MIB, 512);
	data_on(in(dir, "e"), 4 * MIB, 4096);
}

static void data_on_tmpfs(void)
{
	data_on(in(shm, "d"), 4 * MIB, 512);
	data_on(in(shm, "e"), 4 * MIB, 4096);
}

/* Lists of pieces of odd sizes at odd addresses, and ones that the kernel takes as they are. */
static void lists_on(const char *file, unsigned int align, unsigned int count)
{
	size_t piece = 16384 / count / align * align, left = 16384;
	uint8_t *mem = pages(65536), *flat = pages(16384);
	struct iovec *iov = calloc(count, sizeof(*iov));
	struct bh_blk_io io = { .op = BH_BLK_WRITE, .blocks = 32, .lba = 8, .iov = iov };
	unsigned int i;
	struct rig rig;
	size_t wrong = 0;

	if (rig_open(&rig, file, MIB, 512))
		return;
	for (i = 0; i < count; i++) {
		iov[i].iov_base = mem + i * (65536 / count) / align * align;
		iov[i].iov_len = i + 1 < count ? piece : left;
		fill(iov[i].iov_base, iov[i].iov_len, (unsigned int)(16384 - left));
		left -= iov[i].iov_len;
	}
	io.iovcnt = (uint16_t)count;
	CU_ASSERT_EQUAL(bh_blk_submit(rig.chan, &io), BH_BLK_QUEUED);
	CU_ASSERT_EQUAL(wait_all(&rig), 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, 8, 32, flat), 0);
	for (i = 0, left = 0; i < count; left += iov[i++].iov_len)
		wrong += memcmp(flat + left, iov[i].iov_base, iov[i].iov_len) != 0;
	memset(mem, 0, 65536);
	io.op = BH_BLK_READ;
	CU_ASSERT_EQUAL(bh_blk_submit(rig.chan, &io), BH_BLK_QUEUED);
	CU_ASSERT_EQUAL(wait_all(&rig), 0);
	for (i = 0, left = 0; i < count; left += iov[i++].iov_len)
		wrong += memcmp(flat + left, iov[i].iov_base, iov[i].iov_len) != 0;
	CU_ASSERT_EQUAL(wrong, 0);
	rig_close(&rig);
	free(iov);
	free(mem);
	free(flat);
}

static void lists_of_any_shape(void)
{
	static const unsigned int shape[][2] = { { 1, 1 },    { 1, 3 },	   { 4, 7 },   { 512, 4 },
						 { 512, 32 }, { 4096, 4 }, { 1, 1025 } };
	size_t i;

	for (i = 0; i < sizeof(shape) / sizeof(shape[0]); i++) {
		lists_on(in(dir, "l"), shape[i][0], shape[i][1]);
		lists_on(in(shm, "l"), shape[i][0], shape[i][1]);
	}
}

/* More than fit into the ring, and up to the limit; asleep in between. */
static void many_at_once(void)
{
	const unsigned int count = 2048;
	uint8_t *mem = pages(count * 4096ul);
	struct iovec *iov = calloc(count, sizeof(*iov));
	struct bh_blk_done done[64];
	unsigned int i, k, n, op, bad = 0;
	struct pollfd pfd = { .events = POLLIN };
	struct rig rig;

	if (rig_open(&rig, in(dir, "m"), count * 4096ul, 4096))
		return;
	pfd.fd = bh_blk_chan_fd(rig.chan);
	for (op = BH_BLK_WRITE; op <= BH_BLK_WRITE; op--) {
		for (i = 0; i < count; i++) {
			struct bh_blk_io io = { .op = (uint8_t)op,
						.iovcnt = 1,
						.blocks = 1,
						.lba = i,
						.iov = &iov[i],
						.cookie = &iov[i] };

			iov[i] = (struct iovec){ mem + i * 4096ul, 4096 };
			if (op == BH_BLK_WRITE)
				fill(mem + i * 4096ul, 4096, i);
			bad += bh_blk_submit(rig.chan, &io) != BH_BLK_QUEUED;
		}
		CU_ASSERT_EQUAL(run(&rig, BH_BLK_FLUSH, 0, 0, NULL), -EAGAIN);
		while (bh_blk_outstanding(rig.chan)) {
			if (!bh_blk_chan_arm(rig.chan) && poll(&pfd, 1, 10000) != 1) {
				CU_FAIL("not woken");
				break;
			}
			n = bh_blk_reap(rig.chan, done, 64);
			for (k = 0; k < n; k++)
				bad += done[k].status != 0;
		}
		CU_ASSERT_EQUAL(poll(&pfd, 1, 0), 0);
		if (op == BH_BLK_WRITE)
			memset(mem, 0, count * 4096ul);
	}
	for (i = 0; i < count; i++) {
		uint8_t want[4096];

		fill(want, 4096, i);
		bad += memcmp(want, mem + i * 4096ul, 4096) != 0;
	}
	CU_ASSERT_EQUAL(bad, 0);
	rig_close(&rig);
	free(mem);
	free(iov);
}

static void registered_buffers(void)
{
	uint8_t *mem = pages(4 * MIB), *other = pages(8192);
	struct rig rig;
	unsigned int i;
	int rc;

	if (rig_open(&rig, in(dir, "r"), MIB, 4096))
		return;
	rc = bh_blk_mem_add(rig.chan, mem, 2 * MIB, -1);
	if (rc == -EOPNOTSUPP || rc == -ENOMEM) {
		rig_close(&rig);
		unit_skip("this kernel registers no sparse buffers, or locks no more memory");
	}
	CU_ASSERT_EQUAL(rc, 0);
	for (i = 0; i < 63; i++)
		CU_ASSERT_EQUAL(bh_blk_mem_add(rig.chan, mem + 2 * MIB + i * 4096, 4096, -1), 0);
	CU_ASSERT_EQUAL(bh_blk_mem_add(rig.chan, other, 8192, -1), -ENOSPC);
	/* In a registered buffer, across the edge of one, in none, in what was one. */
	for (i = 0; i < 4; i++) {
		uint8_t *at[] = { mem + MIB, mem + 2 * MIB - 4096, other, mem + MIB + 4096 };

		fill(at[i], 8192, i);
		CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE, 2 * i, 2, at[i]), 0);
		memset(at[i], 0, 8192);
		CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, 2 * i, 2, at[i]), 0);
		fill(mem, 8192, i);
		CU_ASSERT_EQUAL(memcmp(at[i], mem, 8192), 0);
		if (i == 2)
			bh_blk_mem_del(rig.chan, mem, 2 * MIB);
	}
	CU_ASSERT_EQUAL(bh_blk_mem_add(rig.chan, other, 8192, -1), 0);
	rig_close(&rig);
	free(mem);
	free(other);
}

/* ---- holes ---- */

static void zeroes_exactly(void)
{
	struct stat st;

	zeroes_on(in(dir, "z"), 2 * MIB);
	zeroes_on(in(shm, "z"), 2 * MIB);
	/* Made sparse, and punched holes are given back. */
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_size, 2 * MIB);
	CU_ASSERT(st.st_blocks * 512 < 1 * MIB);
}

/* ---- what is refused ---- */

static void specs_are_checked(void)
{
	struct stat st;
	struct bh_blk *blk;

	refuses(in(dir, "none"), 0, 512, -ENOENT, "no such file");
	refuses(in(dir, "none/none"), MIB, 512, -ENOENT, "No such file");
	refuses(dir, 0, 512, -EINVAL, "neither a regular file nor a block device");
	refuses("/dev/null", MIB, 512, -EINVAL, "neither a regular file nor a block device");
	refuses(in(dir, "n"), 1000, 512, -EINVAL, "not a number of blocks");
	CU_ASSERT_EQUAL(stat(path, &st), -1); /* what was begun is undone */
	refuses(in(dir, "n"), 512, 4096, -EINVAL, "not a number of blocks");
	make_file(in(dir, "empty"), 0);
	refuses(path, 0, 512, -EINVAL, "is empty");
	make_file(in(dir, "odd"), 5000);
	refuses(path, 0, 512, -EINVAL, "5000 bytes are not a number of blocks");
	make_file(in(dir, "whole"), 8192);
	CU_ASSERT_EQUAL(try(path, 0, 4096, &blk), 0);
	CU_ASSERT_EQUAL(bh_blk_info(blk)->blocks, 2);
	CU_ASSERT_EQUAL(bh_blk_info(blk)->caps & (BH_BLK_CAP_WRITE | BH_BLK_CAP_FLUSH),
			BH_BLK_CAP_WRITE | BH_BLK_CAP_FLUSH);
	bh_blk_put(blk);
	CU_ASSERT_EQUAL(try(path, 16384, 4096, &blk), 0);
	bh_blk_put(blk);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_size, 16384);
	/* Never shorter: the first 4096 bytes of it. */
	CU_ASSERT_EQUAL(try(path, 4096, 4096, &blk), 0);
	CU_ASSERT_EQUAL(bh_blk_info(blk)->blocks, 1);
	bh_blk_put(blk);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_size, 16384);
}

static void read_only_files(void)
{
	uint8_t *buf = pages(4096);
	struct bh_blk *other;
	struct rig rig;

	make_file(in(dir, "ro"), 8192);
	CU_ASSERT_EQUAL(chmod(path, 0444), 0);
	if (rig_open(&rig, path, 0, 512))
		return;
	CU_ASSERT_EQUAL(bh_blk_info(rig.blk)->caps, 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, 0, 8, buf), 0);
	CU_ASSERT_EQUAL(buf[4095], 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE, 0, 8, buf), -EROFS);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE_ZEROES, 0, 8, NULL), -EROFS);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_DEALLOCATE, 0, 8, NULL), -EROFS);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_FLUSH, 0, 0, NULL), 0);
	/* Readers do not exclude each other. */
	CU_ASSERT_EQUAL(try(path, 0, 512, &other), 0);
	bh_blk_put(other);
	rig_close(&rig);
	refuses(path, 16384, 512, -EROFS, "read-only");
	free(buf);
}

static void one_writer_at_a_time(void)
{
	char expected[64];
	struct bh_blk *blk;
	int status = 0;
	pid_t pid;

	CU_ASSERT_EQUAL(try(in(dir, "once"), MIB, 512, &blk), 0);
	refuses(path, 0, 512, -EBUSY, "served already");
	snprintf(expected, sizeof(expected), "locked by process %d", (int)getpid());
	pid = fork();
	if (pid == 0) {
		struct bh_blk *mine;
		/* The descriptor came along by fork, so the child counts as a holder as well. */
		int rc = try(path, 0, 512, &mine);

		_exit(rc == -EBUSY && (strstr(why, expected) || strstr(why, "served already")) ? 0
											       : 1);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, 0);
	bh_blk_put(blk);
	CU_ASSERT_EQUAL(try(path, 0, 512, &blk), 0);
	bh_blk_put(blk);
}

/* Another process has a lock: it is named. */
static void holder_is_named(void)
{
	struct flock all = { .l_type = F_WRLCK };
	char expected[64], byte;
	int fds[2];
	pid_t pid;

	make_file(in(dir, "held"), MIB);
	CU_ASSERT_EQUAL(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		int fd = open(path, O_RDWR | O_CLOEXEC);

		byte = fcntl(fd, F_OFD_SETLK, &all) == 0;
		_exit(write(fds[1], &byte, 1) == 1 ? pause() : 1);
	}
	CU_ASSERT_EQUAL(read(fds[0], &byte, 1), 1);
	CU_ASSERT_EQUAL(byte, 1);
	snprintf(expected, sizeof(expected), "locked by process %d (test_file)", (int)pid);
	refuses(path, 0, 512, -EBUSY, expected);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fds[0]);
	close(fds[1]);
}

/* In a child whose io_uring_setup fails with `error`: 0 if the store says so. */
static int without_io_uring(int error, const char *reason)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned int)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };
	struct bh_blk *blk;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &prog))
		return 2;
	return try(path, MIB, 512, &blk) == -error && strstr(why, reason) && access(path, F_OK) ? 0
												: 1;
}

static void no_io_uring_is_said(void)
{
	static const struct {
		int error;
		const char *reason;
	} rows[] = { { ENOSYS, "Linux 5.6" }, { EPERM, "kernel.io_uring_disabled" } };
	int status = -1;
	size_t i;

	for (i = 0; i < 2; i++) {
		pid_t pid = fork();

		in(dir, "no-uring");
		if (pid == 0)
			_exit(without_io_uring(rows[i].error, rows[i].reason));
		CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
		CU_ASSERT_EQUAL(status, 0);
	}
}

/* ---- what fails ---- */

static void shortened_file(void)
{
	uint8_t *buf = pages(8192);
	struct rig rig;

	if (rig_open(&rig, in(dir, "s"), MIB, 4096))
		return;
	CU_ASSERT_EQUAL(truncate(path, 65536 + 4096), 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, 16, 2, buf), -ENODATA); /* half of it is there */
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, 100, 1, buf), -ENODATA);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, 16, 1, buf), 0);
	rig_close(&rig);
	free(buf);
}

static void file_size_limit(void)
{
	struct rlimit limit = { 65536, RLIM_INFINITY }, none = { RLIM_INFINITY, RLIM_INFINITY };
	uint8_t *buf = pages(8192);
	struct rig rig;

	if (rig_open(&rig, in(shm, "x"), MIB, 4096))
		return;
	CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE, 100, 1, buf), -ENOSPC);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE, 0, 1, buf), 0);
	refuses(in(shm, "y"), MIB, 512, -EFBIG, "limit");
	CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &none), 0);
	rig_close(&rig);
	free(buf);
}

static void full_file_system(void)
{
	uint8_t *buf = pages(MIB);
	char at[256];
	struct rig rig;

	if (!mount_small(at, "size=1m"))
		unit_skip("needs root and mount namespaces");
	if (rig_open(&rig, in(at, "f"), 8 * MIB, 4096))
		return;
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE, 0, 128, buf), 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE, 128, 256, buf), -ENOSPC);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE, 1000, 1, buf), -ENOSPC);
	/* It goes on: what was there can be read and written, and room made. */
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, 0, 128, buf), 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE, 0, 128, buf), 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_DEALLOCATE, 0, 64, NULL), 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE, 1000, 1, buf), 0);
	rig_close(&rig);
	umount2(at, MNT_DETACH);
	free(buf);
}

/* ---- leaving ---- */

static uint32_t left_calls;

static void left(void *cookie)
{
	__atomic_fetch_add(&left_calls, 1, __ATOMIC_RELAXED);
	free(cookie);
}

static void channel_is_left_with_requests(void)
{
	uint64_t until;
	struct rig rig;
	int i;

	left_calls = 0;
	if (rig_open(&rig, in(dir, "left"), 16 * MIB, 4096))
		return;
	for (i = 0; i < 256; i++) {
		/* The buffer belongs to the request: it goes when the kernel has let go of it. */
		struct iovec *iov = aligned_alloc(4096, 65536 + 4096);
		struct bh_blk_io io = { .op = i % 2 ? BH_BLK_FLUSH : BH_BLK_WRITE,
					.iovcnt = 1,
					.blocks = 16,
					.lba = (uint64_t)i * 16,
					.iov = iov,
					.cookie = iov };

		*iov = (struct iovec){ (uint8_t *)iov + 4096, 65536 };
		CU_ASSERT_EQUAL(bh_blk_submit(rig.chan, &io), BH_BLK_QUEUED);
		if (i % 4 == 3)
			bh_blk_cancel(rig.chan, iov);
	}
	bh_blk_put(rig.blk);
	bh_blk_chan_leave(rig.chan, left);
	until = bh_now_ns() + 10000000000ull;
	while (__atomic_load_n(&left_calls, __ATOMIC_RELAXED) < 256 && bh_now_ns() < until)
		poll(NULL, 0, 5);
	CU_ASSERT_EQUAL(__atomic_load_n(&left_calls, __ATOMIC_RELAXED), 256);
	/* The store is gone with the last of them, and its lock. */
	while (try(path, 0, 4096, &rig.blk) && bh_now_ns() < until)
		poll(NULL, 0, 5);
	CU_ASSERT(rig.blk != NULL);
	bh_blk_put(rig.blk);
}

/* A cancelled request completes; what is left in the ring keeps nobody awake. */
static void cancel_only_hurries(void)
{
	uint8_t *buf = pages(4096);
	struct iovec iov = { buf, 4096 };
	struct bh_blk_io io = { .op = BH_BLK_WRITE, .iovcnt = 1, .blocks = 1, .iov = &iov };
	struct rig rig;
	uint64_t end;
	int i, rc;

	if (rig_open(&rig, in(dir, "c"), MIB, 4096))
		return;
	for (i = 0; i < 50; i++) {
		io.cookie = &iov;
		CU_ASSERT_EQUAL(bh_blk_submit(rig.chan, &io), BH_BLK_QUEUED);
		bh_blk_cancel(rig.chan, &iov);
		rc = wait_all(&rig);
		CU_ASSERT(rc == 0 || rc == -ECANCELED);
		bh_blk_cancel(rig.chan, &iov); /* nobody's */
		end = bh_now_ns() + 5000000000ull;
		while (bh_blk_chan_arm(rig.chan) && bh_now_ns() < end)
			continue;
		CU_ASSERT(bh_now_ns() < end);
	}
	rig_close(&rig);
	free(buf);
}

/* Its descriptor, of the only ring there is. */
static int ring_fd(void)
{
	char link[64], name[64];

	for (int fd = 0; fd < 1024; fd++) {
		ssize_t n;

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, name, sizeof(name) - 1);
		name[n > 0 ? n : 0] = '\0';
		if (strstr(name, "[io_uring]"))
			return fd;
	}
	return -1;
}

/* What a seccomp filter cannot see: the ring is of no use for anything but the store. */
static void ring_does_nothing_else(void)
{
	int fds[1] = { 0 };
	struct rig rig;

	if (rig_open(&rig, in(dir, "n"), MIB, 512))
		return;
	unsigned int ring = (unsigned int)ring_fd();
	CU_ASSERT_EQUAL(io_uring_register(ring, IORING_REGISTER_FILES, fds, 1), -EACCES);
	CU_ASSERT_EQUAL(io_uring_register(ring, IORING_REGISTER_PERSONALITY, NULL, 0), -EACCES);
	rig_close(&rig);
}

/* Grows as it is asked to, tells who listens, and never shrinks. */
static void told_of_size(struct bh_blk_listener *listener, uint64_t blocks)
{
	(void)listener;
	told_blocks = blocks;
}

static void grows(void)
{
	struct bh_blk_listener listener = { .resized = told_of_size };
	struct bh_blk *blk = NULL;
	struct stat st;

	snprintf(path, sizeof(path), "%s/grows", dir);
	CU_ASSERT_EQUAL_FATAL(try(path, MIB, 512, &blk), 0);
	bh_blk_listen(blk, &listener);
	CU_ASSERT_EQUAL(bh_blk_resize(blk, 4096), 0);
	CU_ASSERT_EQUAL(told_blocks, 4096);
	CU_ASSERT_EQUAL(bh_blk_info(blk)->blocks, 4096);
	CU_ASSERT(stat(path, &st) == 0 && st.st_size == 2 * MIB);
	told_blocks = 0;
	CU_ASSERT_EQUAL(bh_blk_resize(blk, 4095), -EINVAL);
	CU_ASSERT_EQUAL(bh_blk_resize(blk, UINT64_MAX / 512), -EINVAL);
	CU_ASSERT_EQUAL(bh_blk_resize(blk, 4096), 0);
	CU_ASSERT_EQUAL(told_blocks, 0);
	/* Longer already: nothing is cut off. */
	CU_ASSERT_EQUAL(truncate(path, 4 * MIB), 0);
	CU_ASSERT_EQUAL(bh_blk_resize(blk, 6144), 0);
	CU_ASSERT(stat(path, &st) == 0 && st.st_size == 4 * MIB);
	bh_blk_unlisten(blk, &listener);
	bh_blk_put(blk);
	unlink(path);
}

BH_SUITE_FIXTURE("file", setup, teardown, { "data_on_a_disk", data_on_a_disk },
		 { "data_on_tmpfs", data_on_tmpfs }, { "lists_of_any_shape", lists_of_any_shape },
		 { "many_at_once", many_at_once }, { "registered_buffers", registered_buffers },
		 { "zeroes_exactly", zeroes_exactly }, { "specs_are_checked", specs_are_checked },
		 { "read_only_files", read_only_files }, { "grows", grows },
		 { "one_writer_at_a_time", one_writer_at_a_time },
		 { "holder_is_named", holder_is_named },
		 { "no_io_uring_is_said", no_io_uring_is_said },
		 { "shortened_file", shortened_file }, { "file_size_limit", file_size_limit },
		 { "full_file_system", full_file_system },
		 { "channel_is_left_with_requests", channel_is_left_with_requests },
		 { "cancel_only_hurries", cancel_only_hurries },
		 { "ring_does_nothing_else", ring_does_nothing_else }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors whose closing takes as long as somebody likes. */
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <bellhop/clock.h>

#include "rig.h"

#define RW (VFU_DMA_FLAG_READ | VFU_DMA_FLAG_WRITE)
#define FILE_BYTES 65536u

/*
 * ---- a file system of one file, which answers FLUSH when it is told to ----
 *
 * In a process of its own: whichever of the two ends first, the other is not left waiting.
 */

struct flag {
	uint32_t may_flush, flushes; /* __atomic */
};

static struct flag *flag;
static char where[64];
static pid_t server;
static int device = -1;

static void answer(uint64_t id, int error, const void *body, size_t len)
{
	uint8_t buf[512];
	struct fuse_out_header header = {
		.len = (uint32_t)(sizeof(header) + len),
		.error = error,
		.unique = id,
	};

	memcpy(buf, &header, sizeof(header));
	if (len)
		memcpy(buf + sizeof(header), body, len);
	(void)!write(device, buf, sizeof(header) + len);
}

static struct fuse_attr attributes(uint64_t node)
{
	return (struct fuse_attr){
		.ino = node,
		.mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0666,
		.nlink = 1,
		.size = FILE_BYTES,
	};
}

static void serve_one(const struct fuse_in_header *in)
{
	const struct fuse_init_out init = { .major = 7, .minor = 31, .max_write = 4096 };
	const struct fuse_attr_out attr = { .attr_valid = 100, .attr = attributes(in->nodeid) };
	const struct fuse_entry_out entry = {
		.nodeid = 2, .entry_valid = 100, .attr_valid = 100, .attr = attributes(2)
	};
	const struct fuse_open_out opened = { .fh = 1 };

	switch (in->opcode) {
	case FUSE_INIT:
		answer(in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_GETATTR:
		answer(in->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_LOOKUP:
		answer(in->unique, 0, &entry, sizeof(entry));
		break;
	case FUSE_OPEN:
		answer(in->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_FLUSH:
		while (!__atomic_load_n(&flag->may_flush, __ATOMIC_ACQUIRE))
			usleep(1000);
		__atomic_add_fetch(&flag->flushes, 1, __ATOMIC_RELEASE);
		answer(in->unique, 0, NULL, 0);
		break;
	default:
		answer(in->unique, in->opcode == FUSE_RELEASE ? 0 : -ENOSYS, NULL, 0);
	}
}

static _Noreturn void serve(void)
{
	static uint8_t buf[FUSE_MIN_READ_BUFFER + 4096];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Nothing of the server's and the client's but this. */
	if (dup2(device, 3) == 3)
		close_range(4, ~0u, 0);
	device = 3;
	while (read(device, buf, sizeof(buf)) > 0)
		serve_one((const struct fuse_in_header *)(const void *)buf);
	_exit(0);
}

static bool mount_it(void)
{
	const char *tmp = getenv("BH_TMP");
	char options[96];

	snprintf(where, sizeof(where), "%.40s/fuse-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	if (!mkdtemp(where))
		return false;
	device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
	if (device < 0 || mount("test", where, "fuse.test", 0, options) != 0) {
		if (device >= 0)
			close(device);
		rmdir(where);
		return false;
	}
	flag = mmap(NULL, sizeof(*flag), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CU_ASSERT_PTR_NOT_EQUAL_FATAL(flag, MAP_FAILED);
	server = fork();
	if (server == 0)
		serve();
	CU_ASSERT_FATAL(server > 0);
	close(device);
	return true;
}

static void unmount_it(void)
{
	umount2(where, MNT_DETACH);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	munmap(flag, sizeof(*flag));
	rmdir(where);
}

static int open_file(void)
{
	char path[80];
	int fd;

	snprintf(path, sizeof(path), "%s/file", where);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CU_ASSERT_FATAL(fd >= 0);
	return fd;
}

/* ---- */

/* The client's own descriptor must stay open until the end: closing it waits, too. */
static void nobody_waits_for_a_file_system_of_the_clients(void)
{
	int file, none = -1;

	if (!mount_it())
		unit_skip("FUSE cannot be mounted here");
	file = open_file();
	/* Refused at once, by whatever message it comes, and the server goes on. */
	CU_ASSERT_EQUAL(rig_map(0, 0x1000, RW, file, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_map(0, 0x1000, RW | VFU_DMA_FLAG_FILE_IO, file, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(VFU_IRQ_DATA_EVENTFD | VFU_IRQ_ACTION_TRIGGER, BH_PCI_MSIX, 0, 1,
				 &file, 1),
			-EINVAL);
	CU_ASSERT_EQUAL(
		rig_irqs(VFU_IRQ_DATA_EVENTFD | VFU_IRQ_ACTION_MASK, BH_PCI_MSIX, 0, 1, &file, 1),
		-EINVAL);
	CU_ASSERT_EQUAL(rig_call(99, &none, sizeof(none), &file, 1), -EINVAL);
	CU_ASSERT_EQUAL(rig_map(0, 0x1000, RW, -1, 0), 0);
	CU_ASSERT_EQUAL(__atomic_load_n(&flag->flushes, __ATOMIC_ACQUIRE), 0);
	__atomic_store_n(&flag->may_flush, 1, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < 5000 && __atomic_load_n(&flag->flushes, __ATOMIC_ACQUIRE) < 5;
	     i++)
		usleep(1000);
	CU_ASSERT_EQUAL(__atomic_load_n(&flag->flushes, __ATOMIC_ACQUIRE), 5);
	close(file);
	unmount_it();
}

/* A client that sends nothing else is not read any more, until what it sent could be closed. */
static void what_waits_is_bounded(void)
{
	struct vfu_header header = { .command = 99, .size = sizeof(header) + 4, .id = 7 };
	const uint32_t body = 0;
	struct vfu_msg reply = { .nfds = 0 };
	unsigned int i, replies = 0;
	int file, fds[VFU_MAX_FDS];

	if (!mount_it())
		unit_skip("FUSE cannot be mounted here");
	file = open_file();
	for (i = 0; i < VFU_MAX_FDS; i++)
		fds[i] = file;
	for (i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(
			vfu_conn_send(&rig.conn, &header, &body, 4, NULL, 0, fds, VFU_MAX_FDS), 0);
	for (i = 0; i < 200; i++) {
		bh_reactor_run_once(rig.reactor);
		replies += vfu_conn_recv(&rig.conn, &reply) == 1;
		vfu_msg_fini(&reply);
	}
	CU_ASSERT(replies > 0 && replies <= 3);
	__atomic_store_n(&flag->may_flush, 1, __ATOMIC_RELEASE);
	for (uint64_t end = bh_now_ns() + 20000000000ull; replies < 20 && bh_now_ns() < end;) {
		bh_reactor_run_once(rig.reactor);
		replies += vfu_conn_recv(&rig.conn, &reply) == 1;
		vfu_msg_fini(&reply);
	}
	CU_ASSERT_EQUAL(replies, 20);
	for (i = 0; i < 10000 && __atomic_load_n(&flag->flushes, __ATOMIC_ACQUIRE) < 320; i++)
		usleep(1000);
	CU_ASSERT_EQUAL(__atomic_load_n(&flag->flushes, __ATOMIC_ACQUIRE), 320);
	close(file);
	unmount_it();
}

BH_SUITE_FIXTURE("vfu_server_closer", rig_setup, rig_teardown,
		 { "nobody_waits_for_a_file_system_of_the_clients",
		   nobody_waits_for_a_file_system_of_the_clients },
		 { "what_waits_is_bounded", what_waits_is_bounded }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of client memory: what is refused, what is found, what an unmap removes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bellhop/cmem.h>

#include "unit.h"

#define RW (BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE)
#define TOP (UINT64_MAX - 0xfff) /* the last page */

static struct bh_cmem cm;
static int files_before;

static int open_files(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int setup(void)
{
	files_before = open_files();
	return bh_cmem_init(&cm, NULL, NULL, 64, NULL);
}

/* Whatever a case did, every fd it handed over is closed. */
static int teardown(void)
{
	bh_cmem_fini(&cm);
	bh_cmem_fini(&cm);
	return open_files() != files_before;
}

static int file(size_t len)
{
	int fd = memfd_create("client", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	CU_ASSERT_EQUAL_FATAL(ftruncate(fd, (off_t)len), 0);
	return fd;
}

/* The same file, opened another way. */
static int reopened(size_t len, int flags)
{
	char path[64];
	int fd = file(len), again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags | O_CLOEXEC);
	CU_ASSERT_FATAL(again >= 0);
	close(fd);
	return again;
}

static int mapped(uint64_t iova, uint64_t len)
{
	return bh_cmem_add(&cm, iova, len, RW, BH_CMEM_MAPPED, file((size_t)len), 0);
}

static int message(uint64_t iova, uint64_t len)
{
	return bh_cmem_add(&cm, iova, len, RW, BH_CMEM_MESSAGE, -1, 0);
}

static int add_fd(enum bh_cmem_mode mode, uint32_t prot, int fd, uint64_t offset)
{
	return bh_cmem_add(&cm, 0x10000, 0x2000, prot, mode, fd, offset);
}

static void nonsense_is_einval(void)
{
	CU_ASSERT_EQUAL(message(0x1000, 0), -EINVAL);
	CU_ASSERT_EQUAL(message(TOP, 0x1001), -EINVAL);
	CU_ASSERT_EQUAL(message(1, UINT64_MAX), 0); /* ends at 2^64 */
	CU_ASSERT_EQUAL(message(2, UINT64_MAX), -EINVAL);
	bh_cmem_del(&cm, 0, 0);
	CU_ASSERT_EQUAL(bh_cmem_add(&cm, 0, 4096, 4, BH_CMEM_MESSAGE, -1, 0), -EINVAL);
	CU_ASSERT_EQUAL(bh_cmem_add(&cm, 0, 4096, 3, (enum bh_cmem_mode)3, -1, 0), -EINVAL);
	CU_ASSERT_EQUAL(add_fd(BH_CMEM_MAPPED, RW, -1, 0), -EINVAL);
	CU_ASSERT_EQUAL(add_fd(BH_CMEM_FILE, RW, -1, 0), -EINVAL);
	CU_ASSERT_EQUAL(add_fd(BH_CMEM_MESSAGE, RW, file(0x2000), 0), -EINVAL);
	CU_ASSERT_EQUAL(cm.table->count, 0);
}

static void a_file_too_short_is_einval(void)
{
	for (int mode = BH_CMEM_MAPPED; mode <= BH_CMEM_FILE; mode++) {
		CU_ASSERT_EQUAL(add_fd(mode, RW, file(0x1fff), 0), -EINVAL);
		CU_ASSERT_EQUAL(add_fd(mode, RW, file(0x2000), 1), -EINVAL);
		CU_ASSERT_EQUAL(add_fd(mode, RW, file(0x2000), 0x8000), -EINVAL);
		CU_ASSERT_EQUAL(add_fd(mode, RW, file(0x2000), UINT64_MAX - 0xfff), -EINVAL);
		CU_ASSERT_EQUAL(add_fd(mode, RW, file(0x3001), 0x1001), 0);
		CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0x10000, 0x2000), 0);
	}
}

static void an_odd_fd_is_einval(void)
{
	int pipes[2], sockets[2];

	for (int mode = BH_CMEM_MAPPED; mode <= BH_CMEM_FILE; mode++) {
		CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
		CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
		CU_ASSERT_EQUAL(add_fd(mode, BH_CMEM_PROT_READ, pipes[0], 0), -EINVAL);
		CU_ASSERT_EQUAL(add_fd(mode, BH_CMEM_PROT_WRITE, pipes[1], 0), -EINVAL);
		CU_ASSERT_EQUAL(add_fd(mode, RW, sockets[0], 0), -EINVAL);
		close(sockets[1]);
		CU_ASSERT_EQUAL(add_fd(mode, BH_CMEM_PROT_READ, open("/", O_RDONLY), 0), -EINVAL);
		CU_ASSERT_EQUAL(add_fd(mode, BH_CMEM_PROT_READ, reopened(0x2000, O_PATH), 0),
				-EINVAL);
		CU_ASSERT_EQUAL(add_fd(mode, RW, 1023, 0), -EINVAL); /* open nowhere */
	}
	CU_ASSERT_EQUAL(add_fd(BH_CMEM_MAPPED, RW, open("/dev/zero", O_RDWR), 0), -EINVAL);
	CU_ASSERT_EQUAL(add_fd(BH_CMEM_FILE, RW, open("/dev/zero", O_RDWR), 0), 0);
	bh_cmem_del(&cm, 0, 0);
	CU_ASSERT_EQUAL(add_fd(BH_CMEM_FILE, RW, open("/dev/zero", O_RDWR), INT64_MAX), -EINVAL);
	CU_ASSERT_EQUAL(add_fd(BH_CMEM_FILE, RW, reopened(0x2000, O_RDWR | O_APPEND), 0), -EINVAL);
}

static int add_file(enum bh_cmem_mode mode, const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	CU_ASSERT_FATAL(fd >= 0);
	return bh_cmem_add(&cm, 0x10000, 0x1000, BH_CMEM_PROT_READ, mode, fd, 0);
}

/* Somebody else answers for these, or nobody ever does. */
static void a_file_that_may_keep_us_waiting_is_einval(void)
{
	static const char *const path[] = { "/dev/ptmx", "/sys/kernel/uevent_seqnum", "/dev/fuse" };
	char disk[] = "/tmp/bh-cmem-XXXXXX";
	int fd = mkostemp(disk, O_CLOEXEC);

	for (size_t i = 0; i < sizeof(path) / sizeof(path[0]); i++)
		if (access(path[i], R_OK) == 0)
			CU_ASSERT_EQUAL(add_file(BH_CMEM_FILE, path[i], O_RDONLY), -EINVAL);
	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(ftruncate(fd, 0x1000), 0);
	close(fd);
	for (int mode = BH_CMEM_MAPPED; mode <= BH_CMEM_FILE; mode++) {
		CU_ASSERT_EQUAL(add_file(mode, disk, O_RDONLY), 0);
		bh_cmem_del(&cm, 0, 0);
	}
	unlink(disk);
}

static void an_fd_not_open_for_it_is_eacces(void)
{
	for (int mode = BH_CMEM_MAPPED; mode <= BH_CMEM_FILE; mode++) {
		CU_ASSERT_EQUAL(add_fd(mode, RW, reopened(0x2000, O_RDONLY), 0), -EACCES);
		CU_ASSERT_EQUAL(add_fd(mode, BH_CMEM_PROT_WRITE, reopened(0x2000, O_RDONLY), 0),
				-EACCES);
		CU_ASSERT_EQUAL(add_fd(mode, BH_CMEM_PROT_READ, reopened(0x2000, O_WRONLY), 0),
				-EACCES);
		CU_ASSERT_EQUAL(add_fd(mode, BH_CMEM_PROT_READ, reopened(0x2000, O_RDONLY), 0), 0);
		bh_cmem_del(&cm, 0, 0);
		CU_ASSERT_EQUAL(add_fd(mode, BH_CMEM_PROT_WRITE, reopened(0x2000, O_WRONLY), 0),
				mode == BH_CMEM_MAPPED ? -EACCES : 0);
		bh_cmem_del(&cm, 0, 0);
	}
	int sealed = file(0x2000);
	CU_ASSERT_EQUAL(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
	CU_ASSERT_EQUAL(add_fd(BH_CMEM_MAPPED, RW, sealed, 0), -EACCES);
}

static void overlap_is_eexist_and_too_many_enospc(void)
{
	CU_ASSERT_EQUAL(mapped(0x10000, 0x2000), 0);
	CU_ASSERT_EQUAL(mapped(0x10000, 0x2000), -EEXIST);
	CU_ASSERT_EQUAL(message(0xffff, 2), -EEXIST);
	CU_ASSERT_EQUAL(message(0x11fff, 1), -EEXIST);
	CU_ASSERT_EQUAL(message(0, UINT64_MAX), -EEXIST);
	CU_ASSERT_EQUAL(message(0x11000, 0x100), -EEXIST);
	CU_ASSERT_EQUAL(message(0xf000, 0x1000), 0);
	CU_ASSERT_EQUAL(message(0x12000, 0x1000), 0);
	for (uint64_t i = 3; i < 64; i++)
		CU_ASSERT_EQUAL(message(0x100000 + i * 0x1000, 0x1000), 0);
	CU_ASSERT_EQUAL(message(0x12000, 0x1000), -EEXIST);
	CU_ASSERT_EQUAL(message(0x800000, 0x1000), -ENOSPC);
	CU_ASSERT_EQUAL(mapped(0x800000, 0x1000), -ENOSPC);
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0xf000, 0x1000), 0);
	CU_ASSERT_EQUAL(message(0x800000, 0x1000), 0);
}

static void no_address_space_is_enomem(void)
{
	int fd = memfd_create("huge", MFD_CLOEXEC);

	CU_ASSERT_EQUAL_FATAL(ftruncate(fd, INT64_MAX), 0);
	CU_ASSERT_EQUAL(bh_cmem_add(&cm, 0, INT64_MAX, RW, BH_CMEM_MAPPED, fd, 0), -ENOMEM);
	CU_ASSERT_EQUAL(cm.table->count, 0);
}

static void ptr_stays_within_one_region(void)
{
	struct bh_cmem_cache c = { 0 };

	CU_ASSERT_PTR_NULL(bh_cmem_ptr(&cm, &c, 0, 1, RW));
	CU_ASSERT_PTR_NULL(bh_cmem_ptr(&cm, &c, 0, 0, RW));
	CU_ASSERT_EQUAL(mapped(0x10000, 0x2000), 0);
	CU_ASSERT_EQUAL(mapped(0x12000, 0x1000), 0);
	CU_ASSERT_EQUAL(message(0x13000, 0x1000), 0);
	uint8_t *p = bh_cmem_ptr(&cm, &c, 0x10000, 0x2000, RW);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	CU_ASSERT_PTR_EQUAL(bh_cmem_ptr(&cm, &c, 0x11fff, 1, RW), p + 0x1fff);
	CU_ASSERT_PTR_NULL(bh_cmem_ptr(&cm, &c, 0x11fff, 2, RW));
	CU_ASSERT_PTR_NULL(bh_cmem_ptr(&cm, &c, 0xffff, 1, RW));
	CU_ASSERT_PTR_NULL(bh_cmem_ptr(&cm, &c, 0x13000, 1, RW));
	CU_ASSERT_PTR_NULL(bh_cmem_ptr(&cm, &c, 0x10000, UINT64_MAX, RW));
	CU_ASSERT_PTR_NULL(bh_cmem_ptr(&cm, &c, 0x10001, UINT64_MAX, RW));
	CU_ASSERT_PTR_NULL(bh_cmem_ptr(&cm, &c, UINT64_MAX, UINT64_MAX, RW));
	CU_ASSERT_PTR_NOT_NULL(bh_cmem_ptr(&cm, &c, 0x12000, 0x1000, BH_CMEM_PROT_READ));
	CU_ASSERT_EQUAL(c.iova, 0x12000);
	CU_ASSERT_EQUAL(bh_cmem_find(&cm, 0x13fff)->mode, BH_CMEM_MESSAGE);
	CU_ASSERT_PTR_NULL(bh_cmem_find(&cm, 0x14000));
	CU_ASSERT_PTR_NULL(bh_cmem_find(&cm, 0xffff));
}

static void prot_is_kept(void)
{
	struct bh_cmem_cache c = { 0 };

	CU_ASSERT_EQUAL(add_fd(BH_CMEM_MAPPED, BH_CMEM_PROT_READ, file(0x2000), 0), 0);
	CU_ASSERT_PTR_NOT_NULL(bh_cmem_ptr(&cm, &c, 0x10000, 16, BH_CMEM_PROT_READ));
	CU_ASSERT_PTR_NULL(bh_cmem_ptr(&cm, &c, 0x10000, 16, BH_CMEM_PROT_WRITE));
	CU_ASSERT_PTR_NULL(bh_cmem_ptr(&cm, &c, 0x10000, 16, RW));
}

static void any_file_offset_is_mapped(void)
{
	static const uint64_t offsets[] = { 0, 1, 4095, 4096, 12345, (2 << 20) - 8, 3 << 20 };
	struct bh_cmem_cache c = { 0 };
	size_t len = (4 << 20) + 100;

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		int fd = file(offsets[i] + len);
		uint8_t first = 0x77, last = 0x99, *p;

		CU_ASSERT_EQUAL(pwrite(fd, &first, 1, (off_t)offsets[i]), 1);
		CU_ASSERT_EQUAL(pwrite(fd, &last, 1, (off_t)(offsets[i] + len - 1)), 1);
		CU_ASSERT_EQUAL_FATAL(
			bh_cmem_add(&cm, TOP - 0x10000000, len, RW, BH_CMEM_MAPPED, fd, offsets[i]),
			0);
		memset(&c, 0, sizeof(c));
		p = bh_cmem_ptr(&cm, &c, TOP - 0x10000000, len, RW);
		CU_ASSERT_PTR_NOT_NULL_FATAL(p);
		CU_ASSERT_EQUAL(p[0], 0x77);
		CU_ASSERT_EQUAL(p[len - 1], 0x99);
		/* Large pages of the file can be large pages here. */
		CU_ASSERT_EQUAL(((uintptr_t)p - offsets[i]) % (2 << 20), 0);
		bh_cmem_del(&cm, 0, 0);
	}
}

static void addresses_near_2_64(void)
{
	struct bh_cmem_cache c = { 0 };

	CU_ASSERT_EQUAL(mapped(TOP, 0x1000), 0);
	CU_ASSERT_EQUAL(mapped(0, 0x1000), 0);
	uint8_t *p = bh_cmem_ptr(&cm, &c, UINT64_MAX, 1, RW);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	CU_ASSERT_PTR_NULL(bh_cmem_ptr(&cm, &c, UINT64_MAX, 2, RW));
	CU_ASSERT_PTR_NULL(bh_cmem_ptr(&cm, &c, TOP, 0x1001, RW));
	CU_ASSERT_PTR_NULL(bh_cmem_ptr(&cm, &c, UINT64_MAX, UINT64_MAX, RW));
	CU_ASSERT_TRUE(bh_cmem_failed(&cm, TOP, 0x1001)); /* does not go on at 0 */
	CU_ASSERT_FALSE(bh_cmem_failed(&cm, TOP, 0x1000));
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, TOP, 0x1001), -EINVAL);
	/* As QEMU does: a tile of the whole space that ends at 2^64 exactly. */
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0xfef00000, 0xffffffff01100000), 0);
	CU_ASSERT_EQUAL(cm.table->count, 1);
	CU_ASSERT_PTR_NULL(bh_cmem_find(&cm, UINT64_MAX));
	CU_ASSERT_PTR_NOT_NULL(bh_cmem_find(&cm, 0));
}

static void del_removes_what_is_inside(void)
{
	for (uint64_t i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(mapped(0x10000 + i * 0x2000, 0x1000), 0);
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0x11000, 0x1000), -ENOENT);
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0, 0x10000), -ENOENT);
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0x10000, 0x800), -EINVAL);
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0x10001, 0xfff), -EINVAL);
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0x10800, 0x100), -EINVAL);
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0x10800, 0x8000), -EINVAL);
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0x10000, 0x8001), -EINVAL);
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0x10000, 0), -EINVAL);
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 2, UINT64_MAX), -EINVAL);
	CU_ASSERT_EQUAL(bh_cmem_inside(&cm, 0x11000, 0x1000), -ENOENT);
	CU_ASSERT_EQUAL(bh_cmem_inside(&cm, 0x10800, 0x8000), -EINVAL);
	CU_ASSERT_EQUAL(bh_cmem_inside(&cm, 2, UINT64_MAX), -EINVAL);
	CU_ASSERT_EQUAL(bh_cmem_inside(&cm, 0x11000, 0x3000), 0);
	CU_ASSERT_EQUAL(cm.table->count, 8);
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0x11000, 0x3000), 0); /* one, with room around it */
	CU_ASSERT_EQUAL(cm.table->count, 7);
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0x14000, 0x3000), 0); /* two */
	CU_ASSERT_EQUAL(cm.table->count, 5);
	CU_ASSERT_PTR_NOT_NULL(bh_cmem_find(&cm, 0x10000));
	CU_ASSERT_PTR_NOT_NULL(bh_cmem_find(&cm, 0x18000));
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0, 0), 0);
	CU_ASSERT_EQUAL(cm.table->count, 0);
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0, 0), 0);
}

static bool present[64];

static void check_model(void)
{
	size_t count = 0;

	for (uint64_t k = 0; k < 64; k++) {
		const struct bh_cmem_region *r = bh_cmem_find(&cm, k * 0x1000 + 0x7ff);

		CU_ASSERT_EQUAL(r != NULL, present[k]);
		CU_ASSERT_PTR_NULL(bh_cmem_find(&cm, k * 0x1000 + 0x800));
		count += present[k];
	}
	CU_ASSERT_EQUAL(cm.table->count, count);
}

static void random_changes_agree_with_a_model(void)
{
	memset(present, 0, sizeof(present));
	srandom(7);
	for (int i = 0; i < 3000; i++) {
		uint64_t k = (uint64_t)random() % 64, n = 1 + (uint64_t)random() % 4;
		int rc, want = -ENOENT;

		if (random() % 3) {
			want = present[k] ? -EEXIST : 0;
			rc = random() % 2 ? message(k * 0x1000, 0x800) : mapped(k * 0x1000, 0x800);
			present[k] = true;
		} else {
			for (uint64_t j = k; j < k + n && j < 64; j++) {
				want = present[j] ? 0 : want;
				present[j] = false;
			}
			CU_ASSERT_EQUAL(bh_cmem_inside(&cm, k * 0x1000, n * 0x1000), want);
			rc = bh_cmem_del(&cm, k * 0x1000, n * 0x1000);
		}
		CU_ASSERT_EQUAL(rc, want);
		if (i % 50 == 0)
			check_model();
	}
	check_model();
}

BH_SUITE_FIXTURE("table", setup, teardown, { "nonsense_is_einval", nonsense_is_einval },
		 { "a_file_too_short_is_einval", a_file_too_short_is_einval },
		 { "an_odd_fd_is_einval", an_odd_fd_is_einval },
		 { "a_file_that_may_keep_us_waiting_is_einval",
		   a_file_that_may_keep_us_waiting_is_einval },
		 { "an_fd_not_open_for_it_is_eacces", an_fd_not_open_for_it_is_eacces },
		 { "overlap_is_eexist_and_too_many_enospc", overlap_is_eexist_and_too_many_enospc },
		 { "no_address_space_is_enomem", no_address_space_is_enomem },
		 { "ptr_stays_within_one_region", ptr_stays_within_one_region },
		 { "prot_is_kept", prot_is_kept },
		 { "any_file_offset_is_mapped", any_file_offset_is_mapped },
		 { "addresses_near_2_64", addresses_near_2_64 },
		 { "del_removes_what_is_inside", del_removes_what_is_inside },
		 { "random_changes_agree_with_a_model", random_changes_agree_with_a_model }, )

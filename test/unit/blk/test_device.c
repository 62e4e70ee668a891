/* SPDX-License-Identifier: BSD-3-Clause */
/* The file store on a block device, which is a loop device: its blocks, its claim, its failures. */
#include <linux/loop.h>
#include <sys/ioctl.h>

#include "file_rig.h"

/* A loop device of blocks of bs bytes over `file`, or -1. It goes with its last user. */
static int loop_open(const char *file, uint32_t bs, char device[32])
{
	struct loop_config config = { .block_size = bs };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = -1;
	int backing = open(file, O_RDWR | O_CLOEXEC), tries = 5;

	config.fd = (unsigned int)backing;
	config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
	while (control >= 0 && backing >= 0 && fd < 0 && tries-- > 0) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		if (number < 0)
			break;
		snprintf(device, 32, "/dev/loop%d", number);
		fd = open(device, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config)) {
			close(fd);
			fd = -1;
		}
	}
	close(control);
	close(backing);
	return fd;
}

static void data_on_a_device(void)
{
	char device[32];
	int fd;

	make_file(in(dir, "loop"), 4 * MIB);
	fd = loop_open(path, 512, device);
	if (fd < 0)
		unit_skip("no loop devices");
	data_on(device, 0, 512);
	data_on(device, 2 * MIB, 4096);
	zeroes_on(device, 4 * MIB);
	refuses(device, 8 * MIB, 512, -EINVAL, "the device is smaller");
	close(fd);
}

static void device_is_claimed(void)
{
	struct bh_blk *blk;
	char device[32];
	int fd, other;

	make_file(in(dir, "loop"), 4 * MIB);
	fd = loop_open(path, 512, device);
	if (fd < 0)
		unit_skip("no loop devices");
	other = open(device, O_RDWR | O_EXCL | O_CLOEXEC);
	CU_ASSERT(other >= 0);
	refuses(device, 0, 512, -EBUSY, "in use");
	close(other);
	CU_ASSERT_EQUAL(try(device, 0, 512, &blk), 0);
	CU_ASSERT_EQUAL(open(device, O_RDWR | O_EXCL | O_CLOEXEC), -1);
	bh_blk_put(blk);
	close(fd);
}

static void device_blocks_are_checked(void)
{
	struct bh_blk *blk;
	char device[32];
	int fd;

	make_file(in(dir, "loop"), 4 * MIB);
	fd = loop_open(path, 4096, device);
	if (fd < 0)
		unit_skip("no loop devices");
	refuses(device, 0, 512, -EINVAL, "its blocks have 4096 bytes: give :bs=4096");
	CU_ASSERT_EQUAL(try(device, 0, 4096, &blk), 0);
	CU_ASSERT_EQUAL(bh_blk_info(blk)->blocks, 1024);
	bh_blk_put(blk);
	close(fd);
}

/* Its disk does not take what it is given: an error, and the device goes on. */
static void device_that_fails(void)
{
	uint8_t *buf = pages(MIB);
	char at[256], device[32];
	struct rig rig;
	int fd, rc;

	if (!mount_small(at, "size=1m"))
		unit_skip("needs root and mount namespaces");
	make_file(in(at, "back"), 8 * MIB);
	fd = loop_open(path, 512, device);
	if (fd < 0)
		unit_skip("no loop devices");
	if (!rig_open(&rig, device, 0, 4096)) {
		CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE, 0, 64, buf), 0);
		rc = run(&rig, BH_BLK_WRITE, 512, 256, buf);
		if (!rc)
			rc = run(&rig, BH_BLK_WRITE, 1024, 256, buf);
		CU_ASSERT(rc == -EIO || rc == -ENOSPC);
		memset(buf, 0, MIB);
		CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, 0, 64, buf), 0);
		CU_ASSERT_EQUAL(buf[64 * 4096 - 1], 0xee);
		rig_close(&rig);
	}
	close(fd);
	umount2(at, MNT_DETACH);
	free(buf);
}

BH_SUITE_FIXTURE("file_device", setup, teardown, { "data_on_a_device", data_on_a_device },
		 { "device_is_claimed", device_is_claimed },
		 { "device_blocks_are_checked", device_blocks_are_checked },
		 { "device_that_fails", device_that_fails }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening: what is learnt, and every way it can fail. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fixture.h"

static void open_learns_the_device(void)
{
	struct bh_device *dev = open_ok(NULL);
	const struct bh_device_info *info = bh_device_info(dev);
	struct bh_region_info region;
	struct bh_irq_info irq;
	uint64_t caps = bh_device_caps(dev);

	CU_ASSERT_STRING_EQUAL(info->backend, "vfio-user");
	CU_ASSERT_STRING_EQUAL(info->address, fake.path);
	CU_ASSERT_EQUAL(info->vendor, 0x1b36);
	CU_ASSERT_EQUAL(info->class_code, 0x010802);
	CU_ASSERT_EQUAL(info->num_regions, 9);
	CU_ASSERT_EQUAL(info->num_irqs, 5);
	CU_ASSERT_EQUAL(bh_device_region_info(dev, 0, &region), 0);
	CU_ASSERT_EQUAL(region.len, FAKE_BAR_BYTES);
	CU_ASSERT_EQUAL(region.flags, BH_REGION_READ | BH_REGION_WRITE | BH_REGION_MMAP);
	CU_ASSERT_EQUAL_FATAL(region.num_areas, 1);
	CU_ASSERT_EQUAL(region.areas[0].offset, 0x1000);
	CU_ASSERT_EQUAL(region.areas[0].len, 0x1000);
	CU_ASSERT_EQUAL(bh_device_region_info(dev, 1, &region), 0);
	CU_ASSERT_EQUAL(region.len, 0);
	CU_ASSERT_EQUAL(bh_device_region_info(dev, 9, &region), -EINVAL);
	CU_ASSERT_EQUAL(bh_device_irq_info(dev, 2, &irq), 0);
	CU_ASSERT_EQUAL(irq.count, 8);
	CU_ASSERT_EQUAL(bh_device_irq_info(dev, 5, &irq), -EINVAL);
	CU_ASSERT_TRUE(caps & BH_CAP_REGION_MMAP);
	CU_ASSERT_TRUE(caps & BH_CAP_RESET);
	CU_ASSERT_TRUE(caps & BH_CAP_IRQ_MASK);
	CU_ASSERT_TRUE(caps & BH_CAP_POSTED_WRITE);
	CU_ASSERT_FALSE(caps & BH_CAP_IOEVENTFD);
	CU_ASSERT_FALSE(caps & BH_CAP_HOT_RESET);
	CU_ASSERT_PTR_NOT_NULL(strstr(fake.offered, "\"max_msg_fds\":16"));
	CU_ASSERT_PTR_NOT_NULL(strstr(fake.offered, "\"twin_socket\":{\"supported\":true}"));
	CU_ASSERT_EQUAL(log_errors(), 0);
	bh_device_close(dev);
}

static void paths_that_are_no_server(void)
{
	struct bh_device *dev;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/none", fake.dir);
	CU_ASSERT_EQUAL(bh_io_vfu_open(path, &opts, &dev), -ENOENT);
	CU_ASSERT_TRUE(log_has("is the server running"));
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	CU_ASSERT_EQUAL(bh_io_vfu_open(path, &opts, &dev), -ENOTSOCK);
	close(fd);
	unlink(path);
	shutdown(fake.listen_fd, SHUT_RDWR);
	CU_ASSERT_EQUAL(bh_io_vfu_open(fake.path, &opts, &dev), -ECONNREFUSED);
	CU_ASSERT_PTR_NULL(dev);
	opts.space = NULL;
	CU_ASSERT_EQUAL(bh_io_vfu_open(fake.path, &opts, &dev), -EINVAL);
	CU_ASSERT_EQUAL(log_errors(), 3);
}

static bool ignore_all(struct fake *f, struct fake_msg *m)
{
	(void)f;
	(void)m;
	return true;
}

static void silence_is_ebusy(void)
{
	struct bh_device *dev;

	opts.timeout_ns = 100000000;
	CU_ASSERT_EQUAL(open_with(ignore_all, &dev), -EBUSY);
	CU_ASSERT_TRUE(log_has("it may be serving another client"));
	CU_ASSERT_EQUAL(log_errors(), 1);
}

static bool hang_up(struct fake *f, struct fake_msg *m)
{
	(void)m;
	shutdown(f->fd, SHUT_RDWR);
	return true;
}

static bool garbage(struct fake *f, struct fake_msg *m)
{
	static const char text[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";

	(void)m;
	fake_send(f->fd, text, sizeof(text), NULL, 0);
	return true;
}

static bool refuse_all(struct fake *f, struct fake_msg *m)
{
	fake_refuse(f, m, EINVAL);
	return true;
}

static bool wrong_id(struct fake *f, struct fake_msg *m)
{
	m->h.id++;
	fake_refuse(f, m, 0);
	return true;
}

static void peers_that_do_not_speak_it_are_eproto(void)
{
	struct bh_device *dev;

	CU_ASSERT_EQUAL(open_with(hang_up, &dev), -EPROTO);
	CU_ASSERT_TRUE(log_has("closed the connection instead of answering"));
	CU_ASSERT_EQUAL(open_with(garbage, &dev), -EPROTO);
	CU_ASSERT_TRUE(log_has("does not speak vfio-user"));
	CU_ASSERT_EQUAL(open_with(refuse_all, &dev), -EPROTO);
	CU_ASSERT_EQUAL(open_with(wrong_id, &dev), -EPROTO);
	CU_ASSERT_EQUAL(log_errors(), 4);
}

static void bad_versions_are_eproto(void)
{
	static const char *const bad[] = {
		"{",
		"[]",
		"{\"capabilities\":3}",
		"{\"capabilities\":{\"max_msg_fds\":\"8\"}}",
		"{\"capabilities\":{\"max_msg_fds\":-1}}",
		"{\"capabilities\":{\"max_data_xfer_size\":0}}",
		"{\"capabilities\":{\"max_data_xfer_size\":4}}",
		"{\"capabilities\":{\"pgsizes\":0}}",
		"{\"capabilities\":{\"pgsizes\":1}}",
		"{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}",
		"{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":0}}}",
		"{\"capabilities\":{\"twin_socket\":true}}",
	};
	struct bh_device *dev;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fake_wait_idle(&fake);
		fake.json = bad[i];
		CU_ASSERT_EQUAL(open_with(NULL, &dev), -EPROTO);
	}
	CU_ASSERT_EQUAL(log_errors(), sizeof(bad) / sizeof(bad[0]));
	fake_wait_idle(&fake);
	fake.json = NULL;
	fake.minor = 3;
	CU_ASSERT_EQUAL(open_with(NULL, &dev), -EPROTO);
}

static bool major_one(struct fake *f, struct fake_msg *m)
{
	static const struct vfu_version v = { .major = 1 };

	fake_reply(f, m, &v, sizeof(v), NULL, 0);
	return true;
}

static bool short_version(struct fake *f, struct fake_msg *m)
{
	fake_reply(f, m, "\0\0", 2, NULL, 0);
	return true;
}

static void another_major_is_eproto(void)
{
	struct bh_device *dev;

	CU_ASSERT_EQUAL(open_with(major_one, &dev), -EPROTO);
	CU_ASSERT_TRUE(log_has("speaks vfio-user 1.0, not 0.2"));
	CU_ASSERT_EQUAL(open_with(short_version, &dev), -EPROTO);
}

static void version_without_json_means_defaults(void)
{
	struct bh_device *dev;
	int fds[3] = { 0, 1, 2 };

	fake.json = NULL;
	fake.minor = 0;
	dev = open_ok(NULL);
	/* One fd per message. */
	CU_ASSERT_EQUAL(bh_device_irq_bind(dev, 2, 0, 3, fds), 0);
	CU_ASSERT_EQUAL(fake_seen(&fake, VFU_DEVICE_SET_IRQS), 3);
	bh_device_close(dev);
}

static void twin_socket_is_not_offered_when_off(void)
{
	struct bh_device *dev;

	opts.twin_socket = false;
	dev = open_ok(NULL);
	CU_ASSERT_PTR_NULL(strstr(fake.offered, "twin_socket"));
	bh_device_close(dev);
	/* And not accepted then. */
	fake_wait_idle(&fake);
	fake.use_twin = true;
	fake.json = "{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":0}}}";
	CU_ASSERT_EQUAL(open_with(NULL, &dev), -EPROTO);
}

static unsigned int victim;	/* command that gets a bad answer */
static unsigned int bad_answer; /* how */

static bool answer_badly(struct fake *f, struct fake_msg *m)
{
	uint32_t body[8];

	if (m->h.command != victim)
		return false;
	memset(body, 0, sizeof(body));
	if (bad_answer == 0)
		fake_reply(f, m, body, 8, NULL, 0);
	else if (bad_answer == 1) /* index, or counts, that nobody asked for */
		fake_reply(f, m, memset(body, 0x7f, sizeof(body)), sizeof(body), NULL, 0);
	else
		shutdown(f->fd, SHUT_RDWR);
	return true;
}

static void nonsense_on_the_way_fails_the_open(void)
{
	static const unsigned int commands[] = { VFU_DEVICE_GET_INFO, VFU_DEVICE_GET_REGION_INFO,
						 VFU_DEVICE_GET_IRQ_INFO, VFU_REGION_READ };
	struct bh_device *dev;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		for (unsigned int how = 0; how < 3; how++) {
			unsigned int before = log_errors();

			fake_wait_idle(&fake);
			victim = commands[i];
			bad_answer = how;
			CU_ASSERT_EQUAL(open_with(answer_badly, &dev),
					how == 2 ? -ENODEV : -EPROTO);
			CU_ASSERT_TRUE(log_errors() > before);
		}
	}
}

static bool not_pci(struct fake *f, struct fake_msg *m)
{
	static const struct vfu_device_info info = { 16, VFU_DEVICE_FLAG_RESET, 9, 5 };

	if (m->h.command != VFU_DEVICE_GET_INFO)
		return false;
	fake_reply(f, m, &info, sizeof(info), NULL, 0);
	return true;
}

static void not_a_pci_device_is_eproto(void)
{
	struct bh_device *dev;

	CU_ASSERT_EQUAL(open_with(not_pci, &dev), -EPROTO);
	CU_ASSERT_TRUE(log_has("not a PCI device"));
}

/* ---- regions ---- */

static struct {
	uint32_t argsz, flags, cap_offset;
	uint64_t size, offset;
	uint8_t caps[256];
	size_t caps_len;
	int fd;
	unsigned int asked;
} bar;

/* BAR 0 as `bar` says. */
static bool odd_bar(struct fake *f, struct fake_msg *m)
{
	struct vfu_region_info in;
	uint8_t body[sizeof(in) + sizeof(bar.caps)];

	if (m->h.command != VFU_DEVICE_GET_REGION_INFO)
		return false;
	memcpy(&in, m->body, sizeof(in));
	if (in.index != 0)
		return false;
	bar.asked++;
	in.argsz = bar.argsz;
	in.flags = bar.flags;
	in.cap_offset = bar.cap_offset;
	in.size = bar.size;
	in.offset = bar.offset;
	memcpy(body, &in, sizeof(in));
	memcpy(body + sizeof(in), bar.caps, bar.caps_len);
	fake_reply(f, m, body, sizeof(in) + bar.caps_len, &bar.fd, bar.fd >= 0);
	return true;
}

static void bar_is(uint64_t size, uint32_t flags, int fd)
{
	fake_wait_idle(&fake);
	memset(&bar, 0, sizeof(bar));
	bar.argsz = 32;
	bar.size = size;
	bar.flags = flags;
	bar.fd = fd;
}

static void bar_cap(uint16_t id, uint32_t next, uint32_t nr_areas, const uint64_t *areas)
{
	uint8_t *at = bar.caps + bar.caps_len;
	const uint16_t head[2] = { id, 1 };

	memcpy(at, head, 4);
	memcpy(at + 4, &next, 4);
	memcpy(at + 8, &nr_areas, 4);
	bar.caps_len += 16;
	if (areas) {
		memcpy(bar.caps + bar.caps_len, areas, nr_areas * 16);
		bar.caps_len += nr_areas * 16;
	}
	bar.flags |= VFU_REGION_FLAG_CAPS;
	if (bar.cap_offset == 0)
		bar.cap_offset = 32;
	bar.argsz = (uint32_t)(32 + bar.caps_len);
}

/* Mappable areas of BAR 0 after an open that works, or the error. */
static int areas_of_bar(void)
{
	struct bh_region_info info;
	struct bh_device *dev;
	int rc = open_with(odd_bar, &dev);

	if (rc != 0)
		return rc;
	CU_ASSERT_EQUAL(bh_device_region_info(dev, 0, &info), 0);
	CU_ASSERT_EQUAL(info.num_areas > 0, (info.flags & BH_REGION_MMAP) != 0);
	CU_ASSERT_EQUAL(info.num_areas > 0, (bh_device_caps(dev) & BH_CAP_REGION_MMAP) != 0);
	bh_device_close(dev);
	return (int)info.num_areas;
}

static void without_sparse_areas_all_is_mappable(void)
{
	bar_is(FAKE_BAR_BYTES, 7, fake.bar_fd);
	CU_ASSERT_EQUAL(areas_of_bar(), 1);
	bar_is(FAKE_BAR_BYTES, 3, fake.bar_fd);
	CU_ASSERT_EQUAL(areas_of_bar(), 0);
	bar_is(FAKE_BAR_BYTES, 7, -1);
	CU_ASSERT_EQUAL(areas_of_bar(), 0);
}

static void capability_chain_is_followed(void)
{
	const uint64_t areas[] = { 0x1000, 0x1000, 0x3000, 0x1000 };

	bar_is(FAKE_BAR_BYTES, 7, fake.bar_fd);
	bar_cap(VFU_CAP_MSIX_MAPPABLE, 48, 0, NULL);
	bar_cap(77, 64, 0, NULL);
	bar_cap(VFU_CAP_SPARSE_MMAP, 0, 2, areas);
	CU_ASSERT_EQUAL(areas_of_bar(), 2);
	bar_is(FAKE_BAR_BYTES, 7, fake.bar_fd);
	bar_cap(VFU_CAP_SPARSE_MMAP, 0, 0, NULL);
	CU_ASSERT_EQUAL(areas_of_bar(), 0);
}

static void broken_capability_chains_are_eproto(void)
{
	const uint64_t area[] = { 0x1000, 0x1000 };

	bar_is(FAKE_BAR_BYTES, 7, fake.bar_fd);
	bar_cap(VFU_CAP_TYPE, 48, 0, NULL);
	bar_cap(VFU_CAP_TYPE, 32, 0, NULL); /* round and round */
	CU_ASSERT_EQUAL(areas_of_bar(), -EPROTO);
	bar_is(FAKE_BAR_BYTES, 7, fake.bar_fd);
	bar_cap(VFU_CAP_TYPE, 56, 0, NULL); /* behind the end */
	CU_ASSERT_EQUAL(areas_of_bar(), -EPROTO);
	bar_is(FAKE_BAR_BYTES, 7, fake.bar_fd);
	bar_cap(VFU_CAP_TYPE, 0xfffffff8, 0, NULL);
	CU_ASSERT_EQUAL(areas_of_bar(), -EPROTO);
	bar_is(FAKE_BAR_BYTES, 7, fake.bar_fd);
	bar_cap(VFU_CAP_TYPE, 36, 0, NULL); /* not aligned */
	CU_ASSERT_EQUAL(areas_of_bar(), -EPROTO);
	bar_is(FAKE_BAR_BYTES, 7, fake.bar_fd);
	bar.cap_offset = 8; /* inside the fixed part */
	bar_cap(VFU_CAP_TYPE, 0, 0, NULL);
	CU_ASSERT_EQUAL(areas_of_bar(), -EPROTO);
	bar_is(FAKE_BAR_BYTES, 7, fake.bar_fd);
	bar_cap(VFU_CAP_SPARSE_MMAP, 0, 1, area);
	bar.caps_len -= 8; /* the area is cut off */
	CU_ASSERT_EQUAL(areas_of_bar(), -EPROTO);
	bar_is(FAKE_BAR_BYTES, 7, fake.bar_fd);
	bar_cap(VFU_CAP_SPARSE_MMAP, 0, 0xffffffff, NULL);
	CU_ASSERT_EQUAL(areas_of_bar(), -EPROTO);
	bar_is(FAKE_BAR_BYTES, 7, fake.bar_fd);
	bar_cap(VFU_CAP_SPARSE_MMAP, 0, 0x10000000, NULL); /* times 16 is 2^32 */
	CU_ASSERT_EQUAL(areas_of_bar(), -EPROTO);
}

static void impossible_areas_are_left_out(void)
{
	const uint64_t areas[][2] = {
		{ 0x1000, 0x800 },  { 0x1800, 0x1000 }, { 0x4000, 0x1000 },
		{ 0x3000, 0x2000 }, { 0x1000, 0 },	{ 0xfffffffffffff000, 0x2000 },
		{ 0x2000, 0x1000 },
	};

	for (size_t i = 0; i < sizeof(areas) / sizeof(areas[0]); i++) {
		bar_is(FAKE_BAR_BYTES, 7, fake.bar_fd);
		bar_cap(VFU_CAP_SPARSE_MMAP, 0, 1, areas[i]);
		CU_ASSERT_EQUAL(areas_of_bar(), i == 6);
	}
	CU_ASSERT_TRUE(log_has("not within region and file"));
}

static void files_that_cannot_hold_the_region(void)
{
	int fds[2];

	bar_is(FAKE_BAR_BYTES * 2, 7, fake.bar_fd); /* too short */
	CU_ASSERT_EQUAL(areas_of_bar(), 0);
	bar_is(0x1000, 7, fake.bar_fd);
	bar.offset = 0x3000;
	CU_ASSERT_EQUAL(areas_of_bar(), 1);
	fake_wait_idle(&fake);
	bar.offset = 0x4000;
	CU_ASSERT_EQUAL(areas_of_bar(), 0);
	fake_wait_idle(&fake);
	bar.offset = 0x10;
	CU_ASSERT_EQUAL(areas_of_bar(), 0);
	fake_wait_idle(&fake);
	bar.offset = 0xfffffffffffff000;
	CU_ASSERT_EQUAL(areas_of_bar(), 0);
	bar_is(0xfffffffffffff000, 7, fake.bar_fd);
	bar.offset = 0x2000;
	CU_ASSERT_EQUAL(areas_of_bar(), 0);
	CU_ASSERT_EQUAL_FATAL(pipe2(fds, O_CLOEXEC), 0);
	bar_is(FAKE_BAR_BYTES, 7, fds[0]);
	CU_ASSERT_EQUAL(areas_of_bar(), 0);
	CU_ASSERT_TRUE(log_has("not a regular file"));
	close(fds[0]);
	close(fds[1]);
}

static void more_room_is_given_once(void)
{
	bar_is(FAKE_BAR_BYTES, 3, -1);
	bar.argsz = 8192;
	CU_ASSERT_EQUAL(areas_of_bar(), 0);
	CU_ASSERT_EQUAL(bar.asked, 2);
	bar_is(FAKE_BAR_BYTES, 3, -1);
	bar.argsz = 65537;
	CU_ASSERT_EQUAL(areas_of_bar(), -EPROTO);
	CU_ASSERT_EQUAL(bar.asked, 1);
}

static bool growing(struct fake *f, struct fake_msg *m)
{
	bool mine = m->h.command == VFU_DEVICE_GET_REGION_INFO;

	if (mine)
		bar.argsz += 1000;
	return mine && odd_bar(f, m);
}

static void an_answer_that_grows_is_eproto(void)
{
	struct bh_device *dev;

	bar_is(FAKE_BAR_BYTES, 3, -1);
	bar.argsz = 4096;
	CU_ASSERT_EQUAL(open_with(growing, &dev), -EPROTO);
	CU_ASSERT_EQUAL(bar.asked, 2);
}

BH_SUITE_FIXTURE("io_vfu open", fixture_setup, fixture_teardown,
		 { "open_learns_the_device", open_learns_the_device },
		 { "paths_that_are_no_server", paths_that_are_no_server },
		 { "silence_is_ebusy", silence_is_ebusy },
		 { "peers_that_do_not_speak_it_are_eproto", peers_that_do_not_speak_it_are_eproto },
		 { "bad_versions_are_eproto", bad_versions_are_eproto },
		 { "another_major_is_eproto", another_major_is_eproto },
		 { "version_without_json_means_defaults", version_without_json_means_defaults },
		 { "twin_socket_is_not_offered_when_off", twin_socket_is_not_offered_when_off },
		 { "nonsense_on_the_way_fails_the_open", nonsense_on_the_way_fails_the_open },
		 { "not_a_pci_device_is_eproto", not_a_pci_device_is_eproto },
		 { "without_sparse_areas_all_is_mappable", without_sparse_areas_all_is_mappable },
		 { "capability_chain_is_followed", capability_chain_is_followed },
		 { "broken_capability_chains_are_eproto", broken_capability_chains_are_eproto },
		 { "impossible_areas_are_left_out", impossible_areas_are_left_out },
		 { "files_that_cannot_hold_the_region", files_that_cannot_hold_the_region },
		 { "more_room_is_given_once", more_room_is_given_once },
		 { "an_answer_that_grows_is_eproto", an_answer_that_grows_is_eproto }, )

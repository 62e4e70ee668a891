/* SPDX-License-Identifier: BSD-3-Clause */
/* REGION_INFO, reads and writes, WRITE_MULTI, IO_FDS. */
#include <sys/mman.h>

#include "rig.h"

static int region_info(uint32_t index, uint32_t argsz, struct vfu_region_info *info, size_t body)
{
	uint8_t request[4096] = { 0 };
	const struct vfu_region_info ask = { .argsz = argsz, .index = index };
	int rc;

	memcpy(request, &ask, sizeof(ask));
	rc = rig_call(VFU_DEVICE_GET_REGION_INFO, request, body, NULL, 0);
	if (rc == 0)
		memcpy(info, rig.reply.body, sizeof(*info));
	return rc;
}

static void info_of_every_region(void)
{
	static const uint64_t sizes[BH_PCI_REGIONS] = { RIG_BAR0, 0, 0, 0, 8192, 0, 0, 4096, 0 };
	struct vfu_region_info info;
	uint32_t i;

	for (i = 1; i < BH_PCI_REGIONS; i++) {
		CU_ASSERT_EQUAL(region_info(i, 32, &info, 32), 0);
		CU_ASSERT_EQUAL(rig.reply.body_len, 32);
		CU_ASSERT_EQUAL(rig.reply.nfds, 0);
		CU_ASSERT_EQUAL(info.argsz, 32);
		CU_ASSERT_EQUAL(info.index, i);
		CU_ASSERT_EQUAL(info.size, sizes[i]);
		CU_ASSERT_EQUAL(info.flags, sizes[i] ? 3 : 0);
	}
}

static void info_checks_argsz_and_index(void)
{
	struct vfu_region_info info;

	CU_ASSERT_EQUAL(region_info(0, 31, &info, 32), -EINVAL);
	CU_ASSERT_EQUAL(region_info(0, 0, &info, 32), -EINVAL);
	CU_ASSERT_EQUAL(region_info(9, 32, &info, 32), -EINVAL);
	CU_ASSERT_EQUAL(region_info(UINT32_MAX, 32, &info, 32), -EINVAL);
}

static void mappable_region_first_tells_the_size(void)
{
	struct vfu_region_info info;

	CU_ASSERT_EQUAL(region_info(0, 63, &info, 32), 0);
	CU_ASSERT_EQUAL(rig.reply.body_len, 32);
	CU_ASSERT_EQUAL(rig.reply.nfds, 0);
	CU_ASSERT_EQUAL(info.argsz, 64);
	CU_ASSERT_EQUAL(info.cap_offset, 0);
	CU_ASSERT_FALSE(info.flags & VFU_REGION_FLAG_CAPS);
}

static void mappable_region_has_area_and_fd(void)
{
	struct vfu_region_info info;
	struct vfu_cap_sparse cap;
	struct vfu_sparse_area area;
	uint32_t *map;

	CU_ASSERT_EQUAL(region_info(0, 4064, &info, 4064), 0); /* padded, as SPDK does */
	CU_ASSERT_EQUAL(info.flags, 15);
	CU_ASSERT_EQUAL(info.argsz, 64);
	CU_ASSERT_EQUAL(info.cap_offset, 32);
	CU_ASSERT_EQUAL_FATAL(rig.reply.body_len, 64);
	CU_ASSERT_EQUAL_FATAL(rig.reply.nfds, 1);
	memcpy(&cap, rig.reply.body + 32, sizeof(cap));
	memcpy(&area, rig.reply.body + 48, sizeof(area));
	CU_ASSERT_EQUAL(cap.header.id, 1);
	CU_ASSERT_EQUAL(cap.header.version, 1);
	CU_ASSERT_EQUAL(cap.header.next, 0);
	CU_ASSERT_EQUAL(cap.nr_areas, 1);
	CU_ASSERT_EQUAL(area.offset, 0x1000);
	CU_ASSERT_EQUAL(area.size, 0x1000);
	map = mmap(NULL, area.size, PROT_READ | PROT_WRITE, MAP_SHARED, rig.reply.fds[0],
		   (off_t)(info.offset + area.offset));
	CU_ASSERT(map != MAP_FAILED);
	munmap(map, area.size);
}

static void client_without_fds_is_offered_no_mapping(void)
{
	struct vfu_region_info info;

	rig_connect();
	rig_negotiate_json("{\"capabilities\":{\"max_msg_fds\":0}}");
	CU_ASSERT_EQUAL(region_info(0, 4096, &info, 32), 0);
	CU_ASSERT_EQUAL(info.flags, 3);
	CU_ASSERT_EQUAL(rig.reply.nfds, 0);
}

static void device_answers_accesses(void)
{
	uint64_t value = 0x1122334455667788, got = 0;
	uint8_t *large = calloc(1, RIG_BAR0);

	CU_ASSERT_EQUAL(rig_write(0, 0x30, &value, 8), 0);
	CU_ASSERT_EQUAL(rig_read(0, 0x34, &got, 4), 0);
	CU_ASSERT_EQUAL(got, 0x11223344);
	memset(large, 0x5a, RIG_BAR0);
	CU_ASSERT_EQUAL(rig_write(0, 0, large, RIG_BAR0), 0);
	memset(large, 0, RIG_BAR0);
	CU_ASSERT_EQUAL(rig_read(0, 0, large, RIG_BAR0), 0);
	CU_ASSERT_EQUAL(large[RIG_BAR0 - 1], 0x5a);
	free(large);
	CU_ASSERT_EQUAL(rig_read(0, RIG_BAR0, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig_write(0, 0, NULL, 0), 0);
	rig.access_error = -EIO;
	CU_ASSERT_EQUAL(rig_read(0, 0, &got, 8), -EIO);
	CU_ASSERT_EQUAL(rig_write(0, 0, &got, 8), -EIO);
}

static void bad_accesses_are_einval(void)
{
	static const struct {
		uint32_t region;
		uint64_t offset;
		uint32_t count;
	} bad[] = {
		{ 0, RIG_BAR0, 1 },	    { 0, RIG_BAR0 - 3, 4 },
		{ 0, UINT64_MAX - 3, 4 },   { 0, UINT64_MAX, 1 },
		{ 0, UINT64_MAX, 0 },	    { 0, 0, (1u << 20) + 1 },
		{ 0, 0, UINT32_MAX },	    { 1, 0, 4 },
		{ BH_PCI_ROM, 0, 4 },	    { BH_PCI_VGA, 0, 4 },
		{ BH_PCI_CONFIG, 4096, 1 }, { BH_PCI_CONFIG, 4093, 4 },
		{ BH_PCI_REGIONS, 0, 4 },   { UINT32_MAX, 0, 4 },
	};
	uint64_t value = 0;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CU_ASSERT_EQUAL(rig_read(bad[i].region, bad[i].offset, &value, bad[i].count),
				-EINVAL);
		if (bad[i].count <= 8)
			CU_ASSERT_EQUAL(
				rig_write(bad[i].region, bad[i].offset, &value, bad[i].count),
				-EINVAL);
	}
	CU_ASSERT_EQUAL(rig.count[RIG_WRITE], 0);
}

static void write_length_must_be_the_count(void)
{
	struct {
		struct vfu_region_access access;
		uint8_t data[16];
	} write = { { .region = 0, .count = 8 }, { 0 } };

	CU_ASSERT_EQUAL(rig_call(VFU_REGION_WRITE, &write, 16, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_call(VFU_REGION_WRITE, &write, 23, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_call(VFU_REGION_WRITE, &write, 25, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_call(VFU_REGION_WRITE, &write, 24, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig.count[RIG_WRITE], 1);
}

static void largest_message_works(void)
{
	static uint8_t body[16 + (1 << 20)];
	const struct vfu_region_access access = { .region = 0, .count = 1 << 20 };

	memcpy(body, &access, sizeof(access));
	CU_ASSERT_EQUAL(rig_call(VFU_REGION_WRITE, body, sizeof(body), NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_config32(0), 0x00101b36); /* the payload went with it */
}

static int write_multi(uint64_t wr_cnt, const struct vfu_write_multi_entry *entries, size_t len)
{
	uint8_t body[512];

	memcpy(body, &wr_cnt, 8);
	memcpy(body + 8, entries, len);
	return rig_call(VFU_REGION_WRITE_MULTI, body, 8 + len, NULL, 0);
}

static void write_multi_is_applied_in_order(void)
{
	const struct vfu_write_multi_entry entries[3] = {
		{ .offset = 0x10, .region = 0, .count = 8, .data = { 1, 2, 3, 4, 5, 6, 7, 8 } },
		{ .offset = 0x11, .region = 0, .count = 1, .data = { 9 } },
		{ .offset = 4, .region = BH_PCI_CONFIG, .count = 2, .data = { 6 } },
	};
	uint64_t got;

	CU_ASSERT_EQUAL(write_multi(3, entries, sizeof(entries)), 0);
	CU_ASSERT_EQUAL(rig.reply.body_len, 8);
	CU_ASSERT_EQUAL(rig.reply.body[0], 3);
	CU_ASSERT_EQUAL(rig_read(0, 0x10, &got, 8), 0);
	CU_ASSERT_EQUAL(got, 0x0807060504030901);
	CU_ASSERT_EQUAL(rig.command, 6);
	CU_ASSERT_EQUAL(write_multi(0, entries, 0), 0);
}

static void write_multi_checks_every_field(void)
{
	struct vfu_write_multi_entry e[2] = {
		{ .offset = 0x10, .region = 0, .count = 4, .data = { 1 } },
		{ .offset = 0x18, .region = 0, .count = 4, .data = { 2 } },
	};

	CU_ASSERT_EQUAL(write_multi(1, e, sizeof(e)), -EINVAL);
	CU_ASSERT_EQUAL(write_multi(3, e, sizeof(e)), -EINVAL);
	CU_ASSERT_EQUAL(write_multi(2, e, sizeof(e) - 1), -EINVAL);
	CU_ASSERT_EQUAL(write_multi(UINT64_MAX, e, sizeof(e)), -EINVAL);
	/* wr_cnt * 24 wraps to the right length */
	CU_ASSERT_EQUAL(write_multi(0x0aaaaaaaaaaaaaacull, e, 32), -EINVAL);
	CU_ASSERT_EQUAL(rig.count[RIG_WRITE], 0);
	e[1].count = 0;
	CU_ASSERT_EQUAL(write_multi(2, e, sizeof(e)), -EINVAL);
	CU_ASSERT_EQUAL(rig.count[RIG_WRITE], 1); /* stops at the first bad one */
	e[1].count = 9;
	CU_ASSERT_EQUAL(write_multi(2, e, sizeof(e)), -EINVAL);
	e[1].count = 4;
	e[1].region = 9;
	CU_ASSERT_EQUAL(write_multi(2, e, sizeof(e)), -EINVAL);
	e[1].region = 0;
	e[1].offset = UINT64_MAX;
	CU_ASSERT_EQUAL(write_multi(2, e, sizeof(e)), -EINVAL);
	e[1].offset = 0;
	rig.access_error = -ENOMEM;
	CU_ASSERT_EQUAL(write_multi(2, e, sizeof(e)), -ENOMEM);
}

static void write_multi_must_be_negotiated(void)
{
	const struct vfu_write_multi_entry e = { .offset = 0, .region = 0, .count = 4 };

	rig_connect();
	rig_negotiate_json("{}");
	CU_ASSERT_EQUAL(write_multi(1, &e, sizeof(e)), -EINVAL);
}

/* ---- IO_FDS ---- */

static int io_fds(uint32_t index, uint32_t argsz, uint32_t flags, uint32_t count,
		  struct vfu_region_io_fds *head)
{
	const struct vfu_region_io_fds ask = {
		.argsz = argsz,
		.flags = flags,
		.index = index,
		.count = count,
	};
	int rc = rig_call(VFU_DEVICE_GET_REGION_IO_FDS, &ask, sizeof(ask), NULL, 0);

	if (rc == 0)
		memcpy(head, rig.reply.body, sizeof(*head));
	return rc;
}

/* The largest there is: others have their turn in between, and nothing is written for the gone. */
static void write_multi_is_done_in_pieces(void)
{
	enum { COUNT = 40000 };
	const size_t len = 8 + COUNT * sizeof(struct vfu_write_multi_entry);
	struct vfu_write_multi *multi = calloc(1, len);
	unsigned int i;

	multi->wr_cnt = COUNT;
	for (i = 0; i < COUNT; i++)
		multi->entry[i].count = 4;
	CU_ASSERT_EQUAL(rig_call(VFU_REGION_WRITE_MULTI, multi, len, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig.count[RIG_WRITE], COUNT);
	rig.count[RIG_WRITE] = 0;
	rig_send(VFU_REGION_WRITE_MULTI, 0, multi, len, NULL, 0);
	for (i = 0; i < 100 && rig.count[RIG_WRITE] == 0; i++)
		bh_reactor_run_once(rig.reactor);
	CU_ASSERT(rig.count[RIG_WRITE] > 0);
	CU_ASSERT(rig.count[RIG_WRITE] < 1000);
	vfu_conn_fini(&rig.conn);
	rig_turn();
	CU_ASSERT(rig.count[RIG_WRITE] < 2000);
	CU_ASSERT_EQUAL(rig.count[RIG_DISCONNECTED], 1);
	rig_connect();
	rig_negotiate();
	CU_ASSERT_EQUAL(rig_config32(0), 0x00101b36);
	free(multi);
}

static void io_fds_checks_every_field(void)
{
	struct vfu_region_io_fds head;

	CU_ASSERT_EQUAL(io_fds(0, 15, 0, 0, &head), -EINVAL);
	CU_ASSERT_EQUAL(io_fds(0, (1 << 20) + 1, 0, 0, &head), -EINVAL);
	CU_ASSERT_EQUAL(io_fds(0, 4096, 1, 0, &head), -EINVAL);
	CU_ASSERT_EQUAL(io_fds(0, 4096, 0, 1, &head), -EINVAL);
	CU_ASSERT_EQUAL(io_fds(1, 4096, 0, 0, &head), -EINVAL);
	CU_ASSERT_EQUAL(io_fds(9, 4096, 0, 0, &head), -EINVAL);
	CU_ASSERT_EQUAL(io_fds(UINT32_MAX, 4096, 0, 0, &head), -EINVAL);
	CU_ASSERT_EQUAL(io_fds(0, 16, 0, 0, &head), 0);
	CU_ASSERT_EQUAL(head.count, 0);
	CU_ASSERT_EQUAL(head.argsz, 16);
}

static void io_fds_are_listed_once(void)
{
	int e[2] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) }, shadow = rig_memfd(4096);
	const struct bh_vfu_io_fd add[3] = {
		{ .region = 0,
		  .offset = 0x1008,
		  .len = 4,
		  .eventfd = e[0],
		  .shadow_fd = shadow,
		  .shadow_offset = 8 },
		{ .region = 0,
		  .offset = 0x100c,
		  .len = 4,
		  .eventfd = e[0],
		  .shadow_fd = shadow,
		  .shadow_offset = 12 },
		{ .region = 0, .offset = 0x1010, .len = 4, .eventfd = e[1], .shadow_fd = -1 },
	};
	struct vfu_region_io_fds head;
	struct vfu_io_fd entry[3];
	unsigned int i;

	for (i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(bh_vfu_server_io_fd_add(rig.server, &add[i]), 0);
	CU_ASSERT_EQUAL(io_fds(0, 16 + 119, 0, 0, &head), 0);
	CU_ASSERT_EQUAL(head.argsz, 136);
	CU_ASSERT_EQUAL(head.count, 3);
	CU_ASSERT_EQUAL(rig.reply.body_len, 16);
	CU_ASSERT_EQUAL(rig.reply.nfds, 0);
	CU_ASSERT_EQUAL(io_fds(0, 136, 0, 0, &head), 0);
	CU_ASSERT_EQUAL_FATAL(rig.reply.body_len, 136);
	CU_ASSERT_EQUAL(rig.reply.nfds, 3);
	memcpy(entry, rig.reply.body + 16, sizeof(entry));
	CU_ASSERT_EQUAL(entry[0].offset, 0x1008);
	CU_ASSERT_EQUAL(entry[0].size, 4);
	CU_ASSERT_EQUAL(entry[0].type, VFU_IO_FD_EVENTFD_SHADOW);
	CU_ASSERT_EQUAL(entry[0].fd_index, 0);
	CU_ASSERT_EQUAL(entry[0].shadow_fd_index, 1);
	CU_ASSERT_EQUAL(entry[0].value, 8);
	CU_ASSERT_EQUAL(entry[1].fd_index, 0);
	CU_ASSERT_EQUAL(entry[1].shadow_fd_index, 1);
	CU_ASSERT_EQUAL(entry[2].type, VFU_IO_FD_EVENTFD);
	CU_ASSERT_EQUAL(entry[2].fd_index, 2);
	close(e[0]);
	close(e[1]);
	close(shadow);
}

static void io_fds_beyond_the_clients_limit_are_left_out(void)
{
	int e[4];
	struct bh_vfu_io_fd add = { .region = 0, .len = 4 };
	struct vfu_region_io_fds head;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		add.eventfd = e[i] = eventfd(0, EFD_CLOEXEC);
		add.shadow_fd = i == 1 ? rig.bar_fd : -1;
		add.offset = 4 * i;
		CU_ASSERT_EQUAL(bh_vfu_server_io_fd_add(rig.server, &add), 0);
	}
	rig_connect();
	rig_negotiate_json("{\"capabilities\":{\"max_msg_fds\":2}}");
	CU_ASSERT_EQUAL(io_fds(0, 4096, 0, 0, &head), 0);
	CU_ASSERT_EQUAL(rig.reply.nfds, 2);
	CU_ASSERT_EQUAL(head.count, 2); /* the first, and the third: the second would need two */
	CU_ASSERT_EQUAL(head.argsz, 96);
	CU_ASSERT_EQUAL(rig.reply.body[56], 8);
	for (i = 0; i < 4; i++)
		close(e[i]);
}

static void io_fd_add_checks_its_range(void)
{
	struct bh_vfu_io_fd add = {
		.region = 0,
		.offset = RIG_BAR0 - 3,
		.len = 4,
		.eventfd = rig.bar_fd,
		.shadow_fd = -1,
	};

	CU_ASSERT_EQUAL(bh_vfu_server_io_fd_add(rig.server, &add), -EINVAL);
	add.offset = 0;
	add.region = BH_PCI_CONFIG;
	CU_ASSERT_EQUAL(bh_vfu_server_io_fd_add(rig.server, &add), -EINVAL);
	add.region = 0;
	add.eventfd = -1;
	CU_ASSERT_EQUAL(bh_vfu_server_io_fd_add(rig.server, &add), -EINVAL);
}

BH_SUITE_FIXTURE("vfu_server_regions", rig_setup, rig_teardown,
		 { "info_of_every_region", info_of_every_region },
		 { "info_checks_argsz_and_index", info_checks_argsz_and_index },
		 { "mappable_region_first_tells_the_size", mappable_region_first_tells_the_size },
		 { "mappable_region_has_area_and_fd", mappable_region_has_area_and_fd },
		 { "client_without_fds_is_offered_no_mapping",
		   client_without_fds_is_offered_no_mapping },
		 { "device_answers_accesses", device_answers_accesses },
		 { "bad_accesses_are_einval", bad_accesses_are_einval },
		 { "write_length_must_be_the_count", write_length_must_be_the_count },
		 { "largest_message_works", largest_message_works },
		 { "write_multi_is_applied_in_order", write_multi_is_applied_in_order },
		 { "write_multi_checks_every_field", write_multi_checks_every_field },
		 { "write_multi_must_be_negotiated", write_multi_must_be_negotiated },
		 { "write_multi_is_done_in_pieces", write_multi_is_done_in_pieces },
		 { "io_fds_checks_every_field", io_fds_checks_every_field },
		 { "io_fds_are_listed_once", io_fds_are_listed_once },
		 { "io_fds_beyond_the_clients_limit_are_left_out",
		   io_fds_beyond_the_clients_limit_are_left_out },
		 { "io_fd_add_checks_its_range", io_fd_add_checks_its_range }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What of a subsystem outlives the process: a file that is read again, torn, cut and wrong.
 */
#include "target_nvme/control_rig.h"

#include <fcntl.h>
#include <stdio.h>

#include "target/nvme/control.h"
#include "target/nvme/subsys.h"

#define MIB (1u << 20)

static char path[64];
static struct bh_blk *pool;
static struct bh_target_subsys *subsys;

static int power_on(void)
{
	struct bh_target_subsys_opts so;

	bh_target_subsys_opts_init(&so);
	so.nqn = "nqn.2026-01.io.x:state";
	so.control = rig.control;
	so.pool = pool;
	so.state = path;
	return bh_target_subsys_create(&so, &subsys);
}

static void power_off(void)
{
	CU_ASSERT_EQUAL(bh_target_subsys_destroy(subsys), 0);
	subsys = NULL;
}

static int setup(void)
{
	const struct bh_blk_spec spec = { .arg = "", .bytes = 8 * MIB, .block_size = 512 };
	char why[256];
	int fd;

	snprintf(path, sizeof(path), "/tmp/bh-state-XXXXXX");
	fd = mkstemp(path);
	if (fd < 0 || rig_init())
		return -1;
	close(fd);
	return bh_blk_null_type.create(&spec, "null:pool", NULL, why, &pool);
}

static int teardown(void)
{
	unlink(path);
	bh_blk_put(pool);
	bh_reactor_destroy(rig.control);
	munmap(rig.mem, RIG_BYTES);
	close(rig.fd);
	return 0;
}

static void made(void *arg, int result)
{
	*(int *)arg = result;
}

static int make(uint64_t bytes, uint32_t block_size)
{
	const struct bh_target_subsys_ns_opts o = { .size = sizeof(o),
						    .bytes = bytes,
						    .block_size = block_size };
	int result = 0;
	unsigned int i;

	CU_ASSERT_EQUAL(bh_target_subsys_ns_make(subsys, &o, made, &result), 0);
	for (i = 0; i < 64 && !result; i++)
		bh_reactor_run_once(rig.control);
	return result;
}

/* Registers two hosts, one of which has no id, and reserves for the other. */
static void reserve(uint32_t nsid)
{
	const struct tn_host one = { .id = { 9 } }, none = { .cntlid = 3 };
	const struct bh_nvme_cmd reg = { .cdw10 = 3u << 30 }, take = { .cdw10 = 5u << 8 };
	const struct bh_nvme_resv_register key = { 0, 0x55 };
	const struct bh_nvme_resv_acquire acquire = { 0x55, 0 };
	struct tn_space *space = tn_space_get(subsys, nsid);
	struct tn_resv_outcome out = { 0 };
	struct tn_resv *resv = tn_space_resv(space);

	CU_ASSERT_EQUAL(tn_resv_register(resv, &one, &reg, &key, true, &out), 0);
	CU_ASSERT_EQUAL(tn_resv_register(resv, &none, &reg, &key, true, &out), 0);
	CU_ASSERT_EQUAL(tn_resv_acquire(resv, &one, &take, &acquire, &out), 0);
	tn_subsys_changed(subsys);
}

static bool is_reserved(uint32_t nsid)
{
	const struct tn_host one = { .id = { 9 } };
	const struct tn_space *space = tn_space_get(subsys, nsid);

	return space && space->resv && space->resv->type == 5 && space->resv->count == 1 &&
	       space->resv->gen == 2 && space->resv->is_persistent &&
	       tn_resv_find(space->resv, &one) && tn_resv_find(space->resv, &one)->key == 0x55;
}

static void namespaces_and_reservations_come_back(void)
{
	struct bh_target_subsys_ns_opts o = { .size = sizeof(o) };
	struct bh_target_subsys_ns_info first, again;
	struct bh_target_subsys *held;
	uint64_t total, unallocated;

	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	held = subsys;
	CU_ASSERT_EQUAL(power_on(), -EBUSY); /* one process at a time */
	subsys = held;
	power_off();
	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	CU_ASSERT_EQUAL(make(2 * MIB, 4096), 1);
	CU_ASSERT_EQUAL(make(MIB, 512), 2);
	CU_ASSERT_EQUAL(make(MIB, 512), 3);
	CU_ASSERT_EQUAL(bh_target_subsys_ns_delete(subsys, 2, NULL, NULL), 0);
	reserve(3);
	/* One of a store comes back when the operator brings it. */
	o.blk = rig_store(MIB, 512);
	o.nsid = 7;
	CU_ASSERT_EQUAL(bh_target_subsys_ns_create(subsys, &o), 7);
	reserve(7);
	CU_ASSERT_EQUAL(bh_target_subsys_ns_info(subsys, 3, &first), 0);
	power_off();
	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	CU_ASSERT_EQUAL(bh_target_subsys_ns_info(subsys, 3, &again), 0);
	CU_ASSERT_EQUAL(memcmp(first.uuid, again.uuid, 16), 0);
	CU_ASSERT_TRUE(again.offset == first.offset && again.blocks == MIB / 512);
	CU_ASSERT_EQUAL(bh_target_subsys_ns_info(subsys, 1, &again), 0);
	CU_ASSERT_TRUE(again.block_size == 4096 && again.offset == 0);
	CU_ASSERT_PTR_NULL(tn_space_get(subsys, 2));
	CU_ASSERT_PTR_NULL(tn_space_get(subsys, 7));
	bh_target_subsys_capacity(subsys, &total, &unallocated);
	CU_ASSERT_EQUAL(total - unallocated, 3 * MIB);
	CU_ASSERT_TRUE(is_reserved(3));
	/* Another change does not lose what has not come back yet. */
	CU_ASSERT_EQUAL(make(MIB, 512), 2);
	power_off();
	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	CU_ASSERT_EQUAL(bh_target_subsys_ns_create(subsys, &o), 7);
	CU_ASSERT_TRUE(is_reserved(7) && is_reserved(3));
	power_off();
	bh_blk_put(o.blk);
}

/* Whatever is wrong with one slot, the other one stands. */
static void a_torn_write_is_undone(void)
{
	uint8_t byte = 0x5a;
	int fd, i;

	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	CU_ASSERT_EQUAL(make(MIB, 512), 1); /* slot 1 */
	CU_ASSERT_EQUAL(make(MIB, 512), 2); /* slot 0 */
	power_off();
	for (i = 0; i < 2; i++) {
		fd = open(path, O_RDWR);
		CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, i ? MIB + 50 : 50), 1);
		close(fd);
		CU_ASSERT_EQUAL_FATAL(power_on(), 0);
		CU_ASSERT_EQUAL(tn_space_get(subsys, 1) != NULL, !i);
		CU_ASSERT_PTR_NULL(tn_space_get(subsys, 2));
		power_off();
	}
	CU_ASSERT_EQUAL(truncate(path, 3), 0);
	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	power_off();
}

/* The operator's part: a store as namespace 7, two controllers, in this order. */
static struct bh_target_nvme *ctrls[2];

static void begin(struct bh_blk *blk, const char *first, const char *second)
{
	struct bh_target_subsys_ns_opts o = { .size = sizeof(o), .blk = blk, .nsid = 7 };
	const char *paths[2] = { first, second };
	struct bh_target_nvme_opts opts = rig_opts();
	unsigned int i;

	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	CU_ASSERT_EQUAL(bh_target_subsys_ns_create(subsys, &o), 7);
	opts.subsys = subsys;
	for (i = 0; i < 2; i++) {
		opts.path = paths[i];
		CU_ASSERT_EQUAL_FATAL(bh_target_nvme_create(&opts, &ctrls[i]), 0);
	}
}

static void end(void)
{
	bh_target_nvme_free(ctrls[0]);
	bh_target_nvme_free(ctrls[1]);
	power_off();
}

static bool has(unsigned int i)
{
	return tn_ns_get(ctrls[i], 7) != NULL;
}

/* What a host has changed is so again, whatever ids the controllers have, until the operator speaks. */
static void attachments_of_hosts_come_back(void)
{
	struct bh_target_nvme_opts opts = rig_opts();
	struct bh_blk *blk = rig_store(MIB, 512);
	struct tn_space *space;

	begin(blk, "/a", "/b");
	bh_target_subsys_restored(subsys);
	CU_ASSERT_EQUAL(bh_target_nvme_ns_add(ctrls[0], NULL, 7, NULL, NULL), 7);
	space = tn_space_get(subsys, 7);
	CU_ASSERT_EQUAL(tn_ns_add(ctrls[1], 7, NULL, NULL), 7);
	CU_ASSERT_EQUAL(tn_ns_detach(ctrls[0], 7, NULL, NULL), 0);
	tn_changed_by_host(space, ctrls[1], true);
	tn_changed_by_host(space, ctrls[0], false);
	tn_subsys_changed(subsys);
	end();

	begin(blk, "/b", "/a");
	CU_ASSERT_EQUAL(bh_target_nvme_ns_add(ctrls[1], NULL, 7, NULL, NULL), 7);
	CU_ASSERT_TRUE(!has(0) && !has(1));
	bh_target_subsys_restored(subsys);
	CU_ASSERT_TRUE(has(0) && !has(1));
	CU_ASSERT_EQUAL(bh_target_nvme_ns_add(ctrls[1], NULL, 7, NULL, NULL), 7);
	CU_ASSERT_TRUE(has(1));
	end();

	begin(blk, "/a", "/b");
	CU_ASSERT_EQUAL(bh_target_nvme_ns_add(ctrls[0], NULL, 7, NULL, NULL), 7);
	bh_target_subsys_restored(subsys);
	CU_ASSERT_TRUE(has(0) && has(1));
	/* Another controller at the same place is the operator's new one. */
	bh_target_nvme_free(ctrls[1]);
	opts.subsys = subsys;
	opts.path = "/b";
	CU_ASSERT_EQUAL_FATAL(bh_target_nvme_create(&opts, &ctrls[1]), 0);
	end();

	begin(blk, "/a", "/b");
	bh_target_subsys_restored(subsys);
	CU_ASSERT_TRUE(!has(0) && !has(1));
	end();
	bh_blk_put(blk);
}

/* What was written before attachments were kept: records of 72 bytes, and no paths. */
static void an_older_file_is_read(void)
{
	static uint8_t data[32 + 72];
	const uint64_t magic = 0x31737973626862ull, number = 7, len = 72;
	uint64_t sum = 0xcbf29ce484222325ull ^ number, bytes = MIB;
	uint32_t nsid = 5, block_size = 512;
	int fd = open(path, O_RDWR | O_TRUNC);
	size_t i;

	data[32] = 0xee;	      /* the UUID */
	memcpy(data + 56, &bytes, 8); /* behind where it lies */
	memcpy(data + 64, &nsid, 4);
	memcpy(data + 68, &block_size, 4);
	data[32 + 47] = 1; /* of the pool */
	for (i = 32; i < sizeof(data); i++)
		sum = (sum ^ data[i]) * 0x100000001b3ull;
	memcpy(data, &magic, 8);
	memcpy(data + 8, &number, 8);
	memcpy(data + 16, &len, 8);
	memcpy(data + 24, &sum, 8);
	CU_ASSERT_EQUAL(pwrite(fd, data, sizeof(data), 0), (ssize_t)sizeof(data));
	close(fd);
	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	CU_ASSERT_PTR_NOT_NULL(tn_space_get(subsys, 5));
	CU_ASSERT_EQUAL(make(MIB, 512), 1);
	power_off();
	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	CU_ASSERT_TRUE(tn_space_get(subsys, 5) && tn_space_get(subsys, 1));
	power_off();
}

/* One that is told the UUID of another gets its own; so the other keeps its metadata. */
static void metadata_stay_with_their_namespace(void)
{
	char file[80];
	struct bh_blk_spec spec = { .bytes = 8 * MIB, .block_size = 512, .arg = file };
	struct bh_target_subsys_ns_opts o = {
		.size = sizeof(o), .bytes = MIB, .block_size = 512, .md_bytes = 8, .has_uuid = true
	};
	struct bh_target_subsys_ns_info info;
	struct bh_blk *null_pool = pool;
	char why[256];
	int i, result = 0;

	snprintf(file, sizeof(file), "%s.pool", path);
	CU_ASSERT_EQUAL_FATAL(bh_blk_file_type.create(&spec, "file:pool", NULL, why, &pool), 0);
	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	o.uuid[0] = 0xee;
	for (i = 0; i < 3; i++) {
		o.nsid = i == 2 ? 1 : 0; /* taken */
		CU_ASSERT_EQUAL(bh_target_subsys_ns_make(subsys, &o, made, &result),
				i == 2 ? -EEXIST : 0);
		while (i < 2 && result <= i)
			bh_reactor_run_once(rig.control);
	}
	CU_ASSERT_EQUAL(access(tn_space_get(subsys, 1)->blk->media_path, F_OK), 0);
	CU_ASSERT_EQUAL(access(tn_space_get(subsys, 2)->blk->media_path, F_OK), 0);
	CU_ASSERT_EQUAL(tn_space_get(subsys, 1)->uuid[0], 0xee);
	CU_ASSERT_NOT_EQUAL(
		memcmp(tn_space_get(subsys, 1)->uuid, tn_space_get(subsys, 2)->uuid, 16), 0);
	memset(tn_space_get(subsys, 1)->blk->md, 0x5a, 8);
	power_off();
	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	for (i = 1; i <= 2; i++) {
		CU_ASSERT_EQUAL(bh_target_subsys_ns_info(subsys, i, &info), 0);
		CU_ASSERT_EQUAL(info.md_bytes, 8);
		CU_ASSERT_EQUAL(tn_space_get(subsys, i)->blk->md[0], i == 1 ? 0x5a : 0);
	}
	CU_ASSERT_EQUAL(bh_target_subsys_ns_delete(subsys, 1, NULL, NULL), 0);
	CU_ASSERT_EQUAL(bh_target_subsys_ns_delete(subsys, 2, NULL, NULL), 0);
	power_off();
	bh_blk_put(pool);
	pool = null_pool;
	unlink(file);
}

static void no_such_place(void)
{
	struct bh_target_subsys_opts so;

	bh_target_subsys_opts_init(&so);
	so.nqn = "nqn.2026-01.io.x:state";
	so.control = rig.control;
	so.state = "/nowhere/at/all";
	CU_ASSERT_EQUAL(bh_target_subsys_create(&so, &subsys), -ENOENT);
	CU_ASSERT_PTR_NULL(subsys);
}

BH_SUITE_FIXTURE("target_nvme_state", setup, teardown,
		 { "namespaces_and_reservations_come_back", namespaces_and_reservations_come_back },
		 { "a_torn_write_is_undone", a_torn_write_is_undone },
		 { "attachments_of_hosts_come_back", attachments_of_hosts_come_back },
		 { "an_older_file_is_read", an_older_file_is_read },
		 { "metadata_stay_with_their_namespace", metadata_stay_with_their_namespace },
		 { "no_such_place", no_such_place }, )

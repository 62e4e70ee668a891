/* SPDX-License-Identifier: BSD-3-Clause */
/* Command sets and zoned namespaces: what is recognised, appended, managed, reported, and lied. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>

#include <bellhop/nvme_zns.h>

#include "rig.h"

#define ZONE 64u
#define CAP 48u
#define ZONES (FAKE_BLOCKS / ZONE)
#define BLOCK 512u

static void zoned(struct fake_opts *o)
{
	fake_opts_init(o);
	o->iocs = true;
	o->csi[0] = BH_NVME_CSI_ZNS;
	o->zone = ZONE;
	o->zone_cap = CAP;
	o->mar = 5;
	o->mor = 2;
	o->zasl = 1;
	o->zdes = 1;
}

/* ---- command sets ---- */

static void a_zoned_namespace_is_recognised(void)
{
	struct fake_opts o;
	struct bh_nvme_zns z;
	uint8_t uuid[16], want[16];
	struct rig r;

	zoned(&o);
	o.namespaces = 2;
	rig_start(&r, &o, 15);
	CU_ASSERT_EQUAL(BH_NVME_GET(r.fake->cc, CC_CSS), BH_NVME_CC_CSS_IOCS);
	CU_ASSERT_EQUAL(bh_nvme_ns_csi(r.ns), BH_NVME_CSI_ZNS);
	CU_ASSERT_EQUAL(bh_nvme_ns_blocks(r.ns), FAKE_BLOCKS);
	CU_ASSERT_EQUAL_FATAL(bh_nvme_ns_zns(r.ns, &z), 0);
	CU_ASSERT_EQUAL(z.zones, ZONES);
	CU_ASSERT_EQUAL(z.zone_blocks, ZONE);
	CU_ASSERT_EQUAL(z.max_active, 6);
	CU_ASSERT_EQUAL(z.max_open, 3);
	CU_ASSERT_EQUAL(z.append_blocks, 8192 / BLOCK);
	CU_ASSERT_EQUAL(bh_nvme_zone_append_max(r.ns), 8192 / BLOCK);
	CU_ASSERT_EQUAL(z.ext_bytes, 64);
	CU_ASSERT_FALSE(z.read_across);
	bh_nvme_ns_uuid(r.ns, uuid);
	memset(want, 1, 16);
	CU_ASSERT_EQUAL(memcmp(uuid, want, 16), 0);
	r.ns = bh_nvme_ns_next(r.ns);
	CU_ASSERT_EQUAL(bh_nvme_ns_csi(r.ns), BH_NVME_CSI_NVM);
	CU_ASSERT_EQUAL(bh_nvme_ns_zns(r.ns, &z), -EOPNOTSUPP);
	rig_close(&r);
}

static void a_controller_of_one_command_set_is_asked_for_one(void)
{
	struct fake_opts o;
	struct rig r;

	zoned(&o);
	o.iocs = false;
	rig_start(&r, &o, 15);
	CU_ASSERT_EQUAL(BH_NVME_GET(r.fake->cc, CC_CSS), BH_NVME_CC_CSS_NVM);
	CU_ASSERT_EQUAL(bh_nvme_ns_csi(r.ns), BH_NVME_CSI_NVM);
	CU_ASSERT_EQUAL(bh_nvme_zone_append_max(r.ns), 0);
	rig_close(&r);
}

static void an_unknown_command_set_is_listed_but_not_served(void)
{
	struct fake_opts o;
	struct tally t = { 0 };
	struct rig r;

	zoned(&o);
	o.namespaces = 2;
	o.csi[0] = BH_NVME_CSI_KV;
	rig_start(&r, &o, 15);
	CU_ASSERT_EQUAL(bh_nvme_ns_id(r.ns), 1);
	CU_ASSERT_EQUAL(bh_nvme_ns_csi(r.ns), BH_NVME_CSI_KV);
	CU_ASSERT_EQUAL(bh_nvme_ns_blocks(r.ns), 0);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), -EINVAL);
	r.ns = bh_nvme_ns_next(r.ns);
	CU_ASSERT_EQUAL(bh_nvme_ns_id(r.ns), 2);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
	CU_ASSERT_EQUAL(t.errors, 0);
	rig_close(&r);
}

static void the_best_combination_is_chosen(void)
{
	const struct {
		uint64_t vector[2];
		uint32_t set;
	} c[] = {
		{ { 1, 5 }, 1 },	  /* NVM; NVM and ZNS */
		{ { 5, 1 }, 0 },	  /* the present one is as good as it gets */
		{ { 5, 7 }, 0 },	  /* key value is no gain */
		{ { 2, 4 }, 1 },	  /* key value; ZNS */
		{ { 0, UINT64_MAX }, 0 }, /* the table cannot be had */
	};
	struct fake_opts o;
	struct rig r;

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		zoned(&o);
		memcpy(o.combination, c[i].vector, sizeof(o.combination));
		rig_start(&r, &o, 15);
		CU_ASSERT_EQUAL(fake_get(&r.fake->combination_set), c[i].set);
		CU_ASSERT_EQUAL(bh_nvme_ns_csi(r.ns), BH_NVME_CSI_ZNS);
		rig_close(&r);
	}
}

static void descriptors_that_do_not_say_mean_nvm(void)
{
	struct fake_opts o;
	struct rig r;

	zoned(&o);
	for (o.descs = FAKE_DESCS_NO_CSI; o.descs <= FAKE_DESCS_OVERRUN; o.descs++) {
		rig_start(&r, &o, 15);
		CU_ASSERT_EQUAL(bh_nvme_ns_csi(r.ns), BH_NVME_CSI_NVM);
		rig_close(&r);
	}
}

static void zones_that_cannot_be_are_not_served(void)
{
	const uint64_t bad[] = { 0, FAKE_BLOCKS + 1, 1ull << 32, UINT64_MAX };
	struct fake_opts o;
	struct bh_nvme_zns z;
	struct tally t = { 0 };
	struct rig r;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		zoned(&o);
		o.any_zone = true;
		o.lying_zone = bad[i];
		rig_start(&r, &o, 15);
		CU_ASSERT_PTR_NOT_NULL_FATAL(r.ns);
		CU_ASSERT_EQUAL(bh_nvme_ns_zns(r.ns, &z), -EOPNOTSUPP);
		CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), -EINVAL);
		CU_ASSERT_EQUAL(bh_nvme_zone_append(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t),
				-EINVAL);
		CU_ASSERT_EQUAL(
			bh_nvme_zone_manage_sync(r.q, r.ns, BH_NVME_ZONE_ACTION_RESET, 0, false),
			-EINVAL);
		rig_close(&r);
	}
}

static void zones_with_metadata_are_not_served(void)
{
	struct fake_opts o;
	struct tally t = { 0 };
	struct bh_nvme_zns z;
	struct rig r;

	zoned(&o);
	o.ms = 8;
	for (int extended = 0; extended < 2; extended++) {
		o.extended = extended;
		rig_start(&r, &o, 15);
		CU_ASSERT_EQUAL(bh_nvme_ns_csi(r.ns), BH_NVME_CSI_ZNS);
		CU_ASSERT_EQUAL(bh_nvme_ns_zns(r.ns, &z), -EOPNOTSUPP);
		CU_ASSERT_EQUAL(bh_nvme_write(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), -EINVAL);
		CU_ASSERT_EQUAL(bh_nvme_zone_append(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t),
				-EINVAL);
		rig_close(&r);
	}
}

static void limits_that_are_none_are_none(void)
{
	struct fake_opts o;
	struct bh_nvme_zns z;
	struct rig r;

	zoned(&o);
	o.mar = o.mor = UINT32_MAX;
	o.zasl = 255;
	o.zdes = 0;
	rig_start(&r, &o, 15);
	CU_ASSERT_EQUAL_FATAL(bh_nvme_ns_zns(r.ns, &z), 0);
	CU_ASSERT_EQUAL(z.max_active, 0);
	CU_ASSERT_EQUAL(z.max_open, 0);
	CU_ASSERT_EQUAL(z.append_blocks, bh_nvme_max_transfer(r.nvme) / BLOCK);
	CU_ASSERT_EQUAL(bh_nvme_zone_set_ext_sync(r.q, r.ns, 0, r.buf, 64), -EINVAL);
	rig_close(&r);
}

/* ---- append ---- */

struct placed {
	struct bh_nvme_ns *ns;
	uint64_t zslba, lba[16];
	unsigned int done, errors;
};

static void placed_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct placed *p = arg;

	p->errors += bh_nvme_cpl_status(cpl) != 0;
	p->lba[p->done++] = bh_nvme_zone_append_lba(p->ns, p->zslba, cpl->cdw0);
}

static bool wait_placed(struct rig *r, struct placed *p, unsigned int n)
{
	uint64_t end = bh_now_ns() + 5000000000ull;

	bh_nvme_queue_flush(r->q);
	while (p->done < n && bh_now_ns() < end)
		bh_nvme_queue_poll(r->q, 0);
	return p->done == n;
}

/* Appends of every shape of buffer, each to be found where its completion says. */
static void append_and_look(const struct fake_opts *o)
{
	const struct {
		size_t at;
		uint32_t blocks;
	} c[] = { { 0, 1 }, { 8192, 8 }, { 20480 + 512, 8 }, { 40960, 16 }, { 69632 + 512, 15 } };
	struct placed p = { .zslba = 3 * ZONE };
	struct rig r;
	uint64_t lba = 3 * ZONE;

	rig_start(&r, o, 15);
	p.ns = r.ns;
	for (unsigned int i = 0; i < 5; i++) {
		memset(r.buf + c[i].at, (int)i + 1, c[i].blocks * BLOCK);
		CU_ASSERT_EQUAL(bh_nvme_zone_append(r.q, r.ns, r.buf + c[i].at, p.zslba,
						    c[i].blocks, BH_NVME_FUA, placed_done, &p),
				0);
	}
	CU_ASSERT_TRUE(wait_placed(&r, &p, 5));
	CU_ASSERT_EQUAL(p.errors, 0);
	for (unsigned int i = 0; i < 5; i++) {
		CU_ASSERT_EQUAL(p.lba[i], lba);
		CU_ASSERT_EQUAL(
			memcmp(r.fake->disk + lba * BLOCK, r.buf + c[i].at, c[i].blocks * BLOCK),
			0);
		lba += c[i].blocks;
	}
	CU_ASSERT_EQUAL(lba, 3 * ZONE + CAP);
	CU_ASSERT_EQUAL(r.fake->zones[3].state, BH_NVME_ZONE_STATE_FULL);
	/* No more fits. */
	CU_ASSERT_EQUAL(bh_nvme_zone_append(r.q, r.ns, r.buf, p.zslba, 1, 0, placed_done, &p), 0);
	CU_ASSERT_TRUE(wait_placed(&r, &p, 6));
	CU_ASSERT_EQUAL(p.errors, 1);
	rig_close(&r);
}

static void appends_say_where_the_data_went(void)
{
	struct fake_opts o;

	zoned(&o);
	append_and_look(&o);
	o.sgl = true;
	append_and_look(&o);
}

static void scattered_appends_are_one_command(void)
{
	struct fake_opts o;
	struct placed p = { 0 };
	struct rig r;

	zoned(&o);
	rig_start(&r, &o, 15);
	struct iovec iov[2] = { { r.buf, 4096 }, { r.buf + 16384, 4096 } };
	struct iovec odd[2] = { { r.buf, 512 }, { r.buf + 16384, 512 } };

	p.ns = r.ns;
	memset(r.buf, 1, 4096);
	memset(r.buf + 16384, 2, 4096);
	CU_ASSERT_EQUAL(bh_nvme_zone_appendv(r.q, r.ns, iov, 2, 0, 16, 0, placed_done, &p), 0);
	CU_ASSERT_TRUE(wait_placed(&r, &p, 1));
	CU_ASSERT_EQUAL(p.errors, 0);
	CU_ASSERT_EQUAL(fake_get(&r.fake->ios), 1);
	CU_ASSERT_EQUAL(r.fake->disk[4095], 1);
	CU_ASSERT_EQUAL(r.fake->disk[4096], 2);
	/* What no list of PRPs can name is refused, not cut. */
	CU_ASSERT_EQUAL(bh_nvme_zone_appendv(r.q, r.ns, odd, 2, 0, 2, 0, placed_done, &p), -EINVAL);
	CU_ASSERT_EQUAL(bh_nvme_zone_appendv(r.q, r.ns, iov, 2, 0, 15, 0, placed_done, &p),
			-EINVAL);
	CU_ASSERT_EQUAL(bh_nvme_zone_appendv(r.q, r.ns, iov, 2, 0, 17, 0, placed_done, &p),
			-EMSGSIZE);
	rig_close(&r);
}

static void appends_beyond_the_limit_are_refused(void)
{
	struct fake_opts o;
	struct tally t = { 0 };
	struct bh_nvme_ns *other;
	uint8_t outside[BLOCK];
	struct rig r;

	zoned(&o);
	o.namespaces = 2;
	rig_start(&r, &o, 15);
	CU_ASSERT_EQUAL(bh_nvme_zone_append(r.q, r.ns, r.buf, 0, 17, 0, tally_done, &t), -EMSGSIZE);
	CU_ASSERT_EQUAL(bh_nvme_zone_append(r.q, r.ns, r.buf, 0, 0, 0, tally_done, &t), -EINVAL);
	CU_ASSERT_EQUAL(bh_nvme_zone_append(r.q, r.ns, r.buf + 1, 0, 1, 0, tally_done, &t),
			-EFAULT);
	CU_ASSERT_EQUAL(bh_nvme_zone_append(r.q, r.ns, outside, 0, 1, 0, tally_done, &t), -EFAULT);
	other = bh_nvme_ns_next(r.ns);
	CU_ASSERT_EQUAL(bh_nvme_zone_append(r.q, other, r.buf, 0, 1, 0, tally_done, &t), -EINVAL);
	fake_set(&r.fake->hold, 1);
	for (int i = 0; i < 15; i++)
		CU_ASSERT_EQUAL(bh_nvme_zone_append(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), 0);
	CU_ASSERT_EQUAL(bh_nvme_zone_append(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), -EAGAIN);
	bh_nvme_queue_flush(r.q);
	while (fake_get(&r.fake->ios) < 15)
		sched_yield();
	fake_release(r.fake);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 15));
	fake_lose(r.fake);
	CU_ASSERT_EQUAL(bh_nvme_zone_append(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), -ENODEV);
	rig_close(&r);
}

static void reaped_appends_say_it_too(void)
{
	struct bh_nvme_result done[4];
	uint64_t end = bh_now_ns() + 5000000000ull;
	struct fake_opts o;
	struct rig r;
	int n = 0;

	zoned(&o);
	rig_start(&r, &o, 15);
	for (int i = 0; i < 2; i++)
		bh_nvme_zone_append(r.q, r.ns, r.buf, 5 * ZONE, 4, 0, NULL, r.buf);
	bh_nvme_queue_flush(r.q);
	while (n < 2 && bh_now_ns() < end)
		n += bh_nvme_queue_reap(r.q, done + n, 4 - (unsigned int)n);
	CU_ASSERT_EQUAL_FATAL(n, 2);
	CU_ASSERT_EQUAL(bh_nvme_zone_append_lba(r.ns, 5 * ZONE, done[1].cdw0), 5 * ZONE + 4);
	CU_ASSERT_EQUAL(done[1].status, 0);
	/* An address that is not in the zone is none. */
	CU_ASSERT_EQUAL(bh_nvme_zone_append_lba(r.ns, 5 * ZONE, 6 * ZONE), UINT64_MAX);
	CU_ASSERT_EQUAL(bh_nvme_zone_append_lba(r.ns, 5 * ZONE, 5 * ZONE - 1), UINT64_MAX);
	CU_ASSERT_EQUAL(bh_nvme_zone_append_lba(r.ns, (1ull << 32) - 4, 3), (1ull << 32) + 3);
	rig_close(&r);
}

/* ---- reads and writes ---- */

static void reads_are_split_at_borders_only_where_they_have_to_be(void)
{
	struct fake_opts o;

	zoned(&o);
	for (int across = 0; across < 2; across++) {
		struct tally t = { 0 };
		struct rig r;

		o.read_across = across;
		rig_start(&r, &o, 15);
		memset(r.fake->disk, 0x5a, 4 * ZONE * BLOCK);
		CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, ZONE - 8, 16, 0, tally_done, &t), 0);
		CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
		CU_ASSERT_EQUAL(t.errors, 0);
		CU_ASSERT_EQUAL(fake_get(&r.fake->ios), across ? 1 : 2);
		CU_ASSERT_EQUAL(r.buf[16 * BLOCK - 1], 0x5a);
		rig_close(&r);
	}
}

/* MDTS is 8 KiB: a write of a whole zone's capacity is three commands, one at a time. */
static void large_writes_go_one_by_one(void)
{
	struct fake_opts o;
	struct tally t = { 0 };
	struct rig r;

	zoned(&o);
	o.mdts = 1;
	rig_start(&r, &o, 15);
	memset(r.buf, 0x33, CAP * BLOCK);
	fake_set(&r.fake->hold, 1);
	CU_ASSERT_EQUAL(bh_nvme_write(r.q, r.ns, r.buf, ZONE, CAP, 0, tally_done, &t), 0);
	rig_poll_ms(&r, 20, true);
	CU_ASSERT_EQUAL(fake_get(&r.fake->ios), 1);
	/* What was held is completed without effect: the write pointer is where it was. */
	pthread_mutex_lock(&r.fake->lock);
	r.fake->zones[1].wp += 16;
	r.fake->zones[1].state = BH_NVME_ZONE_STATE_IMPLICITLY_OPEN;
	pthread_mutex_unlock(&r.fake->lock);
	fake_release(r.fake);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
	CU_ASSERT_EQUAL(t.errors, 0);
	CU_ASSERT_EQUAL(fake_get(&r.fake->ios), 3);
	CU_ASSERT_EQUAL(r.fake->zones[1].state, BH_NVME_ZONE_STATE_FULL);
	CU_ASSERT_EQUAL(r.fake->disk[(ZONE + CAP) * BLOCK - 1], 0x33);
	rig_close(&r);
}

static uint16_t write_status(struct rig *r, uint64_t lba, uint32_t blocks)
{
	struct tally t = { 0 };

	CU_ASSERT_EQUAL(bh_nvme_write(r->q, r->ns, r->buf, lba, blocks, 0, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(r, &t, 1));
	return t.status;
}

static void writes_over_a_border_are_the_controllers_to_refuse(void)
{
	struct fake_opts o;
	struct rig r;

	zoned(&o);
	o.zone_cap = 0;
	rig_start(&r, &o, 15);
	CU_ASSERT_EQUAL(write_status(&r, 0, ZONE - 8), 0);
	CU_ASSERT_EQUAL(write_status(&r, ZONE - 8, 16), BH_NVME_SC_ZONE_BOUNDARY_ERROR);
	CU_ASSERT_EQUAL(fake_get(&r.fake->ios), 2);
	CU_ASSERT_EQUAL(r.fake->zones[1].wp, ZONE);
	CU_ASSERT_EQUAL(write_status(&r, 0, 1), BH_NVME_SC_ZONE_INVALID_WRITE);
	CU_ASSERT_EQUAL(write_status(&r, ZONE - 8, 8), 0);
	CU_ASSERT_EQUAL(write_status(&r, 0, 1), BH_NVME_SC_ZONE_IS_FULL);
	rig_close(&r);
}

/* ---- management and reports ---- */

static int manage(struct rig *r, uint8_t action, uint64_t zone)
{
	return bh_nvme_zone_manage_sync(r->q, r->ns, action, zone * ZONE, false);
}

static void zones_are_managed(void)
{
	struct fake_opts o;
	struct rig r;

	zoned(&o);
	rig_start(&r, &o, 15);
	for (uint64_t i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(manage(&r, BH_NVME_ZONE_ACTION_OPEN, i), 0);
	CU_ASSERT_EQUAL(manage(&r, BH_NVME_ZONE_ACTION_OPEN, 3), BH_NVME_SC_ZONE_TOO_MANY_OPEN);
	CU_ASSERT_EQUAL(manage(&r, BH_NVME_ZONE_ACTION_CLOSE, 0), 0);
	CU_ASSERT_EQUAL(manage(&r, BH_NVME_ZONE_ACTION_OPEN, 3), 0);
	CU_ASSERT_EQUAL(manage(&r, BH_NVME_ZONE_ACTION_FINISH, 3), 0);
	CU_ASSERT_EQUAL(manage(&r, BH_NVME_ZONE_ACTION_OPEN, 3),
			BH_NVME_SC_ZONE_INVALID_TRANSITION);
	CU_ASSERT_EQUAL(manage(&r, BH_NVME_ZONE_ACTION_RESET, 3), 0);
	CU_ASSERT_EQUAL(manage(&r, BH_NVME_ZONE_ACTION_OFFLINE, 3),
			BH_NVME_SC_ZONE_INVALID_TRANSITION);
	r.fake->zones[3].state = BH_NVME_ZONE_STATE_READ_ONLY;
	CU_ASSERT_EQUAL(manage(&r, BH_NVME_ZONE_ACTION_OFFLINE, 3), 0);
	CU_ASSERT_EQUAL(bh_nvme_zone_manage_sync(r.q, r.ns, BH_NVME_ZONE_ACTION_RESET, 1, true), 0);
	CU_ASSERT_EQUAL(r.fake->zones[1].state, BH_NVME_ZONE_STATE_EMPTY);
	CU_ASSERT_EQUAL(r.fake->zones[3].state, BH_NVME_ZONE_STATE_OFFLINE);
	CU_ASSERT_EQUAL(bh_nvme_zone_manage_sync(r.q, r.ns, BH_NVME_ZONE_ACTION_RESET, 1, false),
			-EINVAL);
	CU_ASSERT_EQUAL(manage(&r, 0, 1), -EINVAL);
	CU_ASSERT_EQUAL(manage(&r, BH_NVME_ZONE_ACTION_SET_DESC_EXT, 1), -EINVAL);
	rig_close(&r);
}

static void extensions_come_back_in_extended_reports(void)
{
	const uint32_t flags = BH_NVME_ZONE_REPORT_EXTENDED | BH_NVME_ZONE_REPORT_PARTIAL;
	struct fake_opts o;
	struct bh_nvme_zone zone[4];
	struct tally t = { 0 };
	uint8_t ext[64];
	struct rig r;

	zoned(&o);
	rig_start(&r, &o, 15);
	memset(ext, 0xe7, sizeof(ext));
	CU_ASSERT_EQUAL(bh_nvme_zone_set_ext_sync(r.q, r.ns, 2 * ZONE, ext, 63), -EINVAL);
	CU_ASSERT_EQUAL(bh_nvme_zone_set_ext_sync(r.q, r.ns, 2 * ZONE, ext, 64), 0);
	CU_ASSERT_EQUAL(bh_nvme_zone_set_ext_sync(r.q, r.ns, 2 * ZONE, ext, 64),
			BH_NVME_SC_ZONE_INVALID_TRANSITION);
	CU_ASSERT_EQUAL(
		bh_nvme_zone_report(r.q, r.ns, ZONE, 0, flags, r.buf, 64 + 3 * 128, tally_done, &t),
		0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
	CU_ASSERT_EQUAL(t.errors, 0);
	CU_ASSERT_EQUAL(bh_nvme_zone_report_read(r.ns, r.buf, 64 + 3 * 128, flags, zone, 4, NULL),
			3);
	CU_ASSERT_EQUAL(zone[1].start, 2 * ZONE);
	CU_ASSERT_EQUAL(zone[1].state, BH_NVME_ZONE_STATE_CLOSED);
	CU_ASSERT_EQUAL(memcmp(bh_nvme_zone_report_ext(r.ns, r.buf, 64 + 3 * 128, 1), ext, 64), 0);
	CU_ASSERT_PTR_NULL(bh_nvme_zone_report_ext(r.ns, r.buf, 64 + 3 * 128, 3));
	rig_close(&r);
}

static void reports_come_in_pieces_and_by_state(void)
{
	static struct bh_nvme_zone zone[FAKE_ZONES];
	struct fake_opts o;
	unsigned int n;
	uint64_t count;
	struct rig r;

	zoned(&o);
	o.mdts = 1;
	o.zone = 4;
	o.zone_cap = 3;
	rig_start(&r, &o, 15);
	r.fake->zones[1].state = r.fake->zones[700].state = BH_NVME_ZONE_STATE_FULL;
	CU_ASSERT_EQUAL(bh_nvme_zones_sync(r.q, r.ns, 0, 0, zone, FAKE_ZONES, &n), 0);
	CU_ASSERT_EQUAL_FATAL(n, FAKE_ZONES);
	CU_ASSERT_EQUAL(fake_get(&r.fake->reports), 9); /* of 127 at most */
	for (unsigned int i = 0; i < n; i++)
		CU_ASSERT(zone[i].start == i * 4 && zone[i].capacity == 3);
	CU_ASSERT_EQUAL(zone[700].wp, 2803);
	CU_ASSERT_EQUAL(zone[701].wp, 2804);
	CU_ASSERT_EQUAL(
		bh_nvme_zones_sync(r.q, r.ns, 5, BH_NVME_ZONE_REPORT_FILTER_FULL, zone, 9, &n), 0);
	CU_ASSERT_EQUAL(n, 2);
	CU_ASSERT_EQUAL(zone[1].start, 2800);
	CU_ASSERT_EQUAL(bh_nvme_zones_sync(r.q, r.ns, FAKE_BLOCKS - 1, 0, zone, 9, &n), 0);
	CU_ASSERT_EQUAL(n, 1);
	CU_ASSERT_EQUAL(
		bh_nvme_zone_count_sync(r.q, r.ns, BH_NVME_ZONE_REPORT_FILTER_EMPTY, &count), 0);
	CU_ASSERT_EQUAL(count, FAKE_ZONES - 2);
	CU_ASSERT_EQUAL(bh_nvme_zones_sync(r.q, r.ns, 0, 8, zone, 9, &n), -EINVAL);
	rig_close(&r);
}

static void reports_that_lie_are_refused(void)
{
	struct bh_nvme_zone zone[ZONES];
	struct tally t = { 0 };
	struct fake_opts o;
	unsigned int n;
	uint64_t count;
	struct rig r;

	zoned(&o);
	rig_start(&r, &o, 15);
	for (uint32_t how = FAKE_LIE_BACKWARDS; how < FAKE_LIES; how++) {
		fake_set(&r.fake->lie, how);
		CU_ASSERT_EQUAL(bh_nvme_zones_sync(r.q, r.ns, ZONE, 0, zone, ZONES, &n), -EPROTO);
		CU_ASSERT_EQUAL(n, 0);
	}
	/* The first zone is what was asked for, the next is the same again. */
	fake_set(&r.fake->lie, FAKE_LIE_BACKWARDS);
	CU_ASSERT_EQUAL(bh_nvme_zone_report(r.q, r.ns, 0, 0, 0, r.buf, 192, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
	CU_ASSERT_EQUAL(bh_nvme_zone_report_read(r.ns, r.buf, 192, 0, zone, 1, NULL), 1);
	CU_ASSERT_EQUAL(bh_nvme_zone_report_read(r.ns, r.buf, 192, 0, zone, 2, NULL), -EPROTO);
	fake_set(&r.fake->lie, FAKE_LIE_COUNT);
	CU_ASSERT_EQUAL(bh_nvme_zones_sync(r.q, r.ns, 0, 0, zone, ZONES, &n), -EPROTO);
	CU_ASSERT_EQUAL(bh_nvme_zone_count_sync(r.q, r.ns, 0, &count), -EPROTO);
	/* More than the buffer has: the buffer decides. */
	fake_set(&r.fake->lie, FAKE_LIE_MORE);
	CU_ASSERT_EQUAL(bh_nvme_zones_sync(r.q, r.ns, 0, 0, zone, 5, &n), 0);
	CU_ASSERT_EQUAL(n, 5);
	CU_ASSERT_EQUAL(zone[4].start, 4 * ZONE);
	/* And more than there are from there on: what follows is no zone. */
	CU_ASSERT_EQUAL(bh_nvme_zones_sync(r.q, r.ns, (ZONES - 2) * ZONE, 0, zone, 5, &n), -EPROTO);
	rig_close(&r);
}

static void reports_are_asked_for_properly(void)
{
	struct bh_nvme_zone zone[2];
	struct fake_opts o;
	struct tally t = { 0 };
	struct rig r;

	zoned(&o);
	rig_start(&r, &o, 15);
	CU_ASSERT_EQUAL(bh_nvme_zone_report(r.q, r.ns, 0, 0, 0, r.buf, 60, tally_done, &t),
			-EINVAL);
	CU_ASSERT_EQUAL(bh_nvme_zone_report(r.q, r.ns, 0, 0, 0, r.buf, 65, tally_done, &t),
			-EINVAL);
	CU_ASSERT_EQUAL(bh_nvme_zone_report(r.q, r.ns, 0, 0, 4, r.buf, 64, tally_done, &t),
			-EINVAL);
	CU_ASSERT_EQUAL(bh_nvme_zone_report(r.q, r.ns, 0, 0, 0, r.buf, 1u << 20, tally_done, &t),
			-EMSGSIZE);
	CU_ASSERT_EQUAL(bh_nvme_zone_report(r.q, r.ns, 0, 0, 0, r.buf, 1ull << 33, tally_done, &t),
			-EMSGSIZE);
	memset(r.buf, 0, 128);
	CU_ASSERT_EQUAL(bh_nvme_zone_report_read(r.ns, r.buf, 60, 0, zone, 2, NULL), -EPROTO);
	CU_ASSERT_EQUAL(bh_nvme_zone_report_read(r.ns, r.buf, 128, 0, zone, 2, NULL), 0);
	CU_ASSERT_STRING_EQUAL(bh_nvme_zone_state_str(BH_NVME_ZONE_STATE_FULL), "Full");
	CU_ASSERT_STRING_EQUAL(bh_nvme_zone_state_str(0), "Unknown");
	CU_ASSERT_STRING_EQUAL(bh_nvme_zone_state_str(255), "Unknown");
	rig_close(&r);
}

static void waiting_wants_an_idle_queue(void)
{
	struct fake_opts o;
	struct tally t = { 0 };
	struct bh_nvme_opts n;
	uint64_t count;
	struct rig r;

	zoned(&o);
	rig_open(&r, &o);
	bh_nvme_opts_init(&n);
	n.admin_timeout_ns = 1000000000;
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, &n), 0);
	CU_ASSERT_EQUAL_FATAL(rig_queue(&r, 7, false), 0);
	fake_set(&r.fake->hold, 1);
	bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t);
	CU_ASSERT_EQUAL(bh_nvme_zone_count_sync(r.q, r.ns, 0, &count), -EBUSY);
	while (!fake_get(&r.fake->ios))
		sched_yield();
	fake_release(r.fake);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
	/* One that is not answered is left behind, and freed when it is. */
	fake_set(&r.fake->hold, 1);
	CU_ASSERT_EQUAL(bh_nvme_zone_count_sync(r.q, r.ns, 0, &count), -ETIMEDOUT);
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r.q), 1);
	fake_release(r.fake);
	for (unsigned int i = 0; i < 500 && bh_nvme_queue_outstanding(r.q); i++)
		rig_poll_ms(&r, 10, true);
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r.q), 0);
	CU_ASSERT_EQUAL(bh_nvme_zone_count_sync(r.q, r.ns, 0, &count), 0);
	CU_ASSERT_EQUAL(count, ZONES);
	fake_lose(r.fake);
	CU_ASSERT_EQUAL(bh_nvme_zone_count_sync(r.q, r.ns, 0, &count), -ENODEV);
	rig_close(&r);
}

static void zones_outlive_a_reset(void)
{
	struct fake_opts o;
	struct bh_nvme_zns z;
	uint64_t count;
	struct rig r;

	zoned(&o);
	rig_start(&r, &o, 15);
	CU_ASSERT_EQUAL(manage(&r, BH_NVME_ZONE_ACTION_FINISH, 4), 0);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	while (r.events[BH_NVME_EVENT_RESET_DONE] == 0) {
		bh_nvme_queue_poll(r.q, 0);
		bh_nvme_poll(r.nvme);
	}
	CU_ASSERT_EQUAL(bh_nvme_ns_zns(r.ns, &z), 0);
	CU_ASSERT_EQUAL(bh_nvme_zone_count_sync(r.q, r.ns, BH_NVME_ZONE_REPORT_FILTER_FULL, &count),
			0);
	CU_ASSERT_EQUAL(count, 1);
	rig_close(&r);
}

/* ---- lent queues ---- */

static void a_lent_queue_appends(void)
{
	struct bh_nvme_queue_desc desc, bad;
	struct placed p = { 0 };
	struct bh_nvme_queue *lent, *q;
	struct fake_opts o;
	uint64_t count;
	struct rig r;
	int fds[3];

#ifdef __SANITIZE_THREAD__
	unit_skip("ThreadSanitizer cannot see through two mappings of one file");
#endif
	zoned(&o);
	rig_start(&r, &o, 15);
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL_FATAL(bh_nvme_queue_describe(r.q, &bad, fds), 0);
		bad.ns[0].zone_blocks = i == 0 ? 0 : i == 1 ? FAKE_BLOCKS + 1 : ZONE;
		bad.ns[0].append_blocks = i == 2 ? 1u << 20 : 1;
		CU_ASSERT_EQUAL(bh_nvme_queue_open(&bad, fds, bh_device_iova_map(&r.fake->dev),
						   NULL, NULL, &q),
				-EINVAL);
	}
	CU_ASSERT_EQUAL_FATAL(bh_nvme_queue_describe(r.q, &desc, fds), 0);
	CU_ASSERT_EQUAL_FATAL(
		bh_nvme_queue_open(&desc, fds, bh_device_iova_map(&r.fake->dev), NULL, NULL, &q),
		0);
	lent = r.q;
	r.q = q;
	p.ns = bh_nvme_queue_ns(q, 1);
	CU_ASSERT_EQUAL(bh_nvme_ns_csi(p.ns), BH_NVME_CSI_ZNS);
	CU_ASSERT_EQUAL(bh_nvme_zone_append_max(p.ns), 16);
	CU_ASSERT_EQUAL(bh_nvme_zone_append(q, p.ns, r.buf, 0, 3, 0, placed_done, &p), 0);
	CU_ASSERT_EQUAL(bh_nvme_zone_append(q, p.ns, r.buf, 0, 3, 0, placed_done, &p), 0);
	CU_ASSERT_TRUE(wait_placed(&r, &p, 2));
	CU_ASSERT_EQUAL(p.errors, 0);
	CU_ASSERT_EQUAL(p.lba[1], 3);
	CU_ASSERT_EQUAL(bh_nvme_zone_count_sync(q, p.ns, 0, &count), -EOPNOTSUPP);
	bh_nvme_queue_close(q);
	r.q = lent;
	rig_close(&r);
}

BH_SUITE("nvme_zns", { "a_zoned_namespace_is_recognised", a_zoned_namespace_is_recognised },
	 { "a_controller_of_one_command_set_is_asked_for_one",
	   a_controller_of_one_command_set_is_asked_for_one },
	 { "an_unknown_command_set_is_listed_but_not_served",
	   an_unknown_command_set_is_listed_but_not_served },
	 { "the_best_combination_is_chosen", the_best_combination_is_chosen },
	 { "descriptors_that_do_not_say_mean_nvm", descriptors_that_do_not_say_mean_nvm },
	 { "zones_that_cannot_be_are_not_served", zones_that_cannot_be_are_not_served },
	 { "zones_with_metadata_are_not_served", zones_with_metadata_are_not_served },
	 { "limits_that_are_none_are_none", limits_that_are_none_are_none },
	 { "appends_say_where_the_data_went", appends_say_where_the_data_went },
	 { "scattered_appends_are_one_command", scattered_appends_are_one_command },
	 { "appends_beyond_the_limit_are_refused", appends_beyond_the_limit_are_refused },
	 { "reaped_appends_say_it_too", reaped_appends_say_it_too },
	 { "reads_are_split_at_borders_only_where_they_have_to_be",
	   reads_are_split_at_borders_only_where_they_have_to_be },
	 { "large_writes_go_one_by_one", large_writes_go_one_by_one },
	 { "writes_over_a_border_are_the_controllers_to_refuse",
	   writes_over_a_border_are_the_controllers_to_refuse },
	 { "zones_are_managed", zones_are_managed },
	 { "extensions_come_back_in_extended_reports", extensions_come_back_in_extended_reports },
	 { "reports_come_in_pieces_and_by_state", reports_come_in_pieces_and_by_state },
	 { "reports_that_lie_are_refused", reports_that_lie_are_refused },
	 { "reports_are_asked_for_properly", reports_are_asked_for_properly },
	 { "waiting_wants_an_idle_queue", waiting_wants_an_idle_queue },
	 { "zones_outlive_a_reset", zones_outlive_a_reset },
	 { "a_lent_queue_appends", a_lent_queue_appends }, )

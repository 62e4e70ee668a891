/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Persistent Event log: what is recorded, how it is read, and that it is there again after the
 * power was off, whatever has become of the file.
 */
#include "target_nvme/control_rig.h"

#include <fcntl.h>
#include <stdio.h>

#include "target/nvme/control.h"
#include "target/nvme/pel.h"
#include "target/nvme/subsys.h"

#define MIB (1u << 20)
#define SLOTS 256u
#define SLOT_BYTES 640u
#define ACTION(n) ((uint32_t)(n) << BH_NVME_GLP_LSP_SHIFT)
#define MOST (192u << 10)

static char path[64];
static struct bh_blk *pool;
static struct bh_target_subsys *subsys;
static char logged[256];

static void note(void *ctx, enum bh_log_level level, const char *component, const char *text)
{
	(void)ctx;
	(void)component;
	if (level <= BH_LOG_WARN)
		snprintf(logged, sizeof(logged), "%s", text);
}

static const struct bh_log notes = { .write = note, .level = BH_LOG_WARN };

static int power_on(void)
{
	struct bh_target_subsys_opts so;

	bh_target_subsys_opts_init(&so);
	so.nqn = "nqn.2026-01.io.x:events";
	so.control = rig.control;
	so.pool = pool;
	so.state = path;
	so.log = &notes;
	logged[0] = '\0';
	return bh_target_subsys_create(&so, &subsys) || rig_open_in(subsys) ? -1 : 0;
}

static int power_off(void)
{
	int rc;

	bh_target_nvme_free(rig.ctrl);
	rig.ctrl = NULL;
	rc = bh_target_subsys_destroy(subsys);
	subsys = NULL;
	return rc;
}

static int setup(void)
{
	const struct bh_blk_spec spec = { .arg = "", .bytes = 8 * MIB, .block_size = 512 };
	char why[256];
	int fd;

	snprintf(path, sizeof(path), "/tmp/bh-events-XXXXXX");
	fd = mkstemp(path);
	if (fd < 0 || rig_init())
		return -1;
	close(fd);
	if (bh_blk_ram_type.create(&spec, "ram:pool", NULL, why, &pool))
		return -1;
	return power_on();
}

static int teardown(void)
{
	int rc = power_off();

	unlink(path);
	bh_blk_put(pool);
	bh_reactor_destroy(rig.control);
	munmap(rig.mem, RIG_BYTES);
	close(rig.fd);
	return rc || rig.misuse;
}

static uint16_t read_log(unsigned int action, uint32_t bytes, uint64_t offset)
{
	return rig_log_page(BH_NVME_LOG_PERSISTENT_EVENT, ACTION(action), bytes, offset);
}

static uint16_t release(void)
{
	return read_log(BH_NVME_PEL_RELEASE, 4, 0);
}

/* The page in a context of its own: the header, with as many events as it says, each whole. */
static const struct bh_nvme_pel *whole_page(void)
{
	const struct bh_nvme_pel *head = rig_data();
	const uint8_t *at = (const uint8_t *)(head + 1);
	uint32_t i;

	memset(rig_data(), 0, MOST);
	CU_ASSERT_EQUAL(release(), 0);
	CU_ASSERT_EQUAL_FATAL(read_log(BH_NVME_PEL_ESTABLISH, MOST, 0), 0);
	for (i = 0; i < head->tnev; i++) {
		struct bh_nvme_pel_event event;

		memcpy(&event, at, sizeof(event));
		CU_ASSERT_EQUAL(event.ehl + 3, sizeof(event));
		CU_ASSERT_EQUAL(event.rev, 1);
		CU_ASSERT_TRUE(head->seb[event.type / 8] & 1u << event.type % 8);
		at += sizeof(event) + event.el;
	}
	CU_ASSERT_EQUAL((uint64_t)(at - (const uint8_t *)head), head->tll);
	return head;
}

/* The data of the n-th event of a type, the newest being 0; NULL: there are fewer. */
static const void *event_of(const struct bh_nvme_pel *head, uint8_t type, unsigned int n)
{
	const uint8_t *at = (const uint8_t *)(head + 1);
	uint32_t i;

	for (i = 0; i < head->tnev; i++) {
		struct bh_nvme_pel_event event;

		memcpy(&event, at, sizeof(event));
		if (event.type == type && !n--)
			return at + sizeof(event);
		at += sizeof(event) + event.el;
	}
	return NULL;
}

static void set_feature(uint8_t fid, uint32_t value)
{
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_SET_FEATURES, 0, fid, value, NULL), 0);
}

static void what_is_said(void)
{
	const struct bh_nvme_id_ctrl *id = rig_data();
	const struct bh_nvme_pel *head;

	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_IDENTIFY, 0, BH_NVME_CNS_CTRL, 0, NULL), 0);
	CU_ASSERT_TRUE(id->lpa & BH_NVME_LPA_PERSISTENT_EVENT);
	CU_ASSERT_EQUAL(id->pels << 16, MOST);
	head = whole_page();
	CU_ASSERT_EQUAL(head->lid, BH_NVME_LOG_PERSISTENT_EVENT);
	CU_ASSERT_EQUAL(head->lhl + 20u, sizeof(*head));
	CU_ASSERT_EQUAL(head->vid, BH_TARGET_NVME_PCI_VENDOR);
	CU_ASSERT_STRING_EQUAL(head->subnqn, "nqn.2026-01.io.x:events");
	CU_ASSERT_EQUAL(head->tnev, 2);
	CU_ASSERT_PTR_NOT_NULL(event_of(head, BH_NVME_PEL_RESET, 0));
	CU_ASSERT_PTR_NOT_NULL(event_of(head, BH_NVME_PEL_SMART, 0));
}

/* Only what is set to something else. */
static void features_that_change(void)
{
	const struct bh_nvme_pel_set_feature *event;
	const struct bh_nvme_pel *head;

	set_feature(BH_NVME_FEAT_TEMPERATURE_THRESHOLD, 350);
	set_feature(BH_NVME_FEAT_TEMPERATURE_THRESHOLD, 350);
	set_feature(BH_NVME_FEAT_ARBITRATION, 3);
	head = whole_page();
	event = event_of(head, BH_NVME_PEL_SET_FEATURE, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(event);
	CU_ASSERT_EQUAL(event->layout & 7, 2);
	CU_ASSERT_EQUAL(event->cdw[0], BH_NVME_FEAT_ARBITRATION);
	CU_ASSERT_EQUAL(event->cdw[1], 3);
	event = event_of(head, BH_NVME_PEL_SET_FEATURE, 1);
	CU_ASSERT_PTR_NOT_NULL_FATAL(event);
	CU_ASSERT_EQUAL(event->cdw[0], BH_NVME_FEAT_TEMPERATURE_THRESHOLD);
	CU_ASSERT_PTR_NULL(event_of(head, BH_NVME_PEL_SET_FEATURE, 2));
}

static void clocks_that_are_set(void)
{
	struct bh_nvme_timestamp ts = { .ms = { 0, 0, 0, 0, 1 } };
	struct bh_nvme_pel_event event;
	const struct bh_nvme_pel *head;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		memcpy(rig_data(), &ts, sizeof(ts));
		set_feature(BH_NVME_FEAT_TIMESTAMP, 0);
	}
	head = whole_page();
	CU_ASSERT_PTR_NULL(event_of(head, BH_NVME_PEL_SET_FEATURE, 0));
	/* Before the second time it was what the first had set; the event has what it is then. */
	CU_ASSERT_EQUAL(((const uint8_t *)event_of(head, BH_NVME_PEL_TIMESTAMP, 0))[4], 1);
	CU_ASSERT_EQUAL(((const uint8_t *)event_of(head, BH_NVME_PEL_TIMESTAMP, 1))[4], 0);
	memcpy(&event, head + 1, sizeof(event));
	CU_ASSERT_EQUAL(event.type, BH_NVME_PEL_TIMESTAMP);
	CU_ASSERT_EQUAL(event.cntlid, rig.ctrl->cntlid);
	CU_ASSERT_EQUAL(event.ts[2] & 0xff, 1);
}

static void namespaces_of_hosts(void)
{
	const struct bh_nvme_pel_change_ns *event;
	struct bh_nvme_id_ns *id = rig_data();
	const struct bh_nvme_pel *head;
	uint32_t nsid = 0;

	memset(id, 0, sizeof(*id));
	id->nsze = id->ncap = 2048;
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_NS_MANAGEMENT, 0, BH_NVME_NS_MGMT_CREATE, 0, &nsid),
			0);
	CU_ASSERT_EQUAL(
		rig_admin(BH_NVME_ADMIN_NS_MANAGEMENT, nsid, BH_NVME_NS_MGMT_DELETE, 0, NULL), 0);
	head = whole_page();
	event = event_of(head, BH_NVME_PEL_CHANGE_NS, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(event);
	CU_ASSERT_EQUAL(event->cdw10, BH_NVME_NS_MGMT_DELETE);
	CU_ASSERT_EQUAL(event->nsid, nsid);
	event = event_of(head, BH_NVME_PEL_CHANGE_NS, 1);
	CU_ASSERT_PTR_NOT_NULL_FATAL(event);
	CU_ASSERT_EQUAL(event->cdw10, BH_NVME_NS_MGMT_CREATE);
	CU_ASSERT_EQUAL(event->nsze, 2048);
	CU_ASSERT_EQUAL(event->nsid, nsid);
}

static void formats(void)
{
	const struct bh_nvme_pel_format_start *start;
	const struct bh_nvme_pel_format_end *end;
	const struct bh_nvme_pel *head;

	CU_ASSERT_EQUAL_FATAL(rig_attach(1, 1 << 20, 512), 1);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_FORMAT_NVM, 1, 0, 0, NULL), 0);
	head = whole_page();
	start = event_of(head, BH_NVME_PEL_FORMAT_START, 0);
	end = event_of(head, BH_NVME_PEL_FORMAT_END, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(start);
	CU_ASSERT_PTR_NOT_NULL_FATAL(end);
	CU_ASSERT_EQUAL(start->nsid, 1);
	CU_ASSERT_EQUAL(end->nsid, 1);
	CU_ASSERT_EQUAL(end->status, 0);
	CU_ASSERT_TRUE((const uint8_t *)end < (const uint8_t *)start);
}

/* A context is the page as it was; there is one of a controller, until it is released or reset. */
static void contexts(void)
{
	const struct bh_nvme_pel *head = rig_data();
	uint32_t rci;

	CU_ASSERT_EQUAL(release(), 0);
	CU_ASSERT_EQUAL(read_log(BH_NVME_PEL_READ, 512, 0), BH_NVME_SC_COMMAND_SEQUENCE_ERROR);
	CU_ASSERT_EQUAL(read_log(BH_NVME_PEL_ESTABLISH, 512, 0), 0);
	CU_ASSERT_EQUAL(head->tnev, 2);
	memcpy(&rci, head->rci, sizeof(rci));
	CU_ASSERT_EQUAL(rci, 0);
	CU_ASSERT_EQUAL(read_log(BH_NVME_PEL_ESTABLISH, 512, 0), BH_NVME_SC_COMMAND_SEQUENCE_ERROR);
	set_feature(BH_NVME_FEAT_ARBITRATION, 3);
	CU_ASSERT_EQUAL(read_log(BH_NVME_PEL_READ, 512, 0), 0);
	CU_ASSERT_EQUAL(head->tnev, 2);
	memcpy(&rci, head->rci, sizeof(rci));
	CU_ASSERT_EQUAL(rci, 1u << 18 | 1u << 16 | rig.ctrl->cntlid);
	CU_ASSERT_EQUAL(read_log(BH_NVME_PEL_READ, 4, head->tll), 0);
	CU_ASSERT_EQUAL(read_log(BH_NVME_PEL_READ, 4, head->tll + 4), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(read_log(3, 512, 0), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(release(), 0);
	CU_ASSERT_EQUAL(read_log(BH_NVME_PEL_ESTABLISH, 512, 0), 0);
	CU_ASSERT_EQUAL(head->tnev, 3);
	rig_disable();
	rig_enable(16, 16);
	CU_ASSERT_EQUAL(read_log(BH_NVME_PEL_READ, 512, 0), BH_NVME_SC_COMMAND_SEQUENCE_ERROR);
}

/* In one command or in pieces, both longer than an admin command's own buffer. */
static void long_reads(void)
{
	static uint8_t whole[MOST];
	const struct bh_nvme_pel *head = rig_data();
	uint64_t at, len;
	unsigned int i;

	for (i = 0; i < 30; i++)
		tn_pel_add(rig.ctrl, BH_NVME_PEL_SMART, whole, 512);
	len = whole_page()->tll;
	CU_ASSERT_TRUE_FATAL(len > 16384);
	CU_ASSERT_EQUAL(read_log(BH_NVME_PEL_READ, MOST, 0), 0);
	memcpy(whole, head, len);
	for (at = 0; at < len; at += 8192) {
		size_t here = len - at < 8192 ? len - at : 8192;

		CU_ASSERT_EQUAL(read_log(BH_NVME_PEL_READ, 8192, at), 0);
		CU_ASSERT_EQUAL(memcmp(rig_data(), whole + at, here), 0);
	}
}

static void the_oldest_go_first(void)
{
	struct bh_nvme_pel_timestamp event = { 0 };
	const struct bh_nvme_pel *head;
	unsigned int i;

	for (i = 0; i < SLOTS + 10; i++) {
		event.since_reset_ms = i;
		tn_pel_add(rig.ctrl, BH_NVME_PEL_TIMESTAMP, &event, sizeof(event));
	}
	head = whole_page();
	CU_ASSERT_EQUAL(head->tnev, SLOTS);
	memcpy(&event, event_of(head, BH_NVME_PEL_TIMESTAMP, 0), sizeof(event));
	CU_ASSERT_EQUAL(event.since_reset_ms, SLOTS + 9);
	memcpy(&event, event_of(head, BH_NVME_PEL_TIMESTAMP, SLOTS - 1), sizeof(event));
	CU_ASSERT_EQUAL(event.since_reset_ms, 10);
}

static void power_comes_back(void)
{
	const struct bh_nvme_pel *head;

	set_feature(BH_NVME_FEAT_ARBITRATION, 3);
	CU_ASSERT_EQUAL(power_off(), 0);
	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	CU_ASSERT_EQUAL(logged[0], '\0');
	head = whole_page();
	CU_ASSERT_EQUAL(head->tnev, 5);
	CU_ASSERT_PTR_NOT_NULL(event_of(head, BH_NVME_PEL_SET_FEATURE, 0));
	CU_ASSERT_PTR_NOT_NULL(event_of(head, BH_NVME_PEL_RESET, 1));
}

static void spoil(off_t at, size_t len)
{
	static const uint8_t junk[4096] = { 1, 2, 3, 4, 5 };
	int fd = open(path, O_WRONLY);

	CU_ASSERT_EQUAL(pwrite(fd, junk, len, at), (ssize_t)len);
	close(fd);
}

/* Events 1 and 2 are there, of which one is torn; then whole slots of something else. */
static void damage_is_dropped_and_said(void)
{
	CU_ASSERT_EQUAL(power_off(), 0);
	spoil(TN_STATE_BYTES + SLOT_BYTES + 40, 5);
	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(logged, "1 persistent events are damaged"));
	CU_ASSERT_EQUAL(whole_page()->tnev, 3);
	CU_ASSERT_EQUAL(power_off(), 0);
	spoil(TN_STATE_BYTES, 4096);
	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(logged, "persistent events are damaged"));
	CU_ASSERT_EQUAL(whole_page()->tnev, 2);
	/* A file that ends in the middle of an event. */
	CU_ASSERT_EQUAL(power_off(), 0);
	CU_ASSERT_EQUAL(truncate(path, TN_STATE_BYTES + 5 * SLOT_BYTES + 100), 0);
	CU_ASSERT_EQUAL_FATAL(power_on(), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(logged, "1 persistent events are damaged"));
}

BH_SUITE_FIXTURE("target_nvme_pel", setup, teardown, { "what_is_said", what_is_said },
		 { "features_that_change", features_that_change },
		 { "clocks_that_are_set", clocks_that_are_set },
		 { "namespaces_of_hosts", namespaces_of_hosts }, { "formats", formats },
		 { "contexts", contexts }, { "long_reads", long_reads },
		 { "the_oldest_go_first", the_oldest_go_first },
		 { "power_comes_back", power_comes_back },
		 { "damage_is_dropped_and_said", damage_is_dropped_and_said }, )

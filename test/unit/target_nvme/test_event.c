/* SPDX-License-Identifier: BSD-3-Clause */
#include "target_nvme/control_rig.h"

#define NS_CHANGED                                                                \
	(BH_NVME_LOG_CHANGED_NS << 16 | BH_NVME_AER_NOTICE_NS_ATTR_CHANGED << 8 | \
	 BH_NVME_AER_TYPE_NOTICE)
#define BAD_DOORBELL                                                               \
	(BH_NVME_LOG_ERROR << 16 | BH_NVME_AER_ERROR_INVALID_DOORBELL_VALUE << 8 | \
	 BH_NVME_AER_TYPE_ERROR)
#define TOO_HOT \
	(BH_NVME_LOG_SMART << 16 | BH_NVME_AER_SMART_TEMPERATURE << 8 | BH_NVME_AER_TYPE_SMART)

static int setup(void)
{
	if (rig_setup())
		return -1;
	rig_enable(32, 32);
	return 0;
}

static void configure(uint32_t bits)
{
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_SET_FEATURES, 0, BH_NVME_FEAT_ASYNC_EVENT_CONFIG,
				  bits, NULL),
			0);
}

static void error_event(void)
{
	tn_event_raise(rig.ctrl, BH_NVME_AER_TYPE_ERROR, BH_NVME_AER_ERROR_INVALID_DOORBELL_VALUE,
		       BH_NVME_LOG_ERROR);
	rig_pump();
}

/* Is an event reported now? */
static bool told(uint32_t *cdw0)
{
	struct bh_nvme_cpl cpl;

	if (!rig_reap(&cpl))
		return false;
	CU_ASSERT_EQUAL(cpl.status >> 1, 0);
	*cdw0 = cpl.cdw0;
	return true;
}

static void limit(void)
{
	struct bh_nvme_cpl cpl;
	uint16_t cid;
	unsigned int i;

	for (i = 0; i < 4; i++)
		rig_post_aer();
	CU_ASSERT_FALSE(rig_reap(&cpl));
	cid = rig_post_aer();
	CU_ASSERT_TRUE_FATAL(rig_reap(&cpl));
	CU_ASSERT_EQUAL(cpl.cid, cid);
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl),
			BH_NVME_SC_ASYNC_EVENT_LIMIT_EXCEEDED | BH_NVME_STATUS_DNR);
}

/* One event of a type until its log page is read; Retain keeps it masked. */
static void masked_until_read(void)
{
	uint32_t cdw0;

	rig_post_aer();
	rig_post_aer();
	error_event();
	CU_ASSERT_TRUE_FATAL(told(&cdw0));
	CU_ASSERT_EQUAL(cdw0, BAD_DOORBELL);
	error_event();
	CU_ASSERT_FALSE(told(&cdw0));
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_ERROR, BH_NVME_GLP_RAE, 64, 0), 0);
	CU_ASSERT_FALSE(told(&cdw0));
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_SMART, 0, 64, 0), 0); /* another page */
	CU_ASSERT_FALSE(told(&cdw0));
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_ERROR, 0, 64, 0),
			0); /* tells of the second event as well */
	CU_ASSERT_FALSE(told(&cdw0));
	error_event();
	CU_ASSERT_TRUE(told(&cdw0));
}

static void waits_for_a_request(void)
{
	uint32_t cdw0;

	error_event();
	error_event();
	rig_post_aer();
	CU_ASSERT_TRUE_FATAL(told(&cdw0));
	CU_ASSERT_EQUAL(cdw0, BAD_DOORBELL);
	rig_post_aer();
	CU_ASSERT_FALSE(told(&cdw0));
}

static void types_mask_each_for_itself(void)
{
	uint32_t cdw0;

	configure(BH_NVME_OAES_NS_ATTR);
	rig_post_aer();
	rig_post_aer();
	error_event();
	CU_ASSERT_TRUE(told(&cdw0));
	rig_attach(1, 1 << 20, 512);
	rig_pump();
	CU_ASSERT_TRUE_FATAL(told(&cdw0));
	CU_ASSERT_EQUAL(cdw0, NS_CHANGED);
}

static void changed_namespaces(void)
{
	const struct bh_nvme_ns_list *list = rig_data();
	struct bh_blk *blk = rig_store(1 << 20, 512);
	bool is_gone = false;
	uint32_t cdw0;

	configure(BH_NVME_OAES_NS_ATTR);
	rig_post_aer();
	CU_ASSERT_EQUAL(bh_target_nvme_ns_attach(rig.ctrl, blk, 9), 9);
	CU_ASSERT_EQUAL(rig_attach(4, 1 << 20, 512), 4);
	rig_pump();
	CU_ASSERT_TRUE(told(&cdw0));
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_CHANGED_NS, BH_NVME_GLP_RAE, 4096, 0), 0);
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_CHANGED_NS, 0, 4096, 0), 0);
	CU_ASSERT_EQUAL(list->nsid[0], 4);
	CU_ASSERT_EQUAL(list->nsid[1], 9);
	CU_ASSERT_EQUAL(list->nsid[2], 0);
	rig_post_aer();
	bh_blk_resized(blk, 4096);
	bh_blk_resized(blk, 8192);
	rig_pump();
	CU_ASSERT_TRUE(told(&cdw0));
	CU_ASSERT_EQUAL(rig.resizes, 1);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_IDENTIFY, 9, BH_NVME_CNS_NS, 0, NULL), 0);
	CU_ASSERT_EQUAL(((const struct bh_nvme_id_ns *)rig_data())->nsze, 8192);
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_CHANGED_NS, 0, 4096, 0), 0);
	CU_ASSERT_EQUAL(list->nsid[0], 9);
	CU_ASSERT_EQUAL(list->nsid[1], 0);
	/* a size on its way when the namespace goes */
	bh_blk_resized(blk, 100);
	CU_ASSERT_EQUAL(bh_target_nvme_ns_detach(rig.ctrl, 9, NULL, NULL), 0);
	CU_ASSERT_EQUAL(bh_target_nvme_ns_detach(rig.ctrl, 9, NULL, &is_gone), -ENOENT);
	rig_pump();
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_CHANGED_NS, 0, 4096, 0), 0);
	CU_ASSERT_EQUAL(list->nsid[0], 9);
	bh_blk_put(blk);
}

/* A changed namespace list that could not be delivered is not lost. */
static void list_survives_a_failed_read(void)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_GET_LOG_PAGE,
				   .cdw10 = BH_NVME_LOG_CHANGED_NS | 1023u << 16 };
	struct bh_nvme_cpl cpl;

	rig_attach(200, 1 << 20, 512);
	cmd.dptr.prp.prp1 = 0x3000;
	rig_submit_quietly(&cmd);
	rig_ring();
	CU_ASSERT_TRUE_FATAL(rig_reap(&cpl));
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), BH_NVME_SC_DATA_TRANSFER_ERROR);
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_CHANGED_NS, 0, 4096, 0), 0);
	CU_ASSERT_EQUAL(((const struct bh_nvme_ns_list *)rig_data())->nsid[0], 200);
}

static void disabled_notices_are_silent(void)
{
	uint32_t cdw0;

	rig_post_aer();
	rig_attach(1, 1 << 20, 512);
	rig_pump();
	CU_ASSERT_FALSE(told(&cdw0));
	configure(BH_NVME_OAES_NS_ATTR);
	CU_ASSERT_FALSE(told(&cdw0));
	CU_ASSERT_EQUAL(bh_target_nvme_ns_detach(rig.ctrl, 1, NULL, NULL), 0);
	rig_pump();
	CU_ASSERT_TRUE(told(&cdw0));
	CU_ASSERT_EQUAL(cdw0, NS_CHANGED);
}

static void temperature(void)
{
	uint32_t cdw0;

	rig_post_aer();
	rig_admin(BH_NVME_ADMIN_SET_FEATURES, 0, BH_NVME_FEAT_TEMPERATURE_THRESHOLD, 300, NULL);
	CU_ASSERT_FALSE(told(&cdw0));
	configure(BH_NVME_SMART_TEMPERATURE);
	rig_pump();
	CU_ASSERT_TRUE_FATAL(told(&cdw0));
	CU_ASSERT_EQUAL(cdw0, TOO_HOT);
}

static void reset_forgets_events(void)
{
	uint32_t cdw0;

	error_event();
	rig_attach(1, 1 << 20, 512);
	rig_disable();
	rig_enable(32, 32);
	rig_post_aer();
	CU_ASSERT_FALSE(told(&cdw0));
	error_event(); /* and masks */
	CU_ASSERT_TRUE(told(&cdw0));
	CU_ASSERT_EQUAL(rig_log_page(BH_NVME_LOG_CHANGED_NS, 0, 4096, 0), 0);
	CU_ASSERT_EQUAL(((const struct bh_nvme_ns_list *)rig_data())->nsid[0], 0);
}

static void store_without_a_channel(void)
{
	rig.ns_error = -ENOMEM;
	CU_ASSERT_EQUAL(rig_attach(1, 1 << 20, 512), -ENOMEM);
	rig.ns_error = 0;
	CU_ASSERT_EQUAL(rig_attach(1, 1 << 20, 512), 1);
}

static int attach_cached(uint32_t nsid)
{
	struct bh_blk *blk = rig_store(1 << 20, 512);

	blk->info.caps |= BH_BLK_CAP_FLUSH;
	int rc = bh_target_nvme_ns_attach(rig.ctrl, blk, nsid);
	bh_blk_put(blk);
	return rc;
}

/* The cache of a store that comes to a host which was told of none is off until the reset. */
static void unknown_write_cache_is_off(void)
{
	CU_ASSERT_EQUAL(rig.ctrl->features.write_cache, 1);
	CU_ASSERT_EQUAL(rig_attach(1, 1 << 20, 512), 1);
	CU_ASSERT_EQUAL(rig.ctrl->features.write_cache, 1);
	CU_ASSERT_EQUAL(attach_cached(2), 2);
	CU_ASSERT_EQUAL(rig.ctrl->features.write_cache, 0);
	rig_disable();
	rig_enable(32, 32);
	CU_ASSERT_EQUAL(rig.ctrl->features.write_cache, 1);
	/* Now it knows of one. */
	CU_ASSERT_EQUAL(attach_cached(3), 3);
	CU_ASSERT_EQUAL(rig.ctrl->features.write_cache, 1);
	/* And nobody has been told of anything while the controller is off. */
	CU_ASSERT_EQUAL(bh_target_nvme_ns_detach(rig.ctrl, 2, NULL, NULL), 0);
	CU_ASSERT_EQUAL(bh_target_nvme_ns_detach(rig.ctrl, 3, NULL, NULL), 0);
	rig_disable();
	CU_ASSERT_EQUAL(attach_cached(2), 2);
	CU_ASSERT_EQUAL(rig.ctrl->features.write_cache, 1);
}

static void take_error(void *arg, int error)
{
	*(int *)arg = error;
}

static void additions_are_answered(void)
{
	struct bh_target_nvme_ns_info info;
	struct bh_blk *blk = rig_store(1 << 20, 4096);
	int error = 1;

	rig.ns_error = -EMFILE;
	CU_ASSERT_EQUAL(bh_target_nvme_ns_add(rig.ctrl, blk, 5, take_error, &error), -EMFILE);
	CU_ASSERT_EQUAL(error, 1);
	CU_ASSERT_EQUAL(bh_target_nvme_ns_info(rig.ctrl, 5, &info), -ENOENT);
	rig.ns_error = 0;
	CU_ASSERT_EQUAL(bh_target_nvme_ns_add(rig.ctrl, blk, 5, take_error, &error), 5);
	CU_ASSERT_EQUAL(error, 0);
	CU_ASSERT_EQUAL(bh_target_nvme_ns_info(rig.ctrl, 5, &info), 0);
	CU_ASSERT(info.is_active && info.blocks == 256 && info.block_size == 4096);
	CU_ASSERT_EQUAL(bh_target_nvme_ns_info(rig.ctrl, 0, &info), -ENOENT);
	CU_ASSERT_EQUAL(bh_target_nvme_ns_info(rig.ctrl, 257, &info), -ENOENT);
	bh_blk_put(blk);
}

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

/* Destroyed with namespaces, a client and an event under way. */
static void destroy_in_order(void)
{
	struct bh_target_nvme_opts opts = rig_opts();
	bool is_done = false;

	rig_attach(1, 1 << 20, 512);
	rig_attach(2, 1 << 20, 512);
	rig_post_aer();
	rig.hold_gate = true;
	bh_target_nvme_destroy(rig.ctrl, set_flag, &is_done);
	rig_pump();
	CU_ASSERT_FALSE(is_done);
	tn_event_raise(rig.ctrl, BH_NVME_AER_TYPE_ERROR, 0, BH_NVME_LOG_ERROR);
	rig_gate_closes();
	rig_pump();
	CU_ASSERT_TRUE(is_done);
	CU_ASSERT_EQUAL(rig.namespaces, 0);
	CU_ASSERT_PTR_NULL(rig.server);
	rig.hold_gate = false;
	CU_ASSERT_EQUAL(rig_open(&opts, BH_CMEM_MAPPED), 0);
}

BH_SUITE_FIXTURE("target_nvme_event", setup, rig_teardown, { "limit", limit },
		 { "masked_until_read", masked_until_read },
		 { "waits_for_a_request", waits_for_a_request },
		 { "types_mask_each_for_itself", types_mask_each_for_itself },
		 { "changed_namespaces", changed_namespaces },
		 { "list_survives_a_failed_read", list_survives_a_failed_read },
		 { "disabled_notices_are_silent", disabled_notices_are_silent },
		 { "temperature", temperature }, { "reset_forgets_events", reset_forgets_events },
		 { "store_without_a_channel", store_without_a_channel },
		 { "unknown_write_cache_is_off", unknown_write_cache_is_off },
		 { "additions_are_answered", additions_are_answered },
		 { "destroy_in_order", destroy_in_order }, )

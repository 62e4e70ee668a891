/* SPDX-License-Identifier: BSD-3-Clause */
/* Attaching, what the controller says of itself, admin commands, events. */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "rig.h"

static void attach_and_describe(void)
{
	struct fake_opts o;
	struct rig r;
	uint8_t uuid[16], want[16];
	struct bh_nvme_ns *ns;

	fake_opts_init(&o);
	o.namespaces = 3;
	o.block_shift = 12;
	rig_open(&r, &o);
	fake_set(&r.fake->ns_present, 5);
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, NULL), 0);
	CU_ASSERT_EQUAL(bh_nvme_max_queues(r.nvme), FAKE_QUEUES);
	CU_ASSERT_EQUAL(bh_nvme_max_depth(r.nvme), 256);
	CU_ASSERT_EQUAL(bh_nvme_reg_vs(r.nvme), BH_NVME_VERSION(2, 0, 0));
	CU_ASSERT_EQUAL(bh_nvme_reg_cap(r.nvme) & 0xffff, 255);
	CU_ASSERT_EQUAL(memcmp(bh_nvme_ctrl_data(r.nvme)->mn, "Fake", 4), 0);
	CU_ASSERT_STRING_EQUAL(bh_nvme_doorbell_path(r.nvme), "mapped");
	/* Bus master and memory on, the interrupt pin off. */
	CU_ASSERT_EQUAL(r.fake->config[4] | r.fake->config[5] << 8, 0x406);
	ns = bh_nvme_ns_first(r.nvme);
	CU_ASSERT_EQUAL(bh_nvme_ns_id(ns), 1);
	ns = bh_nvme_ns_next(ns);
	CU_ASSERT_EQUAL_FATAL(bh_nvme_ns_id(ns), 3);
	CU_ASSERT_EQUAL(bh_nvme_ns_block_size(ns), 4096);
	CU_ASSERT_EQUAL(bh_nvme_ns_blocks(ns), FAKE_BLOCKS);
	memset(want, 3, 16);
	bh_nvme_ns_uuid(ns, uuid);
	CU_ASSERT_EQUAL(memcmp(uuid, want, 16), 0);
	CU_ASSERT_PTR_NULL(bh_nvme_ns_next(ns));
	CU_ASSERT_PTR_NULL(bh_nvme_ns_get(r.nvme, 2));
	CU_ASSERT_EQUAL(rig_queue(&r, 255, false), 0);
	rig_close(&r);
}

static void refused_attach(uint32_t *flag, struct rig *r, uint32_t value, int want)
{
	fake_set(flag, value);
	CU_ASSERT_EQUAL(rig_attach(r, NULL), want);
	CU_ASSERT_PTR_NULL(r->nvme);
	CU_ASSERT_NOT_EQUAL(r->last_error[0], 0);
	fake_set(flag, 0);
	r->last_error[0] = 0;
}

static void attach_failures_name_their_step(void)
{
	struct rig r;

	rig_open(&r, NULL);
	refused_attach(&r.fake->fail_admin, &r, BH_NVME_ADMIN_IDENTIFY + 1, -EIO);
	refused_attach(&r.fake->fail_admin, &r, BH_NVME_ADMIN_SET_FEATURES + 1, -EIO);
	refused_attach(&r.fake->never_ready, &r, 1, -ETIMEDOUT);
	/* And it all works when the controller does. */
	pthread_mutex_lock(&r.fake->lock);
	r.fake->cc = r.fake->csts = 0;
	pthread_mutex_unlock(&r.fake->lock);
	CU_ASSERT_EQUAL(rig_attach(&r, NULL), 0);
	rig_close(&r);
}

static void attach_takes_over_an_enabled_controller(void)
{
	struct rig r;

	rig_open(&r, NULL);
	pthread_mutex_lock(&r.fake->lock);
	r.fake->cc = 1;
	r.fake->csts = 1;
	pthread_mutex_unlock(&r.fake->lock);
	CU_ASSERT_EQUAL(rig_attach(&r, NULL), 0);
	rig_close(&r);
}

static void a_lost_device_is_enodev(void)
{
	struct rig r;

	rig_open(&r, NULL);
	fake_lose(r.fake);
	CU_ASSERT_EQUAL(rig_attach(&r, NULL), -ENODEV);
	rig_close(&r);
}

static void options_are_checked(void)
{
	struct rig r;
	struct bh_nvme_opts o;
	struct bh_nvme_queue_opts q;
	struct bh_nvme_queue *queue;

	rig_open(&r, NULL);
	bh_nvme_opts_init(&o);
	o.admin_depth = 1;
	CU_ASSERT_EQUAL(rig_attach(&r, &o), -EINVAL);
	bh_nvme_opts_init(&o);
	o.size = 8;
	CU_ASSERT_EQUAL(rig_attach(&r, &o), -EINVAL);
	bh_nvme_opts_init(&o);
	o.async_events = 9;
	CU_ASSERT_EQUAL(rig_attach(&r, &o), -EINVAL);
	bh_nvme_opts_init(&o);
	o.admin_depth = 2;
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, &o), 0);
	bh_nvme_queue_opts_init(&q);
	q.depth = 256;
	CU_ASSERT_EQUAL(bh_nvme_queue_create(r.nvme, &q, &queue), -EINVAL);
	q.depth = 1;
	q.interrupt = true;
	CU_ASSERT_EQUAL(bh_nvme_queue_create(r.nvme, &q, &queue), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_nvme_queue_create(r.nvme, NULL, &r.q), 0);
	CU_ASSERT_EQUAL(bh_nvme_queue_depth(r.q), 127);
	CU_ASSERT_EQUAL(bh_nvme_queue_fd(r.q), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_nvme_queue_arm(r.q), -EOPNOTSUPP);
	rig_close(&r);
}

static void queue_ids_run_out_and_come_back(void)
{
	struct rig r;
	struct bh_nvme_queue *q[FAKE_QUEUES], *more;
	unsigned int i, round;

	rig_open(&r, NULL);
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, NULL), 0);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < FAKE_QUEUES; i++) {
			CU_ASSERT_EQUAL_FATAL(bh_nvme_queue_create(r.nvme, NULL, &q[i]), 0);
			CU_ASSERT_EQUAL(bh_nvme_queue_id(q[i]), i + 1);
		}
		CU_ASSERT_EQUAL(bh_nvme_queue_create(r.nvme, NULL, &more), -ENOSPC);
		for (i = 0; i < FAKE_QUEUES; i++)
			bh_nvme_queue_destroy(q[i]);
	}
	fake_set(&r.fake->fail_admin, BH_NVME_ADMIN_CREATE_SQ + 1);
	CU_ASSERT_EQUAL(bh_nvme_queue_create(r.nvme, NULL, &more), -EIO);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.last_error, "Create I/O Submission Queue failed"));
	fake_set(&r.fake->fail_admin, 0);
	CU_ASSERT_EQUAL(bh_nvme_queue_create(r.nvme, NULL, &r.q), 0);
	rig_close(&r);
}

/* What a deletion did not confirm is kept from the pool until the controller is off. */
static void unconfirmed_deletion_keeps_the_memory(void)
{
	struct rig r;
	size_t with_queue, before;

	rig_start(&r, NULL, 31);
	with_queue = bh_pool_free_bytes(r.pool);
	fake_set(&r.fake->fail_admin, BH_NVME_ADMIN_DELETE_SQ + 1);
	bh_nvme_queue_destroy(r.q);
	r.q = NULL;
	CU_ASSERT_EQUAL(bh_pool_free_bytes(r.pool), with_queue);
	fake_set(&r.fake->fail_admin, 0);
	before = bh_pool_free_bytes(r.pool);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	CU_ASSERT(bh_pool_free_bytes(r.pool) > before);
	rig_close(&r);
}

static void no_room_is_enomem(void)
{
	struct rig r;
	void *all[64];
	unsigned int i = 0;
	size_t size;

	rig_open(&r, NULL);
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, NULL), 0);
	for (size = 16u << 20; size >= 4096; size /= 2)
		while (i < 64 && (all[i] = bh_pool_alloc(r.pool, size, 0)))
			i++;
	CU_ASSERT_EQUAL(rig_queue(&r, 31, false), -ENOMEM);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.last_error, "no room for a queue"));
	while (i)
		bh_pool_free(r.pool, all[--i]);
	CU_ASSERT_EQUAL(rig_queue(&r, 31, false), 0);
	rig_close(&r);
}

static void admin_commands(void)
{
	struct rig r;
	struct tally t = { 0 };
	uint64_t id = 7;
	uint8_t buf[4096];
	uint32_t result = 0;
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_IDENTIFY, .cdw10 = BH_NVME_CNS_CTRL };
	unsigned int i, n = 0;

	rig_open(&r, NULL);
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, NULL), 0);
	CU_ASSERT_EQUAL(bh_nvme_set_feature(r.nvme, BH_NVME_FEAT_HOST_ID, 0, 0, &id, 8, NULL), 0);
	CU_ASSERT_EQUAL(bh_nvme_get_feature(r.nvme, BH_NVME_FEAT_HOST_ID, 0, 0, &id, 8, &result),
			0);
	CU_ASSERT_EQUAL(id, 0x5a5a5a5a5a5a5a5aull);
	CU_ASSERT_EQUAL(
		bh_nvme_get_feature(r.nvme, BH_NVME_FEAT_NUMBER_OF_QUEUES, 0, 0, NULL, 0, &result),
		0);
	CU_ASSERT_EQUAL(result, 0x70007);
	CU_ASSERT_EQUAL(bh_nvme_get_feature(r.nvme, 0xdd, 0, 0, NULL, 0, NULL),
			BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(bh_nvme_get_log(r.nvme, BH_NVME_LOG_SMART, BH_NVME_NSID_ALL, 0, buf, 512),
			0);
	CU_ASSERT_EQUAL(bh_nvme_get_log(r.nvme, 1, 0, 0, buf, 3), -EINVAL);
	CU_ASSERT_EQUAL(bh_nvme_admin_sync(r.nvme, &cmd, buf, 65536, NULL), -EMSGSIZE);
	/* Asynchronous, until the queue is full; no buffer outside the pools. */
	CU_ASSERT_EQUAL(bh_nvme_admin(r.nvme, &cmd, buf, 4096, tally_done, &t), -EFAULT);
	for (i = 0; i < 40; i++)
		n += bh_nvme_admin(r.nvme, &cmd, r.buf + i * 5000, 4096, tally_done, &t) == 0;
	CU_ASSERT(n >= 20);
	CU_ASSERT_TRUE(rig_wait(&r, &t, n));
	CU_ASSERT_EQUAL(t.errors, 0);
	rig_close(&r);
}

static void sync_again(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct rig *r = arg;
	uint8_t buf[4096];

	(void)cpl;
	/* Waiting inside a callback would wait for itself. */
	CU_ASSERT_EQUAL(bh_nvme_identify(r->nvme, BH_NVME_CNS_CTRL, 0, 0, 0, buf), -EBUSY);
	CU_ASSERT_EQUAL(bh_nvme_poll(r->nvme), -EBUSY);
	CU_ASSERT_EQUAL(bh_nvme_reset(r->nvme), -EBUSY);
	CU_ASSERT_EQUAL(rig_queue(r, 7, false), -EBUSY);
	r->events[7]++;
}

static void waiting_in_a_callback_is_ebusy(void)
{
	struct rig r;
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_IDENTIFY, .cdw10 = BH_NVME_CNS_CTRL };
	unsigned int i;

	rig_open(&r, NULL);
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, NULL), 0);
	CU_ASSERT_EQUAL(bh_nvme_admin(r.nvme, &cmd, r.buf, 4096, sync_again, &r), 0);
	for (i = 0; i < 10000000 && !r.events[7]; i++)
		bh_nvme_poll(r.nvme);
	CU_ASSERT_EQUAL(r.events[7], 1);
	rig_close(&r);
}

static void events_are_told_and_put_back(void)
{
	struct fake_opts o;
	struct rig r;
	struct bh_nvme_ns *two;
	unsigned int i;

	fake_opts_init(&o);
	o.namespaces = 2;
	rig_open(&r, &o);
	fake_set(&r.fake->ns_present, 1);
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(rig_queue(&r, 7, false), 0);
	rig_poll_ms(&r, 2, false);
	for (i = 0; i < 10; i++) {
		fake_set(&r.fake->ns_present, i & 1 ? 1 : 3);
		CU_ASSERT_TRUE(
			fake_raise(r.fake, BH_NVME_AER_TYPE_NOTICE | BH_NVME_LOG_CHANGED_NS << 16));
		while (r.events[BH_NVME_EVENT_NS_CHANGED] <= i)
			bh_nvme_poll(r.nvme);
		CU_ASSERT_EQUAL(r.event_value, 2);
		two = bh_nvme_ns_get(r.nvme, 2);
		CU_ASSERT_EQUAL(two == NULL, i & 1);
		if (two)
			r.ns = two;
		CU_ASSERT_EQUAL(bh_nvme_ns_blocks(r.ns), i & 1 ? 0 : FAKE_BLOCKS);
		rig_poll_ms(&r, 1, false);
	}
	CU_ASSERT_TRUE(
		fake_raise(r.fake, BH_NVME_AER_TYPE_SMART | 1 << 8 | BH_NVME_LOG_SMART << 16));
	while (!r.events[BH_NVME_EVENT_AER])
		bh_nvme_poll(r.nvme);
	CU_ASSERT_EQUAL(r.event_value, BH_NVME_AER_TYPE_SMART | 1 << 8 | BH_NVME_LOG_SMART << 16);
	rig_close(&r);
}

static void detach_shuts_down(void)
{
	struct rig r;
	struct bh_nvme_opts o;

	rig_start(&r, NULL, 7);
	bh_nvme_detach(r.nvme); /* with its queue */
	CU_ASSERT_EQUAL(fake_get(&r.fake->shutdowns), 1);
	r.q = NULL;
	bh_nvme_opts_init(&o);
	o.no_shutdown_notify = true;
	CU_ASSERT_EQUAL(rig_attach(&r, &o), 0);
	bh_nvme_detach(r.nvme);
	r.nvme = NULL;
	CU_ASSERT_EQUAL(fake_get(&r.fake->shutdowns), 1);
	CU_ASSERT_EQUAL(r.fake->csts, 0);
	bh_nvme_detach(NULL);
	bh_nvme_queue_destroy(NULL);
	bh_nvme_queue_close(NULL);
	rig_close(&r);
}

BH_SUITE("nvme_attach", { "attach_and_describe", attach_and_describe },
	 { "attach_failures_name_their_step", attach_failures_name_their_step },
	 { "attach_takes_over_an_enabled_controller", attach_takes_over_an_enabled_controller },
	 { "a_lost_device_is_enodev", a_lost_device_is_enodev },
	 { "options_are_checked", options_are_checked },
	 { "queue_ids_run_out_and_come_back", queue_ids_run_out_and_come_back },
	 { "unconfirmed_deletion_keeps_the_memory", unconfirmed_deletion_keeps_the_memory },
	 { "no_room_is_enomem", no_room_is_enomem }, { "admin_commands", admin_commands },
	 { "waiting_in_a_callback_is_ebusy", waiting_in_a_callback_is_ebusy },
	 { "events_are_told_and_put_back", events_are_told_and_put_back },
	 { "detach_shuts_down", detach_shuts_down }, )

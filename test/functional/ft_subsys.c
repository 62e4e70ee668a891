/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two of our drivers on two controllers of one subsystem: namespaces that one creates and both use,
 * and reservations by which they fence each other, through a restart too.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bellhop/nvme_subsys.h>

#include "ft.h"

#define BLOCKS 4096u
#define SC(rc) ((rc)&BH_NVME_STATUS_SC_MASK)
#define KEY_A 0xaaaaull
#define KEY_B 0xbbbbull

struct pair {
	struct ft_target target;
	struct ft_host host[2];
	struct bh_nvme_queue *q[2];
	uint8_t *buf[2];
};

static const uint16_t both[] = { 1, 2 };

static void start(struct pair *p, const char *state)
{
	const char *specs[6] = { NULL };
	char word[2][200]; /* each has one of its own, too */
	unsigned int n = 0, i;

	ft_target_init(&p->target);
	if (state) {
		specs[n++] = "--state";
		specs[n++] = state;
	}
	specs[n++] = "subsys:s,cap=8M";
	for (i = 0; i < 2; i++) {
		snprintf(word[i], sizeof(word[i]), "nvme:%s,subsys=s,ns=null:1M:nsid=%u%s",
			 p->target.socket[i], 9 + i, i ? ",doorbells=trapped" : "");
		specs[n++] = word[i];
	}
	ft_target_start(&p->target, ft_cpus(1, ','), specs);
	for (i = 0; i < 2; i++) {
		ft_host_open(&p->host[i], p->target.socket[i],
			     &(struct ft_host_opts){ .quiet = true });
		p->q[i] = ft_queue(&p->host[i], 31);
		p->buf[i] = ft_alloc(&p->host[i], 4096);
	}
}

static void stop(struct pair *p)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		bh_nvme_queue_destroy(p->q[i]);
		ft_host_close(&p->host[i]);
	}
	ft_target_stop(&p->target);
}

static struct bh_nvme_ns *await(struct pair *p, unsigned int i, uint32_t nsid, bool is_there)
{
	FT_UNTIL(10000, (bh_nvme_ns_get(p->host[i].nvme, nsid) != NULL) == is_there,
		 FT_CHECK(bh_nvme_poll(p->host[i].nvme) >= 0));
	return bh_nvme_ns_get(p->host[i].nvme, nsid);
}

/* The first creates it, both have it. */
static void create(struct pair *p, struct bh_nvme_ns *ns[2])
{
	uint32_t nsid = 0;
	unsigned int i;

	FT_EQUAL(bh_nvme_ns_create(p->host[0].nvme, BLOCKS, 0, true, &nsid), 0);
	FT_EQUAL(nsid, 1);
	FT_EQUAL(bh_nvme_ns_attach_to(p->host[0].nvme, nsid, both, 2), 0);
	for (i = 0; i < 2; i++)
		ns[i] = await(p, i, nsid, true);
}

static uint16_t put(struct pair *p, unsigned int i, struct bh_nvme_ns *ns, uint8_t byte)
{
	memset(p->buf[i], byte, 4096);
	return SC(ft_write(p->q[i], ns, p->buf[i], 8, 8));
}

static uint16_t get(struct pair *p, unsigned int i, struct bh_nvme_ns *ns)
{
	memset(p->buf[i], 0, 4096);
	return SC(ft_read(p->q[i], ns, p->buf[i], 8, 8));
}

static void hosts_share_what_one_creates(void)
{
	struct bh_nvme_id_ctrl id[2];
	struct bh_nvme_ns *ns[2];
	uint8_t uuid[2][16];
	struct pair p;
	unsigned int i;

	start(&p, NULL);
	create(&p, ns);
	for (i = 0; i < 2; i++) {
		FT_EQUAL(bh_nvme_identify(p.host[i].nvme, BH_NVME_CNS_CTRL, 0, 0, 0, &id[i]), 0);
		FT_EQUAL(id[i].cntlid, i + 1);
		FT_EQUAL(id[i].unvmcap[0], (8u << 20) - BLOCKS * 512);
		bh_nvme_ns_uuid(ns[i], uuid[i]);
	}
	FT_CHECK(!strcmp(id[0].subnqn, id[1].subnqn) && !memcmp(uuid[0], uuid[1], 16));
	FT_EQUAL(get(&p, 1, ns[1]), 0);
	FT_CHECK(p.buf[1][0] == 0 && p.buf[1][4095] == 0);
	FT_EQUAL(put(&p, 0, ns[0], 0x5a), 0);
	FT_EQUAL(get(&p, 1, ns[1]), 0);
	FT_CHECK(p.buf[1][0] == 0x5a && p.buf[1][4095] == 0x5a);
	/* Detached from one, deleted under the other. */
	FT_EQUAL(bh_nvme_ns_detach_from(p.host[1].nvme, 1, both, 1), 0);
	await(&p, 0, 1, false);
	FT_EQUAL(put(&p, 1, ns[1], 1), 0);
	FT_EQUAL(bh_nvme_ns_delete(p.host[0].nvme, 1), 0);
	await(&p, 1, 1, false);
	FT_EQUAL(SC(bh_nvme_ns_delete(p.host[0].nvme, 1)), BH_NVME_SC_INVALID_FIELD);
	stop(&p);
}

static void registered(struct pair *p, uint32_t flags)
{
	FT_EQUAL(bh_nvme_set_host_id(p->host[0].nvme, "host-a..", 8), 0);
	FT_EQUAL(bh_nvme_set_host_id(p->host[1].nvme, "host-b..", 8), 0);
	FT_EQUAL(bh_nvme_resv_register_sync(p->q[0], 1, flags, 0, KEY_A), 0);
}

static void hosts_fence_each_other(void)
{
	struct {
		struct bh_nvme_resv_status status;
		struct bh_nvme_resv_ctrl ctrl[4];
	} report;
	struct bh_nvme_ns *ns[2];
	struct pair p;

	start(&p, NULL);
	create(&p, ns);
	registered(&p, 0);
	FT_EQUAL(bh_nvme_resv_acquire_sync(p.q[0], 1, BH_NVME_RESV_ACQUIRE,
					   BH_NVME_RESV_WRITE_EXCLUSIVE, KEY_A, 0),
		 0);
	FT_EQUAL(put(&p, 0, ns[0], 0x11), 0);
	FT_EQUAL(put(&p, 1, ns[1], 0x22), BH_NVME_SC_RESERVATION_CONFLICT);
	FT_EQUAL(get(&p, 1, ns[1]), 0);
	FT_EQUAL(p.buf[1][0], 0x11);
	FT_EQUAL(SC(bh_nvme_resv_acquire_sync(p.q[1], 1, BH_NVME_RESV_ACQUIRE,
					      BH_NVME_RESV_WRITE_EXCLUSIVE, KEY_B, 0)),
		 BH_NVME_SC_RESERVATION_CONFLICT);
	/* The other one takes over. */
	FT_EQUAL(bh_nvme_resv_register_sync(p.q[1], 1, 0, 0, KEY_B), 0);
	FT_EQUAL(bh_nvme_resv_acquire_sync(p.q[1], 1, BH_NVME_RESV_PREEMPT_ABORT,
					   BH_NVME_RESV_EXCLUSIVE_ACCESS, KEY_B, KEY_A),
		 0);
	FT_EQUAL(get(&p, 0, ns[0]), BH_NVME_SC_RESERVATION_CONFLICT);
	FT_EQUAL(put(&p, 0, ns[0], 0x33), BH_NVME_SC_RESERVATION_CONFLICT);
	FT_EQUAL(put(&p, 1, ns[1], 0x44), 0);
	FT_EQUAL(bh_nvme_resv_report_sync(p.q[0], 1, false, &report, sizeof(report)), 0);
	FT_CHECK(report.status.rtype == BH_NVME_RESV_EXCLUSIVE_ACCESS &&
		 report.status.regctl[0] == 1 && report.ctrl[0].cntlid == 2 &&
		 report.ctrl[0].rkey == KEY_B && report.ctrl[0].rcsts == 1);
	FT_EQUAL(memcmp(&report.ctrl[0].hostid, "host-b..", 8), 0);
	FT_EQUAL(SC(bh_nvme_ns_delete(p.host[0].nvme, 1)), BH_NVME_SC_RESERVATION_CONFLICT);
	FT_EQUAL(bh_nvme_resv_release_sync(p.q[1], 1, BH_NVME_RESV_RELEASE,
					   BH_NVME_RESV_EXCLUSIVE_ACCESS, KEY_B),
		 0);
	FT_EQUAL(get(&p, 0, ns[0]), 0);
	FT_EQUAL(p.buf[0][0], 0x44);
	FT_EQUAL(put(&p, 0, ns[0], 0x55), 0);
	stop(&p);
}

/* A host that holds a reservation is cut off while its queues are full, again and again. */
static void preempted_under_load(void)
{
	struct bh_nvme_ns *ns[2];
	struct pair p;
	int status[16];
	unsigned int i, k;

	start(&p, NULL);
	create(&p, ns);
	registered(&p, 0);
	FT_EQUAL(bh_nvme_resv_register_sync(p.q[1], 1, 0, 0, KEY_B), 0);
	for (i = 0; i < 20; i++) {
		FT_EQUAL(bh_nvme_resv_acquire_sync(p.q[0], 1, BH_NVME_RESV_ACQUIRE,
						   BH_NVME_RESV_EXCLUSIVE_ACCESS, KEY_A, 0),
			 0);
		for (k = 0; k < 16; k++) {
			status[k] = -1;
			FT_EQUAL(bh_nvme_write(p.q[0], ns[0], p.buf[0], 8 * k, 8, 0, ft_done,
					       &status[k]),
				 0);
		}
		bh_nvme_queue_flush(p.q[0]);
		FT_EQUAL(bh_nvme_resv_acquire_sync(p.q[1], 1, BH_NVME_RESV_PREEMPT_ABORT,
						   BH_NVME_RESV_EXCLUSIVE_ACCESS, KEY_B, KEY_A),
			 0);
		for (k = 0; k < 16; k++) {
			uint16_t sc = SC(ft_wait(p.q[0], &status[k]));

			FT_CHECK(sc == 0 || sc == BH_NVME_SC_RESERVATION_CONFLICT ||
				 sc == BH_NVME_SC_ABORTED_PREEMPT);
		}
		FT_EQUAL(put(&p, 0, ns[0], 1), BH_NVME_SC_RESERVATION_CONFLICT);
		/* Nothing of the other one's comes after what is written now. */
		FT_EQUAL(put(&p, 1, ns[1], (uint8_t)(0x40 + i)), 0);
		FT_EQUAL(get(&p, 1, ns[1]), 0);
		FT_CHECK(p.buf[1][0] == 0x40 + i && p.buf[1][4095] == 0x40 + i);
		FT_EQUAL(bh_nvme_resv_release_sync(p.q[1], 1, BH_NVME_RESV_RELEASE,
						   BH_NVME_RESV_EXCLUSIVE_ACCESS, KEY_B),
			 0);
		FT_EQUAL(bh_nvme_resv_register_sync(p.q[0], 1, 0, 0, KEY_A), 0);
	}
	stop(&p);
}

/* Events of a type in the Persistent Event log, which is there again after the power was off. */
static unsigned int events_of(struct bh_nvme *nvme, uint8_t type)
{
	static uint8_t page[192 << 10];
	const struct bh_nvme_pel *head = (const struct bh_nvme_pel *)page;
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_GET_LOG_PAGE, .nsid = BH_NVME_NSID_ALL };
	unsigned int i, n = 0;
	size_t at = sizeof(*head);

	cmd.cdw10 = (uint32_t)(BH_NVME_LOG_PERSISTENT_EVENT |
			       BH_NVME_SET(GLP_LSP, BH_NVME_PEL_ESTABLISH) |
			       BH_NVME_SET(GLP_NUMDL, sizeof(page) / 4 - 1));
	FT_CHECK(bh_nvme_ctrl_data(nvme)->lpa & BH_NVME_LPA_PERSISTENT_EVENT);
	FT_EQUAL(bh_nvme_ctrl_data(nvme)->pels << 16, sizeof(page));
	FT_EQUAL(bh_nvme_admin_sync(nvme, &cmd, page, sizeof(page), NULL), 0);
	for (i = 0; i < head->tnev; i++) {
		struct bh_nvme_pel_event event;

		FT_CHECK(at + sizeof(event) <= sizeof(page));
		memcpy(&event, page + at, sizeof(event));
		n += event.type == type;
		at += sizeof(event) + event.el;
	}
	FT_EQUAL(at, head->tll);
	cmd.cdw10 = (uint32_t)(BH_NVME_LOG_PERSISTENT_EVENT |
			       BH_NVME_SET(GLP_LSP, BH_NVME_PEL_RELEASE));
	FT_EQUAL(bh_nvme_admin_sync(nvme, &cmd, page, 4, NULL), 0);
	return n;
}

static void reservations_survive_the_power(void)
{
	char state[200];
	struct bh_nvme_ns *ns[2];
	struct pair p;
	unsigned int i;

	snprintf(state, sizeof(state), "%s", ft_path("state"));
	FT_EQUAL(mkdir(state, 0700), 0);
	start(&p, state);
	create(&p, ns);
	registered(&p, BH_NVME_RESV_CPTPL_SET << BH_NVME_RESV_CPTPL_SHIFT);
	FT_EQUAL(bh_nvme_resv_acquire_sync(p.q[0], 1, BH_NVME_RESV_ACQUIRE,
					   BH_NVME_RESV_WRITE_EXCLUSIVE_RO, KEY_A, 0),
		 0);
	FT_EQUAL(events_of(p.host[0].nvme, BH_NVME_PEL_RESET), 2);
	stop(&p);
	start(&p, state);
	FT_EQUAL(events_of(p.host[0].nvme, BH_NVME_PEL_CHANGE_NS), 1);
	FT_EQUAL(events_of(p.host[1].nvme, BH_NVME_PEL_RESET), 4);
	/* It is there, and reserved for a host that has not said yet who it is. */
	FT_EQUAL(SC(bh_nvme_ns_delete(p.host[0].nvme, 1)), BH_NVME_SC_RESERVATION_CONFLICT);
	FT_EQUAL(bh_nvme_set_host_id(p.host[0].nvme, "host-a..", 8), 0);
	for (i = 0; i < 2; i++)
		ns[i] = await(&p, i, 1, true);
	FT_EQUAL(put(&p, 1, ns[1], 0x22), BH_NVME_SC_RESERVATION_CONFLICT);
	FT_EQUAL(put(&p, 0, ns[0], 0x11), 0);
	FT_EQUAL(bh_nvme_resv_release_sync(p.q[0], 1, BH_NVME_RESV_CLEAR, 0, KEY_A), 0);
	FT_EQUAL(put(&p, 1, ns[1], 0x22), 0);
	stop(&p);
	FT_EQUAL(unlink(ft_path("state/subsys-s")), 0);
	FT_EQUAL(rmdir(state), 0);
}

static void attachments_by_hosts_survive_the_power(void)
{
	static const uint16_t second = 2;
	struct bh_nvme_ns *ns[2];
	char state[200];
	struct pair p;
	int round;

	snprintf(state, sizeof(state), "%s", ft_path("state"));
	FT_EQUAL(mkdir(state, 0700), 0);
	start(&p, state);
	create(&p, ns);
	/* The second gets the first's own, and gives its own back. */
	FT_EQUAL(bh_nvme_ns_attach_to(p.host[0].nvme, 9, &second, 1), 0);
	FT_EQUAL(bh_nvme_ns_detach_from(p.host[0].nvme, 10, &second, 1), 0);
	for (round = 0; round < 2; round++) {
		await(&p, 1, 9, true);
		await(&p, 1, 10, false);
		await(&p, 0, 9, true);
		FT_EQUAL(put(&p, 1, await(&p, 1, 1, true), 0x33), 0);
		FT_EQUAL(get(&p, 0, await(&p, 0, 1, true)), 0);
		FT_EQUAL(p.buf[0][0], 0x33);
		stop(&p);
		start(&p, state);
	}
	stop(&p);
	FT_EQUAL(unlink(ft_path("state/subsys-s")), 0);
	FT_EQUAL(rmdir(state), 0);
}

FT_MAIN({ "hosts_share_what_one_creates", hosts_share_what_one_creates, 0 },
	{ "hosts_fence_each_other", hosts_fence_each_other, 0 },
	{ "attachments_by_hosts_survive_the_power", attachments_by_hosts_survive_the_power, 0 },
	{ "preempted_under_load", preempted_under_load, 0 },
	{ "reservations_survive_the_power", reservations_survive_the_power, 0 })

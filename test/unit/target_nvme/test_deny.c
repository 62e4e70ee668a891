/* SPDX-License-Identifier: BSD-3-Clause */
/* Reservations on the poll threads: what is denied, and commands that the control thread does. */
#include "io_rig.h"

#include "target/nvme/resv.h"

#define CONFLICT TN_SF(BH_NVME_SC_RESERVATION_CONFLICT)

static void open_rig(enum bh_cmem_mode data)
{
	rig_open(BH_CMEM_MAPPED, data, 1, BH_DOORBELLS_MAPPED);
	rig.ns[1].has_resv = true;
	rig_ns(1, &bh_blk_ram_type, "4M", 512);
	rig_queue(1, 8, true);
}

static void deny(uint8_t bits, bool is_aborting)
{
	void *fan = tn_io_deny_new(&rig.ctrl);
	unsigned int dones = rig.dones;

	CU_ASSERT_PTR_NOT_NULL_FATAL(fan);
	tn_io_deny_send(fan, 1, bits, is_aborting, rig_done_void, NULL);
	rig_steps(4);
	CU_ASSERT_EQUAL(rig.dones, dones + 1);
}

static uint16_t run(uint8_t opc, uint32_t nsid)
{
	struct bh_nvme_cmd cmd = rig_cmd(opc, 0, 1, RIG_DATA_AT);

	cmd.nsid = nsid;
	if (opc == BH_NVME_CMD_DSM) {
		memset(rig_at(RIG_DATA_AT), 0, 16);
		cmd.cdw10 = 0;
		cmd.cdw11 = BH_NVME_DSM_AD;
	}
	return rig_run(&cmd);
}

/* By command class; nothing else has changed when it is over. */
static void commands_by_class(void)
{
	static const struct {
		uint8_t opc;
		uint8_t access;
	} rows[] = {
		{ BH_NVME_CMD_READ, TN_DENY_READ },   { BH_NVME_CMD_COMPARE, TN_DENY_READ },
		{ BH_NVME_CMD_WRITE, TN_DENY_WRITE }, { BH_NVME_CMD_WRITE_ZEROES, TN_DENY_WRITE },
		{ BH_NVME_CMD_FLUSH, TN_DENY_WRITE }, { BH_NVME_CMD_DSM, TN_DENY_WRITE },
	};
	uint8_t bits;
	size_t i;

	open_rig(BH_CMEM_MAPPED);
	memset(rig_at(RIG_DATA_AT), 0, 4096);
	for (bits = 0; bits <= 3; bits++) {
		deny(bits, false);
		CU_ASSERT_EQUAL(rig.ctrl.io->thread[0]->line[1].inline_blocks != 0, !bits);
		for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			CU_ASSERT_EQUAL(run(rows[i].opc, 1), bits & rows[i].access ? CONFLICT : 0);
		CU_ASSERT_EQUAL(run(BH_NVME_CMD_FLUSH, BH_NVME_NSID_ALL),
				bits & TN_DENY_WRITE ? CONFLICT : 0);
	}
	deny(0, false);
	CU_ASSERT_EQUAL(run(BH_NVME_CMD_WRITE, 1), 0);
	rig_close();
}

static void put(uint8_t opc, uint32_t cdw10)
{
	struct bh_nvme_cmd cmd = rig_cmd(opc, cdw10, 1, RIG_DATA_AT);

	rig_put(&rig.q[1], &cmd);
	rig_tail(&rig.q[1]);
	rig_steps(6);
}

/* Its status field, 0xffff when it has not ended. */
static uint16_t get(void)
{
	struct bh_nvme_cpl cpl;

	rig_steps(6);
	if (!rig_get(&rig.q[1], &cpl))
		return 0xffff;
	rig_head(&rig.q[1]);
	return bh_nvme_cpl_status(&cpl);
}

static void there_and_back(enum bh_cmem_mode mode)
{
	struct tn_resv_cmd *cmd;

	open_rig(mode);
	rig.hold_messages = true;
	memset(rig_at(RIG_DATA_AT), 0x11, 16);
	put(BH_NVME_CMD_RESV_REGISTER, 0);
	rig_answer_all(0);
	rig_steps(6);
	cmd = rig.resv;
	CU_ASSERT_PTR_NOT_NULL_FATAL(cmd);
	CU_ASSERT_TRUE(cmd->len == 16 && cmd->data[15] == 0x11 &&
		       cmd->cmd.opc == BH_NVME_CMD_RESV_REGISTER);
	CU_ASSERT_EQUAL(get(), 0xffff);
	cmd->status = BH_NVME_SC_RESERVATION_CONFLICT;
	tn_resv_cmd_return(cmd);
	CU_ASSERT_EQUAL(get(), BH_NVME_SC_RESERVATION_CONFLICT);
	put(BH_NVME_CMD_RESV_REPORT, 1023);
	cmd = rig.resv;
	CU_ASSERT_EQUAL(cmd->len, 4096);
	memset(cmd->data, 0x22, 4096);
	tn_resv_cmd_return(cmd);
	rig_steps(6);
	rig_answer_all(0);
	CU_ASSERT_EQUAL(get(), 0);
	CU_ASSERT_EQUAL(((uint8_t *)rig_at(RIG_DATA_AT))[4095], 0x22);
	put(BH_NVME_CMD_RESV_REPORT, 1u << 18); /* more than MDTS */
	CU_ASSERT_EQUAL(get(), TN_SF(BH_NVME_SC_INVALID_FIELD));
	rig_close();
}

static void commands_go_to_the_control_thread(void)
{
	there_and_back(BH_CMEM_MAPPED);
	there_and_back(BH_CMEM_MESSAGE);
}

/* While it is away its queue goes, or all of the controller. */
static void left_behind_while_away(void)
{
	struct tn_resv_cmd *cmd;

	open_rig(BH_CMEM_MAPPED);
	put(BH_NVME_CMD_RESV_ACQUIRE, 0);
	cmd = rig.resv;
	CU_ASSERT_PTR_NOT_NULL_FATAL(cmd);
	tn_io_sq_delete(&rig.ctrl, 1, rig_done, NULL);
	rig_steps(4);
	tn_resv_cmd_return(cmd);
	rig_steps(4);
	rig_close();
	CU_PASS("nothing of it is left, as the sanitizer sees");
}

static void not_where_there_are_none(void)
{
	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "4M", 512);
	rig_queue(1, 8, true);
	CU_ASSERT_EQUAL(run(BH_NVME_CMD_RESV_REGISTER, 1), TN_SF(BH_NVME_SC_INVALID_OPCODE));
	rig_close();
}

/* Preempt and Abort: what is under way ends, or is waited for; but not what waits for us. */
static void aborting_waits_for_what_is_under_way(void)
{
	struct tn_resv_cmd *cmd;
	unsigned int dones;
	void *fan;

	open_rig(BH_CMEM_MESSAGE);
	rig.hold_messages = true;
	put(BH_NVME_CMD_WRITE, 0);
	CU_ASSERT_TRUE(rig.num_messages > 0); /* its data is on the way */
	fan = tn_io_deny_new(&rig.ctrl);
	dones = rig.dones;
	tn_io_deny_send(fan, 1, TN_DENY_WRITE, true, rig_done_void, NULL);
	rig_steps(6);
	CU_ASSERT_EQUAL(rig.dones, dones);
	rig_answer_all(0);
	rig_steps(6);
	CU_ASSERT_EQUAL(rig.dones, dones + 1);
	CU_ASSERT_EQUAL(get(), 0);
	/* A reservation command that waits for its turn is not waited for. */
	put(BH_NVME_CMD_RESV_RELEASE, 0);
	rig_answer_all(0);
	rig_steps(6);
	cmd = rig.resv;
	deny(0, true);
	tn_resv_cmd_return(cmd);
	CU_ASSERT_EQUAL(get(), 0);
	rig_close();
}

/*
 * A sanitize operation that has not begun, and will not, leaves no mark on a namespace that is being
 * attached meanwhile; one that has failed does.
 */
static void failed_sanitizing_refuses(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_queue(1, 8, false);
	rig.ctrl.refusal = BH_NVME_SC_SANITIZE_IN_PROGRESS;
	rig_ns(1, &bh_blk_ram_type, "1M", 512);
	rig.ctrl.refusal = BH_NVME_SC_SANITIZE_FAILED;
	rig_ns(2, &bh_blk_ram_type, "1M", 512);
	cmd.nsid = 2;
	CU_ASSERT_EQUAL(rig_run(&cmd), BH_NVME_SC_SANITIZE_FAILED);
	rig.ctrl.refusal = 0;
	cmd.nsid = 1;
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	rig_close();
}

BH_SUITE("target_nvme_deny", { "commands_by_class", commands_by_class },
	 { "commands_go_to_the_control_thread", commands_go_to_the_control_thread },
	 { "left_behind_while_away", left_behind_while_away },
	 { "not_where_there_are_none", not_where_there_are_none },
	 { "aborting_waits_for_what_is_under_way", aborting_waits_for_what_is_under_way },
	 { "failed_sanitizing_refuses", failed_sanitizing_refuses }, )

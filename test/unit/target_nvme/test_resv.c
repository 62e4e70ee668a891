/* SPDX-License-Identifier: BSD-3-Clause */
/* The rules of reservations: three hosts and a namespace. */
#include <string.h>

#include "target/nvme/resv.h"
#include "unit.h"

static struct tn_resv resv;
static struct tn_resv_outcome out;

static const struct tn_host a = { .id = { 1 } }, b = { .id = { 2 } }, c = { .cntlid = 3 };

#define KEY_A 0xa1ull
#define KEY_B 0xb1ull
#define KEY_C 0xc1ull

#define WE BH_NVME_RESV_WRITE_EXCLUSIVE
#define EA BH_NVME_RESV_EXCLUSIVE_ACCESS
#define WERO BH_NVME_RESV_WRITE_EXCLUSIVE_RO
#define EARO BH_NVME_RESV_EXCLUSIVE_ACCESS_RO
#define WEAR BH_NVME_RESV_WRITE_EXCLUSIVE_AR
#define EAAR BH_NVME_RESV_EXCLUSIVE_ACCESS_AR
#define CONFLICT BH_NVME_SC_RESERVATION_CONFLICT
#define INVALID BH_NVME_SC_INVALID_FIELD
#define BOTH (TN_DENY_READ | TN_DENY_WRITE)

static uint16_t reg(const struct tn_host *host, uint32_t cdw10, uint64_t crkey, uint64_t nrkey)
{
	const struct bh_nvme_cmd cmd = { .cdw10 = cdw10 };
	const struct bh_nvme_resv_register data = { crkey, nrkey };

	memset(&out, 0, sizeof(out));
	return tn_resv_register(&resv, host, &cmd, &data, true, &out);
}

static uint16_t acquire(const struct tn_host *host, uint32_t action, uint8_t type, uint64_t crkey,
			uint64_t prkey)
{
	const struct bh_nvme_cmd cmd = { .cdw10 = action | (uint32_t)type << 8 };
	const struct bh_nvme_resv_acquire data = { crkey, prkey };

	memset(&out, 0, sizeof(out));
	return tn_resv_acquire(&resv, host, &cmd, &data, &out);
}

static uint16_t release(const struct tn_host *host, uint32_t action, uint8_t type, uint64_t crkey)
{
	const struct bh_nvme_cmd cmd = { .cdw10 = action | (uint32_t)type << 8 };
	const struct bh_nvme_resv_release data = { crkey };

	memset(&out, 0, sizeof(out));
	return tn_resv_release(&resv, host, &cmd, &data, &out);
}

static bool told(const struct tn_host *host, enum tn_resv_note note)
{
	uint32_t i;

	for (i = 0; i < out.count; i++) {
		if (tn_host_is(&out.event[i].host, host) && out.event[i].note == note)
			return true;
	}
	return false;
}

/* a and b are registered, c is not. */
static void begin(void)
{
	memset(&resv, 0, sizeof(resv));
	CU_ASSERT_EQUAL(reg(&a, 0, 0, KEY_A), 0);
	CU_ASSERT_EQUAL(reg(&b, 0, 0, KEY_B), 0);
}

static void registrations(void)
{
	begin();
	CU_ASSERT_EQUAL(resv.gen, 2);
	CU_ASSERT_EQUAL(reg(&a, 0, 99, KEY_A), 0); /* again the same */
	CU_ASSERT_EQUAL(reg(&a, 0, KEY_A, KEY_C), CONFLICT);
	CU_ASSERT_EQUAL(reg(&a, 2, KEY_B, KEY_C), CONFLICT);
	CU_ASSERT_EQUAL(reg(&a, 2 | BH_NVME_RESV_IEKEY, KEY_B, KEY_C), 0);
	CU_ASSERT_EQUAL(tn_resv_find(&resv, &a)->key, KEY_C);
	CU_ASSERT_EQUAL(reg(&c, 2 | BH_NVME_RESV_IEKEY, 0, KEY_C), CONFLICT);
	CU_ASSERT_EQUAL(reg(&c, 1, 0, 0), CONFLICT);
	CU_ASSERT_EQUAL(reg(&a, 1, KEY_A, 0), CONFLICT);
	CU_ASSERT_EQUAL(reg(&a, 1, KEY_C, 0), 0);
	CU_ASSERT_PTR_NULL(tn_resv_find(&resv, &a));
	CU_ASSERT_EQUAL(reg(&a, 3, 0, 0), INVALID);
	CU_ASSERT_EQUAL(reg(&a, 1u << 30, 0, 0), INVALID);
	CU_ASSERT_EQUAL(reg(&a, 3u << 30, 0, KEY_A), 0);
	CU_ASSERT_TRUE(resv.is_persistent);
	CU_ASSERT_EQUAL(reg(&a, 2u << 30, 0, KEY_A), 0);
	CU_ASSERT_FALSE(resv.is_persistent);
}

static void no_more_than_there_is_room_for(void)
{
	struct tn_host host = { .cntlid = 0 };
	uint32_t i;

	memset(&resv, 0, sizeof(resv));
	for (i = 0; i < TN_RESV_REGISTRANTS; i++) {
		memcpy(host.id, &(uint32_t){ i + 1 }, sizeof(i));
		CU_ASSERT_EQUAL(reg(&host, 0, 0, i), 0);
	}
	CU_ASSERT_EQUAL(reg(&c, 0, 0, 1), BH_NVME_SC_INTERNAL_ERROR);
	CU_ASSERT_EQUAL(resv.count, TN_RESV_REGISTRANTS);
}

/* Of the holder a, the registrant b and c, who is none. */
static void who_may_do_what(void)
{
	static const struct {
		uint8_t type, holder, registrant, other;
	} rows[] = {
		{ WE, 0, TN_DENY_WRITE, TN_DENY_WRITE }, { EA, 0, BOTH, BOTH },
		{ WERO, 0, 0, TN_DENY_WRITE },		 { EARO, 0, 0, BOTH },
		{ WEAR, 0, 0, TN_DENY_WRITE },		 { EAAR, 0, 0, BOTH },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		CU_ASSERT_EQUAL(tn_resv_denied(&resv, &c), 0);
		CU_ASSERT_EQUAL(acquire(&a, 0, rows[i].type, KEY_A, 0), 0);
		CU_ASSERT_EQUAL(tn_resv_denied(&resv, &a), rows[i].holder);
		CU_ASSERT_EQUAL(tn_resv_denied(&resv, &b), rows[i].registrant);
		CU_ASSERT_EQUAL(tn_resv_denied(&resv, &c), rows[i].other);
		CU_ASSERT_TRUE(tn_resv_is_holder(&resv, &a));
		CU_ASSERT_EQUAL(tn_resv_is_holder(&resv, &b), rows[i].type >= WEAR);
		CU_ASSERT_EQUAL(release(&a, 0, rows[i].type, KEY_A), 0);
		CU_ASSERT_EQUAL(tn_resv_denied(&resv, &c), 0);
		/* Those who had a part in it are told that it is over. */
		CU_ASSERT_EQUAL(told(&b, TN_RESV_RELEASED), rows[i].type >= WERO);
	}
}

static void acquiring(void)
{
	begin();
	CU_ASSERT_EQUAL(acquire(&c, 0, WE, 0, 0), CONFLICT);
	CU_ASSERT_EQUAL(acquire(&a, 0, WE, KEY_B, 0), CONFLICT);
	CU_ASSERT_EQUAL(acquire(&a, 0, 0, KEY_A, 0), INVALID);
	CU_ASSERT_EQUAL(acquire(&a, 0, 7, KEY_A, 0), INVALID);
	CU_ASSERT_EQUAL(acquire(&a, 3, WE, KEY_A, 0), INVALID);
	CU_ASSERT_EQUAL(acquire(&a, BH_NVME_RESV_IEKEY, WE, KEY_A, 0), INVALID);
	CU_ASSERT_EQUAL(acquire(&a, 0, WE, KEY_A, 0), 0);
	CU_ASSERT_EQUAL(acquire(&a, 0, WE, KEY_A, 0), 0); /* again the same */
	CU_ASSERT_EQUAL(acquire(&a, 0, EA, KEY_A, 0), CONFLICT);
	CU_ASSERT_EQUAL(acquire(&b, 0, WE, KEY_B, 0), CONFLICT);
	CU_ASSERT_EQUAL(release(&b, 0, WE, KEY_B), 0); /* nothing of b's */
	CU_ASSERT_EQUAL(resv.type, WE);
	CU_ASSERT_EQUAL(release(&a, 0, EA, KEY_A), INVALID);
	CU_ASSERT_EQUAL(release(&a, 0, WE, KEY_B), CONFLICT);
	CU_ASSERT_EQUAL(release(&c, 0, WE, 0), CONFLICT);
	CU_ASSERT_EQUAL(release(&a, 2, WE, KEY_A), INVALID);
	CU_ASSERT_EQUAL(resv.gen, 2);
	/* It goes with the registration of its holder, */
	CU_ASSERT_EQUAL(reg(&a, 1, KEY_A, 0), 0);
	CU_ASSERT_EQUAL(resv.type, 0);
	/* or, where all hold it, with the last. */
	begin();
	CU_ASSERT_EQUAL(acquire(&a, 0, WEAR, KEY_A, 0), 0);
	CU_ASSERT_EQUAL(acquire(&b, 0, WEAR, KEY_B, 0), 0);
	CU_ASSERT_EQUAL(reg(&a, 1, KEY_A, 0), 0);
	CU_ASSERT_EQUAL(resv.type, WEAR);
	CU_ASSERT_EQUAL(reg(&b, 1, KEY_B, 0), 0);
	CU_ASSERT_EQUAL(resv.type, 0);
}

static void preempting(void)
{
	begin();
	CU_ASSERT_EQUAL(reg(&c, 0, 0, KEY_C), 0);
	/* A registration, while there is no reservation, */
	CU_ASSERT_EQUAL(acquire(&a, 1, WE, KEY_A, 0x99), CONFLICT);
	CU_ASSERT_EQUAL(acquire(&a, 1, WE, KEY_A, 0), INVALID);
	CU_ASSERT_EQUAL(acquire(&a, 1, WE, KEY_A, KEY_C), 0);
	CU_ASSERT_EQUAL(resv.type, 0);
	CU_ASSERT_TRUE(told(&c, TN_RESV_REGISTRATION_PREEMPTED) && !out.is_aborting);
	CU_ASSERT_PTR_NULL(tn_resv_find(&resv, &c));
	/* and the holder's: then the reservation goes over. */
	CU_ASSERT_EQUAL(acquire(&b, 0, WE, KEY_B, 0), 0);
	CU_ASSERT_EQUAL(acquire(&c, 1, WE, 0, KEY_B), CONFLICT);
	CU_ASSERT_EQUAL(acquire(&a, 2, EA, KEY_A, KEY_B), 0);
	CU_ASSERT_TRUE(resv.type == EA && tn_resv_is_holder(&resv, &a));
	CU_ASSERT_TRUE(told(&b, TN_RESV_PREEMPTED) && out.is_aborting);
	CU_ASSERT_EQUAL(tn_resv_denied(&resv, &b), BOTH);
	CU_ASSERT_PTR_NULL(tn_resv_find(&resv, &b));
	/* One's own: another type, and still registered. */
	CU_ASSERT_EQUAL(acquire(&a, 1, WERO, KEY_A, KEY_A), 0);
	CU_ASSERT_EQUAL(resv.type, WERO);
	CU_ASSERT_EQUAL(resv.count, 1);
	/* Of All Registrants by key 0. */
	begin();
	CU_ASSERT_EQUAL(reg(&c, 0, 0, KEY_C), 0);
	CU_ASSERT_EQUAL(acquire(&b, 0, EAAR, KEY_B, 0), 0);
	CU_ASSERT_EQUAL(acquire(&a, 1, WE, KEY_A, KEY_C), 0);
	CU_ASSERT_TRUE(resv.type == EAAR && resv.count == 2);
	CU_ASSERT_EQUAL(acquire(&a, 1, WE, KEY_A, 0), 0);
	CU_ASSERT_TRUE(resv.type == WE && resv.count == 1 && tn_resv_is_holder(&resv, &a));
	CU_ASSERT_TRUE(told(&b, TN_RESV_REGISTRATION_PREEMPTED));
}

static void clearing(void)
{
	begin();
	CU_ASSERT_EQUAL(acquire(&a, 0, WE, KEY_A, 0), 0);
	CU_ASSERT_EQUAL(release(&c, 1, 0, 0), CONFLICT);
	CU_ASSERT_EQUAL(release(&b, 1, 0, KEY_B), 0);
	CU_ASSERT_TRUE(resv.count == 0 && resv.type == 0 && resv.gen == 3);
	CU_ASSERT_TRUE(told(&a, TN_RESV_PREEMPTED));
}

static void hosts_are_forgotten(void)
{
	begin();
	CU_ASSERT_FALSE(tn_resv_forget(&resv, &c, &out));
	CU_ASSERT_EQUAL(reg(&c, 0, 0, KEY_C), 0);
	CU_ASSERT_EQUAL(acquire(&c, 0, EARO, KEY_C, 0), 0);
	CU_ASSERT_TRUE(tn_resv_forget(&resv, &c, &out));
	CU_ASSERT_TRUE(resv.type == 0 && told(&a, TN_RESV_RELEASED) && told(&b, TN_RESV_RELEASED));
}

BH_SUITE("target_nvme_resv", { "registrations", registrations },
	 { "no_more_than_there_is_room_for", no_more_than_there_is_room_for },
	 { "who_may_do_what", who_may_do_what }, { "acquiring", acquiring },
	 { "preempting", preempting }, { "clearing", clearing },
	 { "hosts_are_forgotten", hosts_are_forgotten }, )

/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include "pace.h"

static struct pace pace;

static void the_first_is_due_at_once(void)
{
	pace_init(&pace, 1000000000, 1e6, 5000); /* 1000 ticks apart */
	CU_ASSERT_EQUAL(pace_due(&pace, 4999, 32), 0);
	CU_ASSERT_EQUAL(pace_due(&pace, 5000, 32), 1);
	CU_ASSERT_EQUAL(pace_take(&pace), 5000);
	CU_ASSERT_EQUAL(pace_due(&pace, 5999, 32), 0);
	CU_ASSERT_EQUAL(pace_due(&pace, 6000, 32), 1);
}

/* Held up for 100 packets' time: all of them are due, each at its own time. */
static void a_delay_counts_for_every_packet_it_delayed(void)
{
	pace_init(&pace, 1000000000, 1e6, 0);
	CU_ASSERT_EQUAL(pace_due(&pace, 99999, 1000), 100);
	CU_ASSERT_EQUAL(pace_due(&pace, 99999, 32), 32);
	for (uint64_t i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(pace_take(&pace), i * 1000);
	CU_ASSERT_EQUAL(pace_due(&pace, 99999, 32), 0);
}

static void fractions_of_ticks_do_not_add_up(void)
{
	uint64_t taken = 0, last = 0;

	pace_init(&pace, 2600000000ull, 14.88e6, 0); /* 174.73 ticks */
	while (pace_due(&pace, 2600000000ull, 1)) {
		last = pace_take(&pace);
		taken++;
	}
	CU_ASSERT_TRUE(taken > 14880000 - 30 && taken < 14880000 + 30); /* two in a million */
	CU_ASSERT_TRUE(last <= 2600000000ull);
}

static void extremes_do_not_overflow(void)
{
	pace_init(&pace, 5000000000ull, 1, 0);
	CU_ASSERT_EQUAL(pace_due(&pace, 5000000000ull * 86400 * 7, 1000000), 7 * 86400 + 1);
	pace_init(&pace, 1000000, 1e12, 0);
	CU_ASSERT_EQUAL(pace_due(&pace, 1, UINT32_MAX), 4097);
}

BH_SUITE("pace", { "the_first_is_due_at_once", the_first_is_due_at_once },
	 { "a_delay_counts_for_every_packet_it_delayed",
	   a_delay_counts_for_every_packet_it_delayed },
	 { "fractions_of_ticks_do_not_add_up", fractions_of_ticks_do_not_add_up },
	 { "extremes_do_not_overflow", extremes_do_not_overflow }, )

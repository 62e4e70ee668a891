/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Event indices against hosts that can be stopped anywhere: what lib/target/nvme/doorbell.c claims.
 *
 * A walk takes steps of host and target in random order. The host's are as small as they can be: a
 * doorbell is stored in one, its event index loaded in another, by Linux's arithmetic. The target's
 * are a pass, and going to sleep; the host may also go on inside them, right after each store of
 * the target into its memory. Stretches of the walk favour different steps, so that either side is
 * stopped for long now and then while the other does all it can.
 */
#include "io_rig.h"

struct side {	       /* one doorbell, as the host sees it; counts do not wrap */
	uint64_t told; /* its shadow says so */
	uint64_t old;  /* of the step under way */
	bool is_stepping;
};

static struct {
	uint32_t entries;
	uint32_t limit;	   /* commands sent past the head that was told */
	bool is_one;	   /* one thread: a step is ended before the next begins */
	bool is_stoppable; /* between storing a doorbell and loading its index */
	bool sleeps;
	uint64_t sent, taken;
	struct side tail, head;
	struct rig_queue *q;
	unsigned int weight[5];
	bool is_asleep, is_inside;
	unsigned int rings, arms;
	uint64_t random;
} walk;

static uint32_t random_below(uint32_t n)
{
	walk.random = walk.random * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((walk.random >> 33) % n);
}

static struct tn_thread *thread(void)
{
	return rig.ctrl.io->thread[0];
}

/* ---- the host ---- */

static void wake(void)
{
	if (walk.is_asleep)
		tn_bells_disarm(thread());
	walk.is_asleep = false;
}

static void step_end(struct side *side, unsigned int k)
{
	uint16_t new = (uint16_t)(side->told % walk.entries), old;
	uint16_t event =
		(uint16_t)__atomic_load_n((uint32_t *)rig_at(RIG_EVENT + 4 * k), __ATOMIC_SEQ_CST);

	old = (uint16_t)(side->old % walk.entries);
	side->is_stepping = false;
	if ((uint16_t)(new - event - 1) >= (uint16_t)(new - old))
		return;
	walk.rings++;
	tn_io_doorbell_write(&rig.ctrl, 4ull * k, new);
	wake();
}

static void step_begin(struct side *side, unsigned int k, uint64_t to)
{
	side->old = side->told;
	side->told = to;
	side->is_stepping = true;
	__atomic_store_n((uint32_t *)rig_at(RIG_SHADOW + 4 * k), (uint32_t)(to % walk.entries),
			 __ATOMIC_SEQ_CST);
	if (!walk.is_stoppable)
		step_end(side, k);
}

static void step_tail(void)
{
	if (walk.tail.is_stepping)
		step_end(&walk.tail, 2);
	else if (walk.tail.told != walk.sent && !(walk.is_one && walk.head.is_stepping))
		step_begin(&walk.tail, 2, walk.sent);
}

static void step_head(void)
{
	if (walk.head.is_stepping)
		step_end(&walk.head, 3);
	else if (walk.head.told != walk.taken && !(walk.is_one && walk.tail.is_stepping))
		step_begin(&walk.head, 3, walk.taken);
}

static void put(uint32_t most)
{
	const struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_FLUSH, .nsid = 1 };

	if (walk.is_one && (walk.tail.is_stepping || walk.head.is_stepping))
		return;
	while (most-- > 0 && walk.sent - walk.taken < walk.entries - 1 &&
	       walk.sent - walk.head.told < walk.limit) {
		rig_put(walk.q, &cmd);
		walk.sent++;
	}
}

static void take(uint32_t most)
{
	struct bh_nvme_cpl cpl;

	if (walk.is_one && (walk.tail.is_stepping || walk.head.is_stepping))
		return;
	while (most-- > 0 && rig_get(walk.q, &cpl))
		walk.taken++;
}

static void host_step(void)
{
	switch (random_below(4)) {
	case 0:
		put(1 + random_below(walk.entries));
		break;
	case 1:
		take(1 + random_below(walk.entries));
		break;
	case 2:
		step_tail();
		break;
	default:
		step_head();
	}
}

/* ---- the target ---- */

/* It has stored something: anything may happen before it looks at anything again. */
static void stored(void *ctx, uint64_t iova, uint64_t len)
{
	uint32_t n = random_below(4);

	(void)ctx, (void)iova, (void)len;
	if (walk.is_inside)
		return;
	walk.is_inside = true;
	while (n-- > 0)
		host_step();
	walk.is_inside = false;
}

static const struct bh_cmem_ops ops = { .message = rig_message, .dirty = stored };

static void go_to_sleep(void)
{
	unsigned int rings = walk.rings;

	if (!walk.sleeps || walk.is_asleep)
		return;
	walk.arms++;
	if (tn_bells_arm(thread()) == 0 && rings == walk.rings)
		walk.is_asleep = true;
	else
		tn_bells_disarm(thread());
}

/* A completion that there is room for is not slept over. */
static bool is_owed(void)
{
	const struct tn_cq *cq = thread()->cq[1];
	uint32_t posted = (cq->tail + walk.entries - (uint32_t)(walk.head.told % walk.entries)) %
			  walk.entries;

	return thread()->sq[1]->head != walk.tail.told % walk.entries && posted < walk.entries - 1;
}

/* ---- walks ---- */

static void begin(uint32_t entries, uint32_t limit, bool is_one, uint64_t seed)
{
	memset(&walk, 0, sizeof(walk));
	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_TRAPPED);
	rig_ns(1, &bh_blk_null_type, "1G", 512);
	tn_io_shadow_set(&rig.ctrl, RIG_IOVA + RIG_SHADOW, RIG_IOVA + RIG_EVENT, rig_done, NULL);
	rig_queue(1, entries, false);
	rig.cmem.ops = &ops;
	walk.q = &rig.q[1];
	walk.entries = entries;
	walk.limit = limit;
	walk.is_one = is_one;
	walk.is_stoppable = true;
	walk.random = seed;
}

static void one_step(void)
{
	static void (*const steps[])(void) = { host_step, step_tail, step_head, rig_step,
					       go_to_sleep };
	unsigned int i, sum = 0, at;

	for (i = 0; i < 5; i++)
		sum += walk.weight[i];
	at = random_below(sum);
	for (i = 0; at >= walk.weight[i]; i++)
		at -= walk.weight[i];
	if (i != 3 || !walk.is_asleep)
		steps[i]();
}

static void stretch(void)
{
	unsigned int i, n = 1 + random_below(60);

	for (i = 0; i < 5; i++)
		walk.weight[i] = random_below(3) ? random_below(8) : 0;
	walk.weight[random_below(5)]++;
	while (n-- > 0)
		one_step();
}

/* The host ends its steps; the target goes on while it is awake. True: it owes nothing asleep. */
static bool settle(void)
{
	unsigned int n;

	if (walk.tail.is_stepping)
		step_tail();
	if (walk.head.is_stepping)
		step_head();
	walk.is_inside = true;
	for (n = 0; n < 4 * walk.entries + 100 && !walk.is_asleep; n++) {
		rig_step();
		go_to_sleep();
	}
	walk.is_inside = false;
	return walk.is_asleep && !is_owed();
}

/* Everything that was sent is answered, taken and given back, in a bounded number of turns. */
static bool finish(void)
{
	uint32_t turns = 4 * walk.entries + 100;

	walk.is_stoppable = false;
	walk.is_inside = true; /* nothing more is sent */
	if (walk.head.is_stepping)
		step_head();
	while (turns-- > 0 && (walk.tail.told != walk.sent || walk.head.told != walk.sent ||
			       walk.tail.is_stepping)) {
		step_tail();
		if (!walk.is_asleep)
			rig_step();
		go_to_sleep();
		take(walk.entries);
		step_head();
	}
	return walk.head.told == walk.sent;
}

static const uint32_t sizes[] = { 2, 3, 8, 1024 };
#define NUM_SIZES (sizeof(sizes) / sizeof(sizes[0]))
#define STRETCHES 3000
#define NO_LIMIT UINT32_MAX

static void walk_while_polled(uint32_t entries, uint32_t limit, bool is_one, bool is_stoppable,
			      unsigned int rings_most)
{
	unsigned int i;

	begin(entries, limit, is_one, entries + limit);
	walk.is_stoppable = is_stoppable;
	for (i = 0; i < STRETCHES; i++)
		stretch();
	CU_ASSERT(finish());
	CU_ASSERT(walk.taken > STRETCHES / 4);
	CU_ASSERT(walk.rings <= rings_most);
	CU_ASSERT_EQUAL(rig.events, 0); /* no doorbell was wrong */
	rig_close();
}

/* However long it is stopped, from its first command on. */
static void ours_never_rings_while_polled(void)
{
	walk_while_polled(3, 1, true, true, 0);
	walk_while_polled(8, 3, true, true, 0);
	walk_while_polled(8, 1, true, true, 0);
	walk_while_polled(9, 4, true, true, 0);
	walk_while_polled(1023, 511, true, true, 0);
	walk_while_polled(1024, 511, true, true, 0);
	walk_while_polled(1024, 100, true, true, 0);
}

/* Whatever it has in flight, once it has given itself away. */
static void others_ring_only_if_stopped(void)
{
	unsigned int i;

	for (i = 0; i < NUM_SIZES; i++) {
		walk_while_polled(sizes[i], NO_LIMIT, true, false, 1);
		walk_while_polled(sizes[i], NO_LIMIT, false, false, 1);
	}
}

static void walk_with_sleep(uint32_t entries, uint32_t limit, bool is_one)
{
	unsigned int i, owed = 0;

	begin(entries, limit, is_one, entries + limit + 1);
	walk.sleeps = true;
	for (i = 0; i < STRETCHES; i++) {
		stretch();
		if (i % 4 == 0)
			owed += !settle();
		/* Once for each doorbell and time, and once for the step it was asleep over. */
		CU_ASSERT(limit == NO_LIMIT || walk.rings <= 2 * walk.arms);
	}
	CU_ASSERT_EQUAL(owed, 0);
	CU_ASSERT(finish());
	CU_ASSERT(walk.taken > STRETCHES / 4);
	CU_ASSERT(walk.rings > STRETCHES / 100);
	CU_ASSERT_EQUAL(rig.events, 0);
	rig_close();
}

static void no_wake_is_lost(void)
{
	unsigned int i;

	for (i = 0; i < NUM_SIZES; i++) {
		walk_with_sleep(sizes[i], NO_LIMIT, false);
		walk_with_sleep(sizes[i], NO_LIMIT, true);
		if (sizes[i] > 2)
			walk_with_sleep(sizes[i], (sizes[i] - 1) / 2, true);
	}
}

/* A host need not give back anything before all that fits has been posted, and then one by one. */
static void every_entry_can_be_filled(void)
{
	unsigned int i, k;

	for (i = 0; i < NUM_SIZES; i++) {
		uint32_t n = sizes[i] - 1;

		begin(sizes[i], NO_LIMIT, true, 1);
		rig.cmem.ops = &rig_cmem_ops;
		for (k = 0; k < 3 * sizes[i]; k++) {
			put(n);
			step_tail();
			step_tail();
			rig_steps(2 + n / 64 + 12);
			take(1);
			CU_ASSERT_EQUAL(walk.taken, k + 1);
			CU_ASSERT_EQUAL(
				(thread()->cq[1]->tail + sizes[i] - k % sizes[i]) % sizes[i], n);
			step_head();
			step_head();
		}
		rig_close();
	}
}

BH_SUITE("index", { "ours_never_rings_while_polled", ours_never_rings_while_polled },
	 { "others_ring_only_if_stopped", others_ring_only_if_stopped },
	 { "no_wake_is_lost", no_wake_is_lost },
	 { "every_entry_can_be_filled", every_entry_can_be_filled }, )

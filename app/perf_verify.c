/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf_verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf.h"

#define MARK 0x667265702d686209ull /* "\tbh-perf" */
#define WORDS 4			   /* of the stamp */
#define STEP 0x9e3779b97f4a7c15ull
#define MAX_GRAINS (1ull << 26) /* 256 MiB to remember them by */
#define PLACES 64		/* looked at for one that is not busy */
#define SCRUB 0x5a		/* in buffers before a read */
#define SCRUBBED 0x5a5a5a5a5a5a5a5aull

/* ---- blocks ---- */

static void make_stamp(uint64_t words[WORDS], const struct perf_stamp *stamp)
{
	words[0] = MARK;
	words[1] = stamp->lba;
	words[2] = (uint64_t)stamp->nsid << 32 | stamp->generation;
	words[3] = stamp->run;
}

/* What the rest of the block begins with. */
static uint64_t seed_of(const uint64_t words[WORDS])
{
	uint64_t seed = (words[1] * STEP) ^ words[2];

	seed = (seed ^ seed >> 29) * STEP ^ words[3];
	return (seed ^ seed >> 32) * STEP;
}

void perf_pattern_write(void *block, uint32_t bytes, const struct perf_stamp *stamp)
{
	uint64_t *words = block;

	make_stamp(words, stamp);
	uint64_t seed = seed_of(words);
	for (uint32_t i = WORDS; i < bytes / 8; i++)
		words[i] = seed + i * STEP;
}

static void explain(struct perf_difference *d, const uint64_t *found, const struct perf_stamp *want,
		    bool known)
{
	uint32_t generation = (uint32_t)found[2], nsid = (uint32_t)(found[2] >> 32);

	if (found[0] == SCRUBBED)
		snprintf(d->why, sizeof(d->why), "the controller wrote nothing into the buffer");
	else if (found[0] != MARK)
		snprintf(d->why, sizeof(d->why), "it does not begin as what bh-perf writes");
	else if (found[1] != want->lba || nsid != want->nsid)
		snprintf(d->why, sizeof(d->why),
			 "it says that it was written to LBA %" PRIu64 " of namespace %" PRIu32,
			 found[1], nsid);
	else if (known && found[3] != want->run)
		snprintf(d->why, sizeof(d->why), "another run wrote it");
	else if (known && generation != want->generation)
		snprintf(d->why, sizeof(d->why),
			 "it is of write %" PRIu32 ", and write %" PRIu32 " was the last",
			 generation, want->generation);
	else
		snprintf(d->why, sizeof(d->why), "its stamp is right, these data do not follow it");
}

/* Words differ, `found` and `want`, the i-th of the block. */
static void note(struct perf_difference *d, uint32_t i, uint64_t found, uint64_t want)
{
	uint8_t f[8], w[8];
	unsigned int byte = 0;

	memcpy(f, &found, 8);
	memcpy(w, &want, 8);
	while (f[byte] == w[byte])
		byte++;
	d->byte = i * 8 + byte;
	d->found = f[byte];
	d->expected = w[byte];
}

bool perf_pattern_check(const void *block, uint32_t bytes, const struct perf_stamp *stamp,
			bool known, struct perf_difference *first)
{
	const uint64_t *found = block;
	struct perf_stamp want = *stamp;
	uint64_t words[WORDS], differ = 0;
	uint32_t i;

	if (!known) {
		want.generation = (uint32_t)found[2];
		want.run = found[3];
	}
	make_stamp(words, &want);
	uint64_t seed = seed_of(words);
	for (i = 0; i < WORDS; i++)
		differ |= found[i] ^ words[i];
	for (i = WORDS; i < bytes / 8; i++)
		differ |= found[i] ^ (seed + i * STEP);
	if (__builtin_expect(differ == 0, 1))
		return true;
	for (i = 0; i < WORDS && found[i] == words[i]; i++)
		;
	if (i == WORDS)
		while (found[i] == seed + i * STEP)
			i++;
	first->lba = want.lba;
	note(first, i, found[i], i < WORDS ? words[i] : seed + i * STEP);
	explain(first, found, stamp, known);
	return false;
}

/* ---- lanes ---- */

int perf_verify_divide(struct perf *perf, struct perf_lane *lane, unsigned int part,
		       unsigned int parts)
{
	uint32_t grain = perf->opts->grain / lane->data_bytes;
	uint64_t grains = bh_nvme_ns_blocks(lane->ns) / grain;
	uint64_t first = (uint64_t)((unsigned __int128)grains * part / parts);
	uint64_t count = (uint64_t)((unsigned __int128)grains * (part + 1) / parts) - first;

	if (perf_writes(perf->opts) && count > MAX_GRAINS)
		count = MAX_GRAINS;
	if (count * grain < lane->blocks)
		return app_fail(perf->app, EXIT_USAGE,
				"--verify: a part of namespace %u for each of %u queues is smaller "
				"than one request: fewer of -c and -P, or a smaller -o",
				bh_nvme_ns_id(lane->ns), parts);
	lane->base = first * grain;
	lane->total = count * grain;
	return 0;
}

int perf_verify_open(struct perf *perf, struct perf_lane *lane)
{
	struct perf_verify *v;

	v = calloc(1, sizeof(*v) + perf->opts->depth * sizeof(v->request[0]));
	lane->verify = v;
	if (!v)
		return app_fail(perf->app, 1, "out of memory");
	v->grain_blocks = perf->opts->grain / lane->data_bytes;
	v->grains = lane->total / v->grain_blocks;
	if (perf_load_writes(&perf->opts->load[lane->load])) {
		v->state = calloc(v->grains, sizeof(*v->state));
		if (!v->state)
			return app_fail(perf->app, 1,
					"--verify: out of memory to remember %" PRIu64
					" places by: a larger -o takes less",
					v->grains);
	}
	return 0;
}

void perf_verify_close(struct perf_lane *lane)
{
	if (lane->verify)
		free(lane->verify->state);
	free(lane->verify);
	lane->verify = NULL;
}

static bool is_free(const struct perf_verify *v, uint64_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (v->state[first + i] & 1)
			return false;
	return true;
}

static void set(struct perf_verify *v, const struct perf_request *r, uint32_t keep, uint32_t state)
{
	uint64_t first = r->lba / v->grain_blocks;

	for (uint32_t i = 0; i < r->blocks / v->grain_blocks; i++)
		v->state[first + i] = (v->state[first + i] & keep) | state;
}

/* The place itself, or one of the next. False: all of them are busy. */
static bool claim(struct perf_lane *lane, struct perf_request *r)
{
	struct perf_verify *v = lane->verify;
	uint32_t n = r->blocks / v->grain_blocks;

	for (unsigned int i = 0; i < PLACES; i++) {
		if (is_free(v, r->lba / v->grain_blocks, n)) {
			set(v, r, ~0u, 1);
			return true;
		}
		r->lba += r->blocks;
		if (r->lba + r->blocks > lane->total)
			r->lba = 0;
	}
	return false;
}

/* For a read: what the controller does not write is not what is expected. */
static void scrub(const struct perf_lane *lane, const struct perf_request *r, void *buf)
{
	memset(buf, SCRUB, (size_t)r->blocks * (lane->block_bytes + lane->separate_bytes));
}

static void fill(const struct perf_lane *lane, const struct perf *perf,
		 const struct perf_request *r, uint8_t *buf)
{
	struct perf_stamp stamp = {
		.generation = lane->verify->generation,
		.nsid = bh_nvme_ns_id(lane->ns),
		.run = perf->run,
	};

	for (uint32_t i = 0; i < r->blocks; i++) {
		stamp.lba = lane->base + r->lba + i;
		perf_pattern_write(buf + (size_t)i * lane->block_bytes, lane->data_bytes, &stamp);
	}
}

bool perf_verify_make(struct perf_lane *lane, const struct perf *perf, uint32_t slot,
		      struct bh_nvme_rw *rw)
{
	struct perf_verify *v = lane->verify;
	struct perf_request *r = &v->request[slot];

	*r = (struct perf_request){ rw->lba, rw->blocks, rw->flags & BH_NVME_RW_WRITE };
	if (v->state && !claim(lane, r))
		return false;
	rw->lba = r->lba;
	if (r->write) {
		v->generation = v->generation == INT32_MAX ? 1 : v->generation + 1;
		fill(lane, perf, r, rw->buf);
		set(v, r, 1, v->generation << 1);
	} else {
		scrub(lane, r, rw->buf);
	}
	return true;
}

static void look_at(struct perf_lane *lane, const struct perf *perf, const struct perf_request *r,
		    const uint8_t *buf)
{
	struct perf_verify *v = lane->verify;
	struct perf_stamp stamp = { .nsid = bh_nvme_ns_id(lane->ns), .run = perf->run };
	struct perf_difference difference;

	for (uint32_t i = 0; i < r->blocks; i++) {
		if (v->state) {
			stamp.generation = v->state[(r->lba + i) / v->grain_blocks] >> 1;
			if (stamp.generation == 0)
				continue; /* nothing of ours */
		}
		stamp.lba = lane->base + r->lba + i;
		v->verified++;
		if (perf_pattern_check(buf + (size_t)i * lane->block_bytes, lane->data_bytes,
				       &stamp, v->state != NULL, &difference))
			continue;
		if (v->differing++ == 0)
			v->first = difference;
	}
}

bool perf_verify_done(struct perf_lane *lane, const struct perf *perf, uint32_t slot,
		      uint16_t status, struct bh_nvme_rw *rw)
{
	struct perf_verify *v = lane->verify;
	struct perf_request *r = &v->request[slot];

	if (r->write && status == BH_NVME_SC_SUCCESS) {
		r->write = false;
		rw->lba = r->lba;
		rw->blocks = r->blocks;
		rw->flags = 0;
		scrub(lane, r, rw->buf);
		return true;
	}
	if (status == BH_NVME_SC_SUCCESS)
		look_at(lane, perf, r, rw->buf);
	if (v->state)
		set(v, r, r->write ? 0 : ~1u, 0); /* who knows what a failed write left */
	return false;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <bellhop/histogram.h>

#include <assert.h>
#include <string.h>

static_assert(BH_HISTOGRAM_BUCKETS == 59 * 64, "the last bucket ends at 2^64 - 1");

void bh_histogram_init(struct bh_histogram *h)
{
	memset(h, 0, sizeof(*h));
	h->min = UINT64_MAX;
}

void bh_histogram_merge(struct bh_histogram *into, const struct bh_histogram *from)
{
	into->count += from->count;
	into->sum += from->sum;
	if (from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	for (unsigned int i = 0; i < BH_HISTOGRAM_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

void bh_histogram_bucket_bounds(unsigned int i, uint64_t *low, uint64_t *high)
{
	unsigned int shift;

	if (i < BH_HISTOGRAM_STEPS) {
		*low = *high = i;
		return;
	}
	shift = i / BH_HISTOGRAM_STEPS - 1;
	*low = (uint64_t)(BH_HISTOGRAM_STEPS + i % BH_HISTOGRAM_STEPS) << shift;
	*high = *low + (((uint64_t)1 << shift) - 1);
}

uint64_t bh_histogram_percentile(const struct bh_histogram *h, unsigned int per_100000)
{
	unsigned __int128 scaled = (unsigned __int128)h->count * per_100000;
	unsigned __int128 rank = (scaled + 99999) / 100000, seen = 0;
	uint64_t low, high;

	if (h->count == 0)
		return 0;
	if (rank == 0)
		return h->min;
	for (unsigned int i = 0; i < BH_HISTOGRAM_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen < rank)
			continue;
		/* The bucket's upper end, but never a value that did not occur. */
		bh_histogram_bucket_bounds(i, &low, &high);
		return high < h->max ? high : h->max;
	}
	return h->max;
}

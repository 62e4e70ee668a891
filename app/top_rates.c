/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From two samples to what happened between them. Samples are JSON as the target sent it, and are
 * not trusted: what is missing counts as nothing, and a counter that went back (its object was made
 * anew) begins at nothing.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/histogram.h>

#include "top.h"

struct span {
	const json_t *before, *now; /* the same object in both samples; before: NULL if it is new */
	double seconds;
};

static uint64_t number(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value > 0 ? (uint64_t)value : 0;
}

static uint64_t grown(const struct span *s, const char *key)
{
	uint64_t now = number(s->now, key), before = number(s->before, key);

	return now >= before ? now - before : now;
}

static void put_real(json_t *to, const char *key, double value)
{
	/* Three digits behind the point are more than anybody reads. */
	json_object_set_new(to, key, json_real((double)(int64_t)(value * 1000 + 0.5) / 1000));
}

/* KEY becomes KEY_s. */
static void put_rate(json_t *to, const struct span *s, const char *key)
{
	char name[64] = "";

	strncat(name, key, sizeof(name) - 3);
	strcat(name, "_s");
	put_real(to, name, (double)grown(s, key) / s->seconds);
}

static void put_part(json_t *to, const char *key, uint64_t part, uint64_t whole)
{
	put_real(to, key, whole ? (double)(part < whole ? part : whole) / (double)whole : 0);
}

static void keep(json_t *to, const struct span *s, const char *key)
{
	json_t *value = json_object_get(s->now, key);

	if (value)
		json_object_set(to, key, value);
}

/* Polls, and what part of them found something. */
static void put_found(json_t *to, const struct span *s)
{
	uint64_t polls = grown(s, "polls"), empty = grown(s, "empty_polls");

	put_part(to, "found", polls > empty ? polls - empty : 0, polls);
}

/* ---- latency ---- */

/* Adds buckets, or takes them off. */
static void tally(struct bh_histogram *h, const json_t *object, bool is_taken)
{
	const json_t *buckets = json_object_get(json_object_get(object, "lat_ns"), "buckets"), *one;
	size_t i;

	json_array_foreach(buckets, i, one)
	{
		json_int_t upper = json_integer_value(json_array_get(one, 0));
		json_int_t count = json_integer_value(json_array_get(one, 1));
		uint64_t *bucket = &h->bucket[bh_histogram_index((uint64_t)upper)];

		if (upper < 0 || count < 0)
			continue;
		if (!is_taken)
			*bucket += (uint64_t)count;
		else
			*bucket -= (uint64_t)count < *bucket ? (uint64_t)count : *bucket;
	}
}

static void put_latency(json_t *to, const struct span *s)
{
	struct bh_histogram *h = malloc(sizeof(*h));
	json_t *lat = json_object();
	uint64_t low, high;

	json_object_set_new(to, "lat_ns", lat);
	if (!h)
		return;
	bh_histogram_init(h);
	tally(h, s->now, false);
	tally(h, s->before, true);
	for (unsigned int i = 0; i < BH_HISTOGRAM_BUCKETS; i++) {
		if (!h->bucket[i])
			continue;
		h->count += h->bucket[i];
		bh_histogram_bucket_bounds(i, &low, &high);
		h->max = high;
	}
	json_object_set_new(lat, "p50",
			    json_integer((json_int_t)bh_histogram_percentile(h, 50000)));
	json_object_set_new(lat, "p90",
			    json_integer((json_int_t)bh_histogram_percentile(h, 90000)));
	json_object_set_new(lat, "p99",
			    json_integer((json_int_t)bh_histogram_percentile(h, 99000)));
	json_object_set_new(lat, "p99_9",
			    json_integer((json_int_t)bh_histogram_percentile(h, 99900)));
	json_object_set_new(lat, "max", json_integer((json_int_t)h->max));
	free(h);
}

/* ---- objects ---- */

typedef json_t *(*rates_fn)(const struct span *s);

/* Each of an array, beside the one with the same `key` in the array before. */
static json_t *each(const struct span *s, const char *array, const char *key, rates_fn fn)
{
	const json_t *befores = json_object_get(s->before, array), *now, *old;
	json_t *out = json_array();
	size_t i, k;

	json_array_foreach(json_object_get(s->now, array), i, now)
	{
		struct span one = { NULL, now, s->seconds };

		json_array_foreach(befores, k, old)
		{
			if (json_equal(json_object_get(old, key), json_object_get(now, key)))
				one.before = old;
		}
		json_array_append_new(out, fn(&one));
	}
	return out;
}

static void put_commands(json_t *to, const struct span *s)
{
	put_rate(to, s, "reads");
	put_rate(to, s, "writes");
	put_rate(to, s, "others");
	put_rate(to, s, "errors");
	put_rate(to, s, "read_bytes");
	put_rate(to, s, "write_bytes");
	put_latency(to, s);
}

static void put_interrupts(json_t *to, const struct span *s)
{
	put_rate(to, s, "interrupts");
	put_rate(to, s, "interrupts_suppressed");
}

/* What a visit found on average: `done` things in as many visits as `batches` says. */
static void put_batch(json_t *to, const struct span *s, uint64_t done)
{
	const json_t *now = json_object_get(s->now, "batches"), *one;
	const json_t *before = json_object_get(s->before, "batches");
	uint64_t visits = 0, earlier = 0;
	size_t i;

	json_array_foreach(now, i, one) visits += (uint64_t)json_integer_value(one);
	json_array_foreach(before, i, one) earlier += (uint64_t)json_integer_value(one);
	visits -= earlier <= visits ? earlier : 0;
	put_real(to, "batch", visits ? (double)done / (double)visits : 0);
}

static json_t *thread_rates(const struct span *s)
{
	uint64_t passes = grown(s, "passes"), ns = grown(s, "time_ns");
	uint64_t busy = grown(s, "busy_ns"), asleep = grown(s, "asleep_ns");
	json_t *one = json_object();

	keep(one, s, "cpu");
	put_part(one, "busy", busy, ns);
	put_part(one, "asleep", asleep, ns);
	put_part(one, "polling", ns > busy + asleep ? ns - busy - asleep : 0, ns);
	put_part(one, "on_cpu", grown(s, "cpu_ns"), ns);
	put_rate(one, s, "passes");
	put_part(one, "found", grown(s, "busy_passes"), passes);
	put_rate(one, s, "messages");
	put_rate(one, s, "sleeps");
	return one;
}

static json_t *namespace_rates(const struct span *s)
{
	json_t *one = json_object();

	keep(one, s, "nsid");
	put_commands(one, s);
	return one;
}

static json_t *queue_rates(const struct span *s)
{
	json_t *one = json_object();

	keep(one, s, "qid");
	keep(one, s, "cpu");
	put_commands(one, s);
	put_batch(one, s,
		  grown(s, "reads") + grown(s, "writes") + grown(s, "others") + grown(s, "errors"));
	put_interrupts(one, s);
	return one;
}

static json_t *controller_rates(const struct span *s)
{
	json_t *one = json_object();

	keep(one, s, "name");
	put_commands(one, s);
	put_interrupts(one, s);
	put_rate(one, s, "doorbell_messages");
	put_rate(one, s, "polls");
	put_found(one, s);
	json_object_set_new(one, "namespaces", each(s, "namespaces", "nsid", namespace_rates));
	json_object_set_new(one, "queues", each(s, "queues", "qid", queue_rates));
	return one;
}

static void put_packets(json_t *to, const struct span *s)
{
	put_rate(to, s, "tx_packets");
	put_rate(to, s, "tx_bytes");
	put_rate(to, s, "tx_drops");
	put_rate(to, s, "rx_packets");
	put_rate(to, s, "rx_bytes");
	put_rate(to, s, "rx_drops");
	put_latency(to, s);
	put_interrupts(to, s);
}

static json_t *pair_rates(const struct span *s)
{
	json_t *one = json_object();

	keep(one, s, "index");
	keep(one, s, "cpu");
	put_packets(one, s);
	put_batch(one, s, grown(s, "tx_packets") + grown(s, "rx_packets"));
	return one;
}

static json_t *net_rates(const struct span *s)
{
	json_t *one = json_object();

	keep(one, s, "name");
	put_packets(one, s);
	put_rate(one, s, "notify_messages");
	put_rate(one, s, "polls");
	put_found(one, s);
	json_object_set_new(one, "queues", each(s, "queues", "index", pair_rates));
	return one;
}

json_t *top_rates(const json_t *before, const json_t *now)
{
	uint64_t begin = number(before, "time_ns"), end = number(now, "time_ns");
	const struct span s = { before, now, (double)(end - begin) / 1e9 };
	json_t *root;

	if (number(before, "schema") != 1 || number(now, "schema") != 1 || end <= begin)
		return NULL;
	root = json_object();
	json_object_set_new(root, "schema", json_integer(1));
	put_real(root, "seconds", s.seconds);
	json_object_set_new(root, "threads", each(&s, "threads", "cpu", thread_rates));
	json_object_set_new(root, "controllers", each(&s, "controllers", "name", controller_rates));
	json_object_set_new(root, "nets", each(&s, "nets", "name", net_rates));
	return root;
}

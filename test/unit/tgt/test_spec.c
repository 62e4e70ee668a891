/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The grammar of SPECs. The table of examples in doc/specs.md is read and every row of it checked,
 * so that what is documented is what is parsed. What a table of printable words cannot say follows.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/tgt.h>

#include "unit.h"

#define TABLE BH_SRC "/doc/specs.md"
#define LINE 1024

static void __attribute__((format(printf, 2, 3))) add(char *to, const char *fmt, ...)
{
	size_t used = strlen(to);
	va_list args;

	va_start(args, fmt);
	vsnprintf(to + used, LINE - used, fmt, args);
	va_end(args);
}

static void describe_store(char *to, const struct bh_tgt_store_spec *store)
{
	add(to, "; ns %s arg=%s", store->type ? store->type : "@", store->arg);
	if (store->bytes)
		add(to, " bytes=%llu", (unsigned long long)store->bytes);
	add(to, " bs=%u", store->block_size);
	if (store->md_bytes)
		add(to, " ms=%u", store->md_bytes);
	if (store->pi)
		add(to, " pi=%u", store->pi);
	if (store->zoned.bytes)
		add(to, " zoned=%llu/%llu/%u/%u", (unsigned long long)store->zoned.bytes,
		    (unsigned long long)store->zoned.capacity, store->zoned.max_open,
		    store->zoned.max_active);
	if (store->has_uuid) {
		add(to, " uuid=");
		for (unsigned int i = 0; i < 16; i++)
			add(to, "%02x", store->uuid[i]);
	}
	if (store->nsid)
		add(to, " nsid=%u", store->nsid);
}

/* What was parsed, in the words of the table's right column. */
static void describe(char *to, const struct bh_tgt_spec *spec)
{
	static const char *const kinds[] = { [BH_TGT_SPEC_STORE] = "store",
					     [BH_TGT_SPEC_NVME] = "nvme",
					     [BH_TGT_SPEC_NET] = "net",
					     [BH_TGT_SPEC_SUBSYS] = "subsys" };

	add(to, "%s name=%s", kinds[spec->kind], spec->name);
	if (spec->subsys)
		add(to, " subsys=%s", spec->subsys);
	if (spec->nqn)
		add(to, " nqn=%s", spec->nqn);
	if (spec->cap)
		add(to, " cap=%llu", (unsigned long long)spec->cap);
	if (spec->serial)
		add(to, " serial=%s", spec->serial);
	if (spec->model)
		add(to, " model=%s", spec->model);
	if (spec->queues)
		add(to, " queues=%u", spec->queues);
	if (spec->depth)
		add(to, " depth=%u", spec->depth);
	if (bh_cpuset_count(&spec->cores)) {
		char cpus[64];

		bh_format_cpus(&spec->cores, cpus, sizeof(cpus));
		add(to, " cores=%s", cpus);
	}
	if (spec->dstrd)
		add(to, " dstrd=%u", spec->dstrd);
	if (spec->doorbells == BH_DOORBELLS_TRAPPED)
		add(to, " doorbells=trapped");
	if (spec->mdts)
		add(to, " mdts=%llu", (unsigned long long)spec->mdts);
	if (spec->cmb)
		add(to, " cmb=%llu", (unsigned long long)spec->cmb);
	if (spec->port)
		add(to, " port=%s arg=%s", spec->port, spec->port_arg);
	if (spec->has_mac)
		add(to, " mac=%02x%02x%02x%02x%02x%02x", spec->mac[0], spec->mac[1], spec->mac[2],
		    spec->mac[3], spec->mac[4], spec->mac[5]);
	if (spec->mtu)
		add(to, " mtu=%u", spec->mtu);
	if (spec->split_rings)
		add(to, " rings=split");
	for (unsigned int i = 0; i < spec->num_stores; i++)
		describe_store(to, &spec->store[i]);
}

/* Is it refused with `error`, and do the reasons contain `text`? */
static bool is_refused(const char *word, int error, const char *text)
{
	struct bh_tgt_spec spec;
	char why[BH_TGT_WHY] = "";
	int got = bh_tgt_spec_parse(word, &spec, why);
	bool right = got == error && strstr(why, text) != NULL && why[0] != '\0';

	bh_tgt_spec_fini(&spec);
	if (!right)
		printf("\n%s: expected %d '%s', got %d '%s'\n", word, error, text, got, why);
	return right;
}

static bool is_accepted(const char *word, const char *text)
{
	struct bh_tgt_spec spec;
	char why[BH_TGT_WHY] = "", made[LINE] = "";
	int error = bh_tgt_spec_parse(word, &spec, why);

	if (!error)
		describe(made, &spec);
	bool right = !error && why[0] == '\0' && strcmp(made, text) == 0;
	bh_tgt_spec_fini(&spec);
	if (!right)
		printf("\n%s: expected '%s', got %d '%s%s'\n", word, text, error, made, why);
	return right;
}

/* Takes the next `...` out of *at. */
static char *next_code(char **at)
{
	char *begin = strchr(*at, '`');
	char *end = begin ? strchr(begin + 1, '`') : NULL;

	if (!end)
		return NULL;
	*end = '\0';
	*at = end + 1;
	return begin + 1;
}

/* A row "| `SPEC` | result |". -1: no row of this table; else whether it holds. */
static int check_row(char *row)
{
	char *at = row;
	char *word = strncmp(row, "| `", 3) == 0 ? next_code(&at) : NULL;

	if (!word || strncmp(at, " | ", 3) != 0)
		return -1;
	at += 3;
	int error = strncmp(at, "refused: ", 9) == 0	  ? -EINVAL
		    : strncmp(at, "not built: ", 11) == 0 ? -ENOTSUP
							  : 0;
	char *text = next_code(&at);
	if (!text || strcmp(at, " |\n") != 0)
		return 0;
	return error ? is_refused(word, error, text) : is_accepted(word, text);
}

static void every_example_of_the_documentation_holds(void)
{
	FILE *file = fopen(TABLE, "r");
	char line[LINE];
	bool inside = false;
	unsigned int rows = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, "## ", 3) == 0)
			inside = strcmp(line, "## Examples\n") == 0;
		int holds = inside ? check_row(line) : -1;

		if (holds < 0)
			continue;
		rows++;
		CU_ASSERT(holds);
	}
	fclose(file);
	CU_ASSERT(rows >= 80);
}

static void as_many_namespaces_as_fit(void)
{
	struct bh_tgt_spec spec;
	char why[BH_TGT_WHY], word[16 + (BH_TGT_SPEC_NS + 1) * 16] = "nvme:n0";

	for (unsigned int i = 0; i < BH_TGT_SPEC_NS; i++)
		strcat(word, ",ns=null:1M");
	CU_ASSERT_EQUAL(bh_tgt_spec_parse(word, &spec, why), 0);
	CU_ASSERT_EQUAL(spec.num_stores, BH_TGT_SPEC_NS);
	bh_tgt_spec_fini(&spec);
	strcat(word, ",ns=null:1M");
	CU_ASSERT(is_refused(word, -EINVAL, "more than 64 namespaces"));
}

static void text_is_printable(void)
{
	CU_ASSERT(is_refused("nvme:n0,serial=a\tb", -EINVAL, "ASCII"));
	CU_ASSERT(is_refused("nvme:n0,model=\xc3\xa9", -EINVAL, "ASCII"));
	CU_ASSERT(is_refused("nvme:n0,model=a\x7f", -EINVAL, "ASCII"));
	CU_ASSERT(is_accepted("nvme:n0,model=1234567890123456789012345678901234567890",
			      "nvme name=n0 model=1234567890123456789012345678901234567890"));
	CU_ASSERT(is_refused("nvme:n0,model=12345678901234567890123456789012345678901", -EINVAL,
			     "1 to 40"));
}

static void long_words_give_a_reason_that_fits(void)
{
	char word[4096];

	memset(word, 'x', sizeof(word));
	word[sizeof(word) - 1] = '\0';
	CU_ASSERT(is_refused(word, -EINVAL, "xxx"));
	memcpy(word, "nvme:n0,", 8);
	CU_ASSERT(is_refused(word, -EINVAL, "xxx"));
	memcpy(word, "store:a=ram:", 12);
	CU_ASSERT(is_refused(word, -EINVAL, "xxx"));
	memcpy(word, "store:a=ram:1G:uuid=", 20);
	CU_ASSERT(is_refused(word, -EINVAL, "xxx"));
	memcpy(word, "nvme:n0,mdts=", 13);
	CU_ASSERT(is_refused(word, -EINVAL, "xxx"));
}

/* A refused SPEC leaves nothing to leak, and fini may be called again. */
static void fini_twice_is_harmless(void)
{
	struct bh_tgt_spec spec;
	char why[BH_TGT_WHY];

	CU_ASSERT_EQUAL(bh_tgt_spec_parse("nvme:n0,serial=a,ns=ram:1G,ns=x", &spec, why), -EINVAL);
	bh_tgt_spec_fini(&spec);
	CU_ASSERT_PTR_NULL(spec.name);
	CU_ASSERT_EQUAL(spec.num_stores, 0);
	bh_tgt_spec_fini(&spec);
	bh_tgt_spec_fini(NULL);
}

static void a_trailing_backslash_is_itself(void)
{
	CU_ASSERT(is_accepted("nvme:n0\\", "nvme name=n0\\"));
	CU_ASSERT(is_accepted("store:a=file:/x\\", "store name=a; ns file arg=/x\\ bs=512"));
}

BH_SUITE("spec",
	 { "every_example_of_the_documentation_holds", every_example_of_the_documentation_holds },
	 { "as_many_namespaces_as_fit", as_many_namespaces_as_fit },
	 { "text_is_printable", text_is_printable },
	 { "long_words_give_a_reason_that_fits", long_words_give_a_reason_that_fits },
	 { "fini_twice_is_harmless", fini_twice_is_harmless },
	 { "a_trailing_backslash_is_itself", a_trailing_backslash_is_itself })

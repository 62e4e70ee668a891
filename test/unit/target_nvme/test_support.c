/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tables of doc/nvme-support.md: what a controller has says so there, what stands there it has,
 * and the tests they name exist.
 */
#include "target_nvme/control_rig.h"

#include <stdio.h>

#include <bellhop/target_subsys.h>

#define DOC BH_SRC "/doc/nvme-support.md"
#define TEXT_MAX (512u << 10)

static struct bh_target_subsys *subsys;
static char *doc;
static char state[64];

static char *slurp(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text;

	if (!file)
		return NULL;
	text = calloc(1, TEXT_MAX);
	if (text && fread(text, 1, TEXT_MAX - 1, file) == 0)
		text[0] = '\0';
	fclose(file);
	return text;
}

/* In a subsystem with a place for its state, which has more. */
static int setup(void)
{
	struct bh_target_subsys_opts so;
	int fd;

	snprintf(state, sizeof(state), "/tmp/bh-support-XXXXXX");
	fd = mkstemp(state);
	if (fd < 0 || rig_init())
		return -1;
	close(fd);
	bh_target_subsys_opts_init(&so);
	so.nqn = "nqn.2026-01.io.x:support";
	so.control = rig.control;
	so.state = state;
	if (bh_target_subsys_create(&so, &subsys) || rig_open_in(subsys))
		return -1;
	doc = slurp(DOC);
	return !doc;
}

/* A store of every kind: whatever depends on one is there. */
static void attach(void)
{
	CU_ASSERT_EQUAL_FATAL(rig_attach(1, 1 << 20, 512), 1);
	rig.ctrl->ns[1]->blk->info.caps |= BH_BLK_CAP_FLUSH | BH_BLK_CAP_DEALLOCATE;
}

static int teardown(void)
{
	int rc;

	free(doc);
	unlink(state);
	bh_target_nvme_free(rig.ctrl);
	rig.ctrl = NULL;
	rc = bh_target_subsys_destroy(subsys);
	return rig_teardown() || rc;
}

/* ---- what there is ---- */

/* The row of a number in a section: NULL, or what follows "| XXh ". */
static const char *row_of(const char *section, unsigned int number)
{
	char head[64], row[16];
	const char *at, *end;

	snprintf(head, sizeof(head), "\n## %s\n", section);
	snprintf(row, sizeof(row), "\n| %02Xh | ", number);
	at = strstr(doc, head);
	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	end = strstr(at + 1, "\n## ");
	at = strstr(at, row);
	return at && (!end || at < end) ? at + strlen(row) : NULL;
}

static void complain(const char *section, unsigned int number, const char *what)
{
	printf("doc/nvme-support.md, %s, %02Xh: %s\n", section, number, what);
	CU_FAIL("a table is not true");
}

/* name NULL: one that nobody has given a name, which has no row. */
static void check_row(const char *section, unsigned int number, const char *name, bool is_there)
{
	const char *row = row_of(section, number);

	if (!name || !strncmp(name, "Unknown", 7) || !strncmp(name, "Vendor Specific", 15)) {
		if (row || is_there)
			complain(section, number, "has no name in lib/nvme_spec");
	} else if (!row) {
		complain(section, number, "has no row");
	} else if (name[0] && (strncmp(row, name, strlen(name)) != 0 ||
			       strncmp(row + strlen(name), " | ", 3) != 0)) {
		complain(section, number, "has another name");
	} else {
		row = strstr(row, " | ") + 3;
		if (strncmp(row, is_there ? "yes |" : "no |", is_there ? 5 : 4) != 0)
			complain(section, number,
				 is_there ? "is supported: make it a yes, with its tests"
					  : "is not supported: make it a no, and say why");
	}
}

static void commands_are_listed(void)
{
	struct bh_nvme_cmd zoned = { .opc = BH_NVME_ADMIN_GET_LOG_PAGE,
				     .nsid = BH_NVME_NSID_ALL,
				     .cdw10 = BH_NVME_LOG_EFFECTS |
					      (sizeof(struct bh_nvme_effects_log) / 4 - 1) << 16,
				     .cdw14 = (uint32_t)BH_NVME_CSI_ZNS << 24 };
	struct bh_nvme_effects_log effects;
	struct bh_nvme_cpl cpl;
	unsigned int opc;

	attach();
	CU_ASSERT_EQUAL_FATAL(rig_log_page(BH_NVME_LOG_EFFECTS, 0, sizeof(effects), 0), 0);
	memcpy(&effects, rig_data(), sizeof(effects));
	/* Of either command set. */
	CU_ASSERT_EQUAL_FATAL(rig_admin_cpl(&zoned, &cpl), 0);
	for (opc = 0; opc < 256; opc++)
		effects.iocs[opc] |= ((const struct bh_nvme_effects_log *)rig_data())->iocs[opc];
	for (opc = 0; opc < 256; opc++) {
		check_row("Admin commands", opc, bh_nvme_admin_str((uint8_t)opc),
			  effects.acs[opc] & BH_NVME_EFFECT_CSUPP);
		check_row("I/O commands", opc, bh_nvme_cmd_str((uint8_t)opc),
			  effects.iocs[opc] & BH_NVME_EFFECT_CSUPP);
	}
}

static void log_pages_are_listed(void)
{
	struct bh_nvme_supported_logs logs;
	unsigned int lid;

	attach();
	CU_ASSERT_EQUAL_FATAL(rig_log_page(BH_NVME_LOG_SUPPORTED, 0, sizeof(logs), 0), 0);
	memcpy(&logs, rig_data(), sizeof(logs));
	for (lid = 0; lid < 256; lid++)
		check_row("Log pages", lid, bh_nvme_log_str((uint8_t)lid),
			  logs.lid[lid] & BH_NVME_LOG_LSUPP);
}

static void features_are_listed(void)
{
	const uint32_t sel = BH_NVME_FEATURES_SEL_SUPPORTED << BH_NVME_FEATURES_SEL_SHIFT;
	unsigned int fid;

	attach();
	for (fid = 0; fid < 256; fid++)
		check_row("Features", fid, bh_nvme_feat_str((uint8_t)fid),
			  !rig_admin(BH_NVME_ADMIN_GET_FEATURES, 1, fid | sel, 0, NULL));
}

/* What is refused whatever it is about is not there. */
static bool has_structure(unsigned int cns)
{
	static const uint32_t nsids[] = { 0, 1 };
	unsigned int i, csi;

	for (i = 0; i < 2; i++)
		for (csi = 0; csi <= BH_NVME_CSI_ZNS; csi++)
			if (!rig_admin(BH_NVME_ADMIN_IDENTIFY, nsids[i], cns | 0xffff0000u,
				       csi << 24, NULL))
				return true;
	return false;
}

static void identify_structures_are_listed(void)
{
	unsigned int cns;

	attach();
	for (cns = 0; cns < 256; cns++)
		check_row("Identify structures", cns,
			  row_of("Identify structures", cns) ? "" : NULL, has_structure(cns));
}

/* ---- tests ---- */

static bool is_word(char c)
{
	return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z');
}

/* Is `word` in the text, with `before` in front of it, as a word of its own? */
static bool has(const char *text, const char *before, const char *word)
{
	char what[160];
	const char *at = text;
	int len = snprintf(what, sizeof(what), "%s%s", before, word);

	for (; (at = strstr(at, what)); at++)
		if ((at == text || !is_word(at[-1])) && !is_word(at[len]) && at[len] != '.')
			return true;
	return false;
}

/* SCRIPT.CASE: where the script is kept, and how it names its cases. */
static bool exists(const char *script, const char *name)
{
	static const struct {
		const char *prefix, *dir, *ending, *before;
	} kinds[] = {
		{ "ft_", "/test/functional/", ".c", "" },
		{ "ft_", "/test/functional/", "", "def " },
		{ "test_", "/test/unit/target_nvme/", ".c", "" },
		{ "identify", "/test/vm/guest/", ".sh", "check_" },
		{ "", "/test/vm/guests/", ".sh", "t " },
	};
	char path[512], *text;
	bool is_found = false;
	size_t i;

	for (i = 0; !is_found && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strncmp(script, kinds[i].prefix, strlen(kinds[i].prefix)) != 0)
			continue;
		snprintf(path, sizeof(path), BH_SRC "%s%s%s", kinds[i].dir, script,
			 kinds[i].ending);
		text = slurp(path);
		is_found = text && has(text, kinds[i].before, name);
		free(text);
	}
	return is_found;
}

/* The tests that a line names; those there are not are told. */
static unsigned int tests_of(const char *line)
{
	unsigned int tests = 0;
	char word[120], *dot;
	const char *end;

	for (; (line = strchr(line, '`')); line = end + 1) {
		end = strchr(++line, '`');
		if (!end)
			break;
		snprintf(word, sizeof(word), "%.*s", (int)(end - line), line);
		dot = strchr(word, '.');
		if (!dot || strpbrk(word, "/= ") || !strcmp(word, "SCRIPT.CASE"))
			continue;
		*dot = '\0';
		tests++;
		if (!exists(word, dot + 1)) {
			printf("doc/nvme-support.md: there is no test %s.%s\n", word, dot + 1);
			CU_FAIL("a test that is named does not exist");
		}
	}
	return tests;
}

/* A yes has a test, a no has a reason. */
static void tests_exist(void)
{
	unsigned int tests = 0, here;
	char *save = NULL, *line;

	for (line = strtok_r(doc, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const char *no = strstr(line, "| no |");

		here = tests_of(line);
		tests += here;
		if ((line[0] == '|' && strstr(line, "| yes |") && !here) ||
		    (no && strlen(no) < strlen("| no | why |"))) {
			printf("%s\n", line);
			CU_FAIL("a row says nothing to show for it");
		}
	}
	CU_ASSERT_TRUE(tests > 120);
	CU_ASSERT_FALSE(exists("guest", "no_such_test"));
	CU_ASSERT_FALSE(exists("guest", "feature")); /* part of a name */
}

BH_SUITE_FIXTURE("target_nvme_support", setup, teardown,
		 { "commands_are_listed", commands_are_listed },
		 { "log_pages_are_listed", log_pages_are_listed },
		 { "features_are_listed", features_are_listed },
		 { "identify_structures_are_listed", identify_structures_are_listed },
		 { "tests_exist", tests_exist }, )

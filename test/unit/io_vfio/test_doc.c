/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table in doc/vfio.md: it names every call, feature and flag of the kernel's that the backend
 * uses, and the tests it names exist.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#define DOC BH_SRC "/doc/vfio.md"
#define TEXT_MAX (1u << 20)

/* A whole file, or all files of a directory with that ending; the caller frees it. */
static char *slurp(const char *path, char *text)
{
	FILE *file = fopen(path, "re");
	size_t used = text ? strlen(text) : 0;

	text = text ? text : malloc(TEXT_MAX);
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	used += fread(text + used, 1, TEXT_MAX - 1 - used, file);
	text[used] = '\0';
	fclose(file);
	return text;
}

static char *slurp_dir(const char *dir, const char *ending, char *text)
{
	DIR *d = opendir(dir);
	const struct dirent *e;
	char path[1024];

	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	while ((e = readdir(d))) {
		size_t len = strlen(e->d_name), tail = strlen(ending);

		if (e->d_name[0] == '.' || len < tail ||
		    strcmp(e->d_name + len - tail, ending) != 0 ||
		    (tail == 0 && strchr(e->d_name, '.')) || e->d_type == DT_DIR)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		text = slurp(path, text);
	}
	closedir(d);
	return text;
}

static bool is_word(char c)
{
	return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z');
}

/* Is `word` in the text as a word of its own? */
static bool has_word(const char *text, const char *word, size_t len)
{
	for (const char *at = text; (at = strstr(at, word)); at++)
		if ((at == text || !is_word(at[-1])) && !is_word(at[len]))
			return true;
	return false;
}

static void expect(bool so, const char *name, const char *what)
{
	if (!so)
		printf("%s %s\n", name, what);
	CU_ASSERT_TRUE(so);
}

static bool is_kernels(const char *word)
{
	return strncmp(word, "VFIO_", 5) == 0 || strncmp(word, "UAPI_IO", 7) == 0 ||
	       strncmp(word, "UAPI_FEATURE", 12) == 0 || strncmp(word, "UAPI_HOT", 8) == 0;
}

static void every_name_that_is_used_is_listed(void)
{
	char *code = slurp_dir(BH_SRC "/lib/io_vfio", ".c", NULL), *doc = slurp(DOC, NULL);
	char word[80];
	unsigned int names = 0;
	size_t len;

	for (const char *at = code; *at; at += len) {
		for (len = 0; is_word(at[len]); len++)
			;
		if (len > 0 && len < sizeof(word)) {
			memcpy(word, at, len);
			word[len] = '\0';
			if (is_kernels(word)) {
				names++;
				expect(has_word(doc, word, len), word, "is not in doc/vfio.md");
			}
		}
		len += len == 0;
	}
	CU_ASSERT_TRUE(names > 50);
	free(code);
	free(doc);
}

/* `machine.prefix.case`: the last part is a case or a test of a script, the first a machine. */
static bool exists(const char *vm, char *name)
{
	char *last = strrchr(name, '.'), quoted[160];

	if (!last)
		return false;
	*last++ = '\0';
	if (!has_word(vm, last, strlen(last)))
		return false;
	name[strcspn(name, ".")] = '\0';
	snprintf(quoted, sizeof(quoted), "achine(\"%s\"", name);
	return strstr(vm, quoted) != NULL;
}

static void every_test_that_is_named_exists(void)
{
	char *vm = slurp_dir(BH_SRC "/test/vm", "", NULL), *doc = slurp(DOC, NULL), *save = NULL;
	unsigned int tests = 0;

	vm = slurp_dir(BH_SRC "/test/vm", ".c", vm);
	for (char *line = strtok_r(doc, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *column = strrchr(line, '|'), *inner = NULL;

		if (strncmp(line, "| `", 3) != 0 || !column)
			continue;
		*column = '\0';
		column = strrchr(line, '|');
		for (char *name = strtok_r(column, " `|", &inner); name;
		     name = strtok_r(NULL, " `|", &inner)) {
			tests++;
			if (!strchr(name, '/'))
				expect(exists(vm, name), name, "is in no machine");
		}
	}
	CU_ASSERT_TRUE(tests > 25);
	free(vm);
	free(doc);
}

BH_SUITE("io_vfio doc", { "every_name_that_is_used_is_listed", every_name_that_is_used_is_listed },
	 { "every_test_that_is_named_exists", every_test_that_is_named_exists }, )

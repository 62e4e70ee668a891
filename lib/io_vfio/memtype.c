/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which memory type the kernel has registered for physical memory: x86 keeps a list, and shows it
 * to root while debugfs is mounted. Lines look like
 *	PAT: [mem 0x00000000fe800000-0x00000000fe804000] uncached-minus
 * with the end exclusive. Every mapping of such memory gets the registered type, whatever it asked
 * for, so the list is the authority.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io_vfio/dev.h"

#define LIST "/sys/kernel/debug/x86/pat_memtype_list"
#define LIST_MAX (1u << 20)

static enum bh_attr attr_of(const char *name)
{
	if (strncmp(name, "write-combining", 15) == 0)
		return BH_ATTR_WC;
	/* uncached-minus: uncached, unless an MTRR says otherwise, which nobody sets any more. */
	if (strncmp(name, "uncached", 8) == 0)
		return BH_ATTR_UC;
	return BH_ATTR_UNKNOWN;
}

enum bh_attr io_vfio_memtype_parse(const char *list, uint64_t start, uint64_t len)
{
	enum bh_attr attr = BH_ATTR_UNKNOWN;
	unsigned long long first, end;
	int at;

	for (const char *line = list; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		at = 0;
		if (sscanf(line, "PAT: [mem 0x%llx-0x%llx] %n", &first, &end, &at) != 2 || at == 0)
			continue;
		if (end <= first || !bh_range_overlaps(first, end - first, start, len))
			continue;
		/* Two that disagree, or one that ends inside: nothing is known of the whole. */
		if (first > start || end - start < len ||
		    (attr != BH_ATTR_UNKNOWN && attr != attr_of(line + at)))
			return BH_ATTR_UNKNOWN;
		attr = attr_of(line + at);
	}
	return attr;
}

static char *read_list(void)
{
	FILE *file = fopen(LIST, "re");
	char *text;
	size_t n;

	if (!file)
		return NULL;
	text = malloc(LIST_MAX);
	if (text) {
		n = fread(text, 1, LIST_MAX - 1, file);
		text[n] = '\0';
	}
	fclose(file);
	return text;
}

enum bh_attr io_vfio_memtype(uint64_t start, uint64_t len)
{
	char *list = read_list();
	enum bh_attr attr = list ? io_vfio_memtype_parse(list, start, len) : BH_ATTR_UNKNOWN;

	free(list);
	return attr;
}

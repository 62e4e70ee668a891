/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses. What looks like a PCI address is one; everything else is a path, so that a socket
 * needs no prefix. A path may contain anything: only a `?ns=` with digits, at the very end, is not
 * part of it.
 */
#include <bellhop/bellhop.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <bellhop/parse.h>

#define NSID_MAX 0xfffffffeull /* NVMe 2.0 3.2.1.2: FFFFFFFFh means all */

static int invalid(const char **why, const char *text)
{
	if (why)
		*why = text;
	return -EINVAL;
}

/* Reads min to max hexadecimal digits and what must follow them. The rest, or NULL. */
static const char *hex(const char *text, int min, int max, char follows, uint32_t *value)
{
	int n = 0;

	for (*value = 0; n < max; n++, text++) {
		if (*text >= '0' && *text <= '9')
			*value = *value << 4 | (uint32_t)(*text - '0');
		else if ((*text | 0x20) >= 'a' && (*text | 0x20) <= 'f')
			*value = *value << 4 | (uint32_t)((*text | 0x20) - 'a' + 10);
		else
			break;
	}
	return n >= min && *text == follows ? text + 1 : NULL;
}

/* ([0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7], in either case, and nothing behind it. */
static bool is_bdf(const char *text, uint32_t bdf[4])
{
	const char *rest = hex(text, 4, 8, ':', &bdf[0]);

	if (!rest) {
		bdf[0] = 0;
		rest = text;
	}
	rest = hex(rest, 2, 2, ':', &bdf[1]);
	if (rest)
		rest = hex(rest, 2, 2, '.', &bdf[2]);
	if (!rest || rest[0] < '0' || rest[0] > '7' || rest[1] != '\0')
		return false;
	bdf[3] = (uint32_t)(rest[0] - '0');
	return true;
}

/* Takes `?ns=N` off. 1: there was one; 0: none; -EINVAL: N is no namespace. */
static int take_nsid(char *text, uint32_t *nsid)
{
	char *mark = strrchr(text, '?');
	uint64_t value;
	int rc;

	if (!mark || strncmp(mark, "?ns=", 4) != 0 || mark[4] == '\0' ||
	    mark[4 + strspn(mark + 4, "0123456789")] != '\0')
		return 0;
	rc = bh_parse_u64(mark + 4, 1, NSID_MAX, &value);
	if (rc != 0)
		return -EINVAL;
	*nsid = (uint32_t)value;
	*mark = '\0';
	return 1;
}

int bh_address_parse(const char *text, struct bh_address *out, const char **why)
{
	char copy[BH_ADDRESS_MAX];
	const char *target = copy;
	uint32_t bdf[4];
	bool pci;

	memset(out, 0, sizeof(*out));
	if (why)
		*why = NULL;
	if (!text || strlen(text) >= sizeof(copy))
		return invalid(why, text ? "the address is too long" : "the address is empty");
	strcpy(copy, text);
	if (take_nsid(copy, &out->nsid) < 0)
		return invalid(why, "?ns= takes a namespace from 1 to 4294967294");
	pci = strncmp(copy, "pci:", 4) == 0;
	if (pci)
		target += 4;
	else if (strncmp(copy, "vfio-user:", 10) == 0)
		target += 10;
	if (*target == '\0')
		return invalid(why, "the address is empty");
	if ((pci || target == copy) && is_bdf(target, bdf)) {
		if (bdf[2] > 0x1f)
			return invalid(why, "a PCI bus has devices 00 to 1f only");
		out->kind = BH_ADDRESS_PCI;
		snprintf(out->target, sizeof(out->target), "%04x:%02x:%02x.%x", bdf[0], bdf[1],
			 bdf[2], bdf[3]);
		return 0;
	}
	if (pci)
		return invalid(why, "a PCI address looks like pci:0000:01:00.0");
	out->kind = BH_ADDRESS_VFIO_USER;
	strcpy(out->target, target);
	return 0;
}

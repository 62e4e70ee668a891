/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <bellhop/nvme_spec.h>

static bool named(const char *text)
{
	return strncmp(text, "Unknown", 7) != 0 && strncmp(text, "Vendor Specific", 15) != 0;
}

/* How many of the first `count` numbers have a name of their own; all must have some text. */
static unsigned int count_named(const char *(*str)(uint8_t), unsigned int count)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < count; i++) {
		const char *text = str((uint8_t)i);

		CU_ASSERT_PTR_NOT_NULL_FATAL(text);
		CU_ASSERT(text[0] != '\0');
		n += named(text);
	}
	return n;
}

/* A row out of order would not be found by the search, so the counts are those of the header. */
static void every_number_has_its_name(void)
{
	CU_ASSERT_EQUAL(count_named(bh_nvme_admin_str, 256), 30);
	CU_ASSERT_EQUAL(count_named(bh_nvme_cmd_str, 256), 16);
	CU_ASSERT_EQUAL(count_named(bh_nvme_feat_str, 256), 35);
	CU_ASSERT_EQUAL(count_named(bh_nvme_log_str, 256), 27);
}

static void every_status_has_its_name(void)
{
	static const struct {
		uint16_t first, last;
		unsigned int named;
	} ranges[] = {
		{ 0x000, 0x07f, 36 }, { 0x080, 0x0ff, 10 }, { 0x100, 0x17f, 45 },
		{ 0x180, 0x1ff, 14 }, { 0x200, 0x2ff, 9 },  { 0x300, 0x3ff, 7 },
		{ 0x400, 0x7ff, 0 },
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		unsigned int n = 0;

		for (unsigned int sf = ranges[i].first; sf <= ranges[i].last; sf++) {
			const char *text = bh_nvme_status_str((uint16_t)sf);

			CU_ASSERT_PTR_NOT_NULL_FATAL(text);
			CU_ASSERT(text[0] != '\0');
			n += named(text);
		}
		CU_ASSERT_EQUAL(n, ranges[i].named);
	}
}

static void names_are_those_of_the_specification(void)
{
	CU_ASSERT_STRING_EQUAL(bh_nvme_admin_str(0x06), "Identify");
	CU_ASSERT_STRING_EQUAL(bh_nvme_admin_str(0x7c), "Doorbell Buffer Config");
	CU_ASSERT_STRING_EQUAL(bh_nvme_admin_str(0x00), "Delete I/O Submission Queue");
	CU_ASSERT_STRING_EQUAL(bh_nvme_cmd_str(0x00), "Flush");
	CU_ASSERT_STRING_EQUAL(bh_nvme_cmd_str(0x09), "Dataset Management");
	CU_ASSERT_STRING_EQUAL(bh_nvme_cmd_str(0x7d), "Zone Append");
	CU_ASSERT_STRING_EQUAL(bh_nvme_feat_str(0x07), "Number of Queues");
	CU_ASSERT_STRING_EQUAL(bh_nvme_feat_str(0x84), "Namespace Write Protection Config");
	CU_ASSERT_STRING_EQUAL(bh_nvme_log_str(0x02), "SMART / Health Information");
	CU_ASSERT_STRING_EQUAL(bh_nvme_log_str(0xbf), "Changed Zone List");
	CU_ASSERT_STRING_EQUAL(bh_nvme_csi_str(0x00), "NVM");
	CU_ASSERT_STRING_EQUAL(bh_nvme_csi_str(0x02), "Zoned Namespace");
	CU_ASSERT_STRING_EQUAL(bh_nvme_csi_str(0x04), "Computational Programs");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_str(0x000), "Successful Completion");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_str(0x002), "Invalid Field in Command");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_str(0x1bf), "Invalid Zone State Transition");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_str(0x285), "Compare Failure");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_str(0x371), "Command Aborted By Host");
}

static void numbers_without_a_name_are_vendor_or_unknown(void)
{
	CU_ASSERT_STRING_EQUAL(bh_nvme_admin_str(0x03), "Unknown Command");
	CU_ASSERT_STRING_EQUAL(bh_nvme_admin_str(0xbf), "Unknown Command");
	CU_ASSERT_STRING_EQUAL(bh_nvme_admin_str(0xc0), "Vendor Specific Command");
	CU_ASSERT_STRING_EQUAL(bh_nvme_cmd_str(0x7b), "Unknown Command");
	CU_ASSERT_STRING_EQUAL(bh_nvme_cmd_str(0x80), "Vendor Specific Command");
	CU_ASSERT_STRING_EQUAL(bh_nvme_feat_str(0x00), "Unknown Feature");
	CU_ASSERT_STRING_EQUAL(bh_nvme_feat_str(0xff), "Vendor Specific Feature");
	CU_ASSERT_STRING_EQUAL(bh_nvme_log_str(0x7f), "Unknown Log");
	CU_ASSERT_STRING_EQUAL(bh_nvme_log_str(0xc0), "Vendor Specific Log");
	CU_ASSERT_STRING_EQUAL(bh_nvme_csi_str(0x2f), "Unknown");
	CU_ASSERT_STRING_EQUAL(bh_nvme_csi_str(0x30), "Vendor Specific");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_str(0x017), "Unknown Status");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_str(0x0bf), "Unknown Status");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_str(0x0c0), "Vendor Specific Status");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_str(0x3ff), "Vendor Specific Status");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_str(0x4c0), "Unknown Status");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_str(0x700), "Vendor Specific Status");
}

static void status_name_ignores_the_upper_bits(void)
{
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_str(0xf802), "Invalid Field in Command");
}

static void status_fmt_tells_code_and_bits(void)
{
	char buf[BH_NVME_STATUS_FMT_MAX];

	CU_ASSERT_STRING_EQUAL(bh_nvme_status_fmt(0x4002, buf, sizeof(buf)),
			       "Invalid Field in Command (sct 0, sc 02h, DNR)");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_fmt(0, buf, sizeof(buf)),
			       "Successful Completion (sct 0, sc 00h)");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_fmt(0x2281, buf, sizeof(buf)),
			       "Unrecovered Read Error (sct 2, sc 81h, More)");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_fmt(0x1021, buf, sizeof(buf)),
			       "Command Interrupted (sct 0, sc 21h, CRD 2)");
	CU_ASSERT_STRING_EQUAL(bh_nvme_status_fmt(0x7fff, buf, sizeof(buf)),
			       "Vendor Specific Status (sct 7, sc ffh, CRD 3, More, DNR)");
	CU_ASSERT_PTR_EQUAL(bh_nvme_status_fmt(0, buf, sizeof(buf)), buf);
}

static void status_errno_says_about_the_same(void)
{
	static const struct {
		uint16_t sf;
		int rc;
	} pairs[] = {
		{ 0, 0 },
		{ 0x1000, 0 },
		{ 0x282, -EILSEQ },
		{ 0x4283, -EILSEQ },
		{ 0x284, -EILSEQ },
		{ 0x288, -EILSEQ },
		{ 0x285, -EBADE },
		{ 0x281, -ENODATA },
		{ 0x287, -ENODATA },
		{ 0x286, -EACCES },
		{ 0x081, -ENOSPC },
		{ 0x080, -ERANGE },
		{ 0x020, -EROFS },
		{ 0x182, -EROFS },
		{ 0x083, -EBUSY },
		{ 0x001, -EOPNOTSUPP },
		{ 0x002, -EINVAL },
		{ 0x181, -EINVAL },
		{ 0x00b, -ENODEV },
		{ 0x008, -ECANCELED },
		{ 0x371, -ECANCELED },
		{ 0x300, -ENOLINK },
		{ 0x370, -ENOLINK },
		{ 0x006, -EIO },
		{ 0x280, -EIO },
		{ 0x7ff, -EIO },
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		CU_ASSERT_EQUAL(bh_nvme_status_errno(pairs[i].sf), pairs[i].rc);
}

static void status_fmt_stays_in_its_buffer(void)
{
	char buf[16];

	memset(buf, '#', sizeof(buf));
	bh_nvme_status_fmt(0x4002, buf, 8);
	CU_ASSERT_STRING_EQUAL(buf, "Invalid");
	CU_ASSERT_EQUAL(buf[8], '#');
	memset(buf, '#', sizeof(buf));
	bh_nvme_status_fmt(0x4002, buf, 1);
	CU_ASSERT_STRING_EQUAL(buf, "");
	CU_ASSERT_EQUAL(buf[1], '#');
	CU_ASSERT_PTR_NULL(bh_nvme_status_fmt(0x4002, NULL, 0));
}

static void status_fmt_max_holds_every_status(void)
{
	char buf[4 * BH_NVME_STATUS_FMT_MAX];
	size_t longest = 0;

	for (unsigned int sf = 0; sf <= 0xffff; sf++) {
		size_t n = strlen(bh_nvme_status_fmt((uint16_t)sf, buf, sizeof(buf)));

		if (n > longest)
			longest = n;
	}
	CU_ASSERT(longest < BH_NVME_STATUS_FMT_MAX);
}

BH_SUITE("nvme_names", { "every_number_has_its_name", every_number_has_its_name },
	 { "every_status_has_its_name", every_status_has_its_name },
	 { "names_are_those_of_the_specification", names_are_those_of_the_specification },
	 { "numbers_without_a_name_are_vendor_or_unknown",
	   numbers_without_a_name_are_vendor_or_unknown },
	 { "status_name_ignores_the_upper_bits", status_name_ignores_the_upper_bits },
	 { "status_fmt_tells_code_and_bits", status_fmt_tells_code_and_bits },
	 { "status_errno_says_about_the_same", status_errno_says_about_the_same },
	 { "status_fmt_stays_in_its_buffer", status_fmt_stays_in_its_buffer },
	 { "status_fmt_max_holds_every_status", status_fmt_max_holds_every_status }, )

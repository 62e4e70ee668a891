/* SPDX-License-Identifier: BSD-3-Clause */
#include "io_vfio/dev.h"
#include "unit.h"

static const char *const list = "PAT memtype list:\n"
				"PAT: [mem 0x00000000bffe0000-0x00000000bffe2000] write-back\n"
				"PAT: [mem 0x00000000fe800000-0x00000000fe804000] uncached-minus\n"
				"PAT: [mem 0x00000000fe804000-0x00000000fe805000] uncached\n"
				"PAT: [mem 0x0000380000000000-0x0000380000100000] write-combining\n"
				"PAT: [mem 0x0000380000100000-0x0000380000200000] write-combining\n"
				"PAT: [mem 0x0000380000180000-0x0000380000200000] uncached-minus\n";

static void types_by_name(void)
{
	CU_ASSERT_EQUAL(io_vfio_memtype_parse(list, 0xfe800000, 0x1000), BH_ATTR_UC);
	CU_ASSERT_EQUAL(io_vfio_memtype_parse(list, 0xfe804000, 0x1000), BH_ATTR_UC);
	CU_ASSERT_EQUAL(io_vfio_memtype_parse(list, 0x380000000000, 0x100000), BH_ATTR_WC);
	CU_ASSERT_EQUAL(io_vfio_memtype_parse(list, 0xbffe0000, 0x1000), BH_ATTR_UNKNOWN);
}

static void not_listed_is_unknown(void)
{
	CU_ASSERT_EQUAL(io_vfio_memtype_parse(list, 0xfe806000, 0x1000), BH_ATTR_UNKNOWN);
	CU_ASSERT_EQUAL(io_vfio_memtype_parse("", 0xfe800000, 0x1000), BH_ATTR_UNKNOWN);
	CU_ASSERT_EQUAL(io_vfio_memtype_parse("nonsense\nPAT: [mem", 0, 1), BH_ATTR_UNKNOWN);
}

static void a_part_is_not_the_whole(void)
{
	CU_ASSERT_EQUAL(io_vfio_memtype_parse(list, 0xfe803000, 0x3000), BH_ATTR_UNKNOWN);
	CU_ASSERT_EQUAL(io_vfio_memtype_parse(list, 0xfe7ff000, 0x2000), BH_ATTR_UNKNOWN);
}

static void contradictions_are_unknown(void)
{
	CU_ASSERT_EQUAL(io_vfio_memtype_parse(list, 0x380000180000, 0x1000), BH_ATTR_UNKNOWN);
}

BH_SUITE("memtype", { "types_by_name", types_by_name },
	 { "not_listed_is_unknown", not_listed_is_unknown },
	 { "a_part_is_not_the_whole", a_part_is_not_the_whole },
	 { "contradictions_are_unknown", contradictions_are_unknown }, )

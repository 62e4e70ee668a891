/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <errno.h>

#include <bellhop/pci.h>

static void full_and_short_forms_are_read(void)
{
	struct bh_pci_addr addr;
	char text[BH_PCI_ADDR_TEXT];

	CU_ASSERT_EQUAL(bh_pci_addr_parse("0000:01:00.0", &addr), 0);
	CU_ASSERT_STRING_EQUAL(bh_pci_addr_format(&addr, text), "0000:01:00.0");
	CU_ASSERT_EQUAL(bh_pci_addr_parse("aB:1f.7", &addr), 0);
	CU_ASSERT_STRING_EQUAL(bh_pci_addr_format(&addr, text), "0000:ab:1f.7");
	CU_ASSERT_EQUAL(bh_pci_addr_parse("FFFFFFFF:ff:1F.7", &addr), 0);
	CU_ASSERT_EQUAL(addr.domain, 0xffffffffu);
	CU_ASSERT_STRING_EQUAL(bh_pci_addr_format(&addr, text), "ffffffff:ff:1f.7");
	CU_ASSERT_EQUAL(bh_pci_addr_parse("10000:e1:00.0", &addr), 0);
	CU_ASSERT_STRING_EQUAL(bh_pci_addr_format(&addr, text), "10000:e1:00.0");
}

static void anything_else_is_einval(void)
{
	static const char *const bad[] = {
		"",
		"x",
		"1:00.0",
		"001:00.0",
		"000:01:00.0",
		"0000:01:20.0",
		"0000:01:00.8",
		"0000:01:00",
		"0000:01:00.",
		"0000:01:00.00",
		"0000:01:00.0 ",
		" 01:00.0",
		"123456789:01:00.0",
		"0000:0g:00.0",
		"0000:01-00.0",
		"01:00:0",
		"-001:00:00.0",
	};
	struct bh_pci_addr addr = { .domain = 7 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(bh_pci_addr_parse(bad[i], &addr), -EINVAL);
	CU_ASSERT_EQUAL(bh_pci_addr_parse(NULL, &addr), -EINVAL);
	CU_ASSERT_EQUAL(addr.domain, 7);
}

static void order_is_domain_bus_device_function(void)
{
	static const char *const sorted[] = { "0000:00:00.1", "0000:00:01.0", "0000:01:00.0",
					      "0001:00:00.0", "80000000:00:00.0" };

	for (size_t i = 0; i < 5; i++) {
		for (size_t j = 0; j < 5; j++) {
			struct bh_pci_addr a, b;

			CU_ASSERT_EQUAL(bh_pci_addr_parse(sorted[i], &a), 0);
			CU_ASSERT_EQUAL(bh_pci_addr_parse(sorted[j], &b), 0);
			int order = bh_pci_addr_compare(&a, &b);
			CU_ASSERT_EQUAL((order > 0) - (order < 0), (i > j) - (i < j));
		}
	}
}

BH_SUITE("addr", { "full_and_short_forms_are_read", full_and_short_forms_are_read },
	 { "anything_else_is_einval", anything_else_is_einval },
	 { "order_is_domain_bus_device_function", order_is_domain_bus_device_function })

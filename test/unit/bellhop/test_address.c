/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <bellhop/bellhop.h>

#include "unit.h"

static const struct {
	const char *text;
	int kind; /* or -1: refused */
	const char *target;
	uint32_t nsid;
} table[] = {
	{ "01:00.0", BH_ADDRESS_PCI, "0000:01:00.0", 0 },
	{ "0000:01:00.0", BH_ADDRESS_PCI, "0000:01:00.0", 0 },
	{ "pci:01:00.7", BH_ADDRESS_PCI, "0000:01:00.7", 0 },
	{ "pci:ABCD:Ef:1F.3?ns=2", BH_ADDRESS_PCI, "abcd:ef:1f.3", 2 },
	{ "00010000:01:00.0", BH_ADDRESS_PCI, "10000:01:00.0", 0 },
	{ "pci:12345678:01:00.0", BH_ADDRESS_PCI, "12345678:01:00.0", 0 },
	{ "/run/bh/nvme0.sock", BH_ADDRESS_VFIO_USER, "/run/bh/nvme0.sock", 0 },
	{ "vfio-user:/run/bh/nvme0.sock", BH_ADDRESS_VFIO_USER, "/run/bh/nvme0.sock", 0 },
	{ "vfio-user:01:00.0", BH_ADDRESS_VFIO_USER, "01:00.0", 0 },
	{ "./01:00.0", BH_ADDRESS_VFIO_USER, "./01:00.0", 0 },
	{ "s?ns=1", BH_ADDRESS_VFIO_USER, "s", 1 },
	{ "s?ns=4294967294", BH_ADDRESS_VFIO_USER, "s", 4294967294u },
	{ "s?ns=", BH_ADDRESS_VFIO_USER, "s?ns=", 0 },
	{ "s?ns=x", BH_ADDRESS_VFIO_USER, "s?ns=x", 0 },
	{ "s?ns=0x1", BH_ADDRESS_VFIO_USER, "s?ns=0x1", 0 },
	{ "what?/s", BH_ADDRESS_VFIO_USER, "what?/s", 0 },
	{ "a?ns=1?ns=2", BH_ADDRESS_VFIO_USER, "a?ns=1", 2 },
	{ "a?ns=1/s", BH_ADDRESS_VFIO_USER, "a?ns=1/s", 0 },
	{ "01:00.8", BH_ADDRESS_VFIO_USER, "01:00.8", 0 },
	{ "1:00.0", BH_ADDRESS_VFIO_USER, "1:00.0", 0 },
	{ "123:01:00.0", BH_ADDRESS_VFIO_USER, "123:01:00.0", 0 },
	{ "123456789:01:00.0", BH_ADDRESS_VFIO_USER, "123456789:01:00.0", 0 },
	{ "01:00.0 ", BH_ADDRESS_VFIO_USER, "01:00.0 ", 0 },
	{ "", -1, NULL, 0 },
	{ "pci:", -1, NULL, 0 },
	{ "vfio-user:", -1, NULL, 0 },
	{ "?ns=1", -1, NULL, 0 },
	{ "vfio-user:?ns=1", -1, NULL, 0 },
	{ "pci:1:00.0", -1, NULL, 0 },
	{ "pci:01:00.8", -1, NULL, 0 },
	{ "pci:/run/s", -1, NULL, 0 },
	{ "pci:01:00.0?ns=x", -1, NULL, 0 },
	{ "01:20.0", -1, NULL, 0 },
	{ "s?ns=0", -1, NULL, 0 },
	{ "s?ns=4294967295", -1, NULL, 0 },
	{ "s?ns=99999999999999999999999", -1, NULL, 0 },
};

static void addresses_of_the_table(void)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct bh_address a;
		const char *why = NULL;
		int rc = bh_address_parse(table[i].text, &a, &why);

		if (table[i].kind < 0 ? rc != -EINVAL || !why
				      : rc != 0 || (int)a.kind != table[i].kind ||
						strcmp(a.target, table[i].target) != 0 ||
						a.nsid != table[i].nsid) {
			printf("\"%s\": %d \"%s\" %u ", table[i].text, rc, a.target, a.nsid);
			CU_FAIL("wrong");
		}
	}
}

static void length_is_bounded(void)
{
	char text[BH_ADDRESS_MAX + 1];
	struct bh_address a;

	memset(text, 'a', sizeof(text));
	text[BH_ADDRESS_MAX] = '\0';
	CU_ASSERT_EQUAL(bh_address_parse(text, &a, NULL), -EINVAL);
	text[BH_ADDRESS_MAX - 1] = '\0';
	CU_ASSERT_EQUAL(bh_address_parse(text, &a, NULL), 0);
	CU_ASSERT_STRING_EQUAL(a.target, text);
	CU_ASSERT_EQUAL(bh_address_parse(NULL, &a, NULL), -EINVAL);
}

static char line[256];

static void log_write(void *ctx, enum bh_log_level level, const char *component, const char *text)
{
	(void)ctx;
	(void)level;
	(void)component;
	snprintf(line, sizeof(line), "%s", text);
}

static const char *opened;

static int open_fake(const char *target, const struct bh_device_opts *opts, struct bh_device **out)
{
	static char copy[BH_ADDRESS_MAX];

	(void)opts;
	(void)out;
	snprintf(copy, sizeof(copy), "%s", target);
	opened = copy;
	return -ENXIO;
}

static void the_table_decides(void)
{
	static const struct bh_backend mine[] = {
		{ BH_ADDRESS_PCI, "fake", open_fake },
		{ BH_ADDRESS_PCI, NULL, NULL },
	};
	const struct bh_log log = { .write = log_write, .level = BH_LOG_ERROR };
	struct bh_device_opts opts;
	struct bh_device *dev;

	bh_device_opts_init(&opts);
	CU_ASSERT_EQUAL(bh_open("/nowhere", &opts, &dev), -EINVAL);
	CU_ASSERT_EQUAL(bh_open("/nowhere", NULL, &dev), -EINVAL);
	opts.log = &log;
	CU_ASSERT_EQUAL_FATAL(bh_dma_space_create(NULL, &opts.space), 0);
	CU_ASSERT_EQUAL(bh_open("ffff:ff:1f.7", &opts, &dev), -ENODEV);
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "ffff:ff:1f.7: no such PCI device"));
	CU_ASSERT_EQUAL(bh_open_with(mine + 1, "01:00.0", &opts, &dev), -EPROTONOSUPPORT);
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "kernel VFIO backend"));
	CU_ASSERT_EQUAL(bh_open("pci:x", &opts, &dev), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "pci:x: a PCI address looks like"));
	CU_ASSERT_EQUAL(bh_open("/nowhere/at/all?ns=1", &opts, &dev), -ENOENT);
	CU_ASSERT_PTR_NULL(dev);
	CU_ASSERT_EQUAL(bh_open_with(mine, "01:00.0?ns=3", &opts, &dev), -ENXIO);
	CU_ASSERT_STRING_EQUAL(opened, "0000:01:00.0");
	CU_ASSERT_EQUAL(bh_open_with(mine, "/nowhere", &opts, &dev), -EPROTONOSUPPORT);
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "vfio-user backend"));
	bh_dma_space_destroy(opts.space);
}

static void version_is_three_numbers(void)
{
	unsigned int a, b, c;

	CU_ASSERT_EQUAL(sscanf(bh_version(), "%u.%u.%u", &a, &b, &c), 3);
}

BH_SUITE("bellhop", { "addresses_of_the_table", addresses_of_the_table },
	 { "length_is_bounded", length_is_bounded }, { "the_table_decides", the_table_decides },
	 { "version_is_three_numbers", version_is_three_numbers }, )

/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

/* Configuration space as bytes; what lies at or behind `shown` is refused. */
struct space {
	uint8_t byte[4096];
	unsigned int size, shown;
	bool stray; /* was asked for what is outside */
};

static int space_read(void *ctx, unsigned int offset, void *buf, size_t len)
{
	struct space *s = ctx;

	if (len > s->size || offset > s->size - len) {
		s->stray = true;
		return -EINVAL;
	}
	if (offset + len > s->shown)
		return -EACCES;
	memcpy(buf, s->byte + offset, len);
	return 0;
}

static void space_init(struct space *s, unsigned int size)
{
	memset(s, 0, sizeof(*s));
	s->size = s->shown = size;
	s->byte[0] = 0x86;
	s->byte[1] = 0x80;
	s->byte[6] = 0x10;
}

static void put32(struct space *s, unsigned int offset, uint32_t value)
{
	for (unsigned int i = 0; i < 4; i++)
		s->byte[offset + i] = (uint8_t)(value >> 8 * i);
}

static void cap(struct space *s, unsigned int offset, uint8_t id, uint8_t next)
{
	s->byte[offset] = id;
	s->byte[offset + 1] = next;
}

static void ext(struct space *s, unsigned int offset, uint16_t id, unsigned int version,
		unsigned int next)
{
	put32(s, offset, id | version << 16 | next << 20);
}

static int walk(struct space *s, struct bh_pci_caps *caps)
{
	int rc = bh_pci_caps_walk(space_read, s, s->size, caps);

	CU_ASSERT(!s->stray);
	return rc;
}

static void both_lists_are_walked(void)
{
	struct bh_pci_caps caps;
	struct space s;

	space_init(&s, 4096);
	s.byte[0x34] = 0x43; /* its low two bits are reserved */
	cap(&s, 0x40, BH_PCI_CAP_PM, 0x80);
	cap(&s, 0x80, BH_PCI_CAP_EXP, 0x60);
	cap(&s, 0x60, BH_PCI_CAP_MSIX, 0);
	ext(&s, 0x100, BH_PCI_EXT_AER, 2, 0x200);
	ext(&s, 0x200, BH_PCI_EXT_SRIOV, 1, 0);
	CU_ASSERT_EQUAL_FATAL(walk(&s, &caps), 0);
	CU_ASSERT_PTR_NULL(caps.why);
	CU_ASSERT_EQUAL_FATAL(caps.count, 5);
	CU_ASSERT_EQUAL(caps.cap[0].room, 0x20);
	CU_ASSERT_EQUAL(caps.cap[1].offset, 0x80);
	CU_ASSERT_EQUAL(caps.cap[1].room, 0x80);
	CU_ASSERT_EQUAL(caps.cap[2].room, 0x20);
	CU_ASSERT_EQUAL(caps.cap[3].version, 2);
	CU_ASSERT_EQUAL(caps.cap[4].room, 4096 - 0x200);
	CU_ASSERT_PTR_EQUAL(bh_pci_caps_find(&caps, BH_PCI_CAP_MSIX, false), &caps.cap[2]);
	CU_ASSERT_PTR_EQUAL(bh_pci_caps_find(&caps, BH_PCI_EXT_SRIOV, true), &caps.cap[4]);
	CU_ASSERT_PTR_NULL(bh_pci_caps_find(&caps, BH_PCI_CAP_MSI, false));
	CU_ASSERT_PTR_NULL(bh_pci_caps_find(&caps, BH_PCI_EXT_ATS, false));
	CU_ASSERT_STRING_EQUAL(bh_pci_cap_str(BH_PCI_CAP_MSIX, false), "MSI-X");
	CU_ASSERT_PTR_NULL(bh_pci_cap_str(0xffff, true));
	CU_ASSERT_PTR_NULL(bh_pci_cap_str(0, false));
}

static void status_bit_decides(void)
{
	struct bh_pci_caps caps;
	struct space s;

	space_init(&s, 256);
	s.byte[0x34] = 0x40;
	cap(&s, 0x40, BH_PCI_CAP_PM, 0);
	s.byte[6] = 0;
	CU_ASSERT_EQUAL(walk(&s, &caps), 0);
	CU_ASSERT_EQUAL(caps.count, 0);
	CU_ASSERT_PTR_NULL(caps.why);
	/* A cardbus bridge keeps its pointer elsewhere. */
	s.byte[6] = 0x10;
	s.byte[0x0e] = 0x82;
	s.byte[0x34] = 0x13;
	s.byte[0x14] = 0x40;
	CU_ASSERT_EQUAL(walk(&s, &caps), 0);
	CU_ASSERT_EQUAL(caps.count, 1);
}

static void loops_end(void)
{
	struct bh_pci_caps caps;
	struct space s;

	space_init(&s, 4096);
	s.byte[0x34] = 0x40;
	cap(&s, 0x40, BH_PCI_CAP_PM, 0x50);
	cap(&s, 0x50, BH_PCI_CAP_MSI, 0x40);
	ext(&s, 0x100, BH_PCI_EXT_AER, 1, 0x100);
	CU_ASSERT_EQUAL(walk(&s, &caps), 0);
	CU_ASSERT_EQUAL(caps.count, 3);
	CU_ASSERT_STRING_EQUAL(caps.why, "the capability list is a loop");
	/* Nameless capabilities are not listed; a loop of them ends as well. */
	ext(&s, 0x100, 0, 1, 0x104);
	ext(&s, 0x104, 0, 1, 0x100);
	cap(&s, 0x50, BH_PCI_CAP_MSI, 0);
	CU_ASSERT_EQUAL(walk(&s, &caps), 0);
	CU_ASSERT_EQUAL(caps.count, 2);
	CU_ASSERT_STRING_EQUAL(caps.why, "the capability list is a loop");
}

static void pointers_out_of_bounds_end(void)
{
	static const uint8_t bad[] = { 0x04, 0x3c, 0x3f };
	struct bh_pci_caps caps;
	struct space s;

	for (size_t i = 0; i < sizeof(bad); i++) {
		space_init(&s, 256);
		s.byte[0x34] = bad[i];
		CU_ASSERT_EQUAL(walk(&s, &caps), 0);
		CU_ASSERT_EQUAL(caps.count, 0);
		CU_ASSERT_STRING_EQUAL(caps.why, "a capability pointer leads out of bounds");
	}
	space_init(&s, 4096);
	s.byte[6] = 0;
	ext(&s, 0x100, BH_PCI_EXT_AER, 1, 0x80);
	CU_ASSERT_EQUAL(walk(&s, &caps), 0);
	CU_ASSERT_EQUAL(caps.count, 1);
	CU_ASSERT_STRING_EQUAL(caps.why, "a capability pointer leads out of bounds");
	/* The last place there is. */
	ext(&s, 0x100, BH_PCI_EXT_AER, 1, 0xffc);
	ext(&s, 0xffc, BH_PCI_EXT_ATS, 1, 0);
	CU_ASSERT_EQUAL(walk(&s, &caps), 0);
	CU_ASSERT_PTR_NULL(caps.why);
	CU_ASSERT_EQUAL(caps.count, 2);
	CU_ASSERT_EQUAL(caps.cap[1].room, 4);
	/* The same pointer in a space that ends before. */
	s.size = s.shown = 0x800;
	CU_ASSERT_EQUAL(walk(&s, &caps), 0);
	CU_ASSERT_EQUAL(caps.count, 1);
	CU_ASSERT_PTR_NOT_NULL(caps.why);
}

static void endless_lists_are_cut(void)
{
	struct bh_pci_caps caps;
	struct space s;

	space_init(&s, 4096);
	s.byte[6] = 0;
	for (unsigned int at = 0x100; at < 4096; at += 4)
		ext(&s, at, BH_PCI_EXT_AER, 1, at + 4 < 4096 ? at + 4 : 0);
	CU_ASSERT_EQUAL(walk(&s, &caps), 0);
	CU_ASSERT_EQUAL(caps.count, BH_PCI_CAPS_MAX);
	CU_ASSERT_STRING_EQUAL(caps.why, "there are too many capabilities");
}

static void no_extended_ones_is_no_fault(void)
{
	struct bh_pci_caps caps;
	struct space s;

	space_init(&s, 4096);
	s.byte[6] = 0;
	CU_ASSERT_EQUAL(walk(&s, &caps), 0);
	CU_ASSERT_EQUAL(caps.count, 0);
	CU_ASSERT_PTR_NULL(caps.why);
	put32(&s, 0x100, 0xffffffff);
	CU_ASSERT_EQUAL(walk(&s, &caps), 0);
	CU_ASSERT_EQUAL(caps.count, 0);
	CU_ASSERT_PTR_NULL(caps.why);
}

static void ordinary_users_are_told(void)
{
	struct bh_pci_caps caps;
	struct space s;

	space_init(&s, 4096);
	s.byte[0x34] = 0x40;
	cap(&s, 0x40, BH_PCI_CAP_PM, 0);
	s.shown = 64;
	CU_ASSERT_EQUAL(walk(&s, &caps), 0);
	CU_ASSERT_EQUAL(caps.count, 0);
	CU_ASSERT_STRING_EQUAL(caps.why, "the rest of configuration space is shown to privileged "
					 "users only");
	s.shown = 0;
	CU_ASSERT_EQUAL(walk(&s, &caps), -EACCES);
}

static void all_ones_is_no_device(void)
{
	struct bh_pci_caps caps;
	struct space s;

	space_init(&s, 4096);
	memset(s.byte, 0xff, sizeof(s.byte));
	CU_ASSERT_EQUAL(walk(&s, &caps), -ENODEV);
	/* It went away in the middle. */
	space_init(&s, 256);
	s.byte[0x34] = 0x40;
	cap(&s, 0x40, 0xff, 0xff);
	CU_ASSERT_EQUAL(walk(&s, &caps), 0);
	CU_ASSERT_STRING_EQUAL(caps.why, "a capability reads all-ones");
	CU_ASSERT_EQUAL(bh_pci_caps_walk(space_read, &s, 32, &caps), -EINVAL);
	CU_ASSERT_EQUAL(bh_pci_caps_walk(space_read, &s, 4097, &caps), -EINVAL);
}

static void noise_never_reads_outside(void)
{
	static const unsigned int sizes[] = { 64, 65, 128, 256, 257, 260, 512, 4095, 4096 };
	struct bh_pci_caps caps;
	struct space s;

	srand(1);
	for (unsigned int round = 0; round < 3000; round++) {
		space_init(&s, sizes[round % 9]);
		for (unsigned int i = 8; i < s.size; i++)
			s.byte[i] = (uint8_t)rand();
		CU_ASSERT_EQUAL(walk(&s, &caps), 0);
		CU_ASSERT(caps.count <= BH_PCI_CAPS_MAX);
		for (unsigned int i = 0; i < caps.count; i++)
			CU_ASSERT(caps.cap[i].room <= s.size - caps.cap[i].offset);
		struct bh_pci_msix msix;
		bh_pci_msix_read(space_read, &s, &caps, &msix);
		CU_ASSERT(!s.stray);
	}
}

static void msix_is_decoded(void)
{
	struct bh_pci_caps caps;
	struct bh_pci_msix msix;
	struct space s;

	space_init(&s, 256);
	s.byte[0x34] = 0xb0;
	cap(&s, 0xb0, BH_PCI_CAP_MSIX, 0);
	s.byte[0xb2] = 0x40;
	s.byte[0xb3] = 0x80;
	put32(&s, 0xb4, 0x2004);
	put32(&s, 0xb8, 0x3005);
	CU_ASSERT_EQUAL(walk(&s, &caps), 0);
	CU_ASSERT_EQUAL_FATAL(bh_pci_msix_read(space_read, &s, &caps, &msix), 0);
	CU_ASSERT_EQUAL(msix.vectors, 65);
	CU_ASSERT_EQUAL(msix.table_bar, 4);
	CU_ASSERT_EQUAL(msix.table_offset, 0x2000);
	CU_ASSERT_EQUAL(msix.pba_bar, 5);
	CU_ASSERT_EQUAL(msix.pba_offset, 0x3000);
	put32(&s, 0xb8, 0x3006);
	CU_ASSERT_EQUAL(bh_pci_msix_read(space_read, &s, &caps, &msix), -EPROTO);
	/* Too near the end, and none at all. */
	s.byte[0x34] = 0xf8;
	cap(&s, 0xf8, BH_PCI_CAP_MSIX, 0);
	CU_ASSERT_EQUAL(walk(&s, &caps), 0);
	CU_ASSERT_EQUAL(bh_pci_msix_read(space_read, &s, &caps, &msix), -EPROTO);
	caps.count = 0;
	CU_ASSERT_EQUAL(bh_pci_msix_read(space_read, &s, &caps, &msix), -ENOENT);
}

static void config_file_is_read_and_written(void)
{
	static const char name[] = "sys/devices/pci0000:00/0000:01:00.0/config";
	struct bh_pci_addr addr = { .bus = 1 }, nobody = { .bus = 2 };
	struct bh_pci_config config;
	struct bh_pci_caps caps;
	struct space s;
	uint16_t word = 0;

	space_init(&s, 256);
	s.byte[0x34] = 0x40;
	cap(&s, 0x40, BH_PCI_CAP_PM, 0);
	tree_pci("0000:01:00.0", "8086:0a54", "0x010802", "", -1);
	tree_bytes(s.byte, 256, name);
	CU_ASSERT_EQUAL(bh_pci_config_open(&tree_opts, &nobody, false, &config), -ENODEV);
	bh_pci_config_close(&config);
	CU_ASSERT_EQUAL_FATAL(bh_pci_config_open(&tree_opts, &addr, true, &config), 0);
	CU_ASSERT_EQUAL(config.size, 256);
	CU_ASSERT_EQUAL(bh_pci_caps_walk(bh_pci_config_read, &config, config.size, &caps), 0);
	CU_ASSERT_EQUAL(caps.count, 1);
	CU_ASSERT_EQUAL(bh_pci_config_write(&config, 4, &(uint16_t){ 0x0406 }, 2), 0);
	CU_ASSERT_EQUAL(bh_pci_config_read(&config, 4, &word, 2), 0);
	CU_ASSERT_EQUAL(word, 0x0406);
	CU_ASSERT_EQUAL(bh_pci_config_read(&config, 255, &word, 2), -EINVAL);
	CU_ASSERT_EQUAL(bh_pci_config_read(&config, UINT32_MAX, &word, 2), -EINVAL);
	CU_ASSERT_EQUAL(bh_pci_config_write(&config, 256, &word, 2), -EINVAL);
	/* The kernel's short answer to an ordinary user: the file says 256 bytes, 64 can be read. */
	tree_bytes(s.byte, 64, name);
	CU_ASSERT_EQUAL(bh_pci_config_read(&config, 64, &word, 2), -EACCES);
	CU_ASSERT_EQUAL(bh_pci_config_read(&config, 62, &word, 2), 0);
	bh_pci_config_close(&config);
	CU_ASSERT_EQUAL(bh_pci_config_read(&config, 0, &word, 2), -EINVAL);
}

BH_SUITE_FIXTURE("caps", tree_make, tree_remove, { "both_lists_are_walked", both_lists_are_walked },
		 { "status_bit_decides", status_bit_decides }, { "loops_end", loops_end },
		 { "pointers_out_of_bounds_end", pointers_out_of_bounds_end },
		 { "endless_lists_are_cut", endless_lists_are_cut },
		 { "no_extended_ones_is_no_fault", no_extended_ones_is_no_fault },
		 { "ordinary_users_are_told", ordinary_users_are_told },
		 { "all_ones_is_no_device", all_ones_is_no_device },
		 { "noise_never_reads_outside", noise_never_reads_outside },
		 { "msix_is_decoded", msix_is_decoded },
		 { "config_file_is_read_and_written", config_file_is_read_and_written })

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capability lists: the conventional one (PCIe 5.0 7.5.1.1.11) in the first 256 bytes and the
 * extended one (7.6.3) behind it.
 *
 * A list is what the device says, so each step is checked: inside its part of the space, behind the
 * header, aligned, and never seen before. The last makes the walk end: every step takes a bit of a
 * bitmap with one bit per possible place. Whatever is wrong ends that list with a reason; what was
 * found before it stands.
 */
#include <errno.h>
#include <string.h>

#include <bellhop/pci.h>

#define HEADER_BYTES 64u
#define REG_STATUS 0x06
#define REG_HEADER_TYPE 0x0e
#define REG_CAP_POINTER 0x34
#define REG_CAP_POINTER_CARDBUS 0x14
#define STATUS_CAP_LIST 0x10
#define HEADER_TYPE_CARDBUS 2

#define MSIX_BYTES 12u
#define MSIX_SIZE_MASK 0x7ffu
#define MSIX_BIR_MASK 7u

struct walk {
	bh_pci_read_fn read;
	void *ctx;
	unsigned int begin, end; /* where this list may lie */
	uint64_t seen[BH_PCI_CONFIG_SIZE_EXT / 4 / 64];
	struct bh_pci_caps *out;
};

static uint16_t le16(const uint8_t *b)
{
	return (uint16_t)(b[0] | b[1] << 8);
}

static uint32_t le32(const uint8_t *b)
{
	return (uint32_t)le16(b) | (uint32_t)le16(b + 2) << 16;
}

/* NULL, or why the list ends here though it should not. */
static const char *step(struct walk *w, unsigned int offset, uint8_t *header, unsigned int len)
{
	unsigned int place = offset / 4;

	if (offset < w->begin || offset > w->end - len)
		return "a capability pointer leads out of bounds";
	if (w->seen[place / 64] >> place % 64 & 1)
		return "the capability list is a loop";
	w->seen[place / 64] |= 1ull << place % 64;
	if (w->out->count == BH_PCI_CAPS_MAX)
		return "there are too many capabilities";
	int rc = w->read(w->ctx, offset, header, len);
	if (rc == -EACCES)
		return "the rest of configuration space is shown to privileged users only";
	return rc != 0 ? "configuration space cannot be read" : NULL;
}

static void add(struct walk *w, struct bh_pci_cap cap)
{
	w->out->cap[w->out->count++] = cap;
}

static const char *walk_conventional(struct walk *w, unsigned int offset)
{
	uint8_t header[2];

	for (offset &= ~3u; offset != 0; offset = header[1] & ~3u) {
		const char *why = step(w, offset, header, sizeof(header));

		if (why)
			return why;
		if (header[0] == 0xff)
			return "a capability reads all-ones";
		if (header[0] != 0)
			add(w, (struct bh_pci_cap){ .id = header[0], .offset = (uint16_t)offset });
	}
	return NULL;
}

static const char *walk_extended(struct walk *w)
{
	unsigned int offset = BH_PCI_CONFIG_SIZE;
	uint8_t bytes[4];

	while (offset != 0) {
		const char *why = step(w, offset, bytes, sizeof(bytes));

		if (why)
			return why;
		uint32_t header = le32(bytes);
		uint16_t id = (uint16_t)header;
		/* 7.6.2: an id of FFFFh, or a header of zeros, at the start: there are none. */
		if (id == 0xffff)
			return offset == BH_PCI_CONFIG_SIZE ? NULL : "a capability reads all-ones";
		if (id != 0)
			add(w, (struct bh_pci_cap){ .id = id,
						    .offset = (uint16_t)offset,
						    .version = header >> 16 & 0xf,
						    .extended = true });
		offset = header >> 20 & 0xffcu;
	}
	return NULL;
}

static void measure(struct bh_pci_caps *caps, unsigned int size)
{
	for (unsigned int i = 0; i < caps->count; i++) {
		struct bh_pci_cap *cap = &caps->cap[i];
		unsigned int end = size;

		if (!cap->extended && end > BH_PCI_CONFIG_SIZE)
			end = BH_PCI_CONFIG_SIZE;
		for (unsigned int j = 0; j < caps->count; j++) {
			if (caps->cap[j].offset > cap->offset && caps->cap[j].offset < end)
				end = caps->cap[j].offset;
		}
		cap->room = (uint16_t)(end - cap->offset);
	}
}

int bh_pci_caps_walk(bh_pci_read_fn read, void *ctx, unsigned int size, struct bh_pci_caps *out)
{
	struct walk w = {
		.read = read, .ctx = ctx, .begin = HEADER_BYTES, .end = size, .out = out
	};
	uint8_t header[HEADER_BYTES];

	memset(out, 0, sizeof(*out));
	if (size < HEADER_BYTES || size > BH_PCI_CONFIG_SIZE_EXT)
		return -EINVAL;
	int rc = read(ctx, 0, header, sizeof(header));
	if (rc != 0)
		return rc;
	if (le32(header) == 0xffffffffu)
		return -ENODEV;
	if (w.end > BH_PCI_CONFIG_SIZE)
		w.end = BH_PCI_CONFIG_SIZE;
	if (le16(header + REG_STATUS) & STATUS_CAP_LIST) {
		bool cardbus = (header[REG_HEADER_TYPE] & 0x7f) == HEADER_TYPE_CARDBUS;

		out->why = walk_conventional(
			&w, header[cardbus ? REG_CAP_POINTER_CARDBUS : REG_CAP_POINTER]);
	}
	if (size >= BH_PCI_CONFIG_SIZE + 4) {
		w.begin = BH_PCI_CONFIG_SIZE;
		w.end = size;
		const char *why = walk_extended(&w);
		if (!out->why)
			out->why = why;
	}
	measure(out, size);
	return 0;
}

const struct bh_pci_cap *bh_pci_caps_find(const struct bh_pci_caps *caps, uint16_t id,
					  bool extended)
{
	for (unsigned int i = 0; i < caps->count; i++) {
		if (caps->cap[i].id == id && caps->cap[i].extended == extended)
			return &caps->cap[i];
	}
	return NULL;
}

const char *bh_pci_cap_str(uint16_t id, bool extended)
{
	static const char *const conventional[] = {
		[0x01] = "Power Management",
		[0x02] = "AGP",
		[0x03] = "Vital Product Data",
		[0x04] = "Slot Identification",
		[0x05] = "MSI",
		[0x06] = "CompactPCI Hot Swap",
		[0x07] = "PCI-X",
		[0x08] = "HyperTransport",
		[0x09] = "Vendor Specific",
		[0x0a] = "Debug Port",
		[0x0c] = "PCI Hot-Plug",
		[0x0d] = "Bridge Subsystem Vendor ID",
		[0x10] = "PCI Express",
		[0x11] = "MSI-X",
		[0x12] = "Serial ATA",
		[0x13] = "Advanced Features",
		[0x14] = "Enhanced Allocation",
	};
	static const char *const ext[] = {
		[0x01] = "Advanced Error Reporting",
		[0x02] = "Virtual Channel",
		[0x03] = "Device Serial Number",
		[0x04] = "Power Budgeting",
		[0x0b] = "Vendor-Specific Extended",
		[0x0d] = "Access Control Services",
		[0x0e] = "Alternative Routing-ID Interpretation",
		[0x0f] = "Address Translation Services",
		[0x10] = "Single Root I/O Virtualization",
		[0x12] = "Multicast",
		[0x13] = "Page Request Interface",
		[0x15] = "Resizable BAR",
		[0x16] = "Dynamic Power Allocation",
		[0x17] = "TPH Requester",
		[0x18] = "Latency Tolerance Reporting",
		[0x19] = "Secondary PCI Express",
		[0x1b] = "Process Address Space ID",
		[0x1d] = "Downstream Port Containment",
		[0x1e] = "L1 PM Substates",
		[0x1f] = "Precision Time Measurement",
		[0x23] = "Designated Vendor-Specific Extended",
		[0x24] = "VF Resizable BAR",
		[0x25] = "Data Link Feature",
		[0x26] = "Physical Layer 16.0 GT/s",
		[0x27] = "Lane Margining at the Receiver",
		[0x2a] = "Physical Layer 32.0 GT/s",
		[0x2e] = "Data Object Exchange",
	};

	if (extended)
		return id < sizeof(ext) / sizeof(ext[0]) ? ext[id] : NULL;
	return id < sizeof(conventional) / sizeof(conventional[0]) ? conventional[id] : NULL;
}

int bh_pci_msix_read(bh_pci_read_fn read, void *ctx, const struct bh_pci_caps *caps,
		     struct bh_pci_msix *out)
{
	const struct bh_pci_cap *cap = bh_pci_caps_find(caps, BH_PCI_CAP_MSIX, false);
	uint8_t bytes[MSIX_BYTES];

	memset(out, 0, sizeof(*out));
	if (!cap)
		return -ENOENT;
	if (cap->room < MSIX_BYTES)
		return -EPROTO;
	int rc = read(ctx, cap->offset, bytes, sizeof(bytes));
	if (rc != 0)
		return rc;
	uint32_t table = le32(bytes + 4), pba = le32(bytes + 8);
	if ((table & MSIX_BIR_MASK) > 5 || (pba & MSIX_BIR_MASK) > 5)
		return -EPROTO;
	*out = (struct bh_pci_msix){
		.vectors = (le16(bytes + 2) & MSIX_SIZE_MASK) + 1u,
		.table_bar = table & MSIX_BIR_MASK,
		.pba_bar = pba & MSIX_BIR_MASK,
		.table_offset = table & ~MSIX_BIR_MASK,
		.pba_offset = pba & ~MSIX_BIR_MASK,
	};
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <bellhop/pci.h>

#include <errno.h>
#include <stdio.h>

/* Reads min to max hexadecimal digits and what must follow them. The rest, or NULL. */
static const char *digits(const char *text, int min, int max, char follows, uint32_t *value)
{
	int n = 0;

	for (*value = 0; n < max; n++, text++) {
		char c = *text;

		if (c >= '0' && c <= '9')
			*value = *value << 4 | (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			*value = *value << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
		else
			break;
	}
	if (n < min || *text != follows)
		return NULL;
	return follows == '\0' ? text : text + 1;
}

int bh_pci_addr_parse(const char *text, struct bh_pci_addr *addr)
{
	uint32_t domain, bus, device, function;

	if (!text)
		return -EINVAL;
	const char *rest = digits(text, 4, 8, ':', &domain);
	if (!rest) {
		domain = 0;
		rest = text;
	}
	rest = digits(rest, 2, 2, ':', &bus);
	if (rest)
		rest = digits(rest, 2, 2, '.', &device);
	if (!rest || !digits(rest, 1, 1, '\0', &function) || device > 0x1f || function > 7)
		return -EINVAL;
	*addr = (struct bh_pci_addr){
		.domain = domain,
		.bus = (uint8_t)bus,
		.device = (uint8_t)device,
		.function = (uint8_t)function,
	};
	return 0;
}

char *bh_pci_addr_format(const struct bh_pci_addr *addr, char text[BH_PCI_ADDR_TEXT])
{
	snprintf(text, BH_PCI_ADDR_TEXT, "%04x:%02x:%02x.%x", addr->domain, addr->bus,
		 addr->device & 0x1fu, addr->function & 7u);
	return text;
}

int bh_pci_addr_compare(const struct bh_pci_addr *a, const struct bh_pci_addr *b)
{
	if (a->domain != b->domain)
		return a->domain < b->domain ? -1 : 1;
	if (a->bus != b->bus)
		return a->bus - b->bus;
	if (a->device != b->device)
		return a->device - b->device;
	return a->function - b->function;
}

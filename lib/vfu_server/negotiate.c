/* SPDX-License-Identifier: BSD-3-Clause */
/* VERSION, and the small messages about the device as a whole. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vfu_server/server.h"

#define REPLY_ROOM 198 /* QEMU reads header and body into 214 bytes */

/* Our side of the bargain: what the client offered, as far as we go along. */
static void answer(struct bh_vfu_server *s, const struct vfu_caps *offer, struct vfu_caps *ours)
{
	vfu_caps_default(ours);
	ours->max_msg_fds = VFU_MAX_FDS;
	ours->max_data_xfer = VFU_MAX_DATA;
	ours->max_dma_maps = s->max_dma_maps;
	if (offer->max_dma_maps < ours->max_dma_maps)
		ours->max_dma_maps = offer->max_dma_maps;
	ours->write_multiple = offer->write_multiple;
}

static int send_version(struct bh_vfu_server *s, uint16_t minor, struct vfu_caps *ours)
{
	uint8_t body[REPLY_ROOM];
	int n, fd = -1;

	if (s->peer.twin_socket && s->peer.max_msg_fds > 0 && vfus_twin_start(s, &fd) == 0) {
		ours->twin_socket = true;
		ours->twin_fd_index = 0;
	}
	n = vfu_version_encode(VFU_MAJOR, minor, ours, true, body, sizeof(body));
	if (n > 0)
		vfus_reply(s, body, (size_t)n, NULL, 0, &fd, fd >= 0);
	if (fd >= 0)
		close(fd);
	return n > 0 ? 0 : n;
}

int vfus_handle_version(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	const char *why = "descriptors came with it";
	uint16_t major = 0, minor = 0;
	struct vfu_caps ours;
	int rc = -EINVAL;

	if (msg->nfds == 0)
		rc = vfu_version_decode(msg->body, msg->body_len, &major, &minor, &s->peer, &why);
	if (rc == 0 && major != VFU_MAJOR) {
		why = "its major version is not 0";
		rc = -EINVAL;
	}
	if (rc == 0) {
		answer(s, &s->peer, &ours);
		s->write_multiple = ours.write_multiple;
		why = "no answer could be made";
		rc = send_version(s, minor < VFU_MINOR ? minor : VFU_MINOR, &ours);
	}
	if (rc != 0) {
		bh_log(s->log, BH_LOG_WARN, VFUS_LOG, "%s: VERSION refused: %s", s->path, why);
		return rc;
	}
	s->state = VFUS_NEGOTIATED;
	bh_timer_cancel(s->handshake);
	bh_log(s->log, BH_LOG_INFO, VFUS_LOG, "%s: client of version %u.%u", s->path, major, minor);
	if (s->ops->connected)
		s->ops->connected(s->ops_ctx);
	return 0;
}

int vfus_handle_device_info(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	struct vfu_device_info info;

	if (msg->body_len < sizeof(info))
		return -EINVAL;
	memcpy(&info, msg->body, sizeof(info));
	if (info.argsz < sizeof(info))
		return -EINVAL;
	info.argsz = sizeof(info);
	info.flags = VFU_DEVICE_FLAG_RESET | VFU_DEVICE_FLAG_PCI;
	info.num_regions = BH_PCI_REGIONS;
	info.num_irqs = BH_PCI_IRQS;
	vfus_reply(s, &info, sizeof(info), NULL, 0, NULL, 0);
	return 0;
}

/*
 * No feature is offered yet, and the protocol has one errno both for a malformed request and for a
 * feature or method that is not there.
 */
int vfus_handle_feature(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	(void)s;
	(void)msg;
	return -EINVAL;
}

/* The device stands still: back to power-on, but DMA mappings and interrupt bindings stay. */
int vfus_do_reset(struct bh_vfu_server *s)
{
	unsigned int i;

	vfus_config_reset(s);
	for (i = 0; i < s->irqs.num_msix; i++) {
		memset(s->msix_table + 16 * (size_t)i, 0, 16);
		s->msix_table[16 * (size_t)i + 12] = 1; /* PCI 3.0 6.8.2.9: masked after reset */
	}
	s->ops->reset(s->ops_ctx, s->reset_reason);
	vfus_irqs_reset(s);
	return 0;
}

static void finish_reset(struct bh_vfu_server *s, int rc)
{
	if (rc == 0)
		vfus_reply(s, NULL, 0, NULL, 0, NULL, 0);
	vfus_finish(s, rc);
}

int vfus_handle_reset(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	if (msg->body_len != 0)
		return -EINVAL;
	s->reset_reason = BH_RESET_DEVICE;
	return vfus_gate_command(s, BH_QUIESCE_RESET, 0, UINT64_MAX, vfus_do_reset, finish_reset);
}

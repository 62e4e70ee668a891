/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GET_REGION_IO_FDS: eventfds that answer writes to parts of a region.
 *
 * A client takes at most max_msg_fds descriptors in one message, and there is no way to ask for
 * the rest. Entries whose descriptors do not fit any more are left out, in the order they were
 * added; the client writes to those parts of the region by message, as to any other.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/range.h>

#include "vfu_server/server.h"

struct fd_list {
	int fd[VFU_MAX_FDS];
	unsigned int count;
	unsigned int limit;
};

/* Its index in the list, where it is put if it is not there yet; VFU_IO_FD_NONE: no room. */
static uint32_t fd_index(struct fd_list *list, int fd)
{
	unsigned int i;

	for (i = 0; i < list->count; i++)
		if (list->fd[i] == fd)
			return i;
	if (list->count == list->limit)
		return VFU_IO_FD_NONE;
	list->fd[list->count] = fd;
	return list->count++;
}

/* False, and the list as it was, when the descriptors do not fit. */
static bool make_entry(const struct bh_vfu_io_fd *from, struct fd_list *list,
		       struct vfu_io_fd *entry)
{
	const unsigned int before = list->count;

	memset(entry, 0, sizeof(*entry));
	entry->offset = from->offset;
	entry->size = from->len;
	entry->type = VFU_IO_FD_EVENTFD;
	entry->fd_index = fd_index(list, from->eventfd);
	if (from->shadow_fd >= 0) {
		entry->type = VFU_IO_FD_EVENTFD_SHADOW;
		entry->shadow_fd_index = fd_index(list, from->shadow_fd);
		entry->value = from->shadow_offset;
	}
	if (entry->fd_index != VFU_IO_FD_NONE && entry->shadow_fd_index != VFU_IO_FD_NONE)
		return true;
	list->count = before;
	return false;
}

static int check_request(const struct bh_vfu_server *s, const struct vfu_msg *msg,
			 struct vfu_region_io_fds *request)
{
	if (msg->body_len < sizeof(*request))
		return -EINVAL;
	memcpy(request, msg->body, sizeof(*request));
	if (request->argsz < sizeof(*request) || request->argsz > VFU_MAX_DATA ||
	    request->flags != 0 || request->count != 0)
		return -EINVAL;
	if (request->index >= BH_PCI_REGIONS || vfus_region_size(s, request->index) == 0)
		return -EINVAL;
	return 0;
}

int vfus_handle_io_fds(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	struct vfu_region_io_fds head;
	struct vfu_io_fd *entries;
	struct fd_list list = { .count = 0 };
	uint32_t argsz;
	unsigned int i;
	size_t len;
	int rc;

	rc = check_request(s, msg, &head);
	if (rc != 0)
		return rc;
	list.limit = s->peer.max_msg_fds < VFU_MAX_FDS ? s->peer.max_msg_fds : VFU_MAX_FDS;
	entries = calloc(s->num_io_fds + 1, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (i = 0; i < s->num_io_fds; i++)
		if (s->io_fds[i].region == head.index &&
		    make_entry(&s->io_fds[i], &list, &entries[head.count]))
			head.count++;
	argsz = head.argsz;
	len = head.count * sizeof(*entries);
	head.argsz = (uint32_t)(sizeof(head) + len);
	if (head.argsz <= argsz)
		vfus_reply(s, &head, sizeof(head), entries, len, list.fd, list.count);
	else
		vfus_reply(s, &head, sizeof(head), NULL, 0, NULL, 0);
	free(entries);
	return 0;
}

int bh_vfu_server_io_fd_add(struct bh_vfu_server *s, const struct bh_vfu_io_fd *io_fd)
{
	/* All entries of one region must fit into the largest reply a client may ask for. */
	const unsigned int most =
		(VFU_MAX_DATA - sizeof(struct vfu_region_io_fds)) / sizeof(struct vfu_io_fd);
	struct bh_vfu_io_fd *grown;

	if (io_fd->region > BH_PCI_BAR5 || io_fd->eventfd < 0 || io_fd->len == 0 ||
	    !bh_range_inside(io_fd->offset, io_fd->len, vfus_region_size(s, io_fd->region)))
		return -EINVAL;
	if (s->num_io_fds == most)
		return -ENOSPC;
	grown = realloc(s->io_fds, (s->num_io_fds + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	s->io_fds = grown;
	s->io_fds[s->num_io_fds++] = *io_fd;
	return 0;
}

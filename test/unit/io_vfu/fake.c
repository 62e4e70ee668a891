/* SPDX-License-Identifier: BSD-3-Clause */
#include "../../common/send_fds.h"
#include "fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_JSON                                                           \
	"{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576," \
	"\"max_dma_maps\":64,\"pgsizes\":4096,\"unknown_key\":{\"a\":[1]}}}"

void fake_send(int fd, const void *buf, size_t len, const int *fds, unsigned int nfds)
{
	for (const uint8_t *at = buf; len > 0;) {
		ssize_t n = send_with_fds(fd, at, len, fds, nfds, 0);

		if (n < 0)
			return;
		at += n;
		len -= (size_t)n;
		nfds = 0;
	}
}

static bool receive(int fd, void *buf, size_t len, struct fake_msg *msg)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(VFU_MAX_FDS * sizeof(int))];
	} control;
	size_t have = 0;

	while (have < len) {
		struct iovec iov = { .iov_base = (char *)buf + have, .iov_len = len - have };
		struct msghdr mh = { .msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control.buf,
				     .msg_controllen = sizeof(control.buf) };
		ssize_t n = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC);

		if (n <= 0)
			return false;
		have += (size_t)n;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
			size_t k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

			for (size_t i = 0; i < k && msg->nfds < VFU_MAX_FDS; i++)
				memcpy(&msg->fds[msg->nfds++], CMSG_DATA(c) + i * sizeof(int),
				       sizeof(int));
		}
	}
	return true;
}

static bool receive_msg(int fd, struct fake_msg *msg)
{
	memset(msg, 0, sizeof(*msg));
	if (!receive(fd, &msg->h, sizeof(msg->h), msg))
		return false;
	msg->len = msg->h.size - sizeof(msg->h);
	msg->body = malloc(msg->len + 1);
	msg->body[msg->len] = '\0';
	return receive(fd, msg->body, msg->len, msg);
}

static void finish(struct fake_msg *msg)
{
	for (unsigned int i = 0; i < msg->nfds; i++)
		if (msg->fds[i] >= 0)
			close(msg->fds[i]);
	free(msg->body);
}

static void send_msg(int fd, struct vfu_header h, const void *body, size_t len, const int *fds,
		     unsigned int nfds)
{
	uint8_t *all = malloc(sizeof(h) + len);

	h.size = (uint32_t)(sizeof(h) + len);
	memcpy(all, &h, sizeof(h));
	if (len > 0)
		memcpy(all + sizeof(h), body, len);
	fake_send(fd, all, sizeof(h) + len, fds, nfds);
	free(all);
}

void fake_reply(struct fake *fake, const struct fake_msg *msg, const void *body, size_t len,
		const int *fds, unsigned int nfds)
{
	struct vfu_header h = { .id = msg->h.id, .command = msg->h.command, .flags = 1 };

	if (!(msg->h.flags & VFU_FLAG_NO_REPLY))
		send_msg(fake->fd, h, body, len, fds, nfds);
}

void fake_refuse(struct fake *fake, const struct fake_msg *msg, unsigned int error)
{
	struct vfu_header h = {
		.id = msg->h.id, .command = msg->h.command, .flags = 0x21, .error = error
	};

	if (!(msg->h.flags & VFU_FLAG_NO_REPLY))
		send_msg(fake->fd, h, NULL, 0, NULL, 0);
}

static int transact(struct fake *fake, uint16_t command, const void *body, size_t len,
		    struct fake_msg *reply)
{
	struct vfu_header h = { .id = 0x4242, .command = command };
	int fd = fake->twin >= 0 ? fake->twin : fake->fd;

	send_msg(fd, h, body, len, NULL, 0);
	if (!receive_msg(fd, reply) || reply->h.id != h.id || reply->h.command != command ||
	    (reply->h.flags & 0xf) != 1)
		return -1;
	if (reply->h.flags & VFU_FLAG_ERROR)
		return reply->len == 0 ? (int)reply->h.error : -1;
	return 0;
}

int fake_command(struct fake *fake, uint16_t command, const void *body, size_t len)
{
	struct fake_msg reply;
	int rc = transact(fake, command, body, len, &reply);

	finish(&reply);
	return rc;
}

int fake_dma(struct fake *fake, uint16_t command, uint64_t address, uint64_t count, void *data)
{
	struct vfu_dma_access a = { .address = address, .count = count };
	size_t out = command == VFU_DMA_WRITE ? count : 0;
	uint8_t *body = malloc(sizeof(a) + out);
	struct fake_msg reply;
	int rc;

	memcpy(body, &a, sizeof(a));
	if (out > 0)
		memcpy(body + sizeof(a), data, out);
	rc = transact(fake, command, body, sizeof(a) + out, &reply);
	if (rc == 0 &&
	    (reply.len != sizeof(a) + count - out || memcmp(reply.body, &a, sizeof(a)) != 0))
		rc = -1;
	if (rc == 0 && command == VFU_DMA_READ)
		memcpy(data, reply.body + sizeof(a), count);
	finish(&reply);
	free(body);
	return rc;
}

/* ---- the honest device ---- */

static void version(struct fake *fake, struct fake_msg *m)
{
	struct vfu_version v = { .minor = fake->minor };
	uint8_t body[1024];
	int pair[2] = { -1, -1 };
	size_t len = fake->json ? strlen(fake->json) + 1 : 0;

	snprintf(fake->offered, sizeof(fake->offered), "%s", (char *)m->body + sizeof(v));
	memcpy(body, &v, sizeof(v));
	if (len > 0)
		memcpy(body + sizeof(v), fake->json, len);
	if (fake->use_twin && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0)
		fake->twin = pair[0];
	fake_reply(fake, m, body, sizeof(v) + len, &pair[1], pair[1] >= 0);
	if (pair[1] >= 0)
		close(pair[1]);
}

static void region_info(struct fake *fake, struct fake_msg *m)
{
	struct {
		struct vfu_region_info info;
		struct vfu_cap_header h;
		uint32_t nr_areas, reserved;
		struct vfu_sparse_area area;
	} b;
	struct vfu_region_info in;
	size_t len = sizeof(b.info);

	memcpy(&in, m->body, sizeof(in));
	memset(&b, 0, sizeof(b));
	b.info.index = in.index;
	if (in.index == 0) {
		b.info.size = FAKE_BAR_BYTES;
		b.info.flags = 0xf;
		b.info.cap_offset = 32;
		b.h.id = VFU_CAP_SPARSE_MMAP;
		b.h.version = 1;
		b.nr_areas = 1;
		b.area.offset = 0x1000;
		b.area.size = 0x1000;
		len = sizeof(b);
	} else if (in.index == 7) {
		b.info.size = sizeof(fake->config);
		b.info.flags = VFU_REGION_FLAG_READ | VFU_REGION_FLAG_WRITE;
	}
	b.info.argsz = (uint32_t)len;
	fake_reply(fake, m, &b, len, &fake->bar_fd, in.index == 0);
}

static void irq_info(struct fake *fake, struct fake_msg *m)
{
	struct vfu_irq_info b;

	memcpy(&b, m->body, sizeof(b));
	b.flags =
		b.index == 2 ? VFU_IRQ_FLAG_EVENTFD | VFU_IRQ_FLAG_MASKABLE : VFU_IRQ_FLAG_EVENTFD;
	b.count = b.index == 2 ? 8 : b.index == 0 ? 0 : 1;
	fake_reply(fake, m, &b, sizeof(b), NULL, 0);
}

static void region_access(struct fake *fake, struct fake_msg *m)
{
	bool write = m->h.command == VFU_REGION_WRITE;
	struct vfu_region_access a;
	uint8_t *body, *at;

	memcpy(&a, m->body, sizeof(a));
	at = (a.region == 7 ? fake->config : fake->bar) + a.offset;
	body = malloc(sizeof(a) + a.count);
	memcpy(body, &a, sizeof(a));
	pthread_mutex_lock(&fake->lock);
	if (write)
		memcpy(at, m->body + sizeof(a), a.count);
	else
		memcpy(body + sizeof(a), at, a.count);
	pthread_mutex_unlock(&fake->lock);
	fake_reply(fake, m, body, sizeof(a) + (write ? 0 : a.count), NULL, 0);
	free(body);
}

static void set_irqs(struct fake *fake, struct fake_msg *m)
{
	pthread_mutex_lock(&fake->lock);
	if (fake->num_irq_sets < 16) {
		memcpy(&fake->irq_set[fake->num_irq_sets], m->body, sizeof(fake->irq_set[0]));
		fake->irq_set_fds[fake->num_irq_sets++] = m->nfds;
	}
	pthread_mutex_unlock(&fake->lock);
	fake_reply(fake, m, NULL, 0, NULL, 0);
}

static void dma_map(struct fake *fake, struct fake_msg *m)
{
	pthread_mutex_lock(&fake->lock);
	if (fake->num_maps < FAKE_MAX_MAPS) {
		struct fake_map *map = &fake->map[fake->num_maps++];

		memcpy(&map->wire, m->body, sizeof(map->wire));
		map->fd = m->nfds == 1 ? m->fds[0] : -1;
		if (m->nfds == 1)
			m->fds[0] = -1;
	}
	pthread_mutex_unlock(&fake->lock);
	fake_reply(fake, m, NULL, 0, NULL, 0);
}

static void drop_map(struct fake *fake, unsigned int i)
{
	if (fake->map[i].fd >= 0)
		close(fake->map[i].fd);
	fake->map[i] = fake->map[--fake->num_maps];
}

static void dma_unmap(struct fake *fake, struct fake_msg *m)
{
	struct vfu_dma_unmap u;
	bool found = false;

	memcpy(&u, m->body, sizeof(u));
	pthread_mutex_lock(&fake->lock);
	for (unsigned int i = 0; i < fake->num_maps && !found; i++) {
		found = fake->map[i].wire.address == u.address && fake->map[i].wire.size == u.size;
		if (found)
			drop_map(fake, i);
	}
	pthread_mutex_unlock(&fake->lock);
	if (found)
		fake_reply(fake, m, &u, sizeof(u), NULL, 0);
	else
		fake_refuse(fake, m, 2);
}

static void answer(struct fake *fake, struct fake_msg *m)
{
	const struct vfu_device_info info = { 16, VFU_DEVICE_FLAG_RESET | VFU_DEVICE_FLAG_PCI, 9,
					      5 };

	switch (m->h.command) {
	case VFU_VERSION:
		version(fake, m);
		break;
	case VFU_DEVICE_GET_INFO:
		fake_reply(fake, m, &info, sizeof(info), NULL, 0);
		break;
	case VFU_DEVICE_GET_REGION_INFO:
		region_info(fake, m);
		break;
	case VFU_DEVICE_GET_IRQ_INFO:
		irq_info(fake, m);
		break;
	case VFU_DEVICE_SET_IRQS:
		set_irqs(fake, m);
		break;
	case VFU_REGION_READ:
	case VFU_REGION_WRITE:
		region_access(fake, m);
		break;
	case VFU_DMA_MAP:
		dma_map(fake, m);
		break;
	case VFU_DMA_UNMAP:
		dma_unmap(fake, m);
		break;
	case VFU_DEVICE_RESET:
		fake_reply(fake, m, NULL, 0, NULL, 0);
		break;
	default:
		fake_refuse(fake, m, 22);
	}
}

static void serve(struct fake *fake)
{
	struct fake_msg m;
	bool more = true;

	while (more) {
		more = receive_msg(fake->fd, &m);
		if (more) {
			pthread_mutex_lock(&fake->lock);
			fake->seen[m.h.command % 32]++;
			fake->no_reply += (m.h.flags & VFU_FLAG_NO_REPLY) != 0;
			pthread_mutex_unlock(&fake->lock);
			if (!fake->hook || !fake->hook(fake, &m))
				answer(fake, &m);
		}
		finish(&m);
	}
	pthread_mutex_lock(&fake->lock);
	close(fake->fd);
	fake->fd = -1;
	if (fake->twin >= 0)
		close(fake->twin);
	fake->twin = -1;
	while (fake->num_maps > 0)
		drop_map(fake, 0);
	pthread_mutex_unlock(&fake->lock);
}

static void *run(void *arg)
{
	struct fake *fake = arg;
	int fd;

	while ((fd = accept4(fake->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		pthread_mutex_lock(&fake->lock);
		fake->fd = fd;
		fake->clients++;
		pthread_mutex_unlock(&fake->lock);
		serve(fake);
	}
	return NULL;
}

int fake_start(struct fake *fake, bool (*hook)(struct fake *, struct fake_msg *))
{
	static const uint8_t ids[] = { 0x36, 0x1b, 0x10, 0x00, 0, 0, 0, 0, 0x02, 0x02, 0x08, 0x01 };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	memset(fake, 0, sizeof(*fake));
	fake->hook = hook;
	fake->json = DEFAULT_JSON;
	fake->minor = 1;
	fake->fd = fake->twin = -1;
	memcpy(fake->config, ids, sizeof(ids));
	strcpy(fake->dir, "/tmp/bh-io-vfu-XXXXXX");
	if (!mkdtemp(fake->dir))
		return -1;
	snprintf(fake->path, sizeof(fake->path), "%s/s", fake->dir);
	strcpy(addr.sun_path, fake->path);
	fake->bar_fd = memfd_create("bar", MFD_CLOEXEC);
	fake->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ftruncate(fake->bar_fd, FAKE_BAR_BYTES) != 0 ||
	    bind(fake->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    listen(fake->listen_fd, 2) != 0)
		return -1;
	pthread_mutex_init(&fake->lock, NULL);
	return pthread_create(&fake->thread, NULL, run, fake);
}

void fake_hang_up(struct fake *fake)
{
	pthread_mutex_lock(&fake->lock);
	if (fake->fd >= 0)
		shutdown(fake->fd, SHUT_RDWR);
	pthread_mutex_unlock(&fake->lock);
}

void fake_wait_idle(struct fake *fake)
{
	bool idle = false;

	while (!idle) {
		pthread_mutex_lock(&fake->lock);
		idle = fake->fd < 0;
		pthread_mutex_unlock(&fake->lock);
		if (!idle)
			usleep(200);
	}
}

void fake_stop(struct fake *fake)
{
	shutdown(fake->listen_fd, SHUT_RDWR);
	fake_hang_up(fake);
	pthread_join(fake->thread, NULL);
	close(fake->listen_fd);
	close(fake->bar_fd);
	unlink(fake->path);
	rmdir(fake->dir);
	pthread_mutex_destroy(&fake->lock);
}

unsigned int fake_seen(struct fake *fake, unsigned int command)
{
	unsigned int n;

	pthread_mutex_lock(&fake->lock);
	n = fake->seen[command % 32];
	pthread_mutex_unlock(&fake->lock);
	return n;
}

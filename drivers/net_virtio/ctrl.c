/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control queue (virtio 1.2 5.1.6.5): one command at a time, waited for.
 *
 * A command is two descriptors: class, command and data, which the device reads, and one byte of
 * acknowledgement, which it writes. Nothing else is ever in the queue, so where the next one goes and
 * what the device must answer are known: an answer of another id ends the queue. After a command that
 * was not answered in time the queue is not used until the next start, since the answer may come yet.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include <bellhop/barrier.h>
#include <bellhop/clock.h>

#include "net_virtio/net_virtio.h"

#define CTRL_SIZE 64u	/* entries at most */
#define CTRL_DATA 4096u /* bytes of a command */
#define POLL_NS 20000

static uint16_t ctrl_index(const struct bh__vnet *v)
{
	/* With MQ behind all pairs the device has, else behind the only one (5.1.2). */
	return (uint16_t)(2 * v->max_pairs);
}

int bh__vnet_ctrl_create(struct bh__vnet *v)
{
	uint16_t size;
	void *buf;
	int rc;

	if (!BH__VNET_OFFERS(v, NET_F_CTRL_VQ))
		return 0;
	rc = bh__vnet_write16(v, BH_VIRTIO_COMMON(queue_select), ctrl_index(v));
	if (rc == 0)
		rc = bh__vnet_read16(v, BH_VIRTIO_COMMON(queue_size), &size);
	if (rc != 0)
		return rc;
	if (size > CTRL_SIZE)
		size = CTRL_SIZE;
	while (size & (size - 1))
		size &= (uint16_t)(size - 1);
	if (size < 2)
		return -EPROTO;
	rc = bh__virtq_create(v, &v->ctrl, size, CTRL_DATA + 1, &buf, &v->ctrl_iova);
	if (rc == 0)
		v->ctrl_buf = (uint8_t *)buf;
	return rc;
}

void bh__vnet_ctrl_destroy(struct bh__vnet *v)
{
	bh__virtq_destroy(&v->ctrl);
}

static void step(uint16_t *pos, bool *wrap, uint16_t size)
{
	if (++*pos == size) {
		*pos = 0;
		*wrap = !*wrap;
	}
}

/* The flags of the first descriptor are stored last. */
static void submit_packed(struct bh__vnet *v, uint32_t out_len)
{
	struct bh__virtq *vq = &v->ctrl;
	struct bh_virtq_packed_desc *first = &vq->desc[vq->avail_pos], *second;
	uint16_t flags = BH_VIRTQ_DESC_F_NEXT | bh_virtq_packed_avail_flags(vq->avail_wrap);
	uint32_t event;

	step(&vq->avail_pos, &vq->avail_wrap, vq->size);
	second = &vq->desc[vq->avail_pos];
	first->addr = v->ctrl_iova;
	first->len = out_len;
	first->id = 0;
	second->addr = v->ctrl_iova + CTRL_DATA;
	second->len = 1;
	second->id = 0;
	bh_store_u16(&second->flags,
		     BH_VIRTQ_DESC_F_WRITE | bh_virtq_packed_avail_flags(vq->avail_wrap));
	step(&vq->avail_pos, &vq->avail_wrap, vq->size);
	/* Both descriptors before the flags that make them available. */
	bh_wmb_io();
	bh_store_release_u16(&first->flags, flags);
	/* The flags before the look at what the device wants to hear of. */
	bh_mb();
	event = bh_load_u32(vq->device_event);
	if (bh_virtq_packed_need_event((uint16_t)(event >> 16), (uint16_t)event, vq->avail_pos,
				       vq->avail_wrap, 2, vq->size))
		bh__virtq_kick(vq);
}

static void submit_split(struct bh__vnet *v, uint32_t out_len)
{
	struct bh__virtq *vq = &v->ctrl;
	uint16_t mask = (uint16_t)(vq->size - 1), a = vq->avail_pos, b = (uint16_t)(a + 1) & mask;
	bool wanted;

	vq->table[a] = (struct bh_virtq_desc){ v->ctrl_iova, out_len, BH_VIRTQ_DESC_F_NEXT, b };
	vq->table[b] =
		(struct bh_virtq_desc){ v->ctrl_iova + CTRL_DATA, 1, BH_VIRTQ_DESC_F_WRITE, 0 };
	vq->avail_pos = (uint16_t)(a + 2) & mask;
	bh_store_u16(&vq->avail->ring[vq->avail_idx & mask], a);
	vq->avail_idx++;
	/* The entry before the index. */
	bh_wmb_io();
	bh_store_release_u16(&vq->avail->idx, vq->avail_idx);
	/* The index before the look at what the device wants to hear of. */
	bh_mb();
	if (vq->event_idx)
		wanted = bh_virtq_need_event(bh_load_u16(bh_virtq_avail_event(vq->used, vq->size)),
					     vq->avail_idx, (uint16_t)(vq->avail_idx - 1));
	else
		wanted = !(bh_load_u16(&vq->used->flags) & BH_VIRTQ_USED_F_NO_NOTIFY);
	if (wanted)
		bh__virtq_kick(vq);
}

/* Was the command used? 1, 0, or -EPROTO. */
static int done_packed(struct bh__virtq *vq)
{
	struct bh_virtq_packed_desc *d = &vq->desc[vq->used_pos];

	if (!bh_virtq_packed_is_used(bh_load_acquire_u16(&d->flags), vq->used_wrap))
		return 0;
	step(&vq->used_pos, &vq->used_wrap, vq->size);
	step(&vq->used_pos, &vq->used_wrap, vq->size);
	return bh_load_u16(&d->id) == 0 ? 1 : -EPROTO;
}

static int done_split(struct bh__virtq *vq)
{
	uint16_t idx = bh_load_acquire_u16(&vq->used->idx);

	if (idx == vq->used_idx)
		return 0;
	vq->used_idx++;
	return idx == vq->used_idx ? 1 : -EPROTO;
}

static int wait_done(struct bh__vnet *v)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	uint64_t deadline = bh_now_ns() + v->net.timeout_ns;
	struct bh__virtq *vq = &v->ctrl;
	int rc;

	for (;;) {
		rc = vq->packed ? done_packed(vq) : done_split(vq);
		if (rc != 0)
			return rc < 0 ? rc : 0;
		if (bh_device_gone(v->dev))
			return -ENODEV;
		if (bh_now_ns() > deadline)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
}

int bh__vnet_ctrl(struct bh__vnet *v, uint8_t class_, uint8_t command, const void *data, size_t len)
{
	const struct bh_virtio_net_ctrl head = { class_, command };
	int rc;

	if (!BH__VNET_HAS(v, NET_F_CTRL_VQ))
		return -EOPNOTSUPP;
	if (v->ctrl.broken)
		return -EIO;
	if (len > CTRL_DATA - sizeof(head))
		return -EINVAL;
	memcpy(v->ctrl_buf, &head, sizeof(head));
	if (len > 0)
		memcpy(v->ctrl_buf + sizeof(head), data, len);
	v->ctrl_buf[CTRL_DATA] = 0xff;
	if (v->ctrl.packed)
		submit_packed(v, (uint32_t)(sizeof(head) + len));
	else
		submit_split(v, (uint32_t)(sizeof(head) + len));
	rc = wait_done(v);
	if (rc != 0) {
		v->ctrl.broken = true;
		bh__vnet_log(v, BH_LOG_ERROR, "%s: command %u of class %u: %s",
			     bh_device_name(v->dev), command, class_,
			     rc == -ETIMEDOUT ? "no answer in time" : strerror(-rc));
		return rc;
	}
	return *(volatile uint8_t *)&v->ctrl_buf[CTRL_DATA] == BH_VIRTIO_NET_OK ? 0 : -EIO;
}

/* ---- what the API asks for ---- */

int bh__vnet_mac_set(struct bh_net *net)
{
	return bh__vnet_ctrl(bh__vnet_of(net), BH_VIRTIO_NET_CTRL_MAC,
			     BH_VIRTIO_NET_CTRL_MAC_ADDR_SET, net->mac, sizeof(net->mac));
}

static int rx_flag(struct bh_net *net, uint8_t command, bool on)
{
	uint8_t value = on;

	return bh__vnet_ctrl(bh__vnet_of(net), BH_VIRTIO_NET_CTRL_RX, command, &value, 1);
}

int bh__vnet_promisc(struct bh_net *net)
{
	return rx_flag(net, BH_VIRTIO_NET_CTRL_RX_PROMISC, net->promisc);
}

int bh__vnet_allmulti(struct bh_net *net)
{
	return rx_flag(net, BH_VIRTIO_NET_CTRL_RX_ALLMULTI, net->allmulti);
}

/* An empty table of unicast addresses (our own is not filtered by it), then ours of multicast. */
int bh__vnet_multicast(struct bh_net *net)
{
	uint8_t tables[2 * sizeof(uint32_t) + sizeof(net->macs)];
	uint32_t none = 0, count = net->num_macs;

	memcpy(tables, &none, sizeof(none));
	memcpy(tables + 4, &count, sizeof(count));
	memcpy(tables + 8, net->macs, sizeof(net->macs));
	return bh__vnet_ctrl(bh__vnet_of(net), BH_VIRTIO_NET_CTRL_MAC,
			     BH_VIRTIO_NET_CTRL_MAC_TABLE_SET, tables,
			     8 + (size_t)count * BH_NET_MAC_BYTES);
}

int bh__vnet_vlan(struct bh_net *net, uint16_t vlan, bool on)
{
	struct bh__vnet *v = bh__vnet_of(net);

	/* Negotiated only for those who filter: a device that has it drops all other VLANs. */
	if (!BH__VNET_HAS(v, NET_F_CTRL_VLAN))
		return -EBUSY;
	return bh__vnet_ctrl(v, BH_VIRTIO_NET_CTRL_VLAN,
			     on ? BH_VIRTIO_NET_CTRL_VLAN_ADD : BH_VIRTIO_NET_CTRL_VLAN_DEL, &vlan,
			     sizeof(vlan));
}

static uint8_t *append(uint8_t *at, const void *data, size_t len)
{
	memcpy(at, data, len);
	return at + len;
}

int bh__vnet_rss_set(struct bh_net *net)
{
	const struct bh_net_rss *rss = &net->rss;
	const struct bh_virtio_net_rss_head head = {
		.hash_types = rss->types, /* the API's bits are virtio's */
		.indirection_table_mask = (uint16_t)(rss->table_size - 1),
		.unclassified_queue = 0,
	};
	uint8_t data[sizeof(head) + sizeof(rss->table) + 3 + sizeof(rss->key)], *at = data;
	uint16_t max_tx = (uint16_t)net->conf.n_txq;
	uint8_t key_bytes = (uint8_t)rss->key_bytes;

	at = append(at, &head, sizeof(head));
	at = append(at, rss->table, rss->table_size * sizeof(rss->table[0]));
	at = append(at, &max_tx, sizeof(max_tx));
	at = append(at, &key_bytes, sizeof(key_bytes));
	at = append(at, rss->key, rss->key_bytes);
	return bh__vnet_ctrl(bh__vnet_of(net), BH_VIRTIO_NET_CTRL_MQ,
			     BH_VIRTIO_NET_CTRL_MQ_RSS_CONFIG, data, (size_t)(at - data));
}

/* How many pairs are used: by RSS, which spreads, or by number, which leaves that to the device. */
static int pairs_set(struct bh__vnet *v)
{
	uint16_t pairs = (uint16_t)v->pairs;

	if (BH__VNET_HAS(v, NET_F_RSS) && v->net.rss.types)
		return bh__vnet_rss_set(&v->net);
	if (!BH__VNET_HAS(v, NET_F_MQ))
		return 0;
	return bh__vnet_ctrl(v, BH_VIRTIO_NET_CTRL_MQ, BH_VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs,
			     sizeof(pairs));
}

static int vlans_set(struct bh__vnet *v)
{
	int rc = 0;

	if (!BH__VNET_HAS(v, NET_F_CTRL_VLAN))
		return 0;
	for (unsigned int vlan = 0; vlan < 4096 && rc == 0; vlan++)
		if (bh__net_vlan_wanted(&v->net, vlan))
			rc = bh__vnet_vlan(&v->net, (uint16_t)vlan, true);
	return rc;
}

int bh__vnet_wishes_apply(struct bh__vnet *v)
{
	struct bh_net *net = &v->net;
	int rc = pairs_set(v);

	if (rc == 0 && memcmp(net->mac, net->info.mac, sizeof(net->mac)) != 0)
		rc = bh__vnet_mac_set(net);
	/* A device comes up promiscuous (5.1.6.5.1). */
	if (rc == 0 && net->info.caps & BH_NET_CAP_PROMISC)
		rc = bh__vnet_promisc(net);
	if (rc == 0 && net->allmulti)
		rc = bh__vnet_allmulti(net);
	if (rc == 0 && net->num_macs > 0)
		rc = bh__vnet_multicast(net);
	return rc != 0 ? rc : vlans_set(v);
}

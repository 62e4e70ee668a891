/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control queue (virtio 1.2 5.1.6.5): receive modes, addresses, VLANs, number of pairs,
 * offloads.
 *
 * Commands are rare and change what passes look at, so the control thread executes them with all
 * poll threads at the gate. It looks when it is kicked; with mapped notifications thread 0 keeps an
 * eye on the ring and sends word.
 *
 * A command comes as class, command and data in what we read, and is answered by one byte in what
 * we write. Data is copied before it is looked at.
 */
#include <string.h>

#include "target/net/net.h"
#include "virtio_dev/vdq_io.h"

/* Two tables with more addresses than we would remember. */
#define MAX_DATA 4096u
#define MAX_COMMANDS 64u /* in one go */

struct command {
	struct bh_virtio_net_ctrl head;
	uint32_t len; /* of data */
	uint8_t data[MAX_DATA];
};

static bool fetch_command(const struct bh_vdq_chain *c, struct command *cmd)
{
	uint8_t *to = (uint8_t *)&cmd->head;
	uint32_t have = 0, head = sizeof(cmd->head);
	unsigned int i;

	if (c->out_bytes < head || c->out_bytes - head > MAX_DATA)
		return false;
	for (i = 0; i < c->out; i++) {
		const uint8_t *from = c->seg[i].va;
		uint32_t len = c->seg[i].len, n = 0;

		if (have < head) {
			n = head - have < len ? head - have : len;
			bh_fetch(to + have, from, n);
		}
		if (n < len)
			bh_fetch(cmd->data + (have + n - head), from + n, len - n);
		have += len;
	}
	cmd->len = c->out_bytes - head;
	return true;
}

static bool set_mode(struct tnet_filter *f, const struct command *cmd)
{
	bool *const modes[] = { &f->promisc,  &f->all_multi, &f->all_uni,
				&f->no_multi, &f->no_uni,    &f->no_bcast };

	if (cmd->head.command >= sizeof(modes) / sizeof(modes[0]) || cmd->len != 1)
		return false;
	*modes[cmd->head.command] = cmd->data[0] != 0;
	return true;
}

/* One of the two tables; false: it is not all there. */
static bool take_table(const struct command *cmd, uint32_t *at, uint8_t macs[][6],
		       unsigned int *count)
{
	uint32_t entries;

	if (cmd->len - *at < sizeof(entries))
		return false;
	memcpy(&entries, cmd->data + *at, sizeof(entries));
	*at += (uint32_t)sizeof(entries);
	if (entries > (cmd->len - *at) / 6)
		return false;
	/* One more than fits says that there are too many. */
	*count = entries <= TNET_MACS ? entries : TNET_MACS + 1;
	if (entries <= TNET_MACS)
		memcpy(macs, cmd->data + *at, entries * 6);
	*at += entries * 6;
	return true;
}

static bool set_mac(struct bh_target_net *net, const struct command *cmd)
{
	struct tnet_filter next = net->filter;
	uint32_t at = 0;

	if (cmd->head.command == BH_VIRTIO_NET_CTRL_MAC_ADDR_SET) {
		if (cmd->len != 6)
			return false;
		memcpy(net->filter.mac, cmd->data, 6);
		return true;
	}
	if (cmd->head.command != BH_VIRTIO_NET_CTRL_MAC_TABLE_SET ||
	    !tnet_has(net->regs.features, BH_VIRTIO_NET_F_CTRL_RX) ||
	    !take_table(cmd, &at, next.uni, &next.num_uni) ||
	    !take_table(cmd, &at, next.multi, &next.num_multi))
		return false;
	net->filter = next;
	return true;
}

static bool set_vlan(struct tnet_filter *f, const struct command *cmd)
{
	uint16_t id;

	if (cmd->len != sizeof(id))
		return false;
	memcpy(&id, cmd->data, sizeof(id));
	if (id >= 4096)
		return false;
	if (cmd->head.command == BH_VIRTIO_NET_CTRL_VLAN_ADD)
		f->vlan[id / 64] |= 1ull << id % 64;
	else if (cmd->head.command == BH_VIRTIO_NET_CTRL_VLAN_DEL)
		f->vlan[id / 64] &= ~(1ull << id % 64);
	else
		return false;
	return true;
}

static bool set_pairs(struct bh_target_net *net, const struct command *cmd)
{
	uint16_t pairs;

	if (cmd->head.command != BH_VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || cmd->len != sizeof(pairs))
		return false;
	memcpy(&pairs, cmd->data, sizeof(pairs));
	if (pairs < BH_VIRTIO_NET_PAIRS_MIN || pairs > net->num_pairs)
		return false;
	tnet_set_active(net, pairs);
	return true;
}

static bool set_offloads(struct bh_target_net *net, const struct command *cmd)
{
	uint64_t offloads;

	if (cmd->head.command != BH_VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
	    cmd->len != sizeof(offloads))
		return false;
	memcpy(&offloads, cmd->data, sizeof(offloads));
	if (offloads & ~(net->regs.features & TNET_OFFLOADS_RX))
		return false;
	tnet_set_offloads(net, offloads);
	return true;
}

static bool execute(struct bh_target_net *net, const struct command *cmd)
{
	static const uint8_t bit[] = {
		[BH_VIRTIO_NET_CTRL_RX] = BH_VIRTIO_NET_F_CTRL_RX,
		[BH_VIRTIO_NET_CTRL_MAC] = BH_VIRTIO_NET_F_CTRL_MAC_ADDR,
		[BH_VIRTIO_NET_CTRL_VLAN] = BH_VIRTIO_NET_F_CTRL_VLAN,
		[BH_VIRTIO_NET_CTRL_ANNOUNCE] = BH_VIRTIO_NET_F_GUEST_ANNOUNCE,
		[BH_VIRTIO_NET_CTRL_MQ] = BH_VIRTIO_NET_F_MQ,
		[BH_VIRTIO_NET_CTRL_GUEST_OFFLOADS] = BH_VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
	};
	bool is_table = cmd->head.class_ == BH_VIRTIO_NET_CTRL_MAC &&
			cmd->head.command == BH_VIRTIO_NET_CTRL_MAC_TABLE_SET;

	if (cmd->head.class_ >= sizeof(bit) ||
	    (!is_table && !tnet_has(net->regs.features, bit[cmd->head.class_])))
		return false;
	switch (cmd->head.class_) {
	case BH_VIRTIO_NET_CTRL_RX:
		return set_mode(&net->filter, cmd);
	case BH_VIRTIO_NET_CTRL_MAC:
		return set_mac(net, cmd);
	case BH_VIRTIO_NET_CTRL_VLAN:
		return set_vlan(&net->filter, cmd);
	case BH_VIRTIO_NET_CTRL_MQ:
		return set_pairs(net, cmd);
	case BH_VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return set_offloads(net, cmd);
	default:
		return false;
	}
}

static void run_one(struct bh_target_net *net, struct bh_vdq_chain *c)
{
	struct command cmd;
	uint8_t ack = BH_VIRTIO_NET_ERR;

	if (!c->in_bytes) {
		bh_vdq_break(&net->cvq, "a control command has no place for its answer");
		return;
	}
	if (fetch_command(c, &cmd) && execute(net, &cmd))
		ack = BH_VIRTIO_NET_OK;
	bh_cmem_store(net->cmem, c->seg[c->out].iova, c->seg[c->out].va, &ack, sizeof(ack));
	bh_vdq_push(&net->cvq, c, sizeof(ack));
}

static void run_gated(struct bh_target_net *net)
{
	struct bh_vdq *q = &net->cvq;
	struct bh_vdq_chain c;
	unsigned int n = 0;
	int rc = 0;

	while (n < MAX_COMMANDS && (rc = bh_vdq_pop(q, &c, net->cvq_seg, BH_VDQ_MAX_SEGS)) == 1) {
		run_one(net, &c);
		n++;
	}
	bh_vdq_flush(q);
	if (bh_vdq_wants_call(q))
		tnet_call_driver(net, net->regs.vq[net->num_vqs - 1].vector);
	if (q->broken)
		tnet_broken(net, net->num_vqs - 1, q->broken);
}

void tnet_cvq_run(struct bh_target_net *net)
{
	bool is_trapped = net->notify == BH_NET_NOTIFY_TRAPPED;

	if (!net->cvq.is_live || net->is_destroying)
		return;
	tnet_gate(net);
	run_gated(net);
	if (is_trapped)
		bh_vdq_kicks(&net->cvq, true);
	/* More than its turn, or come meanwhile: in another one. */
	if (is_trapped && bh_vdq_is_avail(&net->cvq) &&
	    !__atomic_exchange_n(&net->cvq_sent, 1, __ATOMIC_SEQ_CST))
		bh_reactor_send(net->control, &net->cvq_msg);
	tnet_ungate(net);
}

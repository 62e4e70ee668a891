/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network controller: registers, rings of both formats, control commands, and memory that comes
 * and goes, on two controllers that are a loopback, or the two ends of a wire.
 *
 * The vfio-user server is a fake (fuzz_wire and others have the real one); what the client can reach
 * through it is what an input does. An input is a list of steps; each begins with a byte that says
 * which, and on which controller. Every input finds both reset, and when it is done a driver that
 * behaves must be able to start them and have a packet go through: a controller that cannot has
 * failed as much as one that crashed.
 */
#include "check.h"

#define RIG_CHECK FZ_CHECK
#include "../unit/target_net/net_rig.h"

#define STEPS 400u

struct input {
	const uint8_t *at;
	size_t left;
};

static struct rig rigs[2][2]; /* [0]: two loopbacks, [1]: a wire */

static uint64_t take(struct input *in, unsigned int bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes && in->left; i++, in->at++, in->left--)
		value |= (uint64_t)*in->at << 8 * i;
	return value;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct bh_net_port_opts opts;
	struct bh_net_port *end[2];

	(void)argc, (void)argv;
	RIG_CHECK(rig_setup() == 0);
	bh_net_port_opts_init(&opts);
	opts.queues = 2;
	RIG_CHECK(bh_net_port_pair(&opts, end) == 0);
	for (unsigned int i = 0; i < 2; i++) {
		rig_open(&rigs[0][i], rig_port("loopback", "", 2), 2);
		rig_open(&rigs[1][i], end[i], 2);
	}
	return 0;
}

/* ---- steps ---- */

static uint64_t an_address(struct input *in)
{
	uint8_t kind = (uint8_t)take(in, 1);

	switch (kind & 7) {
	case 0:
		return RIG_IOVA + RIG_BYTES - take(in, 1);
	case 1:
		return take(in, 8);
	case 2: /* rings */
		return RIG_IOVA + take(in, 2);
	default:
		return RIG_IOVA + RIG_DATA + (kind >> 3) * 0x1000u + take(in, 1);
	}
}

/* A register in a width of its own, mostly. */
static void a_register(struct rig *r, struct input *in, bool write)
{
	static const uint8_t width[] = { 4, 4, 4, 4, 2, 2, 1, 1 };
	uint8_t what = (uint8_t)take(in, 1);
	uint64_t value = write ? take(in, 1 + what % 8) : 0, offset = take(in, 1);
	uint8_t buf[8];

	memcpy(buf, &value, sizeof(buf));
	if (offset >= 0x80)
		offset = (offset & 0x40	  ? TNET_NOTIFY
			  : offset & 0x20 ? TNET_ISR
					  : TNET_DEVICE) +
			 (offset & 0x1f);
	r->server->opts.ops->access(r->net, BH_PCI_BAR0, offset, buf,
				    what & 0x80 ? width[what >> 4 & 7] : 8, write);
}

/* A driver that behaves until here, with features of the input's choice. */
static void start(struct rig *r, struct input *in)
{
	static const uint64_t choice[] = {
		ALL(RING_PACKED),
		ALL(IN_ORDER),
		ALL(INDIRECT_DESC),
		ALL(EVENT_IDX),
		NET(MRG_RXBUF),
		NET(CSUM) | NET(HOST_TSO4) | NET(HOST_TSO6),
		NET(GUEST_CSUM) | NET(CTRL_GUEST_OFFLOADS),
		NET(GUEST_TSO4) | NET(GUEST_CSUM),
	};
	uint64_t features = ALL(VERSION_1);
	uint8_t bits = (uint8_t)take(in, 1);

	for (unsigned int i = 0; i < 8; i++)
		features |= bits >> i & 1 ? choice[i] : 0;
	features |= (NET(CTRL_VQ) | NET(MQ) | NET(CTRL_RX) | NET(CTRL_VLAN) | NET(CTRL_MAC_ADDR) |
		     ALL(RING_RESET)) &
		    r->net->offered;
	if (!rig_negotiate(r, features))
		return;
	for (unsigned int i = 0; i < r->net->num_vqs; i++)
		rig_enable(r, i);
	RIG_SET(r, device_status, 15);
}

/* Writes a descriptor where the driver would, or anywhere, and mostly makes it known. */
static void descriptor(struct rig *r, struct input *in, bool known)
{
	struct rig_vq *q = &r->vq[take(in, 1) % r->net->num_vqs];
	uint8_t how = (uint8_t)take(in, 1);
	unsigned int place = how & 0x80 ? (unsigned int)take(in, 1) % RIG_DEPTH : q->next;
	uint64_t addr = an_address(in);
	uint32_t len = (uint32_t)(how & 0x40 ? take(in, 4) : take(in, 1) * (how & 8 ? 64 : 4));
	uint16_t flags = how & 7, id = (uint16_t)(how & 0x20 ? take(in, 2) : place);
	struct bh_virtq_avail *avail = (void *)(r->mem + RIG_RINGS + q->index * 0x1000 + 0x800);

	if (tnet_has(r->net->regs.features, BH_VIRTIO_F_RING_PACKED)) {
		flags |= bh_virtq_packed_avail_flags(q->wrap);
		*rig_desc(r, q, place) =
			(struct bh_virtq_packed_desc){ addr, len, id, known ? flags : 0 };
		if (++q->next == RIG_DEPTH) {
			q->next = 0;
			q->wrap = !q->wrap;
		}
		return;
	}
	*(struct bh_virtq_desc *)(void *)rig_desc(r, q, place) =
		(struct bh_virtq_desc){ addr, len, flags,
					(uint16_t)(how & 0x20 ? id : (place + 1) % RIG_DEPTH) };
	q->next = (uint16_t)((place + 1) % RIG_DEPTH);
	if (known) {
		avail->ring[avail->idx % RIG_DEPTH] = (uint16_t)place;
		avail->idx++;
	}
	if (how == 0x1f)
		avail->idx = (uint16_t)take(in, 2);
}

/* Bytes of a packet, a header, a table or a command, where addresses point to. */
static void data(struct rig *r, struct input *in)
{
	uint32_t at = RIG_DATA + (uint32_t)take(in, 1) % 32 * 0x1000u;
	unsigned int n = (unsigned int)take(in, 1) % 96;

	for (unsigned int i = 0; i < n; i++)
		r->mem[at + i] = (uint8_t)take(in, 1);
}

static void remap(struct rig *r, struct input *in)
{
	const struct bh_vfu_ops *ops = r->server->opts.ops;
	uint8_t how = (uint8_t)take(in, 1);
	uint32_t split = (uint32_t)take(in, 1) * 0x1000;

	ops->quiesce(r->net, BH_QUIESCE_UNMAP, RIG_IOVA, RIG_BYTES);
	bh_cmem_del(&r->server->cmem, 0, 0);
	if (how & 1) {
		ops->resume(r->net, BH_QUIESCE_UNMAP);
		rig_turn();
		ops->quiesce(r->net, BH_QUIESCE_MAP, RIG_IOVA, RIG_BYTES);
	}
	if (split && split < RIG_BYTES) {
		bh_cmem_add(&r->server->cmem, RIG_IOVA + split, RIG_BYTES - split,
			    how & 2 ? BH_CMEM_PROT_READ : BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE,
			    BH_CMEM_MAPPED, dup(r->fd), split);
		bh_cmem_add(&r->server->cmem, RIG_IOVA, split,
			    BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE, BH_CMEM_MAPPED, dup(r->fd), 0);
	}
	ops->resume(r->net, BH_QUIESCE_MAP);
}

static void step(struct rig *pair, struct input *in)
{
	uint8_t what = (uint8_t)take(in, 1);
	struct rig *r = &pair[what >> 7];

	switch (what & 15) {
	case 0:
		a_register(r, in, true);
		break;
	case 1:
		a_register(r, in, false);
		break;
	case 2:
	case 3:
		start(r, in);
		break;
	case 4:
		remap(r, in);
		break;
	case 5:
		rig_turn();
		break;
	case 6:
		rig_write(r, TNET_NOTIFY + (r->net->num_vqs - 1) * TNET_NOTIFY_STEP, 0, 2);
		break;
	case 7:
	case 8:
		data(r, in);
		break;
	default:
		descriptor(r, in, what & 0x40);
		break;
	}
}

/* ---- an input ---- */

static void reset(struct rig *r)
{
	const struct bh_vfu_ops *ops = r->server->opts.ops;

	ops->quiesce(r->net, BH_QUIESCE_DISCONNECT, 0, 0);
	ops->reset(r->net, BH_RESET_LOST);
	bh_cmem_del(&r->server->cmem, 0, 0);
	RIG_CHECK(bh_cmem_add(&r->server->cmem, RIG_IOVA, RIG_BYTES,
			      BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE, BH_CMEM_MAPPED, dup(r->fd),
			      0) == 0);
	ops->resume(r->net, BH_QUIESCE_DISCONNECT);
	rig_turn();
	memset(r->mem, 0, RIG_DATA + 0x20000);
	r->room = RIG_DATA;
}

static void still_works(struct rig *from, struct rig *to)
{
	uint8_t *frame;
	uint32_t len;

	rig_start(from, 0);
	if (to != from)
		rig_start(to, 0);
	rig_offer(to, 0, 1, 2048);
	rig_send(from, 0, 100, 5, NULL);
	rig_turn();
	frame = rig_receive(to, 0, &len);
	RIG_CHECK(frame && len == 100 && rig_check(frame, len, 5));
	RIG_CHECK(rig_used(from, &from->vq[1], NULL) >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input in = { bytes, size };
	bool is_wire = take(&in, 1) & 1;
	struct rig *pair = rigs[is_wire];

	for (unsigned int i = 0; i < STEPS && in.left; i++)
		step(pair, &in);
	rig_turn();
	reset(&pair[0]);
	reset(&pair[1]);
	still_works(&pair[0], &pair[is_wire]);
	reset(&pair[0]);
	reset(&pair[1]);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VFIO driver for PCI devices whose BARs can be mapped through dma-bufs, with a memory attribute
 * and with revocation: the kernel's half of Bellhop's tests of an interface that has been proposed
 * for Linux and is in no released kernel. It stands on vfio-pci-core, which does all the rest.
 *
 * Three features of VFIO_DEVICE_FEATURE are answered here: DMA_BUF (11, as the core has it, plus
 * mmap, less importing), and two without numbers of their own yet, which are module parameters:
 * MEMATTR {s32 fd, u32 attribute} chooses what later mmaps of a dma-buf get (0: not cached, 1:
 * write-combining); REVOKE {s32 fd} takes a dma-buf away from everybody for good.
 *
 * Our difference from the proposal is who owns the memory type. x86 keeps one per physical range
 * and gives it to every mapping, whatever its pgprot says. The core maps each BAR uncached when the
 * device is opened, which claims that type for all of it, so pgprot_writecombine() alone is granted
 * and has no effect (hold=0 is exactly that). With hold=1 the core's maps of the BARs are dropped
 * at open; reads and writes of BARs map the page they need while they need it; and a dma-buf that
 * is set to write-combining reserves that type for its pages until it is set back, revoked or gone.
 * What maps the same pages through the device's fd meanwhile gets the same type: there is one.
 *
 * Locks: bufs_lock (what is reserved, who is in which list), then a buffer's own (whether it may be
 * mapped; taken for reading by faults), then the core's memory_lock. Nothing takes bufs_lock under
 * mmap_lock. A buffer belongs to its dma-buf; its device lets go of it when it is closed.
 */
#include <linux/bits.h>
#include <linux/dma-buf.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/iommufd.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>

#define MEMATTR_NC 0
#define MEMATTR_WC 1
/* What released kernels have given numbers to ends here. */
#define LAST_TAKEN 13
#define MAX_RANGES 64

static unsigned int memattr = 14;
module_param(memattr, uint, 0644);
MODULE_PARM_DESC(memattr, "feature number of MEMATTR; 0: not offered");
static unsigned int revoke = 15;
module_param(revoke, uint, 0644);
MODULE_PARM_DESC(revoke, "feature number of REVOKE; 0: not offered");
static unsigned int decoy;
module_param(decoy, uint, 0644);
MODULE_PARM_DESC(decoy, "number of a feature that can be set and is something else; 0: none");
static unsigned int decoy_kind;
module_param(decoy_kind, uint, 0644);
MODULE_PARM_DESC(decoy_kind, "what it differs in: 0 can be read, 1 is smaller, 2 takes any value, "
			     "3 takes none");
static bool hold = true;
module_param(hold, bool, 0644);
MODULE_PARM_DESC(hold, "hold the memory type of BARs; if not, attributes are granted in vain");
static unsigned int asked;
module_param(asked, uint, 0444);
MODULE_PARM_DESC(asked, "how often a feature was asked about that no released kernel has");

/* Parameters are looked at when a device is opened. */
struct variant {
	struct vfio_pci_core_device core; /* first */
	struct list_head bufs;		  /* bufs_lock */
	unsigned long held;		  /* BARs whose memory type is ours */
	unsigned int memattr, revoke, decoy, decoy_kind;
};

struct variant_buf {
	struct dma_buf *dmabuf;
	struct list_head in_bufs; /* bufs_lock */
	struct rw_semaphore lock;
	struct variant *dev; /* NULL once it is closed; written under both locks */
	bool revoked;	     /* as dev */
	unsigned int bar;
	u32 attr;	    /* bufs_lock */
	bool reserved;	    /* bufs_lock: its pages are registered as write-combining */
	unsigned int count; /* of ranges */
	size_t len;
	struct phys_vec range[] __counted_by(count);
};

/* The arguments of the two features. */
struct memattr_arg {
	__s32 dmabuf_fd;
	__u32 attr;
};
struct revoke_arg {
	__s32 dmabuf_fd;
};

static DEFINE_MUTEX(bufs_lock);

static struct variant *to_variant(struct vfio_device *vdev)
{
	return container_of(vdev, struct variant, core.vdev);
}

/* ---- mappings, and the memory type behind them ---- */

/* Mappings through the dma-buf; those that still have one keep its file. */
static void buf_zap(struct variant_buf *b)
{
	struct file *file = get_file_active(&b->dmabuf->file);

	if (!file)
		return;
	unmap_mapping_range(file->f_mapping, 0, b->len, true);
	fput(file);
}

/* Mappings of the same pages through the device's fd: they fault again, with the type of now. */
static void bar_zap(struct variant_buf *b)
{
	struct vfio_pci_core_device *core = &b->dev->core;
	resource_size_t start = pci_resource_start(core->pdev, b->bar);

	for (unsigned int i = 0; i < b->count; i++)
		unmap_mapping_range(core->vdev.inode->i_mapping,
				    VFIO_PCI_INDEX_TO_OFFSET(b->bar) + b->range[i].paddr - start,
				    b->range[i].len, true);
}

static void type_put(struct variant_buf *b)
{
	if (!b->reserved)
		return;
	b->reserved = false;
	for (unsigned int i = 0; i < b->count; i++)
		arch_io_free_memtype_wc(b->range[i].paddr, b->range[i].len);
	bar_zap(b);
}

static int type_get(struct variant_buf *b)
{
	int ret = 0;
	unsigned int i;

	if (b->reserved || !(b->dev->held & BIT(b->bar)))
		return 0;
	for (i = 0; i < b->count && !ret; i++)
		ret = arch_io_reserve_memtype_wc(b->range[i].paddr, b->range[i].len);
	if (ret) {
		/* The last one is the one that failed. */
		for (i--; i > 0; i--)
			arch_io_free_memtype_wc(b->range[i - 1].paddr, b->range[i - 1].len);
		return ret;
	}
	b->reserved = true;
	bar_zap(b);
	return 0;
}

/* All mappings through dma-bufs, of a device that is about to be or has been reset. */
static void variant_zap(struct variant *dev)
{
	struct variant_buf *b;

	mutex_lock(&bufs_lock);
	list_for_each_entry(b, &dev->bufs, in_bufs)
		buf_zap(b);
	mutex_unlock(&bufs_lock);
}

static bool buf_pfn(const struct variant_buf *b, u64 offset, unsigned long *pfn)
{
	for (unsigned int i = 0; i < b->count; i++) {
		if (offset < b->range[i].len) {
			*pfn = PHYS_PFN(b->range[i].paddr + offset);
			return true;
		}
		offset -= b->range[i].len;
	}
	return false;
}

static vm_fault_t buf_fault(struct vm_fault *vmf)
{
	struct variant_buf *b = vmf->vma->vm_private_data;
	vm_fault_t ret = VM_FAULT_SIGBUS;
	unsigned long pfn;

	down_read(&b->lock);
	if (b->dev && !b->revoked && buf_pfn(b, (u64)vmf->pgoff << PAGE_SHIFT, &pfn)) {
		/* Which also looks whether the device decodes its memory now. */
		down_read(&b->dev->core.memory_lock);
		ret = vfio_pci_vmf_insert_pfn(&b->dev->core, vmf, pfn, 0);
		up_read(&b->dev->core.memory_lock);
	}
	up_read(&b->lock);
	return ret;
}

static const struct vm_operations_struct buf_vm_ops = { .fault = buf_fault };

static void vma_is_io(struct vm_area_struct *vma, const struct vm_operations_struct *ops,
		      void *priv, bool wc)
{
	vma->vm_page_prot =
		wc ? pgprot_writecombine(vma->vm_page_prot) : pgprot_noncached(vma->vm_page_prot);
	vma->vm_page_prot = pgprot_decrypted(vma->vm_page_prot);
	vm_flags_set(vma, VM_ALLOW_ANY_UNCACHED | VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = priv;
	vma->vm_ops = ops;
}

static int buf_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct variant_buf *b = dmabuf->priv;
	int ret = 0;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	down_read(&b->lock);
	if (!b->dev || b->revoked)
		ret = -ENODEV;
	else
		vma_is_io(vma, &buf_vm_ops, b, READ_ONCE(b->attr) == MEMATTR_WC);
	up_read(&b->lock);
	return ret;
}

/* ---- the rest of a dma-buf: nobody imports it ---- */

static int buf_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attachment)
{
	return -EOPNOTSUPP;
}

static struct sg_table *buf_map(struct dma_buf_attachment *attachment, enum dma_data_direction dir)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static void buf_unmap(struct dma_buf_attachment *attachment, struct sg_table *table,
		      enum dma_data_direction dir)
{
}

/* The device lets go of it: from here on it is a dma-buf of nothing. Under bufs_lock. */
static void buf_cut(struct variant_buf *b)
{
	struct variant *dev = b->dev;

	type_put(b);
	list_del(&b->in_bufs);
	down_write(&b->lock);
	b->dev = NULL;
	up_write(&b->lock);
	vfio_device_put_registration(&dev->core.vdev);
}

static void buf_release(struct dma_buf *dmabuf)
{
	struct variant_buf *b = dmabuf->priv;

	mutex_lock(&bufs_lock);
	if (b->dev)
		buf_cut(b);
	mutex_unlock(&bufs_lock);
	kfree(b);
}

static const struct dma_buf_ops buf_ops = {
	.attach = buf_attach,
	.map_dma_buf = buf_map,
	.unmap_dma_buf = buf_unmap,
	.mmap = buf_mmap,
	.release = buf_release,
};

/* ---- feature DMA_BUF ---- */

static int buf_fill(struct variant *dev, const struct vfio_device_feature_dma_buf *head,
		    struct vfio_region_dma_range *ranges, struct variant_buf *b)
{
	struct pci_dev *pdev = dev->core.pdev;

	for (unsigned int i = 0; i < head->nr_ranges; i++) {
		if (!ranges[i].length || !PAGE_ALIGNED(ranges[i].offset | ranges[i].length))
			return -EINVAL;
		b->len += ranges[i].length;
	}
	INIT_LIST_HEAD(&b->in_bufs);
	init_rwsem(&b->lock);
	b->bar = head->region_index;
	b->attr = MEMATTR_NC;
	return vfio_pci_core_fill_phys_vec(b->range, ranges, head->nr_ranges,
					   pci_resource_start(pdev, b->bar),
					   pci_resource_len(pdev, b->bar));
}

/* Makes a buffer a dma-buf of an open device. The buffer is the dma-buf's after a success. */
static int buf_export(struct variant *dev, struct variant_buf *b, u32 open_flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);

	if (!vfio_device_try_get_registration(&dev->core.vdev))
		return -ENODEV;
	info.ops = &buf_ops;
	info.size = b->len;
	info.flags = open_flags;
	info.priv = b;
	b->dmabuf = dma_buf_export(&info);
	if (IS_ERR(b->dmabuf)) {
		vfio_device_put_registration(&dev->core.vdev);
		return PTR_ERR(b->dmabuf);
	}
	mutex_lock(&bufs_lock);
	b->dev = dev;
	list_add_tail(&b->in_bufs, &dev->bufs);
	mutex_unlock(&bufs_lock);
	return 0;
}

static int buf_create(struct variant *dev, const struct vfio_device_feature_dma_buf *head,
		      struct vfio_region_dma_range *ranges)
{
	struct variant_buf *b = kzalloc(struct_size(b, range, head->nr_ranges), GFP_KERNEL);
	int ret;

	if (!b)
		return -ENOMEM;
	b->count = head->nr_ranges;
	ret = buf_fill(dev, head, ranges, b);
	if (!ret)
		ret = buf_export(dev, b, head->open_flags);
	if (ret) {
		kfree(b);
		return ret;
	}
	ret = dma_buf_fd(b->dmabuf, head->open_flags);
	if (ret < 0)
		dma_buf_put(b->dmabuf);
	return ret;
}

static bool bar_is_mapped(const struct variant *dev, unsigned int bar)
{
	return bar < PCI_STD_NUM_BARS && dev->core.bar_mmap_supported[bar] &&
	       (dev->held & BIT(bar) || !IS_ERR_OR_NULL(dev->core.barmap[bar]));
}

static int feature_dma_buf(struct variant *dev, u32 flags, void __user *arg, size_t len)
{
	struct vfio_device_feature_dma_buf head;
	struct vfio_region_dma_range *ranges;
	int ret = vfio_check_feature(flags, len, VFIO_DEVICE_FEATURE_GET, sizeof(head));

	if (ret != 1)
		return ret;
	if (copy_from_user(&head, arg, sizeof(head)))
		return -EFAULT;
	if (head.flags || !head.nr_ranges || head.nr_ranges > MAX_RANGES ||
	    head.open_flags & ~(O_ACCMODE | O_CLOEXEC))
		return -EINVAL;
	if (len < struct_size(&head, dma_ranges, head.nr_ranges))
		return -EINVAL;
	if (!bar_is_mapped(dev, head.region_index))
		return -ENODEV;
	ranges = memdup_array_user(arg + sizeof(head), head.nr_ranges, sizeof(*ranges));
	if (IS_ERR(ranges))
		return PTR_ERR(ranges);
	ret = buf_create(dev, &head, ranges);
	kfree(ranges);
	return ret;
}

/* ---- features MEMATTR and REVOKE ---- */

/* A dma-buf of this device by its fd, to be put; or an error. */
static struct variant_buf *buf_find(struct variant *dev, int fd)
{
	struct dma_buf *dmabuf = dma_buf_get(fd);
	struct variant_buf *b;

	if (IS_ERR(dmabuf))
		return ERR_CAST(dmabuf);
	b = dmabuf->priv;
	if (dmabuf->ops == &buf_ops && READ_ONCE(b->dev) == dev)
		return b;
	dma_buf_put(dmabuf);
	return ERR_PTR(-ENODEV);
}

/* Under bufs_lock. */
static int buf_set_attr(struct variant_buf *b, u32 attr)
{
	int ret = 0;

	if (attr != MEMATTR_NC && attr != MEMATTR_WC)
		return -ENOENT;
	if (attr == b->attr)
		return 0;
	if (b->dev->held & BIT(b->bar) && !b->revoked) {
		/* What is mapped keeps its attribute, and there is one for all. */
		if (mapping_mapped(b->dmabuf->file->f_mapping))
			return -EBUSY;
		if (attr == MEMATTR_WC)
			ret = type_get(b);
		else
			type_put(b);
	}
	if (!ret)
		WRITE_ONCE(b->attr, attr);
	return ret;
}

static int feature_memattr(struct variant *dev, u32 flags, void __user *arg, size_t len)
{
	struct variant_buf *b;
	struct memattr_arg set;
	int ret = vfio_check_feature(flags, len, VFIO_DEVICE_FEATURE_SET, sizeof(set));

	if (ret != 1)
		return ret;
	if (copy_from_user(&set, arg, sizeof(set)))
		return -EFAULT;
	b = buf_find(dev, set.dmabuf_fd);
	if (IS_ERR(b))
		return PTR_ERR(b);
	mutex_lock(&bufs_lock);
	ret = buf_set_attr(b, set.attr);
	mutex_unlock(&bufs_lock);
	dma_buf_put(b->dmabuf);
	return ret;
}

/* Under bufs_lock. */
static int buf_revoke(struct variant_buf *b)
{
	if (b->revoked)
		return -EBADFD;
	down_write(&b->lock);
	b->revoked = true;
	up_write(&b->lock);
	/* No fault comes in any more. */
	buf_zap(b);
	type_put(b);
	return 0;
}

static int feature_revoke(struct variant *dev, u32 flags, void __user *arg, size_t len)
{
	struct variant_buf *b;
	struct revoke_arg set;
	int ret = vfio_check_feature(flags, len, VFIO_DEVICE_FEATURE_SET, sizeof(set));

	if (ret != 1)
		return ret;
	if (copy_from_user(&set, arg, sizeof(set)))
		return -EFAULT;
	b = buf_find(dev, set.dmabuf_fd);
	if (IS_ERR(b))
		return PTR_ERR(b);
	mutex_lock(&bufs_lock);
	ret = buf_revoke(b);
	mutex_unlock(&bufs_lock);
	dma_buf_put(b->dmabuf);
	return ret;
}

/* Features that are like MEMATTR in all respects but one. */
static int feature_decoy(struct variant *dev, u32 flags, size_t len)
{
	u32 can = VFIO_DEVICE_FEATURE_SET;
	int ret;

	if (dev->decoy_kind == 0)
		can |= VFIO_DEVICE_FEATURE_GET;
	ret = vfio_check_feature(flags, len, can,
				 dev->decoy_kind == 1 ? sizeof(u32) : sizeof(struct memattr_arg));
	if (ret != 1)
		return ret;
	if (dev->decoy_kind == 2)
		return 0;
	return dev->decoy_kind == 3 ? -EINVAL : -ENOENT;
}

static int variant_feature(struct vfio_device *vdev, u32 flags, void __user *arg, size_t len)
{
	struct variant *dev = to_variant(vdev);
	unsigned int number = flags & VFIO_DEVICE_FEATURE_MASK;

	if (number == VFIO_DEVICE_FEATURE_DMA_BUF)
		return feature_dma_buf(dev, flags, arg, len);
	if (number <= LAST_TAKEN)
		return vfio_pci_core_ioctl_feature(vdev, flags, arg, len);
	mutex_lock(&bufs_lock);
	asked++;
	mutex_unlock(&bufs_lock);
	if (number == dev->memattr)
		return feature_memattr(dev, flags, arg, len);
	if (number == dev->revoke)
		return feature_revoke(dev, flags, arg, len);
	if (number == dev->decoy)
		return feature_decoy(dev, flags, len);
	return -ENOTTY;
}

/* ---- BARs without the core's maps of them ---- */

static vm_fault_t bar_fault(struct vm_fault *vmf)
{
	struct variant *dev = vmf->vma->vm_private_data;
	u64 offset = (u64)vmf->pgoff << PAGE_SHIFT;
	unsigned int bar = VFIO_PCI_OFFSET_TO_INDEX(offset);
	phys_addr_t at = pci_resource_start(dev->core.pdev, bar) + (offset & VFIO_PCI_OFFSET_MASK);
	vm_fault_t ret;

	down_read(&dev->core.memory_lock);
	ret = vfio_pci_vmf_insert_pfn(&dev->core, vmf, PHYS_PFN(at), 0);
	up_read(&dev->core.memory_lock);
	return ret;
}

static const struct vm_operations_struct bar_vm_ops = { .fault = bar_fault };

static int variant_mmap(struct vfio_device *vdev, struct vm_area_struct *vma)
{
	struct variant *dev = to_variant(vdev);
	u64 at = (u64)vma->vm_pgoff << PAGE_SHIFT, len = vma->vm_end - vma->vm_start;
	unsigned int bar = VFIO_PCI_OFFSET_TO_INDEX(at);

	if (bar >= PCI_STD_NUM_BARS || !(dev->held & BIT(bar)))
		return vfio_pci_core_mmap(vdev, vma);
	at &= VFIO_PCI_OFFSET_MASK;
	if (!(vma->vm_flags & VM_SHARED) ||
	    at + len > PAGE_ALIGN(pci_resource_len(dev->core.pdev, bar)))
		return -EINVAL;
	vma_is_io(vma, &bar_vm_ops, dev, false);
	return 0;
}

/* The part of one page, less the MSI-X table; with the type the page has at the moment. */
static ssize_t page_rw(struct variant *dev, unsigned int bar, char __user *buf, size_t count,
		       u64 at, bool write)
{
	struct vfio_pci_core_device *core = &dev->core;
	s64 page = at & PAGE_MASK;
	size_t first = 0, end = 0;
	void __iomem *io;
	ssize_t ret = -ENOMEM;

	if (bar == core->msix_bar) {
		first = clamp_t(s64, core->msix_offset - page, 0, PAGE_SIZE);
		end = clamp_t(s64, core->msix_offset + core->msix_size - page, 0, PAGE_SIZE);
	}
	mutex_lock(&bufs_lock);
	io = ioremap(pci_resource_start(core->pdev, bar) + page,
		     min_t(u64, pci_resource_len(core->pdev, bar) - page, PAGE_SIZE));
	if (io) {
		ret = vfio_pci_core_do_io_rw(core, true, io, buf, offset_in_page(at), count, first,
					     end, write, VFIO_PCI_IO_WIDTH_8);
		iounmap(io);
	}
	mutex_unlock(&bufs_lock);
	return ret;
}

static ssize_t bar_rw(struct variant *dev, unsigned int bar, char __user *buf, size_t count,
		      loff_t *pos, bool write)
{
	u64 at = *pos & VFIO_PCI_OFFSET_MASK, len = pci_resource_len(dev->core.pdev, bar);
	size_t done = 0;
	ssize_t n = 0;

	if (at >= len)
		return -EINVAL;
	count = min_t(u64, count, len - at);
	while (done < count && n >= 0) {
		n = page_rw(dev, bar, buf + done,
			    min_t(size_t, count - done, PAGE_SIZE - offset_in_page(at + done)),
			    at + done, write);
		done += n > 0 ? n : 0;
	}
	*pos += done;
	return done ? done : n;
}

static bool is_held(const struct variant *dev, loff_t pos)
{
	u64 index = VFIO_PCI_OFFSET_TO_INDEX(pos);

	return index < PCI_STD_NUM_BARS && dev->held & BIT(index);
}

static ssize_t variant_read(struct vfio_device *vdev, char __user *buf, size_t count, loff_t *pos)
{
	struct variant *dev = to_variant(vdev);

	if (count && is_held(dev, *pos))
		return bar_rw(dev, VFIO_PCI_OFFSET_TO_INDEX(*pos), buf, count, pos, false);
	return vfio_pci_core_read(vdev, buf, count, pos);
}

static ssize_t variant_write(struct vfio_device *vdev, const char __user *buf, size_t count,
			     loff_t *pos)
{
	struct variant *dev = to_variant(vdev);
	bool config = VFIO_PCI_OFFSET_TO_INDEX(*pos) == VFIO_PCI_CONFIG_REGION_INDEX;
	ssize_t ret;

	if (count && is_held(dev, *pos))
		return bar_rw(dev, VFIO_PCI_OFFSET_TO_INDEX(*pos), (char __user *)buf, count, pos,
			      true);
	ret = vfio_pci_core_write(vdev, buf, count, pos);
	/* The core has taken its mappings away if that was what switched memory off. */
	if (config) {
		down_read(&dev->core.memory_lock);
		config = !__vfio_pci_memory_enabled(&dev->core);
		up_read(&dev->core.memory_lock);
	}
	if (config)
		variant_zap(dev);
	return ret;
}

static long variant_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
	struct variant *dev = to_variant(vdev);
	bool reset = cmd == VFIO_DEVICE_RESET || cmd == VFIO_DEVICE_PCI_HOT_RESET;
	long ret;

	if (reset)
		variant_zap(dev);
	ret = vfio_pci_core_ioctl(vdev, cmd, arg);
	/* What faulted just before the core closed the door faults again. */
	if (reset)
		variant_zap(dev);
	return ret;
}

/* ---- a device's life ---- */

static void hold_bars(struct variant *dev)
{
	struct vfio_pci_core_device *core = &dev->core;

	for (unsigned int bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		if (!core->bar_mmap_supported[bar] || IS_ERR_OR_NULL(core->barmap[bar]))
			continue;
		pci_iounmap(core->pdev, core->barmap[bar]);
		core->barmap[bar] = IOMEM_ERR_PTR(-EBUSY);
		dev->held |= BIT(bar);
	}
}

/* The core does not do it for a BAR it has no map of. */
static void release_bars(struct variant *dev)
{
	for (unsigned int bar = 0; bar < PCI_STD_NUM_BARS; bar++)
		if (dev->held & BIT(bar))
			pci_release_selected_regions(dev->core.pdev, BIT(bar));
	dev->held = 0;
}

static int variant_open(struct vfio_device *vdev)
{
	struct variant *dev = to_variant(vdev);
	int ret = vfio_pci_core_enable(&dev->core);

	if (ret)
		return ret;
	vfio_pci_core_finish_enable(&dev->core);
	dev->memattr = memattr;
	dev->revoke = revoke;
	dev->decoy = decoy;
	dev->decoy_kind = decoy_kind;
	if (hold)
		hold_bars(dev);
	return 0;
}

static void variant_close(struct vfio_device *vdev)
{
	struct variant *dev = to_variant(vdev);
	struct variant_buf *b, *next;

	mutex_lock(&bufs_lock);
	list_for_each_entry_safe(b, next, &dev->bufs, in_bufs) {
		struct file *file = get_file_active(&b->dmabuf->file);

		/* Without a file it is being released, and waits for the lock to find itself cut. */
		buf_cut(b);
		if (!file)
			continue;
		unmap_mapping_range(file->f_mapping, 0, b->len, true);
		fput(file);
	}
	mutex_unlock(&bufs_lock);
	release_bars(dev);
	vfio_pci_core_close_device(vdev);
}

static const struct vfio_device_ops variant_ops = {
	.name = "bh-memattr",
	.init = vfio_pci_core_init_dev,
	.release = vfio_pci_core_release_dev,
	.open_device = variant_open,
	.close_device = variant_close,
	.ioctl = variant_ioctl,
	.get_region_info_caps = vfio_pci_ioctl_get_region_info,
	.device_feature = variant_feature,
	.read = variant_read,
	.write = variant_write,
	.mmap = variant_mmap,
	.request = vfio_pci_core_request,
	.match = vfio_pci_core_match,
	.match_token_uuid = vfio_pci_core_match_token_uuid,
	.bind_iommufd = vfio_iommufd_physical_bind,
	.unbind_iommufd = vfio_iommufd_physical_unbind,
	.attach_ioas = vfio_iommufd_physical_attach_ioas,
	.detach_ioas = vfio_iommufd_physical_detach_ioas,
	.pasid_attach_ioas = vfio_iommufd_physical_pasid_attach_ioas,
	.pasid_detach_ioas = vfio_iommufd_physical_pasid_detach_ioas,
};

static int variant_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct variant *dev = vfio_alloc_device(variant, core.vdev, &pdev->dev, &variant_ops);
	int ret;

	if (IS_ERR(dev))
		return PTR_ERR(dev);
	INIT_LIST_HEAD(&dev->bufs);
	/* The core's error handlers look for their part there. */
	dev_set_drvdata(&pdev->dev, &dev->core);
	ret = vfio_pci_core_register_device(&dev->core);
	if (ret)
		vfio_put_device(&dev->core.vdev);
	return ret;
}

static void variant_remove(struct pci_dev *pdev)
{
	struct vfio_pci_core_device *core = dev_get_drvdata(&pdev->dev);

	vfio_pci_core_unregister_device(core);
	vfio_put_device(&core->vdev);
}

/* Any device it is forced on with driver_override, and none else. */
static const struct pci_device_id variant_ids[] = {
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_ANY_ID, PCI_ANY_ID) }, {}
};
MODULE_DEVICE_TABLE(pci, variant_ids);

static struct pci_driver variant_driver = {
	.name = "bh-memattr-vfio-pci",
	.id_table = variant_ids,
	.probe = variant_probe,
	.remove = variant_remove,
	.err_handler = &vfio_pci_core_err_handlers,
	.driver_managed_dma = true,
};
module_pci_driver(variant_driver);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("VFIO PCI devices with memory attributes for BARs, for Bellhop's tests");
MODULE_IMPORT_NS("DMA_BUF");

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plug-ins: store types in shared objects of their own, so that the programs need none of the
 * libraries that those stores do.
 *
 * Component: lib/blk
 *
 * A plug-in is a shared object that exports bh_plugin(). It links nothing of Bellhop: whatever it
 * may call of Bellhop's it is handed there. (Linked to the archive it would carry a second copy of
 * it.) It includes this header, <bellhop/blk.h> and <bellhop/log.h>, and uses of them types,
 * constants, inline functions, and struct bh_plugin_host.
 *
 * A plug-in is loaded once and stays: its functions may be called until the process ends.
 */
#ifndef BELLHOP_PLUGIN_H
#define BELLHOP_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#include <bellhop/blk.h>
#include <bellhop/log.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of all that is declared here; it changes with anything that both sides rely on. */
#define BH_PLUGIN_ABI 1u

/* Sizes of what both sides have to agree on, as the one who fills this in was compiled. */
struct bh_plugin_sizes {
	uint32_t blk, chan, ops, io, spec;
};

#define BH_PLUGIN_SIZES                                                                       \
	{                                                                                     \
		sizeof(struct bh_blk), sizeof(struct bh_blk_chan), sizeof(struct bh_blk_ops), \
			sizeof(struct bh_blk_io), sizeof(struct bh_blk_spec)                  \
	}

/* What a plug-in may call; each as <bellhop/blk.h> and <bellhop/log.h> document it. */
struct bh_plugin_host {
	uint32_t abi;
	const char *version; /* of the program: "0.1.0" */
	int (*blk_init)(struct bh_blk *blk, const struct bh_blk_ops *ops, const char *name,
			uint32_t block_size, uint64_t blocks, uint32_t caps,
			const struct bh_log *log);
	void (*blk_fini)(struct bh_blk *blk);
	int (*blk_check)(const struct bh_blk *blk, const struct bh_blk_io *io);
	void (*chan_complete)(struct bh_blk_chan *chan, void *cookie, int status);
	void (*log)(const struct bh_log *log, enum bh_log_level level, const char *component,
		    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
};

struct bh_plugin {
	uint32_t abi; /* BH_PLUGIN_ABI */
	struct bh_plugin_sizes sizes;
	const char *name;			/* "nbd" */
	const char *about;			/* what it is for, in the log: "nbd://HOST..." */
	const struct bh_blk_type *const *types; /* ended by NULL */
};

/*
 * The entry. host stays valid. NULL: the plug-in does not know this version of the interface.
 * Called once, before any other thread is started.
 */
const struct bh_plugin *bh_plugin(const struct bh_plugin_host *host, uint32_t abi);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Logging without process-wide state: whoever opens an object hands it a sink.
 *
 * Component: lib/base
 *
 * A `struct bh_log` belongs to the caller and outlives the objects it was given to. A NULL log, or
 * a log without a write function, is silent. Libraries never print by themselves. Nothing on a data
 * path logs.
 */
#ifndef BELLHOP_LOG_H
#define BELLHOP_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

enum bh_log_level {
	BH_LOG_ERROR, /* something the user asked for did not happen */
	BH_LOG_WARN,  /* it happened, but not as well as it could have */
	BH_LOG_INFO,  /* said once: what was chosen, what is missing */
	BH_LOG_DEBUG,
};

struct bh_log {
	/*
	 * One line without a newline. May be called from any thread, at once from several: the sink
	 * serialises. `component` is a short constant such as "dma" or "nvme".
	 */
	void (*write)(void *ctx, enum bh_log_level level, const char *component, const char *line);
	void *ctx;
	/*
	 * Lines above this level are dropped before they are formatted. __atomic: may be changed
	 * while the log is in use.
	 */
	enum bh_log_level level;
};

/*
 * Formats one line (truncated at 511 bytes, control bytes replaced) and hands it to the sink. Any
 * thread; not on a data path.
 */
void bh_log(const struct bh_log *log, enum bh_log_level level, const char *component,
	    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#ifdef __cplusplus
}
#endif
#endif

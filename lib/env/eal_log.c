/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * EAL logs to a stdio stream; ours is a cookie stream that passes whole lines on to a bh_log. EAL
 * keeps the stream for ever, so it points at process-wide state whose log comes and goes with
 * bh_env.
 */
#include "env/env.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_log.h>

static struct {
	pthread_mutex_t lock;
	const struct bh_log *log;
	FILE *stream;
} diversion = { .lock = PTHREAD_MUTEX_INITIALIZER };

static enum bh_log_level level_now(void)
{
	/* 0 outside of a message, when the stream is flushed late. */
	int level = rte_log_cur_msg_loglevel();

	if (level >= 1 && level <= (int)RTE_LOG_ERR)
		return BH_LOG_ERROR;
	if (level == (int)RTE_LOG_WARNING)
		return BH_LOG_WARN;
	return level == (int)RTE_LOG_NOTICE ? BH_LOG_INFO : BH_LOG_DEBUG;
}

static ssize_t stream_write(void *cookie, const char *text, size_t len)
{
	const char *end = text + len;
	enum bh_log_level level = level_now();

	(void)cookie;
	pthread_mutex_lock(&diversion.lock);
	while (diversion.log && text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *stop = newline ? newline : end;

		if (stop > text)
			bh_log(diversion.log, level, "env", "%.*s", (int)(stop - text), text);
		text = stop + 1;
	}
	pthread_mutex_unlock(&diversion.lock);
	return (ssize_t)len;
}

int bh__eal_log_divert(void)
{
	const cookie_io_functions_t io = { .write = stream_write };

	if (diversion.stream)
		return 0;
	diversion.stream = fopencookie(NULL, "w", io);
	if (!diversion.stream)
		return -ENOMEM;
	setvbuf(diversion.stream, NULL, _IOLBF, BUFSIZ);
	return rte_openlog_stream(diversion.stream) < 0 ? -ENOMEM : 0;
}

void bh__eal_log_set(const struct bh_log *log)
{
	if (diversion.stream)
		fflush(diversion.stream);
	pthread_mutex_lock(&diversion.lock);
	diversion.log = log;
	pthread_mutex_unlock(&diversion.lock);
}

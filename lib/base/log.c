/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Formatting for log sinks. Names and texts that come from a peer end up in log lines, so control
 * bytes are replaced here, once: nobody can forge a line of ours or drive a terminal.
 */
#include <bellhop/log.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 512 };

static void line_clean(char *line)
{
	size_t len = strlen(line);

	while (len > 0 && line[len - 1] == '\n')
		line[--len] = '\0';
	for (char *c = line; *c != '\0'; c++) {
		if (*c == '\t')
			*c = ' ';
		else if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
}

void bh_log(const struct bh_log *log, enum bh_log_level level, const char *component,
	    const char *fmt, ...)
{
	char line[LINE_BYTES];
	va_list args;

	if (!log || !log->write || level > __atomic_load_n(&log->level, __ATOMIC_RELAXED))
		return;
	va_start(args, fmt);
	if (vsnprintf(line, sizeof(line), fmt, args) < 0)
		line[0] = '\0';
	va_end(args);
	line_clean(line);
	log->write(log->ctx, level, component, line);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An interval as lines: tables of threads, NVMe controllers and network controllers, the columns in
 * the order of their worth, since a narrow screen cuts them off. What does not fit below is counted.
 * Names come from the target and are shown as ASCII: they can drive no terminal.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "top.h"

#define NAME_WIDTH 22
#define TEXT 16
/* Of a controller, whatever it does: its name, and thirteen columns. */
#define ROW "%-*s%8s%8s%9s%9s%8s%8s%8s%7s%9s%8s%10s%7s%7s"

struct page {
	FILE *file;
	const struct top_screen *screen;
	unsigned int lines, hidden;
};

static void __attribute__((format(printf, 3, 4)))
line(struct page *page, bool is_heading, const char *fmt, ...)
{
	const struct top_screen *screen = page->screen;
	char text[512];
	va_list args;

	if (screen->rows && page->lines + 1 >= screen->rows) {
		page->hidden++;
		return;
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (screen->columns && strlen(text) > screen->columns)
		text[screen->columns] = '\0';
	page->lines++;
	if (screen->is_terminal)
		fprintf(page->file, "%s%s%s\033[K\n", is_heading ? "\033[1m" : "", text,
			is_heading ? "\033[0m" : "");
	else
		fprintf(page->file, "%s\n", text);
}

/* ---- words ---- */

static double real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

/* 999, 1.23k, 45.6M: four characters of a number, with the letter five. */
static const char *scaled(double value, char text[TEXT])
{
	static const char letters[] = " kMGTPE";
	unsigned int i = 0;

	while (value >= 999.5 && i + 2 < sizeof(letters)) {
		value /= 1000;
		i++;
	}
	if (i == 0)
		snprintf(text, TEXT, "%.0f", value);
	else
		snprintf(text, TEXT, "%.*f%c",
			 value < 9.995	 ? 2
			 : value < 99.95 ? 1
					 : 0,
			 value, letters[i]);
	return text;
}

static const char *rate(const json_t *object, const char *key, char text[TEXT])
{
	return scaled(real(object, key), text);
}

static const char *sum(const json_t *object, const char *a, const char *b, char text[TEXT])
{
	return scaled(real(object, a) + real(object, b), text);
}

static const char *mib(const json_t *object, const char *key, char text[TEXT])
{
	snprintf(text, TEXT, "%.1f", real(object, key) / (1 << 20));
	return text;
}

static const char *percent(const json_t *object, const char *key, char text[TEXT])
{
	snprintf(text, TEXT, "%.1f%%", real(object, key) * 100);
	return text;
}

/* 750ns, 12.3us, 1.25ms */
static const char *latency(const json_t *object, const char *key, char text[TEXT])
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	double value = real(json_object_get(object, "lat_ns"), key);
	unsigned int i = 0;

	if (value == 0)
		return "-";
	while (value >= 999.5 && i < 3) {
		value /= 1000;
		i++;
	}
	snprintf(text, TEXT, "%.*f%s",
		 i == 0 || value >= 99.95 ? 0
		 : value < 9.995	  ? 2
					  : 1,
		 value, units[i]);
	return text;
}

/* The end of a long name says more than its beginning. */
static void name_of(const json_t *object, char name[NAME_WIDTH + 1])
{
	const char *text = json_string_value(json_object_get(object, "name"));
	size_t len = text ? strlen(text) : 0;

	if (len > NAME_WIDTH)
		snprintf(name, NAME_WIDTH + 1, "..%s", text + len - (NAME_WIDTH - 2));
	else
		snprintf(name, NAME_WIDTH + 1, "%s", text ? text : "?");
	for (char *c = name; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
			*c = '?';
	}
}

static int number(const json_t *object, const char *key)
{
	return (int)json_integer_value(json_object_get(object, key));
}

/* ---- tables ---- */

static void threads(struct page *page, const json_t *rates)
{
	const json_t *one;
	size_t i;

	line(page, true, "%-5s%8s%9s%8s%8s%10s%8s%9s%10s", "CPU", "BUSY", "POLLING", "ASLEEP",
	     "ON CPU", "PASSES/s", "FOUND", "MSGS/s", "SLEEPS/s");
	json_array_foreach(json_object_get(rates, "threads"), i, one)
	{
		char t[8][TEXT];

		line(page, false, "%-5d%8s%9s%8s%8s%10s%8s%9s%10s", number(one, "cpu"),
		     percent(one, "busy", t[0]), percent(one, "polling", t[1]),
		     percent(one, "asleep", t[2]), percent(one, "on_cpu", t[7]),
		     rate(one, "passes_s", t[3]), percent(one, "found", t[4]),
		     rate(one, "messages_s", t[5]), rate(one, "sleeps_s", t[6]));
	}
}

static void nvme_line(struct page *page, const char *name, const json_t *one)
{
	bool has_queue = json_object_get(one, "batch"), has_polls = json_object_get(one, "found");
	bool has_irqs = json_object_get(one, "interrupts_s");
	char t[12][TEXT];

	line(page, false, ROW, NAME_WIDTH, name, rate(one, "reads_s", t[0]),
	     rate(one, "writes_s", t[1]), mib(one, "read_bytes_s", t[2]),
	     mib(one, "write_bytes_s", t[3]), latency(one, "p50", t[4]), latency(one, "p99", t[5]),
	     latency(one, "max", t[6]), rate(one, "errors_s", t[7]), rate(one, "others_s", t[8]),
	     has_irqs ? rate(one, "interrupts_s", t[9]) : "",
	     has_irqs ? rate(one, "interrupts_suppressed_s", t[10]) : "",
	     has_queue ? rate(one, "batch", t[11]) : "",
	     has_polls ? percent(one, "found", t[11]) : "");
}

static void nvme_parts(struct page *page, const json_t *controller, enum top_detail detail)
{
	char name[NAME_WIDTH + 1];
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(controller, "namespaces"), i, one)
	{
		if (detail < TOP_NAMESPACES)
			break;
		snprintf(name, sizeof(name), "  ns %d", number(one, "nsid"));
		nvme_line(page, name, one);
	}
	json_array_foreach(json_object_get(controller, "queues"), i, one)
	{
		if (detail < TOP_QUEUES)
			break;
		snprintf(name, sizeof(name), "  queue %d on cpu %d", number(one, "qid"),
			 number(one, "cpu"));
		nvme_line(page, name, one);
	}
}

static void nvmes(struct page *page, const json_t *rates, enum top_detail detail)
{
	const json_t *controllers = json_object_get(rates, "controllers"), *one;
	char name[NAME_WIDTH + 1];
	size_t i;

	if (json_array_size(controllers) == 0)
		return;
	line(page, false, "%s", "");
	line(page, true, ROW, NAME_WIDTH, "NVME", "READ/s", "WRITE/s", "RD MiB/s", "WR MiB/s",
	     "p50", "p99", "MAX", "ERR/s", "OTHER/s", "INTR/s", "SPARED/s", "BATCH", "FOUND");
	json_array_foreach(controllers, i, one)
	{
		name_of(one, name);
		nvme_line(page, name, one);
		nvme_parts(page, one, detail);
	}
}

static void net_line(struct page *page, const char *name, const json_t *one)
{
	bool has_queue = json_object_get(one, "batch");
	char t[11][TEXT];

	line(page, false, ROW, NAME_WIDTH, name, rate(one, "tx_packets_s", t[0]),
	     rate(one, "rx_packets_s", t[1]), mib(one, "tx_bytes_s", t[2]),
	     mib(one, "rx_bytes_s", t[3]), latency(one, "p50", t[4]), latency(one, "p99", t[5]),
	     latency(one, "max", t[6]), sum(one, "tx_drops_s", "rx_drops_s", t[7]), "",
	     rate(one, "interrupts_s", t[8]), rate(one, "interrupts_suppressed_s", t[9]),
	     has_queue ? rate(one, "batch", t[10]) : "",
	     has_queue ? "" : percent(one, "found", t[10]));
}

static void nets(struct page *page, const json_t *rates, enum top_detail detail)
{
	const json_t *list = json_object_get(rates, "nets"), *one, *pair;
	char name[NAME_WIDTH + 1];
	size_t i, k;

	if (json_array_size(list) == 0)
		return;
	line(page, false, "%s", "");
	line(page, true, ROW, NAME_WIDTH, "NET", "SENT/s", "RCVD/s", "TX MiB/s", "RX MiB/s", "p50",
	     "p99", "MAX", "DROP/s", "", "INTR/s", "SPARED/s", "BATCH", "FOUND");
	json_array_foreach(list, i, one)
	{
		name_of(one, name);
		net_line(page, name, one);
		json_array_foreach(json_object_get(one, "queues"), k, pair)
		{
			if (detail < TOP_QUEUES)
				break;
			snprintf(name, sizeof(name), "  pair %d on cpu %d", number(pair, "index"),
				 number(pair, "cpu"));
			net_line(page, name, pair);
		}
	}
}

static void heading(struct page *page, const json_t *rates, const char *socket)
{
	time_t now = time(NULL);
	char clock[32] = "";
	struct tm tm;

	if (localtime_r(&now, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	line(page, false, "bh-top  %s  %s  last %.1f s", socket, clock, real(rates, "seconds"));
}

bool top_text(const json_t *rates, const char *socket, enum top_detail detail,
	      const struct top_screen *screen, char **out, size_t *len)
{
	struct page page = { .screen = screen };

	page.file = open_memstream(out, len);
	if (!page.file)
		return false;
	heading(&page, rates, socket);
	threads(&page, rates);
	nvmes(&page, rates, detail);
	nets(&page, rates, detail);
	if (page.hidden)
		fprintf(page.file, "%u more lines%s", page.hidden,
			screen->is_terminal ? "\033[K" : "\n");
	return fclose(page.file) == 0;
}

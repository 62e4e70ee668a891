/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-top: what a target does, as it does it.
 *
 * Asks for `stats` once per interval and shows what happened in between. On a terminal the picture
 * is drawn in place, keys change it, and a target that goes away is waited for; anywhere else each
 * interval is one block of text, or with --json one line, and a target that goes away is the end.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <bellhop/clock.h>

#include "common.h"
#include "rpc_client.h"
#include "top.h"

#define ANSWER_SECONDS 10

static const char help[] =
	"usage: bh-top [-i SECONDS] [-n COUNT] [-d 0|1|2] [--once] [--json] SOCKET\n"
	"\n"
	"Watches a bh-tgt that runs with --rpc SOCKET: rates, latencies, and how well its threads "
	"poll.\n"
	"\n"
	"  -i SECONDS   look so often: 0.1 to 3600; default: 1\n"
	"  -n COUNT     end after so many intervals\n"
	"  -d DETAIL    0: controllers, 1: their namespaces, too, 2: their queues, too\n"
	"  --once       as -n 1, as text in any case\n"
	"  --json       one object per interval, on a line of its own\n"
	"  --help       this text\n"
	"  --version    the version\n"
	"\n"
	"Keys on a terminal: d more or less detail, + and - a longer or shorter interval, q quit.\n"
	"\n"
	"Exit status: 0; 1 when there is no target, or none any more; 2 on wrong usage.\n";

static const struct option options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ "once", no_argument, NULL, 'o' },
	{ "json", no_argument, NULL, 'j' },
	{ NULL, 0, NULL, 0 },
};

struct top {
	struct app app;
	struct rpc_client client;
	uint64_t interval_ns;
	uint64_t count; /* 0: without end */
	bool is_once, is_json, is_terminal;
	enum top_detail detail;
	json_t *last; /* sample */
	struct termios was;
	bool has_keys;
};

static volatile sig_atomic_t is_over, is_resized, is_stopping;

static void on_signal(int number)
{
	if (number == SIGWINCH)
		is_resized = 1;
	else if (number == SIGTSTP)
		is_stopping = 1;
	else
		is_over = 1;
}

/* ---- the terminal ---- */

static void say(const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n < 0 && errno != EINTR) {
			is_over = 1; /* nobody is there to see it */
			return;
		}
		text += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
}

static void terminal_enter(struct top *top)
{
	static const char enter[] = "\033[?1049h\033[?25l";
	struct termios raw;

	top->has_keys = tcgetattr(STDIN_FILENO, &top->was) == 0;
	if (top->has_keys) {
		raw = top->was;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		raw.c_cc[VMIN] = 0;
		raw.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	say(enter, sizeof(enter) - 1);
}

static void terminal_leave(const struct top *top)
{
	static const char leave[] = "\033[?25h\033[?1049l";

	say(leave, sizeof(leave) - 1);
	if (top->has_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &top->was);
}

static struct top_screen screen_of(const struct top *top)
{
	struct top_screen screen = { .is_terminal = top->is_terminal };
	struct winsize size;

	if (!top->is_terminal || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
		return screen;
	screen.columns = size.ws_col;
	screen.rows = size.ws_row;
	return screen;
}

/* A picture in the place of the last. */
static void draw(const char *text, size_t len)
{
	say("\033[H", 3);
	/* The end of the last line would scroll the first one away. */
	say(text, len && text[len - 1] == '\n' ? len - 1 : len);
	say("\033[J", 3);
}

/* ---- samples ---- */

static bool sample(struct top *top, json_t **out)
{
	json_t *params = json_object();
	bool is_well = (top->client.fd >= 0 || rpc_client_connect(&top->client)) &&
		       rpc_client_call(&top->client, "stats", params, out);

	json_decref(params);
	return is_well;
}

static bool show(struct top *top, const json_t *rates)
{
	struct top_screen screen = screen_of(top);
	char *text = NULL;
	size_t len = 0;

	if (top->is_json) {
		json_dumpf(rates, stdout, JSON_COMPACT);
		putchar('\n');
		return fflush(stdout) == 0;
	}
	if (!top_text(rates, top->client.socket, top->detail, &screen, &text, &len))
		return false;
	if (top->is_terminal)
		draw(text, len);
	else
		say(text, len);
	free(text);
	return true;
}

/* -1: go on; else the exit code. */
static int missing(struct top *top)
{
	char text[700];

	json_decref(top->last);
	top->last = NULL;
	rpc_client_close(&top->client);
	if (!top->is_terminal)
		return app_fail(&top->app, 1, "%s", top->client.why);
	snprintf(text, sizeof(text), "bh-top  %.*s\033[K\ntrying again\033[K\n",
		 (int)sizeof(top->client.why), top->client.why);
	draw(text, strlen(text));
	return -1;
}

/* One look, and what has happened since the last. -1: go on; else the exit code. */
static int look(struct top *top, uint64_t *shown)
{
	json_t *now = NULL, *rates = NULL;
	bool is_well = true;

	if (!sample(top, &now))
		return missing(top);
	if (top->last) {
		rates = top_rates(top->last, now);
		is_well = rates && show(top, rates);
		(*shown)++;
	}
	json_decref(rates);
	json_decref(top->last);
	top->last = now;
	if (!is_well)
		return app_fail(&top->app, 1, "%s: no statistics, or nowhere to show them",
				top->client.socket);
	return top->count && *shown >= top->count ? 0 : -1;
}

/* ---- waiting ---- */

static void take_key(struct top *top, char key)
{
	if (key == 'q')
		is_over = 1;
	else if (key == 'd')
		top->detail = (top->detail + 1) % TOP_DETAILS;
	else if (key == '+' && top->interval_ns < 60000000000u)
		top->interval_ns *= 2;
	else if (key == '-' && top->interval_ns >= 200000000u)
		top->interval_ns /= 2;
	is_resized = 1;
}

static void stop_and_go_on(struct top *top)
{
	is_stopping = 0;
	terminal_leave(top);
	kill(getpid(), SIGSTOP);
	terminal_enter(top);
	is_resized = 1;
}

/* Until `end`, or something has to be shown anew. */
static void wait_until(struct top *top, uint64_t end)
{
	struct pollfd keys = { .fd = top->has_keys ? STDIN_FILENO : -1, .events = POLLIN };
	uint64_t now;
	char key;

	while (!is_over && !is_resized && (now = bh_now_ns()) < end) {
		int n = poll(&keys, 1, (int)((end - now) / 1000000) + 1);

		if (is_stopping)
			stop_and_go_on(top);
		if (n > 0 && read(STDIN_FILENO, &key, 1) == 1)
			take_key(top, key);
		else if (n > 0)
			keys.fd = -1;
	}
}

static int watch(struct top *top)
{
	uint64_t shown = 0, end = bh_now_ns();
	int code = -1;

	while (code < 0 && !is_over) {
		is_resized = 0;
		code = look(top, &shown);
		if (code >= 0)
			break;
		end += top->interval_ns;
		if (end < bh_now_ns())
			end = bh_now_ns() + top->interval_ns;
		wait_until(top, end);
		if (is_resized) /* at once, for less than an interval */
			end = bh_now_ns();
	}
	return code < 0 ? 0 : code;
}

static int run(struct top *top)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP };
	const struct sigaction action = { .sa_handler = on_signal };
	int code;

	/* Elsewhere they do what they always do. */
	for (size_t i = 0; top->is_terminal && i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
	if (top->is_terminal)
		terminal_enter(top);
	code = watch(top);
	if (top->is_terminal)
		terminal_leave(top);
	json_decref(top->last);
	rpc_client_close(&top->client);
	return code;
}

/* ---- options ---- */

static int take_seconds(struct top *top, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end != '\0' || !(seconds >= 0.1 && seconds <= 3600))
		return app_usage(&top->app, "-i %s: expected seconds, 0.1 to 3600", text);
	top->interval_ns = (uint64_t)(seconds * 1e9);
	return -1;
}

/* -1: go on; else the exit code. */
static int take_option(struct top *top, int c, char **argv)
{
	uint64_t number;

	switch (c) {
	case 'i':
		return take_seconds(top, optarg);
	case 'n':
		if (bh_parse_u64(optarg, 1, UINT32_MAX, &top->count) != 0)
			return app_usage(&top->app, "-n %s: expected a number", optarg);
		return -1;
	case 'd':
		if (bh_parse_u64(optarg, 0, TOP_DETAILS - 1, &number) != 0)
			return app_usage(&top->app, "-d %s: expected 0, 1 or 2", optarg);
		top->detail = (enum top_detail)number;
		return -1;
	case 'o':
		top->is_once = true;
		return -1;
	case 'j':
		top->is_json = true;
		return -1;
	case 'v':
		app_verbose(&top->app);
		return -1;
	case 'h':
		fputs(help, stdout);
		return 0;
	case 'V':
		app_version(&top->app);
		return 0;
	default:
		return app_bad_option(&top->app, c, argv);
	}
}

int main(int argc, char **argv)
{
	struct top top = { .interval_ns = 1000000000, .detail = TOP_NAMESPACES };
	const char *term = getenv("TERM");
	int c, code;

	app_init(&top.app, "bh-top");
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":i:n:d:v", options, NULL)) != -1) {
		code = take_option(&top, c, argv);
		if (code >= 0)
			return code;
	}
	if (argc - optind != 1)
		return app_usage(&top.app, "expected one SOCKET");
	if (top.is_once)
		top.count = 1;
	top.is_terminal = !top.is_once && !top.is_json && isatty(STDOUT_FILENO) && term &&
			  strcmp(term, "dumb") != 0;
	rpc_client_init(&top.client, argv[optind], ANSWER_SECONDS);
	return run(&top);
}

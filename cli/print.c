/* SPDX-License-Identifier: MIT
 *
 * print.c - error lines, notes, JSON, the progress line. Everything that came from a file is
 * escaped here, in one place.
 */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

const char *cli_esc(struct str s)
{
	static char ring[8][1100];
	static unsigned next;
	char *b = ring[next++ % 8];

	return escape_text(b, sizeof ring[0], s.p ? s.p : "", s.n);
}

const char *cli_escz(const char *s)
{
	return cli_esc((struct str){ s, strlen(s) });
}

int cli_fail(const struct err *e)
{
	char text[4 * sizeof e->msg + 1];

	fprintf(stderr, "ingot: %s\n", escape_text(text, sizeof text, e->msg, strlen(e->msg)));
	return e->status == ERR_STOPPED ? 128 + stop_signal : status_exit_code(e->status);
}

void cli_notes(const struct cli *c, const struct log *l)
{
	char text[4 * 4096 + 1];

	if (c->quiet || !l->text)
		return;
	for (const char *p = l->text; *p;) {
		size_t n = strcspn(p, "\n");

		fprintf(stderr, "ingot: %s\n", escape_text(text, sizeof text, p, n));
		p += n + (p[n] == '\n');
	}
	if (l->n_dropped)
		fprintf(stderr, "ingot: and %zu lines more\n", l->n_dropped);
}

/* ---- JSON ---------------------------------------------------------------------------------*/

static FILE *json_file, *null_file;

enum status cli_json_open(struct cli *c, struct err *e)
{
	if (!c->json)
		return OK;
	if (strcmp(c->json, "-") == 0) {
		json_file = stdout;
		null_file = fopen("/dev/null", "we");
		return null_file ? OK : err_errno(e, "/dev/null: cannot open");
	}
	json_file = fopen(c->json, "we");
	return json_file ? OK : err_errno(e, "%s: cannot create", c->json);
}

enum status cli_json_write(struct cli *c, struct cJSON *doc, struct err *e)
{
	char *text = c->json && doc ? cJSON_Print(doc) : NULL;
	bool bad = c->json && (!text || fprintf(json_file, "%s\n", text) < 0 || fflush(json_file) != 0);

	cJSON_free(text);
	cJSON_Delete(doc);
	if (json_file && json_file != stdout && fclose(json_file) != 0)
		bad = true;
	json_file = NULL;
	return bad ? err_set(e, ERR_IO, "%s: cannot write the JSON", c->json) : OK;
}

FILE *cli_out(const struct cli *c)
{
	(void)c;
	return null_file ? null_file : stdout;
}

/* ---- progress -------------------------------------------------------------------------------*/

void progress_begin(struct progress *p, struct cli *c, const char *verb, uint64_t total)
{
	*p = (struct progress){ .cli = c, .verb = verb, .total = total, .started = clock_seconds(),
				.active = !c->quiet && !c->no_progress, .terminal = isatty(STDERR_FILENO) };
	p->shown = p->started;
}

static const char *time_text(char *out, size_t cap, double s)
{
	if (!(s >= 0) || s > 1e7)
		snprintf(out, cap, "--:--");
	else if (s >= 3600)
		snprintf(out, cap, "%d:%02d:%02d", (int)s / 3600, (int)s / 60 % 60, (int)s % 60);
	else
		snprintf(out, cap, "%d:%02d", (int)s / 60, (int)s % 60);
	return out;
}

void progress_update(struct progress *p, uint64_t done, const char *what)
{
	double now = clock_seconds(), rate;
	char line[256], eta[24], name[80] = "";
	struct winsize w = { 0 };
	int n, width = 79;

	if (!p->active || now - p->shown < (p->terminal ? 0.1 : 10.0))
		return;
	p->shown = now;
	rate = now > p->started ? (double)done / (now - p->started) : 0;
	if (what)
		escape_text(name, sizeof name, what, strlen(what));
	n = snprintf(line, sizeof line, "%s %5.1f%%  %.2f of %.2f GB  %.2f GB/s  ETA %s  %s", p->verb,
		     p->total ? 100.0 * (double)done / (double)p->total : 100.0, (double)done * 1e-9,
		     (double)p->total * 1e-9, rate * 1e-9,
		     time_text(eta, sizeof eta, rate > 0 ? (double)(p->total - done) / rate : -1.0), name);
	if (!p->terminal) {
		fprintf(stderr, "%s\n", line);
		return;
	}
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1)
		width = w.ws_col - 1;
	fprintf(stderr, "\r%.*s\033[K", n < width ? n : width, line);
	fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (p->active && p->terminal && p->shown > p->started)
		fputs("\r\033[K", stderr);
	p->active = false;
}

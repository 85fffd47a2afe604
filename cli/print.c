/* SPDX-License-Identifier: MIT
 *
 * print.c - error lines, notes, JSON. Everything that came from a file is
 * escaped here, in one place.
 */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

const char *cli_command;

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
	struct err whole = *e;

	if (e->status == ERR_USAGE && cli_command && !strstr(e->msg, "; "))
		err_add(&whole, "; `ingot help %s` lists the options", cli_command);
	err_finish(&whole);
	progress_clear();
	fprintf(stderr, "ingot: %s\n", escape_text(text, sizeof text, whole.msg, strlen(whole.msg)));
	return e->status == ERR_STOPPED ? 128 + stop_signal : status_exit_code(e->status);
}

void cli_notes(const struct cli *c, const struct log *l)
{
	char text[4 * 4096 + 1];

	if (c->quiet || !l->text)
		return;
	progress_clear();
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
	char *text = json_file && doc ? cJSON_Print(doc) : NULL;
	bool bad = json_file && (!text || fprintf(json_file, "%s\n", text) < 0 || fflush(json_file) != 0);

	cJSON_free(text);
	cJSON_Delete(doc);
	if (json_file && json_file != stdout && fclose(json_file) != 0)
		bad = true;
	json_file = NULL;	/* it may be none: not asked for, or not opened, which has been said */
	return bad ? err_set(e, ERR_IO, "%s: cannot write the JSON", c->json) : OK;
}

FILE *cli_out(const struct cli *c)
{
	(void)c;
	progress_clear();
	return null_file ? null_file : stdout;
}

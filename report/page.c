/* SPDX-License-Identifier: MIT
 *
 * page.c - the frame of a page, and the file that it becomes.
 */
#include "report/html.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define FIRST_LINE "<!DOCTYPE html>"

void html_begin(struct html *h, const char *kind)
{
	html_put(h, FIRST_LINE "\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
		 "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
		 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
		 "<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"generator\" content=\"ingot " INGOT_VERSION
		 "\">\n<title>ingot %s</title>\n<style>\n%s</style>\n</head>\n<body>\n<header>\n"
		 "<p class=\"over\">ingot " INGOT_VERSION " · %s</p>\n", kind, html_style, kind);
}

void html_verdict(struct html *h, enum html_mood mood, const char *words, const char *sentence)
{
	static const char *const class[] = { "good", "bad", "neutral" }, *const sign[] = { "✓", "✗", "≠" };

	html_put(h, "<h1 class=\"%s\"><span aria-hidden=\"true\">%s</span> <b id=\"verdict\">%s</b></h1>\n<p class=\"verdict\">",
		 class[mood], sign[mood], words);
	html_textz(h, sentence);
	html_put(h, "</p>\n");
}

void html_end(struct html *h)
{
	html_put(h, "</main>\n<footer><p>Made by ingot " INGOT_VERSION ". This page is one file: it loads nothing and runs "
		 "nothing.</p></footer>\n</body>\n</html>\n");
}

void html_section(struct html *h, const char *id, const char *heading, const char *about)
{
	html_put(h, "<section id=\"%s\">\n<h2>%s</h2>\n", id, heading);
	if (about)
		html_put(h, "<p class=\"about\">%s</p>\n", about);
}

void html_section_end(struct html *h)
{
	html_put(h, "</section>\n");
}

void html_row(struct html *h, const char *name)
{
	html_put(h, "<tr><th scope=\"row\">%s</th><td>", name);
}

void html_row_end(struct html *h)
{
	html_put(h, "</td></tr>\n");
}

void html_table(struct html *h, const char *const *heads)
{
	html_put(h, "<div class=\"wide\" tabindex=\"0\"><table>\n<thead><tr>");
	for (; *heads; heads++)
		html_put(h, "<th%s>%s</th>", **heads == '>' ? " class=\"n\"" : "", *heads + (**heads == '>'));
	html_put(h, "</tr></thead>\n<tbody>\n");
}

void html_table_end(struct html *h)
{
	html_put(h, "</tbody></table></div>\n");
}

/* ---- the file ---- */

static enum status check_replaced(const char *path, struct err *e)
{
	struct file f = FILE_NONE;
	char head[sizeof FIRST_LINE] = "";
	enum status st = file_open(&f, AT_FDCWD, path, false, path, e);

	if (st == OK && f.id.size >= sizeof FIRST_LINE)
		st = file_read(&f, head, sizeof FIRST_LINE - 1, 0, e);
	if (st == OK && f.id.size && strcasecmp(head, FIRST_LINE) != 0)
		st = err_set(e, ERR_USAGE, "%s: exists, and is no HTML page that a report may replace; give another name", path);
	file_close(&f);
	return st;
}

enum status html_reserve(struct output *o, const char *path, struct err *e)
{
	int fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	enum status st;

	*o = OUTPUT_NONE;
	if (fd >= 0) {
		close(fd);
		TRY(check_replaced(path, e));
	}
	st = output_open(o, path, 0, true, LEFTOVER_REPLACE, e);
out:
	return st;
}

enum status html_write(struct html *h, struct output *o, struct err *e)
{
	enum status st = h->err.status;

	if (st != OK) {
		*e = h->err;
		return err_wrap(e, "%s", o->path);
	}
	o->size = h->n;
	TRY(output_write(o, h->text, h->n, 0, e));
	st = output_commit(o, e);
out:
	return st;
}

/* SPDX-License-Identifier: MIT
 *
 * html.h - a page that stands alone: text that is escaped in one place, numbers, tables, the frame.
 *
 * A page loads nothing and runs nothing: no script, no address, one style sheet inside it, and a policy in its
 * head that forbids the rest, should a mistake ever let markup through. It holds no time, no host, no
 * number of threads: the same results make the same bytes.
 * Sections follow the .c files: html, page; plot.h has the pictures. Nothing here knows a model.
 */
#ifndef REPORT_HTML_H
#define REPORT_HTML_H

#include "format/base.h"

/* ---- html.c: text, numbers, tables --------------------------------------------------------------*/

enum { HTML_MAX = 64 << 20 };		/* bytes of a page */
/* Zeroed is an empty page. The first failure stays in err, and nothing is added from there on: callers check once, at
 * html_write. */
struct html { char *text; size_t n, cap; struct err err; };
/* Markup and numbers of the caller's own. What came from a file or a command line never goes through this. */
void html_put(struct html *h, const char *fmt, ...) PRINTF(2, 3);
/* Text from anywhere, for between tags and for quoted attributes: what markup would see is an entity; controls, marks
 * that turn the direction of writing or take no room, and bytes that are no UTF-8 are shown as \u{202E} and \x1B. */
void html_text(struct html *h, struct str s);
void html_textz(struct html *h, const char *s);
/* digits significant ones, trailing zeros kept: "0.00470", "1.23×10⁻⁷"; "0", "∞", "NaN". Returns buf. */
char *html_number_text(char buf[48], double v, int digits);
void html_number(struct html *h, double v, int digits);
void html_count(struct html *h, uint64_t n);	/* 12,345,678 */
/* The same in a <data id=KEY value=V> whose value has all digits. key: the caller's own, unique in the page. */
void html_value(struct html *h, const char *key, double v, int digits);
void html_close(struct html *h);

/* ---- page.c: the frame ---------------------------------------------------------------------------*/

/* What the reader sees first. */
enum html_mood { HTML_GOOD, HTML_BAD, HTML_NEUTRAL };
/* Head and style sheet; kind: "perplexity". Then the verdict: a few words, then a sentence (any text). */
void html_begin(struct html *h, const char *kind);
void html_verdict(struct html *h, enum html_mood mood, const char *words, const char *sentence);
void html_end(struct html *h);
/* A section with a heading of the caller's own; a paragraph below it, unless NULL. */
void html_section(struct html *h, const char *id, const char *heading, const char *about);
void html_section_end(struct html *h);
/* A row of a table of two columns: a name of the caller's own, then what the caller adds before html_row_end. */
void html_row(struct html *h, const char *name);
void html_row_end(struct html *h);
/* A table that scrolls sideways where it must; heads end with NULL, one that begins with '>' stands over numbers. */
void html_table(struct html *h, const char *const *heads);
void html_table_end(struct html *h);
extern const char html_style[];		/* style.c */

/* The name is taken before the work starts, so that a bad one costs nothing. A file of that name is replaced only if it
 * is an HTML page: a slip of the hand costs no model. The output is to be abandoned in every case. */
enum status html_reserve(struct output *o, const char *path, struct err *e) MUST_USE;
/* The page whole, or not there. */
enum status html_write(struct html *h, struct output *o, struct err *e) MUST_USE;

#endif

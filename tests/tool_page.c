/* SPDX-License-Identifier: MIT
 *
 * tool_page.c - is a report's page what it claims to be? For the command-line tests:
 *
 *	tool_page FILE		checks: UTF-8 without characters that are unseen; tags closed in order; only elements and
 *				attributes that draw and say something, none that loads or runs; ids once
 *	tool_page FILE KEY	prints the value of <data id=KEY>
 *
 * Stricter than HTML: every attribute is quoted, every element but three is closed, > is escaped.
 */
#include "format/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const elements[] = {
	"html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "h1", "h2", "h3", "p", "span", "b", "dl",
	"div", "dt", "dd", "small", "table", "thead", "tbody", "tr", "th", "td", "data", "details", "summary", "figure", "figcaption",
	"svg", "path", "text", "rect", "circle", "mark", "bdi", "code", "br", NULL,
};
static const char *const attributes[] = {
	"lang", "charset", "http-equiv", "content", "name", "class", "id", "value", "aria-hidden", "aria-label", "role", "scope", "colspan",
	"tabindex", "open", "viewBox", "d", "x", "y", "cx", "cy", "r", "width", "height", "transform", "preserveAspectRatio", NULL,
};
static const char *const policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">";

enum { DEEPEST = 64, MOST_IDS = 20000 };
static char *page;
static struct str stack[DEEPEST], ids[MOST_IDS];
static size_t n_open, n_ids;

static void fail(const char *what, const char *at)
{
	fprintf(stderr, "byte %zu: %s: %.80s\n", (size_t)(at - page), what, at);
	exit(1);
}

static bool listed(const char *const *list, struct str s)
{
	while (*list && !str_is(s, *list))
		list++;
	return *list != NULL;
}

static struct str word(const char **p, const char *chars)
{
	struct str s = { *p, strspn(*p, chars) };

	*p += s.n;
	return s;
}

/* After &. */
static const char *entity(const char *p)
{
	static const char *const known[] = { "amp;", "lt;", "gt;", "quot;", "#39;" };

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strncmp(p, known[i], strlen(known[i])) == 0)
			return p + strlen(known[i]);
	fail("an entity", p);
	return p;
}

static void keep_id(struct str id)
{
	for (size_t i = 0; i < n_ids; i++)
		if (str_eq(ids[i], id))
			fail("an id that is there twice", id.p);
	if (n_ids == MOST_IDS)
		fail("too many ids", id.p);
	ids[n_ids++] = id;
}

/* name="value" or a bare name; p at the name. */
static const char *attribute(const char *p)
{
	struct str name = word(&p, "abcdefghijklmnopqrstuvwxyzBAR-"), value;

	if (!listed(attributes, name))
		fail("an attribute that is not used", name.p);
	if (*p != '=')
		return str_is(name, "open") ? p : (fail("no value", name.p), p);
	if (p[1] != '"')
		fail("a value without quotes", p);
	value.p = p += 2;
	while (*p && *p != '"' && *p != '<' && *p != '>')
		p = *p == '&' ? entity(p + 1) : p + 1;
	if (*p != '"')
		fail("a value that does not end", value.p);
	value.n = (size_t)(p - value.p);
	if (str_is(name, "id"))
		keep_id(value);
	return p + 1;
}

static const char *style(const char *p)
{
	const char *end = strstr(p, "</style>");
	static const char *const not[] = { "url(", "@import", "http", "//", "expression", "<" };

	if (!end)
		fail("a style that does not end", p);
	for (size_t i = 0; i < sizeof not / sizeof *not; i++) {
		const char *found = strstr(p, not[i]);

		if (found && found < end)
			fail("a style that loads", found);
	}
	return end;
}

static const char *tag(const char *p)
{
	bool ends = p[1] == '/';
	const char *start = p;
	struct str name;

	p += 1 + ends;
	name = word(&p, "abcdefghijklmnopqrstuvwxyz123");
	if (!listed(elements, name))
		fail("an element that is not used", start);
	if (ends) {
		if (!n_open || !str_eq(stack[--n_open], name) || *p != '>')
			fail("an end where none belongs", start);
		return p + 1;
	}
	if (str_is(name, "meta") && strstr(start, "http-equiv") < strchr(start, '>') && strstr(start, "http-equiv") &&
	    strncmp(start, policy, strlen(policy)) != 0)
		fail("another policy", start);
	while (*p == ' ')
		p = attribute(p + 1);
	if (p[0] == '/' && p[1] == '>')
		return p + 2;
	if (*p != '>')
		fail("a tag that does not end", start);
	p++;
	if (str_is(name, "meta") || str_is(name, "br"))
		return p;
	if (n_open == DEEPEST)
		fail("too deep", start);
	stack[n_open++] = name;
	return str_is(name, "style") ? style(p) : p;
}

static void check(const char *p, size_t n)
{
	static const char first[] = "<!DOCTYPE html>\n";
	const char *end = p + n;

	for (size_t i = 0, len; i < n; i += len) {
		bool bad = false;
		uint32_t c;

		len = utf8_next(p + i, n - i, &c, &bad);
		if (bad || (c < 0x20 && c != '\n') || (c >= 0x7F && c < 0xA0) || (c >= 0x200B && c <= 0x200F) ||
		    (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF)
			fail("a byte that does not belong into a page", p + i);
	}
	if (strncmp(p, first, sizeof first - 1) != 0)
		fail("not the first line", p);
	for (p += sizeof first - 1; p < end;) {
		if (*p == '<')
			p = tag(p);
		else if (*p == '&')
			p = entity(p + 1);
		else if (*p == '>')
			fail("a > that is not escaped", p);
		else
			p++;
	}
	if (n_open)
		fail("an element that does not end", stack[n_open - 1].p);
	if (!strstr(page, policy))
		fail("no policy", page);
}

int main(int argc, char **argv)
{
	FILE *f = argc > 1 ? fopen(argv[1], "rb") : NULL;
	size_t room = 64 << 20, n;
	char *found, key[200];

	page = calloc(room + 1, 1);
	if (!f || !page)
		return fprintf(stderr, "usage: tool_page FILE [KEY]\n"), 2;
	n = fread(page, 1, room, f);
	fclose(f);
	if (argc > 2) {
		snprintf(key, sizeof key, "<data id=\"%s\" value=\"", argv[2]);
		found = strstr(page, key);
		if (!found)
			return fprintf(stderr, "no %s\n", argv[2]), 1;
		found += strlen(key);
		printf("%.*s\n", (int)strcspn(found, "\""), found);
	} else {
		check(page, n);
	}
	free(page);
	return 0;
}

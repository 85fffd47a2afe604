/* SPDX-License-Identifier: MIT
 *
 * html.c - text that grows, the one place where it is escaped, and numbers as people read them.
 */
#include "report/html.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/utf8.h"

/* Room for n bytes and a NUL, or the error that stays. */
static char *room(struct html *h, size_t n)
{
	void *p = h->text;

	if (h->err.status != OK)
		return NULL;
	if (n > HTML_MAX - h->n) {
		err_set(&h->err, ERR_UNSUPPORTED, "a page of more than %d bytes; compare fewer tensors, or take --json", HTML_MAX);
		return NULL;
	}
	if (mem_grow(&p, &h->cap, h->n + n + 1, 1, "a page", &h->err) != OK)
		return NULL;
	h->text = p;
	return h->text + h->n;
}

static void add(struct html *h, const char *s, size_t n)
{
	char *to = room(h, n);

	if (!to)
		return;
	memcpy(to, s, n);
	to[n] = 0;
	h->n += n;
}

void html_put(struct html *h, const char *fmt, ...)
{
	va_list ap, again;
	char *to;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	to = n < 0 ? NULL : room(h, (size_t)n);
	if (to) {
		vsnprintf(to, (size_t)n + 1, fmt, again);
		h->n += (size_t)n;
	}
	va_end(again);
	va_end(ap);
}

/* ---- escaping ---- */

static const char *entity(uint32_t c)
{
	switch (c) {
	case '&': return "&amp;";
	case '<': return "&lt;";
	case '>': return "&gt;";
	case '"': return "&quot;";
	case '\'': return "&#39;";
	default: return NULL;
	}
}

/* Would it be unseen, or change how what is around it is shown? */
static bool is_unseen(uint32_t c)
{
	static const struct { uint32_t from, to; } ranges[] = {
		{ 0, 0x1F }, { 0x7F, 0x9F }, { 0xAD, 0xAD }, { 0x34F, 0x34F }, { 0x61C, 0x61C }, { 0x115F, 0x1160 },
		{ 0x17B4, 0x17B5 }, { 0x180B, 0x180F }, { 0x200B, 0x200F }, { 0x2028, 0x202E }, { 0x2060, 0x206F },
		{ 0x3164, 0x3164 }, { 0xFDD0, 0xFDEF }, { 0xFEFF, 0xFEFF }, { 0xFFA0, 0xFFA0 }, { 0xFFF0, 0xFFFB },
		{ 0x1BCA0, 0x1BCA3 }, { 0x1D173, 0x1D17A }, { 0xE0000, 0xE0FFF },
	};

	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
		if (c >= ranges[i].from && c <= ranges[i].to)
			return true;
	return (c & 0xFFFE) == 0xFFFE;
}

void html_text(struct html *h, struct str s)
{
	for (size_t i = 0, len; i < s.n; i += len) {
		bool bad = false;
		uint32_t c;

		len = utf8_next(s.p + i, s.n - i, &c, &bad);
		if (bad) {
			for (size_t k = 0; k < len; k++)
				html_put(h, "\\x%02X", (unsigned char)s.p[i + k]);
		} else if (entity(c)) {
			html_put(h, "%s", entity(c));
		} else if (is_unseen(c)) {
			html_put(h, c < 0x80 ? "\\x%02X" : "\\u{%X}", c);
		} else {
			add(h, s.p + i, len);
		}
	}
}

void html_textz(struct html *h, const char *s)
{
	html_text(h, (struct str){ s, strlen(s) });
}

/* ---- numbers ---- */

/* v as "1.23×10⁻⁷": the digits of %e, the power in raised figures. */
static void power_text(char buf[48], double v, int digits)
{
	static const char *const raised[] = { "⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹" };
	char e[48], *at;
	int power, n;

	snprintf(e, sizeof e, "%.*e", digits - 1, fabs(v));
	at = strchr(e, 'e');
	power = (int)strtod(at + 1, NULL);
	*at = 0;
	n = snprintf(buf, 48, "%s%s×10%s", v < 0 ? "−" : "", e, power < 0 ? "⁻" : "");
	snprintf(e, sizeof e, "%d", power < 0 ? -power : power);
	for (at = e; *at; at++)
		n += snprintf(buf + n, 48 - (size_t)n, "%s", raised[*at - '0']);
}

char *html_number_text(char buf[48], double v, int digits)
{
	int whole;
	char e[48];

	if (isnan(v))
		snprintf(buf, 48, "NaN");
	else if (isinf(v))
		snprintf(buf, 48, v < 0 ? "−∞" : "∞");
	else if (v == 0)
		snprintf(buf, 48, "0");
	else {
		digits = digits < 1 ? 1 : digits > 17 ? 17 : digits;
		snprintf(e, sizeof e, "%.*e", digits - 1, fabs(v));	/* the power after rounding decides */
		whole = (int)strtod(strchr(e, 'e') + 1, NULL) + 1;
		if (whole < -3 || whole > 15)
			power_text(buf, v, digits);
		else
			snprintf(buf, 48, "%s%.*f", v < 0 ? "−" : "", digits > whole ? digits - whole : 0, fabs(v));
	}
	return buf;
}

void html_number(struct html *h, double v, int digits)
{
	char buf[48];

	html_put(h, "%s", html_number_text(buf, v, digits));
}

void html_count(struct html *h, uint64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);

	for (int i = 0; i < len; i++)
		html_put(h, i && (len - i) % 3 == 0 ? ",%c" : "%c", digits[i]);
}

void html_value(struct html *h, const char *key, double v, int digits)
{
	html_put(h, "<data id=\"%s\" value=\"%.17g\">", key, v);
	html_number(h, v, digits);
	html_put(h, "</data>");
}

void html_close(struct html *h)
{
	free(h->text);
	*h = (struct html){ 0 };
}

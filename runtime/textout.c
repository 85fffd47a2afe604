/* SPDX-License-Identifier: MIT
 *
 * textout.c - bytes of tokens to whole characters. A token may end inside a character; its bytes wait
 * until the rest is there, or until it is clear that none comes.
 */
#include "runtime/run.h"

#include "format/utf8.h"

#include <string.h>

/* The length that a character starting with this byte has, 0 where none does. */
static size_t length_of(unsigned char c)
{
	if (c < 0x80)
		return 1;
	if (c >= 0xC2 && c <= 0xDF)
		return 2;
	if (c >= 0xE0 && c <= 0xEF)
		return 3;
	return c >= 0xF0 && c <= 0xF4 ? 4 : 0;
}

/* Is p[0..n) the beginning of a character, and not all of it? Whether it can be completed is
 * asked by completing it, with the least and the greatest rest there is. */
static bool is_start(const char *p, size_t n)
{
	size_t len = length_of((unsigned char)p[0]);
	char low[UTF8_MAX], high[UTF8_MAX];

	if (n >= len)
		return false;
	for (size_t i = 0; i < len; i++) {
		low[i] = i < n ? p[i] : (char)0x80;
		high[i] = i < n ? p[i] : (char)0xBF;
	}
	return utf8_valid(low, len) || utf8_valid(high, len);
}

size_t textout_put(struct textout *t, const char *bytes, size_t n, char *out)
{
	size_t total = t->n + n, at = 0;

	memcpy(out, t->held, t->n);
	memcpy(out + t->n, bytes, n);
	t->n = 0;
	while (at < total) {
		uint32_t c;
		bool bad = false;

		if (total - at < UTF8_MAX && is_start(out + at, total - at)) {
			t->n = total - at;
			memcpy(t->held, out + at, t->n);
			break;
		}
		at += utf8_next(out + at, total - at, &c, &bad);
	}
	return at;
}

size_t textout_end(struct textout *t, char *out)
{
	size_t n = t->n;

	memcpy(out, t->held, n);
	t->n = 0;
	return n;
}

/* C0 but newline and tab, DEL, C1. */
static bool is_control(uint32_t c)
{
	return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0);
}

size_t textout_escape(const char *text, size_t n, char *out)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t o = 0, len;

	for (size_t i = 0; i < n; i += len) {
		uint32_t c;
		bool bad = false;

		len = utf8_next(text + i, n - i, &c, &bad);
		if (!bad && !is_control(c)) {
			memcpy(out + o, text + i, len);
			o += len;
			continue;
		}
		for (size_t k = 0; k < len; k++) {
			unsigned char b = (unsigned char)text[i + k];

			memcpy(out + o, "\\x", 2);
			out[o + 2] = hex[b >> 4];
			out[o + 3] = hex[b & 15];
			o += 4;
		}
	}
	return o;
}

char *textout_json(const char *text, size_t n, struct err *e)
{
	uint64_t size;
	size_t o = 0;
	char *out = NULL;

	if (!u64_mul(n, 3, &size) || !u64_add(size, 1, &size) || size > SIZE_MAX)
		err_set(e, ERR_NOMEM, "a text of %zu bytes", n);
	else
		out = mem_new((size_t)size, 1, "the text", e);
	for (size_t i = 0; out && i < n;) {
		uint32_t c;
		bool bad = false;

		i += utf8_next(text + i, n - i, &c, &bad);
		o += utf8_put(out + o, c ? c : UTF8_INVALID);
	}
	return out;
}

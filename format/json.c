/* SPDX-License-Identifier: MIT
 *
 * json.c - a strict pull reader over JSON text in memory.
 *
 * Invariants: text before pos is checked and unescaped, text from pos on is as it came; a string
 * handed out is valid UTF-8 without NUL and ends in a NUL that lies at or before its closing
 * quote, so neighbours never touch; time is linear in the text whatever its content; memory is
 * at most the text's size again. Spec: RFC 8259 without leniency, RFC 3629 for UTF-8.
 *
 * Read from the bottom: the public calls, then strings and numbers. json_keys.c remembers the
 * keys of the objects that are open.
 */
#include "format/json_keys.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- errors ----------------------------------------------------------------------------- */

__attribute__((format(printf, 5, 0)))
static void vfail(struct json *j, enum status s, size_t at, const char *kind, const char *fmt,
		  va_list ap)
{
	char why[1024];

	if (j->err.status != OK)
		return;
	vsnprintf(why, sizeof why, fmt, ap);
	err_set(&j->err, s, "%.700s: %s (byte %zu): %s", j->path, kind, at, why);
}

/* The text breaks RFC 8259 at byte `at`. */
PRINTF(3, 4) static bool bad_syntax(struct json *j, size_t at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfail(j, ERR_FORMAT, at, "not valid JSON", fmt, ap);
	va_end(ap);
	return false;
}

/* The text is JSON, but its caller has no use for such a value. */
PRINTF(3, 4) static bool bad_value(struct json *j, size_t at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfail(j, ERR_FORMAT, at, "not the JSON that belongs here", fmt, ap);
	va_end(ap);
	return false;
}

PRINTF(3, 4) static bool over_limit(struct json *j, size_t at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfail(j, ERR_UNSUPPORTED, at, "JSON over a limit", fmt, ap);
	va_end(ap);
	return false;
}

void json_fail(struct json *j, enum status s, const char *fmt, ...)
{
	char why[1200];
	va_list ap;

	if (j->err.status != OK)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	err_set(&j->err, s, "%.700s (byte %zu): %s", j->path, j->pos, why);
}

/* ---- text: white space, strings, numbers -------------------------------------------------- */

/* The next byte that is no white space, -1 at the end. */
static int next_byte(struct json *j)
{
	for (; j->pos < j->len; j->pos++) {
		char c = j->text[j->pos];
		if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
			return (unsigned char)c;
	}
	return -1;
}

/* Bytes of the UTF-8 character at p, 0 if it is malformed, overlong, a surrogate, or cut. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
	unsigned char low = 0x80, high = 0xBF;	/* what the second byte may be */
	size_t len;

	if (p[0] >= 0xC2 && p[0] <= 0xDF) {
		len = 2;
	} else if (p[0] >= 0xE0 && p[0] <= 0xEF) {
		len = 3;
		low = p[0] == 0xE0 ? 0xA0 : 0x80;
		high = p[0] == 0xED ? 0x9F : 0xBF;
	} else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
		len = 4;
		low = p[0] == 0xF0 ? 0x90 : 0x80;
		high = p[0] == 0xF4 ? 0x8F : 0xBF;
	} else {
		return 0;
	}
	if (n < len || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xC0) != 0x80)
			return 0;
	return len;
}

static size_t utf8_put(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	for (size_t i = len - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3F));
	out[0] = (char)((0xF00u >> len & 0xFF) | c);
	return len;
}

/* Four hex digits at `at`. */
static bool read_hex4(struct json *j, size_t at, uint32_t *v)
{
	*v = 0;
	for (size_t i = at; i < at + 4; i++) {
		int c = i < j->len ? (unsigned char)j->text[i] : -1;
		int lower = c | 0x20;
		if (c >= '0' && c <= '9')
			*v = *v << 4 | (uint32_t)(c - '0');
		else if (lower >= 'a' && lower <= 'f')
			*v = *v << 4 | (uint32_t)(lower - 'a' + 10);
		else
			return bad_syntax(j, at, "\\u needs four hex digits");
	}
	return true;
}

/* The escape whose backslash is at *at; writes its character to text[*out]. */
static bool read_escape(struct json *j, size_t *at, size_t *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	char c = *at + 1 < j->len ? j->text[*at + 1] : 0;
	const char *simple = c ? strchr(from, c) : NULL;
	uint32_t high, low;

	if (simple) {
		j->text[(*out)++] = to[simple - from];
		*at += 2;
		return true;
	}
	if (c != 'u')
		return bad_syntax(j, *at, "not an escape that JSON knows");
	if (!read_hex4(j, *at + 2, &high))
		return false;
	if (high == 0)
		return bad_syntax(j, *at, "\\u0000 in a string");
	if (high >= 0xDC00 && high <= 0xDFFF)
		return bad_syntax(j, *at, "second half of a surrogate pair without the first");
	if (high >= 0xD800 && high <= 0xDBFF) {
		if (j->len - *at < 12 || j->text[*at + 6] != '\\' || j->text[*at + 7] != 'u')
			return bad_syntax(j, *at, "half a surrogate pair");
		if (!read_hex4(j, *at + 8, &low))
			return false;
		if (low < 0xDC00 || low > 0xDFFF)
			return bad_syntax(j, *at, "half a surrogate pair");
		high = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
		*at += 6;
	}
	*at += 6;
	*out += utf8_put(j->text + *out, high);
	return true;
}

/* The string whose opening quote is at pos; unescaped text never outgrows what it came from. */
static bool read_string(struct json *j, struct str *s)
{
	char *t = j->text;
	size_t start = j->pos + 1, at = start, out = start;

	for (;;) {
		size_t from = at;
		unsigned char c = 0;
		for (; at < j->len; at++) {
			c = (unsigned char)t[at];
			if (c < 0x20 || c == '"' || c == '\\')
				break;
			if (c >= 0x80) {
				size_t len = utf8_length((unsigned char *)t + at, j->len - at);
				if (len == 0)
					return bad_syntax(j, at, "not valid UTF-8");
				at += len - 1;
			}
		}
		if (out != from)
			memmove(t + out, t + from, at - from);
		out += at - from;
		if (at == j->len)
			return bad_syntax(j, at, "the text ends inside a string");
		if (c == '"')
			break;
		if (c != '\\')
			return bad_syntax(j, at, "control byte 0x%02x in a string", c);
		if (!read_escape(j, &at, &out))
			return false;
	}
	t[out] = 0;
	*s = (struct str){ t + start, out - start };
	j->pos = at + 1;
	return true;
}

/* One number as the grammar divides it; digits as offsets into the text. */
struct number { bool negative; size_t whole, point, exp, end; };

static size_t skip_digits(const struct json *j, size_t at)
{
	while (at < j->len && j->text[at] >= '0' && j->text[at] <= '9')
		at++;
	return at;
}

/* Checks the number at pos and leaves pos there. point and exp are where '.' and 'e' stand, or
 * the end of what comes before. */
static bool scan_number(struct json *j, struct number *n)
{
	size_t at = j->pos;

	n->negative = j->text[at] == '-';
	at += n->negative;
	n->whole = at;
	at = skip_digits(j, at);
	if (at == n->whole)
		return bad_syntax(j, at, "a digit is expected");
	if (at - n->whole > 1 && j->text[n->whole] == '0')
		return bad_syntax(j, n->whole, "a number with a leading zero");
	n->point = n->exp = n->end = at;
	if (at < j->len && j->text[at] == '.') {
		n->exp = n->end = skip_digits(j, at + 1);
		if (n->end == at + 1)
			return bad_syntax(j, n->end, "a digit is expected after the point");
	}
	at = n->exp;
	if (at < j->len && (j->text[at] == 'e' || j->text[at] == 'E')) {
		at++;
		if (at < j->len && (j->text[at] == '+' || j->text[at] == '-'))
			at++;
		n->end = skip_digits(j, at);
		if (n->end == at)
			return bad_syntax(j, at, "a digit is expected in the exponent");
	}
	return true;
}

static bool whole_value(struct json *j, const struct number *n, uint64_t *v)
{
	if (n->end != n->point)
		return bad_value(j, j->pos, "a whole number is expected, without fraction or "
				 "exponent");
	*v = 0;
	for (size_t i = n->whole; i < n->end; i++)
		if (!u64_mul(*v, 10, v) || !u64_add(*v, (uint64_t)(j->text[i] - '0'), v))
			return bad_value(j, j->pos, "a number beyond 64 bits");
	return true;
}

static int64_t exponent_value(const struct json *j, const struct number *n)
{
	int64_t e = 0;
	size_t at = n->exp + 1;

	if (n->exp == n->end)
		return 0;
	if (j->text[at] == '+' || j->text[at] == '-')
		at++;
	for (; at < n->end; at++)
		if (e < INT64_C(1) << 40)	/* far beyond any text's digits */
			e = e * 10 + (j->text[at] - '0');
	return j->text[n->exp + 1] == '-' ? -e : e;
}

/* strtod gets digits and an exponent but never a decimal point, whose form is the locale's. 800
 * digits decide any double; whether anything but zeros follows is kept as one more digit. */
static double number_value(const struct json *j, const struct number *n)
{
	enum { DIGITS = 800 };
	char buf[DIGITS + 32];
	size_t used = 0;
	int64_t exp10 = exponent_value(j, n);
	bool more = false;

	for (size_t i = n->whole; i < n->exp; i++) {
		char c = j->text[i];
		if (c == '.')
			continue;
		if (i > n->point)
			exp10--;
		if (used == 0 && c == '0')
			continue;
		if (used < DIGITS) {
			buf[used++] = c;
		} else {
			exp10++;
			more = more || c != '0';
		}
	}
	if (used == 0)
		return n->negative ? -0.0 : 0.0;
	if (more) {
		buf[used++] = '1';
		exp10--;
	}
	if (exp10 > 9999)
		exp10 = 9999;
	if (exp10 < -9999)
		exp10 = -9999;
	snprintf(buf + used, sizeof buf - used, "e%d", (int)exp10);
	return n->negative ? -strtod(buf, NULL) : strtod(buf, NULL);
}

/* ---- structure ---------------------------------------------------------------------------- */

static const char *const type_name[] = {
	[JSON_BAD] = "nothing",	[JSON_NULL] = "null",	   [JSON_BOOL] = "true or false",
	[JSON_NUMBER] = "a number", [JSON_STRING] = "a string", [JSON_ARRAY] = "an array",
	[JSON_OBJECT] = "an object",
};

void json_open(struct json *j, char *text, size_t len, unsigned max_depth, const char *path)
{
	*j = (struct json){ .text = text, .len = len, .path = path, .have_value = true };
	j->max_depth = max_depth < JSON_MAX_DEPTH ? max_depth : JSON_MAX_DEPTH;
	if (len >= KEYS_TEXT_LIMIT)
		over_limit(j, 0, "%zu bytes of text, fewer than %u are read", len, KEYS_TEXT_LIMIT);
	else if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
		bad_syntax(j, 0, "the text begins with a byte order mark");
}

enum json_type json_peek(struct json *j)
{
	int c;

	if (j->err.status != OK)
		return JSON_BAD;
	if (!j->have_value) {
		bad_value(j, j->pos, "no value is due here (a fault of this program)");
		return JSON_BAD;
	}
	c = next_byte(j);
	switch (c) {
	case '{': return JSON_OBJECT;
	case '[': return JSON_ARRAY;
	case '"': return JSON_STRING;
	case 't':
	case 'f': return JSON_BOOL;
	case 'n': return JSON_NULL;
	case '-': return JSON_NUMBER;
	case -1: bad_syntax(j, j->pos, "the text ends where a value is expected"); return JSON_BAD;
	default: break;
	}
	if (c >= '0' && c <= '9')
		return JSON_NUMBER;
	bad_syntax(j, j->pos, "a value is expected, not byte 0x%02x", (unsigned)c);
	return JSON_BAD;
}

/* Is the value that comes next of that type? Stands at its first byte then. */
static bool expect(struct json *j, enum json_type want)
{
	enum json_type t = json_peek(j);

	if (t == JSON_BAD)
		return false;
	if (t != want)
		return bad_value(j, j->pos, "%s is expected, not %s", type_name[want],
				 type_name[t]);
	return true;
}

static bool enter(struct json *j, enum json_type type)
{
	if (!expect(j, type))
		return false;
	if (j->depth == j->max_depth)
		return over_limit(j, j->pos, "nested deeper than %u", j->max_depth);
	if (type == JSON_OBJECT && !j->keys && !(j->keys = keys_open(j->text, j->len, &j->err)))
		return false;
	j->frame[j->depth++] = (struct json_frame){
		.keys_from = type == JSON_OBJECT ? keys_begin(j->keys) : 0,
		.object = type == JSON_OBJECT,
		.first = true,
	};
	j->pos++;
	j->have_value = false;
	return true;
}

bool json_object(struct json *j)
{
	return enter(j, JSON_OBJECT);
}

bool json_array(struct json *j)
{
	return enter(j, JSON_ARRAY);
}

/* Steps to the next member: past a comma, or out at the closing bracket. */
static bool next_member(struct json *j, bool object)
{
	int c, close = object ? '}' : ']';
	struct json_frame *f;

	if (j->err.status != OK)
		return false;
	if (j->depth == 0 || j->frame[j->depth - 1].object != object || j->have_value)
		return bad_value(j, j->pos, "calls out of order (a fault of this program)");
	f = &j->frame[j->depth - 1];
	c = next_byte(j);
	if (c == close) {
		if (object)
			keys_end(j->keys, f->keys_from);
		j->pos++;
		j->depth--;
		return false;
	}
	if (c == -1)
		return bad_syntax(j, j->pos, "the text ends inside an %s",
				  object ? "object" : "array");
	if (!f->first) {
		if (c != ',')
			return bad_syntax(j, j->pos, "a comma or '%c' is expected, not byte 0x%02x",
					  close, (unsigned)c);
		j->pos++;
		if (next_byte(j) == close)
			return bad_syntax(j, j->pos, "a comma before '%c'", close);
	}
	f->first = false;
	return true;
}

bool json_key(struct json *j, struct str *key)
{
	bool fresh;
	size_t at;

	*key = (struct str){ 0 };
	if (!next_member(j, true))
		return false;
	if (next_byte(j) != '"')
		return bad_syntax(j, j->pos, "a key in double quotes is expected");
	at = j->pos;
	if (!read_string(j, key))
		return false;
	if (keys_add(j->keys, j->frame[j->depth - 1].keys_from, *key, &fresh, &j->err) != OK) {
		err_wrap(&j->err, "%.700s", j->path);
		return false;
	}
	if (!fresh)
		return bad_syntax(j, at, "key \"%.200s\" appears twice in one object", key->p);
	if (next_byte(j) != ':')
		return bad_syntax(j, j->pos, "a colon is expected after a key");
	j->pos++;
	j->have_value = true;
	return true;
}

bool json_item(struct json *j)
{
	if (!next_member(j, false))
		return false;
	j->have_value = true;
	return true;
}

bool json_string(struct json *j, struct str *s)
{
	if (!expect(j, JSON_STRING) || !read_string(j, s))
		return false;
	j->have_value = false;
	return true;
}

/* The number that comes next, checked; the caller sets pos to its end. */
static bool number(struct json *j, struct number *n)
{
	return expect(j, JSON_NUMBER) && scan_number(j, n);
}

static void number_done(struct json *j, const struct number *n)
{
	j->pos = n->end;
	j->have_value = false;
}

bool json_u64(struct json *j, uint64_t *v)
{
	struct number n = { 0 };

	*v = 0;
	if (!number(j, &n))
		return false;
	if (n.negative)
		return bad_value(j, j->pos, "a number without sign is expected");
	if (!whole_value(j, &n, v))
		return false;
	number_done(j, &n);
	return true;
}

bool json_i64(struct json *j, int64_t *v)
{
	struct number n = { 0 };
	uint64_t u = 0;

	*v = 0;
	if (!number(j, &n) || !whole_value(j, &n, &u))
		return false;
	if (n.negative && u == 0)
		return bad_value(j, j->pos, "-0 is no whole number");
	if (u > (uint64_t)INT64_MAX + n.negative)
		return bad_value(j, j->pos, "a number beyond 64 bits");
	*v = !n.negative ? (int64_t)u : -(int64_t)(u - 1) - 1;
	number_done(j, &n);
	return true;
}

bool json_double(struct json *j, double *v)
{
	struct number n = { 0 };

	*v = 0;
	if (!number(j, &n))
		return false;
	*v = number_value(j, &n);
	if (!isfinite(*v)) {
		*v = 0;
		return bad_value(j, j->pos, "a number beyond the range of a double");
	}
	number_done(j, &n);
	return true;
}

static bool literal(struct json *j, const char *word)
{
	size_t n = strlen(word);

	if (j->len - j->pos < n || memcmp(j->text + j->pos, word, n) != 0)
		return bad_syntax(j, j->pos, "a value is expected, not this word");
	j->pos += n;
	j->have_value = false;
	return true;
}

bool json_bool(struct json *j, bool *v)
{
	*v = false;
	if (!expect(j, JSON_BOOL))
		return false;
	*v = j->text[j->pos] == 't';
	if (literal(j, *v ? "true" : "false"))
		return true;
	*v = false;
	return false;
}

bool json_null(struct json *j)
{
	return expect(j, JSON_NULL) && literal(j, "null");
}

/* A number of few digits and no exponent is finite, so its value is not worked out. */
static void skip_number(struct json *j)
{
	struct number n = { 0 };
	double d;

	if (!number(j, &n))
		return;
	if (n.exp == n.end && n.point - n.whole < 300)
		number_done(j, &n);
	else
		(void)json_double(j, &d);
}

/* Reads a value that is not nested, or enters it. */
static void skip_step(struct json *j)
{
	struct str s;
	bool b;

	switch (json_peek(j)) {
	case JSON_BAD: break;
	case JSON_NULL: (void)json_null(j); break;
	case JSON_BOOL: (void)json_bool(j, &b); break;
	case JSON_NUMBER: skip_number(j); break;
	case JSON_STRING: (void)json_string(j, &s); break;
	case JSON_ARRAY: (void)json_array(j); break;
	case JSON_OBJECT: (void)json_object(j); break;
	}
}

void json_skip(struct json *j)
{
	unsigned depth = j->depth;
	struct str key;

	do {
		skip_step(j);
		while (j->err.status == OK && j->depth > depth)
			if (j->frame[j->depth - 1].object ? json_key(j, &key) : json_item(j))
				break;
	} while (j->err.status == OK && j->depth > depth);
}

enum status json_close(struct json *j, struct err *e)
{
	int c;

	if (j->err.status == OK && (j->depth > 0 || j->have_value)) {
		if (next_byte(j) == -1)
			bad_syntax(j, j->pos, "the text ends where a value is expected");
		else
			bad_value(j, j->pos, "not read to its end (a fault of this program)");
	} else if (j->err.status == OK && (c = next_byte(j)) != -1) {
		bad_syntax(j, j->pos, "byte 0x%02x after the end of the value", (unsigned)c);
	}
	keys_close(j->keys);
	j->keys = NULL;
	if (j->err.status != OK)
		*e = j->err;
	return j->err.status;
}

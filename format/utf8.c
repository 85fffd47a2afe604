/* SPDX-License-Identifier: MIT
 *
 * utf8.c - one step through UTF-8 that may be invalid.
 *
 * The lead byte fixes the length and the range of the second byte (Unicode 15, table 3-7); that
 * range keeps overlong forms, surrogates and values past U+10FFFF out, so nothing else needs a
 * check.
 */
#include "format/utf8.h"

size_t utf8_next(const char *p, size_t n, uint32_t *c, bool *bad)
{
	const unsigned char *s = (const unsigned char *)p;
	unsigned char low = 0x80, high = 0xBF;
	size_t len, i;

	if (s[0] < 0x80) {
		*c = s[0];
		return 1;
	}
	len = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
	*c = s[0] & (0xFFu >> (len + 1));
	if (s[0] == 0xE0)
		low = 0xA0;
	else if (s[0] == 0xED)
		high = 0x9F;
	else if (s[0] == 0xF0)
		low = 0x90;
	else if (s[0] == 0xF4)
		high = 0x8F;
	if (s[0] < 0xC2 || s[0] > 0xF4)
		len = 0;
	for (i = 1; i < len && i < n && s[i] >= low && s[i] <= high; i++) {
		*c = *c << 6 | (s[i] & 0x3F);
		low = 0x80;
		high = 0xBF;
	}
	if (i == len)
		return len;
	*c = UTF8_INVALID;
	*bad = true;
	return i;
}

bool utf8_valid(const char *p, size_t n)
{
	bool bad = false;
	uint32_t c;

	for (size_t i = 0; i < n && !bad;)
		i += utf8_next(p + i, n - i, &c, &bad);
	return !bad;
}

size_t utf8_put(char p[UTF8_MAX], uint32_t c)
{
	size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	if (len == 1) {
		p[0] = (char)c;
		return 1;
	}
	for (size_t i = len - 1; i > 0; i--, c >>= 6)
		p[i] = (char)(0x80 | (c & 0x3F));
	p[0] = (char)((0xF00u >> len) | c);
	return len;
}

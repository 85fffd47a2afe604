/* SPDX-License-Identifier: MIT
 *
 * utf8.h - one step through UTF-8 that may be invalid.
 */
#ifndef FORMAT_UTF8_H
#define FORMAT_UTF8_H

#include "format/base.h"

enum { UTF8_INVALID = 0xFFFD, UTF8_MAX = 4 };
/* Decodes the character at p (of n >= 1 bytes) into *c and returns its length. Invalid: *c is
 * UTF8_INVALID, the length that of the maximal invalid part (Unicode 15, section 3.9), *bad true;
 * bad is left alone otherwise. */
size_t utf8_next(const char *p, size_t n, uint32_t *c, bool *bad);
bool utf8_valid(const char *p, size_t n);
/* Writes c (a scalar value) and returns its length. */
size_t utf8_put(char p[UTF8_MAX], uint32_t c);

#endif

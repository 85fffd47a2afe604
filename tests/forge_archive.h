/* SPDX-License-Identifier: MIT
 *
 * forge_archive.h - tars and zips byte by byte, for tests of readers: whatever a header can say, true or not.
 */
#ifndef TESTS_FORGE_ARCHIVE_H
#define TESTS_FORGE_ARCHIVE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/base.h"

static struct { uint8_t p[64 << 10]; size_t n; } b;	/* the archive as it grows */
static char text[800];					/* what members hold, unless they say otherwise */

static inline void add(const void *p, size_t n)
{
	if (n > sizeof b.p - b.n)
		abort();
	memcpy(b.p + b.n, p, n);
	b.n += n;
}

static inline void le(unsigned n, uint64_t v)
{
	uint8_t p[8];

	store_le(p, 8, v);
	add(p, n);
}

static inline void fill_text(void)
{
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = "And it came to pass "[i % 20];
}

/* ---- tar -----------------------------------------------------------------------------------*/

static inline void pad(void)
{
	static const uint8_t zeros[512];

	add(zeros, (512 - b.n % 512) % 512);
}

static inline void ends(void)
{
	static const uint8_t zeros[1024];

	add(zeros, sizeof zeros);
}

/* A header; size is 12 bytes as they stand there, or NULL for that of text. */
static inline void entry(const char *name, size_t name_n, const char *size, char type, const char *link)
{
	char h[512] = { 0 }, octal[32];
	unsigned sum = 0;

	memcpy(h, name, name_n);
	memcpy(h + 100, "0004755\0" "0000000\0" "0000000", 24);
	snprintf(octal, sizeof octal, "%011o", (unsigned)sizeof text);
	memcpy(h + 124, size ? size : octal, 12);
	memcpy(h + 136, "00000000000", 12);
	h[156] = type;
	memcpy(h + 157, link, strlen(link));
	memcpy(h + 257, "ustar\0" "00", 8);
	memset(h + 148, ' ', 8);
	for (size_t i = 0; i < sizeof h; i++)
		sum += (unsigned char)h[i];
	snprintf(octal, sizeof octal, "%06o", sum);
	memcpy(h + 148, octal, 7);
	add(h, sizeof h);
}
#define ENTRY(name, size, type, link) entry(name, sizeof(name) - 1, size, type, link)

static inline void body(void)
{
	add(text, sizeof text);
	pad();
}

/* An entry of that type whose bytes are record, in front of another: for pax "LENGTH KEY=VALUE\n", for GNU a name. */
static inline void before(char type, const char *record, size_t n)
{
	char size[32];

	snprintf(size, sizeof size, "%011o", (unsigned)n);
	ENTRY("before", size, type, "");
	add(record, n);
	pad();
}

static inline void pax(const char *record)
{
	before('x', record, strlen(record));
}

/* ---- zip -----------------------------------------------------------------------------------*/

/* What the header before the data and the entry in the directory say; lengths from the names. */
struct side { const char *name; size_t name_n; uint32_t crc, packed, size; uint16_t flags, method; };

static inline void local(const struct side *s)
{
	le(4, 0x04034B50), le(2, 20), le(2, s->flags), le(2, s->method), le(4, 0), le(4, s->crc), le(4, s->packed);
	le(4, s->size), le(2, s->name_n), le(2, 0), add(s->name, s->name_n), add(text, sizeof text);
}

static inline void central(const struct side *s, uint32_t mode, uint32_t at)
{
	le(4, 0x02014B50), le(2, 0x031E), le(2, 20), le(2, s->flags), le(2, s->method), le(4, 0), le(4, s->crc);
	le(4, s->packed), le(4, s->size), le(2, s->name_n), le(2, 0), le(2, 0), le(2, 0), le(2, 0), le(4, mode << 16);
	le(4, at), add(s->name, s->name_n);
}

static inline void closing(uint64_t n, uint64_t from)
{
	uint64_t size = b.n - from;

	le(4, 0x06054B50), le(4, 0), le(2, n), le(2, n), le(4, size), le(4, from), le(2, 0);
}

static inline uint32_t crc32_of(const char *p, size_t n)
{
	uint32_t c = UINT32_MAX;

	while (n-- > 0) {
		c ^= (unsigned char)*p++;
		for (int i = 0; i < 8; i++)
			c = c >> 1 ^ (c & 1 ? 0xEDB88320 : 0);
	}
	return ~c;
}

static inline struct side plain(const char *name, size_t n)
{
	return (struct side){ name, n, crc32_of(text, sizeof text), sizeof text, sizeof text, 0, 0 };
}
#define PLAIN(name) plain(name, sizeof(name) - 1)
enum { FILE_MODE = 0100644, LINK_MODE = 0120777 };

#endif

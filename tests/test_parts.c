/* SPDX-License-Identifier: MIT
 *
 * test_parts.c - how shares are cut, and how they are written on a command line.
 */
#include <stdlib.h>

#include "convert/parts.h"
#include "tests/test.h"

enum { SHARDS = 46 };

/* Every shard in one share, shares in order, none larger than its part and one shard. */
static void cut(const uint64_t *sizes, size_t n_shards, unsigned n)
{
	struct source_file files[SHARDS] = { 0 };
	struct checkpoint c = { .files = files, .n_files = n_shards, .n_shards = n_shards };
	struct plan p = { .ckpt = &c };
	unsigned owners[SHARDS] = { 0 }, owner[SHARDS] = { 0 };
	uint64_t largest = 0;
	struct err e;

	for (size_t i = 0; i < n_shards; i++) {
		files[i].file.id.size = sizes[i];
		p.source_bytes += sizes[i];
		largest = sizes[i] > largest ? sizes[i] : largest;
	}
	for (unsigned k = 1; k <= n; k++) {
		uint8_t *mine = parts_cut(&p, k, n, &e);
		uint64_t bytes = 0;

		for (size_t i = 0; mine && i < n_shards; i++) {
			owners[i] += mine[i];
			owner[i] = mine[i] ? k : owner[i];
			bytes += mine[i] ? sizes[i] : 0;
		}
		CHECKF(mine && bytes <= p.source_bytes / n + 1 + largest, "share %u of %u has %llu bytes", k, n,
		       (unsigned long long)bytes);
		free(mine);
	}
	for (size_t i = 0; i < n_shards; i++)
		CHECKF(owners[i] == 1 && (i == 0 || owner[i] >= owner[i - 1]), "shard %zu of %zu is in %u of %u shares", i,
		       n_shards, owners[i], n);
}

static void shares_are_even(void)
{
	uint64_t sizes[SHARDS], x = 1;

	for (size_t i = 0; i < SHARDS; i++)
		sizes[i] = 5368709120 + i;
	for (unsigned n = 1; n <= 60; n++)
		cut(sizes, SHARDS, n);
	for (size_t i = 0; i < SHARDS; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		sizes[i] = x >> (8 + i % 40);	/* from bytes to petabytes */
	}
	for (unsigned n = 1; n <= 60; n++)
		cut(sizes, SHARDS, n);
	cut(sizes, 1, 3);
	cut(sizes, 2, PARTS_MOST);
	cut((uint64_t[]){ 0, 0, 0 }, 3, 2);
}

static void forms(void)
{
	static const struct { const char *text; unsigned k, n; } cases[] = {
		{ "1/1", 1, 1 }, { "3/8", 3, 8 }, { "9999/9999", 9999, 9999 }, { "0/1", 0, 0 }, { "2/1", 0, 0 }, { "1", 0, 0 },
		{ "1/", 0, 0 }, { "/2", 0, 0 }, { "", 0, 0 }, { "1/10000", 0, 0 }, { "1/2 ", 0, 0 }, { " 1/2", 0, 0 },
		{ "1/-2", 0, 0 }, { "-1/2", 0, 0 }, { "+1/2", 0, 0 }, { "01/2", 0, 0 }, { "1/2/3", 0, 0 }, { "1.0/2", 0, 0 },
		{ "4294967297/4294967298", 0, 0 }, { "18446744073709551617/18446744073709551618", 0, 0 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		unsigned k = 0, n = 0;
		struct err e;
		enum status st = parts_parse(cases[i].text, &k, &n, &e);

		CHECKF(st == (cases[i].k ? OK : ERR_USAGE) && k == cases[i].k && n == cases[i].n, "%s", cases[i].text);
	}
}

int main(void)
{
	RUN(shares_are_even);
	RUN(forms);
	return test_done();
}

/* SPDX-License-Identifier: MIT
 *
 * tool_agree.c - what the reader of shards says of each of many files, for tests/agree.py.
 *
 *	tool_agree <FILES >VERDICTS
 *
 * FILES is a stream: 4 bytes of length, little-endian, then that many bytes, as often as there are files. VERDICTS has a byte
 * for each: 0 where it was accepted, else its enum status.
 */
#include "tests/fuzz/fuzz.h"

enum { MOST = 64 << 20 };	/* bytes of one file: what is longer is no mutant but a broken stream */

static enum status verdict(const uint8_t *data, size_t n)
{
	struct st_header h;
	struct file f;
	struct err e;
	enum status st;

	fuzz_file(&f, data, n);
	st = st_read(&h, &f, 0, NULL, &e);
	st_close(&h);
	file_close(&f);
	return st;
}

int main(void)
{
	uint8_t length[4], *data = malloc(MOST);
	size_t got = 1, n;

	while (data && (got = fread(length, 1, sizeof length, stdin)) == sizeof length) {
		n = (size_t)load_le(length, sizeof length);
		if (n > MOST || fread(data, 1, n, stdin) != n)
			break;
		putchar((int)verdict(data, n));
	}
	free(data);
	if (got != 0 || ferror(stdin) || fflush(stdout) != 0) {
		fprintf(stderr, "tool_agree: the stream ends inside a file, or a call failed\n");
		return 1;
	}
	return 0;
}

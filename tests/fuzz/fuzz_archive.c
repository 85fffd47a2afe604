/* SPDX-License-Identifier: MIT */
#include <locale.h>
#include <stdio.h>

#include "tests/fuzz/fuzz.h"

/* Any bytes as a text: with and without a member's name, within small limits. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static locale_t loaded;
	struct file f;
	struct err e;
	char *text;
	size_t text_n;

	if (!loaded)	/* held, else each input has it read from the disk again */
		loaded = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	fuzz_file(&f, data, n);
	if (text_from(&f, NULL, 1 << 20, 1 << 20, &text, &text_n, &e) == OK && text[text_n] != 0)
		abort();
	free(text);
	if (text_from(&f, "a", 1 << 20, 1 << 20, &text, &text_n, &e) == OK && text[text_n] != 0)
		abort();
	free(text);
	file_close(&f);
	return 0;
}

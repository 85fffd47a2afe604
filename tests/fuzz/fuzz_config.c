/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1);
	struct log notes = { 0 };
	struct census c;
	struct arch a;
	struct err e;

	memcpy(text, data, n);
	text[n] = 0;
	if (arch_from_config(&a, text, n, "input", &notes, &e) == OK)
		(void)!census_take(&c, &a, &e);
	log_close(&notes);
	free(text);
	return 0;
}
